//! What the store tells the loop, without making it wait.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use broker_core::api::Lsn;

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

/// What the store has done so far, and how large the log is.
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

/// What the store tells: written by its thread, read by the loop.
#[derive(Debug, Default)]
pub struct Status {
    committed: AtomicU64,
    health: AtomicU8,
    pub(super) backlog_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_us: AtomicU64,
    pub(super) sync_us_max: AtomicU64,
    pub(super) changed_bytes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) live_bytes: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Status {
    /// Changes up to this number are safe.
    pub fn committed(&self) -> Lsn {
        Lsn(self.committed.load(Ordering::Acquire))
    }

    /// How the store is.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Ok,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    /// Octets that were handed over and are not safe yet.
    pub fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(Ordering::Relaxed)
    }

    /// What the store has done.
    pub fn stats(&self) -> StoreStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            syncs: read(&self.syncs),
            sync_us: read(&self.sync_us),
            sync_us_max: read(&self.sync_us_max),
            changed_bytes: read(&self.changed_bytes),
            failures: read(&self.failures),
            records: read(&self.records),
            live_bytes: read(&self.live_bytes),
            bytes: read(&self.bytes),
        }
    }

    /// So many octets of changes are on their way to the writer.
    pub fn handed_over(&self, bytes: usize) {
        self.backlog_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn set_committed(&self, upto: Lsn) {
        self.committed.store(upto.0, Ordering::Release);
    }

    /// Returns how the store was before.
    pub(super) fn set_health(&self, health: Health) -> Health {
        let before = self.health();
        self.health.store(health as u8, Ordering::Relaxed);
        before
    }
}
