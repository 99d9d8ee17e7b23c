//! A gateway and a broker in memory, with sensors that speak octets and services that speak MQTT.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use broker_core::api::{
    Ack, AckKind, Connect, ConnectWill, Credit, Dialect, Disconnect, Incoming, LinkId, Lsn,
    Outgoing, Output, PacketId, Payload, Publish, QoS, Subscribe, SubscribeRequest,
    SubscriptionOptions,
};
use broker_core::journal::{Ops, RecordKey};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::share::ShareStrategies;
use broker_core::time::Now;
use broker_core::topic::{TopicBuf, TopicFilter, TopicName};
use broker_core::{Broker, RestoreError, SnapshotCursor};
use mqtt_sn_gw::sn::{Datagram, Destination, LocalAddress, Network, PortId, Settings, SnGateway};

use crate::script::{self, Known};

pub(crate) use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};
pub(crate) use script::hex;

/// Links of the gateway carry this; those of services do not.
const SN_LINKS: u64 = 1 << 63;

/// Sensors on the hosts 192.0.2.1 and 192.0.2.2.
pub(crate) const A: &str = "192.0.2.1:1000";
pub(crate) const A2: &str = "192.0.2.1:2000";
pub(crate) const B: &str = "192.0.2.2:1000";
/// A forwarder, where one is allowed.
pub(crate) const F: &str = "192.0.2.9:1000";

pub(crate) fn topic(text: &str) -> TopicBuf {
    TopicName::new(text).expect("a good name").into()
}

pub(crate) fn settings() -> Settings {
    Settings {
        forwarders: vec![Network {
            address: "192.0.2.9".parse().expect("an address"),
            prefix_len: 32,
        }],
        predefined: BTreeMap::from([(5, topic("a/predefined"))]),
        ..Settings::default()
    }
}

pub(crate) struct Farm {
    pub(crate) gateway: SnGateway,
    pub(crate) broker: Broker,
    pub(crate) millis: u64,
    /// Where datagrams arrive.
    pub(crate) port: PortId,
    /// What was sent to whom and not looked at yet; `*` stands for the groups.
    sent: BTreeMap<String, VecDeque<Vec<u8>>>,
    /// What services heard.
    heard: BTreeMap<LinkId, Vec<String>>,
    services: u64,
    publications: u16,
    /// The machine is looked at after every so many turns.
    pub(crate) checked_every: u32,
    turns: u32,
    config: BrokerConfig,
    settings: Settings,
    pub(crate) disk: Disk,
}

/// What is on the disk, and what is on its way there.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) records: BTreeMap<RecordKey, Vec<u8>>,
    /// Batches, each with what tells the broker that it is durable.
    pending: VecDeque<(Lsn, Vec<u8>)>,
    /// Batches so far.
    batches: u64,
    /// Whether they are durable at once.
    pub(crate) is_fast: bool,
}

impl Disk {
    /// The records of MQTT-SN clients.
    pub(crate) fn sn_records(&self) -> BTreeMap<RecordKey, Vec<u8>> {
        self.records
            .iter()
            .filter(|(key, _)| key.table() >= 0x80)
            .map(|(k, v)| (*k, v.clone()))
            .collect()
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn write(&mut self, octets: &[u8]) {
        for op in Ops::new(octets) {
            let op = op.expect("a journal is well formed");
            match op.value {
                Some(value) => {
                    self.records.insert(op.key, value.to_vec());
                }
                None => {
                    self.records.remove(&op.key);
                }
            }
        }
    }
}

impl Farm {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self::with_limits(settings, Limits::default())
    }

    pub(crate) fn with_limits(settings: Settings, limits: Limits) -> Self {
        Self::set_up(settings, limits, Durability::Memory)
    }

    /// Answers that promise something wait for [`Farm::commit`].
    pub(crate) fn gated() -> Self {
        Self::set_up(settings(), Limits::default(), Durability::Gated)
    }

    /// All that is to survive is recorded, and is on the disk at once.
    pub(crate) fn durable() -> Self {
        Self::durable_with(settings())
    }

    pub(crate) fn durable_with(settings: Settings) -> Self {
        let settings = Settings { is_durable: true, ..settings };
        let mut farm = Self::set_up(settings, Limits::default(), Durability::Gated);
        farm.disk.is_fast = true;
        farm
    }

    /// The process dies, with all that was not on the disk, and another begins.
    pub(crate) fn crash_and_restart(&mut self) {
        let settings = self.settings.clone();
        self.crash_and_restart_with(settings);
    }

    /// The same with other settings.
    pub(crate) fn crash_and_restart_with(&mut self, settings: Settings) {
        let records = self.disk.records.clone();
        self.restart_from(settings, &records).expect("records of this version");
    }

    /// The same from other records.
    pub(crate) fn restart_from(
        &mut self,
        settings: Settings,
        records: &BTreeMap<RecordKey, Vec<u8>>,
    ) -> Result<(), RestoreError> {
        self.disk.pending.clear();
        self.settings = settings;
        self.config.seed += 1;
        let (now, seed) = (self.now(), self.config.seed);
        self.broker = Broker::new(self.config.clone(), now);
        self.gateway = SnGateway::new(self.settings.clone(), SN_LINKS, now, seed);
        let mut result = Ok(());
        for (key, value) in records {
            let taken = if key.table() < 0x80 {
                self.broker.restore(now, *key, value)
            } else {
                self.gateway.restore(now, *key, value)
            };
            result = result.and(taken);
        }
        self.gateway.finish_restore(now, &mut self.broker);
        self.broker.finish_restore(now, false);
        self.gateway.check_invariants();
        self.pass(0);
        result
    }

    fn set_up(settings: Settings, limits: Limits, durability: Durability) -> Self {
        let version = "test".to_owned();
        let config = BrokerConfig {
            limits,
            durability,
            validate_payload_format: false,
            shares: ShareStrategies::default(),
            sys_interval: None,
            version,
            seed: 1,
        };
        let now = Now::default();
        let mut farm = Self {
            gateway: SnGateway::new(settings.clone(), SN_LINKS, now, 1),
            broker: Broker::new(config.clone(), now),
            config,
            settings,
            disk: Disk::default(),
            millis: 0,
            port: PortId(0),
            sent: BTreeMap::new(),
            heard: BTreeMap::new(),
            services: 0,
            publications: 0,
            checked_every: 1,
            turns: 0,
        };
        farm.pass(0);
        farm
    }

    pub(crate) fn now(&self) -> Now {
        Now::from_millis(self.millis)
    }

    /// Answers wait for the disk, or not.
    pub(crate) fn set_gated(&mut self, is_gated: bool) {
        self.broker.set_gated(is_gated);
        self.gateway.set_gated(is_gated);
        self.turn();
    }

    /// A datagram arrives.
    pub(crate) fn send(&mut self, from: &str, octets: &[u8]) {
        self.take_in(from, None, octets);
        self.turn();
    }

    /// The same in hex.
    pub(crate) fn say(&mut self, from: &str, text: &str) {
        self.send(from, &script::octets(text, &Known::new()));
    }

    pub(crate) fn send_to_group(&mut self, from: &str, group: &str, octets: &[u8]) {
        self.take_in(from, Some(group.parse().expect("an address")), octets);
        self.turn();
    }

    /// A datagram arrives, and nobody looks at what comes of it yet.
    pub(crate) fn take_in(&mut self, from: &str, group: Option<SocketAddr>, octets: &[u8]) {
        let from = from.parse::<SocketAddr>().expect("an address");
        let to = LocalAddress::default();
        let datagram = Datagram { port: self.port, from, to, group, octets };
        self.gateway.handle_datagram(self.now(), datagram, &mut self.broker);
    }

    /// What was sent to an address and not looked at yet.
    pub(crate) fn received(&mut self, to: &str) -> Vec<String> {
        self.take(to).iter().map(|octets| hex(octets)).collect()
    }

    /// The same as octets.
    pub(crate) fn take(&mut self, to: &str) -> VecDeque<Vec<u8>> {
        self.sent.remove(to).unwrap_or_default()
    }

    /// Everything that was sent to anybody and not looked at yet.
    pub(crate) fn take_all(&mut self) -> BTreeMap<String, VecDeque<Vec<u8>>> {
        core::mem::take(&mut self.sent)
    }

    /// Plays a conversation of one sensor: `>` lines are sent, `<` lines must be what comes, in
    /// their order, and nothing else may have come in the end.
    #[track_caller]
    pub(crate) fn play(&mut self, address: &str, script: &str) {
        self.play_on(address, &mut Known::new(), script);
    }

    /// The same, with what placeholders stand for from before.
    #[track_caller]
    pub(crate) fn play_on(&mut self, address: &str, known: &mut Known, script: &str) {
        for (direction, text) in script::lines(script) {
            if direction == '>' {
                let octets = script::octets(text, known);
                self.send(address, &octets);
                continue;
            }
            let came = self.sent.get_mut(address).and_then(VecDeque::pop_front);
            let Some(came) = came else { panic!("nothing came instead of {text}") };
            let came = script::fit(text, &came, known);
            assert_eq!(came, script::plain(text, known), "instead of {text}");
        }
        let rest = self.received(address);
        assert!(rest.is_empty(), "more came: {rest:?}");
    }

    /// Proves that nothing was sent to an address: a question with a certain answer gets that, and
    /// nothing before it.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, address: &str) {
        self.play(address, "> 03 01 00\n< 03 02 01");
    }

    /// Lets time pass, stopping wherever somebody wants to be asked.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.millis + millis;
        while let Some(at) = self.next_timeout().filter(|at| *at <= end) {
            self.millis = self.millis.max(at);
            self.time_out();
        }
        self.millis = end;
        self.time_out();
    }

    /// When somebody wants to be asked, in milliseconds.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        let next = self.broker.next_timeout().into_iter().chain(self.gateway.next_timeout());
        next.min().map(|at| at.as_micros().div_ceil(1_000))
    }

    pub(crate) fn time_out(&mut self) {
        let now = self.now();
        self.broker.handle_timeout(now);
        self.gateway.handle_timeout(now, &mut self.broker);
        self.turn();
    }

    /// Everything so far is on the disk.
    pub(crate) fn commit(&mut self) {
        while self.write_batch() {}
        self.turn();
    }

    /// All that is kept is written to an empty disk, in slices, while something happens.
    pub(crate) fn replace_disk(&mut self, meanwhile: impl FnOnce(&mut Self)) {
        self.disk.records.clear();
        let (mut octets, mut cursor) = (Vec::new(), SnapshotCursor::default());
        while self.broker.snapshot(self.now(), &mut cursor, 2, &mut octets) {}
        let mut cursor = 0;
        assert!(self.gateway.snapshot(&mut cursor, 2, &mut octets));
        self.disk.write(&octets);
        meanwhile(self);
        octets.clear();
        while self.gateway.snapshot(&mut cursor, 2, &mut octets) {}
        self.disk.write(&octets);
    }

    /// The next batch is on the disk.
    pub(crate) fn commit_one(&mut self) {
        self.write_batch();
        self.turn();
    }

    fn write_batch(&mut self) -> bool {
        let Some((lsn, octets)) = self.disk.pending.pop_front() else { return false };
        self.disk.write(&octets);
        self.broker.committed(lsn);
        let batch = self.disk.batches - self.disk.pending.len() as u64;
        self.gateway.committed(Lsn(batch));
        true
    }

    /// What changed in a turn is on its way to the disk, all in one.
    fn take_batch(&mut self) {
        let mut octets = Vec::new();
        let lsn = self.broker.take_journal(&mut octets);
        self.gateway.take_journal(&mut octets, Lsn(self.disk.batches + 1));
        assert!(!self.gateway.has_changes());
        if !octets.is_empty() {
            self.disk.batches += 1;
            self.disk.pending.push_back((lsn, octets));
        }
    }

    /// Everybody hears what there is to hear.
    pub(crate) fn turn(&mut self) {
        self.broker.handle_timeout(self.now());
        while self.round() {}
        self.take_batch();
        while self.disk.is_fast && self.write_batch() {
            while self.round() {}
            self.take_batch();
        }
        while let Some(transmit) = self.gateway.poll_transmit() {
            let to = match transmit.to {
                Destination::One { to, .. } => to.to_string(),
                Destination::Groups => "*".to_owned(),
            };
            self.sent.entry(to).or_default().push_back(transmit.octets.to_vec());
        }
        self.turns += 1;
        if self.turns.is_multiple_of(self.checked_every) {
            self.gateway.check_invariants();
        }
    }

    /// Lets out what there is, unseen, and returns how many datagrams that were; nothing may have
    /// changed that is to survive.
    pub(crate) fn drain(&mut self) -> usize {
        while self.round() {}
        assert!(!self.gateway.has_changes());
        core::iter::from_fn(|| self.gateway.poll_transmit().map(drop)).count()
    }

    /// One round of outputs; `false` if there were none.
    fn round(&mut self) -> bool {
        let now = self.now();
        let mut was_idle = true;
        while let Some(output) = self.broker.poll_output() {
            was_idle = false;
            match output {
                Output::Send { link, packet } if link.0 & SN_LINKS != 0 => {
                    let flow = self.gateway.handle_outgoing(now, link, packet);
                    self.broker.react(link, flow);
                }
                Output::Send { link, packet: Outgoing::Publish(delivery) } => {
                    let payload = String::from_utf8_lossy(delivery.message.payload());
                    let retain = if delivery.retain { " retain" } else { "" };
                    let (topic, qos) = (delivery.message.topic(), delivery.qos as u8);
                    let text = format!("{topic} {payload} q{qos}{retain}");
                    let id = delivery.id;
                    let kind = match delivery.qos {
                        Q0 => None,
                        Q1 => Some(AckKind::PubAck),
                        Q2 => Some(AckKind::PubRec),
                    };
                    self.heard.entry(link).or_default().push(text);
                    if let Some(kind) = kind {
                        self.ack(link, kind, id);
                    }
                }
                Output::Send { link, packet: Outgoing::Ack(ack) } => {
                    if ack.kind == AckKind::PubRel {
                        self.ack(link, AckKind::PubComp, ack.id);
                    }
                }
                Output::Close { link, reason } => self.gateway.handle_close(link, reason),
                Output::SessionEnded { client_id } => self.gateway.handle_session_end(client_id),
                Output::Send { .. } | Output::SysTick => {}
            }
        }
        self.gateway.settle(&mut self.broker);
        !was_idle
    }

    fn ack(&mut self, link: LinkId, kind: AckKind, id: PacketId) {
        let ack = Ack { kind, id, reason: ReasonCode::Success, token: 0 };
        self.broker.handle(self.now(), link, Incoming::Ack(ack));
    }

    /// An ordinary MQTT client that acknowledges everything at once.
    pub(crate) fn service(&mut self, client_id: &str) -> LinkId {
        self.services += 1;
        let link = LinkId(self.services);
        let connect = Connect {
            dialect: Dialect::Mqtt311,
            client_id,
            clean_start: true,
            session_expiry_s: 0,
            keep_alive: None,
            will: ConnectWill::None,
            will_on_takeover: true,
            user_name: None,
            password: None,
            credit: Credit::Window(20),
            queue: settings().queue,
            durability: Durability::Gated,
            properties: Properties::EMPTY,
        };
        self.broker.handle(self.now(), link, Incoming::Connect(connect));
        self.turn();
        link
    }

    /// A service goes.
    pub(crate) fn dismiss(&mut self, link: LinkId) {
        let disconnect =
            Disconnect { reason: ReasonCode::Success, keep_will: false, session_expiry_s: None };
        self.broker.handle(self.now(), link, Incoming::Disconnect(disconnect));
        self.turn();
    }

    /// A service that hears everything that matches a filter.
    pub(crate) fn watch(&mut self, filter: &str) -> LinkId {
        let link = self.service(&format!("watcher-{filter}"));
        let filter = TopicFilter::new(filter).expect("a good filter");
        let options = SubscriptionOptions { qos: Q2, ..SubscriptionOptions::default() };
        let requests = [SubscribeRequest { filter, options }];
        let subscribe = Subscribe { id: PacketId(1), token: 0, identifier: 0, requests: &requests };
        self.broker.handle(self.now(), link, Incoming::Subscribe(subscribe));
        self.turn();
        link
    }

    /// What a service has heard since it was asked last.
    pub(crate) fn heard(&mut self, link: LinkId) -> Vec<String> {
        self.heard.remove(&link).unwrap_or_default()
    }

    /// A service publishes.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: QoS) {
        self.publish_as(topic, payload.as_bytes(), qos, false);
    }

    pub(crate) fn publish_as(&mut self, topic: &str, payload: &[u8], qos: QoS, retain: bool) {
        let link = self.service("publisher");
        self.publications = self.publications.checked_add(1).unwrap_or(1);
        let publish = Publish {
            topic: TopicName::new(topic).expect("a good name"),
            payload: Payload::Borrowed(payload),
            qos,
            retain,
            dup: false,
            id: PacketId(if qos == Q0 { 0 } else { self.publications }),
            token: 0,
            properties: Properties::EMPTY,
        };
        self.broker.handle(self.now(), link, Incoming::Publish(publish));
        self.turn();
    }
}
