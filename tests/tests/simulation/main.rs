//! Small worlds from fixed seeds, and the proof that their checks find what is wrong.
//!
//! `docs/testing.md` tells how the simulator works and how to replay a failure.

mod telling;

use std::ops::RangeInclusive;

use system_tests::sim::{self, Fault, Feature, Options, Profile, Report};

/// Seeds of one profile; all seven make two hundred.
const SEEDS: u64 = 29;

/// Worlds in which everything that they are meant to contain has to happen: those that others
/// follow, so that these tests have seen different ones.
const FEATURE_SEEDS: RangeInclusive<u64> = 101..=200;

/// Seeds in which a deliberate fault has to be found.
const FAULT_SEEDS: u64 = 300;

fn options(seed: u64, profile: Profile) -> Options {
    Options { seed, sensors: 40, minutes: 3, profile, fault: None }
}

#[track_caller]
fn check(profile: Profile) {
    for seed in 1..=SEEDS {
        let report = sim::run(&options(seed, profile), &mut |_, _| {});
        assert!(
            report.is_clean(),
            "once more: cargo run --release -p system-tests --bin sim -- --seed {seed} \
             --sensors 40 --minutes 3 --profile {profile}\n{report}"
        );
        assert!(report.checks() > 100, "next to nothing was checked: {report}");
    }
}

#[test]
fn worlds_of_all_sorts_keep_every_promise() {
    check(Profile::Swarm);
}

#[test]
fn worlds_on_a_bad_radio_keep_every_promise() {
    check(Profile::LossyRadio);
}

#[test]
fn worlds_of_sleepers_keep_every_promise() {
    check(Profile::SleepyFarm);
}

#[test]
fn worlds_of_changing_addresses_keep_every_promise() {
    check(Profile::NatCellular);
}

#[test]
fn worlds_under_attack_keep_every_promise() {
    check(Profile::Hostile);
}

#[test]
fn worlds_with_power_cuts_keep_every_promise() {
    check(Profile::Storm);
}

#[test]
fn worlds_whose_gateway_crashes_keep_every_promise() {
    check(Profile::Crashy);
}

#[test]
fn a_large_world_of_plain_sensors_keeps_every_promise() {
    let large = Options { sensors: 2_000, ..options(1, Profile::Steady) };
    let report = sim::run(&large, &mut |_, _| {});
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_seed_is_one_history() {
    let [once, again] = [7, 7].map(|seed| {
        let report = sim::run(&options(seed, Profile::Swarm), &mut |_, _| {});
        report.to_string()
    });
    assert_eq!(once, again);
    let other = sim::run(&options(8, Profile::Swarm), &mut |_, _| {});
    assert_ne!(once, other.to_string());
}

/// What is checked has to happen, some of it only with crashes.
#[test]
fn worlds_contain_everything_that_they_are_meant_to() {
    let mut sum: Option<Report> = None;
    for (seed, number) in FEATURE_SEEDS.zip(0..) {
        let profile = if number % 3 == 0 { Profile::Crashy } else { Profile::Swarm };
        let report = sim::run(&options(seed, profile), &mut |_, _| {});
        assert!(report.is_clean(), "seed {seed}: {report}");
        match &mut sum {
            None => sum = Some(report),
            Some(sum) => sum.add(&report),
        }
    }
    let sum = sum.expect("some worlds");
    let missing: Vec<&Feature> = Feature::ALL.iter().filter(|it| sum.count(**it) == 0).collect();
    assert!(missing.is_empty(), "never in all these worlds: {missing:?}\n{sum}");
}

#[test]
fn every_deliberate_fault_is_found() {
    let found = |fault: &&Fault| sim::find(**fault, 1, FAULT_SEEDS).is_some();
    let missed: Vec<&Fault> = Fault::ALL.iter().filter(|fault| !found(fault)).collect();
    assert!(missed.is_empty(), "not found in {FAULT_SEEDS} seeds: {missed:?}");
}
