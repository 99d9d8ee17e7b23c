//! MQTT 3.1, where it is not read as 3.1.1.

use broker_core::api::{ConnAck, Outgoing, PacketId};
use broker_core::mqtt::Settings;
use broker_core::reason::ReasonCode;

use crate::support::{
    CONNACK, Version::V31, Wire, closes, connects, framed, greets, hears, octets,
};

fn connect(rest: &str) -> String {
    framed("10", &format!("00 06 4D 51 49 73 64 70 03 {rest}"))
}

#[test]
fn connect_reads_as_in_3_1_1() {
    for (rest, expect) in [
        ("02 00 3C 00 01 61", "MQTT 3.1 'a' clean silence 90s"),
        ("00 00 00 00 01 61", "MQTT 3.1 'a' expiry max"),
        (
            "EE 00 0A 00 01 61 00 02 77 74 00 02 77 6D 00 01 75 00 01 70",
            "MQTT 3.1 'a' clean silence 15s will(wt \"wm\" q1 retain) user 'u' password 70",
        ),
        // More than 23 characters, and others than letters and digits
        (
            "02 00 00 00 18 61 2F 2D 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61",
            "MQTT 3.1 'a/-aaaaaaaaaaaaaaaaaaaaa' clean",
        ),
    ] {
        connects(Settings::default(), &connect(rest), expect);
    }
    // A bridge
    let input = framed("10", "00 06 4D 51 49 73 64 70 83 02 00 00 00 01 62");
    connects(Settings::default(), &input, "MQTT 3.1 'b' clean");
}

#[test]
fn an_empty_identifier_is_refused_and_a_long_one_too() {
    for flags in ["00", "02"] {
        let input = connect(&format!("{flags} 00 00 00 00"));
        greets(Settings::default(), &input, Some(0x85), "20 02 00 02");
    }
    let settings = Settings { client_id_bytes_max: 23, ..Settings::default() };
    let id = "61 ".repeat(24);
    greets(settings, &connect(&format!("02 00 00 00 18 {id}")), Some(0x85), "20 02 00 02");
}

#[test]
fn unused_flags_are_not_looked_at() {
    // The reserved connect flag
    connects(Settings::default(), &connect("03 00 00 00 01 61"), "MQTT 3.1 'a' clean");
    // DUP, QoS and RETAIN in the frame of CONNECT, which libraries with a default QoS set
    for flags in 0..=0x0F {
        let body = "00 06 4D 51 49 73 64 70 03 02 00 00 00 01 61";
        let input = framed(&format!("{:02X}", 0x10 | flags), body);
        connects(Settings::default(), &input, "MQTT 3.1 'a' clean");
    }
    // SUBSCRIBE, UNSUBSCRIBE and PUBREL may be repeated with DUP.
    for flags in 0..=0x0F {
        for (first, body, expect) in [
            (0x40, "00 07", "PUBACK 7 00"),
            (0x50, "00 07", "PUBREC 7 00"),
            (0x60, "00 07", "PUBREL 7 00"),
            (0x70, "00 07", "PUBCOMP 7 00"),
            (0x80, "00 07 00 01 61 01", "SUBSCRIBE 7, a q1"),
            (0xA0, "00 07 00 01 61", "UNSUBSCRIBE 7, a"),
            (0xC0, "", "PINGREQ"),
            (0xE0, "", "DISCONNECT 00"),
        ] {
            hears(V31, &framed(&format!("{:02X}", first | flags), body), expect);
        }
    }
    hears(V31, "38 03 00 01 61", "PUBLISH a \"\" q0 dup");
}

#[test]
fn user_name_and_password_may_be_left_out() {
    connects(Settings::default(), &connect("82 00 00 00 01 61"), "MQTT 3.1 'a' clean");
    connects(Settings::default(), &connect("C2 00 00 00 01 61"), "MQTT 3.1 'a' clean");
    connects(
        Settings::default(),
        &connect("C2 00 00 00 01 61 00 01 75"),
        "MQTT 3.1 'a' clean user 'u'",
    );
    // As a whole, not in part
    greets(Settings::default(), &connect("82 00 00 00 01 61 00"), Some(0x81), "");
    greets(Settings::default(), &connect("42 00 00 00 01 61 00 01 70"), Some(0x82), "");
}

#[test]
fn an_empty_subscribe_passes() {
    hears(V31, "82 02 00 07", "SUBSCRIBE 7");
    hears(V31, "A2 02 00 07", "UNSUBSCRIBE 7");
}

#[test]
fn everything_else_is_as_strict_as_in_3_1_1() {
    for (input, reason) in [
        ("36 05 00 01 61 00 07", 0x81),       // QoS 3
        ("30 02 00 00", 0x82),                // no topic
        ("30 03 00 01 2B", 0x90),             // a wildcard
        ("30 04 00 02 C0 80", 0x81),          // U+0000 in two octets
        ("32 05 00 01 61 00 00", 0x82),       // packet identifier 0
        ("82 06 00 07 00 01 61 03", 0x82),    // QoS 3
        ("82 06 00 07 00 01 61 04", 0x81),    // reserved bits
        ("82 07 00 07 00 02 61 23 00", 0x8F), // a filter that is none
        ("F0 00", 0x81),                      // AUTH
        ("00 00", 0x81),                      // nothing
        ("20 02 00 00", 0x82),                // CONNACK
    ] {
        closes(V31, input, reason);
    }
    let second = connect("02 00 3C 00 01 63");
    closes(V31, &second, 0x82);
}

#[test]
fn connack_does_not_tell_of_a_session() {
    let mut wire = Wire::new();
    wire.feed(&octets(&connect("00 00 00 00 01 61")));
    let _ = wire.send(Outgoing::ConnAck(ConnAck { session_present: true, ..CONNACK }));
    assert_eq!(wire.take_said(), "20 02 00 00");
}

#[test]
fn a_refused_subscription_is_told_the_least_that_can_be_granted() {
    let mut wire = Wire::connected(V31);
    let reasons = &[ReasonCode::GrantedQos2, ReasonCode::NotAuthorized, ReasonCode::GrantedQos1];
    let _ = wire.send(Outgoing::SubAck { id: PacketId(7), token: 9, reasons });
    assert_eq!(wire.take_said(), "90 05 00 07 02 00 01");
}
