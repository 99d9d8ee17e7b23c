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
