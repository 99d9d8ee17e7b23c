//! Sessions and their links.

use core::time::Duration;

use broker_core::api::{AckKind, Dialect, Disconnect, Incoming, LinkId, Output};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::reason::ReasonCode;

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, Q2, config};

/// [MQTT-3.1.2-4], [MQTT-3.1.2-6], [MQTT-3.2.2-1], [MQTT-3.2.2-2], [MQTT-3.2.2-3]
#[test]
fn session_present_says_whether_there_was_one_to_resume() {
    let mut bench = Bench::new();
    let link = bench.connect("c", &PERSISTENT);
    bench.expect(link, &["connack success"]);
    bench.disconnect(link);
    let link = bench.connect("c", &PERSISTENT);
    bench.expect(link, &["connack success present"]);
    bench.disconnect(link);
    let link = bench.connect("c", &CLEAN);
    bench.expect(link, &["connack success"]);
    bench.disconnect(link);
    let link = bench.connect("c", &PERSISTENT);
    bench.expect(link, &["connack success"]);
    assert_eq!(bench.ended, ["c", "c"]);
}

/// [MQTT-3.1.3-2]: by the whole of it, and by nothing else.
#[test]
fn a_session_is_found_by_its_client_identifier() {
    let ids = ["node1", "node10", "Node1", "node"];
    let mut bench = Bench::new();
    for id in ids {
        let link = bench.join(id, &PERSISTENT);
        bench.subscribe(link, id, Q1);
        bench.lose(link);
    }
    let publisher = bench.join("p", &CLEAN);
    for id in ids {
        bench.publish(publisher, id, "hi", Q1);
    }
    for id in ids {
        let link = bench.connect(id, &PERSISTENT);
        bench.expect(link, &["connack success present", &format!("{id} hi q1 #1")]);
    }
}

/// [MQTT-4.1.0-1]: subscriptions, what waits, what is under way in both directions.
#[test]
fn state_is_kept_as_long_as_the_session() {
    let mut bench = Bench::new();
    let client = bench.join("c", &PERSISTENT);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(client, "t", Q1);
    bench.publish(publisher, "t", "begun", Q1);
    bench.publish_as(client, "own", "hi", Q2, false, 3);
    bench.lose(client);
    bench.publish(publisher, "t", "waits", Q1);
    bench.pass(6 * 86_400_000);
    let watcher = bench.join("w", &CLEAN);
    bench.subscribe(watcher, "own", Q0);
    bench.hear(watcher);
    let client = bench.connect("c", &PERSISTENT);
    let heard = ["connack success present", "t begun q1 #1 dup", "t waits q1 #2"];
    bench.expect(client, &heard);
    bench.repeat(client, "own", "hi", Q2, 3);
    bench.expect(client, &["pubrec #3 success"]);
    bench.expect(watcher, &[]);
    bench.publish(publisher, "t", "new", Q1);
    bench.expect(client, &["t new q1 #3"]);
}

/// [MQTT-4.1.0-2]
#[test]
fn a_session_lasts_at_least_as_long_as_its_link() {
    for how in [CLEAN, How { expiry_s: 1, ..PERSISTENT }] {
        let mut bench = Bench::new();
        let client = bench.join("c", &how);
        let publisher = bench.join("p", &CLEAN);
        bench.subscribe(client, "t", Q1);
        bench.hear(client);
        bench.pass(30 * 86_400_000);
        bench.publish(publisher, "t", "hi", Q1);
        bench.expect(client, &["t hi q1 #1"]);
        assert!(bench.ended.is_empty());
    }
}

/// [MQTT-3.1.4-3]: what is refused discards nothing.
#[test]
fn a_clean_start_is_judged_before_it_discards_anything() {
    let mut bench = Bench::new();
    let link = bench.join("c", &PERSISTENT);
    bench.subscribe(link, "t", Q1);
    bench.disconnect(link);
    let refused = How { will: Some(("$SYS/x", "gone", Q1, false)), ..CLEAN };
    let link = bench.connect("c", &refused);
    bench.expect(link, &["connack not authorized", "closed: not authorized"]);
    assert_eq!((bench.broker.usage().sessions, bench.broker.usage().subscriptions), (1, 1));
    let link = bench.connect("c", &CLEAN);
    bench.expect(link, &["connack success"]);
    assert_eq!((bench.broker.usage().sessions, bench.broker.usage().subscriptions), (1, 0));
}

/// [MQTT-3.14.4-1]: the client is to close its end, and if it does not we do.
#[test]
fn who_disconnects_is_closed() {
    let mut bench = Bench::new();
    let link = bench.join("c", &CLEAN);
    let disconnect =
        Disconnect { reason: ReasonCode::Success, keep_will: false, session_expiry_s: None };
    bench.say(link, Incoming::Disconnect(disconnect));
    bench.expect(link, &["closed: success"]);
    bench.say(link, Incoming::Ping);
    bench.expect(link, &[]);
}

/// [MQTT-4.4.0-1], [MQTT-4.6.0-1], [MQTT-3.3.1-1]
#[test]
fn what_was_not_acknowledged_is_sent_again_on_resuming() {
    let mut bench = Bench::new();
    let subscriber = bench.join("s", &PERSISTENT);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q2);
    bench.hear(subscriber);
    for (payload, qos) in [("1", Q1), ("2", Q2), ("3", Q2), ("4", Q1)] {
        bench.publish_as(publisher, "t", payload, qos, false, payload.parse().expect("a number"));
    }
    bench.hear(subscriber);
    bench.ack(subscriber, AckKind::PubAck, 4);
    bench.ack(subscriber, AckKind::PubRec, 3);
    bench.lose(subscriber);
    let subscriber = bench.connect("s", &PERSISTENT);
    bench.expect(
        subscriber,
        &["connack success present", "t 1 q1 #1 dup", "t 2 q2 #2 dup", "pubrel #3 success"],
    );
}

#[test]
fn a_smaller_window_after_resuming_is_kept() {
    let mut bench = Bench::new();
    let subscriber = bench.join("s", &PERSISTENT);
    let publisher = bench.join("p", &CLEAN);
    bench.subscribe(subscriber, "t", Q1);
    for payload in ["1", "2", "3"] {
        bench.publish(publisher, "t", payload, Q1);
    }
    bench.lose(subscriber);
    let subscriber = bench.connect("s", &How { window: 1, ..PERSISTENT });
    bench.expect(subscriber, &["connack success present", "t 1 q1 #1 dup"]);
    bench.ack(subscriber, AckKind::PubAck, 1);
    bench.expect(subscriber, &["t 2 q1 #2 dup"]);
}

/// [MQTT-3.1.4-2]
#[test]
fn a_second_link_takes_the_session_over() {
    let mut bench = Bench::new();
    let first = bench.join("c", &PERSISTENT);
    bench.subscribe(first, "t", Q1);
    bench.hear(first);
    let second = bench.connect("c", &PERSISTENT);
    bench.expect(first, &["closed: session taken over"]);
    bench.expect(second, &["connack success present"]);
    bench.publish(first, "t", "from the dead", Q1);
    bench.expect(second, &[]);
    assert_eq!(bench.broker.stats().unknown_link, 1);
    bench.publish(second, "t", "hi", Q1);
    bench.expect(second, &["puback #9 success", "t hi q1 #1"]);
}

#[test]
fn an_sn_client_that_connects_again_keeps_what_was_to_end_with_its_link() {
    let mut bench = Bench::new();
    let sn = How { dialect: Dialect::MqttSn12, ..CLEAN };
    let first = bench.join("c", &sn);
    bench.subscribe(first, "t", Q1);
    let again = How { clean: false, expiry_s: u32::MAX, ..sn.clone() };
    let second = bench.connect("c", &again);
    bench.expect(second, &["connack success present"]);
    bench.publish(second, "t", "hi", Q1);
    bench.expect(second, &["puback #9 success", "t hi q1 #1"]);
    let third = bench.connect("c", &sn);
    bench.expect(third, &["connack success"]);
    bench.publish(third, "t", "hi", Q1);
    bench.expect(third, &["puback #9 no matching subscribers"]);
}

/// [MQTT-3.1.3-6]
#[test]
fn a_client_without_an_identifier_is_given_one_of_its_own() {
    let mut bench = Bench::new();
    let first = bench.connect("", &CLEAN);
    let second = bench.connect("", &CLEAN);
    let (first, second) = (bench.hear(first), bench.hear(second));
    assert!(first[0].starts_with("connack success auto-"), "{first:?}");
    assert_ne!(first, second);
}

/// [MQTT-3.1.2-24]
#[test]
fn a_silent_link_is_closed_and_one_that_is_heard_is_not() {
    let mut bench = Bench::new();
    let how = How { keep_alive: Some(Duration::from_secs(15)), ..CLEAN };
    let silent = bench.join("silent", &how);
    let lively = bench.join("lively", &how);
    for _ in 0..4 {
        bench.pass(5_000);
        bench.ack(lively, AckKind::PubAck, 1);
    }
    bench.expect(silent, &["closed: keep alive timeout"]);
    bench.expect(lively, &[]);
    bench.pass(15_001);
    bench.expect(lively, &["closed: keep alive timeout"]);
    assert_eq!(bench.broker.stats().keep_alive_timeouts, 2);
    assert_eq!(bench.broker.usage().sessions, 0);
}

#[test]
fn a_session_ends_when_its_time_is_up_and_not_if_the_client_returns() {
    let mut bench = Bench::new();
    let how = How { expiry_s: 60, ..PERSISTENT };
    let link = bench.join("c", &how);
    bench.disconnect(link);
    bench.pass(59_000);
    let link = bench.connect("c", &how);
    bench.expect(link, &["connack success present"]);
    bench.pass(120_000);
    bench.disconnect(link);
    bench.pass(61_000);
    assert_eq!(bench.ended, ["c"]);
    let link = bench.connect("c", &how);
    bench.expect(link, &["connack success"]);
    assert_eq!(bench.broker.stats().sessions_expired, 1);
}

#[test]
fn a_session_expires_no_later_than_the_limit_says() {
    let limits = Limits { session_expiry_max_s: 10, ..Limits::default() };
    let mut bench = Bench::with(BrokerConfig { limits, ..config() });
    let link = bench.join("c", &PERSISTENT);
    bench.disconnect(link);
    bench.pass(10_010);
    assert_eq!(bench.ended, ["c"]);
}

#[test]
fn many_sessions_that_end_at_once_are_dealt_with_in_slices() {
    let mut bench = Bench::new();
    for index in 0..2_000 {
        let link = bench.join(&format!("c{index}"), &How { expiry_s: 60, ..PERSISTENT });
        bench.disconnect(link);
    }
    bench.millis += 61_000;
    let now = bench.now();
    bench.broker.handle_timeout(now);
    let left = bench.broker.usage().sessions;
    assert!(left > 0, "one call dealt with all of them");
    assert!(bench.broker.next_timeout().is_some_and(|at| at <= now.mono));
    bench.pass(0);
    assert_eq!(bench.broker.usage().sessions, 0);
}

#[test]
fn answers_wait_for_the_changes_that_they_promise() {
    let mut bench = Bench::with(BrokerConfig { durability: Durability::Gated, ..config() });
    let link = bench.connect("c", &PERSISTENT);
    bench.expect(link, &[]);
    bench.broker.committed(bench.broker.lsn());
    bench.turn();
    bench.expect(link, &["connack success"]);
    bench.subscribe(link, "t", Q1);
    let subscribed = bench.broker.lsn();
    bench.publish(link, "t", "hi", Q1);
    // The message waits for the answer that it belongs to; what promises nothing does not wait.
    bench.expect(link, &[]);
    bench.say(link, Incoming::Ping);
    bench.expect(link, &["pong"]);
    bench.broker.committed(subscribed);
    bench.turn();
    bench.expect(link, &["suback #5 granted QoS 1", "t hi q1 #1"]);
    bench.broker.committed(bench.broker.lsn());
    bench.turn();
    bench.expect(link, &["puback #9 success"]);
    // The next message does not wait for what it causes.
    bench.publish(link, "t", "ho", Q0);
    bench.expect(link, &["t ho q0"]);
}

/// Whoever keeps something for a client lets it go with the session, so the link has to go first.
#[test]
fn a_link_is_closed_before_its_session_ends() {
    let check = |ends: &str, end: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::new();
        let how = How { keep_alive: Some(Duration::from_secs(1)), ..CLEAN };
        bench.join("c", &how);
        end(&mut bench);
        let mut order = Vec::new();
        while let Some(output) = bench.broker.poll_output() {
            match output {
                Output::Close { .. } => order.push("closed"),
                Output::SessionEnded { .. } => order.push("ended"),
                Output::Send { .. } | Output::SysTick => {}
            }
        }
        assert_eq!(order, ["closed", "ended"], "{ends}");
    };
    let link = LinkId(1);
    check("silent", &|bench| {
        bench.millis = 1_100;
        bench.broker.handle_timeout(bench.now());
    });
    check("leaving", &|bench| {
        let disconnect =
            Disconnect { reason: ReasonCode::Success, keep_will: false, session_expiry_s: None };
        bench.broker.handle(bench.now(), link, Incoming::Disconnect(disconnect));
    });
    check("taken over", &|bench| {
        bench.broker.handle(bench.now(), LinkId(2), CLEAN.request("c"));
    });
}
