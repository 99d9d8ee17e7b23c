//! Subscriptions of clients (SN 6.9). The broker keeps them with the session, until they are given
//! up or a clean connect ends it (SN-053).

use broker_core::Broker;
use broker_core::api::{
    Incoming, PacketId, QoS, Subscribe, SubscribeRequest, SubscriptionOptions, Unsubscribe,
};
use broker_core::key::Key;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use broker_core::topic::{TopicFilter, TopicName};
use sn_codec::v12::{self, ReturnCode, TopicSelector};

use super::peer::Peer;
use super::recorder::Batch;
use super::registry::{Exhausted, Standing};
use super::settings::Quirks;
use super::{SnGateway, msg_id, return_code};

/// In the token of a request the low half is the topic id of the answer; above it stands its kind.
/// Without one it is a normal id, or 0 for a wildcard.
const IS_PREDEFINED: u32 = 1 << 16;
const IS_SHORT: u32 = 1 << 17;
/// The request is ours, and the client is not to hear of it.
const IS_OURS: u32 = 1 << 18;
/// The client had not subscribed by this predefined id before.
const IS_NEW: u32 = 1 << 19;

impl SnGateway {
    /// SUBSCRIBE by name, predefined id or short name (SN-070, SN-071, SN-073, D3).
    pub(super) fn subscribe(
        &mut self,
        now: Now,
        key: Key<Peer>,
        subscribe: &v12::Subscribe<'_>,
        broker: &mut Broker,
    ) {
        let refuse = |topic_id, return_code| v12::Suback {
            qos: sn_codec::QoS::AtMostOnce,
            topic_id,
            msg_id: subscribe.msg_id,
            return_code,
        };
        let Some(qos) = u8::try_from(subscribe.qos.level()).ok().and_then(QoS::from_u8) else {
            self.send_to(key, refuse(0, ReturnCode::NotSupported));
            return;
        };
        let (filter, token) = match self.selected(key, subscribe.topic) {
            Ok(selected) => selected,
            Err((topic_id, code)) => {
                self.send_to(key, refuse(topic_id, code));
                return;
            }
        };
        let filter = TopicFilter::new(&filter).expect("checked when it was selected");
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let requests = [SubscribeRequest { filter, options }];
        let id = PacketId(subscribe.msg_id.0);
        let request = Subscribe { id, token, identifier: 0, requests: &requests };
        let link = self.peer(key).link;
        broker.handle(now, link, Incoming::Subscribe(request));
    }

    /// The filter that a client means, and the token with the topic id that SUBACK will tell; or
    /// what SUBACK says instead.
    fn selected(
        &mut self,
        key: Key<Peer>,
        topic: TopicSelector<'_>,
    ) -> Result<(String, u32), (u16, ReturnCode)> {
        match topic {
            TopicSelector::Name(octets) => {
                let filter =
                    TopicFilter::from_octets(octets).map_err(|_| (0, ReturnCode::NotSupported))?;
                let token = self.subscribed_id(key, filter)?;
                Ok((filter.as_str().to_owned(), token))
            }
            TopicSelector::Short(octets) => {
                let filter =
                    TopicFilter::from_octets(&octets).map_err(|_| (0, ReturnCode::NotSupported))?;
                let is_wildcard = filter.has_wildcard();
                let short = IS_SHORT | u32::from(u16::from_be_bytes(octets));
                let token = if is_wildcard { 0 } else { short };
                Ok((filter.as_str().to_owned(), token))
            }
            TopicSelector::Predefined(id) => {
                let peer = self.peers.get(key).expect("a peer that said something");
                let meant = swapped(id, peer.quirks);
                let name = self.predefined.of(peer, meant);
                let name = name.ok_or((id, ReturnCode::InvalidTopicId))?.as_str().to_owned();
                // Kept with the subscription, so that SUBACK promises both.
                let is_new = if self.remember_predefined(key, meant) { IS_NEW } else { 0 };
                Ok((name, IS_PREDEFINED | is_new | u32::from(meant)))
            }
            TopicSelector::Reserved(_) => Err((0, ReturnCode::NotSupported)),
        }
    }

    /// A plain name gets the id under which it will be delivered (SN-023, SN-070); a wildcard none.
    /// What a member of a group is sent has the name without the group.
    fn subscribed_id(
        &mut self,
        key: Key<Peer>,
        filter: TopicFilter<'_>,
    ) -> Result<u32, (u16, ReturnCode)> {
        let filter = filter.share().map_or(filter, |(_group, filter)| filter);
        let Ok(topic) = TopicName::new(filter.as_str()) else { return Ok(0) };
        match self.assign(key, topic, Standing::Unknown) {
            Ok(id) => Ok(u32::from(id)),
            Err(Exhausted) => Err((0, ReturnCode::Congestion)),
        }
    }

    /// The broker has granted or refused.
    pub(super) fn acknowledge_subscribe(
        &mut self,
        key: Key<Peer>,
        id: PacketId,
        token: u32,
        reasons: &[ReasonCode],
    ) {
        let reason = reasons.first().copied().unwrap_or(ReasonCode::Unspecified);
        let told = u16::try_from(token & u32::from(u16::MAX)).expect("masked");
        let (mut topic_id, mut batch) = (0, Batch::NONE);
        if !reason.is_error() {
            topic_id = told;
            if token & IS_PREDEFINED != 0 {
                let peer = self.peer(key);
                topic_id = swapped(told, peer.quirks);
                // The broker may have had nothing to wait for, as below.
                batch = peer.kept.batch;
            } else if token & IS_SHORT == 0 {
                self.set_standing(key, told, Standing::Known);
                // The broker may have had nothing to wait for: the subscription was there already.
                batch = self.peer(key).registry.batch_of(told);
            }
        } else if token & IS_NEW != 0 {
            self.forget_predefined(key, told);
        }
        // Granted QoS and reason code are one number; a refusal grants nothing (SN-022).
        let qos = match reason as u8 {
            1 => sn_codec::QoS::AtLeastOnce,
            2 => sn_codec::QoS::ExactlyOnce,
            _ => sn_codec::QoS::AtMostOnce,
        };
        let return_code = return_code(reason);
        let suback = v12::Suback { qos, topic_id, msg_id: msg_id(id), return_code };
        self.promise(key, batch, suback);
    }

    /// UNSUBSCRIBE: acknowledged whatever it names (SN-074).
    pub(super) fn unsubscribe(
        &mut self,
        now: Now,
        key: Key<Peer>,
        unsubscribe: &v12::Unsubscribe<'_>,
        broker: &mut Broker,
    ) {
        let peer = self.peers.get(key).expect("a peer that said something");
        let link = peer.link;
        let mut predefined = None;
        let filter = match &unsubscribe.topic {
            TopicSelector::Name(octets) => TopicFilter::from_octets(octets).ok(),
            TopicSelector::Short(octets) => TopicFilter::from_octets(octets).ok(),
            TopicSelector::Predefined(id) => {
                let id = swapped(*id, peer.quirks);
                predefined = Some(id);
                self.predefined.of(peer, id).and_then(|name| TopicFilter::new(name.as_str()).ok())
            }
            TopicSelector::Reserved(_) => None,
        };
        let Some(filter) = filter else {
            self.send_to(key, v12::Unsuback { msg_id: unsubscribe.msg_id });
            return;
        };
        let filters = [filter];
        let id = PacketId(unsubscribe.msg_id.0);
        let request = Unsubscribe { id, token: 0, filters: &filters };
        broker.handle(now, link, Incoming::Unsubscribe(request));
        if let Some(id) = predefined {
            self.forget_predefined(key, id);
        }
    }

    /// A client subscribes by a predefined id. Returns whether it had not done so before.
    fn remember_predefined(&mut self, key: Key<Peer>, id: u16) -> bool {
        let peer = self.peer(key);
        let is_new = !peer.predefined.contains(&id);
        if is_new {
            peer.predefined.push(id);
            self.record(key);
            self.charge(key);
        }
        is_new
    }

    /// It does so no more.
    pub(super) fn forget_predefined(&mut self, key: Key<Peer>, id: u16) {
        let peer = self.peer(key);
        if peer.predefined.contains(&id) {
            peer.predefined.retain(|held| *held != id);
            self.record(key);
        }
    }

    /// A client that refuses to be told of a name is unsubscribed from exactly that name; a
    /// wildcard that matches it stays (SN-079).
    pub(super) fn unsubscribe_refused(
        &mut self,
        now: Now,
        key: Key<Peer>,
        topic_id: u16,
        broker: &mut Broker,
    ) {
        let peer = self.peers.get(key).expect("a peer that said something");
        let Some(name) = peer.registry.name(topic_id) else { return };
        let filter = TopicFilter::new(self.names.get(name).as_str()).expect("a name is a filter");
        let request = Unsubscribe { id: PacketId(0), token: IS_OURS, filters: &[filter] };
        broker.handle(now, peer.link, Incoming::Unsubscribe(request));
    }

    pub(super) fn acknowledge_unsubscribe(&mut self, key: Key<Peer>, id: PacketId, token: u32) {
        if token & IS_OURS == 0 {
            self.send_to(key, v12::Unsuback { msg_id: msg_id(id) });
        }
    }
}

/// A predefined id in SUBSCRIBE, as some devices write it.
const fn swapped(id: u16, quirks: Quirks) -> u16 {
    if quirks.swap_topic_id_octets { id.swap_bytes() } else { id }
}
