//! Settings that change while everything goes on: nothing that is there goes, and what is new meets
//! the new bounds.

use core::time::Duration;

use broker_core::api::{AckKind, Credit, Dialect, Overflow, QueueLimits};
use broker_core::limits::{BrokerConfig, Limits};
use broker_core::share::{ShareStrategies, ShareStrategy};

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, QUEUE, config};

impl Bench {
    fn reconfigure(&mut self, config: BrokerConfig) {
        let now = self.now();
        self.broker.reconfigure(now, config);
        self.turn();
    }

    fn set_limits(&mut self, limits: Limits) {
        self.reconfigure(BrokerConfig { limits, ..config() });
    }

    /// What a client that was away gets when it is back.
    fn collect(&mut self, client_id: &str, how: &How) -> Vec<String> {
        let link = self.connect(client_id, how);
        self.hear(link)[1..].to_vec()
    }
}

fn away(bench: &mut Bench, client_id: &str, how: &How) {
    let link = bench.join(client_id, how);
    bench.subscribe(link, "t", Q1);
    bench.disconnect(link);
}

#[test]
fn fewer_sessions_end_none_and_let_no_new_one_in_until_there_is_room() {
    let mut bench = Bench::new();
    let links = ["a", "b", "c"].map(|name| bench.join(name, &CLEAN));
    bench.set_limits(Limits { sessions_max: 2, ..Limits::default() });
    assert_eq!(bench.broker.usage().sessions, 3);
    let known = bench.connect("a", &CLEAN);
    bench.expect(known, &["connack success"]);
    let new = bench.connect("d", &CLEAN);
    bench.expect(new, &["connack quota exceeded", "closed: quota exceeded"]);
    bench.disconnect(links[1]);
    let new = bench.connect("d", &CLEAN);
    bench.expect(new, &["connack quota exceeded", "closed: quota exceeded"]);
    bench.disconnect(links[2]);
    let new = bench.connect("d", &CLEAN);
    bench.expect(new, &["connack success"]);
}

#[test]
fn fewer_filters_take_no_subscription_away() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    ["a", "b", "c"].iter().for_each(|filter| bench.subscribe(client, filter, Q0));
    bench.hear(client);
    bench.set_limits(Limits {
        filters_per_session_max: 1,
        topic_levels_max: 1,
        ..Limits::default()
    });
    bench.publish(client, "c", "hi", Q0);
    bench.subscribe(client, "d", Q0);
    bench.subscribe(client, "b", Q0);
    bench.expect(client, &["c hi q0", "suback #5 quota exceeded", "suback #5 success"]);
}

#[test]
fn less_room_for_retained_messages_keeps_those_that_are_there() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    for topic in ["a", "b", "c"] {
        bench.publish_as(client, topic, "12345", Q0, true, 0);
    }
    bench.set_limits(Limits {
        retained_messages_max: 1,
        retained_bytes_max: 1,
        ..Limits::default()
    });
    bench.publish_as(client, "d", "1", Q0, true, 0);
    assert_eq!(bench.broker.stats().retain_refused, 1);
    assert_eq!(bench.broker.usage().retained, 3);
    bench.subscribe(client, "#", Q0);
    bench.expect(
        client,
        &["suback #5 success", "a 12345 q0 retain", "b 12345 q0 retain", "c 12345 q0 retain"],
    );
}

#[test]
fn less_memory_refuses_what_is_new_and_lets_what_is_there_drain() {
    let mut bench = Bench::new();
    away(&mut bench, "reader", &PERSISTENT);
    let publisher = bench.join("p", &CLEAN);
    bench.publish(publisher, "t", "kept", Q1);
    bench.set_limits(Limits { memory_bytes: 1, ..Limits::default() });
    assert!(bench.broker.is_out_of_memory());
    assert_eq!(bench.collect("reader", &PERSISTENT), ["t kept q1 #1"]);
    let new = bench.connect("new", &CLEAN);
    bench.expect(new, &["connack quota exceeded", "closed: quota exceeded"]);
    bench.set_limits(Limits::default());
    let new = bench.connect("new", &CLEAN);
    bench.expect(new, &["connack success"]);
}

/// For each way of a queue to overflow: a bound below what waits.
#[test]
fn a_shorter_queue_keeps_what_waits() {
    for (overflow, expect) in [
        (Overflow::RejectNew, ["1", "2", "3", "4"]),
        // One in, one out: the queue does not grow, and does not shrink for it either.
        (Overflow::DropOldest, ["2", "3", "4", "5"]),
        (Overflow::Disconnect, ["1", "2", "3", "4"]),
    ] {
        for dialect in [Dialect::Mqtt311, Dialect::MqttSn12] {
            let mut bench = Bench::new();
            let queue = QueueLimits { overflow, ..QUEUE };
            let how = How { queue, dialect, ..PERSISTENT };
            away(&mut bench, "reader", &how);
            let publisher = bench.join("p", &CLEAN);
            (1..=4).for_each(|n| bench.publish(publisher, "t", &n.to_string(), Q1));
            let short = QueueLimits { messages_max: 2, bytes_max: 3, ..queue };
            let (mqtt, sn) = if dialect.is_sn() { (QUEUE, short) } else { (short, QUEUE) };
            bench.broker.set_queue_limits(mqtt, sn);
            assert_eq!(bench.broker.usage().queued, 4, "nothing goes for a lower bound");
            bench.publish(publisher, "t", "5", Q1);
            let texts: Vec<String> = bench
                .collect("reader", &How { queue: short, ..how })
                .iter()
                .filter_map(|heard| heard.split(' ').nth(1).map(str::to_owned))
                .collect();
            assert_eq!(texts, expect, "{overflow:?} {dialect:?}");
        }
    }
}

/// A message that is larger than the whole queue may be pushes nothing out.
#[test]
fn what_will_never_fit_makes_nobody_give_way() {
    let mut bench = Bench::new();
    let queue = QueueLimits { overflow: Overflow::DropOldest, ..QUEUE };
    let how = How { queue, ..PERSISTENT };
    away(&mut bench, "reader", &how);
    let publisher = bench.join("p", &CLEAN);
    bench.publish(publisher, "t", "1", Q1);
    let short = QueueLimits { bytes_max: 10, ..queue };
    bench.broker.set_queue_limits(short, short);
    bench.publish(publisher, "t", "this is much more than ten octets", Q1);
    assert_eq!(bench.collect("reader", &how), ["t 1 q1 #1"]);
}

/// QoS 0 that waits for one that sleeps has a bound of its own.
#[test]
fn less_qos_0_for_sleepers_keeps_what_waits() {
    let mut bench = Bench::new();
    let queue = QueueLimits { overflow: Overflow::DropOldest, ..QUEUE };
    let sleeper = bench.join("s", &How { dialect: Dialect::MqttSn12, queue, ..PERSISTENT });
    bench.subscribe(sleeper, "t", Q0);
    bench.hear(sleeper);
    bench.broker.set_credit(sleeper, Credit::Paused);
    let publisher = bench.join("p", &CLEAN);
    (1..=4).for_each(|n| bench.publish(publisher, "t", &n.to_string(), Q0));
    bench.broker.set_queue_limits(QUEUE, QueueLimits { paused_qos0_messages_max: 1, ..queue });
    bench.publish(publisher, "t", "5", Q0);
    bench.broker.set_credit(sleeper, Credit::Window(1));
    bench.turn();
    bench.expect(sleeper, &["t 2 q0", "t 3 q0", "t 4 q0", "t 5 q0"]);
    bench.broker.set_credit(sleeper, Credit::Paused);
    (6..=8).for_each(|n| bench.publish(publisher, "t", &n.to_string(), Q0));
    bench.broker.set_credit(sleeper, Credit::Window(1));
    bench.turn();
    bench.expect(sleeper, &["t 8 q0"]);
}

#[test]
fn a_window_stays_as_it_was_until_the_client_comes_again() {
    let mut bench = Bench::new();
    let reader = bench.join("reader", &PERSISTENT);
    bench.subscribe(reader, "t", Q1);
    bench.hear(reader);
    bench.set_limits(Limits { inflight_max: 1, ..Limits::default() });
    // As after a moment in which the link took nothing.
    bench.broker.set_credit(reader, Credit::Window(20));
    let publisher = bench.join("p", &CLEAN);
    (1..=3).for_each(|n| bench.publish(publisher, "t", &n.to_string(), Q1));
    bench.expect(reader, &["t 1 q1 #1", "t 2 q1 #2", "t 3 q1 #3"]);
    let again = bench.connect("reader", &PERSISTENT);
    bench.expect(again, &["connack success present", "t 1 q1 #1 dup"]);
    bench.ack(again, AckKind::PubAck, 1);
    bench.expect(again, &["t 2 q1 #2 dup"]);
}

/// What a client was told in CONNACK holds.
#[test]
fn a_session_lives_as_long_as_it_was_promised() {
    let mut bench = Bench::new();
    away(&mut bench, "old", &How { expiry_s: 100, ..PERSISTENT });
    bench.set_limits(Limits { session_expiry_max_s: 10, ..Limits::default() });
    away(&mut bench, "new", &How { expiry_s: 100, ..PERSISTENT });
    bench.pass(50_000);
    assert_eq!(bench.ended, ["new"]);
    bench.pass(60_000);
    assert_eq!(bench.ended, ["new", "old"]);
}

#[test]
fn sys_topics_come_go_and_change_their_pace() {
    let sys = |seconds: Option<u64>| BrokerConfig {
        sys_interval: seconds.map(Duration::from_secs),
        ..config()
    };
    let mut bench = Bench::with(sys(None));
    let reader = bench.join("reader", &CLEAN);
    bench.subscribe(reader, "$SYS/broker/uptime", Q0);
    bench.hear(reader);
    bench.pass(20_000);
    bench.expect(reader, &[]);
    bench.reconfigure(sys(Some(1_000)));
    bench.pass(10);
    bench.expect(reader, &["$SYS/broker/uptime 20 seconds q0"]);
    bench.reconfigure(sys(Some(5)));
    bench.pass(11_000);
    let heard = bench.hear(reader);
    assert_eq!(heard.len(), 2, "every five seconds: {heard:?}");
    bench.reconfigure(sys(None));
    assert_eq!(bench.broker.usage().retained, 0, "what was told is forgotten");
    bench.pass(60_000);
    bench.expect(reader, &[]);
}

#[test]
fn groups_that_are_there_choose_in_the_new_way() {
    let strategy = |default| BrokerConfig {
        shares: ShareStrategies { default, ..ShareStrategies::default() },
        ..config()
    };
    let mut bench = Bench::with(strategy(ShareStrategy::RoundRobin));
    let members = ["a", "b"].map(|name| bench.join(name, &CLEAN));
    for member in members {
        bench.subscribe(member, "$share/g/t", Q0);
        bench.hear(member);
    }
    let publisher = bench.join("p", &CLEAN);
    let share = |bench: &mut Bench| {
        (0..10).for_each(|n| bench.publish(publisher, "t", &n.to_string(), Q0));
        members.map(|member| bench.hear(member).len())
    };
    assert_eq!(share(&mut bench), [5, 5]);
    bench.reconfigure(strategy(ShareStrategy::ByTopic));
    let mut counts = share(&mut bench);
    counts.sort_unstable();
    assert_eq!(counts, [0, 10]);
}

/// Everything that can be said is refused or taken with bounds of nothing and next to nothing.
#[test]
fn the_least_bounds_break_nothing() {
    let mut bench = Bench::new();
    away(&mut bench, "reader", &PERSISTENT);
    let client = bench.join("c", &CLEAN);
    bench.subscribe(client, "#", Q1);
    bench.publish_as(client, "t", "1", Q1, true, 9);
    bench.set_limits(Limits {
        memory_bytes: 0,
        sessions_max: 0,
        filters_per_session_max: 0,
        topic_levels_max: 0,
        client_id_bytes_max: 0,
        retained_messages_max: 0,
        retained_bytes_max: 0,
        session_expiry_max_s: 0,
        inflight_max: 0,
        received_ids_max: 0,
    });
    let nothing =
        QueueLimits { messages_max: 0, bytes_max: 0, paused_qos0_messages_max: 0, ..QUEUE };
    bench.broker.set_queue_limits(nothing, nothing);
    bench.publish_as(client, "t", "2", Q1, true, 10);
    bench.subscribe(client, "t/u", Q1);
    bench.hear(client);
    bench.connect("reader", &PERSISTENT);
    bench.pass(1_000_000);
    bench.set_limits(Limits::default());
    bench.broker.set_queue_limits(QUEUE, QUEUE);
    let link = bench.join("reader", &PERSISTENT);
    bench.publish(client, "t", "3", Q1);
    let heard = bench.hear(link);
    assert!(heard.iter().any(|heard| heard.starts_with("t 3")), "{heard:?}");
}
