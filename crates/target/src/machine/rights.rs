//! Whose rights memtrial has, and what to do for more.

use std::fs;

use crate::processes;

/// Capabilities by their numbers (`linux/capability.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capability {
    Ptrace = 19,
    Admin = 21,
    Perfmon = 38,
    Bpf = 39,
}

/// Whether this process may make use of a capability, in whatever user namespace it is in.
pub(super) fn has(capability: Capability) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status).is_some_and(|bits| bits >> capability as u32 & 1 == 1)
}

fn effective(status: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(text.trim(), 16).ok()
}

/// Whether this is the first user namespace: what its root may, no other may.
pub(super) fn in_first_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// What keeps this process from what takes root, and the command that helps.
pub(super) fn not_root(what: &str) -> (String, Option<String>) {
    let as_root = Some(format!("sudo {what}"));
    if !in_first_namespace() {
        let user = if processes::is_root() {
            "root of a container (user namespace)"
        } else {
            "a user of a container"
        };
        (format!("{user} is not allowed to: it takes root of the machine"), None)
    } else if processes::is_root() {
        ("the kernel does not allow it, not even to root: a container or sandbox forbids it".to_owned(), None)
    } else {
        ("it takes root".to_owned(), as_root)
    }
}

/// A setting of the kernel's below `/proc/sys`, if there is one.
pub(super) fn setting(path: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status() {
        assert_eq!(effective("CapPrm:\t0000000000000001\nCapEff:\t000000c000200000\n"), Some(0xc0_0020_0000));
        assert_eq!(effective("CapEff:\tx\n"), None);
        assert_eq!(effective(""), None);
    }
}
