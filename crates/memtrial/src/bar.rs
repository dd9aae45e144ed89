//! The bar that shows on stderr how a trial gets on; on a terminal only.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that is not drawn yet, and never will be if `quiet`.
pub fn new(quiet: bool) -> ProgressBar {
    let hidden = quiet || !io::stderr().is_terminal();
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    ProgressBar::with_draw_target(None, target)
}

/// Begins anew, with what this phase shows.
pub fn begin(bar: &ProgressBar, template: &str, phase: &'static str) {
    // Before anything is drawn.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_prefix(phase);
    bar.reset();
}
