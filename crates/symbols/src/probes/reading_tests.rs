//! Reading the probes of real programs, of small ones and of damaged ones.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::read;
use crate::probes::{Operand, Probe, Probes, Warning};
use crate::testing::{Workshop, mutated};

fn probes(path: &Path) -> Probes {
    let probes = read(path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(probes.damage, Vec::<String>::new());
    probes
}

fn named<'a>(probes: &'a Probes, name: &str) -> &'a Probe {
    probes.probes.iter().find(|probe| probe.name == name).unwrap_or_else(|| panic!("no {name} in {probes:?}"))
}

/// A program with probes as `sys/sdt.h` writes them, without needing it.
const PROGRAM: &str = r#"
#define BASE ".ifndef _.stapsdt.base\n.pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
    ".weak _.stapsdt.base\n.hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n.size _.stapsdt.base,1\n.popsection\n.endif\n"
#define PROBE(nop, provider, name, semaphore, arguments) __asm__ volatile ( \
    "990: " nop "\n.pushsection .note.stapsdt,\"?\",\"note\"\n.balign 4\n.4byte 992f-991f,994f-993f,3\n" \
    "991: .asciz \"stapsdt\"\n992: .balign 4\n993: .8byte 990b,_.stapsdt.base," semaphore "\n" \
    ".asciz \"" provider "\"\n.asciz \"" name "\"\n.asciz \"" arguments "\"\n994: .balign 4\n.popsection\n" BASE)
int visible = 5;
static int hidden __attribute__((used)) = 7;
static __thread int own __attribute__((used)) = 9;
unsigned short counter __attribute__((section(".probes"))) = 0;
int main(void) {
    PROBE("nop", "small", "two__sites", "0", "-4@$7 8@%rdi");
    PROBE("nop", "small", "two__sites", "0", "-4@%eax");
    PROBE("nop", "small", "with-semaphore", "counter", "");
    PROBE("nop", "small", "variables", "0", "-4@visible(%rip) -4@4+hidden(%rip) 4@own(%rip) 4@gone(%rip)");
    PROBE(".byte 0x0f,0x1f,0x44,0,0", "other", "long", "0", "8@-8(%rbp,%rax,8)");
    return own + counter;
}
"#;

#[test]
fn sites_semaphores_and_operands_of_a_small_program_are_found() {
    let shop = Workshop::new();
    for flags in [&["-pie", "-fPIE"][..], &["-no-pie"]] {
        let program = shop.compile("small.c", PROGRAM, flags);
        let probes = probes(&program);
        let names: Vec<_> = probes.probes.iter().map(|p| format!("{}:{}", p.provider, p.name)).collect();
        assert_eq!(names, ["small:two__sites", "small:with-semaphore", "small:variables", "other:long"]);
        let two = named(&probes, "two__sites");
        assert_eq!(two.sites.len(), 2);
        assert_eq!(two.sites[0].arguments.len(), 2);
        let bytes = std::fs::read(&program).expect("just built");
        assert_eq!(bytes[two.sites[0].offset as usize], 0x90, "a nop");
        let semaphore = named(&probes, "with-semaphore").sites[0].semaphore.expect("it has one");
        assert_eq!(semaphore.address, shop.address_of(&program, "counter"));
        let variables = &named(&probes, "variables").sites[0];
        assert_eq!(variables.semaphore, None);
        assert_eq!(variables.arguments[0].operand, Operand::Global(shop.address_of(&program, "visible")));
        assert_eq!(variables.arguments[1].operand, Operand::Global(shop.address_of(&program, "hidden") + 4));
        let why = |index: usize| match &variables.arguments[index].operand {
            Operand::Unfetchable(why) => why.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(why(2), "each thread has a own of its own");
        assert_eq!(why(3), "the address of gone is not in the file's symbols");
        assert_eq!(named(&probes, "long").sites[0].warnings, [Warning::Nop5]);
        assert_eq!(variables.warnings, []);
    }
}

#[test]
fn a_stripped_program_is_helped_by_its_debug_file() {
    let shop = Workshop::new();
    let program = shop.compile("small.c", PROGRAM, &[]);
    let hidden = shop.address_of(&program, "hidden") + 4;
    let debug = shop.path().join("small.debug");
    shop.run(Command::new("objcopy").arg("--only-keep-debug").arg(&program).arg(&debug));
    shop.run(Command::new("strip").arg(&program));
    let operand = || named(&probes(&program), "variables").sites[0].arguments[1].operand.clone();
    assert!(matches!(operand(), Operand::Unfetchable(_)));
    shop.run(Command::new("objcopy").arg("--add-gnu-debuglink=small.debug").arg(&program));
    assert_eq!(operand(), Operand::Global(hidden));
}

#[test]
fn one_name_of_several_variables_is_no_address() {
    let shop = Workshop::new();
    let other = shop.write("other.c", b"static int hidden __attribute__((used)) = 8;\n");
    let program = shop.compile("small.c", PROGRAM, &[other.to_str().expect("UTF-8")]);
    let operand = named(&probes(&program), "variables").sites[0].arguments[1].operand.clone();
    assert_eq!(operand, Operand::Unfetchable("the file has several variables called hidden".to_owned()));
}

#[test]
fn what_prelink_moved_is_found_where_it_is() {
    let shop = Workshop::new();
    let program = shop.compile("small.c", PROGRAM, &[]);
    let before = probes(&program);
    // As prelink leaves it: all addresses of the notes are those of before.
    let mut bytes = std::fs::read(&program).expect("just built");
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(8).position(|window| window == b"stapsdt\0") {
        let words = at + found + 8;
        at = words;
        for index in 0..3 {
            let place = words + index * 8..words + index * 8 + 8;
            let word = u64::from_le_bytes(bytes[place.clone()].try_into().expect("eight bytes"));
            if word != 0 {
                bytes[place].copy_from_slice(&word.wrapping_sub(0x10_0000).to_le_bytes());
            }
        }
    }
    assert_eq!(probes(&shop.write("moved", &bytes)), before);
}

#[test]
fn a_semaphore_on_a_shared_page_is_warned_of() {
    let shop = Workshop::new();
    // As lld lays it out: .data directly behind RELRO in the file, but one page further in memory.
    let lld = rust_lld(&shop);
    let program = shop.compile("small.c", PROGRAM, &[&lld, "-fuse-ld=lld", "-pie", "-Wl,--gc-sections"]);
    let probes = probes(&program);
    let site = &named(&probes, "with-semaphore").sites[0];
    assert_eq!(site.warnings, [Warning::SharedSemaphorePage, Warning::NoBase]);
    assert_eq!(named(&probes, "two__sites").sites[0].warnings, [Warning::NoBase]);
}

/// The flag that makes gcc find the linker that comes with rustc.
fn rust_lld(shop: &Workshop) -> String {
    let root = shop.run(Command::new("rustc").args(["--print", "sysroot"]));
    let folder = Path::new(root.trim()).join("lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld");
    assert!(folder.join("ld.lld").exists(), "rustc brings ld.lld");
    format!("-B{}", folder.display())
}

#[test]
fn files_of_other_machines_are_told() {
    let shop = Workshop::new();
    let program = shop.compile("small.c", PROGRAM, &[]);
    let mut bytes = std::fs::read(&program).expect("just built");
    bytes[18] = 183;
    let probes = read(&shop.write("arm", &bytes)).expect("an ELF file");
    assert_eq!(probes.probes, []);
    assert_eq!(probes.damage, ["it is not for x86-64, and the probes of others are not read"]);
    assert!(read(&shop.write("script", b"#!/bin/sh\n")).is_err());
}

#[test]
fn a_program_without_probes_has_none() {
    assert_eq!(read(Path::new("/bin/true")).expect("an ELF file"), Probes::default());
}

/// A small program with probes, and where its notes are.
fn sample() -> (Vec<u8>, std::ops::Range<usize>) {
    let shop = Workshop::new();
    let program = shop.compile("small.c", PROGRAM, &["-s"]);
    let bytes = std::fs::read(program).expect("just built");
    let first = bytes.windows(8).position(|window| window == b"stapsdt\0").expect("notes");
    (bytes, first - 12..first + 500)
}

#[test]
fn headers_that_name_the_same_notes_again_and_again_are_read_once() {
    let (mut bytes, notes) = sample();
    let count = 0xff00usize;
    let table = bytes.len().next_multiple_of(8);
    bytes.resize(table + count * 64, 0);
    for index in 1..count {
        let header = table + index * 64;
        bytes[header + 4..header + 8].copy_from_slice(&7u32.to_le_bytes());
        bytes[header + 24..header + 32].copy_from_slice(&(notes.start as u64).to_le_bytes());
        bytes[header + 32..header + 40].copy_from_slice(&((notes.end - notes.start) as u64).to_le_bytes());
    }
    bytes[40..48].copy_from_slice(&(table as u64).to_le_bytes());
    bytes[60..62].copy_from_slice(&(count as u16).to_le_bytes());
    bytes[62..64].fill(0);
    let shop = Workshop::new();
    let probes = read(&shop.write("again", &bytes)).expect("an ELF file");
    assert_eq!(probes.probes.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damaged_files_are_survived(bytes in { let (bytes, notes) = sample(); mutated(bytes, notes) }) {
        let shop = Workshop::new();
        if let Ok(probes) = read(&shop.write("damaged", &bytes)) {
            prop_assert!(probes.damage.len() <= 21);
            for site in probes.probes.iter().flat_map(|probe| &probe.sites) {
                prop_assert!((site.offset as usize) < bytes.len());
            }
        }
    }
}
