//! Worlds of virtual devices around the real machine, from one seed each.
//!
//! ```text
//! cargo run --release -p system-tests --bin sim -- --seed 7 --sensors 40 --minutes 4
//! cargo run --release -p system-tests --bin sim -- --seeds 10000
//! cargo run --release -p system-tests --bin sim -- --plant ForgetDup
//! ```
//!
//! `docs/testing.md` tells what is simulated, what is checked, and how to read a failure.

#![expect(clippy::print_stdout, reason = "a report is printed")]

use std::process::ExitCode;

use clap::Parser;
use progress::Progress;
use system_tests::sim::{self, Fault, Profile, Report};

mod progress;

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
    /// A deliberate fault, by its name in the list of --faults: shows what a failure looks like.
    #[arg(long, value_name = "FAULT", value_enum, ignore_case = true, hide_possible_values = true)]
    plant: Option<Fault>,
    /// Instead: plants each deliberate fault and tells which seed finds it, of so many.
    #[arg(long, value_name = "SEEDS", conflicts_with = "plant")]
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
    let mut progress = Progress::begin(options.seeds);
    let mut sum: Option<Report> = None;
    let mut failed = 0u64;
    for seed in options.seed..options.seed + options.seeds {
        let report = run_one(&options, seed, &mut progress);
        if !report.is_clean() {
            failed += 1;
            progress.clear();
            println!("seed {seed} fails; once more: {}", command(&options, seed));
            println!("{report}\n");
        }
        progress.ended(&report);
        match &mut sum {
            None => sum = Some(report),
            Some(sum) => sum.add(&report),
        }
    }
    progress.clear();
    if let Some(sum) = &sum {
        print_sum(&options, sum, progress.seconds(), failed);
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

fn run_one(options: &Options, seed: u64, progress: &mut Progress) -> Report {
    let Options { sensors, minutes, profile, plant: fault, .. } = *options;
    let world = sim::Options { seed, sensors, minutes, profile, fault };
    sim::run(&world, &mut |virtual_ms, datagrams| progress.show(virtual_ms, datagrams))
}

/// What replays a world.
fn command(options: &Options, seed: u64) -> String {
    let Options { sensors, minutes, profile, .. } = options;
    let plant = options.plant.map(|fault| format!(" --plant {fault:?}")).unwrap_or_default();
    format!(
        "cargo run --release -p system-tests --bin sim -- --seed {seed} --sensors {sensors} \
         --minutes {minutes} --profile {profile}{plant}"
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
