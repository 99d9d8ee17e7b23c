//! Devices that mean no good, or are broken: octets of true messages, changed at random, from
//! addresses and under client ids of their own.

use std::net::SocketAddr;

use fastrand::Rng;

use super::place::envelope;
use super::wire::{Octets, frame, mqtt, packet, sn, string};

/// What a device that means no good passes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Den {
    /// A device that may not speak for others, and tries to.
    Alone,
    /// A forwarder that changes octets.
    Forwarder,
    /// A forwarder with more nodes than it may have, each of which only connects.
    Crowd,
}

impl Den {
    pub(crate) const fn of(device: u32) -> Self {
        match device % 6 {
            1 | 4 => Self::Forwarder,
            2 => Self::Crowd,
            _ => Self::Alone,
        }
    }

    const fn net(self) -> u8 {
        match self {
            Self::Alone => 172,
            Self::Forwarder => 121,
            Self::Crowd => 122,
        }
    }
}

/// Where a device sends from. A crowd has one port: each would be another forwarder.
pub(crate) fn address(device: u32, port: u16) -> SocketAddr {
    let [_, high, middle, low] = device.to_be_bytes();
    let den = Den::of(device);
    let port = if den == Den::Crowd { 0 } else { port };
    ([den.net(), high, middle, low], 1_024 + port).into()
}

/// Whether it is the address of one of them, and of which.
pub(crate) fn of(address: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(address) = address else { return None };
    let [net, high, middle, low] = address.ip().octets();
    let device = u32::from_be_bytes([0, high, middle, low]);
    (net == Den::of(device).net()).then_some(device)
}

/// Whether it may speak for others.
pub(crate) fn may_forward(address: SocketAddr) -> bool {
    of(address).is_some_and(|device| Den::of(device) != Den::Alone)
}

/// A datagram as one of them sends it. A crowd has some nodes more than `nodes_max`.
pub(crate) fn datagram(rng: &mut Rng, device: u32, nodes_max: u32) -> Octets {
    match Den::of(device) {
        Den::Alone => message(rng, device),
        Den::Forwarder => {
            let node: &[u8] = [b"n", b"n1".as_slice(), b"n2", &[0; 252]][rng.usize(..4)];
            let inner = message(rng, device);
            let wrapped = envelope(rng.u8(..) & rng.u8(..), node, &inner);
            if rng.u32(..3) == 0 { change(rng, &wrapped).into() } else { wrapped }
        }
        Den::Crowd => {
            let node = rng.u32(..nodes_max + 30);
            let id = format!("zzz{device}c{node}");
            let flags = [0, 4][rng.usize(..2)];
            let connect = frame(sn::CONNECT, &[&[flags, 1, 2, 88], id.as_bytes()]);
            envelope(0, &node.to_be_bytes(), &connect)
        }
    }
}

/// One message of MQTT-SN, changed or not.
fn message(rng: &mut Rng, device: u32) -> Octets {
    let id = format!("zzz{device}zzz");
    let msg_id = rng.u16(..).to_be_bytes();
    let short = rng.u16(1..9).to_be_bytes();
    let octets = match rng.u32(..22) {
        0..4 => frame(sn::CONNECT, &[&[rng.u8(..) & 0x0C, 1, 0, 30], id.as_bytes()]),
        4 => frame(sn::WILLTOPIC, &[&[0x20], b"z/will"]),
        5 => frame(sn::WILLMSG, &[b"gone"]),
        6 => frame(sn::REGISTER, &[&[0, 0], &msg_id, b"z/topic"]),
        7 | 8 => frame(sn::SUBSCRIBE, &[&[0x20], &msg_id, b"z/#"]),
        9 | 10 => frame(sn::PUBLISH, &[&[rng.u8(..) & 0xF0], &short, &msg_id, b"zz"]),
        11 => frame(sn::PUBLISH, &[&[rng.u8(..) & 0xF0 | 2], b"zz", &msg_id, b"zz"]),
        12 => frame(sn::PUBREL, &[&msg_id]),
        13 => frame(sn::PUBACK, &[&short, &msg_id, &[rng.u8(..4)]]),
        14 => frame(sn::PINGREQ, &[id.as_bytes()]),
        15 => frame(sn::DISCONNECT, &[&[0, 9]]),
        16 => frame(sn::SEARCHGW, &[&[rng.u8(..6)]]),
        17 => frame(sn::REGACK, &[&short, &msg_id, &[0]]),
        18 => frame(rng.u8(..), &[&msg_id, &msg_id]),
        19 => frame(sn::WILLTOPICUPD, &[&[0x20], b"z/will"]),
        // Another gateway, as it says.
        20 => frame(sn::ADVERTISE, &[&[7, 0, 60]]),
        _ => envelope(rng.u8(..4), b"node", &frame(sn::PINGREQ, &[])),
    };
    if rng.bool() { octets } else { change(rng, &octets).into() }
}

/// The beginning of a stream of MQTT, changed or not.
pub(crate) fn stream(rng: &mut Rng, device: u32) -> Vec<u8> {
    let id = string(format!("zzz{device}zzz").as_bytes());
    let connect = packet(mqtt::CONNECT << 4, &[&string(b"MQTT"), &[4, 2, 0, 9], &id]);
    let mut stream = if rng.u32(..4) == 0 { change(rng, &connect) } else { connect };
    for _ in 0..rng.u32(..6) {
        let msg_id = rng.u16(..).to_be_bytes();
        let next = match rng.u32(..6) {
            0 => packet(mqtt::SUBSCRIBE << 4 | 2, &[&msg_id, &string(b"z/#"), &[1]]),
            1 => packet(mqtt::PUBLISH << 4 | 2, &[&string(b"z/x"), &msg_id, b"zz"]),
            2 => packet(mqtt::PUBLISH << 4 | 4, &[&string(b"z/x"), &msg_id, b"zz"]),
            3 => packet(mqtt::PUBREL << 4 | 2, &[&msg_id]),
            4 => packet(mqtt::UNSUBSCRIBE << 4 | 2, &[&msg_id, &string(b"z/#")]),
            _ => packet(mqtt::PINGREQ << 4, &[]),
        };
        stream.extend(if rng.u32(..3) == 0 { change(rng, &next) } else { next });
    }
    stream
}

/// Some octets changed, doubled or left out.
fn change(rng: &mut Rng, octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for _ in 0..rng.u32(1..4) {
        if octets.is_empty() {
            break;
        }
        let place = rng.usize(..octets.len());
        match rng.u32(..5) {
            0 => octets[place] ^= 1 << rng.u32(..8),
            1 => octets[place] = rng.u8(..),
            2 => octets.truncate(place),
            3 => octets.insert(place, rng.u8(..)),
            _ => {
                octets.remove(place);
            }
        }
    }
    octets
}
