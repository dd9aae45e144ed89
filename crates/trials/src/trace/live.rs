//! Hits as they come in: from their sources, put in order, to the sink.

use std::io;
use std::time::{Duration, Instant};

use memtrial_events::merge::{HOLD, Merger};
use memtrial_events::value::Missing;
use memtrial_events::{Hit, Table, Value};
use memtrial_report::trace::Sink;
use memtrial_target::interrupt::Interrupt;
use memtrial_target::processes::monotonic;

/// Where hits come from.
pub trait Source {
    /// Hands on the hits that came since the last time; whether there were any. It never waits.
    ///
    /// # Errors
    /// When the source can't be read any more.
    fn poll(&mut self, take: &mut dyn FnMut(Hit)) -> io::Result<bool>;

    /// The time up to which all hits are known as of the last poll, in nanoseconds of CLOCK_MONOTONIC; `None`: until now.
    fn complete_until(&self) -> Option<u64> {
        None
    }

    /// Hits that were lost so far.
    fn lost(&self) -> u64;

    /// Makes no more hits; what came until then can still be polled.
    fn stop(&mut self);
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Hits handed to the sink.
    pub hits: u64,
    /// Hits that found no room.
    pub lost: u64,
    /// Hits left out because the user interrupted.
    pub unwritten: u64,
    /// Arguments that could not be fetched.
    pub missing: u64,
    /// Whether the user interrupted.
    pub interrupted: bool,
}

/// Between two looks while hits come in, and while none do.
const BUSY: Duration = Duration::from_millis(4);
const IDLE: Duration = Duration::from_millis(20);
/// How long what is there may still be written after the user interrupted.
const PARTING: Duration = Duration::from_millis(600);

/// Hands hits to the sink until `is_over` or the user interrupts. Returns what was seen, and why the sink or a source failed,
/// if one did: then nothing is handed on any more.
pub fn follow(
    sources: &mut [&mut dyn Source],
    table: &Table,
    sink: &mut dyn Sink,
    interrupt: &Interrupt,
    mut is_over: impl FnMut() -> bool,
) -> (Seen, io::Result<()>) {
    let mut flow = Flow { table, sink, merger: Merger::new(), seen: Seen::default() };
    let mut result = Ok(());
    let mut idle = false;
    while result.is_ok() {
        // What is over now has no hit to come that is not there already.
        let over = is_over();
        if over || interrupt.sleep(if idle { IDLE } else { BUSY }) {
            break;
        }
        let now = monotonic();
        result = flow.take(sources).and_then(|any| {
            idle = !any;
            flow.release(known(sources, now), None)?;
            flow.tell_lost(sources)?;
            if idle { flow.sink.flush() } else { Ok(()) }
        });
    }
    flow.seen.interrupted = interrupt.asked();
    let begun = Instant::now();
    for source in &mut *sources {
        source.stop();
    }
    let limit = flow.seen.interrupted.then_some(begun + PARTING);
    let result = result.and_then(|()| {
        let mut now = monotonic();
        while flow.take(sources)? && limit.is_none_or(|limit| Instant::now() < limit) {
            flow.release(known(sources, now), limit)?;
            now = monotonic();
        }
        flow.release(u64::MAX, limit)?;
        flow.seen.unwritten = flow.merger.finish().count() as u64;
        for source in &mut *sources {
            while source.poll(&mut |_| flow.seen.unwritten += 1)? {}
        }
        flow.tell_lost(sources)?;
        flow.sink.finish(flow.table)
    });
    (flow.seen, result)
}

/// Whether there was something to fetch, and it could not be. Not all sites of a probe have the same number of arguments.
fn is_unfetched(value: &Value) -> bool {
    matches!(value, Value::Missing(Missing::Fault | Missing::Operand))
}

/// The time up to which all hits of all sources are known, which were read at `began` or later: this process may stand still
/// between two of them.
fn known(sources: &[&mut dyn Source], began: u64) -> u64 {
    let complete = sources.iter().filter_map(|source| source.complete_until()).min();
    began.saturating_sub(HOLD).min(complete.unwrap_or(u64::MAX))
}

/// The way of hits from sources to the sink.
struct Flow<'a> {
    table: &'a Table,
    sink: &'a mut dyn Sink,
    merger: Merger,
    seen: Seen,
}

impl Flow<'_> {
    fn take(&mut self, sources: &mut [&mut dyn Source]) -> io::Result<bool> {
        let mut any = false;
        for source in sources {
            any |= source.poll(&mut |hit| self.merger.push(hit))?;
        }
        Ok(any)
    }

    fn release(&mut self, until: u64, limit: Option<Instant>) -> io::Result<()> {
        for (number, hit) in self.merger.release(until).enumerate() {
            self.seen.hits += 1;
            self.seen.missing += hit.values.iter().filter(|value| is_unfetched(value)).count() as u64;
            self.sink.hit(self.table, &hit)?;
            if number % 1024 == 1023 && limit.is_some_and(|limit| Instant::now() > limit) {
                break;
            }
        }
        Ok(())
    }

    fn tell_lost(&mut self, sources: &[&mut dyn Source]) -> io::Result<()> {
        let lost: u64 = sources.iter().map(|source| source.lost()).sum();
        if lost > self.seen.lost {
            self.sink.lost(self.table, lost - self.seen.lost, monotonic())?;
            self.seen.lost = lost;
        }
        Ok(())
    }
}
