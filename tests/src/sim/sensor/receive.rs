//! What the gateway says to a sensor.

use super::super::wire::{RETAIN, SnPublish, frame, sn, split, u16_at};
use super::ears::Novelty;
use super::{Ask, Cx, Phase, Sensor, Step};
use crate::sim::book;
use crate::sim::ledger::Delivery;
use crate::sim::will_parts::Change;

impl Sensor {
    /// A datagram arrives; the radio is off while it sleeps.
    pub(crate) fn receive(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        if matches!(self.phase, Phase::Asleep | Phase::Dead) {
            return;
        }
        let Some((kind, body)) = split(octets) else {
            cx.ledger.violation(self.index, "the gateway sent what is no message");
            return;
        };
        if self.asks(Ask::Visit) && kind != sn::PINGRESP {
            // Every message but the last one gives it more time (SN 6.14).
            self.due = cx.now + cx.book.kind(self.index).retry_ms;
        }
        match kind {
            sn::CONNACK | sn::WILLTOPICREQ | sn::WILLMSGREQ => self.shake_hands(kind, body, cx),
            sn::GWINFO | sn::ADVERTISE => self.find_gateway(cx),
            sn::PINGREQ => self.send(frame(sn::PINGRESP, &[]), cx),
            sn::DISCONNECT => self.disconnected(cx),
            sn::PUBLISH if self.is_connected() => self.hear(body, cx),
            sn::REGISTER if self.is_connected() => self.learn(body, cx),
            sn::PUBREL => {
                if let Some(ears) = &mut self.ears {
                    ears.release(cx.now, u16_at(body, 0));
                }
                self.send(frame(sn::PUBCOMP, &[&body[..2]]), cx);
            }
            _ => self.answered(kind, body, cx),
        }
    }

    const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Visiting)
    }

    fn asks(&self, ask: Ask) -> bool {
        self.request.is_some_and(|request| request.ask == ask)
    }

    fn shake_hands(&mut self, kind: u8, body: &[u8], cx: &mut Cx<'_>) {
        let has_will = cx.book.kind(self.index).will.is_some() && !self.keeps_will;
        let last = if has_will { Ask::WillMessage } else { Ask::Connect };
        let is_shaking = [Ask::Connect, Ask::WillTopic, Ask::WillMessage].map(|ask| self.asks(ask));
        match (kind, body.first()) {
            (sn::WILLTOPICREQ, _) if self.asks(Ask::Connect) && has_will => {
                self.ask(Ask::WillTopic, cx);
            }
            (sn::WILLMSGREQ, _) if self.asks(Ask::WillTopic) => self.ask(Ask::WillMessage, cx),
            (sn::CONNACK, Some(0)) if self.asks(last) => self.connected(cx),
            (sn::CONNACK, Some(1..)) if is_shaking.contains(&true) => {
                self.request = None;
                self.stay_off(cx);
            }
            _ => {}
        }
    }

    fn disconnected(&mut self, cx: &mut Cx<'_>) {
        if self.asks(Ask::Sleep) || self.asks(Ask::SleepOn) {
            self.fall_asleep(cx);
        } else if self.asks(Ask::WillTopic) || self.asks(Ask::WillMessage) {
            // The gateway knows nothing of its CONNECT any more.
            self.request = None;
            self.stay_off(cx);
        } else if self.is_connected() {
            // It may have lost the session as well, so it subscribes again (SN-026).
            if let Some(ears) = &mut self.ears {
                ears.subscribe_again();
            }
            self.phase = Phase::Off;
            self.request = None;
            self.has_will = false;
            self.due = cx.now + cx.rng.u64(1..500);
        }
    }

    /// The answer to its request, or one that comes late.
    fn answered(&mut self, kind: u8, body: &[u8], cx: &mut Cx<'_>) {
        let Some(request) = self.request else { return };
        let msg_id = request.msg_id;
        let code = body.last().copied().unwrap_or_default();
        match (kind, request.ask) {
            (sn::REGACK, Ask::Register) if u16_at(body, 2) == msg_id => {
                if code == 0 {
                    self.topic_id = u16_at(body, 0);
                    let mut topic = String::new();
                    cx.book.topic(self.publication(), &mut topic);
                    self.note_id(self.topic_id, &topic, cx);
                } else {
                    cx.ledger.violation(self.index, "REGISTER was refused");
                }
                self.go_on(cx);
            }
            (sn::PUBACK, Ask::Publish) if u16_at(body, 2) == msg_id => self.puback(code, cx),
            (sn::PUBREC, Ask::Publish) if u16_at(body, 0) == msg_id => {
                self.step = Step::Release;
                self.ask(Ask::Release, cx);
            }
            (sn::PUBCOMP, Ask::Release) if u16_at(body, 0) == msg_id => {
                self.finish_publication(cx);
                self.go_on(cx);
            }
            (sn::SUBACK, Ask::Subscribe(wish)) if u16_at(body, 3) == msg_id => {
                self.subscribed(wish, body, cx);
            }
            (sn::UNSUBACK, Ask::Unsubscribe(wish)) if u16_at(body, 0) == msg_id => {
                if let Some(ears) = &mut self.ears {
                    ears.set_granted(wish, false);
                }
                self.go_on(cx);
            }
            (sn::WILLTOPICRESP, Ask::ChangeWill(Change::Topic(_)))
            | (sn::WILLMSGRESP, Ask::ChangeWill(Change::Message(_))) => {
                if body != [0] {
                    cx.ledger.violation(self.index, "a change of the will was refused");
                }
                self.go_on(cx);
            }
            (sn::PINGRESP, Ask::Ping) => self.go_on(cx),
            (sn::PINGRESP, Ask::Visit) => self.fall_asleep(cx),
            _ => {}
        }
    }

    fn go_on(&mut self, cx: &mut Cx<'_>) {
        self.request = None;
        self.next_job(cx);
    }

    fn puback(&mut self, code: u8, cx: &mut Cx<'_>) {
        self.request = None;
        match code {
            0 if cx.book.kind(self.index).qos == 1 => {
                self.finish_publication(cx);
                self.next_job(cx);
            }
            // The id is not known any more: it registers and publishes again (SN 6.6).
            2 => {
                self.topic_id = 0;
                self.was_sent = false;
                self.next_job(cx);
            }
            1 => self.due = cx.now + 10_000,
            _ => {
                cx.ledger.violation(self.index, "a publication was refused");
                self.finish_publication(cx);
                self.next_job(cx);
            }
        }
    }

    fn subscribed(&mut self, wish: u8, body: &[u8], cx: &mut Cx<'_>) {
        let (kind, qos) = cx.book.kind(self.index).wishes[usize::from(wish)];
        let (form, name) = super::ears::filter(kind, self.index);
        let code = body.last().copied().unwrap_or_default();
        if code != 0 || body[0] >> 5 & 3 != qos {
            cx.ledger.violation(self.index, "SUBSCRIBE was refused, or granted less");
            return;
        }
        if let Some(ears) = &mut self.ears {
            ears.set_granted(wish, true);
        }
        let id = u16_at(body, 1);
        if form == 0 && id != 0 {
            let name = String::from_utf8_lossy(&name).into_owned();
            self.note_id(id, &name, cx);
        }
        self.go_on(cx);
    }

    /// The gateway says what an id stands for.
    fn learn(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        let id = u16_at(body, 0);
        let name = String::from_utf8_lossy(&body[4..]).into_owned();
        self.note_id(id, &name, cx);
        self.send(frame(sn::REGACK, &[&body[..4], &[0]]), cx);
    }

    /// An id stands for one topic as long as a connection lasts.
    fn note_id(&mut self, id: u16, name: &str, cx: &mut Cx<'_>) {
        let Some(ears) = &mut self.ears else { return };
        if let Some(old) = ears.learn(id, name) {
            cx.ledger.violation(self.index, &format!("topic id {id} was {old} and is {name}"));
        }
    }

    fn hear(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        let Some(publish) = SnPublish::read(body) else {
            cx.ledger.violation(self.index, "a PUBLISH is too short");
            return;
        };
        let id = publish.msg_id.to_be_bytes();
        let topic_octets = publish.topic.to_be_bytes();
        let ears = self.ears.as_ref();
        let topic = match publish.flags & 3 {
            0 => ears.and_then(|ears| ears.name(publish.topic)).map(str::to_owned),
            1 => (1..=book::PREDEFINED)
                .contains(&publish.topic)
                .then(|| format!("pre/{}", publish.topic)),
            _ => Some(String::from_utf8_lossy(&topic_octets).into_owned()),
        };
        let Some(topic) = topic else {
            // It must say so at any QoS (SN-080).
            self.send(frame(sn::PUBACK, &[&topic_octets, &id, &[2]]), cx);
            return;
        };
        let is_new = publish.qos() < 2 || self.note_qos2(&publish, cx);
        if is_new {
            cx.ledger.delivered(Delivery {
                to: self.index,
                topic: &topic,
                payload: publish.data,
                qos: publish.qos(),
                retain: publish.flags & RETAIN != 0,
                is_repeated: publish.is_dup(),
            });
        }
        match publish.qos() {
            0 => {}
            1 => self.send(frame(sn::PUBACK, &[&topic_octets, &id, &[0]]), cx),
            _ => self.send(frame(sn::PUBREC, &[&id]), cx),
        }
    }

    fn note_qos2(&mut self, publish: &SnPublish<'_>, cx: &mut Cx<'_>) -> bool {
        let sum = publish
            .data
            .iter()
            .fold(7u64, |sum, octet| sum.wrapping_mul(0x0100_0000_01B3) ^ u64::from(*octet));
        let ears = self.ears.as_mut();
        ears.is_none_or(|ears| ears.receive(cx.now, publish.msg_id, sum) == Novelty::New)
    }
}
