//! Styles and stacks, as every report on a terminal has them.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::frames::line;
use crate::model::Frame;

/// Columns that everything but stacks fits into.
pub const WIDTH: usize = 80;

/// Frames shown of a stack; the rest is in `findings.json`.
const FRAMES: usize = 12;

/// Of what fails.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Of what is not sure.
pub const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
/// Of what passes.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Of what matters less.
pub const FAINT: Style = Style::new().dimmed();
/// Of what matters more.
pub const STRONG: Style = Style::new().bold();

/// A stack below its title.
pub fn write_stack(out: &mut String, title: &str, stack: &[Frame]) -> fmt::Result {
    writeln!(out, "  {title}")?;
    for (number, frame) in stack.iter().take(FRAMES).enumerate() {
        writeln!(out, "    {FAINT}#{number:<2}{FAINT:#} {}", line(frame))?;
    }
    match stack.len().saturating_sub(FRAMES) {
        0 => Ok(()),
        more => writeln!(out, "    {FAINT}… {more} more{FAINT:#}"),
    }
}
