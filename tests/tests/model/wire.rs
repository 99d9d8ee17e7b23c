//! Octets of MQTT and MQTT-SN, as the specifications draw them and on none of the gateway's code.

use crate::heard::{Answer, Delivery};
use crate::op::Version;

/// A packet of MQTT as a client reads it.
#[derive(Debug)]
pub(crate) enum Packet {
    Publish { delivery: Delivery, alias: Option<u16> },
    Answer(Answer),
    PubRel(u16),
    Disconnect(u8),
}

/// A packet: first octet, remaining length, body.
pub(crate) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[first], &*variable(body.len()), &*body].concat()
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short string");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// A variable byte integer.
pub(crate) fn variable(mut value: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let digit = u8::try_from(value % 128).expect("below 128");
        value /= 128;
        octets.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return octets;
        }
    }
}

/// Properties behind their length, in the version that has them.
pub(crate) fn properties(version: Version, octets: &[u8]) -> Vec<u8> {
    match version {
        Version::V5 => [&*variable(octets.len()), octets].concat(),
        Version::V31 | Version::V311 | Version::Sn => Vec::new(),
    }
}

/// Reads octets from the front; running out of them is a mistake of whoever sent them.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(*self.take(2).first_chunk().expect("two octets"))
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(*self.take(4).first_chunk().expect("four octets"))
    }

    fn variable(&mut self) -> usize {
        let mut value = 0;
        for place in 0..4 {
            let octet = self.u8();
            value |= usize::from(octet & 0x7F) << (7 * place);
            if octet & 0x80 == 0 {
                break;
            }
        }
        value
    }

    fn text(&mut self) -> String {
        let length = self.u16();
        String::from_utf8(self.take(length.into()).to_vec()).expect("topics are UTF-8")
    }

    /// What the properties of a packet say, as far as the model looks at them.
    fn properties(&mut self, version: Version) -> Properties {
        let mut found = Properties::default();
        if version != Version::V5 || self.0.is_empty() {
            return found;
        }
        let length = self.variable();
        let mut inside = Reader(self.take(length));
        while !inside.0.is_empty() {
            match inside.u8() {
                0x02 => found.message_expiry = Some(inside.u32()),
                0x0B => found.subscriptions.push(inside.variable() as u32),
                0x11 => found.session_expiry = Some(inside.u32()),
                0x23 => found.alias = Some(inside.u16()),
                0x21 | 0x22 | 0x13 => drop(inside.u16()),
                0x27 => drop(inside.u32()),
                0x24 | 0x25 | 0x28..=0x2A => drop(inside.u8()),
                other => panic!("the property {other:#04x} is not expected"),
            }
        }
        found.subscriptions.sort_unstable();
        found
    }
}

#[derive(Debug, Default)]
struct Properties {
    message_expiry: Option<u32>,
    session_expiry: Option<u32>,
    subscriptions: Vec<u32>,
    alias: Option<u16>,
}

/// Takes the first packet off a stream, if it is there as a whole.
pub(crate) fn read(version: Version, stream: &mut Vec<u8>) -> Option<Packet> {
    let digits = stream.iter().skip(1).position(|octet| octet & 0x80 == 0)? + 1;
    let length = 1 + digits + Reader(&stream[1..]).variable();
    if stream.len() < length {
        return None;
    }
    let packet: Vec<u8> = stream.drain(..length).collect();
    Some(decode(version, packet[0], &packet[1 + digits..]))
}

fn decode(version: Version, first: u8, body: &[u8]) -> Packet {
    let mut body = Reader(body);
    match first >> 4 {
        2 => {
            let (present, code) = (body.u8() == 1, body.u8());
            let expiry_s = body.properties(version).session_expiry;
            Packet::Answer(Answer::Connack { present, code, expiry_s })
        }
        3 => publish(version, first, body),
        4..=7 => {
            let id = body.u16();
            let code = if body.0.is_empty() { 0 } else { body.u8() };
            match first >> 4 {
                4 => Packet::Answer(Answer::Puback(id, code)),
                5 => Packet::Answer(Answer::Pubrec(id, code)),
                6 => Packet::PubRel(id),
                _ => Packet::Answer(Answer::Pubcomp(id, code)),
            }
        }
        9 | 11 => {
            body.u16();
            body.properties(version);
            let codes = body.0.to_vec();
            let answer = if first >> 4 == 9 { Answer::Suback } else { Answer::Unsuback };
            Packet::Answer(answer(codes))
        }
        13 => Packet::Answer(Answer::Pingresp),
        14 => Packet::Disconnect(if body.0.is_empty() { 0 } else { body.u8() }),
        _ => panic!("a server does not say {first:#04x}"),
    }
}

fn publish(version: Version, first: u8, mut body: Reader<'_>) -> Packet {
    let topic = body.text();
    let qos = first >> 1 & 3;
    let id = if qos > 0 { body.u16() } else { 0 };
    let Properties { message_expiry, subscriptions, alias, .. } = body.properties(version);
    let delivery = Delivery {
        topic,
        payload: String::from_utf8_lossy(body.0).into_owned(),
        qos,
        retain: first & 1 != 0,
        dup: first & 8 != 0,
        id,
        subscriptions,
        expiry_s: message_expiry,
    };
    Packet::Publish { delivery, alias }
}

/// A message of MQTT-SN.
pub(crate) fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    match u8::try_from(body.len() + 2) {
        Ok(length) => [&[length, kind], &*body].concat(),
        Err(_) => {
            let length = u16::try_from(body.len() + 4).expect("a short message");
            [&[1], &length.to_be_bytes()[..], &[kind], &*body].concat()
        }
    }
}

/// Type and variable part of a datagram.
pub(crate) fn split(datagram: &[u8]) -> (u8, &[u8]) {
    match datagram {
        [1, _, _, kind, rest @ ..] | [_, kind, rest @ ..] => (*kind, rest),
        _ => panic!("no message: {datagram:?}"),
    }
}

/// The number in two octets.
pub(crate) fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}
