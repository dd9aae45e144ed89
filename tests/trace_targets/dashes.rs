//! Static probes whose names have dashes, as Rust's crates for them write them, and C's macros can't.

use std::arch::asm;

macro_rules! probe {
    ($name:literal, $arguments:literal) => {
        // SAFETY: a nop, and data for those who read the file.
        unsafe {
            asm!(
                "990: nop",
                ".pushsection .note.stapsdt, \"?\", \"note\"",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b",
                ".8byte 0",
                ".8byte 0",
                ".asciz \"dashes\"",
                concat!(".asciz \"", $name, "\""),
                concat!(".asciz \"", $arguments, "\""),
                "994: .balign 4",
                ".popsection",
                options(att_syntax, nomem, nostack, preserves_flags)
            )
        }
    };
}

fn main() {
    probe!("run-start", "8@%rdi");
    probe!("run-done", "");
    println!("ready");
    loop {
        std::thread::park();
    }
}
