//! A disk in memory that fails, dies and lies as it is told: for the tests of the store, and for
//! the simulator. The program does not use it.
//!
//! What was appended is seen at once and is gone after a power loss, in whole or in pieces, unless
//! the file was synced; that a file exists or is gone is known for sure when the folder was.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;

use super::disk::Disk;

/// Octets that reach the disk together or not at all.
const SECTOR: usize = 16;

/// Octets of zeros behind what was appended to a file that is in use, at most.
const ROOM_MAX: usize = 100;

/// What goes wrong with operations that write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failure {
    /// What they say; if that is that there is no room, only those fail that need some.
    pub kind: io::ErrorKind,
    /// How many of the operations fail, of one.
    pub share: f64,
}

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process is killed: what was appended is there.
    Kill,
    /// The power fails: what was not synced vanishes, comes in another order, or tears.
    PowerLoss,
}

/// What a disk says of a sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Honesty {
    /// What is so.
    #[default]
    True,
    /// Syncs of files do nothing and say that they are done.
    Idle,
    /// Those that fail say that they are done.
    Hushed,
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
    /// At which operation it was made, and up to where it was synced at which.
    made_at: u64,
    synced_at: Vec<(u64, usize)>,
}

#[derive(Clone, Debug)]
struct State {
    files: BTreeMap<String, File>,
    /// Names that survive a power loss.
    safe_names: BTreeSet<String>,
    /// Files that were deleted since the folder was synced: they may be there again.
    deleted: BTreeMap<String, File>,
    /// The file that was appended to last, if zeros may stand behind its end.
    roomy: Option<String>,
    failure: Option<Failure>,
    /// Operations until one fails, how, and whether all that follow do.
    fails_in: Option<(u32, io::ErrorKind, bool)>,
    /// Octets that all files together may have.
    capacity: Option<usize>,
    /// Operations left to do before it dies.
    dies_in: Option<u32>,
    is_dead: bool,
    honesty: Honesty,
    operations: u64,
    refused: u64,
    rng: Rng,
}

/// Shared by its clones.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

impl Default for SimDisk {
    fn default() -> Self {
        Self::new(Rng::with_seed(0))
    }
}

impl SimDisk {
    /// An empty disk; what is left to chance comes from `rng`.
    pub fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            safe_names: BTreeSet::new(),
            deleted: BTreeMap::new(),
            roomy: None,
            failure: None,
            fails_in: None,
            capacity: None,
            dies_in: None,
            is_dead: false,
            honesty: Honesty::True,
            operations: 0,
            refused: 0,
            rng,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while holding it")
    }

    /// Operations fail from now on, or do so no more.
    pub fn set_failure(&self, failure: Option<Failure>) {
        self.state().failure = failure;
    }

    /// The operation after `operations` more fails, and all that follow if `keeps`.
    pub fn fail_in(&self, operations: u32, kind: io::ErrorKind, keeps: bool) {
        self.state().fails_in = Some((operations, kind, keeps));
    }

    /// Leaves room for so many octets, or for any number.
    pub fn set_room(&self, room: Option<usize>) {
        let mut state = self.state();
        let used = state.used();
        state.capacity = room.map(|room| used + room);
    }

    /// Nothing fails any more, and there is room.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.failure, state.fails_in, state.capacity) = (None, None, None);
    }

    /// It dies after so many more operations; the next one may be done in part.
    pub fn die_in(&self, operations: Option<u32>) {
        self.state().dies_in = operations;
    }

    /// What it says of syncs from now on.
    pub fn set_honesty(&self, honesty: Honesty) {
        self.state().honesty = honesty;
    }

    /// Whether it died, and does nothing any more.
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Operations that write, so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Those of them that were refused.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    /// The names of its files.
    pub fn names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }

    /// Changes what stands in a file, or makes one: safe at once, as if it had always been so.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.files.entry(name.to_owned()).or_default();
        edit(&mut file.octets);
        let octets = std::mem::take(&mut file.octets);
        *file = File::safe(octets);
        state.safe_names.insert(name.to_owned());
    }

    /// A file is gone, as if it had never been there.
    pub fn lose(&self, name: &str) {
        let mut state = self.state();
        state.files.remove(name);
        state.safe_names.remove(name);
    }

    /// All files are.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.files.clear();
        state.safe_names.clear();
        state.deleted.clear();
    }

    /// Another disk with the same on it, and nothing wrong with it.
    pub fn copy(&self) -> Self {
        let copy = Self(Arc::new(Mutex::new(self.state().clone())));
        copy.heal();
        {
            let mut state = copy.state();
            (state.dies_in, state.is_dead, state.honesty) = (None, false, Honesty::True);
        }
        copy
    }

    /// What a new process finds after the old one has ended in that way.
    pub fn end(&self, death: Death) {
        let mut state = self.state();
        let state = &mut *state;
        (state.dies_in, state.is_dead, state.honesty) = (None, false, Honesty::True);
        // What a sync that failed has forgotten is written later, by a system that goes on.
        state.files.values_mut().for_each(|file| file.forgotten = 0);
        if death == Death::PowerLoss {
            state.lose_power();
        }
        // A folder makes room ahead of what is appended.
        if let Some(file) = state.roomy.take().and_then(|name| state.files.get_mut(&name)) {
            let room = state.rng.usize(..ROOM_MAX);
            file.octets.resize(file.octets.len() + room, 0);
            if death == Death::PowerLoss {
                *file = File { made_at: file.made_at, ..File::safe(file.octets.clone()) };
            }
        }
    }

    /// Another disk, as it would be if the power failed now.
    pub fn after_power_loss(&self, rng: &mut Rng) -> Self {
        let left = self.copy();
        left.state().rng = rng.fork();
        left.end(Death::PowerLoss);
        left
    }

    /// The power fails, and since `operation` all syncs were lies: what was written since then is
    /// there or not, as if nobody had synced it.
    pub fn lose_power_since(&self, operation: u64) {
        {
            let mut state = self.state();
            let State { files, safe_names, .. } = &mut *state;
            for (name, file) in files.iter_mut() {
                let synced = file.synced_at.iter().rfind(|(at, _)| *at <= operation);
                let safe = synced.map_or(0, |(_, len)| *len).min(file.octets.len());
                // One that was put there was always so.
                let safe = if file.made_at == 0 { file.kept.max(safe) } else { safe };
                file.safe = file.octets[..safe].to_vec();
                file.kept = safe;
                if file.made_at > operation {
                    safe_names.remove(name);
                }
            }
        }
        self.end(Death::PowerLoss);
    }
}

impl State {
    fn used(&self) -> usize {
        self.files.values().map(|file| file.octets.len()).sum()
    }

    /// Counts an operation that writes; whether it is to be done, in part or as a whole.
    fn operate(&mut self, needs_room: bool) -> io::Result<()> {
        self.operations += 1;
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
        let chosen = self.take_chosen();
        let is_meant = |it: &Failure| needs_room || it.kind != io::ErrorKind::StorageFull;
        let drawn = self.failure.filter(is_meant).filter(|it| self.rng.f64() < it.share);
        if let Some(kind) = chosen.or_else(|| drawn.map(|it| it.kind)) {
            self.refused += 1;
            return Err(kind.into());
        }
        Ok(())
    }

    /// How this operation fails, if it is the chosen one.
    fn take_chosen(&mut self) -> Option<io::ErrorKind> {
        let (left, kind, keeps) = self.fails_in.as_mut()?;
        if let Some(less) = left.checked_sub(1) {
            *left = less;
            return None;
        }
        let kind = *kind;
        if !*keeps {
            self.fails_in = None;
        }
        Some(kind)
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn lose_power(&mut self) {
        let Self { files, safe_names, deleted, operations, rng, .. } = self;
        for (name, file) in std::mem::take(deleted) {
            if rng.bool() {
                files.entry(name).or_insert(file);
            }
        }
        files.retain(|name, _| safe_names.contains(name) || rng.bool());
        for file in files.values_mut() {
            let octets = file.tear(rng);
            let (made_at, mut synced_at) = (file.made_at, std::mem::take(&mut file.synced_at));
            synced_at.retain(|(_, len)| *len <= octets.len());
            synced_at.push((*operations, octets.len()));
            *file = File { made_at, synced_at, ..File::safe(octets) };
        }
        *safe_names = files.keys().cloned().collect();
    }
}

impl File {
    fn safe(octets: Vec<u8>) -> Self {
        let kept = octets.len();
        Self { safe: octets.clone(), octets, kept, ..Self::default() }
    }

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

    fn make_safe(&mut self, operation: u64) {
        self.safe.truncate(self.kept);
        self.safe.extend_from_slice(&self.octets[self.kept..]);
        if self.kept < self.forgotten {
            self.safe[self.kept..self.forgotten].fill(0);
        }
        self.kept = self.octets.len();
        self.synced_at.push((operation, self.kept));
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.state().file(name).map(|file| file.octets.clone())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.state().file(name).map(|file| file.octets.len() as u64)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(true)?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let made_at = state.operations;
        state.files.insert(name.to_owned(), File { made_at, ..File::default() });
        Ok(())
    }

    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let was_dead = state.is_dead;
        let result = state.operate(true);
        let room = state.capacity.map_or(usize::MAX, |all| all.saturating_sub(state.used()));
        // A write that fails has written a part, and so has one in which the machine goes off.
        let written = match &result {
            Ok(()) => octets.len().min(room),
            Err(_) if was_dead => 0,
            Err(_) => state.rng.usize(..=octets.len().min(room)),
        };
        let file = state.file(name)?;
        let is_first = file.octets.is_empty();
        file.octets.extend_from_slice(&octets[..written]);
        state.roomy = (!is_first).then(|| name.to_owned());
        result?;
        if written < octets.len() {
            state.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.operate(false)?;
        state.roomy.take_if(|roomy| roomy == name);
        let file = state.file(name)?;
        file.octets.truncate(usize::try_from(len).map_err(io::Error::other)?);
        file.kept = file.kept.min(file.octets.len());
        file.forgotten = file.forgotten.min(file.octets.len());
        file.synced_at.retain(|(_, len)| *len <= file.octets.len());
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let result = state.operate(false);
        let State { is_dead, honesty, operations, .. } = *state;
        let file = state.file(name)?;
        match result {
            Ok(()) if honesty == Honesty::Idle => {}
            Ok(()) => file.make_safe(operations),
            // As on Linux: what was to be written is not, and the next sync does not know.
            Err(_) if !is_dead => file.forgotten = file.octets.len(),
            Err(_) => {}
        }
        if honesty == Honesty::Hushed && !is_dead { Ok(()) } else { result }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate(false)?;
        state.roomy.take_if(|roomy| roomy == name);
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

    /// What is left of a file, if it is, after the power failed: every way that twenty seeds find,
    /// without the room behind it.
    fn left(fill: impl Fn(&mut SimDisk) -> io::Result<()>) -> BTreeSet<Option<Vec<u8>>> {
        let after = |seed| {
            let mut disk = SimDisk::new(Rng::with_seed(seed));
            fill(&mut disk).expect("nothing fails");
            disk.state().roomy = None;
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
        let mut disk = SimDisk::default();
        disk.create("a").expect("it lives");
        disk.die_in(Some(1));
        disk.append("a", b"1").expect("one operation is left");
        // It dies in that, or just after it.
        let _ = disk.sync("a");
        assert!(disk.is_dead() && disk.append("a", b"2").is_err() && disk.sync("a").is_err());
        disk.end(Death::Kill);
        assert_eq!(disk.read("a").expect("it lives again"), b"1");
    }

    #[test]
    fn a_disk_that_lied_has_what_was_there_before_and_perhaps_more() {
        for seed in 0..20 {
            let mut disk = SimDisk::new(Rng::with_seed(seed));
            disk.create("a").expect("it works");
            disk.sync_dir().expect("it works");
            disk.append("a", b"12").expect("it works");
            disk.sync("a").expect("it works");
            let since = disk.operations();
            disk.append("a", b"34").expect("it works");
            disk.sync("a").expect("it works");
            disk.create("b").expect("it works");
            disk.sync_dir().expect("it works");
            disk.state().roomy = None;
            let honest = disk.after_power_loss(&mut Rng::with_seed(seed));
            assert_eq!(honest.read("a").expect("it is there"), b"1234");
            assert_eq!(honest.names(), ["a", "b"]);
            disk.lose_power_since(since);
            assert!(disk.read("a").expect("it is there").starts_with(b"12"));
        }
    }

    #[test]
    fn what_is_deleted_gives_its_room_back() {
        let mut disk = SimDisk::default();
        disk.create("a").expect("there is room");
        disk.set_room(Some(3));
        let error = disk.append("a", b"1234").expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.read("a").expect("a part was written"), b"123");
        disk.remove("a").expect("it is there");
        disk.create("b").expect("that takes nothing");
        disk.append("b", b"123").expect("there is room again");
    }
}
