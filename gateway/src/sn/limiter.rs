//! Rate limits in a fixed amount of memory.

use core::hash::{BuildHasher, Hash};
use core::time::Duration;

use broker_core::hash;
use broker_core::time::Instant;

/// So many events within so much time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) max: u32,
    pub(super) window: Duration,
}

/// How much of a [`Rate`] is used up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    since: Instant,
    count: u32,
}

impl Meter {
    /// Counts an event if there is room for it.
    pub(super) fn admit(&mut self, rate: Rate, now: Instant) -> bool {
        if self.count == 0 || now - self.since >= rate.window {
            *self = Self { since: now, count: 0 };
        }
        let has_room = self.count < rate.max;
        self.count += u32::from(has_room);
        has_room
    }
}

const SLOTS: usize = 4_096;

/// A [`Rate`] for each source. Sources share a fixed table: two that fall on the same slot share its
/// rate, so that a flood of sources takes no memory and the worst it does is to hide a few others.
#[derive(Debug)]
pub(super) struct SourceMeters {
    meters: Box<[Meter]>,
    hasher: hash::State,
    rate: Rate,
}

impl SourceMeters {
    pub(super) fn new(rate: Rate, seed: u64) -> Self {
        let meters = vec![Meter::default(); SLOTS].into_boxed_slice();
        Self { meters, hasher: hash::state(seed), rate }
    }

    pub(super) fn admit(&mut self, source: impl Hash, now: Instant) -> bool {
        let slot = self.hasher.hash_one(source) as usize % SLOTS;
        self.meters[slot].admit(self.rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { max: 2, window: Duration::from_secs(10) };

    #[test]
    fn a_window_admits_so_many_and_the_next_one_again() {
        let mut meter = Meter::default();
        let mut admit = |secs| meter.admit(RATE, Instant::from_secs(secs));
        assert_eq!([100, 101, 105, 109].map(&mut admit), [true, true, false, false]);
        assert_eq!([110, 110, 110].map(&mut admit), [true, true, false]);
    }

    #[test]
    fn sources_have_rates_of_their_own_in_a_fixed_table() {
        let mut meters = SourceMeters::new(RATE, 7);
        let now = Instant::from_secs(1);
        let admitted = |meters: &mut SourceMeters, source: u32| {
            (0..5).filter(|_| meters.admit(source, now)).count()
        };
        let total: usize = (0..100).map(|source| admitted(&mut meters, source)).sum();
        assert!(total >= 190, "{total} of 200 although few sources share a slot");
        let total: usize = (0..100_000).map(|source| admitted(&mut meters, source)).sum();
        assert!(total <= 2 * SLOTS);
    }
}
