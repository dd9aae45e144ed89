//! The packaged programs that tests run.

use std::path::{Path, PathBuf};

/// Where a program is that a package has installed.
///
/// # Panics
/// When it is not: what is missing is never passed over in silence.
#[must_use]
pub fn installed(name: &str) -> PathBuf {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(|place| Path::new(place).join(name));
    let found = places.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed: ./test installs all that the tests need"))
}
