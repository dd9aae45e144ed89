//! The backend that writes records into a recording: each thread into a chunk of its own, which is a part of the file mapped
//! into memory, so that whatever kills the process leaves every record that was complete.
//!
//! A forked child has its parent's mappings and thread-local variables, but must not write to its parent's chunk. It notices
//! by a page that the kernel wipes in forked children: there stands who owns the chunks of this process. A child of `vfork`
//! shares all of the memory; its thread's variables are its parent's, which waits meanwhile: what it tells of is
//! written to its parent's chunk, and bears its parent's pid, but for the program that it executes.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};

use memtrial_wire::recording::{
    Before, CHUNK, CHUNK_HEAD, CHUNK_MAGIC, ChunkHead, Field, HEAD, Head, MAGIC, MAX_TEXT, VERSION, WRITING,
    Why, clock, write_record,
};
use memtrial_wire::tracing::Tracing;

use super::generated::EXEC;
use super::{Argument, kept, path};
use crate::files;
use crate::memory::Shared;
use crate::system::{self, Errno};
use crate::thread::{self, Recorder};

/// The head of the recording, mapped for good; null if there is none.
static RECORDING: AtomicPtr<Head> = AtomicPtr::new(core::ptr::null_mut());
/// Its device and inode: another file of its name is another's.
static FILE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// The page that is wiped in forked children. Its first word says who owns the chunks: how often recording was begun above
/// 32 bits, and the process.
static OWNER: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
/// How often recording was begun here.
static BEGUN: AtomicU32 = AtomicU32::new(0);
/// One more than the number of a chunk that was taken, but for which there was no room; 0: none.
static SPARE: AtomicU64 = AtomicU64::new(0);

/// Events that a thread drops before it asks for a chunk again, where there was no room for one.
const PAUSE: u64 = 1000;

/// Gets ready to record; says whether there was memory.
pub fn prepare() -> bool {
    const PAGE: usize = 4096;
    let mut page = OWNER.load(Ordering::Acquire);
    if page.is_null() {
        let Ok(memory) = system::map_private(PAGE) else { return false };
        system::wipe_on_fork(memory, PAGE);
        page = memory.cast();
        OWNER.store(page, Ordering::Release);
    }
    let begun = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
    SPARE.store(0, Ordering::Relaxed);
    let head = Shared::get().and_then(|shared| open(&shared.control().tracing).ok());
    RECORDING.store(head.unwrap_or(core::ptr::null_mut()), Ordering::Release);
    // SAFETY: mapped for good by this function.
    unsafe { &*page }.store(owner_word(begun), Ordering::Release);
    true
}

fn owner_word(begun: u32) -> u64 {
    u64::from(begun) << 32 | u64::from(system::getpid())
}

/// Maps the head of the recording.
fn open(tracing: &Tracing) -> Result<*mut Head, Errno> {
    const ENOENT: Errno = 2;
    const EPROTO: Errno = 71;
    let fd = system::open(path(&tracing.recording).ok_or(ENOENT)?, system::O_RDWR | system::O_CLOEXEC)?;
    let mapped = system::map_shared(fd, HEAD);
    let facts = system::fstat(fd);
    system::close(fd);
    let (head, facts) = (mapped?.cast::<Head>(), facts?);
    // SAFETY: the mapping has room for it; magic and version are its first words. The controller has made the file longer.
    let known = unsafe { (*head).magic == MAGIC && (*head).version == VERSION };
    if !known {
        return Err(EPROTO);
    }
    for (word, id) in FILE.iter().zip(facts.id) {
        word.store(id, Ordering::Relaxed);
    }
    Ok(head)
}

#[inline]
fn recording() -> Option<&'static Head> {
    let head = RECORDING.load(Ordering::Acquire);
    // SAFETY: mapped for good; what changes in it is atomic.
    (!head.is_null()).then(|| unsafe { &*head })
}

/// Counts an event that was not recorded.
#[cold]
pub fn drop_one(tracing: &Tracing) {
    recording().map_or(&tracing.lost, |head| &head.dropped).fetch_add(1, Ordering::Relaxed);
}

/// The arguments of an event.
trait Fields<'a>: ExactSizeIterator<Item = Field<'a>> + Clone {}
impl<'a, F: ExactSizeIterator<Item = Field<'a>> + Clone> Fields<'a> for F {}

/// Records an event.
#[inline]
pub fn tell(event: u16, arguments: &[Argument], tracing: &Tracing) {
    let told = recording().is_some_and(|head| {
        if arguments.iter().any(|argument| matches!(argument, Argument::Text(_))) {
            return record_text(head, event, arguments, tracing);
        }
        record(head, event, arguments.iter().map(|argument| field(*argument, Field::Null)), tracing)
    });
    if !told {
        drop_one(tracing);
    }
}

#[inline]
fn field(argument: Argument, text: Field<'_>) -> Field<'_> {
    match argument {
        Argument::Unsigned(bits) => Field::Number(bits),
        Argument::Signed(number) => Field::Signed(number),
        Argument::Pointer(address) => Field::Pointer(address),
        Argument::Text(_) => text,
    }
}

/// Records an event that has a text: the first one is fetched, and there are no events with two.
#[inline(never)]
fn record_text(head: &Head, event: u16, arguments: &[Argument], tracing: &Tracing) -> bool {
    let mut buffer = [0; MAX_TEXT + 1];
    let text = arguments.iter().find_map(|argument| match argument {
        Argument::Text(address) => Some(*address as u64),
        _ => None,
    });
    let fetched = match text {
        None | Some(0) => Field::Null,
        Some(address) => match files::read_text(address, &mut buffer) {
            Some(part) => {
                let bytes = buffer.get(..part.bytes).unwrap_or_default();
                Field::Text { bytes, cut: !part.ended }
            }
            None => Field::Missing(Why::Fault),
        },
    };
    let fields = arguments.iter().map(|argument| field(*argument, fetched));
    if event == EXEC && is_shared_child() {
        return record_alone(head, event, fields, tracing);
    }
    record(head, event, fields, tracing)
}

/// Time as the recording counts it.
#[inline]
fn now(head: &Head) -> u64 {
    if head.clock == clock::TICKS { ticks() } else { system::monotonic() }
}

#[inline]
fn ticks() -> u64 {
    // SAFETY: every processor of this architecture has the counter; reading it changes nothing.
    unsafe { _rdtsc() }
}

/// Writes a record into this thread's chunk, or into a new one.
#[inline]
fn record<'a>(head: &Head, event: u16, fields: impl Fields<'a>, tracing: &Tracing) -> bool {
    let recorder = thread::recorder();
    let current = recorder.owner.get() == owner() && recorder.chunk.get() != 0;
    current && append(recorder, head, event, fields.clone())
        || record_in_new(recorder, head, event, fields, tracing)
}

/// Who owns the chunks of this process.
#[inline]
fn owner() -> u64 {
    let page = OWNER.load(Ordering::Relaxed);
    if page.is_null() {
        return 0;
    }
    // SAFETY: `prepare` mapped it for good.
    let word = unsafe { &*page };
    match word.load(Ordering::Relaxed) {
        0 => own_as_child(word),
        owner => owner,
    }
}

/// In a forked child: its chunks are its own.
#[cold]
fn own_as_child(word: &AtomicU64) -> u64 {
    // The parent may use the one that it has no room for.
    SPARE.store(0, Ordering::Relaxed);
    kept::be_child();
    let owner = owner_word(BEGUN.load(Ordering::Relaxed));
    word.store(owner, Ordering::Relaxed);
    owner
}

/// Whether this is a child that shares its parent's memory.
fn is_shared_child() -> bool {
    owner() as u32 != system::getpid()
}

/// Writes a record behind those of the thread's chunk, and says that it is there.
#[inline]
fn append<'a>(recorder: &Recorder, head: &Head, event: u16, fields: impl Fields<'a>) -> bool {
    let (chunk, used) = (recorder.chunk.get(), recorder.used.get());
    let Some(room) = CHUNK.checked_sub(used) else { return false };
    // SAFETY: the chunk is mapped until this thread leaves it; nobody else writes to it, and nobody reads what lies behind
    // the end that it names.
    let rest = unsafe { core::slice::from_raw_parts_mut((chunk as *mut u8).add(used), room) };
    // SAFETY: the chunk begins with its head.
    let named = &unsafe { &*(chunk as *const ChunkHead) }.used;
    named.store(used as u32 | WRITING, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    let mut before = recorder.before.get();
    let written = write_record(rest, event, now(head), fields, &mut before);
    let end = used + written.unwrap_or(0);
    recorder.before.set(before);
    recorder.used.set(end);
    named.store(end as u32, Ordering::Release);
    written.is_some()
}

#[cold]
#[inline(never)]
fn record_in_new<'a>(
    recorder: &Recorder,
    head: &Head,
    event: u16,
    fields: impl Fields<'a>,
    tracing: &Tracing,
) -> bool {
    if is_shared_child() {
        return record_alone(head, event, fields, tracing);
    }
    let same = recorder.owner.get() == owner();
    if same && recorder.pause.get() > 0 {
        recorder.pause.set(recorder.pause.get() - 1);
        return false;
    }
    kept::unmap(recorder.place.get(), recorder.chunk.get(), same);
    recorder.chunk.set(0);
    if !same {
        recorder.place.set(0);
        recorder.owner.set(owner());
    }
    let tid = files::gettid();
    let Some(chunk) = take(head, tracing, system::getpid(), tid) else {
        recorder.pause.set(PAUSE);
        return false;
    };
    recorder.pause.set(0);
    begin(recorder, chunk);
    match recorder.place.get() {
        0 => recorder.place.set(kept::enter(tid, chunk)),
        place => kept::replace(place, chunk),
    }
    append(recorder, head, event, fields)
}

/// Writes a record into a chunk that is used for nothing else: the thread's variables are its parent's, which goes on with
/// them when this child has executed a program.
#[cold]
fn record_alone<'a>(head: &Head, event: u16, fields: impl Fields<'a>, tracing: &Tracing) -> bool {
    let Some(chunk) = take(head, tracing, system::getpid(), files::gettid()) else { return false };
    let recorder = Recorder::default();
    begin(&recorder, chunk);
    let written = append(&recorder, head, event, fields);
    system::unmap(chunk, CHUNK);
    written
}

/// Begins to write to a chunk that was taken.
fn begin(recorder: &Recorder, chunk: u64) {
    // SAFETY: the chunk is mapped, and begins with its head, which `take` has written.
    let head = unsafe { &*(chunk as *const ChunkHead) };
    recorder.chunk.set(chunk);
    recorder.used.set(CHUNK_HEAD);
    recorder.before.set(Before::at(head.ticks));
}

/// Takes a chunk and maps it; `None` if there is no room.
fn take(head: &Head, tracing: &Tracing, pid: u32, tid: u32) -> Option<u64> {
    let most = head.most.load(Ordering::Relaxed);
    let bounded = |number: u64| most == 0 || number < most;
    let number = match SPARE.swap(0, Ordering::Relaxed) {
        0 if !bounded(head.taken.load(Ordering::Relaxed)) => return None,
        0 => head.taken.fetch_add(1, Ordering::Relaxed),
        spare => spare - 1,
    };
    let chunk = bounded(number).then(|| map(head, tracing, number)).and_then(Result::ok);
    let Some(chunk) = chunk else {
        // It is not lost: the next one may find room there.
        SPARE.store(number + 1, Ordering::Relaxed);
        return None;
    };
    // The one lies in the middle of the time that reading the other takes.
    let (before, monotonic) = (ticks(), system::monotonic());
    let opened = ChunkHead {
        magic: AtomicU32::new(0),
        used: AtomicU32::new(CHUNK_HEAD as u32),
        pid,
        tid,
        ticks: before / 2 + ticks() / 2,
        monotonic,
    };
    let room = chunk as *mut ChunkHead;
    // SAFETY: the new mapping has room for the head, and is nobody else's.
    unsafe {
        room.write(opened);
        (*room).magic.store(CHUNK_MAGIC, Ordering::Release);
    }
    Some(chunk)
}

/// Maps a chunk, after it was filled with zeros: memory without room behind it would be a signal at the first write.
#[inline(never)]
fn map(head: &Head, tracing: &Tracing, number: u64) -> Result<u64, Errno> {
    const ENOENT: Errno = 2;
    const EFBIG: Errno = 27;
    let offset =
        number.checked_mul(CHUNK as u64).and_then(|at| at.checked_add(head.chunks_at)).ok_or(EFBIG)?;
    let fd = system::open(path(&tracing.recording).ok_or(ENOENT)?, system::O_RDWR | system::O_CLOEXEC)?;
    let is_ours = system::fstat(fd)
        .is_ok_and(|facts| FILE.iter().zip(facts.id).all(|(word, id)| word.load(Ordering::Relaxed) == id));
    let mapped = if is_ours {
        files::fill(fd, offset, CHUNK).and_then(|()| files::map_part(fd, offset, CHUNK))
    } else {
        Err(ENOENT)
    };
    system::close(fd);
    mapped
}
