//! The matrix of malformed packets: what is wrong ends the connection with the reason that the
//! standard gives, and what is not does not.
//!
//! Each file holds a table written from the standard and walks through all of it. In 3.1.1 there is
//! only one outcome for what is wrong: the connection is closed without a word.

mod codes;
mod frames;
mod lengths;
mod properties;
mod strings;

use crate::octets::{V5, V311, Version, body, encode, hex, packets};
use crate::world::World;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The conversation goes on, or ends as the client wanted.
    Good,
    /// The connection is closed for this reason, which a client of 5.0 is told in CONNACK or
    /// DISCONNECT.
    Closed(u8),
    /// It is closed; the standard leaves open for which of two reasons.
    Either(u8, u8),
    /// It is closed without a word.
    Silent,
}

pub(crate) use Outcome::{Closed, Either, Good, Silent};

/// Malformed packet
pub(crate) const MALFORMED: Outcome = Closed(0x81);
/// Protocol error
pub(crate) const ERROR: Outcome = Closed(0x82);

/// A client whose first packet this is, if it is a CONNECT, or which is connected, sends this
/// packet.
#[track_caller]
pub(crate) fn check(version: Version, octets: &[u8], expect: Outcome) {
    let mut world = World::new();
    let is_first = octets[0] >> 4 == 1;
    let link = if is_first {
        world.open(version)
    } else {
        let connect = "10: 'MQTT' <04>[05] 00 0000 {17 00 11 00000E10} 'me'";
        world.connect(version, connect).0
    };
    world.send_octets(link, octets);
    let is_closed = world.is_closed(link);
    let said = packets(&world.take(link));
    let show = || {
        let said = said.iter().map(|packet| hex(packet)).collect::<Vec<_>>().join(" / ");
        format!("{version:?} {} is to be {expect:?}; closed: {is_closed}, {said}", hex(octets))
    };
    if expect == Good {
        let leaves = octets[0] >> 4 == 14;
        assert_eq!(is_closed, leaves, "{}", show());
        if is_first {
            assert!(said.len() == 1 && body(&said[0])[1] == 0, "{}", show());
        }
        if !leaves {
            world.lives(link);
        }
        return;
    }
    assert!(is_closed, "{}", show());
    let code = match &said[..] {
        [] => None,
        [connack] if is_first && connack[0] == 0x20 => Some(body(connack)[1]),
        [disconnect] if !is_first && disconnect[0] == 0xE0 => Some(body(disconnect)[0]),
        _ => panic!("{}", show()),
    };
    let is_told = match expect {
        Closed(reason) if version == V5 => code == Some(reason),
        Either(one, other) if version == V5 => code == Some(one) || code == Some(other),
        Closed(_) | Either(..) | Silent | Good => code.is_none(),
    };
    assert!(is_told, "{}", show());
}

/// The same, written down.
#[track_caller]
pub(crate) fn check_text(version: Version, text: &str, expect: Outcome) {
    check(version, &encode(version, text), expect);
}

/// Every packet of a client, with all that it can hold. What it is when it ends earlier than it
/// says, where that is not malformed, stands behind it.
pub(crate) const SAMPLES: [(&str, &[(&str, Outcome)]); 12] = [
    ("10: 'MQTT' <04>[05] EE 000A {11 00000005 26 'k' 'v'} 'a' {18 00000005} 'w' 'm' 'u' 'p'", &[]),
    (
        "35: 't' 0001 {01 01 02 00000005 26 'k' 'v'} =hi",
        &[
            ("35: 't' 0001 {01 01 02 00000005 26 'k' 'v'} =h", Good),
            ("35: 't' 0001 {01 01 02 00000005 26 'k' 'v'}", Good),
        ],
    ),
    ("30: 't' {} =x", &[("30: 't' {}", Good)]),
    ("40: 0001 [10] {1F 'why' 26 'k' 'v'}", &[("40: 0001", Good), ("40: 0001 [10]", Good)]),
    ("50: 0001 [10] {1F 'why'}", &[("50: 0001", Good), ("50: 0001 [10]", Good)]),
    ("62: 0001 [92] {1F 'why'}", &[("62: 0001", Good), ("62: 0001 [92]", Good)]),
    ("70: 0001 [92] {1F 'why'}", &[("70: 0001", Good), ("70: 0001 [92]", Good)]),
    (
        "82: 0001 {0B 8001 26 'k' 'v'} 'a' 01 'b/#' 02",
        &[("82: 0001 {0B 8001 26 'k' 'v'}", ERROR), ("82: 0001 {0B 8001 26 'k' 'v'} 'a' 01", Good)],
    ),
    (
        "A2: 0001 {26 'k' 'v'} 'a' 'b/#'",
        &[("A2: 0001 {26 'k' 'v'}", ERROR), ("A2: 0001 {26 'k' 'v'} 'a'", Good)],
    ),
    ("C0:", &[]),
    ("E0: [04] {11 00000005 1F 'why'}", &[("E0:", Good), ("E0: [04]", Good)]),
    ("E0: [00] {}", &[("E0:", Good), ("E0: [00]", Good)]),
];

#[test]
fn the_samples_are_good() {
    for version in [V311, V5] {
        for (sample, _) in SAMPLES {
            check_text(version, sample, Good);
        }
    }
}
