//! Properties: what MQTT 5.0 says beside the fields that every dialect has.
//!
//! The core carries a block of them from publisher to subscriber as the octets it came in, and
//! reads only what it has to obey. [`Properties`] is such a block, checked once at the edge, so
//! that reading it again cannot fail.

use core::fmt;

/// One property with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// 0x01: 1 if the payload is UTF-8 text, 0 if it is octets.
    PayloadFormatIndicator(u8),
    /// 0x02: seconds for which a message is of use.
    MessageExpiryInterval(u32),
    /// 0x03
    ContentType(&'a str),
    /// 0x08: where an answer should be published.
    ResponseTopic(&'a str),
    /// 0x09: what an answer should repeat.
    CorrelationData(&'a [u8]),
    /// 0x0B: 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// 0x11: seconds a session outlives its link; `u32::MAX` for ever.
    SessionExpiryInterval(u32),
    /// 0x12
    AssignedClientIdentifier(&'a str),
    /// 0x13: seconds.
    ServerKeepAlive(u16),
    /// 0x15
    AuthenticationMethod(&'a str),
    /// 0x16
    AuthenticationData(&'a [u8]),
    /// 0x17: 0 or 1.
    RequestProblemInformation(u8),
    /// 0x18: seconds between the end of a link and its will.
    WillDelayInterval(u32),
    /// 0x19: 0 or 1.
    RequestResponseInformation(u8),
    /// 0x1A
    ResponseInformation(&'a str),
    /// 0x1C
    ServerReference(&'a str),
    /// 0x1F: for people.
    ReasonString(&'a str),
    /// 0x21: messages of QoS 1 and 2 in flight, at least 1.
    ReceiveMaximum(u16),
    /// 0x22
    TopicAliasMaximum(u16),
    /// 0x23: at least 1.
    TopicAlias(u16),
    /// 0x24: 0 or 1.
    MaximumQos(u8),
    /// 0x25: 0 or 1.
    RetainAvailable(u8),
    /// 0x26: the only one that may be repeated everywhere; order is kept. Both halves are strings
    /// [MQTT5-1.5.7-1].
    UserProperty(&'a str, &'a str),
    /// 0x27: octets, at least 1.
    MaximumPacketSize(u32),
    /// 0x28: 0 or 1.
    WildcardSubscriptionAvailable(u8),
    /// 0x29: 0 or 1.
    SubscriptionIdentifiersAvailable(u8),
    /// 0x2A: 0 or 1.
    SharedSubscriptionAvailable(u8),
}

/// Why a block of octets is not a block of properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyError {
    /// It ends inside a property.
    Truncated,
    /// There is no property with this identifier.
    Unknown(u32),
    /// A string is not UTF-8, or holds U+0000.
    NotUtf8,
    /// A variable byte integer has more than four octets, or more than it needs [MQTT5-1.5.5-1].
    BadVarInt,
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the properties end inside a property"),
            Self::Unknown(id) => write!(f, "there is no property 0x{id:02X}"),
            Self::NotUtf8 => f.write_str("a string in the properties is not UTF-8"),
            Self::BadVarInt => f.write_str("a variable byte integer is not in its shortest form"),
        }
    }
}

impl core::error::Error for PropertyError {}

/// A block of well-formed properties, still as octets.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// No properties: what dialects without them say.
    pub const EMPTY: Self = Properties(&[]);

    /// Checks a block: every property is known and whole. Which of them may stand where, and how
    /// often, is for the dialect to judge.
    pub fn parse(octets: &'a [u8]) -> Result<Self, PropertyError> {
        Self::parse_with(octets, |_, _| Ok(()))
    }

    /// Checks a block like [`Properties::parse`] and, in the same pass, shows every property and
    /// the octets it was read from to `judge`, whose refusal ends it.
    pub fn parse_with<E: From<PropertyError>>(
        octets: &'a [u8],
        mut judge: impl FnMut(Property<'a>, &'a [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut rest = octets;
        while !rest.is_empty() {
            let before = rest;
            let property = read_property(&mut rest)?;
            judge(property, &before[..before.len() - rest.len()])?;
        }
        Ok(Properties(octets))
    }

    /// A block that was checked before it was stored.
    pub(crate) const fn checked(octets: &'a [u8]) -> Self {
        Properties(octets)
    }

    /// The octets, without the length in front.
    pub const fn as_octets(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The properties in their order.
    pub fn iter(self) -> impl Iterator<Item = Property<'a>> {
        self.spans().map(|(property, _)| property)
    }

    /// The properties in their order, each with the octets it was read from.
    pub fn spans(self) -> impl Iterator<Item = (Property<'a>, &'a [u8])> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let before = rest;
            let property = read_property(&mut rest).expect("the block was checked when made");
            Some((property, &before[..before.len() - rest.len()]))
        })
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Property<'_> {
    /// Whether a server passes it from publisher to subscriber unchanged: [MQTT5-3.3.2-4],
    /// [MQTT5-3.3.2-15], [MQTT5-3.3.2-16], [MQTT5-3.3.2-17], [MQTT5-3.3.2-20].
    pub const fn is_forwarded(&self) -> bool {
        matches!(
            self,
            Self::PayloadFormatIndicator(_)
                | Self::ContentType(_)
                | Self::ResponseTopic(_)
                | Self::CorrelationData(_)
                | Self::UserProperty(..)
        )
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], PropertyError> {
    let (taken, left) = rest.split_at_checked(len).ok_or(PropertyError::Truncated)?;
    *rest = left;
    Ok(taken)
}

fn take_u8(rest: &mut &[u8]) -> Result<u8, PropertyError> {
    Ok(take(rest, 1)?[0])
}

fn take_u16(rest: &mut &[u8]) -> Result<u16, PropertyError> {
    let octets = take(rest, 2)?;
    Ok(u16::from_be_bytes([octets[0], octets[1]]))
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, PropertyError> {
    let octets = take(rest, 4)?;
    Ok(u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]))
}

fn take_varint(rest: &mut &[u8]) -> Result<u32, PropertyError> {
    let mut value = 0;
    for position in 0..4 {
        let octet = take_u8(rest)?;
        value |= u32::from(octet & 0x7F) << (7 * position);
        if octet & 0x80 == 0 {
            let shortest = position == 0 || octet != 0;
            return if shortest { Ok(value) } else { Err(PropertyError::BadVarInt) };
        }
    }
    Err(PropertyError::BadVarInt)
}

fn take_binary<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], PropertyError> {
    let len = take_u16(rest)?;
    take(rest, usize::from(len))
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Result<&'a str, PropertyError> {
    let text = core::str::from_utf8(take_binary(rest)?).map_err(|_| PropertyError::NotUtf8)?;
    if text.contains('\0') { Err(PropertyError::NotUtf8) } else { Ok(text) }
}

fn read_property<'a>(rest: &mut &'a [u8]) -> Result<Property<'a>, PropertyError> {
    Ok(match take_varint(rest)? {
        0x01 => Property::PayloadFormatIndicator(take_u8(rest)?),
        0x02 => Property::MessageExpiryInterval(take_u32(rest)?),
        0x03 => Property::ContentType(take_string(rest)?),
        0x08 => Property::ResponseTopic(take_string(rest)?),
        0x09 => Property::CorrelationData(take_binary(rest)?),
        0x0B => Property::SubscriptionIdentifier(take_varint(rest)?),
        0x11 => Property::SessionExpiryInterval(take_u32(rest)?),
        0x12 => Property::AssignedClientIdentifier(take_string(rest)?),
        0x13 => Property::ServerKeepAlive(take_u16(rest)?),
        0x15 => Property::AuthenticationMethod(take_string(rest)?),
        0x16 => Property::AuthenticationData(take_binary(rest)?),
        0x17 => Property::RequestProblemInformation(take_u8(rest)?),
        0x18 => Property::WillDelayInterval(take_u32(rest)?),
        0x19 => Property::RequestResponseInformation(take_u8(rest)?),
        0x1A => Property::ResponseInformation(take_string(rest)?),
        0x1C => Property::ServerReference(take_string(rest)?),
        0x1F => Property::ReasonString(take_string(rest)?),
        0x21 => Property::ReceiveMaximum(take_u16(rest)?),
        0x22 => Property::TopicAliasMaximum(take_u16(rest)?),
        0x23 => Property::TopicAlias(take_u16(rest)?),
        0x24 => Property::MaximumQos(take_u8(rest)?),
        0x25 => Property::RetainAvailable(take_u8(rest)?),
        0x26 => Property::UserProperty(take_string(rest)?, take_string(rest)?),
        0x27 => Property::MaximumPacketSize(take_u32(rest)?),
        0x28 => Property::WildcardSubscriptionAvailable(take_u8(rest)?),
        0x29 => Property::SubscriptionIdentifiersAvailable(take_u8(rest)?),
        0x2A => Property::SharedSubscriptionAvailable(take_u8(rest)?),
        unknown => return Err(PropertyError::Unknown(unknown)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[u8] = &[
        0x01, 0x01, // payload format indicator
        0x02, 0x00, 0x00, 0x00, 0x3C, // message expiry interval
        0x26, 0x00, 0x01, b'k', 0x00, 0x01, b'v', // user property
        0x0B, 0x80, 0x01, // subscription identifier 128
    ];

    #[test]
    fn a_block_reads_back_in_its_order_with_the_octets_of_each() {
        let block = Properties::parse(BLOCK).expect("a good block");
        let expect = [
            (Property::PayloadFormatIndicator(1), &BLOCK[..2]),
            (Property::MessageExpiryInterval(60), &BLOCK[2..7]),
            (Property::UserProperty("k", "v"), &BLOCK[7..14]),
            (Property::SubscriptionIdentifier(128), &BLOCK[14..]),
        ];
        assert_eq!(block.spans().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn every_truncation_is_found() {
        let ends = [0, 2, 7, 14, 17];
        for len in 0..=BLOCK.len() {
            assert_eq!(Properties::parse(&BLOCK[..len]).is_ok(), ends.contains(&len), "{len}");
        }
    }

    /// [MQTT5-1.5.5-1]
    #[test]
    fn a_variable_byte_integer_is_in_its_shortest_form() {
        assert_eq!(Properties::parse(&[0x0B, 0x81, 0x00]), Err(PropertyError::BadVarInt));
        assert_eq!(
            Properties::parse(&[0x0B, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
            Err(PropertyError::BadVarInt)
        );
        assert!(Properties::parse(&[0x0B, 0xFF, 0xFF, 0xFF, 0x7F]).is_ok());
    }

    #[test]
    fn unknown_properties_and_ill_formed_strings_are_refused() {
        assert_eq!(Properties::parse(&[0x04, 0x00]), Err(PropertyError::Unknown(4)));
        assert_eq!(Properties::parse(&[0x03, 0x00, 0x01, 0xFF]), Err(PropertyError::NotUtf8));
        assert_eq!(Properties::parse(&[0x03, 0x00, 0x01, 0x00]), Err(PropertyError::NotUtf8));
    }
}
