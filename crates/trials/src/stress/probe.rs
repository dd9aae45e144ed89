//! The probe, asked again and again: how long it takes, and how it fails.

use std::io::{self, PipeWriter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memtrial_report::stress::{ProbeFailure, Timing};
use memtrial_target::interrupt::Interrupt;
use memtrial_target::observe::{ActionEnd, Here, Place};

use super::trial::StressError;
use crate::signal;

/// Runs without load that a figure is made of, and the time they shall take together.
const LEAST_RUNS: usize = 5;
const LEAST_TIME: Duration = Duration::from_secs(1);
/// Shortest pause between two runs: the probe shall not be a load itself.
const PAUSE: Duration = Duration::from_millis(50);
/// Failures that are kept in full.
const KEPT: usize = 16;

/// What a probe has seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// How long each success took, in milliseconds.
    pub took: Vec<f64>,
    /// The first failures.
    pub failures: Vec<ProbeFailure>,
    /// When each failure was there, in seconds since the load began.
    pub failed: Vec<f64>,
}

/// Why one run of the probe is no success, if so: in words. An interrupted one is neither.
fn why(end: &ActionEnd, limit: Duration) -> Option<String> {
    match end {
        ActionEnd::Exit(0) | ActionEnd::Interrupted => None,
        ActionEnd::Exit(status) => Some(format!("ended with status {status}")),
        ActionEnd::Signal(number) => Some(format!("was ended by {}", signal::name(*number))),
        ActionEnd::TimedOut => Some(format!("had not ended after {} s", limit.as_secs_f64())),
        ActionEnd::NotStarted(why) => Some(format!("could not be run: {why}")),
    }
}

/// The pause after a run that took so long.
fn pause(took: Duration) -> Duration {
    took.max(PAUSE)
}

/// How long the probe takes without load: at least 5 runs in at least a second, but none is begun after `limit`.
///
/// # Errors
/// When it fails, or the user interrupts.
pub fn unloaded(command: &str, limit: Duration, interrupt: &Interrupt) -> Result<Timing, StressError> {
    let mut here = Here::new(interrupt.clone());
    let begun = Instant::now();
    let mut took = Vec::new();
    loop {
        let before = Instant::now();
        let (end, printed) = here.run(command, limit)?;
        if let Some(why) = why(&end, limit) {
            return Err(StressError::Probe { why, printed: printed.trim_end().to_owned() });
        }
        let spent = before.elapsed();
        if end == ActionEnd::Interrupted || interrupt.asked() {
            return Err(StressError::Interrupted);
        }
        took.push(spent.as_secs_f64() * 1e3);
        let enough = took.len() >= LEAST_RUNS && begun.elapsed() >= LEAST_TIME;
        if enough || begun.elapsed() >= limit {
            return Ok(timing(took));
        }
        if interrupt.sleep(pause(spent)) {
            return Err(StressError::Interrupted);
        }
    }
}

/// Runs the probe once, so many seconds after the load began; why it fails, if it does.
///
/// # Errors
/// Those of looking at this machine.
pub fn once(
    command: &str,
    limit: Duration,
    begun: Instant,
    interrupt: &Interrupt,
) -> Result<Option<ProbeFailure>, StressError> {
    let (end, printed) = Here::new(interrupt.clone()).run(command, limit)?;
    let failure =
        |how| ProbeFailure { seconds: begun.elapsed().as_secs_f64(), how, printed: trimmed(&printed) };
    Ok(why(&end, limit).map(failure))
}

fn trimmed(printed: &str) -> String {
    printed.trim_end().to_owned()
}

/// The probe under load, in a thread of its own, so that nobody waits for it.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<Seen>,
    last: Arc<AtomicBool>,
    /// Closed, the probe that runs is ended.
    wish: PipeWriter,
}

impl Running {
    /// Begins to ask, under a load that began at `begun`.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn begin(command: &str, limit: Duration, begun: Instant) -> io::Result<Running> {
        let (reader, wish) = io::pipe()?;
        let interrupt = Interrupt::on_input(reader.into());
        let last = Arc::new(AtomicBool::new(false));
        let (command, is_last) = (command.to_owned(), Arc::clone(&last));
        let thread = std::thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || ask(&command, limit, begun, &interrupt, &is_last))?;
        Ok(Running { thread, last, wish })
    }

    /// Lets the run that is under way come to its end, or ends it at once, or when the user interrupts; what was seen.
    pub fn finish(self, at_once: bool, interrupt: &Interrupt) -> Seen {
        self.last.store(true, Ordering::Relaxed);
        let mut wish = Some(self.wish);
        if at_once {
            wish = None;
        }
        while !self.thread.is_finished() {
            if wish.is_none() {
                break;
            }
            if interrupt.sleep(Duration::from_millis(10)) {
                wish = None;
            }
        }
        self.thread.join().unwrap_or_default()
    }
}

fn ask(command: &str, limit: Duration, begun: Instant, interrupt: &Interrupt, last: &AtomicBool) -> Seen {
    let mut here = Here::new(interrupt.clone());
    let mut seen = Seen::default();
    while !last.load(Ordering::Relaxed) && !interrupt.asked() {
        let before = Instant::now();
        let Ok((end, printed)) = here.run(command, limit) else { break };
        let spent = before.elapsed();
        match why(&end, limit) {
            _ if end == ActionEnd::Interrupted => break,
            None => seen.took.push(spent.as_secs_f64() * 1e3),
            Some(how) => {
                let seconds = begun.elapsed().as_secs_f64();
                seen.failed.push(seconds);
                if seen.failures.len() < KEPT {
                    seen.failures.push(ProbeFailure { seconds, how, printed: trimmed(&printed) });
                }
            }
        }
        let until = Instant::now() + pause(spent);
        while Instant::now() < until && !last.load(Ordering::Relaxed) {
            if interrupt.sleep(PAUSE.min(until.saturating_duration_since(Instant::now()))) {
                break;
            }
        }
    }
    seen
}

/// Median, 95th percentile (the smallest figure that so many do not exceed) and longest of times in milliseconds.
#[must_use]
pub fn timing(mut took: Vec<f64>) -> Timing {
    took.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let rank = (took.len() as f64 * share).ceil() as usize;
        took.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    Timing { runs: took.len() as u64, median_ms: at(0.5), p95_ms: at(0.95), max_ms: at(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> (Interrupt, PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        (Interrupt::on_input(reader.into()), writer)
    }

    #[test]
    fn times_are_ranked() {
        let took = (1..=100).rev().map(f64::from).collect();
        let expected = Timing { runs: 100, median_ms: 50.0, p95_ms: 95.0, max_ms: 100.0 };
        assert_eq!(timing(took), expected);
        assert_eq!(timing(vec![3.0]), Timing { runs: 1, median_ms: 3.0, p95_ms: 3.0, max_ms: 3.0 });
        assert_eq!(timing(Vec::new()), Timing::default());
    }

    #[test]
    fn a_probe_is_run_until_there_are_figures_enough() {
        let (interrupt, _writer) = quiet();
        let timing = unloaded("true", Duration::from_secs(600), &interrupt).unwrap();
        assert!(timing.runs >= 5 && timing.median_ms <= timing.p95_ms, "{timing:?}");
    }

    #[test]
    fn a_probe_that_fails_without_load_is_an_error() {
        let (interrupt, _writer) = quiet();
        match unloaded("echo no; exit 7", Duration::from_secs(600), &interrupt) {
            Err(StressError::Probe { why, printed }) => {
                assert_eq!((why.as_str(), printed.as_str()), ("ended with status 7", "no"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn under_load_failures_are_counted_and_the_last_run_comes_to_its_end() {
        let (interrupt, _writer) = quiet();
        let folder = std::env::temp_dir().join(format!("probe-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("begun");
        // Fails at first; then it takes a while.
        let command =
            format!("cd {} && [ -e begun ] && sleep 0.2 || {{ : > begun; exit 3; }}", folder.display());
        let running = Running::begin(&command, Duration::from_secs(600), Instant::now()).unwrap();
        while !file.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(150));
        let seen = running.finish(false, &interrupt);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((seen.failed.len(), seen.failures.len()), (1, 1), "{seen:?}");
        assert_eq!(seen.failures[0].how, "ended with status 3");
        assert!(seen.took.iter().all(|&took| took >= 200.0), "{seen:?}");
    }

    #[test]
    fn a_probe_that_hangs_is_ended_at_once_where_nobody_waits_for_it() {
        let (interrupt, _writer) = quiet();
        let running = Running::begin("sleep 600", Duration::from_secs(600), Instant::now()).unwrap();
        assert_eq!(running.finish(true, &interrupt), Seen::default());
    }
}
