//! Where in a function a probe costs least while its arguments are still in their registers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What instructions can be passed over at the beginning of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Only what does nothing, so that the probe sees every call, and the stack pointer at the return address.
    Nothing,
    /// A test of the first argument for null as well: such calls do not matter.
    NullTest,
}

const LONGEST: usize = 4 + 3 + 6 + 2;
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const TEST_RDI_RDI: [u8; 3] = [0x48, 0x85, 0xff];

/// The offset in `file` to put a probe on the function that begins at `offset` and has `size` bytes.
///
/// The kernel emulates a `push`, but runs other instructions out of line, which takes ten times as long.
pub fn offset(file: &Path, offset: u64, size: u64, skip: Skip) -> u64 {
    let mut code = [0; LONGEST];
    let read = File::open(file).and_then(|file| file.read_exact_at(&mut code, offset));
    let end = usize::try_from(size).unwrap_or(LONGEST).min(LONGEST);
    match (read, code.get(..end)) {
        (Ok(()), Some(code)) => offset + passed_over(code, skip) as u64,
        _ => offset,
    }
}

/// How many bytes at the beginning of `code` a probe may be put behind; 0 unless a `push` follows them.
fn passed_over(code: &[u8], skip: Skip) -> usize {
    let behind_mark = code.strip_prefix(&ENDBR64).unwrap_or(code);
    let begins = |rest: &[u8]| begins_with_push(rest).then_some(code.len() - rest.len());
    let tested = || {
        let rest = behind_mark.strip_prefix(&TEST_RDI_RDI)?;
        let taken_if_null = match rest {
            [0x74, _, rest @ ..] => rest,
            [0x0f, 0x84, _, _, _, _, rest @ ..] => rest,
            _ => return None,
        };
        begins(taken_if_null)
    };
    let tested = if skip == Skip::NullTest { tested() } else { None };
    tested.or_else(|| begins(behind_mark)).unwrap_or(0)
}

/// `push` of a register, in both encodings.
fn begins_with_push(code: &[u8]) -> bool {
    matches!(code, [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_goes_to_the_first_push_if_nothing_is_lost() {
        let glibc_free = [0x48, 0x85, 0xff, 0x0f, 0x84, 0xbf, 0, 0, 0, 0x55, 0x48, 0x8d, 0x77, 0xf0, 0x53];
        assert_eq!(passed_over(&glibc_free, Skip::NullTest), 9);
        assert_eq!(passed_over(&glibc_free, Skip::Nothing), 0);
        let short_jump = [0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x85, 0xff, 0x74, 0x10, 0x41, 0x54, 0, 0, 0, 0];
        assert_eq!(passed_over(&short_jump, Skip::NullTest), 9);
        let marked = [0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x54, 0x55];
        assert_eq!((passed_over(&marked, Skip::Nothing), passed_over(&marked, Skip::NullTest)), (4, 4));
        for other in [
            &[0x48, 0x89, 0xf9, 0x55][..],
            &[0x48, 0x85, 0xff, 0x74],
            &[0x48, 0x85, 0xff, 0x75, 2, 0x55],
            &[],
        ] {
            assert_eq!(passed_over(other, Skip::NullTest), 0);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_probed_where_the_function_begins() {
        assert_eq!(offset(Path::new("/nonexistent"), 77, 100, Skip::NullTest), 77);
        assert_eq!(offset(Path::new("/bin/true"), u64::MAX / 2, 100, Skip::NullTest), u64::MAX / 2);
    }
}
