//! An ELF image as it lies in the memory of a process: its symbols and relocations, by the dynamic section, as the loader
//! itself finds them (System V ABI, chapter 5). No file is opened, so that it holds for deleted ones too.

use object::elf::{self, Dyn64, DynamicTag, FileHeader64, ProgramHeader64, Rela64, Sym64};
use object::{LittleEndian as Le, pod};

/// Reads the memory of a process; returns how many bytes there were.
pub(super) type Memory<'a> = dyn Fn(u64, &mut [u8]) -> usize + 'a;

/// An image in memory.
#[derive(Debug)]
pub(super) struct LoadedImage {
    /// Its first address.
    pub base: u64,
    /// The first address behind it.
    pub end: u64,
    /// What is to be added to an address in the file to get one in memory.
    pub bias: u64,
    /// Where the program begins, in memory; libraries seldom have one.
    pub entry: u64,
    /// The name that other modules ask for it by.
    pub soname: String,
    dynamic: Vec<(DynamicTag, u64)>,
    symbols: Vec<u8>,
    strings: Vec<u8>,
    relocations: Vec<u8>,
}

/// What an image defines or asks for by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol<'i> {
    pub name: &'i str,
    /// Its first address in memory; 0 if it is not defined here.
    pub address: u64,
    /// In bytes.
    pub size: u64,
    kind: elf::SymbolType,
}

impl Symbol<'_> {
    /// Whether it is code at that address; of an indirect function (`STT_GNU_IFUNC`), the address is not its own.
    pub fn is_function(&self) -> bool {
        self.address != 0 && matches!(self.kind, elf::STT_FUNC | elf::STT_NOTYPE)
    }
}

const LE: Le = Le;

/// Most bytes of one table: no program comes near it, and damaged memory must not fill ours.
const LARGEST_TABLE: u64 = 1 << 28;
const SYMBOL: u64 = size_of::<Sym64<Le>>() as u64;
const RELOCATION: u64 = size_of::<Rela64<Le>>() as u64;

fn bytes_at(memory: &Memory<'_>, address: u64, length: u64) -> Option<Vec<u8>> {
    let length = usize::try_from(length.min(LARGEST_TABLE)).ok()?;
    let mut bytes = vec![0; length];
    (memory(address, &mut bytes) == length).then_some(bytes)
}

fn records<T: pod::Pod>(bytes: &[u8]) -> &[T] {
    pod::slice_from_bytes(bytes, bytes.len() / size_of::<T>()).map_or(&[], |(records, _)| records)
}

impl LoadedImage {
    /// The machine that the ELF file at `base` is for, if there is one.
    pub fn machine(memory: &Memory<'_>, base: u64) -> Option<u16> {
        let header = bytes_at(memory, base, 20)?;
        header.starts_with(b"\x7fELF").then(|| u16::from_le_bytes([header[18], header[19]]))
    }

    /// Reads the image that begins at `base`; `None` if there is none for x86-64, or it has no dynamic section.
    pub fn read(memory: &Memory<'_>, base: u64) -> Option<LoadedImage> {
        let header = bytes_at(memory, base, size_of::<FileHeader64<Le>>() as u64)?;
        let (header, _) = pod::from_bytes::<FileHeader64<Le>>(&header).ok()?;
        let known = header.e_ident.magic == elf::ELFMAG
            && header.e_ident.class == elf::ELFCLASS64
            && header.e_machine.get(LE) == elf::EM_X86_64;
        if !known {
            return None;
        }
        let count = u64::from(header.e_phnum.get(LE));
        let at = base.checked_add(header.e_phoff.get(LE))?;
        let headers = bytes_at(memory, at, count * size_of::<ProgramHeader64<Le>>() as u64)?;
        let headers: &[ProgramHeader64<Le>] = records(&headers);
        let loaded = || headers.iter().filter(|header| header.p_type.get(LE) == elf::PT_LOAD);
        let lowest = loaded().map(|header| header.p_vaddr.get(LE)).min()?;
        let highest =
            loaded().map(|header| header.p_vaddr.get(LE).saturating_add(header.p_memsz.get(LE))).max()?;
        let bias = base.wrapping_sub(lowest - lowest % 4096);
        let end = bias.wrapping_add(highest);
        let dynamic = headers.iter().find(|header| header.p_type.get(LE) == elf::PT_DYNAMIC)?;
        let at = bias.wrapping_add(dynamic.p_vaddr.get(LE));
        let dynamic = bytes_at(memory, at, dynamic.p_memsz.get(LE).min(1 << 20))?;
        let entries =
            records::<Dyn64<Le>>(&dynamic).iter().map(|entry| (entry.d_tag.get(LE), entry.d_val.get(LE)));
        let dynamic = entries.take_while(|(tag, _)| *tag != elf::DT_NULL).collect();
        let mut image = LoadedImage {
            base,
            end,
            bias,
            entry: bias.wrapping_add(header.e_entry.get(LE)),
            soname: String::new(),
            dynamic,
            symbols: Vec::new(),
            strings: Vec::new(),
            relocations: Vec::new(),
        };
        image.read_tables(memory);
        Some(image)
    }

    /// What a tag of the dynamic section is followed by. Pointers in it are the loader's to relocate, which it may have
    /// done or not: see [`LoadedImage::pointer`].
    pub fn value(&self, tag: DynamicTag) -> Option<u64> {
        self.dynamic.iter().find(|entry| entry.0 == tag).map(|entry| entry.1)
    }

    fn pointer(&self, tag: DynamicTag) -> Option<u64> {
        let value = self.value(tag)?;
        Some(if self.contains(value) { value } else { self.bias.wrapping_add(value) })
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: u64) -> bool {
        (self.base..self.end).contains(&address)
    }

    /// The table that begins at `start`, as far as the image reaches.
    fn table(&self, memory: &Memory<'_>, start: Option<u64>, length: u64) -> Vec<u8> {
        let Some(start) = start.filter(|start| self.contains(*start)) else {
            return Vec::new();
        };
        bytes_at(memory, start, length.min(self.end - start)).unwrap_or_default()
    }

    fn read_tables(&mut self, memory: &Memory<'_>) {
        self.relocations =
            self.table(memory, self.pointer(elf::DT_RELA), self.value(elf::DT_RELASZ).unwrap_or(0));
        self.relocations.truncate(self.relocations.len() / RELOCATION as usize * RELOCATION as usize);
        if self.value(elf::DT_PLTREL) == u64::try_from(elf::DT_RELA.0).ok() {
            let more =
                self.table(memory, self.pointer(elf::DT_JMPREL), self.value(elf::DT_PLTRELSZ).unwrap_or(0));
            self.relocations.extend(more);
        }
        self.strings =
            self.table(memory, self.pointer(elf::DT_STRTAB), self.value(elf::DT_STRSZ).unwrap_or(0));
        // No entry tells how many symbols there are: the hash tables name those that are defined, the relocations
        // those that are wanted.
        let wanted = records::<Rela64<Le>>(&self.relocations)
            .iter()
            .map(|entry| u64::from(entry.r_sym(LE, false)) + 1);
        let wanted = wanted.max().unwrap_or(0);
        let count = wanted.max(self.hashed(memory)).max(self.hashed_gnu(memory));
        self.symbols = self.table(memory, self.pointer(elf::DT_SYMTAB), count.saturating_mul(SYMBOL));
        self.soname = self.value(elf::DT_SONAME).map_or("", |at| text_at(&self.strings, at)).to_owned();
    }

    fn hashed(&self, memory: &Memory<'_>) -> u64 {
        let header = self.table(memory, self.pointer(elf::DT_HASH), 8);
        header.get(4..8).map_or(0, |count| number(count).into())
    }

    /// The highest symbol that the GNU hash table names, plus one: buckets hold the first of each chain, a chain ends with
    /// an odd hash (the format is described in the linker's `elflink.c`).
    fn hashed_gnu(&self, memory: &Memory<'_>) -> u64 {
        let Some(start) = self.pointer(elf::DT_GNU_HASH) else { return 0 };
        let header = self.table(memory, Some(start), 16);
        if header.len() < 16 {
            return 0;
        }
        let field = |at: usize| u64::from(number(&header[at..at + 4]));
        let (buckets, first, bloom) = (field(0), field(4), field(8));
        let at = start.saturating_add(16).saturating_add(bloom * 8);
        let heads = self.table(memory, Some(at), buckets * 4);
        let Some(last) = heads.chunks_exact(4).map(|head| u64::from(number(head))).max() else { return 0 };
        if last < first {
            return first;
        }
        let chains = at.saturating_add(buckets * 4);
        let chain = self.table(memory, Some(chains.saturating_add((last - first) * 4)), 1 << 20);
        let length = chain.chunks_exact(4).position(|hash| number(hash) & 1 == 1).unwrap_or(0);
        last + length as u64 + 1
    }

    fn symbol(&self, symbol: &Sym64<Le>) -> Symbol<'_> {
        let defined = symbol.st_shndx.get(LE) != elf::SHN_UNDEF;
        Symbol {
            name: text_at(&self.strings, symbol.st_name.get(LE).into()),
            address: if defined { self.bias.wrapping_add(symbol.st_value.get(LE)) } else { 0 },
            size: symbol.st_size.get(LE),
            kind: symbol.st_type(),
        }
    }

    /// All that it exports or imports.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol<'_>> {
        records::<Sym64<Le>>(&self.symbols).iter().map(|symbol| self.symbol(symbol))
    }

    /// The address of an exported function.
    pub fn function(&self, name: &str) -> Option<u64> {
        self.symbols().find(|symbol| symbol.is_function() && symbol.name == name).map(|symbol| symbol.address)
    }

    /// The places in memory that the loader puts the address of a function in, with its name: `R_X86_64_JUMP_SLOT`,
    /// `R_X86_64_GLOB_DAT`, and `R_X86_64_64` with nothing added (System V ABI, AMD64 supplement, table 4.9).
    pub fn slots(&self) -> impl Iterator<Item = (u64, &str)> {
        let symbols: &[Sym64<Le>] = records(&self.symbols);
        records::<Rela64<Le>>(&self.relocations).iter().filter_map(move |entry| {
            let wanted = match entry.r_type(LE, false) {
                elf::R_X86_64_JUMP_SLOT | elf::R_X86_64_GLOB_DAT => true,
                elf::R_X86_64_64 => entry.r_addend.get(LE) == 0,
                _ => false,
            };
            let symbol = symbols.get(entry.r_sym(LE, false) as usize).filter(|_| wanted)?;
            let at = self.bias.wrapping_add(entry.r_offset.get(LE));
            let inside = self.contains(at) && self.contains(at.saturating_add(7));
            inside.then(|| (at, self.symbol(symbol).name))
        })
    }

    /// Where the program calls a function through when its address was taken at link time: a stub that the executable
    /// declares instead of the function (`st_value` of an undefined symbol).
    pub fn stub(&self, name: &str) -> Option<u64> {
        let stubs = records::<Sym64<Le>>(&self.symbols).iter();
        let mut stubs =
            stubs.filter(|symbol| symbol.st_shndx.get(LE) == elf::SHN_UNDEF && symbol.st_value.get(LE) != 0);
        let stub = stubs.find(|symbol| self.symbol(symbol).name == name)?;
        Some(self.bias.wrapping_add(stub.st_value.get(LE)))
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

fn text_at(strings: &[u8], at: u64) -> &str {
    let rest = usize::try_from(at).ok().and_then(|at| strings.get(at..)).unwrap_or_default();
    let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrial_symbols::remote::parse_maps;
    use proptest::prelude::*;

    fn our_libc() -> (u64, Vec<u8>) {
        let maps = parse_maps(&std::fs::read_to_string("/proc/self/maps").expect("procfs"));
        let named = |mapping: &&memtrial_symbols::remote::Mapping| mapping.path.ends_with("libc.so.6");
        let (first, last) = (maps.iter().find(named), maps.iter().rfind(named));
        let (first, last) = (first.expect("the tests use glibc"), last.expect("the tests use glibc"));
        let me = i32::try_from(std::process::id()).expect("a pid");
        let mut bytes = vec![0; (last.end - first.start) as usize];
        for (at, page) in bytes.chunks_mut(4096).enumerate() {
            let _ = crate::memory_of::read(me, first.start + 4096 * at as u64, page);
        }
        (first.start, bytes)
    }

    fn reader(base: u64, bytes: &[u8]) -> impl Fn(u64, &mut [u8]) -> usize {
        move |address, into| {
            let at = address.checked_sub(base).and_then(|at| usize::try_from(at).ok());
            let rest = at.and_then(|at| bytes.get(at..)).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        }
    }

    #[test]
    fn the_functions_of_our_own_libc_are_where_they_are() {
        let (base, bytes) = our_libc();
        let image = LoadedImage::read(&reader(base, &bytes), base).expect("libc is an image");
        assert_eq!(image.soname, "libc.so.6");
        assert_eq!(image.function("getpid"), Some(libc::getpid as *const () as u64));
        assert_eq!(image.function("dlopen"), Some(libc::dlopen as *const () as u64));
        assert_eq!(image.function("no such function"), None);
        let slots: Vec<&str> = image.slots().map(|slot| slot.1).collect();
        assert!(slots.contains(&"free"), "libc lets its own free be replaced: {slots:?}");
    }

    #[test]
    fn what_is_no_image_is_none() {
        assert!(LoadedImage::read(&reader(0, b"#!/bin/sh\n"), 0).is_none());
        assert!(LoadedImage::read(&reader(0, b""), 4096).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn damaged_images_are_survived(edits in proptest::collection::vec((0..0x1000_usize, any::<u8>()), 1..20),
                                       later in proptest::collection::vec((0..2_000_000_usize, any::<u8>()), 0..50)) {
            let (base, mut bytes) = our_libc();
            for (at, value) in edits.into_iter().chain(later) {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            if let Some(image) = LoadedImage::read(&reader(base, &bytes), base) {
                prop_assert!(image.slots().all(|(at, _)| image.contains(at)));
                let _ = (image.symbols().count(), image.stub("malloc"));
            }
        }
    }
}
