//! What a message costs the server, in nanoseconds of CPU time.
//!
//! ```text
//! cargo run --release -p system-tests --bin bench
//! ```
//!
//! The floor (a bare [`relay`]), the gateway and Mosquitto stand side by side; in each round every
//! one of them carries the same [`load`] for a moment, and its CPU time is read from the
//! scheduler's account before and after, at rest. What durability costs, [`durable`] measures.
//! `docs/performance.md` tells the methods and the results so far.

#![expect(clippy::print_stdout, reason = "a report is printed")]

mod calls;
mod cores;
mod durable;
mod link;
mod load;
mod options;
mod relay;
mod report;
mod run;
mod server;
mod tally;
mod usage;
mod wire;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use options::{Action, Options};

fn main() -> ExitCode {
    let options = Options::parse().settle();
    let result = match &options.action {
        Some(Action::Relay) => relay::run(),
        Some(Action::Durable(options)) => durable::run(options),
        None => bench(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs and reports all cases. Fails if messages were lost: then the numbers are about something
/// else.
fn bench(options: &Options) -> io::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("bench: built without --release, so the numbers are worth nothing");
    }
    let programs = server::Programs::find(options)?;
    let machine = cores::Machine::look();
    let mut results = Vec::new();
    for case in run::cases(options) {
        let result = run::run(options, &programs, &machine, case)?;
        if !options.json {
            println!("{}", report::table(&result));
        }
        results.push(result);
    }
    if options.json {
        println!("{:#}", report::json(options, &results));
    }
    let mut rows = results.iter().flat_map(|result| &result.rows);
    if rows.all(run::Row::is_complete) {
        return Ok(());
    }
    Err(io::Error::other("messages were lost or came out of place"))
}
