//! The folder of what outlives the process: locked, opened, and set aside if it is damaged.
//!
//! ```text
//! lock                       held by the process that uses the folder
//! store/0000000001.log …     the log
//! store/0000000007.floor     where it begins
//! store/reserve              room for the time when the disk is full
//! store.damaged-20261122T101500Z/   one that could not be read, as it was found
//! store.recovering/          what can be read of one, until all of that is there
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::disk::Folder;
use super::log::{Log, LogConfig};
use super::open::{self, Found, OpenError};
use super::reserve;

const STORE: &str = "store";
const RECOVERING: &str = "store.recovering";
const LOCK: &str = "lock";

/// A folder that this process has for itself.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug)]
pub enum DataDirError {
    /// Another process uses it.
    Locked(PathBuf),
    /// It cannot be made, read or written.
    Io(PathBuf, io::Error),
    /// What stands in it cannot be read, or not by this program.
    Store(PathBuf, OpenError),
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(path) => write!(f, "{} is in use by another process", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Store(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DataDirError {}

/// What became of the store at the start.
#[derive(Debug)]
pub enum Opened {
    /// It is as it was left.
    Good(Found),
    /// It is damaged, was moved there, and an empty one made.
    SetAside {
        /// Where it is now.
        path: PathBuf,
        /// What is wrong with it.
        error: OpenError,
    },
    /// It was damaged, was moved there, and what could be read is in the new one.
    Salvaged {
        /// Where it is now.
        path: PathBuf,
        /// What was found.
        found: Found,
    },
}

impl DataDir {
    /// Takes a folder, and makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be made or written, or another process has it.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let failed = |error| DataDirError::Io(path.to_owned(), error);
        Folder::open(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Octets of all files of the store; 0 if there is none.
    pub fn store_bytes(&self) -> u64 {
        let files = fs::read_dir(self.path.join(STORE)).into_iter().flatten().flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }

    /// Opens the store. One that is damaged is set aside under the date, which `date` tells; with
    /// `salvage` what can be read of it goes into the new one.
    ///
    /// # Errors
    /// The disk refuses, or a later program has written the store: nothing is changed then.
    pub fn open(
        &self,
        config: LogConfig,
        salvage: bool,
        date: impl Fn() -> String,
    ) -> Result<(Log<Folder>, Opened), DataDirError> {
        let store = self.path.join(STORE);
        self.end_recovery().map_err(|error| DataDirError::Io(store.clone(), error))?;
        let error = match self.open_store(config) {
            Ok((mut log, found)) => {
                self.hold_reserve(&mut log)?;
                return Ok((log, Opened::Good(found)));
            }
            Err(error @ (OpenError::Damaged { .. } | OpenError::Missing { .. })) => error,
            Err(error) => return Err(DataDirError::Store(store, error)),
        };
        let failed = |error| DataDirError::Io(store.clone(), error);
        let refused = |error| DataDirError::Store(store.clone(), error);
        let salvaged = if salvage { Some(self.salvage(config).map_err(refused)?) } else { None };
        let path = self.path.join(format!("{STORE}.damaged-{}", date()));
        fs::rename(&store, &path).map_err(failed)?;
        // The new one needs that room more.
        let _ = Folder::open(&path).and_then(|mut aside| reserve::release(&mut aside));
        self.end_recovery().map_err(failed)?;
        let (mut log, _) = self.open_store(config).map_err(refused)?;
        self.hold_reserve(&mut log)?;
        let opened = match salvaged {
            Some(found) => Opened::Salvaged { path, found },
            None => Opened::SetAside { path, error },
        };
        Ok((log, opened))
    }

    /// Copies what can be read of the store to a folder beside it. Whoever is interrupted in it, or
    /// has no room, finds the damaged store again, and not a part of it that looks whole.
    fn salvage(&self, config: LogConfig) -> Result<Found, OpenError> {
        let from = Folder::open(&self.path.join(STORE))?;
        let into = Folder::open(&self.path.join(RECOVERING))?;
        let (mut log, _) = open::open(into, config)?;
        open::salvage(&from, &mut log)
    }

    /// What was being copied while the store is there is of no use; without it all was copied.
    fn end_recovery(&self) -> io::Result<()> {
        let recovering = self.path.join(RECOVERING);
        if !recovering.is_dir() {
            return Ok(());
        }
        let store = self.path.join(STORE);
        if store.is_dir() {
            return fs::remove_dir_all(recovering);
        }
        fs::rename(recovering, store)?;
        // What is acknowledged from here on stands there.
        File::open(&self.path)?.sync_all()
    }

    /// A store that cannot even begin is of no use; one that is there is served, and what cannot be
    /// added to it refused.
    fn hold_reserve(&self, log: &mut Log<Folder>) -> Result<(), DataDirError> {
        match log.take_reserve() {
            Err(error) if log.bytes() == 0 => Err(DataDirError::Io(self.path.clone(), error)),
            Err(error) => {
                warn!(%error, "the disk has no room to spare for the store");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn open_store(&self, config: LogConfig) -> Result<(Log<Folder>, Found), OpenError> {
        open::open(Folder::open(&self.path.join(STORE))?, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker_core::journal::{Journal, RecordKey};

    const CONFIG: LogConfig =
        LogConfig { file_bytes: 100, slack_bytes: 1_000, reserve_bytes: 1_000 };

    fn open(dir: &DataDir, salvage: bool) -> (Log<Folder>, Opened) {
        dir.open(CONFIG, salvage, || "today".to_owned()).expect("the disk works")
    }

    /// A folder with a store of three frames in three files.
    fn written() -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = DataDir::take(&folder.path().join("data")).expect("it can be made");
        let (mut log, opened) = open(&dir, false);
        assert!(matches!(opened, Opened::Good(found) if found == Found::default()));
        for number in 1..4 {
            let mut journal = Journal::default();
            journal.put(RecordKey::new(1, number), |value| value.extend_from_slice(&[7; 90]));
            log.append(journal.octets()).expect("the disk works");
        }
        log.sync().expect("the disk works");
        (folder, dir)
    }

    #[test]
    fn a_folder_is_for_one_process_and_for_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, dir) = written();
        let path = folder.path().join("data");
        assert!(matches!(DataDir::take(&path), Err(DataDirError::Locked(_))));
        assert_eq!(dir.store_bytes(), 1_000 + 3 * (40 + 28 + 12 + 90));
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode();
        assert_eq!(mode(&path) & 0o777, 0o700);
        assert_eq!(mode(&path.join("store/0000000001.log")) & 0o777, 0o600);
        drop(dir);
        let dir = DataDir::take(&path).expect("it is free again");
        assert_eq!(open(&dir, false).0.records(), 3);
    }

    /// A gateway that is started again and again would take the part for the whole.
    #[test]
    fn a_recovery_that_does_not_come_to_its_end_begins_anew() {
        let (folder, dir) = written();
        let path = folder.path().join("data");
        let [second, third] =
            ["0000000002.log", "0000000003.log"].map(|name| path.join("store").join(name));
        fs::write(&second, [7; 90]).expect("the disk works");
        let octets = fs::read(&third).expect("it is there");
        fs::remove_file(&third).expect("the disk works");
        fs::create_dir(&third).expect("nobody can read it");
        let open_again = || dir.open(CONFIG, true, || "today".to_owned());
        assert!(matches!(open_again(), Err(DataDirError::Store(..))));
        assert!(second.exists(), "the store is where it was");
        fs::remove_dir(&third).expect("the disk works");
        fs::write(&third, octets).expect("the disk works");
        let (log, opened) = open_again().expect("the disk works");
        assert!(matches!(opened, Opened::Salvaged { .. }), "{opened:?}");
        assert_eq!(log.records(), 2);
        assert!(!path.join(RECOVERING).exists());
        // The same, killed between the two renamings.
        drop(log);
        fs::rename(path.join(STORE), path.join(RECOVERING)).expect("the disk works");
        let (log, opened) = open_again().expect("the disk works");
        assert!(matches!(opened, Opened::Good(_)), "{opened:?}");
        assert_eq!(log.records(), 2);
    }

    #[test]
    fn a_damaged_store_is_set_aside_or_salvaged() {
        for salvage in [false, true] {
            let (folder, dir) = written();
            let path = folder.path().join("data");
            let file = path.join("store/0000000002.log");
            let mut octets = fs::read(&file).expect("it is there");
            octets[80] ^= 1;
            fs::write(&file, octets).expect("the disk works");
            let (log, opened) = open(&dir, salvage);
            let aside = path.join("store.damaged-today");
            assert!(aside.join("0000000003.log").exists());
            let held = |path: &Path| path.join("reserve").exists();
            assert!(held(&path.join(STORE)) && !held(&aside));
            match &opened {
                Opened::SetAside { path, error } if !salvage => {
                    assert_eq!((path, log.records()), (&aside, 0));
                    assert_eq!(error.to_string(), "0000000002.log is damaged at octet 40");
                }
                Opened::Salvaged { path, found } if salvage => {
                    assert_eq!((path, log.records()), (&aside, 2));
                    assert_eq!(found.skipped_bytes, 130);
                }
                Opened::Good(_) | Opened::SetAside { .. } | Opened::Salvaged { .. } => {
                    panic!("{opened:?}")
                }
            }
        }
    }
}
