//! Static probes of programs and libraries as they are installed, against what those say of themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use memtrial_tests::harness::daemon::{answer, shell, tree};
use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::packaged::{Packaged, postgres, postgres_program};
use memtrial_tests::harness::processes::wait_for;
use memtrial_tests::harness::programs::installed;
use memtrial_tests::harness::trace::{Line, Trace, can_trace, lines, texts};
use memtrial_tests::harness::trace_targets::{Asked, file, program, traceable};
use memtrial_tests::harness::workshop::{Bench, run};

/// QEMU's description of its events, as a package has it.
const EVENTS_OF_QEMU: &str = "/usr/share/qemu/trace-events-all";

/// Where the dynamic linker finds a library for this program.
fn library_of(program: &Path, name: &str) -> PathBuf {
    let list = run(Command::new("ldd").arg(program));
    let line = list.lines().find(|line| line.trim_start().starts_with(name));
    let path = line.and_then(|line| line.split(" => ").nth(1)?.split(' ').next());
    PathBuf::from(path.unwrap_or_else(|| panic!("{} has no {name}\n{list}", program.display())))
}

/// Tests of a library that others use at the same time look at one process alone.
fn trace_in(bench: &Bench, binary: &Path, pid: i32, rest: &[&str]) -> Trace {
    let pid = pid.to_string();
    let binary = binary.to_str().expect("a plain path");
    Trace::run(bench, [&[binary, "--pid", &pid], rest].concat()).attached()
}

/// The lines of one event.
fn of_event<'a>(lines: &'a [Line], name: &str) -> Vec<&'a Line> {
    lines.iter().filter(|line| line.name() == name).collect()
}

/// A file of the folder of programs, as an option.
fn events(name: &str) -> String {
    file(name).into_os_string().into_string().expect("a plain path")
}

/// The command line of a client of the server.
fn client(server: &Packaged) -> String {
    let psql = postgres_program("psql");
    format!("{} -h 127.0.0.1 -p {} -U tester -d postgres -XAtq", psql.display(), server.port)
}

/// What the server answers to a script.
fn psql(server: &Packaged, script: &str) -> String {
    server.bench.write("script.sql", script);
    answer(&server.bench.folder(), &format!("{} -f script.sql 2>&1", client(server)))
}

#[test]
fn postgres_says_what_it_does() {
    if !can_trace() {
        return;
    }
    let server = postgres();
    let daemon = server.daemon();
    let path = postgres_program("postgres");
    let path = path.to_str().expect("a plain path");
    let facts = psql(
        &server,
        "create table sorted as select generate_series(1, 300) as a; checkpoint;
         select (select oid from pg_database where datname = current_database()), 'sorted'::regclass::oid,
                pg_relation_filenode('sorted'), (select setting from pg_settings where name = 'shared_buffers');",
    );
    let facts: Vec<&str> = facts.split('|').collect();
    let [database, table, filenode, buffers] = facts[..] else { panic!("{facts:?}") };

    let theirs = Trace::bpftrace(
        &server.bench,
        &format!(
            "usdt:{path}:postgresql:query__start {{ printf(\"%d@0.000000:query__start %s\\n\", pid, str(arg0)); }} \
             usdt:{path}:postgresql:lock__wait__start {{ printf(\"%d@0.000000:lock__wait__start %d %d\\n\", pid, arg0, arg1); }} \
             usdt:{path}:postgresql:transaction__start {{ printf(\"%d@0.000000:transaction__start %d\\n\", pid, arg0); }}"
        ),
    );
    wait_for("bpftrace's breakpoints", || {
        psql(&server, "select 'is it attached?'");
        theirs.printed().contains("is it attached?").then_some(())
    });
    let ours = Trace::run(
        &server.bench,
        [
            path,
            "query__*",
            "lock-wait-start",
            "postgresql:transaction__start",
            "sort__start",
            "buffer__read__start",
            "checkpoint__done",
            "-query__done",
            "--events",
            &events("postgres.d"),
        ],
    )
    .attached();
    let script = "set work_mem = 1234; select 'this is the query', a % 7 from sorted order by 2 desc limit 1;
         checkpoint;
         begin; lock table sorted;
         \\! CLIENT -c \"set lock_timeout = '50ms'; lock table sorted\"
         commit; select 'the end';";
    let said = psql(&server, &script.replace("CLIENT", &client(&server)));
    assert!(said.contains("lock timeout"), "{said}");
    wait_for("the last query", || {
        [&ours, &theirs].iter().all(|trace| trace.printed().contains("the end")).then_some(())
    });
    let family = tree(daemon.pid());
    let ended = ours.interrupt().with_status(0);
    let theirs_ended = theirs.interrupt_until_it_ends();
    let all = lines(&ended);
    let queries: Vec<&Line> = of_event(&all, "query__start");
    let query = queries.iter().find(|line| line.text.contains("this is the query"));
    let query = query.unwrap_or_else(|| panic!("{queries:?}"));
    let asked = "select 'this is the query', a % 7 from sorted order by 2 desc limit 1;";
    assert_eq!(query.text, format!("query__start arg1=\"{asked}\""), "the text that was sent");
    // Other servers of this machine are other processes.
    let session = query.pid;
    let of_session: Vec<Line> = all.iter().filter(|line| line.pid == session).cloned().collect();
    let sorts = of_event(&of_session, "sort__start");
    assert!(
        sorts.iter().any(|line| line.text == "sort__start arg1=0 arg2=0 arg3=1 arg4=1234 arg5=0 arg6=0"),
        "{sorts:?}"
    );
    let reads = of_event(&of_session, "buffer__read__start");
    let of_table =
        reads.iter().filter(|line| line.argument("arg5") == filenode && line.argument("arg1") == "0");
    let of_table: Vec<_> = of_table.collect();
    assert!(!of_table.is_empty(), "{filenode}: {reads:?}");
    for (block, line) in of_table.iter().take(2).enumerate() {
        assert_eq!((line.argument("arg2"), line.argument("arg4")), (&*block.to_string(), database));
    }
    // In another process, which writes how large the buffers are from a global variable.
    let checkpoints = of_event(&all, "checkpoint__done");
    let checkpoint = checkpoints.iter().find(|line| family.contains(&line.pid));
    assert_eq!(checkpoint.unwrap_or_else(|| panic!("{checkpoints:?}")).argument("arg2"), buffers);
    let waits = of_event(&all, "lock__wait__start");
    assert!(
        waits.iter().any(|line| (line.argument("arg1"), line.argument("arg2")) == (database, table)),
        "{database} {table}: {waits:?}"
    );

    // And what bpftrace saw of the two sessions.
    let waiting = waits.iter().find(|line| line.argument("arg2") == table).map(|line| line.pid);
    let theirs: Vec<Line> =
        theirs_ended.stdout.lines().filter(|line| line.contains("@0.000000:")).map(Line::read).collect();
    for name in ["query__start", "transaction__start", "lock__wait__start"] {
        let plain = |lines: &[Line]| -> Vec<String> {
            let of_it = of_event(lines, name).into_iter();
            let of_them = of_it.filter(|line| line.pid == session || Some(line.pid) == waiting);
            let words = of_them.map(|line| {
                let text = line.text.split(" arg3=").next().unwrap_or_default();
                text.replace("arg1=", "").replace("arg2=", "").replace('"', "")
            });
            let mut words: Vec<String> = words.collect();
            // It prints what happened on one processor, and then what happened on another.
            words.sort_unstable();
            words
        };
        assert_eq!(plain(&all), plain(&theirs), "{name}");
        assert!(!plain(&all).is_empty(), "{name}");
    }
}

#[test]
fn objects_of_libvirt_come_and_go() {
    if !can_trace() {
        return;
    }
    let bench = Bench::new();
    let binary = bench.folder().join("libvirt_objects");
    let library = Path::new("/usr/lib/x86_64-linux-gnu/libvirt.so.0");
    assert!(library.exists(), "libvirt0 is not installed: ./test installs all that the tests need");
    run(Command::new("gcc").arg("-o").args([&binary, &file("libvirt_objects.c")]).arg(library));
    let mut asked = Asked::start(&binary);
    let trace = trace_in(&bench, library, asked.pid(), &["object_*", "--events", &events("libvirt.d")]);
    let said = asked.ask("once");
    assert_eq!(asked.end(), 0);
    let ended = trace.wait().with_status(0);
    let lines = lines(&ended);
    let count = |name| of_event(&lines, name).len();
    assert_eq!(count("object_new"), count("object_dispose"), "all that was made is gone\n{}", ended.told());
    assert_eq!(count("object_new") + count("object_ref"), count("object_unref"), "{}", ended.told());
    // "connection ADDRESS domain ADDRESS"
    let words: Vec<&str> = said[0].split(' ').collect();
    for (address, class) in [(words[1], "virConnect"), (words[3], "virDomain")] {
        let text = format!("object_new obj={address} klassname=\"{class}\"");
        assert!(lines.iter().any(|line| line.text == text), "{text}\n{}", ended.told());
    }
}

#[test]
fn exceptions_of_libstdcxx_are_counted() {
    if !can_trace() {
        return;
    }
    let bench = Bench::new();
    let binary = program(&bench, "throws.cpp");
    let library = library_of(&binary, "libstdc++.so.6");
    let mut asked = Asked::start(&binary);
    let trace = trace_in(&bench, &library, asked.pid(), &[]);
    assert_eq!(asked.ask("10"), ["throw 10 rethrow 5 catch 15"]);
    assert_eq!(asked.end(), 0);
    let ended = trace.wait().with_status(0);
    let lines = lines(&ended);
    for (name, count) in [("throw", 10), ("rethrow", 5), ("catch", 15)] {
        assert_eq!(of_event(&lines, name).len(), count, "{name}: {}", ended.told());
    }
}

#[test]
fn functions_of_python_are_named() {
    if !can_trace() {
        return;
    }
    let bench = Bench::new();
    let script = file("asked.py");
    let python = fs::canonicalize(installed("python3")).expect("it is there");
    let mut asked = Asked::of(Command::new(&python).arg("-I").arg(&script));
    // It has come to its loop.
    asked.ask("nobody");
    // Entries are told by 3.11 only of functions that C calls, and only while there is a trace function.
    let patterns = ["function__return", "gc-*", "audit", "--events", &events("python.d")];
    let trace = trace_in(&bench, &python, asked.pid(), &patterns);
    let collected = asked.ask("you")[0].replace("collected ", "");
    let pid = asked.pid();
    assert_eq!(asked.end(), 0);
    let ended = trace.wait().with_status(0);
    let lines = lines(&ended);
    let seen = texts(&lines, pid);
    let greeted = format!("function__return arg1=\"{}\" arg2=\"greet\" arg3=8", script.display());
    let done = format!("gc__done arg1={collected}");
    let order = [greeted.as_str(), "gc__start arg1=1", &done];
    let places = order.map(|text| seen.iter().position(|line| *line == text));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {}", ended.told());
    assert!(seen.iter().any(|line| line.starts_with("audit arg1=\"memtrial.test\"")), "{}", ended.told());
}

#[test]
fn a_jvm_with_all_its_probes_answers_as_ever() {
    if !can_trace() {
        return;
    }
    let Some(java) = java() else {
        println!("skipped: there is no Java here that has static probes");
        return;
    };
    let bench = Bench::new();
    let library = java.parent().unwrap_or(Path::new("/")).join("../lib/server/libjvm.so");
    let library = library.canonicalize().expect("a JVM has its library there");
    let library = library.to_str().expect("a plain path");
    let answer_of = |rest: &str| {
        let line = format!("echo $$; exec {} -XX:+UseSerialGC {rest} -version 2>&1", java.display());
        let output = shell(&bench.folder(), &line);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (pid, rest) = said.split_once('\n').expect("two lines");
        (pid.parse::<i32>().expect("a process id"), rest.to_owned())
    };
    let (_, before) = answer_of("");
    let trace = Trace::run(&bench, [library, "-o", "hits", "--events", &events("hotspot.d")]).attached();
    let attached = trace.said();
    let (pid, during) = answer_of("-Xlog:class+load:file=classes");
    let hits = bench.folder().join("hits");
    wait_for("the JVM's end", || {
        let written = fs::read_to_string(&hits).unwrap_or_default();
        let end = |line: &str| line.starts_with(&format!("{pid}@")) && line.contains(":vm__shutdown");
        written.lines().any(end).then_some(())
    });
    let begun = std::time::Instant::now();
    let ended = trace.interrupt().with_status(0);
    // A tracer that takes breakpoints out one by one needs most of a minute.
    assert!(begun.elapsed().as_secs() < 20, "{:?} to detach\n{}", begun.elapsed(), ended.told());
    assert_eq!(before, during);
    assert!(attached.contains("531") || !library.contains("java-17"), "{attached}");
    let written = fs::read_to_string(&hits).expect("it was written");
    let lines: Vec<Line> = written.lines().map(Line::read).filter(|line| line.pid == pid).collect();
    assert_eq!(of_event(&lines, "vm__init__begin").len(), 1);
    let classes = fs::read_to_string(bench.folder().join("classes")).expect("Java has written it");
    let loaded = of_event(&lines, "class__loaded");
    // What a JVM loads before its log is open, and after it is closed, is not much.
    assert_eq!(loaded.len(), classes.lines().count(), "{}", ended.stderr);
    // The text has no NUL at its end; the second argument is its length.
    let first = loaded.first().expect("a class");
    assert!(first.text.starts_with("class__loaded arg1=\"java/lang/Object"), "{first:?}");
    assert_eq!(first.argument("arg2"), "16");
}

/// A Java whose library has static probes.
fn java() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> =
        places.filter_map(|place| place.path().join("bin/java").canonicalize().ok()).collect();
    programs.sort();
    programs.into_iter().find(|java| {
        let library = java.with_file_name("../lib/server/libjvm.so");
        let headers =
            Command::new("readelf").args(["-SW"]).arg(library).output().expect("./test installs binutils");
        String::from_utf8_lossy(&headers.stdout).contains(".note.stapsdt")
    })
}

#[test]
fn a_rust_program_has_dashes_in_its_names() {
    let Some((bench, mut asked)) = traceable("requests.rs") else {
        return;
    };
    for pattern in ["request-*", "requests:request__start"] {
        let mut trace = Trace::ready(&bench, &format!("./requests {pattern}"));
        let said = asked.ask("go");
        let lines = trace.wait_for_lines(asked.pid(), 1);
        assert_eq!(lines[0].text.split(" arg2=").next(), Some(said[0].as_str()));
        let _ = trace.interrupt().with_status(0);
    }
}

#[test]
fn events_of_qemu_are_printed_as_its_log_prints_them() {
    let Some((bench, mut asked)) = traceable("qemu.c") else {
        return;
    };
    let mut trace = Trace::ready(&bench, &format!("./qemu qio* memory_region_* --events {EVENTS_OF_QEMU}"));
    let said = [asked.ask("once"), asked.ask("twice")].concat();
    let lines = trace.wait_for_lines(asked.pid(), said.len());
    assert_eq!(texts(&lines, asked.pid()), said);
}

#[test]
fn a_library_without_probes_is_said() {
    let bench = Bench::new();
    let library = library_of(&installed("bash"), "libc.so.6");
    let ended = Memtrial::new(&bench.folder(), "trace run").arguments([library]).run().with_status(1);
    ended.saying(&["libc.so.6", "no static probe"]);
}
