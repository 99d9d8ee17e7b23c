//! The file operations that the store needs, so that it can be run on a disk that fails on purpose.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

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
    /// All octets of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
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
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The file that was appended to last.
    open: Option<(String, File)>,
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

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            let file = OpenOptions::new().append(true).open(self.path.join(name))?;
            self.open = Some((name.to_owned(), file));
        }
        let (_, file) = self.open.as_mut().expect("opened above");
        Ok(file)
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

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create_new(true).mode(0o600).open(self.path.join(name))?;
        self.open = Some((name.to_owned(), file));
        Ok(())
    }

    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(octets)
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.file(name)?.set_len(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open.take_if(|(open, _)| open == name);
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
