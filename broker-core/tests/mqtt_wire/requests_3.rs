//! What a client of MQTT 3.1.1 sends once it is connected.

use broker_core::mqtt::Settings;

use crate::support::{
    ALL,
    Version::{self, V31, V311},
    Wire, closes, closes_on, connect_of, framed, hears, octets, packet,
};

/// [MQTT-2.3.1-5], [MQTT-3.3.2-1]
#[test]
fn a_publish_is_heard_as_it_was_sent() {
    for (input, expect) in [
        ("30 05 00 01 61 68 69", "PUBLISH a \"hi\" q0"),
        ("31 05 00 01 61 68 69", "PUBLISH a \"hi\" q0 retain"),
        ("32 07 00 01 61 00 07 68 69", "PUBLISH a \"hi\" q1 id 7"),
        ("34 07 00 01 61 FF FF 68 69", "PUBLISH a \"hi\" q2 id 65535"),
        ("3A 07 00 01 61 00 07 68 69", "PUBLISH a \"hi\" q1 id 7 dup"),
        ("3D 07 00 01 61 00 07 68 69", "PUBLISH a \"hi\" q2 id 7 retain dup"),
        ("30 03 00 01 61", "PUBLISH a \"\" q0"),
        // What looks like a packet identifier is payload at QoS 0.
        ("30 05 00 01 61 00 00", "PUBLISH a \"\\0\\0\" q0"),
        ("30 08 00 06 24 53 59 53 2F 78", "PUBLISH $SYS/x \"\" q0"),
        ("30 05 00 03 2F 61 2F", "PUBLISH /a/ \"\" q0"),
    ] {
        hears(V311, input, expect);
        hears(V31, input, expect);
    }
}

/// A remaining length in more octets than it needs is no error before 5.0.
#[test]
fn a_length_may_be_long_winded() {
    hears(V311, "C0 80 00", "PINGREQ");
    hears(V31, "C0 80 80 00", "PINGREQ");
    closes(V311, "C0 80 80 80 80", 0x81);
}

/// [MQTT-3.3.1-2], [MQTT-3.3.1-4]
#[test]
fn the_flags_of_publish() {
    // QoS 3, with all that may stand beside it
    for first in ["36", "37", "3E", "3F"] {
        closes(V311, &framed(first, "00 01 61 00 07"), 0x81);
    }
    // DUP at QoS 0: Mosquitto closes too.
    closes(V311, "38 03 00 01 61", 0x81);
    closes(V311, "39 03 00 01 61", 0x81);
}

/// [MQTT-1.5.3-1], [MQTT-1.5.3-2], [MQTT-3.3.2-1], [MQTT-3.3.2-2], [MQTT-4.7.1-1],
/// [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.8.0-1]
#[test]
fn a_topic_name_is_one() {
    for (topic, reason) in [
        ("", 0x81),               // no topic
        ("00", 0x81),             // half a length
        ("00 02 61", 0x81),       // cut off
        ("00 00", 0x82),          // empty
        ("00 01 23", 0x90),       // #
        ("00 03 61 2F 2B", 0x90), // a/+
        ("00 02 61 2B", 0x90),    // a+
        ("00 02 61 00", 0x81),    // U+0000
        ("00 03 ED A0 80", 0x81), // a surrogate
    ] {
        closes(V311, &framed("30", topic), reason);
    }
}

/// [MQTT-4.7.3-3] [MQTT5-4.7.3-3]
#[test]
fn a_topic_name_has_up_to_65535_octets() {
    let name = "n".repeat(65_535);
    for version in ALL {
        let mut body = vec![0xFF, 0xFF];
        body.extend_from_slice(name.as_bytes());
        if version == Version::V5 {
            body.push(0);
        }
        let outcome = Wire::connected(version).feed(&packet(0x30, &body));
        assert_eq!(outcome.heard, [format!("PUBLISH {name} \"\" q0")]);
    }
}

/// [MQTT-2.3.1-1]
#[test]
fn a_packet_identifier_is_never_zero() {
    for input in [
        "32 05 00 01 61 00 00",
        "34 05 00 01 61 00 00",
        "40 02 00 00",
        "50 02 00 00",
        "62 02 00 00",
        "70 02 00 00",
        "82 06 00 00 00 01 61 00",
        "A2 05 00 00 00 01 61",
    ] {
        closes(V311, input, 0x82);
    }
    closes(V311, "32 03 00 01 61", 0x81);
    closes(V311, "32 04 00 01 61 00", 0x81);
}

/// [MQTT-2.3.1-6]
#[test]
fn acknowledgements_say_which_message_they_are_for() {
    for (input, expect) in [
        ("40 02 00 07", "PUBACK 7 00"),
        ("50 02 00 07", "PUBREC 7 00"),
        ("62 02 00 07", "PUBREL 7 00"),
        ("70 02 FF FF", "PUBCOMP 65535 00"),
    ] {
        hears(V311, input, expect);
    }
    for first in ["40", "50", "62", "70"] {
        closes(V311, &framed(first, ""), 0x81);
        closes(V311, &framed(first, "07"), 0x81);
        closes(V311, &framed(first, "00 07 00"), 0x81);
    }
}

/// [MQTT-2.2.2-1], [MQTT-2.2.2-2], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1],
/// [MQTT-3.14.1-1]
#[test]
fn reserved_flags_have_their_value() {
    for (kind, good, body) in [
        (0x40, 0, "00 07"),
        (0x50, 0, "00 07"),
        (0x60, 2, "00 07"),
        (0x70, 0, "00 07"),
        (0x80, 2, "00 07 00 01 61 00"),
        (0xA0, 2, "00 07 00 01 61"),
        (0xC0, 0, ""),
        (0xE0, 0, ""),
    ] {
        for flags in (0..=0x0F).filter(|flags| *flags != good) {
            closes(V311, &framed(&format!("{:02X}", kind | flags), body), 0x81);
        }
    }
}

/// What the first octet rules out is refused without waiting for more of it.
#[test]
fn the_first_octet_is_judged_at_once() {
    for first in [0x00, 0x0F, 0x20, 0x36, 0x38, 0x41, 0x60, 0x90, 0xB0, 0xC1, 0xD0, 0xE1, 0xF0] {
        let mut wire = Wire::connected(V311);
        assert!(wire.feed(&[first]).violation.is_some(), "{first:02X}");
    }
}

/// Packets that only servers send
#[test]
fn a_client_is_no_server() {
    for input in ["20 02 00 00", "90 03 00 07 00", "B0 02 00 07", "D0 00"] {
        closes(V311, input, 0x82);
        closes(V31, input, 0x82);
    }
    // And types that 3.1.1 does not have
    for input in ["00 00", "0F 00", "F0 00", "FF 00"] {
        closes(V311, input, 0x81);
    }
}

/// [MQTT-3.1.0-2]
#[test]
fn a_second_connect_closes() {
    for version in [V31, V311] {
        closes(version, connect_of(version), 0x82);
        closes(version, connect_of(Version::V5), 0x82);
    }
}

/// [MQTT-3.8.4-4], [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.1-3]
#[test]
fn a_subscribe_is_heard_filter_by_filter() {
    for (body, expect) in [
        ("00 07  00 01 61 00", "SUBSCRIBE 7, a q0"),
        ("00 07  00 01 61 01  00 01 23 02", "SUBSCRIBE 7, a q1, # q2"),
        ("FF FF  00 05 2B 2F 61 2F 23 02", "SUBSCRIBE 65535, +/a/# q2"),
        ("00 07  00 0B 24 73 68 61 72 65 2F 67 2F 2B 2F 00", "SUBSCRIBE 7, $share/g/+/ q0"),
    ] {
        hears(V311, &framed("82", body), expect);
    }
}

/// [MQTT-3.8.3-1], [MQTT-3.10.3-1], [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.3-1],
/// [MQTT-4.7.3-2]
#[test]
fn a_topic_filter_is_one() {
    for (filter, reason) in [
        ("00 00", 0x8F),                         // empty
        ("00 02 61 23", 0x8F),                   // a#
        ("00 05 61 2F 23 2F 62", 0x8F),          // a/#/b
        ("00 02 61 2B", 0x8F),                   // a+
        ("00 08 24 73 68 61 72 65 2F 67", 0x8F), // $share/g
        ("00 02 61 00", 0x81),                   // U+0000
        ("00 01 FF", 0x81),                      // not UTF-8
        ("00 09 61", 0x81),                      // cut off
    ] {
        // A good one before it does not help.
        closes(V311, &framed("82", &format!("00 07 00 01 62 00 {filter} 00")), reason);
        closes(V311, &framed("A2", &format!("00 07 00 01 62 {filter}")), reason);
    }
}

/// [MQTT-3.8.3-3], [MQTT-3.10.3-2]
#[test]
fn there_is_at_least_one_filter() {
    closes(V311, "82 02 00 07", 0x82);
    closes(V311, "A2 02 00 07", 0x82);
}

/// [MQTT-3-8.3-4]
#[test]
fn the_octet_behind_a_filter_is_a_qos() {
    for octet in 0..=u8::MAX {
        let input = framed("82", &format!("00 07 00 01 61 {octet:02X}"));
        match octet {
            0..=2 => hears(V311, &input, &format!("SUBSCRIBE 7, a q{octet}")),
            3 => closes(V311, &input, 0x82),
            _ => closes(V311, &input, 0x81),
        }
    }
    // It has to be there.
    closes(V311, &framed("82", "00 07 00 01 61"), 0x81);
}

/// [MQTT-3.10.4-6]
#[test]
fn an_unsubscribe_is_heard_filter_by_filter() {
    hears(V311, &framed("A2", "00 07 00 01 61 00 03 62 2F 23"), "UNSUBSCRIBE 7, a, b/#");
}

/// [MQTT-3.12.4-1]
#[test]
fn a_ping_has_no_body() {
    hears(V311, "C0 00", "PINGREQ");
    closes(V311, "C0 01 00", 0x81);
}

/// [MQTT-3.14.4-2]
#[test]
fn nothing_is_read_behind_disconnect() {
    let mut wire = Wire::connected(V311);
    let outcome = wire.feed(&octets("E0 00  30 03 00 01 61  FF FF"));
    assert_eq!(outcome.heard, ["DISCONNECT 00"]);
    assert_eq!((outcome.used, outcome.violation), (2, None));
    assert!(wire.conn.has_ended() && !wire.conn.is_connected());
    closes(V311, "E0 01 00", 0x81);
}

#[test]
fn a_packet_is_refused_by_its_length_before_it_is_there() {
    let settings = Settings { packet_bytes_max: 100, ..Settings::default() };
    let mut wire = Wire::connected_by(connect_of(V311), settings.clone());
    let outcome = wire.feed(&octets("30 62"));
    assert_eq!((outcome.violation, outcome.needed), (None, Some(100)));
    let mut wire = Wire::connected_by(connect_of(V311), settings);
    closes_on(&mut wire, &octets("30 63"), 0x95, "101 octets");
    // The largest packet that there can be
    let settings = Settings { packet_bytes_max: u32::MAX, ..Settings::default() };
    let mut wire = Wire::connected_by(connect_of(V311), settings);
    let outcome = wire.feed(&octets("30 FF FF FF 7F"));
    assert_eq!((outcome.violation, outcome.needed), (None, Some(268_435_460)));
}
