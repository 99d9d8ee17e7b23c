//! A broker with links that write down what they hear.

use core::time::Duration;
use std::collections::BTreeMap;

use broker_core::Broker;
use broker_core::api::{
    Ack, AckKind, Connect, ConnectWill, Credit, Dialect, Disconnect, Incoming, LinkId, Outgoing,
    Output, Overflow, PacketId, Payload, Publish, QoS, QueueLimits, Subscribe, SubscribeRequest,
    SubscriptionOptions, Unsubscribe, Will,
};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::share::ShareStrategies;
use broker_core::time::{Now, UnixMillis};
use broker_core::topic::{TopicFilter, TopicName};

pub(crate) use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};

pub(crate) const QUEUE: QueueLimits = QueueLimits {
    messages_max: 1_000,
    bytes_max: 1 << 20,
    paused_qos0_messages_max: 100,
    overflow: Overflow::RejectNew,
};

pub(crate) fn config() -> BrokerConfig {
    BrokerConfig {
        limits: Limits::default(),
        durability: Durability::Memory,
        validate_payload_format: false,
        shares: ShareStrategies::default(),
        sys_interval: None,
        version: "test".to_owned(),
        seed: 7,
    }
}

/// How a client connects, beside its name.
#[derive(Clone)]
pub(crate) struct How {
    pub(crate) dialect: Dialect,
    pub(crate) clean: bool,
    pub(crate) expiry_s: u32,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) will: Option<(&'static str, &'static str, QoS, bool)>,
    pub(crate) keep_will: bool,
    pub(crate) will_delay_s: u32,
    pub(crate) will_on_takeover: bool,
    pub(crate) window: u16,
    pub(crate) queue: QueueLimits,
    pub(crate) durability: Durability,
}

pub(crate) const CLEAN: How = How {
    dialect: Dialect::Mqtt311,
    clean: true,
    expiry_s: 0,
    keep_alive: None,
    will: None,
    keep_will: false,
    will_delay_s: 0,
    will_on_takeover: true,
    window: 20,
    queue: QUEUE,
    durability: Durability::Gated,
};

pub(crate) const PERSISTENT: How = How { clean: false, expiry_s: u32::MAX, ..CLEAN };

impl How {
    pub(crate) fn request<'a>(&self, client_id: &'a str) -> Incoming<'a> {
        let will = match self.will {
            Some((topic, payload, qos, retain)) => ConnectWill::Set(Will {
                topic: name(topic),
                payload: payload.as_bytes(),
                qos,
                retain,
                delay_s: self.will_delay_s,
                properties: Properties::EMPTY,
            }),
            None if self.keep_will => ConnectWill::Keep,
            None => ConnectWill::None,
        };
        Incoming::Connect(Connect {
            dialect: self.dialect,
            client_id,
            clean_start: self.clean,
            session_expiry_s: self.expiry_s,
            keep_alive: self.keep_alive,
            will,
            will_on_takeover: self.will_on_takeover,
            user_name: None,
            password: None,
            credit: Credit::Window(self.window),
            queue: self.queue,
            durability: self.durability,
            properties: Properties::EMPTY,
        })
    }
}

pub(crate) struct Bench {
    pub(crate) broker: Broker,
    pub(crate) millis: u64,
    /// How far the wall clock was turned back.
    pub(crate) turned_back_ms: u64,
    next_link: u64,
    heard: BTreeMap<u64, Vec<String>>,
    pub(crate) ended: Vec<String>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: BrokerConfig) -> Self {
        Self {
            broker: Broker::new(config, Now::default()),
            millis: 0,
            turned_back_ms: 0,
            next_link: 0,
            heard: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        let now = Now::from_millis(self.millis);
        Now { unix: UnixMillis(now.unix.0.saturating_sub(self.turned_back_ms)), ..now }
    }

    /// Says something, and lets everybody hear what comes of it.
    pub(crate) fn say(&mut self, link: LinkId, incoming: Incoming<'_>) {
        self.broker.handle(self.now(), link, incoming);
        self.turn();
    }

    pub(crate) fn connect(&mut self, client_id: &str, how: &How) -> LinkId {
        self.next_link += 1;
        let link = LinkId(self.next_link);
        self.say(link, how.request(client_id));
        link
    }

    /// Connects and swallows the answer.
    pub(crate) fn join(&mut self, client_id: &str, how: &How) -> LinkId {
        let link = self.connect(client_id, how);
        let heard = self.hear(link);
        assert!(heard[0].starts_with("connack success"), "{heard:?}");
        link
    }

    pub(crate) fn publish(&mut self, link: LinkId, topic: &str, payload: &str, qos: QoS) {
        self.publish_as(link, topic, payload, qos, false, 9);
    }

    pub(crate) fn publish_as(
        &mut self,
        link: LinkId,
        topic: &str,
        payload: &str,
        qos: QoS,
        retain: bool,
        id: u16,
    ) {
        let id = if qos == Q0 { 0 } else { id };
        let publish = Publish { retain, ..publication(topic, payload, qos, id) };
        self.say(link, Incoming::Publish(publish));
    }

    #[expect(clippy::too_many_arguments, reason = "it is everything that a publication has")]
    pub(crate) fn publish_with(
        &mut self,
        link: LinkId,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        id: PacketId,
        properties: Properties<'_>,
    ) {
        let payload = Payload::Borrowed(payload);
        let (topic, dup, token) = (name(topic), false, 0);
        let publish = Publish { topic, payload, qos, retain, dup, id, token, properties };
        self.say(link, Incoming::Publish(publish));
    }

    /// Publishes with DUP.
    pub(crate) fn repeat(&mut self, link: LinkId, topic: &str, payload: &str, qos: QoS, id: u16) {
        let publish = Publish { dup: true, ..publication(topic, payload, qos, id) };
        self.say(link, Incoming::Publish(publish));
    }

    pub(crate) fn subscribe(&mut self, link: LinkId, filter: &str, qos: QoS) {
        self.subscribe_with(link, filter, SubscriptionOptions { qos, ..Default::default() }, 0);
    }

    pub(crate) fn subscribe_with(
        &mut self,
        link: LinkId,
        filter: &str,
        options: SubscriptionOptions,
        identifier: u32,
    ) {
        let filter = TopicFilter::new(filter).expect("a good filter");
        let requests = [SubscribeRequest { filter, options }];
        let subscribe = Subscribe { id: PacketId(5), token: 0, identifier, requests: &requests };
        self.say(link, Incoming::Subscribe(subscribe));
    }

    pub(crate) fn unsubscribe(&mut self, link: LinkId, filter: &str) {
        let filters = [TopicFilter::new(filter).expect("a good filter")];
        let unsubscribe = Unsubscribe { id: PacketId(6), token: 0, filters: &filters };
        self.say(link, Incoming::Unsubscribe(unsubscribe));
    }

    pub(crate) fn ack(&mut self, link: LinkId, kind: AckKind, id: u16) {
        let ack = Ack { kind, id: PacketId(id), reason: ReasonCode::Success, token: 0 };
        self.say(link, Incoming::Ack(ack));
    }

    pub(crate) fn disconnect(&mut self, link: LinkId) {
        let disconnect =
            Disconnect { reason: ReasonCode::Success, keep_will: false, session_expiry_s: None };
        self.say(link, Incoming::Disconnect(disconnect));
        self.hear(link);
    }

    pub(crate) fn lose(&mut self, link: LinkId) {
        self.broker.lost(self.now(), link);
        self.turn();
    }

    pub(crate) fn credit(&mut self, link: LinkId, credit: Credit) {
        self.broker.set_credit(link, credit);
        self.turn();
    }

    /// Lets time pass, stopping wherever the broker wants to be asked.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.millis + millis;
        loop {
            let next = self.broker.next_timeout().map(|at| at.as_micros().div_ceil(1_000));
            match next {
                Some(next) if next <= end => self.millis = self.millis.max(next),
                Some(_) | None => break,
            }
            self.broker.handle_timeout(self.now());
            self.turn();
        }
        self.millis = end;
        self.broker.handle_timeout(self.now());
        self.turn();
    }

    /// Lets everybody hear what there is to hear, and publishes what is due.
    pub(crate) fn turn(&mut self) {
        self.broker.handle_timeout(self.now());
        loop {
            while let Some(output) = self.broker.poll_output() {
                match output {
                    Output::Send { link, packet } => {
                        self.heard.entry(link.0).or_default().push(describe(&packet));
                    }
                    Output::Close { link, reason } => {
                        self.heard.entry(link.0).or_default().push(format!("closed: {reason}"));
                    }
                    Output::SessionEnded { client_id } => self.ended.push(client_id.to_owned()),
                    Output::SysTick => {}
                }
            }
            if self.broker.next_timeout().is_none_or(|at| at > self.now().mono) {
                break;
            }
            self.broker.handle_timeout(self.now());
        }
    }

    /// What a link has heard since it was asked last.
    pub(crate) fn hear(&mut self, link: LinkId) -> Vec<String> {
        self.heard.remove(&link.0).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, link: LinkId, expected: &[&str]) {
        assert_eq!(self.hear(link), expected);
    }
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).expect("a good name")
}

fn publication<'a>(topic: &'a str, payload: &'a str, qos: QoS, id: u16) -> Publish<'a> {
    Publish {
        topic: name(topic),
        payload: Payload::Borrowed(payload.as_bytes()),
        qos,
        retain: false,
        dup: false,
        id: PacketId(id),
        token: 0,
        properties: Properties::EMPTY,
    }
}

fn describe(packet: &Outgoing<'_>) -> String {
    match packet {
        Outgoing::ConnAck(ack) => {
            let present = if ack.session_present { " present" } else { "" };
            let assigned = ack.assigned_client_id.map(|id| format!(" {id}")).unwrap_or_default();
            format!("connack {}{present}{assigned}", ack.reason)
        }
        Outgoing::Publish(delivery) => {
            let message = delivery.message;
            let payload = String::from_utf8_lossy(message.payload());
            let mut text = format!("{} {payload} q{}", message.topic(), delivery.qos as u8);
            if delivery.qos != Q0 {
                text += &format!(" #{}", delivery.id.0);
            }
            for (flag, word) in [(delivery.retain, " retain"), (delivery.dup, " dup")] {
                text += if flag { word } else { "" };
            }
            if !delivery.subscription_ids.is_empty() {
                text += &format!(" ids {:?}", delivery.subscription_ids);
            }
            if let Some(seconds) = delivery.expiry_s {
                text += &format!(" expires {seconds}");
            }
            text
        }
        Outgoing::Ack(ack) => {
            let kind = match ack.kind {
                AckKind::PubAck => "puback",
                AckKind::PubRec => "pubrec",
                AckKind::PubRel => "pubrel",
                AckKind::PubComp => "pubcomp",
            };
            format!("{kind} #{} {}", ack.id.0, ack.reason)
        }
        Outgoing::SubAck { id, reasons, .. } => format!("suback #{} {}", id.0, list(reasons)),
        Outgoing::UnsubAck { id, reasons, .. } => format!("unsuback #{} {}", id.0, list(reasons)),
        Outgoing::WillAck { part, reason } => format!("willack {part:?} {reason}"),
        Outgoing::Pong => "pong".to_owned(),
        Outgoing::Drained => "drained".to_owned(),
    }
}

fn list(reasons: &[ReasonCode]) -> String {
    reasons.iter().map(|reason| reason.text()).collect::<Vec<_>>().join(", ")
}
