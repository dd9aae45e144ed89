//! What is always true of what is read from notes and operands, whatever these are.

use memtrial_symbols::probes::operand::{self, Globals};
use memtrial_symbols::probes::{Argument, Operand, notes};

/// Two variables are known; the name `MANY` is that of several.
struct Known {
    fixed: bool,
}

impl Globals for Known {
    fn address(&mut self, name: &str) -> Result<u64, String> {
        match name {
            "NBuffers" => Ok(0x1000),
            "stats.0" => Ok(u64::MAX),
            _ => Err("unknown".to_owned()),
        }
    }

    fn fixed(&self) -> bool {
        self.fixed
    }
}

/// Judges what is read of the notes of a section, and of their arguments.
pub fn judge_notes(bytes: &[u8]) {
    let (notes, damage) = notes::parse(bytes);
    let texts = notes.iter().map(|note| note.provider.len().min(1) + note.name.len().min(1)).sum::<usize>();
    assert_eq!(texts, 2 * notes.len(), "a note without a name");
    // Each has a header; what is cut off can be shorter, and is the last.
    assert!(notes.len() * 12 <= bytes.len(), "more notes than there is room for");
    assert!(damage.len() <= bytes.len() / 12 + 1, "more damage than there is room for");
    for note in notes {
        judge_operands(&note.arguments);
    }
}

/// Judges what is read of the arguments of a note.
pub fn judge_operands(text: &str) {
    for fixed in [false, true] {
        let arguments = operand::parse(text, &mut Known { fixed });
        let mut rest = text;
        for argument in &arguments {
            judge_argument(argument);
            let at = rest.find(&argument.text).expect("arguments are pieces of the text, in their order");
            rest = &rest[at + argument.text.len()..];
            let again = operand::parse(&argument.text, &mut Known { fixed });
            assert_eq!(again, std::slice::from_ref(argument), "an argument alone is what it is among others");
        }
    }
}

fn judge_argument(argument: &Argument) {
    assert!(matches!(argument.bytes, 1 | 2 | 4 | 8), "{argument:?}");
    match &argument.operand {
        Operand::Constant(number) if argument.bytes < 8 => {
            let bits = 8 * u32::from(argument.bytes);
            let range = if argument.signed { -(1 << (bits - 1))..1 << (bits - 1) } else { 0..1i64 << bits };
            assert!(range.contains(number), "{argument:?}");
        }
        Operand::Register { high: true, .. } => assert_eq!(argument.bytes, 1, "{argument:?}"),
        Operand::Memory { index: Some((_, scale)), .. } => {
            assert!(matches!(scale, 1 | 2 | 4 | 8), "{argument:?}");
        }
        Operand::Unfetchable(why) => assert!(!why.is_empty(), "{argument:?}"),
        _ => {}
    }
}
