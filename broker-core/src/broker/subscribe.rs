//! Subscriptions come and go.
//!
//! Filters with wildcards are served [MQTT-3.8.3-2]. Who gives a subscription up gets nothing new
//! by it [MQTT-3.10.4-2]; deliveries that were begun are finished, as they hang on the session and
//! not on the subscription [MQTT-3.10.4-3].

use super::Broker;
use super::output::{Answer, Control};
use super::record::is_replay_kept;
use crate::api::{LinkId, QoS, RetainHandling, Subscribe, SubscribeRequest, Unsubscribe};
use crate::key::Key;
use crate::reason::ReasonCode;
use crate::retained::Cursor;
use crate::session::{Replay, Session};
use crate::topic::{self, TopicFilter};
use crate::trie::{NodeId, Subscriber};

impl Broker {
    /// Always answered [MQTT-3.8.4-1]. Each filter is granted or refused by itself; one answer
    /// holds a code for each, in their order [MQTT-3.8.4-4], [MQTT-3.8.4-5], [MQTT-3.9.3-1].
    pub(super) fn subscribe(&mut self, key: Key<Session>, link: LinkId, subscribe: &Subscribe<'_>) {
        self.work += subscribe.requests.len() as u64;
        let looked_at_max = self.config.limits.filters_per_session_max;
        let reasons = subscribe
            .requests
            .iter()
            .enumerate()
            .map(|(position, request)| {
                if position < looked_at_max {
                    self.subscribe_one(key, request, subscribe.identifier)
                } else {
                    // One packet may name hundreds of thousands, of which a session has room for
                    // few.
                    self.stats.subscribe_refused += 1;
                    ReasonCode::QuotaExceeded
                }
            })
            .collect();
        if let Some(link) = &mut self.session(key).link {
            link.subscribing += 1;
        }
        let packet = Answer::SubAck { id: subscribe.id, token: subscribe.token, reasons };
        self.answer_for_session(key, Control::Send { link, packet });
    }

    /// Filters are compared character by character; one answer, also when nothing was there
    /// [MQTT-3.10.4-1], [MQTT-3.10.4-5], [MQTT-3.10.4-6].
    pub(super) fn unsubscribe(
        &mut self,
        key: Key<Session>,
        link: LinkId,
        unsubscribe: &Unsubscribe<'_>,
    ) {
        self.work += unsubscribe.filters.len() as u64;
        let reasons =
            unsubscribe.filters.iter().map(|filter| self.unsubscribe_one(key, *filter)).collect();
        let packet = Answer::UnsubAck { id: unsubscribe.id, token: unsubscribe.token, reasons };
        self.answer_for_session(key, Control::Send { link, packet });
    }

    fn subscribe_one(
        &mut self,
        key: Key<Session>,
        request: &SubscribeRequest<'_>,
        identifier: u32,
    ) -> ReasonCode {
        let SubscribeRequest { filter, options } = *request;
        if let Err(reason) = self.admit_filter(key, filter) {
            self.stats.subscribe_refused += 1;
            return reason;
        }
        if let Some((name, filter)) = filter.share() {
            self.join_share(key, name, filter, options, identifier);
            return granted(options.qos);
        }
        let subscriber = Subscriber { session: key, options, identifier };
        let before = self.trie.find(filter).and_then(|node| self.trie.get(node, key));
        let (node, is_new) = self.trie.subscribe(filter, subscriber);
        if is_new {
            let number = self.number_subscription(key);
            let subscriptions = &mut self.session(key).subscriptions;
            subscriptions.push((node, number));
            let filters = subscriptions.len();
            self.stats.high.filters = self.stats.high.filters.max(filters);
        }
        if before != Some(subscriber) {
            self.record_subscription(node, &subscriber);
        }
        let wants_retained = match options.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        };
        if wants_retained {
            self.begin_replay(key, node, filter, &subscriber);
        }
        granted(options.qos)
    }

    fn admit_filter(&self, key: Key<Session>, filter: TopicFilter<'_>) -> Result<(), ReasonCode> {
        let limits = &self.config.limits;
        if topic::is_deeper_than(filter.as_str(), limits.topic_levels_max) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let session = self.sessions.get(key).expect("looked up by its link");
        let held = session.subscriptions.len() + session.shares.len();
        let is_full = held >= limits.filters_per_session_max || self.is_out_of_memory();
        if is_full && !self.is_subscribed(key, filter) {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(())
    }

    /// Whether a session has exactly this subscription.
    fn is_subscribed(&self, key: Key<Session>, filter: TopicFilter<'_>) -> bool {
        let (name, plain) = filter.share().map_or((None, filter), |(name, f)| (Some(name), f));
        let Some(node) = self.trie.find(plain) else { return false };
        match name {
            None => self.trie.has(node, key),
            Some(name) => {
                let share = self.shares.find(node, name);
                share.is_some_and(|share| self.shares.contains(share, key))
            }
        }
    }

    /// Retained messages that match are sent after the answer, in slices as there is room
    /// [MQTT-3.3.1-6].
    fn begin_replay(
        &mut self,
        key: Key<Session>,
        node: NodeId,
        filter: TopicFilter<'_>,
        subscriber: &Subscriber,
    ) {
        let before = self.messages.next_sequence();
        self.end_replay(key, filter);
        let session = self.session(key);
        let mut replay = Replay {
            filter: filter.as_str().into(),
            cursor: Cursor::default(),
            options: subscriber.options,
            identifier: subscriber.identifier,
            before,
            number: 0,
        };
        if is_replay_kept(&replay) {
            let held = session.subscriptions.iter().find(|held| held.0 == node);
            replay.number = held.map_or(0, |held| held.1);
        }
        session.replays.push(replay);
        let position = session.replays.len() - 1;
        self.record_replay(key, position);
    }

    /// Gives up looking for retained messages for a filter.
    fn end_replay(&mut self, key: Key<Session>, filter: TopicFilter<'_>) {
        let replays = &mut self.session(key).replays;
        let ended = replays.extract_if(.., |replay| *replay.filter == *filter.as_str()).next();
        self.forget_replay(ended.map_or(0, |replay| replay.number));
    }

    fn unsubscribe_one(&mut self, key: Key<Session>, filter: TopicFilter<'_>) -> ReasonCode {
        let existed = match (filter.share(), self.trie.find(filter)) {
            (Some((name, filter)), _) => self.quit_share(key, name, filter),
            (None, Some(node)) => {
                let existed = self.trie.unsubscribe(node, key);
                if existed {
                    let subscriptions = &mut self.session(key).subscriptions;
                    let held = subscriptions.extract_if(.., |held| held.0 == node).next();
                    self.end_replay(key, filter);
                    self.forget_subscription(held.map_or(0, |held| held.1));
                }
                existed
            }
            (None, None) => false,
        };
        if existed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted }
    }
}

/// Every QoS is served, so every QoS that is asked for is granted [MQTT5-3.2.2-10].
const fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQos1,
        QoS::ExactlyOnce => ReasonCode::GrantedQos2,
    }
}
