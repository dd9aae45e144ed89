//! Unwinding copied stacks, each kind of them once.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memtrial_symbols::remote::{Mapping, Registers, RemoteFrame, RemoteUnwinder, parse_maps};

/// Most frames kept of a stack.
const MAX_FRAMES: usize = 256;
/// How many steps of unwinding are remembered before all are forgotten, so that memory stays bounded.
const MAX_STEPS: usize = 1 << 20;

/// The stacks seen, and how they were found.
///
/// Unwinding depends on nothing but the registers and the words that it reads from the stack. So it is remembered as
/// a tree: which word it reads first, and for each value of it, which word next, until its end. The values that
/// matter are the addresses of code, and of the copied stack itself, told from the stack pointer on; any other word
/// is as good as any. A stack of a known kind takes one look-up a word.
pub struct Stacks {
    pid: i32,
    memory: Option<File>,
    unwinder: RemoteUnwinder,
    mappings: Vec<Mapping>,
    /// Where code is, by address, adjacent ones joined.
    code: Vec<Range<u64>>,
    steps: Vec<Step>,
    next: HashMap<(u32, Word), u32, Hasher>,
    ids: HashMap<Vec<RemoteFrame>, u32>,
    frames: Vec<Vec<RemoteFrame>>,
}

/// A state of unwinding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The word at this distance from the stack pointer is read.
    Reads(u64),
    /// It is done.
    Ends(Known),
    /// Not known yet.
    Open,
}

/// A stack that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub id: u32,
    /// Whether it goes on beyond what was copied.
    pub cut_off: bool,
}

/// What a word means to unwinding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Word {
    Code(u64),
    /// Distance from the stack pointer.
    Stack(u64),
    Other,
    /// It was not copied.
    Missing,
    /// The registers that unwinding starts with.
    Start(u64),
}

/// For keys that nobody makes collide but the process on trial, to its own harm only.
type Hasher = std::hash::BuildHasherDefault<Mix>;

/// Multiplies and rotates, as rustc's own tables do.
#[derive(Default)]
struct Mix(u64);

impl std::hash::Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

/// A copied stack, and the registers at the time.
#[derive(Debug, Clone, Copy)]
pub struct Copied<'a> {
    /// As at the entry of the allocator's function.
    pub registers: Registers,
    /// From the stack pointer on.
    pub bytes: &'a [u8],
    /// Whether there is more of it.
    pub full: bool,
}

impl Copied<'_> {
    fn word(&self, distance: u64) -> Option<u64> {
        let at = usize::try_from(distance).ok()?;
        Some(u64::from_ne_bytes(self.bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
    }
}

impl Stacks {
    /// For stacks of the process `pid`.
    pub fn new(pid: i32) -> Stacks {
        let mut stacks = Stacks {
            pid,
            memory: File::open(format!("/proc/{pid}/mem")).ok(),
            unwinder: RemoteUnwinder::new(&[]),
            mappings: Vec::new(),
            code: Vec::new(),
            steps: Vec::new(),
            next: HashMap::default(),
            ids: HashMap::new(),
            frames: Vec::new(),
        };
        stacks.forget();
        stacks.refresh();
        stacks
    }

    /// All stacks, by number.
    pub fn frames(&self) -> &[Vec<RemoteFrame>] {
        &self.frames
    }

    /// Reads the memory of the process as it is now.
    pub fn read_now(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.as_ref()?.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }

    /// Reads the mappings again, if the process has new code.
    pub fn refresh(&mut self) {
        let text = std::fs::read(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        let mut mappings = parse_maps(&String::from_utf8_lossy(&text));
        let same = |(new, old): (&Mapping, &Mapping)| new == old;
        let code = |mappings: &[Mapping]| -> Vec<Mapping> {
            mappings.iter().filter(|mapping| mapping.executable).cloned().collect()
        };
        let new = code(&mappings);
        // None are left when the process is ending; what was known then still serves.
        if new.is_empty() || new.len() == self.mappings.len() && new.iter().zip(&self.mappings).all(same) {
            return;
        }
        self.code.clear();
        for mapping in &new {
            match self.code.last_mut() {
                Some(last) if last.end == mapping.start => last.end = mapping.end,
                _ => self.code.push(mapping.start..mapping.end),
            }
        }
        self.mappings = new;
        // Its files may be others than ours of the same name.
        let root = self.root();
        for mapping in &mut mappings {
            if let Ok(inside) = mapping.path.strip_prefix("/") {
                mapping.path = root.join(inside);
            }
        }
        self.unwinder = RemoteUnwinder::new(&mappings);
        self.forget();
    }

    fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid))
    }

    fn forget(&mut self) {
        self.steps = vec![Step::Open];
        self.next.clear();
    }

    /// The number of a stack.
    pub fn know(&mut self, stack: Copied) -> Known {
        let mut at = self.start(stack);
        loop {
            match self.steps.get(at as usize) {
                Some(Step::Ends(known)) => return *known,
                Some(Step::Reads(distance)) => {
                    let word = self.meaning(stack.word(*distance), stack);
                    match self.next.get(&(at, word)) {
                        Some(next) => at = *next,
                        None => return self.unwind(stack),
                    }
                }
                _ => return self.unwind(stack),
            }
        }
    }

    fn start(&mut self, stack: Copied) -> u32 {
        let base = self.meaning(Some(stack.registers.bp), stack);
        let at = self.step(0, Word::Start(stack.registers.ip));
        self.step(at, base)
    }

    /// The state behind `at` that `word` leads to.
    fn step(&mut self, at: u32, word: Word) -> u32 {
        *self.next.entry((at, word)).or_insert_with(|| {
            self.steps.push(Step::Open);
            (self.steps.len() - 1) as u32
        })
    }

    fn meaning(&self, word: Option<u64>, stack: Copied) -> Word {
        let Some(word) = word else { return Word::Missing };
        let distance = word.wrapping_sub(stack.registers.sp);
        if distance <= stack.bytes.len() as u64 {
            return Word::Stack(distance);
        }
        let behind = self.code.partition_point(|range| range.start <= word);
        match behind.checked_sub(1).and_then(|index| self.code.get(index)) {
            Some(range) if word <= range.end => Word::Code(word),
            _ => Word::Other,
        }
    }

    fn unwind(&mut self, stack: Copied) -> Known {
        if self.steps.len() > MAX_STEPS {
            self.forget();
        }
        let mut reads = Vec::new();
        let (code, memory) = (&self.code, &self.memory);
        let mut read = |address: u64| {
            // Code is looked at for signal handlers, and stays what it is.
            if code.iter().any(|range| range.contains(&address)) {
                let mut bytes = [0; 8];
                memory.as_ref()?.read_exact_at(&mut bytes, address).ok()?;
                return Some(u64::from_ne_bytes(bytes));
            }
            let distance = address.wrapping_sub(stack.registers.sp);
            let word = stack.word(distance);
            reads.push((distance, word));
            word
        };
        let mut frames = self.unwinder.unwind(stack.registers, &mut read, MAX_FRAMES);
        let beyond =
            |(distance, word): &(u64, Option<u64>)| word.is_none() && stack.full && *distance < 1 << 32;
        let cut_off = reads.last().is_some_and(beyond) || frames.len() == MAX_FRAMES;
        // The allocator's own frame says nothing, unless there is no other.
        if frames.len() > 1 {
            frames.remove(0);
        }
        let root = self.root();
        for frame in &mut frames {
            frame.module = frame.module.take().map(|path| outside(&root, path));
        }
        let known = Known { id: self.number(frames), cut_off };
        self.remember(stack, &reads, known);
        known
    }

    fn number(&mut self, frames: Vec<RemoteFrame>) -> u32 {
        if let Some(id) = self.ids.get(&frames) {
            return *id;
        }
        let id = self.frames.len() as u32;
        self.frames.push(frames.clone());
        self.ids.insert(frames, id);
        id
    }

    fn remember(&mut self, stack: Copied, reads: &[(u64, Option<u64>)], known: Known) {
        let mut at = self.start(stack);
        for (distance, word) in reads {
            let reads = Step::Reads(*distance);
            match self.steps.get_mut(at as usize) {
                Some(step) if *step == Step::Open => *step = reads,
                Some(step) if *step == reads => {}
                // The unwinder went another way than before from the same words: this kind is not remembered.
                _ => return,
            }
            at = self.step(at, self.meaning(*word, stack));
        }
        if let Some(step) = self.steps.get_mut(at as usize).filter(|step| **step == Step::Open) {
            *step = Step::Ends(known);
        }
    }
}

/// The path as the process sees it.
fn outside(root: &Path, path: PathBuf) -> PathBuf {
    path.strip_prefix(root).map(|inside| Path::new("/").join(inside)).unwrap_or(path)
}
