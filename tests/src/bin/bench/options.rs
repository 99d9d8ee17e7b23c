//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::durable;
use crate::tally::Stamp;

/// The CPU time that a message costs the server
///
/// Runs every scenario against a bare relay (the floor), the gateway and, over TCP, Mosquitto, in
/// turns, and prints nanoseconds of user and system time per delivered message. See
/// docs/performance.md.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,

    /// Scenarios to run: a sensors at QoS 0, b sensors at QoS 1, c pairs, d fan-out
    #[arg(long, value_delimiter = ',', default_value = "a,b,c,d")]
    pub(crate) scenario: Vec<Scenario>,

    /// Keep to these qualities of service
    #[arg(long, value_delimiter = ',', default_value = "0,1",
        value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) qos: Vec<u8>,

    /// Seconds of load for each server in each table, in all rounds together
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Rounds; in each of them the servers take turns, every other time in reverse
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// A few seconds for everything: shows that it runs, and no numbers worth keeping
    #[arg(long)]
    pub(crate) quick: bool,

    /// Octets of a payload
    #[arg(long, default_value_t = 64, value_parser = payload)]
    pub(crate) payload: usize,

    /// Messages on their way in each pair, and in the fan-out
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) window: u32,

    /// MQTT-SN publishers of scenarios a and b
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) sensors: u32,

    /// Messages on their way in scenarios a and b together; one of each publisher at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) on_the_way: u32,

    /// Pairs of scenario c
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) pairs: u32,

    /// Subscribers of scenario d
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) subscribers: u32,

    /// Where load and server run, a table for each
    #[arg(long, value_delimiter = ',', default_value = "apart,shared")]
    pub(crate) cores: Vec<Cores>,

    /// Also count the system calls of each server, in one more slice under `perf stat`
    #[arg(long)]
    pub(crate) calls: bool,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,

    /// The gateway to measure, instead of building it
    #[arg(long, value_name = "PATH")]
    pub(crate) gateway: Option<PathBuf>,

    /// Another gateway to measure beside it, in the same rounds
    #[arg(long, value_name = "PATH")]
    pub(crate) against: Option<PathBuf>,
}

/// What the program does when it is not the benchmark.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Action {
    /// Serve as the bare relay (the benchmark starts it so)
    #[command(hide = true)]
    Relay,
    /// Measure what durability costs, and the restart with a large store
    Durable(durable::Options),
}

/// A scenario by its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Sensors at QoS 0
    A,
    /// Sensors at QoS 1
    B,
    /// Pairs, at QoS 0 and 1
    C,
    /// Fan-out, at QoS 0 and 1
    D,
}

/// Where load and server run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cores {
    /// The load on the first core, the server on the last
    Apart,
    /// Both on the last core in turns: each finds all that the other could do without it
    Shared,
    /// Wherever the scheduler puts them
    Free,
}

impl Options {
    /// How long one server is loaded in one round.
    pub(crate) fn slice(&self) -> Duration {
        Duration::from_secs_f64(self.seconds / f64::from(self.rounds))
    }

    /// What `--quick` means.
    pub(crate) fn settle(mut self) -> Self {
        if self.quick {
            (self.seconds, self.rounds) = (0.1, 2);
        }
        self
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let range = 0.01..=3_600.0;
    if range.contains(&seconds) { Ok(seconds) } else { Err(format!("not within {range:?}")) }
}

fn payload(text: &str) -> Result<usize, String> {
    let octets: usize = text.parse().map_err(|_| "not a number".to_owned())?;
    // What the gateway takes from a sensor at once.
    let range = Stamp::OCTETS..=1_000;
    if range.contains(&octets) { Ok(octets) } else { Err(format!("not within {range:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        let options = Options::parse_from(["bench", "--scenario", "b,d", "--quick"]).settle();
        assert_eq!(options.scenario, [Scenario::B, Scenario::D]);
        assert_eq!(options.slice(), Duration::from_millis(50));
        for wrong in [["--seconds", "0"], ["--payload", "15"], ["--window", "0"]] {
            assert!(Options::try_parse_from(["bench"].iter().chain(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
