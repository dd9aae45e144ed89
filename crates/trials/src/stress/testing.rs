//! Options and reports that tests begin with.

use std::time::Duration;

use memtrial_report::stress::{Loaded, Memory, Peak, Way};

use super::options::{Options, Sizes, Subject};

/// A load of a second on some process.
pub fn options() -> Options {
    Options {
        command: ["memtrial", "stress", "--pid", "12"].map(str::to_owned).to_vec(),
        subject: Subject::Pid(12),
        ready: None,
        min: 16,
        max: 4096,
        total: 1 << 20,
        rate: Some(1000.0),
        threads: 1,
        time: Duration::from_secs(1),
        check_content: false,
        realloc_percent: 0,
        sizes: Sizes::Uniform,
        seed: 1,
        probe: None,
        timeout: Duration::from_secs(10),
        limit: None,
        max_total: None,
        environment: Vec::new(),
        folder: "/".into(),
    }
}

/// A process that held: a thousand allocations in a second.
pub fn loaded() -> Loaded {
    Loaded {
        name: "server".to_owned(),
        pid: 12,
        allocator: "libc.so.6".to_owned(),
        way: Way::Attach,
        stopped_ms: None,
        limit: None,
        samples: Vec::new(),
        seconds: 1.0,
        allocations: 1000,
        reallocs: 0,
        errors: 0,
        overflows: 1,
        allocated: 2 << 20,
        before: Memory::default(),
        peak: Peak::default(),
        after: Some(Memory::default()),
        bookkeeping: 0,
        checked: 0,
        overwritten: Vec::new(),
        overwritten_count: 0,
        probe: None,
        end: None,
        notes: Vec::new(),
    }
}
