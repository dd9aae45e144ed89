//! A private view of folders: what a run writes there nobody else sees, and can be looked at afterwards.
//!
//! Each folder is covered by an overlay file system in a mount namespace of the run's own. That takes root, or
//! user namespaces (Linux 5.11).

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The folders that a run has to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    folders: Vec<Private>,
    /// A folder that is to look empty, and an empty one to lie over it.
    hidden: Option<(PathBuf, PathBuf)>,
}

/// One private folder, and where what is written to it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Private {
    folder: PathBuf,
    upper: PathBuf,
    work: PathBuf,
}

/// An isolation made ready for a forked child, which must not allocate.
#[derive(Debug)]
pub(crate) struct Prepared {
    mounts: Vec<(CString, CString)>,
    hidden: Option<(CString, CString)>,
    maps: Option<[(CString, CString); 3]>,
}

impl Isolation {
    /// Whether a folder can be covered: not the root, nor one with a comma, colon or backslash in its path, which
    /// mount options can't spell.
    #[must_use]
    pub fn can_cover(folder: &Path) -> bool {
        let unspeakable = folder.as_os_str().as_bytes().iter().any(|c| b",:\\".contains(c));
        !unspeakable && folder.parent().is_some()
    }

    /// A private view of `folders`; what is written goes below `store`. With the same store a later process gets
    /// the same view again. The folder `hidden` looks empty in it.
    ///
    /// # Errors
    /// Those of making folders, and of a folder that can't be covered.
    pub fn new(folders: &[PathBuf], hidden: Option<&Path>, store: &Path) -> io::Result<Isolation> {
        let prepare = |(number, folder): (usize, &PathBuf)| {
            if !Isolation::can_cover(folder) {
                let reason = format!("{} can't be covered", folder.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            let private = Private {
                folder: folder.clone(),
                upper: store.join(format!("upper{number}")),
                work: store.join(format!("work{number}")),
            };
            std::fs::create_dir_all(&private.upper)?;
            std::fs::create_dir_all(&private.work)?;
            std::fs::set_permissions(&private.upper, std::fs::metadata(folder)?.permissions())?;
            Ok(private)
        };
        let folders = folders.iter().enumerate().map(prepare).collect::<io::Result<Vec<_>>>()?;
        let hidden = hidden.map(|folder| {
            let empty = store.join("empty");
            std::fs::create_dir_all(&empty).map(|()| (folder.to_owned(), empty))
        });
        Ok(Isolation { folders, hidden: hidden.transpose()? })
    }

    /// The files that were written in this view, each with the path it has there and the path it is kept at.
    #[must_use]
    pub fn written(&self) -> Vec<(PathBuf, PathBuf)> {
        let mut files = Vec::new();
        for private in &self.folders {
            collect_files(&private.upper, &private.folder, &mut files);
        }
        files.sort();
        files
    }

    pub(crate) fn prepare(&self) -> io::Result<Prepared> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
        let mount = |private: &Private| {
            let options = [
                b"lowerdir=".as_slice(),
                private.folder.as_os_str().as_bytes(),
                b",upperdir=",
                private.upper.as_os_str().as_bytes(),
                b",workdir=",
                private.work.as_os_str().as_bytes(),
            ]
            .concat();
            Ok((text(private.folder.as_os_str().as_bytes())?, text(&options)?))
        };
        // SAFETY: no arguments.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let maps = if user == 0 {
            None
        } else {
            Some([
                (text(b"/proc/self/setgroups")?, text(b"deny")?),
                (text(b"/proc/self/uid_map")?, text(format!("{user} {user} 1").as_bytes())?),
                (text(b"/proc/self/gid_map")?, text(format!("{group} {group} 1").as_bytes())?),
            ])
        };
        let path = |path: &Path| text(path.as_os_str().as_bytes());
        let hidden =
            self.hidden.as_ref().map(|(folder, empty)| Ok::<_, io::Error>((path(folder)?, path(empty)?)));
        let mounts = self.folders.iter().map(mount).collect::<io::Result<_>>()?;
        Ok(Prepared { mounts, hidden: hidden.transpose()?, maps })
    }
}

/// Collects regular files below `upper`, under the names that they have below `folder`.
fn collect_files(upper: &Path, folder: &Path, files: &mut Vec<(PathBuf, PathBuf)>) {
    for entry in std::fs::read_dir(upper).into_iter().flatten().flatten() {
        let name = folder.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect_files(&entry.path(), &name, files),
            Ok(kind) if kind.is_file() => files.push((name, entry.path())),
            _ => {}
        }
    }
}

impl Prepared {
    /// In a forked child: takes the private view. Makes system calls only.
    ///
    /// # Errors
    /// The error of the call that the kernel refused.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let spaces = libc::CLONE_NEWNS | if self.maps.is_some() { libc::CLONE_NEWUSER } else { 0 };
        // SAFETY: no pointers.
        check(unsafe { libc::unshare(spaces) })?;
        for (path, text) in self.maps.iter().flatten() {
            write_whole(path, text)?;
        }
        let none = std::ptr::null();
        let recursive_private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: NUL-terminated paths.
        check(unsafe { libc::mount(none, c"/".as_ptr(), none, recursive_private, none.cast()) })?;
        for (folder, options) in &self.mounts {
            let kind = c"overlay".as_ptr();
            // SAFETY: NUL-terminated texts.
            check(unsafe { libc::mount(kind, folder.as_ptr(), kind, 0, options.as_ptr().cast()) })?;
        }
        if let Some((folder, empty)) = &self.hidden {
            // SAFETY: NUL-terminated paths.
            check(unsafe { libc::mount(empty.as_ptr(), folder.as_ptr(), none, libc::MS_BIND, none.cast()) })?;
        }
        Ok(())
    }
}

fn write_whole(path: &CString, text: &CString) -> io::Result<()> {
    // SAFETY: a NUL-terminated path; the descriptor is closed below.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    check(fd)?;
    let bytes = text.as_bytes();
    // SAFETY: the bytes live, and the descriptor is ours.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    // SAFETY: the descriptor is ours.
    unsafe { libc::close(fd) };
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
