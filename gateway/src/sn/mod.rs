//! All MQTT-SN clients: a front end of the broker without sockets, clocks or threads.
//!
//! What the specification does not say is as in MQTT (SN-030): sessions, subscriptions, messages
//! and wills are the broker's, which does not ask what its clients speak.
//!
//! It is driven as the broker is: datagrams and times go in with [`SnGateway::handle_datagram`] and
//! [`SnGateway::handle_timeout`], what the broker has for its links goes in with
//! [`SnGateway::handle_outgoing`], [`SnGateway::handle_close`] and
//! [`SnGateway::handle_session_end`], and datagrams come out of [`SnGateway::poll_transmit`]. After
//! a round of outputs [`SnGateway::settle`] lets it tell the broker what follows. What is to
//! outlive the process leaves with [`SnGateway::take_journal`], and comes back with
//! [`SnGateway::restore`].
//!
//! ```text
//!             CONNECT … CONNACK                DISCONNECT(d)               PINGREQ
//!  (unknown) ───────────────────▶  active  ───────────────────▶  asleep ───────────▶ awake
//!      ▲                            │   ▲        CONNECT           │  ▲    PINGRESP    │
//!      │    silence, DISCONNECT     │   └──────────────────────────┘  └───────────────┘
//!      └────────────────────────────┴──────── silence (d), DISCONNECT ─────────┘
//! ```

mod address;
mod answers;
mod arq;
mod connect;
mod deliver;
mod discovery;
mod forwarder;
mod handshakes;
mod inbound;
mod invariants;
mod life;
mod limiter;
mod names;
mod outbox;
mod peer;
mod predefined;
mod publish;
mod receive;
mod reconfigure;
mod record;
mod recorder;
mod registry;
mod restore;
mod settings;
mod sleep;
mod stats;
mod subscribe;
mod takeover;
mod topics;
mod will;

use core::time::Duration;

use broker_core::Broker;
use broker_core::api::{AckKind, Credit, Flow, LinkId, Outgoing, PacketId};
use broker_core::hash::{self, HashMap};
use broker_core::key::{Arena, Key};
use broker_core::reason::ReasonCode;
use broker_core::time::{Instant, Now};
use broker_core::timer::{TimerId, TimerWheel};
use sn_codec::MsgId;
use sn_codec::v12::{self, Packet, ReturnCode};
use tracing::trace;

pub use address::{Datagram, Destination, LocalAddress, PortId, Transmit};
pub use settings::{Network, Quirks, Rebind, Retry, Settings};
pub use stats::{SnStats, SnUsage};

use address::{Address, Path};
use connect::Handshake;
use discovery::Discovery;
use forwarder::Nodes;
use handshakes::Handshakes;
use limiter::{Meter, SourceMeters};
use names::Names;
use outbox::Outbox;
use peer::Peer;
use predefined::Predefined;
use recorder::Recorder;
use restore::Restoring;

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
    handshakes: Handshakes,
    last_link: u64,
    names: Names,
    nodes: Nodes,
    timers: TimerWheel<Timer>,
    /// The next ADVERTISE.
    advertise_timer: Option<TimerId>,
    predefined: Predefined,
    outbox: Outbox,
    recorder: Recorder,
    /// Set while records come back.
    restoring: Option<Box<Restoring>>,
    /// What the broker has to be told that could not be told where it came up.
    after: Vec<After>,
    /// The broker's word on its memory, as of the last [`SnGateway::settle`].
    is_out_of_memory: bool,
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
    /// The client sleeps again: it is lost after so much silence.
    Supervise(LinkId, Duration),
    /// The client may be sent so much.
    Credit(LinkId, Credit),
    /// A message in flight did not leave: it is to be sent when the client may be sent something.
    Again(LinkId, PacketId),
}

impl SnGateway {
    /// A front end without clients. Links that it makes carry `link_tag` in their upper bits; the
    /// lower 48 are its own.
    pub fn new(mut settings: Settings, link_tag: u64, now: Now, seed: u64) -> Self {
        let mut timers = TimerWheel::new(now.mono);
        let does_advertise = settings.advertise_s > 0;
        let advertise_timer = does_advertise.then(|| timers.insert(now.mono, Timer::Advertise));
        let (unknown_rate, unconnected_rate) = reconfigure::rates(&settings);
        let predefined = Predefined::new(reconfigure::take_table(&mut settings));
        Self {
            rng: fastrand::Rng::with_seed(seed),
            peers: Arena::new(),
            by_client_id: hash::map(seed ^ 0x21),
            by_address: hash::map(seed ^ 0x22),
            by_link: hash::map(seed ^ 0x23),
            handshakes: Handshakes::new(settings.handshakes_max),
            last_link: link_tag,
            names: Names::new(seed ^ 0x24),
            nodes: Nodes::new(settings.nodes_per_forwarder, seed ^ 0x25),
            timers,
            advertise_timer,
            predefined,
            outbox: Outbox::default(),
            recorder: Recorder::new(settings.is_durable, seed ^ 0x29),
            restoring: None,
            after: Vec::new(),
            is_out_of_memory: false,
            unknown_senders: SourceMeters::new(unknown_rate, seed ^ 0x26),
            unknown_total: Meter::default(),
            unconnected: SourceMeters::new(unconnected_rate, seed ^ 0x27),
            discovery: Discovery::new(&settings, seed ^ 0x28),
            stats: SnStats::default(),
            usage: SnUsage::default(),
            settings,
        }
    }

    /// The largest message for each port, once it is known which ports there are.
    pub fn set_max_datagram(&mut self, of_ports: Vec<u16>) {
        self.settings.max_datagram = of_ports;
    }

    /// A datagram came in. Whatever it holds, the sender gets at most what the specification says,
    /// and nobody else notices.
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>, broker: &mut Broker) {
        self.settle(broker);
        self.receive(now, &datagram, broker);
        self.settle(broker);
    }

    /// The broker says something to a link of ours.
    pub fn handle_outgoing(&mut self, now: Now, link: LinkId, packet: Outgoing<'_>) -> Flow {
        let key = match self.by_link.get(&link).copied() {
            Some(Owner::Peer(key)) => key,
            Some(Owner::Handshake(key)) => {
                if let Outgoing::ConnAck(ack) = packet {
                    self.finish_handshake(key, link, &ack);
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
                AckKind::PubRel => return self.release(now, key, ack),
            },
            Outgoing::SubAck { id, token, reasons } => {
                self.acknowledge_subscribe(key, id, token, reasons);
            }
            Outgoing::UnsubAck { id, token, .. } => self.acknowledge_unsubscribe(key, id, token),
            Outgoing::WillAck { part, reason } => self.acknowledge_will(key, part, reason),
            Outgoing::Drained => self.finish_visit(key),
            // Neither is asked for: CONNACK answers handshakes, and pings are answered here.
            Outgoing::ConnAck(_) | Outgoing::Pong => {}
        }
        Flow::More
    }

    /// A link of ours is over for the broker.
    pub fn handle_close(&mut self, link: LinkId, reason: ReasonCode) {
        match self.by_link.remove(&link) {
            Some(Owner::Peer(key)) => self.link_ended(key, reason),
            Some(Owner::Handshake(key)) => self.lose_handshake(key),
            // The client ended it itself, or its CONNECT was refused.
            None => {}
        }
    }

    /// A session has ended, and with it what belongs to it here. A link that it had was closed
    /// before.
    pub fn handle_session_end(&mut self, client_id: &str) {
        let Some(key) = self.by_client_id.get(client_id).copied() else { return };
        self.forget_records(key);
        let peer = self.peers.get_mut(key).expect("known by its client id");
        peer.registry.clear(&mut self.names);
        peer.predefined = Vec::new();
        peer.session_ended = true;
        self.charge(key);
        self.forget_if_over(client_id);
    }

    /// Does what is due. Does a bounded amount of work; if more is due,
    /// [`SnGateway::next_timeout`] says so.
    pub fn handle_timeout(&mut self, now: Now, broker: &mut Broker) {
        self.settle(broker);
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
                After::Supervise(link, silence) => broker.set_keep_alive(link, Some(silence)),
                After::Credit(link, credit) => broker.set_credit(link, credit),
                After::Again(link, id) => {
                    broker.resend(link, id, false);
                }
            }
        }
        self.is_out_of_memory = broker.is_out_of_memory();
        self.stats.datagrams_dropped = self.outbox.dropped() + self.recorder.dropped();
    }

    /// Tells every client that listens that the gateway goes: it will have to connect again. Those
    /// that are kept are not told: they go on when the gateway is back.
    pub fn shut_down(&mut self) {
        let listening: Vec<Path> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_listening() && peer.kept.number().is_none())
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
                + self.handshakes.memory()
                + self.names.memory()
                + self.nodes.memory()
                + self.outbox.memory()
                + self.recorder.memory(),
            ..self.usage
        }
    }

    /// Sends a message to somebody.
    fn send<'a>(&mut self, path: Path, packet: impl Into<Packet<'a>>) {
        let packet = packet.into();
        trace!(to = %path.address.remote, ?packet, "sending");
        self.outbox.push(path, self.nodes.octets(path.address.node), 0, &packet);
    }

    /// Sends a message to a client that can be reached.
    fn send_to<'a>(&mut self, key: Key<Peer>, packet: impl Into<Packet<'a>>) {
        if let Some(path) = self.peer(key).path {
            self.send(path, packet);
        }
    }

    fn peer(&mut self, key: Key<Peer>) -> &mut Peer {
        self.peers.get_mut(key).expect("a key of a peer that is there")
    }
}

/// What a verdict of the broker is in MQTT-SN (section 6 of the specification reference, SN-047,
/// SN-063, SN-071).
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
const fn msg_id(id: PacketId) -> MsgId {
    MsgId(id.0)
}
