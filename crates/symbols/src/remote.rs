//! Unwinding a thread of another process from its registers, for the stack of a crash.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, Module, Unwinder};

use crate::image::{Image, PF_X, PT_LOAD, Segment};
pub use crate::maps::{Mapping, file_name, parse_maps};

/// The registers of an x86-64 thread that unwinding starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// `rip`.
    pub ip: u64,
    /// `rsp`.
    pub sp: u64,
    /// `rbp`.
    pub bp: u64,
}

/// One frame of another process's stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteFrame {
    /// The file, or what the kernel calls the memory, such as `[vdso]`; `None` for code without a name
    /// and for addresses where there is no code.
    pub module: Option<PathBuf>,
    /// The build id of the module.
    pub build_id: Option<Vec<u8>>,
    /// The address as the module states it; without a module, the address itself. Of a module that
    /// cannot be read, the distance from its lowest mapping, which is the same for most libraries.
    pub offset: u64,
    /// Whether it is the address of the instruction after a call, not of the one that was running.
    pub return_address: bool,
}

/// Unwinds the threads of one process; reads only the modules that their stacks touch.
pub struct RemoteUnwinder {
    /// All mappings, by address.
    mappings: Vec<Mapping>,
    /// What is known of each mapping with code, once it was touched.
    places: HashMap<usize, Place>,
    files: HashMap<PathBuf, Option<Arc<UnwindFile>>>,
    /// Whether a signal handler returns to an address; remembered, as reading memory is slow.
    trampolines: HashMap<u64, bool>,
    unwinder: UnwinderX86_64<Arc<[u8]>>,
    cache: CacheX86_64<MayAllocateDuringUnwind>,
}

/// What of an ELF file unwinding needs.
struct UnwindFile {
    build_id: Option<Vec<u8>>,
    segments: Vec<Segment>,
    sections: ExplicitModuleSectionInfo<Arc<[u8]>>,
}

/// How addresses in a mapping are told.
#[derive(Clone)]
struct Place {
    module: Option<PathBuf>,
    build_id: Option<Vec<u8>>,
    /// What is to be subtracted from an address in memory, modulo 2^64.
    bias: u64,
}

const PAGE: u64 = 4096;

/// No stack lies below this address: Linux keeps the lowest pages unmapped (`vm.mmap_min_addr`).
const LOWEST_STACK: u64 = 65536;

/// `mov $15, %eax` with a REX prefix, and `syscall`: what a signal handler returns to.
const SIGRETURN: [u64; 2] = [0x0f_00_00_00_0f_c0_c7_48, 0x05];

impl RemoteUnwinder {
    /// An unwinder for the process with these mappings.
    pub fn new(maps: &[Mapping]) -> RemoteUnwinder {
        let mut mappings = maps.to_vec();
        mappings.sort_by_key(|mapping| mapping.start);
        RemoteUnwinder {
            mappings,
            places: HashMap::new(),
            files: HashMap::new(),
            trampolines: HashMap::new(),
            unwinder: UnwinderX86_64::new(),
            cache: CacheX86_64::new_in(),
        }
    }

    /// The stack of the thread with these registers, the innermost frame first, at most `max_frames`.
    ///
    /// `read_u64` reads the memory of the process; where it cannot, the stack ends. If the instruction
    /// pointer is not in code, the thread called through a bad pointer: the stack goes on at its caller.
    pub fn unwind(
        &mut self,
        regs: Registers,
        read_u64: &mut dyn FnMut(u64) -> Option<u64>,
        max_frames: usize,
    ) -> Vec<RemoteFrame> {
        let mut frames = Vec::new();
        let mut regs = UnwindRegsX86_64::new(regs.ip, regs.sp, regs.bp);
        let mut at = FrameAddress::from_instruction_pointer(regs.ip());
        while frames.len() < max_frames {
            let Some(place) = self.place(at.address_for_lookup()) else {
                // A return address outside of code is no frame, but the end of what can be unwound.
                if !at.is_return_address() {
                    let offset = at.address();
                    frames.push(RemoteFrame { module: None, build_id: None, offset, return_address: false });
                }
                match self.caller_of_bad_pointer(&mut regs, at, read_u64) {
                    Some(caller) => at = caller,
                    None => break,
                }
                continue;
            };
            let address = at.address();
            let trampoline =
                *self.trampolines.entry(address).or_insert_with(|| is_sigreturn(address, read_u64));
            frames.push(RemoteFrame {
                module: place.module,
                build_id: place.build_id,
                offset: address.wrapping_sub(place.bias),
                // No call is before it: the kernel made the handler return there.
                return_address: at.is_return_address() && !trampoline,
            });
            let caller = if trampoline {
                leave_signal_handler(&mut regs, read_u64)
            } else {
                self.step(&mut regs, at, read_u64)
            };
            match caller {
                Some(caller) => at = caller,
                None => break,
            }
        }
        frames
    }

    fn caller_of_bad_pointer(
        &mut self,
        regs: &mut UnwindRegsX86_64,
        at: FrameAddress,
        read_u64: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<FrameAddress> {
        if at.is_return_address() {
            return None;
        }
        let return_address = read_u64(regs.sp())?;
        regs.set_sp(regs.sp().checked_add(8)?);
        regs.set_ip(return_address);
        FrameAddress::from_return_address(return_address)
    }

    fn step(
        &mut self,
        regs: &mut UnwindRegsX86_64,
        at: FrameAddress,
        read_u64: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<FrameAddress> {
        if regs.sp() < LOWEST_STACK {
            return None;
        }
        let sp = regs.sp();
        let mut read = |address| read_u64(address).ok_or(());
        let caller = self.unwinder.unwind_frame(at, regs, &mut self.cache, &mut read).ok()??;
        // Each call takes stack; only the innermost function may have given its own back already.
        let goes_on = regs.sp() > sp || !at.is_return_address();
        if goes_on { FrameAddress::from_return_address(caller) } else { None }
    }

    /// How to tell `address`, if it is in code; makes its unwind information known.
    fn place(&mut self, address: u64) -> Option<Place> {
        let index = self.mappings.partition_point(|mapping| mapping.start <= address).checked_sub(1)?;
        let mapping = self.mappings.get(index).filter(|m| m.executable && m.contains(address))?;
        if let Some(place) = self.places.get(&index) {
            return Some(place.clone());
        }
        let mapping = mapping.clone();
        let place = self.explore(&mapping);
        self.places.insert(index, place.clone());
        Some(place)
    }

    fn explore(&mut self, mapping: &Mapping) -> Place {
        if mapping.path.as_os_str().is_empty() {
            return Place { module: None, build_id: None, bias: 0 };
        }
        let path = &mapping.path;
        let file = match self.files.get(path) {
            Some(known) => known.clone(),
            None => {
                let file = UnwindFile::read(path).map(Arc::new);
                self.files.insert(path.clone(), file.clone());
                file
            }
        };
        let bias = file.as_ref().and_then(|file| file.bias(mapping));
        if let (Some(file), Some(bias)) = (&file, bias) {
            let base = file.sections.base_svma.wrapping_add(bias);
            let (name, range) = (path.display().to_string(), mapping.start..mapping.end);
            self.unwinder.add_module(Module::new(name, range, base, file.sections.clone()));
        }
        let lowest = self.mappings.iter().find(|other| other.path == *path).map_or(0, |other| other.start);
        Place {
            module: Some(path.clone()),
            build_id: file.and_then(|file| file.build_id.clone()),
            bias: bias.unwrap_or(lowest),
        }
    }
}

impl UnwindFile {
    fn read(path: &std::path::Path) -> Option<UnwindFile> {
        if !path.is_absolute() {
            return None;
        }
        let image = Image::open(path).ok()?;
        let segments: Vec<Segment> = image.segments.iter().filter(|s| s.kind == PT_LOAD).cloned().collect();
        let range = |name| {
            let section = image.section(name)?;
            Some(section.address..section.address.checked_add(section.size)?)
        };
        let contents = |name| image.contents(image.section(name)?).ok().filter(|bytes| !bytes.is_empty());
        let lowest = segments.iter().map(|segment| segment.address).min().unwrap_or(0);
        let sections = ExplicitModuleSectionInfo {
            base_svma: lowest - lowest % PAGE,
            text_svma: range(".text"),
            got_svma: range(".got"),
            eh_frame_svma: range(".eh_frame"),
            eh_frame: contents(".eh_frame"),
            eh_frame_hdr_svma: range(".eh_frame_hdr"),
            eh_frame_hdr: contents(".eh_frame_hdr"),
            debug_frame: contents(".debug_frame"),
            ..ExplicitModuleSectionInfo::default()
        };
        Some(UnwindFile { build_id: image.build_id(), segments, sections })
    }

    /// What the loader added to the addresses that the file states, judged by one of its mappings.
    fn bias(&self, mapping: &Mapping) -> Option<u64> {
        // The loader maps whole pages, so that a mapping may begin before its segment does.
        let begins = |segment: &&Segment| {
            let first = segment.offset - segment.offset % PAGE;
            let end = segment.offset.saturating_add(segment.file_size).saturating_add(PAGE - 1);
            (first..end - end % PAGE).contains(&mapping.offset)
        };
        let code = self.segments.iter().filter(|segment| segment.flags & PF_X != 0).find(begins);
        let segment = code.or_else(|| self.segments.iter().find(begins))?;
        let stated = segment.address.wrapping_add(mapping.offset).wrapping_sub(segment.offset);
        Some(mapping.start.wrapping_sub(stated))
    }
}

fn is_sigreturn(address: u64, read_u64: &mut dyn FnMut(u64) -> Option<u64>) -> bool {
    read_u64(address) == Some(SIGRETURN[0])
        && address.checked_add(8).and_then(read_u64).is_some_and(|code| code & 0xff == SIGRETURN[1])
}

/// Takes the registers of the interrupted code from the signal frame, which the stack pointer points
/// at when a handler has returned: `struct ucontext` of the kernel's `asm/ucontext.h` and `asm/sigcontext.h`.
fn leave_signal_handler(
    regs: &mut UnwindRegsX86_64,
    read_u64: &mut dyn FnMut(u64) -> Option<u64>,
) -> Option<FrameAddress> {
    const GENERAL: u64 = 40;
    let mut register = |index: u64| read_u64(regs.sp().checked_add(GENERAL + 8 * index)?);
    let (bp, sp, ip) = (register(10)?, register(15)?, register(16)?);
    *regs = UnwindRegsX86_64::new(ip, sp, bp);
    Some(FrameAddress::from_instruction_pointer(ip))
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
