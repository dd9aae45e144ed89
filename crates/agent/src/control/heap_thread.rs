//! The heap thread: the one thread that allocates what commands ask for, and starts the threads of tests.
//!
//! Allocators, and libraries that they call, keep descriptors of their own (libunwind, which gperftools' allocator calls,
//! keeps a pipe). So whatever calls them must have the process's table of descriptors, which the control thread has not.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use memtrial_load::command::{Command, Fault};
use memtrial_load::load::Load;
use memtrial_load::manual::Manual;
use memtrial_load::writer::Writer;

use crate::memory::Shared;
use crate::{follow, system};

use super::process::Process;
use super::spawn::Spawner;
use super::{arenas, heap};

/// What the control thread asks for.
enum Job {
    /// Make the load.
    Begin,
    /// Carry a command out, and write its result.
    Carry(Command<'static>, *mut Writer<'static>),
    /// Free everything, and end.
    End,
}

/// Nobody asks.
const IDLE: u32 = 0;
/// The control thread has asked, and waits.
const ASKED: u32 = 1;
/// The heap thread has answered.
const ANSWERED: u32 = 2;

/// Whose turn it is.
static TURN: AtomicU32 = AtomicU32::new(IDLE);

/// Whether nobody waits any more for what is being carried out.
static ABANDONED: AtomicBool = AtomicBool::new(false);

/// What is asked, and what is answered.
struct Desk(UnsafeCell<(Option<Job>, Result<(), Fault>)>);

// SAFETY: the control thread uses it while nobody has asked or the heap thread has answered, the heap thread between.
unsafe impl Sync for Desk {}

static DESK: Desk = Desk(UnsafeCell::new((None, Ok(()))));

/// The load, while there is one.
static LOAD: AtomicPtr<Load<Process>> = AtomicPtr::new(core::ptr::null_mut());

/// Nanoseconds between two looks whether somebody waits.
const BETWEEN_LOOKS: u64 = 100_000_000;

/// Room for the load.
const ROOM: usize = Load::<Process>::BYTES.next_multiple_of(4096);

/// The load that this process is under.
pub fn load() -> Option<&'static Load<Process>> {
    // SAFETY: set while the memory is mapped, and cleared when no thread of a test's runs any more.
    unsafe { LOAD.load(Ordering::Acquire).as_ref() }
}

/// Has the heap thread make the load. For the control thread, as all of these.
pub fn begin() -> bool {
    ask(Job::Begin).is_ok()
}

/// Has it carry a command out, for as long as `is_awaited` says that somebody waits for it.
pub fn carry_out(
    command: Command<'_>,
    to: &mut Writer<'_>,
    is_awaited: impl Fn() -> bool,
) -> Result<(), Fault> {
    // SAFETY: only the lifetime changes: this thread waits, and so keeps what the command refers to, until it is done.
    let command = unsafe { core::mem::transmute::<Command<'_>, Command<'static>>(command) };
    let job = Job::Carry(command, core::ptr::from_mut(to).cast());
    ask_while(job, || ABANDONED.store(!is_awaited(), Ordering::Relaxed))
}

/// Whether nobody waits any more for what is being carried out.
pub fn is_abandoned() -> bool {
    ABANDONED.load(Ordering::Relaxed)
}

/// Has it free everything and end.
pub fn end() {
    let _ = ask(Job::End);
}

fn ask(job: Job) -> Result<(), Fault> {
    ask_while(job, || ())
}

/// Asks, and looks around from time to time while the heap thread works.
fn ask_while(job: Job, look: impl Fn()) -> Result<(), Fault> {
    ABANDONED.store(false, Ordering::Relaxed);
    // SAFETY: nobody has asked: the desk is the control thread's.
    unsafe { (*DESK.0.get()).0 = Some(job) };
    pass_turn(ASKED);
    loop {
        let turn = TURN.load(Ordering::Acquire);
        if turn == ANSWERED {
            break;
        }
        system::futex_wait_until(&TURN, turn, system::monotonic() + BETWEEN_LOOKS);
        look();
    }
    // SAFETY: the heap thread has answered: the desk is the control thread's again.
    let answer = unsafe { (*DESK.0.get()).1 };
    TURN.store(IDLE, Ordering::Release);
    answer
}

fn pass_turn(to: u32) {
    TURN.store(to, Ordering::Release);
    system::futex_wake(&TURN);
}

fn await_turn(mine: u32) {
    loop {
        let turn = TURN.load(Ordering::Acquire);
        if turn == mine {
            return;
        }
        system::futex_wait(&TURN, turn);
    }
}

/// Forgets what another process has left, of which this one is a forked child.
pub fn forget() {
    TURN.store(IDLE, Ordering::Release);
    LOAD.store(core::ptr::null_mut(), Ordering::Release);
}

/// Works until it is told to end.
pub fn work(shared: Shared, spawner: Spawner) {
    let mut manual = None;
    loop {
        await_turn(ASKED);
        // SAFETY: the control thread has asked, and waits: the desk is the heap thread's.
        let desk = unsafe { &mut *DESK.0.get() };
        let job = desk.0.take();
        let ends = matches!(job, Some(Job::End));
        desk.1 = match job {
            Some(Job::Begin) => prepare(shared, spawner, &mut manual),
            // SAFETY: the control thread keeps the writer while it waits.
            Some(Job::Carry(command, to)) => carry(&mut manual, command, unsafe { &mut *to }),
            Some(Job::End) => {
                clear(shared, &mut manual);
                Ok(())
            }
            None => Ok(()),
        };
        pass_turn(ANSWERED);
        if ends {
            return;
        }
    }
}

fn prepare(shared: Shared, spawner: Spawner, manual: &mut Option<Manual>) -> Result<(), Fault> {
    heap::learn(&shared.control().real);
    arenas::find();
    let no_memory = Fault::NoMemory { failed: 0 };
    let memory = system::map_private(ROOM).ok().and_then(NonNull::new).ok_or(no_memory)?;
    // SAFETY: a new mapping of that size, at the start of a page, which `clear` unmaps.
    let load = unsafe { Load::place(memory, Process { shared, spawner }, shared.control().max_total) };
    LOAD.store(core::ptr::from_ref(load).cast_mut(), Ordering::Release);
    *manual = Manual::new(load);
    Ok(())
}

fn carry(manual: &mut Option<Manual>, command: Command<'_>, to: &mut Writer<'_>) -> Result<(), Fault> {
    let (Some(load), Some(hold)) = (load(), manual.as_mut()) else { return Err(Fault::Leaving) };
    let leaves = command == Command::Leave;
    let result = load.execute(hold, command, to);
    if leaves {
        *manual = None;
    }
    result
}

/// Frees everything, if no command did, and takes away all that the load needed.
fn clear(shared: Shared, manual: &mut Option<Manual>) {
    if let (Some(load), Some(manual)) = (load(), manual.as_mut()) {
        load.abandon(manual);
    }
    // Threads of tests have done with the load before they count themselves out.
    let threads = &shared.control().agent_threads;
    loop {
        let left = threads.load(Ordering::Acquire);
        if left == 0 {
            break;
        }
        system::futex_wait_until(threads, left, system::monotonic() + 1_000_000);
    }
    let load = LOAD.swap(core::ptr::null_mut(), Ordering::AcqRel);
    if !load.is_null() {
        system::unmap(load as u64, ROOM);
    }
    arenas::end();
    shared.control().round.store(0, Ordering::Release);
    follow::end();
}
