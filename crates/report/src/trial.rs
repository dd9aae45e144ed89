//! The report of a run, whichever trial it was.

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error};

use crate::{leak, model, stress};

/// A run's report, told apart by its field `trial`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TrialReport {
    /// `memtrial oom`
    Oom(Box<model::Report>),
    /// `memtrial leak`
    Leak(Box<leak::Report>),
    /// `memtrial stress`
    Stress(Box<stress::Report>),
}

impl TrialReport {
    /// Exit status of memtrial.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            TrialReport::Oom(report) => report.exit_status,
            TrialReport::Leak(report) => report.exit_status,
            TrialReport::Stress(report) => report.exit_status,
        }
    }
}

impl From<model::Report> for TrialReport {
    fn from(report: model::Report) -> TrialReport {
        TrialReport::Oom(Box::new(report))
    }
}

impl From<leak::Report> for TrialReport {
    fn from(report: leak::Report) -> TrialReport {
        TrialReport::Leak(Box::new(report))
    }
}

impl From<stress::Report> for TrialReport {
    fn from(report: stress::Report) -> TrialReport {
        TrialReport::Stress(Box::new(report))
    }
}

impl<'de> Deserialize<'de> for TrialReport {
    /// By the field `trial`, and not by what happens to fit: else an error would say nothing of what is wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TrialReport, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match value.get("trial").and_then(serde_json::Value::as_str) {
            Some("oom") => {
                serde_json::from_value::<model::Report>(value).map(Into::into).map_err(Error::custom)
            }
            Some("leak") => {
                serde_json::from_value::<leak::Report>(value).map(Into::into).map_err(Error::custom)
            }
            Some("stress") => {
                serde_json::from_value::<stress::Report>(value).map(Into::into).map_err(Error::custom)
            }
            Some(other) => Err(Error::custom(format!("no trial known to this memtrial: {other:?}"))),
            None => Err(Error::missing_field("trial")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_report_is_read_back_as_that_of_its_trial() {
        let reports =
            [testing::oom_report().into(), testing::leak_report().into(), testing::stress_report().into()];
        for report in reports {
            let report: TrialReport = report;
            let text = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<TrialReport>(&text).unwrap(), report);
        }
    }

    #[test]
    fn the_report_of_an_unknown_trial_is_refused_by_name() {
        let error = serde_json::from_str::<TrialReport>(r#"{"trial": "speed"}"#).unwrap_err().to_string();
        assert!(error.contains("speed"), "{error}");
    }
}
