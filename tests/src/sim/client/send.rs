//! What a client publishes and asks for.

use super::terms::Name;
use super::{Client, Cx, UnderWay};
use crate::sim::features::Feature;
use crate::sim::ledger::five::identifier;
use crate::sim::wire::{mqtt, packet, string};
use crate::sim::wire5::Writer;

impl Client {
    /// Publishes what comes next: what was refused goes first.
    pub(super) fn publish_next(&mut self, cx: &mut Cx<'_>) {
        let number = self.refused.pop_front().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let qos = cx.book.manner(self.publication(number)).qos;
        let id = if qos > 0 { self.next_id() } else { 0 };
        if qos > 0 {
            self.under_way.push_back(UnderWay { id, number, is_received: false });
        }
        self.publish(number, id, false, cx);
    }

    pub(super) fn publish(&mut self, number: u32, id: u16, dup: bool, cx: &mut Cx<'_>) {
        let publication = self.publication(number);
        let manner = cx.book.manner(publication);
        let mut topic = String::new();
        cx.book.topic(publication, &mut topic);
        let payload = cx.book.payload(publication, self.role.padding_max);
        let flags = u8::from(dup) << 3 | manner.qos << 1 | u8::from(manner.retain);
        let mut properties = Vec::new();
        if self.role.version.is_5() {
            let mut writer = Writer::default();
            cx.book.extras(publication).write(&mut writer);
            let chance = cx.rng.u32(..);
            let name = if self.role.five.has_aliases {
                self.terms.name(&topic, chance)
            } else {
                Name::Whole
            };
            match name {
                Name::Whole => {}
                Name::New { alias, is_moved } => {
                    writer.u16(0x23, alias);
                    if is_moved {
                        cx.ledger.features.count(Feature::AliasMoved);
                    }
                }
                Name::Alias(alias) => {
                    writer.u16(0x23, alias);
                    topic.clear();
                    cx.ledger.features.count(Feature::AliasUp);
                }
            }
            properties = writer.finish();
        }
        let topic = string(topic.as_bytes());
        let id = id.to_be_bytes();
        let id = if manner.qos > 0 { id.as_slice() } else { &[] };
        self.send(packet(mqtt::PUBLISH << 4 | flags, &[&topic, id, &properties, &payload]), cx);
    }

    /// Asks for all that it wants.
    pub(super) fn subscribe(&mut self, cx: &mut Cx<'_>) {
        for place in 0..self.role.filters.len() {
            let id = self.next_id();
            self.asked.push_back((id, place));
            let wish = self.role.filters[place].clone();
            let (mut properties, mut options) = (Vec::new(), wish.qos);
            if self.role.version.is_5() {
                let mut writer = Writer::default();
                if wish.has_id {
                    writer.variable(0x0B, identifier(place));
                }
                properties = writer.finish();
                options |= wish.options;
            }
            let filter = string(wish.filter.as_bytes());
            let parts: [&[u8]; 4] = [&id.to_be_bytes(), &properties, &filter, &[options]];
            self.send(packet(mqtt::SUBSCRIBE << 4 | 2, &parts), cx);
        }
        self.is_subscribed = true;
    }
}
