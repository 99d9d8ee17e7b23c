//! Devices that mean no good, or are broken: octets of true messages, changed at random, from
//! addresses and under client ids of their own.

use std::net::SocketAddr;

use fastrand::Rng;

use super::wire::{Octets, frame, mqtt, packet, sn, string};

/// The network of those who speak MQTT-SN.
const NET: u8 = 172;

/// Their address.
pub(crate) fn address(device: u32, port: u16) -> SocketAddr {
    let [_, high, middle, low] = device.to_be_bytes();
    ([NET, high, middle, low], port).into()
}

/// Whether it is the address of one of them, and of which.
pub(crate) fn of(address: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(address) = address else { return None };
    let [net, high, middle, low] = address.ip().octets();
    (net == NET).then(|| u32::from_be_bytes([0, high, middle, low]))
}

/// One message of MQTT-SN, changed or not.
pub(crate) fn datagram(rng: &mut Rng, device: u32) -> Octets {
    let id = format!("zzz{device}zzz");
    let msg_id = rng.u16(..).to_be_bytes();
    let short = rng.u16(1..9).to_be_bytes();
    let octets = match rng.u32(..20) {
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
        16 => frame(sn::SEARCHGW, &[&[1]]),
        17 => frame(sn::REGACK, &[&short, &msg_id, &[0]]),
        18 => frame(rng.u8(..), &[&msg_id, &msg_id]),
        _ => frame(0xFE, &[&[1], b"node", &[2, sn::PINGREQ]]),
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
