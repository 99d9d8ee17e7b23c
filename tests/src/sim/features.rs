//! What happened in a world, counted, so that nobody relies on what never happens.

use std::fmt;

macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident: $text:literal,)*) => {
        /// Something that the worlds are meant to contain.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature {
            $($(#[doc = $doc])* $name,)*
        }

        impl Feature {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

features! {
    /// WILLTOPICRESP for another topic.
    WillTopicChanged: "will topics changed",
    /// WILLTOPICRESP for the empty WILLTOPICUPD.
    WillDeleted: "wills deleted",
    /// WILLMSGRESP.
    WillMessageChanged: "will messages changed",
    /// A will was published as an update has left it.
    ChangedWillPublished: "changed wills published",
    /// CONNACK for a CONNECT that keeps the will.
    WillKept: "wills kept",
    /// A node behind a forwarder said something.
    NodeHeard: "messages of nodes",
    /// A forwarder has another address.
    ForwarderMoved: "forwarders moved",
    /// A sensor went behind a forwarder, or came out from behind it.
    Roamed: "sensors roamed",
    /// A forwarder has as many nodes as it may, and wants more.
    ForwarderFull: "full forwarders",
    /// ADVERTISE left.
    Advertised: "advertisements",
    /// GWINFO left for the group.
    GroupAnswered: "searches through the group answered",
    /// GWINFO left for one sensor.
    AskerAnswered: "searches of one answered",
    /// GWINFO left for a node.
    NodeAnswered: "searches of nodes answered",
    /// GWINFO left for somebody who means no good.
    StrangerAnswered: "searches of strangers answered",
    /// PUBLISH of QoS −1 from a node.
    NodeUnconnected: "publications of nodes without a connection",
    /// A device connects with the id of another.
    TwinCame: "twins",
    /// It was refused.
    TwinRefused: "refused",
    /// It has got the session, from an address of its own.
    TakenByAddress: "sessions taken by address",
    /// The same through a forwarder.
    TakenByNode: "by node",
    /// The same over TCP.
    TakenByStream: "by stream",
    /// REGISTER for a name whose id is known.
    RegisteredAgain: "topics registered again",
    /// DISCONNECT with another duration from one that sleeps.
    SleptOn: "sleeps renewed",
    /// PUBLISH of one that sleeps.
    PublishedAsleep: "publications in sleep",
    /// PUBACK told the gateway to try again.
    PutOff: "messages put off",
    /// PINGREQ of one that is active.
    KeptAlive: "pings of active sensors",
    /// CONNACK told a sensor to try again.
    Congested: "sensors told to wait",
    /// SUBACK.
    SubscribedByName: "subscriptions by name",
    /// SUBACK for a predefined topic id.
    SubscribedById: "by id",
    /// SUBACK for a short topic name.
    SubscribedByShortName: "by short name",
    /// UNSUBACK.
    UnsubscribedByName: "given up by name",
    /// UNSUBACK for a predefined topic id.
    UnsubscribedById: "by id",
    /// UNSUBACK for a short topic name.
    UnsubscribedByShortName: "by short name",
    /// A connection of MQTT 3.1.
    Connected31: "connections of 3.1",
    /// A connection of MQTT 5.0.
    Connected5: "of 5.0",
    /// A client of 5.0 found its session.
    SessionResumed: "sessions found",
    /// It did not, as its time was over.
    SessionExpired: "over",
    /// It found it in a process that began after it had gone.
    SessionOutlivedCrash: "found after a crash",
    /// Its time was over when it came back to another process.
    SessionExpiredOverCrash: "over after a crash",
    /// Clean Start with a session that outlives the connection.
    CleanStart: "clean starts of kept sessions",
    /// The session expiry was less than was asked for.
    ExpiryCut: "session expiries cut",
    /// DISCONNECT changed the session expiry.
    ExpiryChanged: "changed at the end",
    /// A connection was told that another one has its session.
    TakenOver: "told of a take-over",
    /// DISCONNECT 0x04, which publishes the will.
    LeftWithWill: "left with their will",
    /// A will came after its delay.
    WillDelayed: "wills after their delay",
    /// A will came since its session was over before the delay.
    WillAtSessionEnd: "at the end of their session",
    /// A client came back before its will was due.
    WillCancelled: "cancelled by a return",
    /// A message said what is left of its time.
    ExpiryTold: "messages with an expiry",
    /// It did, and had waited for seconds.
    ExpiryLess: "that had waited",
    /// A message came that had been kept through a crash, and said what is left of its time.
    ExpiryOverCrash: "that were kept through a crash",
    /// A message was not sent to somebody, as its time was over.
    Expired: "expired unsent",
    /// As many messages were under way to a client as it takes.
    ReceiveMaximum: "full receive maxima of clients",
    /// As many from it as the gateway takes.
    OwnReceiveMaximum: "of the gateway",
    /// A message was larger than a client takes, or may have been.
    TooLarge: "messages too large for a client",
    /// A client used an alias for a topic.
    AliasUp: "aliases of clients",
    /// A client gave an alias another meaning.
    AliasMoved: "moved",
    /// The gateway used an alias for a topic.
    AliasDown: "aliases of the gateway",
    /// A message had a subscription identifier.
    Identifier: "messages with an identifier",
    /// It had several.
    Identifiers: "with several",
    /// A client was not sent what it had published.
    NoLocal: "kept from their publisher",
    /// A live message had RETAIN.
    RetainAsPublished: "live with RETAIN",
    /// A SUBSCRIBE was to be answered without retained messages.
    RetainHandling: "subscriptions without replay",
    /// A message came to a member of a group.
    Shared: "messages for a group",
    /// It came to another member than it was sent to first.
    HandedOn: "handed on",
    /// A message had user properties.
    UserProperties: "with user properties",
    /// A message had the properties of one that was published before a crash.
    PropertiesOverCrash: "with those from before a crash",
    /// A client refused a message.
    Refused: "refused by clients",
    /// The gateway refused one.
    RefusedByGateway: "by the gateway",
    /// The gateway said that nobody had subscribed.
    NobodySubscribed: "publications for nobody",
    /// The gateway has set the keep alive.
    ServerKeepAlive: "keep alives of the gateway",
}

/// How often each was there.
#[derive(Clone, Debug)]
pub(crate) struct Features([u64; Feature::ALL.len()]);

impl Default for Features {
    fn default() -> Self {
        Self([0; Feature::ALL.len()])
    }
}

impl Features {
    pub(crate) const fn count(&mut self, feature: Feature) {
        self.0[feature as usize] += 1;
    }

    pub(crate) const fn of(&self, feature: Feature) -> u64 {
        self.0[feature as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

impl fmt::Display for Features {
    /// Four to a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, feature) in Feature::ALL.iter().enumerate() {
            let before = match place {
                0 => "",
                _ if place % 4 == 0 => ",\n                   ",
                _ => ", ",
            };
            write!(f, "{before}{} {}", self.of(*feature), feature.text())?;
        }
        Ok(())
    }
}
