//! From files to a log: what is there, what is torn, what is damaged.

use std::fmt;
use std::io;

use broker_core::journal::Ops;

use super::disk::Disk;
use super::floor::Floor;
use super::frame::{self, FILE_HEAD, FIRST_MAX, FileHead, Frame, VERSION};
use super::log::{self, Log, LogConfig};

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Octets at the end that a crash had left unfinished. Nobody was promised what they say.
    pub torn_bytes: u64,
    /// Octets that were skipped because they were damaged; 0 unless that was asked for.
    pub skipped_bytes: u64,
}

/// Why a log cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// A file was written by a later program.
    Newer {
        /// The file.
        name: String,
        /// Its format; this program knows those up to its own.
        version: u32,
    },
    /// What stood in a file, and was safe there, does so no more.
    Damaged {
        /// The file.
        name: String,
        /// The first octet that cannot be read.
        offset: u64,
    },
    /// A file is not there, with what stood in it or behind it.
    Missing {
        /// The file.
        name: String,
    },
    /// The disk says no.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { name, version } => {
                write!(f, "{name} has format {version}, this program knows formats up to {VERSION}")
            }
            Self::Damaged { name, offset } => write!(f, "{name} is damaged at octet {offset}"),
            Self::Missing { name } => write!(f, "{name} is missing"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens the log on a disk; an empty one if there is none.
///
/// A torn end is cut. What is damaged is left as it is.
///
/// # Errors
/// See [`OpenError`].
pub fn open<D: Disk>(disk: D, config: LogConfig) -> Result<(Log<D>, Found), OpenError> {
    let files = files(&disk)?;
    let floor = Floor::read(&disk)?;
    let begin = floor.file.saturating_add(1);
    if files.first().map_or(begin > 1, |first| *first > begin) {
        return Err(OpenError::Missing { name: log::name(begin) });
    }
    let mut log = Log::new(disk, config, floor);
    let mut found = Found::default();
    let mut next = None;
    for (position, file) in files.iter().enumerate() {
        let is_last = position + 1 == files.len();
        let name = log::name(*file);
        let octets = log.disk().read(&name)?;
        match frame::read_file_head(&octets) {
            FileHead::Good { number, first }
                if number == u64::from(*file)
                    && next.is_none_or(|next| next == first)
                    && (1..=FIRST_MAX).contains(&first) =>
            {
                next = Some(first);
                log.add_file(*file);
                log.begin_at(first);
            }
            FileHead::Newer { version } => return Err(OpenError::Newer { name, version }),
            FileHead::Cut | FileHead::Bad if is_last && octets.len() <= FILE_HEAD => {
                // It was being made when the end came: its head is safe before anything follows.
                found.torn_bytes += octets.len() as u64;
                log.disk().remove(&name)?;
                log.disk().sync_dir()?;
                continue;
            }
            FileHead::Good { .. } | FileHead::Cut | FileHead::Bad => {
                return Err(OpenError::Damaged { name, offset: 0 });
            }
        }
        let (end, expected) = read_frames(&mut log, *file, &octets, next.unwrap_or(1));
        next = Some(expected);
        if end == octets.len() {
            continue;
        }
        let torn_bytes = without_room(&octets[end..]);
        if !is_last && torn_bytes == 0 {
            // It was cut off before the next file was made, and the disk has forgotten that.
            continue;
        }
        if !is_last || !is_torn(&octets, end, expected) {
            return Err(OpenError::Damaged { name, offset: end as u64 });
        }
        found.torn_bytes += torn_bytes as u64;
        log.disk().truncate(&name, end as u64)?;
        log.disk().sync(&name)?;
    }
    if let Some((name, offset)) = log.end().filter(|_| !log.is_long_enough()) {
        return Err(OpenError::Damaged { name, offset });
    }
    // A process that was killed may have appended what no sync has seen, to a file that it had just
    // made: it is served from here on, so it has to be safe.
    log.make_safe()?;
    log.trust();
    Ok((log, found))
}

/// Adds the frames of a file, up to where there is none, or not the next one. Returns that place,
/// and the number of the frame that would stand there.
fn read_frames<D: Disk>(log: &mut Log<D>, file: u32, octets: &[u8], mut next: u64) -> (usize, u64) {
    let mut at = FILE_HEAD;
    let follows = |frame: &Frame<'_>, next| frame.number == next && is_journal(frame.changes);
    while let Some(frame) = frame::read_frame(&octets[at..]).filter(|frame| follows(frame, next)) {
        log.add_frame(file, frame.number, frame.changes);
        next += 1;
        at += frame.len();
    }
    (at, next)
}

/// How many octets there are but for the zeros of room that was made and not used.
fn without_room(octets: &[u8]) -> usize {
    octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1)
}

/// Whether changes are what a frame holds: a checksum that is right does not say so.
fn is_journal(changes: &[u8]) -> bool {
    Ops::new(changes).all(|op| op.is_ok())
}

/// Whether what cannot be read was never safe: no later frame was written after it was. A whole
/// frame that is not the next one, or holds no changes, is not what a crash leaves.
fn is_torn(octets: &[u8], end: usize, next: u64) -> bool {
    let mut from = end;
    while let Some(at) = frame::find_frame(octets, from, next) {
        let later = frame::read_frame(&octets[at..]).expect("found there");
        if later.synced >= next || at == end {
            return false;
        }
        from = at + later.len();
    }
    true
}

/// Copies everything that can be read from a damaged log to the end of another.
///
/// # Errors
/// The disks'.
pub fn salvage<D: Disk>(from: &dyn Disk, into: &mut Log<D>) -> Result<Found, OpenError> {
    let mut found = Found::default();
    for file in files(from)? {
        let octets = from.read(&log::name(file))?;
        let mut at = FILE_HEAD.min(octets.len());
        while at < octets.len() {
            let frame = frame::read_frame(&octets[at..]);
            if let Some(frame) = frame.filter(|frame| is_journal(frame.changes)) {
                into.append(frame.changes)?;
                at += frame.len();
            } else {
                let next = frame::find_any_frame(&octets, at + 1).unwrap_or(octets.len());
                found.skipped_bytes += without_room(&octets[at..next]) as u64;
                at = next;
            }
        }
    }
    into.sync()?;
    Ok(found)
}

/// The files of the log, oldest first.
fn files(disk: &dyn Disk) -> Result<Vec<u32>, OpenError> {
    let mut files: Vec<_> = disk.list()?.iter().filter_map(|name| log::number(name)).collect();
    files.sort_unstable();
    Ok(files)
}
