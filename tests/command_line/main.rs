//! The command line: what is refused and why, what the options do, and what is printed and kept.

mod refused;
mod results;
mod selection;

use std::fs;
use std::process::Command;

use memtrial_report::model::{End, Verdict};
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::outcomes::count;
use memtrial_tests::harness::targets::named;
use memtrial_tests::harness::workshop::{Bench, compile_c, copy_program, run};

/// Allocates at three sites, at one of them five times, and checks everything.
const CAREFUL: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static char *get(size_t size) {
    char *p = malloc(size);
    if (!p) { static const char text[] = "no memory\n"; _exit(write(2, text, sizeof text - 1) < 0 ? 2 : 1); }
    return p;
}
__attribute__((noinline)) static void one(void) { free(get(1000)); }
__attribute__((noinline)) static void two(void) { free(get(2000)); }
int main(void) {
    for (volatile int i = 0; i < 5; i++) one();
    two();
    free(get(3000000));
    return write(1, "done\n", 5) != 5;
}
"#;

/// A folder with the target of this name in it.
fn with_target(name: &str) -> Bench {
    let bench = Bench::new();
    let target = named(name);
    run(Command::new("gcc")
        .args(["-g", "-O1", "-w", "-o"])
        .arg(bench.folder().join(name))
        .arg(&target.source));
    bench
}

fn with_careful() -> Bench {
    let bench = Bench::new();
    compile_c(CAREFUL, &bench.beside("careful"), &[]);
    copy_program(&bench.beside("careful"), &bench.folder().join("careful"));
    bench
}

fn try_in(bench: &Bench, line: &str) -> Ended {
    Memtrial::new(&bench.folder(), line).run()
}

/// Each thing refused names what to do next.
fn refused(ended: Ended, status: i32, texts: &[&str]) {
    ended.with_status(status).saying(&["error: "]).saying(texts);
}

#[test]
fn a_status_that_the_user_allows_is_no_failure_of_the_reference_run() {
    let bench = Bench::new();
    let ended = Memtrial::new(&bench.folder(), "oom -q --json --expect-exit 5,2 -- bash -c")
        .arguments(["exit 5"])
        .run();
    assert_eq!(ended.report().reference.end, End::Exit(5), "{}", ended.told());
}

#[test]
fn a_damaged_debug_file_is_warned_of_and_the_trial_goes_on() {
    let bench = with_target("null_deref");
    let (program, debug) = (bench.folder().join("null_deref"), bench.folder().join("null_deref.debug"));
    run(Command::new("objcopy").arg("--only-keep-debug").arg(&program).arg(&debug));
    run(Command::new("objcopy")
        .arg("--strip-debug")
        .arg("--add-gnu-debuglink")
        .arg(&debug)
        .arg(&program)
        .current_dir(bench.folder()));
    let mut bytes = fs::read(&debug).expect("it was made");
    let half = bytes.len() / 2;
    bytes.truncate(half);
    fs::write(&debug, bytes).expect("it is ours");
    let report = try_in(&bench, "oom -q --json -- ./null_deref").report();
    assert!(
        report.warnings.iter().any(|warning| warning.contains("null_deref.debug")),
        "{:?}",
        report.warnings
    );
    assert!(count(&report, Verdict::Crashed) > 0);
    let function = |finding: &memtrial_report::model::Finding| finding.stack[0].function.clone();
    assert_eq!(
        report.findings.first().and_then(function).as_deref(),
        Some("copy"),
        "the symbol table still serves"
    );
}

#[test]
fn help_and_version_are_printed() {
    let bench = Bench::new();
    let help = try_in(&bench, "oom --help").with_status(0);
    assert!(help.stdout.contains("Exit status:") && help.stdout.contains("--per-site"), "{}", help.told());
    assert!(try_in(&bench, "--version").with_status(0).stdout.starts_with("memtrial "));
}
