//! Publications of clients (SN 6.6 to 6.8).

use core::hash::BuildHasher;

use broker_core::Broker;
use broker_core::api::{Ack, AckKind, Incoming, PacketId, Payload, Publish, QoS};
use broker_core::hash;
use broker_core::key::Key;
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use broker_core::topic::TopicName;
use sn_codec::MsgId;
use sn_codec::v12::{self, ReturnCode, TopicRef};

use super::address::Path;
use super::inbound::Seen;
use super::peer::Peer;
use super::registry::Standing;
use super::settings::Quirks;
use super::topics::short_octets;
use super::{SnGateway, msg_id, return_code};

impl SnGateway {
    /// PUBLISH of QoS 0, 1 or 2 (12.4, SN-060).
    pub(super) fn publish(
        &mut self,
        now: Now,
        key: Key<Peer>,
        publish: &v12::Publish<'_>,
        broker: &mut Broker,
    ) {
        let is_duplicate = match publish.qos {
            sn_codec::QoS::AtLeastOnce => self.is_duplicate_qos1(now, key, publish),
            sn_codec::QoS::ExactlyOnce => self.is_duplicate_qos2(now, key, publish, broker),
            sn_codec::QoS::AtMostOnce | sn_codec::QoS::MinusOne => false,
        };
        if is_duplicate {
            self.stats.duplicates += 1;
            return;
        }
        let peer = self.peers.get(key).expect("a peer that said something");
        let link = peer.link;
        let short = short_name(publish.topic, peer.quirks);
        let topic = match self.resolve(key, publish.topic, &short) {
            Ok(topic) => topic,
            Err(return_code) => {
                self.refuse_publish(key, publish, return_code);
                return;
            }
        };
        broker.handle(now, link, Incoming::Publish(say(publish, topic, publish.data)));
        if let TopicRef::Normal(id) = publish.topic {
            // Who uses an id knows it (SN-059).
            self.set_standing(key, id, Standing::Known);
        }
    }

    /// PUBACK tells errors at every QoS, as PUBREC has no return code (SN-020, SN-063, SN-065).
    fn refuse_publish(
        &mut self,
        key: Key<Peer>,
        publish: &v12::Publish<'_>,
        return_code: ReturnCode,
    ) {
        let msg_id = publish.msg_id;
        if publish.qos.is_acknowledged() {
            self.peer(key).inbound.forget(PacketId(msg_id.0));
        }
        let topic_id = publish.topic.raw();
        self.send_to(key, v12::Puback { topic_id, msg_id, return_code });
    }

    /// QoS −1: published for whoever it is, and never answered (SN-069, D9). It needs no session,
    /// so there is no connection of its own for it (SN-102).
    pub(super) fn publish_unconnected(
        &mut self,
        now: Now,
        path: Path,
        bound: Option<Key<Peer>>,
        publish: &v12::Publish<'_>,
        broker: &mut Broker,
    ) {
        let source = (path.address.host(), self.nodes.octets(path.address.node));
        let is_admitted = self.settings.qos_minus_one && self.unconnected.admit(source, now.mono);
        let bound = bound.and_then(|key| self.peers.get(key));
        let short = short_name(publish.topic, bound.map(|peer| peer.quirks).unwrap_or_default());
        let predefined = |id| match bound {
            Some(peer) => self.predefined.of(peer, id),
            None => self.predefined.of_anybody(id),
        };
        let topic = match publish.topic {
            _ if !is_admitted => None,
            TopicRef::Predefined(id) => predefined(id).map(|topic| (topic, publish.data)),
            TopicRef::Short(_) => {
                TopicName::from_octets(&short).ok().map(|topic| (topic, publish.data))
            }
            TopicRef::Normal(_) if self.settings.qos_minus_one_names => publish
                .inline_name()
                .and_then(|(name, data)| Some((TopicName::from_octets(name).ok()?, data))),
            TopicRef::Normal(_) | TopicRef::Reserved(_) => None,
        };
        if let Some((topic, data)) = topic {
            broker.publish_unconnected(now, &say(publish, topic, data));
            self.stats.unconnected_published += 1;
        } else {
            self.stats.unconnected_dropped += 1;
        }
    }

    /// PUBREL: the client lets the publication go; answered by PUBCOMP whether it is known or not.
    pub(super) fn pubrel(&mut self, now: Now, key: Key<Peer>, id: MsgId, broker: &mut Broker) {
        let peer = self.peer(key);
        peer.inbound.release(PacketId(id.0), now.mono);
        let (kind, reason) = (AckKind::PubRel, ReasonCode::Success);
        let ack = Ack { kind, id: PacketId(id.0), reason, token: 0 };
        broker.handle(now, peer.link, Incoming::Ack(ack));
    }

    /// The broker has accepted or refused a publication, or released one.
    pub(super) fn acknowledge_client(&mut self, key: Key<Peer>, ack: Ack) {
        let msg_id = msg_id(ack.id);
        match ack.kind {
            AckKind::PubComp => self.send_to(key, v12::Pubcomp { msg_id }),
            AckKind::PubRec if !ack.reason.is_error() => self.send_to(key, v12::Pubrec { msg_id }),
            AckKind::PubAck | AckKind::PubRec => {
                let inbound = &mut self.peer(key).inbound;
                if ack.reason.is_error() {
                    inbound.forget(ack.id);
                } else {
                    inbound.acknowledge(ack.id);
                }
                // TopicId and MsgId are those of the PUBLISH (SN-019).
                let topic_id = u16::try_from(ack.token).expect("tokens of publications are ids");
                let return_code = return_code(ack.reason);
                self.send_to(key, v12::Puback { topic_id, msg_id, return_code });
            }
            AckKind::PubRel => unreachable!("a step towards the client"),
        }
    }

    /// Whether a publication of QoS 1 is the last one again, marked as such; then it is
    /// acknowledged again (D8).
    fn is_duplicate_qos1(&mut self, now: Now, key: Key<Peer>, publish: &v12::Publish<'_>) -> bool {
        let retry = self.settings.retry;
        let memory = retry.after * u32::from(retry.times).max(1);
        let deduplicates = self.settings.deduplicate;
        let seen = seen(now, publish);
        let inbound = &mut self.peer(key).inbound;
        let known = inbound.find_qos1(&seen, memory).filter(|_| deduplicates && publish.dup);
        match known {
            None => inbound.remember_qos1(seen),
            // Its acknowledgement still waits for the disk, and will do for both.
            Some(last) if !last.is_finished => {}
            Some(_) => {
                let topic_id = publish.topic.raw();
                let return_code = ReturnCode::Accepted;
                self.send_to(key, v12::Puback { topic_id, msg_id: publish.msg_id, return_code });
            }
        }
        known.is_some()
    }

    /// Whether the exchange of a publication of QoS 2 is over already; then it begins once more for
    /// the client, and only for it (D8). One whose exchange goes on is for the broker to know
    /// again.
    fn is_duplicate_qos2(
        &mut self,
        now: Now,
        key: Key<Peer>,
        publish: &v12::Publish<'_>,
        broker: &mut Broker,
    ) -> bool {
        let seen = seen(now, publish);
        let peer = self.peer(key);
        let (link, inbound) = (peer.link, &mut peer.inbound);
        if inbound.replaces_qos2(&seen, publish.dup) {
            broker.forget_received(link, seen.id);
        }
        let is_finished = inbound.is_finished_qos2(&seen, publish.dup);
        if is_finished {
            self.send_to(key, v12::Pubrec { msg_id: publish.msg_id });
        } else {
            inbound.remember_qos2(seen);
            self.charge(key);
        }
        is_finished
    }
}

/// A publication in the vocabulary of the broker. Its token is the TopicId that PUBACK repeats.
fn say<'a>(publish: &v12::Publish<'_>, topic: TopicName<'a>, data: &'a [u8]) -> Publish<'a> {
    Publish {
        topic,
        payload: Payload::Borrowed(data),
        qos: match publish.qos {
            sn_codec::QoS::AtMostOnce | sn_codec::QoS::MinusOne => QoS::AtMostOnce,
            sn_codec::QoS::AtLeastOnce => QoS::AtLeastOnce,
            sn_codec::QoS::ExactlyOnce => QoS::ExactlyOnce,
        },
        retain: publish.retain,
        dup: publish.dup,
        id: PacketId(publish.msg_id.0),
        token: u32::from(publish.topic.raw()),
        properties: Properties::EMPTY,
    }
}

/// What to know a publication again by.
fn seen(now: Now, publish: &v12::Publish<'_>) -> Seen {
    let hash = hash::state(0).hash_one((publish.topic, publish.data));
    Seen::new(PacketId(publish.msg_id.0), hash, now.mono)
}

/// The octets of a short topic name as the client means them.
fn short_name(topic: TopicRef, quirks: Quirks) -> [u8; 2] {
    match topic {
        TopicRef::Short(octets) => short_octets(octets, quirks),
        TopicRef::Normal(_) | TopicRef::Predefined(_) | TopicRef::Reserved(_) => [0; 2],
    }
}
