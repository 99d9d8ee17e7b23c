//! From a datagram to the one who deals with it (section 12 of the specification reference).

use core::time::Duration;

use broker_core::Broker;
use broker_core::key::Key;
use broker_core::time::Now;
use sn_codec::QoS;
use sn_codec::forward::{self, Encapsulated};
use sn_codec::v12::{self, Packet};
use tracing::{debug, trace};

use super::address::{Address, Datagram, NodeId, Path};
use super::limiter::Rate;
use super::peer::Peer;
use super::{Binding, SnGateway, will};

impl SnGateway {
    pub(super) fn receive(&mut self, now: Now, datagram: &Datagram<'_>, broker: &mut Broker) {
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += datagram.octets.len() as u64;
        let Datagram { port, from: remote, to: local, octets, .. } = *datagram;
        if forward::is_encapsulated(octets) {
            self.receive_encapsulated(now, datagram, broker);
        } else {
            let address = Address { port, remote, node: NodeId::NONE };
            self.receive_message(now, Path { address, local }, datagram, octets, broker);
        }
    }

    /// A message of a node behind a forwarder: unwrapped, and treated like any other (SN-028).
    fn receive_encapsulated(&mut self, now: Now, datagram: &Datagram<'_>, broker: &mut Broker) {
        let Datagram { port, from: remote, to: local, octets, .. } = *datagram;
        let is_allowed = self.settings.forwarders.iter().any(|net| net.contains(remote.ip()));
        if !is_allowed {
            self.stats.forwarder_refused += 1;
            debug!(from = %remote, "encapsulated message from somebody who is no forwarder");
            return;
        }
        let Encapsulated { node, inner, .. } = match Encapsulated::decode(octets) {
            Ok(encapsulated) => encapsulated,
            Err(error) => {
                self.stats.malformed += 1;
                debug!(from = %remote, %error, "malformed encapsulation");
                return;
            }
        };
        let Some(node) = self.nodes.enter(port, remote, node) else {
            self.stats.forwarder_refused += 1;
            debug!(from = %remote, "too many nodes behind one forwarder");
            return;
        };
        let address = Address { port, remote, node };
        self.receive_message(now, Path { address, local }, datagram, inner, broker);
        // Most are bound by now; those that are not need no number.
        self.tidy_address(address);
    }

    fn receive_message(
        &mut self,
        now: Now,
        path: Path,
        datagram: &Datagram<'_>,
        octets: &[u8],
        broker: &mut Broker,
    ) {
        let packet = match Packet::decode(octets) {
            Ok(packet) => packet,
            Err(error) => {
                self.stats.malformed += 1;
                debug!(from = %path.address.remote, %error, "malformed datagram");
                return;
            }
        };
        trace!(from = %path.address.remote, ?packet, "received");
        let binding = self.by_address.get(&path.address).copied().unwrap_or_default();
        let speaker = binding.peer.filter(|key| self.is_from(*key, &packet));
        if let Some(key) = speaker {
            self.hear(now, key, path, broker);
            if !is_answer(&packet) {
                self.peer(key).spoke_at = now.mono;
            }
        }
        match packet {
            Packet::SearchGw(search) => self.answer_search(now, path, datagram.group, search),
            Packet::Connect(connect) => self.connect(now, path, &connect, broker),
            Packet::Publish(publish) if publish.qos == QoS::MinusOne => {
                self.publish_unconnected(now, path, binding.peer, &publish, broker);
            }
            // What only clients receive, and what other gateways say (SN-038).
            Packet::Advertise(_)
            | Packet::GwInfo(_)
            | Packet::Connack(_)
            | Packet::WillTopicReq(_)
            | Packet::WillMsgReq(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::WillTopicResp(_)
            | Packet::WillMsgResp(_) => self.stats.ignored += 1,
            Packet::WillTopic(_)
            | Packet::WillMsg(_)
            | Packet::Register(_)
            | Packet::Regack(_)
            | Packet::Publish(_)
            | Packet::Puback(_)
            | Packet::Pubcomp(_)
            | Packet::Pubrec(_)
            | Packet::Pubrel(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq(_)
            | Packet::Pingresp(_)
            | Packet::Disconnect(_)
            | Packet::WillTopicUpd(_)
            | Packet::WillMsgUpd(_) => self.handle_request(now, path, binding, packet, broker),
        }
        if let Some(key) = speaker {
            self.resume_stalled(now, key, broker);
        }
    }

    /// Whether a message from the address of a client is from that client: a CONNECT or a PINGREQ
    /// may name another one.
    fn is_from(&self, key: Key<Peer>, packet: &Packet<'_>) -> bool {
        let peer = self.peers.get(key).expect("bound to the address");
        let is_own = |client_id: &[u8]| *client_id == *peer.client_id.as_bytes();
        if let Packet::Connect(connect) = packet {
            is_own(connect.client_id) || connect.client_id.is_empty() && peer.is_anonymous
        } else if let Packet::Pingreq(pingreq) = packet {
            is_own(pingreq.client_id) || pingreq.client_id.is_empty()
        } else {
            true
        }
    }

    /// What belongs to a handshake or to a session.
    fn handle_request(
        &mut self,
        now: Now,
        path: Path,
        binding: Binding,
        packet: Packet<'_>,
        broker: &mut Broker,
    ) {
        if let Some(key) = binding.handshake
            && self.handle_in_handshake(now, key, &packet, broker)
        {
            return;
        }
        let Some(key) = binding.peer else {
            self.handle_unknown(now, path, binding, &packet, broker);
            return;
        };
        if !matches!(packet, Packet::WillTopic(_) | Packet::WillMsg(_)) {
            self.peer(key).untouched = false;
        }
        match packet {
            Packet::WillTopic(message) => self.repeat_connack(key, will::topic_hash(&message)),
            Packet::WillMsg(message) => self.repeat_connack(key, will::message_hash(&message)),
            Packet::Register(register) => self.register(key, &register),
            Packet::Regack(regack) => self.registered(now, key, &regack, broker),
            Packet::Publish(publish) => self.publish(now, key, &publish, broker),
            Packet::Puback(puback) => self.puback(now, key, &puback, broker),
            Packet::Pubrec(pubrec) => self.pubrec(now, key, pubrec.msg_id, broker),
            Packet::Pubcomp(pubcomp) => self.pubcomp(now, key, pubcomp.msg_id, broker),
            Packet::Pubrel(pubrel) => self.pubrel(now, key, pubrel.msg_id, broker),
            Packet::Subscribe(subscribe) => self.subscribe(now, key, &subscribe, broker),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(now, key, &unsubscribe, broker),
            Packet::Pingreq(pingreq) => self.pingreq(now, path, key, &pingreq, broker),
            Packet::Pingresp(_) => {}
            Packet::Disconnect(disconnect) => self.disconnect(now, key, &disconnect, broker),
            Packet::WillTopicUpd(update) => self.update_will_topic(now, key, &update, broker),
            Packet::WillMsgUpd(update) => self.update_will_message(now, key, &update, broker),
            Packet::Advertise(_)
            | Packet::SearchGw(_)
            | Packet::GwInfo(_)
            | Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::WillTopicReq(_)
            | Packet::WillMsgReq(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::WillTopicResp(_)
            | Packet::WillMsgResp(_) => unreachable!("sorted out by the caller"),
        }
    }

    /// Something from an address that no session is bound to. A request is answered by DISCONNECT,
    /// so that the client connects again at once and does not use up its radio time on repetitions
    /// (D1).
    fn handle_unknown(
        &mut self,
        now: Now,
        path: Path,
        binding: Binding,
        packet: &Packet<'_>,
        broker: &mut Broker,
    ) {
        if is_answer(packet) || binding.handshake.is_some() {
            self.stats.ignored += 1;
            return;
        }
        if let Packet::Pingreq(pingreq) = packet
            && !pingreq.client_id.is_empty()
        {
            self.pingreq_from_elsewhere(now, path, pingreq, broker);
        } else {
            self.answer_unknown(now, path);
        }
    }

    /// A plain DISCONNECT, as often as the limits allow (SN-026, D1).
    pub(super) fn answer_unknown(&mut self, now: Now, path: Path) {
        self.stats.unknown_sender += 1;
        let per_s =
            Rate { max: self.settings.unknown_answers_per_s, window: Duration::from_secs(1) };
        let source = self.nodes.source(&path.address);
        let total = &mut self.unknown_total;
        if self.unknown_senders.admit_within(source, total, per_s, now.mono) {
            self.stats.unknown_answered += 1;
            self.send(path, v12::Disconnect { duration_s: None });
        }
    }
}

/// Whether a message answers one of ours: it owes nobody an answer, and may come late.
const fn is_answer(packet: &Packet<'_>) -> bool {
    matches!(
        packet,
        Packet::Puback(_)
            | Packet::Pubrec(_)
            | Packet::Pubcomp(_)
            | Packet::Regack(_)
            | Packet::Pingresp(_)
    )
}
