//! Every property in every packet of a client of 5.0: absent, twice, cut off, where it does not
//! belong, with values that it cannot have.

use super::{Closed, ERROR, Either, Good, MALFORMED, Outcome, check_text};
use crate::octets::{V5, encode, hex};

/// Where properties stand, at the `@`, and which of them a client may say there.
struct Place {
    text: &'static str,
    may_have: &'static [u8],
    /// Only a server says these.
    of_servers: &'static [u8],
}

const fn place(text: &'static str, may_have: &'static [u8], of_servers: &'static [u8]) -> Place {
    Place { text, may_have, of_servers }
}

const CONNECT: &str = "10: 'MQTT' 05 02 0000 {@} 'c'";
const AUTH: &str = "F0: 18 {@}";

const PLACES: [Place; 11] = [
    place(CONNECT, &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27], &[]),
    place(
        "10: 'MQTT' 05 06 0000 {} 'c' {@} 'w' 'm'",
        &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
        &[],
    ),
    place("30: 't' {@} =x", &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26], &[0x0B]),
    place("40: 0001 00 {@}", &[0x1F, 0x26], &[]),
    place("50: 0001 00 {@}", &[0x1F, 0x26], &[]),
    place("62: 0001 00 {@}", &[0x1F, 0x26], &[]),
    place("70: 0001 00 {@}", &[0x1F, 0x26], &[]),
    place("82: 0001 {@} 't' 00", &[0x0B, 0x26], &[]),
    place("A2: 0001 {@} 't'", &[0x26], &[]),
    place("E0: 00 {@}", &[0x11, 0x1F, 0x26], &[0x1C]),
    place(AUTH, &[0x15, 0x16, 0x1F, 0x26], &[]),
];

/// Values that a property cannot have, with what they are.
type Bad = &'static [(&'static str, Outcome)];

/// The properties: their good values and their bad ones.
const PROPERTIES: [(u8, &[&str], Bad); 27] = [
    (0x01, &["00", "01"], BAD_FLAG),
    (0x02, &["00000000", "FFFFFFFF"], &[]),
    (0x03, &["''", "'text'"], BAD_STRING),
    (0x08, &["'t'", "'a/b'"], BAD_TOPIC),
    (0x09, &["0000", "0002 FF00"], &[]),
    (0x0B, &["01", "7F", "8001", "FFFFFF7F"], BAD_IDENTIFIER),
    (0x11, &["00000000", "FFFFFFFF"], &[]),
    (0x12, &["'c'"], BAD_STRING),
    (0x13, &["0000", "FFFF"], &[]),
    (0x15, &["'NONE'"], BAD_STRING),
    (0x16, &["0000", "0002 FF00"], &[]),
    (0x17, &["00", "01"], BAD_FLAG),
    (0x18, &["00000000", "FFFFFFFF"], &[]),
    (0x19, &["00", "01"], BAD_FLAG),
    (0x1A, &["''", "'t'"], BAD_STRING),
    (0x1C, &["''", "'host'"], BAD_STRING),
    (0x1F, &["''", "'why'"], BAD_STRING),
    (0x21, &["0001", "FFFF"], &[("0000", ERROR)]),
    (0x22, &["0000", "FFFF"], &[]),
    (0x23, &["0001"], &[("0000", Closed(0x94)), ("FFFF", Closed(0x94))]),
    (0x24, &["00", "01"], BAD_FLAG),
    (0x25, &["00", "01"], BAD_FLAG),
    (0x26, &["'' ''", "'k' 'v'"], BAD_PAIR),
    (0x27, &["00010000", "FFFFFFFF"], &[("00000000", ERROR)]),
    (0x28, &["00", "01"], BAD_FLAG),
    (0x29, &["00", "01"], BAD_FLAG),
    (0x2A, &["00", "01"], BAD_FLAG),
];

const BAD_FLAG: Bad = &[("02", ERROR), ("80", ERROR), ("FF", ERROR)];
const BAD_STRING: Bad =
    &[("0001 FF", MALFORMED), ("0001 00", MALFORMED), ("0003 EDA080", MALFORMED)];
const BAD_PAIR: Bad =
    &[("0001 FF 'v'", MALFORMED), ("'k' 0001 00", MALFORMED), ("'k' 0003 EDA080", MALFORMED)];
const BAD_TOPIC: Bad = &[
    ("0001 FF", MALFORMED),
    ("'a/+'", ERROR),
    ("'#'", ERROR),
    ("''", ERROR),
    ("0003 EDA080", MALFORMED),
];
const BAD_IDENTIFIER: Bad = &[
    ("00", ERROR),
    ("8000", MALFORMED),
    ("8100", MALFORMED),
    ("FFFFFFFF01", MALFORMED),
    ("8080808001", MALFORMED),
];

impl Place {
    fn check(&self, properties: &str, expect: Outcome) {
        let expect = match (self.text, expect) {
            // Whatever is in it, it is not the time for it.
            (AUTH, Good) => ERROR,
            (AUTH, Closed(_) | Either(..) | super::Silent) => Either(0x81, 0x82),
            (_, expect) => expect,
        };
        check_text(V5, &self.text.replace('@', properties), expect);
    }

    /// What becomes of a property with this outcome if it may stand here.
    fn judge(&self, id: u8, outcome: Outcome) -> Outcome {
        if self.may_have.contains(&id) {
            match (self.text, id) {
                // No such way to authenticate, and data for none
                (CONNECT, 0x15) if outcome == Good => Closed(0x8C),
                (CONNECT, 0x16) if outcome == Good => ERROR,
                _ => outcome,
            }
        } else if self.of_servers.contains(&id) {
            // The place is wrong as well as the value.
            if outcome == Good { ERROR } else { Either(0x81, 0x82) }
        } else {
            MALFORMED
        }
    }
}

fn each(mut check: impl FnMut(&Place, u8, &[&str], Bad)) {
    for place in &PLACES {
        for (id, good, bad) in PROPERTIES {
            check(place, id, good, bad);
        }
    }
}

/// [MQTT5-3.3.4-6], [MQTT5-4.13.1-1], [MQTT5-2.2.2-1]: also none at all is good everywhere.
#[test]
fn a_property_stands_where_it_may() {
    PLACES.iter().for_each(|place| place.check("", Good));
    each(|place, id, good, _| {
        for value in good {
            place.check(&format!("{id:02X} {value}"), place.judge(id, Good));
        }
    });
}

/// [MQTT5-4.13.1-1]
#[test]
fn a_property_stands_once_but_for_user_properties() {
    each(|place, id, good, _| {
        let first = good[0];
        for second in good {
            let expect = match id {
                0x26 => Good,
                _ if place.may_have.contains(&id) => ERROR,
                _ => place.judge(id, Good),
            };
            place.check(&format!("{id:02X} {first} {id:02X} {second}"), expect);
            // Not side by side either
            let apart = format!("{id:02X} {first} 26 'k' 'v' {id:02X} {second}");
            place.check(&apart, expect);
        }
    });
}

/// [MQTT5-3.3.2-8], [MQTT5-3.3.2-14], [MQTT5-1.5.4-1], [MQTT5-1.5.4-2], [MQTT5-1.5.7-1],
/// [MQTT5-3.3.2-13], [MQTT5-3.3.2-19]
#[test]
fn a_property_has_one_of_its_values() {
    each(|place, id, _, bad| {
        for (value, outcome) in bad {
            place.check(&format!("{id:02X} {value}"), place.judge(id, *outcome));
        }
    });
}

/// [MQTT5-1.5.5-1], [MQTT5-4.13.1-1]
#[test]
fn a_property_is_whole() {
    each(|place, id, good, _| {
        for value in good {
            let octets = encode(V5, &format!("{id:02X} {value}"));
            for len in 1..octets.len() {
                let cut = hex(&octets[..len]).replace(' ', "");
                let expect = place.judge(id, MALFORMED);
                place.check(&cut, expect);
                place.check(&format!("26 'k' 'v' {cut}"), expect);
            }
        }
    });
}

/// [MQTT5-4.13.1-1], [MQTT5-1.5.5-1]
#[test]
fn an_unknown_property_is_malformed() {
    let is_known = |id: u8| PROPERTIES.iter().any(|(known, _, _)| *known == id);
    for place in &PLACES {
        for id in (0x00..=0x7F).filter(|id| !is_known(*id)) {
            for value in ["", "00", "0000", "00000001"] {
                place.check(&format!("{id:02X} {value}"), MALFORMED);
            }
        }
        // Identifiers are variable byte integers: longer ones, and known ones made longer
        for id in ["8001", "A601", "FFFFFF7F", "FFFFFFFF7F", "A600", "A6808000"] {
            place.check(&format!("{id} 'k' 'v'"), MALFORMED);
        }
    }
}

/// User properties come in any number.
#[test]
fn user_properties_are_not_counted() {
    for place in &PLACES {
        place.check(&"26 'k' 'v'".repeat(1_000), Good);
    }
}
