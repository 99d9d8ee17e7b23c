//! Field types of 1.2: topics as messages name them, return codes, the will topic.

use super::flags::{Flags, TopicIdType};
use crate::types::QoS;
use core::fmt::{Display, Formatter, Result};

/// A topic in a PUBLISH: the two octets of its TopicId field, read by TopicIdType (SN 5.3.11).
///
/// Numbers are as received: 0x0000 and 0xFFFF name no topic (SN-012), and a short name may hold any
/// two octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRef {
    /// 0b00: a number that the gateway gave to this client.
    Normal(u16),
    /// 0b01: a number that both ends know beforehand.
    Predefined(u16),
    /// 0b10: the topic name itself, two octets of UTF-8 (SN-067).
    Short([u8; 2]),
    /// 0b11: reserved (SN-008). Decoded so that a gateway can refuse it by
    /// [`ReturnCode::NotSupported`].
    Reserved([u8; 2]),
}

impl TopicRef {
    pub(super) const fn from_octets(flags: Flags, octets: [u8; 2]) -> Self {
        match flags.topic_id_type() {
            TopicIdType::Normal => Self::Normal(u16::from_be_bytes(octets)),
            TopicIdType::Predefined => Self::Predefined(u16::from_be_bytes(octets)),
            TopicIdType::Short => Self::Short(octets),
            TopicIdType::Reserved => Self::Reserved(octets),
        }
    }

    pub(super) const fn topic_id_type(self) -> TopicIdType {
        match self {
            Self::Normal(_) => TopicIdType::Normal,
            Self::Predefined(_) => TopicIdType::Predefined,
            Self::Short(_) => TopicIdType::Short,
            Self::Reserved(_) => TopicIdType::Reserved,
        }
    }

    /// The field as a number whatever its type, which is how PUBACK repeats it (SN-019).
    pub const fn raw(self) -> u16 {
        match self {
            Self::Normal(id) | Self::Predefined(id) => id,
            Self::Short(octets) | Self::Reserved(octets) => u16::from_be_bytes(octets),
        }
    }
}

/// What a SUBSCRIBE or UNSUBSCRIBE is about (SN 5.4.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicSelector<'a> {
    /// 0b00: a topic filter, UTF-8 if the sender keeps to the rules (SN-013). Possibly empty, which
    /// deserves an answer.
    Name(&'a [u8]),
    /// 0b01: a predefined topic id.
    Predefined(u16),
    /// 0b10: a short topic name, two octets.
    Short([u8; 2]),
    /// 0b11: reserved (SN-008), with whatever followed. Decoded so that a gateway can refuse it by
    /// [`ReturnCode::NotSupported`].
    Reserved(&'a [u8]),
}

impl TopicSelector<'_> {
    pub(super) const fn topic_id_type(self) -> TopicIdType {
        match self {
            Self::Name(_) => TopicIdType::Normal,
            Self::Predefined(_) => TopicIdType::Predefined,
            Self::Short(_) => TopicIdType::Short,
            Self::Reserved(_) => TopicIdType::Reserved,
        }
    }
}

/// The verdict in an acknowledgment (SN 5.3.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReturnCode {
    /// 0x00.
    Accepted,
    /// 0x01: not now; a client waits T_WAIT, some minutes, before it asks again (SN-057, SN-062,
    /// SN-072).
    Congestion,
    /// 0x02: nobody knows this topic id; a normal one can be registered again (SN-061).
    InvalidTopicId,
    /// 0x03: no, and asking again is useless.
    NotSupported,
    /// 0x04 to 0xFF, reserved (SN-011): counts as a permanent refusal and is never sent. Made by
    /// [`from_octet`](Self::from_octet) only, so that it never holds a number with a name.
    Reserved(u8),
}

impl ReturnCode {
    /// Reads the octet.
    pub const fn from_octet(octet: u8) -> Self {
        match octet {
            0x00 => Self::Accepted,
            0x01 => Self::Congestion,
            0x02 => Self::InvalidTopicId,
            0x03 => Self::NotSupported,
            reserved => Self::Reserved(reserved),
        }
    }

    /// The octet on the wire.
    pub const fn octet(self) -> u8 {
        match self {
            Self::Accepted => 0x00,
            Self::Congestion => 0x01,
            Self::InvalidTopicId => 0x02,
            Self::NotSupported => 0x03,
            Self::Reserved(octet) => octet,
        }
    }

    /// Whether this is 0x00.
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::Accepted)
    }
}

impl Display for ReturnCode {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Accepted => f.pad("accepted"),
            Self::Congestion => f.pad("rejected: congestion"),
            Self::InvalidTopicId => f.pad("rejected: invalid topic id"),
            Self::NotSupported => f.pad("rejected: not supported"),
            Self::Reserved(octet) => write!(f, "rejected: reserved code 0x{octet:02X}"),
        }
    }
}

/// Where a will goes, and how: the contents of a WILLTOPIC or WILLTOPICUPD that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WillTarget<'a> {
    /// QoS of the will; [`QoS::MinusOne`] makes no sense here and deserves a refusal.
    pub qos: QoS,
    /// Whether the will is retained.
    pub retain: bool,
    /// Topic name, at least one octet, UTF-8 without wildcards if the sender keeps to the rules
    /// (SN-013).
    pub topic_name: &'a [u8],
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn sn_011_every_return_code_is_read_as_it_is_written() {
        for octet in 0..=u8::MAX {
            let code = ReturnCode::from_octet(octet);
            assert_eq!(code.octet(), octet);
            assert_eq!(matches!(code, ReturnCode::Reserved(_)), octet >= 0x04);
            assert_eq!(code.is_accepted(), octet == 0x00);
        }
        assert_eq!(ReturnCode::Reserved(0x84).to_string(), "rejected: reserved code 0x84");
    }

    #[test]
    fn sn_019_a_topic_is_repeated_as_the_number_on_the_wire() {
        assert_eq!(TopicRef::Normal(0x0042).raw(), 0x0042);
        assert_eq!(TopicRef::Predefined(0x0005).raw(), 0x0005);
        assert_eq!(TopicRef::Short(*b"xy").raw(), 0x7879);
        assert_eq!(TopicRef::Reserved([0x12, 0x34]).raw(), 0x1234);
    }
}
