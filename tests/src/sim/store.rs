//! The store of durable sessions: the real log on a virtual disk, and what its thread does around
//! it, as steps that take virtual time.
//!
//! ```text
//! idle ─▶ append all batches that wait ─▶ sync, which takes a while ─▶ told ─▶ compaction ─▶ idle
//!                   └──── refused: a pause, and once more ───┘
//! ```

use std::collections::VecDeque;
use std::io;

use broker_core::api::Lsn;
use broker_core::journal::{Journal, Ops, RecordKey};
use fastrand::Rng;
use mqtt_sn_gw::store::{Log, LogConfig, OpenError, open};

use super::disk::SimDisk;
use super::plant::Fault;

/// How soon a disk that refused is tried again, at first and at most.
const RETRY_MS: [u64; 2] = [50, 1_000];

/// The record of an end in order, as `gateway/src/server/durable.rs` writes it.
pub(crate) const CLEAN_END: RecordKey = RecordKey::new(0xF0, 0);

/// How large the files are and how slow the disk is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drive {
    pub(crate) log: LogConfig,
    /// What a sync takes, at least and at most.
    pub(crate) sync_ms: [u64; 2],
}

/// Changes, and the number up to which they go.
#[derive(Debug)]
struct Batch {
    upto: Lsn,
    changes: Vec<u8>,
}

/// What the thread does next, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Waits for batches.
    Idle,
    Append,
    Sync,
    Compact,
    /// What the compaction copied is made safe, and the emptied file deleted.
    SyncCopies,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Store {
    log: Log<SimDisk>,
    disk: SimDisk,
    drive: Drive,
    batches: VecDeque<Batch>,
    step: Step,
    /// When the step is over, in milliseconds.
    at: u64,
    pause_ms: u64,
    /// The number up to which changes were appended.
    appended: Lsn,
    committed: Lsn,
    is_refusing: bool,
    rng: Rng,
    fault: Option<Fault>,
    /// Syncs that were told, and files that were given up.
    pub(crate) syncs: u64,
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
        let (log, _) = open(disk.clone(), drive.log)?;
        Ok(Self {
            log,
            disk: disk.clone(),
            drive,
            batches: VecDeque::new(),
            step: Step::Idle,
            at: 0,
            pause_ms: 0,
            appended: Lsn(0),
            committed: Lsn(0),
            is_refusing: false,
            rng,
            fault,
            syncs: 0,
            compactions: 0,
        })
    }

    /// All records that live, by table.
    pub(crate) fn records(&mut self) -> io::Result<Vec<(RecordKey, Vec<u8>)>> {
        let mut records = Vec::new();
        self.log.for_each_record::<io::Error>(|key, value| {
            records.push((key, value.to_vec()));
            Ok(())
        })?;
        Ok(records)
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.log.records()
    }

    /// The changes of a turn.
    pub(crate) fn submit(&mut self, upto: Lsn, changes: Vec<u8>) {
        if self.fault == Some(Fault::AckBeforeAppend) {
            self.committed = upto;
        }
        if !changes.is_empty() {
            debug_assert!(Ops::new(&changes).all(|op| op.is_ok()), "a journal is well formed");
            self.batches.push_back(Batch { upto, changes });
        }
    }

    /// Changes up to this number are safe, as far as is told.
    pub(crate) const fn committed(&self) -> Lsn {
        self.committed
    }

    /// The disk refuses.
    pub(crate) const fn is_refusing(&self) -> bool {
        self.is_refusing
    }

    /// When it goes on.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        (self.step != Step::Idle || !self.batches.is_empty()).then_some(self.at)
    }

    /// From now on a sync takes no time.
    pub(crate) const fn hurry(&mut self) {
        self.drive.sync_ms = [0, 0];
        self.at = 0;
    }

    /// Does what is over by now; the disk may die of it.
    pub(crate) fn run(&mut self, now: u64) {
        while self.next_timeout().is_some_and(|at| at <= now) && !self.disk.is_dead() {
            self.at = now;
            let result = self.do_step();
            if self.disk.is_dead() {
                break;
            }
            match result {
                Ok(()) => {
                    self.pause_ms = 0;
                    self.is_refusing = false;
                }
                // Nobody waits for a compaction: it is tried again after the next batch.
                Err(_) if matches!(self.step, Step::Compact | Step::SyncCopies) => {
                    self.step = Step::Idle;
                }
                Err(_) => {
                    self.is_refusing = true;
                    self.pause_ms = (self.pause_ms * 2).clamp(RETRY_MS[0], RETRY_MS[1]);
                    self.at = now + self.pause_ms;
                }
            }
        }
    }

    fn do_step(&mut self) -> io::Result<()> {
        match self.step {
            Step::Idle => self.step = Step::Append,
            Step::Append => {
                while let Some(batch) = self.batches.front() {
                    self.log.append(&batch.changes)?;
                    self.appended = batch.upto;
                    self.batches.pop_front();
                }
                if self.fault == Some(Fault::TellBeforeSync) {
                    self.committed = self.appended;
                }
                self.begin_sync(Step::Sync);
            }
            Step::Sync => {
                self.log.sync()?;
                if !self.disk.is_dead() {
                    self.syncs += 1;
                    self.committed = self.committed.max(self.appended);
                    self.step = Step::Compact;
                }
            }
            Step::Compact => {
                let more = self.log.compact()?;
                if self.log.has_emptied() {
                    self.begin_sync(Step::SyncCopies);
                } else if !more || !self.batches.is_empty() {
                    self.step = Step::Idle;
                }
            }
            Step::SyncCopies => {
                self.disk.set_lies(self.fault == Some(Fault::DeleteBeforeSync));
                let result = self.log.sync();
                self.disk.set_lies(false);
                result?;
                self.compactions += 1;
                // What waits goes before the next file.
                self.step = if self.batches.is_empty() { Step::Compact } else { Step::Append };
            }
        }
        Ok(())
    }

    fn begin_sync(&mut self, step: Step) {
        self.step = step;
        let [least, most] = self.drive.sync_ms;
        self.at += self.rng.u64(least..=most);
    }

    /// An end in order: everything that was handed over is made safe, unless the disk refuses.
    /// Returns whether it is.
    pub(crate) fn drain(&mut self) -> bool {
        loop {
            match self.step {
                Step::Idle | Step::Compact if self.batches.is_empty() => return true,
                // A batch that comes goes before.
                Step::Compact | Step::Idle => self.step = Step::Append,
                Step::Append | Step::Sync | Step::SyncCopies => {}
            }
            if self.do_step().is_err() || self.disk.is_dead() {
                return false;
            }
        }
    }

    /// What an end in order writes last.
    pub(crate) fn close(&mut self, upto: Lsn) -> bool {
        let mut journal = Journal::default();
        journal.put(CLEAN_END, |value| value.push(1));
        self.submit(upto, journal.octets().to_vec());
        self.drain()
    }
}
