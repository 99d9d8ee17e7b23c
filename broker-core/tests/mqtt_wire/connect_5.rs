//! CONNECT of MQTT 5.0, and what is answered to it at once.

use broker_core::api::{ConnAck, Outgoing};
use broker_core::mqtt::{PacketType, Sent, Settings, Versions};
use broker_core::reason::ReasonCode;

use crate::support::{CONNACK, Wire, connects, framed, greets, octets};

/// A CONNECT of level 5 without reason strings in answers: flags and keep alive, further
/// properties, and the fields behind them.
fn connect(flags: &str, properties: &str, fields: &str) -> String {
    let len = 2 + octets(properties).len();
    framed("10", &format!("00 04 4D 51 54 54 05 {flags} {len:02X} 17 00 {properties} {fields}"))
}

/// The CONNECT is refused with this reason.
fn refused(input: &str, reason: u8) {
    refused_by(Settings::default(), input, reason);
}

fn refused_by(settings: Settings, input: &str, reason: u8) {
    greets(settings, input, Some(reason), &format!("20 03 00 {reason:02X} 00"));
}

/// The CONNACK of an accepted client: session present, what is said to this client, what is said to
/// all.
fn connack(session_present: &str, properties: &str) -> String {
    let properties = format!("{properties} 21 00 64 22 00 0A 27 00 10 00 00");
    let len = octets(&properties).len();
    framed("20", &format!("{session_present} 00 {len:02X} {properties}"))
}

const NO_WORDS: &str = "[RequestProblemInformation(0)]";

/// What is heard, but for the property that all these tests set.
fn hears(input: &str, expect: &str) {
    connects(Settings::default(), input, expect);
}

/// [MQTT5-2.2.2-1], [MQTT5-3.1.2-4], [MQTT5-3.1.3-3], [MQTT5-3.1.3-5]
#[test]
fn no_properties_are_a_length_of_zero() {
    let input = framed("10", "00 04 4D 51 54 54 05 02 00 3C 00 00 01 61");
    hears(&input, "MQTT 5.0 'a' clean silence 90s");
    let input = framed("10", "00 04 4D 51 54 54 05 00 00 00 00 00 01 61");
    hears(&input, "MQTT 5.0 'a'");
}

/// [MQTT5-3.3.4-9], [MQTT5-4.9.0-1]
#[test]
fn properties_say_how_to_treat_the_client() {
    for (properties, expect) in [
        (
            "11 00 00 00 05",
            "MQTT 5.0 'a' expiry 5 [RequestProblemInformation(0), SessionExpiryInterval(5)]",
        ),
        (
            "11 FF FF FF FF",
            "MQTT 5.0 'a' expiry max [RequestProblemInformation(0), SessionExpiryInterval(4294967295)]",
        ),
        ("21 00 03", "MQTT 5.0 'a' window 3 [RequestProblemInformation(0), ReceiveMaximum(3)]"),
        ("21 FF FF", "MQTT 5.0 'a' [RequestProblemInformation(0), ReceiveMaximum(65535)]"),
        ("27 00 00 00 01", "MQTT 5.0 'a' [RequestProblemInformation(0), MaximumPacketSize(1)]"),
        (
            "22 00 09 19 01",
            "MQTT 5.0 'a' [RequestProblemInformation(0), TopicAliasMaximum(9), RequestResponseInformation(1)]",
        ),
        (
            "26 00 01 6B 00 01 76 26 00 01 6B 00 01 77",
            "MQTT 5.0 'a' [RequestProblemInformation(0), UserProperty(\"k\", \"v\"), UserProperty(\"k\", \"w\")]",
        ),
    ] {
        hears(&connect("00 00 00", properties, "00 01 61"), expect);
    }
}

/// [MQTT5-3.1.2-20], [MQTT5-3.1.2-22], [MQTT5-3.2.2-22]
#[test]
fn silence_is_tolerated_for_one_and_a_half_keep_alives() {
    hears(
        &connect("02 00 0A", "", "00 01 61"),
        &format!("MQTT 5.0 'a' clean silence 15s {NO_WORDS}"),
    );
    hears(&connect("02 00 00", "", "00 01 61"), &format!("MQTT 5.0 'a' clean {NO_WORDS}"));
}

/// [MQTT5-3.1.2-21], [MQTT5-3.2.2-21]
#[test]
fn the_server_can_set_a_shorter_keep_alive() {
    let settings = Settings { keep_alive_max_s: 20.try_into().ok(), ..Settings::default() };
    for (asked, silence, told) in [
        ("00 0A", "15s", ""),
        ("00 14", "30s", ""),
        ("00 15", "30s", "13 00 14"),
        ("00 00", "30s", "13 00 14"),
    ] {
        let mut wire = Wire::with(settings.clone());
        let outcome = wire.feed(&octets(&connect(&format!("02 {asked}"), "", "00 01 61")));
        assert_eq!(outcome.heard, [format!("MQTT 5.0 'a' clean silence {silence} {NO_WORDS}")]);
        let _ = wire.accept();
        assert_eq!(wire.take_said(), connack("00", told));
    }
}

/// [MQTT5-3.1.0-1], [MQTT5-3.1.2-1]
#[test]
fn what_is_not_recognisable_as_mqtt_5_gets_no_answer() {
    for name in ["00 04 6D 71 74 74", "00 05 4D 51 54 54 00"] {
        let input = framed("10", &format!("{name} 05 02 00 3C 00 00 01 61"));
        greets(Settings::default(), &input, Some(0x84), "");
    }
    // AUTH is no beginning either.
    greets(Settings::default(), "F0 00", Some(0x82), "");
}

/// [MQTT5-3.1.2-2]
#[test]
fn a_later_version_is_answered_in_the_form_that_all_understand() {
    let input = framed("10", "00 04 4D 51 54 54 06 02 00 3C 00 00 01 61");
    greets(Settings::default(), &input, Some(0x84), "20 02 00 01");
}

/// [MQTT5-2.1.3-1], [MQTT5-3.1.4-1], [MQTT5-4.13.1-1]
#[test]
fn the_flags_of_connect_are_zero() {
    for flags in 1..=0x0F {
        let body = "00 04 4D 51 54 54 05 02 00 3C 02 17 00 00 01 61";
        let first = format!("{:02X}", 0x10 | flags);
        let mut wire = Wire::new();
        let outcome = wire.feed(&octets(&framed(&first, body)));
        assert_eq!(outcome.violation.map(|v| v.reason()), Some(ReasonCode::MalformedPacket));
        // The properties had not been looked at, so it is told in words.
        assert!(wire.take_said().contains("00 81 "), "{first}");
    }
}

/// [MQTT5-1.5.5-1]
#[test]
fn the_remaining_length_is_in_its_shortest_form() {
    let mut wire = Wire::new();
    let outcome = wire.feed(&octets("10 90 00 00 04 4D 51 54 54 05 02 00 3C 02 17 00 00 01 63"));
    assert_eq!(outcome.violation.map(|v| v.reason()), Some(ReasonCode::MalformedPacket));
}

/// [MQTT5-3.1.2-3]
#[test]
fn the_reserved_flag_is_malformed() {
    let mut wire = Wire::new();
    let outcome = wire.feed(&octets(&connect("03 00 00", "", "00 01 61")));
    assert_eq!(outcome.violation.map(|v| v.reason()), Some(ReasonCode::MalformedPacket));
    assert!(wire.take_said().contains("00 81 "));
}

/// [MQTT5-3.1.2-9], [MQTT5-3.1.2-11], [MQTT5-3.1.2-12], [MQTT5-3.1.2-13]
#[test]
fn will_flags_go_together() {
    let is_malformed = |flags: &str, fields: &str| {
        let mut wire = Wire::new();
        let outcome = wire.feed(&octets(&connect(flags, "", fields)));
        assert_eq!(outcome.violation.map(|v| v.reason()), Some(ReasonCode::MalformedPacket));
        assert!(wire.take_said().starts_with("20 "), "{flags}");
    };
    for flags in ["0A", "12", "1A", "22", "2A", "32"] {
        is_malformed(&format!("{flags} 00 00"), "00 01 61");
    }
    is_malformed("1E 00 00", "00 01 61 00 00 01 74 00 01 6D");
    // Properties, topic or payload are missing.
    is_malformed("06 00 00", "00 01 61");
    is_malformed("06 00 00", "00 01 61 00");
    is_malformed("06 00 00", "00 01 61 00 00 01 74");
}

/// [MQTT5-3.1.2-14], [MQTT5-3.1.2-15], [MQTT5-3.1.3-1], [MQTT5-3.1.3-10]
#[test]
fn a_will_is_heard_as_it_was_given() {
    for (flags, will, expect) in [
        ("06", "00 00 01 74 00 01 6D", "will(t \"m\" q0)"),
        ("36", "00 00 01 74 00 01 6D", "will(t \"m\" q2 retain)"),
        (
            "06",
            "05 18 00 00 00 05 00 01 74 00 00",
            "will(t \"\" q0 delay 5 [WillDelayInterval(5)])",
        ),
        (
            "06",
            "0E 26 00 01 62 00 01 31 26 00 01 61 00 01 32 00 01 74 00 00",
            "will(t \"\" q0 [UserProperty(\"b\", \"1\"), UserProperty(\"a\", \"2\")])",
        ),
    ] {
        let input = connect(&format!("{flags} 00 00"), "", &format!("00 01 61 {will}"));
        hears(&input, &format!("MQTT 5.0 'a' clean {expect} {NO_WORDS}"));
    }
    hears(
        &connect("EE 00 0A", "", "00 01 61 00 00 02 77 74 00 02 77 6D 00 01 75 00 01 70"),
        &format!(
            "MQTT 5.0 'a' clean silence 15s will(wt \"wm\" q1 retain) user 'u' password 70 {NO_WORDS}"
        ),
    );
}

/// [MQTT5-3.1.3-11], [MQTT5-4.7.0-1], [MQTT5-4.7.3-1], [MQTT5-4.7.3-2]
#[test]
fn a_will_has_a_topic_to_publish_to() {
    for (topic, reason) in [
        ("00 00", 0x82),
        ("00 01 2B", 0x90),
        ("00 01 23", 0x90),
        ("00 01 00", 0x81),
        ("00 01 FF", 0x81),
    ] {
        let mut wire = Wire::new();
        let fields = format!("00 01 61 00 {topic} 00 01 6D");
        let outcome = wire.feed(&octets(&connect("06 00 00", "", &fields)));
        assert_eq!(outcome.violation.map(|v| v.reason() as u8), Some(reason), "{topic}");
    }
}

/// [MQTT5-3.1.2-16], [MQTT5-3.1.2-17], [MQTT5-3.1.2-18], [MQTT5-3.1.2-19]
#[test]
fn user_name_and_password_are_there_if_the_flags_say_so() {
    let hears = |flags, fields, expect: &str| {
        hears(&connect(flags, "", fields), &format!("MQTT 5.0 'a' clean {expect} {NO_WORDS}"));
    };
    hears("82 00 00", "00 01 61 00 01 75", "user 'u'");
    hears("C2 00 00", "00 01 61 00 01 75 00 02 00 FF", "user 'u' password 00 FF");
    // A password alone is a token.
    hears("42 00 00", "00 01 61 00 01 70", "password 70");
    for (flags, fields) in [
        ("82 00 00", "00 01 61"),
        ("C2 00 00", "00 01 61 00 01 75"),
        ("42 00 00", "00 01 61"),
        ("02 00 00", "00 01 61 00 01 75"),
        ("82 00 00", "00 01 61 00 01 75 00 01 70"),
    ] {
        let mut wire = Wire::new();
        let outcome = wire.feed(&octets(&connect(flags, "", fields)));
        assert_eq!(outcome.violation.map(|v| v.reason() as u8), Some(0x81), "{flags} {fields}");
    }
}

/// [MQTT5-1.5.4-1], [MQTT5-1.5.4-2], [MQTT5-1.5.4-3], [MQTT5-3.1.3-4], [MQTT5-3.1.3-12]
#[test]
fn strings_are_well_formed_utf_8_without_nul() {
    for text in ["00 01 FF", "00 02 C0 80", "00 03 ED A0 80", "00 04 F4 90 80 80", "00 03 61 00 62"]
    {
        for (flags, fields) in
            [("02 00 00", text.to_owned()), ("82 00 00", format!("00 01 61 {text}"))]
        {
            let mut wire = Wire::new();
            let outcome = wire.feed(&octets(&connect(flags, "", &fields)));
            assert_eq!(outcome.violation.map(|v| v.reason() as u8), Some(0x81), "{fields}");
        }
    }
    hears(
        &connect("02 00 00", "", "00 03 EF BB BF"),
        &format!("MQTT 5.0 '\u{FEFF}' clean {NO_WORDS}"),
    );
}

/// [MQTT5-3.1.3-6], [MQTT5-3.1.3-7], [MQTT5-3.2.2-16]
#[test]
fn an_empty_identifier_is_chosen_by_the_server_and_told() {
    for (flags, expect) in [("00 00 00", "MQTT 5.0 ''"), ("02 00 00", "MQTT 5.0 '' clean")] {
        let mut wire = Wire::new();
        let outcome = wire.feed(&octets(&connect(flags, "", "00 00")));
        assert_eq!(outcome.heard, [format!("{expect} {NO_WORDS}")]);
        let _ = wire.send(Outgoing::ConnAck(ConnAck { assigned_client_id: Some("x1"), ..CONNACK }));
        assert_eq!(wire.take_said(), connack("00", "12 00 02 78 31"));
    }
}

/// [MQTT5-3.1.3-8]
#[test]
fn an_identifier_that_is_too_long_is_refused() {
    let settings = Settings { client_id_bytes_max: 3, ..Settings::default() };
    greets(settings.clone(), &connect("02 00 00", "", "00 03 61 62 63"), None, "");
    refused_by(settings, &connect("02 00 00", "", "00 04 61 62 63 64"), 0x85);
}

/// [MQTT5-4.12.0-1], [MQTT5-4.12.0-4]
#[test]
fn there_is_no_authentication_method() {
    refused(&connect("02 00 00", "15 00 01 58", "00 01 61"), 0x8C);
    refused(&connect("02 00 00", "15 00 01 58 16 00 01 00", "00 01 61"), 0x8C);
    // Data without a method is an error of its own.
    let mut wire = Wire::new();
    let outcome = wire.feed(&octets(&connect("02 00 00", "16 00 01 00", "00 01 61")));
    assert_eq!(outcome.violation.map(|v| v.reason() as u8), Some(0x82));
}

/// [MQTT5-3.1.4-5], [MQTT5-3.2.0-1], [MQTT5-3.2.0-2], [MQTT5-3.2.2-1]
#[test]
fn connack_says_what_the_client_may_do() {
    let mut wire = Wire::with(Settings {
        receive_maximum: u16::MAX,
        topic_alias_maximum: 0,
        packet_bytes_max: 0x0102_0304,
        ..Settings::default()
    });
    wire.feed(&octets(&connect("00 00 00", "11 00 00 00 05", "00 01 61")));
    let connack = ConnAck { session_present: true, session_expiry_s: 5, ..CONNACK };
    // Nothing before it
    assert_eq!(wire.send(Outgoing::Pong), Sent::Nothing);
    assert_eq!(wire.send(Outgoing::ConnAck(connack)), Sent::Packet(PacketType::ConnAck));
    assert_eq!(wire.take_said(), "20 08 01 00 05 27 01 02 03 04");
    // And no second one
    assert_eq!(wire.send(Outgoing::ConnAck(connack)), Sent::Nothing);
    assert_eq!(wire.take_said(), "");
}

#[test]
fn a_session_expiry_is_told_if_it_is_not_what_was_asked_for() {
    for (asked, told) in [("FF FF FF FF", "11 00 00 0E 10"), ("00 00 0E 10", "")] {
        let mut wire = Wire::new();
        wire.feed(&octets(&connect("00 00 00", &format!("11 {asked}"), "00 01 61")));
        let _ = wire.send(Outgoing::ConnAck(ConnAck { session_expiry_s: 3_600, ..CONNACK }));
        assert_eq!(wire.take_said(), connack("00", told));
    }
}

/// [MQTT5-3.1.4-2], [MQTT5-3.1.4-6], [MQTT5-3.2.2-6], [MQTT5-3.2.2-7], [MQTT5-4.13.2-1]
#[test]
fn a_refusal_is_the_end() {
    let mut wire = Wire::new();
    wire.feed(&octets(&connect("00 00 00", "", "00 01 61")));
    let refusal = ConnAck { reason: ReasonCode::NotAuthorized, session_present: true, ..CONNACK };
    assert_eq!(wire.send(Outgoing::ConnAck(refusal)), Sent::Packet(PacketType::ConnAck));
    assert_eq!(wire.take_said(), "20 03 00 87 00");
    assert!(wire.conn.has_ended());
    assert_eq!(wire.feed(&octets("C0 00")).used, 0);
}

/// [MQTT5-3.1.2-28]
#[test]
fn there_is_no_response_information() {
    for asked in ["19 00", "19 01"] {
        let mut wire = Wire::new();
        wire.feed(&octets(&connect("02 00 00", asked, "00 01 61")));
        let _ = wire.accept();
        assert_eq!(wire.take_said(), connack("00", ""));
    }
}

/// [MQTT5-3.1.2-24], [MQTT5-3.2.2-19], [MQTT5-3.2.2-20]
#[test]
fn a_client_that_takes_only_small_packets_is_told_in_small_packets() {
    let too_long = "15 00 01 58";
    for (max, answer) in [
        // Words, unless they do not fit
        (
            "00 00 00 2A",
            "20 28 00 8C 25 1F 00 22 43 4F 4E 4E 45 43 54 3A 20 62 61 64 20 61 75 74 68 65 6E 74 69 63 \
             61 74 69 6F 6E 20 6D 65 74 68 6F 64",
        ),
        ("00 00 00 29", "20 03 00 8C 00"),
        ("00 00 00 05", "20 03 00 8C 00"),
        ("00 00 00 04", ""),
    ] {
        let properties = format!("27 {max} {too_long}");
        let len = octets(&properties).len();
        let body = format!("00 04 4D 51 54 54 05 02 00 00 {len:02X} {properties} 00 01 61");
        greets(Settings::default(), &framed("10", &body), Some(0x8C), answer);
    }
}

/// [MQTT5-3.2.2-15]
#[test]
fn a_connect_that_is_too_large_is_refused_before_it_is_whole() {
    let settings = || Settings { connect_packet_bytes_max: 50, ..Settings::default() };
    for (input, answer) in [
        ("10 31 00 04 4D 51 54 54 05", "20 03 00 95 00"),
        // Not known yet, or another version, or nonsense
        ("10 31", ""),
        ("10 31 00 04 4D 51 54 54", ""),
        ("10 31 00 04 4D 51 54 54 04 02", ""),
        ("10 31 FF FF FF FF FF FF FF FF", ""),
    ] {
        greets(settings(), input, Some(0x95), answer);
    }
    let only_3 = Versions { mqtt5: false, ..Versions::ALL };
    let settings = Settings { versions: only_3, ..settings() };
    greets(settings, "10 31 00 04 4D 51 54 54 05", Some(0x95), "");
}

/// A client that cannot be told that it is connected
#[test]
fn a_connack_that_is_too_large_is_a_refusal() {
    for (max, answer) in
        [("00 00 00 0F", "20 03 00 95 00"), ("00 00 00 05", "20 03 00 95 00"), ("00 00 00 04", "")]
    {
        let mut wire = Wire::new();
        wire.feed(&octets(&connect("02 00 00", &format!("27 {max}"), "00 01 61")));
        assert_eq!(wire.accept(), Sent::TooLarge(PacketType::ConnAck));
        assert_eq!(wire.take_said(), answer);
        assert!(wire.conn.has_ended());
    }
}

#[test]
fn a_connect_that_ends_early_is_malformed() {
    let body = octets(
        "00 04 4D 51 54 54 05 EE 00 0A  02 17 00  00 01 61  05 18 00 00 00 05 00 02 77 74  00 02 77 6D \
         00 01 75  00 01 70",
    );
    for len in 0..body.len() {
        let mut wire = Wire::new();
        let outcome = wire.feed(&crate::support::packet(0x10, &body[..len]));
        assert_eq!(outcome.violation.map(|v| v.reason() as u8), Some(0x81), "{len}");
        // It is answered once the version is known.
        assert_eq!(wire.take_said().starts_with("20 "), len >= 7, "{len}");
    }
}
