//! What makes a file unreadable as a recording.

use std::io;
use std::path::PathBuf;

/// A file that can't be read as a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It can't be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no recording, but {what}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
    },
    /// It is of another version of the format.
    #[error("{} is a recording of version {found}; this memtrial reads version {}", path.display(), memtrial_wire::recording::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Its head or its table is damaged.
    #[error("{} is a damaged recording: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What a file that begins with these bytes seems to be.
pub(super) fn seems_to_be(bytes: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 9] = [
        (b"\x7fELF", "an ELF file"),
        (b"\x1f\x8b", "compressed by gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
        (b"\xfd7zXZ", "compressed by xz"),
        (b"\xc1\x1f\xfc\xc1", "a stream in the Common Trace Format"),
        (b"\xf6\xc7\x70\x91\xf2\x0b\x2d\xf2", "a trace of QEMU's simple backend"),
        (b"PERFILE2", "a recording of perf"),
        (b"/* CTF", "metadata in the Common Trace Format"),
        (b"#!", "a script"),
    ];
    if bytes.is_empty() {
        return "empty";
    }
    if let Some((_, what)) = KNOWN.iter().find(|(start, _)| bytes.starts_with(start)) {
        return what;
    }
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    if bytes.iter().all(printable) { "text" } else { "data of another kind" }
}
