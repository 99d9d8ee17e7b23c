//! What a client hears, and how it answers.

use super::{Client, Cx, Phase};
use crate::sim::book::check_sum;
use crate::sim::features::Feature;
use crate::sim::ledger::Delivery;
use crate::sim::wire::{MqttPublish, Version, first_packet, mqtt, packet, u16_at};
use crate::sim::wire5::Properties;

/// The gateway has no room for a publication just now.
const QUOTA_EXCEEDED: u8 = 0x97;

/// "Implementation specific error", and "payload format invalid".
const REFUSALS: [u8; 2] = [0x83, 0x99];

impl Client {
    /// Octets of the gateway.
    pub(crate) fn receive(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        self.inbox.extend_from_slice(octets);
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = inbox.as_slice();
        while let Some((whole, body)) = first_packet(rest) {
            self.hear(whole[0], body, cx);
            rest = &rest[whole.len()..];
            if self.phase == Phase::Off {
                // It has left meanwhile.
                return;
            }
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
        let reason = if self.role.version.is_5() { body.get(2).copied().unwrap_or(0) } else { 0 };
        match kind {
            mqtt::CONNACK => self.connected(body, cx),
            mqtt::PUBLISH => self.hear_publish(first, body, cx),
            mqtt::PUBACK => self.acknowledged(id, 1, reason, cx),
            mqtt::PUBREC if reason >= 0x80 => self.acknowledged(id, 2, reason, cx),
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
            mqtt::PUBCOMP => self.acknowledged(id, 2, 0, cx),
            mqtt::SUBACK => self.subscribed(id, body, cx),
            mqtt::UNSUBACK | mqtt::PINGRESP => {}
            mqtt::DISCONNECT if self.role.version.is_5() => {
                let reason = body.first().copied().unwrap_or(0);
                let what = format!("it was let go with {reason:#04x} and had done nothing wrong");
                cx.ledger.violation(self.party, &what);
            }
            _ => cx.ledger.violation(self.party, "a packet came that only clients send"),
        }
    }

    fn connected(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        if body.get(1) != Some(&0) {
            // Who is silent for too long is cut off, also while the answer waits for a disk.
            let silence_ms = cx.now + super::ANSWER_MS - self.due;
            let keep_alive_ms = u64::from(self.role.keep_alive_s) * 1_500;
            let is_silent = keep_alive_ms > 0 && silence_ms >= keep_alive_ms;
            let is_excused = is_silent && !cx.is_prompt;
            cx.ledger.check(self.party, is_excused, "CONNECT was refused");
            self.lose(cx);
            return;
        }
        let is_clean = std::mem::take(&mut self.wants_clean);
        self.phase = Phase::Open;
        self.hear_terms(&body[2..], cx);
        let was_present = match self.role.version {
            // It is not told, and goes on as if it were.
            Version::V31 => {
                cx.ledger.check(self.party, body[0] == 0, "a flag in a CONNACK of MQTT 3.1");
                !is_clean
            }
            Version::V311 | Version::V5 => {
                self.session_present = Some(body[0] == 1);
                body[0] == 1
            }
        };
        if !was_present {
            self.is_subscribed = false;
            self.open.clear();
            self.declined.clear();
            if self.role.version.is_5() {
                self.forget_session(cx);
            }
        }
        // Who asks once more is answered, and sent what is retained, as it asks for it.
        let asks_again = self.role.version == Version::V31 || cx.rng.u32(..6) == 0;
        if !self.is_subscribed || asks_again {
            self.subscribe(cx);
        }
        for entry in self.under_way.clone() {
            if entry.is_received && was_present {
                self.send(packet(mqtt::PUBREL << 4 | 2, &[&entry.id.to_be_bytes()]), cx);
            } else {
                // A session that is gone knows of nothing to repeat.
                self.publish(entry.number, entry.id, was_present, cx);
            }
        }
        if self.role.leaves_every_ms > 0 {
            self.leave_at = cx.now + cx.rng.u64(1..2 * self.role.leaves_every_ms);
        }
        self.go_on(cx);
    }

    /// What CONNACK tells besides.
    fn hear_terms(&mut self, rest: &[u8], cx: &mut Cx<'_>) {
        self.terms.keep_alive_s = self.role.keep_alive_s;
        self.terms.receive_maximum = u16::MAX;
        if !self.role.version.is_5() {
            return;
        }
        let Some((told, _)) = Properties::read(rest) else {
            cx.ledger.violation(self.party, "a CONNACK cannot be read");
            return;
        };
        let difference = cx.offer.difference(&told, self.expiry_s, self.role.keep_alive_s);
        let what = difference.unwrap_or_default();
        let holds = difference.is_none();
        cx.ledger.check(self.party, holds, &format!("CONNACK tells another {what}"));
        self.terms.receive_maximum = told.receive_maximum.unwrap_or(u16::MAX);
        self.terms.alias_maximum = told.alias_maximum.unwrap_or(0);
        if let Some(keep_alive_s) = told.server_keep_alive_s {
            self.terms.keep_alive_s = keep_alive_s;
            cx.ledger.features.count(Feature::ServerKeepAlive);
        }
    }

    fn acknowledged(&mut self, id: u16, qos: u8, reason: u8, cx: &mut Cx<'_>) {
        let Some(place) = self.under_way.iter().position(|it| it.id == id) else { return };
        let Some(entry) = self.under_way.remove(place) else { return };
        let publication = self.publication(entry.number);
        cx.ledger.check(
            self.party,
            cx.book.manner(publication).qos == qos,
            "the acknowledgement has another QoS",
        );
        if reason >= 0x80 {
            // Another try, as another message; the disk may take it by then.
            let holds = reason == QUOTA_EXCEEDED;
            cx.ledger.check(self.party, holds, &format!("it was refused with {reason:#04x}"));
            self.refused.push_back(entry.number);
            self.publish_at = self.publish_at.max(cx.now + 1_000);
        } else {
            cx.ledger.accepted(publication);
            cx.ledger.finished(publication);
        }
        self.go_on(cx);
    }

    fn subscribed(&mut self, id: u16, body: &[u8], cx: &mut Cx<'_>) {
        let asked = self.asked.pop_front().filter(|(asked, _)| *asked == id);
        cx.ledger.check(self.party, asked.is_some(), "SUBACK came out of order");
        let rest = body.get(2..).unwrap_or_default();
        let codes = match self.role.version {
            Version::V31 | Version::V311 => rest,
            Version::V5 => Properties::read(rest).map_or(rest, |(_, codes)| codes),
        };
        if let Some((_, place)) = asked {
            let wish = &self.role.filters[place];
            cx.ledger.check(self.party, codes == [wish.qos], "SUBSCRIBE was granted less");
            cx.ledger.confirmed(self.party, &wish.filter);
        }
    }

    fn hear_publish(&mut self, first: u8, body: &[u8], cx: &mut Cx<'_>) {
        let version = self.role.version;
        let Some(publish) = MqttPublish::read(version, first, body) else {
            cx.ledger.violation(self.party, "a PUBLISH cannot be read");
            return;
        };
        let alias = publish.properties.alias;
        if alias.is_some() && publish.topic.is_empty() {
            cx.ledger.features.count(Feature::AliasDown);
        }
        let topic = self.terms.resolve(publish.topic, alias, self.role.five.alias_maximum);
        let topic = topic.unwrap_or_else(|what| {
            cx.ledger.violation(self.party, what);
            String::new()
        });
        let sum = check_sum(publish.data);
        let is_declined = publish.is_dup() && self.declined.contains(&publish.id);
        let is_open = match self.open.get(&publish.id) {
            Some(open) if version == Version::V31 => *open == sum,
            Some(_) => true,
            None => false,
        };
        let is_new = publish.qos() < 2 || !is_open && !is_declined;
        cx.ledger.check(
            self.party,
            is_new || publish.is_dup(),
            "a PUBLISH of QoS 2 was repeated without DUP",
        );
        if is_new {
            let delivery = Delivery {
                to: self.party,
                topic: &topic,
                payload: publish.data,
                qos: publish.qos(),
                retain: publish.is_retained(),
                is_repeated: publish.is_dup(),
            };
            let properties = version.is_5().then_some(&publish.properties);
            cx.ledger.delivered_with(delivery, properties);
        }
        self.answer(&publish, is_new, is_declined, sum, cx);
    }

    fn answer(
        &mut self,
        publish: &MqttPublish<'_>,
        is_new: bool,
        is_declined: bool,
        sum: u64,
        cx: &mut Cx<'_>,
    ) {
        let id = publish.id.to_be_bytes();
        let wants_none = self.role.five.refuses && self.role.version.is_5();
        let refuses = wants_none && is_new && cx.rng.u32(..8) == 0 || is_declined;
        let reason = [REFUSALS[usize::from(publish.id) % 2]];
        let reason: &[u8] = if refuses { &reason } else { &[] };
        match publish.qos() {
            0 => {}
            1 => self.send(packet(mqtt::PUBACK << 4, &[&id, reason]), cx),
            _ => {
                if refuses {
                    self.declined.insert(publish.id);
                } else {
                    self.declined.remove(&publish.id);
                    self.open.insert(publish.id, sum);
                }
                self.send(packet(mqtt::PUBREC << 4, &[&id, reason]), cx);
            }
        }
    }
}
