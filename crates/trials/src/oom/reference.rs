//! The reference runs: the target without a fault, twice, and what the two agree in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use memtrial_report::model::{End, Reference};
use memtrial_target::crash::Crash;
use memtrial_target::filter::{self, Answer, Effect, Notice};
use memtrial_target::isolation::Isolation;
use memtrial_target::memory_of;
use memtrial_target::processes;
use memtrial_target::watch::{self, Ended, Event, Watch};

use super::error::OomError;
use super::judge::Expected;
use super::lab::{Active, Kind, Lab, LabError};
use crate::census::Census;

/// What the reference runs yield.
pub struct Established {
    /// For the report.
    pub report: Reference,
    /// For the judge.
    pub expected: Expected,
    /// The census of the first run.
    pub census: Census,
    /// What limits the meaning of the trial.
    pub warnings: Vec<String>,
    /// Whether it writes files that runs can't have to themselves.
    pub shares_files: bool,
}

/// One reference run.
struct Observation {
    end: End,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    census: Census,
    allocations: u64,
    bytes: u64,
    lost: u64,
    crashes: Vec<Crash>,
    took: Duration,
    /// Paths that it opened for writing or changed by name.
    touched: BTreeSet<PathBuf>,
}

/// Runs the target without a fault. A scout shows whether it writes files, and where: from then on each run gets
/// those folders to itself, and none else. Then two runs like all that follow are held against each other; the
/// scout is one of them if it had the same folders.
///
/// # Errors
/// When it does not run, or not as it should.
pub fn establish(
    lab: &mut Lab,
    watch: &mut Watch,
    limit: Duration,
    allowed: &[i32],
) -> Result<Established, OomError> {
    let mut warnings = Vec::new();
    let mut scout = observe_first(lab, watch, limit, &mut warnings)?;
    let mut private_works = true;
    if check(&scout, allowed).is_err() && !lab.private().is_empty() {
        // It may be the private folders that it fails on: an overlay can't copy what belongs to users and groups that
        // the user's namespace does not have. All that it wrote is in them, so it can be run again as it is.
        lab.set_private(Vec::new());
        private_works = false;
        let kind = Kind { filtered: filter::check_support().is_ok(), ..Kind::census(limit) };
        scout = observe(lab, watch, &kind)?;
    }
    check(&scout, allowed)?;
    let touched = std::mem::take(&mut scout.touched);
    let private = if private_works { folders_of(&touched, lab) } else { Vec::new() };
    let same_folders = private == lab.private();
    lab.set_private(private);
    let mut observe_next = |lab: &mut Lab| {
        let run = match observe(lab, watch, &Kind::census(limit)) {
            Err(OomError::Lab(LabError::Launch(error))) if error.is_isolation() => {
                lab.share_all();
                observe(lab, watch, &Kind::census(limit))?
            }
            other => other?,
        };
        check(&run, allowed)?;
        Ok::<_, OomError>(run)
    };
    let first = if same_folders { scout } else { observe_next(lab)? };
    let second = observe_next(lab)?;
    let exposed = scout_exposed(&touched, lab);
    if let Some(path) = exposed {
        let path = path.display();
        warnings.push(format!(
            "the target writes {path}, which can't be private to a run (that takes root or user namespaces, and a \
             folder without other file systems, devices or scratch files below it): runs share it, one at a time"
        ));
    }
    let shares_files = exposed.is_some();
    Ok(compare(first, second, warnings, shares_files))
}

/// The first path that the target writes and that no private folder covers.
fn scout_exposed<'a>(touched: &'a BTreeSet<PathBuf>, lab: &Lab) -> Option<&'a Path> {
    let covered = |path: &Path| lab.private().iter().any(|folder| path.starts_with(folder));
    touched.iter().map(PathBuf::as_path).find(|path| !covered(path))
}

/// The first run has the folder it runs in to itself, in case it writes there; where that can't be had it runs
/// as it would without memtrial.
fn observe_first(
    lab: &mut Lab,
    watch: &mut Watch,
    limit: Duration,
    warnings: &mut Vec<String>,
) -> Result<Observation, OomError> {
    let mut private: Vec<PathBuf> = vec![lab.program().folder.clone(), std::env::temp_dir()];
    private.retain(|folder| can_be_private(folder, lab));
    drop_nested(&mut private);
    lab.set_private(private);
    let watched = filter::check_support().is_ok();
    let kind = Kind { filtered: watched, ..Kind::census(limit) };
    let mut result = observe(lab, watch, &kind);
    if matches!(&result, Err(OomError::Lab(LabError::Launch(error))) if error.is_isolation()) {
        lab.share_all();
        result = observe(lab, watch, &kind);
    }
    if !watched {
        let why = "this kernel can't report system calls (seccomp user notification): no snapshots, and whether \
                   the target writes files is not known";
        warnings.push(why.to_owned());
    }
    result
}

fn observe(lab: &mut Lab, watch: &mut Watch, kind: &Kind) -> Result<Observation, OomError> {
    let active = lab.start(watch, kind, |_, _| Ok(()))?;
    let mut touched = BTreeSet::new();
    let ended = loop {
        match watch.next(None)? {
            Event::Ended(ended) if ended.run == active.id => break ended,
            Event::Noticed(_, notice) => {
                touched.extend(path_touched(&notice));
                watch.answer(&notice, Answer::Proceed);
            }
            Event::Interrupted => {
                watch.end_all();
                return Err(OomError::Interrupted);
            }
            _ => {}
        }
    };
    read(&active, ended, touched)
}

fn read(active: &Active, ended: Ended, touched: BTreeSet<PathBuf>) -> Result<Observation, OomError> {
    let control = active.memory.control();
    if control.no_unwinder.load(Ordering::Relaxed) != 0 {
        return Err(OomError::OldLibrary);
    }
    Ok(Observation {
        end: end_of(ended.end),
        stdout: active.stdout()?,
        stderr: active.stderr()?,
        files: active.files(),
        census: Census::read(&active.memory),
        allocations: control.allocations.load(Ordering::Relaxed),
        bytes: control.bytes.load(Ordering::Relaxed),
        lost: control.lost.load(Ordering::Relaxed),
        crashes: ended.crashes,
        took: ended.took,
        touched,
    })
}

/// An end as the report has it.
pub fn end_of(end: watch::End) -> End {
    match end {
        watch::End::Exit(status) => End::Exit(status),
        watch::End::Signal(signal) => End::Signal(signal),
        watch::End::Timeout => End::Timeout,
    }
}

fn check(run: &Observation, allowed: &[i32]) -> Result<(), OomError> {
    match run.end {
        End::Exit(status) if status == 0 || allowed.contains(&status) => {}
        end => {
            let stderr = String::from_utf8_lossy(&run.stderr).trim_end().to_owned();
            return Err(OomError::Reference { end, stderr });
        }
    }
    if run.allocations == 0 { Err(OomError::NoAllocations) } else { Ok(()) }
}

fn compare(
    first: Observation,
    second: Observation,
    mut warnings: Vec<String>,
    shares_files: bool,
) -> Established {
    let mut differences = first.census.differences(&second.census);
    let mut agree = |name: &str, same: bool| {
        if !same {
            differences.push(format!("{name} differs between two reference runs, and is not compared"));
        }
        same
    };
    agree("the end", first.end == second.end);
    let stdout = agree("stdout", first.stdout == second.stdout).then_some(first.stdout);
    let stderr = agree("stderr", first.stderr == second.stderr).then_some(first.stderr);
    let mut files = first.files;
    let mut other = second.files;
    // Only what both have written can be held against others.
    files.retain(|path, contents| match other.remove(path) {
        Some(same) => agree(&path.display().to_string(), same == *contents),
        None => false,
    });
    if first.lost > 0 {
        let lost = first.lost;
        warnings.push(format!("{lost} allocations found no room in the census, and are not tested"));
    }
    let faults = |run: &[Crash]| run.iter().any(|crash| crash.by_kernel && crash.signal != 6);
    let report = Reference {
        end: first.end,
        allocations: first.allocations,
        bytes: first.bytes,
        sites: first.census.sites.len() as u64,
        seconds: second.took.as_secs_f64().max(first.took.as_secs_f64()),
        differences,
    };
    let meets_faults = faults(&first.crashes) || faults(&second.crashes);
    let expected = Expected { end: first.end, stdout, stderr, files, meets_faults };
    Established { report, expected, census: first.census, warnings, shares_files }
}

/// The path that a reported call writes to or changes, if it does that.
fn path_touched(notice: &Notice) -> Option<PathBuf> {
    let argument = match notice.effect {
        Effect::OpensForWriting(argument) => argument,
        // The calls that name a folder's descriptor first have the path second; a path is never below 4096.
        Effect::ChangesFiles if notice.arguments[0] > 4096 && notice.arguments[0] < 1 << 47 => 0,
        Effect::ChangesFiles => 1,
        _ => return None,
    };
    let path = read_path(notice.thread, notice.arguments[argument])?;
    if is_device(&path) {
        return None;
    }
    let folder = match argument {
        1 => descriptor_path(notice.thread, notice.arguments[0]),
        _ => None,
    };
    let folder = folder.or_else(|| std::fs::read_link(format!("/proc/{}/cwd", notice.thread)).ok())?;
    Some(folder.join(path))
}

/// A path in another process's memory.
pub fn read_path(thread: i32, address: u64) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = vec![0; 4096];
    let mut read = memory_of::read(thread, address, &mut bytes).unwrap_or(0);
    if read == 0 {
        // The path may end just before memory that can't be read.
        let page = usize::try_from(4096 - address % 4096).ok()?;
        read = memory_of::read(thread, address, &mut bytes[..page]).unwrap_or(0);
    }
    let length = bytes[..read].iter().position(|&c| c == 0)?;
    bytes.truncate(length);
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// Whether a path names a device that keeps nothing of what is written.
pub fn is_device(path: &Path) -> bool {
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"].iter().any(|device| path == Path::new(device))
}

fn descriptor_path(thread: i32, descriptor: u64) -> Option<PathBuf> {
    let process = processes::process_of(thread)?;
    let descriptor = u32::try_from(descriptor & 0xffff_ffff).ok()?.cast_signed();
    if descriptor < 0 { None } else { std::fs::read_link(format!("/proc/{process}/fd/{descriptor}")).ok() }
}

/// The folders that runs must have to themselves, so that nobody sees what is written at these paths.
fn folders_of(touched: &BTreeSet<PathBuf>, lab: &Lab) -> Vec<PathBuf> {
    let home = [lab.program().folder.clone(), std::env::temp_dir()];
    let folder = |path: &PathBuf| {
        let known = home.iter().find(|folder| path.starts_with(folder));
        let parent = || path.ancestors().skip(1).find(|ancestor| ancestor.is_dir()).map(Path::to_owned);
        known.cloned().or_else(parent)
    };
    let mut folders: Vec<PathBuf> = touched.iter().filter_map(folder).collect();
    folders.retain(|folder| can_be_private(folder, lab));
    drop_nested(&mut folders);
    folders
}

/// Not the root, nor what holds the scratch folder: an overlay can't lie over its own store. Nor what the kernel
/// makes up, devices, and what has other file systems mounted below, which an overlay would hide.
fn can_be_private(folder: &Path, lab: &Lab) -> bool {
    let kernel = ["/proc", "/sys", "/dev"].iter().any(|root| folder.starts_with(root));
    let holds_scratch = lab.scratch().path().starts_with(folder);
    Isolation::can_cover(folder) && folder.is_dir() && !kernel && !holds_scratch && !has_mounts_below(folder)
}

fn has_mounts_below(folder: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut points = table.lines().filter_map(|line| line.split(' ').nth(1));
    points.any(|point| point != folder.to_string_lossy() && Path::new(point).starts_with(folder))
}

/// Keeps of each folder and those below it only the folder.
fn drop_nested(folders: &mut Vec<PathBuf>) {
    folders.sort();
    folders.dedup_by(|later, earlier| later.starts_with(earlier));
}
