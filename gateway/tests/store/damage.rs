//! A disk that gives back something else than was written.

use mqtt_sn_gw::store::disk::Disk as _;
use mqtt_sn_gw::store::salvage;

use super::*;

/// A log of several files, its records, and how many frames it has.
fn written() -> (SimDisk, Model) {
    let mut rng = fastrand::Rng::with_seed(11);
    let disk = SimDisk::default();
    let mut log = reopen(&disk).expect("an empty disk");
    let mut model = Model::new();
    for _ in 0..30 {
        log.append(&changes(&mut rng, &mut model)).expect("the disk works");
        log.sync().expect("the disk works");
    }
    (disk, model)
}

/// Each octet of each file changed: the log is refused with its place, or the octet stood in the
/// last frame, of which nothing shows that it was whole once.
#[test]
fn no_changed_octet_goes_unnoticed() {
    let (disk, model) = written();
    let names = disk.names();
    assert!(names.len() > 2);
    let mut torn = 0;
    for name in &names {
        let mut len = 0;
        disk.edit(name, |octets| len = octets.len());
        for at in 0..len {
            disk.edit(name, |octets| octets[at] ^= 1);
            match reopen(&disk.clone()) {
                Err(OpenError::Damaged { name: told, offset }) => {
                    assert_eq!(&told, name);
                    assert!(offset <= at as u64, "{name} at {at}");
                    disk.edit(name, |octets| octets[at] ^= 1);
                }
                Err(error) => panic!("{name} at {at}: {error}"),
                Ok(mut log) => {
                    assert_eq!(Some(name), names.last());
                    assert_ne!(records(&mut log), model);
                    torn += 1;
                    // It was cut off.
                    return assert!(torn > 0);
                }
            }
        }
    }
    panic!("the last frame is taken for torn");
}

/// What takes the place of all has a checksum of its own, and what it was read from goes.
#[test]
fn what_has_changed_on_the_disk_does_not_take_the_place_of_all() {
    let (disk, model) = written();
    let mut log = reopen(&disk).expect("a good log");
    let (key, value) = model.iter().find(|(_, value)| value.len() > 20).expect("one of them");
    let mut name_at = disk.names().into_iter().filter_map(|name| {
        let octets = disk.read(&name).expect("the disk reads");
        let at = octets.windows(value.len()).rposition(|octets| octets == value)?;
        Some((name, at))
    });
    let (name, at) = name_at.next_back().expect("it was written");
    disk.edit(&name, |octets| octets[at] ^= 1);
    let error = log.rewrite(&[]).expect_err("nobody wrote that");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{key:?}: {error}");
    disk.edit(&name, |octets| octets[at] ^= 1);
    log.rewrite(&[]).expect("all is as it was");
    assert_eq!(records(&mut log), model);
}

/// Room behind a file that is done is cut off, and a disk may forget that.
#[test]
fn zeros_behind_a_file_that_is_done_are_no_damage() {
    let (disk, model) = written();
    let names = disk.names();
    disk.edit(&names[0], |octets| octets.resize(octets.len() + 100, 0));
    let mut log = reopen(&disk).expect("only zeros");
    assert_eq!(records(&mut log), model);
    while log.compact().expect("the disk works") || log.has_emptied() {
        log.sync().expect("the disk works");
    }
    assert_eq!(records(&mut log), model);
    let (disk, _) = written();
    disk.edit(&names[0], |octets| octets.resize(octets.len() + 100, 7));
    assert!(reopen(&disk).is_err(), "anything else is");
}

#[test]
fn a_file_that_is_missing_in_the_middle_is_noticed() {
    let (disk, _) = written();
    let names = disk.names();
    let mut other = disk.clone();
    mqtt_sn_gw::store::disk::Disk::remove(&mut other, &names[1]).expect("it is there");
    let error = reopen(&disk).expect_err("a gap");
    assert!(matches!(error, OpenError::Damaged { name, offset: 0 } if name == names[2]));
}

/// What lives in the oldest file stands at the end when that is gone: from then on a log with
/// another beginning or end is not the state of any moment.
#[test]
fn a_log_that_gave_up_files_misses_what_is_gone_at_either_end() {
    let (disk, model) = written();
    let mut log = reopen(&disk).expect("a good log");
    while !disk.names().contains(&"0000000002.floor".to_owned()) {
        log.compact().expect("the disk works");
        log.sync().expect("the disk works");
    }
    drop(log);
    assert_eq!(records(&mut reopen(&disk).expect("a good log")), model);
    let names: Vec<_> = disk.names().into_iter().filter(|it| it.ends_with(".log")).collect();
    let (first, last) = (names[0].as_str(), names[names.len() - 1].as_str());
    assert_eq!(first, "0000000003.log");
    let told = |harm: &dyn Fn(&SimDisk)| {
        let harmed = disk.copy();
        harm(&harmed);
        reopen(&harmed).expect_err("damaged").to_string()
    };
    assert_eq!(told(&|disk| disk.lose(first)), "0000000003.log is missing");
    assert_eq!(told(&|disk| disk.lose("0000000002.floor")), "0000000001.log is missing");
    assert_eq!(
        told(&|disk| names.iter().for_each(|name| disk.lose(name))),
        "0000000003.log is missing"
    );
    let other = names[names.len() - 2].as_str();
    assert!(told(&|disk| disk.lose(last)).starts_with(&format!("{other} is damaged at octet ")));
    assert!(
        told(&|disk| disk.edit(last, |octets| octets.truncate(octets.len() - 1)))
            .starts_with(&format!("{last} is damaged at octet "))
    );
    assert!(
        told(&|disk| disk.edit(last, |octets| *octets.last_mut().expect("some octets") ^= 1))
            .starts_with(&format!("{last} is damaged at octet "))
    );
}

/// The checksums of file heads and frames, for octets that are put there on purpose.
fn seal(octets: &mut [u8], frame_at: usize) {
    let crc = crc32fast::hash(&octets[..36]).to_le_bytes();
    octets[36..40].copy_from_slice(&crc);
    if let Some(frame) = octets.get_mut(frame_at..).filter(|frame| !frame.is_empty()) {
        let covered = [&frame[4..8], &frame[12..]].concat();
        frame[8..12].copy_from_slice(&crc32fast::hash(&covered).to_le_bytes());
    }
}

/// A log of one file with one frame, which is changed by `edit` and sealed again.
fn one_frame(edit: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let disk = SimDisk::default();
    let mut log = reopen(&disk).expect("an empty disk");
    let mut model = Model::new();
    let mut rng = fastrand::Rng::with_seed(5);
    log.append(&changes(&mut rng, &mut model)).expect("the disk works");
    log.sync().expect("the disk works");
    disk.edit(&disk.names()[0], |octets| {
        edit(octets);
        seal(octets, 40);
    });
    disk
}

#[test]
fn changes_that_are_none_behind_a_good_checksum_are_damage() {
    let disk = one_frame(|octets| {
        // A value that is longer than its frame.
        octets[40 + 28 + 8..40 + 28 + 12].copy_from_slice(&1_000_u32.to_le_bytes());
    });
    let name = disk.names()[0].clone();
    let error = reopen(&disk).expect_err("damaged");
    assert_eq!(error.to_string(), format!("{name} is damaged at octet 40"));
    let mut log = reopen(&SimDisk::default()).expect("an empty disk");
    let found = salvage(&disk, &mut log).expect("the disks work");
    assert!(found.skipped_bytes > 0 && log.records() == 0);
}

#[test]
fn numbers_that_no_log_reaches_are_damage() {
    for first in [0, u64::MAX - 1, u64::MAX] {
        let disk = one_frame(|octets| {
            octets[28..36].copy_from_slice(&first.to_le_bytes());
            octets[52..60].copy_from_slice(&first.to_le_bytes());
        });
        let error = reopen(&disk).expect_err("damaged");
        assert!(matches!(error, OpenError::Damaged { offset: 0, .. }), "{first}: {error}");
    }
}

#[test]
fn a_log_of_a_later_program_is_left_alone() {
    let (disk, _) = written();
    let name = disk.names()[0].clone();
    disk.edit(&name, |octets| {
        octets[16] = 99;
        let crc = crc32fast::hash(&octets[..36]).to_le_bytes();
        octets[36..40].copy_from_slice(&crc);
    });
    let error = reopen(&disk).expect_err("a newer format");
    assert_eq!(
        error.to_string(),
        format!("{name} has format 99, this program knows formats up to 1")
    );
}

#[test]
fn what_can_be_read_of_a_damaged_log_is_salvaged() {
    let (disk, model) = written();
    let name = disk.names()[1].clone();
    disk.edit(&name, |octets| octets[60] ^= 0xFF);
    reopen(&disk).expect_err("damaged");
    let mut log = reopen(&SimDisk::default()).expect("an empty disk");
    let found = salvage(&disk, &mut log).expect("the disks work");
    assert!(found.skipped_bytes > 0 && found.skipped_bytes < 600);
    let salvaged = records(&mut log);
    let same = model.iter().filter(|(key, value)| salvaged.get(key) == Some(value)).count();
    assert!(same + 6 >= model.len(), "{same} of {}", model.len());
}
