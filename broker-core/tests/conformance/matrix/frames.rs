//! Every type of packet with every combination of flags; options of subscriptions.

use super::{Closed, ERROR, Either, Good, MALFORMED, SAMPLES, check, check_text};
use crate::octets::{V5, V311, body, both, encode, packet};
use crate::world::World;

/// [MQTT-2.2.2-1], [MQTT-2.2.2-2], [MQTT-3.3.1-2], [MQTT-3.3.1-4], [MQTT-3.6.1-1],
/// [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1], [MQTT5-2.1.3-1], [MQTT5-3.3.1-2],
/// [MQTT5-3.3.1-4], [MQTT5-3.6.1-1], [MQTT5-3.8.1-1], [MQTT5-3.10.1-1], [MQTT5-3.14.1-1]
#[test]
fn every_packet_has_its_flags() {
    both(|version| {
        for (sample, _) in SAMPLES {
            let whole = encode(version, sample);
            for flags in 0x0..=0xF {
                let first = whole[0] & 0xF0 | flags;
                let body = match first >> 4 {
                    // The identifier goes with the QoS.
                    3 => encode(version, if flags & 6 > 0 { "'t' 0001 {}" } else { "'t' {}" }),
                    _ => body(&whole).to_vec(),
                };
                let is_good = match first >> 4 {
                    3 => flags & 6 != 6 && flags & 0xE != 8,
                    6 | 8 | 10 => flags == 2,
                    _ => flags == 0,
                };
                check(version, &packet(first, &body), if is_good { Good } else { MALFORMED });
            }
        }
    });
}

/// [MQTT-4.8.0-1], [MQTT5-4.13.1-1]: CONNACK, SUBACK, UNSUBACK and PINGRESP are for clients.
#[test]
fn what_only_servers_send_is_an_error() {
    both(|version| {
        for (kind, body) in
            [(0x20, "00 00 {}"), (0x90, "0001 {} 00"), (0xB0, "0001 {} [00]"), (0xD0, "")]
        {
            let body = encode(version, body);
            check(version, &packet(kind, &body), ERROR);
            for flags in 1..=0xF {
                check(version, &packet(kind | flags, &body), Either(0x81, 0x82));
            }
        }
    });
}

/// [MQTT-2.2.2-2], [MQTT5-2.1.3-1]: type 0, and 15 before 5.0.
#[test]
fn a_reserved_type_is_malformed() {
    both(|version| {
        for flags in 0x0..=0xF {
            check(version, &packet(flags, &[]), MALFORMED);
            check(V311, &packet(0xF0 | flags, &[]), MALFORMED);
        }
    });
}

/// [MQTT5-3.15.1-1], [MQTT5-4.12.0-7], [MQTT5-4.12.0-3], [MQTT5-4.12.1-1]: nobody who did not begin
/// with it may authenticate.
#[test]
fn auth_out_of_nowhere_is_an_error() {
    for text in [
        "F0:",
        "F0: 18 {15 'SCRAM-SHA-256'}",
        "F0: 18 {15 'SCRAM-SHA-256' 16 'x'}",
        "F0: 19 {15 'SCRAM-SHA-256'}",
        "F0: 00 {}",
    ] {
        check_text(V5, text, ERROR);
        for flags in 1..=0xF {
            let octets = encode(V5, text);
            check(V5, &packet(0xF0 | flags, body(&octets)), MALFORMED);
        }
    }
}

/// [MQTT-3.1.0-2], [MQTT5-3.1.0-2]
#[test]
fn a_second_connect_is_an_error() {
    both(|version| {
        for flags in 0x0..=0xF {
            let mut world = World::new();
            let link = world.connect(version, "10: 'MQTT' <04>[05] 02 0000 {17 00} 'c'").0;
            let first = 0x10 | flags;
            world.send(link, &format!("{first:02X}: 'MQTT' <04>[05] 02 0000 {{}} 'c'"));
            world.closes(link, 0x82);
        }
    });
}

/// [MQTT-3-8.3-4], [MQTT5-3.8.3-5]
#[test]
fn subscription_options_are_what_the_version_has() {
    for options in 0..=0xFFu8 {
        let (qos, handling) = (options & 3, options >> 4 & 3);
        let expect_3 = if options <= 2 { Good } else { Closed(0x82) };
        let expect_5 = match (options >> 6, qos, handling) {
            (1.., _, _) => MALFORMED,
            (_, 3, _) | (_, _, 3) => ERROR,
            _ => Good,
        };
        check_text(V311, &format!("82: 0001 't' {options:02X}"), expect_3);
        check_text(V5, &format!("82: 0001 {{}} 't' {options:02X}"), expect_5);
        // Also where other filters are good.
        check_text(V5, &format!("82: 0001 {{}} 'a' 00 't' {options:02X}"), expect_5);
        // [MQTT5-3.8.3-4]
        let is_no_local = options & 4 > 0 && expect_5 == Good;
        let text = format!("82: 0001 {{}} '$share/g/t' {options:02X}");
        check_text(V5, &text, if is_no_local { ERROR } else { expect_5 });
    }
}
