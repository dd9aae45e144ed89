//! Why a process cannot be followed by probes.

use std::io;

/// Why a process cannot be followed by probes.
#[derive(Debug, thiserror::Error)]
pub enum UprobeError {
    /// The kernel lets root and holders of `CAP_SYS_ADMIN` set such probes, nobody else, whatever
    /// `kernel.perf_event_paranoid` says. `CAP_PERFMON` with `CAP_BPF` is not enough (seen in 6.18).
    #[error(
        "probes take root or CAP_SYS_ADMIN (run memtrial with sudo), whatever kernel.perf_event_paranoid is \
         (here {paranoid}); a container or sandbox may forbid them to root as well"
    )]
    NotAllowed {
        /// `kernel.perf_event_paranoid`, or `unknown`.
        paranoid: String,
    },
    /// The kernel was built without `CONFIG_UPROBE_EVENTS` or `CONFIG_BPF_EVENTS`, or is too old (before 4.17).
    #[error("this kernel has no probes on programs (CONFIG_UPROBE_EVENTS, CONFIG_BPF_EVENTS)")]
    NoUprobes,
    /// There is no such process, or it has ended.
    #[error("there is no process {0}")]
    Gone(i32),
    /// There is nothing to follow, or no way to tell allocations and frees apart.
    #[error("the allocator has no function to follow that {0}")]
    Nothing(&'static str),
    /// Something else.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl UprobeError {
    /// For `map_err`: what was being done.
    pub(super) fn doing(what: &str) -> impl FnOnce(io::Error) -> UprobeError + use<'_> {
        move |source| UprobeError::Io { what: what.to_owned(), source }
    }
}
