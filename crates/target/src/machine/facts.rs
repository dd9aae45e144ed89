//! What the machine is.

use std::ffi::CStr;
use std::fs;

use super::rights;

/// What the machine is, and what it is set to, as far as memtrial minds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's release, as `6.1.0-18-amd64`.
    pub kernel: String,
    /// The version of the C library that memtrial itself runs with.
    pub glibc: String,
    /// The user that memtrial runs as.
    pub user: u32,
    /// Settings of the kernel that have a say, by name, each with its value; `not there` where this kernel has none.
    pub settings: Vec<(String, String)>,
}

const SETTINGS: [(&str, &str); 6] = [
    ("kernel.yama.ptrace_scope", "kernel/yama/ptrace_scope"),
    ("kernel.perf_event_paranoid", "kernel/perf_event_paranoid"),
    ("kernel.unprivileged_bpf_disabled", "kernel/unprivileged_bpf_disabled"),
    ("kernel.unprivileged_userns_clone", "kernel/unprivileged_userns_clone"),
    ("kernel.apparmor_restrict_unprivileged_userns", "kernel/apparmor_restrict_unprivileged_userns"),
    ("user.max_user_namespaces", "user/max_user_namespaces"),
];

impl Facts {
    /// Reads them.
    #[must_use]
    pub fn read() -> Facts {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        // SAFETY: the call returns a text that is never freed.
        let glibc = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
        let setting = |(name, path): &(&str, &str)| {
            ((*name).to_owned(), rights::setting(path).unwrap_or_else(|| "not there".to_owned()))
        };
        let mut settings: Vec<_> = SETTINGS.iter().map(setting).collect();
        let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
        settings.push(("lockdown".to_owned(), chosen(&lockdown).unwrap_or("not there").to_owned()));
        Facts {
            kernel: kernel.trim().to_owned(),
            glibc: glibc.to_string_lossy().into_owned(),
            // SAFETY: no arguments.
            user: unsafe { libc::geteuid() },
            settings,
        }
    }
}

/// The word in brackets of a list as `none [integrity] confidentiality`.
fn chosen(list: &str) -> Option<&str> {
    list.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_of_a_list_is_in_brackets() {
        assert_eq!(chosen("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_library() {
        let facts = Facts::read();
        assert!(facts.kernel.starts_with(|first: char| first.is_ascii_digit()), "{facts:?}");
        assert!(facts.glibc.starts_with("2."), "{facts:?}");
    }
}
