//! The topic ids of one client (D2).
//!
//! Per session, lowest numbers first, never one that is a predefined number too, never a number
//! twice while the session lives (SN-105). A name has one id, however it came to it. What a client
//! knows of its ids in its present connection is remembered, so that a name is registered with it
//! no more often than needed (SN-059).

use std::collections::BTreeSet;

use broker_core::topic::TopicName;

use super::names::{NameId, Names};
use super::recorder::Batch;

/// The numbers that may be given out: 0x0000 and 0xFFFF are reserved (SN-012).
pub(super) const FIRST: u16 = 0x0001;
pub(super) const LAST: u16 = 0xFFFE;

/// Octets of names that a client may have for each id that it may have. Names are shorter than
/// that, nearly all of them; without a bound a client could make each as long as a datagram.
const NAME_BYTES_PER_ID: usize = 256;

/// What the client thinks of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has to be registered before it is used.
    Unknown,
    /// The client knows it in this connection.
    Known,
    /// The client does not want the name, or does not answer when told of it.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: NameId,
    id: u16,
    standing: Standing,
}

/// Ids and names of one client.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// In the order of the ids.
    entries: Vec<Entry>,
    /// The same in the order of the names: where in `entries`.
    by_name: Vec<(NameId, u16)>,
    name_bytes: usize,
    /// Whether the client has ever answered a REGISTER, so that it can.
    answers_register: bool,
    /// Counts the connections of the session.
    connection: u32,
    /// Where new ids were recorded last, and the lowest id of those that were not durable then.
    recorded_in: Batch,
    new_from: u16,
}

/// No id is left for this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Registry {
    /// The id of a name, given out if the name has none yet (SN-055); a new one stands as
    /// `standing`. `is_predefined` tells numbers that must not be given out.
    pub(super) fn assign(
        &mut self,
        topic: TopicName<'_>,
        names: &mut Names,
        ids_max: u16,
        standing: Standing,
        is_predefined: impl Fn(u16) -> bool,
    ) -> Result<u16, Exhausted> {
        if let Some((id, _)) = self.find(topic, names) {
            return Ok(id);
        }
        let name_bytes = self.name_bytes + topic.as_str().len();
        let ids_max = usize::from(ids_max);
        if self.entries.len() >= ids_max || name_bytes > ids_max * NAME_BYTES_PER_ID {
            return Err(Exhausted);
        }
        let mut id = self.entries.last().map_or(FIRST, |entry| entry.id.saturating_add(1));
        while id <= LAST && is_predefined(id) {
            id += 1;
        }
        if id > LAST {
            return Err(Exhausted);
        }
        let name = names.keep(topic);
        let position = u16::try_from(self.entries.len()).map_err(|_| Exhausted)?;
        self.entries.push(Entry { name, id, standing });
        let place = self.by_name.partition_point(|(other, _)| *other < name);
        self.by_name.insert(place, (name, position));
        self.name_bytes = name_bytes;
        Ok(id)
    }

    /// The name behind an id.
    pub(super) fn name(&self, id: u16) -> Option<NameId> {
        self.position(id).map(|position| self.entries[position].name)
    }

    /// The id of a name, and what the client thinks of it.
    pub(super) fn find(&self, topic: TopicName<'_>, names: &Names) -> Option<(u16, Standing)> {
        let name = names.find(topic)?;
        let place = self.by_name.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        let entry = &self.entries[usize::from(self.by_name[place].1)];
        Some((entry.id, entry.standing))
    }

    pub(super) fn standing(&self, id: u16) -> Option<Standing> {
        self.position(id).map(|position| self.entries[position].standing)
    }

    /// Returns whether the id stood otherwise before.
    pub(super) fn set_standing(&mut self, id: u16, standing: Standing) -> bool {
        let Some(position) = self.position(id) else { return false };
        core::mem::replace(&mut self.entries[position].standing, standing) != standing
    }

    /// The client answered a REGISTER.
    pub(super) const fn answered(&mut self) {
        self.answers_register = true;
    }

    pub(super) const fn answers_register(&self) -> bool {
        self.answers_register
    }

    /// A new connection in the same session: ids stay, but whether the client still knows them will
    /// have to show (SN-059). What it refused, it refused for the session.
    pub(super) fn begin_connection(&mut self) {
        self.connection = self.connection.wrapping_add(1);
        for entry in &mut self.entries {
            entry.standing = match entry.standing {
                Standing::Refused => Standing::Refused,
                Standing::Unknown | Standing::Known => Standing::Unknown,
            };
        }
    }

    /// Forgets everything: the session ended.
    pub(super) fn clear(&mut self, names: &mut Names) {
        for entry in core::mem::take(self).entries {
            names.release(entry.name);
        }
    }

    /// The number of the present connection in its session.
    pub(super) const fn connection(&self) -> u32 {
        self.connection
    }

    /// All ids, in their order.
    pub(super) fn ids(&self) -> impl Iterator<Item = u16> {
        self.entries.iter().map(|entry| entry.id)
    }

    /// The batch that an id became durable with, or is to; 0 is the batch of one that was before.
    pub(super) const fn batch_of(&self, id: u16) -> Batch {
        if id < self.new_from { Batch::NONE } else { self.recorded_in }
    }

    /// A new id was recorded. Ids are given out upwards, so a range and the batch of its latest
    /// tell of all: the earlier ones among them wait a little longer than they would have to.
    pub(super) const fn new_recorded_in(&mut self, id: u16, batch: Batch, are_durable: bool) {
        if are_durable {
            self.new_from = id;
        }
        self.recorded_in = batch;
    }

    /// All ids were recorded.
    pub(super) const fn all_recorded_in(&mut self, batch: Batch) {
        (self.new_from, self.recorded_in) = (FIRST, batch);
    }

    /// Where new ids were recorded last.
    pub(super) const fn recorded_in(&self) -> Batch {
        self.recorded_in
    }

    /// The ids that were kept come next, in any order.
    pub(super) const fn begin_restore(&mut self, connection: u32, answers_register: bool) {
        self.connection = connection;
        self.answers_register = answers_register;
    }

    /// Takes an id that was kept.
    pub(super) fn restore(
        &mut self,
        id: u16,
        name: NameId,
        topic: TopicName<'_>,
        standing: Standing,
    ) {
        self.entries.push(Entry { name, id, standing });
        self.name_bytes += topic.as_str().len();
    }

    /// All ids have come. Returns those whose name has another one; there are none unless somebody
    /// else wrote the records.
    pub(super) fn finish_restore(&mut self, names: &Names) -> Vec<(u16, NameId)> {
        self.entries.sort_unstable_by_key(|entry| entry.id);
        self.by_name.clear();
        let mut doubled = Vec::new();
        let mut seen = BTreeSet::new();
        self.entries.retain(|entry| {
            let is_first = seen.insert(entry.name);
            if !is_first {
                doubled.push((entry.id, entry.name));
            }
            is_first
        });
        for (_, name) in &doubled {
            self.name_bytes -= names.get(*name).as_str().len();
        }
        let positions = self.entries.iter().zip(0..=u16::MAX);
        self.by_name.extend(positions.map(|(entry, position)| (entry.name, position)));
        self.by_name.sort_unstable();
        doubled
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Octets of memory held.
    pub(super) const fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.by_name.capacity() * size_of::<(NameId, u16)>()
    }

    fn position(&self, id: u16) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
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
            registry.assign(name(text), &mut names, 3, Standing::Unknown, |id| id == 2)
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
            let text = format!("{expected:x}");
            let id =
                registry.assign(name(&text), &mut names, u16::MAX, Standing::Unknown, |_| false);
            assert_eq!(id, Ok(expected));
        }
        let more =
            registry.assign(name("more"), &mut names, u16::MAX, Standing::Unknown, |_| false);
        assert_eq!(more, Err(Exhausted));
        assert_eq!((registry.name(0x0000), registry.name(0xFFFF)), (None, None));
        for id in [FIRST, 0x1234, LAST] {
            let text = format!("{id:x}");
            assert_eq!(registry.find(name(&text), &names), Some((id, Standing::Unknown)));
        }
    }

    #[test]
    fn names_of_a_client_take_only_so_much_memory() {
        // 256 octets for each id that it may have; the second length uses them up exactly.
        for (len, expect) in [(1_000, 25), (1_024, 25), (1_025, 24)] {
            let (mut names, mut registry) = (Names::new(1), Registry::default());
            let assigned = (0..100).take_while(|n| {
                let text = format!("{n:0len$}");
                registry.assign(name(&text), &mut names, 100, Standing::Unknown, |_| false).is_ok()
            });
            assert_eq!(assigned.count(), expect, "names of {len} octets");
        }
    }

    #[test]
    fn what_the_client_knows_is_forgotten_with_the_connection_and_the_ids_are_not() {
        let (mut names, mut registry) = (Names::new(1), Registry::default());
        let mut assign = |registry: &mut Registry, text| {
            registry.assign(name(text), &mut names, 9, Standing::Unknown, |_| false)
        };
        let known = assign(&mut registry, "a").expect("there is room");
        let refused = assign(&mut registry, "b").expect("there is room");
        assert!(registry.set_standing(known, Standing::Known));
        assert!(!registry.set_standing(known, Standing::Known));
        registry.set_standing(refused, Standing::Refused);
        assert_eq!(registry.find(name("a"), &names), Some((known, Standing::Known)));
        registry.begin_connection();
        assert_eq!(registry.find(name("a"), &names), Some((known, Standing::Unknown)));
        assert_eq!(registry.find(name("b"), &names), Some((refused, Standing::Refused)));
        registry.clear(&mut names);
        assert_eq!((registry.len(), names.find(name("a"))), (0, None));
    }

    /// Lists grow by doubling, so they hold up to twice what is in them.
    #[test]
    fn a_registry_tells_what_memory_it_holds() {
        let (mut names, mut registry) = (Names::new(1), Registry::default());
        assert_eq!(registry.memory(), 0);
        for n in 0..100 {
            let id =
                registry
                    .assign(name(&n.to_string()), &mut names, 100, Standing::Unknown, |_| false);
            assert_eq!(id, Ok(n + 1));
        }
        let held = 100 * (size_of::<Entry>() + size_of::<(NameId, u16)>());
        assert!((held..=2 * held).contains(&registry.memory()), "{}", registry.memory());
    }

    /// Two ids of one name, which only somebody else could have written.
    #[test]
    fn a_name_that_comes_back_twice_takes_room_once() {
        let (mut names, mut registry) = (Names::new(1), Registry::default());
        for (id, text) in [(1, "a"), (2, "four"), (3, "four")] {
            let kept = names.keep(name(text));
            registry.restore(id, kept, name(text), Standing::Unknown);
        }
        let doubled = registry.finish_restore(&names);
        assert_eq!(doubled.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [3]);
        assert_eq!((registry.name_bytes, registry.len()), (5, 2));
        assert_eq!(registry.find(name("four"), &names), Some((2, Standing::Unknown)));
    }

    #[test]
    fn the_last_id_is_not_given_out_if_it_is_predefined() {
        for (is_predefined, expect) in [(false, Ok(LAST)), (true, Err(Exhausted))] {
            let (mut names, mut registry) = (Names::new(1), Registry::default());
            let kept = names.keep(name("a"));
            registry.restore(LAST - 1, kept, name("a"), Standing::Unknown);
            registry.finish_restore(&names);
            let assigned =
                registry.assign(name("b"), &mut names, 9, Standing::Unknown, |_| is_predefined);
            assert_eq!(assigned, expect);
        }
    }
}
