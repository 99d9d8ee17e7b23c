//! The octets that wait on a TCP link.
//!
//! Small frames are copied into blocks of 4 KiB, large payloads are chained by reference, and one
//! call writes all of it in one system call. Copying is cheaper up to about 1 KiB of payload, and
//! from there on the reference.
//!
//! Blocks come from a [`BlockPool`] that all links share and go back to it as soon as they are
//! written, so a busy link does not allocate and an idle one holds nothing: an [`OutBuf`] without
//! octets is 88 octets of plain struct.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::mem;

use bytes::{Buf, Bytes};

/// Octets of a block. A turn brings most links less than this; more blocks follow as needed.
pub const BLOCK_BYTES: usize = 4 * 1024;

/// Payloads above this many octets are chained by reference, others copied.
pub const SHARE_ABOVE_BYTES: usize = 1024;

/// Pieces that one system call writes at most: 256 KiB if they are blocks, about what a socket
/// takes at once.
const PIECES_MAX: usize = 64;

/// Blocks that wait in a pool for the next user: 4 MiB, one for each link of a slice of a fan-out.
const POOL_BLOCKS_MAX: usize = 1_024;

/// Lists of blocks and payloads that wait with them.
const POOL_QUEUES_MAX: usize = 1_024;

/// A list that grew beyond this many entries is not kept.
const POOL_QUEUE_ENTRIES_MAX: usize = 64;

/// What was not written yet on one link, in order. Nothing bounds it but its user: see
/// [`len`](Self::len).
#[derive(Default)]
pub struct OutBuf {
    queue: Queue,
    len: usize,
}

/// All that was copied is one stream over `blocks`; each payload stands behind its share of that
/// stream.
#[derive(Default)]
struct Queue {
    /// Never empty ones; each has room for `BLOCK_BYTES` and never grows.
    blocks: VecDeque<Vec<u8>>,
    /// Octets of the first block that are written already.
    written: usize,
    payloads: VecDeque<Payload>,
    /// Copied octets behind the last payload.
    copied: usize,
}

struct Payload {
    /// Copied octets between the payload before and this one.
    copied: usize,
    bytes: Bytes,
}

/// What [`OutBuf::write_to`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Nothing waits any more.
    Done,
    /// The stream took all that one system call offers, and more waits: call again.
    More,
    /// The stream has no room: an event will tell when it has.
    Blocked,
}

/// Memory for [`OutBuf`]s, shared by all links of one event loop. Keeps at most 4 MiB of spare
/// blocks.
#[derive(Default)]
pub struct BlockPool {
    blocks: Vec<Vec<u8>>,
    queues: Vec<Queue>,
}

/// Appends to an [`OutBuf`]. No call does more than copy its argument.
pub struct OutWriter<'a> {
    out: &'a mut OutBuf,
    pool: &'a mut BlockPool,
}

impl OutBuf {
    /// Octets that wait. The memory behind them is at most this, plus a block, plus what
    /// [`OutWriter::reserve`] left free at the ends of blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For appending, with memory from `pool`.
    pub fn writer<'a>(&'a mut self, pool: &'a mut BlockPool) -> OutWriter<'a> {
        if self.len == 0 && self.queue.blocks.capacity() == 0 {
            self.queue = pool.take_queue();
        }
        OutWriter { out: self, pool }
    }

    /// Writes what waits to `stream` with one system call, and gives written blocks back to `pool`.
    ///
    /// Work: one `write`, or one `writev` of up to 64 pieces. Never allocates.
    ///
    /// # Errors
    /// Those of the stream: the link is lost, and what waits with it (see [`clear`](Self::clear)).
    /// A stream that takes nothing though it did not say that it would block fails with
    /// `WriteZero`.
    pub fn write_to(&mut self, stream: &mut impl Write, pool: &mut BlockPool) -> io::Result<Flush> {
        self.write_behind(&[], usize::MAX, stream, pool).map(|(_, flush)| flush)
    }

    /// The same, with `head` before what waits, and at most `max` octets of that. Returns how many
    /// octets were written, those of `head` first; it is done when nothing is left of both.
    ///
    /// # Errors
    /// Those of [`write_to`](Self::write_to).
    pub fn write_behind(
        &mut self,
        head: &[u8],
        max: usize,
        stream: &mut impl Write,
        pool: &mut BlockPool,
    ) -> io::Result<(usize, Flush)> {
        let max = max.min(self.len);
        if head.is_empty() && max == 0 {
            let flush = if self.len == 0 { Flush::Done } else { Flush::More };
            return Ok((0, flush));
        }
        let (offered, result) = self.queue.offer(head, max, stream);
        let taken = match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok((0, Flush::Blocked));
            }
            Err(error) => return Err(error),
        };
        let waited = taken.saturating_sub(head.len());
        self.queue.consume(waited, pool);
        self.len -= waited;
        if self.len == 0 {
            self.clear(pool);
        }
        let flush = match self.len {
            _ if taken < offered => Flush::Blocked,
            0 => Flush::Done,
            _ => Flush::More,
        };
        Ok((taken, flush))
    }

    /// Forgets what waits and gives the memory back; for a link that ends.
    pub fn clear(&mut self, pool: &mut BlockPool) {
        self.len = 0;
        pool.give_queue(mem::take(&mut self.queue));
    }
}

impl Queue {
    /// Offers the stream as much as one call carries of `head` and, behind it, `max` octets of what
    /// waits; returns how many octets that were, and what came of it.
    fn offer(
        &self,
        head: &[u8],
        max: usize,
        stream: &mut impl Write,
    ) -> (usize, io::Result<usize>) {
        if head.is_empty() && self.payloads.is_empty() && self.blocks.len() == 1 {
            let block = &self.blocks[0][self.written..];
            let block = &block[..max.min(block.len())];
            return (block.len(), retry(|| stream.write(block)));
        }
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let (mut count, mut offered) = (0, 0);
        let head = (!head.is_empty()).then_some(head);
        let mut left = max + head.map_or(0, <[u8]>::len);
        for (piece, slot) in head.into_iter().chain(self.pieces()).zip(&mut pieces) {
            if left == 0 {
                break;
            }
            let piece = &piece[..left.min(piece.len())];
            *slot = IoSlice::new(piece);
            count += 1;
            offered += piece.len();
            left -= piece.len();
        }
        let pieces = &pieces[..count];
        (offered, retry(|| stream.write_vectored(pieces)))
    }

    /// All that waits, as pieces of memory in order; none is empty.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut blocks = self.blocks.iter();
        let mut rest: &[u8] = blocks.next().map_or(&[], |block| &block[self.written..]);
        let mut payloads = self.payloads.iter();
        let mut payload = payloads.next();
        let mut copied = payload.map_or(self.copied, |payload| payload.copied);
        std::iter::from_fn(move || {
            if copied == 0 {
                let bytes = &payload?.bytes;
                payload = payloads.next();
                copied = payload.map_or(self.copied, |payload| payload.copied);
                return Some(&bytes[..]);
            }
            if rest.is_empty() {
                rest = blocks.next().expect("a block for every copied octet");
            }
            let (piece, after) = rest.split_at(copied.min(rest.len()));
            rest = after;
            copied -= piece.len();
            Some(piece)
        })
    }

    /// Removes the first `len` octets.
    fn consume(&mut self, mut len: usize, pool: &mut BlockPool) {
        while len > 0 {
            let copied =
                self.payloads.front_mut().map_or(&mut self.copied, |first| &mut first.copied);
            if *copied > 0 {
                let take = len.min(*copied);
                *copied -= take;
                len -= take;
                self.consume_copied(take, pool);
                continue;
            }
            let payload = self.payloads.front_mut().expect("octets that nobody wrote");
            if len < payload.bytes.len() {
                payload.bytes.advance(len);
                return;
            }
            len -= payload.bytes.len();
            self.payloads.pop_front();
        }
    }

    fn consume_copied(&mut self, mut len: usize, pool: &mut BlockPool) {
        while len > 0 {
            let block = self.blocks.front().expect("a block for every copied octet");
            let waiting = block.len() - self.written;
            if len < waiting {
                self.written += len;
                return;
            }
            len -= waiting;
            self.written = 0;
            if let Some(block) = self.blocks.pop_front() {
                pool.give_block(block);
            }
        }
    }
}

/// A signal may interrupt a call that did nothing yet.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl OutWriter<'_> {
    /// Appends a copy of `bytes`.
    pub fn put(&mut self, mut bytes: &[u8]) {
        self.count_copied(bytes.len());
        while !bytes.is_empty() {
            let block = self.block_with_room(1);
            let room = BLOCK_BYTES - block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            block.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Appends copies of several pieces; at once, if all of them have room in one block.
    pub fn put_all<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        let len = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        match self.out.queue.blocks.back_mut() {
            Some(block) if len <= BLOCK_BYTES - block.len() => {
                pieces.iter().for_each(|piece| block.extend_from_slice(piece));
                self.count_copied(len);
            }
            Some(_) | None => pieces.iter().for_each(|piece| self.put(piece)),
        }
    }

    /// Appends one octet.
    pub fn put_u8(&mut self, byte: u8) {
        self.put(&[byte]);
    }

    /// Appends a payload: by reference if it is long, as a copy if it is short.
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() <= SHARE_ABOVE_BYTES {
            return self.put(bytes);
        }
        let copied = mem::take(&mut self.out.queue.copied);
        self.out.queue.payloads.push_back(Payload { copied, bytes: bytes.clone() });
        self.out.len += bytes.len();
    }

    /// Appends `len` zeroes in one piece and lends them, to be written or patched by the caller;
    /// `None` if `len` is more than a block, [`BLOCK_BYTES`].
    #[must_use]
    pub fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > BLOCK_BYTES {
            return None;
        }
        self.count_copied(len);
        let block = self.block_with_room(len);
        let start = block.len();
        block.resize(start + len, 0);
        Some(&mut block[start..])
    }

    /// Octets that wait, with those just appended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    fn count_copied(&mut self, len: usize) {
        self.out.len += len;
        self.out.queue.copied += len;
    }

    /// The block that is being filled, with room for `len` octets more.
    fn block_with_room(&mut self, len: usize) -> &mut Vec<u8> {
        let blocks = &mut self.out.queue.blocks;
        if blocks.back().is_none_or(|block| BLOCK_BYTES - block.len() < len) {
            blocks.push_back(self.pool.take_block());
        }
        blocks.back_mut().expect("there is one, or one was just added")
    }
}

impl BlockPool {
    /// An empty pool; it fills with what is given back.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets of spare blocks.
    #[must_use]
    pub fn spare_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    fn take_block(&mut self) -> Vec<u8> {
        self.blocks.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES))
    }

    fn give_block(&mut self, mut block: Vec<u8>) {
        if self.blocks.len() < POOL_BLOCKS_MAX {
            block.clear();
            self.blocks.push(block);
        }
    }

    fn take_queue(&mut self) -> Queue {
        self.queues.pop().unwrap_or_default()
    }

    fn give_queue(&mut self, mut queue: Queue) {
        queue.blocks.drain(..).for_each(|block| self.give_block(block));
        queue.payloads.clear();
        queue.written = 0;
        queue.copied = 0;
        let entries = queue.blocks.capacity().max(queue.payloads.capacity());
        if (1..=POOL_QUEUE_ENTRIES_MAX).contains(&entries) && self.queues.len() < POOL_QUEUES_MAX {
            self.queues.push(queue);
        }
    }
}
