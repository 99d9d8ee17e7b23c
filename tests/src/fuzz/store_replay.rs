//! The log of the store on a disk that loses what was not safe, and is damaged.
//!
//! `store_replay` writes a log, harms its files and opens it again: what comes back is what was
//! there after one of the changes, and after none that is older than what was safe, unless the
//! log is refused. `store_octets` opens files of any octets, with checksums put right so that what
//! is behind them is reached: whatever is in there, it is opened or refused, and an opened log
//! goes on working.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use broker_core::journal::{Journal, RecordKey};
use fastrand::Rng;
use mqtt_sn_gw::store::disk::Disk as _;
use mqtt_sn_gw::store::testing::SimDisk;
use mqtt_sn_gw::store::{Log, LogConfig, OpenError, open, salvage};

use super::Target;
use super::digest::Digest;
use super::input::Input;

/// A log that was written, then harmed.
pub const REPLAY: Target =
    Target { name: "store_replay", dictionary: "store", bytes_max: 256, run: replay };

/// Files of any octets.
pub const OCTETS: Target =
    Target { name: "store_octets", dictionary: "store", bytes_max: 512, run: octets };

/// Small files, and compaction as soon as it pays.
const SMALL: LogConfig = LogConfig { file_bytes: 300, slack_bytes: 100, reserve_bytes: 0 };

type Records = BTreeMap<u64, Vec<u8>>;

/// A log, and what it should hold.
struct World {
    disk: SimDisk,
    log: Log<SimDisk>,
    records: Records,
    /// What it held after each change, and which of these was safe at last.
    history: Vec<Records>,
    safe: usize,
    /// All that was ever put.
    written: BTreeSet<(u64, Vec<u8>)>,
}

fn replay(octets: &[u8]) -> u64 {
    let mut input = Input::new(octets);
    let mut digest = Digest::new();
    let disk = SimDisk::default();
    let (log, _) = open(disk.clone(), SMALL).expect("nothing is there yet");
    let records = Records::new();
    let history = vec![Records::new()];
    let mut world = World { disk, log, records, history, safe: 0, written: BTreeSet::new() };
    while !input.is_empty() {
        match input.below(10) {
            0..=4 => world.append(&mut input),
            5 | 6 => world.sync(),
            7 => {
                world.log.compact().expect("the disk works");
            }
            8 => world = world.lose_power(&mut input),
            _ => world.damage(&mut input),
        }
        digest.number(world.records.len() as u64);
    }
    world.sync();
    world.check_opened(open(world.disk.copy(), SMALL), world.history.len() - 1);
    digest.number(world.log.bytes());
    digest.end()
}

impl World {
    fn append(&mut self, input: &mut Input<'_>) {
        let mut journal = Journal::default();
        for _ in 0..=input.below(4) {
            let key = RecordKey::new(1 + input.u8() % 3, u64::from(input.u8() % 8));
            let len = input.below(48);
            if len == 0 {
                journal.delete(key);
                self.records.remove(&key.0);
            } else {
                // No two are the same.
                let mut value = self.written.len().to_le_bytes().to_vec();
                value.resize(len + 8, input.u8());
                journal.put(key, |into| into.extend_from_slice(&value));
                self.written.insert((key.0, value.clone()));
                self.records.insert(key.0, value);
            }
        }
        self.log.append(journal.octets()).expect("the disk works");
        self.history.push(self.records.clone());
        assert_eq!(self.log.records(), self.records.len());
    }

    fn sync(&mut self) {
        self.log.sync().expect("the disk works");
        self.safe = self.history.len() - 1;
    }

    /// The power fails: of what was not safe, some is there, some is zero, some is not.
    fn lose_power(mut self, input: &mut Input<'_>) -> Self {
        let disk = self.disk.after_power_loss(&mut Rng::with_seed(input.u16().into()));
        let opened = open(disk.clone(), SMALL);
        let records = self.check_opened(opened, self.safe).expect("nothing safe was harmed");
        let (log, found) = open(disk.clone(), SMALL).expect("it was opened before");
        assert_eq!(found.torn_bytes, 0, "a torn end is cut once");
        let mut history = std::mem::take(&mut self.history);
        history.push(records.clone());
        let safe = history.len() - 1;
        Self { disk, log, records, history, safe, ..self }
    }

    /// What was safe is harmed, on a copy: one octet is changed, a part is zeroed or gone, a file
    /// is.
    fn damage(&self, input: &mut Input<'_>) {
        let disk = self.disk.copy();
        let names = disk.names();
        let Some(name) = names.get(input.below(names.len().max(1))) else { return };
        let len = disk.read(name).expect("it has this name").len();
        let at = usize::from(input.u16()) % len.max(1);
        let end = (at + 1 + usize::from(input.u8())).min(len);
        match input.below(4) {
            0 if at < len => disk.edit(name, |octets| octets[at] ^= input.u8().max(1)),
            0 | 1 => disk.edit(name, |octets| octets[at..end].fill(0)),
            2 => disk.edit(name, |octets| octets.truncate(at)),
            _ => disk.lose(name),
        }
        let salvaged = disk.copy();
        let opened = open(disk, SMALL);
        self.check_opened(opened, 0);
        let (mut log, _) = open(SimDisk::default(), SMALL).expect("nothing is there yet");
        salvage(&salvaged, &mut log).expect("the disk works");
        self.check_written(&mut log);
    }

    /// Nothing is in a log that was never put there.
    fn check_written(&self, log: &mut Log<SimDisk>) {
        for (key, value) in read(log) {
            let was_written = self.written.contains(&(key, value));
            assert!(was_written, "record {key:x} was never written");
        }
    }

    /// What comes back was there after a change, and after none before `since`.
    fn check_opened(
        &self,
        opened: Result<(Log<SimDisk>, mqtt_sn_gw::store::Found), OpenError>,
        since: usize,
    ) -> Option<Records> {
        match opened {
            Ok((mut log, _)) => {
                let records = read(&mut log);
                let was_there = self.history[since..].contains(&records);
                assert!(was_there, "{records:?} never was, since {since} in {:?}", self.history);
                Some(records)
            }
            Err(OpenError::Damaged { .. } | OpenError::Missing { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The records of a log, which come by table.
fn read(log: &mut Log<SimDisk>) -> Records {
    let mut records = Records::new();
    let mut table = 0;
    log.for_each_record::<io::Error>(|key, value| {
        assert!(key.table() >= table, "tables come in order");
        table = key.table();
        assert_eq!(records.insert(key.0, value.to_vec()), None, "each record comes once");
        Ok(())
    })
    .expect("the disk works");
    assert_eq!(records.len(), log.records());
    records
}

/// Octets of a file before its checksum, and of a frame before its changes.
const FILE_CRC_AT: usize = 36;
const FRAME_HEAD: usize = 28;

fn octets(octets: &[u8]) -> u64 {
    let mut input = Input::new(octets);
    let disk = SimDisk::default();
    for number in 1..=1 + input.below(3) {
        let choice = input.u8();
        let len = if number == 3 { usize::MAX } else { usize::from(input.u8()) };
        let written = file(choice, number as u64, input.octets(len));
        let name = format!("{:010}.log", if choice & 0x80 == 0 { number } else { number * 7 });
        disk.edit(&name, |octets| *octets = written);
    }
    let mut digest = Digest::new();
    let other = disk.copy();
    if let Ok((mut log, found)) = open(disk.clone(), SMALL) {
        digest.number(found.torn_bytes);
        check_works(&mut log, &disk);
    }
    let (mut log, _) = open(SimDisk::default(), SMALL).expect("nothing is there yet");
    let found = salvage(&other, &mut log).expect("whatever it is, something is left of it");
    digest.number(found.skipped_bytes);
    digest.number(read(&mut log).len() as u64);
    digest.end()
}

/// A file out of what the input says: its first octets as they are, or put right as the bits of
/// `choice` say.
fn file(choice: u8, number: u64, body: &[u8]) -> Vec<u8> {
    if choice & 1 == 0 {
        return body.to_vec();
    }
    let mut file = b"mqtt-sn-gw log\n\0\x01\0\0\0".to_vec();
    let mut body = Input::new(body);
    let number = if choice & 0x40 == 0 { number } else { number * 7 };
    file.extend_from_slice(&number.to_le_bytes());
    // Frames follow each other through all files, one in each.
    let first = if choice & 2 == 0 { number } else { wide(&mut body) };
    file.extend_from_slice(&first.to_le_bytes());
    let crc = crc32(&file[..FILE_CRC_AT]);
    file.extend_from_slice(&crc.to_le_bytes());
    let mut next = first;
    while !body.is_empty() {
        let how = body.u8();
        let changes = body.counted();
        let number = if how & 1 == 0 { next } else { wide(&mut body) };
        let synced = if how & 2 == 0 { number.saturating_sub(1) } else { wide(&mut body) };
        let changes = if how & 4 == 0 { journal(changes) } else { changes.to_vec() };
        let at = file.len();
        file.extend_from_slice(b"MSGF");
        file.extend_from_slice(&(changes.len() as u32).to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&number.to_le_bytes());
        file.extend_from_slice(&synced.to_le_bytes());
        file.extend_from_slice(&changes);
        let covered = [&file[at + 4..at + 8], &file[at + 12..]].concat();
        file[at + 8..at + 12].copy_from_slice(&crc32(&covered).to_le_bytes());
        assert!(file.len() - at == FRAME_HEAD + changes.len());
        next = number.wrapping_add(1);
    }
    file
}

/// A number that a log may reach, or one of the largest there are.
fn wide(input: &mut Input<'_>) -> u64 {
    let low = u64::from(input.u8());
    match low & 3 {
        0 => low >> 2,
        1 => u64::MAX - (low >> 2),
        2 => u64::from(u32::MAX) - (low >> 2),
        _ => u64::from(input.u16()) << (low >> 2 & 32),
    }
}

/// A good journal.
fn journal(octets: &[u8]) -> Vec<u8> {
    let mut journal = Journal::default();
    for record in octets.chunks(5) {
        let key = RecordKey::new(record[0] & 3, u64::from(record[0] >> 2 & 7));
        if record[0] & 0x80 == 0 {
            journal.put(key, |into| into.extend_from_slice(&record[1..]));
        } else {
            journal.delete(key);
        }
    }
    journal.octets().to_vec()
}

/// The checksum of the format, by its definition.
pub(crate) fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| {
            if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xEDB8_8320 }
        })
    })
}

/// An opened log takes changes, and has them when it is opened again.
fn check_works(log: &mut Log<SimDisk>, disk: &SimDisk) {
    let mut records = read(log);
    let mut journal = Journal::default();
    let key = RecordKey::new(9, 9);
    journal.put(key, |into| into.extend_from_slice(b"new"));
    records.insert(key.0, b"new".to_vec());
    log.append(journal.octets()).expect("the disk works");
    log.sync().expect("the disk works");
    for _ in 0..8 {
        log.compact().expect("what was opened can be compacted");
        log.sync().expect("the disk works");
    }
    assert_eq!(read(log), records, "compaction changes nothing");
    let (mut again, found) = open(disk.clone(), SMALL).expect("it was opened before");
    assert_eq!((read(&mut again), found.torn_bytes), (records, 0), "opened again");
}
