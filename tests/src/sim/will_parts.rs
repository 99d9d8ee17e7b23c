//! The two halves of a sensor's will, topic and message, which change independently (SN 6.4).
//!
//! A change that was heard holds when it is acknowledged. Until then either may be so, as the
//! gateway may have been about to lose the client, or is ended before it has kept the change.

use std::collections::{BTreeMap, VecDeque};

use super::book::{Book, Party, Publication, WILL_NUMBER};

/// Some of the topics that a will may have, and that it has none: one bit each.
pub(crate) type Topics = u8;

/// The topic that it has from CONNECT, which is the only one of an MQTT client's.
pub(crate) const FIRST: Topics = 1;

/// The topic that an update may give it.
pub(crate) const SECOND: Topics = 2;

/// There is none: nothing is published.
pub(crate) const DELETED: Topics = 4;

/// The number that stands for an empty message.
pub(crate) const EMPTY: u32 = WILL_NUMBER;

/// The topic name of a will.
pub(crate) fn name(party: Party, topic: Topics) -> String {
    if topic == SECOND { format!("w/{party}/x") } else { format!("w/{party}") }
}

/// Which of its topics a will came under, if it is one of them.
pub(crate) fn topic_of(party: Party, text: &str) -> Option<Topics> {
    [FIRST, SECOND].into_iter().find(|topic| name(party, *topic) == text)
}

/// QoS and retain flag: the second topic has others than the first.
pub(crate) const fn manner((qos, retain): (u8, bool), topic: Topics) -> (u8, bool) {
    if topic == SECOND { ((qos + 1) % 3, !retain) } else { (qos, retain) }
}

/// Whose will it is that came without a message.
pub(crate) fn read_empty(book: &Book, text: &str) -> Option<Publication> {
    let party = text.strip_prefix("w/")?.split('/').next()?.parse().ok()?;
    book.is_sensor(party).then_some(Publication { party, number: EMPTY })
}

/// A change that a sensor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Topic(Topics),
    Message(u32),
}

/// One half: what it is, what it may be by changes that were not acknowledged yet, in their order,
/// and what it may be since a crash.
#[derive(Clone, Debug)]
struct Half<T> {
    now: T,
    heard: VecDeque<T>,
    doubted: Vec<T>,
}

impl<T: Copy> Half<T> {
    const fn new(now: T) -> Self {
        Self { now, heard: VecDeque::new(), doubted: Vec::new() }
    }

    fn all(&self) -> impl Iterator<Item = T> {
        let more = self.heard.iter().chain(&self.doubted).copied();
        std::iter::once(self.now).chain(more)
    }

    /// The first change that fits is acknowledged, and what came before it is over.
    fn acknowledge(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let place = self.heard.iter().position(fits)?;
        self.now = self.heard.drain(..=place).next_back()?;
        self.doubted.clear();
        Some(self.now)
    }

    fn crash(&mut self) {
        self.doubted.extend(self.heard.drain(..));
    }
}

#[derive(Clone, Debug)]
struct Halves {
    topic: Half<Topics>,
    message: Half<u32>,
}

/// What a will may be: any of these topics with any of these messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) topics: Topics,
    pub(crate) numbers: Vec<u32>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Parts {
    halves: BTreeMap<Party, Halves>,
}

impl Parts {
    /// A connection with a new will begins.
    pub(crate) fn begin(&mut self, party: Party, number: u32) {
        let halves = Halves { topic: Half::new(FIRST), message: Half::new(number) };
        self.halves.insert(party, halves);
    }

    /// What the will of a party may be, `number` being the message that it connected with.
    pub(crate) fn options(&self, party: Party, number: u32) -> Options {
        let Some(halves) = self.halves.get(&party) else {
            return Options { topics: FIRST, numbers: vec![number] };
        };
        let topics = halves.topic.all().fold(0, |topics, topic| topics | topic);
        let mut numbers = Vec::new();
        for number in halves.message.all() {
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        Options { topics, numbers }
    }

    /// The message of the will that a session has; `None`: it has never had one.
    pub(crate) fn kept(&self, party: Party) -> Option<u32> {
        self.halves.get(&party).map(|halves| halves.message.now)
    }

    /// A change was heard. Without a will it makes one.
    pub(crate) fn hear(&mut self, party: Party, change: Change) {
        let halves = self
            .halves
            .entry(party)
            .or_insert_with(|| Halves { topic: Half::new(DELETED), message: Half::new(EMPTY) });
        match change {
            Change::Topic(topic) => {
                halves.topic.heard.push_back(topic);
                if topic == DELETED {
                    // The message goes with it (SN-024), and has no answer of its own.
                    halves.message.heard.push_back(EMPTY);
                }
            }
            Change::Message(number) => halves.message.heard.push_back(number),
        }
    }

    /// A change was acknowledged: which one, if there was any.
    pub(crate) fn acknowledge(&mut self, party: Party, is_topic: bool) -> Option<Change> {
        let halves = self.halves.get_mut(&party)?;
        if !is_topic {
            return halves.message.acknowledge(|number| *number != EMPTY).map(Change::Message);
        }
        let topic = halves.topic.acknowledge(|_| true)?;
        if topic == DELETED {
            halves.message.acknowledge(|number| *number == EMPTY);
        }
        Some(Change::Topic(topic))
    }

    /// Since a crash it may be this one, which another took the place of.
    pub(crate) fn doubt(&mut self, party: Party, options: &Options) {
        let Some(halves) = self.halves.get_mut(&party) else { return };
        halves.message.doubted.extend(&options.numbers);
        halves.topic.doubted.push(options.topics);
    }

    /// The gateway was ended: what was not acknowledged may be kept or not.
    pub(crate) fn crashed(&mut self) {
        for halves in self.halves.values_mut() {
            halves.topic.crash();
            halves.message.crash();
        }
    }

    /// The gateway has begun anew with nothing.
    pub(crate) fn clear(&mut self) {
        self.halves.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_of_two_until_it_is_acknowledged() {
        let mut parts = Parts::default();
        parts.begin(1, 7);
        parts.hear(1, Change::Message(8));
        parts.hear(1, Change::Topic(SECOND));
        let both = Options { topics: FIRST | SECOND, numbers: vec![7, 8] };
        assert_eq!(parts.options(1, 7), both);
        parts.crashed();
        assert_eq!(parts.options(1, 7), both, "either may have been kept");
        assert_eq!(parts.acknowledge(1, true), None, "what came before the crash");

        parts.hear(1, Change::Topic(DELETED));
        assert_eq!(parts.acknowledge(1, true), Some(Change::Topic(DELETED)));
        assert_eq!(parts.options(1, 7), Options { topics: DELETED, numbers: vec![EMPTY] });
        parts.hear(1, Change::Message(9));
        assert_eq!(parts.acknowledge(1, false), Some(Change::Message(9)));
        assert_eq!(parts.options(1, 7), Options { topics: DELETED, numbers: vec![9] });
    }
}
