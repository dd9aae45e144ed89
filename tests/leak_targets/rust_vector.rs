// A vector that gets a string in every round; the twin's is emptied when it holds eight.
// site: append 1 x 90
mod daemon;

#[inline(never)]
fn append(lines: &mut Vec<String>) {
    lines.push(std::hint::black_box("y".repeat(90)));
    if cfg!(good) && lines.len() == 8 {
        lines.clear();
    }
}

fn main() {
    let mut lines = Vec::new();
    daemon::serve(|_| append(&mut lines));
}
