//! The backend that writes a line for each event, to stderr or to a file.

use memtrial_wire::line::Line;
use memtrial_wire::tracing::Tracing;

use super::{Argument, format, path};
use crate::{files, system};

const STDERR: u64 = 2;

/// Writes `PID@SECONDS.MICROS:name arguments` by one call, so that lines of several processes do not mix. The file is opened
/// for each line: a descriptor that stayed could be closed by the target, and its number be another file's then.
pub fn tell(event: u16, arguments: &[Argument], tracing: &Tracing) -> bool {
    let mut buffer = [0; format::LINE];
    let mut line = Line::new(&mut buffer);
    let microseconds = files::time_of_day() / 1000;
    line.number(system::getpid().into(), 1);
    line.text(b"@");
    line.number(microseconds / 1_000_000, 1);
    line.text(b".");
    line.number(microseconds % 1_000_000, 6);
    line.text(b":");
    format::event(&mut line, event, arguments);
    let line = line.end(Some(b'\n'));
    let Some(path) = path(&tracing.log) else {
        return files::write(STDERR, line).is_ok();
    };
    let Ok(fd) = files::open_to_append(path) else { return false };
    let written = files::write(fd, line);
    system::close(fd);
    written.is_ok()
}
