//! Free space of a file system.

use std::path::Path;

/// Free bytes where `path` lies, if they can be known. From `df`, whose POSIX format is the same everywhere; the standard
/// library cannot ask.
pub fn free_space(path: &Path) -> Option<u64> {
    let output = std::process::Command::new("df").arg("-Pk").arg(path).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()?.checked_mul(1024)
}
