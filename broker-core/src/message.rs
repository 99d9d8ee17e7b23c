//! Messages: each is stored once, however many sessions wait for it.
//!
//! A [`Message`] keeps topic, properties and payload in the shape in which most dialects send them,
//! so that encoding a delivery is a few copies. Queues hold four-octet `MessageRef`s; the store
//! counts them and takes a message back with the last. Buffers of small messages that are gone are
//! used again: in the steady state nothing is allocated.

use bytes::Bytes;

use crate::api::{Payload, QoS};
use crate::key::Key;
use crate::property::Properties;
use crate::session::Session;
use crate::time::Instant;
use crate::topic::TopicName;

/// Payloads above this many octets are shared by reference, smaller ones are copied: below it a
/// copy costs less than the book-keeping of a chain of buffers.
pub const SHARED_PAYLOAD_MIN: usize = 1_024;

/// Buffers kept for use again, and the largest that is kept: at most 8 MiB.
const WARM_MAX: usize = 4_096;
const WARM_CAPACITY_MAX: usize = 1_024;

/// The name of a message in the store. Whoever keeps one has counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageRef(u32);

impl MessageRef {
    /// What stands for a message that was let go.
    pub(crate) const GONE: Self = Self(u32::MAX);
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A session.
    Session(Key<Session>),
    /// The broker itself, or somebody without a session (QoS −1).
    Nobody,
}

/// A published message.
#[derive(Debug)]
pub struct Message {
    topic: String,
    /// The properties, and behind them the payload unless it is shared.
    body: Vec<u8>,
    properties_len: u32,
    shared: Option<Bytes>,
    qos: QoS,
    retain: bool,
    expires: Instant,
    sequence: u64,
    references: u32,
    /// How many of the references are durable.
    durable: u32,
}

impl Message {
    /// A message that is in no store: how dialects are tried without a broker.
    pub fn new(
        topic: TopicName<'_>,
        properties: Properties<'_>,
        payload: Payload<'_>,
        qos: QoS,
        retain: bool,
    ) -> Self {
        let mut store = MessageStore::default();
        store.insert(&NewMessage {
            topic,
            payload,
            qos,
            retain,
            origin: Origin::Nobody,
            expires: Instant::NEVER,
            properties,
        });
        store.messages.pop().expect("one was inserted")
    }

    /// The topic name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The properties that go from publisher to subscriber unchanged, in their order.
    pub fn properties(&self) -> Properties<'_> {
        Properties::checked(&self.body[..self.properties_len as usize])
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        match &self.shared {
            Some(shared) => shared,
            None => &self.body[self.properties_len as usize..],
        }
    }

    /// The payload as something to share, if it is large enough for that to pay.
    pub const fn shared_payload(&self) -> Option<&Bytes> {
        self.shared.as_ref()
    }

    /// The QoS it was published with.
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether it was published with the RETAIN flag.
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// Octets of topic, properties and payload: what queues are charged.
    pub fn size(&self) -> usize {
        self.topic.len() + self.body.len() + self.shared.as_ref().map_or(0, Bytes::len)
    }

    /// Whether it has a record.
    pub(crate) const fn is_durable(&self) -> bool {
        self.durable > 0
    }

    /// When it is of no more use; [`Instant::NEVER`] if it did not say.
    pub(crate) const fn expires(&self) -> Instant {
        self.expires
    }

    /// Messages are numbered in the order in which they were accepted.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whole seconds left at `now`, rounded up, for dialects that say so [MQTT5-3.3.2-6].
    pub(crate) fn expiry_s(&self, now: Instant) -> Option<u32> {
        if self.expires == Instant::NEVER {
            return None;
        }
        let left = self.expires.since(now).as_micros().div_ceil(1_000_000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

/// What a message is made from.
pub(crate) struct NewMessage<'a> {
    pub(crate) topic: TopicName<'a>,
    pub(crate) payload: Payload<'a>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) origin: Origin,
    pub(crate) expires: Instant,
    pub(crate) properties: Properties<'a>,
}

/// All messages that somebody still waits for.
#[derive(Debug, Default)]
pub(crate) struct MessageStore {
    messages: Vec<Message>,
    /// Places whose buffers are kept, and places without.
    warm: Vec<u32>,
    cold: Vec<u32>,
    /// Octets of the messages that live.
    bytes: u64,
    next_sequence: u64,
}

impl MessageStore {
    /// Stores a message, counted once: for the caller, who lets it go with
    /// [`MessageStore::release`].
    pub(crate) fn insert(&mut self, new: &NewMessage<'_>) -> MessageRef {
        let index = self.free_place();
        let message = &mut self.messages[index as usize];
        message.topic.push_str(new.topic.as_str());
        for (property, octets) in new.properties.spans() {
            if property.is_forwarded() {
                message.body.extend_from_slice(octets);
            }
        }
        message.properties_len = u32::try_from(message.body.len()).expect("a packet is shorter");
        match new.payload {
            Payload::Shared(shared) if shared.len() > SHARED_PAYLOAD_MIN => {
                message.shared = Some(shared.clone());
            }
            Payload::Borrowed(octets) if octets.len() > SHARED_PAYLOAD_MIN => {
                message.shared = Some(Bytes::copy_from_slice(octets));
            }
            Payload::Shared(_) | Payload::Borrowed(_) => {
                message.body.extend_from_slice(new.payload.as_octets());
            }
        }
        message.qos = new.qos;
        message.retain = new.retain;
        message.expires = new.expires;
        message.sequence = self.next_sequence;
        message.references = 1;
        self.next_sequence += 1;
        self.bytes += message.size() as u64;
        MessageRef(index)
    }

    pub(crate) fn get(&self, message: MessageRef) -> &Message {
        let message = &self.messages[message.0 as usize];
        debug_assert!(message.references > 0, "a message that is gone was asked for");
        message
    }

    /// The message with this number, if it is still there under this reference.
    pub(crate) fn find(&self, message: MessageRef, sequence: u64) -> Option<&Message> {
        let message = &self.messages[message.0 as usize];
        (message.references > 0 && message.sequence == sequence).then_some(message)
    }

    /// Counts one more who keeps the reference.
    pub(crate) fn keep(&mut self, message: MessageRef) {
        let message = &mut self.messages[message.0 as usize];
        assert!(message.references > 0, "a message that is gone was kept");
        message.references += 1;
    }

    /// A reference that is kept is a durable one; whether it is the first.
    pub(crate) fn keep_durably(&mut self, message: MessageRef) -> bool {
        let message = &mut self.messages[message.0 as usize];
        message.durable += 1;
        assert!(message.durable <= message.references, "durable references are references");
        message.durable == 1
    }

    /// A durable reference is to be let go; whether it is the last. Comes before the release.
    pub(crate) fn release_durably(&mut self, message: MessageRef) -> bool {
        let message = &mut self.messages[message.0 as usize];
        assert!(message.durable > 0, "a message was durably released more often than kept");
        message.durable -= 1;
        message.durable == 0
    }

    /// Stores a message under the number that it had before a restart.
    pub(crate) fn restore(&mut self, new: &NewMessage<'_>, sequence: u64) -> MessageRef {
        let latest = self.next_sequence.max(sequence + 1);
        self.next_sequence = sequence;
        let message = self.insert(new);
        self.next_sequence = latest;
        message
    }

    /// The message at the `index`-th place, if there is one; `None` beyond the last place.
    pub(crate) fn at(&self, index: usize) -> Option<Option<MessageRef>> {
        let message = self.messages.get(index)?;
        let reference = u32::try_from(index).expect("memory ends before 2^32 messages");
        Some((message.references > 0).then_some(MessageRef(reference)))
    }

    /// Counts one less; the last one takes the message with it.
    pub(crate) fn release(&mut self, reference: MessageRef) {
        let message = &mut self.messages[reference.0 as usize];
        assert!(message.references > 0, "a message was released more often than kept");
        message.references -= 1;
        if message.references > 0 {
            return;
        }
        assert!(message.durable == 0, "a message that has a record was let go");
        self.bytes -= message.size() as u64;
        message.topic.clear();
        message.body.clear();
        message.shared = None;
        let small = message.topic.capacity() <= WARM_CAPACITY_MAX
            && message.body.capacity() <= WARM_CAPACITY_MAX;
        if small && self.warm.len() < WARM_MAX {
            self.warm.push(reference.0);
        } else {
            message.topic = String::new();
            message.body = Vec::new();
            self.cold.push(reference.0);
        }
    }

    /// The number that the next message will have.
    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Numbers below this one were given before a restart, whatever became of their messages.
    pub(crate) fn count_sequence(&mut self, next: u64) {
        self.next_sequence = self.next_sequence.max(next);
    }

    /// How many messages live.
    pub(crate) const fn len(&self) -> usize {
        self.messages.len() - self.warm.len() - self.cold.len()
    }

    /// Octets of topics, properties and payloads of the messages that live.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory held: contents, and the places ever made, which are not given back.
    pub(crate) fn memory(&self) -> u64 {
        let place = size_of::<Message>() + size_of::<u32>();
        self.bytes + (self.messages.capacity() * place) as u64
    }

    fn free_place(&mut self) -> u32 {
        if let Some(index) = self.warm.pop().or_else(|| self.cold.pop()) {
            return index;
        }
        let index = u32::try_from(self.messages.len()).expect("memory ends before 2^32 messages");
        self.messages.push(Message {
            topic: String::new(),
            body: Vec::new(),
            properties_len: 0,
            shared: None,
            qos: QoS::AtMostOnce,
            retain: false,
            expires: Instant::NEVER,
            sequence: 0,
            references: 0,
            durable: 0,
        });
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(store: &mut MessageStore, payload: &[u8]) -> MessageRef {
        store.insert(&NewMessage {
            topic: TopicName::new("a/b").expect("a good name"),
            payload: Payload::Borrowed(payload),
            qos: QoS::AtLeastOnce,
            retain: false,
            origin: Origin::Nobody,
            expires: Instant::NEVER,
            properties: Properties::parse(&[0x01, 0x01, 0x0B, 0x07]).expect("good properties"),
        })
    }

    #[test]
    fn a_message_lives_as_long_as_somebody_keeps_it() {
        let mut store = MessageStore::default();
        let message = publish(&mut store, b"hi");
        store.keep(message);
        store.release(message);
        assert_eq!(store.get(message).payload(), b"hi");
        assert_eq!((store.len(), store.bytes()), (1, 7));
        store.release(message);
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }

    #[test]
    fn only_forwarded_properties_are_kept() {
        let mut store = MessageStore::default();
        let message = publish(&mut store, b"hi");
        assert_eq!(store.get(message).properties().as_octets(), [0x01, 0x01]);
    }

    #[test]
    fn a_large_payload_is_shared_and_a_small_one_is_not() {
        let mut store = MessageStore::default();
        let small = publish(&mut store, &[7; SHARED_PAYLOAD_MIN]);
        let large = publish(&mut store, &[7; SHARED_PAYLOAD_MIN + 1]);
        assert!(store.get(small).shared_payload().is_none());
        assert!(store.get(large).shared_payload().is_some());
        assert_eq!(store.get(large).payload(), [7; SHARED_PAYLOAD_MIN + 1]);
    }

    #[test]
    fn places_and_small_buffers_are_used_again() {
        let mut store = MessageStore::default();
        for _ in 0..100 {
            let message = publish(&mut store, b"hello");
            store.release(message);
        }
        assert_eq!(store.messages.len(), 1);
        assert_eq!((store.warm.len(), store.cold.len()), (1, 0));
    }
}
