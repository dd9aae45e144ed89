//! Tests of unwinding other processes: small programs that stop and wait at a known place.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::symbolize::Symbolizer;
use crate::testing::Workshop;

/// `here` prints the registers it was entered with and waits; its caller's frame follows on the stack.
const HERE: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
__attribute__((noinline, used)) void print(unsigned long *at) {
    printf("%lx %lx %lx\n", at[0], at[1], at[2]); fflush(stdout); getchar(); _exit(0);
}
void here(void);
__asm__(".globl here\n.type here,@function\nhere:\n.cfi_startproc\n"
    "lea here(%rip), %rax\n mov %rsp, %rcx\n"
    "sub $40, %rsp\n.cfi_adjust_cfa_offset 40\n"
    "mov %rax, (%rsp)\n mov %rcx, 8(%rsp)\n mov %rbp, 16(%rsp)\n mov %rsp, %rdi\n call print\n hlt\n"
    ".cfi_endproc\n.size here, .-here\n");
"#;

struct Stopped {
    child: Child,
    memory: File,
    maps: Vec<Mapping>,
    regs: Registers,
    shop: Workshop,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stopped {
    /// `None`, after saying so, where the system does not let a parent read its child's memory.
    fn at_here(source: &str, flags: &[&str]) -> Option<Stopped> {
        let shop = Workshop::new();
        let program = shop.compile("here.c", &format!("{HERE}{source}"), flags);
        let mut child =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("just built");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints its registers");
        let numbers = line.split_whitespace().map(|n| u64::from_str_radix(n, 16).expect("hexadecimal"));
        let numbers: Vec<u64> = numbers.collect();
        let [ip, sp, bp] = numbers[..] else { panic!("three registers, not {line:?}") };
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).expect("our own child");
        let memory = match File::open(format!("/proc/{}/mem", child.id())) {
            Ok(memory) => memory,
            Err(error) => {
                eprintln!("SKIPPED: the memory of a child cannot be read here: {error}");
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        };
        Some(Stopped { child, memory, maps: parse_maps(&maps), regs: Registers { ip, sp, bp }, shop })
    }

    fn read(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn unwind(&self, regs: Registers, max: usize) -> Vec<RemoteFrame> {
        RemoteUnwinder::new(&self.maps).unwind(regs, &mut |address| self.read(address), max)
    }
}

fn names(frames: &[RemoteFrame]) -> Vec<String> {
    let mut symbolizer = Symbolizer::new();
    let names = frames.iter().map(|frame| {
        let module = frame.module.as_deref().unwrap_or(Path::new(""));
        let named = symbolizer.frames(module, frame.build_id.as_deref(), frame.offset, frame.return_address);
        named.last().and_then(|frame| frame.function.clone()).unwrap_or_else(|| "?".to_owned())
    });
    let names = names.collect();
    assert_eq!(symbolizer.warnings(), Vec::<String>::new());
    names
}

const CHAIN: &str = "__attribute__((noinline)) int inner(int n) { here(); return n; }\n\
    __attribute__((noinline)) int outer(int n) { return inner(n + 1) * 2; }\n\
    int main(int argc, char **argv) { return outer(argc) + 1; }\n";

#[test]
fn the_callers_are_found_however_it_was_built() {
    let builds: [&[&str]; 6] = [
        &["-O2"],
        &["-O0"],
        &["-O2", "-no-pie"],
        &["-O2", "-static"],
        &["-O2", "-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables"],
        &["-O2", "-Wl,--no-eh-frame-hdr"],
    ];
    for flags in builds {
        let Some(stopped) = Stopped::at_here(CHAIN, flags) else { return };
        let frames = stopped.unwind(stopped.regs, 100);
        let names = names(&frames);
        assert_eq!(names[..4], ["here", "inner", "outer", "main"], "{flags:?}");
        let first: Vec<bool> = frames.iter().map(|frame| frame.return_address).take(2).collect();
        assert_eq!(first, [false, true]);
        // The end of the stack is _start, which is marked so, if libc's own frames have their tables.
        assert_eq!(names.last().map(String::as_str), Some("_start"), "{flags:?}: {names:?}");
        assert!(frames.iter().all(|frame| frame.build_id.is_some()));
    }
}

#[test]
fn a_call_through_a_null_pointer_goes_on_at_its_caller() {
    let Some(stopped) = Stopped::at_here(CHAIN, &["-O2"]) else { return };
    for ip in [0, 0x1234, u64::MAX, stopped.regs.sp] {
        let frames = stopped.unwind(Registers { ip, ..stopped.regs }, 100);
        let wild = RemoteFrame { module: None, build_id: None, offset: ip, return_address: false };
        assert_eq!(frames[0], wild);
        assert_eq!(names(&frames[1..])[..3], ["inner", "outer", "main"]);
    }
}

#[test]
fn a_bad_stack_pointer_still_gives_the_frame_of_the_crash() {
    let Some(stopped) = Stopped::at_here(CHAIN, &["-O2"]) else { return };
    for sp in [0, 4, 8, 0xdead_0000, u64::MAX, u64::MAX - 7] {
        let frames = stopped.unwind(Registers { sp, ..stopped.regs }, 100);
        assert_eq!(names(&frames), ["here"], "sp {sp:x}");
        let wild = stopped.unwind(Registers { ip: 0, sp, bp: sp }, 100);
        assert_eq!(wild.len(), 1, "sp {sp:x}");
    }
}

#[test]
fn a_signal_handler_leads_back_to_what_it_interrupted() {
    for (setup, flags) in
        [("", "0"), ("stack_t s = {malloc(65536), 0, 65536}; sigaltstack(&s, 0);", "SA_ONSTACK")]
    {
        let source = format!(
            "volatile int done; void handler(int s) {{ here(); done = 1; }}\n\
             __attribute__((noinline)) int inner(int n) {{ return *(volatile int *)(long)(n - 1); }}\n\
             int main(int argc, char **argv) {{ {setup}\n\
               struct sigaction a; memset(&a, 0, sizeof a); a.sa_handler = handler; a.sa_flags = {flags};\n\
               sigaction(SIGSEGV, &a, 0); return inner(argc) + 1; }}\n"
        );
        let Some(stopped) = Stopped::at_here(&source, &["-O2"]) else { return };
        let frames = stopped.unwind(stopped.regs, 100);
        let names = names(&frames);
        assert_eq!(
            (&names[..2], &names[3..5]),
            (&["here", "handler"].map(String::from)[..], &["inner", "main"].map(String::from)[..])
        );
        assert_eq!(
            frames[..5].iter().map(|f| f.return_address).collect::<Vec<_>>(),
            [false, true, false, false, true]
        );
    }
}

#[test]
fn deep_recursion_is_cut_off_quickly() {
    let source = "__attribute__((noinline)) int dig(int n) { if (n == 0) here(); return dig(n - 1) + n; }\n\
        int main(int argc, char **argv) { return dig(50000); }\n";
    let Some(stopped) = Stopped::at_here(source, &["-O1"]) else { return };
    let mut reads = 0;
    let mut read = |address| {
        reads += 1;
        stopped.read(address)
    };
    let frames = RemoteUnwinder::new(&stopped.maps).unwind(stopped.regs, &mut read, 1000);
    assert_eq!(frames.len(), 1000);
    assert!(reads <= 10 * frames.len(), "{reads} words are read");
    assert_eq!(stopped.unwind(stopped.regs, 0).len(), 0);
    let whole = stopped.unwind(stopped.regs, 100_000);
    assert!((50_001..50_010).contains(&whole.len()), "{}", whole.len());
}

#[test]
fn a_library_that_is_gone_is_told_by_its_mapping() {
    let Some(stopped) = Stopped::at_here(CHAIN, &["-O2"]) else { return };
    let program = stopped.shop.path().join("here.exe");
    let expected = stopped.unwind(stopped.regs, 1);
    std::fs::remove_file(&program).expect("writable");
    let frames = stopped.unwind(stopped.regs, 1);
    assert_eq!((frames[0].offset, &frames[0].module), (expected[0].offset, &expected[0].module));
    assert_eq!(frames[0].build_id, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_memory_makes_it_panic_or_run_on(
        ip: prop::sample::Index, sp: u64, bp: u64, wild: bool,
        words in proptest::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let text = std::fs::read_to_string("/proc/self/maps").expect("procfs");
        let maps = parse_maps(&text);
        let code: Vec<Mapping> = maps.iter().filter(|mapping| mapping.executable).cloned().collect();
        let place = |index: &prop::sample::Index| {
            let mapping = &code[index.index(code.len())];
            mapping.start + index.index((mapping.end - mapping.start) as usize) as u64
        };
        let ip = if wild { sp ^ bp } else { place(&ip) };
        let mut read = |address: u64| (!address.is_multiple_of(7)).then(|| place(&words[(address / 8 % 64) as usize]));
        let frames = RemoteUnwinder::new(&maps).unwind(Registers { ip, sp, bp }, &mut read, 500);
        prop_assert!((1..=500).contains(&frames.len()));
    }
}
