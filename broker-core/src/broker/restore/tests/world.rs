//! A broker with clients that do anything, and the records that its journals add up to.

#![expect(clippy::wildcard_enum_match_arm, reason = "each function deals with a few of many")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::Broker;
use crate::api::{
    Ack, AckKind, Connect, ConnectWill, Credit, Dialect, Disconnect, Incoming, LinkId, Outgoing,
    Output, Overflow, PacketId, Payload, Publish, QoS, QueueLimits, RetainHandling, Subscribe,
    SubscribeRequest, SubscriptionOptions, Unsubscribe, Will, WillChange,
};
use crate::broker::record::SnapshotCursor;
use crate::broker::restore::RestoreReport;
use crate::journal::{Ops, RecordKey};
use crate::limits::{BrokerConfig, Durability, Limits};
use crate::property::Properties;
use crate::reason::ReasonCode;
use crate::record::{DeliveryRecord, NO_SESSION, Reader, Table};
use crate::share::ShareStrategies;
use crate::time::{Now, UnixMillis};
use crate::topic::{TopicFilter, TopicName};

use super::describe::describe;

pub(super) type Kept = BTreeMap<u64, Vec<u8>>;

const CLIENTS: usize = 5;
const TOPICS: [&str; 4] = ["a", "a/b", "b", "c/d"];
const FILTERS: [&str; 7] = ["a", "a/+", "#", "b", "$share/g/a/#", "$share/g/#", "$share/h/a/#"];

#[derive(Clone, Debug)]
pub(super) enum Op {
    Connect {
        client: usize,
        dialect: u8,
        clean: bool,
        expiry: u8,
        will: u8,
        window: u16,
    },
    Lose {
        client: usize,
    },
    Disconnect {
        client: usize,
        keep_will: bool,
        expiry: Option<u8>,
    },
    Subscribe {
        client: usize,
        filter: usize,
        options: u8,
        identifier: u32,
    },
    Unsubscribe {
        client: usize,
        filter: usize,
    },
    Publish {
        client: usize,
        topic: usize,
        qos: u8,
        retain: bool,
        id: u16,
        payload: u8,
    },
    /// Answers what was heard, in part and with a refusal now and then.
    Answer {
        client: usize,
        count: usize,
        refuses: bool,
    },
    Release {
        client: usize,
        id: u16,
    },
    /// The identifier is used for another message without a release.
    Reuse {
        client: usize,
        id: u16,
    },
    Credit {
        client: usize,
        credit: u8,
    },
    ChangeWill {
        client: usize,
        change: u8,
    },
    Resend {
        client: usize,
        id: u16,
        dup: bool,
    },
    GiveUp {
        client: usize,
        id: u16,
    },
    Poll {
        count: usize,
    },
    /// Changes become durable, and all hear what there is to hear.
    Turn,
    Commit,
    Pass {
        millis: u64,
    },
    Crash {
        clean: bool,
    },
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let client = || 0..CLIENTS;
    let flag = any::<bool>;
    prop_oneof![
        6 => (client(), 0..4_u8, prop::bool::weighted(0.2), 0..5_u8, 0..5_u8, 1..5_u16).prop_map(
            |(client, dialect, clean, expiry, will, window)| {
                Op::Connect { client, dialect, clean, expiry, will, window }
            }
        ),
        2 => client().prop_map(|client| Op::Lose { client }),
        2 => (client(), flag(), prop::option::weighted(0.2, 0..4_u8))
            .prop_map(|(client, keep_will, expiry)| Op::Disconnect { client, keep_will, expiry }),
        6 => (client(), 0..FILTERS.len(), any::<u8>(), 0..3_u32).prop_map(
            |(client, filter, options, identifier)| {
                Op::Subscribe { client, filter, options, identifier }
            }
        ),
        2 => (client(), 0..FILTERS.len())
            .prop_map(|(client, filter)| Op::Unsubscribe { client, filter }),
        12 => (client(), 0..TOPICS.len(), 0..3_u8, flag(), 1..6_u16, 0..6_u8).prop_map(
            |(client, topic, qos, retain, id, payload)| {
                Op::Publish { client, topic, qos, retain, id, payload }
            }
        ),
        8 => (client(), 1..4_usize, prop::bool::weighted(0.1))
            .prop_map(|(client, count, refuses)| Op::Answer { client, count, refuses }),
        3 => (client(), 1..6_u16).prop_map(|(client, id)| Op::Release { client, id }),
        1 => (client(), 1..6_u16).prop_map(|(client, id)| Op::Reuse { client, id }),
        2 => (client(), 0..4_u8).prop_map(|(client, credit)| Op::Credit { client, credit }),
        1 => (client(), 0..3_u8).prop_map(|(client, change)| Op::ChangeWill { client, change }),
        1 => (client(), 1..9_u16, flag())
            .prop_map(|(client, id, dup)| Op::Resend { client, id, dup }),
        1 => (client(), 1..9_u16).prop_map(|(client, id)| Op::GiveUp { client, id }),
        8 => (1..20_usize).prop_map(|count| Op::Poll { count }),
        4 => Just(Op::Commit),
        10 => Just(Op::Turn),
        4 => prop::sample::select(vec![1, 500, 4_000, 40_000])
            .prop_map(|millis| Op::Pass { millis }),
        2 => flag().prop_map(|clean| Op::Crash { clean }),
    ]
}

/// All clients come and subscribe.
pub(super) fn opening() -> Vec<Op> {
    let connect = |client| {
        let (dialect, window, will) = (2, 2, (client % 5) as u8);
        Op::Connect { client, dialect, clean: false, expiry: 4, will, window }
    };
    let mut ops: Vec<_> = (0..CLIENTS).map(connect).collect();
    for client in 0..CLIENTS {
        ops.push(Op::Subscribe { client, filter: 2, options: 2, identifier: 1 });
        ops.push(Op::Subscribe { client, filter: 4, options: 1, identifier: 2 });
    }
    ops.push(Op::Turn);
    ops
}

/// A fixed course of events that leaves something in every table.
pub(super) fn sample() -> Vec<Op> {
    let publish = |id: u16| {
        let (topic, qos) = (usize::from(id) - 1, 1 + (id % 2) as u8);
        Op::Publish { client: 0, topic, qos, retain: true, id, payload: 2 }
    };
    let mut ops = opening();
    ops.extend((1..5).map(publish));
    ops.extend([Op::Commit, Op::Poll { count: 20 }, Op::Commit, Op::Poll { count: 20 }]);
    for client in 0..CLIENTS {
        ops.push(Op::Answer { client, count: 1, refuses: false });
        ops.extend([Op::Commit, Op::Poll { count: 20 }, Op::Lose { client }]);
    }
    ops
}

pub(super) struct World {
    pub(super) broker: Broker,
    pub(super) kept: Kept,
    millis: u64,
    links: [Option<LinkId>; CLIENTS],
    next_link: u64,
    /// What each client heard and has not answered.
    heard: [Vec<(AckKind, PacketId)>; CLIENTS],
}

impl Default for World {
    fn default() -> Self {
        Self {
            broker: Broker::new(config(), Now::default()),
            kept: Kept::new(),
            millis: 0,
            links: [None; CLIENTS],
            next_link: 0,
            heard: Default::default(),
        }
    }
}

fn config() -> BrokerConfig {
    BrokerConfig {
        limits: Limits { received_ids_max: 4, ..Limits::default() },
        durability: Durability::Gated,
        validate_payload_format: false,
        shares: ShareStrategies::default(),
        sys_interval: None,
        version: String::new(),
        seed: 3,
    }
}

fn expiry_s(choice: u8) -> u32 {
    [0, 1, 10, 60, u32::MAX][usize::from(choice)]
}

fn qos(choice: u8) -> QoS {
    QoS::from_u8(choice % 3).expect("three of them")
}

/// Applies a journal to the records.
pub(super) fn replay(octets: &[u8], kept: &mut Kept) {
    for op in Ops::new(octets) {
        let op = op.expect("a good journal");
        match op.value {
            Some(value) => drop(kept.insert(op.key.0, value.to_vec())),
            None => drop(kept.remove(&op.key.0)),
        }
    }
}

/// A broker made from records; those that are refused are left out.
pub(super) fn restore(kept: &Kept, now: Now, clean: bool) -> (Broker, RestoreReport) {
    let mut broker = Broker::new(config(), now);
    let mut records: Vec<_> = kept.iter().collect();
    // Within a table in any order: here the later ones first.
    records.sort_by_key(|(key, _)| (RecordKey(**key).table(), u64::MAX - **key));
    for (key, value) in records {
        if broker.restore(now, RecordKey(*key), value).is_err() {
            continue;
        }
    }
    let report = broker.finish_restore(now, clean);
    (broker, report)
}

impl World {
    pub(super) fn now(&self) -> Now {
        // The clocks do not begin together.
        Now { unix: UnixMillis(1_000_000 + self.millis), ..Now::from_millis(self.millis) }
    }

    /// Applies an operation and takes what it changed, which it returns.
    pub(super) fn apply(&mut self, op: &Op) -> Vec<u8> {
        match op {
            Op::Crash { clean } => {
                let (broker, _) = restore(&self.kept, self.now(), *clean);
                self.go_on_with(broker);
                self.keep_windows();
            }
            Op::Commit => self.broker.committed(self.broker.lsn()),
            Op::Poll { count } => self.poll(*count),
            Op::Turn => {
                for _ in 0..2 {
                    self.broker.committed(self.broker.lsn());
                    self.poll(100);
                }
            }
            Op::Pass { millis } => {
                self.millis += millis;
                self.broker.handle_timeout(self.now());
            }
            Op::Connect { client, .. }
            | Op::Lose { client }
            | Op::Disconnect { client, .. }
            | Op::Subscribe { client, .. }
            | Op::Unsubscribe { client, .. }
            | Op::Publish { client, .. }
            | Op::Answer { client, .. }
            | Op::Release { client, .. }
            | Op::Reuse { client, .. }
            | Op::Credit { client, .. }
            | Op::ChangeWill { client, .. }
            | Op::Resend { client, .. }
            | Op::GiveUp { client, .. } => self.act(*client, op),
        }
        let mut journal = Vec::new();
        self.broker.take_journal(&mut journal);
        replay(&journal, &mut self.kept);
        journal
    }

    /// After a crash this broker is there.
    pub(super) fn go_on_with(&mut self, broker: Broker) {
        self.broker = broker;
        self.links = [None; CLIENTS];
        self.heard = Default::default();
    }

    /// Behind a crash identifiers of MQTT-SN are left out, and nothing says so before the next is
    /// given out. Here a record does, as in a snapshot: a session may speak otherwise by then.
    fn keep_windows(&mut self) {
        let (mut octets, mut records) = (Vec::new(), Kept::new());
        let mut cursor = SnapshotCursor::default();
        while self.broker.snapshot(self.now(), &mut cursor, 100, &mut octets) {}
        replay(&octets, &mut records);
        records.retain(|key, _| RecordKey(*key).table() == Table::Window as u8);
        self.kept.append(&mut records);
    }

    fn act(&mut self, client: usize, op: &Op) {
        let now = self.now();
        if let Op::Connect { dialect, clean, expiry, will, window, .. } = op {
            self.next_link += 1;
            let link = LinkId(self.next_link);
            self.links[client] = Some(link);
            self.heard[client].clear();
            let connect = connect(client, *dialect, *clean, *expiry, *will, *window);
            self.broker.handle(now, link, Incoming::Connect(connect));
            return;
        }
        let Some(link) = self.links[client] else { return };
        match op {
            Op::Lose { .. } => {
                self.broker.lost(now, link);
                self.links[client] = None;
            }
            Op::Disconnect { keep_will, expiry, .. } => {
                let (reason, keep_will) = (ReasonCode::Success, *keep_will);
                let session_expiry_s = expiry.map(expiry_s);
                let disconnect = Disconnect { reason, keep_will, session_expiry_s };
                self.broker.handle(now, link, Incoming::Disconnect(disconnect));
                self.links[client] = None;
            }
            Op::Answer { count, refuses, .. } => {
                for _ in 0..*count {
                    let Some((kind, id)) = self.heard[client].pop() else { break };
                    let reason =
                        if *refuses { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
                    self.broker.handle(now, link, ack(kind, id, reason));
                }
            }
            Op::Release { id, .. } => {
                let release = ack(AckKind::PubRel, PacketId(*id), ReasonCode::Success);
                self.broker.handle(now, link, release);
            }
            Op::Credit { credit, .. } => {
                let credit = match credit {
                    0 => Credit::Paused,
                    1 => Credit::UntilDrained(1),
                    window => Credit::Window((*window).into()),
                };
                self.broker.set_credit(link, credit);
            }
            Op::Resend { id, dup, .. } => {
                self.broker.resend(link, PacketId(*id), *dup);
            }
            Op::Reuse { id, .. } => self.broker.forget_received(link, PacketId(*id)),
            Op::GiveUp { id, .. } => self.broker.abandon(link, PacketId(*id)),
            other => self.request(link, other),
        }
    }

    fn request(&mut self, link: LinkId, op: &Op) {
        let now = self.now();
        match op {
            Op::Subscribe { filter, options, identifier, .. } => {
                let filter = TopicFilter::new(FILTERS[*filter]).expect("a good filter");
                let handling = [RetainHandling::Always, RetainHandling::IfNew];
                let options = SubscriptionOptions {
                    qos: qos(*options),
                    no_local: options & 16 != 0 && filter.share().is_none(),
                    retain_as_published: options & 32 != 0,
                    retain_handling: handling[usize::from(options >> 7)],
                };
                let requests = &[SubscribeRequest { filter, options }];
                let (id, identifier) = (PacketId(5), *identifier);
                let subscribe = Subscribe { id, token: 0, identifier, requests };
                self.broker.handle(now, link, Incoming::Subscribe(subscribe));
            }
            Op::Unsubscribe { filter, .. } => {
                let filters = &[TopicFilter::new(FILTERS[*filter]).expect("a good filter")];
                let unsubscribe = Unsubscribe { id: PacketId(6), token: 0, filters };
                self.broker.handle(now, link, Incoming::Unsubscribe(unsubscribe));
            }
            Op::Publish { topic, qos: level, retain, id, payload, .. } => {
                let expiry = Properties::parse(&[2, 0, 0, 0, 5, 1, 0]).expect("good properties");
                let publish = Publish {
                    topic: TopicName::new(TOPICS[*topic]).expect("a good name"),
                    payload: Payload::Borrowed(&[*payload; 5][..usize::from(*payload)]),
                    qos: qos(*level),
                    retain: *retain,
                    dup: false,
                    id: PacketId(*id),
                    token: 0,
                    properties: if *payload == 3 { expiry } else { Properties::EMPTY },
                };
                self.broker.handle(now, link, Incoming::Publish(publish));
            }
            Op::ChangeWill { change, .. } => {
                let topic = TopicName::new("will/2").expect("a good name");
                let change = match change {
                    0 => WillChange::Topic { topic, qos: QoS::AtLeastOnce, retain: true },
                    1 => WillChange::Payload(b"changed"),
                    _ => WillChange::Delete,
                };
                self.broker.handle(now, link, Incoming::ChangeWill(change));
            }
            other => unreachable!("{other:?} is dealt with by the caller"),
        }
    }

    fn poll(&mut self, count: usize) {
        for _ in 0..count {
            let Some(output) = self.broker.poll_output() else { break };
            let Output::Send { link, packet } = output else { continue };
            let Some(client) = self.links.iter().position(|held| *held == Some(link)) else {
                continue;
            };
            let heard = &mut self.heard[client];
            match packet {
                Outgoing::Publish(delivery) => match delivery.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => heard.push((AckKind::PubAck, delivery.id)),
                    QoS::ExactlyOnce => heard.push((AckKind::PubRec, delivery.id)),
                },
                Outgoing::Ack(Ack { kind: AckKind::PubRel, id, .. }) => {
                    heard.push((AckKind::PubComp, id));
                }
                _ => {}
            }
        }
    }

    /// The journals add up to what is in memory.
    pub(super) fn check_records(&mut self) {
        let mut octets = Vec::new();
        let mut cursor = SnapshotCursor::default();
        let now = self.now();
        while self.broker.snapshot(now, &mut cursor, 100, &mut octets) {}
        let mut memory = Kept::new();
        replay(&octets, &mut memory);
        let mut kept = self.kept.clone();
        // Those tell the same in more than one way.
        let is_window = |key: &u64| RecordKey(*key).table() == Table::Window as u8;
        kept.retain(|key, _| !is_window(key));
        memory.retain(|key, _| !is_window(key));
        forget_moments(&mut kept);
        forget_moments(&mut memory);
        assert_eq!(kept, memory);
    }

    /// What comes back is what is there, as if all links were lost; and it comes back again.
    pub(super) fn check_restore(&mut self, is_whole: bool) {
        let now = self.now();
        let (mut restored, report) = restore(&self.kept, now, false);
        // A session that ends hands on what it had of groups.
        let hands_on = self.broker.sessions.iter().any(|(_, session)| {
            session.number != NO_SESSION && session.expiry_s == 0 && !session.shares.is_empty()
        });
        if is_whole {
            assert_eq!(report.dangling, 0);
        }
        if is_whole && !hands_on {
            self.broker.now = now;
            assert_eq!(describe(&restored), describe(&self.broker));
        }
        let mut kept = self.kept.clone();
        let mut journal = Vec::new();
        restored.take_journal(&mut journal);
        replay(&journal, &mut kept);
        let (mut again, report) = restore(&kept, now, false);
        if is_whole {
            assert_eq!(report.dangling, 0);
            assert_eq!(describe(&again), describe(&restored));
            journal.clear();
            again.take_journal(&mut journal);
            assert_eq!(journal, [], "nothing is left to be put right");
        }
    }
}

/// What is as of the moment of a record: the time that a message has left, and what a retained one
/// waits in front of, which may have gone since. Whether there is any is compared.
fn forget_moments(records: &mut Kept) {
    /// A flag of a message; its time is behind format, flags and the moment at which it ends.
    const HAS_WITHIN: u8 = 16;
    let is_message = |key: &u64| RecordKey(*key).table() == Table::Message as u8;
    for (_, value) in records.iter_mut().filter(|(key, _)| is_message(key)) {
        if value[1] & HAS_WITHIN != 0 {
            value[10..14].fill(0);
        }
    }
    let is_delivery = |key: &u64| RecordKey(*key).table() == Table::Delivery as u8;
    for (_, value) in records.iter_mut().filter(|(key, _)| is_delivery(key)) {
        let read = DeliveryRecord::read(Reader::new(&value[1..]));
        let (mut record, identifiers) = read.expect("a good record");
        record.ahead_of = record.ahead_of.map(|_| 0);
        value.truncate(1);
        record.write(value, &identifiers);
    }
}

fn ack(kind: AckKind, id: PacketId, reason: ReasonCode) -> Incoming<'static> {
    Incoming::Ack(Ack { kind, id, reason, token: 0 })
}

fn connect(
    client: usize,
    dialect: u8,
    clean: bool,
    expiry: u8,
    will: u8,
    window: u16,
) -> Connect<'static> {
    let dialects = [Dialect::Mqtt31, Dialect::Mqtt311, Dialect::Mqtt5, Dialect::MqttSn12];
    let will = match will {
        0 | 1 => ConnectWill::None,
        2 => ConnectWill::Keep,
        _ => ConnectWill::Set(Will {
            topic: TopicName::new("a/will").expect("a good name"),
            payload: b"gone",
            qos: qos(will),
            retain: will == 4,
            delay_s: if will == 3 { 3 } else { 0 },
            properties: Properties::EMPTY,
        }),
    };
    let overflow = [Overflow::RejectNew, Overflow::DropOldest, Overflow::Disconnect];
    Connect {
        dialect: dialects[usize::from(dialect)],
        client_id: ["v", "w", "x", "y", "z"][client],
        clean_start: clean,
        session_expiry_s: expiry_s(expiry),
        keep_alive: None,
        will,
        will_on_takeover: window != 3,
        user_name: None,
        password: None,
        credit: Credit::Window(window),
        queue: QueueLimits {
            messages_max: 6,
            bytes_max: 60,
            paused_qos0_messages_max: 2,
            overflow: overflow[usize::from(window) % 3],
        },
        durability: Durability::Gated,
        properties: Properties::EMPTY,
    }
}
