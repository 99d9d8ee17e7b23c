//! Sessions: what the broker knows about one client, with or without a link.
//!
//! A session belongs to a client identifier [MQTT-3.1.3-2]. It outlives its links for as long as
//! its expiry says, and collects messages meanwhile.

mod inflight;
mod pace;
mod queue;
mod received;

pub(crate) use inflight::{InFlight, Resend, Stage, Window};
pub(crate) use pace::Pace;
pub(crate) use queue::{Pushed, Queue, Queued};
pub(crate) use received::ReceivedIds;

use core::time::Duration;

use crate::api::{Credit, Dialect, Durability, LinkId, Lsn, QoS, QueueLimits, SubscriptionOptions};
use crate::limits::REPLAY_AHEAD;
use crate::message::MessageStore;
use crate::record::NO_SESSION;
use crate::retained::Cursor;
use crate::share::{Ability, ShareId};
use crate::time::{Instant, UnixMillis};
use crate::timer::TimerId;
use crate::topic::TopicBuf;
use crate::trie::NodeId;

/// One client's state.
#[derive(Debug)]
pub(crate) struct Session {
    /// The number of its record; [`NO_SESSION`]: it ends with the process.
    pub(crate) number: u32,
    pub(crate) client_id: Box<str>,
    pub(crate) dialect: Dialect,
    /// The link that the client has at present.
    pub(crate) link: Option<Link>,
    /// Seconds for which it outlives its link.
    pub(crate) expiry_s: u32,
    pub(crate) expiry_timer: Option<TimerId>,
    /// When its last link ended; of no meaning while there is one.
    pub(crate) gone_since: UnixMillis,
    pub(crate) queue: Queue,
    pub(crate) window: Window,
    pub(crate) received: ReceivedIds,
    /// Where its subscriptions hang in the trie, each with the number of its record.
    pub(crate) subscriptions: Vec<(NodeId, u64)>,
    /// Groups that it takes part in, likewise.
    pub(crate) shares: Vec<(ShareId, u64)>,
    /// Retained messages that are still to be looked up for new subscriptions, oldest first.
    pub(crate) replays: Vec<Replay>,
    /// Boxed, as most sessions have none.
    pub(crate) will: Option<Box<StoredWill>>,
    /// Messages that did not fit into its queue.
    pub(crate) dropped: u32,
    /// Whether `$SYS` has to tell of them, or has told.
    pub(crate) is_dropper: bool,
    /// Set while it stands in the broker's list of sessions that have something to send.
    pub(crate) is_ready: bool,
    /// The publication that was last routed here, and where its target stands, so that overlapping
    /// subscriptions get one copy.
    pub(crate) routed: (u64, u32),
}

/// A link as its session sees it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) credit: Credit,
    /// Nothing is delivered before the answer to CONNECT has left [MQTT-3.2.0-1].
    pub(crate) greeted: bool,
    /// Answers to SUBSCRIBE that have not left. Nothing is delivered before them either: what
    /// comes for a new subscription comes behind its answer, which may have to tell how the
    /// message will be named (SN-023).
    pub(crate) subscribing: u32,
    /// Silence after which it counts as lost.
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) keep_alive_timer: Option<TimerId>,
    pub(crate) last_seen: Instant,
    /// How fast it acknowledges.
    pub(crate) pace: Pace,
    /// Whether the will is published when another link takes the session over.
    pub(crate) will_on_takeover: bool,
    /// What its answers wait for.
    pub(crate) durability: Durability,
    /// What the last of its answers that had to wait waited for.
    pub(crate) last_answer: Lsn,
}

impl Link {
    /// Whether no answer is due that has to leave before the next message.
    const fn is_open(&self) -> bool {
        self.greeted && self.subscribing == 0
    }
}

/// Retained messages that are being looked up for one subscription, in slices.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) filter: Box<str>,
    pub(crate) cursor: Cursor,
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: u32,
    /// Messages from this number on were accepted after the subscription and came to it live.
    pub(crate) before: u64,
    /// The number of its record, which is that of the subscription; 0: it has none.
    pub(crate) number: u64,
}

/// A will that waits for the end of its link.
#[derive(Debug)]
pub(crate) struct StoredWill {
    /// `None`: a payload that waits for a topic (SN-054).
    pub(crate) topic: Option<TopicBuf>,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    /// As the client gave them, in their order [MQTT5-3.1.3-10].
    pub(crate) properties: Vec<u8>,
    /// Whether the end of the link publishes it. A will that was published, or that an orderly end
    /// left behind, waits for the CONNECT that arms it again (SN-051, SN-088).
    pub(crate) armed: bool,
    /// Runs while the will is delayed, until the deadline.
    pub(crate) timer: Option<TimerId>,
    pub(crate) deadline: UnixMillis,
    /// The number of its record; 0: it has none.
    pub(crate) number: u64,
}

impl StoredWill {
    pub(crate) fn memory(&self) -> usize {
        let topic = self.topic.as_ref().map_or(0, |topic| topic.as_name().as_str().len());
        size_of::<Self>() + topic + self.payload.capacity() + self.properties.capacity()
    }
}

impl Session {
    pub(crate) fn new(client_id: &str, dialect: Dialect, queue: QueueLimits) -> Self {
        Self {
            number: NO_SESSION,
            client_id: client_id.into(),
            dialect,
            link: None,
            expiry_s: 0,
            expiry_timer: None,
            gone_since: UnixMillis(0),
            queue: Queue::new(queue),
            window: Window::default(),
            received: ReceivedIds::default(),
            subscriptions: Vec::new(),
            shares: Vec::new(),
            replays: Vec::new(),
            will: None,
            dropped: 0,
            is_dropper: false,
            is_ready: false,
            routed: (0, 0),
        }
    }

    /// Whether the link is there and may be sent messages now.
    pub(crate) fn has_credit(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_open() && link.credit != Credit::Paused)
    }

    /// Whether the link is there, without credit: a sleeping sensor, for which everything waits
    /// (SN-095), or a slow reader.
    pub(crate) fn is_paused(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.credit == Credit::Paused)
    }

    /// Whether its client does all that it can and will be done with a nearly full queue soon:
    /// whoever fills it might wait for that. Sensors take what their radio carries.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        !self.is_ready && self.queue.is_crowded() && self.is_at_work(now)
    }

    /// Whether its client does all that it can.
    pub(crate) fn is_at_work(&self, now: Instant) -> bool {
        let is_at_work = |link: &Link| link.is_open() && link.pace.is_at_work(now);
        !self.dialect.is_sn() && self.link.as_ref().is_some_and(is_at_work)
    }

    /// How well it could take a message of this size from a group.
    pub(crate) fn ability(&self, size: u64, qos: QoS) -> Ability {
        let is_paused = self.is_paused();
        let Some(link) = &self.link else {
            let waits = qos > QoS::AtMostOnce && self.queue.has_room(size, qos, false);
            return if waits { Ability::Later } else { Ability::None };
        };
        if !self.queue.has_room(size, qos, is_paused) {
            return Ability::None;
        }
        let window = match link.credit {
            Credit::Paused => return Ability::Later,
            Credit::Window(window) | Credit::UntilDrained(window) => usize::from(window),
        };
        let is_free = self.queue.front().is_none()
            && self.replays.is_empty()
            && (qos == QoS::AtMostOnce || self.window.on_air() < window);
        if is_free { Ability::Now } else { Ability::Soon }
    }

    /// Takes the oldest message out of the queue, if it may go now.
    pub(crate) fn take_queued(&mut self, store: &MessageStore) -> Option<Queued> {
        let window = match self.link.as_ref()?.credit {
            Credit::Paused => return None,
            Credit::Window(window) | Credit::UntilDrained(window) => usize::from(window),
        };
        let entry = self.queue.front()?;
        let must_wait = match entry.qos {
            QoS::AtMostOnce => self.window.holds_back(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.window.on_air() >= window,
        };
        if must_wait {
            return None;
        }
        // What was accepted after a subscription comes behind all that was retained before it, or
        // an old value would take the place of a new one [MQTT-4.6.0-6]. While no more is looked up
        // there is nothing to wait for: some of that is in front anyway.
        if let Some(replay) = self.replays.first()
            && self.queue.replayed() < REPLAY_AHEAD
            && store.get(entry.message).sequence() >= replay.before
        {
            return None;
        }
        self.queue.pop(store)
    }

    /// Whether there is something that could be sent, or looked up to be sent, right now. The quota
    /// begins with the window of the link [MQTT5-4.9.0-1]; each message of QoS 1 and 2 takes one
    /// until its handshake is over [MQTT5-4.9.0-2].
    pub(crate) fn has_work(&self) -> bool {
        let Some(link) = &self.link else { return false };
        let window = match link.credit {
            Credit::Paused => return false,
            Credit::Window(window) | Credit::UntilDrained(window) => window,
        };
        if !link.is_open() {
            return false;
        }
        let has_room = self.window.on_air() < usize::from(window);
        if self.window.has_resends() {
            return has_room;
        }
        let can_replay = !self.replays.is_empty() && self.queue.replayed() < REPLAY_AHEAD;
        match self.queue.front() {
            Some(entry) if entry.qos == QoS::AtMostOnce => can_replay || !self.window.holds_back(),
            Some(_) => can_replay || has_room,
            None if can_replay => true,
            None => matches!(link.credit, Credit::UntilDrained(_)) && self.window.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred thousand sessions are to fit into a few dozen MiB. What its records
    /// need, when its link ended and the number of what was sent last among it, is 24 octets, what
    /// its last answer waits for 8, and how fast its client takes what it is sent 16.
    #[test]
    fn an_idle_session_is_small() {
        let size = size_of::<Session>();
        assert!(size <= 392, "{size} octets");
    }

    fn session(credit: Credit, greeted: bool, subscribing: u32) -> Session {
        let limits = QueueLimits {
            messages_max: 10,
            bytes_max: 1_000,
            paused_qos0_messages_max: 10,
            overflow: crate::api::Overflow::RejectNew,
        };
        let mut session = Session::new("c", Dialect::Mqtt5, limits);
        session.link = Some(Link {
            id: LinkId(1),
            credit,
            greeted,
            subscribing,
            keep_alive: None,
            keep_alive_timer: None,
            last_seen: Instant::default(),
            pace: Pace::default(),
            will_on_takeover: true,
            durability: Durability::Memory,
            last_answer: Lsn(0),
        });
        session
    }

    /// [MQTT-3.2.0-1], (SN-023), (SN-095)
    #[test]
    fn only_a_greeted_link_with_credit_and_no_answer_due_may_be_sent_messages() {
        for (credit, greeted, subscribing, expect) in [
            (Credit::Window(1), true, 0, true),
            (Credit::UntilDrained(1), true, 0, true),
            (Credit::Paused, true, 0, false),
            (Credit::Window(1), false, 0, false),
            (Credit::Window(1), true, 1, false),
            (Credit::Paused, false, 1, false),
        ] {
            let session = session(credit, greeted, subscribing);
            assert_eq!(session.has_credit(), expect, "{credit:?} {greeted} {subscribing}");
        }
    }

    /// Who has nothing to send costs no turn; only the end of a sleeper's visit has to be told.
    #[test]
    fn an_empty_session_has_work_only_if_it_is_being_drained() {
        assert!(!session(Credit::Window(1), true, 0).has_work());
        assert!(!session(Credit::Paused, true, 0).has_work());
        assert!(session(Credit::UntilDrained(1), true, 0).has_work());
    }

    #[test]
    fn a_will_counts_with_its_topic_its_payload_and_its_properties() {
        let mut will = StoredWill::empty();
        let empty = will.memory();
        assert_eq!(empty, size_of::<StoredWill>());
        will.payload = Vec::with_capacity(30);
        will.properties = Vec::with_capacity(400);
        assert_eq!(will.memory(), empty + 430);
        will.topic = crate::topic::TopicName::new("wills/c").ok().map(TopicBuf::from);
        assert_eq!(will.memory(), empty + 437);
    }
}
