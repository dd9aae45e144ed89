//! Where the control group of a process is in the file system, from `/proc/self/mountinfo` and `/proc/PID/cgroup`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// A version of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// The hierarchy of the memory controller (cgroups(7), "cgroups version 1").
    One,
    /// The unified hierarchy.
    Two,
}

/// Where a hierarchy of control groups is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub version: Version,
    /// Which group of the hierarchy is seen at `point`.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
}

impl Mount {
    /// The folder of a group, if it can be seen below this mount.
    pub fn folder(&self, group: &Path) -> Option<PathBuf> {
        let below = group.strip_prefix(&self.root).ok()?;
        // A group outside of the namespace of this process is told by its way there, `/../other`.
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        plain.then(|| self.point.join(below))
    }
}

/// The mounts of the unified hierarchy, and of the first version's memory controller (`/proc/PID/mountinfo`, proc(5)).
pub(super) fn mounts(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ').filter(|field| !field.is_empty());
    let root = path_of(fields.nth(3)?);
    let point = path_of(fields.next()?);
    // Any number of optional fields ends with a hyphen.
    fields.find(|field| *field == b"-")?;
    let kind = fields.next()?;
    let options = fields.nth(1)?;
    let has_memory = options.split(|&byte| byte == b',').any(|option| option == b"memory");
    let version = match kind {
        b"cgroup2" => Version::Two,
        b"cgroup" if has_memory => Version::One,
        _ => return None,
    };
    Some(Mount { version, root, point })
}

/// A path in which spaces, tabs, newlines and backslashes are written as `\040` and so on.
fn path_of(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits {
            Some(digits) if first == b'\\' => {
                path.push(digits.iter().fold(0u8, |byte, digit| byte.wrapping_mul(8) | (digit - b'0')));
                rest = &tail[3..];
            }
            _ => {
                path.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

/// The group that a process is in (`/proc/PID/cgroup`).
pub(super) fn membership(text: &[u8], version: Version) -> Option<PathBuf> {
    text.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |&byte| byte == b':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let fits = match version {
            Version::Two => number == b"0" && controllers.is_empty(),
            Version::One => controllers.split(|&byte| byte == b',').any(|name| name == b"memory"),
        };
        (fits && path.starts_with(b"/")).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(path)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIXED: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:1 - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
41 31 0:38 /a\\040b /sys/fs/cgroup/uni\\134fied rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn both_versions_are_found_among_other_mounts() {
        let expected = [
            (Version::One, "/", "/sys/fs/cgroup/memory"),
            (Version::Two, "/a b", "/sys/fs/cgroup/uni\\fied"),
        ];
        let found = mounts(MIXED.as_bytes());
        let found: Vec<_> = found
            .iter()
            .map(|mount| (mount.version, mount.root.to_str().unwrap(), mount.point.to_str().unwrap()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_group_is_found_below_the_mount_that_shows_it() {
        let mount = |root: &str| Mount { version: Version::One, root: root.into(), point: "/cg".into() };
        assert_eq!(mount("/").folder(Path::new("/a/b")), Some("/cg/a/b".into()));
        assert_eq!(mount("/a").folder(Path::new("/a/b")), Some("/cg/b".into()));
        assert_eq!(mount("/a").folder(Path::new("/a")), Some("/cg".into()));
        assert_eq!(mount("/a").folder(Path::new("/ab")), None);
        assert_eq!(mount("/").folder(Path::new("/../x")), None);
    }

    #[test]
    fn a_process_is_in_one_group_of_each_hierarchy() {
        let text = b"9:name=systemd:/\n4:cpu,memory:/a:b\n0::/user.slice\n";
        assert_eq!(membership(text, Version::One), Some("/a:b".into()));
        assert_eq!(membership(text, Version::Two), Some("/user.slice".into()));
        assert_eq!(membership(b"0::/\n", Version::One), None);
        assert_eq!(membership(b"", Version::Two), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in prop::collection::vec(any::<u8>(), 0..300)) {
            for mount in mounts(&text) {
                let _ = mount.folder(Path::new("/a"));
            }
            let _ = (membership(&text, Version::One), membership(&text, Version::Two));
        }

        #[test]
        fn any_group_of_a_line_that_is_well_formed_is_found(
            path in "(/[a-z :.@]{1,9}){1,4}",
            other in "[a-z]{1,8}",
        ) {
            let text = format!("7:{other}x:/no\n4:memory:{path}\n0::{path}\n");
            prop_assert_eq!(membership(text.as_bytes(), Version::One), Some(PathBuf::from(&path)));
            prop_assert_eq!(membership(text.as_bytes(), Version::Two), Some(PathBuf::from(&path)));
        }

        #[test]
        fn any_point_is_read_as_the_kernel_writes_it(name in "[a-z \\\\\t0-9]{1,12}") {
            let escaped: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\{:03o}", c as u32) })
                .collect();
            let line = format!("1 2 0:3 / /{escaped} rw - cgroup2 none rw\n");
            prop_assert_eq!(&mounts(line.as_bytes())[0].point, &PathBuf::from(format!("/{name}")));
        }
    }
}
