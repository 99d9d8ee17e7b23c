//! Topic aliases that the server sets (MQTT 5.0): which topics get one.
//!
//! While there are aliases left every topic gets one: the first PUBLISH names both, later ones only
//! the alias. After that a topic has to come twice in short order, and another one has to make room
//! for it. What decides that is a clock: each use of a topic adds to its credit, each newcomer
//! takes one from the topic under the hand and moves the hand on, and a topic without credit goes.
//! So a few topics among thousands keep their aliases, a round of more topics than there are
//! aliases does not drive all of them out as "least recently used" would, and topics that have
//! fallen silent do not hold theirs for ever as "first come" would.

/// Octets of a topic name that is worth an alias, which takes three.
pub(super) const TOPIC_BYTES_MIN: usize = 8;

/// Topics without an alias that are remembered, one for each value of a few bits of the hash.
const CANDIDATES: usize = 32;

/// The credit that a topic can have.
const CREDIT_MAX: u8 = 2;

/// How a PUBLISH names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// By its name.
    Whole,
    /// By its name, which the alias means from then on.
    New(u16),
    /// By its alias.
    Alias(u16),
}

impl Name {
    pub(super) const fn alias(self) -> Option<u16> {
        match self {
            Self::Whole => None,
            Self::New(alias) | Self::Alias(alias) => Some(alias),
        }
    }
}

/// The aliases of one connection, with which they end [MQTT5-3.3.2-7].
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// At alias − 1: hashes of the topics, looked through for each message.
    hashes: Vec<u32>,
    topics: Vec<Named>,
    /// Octets of all topics.
    bytes: usize,
    /// Where the hand of the clock stands.
    hand: usize,
    candidates: [u32; CANDIDATES],
}

#[derive(Debug)]
struct Named {
    topic: Box<str>,
    credit: u8,
}

impl Naming {
    /// How to name `topic`, with aliases of 1 to `maximum` [MQTT5-3.1.2-26] for topics of
    /// `bytes_max` octets in all. Nothing is allocated; a new alias becomes one with
    /// [`Naming::set`].
    pub(super) fn name(&mut self, topic: &str, maximum: u16, bytes_max: usize) -> Name {
        let hash = hash(topic);
        for (at, _) in self.hashes.iter().enumerate().filter(|(_, other)| **other == hash) {
            let named = &mut self.topics[at];
            if *named.topic == *topic {
                named.credit = CREDIT_MAX.min(named.credit + 1);
                return Name::Alias(alias(at));
            }
        }
        let Some(at) = self.place(hash, usize::from(maximum)) else { return Name::Whole };
        let bytes_freed = self.topics.get(at).map_or(0, |old| old.topic.len());
        let has_room = self.bytes - bytes_freed + topic.len() <= bytes_max;
        if has_room { Name::New(alias(at)) } else { Name::Whole }
    }

    /// A place for a new topic: a free one, or one whose topic has no credit.
    fn place(&mut self, hash: u32, maximum: usize) -> Option<usize> {
        if self.topics.len() < maximum {
            return Some(self.topics.len());
        }
        let candidate = &mut self.candidates[hash as usize % CANDIDATES];
        if core::mem::replace(candidate, hash) != hash {
            return None;
        }
        self.hand = (self.hand + 1) % maximum;
        let named = &mut self.topics[self.hand];
        if named.credit == 0 {
            return Some(self.hand);
        }
        named.credit -= 1;
        None
    }

    /// What [`Naming::name`] has proposed was said to the client.
    pub(super) fn set(&mut self, alias: u16, topic: &str) {
        let at = usize::from(alias) - 1;
        let named = Named { topic: topic.into(), credit: 0 };
        self.bytes += topic.len();
        if at == self.topics.len() {
            self.hashes.push(hash(topic));
            self.topics.push(named);
        } else {
            self.hashes[at] = hash(topic);
            self.bytes -= core::mem::replace(&mut self.topics[at], named).topic.len();
        }
    }

    /// Octets held on the heap.
    pub(super) const fn memory(&self) -> usize {
        self.hashes.capacity() * size_of::<u32>()
            + self.topics.capacity() * size_of::<Named>()
            + self.bytes
    }
}

/// Only tells topics apart quickly: two with the same are compared. Eight octets at a time.
fn hash(topic: &str) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, chunk: u64| (hash.rotate_left(5) ^ chunk).wrapping_mul(ODD);
    let (chunks, rest) = topic.as_bytes().as_chunks::<8>();
    let hash =
        chunks.iter().fold(topic.len() as u64, |hash, chunk| mix(hash, u64::from_le_bytes(*chunk)));
    let hash = rest.iter().fold(hash, |hash, octet| mix(hash, u64::from(*octet)));
    (mix(hash, hash >> 32) >> 32) as u32
}

fn alias(at: usize) -> u16 {
    u16::try_from(at + 1).expect("there are no more places than aliases")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets of topic names and aliases that a sequence of messages takes, if a name has 24.
    fn octets(topics: impl Iterator<Item = usize>) -> usize {
        let mut naming = Naming::default();
        let cost = |topic: usize| {
            let topic = format!("a topic of 24 octets{topic:04}");
            match naming.name(&topic, 32, 65_535) {
                Name::Whole => 24,
                Name::Alias(_) => 3,
                Name::New(alias) => {
                    assert!((1..=32).contains(&alias), "[MQTT5-3.1.2-26]");
                    naming.set(alias, &topic);
                    24 + 3
                }
            }
        };
        topics.map(cost).sum()
    }

    #[test]
    fn topics_that_come_again_are_named_by_their_aliases() {
        assert_eq!(octets((0..1_000).map(|n| n % 10)), 10 * 27 + 990 * 3);
    }

    #[test]
    fn a_round_of_too_many_topics_does_not_drive_out_all() {
        let fair = 32 * 3 + 8 * 24;
        let actual = octets((0..40_000).map(|n| n % 40)) / 1_000;
        assert!(actual <= fair + fair / 20, "{actual} octets a round, {fair} if none goes");
    }

    #[test]
    fn topics_that_have_fallen_silent_make_room() {
        let mut rng = fastrand::Rng::with_seed(1);
        let topics = (0..20_000).map(|n| (n / 10_000) * 1_000 + rng.usize(0..30));
        let actual = octets(topics) / 200;
        assert!(actual < 340, "{actual} octets for a hundred messages");
    }

    #[test]
    fn topics_that_never_come_again_cost_their_names() {
        assert_eq!(octets(0..5_000), 5_000 * 24 + 32 * 3);
    }

    #[test]
    fn topics_are_bounded_in_sum() {
        let mut naming = Naming::default();
        assert_eq!(naming.name("12345678", 9, 16), Name::New(1));
        naming.set(1, "12345678");
        assert_eq!(naming.name("123456789", 9, 16), Name::Whole);
        assert_eq!(naming.name("abcdefgh", 9, 16), Name::New(2));
        naming.set(2, "abcdefgh");
        assert_eq!(naming.name("12345678", 9, 16), Name::Alias(1));
        assert!(naming.memory() >= 16 + 2 * size_of::<Named>());
    }

    /// What was proposed and not said is no alias.
    #[test]
    fn an_alias_has_to_be_said() {
        let mut naming = Naming::default();
        assert_eq!(naming.name("a/topic/1", 1, 99), Name::New(1));
        assert_eq!(naming.name("a/topic/1", 1, 99), Name::New(1));
    }
}
