//! What survives the end of the process, and what waits for the disk because of that.

use std::collections::BTreeMap;

use broker_core::journal::RecordKey;
use mqtt_sn_gw::sn::Settings;

use crate::farm::{A, A2, B, F, Farm, Q0, Q1, Q2, settings};
use crate::script::Known;

const CONNECT: &str = "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00";
const SLEEP: &str = "> 04 18 00 3C\n< 02 18";

/// Connected from A, with topic id 1 for a/x, to which it is subscribed at QoS 2.
fn subscriber(farm: &mut Farm) {
    farm.play(A, &format!("{CONNECT}\n> 08 12 40 00 0A 'a/x'\n< 08 13 40 00 01 00 0A 00"));
}

/// The same, asleep for 60 s.
fn sleeper() -> Farm {
    let mut farm = Farm::durable();
    subscriber(&mut farm);
    farm.play(A, SLEEP);
    farm
}

/// Connected while the disk takes its time from then on.
fn waiting() -> Farm {
    let mut farm = Farm::durable();
    subscriber(&mut farm);
    farm.disk.is_fast = false;
    farm
}

/// What is said by a predefined id is kept with the subscription: a device that knows its topics in
/// advance may not understand REGISTER.
#[test]
fn a_suback_by_predefined_id_promises_that_the_id_is_kept() {
    let mut farm = waiting();
    farm.play(A, "> 07 12 21 00 0A 00 05");
    farm.commit_one();
    farm.play(A, "< 08 13 20 00 05 00 0A 00");
    farm.crash_and_restart();
    farm.publish("a/predefined", "1", Q1);
    farm.play(A, "< 08 0C 21 00 05 {m} '1'");
}

#[test]
fn a_sleeper_that_slept_through_a_restart_gets_its_messages_by_pingreq_alone() {
    let mut farm = sleeper();
    for n in 0..50 {
        farm.publish("a/x", &format!("{n:03}"), Q1);
    }
    farm.crash_and_restart();
    for n in 50..100 {
        farm.publish("a/x", &format!("{n:03}"), Q1);
    }
    farm.crash_and_restart();
    assert_eq!(farm.gateway.usage().asleep, 1);
    let mut script = "> 06 16 'dev1'\n".to_owned();
    for n in 0..100 {
        let (publish, puback) = (format!("{{m{n}}} '{n:03}'"), format!("{{m{n}}} 00"));
        script += &format!("< 0A 0C 20 00 01 {publish}\n> 07 0D 00 01 {puback}\n");
    }
    farm.play(A, &(script + "< 02 17"));
}

/// Without its id in PINGREQ, too: the address is bound as it was.
#[test]
fn topic_ids_mean_the_same_after_a_restart_and_nobody_is_told_again() {
    let mut farm = sleeper();
    farm.play(A, "> 06 16 'dev1'\n< 02 17\n> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 02 00 01 00");
    farm.crash_and_restart();
    let watcher = farm.watch("a/b");
    farm.play(A, "> 08 0C 00 00 02 00 00 '1'\n> 02 16\n< 02 17");
    assert_eq!(farm.heard(watcher), ["a/b 1 q0"]);
    farm.play(
        A,
        "> 09 0A 00 00 00 02 'a/c'
         < 07 0B 00 03 00 02 00
         > 09 0A 00 00 00 03 'a/b'
         < 07 0B 00 02 00 03 00",
    );
    assert_eq!(farm.gateway.usage().topic_ids_max, 3);
}

#[test]
fn an_active_client_goes_on_and_gets_what_is_in_flight_again() {
    let mut farm = Farm::durable();
    subscriber(&mut farm);
    let mut known = Known::new();
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q2);
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {m} '1'");
    farm.crash_and_restart();
    assert_eq!(farm.gateway.usage().active, 1);
    let watcher = farm.watch("a/x");
    farm.play_on(
        A,
        &mut known,
        "< 08 0C A0 00 01 {m} '1'
         > 08 0C 20 00 01 00 07 '3'
         < 07 0D 00 01 00 07 00
         > 07 0D 00 01 {m} 00
         < 08 0C 40 00 01 {n} '2'
         > 04 0F {n}
         < 04 10 {n}",
    );
    assert_eq!(farm.heard(watcher), ["a/x 3 q1"]);
    farm.crash_and_restart();
    // It goes on where it was, under the same MsgId; then comes what it published itself.
    farm.play_on(
        A,
        &mut known,
        "< 04 10 {n}\n> 04 0E {n}\n< 08 0C 20 00 01 {o} '3'\n> 07 0D 00 01 {o} 00",
    );
}

/// A message of QoS 1 leaves before it is on the disk under which MsgId. What acknowledges it must
/// not be taken for an answer to another one that leaves after the crash.
#[test]
fn a_puback_from_before_a_crash_acknowledges_nothing_that_came_after_it() {
    let mut farm = waiting();
    let mut known = Known::new();
    farm.publish("a/x", "1", Q1);
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {m} '1'");
    farm.crash_and_restart();
    farm.publish("a/x", "2", Q1);
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {n} '2'\n> 07 0D 00 01 {m} 00");
    farm.pass(11_000);
    farm.play_on(A, &mut known, "< 08 0C A0 00 01 {n} '2'");
    // A second crash finds the same on the disk as the first, and takes another way from there.
    farm.crash_and_restart();
    farm.publish("a/x", "3", Q1);
    let late = "> 07 0D 00 01 {m} 00\n> 07 0D 00 01 {n} 00";
    farm.play_on(A, &mut known, &format!("< 08 0C 20 00 01 {{o}} '3'\n{late}"));
    farm.pass(11_000);
    farm.play_on(A, &mut known, "< 08 0C A0 00 01 {o} '3'\n> 07 0D 00 01 {o} 00");
    farm.pass(11_000);
    assert!(farm.received(A).is_empty());
}

/// The will is not due because the gateway was away, but if the client is.
#[test]
fn a_will_waits_for_the_client_to_fall_silent_after_the_restart() {
    let mut farm = Farm::durable();
    farm.play(
        A,
        "> 0A 04 08 01 00 3C 'dev1'
         < 02 06
         > 06 07 00 'w/1'
         < 02 08
         > 05 09 'bye'
         < 03 05 00",
    );
    farm.pass(80_000);
    farm.crash_and_restart();
    let watcher = farm.watch("w/1");
    farm.pass(89_000);
    assert!(farm.heard(watcher).is_empty());
    farm.pass(2_000);
    assert_eq!(farm.heard(watcher), ["w/1 bye q0"]);
    assert_eq!(farm.gateway.usage().gone, 1);
}

#[test]
fn a_sleep_is_supervised_anew_from_the_restart_on() {
    let mut farm = sleeper();
    farm.pass(80_000);
    farm.crash_and_restart();
    farm.pass(89_000);
    assert_eq!(farm.gateway.usage().asleep, 1);
    farm.pass(2_000);
    assert_eq!((farm.gateway.usage().asleep, farm.gateway.usage().gone), (0, 1));
    farm.crash_and_restart();
    assert_eq!(farm.gateway.usage().gone, 1, "its session waits for it");
    farm.play(A, "> 06 16 'dev1'\n< 02 18");
    farm.publish("a/x", "1", Q1);
    farm.play(A, &format!("{CONNECT}\n< 09 0A 00 01 {{r}} 'a/x'"));
}

#[test]
fn nodes_behind_a_forwarder_come_back() {
    let mut farm = Farm::durable();
    let wrapped = |node: &str, text: &str| format!("05 FE 00 '{node}' {text}");
    for node in ["N1", "N2"] {
        let connect = format!("0A 04 00 01 00 3C 'dev{}'", &node[1..]);
        farm.play(F, &format!("> {}\n< {}", wrapped(node, &connect), wrapped(node, "03 05 00")));
    }
    let subscribe = "> 05 FE 00 'N1' 08 12 20 00 0A 'a/x'\n< 05 FE 00 'N1' 08 13 20 00 01 00 0A 00";
    farm.play(F, subscribe);
    farm.play(F, "> 05 FE 00 'N1' 04 18 00 3C\n< 05 FE 00 'N1' 02 18");
    farm.crash_and_restart();
    farm.publish("a/x", "1", Q1);
    farm.play(
        F,
        "> 05 FE 00 'N1' 06 16 'dev1'
         < 05 FE 00 'N1' 08 0C 20 00 01 {m} '1'
         > 05 FE 00 'N1' 07 0D 00 01 {m} 00
         < 05 FE 00 'N1' 02 17
         > 05 FE 00 'N2' 02 16
         < 05 FE 00 'N2' 02 17",
    );
    // One that is no forwarder any more is not spoken to.
    let forwarders = Vec::new();
    farm.crash_and_restart_with(Settings { forwarders, is_durable: true, ..settings() });
    assert_eq!((farm.gateway.usage().asleep, farm.gateway.usage().active), (1, 1));
    farm.pass(30_000);
    assert!(farm.take(F).is_empty());
}

#[test]
fn who_subscribed_by_a_predefined_id_gets_messages_under_it() {
    let mut farm = Farm::durable();
    farm.play(A, &format!("{CONNECT}\n> 07 12 21 00 0A 00 05\n< 08 13 20 00 05 00 0A 00\n{SLEEP}"));
    farm.crash_and_restart();
    farm.publish("a/predefined", "1", Q1);
    farm.play(
        A,
        "> 06 16 'dev1'\n< 08 0C 21 00 05 {m} '1'\n> 07 0D 00 05 {m} 00\n< 02 17
         > 07 14 01 00 0B 00 05\n< 04 15 00 0B",
    );
    farm.crash_and_restart();
    farm.play(A, "> 02 16\n< 02 17");
}

#[test]
fn a_sleeper_is_found_at_another_port_after_a_restart_and_stays_there() {
    let mut farm = sleeper();
    farm.crash_and_restart();
    farm.publish("a/x", "1", Q1);
    farm.play(B, "> 06 16 'dev1'\n< 02 18");
    farm.play(A2, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 00\n< 02 17");
    farm.crash_and_restart();
    farm.play(A2, "> 02 16\n< 02 17");
    farm.play(A, "> 02 16\n< 02 18");
}

#[test]
fn a_sleeper_whose_port_is_gone_is_found_by_its_id() {
    let here = Settings { is_durable: true, ..settings() };
    let elsewhere = Settings { max_datagram: vec![], ..here.clone() };
    let mut farm = sleeper();
    farm.crash_and_restart_with(elsewhere.clone());
    farm.play(A, "> 02 16\n< 02 18\n> 06 16 'dev1'\n< 02 17");
    farm.crash_and_restart_with(here.clone());
    farm.play(A, "> 02 16\n< 02 17");
    // Its host is known also while it has no address.
    farm.crash_and_restart_with(elsewhere);
    farm.crash_and_restart_with(here);
    farm.play(B, "> 06 16 'dev1'\n< 02 18");
    farm.play(A2, "> 06 16 'dev1'\n< 02 17");
}

/// SN-059: a client that connected again may have forgotten what it knew.
#[test]
fn what_a_new_connection_made_unknown_stays_so() {
    let mut farm = sleeper();
    farm.play(A, "> 06 16 'dev1'\n< 02 17");
    let before = farm.disk.sn_records();
    farm.play(A, CONNECT);
    let after = farm.disk.sn_records();
    let changed: Vec<_> =
        after.iter().filter(|(key, value)| before.get(key) != Some(value)).collect();
    assert_eq!(changed.len(), 1, "one small record says all of it");
    farm.crash_and_restart();
    farm.publish("a/x", "1", Q1);
    farm.play(
        A,
        "< 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00",
    );
    farm.crash_and_restart();
    farm.publish("a/x", "2", Q1);
    farm.play(A, "< 08 0C 20 00 01 {m} '2'\n> 07 0D 00 01 {m} 00");
}

#[test]
fn a_visit_without_messages_writes_nothing() {
    let mut farm = sleeper();
    farm.play(A, "> 06 16 'dev1'\n< 02 17");
    farm.disk.is_fast = false;
    for _ in 0..3 {
        farm.pass(30_000);
        farm.play(A, &format!("> 06 16 'dev1'\n< 02 17\n{SLEEP}"));
    }
    assert!(farm.disk.is_idle());
    farm.take_in(A, None, &[0x02, 0x16]);
    assert_eq!(farm.drain(), 1, "PINGRESP, and no change");
}

#[test]
fn records_go_with_the_session() {
    let mut farm = sleeper();
    assert_eq!(farm.disk.sn_records().len(), 2);
    farm.play(A, "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
    assert_eq!(farm.disk.sn_records(), BTreeMap::new(), "a clean session is not kept");
    farm.crash_and_restart();
    farm.play(A, "> 02 16\n< 02 18");
    assert_eq!(farm.gateway.usage().gone, 0);
}

/// A clean session that goes on as one that is kept brings what it knew with it.
#[test]
fn a_session_is_kept_with_its_ids_from_the_connect_on_that_asks_for_it() {
    let mut farm = Farm::durable();
    farm.play(A, "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
    farm.disk.is_fast = false;
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'");
    farm.commit();
    farm.play(A, "< 03 05 00");
    farm.crash_and_restart();
    farm.disk.is_fast = true;
    farm.play(A, CONNECT);
    farm.play(A, "> 09 0A 00 00 00 02 'a/c'\n< 07 0B 00 02 00 02 00");
}

/// Somebody else may have changed the broker's store.
#[test]
fn clients_without_a_session_are_forgotten() {
    let mut farm = sleeper();
    let records = farm.disk.sn_records();
    farm.restart_from(Settings { is_durable: true, ..settings() }, &records).expect("good records");
    assert_eq!(farm.gateway.usage().gone + farm.gateway.usage().asleep, 0);
    assert_eq!(farm.disk.sn_records(), BTreeMap::new());
    // Nor is a topic id kept that belongs to nobody.
    let orphan = records.into_iter().filter(|(key, _)| key.table() == 0x81);
    let orphan: BTreeMap<_, _> = orphan.collect();
    farm.disk.records.clone_from(&orphan);
    farm.crash_and_restart();
    assert_eq!(farm.disk.sn_records(), BTreeMap::new());
}

#[test]
fn what_a_client_learns_of_a_topic_id_is_on_the_disk_first() {
    let mut farm = waiting();
    farm.commit();
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n> 09 0A 00 00 00 01 'a/b'");
    // What it knows already does not wait.
    farm.play(A, "> 09 0A 00 00 00 02 'a/x'\n< 07 0B 00 01 00 02 00");
    farm.commit();
    farm.play(A, "< 07 0B 00 02 00 01 00\n< 07 0B 00 02 00 01 00");
    farm.play(A, "> 08 12 20 00 03 'b/+'");
    farm.commit();
    farm.play(A, "< 08 13 20 00 00 00 03 00");
    farm.publish("b/1", "1", Q0);
    farm.commit();
    farm.play(A, "< 09 0A 00 03 {r} 'b/1'\n> 07 0B 00 03 {r} 00\n< 08 0C 00 00 03 00 00 '1'");
}

#[test]
fn an_id_that_was_not_on_the_disk_was_never_said() {
    let mut farm = waiting();
    farm.commit();
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'");
    farm.crash_and_restart();
    farm.commit();
    assert!(farm.take(A).is_empty());
    farm.play(A, "> 09 0A 00 00 00 02 'a/c'");
    farm.commit();
    farm.play(A, "< 07 0B 00 02 00 02 00");
}

/// Even if the broker should have nothing to write for a subscription that is there.
#[test]
fn a_suback_with_a_new_id_for_an_old_subscription_waits_too() {
    let mut farm = Farm::durable();
    farm.play(A, &format!("{CONNECT}\n> 07 12 21 00 0A 00 05\n< 08 13 20 00 05 00 0A 00"));
    farm.disk.is_fast = false;
    farm.play(A, "> 11 12 20 00 0B 'a/predefined'");
    farm.commit();
    farm.commit();
    farm.play(A, "< 08 13 20 00 01 00 0B 00");
}

#[test]
fn a_message_does_not_overtake_the_regack_that_tells_its_id() {
    let mut farm = waiting();
    farm.play(A, "> 08 12 20 00 03 'b/+'");
    farm.commit();
    farm.play(A, "< 08 13 20 00 00 00 03 00\n> 09 0A 00 00 00 01 'b/1'");
    farm.publish("b/1", "1", Q0);
    assert!(farm.take(A).is_empty());
    farm.commit();
    farm.play(A, "< 07 0B 00 02 00 01 00\n< 08 0C 00 00 02 00 00 '1'");
}

#[test]
fn a_sleep_is_acknowledged_when_it_is_known_for_good() {
    let mut farm = waiting();
    farm.play(A, "> 04 18 00 3C");
    // Leaving in order promises nothing.
    farm.commit();
    farm.play(A, "< 02 18\n> 04 18 00 3C\n< 02 18\n> 02 18\n< 02 18");
}

#[test]
fn a_full_disk_stops_neither_pingresp_nor_qos_0_and_nothing_piles_up() {
    let mut farm = waiting();
    farm.commit();
    farm.play(A, "> 08 12 00 00 03 'b/+'");
    farm.commit();
    farm.play(A, "< 08 13 00 00 00 00 03 00");
    // From here on nothing is written any more.
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n> 02 16\n< 02 17");
    let watcher = farm.watch("#");
    farm.play(A, "> 08 0C 00 00 01 00 00 '1'\n< 08 0C 00 00 01 00 00 '1'");
    assert_eq!(farm.heard(watcher), ["a/x 1 q0"]);
    // A message of QoS 0 that needs a new id is dropped, and the next one comes.
    farm.publish("b/1", "1", Q0);
    farm.publish("a/x", "2", Q0);
    assert!(farm.take(A).is_empty());
    farm.pass(11_500);
    farm.play(A, "< 08 0C 00 00 01 00 00 '2'");
    // A visit ends although a message cannot be told, which stays for the next one.
    farm.play(A, "> 04 18 00 3C\n> 06 16 'dev1'\n< 02 17");
    farm.publish("a/x", "3", Q0);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 00 00 01 00 00 '3'\n< 02 17");
    let before = farm.gateway.usage().memory_bytes;
    for _ in 0..100_000 {
        farm.take_in(A, None, &[0x04, 0x18, 0x00, 0x3C]);
        farm.take_in(A, None, &[0x09, 0x0A, 0, 0, 0, 1, b'a', b'/', b'b']);
    }
    farm.turn();
    assert!(farm.gateway.stats().datagrams_dropped > 0);
    let growth = farm.gateway.usage().memory_bytes - before;
    assert!(growth < 10 << 20, "{growth} octets");
    farm.take(A);
    farm.commit();
    assert_eq!(farm.received(A).first().map(String::as_str), Some("07 0B 00 02 00 01 00"));
}

/// What waits for the disk is not waited for in vain: the client was not asked yet.
#[test]
fn a_register_that_waits_for_the_disk_counts_no_repetitions() {
    let mut farm = waiting();
    farm.play(A, "> 08 12 20 00 03 'b/+'");
    farm.commit();
    farm.play(A, "< 08 13 20 00 00 00 03 00");
    farm.publish("b/1", "1", Q1);
    for _ in 0..20 {
        farm.pass(10_000);
        farm.play(A, "> 02 16\n< 02 17");
    }
    assert_eq!(farm.gateway.stats().retransmissions, 0);
    farm.commit();
    farm.play(
        A,
        "< 09 0A 00 02 {r} 'b/1'
         > 07 0B 00 02 {r} 00
         < 08 0C 20 00 02 {m} '1'
         > 07 0D 00 02 {m} 00",
    );
    // The same in a visit, which ends and is taken up again.
    farm.commit();
    farm.play(A, "> 04 18 00 3C");
    farm.commit();
    farm.play(A, "< 02 18");
    farm.publish("b/2", "2", Q1);
    farm.play(A, "> 06 16 'dev1'");
    farm.pass(5_000);
    farm.play(A, "< 02 17");
    farm.commit();
    farm.take(A);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 09 0A 00 03 {r} 'b/2'
         > 07 0B 00 03 {r} 00
         < 08 0C 20 00 03 {m} '2'
         > 07 0D 00 03 {m} 00
         < 02 17",
    );
}

/// A REGISTER for b/1 that waits for the disk.
fn register_waiting() -> Farm {
    let mut farm = waiting();
    farm.play(A, "> 08 12 20 00 03 'b/+'");
    farm.commit();
    farm.play(A, "< 08 13 20 00 00 00 03 00");
    farm
}

/// It goes on behind CONNACK, which is what the client expects to hear next (10.2).
#[test]
fn what_waited_for_the_disk_is_not_told_to_a_client_that_connects_again() {
    let mut farm = register_waiting();
    farm.publish("b/1", "1", Q1);
    farm.play(A, "> 0A 04 08 01 00 3C 'dev1'\n< 02 06");
    farm.commit();
    assert!(farm.take(A).is_empty(), "a REGISTER of the connection before");
    farm.play(A, "> 06 07 00 'w/1'\n< 02 08\n> 05 09 'bye'");
    farm.commit();
    farm.play(
        A,
        "< 03 05 00
         < 09 0A 00 02 {r} 'b/1'
         > 07 0B 00 02 {r} 00
         < 08 0C 20 00 02 {m} '1'
         > 07 0D 00 02 {m} 00",
    );
}

#[test]
fn what_waited_for_the_disk_beyond_a_visit_comes_with_the_next() {
    let mut farm = register_waiting();
    farm.play(A, "> 04 18 00 3C");
    farm.commit();
    farm.play(A, "< 02 18");
    farm.publish("b/1", "1", Q1);
    farm.play(A, "> 06 16 'dev1'");
    farm.pass(12_000);
    farm.play(A, "< 02 17");
    farm.commit();
    assert!(farm.take(A).is_empty(), "a REGISTER for a client that sleeps");
    farm.play(
        A,
        "> 06 16 'dev1'
         < 09 0A 00 02 {r} 'b/1'
         > 07 0B 00 02 {r} 00
         < 08 0C 20 00 02 {m} '1'
         > 07 0D 00 02 {m} 00
         < 02 17",
    );
}

#[test]
fn a_client_that_asks_again_while_connack_waits_for_the_disk_is_not_silent() {
    let mut farm = Farm::durable();
    farm.disk.is_fast = false;
    for _ in 0..12 {
        farm.play(A, "> 0A 04 00 01 00 0A 'dev1'");
        farm.pass(5_000);
    }
    assert!(farm.take(A).is_empty(), "it was lost and told to wait");
    farm.commit();
    farm.play(A, "< 03 05 00");
}

#[test]
fn without_durability_nothing_is_recorded() {
    let mut farm = Farm::gated();
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'");
    farm.commit();
    farm.play(
        A,
        &format!("< 03 05 00\n> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00\n{SLEEP}"),
    );
    farm.commit();
    assert_eq!(farm.disk.sn_records(), BTreeMap::new());
}

/// A disk that was replaced gets all that is kept, while the clients go on.
#[test]
fn a_snapshot_brings_back_what_the_journals_would_have() {
    let mut farm = sleeper();
    farm.play(B, "> 0A 04 00 01 00 3C 'dev2'\n< 03 05 00");
    farm.play(B, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
    farm.play(F, "> 0A 04 04 01 00 3C 'dev3'\n< 03 05 00");
    let records = farm.disk.sn_records();
    farm.replace_disk(|farm| farm.play(B, "> 09 0A 00 00 00 02 'a/c'\n< 07 0B 00 02 00 02 00"));
    assert_eq!(farm.disk.sn_records().len(), records.len() + 1);
    assert!(records.iter().all(|(key, value)| farm.disk.records.get(key) == Some(value)));
    farm.crash_and_restart();
    farm.play(A, "> 06 16 'dev1'\n< 02 17");
    farm.play(B, "> 09 0A 00 00 00 03 'a/c'\n< 07 0B 00 02 00 03 00");
}

/// Records that somebody else wrote are refused, or taken as far as they make sense.
#[test]
fn records_that_are_broken_break_nothing() {
    let mut farm = sleeper();
    farm.play(A, "> 06 16 'dev1'\n< 02 17\n> 07 12 21 00 0A 00 05\n< 08 13 20 00 05 00 0A 00");
    farm.play(F, "> 05 FE 00 'N2' 0A 04 00 01 00 3C 'dev2'\n< 05 FE 00 'N2' 03 05 00");
    let good = farm.disk.records.clone();
    let keys: Vec<RecordKey> = good.keys().copied().filter(|key| key.table() >= 0x80).collect();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut refused = 0;
    for _ in 0..1_000 {
        let mut records = good.clone();
        let key = keys[rng.usize(..keys.len())];
        let mut value = records[&key].clone();
        match rng.u8(..5) {
            0 => value.truncate(rng.usize(..=value.len())),
            1 => value.push(rng.u8(..)),
            2 => {
                records.remove(&key);
            }
            _ => {
                let at = rng.usize(..value.len());
                value[at] ^= 1 << rng.u8(..8);
            }
        }
        let key = if rng.u8(..4) == 0 { RecordKey(key.0 ^ 1 << rng.u8(..60)) } else { key };
        records.insert(key, value);
        let settings = Settings { is_durable: true, ..settings() };
        refused += u32::from(farm.restart_from(settings, &records).is_err());
        farm.take_all();
        for from in [A, B] {
            farm.say(from, "06 16 'dev1'");
            farm.say(from, "09 0A 00 00 00 01 'a/c'");
        }
        farm.pass(100_000);
    }
    assert!(refused > 100, "{refused} of 1000");
}

#[test]
fn a_client_that_refuses_dup_is_spared_it_after_a_restart() {
    let mut farm = Farm::durable();
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, "> 08 12 20 00 0A 'a/x'\n< 08 13 20 00 01 00 0A 00");
    farm.publish("a/x", "1", Q1);
    farm.play(A, "< 08 0C 20 00 01 ?? ?? '1'");
    farm.pass(11_100);
    farm.play(
        A,
        "< 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 03
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00",
    );
    farm.crash_and_restart();
    farm.publish("a/x", "2", Q1);
    farm.play(A, "< 08 0C 20 00 01 ?? ?? '2'");
    farm.pass(11_100);
    farm.play(A, "< 08 0C 20 00 01 ?? ?? '2'");
}
