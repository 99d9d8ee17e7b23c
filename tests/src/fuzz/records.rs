//! Records of a broker as a store holds them, and what two sets of them have in common.
//!
//! The little that is known here of their layout stands in `broker-core/src/record.rs`.

use std::collections::BTreeMap;

use broker_core::journal::Ops;
use broker_core::time::Now;
use broker_core::{Broker, SnapshotCursor};

/// Records by key.
pub(super) type Kept = BTreeMap<u64, Vec<u8>>;

pub(super) const MESSAGES: u64 = 1;
const DELIVERIES: u64 = 4;
const WINDOWS: u64 = 7;
pub(super) const RETAINED: u64 = 8;
const WILLS: u64 = 9;

/// Applies a journal.
pub(super) fn apply(journal: &[u8], kept: &mut Kept) {
    for op in Ops::new(journal) {
        let op = op.expect("a good journal");
        match op.value {
            Some(value) => drop(kept.insert(op.key.0, value.to_vec())),
            None => drop(kept.remove(&op.key.0)),
        }
    }
}

/// All that is to be kept of a broker.
pub(super) fn of_broker(broker: &mut Broker, now: Now) -> Kept {
    let (mut journal, mut kept) = (Vec::new(), Kept::new());
    let mut cursor = SnapshotCursor::default();
    while broker.snapshot(now, &mut cursor, 100, &mut journal) {}
    apply(&journal, &mut kept);
    kept
}

/// Records without what may be said in more than one way: the last packet identifier is also that
/// of a delivery, what a retained message stands in front of may have gone meanwhile, and the time
/// that a message has left is that of the moment in which the record was made.
pub(super) fn comparable(kept: &Kept) -> Kept {
    let kept = kept.iter().filter(|(key, _)| *key >> 56 != WINDOWS);
    kept.map(|(key, value)| (*key, forget_moment(key >> 56, value.clone()))).collect()
}

/// The same without the numbers of deliveries and wills, which only tell their order.
pub(super) fn meaning(kept: &Kept) -> Vec<(u64, Vec<u8>)> {
    let comparable = comparable(kept).into_iter();
    let mut meaning: Vec<_> = comparable
        .map(|(key, value)| {
            let is_order = [DELIVERIES, WILLS].contains(&(key >> 56));
            (if is_order { key >> 56 << 56 } else { key }, value)
        })
        .collect();
    meaning.sort();
    meaning
}

fn forget_moment(table: u64, mut value: Vec<u8>) -> Vec<u8> {
    /// A bit of the flags of a message.
    const HAS_WITHIN: u8 = 1 << 4;
    /// Bits of the flags of a delivery.
    const IS_SHARED: u8 = 1 << 5;
    const IS_AHEAD: u8 = 1 << 6;
    if table == MESSAGES && value[1] & HAS_WITHIN != 0 {
        value[10..14].fill(0);
    }
    if table == DELIVERIES && value[1] & IS_AHEAD != 0 {
        let at = if value[1] & IS_SHARED == 0 { 16 } else { 24 };
        value[at..at + 8].fill(0);
    }
    value
}
