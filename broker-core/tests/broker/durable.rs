//! What was promised is there after a crash, and nothing is promised before it is.

use std::collections::BTreeMap;

use broker_core::api::{
    AckKind, Credit, Dialect, Incoming, LinkId, PacketId, QoS, RetainHandling, SubscriptionOptions,
};
use broker_core::journal::{Ops, RecordKey};
use broker_core::limits::{BrokerConfig, Durability};
use broker_core::property::Properties;
use broker_core::{Broker, RestoreReport};

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, Q2, config};

/// A broker with a store that holds what was committed.
pub(crate) struct Kept {
    pub(crate) bench: Bench,
    records: BTreeMap<u64, Vec<u8>>,
}

pub(crate) fn gated() -> BrokerConfig {
    BrokerConfig { durability: Durability::Gated, ..config() }
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self { bench: Bench::with(gated()), records: BTreeMap::new() }
    }

    /// What has changed becomes durable.
    pub(crate) fn commit(&mut self) {
        loop {
            let mut journal = Vec::new();
            let lsn = self.bench.broker.take_journal(&mut journal);
            for op in Ops::new(&journal).map(|op| op.expect("a good journal")) {
                match op.value {
                    Some(value) => self.records.insert(op.key.0, value.to_vec()),
                    None => self.records.remove(&op.key.0),
                };
            }
            self.bench.broker.committed(lsn);
            self.bench.turn();
            if self.bench.broker.lsn() == lsn {
                break;
            }
        }
    }

    /// The process ends, with what was not committed, and begins again.
    pub(crate) fn crash(&mut self) -> RestoreReport {
        self.restart(false)
    }

    fn restart(&mut self, was_clean: bool) -> RestoreReport {
        let now = self.bench.now();
        let mut broker = Broker::new(gated(), now);
        for (key, value) in &self.records {
            broker.restore(now, RecordKey(*key), value).expect("a good record");
        }
        let report = broker.finish_restore(now, was_clean);
        assert_eq!(report.dangling, 0);
        self.bench.broker = broker;
        self.bench.turn();
        report
    }

    pub(crate) fn join(&mut self, client_id: &str, how: &How) -> LinkId {
        let link = self.bench.connect(client_id, how);
        self.commit();
        let heard = self.bench.hear(link);
        assert!(heard[0].starts_with("connack success"), "{heard:?}");
        link
    }

    /// A client that subscribes and goes away.
    pub(crate) fn absent(&mut self, client_id: &str, filter: &str, qos: QoS) {
        let link = self.join(client_id, &PERSISTENT);
        self.bench.subscribe(link, filter, qos);
        self.commit();
        self.bench.lose(link);
        self.commit();
    }

    /// How many records a table has.
    pub(crate) fn count(&self, table: u8) -> usize {
        self.records.keys().filter(|key| RecordKey(**key).table() == table).count()
    }
}

const MESSAGES: u8 = 1;
pub(crate) const DELIVERIES: u8 = 4;

#[test]
fn a_client_comes_back_to_everything_after_a_crash() {
    let mut kept = Kept::new();
    kept.absent("reader", "t/#", Q2);
    let publisher = kept.join("p", &CLEAN);
    kept.bench.publish_as(publisher, "t/1", "one", Q1, true, 1);
    kept.bench.publish_as(publisher, "t/2", "two", Q2, false, 2);
    kept.bench.publish_as(publisher, "t/3", "three", Q0, false, 0);
    kept.commit();
    let report = kept.crash();
    let expect = RestoreReport {
        messages: 2,
        sessions: 1,
        subscriptions: 1,
        deliveries: 2,
        retained: 1,
        ..RestoreReport::default()
    };
    assert_eq!(report, expect);
    let reader = kept.bench.connect("reader", &PERSISTENT);
    kept.commit();
    let both = ["connack success present", "t/1 one q1 #1", "t/2 two q2 #2"];
    kept.bench.expect(reader, &both);
    // In flight, across another crash.
    kept.bench.ack(reader, AckKind::PubRec, 2);
    kept.commit();
    kept.bench.expect(reader, &["pubrel #2 success"]);
    kept.crash();
    let reader = kept.bench.connect("reader", &PERSISTENT);
    kept.commit();
    let both = ["connack success present", "t/1 one q1 #1 dup", "pubrel #2 success"];
    kept.bench.expect(reader, &both);
    kept.bench.ack(reader, AckKind::PubComp, 2);
    kept.bench.ack(reader, AckKind::PubAck, 1);
    kept.commit();
    assert_eq!((kept.count(MESSAGES), kept.count(DELIVERIES)), (1, 0));
    // The identifiers go on behind the last one, though nothing is in flight.
    kept.crash();
    let reader = kept.join("reader", &PERSISTENT);
    let publisher = kept.join("p", &CLEAN);
    kept.bench.publish_as(publisher, "t/4", "four", Q1, false, 1);
    kept.commit();
    kept.bench.expect(reader, &["t/4 four q1 #3"]);
    kept.bench.subscribe(publisher, "#", Q1);
    kept.commit();
    let heard = kept.bench.hear(publisher);
    assert_eq!(heard.last().map(String::as_str), Some("t/1 one q1 #1 retain"));
}

/// [MQTT5-4.8.2-5] is about messages that were begun; one that waits for the disk was not.
#[test]
fn a_message_of_qos_2_that_no_member_was_sent_goes_to_another_one() {
    let mut kept = Kept::new();
    let first = kept.join("first", &CLEAN);
    let second = kept.join("second", &PERSISTENT);
    for member in [first, second] {
        kept.bench.subscribe(member, "$share/g/t", Q2);
        kept.commit();
        kept.bench.hear(member);
    }
    let publisher = kept.join("p", &PERSISTENT);
    for (payload, id) in [("one", 1), ("two", 2), ("three", 3)] {
        kept.bench.publish_as(publisher, "t", payload, Q2, false, id);
    }
    kept.bench.lose(first);
    kept.commit();
    let mut heard = kept.bench.hear(second);
    heard.sort_unstable();
    assert_eq!(heard.len(), 3, "{heard:?}");
    // What was begun with it waits for it.
    let third = kept.join("third", &CLEAN);
    kept.bench.subscribe(third, "$share/g/t", Q2);
    kept.commit();
    kept.bench.hear(third);
    kept.bench.lose(second);
    kept.commit();
    kept.bench.expect(third, &[]);
    kept.crash();
    let second = kept.join("second", &PERSISTENT);
    assert_eq!(kept.bench.hear(second).len(), 0);
    assert_eq!(kept.bench.broker.stats().dropped(), 0);
}

/// Says something to a persistent client's link; the answer comes with the commit and not before.
fn check_gate(kept: &mut Kept, link: LinkId, answer: &str, ask: impl FnOnce(&mut Bench)) {
    kept.bench.hear(link);
    ask(&mut kept.bench);
    kept.bench.expect(link, &[]);
    kept.commit();
    kept.bench.expect(link, &[answer]);
}

#[test]
fn no_answer_leaves_before_what_it_promises_is_durable() {
    let mut kept = Kept::new();
    let link = kept.bench.connect("c", &PERSISTENT);
    check_gate(&mut kept, link, "connack success", |_| {});
    kept.absent("other", "t", Q2);
    let link = kept.join("c", &PERSISTENT);
    check_gate(&mut kept, link, "suback #5 granted QoS 2", |bench| bench.subscribe(link, "s", Q2));
    check_gate(&mut kept, link, "puback #9 success", |bench| bench.publish(link, "t", "1", Q1));
    check_gate(&mut kept, link, "pubrec #9 success", |bench| bench.publish(link, "t", "2", Q2));
    check_gate(&mut kept, link, "pubcomp #9 success", |bench| bench.ack(link, AckKind::PubRel, 9));
    check_gate(&mut kept, link, "puback #8 no matching subscribers", |bench| {
        bench.publish_as(link, "r", "retained", Q1, true, 8);
    });
    kept.bench.publish(link, "s", "3", Q2);
    kept.commit();
    check_gate(&mut kept, link, "pubrel #1 success", |bench| bench.ack(link, AckKind::PubRec, 1));
    // Asked again, it still waits: the sender of MQTT-SN may lose patience.
    kept.bench.publish_as(link, "s", "4", Q2, false, 10);
    kept.commit();
    check_gate(&mut kept, link, "pubrel #2 success", |bench| {
        bench.ack(link, AckKind::PubRec, 2);
        assert!(bench.broker.resend(link, PacketId(2), true));
        bench.turn();
    });
    check_gate(&mut kept, link, "unsuback #6 success", |bench| bench.unsubscribe(link, "s"));
}

#[test]
fn what_is_not_kept_does_not_wait() {
    let mut kept = Kept::new();
    let reader = kept.bench.join("r", &CLEAN);
    kept.bench.subscribe(reader, "t", Q2);
    let publisher = kept.bench.join("p", &CLEAN);
    for qos in [Q0, Q1, Q2] {
        kept.bench.publish(publisher, "t", "x", qos);
    }
    let heard = ["suback #5 granted QoS 2", "t x q0", "t x q1 #1", "t x q2 #2"];
    kept.bench.expect(reader, &heard);
    kept.bench.expect(publisher, &["puback #9 success", "pubrec #9 success"]);
    let mut journal = Vec::new();
    let before = kept.bench.broker.lsn();
    assert_eq!(kept.bench.broker.take_journal(&mut journal), before);
    assert_eq!(journal, []);
}

#[test]
fn messages_of_qos_0_to_clients_that_are_there_write_nothing() {
    let mut kept = Kept::new();
    let reader = kept.join("r", &PERSISTENT);
    kept.bench.subscribe(reader, "t", Q2);
    kept.commit();
    let before = kept.bench.broker.lsn();
    let publisher = kept.bench.join("p", &CLEAN);
    for _ in 0..100 {
        kept.bench.publish(publisher, "t", "x", Q0);
    }
    assert_eq!(kept.bench.hear(reader).len(), 101);
    assert_eq!(kept.bench.broker.lsn(), before);
}

#[test]
fn a_broker_in_memory_writes_nothing() {
    let mut bench = Bench::new();
    let link = bench.join("c", &How { will: Some(("w", "gone", Q1, true)), ..PERSISTENT });
    bench.subscribe(link, "#", Q2);
    bench.publish_as(link, "t", "x", Q2, true, 4);
    bench.lose(link);
    let mut journal = Vec::new();
    bench.broker.take_journal(&mut journal);
    assert_eq!(journal, []);
}

#[test]
fn a_message_is_stored_once_however_many_wait_for_it() {
    let mut kept = Kept::new();
    let clients: Vec<_> = (0..20).map(|n| format!("reader{n}")).collect();
    clients.iter().for_each(|client| kept.absent(client, "t", Q1));
    let publisher = kept.join("p", &CLEAN);
    kept.bench.publish(publisher, "t", "x", Q1);
    kept.commit();
    assert_eq!((kept.count(MESSAGES), kept.count(DELIVERIES)), (1, 20));
    for client in &clients {
        assert_eq!(kept.count(MESSAGES), 1);
        let link = kept.join(client, &PERSISTENT);
        kept.bench.ack(link, AckKind::PubAck, 1);
        kept.commit();
    }
    assert_eq!((kept.count(MESSAGES), kept.count(DELIVERIES)), (0, 0));
}

#[test]
fn a_session_that_ends_leaves_no_record() {
    let mut kept = Kept::new();
    let will = How { will: Some(("w", "gone", Q1, false)), ..PERSISTENT };
    let link = kept.join("c", &How { window: 1, ..will });
    kept.bench.subscribe(link, "t", Q2);
    kept.bench.subscribe(link, "$share/g/t", Q2);
    for id in 1..5 {
        kept.bench.publish_as(link, "t", "x", Q2, false, id);
    }
    kept.commit();
    kept.bench.ack(link, AckKind::PubRec, 1);
    kept.commit();
    assert!(kept.records.len() > 10, "{:?}", kept.records);
    let link = kept.bench.connect("c", &CLEAN);
    kept.bench.disconnect(link);
    kept.commit();
    kept.bench.pass(1_000);
    kept.commit();
    assert_eq!(kept.records, BTreeMap::new());
}

#[test]
fn a_message_of_qos_2_leaves_once_it_is_durable_which_identifier_it_has() {
    let mut kept = Kept::new();
    let reader = kept.join("r", &PERSISTENT);
    kept.bench.subscribe(reader, "t", Q2);
    kept.commit();
    kept.bench.hear(reader);
    let publisher = kept.bench.join("p", &CLEAN);
    kept.bench.publish(publisher, "t", "1", Q1);
    kept.bench.expect(reader, &["t 1 q1 #1"]);
    for (payload, qos) in [("2", Q2), ("3", Q1), ("4", Q2), ("5", Q0)] {
        kept.bench.publish_as(publisher, "t", payload, qos, false, 7);
        kept.bench.ack(publisher, AckKind::PubRel, 7);
    }
    kept.bench.expect(reader, &[]);
    kept.commit();
    // None of them was sent before, and their order is kept.
    kept.bench.expect(reader, &["t 2 q2 #2", "t 3 q1 #3", "t 4 q2 #4", "t 5 q0"]);
}

#[test]
fn a_window_holds_for_what_waits_to_become_durable_too() {
    let mut kept = Kept::new();
    let reader = kept.join("r", &How { window: 2, ..PERSISTENT });
    kept.bench.subscribe(reader, "t", Q2);
    kept.commit();
    kept.bench.hear(reader);
    let publisher = kept.bench.join("p", &CLEAN);
    for id in 1..5 {
        kept.bench.publish_as(publisher, "t", &id.to_string(), Q2, false, id);
    }
    kept.commit();
    kept.bench.expect(reader, &["t 1 q2 #1", "t 2 q2 #2"]);
    kept.bench.credit(reader, Credit::Window(3));
    kept.commit();
    kept.bench.expect(reader, &["t 3 q2 #3"]);
}

/// One end of a handshake of QoS 2, as a client that keeps its state does it.
#[derive(Default)]
struct Receiver {
    unreleased: Vec<String>,
    received: Vec<String>,
}

impl Receiver {
    /// Takes what was heard and answers it; whether there was something.
    fn answer(&mut self, bench: &mut Bench, link: LinkId) -> bool {
        let heard = bench.hear(link);
        for line in &heard {
            let id = line.split('#').nth(1).and_then(|rest| rest.split(' ').next());
            let Some(id) = id.map(str::to_owned) else { continue };
            let number = id.parse().expect("a number");
            if line.starts_with("pubrel") {
                self.unreleased.retain(|held| *held != id);
                bench.ack(link, AckKind::PubComp, number);
            } else if line.contains(" q2 ") {
                if !self.unreleased.contains(&id) {
                    self.received.push(line.split(' ').nth(1).expect("a payload").to_owned());
                    self.unreleased.push(id);
                }
                bench.ack(link, AckKind::PubRec, number);
            }
        }
        !heard.is_empty()
    }
}

/// [MQTT-4.3.3-1], [MQTT-4.3.3-2]: whichever step of the two handshakes the crash falls into,
/// committed or not.
#[test]
fn a_crash_at_any_step_neither_loses_nor_doubles_a_message_of_qos_2() {
    for crash_at in 0..12 {
        for is_committed in [false, true] {
            let mut kept = Kept::new();
            kept.absent("r", "t", Q2);
            let mut receiver = Receiver::default();
            let mut publisher = kept.join("p", &PERSISTENT);
            let mut reader = kept.join("r", &PERSISTENT);
            let (mut is_received, mut is_complete) = (false, false);
            kept.bench.publish_as(publisher, "t", "x", Q2, false, 3);
            for step in 0..30 {
                if step == crash_at {
                    if is_committed {
                        kept.commit();
                    }
                    kept.crash();
                    publisher = kept.join("p", &PERSISTENT);
                    reader = kept.bench.connect("r", &PERSISTENT);
                    match (is_received, is_complete) {
                        (false, _) => kept.bench.publish_as(publisher, "t", "x", Q2, false, 3),
                        (true, false) => kept.bench.ack(publisher, AckKind::PubRel, 3),
                        (true, true) => {}
                    }
                }
                // One thing at a time: a commit, an answer of the reader, one of the publisher.
                match step % 3 {
                    0 => kept.commit(),
                    1 => drop(receiver.answer(&mut kept.bench, reader)),
                    _ => {
                        for line in kept.bench.hear(publisher) {
                            is_complete |= line.starts_with("pubcomp #3");
                            if line == "pubrec #3 success" {
                                is_received = true;
                                kept.bench.ack(publisher, AckKind::PubRel, 3);
                            }
                        }
                    }
                }
            }
            let heard = (receiver.received.as_slice(), is_complete);
            assert_eq!(heard, (&["x".to_owned()][..], true), "{crash_at} {is_committed}");
            kept.commit();
            assert_eq!((kept.count(MESSAGES), kept.count(DELIVERIES)), (0, 0));
        }
    }
}

#[test]
fn wills_are_due_after_a_crash_and_not_after_a_shutdown() {
    let will = Some(("w", "gone", Q1, false));
    let delayed = How { will, will_delay_s: 5, ..PERSISTENT };
    for (how, was_clean, at_once, later) in [
        (How { will, ..CLEAN }, false, true, false),
        (How { will, ..PERSISTENT }, false, true, false),
        (delayed.clone(), false, false, true),
        (How { will, ..CLEAN }, true, false, false),
        (delayed, true, false, false),
    ] {
        let mut kept = Kept::new();
        kept.join("c", &how);
        kept.absent("watcher", "w", Q1);
        kept.restart(was_clean);
        let heard = |kept: &mut Kept| {
            kept.commit();
            let link = kept.bench.connect("watcher", &PERSISTENT);
            kept.commit();
            let heard = kept.bench.hear(link);
            kept.bench.ack(link, AckKind::PubAck, 1);
            kept.bench.lose(link);
            heard.len() == 2
        };
        assert_eq!(heard(&mut kept), at_once, "{was_clean} {}", how.will_delay_s);
        kept.bench.pass(4_000);
        kept.commit();
        // Another crash does not begin the delay again.
        kept.crash();
        assert!(!heard(&mut kept));
        kept.bench.pass(1_100);
        assert_eq!(heard(&mut kept), later, "{was_clean} {}", how.will_delay_s);
    }
}

/// SN-088: the will of a sensor is kept for the CONNECT that arms it again.
#[test]
fn a_sensor_finds_its_will_after_a_shutdown() {
    let sensor = How { dialect: Dialect::MqttSn12, ..PERSISTENT };
    let mut kept = Kept::new();
    kept.join("c", &How { will: Some(("w", "gone", Q1, false)), ..sensor });
    kept.absent("watcher", "w", Q1);
    kept.restart(true);
    let link = kept.join("c", &How { keep_will: true, ..sensor });
    kept.bench.lose(link);
    kept.commit();
    let watcher = kept.bench.connect("watcher", &PERSISTENT);
    kept.commit();
    kept.bench.expect(watcher, &["connack success present", "w gone q1 #1"]);
}

#[test]
fn time_goes_on_while_the_broker_is_down() {
    let mut kept = Kept::new();
    let link = kept.join("c", &How { expiry_s: 60, ..PERSISTENT });
    kept.bench.subscribe(link, "t", Q1);
    kept.bench.lose(link);
    let publisher = kept.join("p", &CLEAN);
    let hour = Properties::parse(&[2, 0, 0, 0, 40]).expect("good properties");
    kept.bench.publish_with(publisher, "t", b"x", Q1, true, PacketId(1), hour);
    kept.commit();
    kept.bench.millis += 30_000;
    kept.crash();
    assert_eq!((kept.bench.broker.usage().sessions, kept.bench.broker.usage().retained), (1, 1));
    kept.bench.pass(10_100);
    assert_eq!((kept.bench.broker.usage().sessions, kept.bench.broker.usage().retained), (1, 0));
    kept.commit();
    kept.bench.millis += 10_000;
    kept.crash();
    assert_eq!(kept.bench.broker.usage().sessions, 1);
    kept.bench.pass(10_100);
    assert_eq!(kept.bench.broker.usage().sessions, 0);
    kept.commit();
    assert_eq!(kept.records, BTreeMap::new());
}

/// [MQTT5-3.3.2-6]: nobody is told more than the publisher said.
#[test]
fn a_wall_clock_that_was_turned_back_makes_no_message_live_longer() {
    let mut kept = Kept::new();
    kept.bench.millis = 2 * 3_600_000;
    kept.absent("c", "t", Q1);
    let publisher = kept.join("p", &CLEAN);
    let minute = Properties::parse(&[2, 0, 0, 0, 60]).expect("good properties");
    kept.bench.publish_with(publisher, "t", b"x", Q1, true, PacketId(1), minute);
    kept.commit();
    kept.bench.millis += 30_000;
    kept.bench.turned_back_ms = 3_600_000;
    kept.crash();
    let link = kept.bench.connect("c", &PERSISTENT);
    kept.commit();
    kept.bench.expect(link, &["connack success present", "t x q1 #1 expires 60"]);
    kept.bench.pass(60_100);
    assert_eq!(kept.bench.broker.usage().retained, 0);
}

/// [MQTT-3.3.1-6]: what a subscription was promised is not forgotten halfway.
#[test]
fn retained_messages_go_on_where_they_were_when_the_broker_went_down() {
    let mut kept = Kept::new();
    let publisher = kept.join("p", &CLEAN);
    for number in 0..100 {
        kept.bench.publish_as(publisher, &format!("t/{number:03}"), "x", Q1, true, 1);
    }
    let reader = kept.join("r", &How { window: 1, ..PERSISTENT });
    kept.bench.subscribe(reader, "t/+", Q1);
    kept.commit();
    let mut heard: Vec<_> = kept.bench.hear(reader).split_off(1);
    assert_eq!(heard, ["t/000 x q1 #1 retain"]);
    kept.crash();
    let reader = kept.bench.connect("r", &How { window: 1, ..PERSISTENT });
    kept.commit();
    while let Some(line) = kept.bench.hear(reader).pop() {
        let id = line.split('#').nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        heard.push(line);
        kept.bench.ack(reader, AckKind::PubAck, id.expect("an identifier"));
        kept.commit();
    }
    let again = heard.remove(1);
    assert_eq!(again, "t/000 x q1 #1 retain dup");
    let topics: Vec<_> = heard.iter().map(|line| line[..5].to_owned()).collect();
    assert_eq!(topics, (0..100).map(|number| format!("t/{number:03}")).collect::<Vec<_>>());
}

/// A SUBSCRIBE that asks for no retained messages changes the subscription, and not how those are
/// sent that the one before has asked for.
#[test]
fn retained_messages_go_on_at_the_qos_that_was_asked_for_then() {
    let mut kept = Kept::new();
    let publisher = kept.join("p", &CLEAN);
    for number in 0..100 {
        kept.bench.publish_as(publisher, &format!("t/{number:03}"), "x", Q1, true, 1);
    }
    let one_by_one = How { window: 1, dialect: Dialect::Mqtt5, ..PERSISTENT };
    let reader = kept.join("r", &one_by_one);
    kept.bench.subscribe(reader, "t/+", Q1);
    let no_more = SubscriptionOptions {
        qos: Q0,
        retain_handling: RetainHandling::Never,
        ..Default::default()
    };
    kept.bench.subscribe_with(reader, "t/+", no_more, 0);
    kept.commit();
    kept.crash();
    let reader = kept.bench.connect("r", &one_by_one);
    kept.commit();
    for id in 1..=100 {
        let line = kept.bench.hear(reader).pop().expect("the next one");
        assert!(line.starts_with(&format!("t/{:03} x q1 #{id} retain", id - 1)), "{line}");
        kept.bench.ack(reader, AckKind::PubAck, id);
        kept.commit();
    }
}

/// [MQTT-4.6.0-6]: what was retained stands in front of what was accepted since, wherever the
/// broker goes down; and no identifier is given twice in a row [MQTT-2.3.1-4].
#[test]
fn crashes_do_not_bring_newer_messages_in_front_of_retained_ones() {
    let mut kept = Kept::new();
    let publisher = kept.join("p", &CLEAN);
    for number in 0..40 {
        kept.bench.publish_as(publisher, &format!("t/{number:03}"), "x", Q1, true, 1);
    }
    let one_by_one = How { window: 1, ..PERSISTENT };
    let reader = kept.join("r", &one_by_one);
    kept.bench.subscribe(reader, "t/+", Q1);
    for payload in ["a", "b"] {
        kept.bench.publish_as(publisher, "t/live", payload, Q1, false, 1);
    }
    kept.commit();
    let mut expected: Vec<_> =
        (0..40).map(|n| format!("t/{n:03} x q1 #{} retain dup", n + 1)).collect();
    expected.extend(["t/live a q1 #41 dup", "t/live b q1 #42 dup"].map(str::to_owned));
    for (id, line) in (1..).zip(expected) {
        kept.crash();
        let reader = kept.bench.connect("r", &one_by_one);
        kept.commit();
        kept.bench.expect(reader, &["connack success present", &line]);
        // Nothing is in flight as the broker goes down, and then the next one.
        kept.bench.credit(reader, Credit::Paused);
        kept.bench.ack(reader, AckKind::PubAck, id);
        kept.commit();
        kept.crash();
        kept.bench.connect("r", &one_by_one);
        kept.commit();
    }
    assert_eq!(kept.count(DELIVERIES), 0);
}

/// A look-up that waits for its client knows after a crash, too, what came after it: messages that
/// nobody keeps have taken numbers before.
#[test]
fn what_is_retained_after_a_crash_comes_once_to_who_waits_for_retained_messages() {
    let mut kept = Kept::new();
    let publisher = kept.join("p", &CLEAN);
    kept.bench.subscribe(publisher, "other", Q0);
    for _ in 0..3 {
        kept.bench.publish_as(publisher, "other", "x", Q0, false, 0);
    }
    let reader = kept.join("r", &PERSISTENT);
    kept.bench.credit(reader, Credit::Paused);
    kept.bench.subscribe(reader, "t", Q1);
    kept.commit();
    kept.crash();
    let publisher = kept.join("p", &CLEAN);
    kept.bench.publish_as(publisher, "t", "new", Q1, true, 1);
    kept.commit();
    let reader = kept.bench.connect("r", &PERSISTENT);
    kept.commit();
    kept.bench.expect(reader, &["connack success present", "t new q1 #1"]);
}

#[test]
fn answers_wait_for_what_is_kept_beside_the_broker_too() {
    let mut kept = Kept::new();
    let link = kept.join("c", &PERSISTENT);
    kept.bench.broker.note_change();
    kept.bench.publish(link, "t", "nobody", Q1);
    kept.bench.expect(link, &[]);
    kept.commit();
    kept.bench.expect(link, &["puback #9 no matching subscribers"]);
}

#[test]
fn a_session_has_one_number_as_long_as_it_lives() {
    let mut kept = Kept::new();
    kept.absent("a", "t", Q1);
    kept.absent("b", "t", Q1);
    let clean = kept.bench.join("c", &CLEAN);
    let numbers = |kept: &Kept| ["a", "b", "c"].map(|id| kept.bench.broker.session_number(id));
    let before = numbers(&kept);
    assert_eq!(before, [Some(0), Some(1), None]);
    kept.bench.disconnect(clean);
    kept.crash();
    assert_eq!(numbers(&kept), before);
    let link = kept.bench.connect("a", &CLEAN);
    kept.bench.say(link, Incoming::Ping);
    kept.commit();
    kept.crash();
    kept.absent("d", "t", Q1);
    assert_eq!(kept.bench.broker.session_number("d"), Some(0));
}

/// (SN-050): a sensor that changes its mind about CleanSession keeps what it had.
#[test]
fn a_session_that_is_kept_later_is_kept_with_what_is_in_flight_and_what_waits() {
    let mut kept = Kept::new();
    let clean = How { dialect: Dialect::MqttSn12, window: 2, ..CLEAN };
    let link = kept.join("sensor", &clean);
    kept.bench.subscribe(link, "t", Q1);
    for payload in ["1", "2", "3", "4"] {
        kept.bench.publish(link, "t", payload, Q1);
    }
    assert_eq!(kept.count(DELIVERIES), 0);
    let persistent = How { clean: false, expiry_s: u32::MAX, ..clean };
    kept.join("sensor", &persistent);
    kept.crash();
    let link = kept.join("sensor", &persistent);
    for id in [1, 2] {
        kept.bench.ack(link, AckKind::PubAck, id);
    }
    let heard = kept.bench.hear(link);
    assert_eq!(heard.iter().filter(|text| text.contains(" q1")).count(), 2, "{heard:?}");
}
