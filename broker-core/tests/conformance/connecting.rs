//! CONNECT and its answer.

use broker_core::limits::{BrokerConfig, Limits};
use broker_core::mqtt::{Settings, Versions};

use crate::octets::{V5, V311, Version, both, encode, hex};
use crate::world::{World, config};

/// A first packet that closes the connection: in 5.0 with this CONNACK, in 3.1.1 with nothing, or
/// with the return code that is given.
#[track_caller]
fn refused(world: &mut World, version: Version, text: &str, reason: u8, code: Option<u8>) {
    let link = world.open(version);
    world.send(link, text);
    assert!(world.is_closed(link), "{version:?}: {text}");
    match (version, code) {
        (V311, None) => world.silent(link),
        (V311, Some(code)) => world.hears(link, &format!("20: 00 {code:02X}")),
        (V5, _) => {
            let connack = world.connack(link);
            // [MQTT5-3.2.2-6]
            assert_eq!((connack.flags, connack.code), (0, reason), "{text}");
        }
    }
    // Nothing that follows is heard.
    world.asks(link, "C0: 10: 'MQTT' <04>[05] 02 0000 {} 'c'", "");
}

/// [MQTT-3.1.4-4], [MQTT-3.2.0-1], [MQTT-3.1.3-1], [MQTT-3.1.3-3], [MQTT5-3.1.4-5],
/// [MQTT5-3.2.0-1], [MQTT5-3.2.0-2], [MQTT5-3.2.2-1], [MQTT5-3.1.3-1], [MQTT5-3.1.3-3]
#[test]
fn a_good_connect_is_answered_once_and_first() {
    both(|version| {
        for text in [
            "10: 'MQTT' <04>[05] 02 0000 {} 'c'",
            "10: 'MQTT' <04>[05] 82 0000 {} 'c' 'user'",
            "10: 'MQTT' <04>[05] C2 FFFF {} 'c' 'user' 0003 00FF00",
            "10: 'MQTT' <04>[05] 06 0000 {} 'c' {} 'w' ''",
            "10: 'MQTT' <04>[05] F6 0000 {} 'c' {} 'w' 0001 FF 'user' 'pass'",
        ] {
            let mut world = World::new();
            let link = world.open(version);
            // The client need not wait, and is answered in order.
            world.send(link, &format!("{text} C0: 82: 0001 {{}} 't' 01"));
            let connack = world.connack(link);
            assert_eq!((connack.flags, connack.code), (0, 0), "{text}");
            world.hears(link, "D0: 90: 0001 {} 01");
            world.lives(link);
        }
    });
}

/// [MQTT-3.1.0-1], [MQTT5-3.1.0-1], [MQTT5-3.14.0-1]
#[test]
fn nothing_comes_before_connect() {
    for first in (0x00..=0xFF).filter(|first| first >> 4 != 1) {
        both(|version| {
            let mut world = World::new();
            let link = world.open(version);
            world.send(link, &format!("{first:02X}: 0001 {{}} 't'"));
            assert!(world.is_closed(link), "{first:02X}");
            world.silent(link);
        });
    }
}

/// [MQTT-3.1.2-1], [MQTT-3.1.2-2], [MQTT5-3.1.2-1], [MQTT5-3.1.2-2]
#[test]
fn an_unknown_protocol_is_refused() {
    for (text, answer) in [
        ("10: 'MQTT' 03 02 0000 'c'", "20: 00 01"),
        ("10: 'MQTT' 06 02 0000 00 'c'", "20: 00 01"),
        ("10: 'MQTT' 00 02 0000 'c'", "20: 00 01"),
        ("10: 'MQTT' FF 02 0000 'c'", "20: 00 01"),
        ("10: 'MQIsdp' 04 02 0000 'c'", "20: 00 01"),
        ("10: 'mqtt' 04 02 0000 'c'", ""),
        ("10: 'HTTP' 05 02 0000 00 'c'", ""),
        ("10: '' 04 02 0000 'c'", ""),
    ] {
        let mut world = World::new();
        let link = world.open(V311);
        world.send(link, text);
        assert!(world.is_closed(link), "{text}");
        world.hears(link, answer);
    }
    // A version that is not served
    both(|version| {
        let versions = Versions { mqtt31: false, mqtt311: false, mqtt5: false };
        let settings = Settings { versions, ..Settings::default() };
        let mut world = World::with(config(), settings);
        let link = world.open(version);
        world.send(link, "10: 'MQTT' <04>[05] 02 0000 {} 'c'");
        assert!(world.is_closed(link));
        let said = world.take(link);
        let [0x20, _, 0x00, code, ..] = said[..] else { panic!("{}", hex(&said)) };
        assert!([0x01, 0x84].contains(&code), "{code:02X}");
    });
}

/// [MQTT-3.1.3-5], [MQTT-3.1.3-4], [MQTT5-3.1.3-5], [MQTT5-3.1.3-4]
#[test]
fn short_identifiers_of_letters_and_digits_are_accepted() {
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    both(|version| {
        let mut world = World::new();
        for start in 0..letters.len() {
            for len in [1, 23] {
                let id: String = letters.chars().cycle().skip(start).take(len).collect();
                world.clean(version, &id);
            }
        }
        for id in ["sensor/1", "a b", "ä", "\u{10FFFF}", "\u{FEFF}x"] {
            world.clean(version, id);
        }
    });
}

/// [MQTT-3.1.3-8], [MQTT-3.1.3-9], [MQTT-3.2.2-4], [MQTT-3.2.2-5], [MQTT-3.1.4-5],
/// [MQTT5-3.1.3-8], [MQTT5-3.2.2-6], [MQTT5-3.2.2-7], [MQTT5-3.1.4-6], [MQTT5-4.13.2-1]
#[test]
fn an_identifier_can_be_refused() {
    refused(&mut World::new(), V311, "10: 'MQTT' 04 00 0000 ''", 0x85, Some(2));
    both(|version| {
        let id = "x".repeat(Settings::default().client_id_bytes_max + 1);
        let text = format!("10: 'MQTT' <04>[05] 02 0000 {{}} '{id}'");
        refused(&mut World::new(), version, &text, 0x85, Some(2));
    });
}

/// [MQTT-3.2.2-4], [MQTT-3.2.2-5], [MQTT-3.2.2-6], [MQTT5-3.2.2-6], [MQTT5-3.2.2-7],
/// [MQTT5-3.2.2-8], [MQTT5-3.1.4-2]: what the broker refuses.
#[test]
fn a_refusal_says_why_and_is_the_end() {
    both(|version| {
        let limits = Limits { sessions_max: 1, topic_levels_max: 3, ..Limits::default() };
        let config = BrokerConfig { limits, validate_payload_format: true, ..config() };
        let mut world = World::with(config, Settings::default());
        let will = |topic: &str| format!("10: 'MQTT' <04>[05] 06 0000 {{}} 'c' {{}} '{topic}' ''");
        refused(&mut world, version, &will("$SYS/x"), 0x87, Some(5));
        refused(&mut world, version, &will("a/b/c/d"), 0x90, None);
        if version == V5 {
            let text = "10: 'MQTT' 05 06 0000 {} 'c' {01 01} 'w' 0001 FF";
            refused(&mut world, version, text, 0x99, None);
        }
        world.clean(version, "first");
        let text = "10: 'MQTT' <04>[05] 02 0000 {} 'second'";
        refused(&mut world, version, text, 0x97, Some(3));
        // And the first one can still come back.
        world.clean(version, "first");
    });
}

/// [MQTT-3.1.4-1], [MQTT-3.1.2-3], [MQTT-3.1.2-9], [MQTT-3.1.2-11], [MQTT-3.1.2-13],
/// [MQTT-3.1.2-14], [MQTT-3.1.2-15], [MQTT-3.1.2-22], [MQTT5-3.1.2-3], [MQTT5-3.1.2-9],
/// [MQTT5-3.1.2-11], [MQTT5-3.1.2-12], [MQTT5-3.1.2-13], [MQTT5-3.1.2-19], [MQTT5-3.1.4-1]
#[test]
fn of_all_connect_flags_those_that_contradict_are_refused() {
    both(|version| {
        for flags in 0..=0xFFu8 {
            let has = |bit: u8| flags & bit != 0;
            let mut text = format!("10: 'MQTT' <04>[05] {flags:02X} 0000 {{}} 'c'");
            for (bit, field) in [(0x04, " {} 'w' 'm'"), (0x80, " 'user'"), (0x40, " 'pass'")] {
                text += if has(bit) { field } else { "" };
            }
            let will_qos = flags >> 3 & 3;
            let is_malformed = has(0x01)
                || will_qos == 3
                || (!has(0x04) && (will_qos > 0 || has(0x20)))
                || (version == V311 && has(0x40) && !has(0x80));
            if is_malformed {
                refused(&mut World::new(), version, &text, 0x81, None);
            } else {
                World::new().connect(version, &text);
            }
        }
    });
}

/// [MQTT-3.1.2-18], [MQTT-3.1.2-19], [MQTT-3.1.2-20], [MQTT-3.1.2-21], [MQTT-3.1.2-9],
/// [MQTT-3.1.4-1], [MQTT5-3.1.2-16], [MQTT5-3.1.2-17], [MQTT5-3.1.2-18], [MQTT5-3.1.2-19],
/// [MQTT5-3.1.2-9], [MQTT5-3.1.4-1]: each flag and its field go together.
#[test]
fn a_field_is_there_if_its_flag_is_set_and_only_then() {
    both(|version| {
        for (flags, fields) in [
            ("02", "'c' 'user'"),
            ("02", "'c' 'user' 'pass'"),
            ("82", "'c'"),
            ("82", "'c' 'user' 'pass'"),
            ("C2", "'c' 'user'"),
            ("C2", "'c'"),
            ("06", "'c'"),
            ("06", "'c' {}"),
            ("06", "'c' {} 'w'"),
            ("86", "'c' {} 'w' 'm'"),
            ("02", "'c' 00"),
            ("02", ""),
            ("02", "00"),
            ("02", "0002 63"),
        ] {
            let text = format!("10: 'MQTT' <04>[05] {flags} 0000 {{}} {fields}");
            refused(&mut World::new(), version, &text, 0x81, None);
        }
    });
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-23], [MQTT5-3.1.2-20], [MQTT5-3.1.2-22], [MQTT5-3.2.2-22]
#[test]
fn silence_of_one_and_a_half_keep_alives_ends_a_connection() {
    both(|version| {
        for (keep_alive, last) in [(1, 1), (10, 14), (600, 899)] {
            let text = format!("10: 'MQTT' <04>[05] 02 {keep_alive:04X} {{}} 'c'");
            let mut world = World::new();
            let (link, connack) = world.connect(version, &text);
            assert_eq!(connack.property(0x13), None);
            // Any packet is a sign of life.
            for packet in ["30: 't' {} =x", "40: 0001", "62: 0001", "C0:"] {
                world.pass(last);
                world.send(link, packet);
                assert!(!world.is_closed(link));
                world.take(link);
            }
            world.pass(last);
            world.silent(link);
            world.pass(1);
            world.closes(link, 0x8D);
        }
        // Zero turns it off.
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.pass(86_400);
        world.lives(link);
    });
}

/// [MQTT5-3.1.2-21], [MQTT5-3.2.2-21]: the keep alive that the server gives counts.
#[test]
fn the_keep_alive_of_the_server_counts() {
    let keep_alive_max_s = core::num::NonZeroU16::new(10);
    for keep_alive in ["0000", "000B", "FFFF"] {
        let settings = Settings { keep_alive_max_s, ..Settings::default() };
        let mut world = World::with(config(), settings);
        let text = format!("10: 'MQTT' 05 02 {keep_alive} {{}} 'c'");
        let (link, connack) = world.connect(V5, &text);
        assert_eq!(connack.property(0x13), Some(&[0, 10][..]));
        world.pass(14);
        world.lives(link);
        world.pass(16);
        world.closes(link, 0x8D);
    }
}

/// [MQTT5-3.1.2-28], [MQTT5-3.1.2-29], [MQTT5-4.12.0-6]
#[test]
fn the_answer_says_nothing_that_was_not_asked_for() {
    for properties in ["", "19 00", "19 01", "17 00", "17 01", "26 'k' 'v'"] {
        let mut world = World::new();
        let text = format!("10: 'MQTT' 05 02 0000 {{{properties}}} 'c'");
        let (_, connack) = world.connect(V5, &text);
        for id in [0x12, 0x15, 0x16, 0x1A, 0x1C] {
            assert_eq!(connack.property(id), None, "{properties}: {id:02X}");
        }
    }
    // With request problem information 0 only CONNACK and DISCONNECT may have words.
    let mut world = World::new();
    let (link, _) = world.connect(V5, "10: 'MQTT' 05 02 0000 {17 00} 'c'");
    world.asks(link, "32: '$SYS/x' 0001 {} =x", "40: 0001 87");
    world.asks(link, "34: '$SYS/x' 0001 {} =x", "50: 0001 87");
    world.asks(link, "62: 0001", "70: 0001 92");
    world.asks(link, "50: 0001", "62: 0001 92");
    let deep = "a/".repeat(200);
    world.asks(link, &format!("82: 0001 {{}} '{deep}' 00"), "90: 0001 {} 8F");
    world.asks(link, "A2: 0001 {} 'x'", "B0: 0001 {} 11");
}

/// [MQTT5-3.1.2-24], [MQTT5-3.1.2-25]
#[test]
fn nothing_larger_than_the_client_takes_is_sent() {
    let mut world = World::new();
    let text = "10: 'MQTT' 05 00 0000 {27 00000040 11 00000E10} 'c'";
    let (link, _) = world.connect(V5, text);
    world.subscribe(link, "t", 1);
    let publisher = world.clean(V5, "p");
    // 64 octets fit, one more does not and counts as delivered.
    let fits = encode(V5, &format!("32: 't' 0001 {{}} ={}", "x".repeat(56)));
    assert_eq!(fits.len(), 64);
    for len in [57, 56, 2_000, 1] {
        let payload = "x".repeat(len);
        world.asks(publisher, &format!("32: 't' 0001 {{}} ={payload}"), "40: 0001");
    }
    let said = crate::octets::packets(&world.take(link));
    assert_eq!(said.iter().map(Vec::len).collect::<Vec<_>>(), [64, 9]);
    world.lives(link);
    world.cut(link);
    let (link, _) = world.connect(V5, text);
    let said = crate::octets::packets(&world.take(link));
    assert_eq!(said.iter().map(Vec::len).collect::<Vec<_>>(), [64, 9], "only these are repeated");
    world.lives(link);
}

/// [MQTT5-3.2.2-15]
#[test]
fn a_packet_that_is_larger_than_we_take_ends_the_connection() {
    both(|version| {
        let settings = Settings { packet_bytes_max: 100, ..Settings::default() };
        let mut world = World::with(config(), settings);
        let text = "10: 'MQTT' <04>[05] 02 0000 {} 'c'";
        let (link, connack) = world.connect(version, text);
        if version == V5 {
            assert_eq!(connack.property(0x27), Some(&[0, 0, 0, 100][..]));
        }
        let most = "x".repeat(if version == V5 { 94 } else { 95 });
        assert_eq!(encode(version, &format!("30: 't' {{}} ={most}")).len(), 100);
        world.asks(link, &format!("30: 't' {{}} ={most}"), "");
        world.lives(link);
        // It is refused as soon as its length is known.
        world.send_octets(link, &[0x30, 99]);
        world.closes(link, 0x95);
    });
}

/// [MQTT5-3.1.2-30], [MQTT5-4.12.0-1], [MQTT5-4.12.0-4]
#[test]
fn an_unknown_way_to_authenticate_is_refused() {
    for properties in ["{15 'NOBODY-HAS-IT'}", "{15 'NOBODY-HAS-IT' 16 'data'}"] {
        let text = format!("10: 'MQTT' 05 02 0000 {properties} 'c'");
        refused(&mut World::new(), V5, &text, 0x8C, None);
    }
}

/// [MQTT-3.1.2-22], [MQTT5-3.1.2-19]: 5.0 allows a password alone.
#[test]
fn a_password_alone_is_for_5_only() {
    let text = "10: 'MQTT' <04>[05] 42 0000 {} 'c' 'pass'";
    refused(&mut World::new(), V311, text, 0x81, None);
    World::new().connect(V5, text);
}
