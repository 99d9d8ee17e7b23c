//! The retained messages, one a topic.
//!
//! They stand in the order of their levels: a key is the topic name with each `/` replaced by the
//! octet 0, which no name can hold, so that everything below a level follows it without a gap. A
//! look-up by filter walks that order and jumps over what cannot match; all it keeps between two
//! steps is the key at which to go on, so it can be put down at any moment and the store may change
//! meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::message::MessageRef;
use crate::topic::{TopicFilter, TopicName};

/// The end of a level in a key.
const SEPARATOR: u8 = 0;
/// Sorts behind everything below a level and before the next one.
const PAST_LEVEL: u8 = 1;
/// Sorts behind every topic that begins with `$`.
const PAST_RESERVED: u8 = b'$' + 1;

/// Where a look-up has come to.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The first key that has not been looked at.
    next: Vec<u8>,
    started: bool,
    done: bool,
}

impl Cursor {
    /// Whether nothing is left to be found.
    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// The key at which to go on; `None`: nothing has been looked at.
    pub(crate) fn next(&self) -> Option<&[u8]> {
        self.started.then_some(&self.next)
    }

    /// A look-up that goes on there.
    pub(crate) fn at(next: Option<&[u8]>) -> Self {
        Self { next: next.unwrap_or_default().to_vec(), started: next.is_some(), done: false }
    }
}

/// What one key means for a look-up.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It matches; the next one to look at is its successor.
    Match,
    /// It does not; the next one that can is at least the key in the cursor.
    Jump,
    /// It does not, and nothing behind it can.
    End,
}

/// One message a topic.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    messages: BTreeMap<Box<[u8]>, MessageRef>,
    key_bytes: u64,
    /// A key being made; kept for its memory.
    key: Vec<u8>,
}

impl Retained {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// An estimate of the memory held by the index.
    pub(crate) fn memory(&self) -> u64 {
        self.key_bytes + 48 * self.messages.len() as u64
    }

    pub(crate) fn get(&mut self, topic: TopicName<'_>) -> Option<MessageRef> {
        self.set_key(topic);
        self.messages.get(&self.key[..]).copied()
    }

    /// Makes `message` the retained one of its topic [MQTT-3.3.1-5]. The caller has counted it, and
    /// releases what it replaces.
    pub(crate) fn set(&mut self, topic: TopicName<'_>, message: MessageRef) -> Option<MessageRef> {
        self.set_key(topic);
        if let Some(place) = self.messages.get_mut(&self.key[..]) {
            return Some(core::mem::replace(place, message));
        }
        self.key_bytes += self.key.len() as u64;
        self.messages.insert(self.key.as_slice().into(), message)
    }

    /// Forgets the retained message of a topic [MQTT-3.3.1-10]; the caller releases it.
    pub(crate) fn remove(&mut self, topic: TopicName<'_>) -> Option<MessageRef> {
        self.set_key(topic);
        let (key, message) = self.messages.remove_entry(&self.key[..])?;
        self.key_bytes -= key.len() as u64;
        Some(message)
    }

    /// The next message whose topic matches `filter`, in the order of levels. Looks at no more than
    /// `steps` keys and takes them off; at zero it returns `None` without the cursor being done.
    pub(crate) fn next(
        &self,
        filter: TopicFilter<'_>,
        cursor: &mut Cursor,
        steps: &mut u32,
    ) -> Option<MessageRef> {
        if !cursor.started {
            cursor.started = true;
            cursor.next.extend(literal_prefix(filter).bytes().map(key_octet));
        }
        while !cursor.done && *steps > 0 {
            *steps -= 1;
            let from = Bound::Included(&cursor.next[..]);
            let Some((key, message)) =
                self.messages.range::<[u8], _>((from, Bound::Unbounded)).next()
            else {
                cursor.done = true;
                break;
            };
            match judge(filter, key, &mut cursor.next) {
                Verdict::Match => {
                    cursor.next.clear();
                    cursor.next.extend_from_slice(key);
                    cursor.next.push(0);
                    return Some(*message);
                }
                Verdict::Jump => {}
                Verdict::End => cursor.done = true,
            }
        }
        None
    }

    fn set_key(&mut self, topic: TopicName<'_>) {
        self.key.clear();
        self.key.extend(topic.as_str().bytes().map(key_octet));
    }
}

const fn key_octet(octet: u8) -> u8 {
    if octet == b'/' { SEPARATOR } else { octet }
}

/// What all names matched by `filter` begin with, whole levels only.
fn literal_prefix(filter: TopicFilter<'_>) -> &str {
    let text = filter.as_str();
    let Some(wildcard) = text.find(['+', '#']) else { return text };
    // A `#` also matches the level above it, which has no `/` behind it.
    text[..wildcard].trim_end_matches('/')
}

/// Compares one key with a filter. On [`Verdict::Jump`] `next` holds where to go on.
fn judge(filter: TopicFilter<'_>, key: &[u8], next: &mut Vec<u8>) -> Verdict {
    let mut jump = |prefix: &[u8], rest: &[u8]| {
        next.clear();
        next.extend_from_slice(prefix);
        next.extend_from_slice(rest);
        Verdict::Jump
    };
    // Where the level to be compared begins, and where the last one under a `+` ends.
    let mut start = 0;
    let mut plus_end = None;
    for wanted in filter.levels() {
        let is_wildcard = matches!(wanted, "+" | "#");
        if is_wildcard && start == 0 && key.first() == Some(&b'$') {
            return jump(&[], &[PAST_RESERVED]);
        }
        if wanted == "#" {
            return Verdict::Match;
        }
        if start > key.len() {
            // The key ends above this level: what could match is below it.
            let below = if wanted == "+" { &[][..] } else { wanted.as_bytes() };
            let mut rest = vec![SEPARATOR];
            rest.extend_from_slice(below);
            return jump(key, &rest);
        }
        let end =
            key[start..].iter().position(|o| *o == SEPARATOR).map_or(key.len(), |n| start + n);
        if wanted == "+" {
            plus_end = Some(end);
        } else {
            match key[start..end].cmp(wanted.as_bytes()) {
                core::cmp::Ordering::Equal => {}
                core::cmp::Ordering::Less => return jump(&key[..start], wanted.as_bytes()),
                // Nothing here can match any more: on to the next level under the last `+`.
                core::cmp::Ordering::Greater => {
                    return match plus_end {
                        Some(end) => jump(&key[..end], &[PAST_LEVEL]),
                        None => Verdict::End,
                    };
                }
            }
        }
        start = end + 1;
    }
    if start <= key.len() {
        // The key goes on below the filter's last level, and so do all that follow it there.
        return jump(&key[..start - 1], &[PAST_LEVEL]);
    }
    Verdict::Match
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Payload, QoS};
    use crate::message::{MessageStore, NewMessage, Origin};
    use crate::property::Properties;
    use crate::time::Instant;
    use proptest::prelude::*;

    fn name(text: &str) -> TopicName<'_> {
        TopicName::new(text).expect("a good name")
    }

    fn filter(text: &str) -> TopicFilter<'_> {
        TopicFilter::new(text).expect("a good filter")
    }

    fn message(store: &mut MessageStore, topic: &str) -> MessageRef {
        store.insert(&NewMessage {
            topic: name(topic),
            payload: Payload::Borrowed(b""),
            qos: QoS::AtMostOnce,
            retain: true,
            origin: Origin::Nobody,
            expires: Instant::NEVER,
            properties: Properties::EMPTY,
        })
    }

    fn retain_all(topics: &[&str]) -> (MessageStore, Retained) {
        let mut store = MessageStore::default();
        let mut retained = Retained::default();
        for topic in topics {
            let message = message(&mut store, topic);
            retained.set(name(topic), message);
        }
        (store, retained)
    }

    fn find(store: &MessageStore, retained: &Retained, text: &str) -> (Vec<String>, u32) {
        let mut cursor = Cursor::default();
        let mut steps = u32::MAX;
        let mut found = Vec::new();
        while let Some(message) = retained.next(filter(text), &mut cursor, &mut steps) {
            found.push(store.get(message).topic().to_owned());
        }
        assert!(cursor.is_done());
        (found, u32::MAX - steps)
    }

    #[test]
    fn a_topic_has_one_retained_message() {
        let (mut store, mut retained) = retain_all(&["a/b"]);
        let newer = message(&mut store, "a/b");
        let older = retained.set(name("a/b"), newer);
        assert!(older.is_some_and(|older| older != newer));
        assert_eq!(retained.get(name("a/b")), Some(newer));
        assert_eq!(retained.len(), 1);
        assert_eq!(retained.remove(name("a/b")), Some(newer));
        assert_eq!((retained.len(), retained.key_bytes), (0, 0));
        assert_eq!(retained.get(name("a/b")), None);
    }

    #[test]
    fn levels_are_not_torn_apart_by_characters_that_sort_before_the_slash() {
        let (store, retained) = retain_all(&["a", "a!", "a/b", "a/b/c", "a b", "a-b", "$a", "b"]);
        assert_eq!(find(&store, &retained, "a/#").0, ["a", "a/b", "a/b/c"]);
        assert_eq!(find(&store, &retained, "+").0, ["a", "a b", "a!", "a-b", "b"]);
        assert_eq!(find(&store, &retained, "$a/#").0, ["$a"]);
    }

    #[test]
    fn a_look_up_jumps_over_what_cannot_match() {
        let topics: Vec<String> =
            (0..1_000).flat_map(|n| ["x", "y", "z"].map(|s| format!("room{n}/{s}/deep"))).collect();
        let (store, retained) = retain_all(&topics.iter().map(|t| &**t).collect::<Vec<_>>());
        let (found, steps) = find(&store, &retained, "room7/y/deep");
        assert_eq!((found.len(), steps), (1, 2));
        let (found, steps) = find(&store, &retained, "+/y/deep");
        assert_eq!(found.len(), 1_000);
        assert!(steps <= 4_001, "{steps} steps for 1,000 of 3,000 topics");
    }

    #[test]
    fn a_look_up_can_be_put_down_and_taken_up_while_the_store_changes() {
        let (mut store, mut retained) = retain_all(&["a/1", "a/2", "a/3", "a/4"]);
        let mut cursor = Cursor::default();
        let mut next = |retained: &Retained, store: &MessageStore| {
            let message = retained.next(filter("a/+"), &mut cursor, &mut 10);
            message.map(|message| store.get(message).topic().to_owned())
        };
        assert_eq!(next(&retained, &store).as_deref(), Some("a/1"));
        retained.remove(name("a/1"));
        retained.remove(name("a/2"));
        let late = message(&mut store, "a/5");
        retained.set(name("a/5"), late);
        assert_eq!(next(&retained, &store).as_deref(), Some("a/3"));
        assert_eq!(next(&retained, &store).as_deref(), Some("a/4"));
        assert_eq!(next(&retained, &store).as_deref(), Some("a/5"));
        assert_eq!(next(&retained, &store), None);
    }

    #[test]
    fn steps_bound_the_work_of_one_call() {
        let (_, retained) = retain_all(&["$a", "$b", "$c", "x/1", "x/2"]);
        let mut cursor = Cursor::default();
        let mut steps = 1;
        assert_eq!(retained.next(filter("+/2"), &mut cursor, &mut steps), None);
        assert!(!cursor.is_done());
        assert!(retained.next(filter("+/2"), &mut cursor, &mut 10).is_some());
    }

    fn topic_text() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "$x", "a!", "\u{1}", "ab"]);
        prop::collection::vec(level, 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a name has a character", |text| !text.is_empty())
    }

    fn filter_text() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "$x", "a!", "\u{1}", "+", "+"]);
        (prop::collection::vec(level, 1..5), any::<bool>())
            .prop_map(|(levels, hash)| levels.join("/") + if hash { "/#" } else { "" })
            .prop_filter("a filter has a character", |text| !text.is_empty())
    }

    proptest! {
        /// A look-up finds exactly what the plain definition of matching finds, each once.
        #[test]
        fn a_look_up_agrees_with_the_definition(
            topics in prop::collection::btree_set(topic_text(), 0..40),
            filters in prop::collection::vec(filter_text(), 1..10),
        ) {
            let (store, retained) = retain_all(&topics.iter().map(|t| &**t).collect::<Vec<_>>());
            for text in filters.iter().map(String::as_str).chain(["#"]) {
                let mut found = find(&store, &retained, text).0;
                found.sort();
                let expect: Vec<_> =
                    topics.iter().filter(|topic| filter(text).matches(name(topic))).collect();
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), expect, "{}", text);
            }
        }
    }
}
