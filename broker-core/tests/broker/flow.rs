//! Credit: slow readers, sleeping sensors, full queues.

use broker_core::api::{AckKind, Credit, Overflow, PacketId, QueueLimits};

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, Q2, QUEUE};

#[test]
fn a_link_without_credit_gets_nothing_until_it_has_credit_again() {
    let mut bench = Bench::new();
    let subscriber = bench.join("s", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q1);
    bench.hear(subscriber);
    bench.credit(subscriber, Credit::Paused);
    bench.publish(publisher, "t", "0", Q0);
    bench.publish(publisher, "t", "1", Q1);
    bench.expect(subscriber, &[]);
    bench.credit(subscriber, Credit::Window(20));
    bench.expect(subscriber, &["t 0 q0", "t 1 q1 #1"]);
}

#[test]
fn a_link_that_asked_for_it_hears_when_nothing_is_left_and_is_paused_again() {
    let mut bench = Bench::new();
    let sensor = bench.join("s", &CLEAN);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(sensor, "t", Q1);
    bench.hear(sensor);
    bench.credit(sensor, Credit::Paused);
    bench.credit(sensor, Credit::UntilDrained(1));
    bench.expect(sensor, &["drained"]);
    for payload in ["1", "2"] {
        bench.publish(publisher, "t", payload, Q1);
    }
    bench.expect(sensor, &[]);
    bench.credit(sensor, Credit::UntilDrained(1));
    bench.expect(sensor, &["t 1 q1 #1"]);
    bench.publish(publisher, "t", "3", Q0);
    bench.ack(sensor, AckKind::PubAck, 1);
    // QoS 0 needs no room in the window.
    bench.expect(sensor, &["t 2 q1 #2", "t 3 q0"]);
    bench.ack(sensor, AckKind::PubAck, 2);
    bench.expect(sensor, &["drained"]);
}

#[test]
fn a_message_in_flight_is_sent_again_or_given_up_on_demand() {
    let mut bench = Bench::new();
    let how = How { window: 1, ..CLEAN };
    let sensor = bench.join("s", &how);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(sensor, "t", Q2);
    bench.hear(sensor);
    bench.publish(publisher, "t", "1", Q2);
    bench.publish(publisher, "t", "2", Q1);
    bench.expect(sensor, &["t 1 q2 #1"]);
    assert!(bench.broker.resend(sensor, PacketId(1), true));
    bench.turn();
    bench.expect(sensor, &["t 1 q2 #1 dup"]);
    bench.broker.resend(sensor, PacketId(1), false);
    bench.turn();
    bench.expect(sensor, &["t 1 q2 #1"]);
    bench.ack(sensor, AckKind::PubRec, 1);
    bench.expect(sensor, &["pubrel #1 success"]);
    bench.broker.resend(sensor, PacketId(1), true);
    bench.turn();
    bench.expect(sensor, &["pubrel #1 success"]);
    bench.broker.abandon(sensor, PacketId(1));
    bench.turn();
    bench.expect(sensor, &["t 2 q1 #2"]);
    assert_eq!(bench.broker.stats().dropped_unacknowledged, 0, "it was received");
    bench.broker.abandon(sensor, PacketId(2));
    assert_eq!(bench.broker.stats().dropped_unacknowledged, 1);
    assert!(!bench.broker.resend(sensor, PacketId(1), true), "it is not in flight any more");
}

#[test]
fn a_full_queue_does_what_its_policy_says_and_every_loss_is_counted() {
    for (overflow, kept) in
        [(Overflow::RejectNew, &["1", "2"][..]), (Overflow::DropOldest, &["2", "3"])]
    {
        let mut bench = Bench::new();
        let queue = QueueLimits { messages_max: 2, overflow, ..QUEUE };
        let how = How { queue, ..PERSISTENT };
        let subscriber = bench.join("s", &how);
        let publisher = bench.join("p", &CLEAN);
        bench.subscribe(subscriber, "t", Q1);
        bench.disconnect(subscriber);
        for payload in ["1", "2", "3"] {
            bench.publish(publisher, "t", payload, Q1);
        }
        assert_eq!(bench.broker.stats().dropped_queue_full, 1);
        let subscriber = bench.connect("s", &how);
        let heard = bench.hear(subscriber);
        let payloads: Vec<_> =
            heard[1..].iter().filter_map(|text| text.split(' ').nth(1)).collect();
        assert_eq!(payloads, kept, "{overflow:?}");
    }
}

#[test]
fn the_policy_disconnect_ends_the_link_and_keeps_the_session() {
    let mut bench = Bench::new();
    let queue = QueueLimits { messages_max: 1, overflow: Overflow::Disconnect, ..QUEUE };
    let how = How { queue, ..PERSISTENT };
    let subscriber = bench.join("s", &how);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q1);
    bench.hear(subscriber);
    bench.credit(subscriber, Credit::Paused);
    bench.publish(publisher, "t", "1", Q1);
    bench.publish(publisher, "t", "2", Q1);
    bench.expect(subscriber, &["closed: quota exceeded"]);
    let subscriber = bench.connect("s", &how);
    bench.expect(subscriber, &["connack success present", "t 1 q1 #1"]);
}

#[test]
fn a_client_whose_own_queue_overflows_with_its_own_message_is_ended_cleanly() {
    let mut bench = Bench::new();
    let queue = QueueLimits { messages_max: 1, overflow: Overflow::Disconnect, ..QUEUE };
    let client = bench.join("c", &How { queue, ..CLEAN });
    bench.subscribe(client, "t", Q2);
    bench.hear(client);
    bench.credit(client, Credit::Paused);
    bench.publish_as(client, "t", "1", Q2, false, 1);
    bench.publish_as(client, "t", "2", Q2, false, 2);
    bench.expect(client, &["pubrec #1 success", "closed: quota exceeded"]);
    assert_eq!(bench.broker.usage().sessions, 0);
    assert_eq!(bench.broker.usage().messages, 0);
}

#[test]
fn a_wide_fan_out_can_be_cut_into_slices_anywhere() {
    let mut bench = Bench::new();
    let subscribers: Vec<_> =
        (0..500).map(|index| bench.join(&format!("s{index}"), &CLEAN)).collect();
    for subscriber in &subscribers {
        bench.subscribe(*subscriber, "t", Q1);
        bench.hear(*subscriber);
    }
    let publisher = bench.join("p", &CLEAN);
    let (now, topic) = (bench.now(), "t");
    for payload in ["1", "2", "3"] {
        bench.broker.handle(now, publisher, publish(topic, payload));
        // Somebody takes ten outputs at a time and says other things in between.
        for _ in 0..10 {
            let _ = bench.broker.poll_output();
        }
    }
    bench.turn();
    let mut total = 0;
    for subscriber in subscribers {
        let heard = bench.hear(subscriber);
        let expected: Vec<_> = ["t 1 q1 #1", "t 2 q1 #2", "t 3 q1 #3"].into();
        // The slices that were thrown away above are missing here and nowhere doubled.
        assert!(is_subsequence(&heard, &expected), "{heard:?}");
        total += heard.len();
    }
    // Three of the thirty were the answers to the publisher.
    assert_eq!(total, 1_500 - 27);
    assert!(bench.hear(publisher).is_empty());
}

fn publish<'a>(topic: &'a str, payload: &'a str) -> broker_core::api::Incoming<'a> {
    broker_core::api::Incoming::Publish(broker_core::api::Publish {
        topic: broker_core::topic::TopicName::new(topic).expect("a good name"),
        payload: broker_core::api::Payload::Borrowed(payload.as_bytes()),
        qos: Q1,
        retain: false,
        dup: false,
        id: PacketId(1),
        token: 0,
        properties: broker_core::property::Properties::EMPTY,
    })
}

fn is_subsequence(part: &[String], whole: &[&str]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|item| whole.any(|other| item == other))
}

#[test]
fn a_burst_longer_than_a_queue_asks_to_be_heard_in_pieces() {
    let mut bench = Bench::new();
    let queue = QueueLimits { messages_max: 100, ..QUEUE };
    let reader = bench.join("r", &How { queue, ..CLEAN });
    let paused = bench.join("p", &How { queue, ..CLEAN });
    for link in [reader, paused] {
        bench.subscribe(link, "t", Q0);
        bench.hear(link);
    }
    bench.credit(paused, Credit::Paused);
    let publisher = bench.join("publisher", &CLEAN);
    let now = bench.now();
    for n in 0..1_000 {
        bench.broker.handle(now, publisher, publish("t", "x"));
        if bench.broker.take_crowded() {
            assert_eq!(n % 75, 74, "crowded at {n}");
            bench.turn();
            assert!(!bench.broker.take_crowded());
        }
    }
    bench.turn();
    assert_eq!(bench.hear(reader).len(), 1_000);
    assert_eq!(bench.broker.stats().dropped_queue_full, 900, "those of who cannot be sent to");
}

/// Its window is full, and it acknowledges as fast as it can: who publishes might wait for it.
#[test]
fn who_acknowledges_fast_and_is_behind_is_named_until_it_has_caught_up() {
    let mut bench = Bench::new();
    let queue = QueueLimits { messages_max: 100, ..QUEUE };
    let how = How { queue, window: 10, ..CLEAN };
    let [fast, slow] = ["fast", "slow"].map(|id| bench.join(id, &how));
    let publisher = bench.join("publisher", &CLEAN);
    for link in [fast, slow] {
        bench.subscribe(link, "t", Q1);
        bench.hear(link);
    }
    // Who has only begun is given a second.
    for n in 0..85 {
        bench.publish(publisher, "t", "x", Q1);
        assert_eq!(bench.broker.behind().is_empty(), n < 84, "message {n}");
    }
    assert_eq!(bench.broker.behind(), [fast, slow]);
    let mut id = 0;
    let mut acknowledge = |bench: &mut Bench, count: u16| {
        for _ in 0..count {
            id += 1;
            bench.ack(fast, AckKind::PubAck, id);
        }
    };
    for _ in 0..50 {
        bench.pass(20);
        acknowledge(&mut bench, 2);
        for _ in 0..2 {
            bench.publish(publisher, "t", "x", Q1);
        }
    }
    bench.broker.forget_behind();
    bench.pass(50);
    for count in [60, 65] {
        acknowledge(&mut bench, 60);
        for _ in 0..count {
            bench.publish(publisher, "t", "x", Q1);
        }
    }
    assert_eq!(
        bench.broker.behind(),
        [fast],
        "the other one has acknowledged nothing for a second"
    );
    let is_behind = |bench: &Bench, link| bench.broker.is_behind(bench.now(), link);
    assert!(is_behind(&bench, fast) && !is_behind(&bench, slow));
    acknowledge(&mut bench, 29);
    assert!(is_behind(&bench, fast), "more than half of its queue is full");
    acknowledge(&mut bench, 1);
    assert!(!is_behind(&bench, fast));
    assert_eq!(bench.broker.stats().dropped_queue_full, 200, "of the slow one");
}

/// What a sleeper misses of QoS 0 is bounded on its own; who is awake takes as much as fits.
#[test]
fn only_a_paused_link_has_a_bound_of_its_own_for_qos_0() {
    let queue = QueueLimits { messages_max: 10, paused_qos0_messages_max: 2, ..QUEUE };
    for (credit, expected) in [
        (Credit::Paused, &["t 0 q0", "t 1 q0"][..]),
        (Credit::Window(20), &["t 0 q0", "t 1 q0", "t 2 q0", "t 3 q0", "t 4 q0"]),
    ] {
        let mut bench = Bench::new();
        let reader = bench.join("r", &How { queue, ..CLEAN });
        let publisher = bench.join("p", &CLEAN);
        bench.subscribe(reader, "t", Q0);
        bench.hear(reader);
        bench.credit(reader, credit);
        let now = bench.now();
        for payload in ["0", "1", "2", "3", "4"] {
            bench.broker.handle(now, publisher, publish("t", payload));
        }
        bench.credit(reader, Credit::Window(20));
        bench.expect(reader, expected);
    }
}
