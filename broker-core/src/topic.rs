//! Topic names and topic filters.
//!
//! Both are parsed once, where they enter, into types that cannot hold a malformed one; nobody
//! behind the edge checks again. Neither is ever normalised: `a//b`, `/a` and `A` are what they are
//! [MQTT-4.7.3-4].

use core::fmt;

/// The longest topic name or filter, in octets [MQTT-4.7.3-3].
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// Why a string is not a topic name or not a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// It has no characters [MQTT-4.7.3-1].
    Empty,
    /// It has more than 65,535 octets [MQTT-4.7.3-3].
    TooLong,
    /// It is not well-formed UTF-8 [MQTT-1.5.3-1].
    NotUtf8,
    /// It holds U+0000 [MQTT-4.7.3-2].
    Nul,
    /// A name holds `+` or `#` [MQTT-3.3.2-2], [MQTT-4.7.1-1].
    Wildcard,
    /// A filter holds `#` elsewhere than alone in its last level [MQTT-4.7.1-2].
    MisplacedHash,
    /// A filter holds `+` beside other characters of its level [MQTT-4.7.1-3].
    MisplacedPlus,
    /// A filter begins with `$share/` and lacks a share name or a filter behind it [MQTT5-4.8.2-1].
    Share,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it has more than 65,535 octets",
            Self::NotUtf8 => "it is not well-formed UTF-8",
            Self::Nul => "it holds the character U+0000",
            Self::Wildcard => "a topic name cannot hold the wildcards + and #",
            Self::MisplacedHash => "# stands alone in the last level or not at all",
            Self::MisplacedPlus => "+ stands alone in its level or not at all",
            Self::Share => "a shared subscription is $share/NAME/FILTER",
        })
    }
}

impl core::error::Error for TopicError {}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    Ok(())
}

/// A well-formed topic name: what a message is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Parses a name. One pass over its octets.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_text(text)?;
        // Without an early end the loop takes many octets at a time.
        let is_bad = |octet: u8| matches!(octet, 0 | b'+' | b'#');
        if !text.bytes().fold(false, |bad, octet| bad | is_bad(octet)) {
            return Ok(Self(text));
        }
        Err(if text.contains('\0') { TopicError::Nul } else { TopicError::Wildcard })
    }

    /// Parses a name from octets that nobody has looked at yet.
    pub fn from_octets(octets: &'a [u8]) -> Result<Self, TopicError> {
        Self::new(core::str::from_utf8(octets).map_err(|_| TopicError::NotUtf8)?)
    }

    /// The name as text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Its levels from left to right; there is always at least one, and a level may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone {
        Levels { rest: Some(self.0) }
    }

    /// Whether it begins with `$`: such topics are the server's own [MQTT-4.7.2-1].
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A [`TopicName`] that owns its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicBuf(Box<str>);

impl TopicBuf {
    /// The name, borrowed; costs nothing.
    pub fn as_name(&self) -> TopicName<'_> {
        TopicName(&self.0)
    }
}

impl core::borrow::Borrow<str> for TopicBuf {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<TopicName<'_>> for TopicBuf {
    fn from(name: TopicName<'_>) -> Self {
        Self(name.0.into())
    }
}

/// A well-formed topic filter: what is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicFilter<'a> {
    /// Parses a filter. One pass over its octets.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_text(text)?;
        if text.contains('\0') {
            return Err(TopicError::Nul);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(TopicError::MisplacedHash);
            }
            if level.contains('+') && level != "+" {
                return Err(TopicError::MisplacedPlus);
            }
        }
        let filter = Self(text);
        if text.starts_with("$share/") && filter.share().is_none() {
            return Err(TopicError::Share);
        }
        Ok(filter)
    }

    /// Parses a filter from octets that nobody has looked at yet.
    pub fn from_octets(octets: &'a [u8]) -> Result<Self, TopicError> {
        Self::new(core::str::from_utf8(octets).map_err(|_| TopicError::NotUtf8)?)
    }

    /// The filter as text, as it was given.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Its levels from left to right.
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone {
        Levels { rest: Some(self.0) }
    }

    /// Whether it holds a wildcard, that is whether it can match more than one name.
    pub fn has_wildcard(self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// The share name and the filter behind it, if this is a shared subscription [MQTT5-4.8.2-2].
    pub fn share(self) -> Option<(&'a str, Self)> {
        let (name, filter) = self.0.strip_prefix("$share/")?.split_once('/')?;
        let well_formed = !name.is_empty() && !name.contains(['+', '#']) && !filter.is_empty();
        well_formed.then_some((name, Self(filter)))
    }

    /// Whether `name` matches, said as plainly as possible: the oracle that the trie and the
    /// retained store are tested against.
    pub fn matches(self, name: TopicName<'_>) -> bool {
        // A wildcard in the first level does not reach the server's own topics [MQTT-4.7.2-1].
        if name.is_reserved() && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = name.levels();
        for wanted in self.levels() {
            match (wanted, levels.next()) {
                // `#` also matches the level above it.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (literal, Some(level)) if literal == level => {}
                (_, _) => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The pieces between the slashes. Levels are short, so looking at one octet after the other finds
/// their ends sooner than a search made for long texts.
#[derive(Clone, Debug)]
struct Levels<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let Some(end) = text.bytes().position(|octet| octet == b'/') else {
            return self.rest.take();
        };
        self.rest = Some(&text[end + 1..]);
        Some(&text[..end])
    }
}

/// Whether `text` has more than `levels_max` levels. One pass over its octets.
pub fn is_deeper_than(text: &str, levels_max: usize) -> bool {
    // Most texts have not even as many octets.
    text.len() >= levels_max && text.bytes().filter(|octet| *octet == b'/').count() >= levels_max
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_match(filter: &str, name: &str, expect: bool) {
        let filter = TopicFilter::new(filter).expect("a good filter");
        let name = TopicName::new(name).expect("a good name");
        assert_eq!(filter.matches(name), expect, "{filter} against {name}");
    }

    /// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.1-3]
    #[test]
    fn filters_match_as_the_examples_of_the_standard_say() {
        for (filter, name, expect) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "sport/tennis", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("a//b", "a//b", true),
            ("a/b", "a//b", false),
            ("A", "a", false),
        ] {
            check_match(filter, name, expect);
        }
    }

    /// [MQTT-4.7.2-1]
    #[test]
    fn a_leading_wildcard_does_not_reach_the_servers_own_topics() {
        check_match("#", "$SYS/broker/version", false);
        check_match("+/broker/version", "$SYS/broker/version", false);
        check_match("$SYS/#", "$SYS/broker/version", true);
        check_match("$SYS/+/version", "$SYS/broker/version", true);
        check_match("a/+", "a/$b", true);
    }

    #[test]
    fn ill_formed_filters_are_told_apart() {
        for (filter, error) in [
            ("", TopicError::Empty),
            ("a/#/b", TopicError::MisplacedHash),
            ("a#", TopicError::MisplacedHash),
            ("#/", TopicError::MisplacedHash),
            ("a+/b", TopicError::MisplacedPlus),
            ("a/++", TopicError::MisplacedPlus),
            ("a\0b", TopicError::Nul),
            ("$share/g", TopicError::Share),
            ("$share//a", TopicError::Share),
            ("$share/g/", TopicError::Share),
            ("$share/+/a", TopicError::Share),
        ] {
            assert_eq!(TopicFilter::new(filter), Err(error), "{filter:?}");
        }
        let long = "a".repeat(TOPIC_BYTES_MAX);
        assert!(TopicFilter::new(&long).is_ok());
        assert_eq!(TopicFilter::new(&(long + "a")), Err(TopicError::TooLong));
    }

    /// [MQTT-3.3.2-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-1.5.3-1]
    #[test]
    fn ill_formed_names_are_told_apart() {
        for (name, error) in [
            (&b""[..], TopicError::Empty),
            (b"a/+", TopicError::Wildcard),
            (b"#", TopicError::Wildcard),
            (b"a\0", TopicError::Nul),
            (b"a\xED\xA0\x80", TopicError::NotUtf8),
            (b"\xFF", TopicError::NotUtf8),
        ] {
            assert_eq!(TopicName::from_octets(name), Err(error), "{name:?}");
        }
    }

    /// [MQTT-1.5.3-3]
    #[test]
    fn a_byte_order_mark_is_a_character_like_any_other() {
        let name = TopicName::from_octets(b"\xEF\xBB\xBFa").expect("U+FEFF is allowed");
        assert_eq!(name.as_str().len(), 4);
    }

    #[test]
    fn depth_is_counted_in_levels() {
        assert!(!is_deeper_than("a/b/c", 3));
        assert!(is_deeper_than("a/b/c/", 3));
    }
}
