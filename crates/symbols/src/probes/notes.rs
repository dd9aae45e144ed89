//! The notes of static probes, as they stand in the file.

/// The name that all notes of static probes bear.
const OWNER: &[u8] = b"stapsdt\0";
/// The type of a note of a static probe.
const STATIC_PROBE: u64 = 3;

/// A note of a static probe of a 64-bit little-endian file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where the probe was when the file was linked.
    pub pc: u64,
    /// Where `.stapsdt.base` was then.
    pub base: u64,
    /// Where the semaphore was then; 0 if there is none.
    pub semaphore: u64,
    /// Who provides the probe.
    pub provider: String,
    /// The probe.
    pub name: String,
    /// Its arguments, separated by blanks.
    pub arguments: String,
}

/// Reads the notes of static probes among the notes of a section or segment, and what is wrong with them.
///
/// Notes of others are passed over. Where one is cut off, nothing tells where the next begins, and reading ends.
#[must_use]
pub fn parse(bytes: &[u8]) -> (Vec<Note>, Vec<String>) {
    let (mut notes, mut damage) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        // Linkers fill gaps between sections with zeros; every note of ours has an owner.
        if bytes[at..].iter().take(4).all(|byte| *byte == 0) {
            at += 4;
            continue;
        }
        let Some(raw) = Raw::at(bytes, at) else {
            damage.push(format!("the note at byte {at} is cut off"));
            break;
        };
        if raw.owner == OWNER {
            match raw.probe() {
                Ok(note) => notes.push(note),
                Err(what) => damage.push(format!("the note at byte {at} {what}")),
            }
        }
        at = raw.next;
    }
    (notes, damage)
}

/// A note of any kind.
struct Raw<'a> {
    owner: &'a [u8],
    kind: u64,
    contents: &'a [u8],
    next: usize,
}

impl Raw<'_> {
    fn at(bytes: &[u8], at: usize) -> Option<Raw<'_>> {
        let field = |index: usize| number(bytes, at.checked_add(index * 4)?, 4);
        let (owner_size, size) = (usize::try_from(field(0)?).ok()?, usize::try_from(field(1)?).ok()?);
        let owner_at = at.checked_add(12)?;
        let owner = bytes.get(owner_at..owner_at.checked_add(owner_size)?)?;
        let contents_at = owner_at.checked_add(owner_size.checked_next_multiple_of(4)?)?;
        let end = contents_at.checked_add(size)?;
        let contents = bytes.get(contents_at..end)?;
        Some(Raw { owner, kind: field(2)?, contents, next: end.checked_next_multiple_of(4)? })
    }

    fn probe(&self) -> Result<Note, String> {
        if self.kind != STATIC_PROBE {
            return Err(format!("is of the unknown type {}", self.kind));
        }
        let word = |index: usize| number(self.contents, index * 8, 8);
        let (Some(pc), Some(base), Some(semaphore)) = (word(0), word(1), word(2)) else {
            return Err("is too short".to_owned());
        };
        let mut texts = self.contents.get(24..).unwrap_or_default().split(|byte| *byte == 0);
        let mut text = || texts.next().map(|text| String::from_utf8_lossy(text).into_owned());
        let (provider, name) = (text().unwrap_or_default(), text().unwrap_or_default());
        if provider.is_empty() || name.is_empty() {
            return Err("has no name".to_owned());
        }
        Ok(Note { pc, base, semaphore, provider, name, arguments: text().unwrap_or_default() })
    }
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(owner: &[u8], kind: u32, contents: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [owner.len() as u32, contents.len() as u32, kind] {
            bytes.extend(field.to_le_bytes());
        }
        for part in [owner, contents] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn probe(texts: &[u8]) -> Vec<u8> {
        let words = [0x1000u64, 0x2000, 0x3000].map(u64::to_le_bytes).concat();
        note(OWNER, 3, &[&words, texts].concat())
    }

    #[test]
    fn notes_of_others_and_gaps_are_passed_over() {
        let bytes = [
            note(b"GNU\0", 3, b"build id"),
            probe(b"postgresql\0query__start\x008@%rdi\0"),
            vec![0; 4],
            probe(b"a\0b-c\0\0"),
        ]
        .concat();
        let (notes, damage) = parse(&bytes);
        assert_eq!(damage, Vec::<String>::new());
        let names: Vec<_> = notes.iter().map(|n| (&*n.provider, &*n.name, &*n.arguments)).collect();
        assert_eq!(names, [("postgresql", "query__start", "8@%rdi"), ("a", "b-c", "")]);
        assert_eq!((notes[0].pc, notes[0].base, notes[0].semaphore), (0x1000, 0x2000, 0x3000));
    }

    #[test]
    fn what_is_wrong_is_told_and_the_rest_is_read() {
        let good = probe(b"a\0b\0\0");
        for (bad, what, rest) in [
            (note(OWNER, 3, b"short"), "the note at byte 0 is too short", 1),
            (note(OWNER, 7, &[1; 40]), "the note at byte 0 is of the unknown type 7", 1),
            (probe(b"\0b\0"), "the note at byte 0 has no name", 1),
            (probe(b"a"), "the note at byte 0 has no name", 1),
            (vec![0xff; 20], "the note at byte 0 is cut off", 0),
        ] {
            let (notes, damage) = parse(&[bad, good.clone()].concat());
            assert_eq!((damage, notes.len()), (vec![what.to_owned()], rest));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(8), any::<u8>()], 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn damaged_notes_are_survived(cut in 0..200usize, at in 0..100usize, value: u8) {
            let mut bytes = [probe(b"a\0b\x008@%rdi\0"), probe(b"c\0d\0\0")].concat();
            bytes[at] = value;
            bytes.truncate(cut);
            let (notes, _) = parse(&bytes);
            prop_assert!(notes.len() <= 2);
        }
    }
}
