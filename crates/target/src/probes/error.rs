//! Why static probes cannot be watched.

use std::io;

/// Why static probes cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum ProbesError {
    /// The kernel does not let this user.
    #[error("the kernel refuses BPF to this user: probes take root, or CAP_BPF with CAP_PERFMON")]
    NotAllowed,
    /// The kernel lacks what it takes.
    #[error(
        "this kernel has no probes on programs that BPF can be used with (CONFIG_UPROBES, CONFIG_BPF_EVENTS)"
    )]
    NoProbes,
    /// There is no such process, or it has ended.
    #[error("there is no process {0}")]
    Gone(i32),
    /// Something else.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ProbesError {
    /// For `map_err`: what was being done.
    pub(super) fn doing(what: &str) -> impl FnOnce(io::Error) -> ProbesError + use<'_> {
        move |source| match source.raw_os_error() {
            Some(libc::EPERM) => ProbesError::NotAllowed,
            Some(libc::ENOSYS) => ProbesError::NoProbes,
            _ => ProbesError::Io { what: what.to_owned(), source },
        }
    }
}
