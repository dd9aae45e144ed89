//! Symbol tables: walking them, and finding the function that contains an address.

use std::sync::Arc;

use crate::image::{ElfError, Image, Layout, SHT_DYNSYM, SHT_SYMTAB, string_at};

const STT_NOTYPE: u8 = 0;
const STT_FUNC: u8 = 2;
const STT_SECTION: u8 = 3;
const STT_FILE: u8 = 4;
const STT_TLS: u8 = 6;
const STT_GNU_IFUNC: u8 = 10;
const STB_LOCAL: u8 = 0;
const SHN_UNDEF: u16 = 0;
const SHN_ABS: u16 = 0xfff1;

/// One entry of a symbol table, widened to 64 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol {
    name: u32,
    kind: u8,
    bind: u8,
    section: u16,
    pub value: u64,
    pub size: u64,
}

impl Symbol {
    /// Whether the file itself defines this as code; hand-written assembly often leaves the type out.
    pub fn defines_code(&self) -> bool {
        self.section != SHN_UNDEF && matches!(self.kind, STT_FUNC | STT_GNU_IFUNC | STT_NOTYPE)
    }

    /// Whether it is code that is called by this name, not code that chooses which to call.
    pub fn is_plain_function(&self) -> bool {
        self.section != SHN_UNDEF && self.kind == STT_FUNC
    }

    /// Whether its value is an address of this file: it is defined here, and is neither thread-local nor a bare number.
    pub fn has_address(&self) -> bool {
        !matches!(self.section, SHN_UNDEF | SHN_ABS) && !matches!(self.kind, STT_SECTION | STT_FILE | STT_TLS)
    }

    /// Whether each thread has one of its own, so that its value is not an address.
    pub fn is_thread_local(&self) -> bool {
        self.kind == STT_TLS
    }

    fn is_function(&self) -> bool {
        self.section != SHN_UNDEF && matches!(self.kind, STT_FUNC | STT_GNU_IFUNC)
    }
}

/// A symbol table together with its names.
#[derive(Debug)]
pub(crate) struct SymbolTable {
    layout: Layout,
    symbols: Arc<[u8]>,
    strings: Arc<[u8]>,
}

impl SymbolTable {
    /// `.symtab`, or `None` in a stripped file.
    pub fn full(image: &Image) -> Result<Option<SymbolTable>, ElfError> {
        SymbolTable::of_kind(image, SHT_SYMTAB)
    }

    /// `.dynsym`, or `None` in a static file.
    pub fn dynamic(image: &Image) -> Result<Option<SymbolTable>, ElfError> {
        SymbolTable::of_kind(image, SHT_DYNSYM)
    }

    fn of_kind(image: &Image, kind: u32) -> Result<Option<SymbolTable>, ElfError> {
        let Some(table) = image.sections.iter().find(|section| section.kind == kind && section.size > 0)
        else {
            return Ok(None);
        };
        let strings = image.sections.get(table.link as usize);
        let strings = strings.ok_or_else(|| image.malformed("a symbol table has no names"))?;
        let (symbols, strings) = (image.contents(table)?, image.contents(strings)?);
        Ok(Some(SymbolTable { layout: image.layout, symbols, strings }))
    }

    /// A table at known file offsets, for files whose section headers were cut away.
    pub fn at(image: &Image, symbols: (u64, u64), strings: (u64, u64)) -> Result<SymbolTable, ElfError> {
        let (symbols, strings) = (image.bytes(symbols.0, symbols.1)?, image.bytes(strings.0, strings.1)?);
        Ok(SymbolTable { layout: image.layout, symbols, strings })
    }

    /// All entries, in file order.
    pub fn iter(&self) -> impl Iterator<Item = Symbol> + '_ {
        let layout = self.layout;
        self.symbols.chunks_exact(if layout.class64 { 24 } else { 16 }).filter_map(move |entry| {
            let info = *entry.get(if layout.class64 { 4 } else { 12 })?;
            Some(Symbol {
                name: layout.half(entry, 0, 0)?,
                kind: info & 15,
                bind: info >> 4,
                section: layout.number(entry, if layout.class64 { 6 } else { 14 }, 2)? as u16,
                value: layout.word(entry, 8, 4)?,
                size: layout.word(entry, 16, 8)?,
            })
        })
    }

    /// The name of a symbol of this table.
    pub fn name(&self, symbol: &Symbol) -> &[u8] {
        string_at(&self.strings, symbol.name as usize)
    }
}

/// The functions of one or more symbol tables, ordered by address.
#[derive(Debug, Default)]
pub(crate) struct FunctionMap {
    tables: Vec<SymbolTable>,
    functions: Vec<Function>,
    /// The highest end of all functions up to each index, so that a search backwards knows when to stop.
    highest_end: Vec<u64>,
}

#[derive(Debug)]
struct Function {
    start: u64,
    end: u64,
    symbol: Symbol,
    table: usize,
}

/// A function found by address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Not demangled.
    pub name: String,
    pub start: u64,
    /// Whether other files may call it by this name.
    pub visible: bool,
}

impl FunctionMap {
    /// Makes the map. A function without a size counts only where a table is `complete` (`.symtab`):
    /// there it reaches up to the next one, while in `.dynsym` anything could lie between.
    pub fn new(tables: Vec<(SymbolTable, bool)>, executable: &[(u64, u64)]) -> FunctionMap {
        let mut functions = Vec::new();
        for (index, (table, complete)) in tables.iter().enumerate() {
            let all = table.iter().filter(|s| s.is_function() && (s.size > 0 || *complete));
            functions.extend(all.map(|symbol| Function {
                start: symbol.value,
                end: symbol.value.saturating_add(symbol.size),
                symbol,
                table: index,
            }));
        }
        functions.sort_by_key(|function| function.start);
        let mut next_start = u64::MAX;
        let mut start_after = u64::MAX;
        for function in functions.iter_mut().rev() {
            if function.start != start_after {
                (next_start, start_after) = (start_after, function.start);
            }
            if function.symbol.size == 0 {
                let start = function.start;
                let section = executable.iter().find(|(from, to)| (*from..*to).contains(&start));
                function.end = section.map_or(start, |(_, to)| next_start.min(*to));
            }
        }
        let ends = functions.iter().scan(0, |highest, function| {
            *highest = function.end.max(*highest);
            Some(*highest)
        });
        let highest_end = ends.collect();
        FunctionMap { tables: tables.into_iter().map(|(table, _)| table).collect(), functions, highest_end }
    }

    /// The function that contains `address`: of several, rather one with a size, rather a visible one,
    /// rather the innermost, and of aliases the plainest (`malloc`, not `__libc_malloc`).
    pub fn find(&self, address: u64) -> Option<Found> {
        let below = self.functions.partition_point(|function| function.start <= address);
        let candidates = (0..below).rev().take_while(|index| self.highest_end[*index] > address);
        let containing = candidates.map(|index| &self.functions[index]).filter(|f| f.end > address);
        // Overlaps this deep exist only in damaged files, where they would make each search slow.
        let best = containing.take(64).max_by_key(|function| {
            let name = self.name(function);
            let underscores = name.iter().take_while(|byte| **byte == b'_').count();
            let plain = std::cmp::Reverse((underscores, name.len(), name));
            (function.symbol.size > 0, function.symbol.bind != STB_LOCAL, function.start, plain)
        })?;
        let name = String::from_utf8_lossy(self.name(best)).into_owned();
        let visible = best.symbol.bind != STB_LOCAL;
        (!name.is_empty()).then_some(Found { name, start: best.start, visible })
    }

    fn name(&self, function: &Function) -> &[u8] {
        self.tables[function.table].name(&function.symbol)
    }
}
