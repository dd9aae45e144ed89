//! Tests: the commands do what they should, with a host that remembers what is allocated.

mod chunks;
mod contents;
mod sequences;
mod tests;

use std::ptr::NonNull;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{Command, Fault, Plan, Sizes, Unit};
use crate::fake::Fake;
use crate::load::Load;
use crate::manual::Manual;
use crate::writer::Writer;

/// A load and its heap thread, which is the test's.
struct Bench {
    load: &'static Load<Fake>,
    manual: Manual,
}

impl Bench {
    fn new(most: u64) -> Bench {
        let load: &'static Load<Fake> = Box::leak(Box::new(Load::new(Fake::default(), most)));
        load.host().serve(load);
        let manual = Manual::new(load).expect("the first");
        assert!(Manual::new(load).is_none(), "there is only one");
        Bench { load, manual }
    }

    fn host(&self) -> &'static Fake {
        self.load.host()
    }

    fn try_to(&mut self, command: Command<'_>) -> Result<Value, Fault> {
        let mut buffer = vec![0; 64 << 10];
        let mut writer = Writer::new(&mut buffer);
        let done = self.load.execute(&mut self.manual, command, &mut writer);
        assert!(!writer.is_full());
        match done {
            Ok(()) => Ok(serde_json::from_slice(writer.bytes()).expect("JSON")),
            Err(fault) => {
                assert!(writer.bytes().is_empty(), "a fault writes nothing");
                Err(fault)
            }
        }
    }

    fn run(&mut self, command: Command<'_>) -> Value {
        self.try_to(command).expect("the command is carried out")
    }

    fn alloc(&mut self, bytes: u64) -> NonNull<u8> {
        let reply = self.run(Command::Alloc { bytes });
        let digits = reply["address"].as_str().and_then(|text| text.strip_prefix("0x")).expect("an address");
        let address = usize::from_str_radix(digits, 16).expect("hexadecimal");
        NonNull::new(std::ptr::with_exposed_provenance_mut(address)).expect("not null")
    }

    fn free(&mut self, bytes: u64) -> (u64, u64) {
        sum(&self.run(Command::Free { bytes: Some(bytes), unit: Unit::B }))
    }

    fn free_all(&mut self) -> Value {
        self.run(Command::Free { bytes: None, unit: Unit::B })
    }

    fn used(&mut self) -> (u64, u64) {
        sum(&self.run(Command::Used { unit: Unit::B }))
    }

    fn start(&mut self, plan: Plan<'_>) -> u64 {
        number(&self.run(Command::TestStart(plan)), "id")
    }

    fn test(&mut self, id: u64) -> Value {
        let list = self.run(Command::TestList { id: Some(id), unit: Unit::B });
        list["tests"][0].clone()
    }

    /// Waits until a test is as it should be; there is no limit but the runner's.
    fn wait_for(&mut self, id: u64, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let test = self.test(id);
            if is_so(&test) {
                return test;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn leave(mut self) -> Value {
        let reply = self.run(Command::Leave);
        let host = self.host();
        assert_eq!(host.mapped(), 0, "no bookkeeping stays");
        let deadline = Instant::now() + Duration::from_secs(60);
        while host.threads() > 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(host.threads(), 0, "no thread stays");
        assert!(host.peak() <= self.load.budget().most());
        assert_eq!(self.load.budget().bookkeeping(), 0);
        reply
    }
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn sum(value: &Value) -> (u64, u64) {
    (number(value, "bytes"), number(value, "chunks"))
}

const SECOND: u64 = 1_000_000_000;
const MEBI: u64 = 1 << 20;

fn plan() -> Plan<'static> {
    Plan {
        min: 16,
        max: 64,
        total: 4096,
        interval: (0, 0),
        time: 3600 * SECOND,
        sizes: Sizes::Uniform,
        seed: Some(1),
        check_content: None,
        realloc_percent: None,
    }
}
