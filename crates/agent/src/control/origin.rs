//! Where a chunk is from, and what of the target's lies or lay where it is: told when it was overwritten.

use core::arch::naked_asm;
use core::sync::atomic::Ordering;

use memtrial_load::host::Surroundings;
use memtrial_load::writer::Writer;
use memtrial_wire::layout::{MAX_DEPTH, MODULES, Module, SITES, unpack_frame};
use memtrial_wire::live::{ALIVE, Block, FREED};

use crate::memory::Shared;
use crate::stack::{self, Caller};
use crate::{follow, record};

/// How far before an overwritten byte it is looked for the block that it may have been meant for.
const REACH: u64 = 64 << 10;
/// How far past its end a block is still suspected of having been written to.
const PAST: u64 = 4096;
/// Nearer to the start of a chunk than this, what lies before it is suspected first.
const NEAR: u64 = 64;

/// A number for the caller's call stack; 0: there is no room for it.
#[unsafe(naked)]
pub extern "C" fn here() -> u32 {
    naked_asm!("mov rdi, rsp", "mov rsi, rbp", "jmp {work}", work = sym here_at)
}

extern "C" fn here_at(sp: u64, bp: u64) -> u32 {
    let Some(shared) = Shared::get() else { return 0 };
    let stack = stack::unwind(Caller { sp, bp }, shared);
    record::entry(&stack, shared).map_or(0, |(index, _)| index as u32 + 1)
}

/// Writes the members `stack` and `suspects` for a chunk whose byte at `offset` is not as it was.
pub fn describe(shared: Shared, stack: u32, offset: u64, surroundings: &Surroundings, to: &mut Writer<'_>) {
    to.name("stack");
    write_stack(shared, (stack as usize).checked_sub(1), to);
    to.name("suspects");
    to.begin_array();
    let [before, before_word, freed, freed_word] = *surroundings;
    let (before, freed) = ((before, before_word, "before"), (freed, freed_word, "freed"));
    let order = if offset < NEAR { [before, freed] } else { [freed, before] };
    for (address, word, relation) in order {
        if let Some(block) = Block::unpack(word) {
            write_suspect(shared, relation, address, block, to);
        }
    }
    to.end_array();
}

/// The nearest block of the target's that lies before `chunk`, and the last one that lay where `at` is: the address and the
/// word of each.
pub fn surroundings(chunk: u64, at: u64) -> Surroundings {
    let mut found = [0; 4];
    let step = follow::granularity();
    let mut address = at & !(step - 1);
    let end = address.saturating_sub(REACH);
    while address > end {
        if let Some(block) = follow::block_at(address) {
            let behind = address.saturating_add(block.bytes);
            if block.round == FREED && found[3] == 0 && behind > at {
                (found[2], found[3]) = (address, block.pack());
            }
            if block.round == ALIVE && address < chunk {
                if at.saturating_sub(behind) <= PAST {
                    (found[0], found[1]) = (address, block.pack());
                }
                break;
            }
        }
        address -= step;
    }
    found
}

fn write_suspect(shared: Shared, relation: &str, address: u64, block: Block, to: &mut Writer<'_>) {
    to.begin_object();
    to.name("relation");
    to.text(relation);
    to.name("address");
    to.address(address);
    to.name("size");
    to.number(block.bytes);
    let index = block.site as usize;
    let hash = shared.sites().get(index).map_or(0, |site| site.hash.load(Ordering::Relaxed));
    to.name("site");
    to.hex(&hash.to_be_bytes()[..4]);
    to.name("stack");
    write_stack(shared, Some(index), to);
    to.end_object();
}

/// The modules that frames may be in, each with its path and build id.
pub fn write_modules(shared: Shared, to: &mut Writer<'_>) {
    let known = |module: &&Module| module.identity.load(Ordering::Acquire) != 0;
    for module in shared.modules().iter().filter(known) {
        to.begin_object();
        to.name("path");
        to.text(path_of(module));
        to.name("build_id");
        let length = module.build_id_len.load(Ordering::Relaxed) as usize;
        to.hex(module.build_id.get(..length).unwrap_or_default());
        to.end_object();
    }
}

fn path_of(module: &Module) -> &str {
    let length = module.path_len.load(Ordering::Relaxed) as usize;
    let path = module.path.get(..length).unwrap_or_default();
    core::str::from_utf8(path).unwrap_or("?")
}

/// A stack as a list of texts, innermost frame first: the path of the module, and the offset in it; in no module, the
/// address.
fn write_stack(shared: Shared, site: Option<usize>, to: &mut Writer<'_>) {
    to.begin_array();
    if let Some(site) = site.filter(|index| *index < SITES).and_then(|index| shared.sites().get(index)) {
        let depth = (site.depth.load(Ordering::Acquire) as usize).min(MAX_DEPTH);
        let at = site.frames.load(Ordering::Relaxed) as usize;
        let frames = shared.frames().get(at..at.saturating_add(depth)).unwrap_or_default();
        for frame in frames {
            let (module, offset) = unpack_frame(frame.load(Ordering::Relaxed));
            match shared.modules().get(module as usize).filter(|_| (module as usize) < MODULES) {
                Some(module) => to.texts_with_address(path_of(module), "+", offset),
                None => to.address(offset),
            }
        }
    }
    to.end_array();
}
