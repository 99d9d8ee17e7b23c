//! What a server says beside PUBLISH.
//!
//! None of them has user properties, so that none ever has to be left out for want of room:
//! [MQTT5-3.2.2-20], [MQTT5-3.4.2-3], [MQTT5-3.5.2-3], [MQTT5-3.6.2-3], [MQTT5-3.7.2-3],
//! [MQTT5-3.9.2-2], [MQTT5-3.11.2-2], [MQTT5-3.14.2-4], [MQTT5-3.15.2-3].
//!
//! Each function says whether it wrote its packet: one that is larger than the client takes is not
//! written [MQTT5-3.1.2-24].

use super::codes;
use super::frame::{PacketType, fits, varint_len};
use super::settings::Features;
use super::sink::Sink;
use super::version::Version;
use super::words::Words;
use super::write::Head;
use crate::api::{Ack, AckKind, ConnAck, PacketId, QoS};
use crate::reason::ReasonCode;

/// Octets of the name of another server.
const SERVER_BYTES_MAX: usize = 1_024;

/// What the CONNACK of MQTT 5.0 says beside what the broker says.
#[derive(Clone, Debug)]
pub(super) struct Terms<'a> {
    /// What the client asked for; only another value is said.
    pub(super) session_expiry_s: u32,
    pub(super) server_keep_alive_s: Option<u16>,
    pub(super) receive_maximum: u16,
    pub(super) topic_alias_maximum: u16,
    pub(super) packet_bytes_max: u32,
    pub(super) features: Features,
    /// Where response topics may begin.
    pub(super) response_topics: Option<String>,
    /// Method and data, if CONNECT named a method [MQTT5-4.12.0-5], [MQTT5-4.12.0-6].
    pub(super) authentication: Option<(&'a str, &'a [u8])>,
}

/// CONNACK 0 of 3.1 and 3.1.1 [MQTT-3.1.4-4]. The octet that tells of the session
/// [MQTT-3.2.2-2], [MQTT-3.2.2-3] is reserved in 3.1.
pub(super) fn accept_3(connack: &ConnAck<'_>, version: Version, out: &mut impl Sink) {
    let session_present = connack.session_present && version != Version::V31;
    out.put(&[PacketType::ConnAck.first_octet(), 2, u8::from(session_present), 0]);
}

/// CONNACK 1 to 5 of 3.1 and 3.1.1; if there is no number for the reason nothing is written
/// [MQTT-3.2.2-6], and `false` returned.
pub(super) fn refuse_3(reason: ReasonCode, out: &mut impl Sink) -> bool {
    let Some(code) = codes::connack_3(reason) else { return false };
    // [MQTT-3.2.2-4]: no session is present.
    out.put(&[PacketType::ConnAck.first_octet(), 2, 0, code]);
    true
}

/// CONNACK 0x00 of 5.0.
pub(super) fn accept_5(
    connack: &ConnAck<'_>,
    terms: &Terms<'_>,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let mut properties = Vec::new();
    if connack.session_expiry_s != terms.session_expiry_s {
        properties.push(0x11);
        properties.extend_from_slice(&connack.session_expiry_s.to_be_bytes());
    }
    if let Some(client_id) = connack.assigned_client_id {
        // [MQTT5-3.1.3-7]
        push_binary(&mut properties, 0x12, client_id.as_bytes());
    }
    // Otherwise the client's own is in force [MQTT5-3.2.2-22].
    if let Some(seconds) = terms.server_keep_alive_s {
        properties.push(0x13);
        properties.extend_from_slice(&seconds.to_be_bytes());
    }
    if let Some((method, data)) = terms.authentication {
        push_authentication(&mut properties, method, data);
    }
    if let Some(topics) = &terms.response_topics {
        push_binary(&mut properties, 0x1A, topics.as_bytes());
    }
    if terms.receive_maximum < u16::MAX {
        properties.push(0x21);
        properties.extend_from_slice(&terms.receive_maximum.to_be_bytes());
    }
    if terms.topic_alias_maximum > 0 {
        properties.push(0x22);
        properties.extend_from_slice(&terms.topic_alias_maximum.to_be_bytes());
    }
    properties.push(0x27);
    properties.extend_from_slice(&terms.packet_bytes_max.to_be_bytes());
    push_missing(&mut properties, &terms.features);
    connack_5(connack.session_present, ReasonCode::Success, &properties, bytes_max, out)
}

/// AUTH of 5.0, without words [MQTT5-3.15.2-2], in which a server continues an exchange
/// [MQTT5-4.12.0-2] or ends it well [MQTT5-3.15.2-1]. Says how large it is if it is larger than the
/// client takes.
pub(super) fn auth(
    reason: ReasonCode,
    method: &str,
    data: &[u8],
    bytes_max: u32,
    out: &mut impl Sink,
) -> Result<(), usize> {
    let mut properties = Vec::new();
    push_authentication(&mut properties, method, data);
    let remaining = 1 + varint_len(properties.len()) + properties.len();
    if !fits(remaining, bytes_max) {
        return Err(1 + varint_len(remaining) + remaining);
    }
    let mut head = Head::frame(PacketType::Auth.first_octet(), remaining);
    head.u8(reason as u8);
    head.varint(properties.len());
    head.put(out);
    out.put(&properties);
    Ok(())
}

fn push_authentication(properties: &mut Vec<u8>, method: &str, data: &[u8]) {
    push_binary(properties, 0x15, method.as_bytes());
    if !data.is_empty() {
        push_binary(properties, 0x16, data);
    }
}

/// A property that is a string or binary data, of which there are at most 65,535 octets.
fn push_binary(properties: &mut Vec<u8>, id: u8, octets: &[u8]) {
    let len = u16::try_from(octets.len()).expect("what a server says is short");
    properties.push(id);
    properties.extend_from_slice(&len.to_be_bytes());
    properties.extend_from_slice(octets);
}

/// What is not served; that the rest is goes without saying [MQTT5-3.2.2-9].
fn push_missing(properties: &mut Vec<u8>, features: &Features) {
    if features.maximum_qos < QoS::ExactlyOnce {
        properties.extend_from_slice(&[0x24, features.maximum_qos as u8]);
    }
    for (id, is_served) in [
        (0x25, features.retain),
        (0x28, features.wildcards),
        (0x29, features.subscription_ids),
        (0x2A, features.shared),
    ] {
        if !is_served {
            properties.extend_from_slice(&[id, 0]);
        }
    }
}

/// CONNACK of 5.0 that sends a client to another server, with its name if it fits.
pub(super) fn redirect(
    reason: ReasonCode,
    server: &str,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let mut properties = Vec::new();
    if !server.is_empty() {
        let end = server.floor_char_boundary(SERVER_BYTES_MAX);
        push_binary(&mut properties, 0x1C, &server.as_bytes()[..end]);
    }
    connack_5(false, reason, &properties, bytes_max, out)
        || connack_5(false, reason, &[], bytes_max, out)
}

/// CONNACK of 5.0 with a reason, and with `words` if they fit [MQTT5-3.2.2-19].
pub(super) fn refuse_5(
    reason: ReasonCode,
    words: &Words,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let reason = codes::connack(reason);
    // [MQTT5-3.2.2-6]
    connack_5(false, reason, words.as_properties(), bytes_max, out)
        || connack_5(false, reason, &[], bytes_max, out)
}

/// Of the flags only that of the session is ever set [MQTT5-3.2.2-1].
fn connack_5(
    session_present: bool,
    reason: ReasonCode,
    properties: &[u8],
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let remaining = 2 + varint_len(properties.len()) + properties.len();
    if !fits(remaining, bytes_max) {
        return false;
    }
    let mut head = Head::frame(PacketType::ConnAck.first_octet(), remaining);
    head.u8(u8::from(session_present));
    head.u8(reason as u8);
    head.varint(properties.len());
    head.put(out);
    out.put(properties);
    true
}

/// DISCONNECT of 5.0, with `words` if they fit [MQTT5-3.14.2-3] and never with a session expiry
/// [MQTT5-3.14.2-2].
pub(super) fn disconnect(
    reason: ReasonCode,
    words: &Words,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let first = PacketType::Disconnect.first_octet();
    let reason = codes::disconnect(reason) as u8;
    let properties = words.as_properties();
    let remaining = 1 + varint_len(properties.len()) + properties.len();
    if !properties.is_empty() && fits(remaining, bytes_max) {
        let mut head = Head::frame(first, remaining);
        head.u8(reason);
        head.varint(properties.len());
        head.put(out);
        out.put(properties);
        return true;
    }
    put_if_fits(&[first, 1, reason], bytes_max, out)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP, with the identifier of the message [MQTT-2.3.1-6],
/// [MQTT5-2.2.1-5]. Only 5.0 can say that something went wrong.
#[inline]
pub(super) fn ack(
    ack: &Ack,
    version: Version,
    wants_words: bool,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let reason = match version {
        Version::V31 | Version::V311 => ReasonCode::Success,
        Version::V5 => codes::ack(ack.kind, ack.reason),
    };
    let first = ack_type(ack.kind).first_octet();
    let [high, low] = ack.id.0.to_be_bytes();
    if reason == ReasonCode::Success {
        put_if_fits(&[first, 2, high, low], bytes_max, out)
    } else {
        let words = Words::on(ack_type(ack.kind), reason, wants_words);
        bad_ack(&[first, high, low, reason as u8], &words, bytes_max, out)
    }
}

/// An acknowledgement with a reason, and with `words` if they fit: [MQTT5-3.4.2-2],
/// [MQTT5-3.5.2-2], [MQTT5-3.6.2-2], [MQTT5-3.7.2-2].
#[cold]
fn bad_ack(
    [first, high, low, reason]: &[u8; 4],
    words: &Words,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let properties = words.as_properties();
    let remaining = 3 + varint_len(properties.len()) + properties.len();
    if properties.is_empty() || !fits(remaining, bytes_max) {
        return put_if_fits(&[*first, 3, *high, *low, *reason], bytes_max, out);
    }
    let mut head = Head::frame(*first, remaining);
    [high, low, reason].into_iter().for_each(|octet| head.u8(*octet));
    head.varint(properties.len());
    head.put(out);
    out.put(properties);
    true
}

pub(super) const fn ack_type(kind: AckKind) -> PacketType {
    match kind {
        AckKind::PubAck => PacketType::PubAck,
        AckKind::PubRec => PacketType::PubRec,
        AckKind::PubRel => PacketType::PubRel,
        AckKind::PubComp => PacketType::PubComp,
    }
}

/// SUBACK, with the identifier of the request [MQTT-2.3.1-7], [MQTT-3.8.4-2] and a code for each
/// filter [MQTT-3.8.4-5], in their order [MQTT-3.9.3-1]. The same in 5.0: [MQTT5-2.2.1-6],
/// [MQTT5-3.8.4-2], [MQTT5-3.8.4-6], [MQTT5-3.8.4-7], [MQTT5-3.9.3-1].
pub(super) fn suback(
    id: PacketId,
    reasons: &[ReasonCode],
    version: Version,
    wants_words: bool,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let codes = reasons.iter().map(|reason| codes::suback(version, *reason)).collect::<Vec<_>>();
    let refusal = reasons.iter().find(|reason| reason.is_error());
    let words =
        refusal.map_or(Words::NONE, |reason| Words::on(PacketType::SubAck, *reason, wants_words));
    with_codes(PacketType::SubAck, id, &codes, &words, version, bytes_max, out)
        || with_codes(PacketType::SubAck, id, &codes, &Words::NONE, version, bytes_max, out)
}

/// UNSUBACK, with the identifier of the request [MQTT-3.10.4-4], [MQTT5-3.10.4-5]. Only 5.0 has a
/// code for each filter [MQTT5-3.11.3-1].
pub(super) fn unsuback(
    id: PacketId,
    reasons: &[ReasonCode],
    version: Version,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let codes = match version {
        Version::V31 | Version::V311 => Vec::new(),
        Version::V5 => reasons.iter().map(|reason| codes::unsuback(*reason)).collect(),
    };
    with_codes(PacketType::UnsubAck, id, &codes, &Words::NONE, version, bytes_max, out)
}

/// Packet identifier, words as properties, and a code for each filter; if that fits
/// [MQTT5-3.9.2-1], [MQTT5-3.11.2-1].
fn with_codes(
    kind: PacketType,
    id: PacketId,
    codes: &[u8],
    words: &Words,
    version: Version,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let properties = words.as_properties();
    let properties_size = match version {
        Version::V31 | Version::V311 => 0,
        Version::V5 => varint_len(properties.len()) + properties.len(),
    };
    let remaining = 2 + properties_size + codes.len();
    let does_fit = fits(remaining, bytes_max);
    if does_fit {
        let mut head = Head::frame(kind.first_octet(), remaining);
        head.u16(id.0);
        if version == Version::V5 {
            head.varint(properties.len());
        }
        head.put(out);
        if version == Version::V5 {
            out.put(properties);
        }
        out.put(codes);
    }
    does_fit
}

/// PINGRESP [MQTT-3.12.4-1], [MQTT5-3.12.4-1].
pub(super) fn pingresp(bytes_max: u32, out: &mut impl Sink) -> bool {
    put_if_fits(&[PacketType::PingResp.first_octet(), 0], bytes_max, out)
}

#[inline]
fn put_if_fits(packet: &[u8], bytes_max: u32, out: &mut impl Sink) -> bool {
    let does_fit = packet.len() <= bytes_max as usize;
    if does_fit {
        out.put(packet);
    }
    does_fit
}
