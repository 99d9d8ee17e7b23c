//! How a command ends other than well.

use std::io::{self, Write};
use std::process::ExitCode;

/// The exit status after an error of any kind, as mosquitto_pub and mosquitto_sub have it.
const ERROR: u8 = 1;

/// The exit status of `sub -W` when its time is over, mosquitto_sub's too.
const TIMED_OUT: u8 = 27;

/// A signal as an exit status, as shells show it.
const SIGNAL: u8 = 128;

/// An end with an exit status and, mostly, a line that says what was wrong and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: u8,
    line: String,
    /// Whether the line is shown although nobody wants to hear of errors.
    loud: bool,
}

impl Failure {
    /// The command line makes no sense.
    pub(super) fn usage(line: impl Into<String>) -> Self {
        Self { status: ERROR, line: line.into(), loud: true }
    }

    /// What was asked for was not achieved.
    pub(super) fn error(line: impl Into<String>) -> Self {
        Self { status: ERROR, line: line.into(), loud: false }
    }

    /// No address of the gateway is any good, for these reasons.
    pub(super) fn nobody(reasons: &[String]) -> Self {
        Self::error(format!("{}; is mqtt-sn-gw running there?", reasons.join(", ")))
    }

    /// The time for it is over.
    pub(super) fn timed_out() -> Self {
        Self { status: TIMED_OUT, line: "timed out".to_owned(), loud: false }
    }

    /// Somebody did not want to wait for it.
    pub(super) fn interrupted(signal: i32) -> Self {
        let number = u8::try_from(signal).unwrap_or(0);
        Self { status: SIGNAL.saturating_add(number), line: String::new(), loud: false }
    }

    pub(super) fn line(&self) -> &str {
        &self.line
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::error(error.to_string())
    }
}

/// Says how `command` ended, and gives its exit status.
pub(super) fn finish(command: &str, quiet: bool, result: Result<(), Failure>) -> ExitCode {
    let Err(Failure { status, line, loud }) = result else { return ExitCode::SUCCESS };
    if !line.is_empty() {
        warn(command, quiet && !loud, &line);
    }
    ExitCode::from(status)
}

/// Says what is wrong with the command line of `command`.
pub fn refuse(command: &str, line: &str) {
    warn(command, false, &format!("{line}; see mqtt-sn-gw {command} --help"));
}

/// A line on standard error, unless nobody wants to hear of errors. Where nobody reads it any more,
/// the exit status has to do.
pub(super) fn warn(command: &str, quiet: bool, line: &str) {
    if !quiet {
        let _ = writeln!(io::stderr(), "mqtt-sn-gw {command}: {line}");
    }
}
