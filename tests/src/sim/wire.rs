//! Octets of both protocols, as the specifications draw them and on none of the gateway's code.

use super::wire5::Properties;
pub(crate) use crate::client::sn::msg_type as sn;

/// The type of what a forwarder has wrapped.
pub(crate) const ENCAPSULATED: u8 = 0xFE;

/// A version of MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Version {
    V31,
    #[default]
    V311,
    V5,
}

impl Version {
    pub(crate) fn is_5(self) -> bool {
        self == Self::V5
    }
}

/// Flags of MQTT-SN.
pub(crate) const DUP: u8 = 0x80;
pub(crate) const RETAIN: u8 = 0x10;
pub(crate) const WILL: u8 = 0x08;
pub(crate) const CLEAN: u8 = 0x04;

/// Types of MQTT packets: the upper half of the first octet.
pub(crate) mod mqtt {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const UNSUBACK: u8 = 11;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const PINGRESP: u8 = 13;
    pub(crate) const DISCONNECT: u8 = 14;
}

pub(crate) type Octets = Box<[u8]>;

/// A message of MQTT-SN out of the parts of its variable half.
pub(crate) fn frame(kind: u8, parts: &[&[u8]]) -> Octets {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    let mut octets = Vec::with_capacity(body + 4);
    match u8::try_from(body + 2) {
        Ok(length) => octets.extend([length, kind]),
        Err(_) => {
            let [high, low] = u16::try_from(body + 4).expect("a short message").to_be_bytes();
            octets.extend([1, high, low, kind]);
        }
    }
    for part in parts {
        octets.extend_from_slice(part);
    }
    octets.into_boxed_slice()
}

/// Type and variable half of a datagram that holds exactly one message.
pub(crate) fn split(datagram: &[u8]) -> Option<(u8, &[u8])> {
    let (length, kind, rest) = match datagram {
        [1, high, low, kind, rest @ ..] => (u16_at(&[*high, *low], 0), kind, rest),
        [length, kind, rest @ ..] => (u16::from(*length), kind, rest),
        _ => return None,
    };
    (usize::from(length) == datagram.len()).then_some((*kind, rest))
}

/// The number in two octets; 0 if they are not there.
pub(crate) fn u16_at(octets: &[u8], at: usize) -> u16 {
    match octets.get(at..at + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

/// The variable half of a PUBLISH of MQTT-SN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnPublish<'a> {
    pub(crate) flags: u8,
    pub(crate) topic: u16,
    pub(crate) msg_id: u16,
    pub(crate) data: &'a [u8],
}

impl<'a> SnPublish<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let (head, data) = body.split_at_checked(5)?;
        Some(Self { flags: head[0], topic: u16_at(head, 1), msg_id: u16_at(head, 3), data })
    }

    /// 3 stands for −1.
    pub(crate) const fn qos(&self) -> u8 {
        self.flags >> 5 & 3
    }

    pub(crate) const fn is_dup(&self) -> bool {
        self.flags & DUP != 0
    }

    pub(crate) const fn is_retained(&self) -> bool {
        self.flags & RETAIN != 0
    }
}

/// A packet of MQTT.
pub(crate) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut octets = vec![first];
    push_variable(&mut octets, u32::try_from(length).expect("a short packet"));
    for part in parts {
        octets.extend_from_slice(part);
    }
    octets
}

/// A variable byte integer (1.5.5), and what follows it.
pub(crate) fn variable(octets: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0;
    for (place, octet) in octets.iter().take(4).enumerate() {
        value |= u32::from(octet & 0x7F) << (7 * place);
        if octet & 0x80 == 0 {
            return Some((value, &octets[place + 1..]));
        }
    }
    None
}

/// Appends a variable byte integer.
pub(crate) fn push_variable(octets: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = u8::try_from(value % 128).expect("less than 128");
        value /= 128;
        octets.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

/// A string with its length before it.
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short string");
    [&length.to_be_bytes(), text].concat()
}

/// The first packet of a stream: its octets, and where its body begins. `None` if it is not there
/// as a whole.
pub(crate) fn first_packet(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = variable(stream.get(1..)?)?;
    let begin = stream.len() - rest.len();
    let packet = stream.get(..begin + length as usize)?;
    Some((packet, &packet[begin..]))
}

/// The body of a PUBLISH of MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MqttPublish<'a> {
    pub(crate) first: u8,
    /// Empty if there is an alias in its place.
    pub(crate) topic: &'a [u8],
    pub(crate) id: u16,
    /// None before 5.0.
    pub(crate) properties: Properties<'a>,
    pub(crate) data: &'a [u8],
}

impl<'a> MqttPublish<'a> {
    pub(crate) fn read(version: Version, first: u8, body: &'a [u8]) -> Option<Self> {
        let topic_end = 2 + usize::from(u16_at(body, 0));
        let topic = body.get(2..topic_end)?;
        let has_id = first & 0x06 != 0;
        let rest = body.get(topic_end + 2 * usize::from(has_id)..)?;
        let id = if has_id { u16_at(body, topic_end) } else { 0 };
        let (properties, data) =
            if version.is_5() { Properties::read(rest)? } else { (Properties::default(), rest) };
        Some(Self { first, topic, id, properties, data })
    }

    pub(crate) const fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }

    pub(crate) const fn is_dup(&self) -> bool {
        self.first & 0x08 != 0
    }

    pub(crate) const fn is_retained(&self) -> bool {
        self.first & 0x01 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::octets;

    #[test]
    fn messages_are_as_the_specifications_draw_them() {
        assert_eq!(*frame(sn::PINGREQ, &[b"dev1"]), octets("06 16 'dev1'"));
        let long = frame(sn::PUBLISH, &[&[0x20, 0, 1, 0, 2], &[7; 249]]);
        assert_eq!(long[..4], octets("01 01 02 0C"));
        let (kind, body) = split(&long).expect("well formed");
        let publish = SnPublish::read(body).expect("long enough");
        assert_eq!((kind, publish.qos(), publish.topic, publish.msg_id), (sn::PUBLISH, 1, 1, 2));
        assert_eq!(split(&octets("03 17")), None);

        let publish = packet(0x32, &[&string(b"a/b"), &[0, 9], b"hi"]);
        assert_eq!(publish, octets("32 09 00 03 'a/b' 00 09 'hi'"));
        let (whole, body) = first_packet(&publish).expect("it is whole");
        assert_eq!(whole, publish);
        let read = MqttPublish::read(Version::V311, whole[0], body).expect("well formed");
        assert_eq!((read.topic, read.id, read.data), (b"a/b".as_slice(), 9, b"hi".as_slice()));
        let publish = packet(0x30, &[&string(b""), &[3, 0x23, 0, 4], b"hi"]);
        let read = MqttPublish::read(Version::V5, publish[0], &publish[2..]).expect("well formed");
        assert_eq!((read.topic, read.properties.alias, read.data), (&[][..], Some(4), &b"hi"[..]));
        assert_eq!(first_packet(&publish[..5]), None);
    }
}
