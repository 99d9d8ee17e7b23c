//! A disk that refuses: nothing is promised that is not safe, and it goes on when the disk does.

use std::io::ErrorKind;

use mqtt_sn_gw::store::disk::Disk as _;

use super::*;

/// Every operation of a history fails once, in each of these ways.
#[test]
fn after_any_failure_the_same_changes_can_be_made_again() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for at in 0..100 {
            let mut rng = fastrand::Rng::with_seed(u64::from(at));
            let disk = SimDisk::default();
            let mut log = reopen(&disk).expect("an empty disk");
            disk.fail_in(at, kind, false);
            let mut model = Model::new();
            for _ in 0..40 {
                let changes = changes(&mut rng, &mut model);
                let appended = std::iter::repeat_with(|| log.append(&changes)).take(3);
                assert!(appended.into_iter().any(|result| result.is_ok()), "{kind} at {at}");
                if !(0..3).any(|_| log.sync().is_ok()) {
                    panic!("{kind} at {at}: a disk that failed once is given up");
                }
                // What was synced is safe, also after a sync that failed before.
                let mut left = reopen(&disk.after_power_loss(&mut rng))
                    .unwrap_or_else(|error| panic!("{kind} at {at}: {error}"));
                assert_eq!(records(&mut left), model, "{kind} at {at}");
                let _ = log.compact();
            }
            assert!(disk.operations() > at.into(), "the history is longer than that");
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_takes_more_when_there_is_room() {
    let mut rng = fastrand::Rng::with_seed(3);
    let disk = SimDisk::default();
    let mut log = reopen(&disk).expect("an empty disk");
    let mut model = Model::new();
    disk.set_room(Some(2_000));
    let refused = loop {
        let mut next = model.clone();
        let changes = changes(&mut rng, &mut next);
        if let Err(error) = log.append(&changes).and_then(|()| log.sync()) {
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            break (changes, next);
        }
        model = next;
    };
    let left = disk.after_power_loss(&mut rng);
    left.heal();
    assert_eq!(records(&mut reopen(&left).expect("a torn end is cut")), model);
    disk.heal();
    let (changes, next) = refused;
    log.append(&changes).expect("there is room again");
    log.sync().expect("there is room again");
    assert_eq!(records(&mut reopen(&disk).expect("a good log")), next);
}

/// After a sync that failed the rest goes to a new file, for which there may be no room.
#[test]
fn a_disk_that_fails_and_is_full_then_gets_one_new_file_and_is_counted_right() {
    let disk = SimDisk::default();
    let mut log = reopen(&disk).expect("an empty disk");
    let mut model = Model::new();
    let mut put = |number: u64| {
        let mut journal = Journal::default();
        let (key, value) = (RecordKey::new(1, number), vec![7; 200]);
        journal.put(key, |into| into.extend_from_slice(&value));
        model.insert(key, value);
        journal.octets().to_vec()
    };
    log.append(&put(1)).expect("the disk works");
    log.sync().expect("the disk works");
    log.append(&put(2)).expect("the disk works");
    disk.fail_in(0, ErrorKind::Other, false);
    log.sync().expect_err("once");
    // The head of a file is larger, so that there is room for it and not for what follows.
    disk.set_room(Some(10));
    for _ in 0..5 {
        log.sync().expect_err("there is no room");
        assert_eq!(disk.names().len(), 2);
        assert!(log.live_bytes() <= log.bytes(), "{} of {}", log.live_bytes(), log.bytes());
        assert!(!log.can_shrink(u64::MAX));
    }
    disk.heal();
    log.sync().expect("the disk works");
    let size = |name: &String| disk.read(name).expect("it is there").len() as u64;
    assert_eq!(log.bytes(), disk.names().iter().map(size).sum::<u64>());
    assert_eq!(records(&mut log), model);
    assert_eq!(records(&mut reopen(&disk).expect("a good log")), model);
}
