//! Where control sockets are: in a folder of the user's alone.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// How often a folder is made anew that others remove meanwhile.
const TRIES: u32 = 100;

/// The folder: in the user's runtime directory, else in /tmp, with the user's id in its name.
#[must_use]
pub fn folder() -> PathBuf {
    let user = user();
    let own = |path: &PathBuf| fs::metadata(path).is_ok_and(|facts| facts.is_dir() && facts.uid() == user);
    let stated = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = PathBuf::from(format!("/run/user/{user}"));
    match stated.into_iter().chain([usual]).find(own) {
        Some(runtime) => runtime.join("memtrial"),
        None => PathBuf::from(format!("/tmp/memtrial-{user}")),
    }
}

/// The path of the control socket of a process.
#[must_use]
pub fn socket_path(pid: i32) -> PathBuf {
    named(&folder(), pid)
}

/// Connects to the control socket at `path`.
///
/// # Errors
/// When nobody listens there, or it is not this user's: in /tmp, others may be there first.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    if fs::symlink_metadata(path)?.uid() != user() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    UnixStream::connect(path)
}

/// Whether somebody answers on the control socket at `path`.
#[must_use]
pub fn is_answered(path: &Path) -> bool {
    connect(path).is_ok()
}

fn user() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() }
}

/// Listens on the control socket of a process. Sockets that nobody answers on any more are removed, all of them.
///
/// # Errors
/// When the folder is not the user's alone, or the socket can't be made.
pub fn listen(pid: i32) -> io::Result<(UnixListener, PathBuf)> {
    listen_in(&folder(), pid)
}

fn named(folder: &Path, pid: i32) -> PathBuf {
    folder.join(format!("{pid}.sock"))
}

fn listen_in(folder: &Path, pid: i32) -> io::Result<(UnixListener, PathBuf)> {
    let path = named(folder, pid);
    for _ in 0..TRIES {
        let made = make_private(folder).and_then(|()| {
            sweep(folder);
            // Before it is listened on it would be taken for one that was left.
            let _lock = lock(folder)?;
            UnixListener::bind(&path)
        });
        match made {
            // Another memtrial has removed its last socket, and the folder with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(listener) => {
                // Nobody else gets into the folder; this is for those who look at the file alone.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
                return Ok((listener, path));
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{} goes again and again", folder.display())))
}

/// Makes a control socket, to see whether one can be made, and removes it; returns the folder.
///
/// # Errors
/// As for [`listen`].
pub fn try_listen() -> io::Result<PathBuf> {
    let (_listener, path) = listen(std::process::id().cast_signed())?;
    remove(&path);
    Ok(folder())
}

/// Removes a control socket, and the folder if it was the last one there.
pub fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    if let Some(folder) = path.parent()
        && let Ok(_lock) = lock(folder)
    {
        let _ = fs::remove_dir(folder);
    }
}

/// While this is held, nobody else makes or removes sockets of the dead in the folder, or removes the folder.
///
/// # Errors
/// When the folder is gone.
fn lock(folder: &Path) -> io::Result<File> {
    let lock = File::open(folder)?;
    lock.lock()?;
    let (held, named) = (lock.metadata()?, fs::metadata(folder)?);
    if (held.dev(), held.ino()) == (named.dev(), named.ino()) {
        Ok(lock)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "it was made anew"))
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let facts = fs::symlink_metadata(folder)?;
    if !facts.is_dir() || facts.uid() != user() || facts.mode() & 0o077 != 0 {
        let reason = format!("{} is not a folder of this user's alone", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

/// Removes the sockets that processes have left which are gone.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        // Whoever does not answer may just have been about to.
        if is_socket
            && !is_answered(&path)
            && let Ok(_lock) = lock(folder)
            && !is_answered(&path)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_with_its_last_socket() {
        let folder = tempfile::tempdir().unwrap().path().join("memtrial");
        fs::create_dir_all(&folder).unwrap();
        let paths = ["1.sock", "2.sock"].map(|name| folder.join(name));
        let _listeners = paths.each_ref().map(|path| UnixListener::bind(path).unwrap());
        remove(&paths[0]);
        assert!(folder.is_dir() && !paths[0].exists() && paths[1].exists());
        remove(&paths[1]);
        assert!(!folder.exists());
    }

    #[test]
    fn memtrials_that_begin_at_the_same_time_leave_each_other_s_sockets_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("memtrial");
        std::thread::scope(|scope| {
            for pid in 1..=4 {
                let folder = &folder;
                scope.spawn(move || {
                    for _ in 0..100 {
                        let (_listener, path) = listen_in(folder, pid).unwrap();
                        assert!(is_answered(&path), "{}", path.display());
                        remove(&path);
                    }
                });
            }
        });
        assert!(!folder.exists());
    }

    #[test]
    fn a_socket_that_others_have_put_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(is_answered(&path));
        // Only root can give it away.
        if std::os::unix::fs::chown(&path, Some(user() + 1), None).is_ok() {
            assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memtrial");
        make_private(&path).unwrap();
        make_private(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(make_private(&path).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(make_private(&link).is_err());
    }
}
