//! Datagrams in, a batch at a time.

use std::net::{IpAddr, SocketAddr};

use super::{LocalAddr, raw};
use crate::net::sys::{BATCH, Inbox};

/// Memory for the datagrams of one [`UdpPort::receive`](super::UdpPort::receive), reused for every
/// call and port.
///
/// Holds 64 datagrams of any length that UDP carries. The memory is 4 MiB of address space, of
/// which short datagrams ever touch 256 KiB.
pub struct ReceiveBatch {
    pub(super) inbox: Inbox,
    /// The socket that the batch was last filled from.
    pub(super) origin: Origin,
}

/// What is the same for all datagrams of one socket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Origin {
    /// The address the service socket is bound to, unless it is bound to all of them.
    pub(super) bound: LocalAddr,
    /// The port of the socket.
    pub(super) port: u16,
}

/// A datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender. The scope id of a link-local IPv6 address is kept, the flow label is not.
    pub from: SocketAddr,
    /// Where an answer leaves from: hand it to [`TransmitBatch::push`](super::TransmitBatch::push).
    pub to: LocalAddr,
    /// The multicast group that was asked, with its port; `None` when one of our own addresses was.
    pub group: Option<SocketAddr>,
    /// The octets, all of them.
    pub bytes: &'a [u8],
}

impl ReceiveBatch {
    /// Datagrams that one batch holds.
    pub const CAPACITY: usize = BATCH;

    /// An empty batch. Reserves the memory, which the operating system provides as it is touched.
    #[must_use]
    pub fn new() -> Self {
        Self { inbox: Inbox::new(), origin: Origin::default() }
    }

    /// The datagrams of the last call in the order they came. No work but the decoding of two
    /// addresses each.
    ///
    /// Left out are the few that no socket of ours should ever see: cut ones and those of a sender
    /// that is no internet address. They are counted in [`UdpStats`](super::UdpStats) when they are
    /// received.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.inbox.len()).filter_map(|index| self.get(index))
    }

    pub(super) fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let incoming = self.inbox.get(index);
        if incoming.truncated {
            return None;
        }
        let from = raw::decode_name(incoming.name)?;
        let info = raw::decode_packet_info(incoming.control);
        let (to, group) = self.origin.locate(info);
        Some(Datagram { from, to, group, bytes: incoming.bytes })
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl Origin {
    /// Where an answer leaves from, and the group if one was asked.
    fn locate(&self, info: Option<raw::PacketInfo>) -> (LocalAddr, Option<SocketAddr>) {
        let Some(info) = info else { return (self.bound, None) };
        let to = LocalAddr { ip: self.bound.ip.or(info.own), interface: info.interface };
        let group =
            info.asked.is_multicast().then(|| group_address(info.asked, self.port, info.interface));
        (to, group)
    }
}

/// The address of a group; within IPv6 a group of link-local scope exists once per interface.
pub(super) fn group_address(group: IpAddr, port: u16, interface: u32) -> SocketAddr {
    let mut address = SocketAddr::new(group, port);
    if let SocketAddr::V6(v6) = &mut address
        && is_link_local(group)
    {
        v6.set_scope_id(interface);
    }
    address
}

/// An IPv6 address that means something only together with an interface.
pub(super) fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) if ip.is_multicast() => matches!(ip.octets()[1] & 0x0f, 0x01 | 0x02),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
