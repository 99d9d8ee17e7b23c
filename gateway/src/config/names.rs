//! Client ids, topic names and paths, checked when they are read.

use std::fmt;
use std::path::{Path, PathBuf};

use super::setting::{Mistake, Word, clip};

/// The longest text that MQTT can carry, in octets.
const TEXT_BYTES_MAX: usize = 65_535;

/// The id of one client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(pub(super) String);

impl ClientId {
    /// Whether the id has at most `most` bytes, the limit `client_id_bytes`.
    pub(super) fn check(&self, most: u16) -> Result<(), Mistake> {
        let bytes = self.0.len();
        if bytes <= most.into() {
            return Ok(());
        }
        Err(Mistake::new(
            format!("the client id has {bytes} bytes"),
            format!("write at most limits.client_id_bytes ({most})"),
        ))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for ClientId {
    fn expected() -> String {
        "a client id".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let right = "write the id that the client connects with";
        match text {
            "" => Err(Mistake::new("a client id is empty", right)),
            "*" => Err(Mistake::new("\"*\" is not the id of one client", right)),
            _ if text.len() > TEXT_BYTES_MAX || text.contains('\0') => {
                Err(Mistake::new(format!("\"{}\" cannot be a client id", clip(text)), right))
            }
            _ => Ok(Self(text.into())),
        }
    }
}

/// Every client, or one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Clients {
    All,
    One(ClientId),
}

impl Clients {
    /// The one client.
    pub(super) fn one(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::One(client) => Some(client.0),
        }
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::One(client) => client.fmt(f),
        }
    }
}

impl Word for Clients {
    fn expected() -> String {
        "\"*\" or a client id".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        match text {
            "*" => Ok(Self::All),
            _ => ClientId::parse(text).map(Self::One),
        }
    }
}

/// Where a web page comes from, as a browser tells it: `SCHEME://HOST` with or without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin(String);

impl Origin {
    /// What pages without an origin send, those of a file for example.
    const OPAQUE: &str = "null";
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for Origin {
    fn expected() -> String {
        "\"SCHEME://HOST\" or \"SCHEME://HOST:PORT\"".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let is_plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"/*\\".contains(&b))
        };
        let is_origin =
            text.split_once("://").is_some_and(|(scheme, host)| is_plain(scheme) && is_plain(host));
        if is_origin || text == Self::OPAQUE {
            return Ok(Self(text.into()));
        }
        let right = "write what the browser shows before the path: \"https://example.org\"";
        Err(Mistake::new(format!("\"{}\" is not the origin of a page", clip(text)), right))
    }
}

/// A topic name that can be published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic(pub(super) String);

impl Topic {
    /// How many levels the name has.
    pub(super) fn levels(&self) -> usize {
        self.0.split('/').count()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for Topic {
    fn expected() -> String {
        "a topic name without wildcards".into()
    }

    /// [MQTT-4.7.1-1], [MQTT-4.7.3-1] to [MQTT-4.7.3-3].
    fn parse(text: &str) -> Result<Self, Mistake> {
        let mistake = |what: String, right: &str| Err(Mistake::new(what, right));
        if text.is_empty() {
            return mistake("a topic name is empty".into(), "write at least one character");
        }
        if text.contains(['+', '#']) {
            return mistake(
                format!("\"{}\" has a wildcard, which is for subscriptions", clip(text)),
                "write one topic name without + and #",
            );
        }
        if text.contains('\0') {
            let what = format!("\"{}\" has the character U+0000", clip(text));
            return mistake(what, "leave it out: MQTT cannot carry it");
        }
        if text.len() > TEXT_BYTES_MAX {
            let what = format!("the topic name has {} bytes", text.len());
            return mistake(what, "write at most 65535: MQTT cannot carry more");
        }
        Ok(Self(text.into()))
    }
}

/// A path of the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath(PathBuf);

impl FilePath {
    /// The path, where a relative one starts at `base`.
    pub(super) fn under(&self, base: &Path) -> PathBuf {
        base.join(&self.0)
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Word for FilePath {
    fn expected() -> String {
        "a path".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        if text.is_empty() || text.contains('\0') {
            return Err(Mistake::new(
                format!("\"{}\" is not a path", clip(text)),
                "write the path of a file or folder",
            ));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: Word + fmt::Debug>(text: &str) -> String {
        let Mistake { what, right } = T::parse(text).expect_err(text);
        format!("{what} | {right}")
    }

    #[test]
    fn a_topic_name_is_what_can_be_published_to() {
        for text in ["a", "/", "a/b/c", "$SYS/x", "ä b", &"x".repeat(65_535)] {
            assert_eq!(Topic::parse(text), Ok(Topic(text.into())));
        }
        assert_eq!(
            refused::<Topic>("a/+/b"),
            "\"a/+/b\" has a wildcard, which is for subscriptions | write one topic name without \
             + and #"
        );
        assert_eq!(
            refused::<Topic>("a#"),
            "\"a#\" has a wildcard, which is for subscriptions | write one topic name without + \
             and #"
        );
        assert_eq!(refused::<Topic>(""), "a topic name is empty | write at least one character");
        assert_eq!(
            refused::<Topic>("a\0b"),
            "\"a\\0b\" has the character U+0000 | leave it out: MQTT cannot carry it"
        );
        assert_eq!(
            refused::<Topic>(&"x".repeat(65_536)),
            "the topic name has 65536 bytes | write at most 65535: MQTT cannot carry more"
        );
    }

    #[test]
    fn a_star_is_every_client_where_that_is_possible() {
        assert_eq!(Clients::parse("*"), Ok(Clients::All));
        assert_eq!(Clients::parse("dev1"), Ok(Clients::One(ClientId("dev1".into()))));
        assert_eq!(
            refused::<ClientId>("*"),
            "\"*\" is not the id of one client | write the id that the client connects with"
        );
        assert_eq!(
            refused::<Clients>(""),
            "a client id is empty | write the id that the client connects with"
        );
        assert_eq!(
            refused::<ClientId>("a\0"),
            "\"a\\0\" cannot be a client id | write the id that the client connects with"
        );
    }

    #[test]
    fn a_relative_path_starts_at_the_folder_of_the_file() {
        let base = Path::new("/etc/gateway");
        let check = |text, expect: &str| {
            assert_eq!(FilePath::parse(text).expect(text).under(base), Path::new(expect));
        };
        check("topics.csv", "/etc/gateway/topics.csv");
        check("/srv/topics.csv", "/srv/topics.csv");
        assert_eq!(
            refused::<FilePath>(""),
            "\"\" is not a path | write the path of a file or folder"
        );
    }
}
