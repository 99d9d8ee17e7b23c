//! The octets of MQTT packets: laid out for sending, and read as far as a client has to.

use super::{PUBLISH, PUBREL, Version};
use crate::client::Message;

pub(super) fn string(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

pub(super) fn binary(octets: &[u8]) -> Vec<u8> {
    let length = u16::try_from(octets.len()).expect("at most 65535 octets");
    [&length.to_be_bytes(), octets].concat()
}

/// Properties behind their length, where the version has a place for them.
pub(super) fn properties(version: Version, octets: &[u8]) -> Vec<u8> {
    match version {
        Version::V5 => [variable_octets(octets.len()), octets.to_vec()].concat(),
        Version::V31 | Version::V311 => Vec::new(),
    }
}

/// A length as a variable byte integer.
fn variable_octets(mut length: usize) -> Vec<u8> {
    let mut digits = Vec::new();
    loop {
        let digit = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        digits.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            return digits;
        }
    }
}

/// A control packet: first octet, remaining length, body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], variable_octets(body.len()).as_slice(), body].concat()
}

/// PUBLISH with these flags: QoS in bits 2 and 1, retain in bit 0, DUP in bit 3.
pub fn publish_packet(
    version: Version,
    topic: &str,
    payload: &[u8],
    flags: u8,
    id: u16,
) -> Vec<u8> {
    publish_octets(version, topic, payload, flags, id, &[])
}

/// The same of 5.0, with properties.
pub fn publish_packet_with(
    topic: &str,
    payload: &[u8],
    flags: u8,
    id: u16,
    properties: &[u8],
) -> Vec<u8> {
    publish_octets(Version::V5, topic, payload, flags, id, properties)
}

fn publish_octets(
    version: Version,
    topic: &str,
    payload: &[u8],
    flags: u8,
    id: u16,
    octets: &[u8],
) -> Vec<u8> {
    let mut body = string(topic);
    if flags & 0x06 != 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(properties(version, octets));
    body.extend(payload);
    packet(PUBLISH | flags, &body)
}

pub(super) fn acknowledgment(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

/// The variable byte integer at the start, and how many octets it takes.
fn variable_integer(octets: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, octet) in octets.iter().take(4).enumerate() {
        value |= usize::from(octet & 0x7F) << (7 * index);
        if octet & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// The length of the first packet, if it is complete.
pub(super) fn packet_length(received: &[u8]) -> Option<usize> {
    let (remaining, digits) = variable_integer(received.get(1..)?)?;
    let length = 1 + digits + remaining;
    (received.len() >= length).then_some(length)
}

/// What follows the remaining length.
fn body(packet: &[u8]) -> Option<&[u8]> {
    let (_, digits) = variable_integer(packet.get(1..)?)?;
    packet.get(1 + digits..)
}

pub(super) fn packet_id(packet: &[u8]) -> Option<u16> {
    let id = body(packet)?.first_chunk()?;
    Some(u16::from_be_bytes(*id))
}

pub(super) fn is_delivery(packet: &[u8]) -> bool {
    packet[0] & 0xF0 == PUBLISH || packet[0] == PUBREL
}

/// Reads a PUBLISH that came from a broker.
pub fn parse_publish(version: Version, packet: &[u8]) -> Option<Message> {
    if packet[0] & 0xF0 != PUBLISH {
        return None;
    }
    let flags = packet[0];
    let qos = flags >> 1 & 3;
    let (length, rest) = body(packet)?.split_first_chunk()?;
    let (topic, mut rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let mut id = 0;
    if qos > 0 {
        let (octets, after) = rest.split_first_chunk()?;
        id = u16::from_be_bytes(*octets);
        rest = after;
    }
    let mut properties = Vec::new();
    if version == Version::V5 {
        let (length, digits) = variable_integer(rest)?;
        let (octets, after) = rest.get(digits..)?.split_at_checked(length)?;
        properties = octets.to_vec();
        rest = after;
    }
    let topic = String::from_utf8(topic.to_vec()).ok()?;
    let (retain, dup) = (flags & 1 != 0, flags & 8 != 0);
    Some(Message { topic, payload: rest.to_vec(), qos, retain, dup, id, properties })
}
