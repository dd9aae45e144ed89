//! Looking at processes through a real ssh server on loopback, by a copy of the program and by the shell: both must
//! see what is seen from here.

mod blocked;
mod sshd;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blocked::wait_until_blocked;
use memtrial_target::interrupt::Interrupt;
use memtrial_target::observe::{
    ActionEnd, Area, Here, Identity, ObserveError, Place, Reading, There, Way, settled,
};
use memtrial_target::processes;
use sshd::{HOST, Sshd, pause, quiet, wait_until_gone};

const LONG: Duration = Duration::from_secs(300);
const SHORT: Duration = Duration::from_millis(500);

/// The program that is copied to the other side: built with the tests, beside them.
fn copied() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let folder = test.parent().and_then(Path::parent).expect("target/debug");
    let file = folder.join("examples/observe_server");
    assert!(
        file.exists(),
        "{} is built by `cargo test` without `--test`, or by `cargo build --examples`",
        file.display()
    );
    file
}

/// Does the same in both ways.
fn both_ways(test: impl Fn(&Sshd, There)) {
    let Some(sshd) = Sshd::start() else { return };
    for copied in [Some(copied()), None] {
        let there = sshd.connect("config", copied.as_deref()).expect("it connects");
        assert_eq!(matches!(there.way(), Way::Copy), copied.is_some(), "{:?}", there.way());
        test(&sshd, there);
        sshd.wait_until_nothing_is_left();
    }
}

/// A process that is ended with the test, and all below it.
struct Ended(Child);

impl Ended {
    fn start(program: &str, arguments: &[&str]) -> Ended {
        let mut command = Command::new(program);
        Ended(
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts"),
        )
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        for identity in Here::new(quiet()).tree(self.pid()).unwrap_or_default() {
            processes::kill(identity.pid);
        }
        let _ = self.0.wait();
    }
}

/// Waits until a file is there, and reads the process from it.
fn process_in(path: &Path) -> Identity {
    loop {
        if let Some(identity) = process_so_far_in(path) {
            return identity;
        }
        pause();
    }
}

/// The process whose id a file has, if it is there and lives.
fn process_so_far_in(path: &Path) -> Option<Identity> {
    let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    pid.and_then(|pid| Here::new(quiet()).identity(pid).ok())
}

/// Without what other processes have a part in, which come and go.
fn own(reading: Reading) -> Reading {
    Reading { proportional: 0, private_clean: 0, ..reading }
}

fn own_areas(areas: Vec<Area>) -> Vec<Area> {
    areas.into_iter().map(|area| Area { private_clean: 0, ..area }).collect()
}

#[test]
fn both_ways_see_what_is_seen_from_here() {
    let folder = tempfile::tempdir().expect("a folder");
    // A name that no other process of tests on this machine has.
    let name = format!("a (n) {:07} of it", std::process::id());
    let file = folder.path().join(&name);
    // By another process: what this one has open for writing, children of other tests have too, and can't be run.
    assert!(Command::new("cp").arg("/bin/sleep").arg(&file).status().expect("there is cp").success());
    let sleep = Ended::start(file.to_str().expect("a path"), &["600"]);
    let shell = Ended::start("/bin/sh", &["-c", "sleep 600 & sleep 600 & wait"]);
    let mut here = Here::new(quiet());
    while here.named(&name).expect("a list").is_empty()
        || here.tree(shell.pid()).expect("it is there").len() < 3
    {
        pause();
    }
    // Until then it still makes room for itself.
    wait_until_blocked(sleep.pid());
    both_ways(|_, mut there| {
        assert_eq!(there.host(), Some(HOST));
        let identity = here_again().identity(sleep.pid()).expect("it is there");
        assert_eq!(there.identity(sleep.pid()).expect("it is there"), identity);
        for name in [&name[..], &name[..15]] {
            assert_eq!(there.named(name).expect("a list"), std::slice::from_ref(&identity));
        }
        assert_eq!(there.named("no process is called so").expect("a list"), []);
        let tree = |place: &mut dyn Place| {
            let tree = place.tree(shell.pid()).expect("it is there");
            tree.into_iter().map(|identity| (identity.pid, identity.started)).collect::<Vec<_>>()
        };
        assert_eq!(tree(&mut there), tree(&mut here_again()));
        let expected = own(settled(&mut here_again(), &identity, &quiet()).expect("it is ours"));
        assert_eq!(own(there.reading(&identity).expect("it is ours")), expected);
        assert_eq!(own(there.glance(&identity).expect("it is ours")), expected);
        assert_eq!(own(settled(&mut there, &identity, &quiet()).expect("it is ours")), expected);
        let areas = own_areas(there.areas(&identity).expect("it is ours"));
        assert_eq!(areas, own_areas(here_again().areas(&identity).expect("it is ours")));
        assert!(areas.iter().any(|area| area.path.ends_with(&name)));
    });
}

fn here_again() -> Here {
    Here::new(quiet())
}

#[test]
fn both_ways_tell_why_a_process_can_not_be_read() {
    both_ways(|_, mut there| {
        let mut cat = Ended::start("cat", &[]);
        let identity = there.identity(cat.pid()).expect("it is there");
        let other = Identity { started: identity.started + 1, ..identity.clone() };
        assert!(matches!(there.reading(&other), Err(ObserveError::Replaced(pid)) if pid == cat.pid()));
        cat.0.kill().expect("it is ours");
        while here_again().identity(cat.pid()).is_ok() {
            pause();
        }
        // First it has ended but is not waited for, then it is not there.
        for _ in 0..2 {
            for result in [there.reading(&identity).map(drop), there.areas(&identity).map(drop)] {
                assert!(matches!(result, Err(ObserveError::Gone(pid)) if pid == cat.pid()), "{result:?}");
            }
            assert!(matches!(there.identity(cat.pid()), Err(ObserveError::Gone(_))));
            assert!(matches!(there.tree(cat.pid()), Err(ObserveError::Gone(_))));
            let _ = cat.0.wait();
        }
        if let Some(thread) = here_again().named("kthreadd").expect("a list").first() {
            let expected = here_again().reading(thread).expect_err("it has no memory").to_string();
            assert_eq!(there.reading(thread).expect_err("it has no memory").to_string(), expected);
        }
    });
}

#[test]
fn actions_run_there_and_tell_how_they_ended() {
    both_ways(|_, mut there| {
        let mut run = |command: &str| there.run(command, LONG).expect("connected");
        assert_eq!(run("echo out; echo err >&2; exit 3"), (ActionEnd::Exit(3), "out\nerr\n".to_owned()));
        assert_eq!(run("kill -USR1 $$"), (ActionEnd::Signal(libc::SIGUSR1), String::new()));
        assert_eq!(run("cat"), (ActionEnd::Exit(0), String::new()), "stdin is empty");
        assert_eq!(
            run("printf '%s' 'a  b'\necho \"$((1+2))\" `echo é`!"),
            (ActionEnd::Exit(0), "a  b3 é!\n".to_owned())
        );
        let (end, text) = run("yes 0123456 | head -c 3000000; printf end");
        assert_eq!((end, text.len()), (ActionEnd::Exit(0), 4096));
        assert!(text.ends_with("0123456\nend"));
        assert!(matches!(run("a\0b").0, ActionEnd::NotStarted(_)));
        // In the remote user's environment, not in this one's.
        assert!(run("test -n \"$SSH_CONNECTION\"").0 == ActionEnd::Exit(0));
    });
}

/// A command that starts processes which do not want to end, in groups and sessions of their own.
fn stubborn(folder: &Path) -> (String, [PathBuf; 3]) {
    let files = ["plain", "stubborn", "away"].map(|name| folder.join(name));
    let [plain, stubborn, away] = files.each_ref().map(|file| file.display());
    let command = format!(
        "sleep 600 & echo $! > {plain}
         sh -c 'trap \"\" TERM; echo $$ > {stubborn}; while :; do sleep 1; done' &
         (setsid sh -c 'echo $$ > {away}; sleep 600; true' &)
         echo begun
         wait"
    );
    (command, files)
}

/// Runs [`stubborn`] to a limit at which all of its processes are there, however slow the machine; then none lives.
fn is_ended_at_its_limit(there: &mut There) {
    let mut limit = Duration::from_secs(2);
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        let (command, files) = stubborn(folder.path());
        let running = AtomicBool::new(true);
        let (ran, begun) = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut found = [None, None, None];
                while running.load(Ordering::Relaxed) && found.iter().any(Option::is_none) {
                    found = files.each_ref().map(|file| process_so_far_in(file));
                    pause();
                }
                found
            });
            let ran = there.run(&command, limit);
            running.store(false, Ordering::Relaxed);
            (ran, waiting.join().expect("it only looks"))
        });
        let (end, text) = ran.expect("connected");
        assert_eq!(end, ActionEnd::TimedOut);
        for process in begun.iter().flatten() {
            assert!(here_again().reading(process).is_err(), "{process:?}");
        }
        if begun.iter().all(Option::is_some) {
            // The shell of the action may say which of its children were killed.
            assert!(text.starts_with("begun\n"), "{text}");
            return;
        }
        limit *= 2;
        assert!(limit < LONG, "they do not begin: {text}");
    }
}

#[test]
fn at_the_limit_nothing_of_an_action_lives_on_there() {
    both_ways(|_, mut there| {
        is_ended_at_its_limit(&mut there);
        assert_eq!(
            there.run("echo again", LONG).expect("connected"),
            (ActionEnd::Exit(0), "again\n".to_owned())
        );
    });
}

#[test]
fn what_actions_leave_behind_lives_on_there() {
    both_ways(|_, mut there| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let command = format!("sleep 600 & echo $! > {}; echo done", file.display());
        assert_eq!(there.run(&command, LONG).expect("connected"), (ActionEnd::Exit(0), "done\n".to_owned()));
        let process = process_in(&file);
        assert_eq!(there.run("echo again", LONG).expect("connected").0, ActionEnd::Exit(0));
        drop(there);
        assert!(here_again().reading(&process).is_ok());
        processes::kill(process.pid);
    });
}

#[test]
fn the_user_can_interrupt_an_action_there() {
    let Some(sshd) = Sshd::start() else { return };
    for copied in [Some(copied()), None] {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let interrupt = Interrupt::on_input(reader.try_clone().expect("a descriptor").into());
        let mut there = sshd.connect_with("config", copied.as_deref(), &interrupt).expect("it connects");
        let folder = tempfile::tempdir().expect("a folder");
        let (command, files) = stubborn(folder.path());
        let waiting = std::thread::spawn(move || {
            let processes = files.map(|file| process_in(&file));
            writer.write_all(b"x").expect("written");
            (processes, writer)
        });
        let (end, text) = there.run(&command, LONG).expect("connected");
        assert_eq!(end, ActionEnd::Interrupted);
        assert!(text.starts_with("begun\n"), "{text}");
        let (processes, _writer) = waiting.join().expect("they have begun");
        for process in processes {
            assert!(here_again().reading(&process).is_err(), "{process:?}");
        }
        // What is known by then can still be asked.
        assert!(there.identity(1).is_ok());
    }
}

#[test]
fn a_broken_connection_leaves_nothing_there_and_can_be_made_again() {
    both_ways(|sshd, mut there| {
        let cat = Ended::start("cat", &[]);
        let identity = there.identity(cat.pid()).expect("it is there");
        let folder = tempfile::tempdir().expect("a folder");
        let (command, files) = stubborn(folder.path());
        let (processes, sessions, error) = std::thread::scope(|scope| {
            let breaking = scope.spawn(|| {
                let processes = files.map(|file| process_in(&file));
                (processes, sshd.break_connections())
            });
            let error = there.run(&command, LONG).expect_err("the connection breaks");
            let (processes, sessions) = breaking.join().expect("broken");
            (processes, sessions, error)
        });
        assert!(matches!(&error, ObserveError::Lost { host, .. } if host == HOST), "{error:?}");
        assert!(!sessions.is_empty());
        processes.iter().chain(&sessions).for_each(wait_until_gone);
        sshd.wait_until_nothing_is_left();
        assert!(matches!(there.reading(&identity), Err(ObserveError::Lost { .. })));
        let way = there.way().clone();
        there.reconnect(LONG).expect("the server is there");
        assert_eq!(there.way(), &way);
        assert!(there.reading(&identity).is_ok());
        assert_eq!(there.identity(cat.pid()).expect("it is there"), identity);
    });
}

#[test]
fn connecting_again_waits_for_a_server_that_comes_back() {
    let Some(mut sshd) = Sshd::start() else { return };
    let mut there = sshd.connect("config", None).expect("it connects");
    sshd.break_connections();
    assert!(matches!(there.identity(1), Err(ObserveError::Lost { .. })));
    let port = sshd.port();
    sshd.write_client_configuration("config", "user_key", "host_key", 1);
    let error = there.reconnect(SHORT).expect_err("nobody listens").to_string();
    assert!(error.contains("Connection refused"), "{error}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            sshd.restart();
            sshd.write_client_configuration("config", "user_key", "host_key", port);
        });
        // Not in the other thread: ssh ends with the one that it was started by.
        there.reconnect(LONG).expect("it comes back");
    });
    assert_eq!(there.identity(1).expect("connected").pid, 1);
}

#[test]
fn what_ssh_says_when_it_is_refused_is_told() {
    let Some(sshd) = Sshd::start() else { return };
    sshd.write_client_configuration("no-port", "user_key", "host_key", 1);
    sshd.write_client_configuration("no-key", "other_user_key", "host_key", sshd.port());
    sshd.write_client_configuration("no-host", "user_key", "other_host_key", sshd.port());
    let expected = [
        ("no-port", "Connection refused"),
        ("no-key", "Permission denied"),
        ("no-host", "Host key verification failed"),
        ("no-file", "Can't open user config file"),
    ];
    for (configuration, words) in expected {
        let error = sshd.connect(configuration, None).expect_err("refused");
        assert!(matches!(error, ObserveError::Refused { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.starts_with("cannot connect to loopback: ") && error.contains(words), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn what_can_not_be_run_there_is_replaced_by_the_shell() {
    let Some(sshd) = Sshd::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("fails", "#!/bin/sh\nexit 3\n"),
        ("odd", "\x7fELF what is this?"),
        ("talks", "#!/bin/sh\nprintf '\\nhello\\n'; exit 1\n"),
    ];
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::write(&file, text).expect("written");
        let mut there = sshd.connect("config", Some(&file)).expect("it connects");
        assert!(
            matches!(there.way(), Way::Shell(why) if why.contains("it can't be run there")),
            "{:?}",
            there.way()
        );
        assert!(there.identity(1).is_ok());
        assert!(sshd.left().is_empty(), "{:?}", sshd.left());
    }
    let there = sshd.connect("config", Some(&folder.path().join("none"))).expect("it connects");
    assert!(matches!(there.way(), Way::Shell(_)));
}

#[test]
fn any_shell_will_do() {
    for shell in ["dash", "bash", "bash --posix", "busybox sh", "mksh", "zsh --emulate sh"] {
        let name = shell.split(' ').next().unwrap_or_default();
        if !Command::new("which")
            .arg(name)
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
        {
            eprintln!("skipped: there is no {name}");
            continue;
        }
        // In place of ssh, whose arguments it leaves alone.
        let ssh = ["/bin/sh", "-c", &format!("exec {shell}")].map(str::to_owned).to_vec();
        let sleep = Ended::start("/bin/sleep", &["600"]);
        wait_until_blocked(sleep.pid());
        let mut there = There::connect_by(ssh.clone(), HOST, None, &quiet()).expect(shell);
        let identity = here_again().identity(sleep.pid()).expect("it is there");
        assert_eq!(there.identity(sleep.pid()).expect(shell).started, identity.started);
        let expected = settled(&mut here_again(), &identity, &quiet()).expect("it is ours");
        assert_eq!(own(there.reading(&identity).expect(shell)), own(expected), "{shell}");
        assert_eq!(there.areas(&identity).expect(shell).len() as u64, expected.mappings);
        assert!(there.named("sleep").expect(shell).contains(&identity));
        assert_eq!(there.tree(sleep.pid()).expect(shell), [identity]);
        assert!(matches!(there.identity(i32::MAX), Err(ObserveError::Gone(_))));
        let (end, text) = there.run("echo \"a  b\"\necho c >&2; exit 9", LONG).expect(shell);
        assert_eq!((end, text.as_str()), (ActionEnd::Exit(9), "a  b\nc\n"), "{shell}");
        is_ended_at_its_limit(&mut there);
        drop(there);
        let copy = There::connect_by(ssh, HOST, Some(&copied()), &quiet()).expect(shell);
        assert_eq!(copy.way(), &Way::Copy, "{shell}");
    }
}

#[test]
fn a_dead_client_is_noticed_and_nothing_waits_for_ever() {
    let begin = Instant::now();
    let ssh = ["/bin/sh", "-c", "exec sleep 600"].map(str::to_owned).to_vec();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(writer);
    let error = There::connect_by(ssh, HOST, None, &Interrupt::on_input(reader.into()))
        .expect_err("it never answers");
    assert_eq!(error.to_string(), "cannot connect to loopback: interrupted");
    assert!(begin.elapsed() < LONG);
}
