//! Tests of finding allocators: in libraries as they are packaged, and linked into small programs.

use proptest::prelude::*;

use super::*;
use crate::testing::{Workshop, mutated};

const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
const SOURCE: &str =
    "#include <stdlib.h>\nint main(void) { char *p = malloc(9); *p = 1; free(p); return 0; }\n";

fn mapping(path: &Path) -> Mapping {
    Mapping { start: 4096, end: 8192, offset: 0, path: path.to_owned(), executable: true }
}

/// The allocators of a process with these modules, of which the first is the executable.
fn allocators(modules: &[&Path]) -> Allocators {
    let maps: Vec<Mapping> = modules.iter().map(|path| mapping(path)).collect();
    Allocators::find(&maps, modules.first().copied().unwrap_or(Path::new("")), |mapping| mapping.path.clone())
}

fn library(name: &str) -> Option<PathBuf> {
    let path = Path::new(LIBRARIES).join(name);
    if !path.exists() {
        eprintln!("SKIPPED: there is no {}", path.display());
    }
    path.exists().then_some(path)
}

fn roles(allocator: &Allocator) -> Vec<Role> {
    let mut roles: Vec<Role> = allocator.functions.iter().map(|function| function.role).collect();
    roles.sort();
    roles.dedup();
    roles
}

#[test]
fn packaged_libraries_are_told_apart() {
    use Role::*;
    let c = [Malloc, Calloc, Realloc, Free, PosixMemalign, Valloc];
    let cases = [
        ("libc.so.6", Kind::Glibc, &[Reallocarray, Pvalloc][..]),
        ("libjemalloc.so.2", Kind::Jemalloc, &[AlignedAlloc, OperatorNew, OperatorDelete]),
        // Of both, `operator delete` is `free`.
        ("libtcmalloc_minimal.so.4", Kind::Tcmalloc, &[Pvalloc, OperatorNew]),
        ("libmimalloc.so.2.0", Kind::Mimalloc, &[Pvalloc, OperatorNew]),
    ];
    for (name, kind, more) in cases {
        let Some(path) = library(name) else { continue };
        let all = allocators(&[Path::new("/bin/true"), &path]);
        let [found] = &all.found[..] else { panic!("{name}: {all:?}") };
        assert_eq!(
            (found.kind, found.linked_in, found.exported, found.plain),
            (kind, false, true, true),
            "{name}"
        );
        assert_eq!((all.effective, all.executable_stripped), (Some(0), true));
        let roles = roles(found);
        assert!(c.iter().chain(more).all(|role| roles.contains(role)), "{name}: {roles:?}");
        let named = |name: &str| found.functions.iter().filter(|function| function.name == name).count();
        assert_eq!(["malloc", "free", "calloc", "realloc"].map(named), [1; 4], "{name}");
        let mut addresses: Vec<u64> = found.functions.iter().map(|function| function.address).collect();
        addresses.dedup();
        assert_eq!(addresses.len(), found.functions.len());
        assert!(found.functions.iter().all(|function| function.size > 0 && function.offset > 0));
    }
}

#[test]
fn a_library_of_its_own_comes_before_the_c_library() {
    let Some(path) = library("libjemalloc.so.2") else { return };
    let libc = Path::new(LIBRARIES).join("libc.so.6");
    let all = allocators(&[Path::new("/bin/true"), &libc, &path]);
    let effective = all.effective.and_then(|index| all.found.get(index));
    assert_eq!(effective.map(|allocator| allocator.kind), Some(Kind::Jemalloc));
    assert_eq!(all.found.len(), 2);
}

#[test]
fn linked_in_allocators_are_found_until_they_are_stripped() {
    let shop = Workshop::new();
    let cases: [(&str, Kind, &[&str]); 3] = [
        ("libjemalloc.a", Kind::Jemalloc, &["-lstdc++", "-lm", "-ldl", "-lpthread"]),
        ("libtcmalloc_minimal.a", Kind::Tcmalloc, &["-lstdc++", "-lm", "-lpthread"]),
        ("libc.a", Kind::Glibc, &["-static"]),
    ];
    for (archive, kind, flags) in cases {
        let Some(path) = library(archive) else { continue };
        let archive = path.to_str().expect("a plain path");
        let whole = format!("-Wl,--whole-archive,{archive},--no-whole-archive");
        let mut flags = flags.to_vec();
        if kind != Kind::Glibc {
            flags.insert(0, &whole);
        }
        let program = shop.compile("own.c", SOURCE, &flags);
        let all = allocators(&[&program]);
        let [found] = &all.found[..] else { panic!("{archive}: {all:?}") };
        assert_eq!((found.kind, found.linked_in, found.plain), (kind, true, true), "{archive}");
        assert_eq!((all.effective, all.executable_stripped), (Some(0), false));
        let malloc = found.functions.iter().find(|function| function.name == "malloc").expect("it has one");
        assert_eq!(malloc.address, shop.address_of(&program, "malloc"));

        shop.run(std::process::Command::new("strip").arg(&program));
        let all = allocators(&[&program]);
        assert!(all.executable_stripped);
        // The linker exports what a library that it links with calls.
        assert!(all.found.iter().all(|allocator| allocator.exported), "{archive}");
        assert_eq!(all.found.len(), usize::from(found.exported));
    }
}

#[test]
fn one_module_may_hold_two() {
    let shop = Workshop::new();
    let own = |prefix: &str| {
        format!(
            "void *{prefix}malloc(size_t n) {{ return pool + n; }}\nvoid {prefix}free(void *p) {{ pool[1]++; }}\n"
        )
    };
    let source = format!(
        "#include <stddef.h>\nstatic char pool[999];\n{}{}{}void *dlmalloc(size_t n) {{ return pool; }}\n\
         void *_rjem_mallocx(size_t n, int f) {{ return pool + n - f; }}\nint main(void) {{ return 0; }}\n",
        own(""),
        own("_rjem_"),
        own("mi_"),
    );
    for (flags, exported) in [("-rdynamic", true), ("-fvisibility=hidden", false)] {
        let all = allocators(&[&shop.compile("two.c", &source, &[flags])]);
        let told: Vec<_> = all.found.iter().map(|found| (found.kind, found.plain, found.exported)).collect();
        let expected = [(Kind::Unknown, true), (Kind::Jemalloc, false), (Kind::Mimalloc, false)];
        assert_eq!(told, expected.map(|(kind, plain)| (kind, plain, exported)));
        assert_eq!(all.found[1].functions.len(), 3);
        assert_eq!(all.effective, Some(0));
    }
}

#[test]
fn our_own_process_has_the_c_librarys() {
    let all = Allocators::of_process(std::process::id() as i32).expect("our own");
    let effective = all.effective.and_then(|index| all.found.get(index)).expect("there is one");
    assert_eq!((effective.kind, effective.exported), (Kind::Glibc, true));
    assert!(effective.file.starts_with(format!("/proc/{}/root", std::process::id())));
    assert_eq!(all.unread, []);
    assert!(Allocators::of_process(-1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_files_are_survived(
        bytes in mutated(std::fs::read(Path::new(LIBRARIES).join("libc.so.6")).expect("readable"), 0..0x8000),
    ) {
        let shop = Workshop::new();
        let damaged = shop.write("damaged", &bytes);
        allocators(&[&damaged, Path::new("/bin/true")]);
    }

    #[test]
    fn any_name_is_survived(name in proptest::collection::vec(any::<u8>(), 0..30), prefix in "(_rjem_|mi_|tc_|__libc_|_Znwm|_ZdaPvm)?") {
        let _ = names::classify(&[prefix.as_bytes(), &name].concat());
    }
}
