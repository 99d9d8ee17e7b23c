//! Devices in the field, with what is special about each (section 18 of the specification
//! reference): served as they are, and better with what `[[mqtt_sn.client]]` says of them.

use std::collections::BTreeMap;

use broker_core::api::QoS;
use mqtt_sn_gw::sn::{Quirks, Settings};

use crate::farm::{A, Farm, Q0, Q1, Q2, settings, topic};
use crate::script::Known;

/// `dev1` with a clean session, a keep-alive of an hour, and what is configured for it.
fn device(quirks: Quirks) -> Farm {
    device_with(Settings { quirks: BTreeMap::from([("dev1".to_owned(), quirks)]), ..settings() })
}

fn device_with(settings: Settings) -> Farm {
    let mut farm = Farm::with(settings);
    farm.play(A, "> 0A 04 04 01 0E 10 'dev1'\n< 03 05 00");
    farm
}

/// Subscribed to a/x, which has topic id 1, and to a/#.
fn subscribe(farm: &mut Farm, qos: QoS) {
    let flags = ["00", "20", "40"][qos as usize];
    farm.play(
        A,
        &format!(
            "> 08 12 {flags} 00 0A 'a/x'
             < 08 13 {flags} 00 01 00 0A 00
             > 08 12 {flags} 00 0B 'a/#'
             < 08 13 {flags} 00 00 00 0B 00"
        ),
    );
}

/// It is there: something that is not answered shows that.
fn show_itself(farm: &mut Farm) {
    farm.say(A, "05 00 02 03 84");
}

/// A message comes, is not answered for its time, and comes again: with DUP or without.
fn lose_once(farm: &mut Farm, known: &mut Known, payload: &str, dup: bool) {
    farm.publish("a/x", payload, Q1);
    farm.play_on(A, known, &format!("< 08 0C 20 00 01 {{{payload}}} '{payload}'"));
    farm.pass(11_500);
    let flags = if dup { "A0" } else { "20" };
    farm.play_on(A, known, &format!("< 08 0C {flags} 00 01 {{{payload}}} '{payload}'"));
}

/// DUP is refused by PUBACK 0x03, and the message is not taken.
#[test]
fn emcute_gets_a_message_without_dup_that_it_refused_with_it() {
    let mut farm = device(Quirks::default());
    subscribe(&mut farm, Q1);
    let mut known = Known::new();
    lose_once(&mut farm, &mut known, "1", true);
    farm.play_on(
        A,
        &mut known,
        "> 07 0D 00 01 {1} 03
         < 08 0C 20 00 01 {1} '1'
         > 07 0D 00 01 {1} 00",
    );
    // It is not asked to refuse DUP twice.
    lose_once(&mut farm, &mut known, "2", false);
    farm.play_on(A, &mut known, "> 07 0D 00 01 {2} 00");
    assert_eq!(farm.broker.stats().dropped_unacknowledged, 0);
}

/// With the key it never sees DUP, neither awake nor when an exchange goes on after a reconnect.
#[test]
fn emcute_never_sees_dup_if_that_is_configured() {
    let mut farm = device(Quirks { no_dup: true, ..Quirks::default() });
    subscribe(&mut farm, Q1);
    let mut known = Known::new();
    lose_once(&mut farm, &mut known, "1", false);
    farm.play_on(A, &mut known, "> 07 0D 00 01 {1} 00\n> 04 18 01 2C\n< 02 18");
    farm.publish("a/x", "2", Q1);
    farm.play_on(A, &mut known, "> 06 16 'dev1'\n< 08 0C 20 00 01 {2} '2'");
    farm.pass(4_500);
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {2} '2'\n> 07 0D 00 01 {2} 00\n< 02 17");

    let quirks = Quirks { no_dup: true, ..Quirks::default() };
    let quirks = BTreeMap::from([("dev1".to_owned(), quirks)]);
    let mut farm = Farm::with(Settings { quirks, ..settings() });
    let connect = "> 0A 04 00 01 0E 10 'dev1'\n< 03 05 00";
    farm.play(A, &format!("{connect}\n> 08 12 20 00 0A 'a/x'\n< 08 13 20 00 01 00 0A 00"));
    farm.publish("a/x", "1", Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {1} '1'");
    farm.play_on(
        A,
        &mut known,
        &format!(
            "{connect}
             < 09 0A 00 01 {{r}} 'a/x'
             > 07 0B 00 01 {{r}} 00
             < 08 0C 20 00 01 {{1}} '1'"
        ),
    );
}

/// REGISTER is ignored, and the pings of each 360 s are all that is heard of it meanwhile: that
/// name is given up, and what it has an id for goes on.
#[test]
fn emcute_and_asymcute_lose_nothing_but_the_name_whose_register_they_ignore() {
    let mut farm = device(Quirks::default());
    subscribe(&mut farm, Q1);
    farm.publish("a/new", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.pass(360_000);
    assert_eq!(farm.take(A).len(), 5, "REGISTER, and no answer however often");
    farm.play(A, "> 02 16\n< 02 17\n< 0B 0A 00 02 ?? ?? 'a/new'");
    farm.pass(60_000);
    assert_eq!(farm.gateway.stats().given_up, 1);
    let last = farm.received(A).pop().expect("something came");
    assert!(last.starts_with("08 0C") && last.ends_with(" 32"), "the next message: {last}");
}

/// With both keys it gets at once what it has an id for, and is asked for nothing else.
#[test]
fn emcute_and_asymcute_are_not_told_of_names_if_that_is_configured() {
    let mut farm = device(Quirks { no_register: true, ..Quirks::default() });
    subscribe(&mut farm, Q1);
    farm.publish("a/new", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.play(A, "< 08 0C 20 00 01 {m} '2'\n> 07 0D 00 01 {m} 00");
    assert_eq!(farm.gateway.stats().registers_sent, 0);
}

/// Acknowledgements are read at fixed places, which only a length of one octet leaves there.
#[test]
fn emcute_is_spoken_to_with_lengths_of_one_octet() {
    let mut farm = Farm::with(settings());
    for (says, answer) in [
        // Said in the long form, and answered in the short one.
        ("01 00 0C 04 04 01 01 68 'dev1'", "03 05 00"),
        ("01 00 0B 0A 00 00 12 34 'a/x'", "07 0B 00 01 12 34 00"),
        ("01 00 0A 12 20 12 35 'a/x'", "08 13 20 00 01 12 35 00"),
        ("01 00 0A 14 20 12 36 'a/x'", "04 15 12 36"),
        ("01 00 0A 0C 20 00 01 12 37 '1'", "07 0D 00 01 12 37 00"),
        ("01 00 0A 0C 40 00 01 12 38 '2'", "04 0F 12 38"),
        ("01 00 06 10 12 38", "04 0E 12 38"),
        ("01 00 0A 1A 00 'w/dev'", "03 1B 00"),
        ("01 00 08 1C 'gone'", "03 1D 00"),
        ("01 00 04 16", "02 17"),
        ("01 00 06 18 00 3C", "02 18"),
    ] {
        farm.play(A, &format!("> {says}\n< {answer}"));
    }
}

/// On little-endian machines PUBLISH to a short topic and SUBSCRIBE to a predefined one have their
/// octets swapped, and a PUBLISH to it has to be what it compares with; the rest is right.
#[test]
fn asymcute_is_understood_and_answered_in_its_order_of_octets() {
    let quirks = Quirks { swap_topic_id_octets: true, ..Quirks::default() };
    let quirks = BTreeMap::from([("dev1".to_owned(), quirks)]);
    let predefined = BTreeMap::from([(300, topic("pre/300"))]);
    let mut farm = device_with(Settings { quirks, predefined, ..settings() });
    let watcher = farm.watch("#");
    farm.play(
        A,
        "> 08 0C 22 'ba' 00 01 '1'      -- PUBLISH to ab
         < 07 0D 'ba' 00 01 00
         > 08 0C 21 01 2C 00 02 '2'     -- PUBLISH to 300
         < 07 0D 01 2C 00 02 00
         > 07 12 21 00 03 2C 01         -- SUBSCRIBE to 300
         < 08 13 20 2C 01 00 03 00
         > 07 12 22 00 04 'cd'          -- SUBSCRIBE to cd
         < 08 13 20 'cd' 00 04 00",
    );
    assert_eq!(farm.heard(watcher), ["ab 1 q1", "pre/300 2 q1"]);
    farm.publish("pre/300", "3", Q1);
    farm.play(A, "< 08 0C 21 01 2C {m} '3'\n> 07 0D 01 2C {m} 00");
    farm.publish("cd", "4", Q1);
    farm.play(A, "< 08 0C 22 'dc' {m} '4'\n> 07 0D 'dc' {m} 00");
    farm.play(A, "> 07 14 01 00 05 2C 01\n< 04 15 00 05");
    farm.publish("pre/300", "5", Q1);
    farm.expect_silence(A);
}

/// Its buffer has 128 octets.
#[test]
fn asymcute_is_sent_no_more_than_it_has_room_for() {
    let mut farm = device(Quirks { max_datagram: Some(128), ..Quirks::default() });
    subscribe(&mut farm, Q1);
    farm.publish("a/x", &"x".repeat(122), Q1);
    farm.publish("a/x", &"y".repeat(121), Q1);
    let came = farm.received(A);
    assert!(came.len() == 1 && came[0].starts_with("80 0C 20 00 01"), "{came:?}");
}

/// Whatever is longer than it has to be is refused, also where the specification has room.
#[test]
fn zephyr_gets_messages_of_exactly_their_length() {
    let mut farm = device(Quirks::default());
    farm.play(
        A,
        "> 02 16
         < 02 17
         > 09 1A 30 'w/dev1'
         < 03 1B 00
         > 02 1C
         < 03 1D 00
         > 04 18 00 3C
         < 02 18
         > 06 16 'dev1'
         < 02 17
         > 0A 04 04 01 00 3C 'dev1'
         < 03 05 00",
    );
    // Asked whether it is there, and told that it is lost.
    farm.say(crate::farm::B, "0A 04 04 01 00 3C 'dev1'");
    assert_eq!(farm.received(A), ["02 16"]);
    farm.play(A, "> 02 17");
    farm.pass(91_000);
    assert_eq!(farm.received(A), ["02 18"]);
}

/// A PUBLISH without a payload is refused without a word; those with one are acknowledged.
#[test]
fn zephyr_loses_an_empty_message_and_no_other() {
    let mut farm = device(Quirks::default());
    subscribe(&mut farm, Q1);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 00");
    farm.publish("a/x", "", Q1);
    farm.publish("a/x", "2", Q1);
    let mut sent = 0;
    let last = loop {
        farm.pass(5_000);
        show_itself(&mut farm);
        let came = farm.received(A);
        sent += came.iter().filter(|text| text.starts_with("07 0C")).count();
        if let Some(last) = came.iter().find(|text| text.starts_with("08 0C")) {
            break last.clone();
        }
        assert!(sent <= 5, "one round of repetitions");
    };
    assert!(last.ends_with(" 32"), "{last}");
    assert_eq!((sent, farm.gateway.stats().given_up), (5, 1));
}

/// Each REGISTER takes one of twenty places; when they are used up it is not answered.
#[test]
fn zephyr_keeps_the_names_that_it_has_room_for() {
    let mut farm = device(Quirks::default());
    subscribe(&mut farm, Q1);
    farm.publish("a/1", "1", Q1);
    farm.play(
        A,
        "< 09 0A 00 02 {r} 'a/1'
         > 07 0B 00 02 {r} 00
         < 08 0C 20 00 02 {m} '1'
         > 07 0D 00 02 {m} 00",
    );
    farm.publish("a/2", "2", Q1);
    farm.publish("a/1", "3", Q1);
    let mut registers = 0;
    let delivered = loop {
        farm.pass(5_000);
        show_itself(&mut farm);
        let came = farm.received(A);
        registers += came.iter().filter(|text| text.starts_with("09 0A 00 03")).count();
        if let Some(delivered) = came.iter().find(|text| text.starts_with("08 0C")) {
            break delivered.clone();
        }
        assert!(registers <= 15, "three rounds");
    };
    assert!(delivered.starts_with("08 0C 20 00 02") && delivered.ends_with(" 33"), "{delivered}");
    assert_eq!(registers, 15);
}

/// Ids are kept over a reconnect without CleanSession and used without REGISTER; SUBSCRIBE comes
/// again with DUP; a MsgId stands in QoS 0; SUBACK overwrites the id of predefined topics too.
#[test]
fn zephyr_goes_on_with_its_ids_after_a_reconnect() {
    let mut farm = Farm::with(settings());
    let watcher = farm.watch("a/x");
    let connect = "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00";
    farm.play(
        A,
        &format!(
            "{connect}
             > 08 12 20 00 01 'a/x'
             < 08 13 20 00 01 00 01 00
             > 08 12 A0 00 01 'a/x'
             < 08 13 20 00 01 00 01 00
             > 07 12 21 00 02 00 05
             < 08 13 20 00 05 00 02 00
             > 02 18
             < 02 18
             {connect}
             > 08 0C 00 00 01 00 07 '1'
             < 08 0C 00 00 01 00 00 '1'"
        ),
    );
    assert_eq!(farm.heard(watcher), ["a/x 1 q0"]);
}

/// Everything that its tests do: wills and their updates, wildcards, every QoS, QoS −1, and
/// messages of up to 1024 octets.
#[test]
fn wolfmqtt_plays_its_whole_part() {
    let mut farm = Farm::new();
    farm.play(
        A,
        "> 0A 04 0C 01 00 3C 'wolf'
         < 02 06
         > 09 07 20 'w/wolf'
         < 02 08
         > 06 09 'gone'
         < 03 05 00
         > 09 1A 30 'w/wolf'
         < 03 1B 00
         > 05 1C 'bye'
         < 03 1D 00
         > 08 12 40 00 01 'a/#'
         < 08 13 40 00 00 00 01 00
         > 08 0C 62 'xy' 00 00 '0'",
    );
    farm.publish("a/x", "2", Q2);
    farm.play(
        A,
        "< 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 40 00 01 {m} '2'
         > 04 0F {m}
         < 04 10 {m}
         > 04 0E {m}",
    );
    let payload = "p".repeat(1_024 - 9);
    farm.publish("a/x", &payload, Q0);
    let came = farm.take(A);
    assert_eq!(came[0].len(), 1_024);
    assert!(came[0].starts_with(b"\x01\x04\x00\x0C\x00\x00\x01\x00\x00p"));
    farm.play(A, "> 02 18\n< 02 18");
}

/// CONNACK has to come first, and SUBACK before what belongs to it; topics of two octets are short
/// whatever was meant; a ping after sleep has no id; nothing beyond 255 octets is read.
#[test]
fn mqtt_sn_tools_hear_what_they_wait_for_first() {
    let quirks = Quirks { max_datagram: Some(255), ..Quirks::default() };
    let quirks = BTreeMap::from([("tool".to_owned(), quirks)]);
    let mut farm = Farm::with(Settings { quirks, ..settings() });
    farm.publish_as("xy", b"kept", Q1, true);
    let connect = "> 0A 04 00 01 00 0A 'tool'\n< 03 05 00";
    farm.play(
        A,
        &format!(
            "{connect}
             > 07 12 22 00 01 'xy'
             < 08 13 20 'xy' 00 01 00
             < 0B 0C 32 'xy' {{m}} 'kept'
             > 07 0D 'xy' {{m}} 00
             > 02 18
             < 02 18"
        ),
    );
    farm.publish("xy", &"1".repeat(249), Q1);
    farm.publish("xy", "2", Q1);
    farm.play(A, &format!("{connect}\n< 08 0C 22 'xy' {{m}} '2'\n> 07 0D 'xy' {{m}} 00"));
    farm.play(A, "> 04 18 00 3C\n< 02 18");
    farm.publish("xy", "3", Q1);
    farm.play(A, "> 02 16\n< 08 0C 22 'xy' {m} '3'\n> 07 0D 'xy' {m} 00\n< 02 17");
}

/// The topic name stands in the payload, and its length where an id would be: neither is taken for
/// the other, even by a client that has that id.
#[test]
fn paho_c_may_name_a_topic_inside_a_message_at_qos_minus_one() {
    for is_allowed in [false, true] {
        let mut farm = device_with(Settings { qos_minus_one_names: is_allowed, ..settings() });
        let watcher = farm.watch("#");
        for id in 1..=3 {
            farm.play(A, &format!("> 07 0A 00 00 00 01 '{id}'\n< 07 0B 00 0{id} 00 01 00"));
        }
        farm.play(A, "> 0C 0C 60 00 03 00 00 'abc' 'hi'\n> 02 16\n< 02 17");
        let expected: &[&str] = if is_allowed { &["abc hi q0"] } else { &[] };
        assert_eq!(farm.heard(watcher), expected);
    }
}

/// PUBACK is known by its TopicId too, and a repeated PUBLISH of QoS 2 by DUP.
#[test]
fn cc_mqttsn_finds_its_topic_id_in_puback_and_dup_in_repetitions() {
    let mut farm = device(Quirks::default());
    farm.play(A, "> 08 0C 21 00 05 00 01 '1'\n< 07 0D 00 05 00 01 00");
    subscribe(&mut farm, Q2);
    farm.publish("a/x", "2", Q2);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 40 00 01 {m} '2'");
    farm.pass(11_500);
    farm.play_on(A, &mut known, "< 08 0C C0 00 01 {m} '2'\n> 04 0F {m}\n< 04 10 {m}\n> 04 0E {m}");
}
