//! Opening an ELF file and reading it piece by piece, trusting nothing in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::read::{CompressedData, CompressionFormat};
use thiserror::Error;

/// Why an ELF file could not be read.
#[derive(Debug, Error)]
pub enum ElfError {
    /// The file does not begin like an ELF file; a script, for example.
    #[error("{} is not an ELF file", .path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be opened or read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file begins like an ELF file, but contradicts itself.
    #[error("{} is damaged: {what}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// A program header, widened to 64 bits.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub file_size: u64,
}

/// A section header, widened to 64 bits.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub name: String,
    pub kind: u32,
    pub flags: u64,
    pub address: u64,
    pub offset: u64,
    pub size: u64,
    pub link: u32,
}

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_DYNAMIC: u32 = 2;
pub(crate) const PT_INTERP: u32 = 3;
pub(crate) const PT_NOTE: u32 = 4;
pub(crate) const PF_X: u32 = 1;
pub(crate) const PF_W: u32 = 2;
pub(crate) const SHT_SYMTAB: u32 = 2;
pub(crate) const SHT_NOTE: u32 = 7;
pub(crate) const SHT_NOBITS: u32 = 8;
pub(crate) const SHT_DYNSYM: u32 = 11;
const SHF_COMPRESSED: u64 = 0x800;
const PN_XNUM: u16 = 0xffff;
const NT_GNU_BUILD_ID: u32 = 3;

/// An open ELF file: its headers, and the means to read the rest of it when wanted.
#[derive(Debug)]
pub(crate) struct Image {
    pub path: PathBuf,
    file: File,
    pub len: u64,
    pub layout: Layout,
    pub machine: u16,
    pub segments: Vec<Segment>,
    /// Empty when the section headers are absent or unreadable, which the kernel and the loader do not mind.
    pub sections: Vec<Section>,
    /// Why `sections` is empty although the file claims to have some.
    pub section_damage: Option<String>,
}

/// Word size and byte order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub class64: bool,
    pub little: bool,
}

impl Layout {
    /// The number of `width` bytes at `at`, or `None` beyond the end.
    pub fn number(self, bytes: &[u8], at: usize, width: usize) -> Option<u64> {
        let field = bytes.get(at..at.checked_add(width)?)?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.little { field.iter().rev().fold(0, fold) } else { field.iter().fold(0, fold) })
    }

    /// The address-sized number at `at64` in a 64-bit structure, `at32` in a 32-bit one.
    pub fn word(self, bytes: &[u8], at64: usize, at32: usize) -> Option<u64> {
        if self.class64 { self.number(bytes, at64, 8) } else { self.number(bytes, at32, 4) }
    }

    /// The 4-byte number at `at64` in a 64-bit structure, `at32` in a 32-bit one.
    pub fn half(self, bytes: &[u8], at64: usize, at32: usize) -> Option<u32> {
        self.number(bytes, if self.class64 { at64 } else { at32 }, 4).map(|n| n as u32)
    }

    fn short(self, bytes: &[u8], at64: usize, at32: usize) -> Option<u16> {
        self.number(bytes, if self.class64 { at64 } else { at32 }, 2).map(|n| n as u16)
    }
}

impl Image {
    /// Opens `path`, which must be a regular file (a pipe or a device could block or never end).
    pub fn open(path: &Path) -> Result<Image, ElfError> {
        let read = |source| ElfError::Read { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(read)?;
        if !metadata.is_file() {
            return Err(read(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let file = File::open(path).map_err(read)?;
        let len = metadata.len();
        let mut ident = [0; 16];
        match file.read_exact_at(&mut ident, 0) {
            Ok(()) if ident.starts_with(b"\x7fELF") => {}
            Err(source) if source.kind() != io::ErrorKind::UnexpectedEof => return Err(read(source)),
            _ => return Err(ElfError::NotElf { path: path.to_owned() }),
        }
        let layout = match (ident[4], ident[5]) {
            (1 | 2, 1 | 2) => Layout { class64: ident[4] == 2, little: ident[5] == 1 },
            _ => {
                let what = "its header names an unknown class or byte order".to_owned();
                return Err(ElfError::Malformed { path: path.to_owned(), what });
            }
        };
        let mut image = Image {
            path: path.to_owned(),
            file,
            len,
            layout,
            machine: 0,
            segments: Vec::new(),
            sections: Vec::new(),
            section_damage: None,
        };
        image.read_headers()?;
        Ok(image)
    }

    fn read_headers(&mut self) -> Result<(), ElfError> {
        let layout = self.layout;
        let short = || self.malformed("its header is cut off");
        let header = self.bytes(0, if layout.class64 { 64 } else { 52 })?;
        let machine = layout.short(&header, 18, 18).ok_or_else(short)?;
        let segments_at = layout.word(&header, 32, 28).ok_or_else(short)?;
        let sections_at = layout.word(&header, 40, 32).ok_or_else(short)?;
        let segment_size = layout.short(&header, 54, 42).ok_or_else(short)?;
        let segment_count = layout.short(&header, 56, 44).ok_or_else(short)?;
        let section_size = layout.short(&header, 58, 46).ok_or_else(short)?;
        let section_count = layout.short(&header, 60, 48).ok_or_else(short)?;
        let names_index = layout.short(&header, 62, 50).ok_or_else(short)?;
        if segment_count == PN_XNUM {
            // Only core files have so many segments.
            return Err(self.malformed("it has too many program headers"));
        }
        let segments = if segment_count == 0 {
            Vec::new()
        } else {
            self.read_segments(segments_at, segment_size, segment_count)?
        };
        let sections = match sections_at {
            0 => Ok(Vec::new()),
            _ => self.read_sections(sections_at, section_size, section_count, names_index),
        };
        self.machine = machine;
        self.segments = segments;
        match sections {
            Ok(sections) => self.sections = sections,
            Err(error) => self.section_damage = Some(format!("section headers: {error}")),
        }
        Ok(())
    }

    fn read_segments(&self, at: u64, size: u16, count: u16) -> Result<Vec<Segment>, ElfError> {
        let layout = self.layout;
        if usize::from(size) != if layout.class64 { 56 } else { 32 } {
            return Err(self.malformed("its program headers have a wrong size"));
        }
        let table = self.bytes(at, u64::from(size) * u64::from(count))?;
        let segments = table.chunks_exact(usize::from(size)).map(|entry| {
            Some(Segment {
                kind: layout.half(entry, 0, 0)?,
                flags: layout.half(entry, 4, 24)?,
                offset: layout.word(entry, 8, 4)?,
                address: layout.word(entry, 16, 8)?,
                file_size: layout.word(entry, 32, 16)?,
            })
        });
        segments.collect::<Option<_>>().ok_or_else(|| self.malformed("its program headers are cut off"))
    }

    fn read_sections(&self, at: u64, size: u16, count: u16, names: u16) -> Result<Vec<Section>, ElfError> {
        let layout = self.layout;
        let wrong = || self.malformed("its section headers make no sense");
        if usize::from(size) != if layout.class64 { 64 } else { 40 } {
            return Err(wrong());
        }
        // Counts that do not fit are kept in the first, otherwise unused, section header.
        let first = self.bytes(at, u64::from(size))?;
        let count = match count {
            0 => layout.word(&first, 32, 20).ok_or_else(wrong)?,
            count => u64::from(count),
        };
        let names = match names {
            0xffff => layout.half(&first, 40, 24).ok_or_else(wrong)?,
            names => u32::from(names),
        };
        let table = self.bytes(at, u64::from(size).checked_mul(count).ok_or_else(wrong)?)?;
        let headers = table.chunks_exact(usize::from(size)).map(|entry| {
            let section = Section {
                name: String::new(),
                kind: layout.half(entry, 4, 4)?,
                flags: layout.word(entry, 8, 8)?,
                address: layout.word(entry, 16, 12)?,
                offset: layout.word(entry, 24, 16)?,
                size: layout.word(entry, 32, 20)?,
                link: layout.half(entry, 40, 24)?,
            };
            Some((layout.half(entry, 0, 0)?, section))
        });
        let mut headers: Vec<(u32, Section)> = headers.collect::<Option<_>>().ok_or_else(wrong)?;
        let (_, names) = headers.get(names as usize).ok_or_else(wrong)?;
        let names = self.bytes(names.offset, names.size)?;
        for (name, section) in &mut headers {
            section.name = String::from_utf8_lossy(string_at(&names, *name as usize)).into_owned();
        }
        Ok(headers.into_iter().map(|(_, section)| section).collect())
    }

    /// Reads `size` bytes at file offset `offset`; an error when the file is shorter than that.
    pub fn bytes(&self, offset: u64, size: u64) -> Result<Arc<[u8]>, ElfError> {
        // Checked first: a size taken from the file must not decide how much is allocated.
        if offset.checked_add(size).is_none_or(|end| end > self.len) {
            let have = self.len;
            return Err(
                self.malformed(&format!("it needs {size} bytes at {offset}, but has only {have} bytes"))
            );
        }
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, size as usize).collect();
        if let Some(buffer) = Arc::get_mut(&mut bytes) {
            let read = |source| ElfError::Read { path: self.path.clone(), source };
            self.file.read_exact_at(buffer, offset).map_err(read)?;
        }
        Ok(bytes)
    }

    /// The first section called `name`.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Whether the section `name` exists with contents, which a stripped or debug-only file has not.
    pub fn has_contents(&self, name: &str) -> bool {
        self.section(name).is_some_and(|section| section.kind != SHT_NOBITS && section.size > 0)
    }

    /// The contents of a section, decompressed where needed; empty when it takes no space in the file.
    pub fn contents(&self, section: &Section) -> Result<Arc<[u8]>, ElfError> {
        if section.kind == SHT_NOBITS {
            return Ok(Arc::new([]));
        }
        let raw = self.bytes(section.offset, section.size)?;
        if section.flags & SHF_COMPRESSED == 0 {
            return Ok(raw);
        }
        let wrong = |what: &str| self.malformed(&format!("its section {} {what}", section.name));
        let header = if self.layout.class64 { 24 } else { 12 };
        let format = match self.layout.half(&raw, 0, 0) {
            Some(1) => CompressionFormat::Zlib,
            Some(2) => CompressionFormat::Zstandard,
            _ => return Err(wrong("is compressed in an unknown way")),
        };
        let size = self.layout.word(&raw, 8, 4).ok_or_else(|| wrong("is cut off"))?;
        let data = raw.get(header..).ok_or_else(|| wrong("is cut off"))?;
        // No debug section compresses a thousandfold; such a claim would only make us allocate.
        if size > (data.len() as u64).saturating_mul(1100).saturating_add(4096) {
            return Err(wrong("claims to decompress to an absurd size"));
        }
        let compressed = CompressedData { format, data, uncompressed_size: size };
        let contents = compressed.decompress().map_err(|_| wrong("cannot be decompressed"))?;
        Ok(Arc::from(&*contents))
    }

    /// The GNU build id, from the note sections or, without section headers, the note segments.
    pub fn build_id(&self) -> Option<Vec<u8>> {
        let sections = self.sections.iter().filter(|s| s.kind == SHT_NOTE).map(|s| (s.offset, s.size));
        let segments = self.segments.iter().filter(|s| s.kind == PT_NOTE).map(|s| (s.offset, s.file_size));
        sections
            .chain(segments)
            .find_map(|(offset, size)| self.build_id_among(&self.bytes(offset, size).ok()?))
    }

    fn build_id_among(&self, notes: &[u8]) -> Option<Vec<u8>> {
        let mut at = 0usize;
        loop {
            let name_size = self.layout.number(notes, at, 4)? as usize;
            let desc_size = self.layout.number(notes, at + 4, 4)? as usize;
            let kind = self.layout.number(notes, at + 8, 4)? as u32;
            let name_at = at + 12;
            let desc_at = name_at.checked_add(name_size.checked_next_multiple_of(4)?)?;
            let desc_end = desc_at.checked_add(desc_size)?;
            if kind == NT_GNU_BUILD_ID && notes.get(name_at..name_at.checked_add(name_size)?)? == b"GNU\0" {
                return notes.get(desc_at..desc_end).filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
            }
            at = desc_end.checked_next_multiple_of(4)?;
        }
    }

    /// The file offset of what the file maps at `address`.
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().filter(|s| s.kind == PT_LOAD).find_map(|s| {
            let within = address.checked_sub(s.address)?;
            (within < s.file_size).then(|| s.offset.checked_add(within)).flatten()
        })
    }

    pub fn malformed(&self, what: &str) -> ElfError {
        ElfError::Malformed { path: self.path.clone(), what: what.to_owned() }
    }
}

/// The bytes from `at` up to the next NUL, or to the end.
pub(crate) fn string_at(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.split(|byte| *byte == 0).next().unwrap_or_default()
}
