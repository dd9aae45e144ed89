//! Where the agent sends memory events: each backend takes what the trace prints.

use std::process::Command;

use memtrial_tests::harness::hits::{Hit, hits, target};
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::packaged::{is_root, open_bench, unprivileged};
use memtrial_tests::harness::workshop::Bench;

/// Runs the program of known calls with a backend; what a shell did before and does after is part of it.
fn exec(bench: &Bench, before: &str, backend: &str, after: &str) -> Ended {
    let program = target(bench, "known_calls", &[]).display().to_string();
    let line = format!(
        "{before}\nmemtrial trace exec -o hits --backend {backend} -- {program} >truth || exit\n{after}"
    );
    Memtrial::by_shell(&bench.folder(), &line).run()
}

fn file(bench: &Bench, name: &str) -> String {
    std::fs::read_to_string(bench.folder().join(name)).unwrap_or_default()
}

/// Who did what, in order.
fn deeds(all: &[Hit]) -> Vec<(i32, String)> {
    all.iter().map(|hit| (hit.pid, hit.told())).collect()
}

/// That these lines have, in order, what the program says that it did.
fn has_the_truth(bench: &Bench, lines: &[&str], ended: &Ended) {
    let truth = file(bench, "truth");
    assert!(!truth.is_empty(), "{}", ended.told());
    let mut rest = lines.iter();
    for expected in truth.lines() {
        assert!(rest.any(|line| line.contains(expected)), "{expected}\nin {lines:#?}\n{}", ended.told());
    }
}

#[test]
fn the_log_has_what_is_printed() {
    let bench = Bench::new();
    let ended = exec(&bench, "", "log=log", "").with_status(0);
    let log = file(&bench, "log");
    assert_eq!(deeds(&hits(&log)), deeds(&hits(&file(&bench, "hits"))), "{}", ended.told());
    has_the_truth(&bench, &log.lines().collect::<Vec<_>>(), &ended);
    let ended = exec(&bench, "", "log", "").with_status(0);
    has_the_truth(&bench, &ended.stderr.lines().collect::<Vec<_>>(), &ended);
}

#[test]
fn the_recording_has_what_is_printed() {
    let bench = Bench::new();
    let ended = exec(&bench, "", "simple=recording --backend log=log", "memtrial trace show recording")
        .with_status(0);
    assert_eq!(deeds(&hits(&ended.stdout)), deeds(&hits(&file(&bench, "hits"))), "{}", ended.told());
    assert_eq!(hits(&file(&bench, "log")).len(), hits(&ended.stdout).len(), "both at once");
}

#[test]
fn what_goes_to_a_backend_is_printed_only_if_something_says_how() {
    let bench = Bench::new();
    let program = target(&bench, "known_calls", &[]).display().to_string();
    let line = format!(
        "memtrial trace exec --backend simple=recording -- {program} >truth && memtrial trace show recording"
    );
    let ended = Memtrial::by_shell(&bench.folder(), &line).run().with_status(0);
    assert_eq!(
        ended.stderr,
        format!("memory events were sent to the backends; {program} ended with status 0\n")
    );
    has_the_truth(&bench, &ended.stdout.lines().collect::<Vec<_>>(), &ended);
}

/// How many events a backend did not take, by what memtrial says.
fn not_sent(ended: &Ended) -> usize {
    let said = ended.stderr.lines().find_map(|line| {
        line.strip_prefix("warning: ")?.strip_suffix(" events could not be sent to a backend")?.parse().ok()
    });
    said.unwrap_or(0)
}

/// Runs a script in a mount namespace of its own; `None`, and the reason printed, where there can be none.
fn apart(bench: &Bench, set_up: &str, backend: &str, after: &str) -> Option<Ended> {
    let possible =
        Command::new("unshare").args(["-m", "sh", "-c", set_up]).output().expect("there is unshare");
    if !possible.status.success() {
        println!("skipped: {}", String::from_utf8_lossy(&possible.stderr));
        return None;
    }
    let program = target(bench, "known_calls", &[]).display().to_string();
    let exec = format!("memtrial trace exec -o hits --backend {backend} -- {program} >truth || exit");
    bench.write("script", format!("{set_up}\n{exec}\n{after}\n"));
    Some(Memtrial::by_shell(&bench.folder(), "unshare -m sh script").run())
}

/// A `/dev` with nothing but what programs need.
const EMPTY_DEV: &str = "set -e
place=$(mktemp -d)
mount -t tmpfs nodev $place
for name in null zero urandom; do touch $place/$name; mount --bind /dev/$name $place/$name; done
mount --move $place /dev
rmdir $place
set +e";

/// Listens at `/dev/log` and writes down what comes.
const LISTENER: &str = r#"
import socket, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
open("listening", "w").close()
with open("syslog", "w") as out:
    while True:
        said = log.recv(65536)
        if said == b"end":
            break
        out.write(said.decode() + "\n")
"#;

#[test]
fn syslog_gets_a_datagram_for_each() {
    let bench = Bench::new();
    bench.write("listener.py", LISTENER);
    let set_up = format!(
        "{EMPTY_DEV}\nif [ -e listener.py ]; then python3 listener.py & while [ ! -e listening ]; do sleep 0.05; done; fi"
    );
    let after = "python3 -c 'import socket; \
                 socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b\"end\", \"/dev/log\")'; wait";
    let Some(ended) = apart(&bench, &set_up, "syslog", after) else { return };
    let log = file(&bench, "syslog");
    let lines: Vec<&str> = log.lines().collect();
    // The agent does not wait for a daemon whose queue is full: what it does not take is counted.
    let all = deeds(&hits(&file(&bench, "hits")));
    assert!(!lines.is_empty() && lines.len() + not_sent(&ended) == all.len(), "{}", ended.told());
    // Priority, time and name as of syslog(3).
    assert!(lines.iter().all(|line| line.starts_with('<')), "{lines:#?}");
    let mut rest = all.iter();
    for line in &lines {
        assert!(rest.any(|(_, deed)| line.contains(deed.as_str())), "{line}\nin {all:#?}\n{}", ended.told());
    }
    let bench = Bench::new();
    let Some(ended) = apart(&bench, EMPTY_DEV, "syslog", "") else { return };
    let _ = ended.with_status(4).saying(&["nobody listens at /dev/log", "start a syslog daemon"]);
}

#[test]
fn the_kernels_trace_buffer_gets_a_line_for_each() {
    let bench = Bench::new();
    let mount =
        "set -e; grep -q ' tracefs ' /proc/mounts || mount -t tracefs nodev /sys/kernel/tracing; set +e";
    let after = "folder=$(awk '$3 == \"tracefs\" { print $2; exit }' /proc/mounts); cat $folder/trace >trace";
    let Some(ended) = apart(&bench, mount, "ftrace", after) else { return };
    let trace = file(&bench, "trace");
    let pid = hits(&file(&bench, "hits")).first().map_or(0, |hit| hit.pid);
    let lines: Vec<&str> = trace.lines().filter(|line| line.contains(&format!("-{pid} "))).collect();
    has_the_truth(&bench, &lines, &ended);
}

#[test]
fn what_a_backend_needs_is_named() {
    let bench = Bench::new();
    if std::fs::read_to_string("/proc/mounts").is_ok_and(|mounts| !mounts.contains(" tracefs ")) {
        let ended = exec(&bench, "", "ftrace", "").with_status(4);
        let _ = ended.saying(&["help: mount it: mount -t tracefs nodev /sys/kernel/tracing"]);
    }
    let _ = exec(&bench, "", "dtrace", "").with_status(2).saying(&["there is no backend dtrace"]);
    let ended = exec(&bench, "", "log=/nowhere/at/all", "").with_status(4);
    let _ = ended.saying(&["/nowhere/at/all", "name a file that can be written"]);
}

#[test]
fn lttng_records_each() {
    if !["lttng", "lttng-sessiond", "babeltrace2"].iter().all(|name| is_there(name)) {
        println!("skipped: lttng-tools and babeltrace2 are not installed");
        return;
    }
    let bench = open_bench();
    let home = bench.folder();
    let program = target(&bench, "known_calls", &[]);
    // As a user of its own, whose sessions are nobody else's; only root could take the machine's.
    let user = if is_root() { unprivileged() } else { "" };
    let script = format!(
        "export HOME={home} LTTNG_HOME={home} LTTNG_UST_REGISTER_TIMEOUT=-1
         lttng-sessiond --no-kernel --daemonize >sessiond 2>&1 || exit 77
         {{ lttng create events -o {home}/recorded && lttng enable-event -u 'lttng_ust_tracef:*' && lttng start; }} >set_up 2>&1
         memtrial trace exec -o hits --backend ust alloc free realloc fail map unmap remap map_fail -- {program} >truth
         status=$?
         {{ lttng stop; lttng destroy; }} >torn_down 2>&1
         kill $(cat .lttng/lttng-sessiond.pid)
         babeltrace2 recorded >read
         exit $status",
        home = home.display(),
        program = program.display()
    );
    bench.write("script", script);
    let ended = Memtrial::by_shell(&home, &format!("{user}sh script")).run();
    if ended.status == 77 {
        println!("skipped: lttng-sessiond does not start here: {}", file(&bench, "sessiond"));
        return;
    }
    let ended = ended.with_status(0);
    assert!(!ended.stderr.contains("warning"), "{}", ended.told());
    let read = file(&bench, "read");
    has_the_truth(&bench, &read.lines().collect::<Vec<_>>(), &ended);
}

fn is_there(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|found| found.status.success())
}
