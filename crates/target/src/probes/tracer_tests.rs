//! Tests of watching a program's probes, in both ways that kernels offer.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use memtrial_events::Value;
use memtrial_events::value::Missing;
use memtrial_symbols::probes;

use super::*;

/// Notes are written by hand, as `<sys/sdt.h>` would: it may not be installed.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>
#include <stdint.h>
#define NOTE(name, semaphore, operands) \
    "990: nop\n.pushsection .note.stapsdt,\"?\",\"note\"\n.balign 4\n.4byte 992f-991f, 994f-993f, 3\n" \
    "991: .asciz \"stapsdt\"\n992: .balign 4\n993: .8byte 990b, _.stapsdt.base, " semaphore "\n" \
    ".asciz \"shop\"\n.asciz \"" name "\"\n.asciz \"" operands "\"\n994: .balign 4\n.popsection\n" \
    ".ifndef _.stapsdt.base\n.pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
    ".weak _.stapsdt.base\n.hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n" \
    ".size _.stapsdt.base, 1\n.popsection\n.endif\n"
unsigned short sold_semaphore __attribute__((section(".probes"), used));
int stock = 4711;
static short numbers[] = {1, -2, 3};
double price = 2.5;
static void sold(long id, const char *what, short *from, long index, const char *bad) {
    register const char *r8 __asm__("r8") = bad;
    __asm__ volatile(NOTE("sold", "sold_semaphore",
        "8@%%rdi 8@%%rsi -2@(%%rdx,%%rcx,2) -4@stock(%%rip) -4@$-7 1@%%dil 8@%%r8 8f@%%xmm0 8f@price(%%rip)")
        :: "D"(id), "S"(what), "d"(from), "c"(index), "r"(r8) : "memory");
}
static void told(const char *first, const char *second) {
    __asm__ volatile(NOTE("told", "0", "8@%%rdi 8@%%rsi") :: "D"(first), "S"(second) : "memory");
}
static void closed(void) { __asm__ volatile(NOTE("closed", "0", "")); }
int main(void) {
    char line[16];
    /* Nobody has touched the text before the probe does. */
    int file = memfd_create("late", 0);
    static char text[8192], long_text[1501];
    for (int i = 0; i < 1500; i++) long_text[i] = 'a' + i % 26;
    for (int i = 0; i < 8192; i++) text[i] = i < 4090 ? '.' : i < 4110 ? 'x' : 0;
    write(file, text, sizeof text);
    char *late = mmap(0, 8192, PROT_READ, MAP_SHARED, file, 0);
    printf("%d\n", getpid()), fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int raised = sold_semaphore;
        sold(0x1234567890abcdefL, "apples", numbers, 1, (char *)16);
        sold(2, late + 4090, numbers, 2, 0);
        told("short", long_text + 1437);
        told(long_text + 476, "short");
        told("", long_text);
        closed();
        printf("%d\n", raised), fflush(stdout);
    }
}
"#;

/// How long anything is waited for. Nothing that works takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(300);

struct Shop {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    pid: i32,
}

impl Shop {
    fn open(program: &Path) -> Shop {
        let mut command = Command::new(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("just built");
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let pid = number(&mut answers);
        Shop { child, answers, pid }
    }

    /// Has it sell; whether its semaphore was raised.
    fn sell(&mut self) -> bool {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("it reads");
        number(&mut self.answers) > 0
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(answers: &mut impl BufRead) -> i32 {
    let mut line = String::new();
    answers.read_line(&mut line).expect("it answers");
    line.trim().parse().expect("a number")
}

/// The program, and all sites of its probes.
fn built() -> (tempfile::TempDir, PathBuf, Vec<Watched>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) = (folder.path().join("shop.c"), folder.path().join("shop"));
    std::fs::write(&source, SOURCE).expect("written");
    let mut gcc = Command::new("gcc");
    assert!(gcc.arg("-O1").arg("-o").arg(&program).arg(&source).status().expect("there is gcc").success());
    let probes = probes::read(&program).expect("just built");
    let sites = probes.probes.iter().flat_map(|probe| {
        let texts = match probe.name.as_str() {
            "sold" => vec![false, true, false, false, false, false, true],
            name => vec![name == "told"; 2],
        };
        probe.sites.iter().map(move |site| (site.clone(), texts.clone()))
    });
    let watched = sites.map(|(site, texts)| Watched { file: program.clone(), site, texts }).collect();
    (folder, program, watched)
}

/// `None` where this machine does not allow it, which is said.
fn attached(way: Use, watched: &[Watched], pids: &[i32], fetched: Fetched) -> Option<Tracer> {
    if way == Use::Multi && !Tracer::can_link().unwrap_or(true) {
        eprintln!("skipped: this kernel has no links for many probes");
        return None;
    }
    match Tracer::attach_by(way, watched.to_vec(), pids, fetched) {
        Ok((tracer, unwatched)) => {
            assert!(unwatched.is_empty(), "{unwatched:?}");
            Some(tracer)
        }
        Err(ProbesError::NotAllowed | ProbesError::NoProbes) => {
            eprintln!("skipped: the kernel allows no probes here ({way:?})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn hits(tracer: &mut Tracer) -> Vec<RawHit> {
    let mut hits = Vec::new();
    while tracer.read(|hit| hits.push(hit)) {}
    hits
}

fn text(bytes: &str) -> Value {
    Value::Text { bytes: bytes.as_bytes().to_vec(), cut: false }
}

#[test]
fn arguments_are_what_the_program_passed() {
    let (_folder, program, watched) = built();
    for way in [Use::Multi, Use::Event] {
        let (mut shop, mut other) = (Shop::open(&program), Shop::open(&program));
        let Some(mut tracer) = attached(way, &watched, &[shop.pid], Fetched::Arguments) else { return };
        assert!(shop.sell() && !other.sell(), "its semaphore alone is raised");
        let all = hits(&mut tracer);
        assert_eq!(all.iter().map(|hit| hit.pid.cast_signed()).collect::<Vec<_>>(), [shop.pid; 6]);
        let sold = |which: usize| all[which].values.clone();
        let rest = |byte| [Value::Signed(4711), Value::Signed(-7), Value::Unsigned(byte)];
        let mut expected = vec![Value::Unsigned(0x1234_5678_90ab_cdef), text("apples"), Value::Signed(-2)];
        expected.extend(rest(0xef));
        expected.extend([
            Value::Missing(Missing::Fault),
            Value::Missing(Missing::Operand),
            Value::Float(2.5),
        ]);
        assert_eq!(sold(0), expected);
        // Where programs may not wait for memory, a text that nobody has touched yet may not be there.
        let late = sold(1)[1].clone();
        let may_miss = way == Use::Event && late == Value::Missing(Missing::Fault);
        assert!(late == text(&"x".repeat(20)) || may_miss, "{late:?}");
        let mut expected = vec![Value::Unsigned(2), late, Value::Signed(3)];
        expected.extend(rest(2));
        expected.extend([Value::Unsigned(0), Value::Missing(Missing::Operand), Value::Float(2.5)]);
        assert_eq!(sold(1), expected);
        let long: String = (0..1500).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
        // 63 bytes are the most that a short record has room for.
        assert_eq!(sold(2), [text("short"), text(&long[1437..])]);
        assert_eq!(sold(3), [text(&long[476..]), text("short")]);
        let cut = Value::Text { bytes: long.as_bytes()[..1024].to_vec(), cut: true };
        assert_eq!(sold(4), [text(""), cut]);
        assert_eq!(sold(5), []);
        assert!(all.is_sorted_by_key(|hit| hit.time) && tracer.lost() == 0);
        tracer.detach();
        // A child that another test starts has our descriptors, too, until it becomes its program, and they go one by one.
        let begun = Instant::now();
        while shop.sell() || !hits(&mut tracer).is_empty() {
            assert!(begun.elapsed() < LIMIT, "it is not left alone");
        }
    }
}

#[test]
fn all_processes_are_seen_and_counted() {
    let (_folder, program, watched) = built();
    for way in [Use::Multi, Use::Event] {
        let mut before = Shop::open(&program);
        let Some(mut tracer) = attached(way, &watched, &[], Fetched::Counts) else { return };
        let mut after = Shop::open(&program);
        assert!(before.sell() && after.sell() && after.sell());
        let mut counts = tracer.counts();
        counts.sort_unstable();
        assert_eq!((counts, tracer.lost()), (vec![3, 6, 9], 0), "{way:?}");
        assert!(hits(&mut tracer).is_empty());
    }
}

#[test]
fn stacks_reach_main() {
    let (_folder, program, watched) = built();
    for way in [Use::Multi, Use::Event] {
        let mut shop = Shop::open(&program);
        let Some(mut tracer) = attached(way, &watched, &[], Fetched::Stacks) else { return };
        shop.sell();
        let mut stacks = super::super::ProcessStacks::default();
        for hit in hits(&mut tracer) {
            let (registers, bytes) = hit.stack.expect("it was asked for");
            let frames = stacks.unwind(hit.pid, registers, &bytes);
            assert!(frames.len() >= 3, "main, and what calls it: {frames:?}");
            assert_eq!(frames[0].module.as_deref(), Some(program.as_path()));
        }
    }
}
