//! ELF and DWARF: unwinding, symbolizing, demangling, and facts of executables.
#![cfg_attr(not(feature = "std"), no_std)]
pub mod unwind;

#[cfg(feature = "std")]
pub mod allocator;
#[cfg(feature = "std")]
mod debugfile;
#[cfg(feature = "std")]
pub mod demangle;
#[cfg(feature = "std")]
mod dwarf;
#[cfg(feature = "std")]
pub mod elf;
#[cfg(feature = "std")]
mod image;
#[cfg(feature = "std")]
mod maps;
#[cfg(feature = "std")]
pub mod probes;
#[cfg(feature = "std")]
pub mod remote;
#[cfg(feature = "std")]
pub mod symbolize;
#[cfg(feature = "std")]
mod symtab;
#[cfg(all(test, feature = "std"))]
mod testing;
