//! What became of the messages of a slice: how many came, how late.

use std::time::Duration;

/// What every payload begins with, so that the receiver can tell loss, order and age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which publisher sent it.
    pub(crate) source: u32,
    /// Its place among the messages of that publisher, from 0.
    pub(crate) number: u32,
    /// When, in nanoseconds since the load began.
    pub(crate) sent_ns: u64,
}

impl Stamp {
    /// Octets of a stamp: no payload can be shorter.
    pub(crate) const OCTETS: usize = 16;

    /// Writes it over the front of a payload.
    pub(crate) fn write(self, payload: &mut [u8]) {
        payload[..4].copy_from_slice(&self.source.to_le_bytes());
        payload[4..8].copy_from_slice(&self.number.to_le_bytes());
        payload[8..16].copy_from_slice(&self.sent_ns.to_le_bytes());
    }

    /// Reads it from a payload.
    ///
    /// # Panics
    /// If the payload is too short to be one of ours.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let word = |at| u32::from_le_bytes(*payload[at..].first_chunk().expect("a stamp"));
        let sent_ns = u64::from_le_bytes(*payload[8..].first_chunk().expect("a stamp"));
        Self { source: word(0), number: word(4), sent_ns }
    }
}

/// What became of the messages of a slice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Messages that publishers sent.
    pub(crate) sent: u64,
    /// Messages that subscribers got, each copy counted.
    pub(crate) delivered: u64,
    /// Copies that did not come.
    pub(crate) lost: u64,
    /// Copies that came twice, too late or out of order.
    pub(crate) misplaced: u64,
    /// From the first message to the last answer.
    pub(crate) wall: Duration,
    pub(crate) latency: Histogram,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.misplaced += other.misplaced;
        self.wall += other.wall;
        self.latency.add(&other.latency);
    }

    /// Notes the copy `number` where `expected` was due; returns what is due next.
    pub(crate) fn deliver(&mut self, expected: u32, number: u32) -> u32 {
        let ahead = number.wrapping_sub(expected);
        if ahead >= 1 << 31 {
            self.misplaced += 1;
            return expected;
        }
        self.delivered += 1;
        self.lost += u64::from(ahead);
        number.wrapping_add(1)
    }
}

/// Times by their size, 32 steps to each doubling: 3 % exact, in a constant 16 KiB.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
}

const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (64 - STEP_BITS as usize + 1) * STEPS] }
    }
}

impl Histogram {
    pub(crate) fn note(&mut self, ns: u64) {
        self.counts[slot(ns)] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// The time that this share of all stays below, in nanoseconds; none if nothing was noted.
    pub(crate) fn quantile(&self, share: f64) -> Option<u64> {
        let total: u64 = self.counts.iter().sum();
        let rank = (total as f64 * share) as u64;
        let mut below = 0;
        let at = self.counts.iter().position(|count| {
            below += count;
            below > rank || (below == total && total > 0)
        })?;
        Some(lower_bound(at))
    }
}

fn slot(ns: u64) -> usize {
    if ns < STEPS as u64 {
        return ns as usize;
    }
    let shift = 63 - STEP_BITS - ns.leading_zeros();
    shift as usize * STEPS + (ns >> shift) as usize
}

fn lower_bound(slot: usize) -> u64 {
    if slot < 2 * STEPS {
        return slot as u64;
    }
    let shift = slot / STEPS - 1;
    ((slot % STEPS + STEPS) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { source: 99, number: 70_000, sent_ns: 1 << 40 };
        let mut payload = [0xFF; 64];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), stamp);
        assert_eq!(payload[Stamp::OCTETS..], [0xFF; 48]);
    }

    #[test]
    fn loss_and_disorder_are_told_apart() {
        let mut tally = Tally::default();
        let mut due = u32::MAX - 1;
        for number in [u32::MAX - 1, u32::MAX, 2, 1, 3] {
            due = tally.deliver(due, number);
        }
        assert_eq!((tally.delivered, tally.lost, tally.misplaced, due), (4, 2, 1, 4));
    }

    #[test]
    fn quantiles_are_three_percent_exact() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=10_000_u64).for_each(|ns| histogram.note(ns * 100));
        for (share, exact) in [(0.0, 100.0), (0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1e6)] {
            let found = histogram.quantile(share).expect("noted") as f64;
            assert!((0.968..=1.001).contains(&(found / exact)), "{share}: {found} of {exact}");
        }
        histogram.note(u64::MAX);
        assert!(histogram.quantile(1.0).expect("noted") > u64::MAX / 32 * 31);
        (0..500).for_each(|ns| assert!(lower_bound(slot(ns)) <= ns));
    }
}
