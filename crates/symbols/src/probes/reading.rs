//! Reading the static probes of a file: notes, where their places are in the file, and the variables they refer to.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::operand::{self, Globals};
use super::{Probe, Probes, Semaphore, Site, notes, warnings};
use crate::debugfile::{INSTALLED, Search};
use crate::image::{ElfError, Image, PF_W, PF_X, PT_LOAD, PT_NOTE, SHT_NOBITS, SHT_NOTE};
use crate::symtab::SymbolTable;

/// x86-64, the only machine whose operands are understood.
const EM_X86_64: u16 = 62;
/// A program that is not position-independent.
const ET_EXEC: u64 = 2;
const NOTES: &str = ".note.stapsdt";
const BASE: &str = ".stapsdt.base";
/// The most bytes of notes that are read; libjvm's 531 probes have 53,000.
const MOST_NOTES: u64 = 64 << 20;
/// The most complaints about one file that are worth telling.
const MOST_DAMAGE: usize = 20;

/// Reads the static probes of the file at `path`. None is no error.
///
/// # Errors
/// When the file cannot be read, is no ELF file, or its headers make no sense. Damage in the notes is told in
/// [`Probes::damage`]; what could be read is there.
pub fn read(path: &Path) -> Result<Probes, ElfError> {
    let image = Image::open(path)?;
    let mut damage: Vec<String> = image.section_damage.clone().into_iter().collect();
    if image.machine != EM_X86_64 || !image.layout.class64 || !image.layout.little {
        damage.push("it is not for x86-64, and the probes of others are not read".to_owned());
        return Ok(Probes { probes: Vec::new(), damage });
    }
    let notes = all_notes(&image, &mut damage);
    let base = image.section(BASE).map(|section| section.address);
    let mut globals = Variables::new(&image)?;
    globals.look_up(&image, &notes);
    let mut found = Grouped::default();
    for note in &notes {
        // What prelink moved the file by.
        let moved = base.map_or(0, |base| base.wrapping_sub(note.base));
        match site(&image, note, moved, base.is_some(), &mut globals) {
            Ok(site) => found.add(note, site),
            Err(what) => damage.push(format!("{}:{} {what}", note.provider, note.name)),
        }
    }
    if damage.len() > MOST_DAMAGE {
        let more = damage.len() - MOST_DAMAGE;
        damage.truncate(MOST_DAMAGE);
        damage.push(format!("and {more} more"));
    }
    Ok(Probes { probes: found.probes, damage })
}

/// The notes of all sections that have some; without section headers, of the segments.
fn all_notes(image: &Image, damage: &mut Vec<String>) -> Vec<notes::Note> {
    let sections = image
        .sections
        .iter()
        .filter(|section| section.kind != SHT_NOBITS && (section.kind == SHT_NOTE || section.name == NOTES));
    let segments = image.segments.iter().filter(|s| s.kind == PT_NOTE && image.sections.is_empty());
    let places = sections
        .map(|section| (section.offset, section.size, Some(section)))
        .chain(segments.map(|segment| (segment.offset, segment.file_size, None)));
    let (mut read, mut all) = (Vec::new(), Vec::new());
    for (offset, size, section) in places {
        let end = offset.saturating_add(size);
        // Headers that name the same notes again and again would make a small file endless.
        if read.iter().any(|&(start, other_end)| offset < other_end && start < end) {
            continue;
        }
        read.push((offset, end));
        let contents = if size > MOST_NOTES {
            Err(image.malformed(&format!("it claims {size} bytes of notes")))
        } else {
            section.map_or_else(|| image.bytes(offset, size), |section| image.contents(section))
        };
        let ours = section.is_some_and(|section| section.name == NOTES);
        match contents {
            Ok(contents) => {
                let (notes, complaints) = notes::parse(&contents);
                // What others have put into their notes may be laid out differently.
                if ours || !notes.is_empty() {
                    damage.extend(complaints);
                }
                all.extend(notes);
            }
            Err(error) if ours => damage.push(error.to_string()),
            Err(_) => {}
        }
    }
    all
}

/// The site that a note describes; else what is wrong with it.
fn site(
    image: &Image,
    note: &notes::Note,
    moved: u64,
    based: bool,
    globals: &mut Variables,
) -> Result<Site, String> {
    let address = note.pc.wrapping_add(moved);
    let offset = offset_in(image, address, 1, PF_X)
        .ok_or_else(|| format!("is said to be at {address:#x}, where the file has no code"))?;
    let semaphore = match note.semaphore {
        0 => None,
        semaphore => {
            let address = semaphore.wrapping_add(moved);
            let offset = offset_in(image, address, 2, PF_W).ok_or_else(|| {
                format!("has its semaphore at {address:#x}, where the file has no data that can be written")
            })?;
            Some(Semaphore { address, offset })
        }
    };
    let arguments = operand::parse(&note.arguments, globals);
    let warnings = warnings::of(image, offset, semaphore, based);
    Ok(Site { address, offset, semaphore, arguments, warnings })
}

/// The offset in the file of `size` bytes that are at `address`, in a segment that may be used so.
fn offset_in(image: &Image, address: u64, size: u64, flag: u32) -> Option<u64> {
    image.segments.iter().filter(|s| s.kind == PT_LOAD && s.flags & flag != 0).find_map(|segment| {
        let within = address.checked_sub(segment.address)?;
        let fits = within.checked_add(size)? <= segment.file_size;
        let offset = segment.offset.checked_add(within)?;
        (fits && offset.checked_add(size)? <= image.len).then_some(offset)
    })
}

/// Sites by provider and name, in the order in which each comes first.
#[derive(Default)]
struct Grouped {
    probes: Vec<Probe>,
    places: HashMap<(String, String), usize>,
    known: HashSet<(usize, u64, String)>,
}

impl Grouped {
    fn add(&mut self, note: &notes::Note, site: Site) {
        let key = (note.provider.clone(), note.name.clone());
        let index = *self.places.entry(key).or_insert_with(|| {
            let (provider, name) = (note.provider.clone(), note.name.clone());
            self.probes.push(Probe { provider, name, sites: Vec::new() });
            self.probes.len() - 1
        });
        // A note that stands there twice is one site.
        if self.known.insert((index, site.address, note.arguments.clone())) {
            self.probes[index].sites.push(site);
        }
    }
}

/// The variables that operands refer to.
struct Variables {
    fixed: bool,
    found: HashMap<String, Result<u64, String>>,
}

impl Globals for Variables {
    fn address(&mut self, name: &str) -> Result<u64, String> {
        let unknown = || Err(format!("the address of {name} is not in the file's symbols"));
        self.found.get(name).cloned().unwrap_or_else(unknown)
    }

    fn fixed(&self) -> bool {
        self.fixed
    }
}

impl Variables {
    fn new(image: &Image) -> Result<Variables, ElfError> {
        let kind = image.layout.number(&image.bytes(16, 2)?, 0, 2);
        Ok(Variables { fixed: kind == Some(ET_EXEC), found: HashMap::new() })
    }

    /// Looks up all names in the notes: among the symbols of the file, then in its debug file if it was stripped.
    fn look_up(&mut self, image: &Image, notes: &[notes::Note]) {
        let mut wanted = Wanted::default();
        for note in notes {
            operand::parse(&note.arguments, &mut wanted);
        }
        if wanted.0.is_empty() {
            return;
        }
        let tables = [SymbolTable::full(image), SymbolTable::dynamic(image)];
        self.find(&mut wanted.0, tables.into_iter().filter_map(Result::ok).flatten());
        if !wanted.0.is_empty() {
            let roots = [PathBuf::from(INSTALLED)];
            let mut search = Search { roots: &roots, complaints: Vec::new() };
            let debug = search.debug_file(Some(image), image.build_id().as_deref());
            let table = debug.and_then(|debug| SymbolTable::full(&debug).ok().flatten());
            self.find(&mut wanted.0, table.into_iter());
        }
    }

    /// Takes out of `wanted` what the tables have. Of several of one name nobody can tell which is meant.
    fn find(&mut self, wanted: &mut HashSet<String>, tables: impl Iterator<Item = SymbolTable>) {
        for table in tables {
            for symbol in table.iter() {
                let name = String::from_utf8_lossy(table.name(&symbol));
                // Of `name@@VERSION` the operand has the name.
                let name = name.split('@').next().unwrap_or_default();
                if !wanted.contains(name) {
                    continue;
                }
                let address = if symbol.is_thread_local() {
                    Err(format!("each thread has a {name} of its own"))
                } else if symbol.has_address() {
                    Ok(symbol.value)
                } else {
                    continue;
                };
                match self.found.get(name) {
                    Some(known) if *known != address => {
                        let several = format!("the file has several variables called {name}");
                        self.found.insert(name.to_owned(), Err(several));
                    }
                    _ => drop(self.found.insert(name.to_owned(), address)),
                }
            }
        }
        wanted.retain(|name| !self.found.contains_key(name));
    }
}

/// Collects the names that operands refer to.
#[derive(Default)]
struct Wanted(HashSet<String>);

impl Globals for Wanted {
    fn address(&mut self, name: &str) -> Result<u64, String> {
        self.0.insert(name.to_owned());
        Err(String::new())
    }

    fn fixed(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
