//! Following the blocks of small programs that leak what they are told to, by probes of the kernel.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use memtrial_symbols::allocator::{Allocators, Function, Kind};
use memtrial_symbols::remote::RemoteFrame;
use memtrial_symbols::symbolize::Symbolizer;
use memtrial_target::uprobes::{LiveBlocks, UprobeError, Uprobes};

const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// Writes a byte when it is there, does one step for each byte it reads, and answers with that.
const LEAKY: &str = r#"
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define SITE __attribute__((noinline))
static void *kept[1 << 20]; static int n;
static void *keep(void *p) { memset(p, 1, 8); return kept[__atomic_fetch_add(&n, 1, __ATOMIC_SEQ_CST)] = p; }
SITE void leaks_two(void) { for (int i = 0; i < 2; i++) keep(malloc(24)); }
SITE void leaks_zeroed(void) { keep(calloc(3, 40)); }
SITE void leaks_aligned(void) { void *p; if (!posix_memalign(&p, 256, 1000)) keep(p); }
static void *stored;
SITE void leaks_stored(void) { if (!posix_memalign(&stored, 64, 72)) keep(stored); }
SITE void leaks_memalign(void) { keep(aligned_alloc(64, 640)); }
SITE void leaks_moved(void) { char *p = malloc(10); for (int i = 1; i < 12; i++) p = realloc(p, 10 << i); keep(p); }
SITE void keeps_one(void) { static char *p; p = realloc(p, 100 + n % 7 * 3000); p[0] = 1; }
SITE void leaks_nothing(void) {
    for (int i = 0; i < 100; i++) { char *volatile p = malloc(i * 50); free(p); free(NULL); }
    void *volatile huge = malloc(PTRDIFF_MAX); free(huge);
    char *p = malloc(7); if (realloc(p, PTRDIFF_MAX)) _exit(3); free(p);
}
SITE void *leaks_in_thread(void *p) { keep(malloc(48)); free(p); return malloc(99); }
SITE void with_thread(void) {
    pthread_t t; void *result;
    pthread_create(&t, 0, leaks_in_thread, malloc(33)); pthread_join(t, &result); free(result);
}
SITE void step(void) {
    leaks_two(); leaks_zeroed(); leaks_aligned(); leaks_stored(); leaks_memalign(); leaks_moved(); keeps_one();
    leaks_nothing(); with_thread();
}
int main(void) {
    char c = 'r';
    if (write(1, &c, 1) != 1) return 1;
    while (read(0, &c, 1) == 1) { step(); if (write(1, &c, 1) != 1) return 1; }
    return 0;
}
"#;

struct Target {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Target {
    fn start(source: &str, flags: &[&str]) -> Target {
        let folder = tempfile::tempdir().expect("a writable temporary folder");
        let (file, program) = (folder.path().join("leaky.c"), folder.path().join("leaky"));
        std::fs::write(&file, source).expect("writable");
        let mut compiler = Command::new("gcc");
        compiler.args(["-O2", "-g", "-w"]).arg(&file).args(flags).args(["-pthread", "-o"]).arg(&program);
        let output = compiler.output().expect("the tests need gcc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut command = Command::new(&program);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("just built");
        let mut target = Target { child, _folder: folder };
        // Before that, its libraries may not be there yet.
        target.hear();
        target
    }

    fn hear(&mut self) {
        let mut answer = [0];
        self.child.stdout.as_mut().expect("piped").read_exact(&mut answer).expect("it answers");
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn step(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"s").expect("it reads");
        self.hear();
    }

    fn functions(&self) -> (Kind, Vec<(PathBuf, Function)>) {
        let all = Allocators::of_process(self.pid()).expect("our own child");
        let allocator = &all.found[all.effective.expect("it has an allocator")];
        let functions = allocator.functions.iter().map(|function| (allocator.file.clone(), function.clone()));
        (allocator.kind, functions.collect())
    }

    /// `None`, after saying so, where probes are not allowed.
    fn follow(&self, functions: &[(PathBuf, Function)]) -> Option<Uprobes> {
        match Uprobes::begin(self.pid(), functions) {
            Ok(uprobes) => Some(uprobes),
            Err(error @ (UprobeError::NotAllowed { .. } | UprobeError::NoUprobes)) => {
                eprintln!("SKIPPED: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn library(name: &str) -> Option<String> {
    let path = Path::new(LIBRARIES).join(name);
    if !path.exists() {
        eprintln!("SKIPPED: there is no {}", path.display());
    }
    path.exists().then(|| path.display().to_string())
}

fn names(frames: &[RemoteFrame], symbolizer: &mut Symbolizer) -> Vec<String> {
    let named = frames.iter().flat_map(|frame| {
        let module = frame.module.as_deref().unwrap_or(Path::new(""));
        symbolizer.frames(module, frame.build_id.as_deref(), frame.offset, frame.return_address)
    });
    named.map(|frame| frame.function.unwrap_or_else(|| "?".to_owned())).collect()
}

/// Per innermost function of `LEAKY` on the stack: how many blocks live, their bytes, and the rounds they are of.
fn by_site(live: &LiveBlocks) -> BTreeMap<String, (usize, u64, Vec<u32>)> {
    let mut symbolizer = Symbolizer::new();
    let mut sites: BTreeMap<String, (usize, u64, Vec<u32>)> = BTreeMap::new();
    for block in &live.blocks {
        let names = names(&live.stacks[block.stack as usize], &mut symbolizer);
        let site = names.iter().find(|name| name.contains("leaks") || name.contains("keeps"));
        let site = site.cloned().unwrap_or_else(|| names.join("<"));
        let (blocks, bytes, rounds) = sites.entry(site).or_default();
        *blocks += 1;
        *bytes += block.bytes;
        rounds.push(block.round);
    }
    sites.values_mut().for_each(|(_, _, rounds)| rounds.sort_unstable());
    sites
}

/// Follows `LEAKY` with an allocator for 20 rounds, and holds each site against what it leaks.
fn every_site_is_counted(kind: Kind, flags: &[&str]) {
    const ROUNDS: u32 = 20;
    let mut target = Target::start(LEAKY, flags);
    // Some allocators allocate for themselves at first.
    target.step();
    let (found, functions) = target.functions();
    assert_eq!(found, kind);
    let Some(uprobes) = target.follow(&functions) else { return };
    for round in 1..=ROUNDS {
        uprobes.set_round(round);
        target.step();
    }
    let live = uprobes.live();
    assert_eq!((live.lost, live.untold, live.unfinished, live.cut_off), (0, 0, 0, 0), "{kind:?}");
    let sites = by_site(&live);
    let each = |times: usize| (1..=ROUNDS).flat_map(|round| vec![round; times]).collect::<Vec<u32>>();
    let expect = |site: &str, times: usize, bytes: u64| {
        let rounds = u64::from(ROUNDS);
        let expected = (times * ROUNDS as usize, bytes * rounds, each(times));
        assert_eq!(sites.get(site), Some(&expected), "{kind:?} {site}: {:?}", sites.keys());
    };
    expect("leaks_two", 2, 48);
    expect("leaks_zeroed", 1, 120);
    expect("leaks_aligned", 1, 1000);
    expect("leaks_stored", 1, 72);
    expect("leaks_memalign", 1, 640);
    expect("leaks_moved", 1, 10 << 11);
    expect("leaks_in_thread", 1, 48);
    assert_eq!(sites.get("keeps_one").map(|(blocks, ..)| *blocks), Some(1));
    assert!(!sites.contains_key("leaks_nothing"), "{kind:?}");
    let counted: u64 = live.counts.iter().map(|counts| counts.allocated - counts.freed).sum();
    assert_eq!(counted, live.blocks.len() as u64);
    drop(uprobes);
    target.step();
}

#[test]
fn the_c_librarys_blocks_are_counted() {
    every_site_is_counted(Kind::Glibc, &[]);
}

#[test]
fn a_static_programs_blocks_are_counted() {
    every_site_is_counted(Kind::Glibc, &["-static"]);
}

#[test]
fn blocks_of_a_linked_in_jemalloc_are_counted() {
    let Some(archive) = library("libjemalloc.a") else { return };
    every_site_is_counted(Kind::Jemalloc, &[&archive, "-lstdc++", "-lm", "-ldl"]);
}

#[test]
fn blocks_of_a_linked_in_tcmalloc_are_counted() {
    let Some(archive) = library("libtcmalloc_minimal.a") else { return };
    let whole = format!("-Wl,--whole-archive,{archive},--no-whole-archive");
    every_site_is_counted(Kind::Tcmalloc, &[&whole, "-lstdc++", "-lm"]);
}

#[test]
fn blocks_of_mimalloc_are_counted() {
    let Some(_) = library("libmimalloc.so") else { return };
    every_site_is_counted(Kind::Mimalloc, &["-Wl,--no-as-needed", "-lmimalloc"]);
}

#[test]
fn code_that_is_loaded_meanwhile_is_on_the_stacks() {
    let plugin = r#"
        #include <stdlib.h>
        void *leaks_in_plugin(void) { void *volatile p = malloc(77); return p; }
    "#;
    let loader = r#"
        #include <dlfcn.h>
        #include <unistd.h>
        static void step(char *path) {
            void *library = dlopen(path, RTLD_NOW);
            void *(*leak)(void) = dlsym(library, "leaks_in_plugin");
            for (volatile int i = 0; i < 3; i++) leak();
        }
        int main(void) {
            char c = 'r';
            if (write(1, &c, 1) != 1) return 1;
            while (read(0, &c, 1) == 1) { step(PLUGIN); if (write(1, &c, 1) != 1) return 1; }
        }
    "#;
    let folder = tempfile::tempdir().expect("a writable temporary folder");
    let (source, library) = (folder.path().join("plugin.c"), folder.path().join("plugin.so"));
    std::fs::write(&source, plugin).expect("writable");
    let compiled = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O2", "-g"])
        .arg(&source)
        .arg("-o")
        .arg(&library)
        .status();
    assert!(compiled.expect("the tests need gcc").success());
    let mut target = Target::start(loader, &[&format!("-DPLUGIN=\"{}\"", library.display())]);
    let (_, functions) = target.functions();
    let Some(uprobes) = target.follow(&functions) else { return };
    target.step();
    let sites = by_site(&uprobes.live());
    assert_eq!(sites.get("leaks_in_plugin"), Some(&(3, 231, vec![0, 0, 0])), "{sites:?}");
}

#[test]
fn what_a_process_held_is_known_when_it_has_ended() {
    let mut target = Target::start(LEAKY, &[]);
    let (_, functions) = target.functions();
    let Some(uprobes) = target.follow(&functions) else { return };
    uprobes.set_round(1);
    target.step();
    target.child.kill().expect("it runs");
    target.child.wait().expect("our own child");
    let live = uprobes.live();
    let leaks = live.blocks.iter().filter(|block| block.bytes == 24 && block.round == 1).count();
    assert_eq!((leaks, live.lost), (2, 0));
    assert_eq!(live, uprobes.live());
}

#[test]
fn what_cannot_be_followed_is_refused_for_what_it_is() {
    let target = Target::start(LEAKY, &[]);
    let (_, mut functions) = target.functions();
    let Some(_) = target.follow(&functions) else { return };
    assert!(matches!(Uprobes::begin(i32::MAX, &functions), Err(UprobeError::Gone(i32::MAX))));
    assert!(matches!(Uprobes::begin(target.pid(), &[]), Err(UprobeError::Nothing("allocates"))));
    functions[0].0 = PathBuf::from("/nonexistent");
    let error = Uprobes::begin(target.pid(), &functions).err().expect("there is no such file").to_string();
    assert!(error.contains("cannot probe") && error.contains("/nonexistent"), "{error}");
}
