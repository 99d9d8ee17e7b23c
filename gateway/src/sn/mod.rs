//! All MQTT-SN clients: a front end of the broker without sockets, clocks or threads.
//!
//! It is driven as the broker is: datagrams and times go in with [`SnGateway::handle_datagram`] and
//! [`SnGateway::handle_timeout`], what the broker has for its links goes in with
//! [`SnGateway::handle_outgoing`], [`SnGateway::handle_close`] and [`SnGateway::handle_session_end`],
//! and datagrams come out of [`SnGateway::poll_transmit`]. After a round of outputs
//! [`SnGateway::settle`] lets it tell the broker what follows.
//!
//! ```text
//!             CONNECT … CONNACK                DISCONNECT(d)               PINGREQ
//!  (unknown) ───────────────────▶  active  ───────────────────▶  asleep ───────────▶ awake
//!      ▲                            │   ▲        CONNECT           │  ▲    PINGRESP    │
//!      │    silence, DISCONNECT     │   └──────────────────────────┘  └───────────────┘
//!      └────────────────────────────┴──────── silence (d), DISCONNECT ─────────┘
//! ```

mod address;
mod arq;
mod connect;
mod deliver;
mod discovery;
mod forwarder;
mod limiter;
mod names;
mod outbox;
mod peer;
mod publish;
mod registry;
mod settings;
mod sleep;
mod stats;
mod subscribe;
mod topics;

use core::time::Duration;
use std::net::SocketAddr;

use broker_core::Broker;
use broker_core::api::{AckKind, Flow, LinkId, Outgoing};
use broker_core::hash::{self, HashMap};
use broker_core::key::{Arena, Key};
use broker_core::reason::ReasonCode;
use broker_core::time::{Instant, Now};
use broker_core::timer::TimerWheel;
use sn_codec::forward::{self, Encapsulated};
use sn_codec::v12::{self, Packet, ReturnCode};
use sn_codec::{MsgId, QoS};
use tracing::{debug, info, trace};

pub use address::{Datagram, Destination, LocalAddress, PortId, Transmit};
pub use settings::{Network, Quirks, Rebind, Retry, Settings};
pub use stats::{SnStats, SnUsage};

use address::{Address, NodeId, Path};
use connect::Handshake;
use discovery::Discovery;
use forwarder::Nodes;
use limiter::{Meter, Rate, SourceMeters};
use names::Names;
use outbox::Outbox;
use peer::{Peer, State};

/// Timers looked at in one call of [`SnGateway::handle_timeout`].
const TIMEOUT_STEPS: u32 = 512;

/// All MQTT-SN clients.
#[derive(Debug)]
pub struct SnGateway {
    settings: Settings,
    rng: fastrand::Rng,
    peers: Arena<Peer>,
    by_client_id: HashMap<Box<str>, Key<Peer>>,
    by_address: HashMap<Address, Binding>,
    by_link: HashMap<LinkId, Owner>,
    handshakes: Arena<Handshake>,
    handshake_bytes: usize,
    last_link: u64,
    names: Names,
    nodes: Nodes,
    timers: TimerWheel<Timer>,
    outbox: Outbox,
    /// What the broker has to be told that could not be told where it came up.
    after: Vec<After>,
    unknown_senders: SourceMeters,
    unknown_total: Meter,
    unconnected: SourceMeters,
    discovery: Discovery,
    stats: SnStats,
    usage: SnUsage,
}

/// What an address stands for.
#[derive(Clone, Copy, Debug, Default)]
struct Binding {
    peer: Option<Key<Peer>>,
    handshake: Option<Key<Handshake>>,
}

/// Whose link it is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Peer(Key<Peer>),
    /// The broker has not answered the CONNECT yet.
    Handshake(Key<Handshake>),
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The exchange of a client got no answer.
    Exchange(Key<Peer>),
    /// A handshake is not finished, or its probe has to be repeated.
    Handshake(Key<Handshake>),
    Advertise,
}

/// A word to the broker.
#[derive(Clone, Copy, Debug)]
enum After {
    /// The client sleeps again: its sleep is supervised.
    Supervise(LinkId, Option<Duration>),
    /// The client can take messages again.
    Credit(LinkId),
}

impl SnGateway {
    /// A front end without clients. Links that it makes carry `link_tag` in their upper bits; the
    /// lower 48 are its own.
    pub fn new(settings: Settings, link_tag: u64, now: Now, seed: u64) -> Self {
        let mut timers = TimerWheel::new(now.mono);
        if settings.advertise_s > 0 {
            timers.insert(now.mono, Timer::Advertise);
        }
        let unknown_rate = Rate {
            max: settings.unknown_answers_per_source,
            window: settings.unknown_answers_window,
        };
        let unconnected_rate =
            Rate { max: settings.qos_minus_one_per_s, window: Duration::from_secs(1) };
        Self {
            rng: fastrand::Rng::with_seed(seed),
            peers: Arena::new(),
            by_client_id: hash::map(seed ^ 0x21),
            by_address: hash::map(seed ^ 0x22),
            by_link: hash::map(seed ^ 0x23),
            handshakes: Arena::new(),
            handshake_bytes: 0,
            last_link: link_tag,
            names: Names::new(seed ^ 0x24),
            nodes: Nodes::new(settings.nodes_per_forwarder, seed ^ 0x25),
            timers,
            outbox: Outbox::default(),
            after: Vec::new(),
            unknown_senders: SourceMeters::new(unknown_rate, seed ^ 0x26),
            unknown_total: Meter::default(),
            unconnected: SourceMeters::new(unconnected_rate, seed ^ 0x27),
            discovery: Discovery::new(&settings, seed ^ 0x28),
            stats: SnStats::default(),
            usage: SnUsage::default(),
            settings,
        }
    }

    /// A datagram came in. Whatever it holds, the sender gets at most what the specification says,
    /// and nobody else notices.
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>, broker: &mut Broker) {
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += datagram.octets.len() as u64;
        let Datagram { port, from: remote, to: local, group, octets } = datagram;
        if forward::is_encapsulated(octets) {
            self.handle_encapsulated(now, &datagram, broker);
        } else {
            let address = Address { port, remote, node: NodeId::NONE };
            self.handle_message(now, Path { address, local }, group, octets, broker);
        }
        self.settle(broker);
    }

    /// The broker says something to a link of ours.
    pub fn handle_outgoing(&mut self, now: Now, link: LinkId, packet: Outgoing<'_>) -> Flow {
        let key = match self.by_link.get(&link) {
            Some(Owner::Peer(key)) => *key,
            Some(Owner::Handshake(key)) => {
                let key = *key;
                if let Outgoing::ConnAck(ack) = packet {
                    self.finish_handshake(now, key, link, &ack);
                }
                return Flow::More;
            }
            None => return Flow::More,
        };
        match packet {
            Outgoing::Publish(delivery) => return self.deliver(now, key, &delivery),
            Outgoing::Ack(ack) => match ack.kind {
                AckKind::PubAck | AckKind::PubRec | AckKind::PubComp => {
                    self.acknowledge_client(key, ack);
                }
                AckKind::PubRel => {
                    self.release(now, key, ack.id);
                    return Flow::Hold;
                }
            },
            Outgoing::SubAck { id, token, reasons } => {
                self.acknowledge_subscribe(key, id, token, reasons);
            }
            Outgoing::UnsubAck { id, token, .. } => self.acknowledge_unsubscribe(key, id, token),
            Outgoing::WillAck { part, reason } => self.acknowledge_will(key, part, reason),
            Outgoing::Drained => self.finish_visit(now, key),
            // Neither is asked for: CONNACK answers handshakes, and pings are answered here.
            Outgoing::ConnAck(_) | Outgoing::Pong => {}
        }
        Flow::More
    }

    /// A link of ours is over for the broker.
    pub fn handle_close(&mut self, link: LinkId, reason: ReasonCode) {
        let Some(Owner::Peer(key)) = self.by_link.remove(&link) else { return };
        let peer = self.peers.get(key).expect("a link belongs to a peer");
        if peer.reconnecting.is_some() || !peer.is_connected() {
            // The same client has a new link, or ended this one itself.
            return;
        }
        info!(client = %peer.client_id, reason = %reason, "client lost");
        // A client that listens is told to connect again (SN-026); one that sleeps is not disturbed.
        if peer.is_listening()
            && let Some(path) = peer.path
        {
            self.send(path, v12::Disconnect { duration_s: None });
        }
        self.depart(key);
    }

    /// A session has ended, and with it what belongs to it here.
    pub fn handle_session_end(&mut self, client_id: &str) {
        let Some(key) = self.by_client_id.get(client_id).copied() else { return };
        let peer = self.peers.get_mut(key).expect("known by its client id");
        peer.registry.clear(&mut self.names);
        peer.predefined.clear();
        self.charge(key);
        let peer = self.peer(key);
        if !peer.is_connected() && peer.reconnecting.is_none() {
            self.forget(key);
        }
    }

    /// Does what is due. Does a bounded amount of work; if more is due,
    /// [`SnGateway::next_timeout`] says so.
    pub fn handle_timeout(&mut self, now: Now, broker: &mut Broker) {
        let mut steps = TIMEOUT_STEPS;
        while let Some(timer) = self.timers.pop(now.mono, &mut steps) {
            match timer {
                Timer::Exchange(key) => self.exchange_timed_out(now, key, broker),
                Timer::Handshake(key) => self.handshake_timed_out(now, key, broker),
                Timer::Advertise => self.advertise(now),
            }
        }
        self.settle(broker);
    }

    /// When [`SnGateway::handle_timeout`] wants to be called next, at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// The next datagram to be sent; borrowed until the next call.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        let transmit = self.outbox.pop()?;
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += transmit.octets.len() as u64;
        Some(transmit)
    }

    /// Tells the broker what came up while it was talking to us. To be called after a round of its
    /// outputs.
    pub fn settle(&mut self, broker: &mut Broker) {
        for after in self.after.drain(..) {
            match after {
                After::Supervise(link, silence) => broker.set_keep_alive(link, silence),
                After::Credit(link) => broker.set_credit(link, sleep::ACTIVE_CREDIT),
            }
        }
    }

    /// Tells every client that listens that the gateway goes: it will have to connect again.
    pub fn shut_down(&mut self) {
        let listening: Vec<Path> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_listening())
            .filter_map(|(_, peer)| peer.path)
            .collect();
        for path in listening {
            self.send(path, v12::Disconnect { duration_s: None });
        }
    }

    /// What has happened so far.
    pub const fn stats(&self) -> &SnStats {
        &self.stats
    }

    /// How many clients there are, and what they take.
    pub fn usage(&self) -> SnUsage {
        /// A place in the arena, the maps by client id, address and link, a timer.
        const PER_PEER: usize = size_of::<Peer>() + 320;
        SnUsage {
            handshakes: self.handshakes.len(),
            memory_bytes: self.peers.places() * PER_PEER
                + self.usage.memory_bytes
                + self.handshakes.places() * size_of::<Handshake>()
                + self.handshake_bytes
                + self.names.memory()
                + self.nodes.memory()
                + self.outbox.memory(),
            ..self.usage
        }
    }

    /// A message of a node behind a forwarder: unwrapped, and treated like any other (SN-028).
    fn handle_encapsulated(&mut self, now: Now, datagram: &Datagram<'_>, broker: &mut Broker) {
        let Datagram { port, from: remote, to: local, group, octets } = *datagram;
        let is_allowed = self.settings.forwarders.iter().any(|net| net.contains(remote.ip()));
        if !is_allowed {
            self.stats.forwarder_refused += 1;
            debug!(from = %remote, "encapsulated message from somebody who is no forwarder");
            return;
        }
        let Encapsulated { node, inner, .. } = match Encapsulated::decode(octets) {
            Ok(encapsulated) => encapsulated,
            Err(error) => {
                self.stats.malformed += 1;
                debug!(from = %remote, %error, "malformed encapsulation");
                return;
            }
        };
        let Some(node) = self.nodes.enter(port, remote, node) else {
            self.stats.forwarder_refused += 1;
            debug!(from = %remote, "too many nodes behind one forwarder");
            return;
        };
        let address = Address { port, remote, node };
        self.handle_message(now, Path { address, local }, group, inner, broker);
        self.tidy_address(address);
    }

    fn handle_message(
        &mut self,
        now: Now,
        path: Path,
        group: Option<SocketAddr>,
        octets: &[u8],
        broker: &mut Broker,
    ) {
        let packet = match Packet::decode(octets) {
            Ok(packet) => packet,
            Err(error) => {
                self.stats.malformed += 1;
                debug!(from = %path.address.remote, %error, "malformed datagram");
                return;
            }
        };
        trace!(from = %path.address.remote, ?packet, "received");
        let binding = self.by_address.get(&path.address).copied().unwrap_or_default();
        if let Some(key) = binding.peer {
            self.hear(now, key, path, broker);
            if !is_answer(&packet) {
                self.peer(key).spoke_at = now.mono;
            }
        }
        match packet {
            Packet::SearchGw(_) => self.answer_search(now, path, group),
            Packet::Connect(connect) => self.connect(now, path, &connect, broker),
            Packet::Publish(publish) if publish.qos == QoS::MinusOne => {
                self.publish_unconnected(now, path, &publish, broker);
            }
            Packet::Advertise(_)
            | Packet::GwInfo(_)
            | Packet::Connack(_)
            | Packet::WillTopicReq(_)
            | Packet::WillMsgReq(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::WillTopicResp(_)
            | Packet::WillMsgResp(_) => self.stats.ignored += 1,
            Packet::WillTopic(_)
            | Packet::WillMsg(_)
            | Packet::Register(_)
            | Packet::Regack(_)
            | Packet::Publish(_)
            | Packet::Puback(_)
            | Packet::Pubcomp(_)
            | Packet::Pubrec(_)
            | Packet::Pubrel(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq(_)
            | Packet::Pingresp(_)
            | Packet::Disconnect(_)
            | Packet::WillTopicUpd(_)
            | Packet::WillMsgUpd(_) => self.handle_request(now, path, binding, packet, broker),
        }
        if let Some(key) = binding.peer {
            self.resume_stalled(now, key, broker);
        }
    }

    /// What belongs to a handshake or to a session.
    fn handle_request(
        &mut self,
        now: Now,
        path: Path,
        binding: Binding,
        packet: Packet<'_>,
        broker: &mut Broker,
    ) {
        if let Some(key) = binding.handshake
            && self.handle_in_handshake(now, key, &packet, broker)
        {
            return;
        }
        let Some(key) = binding.peer else {
            self.handle_unknown(now, path, binding, &packet, broker);
            return;
        };
        if !matches!(packet, Packet::WillTopic(_) | Packet::WillMsg(_)) {
            self.peer(key).untouched = false;
        }
        match packet {
            Packet::WillTopic(message) => {
                self.repeat_connack(key, &connect::will_topic_hash(&message))
            }
            Packet::WillMsg(message) => self.repeat_connack(key, &connect::will_msg_hash(&message)),
            Packet::Register(register) => self.register(key, &register),
            Packet::Regack(regack) => self.registered(now, key, &regack, broker),
            Packet::Publish(publish) => self.publish(now, key, &publish, broker),
            Packet::Puback(puback) => self.puback(now, key, &puback, broker),
            Packet::Pubrec(pubrec) => self.pubrec(now, key, pubrec.msg_id, broker),
            Packet::Pubcomp(pubcomp) => self.pubcomp(now, key, pubcomp.msg_id, broker),
            Packet::Pubrel(pubrel) => self.pubrel(now, key, pubrel.msg_id, broker),
            Packet::Subscribe(subscribe) => self.subscribe(now, key, &subscribe, broker),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(now, key, &unsubscribe, broker),
            Packet::Pingreq(pingreq) => self.pingreq(now, path, key, &pingreq, broker),
            Packet::Pingresp(_) => {}
            Packet::Disconnect(disconnect) => self.disconnect(now, key, &disconnect, broker),
            Packet::WillTopicUpd(update) => self.update_will_topic(now, key, &update, broker),
            Packet::WillMsgUpd(update) => self.update_will_message(now, key, &update, broker),
            Packet::Advertise(_)
            | Packet::SearchGw(_)
            | Packet::GwInfo(_)
            | Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::WillTopicReq(_)
            | Packet::WillMsgReq(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::WillTopicResp(_)
            | Packet::WillMsgResp(_) => unreachable!("sorted out by the caller"),
        }
    }

    /// Something from an address that no session is bound to. A request is answered by DISCONNECT, so
    /// that the client connects again at once and does not use up its radio time on repetitions (D1).
    fn handle_unknown(
        &mut self,
        now: Now,
        path: Path,
        binding: Binding,
        packet: &Packet<'_>,
        broker: &mut Broker,
    ) {
        if is_answer(packet) || binding.handshake.is_some() {
            self.stats.ignored += 1;
            return;
        }
        if let Packet::Pingreq(pingreq) = packet
            && !pingreq.client_id.is_empty()
        {
            self.pingreq_from_elsewhere(now, path, pingreq, broker);
        } else {
            self.answer_unknown(now, path);
        }
    }

    /// A plain DISCONNECT, as often as the limits allow (SN-026, D1).
    fn answer_unknown(&mut self, now: Now, path: Path) {
        self.stats.unknown_sender += 1;
        let per_s =
            Rate { max: self.settings.unknown_answers_per_s, window: Duration::from_secs(1) };
        if self.unknown_senders.admit(path.address, now.mono)
            && self.unknown_total.admit(per_s, now.mono)
        {
            self.stats.unknown_answered += 1;
            self.send(path, v12::Disconnect { duration_s: None });
        }
    }

    /// A sign of life of a client, whatever it says.
    fn hear(&mut self, now: Now, key: Key<Peer>, path: Path, broker: &mut Broker) {
        let peer = self.peer(key);
        peer.heard_at = now.mono;
        peer.path = Some(path);
        let link = peer.link;
        broker.touch(now, link);
    }

    /// Sends a message to somebody.
    fn send<'a>(&mut self, path: Path, packet: impl Into<Packet<'a>>) {
        let packet = packet.into();
        trace!(to = %path.address.remote, ?packet, "sending");
        self.outbox.push(path, self.nodes.octets(path.address.node), &packet);
    }

    /// Sends a message to a client that can be reached.
    fn send_to<'a>(&mut self, key: Key<Peer>, packet: impl Into<Packet<'a>>) {
        if let Some(path) = self.peer(key).path {
            self.send(path, packet);
        }
    }

    fn set_state(&mut self, key: Key<Peer>, state: State) {
        let old = core::mem::replace(&mut self.peer(key).state, state);
        *self.count_of(old) -= 1;
        *self.count_of(state) += 1;
    }

    /// Takes the memory of a client into account as it is now.
    fn charge(&mut self, key: Key<Peer>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let memory = peer.memory();
        self.usage.memory_bytes += memory;
        self.usage.memory_bytes -= core::mem::replace(&mut peer.charged, memory);
    }

    fn count_of(&mut self, state: State) -> &mut usize {
        match state {
            State::Gone => &mut self.usage.gone,
            State::Active => &mut self.usage.active,
            State::Asleep { .. } => &mut self.usage.asleep,
            State::Awake { .. } => &mut self.usage.awake,
        }
    }

    fn peer(&mut self, key: Key<Peer>) -> &mut Peer {
        self.peers.get_mut(key).expect("a key of a peer that is there")
    }

    /// Forgets an address, and the node behind it, that nothing is bound to any more.
    fn tidy_address(&mut self, address: Address) {
        let is_unused = self
            .by_address
            .get(&address)
            .is_none_or(|binding| binding.peer.is_none() && binding.handshake.is_none());
        if is_unused {
            self.by_address.remove(&address);
            self.nodes.leave(address.node);
        }
    }
}

/// Whether a message answers one of ours: it owes nobody an answer, and may come late.
const fn is_answer(packet: &Packet<'_>) -> bool {
    matches!(
        packet,
        Packet::Puback(_)
            | Packet::Pubrec(_)
            | Packet::Pubcomp(_)
            | Packet::Regack(_)
            | Packet::Pingresp(_)
    )
}

/// What a verdict of the broker is in MQTT-SN (section 6 of the specification reference).
const fn return_code(reason: ReasonCode) -> ReturnCode {
    if !reason.is_error() {
        return ReturnCode::Accepted;
    }
    let may_try_later = matches!(
        reason,
        ReasonCode::QuotaExceeded
            | ReasonCode::ServerBusy
            | ReasonCode::ServerUnavailable
            | ReasonCode::ServerShuttingDown
            | ReasonCode::ReceiveMaximumExceeded
            | ReasonCode::MessageRateTooHigh
            | ReasonCode::ConnectionRateExceeded
    );
    if may_try_later { ReturnCode::Congestion } else { ReturnCode::NotSupported }
}

/// The message id field of a packet identifier that came from a client.
const fn msg_id(id: broker_core::api::PacketId) -> MsgId {
    MsgId(id.0)
}
