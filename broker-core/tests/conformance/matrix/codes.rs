//! Every reason code in every packet of a client of 5.0 that has one.

use super::{ERROR, Good, MALFORMED, check, check_text};
use crate::octets::{V5, V311, body, encode, packet};

/// Which codes a client may say, by the packet up to its code.
const CODES: [(&str, &[u8]); 6] = [
    ("40: 0001", &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    ("50: 0001", &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    ("62: 0001", &[0x00, 0x92]),
    ("70: 0001", &[0x00, 0x92]),
    ("E0:", &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]),
    // AUTH has 0x18 and 0x19, but not from a client that did not begin to authenticate.
    ("F0:", &[]),
];

/// [MQTT5-3.4.2-1], [MQTT5-3.5.2-1], [MQTT5-3.6.2-1], [MQTT5-3.7.2-1], [MQTT5-3.14.2-1],
/// [MQTT5-3.15.2-1]
#[test]
fn every_packet_has_its_codes() {
    for (text, codes) in CODES {
        for code in 0..=0xFFu8 {
            let expect = if codes.contains(&code) { Good } else { ERROR };
            check_text(V5, &format!("{text} {code:02X}"), expect);
            check_text(V5, &format!("{text} {code:02X} {{}}"), expect);
            check_text(V5, &format!("{text} {code:02X} {{26 'k' 'v'}}"), expect);
        }
    }
}

/// 3.1.1 has no codes.
#[test]
fn an_octet_more_is_malformed_in_3() {
    for (text, _) in CODES {
        let whole = encode(V311, text);
        for code in [0x00, 0x10, 0x80] {
            let longer = packet(whole[0], &[body(&whole), &[code]].concat());
            check(V311, &longer, MALFORMED);
        }
    }
}
