//! The agent's library, which the executable carries inside itself.

/// The library, built along with this executable.
pub static AGENT: &[u8] = include_bytes!(env!("MEMTRIAL_AGENT_LIBRARY"));
