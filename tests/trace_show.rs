//! `memtrial trace show`: recordings printed and converted, read by other programs, and files that are damaged or none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use memtrial_events::recording::Writer;
use memtrial_events::value::Missing;
use memtrial_events::{Hit, Table, Value, memory};
use memtrial_report::trace::{Ctf, Sink};
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::workshop::{Bench, run};
use serde_json::Value as Json;

/// What a target could be called to do damage to a line, a page or a terminal.
const HOSTILE: &[u8] = b"\"</script>\x1b[2J\\ \n1@2.3:free\t\xff\xc3\xa9";

/// Memory events and a static probe.
fn table() -> Table {
    let mut events = memory::memory();
    let mut probe = events[9].clone();
    (probe.provider, probe.name, probe.format) = ("qemu".to_owned(), "a__b".to_owned(), None);
    events.push(probe);
    Table { events, wall_offset: 1_700_000_000_000_000_000 }
}

fn text(bytes: &[u8], cut: bool) -> Value {
    Value::Text { bytes: bytes.to_owned(), cut }
}

/// Two processes, three threads; the hits of each thread are apart in the file.
fn hits(table: &Table) -> Vec<Hit> {
    let number = |name: &str| table.events.iter().position(|event| event.name == name).expect("an event");
    let hit =
        |time, pid, tid, name: &str, values| Hit { event: number(name), time, pid, tid, values, stack: None };
    let (u, missing) = (Value::Unsigned, Value::Missing);
    vec![
        hit(5_000_001_000, 10, 10, "alloc", vec![u(100), u(0), u(0x7f00_0010), u(0x40_1000)]),
        hit(5_000_002_000, 20, 21, "map_fail", vec![u(4096), Value::Signed(12), missing(Missing::Fault)]),
        hit(5_000_003_999, 10, 11, "exec", vec![text(HOSTILE, true)]),
        hit(5_000_004_000, 10, 10, "free", vec![u(0x7f00_0010), u(0x40_1008)]),
        hit(5_000_005_000, 20, 21, "dlopen", vec![u(0), Value::Signed(1), u(0x40_1010)]),
        hit(6_000_000_000, 10, 11, "a__b", vec![missing(Missing::Operand)]),
        hit(6_000_000_001, 10, 10, "free", vec![u(0x7f00_0020), u(0x40_1008)]),
    ]
}

/// A recording in the folder that memtrial runs in.
fn recorded(bench: &Bench, lost: u64) -> PathBuf {
    let path = bench.folder().join("recording");
    let table = table();
    let mut writer = Writer::create(&path, &table).expect("a writer");
    for hit in hits(&table) {
        writer.hit(&table, &hit).expect("written");
    }
    writer.lost(lost);
    writer.flush().expect("written");
    path
}

/// A recording of one event, so many times.
fn recorded_many(bench: &Bench, count: u64) {
    let table = table();
    let mut writer = Writer::create(&bench.folder().join("recording"), &table).expect("a writer");
    let first = hits(&table).swap_remove(0);
    for time in 0..count {
        writer.hit(&table, &Hit { time, ..first.clone() }).expect("written");
    }
    writer.flush().expect("written");
}

fn show(bench: &Bench, arguments: &str) -> Ended {
    Memtrial::new(&bench.folder(), &format!("trace show recording {arguments}")).run()
}

#[test]
fn a_recording_is_printed_by_time_with_what_is_missing() {
    let bench = Bench::new();
    recorded(&bench, 0);
    let shown = show(&bench, "").with_status(0);
    let expected = concat!(
        "10@1700000005.000001:alloc bytes=100 alignment=0 block=0x7f000010 caller=0x401000\n",
        "20@1700000005.000002:map_fail bytes=4096 error=12 caller=<fault>\n",
        "10@1700000005.000003:exec path=\"</script>\\x1b[2J\\ \\n1@2.3:free\\t\\xffé...\n",
        "10@1700000005.000004:free block=0x7f000010 caller=0x401008\n",
        "20@1700000005.000005:dlopen path=(null) flags=0x1 caller=0x401010\n",
        "10@1700000006.000000:a__b path=<unfetchable>\n",
        "10@1700000006.000000:free block=0x7f000020 caller=0x401008\n",
    );
    assert_eq!(shown.stdout, expected);
    assert_eq!(shown.stderr, "");
}

#[test]
fn events_are_selected_and_counted() {
    let bench = Bench::new();
    recorded(&bench, 4);
    let shown = show(&bench, "a-b memtrial:dl*").with_status(0);
    let names: Vec<&str> = shown.stdout.lines().filter_map(|line| line.split([':', ' ']).nth(1)).collect();
    assert_eq!(names, ["dlopen", "a__b", "lost"]);
    assert!(shown.stderr.contains("4 hits found no room"), "{}", shown.stderr);
    let counted = show(&bench, "--count -- -dl*").with_status(0);
    let expected = concat!(
        "        hits  event\n",
        "           2  memtrial:free\n",
        "           1  memtrial:alloc\n",
        "           1  memtrial:exec\n",
        "           1  memtrial:map_fail  (1 with missing arguments)\n",
        "           1  qemu:a__b  (1 with missing arguments)\n",
        "           4  lost\n",
    );
    assert_eq!(counted.stdout, expected);
    let none = show(&bench, "nothing").with_status(1);
    assert!(none.stderr.contains("no event") && none.stderr.contains("memtrial:alloc"), "{}", none.stderr);
}

#[test]
fn json_is_an_object_a_line() {
    let bench = Bench::new();
    recorded(&bench, 2);
    let shown = show(&bench, "--format json").with_status(0);
    assert!(
        shown
            .stdout
            .starts_with("{\"time\":1700000005.000001000,\"pid\":10,\"tid\":10,\"provider\":\"memtrial\",")
    );
    let lines: Vec<Json> =
        shown.stdout.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0]["arguments"]["bytes"], 100);
    assert_eq!(lines[0]["arguments"]["block"], "0x7f000010");
    assert_eq!(lines[1]["missing"]["caller"], "fault");
    assert_eq!(lines[1]["arguments"]["caller"], Json::Null);
    let path = String::from_utf8_lossy(HOSTILE);
    assert_eq!(lines[2]["arguments"]["path"], *path);
    assert_eq!((&lines[2]["cut"][0], lines[2].get("missing")), (&Json::from("path"), None));
    assert_eq!(lines[4]["arguments"]["path"], Json::Null);
    assert_eq!(lines[7]["lost"], 2);
}

#[test]
fn chrome_gets_an_array_of_events() {
    let bench = Bench::new();
    recorded(&bench, 2);
    let _ = show(&bench, "--format chrome -o trace.json").with_status(0);
    let written = fs::read(bench.folder().join("trace.json")).expect("it was written");
    let events: Vec<Json> = serde_json::from_slice(&written).expect("an array");
    assert_eq!(events.len(), 9);
    assert_eq!(events[0]["args"]["time of day"], "1700000005.000001");
    assert_eq!((&events[1]["name"], &events[1]["ph"]), (&Json::from("alloc"), &Json::from("i")));
    assert_eq!((&events[3]["ts"], &events[3]["tid"]), (&Json::from(5_000_003.999), &Json::from(11)));
    assert_eq!(events[3]["args"]["path"], *String::from_utf8_lossy(HOSTILE));
    assert_eq!(events[8]["args"]["hits"], 2);
}

#[test]
fn a_recording_of_a_recording_shows_the_same() {
    let bench = Bench::new();
    recorded(&bench, 3);
    let _ = show(&bench, "--format simple -o again").with_status(0);
    let again = Memtrial::new(&bench.folder(), "trace show again").run().with_status(0);
    assert_eq!(again.stdout, show(&bench, "").stdout);
}

#[test]
fn babeltrace_reads_names_times_and_fields() {
    let bench = Bench::new();
    recorded(&bench, 0);
    let _ = show(&bench, "--format ctf -o trace").with_status(0);
    let expected = concat!(
        "[1700000005.000001000] memtrial:alloc: { pid = 10, tid = 10 }, ",
        "{ bytes = 100, alignment = 0, block = 0x7F000010, caller = 0x401000 }\n",
        "[1700000005.000002000] memtrial:map_fail: { pid = 20, tid = 21 }, ",
        "{ bytes = 4096, error = 12, caller = \"<fault>\" }\n",
        "[1700000005.000003999] memtrial:exec: { pid = 10, tid = 11 }, ",
        "{ path = \"\\\"</script>\\e[2J\\\\ \\n1@2.3:free\\t\u{fffd}é...\" }\n",
        "[1700000005.000004000] memtrial:free: { pid = 10, tid = 10 }, ",
        "{ block = 0x7F000010, caller = 0x401008 }\n",
        "[1700000005.000005000] memtrial:dlopen: { pid = 20, tid = 21 }, ",
        "{ path = 0x0, flags = 1, caller = 0x401010 }\n",
        "[1700000006.000000000] qemu:a__b: { pid = 10, tid = 11 }, { path = \"<unfetchable>\" }\n",
        "[1700000006.000000001] memtrial:free: { pid = 10, tid = 10 }, ",
        "{ block = 0x7F000020, caller = 0x401008 }\n",
    );
    assert_eq!(babeltrace(&bench.folder().join("trace")), expected);
    // What is there is not overwritten.
    let again = show(&bench, "--format ctf -o trace").with_status(2);
    assert!(again.stderr.contains("cannot write trace: directory not empty"), "{}", again.stderr);
}

#[test]
fn babeltrace_tells_how_many_hits_were_lost() {
    let bench = Bench::new();
    recorded(&bench, 7);
    let _ = show(&bench, "--format ctf -o trace").with_status(0);
    let output = Command::new("babeltrace2").arg(bench.folder().join("trace")).output();
    let said = output.expect("babeltrace2 runs").stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("discarded 7 events"), "{said}");
    // A trace of nothing is one as well.
    let _ = show(&bench, "--format ctf -o empty fork").with_status(0);
    run(Command::new("babeltrace2").arg(bench.folder().join("empty")));
}

/// What babeltrace2 prints of a trace, without a word to stderr.
fn babeltrace(folder: &Path) -> String {
    let output = Command::new("babeltrace2").args(["--clock-seconds", "--no-delta"]).arg(folder).output();
    let output = output.expect("babeltrace2 runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).expect("all texts are UTF-8")
}

#[test]
fn babeltrace_reads_stacks_and_hits_that_came_late() {
    let bench = Bench::new();
    let folder = bench.folder().join("trace");
    let mut table = table();
    // Names that a C compiler would refuse.
    table.events[0].parameters[1].name = "bytes".to_owned();
    table.events[0].parameters[2].name = "a.b\"".to_owned();
    table.events[0].provider = "x\"\\\n".to_owned();
    let mut sink = Ctf::create(&folder).expect("a folder");
    for (time, frames) in [(30, 2), (10, 0), (20, 1), (40, 0), (15, 0)] {
        let stack = Some((0..frames).map(|frame| format!("f{frame}+0x1")).collect());
        let hit = Hit { time, stack, ..hits(&table)[0].clone() };
        sink.hit(&table, &hit).expect("written");
        sink.flush().expect("written");
    }
    sink.finish(&table).expect("written");
    let printed = babeltrace(&folder);
    let lines: Vec<&str> = printed.lines().collect();
    let times: Vec<&str> = lines.iter().filter_map(|line| line.get(19..22)).collect();
    assert_eq!(times, ["10]", "15]", "20]", "30]", "40]"]);
    let last = "x\"\\\u{fffd}:alloc: { pid = 10, tid = 10 }, { bytes = 100, bytes_2 = 0, a_b_ = 0x7F000010, \
                caller = 0x401000, stack_depth = 2, stack = [ [0] = \"f0+0x1\", [1] = \"f1+0x1\" ] }";
    assert_eq!(lines[3].split_once("] ").map(|(_, rest)| rest), Some(last));
}

#[test]
fn a_trace_that_grows_too_big_keeps_what_is_before() {
    let bench = Bench::new();
    recorded_many(&bench, 20_000);
    for (format, name) in [("ctf", "trace/stream_0"), ("text", "trace.txt")] {
        let output = name.split('/').next().expect("a name");
        // 200 KiB are the limit, and no signal says so.
        let line = format!(
            "ulimit -f 200; trap '' XFSZ; memtrial trace show recording --format {format} -o {output}"
        );
        let full =
            Memtrial::by_shell(&bench.folder(), &format!("exec bash -c \"{line}\"")).run().with_status(4);
        assert!(
            full.stderr.contains(&format!("cannot write to {output}: File too large")),
            "{}",
            full.stderr
        );
        let size = fs::metadata(bench.folder().join(name)).expect("it is there").len();
        assert!((100_000..=204_800).contains(&size), "{size}");
    }
    let lines = babeltrace(&bench.folder().join("trace")).lines().count();
    assert!(lines > 1000, "{lines}");
}

#[test]
fn a_cut_recording_is_shown_as_far_as_it_goes() {
    let bench = Bench::new();
    let path = recorded(&bench, 0);
    let whole = show(&bench, "").stdout;
    let bytes = fs::read(&path).expect("it is there");
    // The last chunk ends with the file, so that some of its last hit is missing.
    fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
    let shown = show(&bench, "").with_status(0);
    assert_eq!(shown.stdout.lines().count(), whole.lines().count() - 1);
    assert!(shown.stderr.contains("warning: 1 chunk cut or damaged"), "{}", shown.stderr);
    fs::write(&path, &bytes[..bytes.len() - 70_000]).expect("written");
    let shown = show(&bench, "").with_status(0);
    assert!(shown.stderr.contains("not in the file"), "{}", shown.stderr);
    fs::write(&path, &bytes[..5000]).expect("written");
    assert!(show(&bench, "").with_status(2).stderr.contains("its table is cut"));
}

#[test]
fn what_is_no_recording_is_refused() {
    let bench = Bench::new();
    let said = |file: &str| {
        Memtrial::new(&bench.folder(), "trace show").arguments([file]).run().with_status(2).stderr
    };
    assert!(
        said("/bin/true").contains("error: /bin/true is no recording, but an ELF file"),
        "{}",
        said("/bin/true")
    );
    assert!(said("/etc/passwd").contains("but text"));
    assert!(said("/").contains("but a folder"));
    assert!(said("none").contains("error: cannot read none: No such file"));
    recorded(&bench, 0);
    for format in ["simple", "ctf"] {
        let refused = show(&bench, &format!("--format {format}")).with_status(2);
        assert!(refused.stderr.contains("name it by -o"), "{}", refused.stderr);
    }
}

#[test]
fn a_full_disk_and_a_folder_that_is_not_there_are_said() {
    let bench = Bench::new();
    recorded(&bench, 0);
    for format in ["text", "json", "chrome", "simple"] {
        let full = show(&bench, &format!("--format {format} -o /dev/full")).with_status(4);
        assert!(full.stderr.contains("cannot write to /dev/full: No space left"), "{}", full.stderr);
        assert!(full.stderr.contains("make room"), "{}", full.stderr);
    }
    assert!(show(&bench, "--count -o /dev/full").with_status(4).stderr.contains("/dev/full"));
    for format in ["text", "simple", "ctf"] {
        let refused = show(&bench, &format!("--format {format} -o /proc/none/file")).with_status(2);
        assert!(refused.stderr.contains("cannot write /proc/none/file: "), "{}", refused.stderr);
    }
}

#[test]
fn a_reader_that_has_read_enough_ends_it_quietly() {
    let bench = Bench::new();
    recorded_many(&bench, 20_000);
    let line = "memtrial trace show recording | head -n 1; echo ${PIPESTATUS[0]}";
    let line = format!("exec bash -c '{line}'");
    let shown = Memtrial::by_shell(&bench.folder(), &line).run().with_status(0);
    assert!(shown.stdout.ends_with("caller=0x401000\n0\n"), "{}", shown.stdout);
    assert_eq!(shown.stderr, "");
}
