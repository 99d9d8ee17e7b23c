//! From a message to the queues of the sessions that it goes to.

use super::Broker;
use super::expire::Timer;
use super::record::is_kept;
use super::share::Unable;
use crate::api::{Publish, QoS};
use crate::key::Key;
use crate::limits::{BEHIND_MAX, REPLAY_AHEAD, RETAIN_WORK};
use crate::message::{MessageRef, NewMessage, Origin};
use crate::property::{Properties, Property};
use crate::reason::ReasonCode;
use crate::record::NO_SESSION;
use crate::session::{Pushed, Queued, Session};
use crate::share::ShareId;
use crate::subscription_ids::IdSet;
use crate::time::Instant;
use crate::topic::{self, TopicName};
use crate::trie::{Found, Subscriber};

/// A session that a publication goes to, with what its overlapping subscriptions add up to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) session: Key<Session>,
    pub(super) qos: QoS,
    pub(super) retain_as_published: bool,
    pub(super) ids: IdSet,
    /// The group that the session was chosen for.
    pub(super) share: ShareId,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routed {
    /// It was accepted.
    Accepted,
    /// It was accepted, and nobody is subscribed.
    Unmatched,
    /// Somebody is subscribed, and none of them had room.
    Full,
    /// Somebody would have to wait for it and there is no memory; nobody gets it.
    OutOfMemory,
    /// It must not be published.
    Refused(ReasonCode),
}

impl Broker {
    /// Routes what a client publishes, or says why not.
    pub(super) fn accept(&mut self, publish: &Publish<'_>, origin: Origin) -> Routed {
        let levels_max = self.config.limits.topic_levels_max;
        if publish.topic.is_reserved() {
            // The server's own topics are not for clients [MQTT-4.7.2-1].
            self.stats.publish_refused += 1;
            return Routed::Refused(ReasonCode::NotAuthorized);
        }
        if topic::is_deeper_than(publish.topic.as_str(), levels_max) {
            self.stats.publish_refused += 1;
            return Routed::Refused(ReasonCode::TopicNameInvalid);
        }
        let payload = publish.payload.as_octets();
        if self.config.validate_payload_format && !is_in_format(publish.properties, payload) {
            self.stats.publish_refused += 1;
            return Routed::Refused(ReasonCode::PayloadFormatInvalid);
        }
        let routed = self.route(&NewMessage {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            origin,
            expires: self.expires(publish.properties),
            properties: publish.properties,
        });
        self.stats.publish_refused_memory += u64::from(routed == Routed::OutOfMemory);
        routed
    }

    /// Stores a message and puts it into the queue of every session that subscribed, and of one
    /// session for every group.
    pub(super) fn route(&mut self, new: &NewMessage<'_>) -> Routed {
        self.match_targets(new);
        let groups = self.choose_members(new);
        let sessions = self.targets.len();
        let is_own = new.topic.is_reserved();
        if !is_own && self.is_out_of_memory() && self.must_wait() {
            self.targets.clear();
            return Routed::OutOfMemory;
        }
        if sessions == 0 && !new.retain {
            return match groups {
                Unable { members_away: 0, full: 0 } => Routed::Unmatched,
                Unable { full: 0, .. } => Routed::Accepted,
                Unable { .. } => Routed::Full,
            };
        }
        let message = self.messages.insert(new);
        let targets = core::mem::take(&mut self.targets);
        let (mut rejected, mut away) = (0, 0);
        for target in &targets {
            // Established subscriptions see no flag [MQTT-3.3.1-9], unless they asked for it
            // [MQTT5-3.3.1-13].
            let retain = new.retain && target.retain_as_published;
            // The lower of published and granted [MQTT-3.8.4-6].
            let qos = new.qos.min(target.qos);
            let Target { ids, share, .. } = *target;
            let (number, is_replayed) = (0, false);
            let entry = Queued { number, message, ids, share, qos, retain, is_replayed };
            match self.enqueue(target.session, entry) {
                Pushed::Queued => {}
                Pushed::Away => away += 1,
                Pushed::Rejected => rejected += 1,
                Pushed::RejectedAndDisconnect => {
                    rejected += 1;
                    self.overflowed.push(target.session);
                }
            }
        }
        self.targets = targets;
        self.targets.clear();
        // Without the flag what is retained stays as it is [MQTT-3.3.1-12].
        if new.retain {
            self.retain(new.topic, message, new.payload.as_octets().is_empty());
        }
        self.messages.release(message);
        // Only now, as it may end sessions that were targets.
        while let Some(key) = self.overflowed.pop() {
            self.cut_off(key, ReasonCode::QuotaExceeded);
        }
        let full = rejected + groups.full;
        if sessions + groups.members_away + groups.full == 0 {
            Routed::Unmatched
        } else if full > 0 && rejected + away == sessions && !new.retain {
            Routed::Full
        } else {
            Routed::Accepted
        }
    }

    /// Whether the queues of those who would get a message to `topic`, and are at work, are nearly
    /// full.
    pub(super) fn is_crowded(&mut self, topic: TopicName<'_>) -> bool {
        let sessions = &self.sessions;
        let mut crowded = false;
        self.trie.matches(topic, |found| {
            if let Found::Subscriber(subscriber) = found {
                let session = sessions.get(subscriber.session).expect("ended ones unsubscribe");
                crowded |= session.has_credit() && session.queue.is_crowded();
            }
        });
        crowded
    }

    /// Puts a message that the caller keeps into one session's queue, or counts why not.
    pub(super) fn enqueue(&mut self, key: Key<Session>, mut entry: Queued) -> Pushed {
        self.work += 1;
        let now = self.now.mono;
        let session = self.sessions.get_mut(key).expect("the trie knows sessions only");
        // A session without a link collects QoS 1 and 2 [MQTT-3.1.2-5].
        if session.link.is_none() && entry.qos == QoS::AtMostOnce {
            self.stats.dropped_offline_qos0 += 1;
            self.id_sets.release(entry.ids);
            return Pushed::Away;
        }
        if session.number != NO_SESSION && is_kept(&entry) {
            entry.number = self.recorder.number();
        }
        let paused = session.is_paused();
        if session.queue.front().is_none()
            && session.window.is_empty()
            && let Some(link) = &mut session.link
        {
            link.pace.begin(now);
        }
        let pushed = session.queue.push(entry, paused, &self.messages, &mut self.dropped);
        if pushed == Pushed::Queued {
            let high = &mut self.stats.high;
            high.queue_messages = high.queue_messages.max(session.queue.len_bounded());
            high.queue_bytes = high.queue_bytes.max(session.queue.bytes());
            if !session.is_ready && session.has_work() {
                session.is_ready = true;
                self.ready.join(key);
            }
            self.crowded |= session.is_ready && session.queue.is_crowded();
            if session.is_behind(now)
                && let Some(link) = &session.link
                && self.behind.len() < BEHIND_MAX
                && !self.behind.contains(&link.id)
            {
                self.behind.push(link.id);
            }
            self.queued += 1;
            self.messages.keep(entry.message);
            self.record_queued(key, &entry, None, true);
            self.shares.given(entry.share, key);
        } else {
            self.id_sets.release(entry.ids);
            self.count_dropped(key);
        }
        while let Some(dropped) = self.dropped.pop() {
            self.count_dropped(key);
            self.discard(key, dropped);
        }
        pushed
    }

    /// A message did not fit into a session's queue, or made room in it for another.
    fn count_dropped(&mut self, key: Key<Session>) {
        self.stats.dropped_queue_full += 1;
        let session = self.session(key);
        session.dropped = session.dropped.saturating_add(1);
        if !core::mem::replace(&mut session.is_dropper, true) {
            self.sys.note_dropper(key);
        }
    }

    /// Lets go what a message that was taken out of a queue held.
    pub(super) fn discard(&mut self, key: Key<Session>, entry: Queued) {
        self.queued -= 1;
        self.forget_delivery(entry.number, Some(entry.message));
        self.messages.release(entry.message);
        self.id_sets.release(entry.ids);
        self.shares.done(entry.share, key);
    }

    /// Finds the sessions that a message goes to, each once however many of its subscriptions
    /// match: with the highest QoS of them [MQTT-3.3.5-1] and all their identifiers
    /// [MQTT5-3.3.4-4]; and the groups of which one session gets it.
    fn match_targets(&mut self, new: &NewMessage<'_>) {
        self.route += 1;
        let route = self.route;
        let Self { trie, sessions, targets, matched_shares, id_sets, .. } = self;
        trie.matches(new.topic, |found| {
            let Subscriber { session: key, options, identifier } = match found {
                Found::Subscriber(subscriber) => *subscriber,
                Found::Share(share) => {
                    matched_shares.push(share);
                    return;
                }
            };
            if options.no_local && new.origin == Origin::Session(key) {
                return;
            }
            let session = sessions.get_mut(key).expect("ended sessions unsubscribe");
            if session.routed.0 == route {
                let target = &mut targets[session.routed.1 as usize];
                target.qos = target.qos.max(options.qos);
                target.retain_as_published |= options.retain_as_published;
                target.ids = id_sets.with(target.ids, identifier);
                return;
            }
            let position = u32::try_from(targets.len()).expect("fewer targets than sessions");
            session.routed = (route, position);
            targets.push(Target {
                session: key,
                qos: options.qos,
                retain_as_published: options.retain_as_published,
                ids: IdSet::one(identifier),
                share: ShareId::NONE,
            });
        });
    }

    /// Whether any of the targets cannot be served at once. Asked only when memory is used up.
    fn must_wait(&self) -> bool {
        self.targets.iter().any(|target| {
            let session = self.sessions.get(target.session).expect("matched in this call");
            let is_replaying = !session.replays.is_empty();
            !session.has_credit() || is_replaying || session.queue.len() >= REPLAY_AHEAD
        })
    }

    /// Makes a message the retained one of its topic, at QoS 0 too [MQTT-3.3.1-5], [MQTT-3.3.1-7].
    /// It belongs to no session and outlives them all [MQTT-3.1.2-7]. Without a payload it only
    /// removes the one that was [MQTT-3.3.1-10], [MQTT-3.3.1-11].
    fn retain(&mut self, topic: TopicName<'_>, message: MessageRef, is_empty: bool) {
        if is_empty {
            self.unretain(topic);
            return;
        }
        self.work += RETAIN_WORK;
        let limits = &self.config.limits;
        let size = self.messages.get(message).size() as u64;
        let old = self.retained.get(topic);
        let old_size = old.map_or(0, |old| self.messages.get(old).size() as u64);
        let is_refused = !topic.is_reserved()
            && (self.retained_bytes - old_size + size > limits.retained_bytes_max
                || old.is_none()
                    && (self.retained.len() - self.retained_reserved
                        >= limits.retained_messages_max
                        || self.is_out_of_memory()));
        if is_refused {
            self.stats.retain_refused += 1;
            return;
        }
        self.messages.keep(message);
        self.record_retained(message);
        if let Some(old) = self.index_retained(topic, message) {
            self.count_retained(topic, old, false);
            self.forget_retained(old);
            self.messages.release(old);
        }
    }

    /// Puts a message that was counted into its place; returns the one that stood there.
    pub(super) fn index_retained(
        &mut self,
        topic: TopicName<'_>,
        message: MessageRef,
    ) -> Option<MessageRef> {
        self.count_retained(topic, message, true);
        let stored = self.messages.get(message);
        if stored.expires() != Instant::NEVER {
            let timer = Timer::Retained(message, stored.sequence());
            self.timers.insert(stored.expires(), timer);
        }
        self.retained.set(topic, message)
    }

    /// Forgets the retained message of a topic.
    pub(super) fn unretain(&mut self, topic: TopicName<'_>) {
        if let Some(old) = self.retained.remove(topic) {
            self.count_retained(topic, old, false);
            self.forget_retained(old);
            self.messages.release(old);
        }
    }

    fn count_retained(&mut self, topic: TopicName<'_>, message: MessageRef, added: bool) {
        let size = self.messages.get(message).size() as u64;
        match (topic.is_reserved(), added) {
            (true, true) => self.retained_reserved += 1,
            (true, false) => self.retained_reserved -= 1,
            (false, true) => self.retained_bytes += size,
            (false, false) => self.retained_bytes -= size,
        }
    }
}

/// Whether a payload is what its format indicator says: text is UTF-8.
pub(super) fn is_in_format(properties: Properties<'_>, payload: &[u8]) -> bool {
    let says_text =
        properties.iter().any(|property| property == Property::PayloadFormatIndicator(1));
    !says_text || core::str::from_utf8(payload).is_ok()
}
