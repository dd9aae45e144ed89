//! Each small program on trial under load: what it does wrong is found and named, and its twin holds.

use std::os::unix::net::UnixStream;

use memtrial_report::stress::{FindingKind, Overwrite, Report, Suspect, Verdict};
use memtrial_tests::harness::control_socket::Connection;
use memtrial_tests::harness::daemon::answer;
use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::processes::{signal, wait_for};
use memtrial_tests::harness::stress::{Small, loaded, pretty, threads, wait_for_threads};
use memtrial_tests::harness::stress_targets::{StressTarget, named};
use memtrial_tests::harness::workshop::Workshop;
use serde_json::{Value, json};

/// Chunks that fit into the same places as the blocks of the targets.
const SAME_SIZE: &str = "--min 42 --max 56 --total 64k --rate 5000/s --for 3s --check-content";
/// Enough to be noticed by those that look at their heap.
const MUCH: &str = "--min 4k --max 16k --total 200m --rate 2000/s";

/// How memtrial gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Preload,
    Attach,
}

/// A target under load; returns the report, after the target has been looked at.
fn under_load(target: &StressTarget, good: bool, way: Way, options: &str, verdict: Verdict) -> Report {
    let workshop = Workshop::new();
    let small = Small::new(&workshop, &target.name, good, "");
    match way {
        Way::Preload => {
            let report = small.serving(options).run().stress_verdict(verdict);
            assert!(!small.answers(), "the target outlives memtrial");
            report
        }
        Way::Attach => {
            let mut daemon = small.daemon();
            let before = threads(daemon.pid());
            let memtrial: Memtrial = small.stress.on(daemon.pid(), options);
            let report = memtrial.run().stress_verdict(verdict);
            assert_eq!(loaded(&report).pid, daemon.pid(), "{}", pretty(&report));
            if verdict == Verdict::Died {
                assert!(!daemon.is_alive(), "{}", pretty(&report));
            } else {
                wait_for_threads(daemon.pid(), &before);
                let _ = answer(&small.stress.bench.folder(), &small.request("alive"));
                assert!(daemon.is_alive(), "{}\n{}", daemon.said(), pretty(&report));
            }
            report
        }
    }
}

/// The chunk is named: where it lies, and what was written to it.
fn is_named(chunk: &Overwrite, report: &Report) {
    let address = chunk.address.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let address = address.unwrap_or_else(|| panic!("{chunk:?}"));
    assert!((42..=56).contains(&chunk.size) && chunk.number > 0, "{chunk:?}");
    // Eight bytes from the sixteenth on, less those that are the same by chance.
    assert!((16..24).contains(&chunk.offset) && chunk.offset + chunk.length <= 24, "{chunk:?}");
    // Each word is the complement of its address.
    let word = |at: u64| (!at).to_le_bytes();
    let pattern: Vec<u8> = (0..3).flat_map(|number| word(address + 8 * number)).collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [from, to] = [chunk.offset, chunk.offset + chunk.length]
        .map(|place| usize::try_from(place).unwrap_or_else(|_| panic!("{chunk:?}")));
    assert!(chunk.expected.starts_with(&hex(&pattern[from..to])), "{chunk:?}\n{}", pretty(report));
    assert!(chunk.found.starts_with(&"41".repeat(to - from)), "{chunk:?}\n{}", pretty(report));
}

/// A block of the target's, allocated where its header says.
fn is_to_blame(suspect: &Suspect, target: &StressTarget) -> bool {
    let relation = serde_json::to_value(suspect.relation).expect("it is a word");
    let frame = suspect.stack.iter().find(|frame| frame.function == target.function);
    let here = |file: &String| file.ends_with(&format!("{}.c", target.name));
    let at = frame.is_some_and(|frame| frame.file.as_ref().is_some_and(here) && frame.line == target.line);
    at && relation.as_str() == target.relation.as_deref()
}

fn chunks_are_named(name: &str, way: Way) {
    let target = named(name);
    let report = under_load(&target, false, way, SAME_SIZE, Verdict::Overwritten);
    let loaded = loaded(&report);
    assert!(loaded.overwritten_count >= loaded.overwritten.len() as u64, "{}", pretty(&report));
    assert!(loaded.checked >= loaded.overwritten_count, "{}", pretty(&report));
    assert!(!loaded.overwritten.is_empty(), "{}", pretty(&report));
    for chunk in &loaded.overwritten {
        is_named(chunk, &report);
    }
    let suspects = |chunk: &&Overwrite| chunk.suspects.iter().any(|suspect| is_to_blame(suspect, &target));
    assert!(loaded.overwritten.iter().find(suspects).is_some(), "{}", pretty(&report));
    let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::Overwritten);
    let finding = finding.unwrap_or_else(|| panic!("{}", pretty(&report)));
    assert!(finding.count > 0 && finding.repro.contains("memtrial stress"), "{}", pretty(&report));
    let blamed = |finding: &&memtrial_report::stress::Finding| {
        finding.stack.iter().any(|frame| frame.function == target.function)
    };
    assert!(report.findings.iter().find(blamed).is_some(), "{}", pretty(&report));
}

fn twin_is_not_reported(name: &str, way: Way) {
    let report = under_load(&named(name), true, way, SAME_SIZE, Verdict::Held);
    let loaded = loaded(&report);
    assert!(loaded.checked > 100, "{}", pretty(&report));
    assert_eq!((loaded.overwritten_count, &report.findings[..]), (0, &[][..]), "{}", pretty(&report));
}

#[test]
fn writes_past_the_end_are_named_with_the_agent_loaded_with_it() {
    chunks_are_named("heap_overflow", Way::Preload);
    twin_is_not_reported("heap_overflow", Way::Preload);
}

#[test]
fn writes_past_the_end_are_named_with_the_agent_loaded_into_it() {
    chunks_are_named("heap_overflow", Way::Attach);
    twin_is_not_reported("heap_overflow", Way::Attach);
}

#[test]
fn writes_after_free_are_named_with_the_agent_loaded_with_it() {
    chunks_are_named("write_after_free", Way::Preload);
    twin_is_not_reported("write_after_free", Way::Preload);
}

#[test]
fn writes_after_free_are_named_with_the_agent_loaded_into_it() {
    chunks_are_named("write_after_free", Way::Attach);
    twin_is_not_reported("write_after_free", Way::Attach);
}

#[test]
fn a_client_is_told_who_allocated_what_lies_before_an_overwritten_chunk() {
    let workshop = Workshop::new();
    let target = named("heap_overflow");
    let small = Small::new(&workshop, &target.name, false, "");
    let daemon = small.daemon();
    let pid = daemon.pid();
    let load = "--min 42 --max 56 --total 64k --rate 5000/s --for 60s --check-content";
    let trial = small.stress.on(pid, load).start();
    let socket = small.stress.socket(pid);
    wait_for("it answers", || UnixStream::connect(&socket).ok());
    let mut client = Connection::to(&socket);
    let answer = wait_for("an overwritten chunk", || {
        let answer = client.call("mt.mem_check", json!([]));
        answer.to_string().contains("before").then_some(answer)
    });
    let module =
        |module: &&Value| module["path"].as_str().is_some_and(|path| path.ends_with("/heap_overflow"));
    let module = answer["modules"].as_array().expect("a list").iter().find(module);
    let build_id =
        module.and_then(|module| module["build_id"].as_str()).unwrap_or_else(|| panic!("{answer}"));
    assert!(build_id.len() >= 16 && build_id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{answer}");
    assert!(answer.to_string().contains("/heap_overflow+0x"), "{answer}");

    let line = target.line.expect("its header says");
    let ended = small.stress.rpc(pid, "mt.mem_check").run().with_status(1);
    let frame = format!("heap_overflow.c:{line} make_block [heap_overflow]");
    assert!(ended.stdout.contains(&frame), "{}", ended.told());
    let ended = small.stress.memtrial(&format!("rpc --pid {pid} --json mt.mem_check")).run().with_status(1);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}"));
    let chunks: Vec<Overwrite> = serde_json::from_value(found["overwritten"].clone()).expect("as in reports");
    let blamed = |chunk: &Overwrite| chunk.suspects.iter().any(|suspect| is_to_blame(suspect, &target));
    assert!(chunks.iter().any(blamed), "{found}");
    signal(trial.pid(), libc::SIGINT);
    let _ = trial.wait();
}

#[test]
fn a_target_that_ends_under_load_has_died() {
    let options = format!("{MUCH} --for 60s");
    let report = under_load(&named("watchdog"), false, Way::Preload, &options, Verdict::Died);
    let end = loaded(&report).end.as_ref().unwrap_or_else(|| panic!("{}", pretty(&report)));
    assert!(end.how.contains("SIGABRT"), "{}", pretty(&report));
    assert!(end.seconds < 60.0 && loaded(&report).after.is_none(), "{}", pretty(&report));
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Died), "{}", pretty(&report));

    let report = under_load(&named("watchdog"), false, Way::Attach, &options, Verdict::Died);
    assert!(loaded(&report).end.is_some(), "{}", pretty(&report));

    let options = format!("{MUCH} --for 3s");
    let report = under_load(&named("watchdog"), true, Way::Preload, &options, Verdict::Held);
    let loaded = loaded(&report);
    assert!(loaded.end.is_none() && loaded.peak.live > 4 << 20, "{}", pretty(&report));
}

#[test]
fn a_target_that_does_not_answer_under_load_is_told_from_one_that_does() {
    for (good, time, timeout, verdict) in [(false, 9, 3, Verdict::Unanswered), (true, 6, 60, Verdict::Held)] {
        let workshop = Workshop::new();
        let small = Small::new(&workshop, "held_lock", good, "");
        let daemon = small.daemon();
        let options = format!("{MUCH} --for {time}s --timeout {timeout}");
        let memtrial =
            small.stress.on(daemon.pid(), &options).arguments(["--probe", &small.request("alive")]);
        let report = memtrial.run().stress_verdict(verdict);
        let probe = loaded(&report).probe.as_ref().unwrap_or_else(|| panic!("{}", pretty(&report)));
        assert!(probe.unloaded.runs > 0, "{}", pretty(&report));
        assert_eq!(probe.failed > 0, !good, "{}", pretty(&report));
        assert!(probe.failures.len() as u64 <= probe.failed, "{}", pretty(&report));
        assert!(!good || probe.loaded.runs > 0, "{}", pretty(&report));
        let found = report.findings.iter().any(|finding| finding.kind == FindingKind::Unanswered);
        assert_eq!(found, !good, "{}", pretty(&report));
        // What it waited for comes when the load is gone.
        let _ = answer(&small.stress.bench.folder(), &small.request("alive"));
    }
}
