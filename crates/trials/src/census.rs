//! The sites that an agent has recorded, with their names.

use std::collections::HashMap;

use memtrial_report::model::{Frame, Site};
use memtrial_symbols::remote::RemoteFrame;
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::memory::{RawModule, RawSite, SharedMemory};
use memtrial_wire::layout::NO_MODULE;
use memtrial_wire::site::{self, SiteHash};

/// Name of the agent's library in the scratch folder.
pub const AGENT_FILE: &str = "memtrial-agent.so";

/// The sites of a run.
#[derive(Debug, Default)]
pub struct Census {
    /// By their first allocation.
    pub sites: Vec<RawSite>,
    modules: Vec<RawModule>,
    /// Position in `sites` of the site of each ordinal, from 1; `None` where the table had no room.
    sequence: Vec<Option<u32>>,
    by_hash: HashMap<u64, usize>,
    /// Whether two sites share the first 8 digits of their hash.
    long_ids: bool,
}

impl Census {
    /// Reads what the agent has recorded.
    #[must_use]
    pub fn read(memory: &SharedMemory) -> Census {
        let mut census = Census { modules: memory.modules(), ..Census::default() };
        census.add_sites(memory.sites());
        let positions: HashMap<usize, u32> =
            (0..).zip(&census.sites).map(|(position, site)| (site.index, position)).collect();
        let position = |site: u32| positions.get(&(site as usize).checked_sub(1)?).copied();
        census.sequence = memory.sequence().into_iter().map(position).collect();
        census
    }

    fn add_sites(&mut self, sites: Vec<RawSite>) {
        self.sites = sites;
        self.by_hash = self.sites.iter().enumerate().map(|(i, site)| (site.hash, i)).collect();
        let mut starts: Vec<u64> = self.sites.iter().map(|site| site.hash >> 32).collect();
        starts.sort_unstable();
        self.long_ids = starts.windows(2).any(|pair| pair[0] == pair[1]);
    }

    /// The site with this hash.
    #[must_use]
    pub fn site(&self, hash: u64) -> Option<&RawSite> {
        self.by_hash.get(&hash).map(|&i| &self.sites[i])
    }

    /// The sites whose id is, or starts with, this text.
    #[must_use]
    pub fn named(&self, id: &str) -> Vec<&RawSite> {
        let id = id.to_ascii_lowercase();
        let fits = |site: &&RawSite| !id.is_empty() && format!("{:016x}", site.hash).starts_with(&id);
        if id.len() < 8 { Vec::new() } else { self.sites.iter().filter(fits).collect() }
    }

    /// The id of a site: 8 hex digits, or 16 where 8 would not tell two apart.
    #[must_use]
    pub fn id(&self, hash: u64) -> String {
        if self.long_ids { format!("{hash:016x}") } else { format!("{:08x}", hash >> 32) }
    }

    /// Site and number at the site of each allocation, by ordinal.
    #[must_use]
    pub fn allocations(&self) -> Vec<(u64, u64)> {
        let mut counts = vec![0; self.sites.len()];
        let number = |&position: &Option<u32>| {
            let position = position? as usize;
            counts[position] += 1;
            Some((self.sites[position].hash, counts[position]))
        };
        self.sequence.iter().map(number).map(|found| found.unwrap_or((0, 0))).collect()
    }

    /// In what another census differs, as sentences; empty if in nothing that matters.
    #[must_use]
    pub fn differences(&self, other: &Census) -> Vec<String> {
        let count = |census: &Census| census.sites.iter().map(|site| site.count).sum::<u64>();
        let missing = self.sites.iter().filter(|site| other.site(site.hash).is_none()).count();
        let added = other.sites.iter().filter(|site| self.site(site.hash).is_none()).count();
        let changed =
            self.sites.iter().filter(|a| other.site(a.hash).is_some_and(|b| b.count != a.count)).count();
        if missing + added + changed == 0 {
            return Vec::new();
        }
        vec![format!(
            "the census differs between two reference runs ({} and {} allocations): {missing} sites only in the \
             first, {added} only in the second, {changed} with another count; allocations are matched by SITE:NTH",
            count(self),
            count(other),
        )]
    }

    /// The stack of a site, with names.
    pub fn stack(&self, site: &RawSite, symbolizer: &mut Symbolizer) -> Vec<Frame> {
        site_stack(site, &self.modules, symbolizer)
    }

    /// A site as the report shows it.
    pub fn describe(&self, site: &RawSite, symbolizer: &mut Symbolizer) -> Site {
        Site {
            site: self.id(site.hash),
            count: site.count,
            bytes: site.bytes,
            first: site.first,
            stack: self.stack(site, symbolizer),
        }
    }
}

/// The stack of a site whose frames refer to these modules, with names.
pub fn site_stack(site: &RawSite, modules: &[RawModule], symbolizer: &mut Symbolizer) -> Vec<Frame> {
    let name = |&(module, offset): &(u64, u64)| {
        let module = usize::try_from(module).ok().filter(|_| module != NO_MODULE);
        match module.and_then(|index| modules.get(index)) {
            Some(module) => {
                named_frames(&module.path.to_string_lossy(), &module.build_id, offset, true, symbolizer)
            }
            None => vec![unnamed(offset)],
        }
    };
    site.frames.iter().flat_map(name).collect()
}

/// The stack of a crash, with names. The agent's own frames, which stand in front of every call of the allocator,
/// are left out.
pub fn crash_stack(frames: &[RemoteFrame], symbolizer: &mut Symbolizer) -> Vec<Frame> {
    let is_agent = |module: &std::path::Path| module.file_name().is_some_and(|name| name == AGENT_FILE);
    let name = |frame: &RemoteFrame| match &frame.module {
        Some(module) => {
            let build_id = frame.build_id.as_deref().unwrap_or(&[]);
            named_frames(&module.to_string_lossy(), build_id, frame.offset, frame.return_address, symbolizer)
        }
        None => vec![unnamed(frame.offset)],
    };
    let theirs = frames.iter().filter(|frame| !frame.module.as_deref().is_some_and(is_agent));
    theirs.flat_map(name).collect()
}

/// The frames at an address of a module, the innermost inlined one first.
pub fn named_frames(
    module: &str,
    build_id: &[u8],
    offset: u64,
    return_address: bool,
    symbolizer: &mut Symbolizer,
) -> Vec<Frame> {
    let build_id = (!build_id.is_empty()).then_some(build_id);
    let frames = symbolizer.frames(std::path::Path::new(module), build_id, offset, return_address);
    let convert = |frame: memtrial_symbols::symbolize::Frame| Frame {
        module: module.to_owned(),
        offset,
        function: frame.function,
        function_offset: frame.function_offset,
        file: frame.file,
        line: frame.line,
        inlined: frame.inlined,
    };
    frames.into_iter().map(convert).collect()
}

/// Code in no module: a bare address.
fn unnamed(address: u64) -> Frame {
    Frame {
        module: String::new(),
        offset: address,
        function: None,
        function_offset: None,
        file: None,
        line: None,
        inlined: false,
    }
}

/// The id of a stack that was seen from outside: as the agent would have it.
#[must_use]
pub fn id_of(frames: &[RemoteFrame]) -> String {
    let hash = frames.iter().fold(SiteHash::EMPTY, |hash, frame| {
        let path =
            frame.module.as_deref().map(|path| path.as_os_str().as_encoded_bytes()).unwrap_or_default();
        let identity = frame.build_id.as_deref().filter(|id| !id.is_empty()).unwrap_or(path);
        hash.with(site::frame(site::module(identity), frame.offset))
    });
    format!("{:08x}", hash.finish() >> 32)
}
