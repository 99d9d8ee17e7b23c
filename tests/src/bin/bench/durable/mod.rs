//! What durability costs: throughput and latency of group commit, the restart with a large store,
//! and the turns of the loop beside it.
//!
//! ```text
//! cargo run --release -p system-tests --bin bench -- durable
//! ```
//!
//! The tables that are printed are those of `docs/performance.md`.

mod clients;
mod cost;
mod disk;
mod fill;
mod restart;
mod server;
mod sys;
mod turns;

use std::io;
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};

use server::Programs;

/// What `bench durable` is asked for.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Parts to run
    #[arg(long, value_delimiter = ',', default_value = "cost,restart")]
    part: Vec<Part>,

    /// Seconds of everything, with a small store: shows that it runs, and no numbers worth keeping
    #[arg(long)]
    short: bool,

    /// Seconds of load for each server and load in one round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,

    /// Rounds; the tables tell the medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Publishers
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    publishers: u32,

    /// Octets of a payload
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(16..=10_000))]
    payload: u16,

    /// Retained messages of the large store
    #[arg(long, default_value_t = 1_000_000)]
    retained: u32,

    /// Sessions of the large store
    #[arg(long, default_value_t = 100_000)]
    sessions: u32,

    /// Messages that wait for each of them
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=20))]
    queued: u32,

    /// Starts with the large store
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    starts: u32,

    /// Let the gateway run before everybody else while turns are measured (`chrt`, which wants
    /// root): a turn is as long as the loop makes it, then, and not as others interrupt it
    #[arg(long)]
    ahead: bool,

    /// Where the data folders are made, for the time of the run: a folder on the disk in question
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,

    /// The gateway to measure, instead of building it
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,

    /// A Mosquitto of 2.1 or later to compare with
    #[arg(long, value_name = "PATH", requires = "plugin")]
    mosquitto: Option<PathBuf>,

    /// Its plugin `mosquitto_persist_sqlite.so`
    #[arg(long, value_name = "PATH", requires = "mosquitto")]
    plugin: Option<PathBuf>,
}

/// A part by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Throughput and latency in memory, on disk, and of Mosquitto
    Cost,
    /// A large store: filled, restarted, and worked with
    Restart,
}

impl Options {
    /// What `--short` means.
    fn settle(mut self) -> Self {
        if self.short {
            (self.seconds, self.rounds, self.starts) = (0.1, 1, 1);
            (self.retained, self.sessions) = (5_000, 200);
        }
        self
    }
}

/// Runs and reports the parts.
///
/// # Errors
/// A server does not start or breaks off, or a message that was acknowledged is gone.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let options = options.clone().settle();
    let programs = Programs::find(&options)?;
    let folder = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    println!("{}\n", machine(&folder));
    for part in &options.part {
        match part {
            Part::Cost => cost::run(&options, &programs, &folder)?,
            Part::Restart => restart::run(&options, &programs, &folder)?,
        }
    }
    Ok(())
}

/// What it runs on, in a line.
fn machine(folder: &std::path::Path) -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_default()
    };
    let disk = said("stat", &["-f", "-c", "%T", &folder.to_string_lossy()]);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let kernel = said("uname", &["-sr"]);
    format!("{kernel}, {cores} cores, load {load} before the run, file system {disk}")
}

/// A number with commas between its thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The row of a table.
fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The head of a table.
fn head(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    format!("{}\n|{}", row(&names), "---|".repeat(names.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in
            [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_table_has_as_many_cells_everywhere() {
        assert_eq!(head(&["a", "b"]), "| a | b |\n|---|---|");
        assert_eq!(row(&["1".to_owned(), "2".to_owned()]), "| 1 | 2 |");
    }
}
