//! Broker, MQTT-SN machine and store together: what becomes of what is kept.
//!
//! These are the steps of the server between its phases, without the server: the simulator takes
//! them, too. Nothing here waits.

use std::error::Error;

use broker_core::api::Lsn;
use broker_core::journal::{Journal, RecordKey};
use broker_core::time::Now;
use broker_core::{Broker, RestoreReport};

use crate::config::OnDiskFull;
use crate::sn::SnGateway;
use crate::store::Health;

/// The record that tells that the last process ended in order. Tables from 0xF0 on are the store's.
pub const CLEAN_END: RecordKey = RecordKey::new(0xF0, 0);

/// Brings records back, one by one, and then the whole to life.
#[derive(Debug, Default)]
pub struct Restoring {
    was_clean: bool,
}

impl Restoring {
    /// Takes a record; they come by table.
    ///
    /// # Errors
    /// It is none of this program.
    pub fn take(
        &mut self,
        now: Now,
        (key, value): (RecordKey, &[u8]),
        broker: &mut Broker,
        sn: &mut SnGateway,
    ) -> Result<(), Box<dyn Error>> {
        match key.table() {
            0..0x80 => broker.restore(now, key, value)?,
            0x80..0xF0 => sn.restore(now, key, value)?,
            _ => self.was_clean |= key == CLEAN_END,
        }
        Ok(())
    }

    /// All records have come. The changes that this makes, and that an end is not in order until it
    /// was, are the first of the new process.
    pub fn finish(
        self,
        now: Now,
        broker: &mut Broker,
        sn: &mut SnGateway,
        changes: &mut Vec<u8>,
    ) -> RestoreReport {
        // Sensors first: those that are linked again have lost nothing.
        sn.finish_restore(now, broker);
        let report = broker.finish_restore(now, self.was_clean);
        let mut journal = Journal::default();
        journal.delete(CLEAN_END);
        journal.drain_into(changes);
        report
    }
}

/// Appends the changes of a turn to `into`, and returns the number up to which they go.
pub fn take_changes(broker: &mut Broker, sn: &mut SnGateway, into: &mut Vec<u8>) -> Lsn {
    if sn.has_changes() {
        broker.note_change();
    }
    let upto = broker.take_journal(into);
    sn.take_journal(into, upto);
    upto
}

/// The last change of a process that ends in order.
pub fn clean_end(changes: &mut Vec<u8>) {
    let mut journal = Journal::default();
    journal.put(CLEAN_END, |value| value.push(1));
    journal.drain_into(changes);
}

/// Lets go what waited for the disk, as far as that has come.
pub fn hear_store(
    (upto, health): (Lsn, Health),
    on_disk_full: OnDiskFull,
    broker: &mut Broker,
    sn: &mut SnGateway,
) {
    let is_well = health == Health::Ok;
    broker.committed(upto);
    sn.committed(upto);
    match on_disk_full {
        // What cannot be kept is refused, where the client can be told.
        OnDiskFull::Refuse => broker.set_refusing(!is_well),
        // The store is well when all that waited is safe: answers before that promised nothing.
        OnDiskFull::Degrade => {
            broker.set_gated(is_well);
            sn.set_gated(is_well);
        }
    }
}

/// How a store is, in a word; `None`: there is none.
pub const fn health_word(health: Option<Health>, on_disk_full: OnDiskFull) -> &'static str {
    match (health, on_disk_full) {
        (None, _) => "memory",
        (Some(Health::Ok), _) => "ok",
        (Some(Health::Full | Health::Failed), OnDiskFull::Degrade) => "degraded",
        (Some(Health::Full), OnDiskFull::Refuse) => "full",
        (Some(Health::Failed), OnDiskFull::Refuse) => "failed",
    }
}
