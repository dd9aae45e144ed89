//! Following blocks over some rounds more: which call stacks are their allocations piling up at?

use std::io;
use std::sync::atomic::Ordering;

use memtrial_report::leak::{LocateWay, Located, LocatedSite, Role};
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::live::LiveTable;
use memtrial_target::memory::{Setup, SharedMemory};
use memtrial_target::observe::Identity;
use memtrial_target::rest::come_to_rest;
use memtrial_wire::layout::{CONTROL_VARIABLE, mode};
use memtrial_wire::live::LAST_ROUND;

use super::followed::{self, Followed};
use super::located::{Alive, by_site};
use super::reach::Scene;
use super::rounds::Rounds;
use super::seen;
use super::trial::{Lab, LeakError};
use crate::census::Census;

/// Most processes that are looked into at once.
const MOST: usize = 8;

/// What locating has come to.
pub struct Found {
    /// Each process looked into.
    pub located: Vec<Located>,
    /// Why some, or all, were not.
    pub why_not: Option<String>,
}

/// The memory that an agent which follows blocks shares.
///
/// # Errors
/// When it can't be made.
pub fn memory(lab: &Lab, name: &str, sample: u64) -> Result<SharedMemory, LeakError> {
    let path = lab.scratch.path().join(format!("follow-{name}"));
    let at = |error: io::Error| LeakError::Io { what: path.display().to_string(), error };
    let mut memory = SharedMemory::create(&path, &Setup::of(mode::FOLLOW)).map_err(at)?;
    memory.set_sample(sample);
    Ok(memory)
}

/// Makes rounds in which blocks are followed, in every process of the target that has lived from the start.
///
/// # Errors
/// As for [`Rounds::make`].
pub fn locate(rounds: &mut Rounds<'_>, lab: &Lab, symbolizer: &mut Symbolizer) -> Result<Found, LeakError> {
    if rounds.program.is_some() {
        return locate_program(rounds, lab, symbolizer);
    }
    let wanted: Vec<Identity> = rounds
        .watched
        .iter()
        .filter(|one| one.role == Role::Target && one.lives())
        .filter(|one| one.main || one.samples.len() * 2 > rounds.made as usize)
        .map(|one| one.identity.clone())
        .collect();
    let mut why_not: Vec<String> = Vec::new();
    if wanted.len() > MOST {
        why_not.push(format!("only the first {MOST} of {} processes were looked into", wanted.len()));
    }
    let sample = rounds.options.sample;
    let mut all = Vec::new();
    for identity in wanted.iter().take(MOST) {
        let is_served = rounds.served.as_ref().is_some_and(|served| served.pid == identity.pid);
        let preloaded = rounds.served_memory.take_if(|_| is_served);
        match Followed::begin(identity, preloaded, lab, sample, &mut *rounds.places.target) {
            Ok(followed) => all.push(followed),
            Err(why) => why_not.push(why),
        }
    }
    let allowed = rounds.options.locate_rounds.min(LAST_ROUND);
    let made = if all.is_empty() { 0 } else { follow(rounds, &mut all, allowed, lab)? };
    let place = &mut *rounds.places.target;
    let located =
        all.into_iter().map(|followed| followed.end(made, sample, lab, place, symbolizer)).collect();
    Ok(Found { located, why_not: (!why_not.is_empty()).then(|| why_not.join("; ")) })
}

/// Makes rounds; returns how many.
fn follow(rounds: &mut Rounds<'_>, all: &mut [Followed], allowed: u32, lab: &Lab) -> Result<u32, LeakError> {
    for round in 1..=allowed {
        if rounds.interrupt.asked() {
            return Ok(round - 1);
        }
        all.iter_mut().for_each(|followed| followed.begin_round(round, lab));
        // Rounds are counted on, so that one whose action fails is named by a number of its own.
        let number = rounds.made + round;
        rounds.act(number)?;
        // What the action has set going belongs to its round.
        all.iter().for_each(|followed| come_to_rest(followed.pid(), rounds.interrupt));
        rounds.progress.round(round, &rounds.watched);
    }
    Ok(allowed)
}

/// A program that is a round by itself: what is alive when it is about to exit, in each of the runs.
fn locate_program(
    rounds: &mut Rounds<'_>,
    lab: &Lab,
    symbolizer: &mut Symbolizer,
) -> Result<Found, LeakError> {
    if lab.program.as_ref().is_none_or(|(_, takes_agent)| !takes_agent) {
        let why = "the agent can't be loaded with the program".to_owned();
        return Ok(Found { located: Vec::new(), why_not: Some(why) });
    }
    let memory = memory(lab, "program", 0)?;
    let environment = [
        ("LD_PRELOAD".into(), lab.agent.clone().into_os_string()),
        (CONTROL_VARIABLE.into(), memory.path().as_os_str().to_owned()),
    ];
    let (mut alive, mut unreachable) = (Vec::new(), Vec::new());
    let mut identity = None;
    let mut allocator = String::new();
    let mut made = 0;
    let allowed = rounds.options.locate_rounds.min(LAST_ROUND);
    let (options, interrupt) = (rounds.options, rounds.interrupt);
    for round in 1..=allowed {
        if interrupt.asked() {
            break;
        }
        let Some(program) = &mut rounds.program else { break };
        memory.control().claimed.store(0, Ordering::Relaxed);
        memory.control().live_table.store(0, Ordering::Relaxed);
        memory.control().round.store(round, Ordering::Release);
        let mut look = |pid: i32| {
            if round == 1 {
                allocator = followed::allocator_of(pid);
            }
            let (blocks, lost) = at_exit(pid, &memory);
            alive.extend(blocks);
            unreachable.extend(lost);
        };
        let run = program.run(&environment, options.timeout, interrupt, &mut look)?;
        identity = run.last.map(|(identity, ..)| identity).or(identity);
        made = round;
        rounds.progress.round(round, &rounds.watched);
    }
    let census = Census::read(&memory);
    let recorded: std::collections::HashMap<usize, _> =
        census.sites.iter().map(|site| (site.index, site)).collect();
    let looked = unreachable.len() == alive.len();
    let sites: Vec<LocatedSite> = by_site(&alive, looked.then_some(&unreachable), made)
        .into_iter()
        .filter_map(|(index, site)| {
            let raw = recorded.get(&index)?;
            let survival = seen::lost_at_exit(&site);
            Some(site.describe(census.id(raw.hash), census.stack(raw, symbolizer), survival))
        })
        .collect();
    let mut notes =
        vec!["each round is a run: blocks are those that live when the program is about to exit".to_owned()];
    if !looked {
        notes
            .push("it was not looked for unreachable blocks in every run, so none is called lost".to_owned());
    }
    let located = Located {
        pid: identity.as_ref().map_or(0, |identity| identity.pid),
        name: identity.map_or_else(String::new, |identity| identity.name),
        way: LocateWay::Preload,
        allocator,
        rounds: made,
        sampled: None,
        stopped_ms: None,
        sites: seen::worst_first(sites),
        fragmentation: None,
        freed_from_before: [0, 0],
        dropped: memory.control().lost.load(Ordering::Relaxed),
        notes,
    };
    Ok(Found { located: vec![located], why_not: None })
}

/// The blocks that live in a program which is about to exit, and which of them nothing points to.
fn at_exit(pid: i32, memory: &SharedMemory) -> (Vec<Alive>, Vec<bool>) {
    let (blocks, unreachable) = match Scene::of_ending(pid, memory) {
        Ok(scene) => {
            let unreachable = scene.copy.unreachable(&scene.blocks);
            (scene.blocks, unreachable)
        }
        Err(_) => match LiveTable::of(pid, memory) {
            Ok(Some(table)) => (table.blocks(), Vec::new()),
            _ => (Vec::new(), Vec::new()),
        },
    };
    let alive = blocks.iter().map(Alive::from).collect();
    (alive, unreachable)
}
