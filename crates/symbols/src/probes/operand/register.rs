//! The names of registers, whole and in part.

use super::not_understood;
use crate::probes::Register;

/// A part of a register.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its width.
    pub bytes: u8,
    /// Whether it is the second byte.
    pub high: bool,
}

/// In the order of [`Register`]: 8, 4, 2 and 1 bytes, and the second byte.
const NAMES: [(Register, [&str; 5]); 8] = [
    (Register::Ax, ["rax", "eax", "ax", "al", "ah"]),
    (Register::Dx, ["rdx", "edx", "dx", "dl", "dh"]),
    (Register::Cx, ["rcx", "ecx", "cx", "cl", "ch"]),
    (Register::Bx, ["rbx", "ebx", "bx", "bl", "bh"]),
    (Register::Si, ["rsi", "esi", "si", "sil", ""]),
    (Register::Di, ["rdi", "edi", "di", "dil", ""]),
    (Register::Bp, ["rbp", "ebp", "bp", "bpl", ""]),
    (Register::Sp, ["rsp", "esp", "sp", "spl", ""]),
];

const NUMBERED: [(&str, Register); 8] = [
    ("r8", Register::R8),
    ("r9", Register::R9),
    ("r10", Register::R10),
    ("r11", Register::R11),
    ("r12", Register::R12),
    ("r13", Register::R13),
    ("r14", Register::R14),
    ("r15", Register::R15),
];

/// The register `name`, which has no `%`.
pub(super) fn register(name: &str) -> Result<(Register, Place), String> {
    for (register, names) in NAMES {
        if let Some(index) = names.iter().position(|known| *known == name && !known.is_empty()) {
            let bytes = [8, 4, 2, 1, 1][index];
            return Ok((register, Place { bytes, high: index == 4 }));
        }
    }
    for (known, register) in NUMBERED {
        let bytes = match name.strip_prefix(known) {
            Some("") => 8,
            Some("d") => 4,
            Some("w") => 2,
            Some("b" | "l") => 1,
            _ => continue,
        };
        return Ok((register, Place { bytes, high: false }));
    }
    let vector = ["xmm", "ymm", "zmm", "mm"].iter().any(|kind| name.starts_with(kind));
    Err(if vector {
        "it is in a vector register".to_owned()
    } else if name.starts_with("st") {
        "it is in a register of the x87".to_owned()
    } else {
        not_understood()
    })
}

/// A register that is part of an address.
pub(super) fn address_register(text: &str) -> Result<Register, String> {
    let name = text.strip_prefix('%').ok_or_else(not_understood)?;
    match register(name)? {
        (register, Place { bytes: 8, .. }) => Ok(register),
        _ => Err("its address is made of parts of registers".to_owned()),
    }
}
