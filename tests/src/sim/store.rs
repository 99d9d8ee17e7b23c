//! The store of durable sessions: the real log and the real writer on a virtual disk, with virtual
//! time between the writer's steps.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use broker_core::api::Lsn;
use broker_core::journal::{Ops, RecordKey};
use broker_core::time::Instant;
use fastrand::Rng;
use mqtt_sn_gw::config::OnDiskFull;
use mqtt_sn_gw::store::testing::{Honesty, SimDisk};
use mqtt_sn_gw::store::writer::{Batch, Next, Outside, Taken, Writer};
use mqtt_sn_gw::store::{Health, Log, LogConfig, OpenError, Status, open};

use super::plant::Fault;

/// For how long an end in order waits for a disk that refuses.
const PATIENCE_MS: u64 = 3_000;

/// What the reserve is called.
const RESERVE: &str = "reserve";

/// Keys and values.
pub(crate) type Records = Vec<(RecordKey, Vec<u8>)>;

/// How large the files are and how slow the disk is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drive {
    pub(crate) log: LogConfig,
    /// What a sync takes, at least and at most.
    pub(crate) sync_ms: [u64; 2],
    pub(crate) on_disk_full: OnDiskFull,
}

/// What the writer finds around it.
#[derive(Debug)]
struct Yard {
    now_ms: u64,
    batches: VecDeque<Batch>,
    /// No more batches come.
    is_closed: bool,
    /// The number up to which batches were taken.
    taken: Lsn,
    /// Changes that come now are not taken whole, and octets of what was not.
    forgets: bool,
    forgotten: u64,
    /// How often somebody was told that the disk fails, and when last.
    complaints: u64,
    complained_ms: Option<u64>,
    complains_too_often: bool,
}

impl Outside for Yard {
    fn take(&mut self) -> Taken {
        let Some(mut batch) = self.batches.pop_front() else {
            return if self.is_closed { Taken::Never } else { Taken::NotYet };
        };
        self.taken = batch.upto;
        if self.forgets {
            let last = Ops::new(&batch.changes).filter_map(Result::ok).last();
            let size = last.map_or(0, |op| op.size());
            batch.changes.truncate(batch.changes.len() - size);
            self.forgotten += size as u64;
        }
        Taken::Batch(batch)
    }

    fn give_back(&mut self, _buffer: Vec<u8>) {}

    fn now(&self) -> Instant {
        Instant::from_millis(self.now_ms)
    }

    // The machine looks in every turn.
    fn wake(&mut self) {}

    fn complain(&mut self, _error: &io::Error) {
        self.complains_too_often |= self.complained_ms.is_some_and(|at| self.now_ms < at + 60_000);
        self.complained_ms = Some(self.now_ms);
        self.complaints += 1;
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Store {
    writer: Writer<SimDisk>,
    status: Arc<Status>,
    disk: SimDisk,
    drive: Drive,
    yard: Yard,
    /// When the step is over that was begun, in milliseconds.
    step_ends: Option<u64>,
    /// Until then no sync comes to its end.
    hangs_until: u64,
    /// The number up to which changes were handed over.
    submitted: Lsn,
    /// The reserve has to be there when all is well.
    holds_reserve: bool,
    rng: Rng,
    fault: Option<Fault>,
    /// Files that were given up.
    pub(crate) compactions: u64,
}

impl Store {
    /// The store on a disk, as a process that begins finds it.
    pub(crate) fn open(
        disk: &SimDisk,
        drive: Drive,
        rng: Rng,
        fault: Option<Fault>,
    ) -> Result<Self, OpenError> {
        let (mut log, _) = open(disk.clone(), drive.log)?;
        let held = log.take_reserve();
        if log.bytes() == 0 {
            // As gateway/src/store/data_dir.rs has it: what is there is served.
            held?;
        }
        let writer = Writer::new(log);
        let mut store = Self {
            status: Arc::clone(writer.status()),
            writer,
            disk: disk.clone(),
            drive,
            yard: Yard {
                now_ms: 0,
                batches: VecDeque::new(),
                is_closed: false,
                taken: Lsn(0),
                forgets: false,
                forgotten: 0,
                complaints: 0,
                complained_ms: None,
                complains_too_often: false,
            },
            step_ends: None,
            hangs_until: 0,
            submitted: Lsn(0),
            holds_reserve: false,
            rng,
            fault,
            compactions: 0,
        };
        store.holds_reserve = store.has_reserve();
        Ok(store)
    }

    fn has_reserve(&self) -> bool {
        let bytes = self.drive.log.reserve_bytes;
        bytes > 0
            && mqtt_sn_gw::store::disk::Disk::read(&self.disk, RESERVE)
                .is_ok_and(|octets| octets.len() == bytes)
    }

    /// All records that live, by table.
    pub(crate) fn records(&mut self) -> io::Result<Records> {
        read(self.writer.log())
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> u64 {
        self.status.stats().records
    }

    /// The changes of a turn.
    pub(crate) fn submit(&mut self, upto: Lsn, changes: Vec<u8>) {
        if !changes.is_empty() {
            debug_assert!(Ops::new(&changes).all(|op| op.is_ok()), "a journal is well formed");
            self.submitted = upto;
            self.status.handed_over(changes.len());
            self.yard.batches.push_back(Batch { upto, changes });
        }
    }

    /// Changes up to this number are safe.
    pub(crate) fn committed(&self) -> Lsn {
        self.status.committed()
    }

    /// What the machine is told: up to which number changes are safe, and how the store is.
    pub(crate) fn told(&self) -> (Lsn, Health) {
        let (committed, health) = (self.status.committed(), self.status.health());
        let is_refusing = health != Health::Ok && self.drive.on_disk_full == OnDiskFull::Refuse;
        match self.fault {
            Some(Fault::AckBeforeAppend) => (self.submitted, health),
            Some(Fault::TellBeforeSync) => (self.yard.taken.max(committed), health),
            Some(Fault::AckWhileRefusing) if is_refusing => (self.submitted, health),
            Some(Fault::GateBeforeBacklog) if !is_refusing => (self.submitted, Health::Ok),
            _ => (committed, health),
        }
    }

    /// Syncs that were told.
    pub(crate) fn syncs(&self) -> u64 {
        self.status.stats().syncs
    }

    /// No sync comes to its end before.
    pub(crate) const fn hang(&mut self, until: u64) {
        self.hangs_until = until;
    }

    /// When it goes on.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        if let Some(at) = self.step_ends {
            let hangs = self.writer.next() == Next::Sync;
            return Some(if hangs { at.max(self.hangs_until) } else { at });
        }
        let has_batch = !self.yard.batches.is_empty() || self.yard.is_closed;
        match self.writer.next() {
            Next::Batch | Next::BatchUntil(_) if has_batch => Some(0),
            Next::BatchUntil(until) => Some(until.as_micros().div_ceil(1_000)),
            Next::Work | Next::Sync => Some(0),
            Next::Batch | Next::End => None,
        }
    }

    /// From now on a sync takes no time.
    pub(crate) const fn hurry(&mut self) {
        self.drive.sync_ms = [0, 0];
        self.hangs_until = 0;
        if self.step_ends.is_some() {
            self.step_ends = Some(0);
        }
    }

    /// Does what is over by now; the disk may die of it.
    pub(crate) fn run(&mut self, now: u64) {
        while self.next_timeout().is_some_and(|at| at <= now) && !self.disk.is_dead() {
            self.yard.now_ms = now;
            if self.step_ends.is_none() && self.writer.next() == Next::Sync {
                let [least, most] = self.drive.sync_ms;
                self.step_ends = Some(now + self.rng.u64(least..=most));
                continue;
            }
            self.step_ends = None;
            self.step();
        }
    }

    fn step(&mut self) {
        let before = self.status.health();
        let (fault, is_well) = (self.fault, before == Health::Ok);
        let empties = self.writer.log().has_emptied() && self.writer.next() == Next::Sync;
        let honesty = match fault {
            Some(Fault::DeleteBeforeSync) if empties => Honesty::Idle,
            Some(Fault::IgnoreSyncFailure) => Honesty::Hushed,
            _ => Honesty::True,
        };
        self.yard.forgets = fault == Some(Fault::ForgetBacklog) && !is_well;
        self.disk.set_honesty(honesty);
        self.writer.step(&mut self.yard);
        self.disk.set_honesty(Honesty::True);
        if self.disk.is_dead() {
            return;
        }
        self.compactions += u64::from(empties && !self.writer.log().has_emptied());
        if before == Health::Full && self.status.health() == Health::Ok {
            self.holds_reserve = self.drive.log.reserve_bytes > 0;
            if fault == Some(Fault::ForgetReserve) {
                self.disk.lose(RESERVE);
            }
        }
    }

    /// An end in order: everything that was handed over is made safe, unless the disk refuses for
    /// too long. Returns whether it is.
    pub(crate) fn drain(&mut self) -> bool {
        let until = self.yard.now_ms + PATIENCE_MS;
        while self.committed() < self.submitted && !self.disk.is_dead() {
            if let Next::BatchUntil(at) = self.writer.next() {
                self.yard.now_ms = self.yard.now_ms.max(at.as_micros().div_ceil(1_000));
            }
            if self.yard.now_ms > until {
                break;
            }
            self.step();
        }
        self.committed() >= self.submitted && !self.disk.is_dead()
    }

    /// What an end in order writes last.
    pub(crate) fn close(&mut self, upto: Lsn) -> (bool, Vec<u8>) {
        let mut changes = Vec::new();
        mqtt_sn_gw::kept::clean_end(&mut changes);
        self.submit(upto, changes.clone());
        self.yard.is_closed = true;
        while self.writer.next() != Next::End && !self.disk.is_dead() {
            self.step();
        }
        (self.committed() >= self.submitted && !self.disk.is_dead(), changes)
    }

    /// What it tells of itself has to be so. Returns what is not.
    pub(crate) fn check(&mut self) -> Result<(), &'static str> {
        let (health, stats) = (self.status.health(), self.status.stats());
        let waiting: usize = self.yard.batches.iter().map(|batch| batch.changes.len()).sum();
        let backlog_bytes = self.status.backlog_bytes() - self.yard.forgotten;
        let is_idle = self.writer.next() == Next::Batch && self.yard.batches.is_empty();
        let is_safe = self.committed() == self.submitted;
        let log = self.writer.log();
        let checks = [
            (stats.records == log.records() as u64, "records are counted wrong"),
            (stats.bytes == log.bytes(), "octets of files are counted wrong"),
            (stats.live_bytes <= stats.bytes, "more lives than there is"),
            (backlog_bytes >= waiting as u64, "octets that wait are not counted"),
            (is_safe || backlog_bytes > 0, "something waits and is not counted"),
            (!is_idle || is_safe && backlog_bytes == 0, "nothing waits and is counted"),
            (health == Health::Ok || stats.failures > 0, "a failure was not counted"),
            (!self.yard.complains_too_often, "the log is told more than once a minute"),
        ];
        if let Some((_, what)) = checks.iter().find(|(holds, _)| !holds) {
            return Err(what);
        }
        if health == Health::Ok && self.holds_reserve && !self.has_reserve() {
            return Err("all is well and there is no reserve");
        }
        Ok(())
    }

    /// How it is.
    pub(crate) fn health(&self) -> Health {
        self.status.health()
    }
}

/// All records of a log that live, by table.
pub(crate) fn read(log: &mut Log<SimDisk>) -> io::Result<Records> {
    let mut records = Records::new();
    log.for_each_record::<io::Error>(|key, value| {
        records.push((key, value.to_vec()));
        Ok(())
    })?;
    Ok(records)
}
