//! A limit of the address space of a running process (`RLIMIT_AS`, setrlimit(2)).

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::observe;

/// The limits of a process's address space before and since, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AddressSpace {
    /// The soft limit that was there.
    pub before: u64,
    /// The soft limit that was set.
    pub since: u64,
}

/// Limits the process `pid` to `bytes` beside what it has mapped.
pub(super) fn limit(pid: i32, bytes: u64) -> io::Result<AddressSpace> {
    let status = fs::read(format!("/proc/{pid}/status"))?;
    let mapped = mapped(&status).ok_or_else(|| io::Error::other("it has no memory of its own"))?;
    let old = get(pid)?;
    // The soft limit can be put back by the same user; the hard one could not.
    let since = mapped.saturating_add(bytes).min(old.rlim_max);
    set(pid, libc::rlimit64 { rlim_cur: since, rlim_max: old.rlim_max })?;
    Ok(AddressSpace { before: old.rlim_cur, since })
}

impl AddressSpace {
    /// Puts the limit of the process back, and that of all below it that have inherited it.
    pub fn lift(&self, pid: i32) {
        let all = observe::processes().unwrap_or_default();
        for process in observe::below(&all, pid) {
            if let Ok(now) = get(process.pid)
                && now.rlim_cur == self.since
            {
                let _ = set(process.pid, libc::rlimit64 { rlim_cur: self.before, ..now });
            }
        }
    }
}

/// `VmSize` in `/proc/PID/status`, in bytes.
fn mapped(status: &[u8]) -> Option<u64> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"VmSize:"))?;
    let number = std::str::from_utf8(line).ok()?.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

fn get(pid: i32) -> io::Result<libc::rlimit64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: nothing is set; `old` lives.
    let done = unsafe { libc::prlimit64(pid, libc::RLIMIT_AS, std::ptr::null(), &raw mut old) };
    if done == 0 { Ok(old) } else { Err(io::Error::last_os_error()) }
}

fn set(pid: i32, new: libc::rlimit64) -> io::Result<()> {
    // SAFETY: `new` lives; the old value is not asked for.
    let done = unsafe { libc::prlimit64(pid, libc::RLIMIT_AS, &raw const new, std::ptr::null_mut()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_size_of_a_process_is_read_from_its_status() {
        assert_eq!(mapped(b"Name:\tx\nVmPeak:\t 9 kB\nVmSize:\t  12 kB\n"), Some(12 * 1024));
        assert_eq!(mapped(b"Name:\tkthreadd\n"), None);
    }

    #[test]
    fn a_limit_holds_until_it_is_lifted() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It has all its libraries when it answers.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = child.id().cast_signed();
        let before = get(pid).unwrap().rlim_cur;
        let set = limit(pid, 1 << 20).unwrap();
        let now = get(pid).unwrap().rlim_cur;
        set.lift(pid);
        let after = get(pid).unwrap().rlim_cur;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((set.before, set.since), (before, now));
        assert!(now < before && now > 1 << 20, "{now}");
        assert_eq!(after, before);
    }

    proptest! {
        #[test]
        fn any_status_is_survived(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = mapped(&text);
            let _ = mapped(&[b"VmSize:".as_slice(), &text].concat());
        }
    }
}
