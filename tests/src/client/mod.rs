//! Clients that speak in raw octets.
//!
//! They were written from the two specifications and share no line with the codecs of the
//! gateway, so that a misreading there is not repeated here. Each has two manners of speaking:
//! octets as the specification draws them (`send`, `expect`), and whole handshakes (`publish`,
//! `subscribe`, `collect`).

pub mod mqtt;
pub mod sn;
pub mod ws;

use std::fmt;
use std::time::Duration;

use crate::hex::{dump, octets};

/// How long a client waits for an answer before the test fails.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// An application message as a client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic name. For MQTT-SN the name behind the id, see [`sn::Topic`].
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The quality of service of this delivery.
    pub qos: u8,
    /// Whether it came because it was retained.
    pub retain: bool,
    /// Whether it is marked as a repetition.
    pub dup: bool,
    /// The packet id; 0 at QoS 0.
    pub id: u16,
    /// The properties of MQTT 5.0, as they came; other protocols have none.
    pub properties: Vec<u8>,
}

impl Message {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// Whether it has this topic, payload and QoS.
    pub fn is(&self, topic: &str, payload: &str, qos: u8) -> bool {
        self.topic == topic && self.payload == payload.as_bytes() && self.qos == qos
    }

    /// Whether it has exactly these properties, in this order, written as octets.
    #[track_caller]
    pub fn assert_properties(&self, text: &str) {
        assert_eq!(dump(&self.properties), dump(&octets(text)), "{self}");
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, payload, qos, retain, dup, id, properties: _ } = self;
        let flags = [(*retain, ", retained"), (*dup, ", repeated")];
        let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, text)| *text).collect();
        write!(f, "`{topic}` at QoS {qos}{flags}, id {id}: {}", dump(payload))
    }
}

/// An expected message, for the text of a failure.
pub(crate) fn expected(topic: &str, payload: &str, qos: u8) -> String {
    format!("`{topic}` at QoS {qos}: {}", dump(payload.as_bytes()))
}

/// A will as a client asks for it.
#[derive(Clone, Debug)]
pub struct Will {
    /// Where it is published.
    pub topic: String,
    /// What is published.
    pub payload: Vec<u8>,
    /// At which quality of service.
    pub qos: u8,
    /// Whether it is retained.
    pub retain: bool,
}

impl Will {
    /// A will that is not retained.
    pub fn new(topic: &str, payload: &str, qos: u8) -> Self {
        let (topic, payload) = (topic.to_owned(), payload.as_bytes().to_vec());
        Self { topic, payload, qos, retain: false }
    }

    /// The same, retained.
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }
}

/// Packet ids: never 0, never the same twice in a row.
#[derive(Debug, Default)]
struct Ids(u16);

impl Ids {
    fn next(&mut self) -> u16 {
        self.0 = self.0.checked_add(1).unwrap_or(1);
        self.0
    }
}
