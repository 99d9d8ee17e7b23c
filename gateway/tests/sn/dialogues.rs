//! The conversations of section 19 of the specification reference, octet by octet.

use mqtt_sn_gw::sn::{Network, Settings};

use crate::farm::{A, Farm, Q0, Q1, Q2, settings};

const CONNECT: &str = "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00\n";

#[track_caller]
fn play(farm: &mut Farm, script: &str) {
    farm.play(A, script);
}

fn connected() -> Farm {
    let mut farm = Farm::new();
    play(&mut farm, CONNECT);
    farm
}

/// SN-046, SN-055, SN-060, SN-084, SN-025
#[test]
fn connect_register_publish_ping_disconnect() {
    let mut farm = Farm::new();
    let watcher = farm.watch("a/b/c");
    play(
        &mut farm,
        "> 0A 04 04 01 00 3C 'dev1'
         < 03 05 00
         > 0B 0A 00 00 00 01 'a/b/c'
         < 07 0B 00 01 00 01 00
         > 09 0C 20 00 01 00 02 'hi'
         < 07 0D 00 01 00 02 00
         > 02 16
         < 02 17
         > 02 18
         < 02 18",
    );
    assert_eq!(farm.heard(watcher), ["a/b/c hi q1"]);
}

/// SN-046, SN-054, SN-024
#[test]
fn a_will_set_at_connect_is_changed_and_deleted() {
    let mut farm = Farm::new();
    play(
        &mut farm,
        "> 0A 04 0C 01 00 3C 'dev1'
         < 02 06
         > 09 07 30 'w/dev1'
         < 02 08
         > 06 09 'gone'
         < 03 05 00
         > 05 1C 'bye'
         < 03 1D 00
         > 02 1A
         < 03 1B 00",
    );
}

/// SN-052
#[test]
fn an_empty_will_topic_deletes_the_will_while_connecting() {
    let mut farm = Farm::new();
    play(&mut farm, "> 0A 04 08 01 00 3C 'dev1'\n< 02 06\n> 02 07\n< 03 05 00");
}

/// SN-060
#[test]
fn qos_2_from_a_client_with_lost_answers_is_delivered_once() {
    let mut farm = connected();
    let watcher = farm.watch("#");
    play(
        &mut farm,
        "> 0B 0A 00 00 00 01 'a/b/c'
         < 07 0B 00 01 00 01 00
         > 09 0C 40 00 01 00 03 'hi'
         < 04 0F 00 03
         > 09 0C C0 00 01 00 03 'hi'
         < 04 0F 00 03
         > 04 10 00 03
         < 04 0E 00 03
         > 04 10 00 03
         < 04 0E 00 03",
    );
    assert_eq!(farm.heard(watcher), ["a/b/c hi q2"]);
}

/// SN-070, SN-074, SN-076
#[test]
fn subscribe_by_name_with_a_retained_message_and_a_delivery_of_qos_2() {
    let mut farm = connected();
    farm.publish_as("a/b/c", b"old", Q1, true);
    play(
        &mut farm,
        "> 0A 12 40 00 04 'a/b/c'
         < 08 13 40 00 01 00 04 00
         < 0A 0C 30 00 01 {m} 'old'
         > 07 0D 00 01 {m} 00",
    );
    farm.publish("a/b/c", "new", Q2);
    play(
        &mut farm,
        "< 0A 0C 40 00 01 {m} 'new'
         > 04 0F {m}
         < 04 10 {m}
         > 04 0E {m}
         > 0A 14 00 00 05 'a/b/c'
         < 04 15 00 05",
    );
}

/// SN-073, SN-077, SN-079
#[test]
fn a_wildcard_subscription_registers_each_name_before_its_first_message() {
    let mut farm = connected();
    play(&mut farm, "> 08 12 20 00 06 'a/#'\n< 08 13 20 00 00 00 06 00");
    farm.publish("a/x", "1", Q1);
    play(
        &mut farm,
        "< 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00",
    );
    farm.publish("a/y", "2", Q1);
    play(&mut farm, "< 09 0A 00 02 {r} 'a/y'\n> 07 0B 00 02 {r} 03");
    farm.publish("a/y", "3", Q1);
    farm.publish("a/x", "4", Q1);
    play(&mut farm, "< 08 0C 20 00 01 {m} '4'\n> 07 0D 00 01 {m} 00");
}

/// SN-061, SN-080, SN-081
#[test]
fn ids_unknown_to_the_receiver_are_told_and_corrected() {
    let mut farm = connected();
    play(
        &mut farm,
        "> 09 0C 20 00 42 00 07 'hi'
         < 07 0D 00 42 00 07 02
         > 0B 0A 00 00 00 08 'a/b/c'
         < 07 0B 00 01 00 08 00
         > 09 0C 20 00 01 00 09 'hi'
         < 07 0D 00 01 00 09 00
         > 08 12 20 00 0A 'a/x'
         < 08 13 20 00 02 00 0A 00",
    );
    farm.publish("a/x", "2", Q1);
    play(
        &mut farm,
        "< 08 0C 20 00 02 {m} '2'
         > 07 0D 00 02 {m} 02
         < 09 0A 00 02 {r} 'a/x'
         > 07 0B 00 02 {r} 00
         < 08 0C 20 00 02 {m} '2'
         > 07 0D 00 02 {m} 00",
    );
    // A second refusal drops the message.
    farm.publish("a/x", "3", Q1);
    play(
        &mut farm,
        "< 08 0C 20 00 02 {m} '3'
         > 07 0D 00 02 {m} 02
         < 09 0A 00 02 {r} 'a/x'
         > 07 0B 00 02 {r} 00
         < 08 0C 20 00 02 {m} '3'
         > 07 0D 00 02 {m} 02",
    );
}

/// SN-080, SN-081
#[test]
fn a_qos_0_message_under_an_unknown_id_is_sent_once_more() {
    let mut farm = connected();
    play(&mut farm, "> 08 12 00 00 0A 'a/x'\n< 08 13 00 00 01 00 0A 00");
    farm.publish("a/x", "2", Q0);
    play(
        &mut farm,
        "< 08 0C 00 00 01 00 00 '2'
         > 07 0D 00 01 00 00 02
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 00 00 01 00 00 '2'",
    );
}

/// SN-093, SN-095, SN-096, SN-097, SN-100
#[test]
fn a_sleep_cycle() {
    let mut farm = connected();
    play(
        &mut farm,
        "> 08 12 20 00 0A 'a/x'
         < 08 13 20 00 01 00 0A 00
         > 08 12 20 00 0B 'a/#'
         < 08 13 20 00 00 00 0B 00
         > 04 18 01 2C
         < 02 18",
    );
    farm.publish("a/x", "3", Q1);
    farm.publish("a/z", "4", Q0);
    play(
        &mut farm,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 {m} '3'
         > 07 0D 00 01 {m} 00
         < 09 0A 00 02 {r} 'a/z'
         > 07 0B 00 02 {r} 00
         < 08 0C 00 00 02 00 00 '4'
         < 02 17
         > 06 16 'dev1'
         < 02 17
         > 04 18 02 58
         < 02 18
         > 0A 04 00 01 00 3C 'dev1'
         < 03 05 00",
    );
    farm.publish("a/x", "5", Q1);
    play(
        &mut farm,
        "< 09 0A 00 01 {r} 'a/x'   -- a new connection: the name is told once more
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '5'
         > 07 0D 00 01 {m} 00",
    );
}

/// SN-065, SN-066, SN-067, SN-068, SN-069
#[test]
fn predefined_ids_short_names_and_qos_minus_one() {
    let mut farm = connected();
    let watcher = farm.watch("#");
    play(&mut farm, "> 07 12 21 00 0A 00 05\n< 08 13 20 00 05 00 0A 00");
    farm.publish("a/predefined", "hi", Q1);
    play(&mut farm, "< 09 0C 21 00 05 {m} 'hi'\n> 07 0D 00 05 {m} 00");
    play(&mut farm, "> 07 12 02 00 0B 'xy'\n< 08 13 00 'xy' 00 0B 00");
    farm.publish("xy", "hi", Q0);
    play(
        &mut farm,
        "< 09 0C 02 'xy' 00 00 'hi'
         > 09 0C 61 00 05 00 00 'q1'
         < 09 0C 01 00 05 00 00 'q1'
         > 09 0C 62 'xz' 00 00 'q2'
         > 09 0C 21 00 09 00 0C 'hi'
         < 07 0D 00 09 00 0C 02",
    );
    assert_eq!(
        farm.heard(watcher),
        ["a/predefined hi q1", "xy hi q0", "a/predefined q1 q0", "xz q2 q0"]
    );
}

/// SN-028, SN-029
#[test]
fn through_a_forwarder() {
    let forwarders =
        vec![Network { address: "192.0.2.1".parse().expect("an address"), prefix_len: 32 }];
    let mut farm = Farm::with(Settings { forwarders, ..settings() });
    play(
        &mut farm,
        "> 05 FE 00 'N1' 0A 04 04 01 00 3C 'dev1'
         < 05 FE 00 'N1' 03 05 00
         > 05 FE 00 'N1' 0A 12 20 00 01 'a/b/c'
         < 05 FE 00 'N1' 08 13 20 00 01 00 01 00
         > 05 FE 00 'N2' 0A 04 04 01 00 3C 'dev2'
         < 05 FE 00 'N2' 03 05 00",
    );
    farm.publish("a/b/c", "x", Q1);
    play(
        &mut farm,
        "< 05 FE 00 'N1' 08 0C 20 00 01 {m} 'x'
         > 05 FE 00 'N1' 07 0D 00 01 {m} 00",
    );
}

/// SN-042, SN-031
#[test]
fn discovery() {
    let mut farm = Farm::with(Settings { advertise_s: 900, ..settings() });
    assert_eq!(farm.received("*"), ["05 00 01 03 84"]);
    let group = "225.1.1.1:1883";
    farm.send_to_group(A, group, &[0x03, 0x01, 0x00]);
    assert_eq!((farm.received(group), farm.received(A)), (vec!["03 02 01".to_owned()], vec![]));
    play(&mut farm, "> 03 01 01\n< 03 02 01");
    farm.pass(900_010);
    assert_eq!(farm.received("*"), ["05 00 01 03 84"]);
}

/// SN-026, SN-027
#[test]
fn after_a_restart_of_the_gateway_the_client_is_told_to_connect() {
    let mut farm = Farm::new();
    play(
        &mut farm,
        "> 09 0C 20 00 01 00 0D 'hi'
         < 02 18
         > 0A 04 00 01 00 3C 'dev1'
         < 03 05 00",
    );
}
