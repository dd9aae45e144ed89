//! The stack of an allocation: unwound by .eh_frame, with the rule of each return address kept in a cache.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use memtrial_symbols::unwind::{Cfa, FrameInfo, Rule};
use memtrial_wire::layout::{Control, MAX_DEPTH, MODULES, NO_MODULE, pack_frame};
use memtrial_wire::site::{self, SiteHash};

use crate::memory::Shared;
use crate::{real, system, thread};

/// Where the target stood when it asked for memory.
#[derive(Clone, Copy)]
pub struct Caller {
    /// Address that holds the return address.
    pub sp: u64,
    /// The frame pointer register.
    pub bp: u64,
}

/// A stack: its hash, and its frames as the frame pool keeps them.
pub struct Stack {
    /// Hash of the frames.
    pub hash: u64,
    /// Frames in use.
    pub depth: usize,
    /// The frames, innermost first.
    pub frames: [u64; MAX_DEPTH],
}

/// What the cache keeps for a return address, in four words and a check.
#[derive(Clone, Copy)]
struct Step {
    packed: u64,
    hash: u64,
    rule: Rule,
}

/// A cache entry. Threads read and write entries without a lock: `check` is the sum of the other words under
/// exclusive-or, so that an entry torn by two writers is seen as a miss (Hyatt's lockless hashing).
struct Entry {
    check: AtomicU64,
    packed: AtomicU64,
    hash: AtomicU64,
    rule: AtomicU64,
}

const ENTRIES: usize = 1 << 14;

static CACHE: [Entry; ENTRIES] = [const {
    Entry {
        check: AtomicU64::new(0),
        packed: AtomicU64::new(0),
        hash: AtomicU64::new(0),
        rule: AtomicU64::new(0),
    }
}; ENTRIES];

/// Goes up when a library may have been unloaded, which makes every entry worthless.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// Forgets all rules: their addresses may belong to other code now.
pub fn forget_rules() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// `struct dl_find_object` of glibc 2.35 and later, on x86-64.
#[repr(C)]
struct Found {
    flags: u64,
    map_start: *const u8,
    map_end: *const u8,
    link_map: *const LinkMap,
    eh_frame_header: *const u8,
    reserved: [u64; 7],
}

/// The public head of glibc's `struct link_map`.
#[repr(C)]
struct LinkMap {
    bias: u64,
    name: *const u8,
}

type FindObject = unsafe extern "C" fn(*mut c_void, *mut Found) -> i32;

static FIND_OBJECT: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Looks for the C library's way to find the unwinding tables of an address without a lock; says whether it
/// has one.
pub fn prepare() -> bool {
    let function = real::symbol(real::RTLD_DEFAULT, b"_dl_find_object\0");
    FIND_OBJECT.store(function, Ordering::Release);
    !function.is_null()
}

fn find_object(address: u64) -> Option<Found> {
    let function = FIND_OBJECT.load(Ordering::Acquire);
    if function.is_null() {
        return None;
    }
    let mut found = Found {
        flags: 0,
        map_start: core::ptr::null(),
        map_end: core::ptr::null(),
        link_map: core::ptr::null(),
        eh_frame_header: core::ptr::null(),
        reserved: [0; 7],
    };
    // SAFETY: the symbol of this name has this type; it takes no lock and may be called anywhere.
    let result = unsafe {
        let function = core::mem::transmute::<*mut c_void, FindObject>(function);
        function(address as *mut c_void, &raw mut found)
    };
    (result == 0).then_some(found)
}

/// Whether two addresses lie in one module.
pub fn share_module(one: u64, other: u64) -> bool {
    match (find_object(one), find_object(other)) {
        (Some(one), Some(other)) => one.map_start == other.map_start,
        _ => false,
    }
}

/// Unwinds from `caller`, and says whether the stack was followed to its end.
#[inline]
pub fn unwind(caller: Caller, shared: Shared) -> Stack {
    let mut stack = Stack { hash: 0, depth: 0, frames: [0; MAX_DEPTH] };
    let mut hash = SiteHash::EMPTY;
    let mut bounds = Bounds::of(caller.sp);
    let (mut sp, mut bp) = (caller.sp + 8, caller.bp);
    let Some(mut pc) = bounds.read(caller.sp) else { return stack };
    while stack.depth < MAX_DEPTH {
        let step = step_at(pc, shared);
        stack.frames[stack.depth] = step.packed;
        stack.depth += 1;
        hash = hash.with(step.hash);
        let cfa = match step.rule.cfa {
            Cfa::Sp(offset) => Some(sp.wrapping_add_signed(offset.into())),
            Cfa::Bp(offset) => Some(bp.wrapping_add_signed(offset.into())),
            Cfa::AtBp(offset) => bounds.read(bp.wrapping_add_signed(offset.into())),
            Cfa::None => None,
        };
        // Each caller's frame lies above; anything else is a stack that can't be followed.
        let Some(cfa) = cfa.filter(|cfa| *cfa >= sp && cfa & 7 == 0) else {
            if !step.rule.outermost {
                shared.control().cut.fetch_add(1, Ordering::Relaxed);
            }
            break;
        };
        if let Some(offset) = step.rule.bp {
            let base = if matches!(step.rule.cfa, Cfa::AtBp(_)) { bp } else { cfa };
            match bounds.read(base.wrapping_add_signed(offset.into())) {
                Some(saved) => bp = saved,
                None => break,
            }
        }
        match bounds.read(cfa - 8) {
            Some(address) if address > 4096 => pc = address,
            _ => break,
        }
        sp = cfa;
    }
    stack.hash = hash.finish();
    stack
}

#[inline]
fn step_at(pc: u64, shared: Shared) -> Step {
    let generation = GENERATION.load(Ordering::Relaxed);
    let key = pc ^ (generation << 48);
    let entry = &CACHE[(pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as usize];
    let packed = entry.packed.load(Ordering::Relaxed);
    let hash = entry.hash.load(Ordering::Relaxed);
    let rule = entry.rule.load(Ordering::Relaxed);
    if entry.check.load(Ordering::Relaxed) == key ^ packed ^ hash ^ rule {
        return Step { packed, hash, rule: decode(rule) };
    }
    let step = resolve(pc, shared);
    let rule = encode(step.rule);
    entry.packed.store(step.packed, Ordering::Relaxed);
    entry.hash.store(step.hash, Ordering::Relaxed);
    entry.rule.store(rule, Ordering::Relaxed);
    entry.check.store(key ^ step.packed ^ step.hash ^ rule, Ordering::Relaxed);
    step
}

/// A rule in one word: kind, whether the frame pointer is saved, where, and the offset of the CFA.
fn encode(rule: Rule) -> u64 {
    let (kind, offset) = match rule.cfa {
        Cfa::None => (u64::from(rule.outermost), 0),
        Cfa::Sp(offset) => (2, offset),
        Cfa::Bp(offset) => (3, offset),
        Cfa::AtBp(offset) => (4, offset),
    };
    let bp = rule.bp.unwrap_or(0).cast_unsigned();
    u64::from(offset.cast_unsigned()) | u64::from(bp) << 32 | u64::from(rule.bp.is_some()) << 48 | kind << 52
}

#[inline]
fn decode(word: u64) -> Rule {
    let offset = (word as u32).cast_signed();
    let kind = word >> 52;
    let cfa = match kind {
        2 => Cfa::Sp(offset),
        3 => Cfa::Bp(offset),
        4 => Cfa::AtBp(offset),
        _ => Cfa::None,
    };
    let bp = (word >> 48 & 1 == 1).then_some(((word >> 32) as u16).cast_signed());
    Rule { cfa, bp, outermost: kind == 1 }
}

#[cold]
#[inline(never)]
fn resolve(pc: u64, shared: Shared) -> Step {
    // A return address may be the first byte of the next function, when the call never returns.
    let Some(found) = find_object(pc - 1) else {
        return Step { packed: pack_frame(NO_MODULE, pc), hash: site::frame(0, 0), rule: Rule::UNKNOWN };
    };
    let image = Image::of(&found);
    let (index, identity) = register(&image, shared);
    let offset = pc.wrapping_sub(image.bias);
    let rule = image.frame_info().map_or(Rule::UNKNOWN, |info| info.rule_at(pc - 1));
    Step { packed: pack_frame(index, offset), hash: site::frame(identity, offset), rule }
}

/// A loaded module, as its program headers in memory describe it.
struct Image {
    start: *const u8,
    end: u64,
    bias: u64,
    name: *const u8,
    header: *const u8,
    header_length: usize,
    build_id: &'static [u8],
}

impl Image {
    fn of(found: &Found) -> Image {
        // SAFETY: the loader's record of a module that is loaded, for it holds code that is being run.
        let (bias, name) = unsafe { ((*found.link_map).bias, (*found.link_map).name) };
        let mut image = Image {
            start: found.map_start,
            end: found.map_end as u64,
            bias,
            name,
            header: found.eh_frame_header,
            header_length: 0,
            build_id: &[],
        };
        image.read_program_headers();
        image
    }

    /// # Safety of reading
    /// The first mapping of a module holds its ELF header and program headers, by the loader's own need.
    fn read_program_headers(&mut self) {
        const PT_NOTE: u32 = 4;
        const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
        // SAFETY: see above; each read lies in the mapped header or in a segment that the header names.
        unsafe {
            if self.start.cast::<u32>().read_unaligned() != u32::from_le_bytes(*b"\x7fELF") {
                return;
            }
            let table = self.start.add(32).cast::<u64>().read_unaligned() as usize;
            let entry_size = usize::from(self.start.add(54).cast::<u16>().read_unaligned());
            let entries = usize::from(self.start.add(56).cast::<u16>().read_unaligned());
            for i in 0..entries {
                let entry = self.start.add(table + i * entry_size);
                let kind = entry.cast::<u32>().read_unaligned();
                let address = self.bias.wrapping_add(entry.add(16).cast::<u64>().read_unaligned());
                let length = entry.add(40).cast::<u64>().read_unaligned() as usize;
                if kind == PT_GNU_EH_FRAME {
                    self.header_length = length;
                } else if kind == PT_NOTE && self.build_id.is_empty() {
                    let notes = core::slice::from_raw_parts(address as *const u8, length);
                    self.build_id = build_id(notes).unwrap_or(&[]);
                }
            }
        }
    }

    fn frame_info(&self) -> Option<FrameInfo<'static>> {
        if self.header.is_null() || self.header_length == 0 {
            return None;
        }
        let address = self.header as u64;
        // SAFETY: the loader found this segment in the module, which is mapped for good while its code runs.
        let header = unsafe { core::slice::from_raw_parts(self.header, self.header_length) };
        let frames = FrameInfo::frames_address(header, address)?;
        if frames < self.start as u64 || frames >= self.end {
            return None;
        }
        // .eh_frame ends with its segment, and always before a zero length that ends it.
        let length = if frames < address { address - frames } else { self.end - frames };
        // SAFETY: .eh_frame lies in the same segment as its header in every linker's layout; the parser stops
        // at the entry that the table points to and never walks on to the end.
        let bytes = unsafe { core::slice::from_raw_parts(frames as *const u8, length as usize) };
        Some(FrameInfo { header: (header, address), frames: (bytes, frames) })
    }
}

/// The build id among the notes of a segment.
fn build_id(mut notes: &[u8]) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    loop {
        let word = |at: usize| Some(u32::from_le_bytes(notes.get(at..at + 4)?.try_into().ok()?));
        let (name_length, length, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let data = 12 + name_length.next_multiple_of(4);
        if kind == NT_GNU_BUILD_ID && notes.get(12..16)? == b"GNU\0" {
            return notes.get(data..data.checked_add(length)?);
        }
        notes = notes.get(data.checked_add(length.next_multiple_of(4))?..)?;
    }
}

/// The index of a module in the shared table, which gets it when it is new; and the module's identity.
fn register(image: &Image, shared: Shared) -> (u64, u64) {
    let mut buffer = [0u8; 464];
    // SAFETY: the loader keeps the name of a loaded module, NUL-terminated.
    let name = unsafe { core::ffi::CStr::from_ptr(image.name.cast()) }.to_bytes();
    let path = if name.is_empty() {
        // The executable has no name in the loader's list.
        let length = system::readlink(b"/proc/self/exe\0", &mut buffer).unwrap_or(0);
        &buffer[..length]
    } else {
        name
    };
    let identity = site::module(if image.build_id.is_empty() { path } else { image.build_id });
    let control: &Control = shared.control();
    let modules = shared.modules();
    let used = (control.modules_used.load(Ordering::Acquire) as usize).min(MODULES);
    if let Some(index) = modules[..used].iter().position(|m| m.identity.load(Ordering::Acquire) == identity) {
        return (index as u64, identity);
    }
    let index = control.modules_used.fetch_add(1, Ordering::AcqRel);
    let Some(module) = modules.get(index as usize) else { return (NO_MODULE, identity) };
    shared.write_module(module, image.build_id, path);
    module.identity.store(identity, Ordering::Release);
    (index, identity)
}

unsafe extern "C" {
    /// Near the upper end of the main thread's stack; exported by the loader.
    static __libc_stack_end: u64;
}

/// What of a stack can be read.
struct Bounds {
    low: u64,
    /// All from `low` to here is known to be stack.
    high: u64,
    /// Whether `high` is the end; else pages above are tried one by one.
    closed: bool,
}

impl Bounds {
    /// The stack that `sp` lies in: the main thread's, another thread's (which lies just below its control
    /// block), or one that is unknown: a signal stack, or a coroutine's.
    fn of(sp: u64) -> Bounds {
        // Within these distances nothing but the stack lies between: the kernel keeps 128 MiB free below the main
        // stack at least. A deeper stack is read page by page.
        const THREAD_STACK: u64 = 16 << 20;
        const MAIN_STACK: u64 = 64 << 20;
        // SAFETY: the loader sets it before any library runs.
        let main_end = unsafe { __libc_stack_end };
        for (end, distance) in [(thread::control_block(), THREAD_STACK), (main_end, MAIN_STACK)] {
            if sp < end && end - sp < distance {
                return Bounds { low: sp, high: end, closed: true };
            }
        }
        Bounds { low: sp, high: sp & !4095, closed: false }
    }

    #[inline]
    fn read(&mut self, address: u64) -> Option<u64> {
        if address < self.low || address & 7 != 0 {
            return None;
        }
        if address >= self.high {
            if self.closed || !system::is_readable(address) {
                return None;
            }
            self.high = (address & !4095) + 4096;
        }
        // SAFETY: the word lies between the stack pointer and the end of the stack, or on a page just tried.
        Some(unsafe { (address as *const u64).read() })
    }
}
