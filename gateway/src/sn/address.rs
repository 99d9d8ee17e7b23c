//! Who a datagram is from, and where one goes to.

use std::net::{IpAddr, SocketAddr};

/// A UDP port of ours: its place in the list of MQTT-SN listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

/// Our own side of a datagram, so that an answer leaves from the address that was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address, if the port has more than one.
    pub ip: Option<IpAddr>,
    /// The interface, 0 if it does not matter.
    pub interface: u32,
}

/// A datagram that came in.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// On which port.
    pub port: PortId,
    /// From whom.
    pub from: SocketAddr,
    /// Where it was sent to.
    pub to: LocalAddress,
    /// The multicast group that it was sent to, if it was, with its port.
    pub group: Option<SocketAddr>,
    /// What it says.
    pub octets: &'a [u8],
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// From which port.
    pub port: PortId,
    /// To whom.
    pub to: Destination,
    /// What it says.
    pub octets: &'a [u8],
}

/// Where a datagram goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To one peer from the address that it knows us by, or to one group.
    One {
        /// Its address.
        to: SocketAddr,
        /// Ours.
        from: LocalAddress,
    },
    /// To all multicast groups of the port.
    Groups,
}

/// A node behind a forwarder, or none: the number of its wireless node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u32);

impl NodeId {
    /// The peer speaks for itself.
    pub(super) const NONE: Self = Self(0);
}

/// What tells one sender from another (SN 5.5: behind a forwarder the address is not enough).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) port: PortId,
    pub(super) remote: SocketAddr,
    pub(super) node: NodeId,
}

impl Address {
    /// The host, as far as one can tell. Nodes behind one forwarder share that of the forwarder.
    pub(super) fn host(&self) -> IpAddr {
        self.remote.ip().to_canonical()
    }
}

/// An [`Address`] for the memory: a hash, which also means the same sender when the number of its
/// node has been given to another meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(pub(super) u64);

/// Where to answer: the sender, and our own side as it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) address: Address,
    pub(super) local: LocalAddress,
}
