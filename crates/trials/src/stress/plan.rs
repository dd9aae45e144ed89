//! The load that is asked for, as tests of the agent: one for each thread.

use std::path::Path;

use memtrial_report::stress::Load;
use memtrial_report::wording::bytes;
use serde_json::{Map, Value, json};

use super::options::{Options, Sizes};
use super::trial::StressError;

/// The parameters of `mt.mem_test_start`, by name, for each test.
///
/// # Errors
/// When a thread's share is less than one chunk.
pub fn tests(options: &Options) -> Result<Vec<Value>, StressError> {
    let threads = u64::from(options.threads.max(1));
    let (share, rest) = (options.total / threads, options.total % threads);
    if share < options.max {
        return Err(StressError::Plan(format!(
            "of a total of {} each of {threads} threads has {}, less than a chunk of {}",
            bytes(options.total),
            bytes(share),
            bytes(options.max)
        )));
    }
    let milliseconds = options.time.as_secs_f64() * 1e3;
    let test = |number: u64| {
        let mut test = Map::new();
        let mut set = |name: &str, value: Value| test.insert(name.to_owned(), value);
        set("min", json!(options.min));
        set("max", json!(options.max));
        set("total", json!(share + u64::from(number < rest)));
        set("time", json!(milliseconds));
        match options.rate {
            None => set("unpaced", json!(true)),
            Some(rate) => {
                let mean = threads as f64 / rate * 1e3;
                // Half of it more or less, so that threads do not go in step.
                set("min_int", json!((mean * 0.5).min(milliseconds)));
                set("max_int", json!((mean * 1.5).min(milliseconds)))
            }
        };
        match &options.sizes {
            Sizes::Uniform => set("sizes", json!("uniform")),
            Sizes::Log => set("sizes", json!("log")),
            Sizes::Table(_, table) => set("sizes", json!(table)),
        };
        set("seed", json!(options.seed.wrapping_add(number)));
        set("check_content", json!(options.check_content));
        set("realloc_p", json!(options.realloc_percent));
        Value::Object(test)
    };
    Ok((0..threads).map(test).collect())
}

/// The load as the report has it; it may hold `max_total`.
#[must_use]
pub fn load(options: &Options, max_total: u64) -> Load {
    let sizes = match &options.sizes {
        Sizes::Uniform => "uniform".to_owned(),
        Sizes::Log => "log".to_owned(),
        Sizes::Table(path, _) => path.display().to_string(),
    };
    Load {
        min: options.min,
        max: options.max,
        total: options.total,
        rate: options.rate,
        threads: options.threads,
        seconds: options.time.as_secs_f64(),
        check_content: options.check_content,
        realloc_percent: options.realloc_percent,
        sizes,
        seed: options.seed,
        max_total,
    }
}

/// The most that the load may hold: as asked, else half of the memory that is free.
#[must_use]
pub fn max_total(options: &Options) -> u64 {
    options.max_total.unwrap_or_else(|| {
        let text = std::fs::read_to_string(Path::new("/proc/meminfo")).unwrap_or_default();
        available(&text).map_or(options.total.saturating_mul(4), |free| free / 2)
    })
}

/// `MemAvailable` in `/proc/meminfo`, in bytes.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::testing::options;
    use proptest::prelude::*;

    #[test]
    fn each_thread_has_its_share_its_rate_and_its_seed() {
        let options = Options { threads: 4, total: 4 * 4096 + 2, rate: Some(1000.0), seed: 7, ..options() };
        let tests = tests(&options).unwrap();
        let field = |name: &str| tests.iter().map(|test| test[name].as_f64().unwrap()).collect::<Vec<_>>();
        assert_eq!(field("total"), [4097.0, 4097.0, 4096.0, 4096.0]);
        assert_eq!(field("seed"), [7.0, 8.0, 9.0, 10.0]);
        // A thousand a second of four threads: one in 4 ms each.
        assert_eq!((field("min_int")[0], field("max_int")[0]), (2.0, 6.0));
        assert!(tests.iter().all(|test| test.get("unpaced").is_none()));
    }

    #[test]
    fn without_a_rate_it_goes_as_fast_as_it_can() {
        let tests = tests(&Options { rate: None, ..options() }).unwrap();
        assert_eq!(tests[0]["unpaced"], json!(true));
        assert!(tests[0].get("min_int").is_none());
    }

    #[test]
    fn a_share_without_room_for_a_chunk_is_an_error() {
        let options = Options { threads: 3, total: 8192, ..options() };
        assert!(tests(&options).unwrap_err().to_string().contains("3 threads"));
    }

    #[test]
    fn a_table_of_sizes_goes_with_the_test() {
        let sizes = Sizes::Table("sizes.txt".into(), vec![(16, 3), (4096, 1)]);
        let options = Options { sizes, ..options() };
        assert_eq!(tests(&options).unwrap()[0]["sizes"], json!([[16, 3], [4096, 1]]));
        assert_eq!(load(&options, 5).sizes, "sizes.txt");
    }

    #[test]
    fn what_is_free_is_read_from_meminfo() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    12 kB\n"), Some(12288));
        assert_eq!(available(""), None);
    }

    proptest! {
        #[test]
        fn shares_are_the_whole_and_intervals_are_in_order(
            threads in 1u32..64, total in 4096u64..1 << 40, rate in 0.001f64..1e7,
        ) {
            let options = Options { threads, total, rate: Some(rate), ..options() };
            if let Ok(tests) = tests(&options) {
                let sum: u64 = tests.iter().map(|test| test["total"].as_u64().unwrap()).sum();
                prop_assert_eq!(sum, total);
                for test in &tests {
                    let [low, high, time] = ["min_int", "max_int", "time"].map(|n| test[n].as_f64().unwrap());
                    prop_assert!(low > 0.0 && low <= high && high <= time);
                }
            } else {
                prop_assert!(total / u64::from(threads) < options.max);
            }
        }
    }
}
