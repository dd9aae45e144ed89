//! The library that memtrial loads into a target: it sees every allocation and fails those it is told to.
//!
//! It lives in somebody else's process. So it never allocates from the target's heap, takes no lock, keeps no
//! descriptor open, writes to none of the target's streams, and talks to the kernel by system calls of its own,
//! which leave `errno` alone.
#![no_std]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the agent is written for Linux on x86-64");

mod announced;
mod control;
mod events;
mod files;
mod follow;
mod hooks;
mod inject;
mod memory;
mod privacy;
mod real;
mod record;
mod sampling;
mod snapshot;
mod stack;
mod start;
mod system;
mod thread;

/// A panic can't be told to anybody from in here, and must not unwind through the target.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    system::exit_group(70)
}
