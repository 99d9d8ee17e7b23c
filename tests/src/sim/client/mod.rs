//! A virtual client of MQTT 3.1, 3.1.1 or 5.0 on octets of its own: subscribes, publishes within a
//! window, resends after a reconnect what was not acknowledged, in order [MQTT-4.4.0-1],
//! [MQTT-4.6.0-1], leaves and comes back.
//!
//! ```text
//! off ── CONNECT ──▶ connecting ── CONNACK ──▶ open: subscribes, resends, publishes, pings
//!  ▲                                             │
//!  └───────── DISCONNECT, a break, a pause ──────┘
//! ```

mod hear;
mod role;
mod send;
mod terms;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fastrand::Rng;

use super::book::{Book, Party, Publication, WILL_NUMBER};
use super::features::Feature;
use super::ledger::Ledger;
use super::wire::{Version, mqtt, packet, string};
use super::wire5::Writer;

pub(crate) use role::{Five, Role, Wish};
pub(crate) use terms::Offer;
use terms::Terms;

/// How long an answer to CONNECT is waited for.
const ANSWER_MS: u64 = 60_000;

/// What a client does to its connection.
#[derive(Debug)]
pub(crate) enum Act {
    Open,
    Send(Vec<u8>),
    /// Without a word; the other end may not notice.
    Vanish,
}

/// Everything that a client can see and do.
pub(crate) struct Cx<'a> {
    pub(crate) now: u64,
    /// Whatever it asks is answered within a minute.
    pub(crate) is_prompt: bool,
    /// It may leave and stay away.
    pub(crate) is_restless: bool,
    pub(crate) offer: &'a Offer,
    pub(crate) book: &'a Book,
    pub(crate) rng: &'a mut Rng,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) acts: &'a mut Vec<Act>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Off,
    Connecting,
    Open,
}

/// A publication of QoS 1 or 2 under way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    id: u16,
    number: u32,
    is_received: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) party: Party,
    pub(crate) role: Role,
    phase: Phase,
    pub(crate) due: u64,
    inbox: Vec<u8>,
    last_id: u16,
    pub(crate) next: u32,
    publish_at: u64,
    spoke_at: u64,
    leave_at: u64,
    under_way: VecDeque<UnderWay>,
    /// Publications that were refused and are to be tried again.
    refused: VecDeque<u32>,
    /// Messages of QoS 2 that were received and not released, by a part of them: a client of 3.1 is
    /// not told whether identifiers are those of before.
    open: BTreeMap<u16, u64>,
    /// Identifiers of messages of QoS 2 that it has refused.
    declined: BTreeSet<u16>,
    /// Message ids of SUBSCRIBEs that wait, with their filters.
    asked: VecDeque<(u16, usize)>,
    is_subscribed: bool,
    /// It asks for a clean session until it has got one.
    wants_clean: bool,
    /// The Session Expiry Interval that it asked for last.
    expiry_s: u32,
    terms: Terms,
    pub(crate) connects: u32,
    /// Whether the session was there at the last CONNECT, as far as the gateway told.
    pub(crate) session_present: Option<bool>,
}

impl Client {
    pub(crate) fn new(party: Party, role: Role, begins_at: u64) -> Self {
        Self {
            party,
            role,
            phase: Phase::Off,
            due: begins_at,
            inbox: Vec::new(),
            last_id: 0,
            next: 0,
            publish_at: begins_at + 500,
            spoke_at: 0,
            leave_at: u64::MAX,
            under_way: VecDeque::new(),
            refused: VecDeque::new(),
            open: BTreeMap::new(),
            declined: BTreeSet::new(),
            asked: VecDeque::new(),
            is_subscribed: false,
            wants_clean: false,
            expiry_s: 0,
            terms: Terms::default(),
            connects: 0,
            session_present: None,
        }
    }

    /// Whether it has published and subscribed to everything.
    pub(crate) fn is_done(&self) -> bool {
        let has_said_all = self.next >= self.role.goal && self.under_way.is_empty();
        let has_answers = self.asked.is_empty() && self.refused.is_empty();
        has_said_all && self.is_subscribed && has_answers && self.phase == Phase::Open
    }

    /// Its time has come.
    pub(crate) fn wake(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Off => self.connect(cx),
            Phase::Connecting => {
                if cx.is_prompt {
                    cx.ledger.violation(self.party, "no answer to CONNECT within a minute");
                }
                self.lose(cx);
            }
            Phase::Open => self.go_on(cx),
        }
    }

    fn connect(&mut self, cx: &mut Cx<'_>) {
        let version = self.role.version;
        self.phase = Phase::Connecting;
        self.connects += 1;
        self.inbox.clear();
        self.terms = Terms::default();
        self.due = cx.now + ANSWER_MS;
        self.wants_clean |= self.role.is_clean;
        self.wants_clean |= self.role.five.starts_anew && version.is_5() && cx.rng.u32(..4) == 0;
        if self.wants_clean {
            self.forget_session(cx);
        }
        // What was not answered may not have been heard.
        self.is_subscribed &= self.asked.is_empty();
        self.asked.clear();
        let clean = if self.wants_clean { 0x02 } else { 0 };
        let will = if self.role.has_will { 0x04 | 0x08 } else { 0 };
        let (name, level) = match version {
            Version::V31 => (string(b"MQIsdp"), 3),
            Version::V311 => (string(b"MQTT"), 4),
            Version::V5 => (string(b"MQTT"), 5),
        };
        let mut parts = vec![name, vec![level, clean | will]];
        parts.push(self.role.keep_alive_s.to_be_bytes().to_vec());
        if version.is_5() {
            parts.push(self.wishes());
        }
        parts.push(string(client_id(self.party).as_bytes()));
        if self.role.has_will {
            let will = self.publication(WILL_NUMBER + self.connects);
            if version.is_5() {
                let mut properties = Writer::default();
                if self.role.five.will_delay_s > 0 {
                    properties.u32(0x18, self.role.five.will_delay_s);
                }
                cx.book.extras(will).write(&mut properties);
                parts.push(properties.finish());
            }
            parts.push(string(format!("w/{}", self.party).as_bytes()));
            parts.push(string(&cx.book.payload(will, 0)));
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        cx.acts.push(Act::Open);
        self.send(packet(mqtt::CONNECT << 4, &parts), cx);
    }

    /// Properties of CONNECT.
    fn wishes(&mut self) -> Vec<u8> {
        let Five { expiry_s, receive_maximum, packet_maximum, alias_maximum, .. } = self.role.five;
        self.expiry_s = expiry_s;
        let mut properties = Writer::default();
        if expiry_s > 0 {
            properties.u32(0x11, expiry_s);
        }
        if receive_maximum > 0 {
            properties.u16(0x21, receive_maximum);
        }
        if packet_maximum > 0 {
            properties.u32(0x27, packet_maximum);
        }
        if alias_maximum > 0 {
            properties.u16(0x22, alias_maximum);
        }
        properties.finish()
    }

    /// Its session is over: what it knows of it counts no more. A publication of QoS 2 is not
    /// repeated, as nobody would know that it is one.
    fn forget_session(&mut self, cx: &mut Cx<'_>) {
        self.open.clear();
        self.declined.clear();
        self.is_subscribed = false;
        let given_up: Vec<u32> = self
            .under_way
            .iter()
            .map(|it| it.number)
            .filter(|number| cx.book.manner(self.publication(*number)).qos == 2)
            .collect();
        self.under_way.retain(|it| !given_up.contains(&it.number));
        for number in given_up {
            cx.ledger.finished(self.publication(number));
        }
    }

    const fn publication(&self, number: u32) -> Publication {
        Publication { party: self.party, number }
    }

    fn send(&mut self, octets: Vec<u8>, cx: &mut Cx<'_>) {
        self.spoke_at = cx.now;
        cx.acts.push(Act::Send(octets));
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.under_way.iter().all(|it| it.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn lose(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Off;
        self.due = cx.now + self.pause_ms(cx);
        cx.acts.push(Act::Vanish);
    }

    /// How long it stays away: about as long as something lasts that begins now.
    fn pause_ms(&self, cx: &mut Cx<'_>) -> u64 {
        let five = self.role.five;
        let about = |seconds: u32, rng: &mut Rng| {
            let ms = u64::from(seconds.min(60)) * 1_000;
            ms * rng.u64(5..20) / 10 + rng.u64(1..2_000)
        };
        match cx.rng.u32(..4) {
            0 if cx.is_restless && self.expiry_s > 0 => about(self.expiry_s, cx.rng),
            1 if cx.is_restless && five.will_delay_s > 0 => about(five.will_delay_s, cx.rng),
            2 if cx.is_restless => cx.rng.u64(1..40_000),
            _ => cx.rng.u64(1..5_000),
        }
    }

    /// Goes by itself, with a word or without.
    fn leave(&mut self, cx: &mut Cx<'_>) {
        let is_5 = self.role.version.is_5();
        let reason = if is_5 && cx.rng.bool() { [0x04, 0x80][cx.rng.usize(..2)] } else { 0 };
        // A session that was to end with the connection stays so [MQTT5-3.1.2.11.2].
        let changes = is_5 && self.expiry_s > 0 && cx.rng.bool();
        let leave = if changes {
            let mut properties = Writer::default();
            self.expiry_s = [0, 3, 20, 600][cx.rng.usize(..4)];
            properties.u32(0x11, self.expiry_s);
            packet(mqtt::DISCONNECT << 4, &[&[reason], &properties.finish()])
        } else if reason > 0 {
            packet(mqtt::DISCONNECT << 4, &[&[reason]])
        } else {
            packet(mqtt::DISCONNECT << 4, &[])
        };
        self.send(leave, cx);
        self.lose(cx);
    }

    /// Publishes and pings, as far as it is time.
    fn go_on(&mut self, cx: &mut Cx<'_>) {
        if self.leave_at <= cx.now && cx.is_restless {
            self.leave_at = u64::MAX;
            self.leave(cx);
            return;
        }
        let window = self.role.window.min(usize::from(self.terms.receive_maximum));
        let has_more = |it: &Self| it.next < it.role.goal || !it.refused.is_empty();
        while has_more(self) && self.publish_at <= cx.now && self.under_way.len() < window {
            self.publish_at = self.publish_at.max(cx.now) + self.role.interval_ms;
            self.publish_next(cx);
        }
        if self.under_way.len() == usize::from(self.terms.receive_maximum) {
            cx.ledger.features.count(Feature::OwnReceiveMaximum);
        }
        let ping_ms = u64::from(self.terms.keep_alive_s) * 700;
        if self.spoke_at + ping_ms <= cx.now {
            self.send(packet(mqtt::PINGREQ << 4, &[]), cx);
        }
        self.due = (self.spoke_at + ping_ms).min(self.leave_at.max(cx.now + 1));
        if has_more(self) && self.under_way.len() < window {
            self.due = self.due.min(self.publish_at);
        }
    }
}

/// The client id of an MQTT client.
pub(crate) fn client_id(party: Party) -> String {
    format!("m{party}")
}
