//! Following a process: a thread empties the rings and keeps the table of blocks.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use memtrial_symbols::allocator::{Function, Role};
use memtrial_symbols::remote::Registers;

use super::calls::{Call, Calls, Return};
use super::events::{Events, Moment, STACK};
use super::record::{self, Record, Sample, register};
use super::stacks::{Copied, Known, Stacks};
use super::{LiveBlocks, UprobeError};

/// A record is older than this, in ns, when it can be read by all that is known to others: between its time stamp and
/// its place in the ring the kernel takes microseconds, and may itself be held up by a hypervisor.
const SETTLED: u64 = 10_000_000;
/// How long the rings are left alone when there was something in them, and when not.
const BUSY: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_millis(5);

/// Follows the blocks of a process. Dropping it takes all probes out of the process.
pub struct Uprobes {
    follower: Arc<Mutex<Follower>>,
    thread: Option<JoinHandle<()>>,
}

impl Uprobes {
    /// Follows `functions` of the process `pid`, each with its file as it can be opened from here. Blocks that are
    /// there already are not known.
    ///
    /// Threads that the process starts are followed, child processes are not. If the first thread ends while others
    /// go on, so does the following.
    ///
    /// The kernel puts a return address of its own on the stack while an allocation is under way. Exceptions cannot
    /// be thrown across it: an `operator new` among `functions` that throws ends the process.
    ///
    /// # Errors
    /// When the kernel does not let us, or the process is gone; see [`UprobeError`].
    pub fn begin(pid: i32, functions: &[(PathBuf, Function)]) -> Result<Uprobes, UprobeError> {
        let follower = Follower {
            pid: pid as u32,
            events: Events::open(pid, functions)?,
            stacks: Stacks::new(pid),
            calls: Calls::default(),
            rounds: vec![(0, 0)],
            bytes: Vec::new(),
            waiting: Vec::new(),
            lost: 0,
            ended: false,
        };
        let follower = Arc::new(Mutex::new(follower));
        let shared = Arc::clone(&follower);
        let run = move || {
            loop {
                let mut follower = lock(&shared);
                if follower.ended {
                    return;
                }
                let pause = if follower.drain(now()) { BUSY } else { IDLE };
                drop(follower);
                std::thread::sleep(pause);
            }
        };
        let thread = std::thread::Builder::new().name("uprobes".to_owned()).spawn(run);
        let thread = thread.map_err(UprobeError::doing("cannot start a thread"))?;
        Ok(Uprobes { follower, thread: Some(thread) })
    }

    /// From now on, what is allocated belongs to `round`; 0 until this is called.
    pub fn set_round(&self, round: u32) {
        let now = now();
        lock(&self.follower).rounds.push((now, round));
    }

    /// The blocks that live now.
    pub fn live(&self) -> LiveBlocks {
        let asked = now();
        loop {
            let mut follower = lock(&self.follower);
            let at = now();
            follower.drain(at);
            if at.saturating_sub(SETTLED) > asked {
                return follower.live();
            }
            drop(follower);
            std::thread::sleep(BUSY);
        }
    }

    /// How many hits of probes did not fit into the rings so far.
    pub fn lost(&self) -> u64 {
        lock(&self.follower).lost()
    }
}

impl Drop for Uprobes {
    fn drop(&mut self) {
        lock(&self.follower).ended = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(follower: &Mutex<Follower>) -> MutexGuard<'_, Follower> {
    // A panic in the other thread leaves a table that is at worst out of date.
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of the right type, and the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

struct Follower {
    pid: u32,
    events: Events,
    stacks: Stacks,
    calls: Calls,
    /// From when on, in ns, which round is on.
    rounds: Vec<(u64, u32)>,
    /// Records that were read.
    bytes: Vec<u8>,
    /// Those that are not yet understood: their times, and places in `bytes`.
    waiting: Vec<(u64, Range<usize>)>,
    lost: u64,
    ended: bool,
}

impl Follower {
    /// Reads the rings, and understands what is settled, in the order of time. Whether there was anything.
    fn drain(&mut self, now: u64) -> bool {
        let mut places = Vec::new();
        for ring in &mut self.events.rings {
            ring.read(&mut self.bytes, &mut places);
        }
        let anything = !places.is_empty();
        let bytes = std::mem::take(&mut self.bytes);
        let time = |place: &Range<usize>| bytes.get(place.clone()).and_then(record::time).unwrap_or(0);
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend(places.into_iter().map(|place| (time(&place), place)));
        waiting.sort_by_key(|(time, _)| *time);
        let settled = waiting.partition_point(|(time, _)| *time < now.saturating_sub(SETTLED));
        for (time, place) in waiting.drain(..settled) {
            self.understand(time, bytes.get(place).unwrap_or_default());
        }
        // What waits is copied to the beginning, so that the buffer stays as small as it can.
        for (time, place) in waiting {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes.get(place).unwrap_or_default());
            self.waiting.push((time, start..self.bytes.len()));
        }
        anything
    }

    fn understand(&mut self, time: u64, record: &[u8]) {
        match Record::parse(record) {
            Record::Hit(number, body) => {
                let Some(probe) = self.events.probes.get(number) else { return };
                let (moment, function, role) = (probe.moment, probe.function, probe.role);
                let sample = Sample::parse(body, probe.has_stack()).filter(|sample| sample.pid == self.pid);
                if let Some(sample) = sample {
                    self.hit(time, moment, function, role, sample);
                }
            }
            Record::Lost(count) => self.lost += count,
            // Nothing tells how many hits a throttled probe has not reported.
            Record::Throttled => self.lost += 1,
            Record::Mapped(pid) if pid == self.pid => self.stacks.refresh(),
            Record::Mapped(_) | Record::Other => {}
        }
    }

    fn hit(&mut self, time: u64, moment: Moment, function: usize, role: Role, sample: Sample) {
        let (tid, sp) = (sample.tid, sample.register(register::SP));
        match moment {
            Moment::Free => self.calls.free(tid, sample.register(register::DI), sp),
            Moment::Return => {
                let back = Return { tid, function, value: sample.register(register::AX), sp };
                let stacks = &self.stacks;
                self.calls.leave(back, |address| sample.read(address).or_else(|| stacks.read_now(address)));
            }
            Moment::Call => {
                let arguments =
                    [register::DI, register::SI, register::DX].map(|number| sample.register(number));
                let call = Call { tid, function, role, arguments, sp };
                let stacks = &mut self.stacks;
                self.calls.enter(call, round_at(&self.rounds, time), || know(stacks, sample));
            }
        }
    }

    fn lost(&self) -> u64 {
        // The kernel writes how many were lost only when there is room again.
        self.lost.max(self.events.lost())
    }

    fn live(&self) -> LiveBlocks {
        let stacks = self.stacks.frames().to_vec();
        let mut counts = self.calls.counts.clone();
        counts.resize(stacks.len(), super::StackCounts::default());
        LiveBlocks {
            blocks: self.calls.live(),
            stacks,
            counts,
            freed_unknown: self.calls.freed_unknown,
            lost: self.lost(),
            unfinished: self.calls.unfinished,
            cut_off: self.calls.cut_off,
            untold: self.calls.untold,
        }
    }
}

fn know(stacks: &mut Stacks, sample: Sample) -> Known {
    let [ip, sp, bp] = [register::IP, register::SP, register::BP].map(|number| sample.register(number));
    let full = sample.stack.len() >= STACK as usize;
    stacks.know(Copied { registers: Registers { ip, sp, bp }, bytes: sample.stack, full })
}

fn round_at(rounds: &[(u64, u32)], time: u64) -> u32 {
    let behind = rounds.partition_point(|(from, _)| *from <= time);
    behind.checked_sub(1).and_then(|index| rounds.get(index)).map_or(0, |(_, round)| *round)
}
