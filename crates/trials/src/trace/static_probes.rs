//! Static probes that are watched, as a source of hits.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use memtrial_events::value::Missing;
use memtrial_events::{Class, Hit, Table, Value};
use memtrial_report::frames;
use memtrial_symbols::probes::Probe;
use memtrial_symbols::remote::RemoteFrame;
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::probes::{Fetched, ProbesError, ProcessStacks, RawHit, Tracer, Watched};

use super::catalog::{Catalog, Module};
use super::descriptions::Descriptions;
use super::live::Source;
use crate::census::crash_stack;

/// A probe to be watched, in the file that it is in.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The file, as it is to be opened.
    pub file: PathBuf,
    /// The probe.
    pub probe: Probe,
}

impl Chosen {
    /// All probes of a catalog.
    #[must_use]
    pub fn all(catalog: &Catalog) -> Vec<Chosen> {
        let of = |module: &Module| {
            let file = module.file.clone();
            module.probes.clone().into_iter().map(move |probe| Chosen { file: file.clone(), probe })
        };
        catalog.modules.iter().flat_map(of).collect()
    }
}

/// Static probes that are watched.
pub struct StaticProbes {
    tracer: Tracer,
    /// For each site, which event of the table it is, and how many arguments that has.
    events: Vec<(usize, usize)>,
    stacks: Stacks,
}

/// What was set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set {
    /// Probes with a site at least that is watched.
    pub probes: usize,
    /// Sites that are watched.
    pub sites: usize,
    /// What the user should know, a sentence each.
    pub warnings: Vec<String>,
}

impl StaticProbes {
    /// Watches the probes chosen, in all processes or in `pids` alone. Their events are added to the table.
    ///
    /// # Errors
    /// When this machine does not allow it.
    pub fn watch(
        chosen: &[Chosen],
        pids: &[i32],
        fetched: Fetched,
        descriptions: &mut Descriptions,
        table: &mut Table,
    ) -> Result<(StaticProbes, Set), ProbesError> {
        let (mut watched, mut events, mut set) = (Vec::new(), Vec::new(), Set::default());
        let mut known: HashMap<(&str, &str), usize> = HashMap::new();
        for Chosen { file, probe } in chosen {
            let event = *known.entry((&probe.provider, &probe.name)).or_insert_with(|| {
                table.events.push(descriptions.describe(probe));
                table.events.len() - 1
            });
            let parameters = &table.events[event].parameters;
            let texts: Vec<bool> =
                parameters.iter().map(|parameter| parameter.class == Class::Text).collect();
            for site in &probe.sites {
                events.push((event, parameters.len()));
                watched.push(Watched { file: file.clone(), site: site.clone(), texts: texts.clone() });
            }
        }
        set.warnings.extend(descriptions.warnings());
        let (tracer, unwatched) = Tracer::attach(watched, pids, fetched)?;
        let mut refused: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for one in unwatched {
            refused.entry(one.error.to_string()).or_default().push(one.site);
        }
        let name = |site: &usize| table.events[events[*site].0].full_name();
        for (why, sites) in &refused {
            let first = sites.first().map(&name).unwrap_or_default();
            let others =
                if sites.len() > 1 { format!(" and {} more sites", sites.len() - 1) } else { String::new() };
            set.warnings.push(format!("cannot watch {first}{others}: {why}{}", another_tracer(why)));
        }
        let unset: Vec<usize> = refused.into_values().flatten().collect();
        let mut with_sites: Vec<usize> =
            (0..events.len()).filter(|site| !unset.contains(site)).map(|site| events[site].0).collect();
        set.sites = with_sites.len();
        with_sites.sort_unstable();
        with_sites.dedup();
        set.probes = with_sites.len();
        Ok((StaticProbes { tracer, events, stacks: Stacks::default() }, set))
    }

    /// How often each event happened so far, where hits are only counted.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<usize, u64> {
        let mut counts = BTreeMap::new();
        for (site, hits) in self.tracer.counts().into_iter().enumerate() {
            *counts.entry(self.events[site].0).or_default() += hits;
        }
        counts
    }
}

/// A hint where the kernel does not say more.
fn another_tracer(why: &str) -> &'static str {
    if why.contains("os error 22") {
        " (another tracer may watch it without its semaphore; the kernel's log says more)"
    } else {
        ""
    }
}

impl Source for StaticProbes {
    fn poll(&mut self, take: &mut dyn FnMut(Hit)) -> io::Result<bool> {
        let (events, stacks) = (&self.events, &mut self.stacks);
        let mut raw = Vec::new();
        let any = self.tracer.read(|hit| raw.push(hit));
        for hit in raw {
            let (event, parameters) = events[hit.site];
            let stack = stacks.of(&hit, &self.tracer.watched()[hit.site]);
            let mut values = hit.values;
            values.resize(parameters, Value::Missing(Missing::Absent));
            take(Hit { event, time: hit.time, pid: hit.pid, tid: hit.tid, values, stack });
        }
        Ok(any)
    }

    fn lost(&self) -> u64 {
        self.tracer.lost()
    }

    fn stop(&mut self) {
        self.tracer.detach();
    }
}

/// Names the frames of stacks, each stack once.
#[derive(Default)]
struct Stacks {
    processes: ProcessStacks,
    symbolizer: Symbolizer,
    named: HashMap<Vec<RemoteFrame>, Vec<String>>,
}

impl Stacks {
    fn of(&mut self, hit: &RawHit, watched: &Watched) -> Option<Vec<String>> {
        let (registers, bytes) = hit.stack.as_ref()?;
        let mut frames = self.processes.unwind(hit.pid, *registers, bytes);
        // Of a process that has ended before anybody could look, there is at least the site itself.
        if let Some(first) = frames.first_mut().filter(|first| first.module.is_none()) {
            first.module = Some(visible(&watched.file));
            first.offset = watched.site.address;
        }
        if let Some(named) = self.named.get(&frames) {
            return Some(named.clone());
        }
        let named: Vec<String> =
            crash_stack(&frames, &mut self.symbolizer).iter().map(frames::line).collect();
        self.named.insert(frames, named.clone());
        Some(named)
    }
}

/// The path as the process sees it.
fn visible(file: &Path) -> PathBuf {
    let mut parts = file.components();
    let named: Vec<_> = parts.by_ref().take(4).collect();
    match named.as_slice() {
        [_, proc, _, root] if proc.as_os_str() == "proc" && root.as_os_str() == "root" => {
            Path::new("/").join(parts.as_path())
        }
        _ => file.to_owned(),
    }
}
