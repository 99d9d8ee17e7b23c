//! What publications of MQTT 5.0 carry besides topic and payload: it follows from who published
//! what, so that every receiver can tell whether it is as it was.

use super::book::{Book, Publication};
use super::wire5::{Properties, Writer};

/// The longest interval after which a publication expires, in seconds.
pub(crate) const EXPIRY_S_MAX: u32 = 2_000;

/// Properties that go from application to application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Message Expiry Interval, as the publisher says it.
    pub(crate) expiry_s: Option<u32>,
    format: Option<u8>,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation: Option<[u8; 3]>,
    pub(crate) user: Vec<(String, String)>,
}

impl Book {
    /// Those of a publication; none if its publisher speaks something else.
    pub(crate) fn extras(&self, publication: Publication) -> Extras {
        if self.is_sensor(publication.party) || !self.version(publication.party).is_5() {
            return Extras::default();
        }
        let hash = self.hash(publication).rotate_left(17).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let part = |shift: u32| u32::try_from(hash >> shift & 0xFF).expect("eight bits");
        let expiry_s = match part(0) % 8 {
            // A will lasts as long as its watcher may be away.
            0..4 if publication.is_will() => Some(EXPIRY_S_MAX),
            0 | 1 => Some(1 + part(8) % 20),
            2 | 3 => Some(100 + part(8) * 7),
            _ => None,
        };
        let has = |shift: u32| part(shift) % 3 == 0;
        let user = (0..part(56) % 3).map(|place| {
            // The same key may come twice, and their order counts.
            let key = ["k", "key of a user"][part(16 + place) as usize % 2];
            (key.to_owned(), format!("{}:{place}", publication.number))
        });
        Extras {
            expiry_s,
            format: has(16).then_some(u8::from(part(16) > 127)),
            content_type: has(24).then(|| format!("text/{}", part(24))),
            response_topic: has(32).then(|| format!("answers/{}", publication.party)),
            correlation: has(40).then(|| [0, 0xFF, part(40).to_be_bytes()[3]]),
            user: user.collect(),
        }
    }

    /// What is left of the time of a publication when it is published, in milliseconds.
    pub(crate) fn life_ms(&self, publication: Publication) -> Option<u64> {
        self.extras(publication).expiry_s.map(|seconds| u64::from(seconds) * 1_000)
    }
}

impl Extras {
    pub(crate) fn write(&self, writer: &mut Writer) {
        if let Some(seconds) = self.expiry_s {
            writer.u32(0x02, seconds);
        }
        self.write_fixed(writer);
    }

    /// All but the expiry, which is less and less.
    fn write_fixed(&self, writer: &mut Writer) {
        if let Some(format) = self.format {
            writer.u8(0x01, format);
        }
        if let Some(text) = &self.content_type {
            writer.binary(0x03, text.as_bytes());
        }
        if let Some(topic) = &self.response_topic {
            writer.binary(0x08, topic.as_bytes());
        }
        if let Some(octets) = &self.correlation {
            writer.binary(0x09, octets);
        }
        for (key, value) in &self.user {
            writer.pair(0x26, key.as_bytes(), value.as_bytes());
        }
    }

    /// Octets of all of them in a packet.
    pub(crate) fn len(&self) -> usize {
        let mut writer = Writer::default();
        self.write(&mut writer);
        writer.len()
    }

    /// Whether there is nothing to be passed on.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What of it a receiver was told otherwise, the expiry apart.
    pub(crate) fn difference(&self, found: &Properties<'_>) -> Option<&'static str> {
        let text = |text: &'_ Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        let octets = |octets: Option<&[u8]>| octets.map(<[u8]>::to_vec);
        let own = self.user.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        let has_users = own.eq(found.user.iter().copied());
        let checks = [
            (has_users, "its user properties are not those that it had"),
            (self.format == found.format, "its payload format indicator changed"),
            (text(&self.content_type) == octets(found.content_type), "its content type changed"),
            (
                text(&self.response_topic) == octets(found.response_topic),
                "its response topic changed",
            ),
            (
                self.correlation.map(|it| it.to_vec()) == octets(found.correlation),
                "its correlation data changed",
            ),
            (self.expiry_s.is_some() == found.message_expiry_s.is_some(), "its expiry is not told"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
    }
}
