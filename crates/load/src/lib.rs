//! The load that memtrial puts on a heap, and the commands that steer it.
//!
//! All of it runs inside the target, in threads of the agent's. It allocates nothing but the chunks that it was told to:
//! what it remembers of them lies in memory that its [`host::Host`] maps.
#![cfg_attr(not(test), no_std)]

pub mod arguments;
mod budget;
mod by_size;
mod chunks;
pub mod command;
#[cfg(test)]
mod commands;
mod counters;
#[cfg(test)]
mod fake;
pub mod framing;
pub mod host;
pub mod json;
pub mod load;
pub mod manual;
mod mapped;
pub mod methods;
mod overwritten;
mod owner;
mod pattern;
pub mod quantity;
mod random;
pub mod reply;
pub mod request;
mod results;
mod segments;
pub mod serve;
mod settings;
mod sizes;
#[cfg(test)]
mod speed;
pub mod table;
mod test;
mod tests;
pub mod text;
pub mod value;
pub mod writer;
