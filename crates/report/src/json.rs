//! The report as one JSON document.

use serde::Serialize;

use crate::model::{Report, SCHEMA, Site};

/// The report of a trial, as `--json` prints it.
///
/// # Errors
/// Never for these types; the signature is serde's.
pub fn report(report: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report)
}

/// The census, as `--list --json` prints it.
///
/// # Errors
/// Never for these types; the signature is serde's.
pub fn census(report: &Report, sites: &[Site]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Census<'a> {
        schema: u32,
        command: &'a [String],
        reference: &'a crate::model::Reference,
        warnings: &'a [String],
        sites: &'a [Site],
    }
    serde_json::to_string_pretty(&Census {
        schema: SCHEMA,
        command: &report.command,
        reference: &report.reference,
        warnings: &report.warnings,
        sites,
    })
}
