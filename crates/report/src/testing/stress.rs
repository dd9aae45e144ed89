//! Reports of `memtrial stress`: a server that writes to what is not its own, and three allocators compared.

use super::{HOSTILE, frame, leaking_stack, unnamed};
use crate::model;
use crate::stress::{
    Finding, FindingKind, Limit, LimitKind, Load, Loaded, Memory, Overwrite, Peak, Probe, ProbeFailure,
    Relation, Report, Sample, Suspect, Timing, Verdict, Way,
};

const MIB: u64 = 1 << 20;

/// A server that writes past the end of a block of its own, answers more slowly under load, and twice not at all.
pub fn stress_report() -> Report {
    Report {
        schema: model::SCHEMA,
        trial: "stress".to_owned(),
        command: [
            "memtrial",
            "stress",
            "--pid",
            "4211",
            "--check-content",
            "--probe",
            "<img src=x onerror=alert(1)>",
        ]
        .map(str::to_owned)
        .to_vec(),
        target: "server (pid 4211)".to_owned(),
        verdict: Verdict::Overwritten,
        sentence: "server overwrote 3 chunks, and did not answer 2 of 602 probes".to_owned(),
        seconds: 63.5,
        load: Load {
            min: 16,
            max: 4096,
            total: 64 * MIB,
            rate: Some(1000.0),
            threads: 4,
            seconds: 60.0,
            check_content: true,
            realloc_percent: 20,
            sizes: "uniform".to_owned(),
            seed: 7,
            max_total: 1 << 30,
        },
        loaded: vec![server()],
        findings: vec![overwritten(), unanswered()],
        warnings: vec![format!("the control group could not be read: {HOSTILE}")],
        exit_status: 1,
    }
}

/// Three allocators under the same load, which all held.
pub fn allocators_report() -> Report {
    let report = stress_report();
    let allocator = |pid, name: &str, file: &str, allocations, peak, after, fragmentation| Loaded {
        name: name.to_owned(),
        pid,
        allocator: file.to_owned(),
        way: Way::Preload,
        stopped_ms: None,
        limit: None,
        samples: samples(10, 2 * MIB, peak, allocations),
        seconds: 10.0,
        allocations,
        reallocs: 0,
        errors: 0,
        overflows: 12,
        allocated: allocations * 2056,
        before: Memory { resident: 2 * MIB, private: MIB },
        peak: Peak { resident: peak, live: 63 * MIB, fragmentation: Some(fragmentation) },
        after: Some(Memory { resident: after, private: after - MIB }),
        checked: 0,
        overwritten: Vec::new(),
        overwritten_count: 0,
        probe: None,
        notes: Vec::new(),
        ..server()
    };
    Report {
        command: ["memtrial", "stress", "--allocator", "glibc", "jemalloc", "mimalloc"]
            .map(str::to_owned)
            .to_vec(),
        target: "glibc, jemalloc, mimalloc".to_owned(),
        verdict: Verdict::Held,
        sentence: "glibc, jemalloc and mimalloc held".to_owned(),
        seconds: 34.0,
        load: Load { rate: None, seconds: 10.0, check_content: false, realloc_percent: 0, ..report.load },
        loaded: vec![
            allocator(5001, "glibc", "libc.so.6", 41_234_567, 70 * MIB, 66 * MIB, 0.072),
            allocator(5002, "jemalloc", "libjemalloc.so.2", 52_345_678, 78 * MIB, 12 * MIB, 0.168),
            allocator(5003, "mimalloc", "libmimalloc.so.2", 83_456_789, 74 * MIB, 9 * MIB, 0.121),
        ],
        findings: Vec::new(),
        warnings: Vec::new(),
        exit_status: 0,
        ..report
    }
}

fn server() -> Loaded {
    Loaded {
        name: "server".to_owned(),
        pid: 4211,
        allocator: "libc.so.6".to_owned(),
        way: Way::Attach,
        stopped_ms: Some(0.42),
        limit: Some(Limit {
            bytes: 256 * MIB,
            kind: LimitKind::CgroupV2,
            met: 12,
            killed: 0,
            sentence: "it met the limit 12 times, and lived".to_owned(),
        }),
        samples: samples(60, 12 * MIB, 80 * MIB, 60_012),
        seconds: 60.0,
        allocations: 60_012,
        reallocs: 12_001,
        errors: 3,
        overflows: 1,
        allocated: 120 * MIB,
        before: Memory { resident: 12 * MIB, private: 8 * MIB },
        peak: Peak { resident: 80 * MIB, live: 63 * MIB, fragmentation: Some(0.074) },
        after: Some(Memory { resident: 14 * MIB, private: 10 * MIB }),
        bookkeeping: MIB,
        checked: 48_000,
        overwritten: vec![chunk()],
        overwritten_count: 3,
        probe: Some(Probe {
            command: "curl -s localhost | grep ok".to_owned(),
            unloaded: Timing { runs: 20, median_ms: 1.2, p95_ms: 1.6, max_ms: 2.0 },
            loaded: Timing { runs: 600, median_ms: 1.8, p95_ms: 4.0, max_ms: 120.5 },
            failures: vec![ProbeFailure {
                seconds: 12.25,
                how: "ended with status 1".to_owned(),
                printed: format!("no answer: {HOSTILE}"),
            }],
            failed: 2,
        }),
        end: None,
        notes: vec!["2 chunks were allocated before the check of contents was on".to_owned()],
    }
}

fn chunk() -> Overwrite {
    Overwrite {
        address: "0x7f3a1c0042a0".to_owned(),
        size: 64,
        offset: 0,
        length: 12,
        expected: "5fbdffe3c5800000 57bdffe3".replace(' ', ""),
        found: "6c6f6e67206e616d65200041".to_owned(),
        test: Some(2),
        number: 812,
        stack: vec![unnamed("/tmp/memtrial/libmemtrial_agent.so", 0x4410)],
        suspects: vec![
            Suspect {
                relation: Relation::Before,
                address: "0x7f3a1c004270".to_owned(),
                size: 40,
                site: "9b1c22d0".to_owned(),
                stack: leaking_stack(),
            },
            Suspect {
                relation: Relation::Freed,
                address: "0x7f3a1c0042a0".to_owned(),
                size: 60,
                site: "0cafe001".to_owned(),
                stack: vec![frame("cache_put", "/src/server/cache.c", 19)],
            },
        ],
    }
}

fn overwritten() -> Finding {
    Finding {
        kind: FindingKind::Overwritten,
        message: "12 bytes at the start of the chunk at 0x7f3a1c0042a0 were overwritten".to_owned(),
        count: 3,
        pid: 4211,
        stack: leaking_stack(),
        example: Some(0),
        repro: "memtrial stress --pid 4211 --check-content --seed 7".to_owned(),
    }
}

fn unanswered() -> Finding {
    Finding {
        kind: FindingKind::Unanswered,
        message: format!("2 of 602 probes failed under load, the first after 12.3 s: {HOSTILE}"),
        count: 2,
        stack: Vec::new(),
        example: None,
        ..overwritten()
    }
}

/// Two samples a second of a load that fills up twice, and grows from one resident size to another.
fn samples(seconds: u32, before: u64, peak: u64, allocations: u64) -> Vec<Sample> {
    let last = u64::from(seconds) * 2;
    let sample = |step: u64| {
        let fill = step * 2 % (last + 1);
        Sample {
            seconds: step as f64 / 2.0,
            allocations: allocations * step / last,
            errors: 0,
            overflows: step * 2 / (last + 1),
            overwritten: 0,
            live: 63 * MIB * fill / last,
            chunks: 31_000 * fill / last,
            resident: before + (peak - before) * step.min(last / 2) * 2 / last,
            private: before / 2 + (peak - before) * step.min(last / 2) * 2 / last,
            fragmentation: (step > 2).then_some(0.08),
        }
    };
    (0..=last).map(sample).collect()
}
