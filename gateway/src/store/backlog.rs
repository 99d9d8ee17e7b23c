//! Changes that wait for a disk that takes none: of each record the last one.
//!
//! So what waits is never more than the difference between what lives and what is on the disk,
//! however long that lasts. A record that came and went meanwhile leaves nothing behind; one that
//! is on the disk and is to go takes as much as its deletion.

use std::collections::HashMap;

use broker_core::journal::{Journal, Op, Ops, RecordKey};

/// Octets of changes that were overtaken are kept up to this, or up to as many as count.
const SLACK_BYTES: usize = 1 << 20;

/// What a place in the map takes, in octets.
const PLACE_BYTES: usize = 2 * size_of::<(RecordKey, usize)>();

#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// In the order in which they were made last.
    journal: Journal,
    /// Where the change of each record begins.
    places: HashMap<RecordKey, Place, foldhash::fast::RandomState>,
    live_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    len: usize,
    is_put: bool,
}

/// What changes that wait would do, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Balance {
    /// What they take.
    pub(super) len: u64,
    /// Records that they put.
    pub(super) put: u64,
    /// Records that are there, and that they take the place of or delete.
    pub(super) freed: u64,
}

impl Backlog {
    /// Adds changes. `stored_bytes` tells how large a record is that the disk has.
    ///
    /// # Panics
    /// If the changes are no journal.
    pub(super) fn add(&mut self, changes: &[u8], stored_bytes: impl Fn(RecordKey) -> Option<u64>) {
        for op in Ops::new(changes) {
            let op = op.expect("the loop hands over journals");
            if let Some(old) = self.places.remove(&op.key) {
                self.live_bytes -= old.len;
            }
            if op.value.is_some() || stored_bytes(op.key).is_some() {
                self.put(&op);
            }
        }
        if self.journal.octets().len() > 2 * self.live_bytes + SLACK_BYTES {
            self.tidy();
        }
    }

    /// The changes that count, in their order.
    pub(super) fn changes(&mut self) -> &[u8] {
        if self.journal.octets().len() > self.live_bytes {
            self.tidy();
        }
        self.journal.octets()
    }

    /// What the changes would do.
    pub(super) fn balance(&self, stored_bytes: impl Fn(RecordKey) -> Option<u64>) -> Balance {
        let puts = self.places.values().filter(|place| place.is_put);
        Balance {
            len: self.live_bytes as u64,
            put: puts.map(|place| place.len as u64).sum(),
            freed: self.places.keys().filter_map(|key| stored_bytes(*key)).sum(),
        }
    }

    /// Octets that the changes take.
    pub(super) const fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.journal.octets().len() + self.places.capacity() * PLACE_BYTES
    }

    fn put(&mut self, op: &Op<'_>) {
        let at = self.journal.octets().len();
        match op.value {
            Some(value) => self.journal.put(op.key, |out| out.extend_from_slice(value)),
            None => self.journal.delete(op.key),
        }
        let place = Place { at, len: op.size(), is_put: op.value.is_some() };
        self.places.insert(op.key, place);
        self.live_bytes += op.size();
    }

    /// Leaves out what was overtaken.
    fn tidy(&mut self) {
        let old = core::mem::take(self);
        let mut at = 0;
        for op in Ops::new(old.journal.octets()) {
            let op = op.expect("our own journal");
            if old.places.get(&op.key).is_some_and(|place| place.at == at) {
                self.put(&op);
            }
            at += op.size();
        }
    }
}

/// Cuts changes between two of them into pieces of at most so many octets, or of one change.
pub(super) fn pieces(mut changes: &[u8], bytes_max: usize) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let mut len = 0;
        for op in Ops::new(changes) {
            let size = op.expect("our own journal").size();
            if len > 0 && len + size > bytes_max {
                break;
            }
            len += size;
        }
        let (piece, rest) = changes.split_at(len);
        changes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(number: u64, value: &[u8]) -> Vec<u8> {
        let mut journal = Journal::default();
        journal.put(RecordKey::new(1, number), |out| out.extend_from_slice(value));
        journal.octets().to_vec()
    }

    fn delete(number: u64) -> Vec<u8> {
        let mut journal = Journal::default();
        journal.delete(RecordKey::new(1, number));
        journal.octets().to_vec()
    }

    #[test]
    fn of_each_record_the_last_change_is_left_in_the_order_of_these() {
        let mut backlog = Backlog::default();
        let stored = |key: RecordKey| (key.number() < 10).then_some(50);
        for changes in [
            put(20, b"came and went"),
            put(1, b"old"),
            put(21, b"stays"),
            put(2, b"on the disk"),
            put(1, b"new"),
            delete(20),
            delete(2),
            delete(3),
            delete(22),
        ] {
            backlog.add(&changes, stored);
        }
        let left = [put(21, b"stays"), put(1, b"new"), delete(2), delete(3)].concat();
        assert_eq!(backlog.changes(), left);
        assert_eq!(backlog.changes(), left);
        let balance = backlog.balance(stored);
        assert_eq!(balance, Balance { len: left.len() as u64, put: 17 + 15, freed: 150 });
    }

    #[test]
    fn pieces_end_between_two_changes() {
        let changes = [put(1, b"x"), delete(2), put(3, &[7; 100]), delete(4)].concat();
        let lens = |max| pieces(&changes, max).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(lens(1_000), [149]);
        assert_eq!(lens(30), [25, 112, 12]);
        assert_eq!(lens(1), [13, 12, 112, 12]);
        assert_eq!(pieces(&[], 10).count(), 0);
    }

    #[test]
    fn records_that_come_and_go_for_ever_take_no_memory() {
        let mut backlog = Backlog::default();
        backlog.add(&put(0, b"stays"), |_| None);
        for number in 1..10_000 {
            backlog.add(&put(number, &[7; 1_000]), |_| None);
            backlog.add(&put(number + 1, &[7; 1_000]), |_| None);
            backlog.add(&delete(number), |_| None);
        }
        assert!(backlog.memory() < 2 * SLACK_BYTES, "{}", backlog.memory());
        backlog.add(&delete(10_000), |_| None);
        assert_eq!(backlog.changes(), put(0, b"stays"));
    }
}
