//! Programs that we did not write: clients, a broker to compare with, a dissector.
//!
//! `tests/run` brings them. A test that needs one which is not there says so on standard error
//! and ends; with `SYSTEM_TESTS_FOREIGN=all` it fails instead.

pub mod driver;
pub mod mosquitto;
pub mod tshark;

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::repository;

/// The foreign thing that a test looked for. If there is none, the test is reported as not run,
/// in words that cargo does not swallow.
#[track_caller]
pub fn found<T>(name: &str, thing: Option<T>) -> Option<T> {
    if thing.is_none() {
        let missing = format!("{name} is missing, `tests/run` brings it");
        assert!(!all_required(), "{missing}");
        let thread = thread::current();
        let test = thread.name().unwrap_or("a test");
        // `eprintln!` would be captured and, since the test passes, never shown. If standard
        // error is closed, nobody wants to know.
        let _unheard = writeln!(std::io::stderr(), "NOT RUN: {test}: {missing}");
    }
    thing
}

fn all_required() -> bool {
    match env::var("SYSTEM_TESTS_FOREIGN").as_deref() {
        Ok("all") => true,
        Ok("present") | Err(_) => false,
        Ok(other) => panic!("SYSTEM_TESTS_FOREIGN is `all` or `present`, not `{other}`"),
    }
}

/// A program on the search path, or where Debian puts servers.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The folder where `tests/run` keeps the clients from PyPI and npm.
fn clients_dir() -> PathBuf {
    repository::path("tests/.clients")
}

/// The Python of the project's own environment, if it has this module.
fn python_with(module: &str) -> Option<PathBuf> {
    let python = clients_dir().join("venv/bin/python");
    succeeds(&python, &["-c", &format!("import {module}")]).then_some(python)
}

fn succeeds(program: &Path, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_missing_ones_are_not() {
        assert!(program("sh").is_some());
        assert!(program("no-such-program-anywhere").is_none());
        assert!(succeeds(Path::new("sh"), &["-c", "true"]));
        assert!(!succeeds(Path::new("sh"), &["-c", "false"]));
        assert!(!succeeds(Path::new("no-such-program-anywhere"), &[]));
    }
}
