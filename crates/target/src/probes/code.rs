//! The programs that fetch arguments: one for many sites, made of their operands.

use std::collections::HashMap;

use memtrial_symbols::probes::{Argument, Operand, Register, Site};

use super::layout::{Layout, Layouts, MISSING, NUMBER, Place, REGISTERS, SHORT_TEXT, STACKS, THREAD, TIME};
use crate::bpf::code::{self, function};

/// Registers that calls keep: the context, the record, and which arguments are missing.
const CONTEXT: u8 = 6;
const RECORD: u8 = 7;
const LOST: u8 = 8;
const SITE: u8 = 9;
/// The stack of the program, and what lies there: process and thread; the address that a number is read from; the address
/// of a text; the beginning of the text.
const FRAME: u8 = 10;
const IDENTITY: i16 = -8;
const KEPT: i16 = -16;
const ADDRESS: i16 = -24;
const SCRATCH: i16 = ADDRESS - SHORT_TEXT;

/// Where the instruction pointer lies in the context.
const IP: i16 = 128;
const PAGE: i32 = 4096;
/// Tells the ring to wake nobody: that would cost more than all else.
const NO_WAKEUP: i32 = 1;

/// Most instructions of a program: jumps have 16 bits.
const MOST: usize = 24_000;

/// What programs need to know of the world.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// Descriptor of the ring.
    pub ring: i32,
    /// Descriptor of the map whose one value has a count of lost hits, and behind it one for each number.
    pub counts: i32,
    /// Whether programs may sleep, to wait for memory.
    pub sleeps: bool,
    /// Device and inode of the namespace that pids are told in, if it is not the first.
    pub namespace: Option<[u64; 2]>,
}

/// A program for some of the sites.
#[derive(Debug)]
pub struct Program {
    /// Its instructions.
    pub code: Vec<u64>,
    /// Which sites it is for, each with the cookie that it is to be attached with.
    pub sites: Vec<(usize, u64)>,
}

/// Where registers lie in the context, `struct pt_regs`.
fn context(register: Register) -> i16 {
    match register {
        Register::R15 => 0,
        Register::R14 => 8,
        Register::R13 => 16,
        Register::R12 => 24,
        Register::Bp => 32,
        Register::Bx => 40,
        Register::R11 => 48,
        Register::R10 => 56,
        Register::R9 => 64,
        Register::R8 => 72,
        Register::Ax => 80,
        Register::Cx => 88,
        Register::Dx => 96,
        Register::Si => 104,
        Register::Di => 112,
        Register::Sp => 152,
    }
}

/// The programs for sites that are fetched from, each with its layout. Sites with the same operands share code.
pub fn fetching(sites: &[(&Site, &Layouts)], world: World) -> Vec<Program> {
    let mut programs = Vec::new();
    let mut blocks: Vec<Vec<u64>> = Vec::new();
    let mut known: HashMap<Vec<u64>, u64> = HashMap::new();
    let (mut chosen, mut length) = (Vec::new(), 0);
    for (index, (site, layouts)) in sites.iter().enumerate() {
        let block = fetch(site, layouts, world);
        let number = match known.get(&block) {
            Some(number) => *number,
            None => {
                if length + block.len() > MOST {
                    programs.push(Program { code: dispatching(&blocks), sites: std::mem::take(&mut chosen) });
                    (blocks, known, length) = (Vec::new(), HashMap::new(), 0);
                }
                let number = blocks.len() as u64;
                length += block.len() + 2;
                known.insert(block.clone(), number);
                blocks.push(block);
                number
            }
        };
        chosen.push((index, number << 32 | index as u64));
    }
    if !chosen.is_empty() {
        programs.push(Program { code: dispatching(&blocks), sites: chosen });
    }
    programs
}

/// The program for one site alone, which needs no cookie.
pub fn fetching_one(site: &Site, layouts: &Layouts, number: usize, world: World) -> Vec<u64> {
    let mut code = vec![code::copy(CONTEXT, 1), code::set(SITE, number as i32)];
    code.extend(fetch(site, layouts, world));
    code
}

/// The program that counts hits: of the site with the cookie's number, or of the one given.
pub fn counting(numbers: usize, one: Option<usize>, world: World) -> Vec<u64> {
    let mut code = match one {
        Some(number) => vec![code::set(0, number as i32)],
        None => vec![code::call(function::GET_ATTACH_COOKIE)],
    };
    let mut count = vec![code::shift_left(0, 3)];
    count.extend(code::set_wide(1, code::PSEUDO_VALUE, world.counts as u32 as u64));
    // Behind the count of lost hits.
    count.extend([code::add_register(1, 0), code::add(1, 8), code::set(2, 1), code::add_atomically(1, 2)]);
    // Only what is surely in the map may be written to.
    code.push(code::skip_if_above(0, numbers as i32 - 1, count.len() as i16));
    code.extend(count);
    code.extend([code::set(0, 0), code::EXIT]);
    code
}

/// Finds the block for the upper half of the cookie, the lower half of which is the site.
fn dispatching(blocks: &[Vec<u64>]) -> Vec<u64> {
    let mut code = vec![
        code::copy(CONTEXT, 1),
        code::call(function::GET_ATTACH_COOKIE),
        code::copy(SITE, 0),
        code::shift_left(SITE, 32),
        code::shift_right(SITE, 32),
        code::shift_right(0, 32),
    ];
    choose(&mut code, blocks, 0);
    code
}

/// Chooses among the blocks from `first` on by halves: what is in register 0 decides.
fn choose(code: &mut Vec<u64>, blocks: &[Vec<u64>], first: i32) {
    if let [block] = blocks {
        code.extend(block);
        return;
    }
    let (lower, upper) = blocks.split_at(blocks.len() / 2);
    let at = code.len();
    code.push(0);
    choose(code, lower, first);
    let over = (code.len() - at - 1) as i16;
    let middle = first + lower.len() as i32;
    code[at] = code::skip_if_above(0, middle - 1, over);
    choose(code, upper, middle);
}

/// Fetches everything of a site into a short record, or into a long one if a text is too long for that, and ends the program.
fn fetch(site: &Site, layouts: &Layouts, world: World) -> Vec<u64> {
    let long = fetch_into(site, &layouts.long, world);
    let Some(layout) = &layouts.short else { return long };
    let short = fetch_into(site, layout, world);
    let mut block = vec![code::set(LOST, 0)];
    // Where jumps over what comes before the long one are to be put.
    let mut jumps = Vec::new();
    for (index, (argument, place)) in site.arguments.iter().zip(&layout.arguments).enumerate() {
        if matches!(place, Place::Text(..)) {
            number(&mut block, site, argument, index, (FRAME, ADDRESS), world);
            block.extend([
                code::copy(1, FRAME),
                code::add(1, SCRATCH.into()),
                code::set(2, SHORT_TEXT.into()),
            ]);
            block.extend([code::load(3, FRAME, ADDRESS), code::call(function::PROBE_READ_USER_STR)]);
            jumps.push(block.len());
            block.push(0);
        }
    }
    let end = block.len() + short.len();
    for at in jumps {
        // Errors are above, too, without sign.
        block[at] = code::skip_if_above(0, i32::from(SHORT_TEXT) - 1, (end - at - 1) as i16);
    }
    block.extend(short);
    block.extend(long);
    block
}

/// Fetches everything of a site into a record of this layout, and ends the program.
fn fetch_into(site: &Site, layout: &Layout, world: World) -> Vec<u64> {
    let mut block = Vec::new();
    block.extend(code::set_wide(1, code::PSEUDO_MAP, world.ring as u32 as u64));
    block.extend([code::set(2, layout.size), code::set(3, 0), code::call(function::RINGBUF_RESERVE)]);
    let [counts, counts_behind] = code::set_wide(1, code::PSEUDO_VALUE, world.counts as u32 as u64);
    // Without room the hit is counted as lost.
    block.extend([
        code::skip_if_not_zero(0, 6),
        counts,
        counts_behind,
        code::set(2, 1),
        code::add_atomically(1, 2),
        code::set(0, 0),
        code::EXIT,
    ]);
    block.extend([code::copy(RECORD, 0), code::store(RECORD, NUMBER, SITE), code::set(LOST, 0)]);
    identify(&mut block, world);
    block.extend([code::call(function::KTIME_GET_NS), code::store(RECORD, TIME, 0)]);
    for (index, (argument, place)) in site.arguments.iter().zip(&layout.arguments).enumerate() {
        match *place {
            Place::Nowhere => {}
            Place::Number(at) => number(&mut block, site, argument, index, (RECORD, at), world),
            Place::Text(at, text_at) => {
                number(&mut block, site, argument, index, (RECORD, at), world);
                text(&mut block, at, text_at, layout.text, world);
            }
        }
    }
    if let Some(at) = layout.registers {
        stack(&mut block, at);
    }
    block.extend([
        code::store(RECORD, MISSING, LOST),
        code::copy(1, RECORD),
        code::set(2, NO_WAKEUP),
        code::call(function::RINGBUF_SUBMIT),
        code::set(0, 0),
        code::EXIT,
    ]);
    block
}

/// Writes process and thread, as this process sees them.
fn identify(block: &mut Vec<u64>, world: World) {
    let plain = [code::call(function::GET_CURRENT_PID_TGID), code::store(RECORD, THREAD, 0)];
    block.extend(plain);
    let Some([device, inode]) = world.namespace else { return };
    // Thread and process, in this order, in 4 bytes each: what the plain one has, too. Fails in namespaces below.
    block.extend(code::set_wide(1, 0, device));
    block.extend(code::set_wide(2, 0, inode));
    block.extend([
        code::copy(3, FRAME),
        code::add(3, IDENTITY.into()),
        code::set(4, 8),
        code::call(function::GET_NS_CURRENT_PID_TGID),
        code::skip_if_not_zero(0, 2),
        code::load(1, FRAME, IDENTITY),
        code::store(RECORD, THREAD, 1),
    ]);
}

/// Fetches one number to a distance from a register.
fn number(
    block: &mut Vec<u64>,
    site: &Site,
    argument: &Argument,
    index: usize,
    (base, at): (u8, i16),
    world: World,
) {
    match &argument.operand {
        Operand::Unfetchable(_) => return,
        Operand::Constant(value) => {
            block.extend(code::set_wide(1, 0, *value as u64));
            block.push(code::store(base, at, 1));
            return;
        }
        Operand::Register { register, high } => {
            block.push(code::load(1, CONTEXT, context(*register)));
            if *high {
                block.push(code::shift_right(1, 8));
            }
            block.push(code::store(base, at, 1));
            return;
        }
        Operand::Memory { base: from, index, displacement } => {
            block.extend(code::set_wide(3, 0, *displacement as u64));
            if let Some(from) = from {
                block.extend([code::load(1, CONTEXT, context(*from)), code::add_register(3, 1)]);
            }
            if let Some((index, scale)) = index {
                let bits = i32::from(scale.trailing_zeros() as u8);
                block.push(code::load(1, CONTEXT, context(*index)));
                block.extend([code::shift_left(1, bits), code::add_register(3, 1)]);
            }
        }
        Operand::Global(address) => {
            // The site runs at the instruction pointer: everything of the file is moved as far as it is.
            block.extend(code::set_wide(3, 0, address.wrapping_sub(site.address)));
            block.extend([code::load(1, CONTEXT, IP), code::add_register(3, 1)]);
        }
    }
    block.extend([
        code::store_value(base, at, 0),
        code::store(FRAME, KEPT, 3),
        code::copy(1, base),
        code::add(1, i32::from(at)),
        code::set(2, argument.bytes.into()),
        code::call(function::PROBE_READ_USER),
    ]);
    if world.sleeps {
        block.extend([
            code::skip_if_equal(0, 0, 5),
            code::copy(1, base),
            code::add(1, i32::from(at)),
            code::set(2, argument.bytes.into()),
            code::load(3, FRAME, KEPT),
            code::call(function::COPY_FROM_USER),
        ]);
    }
    block.push(code::skip_if_equal(0, 0, 3));
    block.extend(code::set_wide(1, 0, 1 << index));
    block.push(code::or_register(LOST, 1));
}

/// Fetches the text that the number at `at` is the address of.
fn text(block: &mut Vec<u64>, at: i16, text_at: i16, room: i16, world: World) {
    let read = [
        code::copy(1, RECORD),
        code::add(1, i32::from(text_at) + 8),
        code::set(2, room.into()),
        code::load(3, RECORD, at),
        code::call(function::PROBE_READ_USER_STR),
    ];
    block.extend(read);
    if world.sleeps {
        // Waits for the pages that it may lie on, and tries again.
        let mut again = Vec::new();
        for next_page in [&[][..], &[code::add(3, PAGE), code::and(3, -PAGE)]] {
            again.extend([code::copy(1, RECORD), code::add(1, i32::from(text_at) + 8), code::set(2, 1)]);
            again.push(code::load(3, RECORD, at));
            again.extend(next_page);
            again.push(code::call(function::COPY_FROM_USER));
        }
        again.extend(read);
        block.push(code::skip_if_at_least(0, 0, again.len() as i16));
        block.extend(again);
    }
    block.push(code::store(RECORD, text_at, 0));
}

/// Copies registers and as much of the stack as there is.
fn stack(block: &mut Vec<u64>, at: i16) {
    for (index, place) in [IP, context(Register::Sp), context(Register::Bp)].into_iter().enumerate() {
        block.extend([code::load(1, CONTEXT, place), code::store(RECORD, at + 8 * index as i16, 1)]);
    }
    let length_at = at + 8 * REGISTERS as i16;
    let attempt = |bytes: i32| {
        [
            code::store_value(RECORD, length_at, bytes),
            code::copy(1, RECORD),
            code::add(1, i32::from(length_at) + 8),
            code::set(2, bytes),
            code::load(3, CONTEXT, context(Register::Sp)),
            code::call(function::PROBE_READ_USER),
        ]
    };
    let each = attempt(0).len() + 1;
    for (index, bytes) in STACKS.into_iter().enumerate() {
        block.extend(attempt(bytes));
        let left = (STACKS.len() - index - 1) * each + 1;
        block.push(code::skip_if_equal(0, 0, left as i16));
    }
    block.push(code::store_value(RECORD, length_at, 0));
}
