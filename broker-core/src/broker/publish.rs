//! Publications: accepted, stored once, put into the queue of every session that subscribed
//! [MQTT-4.5.0-1].
//!
//! Whoever publishes is answered by QoS: not at all, with PUBACK, with PUBREC [MQTT-3.3.4-1]. What
//! goes out is a publication of its own: its DUP flag and its identifier have nothing to do with
//! those that came in [MQTT-3.3.1-3].

use super::Broker;
use super::connect::LinkEnd;
use super::output::Control;
use super::route::Routed;
use crate::api::{Ack, AckKind, Dialect, LinkId, PacketId, Publish, QoS};
use crate::key::Key;
use crate::message::Origin;
use crate::reason::ReasonCode;
use crate::session::{InFlight, Session, Stage};
use crate::time::Now;

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
            let ack = Ack { kind: AckKind::PubRec, id, reason, token };
            self.answer(key, Control::ack(link, ack));
            return;
        }
        if qos == QoS::ExactlyOnce && session.received.len() >= self.config.limits.received_ids_max
        {
            // It could not be told from its repetition, so it is not taken at all.
            self.cut_off(key, ReasonCode::ReceiveMaximumExceeded);
            return;
        }
        // A refusal that the client cannot be told is an ordinary acknowledgement [MQTT-3.3.5-2];
        // an identifier of QoS 1 that was used before means a new message [MQTT-4.3.2-2], and so
        // does one of QoS 2 that was released [MQTT-2.3.1-2].
        let is_promise = qos > QoS::AtMostOnce && self.waits_for_disk(key);
        let routed = if self.gate.is_refusing() && is_promise && can_refuse(dialect) {
            self.stats.publish_refused_store += 1;
            Routed::Refused(ReasonCode::QuotaExceeded)
        } else {
            self.accept(&publish, Origin::Session(key))
        };
        if self.sessions.get(key).is_none() {
            // Its own queue was full and it is to be disconnected for that.
            return;
        }
        if routed == Routed::OutOfMemory && !can_refuse(dialect) && qos > QoS::AtMostOnce {
            // A client that cannot be told keeps its message only if it is not acknowledged and the
            // connection closes [MQTT-4.8.0-2].
            self.cut_off(key, ReasonCode::QuotaExceeded);
            return;
        }
        let reason = reason(routed, dialect);
        // The identifier of what was refused means another message next time [MQTT5-4.3.3-9].
        if qos == QoS::ExactlyOnce && !reason.is_error() {
            let received = &mut self.session(key).received;
            received.insert(id);
            let unreleased = received.len();
            self.stats.high.received_ids = self.stats.high.received_ids.max(unreleased);
            self.record_received(key, id);
        }
        let kind = match qos {
            QoS::AtMostOnce if reason.is_error() && dialect.is_sn() => AckKind::PubAck,
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => AckKind::PubAck,
            QoS::ExactlyOnce => AckKind::PubRec,
        };
        let control = Control::ack(link, Ack { kind, id, reason, token });
        if reason.is_error() && self.gate.is_refusing() {
            // It promises nothing, and waits for nothing.
            self.control.push_back(control);
        } else {
            self.answer(key, control);
        }
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
            // A refusal is an end as well: nothing is repeated [MQTT5-4.4.0-2], and no other member
            // of a group is asked [MQTT5-4.8.2-6].
            (AckKind::PubRec, Some(Stage::Unreceived)) if ack.reason.is_error() => {
                self.finish(key, id);
                self.stats.dropped_unacknowledged += 1;
            }
            (AckKind::PubRec, Some(Stage::Unreceived)) => {
                self.receive(key, id);
                self.answer_step(key, link, AckKind::PubRel, id, ReasonCode::Success);
            }
            (AckKind::PubRec, Some(Stage::Released)) => {
                self.answer_step(key, link, AckKind::PubRel, id, ReasonCode::Success);
            }
            (AckKind::PubRec, None) => {
                self.stats.acks_unexpected += 1;
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.answer_step(key, link, AckKind::PubRel, id, reason);
            }
            (AckKind::PubRel, _) => self.release_received(key, link, id),
            (AckKind::PubAck, Some(Stage::Unreceived | Stage::Released))
            | (AckKind::PubRec, Some(Stage::Unacknowledged))
                if self.session(key).dialect == Dialect::Mqtt5 =>
            {
                self.cut_off(key, ReasonCode::ProtocolError);
            }
            (AckKind::PubAck | AckKind::PubComp, _)
            | (AckKind::PubRec, Some(Stage::Unacknowledged)) => self.stats.acks_unexpected += 1,
        }
    }

    /// Ends the handshake of one message in flight and makes room for the next.
    pub(super) fn finish(&mut self, key: Key<Session>, id: PacketId) {
        let now = self.now.mono;
        let session = self.session(key);
        let Some(entry) = session.window.remove(id) else { return };
        if let Some(link) = &mut session.link {
            link.pace.count(now);
        }
        self.release_in_flight(key, entry);
        self.make_ready(key);
    }

    /// The client has received a message of QoS 2 [MQTT-4.3.3-1]: it is not sent again from here
    /// on, which has to be durable before the client is told.
    fn receive(&mut self, key: Key<Session>, id: PacketId) {
        let window = &mut self.session(key).window;
        let is_kept = window.get(id).is_some_and(|entry| entry.number != 0);
        let Some(message) = window.received(id) else { return };
        if is_kept {
            self.record_in_flight(key, id);
            self.let_message_go(message);
        }
        self.messages.release(message);
        if is_kept && self.is_gated(key) {
            self.hold(key, id);
        }
    }

    /// Lets go what a message in flight held.
    pub(super) fn release_in_flight(&mut self, key: Key<Session>, entry: InFlight) {
        if entry.stage == Stage::Released {
            self.forget_delivery(entry.number, None);
        } else {
            self.forget_delivery(entry.number, Some(entry.message));
            self.messages.release(entry.message);
        }
        self.record_last_id(key, &entry);
        self.id_sets.release(entry.ids);
        self.shares.done(entry.share, key);
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

    /// The next step of a handshake of QoS 2. Where it stands ends with a session that ends with
    /// its link.
    fn answer_step(
        &mut self,
        key: Key<Session>,
        link: LinkId,
        kind: AckKind,
        id: PacketId,
        reason: ReasonCode,
    ) {
        let control = Control::ack(link, Ack { kind, id, reason, token: 0 });
        self.answer_for_session(key, control);
    }

    /// PUBREL is answered by PUBCOMP, whether the identifier is known or not [MQTT-4.3.3-2].
    fn release_received(&mut self, key: Key<Session>, link: LinkId, id: PacketId) {
        let reason = if self.session(key).received.remove(id) {
            self.forget_received_record(key, id);
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.answer_step(key, link, AckKind::PubComp, id, reason);
    }
}

/// What a publisher is told.
const fn reason(routed: Routed, dialect: Dialect) -> ReasonCode {
    match (routed, dialect) {
        (Routed::Unmatched, _) => ReasonCode::NoMatchingSubscribers,
        // Nobody has room: a client of MQTT 5.0 learns it. For a sensor it would mean to be silent
        // for minutes, for the sake of somebody who does not read.
        (Routed::Full, Dialect::Mqtt5) | (Routed::OutOfMemory, _) => ReasonCode::QuotaExceeded,
        (Routed::Accepted | Routed::Full, _) => ReasonCode::Success,
        (Routed::Refused(reason), _) => reason,
    }
}

/// Whether clients of this dialect can be told that a publication was refused.
pub(super) const fn can_refuse(dialect: Dialect) -> bool {
    match dialect {
        Dialect::Mqtt5 | Dialect::MqttSn12 => true,
        Dialect::Mqtt31 | Dialect::Mqtt311 => false,
    }
}
