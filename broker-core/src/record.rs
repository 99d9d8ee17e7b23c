//! The records of a broker: what is kept of it, table by table.
//!
//! Every change of what must survive puts or deletes a few of these; none holds a list, so that a
//! change costs what it changes. A value begins with the octet of its format. All numbers are
//! little endian, and what has no length in front goes to the end of the value.
//!
//! ```text
//! table           number          value behind the octet of the format, lengths in octets
//! 1 message       sequence        flags 1 · expires 8, within 4, if it does · texts
//! 2 session       its own         dialect 1 · overflow 1 · expiry 4 · gone since 8 ·
//!                                 queue: messages 4, QoS 0 messages 4, octets 8 · client id
//! 3 subscription  its own         options 1 · session 4 · identifier 4 · filter
//! 4 delivery      its own         flags 1 · session 4 · packet id 2 · message 8 ·
//!                                 share 8, if it came by one ·
//!                                 ahead of 8, if it is looked up and waits · identifiers, 4 each
//! 5 replay        subscription    QoS 1 · identifier 4 · before 8 · has begun 1 · next key
//! 6 received      session << 16 | packet id
//! 7 window        session         last packet id 2 · last delivery 8
//! 8 retained      message
//! 9 will          its own         flags 1 · state 1 · session 4 · delay 4 · deadline 8 · texts
//!
//! texts           topic length 2 · properties length 4 · topic · properties · payload
//! ```
//!
//! Deliveries in flight are numbered in the order of sending, those that wait in the order in which
//! they were queued; but retained messages that were looked up wait in front of the delivery with a
//! number that they name, and of all later ones. A table refers only to tables in front of it.

use crate::api::SubscriptionOptions;
use crate::api::{Dialect, Overflow, PacketId, QoS, QueueLimits, RetainHandling};
use crate::journal::RecordKey;
use crate::property::Properties;
use crate::time::UnixMillis;
use crate::topic::{TopicFilter, TopicName};

/// The format of all values here.
pub(crate) const FORMAT: u8 = 1;

/// Where the number of a session would stand if there were one.
pub(crate) const NO_SESSION: u32 = u32::MAX;

/// Numbers stay below this, so that none that is counted up from one that was read gets too large.
const NUMBER_END: u64 = 1 << 55;
const SESSION_END: u32 = 1 << 31;

/// No such moment.
const NEVER: u64 = u64::MAX;

/// The tables of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Table {
    Message = 1,
    Session = 2,
    Subscription = 3,
    Delivery = 4,
    Replay = 5,
    Received = 6,
    Window = 7,
    Retained = 8,
    Will = 9,
}

impl Table {
    /// The table with this number.
    pub(crate) const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Message,
            2 => Self::Session,
            3 => Self::Subscription,
            4 => Self::Delivery,
            5 => Self::Replay,
            6 => Self::Received,
            7 => Self::Window,
            8 => Self::Retained,
            9 => Self::Will,
            _ => return None,
        })
    }

    /// The key of a record of this table.
    pub(crate) const fn key(self, number: u64) -> RecordKey {
        RecordKey::new(self as u8, number)
    }
}

/// The number of a record that has one of its own, if it is one that we would give.
pub(crate) fn own_number(key: RecordKey) -> Option<u64> {
    Some(key.number()).filter(|number| *number < NUMBER_END)
}

/// The number of a session, likewise.
pub(crate) fn session_number(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number < SESSION_END)
}

/// The number of a record in the table of received identifiers.
pub(crate) const fn received_number(session: u32, id: PacketId) -> u64 {
    (session as u64) << 16 | id.0 as u64
}

/// Its parts.
pub(crate) fn received_parts(number: u64) -> Option<(u32, PacketId)> {
    let id = PacketId((number & 0xFFFF) as u16);
    session_number(number >> 16).map(|session| (session, id))
}

/// A message that somebody waits for, or that is retained.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MessageRecord<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expires: Option<UnixMillis>,
    /// The seconds that it had left when the record was made: a wall clock that is turned back
    /// makes them no more.
    pub(crate) within_s: Option<u32>,
    pub(crate) topic: &'a str,
    pub(crate) properties: Properties<'a>,
    pub(crate) payload: &'a [u8],
}

impl<'a> MessageRecord<'a> {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        let expires = u8::from(self.expires.is_some()) | u8::from(self.within_s.is_some()) << 1;
        into.push(self.qos as u8 | u8::from(self.retain) << 2 | expires << 3);
        if let Some(expires) = self.expires {
            into.extend_from_slice(&expires.0.to_le_bytes());
        }
        if let Some(within_s) = self.within_s {
            into.extend_from_slice(&within_s.to_le_bytes());
        }
        write_texts(into, self.topic, self.properties, self.payload);
    }

    pub(crate) fn read(mut value: Reader<'a>) -> Option<Self> {
        let flags = value.u8()?;
        let expires = if flags & 8 != 0 { Some(UnixMillis(value.u64()?)) } else { None };
        let within_s = if flags & 16 != 0 { Some(value.u32()?) } else { None };
        let (topic, properties, payload) = value.texts()?;
        let topic = TopicName::new(topic).ok()?.as_str();
        let qos = QoS::from_u8(flags & 3)?;
        let retain = flags & 4 != 0;
        Some(Self { qos, retain, expires, within_s, topic, properties, payload })
    }
}

/// One client's session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SessionRecord<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) expiry_s: u32,
    /// `None`: it has a link.
    pub(crate) gone_since: Option<UnixMillis>,
    pub(crate) queue: QueueLimits,
    pub(crate) client_id: &'a str,
}

impl<'a> SessionRecord<'a> {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.push(match self.dialect {
            Dialect::Mqtt31 => 3,
            Dialect::Mqtt311 => 4,
            Dialect::Mqtt5 => 5,
            Dialect::MqttSn12 => 12,
        });
        into.push(match self.queue.overflow {
            Overflow::RejectNew => 0,
            Overflow::DropOldest => 1,
            Overflow::Disconnect => 2,
        });
        into.extend_from_slice(&self.expiry_s.to_le_bytes());
        into.extend_from_slice(&moment(self.gone_since).to_le_bytes());
        into.extend_from_slice(&self.queue.messages_max.to_le_bytes());
        into.extend_from_slice(&self.queue.paused_qos0_messages_max.to_le_bytes());
        into.extend_from_slice(&self.queue.bytes_max.to_le_bytes());
        into.extend_from_slice(self.client_id.as_bytes());
    }

    pub(crate) fn read(mut value: Reader<'a>) -> Option<Self> {
        let dialect = match value.u8()? {
            3 => Dialect::Mqtt31,
            4 => Dialect::Mqtt311,
            5 => Dialect::Mqtt5,
            12 => Dialect::MqttSn12,
            _ => return None,
        };
        let overflow = match value.u8()? {
            0 => Overflow::RejectNew,
            1 => Overflow::DropOldest,
            2 => Overflow::Disconnect,
            _ => return None,
        };
        let expiry_s = value.u32()?;
        let gone_since = value.moment()?;
        let queue = QueueLimits {
            messages_max: value.u32()?,
            paused_qos0_messages_max: value.u32()?,
            bytes_max: value.u64()?,
            overflow,
        };
        let client_id = core::str::from_utf8(value.rest()).ok().filter(|id| !id.is_empty())?;
        Some(Self { dialect, expiry_s, gone_since, queue, client_id })
    }
}

/// One subscription, shared or not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionRecord<'a> {
    pub(crate) session: u32,
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: u32,
    /// The share name, if it has one, and the filter, as in SUBSCRIBE.
    pub(crate) share: Option<&'a str>,
    pub(crate) filter: &'a str,
}

impl<'a> SubscriptionRecord<'a> {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        let SubscriptionOptions { qos, no_local, retain_as_published, retain_handling } =
            self.options;
        into.push(
            qos as u8
                | u8::from(no_local) << 2
                | u8::from(retain_as_published) << 3
                | (retain_handling as u8) << 4,
        );
        into.extend_from_slice(&self.session.to_le_bytes());
        into.extend_from_slice(&self.identifier.to_le_bytes());
        if let Some(share) = self.share {
            into.extend_from_slice(b"$share/");
            into.extend_from_slice(share.as_bytes());
            into.push(b'/');
        }
        into.extend_from_slice(self.filter.as_bytes());
    }

    pub(crate) fn read(mut value: Reader<'a>) -> Option<Self> {
        let options = value.u8()?;
        let retain_handling = match options >> 4 & 3 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return None,
        };
        let options = SubscriptionOptions {
            qos: QoS::from_u8(options & 3)?,
            no_local: options & 4 != 0,
            retain_as_published: options & 8 != 0,
            retain_handling,
        };
        let session = value.u32()?;
        let identifier = value.u32().filter(|identifier| is_identifier(*identifier))?;
        let filter = TopicFilter::from_octets(value.rest()).ok()?;
        let (share, filter) = match filter.share() {
            Some((share, filter)) => (Some(share), filter.as_str()),
            None => (None, filter.as_str()),
        };
        Some(Self { session, options, identifier, share, filter })
    }
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Progress {
    /// It waits in the queue.
    Queued = 0,
    /// PUBLISH of QoS 1 was sent.
    Unacknowledged = 1,
    /// PUBLISH of QoS 2 was sent.
    Unreceived = 2,
    /// PUBREC came; the message has been let go.
    Released = 3,
}

/// A message on its way to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryRecord {
    pub(crate) session: u32,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) progress: Progress,
    pub(crate) id: PacketId,
    /// The number of the message; 0 once it has been let go.
    pub(crate) message: u64,
    /// The number of the shared subscription that it came by; 0: none.
    pub(crate) share: u64,
    /// Set for a retained message that was looked up and waits: it does so in front of the
    /// deliveries from this number on.
    pub(crate) ahead_of: Option<u64>,
}

impl DeliveryRecord {
    /// Identifiers of subscriptions go behind it.
    pub(crate) fn write(&self, into: &mut Vec<u8>, identifiers: &[u32]) {
        let is_shared = u8::from(self.share != 0);
        let is_ahead = u8::from(self.ahead_of.is_some());
        let progress = self.progress as u8;
        into.push(
            self.qos as u8
                | u8::from(self.retain) << 2
                | progress << 3
                | is_shared << 5
                | is_ahead << 6,
        );
        into.extend_from_slice(&self.session.to_le_bytes());
        into.extend_from_slice(&self.id.0.to_le_bytes());
        into.extend_from_slice(&self.message.to_le_bytes());
        if self.share != 0 {
            into.extend_from_slice(&self.share.to_le_bytes());
        }
        if let Some(ahead_of) = self.ahead_of {
            into.extend_from_slice(&ahead_of.to_le_bytes());
        }
        for identifier in identifiers {
            into.extend_from_slice(&identifier.to_le_bytes());
        }
    }

    /// The record, and the identifiers of subscriptions that the delivery names.
    pub(crate) fn read(mut value: Reader<'_>) -> Option<(Self, Vec<u32>)> {
        let flags = value.u8()?;
        let (session, id) = (value.u32()?, PacketId(value.u16()?));
        let message = value.u64()?;
        let share = if flags & 32 != 0 { value.u64()? } else { 0 };
        let ahead_of = if flags & 64 != 0 { Some(value.u64()?) } else { None };
        let qos = QoS::from_u8(flags & 3)?;
        let progress = match (flags >> 3 & 3, qos) {
            (0, QoS::AtLeastOnce | QoS::ExactlyOnce) => Progress::Queued,
            (1, QoS::AtLeastOnce) => Progress::Unacknowledged,
            (2, QoS::ExactlyOnce) => Progress::Unreceived,
            (3, QoS::ExactlyOnce) => Progress::Released,
            _ => return None,
        };
        let waits = progress == Progress::Queued;
        if waits != (id.0 == 0) || ahead_of.is_some() && !waits {
            return None;
        }
        let mut identifiers = Vec::new();
        while !value.is_empty() {
            identifiers.push(value.u32().filter(|id| *id != 0 && is_identifier(*id))?);
        }
        let retain = flags & 4 != 0;
        Some((Self { session, qos, retain, progress, id, message, share, ahead_of }, identifiers))
    }
}

/// Retained messages that are still being looked up for a subscription.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReplayRecord<'a> {
    /// Those of the request that it is for; the subscription may have others by now.
    pub(crate) qos: QoS,
    pub(crate) identifier: u32,
    pub(crate) before: u64,
    /// The key at which to go on; `None`: nothing has been looked at.
    pub(crate) next: Option<&'a [u8]>,
}

impl<'a> ReplayRecord<'a> {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.push(self.qos as u8);
        into.extend_from_slice(&self.identifier.to_le_bytes());
        into.extend_from_slice(&self.before.to_le_bytes());
        into.push(u8::from(self.next.is_some()));
        into.extend_from_slice(self.next.unwrap_or_default());
    }

    pub(crate) fn read(mut value: Reader<'a>) -> Option<Self> {
        let qos = QoS::from_u8(value.u8()?)?;
        let identifier = value.u32().filter(|identifier| is_identifier(*identifier))?;
        // Messages are numbered from there on.
        let before = value.u64().filter(|number| *number <= NUMBER_END)?;
        let has_begun = value.u8()? != 0;
        Some(Self { qos, identifier, before, next: has_begun.then_some(value.rest()) })
    }
}

/// The identifier that a session was last given, as of when what carried it was done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WindowRecord {
    pub(crate) last_id: u16,
    /// The number of the delivery that carried it: a later one in flight knows better.
    pub(crate) delivery: u64,
}

impl WindowRecord {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.last_id.to_le_bytes());
        into.extend_from_slice(&self.delivery.to_le_bytes());
    }

    pub(crate) fn read(mut value: Reader<'_>) -> Option<Self> {
        let last_id = value.u16()?;
        let delivery = value.u64().filter(|number| *number < NUMBER_END)?;
        Some(Self { last_id, delivery })
    }
}

/// How far a will has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum WillState {
    /// It waits for the end of a link, or for a CONNECT that arms it again.
    Stored = 0,
    /// The link is gone and the delay runs.
    Delayed = 1,
    /// It is to be published.
    Due = 2,
}

/// A will. Those of sessions that are not kept are kept, too: their links break with the process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WillRecord<'a> {
    pub(crate) session: u32,
    pub(crate) state: WillState,
    pub(crate) armed: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    /// When the delay is over.
    pub(crate) deadline: Option<UnixMillis>,
    pub(crate) topic: Option<&'a str>,
    pub(crate) properties: Properties<'a>,
    pub(crate) payload: &'a [u8],
}

impl<'a> WillRecord<'a> {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.push(self.qos as u8 | u8::from(self.retain) << 2 | u8::from(self.armed) << 3);
        into.push(self.state as u8);
        into.extend_from_slice(&self.session.to_le_bytes());
        into.extend_from_slice(&self.delay_s.to_le_bytes());
        into.extend_from_slice(&moment(self.deadline).to_le_bytes());
        write_texts(into, self.topic.unwrap_or_default(), self.properties, self.payload);
    }

    pub(crate) fn read(mut value: Reader<'a>) -> Option<Self> {
        let flags = value.u8()?;
        let state = match value.u8()? {
            0 => WillState::Stored,
            1 => WillState::Delayed,
            2 => WillState::Due,
            _ => return None,
        };
        let (session, delay_s) = (value.u32()?, value.u32()?);
        let deadline = value.moment()?;
        let (topic, properties, payload) = value.texts()?;
        let topic = match topic {
            "" => None,
            topic => Some(TopicName::new(topic).ok()?.as_str()),
        };
        if topic.is_none() && state == WillState::Due {
            return None;
        }
        let (retain, armed) = (flags & 4 != 0, flags & 8 != 0);
        let qos = QoS::from_u8(flags & 3)?;
        Some(Self {
            session,
            state,
            armed,
            qos,
            retain,
            delay_s,
            deadline,
            topic,
            properties,
            payload,
        })
    }
}

fn moment(moment: Option<UnixMillis>) -> u64 {
    moment.map_or(NEVER, |moment| moment.0)
}

fn write_texts(into: &mut Vec<u8>, topic: &str, properties: Properties<'_>, payload: &[u8]) {
    let properties = properties.as_octets();
    let topic_len = u16::try_from(topic.len()).expect("a topic has at most 65,535 octets");
    let properties_len = u32::try_from(properties.len()).expect("a packet is shorter");
    into.extend_from_slice(&topic_len.to_le_bytes());
    into.extend_from_slice(&properties_len.to_le_bytes());
    into.extend_from_slice(topic.as_bytes());
    into.extend_from_slice(properties);
    into.extend_from_slice(payload);
}

/// Subscription identifiers have 28 bits; 0 stands for none.
const fn is_identifier(identifier: u32) -> bool {
    identifier < 1 << 28
}

/// A value that is being read; `None` once it ends too early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(value: &'a [u8]) -> Self {
        Self(value)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn moment(&mut self) -> Option<Option<UnixMillis>> {
        self.u64().map(|millis| (millis != NEVER).then_some(UnixMillis(millis)))
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Topic, properties and payload, each of which may be empty.
    fn texts(mut self) -> Option<(&'a str, Properties<'a>, &'a [u8])> {
        let topic_len = usize::from(self.u16()?);
        let properties_len = self.u32()? as usize;
        let (topic, rest) = self.0.split_at_checked(topic_len)?;
        let (properties, payload) = rest.split_at_checked(properties_len)?;
        let topic = core::str::from_utf8(topic).ok()?;
        Some((topic, Properties::parse(properties).ok()?, payload))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}
