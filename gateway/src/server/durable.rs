//! Phase 4: what was changed goes to the store, and what is safe is told.
//!
//! With a store, answers that promise something wait in the broker and in the MQTT-SN machine until
//! the store has said that what they promise is on disk. One batch a turn; the loop never waits.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as MachineInstant, SystemTime, UNIX_EPOCH};

use broker_core::Broker;
use broker_core::api::Lsn;
use broker_core::time::Now;
use mio::Waker;
use tracing::{error, info, warn};

use super::Server;
use super::start::StartError;
use crate::config::{Config, OnDiskFull, Storage};
use crate::kept::{self, Restoring};
use crate::net;
use crate::sn::SnGateway;
use crate::store::disk::Folder;
use crate::store::{DataDir, DataDirError, Log, LogConfig, Opened, Store};

/// How long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is kept, and by whom.
#[derive(Debug)]
pub(super) struct Durable {
    store: Option<Store>,
    changes: Vec<u8>,
    /// The number of the latest change that was handed over.
    submitted: Lsn,
    /// Kept locked.
    _dir: Option<DataDir>,
    on_disk_full: OnDiskFull,
    /// The same for the store's thread, whether it is to degrade.
    degrades: Arc<AtomicBool>,
}

/// A store that was opened and not restored from.
pub(super) struct Found {
    dir: DataDir,
    log: Log<Folder>,
}

/// Opens what the configuration names; `None`: the state is kept in memory.
pub(super) fn open(config: &Config, salvage: bool) -> Result<Option<Found>, StartError> {
    let (folder, is_named) = match config.storage(|name| std::env::var_os(name)) {
        Storage::Memory(why) => {
            info!(why, "the state is kept in memory and ends with the process");
            return Ok(None);
        }
        Storage::Named(folder) => (folder, true),
        Storage::Default(folder) => (folder, false),
    };
    match open_folder(&folder, salvage) {
        Ok(found) => Ok(Some(found)),
        Err(error @ (DataDirError::Locked(_) | DataDirError::Io(..))) if !is_named => {
            warn!(%error, "the state is kept in memory: --data-dir DIR names a folder that can be used");
            Ok(None)
        }
        Err(error) => {
            let right = advice(&error).to_owned();
            Err(StartError::new(format!("cannot use the data folder: {error}"), right))
        }
    }
}

fn open_folder(folder: &Path, salvage: bool) -> Result<Found, DataDirError> {
    let dir = DataDir::take(folder)?;
    // Where that cannot be told, there is enough.
    let free_bytes = net::free_bytes(folder).unwrap_or(u64::MAX);
    let room_bytes = free_bytes.saturating_add(dir.store_bytes());
    let (log, opened) = dir.open(LogConfig::for_disk(room_bytes), salvage, today)?;
    match opened {
        Opened::Good(found) => {
            info!(folder = %folder.display(), records = log.records(), "the state is kept on disk");
            if salvage {
                info!("--recover has nothing to do: the store is not damaged");
            }
            if found.torn_bytes > 0 {
                let bytes = found.torn_bytes;
                warn!(bytes, "the last end was not in order: what nobody was promised is cut off");
            }
        }
        Opened::SetAside { path, error } => error!(
            %error,
            aside = %path.display(),
            "the store is damaged and was set aside; an empty one is used. Stopped, with this \
             folder moved back to `store`, and started with --recover, the gateway brings back \
             what can be read"
        ),
        Opened::Salvaged { path, found } => warn!(
            aside = %path.display(),
            bytes_lost = found.skipped_bytes,
            records = log.records(),
            "the store was damaged; what could be read of it is used"
        ),
    }
    Ok(Found { dir, log })
}

fn advice(error: &DataDirError) -> &'static str {
    match error {
        DataDirError::Locked(_) => {
            "stop the other gateway, or choose another folder: --data-dir DIR"
        }
        DataDirError::Io(..) => "choose a folder that this user may write: --data-dir DIR",
        DataDirError::Store(..) => {
            "use the version that wrote it, or choose another folder: --data-dir DIR"
        }
    }
}

/// The moment, as it stands in the name of a folder: UTC, to the second.
fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (since / 86_400, since % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of a day since 1970.
fn date(mut day: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let days = if is_leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    (year, month, day + 1)
}

/// Brings everything back and starts the store.
pub(super) fn restore(
    found: Option<Found>,
    on_disk_full: OnDiskFull,
    now: Now,
    waker: Arc<Waker>,
    broker: &mut Broker,
    sn: &mut SnGateway,
) -> Result<Durable, StartError> {
    let Some(Found { dir, mut log }) = found else {
        return Ok(Durable {
            store: None,
            changes: Vec::new(),
            submitted: Lsn(0),
            _dir: None,
            on_disk_full,
            degrades: Arc::default(),
        });
    };
    let began = MachineInstant::now();
    let mut restoring = Restoring::default();
    let restored = log.for_each_record::<Box<dyn std::error::Error>>(|key, value| {
        restoring.take(now, (key, value), broker, sn)
    });
    restored.map_err(|error| {
        let right = "use the version that wrote it, or choose another folder: --data-dir DIR";
        StartError::new(format!("cannot read the store: {error}"), right.to_owned())
    })?;
    let mut changes = Vec::new();
    let report = restoring.finish(now, broker, sn, &mut changes);
    info!(
        sessions = report.sessions,
        messages = report.messages,
        subscriptions = report.subscriptions,
        took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "restored"
    );
    let wake = move || {
        // A loop that is gone needs no word.
        let _ = waker.wake();
    };
    let degrades = Arc::new(AtomicBool::new(on_disk_full == OnDiskFull::Degrade));
    let does_degrade = Arc::clone(&degrades);
    let complain = move |error: &io::Error| complain(does_degrade.load(Ordering::Relaxed), error);
    let store = Store::start(log, wake, complain);
    let store = store.map_err(|error| super::start::machine(&error))?;
    let (store, submitted, _dir) = (Some(store), Lsn(0), Some(dir));
    Ok(Durable { store, changes, submitted, _dir, on_disk_full, degrades })
}

fn complain(does_degrade: bool, error: &io::Error) {
    if does_degrade {
        warn!(
            %error,
            "the store cannot be written: what is acknowledged until it can is lost with the \
             process"
        );
    } else {
        error!(%error, "the store cannot be written: nothing is acknowledged until it can");
    }
}

impl Durable {
    /// What is kept on disk has a store.
    pub(super) const fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// How the store is, in a word.
    pub(super) fn health(&self) -> &'static str {
        kept::health_word(self.store.as_ref().map(Store::health), self.on_disk_full)
    }

    /// Octets in memory that wait for the disk.
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.store.as_ref().map_or(0, Store::backlog_bytes)
    }
}

impl Server {
    /// What becomes of acknowledgements while the disk takes nothing, from now on.
    pub(super) fn set_on_disk_full(&mut self, on_disk_full: OnDiskFull) {
        let Self { durable, broker, sn, .. } = self;
        durable.on_disk_full = on_disk_full;
        durable.degrades.store(on_disk_full == OnDiskFull::Degrade, Ordering::Relaxed);
        if durable.store.is_some() {
            // As with a store that is well; how it is comes next.
            broker.set_refusing(false);
            broker.set_gated(true);
            sn.set_gated(true);
            self.hear_store();
        }
    }

    /// Lets go what waited for the disk, as far as that has come.
    pub(super) fn hear_store(&mut self) {
        let Some(store) = self.durable.store() else { return };
        let heard = (store.committed(), store.health());
        kept::hear_store(heard, self.durable.on_disk_full, &mut self.broker, &mut self.sn);
    }

    /// Hands the changes of this turn over.
    pub(super) fn submit_changes(&mut self) {
        let Self { durable, broker, sn, .. } = self;
        let Some(store) = &mut durable.store else { return };
        let upto = kept::take_changes(broker, sn, &mut durable.changes);
        durable.submitted = upto;
        store.submit(upto, &mut durable.changes);
    }

    /// Waits until everything is safe, for a while; called when nothing more is read.
    pub(super) fn await_store(&mut self) {
        self.submit_changes();
        let until = MachineInstant::now() + PATIENCE;
        while let Some(store) = self.durable.store()
            && store.committed() < self.durable.submitted
            && MachineInstant::now() < until
        {
            std::thread::sleep(Duration::from_millis(1));
            self.submit_changes();
        }
        self.hear_store();
    }

    /// The end of the store, after which nothing changes any more. Returns whether all is safe.
    pub(super) fn close_store(&mut self) -> bool {
        self.submit_changes();
        let Some(mut store) = self.durable.store.take() else { return true };
        let mut changes = Vec::new();
        kept::clean_end(&mut changes);
        store.submit(Lsn(self.durable.submitted.0 + 1), &mut changes);
        let is_safe = store.close();
        if !is_safe {
            error!("the store could not be written to its end: what was not acknowledged is lost");
        }
        is_safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "day {days}");
        }
    }
}
