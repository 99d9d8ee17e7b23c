//! The topic ids that the gateway gave out, and the names behind them.
//!
//! A name learned from any of REGACK, SUBACK and the gateway's own REGISTER serves both
//! directions: there is one space of ids for each client (SN-056).

use std::collections::BTreeMap;

/// Octets that all names together may take, each counted twice because there are two maps. A
/// gateway that registers more is refused, so that it cannot fill this process.
const BYTES_MAX: usize = 32 << 20;

/// What an entry costs beside its name.
const ENTRY_BYTES: usize = 128;

fn cost(name: &str) -> usize {
    2 * name.len() + ENTRY_BYTES
}

/// Names by id, and ids by name.
#[derive(Debug, Default)]
pub(super) struct Topics {
    names: BTreeMap<u16, String>,
    ids: BTreeMap<String, u16>,
    bytes: usize,
}

/// There is no room for another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Topics {
    /// `id` stands for `name` from now on. Some gateways give a name several ids; all of them stay,
    /// and the latest is the one to publish with.
    pub(super) fn learn(&mut self, id: u16, name: &str) -> Result<(), Full> {
        self.forget(id);
        if self.bytes + cost(name) > BYTES_MAX {
            return Err(Full);
        }
        self.bytes += cost(name);
        self.names.insert(id, name.to_owned());
        self.ids.insert(name.to_owned(), id);
        Ok(())
    }

    /// `id` stands for nothing any more.
    pub(super) fn forget(&mut self, id: u16) {
        let Some(name) = self.names.remove(&id) else { return };
        self.bytes -= cost(&name);
        if self.ids.get(&name) == Some(&id) {
            self.ids.remove(&name);
        }
    }

    pub(super) fn name(&self, id: u16) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    pub(super) fn id(&self, name: &str) -> Option<u16> {
        self.ids.get(name).copied()
    }
}

/// Whether a number can be a topic id: 0x0000 and 0xFFFF are reserved (SN 5.3.11).
pub(super) const fn is_topic_id(id: u16) -> bool {
    !matches!(id, 0x0000 | 0xFFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stands_for_the_name_it_was_given_last() {
        let mut topics = Topics::default();
        topics.learn(1, "a").expect("room");
        topics.learn(2, "a").expect("room");
        assert_eq!(
            (topics.name(1), topics.name(2), topics.id("a")),
            (Some("a"), Some("a"), Some(2))
        );
        topics.learn(2, "b").expect("room");
        assert_eq!((topics.name(1), topics.name(2)), (Some("a"), Some("b")));
        assert_eq!((topics.id("a"), topics.id("b")), (None, Some(2)));
        topics.forget(1);
        topics.forget(2);
        assert_eq!((topics.name(1), topics.name(2), topics.bytes), (None, None, 0));
    }

    #[test]
    fn names_are_bounded_by_their_octets() {
        let mut topics = Topics::default();
        let name = |id: u16| format!("{id:065000}");
        let fit = (1..).take_while(|id| topics.learn(*id, &name(*id)).is_ok()).count();
        assert_eq!(fit, BYTES_MAX / (2 * 65_000 + ENTRY_BYTES));
        topics.forget(1);
        assert_eq!(topics.learn(9_999, &name(9_999)), Ok(()));
        assert_eq!(topics.learn(9_998, &name(9_998)), Err(Full));
        assert!(topics.bytes <= BYTES_MAX);
    }
}
