//! The commands on the heap of a small daemon: those of the original's manual, what each does, and how the agent leaves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use memtrial_tests::harness::control_socket::Connection;
use memtrial_tests::harness::daemon::{Daemon, answer};
use memtrial_tests::harness::packaged::{is_root, open_bench};
use memtrial_tests::harness::processes::{signal, wait_for};
use memtrial_tests::harness::programs::installed;
use memtrial_tests::harness::stress::{Small, Stress, private, threads, wait_for_threads};
use memtrial_tests::harness::stress_targets::folder;
use memtrial_tests::harness::workshop::{Workshop, run};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// A daemon that waits in poll, with a thread that allocates a little.
struct Busy {
    small: Small,
    daemon: Daemon,
    before: Vec<String>,
    _workshop: Workshop,
}

impl Busy {
    fn start() -> Busy {
        let workshop = Workshop::new();
        let small = Small::new(&workshop, "busy", false, "1 1000");
        let daemon = small.daemon();
        let before = threads(daemon.pid());
        Busy { small, daemon, before, _workshop: workshop }
    }

    fn pid(&self) -> i32 {
        self.daemon.pid()
    }

    fn stress(&self) -> &Stress {
        &self.small.stress
    }

    #[track_caller]
    fn print(&self, words: &str) -> String {
        self.stress().print(self.pid(), words)
    }

    /// A connection to the agent, which this loads into the daemon.
    #[track_caller]
    fn connect(&self, options: &str) -> Connection {
        let _ = self.print(&format!("{options} mt.mem_used"));
        Connection::to(&self.stress().socket(self.pid()))
    }

    /// It has none but its own threads, and answers; nothing of its own is damaged, else it would have ended.
    #[track_caller]
    fn is_as_before(&mut self) {
        wait_for_threads(self.pid(), &self.before);
        let socket = self.stress().socket(self.pid());
        // Whoever removes it waits for the threads first.
        wait_for("the socket is gone", || (!socket.exists()).then_some(()));
        self.answers();
    }

    #[track_caller]
    fn answers(&mut self) {
        assert!(self.daemon.is_alive(), "{}", self.daemon.said());
        let _ = answer(&self.stress().bench.folder(), &self.small.request("alive"));
    }
}

/// The structures that a list prints: names and values.
fn structures(printed: &str) -> Vec<BTreeMap<String, String>> {
    let mut all = Vec::new();
    for line in printed.lines() {
        match line.trim() {
            "{" => all.push(BTreeMap::new()),
            "}" => {}
            field => {
                let (name, value) = field.split_once(':').unwrap_or_else(|| panic!("no field: {line}"));
                let last: &mut BTreeMap<String, String> =
                    all.last_mut().expect("fields stand between braces");
                last.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
    }
    all
}

fn ids(list: &Value) -> Vec<u64> {
    let tests = list["tests"].as_array().expect("a list of tests");
    tests.iter().map(|test| test["id"].as_u64().expect("a number")).collect()
}

/// The figures of one test.
#[track_caller]
fn test(control: &mut Connection, id: u64) -> Value {
    let list = control.call("mt.mem_test_list", json!([id]));
    assert_eq!(ids(&list), [id], "{list}");
    list["tests"][0].clone()
}

/// One of its figures.
#[track_caller]
fn figure(control: &mut Connection, id: u64, name: &str) -> u64 {
    let test = test(control, id);
    test[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {test}"))
}

#[track_caller]
fn used(control: &mut Connection) -> (u64, u64) {
    let used = control.call("mt.mem_used", json!([]));
    (used["bytes"].as_u64().expect("a number"), used["chunks"].as_u64().expect("a number"))
}

/// Starts a test of chunks of 16 to 64 bytes, one each 0.1 ms, for a minute; returns its id.
#[track_caller]
fn start(control: &mut Connection, total: u64) -> u64 {
    let started = control.call("mt.mem_test_start", json!([16, 64, total, 0.1, 0.1, 60_000]));
    started["id"].as_u64().expect("a number")
}

#[test]
fn the_sessions_of_the_original_manual_go_as_they_are_printed_there() {
    let mut busy = Busy::start();
    assert_eq!(busy.print("cfg.set_now_int malloc_test check_content 1"), "");
    assert_eq!(busy.print("cfg.get malloc_test check_content"), "1");
    assert_eq!(busy.print("mt.mem_alloc 10 k"), "");
    assert_eq!(busy.print("mt.mem_used"), "10240");
    // In the unit that was given, rounded down.
    assert_eq!(busy.print("mt.mem_free 1 m"), "0");
    assert_eq!(busy.print("mt.mem_used"), "0");
    assert_eq!(busy.print("mt.mem_rnd_alloc 1 64 10240 k"), "");
    let used: u64 = busy.print("mt.mem_used").parse().expect("a number");
    assert!((10_240 - 64..=10_240 + 64).contains(&(used >> 10)), "{used}");
    assert_eq!(busy.print("mt.mem_free"), used.to_string());

    assert_eq!(busy.print("mt.mem_test_start 15 64 25000 128 1500 3600000 k"), "1");
    assert_eq!(busy.print("mt.mem_test_start 15 64 25000 128 1500 3600000 k"), "2");
    let both = structures(&busy.print("mt.mem_test_list"));
    assert_eq!(both.iter().map(|test| test["ID"].as_str()).collect::<Vec<_>>(), ["2", "1"]);
    for test in &both {
        assert_eq!([&test["min"], &test["max"], &test["total"]], ["15360", "65536", "25600000"], "{test:?}");
        for name in ["run time (s)", "remaining (s)", "allocations", "errors", "overflows", "total alloc"] {
            assert!(test.get(name).is_some_and(|value| value.parse::<u64>().is_ok()), "{name}: {test:?}");
        }
        let [run, remaining] =
            ["run time (s)", "remaining (s)"].map(|name| test[name].parse::<u64>().expect("a number"));
        assert!((3598..=3600).contains(&(run + remaining)), "{test:?}");
    }
    assert_eq!(busy.print("mt.mem_test_stop 1"), "");
    let one = structures(&busy.print("mt.mem_test_list 1 k"));
    assert_eq!([&one[0]["min"], &one[0]["max"], &one[0]["total"]], ["15", "64", "25000"]);
    assert_eq!(busy.print("mt.mem_test_destroy 1"), "");
    assert_eq!(structures(&busy.print("mt.mem_test_list")).len(), 1);
    assert_eq!(busy.print("mt.mem_test_destroy_all"), "");
    assert_eq!(busy.print("mt.mem_test_list"), "");
    let _ = busy.print("memtrial.leave");
    busy.is_as_before();
}

#[test]
fn chunks_are_allocated_resized_and_freed_as_the_commands_say() {
    let mut busy = Busy::start();
    let mut control = busy.connect("");
    assert_eq!(control.ask("mt.mem_realloc", json!([100])).unwrap_err().0, -32002);
    for (size, unit) in [(json!(100), "b"), (json!("200"), "bytes"), (json!(5), "K")] {
        let done = control.call("mt.mem_alloc", json!([size, unit]));
        assert!(done["address"].as_str().is_some_and(|address| address.starts_with("0x")), "{done}");
    }
    assert_eq!(used(&mut control), (100 + 200 + 5120, 3));
    assert_eq!(control.call("mt.mem_used", json!(["k"]))["bytes"], 5);
    // The smaller ones first, then the smallest that is larger than what remains.
    let freed = control.call("mt.mem_free", json!([250]));
    assert_eq!((&freed["bytes"], &freed["chunks"]), (&json!(300), &json!(2)), "{freed}");
    assert_eq!(used(&mut control), (5120, 1));
    assert_eq!(control.call("mt.mem_realloc", json!([8, "k"]))["difference"], 3);
    assert_eq!(control.call("mt.mem_realloc", json!([500]))["difference"], 500 - 8192);
    assert_eq!(used(&mut control), (500, 1));
    // Only a larger one is there.
    assert_eq!(control.call("mt.mem_free", json!([1]))["bytes"], 500);
    assert_eq!(control.call("mt.mem_free", json!([]))["bytes"], 0);

    control.call("cfg.set_now_int", json!(["malloc_test", "realloc_p", 50]));
    assert_eq!(control.call("cfg.get", json!(["malloc_test", "realloc_p"]))["value"], 50);
    let done = control.call("mt.mem_rnd_alloc", json!([10, 64, MIB]));
    let [allocations, reallocs] =
        ["allocations", "reallocs"].map(|name| done[name].as_u64().expect("a number"));
    assert!(allocations / 3 < reallocs && reallocs < allocations / 3 * 2 + 2, "{done}");
    let (bytes, chunks) = used(&mut control);
    assert!((MIB - 64..=MIB + 64).contains(&bytes) && chunks < allocations, "{bytes} in {chunks}: {done}");
    assert_eq!(control.call("mt.mem_free", json!([]))["chunks"], chunks);
    busy.answers();
}

#[test]
fn contents_are_looked_at_whenever_that_is_asked_for() {
    let mut busy = Busy::start();
    let mut control = busy.connect("");
    control.call("mt.mem_alloc", json!([1000]));
    assert_eq!(control.call("mt.mem_check", json!([]))["checked"], 0);
    control.call("cfg.set_now_int", json!(["misctest", "mem_check_content", 1]));
    for size in 1..=100 {
        control.call("mt.mem_alloc", json!([size]));
    }
    let id = start(&mut control, MIB);
    wait_for("chunks of a test", || (figure(&mut control, id, "chunks") > 100).then_some(()));
    let checked = control.call("mt.mem_check", json!([]));
    assert!(checked["checked"].as_u64() > Some(200), "{checked}");
    assert_eq!((&checked["overwritten"], &checked["overwritten_count"]), (&json!([]), &json!(0)));
    for size in [3, 3000, 17] {
        assert_eq!(control.call("mt.mem_realloc", json!([size]))["overwritten_count"], 0);
    }
    assert_eq!(control.call("mt.mem_free", json!([]))["overwritten_count"], 0);
    assert_eq!(control.call("mt.mem_test_destroy_all", json!([]))["overwritten_count"], 0);
    busy.answers();
}

#[test]
fn sizes_have_64_bits() {
    let mut busy = Busy::start();
    let mut control = busy.connect("--max-total 1g");
    for (size, unit) in [(3, "g"), (4 * 1024 * MIB + 10, "b"), (1 << 53, "b"), (8_589_934_591, "g")] {
        let (code, message) = control.ask("mt.mem_alloc", json!([size, unit])).unwrap_err();
        assert_eq!(code, -32001, "{size} {unit}: {message}");
    }
    for (size, unit) in [(17_179_869_184_u64, "g"), (u64::MAX, "k")] {
        assert_eq!(control.ask("mt.mem_alloc", json!([size, unit])).unwrap_err().0, -32602, "{size} {unit}");
    }
    assert_eq!(used(&mut control), (0, 0));
    let id = control.call("mt.mem_test_start", json!([1, 1, 6, 1000, 1000, 5_000_000_000_u64, "g"]));
    let test = test(&mut control, id["id"].as_u64().expect("a number"));
    assert_eq!(test["total"], 6 * 1024 * MIB, "{test}");
    control.call("mt.mem_test_destroy_all", json!([]));
    let _ = busy.print("memtrial.leave");
    busy.is_as_before();

    let available = fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
    let available = available.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    if kib < Some(6 << 20) {
        eprintln!("not enough memory to hold 3 GiB: {kib:?} KiB");
        return;
    }
    let mut control = busy.connect("--max-total 4g");
    control.call("mt.mem_alloc", json!([3, "g"]));
    assert_eq!(used(&mut control), (3 * 1024 * MIB, 1));
    assert!(private(busy.pid()) > 3 * 1024 * MIB);
    assert_eq!(control.call("mt.mem_used", json!(["g"]))["bytes"], 3);
    assert_eq!(control.call("mt.mem_free", json!([1, "k"]))["bytes"], 3 << 20);
    busy.answers();
}

#[test]
fn tests_run_side_by_side_and_free_none_but_their_own_chunks() {
    let mut busy = Busy::start();
    let mut control = busy.connect("");
    control.call("mt.mem_alloc", json!([12_345]));
    let [first, second, third] = [100 * MIB, 100 * MIB, 2000].map(|total| start(&mut control, total));
    assert_eq!(ids(&control.call("mt.mem_test_list", json!([]))), [third, second, first]);
    for id in [first, second, third] {
        wait_for("each of the tests allocates", || {
            (figure(&mut control, id, "allocations") > 200).then_some(())
        });
    }
    wait_for("overflows", || (figure(&mut control, third, "overflows") > 3).then_some(()));
    let small = test(&mut control, third);
    assert!(small["live"].as_u64() <= Some(2000), "{small}");
    assert!(small["total_alloc"].as_u64() >= Some(3 * (2000 - 64)), "{small}");
    assert_eq!(small["running"], true, "{small}");

    control.call("mt.mem_test_stop", json!([second]));
    let stopped = test(&mut control, second);
    assert_eq!((&stopped["running"], &stopped["remaining"].as_f64()), (&json!(false), &Some(0.0)));
    let held = stopped["live"].as_u64().expect("a number");
    assert!(held > 200 * 16, "what it has stays: {stopped}");
    control.call("mt.mem_test_destroy", json!([third]));
    wait_for("the others work on", || (figure(&mut control, first, "allocations") > 1000).then_some(()));
    let since = test(&mut control, second);
    for name in ["allocations", "live", "chunks", "total_alloc"] {
        assert_eq!(stopped[name], since[name], "{name}");
    }
    let destroyed = control.call("mt.mem_test_destroy", json!([second]));
    assert_eq!((&destroyed["tests"], &destroyed["bytes"]), (&json!(1), &json!(held)), "{destroyed}");
    assert_eq!(ids(&control.call("mt.mem_test_list", json!([]))), [first]);
    for method in ["mt.mem_test_stop", "mt.mem_test_destroy", "mt.mem_test_list"] {
        assert_eq!(control.ask(method, json!([second])).unwrap_err().0, -32003, "{method}");
    }
    assert_eq!(control.call("mt.mem_test_destroy_all", json!([]))["tests"], 1);
    // An id is not given twice.
    assert_eq!(start(&mut control, MIB), third + 1);
    control.call("mt.mem_test_destroy_all", json!([]));
    assert_eq!(control.call("mt.mem_free", json!([]))["bytes"], 12_345);
    busy.answers();
}

#[test]
fn a_test_ends_by_itself_and_keeps_its_figures() {
    let mut busy = Busy::start();
    let mut control = busy.connect("");
    let named = json!({ "min": 16, "max": 64, "total": 1000, "min_int": "100us", "max_int": 0.2, "time": "2s",
                        "unit": "k", "seed": 7, "sizes": "log", "check_content": true, "realloc_p": 20 });
    let id = control.call("mt.mem_test_start", named)["id"].as_u64().expect("a number");
    let ended = wait_for("the end of a test", || {
        let test = test(&mut control, id);
        (test["running"] == false).then_some(test)
    });
    assert!(ended["run_time"].as_f64() >= Some(2.0), "{ended}");
    assert_eq!(ended["remaining"].as_f64(), Some(0.0), "{ended}");
    assert!(ended["allocations"].as_u64() > ended["reallocs"].as_u64(), "{ended}");
    assert!(ended["reallocs"].as_u64() > Some(0), "{ended}");
    assert_eq!((&ended["live"], &ended["chunks"]), (&json!(0), &json!(0)), "all is freed: {ended}");
    assert_eq!((&ended["errors"], &ended["overwritten"]), (&json!(0), &json!(0)), "{ended}");
    assert_eq!(ended["total"], 1_024_000, "{ended}");
    busy.answers();
}

#[test]
fn intervals_of_microseconds_are_kept() {
    let busy = Busy::start();
    let mut control = busy.connect("");
    let words = json!([16, 64, 100 * MIB, "50us", "50us", 60_000]);
    let id = control.call("mt.mem_test_start", words)["id"].as_u64().expect("a number");
    // By the test's own clock, which starts with it: a slow machine takes longer for the same.
    wait_for("allocations", || (figure(&mut control, id, "allocations") > 5000).then_some(()));
    let [first, second] = [(); 2].map(|()| test(&mut control, id));
    let of = |test: &Value, name: &str| test[name].as_f64().expect("a number");
    let rate = of(&first, "allocations") / of(&first, "run_time");
    assert!(rate > 1000.0, "{rate} allocations a second: {first}");
    // Time and number are not read at one moment: what was counted before is held against the time after it, which is
    // told in milliseconds. The first allocation is made at once.
    let most = (of(&second, "run_time") + 0.001) * 20_000.0 + 1.0;
    assert!(of(&first, "allocations") <= most, "{first} {second}");
}

#[test]
fn a_program_in_python_does_a_session() {
    let mut busy = Busy::start();
    let _ = busy.connect("");
    let mut python = Command::new(installed("python3"));
    python.arg(folder().join("client.py")).arg(busy.stress().socket(busy.pid()));
    assert_eq!(run(&mut python), "10 KiB\n[True]\n10240 bytes freed\n");
    busy.answers();
}

#[test]
fn none_but_the_user_can_reach_the_socket() {
    let mut busy = Busy::start();
    let _ = busy.connect("");
    let socket = busy.stress().socket(busy.pid());
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().expect("it is in a folder")), 0o700);
    busy.answers();
}

#[test]
fn another_user_is_refused_even_where_the_folder_lets_him_in() {
    if !is_root() {
        eprintln!("only root can be another user");
        return;
    }
    let busy = Busy::start();
    let mut control = busy.connect("");
    let (socket, open) = (busy.stress().socket(busy.pid()), open_bench());
    let copy = open.beside("client.py");
    fs::copy(folder().join("client.py"), &copy).expect("it is readable");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).expect("it is ours");
    for path in socket.ancestors().take(4) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("it is ours");
    }
    let client = |user: &str| {
        let line =
            format!("{user} {} {} {}", installed("python3").display(), copy.display(), socket.display());
        Command::new("/bin/sh").args(["-c", &line]).output().expect("there is a shell")
    };
    let refused = client("setpriv --reuid nobody --regid nogroup --clear-groups");
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(used(&mut control), (0, 0));
    let allowed = client("");
    assert!(allowed.status.success(), "{allowed:?}");
}

#[test]
fn leaving_takes_threads_memory_and_socket_along() {
    let mut busy = Busy::start();
    let mut control = busy.connect("");
    let before = private(busy.pid());
    for _ in 0..64 {
        control.call("mt.mem_alloc", json!([1, "m"]));
    }
    let id = start(&mut control, MIB);
    wait_for("a test allocates", || (figure(&mut control, id, "allocations") > 100).then_some(()));
    assert!(private(busy.pid()) > before + 60 * MIB);
    assert!(threads(busy.pid()).len() >= busy.before.len() + 3, "{:?}", threads(busy.pid()));
    let left = busy.stress().call(busy.pid(), "memtrial.leave");
    assert!(left["bytes"].as_u64() >= Some(64 * MIB), "{left}");
    busy.is_as_before();
    wait_for("memory comes back", || (private(busy.pid()) < before + 8 * MIB).then_some(()));
    // Nobody is there any more: the next command brings the agent in again, with nothing held.
    assert_eq!(busy.print("mt.mem_used"), "0");
    let _ = busy.print("memtrial.leave");
    busy.is_as_before();
}

#[test]
fn the_agent_leaves_by_itself_when_memtrial_is_killed_under_load() {
    let mut busy = Busy::start();
    let options = "--for 1000s --rate 5000/s --threads 2 --total 16m --check-content";
    let running = busy.stress().on(busy.pid(), options).start();
    let loaded = busy.before.len() + 4;
    wait_for("load", || (threads(busy.pid()).len() >= loaded).then_some(()));
    busy.answers();
    signal(running.pid(), libc::SIGKILL);
    busy.is_as_before();
    let _ = running.wait();
    busy.answers();
}

#[test]
fn nothing_is_loaded_into_a_process_for_a_command_that_is_none() {
    let mut busy = Busy::start();
    for words in ["mt.mem_alloc", "mt.mem_alloc ten", "mt.mem_test_start 9 8 7 1 1 1", "mt.no_such"] {
        let ended = busy.stress().rpc(busy.pid(), words).run().with_status(2);
        assert!(!ended.stderr.contains("the agent is in process"), "{}", ended.told());
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", busy.pid())).expect("it lives");
    assert!(!maps.contains("memtrial-agent"), "{maps}");
    busy.is_as_before();
}
