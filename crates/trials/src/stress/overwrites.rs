//! Chunks that were found overwritten, with names for the frames of their stacks.

use memtrial_report::model::Frame;
use memtrial_report::stress::{Overwrite, Relation, Suspect};
use memtrial_symbols::symbolize::Symbolizer;

use super::answers::{Entry, Suspected};
use crate::census::{AGENT_FILE, named_frames};

/// What the agent has found, as the report has it.
pub fn describe(entries: &[Entry], symbolizer: &mut Symbolizer) -> Vec<Overwrite> {
    let overwrite = |entry: &Entry| Overwrite {
        address: entry.address.clone(),
        size: entry.size,
        offset: entry.offset,
        length: entry.length,
        expected: entry.expected.clone(),
        found: entry.found.clone(),
        test: entry.test,
        number: entry.number,
        stack: stack(&entry.stack, symbolizer),
        suspects: entry.suspects.iter().filter_map(|one| suspect(one, symbolizer)).collect(),
    };
    entries.iter().map(overwrite).collect()
}

fn suspect(suspected: &Suspected, symbolizer: &mut Symbolizer) -> Option<Suspect> {
    let relation = match suspected.relation.as_str() {
        "before" => Relation::Before,
        "freed" => Relation::Freed,
        // One of a kind that this version does not know is nothing that can be said.
        _ => return None,
    };
    Some(Suspect {
        relation,
        address: suspected.address.clone(),
        size: suspected.size,
        site: suspected.site.clone(),
        stack: stack(&suspected.stack, symbolizer),
    })
}

/// Frames from texts as `PATH+0xOFFSET`, innermost first; the agent's own in front are left out, if others are there.
fn stack(texts: &[String], symbolizer: &mut Symbolizer) -> Vec<Frame> {
    let places: Vec<(&str, u64)> = texts.iter().map(|text| place(text)).collect();
    let is_agent = |path: &str| path.rsplit('/').next() == Some(AGENT_FILE);
    let theirs: Vec<_> = places.iter().filter(|(path, _)| !is_agent(path)).copied().collect();
    let shown = if theirs.is_empty() { places } else { theirs };
    shown.iter().flat_map(|(path, offset)| named_frames(path, &[], *offset, true, symbolizer)).collect()
}

/// Module and offset; a text without an offset is an address, or unknown.
fn place(text: &str) -> (&str, u64) {
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    if let Some((path, digits)) = text.rsplit_once("+0x")
        && let Some(offset) = number(digits)
    {
        return (path, offset);
    }
    ("", text.strip_prefix("0x").and_then(number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_are_a_path_and_an_offset() {
        assert_eq!(place("/usr/lib/x+0x1f.so+0x10"), ("/usr/lib/x+0x1f.so", 16));
        assert_eq!(place("0x7f00"), ("", 0x7f00));
        assert_eq!(place("/bin/x+0xzz"), ("", 0));
    }

    #[test]
    fn the_agents_own_frames_are_left_out_of_a_stack() {
        let texts = ["/dev/shm/memtrial-1/memtrial-agent.so+0x10", "/no/such/program+0x20"];
        let mut symbolizer = Symbolizer::new();
        let frames = |texts: &[&str], symbolizer: &mut Symbolizer| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            stack(&texts, symbolizer).iter().map(|frame| frame.offset).collect::<Vec<_>>()
        };
        assert_eq!(frames(&texts, &mut symbolizer), [0x20]);
        assert_eq!(frames(&texts[..1], &mut symbolizer), [0x10]);
    }

    #[test]
    fn a_suspect_of_an_unknown_kind_is_left_out() {
        let suspected = |relation: &str| Suspected { relation: relation.to_owned(), ..Suspected::default() };
        let entry = Entry { suspects: vec![suspected("freed"), suspected("above")], ..Entry::default() };
        let described = describe(&[entry], &mut Symbolizer::new());
        let relations: Vec<_> = described[0].suspects.iter().map(|suspect| suspect.relation).collect();
        assert_eq!(relations, [Relation::Freed]);
    }

    proptest! {
        #[test]
        fn any_frame_is_survived(text in "[/a-z0-9+x]{0,40}") {
            let _ = place(&text);
        }
    }
}
