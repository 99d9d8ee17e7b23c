//! Faults about what is kept: records that come back otherwise than they were, and damage that
//! looks like none.

use broker_core::journal::{OP_HEAD, Ops};
use fastrand::Rng;

use super::Fault;
use crate::fuzz::store_replay::crc32;
use crate::sim::store::Records;

/// Deleted records that are remembered.
const BURIED_MAX: usize = 200;

/// Tables of what is kept, as broker and MQTT-SN machine number them.
mod table {
    pub(super) const MESSAGE: u8 = 1;
    pub(super) const SESSION: u8 = 2;
    pub(super) const SUBSCRIPTION: u8 = 3;
    pub(super) const DELIVERY: u8 = 4;
    pub(super) const RECEIVED: u8 = 6;
    pub(super) const RETAINED: u8 = 8;
    pub(super) const WILL: u8 = 9;
    pub(super) const CLIENT: u8 = 0x80;
    pub(super) const REGISTRATION: u8 = 0x81;
    pub(super) const STORE: u8 = 0xF0;
}

/// What was kept comes back otherwise than it was; `deleted` is what was kept no more.
pub(crate) fn spoil(fault: Fault, records: &mut Records, deleted: &Records, rng: &mut Rng) {
    let seldom = u32::try_from(records.len() / 20).unwrap_or(u32::MAX).max(2);
    match fault {
        Fault::ForgetRetained => lose(records, table::RETAINED, || rng.u32(..4) == 0),
        Fault::ForgetReceived => lose(records, table::RECEIVED, || true),
        Fault::ForgetWills => lose(records, table::WILL, || true),
        Fault::ForgetTopicIds => lose(records, table::REGISTRATION, || rng.bool()),
        Fault::ForgetSubscriptions => lose(records, table::SUBSCRIPTION, || rng.u32(..4) == 0),
        Fault::ForgetQueued => lose(records, table::DELIVERY, || rng.u32(..seldom) == 0),
        Fault::ForgetSessions => lose(records, table::SESSION, || rng.u32(..4) == 0),
        Fault::ForgetCleanEnd => lose(records, table::STORE, || true),
        Fault::ForgetSent => {
            // Format, flags, session, packet identifier: under way at QoS 2 becomes queued.
            let sent = records
                .iter_mut()
                .filter(|(key, value)| key.table() == table::DELIVERY && value[1] & 0x1B == 0x12);
            for (_, value) in sent {
                value[1] &= !0x18;
                value[6..8].fill(0);
            }
        }
        Fault::ForgetSleep => {
            let clients = records.iter_mut().filter(|(key, _)| key.table() == table::CLIENT);
            for (_, value) in clients.filter(|(_, value)| value[1] & 3 == 2) {
                // Active, and without a duration.
                value[1] ^= 3;
                value[5..7].fill(0);
            }
        }
        Fault::ForgetWillChanges => {
            for (key, value) in records.iter_mut().filter(|(key, _)| key.table() == table::WILL) {
                if let Some((_, before)) = deleted.iter().find(|(there, _)| there == key) {
                    value.clone_from(before);
                }
            }
        }
        Fault::ForgetDeletions => {
            for (key, value) in deleted {
                if !records.iter().any(|(there, _)| there == key) {
                    records.push((*key, value.clone()));
                }
            }
            records.sort_by_key(|(key, _)| key.table());
        }
        _ => records.iter_mut().for_each(|(key, value)| spoil_five(fault, key.table(), value)),
    }
}

/// What was kept comes back without what MQTT 5.0 has added.
fn spoil_five(fault: Fault, table: u8, value: &mut Vec<u8>) {
    match (fault, table) {
        // Format, flags, expires, within; topic length, properties length, both, payload.
        (Fault::ForgetExpiryOfMessages, table::MESSAGE) if value[1] & 0x08 != 0 => {
            value.drain(2..14);
            value[1] &= !0x18;
        }
        (Fault::ForgetProperties, table::MESSAGE) => {
            let texts = if value[1] & 0x08 != 0 { 14 } else { 2 };
            let topic = usize::from(u16::from_le_bytes([value[texts], value[texts + 1]]));
            let length = usize::from(value[texts + 2]);
            let begin = texts + 6 + topic;
            value.drain(begin..begin + length);
            value[texts + 2] = 0;
        }
        // Format, dialect, overflow, expiry.
        (Fault::ForgetExpiryOfSessions, table::SESSION) => {
            value[3..7].copy_from_slice(&[0, 0, 8, 0]);
        }
        // Format, flags, state, session, delay.
        (Fault::ForgetDelayOfWills, table::WILL) => value[7..11].fill(0),
        _ => {}
    }
}

/// Notes what some records were before, for faults that bring them back: subscriptions as they were
/// put last, and wills as they were put first.
pub(crate) fn bury(fault: Fault, changes: &[u8], deleted: &mut Records) {
    let ops = Ops::new(changes).filter_map(Result::ok);
    let puts = ops.filter_map(|op| Some((op.key, op.value?.to_vec())));
    if fault == Fault::ForgetWillChanges {
        for put in puts.filter(|(key, _)| key.table() == table::WILL) {
            if !deleted.iter().any(|(key, _)| *key == put.0) {
                deleted.push(put);
            }
        }
        return;
    }
    for put in puts.filter(|(key, _)| key.table() < table::CLIENT) {
        deleted.retain(|(key, _)| *key != put.0);
        deleted.push(put);
    }
    deleted.drain(..deleted.len().saturating_sub(BURIED_MAX));
}

/// Puts the checksum of the frame right that has the octet at `at`, if that is one of its changes.
pub(crate) fn seal(octets: &mut [u8], at: usize) {
    let len_at = |octets: &[u8], from: usize| {
        let len = octets.get(from + 4..from + 8)?;
        Some(28 + u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize)
    };
    let mut from = 40;
    while let Some(len) = len_at(octets, from).filter(|len| from + len <= octets.len()) {
        if (from + 28 + OP_HEAD..from + len).contains(&at) {
            let covered = [&octets[from + 4..from + 8], &octets[from + 12..from + len]].concat();
            octets[from + 8..from + 12].copy_from_slice(&crc32(&covered).to_le_bytes());
        }
        from += len;
    }
}

fn lose(records: &mut Records, table: u8, mut is_lost: impl FnMut() -> bool) {
    records.retain(|(key, _)| key.table() != table || !is_lost());
}
