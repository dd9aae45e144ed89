//! How a call stack becomes a site id.
//!
//! The id is a hash over the frames' modules (by build id, or by path where there is none) and offsets,
//! so it is the same in every run, with or without address space randomisation.

/// A hash in progress. The mixing step is the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteHash(u64);

impl SiteHash {
    /// The hash of an empty stack.
    pub const EMPTY: SiteHash = SiteHash(0x6d65_6d74_7269_616c);

    /// Adds one frame, innermost first; `frame` is what [`frame`] returned for it.
    #[inline]
    #[must_use]
    pub fn with(self, frame: u64) -> SiteHash {
        SiteHash(mix(self.0.rotate_left(5) ^ frame))
    }

    /// The finished hash; never 0, which marks an empty entry in tables.
    #[inline]
    #[must_use]
    pub fn finish(self) -> u64 {
        if self.0 == 0 { 1 } else { self.0 }
    }
}

/// The contribution of one frame: the code at `offset` in the module identified by `module`.
#[inline]
#[must_use]
pub fn frame(module: u64, offset: u64) -> u64 {
    mix(module ^ offset.rotate_left(32))
}

/// The identity of a module: of its build id, or of its path where there is no build id.
#[must_use]
pub fn module(identity: &[u8]) -> u64 {
    identity.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| mix(hash ^ u64::from(byte)))
}

/// One key for "the `nth` allocation at `site`"; never 0.
#[inline]
#[must_use]
pub fn occurrence(site: u64, nth: u64) -> u64 {
    SiteHash(site).with(mix(nth)).finish()
}

/// SplitMix64's finalizer: every bit of the input moves every bit of the output.
#[inline]
#[must_use]
pub const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_frames_changes_the_id() {
        let (a, b) = (frame(1, 0x1000), frame(1, 0x2000));
        assert_ne!(SiteHash::EMPTY.with(a).with(b), SiteHash::EMPTY.with(b).with(a));
    }

    #[test]
    fn module_and_offset_are_told_apart() {
        assert_ne!(frame(1, 2), frame(2, 1));
        assert_ne!(module(b"/lib/a.so"), module(b"/lib/b.so"));
    }

    #[test]
    fn each_occurrence_has_a_key_of_its_own() {
        assert_ne!(occurrence(7, 1), occurrence(7, 2));
        assert_ne!(occurrence(7, 1), occurrence(8, 1));
    }
}
