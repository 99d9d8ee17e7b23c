//! Retained messages as subscribers see them.

use broker_core::api::{AckKind, Credit, RetainHandling, SubscriptionOptions};

use crate::bench::{Bench, CLEAN, PERSISTENT, Q0, Q1, Q2};

/// [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-8], [MQTT-3.3.1-9], [MQTT-3.3.1-12]
#[test]
fn a_new_subscription_gets_the_last_retained_message_of_each_topic() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    let early = bench.join("e", &CLEAN);
    bench.subscribe(early, "a/#", Q2);
    bench.hear(early);
    bench.publish_as(publisher, "a/1", "old", Q1, true, 1);
    bench.publish_as(publisher, "a/1", "new", Q1, true, 2);
    bench.publish_as(publisher, "a/1", "not retained", Q1, false, 3);
    bench.publish_as(publisher, "a/2", "two", Q2, true, 4);
    let heard = bench.hear(early);
    assert!(heard.iter().all(|text| !text.contains("retain ")), "{heard:?}");
    assert_eq!(heard.len(), 4);
    let late = bench.join("l", &CLEAN);
    bench.subscribe(late, "a/+", Q1);
    bench
        .expect(late, &["suback #5 granted QoS 1", "a/1 new q1 #1 retain", "a/2 two q1 #2 retain"]);
}

/// [MQTT-3.3.1-7]: whatever the QoS of both.
#[test]
fn a_retained_message_of_qos_0_replaces_the_one_before() {
    for old in [Q0, Q1, Q2] {
        let mut bench = Bench::new();
        let client = bench.join("c", &CLEAN);
        bench.publish_as(client, "t", "old", old, true, 1);
        bench.publish_as(client, "t", "new", Q0, true, 0);
        bench.hear(client);
        bench.subscribe(client, "t", Q2);
        bench.expect(client, &["suback #5 granted QoS 2", "t new q0 retain"]);
    }
}

/// [MQTT-3.3.1-10], [MQTT-3.3.1-11]
#[test]
fn an_empty_message_removes_the_retained_one_and_is_delivered_itself() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    bench.publish_as(client, "t", "x", Q0, true, 0);
    bench.subscribe(client, "t", Q0);
    bench.expect(client, &["suback #5 success", "t x q0 retain"]);
    bench.publish_as(client, "t", "", Q0, true, 0);
    bench.expect(client, &["t  q0"]);
    bench.subscribe(client, "t", Q0);
    bench.expect(client, &["suback #5 success"]);
    assert_eq!(bench.broker.usage().retained, 0);
}

/// [MQTT-3.8.4-3]
#[test]
fn subscribing_again_sends_retained_messages_again() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    bench.publish_as(client, "t", "x", Q0, true, 0);
    for _ in 0..2 {
        bench.subscribe(client, "t", Q0);
        bench.expect(client, &["suback #5 success", "t x q0 retain"]);
    }
}

/// [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11], [MQTT5-3.3.1-13]
#[test]
fn subscription_options_say_when_and_how_retained_messages_come() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    bench.publish_as(client, "t", "x", Q0, true, 0);
    let options = |retain_handling| SubscriptionOptions {
        retain_handling,
        retain_as_published: true,
        ..Default::default()
    };
    bench.subscribe_with(client, "t", options(RetainHandling::Never), 0);
    bench.expect(client, &["suback #5 success"]);
    bench.subscribe_with(client, "t", options(RetainHandling::IfNew), 0);
    bench.expect(client, &["suback #5 success"]);
    bench.unsubscribe(client, "t");
    bench.hear(client);
    bench.subscribe_with(client, "t", options(RetainHandling::IfNew), 7);
    bench.expect(client, &["suback #5 success", "t x q0 retain ids [7]"]);
    bench.publish_as(client, "t", "y", Q0, true, 0);
    bench.expect(client, &["t y q0 retain ids [7]"]);
}

/// [MQTT-3.1.2-7]
#[test]
fn retained_messages_outlive_the_session_of_their_publisher() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    bench.publish_as(publisher, "t", "x", Q1, true, 1);
    bench.disconnect(publisher);
    let client = bench.join("c", &CLEAN);
    bench.subscribe(client, "t", Q0);
    bench.expect(client, &["suback #5 success", "t x q0 retain"]);
}

#[test]
fn a_slow_reader_gets_many_retained_messages_as_it_takes_them() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    for n in 0..3_000 {
        bench.publish_as(publisher, &format!("t/{n}"), "x", Q1, true, 1);
    }
    let reader = bench.join("r", &CLEAN);
    bench.credit(reader, Credit::Paused);
    bench.subscribe(reader, "#", Q1);
    bench.expect(reader, &["suback #5 granted QoS 1"]);
    assert_eq!(bench.broker.usage().queued, 0, "nothing is looked up for who cannot take it");
    bench.credit(reader, Credit::Window(20));
    let mut topics = std::collections::BTreeSet::new();
    loop {
        let heard = bench.hear(reader);
        if heard.is_empty() {
            break;
        }
        assert!(bench.broker.usage().queued <= 32);
        for text in heard {
            let mut words = text.split(' ');
            assert!(topics.insert(words.next().map(str::to_owned)), "{text} came twice");
            let id = text.split('#').nth(1).and_then(|rest| rest.split(' ').next());
            let id = id.and_then(|id| id.parse().ok()).expect("a packet identifier");
            bench.ack(reader, AckKind::PubAck, id);
        }
    }
    assert_eq!(topics.len(), 3_000);
    assert_eq!(bench.broker.stats().dropped(), 0);
}

#[test]
fn looking_up_retained_messages_never_takes_long_in_one_call() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    for n in 0..5_000 {
        bench.publish_as(publisher, &format!("t/{n}/x"), "x", Q0, true, 0);
    }
    let reader = bench.join("r", &CLEAN);
    let steps = |bench: &Bench| bench.broker.stats().replay_steps;
    let filter = broker_core::topic::TopicFilter::new("+/+/nothing").expect("a good filter");
    let requests = [broker_core::api::SubscribeRequest { filter, options: Default::default() }];
    let subscribe = broker_core::api::Subscribe {
        id: broker_core::api::PacketId(1),
        token: 0,
        identifier: 0,
        requests: &requests,
    };
    let now = bench.now();
    bench.broker.handle(now, reader, broker_core::api::Incoming::Subscribe(subscribe));
    let mut calls = 0;
    loop {
        let before = steps(&bench);
        let done = bench.broker.poll_output().is_none();
        assert!(steps(&bench) - before <= 512, "one call looked at too many topics");
        calls += 1;
        if done && bench.broker.next_timeout().is_none() {
            break;
        }
    }
    assert!(calls > 10, "{calls}");
}

#[test]
fn a_message_that_came_live_is_not_sent_again_as_retained() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    bench.publish_as(publisher, "a", "old", Q0, true, 0);
    bench.publish_as(publisher, "b", "old", Q0, true, 0);
    let reader = bench.join("r", &CLEAN);
    bench.credit(reader, Credit::Paused);
    bench.subscribe(reader, "+", Q0);
    bench.publish_as(publisher, "a", "new", Q0, true, 0);
    bench.hear(reader);
    bench.credit(reader, Credit::Window(20));
    let mut heard = bench.hear(reader);
    heard.sort();
    assert_eq!(heard, ["a new q0", "b old q0 retain"]);
}

#[test]
fn a_look_up_goes_on_after_a_resume() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    for n in 0..100 {
        bench.publish_as(publisher, &format!("t/{n}"), "x", Q1, true, 1);
    }
    let mut how = PERSISTENT;
    how.window = 1;
    let reader = bench.join("r", &how);
    bench.subscribe(reader, "#", Q1);
    bench.lose(reader);
    how.window = 20;
    let reader = bench.join("r", &how);
    for id in 1..=100 {
        bench.ack(reader, AckKind::PubAck, id);
    }
    assert_eq!(bench.broker.usage().queued, 0);
    assert_eq!(bench.broker.stats().acks_unexpected, 0);
}

/// [MQTT-4.6.0-6]: what is accepted after a subscription comes behind what was retained before it,
/// also when that takes long to find.
#[test]
fn a_new_message_waits_for_the_look_up_of_older_ones() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    for n in 0..2_000 {
        bench.publish_as(publisher, &format!("a/{n}/x"), "x", Q0, true, 0);
    }
    bench.publish_as(publisher, "z/z/hit", "old", Q0, true, 0);
    let reader = bench.join("r", &CLEAN);
    let now = bench.now();
    let filter = broker_core::topic::TopicFilter::new("+/+/hit").expect("a good filter");
    let requests = [broker_core::api::SubscribeRequest { filter, options: Default::default() }];
    let subscribe = broker_core::api::Subscribe {
        id: broker_core::api::PacketId(5),
        token: 0,
        identifier: 0,
        requests: &requests,
    };
    bench.broker.handle(now, reader, broker_core::api::Incoming::Subscribe(subscribe));
    bench.publish(publisher, "z/z/hit", "new", Q0);
    let expected = ["suback #5 success", "z/z/hit old q0 retain", "z/z/hit new q0"];
    bench.expect(reader, &expected);
}
