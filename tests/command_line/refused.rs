//! What is refused, and what is said of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::programs::installed;
use memtrial_tests::harness::workshop::{Bench, compile_c, copy_program};

use super::{CAREFUL, refused, try_in, with_careful, with_target};

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
