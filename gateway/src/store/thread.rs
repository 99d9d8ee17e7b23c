//! The thread that waits for the disk, so that the loop does not have to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use broker_core::api::Lsn;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use tracing::{info, warn};

use super::backlog::{self, Backlog};
use super::disk::Disk;
use super::log::Log;
use super::reserve;

/// Batches on their way to the thread; what does not fit waits in one larger batch.
const BATCHES_MAX: usize = 64;

/// Octets that share one sync: what a slow disk writes in some 100 ms.
const SHARED_SYNC_BYTES: usize = 8 << 20;

/// Octets of what waited for the disk that become one frame: places in a file have 32 bits.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// Buffers larger than this are not used again.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// How soon a disk that failed is tried again, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Between two lines of log about a disk that goes on failing.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// How the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// What is handed over becomes safe.
    Ok = 0,
    /// There is no room. It is tried again all the time.
    Full = 1,
    /// The disk fails otherwise. It is tried again all the time.
    Failed = 2,
}

/// What the thread has done so far, and how large the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Syncs, the time they took in microseconds, and the longest.
    pub syncs: u64,
    /// See `syncs`.
    pub sync_us: u64,
    /// See `syncs`.
    pub sync_us_max: u64,
    /// Octets of changes.
    pub changed_bytes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Records that live, octets that they take, octets of all files.
    pub records: u64,
    /// See `records`.
    pub live_bytes: u64,
    /// See `records`.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Shared {
    committed: AtomicU64,
    health: AtomicU8,
    backlog_bytes: AtomicU64,
    syncs: AtomicU64,
    sync_us: AtomicU64,
    sync_us_max: AtomicU64,
    changed_bytes: AtomicU64,
    failures: AtomicU64,
    records: AtomicU64,
    live_bytes: AtomicU64,
    bytes: AtomicU64,
}

/// Changes, and the number up to which they go.
#[derive(Debug)]
struct Batch {
    upto: Lsn,
    changes: Vec<u8>,
}

/// The store as the loop sees it. Nothing here waits.
#[derive(Debug)]
pub struct Store {
    batches: Option<Sender<Batch>>,
    buffers: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
    /// What found no room in the channel.
    held: Option<Batch>,
    /// The number up to which changes were handed over.
    submitted: Lsn,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Starts the thread. It calls `wake` whenever something has become safe, or the disk begins to
    /// fail, and `complain` as soon as that is so, but once a minute at most.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start<D: Disk + 'static>(
        log: Log<D>,
        wake: impl Fn() + Send + 'static,
        complain: impl Fn(&io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (batches, from_loop) = bounded(BATCHES_MAX);
        let (to_loop, buffers) = bounded(BATCHES_MAX);
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            log,
            batches: from_loop,
            buffers: to_loop,
            shared: Arc::clone(&shared),
            wake,
            complain,
            complained: None,
            counted: 0,
        };
        writer.tell_sizes();
        let thread = std::thread::Builder::new().name("store".to_owned());
        let thread = thread.spawn(move || writer.run())?;
        Ok(Self {
            batches: Some(batches),
            buffers,
            shared,
            held: None,
            submitted: Lsn(0),
            thread: Some(thread),
        })
    }

    /// Hands over the changes of a turn, those up to `upto`, and leaves an empty buffer for the
    /// next. To be called every turn, also without changes: it hands over what had to wait.
    pub fn submit(&mut self, upto: Lsn, changes: &mut Vec<u8>) {
        self.shared.backlog_bytes.fetch_add(changes.len() as u64, Ordering::Relaxed);
        let batch = match (self.held.take(), changes.is_empty()) {
            (None, true) => return,
            (None, false) => {
                let buffer = self.buffers.try_recv().unwrap_or_default();
                Batch { upto, changes: core::mem::replace(changes, buffer) }
            }
            (Some(mut held), _) => {
                held.changes.append(changes);
                Batch { upto, ..held }
            }
        };
        self.submitted = batch.upto;
        let Some(batches) = &self.batches else { return };
        match batches.try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(batch)) => self.held = Some(batch),
            // The thread ends before us only by a panic, and that ends the process.
            Err(TrySendError::Disconnected(_)) => unreachable!("the store thread lives"),
        }
    }

    /// Changes up to this number are safe.
    pub fn committed(&self) -> Lsn {
        Lsn(self.shared.committed.load(Ordering::Acquire))
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        match self.shared.health.load(Ordering::Relaxed) {
            0 => Health::Ok,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    /// Octets that were handed over and are not safe yet.
    pub fn backlog_bytes(&self) -> u64 {
        self.shared.backlog_bytes.load(Ordering::Relaxed)
    }

    /// What the thread has done.
    pub fn stats(&self) -> StoreStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &self.shared;
        StoreStats {
            syncs: read(&shared.syncs),
            sync_us: read(&shared.sync_us),
            sync_us_max: read(&shared.sync_us_max),
            changed_bytes: read(&shared.changed_bytes),
            failures: read(&shared.failures),
            records: read(&shared.records),
            live_bytes: read(&shared.live_bytes),
            bytes: read(&shared.bytes),
        }
    }

    /// Waits until all that was handed over is safe, or the disk refuses once more, and ends the
    /// thread. Returns whether all is safe.
    pub fn close(mut self) -> bool {
        if let (Some(batches), Some(held)) = (&self.batches, self.held.take()) {
            // There is time now; the thread takes batches as long as the disk works.
            let _ = batches.send_timeout(held, RETRY_MAX);
        }
        self.batches = None;
        let thread = self.thread.take().expect("ended here only");
        thread.join().is_ok() && self.committed() >= self.submitted
    }
}

/// The thread's side.
struct Writer<D, W, C> {
    log: Log<D>,
    batches: Receiver<Batch>,
    buffers: Sender<Vec<u8>>,
    shared: Arc<Shared>,
    wake: W,
    complain: C,
    /// When that was done last: a disk that comes and goes is complained about no more often.
    complained: Option<Instant>,
    /// Octets of the backlog that were told.
    counted: u64,
}

impl<D: Disk, W: Fn(), C: Fn(&io::Error)> Writer<D, W, C> {
    fn run(mut self) {
        let mut is_compacting = false;
        loop {
            let first = if is_compacting {
                self.batches.try_recv()
            } else {
                self.batches.recv().map_err(|_| TryRecvError::Disconnected)
            };
            let is_over = match first {
                Ok(first) => !self.commit(first),
                Err(TryRecvError::Empty) => false,
                Err(TryRecvError::Disconnected) => true,
            };
            if is_over {
                break;
            }
            is_compacting = self.compact();
            self.tell_sizes();
        }
        // What a compaction copied last; nobody waits for it.
        let _ = self.log.sync();
    }

    /// Makes a batch safe, with all that wait behind it. `false`: the disk refuses, and the loop is
    /// about to end.
    fn commit(&mut self, first: Batch) -> bool {
        let (mut upto, mut bytes) = (first.upto, 0);
        let mut next = Some(first);
        while let Some(batch) = next {
            upto = batch.upto;
            if let Err(error) = self.log.append(&batch.changes) {
                self.tell_written(bytes);
                return self.outlast(error, upto, &batch.changes);
            }
            bytes += batch.changes.len();
            self.give_back(batch.changes);
            next = if bytes < SHARED_SYNC_BYTES { self.batches.try_recv().ok() } else { None };
        }
        let synced = self.sync();
        self.tell_written(bytes);
        if let Err(error) = synced {
            return self.outlast(error, upto, &[]);
        }
        self.tell_committed(upto);
        true
    }

    fn sync(&mut self) -> io::Result<()> {
        let began = Instant::now();
        self.log.sync()?;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.sync_us.fetch_add(took, Ordering::Relaxed);
        self.shared.sync_us_max.fetch_max(took, Ordering::Relaxed);
        Ok(())
    }

    /// The disk has failed: what comes is collected, behind `changes`, until it works again. All
    /// that is written then as one frame, before any of it is told to be safe. `false`: it does not
    /// work, and the loop has ended.
    fn outlast(&mut self, mut error: io::Error, mut upto: Lsn, changes: &[u8]) -> bool {
        let mut backlog = Backlog::default();
        self.collect(&mut backlog, changes);
        let mut pause = RETRY_FIRST;
        let mut is_told = false;
        let mut is_short = false;
        loop {
            self.tell_failure(&error);
            if self.complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                (self.complain)(&error);
                self.complained = Some(Instant::now());
                is_told = true;
            }
            let until = Instant::now() + pause;
            let is_open = loop {
                match self.batches.recv_deadline(until) {
                    Ok(batch) => {
                        upto = batch.upto;
                        self.collect(&mut backlog, &batch.changes);
                        self.give_back(batch.changes);
                    }
                    Err(RecvTimeoutError::Timeout) => break true,
                    Err(RecvTimeoutError::Disconnected) => break false,
                }
            };
            is_short |= is_full(&error);
            let written = if is_short {
                self.write_in_need(&mut backlog, upto)
            } else {
                self.write(&mut backlog, upto)
            };
            match written {
                Ok(()) => break,
                Err(_) if !is_open => return false,
                Err(again) => error = again,
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
        if is_told {
            info!("the store can be written again");
        }
        self.shared.health.store(Health::Ok as u8, Ordering::Relaxed);
        (self.wake)();
        true
    }

    fn collect(&mut self, backlog: &mut Backlog, changes: &[u8]) {
        backlog.add(changes, |key| self.log.record_bytes(key));
        self.count(backlog);
        self.shared.backlog_bytes.fetch_sub(changes.len() as u64, Ordering::Relaxed);
    }

    /// Tells what the backlog takes by now.
    fn count(&mut self, backlog: &Backlog) {
        let before = core::mem::replace(&mut self.counted, backlog.memory() as u64);
        let waiting = &self.shared.backlog_bytes;
        waiting.fetch_add(self.counted, Ordering::Relaxed);
        waiting.fetch_sub(before, Ordering::Relaxed);
    }

    /// Makes everything safe, first what the log has already: as long as that does not succeed it
    /// gets no more.
    fn write(&mut self, backlog: &mut Backlog, upto: Lsn) -> io::Result<()> {
        self.sync()?;
        let changes = backlog.changes();
        if !changes.is_empty() {
            for piece in backlog::pieces(changes, FRAME_BYTES_MAX) {
                self.log.append(piece)?;
            }
            self.shared.changed_bytes.fetch_add(changes.len() as u64, Ordering::Relaxed);
            self.sync()?;
        }
        *backlog = Backlog::default();
        self.count(backlog);
        self.tell_committed(upto);
        Ok(())
    }

    /// The same after the disk was full. All is well when there is room for the reserve, and then
    /// for all that waits. Until then the reserve is there for what makes the store smaller.
    fn write_in_need(&mut self, backlog: &mut Backlog, upto: Lsn) -> io::Result<()> {
        let held = reserve::take(self.log.disk());
        let Err(error) = held.and_then(|()| self.write(backlog, upto)) else { return Ok(()) };
        let is_gain = backlog.is_gain(|key| self.log.record_bytes(key));
        if !is_full(&error) || !is_gain && !self.log.can_shrink() {
            return Err(error);
        }
        reserve::release(self.log.disk())?;
        if is_gain {
            self.write(backlog, upto)?;
        }
        while self.log.make_room()? {}
        reserve::take(self.log.disk())?;
        self.write(backlog, upto)
    }

    /// Does a piece of the compaction; whether more is to do. What fails here is tried again later:
    /// nobody waits for it.
    fn compact(&mut self) -> bool {
        let more = self.log.compact().and_then(|more| {
            if self.log.has_emptied() {
                self.log.sync()?;
                return Ok(true);
            }
            Ok(more)
        });
        match more {
            Ok(more) => more,
            Err(error) => {
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                warn!(%error, "the store cannot be compacted now");
                false
            }
        }
    }

    fn tell_failure(&self, error: &io::Error) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        let health = if is_full(error) { Health::Full } else { Health::Failed } as u8;
        if self.shared.health.swap(health, Ordering::Relaxed) != health {
            (self.wake)();
        }
    }

    /// So many octets of changes are in the log.
    fn tell_written(&self, bytes: usize) {
        self.shared.changed_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.shared.backlog_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    fn tell_committed(&self, upto: Lsn) {
        self.shared.committed.store(upto.0, Ordering::Release);
        (self.wake)();
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_KEPT_BYTES {
            buffer.clear();
            // If there is no room for it there are enough.
            let _ = self.buffers.try_send(buffer);
        }
    }

    fn tell_sizes(&self) {
        let set = |to: &AtomicU64, value: u64| to.store(value, Ordering::Relaxed);
        set(&self.shared.records, self.log.records() as u64);
        set(&self.shared.live_bytes, self.log.live_bytes());
        set(&self.shared.bytes, self.log.bytes());
    }
}

/// Whether there is no room, or none that we may have.
fn is_full(error: &io::Error) -> bool {
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind())
}
