//! Publications: accepted, stored once, put into the queue of every session that subscribed
//! [MQTT-4.5.0-1].
//!
//! Whoever publishes is answered by QoS: not at all, with PUBACK, with PUBREC [MQTT-3.3.4-1]. What
//! goes out is a publication of its own: its DUP flag and its identifier have nothing to do with
//! those that came in [MQTT-3.3.1-3].

use super::Broker;
use super::connect::LinkEnd;
use super::output::Control;
use crate::api::{Ack, AckKind, Dialect, LinkId, PacketId, Publish, QoS};
use crate::key::Key;
use crate::limits::REPLAY_AHEAD;
use crate::message::{MessageRef, NewMessage, Origin};
use crate::reason::ReasonCode;
use crate::session::{InFlight, Pushed, Queued, Session, Stage};
use crate::subscription_ids::IdSet;
use crate::time::Now;
use crate::topic::{self, TopicName};

/// A session that a publication goes to, with what its overlapping subscriptions add up to.
#[derive(Debug)]
pub(super) struct Target {
    session: Key<Session>,
    qos: QoS,
    retain_as_published: bool,
    ids: IdSet,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routed {
    /// It was accepted for this many sessions.
    Accepted { sessions: usize },
    /// Somebody would have to wait for it and there is no memory; nobody gets it.
    OutOfMemory,
}

impl Broker {
    /// A client publishes.
    pub(super) fn publish(&mut self, key: Key<Session>, link: LinkId, publish: Publish<'_>) {
        self.count_publish(&publish);
        let session = self.sessions.get_mut(key).expect("looked up by its link");
        let dialect = session.dialect;
        let Publish { qos, id, token, .. } = publish;
        if qos == QoS::ExactlyOnce && session.received.contains(id) {
            // Received and not released yet: answered, not delivered again [MQTT-4.3.3-2].
            self.stats.publish_repeated += 1;
            let reason = ReasonCode::Success;
            self.answer(Control::ack(link, Ack { kind: AckKind::PubRec, id, reason, token }));
            return;
        }
        // A refusal that the client cannot be told is an ordinary acknowledgement [MQTT-3.3.5-2];
        // an identifier of QoS 1 that was used before means a new message [MQTT-4.3.2-2], and so
        // does one of QoS 2 that was released [MQTT-2.3.1-2].
        let reason = self.accept(&publish, Origin::Session(key));
        if self.sessions.get(key).is_none() {
            // Its own queue was full and it is to be disconnected for that.
            return;
        }
        if reason == ReasonCode::QuotaExceeded && !can_refuse(dialect) && qos > QoS::AtMostOnce {
            // A client that cannot be told keeps its message only if it is not acknowledged and the
            // connection closes [MQTT-4.8.0-2].
            self.cut_off(key, reason);
            return;
        }
        if qos == QoS::ExactlyOnce && !reason.is_error() {
            let limit = self.config.limits.received_ids_max;
            let received = &mut self.session(key).received;
            received.insert(id);
            let unreleased = received.len();
            self.stats.high.received_ids = self.stats.high.received_ids.max(unreleased);
            if unreleased > limit {
                self.cut_off(key, ReasonCode::ReceiveMaximumExceeded);
                return;
            }
            self.change();
        }
        let kind = match qos {
            QoS::AtMostOnce if reason.is_error() && dialect.is_sn() => AckKind::PubAck,
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => AckKind::PubAck,
            QoS::ExactlyOnce => AckKind::PubRec,
        };
        self.answer(Control::ack(link, Ack { kind, id, reason, token }));
    }

    /// A publication by somebody without a session (MQTT-SN QoS −1, SN-069). Nobody is answered.
    pub fn publish_unconnected(&mut self, now: Now, publish: &Publish<'_>) {
        self.now = now;
        self.count_publish(publish);
        self.accept(publish, Origin::Nobody);
    }

    /// One step of a QoS 1 or 2 handshake. Clients are to take these steps in the order in which
    /// they were sent messages; those that do not are served all the same [MQTT-4.6.0-2],
    /// [MQTT-4.6.0-3], [MQTT-4.6.0-4].
    pub(super) fn acknowledge(&mut self, key: Key<Session>, link: LinkId, ack: Ack) {
        let id = ack.id;
        let stage = self.session(key).window.get(id).map(|entry| entry.stage);
        match (ack.kind, stage) {
            (AckKind::PubAck, Some(Stage::Unacknowledged))
            | (AckKind::PubComp, Some(Stage::Released)) => {
                self.finish(key, id);
                self.stats.dropped_unacknowledged += u64::from(ack.reason.is_error());
            }
            (AckKind::PubRec, Some(Stage::Unreceived)) if ack.reason.is_error() => {
                self.finish(key, id);
                self.stats.dropped_unacknowledged += 1;
            }
            (AckKind::PubRec, Some(Stage::Unreceived)) => {
                if let Some(message) = self.session(key).window.received(id) {
                    self.messages.release(message);
                }
                self.change();
                self.answer_step(link, AckKind::PubRel, id, ReasonCode::Success);
            }
            (AckKind::PubRec, Some(Stage::Released)) => {
                self.answer_step(link, AckKind::PubRel, id, ReasonCode::Success);
            }
            (AckKind::PubRec, None) => {
                self.stats.acks_unexpected += 1;
                self.answer_step(link, AckKind::PubRel, id, ReasonCode::PacketIdentifierNotFound);
            }
            (AckKind::PubRel, _) => self.release_received(key, link, id),
            (AckKind::PubAck | AckKind::PubComp, _)
            | (AckKind::PubRec, Some(Stage::Unacknowledged)) => self.stats.acks_unexpected += 1,
        }
    }

    /// Ends the handshake of one message in flight and makes room for the next.
    pub(super) fn finish(&mut self, key: Key<Session>, id: PacketId) {
        let Some(entry) = self.session(key).window.remove(id) else { return };
        self.release_in_flight(entry);
        self.change();
        self.make_ready(key);
    }

    /// Lets go what a message in flight held.
    pub(super) fn release_in_flight(&mut self, entry: InFlight) {
        if entry.stage != Stage::Released {
            self.messages.release(entry.message);
        }
        self.id_sets.release(entry.ids);
    }

    /// Stores a message and puts it into the queue of every session that subscribed.
    pub(super) fn route(&mut self, new: &NewMessage<'_>) -> Routed {
        self.match_targets(new);
        let sessions = self.targets.len();
        let is_own = new.topic.is_reserved();
        if !is_own && self.is_out_of_memory() && self.must_wait() {
            self.targets.clear();
            return Routed::OutOfMemory;
        }
        if sessions == 0 && !new.retain {
            return Routed::Accepted { sessions };
        }
        let message = self.messages.insert(new);
        let targets = core::mem::take(&mut self.targets);
        for target in &targets {
            let retain = new.retain && target.retain_as_published;
            // The lower of published and granted [MQTT-3.8.4-6].
            let qos = new.qos.min(target.qos);
            let entry = Queued { message, ids: target.ids, qos, retain };
            if self.enqueue(target.session, entry) == Pushed::RejectedAndDisconnect {
                self.overflowed.push(target.session);
            }
        }
        self.targets = targets;
        self.targets.clear();
        // Without the flag what is retained stays as it is [MQTT-3.3.1-12].
        if new.retain {
            self.retain(new.topic, message, new.payload.as_octets().is_empty());
        }
        self.messages.release(message);
        self.change();
        // Only now, as it may end sessions that were targets.
        while let Some(key) = self.overflowed.pop() {
            self.cut_off(key, ReasonCode::QuotaExceeded);
        }
        Routed::Accepted { sessions }
    }

    /// Whether the queues of those who would get a message to `topic`, and are at work, are nearly
    /// full.
    pub(super) fn is_crowded(&mut self, topic: TopicName<'_>) -> bool {
        let sessions = &self.sessions;
        let mut crowded = false;
        self.trie.matches(topic, |subscriber| {
            let session = sessions.get(subscriber.session).expect("the trie knows sessions only");
            crowded |= session.has_credit() && session.queue.is_crowded();
        });
        crowded
    }

    /// Puts a message that the caller keeps into one session's queue, or counts why not.
    pub(super) fn enqueue(&mut self, key: Key<Session>, entry: Queued) -> Pushed {
        self.work += 1;
        let session = self.sessions.get_mut(key).expect("the trie knows sessions only");
        // A session without a link collects QoS 1 and 2 [MQTT-3.1.2-5].
        if session.link.is_none() && entry.qos == QoS::AtMostOnce {
            self.stats.dropped_offline_qos0 += 1;
            self.id_sets.release(entry.ids);
            return Pushed::Rejected;
        }
        let paused = session.is_paused();
        let pushed = session.queue.push(entry, paused, &self.messages, &mut self.dropped);
        if pushed == Pushed::Queued {
            let high = &mut self.stats.high;
            high.queue_messages = high.queue_messages.max(session.queue.len());
            high.queue_bytes = high.queue_bytes.max(session.queue.bytes());
            let has_work = session.has_work();
            if has_work && !session.is_ready {
                session.is_ready = true;
                self.ready.join(key);
            }
            self.is_pressed |= has_work && session.queue.is_half_full();
            self.crowded |= session.is_ready && session.queue.is_crowded();
            self.queued += 1;
            self.messages.keep(entry.message);
        } else {
            self.stats.dropped_queue_full += 1;
            self.id_sets.release(entry.ids);
        }
        for dropped in self.dropped.drain(..) {
            self.queued -= 1;
            self.stats.dropped_queue_full += 1;
            self.messages.release(dropped.message);
            self.id_sets.release(dropped.ids);
        }
        pushed
    }

    /// Ends a link from our side.
    pub(super) fn cut_off(&mut self, key: Key<Session>, reason: ReasonCode) {
        let Some(link) = self.sessions.get(key).and_then(|session| session.link.as_ref()) else {
            return;
        };
        let link = link.id;
        self.control.push_back(Control::Close { link, reason });
        self.end_link(key, LinkEnd::Lost);
    }

    fn count_publish(&mut self, publish: &Publish<'_>) {
        self.stats.publish_received += 1;
        self.stats.publish_bytes_received += publish.payload.as_octets().len() as u64;
    }

    /// Routes a publication, or says why not.
    fn accept(&mut self, publish: &Publish<'_>, origin: Origin) -> ReasonCode {
        let levels_max = self.config.limits.topic_levels_max;
        if publish.topic.is_reserved() {
            // The server's own topics are not for clients [MQTT-4.7.2-1].
            self.stats.publish_refused += 1;
            return ReasonCode::NotAuthorized;
        }
        if topic::is_deeper_than(publish.topic.as_str(), levels_max) {
            self.stats.publish_refused += 1;
            return ReasonCode::TopicNameInvalid;
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
        match routed {
            Routed::Accepted { sessions: 0 } => ReasonCode::NoMatchingSubscribers,
            Routed::Accepted { .. } => ReasonCode::Success,
            Routed::OutOfMemory => {
                self.stats.publish_refused_memory += 1;
                ReasonCode::QuotaExceeded
            }
        }
    }

    /// Finds the sessions that a message goes to, each once however many of its subscriptions
    /// match: with the highest QoS of them [MQTT-3.3.5-1] and all their identifiers
    /// [MQTT5-3.3.4-4].
    fn match_targets(&mut self, new: &NewMessage<'_>) {
        self.route += 1;
        let route = self.route;
        let Self { trie, sessions, targets, id_sets, .. } = self;
        trie.matches(new.topic, |subscriber| {
            if subscriber.options.no_local && new.origin == Origin::Session(subscriber.session) {
                return;
            }
            let session = sessions.get_mut(subscriber.session).expect("ended sessions unsubscribe");
            if session.routed.0 == route {
                let target = &mut targets[session.routed.1 as usize];
                target.qos = target.qos.max(subscriber.options.qos);
                target.retain_as_published |= subscriber.options.retain_as_published;
                target.ids = id_sets.with(target.ids, subscriber.identifier);
                return;
            }
            let position = u32::try_from(targets.len()).expect("fewer targets than sessions");
            session.routed = (route, position);
            targets.push(Target {
                session: subscriber.session,
                qos: subscriber.options.qos,
                retain_as_published: subscriber.options.retain_as_published,
                ids: IdSet::one(subscriber.identifier),
            });
        });
    }

    /// Whether any of the targets cannot be served at once. Asked only when memory is used up.
    fn must_wait(&self) -> bool {
        self.targets.iter().any(|target| {
            let session = self.sessions.get(target.session).expect("matched in this call");
            !session.has_credit() || session.queue.len() >= REPLAY_AHEAD
        })
    }

    /// Makes a message the retained one of its topic, at QoS 0 too [MQTT-3.3.1-5], [MQTT-3.3.1-7].
    /// It belongs to no session and outlives them all [MQTT-3.1.2-7]. Without a payload it only
    /// removes the one that was [MQTT-3.3.1-10], [MQTT-3.3.1-11].
    fn retain(&mut self, topic: TopicName<'_>, message: MessageRef, is_empty: bool) {
        if is_empty {
            if let Some(old) = self.retained.remove(topic) {
                self.count_retained(topic, old, false);
                self.messages.release(old);
            }
            return;
        }
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
        self.count_retained(topic, message, true);
        if let Some(old) = self.retained.set(topic, message) {
            self.count_retained(topic, old, false);
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

    fn answer_step(&mut self, link: LinkId, kind: AckKind, id: PacketId, reason: ReasonCode) {
        self.answer(Control::ack(link, Ack { kind, id, reason, token: 0 }));
    }

    /// PUBREL is answered by PUBCOMP, whether the identifier is known or not [MQTT-4.3.3-2].
    fn release_received(&mut self, key: Key<Session>, link: LinkId, id: PacketId) {
        let reason = if self.session(key).received.remove(id) {
            self.change();
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.answer_step(link, AckKind::PubComp, id, reason);
    }
}

/// Whether clients of this dialect can be told that a publication was refused.
const fn can_refuse(dialect: Dialect) -> bool {
    match dialect {
        Dialect::Mqtt5 | Dialect::MqttSn12 => true,
        Dialect::Mqtt31 | Dialect::Mqtt311 => false,
    }
}
