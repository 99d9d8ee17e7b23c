//! Every string of every packet, well-formed and not.

use super::{Good, MALFORMED, check};
use crate::octets::{V5, V311, Version, both, encode};

/// Octets that are no UTF-8 string of MQTT.
const BAD: [&str; 22] = [
    // A continuation alone, and one that lacks
    "80",
    "BF",
    "C3",
    "61C3",
    "E282",
    "F09F98",
    "C328",
    "E2AC",
    // More octets than needed
    "C080",
    "C1BF",
    "E08080",
    "E09FBF",
    "F0808080",
    "F08FBFBF",
    // Surrogates
    "EDA080",
    "EDBFBF",
    "EDA0BDEDB880",
    // Beyond U+10FFFF, and octets that never stand in UTF-8
    "F4908080",
    "FE",
    "FF",
    // U+0000
    "00",
    "61006B",
];

/// Octets that are: also what is better not used.
const GOOD: [&str; 12] = [
    "61",
    "7F",
    "01",
    "C280",
    "C3A4",
    "EFBBBF",
    "61EFBBBF62",
    "ED9FBF",
    "EE8080",
    "EFBFBF",
    "F0908080",
    "F48FBFBF",
];

/// Where strings stand, in both versions: at the `@`.
const FIELDS: [&str; 6] = [
    "10: 'MQTT' <04>[05] 02 0000 {} @",
    "10: 'MQTT' <04>[05] 06 0000 {} 'c' {} @ 'm'",
    "10: 'MQTT' <04>[05] 82 0000 {} 'c' @",
    "30: @ {} =x",
    "82: 0001 {} @ 00",
    "A2: 0001 {} @",
];

/// And in properties.
const FIELDS_5: [&str; 11] = [
    "10: 'MQTT' 05 02 0000 {26 @ 'v'} 'c'",
    "10: 'MQTT' 05 02 0000 {26 'k' @} 'c'",
    "10: 'MQTT' 05 06 0000 {} 'c' {03 @} 'w' 'm'",
    "10: 'MQTT' 05 06 0000 {} 'c' {08 @} 'w' 'm'",
    "30: 't' {03 @} =x",
    "30: 't' {08 @} =x",
    "32: 't' 0001 {26 @ @} =x",
    "40: 0001 00 {1F @}",
    "82: 0001 {26 'k' @} 't' 00",
    "A2: 0001 {26 @ 'v'} 't'",
    "E0: 00 {1F @}",
];

fn check_field(version: Version, field: &str) {
    for (strings, expect) in [(&BAD[..], MALFORMED), (&GOOD, Good)] {
        for string in strings {
            let len = string.len() / 2;
            let text = field.replace('@', &format!("{len:04X} {string}"));
            check(version, &encode(version, &text), expect);
        }
    }
}

/// [MQTT-1.5.3-1], [MQTT-1.5.3-2], [MQTT-1.5.3-3], [MQTT-3.1.3-4], [MQTT-3.1.3-10],
/// [MQTT-3.1.3-11], [MQTT-3.3.2-1], [MQTT-3.8.3-1], [MQTT-3.10.3-1], [MQTT-4.7.3-2],
/// [MQTT5-1.5.4-1], [MQTT5-1.5.4-2], [MQTT5-1.5.4-3], [MQTT5-3.1.3-4], [MQTT5-3.1.3-11],
/// [MQTT5-3.1.3-12], [MQTT5-3.3.2-1], [MQTT5-3.8.3-1], [MQTT5-3.10.3-1], [MQTT5-4.7.3-2]
#[test]
fn every_string_is_well_formed() {
    both(|version| FIELDS.iter().for_each(|field| check_field(version, field)));
}

/// [MQTT5-1.5.7-1], [MQTT5-1.5.4-1], [MQTT5-1.5.4-2], [MQTT5-3.3.2-13], [MQTT5-3.3.2-19]
#[test]
fn every_string_in_properties_is_well_formed() {
    FIELDS_5.iter().for_each(|field| check_field(V5, field));
}

/// Passwords, payloads and correlation data are octets of any kind.
#[test]
fn what_is_no_string_may_hold_anything() {
    for string in BAD {
        let len = string.len() / 2;
        both(|version| {
            for text in [
                "10: 'MQTT' <04>[05] C2 0000 {} 'c' 'u' @",
                "10: 'MQTT' <04>[05] 06 0000 {} 'c' {} 'w' @",
                "30: 't' {} @",
            ] {
                let text = text.replace('@', &format!("{len:04X} {string}"));
                check(version, &encode(version, &text), Good);
            }
        });
        let text = format!("30: 't' {{09 {len:04X} {string}}}");
        check(V5, &encode(V5, &text), Good);
    }
}

/// A string goes no further than its packet.
#[test]
fn the_length_of_a_string_is_not_believed() {
    for (version, fields) in [(V311, &FIELDS[..]), (V5, &FIELDS), (V5, &FIELDS_5)] {
        for field in fields {
            let cut = field.split('@').next().expect("a part in front of the string");
            let text = format!("{cut} FFFF 61").replace('{', "").replace('}', "");
            let text = match version {
                V311 => text,
                // The block, too, claims more than there is.
                V5 => format!("{} FFFF 61", cut.replace("{}", "00").replace('{', "7F ")),
            };
            check(version, &encode(version, &text), MALFORMED);
        }
    }
}
