//! Where devices send from: addresses of their own, or as nodes behind forwarders (SN 5.5).
//!
//! ```text
//! 10.… to 109.…   sensors that speak for themselves; the first octet is the host, and may change
//! 120.h.f.1       forwarder f, whose host h and door (UDP port) may change
//! 121.…, 122.…    forwarders that mean no good, 172.… others (`hostile`)
//! ```
//!
//! Nodes of different forwarders have the same wireless node ids, and one id may be the beginning
//! of another: a gateway that looks at less than all of it takes one node for another.

use std::net::SocketAddr;

use super::book::Book;
use super::wire::{ENCAPSULATED, Octets};

/// The network of forwarders.
const FORWARDERS: u8 = 120;

/// The first port.
const PORT: u16 = 1_024;

/// The forwarder that a sensor is behind, and where that sends from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Via {
    pub(crate) forwarder: u8,
    pub(crate) host: u8,
    pub(crate) door: u16,
}

/// Where a sensor sends from: a host of its own and a port, or a forwarder, where the port becomes
/// a part of the node id. None of them is ever used by another, or again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: u8,
    pub(crate) port: u16,
    pub(crate) via: Option<Via>,
}

impl Place {
    /// Where a sensor begins.
    pub(crate) fn first(sensor: u32, book: &Book) -> Self {
        let via = book.forwarder(sensor).map(|forwarder| Via { forwarder, host: 0, door: 0 });
        Self { via, ..Self::default() }
    }

    /// Where its datagrams come from.
    pub(crate) fn address(self, sensor: u32) -> SocketAddr {
        match self.via {
            Some(via) => ([FORWARDERS, via.host, via.forwarder, 1], PORT + via.door).into(),
            None => {
                let [_, high, middle, low] = sensor.to_be_bytes();
                ([10 + self.host, high, middle, low], PORT + self.port).into()
            }
        }
    }

    /// Whether a NAT, or a forwarder, gives both the same IP address.
    pub(crate) fn has_host_of(self, other: Self) -> bool {
        match (self.via, other.via) {
            (None, None) => self.host == other.host,
            (Some(via), Some(other)) => (via.forwarder, via.host) == (other.forwarder, other.host),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// A message as it travels between there and the gateway.
    pub(crate) fn wrap(self, sensor: u32, message: Octets, radius: u8, book: &Book) -> Octets {
        match self.via {
            Some(_) => envelope(radius, &node_id(sensor, self.port, book), &message),
            None => message,
        }
    }

    /// Whose datagram leaves the gateway, where to, and the message in it; `None`: no sensor's.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn read<'a>(
        to: SocketAddr,
        octets: &'a [u8],
        book: &Book,
    ) -> Result<Option<(u32, Self, Letter<'a>)>, &'static str> {
        let SocketAddr::V4(address) = to else { return Ok(None) };
        let [net, high, middle, low] = address.ip().octets();
        let Some(port) = address.port().checked_sub(PORT) else { return Ok(None) };
        if net == FORWARDERS {
            let letter = open(octets).ok_or("what the gateway told a forwarder is no envelope")?;
            let (forwarder, host) = (middle, high);
            let (sensor, node_port) = sensor_of(forwarder, letter.node, book)
                .ok_or("an envelope left for a node that the forwarder does not have")?;
            let via = Some(Via { forwarder, host, door: port });
            return Ok(Some((sensor, Self { host: 0, port: node_port, via }, letter)));
        }
        let Some(host) = net.checked_sub(10).filter(|host| *host < 100) else { return Ok(None) };
        let sensor = u32::from_be_bytes([0, high, middle, low]);
        if sensor >= book.sensors {
            return Ok(None);
        }
        let letter = Letter { radius: 0, node: &[], message: octets };
        Ok(Some((sensor, Self { host, port, via: None }, letter)))
    }

    /// Whether both are the same to the gateway.
    pub(crate) fn is(self, other: Self) -> bool {
        // A node has the host of its forwarder.
        self.via == other.via
            && self.port == other.port
            && (self.via.is_some() || self.host == other.host)
    }
}

/// An envelope, opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Letter<'a> {
    pub(crate) radius: u8,
    /// Empty if there was no envelope.
    pub(crate) node: &'a [u8],
    pub(crate) message: &'a [u8],
}

/// Wraps a message: Length up to the end of the node id, type, Ctrl, node id (SN 5.5).
pub(crate) fn envelope(radius: u8, node: &[u8], message: &[u8]) -> Octets {
    let length = u8::try_from(node.len() + 3).expect("a short node id");
    [&[length, ENCAPSULATED, radius], node, message].concat().into()
}

/// Opens what the gateway has wrapped; it has to be well formed (SN-029).
pub(crate) fn open(octets: &[u8]) -> Option<Letter<'_>> {
    let letter = open_from(octets)?;
    let is_nested = letter.message.get(1) == Some(&ENCAPSULATED);
    (octets[2] == letter.radius && !is_nested).then_some(letter)
}

/// Opens what a forwarder has wrapped, whatever the reserved bits say; `None` if the gateway has to
/// refuse it.
pub(crate) fn open_from(octets: &[u8]) -> Option<Letter<'_>> {
    let [length, ENCAPSULATED, ctrl, rest @ ..] = octets else { return None };
    let (node, message) = rest.split_at_checked(usize::from(*length).checked_sub(3)?)?;
    (!node.is_empty()).then_some(Letter { radius: ctrl & 3, node, message })
}

/// Whether it is the address of a forwarder of sensors.
pub(crate) fn is_forwarder(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V4(it) if it.ip().octets()[0] == FORWARDERS)
}

/// Octets of a node id that say which node of its forwarder it is.
fn slot_width(book: &Book) -> usize {
    if book.sensors / book.forwarders.max(1) < 255 { 1 } else { 3 }
}

/// The wireless node id of a sensor.
fn node_id(sensor: u32, port: u16, book: &Book) -> Vec<u8> {
    let slot = (sensor / book.forwarders.max(1)).to_be_bytes();
    let mut node = slot[4 - slot_width(book)..].to_vec();
    if port > 0 {
        node.extend(port.to_be_bytes());
    }
    node
}

fn sensor_of(forwarder: u8, node: &[u8], book: &Book) -> Option<(u32, u16)> {
    let (slot, port) = node.split_at_checked(slot_width(book))?;
    let port = match *port {
        [] => 0,
        [high, low] => u16::from_be_bytes([high, low]),
        _ => return None,
    };
    let slot = slot.iter().fold(0, |slot, octet| slot << 8 | u32::from(*octet));
    let sensor = slot * book.forwarders + u32::from(forwarder);
    let is_there = u32::from(forwarder) < book.forwarders && sensor < book.sensors;
    is_there.then_some((sensor, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::octets;

    #[test]
    fn an_envelope_is_as_the_specification_draws_it() {
        let wrapped = envelope(0, b"N1", &octets("03 05 00"));
        assert_eq!(*wrapped, octets("05 FE 00 'N1' 03 05 00"));
        let letter = open(&wrapped).expect("well formed");
        assert_eq!(
            (letter.radius, letter.node, letter.message),
            (0, b"N1".as_slice(), &[3, 5, 0][..])
        );
        for bad in ["03 FE 00 02 17", "05 FE 04 'N1' 02 17", "05 FE 00 'N1' 05 FE 00 'N2' 02 17"] {
            assert_eq!(open(&octets(bad)), None, "{bad}");
        }
    }
}
