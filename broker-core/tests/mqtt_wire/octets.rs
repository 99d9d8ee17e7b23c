//! Octets that nobody meant, or not in these pieces.

use broker_core::mqtt::{Received, Settings, Versions};
use proptest::prelude::*;

use crate::support::{
    ALL,
    Version::{self, V5, V31, V311},
    Wire, connect_of, octets, packet,
};

/// A packet of each kind, with everything in it that it can have.
fn samples(version: Version) -> Vec<Vec<u8>> {
    let hex = match version {
        V31 | V311 => &[
            "3D 07 00 01 61 00 07 68 69",
            "30 0D 00 0B C3 A4 2F E2 82 AC 2F F0 9F 98 80",
            "40 02 00 07",
            "50 02 00 07",
            "62 02 00 07",
            "70 02 00 07",
            "82 0C 00 07 00 01 61 01 00 03 62 2F 23 02",
            "A2 0A 00 07 00 01 61 00 03 62 2F 23",
            "C0 00",
            "E0 00",
        ][..],
        V5 => &[
            "3D 1D 00 01 61 00 07 16 01 01 02 00 00 00 3C 26 00 01 6B 00 02 C3 A4 23 00 01 08 00 01 72 68",
            "40 0D 00 07 10 09 1F 00 06 E2 82 AC C3 A4 61",
            "50 04 00 07 00 00",
            "62 03 00 07 92",
            "70 02 00 07",
            "82 10 00 07 03 0B 80 01 00 01 61 2E 00 03 62 2F 23 02",
            "A2 12 00 07 07 26 00 01 6B 00 01 76 00 01 61 00 03 62 2F 23",
            "C0 00",
            "E0 0C 04 0A 1F 00 07 67 6F 6F 64 62 79 65",
        ][..],
    };
    let mut samples = hex.iter().map(|hex| octets(hex)).collect::<Vec<_>>();
    // A remaining length of three octets
    let mut long = octets(if version == V5 { "00 01 61 00" } else { "00 01 61" });
    long.resize(20_000, b'x');
    samples.push(packet(0x30, &long));
    samples
}

/// A CONNECT with everything in it.
fn full_connect(version: Version) -> Vec<u8> {
    let body = match version {
        V31 => {
            "00 06 4D 51 49 73 64 70 03 EE 00 0A 00 01 61 00 02 77 74 00 02 77 6D 00 01 75 00 01 70"
        }
        V311 => "00 04 4D 51 54 54 04 EE 00 0A 00 01 61 00 02 77 74 00 02 77 6D 00 01 75 00 01 70",
        V5 => {
            "00 04 4D 51 54 54 05 EE 00 0A 0C 11 00 00 00 05 26 00 01 6B 00 01 76 00 01 61 \
             05 18 00 00 00 05 00 02 77 74 00 02 77 6D 00 01 75 00 01 70"
        }
    };
    packet(0x10, &octets(body))
}

#[test]
fn the_samples_are_packets() {
    for version in ALL {
        assert_eq!(Wire::new().feed(&full_connect(version)).heard.len(), 1, "{version:?}");
        for sample in samples(version) {
            let outcome = Wire::connected(version).feed(&sample);
            assert_eq!(outcome.heard.len(), 1, "{version:?} {sample:02X?} {outcome:?}");
        }
    }
}

/// The beginning of a packet is never a packet, never an error, and tells how much is missing.
#[test]
fn a_packet_that_is_not_there_as_a_whole_waits_for_the_rest() {
    for version in ALL {
        for (sample, is_connect) in samples(version)
            .into_iter()
            .map(|sample| (sample, false))
            .chain([(full_connect(version), true)])
        {
            let mut wire = if is_connect { Wire::new() } else { Wire::connected(version) };
            let length_len = sample[1..].iter().position(|octet| octet & 0x80 == 0).unwrap() + 1;
            for len in 0..sample.len() {
                let input = &sample[..len];
                let received = wire
                    .conn
                    .receive(&wire.settings, input, &mut wire.said, |_| panic!("{input:02X?}"));
                let is_known = len > length_len;
                let needed = if is_known { sample.len() } else { (len + 1).max(2) };
                assert_eq!(received, Ok(Received::Incomplete { needed }), "{input:02X?}");
            }
            // Nothing was taken: the whole is heard after all that.
            assert_eq!(wire.feed(&sample).heard.len(), 1);
            assert!(wire.said.is_empty());
        }
    }
}

/// A packet whose frame says that it ends earlier is a violation or another good packet, and never
/// more than that.
#[test]
fn a_packet_that_is_cut_off_is_judged_by_what_is_there() {
    for version in ALL {
        for sample in samples(version) {
            let body_at = sample.len().min(if sample.len() > 0x4000 { 4 } else { 2 });
            let body = &sample[body_at..];
            for len in 0..body.len().min(200) {
                let cut = packet(sample[0], &body[..len]);
                let outcome = Wire::connected(version).feed(&cut);
                assert_eq!(outcome.heard.len() + usize::from(outcome.violation.is_some()), 1);
            }
        }
    }
}

/// [MQTT-7.1.1-1], [MQTT5-4.2-1]: a stream has no seams.
#[test]
fn packets_may_come_in_any_pieces() {
    for version in ALL {
        let mut stream = full_connect(version);
        for sample in samples(version).iter().filter(|sample| sample.len() < 100) {
            stream.extend_from_slice(sample);
        }
        let whole = Wire::new().feed(&stream);
        assert!(whole.violation.is_none(), "{whole:?}");
        for at in 0..=stream.len() {
            let mut wire = Wire::new();
            let first = wire.feed(&stream[..at]);
            let second = wire.feed(&stream[first.used..]);
            assert_eq!([first.heard, second.heard].concat(), whole.heard, "{version:?} at {at}");
        }
        // One octet at a time
        let mut wire = Wire::new();
        let (mut heard, mut taken) = (Vec::new(), 0);
        for end in 1..=stream.len() {
            let outcome = wire.feed(&stream[taken..end]);
            taken += outcome.used;
            heard.extend(outcome.heard);
        }
        assert_eq!(heard, whole.heard);
    }
}

/// Every octet of every packet, changed in every bit: something is heard or the connection ends,
/// and what is heard is no more than what was sent.
#[test]
fn a_flipped_bit_does_no_harm() {
    for version in ALL {
        for (sample, is_connect) in samples(version)
            .into_iter()
            .filter(|sample| sample.len() < 100)
            .map(|sample| (sample, false))
            .chain([(full_connect(version), true)])
        {
            for at in 0..sample.len() {
                for bit in 0..8 {
                    let mut changed = sample.clone();
                    changed[at] ^= 1 << bit;
                    let mut wire = if is_connect { Wire::new() } else { Wire::connected(version) };
                    let outcome = wire.feed(&changed);
                    assert!(outcome.used <= changed.len());
                    if outcome.violation.is_some() {
                        assert!(wire.conn.has_ended());
                    }
                }
            }
        }
    }
}

fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(V31), Just(V311), Just(V5)]
}

/// Octets that look like packets: any first octet, a length that is right, any body.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        any::<u8>(),
        prop::sample::select(octets("30 31 32 34 3A 3D 40 50 62 70 82 A2 C0 E0 F0")),
    ];
    (first, prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(first, body)| packet(first, &body))
}

/// A good packet with some octets of its body replaced.
fn any_mutant(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::sample::select(samples(version)), changes).prop_map(|(mut sample, changes)| {
        for (at, octet) in changes {
            let at = at.index(sample.len());
            sample[at] = octet;
        }
        sample
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_octets_end_in_order(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut wire = Wire::new();
        wire.feed(&input);
        prop_assert!(wire.said.is_empty() || wire.conn.has_ended());
    }

    #[test]
    fn any_octets_behind_connect_end_in_order(
        version in any_version(),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let body = octets(connect_of(version));
        // The level is the last of what stays.
        let keep = if version == V31 { 9 } else { 7 };
        let mut connect = body[2..2 + keep].to_vec();
        connect.extend_from_slice(&rest);
        let mut wire = Wire::new();
        let outcome = wire.feed(&packet(0x10, &connect));
        prop_assert_eq!(outcome.heard.len() + usize::from(outcome.violation.is_some()), 1);
    }

    #[test]
    fn any_packets_end_in_order(
        version in any_version(),
        packets in prop::collection::vec(any_packet(), 1..8),
    ) {
        let mut wire = Wire::connected(version);
        let outcome = wire.feed(&packets.concat());
        let is_done = outcome.used == packets.concat().len() || wire.conn.has_ended();
        prop_assert!(is_done, "{:?}", outcome);
        prop_assert!(version == V5 || wire.said.is_empty());
    }

    #[test]
    fn any_mutants_end_in_order(
        (version, packets) in any_version().prop_flat_map(|version| {
            (Just(version), prop::collection::vec(any_mutant(version), 1..8))
        }),
    ) {
        let mut wire = Wire::connected(version);
        let outcome = wire.feed(&packets.concat());
        let waits = outcome.needed.is_some();
        prop_assert!(wire.conn.has_ended() || waits || outcome.used == packets.concat().len());
    }

    /// The pieces in which octets arrive change nothing.
    #[test]
    fn pieces_change_nothing(
        version in any_version(),
        packets in prop::collection::vec(any_packet(), 1..6),
        at in any::<prop::sample::Index>(),
    ) {
        let stream = packets.concat();
        let mut whole = Wire::connected(version);
        let expect = whole.feed(&stream);
        let mut wire = Wire::connected(version);
        let first = wire.feed(&stream[..at.index(stream.len())]);
        let second = wire.feed(&stream[first.used..]);
        prop_assert_eq!([first.heard, second.heard].concat(), expect.heard);
        prop_assert_eq!(first.violation.or(second.violation), expect.violation);
        prop_assert_eq!(wire.said, whole.said);
    }
}

/// Whatever the settings are, nothing is too strange to be refused in order.
#[test]
fn settings_of_zero_are_no_trap() {
    let settings = Settings {
        versions: Versions { mqtt31: false, mqtt311: false, mqtt5: false },
        packet_bytes_max: 0,
        connect_packet_bytes_max: 0,
        client_id_bytes_max: 0,
        receive_maximum: 0,
        window: 0,
        ..Settings::default()
    };
    for version in ALL {
        for connect_packet_bytes_max in [0, 1_000] {
            let settings = Settings { connect_packet_bytes_max, ..settings.clone() };
            let mut wire = Wire::with(settings);
            assert!(wire.feed(&octets(connect_of(version))).violation.is_some());
        }
    }
}
