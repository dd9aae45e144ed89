//! Handing a control socket over to the agent, which can't always make it: another user's folder, another root.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memtrial_wire::layout::{HANDOVER, LEASED, SETTLED};

use crate::descriptors;

/// Where the agent is awaited.
#[derive(Debug)]
pub struct Handover {
    listener: UnixListener,
    path: PathBuf,
}

impl Handover {
    /// Awaits the agent that is told of the controller's memory at `memory`.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn prepare(memory: &Path) -> io::Result<Handover> {
        let mut name = memory.as_os_str().to_owned();
        name.push(HANDOVER);
        let path = PathBuf::from(name);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Handover { listener, path })
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the agent in `pid`; `alive` says whether it may still come.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn meet(&self, pid: i32, patience: Duration, alive: impl Fn() -> bool) -> io::Result<UnixStream> {
        let end = Instant::now() + patience;
        loop {
            match self.listener.accept() {
                // Another process could only be one of the same user's, or of the target's.
                Ok((stream, _)) if peer(&stream) == Some(pid) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if !alive() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the process has ended"));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its thread does not report"));
            }
            wait_for_input(self.listener.as_raw_fd(), left.min(Duration::from_millis(100)));
        }
    }

    /// Gives the agent that was met its control socket, and waits until it answers there. `leased`: it leaves when the
    /// connection ends.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn give(
        self,
        mut agent: UnixStream,
        control: UnixListener,
        leased: bool,
        patience: Duration,
    ) -> io::Result<UnixStream> {
        let kind = if leased { LEASED } else { SETTLED };
        descriptors::send(agent.as_raw_fd(), &[kind], Some(control.as_raw_fd()))?;
        drop(control);
        agent.set_read_timeout(Some(patience))?;
        let mut answer = [0];
        agent.read_exact(&mut answer)?;
        Ok(agent)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The process at the other end.
fn peer(stream: &UnixStream) -> Option<i32> {
    // SAFETY: plain data that the call fills in.
    let mut peer: libc::ucred = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes.
    let known = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    (known == 0).then_some(peer.pid)
}

/// Waits until there is something to read or accept, at most for `time`.
fn wait_for_input(fd: RawFd, time: Duration) {
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let time = i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&raw mut polled, 1, time) };
}
