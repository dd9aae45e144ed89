//! The scratch folder of a run: made for this user alone, and gone when memtrial is, however it ends.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where scratch folders are made, in the order they are tried. Memory first: snapshots write there often.
const PLACES: [&str; 2] = ["/dev/shm", "/tmp"];

/// Name of the file in a scratch folder that its owner holds locked.
const LOCK: &str = "lock";

/// Picks the place for scratch folders: writable, and code can be loaded from it.
///
/// # Errors
/// When there is none.
pub fn place() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places = PLACES.iter().map(PathBuf::from).chain(runtime);
    places.into_iter().find(|place| is_usable(place)).ok_or_else(|| {
        let tried = "/dev/shm, /tmp and $XDG_RUNTIME_DIR";
        io::Error::new(io::ErrorKind::NotFound, format!("none of {tried} is writable and allows executables"))
    })
}

fn is_usable(place: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(facts) = file_system(place) else { return false };
    let Ok(path) = std::ffi::CString::new(place.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path is NUL-terminated.
    let writable = unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) } == 0;
    writable && facts.f_flag & libc::ST_NOEXEC == 0
}

/// Bytes that the file system of `place` has room for.
///
/// # Errors
/// Those of `statvfs`.
pub fn room(place: &Path) -> io::Result<u64> {
    file_system(place).map(|facts| facts.f_bavail.saturating_mul(facts.f_frsize))
}

fn file_system(place: &Path) -> io::Result<libc::statvfs> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(place.as_os_str().as_bytes())?;
    // SAFETY: `statvfs` is plain data, which the call fills in.
    let mut facts: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated, and `facts` lives.
    match unsafe { libc::statvfs(path.as_ptr(), &raw mut facts) } {
        0 => Ok(facts),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The name of the scratch folder of process `pid` in `place`.
#[must_use]
pub fn path_of(place: &Path, pid: u32) -> PathBuf {
    place.join(format!("memtrial-{pid}"))
}

/// A scratch folder. The lock is held as long as this lives, in every process that has a copy.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes the folder at `path`, after removing those that memtrials which were killed have left beside it.
    ///
    /// # Errors
    /// Those of making the folder and its lock.
    pub fn create(path: &Path) -> io::Result<Scratch> {
        if let Some(place) = path.parent() {
            remove_abandoned(place);
        }
        // It gets its name with the lock held: without, another memtrial would take it for an abandoned one.
        let unlocked = path.with_extension("new");
        // Of one that was killed at this point, with the same pid.
        let _ = fs::remove_dir_all(&unlocked);
        DirBuilder::new().mode(0o700).create(&unlocked)?;
        let lock = File::create(unlocked.join(LOCK))?;
        lock_exclusively(&lock)?;
        fs::rename(&unlocked, path)?;
        Ok(Scratch { path: path.to_owned(), _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder in it.
    ///
    /// # Errors
    /// Those of making a folder.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
        Ok(path)
    }
}

/// Removes a scratch folder and all in it, also what a target has made unreadable there.
pub fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_err() {
        make_writable(path);
        let _ = fs::remove_dir_all(path);
    }
}

/// Gives this user every right on the folders below `path`; symbolic links are not followed.
fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

fn lock_exclusively(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn remove_abandoned(place: &Path) {
    // SAFETY: no arguments.
    let me = unsafe { libc::geteuid() };
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix("memtrial-"));
        let ours = digits.is_some_and(|pid| pid.parse::<u32>().is_ok());
        let mine = entry.metadata().is_ok_and(|facts| facts.is_dir() && facts.uid() == me);
        if ours && mine && is_abandoned(&entry.path()) {
            // Where its keeper was killed, too, nobody has.
            crate::limit::clean_up(&entry.path());
            remove(&entry.path());
        }
    }
}

/// Whether nobody holds the lock.
fn is_abandoned(path: &Path) -> bool {
    File::open(path.join(LOCK)).is_ok_and(|lock| lock_exclusively(&lock).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_folder_is_removed_and_a_living_one_stays() {
        let place = tempfile::tempdir().unwrap();
        let living = Scratch::create(&path_of(place.path(), 1)).unwrap();
        let abandoned = Scratch::create(&path_of(place.path(), 2)).unwrap().path().to_owned();
        fs::create_dir(place.path().join("memtrial-other")).unwrap();
        let begun = std::time::Instant::now();
        for next in 3.. {
            let next = Scratch::create(&path_of(place.path(), next)).unwrap();
            assert!(living.path().exists() && next.path().exists());
            // A child that another test starts holds the lock, too, until it becomes its program.
            if !abandoned.exists() {
                break;
            }
            assert!(begun.elapsed().as_secs() < 300, "it is not removed");
        }
        assert!(place.path().join("memtrial-other").exists());
    }

    #[test]
    fn memtrials_that_begin_at_the_same_time_leave_each_other_s_folders_alone() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for first in 0..8 {
                let place = place.path();
                scope.spawn(move || {
                    for pid in 0..100 {
                        let scratch = Scratch::create(&path_of(place, first * 1000 + pid)).unwrap();
                        scratch.folder("needed").unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn a_folder_made_unreadable_by_a_target_is_removed_too() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let inner = place.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o000)).unwrap();
        remove(&place.path().join("a"));
        assert!(!place.path().join("a").exists());
    }
}
