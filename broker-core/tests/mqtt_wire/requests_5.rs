//! What a client of MQTT 5.0 sends beside CONNECT and PUBLISH.

use broker_core::mqtt::Settings;

use crate::support::{Version::V5, Wire, closes, closes_on, connect_of, framed, hears, octets};

/// [MQTT5-2.2.1-5], [MQTT5-3.4.2-1], [MQTT5-3.5.2-1], [MQTT5-3.6.2-1], [MQTT5-3.7.2-1]
#[test]
fn acknowledgements_end_where_there_is_nothing_more_to_say() {
    for (first, name) in [("40", "PUBACK"), ("50", "PUBREC"), ("62", "PUBREL"), ("70", "PUBCOMP")] {
        let listed: &[u8] = match name {
            "PUBACK" | "PUBREC" => &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
            _ => &[0x00, 0x92],
        };
        hears(V5, &framed(first, "00 07"), &format!("{name} 7 00"));
        for reason in 0..=u8::MAX {
            let short = framed(first, &format!("00 07 {reason:02X}"));
            let long = framed(first, &format!("00 07 {reason:02X} 00"));
            if listed.contains(&reason) {
                let expect = format!("{name} 7 {reason:02X}");
                hears(V5, &short, &expect);
                hears(V5, &long, &expect);
            } else {
                closes(V5, &short, 0x82);
                closes(V5, &long, 0x82);
            }
        }
        // Words and user properties are for people, and not handed on.
        let words = "00 07 00 11 1F 00 02 6F 68 26 00 01 6B 00 01 76 26 00 00 00 00";
        hears(V5, &framed(first, words), &format!("{name} 7 00"));
        closes(V5, &framed(first, ""), 0x81);
        closes(V5, &framed(first, "07"), 0x81);
        closes(V5, &framed(first, "00 00"), 0x82);
        closes(V5, &framed(first, "00 07 00 01"), 0x81);
        closes(V5, &framed(first, "00 07 00 00 00"), 0x81);
    }
}

/// [MQTT5-2.1.3-1], [MQTT5-3.6.1-1], [MQTT5-3.8.1-1], [MQTT5-3.10.1-1], [MQTT5-3.14.1-1],
/// [MQTT5-3.15.1-1]
#[test]
fn reserved_flags_have_their_value() {
    for (kind, good, body) in [
        (0x40, 0, "00 07"),
        (0x50, 0, "00 07"),
        (0x60, 2, "00 07"),
        (0x70, 0, "00 07"),
        (0x80, 2, "00 07 00 00 01 61 00"),
        (0xA0, 2, "00 07 00 00 01 61"),
        (0xC0, 0, ""),
        (0xE0, 0, ""),
        (0xF0, 0, ""),
    ] {
        for flags in (0..=0x0F).filter(|flags| *flags != good) {
            closes(V5, &framed(&format!("{:02X}", kind | flags), body), 0x81);
        }
    }
}

/// [MQTT5-1.5.5-1]
#[test]
fn lengths_are_in_their_shortest_form() {
    closes(V5, "C0 80 00", 0x81);
    closes(V5, "C0 80 80 80 80", 0x81);
    // That of the properties
    closes(V5, "30 05 00 01 61 80 00", 0x81);
    closes(V5, &framed("82", "00 07 80 00 00 01 61 00"), 0x81);
    closes(V5, &framed("82", "00 07 FF FF FF FF 7F 00 01 61 00"), 0x81);
    // That of a subscription identifier
    closes(V5, &framed("82", "00 07 03 0B 81 00 00 01 61 00"), 0x81);
}

/// Packets that only servers send
#[test]
fn a_client_is_no_server() {
    for input in ["20 03 00 00 00", "90 04 00 07 00 00", "B0 04 00 07 00 00", "D0 00"] {
        closes(V5, input, 0x82);
    }
    closes(V5, "00 00", 0x81);
}

/// [MQTT5-3.1.0-2]
#[test]
fn a_second_connect_closes() {
    closes(V5, connect_of(V5), 0x82);
}

/// [MQTT5-3.8.4-5]
#[test]
fn a_subscribe_is_heard_filter_by_filter() {
    for (body, expect) in [
        ("00 07 00  00 01 61 00", "SUBSCRIBE 7, a q0"),
        ("00 07 00  00 01 61 01  00 01 23 02", "SUBSCRIBE 7, a q1, # q2"),
        ("00 07 00  00 01 61 2E", "SUBSCRIBE 7, a q2 no-local as-published handling-2"),
        ("00 07 00  00 01 61 10", "SUBSCRIBE 7, a q0 handling-1"),
        ("00 07 00  00 01 61 08", "SUBSCRIBE 7, a q0 as-published"),
        ("00 07 02 0B 01  00 01 61 00", "SUBSCRIBE 7 as 1, a q0"),
        ("00 07 05 0B FF FF FF 7F  00 01 61 00", "SUBSCRIBE 7 as 268435455, a q0"),
        ("00 07 07 26 00 01 6B 00 01 76  00 01 61 00", "SUBSCRIBE 7, a q0"),
        ("00 07 00  00 0A 24 73 68 61 72 65 2F 67 2F 61 01", "SUBSCRIBE 7, $share/g/a q1"),
    ] {
        hears(V5, &framed("82", body), expect);
    }
}

/// [MQTT5-3.8.3-4], [MQTT5-3.8.3-5]
#[test]
fn the_options_of_a_subscription() {
    for octet in 0..=u8::MAX {
        let input = framed("82", &format!("00 07 00 00 01 61 {octet:02X}"));
        let reason = match octet {
            _ if octet & 0xC0 != 0 => 0x81,
            _ if octet & 0x03 == 3 || octet & 0x30 == 0x30 => 0x82,
            _ => {
                let mut wire = Wire::connected(V5);
                assert_eq!(wire.feed(&octets(&input)).heard.len(), 1, "{octet:02X}");
                continue;
            }
        };
        closes(V5, &input, reason);
    }
    closes(V5, &framed("82", "00 07 00 00 01 61"), 0x81);
    // No local on a shared subscription
    closes(V5, &framed("82", "00 07 00 00 0A 24 73 68 61 72 65 2F 67 2F 61 04"), 0x82);
}

/// [MQTT5-3.8.3-1], [MQTT5-3.10.3-1], [MQTT5-4.7.1-1], [MQTT5-4.7.1-2], [MQTT5-4.7.3-1],
/// [MQTT5-4.7.3-2], [MQTT5-4.8.2-1], [MQTT5-4.8.2-2]
#[test]
fn a_topic_filter_is_one() {
    for (filter, reason) in [
        ("00 00", 0x8F),                               // empty
        ("00 02 61 23", 0x8F),                         // a#
        ("00 05 61 2F 23 2F 62", 0x8F),                // a/#/b
        ("00 02 61 2B", 0x8F),                         // a+
        ("00 08 24 73 68 61 72 65 2F 67", 0x8F),       // $share/g
        ("00 09 24 73 68 61 72 65 2F 2F 61", 0x8F),    // $share//a
        ("00 0A 24 73 68 61 72 65 2F 2B 2F 61", 0x8F), // $share/+/a
        ("00 02 61 00", 0x81),                         // U+0000
        ("00 01 FF", 0x81),                            // not UTF-8
    ] {
        closes(V5, &framed("82", &format!("00 07 00 00 01 62 00 {filter} 00")), reason);
        closes(V5, &framed("A2", &format!("00 07 00 00 01 62 {filter}")), reason);
    }
}

/// [MQTT5-2.2.1-3], [MQTT5-3.8.3-2], [MQTT5-3.10.3-2]
#[test]
fn there_is_an_identifier_and_a_filter() {
    closes(V5, &framed("82", "00 07 00"), 0x82);
    closes(V5, &framed("A2", "00 07 00"), 0x82);
    closes(V5, &framed("82", "00 00 00 00 01 61 00"), 0x82);
    closes(V5, &framed("A2", "00 00 00 00 01 61"), 0x82);
    closes(V5, &framed("82", "00 07"), 0x81);
    closes(V5, &framed("A2", "00 07"), 0x81);
}

/// [MQTT5-3.10.4-6]
#[test]
fn an_unsubscribe_is_heard_filter_by_filter() {
    hears(V5, &framed("A2", "00 07 00 00 01 61 00 03 62 2F 23"), "UNSUBSCRIBE 7, a, b/#");
    let body = "00 07 07 26 00 01 6B 00 01 76 00 01 61";
    hears(V5, &framed("A2", body), "UNSUBSCRIBE 7, a");
}

/// [MQTT5-3.12.4-1]
#[test]
fn a_ping_has_no_body() {
    hears(V5, "C0 00", "PINGREQ");
    closes(V5, "C0 01 00", 0x81);
}

/// [MQTT5-3.14.2-1]
#[test]
fn a_disconnect_ends_where_there_is_nothing_more_to_say() {
    hears(V5, "E0 00", "DISCONNECT 00");
    let listed =
        [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    for reason in 0..=u8::MAX {
        let short = format!("E0 01 {reason:02X}");
        let long = format!("E0 02 {reason:02X} 00");
        if listed.contains(&reason) {
            hears(V5, &short, &format!("DISCONNECT {reason:02X}"));
            hears(V5, &long, &format!("DISCONNECT {reason:02X}"));
        } else {
            closes(V5, &short, 0x82);
            closes(V5, &long, 0x82);
        }
    }
    hears(V5, &framed("E0", "00 05 1F 00 02 6F 6B"), "DISCONNECT 00");
    // A server reference is for servers to give.
    closes(V5, &framed("E0", "00 04 1C 00 01 78"), 0x82);
    closes(V5, &framed("E0", "00 00 00"), 0x81);
}

#[test]
fn a_session_that_was_to_end_cannot_be_made_to_stay() {
    let raise = octets(&framed("E0", "00 05 11 00 00 00 01"));
    let same = octets(&framed("E0", "00 05 11 00 00 00 00"));
    let mut wire = Wire::connected(V5);
    closes_on(&mut wire, &raise, 0x82, "expiry 1 after 0");
    let mut wire = Wire::connected(V5);
    assert_eq!(wire.feed(&same).heard, ["DISCONNECT 00 expiry 0"]);
    // One that was to stay may stay longer, or end.
    let connect = framed("10", "00 04 4D 51 54 54 05 02 00 3C 07 17 00 11 00 00 00 05 00 01 63");
    for (input, expect) in [(&raise, "DISCONNECT 00 expiry 1"), (&same, "DISCONNECT 00 expiry 0")] {
        let mut wire = Wire::connected_by(&connect, Settings::default());
        assert_eq!(wire.feed(input).heard, [expect]);
    }
}

/// [MQTT5-3.14.4-1]
#[test]
fn nothing_is_read_behind_disconnect() {
    let mut wire = Wire::connected(V5);
    let outcome = wire.feed(&octets("E0 01 04  30 04 00 01 61 00"));
    assert_eq!(outcome.heard, ["DISCONNECT 04"]);
    assert_eq!((outcome.used, outcome.violation), (3, None));
}

/// [MQTT5-3.1.2-30], [MQTT5-3.15.2-1], [MQTT5-4.12.0-3], [MQTT5-4.12.0-6], [MQTT5-4.12.0-7],
/// [MQTT5-4.12.1-1]
#[test]
fn no_authentication_is_ever_under_way() {
    closes(V5, "F0 00", 0x82);
    closes(V5, &framed("F0", "18 00"), 0x82);
    closes(V5, &framed("F0", "19 04 15 00 01 58"), 0x82);
    closes(V5, &framed("F0", "18 08 15 00 01 58 16 00 01 00"), 0x82);
    // Codes that are not a client's
    closes(V5, &framed("F0", "00 00"), 0x82);
    closes(V5, &framed("F0", "87 00"), 0x82);
    // Malformed is malformed.
    closes(V5, &framed("F0", "18 04 15 00 05 58"), 0x81);
    closes(V5, &framed("F0", "18 02 01 01"), 0x81);
    closes(V5, &framed("F0", "18 00 00"), 0x81);
}

/// [MQTT5-3.2.2-15]
#[test]
fn a_packet_is_refused_by_its_length_before_it_is_there() {
    let settings = Settings { packet_bytes_max: 100, ..Settings::default() };
    let mut wire = Wire::connected_by(connect_of(V5), settings.clone());
    let outcome = wire.feed(&octets("30 62"));
    assert_eq!((outcome.violation, outcome.needed), (None, Some(100)));
    let mut wire = Wire::connected_by(connect_of(V5), settings);
    closes_on(&mut wire, &octets("30 63"), 0x95, "101 octets");
}
