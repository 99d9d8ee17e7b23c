//! The program `mqtt-sn-gw`.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use mqtt_sn_gw::cli::{self, CheckArgs, CliArgs, Command};
use mqtt_sn_gw::client;
use mqtt_sn_gw::config::{Config, Problems};
use mqtt_sn_gw::logging::Log;
use mqtt_sn_gw::server::{EarlyHangup, Server};
use mqtt_sn_gw::store::tool::{self, StoreArgs};
use tracing::warn;

/// The exit status for a command line or configuration that is wrong, the same as clap's.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    match cli::parse() {
        Command::Serve(args) => serve(args),
        Command::Check(args) => check(args),
        Command::Pub(args) => client::publish(&args),
        Command::Sub(args) => client::subscribe(&args),
        Command::Store(args) => store(&args),
    }
}

/// Serves clients until told to stop.
fn serve(args: CliArgs) -> ExitCode {
    // Before the files are read: who signals has changed them. If this is refused, so is the start.
    let hangup = EarlyHangup::expect();
    let config = match Config::load(&args) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    let log = Log::start(&config.log, config.limits.log_lines_per_s);
    config.notes.iter().for_each(|note| warn!("{note}"));
    let mut server = match Server::start(args, config, log) {
        Ok(server) => server,
        Err(error) => {
            tell(&mut io::stderr(), format_args!("mqtt-sn-gw: {error}"));
            return ExitCode::from(WRONG_USE);
        }
    };
    if let Ok(hangup) = &hangup {
        server.catch_up(hangup);
    }
    tell(&mut io::stdout(), server.ready_line());
    match server.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&mut io::stderr(), format_args!("mqtt-sn-gw: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells what a configuration means, or what is wrong with it.
fn check(CheckArgs { config: file }: CheckArgs) -> ExitCode {
    let name = file.display().to_string();
    let args = CliArgs { config: Some(file), ..CliArgs::default() };
    match Config::load(&args) {
        Ok(config) => {
            let mut out = io::stdout();
            tell(&mut out, format_args!("ok: {name}: {}", config.summary()));
            config.notes.iter().for_each(|note| tell(&mut out, format_args!("note: {note}")));
            ExitCode::SUCCESS
        }
        Err(problems) => refuse(&problems),
    }
}

/// Works on a store without serving anybody.
fn store(args: &StoreArgs) -> ExitCode {
    match tool::run(args, &mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&mut io::stderr(), format_args!("mqtt-sn-gw store: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn refuse(problems: &Problems) -> ExitCode {
    tell(&mut io::stderr(), problems);
    ExitCode::from(WRONG_USE)
}

/// Writes a line. Where nobody reads it any more, the exit status has to do.
fn tell(stream: &mut impl Write, line: impl Display) {
    let _ = writeln!(stream, "{line}");
    let _ = stream.flush();
}
