//! A store that fills its disk, and gets room again by what is not needed any more.

use std::io::ErrorKind;
use std::time::Duration;

use broker_core::api::Lsn;
use broker_core::journal::{Journal, RecordKey};
use mqtt_sn_gw::store::testing::SimDisk;
use mqtt_sn_gw::store::{Health, Store};

use super::running::{SOON, start, wait_for};
use super::{Model, RESERVE, records, reopen};

const ROOM: usize = RESERVE + 20_000;

fn put(number: u64, model: &mut Model) -> Vec<u8> {
    let (key, value) = (RecordKey::new(1, number), vec![7; 500]);
    let mut journal = Journal::default();
    journal.put(key, |out| out.extend_from_slice(&value));
    model.insert(key, value);
    journal.octets().to_vec()
}

fn put_small(number: u64, model: &mut Model) -> Vec<u8> {
    let mut journal = Journal::default();
    journal.put(RecordKey::new(1, number), |out| out.extend_from_slice(b"small"));
    model.insert(RecordKey::new(1, number), b"small".to_vec());
    journal.octets().to_vec()
}

fn delete(numbers: core::ops::Range<u64>, model: &mut Model) -> Vec<u8> {
    let mut journal = Journal::default();
    for key in numbers.map(|number| RecordKey::new(1, number)) {
        journal.delete(key);
        model.remove(&key);
    }
    journal.octets().to_vec()
}

/// A store that holds its reserve, on a disk that it has filled but for that.
struct Full {
    disk: SimDisk,
    store: Store,
    woken: std::sync::mpsc::Receiver<()>,
    /// What was told to be safe, and what was handed over.
    safe: Model,
    model: Model,
    last: u64,
}

impl Full {
    fn new() -> Self {
        let disk = SimDisk::default();
        disk.set_room(Some(ROOM));
        reopen(&disk).expect("a good log").take_reserve().expect("there is room");
        let (mut store, woken) = start(&disk);
        let (mut model, mut safe, mut last) = (Model::new(), Model::new(), 0);
        while store.health() == Health::Ok {
            last += 1;
            store.submit(Lsn(last), &mut put(last, &mut model));
            while store.committed() < Lsn(last) && store.health() == Health::Ok {
                woken.recv_timeout(SOON).expect("the store wakes the loop");
            }
            if store.committed() == Lsn(last) {
                safe = model.clone();
            }
        }
        assert_eq!(store.health(), Health::Full);
        assert!(last > 20, "{last}");
        Self { disk, store, woken, safe, model, last }
    }
}

/// What would be there if the power failed now.
fn left(disk: &SimDisk) -> Model {
    let left = disk.after_power_loss(&mut fastrand::Rng::with_seed(7));
    records(&mut reopen(&left).expect("a torn end is cut"))
}

#[test]
fn a_full_disk_has_room_again_when_enough_is_not_needed_any_more() {
    let mut full = Full::new();
    assert_eq!(left(&full.disk), full.safe);
    let (first, last) = (1, full.last);
    full.store.submit(Lsn(last + 1), &mut delete(first..last - 5, &mut full.model));
    wait_for(&mut full.store, &full.woken, Lsn(last + 1));
    while full.store.health() != Health::Ok {
        full.woken.recv_timeout(SOON).expect("the store wakes the loop");
    }
    assert_eq!(left(&full.disk), full.model);
    assert!(full.disk.names().iter().any(|name| name == "reserve"), "{:?}", full.disk.names());
    for number in last + 2..last + 10 {
        full.store.submit(Lsn(number), &mut put(number, &mut full.model));
        wait_for(&mut full.store, &full.woken, Lsn(number));
    }
    assert_eq!(full.store.health(), Health::Ok);
    assert!(full.store.close());
    assert_eq!(left(&full.disk), full.model);
}

/// Of many small records the deletions alone are more than the reserve: what is left of them is
/// written in the place of all.
#[test]
fn a_full_disk_has_room_again_when_the_deletions_would_not_fit() {
    let disk = SimDisk::default();
    disk.set_room(Some(5 * RESERVE));
    reopen(&disk).expect("a good log").take_reserve().expect("there is room");
    let (mut store, woken) = start(&disk);
    let (mut model, mut last) = (Model::new(), 0);
    while store.health() == Health::Ok {
        last += 1;
        let numbers = last * 50..(last + 1) * 50;
        let mut changes: Vec<u8> =
            numbers.flat_map(|number| put_small(number, &mut model)).collect();
        store.submit(Lsn(last), &mut changes);
        while store.committed() < Lsn(last) && store.health() == Health::Ok {
            woken.recv_timeout(SOON).expect("the store wakes the loop");
        }
    }
    let count = last * 50;
    assert!(12 * count > RESERVE as u64, "{count}");
    store.submit(Lsn(last + 1), &mut delete(50..50 + count - 5, &mut model));
    wait_for(&mut store, &woken, Lsn(last + 1));
    while store.health() != Health::Ok {
        woken.recv_timeout(SOON).expect("the store wakes the loop");
    }
    assert_eq!((left(&disk), model.len()), (model, 5));
    assert!(disk.names().iter().any(|name| name == "reserve"), "{:?}", disk.names());
}

/// The reserve is not for what would fill it.
#[test]
fn the_reserve_is_not_spent_on_more_records() {
    let mut full = Full::new();
    for number in full.last + 1..full.last + 100 {
        full.store.submit(Lsn(number), &mut put(number, &mut full.model));
    }
    // Some attempts later.
    let failures = full.store.stats().failures;
    while full.store.stats().failures < failures + 3 {
        let _ = full.woken.recv_timeout(Duration::from_millis(20));
    }
    assert!(full.disk.names().iter().any(|name| name == "reserve"), "{:?}", full.disk.names());
    assert_eq!(left(&full.disk), full.safe);
    full.disk.heal();
    wait_for(&mut full.store, &full.woken, Lsn(full.last + 99));
    assert!(full.store.close());
    assert_eq!(left(&full.disk), full.model);
}

#[test]
fn a_reserve_is_whole_or_not_there() {
    let disk = SimDisk::default();
    let mut log = reopen(&disk).expect("an empty disk");
    disk.set_room(Some(RESERVE - 1));
    let error = log.take_reserve().expect_err("too little room");
    assert_eq!((error.kind(), disk.names().len()), (ErrorKind::StorageFull, 0));
    disk.set_room(Some(RESERVE));
    for _ in 0..2 {
        log.take_reserve().expect("there is room");
    }
    assert_eq!(disk.names(), ["reserve"]);
}
