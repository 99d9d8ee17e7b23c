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
use super::place::Place;

/// Requests of a sensor that may still be answered.
const REQUESTS_MAX: usize = 6;

/// CONNECTs of a sensor that may still be answered.
const CONNECTS_MAX: usize = 4;

/// After so much silence one whose keep alive is 0 is lost.
const IDLE_MS: u64 = 86_400_000;

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
    /// The disk lets a visit wait for so long that it ends.
    pub(crate) is_held_up: bool,
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
    /// When something was heard from there last.
    spoke_at: u64,
    /// CONNACK has left, and whatever comes again is answered again.
    is_answered: bool,
}

/// A request that was heard, by its message id.
#[derive(Clone, Debug)]
struct Request {
    msg_id: u16,
    /// Type, topic id type, and topic name or filter.
    kind: u8,
    form: u8,
    text: String,
    /// Whether the gateway listened is open until it answers.
    is_open: bool,
}

/// A topic id of this sensor.
#[derive(Debug)]
struct TopicId {
    id: u16,
    name: String,
    /// In this connection the sensor was told, or has used it.
    is_told: bool,
    /// The turn in which it said that it does not know it.
    refused_in: u64,
}

/// A message of QoS 1 or 2 that the gateway has sent.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    msg_id: u16,
    sum: u64,
    is_received: bool,
    /// A crash has left open whether it was received.
    is_open: bool,
    /// The turns in which it was sent first, and in which it was received.
    turns: [u64; 2],
    /// The counter of what was dropped when it was sent.
    dropped: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: State,
    /// The turn since which it is in that state.
    since: u64,
    /// The turn in which its last CONNECT was answered.
    connected_in: u64,
    /// A crash has left open in which state it is, and where.
    is_unsure: bool,
    /// A crash may have undone its last CONNECT, and the gateway has it where it was before.
    may_be_elsewhere: bool,
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
    /// When it said something last, where its session is.
    spoke_at: u64,
    /// It was silent for so long before that the gateway may have given it up, or its CONNECT waits
    /// for the answer, so that the gateway does not listen to anything else.
    may_be_lost: bool,
    /// Where it spoke from without a session, and the turn: it is told to connect (SN-026).
    stray: Option<(Place, u64)>,
    connects: Vec<Connect>,
    requests: Vec<Request>,
    ids: Vec<TopicId>,
    /// The latest publications of QoS 1 and 2 from it, by message id.
    published: Vec<(u16, Publication)>,
    exchange: Option<Exchange>,
}

impl Watch {
    fn is_bound(&self, place: Place) -> bool {
        self.state != State::Unknown && self.place.is(place)
    }

    /// Whether the sensor is connected and awake.
    pub(crate) fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Whether it is so, and there.
    pub(crate) fn is_active_at(&self, place: Place) -> bool {
        self.is_active() && self.is_bound(place)
    }

    /// Another device with its client id has its session.
    pub(crate) fn taken(&mut self, is_clean: bool) {
        self.state = State::Unknown;
        self.exchange = None;
        self.is_untouched = false;
        if is_clean || self.is_clean {
            self.ids.clear();
        }
    }

    /// How long the sensor may be silent: one and a half times what it said (SN-091, SN-104).
    const fn silence_ms(&self) -> u64 {
        match self.state {
            State::Asleep | State::Awake => self.sleep_s as u64 * 1_500,
            State::Active | State::Unknown => self.active_silence_ms(),
        }
    }

    /// The same while it is active. Who wants not to be supervised is so after a day (17.13).
    const fn active_silence_ms(&self) -> u64 {
        match self.keep_alive_s {
            0 => IDLE_MS,
            seconds => seconds as u64 * 1_500,
        }
    }

    fn set_state(&mut self, state: State, cx: &Cx<'_>) {
        (self.state, self.since) = (state, cx.ledger.turn);
    }

    /// The gateway begins anew with nothing.
    pub(crate) fn restarted(&mut self) {
        *self = Self::default();
    }

    /// The gateway was ended, and knows what was so after `safe_turn`.
    pub(crate) fn crashed(&mut self, sensor: u32, safe_turn: u64, ledger: &mut Ledger) {
        let is_shaking = self.connects.iter().any(|it| !it.is_answered);
        if let Some(will) = self.will.filter(|_| is_shaking) {
            ledger.wills.may_be_there(will, ledger.turn);
        }
        if ledger.is_clean(sensor) {
            ledger.wills.lost(sensor, ledger.now);
            ledger.session_over(sensor);
            self.restarted();
            return;
        }
        // CONNACK promises the session, and not that its address is safe already; a DISCONNECT that
        // was not asked for promises nothing.
        let is_fresh = match self.state {
            State::Unknown | State::Active => self.since > safe_turn,
            // A visit changes nothing that is kept.
            State::Asleep | State::Awake => false,
        };
        self.is_unsure |= self.owed > 0 || is_shaking || is_fresh;
        if self.state == State::Awake {
            // A visit is not kept.
            self.state = State::Asleep;
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.is_open |= exchange.is_received && exchange.turns[1] > safe_turn;
            exchange.is_received &= !exchange.is_open;
        }
        self.exchange = self.exchange.filter(|it| it.turns[0] <= safe_turn);
        // That it does not know an id may be forgotten.
        // So may be that it connected again, and had to be told all ids anew, whatever it has
        // asked for since.
        self.may_be_elsewhere |= self.connected_in > safe_turn;
        let is_new = is_fresh || self.may_be_elsewhere;
        for id in self.ids.iter_mut().filter(|it| is_new || it.refused_in > safe_turn) {
            id.is_told = true;
        }
        self.owed = 0;
        self.said_pubrec = 0;
        self.is_untouched = false;
        self.connects.clear();
        self.requests.clear();
    }

    /// The gateway is back and supervises those that it knows anew.
    pub(crate) fn resumed(&self, sensor: u32, ledger: &mut Ledger) {
        ledger.wills.supervised(sensor, ledger.now, self.silences_ms());
    }

    /// How long the sensor may be silent, at least and at most.
    fn silences_ms(&self) -> [u64; 2] {
        if !self.is_unsure && self.state != State::Unknown {
            return [self.silence_ms(); 2];
        }
        let silences = [self.active_silence_ms(), u64::from(self.sleep_s) * 1_500];
        let least = silences.iter().copied().filter(|silence| *silence > 0).min();
        [least.unwrap_or(0), silences[0].max(silences[1])]
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
        self.ids.push(TopicId { id, name: name.to_owned(), is_told: true, refused_in: 0 });
    }
}
