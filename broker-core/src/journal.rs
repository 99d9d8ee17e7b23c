//! Durable changes as octets: what a store keeps, and what brings a broker back after a restart.
//!
//! State is a set of records, each a value under a key; a change puts a record, in place of the one
//! that was there, or deletes it. A [`Journal`] collects the changes of one turn in the order in
//! which they were made. Whoever replays all journals, or only the last change of every key, has
//! the records as they were.
//!
//! ```text
//! operation   key: u64 · length: u32 · value: `length` octets     all numbers little endian
//! deletion    key: u64 · 0xFFFFFFFF
//! ```

use core::fmt;

/// Octets of an operation before its value.
pub const OP_HEAD: usize = 12;

/// The length that means a deletion.
const DELETED: u32 = u32::MAX;

/// Names a record: a table in the highest 8 bits, below it the number of the record there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(pub u64);

impl RecordKey {
    /// The record with this number of a table.
    ///
    /// # Panics
    /// If the number needs more than 56 bits.
    pub const fn new(table: u8, number: u64) -> Self {
        assert!(number >> 56 == 0, "56 bits number the records of a table");
        Self((table as u64) << 56 | number)
    }

    /// The table.
    pub const fn table(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// The number within the table.
    pub const fn number(self) -> u64 {
        self.0 & (u64::MAX >> 8)
    }
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op<'a> {
    /// The record.
    pub key: RecordKey,
    /// Its value from now on; `None`: it is gone.
    pub value: Option<&'a [u8]>,
}

impl Op<'_> {
    /// Octets that it takes in a journal.
    pub fn size(&self) -> usize {
        OP_HEAD + self.value.map_or(0, <[u8]>::len)
    }
}

/// Changes in their order.
#[derive(Debug, Default)]
pub struct Journal {
    octets: Vec<u8>,
}

impl Journal {
    /// Puts a record; `write` appends its value.
    ///
    /// # Panics
    /// If the value has 4 GiB or more; packets are smaller.
    pub fn put(&mut self, key: RecordKey, write: impl FnOnce(&mut Vec<u8>)) {
        self.octets.extend_from_slice(&key.0.to_le_bytes());
        let at = self.octets.len();
        self.octets.extend_from_slice(&[0; 4]);
        write(&mut self.octets);
        let len = u32::try_from(self.octets.len() - at - 4).expect("values are shorter");
        assert!(len != DELETED, "values are shorter");
        self.octets[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Deletes a record; one that is not there is no error.
    pub fn delete(&mut self, key: RecordKey) {
        self.octets.extend_from_slice(&key.0.to_le_bytes());
        self.octets.extend_from_slice(&DELETED.to_le_bytes());
    }

    /// The changes so far.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Moves the changes so far behind those in `into`.
    pub fn drain_into(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.octets);
    }
}

/// The changes in a journal.
#[derive(Clone, Debug)]
pub struct Ops<'a> {
    rest: &'a [u8],
}

impl<'a> Ops<'a> {
    /// The changes in these octets.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, MalformedJournal>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let op = split(self.rest);
        self.rest = op.as_ref().map_or(&[], |(_, rest)| rest);
        Some(op.map(|(op, _)| op))
    }
}

fn split(octets: &[u8]) -> Result<(Op<'_>, &[u8]), MalformedJournal> {
    let (key, rest) = octets.split_first_chunk().ok_or(MalformedJournal)?;
    let (len, rest) = rest.split_first_chunk().ok_or(MalformedJournal)?;
    let key = RecordKey(u64::from_le_bytes(*key));
    let len = u32::from_le_bytes(*len);
    if len == DELETED {
        return Ok((Op { key, value: None }, rest));
    }
    let (value, rest) = rest.split_at_checked(len as usize).ok_or(MalformedJournal)?;
    Ok((Op { key, value: Some(value) }, rest))
}

/// Octets that are no journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedJournal;

impl fmt::Display for MalformedJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation ends beyond its journal")
    }
}

impl core::error::Error for MalformedJournal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let mut journal = Journal::default();
        journal.put(RecordKey::new(1, 7), |value| value.extend_from_slice(b"seven"));
        journal.delete(RecordKey::new(255, (1 << 56) - 1));
        journal.put(RecordKey::new(2, 0), |_| {});
        journal
    }

    #[test]
    fn a_journal_tells_its_changes_in_their_order() {
        let journal = journal();
        let ops: Vec<_> = Ops::new(journal.octets()).map(Result::unwrap).collect();
        let keys: Vec<_> = ops.iter().map(|op| (op.key.table(), op.key.number())).collect();
        let values: Vec<_> = ops.iter().map(|op| op.value).collect();
        assert_eq!(keys, [(1, 7), (255, (1 << 56) - 1), (2, 0)]);
        assert_eq!(values, [Some(&b"seven"[..]), None, Some(b"")]);
        assert_eq!(ops.iter().map(Op::size).sum::<usize>(), journal.octets().len());
    }

    #[test]
    fn a_journal_that_is_cut_within_a_change_is_malformed() {
        let journal = journal();
        let whole = [0, 17, 29, 41];
        for end in 0..journal.octets().len() {
            let is_whole = Ops::new(&journal.octets()[..end]).all(|op| op.is_ok());
            assert_eq!(is_whole, whole.contains(&end), "cut at {end}");
        }
    }
}
