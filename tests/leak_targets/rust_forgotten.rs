// A box leaked and a string forgotten in every round.
// site: leak_box 1 x 128
// site: forget_string 1 x 77
// unreachable: yes
mod daemon;

#[inline(never)]
fn leak_box(round: u32) {
    let leaked = Box::new([u64::from(round); 16]);
    if cfg!(good) {
        drop(std::hint::black_box(leaked));
    } else {
        std::hint::black_box(Box::leak(leaked));
    }
}

#[inline(never)]
fn forget_string() {
    let text = std::hint::black_box("x".repeat(77));
    if !cfg!(good) {
        std::mem::forget(text);
    }
}

fn main() {
    daemon::serve(|round| {
        leak_box(round);
        forget_string();
    });
}
