//! What the agent is told about events: which are enabled, and where they go. Part of the shared memory.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Where the agent sends events; bits of [`Tracing::backends`].
pub mod backend {
    /// A line of text for each, to stderr or to a file.
    pub const LOG: u32 = 1;
    /// Records in a file (see [`crate::recording`]).
    pub const SIMPLE: u32 = 2;
    /// A datagram for each, to `/dev/log`.
    pub const SYSLOG: u32 = 4;
    /// A line for each in the kernel's trace buffer, by `trace_marker`.
    pub const FTRACE: u32 = 8;
    /// A line for each to LTTng's `lttng_ust_tracef`.
    pub const UST: u32 = 16;
}

/// Bytes of a path.
pub const PATH: usize = 512;

/// Which events are enabled, and where they go.
#[repr(C)]
pub struct Tracing {
    /// A bit for each event by its number; may change at any time.
    pub enabled: AtomicU64,
    /// Bits of [`backend`].
    pub backends: AtomicU32,
    /// 1 where backend [`backend::UST`] is wanted but its library is not there.
    pub no_ust: AtomicU32,
    /// 1: each record of [`backend::SIMPLE`] has one number more, behind its arguments: the hash of the site that its call stack
    /// has in the table of sites; 0 if it has none.
    pub stacks: u64,
    /// Events that a backend could not take: no room, no file, nobody who listens.
    pub lost: AtomicU64,
    /// What is added to the time of day in UTC to get the local time, in seconds: the agent has no table of time zones.
    pub local_offset: i64,
    /// File of [`backend::LOG`], NUL-terminated; empty: stderr.
    pub log: [u8; PATH],
    /// File of [`backend::SIMPLE`], NUL-terminated.
    pub recording: [u8; PATH],
    /// File of [`backend::FTRACE`], NUL-terminated.
    pub marker: [u8; PATH],
}
