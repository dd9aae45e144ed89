//! The call stacks of hits, unwound from what was copied of the stack.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memtrial_symbols::remote::{Registers, RemoteFrame, RemoteUnwinder, parse_maps};

/// Most frames of a stack.
const MAX_FRAMES: usize = 128;

/// The stacks of processes.
#[derive(Default)]
pub struct ProcessStacks {
    processes: HashMap<u32, Process>,
}

struct Process {
    maps: String,
    memory: Option<File>,
    unwinder: RemoteUnwinder,
    root: PathBuf,
}

impl ProcessStacks {
    /// The stack of a hit, innermost frame first. Of a process that has ended meanwhile, and of which no stack was seen
    /// before, only the address is known.
    pub fn unwind(&mut self, pid: u32, registers: Registers, stack: &[u8]) -> Vec<RemoteFrame> {
        let process = self.processes.entry(pid).or_insert_with(|| Process::new(pid));
        let frames = process.unwind(registers, stack);
        // It may have loaded code meanwhile.
        let known = frames.first().is_some_and(|frame| frame.module.is_some());
        if (!known || frames.len() < 2) && process.refresh(pid) {
            return process.unwind(registers, stack);
        }
        frames
    }
}

impl Process {
    fn new(pid: u32) -> Process {
        let mut process = Process {
            maps: String::new(),
            memory: File::open(format!("/proc/{pid}/mem")).ok(),
            unwinder: RemoteUnwinder::new(&[]),
            root: PathBuf::from(format!("/proc/{pid}/root")),
        };
        process.refresh(pid);
        process
    }

    /// Reads the mappings again; whether they are others than before.
    fn refresh(&mut self, pid: u32) -> bool {
        let text = std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // None are left when the process is ending; what was known then still serves.
        if text.is_empty() || text == self.maps {
            return false;
        }
        let mut mappings = parse_maps(&text);
        // Its files may be others than ours of the same name.
        for mapping in &mut mappings {
            if let Ok(inside) = mapping.path.strip_prefix("/") {
                mapping.path = self.root.join(inside);
            }
        }
        self.unwinder = RemoteUnwinder::new(&mappings);
        self.maps = text.into_owned();
        true
    }

    fn unwind(&mut self, registers: Registers, stack: &[u8]) -> Vec<RemoteFrame> {
        let memory = self.memory.as_ref();
        let mut read = |address: u64| {
            let distance = usize::try_from(address.wrapping_sub(registers.sp)).ok();
            let copied = distance.and_then(|at| stack.get(at..at.checked_add(8)?)?.try_into().ok());
            // Code, which stays what it is, is looked at for signal handlers. The rest of the stack has changed since.
            let bytes = copied.or_else(|| {
                let mut bytes = [0; 8];
                let on_stack = address.wrapping_sub(registers.sp) < 1 << 23;
                memory.filter(|_| !on_stack)?.read_exact_at(&mut bytes, address).ok()?;
                Some(bytes)
            })?;
            Some(u64::from_ne_bytes(bytes))
        };
        let mut frames = self.unwinder.unwind(registers, &mut read, MAX_FRAMES);
        for frame in &mut frames {
            frame.module = frame.module.take().map(|path| match path.strip_prefix(&self.root) {
                Ok(inside) => Path::new("/").join(inside),
                Err(_) => path,
            });
        }
        frames
    }
}
