//! The call stacks of memory events, which the agent keeps in its table of sites, with names.

use std::collections::HashMap;
use std::fmt;

use memtrial_events::event::{Class, Parameter};
use memtrial_events::{Event, Hit, Value};
use memtrial_report::frames;
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::memory::SharedMemory;

use crate::census::site_stack;

/// Names the frames of stacks, each stack once.
#[derive(Default)]
pub struct SiteStacks {
    symbolizer: Symbolizer,
    named: HashMap<u64, Vec<String>>,
}

impl fmt::Debug for SiteStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteStacks").field("named", &self.named).finish_non_exhaustive()
    }
}

/// The events as they are recorded where call stacks are wanted: with the site behind their arguments.
#[must_use]
pub fn with_sites(mut events: Vec<Event>) -> Vec<Event> {
    for event in &mut events {
        let site = Parameter {
            name: "site".to_owned(),
            text: "uint64_t site".to_owned(),
            class: Class::Unsigned(8),
        };
        event.parameters.push(site);
    }
    events
}

impl SiteStacks {
    /// Makes a call stack of the site behind the arguments of a hit.
    pub fn resolve(&mut self, hit: &mut Hit, memory: &SharedMemory) {
        if let Some(Value::Unsigned(site)) = hit.values.pop().filter(|site| *site != Value::Unsigned(0)) {
            hit.stack = self.of(site, memory);
        }
    }

    fn of(&mut self, site: u64, memory: &SharedMemory) -> Option<Vec<String>> {
        if let Some(named) = self.named.get(&site) {
            return Some(named.clone());
        }
        // Another thread may not have written its frames down yet.
        let raw = memory.site(site).filter(|raw| !raw.frames.is_empty())?;
        let stack = site_stack(&raw, &memory.modules(), &mut self.symbolizer);
        let named: Vec<String> = stack.iter().map(frames::line).collect();
        self.named.insert(site, named.clone());
        Some(named)
    }
}
