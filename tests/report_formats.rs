//! Reports in the formats that other programs read, read by other programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::targets::named;
use memtrial_tests::harness::workshop::{Bench, run};
use serde_json::Value;

/// Prints the counts that a document claims, then those that it has, then what its cases are.
const COUNT: &str = r#"
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
names = ["tests", "failures", "errors", "skipped"]
cases = list(root.iter("testcase"))
real = [len(cases)] + [len(list(root.iter(name))) for name in ["failure", "error", "skipped"]]
for suite in [root, *root.iter("testsuite")]:
    assert [int(suite.get(name)) for name in names] == real, (suite.attrib, real)
print(*real)
"#;

fn counts(document: &Path) -> String {
    run(Command::new("python3").args(["-I", "-c", COUNT]).arg(document)).trim().to_owned()
}

fn with_target(name: &str) -> Bench {
    let bench = Bench::new();
    let program = bench.folder().join(name);
    run(Command::new("gcc").args(["-g", "-O1", "-w", "-o"]).arg(program).arg(&named(name).source));
    bench
}

/// A stored run of `memtrial leak`.
fn leak_run(bench: &Bench) -> PathBuf {
    let folder = bench.beside("run");
    fs::create_dir(&folder).expect("a new folder is writable");
    let report = include_str!("fixtures/leak-report.json");
    fs::write(folder.join("findings.json"), report).expect("a new folder is writable");
    folder
}

fn shown(bench: &Bench, folder: &Path, format: &str) -> String {
    let show = Memtrial::new(&bench.folder(), "show --format").arguments([format]).arguments([folder]);
    show.run().with_status(1).stdout
}

#[test]
fn findings_of_a_trial_are_written_to_the_files_asked_for() {
    let bench = with_target("null_deref");
    let files = "--junit new/folder/junit.xml --sarif found.sarif --html page.html";
    let line = format!("oom --quiet {files} -- ./null_deref");
    let _ = Memtrial::new(&bench.folder(), &line).run().with_status(1);
    assert_eq!(counts(&bench.folder().join("new/folder/junit.xml")), "1 1 0 0");
    let sarif = fs::read(bench.folder().join("found.sarif")).expect("it was written");
    let sarif: Value = serde_json::from_slice(&sarif).expect("it is JSON");
    let found = &sarif["runs"][0]["results"][0];
    assert_eq!(found["ruleId"], "oom/crashed");
    let place = &found["locations"][0]["physicalLocation"];
    let file = place["artifactLocation"]["uri"].as_str().expect("it has a place");
    assert!(file.starts_with("file:///") && file.ends_with("null_deref.c"), "{file}");
    let page = fs::read_to_string(bench.folder().join("page.html")).expect("it was written");
    assert!(page.contains("crashed") && page.contains("SIGSEGV"));
    let kept = fs::read_to_string(bench.folder().join("memtrial.out/report.html")).expect("it is kept");
    assert_eq!(kept, page);
}

#[test]
fn a_trial_that_passes_has_one_case_that_passes() {
    let bench = with_target("null_deref_good");
    let line = "oom --quiet --junit junit.xml -- ./null_deref_good";
    let _ = Memtrial::new(&bench.folder(), line).run().with_status(0);
    assert_eq!(counts(&bench.folder().join("junit.xml")), "1 0 0 0");
}

#[test]
fn a_file_that_cant_be_written_is_refused_before_anything_runs() {
    let bench = Bench::new();
    let ended = Memtrial::new(&bench.folder(), "oom --junit /proc/nothing/junit.xml -- true").run();
    ended.with_status(2).saying(&["error: ", "/proc"]);
    assert!(!bench.folder().join("memtrial.out").exists());
}

#[test]
fn a_stored_leak_run_is_shown_in_every_format() {
    let bench = Bench::new();
    let folder = leak_run(&bench);
    let document = bench.beside("junit.xml");
    fs::write(&document, shown(&bench, &folder, "junit")).expect("the folder of a test is writable");
    assert_eq!(counts(&document), "4 2 0 2");
    let sarif: Value = serde_json::from_str(&shown(&bench, &folder, "sarif")).expect("it is JSON");
    assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(4));
    let json: Value = serde_json::from_str(&shown(&bench, &folder, "json")).expect("it is JSON");
    assert_eq!(json["trial"], "leak");
    assert_eq!(shown(&bench, &folder, "csv").matches("\ntarget,4211,").count(), 121);
    assert!(shown(&bench, &folder, "html").starts_with("<!DOCTYPE html>"));
    let text = shown(&bench, &folder, "text");
    assert!(text.contains("in every one of 61 rounds") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn the_outcomes_of_a_stored_trial_are_shown_as_a_table() {
    let bench = with_target("null_deref");
    let _ = Memtrial::new(&bench.folder(), "oom --quiet -- ./null_deref").run().with_status(1);
    let table = shown(&bench, &bench.folder().join("memtrial.out"), "csv");
    assert!(table.starts_with("hash,nth,ordinal,way,end,status,verdict\n"), "{table}");
    assert!(table.contains(",signal,11,crashed"), "{table}");
}
