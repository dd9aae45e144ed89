//! The command line of `memtrial trace run`: what is refused and why, when it ends, and the forms in which hits come.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use memtrial_tests::harness::executable::built;
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::packaged::{is_root, open_bench, unprivileged};
use memtrial_tests::harness::processes::{signal, wait_for};
use memtrial_tests::harness::programs::installed;
use memtrial_tests::harness::trace::{Line, Trace, can_trace, lines, texts};
use memtrial_tests::harness::trace_targets::{Asked, file, program, traceable};
use memtrial_tests::harness::workshop::{Bench, copy_program, run};
use serde_json::Value;

fn try_line(folder: &Path, line: &str) -> Ended {
    Memtrial::new(folder, &format!("trace run {line}")).run()
}

/// What traces `texts` with the names of its events. It ends with the program, when all is written.
fn with_names(asked: &Asked) -> String {
    format!("./texts --events {} --pid {}", file("texts.events").display(), asked.pid())
}

/// One clear error.
#[track_caller]
fn refused(ended: &Ended, status: i32, texts: &[&str]) {
    ended.clone().with_status(status).saying(&["error: "]).saying(texts);
    assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.told());
    assert_eq!(ended.stdout, "", "{}", ended.told());
}

#[test]
fn wrong_usage_is_named() {
    let bench = Bench::new();
    for (line, named) in [
        ("", "BINARY"),
        ("/bin/true --pid 0", "--pid"),
        ("/bin/true --pid one", "--pid"),
        ("/bin/true --duration soon", "--duration"),
        ("/bin/true --format xml", "--format"),
        ("/bin/true --count --stack", "--stack"),
        ("/bin/true --count --format json", "--format"),
    ] {
        try_line(&bench.folder(), line).with_status(2).saying(&[named]);
    }
}

#[test]
fn what_is_no_program_with_probes_is_said() {
    let bench = Bench::new();
    bench.write("text", "no program\n");
    bench.write("short", b"\x7fELF\x02\x01\x01");
    bench.write("empty", "");
    refused(&try_line(&bench.folder(), "./text"), 2, &["text", "ELF"]);
    refused(&try_line(&bench.folder(), "./short"), 2, &["short"]);
    refused(&try_line(&bench.folder(), "./empty"), 2, &["empty"]);
    refused(&try_line(&bench.folder(), "./nowhere"), 2, &["nowhere"]);
    refused(&try_line(&bench.folder(), "no-such-program"), 2, &["no-such-program", "PATH"]);
    refused(&try_line(&bench.folder(), "."), 2, &["."]);
    refused(&try_line(&bench.folder(), "true"), 1, &["/bin/true", "no static probe"]);
}

#[test]
fn patterns_that_match_nothing_name_what_is_near() {
    let bench = Bench::new();
    let _ = program(&bench, "visits.c");
    refused(&try_line(&bench.folder(), "./visits visot"), 1, &["visot", "visit"]);
    refused(&try_line(&bench.folder(), "./visits other:*"), 1, &["other:*"]);
    refused(&try_line(&bench.folder(), "./visits work -wor*"), 1, &["-wor*"]);
    refused(&try_line(&bench.folder(), "./visits [a"), 2, &["[a"]);
}

#[test]
fn a_process_that_is_not_there_or_runs_something_else_is_named() {
    if !can_trace() {
        return;
    }
    let bench = Bench::new();
    let _ = program(&bench, "visits.c");
    // More than a pid can be (proc(5): pid_max is at most 2^22).
    refused(&try_line(&bench.folder(), "./visits --pid 4194305"), 3, &["4194305"]);
    let other = Asked::start(&program(&bench, "operands.c"));
    let pid = other.pid().to_string();
    refused(&try_line(&bench.folder(), &format!("./visits --pid {pid}")), 2, &[&pid, "visits"]);
}

#[test]
fn files_that_describe_no_events_are_refused_before_anything_is_attached() {
    let bench = Bench::new();
    let _ = program(&bench, "visits.c");
    refused(&try_line(&bench.folder(), "./visits --events nowhere"), 2, &["nowhere"]);
    bench.write("events", "what is(this\n");
    refused(&try_line(&bench.folder(), "./visits --events events"), 2, &["events", "1"]);
}

#[test]
fn who_may_not_trace_is_told_what_is_missing() {
    if !is_root() {
        println!("skipped: only root can become somebody who may not, and be sure of it");
        return;
    }
    let bench = open_bench();
    let _ = program(&bench, "visits.c");
    let own = bench.folder().join("memtrial");
    copy_program(&built().executable, &own);
    for path in [own, bench.folder().join("visits")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let line = format!("{}./memtrial trace run ./visits", unprivileged());
    refused(&Memtrial::by_shell(&bench.folder(), &line).run(), 4, &["CAP_", "help: ", "sudo"]);
}

#[test]
fn a_duration_is_kept() {
    if !can_trace() {
        return;
    }
    let bench = Bench::new();
    let _ = program(&bench, "visits.c");
    let ended = try_line(&bench.folder(), "./visits --duration 0.2").with_status(0);
    assert_eq!(ended.stdout, "");
    let _ = try_line(&bench.folder(), "./visits --duration 200ms").status;
}

#[test]
fn every_signal_that_asks_for_the_end_is_the_normal_end() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    for which in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut trace = Trace::ready(&bench, "./visits visit");
        asked.ask("visit 2");
        trace.wait_for_lines(asked.pid(), 2);
        signal(trace.pid(), which);
        let ended = trace.wait();
        assert_eq!((ended.status, lines(&ended).len()), (0, 2), "{which}: {}", ended.told());
        // The summary says what came of it.
        assert!(ended.stderr.contains("2 hits"), "{}", ended.told());
    }
}

#[test]
fn hits_that_rain_down_do_not_keep_it_from_ending() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let mut trace = Trace::ready(&bench, "./visits work");
    let pid = asked.pid();
    let rain = thread::spawn(move || {
        for _ in 0..20 {
            asked.ask("threads 4 20000");
        }
        asked
    });
    trace.wait_for_lines(pid, 1);
    let ended = trace.interrupt().with_status(0);
    assert!(!lines(&ended).is_empty(), "whole lines, the last of them too");
    assert!(ended.stdout.ends_with('\n'), "{}", ended.stderr);
    let asked = rain.join().expect("the program answers");
    assert_eq!(asked.end(), 0);
}

#[test]
fn a_reader_that_does_not_read_does_not_keep_it_from_ending() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let (reader, writer) = std::io::pipe().expect("there are descriptors left");
    let mut command = Command::new(&built().executable);
    let trace =
        Trace::onto(&bench, command.args(["trace", "run", "./visits", "work"]), writer.into()).attached();
    // More than a pipe holds (pipe(7): 64 KiB).
    asked.ask("threads 1 20000");
    trace.interrupt().with_status(4).saying(&["stdout", "nobody reads it"]);
    drop(reader);
    assert_eq!(asked.end(), 0);
}

#[test]
fn quiet_says_nothing_but_hits() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let trace = Trace::run(&bench, ["./visits", "-q"]);
    // Nothing else says when it is ready.
    wait_for("a hit", || {
        asked.ask("deep");
        (!trace.lines().is_empty()).then_some(())
    });
    let ended = trace.interrupt().with_status(0);
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_full_disk_is_said() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    for format in ["text", "json", "simple", "chrome"] {
        let trace = Trace::ready(&bench, &format!("./visits visit -o /dev/full --format {format}"));
        asked.ask("visit 20000");
        let ended = trace.wait();
        assert_ne!(ended.status, 0, "{format}: {}", ended.told());
        ended.saying(&["error: ", "/dev/full", "No space left"]);
    }
    // The kernel takes breakpoints out when the last descriptor is gone.
    wait_for("the end of all breakpoints", || (asked.ask("site") == ["byte 90 listeners 0"]).then_some(()));
}

#[test]
fn an_output_that_cant_be_made_is_refused_before_anything_is_attached() {
    let bench = Bench::new();
    let _ = program(&bench, "visits.c");
    bench.write("file", "");
    for format in ["text", "simple", "ctf"] {
        let line = format!("./visits -o file/below --format {format}");
        refused(&try_line(&bench.folder(), &line), 2, &["file/below"]);
    }
}

#[test]
fn who_reads_no_further_ends_it() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let line = format!("{} trace run ./visits visit | head -n 2; echo end", built().executable.display());
    let trace = Trace::of(&bench, Command::new("/bin/sh").args(["-c", &line])).attached();
    // It learns of it when it next has something to say.
    wait_for("its end", || {
        asked.ask("visit 1000");
        trace.printed().ends_with("end\n").then_some(())
    });
    let ended = trace.wait().with_status(0);
    assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.told());
    assert!(!ended.stderr.contains("panicked"), "{}", ended.told());
}

#[test]
fn stacks_name_the_functions() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let trace = Trace::ready(&bench, "./visits deep --stack");
    asked.ask("deep");
    wait_for("the stack", || trace.printed().contains("main").then_some(()));
    let ended = trace.interrupt().with_status(0);
    let mut lines = ended.stdout.lines();
    assert_eq!(Line::read(lines.next().unwrap_or_default()).text, "deep arg1=0", "{}", ended.told());
    let frames: Vec<&str> = lines.take(4).collect();
    for (frame, function) in frames.iter().zip(["innermost", "between", "outermost", "main"]) {
        assert!(frame.starts_with(' ') && frame.contains(function), "{function}: {frame}\n{}", ended.told());
    }
    assert_eq!(frames.len(), 4, "{}", ended.told());
}

#[test]
fn json_has_what_the_lines_have() {
    let Some((bench, mut asked)) = traceable("texts.c") else {
        return;
    };
    let (pid, line) = (asked.pid(), with_names(&asked));
    let text = Trace::ready(&bench, &line);
    let json = Trace::ready(&bench, &format!("{line} --format json --stack -o hits.json"));
    asked.ask("once");
    assert_eq!(asked.end(), 0);
    let (text, json) = (text.wait().with_status(0), json.wait().with_status(0));
    assert_eq!(json.stdout, "");
    let written = fs::read_to_string(bench.folder().join("hits.json")).expect("it was written");
    let objects: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let lines = lines(&text);
    let names: Vec<&str> = objects.iter().filter_map(|object| object["event"].as_str()).collect();
    assert_eq!(names, lines.iter().map(Line::name).collect::<Vec<_>>());
    let object = |name: &str| objects.iter().find(|object| object["event"] == name).expect("each event");
    assert!(objects.iter().all(|object| object["pid"] == pid && object["provider"] == "texts"));
    assert_eq!(object("text_memory")["arguments"]["number"], 1);
    assert_eq!(object("text_memory")["arguments"]["text"], "turn 1");
    assert_eq!(object("text_bad")["missing"]["text"], "fault");
    assert_eq!(object("text_long")["cut"][0], "text");
    assert_eq!(object("fewer")["missing"]["text"], "absent");
    let stack = object("text_memory")["stack"].to_string();
    assert!(stack.contains("main"), "{stack}");
    for (object, line) in objects.iter().zip(&lines) {
        // Two traces, and so two times of one hit; a second is far more than lies between them.
        let micros = object["time"].as_f64().expect("a number") * 1e6;
        assert!((micros - line.time as f64).abs() < 1e6, "{object} {line:?}");
    }
}

#[test]
fn a_recording_shows_the_same_lines() {
    let Some((bench, mut asked)) = traceable("texts.c") else {
        return;
    };
    let (pid, line) = (asked.pid(), with_names(&asked));
    let text = Trace::ready(&bench, &line);
    let simple = Trace::ready(&bench, &format!("{line} --format simple -o hits"));
    let folder = Trace::ready(&bench, &format!("{line} --format ctf -o ctf"));
    let chrome = Trace::ready(&bench, &format!("{line} --format chrome -o hits.chrome"));
    asked.ask("once");
    asked.ask("twice");
    assert_eq!(asked.end(), 0);
    let ended = [text, simple, folder, chrome].map(|trace| trace.wait().with_status(0));
    let direct = lines(&ended[0]);
    let direct = texts(&direct, pid);
    assert_eq!(direct.len(), 2 * 14);

    let shown = Memtrial::new(&bench.folder(), "trace show hits").run().with_status(0);
    assert_eq!(texts(&lines(&shown), pid), direct, "what a recording holds");
    let some = Memtrial::new(&bench.folder(), "trace show hits text_m* fewer").run().with_status(0);
    assert_eq!(lines(&some).len(), 4);

    let read =
        |folder: &str| run(Command::new(installed("babeltrace2")).current_dir(bench.folder()).arg(folder));
    let _ = Memtrial::new(&bench.folder(), "trace show hits --format ctf -o converted").run().with_status(0);
    for folder in ["ctf", "converted"] {
        let said = read(folder);
        assert_eq!(said.lines().count(), direct.len(), "{folder}: {said}");
        for (line, direct) in said.lines().zip(&direct) {
            let name = direct.split(' ').next().unwrap_or_default();
            assert!(line.contains(name), "{line} {direct}");
            if name == "text_memory" {
                assert!(line.contains("number = 1") && line.contains("text = \"turn "), "{line}");
            }
        }
    }

    let written = fs::read_to_string(bench.folder().join("hits.chrome")).expect("it was written");
    let chrome: Value = serde_json::from_str(&written).expect("JSON");
    let all = chrome.get("traceEvents").unwrap_or(&chrome).as_array().expect("a list").clone();
    let mut counts = BTreeMap::new();
    for event in all.iter().filter(|event| event["pid"] == pid && event["ph"] == "i") {
        *counts.entry(event["name"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), direct.len(), "{counts:?}");
}

#[test]
fn a_recording_needs_a_name() {
    let bench = Bench::new();
    let _ = program(&bench, "visits.c");
    for format in ["simple", "ctf"] {
        refused(&try_line(&bench.folder(), &format!("./visits --format {format}")), 2, &["-o "]);
    }
}
