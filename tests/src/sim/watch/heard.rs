//! What the gateway hears of a sensor.

use super::{CONNECTS_MAX, Connect, Cx, REQUESTS_MAX, Request, State, Watch};
use crate::sim::features::Feature;
use crate::sim::will_parts::{self, Change, DELETED};
use crate::sim::wire::{self, SnPublish, sn, split, u16_at};

impl Watch {
    /// A datagram of the sensor is about to be heard.
    pub(crate) fn heard(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        let Some((kind, body)) = split(octets) else { return };
        let is_shaking = self.connects.iter().any(|it| !it.is_answered);
        self.may_be_lost = is_shaking || cx.now - self.spoke_at >= self.silences_ms()[0];
        let is_new_place = matches!(kind, sn::CONNECT | sn::PINGREQ);
        if is_new_place || self.is_bound(cx.place) {
            self.spoke_at = cx.now;
        }
        let connect = self.connects.iter_mut().find(|it| it.place.is(cx.place));
        if let Some(connect) = connect {
            connect.spoke_at = cx.now;
        }
        if !self.is_bound(cx.place) && !is_new_place {
            self.stray = Some((cx.place, cx.ledger.turn));
        }
        match kind {
            sn::CONNECT => self.hear_connect(body, cx),
            sn::WILLMSG => {
                self.will = cx.book.read(body).or(self.will);
                cx.ledger.wills.replaced(cx.sensor, cx.now);
            }
            sn::PINGREQ if !body.is_empty() => self.hear_visit(cx),
            sn::PUBLISH => self.hear_publish(body, cx),
            _ if self.is_bound(cx.place) => self.hear_bound(kind, body, cx),
            sn::PINGREQ | sn::DISCONNECT => {}
            _ if self.is_unsure => self.hear_bound(kind, body, cx),
            _ => {}
        }
        if !matches!(kind, sn::CONNECT | sn::WILLTOPIC | sn::WILLMSG) && self.place.is(cx.place) {
            self.is_untouched = false;
        }
        if self.is_bound(cx.place) {
            let [silence_ms, most_ms] = self.silences_ms();
            let visit_ms = if self.state == State::Awake { cx.visit_ms } else { most_ms };
            if self.will.is_some() {
                cx.ledger.wills.heard(cx.sensor, cx.now, silence_ms, visit_ms);
            }
            if self.is_clean {
                cx.ledger.lasts_until(cx.sensor, cx.now + silence_ms);
            }
        }
    }

    fn hear_connect(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        let (place, flags, keep_alive_s) = (cx.place, body[0], u16_at(body, 2));
        if !Self::asks_for_will(flags) {
            cx.ledger.wills.replaced(cx.sensor, cx.now);
        }
        // A repetition with nothing in between changes nothing (D4).
        let is_answered = self.is_untouched
            && self.state == State::Active
            && self.place.is(place)
            && !Self::asks_for_will(flags);
        let spoke_at = cx.now;
        let connect = Connect { place, flags, keep_alive_s, spoke_at, is_answered };
        self.connects.retain(|it| !it.place.is(cx.place));
        if self.connects.len() >= CONNECTS_MAX {
            self.connects.remove(0);
        }
        self.connects.push(connect);
    }

    /// PINGREQ with the client id: a visit, also from another port of the same host.
    fn hear_visit(&mut self, cx: &Cx<'_>) {
        let is_same_host = self.place.has_host_of(cx.place);
        if matches!(self.state, State::Asleep | State::Awake) && is_same_host {
            self.set_state(State::Awake, cx);
            self.place = cx.place;
        }
    }

    fn hear_publish(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        let Some(publish) = SnPublish::read(body) else { return };
        let is_unconnected = publish.qos() == 3;
        if is_unconnected && cx.place.via.is_some() {
            cx.ledger.features.count(Feature::NodeUnconnected);
        }
        if !is_unconnected && !self.is_bound(cx.place) && !self.is_unsure {
            return;
        }
        let Some(publication) = cx.book.read(publish.data) else { return };
        cx.ledger.arrived(publication, publish.is_dup());
        if publish.flags & 3 == 0
            && let Some(id) = self.ids.iter_mut().find(|it| it.id == publish.topic)
        {
            id.is_told = true;
        }
        if matches!(publish.qos(), 1 | 2) {
            self.published.retain(|(msg_id, _)| *msg_id != publish.msg_id);
            if self.published.len() >= REQUESTS_MAX {
                self.published.remove(0);
            }
            self.published.push((publish.msg_id, publication));
        }
    }

    fn hear_bound(&mut self, kind: u8, body: &[u8], cx: &mut Cx<'_>) {
        match kind {
            sn::REGISTER => {
                let name = text(body, 4);
                if self.ids.iter().any(|it| it.is_told && it.name == name) {
                    cx.ledger.features.count(Feature::RegisteredAgain);
                }
                self.note_request(kind, 0, u16_at(body, 2), name, false);
            }
            sn::SUBSCRIBE | sn::UNSUBSCRIBE => {
                let form = body[0] & 3;
                let filter = match form {
                    1 => format!("pre/{}", u16_at(body, 3)),
                    _ => text(body, 3),
                };
                let is_open = self.is_unsure || self.may_be_lost;
                if kind == sn::SUBSCRIBE {
                    cx.ledger.subscribed(cx.sensor, &filter, body[0] >> 5 & 3);
                } else if is_open {
                    cx.ledger.doubted(cx.sensor, &filter);
                } else {
                    cx.ledger.unsubscribed(cx.sensor, &filter);
                }
                self.note_request(kind, form, u16_at(body, 1), filter, is_open);
            }
            sn::REGACK => {
                let is_accepted = body.last() == Some(&0);
                if let Some(id) = self.ids.iter_mut().find(|it| it.id == u16_at(body, 0)) {
                    id.is_told = is_accepted;
                }
            }
            sn::PUBACK => self.hear_puback(body, cx),
            sn::PUBREL => {
                let msg_id = u16_at(body, 0);
                if let Some((_, publication)) = self.published.iter().find(|it| it.0 == msg_id) {
                    cx.ledger.released(*publication);
                }
            }
            sn::PUBREC => {
                self.said_pubrec += 1;
                let exchange = self.exchange.as_mut().filter(|it| it.msg_id == u16_at(body, 0));
                if let Some(exchange) = exchange {
                    exchange.is_received = true;
                    exchange.turns[1] = cx.ledger.turn;
                }
            }
            sn::PUBCOMP => self.end_exchange(u16_at(body, 0)),
            sn::PINGREQ if self.state == State::Active => {
                cx.ledger.features.count(Feature::KeptAlive);
            }
            sn::PINGREQ if self.state == State::Asleep => self.set_state(State::Awake, cx),
            sn::DISCONNECT => self.hear_disconnect(body, cx),
            sn::WILLTOPICUPD | sn::WILLMSGUPD => self.hear_will_change(kind, body, cx),
            _ => {}
        }
    }

    /// A half of the will is to be another one; it is when that is acknowledged (SN-054).
    fn hear_will_change(&mut self, kind: u8, body: &[u8], cx: &mut Cx<'_>) {
        let change = match (kind, body) {
            (sn::WILLMSGUPD, _) => {
                let Some(will) = cx.book.read(body) else { return };
                Change::Message(will.number)
            }
            (_, []) => Change::Topic(DELETED),
            (_, [_, topic @ ..]) => {
                let topic = String::from_utf8_lossy(topic);
                let Some(topic) = will_parts::topic_of(cx.sensor, &topic) else { return };
                Change::Topic(topic)
            }
        };
        let turn = cx.ledger.turn;
        cx.ledger.wills.hear_change(cx.sensor, change, turn);
    }

    fn hear_puback(&mut self, body: &[u8], cx: &Cx<'_>) {
        let msg_id = u16_at(body, 2);
        // One that comes after PUBREC is about a copy, and says nothing any more.
        let ends = self.exchange.is_some_and(|it| it.msg_id == msg_id && !it.is_received);
        // One without room wants it later.
        if !ends || body.last() == Some(&1) {
            return;
        }
        self.exchange = None;
        if body.last() == Some(&2) {
            let topic = u16_at(body, 0);
            for id in self.ids.iter_mut().filter(|it| it.id == topic) {
                (id.is_told, id.refused_in) = (false, cx.ledger.turn);
            }
        }
    }

    fn end_exchange(&mut self, msg_id: u16) {
        self.exchange = self.exchange.filter(|it| it.msg_id != msg_id);
    }

    fn hear_disconnect(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        self.owed += 1;
        match u16_at(body, 0) {
            0 => {
                self.set_state(State::Unknown, cx);
                cx.ledger.wills.end(cx.sensor, cx.now);
                if self.is_clean {
                    cx.ledger.session_over(cx.sensor);
                }
            }
            seconds => {
                if self.state == State::Asleep && self.sleep_s != seconds {
                    cx.ledger.features.count(Feature::SleptOn);
                }
                self.set_state(State::Asleep, cx);
                self.sleep_s = seconds;
            }
        }
    }

    fn note_request(&mut self, kind: u8, form: u8, msg_id: u16, text: String, is_open: bool) {
        self.requests.retain(|it| it.msg_id != msg_id);
        if self.requests.len() >= REQUESTS_MAX {
            self.requests.remove(0);
        }
        self.requests.push(Request { msg_id, kind, form, text, is_open });
    }

    /// Whether a CONNECT asks for a will.
    pub(super) const fn asks_for_will(flags: u8) -> bool {
        flags & wire::WILL != 0
    }
}

fn text(body: &[u8], from: usize) -> String {
    String::from_utf8_lossy(body.get(from..).unwrap_or_default()).into_owned()
}
