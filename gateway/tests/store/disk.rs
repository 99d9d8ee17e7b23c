//! A disk in memory, with a cache that a power loss empties, whole or in part.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use mqtt_sn_gw::store::disk::Disk;

/// Octets that a file has when it has been made.
const FILE_HEAD: usize = 40;

#[derive(Clone, Debug, Default)]
struct SimFile {
    /// What a reader sees.
    octets: Vec<u8>,
    /// What is left after the worst power loss.
    safe: Vec<u8>,
    /// Up to where a sync that failed has forgotten what was to be written.
    forgotten: usize,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, SimFile>,
    /// Names that survive a power loss, with what the folder says of them.
    safe_names: Vec<String>,
    /// Operations until one fails, and how.
    fails_in: Option<(u32, io::ErrorKind)>,
    /// Whether it goes on failing.
    keeps_failing: bool,
    room: Option<usize>,
    operations: u32,
}

/// Shared by its clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// The operation after `operations` more fails, and all that follow if `keeps`.
    pub(crate) fn fail_in(&self, operations: u32, kind: io::ErrorKind, keeps: bool) {
        let mut state = self.state();
        state.fails_in = Some((operations, kind));
        state.keeps_failing = keeps;
    }

    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.fails_in = None;
        state.room = None;
    }

    /// Leaves room for this many octets.
    pub(crate) fn set_room(&self, room: usize) {
        self.state().room = Some(room);
    }

    pub(crate) fn operations(&self) -> u32 {
        self.state().operations
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }

    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.files.get_mut(name).expect("the file is there");
        edit(&mut file.octets);
        file.safe = file.octets.clone();
    }

    /// The disk after the power failed: of what was not synced, parts are there and parts not.
    pub(crate) fn after_power_loss(&self, rng: &mut fastrand::Rng) -> Self {
        let state = self.state();
        let mut left = State::default();
        for (name, file) in &state.files {
            if !state.safe_names.contains(name) && rng.bool() {
                continue;
            }
            let mut octets = torn(file, rng);
            let is_last = Some(name) == state.files.keys().next_back();
            if is_last && octets.len() > FILE_HEAD {
                // A folder makes room ahead of what is appended.
                octets.resize(octets.len() + rng.usize(..100), 0);
            }
            left.safe_names.push(name.clone());
            left.files.insert(name.clone(), SimFile { safe: octets.clone(), octets, forgotten: 0 });
        }
        Self(Arc::new(Mutex::new(left)))
    }
}

/// A length between those of both versions, with pieces of the unsynced part that never came.
fn torn(file: &SimFile, rng: &mut fastrand::Rng) -> Vec<u8> {
    let (safe, now) = (file.safe.len(), file.octets.len());
    if now < safe {
        // It was cut: that may have come through, or not.
        return if rng.bool() { file.octets.clone() } else { file.safe.clone() };
    }
    let mut octets = file.safe.clone();
    octets.extend_from_slice(&file.octets[safe..rng.usize(safe..=now)]);
    for at in (safe..octets.len()).step_by(16) {
        if rng.u8(..4) == 0 {
            let end = (at + 16).min(octets.len());
            octets[at..end].fill(0);
        }
    }
    octets
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        match &mut self.fails_in {
            Some((0, kind)) => {
                let kind = *kind;
                if !self.keeps_failing {
                    self.fails_in = None;
                }
                Err(kind.into())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut SimFile> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.state().file(name).map(|file| file.octets.clone())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(name.to_owned(), SimFile::default());
        Ok(())
    }

    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let result = state.operate();
        let room = state.room.unwrap_or(usize::MAX);
        let written = match &result {
            Ok(()) => octets.len().min(room),
            // A write that fails has written a part.
            Err(_) => octets.len() / 2,
        };
        state.room = state.room.map(|room| room - written.min(room));
        state.file(name)?.octets.extend_from_slice(&octets[..written]);
        result?;
        if written < octets.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let file = state.file(name)?;
        let before = file.octets.len();
        file.octets.truncate(usize::try_from(len).map_err(io::Error::other)?);
        let freed = before - file.octets.len();
        file.forgotten = file.forgotten.min(file.octets.len());
        state.room = state.room.map(|room| room + freed);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let result = state.operate();
        let file = state.file(name)?;
        if result.is_err() {
            // As on Linux: what was to be written is not, and the next sync does not know.
            file.forgotten = file.octets.len();
            return result;
        }
        let safe = file.safe.len();
        file.safe.clone_from(&file.octets);
        if safe < file.forgotten {
            file.safe[safe..file.forgotten].fill(0);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let file = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.room = state.room.map(|room| room + file.octets.len());
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.safe_names = state.files.keys().cloned().collect();
        Ok(())
    }
}
