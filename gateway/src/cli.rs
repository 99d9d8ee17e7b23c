//! The command line: what was typed, as it was typed. [`Config`](crate::config::Config) says what
//! it means.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::client::{self, PubArgs, SubArgs};
use crate::config::{LogFormat, limits_help};
use crate::store::tool::StoreArgs;

/// What the program is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve clients until told to stop.
    Serve(CliArgs),
    /// Check a configuration file and tell everything that is wrong with it.
    Check(CheckArgs),
    /// Publish as an MQTT-SN client.
    Pub(PubArgs),
    /// Subscribe as an MQTT-SN client.
    Sub(SubArgs),
    /// Look at a store, or take records out and in.
    Store(StoreArgs),
}

/// The options for serving.
#[derive(Debug, Default, Clone, PartialEq, Eq, Args)]
pub struct CliArgs {
    /// Read the configuration from FILE (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Serve MQTT over TCP on ADDR, instead of where the file says; may be repeated
    ///
    /// ADDR is IP:PORT, [IPV6%INTERFACE]:PORT, localhost:PORT, or a PORT on loopback. With port 0
    /// the system chooses a free one. Without this option and without listeners in the file:
    /// localhost:1883.
    #[arg(long, value_name = "ADDR")]
    pub mqtt: Vec<String>,

    /// Serve MQTT-SN over UDP on ADDR, instead of where the file says; may be repeated
    #[arg(long = "mqtt-sn", value_name = "ADDR")]
    pub mqtt_sn: Vec<String>,

    /// Serve MQTT over WebSocket on ADDR, instead of where the file says; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub ws: Vec<String>,

    /// Keep what outlives the process in DIR
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// If the store is damaged, use what can be read of it
    #[arg(long)]
    pub recover: bool,

    /// Write the log for people or for machines
    #[arg(long, value_name = "FORMAT", value_parser = log_format())]
    pub log_format: Option<LogFormat>,

    /// Log more: -v decisions, -vv every packet
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The options of `check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// The configuration file to check (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// MQTT-SN gateway and MQTT broker in one process
///
/// Without options MQTT (TCP) and MQTT-SN (UDP) are served on port 1883 of this machine only.
#[derive(Debug, Parser)]
#[command(
    name = "mqtt-sn-gw",
    version,
    args_conflicts_with_subcommands = true,
    after_long_help = limits_help()
)]
struct Cli {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    serve: CliArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a configuration file: exit status 0, or 2 with everything that is wrong
    Check(CheckArgs),
    /// Publish messages to an MQTT-SN gateway, as a client like mosquitto_pub
    #[command(disable_help_flag = true)]
    Pub(PubArgs),
    /// Subscribe to topics of an MQTT-SN gateway, as a client like mosquitto_sub
    #[command(disable_help_flag = true)]
    Sub(SubArgs),
    /// Look at the store of a gateway that is down, or take records out and in
    Store(StoreArgs),
}

/// What the process was asked to do. Prints the help or the version if asked for that, or what
/// is wrong with the command line, and ends the process then: with status 2, or with 1 for `pub`
/// and `sub`, as mosquitto_pub and mosquitto_sub do.
pub fn parse() -> Command {
    Cli::try_parse().map_or_else(|error| end(&error), Into::into)
}

fn end(error: &clap::Error) -> ! {
    match env::args().nth(1) {
        Some(command) if error.use_stderr() && ["pub", "sub"].contains(&&*command) => {
            client::refuse(&command, &one_line(&error.to_string()));
            process::exit(1)
        }
        Some(_) | None => error.exit(),
    }
}

/// What is wrong and what may have been meant, without the usage.
fn one_line(text: &str) -> String {
    let parts = text.split("\n\n").enumerate();
    let parts = parts.filter(|(at, part)| *at == 0 || part.trim_start().starts_with("tip:"));
    let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = parts.map(|(_, part)| words(part)).collect::<Vec<_>>().join("; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// The same for the words of a command line, the first of which names the program.
///
/// # Errors
///
/// What is wrong with the command line, or the help or version text where that was asked for.
pub fn parse_from(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Command, clap::Error> {
    Cli::try_parse_from(words).map(Into::into)
}

impl From<Cli> for Command {
    fn from(cli: Cli) -> Self {
        match cli.action {
            None => Self::Serve(cli.serve),
            Some(Action::Check(args)) => Self::Check(args),
            Some(Action::Pub(args)) => Self::Pub(args),
            Some(Action::Sub(args)) => Self::Sub(args),
            Some(Action::Store(args)) => Self::Store(args),
        }
    }
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(LogFormat::WORDS).try_map(|word| word.parse())
}
