//! Repetition towards clients: one message at a time waits for its answer (SN 6.13, D7, D8).
//!
//! What is repeated is not kept here: a PUBLISH is asked of the broker again, which holds it in flight;
//! a REGISTER and a PUBREL are made again from their numbers. An exchange whose client fell silent has
//! no timer; it stalls until the client is heard of.

use broker_core::Broker;
use broker_core::api::{Ack, AckKind, Incoming, PacketId, QoS};
use broker_core::key::Key;
use broker_core::reason::ReasonCode;
use broker_core::time::{Instant, Now};
use broker_core::timer::TimerId;
use broker_core::topic::TopicBuf;
use sn_codec::MsgId;
use sn_codec::v12::{self, ReturnCode, TopicRef};
use tracing::debug;

use super::peer::{Peer, SentQos0, State};
use super::registry::Standing;
use super::settings::Retry;
use super::{SnGateway, Timer, sleep};

/// Visits of a sleeping client in which the same message may fail before it is given up: a client
/// that does not understand it would never get another.
const BROKEN_VISITS_MAX: u8 = 5;

/// A message that waits for the client's answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) kind: Kind,
    /// Repetitions so far, in this visit.
    tries: u8,
    broken_visits: u8,
    began: Instant,
    /// `None` while the exchange is stalled.
    timer: Option<TimerId>,
}

/// What waits.
#[derive(Debug)]
pub(super) enum Kind {
    /// REGISTER, for REGACK.
    Register { topic_id: u16, msg_id: u16, then: Then },
    /// PUBLISH, for PUBACK or PUBREC.
    Publish { id: PacketId, qos: QoS, topic: TopicRef, topic_name: Option<TopicBuf>, dup: bool },
    /// PUBREL, for PUBCOMP.
    Release { id: PacketId },
}

/// What is sent once the client knows the topic id.
#[derive(Debug)]
pub(super) enum Then {
    /// A message that the broker holds in flight.
    InFlight(PacketId),
    /// A message of QoS 0, which nobody else holds.
    Qos0 { retain: bool, payload: Vec<u8> },
}

impl Exchange {
    /// Whether it waits for the client to be heard of.
    pub(super) const fn is_stalled(&self) -> bool {
        self.timer.is_none()
    }
}

impl SnGateway {
    /// Something was sent that the client has to answer.
    pub(super) fn await_answer(&mut self, now: Now, key: Key<Peer>, kind: Kind) {
        let timer = self.arm(now, key);
        let peer = self.peer(key);
        let old = peer.exchange.take();
        let (tries, broken_visits, began) = match &old {
            // The same message once more.
            Some(old) if old.kind.is_same(&kind) => (old.tries, old.broken_visits, old.began),
            Some(_) | None => (0, 0, now.mono),
        };
        let timer = Some(timer);
        peer.exchange = Some(Exchange { kind, tries, broken_visits, began, timer });
        if let Some(timer) = old.and_then(|old| old.timer) {
            self.timers.cancel(timer);
        }
    }

    /// Something should be sent that the client has to answer, but it cannot be reached.
    pub(super) fn stall(&mut self, now: Now, key: Key<Peer>, kind: Kind) {
        self.stop_exchange(key);
        let began = now.mono;
        let exchange = Exchange { kind, tries: 0, broken_visits: 0, began, timer: None };
        self.peer(key).exchange = Some(exchange);
    }

    fn arm(&mut self, now: Now, key: Key<Peer>) -> TimerId {
        let after = self.retry(key).after;
        // A tenth more or less, so that clients that began together do not stay together (D7).
        let jitter = after.mul_f64(0.9 + 0.2 * self.rng.f64());
        self.timers.insert(now.mono + jitter, Timer::Exchange(key))
    }

    fn retry(&self, key: Key<Peer>) -> Retry {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let retry = match peer.state {
            State::Awake { .. } => self.settings.awake_retry,
            State::Active | State::Asleep { .. } | State::Gone => self.settings.retry,
        };
        Retry { after: peer.quirks.retry_after.unwrap_or(retry.after), ..retry }
    }

    /// The client cannot be waited for any more; what waited stays for later.
    pub(super) fn stop_exchange(&mut self, key: Key<Peer>) {
        let timer = self.peer(key).exchange.as_mut().and_then(|exchange| exchange.timer.take());
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
    }

    /// The answer came, or will never come: on to the next message.
    fn complete(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        self.stop_exchange(key);
        self.peer(key).exchange = None;
        self.grant(now, key, broker);
    }

    pub(super) fn exchange_timed_out(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let times = self.retry(key).times;
        let Some(exchange) = &mut self.peer(key).exchange else { return };
        exchange.timer = None;
        if exchange.tries < times {
            exchange.tries += 1;
            self.repeat(now, key, broker);
            return;
        }
        let began = exchange.began;
        exchange.broken_visits += 1;
        let is_hopeless = exchange.broken_visits >= BROKEN_VISITS_MAX;
        let peer = self.peer(key);
        match peer.state {
            // It is there and does not answer this one (section 18).
            State::Active if peer.spoke_at > began => self.give_up(now, key, broker),
            State::Active => debug!(client = %peer.client_id, "client does not answer, waiting"),
            State::Awake { .. } if is_hopeless => self.give_up(now, key, broker),
            State::Awake { .. } => self.break_visit(key),
            State::Asleep { .. } | State::Gone => {}
        }
    }

    /// Sends what waits once more, at once, as the client is there again.
    pub(super) fn retransmit(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        self.stop_exchange(key);
        if let Some(exchange) = &mut self.peer(key).exchange {
            exchange.tries = 0;
            exchange.began = now.mono;
            self.repeat(now, key, broker);
        }
    }

    /// A client that had fallen silent was heard of.
    pub(super) fn resume_stalled(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let Some(peer) = self.peers.get(key) else { return };
        let is_stalled = peer.exchange.as_ref().is_some_and(Exchange::is_stalled);
        if peer.state == State::Active && is_stalled {
            self.retransmit(now, key, broker);
        }
    }

    /// Sends the message of the exchange once more.
    fn repeat(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        self.stats.retransmissions += 1;
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let Some(exchange) = &peer.exchange else { return };
        match exchange.kind {
            Kind::Register { topic_id, msg_id, .. } => {
                self.send_register(key, topic_id, msg_id);
                self.rearm(now, key);
            }
            Kind::Release { id } => {
                let msg_id = MsgId(peer.wire_id(id));
                self.send_to(key, v12::Pubrel { msg_id });
                self.rearm(now, key);
            }
            // It comes back as a delivery, which sets the timer again.
            Kind::Publish { id, .. } => {
                let dup = !peer.quirks.no_dup;
                broker.resend(peer.link, id, dup);
                broker.set_credit(peer.link, sleep::ACTIVE_CREDIT);
            }
        }
    }

    fn rearm(&mut self, now: Now, key: Key<Peer>) {
        let timer = self.arm(now, key);
        if let Some(exchange) = &mut self.peer(key).exchange {
            exchange.timer = Some(timer);
        }
    }

    /// Drops the message that the client will never acknowledge, and goes on.
    fn give_up(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        self.stats.given_up += 1;
        self.stop_exchange(key);
        let peer = self.peer(key);
        debug!(client = %peer.client_id, "client does not acknowledge a message, giving it up");
        let link = peer.link;
        let Some(Exchange { kind, .. }) = peer.exchange.take() else { return };
        match kind {
            Kind::Publish { id, .. } | Kind::Release { id } => broker.abandon(link, id),
            Kind::Register { topic_id, then, .. } => {
                peer.registry.set_standing(topic_id, Standing::Refused);
                self.drop_unnamed(key, then, broker);
            }
        }
        self.grant(now, key, broker);
    }

    /// Drops a message whose topic the client cannot be told of.
    fn drop_unnamed(&mut self, key: Key<Peer>, then: Then, broker: &mut Broker) {
        match then {
            Then::InFlight(id) => broker.abandon(self.peer(key).link, id),
            Then::Qos0 { .. } => broker.stats_mut().dropped_unsendable += 1,
        }
    }

    /// REGACK (SN-077, SN-079).
    pub(super) fn registered(
        &mut self,
        now: Now,
        key: Key<Peer>,
        regack: &v12::Regack,
        broker: &mut Broker,
    ) {
        let peer = self.peer(key);
        let is_expected = matches!(
            peer.exchange,
            Some(Exchange { kind: Kind::Register { msg_id, .. }, .. }) if msg_id == regack.msg_id.0
        );
        if !is_expected {
            self.stats.ignored += 1;
            return;
        }
        if regack.return_code == ReturnCode::Congestion {
            self.pause(now, key);
            return;
        }
        self.stop_exchange(key);
        let exchange = self.peer(key).exchange.take();
        let Some(Exchange { kind: Kind::Register { topic_id, then, .. }, .. }) = exchange else {
            unreachable!("looked at above");
        };
        let registry = &mut self.peer(key).registry;
        if regack.return_code.is_accepted() {
            registry.set_standing(topic_id, Standing::Known);
            self.send_named(now, key, topic_id, then, broker);
            return;
        }
        registry.set_standing(topic_id, Standing::Refused);
        self.unsubscribe_refused(now, key, topic_id, broker);
        self.drop_unnamed(key, then, broker);
        self.grant(now, key, broker);
    }

    /// Sends what waited for its topic id.
    fn send_named(
        &mut self,
        now: Now,
        key: Key<Peer>,
        topic_id: u16,
        then: Then,
        broker: &mut Broker,
    ) {
        let peer = self.peer(key);
        match then {
            Then::InFlight(id) => {
                let link = peer.link;
                broker.resend(link, id, false);
                match peer.state {
                    State::Active | State::Awake { .. } => {
                        broker.set_credit(link, sleep::ACTIVE_CREDIT);
                    }
                    // It comes with the next visit.
                    State::Asleep { .. } | State::Gone => {}
                }
            }
            Then::Qos0 { retain, payload } => {
                self.send_qos0(key, TopicRef::Normal(topic_id), retain, &payload);
                self.grant(now, key, broker);
            }
        }
    }

    /// PUBACK: done, or what is wrong (12.5, D8).
    pub(super) fn puback(
        &mut self,
        now: Now,
        key: Key<Peer>,
        puback: &v12::Puback,
        broker: &mut Broker,
    ) {
        let peer = self.peer(key);
        let id = peer.packet_id(puback.msg_id.0);
        let expected = match &peer.exchange {
            Some(Exchange { kind: Kind::Publish { id: expected, qos, dup, .. }, .. })
                if *expected == id =>
            {
                Some((*qos, *dup))
            }
            Some(_) | None => None,
        };
        match (puback.return_code, expected) {
            (ReturnCode::Accepted, Some((QoS::AtLeastOnce, _))) => {
                self.tell_ack(now, key, AckKind::PubAck, id, broker);
                self.complete(now, key, broker);
            }
            // Late, for a message that waits to be sent again.
            (ReturnCode::Accepted, None) => self.tell_ack(now, key, AckKind::PubAck, id, broker),
            // QoS 2 ends with PUBCOMP.
            (ReturnCode::Accepted, Some(_)) => self.stats.ignored += 1,
            (ReturnCode::InvalidTopicId, Some(_)) => self.correct_topic(now, key, id, broker),
            (ReturnCode::InvalidTopicId, None) => self.correct_qos0(now, key, puback.topic_id, id),
            (ReturnCode::Congestion, Some(_)) => self.pause(now, key),
            (ReturnCode::NotSupported | ReturnCode::Reserved(_), Some((_, true))) => {
                // It may be DUP that it does not understand: once without (D8).
                peer.quirks.no_dup = true;
                let link = peer.link;
                broker.resend(link, id, false);
                broker.set_credit(link, sleep::ACTIVE_CREDIT);
            }
            (ReturnCode::NotSupported | ReturnCode::Reserved(_), Some((_, false))) => {
                self.give_up(now, key, broker);
            }
            (ReturnCode::Congestion | ReturnCode::NotSupported | ReturnCode::Reserved(_), None) => {
                self.stats.ignored += 1
            }
        }
    }

    /// PUBREC: the broker answers with PUBREL, whether it knows the message or not.
    pub(super) fn pubrec(&mut self, now: Now, key: Key<Peer>, id: MsgId, broker: &mut Broker) {
        let id = self.peer(key).packet_id(id.0);
        self.tell_ack(now, key, AckKind::PubRec, id, broker);
    }

    /// PUBREL leaves, and PUBCOMP is waited for if the exchange is ours.
    pub(super) fn release(&mut self, now: Now, key: Key<Peer>, id: PacketId) {
        let peer = self.peer(key);
        if id.0 == 0 {
            // A PUBREC without a number; nothing of ours has it.
            self.send_to(key, v12::Pubrel { msg_id: MsgId(0) });
            return;
        }
        let msg_id = MsgId(peer.wire_id(id));
        let is_ours = peer.exchange.as_ref().is_none_or(|exchange| match exchange.kind {
            Kind::Publish { id: expected, .. } | Kind::Release { id: expected } => expected == id,
            Kind::Register { .. } => false,
        });
        let is_listening = peer.is_listening();
        self.send_to(key, v12::Pubrel { msg_id });
        if is_ours && is_listening {
            self.await_answer(now, key, Kind::Release { id });
        }
    }

    /// PUBCOMP ends an exchange of QoS 2.
    pub(super) fn pubcomp(&mut self, now: Now, key: Key<Peer>, id: MsgId, broker: &mut Broker) {
        let peer = self.peer(key);
        let id = peer.packet_id(id.0);
        let is_expected = matches!(
            peer.exchange,
            Some(Exchange { kind: Kind::Release { id: expected }, .. }) if expected == id
        );
        self.tell_ack(now, key, AckKind::PubComp, id, broker);
        if is_expected {
            self.complete(now, key, broker);
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

    /// The client does not know the topic id of a message in flight: it is told, and gets the message
    /// once more; the second time the message is dropped (SN-081).
    fn correct_topic(&mut self, now: Now, key: Key<Peer>, id: PacketId, broker: &mut Broker) {
        let peer = self.peer(key);
        if peer.corrected == Some(id) {
            self.give_up(now, key, broker);
            return;
        }
        peer.corrected = Some(id);
        let link = peer.link;
        let exchange = peer.exchange.as_mut().expect("the caller has looked");
        if let Kind::Publish { topic, topic_name, .. } = &mut exchange.kind {
            let said = *topic;
            match (said, topic_name.take()) {
                (TopicRef::Normal(id), _) => peer.registry.set_standing(id, Standing::Unknown),
                (_, Some(name)) => {
                    self.forget_naming(key, said, name.as_name());
                }
                (_, None) => {}
            }
        }
        broker.resend(link, id, false);
        broker.set_credit(link, sleep::ACTIVE_CREDIT);
    }

    /// The same for a message of QoS 0, which has no number: the last one is remembered.
    fn correct_qos0(&mut self, now: Now, key: Key<Peer>, topic_id: u16, id: PacketId) {
        let peer = self.peer(key);
        let is_last = peer.last_qos0.as_ref().is_some_and(|sent| sent.topic.raw() == topic_id);
        if id.0 != 0 || !is_last || peer.exchange.is_some() {
            self.stats.ignored += 1;
            return;
        }
        let Some(SentQos0 { topic, retain, payload, topic_name }) = peer.last_qos0.take() else {
            return;
        };
        let Ok(name) = broker_core::topic::TopicName::new(&topic_name) else { return };
        if let Some(id) = self.forget_naming(key, topic, name) {
            self.begin_register(now, key, id, Then::Qos0 { retain, payload });
        }
    }

    /// The client is overloaded: the message is sent again after a pause.
    fn pause(&mut self, now: Now, key: Key<Peer>) {
        self.stop_exchange(key);
        let pause = self.settings.congestion_pause;
        let timer = self.timers.insert(now.mono + pause, Timer::Exchange(key));
        if let Some(exchange) = &mut self.peer(key).exchange {
            exchange.tries = 0;
            exchange.timer = Some(timer);
        }
    }

    /// Tells the client of a name; what belongs under it waits for REGACK (SN-073, SN-077).
    pub(super) fn begin_register(&mut self, now: Now, key: Key<Peer>, topic_id: u16, then: Then) {
        let msg_id = self.peer(key).next_register_id();
        self.send_register(key, topic_id, msg_id);
        self.await_answer(now, key, Kind::Register { topic_id, msg_id, then });
    }

    fn send_register(&mut self, key: Key<Peer>, topic_id: u16, msg_id: u16) {
        let Self { peers, names, nodes, outbox, stats, .. } = self;
        let peer = peers.get(key).expect("a peer that is talked to");
        let (Some(path), Some(name)) = (peer.path, peer.registry.name(topic_id)) else { return };
        let topic_name = names.get(name).as_str().as_bytes();
        let register = v12::Register { topic_id, msg_id: MsgId(msg_id), topic_name };
        stats.registers_sent += 1;
        outbox.push(path, nodes.octets(path.address.node), &v12::Packet::from(register));
    }
}

impl Kind {
    /// Whether both are about the same message, in the same step.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Publish { id, .. }, Self::Publish { id: other, .. })
            | (Self::Release { id }, Self::Release { id: other }) => id == other,
            (
                Self::Register { topic_id, then: Then::InFlight(id), .. },
                Self::Register { topic_id: other_topic, then: Then::InFlight(other), .. },
            ) => topic_id == other_topic && id == other,
            (Self::Publish { .. } | Self::Release { .. } | Self::Register { .. }, _) => false,
        }
    }
}
