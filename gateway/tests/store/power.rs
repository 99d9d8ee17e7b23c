//! Whatever the moment at which the power fails: what was synced is there, and nothing else that
//! was not appended.

use mqtt_sn_gw::store::disk::Disk as _;
use mqtt_sn_gw::store::testing::Death;

use super::*;

/// Appends, syncs, compacts and rewrites at random, and loses the power after each of them.
#[test]
fn after_a_power_loss_the_records_are_those_of_a_moment_since_the_last_sync() {
    let rounds = if cfg!(debug_assertions) { 60 } else { 600 };
    for seed in 0..rounds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::default();
        let mut log = reopen(&disk).expect("an empty disk");
        let mut model = Model::new();
        // The states since the last sync: any of them may be found.
        let mut moments = vec![model.clone()];
        for step in 0..120 {
            match rng.u8(..14) {
                0 => {
                    log.rewrite(&changes(&mut rng, &mut model)).expect("the disk works");
                    moments.push(model.clone());
                }
                1 => while log.make_room(u64::MAX, u32::MAX).expect("the disk works") {},
                2..=6 => {
                    log.append(&changes(&mut rng, &mut model)).expect("the disk works");
                    moments.push(model.clone());
                }
                7..=10 => {
                    log.sync().expect("the disk works");
                    moments = vec![model.clone()];
                }
                _ => {
                    log.compact().expect("the disk works");
                }
            }
            let mut left = reopen(&disk.after_power_loss(&mut rng))
                .unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            let found = records(&mut left);
            assert!(moments.contains(&found), "seed {seed}, step {step}");
            assert_eq!(left.records(), found.len());
        }
        assert_eq!(records(&mut log), model, "seed {seed}");
    }
}

/// The power fails before the head of a new file is synced: octets of it are there, or zeros.
#[test]
fn a_file_that_was_being_made_is_no_damage() {
    let mut rng = fastrand::Rng::with_seed(5);
    for len in 0..=40 {
        let mut disk = SimDisk::default();
        let mut log = reopen(&disk).expect("an empty disk");
        let mut model = Model::new();
        log.append(&changes(&mut rng, &mut model)).expect("the disk works");
        log.sync().expect("the disk works");
        disk.create("0000000002.log").expect("the disk works");
        disk.append("0000000002.log", &vec![0; len]).expect("the disk works");
        let mut left = reopen(&disk).unwrap_or_else(|error| panic!("{len} octets: {error}"));
        assert_eq!(records(&mut left), model, "{len} octets");
        left.append(&changes(&mut rng, &mut model)).expect("the disk works");
        assert_eq!(records(&mut reopen(&disk).expect("a good log")), model, "{len} octets");
    }
}

/// A process is killed at any operation of a compaction, the next one goes on with it, and loses
/// the power.
#[test]
fn a_compaction_that_was_cut_short_twice_harms_nothing() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new(rng.fork());
        let mut log = reopen(&disk).expect("an empty disk");
        let mut model = Model::new();
        for _ in 0..40 {
            log.append(&changes(&mut rng, &mut model)).expect("the disk works");
            log.sync().expect("the disk works");
        }
        disk.die_in(Some(rng.u32(..60)));
        while log.compact().and_then(|more| log.sync().map(|()| more)).is_ok_and(|more| more) {}
        disk.end(Death::Kill);
        let mut log = reopen(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        while log.compact().expect("the disk works") {
            log.sync().expect("the disk works");
            let left = disk.after_power_loss(&mut rng);
            let mut left = reopen(&left).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(records(&mut left), model, "seed {seed}");
        }
        log.sync().expect("the disk works");
        let left = disk.after_power_loss(&mut rng);
        let mut left = reopen(&left).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(records(&mut left), model, "seed {seed}");
    }
}

/// A store that comes back goes on where it was, many times.
#[test]
fn a_log_that_was_torn_goes_on_from_what_is_left() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut disk = SimDisk::default();
        for _ in 0..15 {
            let mut log = reopen(&disk).expect("a torn end is cut");
            let mut model = records(&mut log);
            for _ in 0..rng.usize(1..10) {
                log.append(&changes(&mut rng, &mut model)).expect("the disk works");
                log.compact().expect("the disk works");
            }
            log.sync().expect("the disk works");
            let mut unsynced = model.clone();
            log.append(&changes(&mut rng, &mut unsynced)).expect("the disk works");
            disk = disk.after_power_loss(&mut rng);
            let found = records(&mut reopen(&disk).expect("a torn end is cut"));
            assert!(found == model || found == unsynced, "seed {seed}");
        }
    }
}

/// What is read at the start is served and acknowledged from then on, whether a process before has
/// come to sync it or not.
#[test]
fn what_a_killed_process_has_appended_is_safe_when_it_is_read() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::default();
        let mut model = Model::new();
        let mut log = reopen(&disk).expect("an empty disk");
        for _ in 0..rng.usize(1..30) {
            log.append(&changes(&mut rng, &mut model)).expect("the disk works");
        }
        drop(log);
        let mut log = reopen(&disk).expect("nothing is lost with a process");
        assert_eq!(records(&mut log), model, "seed {seed}");
        let mut left = reopen(&disk.after_power_loss(&mut rng))
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(records(&mut left), model, "seed {seed}");
    }
}

#[test]
fn a_log_is_never_much_larger_than_twice_what_lives() {
    let mut rng = fastrand::Rng::with_seed(7);
    let disk = SimDisk::default();
    let mut log = reopen(&disk).expect("an empty disk");
    let mut model = Model::new();
    for _ in 0..2_000 {
        log.append(&changes(&mut rng, &mut model)).expect("the disk works");
        log.sync().expect("the disk works");
        while log.compact().expect("the disk works") {}
        let bound = 2 * log.live_bytes() + SMALL.slack_bytes + 4 * SMALL.file_bytes;
        assert!(log.bytes() <= bound, "{} octets for {}", log.bytes(), log.live_bytes());
    }
    let octets: u64 = model.values().map(|value| 12 + value.len() as u64).sum();
    assert_eq!(log.live_bytes(), octets);
    assert_eq!(records(&mut reopen(&disk).expect("a good log")), model);
}

/// The end came when a file had been made and nothing stood in it yet, and then nothing lived in
/// the one before: that goes, and the empty one alone tells where numbers go on.
#[test]
fn a_log_that_is_left_with_an_empty_file_goes_on() {
    let key = RecordKey::new(1, 1);
    let disk = SimDisk::default();
    let mut log = reopen(&disk).expect("an empty disk");
    let mut journal = Journal::default();
    journal.put(key, |value| value.resize(700, 0));
    journal.delete(key);
    log.append(journal.octets()).expect("the disk works");
    log.sync().expect("the disk works");
    // A file is created, cut, given its head and made safe; then comes the frame.
    disk.fail_in(5, std::io::ErrorKind::Other, true);
    log.append(journal.octets()).expect_err("the end comes");
    disk.heal();

    let mut log = reopen(&disk).expect("a torn end is cut");
    log.compact().expect("the disk works");
    log.sync().expect("the disk works");
    assert_eq!(disk.names(), ["0000000001.floor", "0000000002.log"]);
    let mut log = reopen(&disk).expect("nothing was harmed");
    let mut journal = Journal::default();
    journal.put(key, |value| value.push(7));
    log.append(journal.octets()).expect("the disk works");
    log.sync().expect("the disk works");
    let mut log = reopen(&disk).expect("nothing was harmed");
    assert_eq!(records(&mut log), Model::from([(key, vec![7])]));
}
