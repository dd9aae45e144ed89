//! Loading a library into a running process, and calling a function of it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use object::{Object, ObjectSegment, ObjectSymbol};

use super::error::AttachError;
use super::modules::{Module, Modules, is_copy};
use super::remote_call::{Means, Visit};
use super::safe_point::{Found, Search};
use super::stack::SafePoint;
use super::tracee;
use crate::memory_of;

/// Most copies of a library in a process. What glibc keeps for thread-local variables of libraries that are loaded late
/// (`TLS_STATIC_SURPLUS`) was used up by 23 copies of the agent with glibc 2.36 when they took 72 bytes each; they take 120 now, so
/// that half of it is left.
const MOST_COPIES: usize = 6;

/// The name of the variable by which a library says that a visit before has left it for the next one: a number of 8 bytes
/// that is 0 then.
const OCCUPIED: &str = "memtrial_occupied";

/// How a call into a process went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// The library, as the process's memory map names it.
    pub library: PathBuf,
    /// What the target's loader added to the addresses in the library's file.
    pub base: u64,
    /// What the function returned.
    pub value: u64,
    /// How long the thread that made the call stood still in all, or worked for us. The others ran on.
    pub stopped: Duration,
    /// How often a thread was stopped and looked at.
    pub tries: u32,
    /// The thread.
    pub tid: i32,
    /// Why it could make the call.
    pub point: SafePoint,
}

/// Makes a thread of the process load `library` (`dlopen`, `RTLD_NOW | RTLD_LOCAL`), unless that was done before, and call
/// its exported function `uint64_t function(const char *argument)`. Both at one safe point: see [`SafePoint`]. The
/// argument is there only until the function returns, and so is the stack that it runs on, of 1 MiB; it is not the
/// thread's own. Signals are blocked meanwhile.
///
/// No library ever leaves a process. So a copy of the same code under another path is used again, if it says by an exported
/// variable `memtrial_occupied` of 0 that nobody uses it any more: its function must expect that.
///
/// `limit` is for everything together. The thread is stopped, or works for us, only at the end of it.
///
/// # Errors
/// See [`AttachError`]. Whatever happens, the process is not left stopped.
pub fn enter(
    pid: i32,
    library: &Path,
    function: &str,
    argument: &str,
    limit: Duration,
) -> Result<Entered, AttachError> {
    let library = fs::canonicalize(library)
        .map_err(|source| AttachError::Io { what: format!("find {}", library.display()), source })?;
    let deadline = Instant::now() + limit;
    let request = Request { pid, library, function, argument, loaded_at: None, deadline };
    tracee::apart(|| request.answer())
}

/// As [`enter`], for a library that is loaded already, at `base`; its file need not be there any more.
///
/// # Errors
/// [`AttachError::NotLoaded`] if it is not, and as [`enter`].
pub fn call(
    pid: i32,
    library: &Path,
    base: u64,
    function: &str,
    argument: &str,
    limit: Duration,
) -> Result<Entered, AttachError> {
    let (library, deadline) = (library.to_path_buf(), Instant::now() + limit);
    let request = Request { pid, library, function, argument, loaded_at: Some(base), deadline };
    tracee::apart(|| request.answer())
}

struct Request<'r> {
    pid: i32,
    library: PathBuf,
    function: &'r str,
    argument: &'r str,
    /// Where it must be loaded already.
    loaded_at: Option<u64>,
    deadline: Instant,
}

/// All that the stopped thread need not wait for.
struct Preparation {
    means: Means,
    /// Of the library: path, load bias and the function in memory, if it is loaded; else the function in the file.
    loaded: Option<(PathBuf, u64, u64)>,
    in_file: Option<u64>,
    dlopen: u64,
    flags: u64,
    dlerror: Option<u64>,
}

impl Request<'_> {
    /// Begins anew if the thread by which the process was reached has ended meanwhile.
    fn answer(&self) -> Result<Entered, AttachError> {
        loop {
            let reach = tracee::living_thread(self.pid);
            let result = self.run();
            let now = tracee::living_thread(self.pid);
            let lost = matches!(result, Err(AttachError::Gone(_))) && now.is_some() && now != reach;
            if !lost || Instant::now() >= self.deadline {
                return result;
            }
        }
    }

    fn run(&self) -> Result<Entered, AttachError> {
        let modules = Modules::of(self.pid, &self.library)?;
        modules.glibc()?;
        let preparation = self.prepare(&modules)?;
        let found = Search::new(&modules).run(self.deadline)?;
        self.visit(&preparation, found)
    }

    fn prepare(&self, modules: &Modules) -> Result<Preparation, AttachError> {
        let missing =
            || AttachError::NoFunction { library: self.library.clone(), function: self.function.to_owned() };
        let mut in_file = None;
        let (known, bytes) = self.known(modules)?;
        let loaded = match known {
            Some(loaded) => {
                let function = loaded.image.function(self.function).ok_or_else(missing)?;
                Some((loaded.path.clone(), loaded.image.bias, function))
            }
            None => {
                self.check_room(modules)?;
                self.check_visible(modules.reach)?;
                // What is no library at all, the target's loader will say best.
                if let Ok(file) = object::File::parse(&*bytes) {
                    in_file = Some(exported(&file, self.function).ok_or_else(missing)?);
                }
                None
            }
        };
        let flags = (libc::RTLD_NOW | libc::RTLD_LOCAL).unsigned_abs();
        // Before glibc 2.34 only programs that were linked with libdl have `dlopen`; libc's own takes the flag
        // `__RTLD_DLOPEN` to behave as it.
        let (dlopen, flags) = match modules.libc_function(&["dlopen"]) {
            Ok(dlopen) => (dlopen, u64::from(flags)),
            Err(_) => (modules.libc_function(&["__libc_dlopen_mode"])?, u64::from(flags) | 0x8000_0000),
        };
        let dlerror = modules.libc_function(&["dlerror"]).ok();
        Ok(Preparation { means: Means::of(modules)?, loaded, in_file, dlopen, flags, dlerror })
    }

    /// The library, if it is in the process already, to be called there; else what is in its file.
    fn known<'m>(&self, modules: &'m Modules) -> Result<(Option<&'m Module>, Vec<u8>), AttachError> {
        if let Some(base) = self.loaded_at {
            let loaded = modules.list.iter().find(|module| module.image.bias == base);
            let absent = || AttachError::NotLoaded { pid: self.pid, library: self.library.clone() };
            return loaded.map(|loaded| (Some(loaded), Vec::new())).ok_or_else(absent);
        }
        let same_file = modules.list.iter().find(|module| module.path == self.library);
        if same_file.is_some() {
            return Ok((same_file, Vec::new()));
        }
        let bytes =
            fs::read(&self.library).map_err(AttachError::io(format!("read {}", self.library.display())))?;
        let is_left = |copy: &&Module| self.is_copy(copy) && is_left(copy, modules.reach, &bytes);
        Ok((modules.list.iter().find(is_left), bytes))
    }

    fn visit(&self, preparation: &Preparation, found: Found) -> Result<Entered, AttachError> {
        let Found { mut thread, point, before, tries } = found;
        let (tid, since) = (thread.tid, thread.stopped_since().unwrap_or_else(Instant::now));
        let room = self.library.as_os_str().len() + self.argument.len() + 2;
        let mut visit = Visit::begin(&mut thread, &preparation.means, room, self.deadline)?;
        let (library, base, function) = match &preparation.loaded {
            Some((library, base, function)) => (library.clone(), *base, *function),
            None => {
                let base = self.load(preparation, &mut visit)?;
                let missing = || AttachError::NotLoaded { pid: self.pid, library: self.library.clone() };
                let function = base.wrapping_add(preparation.in_file.ok_or_else(missing)?);
                (self.library.clone(), base, function)
            }
        };
        let argument = visit.put(self.argument.as_bytes())?;
        let value = visit.call(self.function, function, &[argument])?;
        visit.end()?;
        drop(thread);
        Ok(Entered { library, base, value, stopped: before + since.elapsed(), tries, tid, point })
    }

    /// Makes the thread load the library; returns its load bias.
    fn load(&self, preparation: &Preparation, visit: &mut Visit<'_>) -> Result<u64, AttachError> {
        let path = visit.put(self.library.as_os_str().as_bytes())?;
        let handle = visit.call("dlopen", preparation.dlopen, &[path, preparation.flags])?;
        if handle == 0 {
            let why = match preparation.dlerror {
                Some(dlerror) => visit.call("dlerror", dlerror, &[])?,
                None => 0,
            };
            let why = memory_of::read_text(visit.tid(), why, 512)
                .unwrap_or_else(|| "it does not say why".to_owned());
            return Err(AttachError::Refused { pid: self.pid, library: self.library.clone(), why });
        }
        // The handle is a `struct link_map` (`link.h`), which begins with `l_addr`.
        memory_of::read_u64(visit.tid(), handle).ok_or(AttachError::Gone(self.pid))
    }

    fn is_copy(&self, module: &Module) -> bool {
        is_copy(&module.path, &self.library)
    }

    /// Whether a copy of the library more can be borne by the target: none of them ever leaves it.
    fn check_room(&self, modules: &Modules) -> Result<(), AttachError> {
        let copies = modules.list.iter().filter(|module| self.is_copy(module)).count();
        if copies < MOST_COPIES {
            return Ok(());
        }
        Err(AttachError::TooMany { pid: self.pid, library: self.library.clone(), copies })
    }

    /// Whether the target finds the same file under this path.
    fn check_visible(&self, reach: i32) -> Result<(), AttachError> {
        let mut theirs = PathBuf::from(format!("/proc/{reach}/root"));
        theirs.extend(self.library.strip_prefix("/"));
        let same = match (fs::metadata(&self.library), fs::metadata(&theirs)) {
            (Ok(ours), Ok(theirs)) if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) => true,
            (Ok(ours), Ok(their)) if ours.len() == their.len() => fs::read(&self.library)
                .ok()
                .is_some_and(|bytes| fs::read(&theirs).is_ok_and(|other| other == bytes)),
            _ => false,
        };
        let error = || AttachError::OtherNamespace { pid: self.pid, library: self.library.clone() };
        same.then_some(()).ok_or_else(error)
    }
}

/// Whether a module is what is in a file, to the last byte that is not written to, and was left by whoever used it.
fn is_left(module: &Module, reach: i32, file: &[u8]) -> bool {
    let occupied = module.image.symbols().find(|symbol| symbol.name == OCCUPIED).map(|symbol| symbol.address);
    let is_free = occupied.filter(|at| *at != 0).and_then(|at| memory_of::read_u64(reach, at)) == Some(0);
    is_free && object::File::parse(file).is_ok_and(|parsed| has_code_of(module, reach, &parsed))
}

fn has_code_of(module: &Module, reach: i32, file: &object::File<'_>) -> bool {
    let mut segments = file.segments().filter(|segment| !segment.permissions().writable()).peekable();
    segments.peek().is_some()
        && segments.all(|segment| {
            let Ok(expected) = segment.data() else { return false };
            let mut found = vec![0; expected.len()];
            let at = module.image.bias.wrapping_add(segment.address());
            memory_of::read(reach, at, &mut found).is_ok_and(|count| count == found.len())
                && found == expected
        })
}

/// The address of an exported function, as the file states it.
fn exported(file: &object::File<'_>, name: &str) -> Option<u64> {
    let mut symbols = file.dynamic_symbols().filter(|symbol| symbol.is_definition());
    symbols.find(|symbol| symbol.name() == Ok(name)).map(|symbol| symbol.address())
}
