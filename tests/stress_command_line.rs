//! The command lines of `memtrial stress` and `memtrial rpc`: what is refused and why, before anything is loaded.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use memtrial_tests::harness::daemon::Daemon;
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::processes::wait_for;
use memtrial_tests::harness::workshop::{Bench, copy_program};
use serde_json::Value;

/// memtrial in a folder of its own.
fn try_line(line: &str) -> Ended {
    Memtrial::new(&Bench::new().folder(), line).run()
}

/// One clear error.
#[track_caller]
fn refused(ended: &Ended, status: i32, texts: &[&str]) {
    ended.clone().with_status(status).saying(&["error: "]).saying(texts);
    assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.told());
}

#[test]
fn two_targets_are_wrong_usage() {
    for line in ["--pid 1 --name init", "--pid 1 -- true", "--name init -- true", "--pid 1 --allocator glibc"]
    {
        let _ = try_line(&format!("stress {line}")).with_status(2);
    }
    try_line("rpc --pid 1 --name init help").with_status(2).saying(&["--name"]);
}

#[test]
fn values_that_are_none_are_wrong_usage() {
    for (options, named) in [
        ("stress --pid 0", "--pid"),
        ("stress --min 0", "--min"),
        ("stress --max 4x", "--max"),
        ("stress --total 17179869184g", "--total"),
        ("stress --rate 0", "--rate"),
        ("stress --rate 5/h", "--rate"),
        ("stress --threads 0", "--threads"),
        ("stress --threads 65", "--threads"),
        ("stress --for 0", "--for"),
        ("stress --realloc 91", "--realloc"),
        ("stress --seed x", "--seed"),
        ("stress --limit 0", "--limit"),
        ("stress --max-total 0", "--max-total"),
        ("stress --probe true", "--pid"),
        ("stress --pid 1 --ready true", "CMD"),
        ("stress redis-server", "redis-server"),
        ("rpc --pid one help", "--pid"),
        ("rpc --pid 1", "METHOD"),
        ("rpc --max-total x --pid 1 help", "--max-total"),
    ] {
        try_line(options).with_status(2).saying(&[named]);
    }
}

#[test]
fn a_load_that_cant_be_made_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    for (options, texts) in [
        ("--min 2k --max 1k", ["--min", "--max"]),
        ("--max 65m", ["--max", "--total"]),
        ("--threads 4 --max 17m", ["--threads", "--total"]),
        ("--rate 1/m --for 30s", ["rate", "30 s"]),
    ] {
        refused(&Memtrial::new(&bench.folder(), &format!("stress {options}")).run(), 2, &texts);
    }
    assert_eq!(fs::read_dir(bench.folder()).expect("it is there").count(), 0);
}

#[test]
fn a_table_of_sizes_is_refused_with_the_line_that_is_wrong() {
    let bench = Bench::new();
    bench.write("sizes", "# of a server\n64 10\n4k many\n");
    bench.write("none", "# nothing\n");
    bench.write("large", "1g\n");
    let with = |options: &str| Memtrial::new(&bench.folder(), &format!("stress --sizes {options}")).run();
    refused(&with("sizes"), 2, &["sizes", "line 3", "many"]);
    refused(&with("none"), 2, &["none", "no size"]);
    refused(&with("nowhere"), 2, &["nowhere", "uniform, log"]);
    refused(&with("large"), 2, &["--total"]);
    refused(&with("large --min 16 --max 64"), 2, &["large", "--min 16", "--max 64"]);
}

#[test]
fn a_program_that_is_none_is_refused() {
    refused(&try_line("stress -- no-such-program"), 2, &["no-such-program"]);
    let bench = Bench::new();
    let text = bench.write("text", "only text\n");
    fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).expect("it is ours");
    refused(&Memtrial::new(&bench.folder(), "stress -- ./text").run(), 2, &["text"]);
}

#[test]
fn results_that_cant_be_written_are_refused() {
    let bench = Bench::new();
    bench.write("file", "");
    refused(&Memtrial::new(&bench.folder(), "stress --output file/below").run(), 2, &["file"]);
    refused(&Memtrial::new(&bench.folder(), "stress --html file/below").run(), 2, &["file"]);
}

#[test]
fn a_command_needs_one_process() {
    refused(&try_line("rpc mt.mem_used"), 2, &["no target", "--pid"]);
    // More than a pid can be (proc(5): pid_max is at most 2^22).
    refused(&try_line("rpc --pid 4194305 mt.mem_used"), 3, &["4194305"]);
    refused(&try_line("rpc --name nobody-has-it mt.mem_used"), 3, &["nobody-has-it"]);
}

#[test]
fn processes_of_one_name_are_listed_with_the_option_for_each() {
    let bench = Bench::new();
    let name = format!("twin-{}", std::process::id());
    copy_program(Path::new("/bin/sleep"), &bench.folder().join(&name));
    let [one, other] = [(); 2].map(|()| Daemon::start(&bench.folder(), &format!("./{name} 1000")));
    let pids = [one.pid(), other.pid()];
    // Until the shell has become the program.
    wait_for("both are there", || {
        let is_there = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("twin-"))
        };
        pids.iter().all(is_there).then_some(())
    });
    let choices = pids.map(|pid| format!("--pid {pid}"));
    let ended = try_line(&format!("rpc --name {name} mt.mem_used"));
    refused(&ended, 2, &["2 processes", &choices[0], &choices[1]]);
}

#[test]
fn an_agent_that_is_not_there_cant_be_sent_away() {
    let bench = Bench::new();
    let daemon = Daemon::start(&bench.folder(), "sleep 1000");
    let pid = daemon.pid();
    let memtrial = Memtrial::new(&bench.folder(), &format!("rpc --pid {pid} memtrial.leave"));
    let ended = memtrial.variable("XDG_RUNTIME_DIR", bench.beside("runtime")).run();
    refused(&ended, 2, &["no agent", &pid.to_string()]);
}

#[test]
fn methods_are_listed_without_a_target() {
    let printed = try_line("rpc help").with_status(0).stdout;
    for method in
        ["mt.mem_alloc SIZE", "mt.mem_test_start MIN MAX TOTAL MIN_INT MAX_INT TIME", "memtrial.leave"]
    {
        assert!(printed.contains(method), "{method} is not in\n{printed}");
    }
    let one = try_line("rpc --json help mt.mem_used").with_status(0).stdout;
    let one: Value = serde_json::from_str(&one).expect("it is JSON");
    let methods = one["methods"].as_array().expect("a list");
    assert_eq!(
        methods.iter().map(|method| method["name"].as_str()).collect::<Vec<_>>(),
        [Some("mt.mem_used")]
    );
    refused(&try_line("rpc help mt.mem_lost"), 2, &["mt.mem_lost"]);
}
