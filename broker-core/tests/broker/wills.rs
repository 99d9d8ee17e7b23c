//! Wills.

use core::time::Duration;

use broker_core::api::{Dialect, Disconnect, Incoming, QoS, WillChange};
use broker_core::reason::ReasonCode;
use broker_core::topic::TopicName;

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, config};

const WILL: How = How { will: Some(("w", "gone", Q1, false)), ..CLEAN };

fn watched() -> (Bench, broker_core::api::LinkId) {
    let mut bench = Bench::with(config());
    let watcher = bench.join("watcher", &CLEAN);
    bench.subscribe(watcher, "w", Q0);
    bench.hear(watcher);
    (bench, watcher)
}

/// [MQTT-3.1.2-8], [MQTT-3.1.2-10], [MQTT-3.14.4-3]
#[test]
fn a_will_is_published_when_the_link_breaks_and_not_after_disconnect() {
    let (mut bench, watcher) = watched();
    let link = bench.join("c", &WILL);
    bench.disconnect(link);
    bench.expect(watcher, &[]);
    let link = bench.join("c", &WILL);
    bench.lose(link);
    bench.expect(watcher, &["w gone q0"]);
    bench.lose(link);
    bench.expect(watcher, &[]);
}

/// [MQTT-3.1.2-16], [MQTT-3.1.2-17]
#[test]
fn a_will_is_retained_as_it_says() {
    for retain in [false, true] {
        let (mut bench, watcher) = watched();
        let link = bench.join("c", &How { will: Some(("w", "gone", Q1, retain)), ..CLEAN });
        bench.lose(link);
        bench.hear(watcher);
        assert_eq!(bench.broker.usage().retained, usize::from(retain));
    }
}

/// [MQTT-3.1.2-24], [MQTT-3.1.4-2]
#[test]
fn silence_and_take_over_publish_the_will() {
    let (mut bench, watcher) = watched();
    let how = How { keep_alive: Some(Duration::from_secs(3)), ..WILL };
    let link = bench.join("c", &how);
    bench.pass(3_100);
    bench.expect(link, &["closed: keep alive timeout"]);
    bench.expect(watcher, &["w gone q0"]);
    bench.join("c", &WILL);
    bench.connect("c", &CLEAN);
    bench.expect(watcher, &["w gone q0"]);
}

#[test]
fn a_client_that_the_operator_ends_leaves_its_will() {
    let (mut bench, watcher) = watched();
    let link = bench.join("c", &How { will: WILL.will, ..PERSISTENT });
    let now = bench.now();
    let reason = ReasonCode::AdministrativeAction;
    assert!(bench.broker.end_client(now, "c", reason));
    bench.pass(1);
    bench.expect(link, &["closed: administrative action"]);
    bench.expect(watcher, &["w gone q0"]);
    assert!(!bench.broker.end_client(now, "c", reason), "it has no link any more");
    assert!(!bench.broker.end_client(now, "nobody", reason));
    assert_eq!(bench.broker.usage().sessions, 2, "its session is still there");
}

#[test]
fn an_sn_client_that_connects_again_does_not_publish_its_will() {
    let (mut bench, watcher) = watched();
    let sn = How { dialect: Dialect::MqttSn12, will_on_takeover: false, ..WILL };
    bench.join("c", &sn);
    let link = bench.join("c", &sn);
    bench.expect(watcher, &[]);
    bench.lose(link);
    bench.expect(watcher, &["w gone q0"]);
}

/// SN-051, SN-088
#[test]
fn an_sn_will_is_kept_over_disconnect_and_armed_by_the_next_connect() {
    let (mut bench, watcher) = watched();
    let sn = How { dialect: Dialect::MqttSn12, will: WILL.will, ..PERSISTENT };
    let link = bench.join("c", &sn);
    let keep = Disconnect { reason: ReasonCode::Success, keep_will: true, session_expiry_s: None };
    bench.say(link, Incoming::Disconnect(keep));
    bench.expect(watcher, &[]);
    let again = How { will: None, keep_will: true, ..sn };
    let link = bench.join("c", &again);
    bench.lose(link);
    bench.expect(watcher, &["w gone q0"]);
    // Published once; the next CONNECT arms it once more.
    let link = bench.join("c", &again);
    bench.lose(link);
    bench.expect(watcher, &["w gone q0"]);
}

/// SN-054
#[test]
fn the_halves_of_a_will_are_changed_one_by_one() {
    let (mut bench, watcher) = watched();
    let sn = How { dialect: Dialect::MqttSn12, ..CLEAN };
    let link = bench.join("c", &sn);
    bench.say(link, Incoming::ChangeWill(WillChange::Payload(b"bye")));
    bench.expect(link, &["willack Payload success"]);
    let topic = TopicName::new("w").expect("a good name");
    let change = WillChange::Topic { topic, qos: QoS::AtLeastOnce, retain: false };
    bench.say(link, Incoming::ChangeWill(change));
    bench.expect(link, &["willack Topic success"]);
    bench.lose(link);
    bench.expect(watcher, &["w bye q0"]);
    let link = bench.join("c", &WILL);
    bench.say(link, Incoming::ChangeWill(WillChange::Delete));
    bench.expect(link, &["willack Topic success"]);
    bench.lose(link);
    bench.expect(watcher, &[]);
}

/// [MQTT-3.1.2-8], [MQTT-3.1.3-9]
#[test]
fn a_delayed_will_waits_and_is_not_sent_if_the_client_returns() {
    let (mut bench, watcher) = watched();
    let how = How { will: WILL.will, will_delay_s: 10, ..PERSISTENT };
    let link = bench.join("c", &how);
    bench.lose(link);
    bench.pass(9_900);
    bench.expect(watcher, &[]);
    let link = bench.join("c", &how);
    bench.pass(20_000);
    bench.expect(watcher, &[]);
    bench.lose(link);
    bench.pass(10_010);
    bench.expect(watcher, &["w gone q0"]);
}

#[test]
fn a_delayed_will_is_sent_when_the_session_ends_first() {
    let (mut bench, watcher) = watched();
    let how = How { will: WILL.will, will_delay_s: 60, expiry_s: 5, ..PERSISTENT };
    let link = bench.join("c", &how);
    bench.lose(link);
    bench.pass(5_010);
    bench.expect(watcher, &["w gone q0"]);
    let link = bench.join("c", &how);
    bench.lose(link);
    bench.connect("c", &CLEAN);
    bench.expect(watcher, &["w gone q0"]);
}

#[test]
fn a_will_to_the_servers_own_topics_is_refused() {
    let mut bench = Bench::new();
    let link = bench.connect("c", &How { will: Some(("$SYS/x", "gone", Q1, false)), ..CLEAN });
    bench.expect(link, &["connack not authorized", "closed: not authorized"]);
}

#[test]
fn ten_thousand_wills_at_once_all_reach_a_reader_that_keeps_up() {
    let mut bench = Bench::new();
    let watcher = bench.join("watcher", &CLEAN);
    bench.subscribe(watcher, "w", Q1);
    bench.hear(watcher);
    let links: Vec<_> = (0..10_000).map(|n| bench.join(&format!("c{n}"), &WILL)).collect();
    let now = bench.now();
    for link in links {
        bench.broker.lost(now, link);
    }
    let mut received = 0;
    while received < 10_000 {
        bench.pass(10);
        let heard = bench.hear(watcher);
        assert!(!heard.is_empty() || bench.millis < 60_000, "{received} wills came");
        for text in heard {
            let id = text.rsplit('#').next().and_then(|id| id.parse().ok());
            bench.ack(watcher, broker_core::api::AckKind::PubAck, id.expect("an identifier"));
            received += 1;
        }
    }
    assert_eq!(bench.broker.stats().dropped(), 0);
}

#[test]
fn a_reader_that_does_not_keep_up_holds_wills_back_for_a_while_and_not_for_ever() {
    let mut bench = Bench::new();
    let watcher = bench.join("watcher", &CLEAN);
    bench.subscribe(watcher, "w", Q1);
    for n in 0..2_000 {
        let link = bench.join(&format!("c{n}"), &WILL);
        bench.lose(link);
    }
    bench.pass(1_000);
    assert_eq!(bench.broker.stats().dropped(), 0);
    bench.pass(40_000);
    assert_eq!(bench.broker.stats().wills_published, 2_000);
    assert_eq!(bench.broker.stats().dropped_queue_full, 2_000 - 1_000 - 20);
}

/// [MQTT-3.1.3-9]
#[test]
fn a_delayed_will_whose_session_ended_is_published_once() {
    let (mut bench, watcher) = watched();
    let how = How { will: WILL.will, will_delay_s: 5, ..PERSISTENT };
    let link = bench.join("c", &how);
    bench.lose(link);
    bench.expect(watcher, &[]);
    bench.join("c", &CLEAN);
    bench.expect(watcher, &["w gone q0"]);
    bench.pass(10_000);
    bench.expect(watcher, &[]);
}
