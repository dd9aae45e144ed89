//! Sites watched, and their hits.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::attached::{self, Kind, Spot};
use super::code::{self, World};
use super::error::ProbesError;
use super::hit::{self, RawHit};
use super::layout::Layouts;
use super::ring::{Counts, Ring};
use super::{Fetched, Watched};
use crate::bpf::{self, Use};

/// Bytes of the ring.
const RING: u32 = 1 << 26;
/// Inode of the first namespace of pids (`PROC_PID_INIT_INO` in the kernel's `linux/proc_ns.h`).
const FIRST_NAMESPACE: u64 = 0xefff_fffc;

/// Sites that are being watched. Dropped, they no longer are.
#[derive(Debug)]
pub struct Tracer {
    watched: Vec<Watched>,
    layouts: Vec<Layouts>,
    ring: Ring,
    counts: Counts,
    opened: Vec<OwnedFd>,
    fetched: Fetched,
}

/// A site that can't be watched.
#[derive(Debug)]
pub struct Unwatched {
    /// Its index.
    pub site: usize,
    /// Why.
    pub error: io::Error,
}

impl Tracer {
    /// Watches sites in all processes, now and in future, or in `pids` alone. Sites that can't be watched are told.
    ///
    /// # Errors
    /// When the kernel or its rights do not allow it at all.
    pub fn attach(
        watched: Vec<Watched>,
        pids: &[i32],
        fetched: Fetched,
    ) -> Result<(Tracer, Vec<Unwatched>), ProbesError> {
        lift_memory_limit();
        let way = if Tracer::can_link()? { Use::Multi } else { Use::Event };
        Tracer::attach_by(way, watched, pids, fetched)
    }

    fn attach_by(
        way: Use,
        watched: Vec<Watched>,
        pids: &[i32],
        fetched: Fetched,
    ) -> Result<(Tracer, Vec<Unwatched>), ProbesError> {
        let layouts: Vec<Layouts> = watched
            .iter()
            .map(|watched| Layouts::of(&watched.site, &watched.texts, fetched == Fetched::Stacks))
            .collect();
        let ring = Ring::new(RING).map_err(ProbesError::doing("cannot make a ring"))?;
        let counts = Counts::new(watched.len()).map_err(ProbesError::doing("cannot make a map"))?;
        let mut tracer = Tracer { watched, layouts, ring, counts, opened: Vec::new(), fetched };
        let mut unwatched = Vec::new();
        match way {
            Use::Multi => tracer.link_all(pids, &mut unwatched)?,
            Use::Event => tracer.open_all(pids, &mut unwatched)?,
        }
        if let Some(pid) = pids.iter().find(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            return Err(ProbesError::Gone(*pid));
        }
        Ok((tracer, unwatched))
    }

    /// Whether this kernel has links for many probes: see [`bpf::has_links`].
    pub(crate) fn can_link() -> Result<bool, ProbesError> {
        bpf::has_links().map_err(|_| ProbesError::NotAllowed)
    }

    /// The sites, by index.
    #[must_use]
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// Hands on the hits that came meanwhile; whether there were any. It never waits.
    pub fn read(&mut self, mut take: impl FnMut(RawHit)) -> bool {
        let (watched, layouts) = (&self.watched, &self.layouts);
        self.ring.read(|record| {
            let hit = hit::site_of(record).and_then(|index| {
                let watched = watched.get(index)?;
                hit::read(record, index, &watched.site, layouts.get(index)?.of_size(record.len()))
            });
            if let Some(hit) = hit {
                take(hit);
            }
        })
    }

    /// Hits that found no room so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost()
    }

    /// Hits of each site so far, where they are only counted.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        (0..self.watched.len()).map(|number| self.counts.of(number)).collect()
    }

    /// Watches no longer; what came until then can still be read.
    pub fn detach(&mut self) {
        attached::close(std::mem::take(&mut self.opened));
    }

    fn world(&self, sleeps: bool) -> World {
        World {
            ring: self.ring.descriptor(),
            counts: self.counts.descriptor(),
            sleeps,
            namespace: namespace(),
        }
    }

    fn spot(&self, index: usize, cookie: u64) -> Spot {
        let site = &self.watched[index].site;
        let semaphore = site.semaphore.map_or(0, |semaphore| semaphore.offset);
        Spot { index, offset: site.offset, semaphore, cookie }
    }

    fn link_all(&mut self, pids: &[i32], unwatched: &mut Vec<Unwatched>) -> Result<(), ProbesError> {
        let world = self.world(true);
        let programs = match self.fetched {
            Fetched::Counts => {
                let all = (0..self.watched.len()).map(|index| (index, index as u64)).collect();
                vec![code::Program { code: code::counting(self.watched.len(), None, world), sites: all }]
            }
            _ => {
                let sites: Vec<_> =
                    self.watched.iter().map(|watched| &watched.site).zip(&self.layouts).collect();
                code::fetching(&sites, world)
            }
        };
        for program in programs {
            let loaded = bpf::load(&program.code, Use::Multi)
                .map_err(ProbesError::doing("cannot load a BPF program"))?;
            let mut files: BTreeMap<&PathBuf, Vec<Spot>> = BTreeMap::new();
            for (index, cookie) in &program.sites {
                files.entry(&self.watched[*index].file).or_default().push(self.spot(*index, *cookie));
            }
            let mut links = Vec::new();
            for (file, spots) in files {
                let path = attached::path(file).map_err(ProbesError::doing("cannot name the file"))?;
                for pid in each(pids) {
                    let mut refused = Vec::new();
                    links.extend(attached::link(&loaded, &path, &spots, pid, &mut refused));
                    unwatched.extend(
                        refused.into_iter().map(|one| Unwatched { site: one.index, error: one.error }),
                    );
                }
            }
            self.opened.extend(links);
        }
        Ok(())
    }

    fn open_all(&mut self, pids: &[i32], unwatched: &mut Vec<Unwatched>) -> Result<(), ProbesError> {
        let kind = Kind::read().ok_or(ProbesError::NoProbes)?;
        let world = self.world(false);
        for index in 0..self.watched.len() {
            let code = match self.fetched {
                Fetched::Counts => code::counting(self.watched.len(), Some(index), world),
                _ => code::fetching_one(&self.watched[index].site, &self.layouts[index], index, world),
            };
            let loaded =
                bpf::load(&code, Use::Event).map_err(ProbesError::doing("cannot load a BPF program"))?;
            let path = attached::path(&self.watched[index].file)
                .map_err(ProbesError::doing("cannot name the file"))?;
            for pid in each(pids) {
                match attached::event(kind, &loaded, &path, self.spot(index, 0), pid) {
                    Ok(event) => self.opened.push(event),
                    Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                        return Err(ProbesError::NotAllowed);
                    }
                    Err(error) => unwatched.push(Unwatched { site: index, error }),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Each of the processes, or all at once.
fn each(pids: &[i32]) -> Vec<Option<u32>> {
    match pids {
        [] => vec![None],
        _ => pids.iter().map(|pid| Some(pid.unsigned_abs())).collect(),
    }
}

/// The namespace that this process sees pids in, if it is not the first, in whose numbers the kernel thinks.
fn namespace() -> Option<[u64; 2]> {
    let facts = std::fs::metadata("/proc/self/ns/pid").ok()?;
    (facts.ino() != FIRST_NAMESPACE).then(|| [facts.dev(), facts.ino()])
}

/// Before Linux 5.11, maps count as locked memory, of which an ordinary process may have little.
fn lift_memory_limit() {
    let most = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit lives. Without the right to lift it, it stays, which newer kernels do not mind.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const most) };
}

#[cfg(test)]
#[path = "tracer_tests.rs"]
mod tests;
