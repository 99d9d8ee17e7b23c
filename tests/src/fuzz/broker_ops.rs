//! What clients do to a broker, in any order: the journals add up to what is in memory, a broker
//! made from them is the one that was there, and nothing is left of clients that are gone.

use std::collections::BTreeMap;

use broker_core::Broker;
use broker_core::api::{
    Ack, AckKind, Connect, ConnectWill, Credit, Dialect, Disconnect, Incoming, LinkId, Outgoing,
    Output, Overflow, PacketId, Payload, Publish, QoS, QueueLimits, RetainHandling, Subscribe,
    SubscribeRequest, SubscriptionOptions, Unsubscribe, Will, WillChange,
};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::share::ShareStrategies;
use broker_core::time::{Now, UnixMillis};
use broker_core::topic::{TopicFilter, TopicName};

use super::Target;
use super::digest::Digest;
use super::input::Input;
use super::records::{self, Kept};

/// See the [module](self).
pub const TARGET: Target = Target { name: "broker_ops", dictionary: "broker", bytes_max: 256, run };

const CLIENTS: usize = 4;
const IDS: [&str; CLIENTS] = ["v", "w", "x", "y"];
const TOPICS: [&str; 5] = ["a", "a/b", "b", "c/d", "/"];
const FILTERS: [&str; 9] =
    ["a", "a/+", "#", "b", "+/b", "/#", "$share/g/a/#", "$share/g/#", "$share/h/a/#"];
const EXPIRIES: [u32; 5] = [0, 1, 10, 60, u32::MAX];

/// Operations between two looks at everything that is kept.
const LOOK_EVERY: u32 = 16;

/// A day longer than any session is kept.
const FOREVER_S: u64 = 8 * 86_400;

struct World {
    broker: Broker,
    kept: Kept,
    millis: u64,
    links: [Option<LinkId>; CLIENTS],
    next_link: u64,
    /// What each client heard and has not answered.
    heard: [Vec<(AckKind, PacketId)>; CLIENTS],
    /// Whether anybody took part in a group: who gets a message then is up to the broker.
    has_shares: bool,
    digest: Digest,
}

fn run(octets: &[u8]) -> u64 {
    let mut input = Input::new(octets);
    let mut world = World {
        broker: broker(Now::default()),
        kept: Kept::new(),
        millis: 0,
        links: [None; CLIENTS],
        next_link: 0,
        heard: Default::default(),
        has_shares: false,
        digest: Digest::new(),
    };
    let mut ops = 0;
    while !input.is_empty() {
        world.operate(&mut input);
        world.keep();
        ops += 1;
        if ops % LOOK_EVERY == 0 {
            world.check_records();
        }
    }
    world.check_records();
    world.check_restore();
    world.check_nothing_stays();
    world.digest.end()
}

fn broker(now: Now) -> Broker {
    let limits = Limits {
        received_ids_max: 4,
        retained_messages_max: 4,
        filters_per_session_max: 6,
        session_expiry_max_s: 86_400,
        ..Limits::default()
    };
    let config = BrokerConfig {
        limits,
        durability: Durability::Gated,
        validate_payload_format: false,
        shares: ShareStrategies::default(),
        sys_interval: None,
        version: String::new(),
        seed: 3,
    };
    Broker::new(config, now)
}

impl World {
    fn now(&self) -> Now {
        // The clocks do not begin together.
        Now { unix: UnixMillis(1_000_000 + self.millis), ..Now::from_millis(self.millis) }
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        let client = input.below(CLIENTS);
        match input.below(20) {
            0..=2 => self.connect(client, input),
            3 => self.poll(input.below(20)),
            4 => self.broker.committed(self.broker.lsn()),
            5 | 6 => {
                for _ in 0..2 {
                    self.broker.committed(self.broker.lsn());
                    self.poll(100);
                }
            }
            7 => {
                self.millis += input.choose(&[1, 500, 4_000, 40_000]);
                self.broker.handle_timeout(self.now());
            }
            8 => self.crash(),
            op => {
                if let Some(link) = self.links[client] {
                    self.act(client, link, op, input);
                }
            }
        }
    }

    fn connect(&mut self, client: usize, input: &mut Input<'_>) {
        const DIALECTS: [Dialect; 4] =
            [Dialect::Mqtt31, Dialect::Mqtt311, Dialect::Mqtt5, Dialect::MqttSn12];
        const OVERFLOWS: [Overflow; 3] =
            [Overflow::RejectNew, Overflow::DropOldest, Overflow::Disconnect];
        self.next_link += 1;
        let link = LinkId(self.next_link);
        self.links[client] = Some(link);
        self.heard[client].clear();
        let will = match input.below(5) {
            0 | 1 => ConnectWill::None,
            2 => ConnectWill::Keep,
            choice => ConnectWill::Set(Will {
                topic: TopicName::new("a/will").expect("a good name"),
                payload: b"gone",
                qos: qos(input),
                retain: input.flag(),
                delay_s: if choice == 3 { 3 } else { 0 },
                properties: Properties::EMPTY,
            }),
        };
        let connect = Connect {
            dialect: input.choose(&DIALECTS),
            client_id: IDS[client],
            clean_start: input.below(5) == 1,
            session_expiry_s: input.choose(&EXPIRIES),
            keep_alive: None,
            will,
            will_on_takeover: input.flag(),
            durability: Durability::Gated,
            user_name: None,
            password: None,
            credit: Credit::Window(u16::from(input.u8() % 4) + 1),
            queue: QueueLimits {
                messages_max: 6,
                bytes_max: 60,
                paused_qos0_messages_max: 2,
                overflow: input.choose(&OVERFLOWS),
            },
            properties: Properties::EMPTY,
        };
        self.broker.handle(self.now(), link, Incoming::Connect(connect));
    }

    /// One of the things that a client with a link does.
    fn act(&mut self, client: usize, link: LinkId, op: usize, input: &mut Input<'_>) {
        let now = self.now();
        match op {
            9 => {
                self.broker.lost(now, link);
                self.links[client] = None;
            }
            10 => {
                let session_expiry_s = input.flag().then(|| input.choose(&EXPIRIES));
                let keep_will = input.flag();
                let disconnect =
                    Disconnect { reason: ReasonCode::Success, keep_will, session_expiry_s };
                self.broker.handle(now, link, Incoming::Disconnect(disconnect));
                self.links[client] = None;
            }
            11 => self.subscribe(link, input),
            12 => {
                let filters = &[filter(input)];
                let unsubscribe = Unsubscribe { id: PacketId(6), token: 0, filters };
                self.broker.handle(now, link, Incoming::Unsubscribe(unsubscribe));
            }
            13 | 14 => self.publish(link, input),
            15 => {
                let refuses = input.below(10) == 1;
                for _ in 0..=input.below(3) {
                    let Some((kind, id)) = self.heard[client].pop() else { break };
                    let reason =
                        if refuses { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
                    self.broker.handle(now, link, ack(kind, id, reason));
                }
            }
            16 => {
                let id = small_id(input);
                self.broker.handle(now, link, ack(AckKind::PubRel, id, ReasonCode::Success));
            }
            17 => {
                let window = u16::from(input.u8() % 3) + 1;
                let credits =
                    [Credit::Paused, Credit::UntilDrained(window), Credit::Window(window)];
                self.broker.set_credit(link, input.choose(&credits));
            }
            18 => {
                let topic = TopicName::new("will/2").expect("a good name");
                let change = match input.below(3) {
                    0 => WillChange::Topic { topic, qos: qos(input), retain: input.flag() },
                    1 => WillChange::Payload(b"changed"),
                    _ => WillChange::Delete,
                };
                self.broker.handle(now, link, Incoming::ChangeWill(change));
            }
            _ => match input.below(3) {
                0 => drop(self.broker.resend(link, small_id(input), input.flag())),
                1 => self.broker.abandon(link, small_id(input)),
                _ => self.broker.forget_received(link, small_id(input)),
            },
        }
    }

    fn subscribe(&mut self, link: LinkId, input: &mut Input<'_>) {
        let filter = filter(input);
        self.has_shares |= filter.share().is_some();
        let options = SubscriptionOptions {
            qos: qos(input),
            no_local: input.flag() && filter.share().is_none(),
            retain_as_published: input.flag(),
            retain_handling: input.choose(&[RetainHandling::Always, RetainHandling::IfNew]),
        };
        let requests = &[SubscribeRequest { filter, options }];
        let identifier = u32::from(input.u8() % 3);
        let subscribe = Subscribe { id: PacketId(5), token: 0, identifier, requests };
        self.broker.handle(self.now(), link, Incoming::Subscribe(subscribe));
    }

    fn publish(&mut self, link: LinkId, input: &mut Input<'_>) {
        let expiry = Properties::parse(&[2, 0, 0, 0, 5, 1, 0]).expect("good properties");
        let topic = TopicName::new(input.choose(&TOPICS)).expect("a good name");
        let properties = if input.below(4) == 1 { expiry } else { Properties::EMPTY };
        let publish = Publish {
            topic,
            payload: Payload::Borrowed(&[7; 8][..input.below(9)]),
            qos: qos(input),
            retain: input.flag(),
            dup: false,
            id: small_id(input),
            token: 0,
            properties,
        };
        self.broker.handle(self.now(), link, Incoming::Publish(publish));
    }

    fn poll(&mut self, count: usize) {
        let Self { broker, links, heard, digest, .. } = self;
        for _ in 0..count {
            let (link, packet) = match broker.poll_output() {
                Some(Output::Send { link, packet }) => (link, packet),
                Some(Output::Close { link, .. }) => {
                    links.iter_mut().filter(|held| **held == Some(link)).for_each(|l| *l = None);
                    continue;
                }
                Some(Output::SessionEnded { .. } | Output::SysTick) => continue,
                None => break,
            };
            digest.number(link.0);
            let Some(client) = links.iter().position(|held| *held == Some(link)) else { continue };
            match packet {
                Outgoing::Publish(delivery) => {
                    assert_eq!(delivery.id.0 == 0, delivery.qos == QoS::AtMostOnce, "{delivery:?}");
                    digest.octets(delivery.message.topic().as_bytes());
                    digest.number(u64::from(delivery.id.0) << 8 | u64::from(delivery.dup));
                    match delivery.qos {
                        QoS::AtMostOnce => {}
                        QoS::AtLeastOnce => heard[client].push((AckKind::PubAck, delivery.id)),
                        QoS::ExactlyOnce => heard[client].push((AckKind::PubRec, delivery.id)),
                    }
                }
                Outgoing::Ack(Ack { kind: AckKind::PubRel, id, .. }) => {
                    heard[client].push((AckKind::PubComp, id));
                }
                Outgoing::Ack(ack) => digest.number(u64::from(ack.id.0)),
                Outgoing::ConnAck(_)
                | Outgoing::SubAck { .. }
                | Outgoing::UnsubAck { .. }
                | Outgoing::WillAck { .. }
                | Outgoing::Pong
                | Outgoing::Drained => {}
            }
        }
    }

    /// Stores what has changed.
    fn keep(&mut self) {
        let mut journal = Vec::new();
        self.broker.take_journal(&mut journal);
        records::apply(&journal, &mut self.kept);
    }

    /// The process ends, and another one begins with what was kept.
    fn crash(&mut self) {
        let restored = self.restored();
        self.broker = restored;
        self.links = [None; CLIENTS];
        self.heard = Default::default();
    }

    /// A broker made of what was kept, where everything refers to something.
    fn restored(&self) -> Broker {
        let mut broker = broker(self.now());
        for (key, value) in &self.kept {
            let taken = broker.restore(self.now(), broker_core::journal::RecordKey(*key), value);
            taken.expect("what was kept is a record");
        }
        let report = broker.finish_restore(self.now(), false);
        assert_eq!(report.dangling, 0, "{report:?}");
        broker
    }

    /// The journals add up to what is in memory.
    fn check_records(&mut self) {
        let now = self.now();
        let memory = records::of_broker(&mut self.broker, now);
        assert_eq!(records::comparable(&self.kept), records::comparable(&memory));
    }

    /// A broker that comes back is the one that was there, once that has lost its links.
    fn check_restore(&mut self) {
        let now = self.now();
        let mut restored = self.restored();
        let mut kept = self.kept.clone();
        let mut journal = Vec::new();
        restored.take_journal(&mut journal);
        records::apply(&journal, &mut kept);
        let memory = records::of_broker(&mut restored, now);
        assert_eq!(records::comparable(&kept), records::comparable(&memory), "what came back");

        for link in std::mem::take(&mut self.links).into_iter().flatten() {
            self.broker.lost(now, link);
        }
        self.keep();
        if !self.has_shares {
            assert_eq!(records::meaning(&kept), records::meaning(&self.kept), "what was there");
        }
    }

    /// When everybody has gone for long enough, only retained messages are left.
    fn check_nothing_stays(&mut self) {
        self.millis += FOREVER_S * 1_000;
        for _ in 0..20 {
            self.broker.handle_timeout(self.now());
            self.broker.committed(self.broker.lsn());
            self.poll(1_000);
            self.keep();
            self.millis += 10_000;
        }
        let usage = self.broker.usage();
        assert_eq!((usage.sessions, usage.subscriptions, usage.queued), (0, 0, 0), "{usage:?}");
        assert_eq!(usage.messages, usage.retained, "{usage:?}");
        let mut tables = BTreeMap::new();
        self.kept.keys().for_each(|key| *tables.entry(key >> 56).or_insert(0) += 1);
        tables.retain(|table, _| ![records::MESSAGES, records::RETAINED].contains(table));
        assert!(tables.is_empty(), "records of nobody, by table: {tables:?}");
        self.digest.number(usage.retained as u64);
    }
}

fn qos(input: &mut Input<'_>) -> QoS {
    input.choose(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn filter(input: &mut Input<'_>) -> TopicFilter<'static> {
    TopicFilter::new(input.choose(&FILTERS)).expect("a good filter")
}

fn small_id(input: &mut Input<'_>) -> PacketId {
    PacketId(u16::from(input.u8() % 6) + 1)
}

fn ack(kind: AckKind, id: PacketId, reason: ReasonCode) -> Incoming<'static> {
    Incoming::Ack(Ack { kind, id, reason, token: 0 })
}
