//! How fast a client takes what it is sent.

use crate::time::Instant;

/// Microseconds of a period.
const PERIOD: u64 = 100_000;

/// Acknowledgements in a period, or a part of it and the one before, from which on a client is at
/// work: it empties a queue of a thousand messages within a second.
const AT_WORK: u16 = 100;

/// So long a client is taken for one that is at work that had nothing to do, or took something from
/// a connection that was full: the kernel tells of room only when a third of what it holds is gone.
const GRACE_MS: u32 = 1_000;

/// Acknowledgements of late, in twelve octets: times begin anew after some weeks, when a client may
/// be taken for another one for a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When that was last, in milliseconds.
    began: u32,
    period: u32,
    /// In the period before this one, and in this one.
    counts: [u16; 2],
}

impl Pace {
    /// A message comes for a client that has nothing to do, or its connection has room again, or
    /// none any more.
    pub(crate) const fn begin(&mut self, now: Instant) {
        self.began = low(now.as_micros() / 1_000);
    }

    /// An acknowledgement came.
    pub(crate) const fn count(&mut self, now: Instant) {
        let period = low(now.as_micros() / PERIOD);
        self.counts = self.counts_at(period);
        self.counts[1] = self.counts[1].saturating_add(1);
        self.period = period;
    }

    /// Whether the client acknowledges a thousand messages a second or more, or took something not
    /// long ago, or has only begun.
    pub(crate) const fn is_at_work(&self, now: Instant) -> bool {
        if low(now.as_micros() / 1_000).wrapping_sub(self.began) < GRACE_MS {
            return true;
        }
        let [before, current] = self.counts_at(low(now.as_micros() / PERIOD));
        before.saturating_add(current) >= AT_WORK
    }

    const fn counts_at(&self, period: u32) -> [u16; 2] {
        match period.wrapping_sub(self.period) {
            0 => self.counts,
            1 => [self.counts[1], 0],
            _ => [0, 0],
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what is compared is near")]
const fn low(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_acknowledges_often_is_at_work_and_who_stops_is_not_for_long() {
        let mut pace = Pace::default();
        let at = Instant::from_millis;
        for n in 0..99 {
            pace.count(at(1_000 + n));
        }
        assert!(!pace.is_at_work(at(1_100)));
        pace.count(at(1_100));
        assert!(pace.is_at_work(at(1_199)));
        assert!(!pace.is_at_work(at(1_200)), "one in the period before");
        for n in 0..1_000 {
            pace.count(at(2_000 + 11 * n));
        }
        assert!(!pace.is_at_work(at(13_000)), "ninety a second");
        for _ in 0..100 {
            pace.count(at(20_000));
        }
        assert!(pace.is_at_work(at(20_199)) && !pace.is_at_work(at(20_200)));
        pace.begin(at(30_000));
        assert!(pace.is_at_work(at(30_999)) && !pace.is_at_work(at(31_000)));
    }
}
