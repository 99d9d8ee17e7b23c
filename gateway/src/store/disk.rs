//! The file operations that the store needs, so that it can be run on a disk that fails on purpose.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Octets of room that are made behind an append: for so many like it, within these bounds. Larger
/// appends than a quarter of the upper one cost more than the room would save.
const ROOM_APPENDS: usize = 64;
const ROOM_MIN: usize = 64 << 10;
const ROOM_MAX: usize = 1 << 20;

static ZEROS: [u8; ROOM_MIN] = [0; ROOM_MIN];

/// A folder of append-only files.
///
/// What was appended survives the process at once, and a power loss only when [`Disk::sync`] has
/// returned; that a file exists or is gone, only when [`Disk::sync_dir`] has.
pub trait Disk: Send {
    /// The names of all files.
    ///
    /// # Errors
    /// Those of the system, as everywhere here.
    fn list(&self) -> io::Result<Vec<String>>;
    /// All octets of a file; behind those that were appended there may be zeros.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Octets of a file, with the zeros.
    fn size(&self, name: &str) -> io::Result<u64>;
    /// Makes an empty file; one of that name must not be there.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Appends to a file. After an error any part of it may have been appended.
    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()>;
    /// Cuts a file.
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()>;
    /// Returns when what was appended to a file, or cut from it, survives a power loss.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Returns when the creations and deletions so far survive a power loss.
    fn sync_dir(&mut self) -> io::Result<()>;
}

/// A folder of the machine.
///
/// A file that grows with every sync makes the file system write its own books each time, in turns
/// with all others that do so. So zeros are written ahead, and most appends only take their place:
/// a sync takes half the time then, and its slowest a tenth.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The file that was appended to last.
    open: Option<Appended>,
}

/// A file that is appended to.
#[derive(Debug)]
struct Appended {
    name: String,
    file: File,
    /// Behind what was appended, and behind the zeros that follow it.
    end: u64,
    room_end: u64,
}

impl Folder {
    /// Opens a folder, and makes it, for its owner alone, if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            // So that the folder itself survives a power loss.
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { path: path.to_owned(), open: None })
    }

    fn file(&mut self, name: &str) -> io::Result<&mut Appended> {
        if self.open.as_ref().is_none_or(|open| open.name != name) {
            let file = OpenOptions::new().write(true).open(self.path.join(name))?;
            self.open = Some(Appended::new(name, file)?);
        }
        Ok(self.open.as_mut().expect("opened above"))
    }
}

impl Appended {
    fn new(name: &str, file: File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self { name: name.to_owned(), file, end, room_end: end })
    }

    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all_at(octets, self.end)?;
        let is_first = self.end == 0;
        self.end += octets.len() as u64;
        if self.end > self.room_end {
            self.room_end = self.end;
            // A file that is being made has nothing but what it begins with.
            if !is_first && octets.len() <= ROOM_MAX / 4 {
                self.make_room((octets.len() * ROOM_APPENDS).clamp(ROOM_MIN, ROOM_MAX));
            }
        }
        Ok(())
    }

    /// Writes zeros ahead. A disk that has no room for them may still have enough for a message.
    fn make_room(&mut self, octets: usize) {
        let wanted = self.end + octets as u64;
        while self.room_end < wanted {
            let zeros = &ZEROS[..ZEROS.len().min((wanted - self.room_end) as usize)];
            if self.file.write_all_at(zeros, self.room_end).is_err() {
                // What was written of them does no harm, if it cannot be given back either.
                let _ = self.file.set_len(self.end);
                self.room_end = self.end;
                return;
            }
            self.room_end += zeros.len() as u64;
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        (self.end, self.room_end) = (len, len);
        Ok(())
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        if self.room_end > self.end {
            // It is room: whoever reads the file knows.
            let _ = self.file.set_len(self.end);
        }
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name()));
        // Names that are no text are not ours.
        names.filter_map(|name| name.map(|name| name.into_string().ok()).transpose()).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path.join(name))?.len())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(self.path.join(name))?;
        self.open = Some(Appended::new(name, file)?);
        Ok(())
    }

    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        self.file(name)?.append(octets)
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.file(name)?.truncate(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let file = &self.file(name)?.file;
        file.sync_data()?;
        // What nobody can open again is not safe.
        if file.metadata()?.nlink() == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the log was deleted"));
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open.take_if(|open| open.name == name);
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_safe_in_a_file_that_was_deleted() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut folder = Folder::open(dir.path()).expect("it is there");
        folder.create("f").expect("the disk works");
        folder.append("f", b"one").expect("the disk works");
        folder.sync("f").expect("the disk works");
        fs::remove_file(dir.path().join("f")).expect("it is there");
        folder.append("f", b"two").expect("whoever has it open may write");
        let error = folder.sync("f").expect_err("nobody could read it");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_appended_takes_the_place_of_zeros() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut folder = Folder::open(dir.path()).expect("it is there");
        let len = || fs::metadata(dir.path().join("f")).expect("it is there").len();
        folder.create("f").expect("the disk works");
        folder.append("f", b"head").expect("the disk works");
        assert_eq!(len(), 4, "a file that is being made has no room");
        for octets in [b"one", b"two"] {
            folder.append("f", octets).expect("the disk works");
            assert_eq!(len(), 4 + 3 + ROOM_MIN as u64);
        }
        let octets = folder.read("f").expect("the disk works");
        assert!(octets.starts_with(b"headonetwo\0\0"));
        folder.append("f", &[7; ROOM_MAX / 4 + 1]).expect("the disk works");
        assert_eq!(len(), 10 + ROOM_MAX as u64 / 4 + 1, "a large one takes no room with it");
        folder.append("f", b"three").expect("the disk works");
        folder.truncate("f", 7).expect("the disk works");
        assert_eq!(len(), 7);
        folder.append("f", b"four").expect("the disk works");
        assert!(len() > 11);
        drop(folder);
        assert_eq!(len(), 11, "room is given back at an orderly end");
    }
}
