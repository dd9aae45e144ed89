//! `memtrial trace list`: the static probes of packaged programs, of small ones, of processes; and what is none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use memtrial_tests::harness::daemon::Daemon;
use memtrial_tests::harness::memtrial::{Ended, Memtrial};
use memtrial_tests::harness::packaged;
use memtrial_tests::harness::programs::installed;
use memtrial_tests::harness::trace_targets::{file, program};
use memtrial_tests::harness::workshop::{Bench, copy_program, run};
use serde_json::Value;

/// memtrial in a folder of its own.
fn list(words: &[&str]) -> Ended {
    Memtrial::new(&Bench::new().folder(), "trace list").arguments(words).run()
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.told()))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are UTF-8")
}

/// All sites as `provider name address semaphore operands`.
fn sites(json: &Value) -> BTreeSet<String> {
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut sites = BTreeSet::new();
    for probe in all(&json["files"]).iter().flat_map(|file| all(&file["probes"])) {
        for site in all(&probe["sites"]) {
            let operands: Vec<String> = all(&site["arguments"])
                .iter()
                .map(|argument| argument["operand"].as_str().unwrap_or_default().to_owned())
                .collect();
            let name = |key: &str| probe[key].as_str().unwrap_or_default().to_owned();
            let address = |place: &Value| place["address"].as_u64().unwrap_or(0);
            let (place, semaphore) = (address(&site), address(&site["semaphore"]));
            let (provider, name) = (name("provider"), name("name"));
            sites.insert(format!("{provider} {name} {place:#x} {semaphore:#x} {}", operands.join(" ")));
        }
    }
    sites
}

/// The same as binutils' readelf has them.
fn sites_by_readelf(file: &Path) -> BTreeSet<String> {
    let printed = run(Command::new("readelf").arg("-n").arg(file).env("LC_ALL", "C"));
    let (mut sites, mut names, mut places) = (BTreeSet::new(), Vec::new(), String::new());
    for line in printed.lines().map(str::trim) {
        if let Some(provider) = line.strip_prefix("Provider: ") {
            names = vec![provider.to_owned()];
        } else if let Some(name) = line.strip_prefix("Name: ") {
            names.push(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("Location: ") {
            let number =
                |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("hexadecimal");
            let words: Vec<&str> = rest.split([' ', ',']).collect();
            places = format!("{:#x} {:#x}", number(words[0]), number(words[words.len() - 1]));
        } else if let Some(operands) = line.strip_prefix("Arguments:") {
            sites.insert(format!("{} {places} {}", names.join(" "), operands.trim()));
        }
    }
    sites
}

#[test]
fn packaged_files_have_the_probes_that_readelf_sees() {
    let libraries = Path::new("/usr/lib/x86_64-linux-gnu");
    for (file, least) in [
        (packaged::postgres_program("postgres"), 71),
        (libraries.join("libvirt.so.0"), 41),
        (libraries.join("libstdc++.so.6"), 3),
        (installed("python3"), 8),
        (PathBuf::from("/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so"), 500),
    ] {
        let ended = list(&[text(&file), "--json"]).with_status(0);
        assert_eq!(ended.stderr, "", "nothing is wrong with {}", file.display());
        let (ours, theirs) = (sites(&json(&ended)), sites_by_readelf(&file));
        assert_eq!(ours, theirs, "{}", file.display());
        assert!(ours.len() >= least, "only {} sites in {}", ours.len(), file.display());
        assert!(
            !ended.stdout.contains("\"unfetchable\": \""),
            "each argument of {} can be fetched",
            file.display()
        );
    }
}

#[test]
fn patterns_choose_among_the_probes_of_postgres() {
    let postgres = packaged::postgres_program("postgres");
    let ended = list(&[text(&postgres), "query-*", "-*execute*", "-*:*parse*", "-v"]).with_status(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with(text(&postgres.canonicalize().expect("it is there"))), "{}", ended.stdout);
    let probes = || lines.iter().filter(|line| line.starts_with("  postgresql:"));
    assert!(probes().all(|line| line.contains(":query__")), "{}", ended.stdout);
    assert!(!ended.stdout.contains("parse") && !ended.stdout.contains("execute"), "{}", ended.stdout);
    let start = probes().position(|line| line.contains("query__start ")).expect("query__start");
    assert!(probes().nth(start).is_some_and(|line| line.ends_with("u64  (semaphore)")), "{}", ended.stdout);
    assert!(ended.stdout.contains("      arg1 u64 8@%"), "{}", ended.stdout);
    assert!(ended.stdout.contains(", semaphore 0x"), "{}", ended.stdout);
}

#[test]
fn names_that_are_nearly_right_are_proposed() {
    let postgres = packaged::postgres_program("postgres");
    let ended = list(&[text(&postgres), "qury-start"]).with_status(1);
    ended.saying(&["error: ", "postgresql:query__start"]);
    let ended = list(&[text(&postgres), "query-start", "qury-done"]).with_status(0);
    assert!(ended.stdout.contains("query__start"), "{}", ended.told());
    ended.saying(&["warning: no probe is called qury-done", "postgresql:query__done"]);
    list(&[text(&postgres), "-*"]).with_status(1).saying(&["shows all 57"]);
}

#[test]
fn a_program_that_logs_its_events_is_said_to() {
    let ended = list(&["qemu-storage-daemon"]).with_status(1);
    ended.saying(&["no static probes", "--trace", "/usr/share/qemu/trace-events-all"]);
    list(&["/bin/true"]).with_status(1).saying(&["no static probes", "--pid"]);
}

#[test]
fn libraries_are_found_by_their_names_alone() {
    for name in ["libstdc++.so.6", "libstdc++"] {
        let ended = list(&[name, "libstdcxx:throw"]).with_status(0);
        assert!(ended.stdout.contains("  libstdcxx:throw  u64 u64\n"), "{}", ended.told());
    }
}

#[test]
fn what_is_no_program_is_wrong_usage() {
    let bench = Bench::new();
    bench.write("script", "#!/bin/sh\ntrue\n");
    bench.write("short", b"\x7fELF");
    bench.write("noise", [0x7fu8; 900]);
    for (words, said) in [
        (&["no-such-program"][..], "no such program"),
        (&["./none"], "no such program"),
        (&["."], "no such program"),
        (&["./script"], "a script"),
        (&["./short"], "not an ELF file"),
        (&["./noise"], "not an ELF file"),
        (&["postgres", ""], "pattern"),
        (&["postgres", "[a"], "[a"),
        (&[], "BINARY"),
        (&["--pid", "0"], "--pid"),
    ] {
        let ended = Memtrial::new(&bench.folder(), "trace list").arguments(words).run();
        let _ = ended.with_status(2).saying(&["error: ", said]);
    }
    list(&["--pid", "2147483647"]).with_status(3).saying(&["no process"]);
}

fn compile(bench: &Bench, flags: &[&str]) -> PathBuf {
    let program = bench.beside("listing");
    run(Command::new("gcc").args(["-g", "-O1"]).args(flags).arg("-o").arg(&program).arg(file("listing.c")));
    program
}

#[test]
fn each_probe_of_a_small_program_is_shown_as_it_is() {
    let bench = Bench::new();
    let program = compile(&bench, &[]);
    let ended = list(&[text(&program)]).with_status(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[0], format!("{}: 5 probes", program.display()));
    assert_eq!(
        lines[1..],
        [
            "  listing:step__begin  s32 u64  (semaphore)",
            "  listing:step__end    ?  (2 sites, semaphore)",
            "  listing:variables    s32 s32 u32 u32  not all arguments can be fetched",
            "  listing:places       f64 u64 u32 u64 u8  not all arguments can be fetched",
            "  listing:five         no arguments  5-byte nop",
        ]
    );
    ended.saying(&["warning: 5-byte nop (1 probe): ", "below its stack pointer"]);
    let ended = list(&[text(&program), "-v", "places", "variables"]).with_status(0);
    for line in [
        "arg1 f64 8f@%xmm0  can't be fetched: it is in a vector register",
        "arg2 u64 8@-8(%rbp,%rax,8)\n",
        "arg3 u32 4@%fs:-4  can't be fetched: ",
        "arg4 u64 16@%rax  can't be fetched: numbers of 16 bytes are not fetched",
        "arg5  u8 1@%ah\n",
        "arg1 s32 -4@shown(%rip)\n",
        "arg2 s32 -4@hidden(%rip)\n",
        "arg3 u32 4@own(%rip)  can't be fetched: each thread has a own of its own",
        "arg4 u32 4@gone(%rip)  can't be fetched: the address of gone is not in the file's symbols",
    ] {
        assert!(ended.stdout.contains(line), "{line:?} in {}", ended.told());
    }
    assert_eq!(ended.stderr, "");
}

#[test]
fn dashes_and_two_underscores_are_the_same() {
    let bench = Bench::new();
    let program = program(&bench, "requests.rs");
    for pattern in ["request-start", "request__start", "requests:request__st*", "*-s*"] {
        let ended = list(&[text(&program), pattern]).with_status(0);
        assert!(ended.stdout.contains("  requests:request-start  u64 u64\n"), "{pattern}: {}", ended.told());
        assert!(!ended.stdout.contains("request-done"), "{pattern}: {}", ended.told());
    }
}

#[test]
fn damage_is_told_and_the_rest_is_listed() {
    let bench = Bench::new();
    let program = compile(&bench, &[]);
    let bytes = fs::read(&program).expect("just built");
    let note =
        |name: &[u8]| bytes.windows(name.len()).rposition(|window| window == name).expect("it has a note");
    // The third number of the header of a note; and the address of a site.
    let owner = bytes.windows(8).enumerate().filter(|(_, window)| *window == b"stapsdt\0").map(|(at, _)| at);
    let owners: Vec<usize> = owner.collect();
    let (variables, places) = (note(b"variables\0"), note(b"places\0"));
    let before = |name: usize| *owners.iter().rfind(|at| **at < name).expect("a note before its name");
    let mut damaged = bytes.clone();
    damaged[before(variables) - 4] = 9;
    damaged[before(places) + 13] = 0x7f;
    let path = bench.write("damaged", &damaged);
    let ended = list(&[text(&path)]).with_status(0);
    assert!(ended.stdout.contains("damaged: 3 probes\n"), "{}", ended.told());
    ended.saying(&["of the unknown type 9", "listing:places is said to be at 0x7f", "no code"]);
    // The names are the target's: they may not act on the terminal.
    let mut rude = bytes;
    rude[places..places + 3].copy_from_slice(b"\x1b[2");
    let path = bench.write("rude", &rude);
    let ended = list(&[text(&path)]).with_status(0);
    assert!(
        !ended.stdout.contains('\u{1b}') && ended.stdout.contains("listing:\u{fffd}[2"),
        "{}",
        ended.told()
    );
}

#[test]
fn a_process_shows_the_probes_of_the_file_that_it_runs_even_if_that_is_gone() {
    let bench = Bench::new();
    let program = bench.folder().join("running");
    copy_program(&compile(&bench, &[]), &program);
    let daemon = Daemon::start(&bench.folder(), "./running").ready("grep -q ready log");
    let pid = daemon.pid().to_string();
    let shows = || {
        let ended = list(&["--pid", &pid, "step*"]).with_status(0);
        assert!(ended.stdout.contains("  listing:step__begin  s32 u64  (semaphore)\n"), "{}", ended.told());
        assert!(ended.stdout.contains(": 2 of 5 probes\n"), "{}", ended.told());
    };
    shows();
    fs::remove_file(&program).expect("it is ours");
    shows();
    copy_program(Path::new("/bin/true"), &program);
    shows();
    list(&["--pid", &pid, "stop-begin"]).with_status(1).saying(&["listing:step__begin"]);
}

#[test]
fn who_reads_may_stop_reading() {
    let line = format!(
        "(memtrial trace list {}; echo $? >&2) | head -n 1",
        packaged::postgres_program("postgres").display()
    );
    let ended = Memtrial::by_shell(&Bench::new().folder(), &line).run();
    assert_eq!((ended.stdout.lines().count(), ended.stderr.trim()), (1, "0"), "{}", ended.told());
}
