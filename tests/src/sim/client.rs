//! A virtual MQTT 3.1.1 client on octets of its own: subscribes, publishes within a window, resends
//! after a reconnect what was not acknowledged, in order [MQTT-4.4.0-1], [MQTT-4.6.0-1].

use std::collections::{BTreeSet, VecDeque};

use fastrand::Rng;

use super::book::{Book, Party, Publication, WILL_NUMBER};
use super::ledger::{Delivery, Ledger};
use super::wire::{MqttPublish, first_packet, mqtt, packet, string, u16_at};

/// What a client is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Role {
    pub(crate) filters: Vec<(String, u8)>,
    pub(crate) goal: u32,
    pub(crate) interval_ms: u64,
    /// Publications under way at once.
    pub(crate) window: usize,
    pub(crate) is_clean: bool,
    pub(crate) has_will: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) padding_max: usize,
}

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
    under_way: VecDeque<UnderWay>,
    /// Messages of QoS 2 that were received and not released.
    open: BTreeSet<u16>,
    /// Message ids of SUBSCRIBEs that wait, with their filters.
    asked: VecDeque<(u16, usize)>,
    is_subscribed: bool,
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
            under_way: VecDeque::new(),
            open: BTreeSet::new(),
            asked: VecDeque::new(),
            is_subscribed: false,
            connects: 0,
            session_present: None,
        }
    }

    /// Whether it has published and subscribed to everything.
    pub(crate) fn is_done(&self) -> bool {
        let has_said_all = self.next >= self.role.goal && self.under_way.is_empty();
        has_said_all && self.is_subscribed && self.asked.is_empty() && self.phase == Phase::Open
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
        self.phase = Phase::Connecting;
        self.connects += 1;
        self.inbox.clear();
        self.due = cx.now + 60_000;
        if self.role.is_clean {
            self.open.clear();
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
        // What was not answered may not have been heard.
        self.is_subscribed &= self.asked.is_empty();
        self.asked.clear();
        let clean = if self.role.is_clean { 0x02 } else { 0 };
        let will = if self.role.has_will { 0x04 | 0x08 } else { 0 };
        let id = client_id(self.party);
        let mut parts = vec![string(b"MQTT"), vec![4, clean | will]];
        parts.push(self.role.keep_alive_s.to_be_bytes().to_vec());
        parts.push(string(id.as_bytes()));
        if self.role.has_will {
            let number = WILL_NUMBER + self.connects;
            parts.push(string(format!("w/{}", self.party).as_bytes()));
            parts.push(string(&cx.book.payload(self.publication(number), 0)));
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        cx.acts.push(Act::Open);
        self.send(packet(mqtt::CONNECT << 4, &parts), cx);
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
        self.due = cx.now + cx.rng.u64(1..5_000);
        cx.acts.push(Act::Vanish);
    }

    /// Publishes and pings, as far as it is time.
    fn go_on(&mut self, cx: &mut Cx<'_>) {
        while self.next < self.role.goal
            && self.publish_at <= cx.now
            && self.under_way.len() < self.role.window
        {
            self.publish_at = self.publish_at.max(cx.now) + self.role.interval_ms;
            let number = self.next;
            self.next += 1;
            let qos = cx.book.manner(self.publication(number)).qos;
            let id = if qos > 0 { self.next_id() } else { 0 };
            if qos > 0 {
                self.under_way.push_back(UnderWay { id, number, is_received: false });
            }
            self.publish(number, id, false, cx);
        }
        let ping_at = self.spoke_at + u64::from(self.role.keep_alive_s) * 700;
        if ping_at <= cx.now {
            self.send(packet(mqtt::PINGREQ << 4, &[]), cx);
        }
        let ping_at = self.spoke_at + u64::from(self.role.keep_alive_s) * 700;
        let may_publish = self.next < self.role.goal && self.under_way.len() < self.role.window;
        self.due = if may_publish { self.publish_at.min(ping_at) } else { ping_at };
    }

    fn publish(&mut self, number: u32, id: u16, dup: bool, cx: &mut Cx<'_>) {
        let publication = self.publication(number);
        let manner = cx.book.manner(publication);
        let mut topic = String::new();
        cx.book.topic(publication, &mut topic);
        let payload = cx.book.payload(publication, self.role.padding_max);
        let flags = u8::from(dup) << 3 | manner.qos << 1 | u8::from(manner.retain);
        let topic = string(topic.as_bytes());
        let id = id.to_be_bytes();
        let id = if manner.qos > 0 { id.as_slice() } else { &[] };
        self.send(packet(mqtt::PUBLISH << 4 | flags, &[&topic, id, &payload]), cx);
    }

    /// Octets of the gateway.
    pub(crate) fn receive(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        self.inbox.extend_from_slice(octets);
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = inbox.as_slice();
        while let Some((whole, body)) = first_packet(rest) {
            self.hear(whole[0], body, cx);
            rest = &rest[whole.len()..];
        }
        self.inbox = rest.to_vec();
    }

    fn hear(&mut self, first: u8, body: &[u8], cx: &mut Cx<'_>) {
        let id = u16_at(body, 0);
        let is_open = self.phase == Phase::Open;
        let kind = first >> 4;
        cx.ledger.check(
            self.party,
            is_open == (kind != mqtt::CONNACK),
            "a packet came before CONNACK, or CONNACK after it",
        );
        match kind {
            mqtt::CONNACK => self.connected(body, cx),
            mqtt::PUBLISH => self.hear_publish(first, body, cx),
            mqtt::PUBACK => self.acknowledged(id, 1, cx),
            mqtt::PUBREC => {
                let entry = self.under_way.iter_mut().find(|it| it.id == id);
                if let Some(entry) = entry {
                    entry.is_received = true;
                    let number = entry.number;
                    cx.ledger.accepted(self.publication(number));
                }
                self.send(packet(mqtt::PUBREL << 4 | 2, &[&id.to_be_bytes()]), cx);
            }
            mqtt::PUBREL => {
                self.open.remove(&id);
                self.send(packet(mqtt::PUBCOMP << 4, &[&id.to_be_bytes()]), cx);
            }
            mqtt::PUBCOMP => self.acknowledged(id, 2, cx),
            mqtt::SUBACK => self.subscribed(id, body, cx),
            mqtt::UNSUBACK | mqtt::PINGRESP => {}
            _ => cx.ledger.violation(self.party, "a packet came that only clients send"),
        }
    }

    fn connected(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        if body.get(1) != Some(&0) {
            cx.ledger.violation(self.party, "CONNECT was refused");
            self.lose(cx);
            return;
        }
        self.phase = Phase::Open;
        let was_present = body[0] == 1;
        self.session_present = Some(was_present);
        if !was_present {
            self.is_subscribed = false;
            self.open.clear();
        }
        if !self.is_subscribed {
            for place in 0..self.role.filters.len() {
                let id = self.next_id();
                self.asked.push_back((id, place));
                let (filter, qos) = self.role.filters[place].clone();
                let filter = string(filter.as_bytes());
                let id = id.to_be_bytes();
                let subscribe = packet(mqtt::SUBSCRIBE << 4 | 2, &[&id, &filter, &[qos]]);
                self.send(subscribe, cx);
            }
            self.is_subscribed = true;
        }
        for entry in self.under_way.clone() {
            if entry.is_received && was_present {
                self.send(packet(mqtt::PUBREL << 4 | 2, &[&entry.id.to_be_bytes()]), cx);
            } else {
                // A session that is gone knows of nothing to repeat.
                self.publish(entry.number, entry.id, was_present, cx);
            }
        }
        self.go_on(cx);
    }

    fn acknowledged(&mut self, id: u16, qos: u8, cx: &mut Cx<'_>) {
        let Some(place) = self.under_way.iter().position(|it| it.id == id) else { return };
        let Some(entry) = self.under_way.remove(place) else { return };
        let publication = self.publication(entry.number);
        cx.ledger.check(
            self.party,
            cx.book.manner(publication).qos == qos,
            "the acknowledgement has another QoS",
        );
        cx.ledger.accepted(publication);
        cx.ledger.finished(publication);
        self.go_on(cx);
    }

    fn subscribed(&mut self, id: u16, body: &[u8], cx: &mut Cx<'_>) {
        let asked = self.asked.pop_front().filter(|(asked, _)| *asked == id);
        cx.ledger.check(self.party, asked.is_some(), "SUBACK came out of order");
        if let Some((_, place)) = asked {
            let (filter, qos) = &self.role.filters[place];
            cx.ledger.check(self.party, body.get(2) == Some(qos), "SUBSCRIBE was granted less");
            cx.ledger.confirmed(self.party, filter);
        }
    }

    fn hear_publish(&mut self, first: u8, body: &[u8], cx: &mut Cx<'_>) {
        let Some(publish) = MqttPublish::read(first, body) else {
            cx.ledger.violation(self.party, "a PUBLISH cannot be read");
            return;
        };
        let id = publish.id.to_be_bytes();
        let is_new = publish.qos() < 2 || self.open.insert(publish.id);
        cx.ledger.check(
            self.party,
            is_new || publish.is_dup(),
            "a PUBLISH of QoS 2 was repeated without DUP",
        );
        if is_new {
            cx.ledger.delivered(Delivery {
                to: self.party,
                topic: &String::from_utf8_lossy(publish.topic),
                payload: publish.data,
                qos: publish.qos(),
                retain: publish.is_retained(),
                is_repeated: publish.is_dup(),
            });
        }
        match publish.qos() {
            0 => {}
            1 => self.send(packet(mqtt::PUBACK << 4, &[&id]), cx),
            _ => self.send(packet(mqtt::PUBREC << 4, &[&id]), cx),
        }
    }
}

/// The client id of an MQTT client.
pub(crate) fn client_id(party: Party) -> String {
    format!("m{party}")
}
