//! Datagrams out, a batch at a time.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use super::{LocalAddr, UdpStats};
use crate::net::sys::BATCH;

/// Octets that wait in one batch at most. About what a socket takes at once with the usual kernel
/// settings.
const BYTES_MAX: usize = 256 * 1024;

/// Datagrams that wait in one batch at most: as many as the loop produces in one slice of a
/// fan-out.
const DATAGRAMS_MAX: usize = 1_024;

/// Datagrams on their way out of one [`UdpPort`](super::UdpPort), in order.
///
/// The caller encodes straight into the memory of the batch. What the kernel does not take stays
/// for the next [`UdpPort::transmit`](super::UdpPort::transmit). A batch is 256 KiB of octets and
/// 1,024 datagrams at most, allocated once and touched as it fills, so every port can have its own.
pub struct TransmitBatch {
    arena: Box<[u8]>,
    used: usize,
    entries: Vec<Entry>,
    refused: u64,
}

/// A datagram in the arena.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) to: SocketAddr,
    pub(super) from: Option<LocalAddr>,
    pub(super) bytes: Range<usize>,
}

/// The batch has no room: transmit first, or drop the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFull;

impl fmt::Display for BatchFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the batch of outgoing datagrams is full")
    }
}

impl std::error::Error for BatchFull {}

/// What a [`UdpPort::transmit`](super::UdpPort::transmit) came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub datagrams: usize,
    /// Datagrams that it refused for a reason of their own (address, size, filter rule); they are
    /// gone and counted.
    pub dropped: usize,
    /// The kernel has no room for more now: the rest stays in the batch, and the port wants to be
    /// told when it is writable.
    pub blocked: bool,
}

impl TransmitBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            arena: vec![0; BYTES_MAX].into_boxed_slice(),
            used: 0,
            entries: Vec::with_capacity(DATAGRAMS_MAX),
            refused: 0,
        }
    }

    /// Appends a datagram to `to` that `write` encodes into a buffer of `len_max` octets; it
    /// returns how many it used, and 0 takes the datagram back.
    ///
    /// With `from` the datagram leaves from that address, which is how a port on a wildcard address
    /// answers from the address that was asked; a multicast datagram leaves through the interface
    /// in `from`. The buffer starts with whatever older datagrams left in it, so `write` must write
    /// every octet that it counts. Never allocates.
    ///
    /// # Errors
    /// The batch is full: 1,024 datagrams wait, or `len_max` octets do not fit into what is left of
    /// 256 KiB. Nothing is lost yet: the caller may transmit and try again.
    ///
    /// # Panics
    /// If `write` claims more than `len_max` octets.
    pub fn push_with(
        &mut self,
        to: SocketAddr,
        from: Option<LocalAddr>,
        len_max: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<(), BatchFull> {
        let room = self.arena.len() - self.used;
        if self.entries.len() == DATAGRAMS_MAX || len_max > room {
            self.refused += 1;
            return Err(BatchFull);
        }
        let buffer = &mut self.arena[self.used..][..len_max];
        let len = write(buffer);
        assert!(len <= len_max, "a writer claims {len} octets of {len_max}");
        if len > 0 {
            let bytes = self.used..self.used + len;
            self.used = bytes.end;
            self.entries.push(Entry { to, from, bytes });
        }
        Ok(())
    }

    /// Appends a datagram that is already encoded; otherwise like [`push_with`](Self::push_with).
    ///
    /// # Errors
    /// The batch is full.
    pub fn push(
        &mut self,
        to: SocketAddr,
        from: Option<LocalAddr>,
        bytes: &[u8],
    ) -> Result<(), BatchFull> {
        self.push_with(to, from, bytes.len(), |buffer| {
            buffer.copy_from_slice(bytes);
            bytes.len()
        })
    }

    /// Datagrams that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Octets that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.used
    }

    /// How often a datagram found the batch full. Whether it was lost then is for the caller to
    /// say.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Hands what waits to `send`, 64 datagrams at a time, until nothing is left or `send` would
    /// block.
    ///
    /// `send` returns how many of its entries went; an error concerns the first of them.
    pub(super) fn flush(
        &mut self,
        stats: &mut UdpStats,
        mut send: impl FnMut(&[Entry], &[u8]) -> io::Result<usize>,
    ) -> Sent {
        let mut done = 0;
        let mut sent = Sent::default();
        while done < self.entries.len() {
            let end = self.entries.len().min(done + BATCH);
            let chunk = &self.entries[done..end];
            stats.send_calls += 1;
            match send(chunk, &self.arena) {
                Ok(count) => {
                    assert!((1..=chunk.len()).contains(&count), "{count} of {} sent", chunk.len());
                    stats.bytes_out += (chunk[count - 1].bytes.end - chunk[0].bytes.start) as u64;
                    sent.datagrams += count;
                    done += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sent.blocked = true;
                    break;
                }
                Err(error) => {
                    stats.count_refusal(&error);
                    sent.dropped += 1;
                    done += 1;
                }
            }
        }
        stats.datagrams_out += sent.datagrams as u64;
        stats.send_blocked += u64::from(sent.blocked);
        self.forget(done);
        sent
    }

    /// Removes the first `done` datagrams. What is left moves to the front, which costs a copy of
    /// it only after the kernel had no room.
    fn forget(&mut self, done: usize) {
        let Some(first) = self.entries.get(done) else {
            self.entries.clear();
            self.used = 0;
            return;
        };
        let start = first.bytes.start;
        self.arena.copy_within(start..self.used, 0);
        self.used -= start;
        self.entries.drain(..done);
        for entry in &mut self.entries {
            entry.bytes = entry.bytes.start - start..entry.bytes.end - start;
        }
    }
}

impl Default for TransmitBatch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to() -> SocketAddr {
        "192.0.2.1:1883".parse().unwrap()
    }

    /// A batch of `count` datagrams: the first octet tells them apart, and each is longer than the
    /// one before.
    fn batch_of(count: usize) -> TransmitBatch {
        let mut batch = TransmitBatch::new();
        for i in 0..count {
            batch.push(to(), None, &vec![i as u8; i + 1]).unwrap();
        }
        batch
    }

    /// A kernel that answers by the script and then takes everything; remembers what it took.
    fn flush(
        batch: &mut TransmitBatch,
        stats: &mut UdpStats,
        script: Vec<Result<usize, i32>>,
    ) -> (Sent, Vec<Vec<u8>>) {
        let mut script = script.into_iter();
        let mut taken = Vec::new();
        let sent = batch.flush(stats, |entries, arena| {
            let count = match script.next() {
                Some(Ok(count)) => count,
                Some(Err(code)) => return Err(io::Error::from_raw_os_error(code)),
                None => entries.len(),
            };
            taken.extend(entries[..count].iter().map(|entry| arena[entry.bytes.clone()].to_vec()));
            Ok(count)
        });
        (sent, taken)
    }

    fn firsts(taken: &[Vec<u8>]) -> Vec<u8> {
        for datagram in taken {
            assert_eq!(
                datagram.len(),
                usize::from(datagram[0]) + 1,
                "octets and length belong together"
            );
        }
        taken.iter().map(|datagram| datagram[0]).collect()
    }

    #[test]
    fn a_partial_send_goes_on_where_it_stopped() {
        let mut stats = UdpStats::default();
        let mut batch = batch_of(10);
        let (sent, taken) = flush(&mut batch, &mut stats, vec![Ok(3), Ok(1)]);
        assert_eq!(sent, Sent { datagrams: 10, dropped: 0, blocked: false });
        assert_eq!(firsts(&taken), (0..10).collect::<Vec<u8>>());
        assert_eq!((stats.datagrams_out, stats.bytes_out, stats.send_calls), (10, 55, 3));
        assert!(batch.is_empty());
        assert_eq!(batch.bytes(), 0);
    }

    #[test]
    fn what_the_kernel_has_no_room_for_stays_in_order_with_what_comes_after() {
        let mut stats = UdpStats::default();
        let mut batch = batch_of(10);
        let (sent, first) = flush(&mut batch, &mut stats, vec![Ok(4), Err(libc::EAGAIN)]);
        assert_eq!(sent, Sent { datagrams: 4, dropped: 0, blocked: true });
        assert_eq!(batch.len(), 6);
        assert_eq!(batch.bytes(), 55 - 10);
        batch.push(to(), None, &[10; 11]).unwrap();
        let (sent, second) = flush(&mut batch, &mut stats, vec![]);
        assert_eq!(sent, Sent { datagrams: 7, dropped: 0, blocked: false });
        assert_eq!(firsts(&[first, second].concat()), (0..11).collect::<Vec<u8>>());
        assert_eq!(stats.send_blocked, 1);
    }

    #[test]
    fn an_error_costs_the_first_datagram_and_no_other() {
        let mut stats = UdpStats::default();
        let mut batch = batch_of(6);
        let script = vec![
            Err(libc::EMSGSIZE),
            Ok(1),
            Err(libc::ENETUNREACH),
            Err(libc::EPERM),
            Err(libc::EINTR),
            Err(libc::ENOBUFS),
        ];
        let (sent, taken) = flush(&mut batch, &mut stats, script);
        assert_eq!(sent, Sent { datagrams: 2, dropped: 4, blocked: false });
        assert_eq!(firsts(&taken), vec![1, 5]);
        assert_eq!(stats.dropped_too_long, 1);
        assert_eq!(stats.dropped_unreachable, 1);
        assert_eq!(stats.dropped_forbidden, 1);
        assert_eq!(stats.dropped_other, 1);
    }

    #[test]
    fn chunks_are_of_64() {
        let mut batch = TransmitBatch::new();
        for _ in 0..150 {
            batch.push(to(), None, b"x").unwrap();
        }
        let mut sizes = Vec::new();
        batch.flush(&mut UdpStats::default(), |entries, _| {
            sizes.push(entries.len());
            Ok(entries.len())
        });
        assert_eq!(sizes, [64, 64, 22]);
    }

    #[test]
    fn the_batch_is_bounded_by_datagrams() {
        let mut batch = TransmitBatch::new();
        for _ in 0..DATAGRAMS_MAX {
            batch.push(to(), None, b"x").unwrap();
        }
        assert_eq!(batch.push(to(), None, b"x"), Err(BatchFull));
        assert_eq!(batch.refused(), 1);
        flush(&mut batch, &mut UdpStats::default(), vec![]);
        assert_eq!(batch.push(to(), None, b"x"), Ok(()));
    }

    #[test]
    fn the_batch_is_bounded_by_octets() {
        let mut batch = TransmitBatch::new();
        for _ in 0..4 {
            batch.push(to(), None, &vec![7; BYTES_MAX / 4]).unwrap();
        }
        assert_eq!(batch.bytes(), BYTES_MAX);
        assert_eq!(batch.push(to(), None, b"x"), Err(BatchFull));
        flush(&mut batch, &mut UdpStats::default(), vec![Ok(1), Err(libc::EAGAIN)]);
        assert_eq!(batch.push(to(), None, b"x"), Ok(()), "what was sent made room");
    }

    #[test]
    fn a_writer_uses_what_it_needs_or_nothing() {
        let mut batch = TransmitBatch::new();
        batch
            .push_with(to(), None, 1_024, |buffer| {
                assert_eq!(buffer.len(), 1_024);
                buffer[..2].copy_from_slice(&[2, 0x16]);
                2
            })
            .unwrap();
        batch.push_with(to(), None, 1_024, |_| 0).unwrap();
        assert_eq!((batch.len(), batch.bytes()), (1, 2));
    }

    #[test]
    #[should_panic(expected = "claims 9 octets of 8")]
    fn a_writer_that_claims_too_much_is_a_bug() {
        let _ = TransmitBatch::new().push_with(to(), None, 8, |_| 9);
    }
}
