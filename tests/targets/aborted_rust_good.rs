// Uses try_reserve, reports the failure on stderr and ends with status 1, without the runtime that std starts
// before main.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#![no_main]

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

#[inline(never)]
fn squares(n: usize) -> Result<Vec<u64>, std::collections::TryReserveError> {
    let mut squares = Vec::new();
    squares.try_reserve(n / 2)?;
    squares.extend((0..n as u64 / 2).map(|i| i * i));
    squares.try_reserve_exact(n - n / 2)?;
    squares.extend((n as u64 / 2..n as u64).map(|i| i * i));
    Ok(squares)
}

#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    match squares(100) {
        Ok(squares) => {
            // SAFETY: descriptor 1 is open for the whole run, and is not closed here.
            let mut stdout = ManuallyDrop::new(unsafe { File::from_raw_fd(1) });
            match writeln!(stdout, "{}", squares.iter().sum::<u64>()) {
                Ok(()) => 0,
                Err(_) => 2,
            }
        }
        Err(_) => {
            eprintln!("out of memory");
            1
        }
    }
}
