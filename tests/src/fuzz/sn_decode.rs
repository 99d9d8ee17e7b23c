//! One datagram of MQTT-SN: what is read is what stands there, and is written as that again.

use sn_codec::DecodeError;
use sn_codec::forward::Encapsulated;
use sn_codec::v12::{MsgType, Packet, QoS};

use super::Target;
use super::digest::Digest;

/// See the [module](self).
pub const TARGET: Target = Target { name: "sn_decode", dictionary: "mqtt-sn", bytes_max: 600, run };

fn run(octets: &[u8]) -> u64 {
    let mut digest = Digest::new();
    match Packet::decode(octets) {
        Ok(packet) => check_packet(octets, packet, &mut digest),
        Err(error) => check_error(octets, error, &mut digest),
    }
    match Encapsulated::decode(octets) {
        Ok(envelope) => check_envelope(octets, envelope, &mut digest),
        Err(error) => check_error(octets, error, &mut digest),
    }
    digest.end()
}

fn check_error(octets: &[u8], error: DecodeError, digest: &mut Digest) {
    assert!(error.at <= octets.len(), "{error} lies outside of {} octets", octets.len());
    digest.number(error.at as u64);
}

fn check_packet(octets: &[u8], packet: Packet<'_>, digest: &mut Digest) {
    let mut again = vec![0; packet.encoded_len()];
    let (last, short) = again.split_last_mut().expect("a packet has octets");
    assert!(packet.encode(short).is_err(), "{packet:?} was written into too little room");
    assert_eq!(*last, 0, "nothing is written behind the room");
    assert_eq!(packet.encode(&mut again), Ok(again.len()), "{packet:?}");
    digest.octets(&again);

    assert_eq!(Packet::decode(&again), Ok(packet), "it is read as it was written");
    assert!(again.len() <= octets.len(), "it is never written longer than it came");
    if again.len() == octets.len() {
        check_same(octets, &again, packet);
    }
    // One datagram is one message: an octet more or less is none.
    assert!(Packet::decode(&octets[..octets.len() - 1]).is_err(), "cut {packet:?} was read");
    assert_eq!(Packet::decode(&other_form(octets)).ok(), Some(packet), "both forms say the same");
}

/// The bits that mean something in the flags of a message, if it begins with flags.
const FLAGS: [(MsgType, u8); 7] = [
    (MsgType::Connect, 0x0C),
    (MsgType::WillTopic, 0x70),
    (MsgType::WillTopicUpd, 0x70),
    (MsgType::Publish, 0xF3),
    (MsgType::Subscribe, 0xE3),
    (MsgType::Suback, 0x60),
    (MsgType::Unsubscribe, 0x03),
];

/// What came is what is written, but for bits and ids that mean nothing where they stand.
fn check_same(came: &[u8], written: &[u8], packet: Packet<'_>) {
    let body_at = if written[0] == 1 { 4 } else { 2 };
    let mut came = came.to_vec();
    let flags = FLAGS.iter().find(|(kind, _)| *kind == packet.msg_type());
    let flags = flags.map_or(0xFF, |(_, bits)| *bits);
    if let Some(octet) = came.get_mut(body_at) {
        *octet &= flags;
    }
    if let Packet::Publish(publish) = packet
        && matches!(publish.qos, QoS::AtMostOnce | QoS::MinusOne)
    {
        came[body_at + 3..body_at + 5].fill(0);
    }
    assert_eq!(came, written, "{packet:?}");
}

/// The same message with its length in three octets instead of one, or the other way round where
/// that is possible.
fn other_form(octets: &[u8]) -> Vec<u8> {
    let is_long = octets[0] == 1;
    let rest = &octets[if is_long { 3 } else { 1 }..];
    match (is_long, u8::try_from(rest.len() + 1)) {
        (true, Ok(length)) => [&[length], rest].concat(),
        (true, Err(_)) => octets.to_vec(),
        (false, _) => {
            let [high, low] = u16::try_from(rest.len() + 3).expect("it was short").to_be_bytes();
            [&[1, high, low], rest].concat()
        }
    }
}

fn check_envelope(octets: &[u8], envelope: Encapsulated<'_>, digest: &mut Digest) {
    let mut again = vec![0; envelope.encoded_len()];
    assert_eq!(envelope.encode(&mut again), Ok(octets.len()), "{envelope:?}");
    let mut came = octets.to_vec();
    came[2] &= 0b11;
    assert_eq!(came, again, "{envelope:?}");
    assert!(!envelope.node.is_empty() && !envelope.inner.is_empty());
    digest.octets(&again);
}
