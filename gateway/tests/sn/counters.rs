//! What the counters of [`SnStats`](mqtt_sn_gw::sn::SnStats) say of messages that nobody answers,
//! and of those that are sent again.

use crate::farm::{A, A2, B, Farm, Q0, Q1, Q2};

const CONNECT: &str = "> 0A 04 00 01 00 3C 'dev1'\n";

fn connected() -> Farm {
    let mut farm = Farm::new();
    farm.play(A, &format!("{CONNECT}< 03 05 00"));
    farm
}

/// Nothing is answered, and so much more is counted as ignored.
#[track_caller]
fn check_ignored(farm: &mut Farm, from: &str, says: &str, expect: u64) {
    let before = farm.gateway.stats().ignored;
    farm.play(from, says);
    assert_eq!(farm.gateway.stats().ignored - before, expect, "{says}");
}

#[test]
fn what_fits_to_nothing_is_counted_once_and_not_answered() {
    let mut farm = connected();
    for says in [
        "> 07 0B 00 01 00 05 00", // REGACK
        "> 07 0D 00 01 00 07 03", // PUBACK that refuses what nobody sent
        "> 07 0D 00 01 00 00 03", // PUBACK that has something against QoS 0, not the topic id
        "> 07 0D 00 09 00 00 02", // PUBACK for an id under which nothing was sent
        "> 05 00 02 03 84",       // ADVERTISE, which a gateway says
        "> 05 09 'bye'",          // WILLMSG after CONNACK
    ] {
        check_ignored(&mut farm, A, says, 1);
    }
    check_ignored(&mut farm, B, "> 07 0D 00 01 00 07 00", 1);
    // A will message before its topic.
    farm.play(B, "> 0A 04 0C 01 00 3C 'dev2'\n< 02 06");
    check_ignored(&mut farm, B, "> 05 09 'bye'", 1);
}

/// QoS 2 ends with PUBCOMP only.
#[test]
fn a_puback_for_a_message_of_qos_2_changes_nothing() {
    let mut farm = connected();
    farm.play(A, "> 08 12 40 00 0B 'a/b'\n< 08 13 40 00 01 00 0B 00");
    farm.publish("a/b", "1", Q2);
    let came = farm.received(A);
    let id = came[0].split(' ').skip(5).take(2).collect::<Vec<_>>().join(" ");
    check_ignored(&mut farm, A, &format!("> 07 0D 00 01 {id} 00"), 1);
    farm.play(A, &format!("> 04 0F {id}\n< 04 10 {id}"));
    farm.pass(11_100);
    farm.play(A, &format!("< 04 10 {id}\n> 04 0E {id}"));
    assert_eq!(farm.gateway.stats().retransmissions, 1);
    farm.pass(30_000);
    farm.expect_silence(A);
}

/// A CONNECT that is being worked on is not begun anew.
#[test]
fn a_connect_that_comes_again_while_it_is_judged_is_counted_once() {
    let mut farm = Farm::gated();
    farm.play(A, CONNECT);
    check_ignored(&mut farm, A, CONNECT, 1);
    check_ignored(&mut farm, A, "> 02 16", 1);
    farm.commit();
    farm.play(A, "< 03 05 00");
    // Its owner is asked first.
    farm.play(B, CONNECT);
    check_ignored(&mut farm, B, CONNECT, 1);
    assert_eq!(farm.received(A), ["02 16"]);
    // Whoever says something else is meant by that.
    farm.play(B, "> 0A 04 00 01 00 3C 'dev2'");
    farm.commit();
    farm.play(B, "< 03 05 00");
}

#[test]
fn a_connect_that_another_one_overtakes_is_counted_as_refused() {
    let mut farm = Farm::gated();
    farm.play(A, CONNECT);
    farm.play(A2, CONNECT);
    farm.commit();
    assert_eq!(farm.received(A), ["03 05 01"]);
    assert_eq!(farm.received(A2), ["03 05 00"]);
    assert_eq!(farm.gateway.stats().takeovers_refused, 1);
}

#[test]
fn a_register_that_is_repeated_counts_twice_and_one_that_is_refused_costs_its_message() {
    let mut farm = connected();
    farm.play(A, "> 08 12 20 00 0B 'a/#'\n< 08 13 20 00 00 00 0B 00");
    for (topic, id, qos) in [("a/x", "00 01", Q0), ("a/y", "00 02", Q1)] {
        farm.publish(topic, "1", qos);
        let first = farm.received(A);
        farm.pass(11_100);
        assert_eq!(farm.received(A), first);
        let msg_id = first[0].split(' ').skip(4).take(2).collect::<Vec<_>>().join(" ");
        farm.play(A, &format!("> 07 0B {id} {msg_id} 03"));
    }
    let stats = farm.gateway.stats();
    assert_eq!((stats.registers_sent, stats.retransmissions, stats.given_up), (4, 2, 0));
    assert_eq!(farm.broker.stats().dropped_unsendable, 1);
    assert_eq!(farm.broker.stats().dropped_unacknowledged, 1);
    farm.pass(60_000);
    farm.expect_silence(A);
}

/// The empty WILLTOPIC ended the dialogue; another one is no repetition of it.
#[test]
fn only_what_ended_a_dialogue_is_answered_again() {
    let mut farm = Farm::new();
    farm.play(A, "> 0A 04 0C 01 00 3C 'dev1'\n< 02 06\n> 02 07\n< 03 05 00");
    check_ignored(&mut farm, A, "> 09 07 30 'w/dev1'", 1);
    farm.play(A, "> 02 07\n< 03 05 00");
}
