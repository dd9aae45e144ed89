//! Letting another user's process at the agent, and what the agent says when it can't work there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use memtrial_wire::layout::refusal;

/// Lets the user of a process at the agent's library in the scratch folder, and at these files there, if that is another
/// user than the folder's.
///
/// # Errors
/// When it may not be, or the process is gone.
pub fn give_access(pid: i32, scratch: &Path, agent: &Path, files: &[&Path]) -> io::Result<()> {
    let theirs = fs::metadata(format!("/proc/{pid}"))?;
    if theirs.uid() == fs::metadata(scratch)?.uid() {
        return Ok(());
    }
    for file in files {
        chown(file, Some(theirs.uid()), Some(theirs.gid()))?;
    }
    fs::set_permissions(scratch, Permissions::from_mode(0o711))?;
    fs::set_permissions(agent, Permissions::from_mode(0o755))
}

/// What one of [`refusal`] means.
#[must_use]
pub fn refused(value: u64) -> &'static str {
    match value {
        refusal::NO_CONTROL => "it can't open its memory there",
        refusal::NO_UNWINDER => "the C library is older than glibc 2.35",
        refusal::NO_MEMORY => "there is no room for its table",
        refusal::NO_ALLOCATOR => "it finds no allocator",
        refusal::NO_THREAD => "no thread can be started there",
        refusal::TAKEN => "an agent answers there already",
        _ => "for a reason it does not tell",
    }
}
