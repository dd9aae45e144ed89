//! Static probes (USDT): the notes of a file that say where they are, and where their arguments are then
//! (<https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation>).

pub mod notes;
pub mod operand;
mod reading;
mod warnings;

pub use reading::read;

/// The static probes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probes {
    /// By provider and name, each once.
    pub probes: Vec<Probe>,
    /// What of the notes could not be read, in words.
    pub damage: Vec<String>,
}

/// A static probe: all the places in the code that are it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Who provides it.
    pub provider: String,
    /// Its name, as the note has it: `a__b`, or `a-b` in Rust programs.
    pub name: String,
    /// Where it is, in the order of the notes.
    pub sites: Vec<Site>,
}

/// One place of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its address, as the file has it.
    pub address: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// Its semaphore, if it has one: a count of 16 bits, which tells the program that somebody is listening.
    pub semaphore: Option<Semaphore>,
    /// The arguments, in order.
    pub arguments: Vec<Argument>,
    /// What may go wrong here.
    pub warnings: Vec<Warning>,
}

/// Where a semaphore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Semaphore {
    /// Its address, as the file has it.
    pub address: u64,
    /// Where it is in the file.
    pub offset: u64,
}

/// An argument of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// As the note has it: `-4@24(%rbx)`.
    pub text: String,
    /// 1, 2, 4 or 8; where a register is narrower than the note claims, as many as it has.
    pub bytes: u8,
    /// Whether the number has a sign.
    pub signed: bool,
    /// Whether it is a floating-point number.
    pub float: bool,
    /// Where its value is.
    pub operand: Operand,
}

/// Where a value is when a site is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// It is this number, cut to the argument's bytes and extended by its sign (of 8 bytes without sign, the same bits).
    Constant(i64),
    /// In a register.
    Register {
        /// Which.
        register: Register,
        /// Whether it is the second byte of it, as in `%ah`.
        high: bool,
    },
    /// In memory, at base + index · scale + displacement; without a base and an index the displacement is an address of
    /// the process as it is.
    Memory {
        /// The base.
        base: Option<Register>,
        /// The index, and what it is multiplied by: 1, 2, 4 or 8.
        index: Option<(Register, u8)>,
        /// What is added.
        displacement: i64,
    },
    /// In memory, at this address of the file.
    Global(u64),
    /// Somewhere else, or nowhere that makes sense; why it can't be fetched.
    Unfetchable(String),
}

/// A register of x86-64, in the order of DWARF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are called what they are called")]
pub enum Register {
    Ax,
    Dx,
    Cx,
    Bx,
    Si,
    Di,
    Bp,
    Sp,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

/// What may go wrong at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Warning {
    /// The site is a nop of 5 bytes. Kernels that make such probes faster by putting a call there overwrite what a leaf
    /// function keeps below its stack pointer.
    Nop5,
    /// The page of the semaphore is also mapped by another segment (rust-lld's default layout). Processes that are started
    /// while the probe is set never see their semaphore raised.
    SharedSemaphorePage,
    /// The file has no `.stapsdt.base`, so that nobody can tell if it was moved by prelink; taken as not moved.
    NoBase,
}
