//! File descriptors of the test process itself, of which tests with many connections need many.

use std::process::{self, Command};

/// Raises the limit of open descriptors as far as it goes, and returns what holds then.
#[track_caller]
pub fn raise() -> usize {
    let script = "ulimit -Hn; prlimit --pid \"$0\" --nofile=\"$(ulimit -Hn):\"";
    let output = Command::new("sh").args(["-c", script, &process::id().to_string()]).output();
    let output = output.expect("a shell is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or(usize::MAX)
}
