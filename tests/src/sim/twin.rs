//! Devices with the client id of a sensor: somebody made a mistake, or means no good.
//!
//! A session belongs to a client id (D5). Who connects with it from another host gets it if its
//! owner does not say that it is there; over TCP at once, as MQTT has it. The owner is told, if it
//! listens, and comes back, which takes the session from its twin.

use std::net::SocketAddr;

use fastrand::Rng;

use super::kind::Kind;
use super::place::envelope;
use super::sensor;
use super::wire::{Octets, frame, mqtt, packet, sn, string};

/// How a twin speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// MQTT-SN from an address of its own.
    Alone,
    /// MQTT-SN as a node behind a forwarder of its own.
    Node,
    /// MQTT.
    Tcp,
}

/// A device that has connected with the id of a sensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twin {
    pub(crate) way: Way,
    pub(crate) asks_clean: bool,
    /// The owner was connected and awake when it came.
    pub(crate) is_owner_there: bool,
    /// The owner was asked since whether it is there.
    pub(crate) was_owner_asked: bool,
    /// The owner has said something since, from where it was.
    pub(crate) has_owner_spoken: bool,
    /// The twin has the session, and the owner has not been told yet.
    pub(crate) is_owner_untold: bool,
}

/// Whether a sensor has so little to lose that its checks can go on with it: publications of QoS 0
/// and 1.
pub(crate) const fn may_have_one(kind: &Kind) -> bool {
    kind.qos < 2 && kind.wishes.is_empty() && kind.will.is_none()
}

impl Way {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        [Self::Alone, Self::Node, Self::Tcp][rng.usize(..3)]
    }

    /// Where the twin of a sensor sends from.
    pub(crate) fn address(self, sensor: u32) -> SocketAddr {
        let [_, high, middle, low] = sensor.to_be_bytes();
        match self {
            Self::Alone | Self::Tcp => ([173, high, middle, low], 1_024).into(),
            Self::Node => ([123, 0, 0, 1], 1_024).into(),
        }
    }

    /// A message as it sends it.
    pub(crate) fn wrap(self, sensor: u32, message: Octets) -> Octets {
        match self {
            Self::Alone | Self::Tcp => message,
            Self::Node => envelope(0, &sensor.to_be_bytes(), &message),
        }
    }
}

/// Whose twin a datagram is for, and what it says.
pub(crate) fn read(to: SocketAddr, octets: &[u8]) -> Option<(u32, &[u8])> {
    let SocketAddr::V4(address) = to else { return None };
    match address.ip().octets() {
        [173, high, middle, low] => Some((u32::from_be_bytes([0, high, middle, low]), octets)),
        [123, ..] => {
            let letter = super::place::open(octets)?;
            let sensor = letter.node.try_into().ok()?;
            Some((u32::from_be_bytes(sensor), letter.message))
        }
        _ => None,
    }
}

/// CONNECT of MQTT-SN. It is so short-lived that a session it leaves behind is soon free again.
pub(crate) fn connect(sensor: u32, is_clean: bool) -> Octets {
    let flags = if is_clean { 4 } else { 0 };
    frame(sn::CONNECT, &[&[flags, 1, 0, 20], sensor::client_id(sensor).as_bytes()])
}

/// DISCONNECT of MQTT-SN.
pub(crate) fn leave() -> Octets {
    frame(sn::DISCONNECT, &[])
}

/// CONNECT of MQTT.
pub(crate) fn connect_stream(sensor: u32, is_clean: bool) -> Vec<u8> {
    let id = string(sensor::client_id(sensor).as_bytes());
    packet(mqtt::CONNECT << 4, &[&string(b"MQTT"), &[4, 2 * u8::from(is_clean), 0, 20], &id])
}
