//! Facts of an executable that decide how it can be put on trial.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

pub use crate::image::ElfError;
use crate::image::{Image, PT_DYNAMIC, PT_INTERP, string_at};
use crate::symtab::SymbolTable;

/// What an executable says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExeFacts {
    /// Whether it is a 64-bit ELF file.
    pub class64: bool,
    /// The processor it is for.
    pub machine: Machine,
    /// The loader it asks for; `None` when the kernel starts it directly, so that nothing can be preloaded.
    pub interpreter: Option<PathBuf>,
    /// The libraries it needs directly, as it names them.
    pub needed: Vec<String>,
    /// The symbol, and the table it is in, that shows the executable to bring an allocator of its own,
    /// such as `malloc in .dynsym`; see [`inspect`].
    pub own_allocator: Option<String>,
    /// The GNU build id.
    pub build_id: Option<Vec<u8>>,
    /// Whether it has a dynamic section. A static position-independent executable has one, but no interpreter.
    pub dynamic: bool,
}

/// The processor an executable is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// Any other, by its usual name, or by its number in the ELF header.
    Other(String),
}

/// Allocators that programs are built with under a prefixed name, which no preloaded library can interpose.
const PREFIXED: [&str; 18] = [
    "_rjem_malloc",
    "_rjem_mallocx",
    "_rjem_je_malloc",
    "__rjem_malloc",
    "je_malloc",
    "je_mallocx",
    "je_malloc_default",
    "mi_malloc",
    "mi_malloc_aligned",
    "_mi_malloc_generic",
    "tc_malloc",
    "TCMallocInternalMalloc",
    "rpmalloc",
    "sn_malloc",
    "sn_rust_alloc",
    "scudo_malloc",
    "dlmalloc",
    "nedmalloc",
];

/// Reads the facts of the executable at `path`.
///
/// `own_allocator` is the first of: `malloc` defined in `.dynsym`, which comes before any preloaded
/// library; `malloc` defined in `.symtab` only, to which calls were bound when it was linked; the
/// `malloc` of a known allocator under a prefixed name. What a stripped executable hides stays unseen.
///
/// # Errors
/// When the file cannot be read, is no ELF file, or its ELF or program headers make no sense. Damage
/// that does not keep it from running, such as in the section headers, only leaves facts out.
pub fn inspect(path: &Path) -> Result<ExeFacts, ElfError> {
    let image = Image::open(path)?;
    let dynamic = image.segments.iter().find(|segment| segment.kind == PT_DYNAMIC);
    let dynamic_section = match dynamic {
        Some(segment) => Some(Dynamic::read(&image, segment.offset, segment.file_size)?),
        None => None,
    };
    Ok(ExeFacts {
        class64: image.layout.class64,
        machine: machine(image.machine),
        interpreter: interpreter(&image)?,
        needed: dynamic_section.as_ref().map(|section| section.needed(&image)).unwrap_or_default(),
        own_allocator: own_allocator(&image, dynamic_section.as_ref()),
        build_id: image.build_id(),
        dynamic: dynamic.is_some(),
    })
}

fn machine(number: u16) -> Machine {
    let name = match number {
        62 => return Machine::X86_64,
        3 => "i386",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        other => return Machine::Other(format!("machine {other}")),
    };
    Machine::Other(name.to_owned())
}

fn interpreter(image: &Image) -> Result<Option<PathBuf>, ElfError> {
    let Some(segment) = image.segments.iter().find(|segment| segment.kind == PT_INTERP) else {
        return Ok(None);
    };
    let bytes = image.bytes(segment.offset, segment.file_size)?;
    let path = std::ffi::OsString::from_vec(string_at(&bytes, 0).to_vec());
    Ok(Some(PathBuf::from(path)))
}

/// The entries of the dynamic section, which the loader goes by, whatever the section headers say.
struct Dynamic {
    entries: Vec<(u64, u64)>,
}

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;

impl Dynamic {
    fn read(image: &Image, offset: u64, size: u64) -> Result<Dynamic, ElfError> {
        let (layout, bytes) = (image.layout, image.bytes(offset, size)?);
        let width = if layout.class64 { 16 } else { 8 };
        let entries = bytes
            .chunks_exact(width)
            .filter_map(|entry| Some((layout.word(entry, 0, 0)?, layout.word(entry, 8, 4)?)));
        Ok(Dynamic { entries: entries.take_while(|(tag, _)| *tag != DT_NULL).collect() })
    }

    fn value(&self, tag: u64) -> Option<u64> {
        self.entries.iter().find(|entry| entry.0 == tag).map(|entry| entry.1)
    }

    fn strings(&self, image: &Image) -> Option<(u64, u64)> {
        let offset = image.offset_of(self.value(DT_STRTAB)?)?;
        let size = self.value(DT_STRSZ)?.min(image.len.saturating_sub(offset));
        Some((offset, size))
    }

    fn needed(&self, image: &Image) -> Vec<String> {
        let strings = self.strings(image).and_then(|(offset, size)| image.bytes(offset, size).ok());
        let strings = strings.unwrap_or_default();
        let names = self.entries.iter().filter(|entry| entry.0 == DT_NEEDED).map(|entry| {
            let at = usize::try_from(entry.1).unwrap_or(usize::MAX);
            String::from_utf8_lossy(string_at(&strings, at)).into_owned()
        });
        names.filter(|name| !name.is_empty()).collect()
    }

    /// The dynamic symbols of a file without section headers. Nothing states how many there are, but
    /// linkers put the strings right behind them.
    fn symbols(&self, image: &Image) -> Option<SymbolTable> {
        let start = image.offset_of(self.value(DT_SYMTAB)?)?;
        let strings = self.strings(image)?;
        let size = strings.0.checked_sub(start)?;
        SymbolTable::at(image, (start, size), strings).ok()
    }
}

fn own_allocator(image: &Image, dynamic: Option<&Dynamic>) -> Option<String> {
    let visible = SymbolTable::dynamic(image).ok().flatten();
    let visible = visible.or_else(|| dynamic?.symbols(image));
    let all = SymbolTable::full(image).ok().flatten();
    let tables = [(visible, ".dynsym"), (all, ".symtab")];
    let defined = |wanted: &dyn Fn(&[u8]) -> Option<usize>| {
        tables.iter().find_map(|(table, title)| {
            let table = table.as_ref()?;
            let code = table.iter().filter(|symbol| symbol.defines_code());
            let found = code.filter_map(|symbol| Some((wanted(table.name(&symbol))?, symbol)));
            let (_, symbol) = found.min_by_key(|(rank, _)| *rank)?;
            Some(format!("{} in {title}", String::from_utf8_lossy(table.name(&symbol))))
        })
    };
    let malloc = defined(&|name| (name == b"malloc").then_some(0));
    malloc.or_else(|| defined(&|name| PREFIXED.iter().position(|known| known.as_bytes() == name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Workshop, mutated};
    use proptest::prelude::*;

    #[test]
    fn an_ordinary_program_is_dynamic_and_has_no_allocator() {
        let facts = inspect(Path::new("/bin/true")).expect("/bin/true is an ELF file");
        assert!(facts.class64 && facts.dynamic);
        assert_eq!(facts.machine, Machine::X86_64);
        assert_eq!(facts.interpreter.as_deref(), Some(Path::new("/lib64/ld-linux-x86-64.so.2")));
        assert_eq!(facts.needed, ["libc.so.6"]);
        assert_eq!(facts.own_allocator, None);
        assert!(facts.build_id.is_some_and(|id| id.len() == 20));
    }

    const OWN: &str = "#include <stddef.h>\nstatic char pool[999]; size_t used;\n\
        void *NAME(size_t n) { return &pool[used += n]; }\n\
        int main(void) { return NAME(4) == 0; }\n";

    #[test]
    fn an_allocator_of_its_own_is_found_where_it_is_defined() {
        let shop = Workshop::new();
        let cases: [(&str, &[&str], &str); 3] = [
            ("malloc", &["-rdynamic"], "malloc in .dynsym"),
            ("malloc", &["-fvisibility=hidden"], "malloc in .symtab"),
            ("_rjem_malloc", &[], "_rjem_malloc in .symtab"),
        ];
        for (name, flags, evidence) in cases {
            let program = shop.compile("own.c", &OWN.replace("NAME", name), flags);
            assert_eq!(inspect(&program).expect("just built").own_allocator.as_deref(), Some(evidence));
        }
    }

    #[test]
    fn an_exported_allocator_is_found_without_section_headers() {
        let shop = Workshop::new();
        let program = shop.compile("own.c", &OWN.replace("NAME", "malloc"), &["-rdynamic", "-s"]);
        let mut bytes = std::fs::read(&program).expect("just built");
        bytes[40..48].fill(0);
        bytes[58..64].fill(0);
        let cut = shop.write("cut", &bytes);
        let facts = inspect(&cut).expect("the kernel would run it");
        assert_eq!(facts.own_allocator.as_deref(), Some("malloc in .dynsym"));
        assert_eq!(facts.needed, ["libc.so.6"]);
    }

    #[test]
    fn a_static_program_has_no_interpreter() {
        let shop = Workshop::new();
        let program =
            shop.compile("s.c", "#include <stdlib.h>\nint main(void) { return !malloc(1); }", &["-static"]);
        let facts = inspect(&program).expect("just built");
        assert_eq!((facts.interpreter, facts.dynamic, facts.needed), (None, false, Vec::new()));
        assert_eq!(facts.own_allocator.as_deref(), Some("malloc in .symtab"));
        let pie = shop.compile("p.c", "int main(void) { return 0; }", &["-static-pie"]);
        let facts = inspect(&pie).expect("just built");
        assert_eq!((facts.interpreter, facts.dynamic), (None, true));
    }

    #[test]
    fn what_is_no_program_is_told_apart() {
        let shop = Workshop::new();
        let script = shop.write("script", b"#!/bin/sh\n");
        let short = shop.write("short", b"\x7fELF");
        let cut = shop.write("cut", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02");
        assert!(matches!(inspect(&script), Err(ElfError::NotElf { .. })));
        assert!(matches!(inspect(&short), Err(ElfError::NotElf { .. })));
        assert!(matches!(inspect(&cut), Err(ElfError::Malformed { .. })));
        assert!(matches!(inspect(Path::new("/nonexistent")), Err(ElfError::Read { .. })));
        let device = inspect(Path::new("/dev/zero")).expect_err("it never ends").to_string();
        assert_eq!(device, "cannot read /dev/zero: not a regular file");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn damaged_files_are_survived(bytes in mutated(std::fs::read("/bin/true").expect("readable"), 0..2048)) {
            let shop = Workshop::new();
            let _ = inspect(&shop.write("damaged", &bytes));
        }
    }
}
