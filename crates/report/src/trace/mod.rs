//! What came of a trace, written down as it comes.

mod arguments;
mod chrome;
mod counts;
mod ctf;
mod json;
mod lines;
pub mod listing;
mod simple;
mod text;

use std::io;

use memtrial_events::{Hit, Table};

pub use chrome::Chrome;
pub use counts::Counts;
pub use ctf::Ctf;
pub use json::Json;
pub use simple::Simple;
pub use text::Text;

/// Takes the hits of a trace, in the order of their times, and writes them down in one format.
pub trait Sink {
    /// One hit.
    ///
    /// # Errors
    /// Those of writing: a full disk, or a pipe that nobody reads.
    fn hit(&mut self, table: &Table, hit: &Hit) -> io::Result<()>;

    /// So many hits were lost at about this time (nanoseconds of CLOCK_MONOTONIC).
    ///
    /// # Errors
    /// As for [`Sink::hit`].
    fn lost(&mut self, table: &Table, hits: u64, time: u64) -> io::Result<()>;

    /// Sees to it that what came so far can be read by others.
    ///
    /// # Errors
    /// As for [`Sink::hit`].
    fn flush(&mut self) -> io::Result<()>;

    /// Writes what belongs to the end.
    ///
    /// # Errors
    /// As for [`Sink::hit`].
    fn finish(&mut self, table: &Table) -> io::Result<()>;
}
