//! Hits as a recording.

use std::io;
use std::path::{Path, PathBuf};

use memtrial_events::recording::Writer;
use memtrial_events::{Hit, Table};

use super::Sink;

/// Writes a recording. It is begun with the first hit, so that the table is known.
pub struct Simple {
    path: PathBuf,
    writer: Option<Writer>,
}

impl Simple {
    /// Writes it to a file, which is made anew.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn create(path: &Path) -> io::Result<Simple> {
        std::fs::File::create(path)?;
        Ok(Simple { path: path.to_owned(), writer: None })
    }

    fn writer(&mut self, table: &Table) -> io::Result<&mut Writer> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::create(&self.path, table)?,
        };
        Ok(self.writer.insert(writer))
    }
}

impl Sink for Simple {
    fn hit(&mut self, table: &Table, hit: &Hit) -> io::Result<()> {
        self.writer(table)?.hit(table, hit)
    }

    fn lost(&mut self, table: &Table, hits: u64, _: u64) -> io::Result<()> {
        self.writer(table)?.lost(hits);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Writer::flush)
    }

    fn finish(&mut self, table: &Table) -> io::Result<()> {
        self.writer(table)?.flush()
    }
}
