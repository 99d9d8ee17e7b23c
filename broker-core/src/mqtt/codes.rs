//! Which reason code may stand in which packet, and what is left of it in the older versions.

use super::version::Version;
use crate::api::AckKind;
use crate::reason::ReasonCode;

/// What CONNACK of 5.0 says [MQTT5-3.2.2-8].
pub(super) const fn connack(reason: ReasonCode) -> ReasonCode {
    match reason as u8 {
        0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F => reason,
        0x8B => ReasonCode::ServerUnavailable,
        _ => ReasonCode::Unspecified,
    }
}

/// What CONNACK of 3.1 and 3.1.1 says; `None`: nothing that it could [MQTT-3.2.2-6].
pub(super) const fn connack_3(reason: ReasonCode) -> Option<u8> {
    match reason as u8 {
        0x00 => Some(0),
        0x84 => Some(1),
        0x85 => Some(2),
        0x88 | 0x89 | 0x8B | 0x97 | 0x9C | 0x9D | 0x9F => Some(3),
        0x86 => Some(4),
        0x87 | 0x8A | 0x8C => Some(5),
        _ => None,
    }
}

/// Whether a handshake packet may carry this code, in either direction: [MQTT5-3.4.2-1],
/// [MQTT5-3.5.2-1], [MQTT5-3.6.2-1], [MQTT5-3.7.2-1].
pub(super) const fn is_of_ack(kind: AckKind, reason: ReasonCode) -> bool {
    match kind {
        AckKind::PubAck | AckKind::PubRec => {
            matches!(reason as u8, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        AckKind::PubRel | AckKind::PubComp => matches!(reason as u8, 0x00 | 0x92),
    }
}

/// What a handshake packet says.
pub(super) const fn ack(kind: AckKind, reason: ReasonCode) -> ReasonCode {
    if is_of_ack(kind, reason) {
        return reason;
    }
    match kind {
        AckKind::PubAck | AckKind::PubRec if reason.is_error() => ReasonCode::Unspecified,
        AckKind::PubRel | AckKind::PubComp if reason.is_error() => {
            ReasonCode::PacketIdentifierNotFound
        }
        AckKind::PubAck | AckKind::PubRec | AckKind::PubRel | AckKind::PubComp => {
            ReasonCode::Success
        }
    }
}

/// What SUBACK says for one filter [MQTT-3.9.3-2], [MQTT5-3.9.3-2]. MQTT 3.1 has no way to say
/// no: the least that can be granted is said instead.
pub(super) const fn suback(version: Version, reason: ReasonCode) -> u8 {
    match (version, reason as u8) {
        (_, granted @ 0x00..=0x02) => granted,
        (Version::V31, _) => 0x00,
        (Version::V311, _) => 0x80,
        (Version::V5, 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2) => reason as u8,
        (Version::V5, _) => 0x80,
    }
}

/// What UNSUBACK of 5.0 says for one filter [MQTT5-3.11.3-2].
pub(super) const fn unsuback(reason: ReasonCode) -> u8 {
    match reason as u8 {
        0x00 | 0x11 | 0x83 | 0x87 | 0x8F | 0x91 => reason as u8,
        _ => 0x80,
    }
}

/// What DISCONNECT of a server says [MQTT5-3.14.2-1].
pub(super) const fn disconnect(reason: ReasonCode) -> ReasonCode {
    match reason as u8 {
        0x00 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2 => reason,
        0x88 => ReasonCode::ServerBusy,
        0x8A => ReasonCode::NotAuthorized,
        _ => ReasonCode::Unspecified,
    }
}

/// Whether a client may say this in DISCONNECT.
pub(super) const fn is_of_client_disconnect(reason: ReasonCode) -> bool {
    matches!(reason as u8, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
}

/// Whether a client may say this in AUTH [MQTT5-3.15.2-1].
pub(super) const fn is_of_client_auth(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::ContinueAuthentication | ReasonCode::ReAuthenticate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = ReasonCode> {
        (0..=u8::MAX).filter_map(ReasonCode::from_u8)
    }

    fn check(said: impl Fn(ReasonCode) -> u8, listed: &[u8]) {
        for reason in all() {
            let said = said(reason);
            assert!(listed.contains(&said), "{reason} is said as 0x{said:02X}");
            assert!(!listed.contains(&(reason as u8)) || said == reason as u8, "{reason}");
        }
    }

    /// [MQTT5-3.2.2-8], [MQTT5-3.4.2-1], [MQTT5-3.5.2-1], [MQTT5-3.6.2-1], [MQTT5-3.7.2-1],
    /// [MQTT5-3.9.3-2], [MQTT5-3.11.3-2], [MQTT5-3.14.2-1]
    #[test]
    fn every_packet_says_what_its_list_has_and_nothing_else() {
        check(
            |reason| connack(reason) as u8,
            &[
                0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
                0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
            ],
        );
        for kind in [AckKind::PubAck, AckKind::PubRec] {
            let listed = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
            check(|reason| ack(kind, reason) as u8, &listed);
        }
        for kind in [AckKind::PubRel, AckKind::PubComp] {
            check(|reason| ack(kind, reason) as u8, &[0x00, 0x92]);
        }
        check(
            |reason| suback(Version::V5, reason),
            &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
        );
        check(unsuback, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]);
        check(
            |reason| disconnect(reason) as u8,
            &[
                0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94,
                0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
            ],
        );
    }

    /// [MQTT-3.9.3-2]; and MQTT 3.1, which has no 0x80.
    #[test]
    fn older_versions_know_three_grants_and_at_most_one_refusal() {
        check(|reason| suback(Version::V311, reason), &[0x00, 0x01, 0x02, 0x80]);
        check(|reason| suback(Version::V31, reason), &[0x00, 0x01, 0x02]);
    }

    #[test]
    fn an_error_is_never_said_as_a_success() {
        for reason in all().filter(|reason| reason.is_error()) {
            assert!(connack(reason).is_error(), "{reason}");
            assert!(disconnect(reason).is_error(), "{reason}");
            assert_ne!(connack_3(reason), Some(0), "{reason}");
            assert!(suback(Version::V5, reason) >= 0x80, "{reason}");
            assert!(unsuback(reason) >= 0x80, "{reason}");
            for kind in [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp] {
                assert!(ack(kind, reason).is_error(), "{kind:?} {reason}");
            }
        }
    }
}
