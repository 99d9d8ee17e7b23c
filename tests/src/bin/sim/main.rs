//! Worlds of virtual devices around the real machine, from one seed each.
//!
//! ```text
//! cargo run --release -p system-tests --bin sim -- --seed 7 --sensors 40 --minutes 4
//! cargo run --release -p system-tests --bin sim -- --seeds 10000
//! ```
//!
//! `docs/testing.md` tells what is simulated, what is checked, and how to read a failure.

#![expect(clippy::print_stdout, reason = "a report is printed")]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use system_tests::sim::{self, Fault, Profile, Report};

#[derive(Debug, Parser)]
#[command(about = "Runs worlds of virtual devices around the real broker and gateway")]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many seeds, one world each.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Virtual MQTT-SN devices in a world.
    #[arg(long, default_value_t = 40)]
    sensors: u32,
    /// Virtual minutes with faults.
    #[arg(long, default_value_t = 4)]
    minutes: u32,
    /// What a world is about.
    #[arg(long, value_enum, default_value_t = Profile::Swarm)]
    profile: Profile,
    /// Instead: plants each deliberate fault and tells which seed finds it, of so many.
    #[arg(long, value_name = "SEEDS")]
    faults: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(seeds) = options.faults {
        return find_faults(&options, seeds);
    }
    if cfg!(debug_assertions) {
        eprintln!("sim: built without --release, so it is slow");
    }
    let began = Instant::now();
    let mut sum: Option<Report> = None;
    let mut failed = 0u64;
    for seed in options.seed..options.seed + options.seeds {
        let report = run_one(&options, seed);
        if !report.is_clean() {
            failed += 1;
            println!("seed {seed} fails; once more: {}", command(&options, seed));
            println!("{report}\n");
        }
        match &mut sum {
            None => sum = Some(report),
            Some(sum) => sum.add(&report),
        }
    }
    if let Some(sum) = &sum {
        print_sum(&options, sum, began.elapsed().as_secs_f64(), failed);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line for each deliberate fault.
fn find_faults(options: &Options, seeds: u64) -> ExitCode {
    let mut missed = 0;
    for fault in Fault::ALL {
        match sim::find(*fault, options.seed, seeds) {
            Some((seed, what)) => {
                let tried = seed - options.seed + 1;
                println!("{:<20} {tried:>4}  {what}", format!("{fault:?}"));
            }
            None => {
                missed += 1;
                println!("{:<20}       not found in {seeds} seeds", format!("{fault:?}"));
            }
        }
    }
    println!("{} faults, {missed} not found", Fault::ALL.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_one(options: &Options, seed: u64) -> Report {
    let Options { sensors, minutes, profile, .. } = *options;
    let world = sim::Options { seed, sensors, minutes, profile, fault: None };
    let shows = io::stderr().is_terminal() && options.seeds == 1;
    let began = Instant::now();
    sim::run(&world, &mut |virtual_ms, datagrams| {
        if shows {
            let rate = datagrams as f64 / began.elapsed().as_secs_f64();
            eprint!("\r{:>6} s, {datagrams} datagrams, {rate:.0}/s   ", virtual_ms / 1_000);
            // Only a line of progress.
            let _: io::Result<()> = io::stderr().flush();
        }
    })
}

/// What replays a world.
fn command(options: &Options, seed: u64) -> String {
    let Options { sensors, minutes, profile, .. } = options;
    format!(
        "cargo run --release -p system-tests --bin sim -- --seed {seed} --sensors {sensors} \
         --minutes {minutes} --profile {profile}"
    )
}

fn print_sum(options: &Options, sum: &Report, seconds: f64, failed: u64) {
    println!(
        "{} worlds of {} sensors, profile {}",
        options.seeds, options.sensors, options.profile
    );
    println!("{sum}");
    let rate = sum.datagrams() as f64 / seconds;
    println!("failed worlds      {failed}");
    println!("real time          {seconds:.1} s, {rate:.0} virtual datagrams a second");
    println!("memory             {} MiB at most", peak_mib());
}

/// The most memory that this process has had.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() >> 10
}
