//! The rounds of a leak trial on stderr, and their journal.

use std::io;

use indicatif::ProgressBar;
use memtrial_report::leak::Role;
use memtrial_report::store::Store;
use memtrial_report::terminal;
use memtrial_report::wording::{bytes, printable};
use memtrial_trials::leak::journal::Line;
use memtrial_trials::leak::watched::Watched;
use memtrial_trials::leak::{Phase, Progress};

use crate::bar;

/// Rounds between two drawings of the plot.
const DRAWN: usize = 2;
/// Rows of the plot.
const ROWS: usize = 8;

/// Shows how a trial gets on, on a terminal only, and keeps its journal.
pub struct Reporter<'a> {
    bar: ProgressBar,
    store: &'a mut Store,
    made: u32,
}

impl Reporter<'_> {
    /// A reporter that keeps the journal in `store`.
    pub fn new(store: &mut Store, quiet: bool) -> Reporter<'_> {
        Reporter { bar: bar::new(quiet), store, made: 0 }
    }

    /// Takes the bar away; says how many rounds the journal has.
    pub fn finish(self) -> u32 {
        self.bar.finish_and_clear();
        self.made
    }
}

impl Progress for Reporter<'_> {
    fn begin(&mut self, phase: Phase, rounds: u32) {
        let name = match phase {
            Phase::Starting => "starting",
            Phase::Rounds => "rounds",
            Phase::Locating => "locating",
        };
        let template = "{prefix:>10} {wide_bar} {human_pos}/{human_len} {per_sec} ETA {eta}\n{msg}";
        bar::begin(&self.bar, template, name);
        self.bar.set_length(rounds.into());
        self.bar.tick();
    }

    fn round(&mut self, round: u32, watched: &[Watched]) {
        self.bar.inc(1);
        let target = watched.iter().find(|one| one.role == Role::Target && one.lives());
        let Some((one, last)) = target.and_then(|one| Some((one, one.samples.last()?))) else { return };
        if self.bar.is_hidden() || !(round as usize).is_multiple_of(DRAWN) {
            return;
        }
        let series: Vec<(u32, u64)> =
            one.samples.iter().map(|sample| (sample.round, sample.figures.held_privately())).collect();
        let figures = last.figures;
        let first = one.samples.first().map_or(0, |sample| sample.figures.held_privately());
        let sign = if figures.held_privately() < first { "-" } else { "+" };
        self.bar.set_message(format!(
            "{} (pid {})  private {} ({sign}{})  resident {}\n{}",
            printable(&one.identity.name),
            one.identity.pid,
            bytes(figures.held_privately()),
            bytes(figures.held_privately().abs_diff(first)),
            bytes(figures.held()),
            terminal::leak::progress_plot(&series, 76, ROWS),
        ));
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        if let Line::Round { round, .. } = line {
            self.made = *round;
        }
        self.store.append(line)
    }
}
