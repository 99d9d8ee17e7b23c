//! The log: frames of changes in numbered files, and an index of the records that live.
//!
//! Changes are appended and never overwritten. The index knows where the last change of every key
//! stands; when more than half of the log is not that, the oldest file is given up: what lives in
//! it is appended again and the file deleted. So files go in the order in which they came, and a
//! deletion is forgotten with its file: whatever it deleted stood before it. A frame that begins
//! with the deletion of everything takes the place of all before it: for a disk that is full.

use std::collections::{BTreeMap, HashMap};
use std::io;

use broker_core::journal::{Journal, OP_HEAD, Op, Ops, RecordKey};

use super::disk::Disk;
use super::floor::Floor;
use super::frame::{self, FILE_HEAD, FRAME_HEAD};
use super::index::{Index, Place};
use super::reserve;

/// Octets of a file that one step of the compaction reads: a few milliseconds of a slow disk.
const COMPACTION_STEP: usize = 1 << 20;

/// Octets for which no file is given up, however full the disk is.
const SHRINK_LEAST: u64 = 64 << 10;

/// What copies of the records of a file take beside them, at most a file: heads of frames and of a
/// file, the file that says where the log begins, and what is left over in the blocks of a disk.
const COPY_HEADS: u64 = 16 << 10;

/// Deleting it deletes all records: the log begins anew behind that. It is no record itself.
const EVERYTHING: RecordKey = RecordKey(u64::MAX);

#[derive(Clone, Copy, Debug, Default)]
struct FileState {
    len: u64,
    /// Up to where it is known to survive a power loss.
    synced_len: u64,
    /// Octets of the records in it that live.
    live: u64,
}

/// A file that is read for what lives in it.
#[derive(Debug)]
struct Reading {
    file: u32,
    octets: Vec<u8>,
    at: usize,
}

/// Sizes, all in octets.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// A file that has grown beyond it is followed by another.
    pub file_bytes: u64,
    /// A log is not compacted for less than this to win.
    pub slack_bytes: u64,
    /// What is held for the time when the disk is full; 0: nothing.
    pub reserve_bytes: usize,
}

/// Octets of a file where there is room enough: of less than that nobody gets much by giving it up.
const FILE_BYTES_MAX: u64 = 3 << 19;

impl LogConfig {
    /// For a disk of which so many octets are the store's, or free. The room of the reserve is
    /// enough for saying that what a file has is not needed any more, and for what is.
    pub fn for_disk(room_bytes: u64) -> Self {
        let reserve_bytes = reserve::bytes(room_bytes);
        let file_bytes = FILE_BYTES_MAX.min(reserve_bytes as u64 / 2);
        Self { file_bytes, slack_bytes: 32 << 20, reserve_bytes }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self::for_disk(u64::MAX)
    }
}

/// An append-only log on a [`Disk`].
#[derive(Debug)]
pub struct Log<D> {
    disk: D,
    config: LogConfig,
    files: BTreeMap<u32, FileState>,
    index: Index,
    /// Octets of all files, and of the operations in them that the index knows.
    bytes: u64,
    live_bytes: u64,
    /// The number of the last frame that was appended, and of the last that is known to be safe.
    number: u64,
    synced: u64,
    /// Changes that were appended since the last sync: they are appended once more if it fails.
    unsynced: Vec<u8>,
    /// Whether anything may stand behind the end of the last file: after a failure.
    has_rubbish: bool,
    /// Whether a sync failed: what it was for cannot be trusted.
    is_broken: bool,
    /// The file that is being given up.
    compaction: Option<Reading>,
    /// A file that was given up; it is deleted when what was copied from it is safe.
    emptied: Option<u32>,
    floor: Floor,
    frame: Vec<u8>,
    /// Octets of the reserve, or those that there was room for when it was to be taken last.
    reserve_room: u64,
    /// Whether there were too few.
    is_short: bool,
}

impl<D: Disk> Log<D> {
    pub(super) fn new(disk: D, config: LogConfig, floor: Floor) -> Self {
        Self {
            disk,
            config,
            files: BTreeMap::new(),
            index: Index::default(),
            bytes: 0,
            live_bytes: 0,
            number: 0,
            synced: 0,
            unsynced: Vec::new(),
            has_rubbish: false,
            is_broken: false,
            compaction: None,
            emptied: None,
            floor,
            frame: Vec::new(),
            reserve_room: 0,
            is_short: false,
        }
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.index.len()
    }

    /// Octets that the record of this key takes, if there is one.
    pub fn record_bytes(&self, key: RecordKey) -> Option<u64> {
        self.index.get(key).map(|place| u64::from(place.len))
    }

    /// Octets of all files.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Octets of the records that live.
    pub const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub(super) const fn disk(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Holds the room that is kept for the time when the disk is full, unless it is held already.
    ///
    /// # Errors
    /// The disk's; nothing is held then.
    pub fn take_reserve(&mut self) -> io::Result<()> {
        let (bytes, result) = reserve::take(&mut self.disk, self.config.reserve_bytes);
        self.reserve_room = bytes as u64;
        self.is_short = result.as_ref().is_err_and(reserve::is_full);
        if result.is_ok() {
            self.config.reserve_bytes = bytes;
        }
        result
    }

    /// Whether there was no room for the reserve when it was to be taken last.
    pub(super) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Octets that there was room for then, up to those of the reserve.
    pub(super) const fn reserve_room(&self) -> u64 {
        self.reserve_room
    }

    /// Adds a file that is there.
    pub(super) fn add_file(&mut self, file: u32) {
        let len = FILE_HEAD as u64;
        self.files.insert(file, FileState { len, synced_len: len, live: 0 });
        self.bytes += len;
    }

    /// Goes on with this number, if no frame follows that has one.
    pub(super) const fn begin_at(&mut self, first: u64) {
        self.number = first - 1;
    }

    /// Adds a frame that stands at the end of a file.
    pub(super) fn add_frame(&mut self, file: u32, number: u64, changes: &[u8]) {
        let state = self.files.get_mut(&file).expect("added before");
        let mut offset = state.len + FRAME_HEAD as u64;
        let len = (FRAME_HEAD + changes.len()) as u64;
        state.len += len;
        self.bytes += len;
        self.number = number;
        for op in Ops::new(changes) {
            let op = op.expect("a journal behind its checksum");
            self.note(&op, file, offset);
            offset += op.size() as u64;
        }
    }

    /// The name of the file that is appended to, and how long it is.
    pub(super) fn end(&self) -> Option<(String, u64)> {
        self.files.last_key_value().map(|(file, state)| (name(*file), state.len))
    }

    /// Makes everything safe that a process has left that was killed before it had.
    pub(super) fn make_safe(&mut self) -> io::Result<()> {
        if let Some((file, _)) = self.end() {
            self.floor.make_safe(&mut self.disk)?;
            self.disk.sync(&file)?;
            self.disk.sync_dir()?;
        }
        Ok(())
    }

    /// Whether it goes as far as it has to.
    pub(super) const fn is_long_enough(&self) -> bool {
        self.number >= self.floor.number
    }

    /// Everything that was added is safe.
    pub(super) fn trust(&mut self) {
        self.synced = self.number;
        for state in self.files.values_mut() {
            state.synced_len = state.len;
        }
    }

    /// Keeps the index: the last change of a key counts.
    fn note(&mut self, op: &Op<'_>, file: u32, offset: u64) {
        if op.key == EVERYTHING && op.value.is_none() {
            self.index.clear();
            self.live_bytes = 0;
            self.files.values_mut().for_each(|state| state.live = 0);
            return;
        }
        let old = if op.value.is_some() {
            let offset = u32::try_from(offset).expect("files are smaller than 4 GiB");
            let len = u32::try_from(op.size()).expect("a frame is smaller than 4 GiB");
            self.live_bytes += op.size() as u64;
            self.files.get_mut(&file).expect("added before").live += op.size() as u64;
            self.index.insert(op.key, Place { file, offset, len })
        } else {
            self.index.remove(op.key)
        };
        if let Some(old) = old {
            self.live_bytes -= u64::from(old.len);
            self.files.get_mut(&old.file).expect("what lives is in a file").live -=
                u64::from(old.len);
        }
    }

    /// Appends changes as one frame: after a crash all of them are there, or none.
    ///
    /// # Errors
    /// They are not there, and the same call may be made again later.
    pub fn append(&mut self, changes: &[u8]) -> io::Result<()> {
        if self.is_broken {
            self.repair()?;
        }
        let file = self.file_to_append()?;
        self.append_to(file, changes)?;
        self.unsynced.extend_from_slice(changes);
        Ok(())
    }

    /// Appends one frame in the place of all that there is: what lives, with these changes. From
    /// its sync on no older file is needed.
    ///
    /// # Errors
    /// It is not there, and all is as it was.
    pub fn rewrite(&mut self, changes: &[u8]) -> io::Result<()> {
        let ops = || Ops::new(changes).map(|op| op.expect("the loop hands over journals"));
        // Of each record the last change counts.
        let last: HashMap<RecordKey, usize> = ops().map(|op| op.key).zip(0..).collect();
        let mut journal = Journal::default();
        journal.delete(EVERYTHING);
        let mut put = |op: &Op<'_>| {
            if let Some(value) = op.value {
                journal.put(op.key, |into| into.extend_from_slice(value));
            }
        };
        for (file, state) in self.files.iter().filter(|(_, state)| state.live > 0) {
            let mut reading = self.read_file(*file)?;
            while reading.at < state.len as usize {
                let (living, at) = self.living(&reading)?;
                let ops = Ops::new(&living).map(|op| op.expect("read as such"));
                ops.filter(|op| !last.contains_key(&op.key)).for_each(|op| put(&op));
                reading.at = at;
            }
        }
        ops().zip(0..).filter(|(op, place)| last[&op.key] == *place).for_each(|(op, _)| put(&op));
        self.append(journal.octets())
    }

    /// Returns when everything that was appended survives a power loss.
    ///
    /// # Errors
    /// None of what was appended since the last success may be counted on. The next call of
    /// [`Log::append`] or this one puts it into a new file.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.is_broken {
            self.repair()?;
        }
        let Some((file, state)) = self.files.last_key_value().map(|(file, state)| (*file, *state))
        else {
            return Ok(());
        };
        if state.len > state.synced_len {
            self.is_broken = true;
            self.disk.sync(&name(file))?;
            self.is_broken = false;
            self.last_file().synced_len = state.len;
        }
        self.synced = self.number;
        self.unsynced.clear();
        self.unsynced.shrink_to(COMPACTION_STEP);
        self.delete_emptied()
    }

    /// Does a piece of the compaction, if it pays. What it appended is safe with the next
    /// [`Log::sync`]. Returns whether there is more to do.
    ///
    /// # Errors
    /// Nothing is lost; the same call may be made again.
    pub fn compact(&mut self) -> io::Result<bool> {
        if self.emptied.is_some() {
            return Ok(false);
        }
        if self.compaction.is_none() {
            let garbage = self.bytes - self.live_bytes;
            let pays = garbage > self.live_bytes && garbage > self.config.slack_bytes;
            if !pays || self.files.len() < 2 {
                return Ok(false);
            }
            self.begin_compaction()?;
        }
        let mut compaction = self.compaction.take().expect("begun above");
        let (living, at) = self.living(&compaction)?;
        if !living.is_empty()
            && let Err(error) = self.append(&living)
        {
            self.compaction = Some(compaction);
            return Err(error);
        }
        compaction.at = at;
        if compaction.at < self.files[&compaction.file].len as usize {
            self.compaction = Some(compaction);
            return Ok(true);
        }
        self.emptied = Some(compaction.file);
        Ok(false)
    }

    /// Gives up files while there is much in them that is not needed, also less than otherwise and
    /// the only one: for a disk that is full but for `room` octets. Each file is looked at once, up
    /// to the one with the number `upto`. Returns whether there is more to do.
    ///
    /// # Errors
    /// Nothing is lost; the same call may be made again.
    pub fn make_room(&mut self, room: u64, upto: u32) -> io::Result<bool> {
        let is_new = self.files.first_key_value().is_some_and(|(oldest, _)| *oldest > upto);
        if is_new || !self.can_shrink(room) {
            // What it has copied stays copied.
            self.compaction = None;
            return Ok(false);
        }
        if self.compaction.is_none() && self.emptied.is_none() {
            if let (1, Some((file, _))) = (self.files.len(), self.files.last_key_value()) {
                let next = file + 1;
                self.sync()?;
                self.create_file(next)?;
            }
            self.begin_compaction()?;
        }
        self.compact()?;
        if self.has_emptied() {
            self.sync()?;
        }
        Ok(true)
    }

    /// Whether [`Log::make_room`] would find something to do: what lives in the oldest file has
    /// room elsewhere, and much in that file, or in all of them, is not needed any more.
    pub fn can_shrink(&self, room: u64) -> bool {
        if self.emptied.is_some() {
            return true;
        }
        let Some((_, oldest)) = self.files.first_key_value() else { return false };
        let copy_heads = self.config.file_bytes.min(COPY_HEADS);
        let fits = oldest.live == 0 || oldest.live + copy_heads <= room;
        let least = self.config.file_bytes.min(SHRINK_LEAST);
        let garbage = self.bytes - self.live_bytes;
        // What the reserve lacks is enough, in however many files it is: each has its heads.
        let heads = (self.files.len() * (FILE_HEAD + 2 * FRAME_HEAD)) as u64;
        let missing = Some(self.reserve_bytes().saturating_sub(room)).filter(|it| *it > 0);
        let enough = missing.map_or(u64::MAX, |missing| missing + heads);
        let pays = garbage > (self.live_bytes / 4).min(enough) + least
            || self.files.len() > 1 && oldest.live <= oldest.len / 4 * 3;
        fits && (pays || self.compaction.is_some())
    }

    /// The number of the file that is appended to; 0: there is none.
    pub fn newest(&self) -> u32 {
        self.files.last_key_value().map_or(0, |(file, _)| *file)
    }

    /// Octets of the room that is kept for a full disk.
    pub(super) const fn reserve_bytes(&self) -> u64 {
        self.config.reserve_bytes as u64
    }

    fn begin_compaction(&mut self) -> io::Result<()> {
        let file = *self.files.first_key_value().expect("a file to give up").0;
        self.compaction = Some(self.read_file(file)?);
        Ok(())
    }

    fn read_file(&self, file: u32) -> io::Result<Reading> {
        Ok(Reading { file, octets: self.disk.read(&name(file))?, at: FILE_HEAD })
    }

    /// The next operations of a file that still count, and how far it has been read then.
    fn living(&self, reading: &Reading) -> io::Result<(Vec<u8>, usize)> {
        let Reading { file, ref octets, mut at } = *reading;
        let end = at + COMPACTION_STEP;
        let len = self.files[&file].len as usize;
        let mut living = Vec::new();
        while at < end && at < len {
            let frame = frame::read_frame(&octets[at..]).ok_or_else(|| {
                let name = name(file);
                let what = format!("{name} has changed on the disk, at octet {at}");
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
            let mut offset = at + FRAME_HEAD;
            for op in Ops::new(frame.changes) {
                let op = op.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                let place = self.index.get(op.key);
                if place.is_some_and(|place| (place.file, place.offset as usize) == (file, offset))
                {
                    living.extend_from_slice(&octets[offset..offset + op.size()]);
                }
                offset += op.size();
            }
            at += frame.len();
        }
        Ok((living, at))
    }

    /// Whether a file waits for the next [`Log::sync`] to be deleted.
    pub const fn has_emptied(&self) -> bool {
        self.emptied.is_some()
    }

    /// Calls `each` for every record that lives: by table, within it in the order of the log.
    ///
    /// # Errors
    /// The disk's, or what `each` says.
    pub fn for_each_record<E: From<io::Error>>(
        &mut self,
        mut each: impl FnMut(RecordKey, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut read: Option<(u32, Vec<u8>)> = None;
        for table in self.index.tables() {
            let mut places = self.index.of_table(table);
            places.sort_unstable_by_key(|(_, place)| (place.file, place.offset));
            for (key, place) in places {
                if read.as_ref().is_none_or(|(file, _)| *file != place.file) {
                    read = Some((place.file, self.disk.read(&name(place.file))?));
                }
                let (_, octets) = read.as_ref().expect("read above");
                let (from, len) = (place.offset as usize, place.len as usize);
                let value = octets.get(from + OP_HEAD..from + len).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::UnexpectedEof, "a file of the store has shrunk")
                })?;
                each(key, value)?;
            }
        }
        Ok(())
    }

    fn last_file(&mut self) -> &mut FileState {
        self.files.values_mut().next_back().expect("there is a file")
    }

    /// The file that the next frame goes to, without rubbish at its end.
    fn file_to_append(&mut self) -> io::Result<u32> {
        let last = self.files.last_key_value().map(|(file, state)| (*file, *state));
        if self.has_rubbish
            && let Some((file, state)) = last
        {
            self.disk.truncate(&name(file), state.len)?;
            self.has_rubbish = false;
        }
        match last {
            Some((file, state)) if state.len < self.config.file_bytes => Ok(file),
            Some((file, state)) => {
                // Only the last file may have a torn end. If the room behind it comes back with a
                // power loss, it is known for what it is.
                self.disk.truncate(&name(file), state.len)?;
                self.sync()?;
                self.create_file(file + 1)
            }
            None => self.create_file(1),
        }
    }

    fn create_file(&mut self, file: u32) -> io::Result<u32> {
        let name = name(file);
        if let Err(error) = self.disk.create(&name)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        // One may be left from an attempt that failed.
        self.disk.truncate(&name, 0)?;
        self.disk.append(&name, &frame::file_head(u64::from(file), self.number + 1))?;
        self.disk.sync(&name)?;
        self.disk.sync_dir()?;
        self.add_file(file);
        Ok(file)
    }

    /// After a sync that failed the system may have forgotten what it was to write, and the next
    /// sync would not tell. So the file is cut to where it was safe, and what came behind is
    /// written to a new one.
    fn repair(&mut self) -> io::Result<()> {
        let (file, state) = self.files.last_key_value().map(|(f, s)| (*f, *s)).expect("a file");
        self.disk.truncate(&name(file), state.synced_len)?;
        self.disk.sync(&name(file))?;
        self.number = self.synced;
        self.has_rubbish = false;
        // One that has nothing yet is from an attempt that got so far.
        let is_new = state.len == FILE_HEAD as u64;
        let file = if is_new { file } else { self.create_file(file + 1)? };
        let changes = core::mem::take(&mut self.unsynced);
        let result = if changes.is_empty() { Ok(()) } else { self.append_to(file, &changes) };
        self.unsynced = changes;
        result?;
        // Until now what was cut off was nowhere else, and lived.
        for (_, state) in self.files.range_mut(..file) {
            self.bytes -= state.len - state.synced_len;
            state.len = state.synced_len;
        }
        self.is_broken = false;
        Ok(())
    }

    fn append_to(&mut self, file: u32, changes: &[u8]) -> io::Result<()> {
        let number = self.number + 1;
        self.frame.clear();
        frame::write_frame(&mut self.frame, number, self.synced, changes);
        self.has_rubbish = true;
        self.disk.append(&name(file), &self.frame)?;
        self.has_rubbish = false;
        self.add_frame(file, number, changes);
        Ok(())
    }

    /// Deletes the file whose living records have been copied and are safe.
    fn delete_emptied(&mut self) -> io::Result<()> {
        let Some(file) = self.emptied else { return Ok(()) };
        // The log begins with the next one, whatever its number is.
        let next = self.files.range(file..).nth(1).map_or(file + 1, |(next, _)| *next);
        self.floor.raise(&mut self.disk, next - 1, self.synced)?;
        if let Err(error) = self.disk.remove(&name(file))
            // It went with an attempt that failed later.
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        // Before the next one goes: otherwise a deletion might be gone and what it deleted not.
        self.disk.sync_dir()?;
        self.emptied = None;
        let state = self.files.remove(&file).expect("given up, not forgotten");
        self.bytes -= state.len;
        Ok(())
    }
}

/// The name of a file of the log.
pub(super) fn name(file: u32) -> String {
    format!("{file:010}.log")
}

/// The number of a file of the log, if the name is one.
pub(super) fn number(name: &str) -> Option<u32> {
    numbered(name, ".log")
}

/// The number before a suffix.
pub(super) fn numbered(name: &str, suffix: &str) -> Option<u32> {
    let digits = name.strip_suffix(suffix).filter(|digits| digits.len() == 10)?;
    digits.bytes().all(|octet| octet.is_ascii_digit()).then(|| digits.parse().ok())?
}
