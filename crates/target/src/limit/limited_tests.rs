//! Tests of limits on processes that there are, in groups that are made and removed.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use super::*;

/// A shell that allocates as it is told, one line of its stdin after the other.
fn shell() -> Child {
    Command::new("/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Has the shell answer, so that all before is done.
fn say(child: &mut Child, command: &str) -> u8 {
    let input = child.stdin.as_mut().unwrap();
    input.write_all(format!("{command}\nprintf x\n").as_bytes()).unwrap();
    let mut answer = [0];
    let read = child.stdout.as_mut().unwrap().read(&mut answer);
    read.map_or(0, |_| answer[0])
}

fn cgroup(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

/// Whether real groups can be tried here; says so where they can't.
fn has_groups(limited: &Limited) -> bool {
    let has = limited.kind() != Kind::AddressSpace;
    if !has {
        eprintln!("skipped: no control groups for this user: {:?}", limited.note());
    }
    has
}

#[test]
fn a_process_and_what_it_started_go_back_where_they_were() {
    let scratch = tempfile::tempdir().unwrap();
    let mut child = shell();
    let pid = child.id().cast_signed();
    let home = cgroup(pid);
    let limited = Limited::apply(pid, 64 << 20, &record_of(scratch.path(), pid)).unwrap();
    say(&mut child, "sleep 30 >/dev/null 2>&1 & one=$!; sleep 30 >/dev/null 2>&1 & two=$!");
    let all = observe::processes().unwrap();
    let family: Vec<i32> = observe::below(&all, pid).iter().map(|stat| stat.pid).collect();
    assert_eq!(family.len(), 3);
    if has_groups(&limited) {
        assert!(family.iter().all(|&pid| cgroup(pid) != home));
    }
    assert_eq!((limited.killed(), record_of(scratch.path(), pid).exists()), (0, true));
    limited.release().unwrap();
    assert!(family.iter().all(|&pid| cgroup(pid) == home));
    assert!(!record_of(scratch.path(), pid).exists());
    say(&mut child, "kill $one $two");
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn what_a_killed_run_has_left_is_cleaned_up_by_its_record() {
    let scratch = tempfile::tempdir().unwrap();
    let mut child = shell();
    let pid = child.id().cast_signed();
    let (home, limits) = (cgroup(pid), fs::read_to_string(format!("/proc/{pid}/limits")).unwrap());
    drop(Limited::apply(pid, 64 << 20, &record_of(scratch.path(), pid)).unwrap());
    assert!(cgroup(pid) != home || fs::read_to_string(format!("/proc/{pid}/limits")).unwrap() != limits);
    clean_up(scratch.path());
    assert_eq!(cgroup(pid), home);
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/limits")).unwrap(), limits);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn the_kernel_kills_who_takes_more_than_the_limit_and_counts_it() {
    let scratch = tempfile::tempdir().unwrap();
    let mut child = shell();
    let pid = child.id().cast_signed();
    let limited = Limited::apply(pid, 8 << 20, &record_of(scratch.path(), pid)).unwrap();
    if has_groups(&limited) {
        let before = limited.killed();
        // 64 MiB held at once, in whoever runs `tail`: a line without an end.
        say(&mut child, "head -c 67108864 /dev/zero | tail > /dev/null 2>&1");
        let (killed, met) = (limited.killed(), limited.met());
        limited.release().unwrap();
        assert!(before == 0 && killed == 1 && met > Some(0), "{before} {killed} {met:?}");
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_process_that_is_gone_can_not_be_limited() {
    let scratch = tempfile::tempdir().unwrap();
    let mut child = shell();
    let pid = child.id().cast_signed();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(Limited::apply(pid, 1 << 20, &record_of(scratch.path(), pid)).is_err());
}
