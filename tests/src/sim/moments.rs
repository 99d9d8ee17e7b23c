//! What the records of the store were after each turn: every state that was, so that what a start
//! finds can be held against it.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use broker_core::api::Lsn;
use broker_core::journal::{Ops, RecordKey};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Moments {
    records: BTreeMap<RecordKey, u64>,
    /// Of all records, in any order.
    sum: u64,
    /// Since the last that is known to be safe, in this process: up to which number, and the sum.
    line: Vec<(Lsn, u64)>,
    /// Sums of all states that ever were, and all records that were put.
    past: HashSet<u64>,
    written: HashSet<u64>,
}

impl Moments {
    pub(crate) fn new() -> Self {
        Self { line: vec![(Lsn(0), 0)], past: HashSet::from([0]), ..Self::default() }
    }

    /// A turn hands over its changes.
    pub(crate) fn note(&mut self, upto: Lsn, changes: &[u8]) {
        if changes.is_empty() {
            return;
        }
        for op in Ops::new(changes) {
            let op = op.expect("a journal is well formed");
            let old = match op.value {
                Some(value) => {
                    let hash = hash(op.key, value);
                    self.written.insert(hash);
                    self.sum = self.sum.wrapping_add(hash);
                    self.records.insert(op.key, hash)
                }
                None => self.records.remove(&op.key),
            };
            self.sum = self.sum.wrapping_sub(old.unwrap_or(0));
        }
        self.past.insert(self.sum);
        self.line.push((upto, self.sum));
    }

    /// Changes up to this number are safe.
    pub(crate) fn is_safe(&mut self, upto: Lsn) {
        let later = self.line.iter().position(|(lsn, _)| *lsn > upto).unwrap_or(self.line.len());
        self.line.drain(..later.saturating_sub(1));
    }

    /// Whether these are the records of a moment since the last one that was safe.
    pub(crate) fn may_be_left(&self, records: &[(RecordKey, Vec<u8>)]) -> bool {
        let sum = sum(records);
        self.line.iter().any(|(_, it)| *it == sum)
    }

    /// Whether these were all the records at any time.
    pub(crate) fn were(&self, records: &[(RecordKey, Vec<u8>)]) -> bool {
        self.past.contains(&sum(records))
    }

    /// Whether each of these was a record at any time.
    pub(crate) fn were_written(&self, records: &[(RecordKey, Vec<u8>)]) -> bool {
        records.iter().all(|(key, value)| self.written.contains(&hash(*key, value)))
    }

    /// A new process goes on with these.
    pub(crate) fn go_on(&mut self, records: &[(RecordKey, Vec<u8>)]) {
        self.records = records.iter().map(|(key, value)| (*key, hash(*key, value))).collect();
        self.sum = sum(records);
        self.line = vec![(Lsn(0), self.sum)];
    }
}

fn sum(records: &[(RecordKey, Vec<u8>)]) -> u64 {
    records.iter().fold(0, |sum, (key, value)| sum.wrapping_add(hash(*key, value)))
}

fn hash(key: RecordKey, value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    hasher.finish()
}
