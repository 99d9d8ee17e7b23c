//! SUBSCRIBE and UNSUBSCRIBE.
//!
//! packet identifier → properties (5.0) → filters, each with its options in SUBSCRIBE.

use super::error::Fault;
use super::property;
use super::read::Reader;
use super::settings::Features;
use super::version::Version;
use crate::api::{PacketId, QoS, RetainHandling, SubscribeRequest, SubscriptionOptions};
use crate::property::Property;
use crate::topic::TopicFilter;

/// A SUBSCRIBE as it was received.
#[derive(Debug)]
pub(super) struct Subscribe<'a> {
    pub(super) id: PacketId,
    /// Zero: none.
    pub(super) identifier: u32,
    pub(super) requests: Vec<SubscribeRequest<'a>>,
}

/// Reads a SUBSCRIBE: its filters in their order [MQTT-3.8.4-4]. What it allocates grows with the
/// filters that are really there.
///
/// A bridge of 3.1 or 3.1.1 gets what it would ask for in 5.0: no message that it sent itself, and
/// the RETAIN flag as it was published.
pub(super) fn subscribe<'a>(
    body: &'a [u8],
    version: Version,
    is_bridge: bool,
    features: &Features,
) -> Result<Subscribe<'a>, Fault> {
    let mut reader = Reader::new(body);
    let id = reader.packet_id()?;
    let mut identifier = 0;
    if version == Version::V5 {
        property::read(&mut reader, &property::SUBSCRIBE, |property| {
            if let Property::SubscriptionIdentifier(set) = property {
                identifier = set;
            }
        })?;
    }
    if identifier > 0 && !features.subscription_ids {
        return Err(Fault::SubscriptionIdsNotServed);
    }
    check_not_empty(&reader, version)?;
    let mut requests = Vec::new();
    while !reader.is_empty() {
        let filter = reader.topic_filter()?;
        let octet = reader.u8("subscription options")?;
        let mut options = match version {
            Version::V31 | Version::V311 => options_3(octet, filter, is_bridge)?,
            Version::V5 => options_5(octet, filter)?,
        };
        check_served(filter, features)?;
        // Any QoS may be asked for [MQTT5-3.2.2-10].
        options.qos = options.qos.min(features.maximum_qos);
        requests.push(SubscribeRequest { filter, options });
    }
    Ok(Subscribe { id, identifier, requests })
}

/// Reads an UNSUBSCRIBE, likewise [MQTT-3.10.4-6].
pub(super) fn unsubscribe(
    body: &[u8],
    version: Version,
) -> Result<(PacketId, Vec<TopicFilter<'_>>), Fault> {
    let mut reader = Reader::new(body);
    let id = reader.packet_id()?;
    if version == Version::V5 {
        property::read(&mut reader, &property::UNSUBSCRIBE, |_| {})?;
    }
    check_not_empty(&reader, version)?;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(reader.topic_filter()?);
    }
    Ok((id, filters))
}

/// The filter is of a kind that is served [MQTT-3.8.3-2].
fn check_served(filter: TopicFilter<'_>, features: &Features) -> Result<(), Fault> {
    let (is_shared, plain) = filter.share().map_or((false, filter), |(_, plain)| (true, plain));
    if is_shared && !features.shared {
        return Err(Fault::SharedNotServed);
    }
    if !features.wildcards && plain.has_wildcard() {
        return Err(Fault::WildcardsNotServed);
    }
    Ok(())
}

/// There is a filter: [MQTT-3.8.3-3], [MQTT5-3.8.3-2], [MQTT-3.10.3-2]. MQTT 3.1 does
/// not ask for one.
fn check_not_empty(reader: &Reader<'_>, version: Version) -> Result<(), Fault> {
    if reader.is_empty() && version != Version::V31 { Err(Fault::NoFilters) } else { Ok(()) }
}

/// The octet of 3.1 and 3.1.1: a QoS, and nothing beside it [MQTT-3-8.3-4].
fn options_3(
    octet: u8,
    filter: TopicFilter<'_>,
    is_bridge: bool,
) -> Result<SubscriptionOptions, Fault> {
    if octet & 0b1111_1100 != 0 {
        return Err(Fault::ReservedBits("subscription options"));
    }
    Ok(SubscriptionOptions {
        qos: QoS::from_u8(octet).ok_or(Fault::BadSubscriptionQos)?,
        // [MQTT5-3.8.3-4]
        no_local: is_bridge && filter.share().is_none(),
        retain_as_published: is_bridge,
        retain_handling: RetainHandling::Always,
    })
}

/// The octet of 5.0.
fn options_5(octet: u8, filter: TopicFilter<'_>) -> Result<SubscriptionOptions, Fault> {
    // [MQTT5-3.8.3-5]
    if octet & 0b1100_0000 != 0 {
        return Err(Fault::ReservedBits("subscription options"));
    }
    let options = SubscriptionOptions {
        qos: QoS::from_u8(octet & 0b11).ok_or(Fault::BadSubscriptionQos)?,
        no_local: octet & 0b0100 != 0,
        retain_as_published: octet & 0b1000 != 0,
        retain_handling: match octet >> 4 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return Err(Fault::BadRetainHandling),
        },
    };
    // [MQTT5-3.8.3-4]
    if options.no_local && filter.share().is_some() {
        return Err(Fault::NoLocalOnShared);
    }
    Ok(options)
}
