//! Static probes that the agent has itself.

/// A static probe: a function that does nothing, and a note that says where it is and what its arguments are. Its nop is
/// one of a byte, and there is no semaphore: kernels and linkers have made others fail.
macro_rules! probe {
    ($probe:ident, $provider:literal, $name:literal, $arguments:literal, ($($type:ty),*)) => {
        #[unsafe(naked)]
        extern "C" fn $probe($(_: $type),*) {
            core::arch::naked_asm!(
                "990: nop",
                "ret",
                ".pushsection .note.stapsdt, \"?\", \"note\"",
                ".balign 4",
                ".4byte 992f - 991f, 994f - 993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b, _.stapsdt.base, 0",
                concat!(".asciz \"", $provider, "\", \"", $name, "\", \"", $arguments, "\""),
                "994: .balign 4",
                ".popsection",
                ".ifndef _.stapsdt.base",
                ".pushsection .stapsdt.base, \"aGR\", \"progbits\", .stapsdt.base, comdat",
                ".weak _.stapsdt.base",
                ".hidden _.stapsdt.base",
                "_.stapsdt.base: .space 1",
                ".size _.stapsdt.base, 1",
                ".popsection",
                ".endif",
            )
        }
    };
}

pub(super) use probe;
