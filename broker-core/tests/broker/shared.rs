//! Shared subscriptions.

use broker_core::api::{Ack, AckKind, Credit, Dialect, Incoming, LinkId, PacketId};
use broker_core::limits::BrokerConfig;
use broker_core::reason::ReasonCode;
use broker_core::share::{ShareStrategies, ShareStrategy};

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, Q2, QUEUE, config};

const GROUP: &str = "$share/g/t";

fn round_robin() -> Bench {
    let shares =
        ShareStrategies { default: ShareStrategy::RoundRobin, ..ShareStrategies::default() };
    Bench::with(BrokerConfig { shares, ..config() })
}

fn member(bench: &mut Bench, name: &str, how: &How) -> LinkId {
    let link = bench.join(name, how);
    bench.subscribe(link, GROUP, Q2);
    bench.hear(link);
    link
}

fn payloads(heard: &[String]) -> Vec<&str> {
    heard.iter().filter_map(|text| text.split(' ').nth(1)).collect()
}

/// [MQTT5-4.8.2-3]
#[test]
fn each_message_goes_to_one_member_with_the_qos_that_it_was_granted() {
    let mut bench = round_robin();
    let one = member(&mut bench, "one", &CLEAN);
    let two = bench.join("two", &CLEAN);
    bench.subscribe(two, GROUP, Q0);
    bench.hear(two);
    let publisher = bench.join("p", &CLEAN);
    for payload in ["1", "2", "3", "4"] {
        bench.publish(publisher, "t", payload, Q1);
    }
    bench.expect(one, &["t 1 q1 #1", "t 3 q1 #2"]);
    bench.expect(two, &["t 2 q0", "t 4 q0"]);
    assert_eq!(bench.broker.usage().shared_subscriptions, 2);
}

#[test]
fn groups_and_plain_subscriptions_do_not_disturb_each_other() {
    let mut bench = Bench::new();
    let one = bench.join("one", &CLEAN);
    for filter in ["$share/a/t", "$share/b/t", "t"] {
        bench.subscribe(one, filter, Q0);
    }
    bench.hear(one);
    let publisher = bench.join("p", &CLEAN);
    bench.publish(publisher, "t", "x", Q0);
    bench.expect(one, &["t x q0", "t x q0", "t x q0"]);
    bench.unsubscribe(one, "$share/a/t");
    bench.unsubscribe(one, "$share/a/t");
    bench.expect(one, &["unsuback #6 success", "unsuback #6 no subscription existed"]);
    bench.publish(publisher, "t", "y", Q0);
    bench.expect(one, &["t y q0", "t y q0"]);
}

#[test]
fn members_that_are_away_or_without_credit_are_passed_over() {
    for strategy in [
        ShareStrategy::LeastOutstanding,
        ShareStrategy::RoundRobin,
        ShareStrategy::ByPublisher,
        ShareStrategy::ByTopic,
    ] {
        let shares = ShareStrategies { default: strategy, ..ShareStrategies::default() };
        let mut bench = Bench::with(BrokerConfig { shares, ..config() });
        let away = member(&mut bench, "away", &PERSISTENT);
        let paused = member(&mut bench, "paused", &CLEAN);
        let there = member(&mut bench, "there", &CLEAN);
        bench.disconnect(away);
        bench.credit(paused, Credit::Paused);
        let publisher = bench.join("p", &CLEAN);
        for n in 0..20 {
            bench.publish(publisher, "t", &n.to_string(), Q1);
        }
        assert_eq!(bench.hear(there).len(), 20, "{strategy:?}");
        assert!(bench.hear(paused).is_empty());
    }
}

#[test]
fn a_member_with_a_full_window_is_passed_over() {
    let mut bench = round_robin();
    let busy = member(&mut bench, "busy", &How { window: 1, ..CLEAN });
    let free = member(&mut bench, "free", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    for payload in ["1", "2", "3", "4"] {
        bench.publish(publisher, "t", payload, Q1);
    }
    assert_eq!(payloads(&bench.hear(busy)), ["1"]);
    assert_eq!(payloads(&bench.hear(free)), ["2", "3", "4"]);
}

#[test]
fn when_nobody_is_there_it_waits_for_one_of_them() {
    let mut bench = round_robin();
    let away = member(&mut bench, "away", &PERSISTENT);
    bench.disconnect(away);
    let publisher = bench.join("p", &CLEAN);
    bench.publish(publisher, "t", "0", Q0);
    bench.publish(publisher, "t", "1", Q1);
    assert_eq!(bench.broker.stats().dropped_unshared, 1);
    let away = bench.connect("away", &PERSISTENT);
    bench.expect(away, &["connack success present", "t 1 q1 #1"]);
}

/// [MQTT5-4.8.2-4]
#[test]
fn what_a_member_has_not_acknowledged_when_it_goes_is_handed_on() {
    let mut bench = round_robin();
    let first = member(&mut bench, "first", &How { window: 2, ..PERSISTENT });
    let publisher = bench.join("p", &CLEAN);
    bench.publish_as(publisher, "t", "qos2", Q2, false, 1);
    for (payload, id) in [("a", 2), ("b", 3), ("c", 4)] {
        bench.publish_as(publisher, "t", payload, Q1, false, id);
    }
    assert_eq!(payloads(&bench.hear(first)), ["qos2", "a"]);
    let second = member(&mut bench, "second", &CLEAN);
    bench.lose(first);
    assert_eq!(payloads(&bench.hear(second)), ["a", "b", "c"]);
    // What was begun at QoS 2 is completed by whom it was begun with.
    let first = bench.connect("first", &How { window: 2, ..PERSISTENT });
    bench.expect(first, &["connack success present", "t qos2 q2 #1 dup"]);
    assert_eq!(bench.broker.stats().handed_on, 3);
    assert_eq!(bench.broker.stats().dropped(), 0);
}

/// What was in flight is older than what waited behind it.
#[test]
fn what_a_session_that_ends_hands_on_keeps_its_order() {
    let mut bench = round_robin();
    let first = member(&mut bench, "first", &How { window: 2, ..CLEAN });
    let publisher = bench.join("p", &CLEAN);
    for (payload, id) in [("a", 1), ("b", 2), ("c", 3)] {
        bench.publish_as(publisher, "t", payload, Q1, false, id);
    }
    assert_eq!(payloads(&bench.hear(first)), ["a", "b"]);
    let second = member(&mut bench, "second", &CLEAN);
    bench.lose(first);
    assert_eq!(payloads(&bench.hear(second)), ["a", "b", "c"]);
}

/// [MQTT5-4.8.2-5]
#[test]
fn a_message_of_qos_2_that_was_begun_ends_with_its_session() {
    let mut bench = round_robin();
    let first = member(&mut bench, "first", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    bench.publish_as(publisher, "t", "begun", Q2, false, 1);
    bench.hear(first);
    let second = member(&mut bench, "second", &CLEAN);
    bench.lose(first);
    bench.expect(second, &[]);
    assert_eq!(bench.broker.usage().messages, 0);
}

/// [MQTT5-4.8.2-6]
#[test]
fn what_a_member_refuses_goes_to_nobody_else() {
    let mut bench = round_robin();
    let first = member(&mut bench, "first", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    bench.publish(publisher, "t", "x", Q1);
    bench.hear(first);
    let second = member(&mut bench, "second", &CLEAN);
    let reason = ReasonCode::ImplementationSpecific;
    let ack = Ack { kind: AckKind::PubAck, id: PacketId(1), reason, token: 0 };
    bench.say(first, Incoming::Ack(ack));
    bench.lose(first);
    bench.expect(second, &[]);
    assert_eq!(bench.broker.stats().dropped_unacknowledged, 1);
}

#[test]
fn what_came_by_a_group_stays_with_who_leaves_it() {
    let mut bench = round_robin();
    let first = member(&mut bench, "first", &How { window: 1, ..PERSISTENT });
    let publisher = bench.join("p", &CLEAN);
    for payload in ["1", "2"] {
        bench.publish(publisher, "t", payload, Q1);
    }
    bench.hear(first);
    bench.unsubscribe(first, GROUP);
    bench.hear(first);
    // The group's number is given to another group, which must not get these messages.
    let other = bench.join("other", &CLEAN);
    bench.subscribe(other, "$share/h/elsewhere", Q1);
    bench.hear(other);
    bench.lose(first);
    bench.expect(other, &[]);
    let first = bench.connect("first", &PERSISTENT);
    bench.expect(first, &["connack success present", "t 1 q1 #1 dup", "t 2 q1 #2"]);
}

#[test]
fn retained_messages_are_not_sent_to_groups() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    bench.publish_as(client, "t", "old", Q0, true, 0);
    bench.subscribe(client, GROUP, Q0);
    bench.expect(client, &["suback #5 success"]);
}

#[test]
fn a_publisher_of_mqtt_5_learns_that_nobody_has_room() {
    let mut bench = Bench::new();
    let queue = broker_core::api::QueueLimits { messages_max: 1, ..QUEUE };
    let reader = bench.join("r", &How { queue, ..PERSISTENT });
    bench.subscribe(reader, "t", Q1);
    bench.disconnect(reader);
    let five = bench.join("five", &How { dialect: Dialect::Mqtt5, ..CLEAN });
    let older = bench.join("older", &CLEAN);
    let sensor = bench.join("sensor", &How { dialect: Dialect::MqttSn12, ..CLEAN });
    bench.publish(five, "t", "1", Q1);
    bench.expect(five, &["puback #9 success"]);
    bench.publish(five, "t", "2", Q1);
    bench.expect(five, &["puback #9 quota exceeded"]);
    bench.publish(five, "t", "3", Q2);
    bench.expect(five, &["pubrec #9 quota exceeded"]);
    for link in [older, sensor] {
        bench.publish(link, "t", "4", Q1);
        bench.expect(link, &["puback #9 success"]);
    }
    // Somebody else has room.
    let other = bench.join("o", &CLEAN);
    bench.subscribe(other, "t", Q0);
    bench.publish(five, "t", "5", Q1);
    bench.expect(five, &["puback #9 success"]);
    assert_eq!(bench.broker.stats().dropped_queue_full, 5);
}

#[test]
fn a_client_of_mqtt_5_that_acknowledges_the_wrong_way_is_cut_off() {
    for (qos, kind) in [(Q2, AckKind::PubAck), (Q1, AckKind::PubRec)] {
        let mut bench = Bench::new();
        let five = bench.join("five", &How { dialect: Dialect::Mqtt5, ..CLEAN });
        bench.subscribe(five, "t", Q2);
        bench.publish(five, "t", "x", qos);
        bench.hear(five);
        bench.ack(five, kind, 1);
        bench.expect(five, &["closed: protocol error"]);
    }
}

/// Two groups in one window: what came by the one that was left stays, the rest goes on.
#[test]
fn who_left_a_group_hands_nothing_of_it_to_the_others() {
    let mut bench = round_robin();
    let first = member(&mut bench, "first", &PERSISTENT);
    bench.subscribe(first, "$share/h/u", Q1);
    bench.hear(first);
    let publisher = bench.join("p", &CLEAN);
    for topic in ["t", "u"] {
        bench.publish(publisher, topic, "x", Q1);
    }
    bench.expect(first, &["t x q1 #1", "u x q1 #2"]);
    let second = member(&mut bench, "second", &CLEAN);
    bench.subscribe(second, "$share/h/u", Q1);
    bench.hear(second);
    bench.unsubscribe(first, GROUP);
    bench.lose(first);
    bench.expect(second, &["u x q1 #1"]);
    let first = bench.connect("first", &PERSISTENT);
    bench.expect(first, &["connack success present", "t x q1 #1 dup"]);
}
