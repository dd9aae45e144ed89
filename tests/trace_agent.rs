//! The memory events that the agent tells of in a program, and that the program does not notice.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;

use memtrial_events::recording::{Recording, Writer};
use memtrial_events::{Hit, Table, Value, render};
use memtrial_target::memory::{Setup, SharedMemory};
use memtrial_tests::harness::executable::built;
use memtrial_tests::harness::workshop::{Bench, compile_c};
use memtrial_wire::layout::{CONTROL_VARIABLE, Control, mode};
use memtrial_wire::recording::Head;
use memtrial_wire::tracing::{Tracing, backend};

/// A program that is traced by the agent and nothing else of memtrial.
struct Traced {
    bench: Bench,
    memory: SharedMemory,
}

/// What came of it.
struct Told {
    output: Output,
    events: Table,
    hits: Vec<Hit>,
    dropped: u64,
    lost: u64,
}

impl Traced {
    /// `most`: chunks of the recording at most; 0: no bound. `names`: of the events that are enabled.
    fn new(names: &[&str], backends: u32, most: u64) -> Traced {
        let bench = Bench::new();
        let all = ["*".to_owned()];
        let setup = Setup { follow: &all, ..Setup::of(mode::TRACE) };
        let memory = SharedMemory::create(&bench.beside("control"), &setup).expect("there is room");
        let traced = Traced { bench, memory };
        let recording = traced.recording();
        let table = Table { events: memtrial_events::memory(), wall_offset: 0 };
        Writer::create(&recording, &table).and_then(|mut writer| writer.flush()).expect("there is room");
        write_at(&recording, offset_of!(Head, most), &most.to_le_bytes());
        traced.put_path(offset_of!(Tracing, recording), &recording);
        let number = |name: &&str| table.events.iter().position(|event| event.name == **name);
        let bit = |name: &&str| 1u64 << number(name).unwrap_or_else(|| panic!("there is no event {name}"));
        let tracing = &traced.memory.control().tracing;
        tracing.enabled.store(names.iter().map(bit).fold(0, |bits, bit| bits | bit), Ordering::Relaxed);
        tracing.backends.store(backends, Ordering::Relaxed);
        traced
    }

    fn recording(&self) -> PathBuf {
        self.bench.beside("recording")
    }

    fn put_path(&self, offset: usize, path: &Path) {
        let bytes = [path.as_os_str().as_encoded_bytes(), b"\0"].concat();
        write_at(self.memory.path(), offset_of!(Control, tracing) + offset, &bytes);
    }

    /// Compiles a C program.
    fn compile(&self, source: &str, flags: &[&str]) -> PathBuf {
        let program = self.bench.beside("program");
        let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/../include");
        compile_c(source, &program, &[flags, &[include, "-O0", "-pthread"]].concat());
        program
    }

    /// Runs a command with the agent in it.
    fn run(self, command: &mut Command) -> Told {
        command.env("LD_PRELOAD", &built().agent).env(CONTROL_VARIABLE, self.memory.path());
        let output = command.output().expect("it can be run");
        let recording = Recording::open(&self.recording()).expect("a recording");
        let mut hits = recording.hits();
        let told: Vec<Hit> = hits.by_ref().collect::<Result<_, _>>().expect("it can be read");
        assert_eq!(hits.damaged(), 0, "the recording is damaged");
        let lost = self.memory.control().tracing.lost.load(Ordering::Relaxed);
        let (events, dropped) = (recording.table().clone(), recording.dropped());
        Told { output, events, hits: told, dropped, lost }
    }
}

impl Told {
    /// The hits as text, without the addresses that differ from run to run.
    fn lines(&self) -> Vec<String> {
        let line = |hit: &Hit| {
            let event = &self.events.events[hit.event];
            let text = format!("{} {}", event.name, render(event, &hit.values));
            let caller = text.find(" caller=").unwrap_or(text.len());
            text[..caller].to_owned()
        };
        self.hits.iter().map(line).collect()
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

fn write_at(path: &Path, offset: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("just made");
    file.write_all_at(bytes, offset as u64).expect("there is room");
}

const ALL: [&str; 14] = [
    "alloc", "free", "realloc", "fail", "map", "unmap", "remap", "map_fail", "fork", "exec", "thread",
    "dlopen", "dlclose", "mark",
];

const EACH: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "memtrial.h"
extern char **environ;
static void *body(void *argument) { return argument; }
int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    memtrial_note("begin\n\x1b\xff");
    memtrial_note((const char *)8);
    memtrial_note(NULL);
    void *block = malloc(1001);
    block = realloc(block, 2002);
    free(block);
    free(NULL);
    block = realloc(NULL, 3003);
    block = realloc(block, 0);
    free(calloc(4, 1001));
    errno = 0; block = malloc(-5005L); printf("malloc %p %d\n", block, errno);
    errno = 7; printf("posix_memalign %d %d\n", posix_memalign(&block, 64, 6006), errno); free(block);
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(map + 4096, 4096);
    memcpy(map + 4093, "cut", 3);
    memtrial_note(map + 4093);
    errno = 0; mmap(NULL, -4096L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); printf("mmap %d\n", errno);
    errno = 0; munmap(map + 1, 4096); printf("munmap %d\n", errno);
    map = mremap(map, 4096, 16384, MREMAP_MAYMOVE);
    munmap(map, 16384);
    pthread_t thread; pthread_create(&thread, NULL, body, (void *)5); pthread_join(thread, NULL);
    memtrial_note("libraries");
    void *library = dlopen("libm.so.6", RTLD_NOW); dlclose(library);
    printf("dlopen %d\n", dlopen(NULL, RTLD_LAZY) != NULL);
    memtrial_note("processes");
    pid_t child = fork();
    if (child == 0) { memtrial_note("child"); execl("/bin/sh", "sh", "-c", "exit $0", "11", (char *)NULL); _exit(1); }
    int status; waitpid(child, &status, 0); printf("fork %d\n", WEXITSTATUS(status));
    child = vfork();
    if (child == 0) { execlp("sh", "sh", "-c", "exit $0$1", "1", "2", (char *)NULL); _exit(1); }
    waitpid(child, &status, 0); printf("vfork %d\n", WEXITSTATUS(status));
    char *arguments[] = { "sh", "-c", "exit 13", NULL };
    printf("posix_spawnp %d ", posix_spawnp(&child, "sh", NULL, NULL, arguments, environ));
    waitpid(child, &status, 0); printf("%d\n", WEXITSTATUS(status));
    errno = 0; execv("/nowhere", arguments); printf("execv %d\n", errno);
    memtrial_note("end");
    kill(getpid(), SIGKILL);
}
"#;

/// What the program prints, with the agent and without.
const EACH_PRINTS: &str = "malloc (nil) 12\nposix_memalign 0 7\nmmap 12\nmunmap 22\ndlopen 1\nfork 11\nvfork 12\n\
                           posix_spawnp 0 13\nexecv 2\n";

#[test]
fn each_event_is_told_of_and_survives_sigkill() {
    let traced = Traced::new(&ALL, backend::SIMPLE, 0);
    let program = traced.compile(EACH, &[]);
    let told = traced.run(&mut Command::new(&program));
    assert_eq!(told.stdout(), EACH_PRINTS);
    assert_eq!((told.dropped, told.lost), (0, 0));
    let pid = told.hits[0].pid;
    let of = |name: &str| {
        let lines = told.hits.iter().zip(told.lines());
        // The shells allocate too.
        let is_meant = |hit: &Hit| hit.pid == pid || ["exec", "mark"].contains(&name);
        let found = lines.filter(|(hit, line)| is_meant(hit) && line.split(' ').next() == Some(name));
        found.map(|(_, line)| line).collect::<Vec<_>>()
    };
    let texts = |name: &str| {
        of(name).iter().map(|line| line.split_once('=').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        texts("mark"),
        [r"begin\n\x1b\xff", "<fault>", "(null)", "cut...", "libraries", "processes", "child", "end"]
    );
    let mark = told.events.events.iter().position(|event| event.name == "mark");
    let marks = told.hits.iter().filter(|hit| Some(hit.event) == mark).map(|hit| &hit.values[0]);
    let is_null = marks.map(|text| *text == Value::Unsigned(0)).collect::<Vec<_>>();
    assert_eq!(
        is_null,
        [false, false, true, false, false, false, false, false],
        "a text may read \"(null)\""
    );
    assert_eq!(texts("exec"), ["/bin/sh", "sh", "sh", "/nowhere"]);
    assert_eq!(of("dlopen"), ["dlopen path=libm.so.6 flags=0x2", "dlopen path=(null) flags=0x1"]);
    assert_eq!(of("dlclose").len(), 1);
    assert_eq!(of("fail"), [format!("fail bytes={}", -5005i64 as u64)]);
    assert_eq!(of("map_fail"), [format!("map_fail bytes={} error=12", -4096i64 as u64)]);
    assert_eq!(of("remap").len(), 1);
    assert_eq!(of("fork").len(), 1);
    assert!(of("thread")[0].ends_with("argument=0x5"), "{:?}", of("thread"));
    assert_eq!(of("map").len(), 1);
    assert!(of("map")[0].ends_with(" bytes=8192 protection=0x3 flags=0x22 fd=-1"), "{:?}", of("map"));
    let sizes: Vec<String> =
        of("unmap").iter().map(|line| line.rsplit_once('=').unwrap().1.to_owned()).collect();
    assert_eq!(sizes, ["4096", "16384"]);
    for start in
        ["alloc bytes=1001 a", "alloc bytes=3003 a", "alloc bytes=4004 a", "alloc bytes=6006 alignment=64 "]
    {
        assert_eq!(of("alloc").iter().filter(|line| line.starts_with(start)).count(), 1, "{start}");
    }
    assert_eq!(of("realloc").len(), 1);
    assert!(of("realloc")[0].contains(" bytes=2002 block=0x"), "{:?}", of("realloc"));
    // A program that a child executes, forked or not, is that child's.
    let exec = told.events.events.iter().position(|event| event.name == "exec");
    let executing: Vec<u32> =
        told.hits.iter().filter(|hit| Some(hit.event) == exec).map(|hit| hit.pid).collect();
    assert!(executing[0] != pid && executing[1] != pid && executing[0] != executing[1], "{executing:?}");
    assert_eq!(executing[2..], [pid, pid]);
    // The shells told of their own allocations.
    assert!(told.hits.iter().filter(|hit| Some(hit.event) != exec).any(|hit| hit.pid == executing[1]));
}

#[test]
fn where_nothing_is_enabled_nothing_is_told() {
    let traced = Traced::new(&[], backend::SIMPLE | backend::LOG, 0);
    let program = traced.compile(EACH, &[]);
    let told = traced.run(&mut Command::new(&program));
    assert_eq!(told.stdout(), EACH_PRINTS);
    assert_eq!((told.hits.len(), told.dropped, told.lost, told.stderr()), (0, 0, 0, String::new()));
}

const MARKS: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "memtrial.h"
static volatile sig_atomic_t handled;
static void handle(int signal) { handled++; memtrial_note("handler"); }
static void *body(void *argument) { memtrial_note("thread"); return argument; }
int main(int count, char **arguments) {
    int many = atoi(arguments[2]), done = 0;
    if (!strcmp(arguments[1], "signals")) {
        struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { { 0 } };
        signal(SIGALRM, handle);
        setitimer(ITIMER_REAL, &often, NULL);
        for (; done < many || handled < 100; done++) memtrial_note("main");
        setitimer(ITIMER_REAL, &never, NULL);
    } else if (!strcmp(arguments[1], "threads")) {
        for (; done < many; done++) {
            pthread_t thread;
            pthread_create(&thread, NULL, body, NULL);
            pthread_join(thread, NULL);
        }
        FILE *maps = fopen("/proc/self/maps", "r");
        char line[4096];
        while (fgets(line, sizeof line, maps)) handled += strstr(line, "/recording") != NULL;
    } else if (!strcmp(arguments[1], "forks")) {
        memtrial_note("parent");
        for (; done < many; done++) {
            if (fork() == 0) {
                for (int i = 0; i < 100; i++) memtrial_note("child");
                _exit(0);
            }
            memtrial_note("parent");
        }
        while (wait(NULL) > 0) {}
    } else {
        for (; done < many; done++) memtrial_note("main");
    }
    printf("%d %d\n", done, (int)handled);
    return 0;
}
"#;

/// The two numbers that the program prints.
fn counted(told: &Told) -> (u64, u64) {
    let stdout = told.stdout();
    let numbers: Vec<u64> = stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(
        (numbers.len(), told.output.status.code()),
        (2, Some(0)),
        "{stdout:?} {:?}",
        told.output.status
    );
    (numbers[0], numbers[1])
}

#[test]
fn what_a_signal_handler_tells_is_recorded_or_counted() {
    let traced = Traced::new(&["mark"], backend::SIMPLE, 0);
    let program = traced.compile(MARKS, &[]);
    let told = traced.run(Command::new(&program).args(["signals", "20000"]));
    let (main, handler) = counted(&told);
    assert_eq!(told.hits.len() as u64 + told.dropped, main + handler);
    assert_eq!(told.lines().iter().filter(|line| *line == "mark text=main").count() as u64, main);
}

#[test]
fn chunks_of_threads_that_have_ended_are_unmapped() {
    let traced = Traced::new(&["mark"], backend::SIMPLE, 0);
    let program = traced.compile(MARKS, &[]);
    let told = traced.run(Command::new(&program).args(["threads", "300"]));
    let (threads, mappings) = counted(&told);
    assert_eq!((told.hits.len() as u64, told.dropped), (threads, 0));
    assert!(mappings < 100, "{mappings} chunks are mapped");
    let tids: HashSet<u32> = told.hits.iter().map(|hit| hit.tid).collect();
    assert!(tids.len() > 1);
}

#[test]
fn forked_children_have_chunks_of_their_own() {
    let traced = Traced::new(&["mark"], backend::SIMPLE, 0);
    let program = traced.compile(MARKS, &[]);
    let told = traced.run(Command::new(&program).args(["forks", "20"]));
    assert_eq!(counted(&told), (20, 0));
    let mut processes: HashMap<u32, Vec<String>> = HashMap::new();
    for (hit, line) in told.hits.iter().zip(told.lines()) {
        processes.entry(hit.pid).or_default().push(line);
    }
    let mut counts: Vec<(usize, &str)> = Vec::new();
    for lines in processes.values() {
        assert!(lines.iter().all(|line| *line == lines[0]), "{lines:?}");
        counts.push((lines.len(), &lines[0]));
    }
    counts.sort_unstable();
    let mut expected = vec![(21, "mark text=parent")];
    expected.extend([(100, "mark text=child"); 20]);
    assert_eq!(counts, expected);
}

#[test]
fn what_finds_no_room_is_counted() {
    let traced = Traced::new(&["mark"], backend::SIMPLE, 2);
    let program = traced.compile(MARKS, &[]);
    let told = traced.run(Command::new(&program).args(["marks", "20000"]));
    assert_eq!(counted(&told).0, 20000);
    assert_eq!(told.hits.len() as u64 + told.dropped, 20000);
    assert!(told.dropped > 5000 && told.hits.len() > 5000, "{} {}", told.dropped, told.hits.len());
}

#[test]
fn a_limit_on_the_size_of_files_ends_no_program() {
    let traced = Traced::new(&["mark"], backend::SIMPLE | backend::LOG, 0);
    traced.put_path(offset_of!(Tracing, log), &traced.bench.beside("log"));
    let program = traced.compile(MARKS, &[]);
    let shell = "ulimit -f 3000; exec \"$0\" marks 60000";
    let told = traced.run(Command::new("/bin/sh").args(["-c", shell]).arg(&program));
    assert_eq!(counted(&told).0, 60000);
    assert_eq!(told.hits.len() as u64 + told.dropped, 60000);
    assert!(told.dropped > 0 && told.lost > 0, "{} {}", told.dropped, told.lost);
}

#[test]
fn a_log_that_nobody_reads_ends_no_program() {
    let traced = Traced::new(&["mark"], backend::LOG, 0);
    let program = traced.compile(MARKS, &[]);
    // Writing fails once `true` has ended.
    let shell =
        "{ while (echo >&4) 2>/dev/null; do sleep 0.01; done; \"$0\" marks 1000 2>&4; } 4>&1 >&5 | exec true";
    let told = traced.run(
        Command::new("/bin/bash")
            .args(["-c", &format!("exec 5>&1; {shell}; wait")])
            .arg(&program)
            .stdin(Stdio::null()),
    );
    assert_eq!(told.lost, 1000, "{}", told.stderr());
    assert!(told.stdout().starts_with("1000 "), "{}", told.stdout());
}

#[test]
fn the_log_has_a_line_for_each_event() {
    let traced = Traced::new(&["mark"], backend::LOG | backend::SIMPLE, 0);
    let program = traced.compile(MARKS, &[]);
    let told = traced.run(Command::new(&program).args(["marks", "3"]));
    let stderr = told.stderr();
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    for (hit, line) in told.hits.iter().zip(stderr.lines()) {
        let event = &told.events.events[hit.event];
        let (who, what) = line.split_once(':').expect("a name");
        assert_eq!(what, format!("{} {}", event.name, render(event, &hit.values)));
        let (pid, time) = who.split_once('@').expect("a time");
        assert_eq!(pid, hit.pid.to_string());
        let (seconds, microseconds) = time.split_once('.').expect("microseconds");
        assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 1 << 30), "{line}");
        assert!(microseconds.len() == 6 && microseconds.parse::<u32>().is_ok(), "{line}");
    }
}

#[test]
fn a_library_is_looked_for_where_its_caller_says() {
    let traced = Traced::new(&["dlopen"], backend::SIMPLE, 0);
    let folder = traced.bench.folder();
    std::fs::create_dir(folder.join("inner")).expect("a folder of one's own");
    compile_c("int inner(void) { return 42; }", &folder.join("inner/libinner.so"), &["-shared", "-fPIC"]);
    let outer = "#include <dlfcn.h>\nint outer(void) { return dlopen(\"libinner.so\", RTLD_NOW) ? 42 : 1; }";
    compile_c(outer, &folder.join("libouter.so"), &["-shared", "-fPIC", "-Wl,-rpath,$ORIGIN/inner"]);
    let (path, search) = (format!("-L{}", folder.display()), format!("-Wl,-rpath,{}", folder.display()));
    let program = folder.join("caller");
    // The libraries stand behind the source, else the linker would leave them out.
    let flags = [&path, &search, "-Wl,--no-as-needed", "-louter"];
    compile_c("int outer(void); int main(void) { return outer(); }", &program, &flags);
    let told = traced.run(&mut Command::new(&program));
    assert_eq!(told.output.status.code(), Some(42));
    assert_eq!(told.lines(), ["dlopen path=libinner.so flags=0x2"]);
}

#[test]
fn a_mark_costs_nothing_to_link() {
    let source = "#include \"memtrial.h\"\nint main(void) { memtrial_note(\"linked\"); return 7; }";
    for flags in
        [&["-fpie", "-pie"][..], &["-fno-pie", "-no-pie"], &["-fno-pie", "-no-pie", "-O2"], &["-static"]]
    {
        let traced = Traced::new(&["mark"], backend::SIMPLE, 0);
        let program = traced.compile(source, flags);
        assert_eq!(Command::new(&program).status().expect("it runs").code(), Some(7), "{flags:?}");
        let told = traced.run(&mut Command::new(&program));
        let expected: &[&str] = if flags == ["-static"] { &[] } else { &["mark text=linked"] };
        assert_eq!(
            (told.output.status.code(), &told.lines()[..]),
            (Some(7), &expected.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()[..]),
            "{flags:?}"
        );
    }
}
