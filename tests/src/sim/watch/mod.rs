//! What may pass between the gateway and one sensor, checked datagram by datagram at the gateway's
//! door: what leaves it, before the radio does anything to it.
//!
//! The watch follows the states of the specification (SN 6.2 to 6.14) from what goes in and out,
//! tells the ledger what was heard and acknowledged, and finds what is said to the wrong one, at
//! the wrong time, or without what has to come before.

mod heard;
mod said;

use super::book::{Book, Publication};
use super::ledger::Ledger;
use super::sensor::Place;

/// Requests of a sensor that may still be answered.
const REQUESTS_MAX: usize = 6;

/// CONNECTs of a sensor that may still be answered.
const CONNECTS_MAX: usize = 4;

/// What the watch can see and do.
pub(crate) struct Cx<'a> {
    pub(crate) now: u64,
    pub(crate) sensor: u32,
    pub(crate) place: Place,
    pub(crate) book: &'a Book,
    pub(crate) ledger: &'a mut Ledger,
    /// Messages that the gateway has given up or dropped so far.
    pub(crate) dropped: u64,
    /// The longest that a visit may last without a word of the client.
    pub(crate) visit_ms: u64,
}

impl Cx<'_> {
    fn check(&mut self, holds: bool, what: &str) {
        self.ledger.check(self.sensor, holds, what);
    }
}

/// How the gateway has to see a sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    Active,
    Asleep,
    Awake,
}

/// A CONNECT that was heard.
#[derive(Clone, Copy, Debug)]
struct Connect {
    place: Place,
    flags: u8,
    keep_alive_s: u16,
    /// CONNACK has left, and whatever comes again is answered again.
    is_answered: bool,
}

/// A request that was heard, by its message id.
#[derive(Debug)]
struct Request {
    msg_id: u16,
    /// Type, topic id type, and topic name or filter.
    kind: u8,
    form: u8,
    text: String,
}

/// A topic id of this sensor.
#[derive(Debug)]
struct TopicId {
    id: u16,
    name: String,
    /// In this connection the sensor was told, or has used it.
    is_told: bool,
}

/// A message of QoS 1 or 2 that the gateway has sent.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    msg_id: u16,
    sum: u64,
    is_received: bool,
    /// The counter of what was dropped when it was sent.
    dropped: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: State,
    place: Place,
    keep_alive_s: u16,
    sleep_s: u16,
    is_clean: bool,
    /// DISCONNECTs of the sensor that are not answered yet.
    owed: u16,
    /// PUBRECs of it that are not answered: they are also while it sleeps.
    said_pubrec: u16,
    /// Nothing but its handshake was heard in this connection.
    is_untouched: bool,
    will: Option<Publication>,
    connects: Vec<Connect>,
    requests: Vec<Request>,
    ids: Vec<TopicId>,
    /// The latest publications of QoS 1 and 2 from it, by message id.
    published: Vec<(u16, Publication)>,
    exchange: Option<Exchange>,
}

impl Watch {
    const fn is_bound(&self, place: Place) -> bool {
        !matches!(self.state, State::Unknown)
            && self.place.host == place.host
            && self.place.port == place.port
    }

    /// How long the sensor may be silent: one and a half times what it said (SN-091, SN-104).
    const fn silence_ms(&self) -> u64 {
        let seconds = match self.state {
            State::Asleep | State::Awake => self.sleep_s,
            State::Active | State::Unknown => self.keep_alive_s,
        };
        seconds as u64 * 1_500
    }

    /// The gateway begins anew with nothing.
    pub(crate) fn restarted(&mut self) {
        *self = Self::default();
    }

    /// Checks that a topic id means one topic, and a topic has one id, as long as a session lasts.
    fn note_id(&mut self, id: u16, name: &str, cx: &mut Cx<'_>) {
        let is_usable = id != 0 && id != u16::MAX && id > super::book::PREDEFINED;
        cx.check(is_usable, "a reserved or predefined id was given to a topic");
        if let Some(known) = self.ids.iter_mut().find(|it| it.id == id || it.name == name) {
            known.is_told = true;
            let is_same = known.id == id && known.name == name;
            let what = format!("id {} is {} and {id} is {name}", known.id, known.name);
            cx.check(is_same, &what);
            return;
        }
        self.ids.push(TopicId { id, name: name.to_owned(), is_told: true });
    }
}

/// Tells payloads apart.
fn sum(data: &[u8]) -> u64 {
    data.iter().fold(7, |sum, octet| sum.wrapping_mul(0x0100_0000_01B3) ^ u64::from(*octet))
}
