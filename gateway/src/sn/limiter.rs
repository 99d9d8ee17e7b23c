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
        let has_room = self.has_room(rate, now);
        self.count += u32::from(has_room);
        has_room
    }

    fn has_room(&mut self, rate: Rate, now: Instant) -> bool {
        if self.count == 0 || now - self.since >= rate.window {
            *self = Self { since: now, count: 0 };
        }
        self.count < rate.max
    }
}

const SLOTS: usize = 4_096;

/// A [`Rate`] for each source. Sources share a fixed table: two that fall on the same slot share
/// its rate, so that a flood of sources takes no memory and the worst it does is to hide a few
/// others.
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

    /// Another rate; what is counted already counts on.
    pub(super) const fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Counts an event of a source if there is room for it.
    pub(super) fn admit(&mut self, source: impl Hash, now: Instant) -> bool {
        let rate = self.rate;
        self.meter(source).admit(rate, now)
    }

    /// The same within a rate for all sources together: an event that finds no room in one of both
    /// is not counted in the other.
    pub(super) fn admit_within(
        &mut self,
        source: impl Hash,
        total: &mut Meter,
        total_rate: Rate,
        now: Instant,
    ) -> bool {
        let rate = self.rate;
        let own = self.meter(source);
        let has_room = own.has_room(rate, now) && total.has_room(total_rate, now);
        own.count += u32::from(has_room);
        total.count += u32::from(has_room);
        has_room
    }

    fn meter(&mut self, source: impl Hash) -> &mut Meter {
        let slot = self.hasher.hash_one(source) as usize % SLOTS;
        &mut self.meters[slot]
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

    #[test]
    fn who_finds_no_room_among_all_keeps_its_own_and_the_other_way_round() {
        let mut meters = SourceMeters::new(RATE, 7);
        let (mut total, total_rate) = (Meter::default(), Rate { max: 3, ..RATE });
        let mut admit = |source: u32, secs| {
            let now = Instant::from_secs(secs);
            meters.admit_within(source, &mut total, total_rate, now)
        };
        assert_eq!([1, 1, 1, 1].map(|source| admit(source, 100)), [true, true, false, false]);
        assert_eq!([2, 2].map(|source| admit(source, 100)), [true, false]);
        // The total begins anew; the second source has one left of its own.
        assert_eq!([2, 2].map(|source| admit(source, 110)), [true, true]);
    }
}
