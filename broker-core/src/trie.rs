//! The subscription trie.
//!
//! One node per level of a filter, with slots of their own for `+` and `#`; literal levels are
//! interned so that a child is found by two integers. Each node remembers the child that was found
//! last: where there is only one, or where a topic comes again, comparing its text spares both
//! look-ups. Matching walks all levels once, with a list of nodes in hand instead of recursion, so
//! that neither depth nor a crowd of wildcards can exhaust the stack. Subscribing to a popular
//! filter and leaving it are O(levels): who stands where in a node's list is known.

use crate::api::SubscriptionOptions;
use crate::hash::{self, HashMap};
use crate::key::Key;
use crate::session::Session;
use crate::share::ShareId;
use crate::topic::{TopicFilter, TopicName};

/// A place in the trie: one filter that somebody subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

pub(crate) const ROOT: NodeId = NodeId(0);
const NO_NODE: NodeId = NodeId(u32::MAX);

/// An interned level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LevelId(u32);

/// One subscription: who, and how it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) session: Key<Session>,
    pub(crate) options: SubscriptionOptions,
    /// 0: none.
    pub(crate) identifier: u32,
}

/// Who a message goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// This session.
    Subscriber(&'a Subscriber),
    /// One member of this group.
    Share(ShareId),
}

/// How a node hangs on its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Root,
    Literal(LevelId),
    Plus,
    Hash,
}

#[derive(Debug)]
struct Node {
    parent: NodeId,
    edge: Edge,
    plus: NodeId,
    hash: NodeId,
    /// Literal children; `+` and `#` are not counted.
    literals: u32,
    /// The one of them that was found last, if it is still there.
    recent: NodeId,
    subscribers: Vec<Subscriber>,
    /// Groups that share this filter.
    shares: Vec<ShareId>,
}

impl Node {
    const fn new(parent: NodeId, edge: Edge) -> Self {
        Self {
            parent,
            edge,
            plus: NO_NODE,
            hash: NO_NODE,
            literals: 0,
            recent: NO_NODE,
            subscribers: Vec::new(),
            shares: Vec::new(),
        }
    }

    /// Tells who is to be found here.
    fn tell(&self, found: &mut impl FnMut(Found<'_>)) {
        for subscriber in &self.subscribers {
            found(Found::Subscriber(subscriber));
        }
        for share in &self.shares {
            found(Found::Share(*share));
        }
    }

    fn is_unused(&self) -> bool {
        self.subscribers.is_empty()
            && self.shares.is_empty()
            && self.literals == 0
            && self.plus == NO_NODE
            && self.hash == NO_NODE
    }
}

/// Levels by number and by text.
#[derive(Debug)]
struct Levels {
    by_text: HashMap<Box<str>, LevelId>,
    /// Text and how many nodes use it.
    texts: Vec<(Box<str>, u32)>,
    free: Vec<LevelId>,
}

impl Levels {
    fn find(&self, text: &str) -> Option<LevelId> {
        self.by_text.get(text).copied()
    }

    fn keep(&mut self, text: &str) -> LevelId {
        if let Some(level) = self.find(text) {
            self.texts[level.0 as usize].1 += 1;
            return level;
        }
        let entry = (Box::from(text), 1);
        let level = if let Some(level) = self.free.pop() {
            self.texts[level.0 as usize] = entry;
            level
        } else {
            let level = LevelId(u32::try_from(self.texts.len()).expect("fewer levels than nodes"));
            self.texts.push(entry);
            level
        };
        self.by_text.insert(text.into(), level);
        level
    }

    fn release(&mut self, level: LevelId) {
        let (text, users) = &mut self.texts[level.0 as usize];
        *users -= 1;
        if *users == 0 {
            self.by_text.remove(text);
            *text = Box::default();
            self.free.push(level);
        }
    }
}

/// Who subscribed to what.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    levels: Levels,
    children: HashMap<(NodeId, LevelId), NodeId>,
    /// Where a session stands in a node's list.
    positions: HashMap<(NodeId, Key<Session>), u32>,
    /// Nodes in hand while matching; kept for their memory.
    frontier: Vec<NodeId>,
    next_frontier: Vec<NodeId>,
}

impl Trie {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            nodes: vec![Node::new(NO_NODE, Edge::Root)],
            free: Vec::new(),
            levels: Levels { by_text: hash::map(seed), texts: Vec::new(), free: Vec::new() },
            children: hash::map(seed ^ 1),
            positions: hash::map(seed ^ 2),
            frontier: Vec::new(),
            next_frontier: Vec::new(),
        }
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    /// An estimate of the memory held, from the number of nodes and subscriptions.
    pub(crate) fn memory(&self) -> u64 {
        const PER_NODE: usize = size_of::<Node>() + 48;
        const PER_SUBSCRIPTION: usize = size_of::<Subscriber>() + 40;
        (self.nodes.len() * PER_NODE + self.positions.len() * PER_SUBSCRIPTION) as u64
    }

    /// Adds a subscription or replaces the one of the same session and filter [MQTT-3.8.4-3].
    /// Returns its place and whether it is new.
    pub(crate) fn subscribe(
        &mut self,
        filter: TopicFilter<'_>,
        subscriber: Subscriber,
    ) -> (NodeId, bool) {
        let node = self.node(filter);
        let subscribers = &mut self.nodes[node.0 as usize].subscribers;
        if let Some(position) = self.positions.get(&(node, subscriber.session)) {
            subscribers[*position as usize] = subscriber;
            return (node, false);
        }
        let position = u32::try_from(subscribers.len()).expect("fewer subscribers than sessions");
        subscribers.push(subscriber);
        self.positions.insert((node, subscriber.session), position);
        (node, true)
    }

    /// The place of a filter, made if it is not there. Somebody has to be put there.
    pub(crate) fn node(&mut self, filter: TopicFilter<'_>) -> NodeId {
        let mut node = ROOT;
        for level in filter.levels() {
            node = match level {
                "#" => self.wildcard_child(node, Edge::Hash),
                "+" => self.wildcard_child(node, Edge::Plus),
                literal => self.literal_child(node, literal),
            };
        }
        node
    }

    /// A group shares the filter of this place from now on.
    pub(crate) fn add_share(&mut self, node: NodeId, share: ShareId) {
        self.nodes[node.0 as usize].shares.push(share);
    }

    /// The group does not any more.
    pub(crate) fn remove_share(&mut self, node: NodeId, share: ShareId) {
        let shares = &mut self.nodes[node.0 as usize].shares;
        shares.retain(|held| *held != share);
        if shares.is_empty() {
            *shares = Vec::new();
        }
        self.prune(node);
    }

    /// The place of a filter, if somebody subscribed to exactly it [MQTT-3.10.4-1].
    pub(crate) fn find(&self, filter: TopicFilter<'_>) -> Option<NodeId> {
        let mut node = ROOT;
        for level in filter.levels() {
            let parent = &self.nodes[node.0 as usize];
            node = match level {
                "#" => parent.hash,
                "+" => parent.plus,
                literal => *self.children.get(&(node, self.levels.find(literal)?))?,
            };
            if node == NO_NODE {
                return None;
            }
        }
        Some(node)
    }

    /// The filter of a place.
    pub(crate) fn filter(&self, mut node: NodeId) -> String {
        let mut levels = Vec::new();
        while node != ROOT {
            let Node { parent, edge, .. } = &self.nodes[node.0 as usize];
            levels.push(match edge {
                Edge::Plus => "+",
                Edge::Hash => "#",
                Edge::Literal(level) => &*self.levels.texts[level.0 as usize].0,
                Edge::Root => unreachable!("the loop ends at the root"),
            });
            node = *parent;
        }
        levels.reverse();
        levels.join("/")
    }

    /// The subscription of a session to the filter at this place.
    pub(crate) fn get(&self, node: NodeId, session: Key<Session>) -> Option<Subscriber> {
        let position = *self.positions.get(&(node, session))?;
        self.nodes[node.0 as usize].subscribers.get(position as usize).copied()
    }

    /// Whether a session has subscribed to the filter at this place.
    pub(crate) fn has(&self, node: NodeId, session: Key<Session>) -> bool {
        self.positions.contains_key(&(node, session))
    }

    /// Takes one subscription away; `false` if it was not there.
    pub(crate) fn unsubscribe(&mut self, node: NodeId, session: Key<Session>) -> bool {
        let Some(position) = self.positions.remove(&(node, session)) else { return false };
        let subscribers = &mut self.nodes[node.0 as usize].subscribers;
        subscribers.swap_remove(position as usize);
        if let Some(moved) = subscribers.get(position as usize) {
            self.positions.insert((node, moved.session), position);
        } else if subscribers.is_empty() {
            *subscribers = Vec::new();
        }
        self.prune(node);
        true
    }

    /// Calls `found` for every subscription, and for every group of them, that matches `topic`
    /// [MQTT-3.3.2-3]; a session with overlapping filters is found once for each.
    pub(crate) fn matches(&mut self, topic: TopicName<'_>, mut found: impl FnMut(Found<'_>)) {
        let mut here = core::mem::take(&mut self.frontier);
        let mut below = core::mem::take(&mut self.next_frontier);
        here.clear();
        here.push(ROOT);
        // A wildcard in the first level does not reach the server's own topics [MQTT-4.7.2-1].
        let mut wildcards = !topic.is_reserved();
        for level in topic.levels() {
            let mut literal = None;
            below.clear();
            for node in &here {
                let Node { plus, hash, literals, .. } = self.nodes[node.0 as usize];
                if wildcards && hash != NO_NODE {
                    self.nodes[hash.0 as usize].tell(&mut found);
                }
                if wildcards && plus != NO_NODE {
                    below.push(plus);
                }
                if literals > 0 {
                    below.extend(self.match_literal(*node, level, &mut literal));
                }
            }
            core::mem::swap(&mut here, &mut below);
            wildcards = true;
            if here.is_empty() {
                break;
            }
        }
        for node in &here {
            let here = &self.nodes[node.0 as usize];
            here.tell(&mut found);
            // `#` also matches the level above it [MQTT-4.7.1-2].
            if here.hash != NO_NODE {
                self.nodes[here.hash.0 as usize].tell(&mut found);
            }
        }
        self.frontier = here;
        self.next_frontier = below;
    }

    /// The child of `parent` for a level of a topic. `literal` is the level's number: `None` while
    /// nobody has asked for it, `Some(None)` if it has none.
    #[inline]
    fn match_literal(
        &mut self,
        parent: NodeId,
        level: &str,
        literal: &mut Option<Option<LevelId>>,
    ) -> Option<NodeId> {
        let recent = self.nodes[parent.0 as usize].recent;
        if recent != NO_NODE && self.literal(recent) == level {
            return Some(recent);
        }
        let literal = (*literal.get_or_insert_with(|| self.levels.find(level)))?;
        let child = *self.children.get(&(parent, literal))?;
        self.nodes[parent.0 as usize].recent = child;
        Some(child)
    }

    /// The text of the level that a literal child stands for.
    fn literal(&self, child: NodeId) -> &str {
        match self.nodes[child.0 as usize].edge {
            Edge::Literal(level) => &self.levels.texts[level.0 as usize].0,
            Edge::Root | Edge::Plus | Edge::Hash => unreachable!("a literal child"),
        }
    }

    fn wildcard_child(&mut self, parent: NodeId, edge: Edge) -> NodeId {
        let slots = &self.nodes[parent.0 as usize];
        let child = if edge == Edge::Plus { slots.plus } else { slots.hash };
        if child != NO_NODE {
            return child;
        }
        let child = self.add_node(parent, edge);
        let slots = &mut self.nodes[parent.0 as usize];
        *(if edge == Edge::Plus { &mut slots.plus } else { &mut slots.hash }) = child;
        child
    }

    fn literal_child(&mut self, parent: NodeId, text: &str) -> NodeId {
        if let Some(level) = self.levels.find(text)
            && let Some(child) = self.children.get(&(parent, level))
        {
            return *child;
        }
        let level = self.levels.keep(text);
        let child = self.add_node(parent, Edge::Literal(level));
        self.children.insert((parent, level), child);
        self.nodes[parent.0 as usize].literals += 1;
        child
    }

    fn add_node(&mut self, parent: NodeId, edge: Edge) -> NodeId {
        let node = Node::new(parent, edge);
        if let Some(id) = self.free.pop() {
            self.nodes[id.0 as usize] = node;
            return id;
        }
        let id = NodeId(u32::try_from(self.nodes.len()).expect("memory ends before 2^32 nodes"));
        self.nodes.push(node);
        id
    }

    /// Removes a node that nobody needs, and then its parents as far as they were there for it.
    fn prune(&mut self, mut node: NodeId) {
        while node != ROOT && self.nodes[node.0 as usize].is_unused() {
            let Node { parent, edge, .. } = self.nodes[node.0 as usize];
            let slots = &mut self.nodes[parent.0 as usize];
            match edge {
                Edge::Plus => slots.plus = NO_NODE,
                Edge::Hash => slots.hash = NO_NODE,
                Edge::Literal(level) => {
                    slots.literals -= 1;
                    if slots.recent == node {
                        slots.recent = NO_NODE;
                    }
                    self.children.remove(&(parent, level));
                    self.levels.release(level);
                }
                Edge::Root => unreachable!("the root is never pruned"),
            }
            self.free.push(node);
            node = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(index: u32) -> Key<Session> {
        Key::from_parts(index, 0)
    }

    fn subscriber(index: u32) -> Subscriber {
        Subscriber {
            session: session(index),
            options: SubscriptionOptions::default(),
            identifier: 0,
        }
    }

    fn filter(text: &str) -> TopicFilter<'_> {
        TopicFilter::new(text).expect("a good filter")
    }

    fn found(trie: &mut Trie, topic: &str) -> Vec<u32> {
        let mut found = Vec::new();
        let topic = TopicName::new(topic).expect("a good name");
        trie.matches(topic, |who| {
            if let Found::Subscriber(subscriber) = who {
                found.push(subscriber.session.index());
            }
        });
        found.sort_unstable();
        found
    }

    #[test]
    fn a_filter_that_nobody_holds_any_more_leaves_nothing_behind() {
        let mut trie = Trie::new(1);
        for round in 0..3 {
            let nodes: Vec<_> = ["a/b/c", "a/+/c", "a/#", "+/+/#", "$SYS/#"]
                .map(|text| trie.subscribe(filter(text), subscriber(1)).0)
                .into();
            for node in nodes {
                assert!(trie.unsubscribe(node, session(1)));
                assert!(!trie.unsubscribe(node, session(1)));
            }
            assert!(trie.nodes[0].is_unused(), "round {round}");
            assert!(trie.children.is_empty() && trie.levels.by_text.is_empty());
            assert_eq!(trie.free.len(), trie.nodes.len() - 1);
        }
    }

    /// [MQTT-3.8.4-3]
    #[test]
    fn subscribing_again_replaces_and_does_not_double() {
        let mut trie = Trie::new(1);
        let (node, new) = trie.subscribe(filter("a/b"), subscriber(1));
        assert!(new);
        assert_eq!(trie.subscribe(filter("a/b"), subscriber(1)), (node, false));
        assert_eq!(found(&mut trie, "a/b"), [1]);
    }

    #[test]
    fn leaving_a_popular_filter_keeps_the_others() {
        let mut trie = Trie::new(1);
        let mut node = ROOT;
        for index in 0..100 {
            node = trie.subscribe(filter("popular"), subscriber(index)).0;
        }
        for index in (0..100).step_by(3) {
            assert!(trie.unsubscribe(node, session(index)));
        }
        let left: Vec<_> = (0..100).filter(|index| index % 3 != 0).collect();
        assert_eq!(found(&mut trie, "popular"), left);
    }

    #[test]
    fn a_topic_of_many_levels_takes_no_stack() {
        let mut trie = Trie::new(1);
        let deep = vec!["a"; 30_000].join("/");
        trie.subscribe(filter(&deep), subscriber(1));
        trie.subscribe(filter("#"), subscriber(2));
        assert_eq!(found(&mut trie, &deep), [1, 2]);
    }

    fn topic_text() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "$x", "ä"]);
        prop::collection::vec(level, 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a name has a character", |text| !text.is_empty())
    }

    fn filter_text() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "$x", "ä", "+", "+"]);
        (prop::collection::vec(level, 1..5), any::<bool>())
            .prop_map(|(levels, hash)| levels.join("/") + if hash { "/#" } else { "" })
            .prop_filter("a filter has a character", |text| !text.is_empty())
    }

    proptest! {
        /// After every subscription and withdrawal the trie finds exactly whom the plain definition
        /// of matching finds.
        #[test]
        fn the_trie_agrees_with_the_definition(
            ops in prop::collection::vec((filter_text(), 0_u32..4, any::<bool>()), 1..60),
            topics in prop::collection::vec(topic_text(), 1..20),
        ) {
            let mut trie = Trie::new(7);
            let mut model = std::collections::BTreeSet::new();
            for (step, (text, index, add)) in ops.iter().enumerate() {
                if *add {
                    let (_, new) = trie.subscribe(filter(text), subscriber(*index));
                    prop_assert_eq!(new, model.insert((text.as_str(), *index)));
                } else {
                    let removed = trie
                        .find(filter(text))
                        .is_some_and(|node| trie.unsubscribe(node, session(*index)));
                    prop_assert_eq!(removed, model.remove(&(text.as_str(), *index)));
                }
                prop_assert_eq!(trie.len(), model.len());
                let topic = &topics[step % topics.len()];
                let name = TopicName::new(topic).expect("a good name");
                let mut expect: Vec<_> = model
                    .iter()
                    .filter(|(text, _)| filter(text).matches(name))
                    .map(|(_, index)| *index)
                    .collect();
                expect.sort_unstable();
                prop_assert_eq!(found(&mut trie, topic), expect, "{}", topic);
            }
        }
    }
}
