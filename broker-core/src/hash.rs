//! Hash maps whose order an outsider can neither see nor steer.
//!
//! Every map keyed by data of outsiders (client ids, topic levels, addresses) is seeded; the seed
//! is an argument like time is, so that a simulation repeats itself to the letter.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// The hasher of all maps here.
pub type State = SeedableRandomState;

/// A hash map with a seed of its own.
pub type HashMap<K, V> = std::collections::HashMap<K, V, State>;

/// A hasher made from `seed`.
pub fn state(seed: u64) -> State {
    static SHARED: SharedSeed = SharedSeed::from_u64(0x6d71_7474_2d73_6e00);
    SeedableRandomState::with_seed(seed, &SHARED)
}

/// An empty map whose hasher is made from `seed`.
pub fn map<K, V>(seed: u64) -> HashMap<K, V> {
    HashMap::with_hasher(state(seed))
}
