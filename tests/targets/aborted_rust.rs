// A growing Vec calls the allocation-error handler, which aborts.
// expect: aborted
// never: crashed,corrupted,hung,silent,misreported,asserted,damaged,unreached
use std::io::Write;

#[inline(never)]
fn squares(n: u64) -> Vec<u64> {
    let mut squares = Vec::new();
    for i in 0..n {
        squares.push(i * i);
    }
    squares
}

fn main() {
    let sum: u64 = squares(100).iter().sum();
    writeln!(std::io::stdout(), "{sum}").expect("stdout");
}
