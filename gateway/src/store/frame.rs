//! What stands in a file of the log.
//!
//! ```text
//! file    "mqtt-sn-gw log\n\0"   version: u32   number: u64   number of its first frame: u64
//!         crc32 of the 36 octets before: u32
//! frame   "MSGF"   length: u32   crc32 of all that follows: u32
//!         number: u64   synced: u64   changes: `length` octets (a journal)
//! ```
//!
//! All numbers are little endian. Frames are numbered through all files without a gap. `synced` is
//! the number up to which frames were known to survive a power loss when this one was written: so a
//! frame that cannot be read is either one that nobody was promised, at the end of the last file,
//! or damage; the two are told apart.

/// What a file begins with.
const FILE_MAGIC: &[u8; 16] = b"mqtt-sn-gw log\n\0";

/// The format that this program writes.
pub(super) const VERSION: u32 = 1;

/// Octets of the head of a file.
pub(super) const FILE_HEAD: usize = 40;

/// A file for frames from a number beyond this one is not ours: so none is counted up too far.
pub(super) const FIRST_MAX: u64 = 1 << 62;

const FRAME_MAGIC: &[u8; 4] = b"MSGF";

/// Octets of a frame before its changes.
pub(super) const FRAME_HEAD: usize = 28;

/// The head of the file with this number, for frames from `first` on.
pub(super) fn file_head(number: u64, first: u64) -> [u8; FILE_HEAD] {
    let mut head = [0; FILE_HEAD];
    head[..16].copy_from_slice(FILE_MAGIC);
    head[16..20].copy_from_slice(&VERSION.to_le_bytes());
    head[20..28].copy_from_slice(&number.to_le_bytes());
    head[28..36].copy_from_slice(&first.to_le_bytes());
    let crc = crc32fast::hash(&head[..36]);
    head[36..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// What the head of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileHead {
    Good {
        number: u64,
        first: u64,
    },
    /// Written by a later program.
    Newer {
        version: u32,
    },
    /// Shorter than a head.
    Cut,
    Bad,
}

/// Reads the head of a file.
pub(super) fn read_file_head(octets: &[u8]) -> FileHead {
    let Some(head) = octets.first_chunk::<FILE_HEAD>() else { return FileHead::Cut };
    let crc = crc32fast::hash(&head[..36]);
    if &head[..16] != FILE_MAGIC || head[36..] != crc.to_le_bytes() {
        return FileHead::Bad;
    }
    match le_u32(&head[16..]) {
        VERSION => FileHead::Good { number: le_u64(&head[20..]), first: le_u64(&head[28..]) },
        version if version > VERSION => FileHead::Newer { version },
        _ => FileHead::Bad,
    }
}

/// Appends a frame.
pub(super) fn write_frame(out: &mut Vec<u8>, number: u64, synced: u64, changes: &[u8]) {
    let len = u32::try_from(changes.len()).expect("a turn's changes are shorter");
    out.reserve(FRAME_HEAD + changes.len());
    out.extend_from_slice(FRAME_MAGIC);
    out.extend_from_slice(&len.to_le_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    out.extend_from_slice(changes);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&len.to_le_bytes());
    crc.update(&out[at + 4..]);
    out[at..at + 4].copy_from_slice(&crc.finalize().to_le_bytes());
}

/// A frame that can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    pub(super) synced: u64,
    pub(super) changes: &'a [u8],
}

impl Frame<'_> {
    /// Octets that it takes in its file.
    pub(super) const fn len(&self) -> usize {
        FRAME_HEAD + self.changes.len()
    }
}

/// The frame at the beginning of `octets`, if there is a whole one.
pub(super) fn read_frame(octets: &[u8]) -> Option<Frame<'_>> {
    let (head, rest) = octets.split_first_chunk::<FRAME_HEAD>()?;
    if &head[..4] != FRAME_MAGIC {
        return None;
    }
    let changes = rest.get(..le_u32(&head[4..]) as usize)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[4..8]);
    crc.update(&head[12..]);
    crc.update(changes);
    if crc.finalize() != le_u32(&head[8..]) {
        return None;
    }
    Some(Frame { number: le_u64(&head[12..]), synced: le_u64(&head[20..]), changes })
}

/// Where the next frame that can be trusted begins, from `from` on. Its number is `number` or one
/// that frames in between allow: so what looks like a frame inside of messages costs no checksum.
pub(super) fn find_frame(octets: &[u8], from: usize, number: u64) -> Option<usize> {
    find(octets, from, |at, found| {
        let room = (at - from) / FRAME_HEAD;
        (number..=number + room as u64 + 1).contains(&found)
    })
}

/// Where the next frame begins, from `from` on, whatever its number: for what was damaged.
pub(super) fn find_any_frame(octets: &[u8], from: usize) -> Option<usize> {
    find(octets, from, |_, _| true)
}

/// The first frame from `from` on whose place and number may be: they are asked before it is read.
fn find(octets: &[u8], from: usize, may_be: impl Fn(usize, u64) -> bool) -> Option<usize> {
    let last = octets.len().checked_sub(FRAME_HEAD)?;
    (from..=last).find(|at| {
        let octets = &octets[*at..];
        octets.starts_with(FRAME_MAGIC)
            && may_be(*at, le_u64(&octets[12..]))
            && read_frame(octets).is_some()
    })
}

fn le_u32(octets: &[u8]) -> u32 {
    u32::from_le_bytes(*octets.first_chunk().expect("four octets are there"))
}

fn le_u64(octets: &[u8]) -> u64 {
    u64::from_le_bytes(*octets.first_chunk().expect("eight octets are there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_not_at_all_if_an_octet_differs() {
        let mut octets = Vec::new();
        write_frame(&mut octets, 7, 5, b"changes");
        let frame = read_frame(&octets).expect("a good frame");
        assert_eq!(frame, Frame { number: 7, synced: 5, changes: b"changes" });
        assert_eq!(frame.len(), octets.len());
        for at in 0..octets.len() {
            assert_eq!(read_frame(&octets[..at]), None, "cut at {at}");
            let mut other = octets.clone();
            other[at] ^= 0x10;
            assert_eq!(read_frame(&other), None, "changed at {at}");
        }
    }

    #[test]
    fn the_head_of_a_file_tells_what_it_is() {
        let head = file_head(9, 44);
        assert_eq!(read_file_head(&head), FileHead::Good { number: 9, first: 44 });
        assert_eq!(read_file_head(&head[..39]), FileHead::Cut);
        let mut newer = head;
        newer[16] = 2;
        assert_eq!(read_file_head(&newer), FileHead::Bad);
        let crc = crc32fast::hash(&newer[..36]);
        newer[36..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(read_file_head(&newer), FileHead::Newer { version: 2 });
    }

    #[test]
    fn a_frame_is_found_behind_rubbish() {
        let mut octets = b"MSGF rubbish".to_vec();
        write_frame(&mut octets, 1, 0, b"x");
        assert_eq!(find_frame(&octets, 0, 1), Some(12));
        assert_eq!(find_frame(&octets, 0, 2), None);
        assert_eq!(find_frame(&octets, 13, 1), None);
    }
}
