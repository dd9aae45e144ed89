//! Faults: which allocations fail, and how the choice is written in shared memory.

use core::fmt;

/// What is injected, as `--fault` takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The one allocation.
    Once,
    /// That one and all after it.
    Sticky,
    /// That one and the next, N in all.
    Burst(u64),
    /// All requests of at least so many bytes.
    Size(u64),
    /// Every request that would take the live heap above so many bytes.
    Limit(u64),
    /// Each allocation with this probability, drawn from this seed.
    Chance {
        /// Between 0 and 1.
        probability: f64,
        /// The same seed fails the same allocations.
        seed: u64,
    },
}

/// How a fault is written in [`crate::layout::Control`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct FaultCode {
    /// Which variant.
    pub kind: u32,
    /// Unused.
    pub reserved: u32,
    /// Count, bytes, or the probability scaled to 2^64.
    pub amount: u64,
    /// Seed of [`Fault::Chance`].
    pub seed: u64,
}

/// Kinds of [`FaultCode`].
pub mod kind {
    /// [`super::Fault::Once`]
    pub const ONCE: u32 = 1;
    /// [`super::Fault::Sticky`]
    pub const STICKY: u32 = 2;
    /// [`super::Fault::Burst`]
    pub const BURST: u32 = 3;
    /// [`super::Fault::Size`]
    pub const SIZE: u32 = 4;
    /// [`super::Fault::Limit`]
    pub const LIMIT: u32 = 5;
    /// [`super::Fault::Chance`]
    pub const CHANCE: u32 = 6;
}

impl Fault {
    /// Whether the fault begins at one allocation, so that each allocation is an injection of its own.
    /// The others choose by themselves what to fail: one run is the whole injection.
    #[must_use]
    pub fn is_anchored(&self) -> bool {
        matches!(self, Fault::Once | Fault::Sticky | Fault::Burst(_))
    }

    /// The form the agent reads.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scaled to the range of u64")]
    pub fn code(&self) -> FaultCode {
        let (kind, amount, seed) = match *self {
            Fault::Once => (kind::ONCE, 1, 0),
            Fault::Sticky => (kind::STICKY, u64::MAX, 0),
            Fault::Burst(n) => (kind::BURST, n, 0),
            Fault::Size(bytes) => (kind::SIZE, bytes, 0),
            Fault::Limit(bytes) => (kind::LIMIT, bytes, 0),
            Fault::Chance { probability, seed } => {
                (kind::CHANCE, (probability * 18_446_744_073_709_551_615.0) as u64, seed)
            }
        };
        FaultCode { kind, reserved: 0, amount, seed }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Once => f.write_str("once"),
            Fault::Sticky => f.write_str("sticky"),
            Fault::Burst(n) => write!(f, "burst={n}"),
            Fault::Size(bytes) => write!(f, "size={bytes}+"),
            Fault::Limit(bytes) => write!(f, "limit={bytes}"),
            Fault::Chance { probability, seed } => write!(f, "p={probability},seed={seed}"),
        }
    }
}

/// Why a text is not a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAFault;

impl fmt::Display for NotAFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected once, sticky, burst=N, size=BYTES+, limit=BYTES or p=PROBABILITY,seed=N")
    }
}

impl core::error::Error for NotAFault {}

impl core::str::FromStr for Fault {
    type Err = NotAFault;

    fn from_str(text: &str) -> Result<Fault, NotAFault> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match (name, value) {
            ("once", "") => Ok(Fault::Once),
            ("sticky", "") => Ok(Fault::Sticky),
            ("burst", n) => match n.parse() {
                Ok(n) if n > 0 => Ok(Fault::Burst(n)),
                _ => Err(NotAFault),
            },
            ("size", bytes) => parse_bytes(bytes.strip_suffix('+').ok_or(NotAFault)?).map(Fault::Size),
            ("limit", bytes) => parse_bytes(bytes).map(Fault::Limit),
            ("p", rest) => {
                let (probability, seed) = match rest.split_once(",seed=") {
                    Some((probability, seed)) => (probability, seed.parse().map_err(|_| NotAFault)?),
                    None => (rest, 1),
                };
                match probability.parse() {
                    Ok(probability) if (0.0..=1.0).contains(&probability) => {
                        Ok(Fault::Chance { probability, seed })
                    }
                    _ => Err(NotAFault),
                }
            }
            _ => Err(NotAFault),
        }
    }
}

/// Bytes, with an optional `k`, `m` or `g` for the powers of 1024.
fn parse_bytes(text: &str) -> Result<u64, NotAFault> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or(NotAFault)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn what_is_printed_is_what_is_parsed() {
        for text in ["once", "sticky", "burst=4", "size=4096+", "limit=1000000", "p=0.01,seed=7"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("size=64k+".parse(), Ok(Fault::Size(65536)));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in ["", "twice", "burst=0", "size=12", "limit=", "p=2", "p=0.5,seed=x", "limit=99999999999g"]
        {
            assert_eq!(text.parse::<Fault>(), Err(NotAFault), "{text}");
        }
    }
}
