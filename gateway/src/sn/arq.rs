//! Repetition towards clients: one message at a time waits for its answer (SN 6.13, D7, D8).
//!
//! ```text
//! REGISTER ──▶ REGACK ──▶ PUBLISH ──▶ PUBACK                     done
//!                                └──▶ PUBREC ──▶ PUBREL ──▶ PUBCOMP
//! ```
//!
//! What is repeated is not kept here: a PUBLISH is asked of the broker again, which holds it in
//! flight; a REGISTER and a PUBREL are made again from their numbers. An exchange whose client fell
//! silent has no timer; it stalls until the client is heard of, or wakes up.

use core::time::Duration;

use broker_core::Broker;
use broker_core::api::{Credit, PacketId, QoS};
use broker_core::key::Key;
use broker_core::time::{Instant, Now};
use broker_core::timer::TimerId;
use sn_codec::MsgId;
use sn_codec::v12::{self, TopicRef};
use tracing::debug;

use super::outbox::Listener;
use super::peer::{Peer, State};
use super::registry::Standing;
use super::settings::Retry;
use super::{SnGateway, Timer};

/// One message at a time towards a client that is active.
pub(super) const ACTIVE_CREDIT: Credit = Credit::Window(1);

/// The same until nothing is left: towards a client that waits for PINGRESP.
const VISIT_CREDIT: Credit = Credit::UntilDrained(1);

/// How often the repetitions towards a client that is there may be used up before a message is
/// given up. A message of a sort that it never answered may be one that it does not understand:
/// once is enough then (section 18). One of a sort that it does answer was lost, and a radio that
/// loses three datagrams of ten loses five exchanges in a row for one message in thirty.
const ROUNDS_UNPROVEN: u8 = 1;
const ROUNDS_PROVEN: u8 = 5;

/// The same for REGISTER of a client that answers it: its table may be full now.
const ROUNDS_REGISTER: u8 = 3;

/// The same towards a sleeping client, once a visit: one that does not understand a message would
/// never get another.
const BROKEN_VISITS_MAX: u8 = 5;

/// A message that waits for the client's answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) kind: Kind,
    /// Repetitions since the client was last known to be there.
    tries: u8,
    /// How often they were used up.
    rounds: u8,
    /// When it was sent for the first time.
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
    Publish { id: PacketId, sort: Sort, topic: TopicRef, dup: bool },
    /// PUBREL, for PUBCOMP.
    Release { id: PacketId },
    /// Nothing but time: the client answered "congestion" to a message of QoS 0.
    Pause,
}

/// What is sent once the client knows the topic id.
#[derive(Debug)]
pub(super) enum Then {
    /// A message that the broker holds in flight, and whether it has left before.
    InFlight { id: PacketId, dup: bool },
    /// A message of QoS 0, which nobody else holds.
    Qos0 { retain: bool, payload: Vec<u8> },
}

/// Sorts of publications that devices differ in: some answer QoS 1 only, some no empty payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) qos: QoS,
    pub(super) is_empty: bool,
}

/// The sorts of publications that a client has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sorts(u8);

impl Sorts {
    /// Returns whether it is a new one.
    pub(super) const fn add(&mut self, sort: Sort) -> bool {
        let is_new = !self.has(sort);
        self.0 |= Self::bit(sort);
        is_new
    }

    pub(super) const fn octet(self) -> u8 {
        self.0
    }

    pub(super) const fn from_octet(octet: u8) -> Self {
        Self(octet)
    }

    const fn has(self, sort: Sort) -> bool {
        self.0 & Self::bit(sort) != 0
    }

    const fn bit(sort: Sort) -> u8 {
        1 << (2 * sort.qos as u8 + sort.is_empty as u8)
    }
}

impl Exchange {
    /// Whether it waits for the client to be heard of.
    pub(super) const fn is_stalled(&self) -> bool {
        self.timer.is_none()
    }

    /// Whether the client has not answered in its time.
    pub(super) const fn is_overdue(&self) -> bool {
        self.is_stalled() || self.tries > 0 || self.rounds > 0
    }

    /// The client is there and has its repetitions before it.
    pub(super) const fn begin_anew(&mut self) {
        self.tries = 0;
    }

    /// Whether it is about this publication, in whatever step.
    pub(super) fn is_about(&self, publication: PacketId) -> bool {
        match &self.kind {
            Kind::Register { then: Then::InFlight { id, .. }, .. }
            | Kind::Publish { id, .. }
            | Kind::Release { id } => *id == publication,
            Kind::Register { then: Then::Qos0 { .. }, .. } | Kind::Pause => false,
        }
    }

    /// Octets held beyond its place.
    pub(super) fn memory(&self) -> usize {
        match &self.kind {
            Kind::Register { then: Then::Qos0 { payload, .. }, .. } => payload.capacity(),
            Kind::Register { .. } | Kind::Publish { .. } | Kind::Release { .. } | Kind::Pause => 0,
        }
    }
}

impl Kind {
    /// Whether both are about the same message, in the same step.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Publish { id, .. }, Self::Publish { id: other, .. })
            | (Self::Release { id }, Self::Release { id: other }) => id == other,
            (
                Self::Register { topic_id, then: Then::InFlight { id, .. }, .. },
                Self::Register {
                    topic_id: other_topic,
                    then: Then::InFlight { id: other, .. },
                    ..
                },
            ) => topic_id == other_topic && id == other,
            (
                Self::Publish { .. } | Self::Release { .. } | Self::Register { .. } | Self::Pause,
                _,
            ) => false,
        }
    }
}

impl SnGateway {
    /// Something was sent that the client has to answer.
    pub(super) fn await_answer(&mut self, now: Now, key: Key<Peer>, kind: Kind) {
        self.enter_exchange(now, key, kind);
        self.arm(now, key);
    }

    /// The exchange of a client from now on, without a timer yet.
    pub(super) fn enter_exchange(&mut self, now: Now, key: Key<Peer>, kind: Kind) {
        let old = self.end_exchange(key);
        let (tries, rounds, began) = match old {
            // The same message once more.
            Some(old) if old.kind.is_same(&kind) => (old.tries, old.rounds, old.began),
            Some(_) | None => (0, 0, now.mono),
        };
        let exchange = Exchange { kind, tries, rounds, began, timer: None };
        self.peer(key).exchange = Some(exchange);
        self.charge(key);
    }

    /// Takes the exchange of a client away.
    pub(super) fn end_exchange(&mut self, key: Key<Peer>) -> Option<Exchange> {
        self.stall_exchange(key);
        let exchange = self.peer(key).exchange.take()?;
        self.charge(key);
        Some(exchange)
    }

    /// The client cannot be waited for any more; what waited stays for later.
    pub(super) fn stall_exchange(&mut self, key: Key<Peer>) {
        let timer = self.peer(key).exchange.as_mut().and_then(|exchange| exchange.timer.take());
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
    }

    /// Somebody connects from where the client is: what waits is repeated when the client is heard
    /// of again, if nothing new begins then. That ends a visit, which its repetitions supervise.
    pub(super) fn wait_for_connect(&mut self, key: Key<Peer>) {
        self.stall_exchange(key);
        self.break_visit(key);
    }

    /// Sets the timer of the exchange anew.
    fn arm(&mut self, now: Now, key: Key<Peer>) {
        let after = self.retry(key).after;
        // A tenth more or less, so that clients that began together do not stay together (D7).
        let jitter = after.mul_f64(0.9 + 0.2 * self.rng.f64());
        self.arm_after(now, key, jitter);
    }

    pub(super) fn arm_after(&mut self, now: Now, key: Key<Peer>, after: Duration) {
        self.stall_exchange(key);
        let timer = self.timers.insert(now.mono + after, Timer::Exchange(key));
        let exchange = self.peer(key).exchange.as_mut();
        exchange.expect("a timer is set for an exchange").timer = Some(timer);
    }

    fn retry(&self, key: Key<Peer>) -> Retry {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let retry = match peer.state {
            State::Awake { .. } => self.settings.awake_retry,
            State::Active | State::Asleep { .. } | State::Gone => self.settings.retry,
        };
        Retry { after: peer.quirks.retry_after.unwrap_or(retry.after), ..retry }
    }

    /// The exchange ended as it should: on to the next message.
    pub(super) fn complete(&mut self, key: Key<Peer>, broker: &mut Broker) {
        self.end_exchange(key);
        let peer = self.peer(key);
        peer.corrected = None;
        peer.collected = peer.collected.saturating_add(1);
        self.grant(key, broker);
    }

    pub(super) fn exchange_timed_out(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        if self.waits_for_record(key) {
            self.go_on_waiting(now, key, broker);
            return;
        }
        let times = self.retry(key).times;
        let Some(exchange) = &mut self.peer(key).exchange else { return };
        exchange.timer = None;
        if self.is_connecting(key) {
            self.wait_for_connect(key);
            return;
        }
        let Some(exchange) = &mut self.peer(key).exchange else { return };
        if matches!(exchange.kind, Kind::Pause) {
            self.end_exchange(key);
            self.grant(key, broker);
        } else if exchange.tries < times {
            exchange.tries += 1;
            self.repeat(now, key, broker);
        } else {
            exchange.rounds = exchange.rounds.saturating_add(1);
            self.repetitions_used_up(now, key, broker);
        }
    }

    /// Whether what the client is to answer has not left, as the topic id that it tells or uses is
    /// not durable yet.
    fn waits_for_record(&self, key: Key<Peer>) -> bool {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let id = match peer.exchange.as_ref().map(|exchange| &exchange.kind) {
            Some(
                Kind::Register { topic_id: id, .. }
                | Kind::Publish { topic: TopicRef::Normal(id), .. },
            ) => *id,
            Some(Kind::Publish { .. } | Kind::Release { .. } | Kind::Pause) | None => return false,
        };
        self.recorder.must_wait(peer.registry.batch_of(id), peer.path)
    }

    /// The disk is slower than the client would be, or full. A message of QoS 0 is not worth the
    /// wait, and a visit ends without the others, which come first in the next one.
    fn go_on_waiting(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let exchange = self.peer(key).exchange.take_if(|exchange| {
            exchange.timer = None;
            matches!(exchange.kind, Kind::Register { then: Then::Qos0 { .. }, .. })
        });
        let is_over = exchange.is_some();
        if let Some(Exchange { kind: Kind::Register { then, .. }, .. }) = exchange {
            self.charge(key);
            self.drop_unnamed(key, then, broker);
        }
        match self.peer(key).state {
            State::Active if is_over => self.grant(key, broker),
            State::Active => self.arm(now, key),
            State::Awake { .. } => self.finish_visit(key),
            State::Asleep { .. } | State::Gone => {}
        }
    }

    /// The client did not answer however often it was asked (D7).
    fn repetitions_used_up(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let Some(exchange) = &peer.exchange else { return };
        let rounds_max = match exchange.kind {
            Kind::Publish { sort, .. } if peer.understands.has(sort) => ROUNDS_PROVEN,
            Kind::Register { .. } if peer.registry.answers_register() => ROUNDS_REGISTER,
            // It has answered the PUBLISH.
            Kind::Release { .. } => ROUNDS_PROVEN,
            Kind::Publish { .. } | Kind::Register { .. } | Kind::Pause => ROUNDS_UNPROVEN,
        };
        match peer.state {
            // It is there and does not answer this one (section 18).
            State::Active if peer.spoke_at > exchange.began && exchange.rounds >= rounds_max => {
                self.give_up(key, broker);
            }
            State::Active if peer.spoke_at > exchange.began => self.retransmit(now, key, broker),
            State::Active => debug!(client = %peer.client_id, "client does not answer, waiting"),
            State::Awake { .. } if exchange.rounds >= BROKEN_VISITS_MAX => {
                self.give_up(key, broker);
            }
            State::Awake { .. } => self.break_visit(key),
            State::Asleep { .. } | State::Gone => {}
        }
    }

    /// Sends what waits once more, at once, as the client is there again.
    pub(super) fn retransmit(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let is_stalled = self.peer(key).exchange.as_ref().is_some_and(Exchange::is_stalled);
        if self.waits_for_record(key) && !is_stalled {
            // It is on its way, and the wait has its bound already.
            return;
        }
        self.stall_exchange(key);
        if let Some(exchange) = &mut self.peer(key).exchange {
            exchange.begin_anew();
            self.repeat(now, key, broker);
        }
    }

    /// A client that had fallen silent was heard of.
    pub(super) fn resume_stalled(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let Some(peer) = self.peers.get(key) else { return };
        let is_stalled = peer.exchange.as_ref().is_some_and(Exchange::is_stalled);
        let is_reached = peer.state == State::Active && peer.is_listening();
        if is_reached && is_stalled && !self.is_connecting(key) {
            self.retransmit(now, key, broker);
        }
    }

    /// Sends the message of the exchange once more.
    fn repeat(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        if self.waits_for_record(key) {
            self.arm(now, key);
            return;
        }
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let Some(exchange) = &peer.exchange else { return };
        match exchange.kind {
            // The client has learnt the id in another way, or its REGACK came late.
            Kind::Register { topic_id, .. }
                if peer.registry.standing(topic_id) == Some(Standing::Known) =>
            {
                self.go_on_named(key, broker);
            }
            Kind::Register { topic_id, msg_id, .. } => {
                self.stats.retransmissions += 1;
                self.send_register(key, topic_id, msg_id);
                self.arm(now, key);
            }
            Kind::Release { id } => {
                self.stats.retransmissions += 1;
                let msg_id = MsgId(peer.wire_id(id));
                self.send_to(key, v12::Pubrel { msg_id });
                self.arm(now, key);
            }
            Kind::Publish { id, .. } => {
                self.stats.retransmissions += 1;
                let dup = !peer.quirks.no_dup;
                self.send_again(key, id, dup, broker);
            }
            Kind::Pause => {
                self.end_exchange(key);
                self.grant(key, broker);
            }
        }
    }

    /// Asks the broker for a message in flight. It comes back as a delivery, which sets the timer;
    /// if it is not in flight any more, the next one comes.
    pub(super) fn send_again(
        &mut self,
        key: Key<Peer>,
        id: PacketId,
        dup: bool,
        broker: &mut Broker,
    ) {
        let link = self.peer(key).link;
        if !broker.resend(link, id, dup) {
            self.end_exchange(key);
        }
        if let Some(credit) = self.credit(key) {
            broker.set_credit(link, credit);
        }
    }

    /// The client knows the topic id now: sends what waited for it.
    pub(super) fn go_on_named(&mut self, key: Key<Peer>, broker: &mut Broker) {
        if self.is_connecting(key) {
            self.wait_for_connect(key);
            return;
        }
        let Some(exchange) = self.end_exchange(key) else { return };
        let Kind::Register { topic_id, then, .. } = exchange.kind else {
            unreachable!("the caller has looked");
        };
        match then {
            Then::InFlight { id, dup } => self.send_again(key, id, dup, broker),
            Then::Qos0 { retain, payload } => {
                self.send_qos0(key, TopicRef::Normal(topic_id), retain, &payload);
                let peer = self.peer(key);
                peer.collected = peer.collected.saturating_add(1);
                self.grant(key, broker);
            }
        }
    }

    /// Drops the message that the client will never acknowledge, and goes on.
    pub(super) fn give_up(&mut self, key: Key<Peer>, broker: &mut Broker) {
        self.stats.given_up += 1;
        let Some(exchange) = self.end_exchange(key) else { return };
        let peer = self.peer(key);
        debug!(client = %peer.client_id, "client does not acknowledge a message, giving it up");
        let link = peer.link;
        peer.corrected = None;
        peer.collected = peer.collected.saturating_add(1);
        match exchange.kind {
            Kind::Publish { id, .. } | Kind::Release { id } => broker.abandon(link, id),
            Kind::Register { topic_id, then, .. } => {
                self.set_standing(key, topic_id, Standing::Refused);
                self.drop_unnamed(key, then, broker);
            }
            Kind::Pause => {}
        }
        self.grant(key, broker);
    }

    /// Drops a message whose topic the client cannot be told of.
    pub(super) fn drop_unnamed(&mut self, key: Key<Peer>, then: Then, broker: &mut Broker) {
        match then {
            Then::InFlight { id, .. } => broker.abandon(self.peer(key).link, id),
            Then::Qos0 { .. } => broker.stats_mut().dropped_unsendable += 1,
        }
    }

    /// What a client may be sent now, as far as its state allows anything.
    pub(super) fn credit(&self, key: Key<Peer>) -> Option<Credit> {
        let peer = self.peers.get(key).filter(|_| !self.is_connecting(key))?;
        match peer.state {
            State::Active if peer.owes_pingresp => Some(VISIT_CREDIT),
            State::Active => Some(ACTIVE_CREDIT),
            State::Awake { .. } => Some(VISIT_CREDIT),
            State::Asleep { .. } | State::Gone => None,
        }
    }

    /// Lets a client have its next message, unless this visit has brought it enough.
    pub(super) fn grant(&mut self, key: Key<Peer>, broker: &mut Broker) {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        if self.has_collected_enough(peer) {
            self.finish_visit(key);
        } else if let Some(credit) = self.credit(key) {
            broker.set_credit(peer.link, credit);
        }
    }

    /// Tells the client of a name; what belongs under it waits for REGACK (SN-073, SN-077).
    pub(super) fn begin_register(&mut self, now: Now, key: Key<Peer>, topic_id: u16, then: Then) {
        let msg_id = self.peer(key).next_register_id();
        self.enter_exchange(now, key, Kind::Register { topic_id, msg_id, then });
        // To one that sleeps it is said in its next visit.
        if self.peer(key).is_listening() {
            self.send_register(key, topic_id, msg_id);
            self.arm(now, key);
        }
    }

    fn send_register(&mut self, key: Key<Peer>, topic_id: u16, msg_id: u16) {
        let Self { peers, names, nodes, outbox, recorder, stats, .. } = self;
        let peer = peers.get(key).expect("a peer that is talked to");
        let (Some(path), Some(name)) = (peer.path, peer.registry.name(topic_id)) else { return };
        let topic_name = names.get(name).as_str().as_bytes();
        let register = v12::Register { topic_id, msg_id: MsgId(msg_id), topic_name };
        stats.registers_sent += 1;
        let node = nodes.octets(path.address.node);
        let batch = peer.registry.batch_of(topic_id);
        let listener = Some(Listener { peer: key, spell: peer.spell });
        let outbox = recorder.outbox_for(batch, path, listener, outbox);
        outbox.push(path, node, 0, &v12::Packet::from(register));
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::SentQos0;
    use super::super::settings::Quirks;
    use super::*;
    use std::net::Ipv4Addr;

    /// They stand in a record, one bit each.
    #[test]
    fn what_a_client_has_answered_is_known_sort_by_sort() {
        let mut sorts = Sorts::default();
        let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        let all = levels.map(|qos| [false, true].map(|is_empty| Sort { qos, is_empty }));
        for (known, sort) in all.as_flattened().iter().enumerate() {
            assert_eq!(sorts.octet().count_ones() as usize, known);
            assert!(!sorts.has(*sort));
            assert!(sorts.add(*sort), "{sort:?} is new");
            assert!(!sorts.add(*sort), "{sort:?} is known");
            assert_eq!(Sorts::from_octet(sorts.octet()), sorts);
        }
    }

    /// A message of QoS 0 that waits for REGACK, beside the one that was sent last.
    #[test]
    fn what_waits_for_an_answer_counts_as_memory_of_its_client() {
        let host = Ipv4Addr::LOCALHOST.into();
        let mut peer = Peer::new("c", host, Quirks::default(), 0);
        let then = Then::Qos0 { retain: false, payload: Vec::with_capacity(300) };
        let kind = Kind::Register { topic_id: 1, msg_id: 1, then };
        let began = Instant::default();
        peer.exchange = Some(Exchange { kind, tries: 0, rounds: 0, began, timer: None });
        assert_eq!(peer.memory(), 2 + 300);
        let payload = Vec::with_capacity(500);
        peer.last_qos0 = Some(SentQos0 { topic: TopicRef::Normal(1), retain: false, payload });
        assert_eq!(peer.memory(), 2 + 300 + 500);
    }
}
