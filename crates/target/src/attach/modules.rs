//! What code a process has loaded, and what each part of it is to somebody who wants to call the loader.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use memtrial_symbols::remote::{Mapping, RemoteFrame, RemoteUnwinder, file_name, parse_maps};

use super::error::AttachError;
use super::image::LoadedImage;
use super::tracee;
use crate::memory_of;

/// What a module is to somebody who wants to call the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Code that holds no lock that matters.
    Program,
    /// `ld.so`.
    Loader,
    /// The C library, or a part of it in a file of its own, as before glibc 2.34.
    Libc,
    /// It defines `malloc`, or is the library that is to be called.
    Allocator,
    /// Code that takes exceptions through the stack.
    Unwinder,
    /// The kernel's.
    Vdso,
}

/// One module.
#[derive(Debug)]
pub(super) struct Module {
    /// As the target names it.
    pub path: PathBuf,
    pub role: Role,
    pub image: LoadedImage,
    /// Named functions by address: first, behind the last, name. Only of modules in which it matters what runs.
    functions: Vec<(u64, u64, String)>,
}

/// All modules of a process.
#[derive(Debug)]
pub(super) struct Modules {
    pub pid: i32,
    /// A thread by which its memory can be reached: the process's own id names its first thread, which may have ended.
    pub reach: i32,
    pub list: Vec<Module>,
    /// The mappings, with paths under which this process can open the files.
    pub mappings: Vec<Mapping>,
    /// The index of the module of each such path.
    by_file: HashMap<PathBuf, usize>,
    executable: Option<usize>,
    /// Differs after `execve`, as the addresses in it are random.
    auxiliary: Vec<u8>,
}

/// The functions of an allocator.
pub(super) const ALLOCATOR: [&str; 16] = [
    "malloc",
    "free",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "cfree",
    "malloc_trim",
    "malloc_info",
    "malloc_stats",
    "mallinfo",
    "mallinfo2",
];

const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;

impl Modules {
    /// Looks at a process, which may run on meanwhile. Frames in copies of `library` count as an allocator's.
    pub fn of(pid: i32, library: &Path) -> Result<Modules, AttachError> {
        loop {
            let reach = tracee::living_thread(pid).ok_or(AttachError::Gone(pid))?;
            let modules = Modules::by(pid, reach, library);
            if tracee::living_thread(pid) == Some(reach) {
                return modules;
            }
        }
    }

    fn by(pid: i32, reach: i32, library: &Path) -> Result<Modules, AttachError> {
        let file = |name: &str| format!("/proc/{reach}/{name}");
        let failed = |source: std::io::Error| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => AttachError::Gone(pid),
            Some(libc::EACCES | libc::EPERM) => {
                AttachError::Forbidden { pid, why: "its memory map may not be read".to_owned() }
            }
            _ => AttachError::Io { what: format!("read the memory map of process {pid}"), source },
        };
        let auxiliary = fs::read(file("auxv")).map_err(failed)?;
        let text = fs::read(file("maps")).map_err(failed)?;
        let mut mappings = parse_maps(&String::from_utf8_lossy(&text));
        if mappings.is_empty() {
            return Err(AttachError::Gone(pid));
        }
        mappings.sort_by_key(|mapping| mapping.start);
        let of_auxiliary = |tag: u64| {
            let mut pairs = auxiliary.chunks_exact(16).map(|pair| pair.split_at(8));
            let value =
                pairs.find(|pair| u64::from_le_bytes(pair.0.try_into().unwrap_or_default()) == tag)?.1;
            value.try_into().ok().map(u64::from_le_bytes)
        };
        let (loader, entry) = (of_auxiliary(AT_BASE).unwrap_or(0), of_auxiliary(AT_ENTRY).unwrap_or(0));
        // Yama (`kernel.yama.ptrace_scope` 1) lets maps be read, but no memory.
        if let Err(error) = memory_of::read(reach, entry, &mut [0])
            && error.raw_os_error() == Some(libc::EPERM)
        {
            return Err(tracee::refusal(pid, reach, &error));
        }
        let memory = |address: u64, into: &mut [u8]| memory_of::read(reach, address, into).unwrap_or(0);
        let mut modules = Modules {
            pid,
            reach,
            list: Vec::new(),
            mappings: Vec::new(),
            by_file: HashMap::new(),
            executable: None,
            auxiliary: auxiliary.clone(),
        };
        for (path, parts) in files(&mappings) {
            let Some(base) = parts.first().map(|part| part.start) else { continue };
            let Some(image) = LoadedImage::read(&memory, base) else {
                let machine = LoadedImage::machine(&memory, base);
                if parts.iter().any(|part| part.contains(entry))
                    && machine.is_some_and(|machine| machine != 62)
                {
                    return Err(AttachError::OtherArchitecture(pid));
                }
                continue;
            };
            let executable = image.contains(entry);
            let role = role(&image, base == loader, executable, &path, library);
            let functions =
                if matches!(role, Role::Libc) || executable { functions(&image) } else { Vec::new() };
            modules.executable = modules.executable.or(executable.then_some(modules.list.len()));
            modules.list.push(Module { path, role, image, functions });
        }
        if loader == 0 {
            return Err(AttachError::NotDynamic(pid));
        }
        for mut mapping in mappings {
            if mapping.executable && mapping.path.is_absolute() {
                let index = modules.list.iter().position(|module| module.image.contains(mapping.start));
                mapping.path = openable(reach, &mapping);
                index.map(|index| modules.by_file.insert(mapping.path.clone(), index));
            }
            modules.mappings.push(mapping);
        }
        Ok(modules)
    }

    /// Whether the process has not begun to run another program since.
    pub fn still(&self) -> bool {
        fs::read(format!("/proc/{}/auxv", self.reach)).is_ok_and(|auxiliary| auxiliary == self.auxiliary)
    }

    /// The C library.
    pub fn glibc(&self) -> Result<&Module, AttachError> {
        let found = self.list.iter().find(|module| module.image.function("gnu_get_libc_version").is_some());
        found.ok_or(AttachError::NotGlibc(self.pid))
    }

    /// The function of the C library with the first of these names that it has.
    pub fn libc_function(&self, names: &[&str]) -> Result<u64, AttachError> {
        let libc = self.list.iter().filter(|module| module.role == Role::Libc);
        let found = names.iter().find_map(|name| libc.clone().find_map(|module| module.image.function(name)));
        found.ok_or_else(|| AttachError::NoFunction {
            library: self.glibc().map(|libc| libc.path.clone()).unwrap_or_default(),
            function: names.first().copied().unwrap_or_default().to_owned(),
        })
    }

    /// An unwinder for the process.
    pub fn unwinder(&self) -> RemoteUnwinder {
        RemoteUnwinder::new(&self.mappings)
    }

    /// The module that a frame is in; `None` for code of no file.
    pub fn of_frame(&self, frame: &RemoteFrame) -> Option<&Module> {
        self.by_file.get(frame.module.as_ref()?).and_then(|index| self.list.get(*index))
    }

    /// Where the kernel or the loader made the program begin.
    pub fn entry(&self) -> Option<u64> {
        Some(self.list.get(self.executable?)?.image.entry)
    }

    /// The modules of the program and its libraries, in the order in which the loader looks for a symbol; without those
    /// in namespaces of their own (dlmopen(3)), which have another C library.
    pub fn search_order(&self) -> Vec<&Module> {
        const MOST: usize = 100_000;
        let read = |address| memory_of::read_u64(self.reach, address);
        let debug =
            self.executable.and_then(|index| self.list.get(index)?.image.value(object::elf::DT_DEBUG));
        // `r_map` of `struct r_debug`; `l_addr` and `l_next` of `struct link_map` (glibc's `link.h`).
        let mut entry = debug.filter(|debug| *debug != 0).and_then(|debug| read(debug + 8)).unwrap_or(0);
        let mut order = Vec::new();
        while entry != 0 && order.len() < MOST {
            let Some(bias) = read(entry) else { break };
            order.extend(self.list.iter().find(|module| module.image.bias == bias));
            entry = read(entry.wrapping_add(24)).unwrap_or(0);
        }
        order
    }
}

/// Whether a path in a memory map has the file name of a library, be the file there or not.
pub(super) fn is_copy(mapped: &Path, library: &Path) -> bool {
    file_name(mapped).is_some_and(|name| Some(name) == file_name(library))
}

/// The mappings of each file that has code, from its beginning on.
fn files(mappings: &[Mapping]) -> Vec<(PathBuf, Vec<&Mapping>)> {
    let mut files: Vec<(PathBuf, Vec<&Mapping>)> = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.path.is_absolute()) {
        match files.iter_mut().rev().find(|file| file.0 == mapping.path) {
            Some(file)
                if mapping.offset != 0
                    || file.1.iter().any(|part| part.end == mapping.start && part.offset == 0) =>
            {
                file.1.push(mapping);
            }
            _ if mapping.offset == 0 => files.push((mapping.path.clone(), vec![mapping])),
            _ => (),
        }
    }
    files.retain(|file| file.1.iter().any(|part| part.executable));
    files
}

/// A path under which this process can open the file of a mapping, whatever the target's name for it is, or was.
fn openable(pid: i32, mapping: &Mapping) -> PathBuf {
    let direct = PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end));
    if fs::File::open(&direct).is_ok() {
        return direct;
    }
    let mut path = PathBuf::from(format!("/proc/{pid}/root"));
    path.extend(mapping.path.strip_prefix("/"));
    path
}

fn role(image: &LoadedImage, loader: bool, executable: bool, path: &Path, library: &Path) -> Role {
    let parts_of_libc = ["libpthread.so.0", "libdl.so.2", "librt.so.1", "libanl.so.1"];
    if loader {
        Role::Loader
    } else if image.function("gnu_get_libc_version").is_some()
        || parts_of_libc.contains(&image.soname.as_str())
    {
        Role::Libc
    } else if is_copy(path, library) {
        Role::Allocator
    } else if executable {
        Role::Program
    } else if image.function("malloc").is_some() {
        Role::Allocator
    } else if image.function("_Unwind_RaiseException").is_some() || image.function("__cxa_throw").is_some() {
        Role::Unwinder
    } else {
        Role::Program
    }
}

fn functions(image: &LoadedImage) -> Vec<(u64, u64, String)> {
    let known = image.symbols().filter(|symbol| symbol.is_function() && symbol.size > 0);
    let mut functions: Vec<(u64, u64, String)> = known
        .map(|symbol| (symbol.address, symbol.address.saturating_add(symbol.size), symbol.name.to_owned()))
        .collect();
    functions.sort();
    functions
}

impl Module {
    /// The names of the exported function that an address is in; it may have several.
    pub fn names_at(&self, address: u64) -> Vec<&str> {
        let behind = self.functions.partition_point(|function| function.0 <= address);
        let before = self.functions.get(..behind).unwrap_or_default().iter().rev();
        // Functions do not overlap but for their aliases, which begin at one address.
        let Some(start) = before.clone().find(|function| function.1 > address).map(|function| function.0)
        else {
            return Vec::new();
        };
        let aliases =
            before.skip_while(|function| function.0 > start).take_while(|function| function.0 == start);
        aliases.map(|function| function.2.as_str()).collect()
    }

    /// The addresses of its exported function, from the first to behind the last.
    pub fn range_of(&self, name: &str) -> Option<(u64, u64)> {
        self.functions.iter().find(|function| function.2 == name).map(|function| (function.0, function.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> i32 {
        i32::try_from(std::process::id()).expect("a pid")
    }

    #[test]
    fn our_own_modules_have_their_roles() {
        let modules = Modules::of(me(), Path::new("/nonexistent")).expect("our own process");
        let libc = modules.glibc().expect("the tests use glibc");
        assert_eq!(libc.role, Role::Libc);
        assert_eq!(libc.names_at(libc::getpid as *const () as u64 + 1), ["getpid", "__getpid"]);
        assert!(modules.list.iter().any(|module| module.role == Role::Loader));
        assert!(modules.still());
        let order = modules.search_order();
        assert!(order.first().is_some_and(|module| module.image.contains(me as *const () as u64)));
        assert!(order.iter().any(|module| module.image.base == libc.image.base));
    }

    #[test]
    fn a_file_that_is_read_and_not_run_is_no_module() {
        let maps = parse_maps(
            "1000-2000 r--p 00000000 fe:01 1 /lib/a\n2000-3000 r-xp 00001000 fe:01 1 /lib/a\n\
             8000-9000 r--p 00000000 fe:01 1 /lib/a\n9000-a000 r--p 00000000 fe:01 2 /lib/b\n",
        );
        let found: Vec<u64> = files(&maps).iter().map(|file| file.1[0].start).collect();
        assert_eq!(found, [0x1000]);
    }

    #[test]
    fn a_process_that_is_not_there_is_gone() {
        assert!(matches!(Modules::of(i32::MAX, Path::new("/nonexistent")), Err(AttachError::Gone(_))));
    }
}
