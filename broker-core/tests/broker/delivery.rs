//! From publisher to subscriber, at every QoS.

use broker_core::api::{AckKind, SubscriptionOptions};

use crate::bench::{Bench, CLEAN, PERSISTENT, Q0, Q1, Q2};

/// [MQTT-3.3.4-1], [MQTT-3.8.4-6]
#[test]
fn every_pair_of_qos_is_delivered_with_the_lower_of_the_two() {
    for published in [Q0, Q1, Q2] {
        for granted in [Q0, Q1, Q2] {
            let mut bench = Bench::new();
            let subscriber = bench.join("s", &CLEAN);
            let publisher = bench.join("p", &CLEAN);
            bench.subscribe(subscriber, "t", granted);
            bench.hear(subscriber);
            bench.publish(publisher, "t", "hi", published);
            let qos = published.min(granted);
            let id = if qos == Q0 { "" } else { " #1" };
            bench.expect(subscriber, &[&format!("t hi q{}{id}", qos as u8)]);
            match published {
                Q0 => bench.expect(publisher, &[]),
                Q1 => bench.expect(publisher, &["puback #9 success"]),
                Q2 => bench.expect(publisher, &["pubrec #9 success"]),
            }
        }
    }
}

/// [MQTT-4.3.3-1], [MQTT-4.3.3-2]
#[test]
fn qos_2_is_delivered_once_however_often_it_is_sent() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    bench.subscribe(client, "t", Q2);
    bench.hear(client);
    bench.publish(client, "t", "hi", Q2);
    bench.expect(client, &["pubrec #9 success", "t hi q2 #1"]);
    bench.publish(client, "t", "hi", Q2);
    bench.expect(client, &["pubrec #9 success"]);
    bench.ack(client, AckKind::PubRel, 9);
    bench.expect(client, &["pubcomp #9 success"]);
    bench.ack(client, AckKind::PubRel, 9);
    bench.expect(client, &["pubcomp #9 packet identifier not found"]);
    bench.publish(client, "t", "new", Q2);
    bench.expect(client, &["pubrec #9 success", "t new q2 #2"]);
    // The other direction, each step asked for twice.
    for _ in 0..2 {
        bench.ack(client, AckKind::PubRec, 1);
        bench.expect(client, &["pubrel #1 success"]);
    }
    bench.ack(client, AckKind::PubComp, 1);
    bench.ack(client, AckKind::PubComp, 1);
    bench.ack(client, AckKind::PubRec, 1);
    bench.expect(client, &["pubrel #1 packet identifier not found"]);
    assert_eq!(bench.broker.stats().acks_unexpected, 2);
}

/// [MQTT-4.6.0-6]
#[test]
fn the_window_holds_messages_back_and_keeps_their_order() {
    let mut bench = Bench::new();
    let mut how = CLEAN;
    how.window = 2;
    let subscriber = bench.join("s", &how);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q1);
    bench.hear(subscriber);
    for payload in ["1", "2", "3", "4"] {
        bench.publish(publisher, "t", payload, Q1);
    }
    bench.expect(subscriber, &["t 1 q1 #1", "t 2 q1 #2"]);
    bench.ack(subscriber, AckKind::PubAck, 2);
    bench.expect(subscriber, &["t 3 q1 #3"]);
    bench.ack(subscriber, AckKind::PubAck, 1);
    bench.expect(subscriber, &["t 4 q1 #4"]);
}

/// [MQTT-3.3.5-1], [MQTT5-3.3.4-4]
#[test]
fn overlapping_subscriptions_get_one_copy_with_the_highest_qos_and_all_identifiers() {
    let mut bench = Bench::new();
    let subscriber = bench.join("s", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    for (filter, qos, identifier) in [("a/#", Q0, 3), ("a/b", Q2, 7), ("+/b", Q1, 0), ("#", Q0, 9)]
    {
        let options = SubscriptionOptions { qos, ..Default::default() };
        bench.subscribe_with(subscriber, filter, options, identifier);
    }
    bench.hear(subscriber);
    bench.publish(publisher, "a/b", "hi", Q2);
    let heard = bench.hear(subscriber);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].starts_with("a/b hi q2 #1 ids ["), "{heard:?}");
    for identifier in ["3", "7", "9"] {
        assert!(heard[0].contains(identifier), "{heard:?}");
    }
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    let other = bench.join("o", &CLEAN);
    let options = SubscriptionOptions { no_local: true, ..Default::default() };
    bench.subscribe_with(client, "t", options, 0);
    bench.hear(client);
    bench.publish(client, "t", "mine", Q0);
    bench.publish(other, "t", "theirs", Q0);
    bench.expect(client, &["t theirs q0"]);
}

/// [MQTT-3.10.4-2], [MQTT-3.10.4-3], [MQTT-3.10.4-4], [MQTT-3.10.4-5]
#[test]
fn after_unsubscribing_nothing_new_comes_and_what_was_begun_is_finished() {
    let mut bench = Bench::new();
    let subscriber = bench.join("s", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q2);
    bench.hear(subscriber);
    bench.publish(publisher, "t", "begun", Q2);
    bench.expect(subscriber, &["t begun q2 #1"]);
    bench.unsubscribe(subscriber, "t");
    bench.expect(subscriber, &["unsuback #6 success"]);
    bench.publish(publisher, "t", "late", Q2);
    bench.expect(subscriber, &[]);
    bench.ack(subscriber, AckKind::PubRec, 1);
    bench.expect(subscriber, &["pubrel #1 success"]);
    bench.unsubscribe(subscriber, "t");
    bench.expect(subscriber, &["unsuback #6 no subscription existed"]);
}

/// [MQTT-4.7.2-1]
#[test]
fn the_servers_own_topics_are_not_for_clients() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    bench.subscribe(client, "$x/#", Q1);
    bench.hear(client);
    bench.publish(client, "$x/y", "hi", Q1);
    bench.expect(client, &["puback #9 not authorized"]);
    assert_eq!(bench.broker.stats().publish_refused, 1);
}

/// [MQTT-4.5.0-1]
#[test]
fn a_session_without_a_link_collects_qos_1_and_2_and_not_qos_0() {
    let mut bench = Bench::new();
    let subscriber = bench.join("s", &PERSISTENT);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q2);
    bench.disconnect(subscriber);
    for (payload, qos) in [("0", Q0), ("1", Q1), ("2", Q2)] {
        bench.publish(publisher, "t", payload, qos);
    }
    let subscriber = bench.connect("s", &PERSISTENT);
    bench.expect(subscriber, &["connack success present", "t 1 q1 #1", "t 2 q2 #2"]);
    assert_eq!(bench.broker.stats().dropped_offline_qos0, 1);
}

#[test]
fn a_client_publishing_to_itself_is_acknowledged_before_it_gets_its_copy() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    bench.subscribe(client, "t", Q1);
    bench.hear(client);
    bench.publish(client, "t", "hi", Q1);
    bench.expect(client, &["puback #9 success", "t hi q1 #1"]);
}
