//! The reference model against the real stack, on random histories.
//!
//! Broker, connections and MQTT-SN gateway run in memory, with octets in and octets out, under a
//! clock that the test moves. `docs/testing.md` tells how to read a failure.

mod clients;
mod heard;
mod model;
mod op;
mod stack;
mod wire;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use op::History;
use world::World;

/// Histories in a run that nobody asked to be longer.
const CASES: u32 = 8_000;

/// What happens in the model, each of it, in any run of some thousand histories.
const HAPPENINGS: usize = 31;

type Tally = BTreeMap<&'static str, u64>;

fn run(history: &History, tally: &RefCell<Tally>) -> Result<(), TestCaseError> {
    let mut world = World::new(history.setup);
    for (number, op) in history.ops.iter().enumerate() {
        if let Err(difference) = world.step(number, op) {
            return Err(TestCaseError::fail(format!("{number:3}. {op}:\n   {difference}")));
        }
    }
    let at_the_end = |difference| TestCaseError::fail(format!("at the end:\n   {difference}"));
    world.end().map_err(at_the_end)?;
    let mut tally = tally.borrow_mut();
    for (what, count) in world.tally() {
        *tally.entry(what).or_default() += count;
    }
    Ok(())
}

fn number(variable: &str) -> Option<u32> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
fn the_stack_does_what_the_model_says() {
    let cases = number("MODEL_CASES").unwrap_or(CASES);
    let seed = number("MODEL_SEED").unwrap_or(1);
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut seed_octets = [0; 32];
    seed_octets[..4].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_octets);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tally = RefCell::default();
    match runner.run(&op::histories(), |history| run(&history, &tally)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => {
            panic!("MODEL_SEED={seed} MODEL_CASES={cases}\n{history}\n{reason}");
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    let tally = tally.into_inner();
    println!("{tally:#?}");
    assert!(cases < CASES || tally.len() == HAPPENINGS, "{} of them happened", tally.len());
}
