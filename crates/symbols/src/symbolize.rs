//! Names and lines for addresses: what a frame of a stack was called in the source.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::debugfile::{INSTALLED, Search};
use crate::demangle::demangle;
use crate::dwarf::{self, DebugInfo, Level};
use crate::image::{ElfError, Image};
use crate::symtab::{FunctionMap, SymbolTable};

/// What is known of one frame of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The function, demangled.
    pub function: Option<String>,
    /// How many bytes the address is beyond the start of the function; unknown for inlined functions.
    pub function_offset: Option<u64>,
    /// The source file, as the compiler recorded it.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// Whether the function was inlined into that of the next frame of the list.
    pub inlined: bool,
}

/// Finds names for addresses, keeping what it has read of each module.
#[derive(Default)]
pub struct Symbolizer {
    debug_roots: Vec<PathBuf>,
    modules: HashMap<PathBuf, Vec<Module>>,
    warnings: Vec<String>,
    warned: HashSet<String>,
}

struct Module {
    build_id: Option<Vec<u8>>,
    symbols: FunctionMap,
    debug: Option<(PathBuf, DebugInfo)>,
    frames: HashMap<(u64, bool), Vec<Frame>>,
}

const SHF_EXECINSTR: u64 = 4;

impl Symbolizer {
    /// A symbolizer that looks for separate debug files where distributions install them.
    pub fn new() -> Symbolizer {
        Symbolizer::with_debug_roots(vec![PathBuf::from(INSTALLED)])
    }

    /// A symbolizer that looks for separate debug files below `roots` instead of `/usr/lib/debug`.
    pub fn with_debug_roots(roots: Vec<PathBuf>) -> Symbolizer {
        Symbolizer { debug_roots: roots, ..Symbolizer::default() }
    }

    /// The frames at `offset` in `module`, the innermost inlined one first; at least one.
    ///
    /// `offset` is an address as the file states it (the program counter minus the load bias). A return
    /// address names the instruction after the call, so the one before is looked up. With a `build_id`,
    /// a module that has another one by now is not believed.
    pub fn frames(
        &mut self,
        module: &Path,
        build_id: Option<&[u8]>,
        offset: u64,
        return_address: bool,
    ) -> Vec<Frame> {
        let build_id = build_id.filter(|id| !id.is_empty());
        let known = self.modules.get(module);
        let index = known.and_then(|all| all.iter().position(|one| one.build_id.as_deref() == build_id));
        let mut complaints = Vec::new();
        let index = index.unwrap_or_else(|| {
            let loaded = Module::load(module, build_id, &self.debug_roots, &mut complaints);
            let all = self.modules.entry(module.to_owned()).or_default();
            all.push(loaded);
            all.len() - 1
        });
        let entry = self.modules.get_mut(module).and_then(|all| all.get_mut(index));
        let frames = entry.map(|entry| entry.frames(offset, return_address, &mut complaints));
        for complaint in complaints {
            if self.warned.insert(complaint.clone()) {
                self.warnings.push(complaint);
            }
        }
        frames.unwrap_or_else(|| vec![Frame::default()])
    }

    /// What went wrong since the last call, each thing once in the life of the symbolizer.
    pub fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

impl Module {
    fn load(path: &Path, build_id: Option<&[u8]>, roots: &[PathBuf], complaints: &mut Vec<String>) -> Module {
        let image = open(path, build_id, complaints);
        let own_id = image.as_ref().and_then(Image::build_id);
        let mut search = Search { roots, complaints: Vec::new() };
        let separate = match &image {
            Some(image) if dwarf::is_in(image) => None,
            image => search.debug_file(image.as_ref(), build_id.or(own_id.as_deref())),
        };
        let described = separate.as_ref().or(image.as_ref()).filter(|image| dwarf::is_in(image));
        let mut debug = None;
        if let Some(described) = described {
            let sup = search.supplementary(described);
            match DebugInfo::load(described, sup.as_ref()) {
                Ok((info, damage)) => {
                    search.complaints.extend(damage.map(|what| damaged(&described.path, &what)));
                    debug = Some((described.path.clone(), info));
                }
                Err(what) => search.complaints.push(damaged(&described.path, &what)),
            }
        }
        let separate_damage = separate.as_ref().and_then(|image| image.section_damage.as_ref());
        if let (Some(separate), Some(what)) = (&separate, separate_damage) {
            search.complaints.push(damaged(&separate.path, what));
        }
        let names = if debug.is_some() { "some names" } else { "names" };
        complaints.extend(
            search.complaints.into_iter().map(|complaint| {
                format!("{complaint}; {names} in {} come from symbols only", path.display())
            }),
        );
        let symbols = symbols(image.as_ref(), separate.as_ref(), complaints);
        Module { build_id: build_id.map(<[u8]>::to_vec), symbols, debug, frames: HashMap::new() }
    }

    fn frames(&mut self, offset: u64, return_address: bool, complaints: &mut Vec<String>) -> Vec<Frame> {
        if let Some(frames) = self.frames.get(&(offset, return_address)) {
            return frames.clone();
        }
        let frames = match offset.checked_sub(u64::from(return_address)) {
            Some(address) => self.look_up(address, offset, complaints),
            None => vec![Frame::default()],
        };
        self.frames.insert((offset, return_address), frames.clone());
        frames
    }

    fn look_up(&mut self, address: u64, offset: u64, complaints: &mut Vec<String>) -> Vec<Frame> {
        let mut levels = Vec::new();
        if let Some((path, debug)) = &mut self.debug {
            match debug.levels(address) {
                Ok(found) => levels = found,
                Err(what) => complaints
                    .push(format!("{}; where it is, names come from symbols only", damaged(path, &what))),
            }
        }
        if levels.is_empty() {
            levels.push(Level { name: None, file: None, line: None });
        }
        let outermost = levels.len() - 1;
        let symbol = self.symbols.find(address);
        let frames = levels.into_iter().enumerate().map(|(index, level)| {
            let inlined = index != outermost;
            let symbol = symbol.as_ref().filter(|_| !inlined);
            let name = match (level.name, symbol) {
                (None, symbol) => symbol.map(|symbol| symbol.name.clone()),
                // glibc compiles malloc as __GI___libc_malloc; programs know it by what it exports.
                (Some(name), Some(symbol)) if is_reserved(&name) && symbol.visible => {
                    Some(symbol.name.clone())
                }
                (name, _) => name,
            };
            Frame {
                function: name.map(|name| demangle(&name)),
                function_offset: symbol.map(|symbol| offset - symbol.start),
                file: level.file,
                line: level.line,
                inlined,
            }
        });
        frames.collect()
    }
}

/// Whether a name is one of those that C reserves to its library, and not merely mangled.
fn is_reserved(name: &str) -> bool {
    name.starts_with('_') && !name.starts_with("_Z") && !name.starts_with("_R")
}

fn damaged(path: &Path, what: &str) -> String {
    format!("the debug information in {} is damaged ({what})", path.display())
}

/// Opens a module, if there is a file that can be believed to be it.
fn open(path: &Path, build_id: Option<&[u8]>, complaints: &mut Vec<String>) -> Option<Image> {
    // The kernel's own names for memory without a file, such as [vdso].
    if !path.is_absolute() && path.as_os_str().as_encoded_bytes().first().is_none_or(|b| *b == b'[') {
        return None;
    }
    let image = match Image::open(path) {
        Ok(image) => image,
        Err(error) => {
            complaints.push(format!("{error}; frames in it have no names"));
            return None;
        }
    };
    if let Some(what) = &image.section_damage {
        complaints.push(format!("{} is damaged: {what}; frames in it have no names", path.display()));
    }
    if build_id.is_some_and(|expected| image.build_id().as_deref() != Some(expected)) {
        let path = path.display();
        complaints.push(format!("{path} was replaced since (another build id); no names are taken from it"));
        return None;
    }
    Some(image)
}

fn symbols(image: Option<&Image>, separate: Option<&Image>, complaints: &mut Vec<String>) -> FunctionMap {
    let mut keep = |table: Result<Option<SymbolTable>, ElfError>| match table {
        Ok(table) => table,
        Err(error) => {
            complaints.push(format!("{error}; some frames may have no names"));
            None
        }
    };
    let full = image.and_then(|image| keep(SymbolTable::full(image)));
    let full = full.or_else(|| keep(SymbolTable::full(separate?)));
    let dynamic = image.and_then(|image| keep(SymbolTable::dynamic(image)));
    let sections = image.or(separate).map(|image| image.sections.as_slice()).unwrap_or_default();
    let executable = sections.iter().filter(|section| section.flags & SHF_EXECINSTR != 0);
    let executable = executable.map(|s| (s.address, s.address.saturating_add(s.size)));
    let tables = full.map(|table| (table, true)).into_iter().chain(dynamic.map(|table| (table, false)));
    FunctionMap::new(tables.collect(), &executable.collect::<Vec<_>>())
}

#[cfg(test)]
#[path = "symbolize_tests.rs"]
mod tests;
