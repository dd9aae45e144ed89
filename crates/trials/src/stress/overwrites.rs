//! Chunks that were found overwritten, with names for the frames of their stacks.

use std::collections::HashMap;

use memtrial_report::model::Frame;
use memtrial_report::stress::{Overwrite, Relation, Suspect};
use memtrial_symbols::symbolize::Symbolizer;
use serde_json::Value;

use super::answers::{Entry, Status, Suspected, strings};
use crate::census::{AGENT_FILE, named_frames};

/// Build ids of modules, by their paths.
type BuildIds = HashMap<String, Vec<u8>>;

/// What the agent has found, as the report has it.
pub fn describe(status: &Status, symbolizer: &mut Symbolizer) -> Vec<Overwrite> {
    let build_ids = &status.build_ids;
    let mut overwrite = |entry: &Entry| Overwrite {
        address: entry.address.clone(),
        size: entry.size,
        offset: entry.offset,
        length: entry.length,
        expected: entry.expected.clone(),
        found: entry.found.clone(),
        test: entry.test,
        number: entry.number,
        stack: stack(&entry.stack, build_ids, symbolizer),
        suspects: entry.suspects.iter().filter_map(|one| suspect(one, build_ids, symbolizer)).collect(),
    };
    status.overwritten.iter().map(&mut overwrite).collect()
}

/// Puts frames with names in the place of the texts of all stacks in an answer of the agent's.
pub fn name_frames(answer: &mut Value, symbolizer: &mut Symbolizer) {
    let build_ids = Status::of(answer).build_ids;
    let mut name = |of: &mut Value| {
        if let Some(texts) = of.get_mut("stack")
            && let Ok(named) = serde_json::to_value(stack(&strings(texts), &build_ids, symbolizer))
        {
            *texts = named;
        }
    };
    for chunk in members(answer, "overwritten") {
        name(chunk);
        members(chunk, "suspects").iter_mut().for_each(&mut name);
    }
}

fn members<'v>(of: &'v mut Value, name: &str) -> &'v mut [Value] {
    of.get_mut(name).and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default()
}

fn suspect(suspected: &Suspected, build_ids: &BuildIds, symbolizer: &mut Symbolizer) -> Option<Suspect> {
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
        stack: stack(&suspected.stack, build_ids, symbolizer),
    })
}

/// Frames from texts as `PATH+0xOFFSET`, innermost first; the agent's own in front are left out, if others are there.
fn stack(texts: &[String], build_ids: &BuildIds, symbolizer: &mut Symbolizer) -> Vec<Frame> {
    let places: Vec<(&str, u64)> = texts.iter().map(|text| place(text)).collect();
    let is_agent = |path: &str| path.rsplit('/').next() == Some(AGENT_FILE);
    let theirs: Vec<_> = places.iter().filter(|(path, _)| !is_agent(path)).copied().collect();
    let shown = if theirs.is_empty() { places } else { theirs };
    let build_id = |path: &str| build_ids.get(path).map_or(&[][..], Vec::as_slice);
    shown
        .iter()
        .flat_map(|(path, offset)| named_frames(path, build_id(path), *offset, true, symbolizer))
        .collect()
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
    use serde_json::json;

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
            stack(&texts, &BuildIds::new(), symbolizer).iter().map(|frame| frame.offset).collect::<Vec<_>>()
        };
        assert_eq!(frames(&texts, &mut symbolizer), [0x20]);
        assert_eq!(frames(&texts[..1], &mut symbolizer), [0x10]);
    }

    #[test]
    fn frames_in_an_answer_are_named_and_all_else_stays() {
        let mut answer = json!({"overwritten_count": 1, "overwritten": [{"address": "0x10", "stack": ["/no/such+0x20"],
            "suspects": [{"relation": "above", "stack": ["0x30", 5]}]}, 7]});
        name_frames(&mut answer, &mut Symbolizer::new());
        let expected = json!({"overwritten_count": 1, "overwritten": [{"address": "0x10",
            "stack": [{"module": "/no/such", "offset": 0x20}],
            "suspects": [{"relation": "above", "stack": [{"module": "", "offset": 0x30}]}]}, 7]});
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_module_that_is_another_by_now_gives_no_names() {
        let program = std::env::current_exe().expect("procfs").display().to_string();
        let texts = [format!("{program}+{:#x}", 0x1000)];
        let of_another = BuildIds::from([(program, vec![1, 2, 3])]);
        let mut symbolizer = Symbolizer::new();
        assert_eq!(stack(&texts, &of_another, &mut symbolizer)[0].function, None);
        assert!(symbolizer.warnings().iter().any(|warning| warning.contains("another build id")));
    }

    #[test]
    fn a_suspect_of_an_unknown_kind_is_left_out() {
        let suspected = |relation: &str| Suspected { relation: relation.to_owned(), ..Suspected::default() };
        let entry = Entry { suspects: vec![suspected("freed"), suspected("above")], ..Entry::default() };
        let status = Status { overwritten: vec![entry], ..Status::default() };
        let described = describe(&status, &mut Symbolizer::new());
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
