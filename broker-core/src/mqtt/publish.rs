//! PUBLISH, both ways: what the connection does most.

use super::error::Fault;
use super::frame::{DUP, PacketType, RETAIN, fits, varint_len};
use super::naming::Name;
use super::property;
use super::read::Reader;
use super::sink::Sink;
use super::version::Version;
use super::write::Head;
use crate::api::{Delivery, PacketId, QoS};
use crate::property::{Properties, Property};
use crate::topic::TopicName;

/// A PUBLISH as it was received: the topic alias is not looked up yet.
#[derive(Debug)]
pub(super) struct Received<'a> {
    /// `None`: an empty one, which needs an alias.
    pub(super) topic: Option<TopicName<'a>>,
    pub(super) alias: Option<u16>,
    pub(super) payload: &'a [u8],
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) dup: bool,
    /// Zero at QoS 0.
    pub(super) id: PacketId,
    pub(super) properties: Properties<'a>,
}

/// Reads a PUBLISH whose first octet has been checked: topic name [MQTT-3.3.2-1], [MQTT-3.3.2-2],
/// [MQTT5-3.3.2-1], [MQTT5-3.3.2-2], packet identifier at QoS 1 and 2, properties (5.0), payload.
#[inline]
pub(super) fn decode(first: u8, body: &[u8], version: Version) -> Result<Received<'_>, Fault> {
    let qos = QoS::from_u8(first >> 1 & 0b11).ok_or(Fault::BadQos)?;
    let mut reader = Reader::new(body);
    let topic = match version {
        Version::V31 | Version::V311 => Some(reader.topic_name()?),
        Version::V5 => reader.optional_topic_name()?,
    };
    let id = match qos {
        // [MQTT-2.3.1-5], [MQTT5-2.2.1-2]
        QoS::AtMostOnce => PacketId(0),
        QoS::AtLeastOnce | QoS::ExactlyOnce => reader.packet_id()?,
    };
    let mut alias = None;
    let properties = match version {
        Version::V31 | Version::V311 => Properties::EMPTY,
        Version::V5 => property::read(&mut reader, &property::PUBLISH, |property| {
            if let Property::TopicAlias(set) = property {
                alias = Some(set);
            }
        })?,
    };
    Ok(Received {
        topic,
        alias,
        payload: reader.rest(),
        qos,
        retain: first & RETAIN != 0,
        dup: first & DUP != 0,
        id,
        properties,
    })
}

/// Writes a PUBLISH, unless it would have more than `bytes_max` octets; says whether it did
/// [MQTT5-3.1.2-24].
#[inline]
pub(super) fn encode(
    delivery: &Delivery<'_>,
    version: Version,
    name: Name,
    bytes_max: u32,
    out: &mut impl Sink,
) -> bool {
    let message = delivery.message;
    let topic = if matches!(name, Name::Alias(_)) { "" } else { message.topic() };
    let payload = message.payload();
    let id_len = if delivery.qos == QoS::AtMostOnce { 0 } else { 2 };
    let properties_len = match version {
        Version::V31 | Version::V311 => 0,
        Version::V5 => properties_len(delivery, name),
    };
    let properties_size = match version {
        Version::V31 | Version::V311 => 0,
        Version::V5 => varint_len(properties_len) + properties_len,
    };
    let remaining = 2 + topic.len() + id_len + properties_size + payload.len();
    if !fits(remaining, bytes_max) {
        return false;
    }
    let mut head = Head::frame(first_octet(delivery), remaining);
    head.string_len(topic);
    let id = delivery.id.0.to_be_bytes();
    let id = &id[..id_len];
    // All that is copied goes in one piece, where nothing is to be said between.
    let copied = match (version, message.shared_payload()) {
        (Version::V31 | Version::V311, None) => payload,
        (Version::V31 | Version::V311, Some(_)) | (Version::V5, _) => &[],
    };
    head.put_with([topic.as_bytes(), id, copied], out);
    if version == Version::V5 {
        write_properties(delivery, name, properties_len, out);
    }
    match message.shared_payload() {
        Some(shared) => out.put_shared(shared),
        None if version == Version::V5 => out.put(payload),
        None => {}
    }
    true
}

/// DUP [MQTT-3.3.1-1], [MQTT5-3.3.1-1] is for QoS 1 and 2 [MQTT-3.3.1-2], [MQTT-4.3.1-1],
/// [MQTT5-4.3.1-1].
fn first_octet(delivery: &Delivery<'_>) -> u8 {
    let dup = if delivery.dup && delivery.qos > QoS::AtMostOnce { DUP } else { 0 };
    let retain = if delivery.retain { RETAIN } else { 0 };
    PacketType::Publish.first_octet() | dup | (delivery.qos as u8) << 1 | retain
}

const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const TOPIC_ALIAS: u8 = 0x23;

/// Octets of the properties: those of the publisher in their order [MQTT5-3.3.2-18], what is left
/// of the message's time [MQTT5-3.3.2-6], the identifiers of all subscriptions that this is for
/// [MQTT5-3.3.4-4], and a topic alias [MQTT5-3.3.2-11].
fn properties_len(delivery: &Delivery<'_>, name: Name) -> usize {
    let alias = if name.alias().is_some() { 1 + 2 } else { 0 };
    let expiry = if delivery.expiry_s.is_some() { 1 + 4 } else { 0 };
    let ids =
        delivery.subscription_ids.iter().map(|id| 1 + varint_len(*id as usize)).sum::<usize>();
    delivery.message.properties().as_octets().len() + alias + expiry + ids
}

fn write_properties(delivery: &Delivery<'_>, name: Name, len: usize, out: &mut impl Sink) {
    let mut head = Head::new();
    head.varint(len);
    if let Some(alias) = name.alias() {
        head.u8(TOPIC_ALIAS);
        head.u16(alias);
    }
    if let Some(seconds) = delivery.expiry_s {
        head.u8(MESSAGE_EXPIRY_INTERVAL);
        head.u32(seconds);
    }
    head.put(out);
    let properties = delivery.message.properties();
    if !properties.is_empty() {
        out.put(properties.as_octets());
    }
    for id in delivery.subscription_ids {
        head.u8(SUBSCRIPTION_IDENTIFIER);
        head.varint(*id as usize);
        head.put(out);
    }
}
