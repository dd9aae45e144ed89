//! Results as JUnit XML, which build servers read.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::results::{Case, Outcome, Results, details};

/// The results as a JUnit document: a suite for the trial, a test case for everything judged. What could not be
/// told is an `error` where it makes memtrial fail, so that build server and exit status agree; else `skipped`.
///
/// # Errors
/// Never when written to memory; the signature is the library's.
pub fn render(results: &Results) -> Result<String, SerializeError> {
    let name = format!("memtrial {}", results.trial);
    let mut suite = TestSuite::new(name.clone());
    if let Some(time) = results.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        suite.set_time(time);
    }
    suite.add_property(("command", results.command.as_str()));
    for case in &results.cases {
        suite.add_test_case(test_case(results.trial, case));
    }
    if !results.warnings.is_empty() {
        suite.set_system_err(results.warnings.join("\n"));
    }
    let mut report = Report::new(name);
    report.add_test_suite(suite);
    report.to_string()
}

fn test_case(trial: &str, case: &Case) -> TestCase {
    let mut status = match case.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Undecided => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Ignored => TestCaseStatus::skipped(),
    };
    if case.outcome != Outcome::Passed {
        status.set_type(case.rule.id).set_message(case.message.as_str()).set_description(details(case));
    }
    let mut test = TestCase::new(case.name.as_str(), status);
    test.set_classname(format!("memtrial.{trial}"));
    test
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress;
    use crate::testing::{
        allocators_report, leak_report, oom_report, oom_report_with_findings, stress_report,
    };
    use crate::trial::TrialReport;

    fn document(report: impl Into<TrialReport>) -> String {
        render(&Results::of(&report.into())).unwrap()
    }

    #[test]
    fn the_counts_are_those_of_the_cases() {
        let leak = document(leak_report());
        assert!(leak.contains(r#"tests="4" skipped="2" errors="0" failures="2""#), "{leak}");
        let oom = document(oom_report_with_findings());
        assert!(oom.contains(r#"tests="2" skipped="1" errors="0" failures="1""#), "{oom}");
        let passed = document(oom_report());
        assert!(passed.contains(r#"tests="1" skipped="0" errors="0" failures="0""#), "{passed}");
    }

    #[test]
    fn what_could_not_be_told_of_a_load_is_an_error() {
        let held = document(allocators_report());
        assert!(held.contains(r#"tests="3" skipped="0" errors="0" failures="0""#), "{held}");
        let undecided = document(stress::Report { exit_status: 130, ..allocators_report() });
        assert!(undecided.contains(r#"tests="3" skipped="0" errors="3" failures="0""#), "{undecided}");
        let failed = document(stress_report());
        assert!(failed.contains(r#"tests="2" skipped="0" errors="0" failures="2""#), "{failed}");
    }

    #[test]
    fn names_from_a_target_are_no_markup() {
        let text = document(leak_report());
        assert!(!text.contains("<script>") && !text.contains('\u{1b}'), "{text}");
    }
}
