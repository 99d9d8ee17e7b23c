//! The thread that waits for the disk, so that the loop does not have to.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker_core::api::Lsn;
use broker_core::time::Instant;
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use super::disk::Disk;
use super::log::Log;
use super::status::{Health, Status, StoreStats};
use super::writer::{Batch, Next, Outside, RETRY_MAX, Taken, Writer};

/// Batches on their way to the thread; what does not fit waits in one larger batch.
const BATCHES_MAX: usize = 64;

/// Buffers larger than this are not used again.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// The store as the loop sees it. Nothing here waits.
#[derive(Debug)]
pub struct Store {
    batches: Option<Sender<Batch>>,
    buffers: Receiver<Vec<u8>>,
    status: Arc<Status>,
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
        let writer = Writer::new(log);
        let status = Arc::clone(writer.status());
        let loop_side = LoopSide {
            batches: from_loop,
            first: None,
            buffers: to_loop,
            began: std::time::Instant::now(),
            wake,
            complain,
        };
        let thread = std::thread::Builder::new().name("store".to_owned());
        let thread = thread.spawn(move || run(writer, loop_side))?;
        Ok(Self {
            batches: Some(batches),
            buffers,
            status,
            held: None,
            submitted: Lsn(0),
            thread: Some(thread),
        })
    }

    /// Hands over the changes of a turn, those up to `upto`, and leaves an empty buffer for the
    /// next. To be called every turn, also without changes: it hands over what had to wait.
    pub fn submit(&mut self, upto: Lsn, changes: &mut Vec<u8>) {
        self.status.handed_over(changes.len());
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

    /// What the thread tells.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Changes up to this number are safe.
    pub fn committed(&self) -> Lsn {
        self.status.committed()
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        self.status.health()
    }

    /// Octets that were handed over and are not safe yet.
    pub fn backlog_bytes(&self) -> u64 {
        self.status.backlog_bytes()
    }

    /// What the thread has done.
    pub fn stats(&self) -> StoreStats {
        self.status.stats()
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

/// The loop as the thread sees it.
struct LoopSide<W, C> {
    batches: Receiver<Batch>,
    /// One that was waited for.
    first: Option<Batch>,
    buffers: Sender<Vec<u8>>,
    began: std::time::Instant,
    wake: W,
    complain: C,
}

impl<W: Fn(), C: Fn(&io::Error)> Outside for LoopSide<W, C> {
    fn take(&mut self) -> Taken {
        if let Some(batch) = self.first.take() {
            return Taken::Batch(batch);
        }
        match self.batches.try_recv() {
            Ok(batch) => Taken::Batch(batch),
            Err(TryRecvError::Empty) => Taken::NotYet,
            Err(TryRecvError::Disconnected) => Taken::Never,
        }
    }

    fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_KEPT_BYTES {
            buffer.clear();
            // If there is no room for it there are enough.
            let _ = self.buffers.try_send(buffer);
        }
    }

    fn now(&self) -> Instant {
        Instant::default() + self.began.elapsed()
    }

    fn wake(&mut self) {
        (self.wake)();
    }

    fn complain(&mut self, error: &io::Error) {
        (self.complain)(error);
    }
}

/// The life of the thread. A channel that has no sender any more says so when it is empty, here and
/// to the writer.
fn run<D: Disk>(mut writer: Writer<D>, mut loop_side: LoopSide<impl Fn(), impl Fn(&io::Error)>) {
    loop {
        match writer.next() {
            Next::Batch => loop_side.first = loop_side.batches.recv().ok(),
            Next::BatchUntil(until) => {
                let until = loop_side.began + Duration::from_micros(until.as_micros());
                loop_side.first = loop_side.batches.recv_deadline(until).ok();
            }
            Next::Work | Next::Sync => {}
            Next::End => return,
        }
        writer.step(&mut loop_side);
    }
}
