//! Topic aliases that a client has set (MQTT 5.0).

use super::error::Fault;
use crate::topic::{TopicBuf, TopicName};

/// The aliases of one connection, with which they end [MQTT5-3.3.2-7].
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// At alias − 1; as long as the highest alias in use.
    topics: Vec<Option<TopicBuf>>,
    /// Octets of all names.
    bytes: usize,
}

impl Aliases {
    /// Gives `alias`, which may be anything from 1 to the maximum [MQTT5-3.3.2-12], a meaning.
    /// Copies the name only if it is a new one.
    pub(super) fn set(
        &mut self,
        alias: u16,
        topic: TopicName<'_>,
        bytes_max: usize,
    ) -> Result<(), Fault> {
        let place = usize::from(alias) - 1;
        if self.topics.len() <= place {
            self.topics.resize(place + 1, None);
        }
        let place = &mut self.topics[place];
        let old_len = match place {
            Some(old) if old.as_name() == topic => return Ok(()),
            Some(old) => old.as_name().as_str().len(),
            None => 0,
        };
        let bytes = self.bytes - old_len + topic.as_str().len();
        if bytes > bytes_max {
            return Err(Fault::AliasesTooLong { max: bytes_max });
        }
        *place = Some(TopicBuf::from(topic));
        self.bytes = bytes;
        Ok(())
    }

    /// What `alias` means.
    pub(super) fn get(&self, alias: u16) -> Result<TopicName<'_>, Fault> {
        let topic = usize::from(alias).checked_sub(1).and_then(|place| self.topics.get(place));
        match topic {
            Some(Some(topic)) => Ok(topic.as_name()),
            Some(None) | None => Err(Fault::AliasUnknown(alias)),
        }
    }

    /// Octets held on the heap, this struct included.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.topics.capacity() * size_of::<Option<TopicBuf>>() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName<'_> {
        TopicName::new(text).expect("a good name")
    }

    /// [MQTT5-3.3.2-12]
    #[test]
    fn an_alias_means_what_it_was_set_to_last() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.get(3), Err(Fault::AliasUnknown(3)));
        aliases.set(3, name("a/b"), 100).expect("there is room");
        aliases.set(1, name("c"), 100).expect("there is room");
        assert_eq!(aliases.get(3), Ok(name("a/b")));
        assert_eq!(aliases.get(2), Err(Fault::AliasUnknown(2)));
        aliases.set(3, name("d"), 100).expect("there is room");
        assert_eq!(aliases.get(3), Ok(name("d")));
        assert_eq!(aliases.get(1), Ok(name("c")));
    }

    #[test]
    fn names_are_bounded_in_sum_and_a_replaced_one_does_not_count() {
        let mut aliases = Aliases::default();
        aliases.set(1, name("12345"), 8).expect("there is room");
        aliases.set(2, name("678"), 8).expect("there is just room");
        assert_eq!(aliases.set(2, name("6789"), 8), Err(Fault::AliasesTooLong { max: 8 }));
        aliases.set(1, name("1234"), 8).expect("one octet less");
        aliases.set(2, name("6789"), 8).expect("one octet more");
        assert_eq!(
            aliases.memory() - Aliases::default().memory(),
            8 + 16 * aliases.topics.capacity()
        );
    }
}
