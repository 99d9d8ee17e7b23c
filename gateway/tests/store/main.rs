//! The store on a disk that loses, tears and refuses.

mod damage;
mod need;
mod power;
mod refusals;
mod room;
mod running;

use std::collections::BTreeMap;

use broker_core::journal::{Journal, RecordKey};
use mqtt_sn_gw::store::testing::SimDisk;
use mqtt_sn_gw::store::{Log, LogConfig, OpenError, open};

/// Records as they should be.
type Model = BTreeMap<RecordKey, Vec<u8>>;

/// What is held for a disk that is full.
const RESERVE: usize = 10_000;

/// Small files, and compaction as soon as it pays.
const SMALL: LogConfig = LogConfig { file_bytes: 600, slack_bytes: 200, reserve_bytes: RESERVE };

/// A frame of changes: some records put, some deleted.
fn changes(rng: &mut fastrand::Rng, model: &mut Model) -> Vec<u8> {
    let mut journal = Journal::default();
    for _ in 0..rng.usize(1..6) {
        let key = RecordKey::new(rng.u8(1..4), rng.u64(..20));
        if rng.u8(..3) == 0 {
            journal.delete(key);
            model.remove(&key);
        } else {
            let value: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
            journal.put(key, |out| out.extend_from_slice(&value));
            model.insert(key, value);
        }
    }
    journal.octets().to_vec()
}

/// The records of a log.
fn records(log: &mut Log<SimDisk>) -> Model {
    let mut records = Model::new();
    let mut table = 0;
    log.for_each_record::<std::io::Error>(|key, value| {
        assert!(key.table() >= table, "tables come in order");
        table = key.table();
        assert_eq!(records.insert(key, value.to_vec()), None, "each record comes once");
        Ok(())
    })
    .expect("the disk reads");
    records
}

fn reopen(disk: &SimDisk) -> Result<Log<SimDisk>, OpenError> {
    open(disk.clone(), SMALL).map(|(log, _)| log)
}
