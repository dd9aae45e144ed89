//! How far a text has been read, and what may come next.

use super::{DEEPEST, Error, Wrong, wrong};

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// How far a text has been read. With it a [`Reader`](super::Reader) goes on when more bytes are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(super) at: usize,
    pub(super) depth: u32,
    /// Of each array and object around the place whether it is an object, the innermost in bit 0.
    objects: u32,
    pub(super) expected: Expected,
}

impl Place {
    /// Before the first byte.
    pub const START: Place = Place { at: 0, depth: 0, objects: 0, expected: Expected::Value };

    /// How many bytes lie before it.
    #[must_use]
    pub const fn at(self) -> usize {
        self.at
    }

    /// How many arrays and objects are around it.
    #[must_use]
    pub const fn depth(self) -> u32 {
        self.depth
    }

    /// Whether the value is complete.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.expected == Expected::Nothing
    }

    pub(super) const fn in_object(self) -> bool {
        self.objects & 1 == 1
    }

    pub(super) fn ended_value(&mut self) {
        self.expected = if self.depth == 0 { Expected::Nothing } else { Expected::CommaOrEnd };
    }

    pub(super) fn begin(&mut self, object: bool) -> Result<(), Error> {
        if self.depth >= DEEPEST {
            return wrong(Wrong::Deep, self.at);
        }
        self.depth = self.depth.saturating_add(1);
        self.objects = self.objects << 1 | u32::from(object);
        self.expected = if object { Expected::NameOrEnd } else { Expected::ValueOrEnd };
        self.step();
        Ok(())
    }

    pub(super) fn end(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
        self.ended_value();
        self.step();
    }

    pub(super) fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }
}
