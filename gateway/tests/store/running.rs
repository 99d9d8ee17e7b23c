//! The thread: one sync for all that waits, and word of it.

use std::sync::mpsc;
use std::time::Duration;

use broker_core::api::Lsn;
use broker_core::journal::{Journal, RecordKey};
use mqtt_sn_gw::store::{Health, Store};

use super::*;

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A store, and what is told when it wakes the loop.
pub(crate) fn start(disk: &SimDisk) -> (Store, mpsc::Receiver<()>) {
    start_complaining(disk, |_| {})
}

pub(crate) fn start_complaining(
    disk: &SimDisk,
    complain: impl Fn(&std::io::Error) + Send + 'static,
) -> (Store, mpsc::Receiver<()>) {
    let (wake, woken) = mpsc::channel();
    let wake = move || {
        let _ = wake.send(());
    };
    let store = Store::start(reopen(disk).expect("a good log"), wake, complain);
    (store.expect("threads are there"), woken)
}

pub(crate) fn wait_for(store: &mut Store, woken: &mpsc::Receiver<()>, upto: Lsn) {
    while store.committed() < upto {
        woken.recv_timeout(SOON).expect("the store wakes the loop");
        store.submit(upto, &mut Vec::new());
    }
}

#[test]
fn what_is_told_to_be_safe_survives_a_power_loss() {
    let mut rng = fastrand::Rng::with_seed(1);
    let disk = SimDisk::default();
    let (mut store, woken) = start(&disk);
    let mut model = Model::new();
    for lsn in 1..200 {
        store.submit(Lsn(lsn), &mut changes(&mut rng, &mut model));
        if lsn % 17 == 0 {
            wait_for(&mut store, &woken, Lsn(lsn));
            let mut left = reopen(&disk.after_power_loss(&mut rng)).expect("a torn end is cut");
            assert_eq!(records(&mut left), model);
        }
    }
    assert!(store.close());
    assert_eq!(records(&mut reopen(&disk).expect("a good log")), model);
}

#[test]
fn a_disk_that_refuses_is_told_and_tried_again() {
    let mut rng = fastrand::Rng::with_seed(2);
    let disk = SimDisk::default();
    let (mut store, woken) = start(&disk);
    let mut model = Model::new();
    disk.fail_in(0, std::io::ErrorKind::StorageFull, true);
    store.submit(Lsn(1), &mut changes(&mut rng, &mut model));
    woken.recv_timeout(SOON).expect("a failure wakes the loop");
    assert_eq!((store.health(), store.committed()), (Health::Full, Lsn(0)));
    assert!(store.backlog_bytes() > 0);
    disk.heal();
    wait_for(&mut store, &woken, Lsn(1));
    store.submit(Lsn(2), &mut changes(&mut rng, &mut model));
    wait_for(&mut store, &woken, Lsn(2));
    assert_eq!((store.health(), store.backlog_bytes()), (Health::Ok, 0));
    assert!(store.close());
    assert_eq!(records(&mut reopen(&disk).expect("a good log")), model);
}

#[test]
fn the_end_does_not_wait_for_a_disk_that_refuses_for_ever() {
    let mut rng = fastrand::Rng::with_seed(3);
    let disk = SimDisk::default();
    let (mut store, woken) = start(&disk);
    disk.fail_in(0, std::io::ErrorKind::Other, true);
    // More than the channel holds.
    for lsn in 1..200 {
        store.submit(Lsn(lsn), &mut changes(&mut rng, &mut Model::new()));
    }
    woken.recv_timeout(SOON).expect("a failure wakes the loop");
    assert_eq!(store.health(), Health::Failed);
    assert!(!store.close(), "it must not be told that all is safe");
}

/// What came and went while the disk took nothing leaves nothing, and the rest comes at once.
#[test]
fn what_waits_for_a_disk_that_refuses_is_what_differs_from_it() {
    for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other] {
        let mut rng = fastrand::Rng::with_seed(4);
        let disk = SimDisk::default();
        let (complain, complaints) = mpsc::channel();
        let (mut store, woken) = start_complaining(&disk, move |error| {
            let _ = complain.send(error.kind());
        });
        let mut model = Model::new();
        store.submit(Lsn(1), &mut changes(&mut rng, &mut model));
        wait_for(&mut store, &woken, Lsn(1));
        let safe = model.clone();
        disk.fail_in(0, kind, true);
        // Five mebibytes in all.
        for lsn in 2..5_000 {
            let mut changes = changes(&mut rng, &mut model);
            let (key, value) = (RecordKey::new(3, 99), vec![7; 1_000]);
            let mut journal = Journal::default();
            journal.put(key, |out| out.extend_from_slice(&value));
            journal.drain_into(&mut changes);
            model.insert(key, value);
            store.submit(Lsn(lsn), &mut changes);
        }
        assert_eq!(complaints.recv_timeout(SOON), Ok(kind));
        assert_eq!(store.committed(), Lsn(1));
        // Once all has been looked at, little more than the records of the model are left.
        let is_small = |bytes: u64| bytes < 3 << 19;
        while !is_small(store.backlog_bytes()) {
            woken.recv_timeout(Duration::from_millis(50)).ok();
            store.submit(Lsn(5_000), &mut Vec::new());
        }
        let mut left = reopen(&disk.after_power_loss(&mut rng)).expect("a torn end is cut");
        assert_eq!(records(&mut left), safe);
        disk.heal();
        wait_for(&mut store, &woken, Lsn(4_999));
        while store.health() != Health::Ok {
            woken.recv_timeout(SOON).expect("the store wakes the loop");
        }
        assert_eq!(store.backlog_bytes(), 0);
        let mut left = reopen(&disk.after_power_loss(&mut rng)).expect("a torn end is cut");
        assert_eq!(records(&mut left), model);
        // Soon it fails once more.
        disk.fail_in(0, kind, true);
        store.submit(Lsn(5_000), &mut changes(&mut rng, &mut model));
        while store.health() == Health::Ok {
            woken.recv_timeout(SOON).expect("a failure wakes the loop");
        }
        disk.heal();
        wait_for(&mut store, &woken, Lsn(5_000));
        assert_eq!(complaints.try_recv(), Err(mpsc::TryRecvError::Empty), "one in a minute");
        assert!(store.close());
    }
}

/// A disk that fails again and again, at any operation.
#[test]
fn a_disk_that_comes_and_goes_loses_nothing_that_was_told_to_be_safe() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::default();
        let (mut store, woken) = start(&disk);
        let (mut model, mut lsn) = (Model::new(), 0);
        for round in 0..10 {
            let kind = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other][round % 2];
            disk.fail_in(rng.u32(..8), kind, rng.bool());
            for _ in 0..rng.u32(1..30) {
                lsn += 1;
                store.submit(Lsn(lsn), &mut changes(&mut rng, &mut model));
            }
            disk.heal();
            wait_for(&mut store, &woken, Lsn(lsn));
            let mut left = reopen(&disk.after_power_loss(&mut rng)).expect("a torn end is cut");
            assert_eq!(records(&mut left), model, "seed {seed}, round {round}");
        }
        assert!(store.close());
    }
}

#[test]
fn what_was_written_and_not_synced_is_not_told_to_be_safe_at_the_end() {
    let mut rng = fastrand::Rng::with_seed(6);
    let disk = SimDisk::default();
    let (mut store, woken) = start(&disk);
    store.submit(Lsn(1), &mut changes(&mut rng, &mut Model::new()));
    wait_for(&mut store, &woken, Lsn(1));
    // The append succeeds, the sync and all that follows does not.
    disk.fail_in(1, std::io::ErrorKind::Other, true);
    store.submit(Lsn(2), &mut changes(&mut rng, &mut Model::new()));
    woken.recv_timeout(SOON).expect("a failure wakes the loop");
    assert!(!store.close());
}

/// What a sync failed for is neither safe nor gone.
#[test]
fn what_was_written_and_not_synced_goes_on_waiting() {
    let mut rng = fastrand::Rng::with_seed(8);
    let disk = SimDisk::default();
    let (mut store, woken) = start(&disk);
    // A file is made and appended to; then comes the sync.
    disk.fail_in(6, std::io::ErrorKind::Other, true);
    let mut first = changes(&mut rng, &mut Model::new());
    let bytes = first.len() as u64;
    store.submit(Lsn(1), &mut first);
    woken.recv_timeout(SOON).expect("a failure wakes the loop");
    assert_eq!((store.health(), store.committed()), (Health::Failed, Lsn(0)));
    assert_eq!((store.backlog_bytes(), store.stats().changed_bytes), (bytes, 0));
    disk.heal();
    wait_for(&mut store, &woken, Lsn(1));
    assert_eq!((store.backlog_bytes(), store.stats().changed_bytes), (0, bytes));
}
