//! CONNECT.
//!
//! protocol name and level, which decide how the rest is read → flags → keep alive → properties
//! (5.0) → client identifier → will → user name → password [MQTT-3.1.3-1]. A request that is
//! well-formed can still be one that this server refuses: that is looked at last, since only then
//! an answer is due [MQTT-3.1.4-1].

use core::time::Duration;

use super::error::Fault;
use super::property;
use super::read::Reader;
use super::settings::{Features, Settings};
use super::version::Version;
use crate::api::{Connect, ConnectWill, Credit, Durability, QoS, Will};
use crate::property::{Properties, Property};

/// What a CONNECT begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) version: Version,
    /// Whether the client calls itself a bridge, by the highest bit of the level: a custom of RSMB
    /// and Mosquitto for versions without "no local".
    pub(super) is_bridge: bool,
    pub(super) level: u8,
}

impl Protocol {
    /// Reads name and level. A level that goes with the other name is a level that is not served
    /// [MQTT-3.1.2-1], [MQTT-3.1.2-2], [MQTT5-3.1.2-1], [MQTT5-3.1.2-2].
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        const BRIDGE: u8 = 0x80;
        let name = reader.binary("protocol name")?;
        let level = reader.u8("protocol level")?;
        let version = match (name, level) {
            (b"MQTT", 5) => Version::V5,
            (b"MQTT", 4 | 0x84) => Version::V311,
            (b"MQIsdp", 3 | 0x83) => Version::V31,
            (b"MQTT" | b"MQIsdp", _) => return Err(Fault::ProtocolLevel(level)),
            _ => return Err(Fault::ProtocolName),
        };
        Ok(Self { version, is_bridge: level & BRIDGE != 0, level })
    }
}

/// What a CONNECT says, for the broker and for the connection itself.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) connect: Connect<'a>,
    pub(super) wishes: Wishes,
    /// Seconds of keep alive that the client has to use instead of its own.
    pub(super) server_keep_alive_s: Option<u16>,
    /// Whether the server may choose the client identifier.
    may_be_unnamed: bool,
}

/// Reads what follows protocol name and level.
pub(super) fn decode<'a>(
    mut reader: Reader<'a>,
    version: Version,
    settings: &Settings,
) -> Result<Request<'a>, Fault> {
    let flags = Flags::new(reader.u8("connect flags")?, version)?;
    let keep_alive_s = reader.u16("keep alive")?;
    let (wishes, properties) = match version {
        Version::V31 | Version::V311 => (Wishes::default(), Properties::EMPTY),
        Version::V5 => Wishes::read(&mut reader)?,
    };
    // [MQTT-3.1.3-3], [MQTT-3.1.3-4]
    let client_id = reader.string("client identifier")?;
    let will = if flags.has(Flags::WILL) {
        ConnectWill::Set(read_will(&mut reader, flags, version)?)
    } else {
        // [MQTT-3.1.2-12]
        ConnectWill::None
    };
    // User name [MQTT-3.1.2-18], [MQTT-3.1.2-19], [MQTT-3.1.3-11], password [MQTT-3.1.2-20],
    // [MQTT-3.1.2-21]
    let has_user_name = flags.has(Flags::USER_NAME) && !is_left_out(&reader, version);
    let user_name = if has_user_name { Some(reader.string("user name")?) } else { None };
    let has_password = flags.has(Flags::PASSWORD) && !is_left_out(&reader, version);
    let password = if has_password { Some(reader.binary("password")?) } else { None };
    reader.end()?;

    let clean_start = flags.has(Flags::CLEAN_START);
    let (session_expiry_s, server_keep_alive_s, may_be_unnamed) = match version {
        Version::V31 => (expiry_3(clean_start, settings), None, false),
        Version::V311 => (expiry_3(clean_start, settings), None, clean_start),
        Version::V5 => (wishes.session_expiry_s, shorter_keep_alive(keep_alive_s, settings), true),
    };
    let connect = Connect {
        dialect: version.dialect(),
        client_id,
        clean_start,
        session_expiry_s,
        keep_alive: tolerated_silence(server_keep_alive_s.unwrap_or(keep_alive_s)),
        will,
        will_on_takeover: true,
        user_name,
        password,
        credit: Credit::Window(settings.window.min(wishes.receive_maximum)),
        queue: settings.queue,
        durability: Durability::Gated,
        properties,
    };
    Ok(Request { connect, wishes, server_keep_alive_s, may_be_unnamed })
}

impl Request<'_> {
    /// Whether the server takes it [MQTT-3.1.3-9], [MQTT5-3.1.3-8]. An identifier of no characters
    /// is the server's to choose [MQTT-3.1.3-6]: in 3.1.1 only with a clean session [MQTT-3.1.3-7],
    /// [MQTT-3.1.3-8], in 3.1 never. The 23 characters of 3.1 are not insisted on, as nobody does.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), Fault> {
        let size = self.connect.client_id.len();
        let max = settings.client_id_bytes_max;
        if size == 0 && !self.may_be_unnamed {
            return Err(Fault::ClientIdEmpty);
        }
        if size > max {
            return Err(Fault::ClientIdTooLong { size, max });
        }
        if let Some(redirect) = &settings.redirect {
            return Err(Fault::Elsewhere { is_permanent: redirect.is_permanent });
        }
        match &self.connect.will {
            ConnectWill::Set(will) => check_publication(&settings.features, will.qos, will.retain),
            ConnectWill::None | ConnectWill::Keep => Ok(()),
        }
    }
}

/// The method by which a client wants to show who it is, and what it says first.
pub(super) fn authentication<'a>(request: &Request<'a>) -> Option<(&'a str, Option<&'a [u8]>)> {
    if !request.wishes.has_authentication_method {
        return None;
    }
    let (mut method, mut data) = (None, None);
    for property in request.connect.properties.iter() {
        if let Property::AuthenticationMethod(name) = property {
            method = Some(name);
        } else if let Property::AuthenticationData(octets) = property {
            data = Some(octets);
        }
    }
    method.map(|method| (method, data))
}

/// Whether a message or a will asks for what is served.
#[inline]
pub(super) fn check_publication(features: &Features, qos: QoS, retain: bool) -> Result<(), Fault> {
    if qos > features.maximum_qos {
        return Err(Fault::QosNotServed);
    }
    if retain && !features.retain {
        return Err(Fault::RetainNotServed);
    }
    Ok(())
}

/// The octet of flags.
#[derive(Clone, Copy, Debug)]
struct Flags(u8);

impl Flags {
    const RESERVED: u8 = 0b0000_0001;
    const CLEAN_START: u8 = 0b0000_0010;
    const WILL: u8 = 0b0000_0100;
    const WILL_RETAIN: u8 = 0b0010_0000;
    const PASSWORD: u8 = 0b0100_0000;
    const USER_NAME: u8 = 0b1000_0000;

    fn new(octet: u8, version: Version) -> Result<Self, Fault> {
        let flags = Self(octet);
        // [MQTT-3.1.2-3], [MQTT5-3.1.2-3]; MQTT 3.1 calls the bit unused.
        if flags.has(Self::RESERVED) && version != Version::V31 {
            return Err(Fault::ReservedBits("connect flags"));
        }
        let will_qos = flags.will_qos()?;
        // [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]
        if !flags.has(Self::WILL) && (will_qos != QoS::AtMostOnce || flags.has(Self::WILL_RETAIN)) {
            return Err(Fault::FlagsWithoutWill);
        }
        // [MQTT-3.1.2-22]
        let is_password_alone = flags.has(Self::PASSWORD) && !flags.has(Self::USER_NAME);
        if is_password_alone && version != Version::V5 {
            return Err(Fault::PasswordWithoutUserName);
        }
        Ok(flags)
    }

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// [MQTT-3.1.2-14]
    fn will_qos(self) -> Result<QoS, Fault> {
        QoS::from_u8(self.0 >> 3 & 0b11).ok_or(Fault::BadQos)
    }
}

/// What the properties of CONNECT ask for.
#[derive(Debug)]
pub(super) struct Wishes {
    session_expiry_s: u32,
    receive_maximum: u16,
    pub(super) topic_alias_maximum: u16,
    /// Octets of the largest packet that the client takes [MQTT5-3.1.2-24].
    pub(super) packet_bytes_max: u32,
    /// Whether the client likes to be told why, in words [MQTT5-3.1.2-29].
    pub(super) wants_words: bool,
    /// Whether the client asks for response information.
    pub(super) wants_response_topics: bool,
    has_authentication_method: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            session_expiry_s: 0,
            receive_maximum: u16::MAX,
            topic_alias_maximum: 0,
            packet_bytes_max: u32::MAX,
            wants_words: true,
            wants_response_topics: false,
            has_authentication_method: false,
        }
    }
}

impl Wishes {
    fn read<'a>(reader: &mut Reader<'a>) -> Result<(Self, Properties<'a>), Fault> {
        let mut wishes = Self::default();
        let mut has_authentication_data = false;
        let properties = property::read(reader, &property::CONNECT, |property| {
            if let Property::SessionExpiryInterval(seconds) = property {
                wishes.session_expiry_s = seconds;
            } else if let Property::ReceiveMaximum(messages) = property {
                wishes.receive_maximum = messages;
            } else if let Property::TopicAliasMaximum(aliases) = property {
                wishes.topic_alias_maximum = aliases;
            } else if let Property::MaximumPacketSize(octets) = property {
                wishes.packet_bytes_max = octets;
            } else if let Property::RequestProblemInformation(wanted) = property {
                wishes.wants_words = wanted == 1;
            } else if let Property::RequestResponseInformation(wanted) = property {
                wishes.wants_response_topics = wanted == 1;
            } else if let Property::AuthenticationMethod(_) = property {
                wishes.has_authentication_method = true;
            } else if let Property::AuthenticationData(_) = property {
                has_authentication_data = true;
            }
        })?;
        if has_authentication_data && !wishes.has_authentication_method {
            return Err(Fault::AuthenticationData);
        }
        Ok((wishes, properties))
    }
}

/// The fields of the will: both are there [MQTT-3.1.2-9], and the topic is one to publish to
/// [MQTT-3.1.3-10].
fn read_will<'a>(
    reader: &mut Reader<'a>,
    flags: Flags,
    version: Version,
) -> Result<Will<'a>, Fault> {
    let mut delay_s = 0;
    let properties = match version {
        Version::V31 | Version::V311 => Properties::EMPTY,
        Version::V5 => property::read(reader, &property::WILL, |property| {
            if let Property::WillDelayInterval(seconds) = property {
                delay_s = seconds;
            }
        })?,
    };
    let topic = reader.topic_name()?;
    let payload = reader.binary("will payload")?;
    Ok(Will {
        topic,
        payload,
        qos: flags.will_qos()?,
        // [MQTT-3.1.2-16], [MQTT-3.1.2-17], [MQTT5-3.1.2-14], [MQTT5-3.1.2-15]
        retain: flags.has(Flags::WILL_RETAIN),
        delay_s,
        properties,
    })
}

/// Whether the field that a flag announces is missing as a whole, which MQTT 3.1 allows: its first
/// draft had neither user name nor password.
const fn is_left_out(reader: &Reader<'_>, version: Version) -> bool {
    match version {
        Version::V31 => reader.is_empty(),
        Version::V311 | Version::V5 => false,
    }
}

/// CleanSession 1 is a session that ends with its connection [MQTT-3.1.2-6], CleanSession 0 one
/// that stays [MQTT-3.1.2-4].
const fn expiry_3(clean_start: bool, settings: &Settings) -> u32 {
    if clean_start { 0 } else { settings.session_expiry_s }
}

/// The keep alive that the server sets, if the client wishes a longer one or none.
fn shorter_keep_alive(keep_alive_s: u16, settings: &Settings) -> Option<u16> {
    let max = settings.keep_alive_max_s?.get();
    (keep_alive_s == 0 || keep_alive_s > max).then_some(max)
}

/// One and a half times the keep alive [MQTT-3.1.2-24], [MQTT5-3.1.2-22]; zero turns
/// it off.
fn tolerated_silence(keep_alive_s: u16) -> Option<Duration> {
    (keep_alive_s > 0).then(|| Duration::from_millis(1_500 * u64::from(keep_alive_s)))
}
