//! Shared subscriptions in the broker: joining, choosing, handing on.

use core::cell::Cell;
use core::hash::BuildHasher;

use super::Broker;
use super::route::Target;
use crate::api::{QoS, SubscriptionOptions};
use crate::key::Key;
use crate::message::{MessageRef, NewMessage, Origin};
use crate::session::{Queued, Session};
use crate::share::{Ability, Member, ShareId};
use crate::subscription_ids::IdSet;
use crate::topic::TopicFilter;

/// Groups that a message matches and that have no member who could take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unable {
    /// All members are away, and it does not wait for clients that are away.
    pub(super) members_away: usize,
    /// There are members without room.
    pub(super) full: usize,
}

impl Broker {
    /// Takes a session into a group. Retained messages are not sent for it.
    pub(super) fn join_share(
        &mut self,
        key: Key<Session>,
        name: &str,
        filter: TopicFilter<'_>,
        options: SubscriptionOptions,
        identifier: u32,
    ) {
        let node = self.trie.node(filter);
        let (share, is_new_group, is_new_member) =
            self.shares.join(node, name, key, options, identifier);
        if is_new_group {
            self.trie.add_share(node, share);
        }
        if is_new_member {
            let number = self.number_subscription(key);
            self.session(key).shares.push((share, number));
        }
        self.record_share(key, share);
    }

    /// Takes a session out of a group; `false` if it was not in it.
    pub(super) fn quit_share(
        &mut self,
        key: Key<Session>,
        name: &str,
        filter: TopicFilter<'_>,
    ) -> bool {
        let share = self.trie.find(filter).and_then(|node| self.shares.find(node, name));
        let Some(share) = share.filter(|share| self.shares.contains(*share, key)) else {
            return false;
        };
        let session = self.session(key);
        let held = session.shares.extract_if(.., |held| held.0 == share).next();
        // What came by the group stays with the member, and belongs to nobody else from here on.
        let queued = session.queue.forget_share(share);
        let in_flight = session.window.forget_share(share);
        queued.iter().for_each(|entry| self.record_queued(key, entry, None, false));
        in_flight.iter().for_each(|entry| self.record_in_flight(key, entry.id));
        self.forget_subscription(held.map_or(0, |held| held.1));
        self.leave_share(share, key);
        true
    }

    pub(super) fn leave_share(&mut self, share: ShareId, key: Key<Session>) {
        if let Some(node) = self.shares.leave(share, key) {
            self.trie.remove_share(node, share);
        }
    }

    /// Chooses the member of each group that matched, to be sent the message with the QoS that it
    /// was granted [MQTT5-4.8.2-3]. It is a copy for itself, with the identifier of that
    /// subscription alone [MQTT5-3.3.4-5]. Returns how many groups have none that could take the
    /// message.
    pub(super) fn choose_members(&mut self, new: &NewMessage<'_>) -> Unable {
        let mut unable = Unable::default();
        if self.matched_shares.is_empty() {
            return unable;
        }
        let publisher = match new.origin {
            Origin::Session(key) => u64::from(key.index()),
            Origin::Nobody => 0,
        };
        let topic = self.by_client_id.hasher().hash_one(new.topic.as_str());
        let size = new.topic.as_str().len() + new.payload.as_octets().len();
        let shares = core::mem::take(&mut self.matched_shares);
        for share in &shares {
            let sessions = &self.sessions;
            let is_full = Cell::new(false);
            let chosen = self.shares.choose(*share, publisher, topic, |member| {
                let session = sessions.get(member.session).expect("ended sessions leave");
                let qos = new.qos.min(member.options.qos);
                let able = session.ability(size as u64, qos);
                let is_away = session.link.is_none() && qos == QoS::AtMostOnce;
                is_full.set(is_full.get() || able == Ability::None && !is_away);
                able
            });
            match chosen {
                Some(Member { session, options, identifier, .. }) => self.targets.push(Target {
                    session,
                    qos: options.qos,
                    retain_as_published: options.retain_as_published,
                    ids: IdSet::one(identifier),
                    share: *share,
                }),
                None if is_full.get() => unable.full += 1,
                None => unable.members_away += 1,
            }
        }
        self.stats.dropped_unshared += (unable.full + unable.members_away) as u64;
        self.matched_shares = shares;
        self.matched_shares.clear();
        unable
    }

    /// Gives a message of a group to another member that is at least that able; `false` if there is
    /// none, or the message came by no group. What the first member held is still the caller's.
    pub(super) fn hand_on(
        &mut self,
        from: Key<Session>,
        message: MessageRef,
        share: ShareId,
        at_least: Ability,
    ) -> bool {
        if share == ShareId::NONE {
            return false;
        }
        let stored = self.messages.get(message);
        let (size, published) = (stored.size() as u64, stored.qos());
        let retain_flag = stored.retain();
        let sessions = &self.sessions;
        let chosen = self.shares.choose(share, 0, stored.sequence(), |member| {
            let Some(session) = sessions.get(member.session) else { return Ability::None };
            let able = session.ability(size, published.min(member.options.qos));
            if member.session == from || able < at_least { Ability::None } else { able }
        });
        let Some(Member { session, options, identifier, .. }) = chosen else { return false };
        self.stats.handed_on += 1;
        self.enqueue(
            session,
            Queued {
                number: 0,
                message,
                ids: IdSet::one(identifier),
                share,
                qos: published.min(options.qos),
                retain: retain_flag && options.retain_as_published,
                is_replayed: false,
            },
        );
        true
    }

    /// The link of a member is gone: what it had not acknowledged goes to members that are there.
    /// If there is none it stays, and waits for this member's return.
    pub(super) fn hand_on_all(&mut self, key: Key<Session>) {
        if self.session(key).shares.is_empty() {
            return;
        }
        for entry in self.session(key).window.take_shared() {
            if self.hand_on(key, entry.message, entry.share, Ability::Soon) {
                self.release_in_flight(key, entry);
            } else {
                self.session(key).window.put_back(entry);
            }
        }
        for entry in self.session(key).queue.take() {
            if self.hand_on(key, entry.message, entry.share, Ability::Soon) {
                self.discard(key, entry);
            } else {
                let session = self.sessions.get_mut(key).expect("looked up by the caller");
                session.queue.put_back(entry, &self.messages);
            }
        }
    }
}
