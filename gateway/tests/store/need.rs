//! A full disk, step by step: what is written in need, whatever stands in the way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use broker_core::api::Lsn;
use broker_core::time::Instant;
use mqtt_sn_gw::store::testing::Death;
use mqtt_sn_gw::store::writer::{Batch, Next, Outside, Taken, Writer};
use mqtt_sn_gw::store::{Health, Status};

use super::running::SOON;
use super::*;

/// Files and a reserve that have room for some records each.
const MEDIUM: LogConfig = LogConfig { file_bytes: 20_000, reserve_bytes: 100_000, ..SMALL };

/// How long a step takes.
const STEP: Duration = Duration::from_micros(100);

/// The loop, and its clock.
#[derive(Default)]
struct Around {
    batches: VecDeque<Batch>,
    now: Instant,
}

impl Outside for Around {
    fn take(&mut self) -> Taken {
        self.batches.pop_front().map_or(Taken::NotYet, Taken::Batch)
    }

    fn give_back(&mut self, _: Vec<u8>) {}

    fn now(&self) -> Instant {
        self.now
    }

    fn wake(&mut self) {}

    fn complain(&mut self, _: &io::Error) {}
}

/// A writer and what it is to have written.
struct Written {
    disk: SimDisk,
    writer: Writer<SimDisk>,
    around: Around,
    model: Model,
    last: Lsn,
}

impl Written {
    /// One that holds its reserve, on a disk that has so much room beside.
    fn new(config: LogConfig, room: usize) -> Self {
        let disk = SimDisk::default();
        disk.set_room(Some(config.reserve_bytes + room));
        let (writer, around) = (Self::start(&disk, config), Around::default());
        assert!(disk.names().contains(&"reserve".to_owned()), "there is room");
        Self { disk, writer, around, model: Model::new(), last: Lsn(0) }
    }

    /// As the gateway does it: a store that is there is served.
    fn start(disk: &SimDisk, config: LogConfig) -> Writer<SimDisk> {
        let (mut log, _) = open(disk.clone(), config).expect("a good log");
        let _ = log.take_reserve();
        Writer::new(log)
    }

    /// The process ends, and what it had not made safe may be forgotten.
    fn restart(&mut self, config: LogConfig, death: Death) {
        self.disk.end(death);
        self.disk.fail_in(u32::MAX, ErrorKind::Other, false);
        self.writer = Self::start(&self.disk, config);
        self.model = records(self.writer.log());
        (self.around, self.last) = (Around::default(), Lsn(0));
    }

    fn status(&self) -> &Status {
        self.writer.status()
    }

    /// Hands over changes.
    fn submit(&mut self, journal: &Journal) {
        self.last.0 += 1;
        self.status().handed_over(journal.octets().len());
        let changes = journal.octets().to_vec();
        self.around.batches.push_back(Batch { upto: self.last, changes });
    }

    fn put(&mut self, numbers: core::ops::Range<u64>, len: usize) {
        let mut journal = Journal::default();
        for key in numbers.map(|number| RecordKey::new(1, number)) {
            journal.put(key, |value| value.extend(core::iter::repeat_n(7, len)));
            self.model.insert(key, vec![7; len]);
        }
        self.submit(&journal);
    }

    fn delete(&mut self, numbers: core::ops::Range<u64>) {
        let mut journal = Journal::default();
        for key in numbers.map(|number| RecordKey::new(1, number)) {
            journal.delete(key);
            self.model.remove(&key);
        }
        self.submit(&journal);
    }

    /// Goes on for that long, or until nothing is left to do.
    fn run(&mut self, time: Duration) {
        let end = self.around.now + time;
        while self.around.now < end {
            match self.writer.next() {
                Next::Batch if self.around.batches.is_empty() => return,
                Next::BatchUntil(until) if self.around.batches.is_empty() => {
                    self.around.now = until.max(self.around.now);
                }
                Next::Batch | Next::BatchUntil(_) | Next::Work | Next::Sync => {}
                Next::End => panic!("the loop goes on"),
            }
            self.writer.step(&mut self.around);
            self.around.now = self.around.now + STEP;
        }
    }

    /// Nothing is left to be desired.
    fn assert_well(&mut self) {
        assert_eq!((self.status().health(), self.status().committed()), (Health::Ok, self.last));
        let left = self.disk.after_power_loss(&mut fastrand::Rng::with_seed(7));
        assert_eq!(records(&mut reopen(&left).expect("a good log")), self.model);
        assert!(self.disk.names().contains(&"reserve".to_owned()), "{:?}", self.disk.names());
    }
}

/// There was some room beside the reserve, and what lives takes more than either: but for that all
/// is free.
#[test]
fn what_was_written_in_the_place_of_all_may_be_more_than_the_reserve() {
    let mut written = Written::new(SMALL, 1_800 * 17 + 8_000);
    for from in (0..1_800).step_by(60) {
        written.put(from..from + 60, 5);
    }
    written.run(SOON);
    written.put(5_000..5_001, 9_000);
    written.run(Duration::from_millis(10));
    assert_eq!(written.status().health(), Health::Full);
    written.delete(5_000..5_001);
    written.delete(0..1_100);
    written.run(SOON);
    written.assert_well();
}

/// What is left of the reserve when the process is killed is not for whoever comes first.
#[test]
fn a_disk_that_is_full_at_the_start_has_room_again_when_nothing_is_needed_any_more() {
    let mut written = Written::new(SMALL, 30_000);
    let mut number = 0;
    for round in 0..20 {
        for _ in 0..500 {
            number += 1;
            written.put(number..number + 1, 300);
        }
        written.run(Duration::from_millis(200));
        assert_eq!(written.status().health(), Health::Full, "round {round}");
        // Some of the latest are taken: there is no file to give up.
        written.restart(SMALL, Death::Kill);
        let taken = *written.model.keys().nth_back(4).expect("more are there");
        written.delete(taken.number()..taken.number() + 2);
        written.run(Duration::from_millis(60));
        written.restart(SMALL, Death::Kill);
    }
    written.delete(0..number + 1);
    written.run(SOON);
    written.assert_well();
}

/// A log that cannot be compacted goes on; nobody hears of it with every sync.
#[test]
fn a_compaction_that_fails_is_put_off() {
    let mut written = Written::new(SMALL, 1 << 20);
    for number in 0..3 {
        written.put(number..number + 1, 500);
        written.run(SOON);
    }
    written.disk.edit("0000000001.log", |octets| octets[100] ^= 1);
    for number in 0..1_000 {
        written.put(1..2, 500);
        written.run(SOON);
        assert_eq!(written.status().committed(), written.last, "{number}");
    }
    assert_eq!(written.status().stats().failures, 1);
    written.disk.edit("0000000001.log", |octets| octets[100] ^= 1);
    written.around.now = written.around.now + Duration::from_secs(60);
    written.put(1..2, 500);
    written.run(SOON);
    assert!(written.status().stats().bytes < 10_000, "{:?}", written.status().stats());
}

/// However busy the store is with what it is told meanwhile, all of which has room in the reserve.
#[test]
fn room_from_outside_is_found_within_two_seconds() {
    let mut written = Written::new(MEDIUM, 342_000);
    for number in 0..30 {
        written.put(number..number + 1, 10_000);
    }
    written.put(1_000..3_000, 8);
    written.run(SOON);
    written.put(5_000..5_001, 10_000);
    written.run(Duration::from_millis(100));
    assert_eq!(written.status().health(), Health::Full);
    written.delete(5_000..5_001);
    for number in 1_000..2_000 {
        if number == 1_100 {
            assert!(!written.disk.names().contains(&"reserve".to_owned()));
            written.disk.heal();
        }
        written.delete(number..number + 1);
        written.run(Duration::from_millis(2));
    }
    written.assert_well();
}

/// A fifth of the store is a little here and a little there, in every file.
#[test]
fn what_little_was_taken_is_enough_if_the_reserve_has_room_then() {
    let mut written = Written::new(MEDIUM, 380_000);
    for number in 0..30 {
        written.put(number..number + 1, 10_000);
        written.put(1_000 + 10 * number..1_010 + 10 * number, 208);
    }
    written.run(SOON);
    written.put(5_000..5_001, 9_900);
    written.put(6_000..6_002, 2_000);
    written.run(Duration::from_millis(100));
    assert_eq!(written.status().health(), Health::Full);
    written.delete(1_000..1_300);
    written.run(SOON);
    written.assert_well();
}

/// A store on a small disk: it fills it, forgets, fails, is killed and loses its power at random.
/// What is found is the state of a moment since the last that was told to be safe, and when nothing
/// is needed any more all is well.
#[test]
fn whatever_happens_in_need_nothing_is_lost_and_it_ends() {
    let rounds = if cfg!(debug_assertions) { 60 } else { 600 };
    for seed in 0..rounds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut written = Written::new(SMALL, rng.usize(5_000..60_000));
        let mut moments = vec![(Lsn(0), Model::new())];
        let len_max = rng.usize(1..2_000);
        for step in 0..150 {
            let from = rng.u64(..300);
            match rng.u8(..100) {
                0..45 => written.put(from..from + rng.u64(1..4), rng.usize(..len_max)),
                45..85 => written.delete(from..from + rng.u64(1..60)),
                85..90 => written.delete(0..400),
                90..95 => written.disk.fail_in(rng.u32(..8), ErrorKind::Other, false),
                _ => written.disk.die_in(Some(rng.u32(..20))),
            }
            moments.push((written.last, written.model.clone()));
            written.run(Duration::from_millis(rng.u64(..300)));
            let mut found = reopen(&written.disk.after_power_loss(&mut rng))
                .unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            let live_bytes = found.live_bytes();
            let found = records(&mut found);
            let octets: u64 = found.values().map(|value| 12 + value.len() as u64).sum();
            assert_eq!(live_bytes, octets, "seed {seed}, step {step}");
            let safe = written.status().committed();
            let is_since = |(lsn, model): &(Lsn, Model)| *lsn >= safe && *model == found;
            assert!(moments.iter().any(is_since), "seed {seed}, step {step}");
            if written.disk.is_dead() {
                let death = [Death::Kill, Death::PowerLoss][rng.usize(..2)];
                written.restart(SMALL, death);
                moments = vec![(Lsn(0), written.model.clone())];
            }
        }
        written.disk.fail_in(u32::MAX, ErrorKind::Other, false);
        written.disk.die_in(None);
        written.delete(0..400);
        written.run(SOON);
        written.assert_well();
    }
}
