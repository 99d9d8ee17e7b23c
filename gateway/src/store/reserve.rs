//! Room that is kept for the time when the disk is full.
//!
//! A store that fills its disk gets room again by writing that something is not needed any more,
//! which takes some itself. So a file holds a piece of the disk for that, which is let go when
//! nothing else is left, and is there again before anything else is written.

use std::io;

use super::disk::Disk;

/// Octets that are held as a rule: some forty thousand messages can be forgotten in them.
pub const RESERVE_BYTES: usize = 1 << 20;

/// What holds them; beside the files of the log, and none of them.
const NAME: &str = "reserve";

/// Holds so many octets, unless they are held already.
///
/// # Errors
/// The disk's; nothing is held then.
pub(super) fn take(disk: &mut impl Disk, bytes: usize) -> io::Result<()> {
    if bytes == 0 || is_held(disk, bytes)? {
        return Ok(());
    }
    let taken = fill(disk, bytes);
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

fn is_held(disk: &impl Disk, bytes: usize) -> io::Result<bool> {
    match disk.read(NAME) {
        Ok(octets) => Ok(octets.len() == bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn fill(disk: &mut impl Disk, bytes: usize) -> io::Result<()> {
    release(disk)?;
    disk.create(NAME)?;
    // Nothing that a file system could store in less.
    let mut octets = vec![0; bytes];
    fastrand::Rng::with_seed(1).fill(&mut octets);
    disk.append(NAME, &octets)?;
    disk.sync(NAME)?;
    disk.sync_dir()
}
