//! What is known of an event before it happens.

/// A kind of event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who provides it, as `postgresql`; empty if that is not known.
    pub provider: String,
    /// Its name among those of the provider, as `query__start`.
    pub name: String,
    /// What it carries, in order.
    pub parameters: Vec<Parameter>,
    /// How its arguments are printed: a format of `printf` with one directive for each parameter, in order, the macros of
    /// `<inttypes.h>` replaced by what they stand for. Without one they are printed as `name=value name=value`.
    pub format: Option<String>,
}

/// An argument of an event, as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type in C, as it was written.
    pub text: String,
    /// What that type means.
    pub class: Class,
}

/// What the bits of an argument mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A whole number without sign, of so many bytes: 1, 2, 4 or 8.
    Unsigned(u8),
    /// A whole number with sign.
    Signed(u8),
    /// An address.
    Pointer,
    /// The address of a text that ends in a NUL.
    Text,
    /// A floating-point number of 4 or 8 bytes.
    Float(u8),
}

impl Event {
    /// `provider:name`, or the name alone.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.provider.is_empty() { self.name.clone() } else { format!("{}:{}", self.provider, self.name) }
    }
}
