//! Which property may stand in which packet of a client, how often, and with which values.

use super::error::{Fault, Field};
use super::read::Reader;
use crate::property::{Properties, Property};
use crate::topic::TopicName;

/// The properties that a place in a packet has room for.
#[derive(Debug)]
pub(super) struct Place {
    /// What the block is called.
    field: Field,
    /// Identifiers that a client may use, one bit each: there is none above 0x2A.
    allowed: u64,
    /// Identifiers that only servers use there.
    of_servers: u64,
}

impl Place {
    const fn new(field: Field, allowed: &[u8]) -> Self {
        Self { field, allowed: set_of(allowed), of_servers: 0 }
    }

    const fn but_servers(self, of_servers: &[u8]) -> Self {
        Self { field: self.field, allowed: self.allowed, of_servers: set_of(of_servers) }
    }
}

const fn set_of(ids: &[u8]) -> u64 {
    let mut set = 0;
    let mut at = 0;
    while at < ids.len() {
        set |= 1 << ids[at];
        at += 1;
    }
    set
}

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const SERVER_REFERENCE: u8 = 0x1C;
const USER_PROPERTY: u8 = 0x26;

pub(super) const CONNECT: Place =
    Place::new("properties", &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, USER_PROPERTY, 0x27]);
pub(super) const WILL: Place =
    Place::new("will properties", &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, USER_PROPERTY]);
/// A client has no subscription identifiers to send [MQTT5-3.3.4-6].
pub(super) const PUBLISH: Place =
    Place::new("properties", &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, USER_PROPERTY])
        .but_servers(&[SUBSCRIPTION_IDENTIFIER]);
/// PUBACK, PUBREC, PUBREL and PUBCOMP.
pub(super) const ACK: Place = Place::new("properties", &[0x1F, USER_PROPERTY]);
pub(super) const SUBSCRIBE: Place =
    Place::new("properties", &[SUBSCRIPTION_IDENTIFIER, USER_PROPERTY]);
pub(super) const UNSUBSCRIBE: Place = Place::new("properties", &[USER_PROPERTY]);
pub(super) const DISCONNECT: Place =
    Place::new("properties", &[0x11, 0x1F, USER_PROPERTY]).but_servers(&[SERVER_REFERENCE]);
pub(super) const AUTH: Place = Place::new("properties", &[0x15, 0x16, 0x1F, USER_PROPERTY]);

/// Reads a block of properties and shows each of them to `hear`. One pass. Strings are UTF-8
/// wherever they stand [MQTT5-3.3.2-19].
#[inline]
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    place: &Place,
    mut hear: impl FnMut(Property<'a>),
) -> Result<Properties<'a>, Fault> {
    let block = reader.block(place.field)?;
    if block.is_empty() {
        return Ok(Properties::EMPTY);
    }
    let mut seen = 0;
    Properties::parse_with(block, |property, octets| {
        // Every identifier that there is has one octet.
        let id = octets[0];
        let bit = 1 << id;
        if place.allowed & bit == 0 {
            let is_of_servers = place.of_servers & bit != 0;
            return Err(if is_of_servers {
                Fault::PropertyOfServers(id)
            } else {
                Fault::PropertyMisplaced(id)
            });
        }
        if seen & bit != 0 && id != USER_PROPERTY {
            return Err(Fault::PropertyTwice(id));
        }
        seen |= bit;
        check_value(property, id)?;
        hear(property);
        Ok(())
    })
}

fn check_value(property: Property<'_>, id: u8) -> Result<(), Fault> {
    let is_good = match property {
        Property::PayloadFormatIndicator(value)
        | Property::RequestProblemInformation(value)
        | Property::RequestResponseInformation(value)
        | Property::MaximumQos(value)
        | Property::RetainAvailable(value)
        | Property::WildcardSubscriptionAvailable(value)
        | Property::SubscriptionIdentifiersAvailable(value)
        | Property::SharedSubscriptionAvailable(value) => value <= 1,
        Property::SubscriptionIdentifier(value) | Property::MaximumPacketSize(value) => value > 0,
        Property::ReceiveMaximum(value) => value > 0,
        // [MQTT5-3.3.2-8]; too high ones are found where the maximum is known.
        Property::TopicAlias(0) => return Err(Fault::AliasInvalid(0)),
        // A topic name like any other [MQTT5-3.3.2-13], [MQTT5-3.3.2-14].
        Property::ResponseTopic(topic) => TopicName::new(topic).is_ok(),
        Property::MessageExpiryInterval(_)
        | Property::ContentType(_)
        | Property::CorrelationData(_)
        | Property::SessionExpiryInterval(_)
        | Property::AssignedClientIdentifier(_)
        | Property::ServerKeepAlive(_)
        | Property::AuthenticationMethod(_)
        | Property::AuthenticationData(_)
        | Property::WillDelayInterval(_)
        | Property::ResponseInformation(_)
        | Property::ServerReference(_)
        | Property::ReasonString(_)
        | Property::TopicAliasMaximum(_)
        | Property::TopicAlias(_)
        | Property::UserProperty(..) => true,
    };
    if is_good { Ok(()) } else { Err(Fault::PropertyValue(id)) }
}
