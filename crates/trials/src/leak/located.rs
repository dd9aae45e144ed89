//! What the live blocks of a process come to, site by site.

use std::collections::HashMap;

use memtrial_report::leak::{LocatedSite, Survival};
use memtrial_report::model::Frame;
use memtrial_target::live::LiveBlock;
use memtrial_wire::live::Block;

use super::blocks;

/// The living blocks of one site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteBlocks {
    /// Living blocks by round, the first one followed first.
    pub by_round: Vec<u64>,
    /// Bytes of them.
    pub bytes: u64,
    /// Lowest and highest address.
    pub addresses: [u64; 2],
    /// Blocks that nothing points to; `None` if nobody looked.
    pub unreachable: Option<u64>,
    /// Blocks allocated in the rounds followed; those that do not live were freed.
    pub allocated: u64,
}

/// A living block, whoever has followed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// Where it begins.
    pub address: u64,
    /// Bytes asked for.
    pub bytes: u64,
    /// Round in which it was allocated, from 1.
    pub round: u32,
    /// Which site; the follower's own number for it.
    pub site: usize,
}

impl From<&LiveBlock> for Alive {
    fn from(live: &LiveBlock) -> Alive {
        let Block { site, round, bytes } = live.block;
        Alive { address: live.address, bytes, round, site: site as usize }
    }
}

/// Sorts living blocks by their sites. `unreachable` has an entry for each block, if somebody looked.
#[must_use]
pub fn by_site(alive: &[Alive], unreachable: Option<&[bool]>, rounds: u32) -> HashMap<usize, SiteBlocks> {
    let mut sites: HashMap<usize, SiteBlocks> = HashMap::new();
    for (number, block) in alive.iter().enumerate() {
        let site = sites.entry(block.site).or_insert_with(|| SiteBlocks {
            by_round: vec![0; rounds as usize],
            addresses: [u64::MAX, 0],
            unreachable: unreachable.map(|_| 0),
            ..SiteBlocks::default()
        });
        if let Some(count) = site.by_round.get_mut((block.round.max(1) - 1) as usize) {
            *count += 1;
        }
        site.bytes += block.bytes;
        site.addresses = [site.addresses[0].min(block.address), site.addresses[1].max(block.address)];
        if let (Some(count), Some(true)) =
            (&mut site.unreachable, unreachable.and_then(|all| all.get(number)))
        {
            *count += 1;
        }
    }
    sites
}

impl SiteBlocks {
    /// Living blocks.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.by_round.iter().sum()
    }

    /// How they behave. Blocks that nothing points to are lost whatever their ages; of so few that they come from one
    /// or two rounds it is left open, as they may hang on a pointer in a form that is not understood.
    #[must_use]
    pub fn survival(&self) -> Survival {
        const FEW: u64 = 4;
        let rounds_with = self.by_round.iter().filter(|count| **count > 0).count() as u64;
        let unreachable = self.unreachable.unwrap_or(0);
        let regular = unreachable >= FEW && rounds_with >= FEW;
        if regular && unreachable * 10 >= self.blocks() * 8 {
            return Survival::Lost;
        }
        match blocks::judge(&self.by_round, self.allocated.saturating_sub(self.blocks())) {
            Survival::Leaking => Survival::Leaking,
            _ if regular => Survival::Lost,
            other => other,
        }
    }

    /// The site as the report has it.
    #[must_use]
    pub fn describe(self, site: String, stack: Vec<Frame>, survival: Survival) -> LocatedSite {
        LocatedSite {
            site,
            survival,
            blocks: self.blocks(),
            bytes: self.bytes,
            rounds_with: u32::try_from(self.by_round.iter().filter(|count| **count > 0).count())
                .unwrap_or(u32::MAX),
            rounds: u32::try_from(self.by_round.len()).unwrap_or(u32::MAX),
            by_round: self.by_round,
            unreachable: self.unreachable,
            addresses: self.addresses,
            stack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_at_their_sites_and_in_their_rounds() {
        let alive = |address, bytes, round, site| Alive { address, bytes, round, site };
        let all = [alive(0x30, 8, 1, 7), alive(0x10, 8, 3, 7), alive(0x20, 5, 2, 9)];
        let sites = by_site(&all, Some(&[true, false, false]), 3);
        let site = &sites[&7];
        assert_eq!((site.by_round.as_slice(), site.bytes), ([1, 0, 1].as_slice(), 16));
        assert_eq!((site.addresses, site.unreachable), ([0x10, 0x30], Some(1)));
        assert_eq!(by_site(&all, None, 3)[&9].unreachable, None);
    }
}
