//! Every bound of the core in one place.

use core::time::Duration;

pub use crate::api::Durability;
use crate::share::ShareStrategies;

/// How the broker is set up. Everything that would otherwise be asked of the machine is here.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// What it holds at most.
    pub limits: Limits,
    /// What an acknowledgement waits for. With [`Durability::Memory`] nothing is recorded: state
    /// lives in memory and is gone with the process.
    pub durability: Durability,
    /// Whether a payload that says it is text has to be UTF-8.
    pub validate_payload_format: bool,
    /// How members of shared subscriptions are chosen.
    pub shares: ShareStrategies,
    /// Time between two rounds of `$SYS` values; `None`: there are none.
    pub sys_interval: Option<Duration>,
    /// What `$SYS/broker/version` says.
    pub version: String,
    /// Seeds hashers and assigned client identifiers.
    pub seed: u64,
}

/// Bounds; what happens at each is said with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory in octets that messages, sessions, subscriptions and retained messages may hold
    /// together with what the gateway reports. At the bound new sessions, new retained topics and
    /// messages that would have to wait are refused.
    pub memory_bytes: u64,
    /// Sessions with and without a link. At the bound new ones are refused.
    pub sessions_max: usize,
    /// Subscriptions of one session. At the bound further filters are refused.
    pub filters_per_session_max: usize,
    /// Levels of a topic name or filter. Deeper ones are refused.
    pub topic_levels_max: usize,
    /// Octets of a client identifier. Longer ones are refused.
    pub client_id_bytes_max: usize,
    /// Topics with a retained message, those under `$SYS` not counted. At the bound messages to
    /// further topics are delivered and not retained.
    pub retained_messages_max: usize,
    /// Octets of all retained messages; the same happens.
    pub retained_bytes_max: u64,
    /// Seconds for which a session may outlive its link. Longer wishes are cut to it.
    pub session_expiry_max_s: u32,
    /// Messages of QoS 1 and 2 in flight to one client. Larger windows are cut to it.
    pub inflight_max: u16,
    /// Messages of QoS 2 that one client may have sent and not released. At the bound the link is
    /// closed.
    pub received_ids_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A Raspberry Pi of the smallest kind has twice that.
            memory_bytes: 256 << 20,
            sessions_max: 100_000,
            filters_per_session_max: 1_000,
            // Mosquitto allows 200, AWS IoT 7; nobody has shown a use for more than 20.
            topic_levels_max: 128,
            // MQTT guarantees 23; a UUID with a prefix has around 64.
            client_id_bytes_max: 256,
            retained_messages_max: 100_000,
            // A quarter of the memory.
            retained_bytes_max: 64 << 20,
            session_expiry_max_s: 7 * 86_400,
            inflight_max: 20,
            // MQTT.js sends without a window of its own; two octets each.
            received_ids_max: 65_535,
        }
    }
}

/// Work that one call of [`Broker::handle_timeout`](crate::Broker::handle_timeout) does at most, in
/// timers looked at: about a millisecond.
pub(crate) const TIMEOUT_STEPS: u32 = 512;

/// What it costs to find the place of a retained message among all others and to keep it, in
/// deliveries.
pub(crate) const RETAIN_WORK: u64 = 16;

/// Retained topics that one call of [`Broker::poll_output`](crate::Broker::poll_output) looks at.
pub(crate) const REPLAY_STEPS: u32 = 512;

/// Retained messages that are put into a session's queue ahead of their delivery.
pub(crate) const REPLAY_AHEAD: usize = 32;

/// Messages that one session is sent before the next has its turn.
pub(crate) const BURST_MAX: u32 = 32;

/// Wills published in one go.
pub(crate) const WILLS_PER_CALL: usize = 64;

/// Clients of which it is told that they cannot keep up with a publisher; the others have to be
/// found when it goes on.
pub const BEHIND_MAX: usize = 8;

/// How long a will waits for a subscriber that has no room, and how often it looks.
pub(crate) const WILL_PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const WILL_RETRY: Duration = Duration::from_millis(10);
