//! The system calls of the agent, made without the C library so that `errno` and its locks are left alone.

mod file;
mod mapping;
pub(crate) mod number;
mod process;
mod socket;
mod thread;

pub use file::*;
pub use mapping::*;
pub use process::*;
pub use socket::*;
pub use thread::*;

use core::arch::asm;

/// The error number of a failed call.
pub type Errno = i64;

pub(crate) fn check(result: i64) -> Result<u64, Errno> {
    // The kernel returns errors as -4095..=-1; all else, addresses too, is success.
    if (-4095..0).contains(&result) { Err(-result) } else { Ok(result.cast_unsigned()) }
}

/// Makes a system call.
///
/// # Safety
/// The arguments must be right for the call: pointers valid for what it reads and writes, and its effect on
/// memory, descriptors and processes one that the caller answers for.
#[inline]
pub(crate) unsafe fn call(number: u64, a: [u64; 6]) -> i64 {
    let result;
    // SAFETY: the x86-64 system call convention; the caller answers for the arguments.
    unsafe {
        // The mark must not stay behind in its register: the target's next call might pass for the agent's.
        asm!("syscall", "xor r9d, r9d", inlateout("rax") number.cast_signed() => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4],
            inlateout("r9") a[5] => _, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// A call with up to five arguments; the sixth marks it as the agent's.
macro_rules! marked {
    ($number:expr $(, $argument:expr)*) => {{
        let mut arguments = [0u64; 6];
        let given: &[u64] = &[$($argument),*];
        let mut i = 0;
        while i < given.len() {
            arguments[i] = given[i];
            i += 1;
        }
        arguments[5] = memtrial_wire::layout::AGENT_MARK;
        $crate::system::check($crate::system::call($number, arguments))
    }};
}

pub(crate) use marked;
