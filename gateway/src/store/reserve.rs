//! Room that is kept for the time when the disk is full.
//!
//! A store that fills its disk gets room again by writing that something is not needed any more,
//! which takes some itself. So a file holds a piece of the disk for that, which is let go when
//! nothing else is left, and is there again before anything else is written.

use std::io;

use super::disk::Disk;

/// Octets that are held: some forty thousand messages can be forgotten in them.
pub const RESERVE_BYTES: usize = 1 << 20;

/// What holds them; beside the files of the log, and none of them.
const NAME: &str = "reserve";

/// Holds the room, unless it is held already.
///
/// # Errors
/// The disk's; nothing is held then.
pub fn take(disk: &mut impl Disk) -> io::Result<()> {
    if is_held(disk)? {
        return Ok(());
    }
    let taken = fill(disk);
    if taken.is_err() {
        // What is there of it takes what others need.
        let _ = disk.remove(NAME);
    }
    taken
}

/// Lets the room go, if it is held.
///
/// # Errors
/// The disk's.
pub(super) fn release(disk: &mut impl Disk) -> io::Result<()> {
    match disk.remove(NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_held(disk: &impl Disk) -> io::Result<bool> {
    match disk.read(NAME) {
        Ok(octets) => Ok(octets.len() == RESERVE_BYTES),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn fill(disk: &mut impl Disk) -> io::Result<()> {
    release(disk)?;
    disk.create(NAME)?;
    // Nothing that a file system could store in less.
    let mut octets = vec![0; RESERVE_BYTES];
    fastrand::Rng::with_seed(1).fill(&mut octets);
    disk.append(NAME, &octets)?;
    disk.sync(NAME)?;
    disk.sync_dir()
}
