//! What the tests of this crate share: a folder to build small programs in, and damaged bytes.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;

/// A folder that vanishes with the test.
pub struct Workshop(TempDir);

impl Workshop {
    pub fn new() -> Workshop {
        Workshop(tempfile::tempdir().expect("a writable temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, contents).expect("a writable temporary folder");
        path
    }

    /// Compiles C, or C++ when `name` ends so, into an executable beside its source.
    pub fn compile(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let source = self.write(name, source.as_bytes());
        let program = source.with_extension("exe");
        let compiler = if name.ends_with(".cpp") { "g++" } else { "gcc" };
        self.run(Command::new(compiler).arg("-w").arg(&source).args(flags).arg("-o").arg(&program));
        program
    }

    pub fn run(&self, command: &mut Command) -> String {
        let output = command.current_dir(self.path()).output().expect("the tests need gcc and binutils");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The address of a symbol in an executable, as `nm` sees it.
    pub fn address_of(&self, program: &Path, symbol: &str) -> u64 {
        let listing = self.run(Command::new("nm").arg(program));
        let line = listing.lines().find(|line| line.ends_with(&format!(" {symbol}")));
        let address = line.and_then(|line| line.split(' ').next()).expect("the symbol is there");
        u64::from_str_radix(address, 16).expect("nm prints hexadecimal")
    }
}

/// `bytes` with some of them changed, mostly in the headers and the part named, and perhaps cut off.
pub fn mutated(bytes: Vec<u8>, part: Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let len = bytes.len();
    let tail = len.saturating_sub(4096)..len;
    let anywhere = prop_oneof![1 => 0..64usize.min(len), 1 => 0..len, 1 => tail, 6 => part];
    let value = prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    let edits = proptest::collection::vec((anywhere, value, 1..9usize), 0..40);
    let cut = prop_oneof![9 => Just(len), 1 => 0..=len];
    (edits, cut).prop_map(move |(edits, cut)| {
        let mut bytes = bytes.clone();
        for (at, value, count) in edits {
            let end = (at + count).min(len);
            bytes[at..end].fill(value);
        }
        bytes.truncate(cut);
        bytes
    })
}
