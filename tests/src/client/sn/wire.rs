//! MQTT-SN 1.2 in octets, as the specification lays it out.

/// Message types.
pub mod msg_type {
    #![expect(missing_docs, reason = "the names are those of the specification")]
    pub const ADVERTISE: u8 = 0x00;
    pub const SEARCHGW: u8 = 0x01;
    pub const GWINFO: u8 = 0x02;
    pub const CONNECT: u8 = 0x04;
    pub const CONNACK: u8 = 0x05;
    pub const WILLTOPICREQ: u8 = 0x06;
    pub const WILLTOPIC: u8 = 0x07;
    pub const WILLMSGREQ: u8 = 0x08;
    pub const WILLMSG: u8 = 0x09;
    pub const REGISTER: u8 = 0x0A;
    pub const REGACK: u8 = 0x0B;
    pub const PUBLISH: u8 = 0x0C;
    pub const PUBACK: u8 = 0x0D;
    pub const PUBCOMP: u8 = 0x0E;
    pub const PUBREC: u8 = 0x0F;
    pub const PUBREL: u8 = 0x10;
    pub const SUBSCRIBE: u8 = 0x12;
    pub const SUBACK: u8 = 0x13;
    pub const UNSUBSCRIBE: u8 = 0x14;
    pub const UNSUBACK: u8 = 0x15;
    pub const PINGREQ: u8 = 0x16;
    pub const PINGRESP: u8 = 0x17;
    pub const DISCONNECT: u8 = 0x18;
    pub const WILLTOPICUPD: u8 = 0x1A;
    pub const WILLTOPICRESP: u8 = 0x1B;
    pub const WILLMSGUPD: u8 = 0x1C;
    pub const WILLMSGRESP: u8 = 0x1D;
}
use msg_type as t;

/// The flag of a repetition.
pub(super) const DUP: u8 = 0x80;
/// The flag of a retained message.
pub(super) const RETAIN: u8 = 0x10;

/// How a message names its topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A name, registered before it is published to.
    Name(String),
    /// A predefined id.
    Predefined(u16),
    /// A short name of two octets.
    Short([u8; 2]),
}

impl Topic {
    /// A short name.
    pub fn short(name: &str) -> Self {
        Self::Short(name.as_bytes().try_into().expect("two octets"))
    }

    pub(super) fn flags(&self) -> u8 {
        match self {
            Self::Name(_) => 0,
            Self::Predefined(_) => 1,
            Self::Short(_) => 2,
        }
    }

    /// What SUBSCRIBE and UNSUBSCRIBE carry.
    pub(super) fn octets(&self) -> Vec<u8> {
        match self {
            Self::Name(name) => name.as_bytes().to_vec(),
            Self::Predefined(id) => id.to_be_bytes().to_vec(),
            Self::Short(name) => name.to_vec(),
        }
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

/// A message: length in its short form where it fits, type, variable part.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let header = match u8::try_from(body.len() + 2) {
        Ok(length) => vec![length, kind],
        Err(_) => {
            let length = u16::try_from(body.len() + 4).expect("fits the long form");
            let [high, low] = length.to_be_bytes();
            vec![1, high, low, kind]
        }
    };
    [&header, body].concat()
}

/// PUBLISH; `topic_id` counts for a name only.
pub fn publish_message(
    topic: &Topic,
    topic_id: u16,
    payload: &[u8],
    flags: u8,
    id: u16,
) -> Vec<u8> {
    let mut body = vec![flags | topic.flags()];
    match topic {
        Topic::Name(_) => body.extend(topic_id.to_be_bytes()),
        Topic::Predefined(_) | Topic::Short(_) => body.extend(topic.octets()),
    }
    body.extend(id.to_be_bytes());
    body.extend(payload);
    frame(t::PUBLISH, &body)
}

/// The type and the variable part of a datagram that holds exactly one message.
pub fn split(datagram: &[u8]) -> Option<(u8, &[u8])> {
    match datagram {
        [1, high, low, kind, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (length == datagram.len()).then_some((*kind, rest))
        }
        [length, kind, rest @ ..] => {
            (usize::from(*length) == datagram.len()).then_some((*kind, rest))
        }
        _ => None,
    }
}

/// The topic octets of a PUBLISH that we made.
pub(super) fn publish_topic(publish: &[u8]) -> &[u8] {
    let (_, rest) = split(publish).expect("we made it");
    &rest[1..3]
}

/// Marks a PUBLISH as repeated; no other message has that mark.
pub(super) fn set_dup(request: &mut [u8]) {
    let at = if request[0] == 1 { 3 } else { 1 };
    if request[at] == t::PUBLISH {
        request[at + 1] |= DUP;
    }
}

/// The number in two octets.
#[track_caller]
pub(super) fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::{Pattern, dump, octets};

    #[test]
    fn messages_take_the_form_that_their_length_wants() {
        let check = |payload: usize, header: &str| {
            let publish = publish_message(&"a".into(), 1, &vec![0; payload], 0, 0);
            assert!(Pattern::new(header).matches(&publish), "{}", dump(&publish[..8]));
            let (kind, rest) = split(&publish).expect("well formed");
            assert_eq!((kind, rest.len()), (t::PUBLISH, payload + 5));
        };
        check(0, "07 0C 00 00 01 00 00");
        check(248, "FF 0C 00 00 01 00 00 …");
        check(249, "01 01 02 0C 00 00 01 00 00 …");
    }

    #[test]
    fn a_wrong_length_is_no_message() {
        for wrong in ["", "02", "03 17", "02 17 00", "01 00 05 17", "01 00"] {
            assert_eq!(split(&octets(wrong)), None, "{wrong}");
        }
        assert_eq!(split(&octets("01 00 04 17")), Some((t::PINGRESP, [].as_slice())));
    }

    #[test]
    fn only_a_repeated_publish_is_marked() {
        let mut publish = publish_message(&Topic::short("xy"), 0, b"hi", 0x20, 1);
        set_dup(&mut publish);
        assert_eq!(publish, octets("09 0C A2 'xy' 00 01 'hi'"));
        let mut pubrel = octets("04 10 00 02");
        set_dup(&mut pubrel);
        assert_eq!(pubrel, octets("04 10 00 02"));
    }
}
