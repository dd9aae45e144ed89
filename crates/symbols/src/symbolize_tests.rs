//! Tests of symbolizing, on programs built for them.

use std::process::Command;

use super::*;
use crate::testing::{Workshop, mutated};
use proptest::prelude::*;

const INLINING: &str = "\
volatile int sink;
static inline __attribute__((always_inline)) int deep(int n) { sink = n; return sink / n; }
__attribute__((noinline)) int work(int n) {
    return deep(n) + 1;
}
int main(int argc, char **argv) { return work(argc); }
";

fn names(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.function.as_deref().unwrap_or("?")).collect()
}

fn without_debug_roots() -> Symbolizer {
    Symbolizer::with_debug_roots(Vec::new())
}

#[test]
fn inlined_functions_come_before_those_they_were_inlined_into() {
    let shop = Workshop::new();
    let program = shop.compile("inlining.c", INLINING, &["-O2", "-g"]);
    let start = shop.address_of(&program, "work");
    let mut symbolizer = without_debug_roots();
    let mut seen = (0..24).map(|at| symbolizer.frames(&program, None, start + at, false));
    let both = seen.find(|frames| frames.len() == 2).expect("deep is inlined into work");
    assert_eq!(names(&both), ["deep", "work"]);
    assert_eq!((both[0].inlined, both[1].inlined), (true, false));
    assert_eq!((both[0].line, both[1].line), (Some(2), Some(4)));
    assert!(both[0].file.as_deref().is_some_and(|file| file.ends_with("inlining.c")));
    assert!(both[0].function_offset.is_none() && both[1].function_offset.is_some());
    assert_eq!(symbolizer.warnings(), Vec::<String>::new());
}

#[test]
fn a_call_that_ends_its_function_is_looked_up_before_its_return_address() {
    let shop = Workshop::new();
    let source = "#include <stdlib.h>\n__attribute__((noinline)) void die(void) { abort(); }\n\
        __attribute__((noinline)) int next(int n) { return n; }\nint main(int c, char **v) { die(); return next(c); }\n";
    let program = shop.compile("die.c", source, &["-O1", "-fno-align-functions", "-falign-functions=1"]);
    let end = shop.address_of(&program, "next");
    let mut symbolizer = without_debug_roots();
    let frame = symbolizer.frames(&program, None, end, true);
    assert_eq!(names(&frame), ["die"]);
    assert_eq!(frame[0].function_offset, Some(end - shop.address_of(&program, "die")));
    assert_eq!(names(&symbolizer.frames(&program, None, end, false)), ["next"]);
}

#[test]
fn cpp_names_are_demangled_and_lines_found() {
    let shop = Workshop::new();
    let source = "namespace app { template <class T> __attribute__((noinline)) T twice(T n) { return n + n; }\n\
        struct Box { __attribute__((noinline)) int get(int n) const { return app::twice(n); } }; }\n\
        int main(int c, char **) { return app::Box().get(c); }\n";
    let program = shop.compile("names.cpp", source, &["-g", "-O1"]);
    let mut symbolizer = without_debug_roots();
    let twice = shop.address_of(&program, "_ZN3app5twiceIiEET_S1_");
    let get = shop.address_of(&program, "_ZNK3app3Box3getEi");
    assert_eq!(names(&symbolizer.frames(&program, None, twice, false)), ["int app::twice<int>(int)"]);
    let frames = symbolizer.frames(&program, None, get, false);
    assert_eq!((names(&frames), frames[0].line), (vec!["app::Box::get(int) const"], Some(2)));
}

/// Moves the debug information of a program into a file of its own; gives both.
fn split(shop: &Workshop, debug: &str) -> (PathBuf, PathBuf) {
    let program = shop.compile("inlining.c", INLINING, &["-O2", "-g", "-gz=zlib"]);
    let debug = shop.path().join(debug);
    std::fs::create_dir_all(debug.parent().expect("in the shop")).expect("writable");
    shop.run(Command::new("objcopy").arg("--only-keep-debug").arg(&program).arg(&debug));
    shop.run(Command::new("strip").arg(&program));
    (program, debug)
}

fn split_by_link(shop: &Workshop, place: &str) -> (PathBuf, PathBuf, u64) {
    let (program, debug) = split(shop, place);
    let start = shop.address_of(&debug, "work");
    shop.run(Command::new("objcopy").arg(format!("--add-gnu-debuglink={}", debug.display())).arg(&program));
    (program, debug, start)
}

#[test]
fn a_linked_debug_file_is_used_when_its_checksum_holds() {
    for place in ["inlining.debug", ".debug/inlining.debug"] {
        let shop = Workshop::new();
        let (program, debug, start) = split_by_link(&shop, place);
        let mut symbolizer = without_debug_roots();
        let frames = symbolizer.frames(&program, None, start, false);
        assert_eq!((names(&frames), frames[1].line), (vec!["deep", "work"], Some(4)));
        assert_eq!(symbolizer.warnings(), Vec::<String>::new());

        let mut bytes = std::fs::read(&debug).expect("just built");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&debug, bytes).expect("writable");
        let mut symbolizer = without_debug_roots();
        assert_eq!(symbolizer.frames(&program, None, start, false), [Frame::default()]);
        let warnings = symbolizer.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("wrong checksum"), "{warnings:?}");
    }
}

fn split_by_id(shop: &Workshop) -> (PathBuf, PathBuf, u64, Vec<u8>) {
    let (program, debug) = split(shop, "moved.debug");
    let start = shop.address_of(&debug, "work");
    let id = Image::open(&program).expect("just built").build_id().expect("gcc gives one");
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let place = shop.path().join(format!("root/.build-id/{}/{}.debug", &hex[..2], &hex[2..]));
    std::fs::create_dir_all(place.parent().expect("in the shop")).expect("writable");
    std::fs::rename(debug, &place).expect("writable");
    (program, place, start, id)
}

#[test]
fn a_debug_file_is_found_by_build_id_even_when_the_program_is_gone() {
    let shop = Workshop::new();
    let (program, _, start, id) = split_by_id(&shop);
    let root = vec![shop.path().join("root")];
    let mut symbolizer = Symbolizer::with_debug_roots(root.clone());
    let frames = symbolizer.frames(&program, None, start, false);
    assert_eq!((names(&frames), frames[1].line), (vec!["deep", "work"], Some(4)));
    std::fs::remove_file(&program).expect("writable");
    let mut symbolizer = Symbolizer::with_debug_roots(root);
    assert_eq!(symbolizer.frames(&program, Some(&id), start, false), frames);
}

#[test]
fn a_damaged_debug_file_costs_the_lines_but_not_the_symbols() {
    let sections = [".debug_info", ".debug_abbrev", ".debug_line", ".debug_str"];
    for name in sections {
        for fill in [0x00, 0x01, 0xff] {
            let shop = Workshop::new();
            let program = shop.compile("inlining.c", INLINING, &["-O2", "-g"]);
            let start = shop.address_of(&program, "work");
            let image = Image::open(&program).expect("just built");
            let section = image.section(name).expect("built with -g").clone();
            let mut bytes = std::fs::read(&program).expect("just built");
            bytes[section.offset as usize..(section.offset + section.size) as usize].fill(fill);
            let damaged = shop.write("damaged.exe", &bytes);
            let mut symbolizer = without_debug_roots();
            let frames = symbolizer.frames(&damaged, None, start, false);
            // Without the strings the compiler's names are lost too, but nothing tells.
            if name != ".debug_str" {
                assert_eq!(names(&frames), ["work"], "{name} of {fill}");
                let warnings = symbolizer.warnings();
                assert_eq!(warnings.len(), 1, "{name} of {fill}: {warnings:?}");
                assert!(
                    warnings[0].contains("damaged.exe") && warnings[0].contains("symbols only"),
                    "{warnings:?}"
                );
            }
            symbolizer.frames(&damaged, None, start + 1, false);
            assert_eq!(symbolizer.warnings(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_debug_file_that_is_cut_off_or_no_elf_is_told_about() {
    let shop = Workshop::new();
    let (program, debug, start, _) = split_by_id(&shop);
    let whole = std::fs::read(&debug).expect("just built");
    for bytes in [&whole[..whole.len() / 2], b"not ELF at all, but long enough to have been", b""] {
        std::fs::write(&debug, bytes).expect("writable");
        let mut symbolizer = Symbolizer::with_debug_roots(vec![shop.path().join("root")]);
        assert_eq!(symbolizer.frames(&program, None, start, false), [Frame::default()]);
        let warnings = symbolizer.warnings();
        assert!(
            warnings.iter().any(|w| w.contains(&*debug.to_string_lossy()) && w.contains("symbols only")),
            "{warnings:?}"
        );
    }
}

#[test]
fn endless_inlining_is_refused_before_it_costs_the_stack() {
    // A unit whose function holds 100,000 calls, each inlined into the one before.
    let shop = Workshop::new();
    let mut dies = String::new();
    for _ in 0..100_000 {
        dies.push_str(".byte 3\n");
    }
    let source = format!(
        ".text\n.globl deep\n.type deep,@function\ndeep: ret\n.size deep,.-deep\n\
         .section .debug_abbrev\n\
         .uleb128 1,0x11\n.byte 1\n.uleb128 0x11,1,0x12,7,0,0\n\
         .uleb128 2,0x2e\n.byte 1\n.uleb128 0x11,1,0x12,7,0,0\n\
         .uleb128 3,0x1d\n.byte 1\n.uleb128 0,0\n.byte 0\n\
         .section .debug_info\n.long end-begin\nbegin: .short 4\n.long 0\n.byte 8\n\
         .uleb128 1\n.quad deep,1\n.uleb128 2\n.quad deep,1\n{dies}.fill 100002\nend:\n"
    );
    let assembly = shop.write("deep.s", source.as_bytes());
    let program = shop.compile(
        "main.c",
        "int deep(void); int main(void) { return deep(); }",
        &[&*assembly.to_string_lossy()],
    );
    let mut symbolizer = without_debug_roots();
    let frames = symbolizer.frames(&program, None, shop.address_of(&program, "deep"), false);
    assert_eq!(names(&frames), ["deep"]);
    let warnings = symbolizer.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("nested"), "{warnings:?}");
}

#[test]
fn names_that_dwz_moved_away_are_found_in_the_supplementary_file() {
    // A unit whose function has its name by DW_FORM_GNU_strp_alt (0x1f21).
    let shop = Workshop::new();
    let id = "0102030405060708";
    let sup = shop.write("sup.s", b".section .debug_str\n.asciz \"x\"\n.asciz \"moved_away\"\n");
    let supplementary = shop.path().join("sup.debug");
    let build_id = format!("-Wl,--build-id=0x{id}");
    shop.run(
        Command::new("gcc").args(["-shared", "-nostdlib", &build_id, "-o"]).arg(&supplementary).arg(&sup),
    );
    let source = ".text\n.globl here\nhere: ret\n\
         .section .debug_abbrev\n\
         .uleb128 1,0x11\n.byte 1\n.uleb128 0x11,1,0x12,7,0,0\n\
         .uleb128 2,0x2e\n.byte 0\n.uleb128 0x11,1,0x12,7,3,0x1f21,0,0\n.byte 0\n\
         .section .debug_info\n.long end-begin\nbegin: .short 4\n.long 0\n.byte 8\n\
         .uleb128 1\n.quad here,1\n.uleb128 2\n.quad here,1\n.long 2\n.byte 0\nend:\n\
         .section .gnu_debugaltlink\n.asciz \"sup.debug\"\n.byte 1,2,3,4,5,6,7,8\n";
    let assembly = shop.write("alt.s", source.as_bytes());
    let main = "int here(void); int main(void) { return here(); }";
    let program = shop.compile("main.c", main, &[&*assembly.to_string_lossy()]);
    let here = shop.address_of(&program, "here");
    let mut symbolizer = without_debug_roots();
    assert_eq!(names(&symbolizer.frames(&program, None, here, false)), ["moved_away"]);
    assert_eq!(symbolizer.warnings(), Vec::<String>::new());

    std::fs::remove_file(supplementary).expect("writable");
    let mut symbolizer = without_debug_roots();
    symbolizer.frames(&program, None, here, false);
    let warnings = symbolizer.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("sup.debug"), "{warnings:?}");
}

#[test]
fn a_replaced_module_lends_no_names() {
    let shop = Workshop::new();
    let program = shop.compile("inlining.c", INLINING, &["-g"]);
    let start = shop.address_of(&program, "work");
    let mut symbolizer = without_debug_roots();
    assert_eq!(symbolizer.frames(&program, Some(&[1, 2, 3]), start, false), [Frame::default()]);
    let warnings = symbolizer.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("replaced"), "{warnings:?}");
    let id = Image::open(&program).expect("just built").build_id();
    assert_eq!(names(&symbolizer.frames(&program, id.as_deref(), start, false)), ["work"]);
}

#[test]
fn stripped_libraries_name_only_what_they_export() {
    let shop = Workshop::new();
    let source = "__attribute__((noinline,used)) static int hidden(int n) { return n + 1; }\n\
        int shown(int n) { return hidden(n) * 2; }\n";
    let library = shop.compile("lib.c", source, &["-shared", "-fPIC", "-O1"]);
    let (hidden, shown) = (shop.address_of(&library, "hidden"), shop.address_of(&library, "shown"));
    shop.run(Command::new("strip").arg(&library));
    let mut symbolizer = without_debug_roots();
    assert_eq!(names(&symbolizer.frames(&library, None, shown, false)), ["shown"]);
    assert_eq!(symbolizer.frames(&library, None, hidden, false), [Frame::default()]);
}

#[test]
fn what_has_no_file_has_no_names() {
    let mut symbolizer = without_debug_roots();
    assert_eq!(symbolizer.frames(Path::new("[vdso]"), None, 0x1234, true), [Frame::default()]);
    assert_eq!(symbolizer.frames(Path::new(""), None, 0, true), [Frame::default()]);
    assert_eq!(symbolizer.warnings(), Vec::<String>::new());
    for path in ["/nonexistent", "/dev/zero", "/proc/self/maps"] {
        assert_eq!(symbolizer.frames(Path::new(path), None, u64::MAX, false), [Frame::default()]);
        assert_eq!(symbolizer.frames(Path::new(path), None, 7, false), [Frame::default()]);
        assert_eq!(symbolizer.warnings().len(), 1, "{path}");
    }
}

#[test]
fn libc_calls_malloc_malloc() {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    let libc = crate::maps::parse_maps(&maps).into_iter().map(|m| m.path).find(|p| p.ends_with("libc.so.6"));
    let Some(libc) = libc else {
        eprintln!("skipped: this test is not linked with glibc");
        return;
    };
    let image = Image::open(&libc).expect("it is loaded");
    let table = SymbolTable::dynamic(&image).expect("readable").expect("a library exports");
    let mut symbolizer = Symbolizer::new();
    for wanted in ["malloc", "abort", "calloc", "fopen"] {
        let symbol = table.iter().filter(|s| s.defines_code()).find(|s| table.name(s) == wanted.as_bytes());
        let frames = symbolizer.frames(&libc, None, symbol.expect("exported").value, false);
        assert_eq!(names(&frames).last(), Some(&wanted), "{frames:?}");
    }
    assert_eq!(symbolizer.warnings(), Vec::<String>::new());
}

#[test]
fn a_symbolizer_may_move_to_another_thread() {
    fn movable<T: Send>() {}
    movable::<Symbolizer>();
}

/// A small program, where its debug information is, and where its function is.
fn small_program(flag: &str) -> (Vec<u8>, std::ops::Range<usize>, u64) {
    let shop = Workshop::new();
    let flags = ["-O2", flag, "-nostartfiles", "-Wl,-e,main"];
    let program = shop.compile("inlining.c", INLINING, &flags);
    let image = Image::open(&program).expect("just built");
    let debug = image.sections.iter().filter(|section| section.name.starts_with(".debug"));
    let ranges = debug.map(|section| (section.offset as usize, (section.offset + section.size) as usize));
    let ranges: Vec<_> = ranges.collect();
    let start = ranges.iter().map(|range| range.0).min().expect("built with -g");
    let end = ranges.iter().map(|range| range.1).max().expect("built with -g");
    (std::fs::read(&program).expect("just built"), start..end, shop.address_of(&program, "work"))
}

fn damaged_program(flag: &str) -> impl Strategy<Value = (u64, Vec<u8>)> {
    let (bytes, debug, start) = small_program(flag);
    (Just(start), mutated(bytes, debug))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn damaged_modules_are_survived(
        (start, bytes) in prop_oneof![damaged_program("-gdwarf-5"), damaged_program("-gdwarf-4")],
        addresses in proptest::collection::vec(any::<u64>(), 3),
    ) {
        let shop = Workshop::new();
        let module = shop.write("module", &bytes);
        let mut symbolizer = without_debug_roots();
        for address in (start..start + 16).chain(addresses) {
            prop_assert!(!symbolizer.frames(&module, None, address, address % 2 == 1).is_empty());
        }
    }
}
