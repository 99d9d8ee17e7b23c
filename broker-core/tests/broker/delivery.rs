//! From publisher to subscriber, at every QoS.

use broker_core::api::{AckKind, Credit, Incoming, SubscriptionOptions};

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, Q2};

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

/// [MQTT-4.6.0-2], [MQTT-4.6.0-6]: also with PUBACKs in another order.
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

/// [MQTT-3.3.5-2], [MQTT-4.7.2-1]: an ordinary acknowledgement, which before 5.0 has no room for
/// the reason, and the link goes on.
#[test]
fn the_servers_own_topics_are_not_for_clients() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    bench.subscribe(client, "$x/#", Q1);
    bench.hear(client);
    bench.publish(client, "$x/y", "hi", Q0);
    bench.expect(client, &[]);
    bench.publish(client, "$x/y", "hi", Q1);
    bench.expect(client, &["puback #9 not authorized"]);
    bench.publish(client, "$x/y", "hi", Q2);
    bench.expect(client, &["pubrec #9 not authorized"]);
    assert_eq!(bench.broker.stats().publish_refused, 3);
    bench.say(client, Incoming::Ping);
    bench.expect(client, &["pong"]);
}

/// [MQTT-3.1.2-5], [MQTT-4.5.0-1]
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

/// [MQTT-2.3.1-2], [MQTT-3.3.1-3], [MQTT-4.3.2-2]: whatever DUP says, which stays with the one who
/// said it.
#[test]
fn an_identifier_of_qos_1_that_was_used_before_means_a_new_message() {
    let mut bench = Bench::new();
    let subscriber = bench.join("s", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q1);
    bench.hear(subscriber);
    bench.publish_as(publisher, "t", "first", Q1, false, 7);
    bench.repeat(publisher, "t", "first", Q1, 7);
    bench.publish_as(publisher, "t", "second", Q1, false, 7);
    bench.expect(publisher, &["puback #7 success"; 3]);
    bench.expect(subscriber, &["t first q1 #1", "t first q1 #2", "t second q1 #3"]);
}

/// [MQTT-4.6.0-3], [MQTT-4.6.0-4]
#[test]
fn steps_of_qos_2_may_come_in_any_order() {
    let mut bench = Bench::new();
    let subscriber = bench.join("s", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q2);
    bench.hear(subscriber);
    for id in 1..=3 {
        bench.publish_as(publisher, "t", "hi", Q2, false, id);
    }
    bench.expect(publisher, &["pubrec #1 success", "pubrec #2 success", "pubrec #3 success"]);
    bench.expect(subscriber, &["t hi q2 #1", "t hi q2 #2", "t hi q2 #3"]);
    for id in [3, 1, 2] {
        bench.ack(publisher, AckKind::PubRel, id);
        bench.expect(publisher, &[&format!("pubcomp #{id} success")]);
        bench.ack(subscriber, AckKind::PubRec, id);
        bench.expect(subscriber, &[&format!("pubrel #{id} success")]);
    }
    for id in [2, 3, 1] {
        bench.ack(subscriber, AckKind::PubComp, id);
    }
    bench.expect(subscriber, &[]);
    let usage = bench.broker.usage();
    assert_eq!((usage.messages, bench.broker.stats().acks_unexpected), (0, 0));
}

/// [MQTT-4.6.0-5]: at every QoS, through a window, a pause, and wildcards.
#[test]
fn messages_of_a_topic_come_in_their_order() {
    for qos in [Q0, Q1, Q2] {
        let mut bench = Bench::new();
        let subscriber = bench.join("s", &How { window: 1, ..CLEAN });
        let publishers = [bench.join("p", &CLEAN), bench.join("q", &CLEAN)];
        bench.subscribe(subscriber, "+/t", qos);
        bench.hear(subscriber);
        bench.credit(subscriber, Credit::Paused);
        for number in 0..20_u16 {
            for (topic, publisher) in ["a/t", "b/t"].into_iter().zip(publishers) {
                bench.publish_as(publisher, topic, &number.to_string(), qos, false, number + 1);
            }
        }
        bench.credit(subscriber, Credit::Window(1));
        let mut came = Vec::new();
        loop {
            let heard = bench.hear(subscriber);
            if heard.is_empty() {
                break;
            }
            for text in heard {
                came.push(text.split(" q").next().expect("there is a first").to_owned());
                if let Some((_, id)) = text.split_once('#') {
                    let id = id.parse().expect("a number");
                    let kind = if qos == Q1 { AckKind::PubAck } else { AckKind::PubRec };
                    bench.ack(subscriber, kind, id);
                    if qos == Q2 {
                        assert_eq!(bench.hear(subscriber), [format!("pubrel #{id} success")]);
                        bench.ack(subscriber, AckKind::PubComp, id);
                    }
                }
            }
        }
        for topic in ["a/t", "b/t"] {
            let of_topic: Vec<_> = came.iter().filter(|text| text.starts_with(topic)).collect();
            let expected: Vec<_> = (0..20).map(|number| format!("{topic} {number}")).collect();
            assert_eq!(of_topic, expected.iter().collect::<Vec<_>>(), "{qos:?}");
        }
    }
}

/// [MQTT-3.3.2-3], [MQTT-3.8.3-2], [MQTT-4.7.3-4]: filters with wildcards are served; names are
/// compared as they are written, and told as they were published.
#[test]
fn a_message_goes_to_those_whose_filter_its_topic_matches() {
    for (filter, topic, matches) in [
        ("a/b", "a/b", true),
        ("a/b", "a/b/", false),
        ("a/b", "/a/b", false),
        ("a/b", "A/b", false),
        ("a/+", "a/b", true),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("+/b", "/b", true),
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("#", "a//b", true),
        ("+/+", "a//b", false),
        ("\u{e9}", "\u{e9}", true),
        ("\u{e9}", "e\u{301}", false),
        ("a b", "a  b", false),
        ("\u{212b}", "\u{c5}", false),
    ] {
        let mut bench = Bench::new();
        let subscriber = bench.join("s", &CLEAN);
        let publisher = bench.join("p", &CLEAN);
        bench.subscribe(subscriber, filter, Q0);
        bench.expect(subscriber, &["suback #5 success"]);
        bench.publish(publisher, topic, "hi", Q0);
        let heard = bench.hear(subscriber);
        let expected = if matches { vec![format!("{topic} hi q0")] } else { Vec::new() };
        assert_eq!(heard, expected, "{filter} and {topic}");
    }
}

/// [MQTT-3.10.4-1]: a filter is given up in the characters in which it was asked for.
#[test]
fn filters_are_given_up_one_by_one() {
    let mut bench = Bench::new();
    let client = bench.join("c", &CLEAN);
    for filter in ["a/+", "a/b", "a/#"] {
        bench.subscribe(client, filter, Q0);
    }
    bench.hear(client);
    for other in ["a/c", "A/b", "a/b/", "+/b", "#", "a", "+/+"] {
        bench.unsubscribe(client, other);
        bench.expect(client, &["unsuback #6 no subscription existed"]);
    }
    for (filter, left) in [("a/b", 2), ("a/#", 1), ("a/+", 0)] {
        bench.unsubscribe(client, filter);
        bench.expect(client, &["unsuback #6 success"]);
        assert_eq!(bench.broker.usage().subscriptions, left);
        bench.publish(client, "a/b", "hi", Q0);
        assert_eq!(bench.hear(client).len(), usize::from(left > 0));
    }
}
