//! The fuzz targets on their committed corpora, and on inputs that lie near them.

use std::env;

use system_tests::fuzz::{self, Mutator, TARGETS, Target};
use system_tests::repository;

/// Octets of inputs that each target is given in a short run: a few seconds for all of them.
const SHORT_RUN_BYTES: usize = 100_000;

/// Octets of all corpora together, as text.
const CORPORA_BYTES_MAX: u64 = 1 << 20;

#[test]
fn every_committed_input_holds_and_does_the_same_twice() {
    for target in TARGETS {
        let inputs = fuzz::inputs(target);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for input in &inputs {
            assert!(input.len() <= target.bytes_max, "{}: an input is too long", target.name);
            let first = fuzz::check_shown(target, input);
            assert_eq!(first, fuzz::check_shown(target, input), "{} differs", target.name);
        }
    }
}

/// With `FUZZ_BYTES` more of them, with `FUZZ_SEED` others.
#[test]
fn inputs_near_the_corpora_hold() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let bytes = number("FUZZ_BYTES").map_or(SHORT_RUN_BYTES, |bytes| bytes as usize);
    let seed = number("FUZZ_SEED").unwrap_or(1);
    for target in TARGETS {
        let mut mutator = Mutator::of(target, seed);
        let mut left = bytes;
        while left > 0 {
            let input = mutator.input();
            fuzz::check_shown(target, &input);
            left = left.saturating_sub(input.len().max(8));
        }
    }
}

#[test]
fn every_target_is_complete_and_the_corpora_are_small() {
    let manifest = std::fs::read_to_string(repository::path("tests/fuzz/Cargo.toml"));
    let manifest = manifest.expect("the workspace of the fuzzers");
    let mut bytes = 0;
    for target @ Target { name, .. } in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no binary");
        assert!(!fuzz::dictionary(target).is_empty(), "{name} has no dictionary");
        let corpus = repository::path(&format!("tests/fuzz/corpus/{name}.txt"));
        bytes += corpus.metadata().expect("each has one").len();
    }
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} octets of corpora");
}
