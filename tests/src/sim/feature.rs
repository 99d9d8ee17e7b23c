//! What has to happen in the worlds of a test: a check that never had anything to look at has
//! proved nothing.

/// Where counts of a kind stand.
macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Something of MQTT 3.1 and 5.0 that a world can have in it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature {
            $($(#[doc = $doc])* $name,)*
        }

        impl Feature {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

features! {
    /// A connection of MQTT 3.1.
    Connected31,
    /// A connection of MQTT 5.0.
    Connected5,
    /// A client of 5.0 found its session.
    SessionResumed,
    /// It did not, as its time was over.
    SessionExpired,
    /// It found it in a process that began after it had gone.
    SessionOutlivedCrash,
    /// Its time was over when it came back to another process.
    SessionExpiredOverCrash,
    /// Clean Start with a session that outlives the connection.
    CleanStart,
    /// The session expiry was less than was asked for.
    ExpiryCut,
    /// DISCONNECT changed the session expiry.
    ExpiryChanged,
    /// A connection was told that another one has its session.
    TakenOver,
    /// DISCONNECT 0x04, which publishes the will.
    LeftWithWill,
    /// A will came after its delay.
    WillDelayed,
    /// A will came since its session was over before the delay.
    WillAtSessionEnd,
    /// A client came back before its will was due.
    WillCancelled,
    /// A message said what is left of its time.
    ExpiryTold,
    /// It did, and had waited for seconds.
    ExpiryLess,
    /// A message came that had been kept through a crash, and said what is left of its time.
    ExpiryOverCrash,
    /// A message was not sent to somebody, as its time was over.
    Expired,
    /// As many messages were under way to a client as it takes.
    ReceiveMaximum,
    /// As many from it as the gateway takes.
    OwnReceiveMaximum,
    /// A message was larger than a client takes, or may have been.
    TooLarge,
    /// A client used an alias for a topic.
    AliasUp,
    /// A client gave an alias another meaning.
    AliasMoved,
    /// The gateway used an alias for a topic.
    AliasDown,
    /// A message had a subscription identifier.
    Identifier,
    /// It had several.
    Identifiers,
    /// A client was not sent what it had published.
    NoLocal,
    /// A live message had RETAIN.
    RetainAsPublished,
    /// A SUBSCRIBE was to be answered without retained messages.
    RetainHandling,
    /// A message came to a member of a group.
    Shared,
    /// It came to another member than it was sent to first.
    HandedOn,
    /// A message had user properties.
    UserProperties,
    /// A message had the properties of one that was published before a crash.
    PropertiesOverCrash,
    /// A client refused a message.
    Refused,
    /// The gateway refused one.
    RefusedByGateway,
    /// The gateway said that nobody had subscribed.
    NobodySubscribed,
    /// The gateway has set the keep alive.
    ServerKeepAlive,
}

/// How often what happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally([u64; Feature::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Feature::ALL.len()])
    }
}

impl Tally {
    /// It happened.
    pub(crate) const fn note(&mut self, feature: Feature) {
        self.0[feature as usize] += 1;
    }

    pub(crate) const fn count(&self, feature: Feature) -> u64 {
        self.0[feature as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}
