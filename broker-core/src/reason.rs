//! Reason codes: how the broker says yes, no and why, in every dialect.
//!
//! They are those of MQTT 5.0, the richest dialect; an older one says the nearest thing it can.

use core::fmt;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// What became of a request, or why a link ends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* #[doc = concat!("(`", stringify!($value), "`)")] $name = $value,)*
        }

        impl ReasonCode {
            /// The code with this value, if there is one.
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// A few words for logs.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reason_codes! {
    /// Done; also "granted QoS 0" and "normal disconnection".
    Success = 0x00, "success";
    /// Subscribed with QoS 1.
    GrantedQos1 = 0x01, "granted QoS 1";
    /// Subscribed with QoS 2.
    GrantedQos2 = 0x02, "granted QoS 2";
    /// The client leaves and wants its will published.
    DisconnectWithWill = 0x04, "disconnect with will";
    /// Accepted, but nobody is subscribed.
    NoMatchingSubscribers = 0x10, "no matching subscribers";
    /// There was no such subscription.
    NoSubscriptionExisted = 0x11, "no subscription existed";
    /// Authentication goes on.
    ContinueAuthentication = 0x18, "continue authentication";
    /// The client asks to authenticate again.
    ReAuthenticate = 0x19, "re-authenticate";
    /// No reason is given.
    Unspecified = 0x80, "unspecified error";
    /// The octets are not a packet.
    MalformedPacket = 0x81, "malformed packet";
    /// The packet is not allowed here.
    ProtocolError = 0x82, "protocol error";
    /// The receiver does not want it.
    ImplementationSpecific = 0x83, "implementation specific error";
    /// This version of the protocol is not served.
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version";
    /// The client identifier is not allowed.
    ClientIdentifierNotValid = 0x85, "client identifier not valid";
    /// User name or password are wrong.
    BadUserNameOrPassword = 0x86, "bad user name or password";
    /// Not allowed to do this.
    NotAuthorized = 0x87, "not authorized";
    /// No service at present.
    ServerUnavailable = 0x88, "server unavailable";
    /// Too much to do; try later.
    ServerBusy = 0x89, "server busy";
    /// Locked out by the operator.
    Banned = 0x8A, "banned";
    /// The server stops.
    ServerShuttingDown = 0x8B, "server shutting down";
    /// Unknown authentication method.
    BadAuthenticationMethod = 0x8C, "bad authentication method";
    /// Nothing was heard for one and a half keep-alives.
    KeepAliveTimeout = 0x8D, "keep alive timeout";
    /// The client identifier connected elsewhere.
    SessionTakenOver = 0x8E, "session taken over";
    /// The filter is well-formed but not allowed here.
    TopicFilterInvalid = 0x8F, "topic filter invalid";
    /// The name is well-formed but not allowed here.
    TopicNameInvalid = 0x90, "topic name invalid";
    /// The packet identifier is in use.
    PacketIdentifierInUse = 0x91, "packet identifier in use";
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92, "packet identifier not found";
    /// More messages in flight than were allowed.
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded";
    /// Topic alias zero or above the maximum.
    TopicAliasInvalid = 0x94, "topic alias invalid";
    /// Larger than was allowed.
    PacketTooLarge = 0x95, "packet too large";
    /// Messages come too fast.
    MessageRateTooHigh = 0x96, "message rate too high";
    /// A limit of the server is reached.
    QuotaExceeded = 0x97, "quota exceeded";
    /// The operator ended it.
    AdministrativeAction = 0x98, "administrative action";
    /// The payload is not what its format indicator says.
    PayloadFormatInvalid = 0x99, "payload format invalid";
    /// Retained messages are not served.
    RetainNotSupported = 0x9A, "retain not supported";
    /// This QoS is not served.
    QosNotSupported = 0x9B, "QoS not supported";
    /// Use another server for now.
    UseAnotherServer = 0x9C, "use another server";
    /// Use another server from now on.
    ServerMoved = 0x9D, "server moved";
    /// Shared subscriptions are not served.
    SharedSubscriptionsNotSupported = 0x9E, "shared subscriptions not supported";
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F, "connection rate exceeded";
    /// Connected for as long as was allowed.
    MaximumConnectTime = 0xA0, "maximum connect time";
    /// Subscription identifiers are not served.
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription identifiers not supported";
    /// Wildcard subscriptions are not served.
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard subscriptions not supported";
}

impl ReasonCode {
    /// Whether it says no: all values from 0x80 do.
    pub const fn is_error(self) -> bool {
        self as u8 >= 0x80
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_codes_agree_both_ways() {
        let known = (0..=u8::MAX).filter_map(ReasonCode::from_u8).collect::<Vec<_>>();
        assert_eq!(known.len(), 43);
        for code in known {
            assert_eq!(ReasonCode::from_u8(code as u8), Some(code));
            assert_eq!(code.is_error(), code as u8 >= 0x80);
        }
    }
}
