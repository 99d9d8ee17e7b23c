//! Counters: plain numbers, read by `$SYS` and whoever else asks.

/// What has happened since the start. Every message that did not reach somebody who was subscribed
/// is in exactly one of the `dropped_*` counters.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Octets received by all links; counted by whoever owns the transports.
    pub bytes_received: u64,
    /// Octets sent to all links, likewise.
    pub bytes_sent: u64,
    /// Packets received, likewise.
    pub packets_received: u64,
    /// Packets sent, likewise.
    pub packets_sent: u64,
    /// Connections accepted by a listener, likewise.
    pub sockets_opened: u64,

    /// CONNECT requests that were accepted.
    pub connects: u64,
    /// CONNECT requests that were refused.
    pub connects_refused: u64,
    /// Links that lost their session to another link.
    pub takeovers: u64,
    /// Links that were silent for too long.
    pub keep_alive_timeouts: u64,
    /// Sessions that ended because their time was up.
    pub sessions_expired: u64,
    /// Wills published.
    pub wills_published: u64,

    /// Publications received.
    pub publish_received: u64,
    /// Octets of their payloads.
    pub publish_bytes_received: u64,
    /// Publications sent, repetitions included.
    pub publish_sent: u64,
    /// Octets of their payloads.
    pub publish_bytes_sent: u64,
    /// Publications of QoS 2 that were received again and not delivered again.
    pub publish_repeated: u64,
    /// Publications to topics of the server, or deeper than the limit, that were refused.
    pub publish_refused: u64,
    /// Publications refused because memory is used up.
    pub publish_refused_memory: u64,
    /// Publications refused because nothing can be made durable.
    pub publish_refused_store: u64,
    /// Links that were closed as their answers could not wait for the disk any longer.
    pub cut_off_store: u64,
    /// Retained messages whose time was up.
    pub retained_expired: u64,
    /// Retained messages that were delivered and not retained, because a bound was reached.
    pub retain_refused: u64,

    /// Messages that did not fit into a session's queue, or made room in it for newer ones.
    pub dropped_queue_full: u64,
    /// Messages of QoS 0 for a session without a link.
    pub dropped_offline_qos0: u64,
    /// Messages that were of no more use when their turn came.
    pub dropped_expired: u64,
    /// Messages that the client refused or never acknowledged.
    pub dropped_unacknowledged: u64,
    /// Messages that a dialect could not say to its client: too large, or no topic id.
    pub dropped_unsendable: u64,
    /// Messages of shared subscriptions that no member could take.
    pub dropped_unshared: u64,
    /// Messages of shared subscriptions that were handed on from one member to another. None of
    /// them is lost.
    pub handed_on: u64,
    /// Messages that waited in a session when it ended.
    pub dropped_session_end: u64,

    /// Acknowledgements that fit to nothing in flight.
    pub acks_unexpected: u64,
    /// Inputs for a link that is not connected.
    pub unknown_link: u64,
    /// Subscriptions refused because of a bound.
    pub subscribe_refused: u64,
    /// Retained topics that were looked at for new subscriptions.
    pub replay_steps: u64,
    /// The most that any one client has used of what each of them has a bound for.
    pub high: HighWater,
}

/// The most that any one client has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighWater {
    /// Messages in its queue.
    pub queue_messages: usize,
    /// Octets in its queue.
    pub queue_bytes: u64,
    /// Messages in flight to it.
    pub inflight: usize,
    /// Messages of QoS 2 from it that were not released.
    pub received_ids: usize,
    /// Subscriptions.
    pub filters: usize,
    /// Seconds for which its session may outlive its link.
    pub session_expiry_s: u32,
}

impl Stats {
    /// Messages that did not reach somebody who was subscribed.
    pub const fn dropped(&self) -> u64 {
        self.dropped_queue_full
            + self.dropped_offline_qos0
            + self.dropped_expired
            + self.dropped_unacknowledged
            + self.dropped_unsendable
            + self.dropped_session_end
            + self.dropped_unshared
    }
}

/// How much of the bounded things is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sessions with a link.
    pub sessions_connected: usize,
    /// Sessions with and without.
    pub sessions: usize,
    /// The most sessions that were connected at once.
    pub sessions_connected_max: usize,
    /// Subscriptions of all sessions that get every message.
    pub subscriptions: usize,
    /// Of these, subscriptions that share their messages with others.
    pub shared_subscriptions: usize,
    /// Topics with a retained message, `$SYS` included.
    pub retained: usize,
    /// Octets of retained messages, `$SYS` not included.
    pub retained_bytes: u64,
    /// Messages that are stored, each once.
    pub messages: usize,
    /// Octets of these.
    pub message_bytes: u64,
    /// Messages that wait in the queues of all sessions.
    pub queued: u64,
    /// Answers that wait until what they promise is durable.
    pub answers_waiting: usize,
    /// An estimate of all memory held, in octets.
    pub memory_bytes: u64,
}
