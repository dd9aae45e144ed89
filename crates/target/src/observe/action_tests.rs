//! Tests with shells that behave, and with some that do not.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn quiet() -> Interrupt {
    let (reader, writer) = io::pipe().expect("a pipe");
    // The other end stays open for as long as the tests run.
    std::mem::forget(writer);
    Interrupt::on_input(reader.into())
}

/// How a command ended, and the end of what it printed.
fn run(command: &str, limit: Duration, interrupt: &Interrupt) -> (ActionEnd, String) {
    let ran = super::run(command, limit, interrupt);
    (ran.end, ran.printed)
}

const LONG: Duration = Duration::from_secs(300);
const SHORT: Duration = Duration::from_millis(300);

/// Waits until a file is there, and reads a pid from it.
fn pid_in(path: &std::path::Path) -> i32 {
    loop {
        match fs::read_to_string(path).map(|text| text.trim().parse()) {
            Ok(Ok(pid)) => return pid,
            _ => std::thread::sleep(LOOK),
        }
    }
}

fn is_alive(pid: i32) -> bool {
    here::stat_of(pid).is_ok_and(|stat| !stat.has_ended())
}

#[test]
fn a_command_ends_by_itself() {
    let run = |command| run(command, LONG, &quiet());
    assert_eq!(run("echo out; echo err >&2; exit 3"), (ActionEnd::Exit(3), "out\nerr\n".to_owned()));
    assert_eq!(run("kill -USR1 $$"), (ActionEnd::Signal(libc::SIGUSR1), String::new()));
    assert_eq!(run("cat"), (ActionEnd::Exit(0), String::new()), "stdin is empty");
    assert!(matches!(run("a\0b").0, ActionEnd::NotStarted(_)));
}

#[test]
fn of_much_output_the_end_is_kept() {
    let (end, text) = run("yes 0123456 | head -c 3000000; printf 'end'", LONG, &quiet());
    assert_eq!((end, text.len()), (ActionEnd::Exit(0), KEPT));
    assert!(text.ends_with("0123456\nend"));
}

#[test]
fn characters_that_were_cut_are_left_out() {
    let mut tail = Tail::default();
    tail.push("é".repeat(KEPT).as_bytes());
    tail.push(b"x");
    assert_eq!(tail.text(), format!("{}x", "é".repeat(KEPT / 2 - 1)));
    let mut short = Tail::default();
    short.push(&[0x80, b'a']);
    assert_eq!(short.text(), "\u{fffd}a");
}

#[test]
fn what_is_left_behind_is_neither_waited_for_nor_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let command = format!("sleep 600 & echo $! > {}; yes > /dev/null & echo done", file.display());
    let begin = Instant::now();
    let (end, text) = run(&command, LONG, &quiet());
    assert!(begin.elapsed() < LONG);
    assert_eq!((end, text.as_str()), (ActionEnd::Exit(0), "done\n"));
    let pid = pid_in(&file);
    assert!(is_alive(pid));
    let group = here::stat_of(pid).expect("it is there").group;
    crate::processes::kill_group(group);
}

#[test]
fn at_the_limit_everything_is_ended_wherever_it_went() {
    let folder = tempfile::tempdir().expect("a folder");
    let [plain, stubborn, away, orphan] =
        ["plain", "stubborn", "away", "orphan"].map(|name| folder.path().join(name));
    let command = format!(
        "sleep 600 & echo $! > {}
         sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 1; done' &
         setsid sh -c 'echo $$ > {}; sleep 600' &
         (setsid sh -c 'echo $$ > {}; sleep 600; true' &)
         wait",
        plain.display(),
        stubborn.display(),
        away.display(),
        orphan.display()
    );
    // Asked to stop once all of them are there.
    let (reader, writer) = io::pipe().expect("a pipe");
    let files = [plain, stubborn, away, orphan];
    let waiting = std::thread::spawn(move || {
        let pids = files.map(|file| pid_in(&file));
        drop(writer);
        pids
    });
    let (end, _) = run(&command, LONG, &Interrupt::on_input(reader.into()));
    assert_eq!(end, ActionEnd::Interrupted);
    for pid in waiting.join().expect("pids") {
        assert!(!is_alive(pid), "{pid}");
    }
}

/// Runs a command to a limit that is long enough, however slow the machine, for what it prints to be right.
fn is_ended_at_its_limit(command: &str, is_right: impl Fn(&str) -> bool) {
    let mut limit = SHORT;
    loop {
        let (end, text) = run(command, limit, &quiet());
        assert_eq!(end, ActionEnd::TimedOut);
        if is_right(&text) {
            return;
        }
        limit *= 2;
        assert!(limit < LONG, "{text}");
    }
}

#[test]
fn a_command_that_hangs_is_ended_at_its_limit() {
    is_ended_at_its_limit("echo begun; yes >&2; sleep 600", |text| text.ends_with("y\n"));
    // The shell may say in between that its child was ended.
    is_ended_at_its_limit(
        "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.01; done",
        |text| text.starts_with("begun\n") && text.ends_with("ended\n"),
    );
}

#[test]
fn a_shell_that_is_not_allowed_to_run_something_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script");
    fs::write(&file, "x").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
    let (end, text) = run(&file.display().to_string(), LONG, &quiet());
    assert_eq!(end, ActionEnd::Exit(126));
    assert!(text.contains("ermission denied"), "{text}");
}

#[test]
fn children_that_others_start_meanwhile_are_not_taken_for_orphans() {
    let mut other = std::process::Command::new("true").spawn().expect("there is true");
    let ran = super::run("true", LONG, &quiet());
    assert!(!ran.orphans.contains(&other.id().cast_signed()), "{ran:?}");
    assert!(other.wait().expect("nobody else has waited for it").success());
}
