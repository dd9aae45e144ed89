//! The command line: what is refused and why, what the options do, and what is printed and kept.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use memtrial_report::model::{End, Report, Verdict};
use memtrial_report::store::newest;
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::outcomes::{count, kept, verdicts};
use memtrial_tests::harness::processes::{Mark, signal, wait_for};
use memtrial_tests::harness::programs::installed;
use memtrial_tests::harness::targets::named;
use memtrial_tests::harness::workshop::{Bench, compile_c, copy_program, run};
use serde_json::Value;

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
fn an_unknown_program_is_wrong_usage() {
    refused(try_in(&Bench::new(), "oom -- no-such-program"), 2, &["no-such-program", "no such program"]);
}

#[test]
fn no_command_is_wrong_usage() {
    try_in(&Bench::new(), "oom").with_status(2).saying(&["-- <CMD>"]);
}

#[test]
fn an_unknown_option_is_wrong_usage() {
    try_in(&Bench::new(), "oom --no-such-option -- true").with_status(2).saying(&["--no-such-option"]);
}

#[test]
fn a_range_outside_of_the_run_is_wrong_usage_and_says_how_many_there_are() {
    refused(try_in(&with_careful(), "oom --allocs 1-900 -- ./careful"), 2, &["1-900", "makes 7 allocations"]);
}

#[test]
fn a_range_that_is_none_is_wrong_usage() {
    try_in(&Bench::new(), "oom --allocs 7-3 -- true").with_status(2).saying(&["1 <= A <= B"]);
}

#[test]
fn a_fault_that_is_none_is_wrong_usage() {
    refused(try_in(&Bench::new(), "oom --fault twice -- true"), 2, &["twice", "burst=N"]);
}

#[test]
fn a_site_that_does_not_allocate_is_wrong_usage() {
    refused(try_in(&with_careful(), "oom --at 01234567:1 -- ./careful"), 2, &["01234567:1", "--list"]);
}

#[test]
fn a_pattern_that_is_none_is_wrong_usage() {
    refused(try_in(&with_careful(), "oom --expect-stderr ( -- ./careful"), 2, &["--expect-stderr"]);
}

#[test]
fn filters_that_leave_nothing_are_wrong_usage() {
    refused(
        try_in(&with_careful(), "oom --only no-such-function -- ./careful"),
        2,
        &["--only", "none of 3 sites"],
    );
}

#[test]
fn an_output_folder_that_cant_be_made_is_wrong_usage() {
    let bench = with_careful();
    bench.write("file", "");
    refused(try_in(&bench, "oom --output file/below -- ./careful"), 2, &["work/file", "--output"]);
}

#[test]
fn a_results_folder_that_holds_none_cant_be_shown_or_resumed() {
    let bench = Bench::new();
    refused(try_in(&bench, "show nowhere"), 2, &["nowhere"]);
    refused(try_in(&bench, "oom --resume --output nowhere"), 2, &["nowhere"]);
    bench.write("findings.json", "{}");
    refused(try_in(&bench, "show ."), 2, &["not a memtrial result"]);
}

#[test]
fn what_is_no_elf_file_is_wrong_usage() {
    let bench = Bench::new();
    let text = bench.write("text", "hello\n");
    fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).expect("it is ours");
    refused(try_in(&bench, "oom -- ./text"), 2, &["text"]);
    fs::set_permissions(&text, fs::Permissions::from_mode(0o644)).expect("it is ours");
    refused(try_in(&bench, "oom -- ./text"), 2, &["not executable"]);
}

#[test]
fn a_static_program_is_beyond_reach() {
    let bench = Bench::new();
    compile_c(CAREFUL, &bench.folder().join("static"), &["-static"]);
    refused(try_in(&bench, "oom -- ./static"), 4, &["statically linked"]);
}

#[test]
fn a_program_of_another_users_rights_is_beyond_reach() {
    let bench = Bench::new();
    let program = bench.folder().join("privileged");
    copy_program(&installed("true"), &program);
    let nobody = 65534;
    let privileged = if std::os::unix::fs::chown(&program, Some(nobody), None).is_ok() {
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("root may do so");
        program
    } else {
        // Only root may give a file away; then root's own such programs serve.
        installed("su")
    };
    assert_ne!(fs::metadata(&privileged).expect("it is there").mode() & 0o4000, 0);
    refused(try_in(&bench, &format!("oom -- {}", privileged.display())), 4, &["setuid"]);
}

#[test]
fn a_program_with_an_allocator_of_its_own_is_beyond_reach() {
    let bench = Bench::new();
    let own = "#include <stddef.h>\nstatic char pool[9999]; static size_t used;\n\
               void *malloc(size_t n) { return &pool[used += n + 16 & ~15]; }\nvoid free(void *p) {}\n\
               int main(void) { return malloc(4) == 0; }\n";
    compile_c(own, &bench.folder().join("own"), &[]);
    refused(try_in(&bench, "oom -- ./own"), 4, &["own allocator", "malloc in "]);
}

/// A copy of `true` with some bytes of its ELF header changed.
fn patched(bench: &Bench, at: usize, bytes: &[u8]) -> PathBuf {
    let mut program = fs::read(installed("true")).expect("it can be read");
    program[at..at + bytes.len()].copy_from_slice(bytes);
    let path = bench.write("patched", program);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

#[test]
fn a_program_for_another_machine_is_beyond_reach() {
    let bench = Bench::new();
    // e_machine: 183 is EM_AARCH64, 3 is EM_386 (elf(5)).
    patched(&bench, 18, &[183, 0]);
    refused(try_in(&bench, "oom -- ./patched"), 4, &["aarch64"]);
    patched(&bench, 18, &[3, 0]);
    refused(try_in(&bench, "oom -- ./patched"), 4, &["i386"]);
}

#[test]
fn a_target_that_fails_by_itself_is_not_tried_and_is_quoted() {
    let bench = Bench::new();
    let line = "echo to stdout; echo what is wrong >&2; exit 7";
    let ended = Memtrial::new(&bench.folder(), "oom -- sh -c").arguments([line]).run();
    refused(ended, 3, &["status 7", "what is wrong", "--expect-exit"]);
}

#[test]
fn a_target_that_is_ended_by_a_signal_is_not_tried() {
    let ended = Memtrial::new(&Bench::new().folder(), "oom -- sh -c").arguments(["kill -SEGV $$"]).run();
    refused(ended, 3, &["SIGSEGV"]);
}

#[test]
fn a_target_that_has_nothing_to_fail_is_not_passed() {
    refused(
        try_in(&with_target("no_allocations"), "oom -- ./no_allocations"),
        4,
        &["no allocation", "--follow"],
    );
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
fn the_list_shows_sites_with_counts_and_bytes_and_fails_nothing() {
    let bench = with_careful();
    let listed = try_in(&bench, "oom --list -- ./careful").with_status(0);
    assert!(listed.stdout.contains("5 allocations, "), "{}", listed.told());
    assert!(listed.stdout.contains("careful.c:"), "{}", listed.told());
    assert!(!bench.folder().join("memtrial.out").exists(), "a list is printed, not kept");
}

#[test]
fn the_list_as_json_has_every_site_with_its_stack() {
    let bench = with_careful();
    let listed = try_in(&bench, "oom --list --json -- ./careful").with_status(0);
    let census: Value = serde_json::from_str(&listed.stdout).expect("it is JSON");
    assert_eq!(census["schema"], 1);
    assert_eq!(census["reference"]["allocations"], 7);
    let sites = census["sites"].as_array().expect("there are sites");
    let counts: Vec<(u64, u64)> =
        sites.iter().filter_map(|site| Some((site["count"].as_u64()?, site["bytes"].as_u64()?))).collect();
    assert_eq!(counts, [(5, 5000), (1, 2000), (1, 3_000_000)]);
    for site in sites {
        assert_eq!(site["site"].as_str().map(str::len), Some(8));
        assert_eq!(site["stack"][0]["function"], "get");
    }
}

#[test]
fn sites_have_the_same_names_wherever_the_program_is_loaded() {
    let bench = with_careful();
    let names = |line: &str| {
        let census: Value = serde_json::from_str(&Memtrial::by_shell(&bench.folder(), line).run().stdout)
            .expect("it is JSON");
        census["sites"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|site| site["site"].to_string())
            .collect::<Vec<_>>()
    };
    let usual = names("memtrial oom --list --json -- ./careful");
    assert_eq!(usual.len(), 3);
    assert_eq!(usual, names("setarch -R memtrial oom --list --json -- ./careful"));
}

/// What the options leave of seven allocations at three sites.
fn share(line: &str) -> (u64, u64, u64) {
    let bench = with_careful();
    let report = try_in(&bench, &format!("oom -q --json {line} -- ./careful")).with_status(0).report();
    assert_eq!(report.reference.allocations, 7);
    (report.coverage.planned, report.coverage.tested, report.coverage.sites_tested)
}

#[test]
fn each_site_is_failed_once_unless_more_is_asked_for() {
    assert_eq!(share(""), (3, 3, 3));
    assert_eq!(share("--per-site 2"), (4, 4, 3));
    assert_eq!(share("--every"), (7, 7, 3));
}

#[test]
fn allocations_are_chosen_by_number_by_filter_and_by_chance() {
    assert_eq!(share("--allocs 2-6"), (5, 5, 2));
    assert_eq!(share("--only one"), (1, 1, 1));
    assert_eq!(share("--only careful.c --skip one --every"), (2, 2, 2));
}

#[test]
fn a_sample_has_its_size_and_comes_again_with_its_seed() {
    let bench = with_careful();
    let drawn = |seed: u32| {
        let ended = try_in(&bench, &format!("oom -q --json --every --sample 4,seed={seed} -- ./careful"));
        let report = ended.with_status(0).report();
        assert_eq!((report.coverage.planned, report.coverage.tested), (4, 4));
        kept(&bench.folder().join("memtrial.out")).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(drawn(1), drawn(1));
    assert!((2..9).any(|seed| drawn(seed) != drawn(1)), "other seeds draw others");
}

#[test]
fn the_report_says_what_share_was_tested() {
    let ended = try_in(&with_careful(), "oom -q --every --sample 4,seed=1 -- ./careful").with_status(0);
    assert!(ended.stdout.contains("4 of 4 planned"), "{}", ended.told());
    assert!(ended.stdout.contains("57.1 % of all"), "{}", ended.told());
}

#[test]
fn a_trial_out_of_time_says_so_and_what_it_has_not_tested() {
    let bench = Bench::new();
    let jq = "oom -q --json --every --mode rerun --max-time 1 -- jq -n [range(200)|{n:.}]|length";
    let report = try_in(&bench, jq).report();
    assert_eq!(report.coverage.stopped.as_deref(), Some("--max-time has passed"));
    assert!(report.coverage.tested < report.coverage.planned);
}

/// A trial of the careful program with this fault.
fn faulted(fault: &str) -> Report {
    let bench = with_careful();
    try_in(&bench, &format!("oom -q --json --fault {fault} -- ./careful")).with_status(0).report()
}

#[test]
fn faults_that_begin_somewhere_are_tried_at_each_site() {
    for fault in ["once", "sticky", "burst=2"] {
        let report = faulted(fault);
        assert_eq!((report.fault.as_str(), count(&report, Verdict::Handled)), (fault, 3));
    }
}

#[test]
fn faults_that_choose_by_themselves_are_one_run() {
    for fault in ["size=1000000+", "limit=2500", "p=1,seed=7"] {
        let report = faulted(fault);
        assert_eq!((report.fault.as_str(), report.coverage.planned), (fault, 1));
        assert_eq!(count(&report, Verdict::Handled), 1);
    }
}

#[test]
fn a_fault_that_chooses_nothing_is_not_passed() {
    refused(
        try_in(&with_careful(), "oom -q --fault size=1g+ -- ./careful"),
        2,
        &["nothing was tested", "--list"],
    );
}

#[test]
fn policies_decide_what_passes() {
    let (abort, tolerated) = (with_target("aborted"), with_target("tolerated"));
    let _ = try_in(&abort, "oom -q -- ./aborted").with_status(1);
    let _ = try_in(&abort, "oom -q --policy abort -- ./aborted").with_status(0);
    let _ = try_in(&tolerated, "oom -q -- ./tolerated").with_status(0);
    let _ = try_in(&tolerated, "oom -q --policy strict -- ./tolerated").with_status(1);
}

#[test]
fn a_stored_run_is_printed_again_and_its_status_comes_again() {
    let bench = with_target("null_deref");
    let printed = try_in(&bench, "oom -q --output results -- ./null_deref").with_status(1);
    let shown = try_in(&bench, "show results").with_status(1);
    assert_eq!(printed.stdout, shown.stdout);
    let json = try_in(&bench, "show results --format json").with_status(1);
    assert_eq!(json.report().findings.len(), 1);
    let careful = with_careful();
    let _ = try_in(&careful, "oom -q -- ./careful").with_status(0);
    let _ = try_in(&careful, "show").with_status(0);
}

#[test]
fn a_finding_says_where_it_is_and_how_to_get_it_again() {
    let bench = with_target("null_deref");
    let ended = try_in(&bench, "oom -q -- ./null_deref").with_status(1);
    for text in ["crashed", "SIGSEGV", "null_deref.c:", "memtrial oom --at "] {
        assert!(ended.stdout.contains(text), "{text}\n{}", ended.told());
    }
}

#[test]
fn the_results_before_are_kept_as_old() {
    let bench = with_careful();
    for _ in 0..2 {
        let _ = try_in(&bench, "oom -q -- ./careful").with_status(0);
    }
    for folder in ["memtrial.out", "memtrial.out.old"] {
        assert_eq!(kept(&bench.folder().join(folder)).len(), 3, "{folder}");
    }
}

#[test]
fn the_target_does_not_see_the_results_grow() {
    let bench = Bench::new();
    bench.write("own", "");
    let ended =
        Memtrial::new(&bench.folder(), "oom -q -- sh -c").arguments(["find . -type f >&2; exit 3"]).run();
    assert!(ended.stderr.contains("./own") && !ended.stderr.contains(".jsonl"), "{}", ended.told());
}

#[test]
fn captured_output_is_kept_for_each_finding() {
    let bench = with_target("silent_complains");
    let report = try_in(&bench, "oom -q --json -o results -- ./silent_complains").with_status(1).report();
    for finding in &report.findings {
        let folder = bench.folder().join("results").join(finding.folder.as_ref().expect("it says something"));
        let said = fs::read_to_string(folder.join("stderr")).expect("it is kept");
        assert!(said.contains("cannot show"), "{said}");
    }
}

#[test]
fn the_targets_streams_stay_its_own() {
    let ended =
        Memtrial::new(&Bench::new().folder(), "oom -q --json -- cat").stdin(b"passed through\n").run();
    assert!(!ended.stdout.contains("passed through"), "{}", ended.told());
    assert_eq!(ended.stderr, "", "{}", ended.told());
}

/// A program with one unchecked allocation, and the name of that allocation.
fn crashing() -> (Bench, String) {
    let bench = with_target("null_deref");
    let report = try_in(&bench, "oom -q --json -- ./null_deref").report();
    let at = report.findings.first().map(|finding| finding.sites[0].clone());
    (bench, at.expect("it crashes"))
}

#[test]
fn one_failure_is_made_under_gdb() {
    let _ = installed("gdb");
    let (bench, at) = crashing();
    let ended = try_in(&bench, &format!("oom --under gdb --at {at} -- ./null_deref")).with_status(0);
    assert!(ended.stdout.contains("SIGSEGV") && ended.stdout.contains("null_deref.c:"), "{}", ended.told());
}

#[test]
fn one_failure_is_made_under_valgrind() {
    let _ = installed("valgrind");
    let (bench, at) = crashing();
    let ended = try_in(&bench, &format!("oom --under valgrind --at {at} -- ./null_deref")).with_status(0);
    ended.saying(&["Invalid write", "null_deref.c:"]);
}

#[test]
fn one_failure_is_made_under_gdb_by_whatever_path_the_program_is_named() {
    let _ = installed("gdb");
    let (bench, at) = crashing();
    std::os::unix::fs::symlink("null_deref", bench.folder().join("link")).expect("the folder is writable");
    for path in ["../work/null_deref", "./link"] {
        let ended = try_in(&bench, &format!("oom --under gdb --at {at} -- {path}")).with_status(0);
        assert!(ended.stdout.contains("SIGSEGV"), "{}", ended.told());
    }
}

#[test]
fn a_debugger_needs_one_failure() {
    try_in(&Bench::new(), "oom --under gdb -- true").with_status(2).saying(&["--at"]);
}

/// A trial that takes a while, of which a part is known: a test can step in.
fn long_trial(bench: &Bench, mark: &Mark) -> Memtrial {
    let line = "oom -q --json --every --mode rerun --sample 250,seed=3 -o results -- jq -n [range(200)|{n:.}]|length";
    Memtrial::new(&bench.folder(), line).variable("MARK", mark.word())
}

/// Waits until so many outcomes are kept.
fn wait_for_outcomes(folder: &Path, many: usize) {
    let lines =
        || fs::read_to_string(newest(folder).join("outcomes.jsonl")).unwrap_or_default().lines().count();
    wait_for("outcomes", || (lines() >= many).then_some(()));
}

/// What an undisturbed run of [`long_trial`] comes to.
static UNDISTURBED: LazyLock<Report> =
    LazyLock::new(|| long_trial(&Bench::new(), &Mark::new("undisturbed")).run().report());

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let bench = Bench::new();
    let mark = Mark::new("killed");
    let running = long_trial(&bench, &mark).start();
    let results = bench.folder().join("results");
    wait_for_outcomes(&results, 20);
    signal(mark.worker(running.pid()), libc::SIGKILL);
    let killed = running.wait();
    assert_ne!(killed.status, 0, "{}", killed.told());
    let known = kept(&newest(&results));
    assert!(known.len() < 250, "it was killed in the middle");
    let report = try_in(&bench, "oom -q --json --resume -o results").report();
    assert_eq!(report.verdicts, UNDISTURBED.verdicts);
    assert_eq!(report.coverage.tested, UNDISTURBED.coverage.tested);
    assert!(known.iter().all(|(allocation, verdict)| kept(&results).get(allocation) == Some(verdict)));
}

#[test]
fn an_interrupted_run_reports_what_it_knows() {
    let bench = Bench::new();
    let mark = Mark::new("interrupted");
    let running = long_trial(&bench, &mark).start();
    wait_for_outcomes(&bench.folder().join("results"), 20);
    signal(running.pid(), libc::SIGINT);
    let report = running.wait().with_status(130).report();
    assert_eq!(report.coverage.stopped.as_deref(), Some("interrupted"));
    assert!((20..250).contains(&report.coverage.tested), "{:?}", report.coverage);
    assert!(!verdicts(&report).is_empty());
}

#[test]
fn help_and_version_are_printed() {
    let bench = Bench::new();
    let help = try_in(&bench, "oom --help").with_status(0);
    assert!(help.stdout.contains("Exit status:") && help.stdout.contains("--per-site"), "{}", help.told());
    assert!(try_in(&bench, "--version").with_status(0).stdout.starts_with("memtrial "));
}
