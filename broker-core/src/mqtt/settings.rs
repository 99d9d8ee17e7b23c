//! What a listener allows its clients.

use core::num::NonZeroU16;

use super::version::Versions;
use crate::api::{Overflow, QoS, QueueLimits};
use crate::topic::TOPIC_BYTES_MAX;

/// What clients are served, and may be left without. MQTT 5.0 is told in CONNACK what is missing,
/// and who asks for it all the same is disconnected with the reason. Older versions have no way to
/// be told; their connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The highest QoS of publications, of wills and of what is granted to subscriptions
    /// [MQTT5-3.2.2-9].
    pub maximum_qos: QoS,
    /// RETAIN in publications and wills.
    pub retain: bool,
    /// Filters with wildcards.
    pub wildcards: bool,
    /// Identifiers of subscriptions.
    pub subscription_ids: bool,
    /// Shared subscriptions.
    pub shared: bool,
}

impl Features {
    /// Everything.
    pub const ALL: Self = Self {
        maximum_qos: QoS::ExactlyOnce,
        retain: true,
        wildcards: true,
        subscription_ids: true,
        shared: true,
    };
}

/// Another server, to which all clients are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Whether it is for good.
    pub is_permanent: bool,
    /// Its name as clients of MQTT 5.0 are told it: `host` or `host:port`, several with spaces
    /// between them. Empty: they have to know. At most 1,024 octets of it are told.
    pub server: String,
}

/// What a listener allows its clients. A connection keeps what it was promised at CONNECT: settings
/// that change meanwhile are for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which versions are served.
    pub versions: Versions,
    /// Octets of a packet. A larger one ends the connection before it is buffered [MQTT5-3.2.2-15].
    pub packet_bytes_max: u32,
    /// Octets of a CONNECT; nobody has said yet who is there.
    pub connect_packet_bytes_max: u32,
    /// Octets of a client identifier. A longer one is refused [MQTT-3.1.3-9]; 23 are guaranteed
    /// [MQTT-3.1.3-5], [MQTT5-3.1.3-5].
    pub client_id_bytes_max: usize,
    /// Messages of QoS 1 and 2 that a client is sent before it has acknowledged the first; at least
    /// 1. A client of MQTT 5.0 may ask for fewer [MQTT5-3.3.4-9].
    pub window: u16,
    /// Messages of QoS 1 and 2 that a client of MQTT 5.0 may have sent without an acknowledgement;
    /// at least 1. One more ends the connection [MQTT5-3.3.4-7].
    pub receive_maximum: u16,
    /// Topic aliases of a client of MQTT 5.0; 0: it may have none [MQTT5-3.3.2-9].
    pub topic_alias_maximum: u16,
    /// Topic aliases that are used towards a client of MQTT 5.0, if it takes as many
    /// [MQTT5-3.1.2-26]; 0: none.
    pub outbound_alias_maximum: u16,
    /// Octets of all topic names behind the aliases of a connection, in each direction. If a client
    /// sets more that ends the connection; what we send goes without an alias then.
    pub topic_alias_bytes_max: usize,
    /// The longest keep alive in seconds that a client of MQTT 5.0 may have; `None`: any, and none
    /// at all. Older clients cannot be told, so theirs is what they say.
    pub keep_alive_max_s: Option<NonZeroU16>,
    /// Seconds for which sessions of clients with CleanSession 0 (3.1 and 3.1.1) outlive their
    /// connection; `u32::MAX`: as long as the broker allows.
    pub session_expiry_s: u32,
    /// What is served.
    pub features: Features,
    /// What clients of MQTT 5.0 that ask for response information are told: this, their client
    /// identifier and a slash. They may begin their response topics with it. `None`: nothing
    /// [MQTT5-3.1.2-28].
    pub response_topics: Option<String>,
    /// Where all clients are sent instead of being served.
    pub redirect: Option<Redirect>,
    /// Bounds of a session's queue.
    pub queue: QueueLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            versions: Versions::ALL,
            packet_bytes_max: 1 << 20,
            // Client identifier, user name, a token as password, and a will of some size.
            connect_packet_bytes_max: 16 << 10,
            client_id_bytes_max: 256,
            window: 20,
            receive_maximum: 100,
            topic_alias_maximum: 10,
            outbound_alias_maximum: 32,
            // One topic of the greatest length, or all ten of any length seen in practice.
            topic_alias_bytes_max: TOPIC_BYTES_MAX,
            keep_alive_max_s: None,
            session_expiry_s: u32::MAX,
            features: Features::ALL,
            response_topics: None,
            redirect: None,
            queue: QueueLimits {
                messages_max: 1_000,
                bytes_max: 1 << 20,
                paused_qos0_messages_max: 1_000,
                overflow: Overflow::RejectNew,
            },
        }
    }
}
