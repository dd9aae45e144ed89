//! Reports as the tests need them: realistic ones, with hostile names in them.

mod stress;

use crate::leak::{
    Certainty, Comparison, FailedRound, Figures, Finding, FindingKind, Fragmentation, Judgement, LocateWay,
    Located, LocatedSite, MappingChange, MappingClass, Measure, Process, Reason, Report, Role, Sample,
    Survival, Verdict,
};
use crate::model::{self, Frame};
pub use stress::{allocators_report, stress_report};

/// What a target could be called to do damage to a page or a terminal.
pub const HOSTILE: &str = "</script><script>alert(1)</script>\u{1b}[2J\nroot# ";

/// A frame with a source line.
pub fn frame(function: &str, file: &str, line: u32) -> Frame {
    Frame {
        function: Some(function.to_owned()),
        file: Some(file.to_owned()),
        line: Some(line),
        ..unnamed("/usr/sbin/server", 0x1a40)
    }
}

/// A frame of which nothing is known but the module.
pub fn unnamed(module: &str, offset: u64) -> Frame {
    Frame {
        module: module.to_owned(),
        offset,
        function: None,
        function_offset: None,
        file: None,
        line: None,
        inlined: false,
    }
}

/// An outcome of `memtrial oom`.
pub fn outcome(nth: u64) -> model::Outcome {
    model::Outcome {
        hash: "00000000000000aa".to_owned(),
        nth,
        ordinal: nth,
        way: model::Way::Snapshot,
        end: model::End::Exit(1),
        verdict: model::Verdict::Handled,
        grade: None,
        instead_of: None,
    }
}

/// A run of `memtrial oom` that passed.
pub fn oom_report() -> model::Report {
    model::Report {
        schema: model::SCHEMA,
        trial: "oom".to_owned(),
        command: vec!["./server".to_owned(), "--once".to_owned()],
        fault: "once".to_owned(),
        policy: model::Policy::Graceful,
        reference: model::Reference {
            end: model::End::Exit(0),
            allocations: 12,
            bytes: 4096,
            sites: 3,
            seconds: 0.25,
            differences: Vec::new(),
        },
        coverage: model::Coverage {
            planned: 3,
            tested: 3,
            sites_tested: 3,
            by_rerun: 3,
            ..model::Coverage::default()
        },
        verdicts: vec![(model::Verdict::Handled, 3)],
        findings: Vec::new(),
        unconfirmed: Vec::new(),
        warnings: Vec::new(),
        exit_status: 0,
    }
}

/// A run of `memtrial oom` with a crash, and a silent failure that no rerun confirmed.
pub fn oom_report_with_findings() -> model::Report {
    let stack = vec![
        frame("malloc", "/src/agent/malloc.c", 1),
        frame("load<int>", "/src/server/load me.c", 40),
        frame("main", "/src/server/main.c", 7),
    ];
    let crash = model::Finding {
        verdict: model::Verdict::Crashed,
        grade: None,
        site: "3fa91c02".to_owned(),
        nth: 1,
        injections: 2,
        sites: vec!["3fa91c02:1".to_owned(), "77777777:1".to_owned()],
        confirmed: true,
        end: model::End::Signal(11),
        stack: stack.clone(),
        crash: Some(model::Crash {
            signal: "SIGSEGV".to_owned(),
            address: Some(0x10),
            stack: vec![frame("use", "/src/server/load me.c", 44), frame("main", "/src/server/main.c", 7)],
            crash_site: "server+0x1a40".to_owned(),
            message: None,
        }),
        difference: None,
        note: Some(format!("it said: {HOSTILE}")),
        folder: None,
        repro: "memtrial oom --at 3fa91c02:1 -- ./server --once".to_owned(),
    };
    let silent = model::Finding {
        verdict: model::Verdict::Silent,
        grade: Some(model::Grade::NotAWord),
        site: "11111111".to_owned(),
        confirmed: false,
        end: model::End::Exit(0),
        crash: None,
        note: Some("the rerun was as the reference run".to_owned()),
        ..crash.clone()
    };
    model::Report {
        verdicts: vec![(model::Verdict::Crashed, 2), (model::Verdict::Handled, 1)],
        findings: vec![crash],
        unconfirmed: vec![silent],
        warnings: vec!["the program has two threads".to_owned()],
        exit_status: 1,
        ..oom_report()
    }
}

const ROUNDS: u32 = 120;
const PAGE: u64 = 4096;

/// A run of `memtrial leak` that found one: 1 KiB a round at one site. The watched client is clean, and a helper
/// with a hostile name did not live for long.
pub fn leak_report() -> Report {
    let server = Process {
        judgements: vec![
            judgement(Measure::Private, Verdict::Leak, 1061.4, [918.2, 1204.6]),
            judgement(Measure::Resident, Verdict::Leak, 1070.0, [900.5, 1239.5]),
        ],
        map_difference: map_difference(),
        ..process(4211, "server", Role::Target, 6_000_000, 1024)
    };
    let client = Process {
        judgements: vec![
            judgement(Measure::Private, Verdict::Clean, -3.5, [-120.0, 113.0]),
            Judgement {
                reason: Some(Reason::Noise),
                ..judgement(Measure::Resident, Verdict::Inconclusive, 300.0, [-900.0, 1500.0])
            },
        ],
        ..process(4100, "client", Role::Also, 2_500_000, 0)
    };
    let mut helper = process(4300, HOSTILE, Role::Also, 900_000, 0);
    helper.samples.truncate(6);
    helper.fate = Some("it ended after round 5".to_owned());
    Report {
        schema: model::SCHEMA,
        trial: "leak".to_owned(),
        command: ["memtrial", "leak", "--pid", "4211", "--do", "./client 'a b' <img src=x onerror=alert(1)>"]
            .map(str::to_owned)
            .to_vec(),
        target: "pid 4211 (server)".to_owned(),
        host: None,
        verdict: Verdict::Leak,
        certainty: Some(Certainty::Confirmed),
        sentence: "server leaks: its private memory grows by 1.0 KiB a round".to_owned(),
        rounds: ROUNDS,
        rounds_allowed: 480,
        failed_rounds: vec![FailedRound {
            round: 7,
            why: format!("./client ended with status 1: {HOSTILE}"),
        }],
        tolerated: 1024,
        seconds: 61.5,
        processes: vec![server, client, helper],
        located: vec![located()],
        not_located: None,
        comparisons: vec![Comparison {
            folder: "known-good.out".to_owned(),
            name: "server".to_owned(),
            slopes: [0.0, 1061.4],
            interval: [880.0, 1240.0],
            sentence: "server grows by 1.0 KiB a round more than in known-good.out".to_owned(),
        }],
        findings: findings(),
        warnings: vec![format!("a process could not be read: {HOSTILE}")],
        exit_status: 1,
    }
}

/// What the same run would be without anything to complain about.
pub fn clean_report() -> Report {
    let report = leak_report();
    let mut server = report.processes[0].clone();
    server.judgements = vec![judgement(Measure::Private, Verdict::Clean, 0.0, [0.0, 0.0])];
    server.map_difference = Vec::new();
    Report {
        verdict: Verdict::Clean,
        certainty: None,
        sentence: "server is clean: growth of more than 1.0 KiB a round would have shown".to_owned(),
        failed_rounds: Vec::new(),
        processes: vec![server],
        located: Vec::new(),
        not_located: Some("nothing grows".to_owned()),
        comparisons: Vec::new(),
        findings: Vec::new(),
        warnings: Vec::new(),
        exit_status: 0,
        ..report
    }
}

fn findings() -> Vec<Finding> {
    let site = Finding {
        kind: FindingKind::Site,
        certainty: Certainty::Confirmed,
        pid: 4211,
        name: "server".to_owned(),
        sentence: "2 blocks (1.0 KiB) in every one of 61 rounds at /src/server/session.c:88 session_open"
            .to_owned(),
        site: Some("9b1c22d0".to_owned()),
        slope: Some(1024.0),
        stack: leaking_stack(),
        repro: "memtrial leak --pid 4211 --do './client' --locate=always".to_owned(),
    };
    let growth = Finding {
        kind: FindingKind::Growth,
        sentence: "the private memory of server grows by 1.0 KiB a round (0.9 to 1.2)".to_owned(),
        site: None,
        slope: Some(1061.4),
        stack: Vec::new(),
        ..site.clone()
    };
    vec![site, growth]
}

/// A stack with inlined, hostile and nameless frames.
fn leaking_stack() -> Vec<Frame> {
    vec![
        unnamed("/usr/lib/x86_64-linux-gnu/libc.so.6", 0x9_8b24),
        Frame { inlined: true, ..frame("buffer_new", "/src/server/buffer.h", 12) },
        frame("session_open", "/src/server/session.c", 88),
        frame(HOSTILE, "/src/server/<b>.c", 301),
        unnamed("/usr/lib/libplugin.so", 0x2f0),
        frame("main", "/src/server/main.c", 42),
    ]
}

fn located() -> Located {
    let site = |site: &str, survival, blocks, by_round: Vec<u64>, stack| LocatedSite {
        site: site.to_owned(),
        survival,
        blocks,
        bytes: blocks * 512,
        rounds_with: u32::try_from(by_round.iter().filter(|&&count| count > 0).count()).unwrap_or(0),
        rounds: 61,
        by_round,
        unreachable: Some(blocks / 2),
        addresses: [0x5581_9a00_12a0, 0x5581_9a01_ffe0],
        stack,
    };
    let cache = vec![
        frame("cache_put<std::less<int>>", "/src/server/cache.cpp", 19),
        frame("main", "/src/server/main.c", 42),
    ];
    Located {
        pid: 4211,
        name: "server".to_owned(),
        way: LocateWay::Attach,
        allocator: "libjemalloc.so.2".to_owned(),
        rounds: 61,
        sampled: None,
        stopped_ms: Some(0.4),
        sites: vec![
            site("9b1c22d0", Survival::Leaking, 122, vec![2; 61], leaking_stack()),
            site(
                "0cafe001",
                Survival::NeverFreed,
                40,
                (0..61).map(|round| u64::from(round < 40)).collect(),
                cache.clone(),
            ),
            site(
                "77aa0101",
                Survival::Turnover,
                9,
                (0..61).map(|round| u64::from(round > 51)).collect(),
                cache,
            ),
        ],
        fragmentation: Some(Fragmentation { private_growth: 70_000, live_growth: 62_464 }),
        freed_from_before: [14, 9_000],
        dropped: 0,
        notes: vec!["blocks from before the attach are unknown".to_owned()],
    }
}

fn judgement(measure: Measure, verdict: Verdict, slope: f64, interval: [f64; 2]) -> Judgement {
    Judgement {
        measure,
        verdict,
        certainty: (verdict == Verdict::Leak).then_some(Certainty::Confirmed),
        reason: None,
        slope,
        interval: Some(interval),
        detectable: Some(interval[1] - slope),
        rounds: ROUNDS,
        warm_up: 36,
        looks: vec![(60, verdict), (120, verdict)],
    }
}

fn map_difference() -> Vec<MappingChange> {
    let change = |start, class, name: &str, before, after| MappingChange {
        start,
        end: start + after,
        class,
        name: name.to_owned(),
        size: [before, after],
        resident: [before / 2, after / 2],
        private_dirty: [before / 2, after / 2],
    };
    vec![
        change(0x5581_9a00_0000, MappingClass::Heap, "[heap]", 135_168, 270_336),
        change(0x7f00_1000_0000, MappingClass::Anonymous, "", 0, 65_536),
        change(0x7f00_2000_0000, MappingClass::File, HOSTILE, 8192, 12_288),
        change(0x7f00_3000_0000, MappingClass::ThreadStack, "[stack]", 16_384, 8192),
    ]
}

/// A process that starts with so much private memory and leaks so much in each round, with some noise of pages.
fn process(pid: i32, name: &str, role: Role, base: u64, leak: u64) -> Process {
    let mut state = u64::from(pid.unsigned_abs());
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 3 * PAGE
    };
    let samples = (0..=ROUNDS).map(|round| {
        let round_number = u64::from(round);
        // The warm-up: half of what it will ever have is there after some rounds.
        let warm = 400_000 * round_number / (round_number + 6);
        let private = (base + warm + leak * round_number).next_multiple_of(PAGE) + noise();
        let swap = if round < 80 { 0 } else { 16 * PAGE };
        let figures = Figures {
            resident: private + 750 * PAGE - swap,
            proportional: private + 220 * PAGE - swap,
            private_clean: 50 * PAGE,
            private_dirty: private - 50 * PAGE - swap,
            swap,
            anonymous: private - swap,
            lazy_free: noise(),
            huge: 0,
            mappings: 60 + round_number / 40,
            threads: 4,
            descriptors: 11 + round_number % 2,
        };
        Sample { round, seconds: f64::from(round) * 0.5, figures }
    });
    Process {
        pid,
        started: 1_234_567,
        name: name.to_owned(),
        role,
        fate: None,
        died: false,
        judgements: Vec::new(),
        samples: samples.collect(),
        map_difference: Vec::new(),
    }
}

/// The fixture of the test in a browser, from here to have one source; `MEMTRIAL_WRITE_FIXTURES` writes it anew.
#[test]
fn the_fixture_of_the_browser_test_is_this_report() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/leak-report.json");
    let text = serde_json::to_string(&leak_report()).unwrap() + "\n";
    if std::env::var_os("MEMTRIAL_WRITE_FIXTURES").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}
