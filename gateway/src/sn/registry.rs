//! The topic ids of one client (D2).
//!
//! Per session, lowest numbers first, never one that is a predefined number too, never a number twice
//! while the session lives. A name has one id, however it came to it. What a client knows of its ids
//! in its present connection is remembered, so that a name is registered with it no more often than
//! needed (SN-059).

use super::names::{NameId, Names};
use broker_core::topic::TopicName;

/// The numbers that may be given out: 0x0000 and 0xFFFF are reserved (SN-012).
const FIRST: u16 = 0x0001;
const LAST: u16 = 0xFFFE;

/// What the client thinks of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has to be registered before it is used.
    Unknown,
    /// The client knows it in this connection.
    Known,
    /// The client does not want the name, or never answered when told of it.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: NameId,
    id: u16,
    standing: Standing,
}

/// Ids and names of one client, in the order of the ids.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: Vec<Entry>,
}

/// No id is left for this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Registry {
    /// The id of a name, given out if the name has none yet (SN-055). `is_predefined` tells numbers
    /// that must not be given out.
    pub(super) fn assign(
        &mut self,
        topic: TopicName<'_>,
        names: &mut Names,
        ids_max: u16,
        is_predefined: impl Fn(u16) -> bool,
    ) -> Result<u16, Exhausted> {
        if let Some(name) = names.find(topic)
            && let Some(entry) = self.entries.iter().find(|entry| entry.name == name)
        {
            return Ok(entry.id);
        }
        if self.entries.len() >= usize::from(ids_max) {
            return Err(Exhausted);
        }
        let mut id = self.entries.last().map_or(FIRST, |entry| entry.id.saturating_add(1));
        while is_predefined(id) && id <= LAST {
            id += 1;
        }
        if id > LAST {
            return Err(Exhausted);
        }
        let name = names.keep(topic);
        self.entries.push(Entry { name, id, standing: Standing::Unknown });
        Ok(id)
    }

    /// The name behind an id.
    pub(super) fn name(&self, id: u16) -> Option<NameId> {
        self.entry(id).map(|entry| entry.name)
    }

    /// The id of a name, and what the client thinks of it.
    pub(super) fn find(&self, topic: TopicName<'_>, names: &Names) -> Option<(u16, Standing)> {
        let name = names.find(topic)?;
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some((entry.id, entry.standing))
    }

    pub(super) fn set_standing(&mut self, id: u16, standing: Standing) {
        if let Ok(position) = self.entries.binary_search_by_key(&id, |entry| entry.id) {
            self.entries[position].standing = standing;
        }
    }

    /// A new connection in the same session: ids stay, but whether the client still knows them will
    /// have to show (SN-059).
    pub(super) fn begin_connection(&mut self) {
        for entry in &mut self.entries {
            entry.standing = Standing::Unknown;
        }
    }

    /// Forgets everything: the session ended.
    pub(super) fn clear(&mut self, names: &mut Names) {
        for entry in core::mem::take(&mut self.entries) {
            names.release(entry.name);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Octets of memory held.
    pub(super) const fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    fn entry(&self, id: u16) -> Option<&Entry> {
        let position = self.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        Some(&self.entries[position])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName<'_> {
        TopicName::new(text).expect("a good name")
    }

    #[test]
    fn ids_count_upwards_and_a_name_keeps_its_own() {
        let (mut names, mut registry) = (Names::new(1), Registry::default());
        let mut assign = |registry: &mut Registry, text| {
            registry.assign(name(text), &mut names, 3, |id| id == 2)
        };
        assert_eq!(assign(&mut registry, "a"), Ok(1));
        assert_eq!(assign(&mut registry, "b"), Ok(3), "2 is a predefined number");
        assert_eq!(assign(&mut registry, "a"), Ok(1));
        assert_eq!(assign(&mut registry, "c"), Ok(4));
        assert_eq!(assign(&mut registry, "d"), Err(Exhausted));
        assert_eq!(assign(&mut registry, "b"), Ok(3), "a known name has room");
    }

    #[test]
    fn all_65_534_ids_are_given_out_once_and_no_more() {
        let (mut names, mut registry) = (Names::new(1), Registry::default());
        for expected in FIRST..=LAST {
            let text = format!("t/{expected}");
            let id = registry.assign(name(&text), &mut names, u16::MAX, |_| false);
            assert_eq!(id, Ok(expected));
        }
        let more = registry.assign(name("more"), &mut names, u16::MAX, |_| false);
        assert_eq!(more, Err(Exhausted));
        assert_eq!(registry.name(0x0000), None);
        assert_eq!(registry.name(0xFFFF), None);
    }

    #[test]
    fn what_the_client_knows_is_forgotten_with_the_connection_and_the_ids_are_not() {
        let (mut names, mut registry) = (Names::new(1), Registry::default());
        let id = registry.assign(name("a"), &mut names, 9, |_| false).expect("there is room");
        registry.set_standing(id, Standing::Known);
        assert_eq!(registry.find(name("a"), &names), Some((id, Standing::Known)));
        registry.begin_connection();
        assert_eq!(registry.find(name("a"), &names), Some((id, Standing::Unknown)));
        registry.clear(&mut names);
        assert_eq!((registry.len(), names.find(name("a"))), (0, None));
    }
}
