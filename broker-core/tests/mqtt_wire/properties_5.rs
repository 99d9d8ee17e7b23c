//! Every property of MQTT 5.0 in every packet of a client: whether it may stand there, whether
//! twice, and with which values.

use broker_core::mqtt::Settings;

use crate::support::{Version::V5, Wire, framed, octets};

/// A property with a good value, and those with a bad one and what they are called.
struct Sample {
    good: &'static str,
    bad: &'static [(&'static str, u8)],
}

const fn sample(good: &'static str, bad: &'static [(&'static str, u8)]) -> Sample {
    Sample { good, bad }
}

/// All there are (table 2-4).
const SAMPLES: [Sample; 27] = [
    sample("01 01", &[("01 02", 0x82), ("01 FF", 0x82), ("01", 0x81)]),
    sample("02 00 00 00 01", &[("02 00 00 00", 0x81)]),
    sample("03 00 01 74", &[("03 00 01 FF", 0x81), ("03 00 01 00", 0x81), ("03 00 05 74", 0x81)]),
    sample("08 00 01 74", &[("08 00 01 2B", 0x82), ("08 00 01 FF", 0x81)]),
    sample("09 00 01 FF", &[("09 00 02 FF", 0x81)]),
    sample("0B 01", &[("0B 00", 0x82), ("0B 81 00", 0x81), ("0B FF FF FF FF 01", 0x81)]),
    sample("11 00 00 00 01", &[("11 00", 0x81)]),
    sample("12 00 01 61", &[]),
    sample("13 00 01", &[]),
    sample("15 00 01 58", &[("15 00 01 FF", 0x81)]),
    sample("16 00 01 00", &[("16 00 02 00", 0x81)]),
    sample("17 01", &[("17 02", 0x82), ("17", 0x81)]),
    sample("18 00 00 00 01", &[("18 00 00", 0x81)]),
    sample("19 01", &[("19 02", 0x82)]),
    sample("1A 00 01 61", &[]),
    sample("1C 00 01 61", &[]),
    sample("1F 00 01 61", &[("1F 00 01 FF", 0x81)]),
    sample("21 00 01", &[("21 00 00", 0x82), ("21 01", 0x81)]),
    sample("22 00 00", &[("22 00", 0x81)]),
    sample("23 00 01", &[("23 00 00", 0x94), ("23 00 0B", 0x94)]),
    sample("24 01", &[]),
    sample("25 01", &[]),
    sample(
        "26 00 01 6B 00 01 76",
        &[("26 00 01 FF 00 01 76", 0x81), ("26 00 01 6B 00 01 FF", 0x81), ("26 00 01 6B", 0x81)],
    ),
    sample("27 00 00 00 01", &[("27 00 00 00 00", 0x82), ("27 00 00 01", 0x81)]),
    sample("28 01", &[]),
    sample("29 01", &[]),
    sample("2A 01", &[]),
];

/// A packet with a place for properties, and which of them may stand there.
struct Place {
    name: &'static str,
    packet: fn(&str) -> String,
    allowed: &'static [u8],
    of_servers: &'static [u8],
}

fn block(properties: &str) -> String {
    format!("{:02X} {properties}", octets(properties).len())
}

const PLACES: [Place; 11] = [
    Place {
        name: "CONNECT",
        packet: |p| framed("10", &format!("00 04 4D 51 54 54 05 02 00 00 {} 00 01 61", block(p))),
        // An authentication method is refused by itself, so it is not in this table.
        allowed: &[0x11, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
        of_servers: &[],
    },
    Place {
        name: "will",
        packet: |p| {
            let will = format!("{} 00 01 74 00 01 6D", block(p));
            framed("10", &format!("00 04 4D 51 54 54 05 06 00 00 00 00 01 61 {will}"))
        },
        allowed: &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
        of_servers: &[],
    },
    Place {
        name: "PUBLISH",
        packet: |p| framed("30", &format!("00 01 61 {}", block(p))),
        allowed: &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26],
        of_servers: &[0x0B],
    },
    Place {
        name: "PUBACK",
        packet: |p| framed("40", &format!("00 07 00 {}", block(p))),
        allowed: &[0x1F, 0x26],
        of_servers: &[],
    },
    Place {
        name: "PUBREC",
        packet: |p| framed("50", &format!("00 07 00 {}", block(p))),
        allowed: &[0x1F, 0x26],
        of_servers: &[],
    },
    Place {
        name: "PUBREL",
        packet: |p| framed("62", &format!("00 07 00 {}", block(p))),
        allowed: &[0x1F, 0x26],
        of_servers: &[],
    },
    Place {
        name: "PUBCOMP",
        packet: |p| framed("70", &format!("00 07 00 {}", block(p))),
        allowed: &[0x1F, 0x26],
        of_servers: &[],
    },
    Place {
        name: "SUBSCRIBE",
        packet: |p| framed("82", &format!("00 07 {} 00 01 61 00", block(p))),
        allowed: &[0x0B, 0x26],
        of_servers: &[],
    },
    Place {
        name: "UNSUBSCRIBE",
        packet: |p| framed("A2", &format!("00 07 {} 00 01 61", block(p))),
        allowed: &[0x26],
        of_servers: &[],
    },
    Place {
        name: "DISCONNECT",
        packet: |p| framed("E0", &format!("00 {}", block(p))),
        allowed: &[0x11, 0x1F, 0x26],
        of_servers: &[0x1C],
    },
    Place {
        name: "AUTH",
        packet: |p| framed("F0", &format!("18 {}", block(p))),
        allowed: &[0x15, 0x16, 0x1F, 0x26],
        of_servers: &[],
    },
];

/// The reason for which these properties are refused there, if they are.
fn refusal(place: &Place, properties: &str) -> Option<u8> {
    let input = octets(&(place.packet)(properties));
    let mut wire = if input[0] == 0x10 {
        Wire::new()
    } else {
        // A session that outlives its connection, so that DISCONNECT may say for how long.
        let connect = "10 13 00 04 4D 51 54 54 05 02 00 3C 05 11 00 00 00 05 00 01 63";
        Wire::connected_by(connect, Settings::default())
    };
    let outcome = wire.feed(&input);
    assert_eq!(wire.conn.dialect(), Some(broker_core::api::Dialect::Mqtt5));
    assert_eq!(outcome.heard.is_empty(), outcome.violation.is_some());
    outcome.violation.map(|violation| violation.reason() as u8)
}

/// What a packet is called that is fine but for its being AUTH.
fn if_good(place: &Place) -> Option<u8> {
    (place.name == "AUTH").then_some(0x82)
}

fn id_of(property: &str) -> u8 {
    octets(property)[0]
}

#[test]
fn a_property_stands_where_it_belongs() {
    for place in &PLACES {
        assert_eq!(refusal(place, ""), if_good(place), "{}", place.name);
        for Sample { good, .. } in &SAMPLES {
            let id = id_of(good);
            let expect = if place.allowed.contains(&id) {
                if_good(place)
            } else if place.of_servers.contains(&id) {
                Some(0x82)
            } else if place.name == "CONNECT" && id == 0x15 {
                Some(0x8C)
            } else if place.name == "CONNECT" && id == 0x16 {
                Some(0x82)
            } else {
                Some(0x81)
            };
            assert_eq!(refusal(place, good), expect, "{} in {}", good, place.name);
        }
    }
}

/// [MQTT5-1.5.7-1], [MQTT5-3.3.2-8], [MQTT5-3.3.2-9], [MQTT5-3.3.2-13], [MQTT5-3.3.2-14],
/// [MQTT5-3.3.2-19]
#[test]
fn a_property_has_a_value_that_it_may_have() {
    for place in &PLACES {
        for Sample { good, bad } in &SAMPLES {
            if !place.allowed.contains(&id_of(good)) {
                continue;
            }
            for (bad, reason) in *bad {
                assert_eq!(refusal(place, bad), Some(*reason), "{bad} in {}", place.name);
            }
        }
    }
}

#[test]
fn a_property_stands_once_unless_it_is_a_user_property() {
    for place in &PLACES {
        for Sample { good, .. } in &SAMPLES {
            let id = id_of(good);
            if !place.allowed.contains(&id) {
                continue;
            }
            let expect = if id == 0x26 { if_good(place) } else { Some(0x82) };
            assert_eq!(
                refusal(place, &format!("{good} {good}")),
                expect,
                "{good} in {}",
                place.name
            );
            // Also with something in between
            let twice = format!("{good} 26 00 00 00 00 {good}");
            assert_eq!(refusal(place, &twice), expect, "{good} in {}", place.name);
        }
    }
}

#[test]
fn there_are_no_other_properties() {
    let known = SAMPLES.iter().map(|sample| id_of(sample.good)).collect::<Vec<_>>();
    for place in &PLACES {
        for id in (0..0x80_u8).filter(|id| !known.contains(id)) {
            let property = format!("{id:02X} 00 00 00 00");
            assert_eq!(refusal(place, &property), Some(0x81), "{id:02X} in {}", place.name);
        }
        // An identifier of two octets, and one that is written in two
        for property in ["81 01 00", "81 00 01"] {
            assert_eq!(refusal(place, property), Some(0x81), "{property} in {}", place.name);
        }
    }
}

#[test]
fn the_block_fits_into_the_packet() {
    for body in ["00 01 61 05 01 01", "00 01 61 7F", "00 01 61 80", "00 01 61 FF FF FF 7F"] {
        crate::support::closes(V5, &framed("30", body), 0x81);
    }
}
