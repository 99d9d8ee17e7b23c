//! The thread: one sync for all that waits, and word of it.

use std::sync::mpsc;
use std::time::Duration;

use broker_core::api::Lsn;
use mqtt_sn_gw::store::{Health, Store};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// A store, and what is told when it wakes the loop.
fn start(disk: &SimDisk) -> (Store, mpsc::Receiver<()>) {
    let (wake, woken) = mpsc::channel();
    let store = Store::start(reopen(disk).expect("a good log"), move || {
        let _ = wake.send(());
    });
    (store.expect("threads are there"), woken)
}

fn wait_for(store: &mut Store, woken: &mpsc::Receiver<()>, upto: Lsn) {
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
