//! Tests with small programs that end in all ways there are.

use super::*;
use crate::observe::{Here, Place, Reading};
use std::fs::OpenOptions;
use std::io::Read;
use std::path::PathBuf;

fn quiet() -> Interrupt {
    let (reader, writer) = io::pipe().expect("a pipe");
    // The other end stays open for as long as the tests run.
    std::mem::forget(writer);
    Interrupt::on_input(reader.into())
}

fn program(path: &str, arguments: &[&str]) -> Program {
    Program {
        path: PathBuf::from(path),
        arguments: [&[path], arguments].concat().into_iter().map(OsString::from).collect(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into()), ("A".into(), "old".into())],
        folder: PathBuf::from("/"),
    }
}

fn run(program: &Program, limit: Duration, interrupt: &Interrupt) -> (ActionEnd, Vec<Reading>, String) {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let mut output = tempfile::tempfile().expect("a file");
    let mut readings = Vec::new();
    let mut here = Here::new(quiet());
    let mut at_exit = |pid| {
        let identity = here.identity(pid).expect("it is there");
        readings.push(here.reading(&identity).expect("all its memory is there"));
    };
    let extra = [("A".into(), "new".into())];
    let end = run_to_exit(program, [&null, &output, &null], &extra, limit, interrupt, &mut at_exit)
        .expect("it can be traced");
    io::Seek::rewind(&mut output).expect("a file");
    let mut text = String::new();
    output.read_to_string(&mut text).expect("text");
    (end, readings, text)
}

const LONG: Duration = Duration::from_secs(300);

/// Compiles a C program; `None` where there is no compiler.
fn compiled(source: &str) -> Option<(tempfile::TempDir, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, program) = (folder.path().join("a.c"), folder.path().join("a"));
    fs::write(&file, source).expect("written");
    let done = std::process::Command::new("cc").args(["-pthread", "-o"]).arg(&program).arg(&file).status();
    match done {
        Ok(status) => assert!(status.success(), "it compiles"),
        Err(_) => {
            eprintln!("skipped: there is no C compiler");
            return None;
        }
    }
    let program = program.to_str().expect("a path").to_owned();
    Some((folder, program))
}

#[test]
fn a_program_is_looked_at_once_just_before_its_end() {
    let shell = program("/bin/sh", &["-c", "(sleep 600 &) ; echo $A; exec sh -c 'exit 3'"]);
    let (end, readings, text) = run(&shell, LONG, &quiet());
    assert_eq!((end, text.as_str()), (ActionEnd::Exit(3), "new\n"));
    assert_eq!(readings.len(), 1);
    assert!(readings[0].resident > 100 << 10 && readings[0].mappings > 5 && readings[0].threads == 1);
}

#[test]
fn signals_reach_it_and_end_it() {
    let shell = program("/bin/sh", &["-c", "trap 'echo got' USR1; kill -USR1 $$; kill -ABRT $$"]);
    let (end, readings, text) = run(&shell, LONG, &quiet());
    assert_eq!((end, text.as_str(), readings.len()), (ActionEnd::Signal(libc::SIGABRT), "got\n", 1));
}

#[test]
fn a_program_that_does_not_end_is_ended() {
    let shell = program("/bin/sh", &["-c", "trap '' TERM INT; sleep 600; sleep 600"]);
    let (end, readings, _) = run(&shell, Duration::from_millis(300), &quiet());
    assert_eq!((end, readings.len()), (ActionEnd::TimedOut, 0));
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(writer);
    assert_eq!(run(&shell, LONG, &Interrupt::on_input(reader.into())).0, ActionEnd::Interrupted);
}

#[test]
fn a_program_that_is_not_there_is_not_started() {
    let (end, readings, _) = run(&program("/nonexistent/program", &[]), LONG, &quiet());
    assert!(matches!(end, ActionEnd::NotStarted(why) if why.contains("cannot run the program")));
    assert!(readings.is_empty());
}

#[test]
fn whichever_thread_is_the_last_its_memory_is_seen() {
    let source = r#"
        #include <pthread.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        static int how;
        static void *other(void *early) {
            if (early) return 0;
            usleep(20000);
            if (how == 1) exit(5);
            if (how == 2) return 0;
            pause();
            return 0;
        }
        int main(int count, char **arguments) {
            how = atoi(arguments[1]);
            memset(malloc(32 << 20), 1, 32 << 20);
            for (int i = 0; i < 20; i++) {
                pthread_t thread;
                pthread_create(&thread, 0, other, (void *)1);
                pthread_join(thread, 0);
            }
            pthread_t threads[8];
            for (int i = 0; i < 8; i++) pthread_create(threads + i, 0, other, 0);
            if (how == 2) pthread_exit(0);
            if (how == 1) pause();
            if (how == 3) execl(arguments[0], arguments[0], "0", (char *)0);
            usleep(20000);
            return 4;
        }
    "#;
    let Some((_folder, path)) = compiled(source) else { return };
    // 0: the main thread returns; 1: another one exits; 2: the main thread ends first; 3: it runs another program.
    for (how, status) in [("0", 4), ("1", 5), ("2", 0), ("3", 4)] {
        let (end, readings, _) = run(&program(&path, &[how]), LONG, &quiet());
        assert_eq!((&end, readings.len()), (&ActionEnd::Exit(status), 1), "way {how}");
        assert!(readings[0].resident > 32 << 20, "way {how}: {:?}", readings[0]);
    }
}
