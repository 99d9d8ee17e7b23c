//! What the disk itself does: the time of an append and its sync.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use crate::tally::Histogram;

/// Octets of an append, about those of a message with its frame.
const APPENDED: [u8; 256] = [0x5A; 256];

/// Appends and syncs so often in `folder`, and notes the times that `fdatasync` took.
pub(super) fn measure(folder: &Path, count: u32, syncs: &mut Histogram) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    // The first sync writes what belongs to a new file.
    append(&mut file)?;
    for _ in 0..count {
        let began = Instant::now();
        append(&mut file)?;
        syncs.note(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(())
}

fn append(file: &mut File) -> io::Result<()> {
    file.write_all(&APPENDED)?;
    file.sync_data()
}
