//! Small worlds from fixed seeds, and the proof that their checks find what is wrong.
//!
//! `docs/testing.md` tells how the simulator works and how to replay a failure.

use system_tests::sim::{self, Fault, Feature, Options, Profile};

/// Seeds of one profile; all seven make two hundred.
const SEEDS: u64 = 29;

/// Seeds in which a deliberate fault has to be found.
const FAULT_SEEDS: u64 = 300;

/// Seeds of two profiles in which each feature has to happen.
const FEATURE_SEEDS: u64 = 60;

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

/// What is checked has to happen. Worlds of the swarm have everything but what only a crash brings
/// about.
#[test]
fn everything_of_mqtt_3_1_and_5_0_happens() {
    let run = |seed, profile| sim::run(&options(seed, profile), &mut |_, _| {});
    let mut reports = [Profile::Swarm, Profile::Crashy]
        .into_iter()
        .flat_map(|profile| (1..=FEATURE_SEEDS).map(move |seed| (seed, profile)))
        .map(|(seed, profile)| run(seed, profile));
    let mut sum = reports.next().expect("some seeds");
    reports.for_each(|report| sum.add(&report));
    let missed: Vec<&Feature> = Feature::ALL.iter().filter(|it| sum.count(**it) == 0).collect();
    assert!(missed.is_empty(), "never happened in {FEATURE_SEEDS} seeds of two: {missed:?}");
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

#[test]
fn every_deliberate_fault_is_found() {
    let found = |fault: &&Fault| sim::find(**fault, 1, FAULT_SEEDS).is_some();
    let missed: Vec<&Fault> = Fault::ALL.iter().filter(|fault| !found(fault)).collect();
    assert!(missed.is_empty(), "not found in {FAULT_SEEDS} seeds: {missed:?}");
}
