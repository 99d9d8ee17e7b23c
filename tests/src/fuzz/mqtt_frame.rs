//! The first octets of a packet of MQTT against the table of the standards: what is refused before
//! it is buffered, and how many octets have to be there.

use broker_core::api::{ConnAck, Outgoing};
use broker_core::mqtt::{Fault, Received, ServerConn, Settings};
use broker_core::reason::ReasonCode;

use super::Target;
use super::digest::Digest;
use super::input::Input;

/// See the [module](self).
pub const TARGET: Target = Target { name: "mqtt_frame", dictionary: "mqtt", bytes_max: 16, run };

/// Octets of a packet, the smallest of which no CONNECT fits into.
const BYTES_MAX: [u32; 4] = [20, 300, 1 << 20, u32::MAX];

/// What a CONNECT says of its version, and a shortest one.
const CONNECTS: [&[u8]; 3] = [
    b"\x10\x0F\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01c",
    b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01c",
    b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01c",
];

/// How far a connection is: nothing came, or a CONNECT of the version with this place above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Connected(usize),
}

/// What has to become of a packet by its first octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Needs(usize),
    /// It is there, and what is inside decides.
    Whole,
    TooLarge,
    Refused,
}

fn run(octets: &[u8]) -> u64 {
    let mut input = Input::new(octets);
    let phase = match input.below(4) {
        0 => Phase::New,
        version => Phase::Connected(version - 1),
    };
    let bytes_max = input.choose(&BYTES_MAX);
    let packet = input.rest();

    let settings = Settings { packet_bytes_max: bytes_max, ..Settings::default() };
    let settings = Settings { connect_packet_bytes_max: bytes_max.max(20), ..settings };
    let mut conn = connected(phase, &settings);
    let mut said = Vec::new();
    let mut has_heard = false;
    let received = conn.receive(&settings, packet, &mut said, |_| has_heard = true);

    let expect = expected(phase, bytes_max, packet);
    let is_as_expected = match (expect, &received) {
        (Expect::Needs(octets), Ok(Received::Incomplete { needed })) => octets == *needed,
        (Expect::Whole, Ok(Received::Packet { used, .. })) => *used <= packet.len(),
        (Expect::Whole, Err(violation)) => !matches!(violation.fault, Fault::TooLarge { .. }),
        (Expect::TooLarge, Err(violation)) => matches!(violation.fault, Fault::TooLarge { .. }),
        (Expect::Refused, Err(_)) => true,
        (_, _) => false,
    };
    assert!(is_as_expected, "{phase:?} {packet:02X?}: {received:?}, and should be {expect:?}");
    let is_whole = matches!(received, Ok(Received::Packet { .. }));
    assert!(is_whole || !has_heard, "half a packet was heard");
    assert_eq!(conn.has_ended(), received.is_err() || said_good_bye(&received, packet));
    let mut digest = Digest::new();
    digest.octets(&said);
    digest.number(packet.len() as u64);
    digest.end()
}

fn said_good_bye(received: &Result<Received, broker_core::mqtt::Violation>, packet: &[u8]) -> bool {
    matches!(received, Ok(Received::Packet { .. })) && packet[0] >> 4 == 14
}

fn connected(phase: Phase, settings: &Settings) -> ServerConn {
    let mut conn = ServerConn::new();
    if let Phase::Connected(version) = phase {
        let octets = CONNECTS[version];
        let received = conn.receive(settings, octets, &mut Vec::new(), |_| {});
        assert!(matches!(received, Ok(Received::Packet { used, .. }) if used == octets.len()));
        let accepted = ConnAck {
            reason: ReasonCode::Success,
            session_present: false,
            assigned_client_id: None,
            session_expiry_s: 0,
        };
        let _ = conn.send(Outgoing::ConnAck(accepted), &mut Vec::new());
        assert!(conn.is_connected());
    }
    conn
}

fn expected(phase: Phase, bytes_max: u32, packet: &[u8]) -> Expect {
    let Some((first, rest)) = packet.split_first() else { return Expect::Needs(2) };
    if !may_begin(phase, *first) {
        return Expect::Refused;
    }
    let Some(last) = rest.iter().take(4).position(|octet| octet & 0x80 == 0) else {
        return if rest.len() < 4 { Expect::Needs(packet.len() + 1) } else { Expect::Refused };
    };
    let digits = rest[..=last].iter().rev().map(|octet| u64::from(octet & 0x7F));
    let length = digits.fold(0, |sum, digit| sum << 7 | digit);
    let size = 2 + last as u64 + length;
    let bytes_max = if phase == Phase::New { bytes_max.max(20) } else { bytes_max };
    if size > u64::from(bytes_max) {
        return Expect::TooLarge;
    }
    if size > packet.len() as u64 { Expect::Needs(size as usize) } else { Expect::Whole }
}

/// Whether a packet that begins so may come at this point.
fn may_begin(phase: Phase, first: u8) -> bool {
    let (kind, flags) = (first >> 4, first & 0x0F);
    let Phase::Connected(version) = phase else { return kind == 1 };
    let is_31 = version == 0;
    match kind {
        3 if flags >> 1 & 3 == 0 => is_31 || flags & 8 == 0,
        3 => flags >> 1 & 3 < 3,
        4 | 5 | 7 | 12 | 14 => is_31 || flags == 0,
        6 | 8 | 10 => is_31 || flags == 2,
        15 => version == 2 && flags == 0,
        _ => false,
    }
}
