//! A disk in memory that knows what a power loss would leave.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use mqtt_sn_gw::store::disk::Disk;

/// A file, and how many of its octets are safe.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) octets: Vec<u8>,
    pub(super) synced: usize,
}

/// Files by name. Clones are the same disk; [`MemoryDisk::copy`] makes another.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<BTreeMap<String, File>>>);

impl MemoryDisk {
    pub(super) fn files(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.0.lock().expect("nobody panics while holding it")
    }

    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.files().clone())))
    }

    fn edit<T>(&self, name: &str, edit: impl FnOnce(&mut File) -> T) -> io::Result<T> {
        self.files().get_mut(name).map(edit).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.edit(name, |file| file.octets.clone())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(name.to_owned(), File::default());
        Ok(())
    }

    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        self.edit(name, |file| file.octets.extend_from_slice(octets))
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.edit(name, |file| {
            file.octets.truncate(len);
            file.synced = file.synced.min(len);
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.edit(name, |file| file.synced = file.octets.len())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        Ok(())
    }
}
