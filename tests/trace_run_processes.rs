//! Static probes of running and future processes: threads, children, those that are left alone, those that end, other
//! tracers beside, and a memtrial that is killed.

use std::fs;

use memtrial_tests::harness::daemon::{lives, tree};
use memtrial_tests::harness::memtrial::Ended;
use memtrial_tests::harness::processes::{signal, wait_for};
use memtrial_tests::harness::trace::{Line, Trace, lines, texts};
use memtrial_tests::harness::trace_targets::{Asked, kill, traceable};
use memtrial_tests::harness::workshop::copy_program;

/// What `visits` answers to `site` when nobody traces it.
const UNTOUCHED: &str = "byte 90 listeners 0";
/// And when `site` and `visit` are traced.
const TRACED: &str = "byte cc listeners 1";

/// What `visit N` hits in a process.
fn visited(times: u64) -> Vec<String> {
    (1..=times).map(|number| format!("visit arg1={number} arg2={}", number * number)).collect()
}

/// The hits of `visit` in a process, without the address of a text.
fn visits_of(lines: &[Line], pid: i32) -> Vec<String> {
    let texts = texts(lines, pid).into_iter().filter(|text| text.starts_with("visit "));
    texts.map(|text| text.split(" arg3=").next().unwrap_or(text).to_owned()).collect()
}

#[track_caller]
fn wait_until_untouched(asked: &mut Asked) {
    // The kernel takes breakpoints out when the last descriptor is gone, which may be a little after the process.
    wait_for("the end of all breakpoints", || (asked.ask("site") == [UNTOUCHED]).then_some(()));
}

/// The number of a child that `visits` answers with.
fn child_in(answer: &[String]) -> i32 {
    let words: Vec<&str> = answer[0].split(' ').collect();
    assert_eq!((words[0], words[3]), ("child", "0"), "it ends well: {answer:?}");
    words[1].parse().expect("a process id")
}

/// The hits that are not among the lines, as the summary says: lost, or left out because of the interrupt.
fn left_out(ended: &Ended) -> usize {
    let summary = ended.stderr.lines().last().unwrap_or_default();
    let parts = summary.split(", ").filter(|part| part.contains(" lost") || part.contains(" not written"));
    parts.filter_map(|part| part.split(' ').next()?.parse::<usize>().ok()).sum()
}

#[test]
fn each_hit_of_each_thread_is_printed_or_said_to_be_lost() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let (threads, each) = (4, 10_000);
    let trace = Trace::ready(&bench, "./visits work");
    let by_pid = Trace::ready(&bench, &format!("./visits work --pid {}", asked.pid()));
    // They are begun after the attach.
    asked.ask(&format!("threads {threads} {each}"));
    for trace in [trace, by_pid] {
        let ended = trace.interrupt().with_status(0);
        let lines = lines(&ended);
        assert_eq!(lines.len() + left_out(&ended), threads * each, "{}", ended.stderr);
        for thread in 0..threads {
            let name = thread.to_string();
            let of_it = lines.iter().filter(|line| line.argument("arg1") == name);
            let numbers: Vec<u64> =
                of_it.map(|line| line.argument("arg2").parse().expect("a number")).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "thread {thread}: each once, in its order");
        }
        assert!(lines.is_sorted_by_key(|line| line.time), "in the order of time");
    }
}

#[test]
fn counts_are_exact() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let trace = Trace::ready(&bench, "./visits --count");
    asked.ask("threads 4 10000");
    asked.ask("visit 1234");
    asked.ask("deep");
    let ended = trace.interrupt().with_status(0);
    for (name, count) in [("work", 40_000), ("visit", 1234), ("deep", 1)] {
        let line = ended.stdout.lines().find(|line| line.split([' ', ':']).any(|word| word == name));
        let line = line.unwrap_or_else(|| panic!("there is no {name}\n{}", ended.told()));
        let numbers: Vec<u64> =
            line.split_whitespace().filter_map(|word| word.replace(',', "").parse().ok()).collect();
        assert_eq!(numbers, [count], "{line}");
    }
}

#[test]
fn children_and_programs_that_they_become_are_followed() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let mut trace = Trace::ready(&bench, "./visits visit");
    asked.ask("visit 2");
    let forked = child_in(&asked.ask("fork 3"));
    let executed = child_in(&asked.ask("exec 4"));
    for (pid, times) in [(asked.pid(), 2), (forked, 3), (executed, 4)] {
        let lines = trace.wait_for_lines(pid, times);
        assert_eq!(visits_of(&lines, pid), visited(times as u64));
    }
    let ended = trace.interrupt().with_status(0);
    assert_eq!(lines(&ended).len(), 9);
}

#[test]
fn a_process_that_is_not_named_is_not_touched() {
    let Some((bench, mut one)) = traceable("visits.c") else {
        return;
    };
    let mut two = Asked::start(&bench.folder().join("visits"));
    let mut trace = Trace::ready(&bench, &format!("./visits --pid {}", one.pid()));
    assert_eq!(one.ask("site"), [TRACED]);
    assert_eq!(two.ask("site"), [UNTOUCHED]);
    assert_eq!(two.ask("visit 5"), ["worked out 0"], "it has nobody to work for");
    assert_eq!(one.ask("visit 5"), ["worked out 5"]);
    let mut three = Asked::start(&bench.folder().join("visits"));
    assert_eq!(three.ask("site"), [UNTOUCHED], "nor one that is started later");
    trace.wait_for_lines(one.pid(), 6);
    // Children are other processes, and come to no harm by breakpoints that they inherit.
    let child = child_in(&one.ask("fork 3"));
    one.ask("visit 1");
    trace.wait_for_lines(one.pid(), 7);
    let ended = trace.interrupt().with_status(0);
    let lines = lines(&ended);
    assert!(lines.iter().all(|line| line.pid == one.pid()), "{child}: {}", ended.told());
    wait_until_untouched(&mut one);
}

#[test]
fn a_process_that_becomes_the_program_anew_is_the_same() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let mut trace = Trace::ready(&bench, &format!("./visits visit --pid {}", asked.pid()));
    asked.ask("visit 1");
    asked.ask("become");
    asked.ask("visit 2");
    trace.wait_for_lines(asked.pid(), 3);
    let _ = trace.interrupt().with_status(0);
    wait_until_untouched(&mut asked);
    assert_eq!(asked.end(), 0);
}

#[test]
fn several_processes_can_be_named() {
    let Some((bench, mut one)) = traceable("visits.c") else {
        return;
    };
    let mut two = Asked::start(&bench.folder().join("visits"));
    let mut three = Asked::start(&bench.folder().join("visits"));
    let mut trace = Trace::ready(&bench, &format!("./visits visit --pid {} --pid {}", one.pid(), two.pid()));
    for asked in [&mut three, &mut one, &mut two] {
        asked.ask("visit 3");
    }
    for asked in [&one, &two] {
        assert_eq!(visits_of(&trace.wait_for_lines(asked.pid(), 3), asked.pid()), visited(3));
    }
    assert_eq!(lines(&trace.interrupt().with_status(0)).len(), 6);
}

#[test]
fn what_a_process_did_before_its_end_is_kept() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let pid = asked.pid();
    let trace = Trace::ready(&bench, &format!("./visits visit --pid {pid}"));
    asked.ask("visit 3");
    assert_eq!(asked.end(), 0);
    // There is nothing left to wait for.
    let ended = trace.wait().with_status(0);
    assert_eq!(visits_of(&lines(&ended), pid), visited(3));
}

#[test]
fn an_end_of_which_the_parent_has_not_heard_is_an_end() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let pid = asked.pid();
    let trace = Trace::ready(&bench, &format!("./visits visit --pid {pid}"));
    asked.ask("visit 1");
    signal(pid, libc::SIGKILL);
    let ended = trace.wait().with_status(0);
    assert_eq!(lines(&ended).len(), 1, "{}", ended.told());
    kill(asked);
}

#[test]
fn a_killed_memtrial_leaves_nothing_in_the_program() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let by_pid = format!("./visits --pid {}", asked.pid());
    for line in ["./visits", &by_pid] {
        let mut trace = Trace::ready(&bench, line);
        assert_eq!(asked.ask("site"), [TRACED]);
        let family = tree(trace.pid());
        trace.kill();
        wait_until_untouched(&mut asked);
        for pid in family {
            wait_for("the end of what memtrial had started", || (!lives(pid)).then_some(()));
        }
        assert_eq!(asked.ask("visit 2"), ["worked out 0"]);
        no_group_is_left();
    }
    // And all of it at once.
    let trace = Trace::ready(&bench, "./visits");
    for pid in tree(trace.pid()) {
        signal(pid, libc::SIGKILL);
    }
    let _ = trace.wait().with_status(128 + libc::SIGKILL);
    wait_until_untouched(&mut asked);
    no_group_is_left();
    // The next one starts as if nothing had been.
    let mut trace = Trace::ready(&bench, "./visits visit");
    asked.ask("visit 3");
    trace.wait_for_lines(asked.pid(), 3);
    let _ = trace.interrupt().with_status(0);
    wait_until_untouched(&mut asked);
    assert_eq!(asked.end(), 0);
}

#[track_caller]
fn no_group_is_left() {
    for place in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
        let events = fs::read_to_string(format!("{place}/uprobe_events")).unwrap_or_default();
        assert!(!events.contains("memtrial"), "{events}");
    }
}

#[test]
fn two_of_us_see_the_same() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let mut one = Trace::ready(&bench, "./visits");
    let mut two = Trace::ready(&bench, "./visits");
    // The kernel listens once for both.
    assert_eq!(asked.ask("site"), [TRACED]);
    asked.ask("visit 3");
    for trace in [&mut one, &mut two] {
        assert_eq!(visits_of(&trace.wait_for_lines(asked.pid(), 4), asked.pid()), visited(3));
    }
    let _ = one.interrupt().with_status(0);
    asked.ask("visit 3");
    two.wait_for_lines(asked.pid(), 7);
    assert_eq!(asked.ask("site"), [TRACED], "the first has left the second's breakpoints alone");
    let _ = two.interrupt().with_status(0);
    wait_until_untouched(&mut asked);
}

#[test]
fn bpftrace_on_the_same_probes_sees_the_same() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let path = bench.folder().join("visits");
    let probe = |name: &str| format!("usdt:{}:visits:{name}", path.display());
    let script = format!(
        "{} {{ printf(\"%d@0.000000:visit arg1=%d arg2=%d arg3=%lu\\n\", pid, arg0, arg1, arg2); }} \
         {} {{ printf(\"%d@0.000000:site\\n\", pid); }}",
        probe("visit"),
        probe("site")
    );
    // Before ours and longer than ours, and the other way round.
    let other = |asked: &mut Asked| {
        let other = Trace::bpftrace(&bench, &script);
        // A breakpoint is there before anybody listens.
        wait_for("bpftrace", || {
            asked.ask("site");
            other.printed().contains(":site").then_some(())
        });
        other
    };
    let early = other(&mut asked);
    let mut ours = Trace::ready(&bench, "./visits visit");
    assert_eq!(asked.ask("visit 100"), ["worked out 100"]);
    let seen = ours.wait_for_lines(asked.pid(), 100);
    assert_eq!(visits_of(&seen, asked.pid()), visited(100));
    let late = other(&mut asked);
    asked.ask("visit 50");
    let seen = ours.wait_for_lines(asked.pid(), 150);
    let _ = ours.interrupt().with_status(0);
    assert_eq!(asked.ask("visit 1"), ["worked out 151"], "the others still listen");
    for (trace, times) in [(&early, 151), (&late, 51)] {
        let theirs = wait_for("all that bpftrace saw", || {
            let lines: Vec<String> =
                trace.printed().lines().filter(|line| line.contains('@')).map(str::to_owned).collect();
            let lines: Vec<Line> =
                lines.iter().map(|line| Line::read(line)).filter(|line| line.name() == "visit").collect();
            (lines.len() >= times).then_some(lines)
        });
        let (mut theirs, ours) = (texts(&theirs, asked.pid()), texts(&seen, asked.pid()));
        // And the one that ours was not there for any more.
        let mut expected = [&ours[ours.len() + 1 - times..], &ours[..1]].concat();
        // It prints what happened on one processor, and then what happened on another.
        theirs.sort_unstable();
        expected.sort_unstable();
        assert_eq!(theirs, expected);
    }
    for trace in [early, late] {
        let _ = trace.interrupt_until_it_ends();
    }
    wait_until_untouched(&mut asked);
}

#[test]
fn a_binary_that_is_replaced_is_said() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let mut trace = Trace::ready(&bench, "./visits visit");
    let (old, new) = (bench.folder().join("visits"), bench.beside("new"));
    copy_program(&old, &new);
    fs::rename(&new, &old).expect("one file system");
    trace.wait_until_it_says("replaced");
    // What runs the old file is traced still; what is started now is another program.
    asked.ask("visit 2");
    assert_eq!(visits_of(&trace.wait_for_lines(asked.pid(), 2), asked.pid()), visited(2));
    let mut other = Asked::start(&old);
    assert_eq!(other.ask("visit 2"), ["worked out 0"]);
    let ended = trace.interrupt().with_status(0);
    assert_eq!(lines(&ended).len(), 2);
    kill(other);
}
