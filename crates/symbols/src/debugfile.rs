//! Finding the separate files that hold the debug information of a stripped program or library.
//!
//! The places and their order are those of gdb ("Debugging Information in Separate Files" in its manual).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::image::{Image, string_at};

/// Where distributions install separate debug files.
pub(crate) const INSTALLED: &str = "/usr/lib/debug";

/// A search for debug files, and what was wrong with those that it had to pass over.
pub(crate) struct Search<'a> {
    pub roots: &'a [PathBuf],
    pub complaints: Vec<String>,
}

impl Search<'_> {
    /// The debug file of a module: by its build id, else by the name that the module gives.
    pub fn debug_file(&mut self, module: Option<&Image>, build_id: Option<&[u8]>) -> Option<Image> {
        let by_id = build_id.and_then(|id| self.by_build_id(id));
        by_id.or_else(|| self.by_link(module?))
    }

    /// The file that holds what `dwz` moved out of several debug files into one.
    pub fn supplementary(&mut self, debug: &Image) -> Option<Image> {
        let link = self.section(debug, ".gnu_debugaltlink")?;
        let name = string_at(&link, 0);
        let id = link.get(name.len() + 1..).unwrap_or_default();
        let named = Path::new(std::ffi::OsStr::from_bytes(name));
        let mut places = Vec::new();
        if named.is_absolute() {
            places.push(named.to_owned());
            places.extend(self.roots.iter().map(|root| beneath(root, named)));
        } else {
            // The link is relative to the debug file itself, not to a symbolic link to it.
            let real = debug.path.canonicalize().unwrap_or_else(|_| debug.path.clone());
            places.extend(real.parent().map(|folder| folder.join(named)));
        }
        places.extend(self.build_id_places(id));
        let found = places.iter().find_map(|place| self.open_matching(place, id));
        if found.is_none() {
            let (debug, name) = (debug.path.display(), named.display());
            self.complaints.push(format!("{debug} needs {name}, which is not installed or does not match"));
        }
        found
    }

    fn by_build_id(&mut self, id: &[u8]) -> Option<Image> {
        let places = self.build_id_places(id);
        places.iter().find_map(|place| self.open_matching(place, id))
    }

    fn build_id_places(&self, id: &[u8]) -> Vec<PathBuf> {
        let Some((first, rest)) = id.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            return Vec::new();
        };
        let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        let relative = format!(".build-id/{first:02x}/{rest}.debug");
        self.roots.iter().map(|root| root.join(&relative)).collect()
    }

    /// Opens `place` if it exists, is readable and has the build id `id`.
    fn open_matching(&mut self, place: &Path, id: &[u8]) -> Option<Image> {
        let image = self.open(place)?;
        // A damaged file is kept: what is wrong with it is told when it is read.
        if image.section_damage.is_none() && image.build_id().is_some_and(|own| own != id) {
            self.complaints.push(format!("{} has another build id than its name says", place.display()));
            return None;
        }
        Some(image)
    }

    fn by_link(&mut self, module: &Image) -> Option<Image> {
        let link = self.section(module, ".gnu_debuglink")?;
        let name = string_at(&link, 0);
        // The checksum follows the name and its NUL, at the next multiple of four.
        let checksum = module.layout.number(&link, (name.len() + 1).next_multiple_of(4), 4)? as u32;
        if name.is_empty() || name.contains(&b'/') {
            return None;
        }
        let name = std::ffi::OsStr::from_bytes(name);
        let real = module.path.canonicalize().unwrap_or_else(|_| module.path.clone());
        let folder = real.parent()?;
        let mut places = vec![folder.join(name), folder.join(".debug").join(name)];
        places.extend(self.roots.iter().map(|root| beneath(root, folder).join(name)));
        places.retain(|place| *place != real);
        places.iter().find_map(|place| {
            let image = self.open(place)?;
            match crc32(place) {
                Ok(found) if found == checksum => Some(image),
                Ok(_) => {
                    let (place, module) = (place.display(), module.path.display());
                    self.complaints.push(format!("{place} does not match {module} (wrong checksum)"));
                    None
                }
                Err(error) => {
                    self.complaints.push(format!("cannot read {}: {error}", place.display()));
                    None
                }
            }
        })
    }

    fn open(&mut self, place: &Path) -> Option<Image> {
        if !place.exists() {
            return None;
        }
        Image::open(place).map_err(|error| self.complaints.push(error.to_string())).ok()
    }

    fn section(&mut self, image: &Image, name: &str) -> Option<std::sync::Arc<[u8]>> {
        let contents = image.contents(image.section(name)?);
        contents.map_err(|error| self.complaints.push(error.to_string())).ok()
    }
}

fn beneath(root: &Path, absolute: &Path) -> PathBuf {
    root.join(absolute.strip_prefix("/").unwrap_or(absolute))
}

/// The checksum that `.gnu_debuglink` uses, the CRC-32 of zlib.
fn crc32(path: &Path) -> io::Result<u32> {
    const TABLE: [u32; 256] = crc_table();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut crc = u32::MAX;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(!crc);
        }
        for byte in &buffer[..read] {
            crc = TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8;
        }
    }
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}
