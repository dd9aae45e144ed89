//! Open files made private in a snapshot, so that it disturbs neither its parent nor its siblings.

use memtrial_wire::layout::{Control, Obstacle};

use crate::system::{self, FileFacts};

/// Most descriptors that a snapshot is made with.
const MOST: usize = 256;

const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const BLOCK_DEVICE: u32 = 0o060_000;

/// A descriptor, and what a snapshot does about it.
#[derive(Clone, Copy)]
struct Descriptor {
    fd: u64,
    facts: FileFacts,
    flags: u64,
    position: u64,
}

/// The open descriptors of the target.
pub struct Descriptors {
    list: [Descriptor; MOST],
    length: usize,
}

impl Descriptors {
    /// Lists what is open, if all of it can be made private in a clone.
    pub fn list(control: &Control) -> Result<Descriptors, Obstacle> {
        let none = Descriptor {
            fd: 0,
            facts: FileFacts { id: [0; 2], links: 0, mode: 0, device: 0 },
            flags: 0,
            position: 0,
        };
        let mut descriptors = Descriptors { list: [none; MOST], length: 0 };
        let flags = system::O_DIRECTORY | system::O_CLOEXEC;
        let folder = system::open(b"/proc/self/fd\0", flags).map_err(|_| Obstacle::Unlisted)?;
        let result = descriptors.read(folder, control);
        system::close(folder);
        result.map(|()| descriptors)
    }

    fn read(&mut self, folder: u64, control: &Control) -> Result<(), Obstacle> {
        let mut buffer = [0u8; 2048];
        loop {
            let length = system::getdents(folder, &mut buffer).map_err(|_| Obstacle::Unlisted)?;
            if length == 0 {
                return Ok(());
            }
            let mut entries = &buffer[..length];
            // An entry of getdents64: inode, offset, its length at 16, type, and the name at 19.
            while let Some(&[low, high]) = entries.get(16..18) {
                let entry_length = usize::from(u16::from_le_bytes([low, high]));
                let fd = number(entries.get(19..entry_length).ok_or(Obstacle::Unlisted)?);
                entries = entries.get(entry_length..).ok_or(Obstacle::Unlisted)?;
                if let Some(fd) = fd.filter(|&fd| fd != folder) {
                    self.add(fd, control)?;
                }
            }
        }
    }

    fn add(&mut self, fd: u64, control: &Control) -> Result<(), Obstacle> {
        let facts = system::fstat(fd).map_err(|_| Obstacle::Unlisted)?;
        let flags = system::file_flags(fd).map_err(|_| Obstacle::Unlisted)?;
        if flags & system::O_PATH != 0 {
            return Ok(());
        }
        match facts.mode & TYPE {
            REGULAR if flags & system::O_ACCMODE != 0 && !control.outputs.contains(&facts.id) => {
                return Err(Obstacle::Writable);
            }
            REGULAR | FOLDER => {}
            CHARACTER_DEVICE if is_stateless(facts.device) => return Ok(()),
            CHARACTER_DEVICE | BLOCK_DEVICE => return Err(Obstacle::Device),
            _ => return Err(Obstacle::Descriptor),
        }
        let position = system::lseek(fd, 0, 1).map_err(|_| Obstacle::Unlisted)?;
        let room = self.list.get_mut(self.length).ok_or(Obstacle::Unlisted)?;
        *room = Descriptor { fd, facts, flags, position };
        self.length += 1;
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &Descriptor> {
        self.list[..self.length].iter()
    }

    /// How far the target had written stdout and stderr.
    pub fn written(&self, control: &Control) -> [u64; 2] {
        control
            .outputs
            .map(|id| self.iter().filter(|d| d.facts.id == id).map(|d| d.position).max().unwrap_or(0))
    }

    /// In the snapshot: makes every descriptor its own. False if one can't be.
    pub fn make_private(&self, slot: usize, control: &Control) -> bool {
        (0..self.length).all(|i| {
            let descriptor = &self.list[i];
            let earlier = self.list[..i].iter().find(|other| shares_open_file(descriptor, other));
            match earlier {
                // Two names of one open file stay two names of one.
                Some(other) => replace(other.fd, descriptor.fd, false),
                None => reopen(descriptor, slot, control),
            }
        })
    }
}

/// Whether two descriptors were names of one open file in the target. `other` has been replaced already, so the
/// kernel can't be asked: same file, same place and same flags is as near as one gets.
fn shares_open_file(one: &Descriptor, other: &Descriptor) -> bool {
    one.facts.id == other.facts.id && one.position == other.position && one.flags == other.flags
}

fn reopen(descriptor: &Descriptor, slot: usize, control: &Control) -> bool {
    let output = control.outputs.iter().position(|&id| id == descriptor.facts.id);
    let opened = match output {
        Some(which) => system::open(
            Path::of_slot(control, slot, which).bytes(),
            system::O_RDWR | system::O_TRUNC | system::O_CLOEXEC,
        ),
        None => {
            let flags = descriptor.flags & !system::O_NOFOLLOW | system::O_CLOEXEC;
            system::open(Path::of_descriptor(descriptor.fd).bytes(), flags)
        }
    };
    let Ok(opened) = opened else { return false };
    system::lseek(opened, descriptor.position, 0).is_ok() && replace(opened, descriptor.fd, true)
}

/// Puts `from` in the place of `to`, which keeps whether it is closed at exec.
fn replace(from: u64, to: u64, close_from: bool) -> bool {
    let at_exec = system::descriptor_flags(to).unwrap_or(0) & 1;
    let done = system::dup3(from, to, at_exec * system::O_CLOEXEC).is_ok();
    if close_from {
        system::close(from);
    }
    done
}

/// The memory devices that keep no state: null, zero, full, random, urandom.
fn is_stateless(device: u64) -> bool {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff);
    major == 1 && matches!(minor, 3 | 5 | 7 | 8 | 9)
}

/// The number that a NUL-terminated name spells; `None` for `.` and `..`.
fn number(name: &[u8]) -> Option<u64> {
    let digits = name.split(|&c| c == 0).next()?;
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, &c| c.is_ascii_digit().then(|| n * 10 + u64::from(c - b'0')))
}

/// A NUL-terminated path on the stack.
struct Path {
    bytes: [u8; 300],
    length: usize,
}

impl Path {
    fn of_slot(control: &Control, slot: usize, output: usize) -> Path {
        let mut path = Path { bytes: [0; 300], length: 0 };
        path.push(control.slot_folder.split(|&c| c == 0).next().unwrap_or(&[]));
        path.push(b"/");
        path.push_number(slot as u64);
        path.push(if output == 0 { b".stdout" } else { b".stderr" });
        path
    }

    fn of_descriptor(fd: u64) -> Path {
        let mut path = Path { bytes: [0; 300], length: 0 };
        path.push(b"/proc/self/fd/");
        path.push_number(fd);
        path
    }

    fn push(&mut self, text: &[u8]) {
        // One byte always stays NUL.
        let room = self.bytes.len() - 1 - self.length;
        let text = &text[..text.len().min(room)];
        self.bytes[self.length..self.length + text.len()].copy_from_slice(text);
        self.length += text.len();
    }

    fn push_number(&mut self, mut n: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..=self.length]
    }
}
