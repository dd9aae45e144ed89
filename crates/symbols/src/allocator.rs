//! Which allocators a process has, and where their functions are.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::image::{ElfError, Image};
use crate::maps::{Mapping, parse_maps};
use crate::symtab::SymbolTable;

mod names;
use names::{Evidence, Family, classify};
pub use names::{Kind, Role};

/// One function of an allocator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// What it does, and so where its arguments are.
    pub role: Role,
    /// Not demangled; of several names for the same code the plainest (`malloc`, not `__libc_malloc`).
    pub name: String,
    /// As the file states it: the address in memory less what the loader added.
    pub address: u64,
    /// In bytes; 0 if the file does not say.
    pub size: u64,
    /// Where its code begins in the file.
    pub offset: u64,
}

/// An allocator: functions of one module that hand out and take back the same blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocator {
    /// The file, as the process sees it.
    pub module: PathBuf,
    /// The file, as it can be opened from here.
    pub file: PathBuf,
    /// Whose it is, told by its symbols.
    pub kind: Kind,
    /// Whether it is in the executable, not in a library.
    pub linked_in: bool,
    /// Whether its `malloc`, prefixed or not, is in `.dynsym`, so that other modules call it through their
    /// GOT, where calls can be redirected. Calls from inside the module itself may still be direct.
    pub exported: bool,
    /// Whether its `malloc` is called just so, without a prefix.
    pub plain: bool,
    /// By address; each address once.
    pub functions: Vec<Function>,
}

/// What is known of the allocators of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocators {
    /// The executable's first, then by the address of their modules.
    pub found: Vec<Allocator>,
    /// Which of `found` a call of `malloc` from a library gets to, as far as symbols tell: the executable's if it
    /// exports one, else a library's that is not the C library's, else the C library's, else one linked into the
    /// executable without being exported. Of several such libraries the first by address, which is a guess.
    pub effective: Option<usize>,
    /// Whether the executable has no `.symtab`: an allocator that is linked into it, and not exported, stays unseen.
    pub executable_stripped: bool,
    /// Modules that could not be read, and why.
    pub unread: Vec<(PathBuf, String)>,
}

/// Why the modules of a process could not be listed.
#[derive(Debug, Error)]
#[error("cannot read {}: {source}", .path.display())]
pub struct AllocatorError {
    /// The file of procfs.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Allocators {
    /// The allocators of the process `pid`. Modules whose files are gone are read through `/proc/PID/map_files`,
    /// which takes root.
    ///
    /// # Errors
    /// When the process is gone, or may not be looked into.
    pub fn of_process(pid: i32) -> Result<Allocators, AllocatorError> {
        Allocators::of_process_behind(pid, None)
    }

    /// The same without modules whose file has the name `front`: a library that stands in front of the allocator and
    /// passes calls on to it.
    ///
    /// # Errors
    /// As for [`Allocators::of_process`].
    pub fn of_process_behind(pid: i32, front: Option<&OsStr>) -> Result<Allocators, AllocatorError> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let (maps, exe) = (proc.join("maps"), proc.join("exe"));
        let text = std::fs::read_to_string(&maps);
        let text = text.map_err(|source| AllocatorError { path: maps, source })?;
        let executable = std::fs::read_link(&exe);
        let executable = executable.map_err(|source| AllocatorError { path: exe.clone(), source })?;
        let root = proc.join("root");
        let open = |mapping: &Mapping| {
            if mapping.path == executable {
                return exe.clone();
            }
            if mapping.is_deleted() {
                return proc.join(format!("map_files/{:x}-{:x}", mapping.start, mapping.end));
            }
            let relative = mapping.path.strip_prefix("/").unwrap_or(&mapping.path);
            root.join(relative)
        };
        let mut maps = parse_maps(&text);
        maps.retain(|mapping| front.is_none() || mapping.file_name() != front);
        Ok(Allocators::find(&maps, &executable, open))
    }

    /// The allocators in the modules of `maps`; `open` tells where the file of a mapping can be opened from here.
    pub fn find(maps: &[Mapping], executable: &Path, open: impl Fn(&Mapping) -> PathBuf) -> Allocators {
        let mut all = Allocators::default();
        let mut seen = HashSet::new();
        let code = |mapping: &&Mapping| mapping.executable && mapping.path.is_absolute();
        for mapping in maps.iter().filter(code).filter(|mapping| seen.insert(mapping.path.clone())) {
            let file = open(mapping);
            let linked_in = mapping.path == executable;
            match Module::read(&file) {
                Ok(module) => {
                    all.executable_stripped |= linked_in && !module.full;
                    let found = module.allocators().map(|allocator| Allocator {
                        module: mapping.path.clone(),
                        file: file.clone(),
                        linked_in,
                        ..allocator
                    });
                    all.found.extend(found);
                }
                // Data files are mapped, too.
                Err(ElfError::NotElf { .. }) => {}
                Err(error) => all.unread.push((mapping.path.clone(), error.to_string())),
            }
        }
        all.found.sort_by_key(|allocator| !allocator.linked_in);
        let plain = |allocator: &&Allocator| allocator.plain;
        let rank = |allocator: &Allocator| match allocator {
            Allocator { exported: false, .. } => 3,
            Allocator { linked_in: true, .. } => 0,
            Allocator { kind: Kind::Glibc | Kind::Musl, .. } => 2,
            _ => 1,
        };
        let best = all.found.iter().filter(plain).min_by_key(|allocator| rank(allocator)).cloned();
        all.effective = best.and_then(|best| all.found.iter().position(|allocator| *allocator == best));
        all
    }
}

/// What the symbols of one file say.
struct Module {
    /// By address: the family, the best name, and whether the dynamic symbol table has it.
    functions: BTreeMap<u64, Named>,
    /// Families whose functions are the same code.
    families: BTreeMap<Family, Family>,
    evidence: Evidence,
    /// Whether it has a full symbol table.
    full: bool,
}

struct Named {
    family: Family,
    role: Role,
    name: String,
    rank: usize,
    size: u64,
    offset: u64,
    exported: bool,
}

impl Module {
    fn read(path: &Path) -> Result<Module, ElfError> {
        let image = Image::open(path)?;
        let dynamic = SymbolTable::dynamic(&image)?;
        // A damaged full table hides less than a missing one: the loader does not read it.
        let full = SymbolTable::full(&image).ok().flatten();
        let mut module = Module {
            functions: BTreeMap::new(),
            families: BTreeMap::new(),
            evidence: Evidence::default(),
            full: full.is_some(),
        };
        let tables = [dynamic.map(|table| (table, true)), full.map(|table| (table, false))];
        for (table, exported) in tables.iter().flatten() {
            for symbol in table.iter().filter(crate::symtab::Symbol::is_plain_function) {
                let name = table.name(&symbol);
                module.evidence.note(name);
                let Some((family, role, rank)) = classify(name) else { continue };
                let Some(offset) = image.offset_of(symbol.value) else { continue };
                let name = String::from_utf8_lossy(name).into_owned();
                let size = symbol.size;
                let named = Named { family, role, name, rank, size, offset, exported: *exported };
                module.add(symbol.value, named);
            }
        }
        Ok(module)
    }

    fn add(&mut self, address: u64, named: Named) {
        let Some(known) = self.functions.get_mut(&address) else {
            self.functions.insert(address, named);
            return;
        };
        // Aliases show that two families are one allocator: `tc_malloc` is `malloc` in libtcmalloc.
        let (low, high) = (known.family.min(named.family), known.family.max(named.family));
        if low != high {
            self.families.insert(high, low);
        }
        known.exported |= named.exported;
        known.size = known.size.max(named.size);
        if named.rank < known.rank {
            let exported = known.exported;
            *known = Named { exported, ..named };
        }
    }

    /// The family that a family is an alias of.
    fn root(&self, family: Family) -> Family {
        // Each step leads to a smaller family, so that this ends.
        self.families.get(&family).map_or(family, |other| self.root(*other))
    }

    fn allocators(&self) -> impl Iterator<Item = Allocator> {
        let mut groups: BTreeMap<Family, Vec<(u64, &Named)>> = BTreeMap::new();
        for (address, named) in &self.functions {
            groups.entry(self.root(named.family)).or_default().push((*address, named));
        }
        // What takes no blocks back is no allocator, but something that happens to have such a name.
        let whole = |group: &[(u64, &Named)]| {
            [Role::Malloc, Role::Free].iter().all(|role| group.iter().any(|(_, named)| named.role == *role))
        };
        let operators = groups.remove(&Family::Operators).unwrap_or_default();
        groups.retain(|_, group| whole(group));
        // The C++ operators are named the same whoever defines them.
        let owner = groups.keys().next().copied();
        let groups = groups.into_iter().map(move |(family, mut group)| {
            let aliases = self.families.iter().filter(|(_, to)| self.root(**to) == family);
            let aliases: Vec<Family> = aliases.map(|(from, _)| *from).collect();
            let kind = self.evidence.kind(family, &aliases);
            // The C libraries have none: those beside them are libstdc++'s, and call `malloc`.
            if owner == Some(family) && !matches!(kind, Kind::Glibc | Kind::Musl) {
                group.extend(operators.iter().copied());
                group.sort_by_key(|(address, _)| *address);
            }
            let is_malloc = |named: &Named| named.role == Role::Malloc && named.family == family;
            Allocator {
                module: PathBuf::new(),
                file: PathBuf::new(),
                kind,
                linked_in: false,
                exported: group.iter().any(|(_, named)| is_malloc(named) && named.exported),
                plain: family == Family::Plain,
                functions: group.iter().map(|(address, named)| named.function(*address)).collect(),
            }
        });
        groups.collect::<Vec<_>>().into_iter()
    }
}

impl Named {
    fn function(&self, address: u64) -> Function {
        let Named { role, size, offset, .. } = *self;
        Function { role, name: self.name.clone(), address, size, offset }
    }
}

#[cfg(test)]
#[path = "allocator_tests.rs"]
mod tests;
