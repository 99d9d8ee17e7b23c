//! Why a connection cannot go on: always the client's doing.

use core::fmt;

use super::frame::PacketType;
use crate::property::PropertyError;
use crate::reason::ReasonCode;
use crate::topic::TopicError;

/// A packet that ends its connection. It reads "PUBLISH: topic name: it is empty".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The packet, if its first octet names one.
    pub packet: Option<PacketType>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Violation {
    /// What MQTT 5.0 calls it, and what a client of that version is told.
    pub const fn reason(self) -> ReasonCode {
        self.fault.reason()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.packet {
            Some(packet) => write!(f, "{packet}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl core::error::Error for Violation {}

/// The name of a field, for people.
pub type Field = &'static str;

/// What can be wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first packet is not CONNECT [MQTT-3.1.0-1].
    NotConnect,
    /// There was a CONNECT already [MQTT-3.1.0-2].
    SecondConnect,
    /// A packet that only servers send.
    NotForServers,
    /// A packet type that this version does not have.
    ReservedType(u8),
    /// The flags beside the packet type are not what they have to be [MQTT-2.2.2-2],
    /// [MQTT5-2.1.3-1].
    ReservedFlags(u8),
    /// The remaining length goes on behind its fourth octet.
    EndlessLength,
    /// The remaining length has more octets than it needs [MQTT5-1.5.5-1].
    LongLength,
    /// The packet has more octets than are allowed.
    TooLarge {
        /// Octets of the whole packet.
        size: usize,
        /// Octets that are allowed.
        max: u32,
    },
    /// The packet ends inside this field, or before it.
    Truncated(Field),
    /// Octets follow behind the last field.
    LeftOver(usize),
    /// The field is not well-formed UTF-8 [MQTT-1.5.3-1], [MQTT5-1.5.4-1].
    NotUtf8(Field),
    /// The field holds U+0000 [MQTT-1.5.3-2], [MQTT5-1.5.4-2].
    Nul(Field),
    /// Bits of the field are set that must not be.
    ReservedBits(Field),
    /// QoS 3, of a publication or a will [MQTT-3.3.1-4].
    BadQos,
    /// DUP at QoS 0 [MQTT-3.3.1-2].
    DupAtQos0,
    /// A packet identifier of zero.
    ZeroPacketId,
    /// Neither `MQTT` nor `MQIsdp` [MQTT-3.1.2-1].
    ProtocolName,
    /// A level that is not served, or not under this name [MQTT-3.1.2-2].
    ProtocolLevel(u8),
    /// QoS or RETAIN of a will that is not there ([MQTT-3.1.2-11] and its like).
    FlagsWithoutWill,
    /// A password without a user name [MQTT-3.1.2-22].
    PasswordWithoutUserName,
    /// A client identifier without characters, where the server may not choose one.
    ClientIdEmpty,
    /// A client identifier that is longer than the server likes.
    ClientIdTooLong {
        /// Its octets.
        size: usize,
        /// Octets that are allowed.
        max: usize,
    },
    /// Who the client says it is, or how it wants to show that, is refused: [MQTT5-4.12.0-1],
    /// [MQTT5-4.12.0-4], [MQTT5-3.1.4-2].
    NotAuthenticated(ReasonCode),
    /// An AUTH without a method, or with another one than CONNECT named [MQTT5-4.12.0-5].
    AuthenticationMethod,
    /// While a client shows who it is it says AUTH and DISCONNECT only [MQTT5-3.1.2-30].
    Unauthenticated,
    /// DISCONNECT of a client that was still to show who it is.
    GaveUp,
    /// Authentication data without a method.
    AuthenticationData,
    /// AUTH, while no authentication is under way or may begin [MQTT5-4.12.0-7].
    NoAuthentication,
    /// What should be a topic name.
    TopicName(TopicError),
    /// What should be a topic filter.
    TopicFilter(TopicError),
    /// SUBSCRIBE or UNSUBSCRIBE without a filter.
    NoFilters,
    /// QoS 3 of a subscription [MQTT-3-8.3-4].
    BadSubscriptionQos,
    /// Retain handling 3.
    BadRetainHandling,
    /// "No local" on a shared subscription [MQTT5-3.8.3-4].
    NoLocalOnShared,
    /// The properties are not properties.
    Properties(PropertyError),
    /// A property that does not belong into this packet.
    PropertyMisplaced(u8),
    /// A property that only servers send in this packet.
    PropertyOfServers(u8),
    /// A property stands twice that may stand once.
    PropertyTwice(u8),
    /// A property has a value that it must not have.
    PropertyValue(u8),
    /// A topic alias of zero or above the maximum [MQTT5-3.3.2-8], [MQTT5-3.3.2-9].
    AliasInvalid(u16),
    /// A topic alias that no topic name was given to.
    AliasUnknown(u16),
    /// The topic names behind the aliases take more octets than are allowed.
    AliasesTooLong {
        /// Octets that are allowed.
        max: usize,
    },
    /// More publications of QoS 1 and 2 than were allowed to be under way [MQTT5-3.3.4-7].
    ReceiveMaximum(u16),
    /// A QoS above what is served [MQTT5-3.2.2-11], [MQTT5-3.2.2-12].
    QosNotServed,
    /// RETAIN, which is not served [MQTT5-3.2.2-13], [MQTT5-3.2.2-14].
    RetainNotServed,
    /// A filter with wildcards, which are not served.
    WildcardsNotServed,
    /// An identifier of a subscription, which is not served.
    SubscriptionIdsNotServed,
    /// A shared subscription, which is not served.
    SharedNotServed,
    /// Clients are served elsewhere.
    Elsewhere {
        /// For good.
        is_permanent: bool,
    },
    /// A reason code that does not exist, or not in this packet from a client.
    BadReasonCode(u8),
    /// A session that was to end with its connection shall outlive it after all.
    ExpiryRaised,
}

impl Fault {
    /// What MQTT 5.0 calls it.
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::ReservedType(_)
            | Self::ReservedFlags(_)
            | Self::EndlessLength
            | Self::LongLength
            | Self::Truncated(_)
            | Self::LeftOver(_)
            | Self::NotUtf8(_)
            | Self::Nul(_)
            | Self::ReservedBits(_)
            | Self::BadQos
            | Self::DupAtQos0
            | Self::FlagsWithoutWill
            | Self::TopicName(TopicError::NotUtf8 | TopicError::Nul)
            | Self::TopicFilter(TopicError::NotUtf8 | TopicError::Nul)
            | Self::Properties(_)
            | Self::PropertyMisplaced(_) => ReasonCode::MalformedPacket,
            Self::NotConnect
            | Self::SecondConnect
            | Self::NotForServers
            | Self::ZeroPacketId
            | Self::PasswordWithoutUserName
            | Self::AuthenticationData
            | Self::NoAuthentication
            | Self::AuthenticationMethod
            | Self::Unauthenticated
            | Self::TopicName(TopicError::Empty)
            | Self::NoFilters
            | Self::BadSubscriptionQos
            | Self::BadRetainHandling
            | Self::NoLocalOnShared
            | Self::PropertyOfServers(_)
            | Self::PropertyTwice(_)
            | Self::PropertyValue(_)
            | Self::AliasUnknown(_)
            | Self::BadReasonCode(_)
            | Self::ExpiryRaised => ReasonCode::ProtocolError,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UnsupportedProtocolVersion,
            Self::ClientIdEmpty | Self::ClientIdTooLong { .. } => {
                ReasonCode::ClientIdentifierNotValid
            }
            Self::NotAuthenticated(reason) => reason,
            Self::GaveUp => ReasonCode::Success,
            Self::TopicFilter(_) => ReasonCode::TopicFilterInvalid,
            Self::TopicName(_) => ReasonCode::TopicNameInvalid,
            Self::ReceiveMaximum(_) => ReasonCode::ReceiveMaximumExceeded,
            Self::AliasInvalid(_) => ReasonCode::TopicAliasInvalid,
            Self::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::AliasesTooLong { .. } => ReasonCode::QuotaExceeded,
            Self::QosNotServed => ReasonCode::QosNotSupported,
            Self::RetainNotServed => ReasonCode::RetainNotSupported,
            Self::WildcardsNotServed => ReasonCode::WildcardSubscriptionsNotSupported,
            Self::SubscriptionIdsNotServed => ReasonCode::SubscriptionIdentifiersNotSupported,
            Self::SharedNotServed => ReasonCode::SharedSubscriptionsNotSupported,
            Self::Elsewhere { is_permanent: false } => ReasonCode::UseAnotherServer,
            Self::Elsewhere { is_permanent: true } => ReasonCode::ServerMoved,
        }
    }
}

impl From<PropertyError> for Fault {
    fn from(error: PropertyError) -> Self {
        Self::Properties(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnect => f.write_str("the first packet is not CONNECT"),
            Self::SecondConnect => f.write_str("the client is connected already"),
            Self::NotForServers => f.write_str("only servers send it"),
            Self::ReservedType(kind) => write!(f, "packet type {kind} is reserved"),
            Self::ReservedFlags(flags) => write!(f, "its flags cannot be {flags:04b}"),
            Self::EndlessLength => f.write_str("remaining length: more than four octets"),
            Self::LongLength => f.write_str("remaining length: not in its shortest form"),
            Self::TooLarge { size, max } => write!(f, "{size} octets, {max} are allowed"),
            Self::Truncated(field) => write!(f, "{field}: the packet ends before it does"),
            Self::LeftOver(count) => write!(f, "{count} octets behind the last field"),
            Self::NotUtf8(field) => write!(f, "{field}: it is not well-formed UTF-8"),
            Self::Nul(field) => write!(f, "{field}: it holds the character U+0000"),
            Self::ReservedBits(field) => write!(f, "{field}: reserved bits are set"),
            Self::BadQos => f.write_str("QoS 3"),
            Self::DupAtQos0 => f.write_str("DUP at QoS 0"),
            Self::ZeroPacketId => f.write_str("packet identifier: it is zero"),
            Self::ProtocolName => f.write_str("protocol name: neither MQTT nor MQIsdp"),
            Self::ProtocolLevel(level) => write!(f, "protocol level: {level} is not served"),
            Self::FlagsWithoutWill => f.write_str("connect flags: QoS or RETAIN without a will"),
            Self::PasswordWithoutUserName => f.write_str("a password without a user name"),
            Self::ClientIdEmpty => f.write_str("client identifier: it is empty"),
            Self::ClientIdTooLong { size, max } => {
                write!(f, "client identifier: {size} octets, {max} are allowed")
            }
            Self::NotAuthenticated(reason) => reason.fmt(f),
            Self::AuthenticationMethod => {
                f.write_str("authentication method: not the one of CONNECT")
            }
            Self::Unauthenticated => f.write_str("authentication is under way"),
            Self::GaveUp => f.write_str("the client gave authentication up"),
            Self::AuthenticationData => f.write_str("authentication data without a method"),
            Self::NoAuthentication => f.write_str("no authentication is under way"),
            Self::TopicName(error) => write!(f, "topic name: {error}"),
            Self::TopicFilter(error) => write!(f, "topic filter: {error}"),
            Self::NoFilters => f.write_str("there is no topic filter"),
            Self::BadSubscriptionQos => f.write_str("subscription options: QoS 3"),
            Self::BadRetainHandling => f.write_str("subscription options: retain handling 3"),
            Self::NoLocalOnShared => f.write_str("no local on a shared subscription"),
            Self::Properties(error) => write!(f, "properties: {error}"),
            Self::PropertyMisplaced(id) => write!(f, "property 0x{id:02X} does not belong here"),
            Self::PropertyOfServers(id) => write!(f, "only servers send property 0x{id:02X} here"),
            Self::PropertyTwice(id) => write!(f, "property 0x{id:02X} stands twice"),
            Self::PropertyValue(id) => write!(f, "property 0x{id:02X} cannot have this value"),
            Self::AliasInvalid(alias) => write!(f, "topic alias: {alias} is not allowed"),
            Self::AliasUnknown(alias) => write!(f, "topic alias: {alias} has no topic name"),
            Self::AliasesTooLong { max } => {
                write!(f, "topic aliases: {max} octets of topic names are allowed")
            }
            Self::ReceiveMaximum(max) => write!(f, "{max} unacknowledged ones are allowed"),
            Self::QosNotServed => f.write_str("this QoS is not served"),
            Self::RetainNotServed => f.write_str("RETAIN is not served"),
            Self::WildcardsNotServed => f.write_str("topic filter: wildcards are not served"),
            Self::SubscriptionIdsNotServed => {
                f.write_str("subscription identifiers are not served")
            }
            Self::SharedNotServed => f.write_str("shared subscriptions are not served"),
            Self::Elsewhere { is_permanent: false } => f.write_str("use another server"),
            Self::Elsewhere { is_permanent: true } => f.write_str("the server has moved"),
            Self::BadReasonCode(code) => write!(f, "reason code: 0x{code:02X} is not for this"),
            Self::ExpiryRaised => f.write_str("session expiry: it was zero in CONNECT"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_packet_and_field() {
        let violation = Violation {
            packet: Some(PacketType::Publish),
            fault: Fault::TopicName(TopicError::Empty),
        };
        assert_eq!(violation.to_string(), "PUBLISH: topic name: it is empty");
        let violation = Violation { packet: None, fault: Fault::ReservedType(0) };
        assert_eq!(violation.to_string(), "packet type 0 is reserved");
    }
}
