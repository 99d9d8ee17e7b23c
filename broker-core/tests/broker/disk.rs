//! A disk that takes nothing for a while, and answers that do not wait for it.

use broker_core::api::{AckKind, Dialect, Durability, LinkId};
use broker_core::limits::{BrokerConfig, Limits};

use crate::bench::{Bench, CLEAN, How, PERSISTENT, Q0, Q1, Q2};
use crate::durable::{DELIVERIES, Kept, gated};

const MQTT5: How = How { dialect: Dialect::Mqtt5, ..CLEAN };
const SN: How = How { dialect: Dialect::MqttSn12, ..CLEAN };

/// A broker whose disk takes nothing, with a change that it does not take.
fn refusing() -> Kept {
    let mut kept = Kept::new();
    kept.absent("reader", "t/#", Q2);
    let link = kept.bench.join("filler", &CLEAN);
    kept.bench.publish_as(link, "t", "too much", Q0, true, 0);
    kept.bench.broker.set_refusing(true);
    kept
}

#[track_caller]
fn check(kept: &mut Kept, link: LinkId, answers: &[&str], ask: impl FnOnce(&mut Bench)) {
    ask(&mut kept.bench);
    kept.bench.expect(link, answers);
}

#[test]
fn what_cannot_be_kept_is_refused_where_the_client_can_be_told() {
    let mut kept = refusing();
    for (how, answers) in [
        (MQTT5, &["puback #9 quota exceeded", "pubrec #8 quota exceeded"][..]),
        (SN, &["puback #9 quota exceeded", "pubrec #8 quota exceeded"]),
        (CLEAN, &[]),
    ] {
        let link = kept.bench.join("p", &how);
        check(&mut kept, link, answers, |bench| {
            bench.publish(link, "t", "x", Q0);
            bench.publish(link, "t", "x", Q1);
            bench.publish_as(link, "t", "x", Q2, false, 8);
        });
        kept.bench.lose(link);
    }
    assert_eq!(kept.bench.broker.stats().publish_refused_store, 4);
    assert_eq!(kept.bench.broker.usage().answers_waiting, 2);
    kept.bench.broker.set_refusing(false);
    kept.commit();
    assert_eq!(kept.count(DELIVERIES), 2, "those that could not be refused");
    assert_eq!(kept.bench.broker.usage().answers_waiting, 0);
}

#[test]
fn who_waits_as_the_disk_begins_to_refuse_is_told_unless_it_could_be_doubled() {
    let mut kept = Kept::new();
    kept.absent("reader", "t", Q2);
    let links = [MQTT5, SN, CLEAN].map(|how| {
        let link = kept.bench.join(&format!("{:?}", how.dialect), &how);
        kept.bench.publish(link, "t", "1", Q1);
        kept.bench.publish_as(link, "t", "2", Q2, false, 8);
        kept.bench.expect(link, &[]);
        link
    });
    kept.bench.broker.set_refusing(true);
    // Saying it again changes nothing.
    kept.bench.broker.set_refusing(true);
    kept.bench.turn();
    let told = &["puback #9 quota exceeded"][..];
    for (link, answers) in links.into_iter().zip([told, told, &[]]) {
        kept.bench.expect(link, answers);
    }
    assert_eq!(kept.bench.broker.stats().publish_refused_store, 2);
    kept.bench.broker.set_refusing(false);
    kept.commit();
    let both = &["puback #9 success", "pubrec #8 success"][..];
    for (link, answers) in links.into_iter().zip([&both[1..], &both[1..], both]) {
        kept.bench.expect(link, answers);
    }
}

/// Whatever ends with the link goes on as if there were no disk, and nobody waits to leave.
#[test]
fn what_promises_nothing_durable_does_not_wait() {
    let with_will = How { will: Some(("w", "gone", Q0, false)), ..CLEAN };
    for how in [CLEAN, MQTT5, SN, with_will] {
        let mut kept = refusing();
        let source = kept.bench.join("source", &CLEAN);
        let link = kept.bench.connect("c", &how);
        kept.bench.expect(link, &["connack success"]);
        // Again, in place of the first.
        let link = kept.bench.connect("c", &how);
        kept.bench.expect(link, &["connack success"]);
        check(&mut kept, link, &["suback #5 granted QoS 2"], |bench| {
            bench.subscribe(link, "live", Q2);
        });
        check(&mut kept, link, &["live 0 q0"], |bench| bench.publish(source, "live", "0", Q0));
        check(&mut kept, link, &["live 1 q1 #1", "live 2 q2 #2"], |bench| {
            bench.publish_as(source, "live", "1", Q1, false, 1);
            bench.publish_as(source, "live", "2", Q2, false, 2);
        });
        check(&mut kept, link, &["pubrel #2 success"], |bench| {
            bench.ack(link, AckKind::PubAck, 1);
            bench.ack(link, AckKind::PubRec, 2);
        });
        kept.bench.ack(link, AckKind::PubComp, 2);
        check(&mut kept, link, &["unsuback #6 success"], |bench| bench.unsubscribe(link, "live"));
        check(&mut kept, link, &["pubcomp #7 packet identifier not found"], |bench| {
            bench.ack(link, AckKind::PubRel, 7);
        });
        kept.bench.ended.clear();
        kept.bench.disconnect(link);
        assert_eq!(kept.bench.ended, ["c"]);
    }
}

/// An orderly end comes behind the answers that are due; a sensor takes none after its DISCONNECT.
#[test]
fn a_connection_closes_behind_the_answers_that_wait() {
    for (how, waits) in [(CLEAN, true), (SN, false)] {
        let mut kept = Kept::new();
        kept.absent("reader", "t", Q1);
        let link = kept.bench.join("c", &how);
        kept.bench.publish(link, "t", "x", Q1);
        let request = broker_core::api::Disconnect {
            reason: broker_core::reason::ReasonCode::Success,
            keep_will: false,
            session_expiry_s: None,
        };
        kept.bench.say(link, broker_core::api::Incoming::Disconnect(request));
        let (now, later): (&[&str], &[&str]) = if waits {
            (&[], &["puback #9 success", "closed: success"])
        } else {
            (&["closed: success"], &["puback #9 success"])
        };
        kept.bench.expect(link, now);
        assert_eq!(kept.bench.ended, ["c"]);
        kept.commit();
        kept.bench.expect(link, later);
    }
}

#[test]
fn what_promises_something_waits_until_the_disk_takes_it() {
    let mut kept = refusing();
    let link = kept.bench.connect("c", &PERSISTENT);
    kept.bench.expect(link, &[]);
    kept.bench.subscribe(link, "s", Q1);
    // What was kept is to be gone for good before its place is given away.
    let again = kept.bench.connect("reader", &CLEAN);
    for link in [link, again] {
        kept.bench.expect(link, &[]);
    }
    assert_eq!(kept.bench.broker.usage().answers_waiting, 3);
    kept.bench.broker.set_refusing(false);
    kept.commit();
    kept.bench.expect(link, &["connack success", "suback #5 granted QoS 1"]);
    kept.bench.expect(again, &["connack success"]);
}

/// A client that comes for its messages makes room by that.
#[test]
fn who_comes_back_to_a_session_is_let_in_and_gets_what_is_stored() {
    let mut kept = Kept::new();
    kept.absent("reader", "t", Q1);
    let publisher = kept.bench.join("p", &CLEAN);
    kept.bench.publish(publisher, "t", "x", Q1);
    kept.commit();
    kept.bench.publish_as(publisher, "r", "too much", Q0, true, 0);
    kept.bench.broker.set_refusing(true);
    let link = kept.bench.connect("reader", &PERSISTENT);
    kept.bench.expect(link, &["connack success present", "t x q1 #1"]);
    kept.bench.ack(link, AckKind::PubAck, 1);
    kept.bench.lose(link);
    let will = Some(("w", "gone", Q1, false));
    let link = kept.bench.connect("reader", &How { will, ..PERSISTENT });
    kept.bench.expect(link, &["connack success present"]);
    // To be kept for another time is a promise.
    let link = kept.bench.connect("reader", &How { expiry_s: 7, ..PERSISTENT });
    kept.bench.expect(link, &[]);
    kept.commit();
    assert_eq!(kept.count(DELIVERIES), 0);
}

/// Messages that are stored are delivered, and their acknowledgements are taken.
/// [MQTT-4.3.3-1]: after PUBREL the client may forget the message, so nobody may send it again, not
/// even a gateway that was restarted. Coming back to the session changes nothing about that.
#[test]
fn pubrel_waits_for_the_disk_through_a_resume() {
    let mut kept = Kept::new();
    let reader = kept.bench.connect("reader", &PERSISTENT);
    kept.commit();
    kept.bench.hear(reader);
    kept.bench.subscribe(reader, "t", Q2);
    let writer = kept.bench.join("writer", &CLEAN);
    kept.bench.publish_as(writer, "t", "x", Q2, false, 8);
    kept.commit();
    kept.bench.expect(reader, &["suback #5 granted QoS 2", "t x q2 #1"]);
    kept.bench.ack(reader, AckKind::PubRec, 1);
    kept.bench.expect(reader, &[]);
    kept.bench.broker.set_refusing(true);
    kept.bench.lose(reader);
    let reader = kept.bench.connect("reader", &PERSISTENT);
    kept.bench.expect(reader, &["connack success present"]);
    kept.bench.broker.set_refusing(false);
    kept.commit();
    kept.bench.expect(reader, &["pubrel #1 success"]);
    kept.bench.ack(reader, AckKind::PubComp, 1);
    kept.commit();
    assert_eq!(kept.count(DELIVERIES), 0);
}

#[test]
fn what_is_stored_is_delivered_whatever_the_disk_does() {
    let mut kept = Kept::new();
    let reader = kept.join("reader", &How { window: 1, ..PERSISTENT });
    kept.bench.subscribe(reader, "t", Q1);
    kept.commit();
    kept.bench.hear(reader);
    let publisher = kept.bench.join("p", &CLEAN);
    for payload in ["1", "2", "3"] {
        kept.bench.publish(publisher, "t", payload, Q1);
    }
    kept.commit();
    kept.bench.broker.set_refusing(true);
    for (id, line) in [(1, "t 1 q1 #1"), (2, "t 2 q1 #2"), (3, "t 3 q1 #3")] {
        kept.bench.expect(reader, &[line]);
        kept.bench.ack(reader, AckKind::PubAck, id);
    }
    kept.commit();
    assert_eq!(kept.count(DELIVERIES), 0);
}

/// Whoever is promised nothing is refused nothing, whether the client could be told or not.
#[test]
fn a_link_in_memory_is_served_while_the_disk_refuses() {
    let mut kept = refusing();
    for how in [MQTT5, SN, CLEAN] {
        let link = kept.bench.connect("p", &How { durability: Durability::Memory, ..how });
        kept.bench.hear(link);
        let answers = &["puback #9 success", "pubrec #8 success"];
        check(&mut kept, link, answers, |bench| {
            bench.publish(link, "t", "x", Q1);
            bench.publish_as(link, "t", "x", Q2, false, 8);
        });
        kept.bench.lose(link);
    }
    kept.bench.broker.set_refusing(false);
    kept.commit();
    assert_eq!(kept.count(DELIVERIES), 6);
}

/// Who goes on without an end while the disk takes nothing is cut off before memory runs out, also
/// if the disk hangs and nobody has said that it fails.
#[test]
fn what_waits_for_a_disk_that_refuses_is_bounded() {
    let limits = Limits { memory_bytes: 100_000, ..Limits::default() };
    let asks: [fn(&mut Bench, LinkId); 3] = [
        |bench, link| bench.publish(link, "nobody", "x", Q1),
        |bench, link| bench.subscribe(link, "same", Q1),
        |bench, link| bench.ack(link, AckKind::PubRel, 3),
    ];
    for (ask, is_refusing) in asks.into_iter().flat_map(|ask| [(ask, false), (ask, true)]) {
        let mut kept = Kept::new();
        kept.bench = Bench::with(BrokerConfig { limits: limits.clone(), ..gated() });
        let link = kept.join("c", &PERSISTENT);
        kept.bench.broker.set_refusing(is_refusing);
        kept.bench.publish_as(link, "r", "x", Q0, true, 0);
        let mut asked = 0;
        while kept.bench.broker.stats().cut_off_store == 0 {
            ask(&mut kept.bench, link);
            asked += 1;
            assert!(asked < 5_000, "there is no bound");
        }
        assert!(asked > 100, "{asked}");
        assert_eq!(kept.bench.hear(link), ["closed: quota exceeded"]);
        kept.bench.broker.set_refusing(false);
        kept.commit();
        kept.join("c", &PERSISTENT);
    }
}

#[test]
fn without_a_gate_answers_leave_at_once_and_with_it_they_wait_again() {
    let mut kept = Kept::new();
    kept.absent("reader", "t", Q2);
    let link = kept.join("c", &PERSISTENT);
    kept.bench.subscribe(link, "s", Q2);
    kept.bench.publish(link, "s", "one", Q2);
    kept.commit();
    kept.bench.hear(link);
    kept.bench.publish_as(link, "t", "x", Q2, false, 8);
    kept.bench.ack(link, AckKind::PubRec, 1);
    kept.bench.expect(link, &[]);
    kept.bench.broker.set_gated(false);
    kept.bench.turn();
    kept.bench.expect(link, &["pubrec #8 success", "pubrel #1 success"]);
    check(&mut kept, link, &["puback #4 success"], |bench| {
        bench.publish_as(link, "t", "y", Q1, false, 4);
    });
    check(&mut kept, link, &["suback #5 granted QoS 1"], |bench| bench.subscribe(link, "u", Q1));
    kept.bench.broker.set_gated(true);
    check(&mut kept, link, &[], |bench| bench.publish_as(link, "t", "z", Q1, false, 5));
    kept.commit();
    kept.bench.expect(link, &["puback #5 success"]);
    assert_eq!(kept.count(DELIVERIES), 4, "all is recorded, whoever waited for it");
}

#[test]
fn answers_on_a_link_in_memory_leave_at_once_and_what_they_are_for_is_recorded() {
    let in_memory = How { durability: Durability::Memory, ..PERSISTENT };
    let mut kept = Kept::new();
    kept.absent("reader", "t", Q1);
    let fast = kept.bench.connect("fast", &in_memory);
    kept.bench.expect(fast, &["connack success"]);
    check(&mut kept, fast, &["suback #5 granted QoS 2"], |bench| bench.subscribe(fast, "s", Q2));
    check(&mut kept, fast, &["puback #9 success"], |bench| bench.publish(fast, "t", "1", Q1));
    // On another link the same waits, also for what the first one changed.
    let safe = kept.bench.join("safe", &CLEAN);
    check(&mut kept, safe, &[], |bench| bench.publish(safe, "s", "2", Q2));
    kept.commit();
    kept.bench.expect(safe, &["pubrec #9 success"]);
    kept.bench.expect(fast, &["s 2 q2 #1"]);
    check(&mut kept, fast, &["pubrel #1 success"], |bench| bench.ack(fast, AckKind::PubRec, 1));
    kept.commit();
    let report = kept.crash();
    assert_eq!((report.sessions, report.subscriptions, report.deliveries), (2, 2, 2));
}
