//! The memory map of a process, as `/proc/PID/maps` shows it (proc(5)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the kernel adds to the path of a file that was removed.
const DELETED: &[u8] = b" (deleted)";

/// One line of `/proc/PID/maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file; or what the kernel calls the memory, such as `[stack]`; or empty. A file that was
    /// removed since ends in ` (deleted)`.
    pub path: PathBuf,
    /// Whether code in it may run.
    pub executable: bool,
}

impl Mapping {
    /// Whether `address` is in it.
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// The name of its file, also of one that was removed since.
    pub fn file_name(&self) -> Option<&OsStr> {
        file_name(&self.path)
    }

    /// Whether its file was removed since.
    pub fn is_deleted(&self) -> bool {
        self.path.as_os_str().as_bytes().ends_with(DELETED)
    }
}

/// The file name of a path in a memory map, also of a file that was removed since.
pub fn file_name(mapped: &Path) -> Option<&OsStr> {
    let name = mapped.file_name()?.as_bytes();
    Some(OsStr::from_bytes(name.strip_suffix(DELETED).unwrap_or(name)))
}

/// Parses `/proc/PID/maps`. Lines that make no sense are left out.
pub fn parse_maps(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mapping> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (permissions, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let (_device, rest) = rest.split_once(' ')?;
    let (_inode, path) = rest.split_once(' ').unwrap_or((rest, ""));
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    let mapping = Mapping {
        start,
        end,
        offset: hexadecimal(offset)?,
        // The kernel pads with spaces and escapes newlines, but nothing else.
        path: PathBuf::from(path.trim_start_matches(' ').replace("\\012", "\n")),
        executable: permissions.contains('x'),
    };
    (start < end).then_some(mapping)
}

fn hexadecimal(digits: &str) -> Option<u64> {
    // `from_str_radix` would also take a sign.
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_line_is_understood() {
        let text = "\
55d0c8a00000-55d0c8a02000 r-xp 00002000 fe:01 131100                     /usr/bin/with space
7f0000000000-7f0000001000 rw-p 00000000 00:00 0 
7f0000002000-7f0000003000 r--p 0001a000 fe:01 42                         /tmp/a\\012b (deleted)
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";
        let maps = parse_maps(text);
        let paths: Vec<&Path> = maps.iter().map(|mapping| mapping.path.as_path()).collect();
        let expected = ["/usr/bin/with space", "", "/tmp/a\nb (deleted)", "[vsyscall]"];
        assert_eq!(paths, expected.map(Path::new));
        let names: Vec<_> = maps.iter().map(Mapping::file_name).collect();
        let expected = [Some("with space"), None, Some("a\nb"), Some("[vsyscall]")];
        assert_eq!(names, expected.map(|name| name.map(OsStr::new)));
        assert_eq!(maps.iter().map(Mapping::is_deleted).collect::<Vec<_>>(), [false, false, true, false]);
        assert_eq!(maps.iter().map(|m| m.executable).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!((maps[0].start, maps[0].end, maps[0].offset), (0x55d0c8a00000, 0x55d0c8a02000, 0x2000));
    }

    #[test]
    fn nonsense_is_left_out() {
        assert_eq!(parse_maps("\n-\nzz-1 r 0 0 0\n2-1 r-xp 0 0:0 0\n+1-+2 r-xp 0 0:0 0\n1-2 r-xp"), []);
    }

    #[test]
    fn our_own_map_has_our_own_code() {
        let text = std::fs::read_to_string("/proc/self/maps").expect("procfs");
        let maps = parse_maps(&text);
        assert_eq!(maps.len(), text.lines().count());
        assert!(
            maps.iter().any(|mapping| mapping.contains(parse_maps as *const () as u64) && mapping.executable)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "([0-9a-f]{0,17}[- ]?[rwxp-]{0,5} ?[^\n]{0,20}\n?){0,5}") {
            for mapping in parse_maps(&text) {
                prop_assert!(mapping.start < mapping.end);
            }
        }

        #[test]
        fn what_is_printed_is_parsed(start in 0..u64::MAX, len in 1u64..1 << 40, offset: u64, path in "(|/[ -Z^-~]{0,30}[!-Z])") {
            let end = start.saturating_add(len);
            let line = format!("{start:08x}-{end:08x} r-xp {offset:08x} 00:00 7   {path}");
            let expected = Mapping { start, end, offset, path: path.into(), executable: true };
            prop_assert_eq!(parse_maps(&line), [expected]);
        }
    }
}
