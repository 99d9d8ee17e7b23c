//! Shared subscriptions: each message goes to one member of a group.
//!
//! A group is a share name with a filter. Whoever can take the message at once goes before who has
//! a backlog, who has one before who is paused or away, and a member that can take nothing is
//! passed over as long as there is another. Among equals the group's strategy decides. What a
//! member had not acknowledged when it went away is handed on.

use std::collections::BTreeMap;

use crate::api::SubscriptionOptions;
use crate::hash::{self, HashMap};
use crate::key::Key;
use crate::session::Session;
use crate::trie::NodeId;

/// Members looked at for one message, so that a crowded group costs no more than a small one.
const SCAN_MAX: usize = 64;

/// How a group chooses among members that could take a message equally well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShareStrategy {
    /// The one with the fewest messages that it has not acknowledged.
    #[default]
    LeastOutstanding,
    /// One after the other.
    RoundRobin,
    /// The same member for the same publisher, as long as it can.
    ByPublisher,
    /// The same member for the same topic, as long as it can.
    ByTopic,
}

/// The strategies of groups.
#[derive(Clone, Debug, Default)]
pub struct ShareStrategies {
    /// That of a group that is not named.
    pub default: ShareStrategy,
    /// Those of groups, by share name.
    pub by_name: BTreeMap<String, ShareStrategy>,
}

impl ShareStrategies {
    fn of(&self, name: &str) -> ShareStrategy {
        self.by_name.get(name).copied().unwrap_or(self.default)
    }
}

/// The number of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ShareId(u32);

impl ShareId {
    /// What messages carry that came by no group.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

/// A session that takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) session: Key<Session>,
    pub(crate) options: SubscriptionOptions,
    /// Subscription identifier; 0: none.
    pub(crate) identifier: u32,
    /// Messages of the group in its queue and in flight.
    outstanding: u32,
}

#[derive(Debug)]
struct Group {
    name: Box<str>,
    node: NodeId,
    strategy: ShareStrategy,
    members: Vec<Member>,
    /// Where the next look at the members begins.
    next: usize,
}

/// How well a member could take a message, from not at all upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ability {
    /// Its queue is full, or it is away and the message would not wait for it.
    None,
    /// It is paused or away: the message would wait in its session.
    Later,
    /// It is there and has a backlog.
    Soon,
    /// It is there with nothing waiting.
    Now,
}

/// All groups.
#[derive(Debug)]
pub(crate) struct Shares {
    groups: Vec<Option<Group>>,
    free: Vec<ShareId>,
    by_name: HashMap<(NodeId, Box<str>), ShareId>,
    /// Where a session stands in the list of a group.
    positions: HashMap<(ShareId, Key<Session>), u32>,
    strategies: ShareStrategies,
}

impl Shares {
    pub(crate) fn new(strategies: ShareStrategies, seed: u64) -> Self {
        Self {
            groups: Vec::new(),
            free: Vec::new(),
            by_name: hash::map(seed),
            positions: hash::map(seed ^ 1),
            strategies,
        }
    }

    /// Other strategies, for the groups that are there as well.
    pub(crate) fn set_strategies(&mut self, strategies: ShareStrategies) {
        self.strategies = strategies;
        for group in self.groups.iter_mut().flatten() {
            group.strategy = self.strategies.of(&group.name);
        }
    }

    /// Subscriptions of all groups.
    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    /// An estimate of the memory held.
    pub(crate) fn memory(&self) -> u64 {
        const PER_MEMBER: usize = size_of::<Member>() + 40;
        (self.groups.len() * 160 + self.positions.len() * PER_MEMBER) as u64
    }

    /// The group of this name at a filter.
    pub(crate) fn find(&self, node: NodeId, name: &str) -> Option<ShareId> {
        self.by_name.get(&(node, Box::from(name))).copied()
    }

    /// Takes a session into a group, which is made if it is not there. Returns the group, whether
    /// it is new, and whether the session is.
    pub(crate) fn join(
        &mut self,
        node: NodeId,
        name: &str,
        session: Key<Session>,
        options: SubscriptionOptions,
        identifier: u32,
    ) -> (ShareId, bool, bool) {
        let existing = self.find(node, name);
        let id = existing.unwrap_or_else(|| self.create(node, name));
        let group = self.groups[id.0 as usize].as_mut().expect("found or made");
        if let Some(position) = self.positions.get(&(id, session)) {
            let member = &mut group.members[*position as usize];
            member.options = options;
            member.identifier = identifier;
            return (id, false, false);
        }
        let position = u32::try_from(group.members.len()).expect("fewer members than sessions");
        group.members.push(Member { session, options, identifier, outstanding: 0 });
        self.positions.insert((id, session), position);
        (id, existing.is_none(), true)
    }

    /// Takes a session out of a group. Returns where the group stood if that was the last one.
    pub(crate) fn leave(&mut self, id: ShareId, session: Key<Session>) -> Option<NodeId> {
        let position = self.positions.remove(&(id, session))?;
        let place = &mut self.groups[id.0 as usize];
        let group = place.as_mut()?;
        group.members.swap_remove(position as usize);
        if let Some(moved) = group.members.get(position as usize) {
            self.positions.insert((id, moved.session), position);
        }
        if !group.members.is_empty() {
            return None;
        }
        let Group { name, node, .. } = place.take()?;
        self.by_name.remove(&(node, name));
        self.free.push(id);
        Some(node)
    }

    /// The name of a group, where it stands, and a member of it.
    pub(crate) fn get(&self, id: ShareId, session: Key<Session>) -> Option<(&str, NodeId, Member)> {
        let position = *self.positions.get(&(id, session))?;
        let group = self.groups[id.0 as usize].as_ref()?;
        Some((&group.name, group.node, *group.members.get(position as usize)?))
    }

    pub(crate) fn contains(&self, id: ShareId, session: Key<Session>) -> bool {
        self.positions.contains_key(&(id, session))
    }

    /// The member that gets the next message of a group. `stick_to` is a hash of what the strategy
    /// is about; `ability` tells how well a session could take the message, and `None` from it
    /// stands for a session that must not get it.
    pub(crate) fn choose(
        &mut self,
        id: ShareId,
        publisher: u64,
        topic: u64,
        ability: impl Fn(&Member) -> Ability,
    ) -> Option<Member> {
        let group = self.groups.get_mut(id.0 as usize)?.as_mut()?;
        let count = group.members.len();
        let begin = match group.strategy {
            ShareStrategy::LeastOutstanding | ShareStrategy::RoundRobin => group.next,
            ShareStrategy::ByPublisher => publisher as usize,
            ShareStrategy::ByTopic => topic as usize,
        } % count;
        let mut best: Option<(Ability, usize)> = None;
        for step in 0..count.min(SCAN_MAX) {
            let position = (begin + step) % count;
            let member = &group.members[position];
            let able = ability(member);
            let is_better = match best {
                _ if able == Ability::None => false,
                None => true,
                Some((best_able, best_position)) => match able.cmp(&best_able) {
                    core::cmp::Ordering::Greater => true,
                    core::cmp::Ordering::Less => false,
                    core::cmp::Ordering::Equal => {
                        group.strategy == ShareStrategy::LeastOutstanding
                            && member.outstanding < group.members[best_position].outstanding
                    }
                },
            };
            if is_better {
                best = Some((able, position));
                let is_settled = able == Ability::Now
                    && (group.strategy != ShareStrategy::LeastOutstanding
                        || member.outstanding == 0);
                if is_settled {
                    break;
                }
            }
        }
        let (_, position) = best?;
        group.next = (position + 1) % count;
        Some(group.members[position])
    }

    /// A message of the group was given to a member.
    pub(crate) fn given(&mut self, id: ShareId, session: Key<Session>) {
        if let Some(member) = self.member_mut(id, session) {
            member.outstanding += 1;
        }
    }

    /// A message of the group is over for a member.
    pub(crate) fn done(&mut self, id: ShareId, session: Key<Session>) {
        if let Some(member) = self.member_mut(id, session) {
            member.outstanding = member.outstanding.saturating_sub(1);
        }
    }

    fn member_mut(&mut self, id: ShareId, session: Key<Session>) -> Option<&mut Member> {
        if id == ShareId::NONE {
            return None;
        }
        let position = *self.positions.get(&(id, session))?;
        let group = self.groups[id.0 as usize].as_mut()?;
        group.members.get_mut(position as usize)
    }

    fn create(&mut self, node: NodeId, name: &str) -> ShareId {
        let strategy = self.strategies.of(name);
        let group = Group { name: name.into(), node, strategy, members: Vec::new(), next: 0 };
        let id = if let Some(id) = self.free.pop() {
            self.groups[id.0 as usize] = Some(group);
            id
        } else {
            let id = ShareId(u32::try_from(self.groups.len()).expect("fewer groups than filters"));
            self.groups.push(Some(group));
            id
        };
        self.by_name.insert((node, name.into()), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trie::ROOT;

    fn session(index: u32) -> Key<Session> {
        Key::from_parts(index, 0)
    }

    fn shares(strategy: ShareStrategy, members: u32) -> (Shares, ShareId) {
        let strategies = ShareStrategies { default: strategy, ..ShareStrategies::default() };
        let mut shares = Shares::new(strategies, 1);
        let mut id = ShareId::NONE;
        for index in 0..members {
            id = shares.join(ROOT, "g", session(index), SubscriptionOptions::default(), 0).0;
        }
        (shares, id)
    }

    fn chosen(shares: &mut Shares, id: ShareId, publisher: u64, topic: u64) -> u32 {
        let member = shares.choose(id, publisher, topic, |_| Ability::Now);
        member.expect("there are members").session.index()
    }

    #[test]
    fn round_robin_goes_round() {
        let (mut shares, id) = shares(ShareStrategy::RoundRobin, 3);
        let order: Vec<_> = (0..6).map(|_| chosen(&mut shares, id, 0, 0)).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn the_least_burdened_member_is_next() {
        let (mut shares, id) = shares(ShareStrategy::LeastOutstanding, 3);
        for (index, burden) in [(0, 2), (1, 1), (2, 3)] {
            (0..burden).for_each(|_| shares.given(id, session(index)));
        }
        assert_eq!(chosen(&mut shares, id, 0, 0), 1);
        shares.done(id, session(2));
        shares.done(id, session(2));
        shares.done(id, session(2));
        assert_eq!(chosen(&mut shares, id, 0, 0), 2);
    }

    #[test]
    fn a_publisher_or_a_topic_keeps_its_member() {
        let (mut shares, id) = shares(ShareStrategy::ByPublisher, 4);
        assert!((0..9).all(|topic| chosen(&mut shares, id, 6, topic) == 2));
        let (mut shares, id) = self::shares(ShareStrategy::ByTopic, 4);
        assert!((0..9).all(|publisher| chosen(&mut shares, id, publisher, 7) == 3));
    }

    #[test]
    fn who_can_take_it_at_once_goes_before_who_cannot() {
        for strategy in [
            ShareStrategy::LeastOutstanding,
            ShareStrategy::RoundRobin,
            ShareStrategy::ByPublisher,
            ShareStrategy::ByTopic,
        ] {
            let (mut shares, id) = shares(strategy, 4);
            let abilities = [Ability::None, Ability::Later, Ability::Now, Ability::Soon];
            let ability = |member: &Member| abilities[member.session.index() as usize];
            for _ in 0..5 {
                let member = shares.choose(id, 0, 0, ability).expect("there is one");
                assert_eq!(member.session.index(), 2, "{strategy:?}");
            }
            assert!(shares.choose(id, 0, 0, |_| Ability::None).is_none());
        }
    }

    #[test]
    fn the_last_member_takes_the_group_with_it() {
        let (mut shares, id) = shares(ShareStrategy::RoundRobin, 2);
        assert_eq!(shares.leave(id, session(0)), None);
        assert!(shares.contains(id, session(1)));
        assert_eq!(shares.leave(id, session(1)), Some(ROOT));
        assert_eq!((shares.len(), shares.find(ROOT, "g")), (0, None));
        let (again, is_new, _) =
            shares.join(ROOT, "h", session(2), SubscriptionOptions::default(), 0);
        assert_eq!((again, is_new), (id, true), "its place is used again");
    }
}
