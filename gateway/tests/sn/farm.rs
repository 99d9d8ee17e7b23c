//! A gateway and a broker in memory, with sensors that speak octets and services that speak MQTT.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use broker_core::Broker;
use broker_core::api::{
    Ack, AckKind, Connect, ConnectWill, Credit, Dialect, Incoming, LinkId, Outgoing, Output,
    Overflow, PacketId, Payload, Publish, QoS, QueueLimits, Subscribe, SubscribeRequest,
    SubscriptionOptions,
};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use broker_core::topic::{TopicBuf, TopicFilter, TopicName};
use core::time::Duration;
use mqtt_sn_gw::sn::{
    Datagram, Destination, LocalAddress, PortId, Rebind, Retry, Settings, SnGateway,
};

pub(crate) use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};

/// Links of the gateway carry this; those of services do not.
const SN_LINKS: u64 = 1 << 63;

/// Sensors on the hosts 192.0.2.1 and 192.0.2.2.
pub(crate) const A: &str = "192.0.2.1:1000";
pub(crate) const A2: &str = "192.0.2.1:2000";
pub(crate) const B: &str = "192.0.2.2:1000";

pub(crate) fn settings() -> Settings {
    let name = |text| TopicBuf::from(TopicName::new(text).expect("a good name"));
    Settings {
        gateway_id: 1,
        retry: Retry { after: Duration::from_secs(10), times: 4 },
        awake_retry: Retry { after: Duration::from_secs(4), times: 3 },
        advertise_s: 0,
        handshake_timeout: Duration::from_secs(60),
        handshakes_max: 1_000,
        wake_rebind: Rebind::SameIp,
        takeover_probe: Duration::from_secs(2),
        qos_minus_one: true,
        qos_minus_one_names: false,
        qos_minus_one_per_s: 1_000,
        deduplicate: true,
        will_on_reconnect: false,
        congestion_pause: Duration::from_secs(10),
        unknown_answers_per_s: 1_000,
        unknown_answers_per_source: 2,
        unknown_answers_window: Duration::from_secs(10),
        searchgw_per_s: 20,
        messages_per_wake: 0,
        idle_timeout: Duration::from_secs(86_400),
        queue: QueueLimits {
            messages_max: 1_000,
            bytes_max: 1 << 20,
            paused_qos0_messages_max: 100,
            overflow: Overflow::DropOldest,
        },
        client_id_bytes_max: 256,
        topic_ids_max: 1_024,
        nodes_per_forwarder: 100,
        forwarders: Vec::new(),
        max_datagram: vec![1_024],
        predefined: BTreeMap::from([(5, name("a/predefined"))]),
        predefined_for: BTreeMap::new(),
        quirks: BTreeMap::new(),
    }
}

pub(crate) struct Farm {
    pub(crate) gateway: SnGateway,
    pub(crate) broker: Broker,
    pub(crate) millis: u64,
    /// What was sent to whom and not looked at yet; `*` stands for the groups.
    sent: BTreeMap<String, VecDeque<Vec<u8>>>,
    /// What services heard.
    heard: BTreeMap<LinkId, Vec<String>>,
    services: u64,
}

impl Farm {
    pub(crate) fn new() -> Self {
        Self::with(settings(), Limits::default())
    }

    pub(crate) fn with(settings: Settings, limits: Limits) -> Self {
        let config = BrokerConfig {
            limits,
            durability: Durability::Memory,
            sys_interval: None,
            version: "test".to_owned(),
            seed: 1,
        };
        let now = Now::default();
        let mut farm = Self {
            gateway: SnGateway::new(settings, SN_LINKS, now, 1),
            broker: Broker::new(config, now),
            millis: 0,
            sent: BTreeMap::new(),
            heard: BTreeMap::new(),
            services: 0,
        };
        farm.pass(0);
        farm
    }

    pub(crate) fn now(&self) -> Now {
        Now::from_millis(self.millis)
    }

    /// A datagram arrives.
    pub(crate) fn send(&mut self, from: &str, octets: &[u8]) {
        self.send_to_group(from, None, octets);
    }

    pub(crate) fn send_to_group(&mut self, from: &str, group: Option<&str>, octets: &[u8]) {
        let datagram = Datagram {
            port: PortId(0),
            from: from.parse::<SocketAddr>().expect("an address"),
            to: LocalAddress::default(),
            group: group.map(|group| group.parse().expect("an address")),
            octets,
        };
        self.gateway.handle_datagram(self.now(), datagram, &mut self.broker);
        self.turn();
    }

    /// What was sent to an address and not looked at yet.
    pub(crate) fn received(&mut self, to: &str) -> Vec<String> {
        self.sent.remove(to).unwrap_or_default().iter().map(|octets| hex(octets)).collect()
    }

    /// Plays a conversation of one sensor: `>` lines are sent, `<` lines must be what comes, in
    /// their order, and nothing else may have come in the end. `{x}` stands for two octets: any
    /// when it is first met, the same afterwards.
    #[track_caller]
    pub(crate) fn play(&mut self, address: &str, script: &str) {
        let mut known = BTreeMap::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (direction, text) = line.split_at(1);
            let text = text.split("--").next().unwrap_or_default();
            match direction {
                ">" => self.send(address, &octets(text, &known)),
                "<" => {
                    let came = self.sent.get_mut(address).and_then(VecDeque::pop_front);
                    let Some(came) = came else { panic!("nothing came instead of {line}") };
                    learn(text, &came, &mut known);
                    assert_eq!(hex(&came), hex(&octets(text, &known)), "instead of {line}");
                }
                other => panic!("a line begins with > or <, not with {other}"),
            }
        }
        let rest = self.received(address);
        assert!(rest.is_empty(), "more came: {rest:?}");
    }

    /// Lets time pass, stopping wherever somebody wants to be asked.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.millis + millis;
        loop {
            let next = self.broker.next_timeout().into_iter().chain(self.gateway.next_timeout());
            match next.min().map(|at| at.as_micros().div_ceil(1_000)) {
                Some(at) if at <= end => self.millis = self.millis.max(at),
                Some(_) | None => break,
            }
            self.time_out();
        }
        self.millis = end;
        self.time_out();
    }

    fn time_out(&mut self) {
        let now = self.now();
        self.broker.handle_timeout(now);
        self.gateway.handle_timeout(now, &mut self.broker);
        self.turn();
    }

    fn turn(&mut self) {
        let now = self.now();
        self.broker.handle_timeout(now);
        loop {
            let mut was_idle = true;
            while let Some(output) = self.broker.poll_output() {
                was_idle = false;
                match output {
                    Output::Send { link, packet } if link.0 & SN_LINKS != 0 => {
                        let flow = self.gateway.handle_outgoing(now, link, packet);
                        self.broker.react(link, flow);
                    }
                    Output::Send { link, packet } => {
                        let heard = self.heard.entry(link).or_default();
                        if let Outgoing::Publish(delivery) = packet {
                            let payload = String::from_utf8_lossy(delivery.message.payload());
                            let retain = if delivery.retain { " retain" } else { "" };
                            let (topic, qos) = (delivery.message.topic(), delivery.qos as u8);
                            heard.push(format!("{topic} {payload} q{qos}{retain}"));
                            let id = delivery.id;
                            if delivery.qos == Q1 {
                                self.ack(link, AckKind::PubAck, id);
                            } else if delivery.qos == Q2 {
                                self.ack(link, AckKind::PubRec, id);
                            }
                        } else if let Outgoing::Ack(Ack { kind: AckKind::PubRel, id, .. }) = packet
                        {
                            self.ack(link, AckKind::PubComp, id);
                        }
                    }
                    Output::Close { link, reason } => self.gateway.handle_close(link, reason),
                    Output::SessionEnded { client_id } => {
                        self.gateway.handle_session_end(client_id);
                    }
                    Output::SysTick => {}
                }
            }
            self.gateway.settle(&mut self.broker);
            if was_idle {
                break;
            }
        }
        while let Some(transmit) = self.gateway.poll_transmit() {
            let to = match transmit.to {
                Destination::One { to, .. } => to.to_string(),
                Destination::Groups => "*".to_owned(),
            };
            self.sent.entry(to).or_default().push_back(transmit.octets.to_vec());
        }
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
            properties: Properties::EMPTY,
        };
        self.broker.handle(self.now(), link, Incoming::Connect(connect));
        self.turn();
        link
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
        self.publish_as(topic, payload, qos, false);
    }

    pub(crate) fn publish_as(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) {
        let link = self.service("publisher");
        let publish = Publish {
            topic: TopicName::new(topic).expect("a good name"),
            payload: Payload::Borrowed(payload.as_bytes()),
            qos,
            retain,
            dup: false,
            id: PacketId(if qos == Q0 { 0 } else { 1 }),
            token: 0,
            properties: Properties::EMPTY,
        };
        self.broker.handle(self.now(), link, Incoming::Publish(publish));
        self.turn();
    }
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(" ")
}

/// The octets of a line; `'text'` stands for its characters.
fn octets(text: &str, known: &BTreeMap<String, [u8; 2]>) -> Vec<u8> {
    let mut octets = Vec::new();
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix('{') {
            octets.extend(known.get(name).copied().unwrap_or_default());
        } else if let Some(text) = word.strip_prefix('\'') {
            octets.extend(text.trim_end_matches('\'').bytes());
        } else {
            octets.push(u8::from_str_radix(word, 16).expect("a hex octet"));
        }
    }
    octets
}

/// Takes what the placeholders of a line stand for from what came.
fn learn(text: &str, came: &[u8], known: &mut BTreeMap<String, [u8; 2]>) {
    let mut at = 0;
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix('{') {
            if let Some(&[first, second]) = came.get(at..at + 2) {
                known.entry(name.to_owned()).or_insert([first, second]);
            }
            at += 2;
        } else if let Some(text) = word.strip_prefix('\'') {
            at += text.trim_end_matches('\'').len();
        } else {
            at += 1;
        }
    }
}
