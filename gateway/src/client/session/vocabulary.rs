//! What a session is told, and what it tells.

use core::error::Error;
use core::fmt;
use core::time::Duration;

use sn_codec::QoS;
use sn_codec::v12::{MsgType, ReturnCode};

/// Octets of the largest datagram that is sent: what UDP over IPv4 can carry.
pub const DATAGRAM_MAX: usize = 65_507;

/// How a session connects, and how patient it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Who connects: 1 to 23 characters please everybody (SN-005).
    pub client_id: String,
    /// Whether the gateway is to forget what it keeps for this client id.
    pub clean_session: bool,
    /// Seconds of silence after which the gateway may take this client for lost; 0: never.
    pub keep_alive_s: u16,
    /// What the gateway publishes when it takes this client for lost.
    pub will: Option<Will>,
    /// How long an answer is waited for, and how often it is asked for again.
    pub retry: Retry,
}

/// A message that the gateway publishes in place of a client that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Topic name, at least one octet.
    pub topic: String,
    /// Payload, possibly empty.
    pub payload: Vec<u8>,
    /// QoS 0, 1 or 2.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
}

/// A repetition policy (SN-089).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Time without an answer after which a message is sent again (T_retry).
    pub after: Duration,
    /// How often it is sent again until the gateway counts as gone (N_retry).
    pub times: u8,
}

/// A topic, in one of the three ways in which MQTT-SN names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// By its name, or a filter in a subscription. Messages carry a topic id in its place.
    Name(String),
    /// By an id that both ends know beforehand.
    Predefined(u16),
    /// By its name of two octets, which fits where a topic id would be (SN-067).
    Short([u8; 2]),
}

impl Topic {
    /// The cheapest way to name a topic: short if the name has two octets and no wildcard.
    pub fn shortest(name: &str) -> Self {
        match *name.as_bytes() {
            [first, second] if !name.contains(['+', '#']) => Self::Short([first, second]),
            _ => Self::Name(name.to_owned()),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Predefined(id) => write!(f, "predefined:{id}"),
            Self::Short(octets) => f.write_str(&String::from_utf8_lossy(octets)),
        }
    }
}

/// An application message, of either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it belongs.
    pub topic: Topic,
    /// Payload, possibly empty.
    pub payload: Vec<u8>,
    /// Level of the exchange. −1 is sent only, and needs no connection (SN 6.8).
    pub qos: QoS,
    /// To be retained; or was retained already when this client subscribed.
    pub retain: bool,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The gateway accepted the connection. A request that an earlier connection left unfinished
    /// is under way again.
    Connected,
    /// The gateway refused the connection.
    Refused(ReturnCode),
    /// A message is out, and acknowledged if its QoS asks for that.
    Published,
    /// A subscription stands, at this QoS.
    Subscribed(QoS),
    /// A subscription is gone.
    Unsubscribed,
    /// The gateway refused the request under way, which ends it. After
    /// [`Congestion`](ReturnCode::Congestion) the like should not be asked for again within five
    /// minutes (SN-057, SN-062, SN-072); to keep that is the owner's part.
    Rejected(ReturnCode),
    /// The gateway refused a QoS 0 message after it was reported as published. What was said about
    /// congestion goes for it as well.
    Discarded(ReturnCode),
    /// A message came.
    Message(Message),
    /// The gateway is there: PINGRESP.
    Pong,
    /// The gateway keeps messages from now on, until they are collected.
    Asleep,
    /// A visit is over and the session asleep again: with PINGRESP, or without because nothing came
    /// any more (SN-099).
    VisitOver {
        /// Whether all that waited was collected.
        complete: bool,
    },
    /// The connection is over as asked for.
    Disconnected,
    /// The gateway ended the connection, or does not know of it; connect again (SN-027).
    Ended,
    /// The gateway did not answer, which ends the connection (SN-089).
    Lost {
        /// The message that got no answer.
        unanswered: MsgType,
        /// How often it was sent.
        tries: u16,
    },
}

/// Why something that was asked for is not even tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Another request is under way (SN-058, SN-064, SN-075).
    Busy,
    /// The session is not in the state for it.
    WrongState,
    /// QoS −1 goes by a predefined id or a two-octet name only (SN-068).
    NeedsTopicId,
    /// A will needs a topic.
    NoWillTopic,
    /// It does not fit into a datagram of [`DATAGRAM_MAX`] octets.
    TooLong {
        /// Octets the message would take.
        octets: usize,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another request is under way"),
            Self::WrongState => f.write_str("there is no connection for that"),
            Self::NeedsTopicId => {
                f.write_str("QoS -1 goes by a predefined id or a two-octet name only")
            }
            Self::NoWillTopic => f.write_str("a will needs a topic"),
            Self::TooLong { octets } => {
                write!(f, "{octets} octets, a datagram holds {DATAGRAM_MAX}")
            }
        }
    }
}

impl Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_octets_without_wildcards_make_a_short_name() {
        let check = |name: &str, short: bool| {
            let topic = Topic::shortest(name);
            assert_eq!(matches!(topic, Topic::Short(_)), short, "{name}");
            assert_eq!(topic.to_string(), name);
        };
        check("xy", true);
        check("é", true);
        check("a", false);
        check("abc", false);
        check("/#", false);
        check("+/", false);
    }
}
