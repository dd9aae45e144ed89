//! Tests of the parsers, with what kernels really write.

use super::*;
use proptest::prelude::*;

const STAT: &str = "4242 (redis-server) S 1 4242 4242 0 -1 4194560 2604 0 1 0 14 21 0 0 20 0 6 0 1083 68452352 \
    3840 18446744073709551615 94266343763968 94266345189293 140725323541520 0 0 0 0 4097 17610 0 0 0 17 1 0 0 0 0 0 \
    94266346130096 94266346212784 94266754772992 140725323546472 140725323546500 140725323546500 140725323546601 0\n";

const ROLLUP: &str = "\
55d71bd1c000-7ffcd27f5000 ---p 00000000 00:00 0                          [rollup]
Rss:               15360 kB
Pss:               11047 kB
Pss_Dirty:          7872 kB
Pss_Anon:           7872 kB
Shared_Clean:       4508 kB
Shared_Dirty:          0 kB
Private_Clean:      2980 kB
Private_Dirty:      7872 kB
Referenced:        15360 kB
Anonymous:          7872 kB
LazyFree:             48 kB
AnonHugePages:      2048 kB
Swap:                 12 kB
SwapPss:              12 kB
Locked:                0 kB
Future_Field:          7 pages
";

const SMAPS: &str = "\
55d71bd1c000-55d71bd1e000 r--p 00002000 fe:01 131100                     /usr/bin/with space
Size:                  8 kB
Rss:                   8 kB
Pss:                   4 kB
Private_Clean:         8 kB
Private_Dirty:         0 kB
VmFlags: rd mr mw me
7f0000000000-7f0000021000 rw-p 00000000 00:00 0 
Size:                132 kB
Rss:                 100 kB
Pss:                 100 kB
Private_Clean:         0 kB
Private_Dirty:       100 kB
LazyFree:              4 kB
Swap:                 16 kB
THPeligible:           0
ProtectionKey:         0
7f0000030000-7f0000031000 rw-s 00000000 00:01 7                          /memfd:a\\012b (deleted)
Rss:                   4 kB
7fff00000000-7fff00021000 rw-p 00000000 00:00 0                          [stack]
Rss:                  12 kB
";

#[test]
fn a_stat_is_understood() {
    let stat = stat(STAT.as_bytes()).expect("a real one");
    assert_eq!((stat.pid, stat.name.as_str(), stat.state, stat.parent), (4242, "redis-server", 'S', 1));
    assert_eq!((stat.group, stat.threads, stat.started), (4242, 6, 1083));
}

#[test]
fn a_name_may_hold_what_looks_like_the_rest() {
    for name in ["a) R 1 2 3", "((", "))", "a b\nc", "", ") Z ("] {
        let text = STAT.replace("redis-server", name);
        let parsed = stat(text.as_bytes()).expect(name);
        assert_eq!((parsed.name.as_str(), parsed.started, parsed.state), (name, 1083, 'S'));
        let many = [STAT, &text, STAT].concat();
        let names: Vec<String> = stats(many.as_bytes()).into_iter().map(|stat| stat.name).collect();
        assert_eq!(names, ["redis-server", name, "redis-server"]);
    }
}

#[test]
fn a_record_that_was_cut_does_not_take_the_next_one_with_it() {
    let text = format!("{}\n{STAT}", &STAT[..20]);
    assert_eq!(stats(text.as_bytes()), [stat(STAT.as_bytes()).expect("a real one")]);
}

#[test]
fn our_own_stat_is_understood() {
    let text = std::fs::read("/proc/self/stat").expect("procfs");
    let stat = stat(&text).expect("a stat");
    assert_eq!(stat.pid, std::process::id().cast_signed());
    assert!(stat.started > 0 && stat.threads > 0 && !stat.has_ended());
}

#[test]
fn figures_come_from_the_rollup_or_from_the_sum_of_all_mappings() {
    let reading = figures(ROLLUP.as_bytes()).expect("figures");
    let expected = Reading {
        resident: 15360 << 10,
        proportional: 11047 << 10,
        private_clean: 2980 << 10,
        private_dirty: 7872 << 10,
        anonymous: 7872 << 10,
        swap: 12 << 10,
        lazy_free: 48 << 10,
        huge: 2048 << 10,
        ..Reading::default()
    };
    assert_eq!(reading, expected);
    let summed = figures(SMAPS.as_bytes()).expect("figures");
    assert_eq!((summed.resident, summed.private_dirty, summed.swap), (124 << 10, 100 << 10, 16 << 10));
    assert_eq!(summed.held(), (124 + 16 - 4) << 10);
    assert_eq!(figures(b""), None);
}

#[test]
fn mappings_are_understood() {
    let areas = areas(SMAPS.as_bytes());
    let paths: Vec<&str> = areas.iter().map(|area| area.path.as_str()).collect();
    assert_eq!(paths, ["/usr/bin/with space", "", "/memfd:a\nb (deleted)", "[stack]"]);
    assert_eq!((areas[0].start, areas[0].end, areas[0].offset), (0x55d7_1bd1_c000, 0x55d7_1bd1_e000, 0x2000));
    assert_eq!((areas[1].permissions.as_str(), areas[2].permissions.as_str()), ("rw-p", "rw-s"));
    assert_eq!((areas[1].resident, areas[1].swap, areas[1].lazy_free), (100 << 10, 16 << 10, 4 << 10));
    assert_eq!((areas[0].private_clean, areas[1].private_dirty), (8 << 10, 100 << 10));
}

#[test]
fn counters_are_understood() {
    let text = b"Name:\tx\nVmRSS:\t  12 kB\nRssAnon:\t   4 kB\nRssFile:\t   7 kB\nRssShmem:\t   1 kB\nVmSwap:\t 2 kB\n";
    let expected = Counters { anonymous: 4096, file: 7168, shared: 1024, swap: 2048 };
    assert_eq!(counters(text), Some(expected));
    assert_eq!(counters(b"Name:\tkthreadd\nThreads:\t1\n"), None);
}

#[test]
fn names_of_files_are_found() {
    assert_eq!(first_argument(b"/usr/sbin/nginx\0-g\0"), "nginx");
    assert_eq!(first_argument(b""), "");
    assert_eq!(file_name("/opt/a b/server (deleted)"), "server");
}

#[test]
fn a_family_is_found_even_if_parents_go_round() {
    let one = stat(STAT.as_bytes()).expect("a real one");
    let member = |pid, parent| Stat { pid, parent, ..one.clone() };
    let all = [member(5, 3), member(2, 1), member(3, 2), member(4, 9), member(1, 3), member(7, 7)];
    let pids = |pid| below(&all, pid).iter().map(|stat| stat.pid).collect::<Vec<_>>();
    assert_eq!(pids(2), [2, 3, 5, 1]);
    assert_eq!(pids(7), [7]);
    assert_eq!(pids(8), [0; 0]);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        let _ = (stat(&bytes), stats(&bytes), figures(&bytes), counters(&bytes), areas(&bytes), first_argument(&bytes));
    }

    #[test]
    fn any_text_of_the_kind_is_survived(text in "([0-9a-fz]{0,17}[-:() ]{0,3}[rwxpRss]{0,5}[:() ]?[0-9]{0,22}( kB)?\n?){0,8}") {
        let bytes = text.as_bytes();
        let _ = (stat(bytes), stats(bytes), figures(bytes), counters(bytes));
        for area in areas(bytes) {
            prop_assert!(area.start < area.end);
        }
    }

    #[test]
    fn any_name_is_read_back(name in "[\\x01-\\x7f]{0,15}", started: u64, parent in 0..i32::MAX, threads: u64) {
        let text = format!("7 ({name}) S {parent} 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 {started} 0 0 9\n");
        let expected =
            Stat { pid: 7, name, state: 'S', parent, group: 7, threads, started };
        prop_assert_eq!(stat(text.as_bytes()), Some(expected.clone()));
        let twice = [text.as_bytes(), text.as_bytes()].concat();
        prop_assert_eq!(stats(&twice), vec![expected.clone(), expected]);
    }

    #[test]
    fn figures_are_read_back(resident in 0..u64::MAX >> 10, swap in 0..u64::MAX >> 10) {
        let text = format!("Rss:  {resident} kB\nNew: x\nSwap: {swap} kB\n");
        let reading = figures(text.as_bytes()).expect("figures");
        prop_assert_eq!((reading.resident, reading.swap), (resident << 10, swap << 10));
    }
}
