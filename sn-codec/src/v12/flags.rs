//! The Flags octet (SN 5.3.4).
//!
//! | Bit | 7 | 6–5 | 4 | 3 | 2 | 1–0 |
//! |---|---|---|---|---|---|---|
//! | | DUP | QoS | Retain | Will | CleanSession | TopicIdType |
//!
//! Each message reads only the bits that mean something in it, and writes the others as 0.

use crate::types::QoS;

/// A Flags octet, read bit by bit or put together from nothing.
#[derive(Clone, Copy)]
pub(super) struct Flags(u8);

/// How a message names its topic, by the value of the two bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopicIdType {
    Normal = 0b00,
    Predefined = 0b01,
    Short = 0b10,
    Reserved = 0b11,
}

const QOS_SHIFT: u32 = 5;

impl Flags {
    pub(super) const DUP: u8 = 0b1000_0000;
    pub(super) const RETAIN: u8 = 0b0001_0000;
    pub(super) const WILL: u8 = 0b0000_1000;
    pub(super) const CLEAN_SESSION: u8 = 0b0000_0100;

    pub(super) const fn new() -> Self {
        Self(0)
    }

    pub(super) const fn from_octet(octet: u8) -> Self {
        Self(octet)
    }

    pub(super) const fn octet(self) -> u8 {
        self.0
    }

    /// Whether the one bit in `mask` is set.
    pub(super) const fn has(self, mask: u8) -> bool {
        self.0 & mask != 0
    }

    /// The same flags, and the bit in `mask` if `set`.
    pub(super) const fn with(self, mask: u8, set: bool) -> Self {
        if set { Self(self.0 | mask) } else { self }
    }

    pub(super) const fn qos(self) -> QoS {
        QoS::from_bits(self.0 >> QOS_SHIFT)
    }

    pub(super) const fn with_qos(self, qos: QoS) -> Self {
        Self(self.0 | qos.bits() << QOS_SHIFT)
    }

    pub(super) const fn topic_id_type(self) -> TopicIdType {
        match self.0 & 0b11 {
            0b00 => TopicIdType::Normal,
            0b01 => TopicIdType::Predefined,
            0b10 => TopicIdType::Short,
            _ => TopicIdType::Reserved,
        }
    }

    pub(super) const fn with_topic_id_type(self, topic_id_type: TopicIdType) -> Self {
        Self(self.0 | topic_id_type as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_put_together_are_the_octets_of_the_specification() {
        let dup_qos_1 = Flags::new().with(Flags::DUP, true).with_qos(QoS::AtLeastOnce);
        assert_eq!(dup_qos_1.octet(), 0xA0);
        let minus_one_retained = Flags::new()
            .with_qos(QoS::MinusOne)
            .with(Flags::RETAIN, true)
            .with_topic_id_type(TopicIdType::Short);
        assert_eq!(minus_one_retained.octet(), 0x72);
        let connect = Flags::new().with(Flags::WILL, true).with(Flags::CLEAN_SESSION, true);
        assert_eq!(connect.octet(), 0x0C);
        assert_eq!(connect.with(Flags::DUP, false).octet(), 0x0C);
    }

    #[test]
    fn what_is_set_twice_is_set() {
        let flags = Flags::from_octet(0xFF);
        let again = flags.with(Flags::DUP, true).with_qos(QoS::AtLeastOnce);
        assert_eq!(again.with_topic_id_type(TopicIdType::Short).octet(), 0xFF);
    }

    #[test]
    fn each_bit_is_read_alone() {
        let flags = Flags::from_octet(0xD5);
        assert!(flags.has(Flags::DUP) && flags.has(Flags::RETAIN) && flags.has(0x04));
        assert!(!flags.has(Flags::WILL));
        assert_eq!(flags.qos(), QoS::ExactlyOnce);
        assert_eq!(flags.topic_id_type(), TopicIdType::Predefined);
    }
}
