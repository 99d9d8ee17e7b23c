//! What the store's thread does, without its channel and its clock: the simulator runs it, too.
//!
//! ```text
//! idle ─▶ append all that wait ─▶ sync ─▶ told ─▶ a piece of the compaction ─▶ idle
//!               │                  │
//!               └──── refused ─────┴─▶ outage: collected, tried after a pause ─▶ told
//! ```
//!
//! What a full disk gets is in `need`.
//!
//! The writer is asked what comes [next](Writer::next) and does it in [steps](Writer::step), each of
//! which waits for the disk and for nothing else.

mod need;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker_core::api::Lsn;
use broker_core::time::Instant;
use tracing::{info, warn};

use super::backlog::{self, Backlog};
use need::Look;

use super::disk::Disk;
use super::log::Log;
use super::reserve::is_full;
use super::status::{Health, Status};

/// Octets that share one sync: what a slow disk writes in some 100 ms.
const SHARED_SYNC_BYTES: usize = 8 << 20;

/// Octets of what waited for the disk that become one frame: places in a file have 32 bits.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// How soon a disk that failed is tried again at first; each time it takes twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(50);

/// How soon a full disk is tried again that has taken something.
const RETRY_IN_NEED: Duration = Duration::from_millis(5);

/// The longest time after which a disk that failed is tried again.
pub const RETRY_MAX: Duration = Duration::from_secs(1);

/// Between two lines of log about a disk that goes on failing.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Changes, and the number up to which they go.
#[derive(Debug)]
pub struct Batch {
    /// They make everything up to this number safe, with those before.
    pub upto: Lsn,
    /// A journal.
    pub changes: Vec<u8>,
}

/// What there is to take from the loop.
#[derive(Debug)]
pub enum Taken {
    /// The oldest batch that waits.
    Batch(Batch),
    /// None just now.
    NotYet,
    /// None any more: the loop has ended.
    Never,
}

/// What a writer finds around it.
pub trait Outside {
    /// Takes a batch, without waiting for one.
    fn take(&mut self) -> Taken;
    /// A buffer that was written and may be filled again.
    fn give_back(&mut self, buffer: Vec<u8>);
    /// What time it is.
    fn now(&self) -> Instant;
    /// Something has become safe, or the disk begins to fail, or works again.
    fn wake(&mut self);
    /// Somebody may have to do something about the disk. At most once a minute.
    fn complain(&mut self, error: &io::Error);
}

/// What a writer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A step when there is a batch, or never will be.
    Batch,
    /// Likewise, or at that time.
    BatchUntil(Instant),
    /// A step that hands something to the system.
    Work,
    /// A step that waits until something is safe.
    Sync,
    /// Nothing any more.
    End,
}

#[derive(Debug)]
enum State {
    /// All that was taken is safe.
    Idle,
    /// Octets of batches up to this number are in the log, and no sync has seen them.
    Written {
        upto: Lsn,
        bytes: usize,
    },
    /// They are safe: it is the turn of the compaction.
    Told,
    /// The compaction has more to do, if no batch comes first.
    Compacting,
    /// What the compaction copied is to be made safe, and the file that it emptied deleted.
    Copied,
    Outage(Box<Outage>),
    Ended,
}

/// The disk refuses, and what comes is collected.
#[derive(Debug)]
struct Outage {
    backlog: Backlog,
    /// Octets before it that are in the log, and no sync has seen them.
    written: usize,
    /// The number up to which it goes.
    upto: Lsn,
    pause: Duration,
    /// When the disk is tried again.
    until: Instant,
    is_due: bool,
    /// The loop has ended: it is tried once more, and that is it.
    is_last: bool,
    /// Somebody was told.
    is_told: bool,
    /// There was no room at some time since it began.
    is_short: bool,
    /// When the reserve was to be taken last, and what came of it.
    look: Option<Look>,
    /// Octets that lived when the reserve was there last.
    live_before: Option<u64>,
    /// With less than so many octets of changes nothing is tried before it is time.
    eager_bytes: usize,
}

impl Outage {
    /// One that begins now, when so many octets are in the log that no sync has seen.
    fn new(upto: Lsn, written: usize, now: Instant) -> Self {
        Self {
            backlog: Backlog::default(),
            written,
            upto,
            pause: RETRY_FIRST,
            until: now + RETRY_FIRST,
            is_due: false,
            is_last: false,
            is_told: false,
            is_short: false,
            look: None,
            live_before: None,
            eager_bytes: 0,
        }
    }
}

/// Makes changes safe; see the [module](self).
#[derive(Debug)]
pub struct Writer<D> {
    log: Log<D>,
    status: Arc<Status>,
    state: State,
    /// When somebody was told last: a disk that comes and goes is complained about no more often.
    complained: Option<Instant>,
    /// Nothing is compacted before: it failed.
    compacts_from: Instant,
    /// Octets of the backlog that were told.
    counted: u64,
}

impl<D: Disk> Writer<D> {
    /// A writer to a log, all of which is safe. If there was no room for the reserve the disk is
    /// full from the beginning: what little there may be is for what makes the store smaller.
    pub fn new(log: Log<D>) -> Self {
        let status = Arc::new(Status::default());
        let state = if log.is_short() {
            let outage = Outage::new(Lsn(0), 0, Instant::default());
            State::Outage(Box::new(Outage { is_short: true, ..outage }))
        } else {
            State::Idle
        };
        let compacts_from = Instant::default();
        let writer = Self { log, status, state, complained: None, compacts_from, counted: 0 };
        writer.tell_sizes();
        writer
    }

    /// Where it tells what it has done.
    pub const fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// The log that it writes.
    pub const fn log(&mut self) -> &mut Log<D> {
        &mut self.log
    }

    /// What is to be waited for before the next step.
    pub const fn next(&self) -> Next {
        match &self.state {
            State::Idle => Next::Batch,
            State::Told | State::Compacting => Next::Work,
            State::Written { .. } | State::Copied => Next::Sync,
            State::Outage(outage) if outage.is_due => Next::Sync,
            State::Outage(outage) => Next::BatchUntil(outage.until),
            State::Ended => Next::End,
        }
    }

    /// Does what comes next. A step writes 8 MiB and a batch, or all that waited for the disk, or
    /// moves a mebibyte.
    pub fn step(&mut self, outside: &mut impl Outside) {
        self.state = match core::mem::replace(&mut self.state, State::Idle) {
            State::Idle => match outside.take() {
                Taken::Batch(batch) => self.append(batch, outside),
                Taken::NotYet => State::Idle,
                Taken::Never => self.end(),
            },
            State::Written { upto, bytes } => self.make_safe(upto, bytes, outside),
            State::Told => self.compact(outside),
            State::Compacting => match outside.take() {
                Taken::Batch(batch) => self.append(batch, outside),
                Taken::NotYet => self.compact(outside),
                Taken::Never => self.end(),
            },
            State::Copied => self.delete_emptied(outside),
            State::Outage(outage) if outage.is_due => self.try_again(outage, outside),
            State::Outage(outage) => self.outlast(outage, outside),
            State::Ended => State::Ended,
        };
        self.tell_sizes();
    }

    /// Appends a batch, and all that wait behind it.
    fn append(&mut self, first: Batch, outside: &mut impl Outside) -> State {
        let (mut upto, mut bytes) = (first.upto, 0);
        let mut next = Taken::Batch(first);
        while let Taken::Batch(batch) = next {
            upto = batch.upto;
            if let Err(error) = self.log.append(&batch.changes) {
                let mut outage = Outage::new(upto, bytes, outside.now());
                self.collect(&mut outage.backlog, &batch.changes);
                return self.begin_outage(outage, &error, outside);
            }
            bytes += batch.changes.len();
            outside.give_back(batch.changes);
            next = if bytes < SHARED_SYNC_BYTES { outside.take() } else { Taken::NotYet };
        }
        State::Written { upto, bytes }
    }

    /// Syncs what was appended.
    fn make_safe(&mut self, upto: Lsn, bytes: usize, outside: &mut impl Outside) -> State {
        match self.sync(outside) {
            Ok(()) => {
                self.tell_written(bytes);
                self.tell_committed(upto, outside);
                State::Told
            }
            Err(error) => {
                self.begin_outage(Outage::new(upto, bytes, outside.now()), &error, outside)
            }
        }
    }

    fn sync(&mut self, outside: &impl Outside) -> io::Result<()> {
        let began = outside.now();
        self.log.sync()?;
        let took = outside.now().since(began).as_micros();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        self.status.syncs.fetch_add(1, Ordering::Relaxed);
        self.status.sync_us.fetch_add(took, Ordering::Relaxed);
        self.status.sync_us_max.fetch_max(took, Ordering::Relaxed);
        Ok(())
    }

    /// Does a piece of the compaction. What fails here is tried again later: nobody waits for it.
    fn compact(&mut self, outside: &impl Outside) -> State {
        if outside.now() < self.compacts_from {
            return State::Idle;
        }
        match self.log.compact() {
            Ok(_) if self.log.has_emptied() => State::Copied,
            Ok(true) => State::Compacting,
            Ok(false) => State::Idle,
            Err(error) => self.put_off(&error, outside),
        }
    }

    fn delete_emptied(&mut self, outside: &impl Outside) -> State {
        match self.log.sync() {
            Ok(()) => State::Compacting,
            Err(error) => self.put_off(&error, outside),
        }
    }

    fn put_off(&mut self, error: &io::Error, outside: &impl Outside) -> State {
        self.compacts_from = outside.now() + COMPLAINT_INTERVAL;
        self.status.failures.fetch_add(1, Ordering::Relaxed);
        warn!(%error, "the store cannot be compacted now");
        State::Idle
    }

    /// The loop has ended, and what it handed over was written, or could not be.
    fn end(&mut self) -> State {
        // What a compaction copied last; nobody waits for it.
        let _ = self.log.sync();
        State::Ended
    }

    /// The disk has failed: what comes is collected until it works again. All that is written then
    /// as one frame, before any of it is told to be safe.
    fn begin_outage(
        &mut self,
        mut outage: Outage,
        error: &io::Error,
        outside: &mut impl Outside,
    ) -> State {
        self.refused(&mut outage, error, outside);
        State::Outage(Box::new(outage))
    }

    /// Takes what comes until it is time to try again.
    fn outlast(&mut self, mut outage: Box<Outage>, outside: &mut impl Outside) -> State {
        loop {
            match outside.take() {
                Taken::Batch(batch) => {
                    outage.upto = batch.upto;
                    self.collect(&mut outage.backlog, &batch.changes);
                    outside.give_back(batch.changes);
                    let waiting_bytes = outage.backlog.live_bytes();
                    if outage.is_short && waiting_bytes >= self.eager_bytes(&outage) {
                        outage.is_due = true;
                        break;
                    }
                }
                Taken::NotYet => {
                    outage.is_due = outside.now() >= outage.until;
                    break;
                }
                Taken::Never => {
                    (outage.is_due, outage.is_last) = (true, true);
                    break;
                }
            }
        }
        State::Outage(outage)
    }

    fn try_again(&mut self, mut outage: Box<Outage>, outside: &mut impl Outside) -> State {
        let before = self.status.committed();
        let written = if outage.is_short {
            self.write_in_need(&mut outage, outside)
        } else {
            self.write(&mut outage, outside, append_pieces)
        };
        let has_moved = self.status.committed() > before;
        match written {
            Ok(()) => {
                if outage.is_told {
                    info!("the store can be written again");
                }
                self.status.set_health(Health::Ok);
                outside.wake();
                State::Told
            }
            Err(_) if outage.is_last => self.end(),
            Err(error) => {
                // What was not worth it may be when it is twice as much.
                outage.eager_bytes = 2 * outage.backlog.live_bytes();
                outage.pause = if has_moved { RETRY_IN_NEED } else { outage.pause * 2 };
                outage.pause = outage.pause.min(RETRY_MAX);
                outage.until = outside.now() + outage.pause;
                outage.is_due = false;
                self.refused(&mut outage, &error, outside);
                State::Outage(outage)
            }
        }
    }

    fn refused(&mut self, outage: &mut Outage, error: &io::Error, outside: &mut impl Outside) {
        outage.is_short |= is_full(error);
        self.status.failures.fetch_add(1, Ordering::Relaxed);
        let health = if is_full(error) { Health::Full } else { Health::Failed };
        if self.status.set_health(health) != health {
            outside.wake();
        }
        let now = outside.now();
        if self.complained.is_none_or(|at| now.since(at) >= COMPLAINT_INTERVAL) {
            outside.complain(error);
            self.complained = Some(now);
            outage.is_told = true;
        }
    }

    fn collect(&mut self, backlog: &mut Backlog, changes: &[u8]) {
        backlog.add(changes, |key| self.log.record_bytes(key));
        self.count(backlog);
        self.status.backlog_bytes.fetch_sub(changes.len() as u64, Ordering::Relaxed);
    }

    /// Tells what the backlog takes by now.
    fn count(&mut self, backlog: &Backlog) {
        let before = core::mem::replace(&mut self.counted, backlog.memory() as u64);
        let waiting = &self.status.backlog_bytes;
        waiting.fetch_add(self.counted, Ordering::Relaxed);
        waiting.fetch_sub(before, Ordering::Relaxed);
    }

    /// Makes everything safe, first what the log has already: as long as that does not succeed it
    /// gets no more. `append` puts the rest into the log.
    fn write(
        &mut self,
        outage: &mut Outage,
        outside: &mut impl Outside,
        append: impl FnOnce(&mut Log<D>, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.sync(outside)?;
        self.tell_written(core::mem::take(&mut outage.written));
        let changes = outage.backlog.changes();
        if !changes.is_empty() {
            append(&mut self.log, changes)?;
            self.status.changed_bytes.fetch_add(changes.len() as u64, Ordering::Relaxed);
            self.sync(outside)?;
        }
        outage.backlog = Backlog::default();
        self.count(&outage.backlog);
        self.tell_committed(outage.upto, outside);
        Ok(())
    }

    /// So many octets of changes are safe.
    fn tell_written(&self, bytes: usize) {
        self.status.changed_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.status.backlog_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    fn tell_committed(&self, upto: Lsn, outside: &mut impl Outside) {
        self.status.set_committed(upto);
        outside.wake();
    }

    fn tell_sizes(&self) {
        let Self { log, status, .. } = self;
        status.records.store(log.records() as u64, Ordering::Relaxed);
        status.live_bytes.store(log.live_bytes(), Ordering::Relaxed);
        status.bytes.store(log.bytes(), Ordering::Relaxed);
    }
}

fn append_pieces<D: Disk>(log: &mut Log<D>, changes: &[u8]) -> io::Result<()> {
    backlog::pieces(changes, FRAME_BYTES_MAX).try_for_each(|piece| log.append(piece))
}
