//! Whether an allocation fails under a fault: the pure part of what the agent decides.

use crate::fault::{FaultCode, kind};
use crate::site::{mix, occurrence};

/// Facts of an allocation that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Hash of the allocating stack.
    pub site: u64,
    /// Which allocation at that site, from 1.
    pub nth: u64,
    /// Bytes asked for.
    pub bytes: u64,
    /// Bytes live in the heap, where the fault needs them.
    pub live: u64,
}

/// Whether a fault that chooses by itself (not anchored at an allocation) fails this one.
#[must_use]
pub fn chosen(fault: &FaultCode, request: &Request) -> bool {
    match fault.kind {
        kind::SIZE => request.bytes >= fault.amount,
        kind::LIMIT => request.live.saturating_add(request.bytes) > fault.amount,
        kind::CHANCE => {
            fault.amount == u64::MAX
                || mix(occurrence(request.site, request.nth) ^ mix(fault.seed)) < fault.amount
        }
        _ => false,
    }
}

/// How many allocations fail from the anchor on, itself included.
#[must_use]
pub fn failures_from_anchor(fault: &FaultCode) -> u64 {
    match fault.kind {
        kind::STICKY | kind::BURST => fault.amount,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn request(nth: u64, bytes: u64, live: u64) -> Request {
        Request { site: 0xfeed, nth, bytes, live }
    }

    #[test]
    fn size_and_limit_look_at_bytes() {
        assert!(chosen(&Fault::Size(100).code(), &request(1, 100, 0)));
        assert!(!chosen(&Fault::Size(100).code(), &request(1, 99, 0)));
        assert!(chosen(&Fault::Limit(1000).code(), &request(1, 100, 901)));
        assert!(!chosen(&Fault::Limit(1000).code(), &request(1, 100, 900)));
    }

    #[test]
    fn chance_fails_about_its_share_and_the_same_ones_each_time() {
        let fault = Fault::Chance { probability: 0.1, seed: 7 }.code();
        let failed = (1..=100_000).filter(|&nth| chosen(&fault, &request(nth, 8, 0))).count();
        assert!((9_500..10_500).contains(&failed), "{failed}");
        let never = Fault::Chance { probability: 0.0, seed: 7 }.code();
        let always = Fault::Chance { probability: 1.0, seed: 7 }.code();
        assert!((1..1000).all(|nth| !chosen(&never, &request(nth, 8, 0))));
        assert!((1..1000).all(|nth| chosen(&always, &request(nth, 8, 0))));
    }
}
