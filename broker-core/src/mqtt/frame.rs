//! The frame of every packet: an octet of type and flags, then the remaining length.
//!
//! What can be refused by it is refused at once: the type and the flags with the first octet, the
//! size with the last octet of the length. No packet that is refused here is ever buffered.

use core::fmt;

use super::error::Fault;
use super::version::Version;

/// The largest packet there can be: five octets of frame, and a remaining length of four times
/// seven bits.
const PACKET_BYTES_MAX: u32 = 5 + REMAINING_LENGTH_MAX;

const REMAINING_LENGTH_MAX: u32 = (1 << 28) - 1;

/// Octets that a remaining length can have.
const LENGTH_OCTETS_MAX: usize = 4;

/// The types of packets. `kind as usize` is 1 to 15, for tables of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// The client begins.
    Connect = 1,
    /// The server answers that.
    ConnAck = 2,
    /// A message, in either direction.
    Publish = 3,
    /// A message of QoS 1 was received.
    PubAck = 4,
    /// A message of QoS 2 was received.
    PubRec = 5,
    /// The sender of a message of QoS 2 knows that it was received.
    PubRel = 6,
    /// The receiver of a message of QoS 2 knows that the sender knows.
    PubComp = 7,
    /// The client asks for messages.
    Subscribe = 8,
    /// The server answers that.
    SubAck = 9,
    /// The client asks for no more messages.
    Unsubscribe = 10,
    /// The server answers that.
    UnsubAck = 11,
    /// The client asks for a sign of life.
    PingReq = 12,
    /// The server answers that.
    PingResp = 13,
    /// One end says that it will close.
    Disconnect = 14,
    /// Authentication beyond user name and password (5.0).
    Auth = 15,
}

impl PacketType {
    /// The type of the packet that begins with this octet, whether it may come or not.
    pub(super) const fn from_first(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// Its name in the standard.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The first octet of a packet that is not PUBLISH [MQTT-2.2.2-1]: [MQTT-3.6.1-1],
    /// [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1]; [MQTT5-3.6.1-1], [MQTT5-3.8.1-1],
    /// [MQTT5-3.10.1-1], [MQTT5-3.14.1-1], [MQTT5-3.15.1-1].
    pub(super) const fn first_octet(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            Self::Connect
            | Self::ConnAck
            | Self::Publish
            | Self::PubAck
            | Self::PubRec
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect
            | Self::Auth => 0,
        };
        (self as u8) << 4 | flags
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// DUP in the first octet of PUBLISH.
pub(super) const DUP: u8 = 0b1000;
/// RETAIN in the first octet of PUBLISH.
pub(super) const RETAIN: u8 = 0b0001;

/// Whether a packet that begins with this octet may come on a connection without CONNECT
/// [MQTT-3.1.0-1]: only its type is looked at, since the flags depend on a version that is not
/// known yet.
pub(super) fn check_greeting(first: u8) -> Result<PacketType, Fault> {
    match PacketType::from_first(first) {
        Some(PacketType::Connect) => Ok(PacketType::Connect),
        _ => Err(Fault::NotConnect),
    }
}

/// Whether a packet that begins with this octet may come after CONNECT.
#[inline]
pub(super) fn check_first(first: u8, version: Version) -> Result<PacketType, Fault> {
    let Some(kind) = PacketType::from_first(first) else { return Err(Fault::ReservedType(0)) };
    match kind {
        PacketType::Publish => {
            check_publish_flags(first, version)?;
            return Ok(kind);
        }
        PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubRel
        | PacketType::PubComp
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::PingReq
        | PacketType::Disconnect => {}
        PacketType::Connect => return Err(Fault::SecondConnect),
        PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
            return Err(Fault::NotForServers);
        }
        PacketType::Auth if version == Version::V5 => {}
        PacketType::Auth => return Err(Fault::ReservedType(15)),
    }
    check_flags(first, kind, version)?;
    Ok(kind)
}

/// Whether the flags are those of the packet type [MQTT-2.2.2-2], [MQTT5-2.1.3-1]. MQTT 3.1 gives
/// DUP and QoS a meaning in more packets than PUBLISH and calls the flags unused in the others:
/// nothing is checked there.
pub(super) fn check_flags(first: u8, kind: PacketType, version: Version) -> Result<(), Fault> {
    if version == Version::V31 || first == kind.first_octet() {
        Ok(())
    } else {
        Err(Fault::ReservedFlags(first & 0x0F))
    }
}

#[inline]
fn check_publish_flags(first: u8, version: Version) -> Result<(), Fault> {
    match first >> 1 & 0b11 {
        // [MQTT-3.3.1-4], [MQTT5-3.3.1-4]
        3 => Err(Fault::BadQos),
        // [MQTT-3.3.1-2], [MQTT5-3.3.1-2]; Mosquitto closes too. MQTT 3.1 does not say what it
        // means there.
        0 if first & DUP != 0 && version != Version::V31 => Err(Fault::DupAtQos0),
        _ => Ok(()),
    }
}

/// A remaining length as it stands in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RemainingLength {
    pub(super) value: usize,
    /// How many octets it is written in.
    pub(super) octets: usize,
    /// Whether it could not be written in fewer: a must in MQTT 5.0 [MQTT5-1.5.5-1].
    pub(super) is_shortest: bool,
}

impl RemainingLength {
    /// Reads it from the octets behind the first one; `None` while its end is not there.
    #[inline]
    pub(super) fn read(octets: &[u8]) -> Result<Option<Self>, Fault> {
        let mut value = 0;
        for (position, octet) in octets.iter().take(LENGTH_OCTETS_MAX).enumerate() {
            value |= usize::from(octet & 0x7F) << (7 * position);
            if octet & 0x80 == 0 {
                let is_shortest = position == 0 || *octet != 0;
                return Ok(Some(Self { value, octets: position + 1, is_shortest }));
            }
        }
        if octets.len() < LENGTH_OCTETS_MAX { Ok(None) } else { Err(Fault::EndlessLength) }
    }
}

/// How many octets a variable byte integer is written in.
pub(super) const fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Whether a packet with this remaining length has at most `bytes_max` octets, and is one at all.
pub(super) fn fits(remaining: usize, bytes_max: u32) -> bool {
    let size = 1 + varint_len(remaining) + remaining;
    size <= bytes_max.min(PACKET_BYTES_MAX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(octets: &[u8], expect: Result<Option<(usize, usize, bool)>, Fault>) {
        let read = RemainingLength::read(octets);
        let read = read.map(|length| length.map(|l| (l.value, l.octets, l.is_shortest)));
        assert_eq!(read, expect, "{octets:02X?}");
    }

    #[test]
    fn a_remaining_length_has_one_to_four_octets() {
        check(&[], Ok(None));
        check(&[0x00], Ok(Some((0, 1, true))));
        check(&[0x7F, 0xFF], Ok(Some((127, 1, true))));
        check(&[0x80], Ok(None));
        check(&[0x80, 0x01], Ok(Some((128, 2, true))));
        check(&[0xFF, 0x7F], Ok(Some((16_383, 2, true))));
        check(&[0x80, 0x80, 0x01], Ok(Some((16_384, 3, true))));
        check(&[0xFF, 0xFF, 0x7F], Ok(Some((2_097_151, 3, true))));
        check(&[0x80, 0x80, 0x80, 0x01], Ok(Some((2_097_152, 4, true))));
        check(&[0xFF, 0xFF, 0xFF, 0x7F], Ok(Some((268_435_455, 4, true))));
        check(&[0x80, 0x00], Ok(Some((0, 2, false))));
        check(&[0xFF, 0xFF, 0xFF], Ok(None));
        check(&[0xFF, 0xFF, 0xFF, 0xFF], Err(Fault::EndlessLength));
    }

    #[test]
    fn the_length_of_a_length_is_known_beforehand() {
        for (value, expect) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (2_097_151, 3),
            (2_097_152, 4),
            (268_435_455, 4),
        ] {
            assert_eq!(varint_len(value), expect, "{value}");
        }
    }
}
