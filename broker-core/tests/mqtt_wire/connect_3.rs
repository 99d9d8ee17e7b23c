//! CONNECT of MQTT 3.1.1, and what is answered to it at once.

use broker_core::mqtt::{Settings, Versions};

use crate::support::{Wire, connects, framed, greets, octets};

/// A CONNECT of level 4: flags, keep alive and the fields behind them.
fn connect(rest: &str) -> String {
    framed("10", &format!("00 04 4D 51 54 54 04 {rest}"))
}

fn hears(rest: &str, expect: &str) {
    connects(Settings::default(), &connect(rest), expect);
}

/// A CONNECT that closes the connection without CONNACK ([MQTT-3.1.4-1] of 3.1.1).
fn closes(rest: &str, reason: u8) {
    greets(Settings::default(), &connect(rest), Some(reason), "");
}

/// [MQTT-3.1.2-6], [MQTT-3.1.3-3], [MQTT-3.1.3-5]
#[test]
fn a_clean_session_ends_with_its_connection() {
    hears("02 00 3C  00 01 61", "MQTT 3.1.1 'a' clean silence 90s");
    hears(
        "02 00 00  00 17 30 31 32 33 34 35 36 37 38 39 61 62 63 78 79 7A 41 42 43 58 59 5A 5F",
        "MQTT 3.1.1 '0123456789abcxyzABCXYZ_' clean",
    );
}

/// [MQTT-3.1.2-4]
#[test]
fn another_session_outlives_it_for_as_long_as_the_settings_say() {
    hears("00 00 00  00 01 61", "MQTT 3.1.1 'a' expiry max");
    let settings = Settings { session_expiry_s: 3_600, ..Settings::default() };
    connects(settings, &connect("00 00 00  00 01 61"), "MQTT 3.1.1 'a' expiry 3600");
}

/// [MQTT-3.1.2-24]
#[test]
fn silence_is_tolerated_for_one_and_a_half_keep_alives() {
    hears("02 00 01  00 01 61", "MQTT 3.1.1 'a' clean silence 1.5s");
    hears("02 FF FF  00 01 61", "MQTT 3.1.1 'a' clean silence 98302.5s");
    hears("02 00 00  00 01 61", "MQTT 3.1.1 'a' clean");
    // A client of 3.1.1 cannot be told of a shorter one, so it keeps its own.
    let settings = Settings { keep_alive_max_s: 10.try_into().ok(), ..Settings::default() };
    connects(settings, &connect("02 00 3C  00 01 61"), "MQTT 3.1.1 'a' clean silence 90s");
}

/// [MQTT-3.1.0-1]
#[test]
fn the_first_octet_is_that_of_connect_or_the_connection_is_over() {
    for first in 0..=u8::MAX {
        let mut wire = Wire::new();
        let outcome = wire.feed(&[first]);
        let is_over = outcome.violation.is_some();
        assert_eq!(is_over, first >> 4 != 1, "{first:02X}");
        assert_eq!(wire.take_said(), "", "{first:02X}");
    }
    greets(Settings::default(), "C0 00", Some(0x82), "");
}

/// [MQTT-2.2.2-2]
#[test]
fn the_flags_of_connect_are_zero() {
    for flags in 1..=0x0F {
        let input =
            framed(&format!("{:02X}", 0x10 | flags), "00 04 4D 51 54 54 04 02 00 3C 00 01 61");
        greets(Settings::default(), &input, Some(0x81), "");
    }
}

/// [MQTT-3.1.2-1]
#[test]
fn another_protocol_name_closes() {
    for name in ["00 04 6D 71 74 74", "00 00", "00 05 4D 51 54 54 00", "00 06 4D 51 69 73 64 50"] {
        let input = framed("10", &format!("{name} 04 02 00 3C 00 01 61"));
        greets(Settings::default(), &input, Some(0x84), "");
    }
}

/// [MQTT-3.1.2-2], [MQTT-3.2.2-4], [MQTT-3.2.2-5]
#[test]
fn another_level_is_answered_with_1() {
    for (name, levels) in [
        ("00 04 4D 51 54 54", &["00", "01", "02", "03", "06", "7F", "80", "83", "85", "FF"][..]),
        ("00 06 4D 51 49 73 64 70", &["00", "02", "04", "05", "84", "FF"]),
    ] {
        for level in levels {
            // Whatever follows: nobody knows what it would have to be.
            for rest in ["02 00 3C 00 01 61", ""] {
                let input = framed("10", &format!("{name} {level} {rest}"));
                greets(Settings::default(), &input, Some(0x84), "20 02 00 01");
            }
        }
    }
}

/// [MQTT-3.1.2-2]
#[test]
fn a_version_that_is_not_served_is_answered_with_1() {
    let none = Versions { mqtt31: false, mqtt311: false, mqtt5: false };
    let v31 = "10 0F 00 06 4D 51 49 73 64 70 03 02 00 3C 00 01 61";
    let v311 = "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 61";
    let v5 = "10 0E 00 04 4D 51 54 54 05 02 00 3C 00 00 01 61";
    for (versions, served) in [
        (none, [false, false, false]),
        (Versions { mqtt31: true, ..none }, [true, false, false]),
        (Versions { mqtt311: true, ..none }, [false, true, false]),
        (Versions { mqtt5: true, ..none }, [false, false, true]),
        (Versions::ALL, [true, true, true]),
    ] {
        for (input, is_served) in [v31, v311, v5].into_iter().zip(served) {
            let settings = Settings { versions, ..Settings::default() };
            if is_served {
                greets(settings, input, None, "");
            } else {
                greets(settings, input, Some(0x84), "20 02 00 01");
            }
        }
    }
}

/// [MQTT-3.1.2-3]
#[test]
fn the_reserved_flag_closes() {
    closes("03 00 3C 00 01 61", 0x81);
}

/// [MQTT-3.1.2-9], [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-14], [MQTT-3.1.2-15]
#[test]
fn will_flags_go_together() {
    // Without a will there is no QoS and no RETAIN of it.
    for flags in ["0A", "12", "1A", "22", "2A", "32"] {
        closes(&format!("{flags} 00 3C 00 01 61"), 0x81);
    }
    // QoS 3
    closes("1E 00 3C 00 01 61 00 01 74 00 01 6D", 0x81);
    // Topic or message are missing.
    closes("06 00 3C 00 01 61", 0x81);
    closes("06 00 3C 00 01 61 00 01 74", 0x81);
}

/// [MQTT-3.1.2-12], [MQTT-3.1.2-16], [MQTT-3.1.2-17]
#[test]
fn a_will_is_heard_as_it_was_given() {
    hears("02 00 00 00 01 61", "MQTT 3.1.1 'a' clean");
    let fields = "00 00  00 01 61  00 01 74  00 02 6D 6E";
    for (flags, expect) in [
        ("06", "will(t \"mn\" q0)"),
        ("0E", "will(t \"mn\" q1)"),
        ("16", "will(t \"mn\" q2)"),
        ("26", "will(t \"mn\" q0 retain)"),
        ("36", "will(t \"mn\" q2 retain)"),
    ] {
        hears(&format!("{flags} {fields}"), &format!("MQTT 3.1.1 'a' clean {expect}"));
    }
    // The message may be empty, and need not be text.
    hears("06 00 00 00 01 61 00 01 74 00 00", "MQTT 3.1.1 'a' clean will(t \"\" q0)");
    hears("06 00 00 00 01 61 00 01 74 00 01 FF", "MQTT 3.1.1 'a' clean will(t \"\u{FFFD}\" q0)");
}

/// [MQTT-3.1.3-10], [MQTT-4.7.1-1], [MQTT-4.7.3-1], [MQTT-4.7.3-2]
#[test]
fn a_will_has_a_topic_to_publish_to() {
    for (topic, reason) in [
        ("00 00", 0x82),
        ("00 01 2B", 0x90),
        ("00 03 61 2F 23", 0x90),
        ("00 02 61 00", 0x81),
        ("00 01 FF", 0x81),
    ] {
        closes(&format!("06 00 3C 00 01 61 {topic} 00 01 6D"), reason);
    }
}

/// [MQTT-3.1.2-18], [MQTT-3.1.2-19], [MQTT-3.1.2-20], [MQTT-3.1.2-21], [MQTT-3.1.2-22]
#[test]
fn user_name_and_password_are_there_if_the_flags_say_so() {
    hears("82 00 00 00 01 61 00 01 75", "MQTT 3.1.1 'a' clean user 'u'");
    hears("C2 00 00 00 01 61 00 01 75 00 02 00 FF", "MQTT 3.1.1 'a' clean user 'u' password 00 FF");
    hears("C2 00 00 00 01 61 00 00 00 00", "MQTT 3.1.1 'a' clean user '' password ");
    // Announced and missing
    closes("82 00 00 00 01 61", 0x81);
    closes("C2 00 00 00 01 61 00 01 75", 0x81);
    // There and not announced
    closes("02 00 00 00 01 61 00 01 75", 0x81);
    closes("82 00 00 00 01 61 00 01 75 00 01 70", 0x81);
    // A password alone
    closes("42 00 00 00 01 61 00 01 70", 0x82);
}

/// [MQTT-3.1.3-1]
#[test]
fn all_fields_stand_in_their_order() {
    hears(
        "EE 00 0A  00 01 61  00 02 77 74  00 02 77 6D  00 01 75  00 01 70",
        "MQTT 3.1.1 'a' clean silence 15s will(wt \"wm\" q1 retain) user 'u' password 70",
    );
}

/// [MQTT-1.5.3-1], [MQTT-1.5.3-2], [MQTT-3.1.3-4], [MQTT-3.1.3-11]
#[test]
fn strings_are_well_formed_utf_8_without_nul() {
    for text in [
        "00 01 FF",          // never an octet of UTF-8
        "00 02 C3 28",       // a sequence that does not go on
        "00 02 C0 80",       // U+0000 as Java writes it
        "00 03 ED A0 80",    // a surrogate
        "00 04 F4 90 80 80", // above U+10FFFF
        "00 02 C3",          // cut off by the end of the packet
        "00 03 61 00 62",    // U+0000
    ] {
        closes(&format!("02 00 00 {text}"), 0x81);
        closes(&format!("82 00 00 00 01 61 {text}"), 0x81);
    }
}

/// [MQTT-1.5.3-3]
#[test]
fn a_byte_order_mark_is_kept() {
    hears("02 00 00 00 04 EF BB BF 61", "MQTT 3.1.1 '\u{FEFF}a' clean");
}

/// [MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.1.3-8]
#[test]
fn an_empty_identifier_needs_a_clean_session() {
    hears("02 00 00 00 00", "MQTT 3.1.1 '' clean");
    greets(Settings::default(), &connect("00 00 00 00 00"), Some(0x85), "20 02 00 02");
}

/// [MQTT-3.1.3-9]
#[test]
fn an_identifier_that_is_too_long_is_answered_with_2() {
    let settings = Settings { client_id_bytes_max: 3, ..Settings::default() };
    greets(settings.clone(), &connect("02 00 00 00 03 61 62 63"), None, "");
    greets(settings.clone(), &connect("02 00 00 00 04 61 62 63 64"), Some(0x85), "20 02 00 02");
    // Octets count, not characters.
    greets(settings, &connect("02 00 00 00 04 C3 A4 C3 B6"), Some(0x85), "20 02 00 02");
}

/// [MQTT-3.1.4-1]
#[test]
fn a_malformed_connect_gets_no_answer_even_if_its_identifier_is_refused_too() {
    let settings = Settings { client_id_bytes_max: 3, ..Settings::default() };
    greets(settings, &connect("02 00 00 00 04 61 62 63 64 FF"), Some(0x81), "");
    closes("00 00 00 00 00 FF", 0x81);
    closes("02 00 00 00 01 61 00", 0x81);
}

/// [MQTT-3.1.4-1]
#[test]
fn a_connect_that_ends_early_is_malformed() {
    let whole = octets("EE 00 0A  00 01 61  00 02 77 74  00 02 77 6D  00 01 75  00 01 70");
    for len in 0..whole.len() {
        let rest = crate::support::hex(&whole[..len]);
        closes(&rest, 0x81);
    }
}

/// [MQTT-3.1.4-5]
#[test]
fn what_follows_a_refused_connect_is_ignored() {
    let mut wire = Wire::new();
    let input = connect("00 00 00 00 00") + "30 03 00 01 61";
    let outcome = wire.feed(&octets(&input));
    assert!(outcome.heard.is_empty(), "{outcome:?}");
    let outcome = wire.feed(&octets("30 03 00 01 61"));
    assert!(outcome.heard.is_empty() && outcome.violation.is_none() && outcome.used == 0);
    assert_eq!(wire.take_said(), "20 02 00 02");
}

#[test]
fn a_connect_is_bounded_by_a_limit_of_its_own() {
    let settings =
        Settings { connect_packet_bytes_max: 15, packet_bytes_max: 1_000, ..Settings::default() };
    greets(settings.clone(), &connect("02 00 3C 00 01 61"), None, "");
    // Refused by its length alone
    greets(settings, "10 0E", Some(0x95), "");
}

/// Bridges of RSMB and Mosquitto set the highest bit of the level. They hear nothing of their own,
/// and the RETAIN flag as it was published.
#[test]
fn a_bridge_is_a_client_with_other_subscriptions() {
    let input = framed("10", "00 04 4D 51 54 54 84 02 00 00 00 01 62");
    let mut wire = Wire::with(Settings::default());
    assert_eq!(wire.feed(&octets(&input)).heard, ["MQTT 3.1.1 'b' clean"]);
    let _ = wire.accept();
    let filters = "00 07  00 01 61 01  00 0A 24 73 68 61 72 65 2F 67 2F 61 01";
    let outcome = wire.feed(&octets(&framed("82", filters)));
    assert_eq!(
        outcome.heard,
        ["SUBSCRIBE 7, a q1 no-local as-published, $share/g/a q1 as-published"]
    );
}
