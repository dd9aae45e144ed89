//! What can't be entered or called, and how that is told.

use std::process::Command;
use std::time::{Duration, Instant};

use memtrial_target::attach::{self, AttachError, Stopped};

use crate::target::{LIMIT, Target, compile, folder, library};

#[test]
fn a_function_that_faults_is_told_and_does_no_harm() {
    let target = Target::start(&compile("heavy.c", "faulting", &[]));
    let base = target.enter().expect("it has safe points").base;
    let error = attach::call(target.pid(), &library(), base, "faulty", "", LIMIT).expect_err("it faults");
    assert!(matches!(error, AttachError::Fault { signal: libc::SIGSEGV, .. }), "{error}");
    target.ends_right();
}

#[test]
fn a_function_that_does_not_come_back_is_given_up() {
    let target = Target::start(&compile("heavy.c", "endless", &[]));
    let base = target.enter().expect("it has safe points").base;
    let limit = Duration::from_secs(3);
    let error = attach::call(target.pid(), &library(), base, "endless", "", limit).expect_err("never");
    assert!(matches!(error, AttachError::Late { .. }), "{error}");
    target.ends_right();
}

#[test]
fn what_cannot_be_entered_is_told() {
    let gone = attach::enter(i32::MAX, &library(), "begin", "", LIMIT);
    assert!(matches!(gone, Err(AttachError::Gone(_))), "{gone:?}");

    let target = Target::start(&compile("poll.c", "static", &["-static"]));
    assert!(matches!(target.enter(), Err(AttachError::NotDynamic(_))));
    target.ends_right();

    let target = Target::start(&compile("poll.c", "polls", &[]));
    let absent = attach::call(target.pid(), &library(), 0x1000, "begin", "", LIMIT);
    assert!(matches!(absent, Err(AttachError::NotLoaded { .. })), "{absent:?}");
    let text = folder().join("text.so");
    std::fs::write(&text, "not a library".repeat(100)).expect("a writable folder");
    let refused = attach::enter(target.pid(), &text, "begin", "", LIMIT).expect_err("it is no library");
    assert!(refused.to_string().contains("invalid ELF header"), "{refused}");
    let unknown = attach::enter(target.pid(), &library(), "no_such", "", LIMIT);
    assert!(matches!(unknown, Err(AttachError::NoFunction { .. })), "{unknown:?}");
    target.signal(libc::SIGSTOP);
    let begun = Instant::now();
    loop {
        let entered = target.enter();
        if matches!(entered, Err(AttachError::Suspended(_))) {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "it does not stop: {entered:?}");
    }
    target.signal(libc::SIGCONT);
    assert!(target.enter().is_ok());
    target.ends_right();

    let mut target = Target::start(&compile("poll.c", "zombie", &[]));
    target.child.kill().expect("our child");
    let begun = Instant::now();
    while !matches!(target.enter(), Err(AttachError::Gone(_))) {
        assert!(begun.elapsed() < LIMIT, "it does not end");
    }
    assert!(!target.child.wait().expect("its end is still ours to see").success());
}

#[test]
fn a_process_that_sees_other_files_is_told() {
    let hidden = tempfile::tempdir().expect("a writable temporary folder");
    let hidden_library = hidden.path().join("library.so");
    std::fs::copy(library(), &hidden_library).expect("a writable temporary folder");
    let program = compile("poll.c", "elsewhere", &[]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs none \"$1\" && exec \"$0\" || echo no").arg(&program).arg(hidden.path());
    let Some(target) = Target::of_if_ready(&mut command) else {
        eprintln!("not tested: no namespaces can be made here");
        return;
    };
    let error =
        attach::enter(target.pid(), &hidden_library, "begin", "", LIMIT).expect_err("it is not there for it");
    assert!(matches!(error, AttachError::OtherNamespace { .. }), "{error}");
    assert_eq!(target.enter().expect("this one it sees").value, 12);
    target.ends_right();
}

#[test]
fn a_process_of_another_user_is_told() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } == 0 {
        eprintln!("not tested: root may enter any process");
        return;
    }
    let error = attach::enter(1, &library(), "begin", "", LIMIT).expect_err("it is root's");
    assert!(matches!(error, AttachError::Forbidden { .. }), "{error}");
}

#[test]
fn a_traced_process_is_told_with_its_tracer() {
    let target = Target::start(&compile("poll.c", "traced", &[]));
    let stopped = Stopped::all(target.pid()).expect("it can be stopped");
    let me = i32::try_from(std::process::id()).expect("a pid");
    let error = target.enter().expect_err("only one can trace");
    assert!(matches!(error, AttachError::AlreadyTraced { by, .. } if by == me), "{error}");
    drop(stopped);
    target.ends_right();
}
