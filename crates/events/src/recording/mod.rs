//! Recordings, in the format of [`memtrial_wire::recording`]: read when they are complete, followed while they are being
//! written, and written.

mod chunk;
mod clock;
mod error;
mod follower;
mod head;
mod reader;
mod record;
mod table;
mod writer;

pub use error::RecordingError;
pub use follower::Follower;
pub use reader::{Hits, Recording};
pub use writer::Writer;
