//! Tests on processes that there are, and on some that there are no more.

use super::*;
use std::process::{Child, Command, Stdio};

fn here() -> Here {
    let (reader, writer) = io::pipe().expect("a pipe");
    // The other end stays open for as long as the tests run.
    std::mem::forget(writer);
    Here::new(Interrupt::on_input(reader.into()))
}

/// A process that is ended with the test.
struct Ended(Child);

impl Ended {
    fn start(program: &str, arguments: &[&str]) -> Ended {
        let mut command = Command::new(program);
        let child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Ended(child.expect("it starts"))
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_is_read_as_the_kernel_shows_it() {
    let mut cat = Ended::start("cat", &[]);
    // Once it has answered it changes no more.
    let (to, from) = (cat.0.stdin.as_mut(), cat.0.stdout.as_mut());
    io::Write::write_all(to.expect("a pipe"), b"x").expect("written");
    io::Read::read_exact(from.expect("a pipe"), &mut [0]).expect("read");
    let mut here = here();
    let identity = here.identity(cat.pid()).expect("it is there");
    let areas = here.areas(&identity).expect("it may be read");
    let reading = here.reading(&identity).expect("it may be read");
    assert_eq!(reading.mappings, areas.len() as u64);
    assert_eq!(reading.threads, 1);
    assert!(reading.descriptors >= 3 && reading.resident > 0 && reading.proportional <= reading.resident);
    let counted = fs::read_dir(format!("/proc/{}/fd", cat.pid())).expect("readable").count();
    assert_eq!(reading.descriptors, counted as u64);
    let glance = here.glance(&identity).expect("it may be read");
    assert_eq!((glance.mappings, glance.threads), (reading.mappings, 1));
}

#[test]
fn a_process_that_has_ended_or_was_replaced_is_told_so() {
    let mut cat = Ended::start("cat", &[]);
    let mut here = here();
    let identity = here.identity(cat.pid()).expect("it is there");
    let other = Identity { started: identity.started + 1, ..identity.clone() };
    assert!(matches!(here.reading(&other), Err(ObserveError::Replaced(pid)) if pid == cat.pid()));
    cat.0.kill().expect("it is ours");
    // Not waited for yet, it is a zombie.
    while !stat_of(cat.pid()).expect("not reaped yet").has_ended() {
        std::thread::yield_now();
    }
    for _ in 0..2 {
        assert!(matches!(here.reading(&identity), Err(ObserveError::Gone(pid)) if pid == cat.pid()));
        assert!(matches!(here.glance(&identity), Err(ObserveError::Gone(_))));
        assert!(matches!(here.areas(&identity), Err(ObserveError::Gone(_))));
        assert!(matches!(here.identity(cat.pid()), Err(ObserveError::Gone(_))));
        assert!(matches!(here.tree(cat.pid()), Err(ObserveError::Gone(_))));
        let _ = cat.0.wait();
    }
}

#[test]
fn a_thread_of_the_kernel_has_no_memory() {
    let all = processes().expect("a list");
    let Some(thread) = all.iter().find(|stat| stat.name == "kthreadd") else {
        eprintln!("skipped: threads of the kernel can't be seen here");
        return;
    };
    let mut here = here();
    let identity = here.identity(thread.pid).expect("it is there");
    let error = here.reading(&identity).expect_err("it has none").to_string();
    assert!(error.contains("a thread of the kernel") || error.contains("belongs to another user"), "{error}");
}

#[test]
fn a_process_of_somebody_else_is_forbidden() {
    let denied = io::Error::from_raw_os_error(libc::EACCES);
    let identity = Identity { pid: 1, started: 0, name: "init".to_owned() };
    let error = failure(&identity, denied);
    assert!(error.to_string().starts_with("process 1 belongs to another user, or is protected: "), "{error}");
    assert!(matches!(error, ObserveError::Forbidden { pid: 1, .. }));
}

#[test]
fn processes_are_found_by_all_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    // Names that no other process of tests on this machine has.
    let long = format!("found-{:07}-by-a-long-name", std::process::id());
    let argument = format!("found-{:07}-by-argument", std::process::id());
    let file = folder.path().join(&long);
    // By another process: what this one has open for writing, children of other tests have too, and can't be run.
    assert!(Command::new("cp").arg("/bin/sleep").arg(&file).status().expect("there is cp").success());
    let sleep = Ended::start(file.to_str().expect("a path"), &["600"]);
    let renamed = {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/bin/sleep");
        Ended(command.arg0(format!("/x/{argument}")).arg("600").spawn().expect("it starts"))
    };
    let mut here = here();
    let mut pids = |name: &str| -> Vec<i32> {
        here.named(name).expect("a list").into_iter().map(|identity| identity.pid).collect()
    };
    // A child that is not yet what it will be has this process's names.
    while pids(&long) != [sleep.pid()] {
        std::thread::yield_now();
    }
    while pids(&argument) != [renamed.pid()] {
        std::thread::yield_now();
    }
    assert!(pids(&long[..15]).contains(&sleep.pid()), "the kernel keeps 15 bytes of it");
    fs::remove_file(&file).expect("removed");
    assert_eq!(pids(&long), [sleep.pid()]);
    let me = fs::read_to_string("/proc/self/comm").expect("a name");
    let me = pids(me.trim_end());
    assert!(!me.contains(&std::process::id().cast_signed()));
    assert_eq!(pids("no process is called so"), [0; 0]);
}

#[test]
fn a_tree_has_all_that_is_below() {
    let mut shell = Ended::start("/bin/sh", &["-c", "sh -c 'sleep 600 & echo; wait' & wait"]);
    let mut line = [0];
    io::Read::read_exact(shell.0.stdout.as_mut().expect("a pipe"), &mut line).expect("it tells");
    let mut here = here();
    // The innermost may still have its parent's name.
    let names = loop {
        let tree = here.tree(shell.pid()).expect("it is there");
        assert!(tree.iter().any(|identity| identity.pid == shell.pid()));
        if tree.iter().any(|identity| identity.name == "sleep") {
            break tree;
        }
        std::thread::yield_now();
    };
    assert_eq!(names.len(), 3, "{names:?}");
    for identity in names {
        crate::processes::kill(identity.pid);
    }
}
