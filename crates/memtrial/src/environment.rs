//! The environment that targets get: this process's own.

use std::ffi::OsString;

/// The environment; what is not text is left out, for `run.json` could not keep it.
pub fn text() -> Vec<(String, String)> {
    let text = |value: OsString| value.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}
