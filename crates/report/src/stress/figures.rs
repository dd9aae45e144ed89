//! What follows from the figures of a stress run.

use super::{Finding, Loaded, Overwrite, Probe, Report, Sample, Verdict};

impl Report {
    /// The process that a finding is about.
    #[must_use]
    pub fn loaded_of(&self, finding: &Finding) -> Option<&Loaded> {
        self.loaded.iter().find(|loaded| loaded.pid == finding.pid)
    }

    /// The chunk to show for a finding.
    #[must_use]
    pub fn chunk_of(&self, finding: &Finding) -> Option<&Overwrite> {
        self.loaded_of(finding)?.overwritten.get(finding.example?)
    }

    /// Whether several were loaded, to be compared.
    #[must_use]
    pub fn compares(&self) -> bool {
        self.loaded.len() > 1
    }

    /// Whether the run was broken off by the user.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.exit_status == 130
    }

    /// Whether nothing was shown: neither that it holds nor that it does not.
    #[must_use]
    pub fn undecided(&self) -> bool {
        self.verdict == Verdict::Inconclusive || self.interrupted()
    }
}

impl Loaded {
    /// Allocations a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.allocations as f64 / self.seconds } else { 0.0 }
    }

    /// By how much the resident set had grown at its peak.
    #[must_use]
    pub fn grown(&self) -> u64 {
        self.peak.resident.saturating_sub(self.before.resident)
    }

    /// How much of that came back when all was freed; `None`: the process had ended.
    #[must_use]
    pub fn returned(&self) -> Option<u64> {
        self.after.map(|after| self.peak.resident.saturating_sub(after.resident).min(self.grown()))
    }

    /// At most so many samples, those with the most resident memory of each stretch of time.
    #[must_use]
    pub fn thinned(&self, most: usize) -> Vec<&Sample> {
        let stretch = self.samples.len().div_ceil(most.max(1)).max(1);
        let peak = |samples: &'_ [Sample]| -> Option<usize> {
            (0..samples.len()).max_by_key(|&index| samples[index].resident)
        };
        self.samples.chunks(stretch).filter_map(|chunk| peak(chunk).map(|index| &chunk[index])).collect()
    }
}

impl Overwrite {
    /// How many of the bytes that are not as they were lie behind those that were kept; `None`: all were kept.
    #[must_use]
    pub fn beyond_dump(&self) -> Option<u64> {
        let kept = self.expected.len().max(self.found.len()) as u64 / 2;
        self.length.checked_sub(kept).filter(|&more| more > 0)
    }
}

impl Probe {
    /// How many times as long as without load it took under load: median, 95 of 100, longest. `None` where it never
    /// succeeded, or took no time.
    #[must_use]
    pub fn ratios(&self) -> [Option<f64>; 3] {
        let (before, under) = (&self.unloaded, &self.loaded);
        let ratio = |before: f64, under: f64| {
            (self.unloaded.runs > 0 && self.loaded.runs > 0 && before > 0.0).then(|| under / before)
        };
        [
            ratio(before.median_ms, under.median_ms),
            ratio(before.p95_ms, under.p95_ms),
            ratio(before.max_ms, under.max_ms),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{allocators_report, stress_report};

    #[test]
    fn a_finding_shows_the_chunk_that_stands_for_all() {
        let report = stress_report();
        let finding = report.findings[0].clone();
        assert_eq!(report.chunk_of(&finding).unwrap().address, "0x7f3a1c0042a0");
        assert!(report.chunk_of(&Finding { example: Some(99), ..finding.clone() }).is_none());
        assert!(report.chunk_of(&Finding { pid: 1, ..finding }).is_none());
    }

    #[test]
    fn what_came_back_is_never_more_than_what_had_grown() {
        let mut loaded = allocators_report().loaded[0].clone();
        (loaded.before.resident, loaded.peak.resident) = (100, 300);
        for (after, returned) in [(100, 200), (50, 200), (250, 50), (400, 0)] {
            loaded.after.as_mut().unwrap().resident = after;
            assert_eq!(loaded.returned(), Some(returned));
        }
        loaded.after = None;
        assert_eq!(loaded.returned(), None);
    }

    #[test]
    fn thinned_samples_keep_the_peak() {
        let loaded = &stress_report().loaded[0];
        let thin = loaded.thinned(10);
        assert!(thin.len() <= 10, "{}", thin.len());
        let peak = |samples: &mut dyn Iterator<Item = u64>| samples.max();
        assert_eq!(
            peak(&mut thin.iter().map(|sample| sample.resident)),
            peak(&mut loaded.samples.iter().map(|sample| sample.resident))
        );
        assert_eq!(loaded.thinned(10_000).len(), loaded.samples.len());
    }

    #[test]
    fn a_probe_that_never_succeeded_has_no_ratio() {
        let mut probe = stress_report().loaded[0].probe.clone().unwrap();
        assert_eq!(probe.ratios()[0], Some(1.5));
        probe.loaded.runs = 0;
        assert_eq!(probe.ratios(), [None; 3]);
    }
}
