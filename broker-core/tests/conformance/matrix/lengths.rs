//! Packets that end too early or too late, and lengths that are none.

use super::{ERROR, Good, MALFORMED, Outcome, SAMPLES, Silent, check, check_text};
use crate::octets::{V5, V311, Version, body, both, encode, packet};

/// [MQTT-3.1.4-1], [MQTT-4.8.0-1], [MQTT5-3.1.4-1], [MQTT5-4.13.1-1]
#[test]
fn every_packet_is_cut_off_everywhere() {
    both(|version| {
        for (sample, ends) in SAMPLES {
            let whole = encode(version, sample);
            for len in 0..body(&whole).len() {
                let cut = packet(whole[0], &body(&whole)[..len]);
                let end = ends.iter().find(|(end, _)| encode(version, end) == cut);
                let expect = end.map_or(MALFORMED, |(_, outcome)| *outcome);
                // Who speaks 5.0 is known with the level.
                let is_unknown = whole[0] == 0x10 && len < "..MQTT5".len();
                check(version, &cut, if is_unknown { Silent } else { expect });
            }
        }
    });
}

/// [MQTT-4.8.0-1], [MQTT5-4.13.1-1]
#[test]
fn octets_behind_the_last_field_are_malformed() {
    both(|version| {
        for (sample, _) in SAMPLES {
            let whole = encode(version, sample);
            for more in [&[0x00][..], &[0x26, 0x00], &[0xFF; 5]] {
                let longer = packet(whole[0], &[body(&whole), more].concat());
                let is_payload = whole[0] >> 4 == 3;
                check(version, &longer, if is_payload { Good } else { MALFORMED });
            }
        }
    });
}

/// [MQTT5-1.5.5-1]: 3.1.1 does not ask for the shortest form of a remaining length.
#[test]
fn a_remaining_length_is_in_its_shortest_form() {
    both(|version| {
        for (sample, _) in SAMPLES {
            let whole = encode(version, sample);
            let body = body(&whole);
            let len = u8::try_from(body.len()).expect("a short sample");
            for length in [
                &[len | 0x80, 0x00][..],
                &[len | 0x80, 0x80, 0x00],
                &[len | 0x80, 0x80, 0x80, 0x00],
            ] {
                let long = [&whole[..1], length, body].concat();
                check(version, &long, if version == V5 { MALFORMED } else { Good });
            }
        }
    });
}

/// [MQTT-4.8.0-1], [MQTT5-1.5.5-1]
#[test]
fn a_remaining_length_has_four_octets_at_most() {
    both(|version| {
        for (sample, _) in SAMPLES {
            let whole = encode(version, sample);
            for length in [[0x80; 4], [0xFF; 4]] {
                let octets = [&whole[..1], &length].concat();
                // Nobody has said yet which version it is.
                check(version, &octets, if whole[0] == 0x10 { Silent } else { MALFORMED });
            }
        }
    });
}

/// What the blocks of properties in a packet say about their length, in place of what is right.
fn with_block(text: &str, block: &str) -> Vec<u8> {
    encode(V5, &text.replace("{}", block))
}

/// [MQTT5-1.5.5-1], [MQTT5-2.2.2-1]
#[test]
fn a_property_length_is_there_whole_short_and_not_beyond_the_packet() {
    for text in [
        "10: 'MQTT' 05 02 0000 {} 'c'",
        "10: 'MQTT' 05 06 0000 00 'c' {} 'w' 'm'",
        "32: 't' 0001 {}",
        "40: 0001 00 {}",
        "50: 0001 00 {}",
        "62: 0001 00 {}",
        "70: 0001 00 {}",
        "82: 0001 {} 't' 00",
        "A2: 0001 {} 't'",
        "E0: 00 {}",
    ] {
        check(V5, &with_block(text, "00"), Good);
        for block in ["8000", "808000", "80808000", "7F", "FFFFFF7F", "FFFFFFFF01", "8080808000"] {
            check(V5, &with_block(text, block), MALFORMED);
        }
        // Its property is cut off by the end of the block.
        for block in ["01 26", "02 26 00", "04 26 0001 6B", "06 26 0001 6B 0001"] {
            check(V5, &with_block(text, block), MALFORMED);
        }
    }
    // Nothing stands where the length should.
    for text in ["10: 'MQTT' 05 02 0000", "32: 't' 0001", "82: 0001", "A2: 0001"] {
        check_text(V5, text, MALFORMED);
    }
}

/// [MQTT-2.3.1-1], [MQTT5-2.2.1-3]
#[test]
fn no_packet_identifier_is_zero() {
    both(|version| {
        for text in [
            "32: 't' ID {} =x",
            "34: 't' ID {} =x",
            "40: ID",
            "50: ID",
            "62: ID",
            "70: ID",
            "82: ID {} 't' 00",
            "A2: ID {} 't'",
        ] {
            check_text(version, &text.replace("ID", "0000"), ERROR);
            for good in ["0001", "0100", "FFFF"] {
                check_text(version, &text.replace("ID", good), Good);
            }
        }
    });
}

/// [MQTT-3.8.3-3], [MQTT-3.10.3-2], [MQTT5-3.8.3-2], [MQTT5-3.10.3-2]
#[test]
fn a_request_without_a_filter_is_none() {
    both(|version| {
        for text in ["82: 0001 {}", "A2: 0001 {}", "82: 0001 {26 'k' 'v'}"] {
            check_text(version, text, ERROR);
        }
    });
}

/// A topic that lacks is given by an alias or not at all.
#[test]
fn an_empty_topic_needs_an_alias_that_is_known() {
    let check_each = |cases: &[(&str, Outcome)]| {
        for (text, expect) in cases {
            check_text(V5, text, *expect);
        }
    };
    check_each(&[
        ("30: '' {} =x", ERROR),
        ("30: '' {23 0001} =x", ERROR),
        ("30: '' {23 0000} =x", super::Closed(0x94)),
        ("30: 't' {23 0000} =x", super::Closed(0x94)),
        ("30: 't' {23 FFFF} =x", super::Closed(0x94)),
        ("30: '' {23 FFFF} =x", super::Closed(0x94)),
        ("30: 't' {23 0001} =x", Good),
    ]);
    check_text(V311, "30: '' =x", ERROR);
}

/// The frame alone decides what can be decided by it: nothing waits for octets that do not matter.
#[test]
fn what_is_wrong_in_the_first_octet_is_refused_with_it() {
    let first = |version: Version, octet: u8, expect| check(version, &[octet], expect);
    for octet in [0x00, 0x36, 0x41, 0x60, 0x80, 0xA0, 0xC1, 0xE1] {
        both(|version| first(version, octet, MALFORMED));
    }
    for octet in [0x20, 0x90, 0xB0, 0xD0] {
        both(|version| first(version, octet, ERROR));
    }
}
