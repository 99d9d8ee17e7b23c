//! Room that is kept for the time when the disk is full.
//!
//! A store that fills its disk gets room again by writing that something is not needed any more,
//! which takes some itself. So a file holds a piece of the disk for that, which is let go when
//! nothing else is left, and is there again before anything else is written.

use std::io;

use super::disk::Disk;

/// Octets that are held on a disk that has much room: a hundred thousand messages can be forgotten
/// in them, or some ten thousand of QoS 2 delivered.
const BYTES_MAX: usize = 4 << 20;

/// Octets that are held on any disk.
const BYTES_MIN: usize = 64 << 10;

/// Octets that are held where twice as many could be the store's.
const BYTES_SMALL: u64 = 1 << 20;

/// How much is held where so many octets are the store's, or free: an eighth, or half of them if
/// that is little.
pub(super) fn bytes(room_bytes: u64) -> usize {
    let wanted = (room_bytes / 8).max((room_bytes / 2).min(BYTES_SMALL));
    usize::try_from(wanted).unwrap_or(usize::MAX).clamp(BYTES_MIN, BYTES_MAX)
}

/// What holds them; beside the files of the log, and none of them.
const NAME: &str = "reserve";

/// Holds so many octets, unless as many or more are held already. Returns how many are; or how many
/// there would be room for, with what the disk says, and nothing is held then.
pub(super) fn take(disk: &mut impl Disk, bytes: usize) -> (usize, io::Result<()>) {
    let held_before = if bytes == 0 { Ok(0) } else { held(disk) };
    match held_before {
        Ok(held) if held >= bytes => return (held, Ok(())),
        Ok(_) => {}
        Err(error) => return (0, Err(error)),
    }
    match fill(disk, bytes) {
        Ok(()) => (bytes, Ok(())),
        Err(error) => {
            let room = held(disk).unwrap_or(0);
            // What is there of it takes what others need.
            let _ = disk.remove(NAME);
            (room, Err(error))
        }
    }
}

/// Whether there is no room, or none that we may have.
pub(super) fn is_full(error: &io::Error) -> bool {
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind())
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

fn held(disk: &impl Disk) -> io::Result<usize> {
    match disk.size(NAME) {
        Ok(size) => Ok(usize::try_from(size).unwrap_or(usize::MAX)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_is_held_where_much_is_free_and_never_nothing() {
        let mib = |count: u64| count << 20;
        for (free_bytes, held) in [
            (u64::MAX, mib(4)),
            (mib(32), mib(4)),
            (mib(20), mib(5) / 2),
            (mib(4), mib(1)),
            (mib(1), mib(1) / 2),
            (0, mib(1) / 16),
        ] {
            assert_eq!(bytes(free_bytes) as u64, held, "{free_bytes} octets free");
        }
    }
}
