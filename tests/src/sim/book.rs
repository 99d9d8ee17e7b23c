//! Who publishes what: everything about a publication follows from who published it and its number.
//!
//! So nobody has to remember a publication to judge it, and a payload that was made up by a broken
//! device is told from a real one. A payload is `party | number | check | padding`.

use std::fmt::{self, Write};

use super::kind::{Kind, TopicForm};
use super::will_parts;
use super::wire::Version;

/// Sensors come first, MQTT clients after them.
pub(crate) type Party = u32;

/// Numbers from here on are wills.
pub(crate) const WILL_NUMBER: u32 = 1 << 31;

/// Groups that topics are sorted by.
pub(crate) const GROUPS: u32 = 16;

/// Predefined topic ids, from 1 on.
pub(crate) const PREDEFINED: u16 = 8;

/// Octets of a payload without padding.
const HEAD: usize = 12;

/// The name of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Publication {
    pub(crate) party: Party,
    pub(crate) number: u32,
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "publication {} of party {}", self.number, self.party)
    }
}

impl Publication {
    pub(crate) const fn is_will(self) -> bool {
        self.number >= WILL_NUMBER
    }
}

/// What a publication is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// 3 stands for −1.
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Publications of a party keep their order within such a class.
    pub(crate) class: u8,
}

/// The parties of a world.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) seed: u64,
    pub(crate) sensors: u32,
    pub(crate) clients: u32,
    /// Forwarders, and how many of a hundred sensors are nodes behind one of them.
    pub(crate) forwarders: u32,
    pub(crate) nodes_percent: u64,
    /// Sensors are of these kinds in turn.
    pub(crate) kinds: Vec<Kind>,
    /// Publications of MQTT clients at QoS 0, 1 and 2.
    pub(crate) client_qos: [bool; 3],
    /// One for each MQTT client.
    pub(crate) voices: Vec<Voice>,
}

/// How an MQTT client speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    pub(crate) version: Version,
    /// Octets of padding in its payloads, at most.
    pub(crate) padding_max: usize,
}

impl Book {
    pub(crate) fn kind(&self, sensor: Party) -> &Kind {
        &self.kinds[sensor as usize % self.kinds.len()]
    }

    /// The forwarder that a sensor begins behind, if it does.
    pub(crate) fn forwarder(&self, sensor: Party) -> Option<u8> {
        let hash = self.hash(Publication { party: sensor, number: u32::MAX });
        (hash % 100 < self.nodes_percent).then(|| self.nearest(sensor)).flatten()
    }

    /// The forwarder that a sensor can reach.
    pub(crate) fn nearest(&self, sensor: Party) -> Option<u8> {
        let forwarder = sensor.checked_rem(self.forwarders)?;
        u8::try_from(forwarder).ok()
    }

    /// Whether any sensors subscribe.
    pub(crate) fn has_listeners(&self) -> bool {
        self.kinds.iter().any(|kind| !kind.wishes.is_empty())
    }

    pub(crate) const fn is_sensor(&self, party: Party) -> bool {
        party < self.sensors
    }

    fn voice(&self, client: Party) -> Voice {
        self.voices[(client - self.sensors) as usize]
    }

    /// What an MQTT client speaks.
    pub(crate) fn version(&self, client: Party) -> Version {
        self.voice(client).version
    }

    /// A number that follows from the seed, a party and a number.
    pub(crate) fn hash(&self, publication: Publication) -> u64 {
        let Publication { party, number } = publication;
        let mut x = self.seed ^ (u64::from(party) << 32 | u64::from(number));
        for _ in 0..2 {
            x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        }
        x ^ x >> 31
    }

    pub(crate) fn manner(&self, publication: Publication) -> Manner {
        let party = publication.party;
        if self.is_sensor(party) {
            let kind = self.kind(party);
            let every = kind.retain_every;
            let retain = every > 0 && publication.number.is_multiple_of(every);
            return Manner { qos: kind.qos, retain, class: 0 };
        }
        let hash = self.hash(publication);
        let allowed: Vec<u8> = (0..3).filter(|qos| self.client_qos[usize::from(*qos)]).collect();
        let qos = allowed[(hash >> 8) as usize % allowed.len()];
        let topic = self.client_topic(publication);
        let class = qos << 4 | topic.class();
        Manner { qos, retain: matches!(topic, ClientTopic::Own(_)), class }
    }

    /// The QoS of a will; the lower one if an update may have changed it.
    pub(crate) fn will_qos(&self, will: Publication) -> u8 {
        if self.is_sensor(will.party) {
            let kind = self.kind(will.party);
            let first = kind.will.unwrap_or_default();
            let (second, _) = will_parts::manner(first, will_parts::SECOND);
            return if kind.changes_will { first.0.min(second) } else { first.0 };
        }
        1
    }

    /// The topic name, written over `text`.
    pub(crate) fn topic(&self, publication: Publication, text: &mut String) {
        let Publication { party, .. } = publication;
        text.clear();
        let written = if publication.is_will() {
            write!(text, "w/{party}")
        } else if self.is_sensor(party) {
            match self.kind(party).topic {
                TopicForm::Name => write!(text, "s/{}/{party}", party % GROUPS),
                TopicForm::Short => write!(text, "{}", short_name(party)),
                TopicForm::Predefined => write!(text, "pre/{}", predefined_id(party)),
            }
        } else {
            match self.client_topic(publication) {
                ClientTopic::All => write!(text, "c/all"),
                ClientTopic::Group(group) => write!(text, "c/g{group}/temperature"),
                ClientTopic::One(sensor) => write!(text, "c/{sensor}"),
                ClientTopic::Short(sensor) => write!(text, "{}", short_name(sensor)),
                ClientTopic::Predefined(id) => write!(text, "pre/{id}"),
                ClientTopic::Own(place) => write!(text, "r/{party}/{place}/state"),
            }
        };
        written.expect("a string has room");
    }

    fn client_topic(&self, publication: Publication) -> ClientTopic {
        let hash = self.hash(publication);
        let place = u32::try_from(hash >> 40).expect("24 bits");
        match hash % 8 {
            0 => ClientTopic::All,
            1 => ClientTopic::Group(place % GROUPS),
            2 => ClientTopic::Short(place % 4),
            3 => ClientTopic::Predefined(1 + u16::try_from(place % 4).expect("below four")),
            4 => ClientTopic::Own(place % 4),
            _ => ClientTopic::One(place % self.sensors.clamp(1, 64)),
        }
    }

    /// The payload, with so many octets of padding as its hash and `padding_max` say.
    pub(crate) fn payload(&self, publication: Publication, padding_max: usize) -> Vec<u8> {
        let hash = self.hash(publication);
        let padding = (hash >> 20) as usize % (padding_max + 1);
        let mut payload = Vec::with_capacity(HEAD + padding);
        payload.extend(publication.party.to_be_bytes());
        payload.extend(publication.number.to_be_bytes());
        payload.extend(check(hash));
        payload.resize(HEAD + padding, b'.');
        payload
    }

    /// Octets of its payload.
    pub(crate) fn payload_len(&self, publication: Publication) -> usize {
        let party = publication.party;
        let padding_max = match self.is_sensor(party) {
            true => self.kind(party).padding_max,
            false if publication.is_will() => 0,
            false => self.voice(party).padding_max,
        };
        HEAD + (self.hash(publication) >> 20) as usize % (padding_max + 1)
    }

    /// Whose payload it is, if it is anybody's.
    pub(crate) fn read(&self, payload: &[u8]) -> Option<Publication> {
        let number = |at: usize| {
            payload
                .get(at..at + 4)
                .and_then(|octets| octets.try_into().ok())
                .map(u32::from_be_bytes)
        };
        let publication = Publication { party: number(0)?, number: number(4)? };
        let is_whole = payload[HEAD.min(payload.len())..].iter().all(|octet| *octet == b'.');
        let hash = self.hash(publication);
        let is_real = payload.get(8..HEAD) == Some(check(hash).as_slice());
        (is_real && is_whole && publication.party < self.sensors + self.clients)
            .then_some(publication)
    }
}

/// Where an MQTT client publishes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientTopic {
    All,
    Group(u32),
    One(u32),
    Short(u32),
    Predefined(u16),
    /// Nobody else publishes there, so it can be retained.
    Own(u32),
}

impl ClientTopic {
    /// A different one for topics between which no order is promised.
    const fn class(self) -> u8 {
        match self {
            Self::All => 0,
            Self::Group(_) => 1,
            Self::One(_) => 2,
            Self::Short(_) => 3,
            Self::Predefined(_) => 4,
            Self::Own(_) => 5,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a check sum is a part of a hash")]
const fn check(hash: u64) -> [u8; 4] {
    (hash as u32).to_be_bytes()
}

/// A number that tells payloads apart.
pub(crate) fn check_sum(payload: &[u8]) -> u64 {
    payload.iter().fold(0xCBF2_9CE4_8422_2325, |sum, octet| {
        (sum ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// The short topic name of a party.
pub(crate) fn short_name(party: Party) -> String {
    let letter = |number: u32| char::from(b'a' + u8::try_from(number % 26).expect("below 26"));
    format!("{}{}", letter(party), letter(party / 26 % 2))
}

/// The predefined topic id of a party.
pub(crate) fn predefined_id(party: Party) -> u16 {
    1 + u16::try_from(party % u32::from(PREDEFINED)).expect("below eight")
}
