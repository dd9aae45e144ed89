//! What the kernel writes under /proc about a process, parsed.

use super::place::{Area, Reading};

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub pid: i32,
    pub name: String,
    /// `R`, `S`, `Z` and so on.
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub threads: u64,
    /// In clock ticks since the machine was started.
    pub started: u64,
}

impl Stat {
    /// Whether it has ended, and only waits for its parent to hear of it.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Fields behind the name that must be there: up to the start time.
const FIELDS: usize = 20;

/// Parses `/proc/PID/stat`. The name is whatever the process likes, parentheses and newlines too, but nothing behind
/// it can hold a parenthesis.
pub(crate) fn stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let name = text.get(open + 1..close)?;
    let rest = std::str::from_utf8(&text[close + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    Some(Stat {
        pid: std::str::from_utf8(&text[..open]).ok()?.trim().parse().ok()?,
        name: String::from_utf8_lossy(name).into_owned(),
        state,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        started: fields.get(FIELDS - 1)?.parse().ok()?,
    })
}

/// Parses several `/proc/PID/stat`, one behind the other. A name is at most 15 bytes, too few for a process to have
/// something in it that looks like the rest of a record.
pub(crate) fn stats(text: &[u8]) -> Vec<Stat> {
    let mut found = Vec::new();
    let mut record: Vec<u8> = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        record.extend_from_slice(line);
        // One that the process ended in the middle of is cut by the next one that is whole.
        let whole = stat(&record).filter(|stat| stat.name.chars().count() <= 15 || !stat.name.contains('\n'));
        if let Some(stat) = whole.or_else(|| stat(line)) {
            found.push(stat);
            record.clear();
        }
    }
    found
}

/// The number in front of ` kB` in a line as `Rss:    12 kB`, in bytes, with the name of the field.
fn amount(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.split_once(':')?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some((name, kibibytes.saturating_mul(1024)))
}

/// Parses `/proc/PID/smaps_rollup`, or sums up `/proc/PID/smaps`. `None` when there is nothing of that in it. Numbers
/// of mappings, threads and descriptors are left 0.
pub(crate) fn figures(text: &[u8]) -> Option<Reading> {
    let text = String::from_utf8_lossy(text);
    let mut reading = Reading::default();
    let mut seen = false;
    for (name, bytes) in text.lines().filter_map(amount) {
        let field = match name {
            "Rss" => {
                seen = true;
                &mut reading.resident
            }
            "Pss" => &mut reading.proportional,
            "Private_Clean" => &mut reading.private_clean,
            "Private_Dirty" => &mut reading.private_dirty,
            "Anonymous" => &mut reading.anonymous,
            "Swap" => &mut reading.swap,
            "LazyFree" => &mut reading.lazy_free,
            "AnonHugePages" => &mut reading.huge,
            _ => continue,
        };
        *field = field.saturating_add(bytes);
    }
    seen.then_some(reading)
}

/// The kernel's own counters of resident memory, from `/proc/PID/status`: they cost nothing to read. Before Linux 4.5
/// the kinds are not told apart; from 6.2 to 6.16 each may be off by some pages for each CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    pub anonymous: u64,
    pub file: u64,
    pub shared: u64,
    pub swap: u64,
}

/// Parses [`Counters`] from `/proc/PID/status`; `None` for a process without memory.
pub(crate) fn counters(text: &[u8]) -> Option<Counters> {
    let text = String::from_utf8_lossy(text);
    let mut counters = Counters::default();
    let mut seen = false;
    for (name, bytes) in text.lines().filter_map(amount) {
        match name {
            "RssAnon" => {
                seen = true;
                counters.anonymous = bytes;
            }
            "RssFile" => counters.file = bytes,
            "RssShmem" => counters.shared = bytes,
            "VmSwap" => counters.swap = bytes,
            _ => {}
        }
    }
    seen.then_some(counters)
}

/// The mappings of a process of this machine, by address, without what they hold: which makes this fast.
///
/// # Errors
/// When the process has ended, or can't be looked into.
pub fn mapped(pid: i32) -> std::io::Result<Vec<Area>> {
    Ok(areas(&std::fs::read(format!("/proc/{pid}/maps"))?))
}

/// Parses `/proc/PID/smaps`.
pub(crate) fn areas(text: &[u8]) -> Vec<Area> {
    let text = String::from_utf8_lossy(text);
    let mut areas: Vec<Area> = Vec::new();
    for line in text.lines() {
        if let Some(area) = area(line) {
            areas.push(area);
        } else if let (Some(area), Some((name, bytes))) = (areas.last_mut(), amount(line)) {
            match name {
                "Rss" => area.resident = bytes,
                "Private_Clean" => area.private_clean = bytes,
                "Private_Dirty" => area.private_dirty = bytes,
                "Anonymous" => area.anonymous = bytes,
                "Swap" => area.swap = bytes,
                "LazyFree" => area.lazy_free = bytes,
                _ => {}
            }
        }
    }
    areas
}

/// The first line of a mapping: `start-end permissions offset device inode   path`.
fn area(line: &str) -> Option<Area> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    let mut fields = rest.splitn(5, ' ');
    let permissions = fields.next().filter(|permissions| permissions.len() == 4)?;
    let offset = hexadecimal(fields.next()?)?;
    let path = fields.nth(2).unwrap_or_default().trim_start_matches(' ').replace("\\012", "\n");
    let (permissions, offset) = (permissions.to_owned(), offset);
    (start < end).then(|| Area { start, end, permissions, offset, path, ..Area::default() })
}

fn hexadecimal(digits: &str) -> Option<u64> {
    // `from_str_radix` would also take a sign.
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// The file name of the first argument, from `/proc/PID/cmdline`; empty for none.
pub(crate) fn first_argument(text: &[u8]) -> String {
    let first = text.split(|&byte| byte == 0).next().unwrap_or_default();
    file_name(&String::from_utf8_lossy(first)).to_owned()
}

/// The file name of a path, also of one that the kernel says is deleted.
pub(crate) fn file_name(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

/// The process `pid` and all below it, in the order of generations.
pub(crate) fn below(all: &[Stat], pid: i32) -> Vec<&Stat> {
    let mut family: Vec<&Stat> = all.iter().filter(|stat| stat.pid == pid).collect();
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|stat| stat.pid) {
        next += 1;
        let children = all.iter().filter(|stat| stat.parent == parent && stat.pid != parent);
        let new: Vec<&Stat> = children.filter(|c| family.iter().all(|known| known.pid != c.pid)).collect();
        family.extend(new);
    }
    family
}

#[cfg(test)]
#[path = "procfs_tests.rs"]
mod tests;
