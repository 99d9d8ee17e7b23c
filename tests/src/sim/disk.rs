//! A virtual disk: a folder of files with a cache in front that a power loss empties in part.
//!
//! What was appended is seen at once and is gone after a power loss, in whole or in pieces, unless
//! the file was synced; that a file exists or is gone is known for sure when the folder was. It can
//! be full, fail now and then, and die at an operation: from then on nothing is done any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use mqtt_sn_gw::store::disk::Disk;

/// Octets that reach the disk together or not at all.
const SECTOR: usize = 64;

/// What goes wrong with operations that write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// There is no room; otherwise the device fails.
    pub(crate) is_full: bool,
    /// How many of the operations fail, of one.
    pub(crate) share: f64,
}

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// The process is killed: what was appended is there.
    Kill,
    /// The power fails: what was not synced vanishes, comes in another order, or tears.
    PowerLoss,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What a reader sees.
    octets: Vec<u8>,
    /// What is left after the worst power loss.
    safe: Vec<u8>,
    /// How much of `safe` a sync need not look at: nothing was cut below it.
    kept: usize,
    /// Up to where a sync that failed has forgotten what was to be written.
    forgotten: usize,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<String, File>,
    /// Names that survive a power loss.
    safe_names: BTreeSet<String>,
    /// Files that were deleted since the folder was synced: they may be there again.
    deleted: BTreeMap<String, File>,
    failure: Option<Failure>,
    /// Operations left to do before it dies.
    dies_in: Option<u32>,
    is_dead: bool,
    /// Syncs say that they are done and do nothing.
    lies: bool,
    refused: u64,
    rng: Rng,
}

/// Shared by its clones.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    pub(crate) fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            safe_names: BTreeSet::new(),
            deleted: BTreeMap::new(),
            failure: None,
            dies_in: None,
            is_dead: false,
            lies: false,
            refused: 0,
            rng,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while it holds this")
    }

    /// Operations fail from now on, or do so no more.
    pub(crate) fn set_failure(&self, failure: Option<Failure>) {
        self.state().failure = failure;
    }

    /// It dies after so many more operations; the next one may be done in part.
    pub(crate) fn die_in(&self, operations: Option<u32>) {
        self.state().dies_in = operations;
    }

    /// Syncs of files do nothing, or what they should.
    pub(crate) fn set_lies(&self, lies: bool) {
        self.state().lies = lies;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Operations that were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.state().refused
    }

    /// What a new process finds after the old one has ended in that way.
    pub(crate) fn end(&self, death: Death) {
        let mut state = self.state();
        let state = &mut *state;
        (state.dies_in, state.is_dead, state.lies) = (None, false, false);
        // What a sync that failed has forgotten is written later, by a system that goes on.
        state.files.values_mut().for_each(|file| file.forgotten = 0);
        if death == Death::PowerLoss {
            state.lose_power();
        }
    }
}

impl State {
    /// Counts an operation that writes; whether it is to be done, in part or as a whole.
    fn operate(&mut self, needs_room: bool) -> io::Result<()> {
        if self.is_dead {
            return Err(io::Error::other("the machine is off"));
        }
        if let Some(left) = &mut self.dies_in {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => {
                    self.is_dead = true;
                    // Just after it, or in the middle.
                    if self.rng.bool() {
                        return Ok(());
                    }
                    return Err(io::Error::other("the machine goes off"));
                }
            }
        }
        let failure = self.failure.filter(|it| needs_room || !it.is_full);
        if let Some(Failure { is_full, share }) = failure
            && self.rng.f64() < share
        {
            self.refused += 1;
            let kind = if is_full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
            return Err(kind.into());
        }
        Ok(())
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn lose_power(&mut self) {
        let Self { files, safe_names, deleted, rng, .. } = self;
        for (name, file) in std::mem::take(deleted) {
            if rng.bool() {
                files.entry(name).or_insert(file);
            }
        }
        files.retain(|name, _| safe_names.contains(name) || rng.bool());
        for file in files.values_mut() {
            let octets = file.tear(rng);
            let kept = octets.len();
            *file = File { safe: octets.clone(), octets, kept, forgotten: 0 };
        }
        *safe_names = files.keys().cloned().collect();
    }
}

impl File {
    /// One of both versions, or a part of the newer one, with pieces of it that never came.
    fn tear(&self, rng: &mut Rng) -> Vec<u8> {
        let is_cut = self.kept < self.safe.len();
        if is_cut && rng.bool() {
            return self.safe.clone();
        }
        let mut octets = self.octets[..rng.usize(self.kept..=self.octets.len())].to_vec();
        for at in (self.kept..octets.len()).step_by(SECTOR) {
            if rng.u8(..4) == 0 {
                let end = (at + SECTOR).min(octets.len());
                octets[at..end].fill(0);
            }
        }
        octets
    }

    fn make_safe(&mut self) {
        self.safe.truncate(self.kept);
        self.safe.extend_from_slice(&self.octets[self.kept..]);
        if self.kept < self.forgotten {
            self.safe[self.kept..self.forgotten].fill(0);
        }
        self.kept = self.octets.len();
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.state().file(name).map(|file| file.octets.clone())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(true)?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(name.to_owned(), File::default());
        Ok(())
    }

    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let was_dead = state.is_dead;
        let result = state.operate(true);
        // A write that fails has written a part, and so has one in which the machine goes off.
        let written = match &result {
            Ok(()) => octets.len(),
            Err(_) if was_dead => 0,
            Err(_) => state.rng.usize(..=octets.len()),
        };
        state.file(name)?.octets.extend_from_slice(&octets[..written]);
        result
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.operate(false)?;
        let file = state.file(name)?;
        file.octets.truncate(usize::try_from(len).map_err(io::Error::other)?);
        file.kept = file.kept.min(file.octets.len());
        file.forgotten = file.forgotten.min(file.octets.len());
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let result = state.operate(false);
        let (is_dead, lies) = (state.is_dead, state.lies);
        let file = state.file(name)?;
        match result {
            Ok(()) if !lies => file.make_safe(),
            Ok(()) => {}
            // As on Linux: what was to be written is not, and the next sync does not know.
            Err(_) if !is_dead => file.forgotten = file.octets.len(),
            Err(_) => {}
        }
        result
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(false)?;
        let Some(file) = state.files.remove(name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if state.safe_names.contains(name) {
            state.deleted.insert(name.to_owned(), file);
        }
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut state = self.state();
        state.operate(false)?;
        state.safe_names = state.files.keys().cloned().collect();
        state.deleted.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a file, if it is, after the power failed: every way that twenty seeds find.
    fn left(fill: impl Fn(&mut SimDisk) -> io::Result<()>) -> BTreeSet<Option<Vec<u8>>> {
        let after = |seed| {
            let mut disk = SimDisk::new(Rng::with_seed(seed));
            fill(&mut disk).expect("nothing fails");
            disk.end(Death::Kill);
            let seen = disk.read("a").expect("a process that is killed takes nothing with it");
            disk.end(Death::PowerLoss);
            disk.read("a").ok().inspect(|octets| assert!(octets.len() <= seen.len()))
        };
        (0..20).map(after).collect()
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may() {
        let all = left(|disk| {
            disk.create("a")?;
            disk.append("a", b"12")?;
            disk.sync("a")?;
            disk.sync_dir()?;
            disk.append("a", b"34")
        });
        let expected = [&b"12"[..], b"123", b"1234", b"12\0", b"12\0\0"];
        assert_eq!(all, expected.map(|octets| Some(octets.to_vec())).into());
        let unnamed = left(|disk| {
            disk.create("a")?;
            disk.append("a", b"1")?;
            disk.sync("a")
        });
        assert_eq!(unnamed, [None, Some(b"1".to_vec())].into());
    }

    #[test]
    fn a_disk_that_died_does_nothing_more() {
        let mut disk = SimDisk::new(Rng::with_seed(1));
        disk.create("a").expect("it lives");
        disk.die_in(Some(1));
        disk.append("a", b"1").expect("one operation is left");
        assert!(disk.sync("a").is_err() && disk.is_dead() && disk.append("a", b"2").is_err());
        disk.end(Death::Kill);
        assert_eq!(disk.read("a").expect("it lives again"), b"1");
    }
}
