//! What the agent, or probes, have seen of a process's blocks.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use memtrial_report::leak::{LocatedSite, Survival};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::live::LiveTable;
use memtrial_target::memory::SharedMemory;
use memtrial_target::observe::Area;
use memtrial_target::uprobes::Uprobes;

use crate::census::{AGENT_FILE, Census, crash_stack, id_of};

use super::located::{Alive, SiteBlocks, by_site};
use super::reach::Scene;

/// What living blocks come to, whoever has seen them.
pub struct Seen {
    /// Sites with living blocks, worst first.
    pub sites: Vec<LocatedSite>,
    /// Bytes of all living blocks.
    pub bytes: u64,
    /// Blocks freed that were there before, and their bytes.
    pub freed_from_before: [u64; 2],
    /// Allocations that could not be kept.
    pub dropped: u64,
}

/// What the agent takes of a process's addresses.
pub fn own_ranges(pid: i32, memory: &SharedMemory) -> Vec<(u64, u64)> {
    LiveTable::of(pid, memory).ok().flatten().map(|table| table.own_ranges()).unwrap_or_default()
}

/// The mappings that are the agent's: its library, what it keeps, and the memory it shares. `own` are its ranges.
pub fn own_areas(areas: &[Area], own: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let is_own = |area: &&Area| {
        let within = |&(start, end): &(u64, u64)| start <= area.start && area.end <= end;
        area.path.contains(AGENT_FILE) || area.path.contains("/memtrial-") || own.iter().any(within)
    };
    areas.iter().filter(is_own).map(|area| (area.start, area.end)).collect()
}

/// What the agent has seen: which blocks live, and which of them nothing points to.
pub fn seen_by_agent(
    pid: i32,
    memory: &SharedMemory,
    rounds: u32,
    sample: u64,
    notes: &mut Vec<String>,
    symbolizer: &mut Symbolizer,
) -> Seen {
    let control = memory.control();
    let freed_from_before =
        [&control.freed_unknown, &control.freed_unknown_bytes].map(|count| count.load(Ordering::Relaxed));
    let dropped = control.lost.load(Ordering::Relaxed);
    let nothing = Seen { sites: Vec::new(), bytes: 0, freed_from_before, dropped };
    let Ok(Some(table)) = LiveTable::of(pid, memory) else {
        notes.push("the process ended before its blocks were looked at".to_owned());
        return nothing;
    };
    // What is sampled is only a part of what points to it.
    let scene = (sample == 0).then(|| Scene::of(pid, memory));
    let (alive, unreachable) = match scene {
        Some(Ok(scene)) => {
            notes.push(format!(
                "the process stood still for {:.1} ms while its memory was copied",
                scene.stood.as_secs_f64() * 1e3
            ));
            let unreachable = scene.copy.unreachable(&scene.blocks);
            (scene.blocks, Some(unreachable))
        }
        Some(Err(why)) => {
            notes.push(format!("it was not looked for unreachable blocks: {why}"));
            (table.blocks(), None)
        }
        None => (table.blocks(), None),
    };
    let blocks: Vec<Alive> = alive.iter().map(Alive::from).collect();
    let census = Census::read(memory);
    let sites = describe(&blocks, unreachable.as_deref(), rounds, &census, symbolizer);
    Seen { sites, bytes: blocks.iter().map(|block| block.bytes).sum(), freed_from_before, dropped }
}

/// The sites that an agent recorded, with the blocks of theirs that live.
pub fn describe(
    blocks: &[Alive],
    unreachable: Option<&[bool]>,
    rounds: u32,
    census: &Census,
    symbolizer: &mut Symbolizer,
) -> Vec<LocatedSite> {
    let recorded: HashMap<usize, _> = census.sites.iter().map(|site| (site.index, site)).collect();
    let mut sites = Vec::new();
    for (index, mut site) in by_site(blocks, unreachable, rounds) {
        let Some(raw) = recorded.get(&index) else { continue };
        site.allocated = raw.count;
        let survival = site.survival();
        sites.push((site, census.id(raw.hash), survival, *raw));
    }
    let sites = sites.into_iter().map(|(site, id, survival, raw)| {
        let stack = census.stack(raw, symbolizer);
        site.describe(id, stack, survival)
    });
    worst_first(sites.collect())
}

/// What probes have seen.
pub fn seen_by_probes(
    probes: &Uprobes,
    rounds: u32,
    notes: &mut Vec<String>,
    symbolizer: &mut Symbolizer,
) -> Seen {
    let live = probes.live();
    let blocks: Vec<Alive> = live
        .blocks
        .iter()
        .map(|block| Alive {
            address: block.address,
            bytes: block.bytes,
            round: block.round,
            site: block.stack as usize,
        })
        .collect();
    let mut sites = Vec::new();
    for (index, mut site) in by_site(&blocks, None, rounds) {
        let (Some(frames), Some(counts)) = (live.stacks.get(index), live.counts.get(index)) else { continue };
        site.allocated = counts.allocated;
        let survival = site.survival();
        sites.push(site.describe(id_of(frames), crash_stack(frames, symbolizer), survival));
    }
    for (count, what) in [
        (live.cut_off, "stacks were deeper than what is copied of them, and are cut at their outer ends"),
        (live.unfinished, "calls of the allocator had not returned, and are not counted"),
        (live.untold, "blocks could not be told, as their address could not be read"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    }
    Seen {
        sites: worst_first(sites),
        bytes: blocks.iter().map(|block| block.bytes).sum(),
        freed_from_before: [live.freed_unknown, 0],
        dropped: live.lost,
    }
}

/// Sites by how bad their survival is, then by bytes.
pub fn worst_first(mut sites: Vec<LocatedSite>) -> Vec<LocatedSite> {
    sites.sort_by_key(|site| (site.survival, std::cmp::Reverse(site.bytes), site.site.clone()));
    sites
}

/// How the blocks behave of a program that is a round by itself: lost if nothing points to them at the exit of nine
/// runs in ten.
pub fn lost_at_exit(site: &SiteBlocks) -> Survival {
    let lost = site.unreachable.unwrap_or(0);
    let rounds = site.by_round.len() as u64;
    if lost * 10 >= rounds * 9 && lost > 0 { Survival::Lost } else { Survival::NeverFreed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_mappings_are_known_by_name_or_by_range_and_a_neighbour_is_not_one() {
        let area = |start, end, path: &str| Area { start, end, path: path.to_owned(), ..Area::default() };
        let areas = [
            area(0x1000, 0x2000, "/dev/shm/memtrial-7/memtrial-agent.so"),
            area(0x2000, 0x4000, ""),
            area(0x4000, 0x9000, ""),
            area(0xa000, 0xb000, "[heap]"),
        ];
        assert_eq!(own_areas(&areas, &[(0x2000, 0x4000)]), [(0x1000, 0x2000), (0x2000, 0x4000)]);
    }
}
