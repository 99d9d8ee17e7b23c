//! The real stack in memory: broker, connections, MQTT-SN gateway and journal. Octets go in and
//! come out, and the clock is whoever drives it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use broker_core::Broker;
use broker_core::api::{Flow, LinkId, Lsn, Output, Overflow, QueueLimits};
use broker_core::journal::{Ops, RecordKey};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::mqtt::{self, Received, Sent, ServerConn};
use broker_core::share::ShareStrategies;
use broker_core::time::{Instant, Now};
use broker_core::topic::{TopicBuf, TopicName};
use mqtt_sn_gw::sn::{self, Datagram, Destination, LocalAddress, PortId, SnGateway, Transmit};

use crate::op::{LEVELS_MAX, PREDEFINED, PREDEFINED_ID, Setup};

/// Seconds for which a session outlives its connection at most.
pub(crate) const EXPIRY_MAX_S: u32 = 100;

/// What a sensor, and a client of 5.0 that says so, takes at most.
pub(crate) const SMALL_PACKETS: u16 = 200;

/// Links of the MQTT-SN gateway carry this.
const SN_LINKS: u64 = 1 << 63;

/// What comes out.
#[derive(Debug)]
pub(crate) enum Out {
    Octets(LinkId, Vec<u8>),
    Closed(LinkId),
    Datagram(SocketAddr, Vec<u8>),
}

#[derive(Debug)]
struct End {
    conn: ServerConn,
    inbox: Vec<u8>,
    is_closed: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Stack {
    broker: Broker,
    sn: SnGateway,
    broker_config: BrokerConfig,
    sn_settings: sn::Settings,
    mqtt_settings: mqtt::Settings,
    ends: BTreeMap<LinkId, End>,
    links: u64,
    out: Vec<Out>,
    /// What is on the disk; everything is, as soon as it is said.
    disk: BTreeMap<RecordKey, Vec<u8>>,
    batches: u64,
    pub(crate) millis: u64,
}

impl Stack {
    pub(crate) fn new(setup: &Setup) -> Self {
        let durability = if setup.is_durable { Durability::Gated } else { Durability::Memory };
        let broker_config = BrokerConfig {
            limits: Limits {
                filters_per_session_max: setup.filters,
                topic_levels_max: LEVELS_MAX,
                retained_messages_max: setup.retained,
                session_expiry_max_s: EXPIRY_MAX_S,
                ..Limits::default()
            },
            durability,
            validate_payload_format: false,
            shares: ShareStrategies::default(),
            sys_interval: None,
            version: "test".to_owned(),
            seed: 1,
        };
        let queue = QueueLimits {
            messages_max: setup.queue as u32,
            bytes_max: 1 << 20,
            paused_qos0_messages_max: setup.queue_qos0 as u32,
            overflow: Overflow::RejectNew,
        };
        let mqtt_settings =
            mqtt::Settings { window: setup.window, queue, ..mqtt::Settings::default() };
        let sn_settings = sn_settings(setup, queue);
        let now = Now::from_millis(0);
        Self {
            broker: Broker::new(broker_config.clone(), now),
            sn: SnGateway::new(sn_settings.clone(), SN_LINKS, now, 1),
            broker_config,
            sn_settings,
            mqtt_settings,
            ends: BTreeMap::new(),
            links: 0,
            out: Vec::new(),
            disk: BTreeMap::new(),
            batches: 0,
            millis: 0,
        }
    }

    /// A TCP connection on which nothing was said.
    pub(crate) fn open(&mut self) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        let end = End { conn: ServerConn::new(), inbox: Vec::new(), is_closed: false };
        self.ends.insert(link, end);
        link
    }

    /// Octets of a TCP client. What the broker answers to a packet leaves before the next is read.
    pub(crate) fn octets(&mut self, link: LinkId, octets: &[u8]) {
        let now = self.now();
        if let Some(end) = self.ends.get_mut(&link) {
            end.inbox.extend_from_slice(octets);
        }
        while let Some(end) = self.ends.get_mut(&link).filter(|end| !end.is_closed) {
            let Self { broker, mqtt_settings, .. } = self;
            let mut said = Vec::new();
            let received = end.conn.receive(mqtt_settings, &end.inbox, &mut said, |incoming| {
                broker.handle(now, link, incoming);
            });
            if !said.is_empty() {
                self.out.push(Out::Octets(link, said));
            }
            match received {
                Ok(Received::Packet { used, .. }) => drop(end.inbox.drain(..used)),
                Ok(Received::Incomplete { .. } | Received::Ended) => break,
                Err(_) => {
                    end.is_closed = true;
                    self.broker.lost(now, link);
                    self.out.push(Out::Closed(link));
                }
            }
            self.settle();
        }
    }

    /// A TCP connection breaks.
    pub(crate) fn cut(&mut self, link: LinkId) {
        self.ends.remove(&link);
        self.broker.lost(self.now(), link);
        self.settle();
    }

    pub(crate) fn datagram(&mut self, from: SocketAddr, octets: &[u8]) {
        let to = LocalAddress::default();
        let datagram = Datagram { port: PortId(0), from, to, group: None, octets };
        self.sn.handle_datagram(self.now(), datagram, &mut self.broker);
        self.settle();
    }

    /// The server publishes `$SYS/broker/n`.
    pub(crate) fn publish_sys(&mut self, value: &str) {
        self.broker.publish_sys(format_args!("n"), format_args!("{value}"));
        self.settle();
    }

    /// When something is due, in milliseconds.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        let next = self.broker.next_timeout().into_iter().chain(self.sn.next_timeout()).min()?;
        Some(next.as_micros().div_ceil(1_000))
    }

    /// All that came out since the last look.
    pub(crate) fn take(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// The process dies and comes back with what is on the disk. All TCP connections are gone.
    pub(crate) fn restart(&mut self) {
        self.ends.clear();
        self.broker_config.seed += 1;
        let (now, seed) = (self.now(), self.broker_config.seed);
        self.broker = Broker::new(self.broker_config.clone(), now);
        self.sn = SnGateway::new(self.sn_settings.clone(), SN_LINKS, now, seed);
        for (key, value) in &self.disk {
            let taken = if key.table() < 0x80 {
                self.broker.restore(now, *key, value)
            } else {
                self.sn.restore(now, *key, value)
            };
            taken.expect("a record of this version");
        }
        self.sn.finish_restore(now, &mut self.broker);
        let report = self.broker.finish_restore(now, false);
        assert_eq!(report.dangling, 0, "records that refer to nothing: {report:?}");
        self.settle();
    }

    fn now(&self) -> Now {
        Now::from_millis(self.millis)
    }

    /// Says all that there is to say, writes the journal, and does what is due.
    pub(crate) fn settle(&mut self) {
        let now = self.now();
        loop {
            while self.put_out() {}
            self.sn.settle(&mut self.broker);
            if self.write_journal() {
                continue;
            }
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
            if !is_due(self.broker.next_timeout()) && !is_due(self.sn.next_timeout()) {
                break;
            }
            self.broker.handle_timeout(now);
            self.sn.handle_timeout(now, &mut self.broker);
        }
        while let Some(Transmit { to, octets, .. }) = self.sn.poll_transmit() {
            if let Destination::One { to, .. } = to {
                self.out.push(Out::Datagram(to, octets.to_vec()));
            }
        }
        self.sn.check_invariants();
    }

    /// Whether there was something to write.
    fn write_journal(&mut self) -> bool {
        let mut octets = Vec::new();
        let lsn = self.broker.take_journal(&mut octets);
        self.sn.take_journal(&mut octets, Lsn(self.batches + 1));
        if octets.is_empty() {
            return false;
        }
        for op in Ops::new(&octets) {
            let op = op.expect("a journal is well formed");
            match op.value {
                Some(value) => drop(self.disk.insert(op.key, value.to_vec())),
                None => drop(self.disk.remove(&op.key)),
            }
        }
        self.batches += 1;
        self.broker.committed(lsn);
        self.sn.committed(Lsn(self.batches));
        true
    }

    fn put_out(&mut self) -> bool {
        let now = self.now();
        let Some(output) = self.broker.poll_output() else { return false };
        match output {
            Output::Send { link, packet } if link.0 & SN_LINKS != 0 => {
                let flow = self.sn.handle_outgoing(now, link, packet);
                self.broker.react(link, flow);
            }
            Output::Send { link, packet } => {
                let Some(end) = self.ends.get_mut(&link) else { return true };
                let id = packet.delivery_id();
                let mut said = Vec::new();
                let flow = match (end.conn.send(packet, &mut said), id) {
                    (Sent::TooLarge(_), Some(id)) => Flow::GiveUp(id),
                    (Sent::TooLarge(kind), None) => panic!("a {kind:?} that is too large"),
                    (Sent::Packet(_) | Sent::Nothing, _) => Flow::More,
                };
                self.out.push(Out::Octets(link, said));
                self.broker.react(link, flow);
            }
            Output::Close { link, reason } if link.0 & SN_LINKS != 0 => {
                self.sn.handle_close(link, reason);
            }
            Output::Close { link, reason } => {
                if let Some(mut end) = self.ends.remove(&link) {
                    let mut said = Vec::new();
                    let _: Sent = end.conn.close(reason, &mut said);
                    self.out.push(Out::Octets(link, said));
                    self.out.push(Out::Closed(link));
                }
            }
            Output::SessionEnded { client_id } => self.sn.handle_session_end(client_id),
            Output::SysTick => {}
        }
        true
    }
}

fn sn_settings(setup: &Setup, queue: QueueLimits) -> sn::Settings {
    let predefined: TopicBuf = TopicName::new(PREDEFINED).expect("a good name").into();
    sn::Settings {
        queue: QueueLimits { overflow: Overflow::DropOldest, ..queue },
        is_durable: setup.is_durable,
        max_datagram: vec![SMALL_PACKETS],
        predefined: BTreeMap::from([(PREDEFINED_ID, predefined)]),
        ..sn::Settings::default()
    }
}
