//! The server's end of one connection.
//!
//! CONNECT comes in → AUTH goes back and forth, if a method was named → CONNACK goes out → anything
//! goes in both directions → a violation, or the broker, ends it, or the client leaves with
//! DISCONNECT. What comes after that is ignored; what was asked before a DISCONNECT is still
//! answered.

mod authenticate;
mod receive;
mod send;
mod unreleased;

use super::alias::Aliases;
use super::frame::PacketType;
use super::naming::Naming;
use super::settings::Features;
use super::version::Version;
use crate::api::Dialect;
use authenticate::Authentication;
use unreleased::UnreleasedIds;

/// The server's end of one connection. It has no buffers: octets stay with the caller.
#[derive(Debug)]
pub struct ServerConn {
    phase: Phase,
    /// Whether the client said DISCONNECT: nothing more is read.
    has_left: bool,
    /// Only a guess before CONNECT.
    version: Version,
    is_bridge: bool,
    wants_words: bool,
    /// What the client may send, as it was told.
    receive_maximum: u16,
    topic_alias_maximum: u16,
    inbound_bytes_max: u32,
    server_keep_alive_s: Option<u16>,
    features: Features,
    /// What the client asked for.
    session_expiry_s: u32,
    outbound_bytes_max: u32,
    /// Messages of QoS 1 and 2 from the client that have not been answered for good; counted in
    /// 5.0.
    unanswered: u16,
    /// Topic aliases that the client takes, of which we use so many, and octets of the topic names
    /// behind those of one direction.
    outbound_alias_maximum: u16,
    alias_bytes_max: u32,
    extras: Option<Box<Extras>>,
}

/// What only some connections need; made with the first of it.
#[derive(Debug, Default)]
struct Extras {
    /// Aliases that the client has set.
    inbound: Aliases,
    /// Those that we have set.
    outbound: Naming,
    unreleased: UnreleasedIds,
    /// If CONNECT named a method.
    authentication: Option<Box<Authentication>>,
    /// What CONNACK tells of response topics, but for an identifier that is still to be chosen.
    response_topics: Option<ResponseTopics>,
}

/// The beginning of response topics of one client.
#[derive(Debug)]
struct ResponseTopics {
    prefix: Box<str>,
    client_id: Box<str>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was received.
    New,
    /// CONNECT was read and waits until the client has shown who it is.
    Authenticating,
    /// CONNECT was heard, CONNACK has not been sent.
    Connecting,
    /// CONNACK was sent.
    Connected,
    /// Nothing is read or written any more.
    Ended,
}

/// What [`ServerConn::receive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The packet is not there as a whole, and nothing was used.
    Incomplete {
        /// Octets of the packet, as far as is known: with fewer there is no use in asking again. At
        /// most what the settings allow. Memory is better taken for what comes than for what is
        /// announced.
        needed: usize,
    },
    /// One packet.
    Packet {
        /// Its octets, the first ones of the input.
        used: usize,
        /// Its type.
        kind: PacketType,
    },
    /// The connection has ended: whatever comes is ignored.
    Ended,
}

/// What [`ServerConn::send`] made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a packet that is too large has consequences"]
pub enum Sent {
    /// It was written.
    Packet(PacketType),
    /// It was not written, because it is larger than the client takes [MQTT5-3.1.2-24]. A PUBLISH
    /// counts as delivered [MQTT5-3.1.2-25]: the broker is to be told
    /// [`Flow::GiveUp`](crate::api::Flow::GiveUp). Without another packet the client cannot go on:
    /// the connection is to be closed.
    TooLarge(PacketType),
    /// There is no such packet in this version, or none may be sent at this point.
    Nothing,
}

impl Default for ServerConn {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerConn {
    /// A connection on which nothing was received.
    pub const fn new() -> Self {
        Self {
            phase: Phase::New,
            has_left: false,
            version: Version::V311,
            is_bridge: false,
            wants_words: true,
            receive_maximum: 0,
            topic_alias_maximum: 0,
            inbound_bytes_max: 0,
            server_keep_alive_s: None,
            features: Features::ALL,
            session_expiry_s: 0,
            outbound_bytes_max: u32::MAX,
            unanswered: 0,
            outbound_alias_maximum: 0,
            alias_bytes_max: 0,
            extras: None,
        }
    }

    /// Whether the client has been told that it is connected, and neither end has ended it.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected && !self.has_left
    }

    /// Whether nothing more is read. After DISCONNECT the broker has the last word and closes;
    /// after anything else there is nothing left to say, and the caller flushes and closes.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended || self.has_left
    }

    /// Whether the client is still to show who it is: the broker has not heard of it.
    pub fn is_authenticating(&self) -> bool {
        self.phase == Phase::Authenticating
    }

    /// What the client speaks, once it has said so.
    pub const fn dialect(&self) -> Option<Dialect> {
        match self.phase {
            Phase::New => None,
            Phase::Authenticating | Phase::Connecting | Phase::Connected | Phase::Ended => {
                Some(self.version.dialect())
            }
        }
    }

    /// Octets held on the heap.
    pub fn memory(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.memory())
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.extras = None;
    }
}

impl Extras {
    fn memory(&self) -> usize {
        size_of::<Self>()
            + self.inbound.memory()
            + self.outbound.memory()
            + self.unreleased.memory()
            + self
                .response_topics
                .as_ref()
                .map_or(0, |topics| topics.prefix.len() + topics.client_id.len())
            + self.authentication.as_ref().map_or(0, |authentication| authentication.memory())
    }
}
