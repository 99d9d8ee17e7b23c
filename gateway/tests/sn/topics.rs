//! Topic ids and names (section 7, SN 6.5, 6.7, 6.9, 6.10, D2, D3).

use std::collections::BTreeMap;

use mqtt_sn_gw::sn::{Quirks, Settings};

use crate::farm::{A, A2, Farm, Q0, Q1, settings, topic};
use crate::script::Known;

const DEV1: &str = "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00";
const CLEAN: &str = "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00";
const DISCONNECT: &str = "> 02 18\n< 02 18";

fn connected() -> Farm {
    let mut farm = Farm::new();
    farm.play(A, DEV1);
    farm
}

fn register(name: &str, id: u16) -> String {
    let length = 6 + name.len();
    let [high, low] = id.to_be_bytes();
    format!("> {length:02X} 0A 00 00 00 09 '{name}'\n< 07 0B {high:02X} {low:02X} 00 09 00\n")
}

fn subscribe(name: &str, id: u16) -> String {
    let length = 5 + name.len();
    let [high, low] = id.to_be_bytes();
    format!("> {length:02X} 12 20 00 09 '{name}'\n< 08 13 20 {high:02X} {low:02X} 00 09 00\n")
}

/// SN-012, SN-016, SN-017, SN-055, SN-105, D2
#[test]
fn ids_are_of_the_client_count_from_1_and_leave_out_predefined_numbers() {
    let mut farm = connected();
    let mut script = String::new();
    for (n, id) in [1, 2, 3, 4, 6, 7].into_iter().enumerate() {
        script += &register(&format!("t/{n}"), id);
    }
    farm.play(A, &script);
    farm.play(A2, "> 0A 04 04 01 00 3C 'dev2'\n< 03 05 00");
    farm.play(A2, &register("other", 1));
    // Each means its own.
    let watcher = farm.watch("#");
    farm.play(A, "> 08 0C 20 00 01 00 01 '1'\n< 07 0D 00 01 00 01 00");
    farm.play(A2, "> 08 0C 20 00 01 00 01 '2'\n< 07 0D 00 01 00 01 00");
    farm.play(A2, "> 08 0C 20 00 02 00 02 '3'\n< 07 0D 00 02 00 02 02");
    assert_eq!(farm.heard(watcher), ["t/0 1 q1", "other 2 q1"]);
}

/// SN-055, D2: numbers that one client has predefined for itself are left out for it alone.
#[test]
fn own_predefined_numbers_are_left_out_too() {
    let own = BTreeMap::from([(1, topic("own/1")), (2, topic("own/2"))]);
    let predefined_for = BTreeMap::from([("dev1".to_owned(), own)]);
    let mut farm = Farm::with(Settings { predefined_for, ..settings() });
    farm.play(A, DEV1);
    farm.play(A, &register("t", 3));
    farm.play(A2, "> 0A 04 04 01 00 3C 'dev2'\n< 03 05 00");
    farm.play(A2, &register("t", 1));
    let watcher = farm.watch("#");
    farm.play(A, "> 08 0C 21 00 01 00 01 '1'\n< 07 0D 00 01 00 01 00");
    farm.play(A2, "> 08 0C 21 00 01 00 01 '1'\n< 07 0D 00 01 00 01 02");
    assert_eq!(farm.heard(watcher), ["own/1 1 q1"]);
}

/// SN-055, SN-070, D2: however a name came to its id, it keeps it.
#[test]
fn a_name_has_one_id() {
    let mut farm = connected();
    farm.play(A, &register("a/b", 1));
    farm.play(A, &subscribe("a/b", 1));
    farm.play(A, &subscribe("a/c", 2));
    farm.play(A, &register("a/c", 2));
    farm.play(A, "> 08 12 20 00 09 'b/#'\n< 08 13 20 00 00 00 09 00");
    farm.publish("b/x", "1", Q1);
    farm.play(
        A,
        "< 09 0A 00 03 {r} 'b/x'
         > 07 0B 00 03 {r} 00
         < 08 0C 20 00 03 {m} '1'
         > 07 0D 00 03 {m} 00",
    );
    farm.play(A, &register("b/x", 3));
    farm.play(A, &subscribe("b/x", 3));
    // A name that has a predefined id gets a normal one besides.
    farm.play(A, &register("a/predefined", 4));
}

/// SN-013: names are UTF-8, also outside ASCII, and are taken as they are.
#[test]
fn names_are_utf_8() {
    let mut farm = connected();
    let watcher = farm.watch("#");
    farm.play(
        A,
        "> 0A 0A 00 00 00 09 C3 BC 2F E2
         < 07 0B 00 00 00 09 03
         > 0C 0A 00 00 00 09 C3 BC 2F E2 82 AC
         < 07 0B 00 01 00 09 00
         > 08 0C 20 00 01 00 01 '1'
         < 07 0D 00 01 00 01 00
         > 08 0C 22 C3 BC 00 02 '2'       -- one character of two octets is a short name
         < 07 0D C3 BC 00 02 00
         > 08 0C 22 C3 28 00 02 '2'
         < 07 0D C3 28 00 02 02",
    );
    assert_eq!(farm.heard(watcher), ["ü/€ 1 q1", "ü 2 q1"]);
}

/// SN-008, SN-065: the type is honoured in every look-up.
#[test]
fn the_same_number_may_be_a_normal_and_a_predefined_id_and_a_short_name() {
    let predefined = BTreeMap::from([(0x7879, topic("pre"))]);
    let mut farm = Farm::with(Settings { predefined, ..settings() });
    farm.play(A, DEV1);
    let watcher = farm.watch("#");
    farm.play(
        A,
        "> 08 0C 21 78 79 00 01 '1'
         < 07 0D 78 79 00 01 00
         > 08 0C 22 78 79 00 02 '2'
         < 07 0D 78 79 00 02 00
         > 08 0C 20 78 79 00 03 '3'
         < 07 0D 78 79 00 03 02",
    );
    assert_eq!(farm.heard(watcher), ["pre 1 q1", "xy 2 q1"]);
}

/// D2: ids live as long as the session.
#[test]
fn ids_are_kept_without_clean_session_and_dropped_with_it() {
    let mut farm = connected();
    farm.play(A, &(register("a", 1) + &register("b", 2)));
    farm.play(A, DISCONNECT);
    farm.play(A, DEV1);
    let watcher = farm.watch("#");
    // The client may use its id at once.
    farm.play(A, "> 08 0C 20 00 02 00 01 '1'\n< 07 0D 00 02 00 01 00");
    assert_eq!(farm.heard(watcher), ["b 1 q1"]);
    farm.play(A, &register("c", 3));
    farm.play(A, CLEAN);
    farm.play(A, "> 08 0C 20 00 02 00 01 '1'\n< 07 0D 00 02 00 01 02");
    farm.play(A, &register("c", 1));
}

/// SN-059: what the client itself used in this connection it knows; the rest it is told again,
/// once.
#[test]
fn after_a_reconnect_a_name_is_registered_once_unless_the_client_shows_that_it_knows_it() {
    let mut farm = connected();
    farm.play(A, &(subscribe("a", 1) + &subscribe("b", 2) + &subscribe("c", 3)));
    farm.play(A, DISCONNECT);
    farm.play(A, DEV1);
    farm.play(A, "> 08 0C 00 00 01 00 00 'x'\n< 08 0C 00 00 01 00 00 'x'");
    farm.play(A, &subscribe("b", 2));
    farm.publish("b", "1", Q1);
    farm.play(A, "< 08 0C 20 00 02 {m} '1'\n> 07 0D 00 02 {m} 00");
    farm.publish("c", "2", Q1);
    farm.play(
        A,
        "< 07 0A 00 03 {r} 'c'
         > 07 0B 00 03 {r} 00
         < 08 0C 20 00 03 {m} '2'
         > 07 0D 00 03 {m} 00",
    );
    farm.publish("c", "3", Q1);
    farm.play(A, "< 08 0C 20 00 03 {m} '3'\n> 07 0D 00 03 {m} 00");
}

/// A repeated CONNECT of a live session is a new connection, too: a rebooted device knows nothing.
#[test]
fn after_a_connect_in_a_connection_names_are_told_again() {
    let mut farm = connected();
    farm.play(A, &subscribe("a", 1));
    farm.play(A, DEV1);
    farm.publish("a", "1", Q1);
    farm.play(A, "< 07 0A 00 01 {r} 'a'");
}

/// SN-023, SN-070, D3: the TopicId of SUBACK by kind of filter, and SN-066, SN-076: deliveries use
/// it.
#[test]
fn deliveries_are_named_as_the_subscription_was_answered() {
    let mut farm = connected();
    farm.play(A, &subscribe("a/x", 1));
    farm.play(A, "> 07 12 21 00 0B 00 05\n< 08 13 20 00 05 00 0B 00");
    farm.play(A, "> 07 12 22 00 0C 'xy'\n< 08 13 20 'xy' 00 0C 00");
    farm.publish("a/x", "1", Q0);
    farm.publish("a/predefined", "2", Q0);
    farm.publish("xy", "3", Q0);
    farm.play(
        A,
        "< 08 0C 00 00 01 00 00 '1'
         < 08 0C 01 00 05 00 00 '2'
         < 08 0C 02 'xy' 00 00 '3'",
    );
}

/// SN-066: neither a predefined id nor a short name is delivered without a subscription.
#[test]
fn what_is_known_beforehand_has_to_be_subscribed_to_as_well() {
    let mut farm = connected();
    farm.publish("a/predefined", "1", Q1);
    farm.publish("xy", "1", Q1);
    farm.expect_silence(A);
}

/// D2: by name a two-octet topic has a normal id, by a wildcard it is short and needs no REGISTER.
#[test]
fn names_of_two_octets_are_short_unless_the_client_has_an_id_for_them() {
    let mut farm = connected();
    farm.play(A, &subscribe("ab", 1));
    farm.play(A, "> 06 12 20 00 0B '+'\n< 08 13 20 00 00 00 0B 00");
    farm.publish("ab", "1", Q0);
    farm.publish("cd", "2", Q0);
    farm.play(A, "< 08 0C 00 00 01 00 00 '1'\n< 08 0C 02 'cd' 00 00 '2'");
}

/// A name that is matched by a wildcard and has a predefined id is registered, unless the client
/// subscribed by that id (10.10).
#[test]
fn a_wildcard_does_not_deliver_under_predefined_ids() {
    let mut farm = connected();
    farm.play(A, "> 08 12 20 00 0B 'a/#'\n< 08 13 20 00 00 00 0B 00");
    farm.publish("a/predefined", "1", Q0);
    farm.play(
        A,
        "< 12 0A 00 01 {r} 'a/predefined'
         > 07 0B 00 01 {r} 00
         < 08 0C 00 00 01 00 00 '1'
         > 07 12 21 00 0C 00 05
         < 08 13 20 00 05 00 0C 00",
    );
    farm.publish("a/predefined", "2", Q0);
    // It knows the normal id, which goes before.
    farm.play(A, "< 08 0C 00 00 01 00 00 '2'");
}

/// SN-067, 17.4: a short name that is a filter is one.
#[test]
fn a_short_name_with_a_wildcard_is_a_filter() {
    let mut farm = connected();
    farm.play(A, "> 07 12 22 00 0B '/+'\n< 08 13 20 00 00 00 0B 00");
    farm.publish("/x", "1", Q0);
    farm.publish("/long", "2", Q0);
    farm.play(
        A,
        "< 08 0C 02 '/x' 00 00 '1'
         < 0B 0A 00 01 {r} '/long'
         > 07 0B 00 01 {r} 00
         < 08 0C 00 00 01 00 00 '2'
         > 07 14 02 00 0C '/+'
         < 04 15 00 0C",
    );
    farm.publish("/x", "3", Q0);
    farm.expect_silence(A);
}

/// SN-073, SN-077: one at a time, and no PUBLISH before its REGACK.
#[test]
fn registers_do_not_overtake_each_other() {
    let mut farm = connected();
    farm.play(A, "> 06 12 20 00 0B '#'\n< 08 13 20 00 00 00 0B 00");
    for name in ["a/1", "a/2", "a/1"] {
        farm.publish(name, name, Q1);
    }
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 09 0A 00 01 {r} 'a/1'");
    for _ in 0..4 {
        farm.pass(11_500);
        farm.play_on(A, &mut known, "< 09 0A 00 01 {r} 'a/1'");
    }
    farm.play_on(
        A,
        &mut known,
        "> 07 0B 00 01 {r} 00
         < 0A 0C 20 00 01 {m} 'a/1'
         > 07 0D 00 01 {m} 00
         < 09 0A 00 02 {s} 'a/2'
         > 07 0B 00 02 {s} 00
         < 0A 0C 20 00 02 {n} 'a/2'
         > 07 0D 00 02 {n} 00
         < 0A 0C 20 00 01 {o} 'a/1'
         > 07 0D 00 01 {o} 00",
    );
}

/// SN-079: exactly that name; the wildcard stays, and other names of it come.
#[test]
fn a_refused_register_is_an_unsubscribe_from_that_name() {
    for code in ["02", "03", "04", "FF"] {
        let mut farm = connected();
        farm.play(A, "> 08 12 20 00 0B 'a/#'\n< 08 13 20 00 00 00 0B 00");
        farm.publish("a/x", "1", Q1);
        farm.play(A, &format!("< 09 0A 00 01 {{r}} 'a/x'\n> 07 0B 00 01 {{r}} {code}"));
        farm.publish("a/x", "2", Q1);
        farm.publish("a/y", "3", Q0);
        farm.play(A, "< 09 0A 00 02 {r} 'a/y'\n> 07 0B 00 02 {r} 00\n< 08 0C 00 00 02 00 00 '3'");
        // What the client asks for itself it gets.
        farm.play(A, &subscribe("a/x", 1));
        farm.publish("a/x", "4", Q0);
        farm.play(A, "< 08 0C 00 00 01 00 00 '4'");
    }
}

/// SN-079, after a reconnect: the name itself is not subscribed to any more.
#[test]
fn a_register_refused_after_a_reconnect_ends_the_subscription_of_the_name() {
    let mut farm = connected();
    farm.play(A, &subscribe("abc", 1));
    farm.play(A, DEV1);
    farm.publish("abc", "1", Q1);
    farm.play(A, "< 09 0A 00 01 {r} 'abc'\n> 07 0B 00 01 {r} 03");
    assert_eq!(farm.broker.usage().subscriptions, 0);
    farm.publish("abc", "2", Q1);
    farm.expect_silence(A);
}

/// Section 18: a client that ignores REGISTER is not asked about the name again.
#[test]
fn a_register_that_is_never_answered_is_remembered_for_the_session() {
    let mut farm = connected();
    farm.play(A, "> 08 12 20 00 0B 'a/#'\n< 08 13 20 00 00 00 0B 00");
    farm.publish("a/x", "1", Q1);
    for _ in 0..5 {
        farm.play(A, "< 09 0A 00 01 ?? ?? 'a/x'");
        farm.pass(5_000);
        farm.play(A, "> 02 16\n< 02 17");
        farm.pass(6_100);
    }
    assert_eq!(farm.gateway.stats().given_up, 1);
    farm.publish("a/x", "2", Q1);
    farm.expect_silence(A);
    // Not even in the next connection.
    farm.play(A, DEV1);
    farm.publish("a/x", "3", Q1);
    farm.expect_silence(A);
}

/// One that usually answers is asked more often: radio loses five datagrams in a row now and then.
#[test]
fn a_client_that_answers_register_is_asked_for_longer() {
    let mut farm = connected();
    farm.play(A, "> 08 12 20 00 0B 'a/#'\n< 08 13 20 00 00 00 0B 00");
    farm.publish("a/w", "0", Q0);
    farm.play(A, "< 09 0A 00 01 {r} 'a/w'\n> 07 0B 00 01 {r} 00\n< 08 0C 00 00 01 00 00 '0'");
    farm.publish("a/x", "1", Q1);
    let mut sent = 0;
    while farm.gateway.stats().given_up == 0 {
        sent += farm.take(A).len();
        farm.pass(5_000);
        farm.say(A, "05 00 02 03 84");
    }
    assert_eq!(sent, 15, "three rounds");
    farm.publish("a/x", "2", Q1);
    farm.expect_silence(A);
}

/// The quirk: it is never told of names, but keeps the ids that it was given.
#[test]
fn a_client_that_ignores_register_is_sent_only_what_it_has_an_id_for() {
    let quirks = Quirks { no_register: true, ..Quirks::default() };
    let quirks = BTreeMap::from([("dev1".to_owned(), quirks)]);
    let mut farm = Farm::with(Settings { quirks, ..settings() });
    farm.play(A, DEV1);
    farm.play(A, &subscribe("a/x", 1));
    farm.play(A, "> 08 12 20 00 0B 'a/#'\n< 08 13 20 00 00 00 0B 00");
    farm.publish("a/y", "1", Q1);
    farm.publish("a/x", "2", Q0);
    farm.play(A, "< 08 0C 00 00 01 00 00 '2'");
    assert_eq!(farm.broker.stats().dropped_unsendable, 1);
    farm.play(A, DISCONNECT);
    farm.play(A, DEV1);
    farm.publish("a/x", "3", Q1);
    // Should it not know the id, there is nothing left to try.
    farm.play(A, "< 08 0C 20 00 01 {m} '3'\n> 07 0D 00 01 {m} 02");
    farm.publish("xy", "4", Q0);
    farm.expect_silence(A);
    assert_eq!(farm.broker.stats().dropped_unsendable, 2);
}

/// D2, SN-055: the cap, which known names do not feel.
#[test]
fn a_client_has_only_so_many_ids() {
    let mut farm = Farm::with(Settings { topic_ids_max: 3, ..settings() });
    farm.play(A, DEV1);
    farm.play(A, &(register("a", 1) + &register("b", 2)));
    farm.play(A, "> 06 12 20 00 0B '#'\n< 08 13 20 00 00 00 0B 00");
    farm.publish("t/1", "1", Q0);
    farm.play(A, "< 09 0A 00 03 {r} 't/1'\n> 07 0B 00 03 {r} 00\n< 08 0C 00 00 03 00 00 '1'");
    farm.publish("t/2", "2", Q1);
    farm.expect_silence(A);
    assert_eq!(farm.broker.stats().dropped_unsendable, 1);
    farm.play(A, "> 09 0A 00 00 00 09 't/3'\n< 07 0B 00 00 00 09 01");
    farm.play(A, &register("b", 2));
    farm.publish("t/1", "3", Q0);
    farm.play(A, "< 08 0C 00 00 03 00 00 '3'");
    assert_eq!(farm.gateway.usage().topic_ids_max, 3);
}

/// Ids are not used up by names that could not be sent anyway (SN-082).
#[test]
fn a_name_that_is_too_long_for_the_client_takes_no_id() {
    let mut farm = Farm::with(Settings { topic_ids_max: 1, max_datagram: vec![60], ..settings() });
    farm.play(A, DEV1);
    farm.play(A, "> 06 12 20 00 0B '#'\n< 08 13 20 00 00 00 0B 00");
    farm.publish(&"x".repeat(55), "1", Q0);
    farm.publish("short", "2", Q0);
    farm.play(A, "< 0B 0A 00 01 {r} 'short'\n> 07 0B 00 01 {r} 00\n< 08 0C 00 00 01 00 00 '2'");
}

/// Without memory no new name is taken; what is known goes on.
#[test]
fn without_memory_names_are_answered_with_congestion() {
    let mut farm = connected();
    farm.play(A, &register("a", 1));
    farm.broker.set_external_memory(u64::MAX / 2);
    farm.time_out();
    farm.play(A, "> 07 0A 00 00 00 09 'b'\n< 07 0B 00 00 00 09 01");
    farm.play(A, &register("a", 1));
    farm.broker.set_external_memory(0);
    farm.time_out();
    farm.play(A, &register("b", 2));
}

/// SN-006: what left before is a repetition, also if its topic has to be registered anew first;
/// that of which only the REGISTER has left is none.
#[test]
fn a_message_in_flight_is_a_repetition_if_it_has_left_and_not_if_only_its_register_has() {
    let mut farm = connected();
    farm.play(A, "> 08 12 20 00 09 'b/#'\n< 08 13 20 00 00 00 09 00");
    farm.publish("b/1", "1", Q1);
    farm.play(A, "< 09 0A 00 01 {r} 'b/1'");
    let known = &mut Known::new();
    let again = format!("{DEV1}\n< 09 0A 00 01 {{r}} 'b/1'\n> 07 0B 00 01 {{r}} 00\n");
    farm.play_on(A, known, &format!("{again}< 08 0C 20 00 01 {{m}} '1'"));
    let again = format!("{DEV1}\n< 09 0A 00 01 {{s}} 'b/1'\n> 07 0B 00 01 {{s}} 00\n");
    farm.play_on(A, known, &format!("{again}< 08 0C A0 00 01 {{m}} '1'\n> 07 0D 00 01 {{m}} 00"));
    farm.expect_silence(A);
}

/// SN-006: the same for one that was called otherwise before, by a predefined id.
#[test]
fn a_repetition_is_marked_also_when_its_topic_is_called_otherwise() {
    let mut farm = connected();
    farm.play(A, "> 07 12 21 00 09 00 05\n< 08 13 20 00 05 00 09 00");
    farm.publish("a/predefined", "1", Q1);
    let known = &mut Known::new();
    farm.play_on(A, known, "< 08 0C 21 00 05 {m} '1'");
    farm.play(A, "> 07 14 01 00 0A 00 05\n< 04 15 00 0A");
    farm.pass(11_500);
    farm.play_on(
        A,
        known,
        "< 12 0A 00 01 {r} 'a/predefined'
         > 07 0B 00 01 {r} 00
         < 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 00",
    );
    farm.expect_silence(A);
}
