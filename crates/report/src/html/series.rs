//! The samples of a leak run as the charts take them: one short array for each kind of figure.

use serde_json::{Value, json};

use crate::leak::{Figures, Measure, Process, Report};
use crate::wording::printable;

/// A figure by its name.
type Figure = (&'static str, fn(&Figures) -> u64);

/// What is drawn of the figures.
const SERIES: [Figure; 9] = [
    ("private", Figures::held_privately),
    ("resident", Figures::held),
    ("proportional", |figures| figures.proportional),
    ("swap", |figures| figures.swap),
    ("lazyFree", |figures| figures.lazy_free),
    ("huge", |figures| figures.huge),
    ("mappings", |figures| figures.mappings),
    ("threads", |figures| figures.threads),
    ("descriptors", |figures| figures.descriptors),
];

/// The data of all charts of a report.
pub fn of(report: &Report) -> Value {
    json!({ "processes": report.processes.iter().map(process).collect::<Vec<_>>() })
}

fn process(process: &Process) -> Value {
    let rounds: Vec<u32> = process.samples.iter().map(|sample| sample.round).collect();
    let mut data = json!({ "name": printable(&process.name), "pid": process.pid, "rounds": rounds });
    let mut units = json!({});
    for (name, figure) in SERIES {
        let values: Vec<u64> = process.samples.iter().map(|sample| figure(&sample.figures)).collect();
        let unit = unit(&values);
        if unit > 1 {
            units[name] = unit.into();
        }
        data[name] = match values.first() {
            Some(&first) if values.iter().all(|&value| value == first) => (first / unit).into(),
            _ => values.iter().map(|value| value / unit).collect::<Vec<_>>().into(),
        };
    }
    data["unit"] = units;
    if let Some(fit) = process.judgements.iter().find(|judgement| judgement.measure == Measure::Private) {
        data["fit"] = json!({ "slope": fit.slope, "interval": fit.interval, "warmUp": fit.warm_up });
    }
    data
}

/// The biggest power of two that divides all values: the kernel counts memory in pages.
fn unit(values: &[u64]) -> u64 {
    let zeros = values.iter().fold(0, |all, value| all | value).trailing_zeros();
    if zeros == u64::BITS { 1 } else { 1 << zeros.min(20) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::leak_report;

    #[test]
    fn values_come_back_as_they_were() {
        let report = leak_report();
        let data = &of(&report)["processes"][0];
        for (name, figure) in SERIES {
            let unit = data["unit"][name].as_u64().unwrap_or(1);
            let expected = figure(&report.processes[0].samples[90].figures);
            let value = data[name].as_u64().or_else(|| data[name][90].as_u64()).unwrap();
            assert_eq!(value * unit, expected, "{name}");
        }
        assert!(data["threads"].is_u64(), "what does not change is one number");
        assert_eq!(data["fit"]["warmUp"], 36);
    }

    #[test]
    fn the_unit_of_nothing_is_one() {
        assert_eq!((unit(&[]), unit(&[0, 0]), unit(&[4096, 12_288]), unit(&[3, 8])), (1, 1, 4096, 1));
    }
}
