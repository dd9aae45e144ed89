//! The kernel's probes: on the functions of an allocator, and static ones.

use std::fs;
use std::path::PathBuf;

use memtrial_symbols::allocator::{Allocators, Role};
use memtrial_symbols::probes::Site;

use super::rights::{Capability, has, not_root};
use super::stand_in::StandIn;
use super::{Answer, Machine, Missing, Tried};
use crate::probes::{Fetched, ProbesError, Tracer, Watched};
use crate::uprobes::{UprobeError, Uprobes};

/// What lacks where the kernel was built without probes.
const NOT_BUILT: &str =
    "this kernel has no probes on programs for BPF (CONFIG_UPROBES, CONFIG_UPROBE_EVENTS, CONFIG_BPF_EVENTS)";

impl Machine<'_> {
    /// Puts probes on the allocator of a process of this user.
    #[must_use]
    pub fn allocator_probes(&self, command: &str) -> Tried {
        let pid = self.stand_in.pid();
        let allocators = Allocators::of_process(pid).unwrap_or_default();
        // One of each kind will do: taking a probe out takes the kernel some 100 ms.
        let first = |role: Role| {
            allocators.found.iter().find_map(|allocator| {
                let function = allocator.functions.iter().find(|function| function.role == role)?;
                Some((allocator.file.clone(), function.clone()))
            })
        };
        let functions: Vec<_> = [Role::Malloc, Role::Free].into_iter().filter_map(first).collect();
        match Uprobes::begin(pid, &functions) {
            Ok(_) => Tried::yes("uprobes by perf and BPF"),
            Err(UprobeError::NotAllowed { .. }) => {
                let (why, how) = not_root(command);
                Tried::no(why, how)
            }
            Err(UprobeError::NoUprobes) => Tried::no(NOT_BUILT, None),
            Err(error) => Tried::no(error.to_string(), None),
        }
    }

    /// Watches a site in a process of this user, as for a static probe.
    #[must_use]
    pub fn static_probes(&self, command: &str) -> Tried {
        static_probes(self.stand_in.pid(), command)
    }
}

/// What is missing for static probes to be watched; nothing where they can be. `command` is the command line that is to be
/// run with more rights.
#[must_use]
pub fn why_no_probes(command: &str) -> Vec<Missing> {
    let tried = match StandIn::start() {
        Ok(stand_in) => static_probes(stand_in.pid(), command),
        Err(error) => Tried::no(error.to_string(), None),
    };
    match tried.answer {
        Answer::No => vec![Missing { what: tried.found, how: tried.how }],
        Answer::Yes | Answer::Part => Vec::new(),
    }
}

fn static_probes(pid: i32, command: &str) -> Tried {
    let Some(site) = own_site() else { return Tried::no("no file to try it on was found", None) };
    match Tracer::attach(vec![site], &[pid], Fetched::Arguments) {
        Ok((_, unwatched)) => match unwatched.first() {
            Some(unwatched) => Tried::no(unwatched.error.to_string(), None),
            None if Tracer::can_link().unwrap_or(false) => {
                Tried::yes("BPF, one link for all probes of a file")
            }
            None => Tried::part(
                "BPF, one event of perf for each site (links for many come with Linux 6.6): it ends more slowly",
                None,
            ),
        },
        Err(ProbesError::NotAllowed) => {
            let (why, how) = not_root(command);
            let enough = has(Capability::Admin) || has(Capability::Bpf) && has(Capability::Perfmon);
            let why = if enough { why } else { format!("{why}, or CAP_BPF with CAP_PERFMON") };
            Tried::no(why, how)
        }
        Err(ProbesError::NoProbes) => Tried::no(NOT_BUILT, None),
        Err(error) => Tried::no(error.to_string(), None),
    }
}

/// A function that nobody calls.
#[inline(never)]
extern "C" fn uncalled() {}

/// A site in this program's own file.
fn own_site() -> Option<Watched> {
    let address = uncalled as *const () as u64;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let offset = maps.lines().find_map(|line| offset_in(line, address))?;
    let site = Site { address, offset, semaphore: None, arguments: Vec::new(), warnings: Vec::new() };
    Some(Watched { file: PathBuf::from("/proc/self/exe"), site, texts: Vec::new() })
}

/// Where in its file `address` is, if a line of `/proc/self/maps` is that of its mapping.
fn offset_in(line: &str, address: u64) -> Option<u64> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (from, to, offset) = (number(from)?, number(to)?, number(words.nth(1)?)?);
    (from..to).contains(&address).then(|| offset.checked_add(address - from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_the_line_of_its_mapping() {
        let line = "55d000001000-55d000003000 r-xp 00004000 08:01 131 /bin/x";
        assert_eq!(offset_in(line, 0x55d0_0000_1234), Some(0x4234));
        assert_eq!(offset_in(line, 0x55d0_0000_3000), None);
        assert_eq!(offset_in("x-y r-xp", 1), None);
        assert!(own_site().is_some());
    }
}
