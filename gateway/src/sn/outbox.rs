//! Datagrams on their way out: written once into one growing buffer, lent from there.

use std::collections::VecDeque;

use sn_codec::forward;
use sn_codec::v12::{Packet, Publish};

use broker_core::key::Key;

use super::address::{Destination, Path, PortId, Transmit};
use super::peer::Peer;
use super::recorder::Batch;

/// Memory kept when everything has been sent.
const IDLE_CAPACITY_MAX: usize = 1 << 20;

/// Octets that may wait, with what belongs to them. They are taken out every turn, so more of them
/// means that nobody does; a datagram that is dropped then is one that the network could have lost.
const OCTETS_MAX: usize = 16 << 20;

/// A client that listens, and which time it does: what it was to hear then and did not is nothing
/// that it waits for in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) peer: Key<Peer>,
    pub(super) spell: u32,
}

#[derive(Debug)]
struct Entry {
    batch: Batch,
    listener: Option<Listener>,
    port: PortId,
    to: Destination,
    end: usize,
}

/// What is to be sent, in order.
#[derive(Debug)]
pub(super) struct Outbox {
    octets_max: usize,
    /// The batch that what is queued from now on rests on.
    batch: Batch,
    listener: Option<Listener>,
    octets: Vec<u8>,
    entries: VecDeque<Entry>,
    /// Where the next datagram to be lent begins.
    start: usize,
    /// Datagrams that found no room.
    dropped: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::with_room(OCTETS_MAX)
    }
}

impl Outbox {
    /// An outbox for so many octets.
    pub(super) const fn with_room(octets_max: usize) -> Self {
        Self {
            octets_max,
            batch: Batch::NONE,
            listener: None,
            octets: Vec::new(),
            entries: VecDeque::new(),
            start: 0,
            dropped: 0,
        }
    }

    /// Queues a message to a peer. Behind a forwarder it is wrapped (SN-029), which is then asked
    /// to broadcast it within `radius` hops if that is not 0.
    pub(super) fn push(&mut self, path: Path, node: &[u8], radius: u8, packet: &Packet<'_>) {
        let len = packet.encoded_len();
        self.write_to(path, node, radius, len, |out| packet.encode(out).is_ok());
    }

    /// Queues a PUBLISH to a peer without the detour over [`Packet`].
    pub(super) fn push_publish(&mut self, path: Path, node: &[u8], publish: &Publish<'_>) {
        let len = publish.encoded_len();
        self.write_to(path, node, 0, len, |out| publish.encode(out).is_ok());
    }

    /// Queues a message to all groups of a port.
    pub(super) fn push_to_groups(&mut self, port: PortId, packet: &Packet<'_>) {
        let encode = |out: &mut [u8]| packet.encode(out).is_ok();
        self.write(port, Destination::Groups, packet.encoded_len(), encode);
    }

    /// Queues a datagram that waited elsewhere.
    pub(super) fn pass_on(&mut self, transmit: &Transmit<'_>) {
        let Transmit { port, to, octets } = *transmit;
        self.write(port, to, octets.len(), |out| {
            out.copy_from_slice(octets);
            true
        });
    }

    /// What is queued from now on rests on this batch, and is for this listener.
    pub(super) const fn set_batch(&mut self, batch: Batch, listener: Option<Listener>) {
        (self.batch, self.listener) = (batch, listener);
    }

    /// The next datagram, if it rests on nothing later than this batch, and whom it is for.
    pub(super) fn pop_upto(&mut self, batch: Batch) -> Option<(Transmit<'_>, Option<Listener>)> {
        if self.entries.front().is_some_and(|entry| entry.batch > batch) {
            return None;
        }
        let listener = self.entries.front().and_then(|entry| entry.listener);
        Some((self.pop()?, listener))
    }

    /// The next datagram. When all have been lent the buffer begins anew.
    pub(super) fn pop(&mut self) -> Option<Transmit<'_>> {
        let Some(Entry { port, to, end, .. }) = self.entries.pop_front() else {
            self.octets.clear();
            self.octets.shrink_to(IDLE_CAPACITY_MAX);
            self.start = 0;
            return None;
        };
        let start = core::mem::replace(&mut self.start, end);
        Some(Transmit { port, to, octets: &self.octets[start..end] })
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.octets.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    fn write_to(
        &mut self,
        path: Path,
        node: &[u8],
        radius: u8,
        len: usize,
        encode: impl FnOnce(&mut [u8]) -> bool,
    ) {
        let to = Destination::One { to: path.address.remote, from: path.local };
        let header_len = if node.is_empty() { 0 } else { forward::header_len(node) };
        self.write(path.address.port, to, header_len + len, |out| {
            let (header, message) = out.split_at_mut(header_len);
            let wrapped = node.is_empty() || forward::encode_header(radius, node, header).is_ok();
            wrapped && encode(message)
        });
    }

    fn write(
        &mut self,
        port: PortId,
        to: Destination,
        len: usize,
        encode: impl FnOnce(&mut [u8]) -> bool,
    ) {
        if self.start > 0 && !self.has_room(len) {
            self.compact();
        }
        let start = self.octets.len();
        let end = start + len;
        if !self.has_room(len) {
            self.dropped += 1;
            return;
        }
        self.octets.resize(end, 0);
        assert!(encode(&mut self.octets[start..]), "what the gateway says can be encoded");
        let Self { batch, listener, .. } = *self;
        self.entries.push_back(Entry { batch, listener, port, to, end });
    }

    /// Whether a datagram of this length fits, with what it takes to know where it goes.
    fn has_room(&self, len: usize) -> bool {
        let entries = (self.entries.len() + 1) * size_of::<Entry>();
        self.octets.len() + len + entries <= self.octets_max
    }

    /// Lets go what was lent, should the buffer never have been emptied to its end.
    fn compact(&mut self) {
        let sent = core::mem::take(&mut self.start);
        self.octets.drain(..sent);
        for entry in &mut self.entries {
            entry.end -= sent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::{Address, LocalAddress, NodeId};
    use super::*;
    use sn_codec::v12::Pingreq;

    fn path() -> Path {
        let remote = "192.0.2.1:1883".parse().expect("an address");
        let address = Address { port: PortId(0), remote, node: NodeId::NONE };
        Path { address, local: LocalAddress::default() }
    }

    #[test]
    fn datagrams_leave_in_order_and_behind_a_forwarder_in_an_envelope() {
        let mut outbox = Outbox::default();
        outbox.push(path(), b"", 0, &Pingreq { client_id: b"" }.into());
        outbox.push(path(), b"N1", 2, &Pingreq { client_id: b"" }.into());
        assert_eq!(outbox.pop().expect("the first").octets, [0x02, 0x16]);
        let wrapped = [0x05, 0xFE, 0x02, b'N', b'1', 0x02, 0x16];
        assert_eq!(outbox.pop().expect("the second").octets, wrapped);
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn an_outbox_that_is_never_emptied_to_its_end_stays_bounded_and_in_order() {
        let mut outbox = Outbox::default();
        let client_id = [b'x'; 60_000];
        let size = Packet::from(Pingreq { client_id: &client_id }).encoded_len();
        let fitting = OCTETS_MAX / size;
        let push = |outbox: &mut Outbox, n: usize| {
            let number = n.to_be_bytes();
            let octets = [&client_id[..60_000 - 8], &number].concat();
            outbox.push(path(), b"", 0, &Pingreq { client_id: &octets }.into());
        };
        let pop = |outbox: &mut Outbox| {
            let octets = outbox.pop().expect("a datagram").octets;
            usize::from_be_bytes(octets[octets.len() - 8..].try_into().expect("eight octets"))
        };
        (0..=fitting).for_each(|n| push(&mut outbox, n));
        assert_eq!(outbox.dropped(), 1, "one more than fits");
        for n in 0..2 * fitting {
            assert_eq!(pop(&mut outbox), n);
            // The one that was dropped has its number left out.
            push(&mut outbox, n + fitting);
        }
        assert_eq!(outbox.dropped(), 1);
        assert!(outbox.octets.len() <= OCTETS_MAX);
    }

    #[test]
    fn an_outbox_tells_what_memory_it_holds_and_what_it_dropped() {
        let mut outbox = Outbox::default();
        assert_eq!((outbox.memory(), outbox.dropped()), (0, 0));
        for _ in 0..100 {
            outbox.push(path(), b"", 0, &Pingreq { client_id: b"" }.into());
        }
        let held = 100 * (2 + size_of::<Entry>());
        assert!((held..=2 * held).contains(&outbox.memory()), "{}", outbox.memory());
        assert_eq!(outbox.dropped(), 0);
    }

    /// What it takes to know where a datagram goes counts, too.
    #[test]
    fn an_outbox_is_full_with_all_that_it_holds() {
        let datagram = 2 + size_of::<Entry>();
        for (room, expect) in [(datagram - 1, 0), (datagram, 1), (2 * datagram, 2)] {
            let mut outbox = Outbox::with_room(room);
            for _ in 0..4 {
                outbox.push(path(), b"", 0, &Pingreq { client_id: b"" }.into());
            }
            assert_eq!((outbox.entries.len(), outbox.dropped()), (expect, 4 - expect as u64));
        }
    }
}
