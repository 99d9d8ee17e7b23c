//! Publications of clients (SN 6.6 to 6.8).
//!
//! Radio repeats and reorders. MQTT's handshakes tell repetitions apart only while they last; what is
//! remembered here tells a datagram that came late, or twice, from a new message.

use core::hash::BuildHasher;
use core::time::Duration;

use broker_core::Broker;
use broker_core::api::{Ack, AckKind, Incoming, PacketId, Payload, Publish, QoS};
use broker_core::hash;
use broker_core::key::Key;
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::time::{Instant, Now};
use broker_core::topic::TopicName;
use sn_codec::MsgId;
use sn_codec::v12::{self, ReturnCode, TopicRef};

use super::address::Path;
use super::peer::{Inbound, Peer, Seen};
use super::{SnGateway, msg_id, return_code};

/// QoS 2 publications remembered of one client.
const QOS2_MAX: usize = 64;

/// For how long a datagram that nobody marked as a repetition may be one that the network made or
/// held back. A client that uses the same MsgId for the same content again within this time is not
/// told apart.
const LATE: Duration = Duration::from_secs(5);

/// For how long a publication marked as a repetition is compared with the finished ones of QoS 2.
const QOS2_MEMORY: Duration = Duration::from_secs(120);

impl SnGateway {
    /// PUBLISH of QoS 0, 1 or 2 (12.4).
    pub(super) fn publish(
        &mut self,
        now: Now,
        key: Key<Peer>,
        publish: &v12::Publish<'_>,
        broker: &mut Broker,
    ) {
        let qos = match publish.qos {
            sn_codec::QoS::AtMostOnce => QoS::AtMostOnce,
            sn_codec::QoS::AtLeastOnce => QoS::AtLeastOnce,
            sn_codec::QoS::ExactlyOnce => QoS::ExactlyOnce,
            sn_codec::QoS::MinusOne => unreachable!("sorted out by the caller"),
        };
        if self.is_duplicate(now, key, qos, publish) {
            return;
        }
        let swaps = self.peer(key).quirks.swap_topic_id_octets;
        let short = short_name(publish.topic, swaps);
        let topic_id = publish.topic.raw();
        let topic = match self.resolve(key, publish, &short) {
            Ok(topic) => topic,
            Err(return_code) => {
                self.peer(key).inbound.forget(PacketId(publish.msg_id.0));
                let msg_id = publish.msg_id;
                self.send_to(key, v12::Puback { topic_id, msg_id, return_code });
                return;
            }
        };
        let link = self.peers.get(key).expect("a peer that said something").link;
        broker.handle(
            now,
            link,
            Incoming::Publish(Publish {
                topic,
                payload: Payload::Borrowed(publish.data),
                qos,
                retain: publish.retain,
                dup: publish.dup,
                id: PacketId(publish.msg_id.0),
                token: u32::from(topic_id),
                properties: Properties::EMPTY,
            }),
        );
        if let TopicRef::Normal(id) = publish.topic {
            // Who uses an id knows it (SN-059).
            self.peer(key).registry.set_standing(id, super::registry::Standing::Known);
        }
    }

    /// QoS −1: published for whoever it is, and never answered (SN-069, D9).
    pub(super) fn publish_unconnected(
        &mut self,
        now: Now,
        path: Path,
        publish: &v12::Publish<'_>,
        broker: &mut Broker,
    ) {
        let is_admitted = self.settings.qos_minus_one
            && self.unconnected.admit((path.address.remote.ip(), path.address.node), now.mono);
        let short = short_name(publish.topic, false);
        let topic = match publish.topic {
            _ if !is_admitted => None,
            TopicRef::Predefined(id) => {
                self.settings.predefined.get(&id).map(|topic| (topic.as_name(), publish.data))
            }
            TopicRef::Short(_) => {
                TopicName::from_octets(&short).ok().map(|topic| (topic, publish.data))
            }
            TopicRef::Normal(_) if self.settings.qos_minus_one_names => publish
                .inline_name()
                .and_then(|(name, data)| Some((TopicName::from_octets(name).ok()?, data))),
            TopicRef::Normal(_) | TopicRef::Reserved(_) => None,
        };
        let Some((topic, data)) = topic else {
            self.stats.unconnected_dropped += 1;
            return;
        };
        self.stats.unconnected_published += 1;
        broker.publish_unconnected(
            now,
            &Publish {
                topic,
                payload: Payload::Borrowed(data),
                qos: QoS::AtMostOnce,
                retain: publish.retain,
                dup: false,
                id: PacketId(0),
                token: 0,
                properties: Properties::EMPTY,
            },
        );
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
        let peer = self.peer(key);
        let msg_id = msg_id(ack.id);
        match ack.kind {
            AckKind::PubComp => self.send_to(key, v12::Pubcomp { msg_id }),
            AckKind::PubRec if !ack.reason.is_error() => self.send_to(key, v12::Pubrec { msg_id }),
            // PUBREC has no return code: PUBACK tells errors at every QoS (SN-020, SN-063).
            AckKind::PubAck | AckKind::PubRec => {
                if ack.reason.is_error() {
                    peer.inbound.forget(ack.id);
                } else {
                    peer.inbound.acknowledged(ack.id);
                }
                let topic_id = u16::try_from(ack.token).expect("tokens of publications are ids");
                let return_code = return_code(ack.reason);
                self.send_to(key, v12::Puback { topic_id, msg_id, return_code });
            }
            AckKind::PubRel => unreachable!("a step towards the client"),
        }
    }

    /// Whether the publication was received before; then it is answered as it was (D8).
    fn is_duplicate(
        &mut self,
        now: Now,
        key: Key<Peer>,
        qos: QoS,
        publish: &v12::Publish<'_>,
    ) -> bool {
        if qos == QoS::AtMostOnce {
            return false;
        }
        let retry = self.settings.retry;
        let qos1_memory = retry.after * u32::from(retry.times).max(1);
        let deduplicates = self.settings.deduplicate;
        let hash = hash::state(0).hash_one((publish.topic, publish.data));
        let id = PacketId(publish.msg_id.0);
        let seen = Seen { id, hash, at: now.mono, finished: false, is_old: false };
        let inbound = &mut self.peer(key).inbound;
        let answer = if qos == QoS::AtLeastOnce {
            let is_repeated = deduplicates
                && publish.dup
                && inbound.last_qos1.is_some_and(|last| {
                    last.id == id && last.hash == hash && now.mono - last.at < qos1_memory
                });
            if !is_repeated {
                inbound.last_qos1 = Some(seen);
                return false;
            }
            // Its first acknowledgement may still wait for the disk: then that one will do.
            let topic_id = publish.topic.raw();
            let is_answered = inbound.last_qos1.is_some_and(|last| last.finished);
            let return_code = ReturnCode::Accepted;
            let puback = v12::Puback { topic_id, msg_id: publish.msg_id, return_code };
            is_answered.then(|| v12::Packet::from(puback))
        } else {
            if !inbound.is_finished(&seen, publish.dup) {
                inbound.remember(seen);
                self.charge(key);
                return false;
            }
            Some(v12::Packet::from(v12::Pubrec { msg_id: publish.msg_id }))
        };
        self.stats.duplicates += 1;
        if let Some(answer) = answer {
            self.send_to(key, answer);
        }
        true
    }
}

impl Inbound {
    /// Another connection of the same session: what came before can only come again marked as a
    /// repetition; a client that was restarted may begin its MsgIds anew.
    pub(super) fn begin_connection(&mut self) {
        for seen in self.qos2.iter_mut().chain(&mut self.last_qos1) {
            seen.is_old = true;
        }
    }

    /// Whether a publication of QoS 2 is one whose exchange is over already.
    fn is_finished(&self, publication: &Seen, dup: bool) -> bool {
        self.qos2.iter().any(|seen| {
            let age = publication.at - seen.at;
            seen.finished
                && seen.id == publication.id
                && seen.hash == publication.hash
                && if dup { age < QOS2_MEMORY } else { age < LATE && !seen.is_old }
        })
    }

    fn remember(&mut self, publication: Seen) {
        let is_forgotten = |seen: &Seen| publication.at - seen.at >= QOS2_MEMORY;
        while self.qos2.len() >= QOS2_MAX || self.qos2.front().is_some_and(is_forgotten) {
            self.qos2.pop_front();
        }
        self.qos2.retain(|seen| seen.finished || seen.id != publication.id);
        self.qos2.push_back(publication);
    }

    /// PUBREL came: the publication is over.
    fn release(&mut self, id: PacketId, now: Instant) {
        if let Some(seen) = self.qos2.iter_mut().rev().find(|seen| seen.id == id && !seen.finished)
        {
            seen.finished = true;
            seen.at = now;
        }
    }

    /// PUBACK has left.
    fn acknowledged(&mut self, id: PacketId) {
        if let Some(last) = self.last_qos1.as_mut().filter(|last| last.id == id) {
            last.finished = true;
        }
    }

    /// The publication was refused: if it comes again, it is judged again.
    fn forget(&mut self, id: PacketId) {
        self.last_qos1 = self.last_qos1.filter(|last| last.id != id);
        self.qos2.retain(|seen| seen.finished || seen.id != id);
    }
}

/// The octets of a short topic name, in the right order.
fn short_name(topic: TopicRef, swaps: bool) -> [u8; 2] {
    match topic {
        TopicRef::Short([first, second]) if swaps => [second, first],
        TopicRef::Short(octets) => octets,
        TopicRef::Normal(_) | TopicRef::Predefined(_) | TopicRef::Reserved(_) => [0; 2],
    }
}
