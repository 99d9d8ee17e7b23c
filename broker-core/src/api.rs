//! The vocabulary: what a link says and what it hears.
//!
//! A *link* is one client's connection, whatever its wire: MQTT over TCP, MQTT-SN over UDP, a
//! bridge. It says [`Incoming`] and hears [`Outgoing`]; the dialects translate between these and
//! octets, and nothing is re-encoded between dialects. What the vocabulary means is the same for
//! all of them (SN-030).

use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::message::Message;
use crate::property::Properties;
use crate::reason::ReasonCode;
use crate::topic::{TopicFilter, TopicName};

/// The name of a link, given by whoever owns the transports. The core never interprets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// The number of a durable change. What depends on a change may leave once the log reports a number
/// at least as high as committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub u64);

/// A packet identifier (MQTT) or message id (MQTT-SN).
///
/// Zero means "none" in MQTT; MQTT-SN clients do use it in requests and get it back (SN-021).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PacketId(pub u16);

/// Quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum QoS {
    /// At most once: sent and forgotten.
    #[default]
    AtMostOnce = 0,
    /// At least once: repeated until acknowledged.
    AtLeastOnce = 1,
    /// Exactly once: a handshake of four packets.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS with this value; 3 is none.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// The protocol that a link speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// MQTT 3.1 (`MQIsdp`, level 3).
    Mqtt31,
    /// MQTT 3.1.1 (level 4).
    Mqtt311,
    /// MQTT 5.0 (level 5).
    Mqtt5,
    /// MQTT-SN 1.2.
    MqttSn12,
}

impl Dialect {
    /// Whether the client speaks MQTT-SN.
    pub const fn is_sn(self) -> bool {
        match self {
            Self::MqttSn12 => true,
            Self::Mqtt31 | Self::Mqtt311 | Self::Mqtt5 => false,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mqtt31 => "MQTT 3.1",
            Self::Mqtt311 => "MQTT 3.1.1",
            Self::Mqtt5 => "MQTT 5.0",
            Self::MqttSn12 => "MQTT-SN 1.2",
        })
    }
}

/// How much a link may be sent; all flow control is this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// Nothing: messages wait in the session's queue. A slow reader, a sleeping sensor.
    Paused,
    /// Any number of QoS 0 messages, and this many of QoS 1 and 2 not yet acknowledged.
    Window(u16),
    /// The same until nothing is left in queue and flight; then the link hears
    /// [`Outgoing::Drained`] and is paused.
    UntilDrained(u16),
}

/// What the octets of a publication are in.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// In somebody's receive buffer: copied once, into the message.
    Borrowed(&'a [u8]),
    /// In a buffer of its own: shared from here to every subscriber.
    Shared(&'a Bytes),
}

impl<'a> Payload<'a> {
    /// The octets.
    pub fn as_octets(self) -> &'a [u8] {
        match self {
            Self::Borrowed(octets) => octets,
            Self::Shared(octets) => octets,
        }
    }
}

/// What a link says.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// Begins the link; everything else comes after it.
    Connect(Connect<'a>),
    /// A publication.
    Publish(Publish<'a>),
    /// One step of the QoS 1 and 2 handshakes, in either direction.
    Ack(Ack),
    /// Asks for subscriptions.
    Subscribe(Subscribe<'a>),
    /// Gives subscriptions up.
    Unsubscribe(Unsubscribe<'a>),
    /// Changes the will of a live session (MQTT-SN only, SN-054).
    ChangeWill(WillChange<'a>),
    /// Asks for a sign of life.
    Ping,
    /// Ends the link in order.
    Disconnect(Disconnect),
}

/// The request that begins a link.
#[derive(Debug)]
pub struct Connect<'a> {
    /// The protocol of the link.
    pub dialect: Dialect,
    /// The client identifier; if empty the broker assigns one [MQTT-3.1.3-6].
    pub client_id: &'a str,
    /// Whether a session that exists is discarded first.
    pub clean_start: bool,
    /// Seconds for which the session outlives the link; 0: it ends with it; `u32::MAX`: for as long
    /// as the limits allow. The broker lowers it to its own limit.
    pub session_expiry_s: u32,
    /// Silence after which the link counts as lost, tolerance included; `None`: never.
    pub keep_alive: Option<Duration>,
    /// What becomes of the will.
    pub will: ConnectWill<'a>,
    /// Whether the will is published when another link takes the session over: always in MQTT
    /// [MQTT-3.1.4-2], as configured in MQTT-SN.
    pub will_on_takeover: bool,
    /// User name, where the dialect has one and the client gave it.
    pub user_name: Option<&'a str>,
    /// Password, likewise.
    pub password: Option<&'a [u8]>,
    /// Credit from the moment that [`Outgoing::ConnAck`] has been heard.
    pub credit: Credit,
    /// Bounds of the session's queue, chosen by the dialect.
    pub queue: QueueLimits,
    /// What the answers on this link wait for. With [`Durability::Memory`] they leave at once
    /// also where the broker's are gated; what they are for is recorded all the same.
    pub durability: Durability,
    /// Properties of the request.
    pub properties: Properties<'a>,
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing.
    Memory,
    /// [`Broker::committed`](crate::Broker::committed) with a number that covers what it promises.
    Gated,
}

/// What a CONNECT says about the will.
#[derive(Debug)]
pub enum ConnectWill<'a> {
    /// There is none, and a stored one is forgotten.
    None,
    /// A stored one is armed again (MQTT-SN, SN-051).
    Keep,
    /// This one, in place of a stored one.
    Set(Will<'a>),
}

/// A will as a client gives it.
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// What is published.
    pub payload: &'a [u8],
    /// How.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Seconds between the end of the link and the publication.
    pub delay_s: u32,
    /// Properties of the publication.
    pub properties: Properties<'a>,
}

/// One half of a will is replaced, or both are deleted (SN-054).
#[derive(Clone, Copy, Debug)]
pub enum WillChange<'a> {
    /// Topic, QoS and retain flag; the payload stays.
    Topic {
        /// Where the will is published from now on.
        topic: TopicName<'a>,
        /// How.
        qos: QoS,
        /// Whether it is retained.
        retain: bool,
    },
    /// The payload; topic and flags stay. Without a topic it waits for one.
    Payload(&'a [u8]),
    /// Topic and payload are forgotten.
    Delete,
}

/// What a session's queue may hold, and what happens at the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages, those in flight not counted. At least 1.
    pub messages_max: u32,
    /// Octets of topics, properties and payloads, those in flight not counted.
    pub bytes_max: u64,
    /// Messages of QoS 0 that may wait while the link is paused.
    pub paused_qos0_messages_max: u32,
    /// What happens when a message does not fit.
    pub overflow: Overflow,
}

/// What happens to a message that does not fit into a queue. Each case is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is dropped.
    RejectNew,
    /// The oldest of QoS 0 are dropped to make room, then the oldest.
    DropOldest,
    /// The client is disconnected; what is queued stays for its return.
    Disconnect,
}

/// A publication by a client.
#[derive(Debug)]
pub struct Publish<'a> {
    /// Where to.
    pub topic: TopicName<'a>,
    /// What.
    pub payload: Payload<'a>,
    /// How.
    pub qos: QoS,
    /// Whether it becomes the retained message of its topic.
    pub retain: bool,
    /// Whether the client says that it is a repetition.
    pub dup: bool,
    /// Its identifier at QoS 1 and 2.
    pub id: PacketId,
    /// Given back in the [`Ack`] of this publication; an MQTT-SN topic id, for example.
    pub token: u32,
    /// Properties of the publication.
    pub properties: Properties<'a>,
}

/// Which step of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// A QoS 1 message was received; also a refusal at any QoS.
    PubAck,
    /// A QoS 2 message was received.
    PubRec,
    /// The sender of a QoS 2 message knows that it was received.
    PubRel,
    /// The receiver of a QoS 2 message knows that the sender knows.
    PubComp,
}

/// One step of the QoS 1 and 2 handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which step.
    pub kind: AckKind,
    /// Of which message. Zero in the refusal of a QoS 0 message, which only MQTT-SN can say.
    pub id: PacketId,
    /// How it went.
    pub reason: ReasonCode,
    /// The token of the [`Publish`] that this answers; zero in what clients say.
    pub token: u32,
}

/// A request for subscriptions.
#[derive(Debug)]
pub struct Subscribe<'a> {
    /// Repeated in the answer.
    pub id: PacketId,
    /// Given back in the answer.
    pub token: u32,
    /// Identifier that deliveries of these subscriptions carry; 0: none.
    pub identifier: u32,
    /// At least one, but for MQTT 3.1, which does not ask for any.
    pub requests: &'a [SubscribeRequest<'a>],
}

/// One filter of a [`Subscribe`]. A filter that is well-formed but too deep for this server, or
/// that asks for what it does not serve, is refused by itself; the others are not affected.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeRequest<'a> {
    /// What to subscribe to.
    pub filter: TopicFilter<'a>,
    /// How.
    pub options: SubscriptionOptions,
}

/// How a subscription is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The highest QoS of deliveries.
    pub qos: QoS,
    /// Not what the client published itself [MQTT5-3.8.3-3].
    pub no_local: bool,
    /// Deliveries keep the RETAIN flag of the publication [MQTT5-3.3.1-13].
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// When a subscription is answered with retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE [MQTT5-3.3.1-9].
    #[default]
    Always = 0,
    /// Only if the subscription did not exist [MQTT5-3.3.1-10].
    IfNew = 1,
    /// Never [MQTT5-3.3.1-11].
    Never = 2,
}

/// Subscriptions are given up.
#[derive(Debug)]
pub struct Unsubscribe<'a> {
    /// Repeated in the answer.
    pub id: PacketId,
    /// Given back in the answer.
    pub token: u32,
    /// At least one, but for MQTT 3.1, which does not ask for any.
    pub filters: &'a [TopicFilter<'a>],
}

/// The orderly end of a link.
#[derive(Clone, Copy, Debug)]
pub struct Disconnect {
    /// Why; anything but [`ReasonCode::Success`] publishes the will.
    pub reason: ReasonCode,
    /// Whether the session keeps its will for a later CONNECT that arms it again (MQTT-SN, SN-088);
    /// in MQTT it is forgotten [MQTT-3.14.4-3].
    pub keep_will: bool,
    /// A new session expiry, where the dialect can say one.
    pub session_expiry_s: Option<u32>,
}

/// What a link hears.
#[derive(Debug)]
pub enum Outgoing<'a> {
    /// The answer to CONNECT; nothing comes before it.
    ConnAck(ConnAck<'a>),
    /// A message for the client.
    Publish(Delivery<'a>),
    /// One step of the QoS 1 and 2 handshakes, in either direction.
    Ack(Ack),
    /// The answer to SUBSCRIBE: one code per filter, in their order.
    SubAck {
        /// That of the request.
        id: PacketId,
        /// That of the request.
        token: u32,
        /// Granted QoS or refusal.
        reasons: &'a [ReasonCode],
    },
    /// The answer to UNSUBSCRIBE: one code per filter, in their order.
    UnsubAck {
        /// That of the request.
        id: PacketId,
        /// That of the request.
        token: u32,
        /// Whether there was such a subscription.
        reasons: &'a [ReasonCode],
    },
    /// The answer to [`Incoming::ChangeWill`].
    WillAck {
        /// Which half was changed; deleting counts as the topic.
        part: WillPart,
        /// How it went.
        reason: ReasonCode,
    },
    /// The answer to [`Incoming::Ping`].
    Pong,
    /// Nothing is left of what [`Credit::UntilDrained`] was given for.
    Drained,
}

impl Outgoing<'_> {
    /// The identifier of a message, which [`Flow::GiveUp`] wants if that is too large for its
    /// client; `None` for everything else.
    #[inline]
    pub const fn delivery_id(&self) -> Option<PacketId> {
        if let Self::Publish(delivery) = self { Some(delivery.id) } else { None }
    }
}

/// A half of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WillPart {
    /// Topic, QoS and retain flag.
    Topic,
    /// The payload.
    Payload,
}

/// The answer to CONNECT.
#[derive(Clone, Copy, Debug)]
pub struct ConnAck<'a> {
    /// Accepted or why not; after a refusal the link is closed.
    pub reason: ReasonCode,
    /// Whether a session was resumed.
    pub session_present: bool,
    /// The client identifier, if the client had left it to the broker.
    pub assigned_client_id: Option<&'a str>,
    /// Seconds for which the session will outlive the link.
    pub session_expiry_s: u32,
}

/// A message on its way to one client.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// What was published, shared by all who get it.
    pub message: &'a Message,
    /// Its identifier at QoS 1 and 2.
    pub id: PacketId,
    /// The lower of published and granted QoS.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// Whether it has been sent before.
    pub dup: bool,
    /// Identifiers of the subscriptions that matched.
    pub subscription_ids: &'a [u32],
    /// Seconds for which the message is still of use, if it said so.
    pub expiry_s: Option<u32>,
}

/// What the broker wants done. Borrowed from the broker until the next call.
#[derive(Debug)]
pub enum Output<'a> {
    /// Tell a link something.
    Send {
        /// Which; one that is gone is skipped.
        link: LinkId,
        /// What.
        packet: Outgoing<'a>,
    },
    /// The link is over for the broker: flush what was sent and close the transport.
    Close {
        /// Which; one that is gone is skipped.
        link: LinkId,
        /// Why.
        reason: ReasonCode,
    },
    /// A session has ended and everything that belongs to it may go. A link that it still had was
    /// closed before.
    SessionEnded {
        /// Whose.
        client_id: &'a str,
    },
    /// The broker has published its `$SYS` values; whoever has more of them adds theirs now with
    /// [`Broker::publish_sys`](crate::Broker::publish_sys).
    SysTick,
}

/// What a link thinks of the next message, after having been told one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the broker is to be told with `Broker::react`"]
pub enum Flow {
    /// It can take another.
    More,
    /// It cannot: it is paused until it asks again.
    Hold,
    /// It could not be told this one, because its dialect has no way to say it or the client no
    /// room for it. At QoS 1 and 2 the message with this identifier is given up.
    GiveUp(PacketId),
}
