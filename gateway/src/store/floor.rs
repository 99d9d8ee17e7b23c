//! Where the log begins: what was given up, and how far the log has to go at least.
//!
//! A file of the log that is not needed any more is deleted when what lived in it stands at the
//! end. From then on both ends matter: a first file that is missing, or an end that is cut off with
//! what was copied there, would leave a state that never was, and look like a log. So before a file
//! goes, a small one says what goes and up to which frame everything is safe:
//!
//! ```text
//! 0000000007.floor   "mqtt-sn-gw begin"   file: u32   number of a frame: u64
//!                    crc32 of the 28 octets before: u32
//! ```
//!
//! Files up to number 7 are given up, and a log that ends before that frame is damaged. One that
//! has no such file begins with file 1.

use std::io;

use super::disk::Disk;
use super::log::numbered;

const MAGIC: &[u8; 16] = b"mqtt-sn-gw begin";

const SUFFIX: &str = ".floor";

/// What a file before its checksum has.
const BODY: usize = 28;

/// What is known of the beginning of a log.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// Files up to this number are given up.
    pub(super) file: u32,
    /// Frames up to this number are there.
    pub(super) number: u64,
    /// Those that say so, and what is left of others.
    names: Vec<String>,
}

impl Floor {
    /// What a disk has.
    pub(super) fn read(disk: &impl Disk) -> io::Result<Self> {
        let mut floor = Self::default();
        for name in disk.list()? {
            let Some(file) = numbered(&name, SUFFIX) else { continue };
            // One that was being made when the end came says nothing, and was not needed yet.
            if let Some(number) = parse(file, &disk.read(&name)?)
                && file > floor.file
            {
                (floor.file, floor.number) = (file, number);
            }
            floor.names.push(name);
        }
        Ok(floor)
    }

    /// Makes safe what a process has said that was killed before it had: files go for it from here
    /// on.
    pub(super) fn make_safe(&self, disk: &mut impl Disk) -> io::Result<()> {
        if self.file == 0 { Ok(()) } else { disk.sync(&name(self.file)) }
    }

    /// Says that files up to `file` go, and that frames up to `number` are safe.
    ///
    /// # Errors
    /// The disk's; what was said before holds, and the same call may be made again.
    pub(super) fn raise(&mut self, disk: &mut impl Disk, file: u32, number: u64) -> io::Result<()> {
        if file <= self.file {
            // It was said, and the file came back: what it has was copied then.
            return Ok(());
        }
        let name = name(file);
        if let Err(error) = disk.create(&name)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        // One may be left from an attempt that failed.
        disk.truncate(&name, 0)?;
        disk.append(&name, &write(file, number))?;
        disk.sync(&name)?;
        disk.sync_dir()?;
        (self.file, self.number) = (file, number);
        let old = core::mem::replace(&mut self.names, vec![name.clone()]);
        for old in old.into_iter().filter(|old| *old != name) {
            if disk.remove(&old).is_err() {
                // The higher one counts; it is tried again with the next.
                self.names.push(old);
            }
        }
        Ok(())
    }
}

fn name(file: u32) -> String {
    format!("{file:010}{SUFFIX}")
}

fn write(file: u32, number: u64) -> Vec<u8> {
    let mut octets = MAGIC.to_vec();
    octets.extend_from_slice(&file.to_le_bytes());
    octets.extend_from_slice(&number.to_le_bytes());
    octets.extend_from_slice(&crc32fast::hash(&octets).to_le_bytes());
    octets
}

/// The number of the frame. Behind it there may be zeros.
fn parse(file: u32, octets: &[u8]) -> Option<u64> {
    let (body, rest) = octets.split_at_checked(BODY)?;
    let number = u64::from_le_bytes(*body.last_chunk()?);
    let is_whole = rest.first_chunk() == Some(&crc32fast::hash(body).to_le_bytes());
    (is_whole && body == &write(file, number)[..BODY]).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::SimDisk;

    #[test]
    fn the_highest_that_is_whole_counts_and_the_others_go() {
        let mut disk = SimDisk::default();
        let mut floor = Floor::read(&disk).expect("an empty disk");
        assert_eq!((floor.file, floor.number), (0, 0));
        floor.raise(&mut disk, 3, 70).expect("the disk works");
        floor.raise(&mut disk, 2, 50).expect("nothing to do");
        disk.edit("0000000009.floor", |octets| *octets = write(9, 90)[..31].to_vec());
        disk.edit("0000000008.floor", |octets| *octets = write(7, 90));
        let mut floor = Floor::read(&disk).expect("the disk works");
        assert_eq!((floor.file, floor.number), (3, 70));
        floor.raise(&mut disk, 4, 80).expect("the disk works");
        assert_eq!(disk.names(), ["0000000004.floor"]);
        let floor = Floor::read(&disk).expect("the disk works");
        assert_eq!((floor.file, floor.number), (4, 80));
    }
}
