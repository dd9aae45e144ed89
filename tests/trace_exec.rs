//! `memtrial trace exec`: what a program does with memory is told as it happened, and the program is none the worse for it.

use std::path::Path;

use memtrial_tests::harness::daemon::{Daemon, answer, shell};
use memtrial_tests::harness::hits::{Hit, hits, target};
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::packaged::{open_bench, unprivileged};
use memtrial_tests::harness::processes::{Mark, scratch_folders, signal, wait_for};
use memtrial_tests::harness::trace::can_trace;
use memtrial_tests::harness::workshop::Bench;

/// `memtrial trace exec` with these words, hits into the file `hits`.
fn exec(bench: &Bench, words: &str) -> Memtrial {
    Memtrial::new(&bench.folder(), "trace exec -o hits").arguments(words.split_whitespace())
}

/// The hits in the file.
fn seen(bench: &Bench) -> Vec<Hit> {
    hits(&std::fs::read_to_string(bench.folder().join("hits")).expect("hits"))
}

/// The events of one process between two marks.
fn between_marks(all: &[Hit]) -> Vec<String> {
    let mark = |text: &'static str| move |hit: &&Hit| hit.name == "mark" && hit.arguments.starts_with(text);
    let begin = all.iter().position(|hit| mark("text=begin")(&hit)).expect("a mark at the beginning");
    let end = all.iter().position(|hit| mark("text=end")(&hit)).expect("a mark at the end");
    all[begin + 1..end].iter().map(Hit::told).collect()
}

#[test]
fn each_call_is_told_with_what_it_was_given_and_what_it_returned() {
    let bench = Bench::new();
    let program = target(&bench, "known_calls", &[]);
    for argument in [&[][..], &["in a thread"]] {
        let ended = exec(&bench, "--").arguments([&program]).arguments(argument).run().with_status(0);
        let truth: Vec<&str> = ended.stdout.lines().collect();
        assert_eq!(truth.len(), 18, "{}", ended.told());
        assert_eq!(between_marks(&seen(&bench)), truth, "{}", ended.told());
        let ended = ended.saying(&[" hits; ", "ended with status 0"]);
        assert!(!ended.stderr.contains("lost"), "{}", ended.told());
    }
    assert!(seen(&bench).iter().any(|hit| hit.name == "thread"), "the thread is told of");
}

#[test]
fn each_call_is_told_with_its_stack() {
    let bench = Bench::new();
    let program = target(&bench, "known_calls", &["-g"]);
    for (argument, caller) in [(&[][..], " main [known_calls]"), (&["in a thread"], "libc.so.6")] {
        let ended = exec(&bench, "--stack --").arguments([&program]).arguments(argument).run().with_status(0);
        let all = seen(&bench);
        assert_eq!(between_marks(&all), ended.stdout.lines().collect::<Vec<_>>(), "{}", ended.told());
        let calls = |hit: &&Hit| hit.stack.first().is_some_and(|frame| frame.contains("known_calls.c:"));
        let own: Vec<&Hit> = all.iter().filter(calls).filter(|hit| hit.name != "thread").collect();
        assert_eq!(own.len(), 18, "{all:#?}");
        for hit in own {
            assert!(hit.stack[0].ends_with(" calls [known_calls]"), "{hit:#?}");
            assert!(hit.stack[1].contains(caller), "{hit:#?}");
        }
    }
    let thread = seen(&bench).into_iter().find(|hit| hit.name == "thread").expect("the thread is told of");
    assert!(thread.stack[0].ends_with(" main [known_calls]"), "{thread:#?}");
    let program = target(&bench, "family", &["-g"]);
    let ended = exec(&bench, "--stack --").arguments([&program]).run().with_status(0);
    let all = seen(&bench);
    let executed = all.iter().find(|hit| hit.name == "exec").expect("a program is executed");
    assert!(executed.stack[0].contains("family.c:"), "{executed:#?}");
    let after = all.iter().find(|hit| hit.told().starts_with("alloc bytes=3003 ")).expect("it allocates");
    assert!(after.stack[0].contains("family.c:"), "the program that is executed: {after:#?}");
    let ended = ended.saying(&[" hits; "]);
    assert!(!ended.stderr.contains("warning"), "{}", ended.told());
    let refused = exec(&bench, "--stack --backend simple=mine --").arguments([&program]).run().with_status(2);
    let _ = refused.saying(&["a recording has no room for call stacks"]);
}

#[test]
fn only_what_is_selected_is_told() {
    let bench = Bench::new();
    let program = target(&bench, "known_calls", &[]);
    let ended = exec(&bench, "*alloc memtrial:mark -realloc --").arguments([&program]).run().with_status(0);
    let truth: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("alloc ")).collect();
    assert_eq!(between_marks(&seen(&bench)), truth, "{}", ended.told());
    let ended = exec(&bench, "aloc -- true").run().with_status(1);
    let _ = ended.saying(&["is selected by aloc", "memtrial:alloc"]);
}

#[test]
fn processes_and_programs_that_come_of_it_are_told_of_too() {
    let bench = Bench::new();
    let program = target(&bench, "family", &[]);
    let ended = exec(&bench, "--").arguments([&program]).run().with_status(0);
    let pids: Vec<i32> = ended.stdout.split_whitespace().map(|word| word.parse().expect("numbers")).collect();
    let [parent, child, 7] = pids[..] else { panic!("{}", ended.told()) };
    let all = seen(&bench);
    let who = |text: &str| -> Vec<i32> {
        all.iter().filter(|hit| hit.told().starts_with(text)).map(|hit| hit.pid).collect()
    };
    assert_eq!(who("alloc bytes=1001 "), [parent]);
    assert_eq!(who("alloc bytes=2002 "), [child]);
    assert_eq!(who("alloc bytes=3003 "), [child], "as another program");
    assert_eq!(who(&format!("fork child={child}")), [parent]);
    assert_eq!(who(&format!("exec path={}", program.display())), [child]);
    assert!(all.is_sorted_by_key(|hit| hit.time), "hits of all processes are in the order of their times");
}

#[test]
fn a_recording_of_a_process_that_was_killed_is_complete() {
    let bench = Bench::new();
    let program = target(&bench, "killed", &[]);
    let ended = exec(&bench, "--backend simple=recording --").arguments([&program]).run().with_status(0);
    let ended = ended.saying(&["was ended by SIGKILL"]);
    let shown = Memtrial::new(&bench.folder(), "trace show recording").run().with_status(0);
    for all in [hits(&shown.stdout), seen(&bench)] {
        for thread in 1..=4_u64 {
            let sizes: Vec<u64> = all
                .iter()
                .filter(|hit| hit.name == "alloc")
                .filter_map(|hit| hit.arguments.strip_prefix("bytes=")?.split(' ').next()?.parse().ok())
                .filter(|size| size / 10_000 == thread && size % 10_000 != 0)
                .collect();
            let expected: Vec<u64> = (1..=5000).map(|number| 10_000 * thread + number).collect();
            assert!(sizes == expected, "{} of 5000 in thread {thread}\n{}", sizes.len(), ended.told());
        }
    }
}

/// Runs a command by itself and under trace: stdout and status must be the same.
fn is_the_same(bench: &Bench, line: &str) -> Ended {
    let alone = shell(&bench.folder(), line);
    let ended = exec(bench, "-- sh -c").arguments([line]).run().with_status(0);
    assert_eq!(ended.stdout, String::from_utf8_lossy(&alone.stdout), "{}", ended.told());
    let status = alone.status.code().expect("it exits");
    let ended = ended.saying(&[&format!("ended with status {status}")]);
    assert!(!ended.stderr.contains("lost"), "{}", ended.told());
    ended
}

#[test]
fn real_programs_do_what_they_do_without_it() {
    let bench = Bench::new();
    bench.write("page.xml", "<a>".repeat(50) + &"</a>".repeat(50));
    for line in [
        "seq 50000 | sort -r | uniq | md5sum; exit 3",
        "sqlite3 :memory: 'create table t(x); insert into t values(1),(2); select sum(x) from t'",
        "xmllint --format page.xml",
        "python3 -c 'import json, threading; t = threading.Thread(target=print, args=(1,)); t.start(); t.join()'",
    ] {
        let ended = is_the_same(&bench, line);
        let all = seen(&bench);
        let count = |name: &str| all.iter().filter(|hit| hit.name == name).count();
        assert!(count("alloc") > 10 && count("free") > 10, "{}", ended.told());
        assert!(all.is_sorted_by_key(|hit| hit.time), "{}", ended.told());
    }
}

#[test]
fn no_block_is_given_out_twice_without_being_freed_between() {
    let bench = Bench::new();
    let ended = exec(&bench, "alloc realloc free fork -- sqlite3 :memory:")
        .arguments(["with recursive n(i) as (select 1 union all select i+1 from n where i<2000)
                     select count(distinct hex(randomblob(i%97))) > 1 from n"])
        .run()
        .with_status(0);
    let mut live = std::collections::HashSet::new();
    let word = |hit: &Hit, name: &str| {
        let mut words = hit.arguments.split(' ');
        words.find_map(|word| word.strip_prefix(name)).map(str::to_owned).expect("it is an argument")
    };
    for hit in seen(&bench) {
        if hit.name == "free" || hit.name == "realloc" {
            live.remove(&word(&hit, if hit.name == "free" { "block=" } else { "old=" }));
        }
        if hit.name == "alloc" || hit.name == "realloc" {
            assert!(live.insert(word(&hit, "block=")), "{hit:?} is live already\n{}", ended.told());
        }
    }
}

#[test]
fn it_works_without_rights() {
    let bench = open_bench();
    let line = format!("{}memtrial trace exec alloc -- sort /etc/passwd 2>hits", unprivileged());
    let ended = Memtrial::by_shell(&bench.folder(), &line).run().with_status(0);
    assert_eq!(ended.stdout, answer(&bench.folder(), "LC_ALL=C sort /etc/passwd") + "\n");
    assert!(seen(&bench).len() > 10, "{}", ended.told());
}

#[test]
fn a_library_is_found_by_the_path_of_who_loads_it() {
    let bench = Bench::new();
    std::fs::create_dir(bench.beside("plugins")).expect("a new folder");
    let plugin = target(&bench, "plugin", &["-shared", "-fPIC"]);
    std::fs::rename(plugin, bench.beside("plugins/libplugin.so")).expect("it is ours");
    let program = target(&bench, "plugin_host", &["-Wl,--enable-new-dtags,-rpath,$ORIGIN/plugins"]);
    let ended = exec(&bench, "--").arguments([&program]).run().with_status(0);
    let ended = ended.saying(&["ended with status 0"]);
    let told: Vec<String> = seen(&bench).iter().map(Hit::told).collect();
    for expected in ["dlopen path=libplugin.so flags=0x2", "alloc bytes=5005 ", "dlclose handle="] {
        assert!(told.iter().any(|told| told.starts_with(expected)), "{expected}\n{}", ended.told());
    }
}

#[test]
fn a_program_runs_to_its_end_where_nothing_can_be_written_down() {
    let bench = Bench::new();
    let ended = Memtrial::new(&bench.folder(), "trace exec -o /dev/full -- sh -c")
        .arguments(["for i in 1 2 3 4 5; do sleep 0.1; ls / >/dev/null; done; echo done"])
        .run()
        .with_status(4)
        .saying(&["cannot write to /dev/full", "make room"]);
    assert_eq!(ended.stdout, "done\n");
}

#[test]
fn what_the_agent_cannot_get_into_is_refused() {
    let bench = Bench::new();
    let program = target(&bench, "family", &["-static"]);
    let ended = exec(&bench, "--").arguments([&program]).run().with_status(4);
    let _ = ended.saying(&["statically linked", "link it dynamically"]);
    let _ = exec(&bench, "-- no-such-program").run().with_status(2).saying(&["no such program"]);
}

#[test]
fn a_program_is_named_that_the_agent_cannot_get_into_when_it_is_executed() {
    let bench = Bench::new();
    let program = target(&bench, "family", &["-static"]);
    let line = format!("{0} >first; {0} >second; true", program.display());
    let ended = exec(&bench, "-- sh -c").arguments([&line]).run().with_status(0);
    let warning =
        format!("warning: nothing is told of {}, which was executed: statically", program.display());
    assert_eq!(ended.stderr.matches(&warning).count(), 1, "{}", ended.told());
    let good = target(&bench, "family", &[]);
    let line = format!("{}; true", good.display());
    let ended = exec(&bench, "-- sh -c").arguments([&line]).run().with_status(0);
    assert!(!ended.stderr.contains("warning"), "{}", ended.told());
}

#[test]
fn what_the_user_sends_is_for_the_program() {
    let bench = Bench::new();
    let script = "trap 'echo got it; exit 5' INT; echo ready > state; while :; do sleep 0.05; done";
    // Whoever runs the tests may have them ignore it, as shells have what runs in the background.
    let running = exec(&bench, "-- env --default-signal=INT sh -c").arguments([script]).start();
    wait_for("the program runs", || bench.folder().join("state").exists().then_some(()));
    signal(running.pid(), libc::SIGINT);
    let ended = running.wait().with_status(0).saying(&["ended with status 5"]);
    assert_eq!(ended.stdout, "got it\n");
}

/// A terminal of its own for a command; once the file `state` is there, control-C is typed.
const TERMINAL: &str = r#"
import os, pty, select, signal, sys, time
pid, terminal = pty.fork()
if pid == 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
typed, said = False, b""
while True:
    if not typed and os.path.exists("state"):
        os.write(terminal, b"\x03")
        typed = True
    if select.select([terminal], [], [], 0.05)[0]:
        try:
            more = os.read(terminal, 4096)
        except OSError:
            more = b""
        if not more:
            break
        said += more
sys.stdout.write(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn control_c_ends_the_program_and_the_rest_is_still_printed() {
    let bench = Bench::new();
    bench.write("terminal.py", TERMINAL);
    bench.write(
        "run.sh",
        "trap 'echo got it; exit 5' INT; [ -t 0 ] && echo ready > state; while :; do sleep 0.05; done",
    );
    let line = "python3 terminal.py memtrial trace exec -o hits -- sh run.sh";
    let ended = Memtrial::by_shell(&bench.folder(), line).run().with_status(0);
    assert!(
        ended.stdout.contains("got it") && ended.stdout.contains("ended with status 5"),
        "{}",
        ended.told()
    );
    assert_eq!(ended.stdout.matches("got it").count(), 1, "once: {}", ended.told());
    assert!(!seen(&bench).is_empty(), "{}", ended.told());
}

#[test]
fn a_program_whose_time_is_over_is_asked_to_end() {
    let bench = Bench::new();
    let ended = exec(&bench, "--duration 1s -- sleep 1000").run().with_status(0);
    let _ = ended.saying(&["was ended by SIGTERM, asked to as the time was over"]);
}

#[test]
fn what_a_program_leaves_behind_lives_on_and_is_traced_no_more() {
    let bench = Bench::new();
    let mark = Mark::new("left-behind");
    let script = "sh -c 'while :; do sleep 0.05; done' >/dev/null 2>&1 & exit 0";
    let running = exec(&bench, "-- sh -c").arguments([script]).variable("MARK", mark.word()).start();
    let main = running.pid();
    let _ = running.wait().with_status(0).saying(&["1 of those that it has started live on"]);
    assert!(scratch_folders(main).is_empty(), "no scratch folder is left");
    // Its environment is not to be seen while it executes its program.
    wait_for("it lives", || mark.processes().iter().any(|process| process.name == "sh").then_some(()));
}

#[test]
fn nothing_outlives_a_memtrial_that_is_killed() {
    for worker in [false, true] {
        let bench = Bench::new();
        let mark = Mark::new(&format!("killed-trace-{worker}"));
        let script = "setsid sleep 1000 & echo ready > state; sleep 1000";
        let running = exec(&bench, "-- sh -c").arguments([script]).variable("MARK", mark.word()).start();
        wait_for("the program runs", || {
            let sleeping = mark.processes().iter().filter(|process| process.name == "sleep").count() == 2;
            (sleeping && bench.folder().join("state").exists()).then_some(())
        });
        let main = running.pid();
        let worker =
            worker.then(|| mark.processes().iter().find(|all| all.name == "trial-worker").map(|it| it.pid));
        signal(worker.map_or(main, |pid| pid.expect("the worker lives")), libc::SIGKILL);
        let _ = running.wait();
        wait_for("no process is left", || mark.processes().is_empty().then_some(()));
        wait_for("no scratch folder is left", || scratch_folders(main).is_empty().then_some(()));
    }
}

#[test]
fn events_are_switched_while_a_program_runs() {
    let bench = Bench::new();
    let program = target(&bench, "steady", &[]);
    let line = format!("memtrial trace exec -o hits free -- {}", program.display());
    let mut running = Daemon::start(&bench.folder(), &with_memtrial(&line));
    let pid = wait_for("the program runs", || {
        let all = hits(&std::fs::read_to_string(bench.folder().join("hits")).unwrap_or_default());
        all.first().map(|hit| hit.pid)
    });
    let switch = |words: &str| {
        let words = words.replace("PID", &pid.to_string());
        Memtrial::new(&bench.folder(), "trace").arguments(words.split_whitespace()).run()
    };
    let told = switch("enable --pid PID alloc").with_status(0).stdout;
    assert_eq!(told, format!("enabled in process {pid}: alloc free\n"));
    wait_for("allocations are told of", || seen(&bench).iter().any(|hit| hit.name == "alloc").then_some(()));
    assert!(switch("disable --pid PID").with_status(0).stdout.ends_with(": no event\n"));
    let _ = switch("enable --pid PID aloc").with_status(1).saying(&["perhaps memtrial:alloc is meant"]);
    let _ = switch(&format!("enable --pid {} alloc", std::process::id()))
        .with_status(2)
        .saying(&["is not being traced"]);
    assert!(running.is_alive());
    signal(pid, libc::SIGTERM);
    wait_for("the trace has ended", || (!running.is_alive()).then_some(()));
    assert!(running.said().contains("was ended by SIGTERM"), "{}", running.said());
}

/// A command line in which memtrial stands by its path.
fn with_memtrial(line: &str) -> String {
    let program = &memtrial_tests::harness::executable::built().executable;
    line.replacen("memtrial", &program.display().to_string(), 1)
}

#[test]
fn static_probes_and_memory_events_come_in_one_order() {
    if !can_trace() {
        return;
    }
    if !Path::new("/usr/include/sys/sdt.h").exists() {
        println!("skipped: static probes take systemtap-sdt-dev");
        return;
    }
    let bench = Bench::new();
    let program = target(&bench, "steps", &[]);
    // Another process of the same program is none of ours.
    let other = Daemon::start(&bench.folder(), &format!("{} forever", program.display()));
    let running = exec(&bench, "steps:* alloc --").arguments([&program]).start();
    // Of a child that ends at once, nobody might see in time whose it is.
    wait_for("the child's probe", || {
        let told = std::fs::read_to_string(bench.folder().join("hits")).unwrap_or_default();
        hits(&told).iter().any(|hit| hit.name == "child").then_some(())
    });
    bench.write("seen", "");
    let ended = running.wait().with_status(0);
    let all = seen(&bench);
    assert!(all.iter().all(|hit| hit.pid != other.pid()), "{}", ended.told());
    let steps: Vec<String> = all.iter().filter(|hit| hit.name != "fork").map(Hit::told).collect();
    let ours = |number: usize| format!("alloc bytes={} ", 7000 + number);
    for number in 0..3 {
        let at = |wanted: &str| steps.iter().position(|step| step.starts_with(wanted)).expect("it is told");
        let step = at(&format!("step arg1={number}"));
        assert!(at(&ours(number)) < step && step < at(&ours(number + 1)), "{steps:?}");
    }
    assert!(steps.iter().any(|step| step.starts_with("child arg1=9")), "{steps:?}");
}
