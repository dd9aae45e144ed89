//! Programs attached to sites: by one link for many, else by an event of perf for each.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use perf_event_open_sys::bindings::{self, perf_event_attr};
use perf_event_open_sys::ioctls;

use crate::bpf::{self, Places};

/// A site that could not be watched.
#[derive(Debug)]
pub struct Refused {
    /// Its index.
    pub index: usize,
    /// Why.
    pub error: io::Error,
}

/// A place in a file, by the index that its refusal is told by.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    /// The index.
    pub index: usize,
    /// Where it is in the file.
    pub offset: u64,
    /// Where its semaphore is in the file; 0: it has none.
    pub semaphore: u64,
    /// What the program is told.
    pub cookie: u64,
}

/// Attaches `program` to `spots` of a file. One that the kernel refuses would spoil all: halves are tried then.
pub fn link(
    program: &OwnedFd,
    path: &CString,
    spots: &[Spot],
    pid: Option<u32>,
    refused: &mut Vec<Refused>,
) -> Vec<OwnedFd> {
    let places = Places {
        offsets: spots.iter().map(|spot| spot.offset).collect(),
        semaphores: spots.iter().map(|spot| spot.semaphore).collect(),
        cookies: spots.iter().map(|spot| spot.cookie).collect(),
    };
    match (bpf::link(program.as_fd(), path, &places, pid), spots) {
        (Ok(link), _) => vec![link],
        (Err(error), [only]) => {
            refused.push(Refused { index: only.index, error });
            Vec::new()
        }
        // What does not depend on the site.
        (Err(error), _)
            if matches!(
                error.raw_os_error(),
                Some(libc::ESRCH | libc::EPERM | libc::ENOENT | libc::EBADF)
            ) =>
        {
            let again = |spot: &Spot| Refused { index: spot.index, error: copy(&error) };
            refused.extend(spots.iter().map(again));
            Vec::new()
        }
        (Err(_), _) => {
            let (lower, upper) = spots.split_at(spots.len() / 2);
            let mut links = link(program, path, lower, pid, refused);
            links.extend(link(program, path, upper, pid, refused));
            links
        }
    }
}

/// The same error once more.
pub fn copy(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

/// The kernel's numbers for probes, from `/sys/bus/event_source/devices/uprobe`.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    number: u32,
    /// Where the semaphore's place begins in the configuration; `None` before 4.20.
    semaphore_bit: Option<u32>,
}

impl Kind {
    /// As this kernel has them; `None` if it has no probes.
    pub fn read() -> Option<Kind> {
        let base = Path::new("/sys/bus/event_source/devices/uprobe");
        let number = std::fs::read_to_string(base.join("type")).ok()?.trim().parse().ok()?;
        let format = std::fs::read_to_string(base.join("format/ref_ctr_offset")).ok();
        let range = |text: String| text.trim().strip_prefix("config:")?.split('-').next()?.parse().ok();
        Some(Kind { number, semaphore_bit: format.and_then(range) })
    }
}

/// Attaches `program` to one spot.
pub fn event(
    kind: Kind,
    program: &OwnedFd,
    path: &CString,
    spot: Spot,
    pid: Option<u32>,
) -> io::Result<OwnedFd> {
    let mut attr = perf_event_attr::default();
    attr.size = size_of::<perf_event_attr>() as u32;
    attr.type_ = kind.number;
    attr.config = match (spot.semaphore, kind.semaphore_bit) {
        (0, _) => 0,
        (offset, Some(bit)) if bit == 32 && offset < 1 << 32 => offset << 32,
        _ => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel cannot raise its semaphore"));
        }
    };
    attr.__bindgen_anon_1.sample_period = 1;
    attr.__bindgen_anon_3.uprobe_path = path.as_ptr() as u64;
    attr.__bindgen_anon_4.probe_offset = spot.offset;
    // For all processes it is opened on one processor: programs run on each.
    let (pid, processor) = pid.map_or((-1, 0), |pid| (pid as i32, -1));
    let flags = bindings::PERF_FLAG_FD_CLOEXEC.into();
    // SAFETY: `attr` is initialized, has its size in it, and the path that it points to lives until this returns.
    let event = unsafe { perf_event_open_sys::perf_event_open(&mut attr, pid, processor, -1, flags) };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nobody else knows of it.
    let event = unsafe { OwnedFd::from_raw_fd(event) };
    // SAFETY: both descriptors are open, and the request keeps no pointer.
    if unsafe { ioctls::SET_BPF(event.as_raw_fd(), program.as_raw_fd() as u32) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(event)
}

/// The path as the kernel takes it.
pub fn path(file: &Path) -> io::Result<CString> {
    Ok(CString::new(file.as_os_str().as_bytes())?)
}

/// Closes all, at once: each alone waits until no processor runs the probe any more.
pub fn close(opened: Vec<OwnedFd>) {
    const THREADS: usize = 64;
    let mut parts: Vec<Vec<OwnedFd>> = Vec::new();
    parts.resize_with(THREADS.min(opened.len()), Vec::new);
    let count = parts.len().max(1);
    for (index, descriptor) in opened.into_iter().enumerate() {
        parts[index % count].push(descriptor);
    }
    std::thread::scope(|scope| {
        for part in parts {
            // Where no thread can be started, they are closed right here.
            let _ = std::thread::Builder::new().spawn_scoped(scope, move || drop(part));
        }
    });
}
