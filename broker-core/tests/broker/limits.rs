//! Every bound, filled, and one more.

use broker_core::api::{
    AckKind, Dialect, Incoming, PacketId, QueueLimits, Subscribe, SubscribeRequest, Unsubscribe,
    WillChange,
};
use broker_core::limits::{BrokerConfig, Limits};
use broker_core::topic::TopicFilter;

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, Q2, QUEUE, config};

fn bench(limits: Limits) -> Bench {
    Bench::with(BrokerConfig { limits, ..config() })
}

#[test]
fn one_session_too_many_is_refused_and_a_known_one_is_not() {
    let mut bench = bench(Limits { sessions_max: 2, ..Limits::default() });
    bench.join("a", &PERSISTENT);
    bench.join("b", &PERSISTENT);
    let third = bench.connect("c", &CLEAN);
    bench.expect(third, &["connack quota exceeded", "closed: quota exceeded"]);
    let known = bench.connect("a", &PERSISTENT);
    bench.expect(known, &["connack success present"]);
}

/// [MQTT-3.8.4-1]: every SUBSCRIBE is answered, refused or not.
#[test]
fn one_filter_too_many_is_refused_and_a_known_one_is_not() {
    let mut bench = bench(Limits { filters_per_session_max: 2, ..Limits::default() });
    let client = bench.join("c", &CLEAN);
    for (filter, answer) in [
        ("a", "suback #5 success"),
        ("b", "suback #5 success"),
        ("c", "suback #5 quota exceeded"),
        ("a", "suback #5 success"),
    ] {
        bench.subscribe(client, filter, Q0);
        bench.expect(client, &[answer]);
    }
    bench.unsubscribe(client, "a");
    bench.hear(client);
    bench.subscribe(client, "c", Q0);
    bench.expect(client, &["suback #5 success"]);
}

/// One packet may name the same few filters hundreds of thousands of times.
#[test]
fn what_one_packet_names_beyond_the_limit_is_not_looked_at() {
    let mut bench = bench(Limits { filters_per_session_max: 3, ..Limits::default() });
    let client = bench.join("c", &CLEAN);
    let before = bench.broker.work();
    let filter = |text| TopicFilter::new(text).expect("a good filter");
    let request = |text| SubscribeRequest { filter: filter(text), options: Default::default() };
    let requests = ["a", "b", "a", "a", "b"].map(request);
    let (id, token) = (PacketId(5), 0);
    let subscribe = Subscribe { id, token, identifier: 0, requests: &requests };
    bench.say(client, Incoming::Subscribe(subscribe));
    let heard = "suback #5 success, success, success, quota exceeded, quota exceeded";
    bench.expect(client, &[heard]);
    let filters = ["a", "a", "b", "never"].map(filter);
    bench.say(client, Incoming::Unsubscribe(Unsubscribe { id, token, filters: &filters }));
    let heard = "unsuback #5 success, no subscription existed, success, no subscription existed";
    bench.expect(client, &[heard]);
    assert_eq!(bench.broker.usage().subscriptions, 0);
    assert_eq!(bench.broker.work() - before, 9, "filters are work as deliveries are");
}

#[test]
fn topics_are_deep_up_to_the_limit() {
    let mut bench = bench(Limits { topic_levels_max: 3, ..Limits::default() });
    let client = bench.join("c", &CLEAN);
    bench.subscribe(client, "a/b/c", Q0);
    bench.subscribe(client, "a/b/c/d", Q0);
    bench.expect(client, &["suback #5 success", "suback #5 topic filter invalid"]);
    bench.publish(client, "a/b/c", "hi", Q1);
    bench.publish(client, "a/b/c/d", "hi", Q1);
    bench.expect(client, &["puback #9 success", "a/b/c hi q0", "puback #9 topic name invalid"]);
}

#[test]
fn a_client_identifier_is_as_long_as_the_limit_and_no_longer() {
    let mut bench = bench(Limits { client_id_bytes_max: 4, ..Limits::default() });
    bench.join("abcd", &CLEAN);
    let link = bench.connect("abcde", &CLEAN);
    let reason = "client identifier not valid";
    bench.expect(link, &[&format!("connack {reason}"), &format!("closed: {reason}")]);
}

#[test]
fn one_retained_topic_too_many_is_delivered_and_not_kept() {
    let mut bench = bench(Limits { retained_messages_max: 1, ..Limits::default() });
    let client = bench.join("c", &CLEAN);
    bench.subscribe(client, "#", Q0);
    bench.hear(client);
    bench.publish_as(client, "a", "1", Q0, true, 0);
    bench.publish_as(client, "b", "2", Q0, true, 0);
    bench.publish_as(client, "a", "3", Q0, true, 0);
    bench.expect(client, &["a 1 q0", "b 2 q0", "a 3 q0"]);
    assert_eq!(bench.broker.stats().retain_refused, 1);
    bench.subscribe(client, "#", Q0);
    bench.expect(client, &["suback #5 success", "a 3 q0 retain"]);
}

#[test]
fn retained_octets_are_bounded_too() {
    let mut bench = bench(Limits { retained_bytes_max: 10, ..Limits::default() });
    let client = bench.join("c", &CLEAN);
    bench.publish_as(client, "a", "123456789", Q0, true, 0);
    bench.publish_as(client, "b", "", Q0, true, 0);
    bench.publish_as(client, "a", "1234567890", Q0, true, 0);
    assert_eq!(bench.broker.usage().retained_bytes, 10);
    assert_eq!(bench.broker.stats().retain_refused, 1);
}

#[test]
fn too_many_unreleased_messages_of_qos_2_end_the_link() {
    let mut bench = bench(Limits { received_ids_max: 2, ..Limits::default() });
    let client = bench.join("c", &CLEAN);
    for id in 1..=3 {
        bench.publish_as(client, "t", "hi", Q2, false, id);
    }
    let heard = bench.hear(client);
    assert_eq!(heard.last().map(String::as_str), Some("closed: receive maximum exceeded"));
    assert_eq!(heard.len(), 3);
}

#[test]
fn the_message_of_qos_2_that_ends_the_link_is_not_delivered() {
    let mut bench = bench(Limits { received_ids_max: 2, ..Limits::default() });
    let reader = bench.join("reader", &CLEAN);
    bench.subscribe(reader, "t", Q0);
    bench.hear(reader);
    for _ in 0..2 {
        let client = bench.join("c", &PERSISTENT);
        for id in 1..=3 {
            bench.publish_as(client, "t", "hi", Q2, false, id);
        }
    }
    assert_eq!(bench.hear(reader).len(), 2, "each message that was taken, once");
    assert_eq!(bench.broker.stats().high.received_ids, 2);
}

/// [MQTT-4.8.0-2], for those who cannot be told of it.
#[test]
fn without_memory_what_would_have_to_wait_is_refused_and_the_rest_goes_on() {
    let mut bench = Bench::new();
    let absent = bench.join("absent", &PERSISTENT);
    bench.subscribe(absent, "wait", Q1);
    bench.disconnect(absent);
    let reader = bench.join("reader", &CLEAN);
    bench.subscribe(reader, "live", Q1);
    let sensor = bench.join("sensor", &How { dialect: Dialect::MqttSn12, ..CLEAN });
    let service = bench.join("service", &CLEAN);
    bench.hear(reader);

    bench.broker.set_external_memory(u64::MAX / 2);
    bench.publish(sensor, "wait", "1", Q1);
    bench.expect(sensor, &["puback #9 quota exceeded"]);
    bench.publish(sensor, "wait", "1", Q0);
    bench.expect(sensor, &["puback #0 quota exceeded"]);
    bench.publish(sensor, "live", "2", Q1);
    bench.expect(sensor, &["puback #9 success"]);
    bench.expect(reader, &["live 2 q1 #1"]);
    // A client that cannot be told is not acknowledged but closed, so that it keeps its message.
    bench.publish(service, "wait", "3", Q1);
    bench.expect(service, &["closed: quota exceeded"]);
    let newcomer = bench.connect("new", &CLEAN);
    bench.expect(newcomer, &["connack quota exceeded", "closed: quota exceeded"]);
    // Wills take memory, too.
    let will = Some(("w", "gone", Q0, false));
    let absent = bench.connect("absent", &How { will, ..PERSISTENT });
    bench.expect(absent, &["connack quota exceeded", "closed: quota exceeded"]);
    bench.say(sensor, Incoming::ChangeWill(WillChange::Payload(b"gone")));
    bench.expect(sensor, &["willack Payload quota exceeded"]);
    bench.say(sensor, Incoming::ChangeWill(WillChange::Delete));
    bench.expect(sensor, &["willack Topic success"]);

    bench.broker.set_external_memory(0);
    bench.publish(sensor, "wait", "4", Q1);
    bench.expect(sensor, &["puback #9 success"]);
    let absent = bench.connect("absent", &PERSISTENT);
    bench.expect(absent, &["connack success present", "wait 4 q1 #1"]);
}

#[test]
fn everything_is_given_back_when_all_clients_have_gone() {
    let mut bench = Bench::new();
    for round in 0..3 {
        let links: Vec<_> = (0..50).map(|n| bench.join(&format!("c{n}"), &PERSISTENT)).collect();
        for (n, link) in links.iter().enumerate() {
            bench.subscribe(*link, "t/#", Q2);
            bench.publish_as(*link, &format!("t/{n}"), "hello", Q2, true, 1);
        }
        for link in links {
            bench.lose(link);
        }
        for n in 0..50 {
            let link = bench.join(&format!("c{n}"), &CLEAN);
            bench.publish_as(link, &format!("t/{n}"), "", Q0, true, 0);
            bench.disconnect(link);
        }
        let usage = bench.broker.usage();
        assert_eq!(
            (usage.sessions, usage.subscriptions, usage.messages, usage.message_bytes),
            (0, 0, 0, 0),
            "round {round}"
        );
        assert_eq!((usage.retained, usage.retained_bytes, usage.queued), (0, 0, 0));
    }
}

/// A will counts with all its octets as long as it is kept.
#[test]
fn a_will_counts_towards_the_memory_in_use() {
    const TOPIC: &str = "w/0123456789012345678901234567890123456789012345678901234567890123456789";
    const PAYLOAD: &str = "0123456789012345678901234567890123456789012345678901234567890123456789";
    let mut bench = Bench::new();
    let how = How { will: Some((TOPIC, PAYLOAD, Q1, false)), ..PERSISTENT };
    let without = bench.join("c", &PERSISTENT);
    bench.disconnect(without);
    let before = bench.broker.usage().memory_bytes;
    let with = bench.join("c", &how);
    let took = bench.broker.usage().memory_bytes - before;
    assert!((140..1_000).contains(&took), "{took} octets");
    bench.disconnect(with);
    assert_eq!(bench.broker.usage().memory_bytes, before);
}

#[test]
fn a_queue_is_as_long_as_the_latest_connect_allows() {
    let of = |messages_max| How { queue: QueueLimits { messages_max, ..QUEUE }, ..PERSISTENT };
    let mut bench = Bench::new();
    let reader = bench.join("r", &of(1));
    bench.subscribe(reader, "t", Q1);
    bench.disconnect(reader);
    let publisher = bench.join("p", &CLEAN);
    for (messages_max, expect) in [(3, 1), (2, 3), (5, 2)] {
        for id in 1..=9 {
            bench.publish_as(publisher, "t", "x", Q1, false, id);
        }
        let reader = bench.connect("r", &of(messages_max));
        let heard = bench.hear(reader);
        let first_times = heard.iter().filter(|text| text.starts_with("t x")).count();
        assert_eq!(first_times, expect, "{heard:?}");
        for id in 1..=9 {
            bench.ack(reader, AckKind::PubAck, id);
        }
        bench.disconnect(reader);
    }
}

#[test]
fn the_fullest_queue_and_window_are_told() {
    let mut bench = Bench::new();
    let reader = bench.join("r", &How { window: 2, ..CLEAN });
    bench.subscribe(reader, "t", Q1);
    let publisher = bench.join("p", &CLEAN);
    for id in 1..=7 {
        bench.publish_as(publisher, "t", "four", Q1, false, id);
    }
    for id in 1..=7 {
        bench.ack(reader, AckKind::PubAck, id);
    }
    let high = bench.broker.stats().high;
    assert_eq!((high.queue_messages, high.queue_bytes, high.inflight), (5, 25, 2));
}

/// They wait beside the bound, as nobody has to be told that they did not fit.
#[test]
fn retained_messages_that_wait_do_not_count_to_the_fullest_queue() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    for (id, topic) in (1..).zip(["a", "b", "c"]) {
        bench.publish_as(publisher, topic, "kept", Q1, true, id);
    }
    let reader = bench.join("r", &How { window: 1, ..CLEAN });
    bench.subscribe(reader, "#", Q1);
    bench.publish_as(publisher, "d", "live", Q1, false, 9);
    assert_eq!(bench.broker.usage().queued, 3);
    assert_eq!(bench.broker.stats().high.queue_messages, 1);
}
