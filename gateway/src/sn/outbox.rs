//! Datagrams on their way out: written once into one growing buffer, lent from there.

use std::collections::VecDeque;

use sn_codec::forward;
use sn_codec::v12::{Packet, Publish};

use super::address::{Destination, Path, PortId, Transmit};

/// Memory kept when everything has been sent.
const IDLE_CAPACITY_MAX: usize = 1 << 20;

#[derive(Debug)]
struct Entry {
    port: PortId,
    to: Destination,
    end: usize,
}

/// What is to be sent, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    octets: Vec<u8>,
    entries: VecDeque<Entry>,
    /// Where the next datagram to be lent begins.
    start: usize,
}

impl Outbox {
    /// Queues a message to a peer; behind a forwarder it is wrapped (SN-029).
    pub(super) fn push(&mut self, path: Path, node: &[u8], packet: &Packet<'_>) {
        self.write(path, node, packet.encoded_len(), |out| packet.encode(out).is_ok());
    }

    /// Queues a PUBLISH without the detour over [`Packet`].
    pub(super) fn push_publish(&mut self, path: Path, node: &[u8], publish: &Publish<'_>) {
        self.write(path, node, publish.encoded_len(), |out| publish.encode(out).is_ok());
    }

    /// Queues a message to all groups of a port.
    pub(super) fn push_to_groups(&mut self, port: PortId, packet: &Packet<'_>) {
        let start = self.octets.len();
        self.octets.resize(start + packet.encoded_len(), 0);
        let written = packet.encode(&mut self.octets[start..]);
        assert!(written.is_ok(), "what the gateway sends to groups can be encoded");
        let end = self.octets.len();
        self.entries.push_back(Entry { port, to: Destination::Groups, end });
    }

    /// The next datagram. When all have been lent the buffer begins anew.
    pub(super) fn pop(&mut self) -> Option<Transmit<'_>> {
        let Some(Entry { port, to, end }) = self.entries.pop_front() else {
            self.octets.clear();
            self.octets.shrink_to(IDLE_CAPACITY_MAX);
            self.start = 0;
            return None;
        };
        let start = core::mem::replace(&mut self.start, end);
        Some(Transmit { port, to, octets: &self.octets[start..end] })
    }

    /// Octets of memory held.
    pub(super) const fn memory(&self) -> usize {
        self.octets.capacity()
    }

    fn write(
        &mut self,
        path: Path,
        node: &[u8],
        len: usize,
        encode: impl FnOnce(&mut [u8]) -> bool,
    ) {
        let start = self.octets.len();
        let header_len = if node.is_empty() { 0 } else { forward::header_len(node) };
        self.octets.resize(start + header_len + len, 0);
        let (header, message) = self.octets[start..].split_at_mut(header_len);
        let wrapped = node.is_empty() || forward::encode_header(0, node, header).is_ok();
        assert!(wrapped && encode(message), "what the gateway says to a peer can be encoded");
        let end = self.octets.len();
        let to = Destination::One { to: path.address.remote, from: path.local };
        self.entries.push_back(Entry { port: path.address.port, to, end });
    }
}
