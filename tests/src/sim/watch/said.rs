//! What the gateway says to a sensor.

use super::{Cx, Exchange, Request, State, Watch};
use crate::sim::book::check_sum;
use crate::sim::features::Feature;
use crate::sim::will_parts::{Change, DELETED};
use crate::sim::wire::{self, SnPublish, sn, split, u16_at};

impl Watch {
    /// A datagram leaves for the sensor.
    pub(crate) fn said(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        let Some((kind, body)) = split(octets) else {
            cx.check(false, "what the gateway sent is no message");
            return;
        };
        self.check_state(kind, cx);
        match kind {
            sn::CONNACK if body == [0] => self.say_connected(cx),
            sn::CONNACK if body == [1] => cx.ledger.features.count(Feature::Congested),
            sn::DISCONNECT if self.is_bound(cx.place) => self.say_disconnect(cx),
            sn::PINGRESP => self.say_pingresp(cx),
            sn::PUBLISH => self.say_publish(body, cx),
            sn::REGISTER => {
                let name = String::from_utf8_lossy(&body[4..]).into_owned();
                let was_told = self.ids.iter().any(|it| it.is_told && it.name == name);
                self.note_id(u16_at(body, 0), &name, cx);
                // From here on it waits for REGACK.
                if let Some(id) = self.ids.iter_mut().find(|it| it.name == name) {
                    id.is_told = was_told;
                }
            }
            sn::REGACK if body.last() == Some(&0) => {
                let request = self.request(u16_at(body, 2), sn::REGISTER);
                cx.check(request.is_some(), "REGACK without REGISTER");
                if let Some(request) = request {
                    self.note_id(u16_at(body, 0), &request.text, cx);
                }
            }
            sn::SUBACK => self.say_suback(body, cx),
            sn::UNSUBACK => {
                let request = self.request(u16_at(body, 0), sn::UNSUBSCRIBE);
                cx.check(request.is_some(), "UNSUBACK without UNSUBSCRIBE");
                cx.ledger.features.count(match request.as_ref().map_or(0, |it| it.form) {
                    0 => Feature::UnsubscribedByName,
                    1 => Feature::UnsubscribedById,
                    _ => Feature::UnsubscribedByShortName,
                });
                if let Some(request) = request.filter(|it| it.is_open) {
                    cx.ledger.unsubscribed(cx.sensor, &request.text);
                }
            }
            sn::WILLTOPICRESP | sn::WILLMSGRESP if body == [0] => {
                Self::say_will_changed(kind == sn::WILLTOPICRESP, cx);
            }
            sn::PUBACK if body.last() == Some(&0) => self.say_accepted(u16_at(body, 2), 1, cx),
            sn::PUBREC => self.say_accepted(u16_at(body, 0), 2, cx),
            sn::PUBREL => {
                let is_early = self.exchange.is_some_and(|it| {
                    it.msg_id == u16_at(body, 0) && !it.is_received && !it.is_open
                });
                cx.check(!is_early, "PUBREL came before PUBREC");
                self.said_pubrec = self.said_pubrec.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// Who may be told what (section 11 of the specification reference).
    fn check_state(&self, kind: u8, cx: &mut Cx<'_>) {
        let is_session = matches!(kind, sn::PUBLISH | sn::REGISTER | sn::PUBREL);
        if !is_session && kind != sn::PINGREQ {
            return;
        }
        let is_answer = kind == sn::PUBREL && self.said_pubrec > 0;
        if self.is_unsure {
            return;
        }
        let what = format!("a message of type {kind:02X} left for an address without its session");
        cx.check(self.is_bound(cx.place), &what);
        // What left before the answer to its DISCONNECT was said to a client that listened.
        let may_hear = self.state != State::Asleep || is_answer || self.owed > 0;
        let what = format!("a message of type {kind:02X} left for a client that sleeps");
        cx.check(may_hear, &what);
    }

    fn request(&self, msg_id: u16, kind: u8) -> Option<Request> {
        self.requests.iter().find(|it| it.msg_id == msg_id && it.kind == kind).cloned()
    }

    fn say_connected(&mut self, cx: &mut Cx<'_>) {
        let connect = self.connects.iter_mut().find(|it| it.place.is(cx.place));
        cx.check(connect.is_some(), "CONNACK without CONNECT");
        let Some(connect) = connect else { return };
        if std::mem::replace(&mut connect.is_answered, true) {
            return;
        }
        let connect = *connect;
        self.is_untouched = true;
        self.set_state(State::Active, cx);
        self.connected_in = cx.ledger.turn;
        (self.is_unsure, self.may_be_elsewhere) = (false, false);
        self.place = cx.place;
        self.keep_alive_s = connect.keep_alive_s;
        self.is_clean = connect.flags & wire::CLEAN != 0;
        self.owed = 0;
        self.exchange = None;
        if self.is_clean {
            self.ids.clear();
        } else {
            self.ids.iter_mut().for_each(|it| it.is_told = false);
        }
        let has_inbox = !cx.book.kind(cx.sensor).wishes.is_empty();
        cx.ledger.session_begun(cx.sensor, !self.is_clean, has_inbox);
        let silence_ms = self.silence_ms();
        cx.ledger.lasts_until(cx.sensor, cx.now + silence_ms);
        match self.will.filter(|_| Self::asks_for_will(connect.flags)) {
            Some(will) => {
                let (turn, now) = (cx.ledger.turn, [connect.spoke_at, cx.now]);
                cx.ledger.wills.arm(will, turn, now, silence_ms);
            }
            None if !self.is_clean => {
                // The will that it had holds again (SN-051).
                let (turn, now) = (cx.ledger.turn, [connect.spoke_at, cx.now]);
                if cx.ledger.wills.arm_again(cx.sensor, turn, now, silence_ms) {
                    cx.ledger.features.count(Feature::WillKept);
                }
            }
            None => cx.ledger.wills.end(cx.sensor, cx.now),
        }
    }

    /// An answer, or the news that the session has to be taken up again (SN-026).
    fn say_disconnect(&mut self, cx: &mut Cx<'_>) {
        if self.owed > 0 {
            self.owed -= 1;
            // It is known to sleep, unless that is what a stranger is told.
            self.is_unsure &= self.may_be_elsewhere;
            return;
        }
        // In the turn in which a visit moves its session the answers to what it said before leave.
        if self.stray.is_some_and(|(place, turn)| place.is(cx.place) && turn == cx.ledger.turn) {
            return;
        }
        // After a crash the session may still be at the address that it had before.
        self.set_state(State::Unknown, cx);
        if self.is_clean {
            cx.ledger.session_over(cx.sensor);
        }
    }

    /// A visit ends when nothing is left to collect (SN-097).
    fn say_pingresp(&mut self, cx: &mut Cx<'_>) {
        if self.state != State::Awake || !self.is_bound(cx.place) {
            return;
        }
        self.set_state(State::Asleep, cx);
        if cx.dropped == 0 && !self.is_unsure && !cx.is_held_up {
            let left = cx.ledger.waits_for(cx.sensor);
            let what = left.map(|it| format!("PINGRESP came before {it}")).unwrap_or_default();
            cx.check(left.is_none(), &what);
        }
    }

    fn say_publish(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        let Some(publish) = SnPublish::read(body) else {
            cx.check(false, "a PUBLISH is too short");
            return;
        };
        cx.check(publish.qos() < 3 && publish.flags & 3 < 3, "a PUBLISH has reserved flags");
        cx.check(
            (publish.qos() == 0) == (publish.msg_id == 0),
            "a PUBLISH has a message id, or none, against its QoS",
        );
        if publish.flags & 3 == 0 {
            let is_told = self.ids.iter().any(|it| it.id == publish.topic && it.is_told);
            let what = format!("PUBLISH under id {}, which was not registered", publish.topic);
            cx.check(is_told, &what);
        }
        if publish.qos() == 0 {
            cx.check(!publish.is_dup(), "DUP at QoS 0");
            return;
        }
        let sum = check_sum(publish.data);
        if let Some(last) = self.exchange {
            let is_same = last.msg_id == publish.msg_id && last.sum == sum;
            cx.check(!is_same || publish.is_dup(), "a PUBLISH was repeated without DUP");
            cx.check(!is_same || !last.is_received, "a PUBLISH was repeated after PUBREC");
            // What was given up leaves its place to the next (D7).
            let may_follow = is_same || cx.dropped > last.dropped;
            cx.check(may_follow, "a PUBLISH left while another was not acknowledged");
        }
        let msg_id = publish.msg_id;
        // A repetition goes on with the exchange that was begun.
        let again = self.exchange.filter(|it| it.msg_id == msg_id && it.sum == sum);
        let turns = again.map_or([cx.ledger.turn; 2], |it| it.turns);
        let (is_received, is_open, dropped) = (false, false, cx.dropped);
        self.exchange = Some(Exchange { msg_id, sum, is_received, is_open, turns, dropped });
    }

    fn say_suback(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        let request = self.request(u16_at(body, 3), sn::SUBSCRIBE);
        cx.check(request.is_some(), "SUBACK without SUBSCRIBE");
        let Some(Request { form, text: filter, .. }) = request else { return };
        if body.last() != Some(&0) {
            cx.ledger.unsubscribed(cx.sensor, &filter);
            return;
        }
        cx.ledger.confirmed(cx.sensor, &filter);
        cx.ledger.features.count(match form {
            0 => Feature::SubscribedByName,
            1 => Feature::SubscribedById,
            _ => Feature::SubscribedByShortName,
        });
        let id = u16_at(body, 1);
        let is_wild = filter.contains(['+', '#']);
        let expected = match form {
            0 => is_wild == (id == 0),
            1 => filter == format!("pre/{id}"),
            _ => filter.as_bytes() == id.to_be_bytes(),
        };
        cx.check(expected, "SUBACK has another topic id than it should");
        if form == 0 && id != 0 {
            self.note_id(id, &filter, cx);
        }
    }

    /// From here on the will is the one that was asked for (SN-054).
    fn say_will_changed(is_topic: bool, cx: &mut Cx<'_>) {
        let change = cx.ledger.wills.acknowledge_change(cx.sensor, is_topic);
        let what = "a change of the will was acknowledged that was not asked for";
        cx.check(change.is_some(), what);
        cx.ledger.features.count(match change {
            Some(Change::Topic(DELETED)) => Feature::WillDeleted,
            Some(Change::Topic(_)) => Feature::WillTopicChanged,
            Some(Change::Message(_)) | None => Feature::WillMessageChanged,
        });
    }

    /// PUBACK or PUBREC: the gateway has the publication.
    fn say_accepted(&mut self, msg_id: u16, qos: u8, cx: &mut Cx<'_>) {
        let published = self.published.iter().find(|(id, _)| *id == msg_id);
        let Some((_, publication)) = published.copied() else {
            cx.check(false, "a publication was acknowledged that was not heard");
            return;
        };
        cx.check(cx.book.manner(publication).qos == qos, "the acknowledgement has another QoS");
        cx.ledger.accepted(publication);
    }
}
