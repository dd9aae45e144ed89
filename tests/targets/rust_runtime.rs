// The program handles its own failures by try_reserve, but the runtime that std starts before main aborts at
// those of its own.
// expect: handled,aborted
// never: crashed,corrupted,hung,silent,misreported,asserted,damaged,unreached
use std::process::ExitCode;

#[inline(never)]
fn zeros(n: usize) -> Result<Vec<u8>, std::collections::TryReserveError> {
    let mut zeros = Vec::new();
    zeros.try_reserve(n)?;
    zeros.resize(n, 0);
    Ok(zeros)
}

fn main() -> ExitCode {
    match (zeros(100), zeros(1000)) {
        (Ok(few), Ok(many)) => {
            eprintln!("{}", few.len() + many.len());
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("out of memory");
            ExitCode::FAILURE
        }
    }
}
