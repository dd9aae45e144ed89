//! A Rust program whose probes have a dash in their names, as the notes of Rust programs have it: DTrace's spelling.

use std::arch::asm;
use std::io::{BufRead, Write, stdin, stdout};

macro_rules! probe {
    ($name:literal, $arguments:literal, $($operands:tt)*) => {
        // SAFETY: one instruction, which does nothing; the rest is a note in a section that is not loaded.
        unsafe {
            asm!(
                "990: nop",
                ".pushsection .note.stapsdt, \"\", \"note\"",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b, _.stapsdt.base, 0",
                concat!(".asciz \"requests\", \"", $name, "\", \"", $arguments, "\""),
                "994: .balign 4",
                ".popsection",
                ".ifndef _.stapsdt.base",
                ".pushsection .stapsdt.base, \"aG\", \"progbits\", .stapsdt.base, comdat",
                ".weak _.stapsdt.base",
                ".hidden _.stapsdt.base",
                "_.stapsdt.base: .space 1",
                ".size _.stapsdt.base, 1",
                ".popsection",
                ".endif",
                $($operands)*
                options(att_syntax),
            )
        }
    };
}

#[inline(never)]
fn request(number: u64, text: &std::ffi::CStr) {
    probe!("request-start", "8@%rdi 8@%rsi", in("rdi") number, in("rsi") text.as_ptr(),);
}

fn main() {
    for (number, _) in (1_u64..).zip(stdin().lock().lines()) {
        request(number, c"of Rust");
        println!("request-start arg1={number}\n.");
        let _ = stdout().flush();
    }
    probe!("request-done", "",);
}
