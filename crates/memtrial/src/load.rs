//! The load of a stress trial on stderr, and the journal of its samples.

use std::io;
use std::time::Duration;

use indicatif::ProgressBar;
use memtrial_report::store::Store;
use memtrial_report::stress::{Sample, SampleLine};
use memtrial_report::wording::{bytes, plural, printable};
use memtrial_trials::stress::trial::{Phase, Progress};

use crate::bar;

/// Shows how a trial gets on, on a terminal only, and keeps its journal.
pub struct Reporter<'a> {
    bar: ProgressBar,
    store: &'a mut Store,
    time: Duration,
}

impl Reporter<'_> {
    /// A reporter that keeps the journal in `store`, of a load that lasts so long.
    pub fn new(store: &mut Store, time: Duration, quiet: bool) -> Reporter<'_> {
        Reporter { bar: bar::new(quiet), store, time }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Reporter<'_> {
    fn begin(&mut self, phase: &Phase) {
        let (name, subject) = match phase {
            Phase::Starting => ("starting", String::new()),
            Phase::Unloaded => ("unloaded", String::new()),
            Phase::Loading(name) => ("loading", printable(name)),
            Phase::Freeing => ("freeing", String::new()),
        };
        let loads = matches!(phase, Phase::Loading(_));
        let template = if loads { "{prefix:>10} {wide_bar} {msg}" } else { "{prefix:>10}" };
        bar::begin(&self.bar, template, name);
        self.bar.set_message("");
        if loads {
            self.bar.set_length(u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX));
            self.bar.set_message(subject);
        }
        self.bar.tick();
    }

    fn sample(&mut self, place: usize, sample: &Sample) -> io::Result<()> {
        if !self.bar.is_hidden() {
            let passed = Duration::try_from_secs_f64(sample.seconds).unwrap_or_default();
            self.bar.set_position(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
            let left = self.time.saturating_sub(passed).as_secs();
            self.bar.set_message(format!("{left} s left\n           {}", figures(sample)));
        }
        self.store.append(&SampleLine { place, sample: *sample })
    }
}

/// The figures of one moment, in one line.
fn figures(sample: &Sample) -> String {
    let mut parts = vec![
        plural(sample.allocations, "allocation"),
        plural(sample.errors, "error"),
        plural(sample.overflows, "overflow"),
        format!("live {}", bytes(sample.live)),
        format!("resident {}", bytes(sample.resident)),
    ];
    if let Some(share) = sample.fragmentation {
        parts.push(format!("fragmentation {:.0} %", share * 100.0));
    }
    if sample.overwritten > 0 {
        parts.push(format!("{} overwritten", sample.overwritten));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_fit_on_a_line_and_say_what_is_wrong() {
        let mut sample = Sample {
            seconds: 1.0,
            allocations: 12_345,
            errors: 1,
            overflows: 2,
            live: 3 << 20,
            resident: 5 << 20,
            fragmentation: Some(0.123),
            ..Sample::default()
        };
        let line = "12,345 allocations  1 error  2 overflows  live 3.0 MiB  resident 5.0 MiB";
        assert_eq!(figures(&sample), format!("{line}  fragmentation 12 %"));
        sample.fragmentation = None;
        sample.overwritten = 1;
        assert_eq!(figures(&sample), format!("{line}  1 overwritten"));
    }
}
