//! Field types that every version of the protocol has.

use core::fmt::{Display, Formatter, Result};

/// Quality of service as the two QoS bits of the flags say it.
///
/// Ordered from the weakest to the strongest. [`MinusOne`](Self::MinusOne) means something only in
/// a PUBLISH from a client (SN-007); elsewhere the bits 0b11 are read as such too, so that a
/// gateway can refuse them by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// 0b11, "−1": sent without a connection, never answered (SN-068, SN-069).
    MinusOne,
    /// 0b00: no acknowledgment.
    AtMostOnce,
    /// 0b01: PUBLISH, PUBACK.
    AtLeastOnce,
    /// 0b10: PUBLISH, PUBREC, PUBREL, PUBCOMP.
    ExactlyOnce,
}

impl QoS {
    /// Reads the two low bits of `bits`; the others are ignored.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::AtMostOnce,
            0b01 => Self::AtLeastOnce,
            0b10 => Self::ExactlyOnce,
            _ => Self::MinusOne,
        }
    }

    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::AtMostOnce => 0b00,
            Self::AtLeastOnce => 0b01,
            Self::ExactlyOnce => 0b10,
            Self::MinusOne => 0b11,
        }
    }

    /// The level as people write it: −1, 0, 1 or 2.
    pub const fn level(self) -> i8 {
        match self {
            Self::MinusOne => -1,
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// Whether a PUBLISH of this level is acknowledged, and therefore carries a message id
    /// (SN-018).
    pub const fn is_acknowledged(self) -> bool {
        matches!(self, Self::AtLeastOnce | Self::ExactlyOnce)
    }
}

impl Display for QoS {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.level().fmt(f)
    }
}

/// The number that ties an acknowledgment to its request, chosen by whoever sends the request
/// (SN-016, SN-021).
///
/// A request should not carry 0x0000, but devices whose counter wraps do, so the codec lets it pass
/// both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsgId(pub u16);

impl MsgId {
    /// 0x0000: what a PUBLISH carries that is not acknowledged (SN-018).
    pub const NONE: Self = Self(0);
}

impl Display for MsgId {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.fmt(f)
    }
}

/// The number of a gateway, unique in its network (SN-033).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u8);

impl Display for GatewayId {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString as _;

    use super::*;

    #[test]
    fn sn_007_qos_bits_are_read_as_they_are_written() {
        let levels = [(0b00, 0), (0b01, 1), (0b10, 2), (0b11, -1)];
        for (bits, level) in levels {
            assert_eq!(QoS::from_bits(bits).level(), level);
            assert_eq!(QoS::from_bits(bits).bits(), bits);
            assert_eq!(QoS::from_bits(bits | 0b1111_1100), QoS::from_bits(bits), "other bits");
        }
    }

    #[test]
    fn levels_and_ids_are_shown_as_numbers() {
        assert_eq!(QoS::MinusOne.to_string(), "-1");
        assert_eq!(QoS::ExactlyOnce.to_string(), "2");
        assert_eq!(MsgId(4711).to_string(), "4711");
        assert_eq!(GatewayId(7).to_string(), "7");
    }

    #[test]
    fn the_weaker_qos_is_the_lesser() {
        assert_eq!(QoS::ExactlyOnce.min(QoS::AtLeastOnce), QoS::AtLeastOnce);
        assert!(QoS::MinusOne < QoS::AtMostOnce);
    }
}
