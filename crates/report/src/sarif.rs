//! Results as SARIF 2.1.0, which tools for code review read.

use std::collections::BTreeMap;

use serde_sarif::sarif::{
    Address, ArtifactLocation, Invocation, Location, LogicalLocation, Message, MultiformatMessageString,
    Notification, PhysicalLocation, Region, ReportingDescriptor, Result as Found, ResultKind, ResultLevel,
    Run, SCHEMA_URL, Sarif, Stack as SarifStack, StackFrame, Tool, ToolComponent,
};

use crate::frames;
use crate::model::Frame;
use crate::results::{Case, Outcome, Results, Rule, Stack};

/// Name of the fingerprint: what it is made of has a version.
const FINGERPRINT: &str = "memtrial/v1";

/// The results as a SARIF document. What passes is left out; what could not be told is there as an open question,
/// which counts as no failure.
///
/// # Errors
/// Never for these types; the signature is serde's.
pub fn render(results: &Results) -> serde_json::Result<String> {
    let rules = results.rules();
    let found: Vec<Found> = results
        .cases
        .iter()
        .filter(|case| case.outcome != Outcome::Passed)
        .map(|case| {
            let index = rules.iter().position(|rule| rule.id == case.rule.id);
            result(case, index.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1))
        })
        .collect();
    let driver = ToolComponent::builder()
        .name("memtrial")
        .version(env!("CARGO_PKG_VERSION"))
        .rules(rules.iter().map(descriptor).collect::<Vec<_>>())
        .build();
    let notifications: Vec<Notification> = results
        .warnings
        .iter()
        .map(|warning| Notification::builder().message(message(warning)).level("warning").build())
        .collect();
    let invocation = Invocation::builder()
        // To have found something is to have run as it should.
        .execution_successful(results.exit_status <= 1)
        .exit_code(i64::from(results.exit_status))
        .command_line(results.command.clone())
        .tool_execution_notifications(notifications)
        .build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .invocations(vec![invocation])
        .results(found)
        .build();
    let document = Sarif::builder().schema(SCHEMA_URL).version("2.1.0").runs(vec![run]).build();
    serde_json::to_string_pretty(&document)
}

fn descriptor(rule: &Rule) -> ReportingDescriptor {
    let meaning = MultiformatMessageString::builder().text(rule.meaning).build();
    ReportingDescriptor::builder().id(rule.id).name(pascal(rule.id)).short_description(meaning).build()
}

/// `oom/crashed` as `OomCrashed`: names of rules have this form.
fn pascal(id: &str) -> String {
    let words = id.split('/').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

fn result(case: &Case, rule: i64) -> Found {
    let (kind, level) = match case.outcome {
        Outcome::Failed => (ResultKind::Fail, ResultLevel::Error),
        _ => (ResultKind::Open, ResultLevel::None),
    };
    Found::builder()
        .rule_id(case.rule.id)
        .rule_index(rule)
        .kind(kind)
        .level(level)
        .message(message(&case.message))
        .locations(vec![place(case)])
        .stacks(case.stacks.iter().map(stack).collect::<Vec<_>>())
        .fingerprints(BTreeMap::from([(FINGERPRINT.to_owned(), case.fingerprint.clone())]))
        .build()
}

fn message(text: &str) -> Message {
    Message::builder().text(text).build()
}

/// Where to look first; for what has no place in a source file, what it is about.
fn place(case: &Case) -> Location {
    match case.stacks.iter().find_map(|stack| frames::source(&stack.frames)) {
        Some((file, line)) => Location::builder().physical_location(source(file, line)).build(),
        None => {
            let about = LogicalLocation::builder().name(case.name.as_str()).kind("resource").build();
            Location::builder().logical_locations(vec![about]).build()
        }
    }
}

fn source(file: &str, line: u32) -> PhysicalLocation {
    let artifact = ArtifactLocation::builder().uri(uri(file)).build();
    let region = Region::builder().start_line(i64::from(line.max(1))).build();
    PhysicalLocation::builder().artifact_location(artifact).region(region).build()
}

fn stack(stack: &Stack) -> SarifStack {
    let frames: Vec<StackFrame> = stack.frames.iter().map(frame).collect();
    SarifStack::builder().message(message(stack.title)).frames(frames).build()
}

fn frame(frame: &Frame) -> StackFrame {
    let place = match (&frame.file, frame.line) {
        (Some(file), Some(line)) => source(file, line),
        _ => {
            let offset = i64::try_from(frame.offset).unwrap_or(i64::MAX);
            let address = Address::builder().relative_address(offset).kind("instruction").build();
            PhysicalLocation::builder().address(address).build()
        }
    };
    let name = LogicalLocation::builder()
        .fully_qualified_name(frame.function.as_deref().unwrap_or("?"))
        .kind("function")
        .build();
    let location = Location::builder().physical_location(place).logical_locations(vec![name]).build();
    StackFrame::builder().location(location).module(frame.module.as_str()).build()
}

/// A path as a URI: absolute ones with their scheme, relative ones as they are.
fn uri(path: &str) -> String {
    let mut text = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'+' => {
                text.push(char::from(byte));
            }
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{clean_report, leak_report, oom_report_with_findings, stress_report};
    use crate::trial::TrialReport;

    fn document(report: impl Into<TrialReport>) -> Sarif {
        serde_json::from_str(&render(&Results::of(&report.into())).unwrap()).unwrap()
    }

    fn results(document: &Sarif) -> &[Found] {
        document.runs[0].results.as_deref().unwrap()
    }

    #[test]
    fn a_leaking_site_is_placed_where_the_allocator_is_called() {
        let document = document(leak_report());
        let found = &results(&document)[0];
        assert_eq!(found.rule_id.as_deref(), Some("leak/site"));
        let place = found.locations.as_ref().unwrap()[0].physical_location.as_ref().unwrap();
        let file = place.artifact_location.as_ref().unwrap().uri.as_deref();
        assert_eq!(file, Some("file:///src/server/buffer.h"));
        assert_eq!(place.region.as_ref().unwrap().start_line, Some(12));
        assert_eq!(found.stacks.as_ref().unwrap()[0].frames.len(), 6);
        assert_eq!(found.fingerprints.as_ref().unwrap()[FINGERPRINT], "site 9b1c22d0");
    }

    #[test]
    fn an_overwritten_chunk_is_placed_where_the_block_to_blame_was_allocated() {
        let document = document(stress_report());
        let [chunk, probe] = results(&document) else { panic!("two findings") };
        assert_eq!(chunk.rule_id.as_deref(), Some("stress/overwritten"));
        let place = chunk.locations.as_ref().unwrap()[0].physical_location.as_ref().unwrap();
        assert_eq!(place.region.as_ref().unwrap().start_line, Some(12));
        assert_eq!(chunk.stacks.as_ref().unwrap()[0].frames.len(), 6);
        let about = probe.locations.as_ref().unwrap()[0].logical_locations.as_ref().unwrap();
        assert_eq!(about[0].name.as_deref(), Some("server answers under load"));
    }

    #[test]
    fn rules_are_found_by_their_index() {
        let documents =
            [document(leak_report()), document(oom_report_with_findings()), document(stress_report())];
        for document in documents {
            let rules = document.runs[0].tool.driver.rules.as_ref().unwrap();
            for found in results(&document) {
                let index = usize::try_from(found.rule_index.unwrap()).unwrap();
                assert_eq!(Some(&rules[index].id), found.rule_id.as_ref());
            }
        }
    }

    #[test]
    fn what_could_not_be_told_is_an_open_question_and_what_passes_is_left_out() {
        let document = document(leak_report());
        let open = results(&document).iter().filter(|found| found.kind == Some(ResultKind::Open)).count();
        assert_eq!((results(&document).len(), open), (4, 2));
        assert!(results(&self::document(clean_report())).is_empty());
    }

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri("/src/load me.c"), "file:///src/load%20me.c");
        assert_eq!(uri("a:b/é<.c"), "a%3Ab/%C3%A9%3C.c");
    }
}
