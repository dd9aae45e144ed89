//! Being asked to stop: by a signal of the user's, or by the other end of a connection.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::keeper;

/// The signals by which a user asks to stop.
const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Something that asks to stop. All clones are one.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// Signals, blocked as long as this lives. Once asked is asked for good.
    Signals { fd: OwnedFd, asked: AtomicBool },
    /// Anything to read, or the end of it. What is there to read is the owner's to take.
    Input(OwnedFd),
}

impl Interrupt {
    /// SIGINT, SIGTERM and SIGHUP, which from now on do nothing else to this thread until the last clone is dropped.
    /// To be called while there is one thread; what is started meanwhile must unblock them for itself.
    ///
    /// # Errors
    /// When the kernel has no descriptor for signals left.
    pub fn new() -> io::Result<Interrupt> {
        let set = keeper::signal_set(&SIGNALS);
        // SAFETY: the set is initialised; the descriptor is new, and belongs to nobody else.
        let fd = unsafe {
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Interrupt(Arc::new(Source::Signals { fd, asked: AtomicBool::new(false) })))
    }

    /// Asks as long as there is something to read from `input`, or it has ended.
    #[must_use]
    pub fn on_input(input: OwnedFd) -> Interrupt {
        Interrupt(Arc::new(Source::Input(input)))
    }

    /// Whether to stop.
    #[must_use]
    pub fn asked(&self) -> bool {
        match &*self.0 {
            Source::Signals { fd, asked } => {
                if !asked.load(Ordering::Relaxed) && has_signal(fd) {
                    asked.store(true, Ordering::Relaxed);
                }
                asked.load(Ordering::Relaxed)
            }
            Source::Input(fd) => readable(fd.as_raw_fd(), Duration::ZERO),
        }
    }

    /// Sleeps; true as soon as it is asked to stop.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            if self.asked() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            readable(self.fd(), left);
        }
    }

    /// The descriptor that becomes readable when it is asked to stop. To be polled only: [`Interrupt::asked`] says
    /// whether it was.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        match &*self.0 {
            Source::Signals { fd, .. } | Source::Input(fd) => fd.as_raw_fd(),
        }
    }
}

impl Drop for Source {
    /// Lets the signals through again.
    fn drop(&mut self) {
        if let Source::Signals { .. } = self {
            let set = keeper::signal_set(&SIGNALS);
            // SAFETY: the set is initialised.
            unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
        }
    }
}

/// A stream that nobody may be reading: what it does not take is given up when somebody asks to stop.
#[derive(Debug)]
pub struct Stoppable {
    stream: File,
    interrupt: Interrupt,
}

/// So much can be written to a pipe that can be written to at all (pipe(7): PIPE_BUF).
const PIECE: usize = libc::PIPE_BUF;
/// Between two looks whether it is asked to stop.
const LOOK: Duration = Duration::from_millis(100);

impl Stoppable {
    /// A stream, until `interrupt` asks to stop.
    #[must_use]
    pub fn new(stream: File, interrupt: Interrupt) -> Stoppable {
        Stoppable { stream, interrupt }
    }
}

impl Write for Stoppable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            // Files on a disk can always be written to.
            let mut descriptor =
                libc::pollfd { fd: self.stream.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
            poll(std::slice::from_mut(&mut descriptor), Some(LOOK));
            if descriptor.revents != 0 {
                return self.stream.write(&bytes[..bytes.len().min(PIECE)]);
            }
            if self.interrupt.asked() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn has_signal(fd: &OwnedFd) -> bool {
    // SAFETY: plain data that the kernel fills in.
    let mut signal: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has the size of one record.
    let read = unsafe { libc::read(fd.as_raw_fd(), (&raw mut signal).cast(), size) };
    usize::try_from(read) == Ok(size)
}

/// Waits until there is something to read, or an end; false when the time has passed, or a signal came.
fn readable(fd: RawFd, time: Duration) -> bool {
    let mut descriptor = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    poll(std::slice::from_mut(&mut descriptor), Some(time));
    descriptor.revents != 0
}

/// `poll`, rounded up to milliseconds, so that a deadline has passed when the wait is over. Errors are as if nothing
/// had happened: all callers look again.
pub(crate) fn poll(descriptors: &mut [libc::pollfd], wait: Option<Duration>) {
    let wait = wait.map_or(-1, |wait| {
        let more = u128::from(wait.subsec_nanos() % 1_000_000 != 0);
        i32::try_from(wait.as_millis() + more).unwrap_or(i32::MAX)
    });
    let count = libc::nfds_t::try_from(descriptors.len()).unwrap_or(0);
    // SAFETY: the array lives through the call.
    if unsafe { libc::poll(descriptors.as_mut_ptr(), count, wait) } < 0 {
        descriptors.iter_mut().for_each(|descriptor| descriptor.revents = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_is_given_up_when_asked_to_stop() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (input, asking) = io::pipe().expect("a pipe");
        let mut stream = Stoppable::new(File::from(OwnedFd::from(writer)), Interrupt::on_input(input.into()));
        stream.write_all(b"there is room").expect("an empty pipe has room");
        drop(asking);
        let error = stream.write_all(&[0; 1 << 20]).expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(reader);
        // A child that another test starts has that, too, until it becomes its program.
        let begun = Instant::now();
        while stream.write(b"x").expect_err("nobody reads").kind() != io::ErrorKind::BrokenPipe {
            assert!(begun.elapsed() < Duration::from_secs(300), "nobody can read");
        }
    }

    #[test]
    fn input_asks_to_stop_and_so_does_its_end() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let interrupt = Interrupt::on_input(reader.try_clone().expect("a descriptor").into());
        assert!(!interrupt.asked());
        assert!(!interrupt.sleep(Duration::from_millis(5)));
        writer.write_all(b"x").expect("written");
        assert!(interrupt.clone().asked());
        io::Read::read_exact(&mut &reader, &mut [0]).expect("read");
        assert!(!interrupt.asked());
        drop(writer);
        assert!(interrupt.sleep(Duration::from_secs(600)), "it does not sleep on");
    }

    #[test]
    fn a_signal_asks_to_stop_for_good() {
        let interrupt = Interrupt::new().expect("a descriptor for signals");
        assert!(!interrupt.asked());
        // SAFETY: no pointers; this thread has the signal blocked.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGHUP) };
        assert!(interrupt.sleep(Duration::from_secs(600)));
        assert!(interrupt.asked() && interrupt.clone().asked());
    }
}
