//! What an event carried when it happened.

/// An argument as it was when the event happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number without sign, or an address: of a text, too, that nobody has fetched, or that is NULL.
    Unsigned(u64),
    /// A whole number with sign.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// The beginning of a text.
    Text {
        /// Its bytes, without the NUL.
        bytes: Vec<u8>,
        /// Whether there was more of it.
        cut: bool,
    },
    /// The argument could not be fetched; never a guess.
    Missing(Missing),
}

/// Why an argument could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    /// The memory was not there, or not in memory where it may not be waited for.
    Fault,
    /// The operand is of a kind that can't be fetched: a vector register, for example.
    Operand,
    /// The site has no such argument.
    Absent,
}

impl Missing {
    /// As it is printed, in place of the value.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Missing::Fault => "<fault>",
            Missing::Operand => "<unfetchable>",
            Missing::Absent => "<absent>",
        }
    }
}
