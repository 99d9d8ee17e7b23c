//! What clients answer to our messages (12.3 and 12.5 of the specification reference).

use broker_core::Broker;
use broker_core::api::{Ack, AckKind, Credit, Flow, Incoming, PacketId, QoS};
use broker_core::key::Key;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use sn_codec::MsgId;
use sn_codec::v12::{self, ReturnCode, TopicRef};

use super::arq::{Exchange, Kind, Sort, Then};
use super::peer::{Peer, SentQos0};
use super::registry::Standing;
use super::{After, SnGateway};

impl SnGateway {
    /// REGACK (SN-077, SN-079).
    pub(super) fn registered(
        &mut self,
        now: Now,
        key: Key<Peer>,
        regack: &v12::Regack,
        broker: &mut Broker,
    ) {
        let peer = self.peer(key);
        let topic_id = match &peer.exchange {
            Some(Exchange { kind: Kind::Register { msg_id, topic_id, .. }, .. })
                if *msg_id == regack.msg_id.0 =>
            {
                *topic_id
            }
            Some(_) | None => {
                self.stats.ignored += 1;
                return;
            }
        };
        match regack.return_code {
            ReturnCode::Accepted => {
                self.answered_register(key, topic_id, Standing::Known);
                // One that sleeps by now gets the message in its next visit.
                if self.peer(key).is_listening() {
                    self.go_on_named(key, broker);
                }
            }
            ReturnCode::Congestion => self.pause(now, key, broker),
            ReturnCode::InvalidTopicId | ReturnCode::NotSupported | ReturnCode::Reserved(_) => {
                self.answered_register(key, topic_id, Standing::Refused);
                self.unsubscribe_refused(now, key, topic_id, broker);
                if let Some(Exchange { kind: Kind::Register { then, .. }, .. }) =
                    self.end_exchange(key)
                {
                    self.drop_unnamed(key, then, broker);
                }
                self.grant(key, broker);
            }
        }
    }

    /// The client has told what it thinks of a name.
    fn answered_register(&mut self, key: Key<Peer>, topic_id: u16, standing: Standing) {
        self.set_standing(key, topic_id, standing);
        let registry = &mut self.peer(key).registry;
        if !registry.answers_register() {
            registry.answered();
            self.record(key);
        }
    }

    /// The client has answered a message of this sort.
    fn understands(&mut self, key: Key<Peer>, sort: Sort) {
        if self.peer(key).understands.add(sort) {
            self.record(key);
        }
    }

    /// PUBACK: done, or what is wrong (D8).
    pub(super) fn puback(
        &mut self,
        now: Now,
        key: Key<Peer>,
        puback: &v12::Puback,
        broker: &mut Broker,
    ) {
        let id = self.peer(key).packet_id(puback.msg_id.0);
        match &self.peer(key).exchange {
            Some(Exchange { kind: Kind::Publish { id: expected, sort, dup, .. }, .. })
                if *expected == id =>
            {
                let (sort, dup) = (*sort, *dup);
                self.puback_expected(now, key, puback.return_code, id, (sort, dup), broker);
            }
            _ if id.0 == 0 => self.puback_qos0(now, key, puback, broker),
            // Late, for a message that waits to be sent again.
            _ if puback.return_code.is_accepted() => {
                self.tell_ack(now, key, AckKind::PubAck, id, broker);
            }
            _ => self.stats.ignored += 1,
        }
    }

    /// PUBACK for the publication that was sent last, with its sort and DUP.
    fn puback_expected(
        &mut self,
        now: Now,
        key: Key<Peer>,
        return_code: ReturnCode,
        id: PacketId,
        (sort, dup): (Sort, bool),
        broker: &mut Broker,
    ) {
        match return_code {
            ReturnCode::Accepted if sort.qos == QoS::AtLeastOnce => {
                self.understands(key, sort);
                self.tell_ack(now, key, AckKind::PubAck, id, broker);
                self.complete(key, broker);
            }
            // QoS 2 ends with PUBCOMP.
            ReturnCode::Accepted => self.stats.ignored += 1,
            ReturnCode::InvalidTopicId => self.correct_topic(key, id, broker),
            ReturnCode::Congestion => self.pause(now, key, broker),
            ReturnCode::NotSupported | ReturnCode::Reserved(_) if dup => {
                // It may be DUP that it does not understand: once without.
                self.peer(key).quirks.no_dup = true;
                self.record(key);
                self.send_again(key, id, false, broker);
            }
            ReturnCode::NotSupported | ReturnCode::Reserved(_) => self.give_up(key, broker),
        }
    }

    /// PUBACK for a publication of QoS 0: the client has something to say against it.
    fn puback_qos0(&mut self, now: Now, key: Key<Peer>, puback: &v12::Puback, broker: &mut Broker) {
        match puback.return_code {
            ReturnCode::InvalidTopicId => self.correct_qos0(now, key, puback.topic_id, broker),
            ReturnCode::Congestion => self.pause(now, key, broker),
            ReturnCode::Accepted | ReturnCode::NotSupported | ReturnCode::Reserved(_) => {
                self.stats.ignored += 1;
            }
        }
    }

    /// PUBREC: the broker answers with PUBREL, whether it knows the message or not.
    pub(super) fn pubrec(&mut self, now: Now, key: Key<Peer>, msg_id: MsgId, broker: &mut Broker) {
        let peer = self.peer(key);
        let id = peer.packet_id(msg_id.0);
        let sort = match &peer.exchange {
            Some(Exchange { kind: Kind::Publish { id: expected, sort, .. }, .. })
                if *expected == id =>
            {
                Some(*sort)
            }
            Some(_) | None => None,
        };
        if let Some(Sort { qos: QoS::AtLeastOnce, .. }) = sort {
            // It fits to nothing: such a message is for PUBACK to end.
            self.send_to(key, v12::Pubrel { msg_id });
            return;
        }
        if let Some(sort) = sort {
            self.understands(key, sort);
        }
        self.tell_ack(now, key, AckKind::PubRec, id, broker);
    }

    /// PUBREL leaves. If it is about a message in flight PUBCOMP is waited for.
    pub(super) fn release(&mut self, now: Now, key: Key<Peer>, ack: Ack) -> Flow {
        let id = ack.id;
        let peer = self.peer(key);
        let msg_id = MsgId(peer.wire_id(id));
        let is_current = peer.exchange.as_ref().is_none_or(|exchange| exchange.is_about(id));
        let is_listening = peer.is_listening();
        let link = peer.link;
        self.send_to(key, v12::Pubrel { msg_id });
        if ack.reason.is_error() {
            // The client repeated a PUBREC of long ago; nothing of ours waits for it.
            return Flow::More;
        }
        if !is_current {
            // Its turn comes when the present exchange is over.
            self.after.push(After::Again(link, id));
            return Flow::More;
        }
        if is_listening {
            self.await_answer(now, key, Kind::Release { id });
        } else {
            self.enter_exchange(now, key, Kind::Release { id });
        }
        Flow::Hold
    }

    /// PUBCOMP ends an exchange of QoS 2.
    pub(super) fn pubcomp(&mut self, now: Now, key: Key<Peer>, msg_id: MsgId, broker: &mut Broker) {
        let peer = self.peer(key);
        let id = peer.packet_id(msg_id.0);
        let is_expected = matches!(
            &peer.exchange,
            Some(Exchange { kind: Kind::Release { id: expected }, .. }) if *expected == id
        );
        self.tell_ack(now, key, AckKind::PubComp, id, broker);
        if is_expected {
            self.complete(key, broker);
        }
    }

    fn tell_ack(
        &mut self,
        now: Now,
        key: Key<Peer>,
        kind: AckKind,
        id: PacketId,
        broker: &mut Broker,
    ) {
        let ack = Ack { kind, id, reason: ReasonCode::Success, token: 0 };
        broker.handle(now, self.peer(key).link, Incoming::Ack(ack));
    }

    /// The client does not know the topic id of a message in flight: it is told, and gets the
    /// message once more; the second time the message is dropped (SN-081).
    fn correct_topic(&mut self, key: Key<Peer>, id: PacketId, broker: &mut Broker) {
        if let Some(Exchange { kind: Kind::Publish { topic, .. }, .. }) = self.peer(key).exchange {
            self.forget_naming(key, topic);
        }
        if self.peer(key).corrected.replace(id) == Some(id) {
            self.give_up(key, broker);
        } else {
            self.send_again(key, id, false, broker);
        }
    }

    /// The same for a message of QoS 0, which has no number: only the last one is remembered, and
    /// it can be sent again only if nothing else waits for an answer.
    fn correct_qos0(&mut self, now: Now, key: Key<Peer>, topic_id: u16, broker: &mut Broker) {
        let peer = self.peer(key);
        let last = peer.last_qos0.take_if(|sent| sent.topic.raw() == topic_id);
        let is_busy = peer.exchange.is_some();
        self.charge(key);
        let said = last.as_ref().map_or(TopicRef::Normal(topic_id), |sent| sent.topic);
        let named = self.forget_naming(key, said);
        let (Some(SentQos0 { retain, payload, .. }), Some(named), false) = (last, named, is_busy)
        else {
            self.stats.ignored += 1;
            return;
        };
        let link = self.peer(key).link;
        self.begin_register(now, key, named, Then::Qos0 { retain, payload });
        broker.set_credit(link, Credit::Paused);
    }

    /// The client is overloaded: what waits is sent again after a pause, and nothing else until
    /// then (12.5).
    fn pause(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let peer = self.peer(key);
        if !peer.is_listening() {
            // It has its pause already.
            return;
        }
        let link = peer.link;
        match &mut peer.exchange {
            Some(exchange) => exchange.begin_anew(),
            None => self.enter_exchange(now, key, Kind::Pause),
        }
        broker.set_credit(link, Credit::Paused);
        self.arm_after(now, key, self.settings.congestion_pause);
    }
}
