//! The backend that writes a line for each event into the kernel's trace buffer, beside what the kernel itself traces.

use memtrial_wire::line::Line;
use memtrial_wire::tracing::Tracing;

use super::{Argument, format, path};
use crate::{files, system};

/// Writes `memtrial:name arguments`: the kernel adds process, processor and time.
pub fn tell(event: u16, arguments: &[Argument], tracing: &Tracing) -> bool {
    let mut buffer = [0; format::LINE];
    let mut line = Line::new(&mut buffer);
    line.text(b"memtrial:");
    format::event(&mut line, event, arguments);
    let Some(Ok(fd)) = path(&tracing.marker).map(files::open_to_write) else { return false };
    let written = files::write(fd, line.end(Some(b'\n')));
    system::close(fd);
    written.is_ok()
}
