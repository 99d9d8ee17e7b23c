//! Where the records stand that live.
//!
//! Numbers of records count upwards, so neighbours come and go together. The index keeps 64 of them
//! in a page: a new record mostly goes to the end of a page that was just used, and what is looked
//! up by hash, and has to be arranged anew as it grows, is a 64th of the whole.

use std::collections::{BTreeSet, HashMap};

use broker_core::journal::RecordKey;

/// Records with the same number but for so many bits share a page.
const PAGE_BITS: u32 = 6;

/// Room for so many records is kept though few are left.
const KEPT_ROOM: usize = 4;

/// Where the operation that put a record stands, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
}

/// The places of all records, about 20 octets each.
#[derive(Debug, Default)]
pub(super) struct Index {
    pages: HashMap<u64, Page, foldhash::fast::RandomState>,
    len: usize,
}

/// The records of a page that live, by their place in it.
#[derive(Debug, Default)]
struct Page(Vec<(u8, Place)>);

impl Index {
    /// How many records there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: RecordKey) -> Option<Place> {
        let (page, slot) = split(key);
        let Page(places) = self.pages.get(&page)?;
        let position = places.binary_search_by_key(&slot, |held| held.0).ok()?;
        Some(places[position].1)
    }

    /// Notes where a record stands, and returns where it stood.
    pub(super) fn insert(&mut self, key: RecordKey, place: Place) -> Option<Place> {
        let (page, slot) = split(key);
        let Page(places) = self.pages.entry(page).or_default();
        if places.last().is_none_or(|(last, _)| *last < slot) {
            places.push((slot, place));
        } else {
            match places.binary_search_by_key(&slot, |held| held.0) {
                Ok(position) => {
                    return Some(core::mem::replace(&mut places[position].1, place));
                }
                Err(position) => places.insert(position, (slot, place)),
            }
        }
        self.len += 1;
        None
    }

    /// Forgets a record, and returns where it stood.
    pub(super) fn remove(&mut self, key: RecordKey) -> Option<Place> {
        let (page, slot) = split(key);
        let Page(places) = self.pages.get_mut(&page)?;
        let position = places.binary_search_by_key(&slot, |held| held.0).ok()?;
        let (_, place) = places.remove(position);
        self.len -= 1;
        if places.is_empty() {
            self.pages.remove(&page);
        } else if places.capacity() > KEPT_ROOM.max(4 * places.len()) {
            places.shrink_to(KEPT_ROOM.max(2 * places.len()));
        }
        Some(place)
    }

    /// Forgets all records.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The tables that there are records of, in their order.
    pub(super) fn tables(&self) -> BTreeSet<u8> {
        self.pages.keys().map(|page| key(*page, 0).table()).collect()
    }

    /// The records of a table, in no order.
    pub(super) fn of_table(&self, table: u8) -> Vec<(RecordKey, Place)> {
        let pages = self.pages.iter().filter(|(page, _)| key(**page, 0).table() == table);
        let records = pages.flat_map(|(page, Page(places))| {
            places.iter().map(|(slot, place)| (key(*page, *slot), *place))
        });
        records.collect()
    }
}

const fn split(key: RecordKey) -> (u64, u8) {
    (key.0 >> PAGE_BITS, (key.0 & ((1 << PAGE_BITS) - 1)) as u8)
}

const fn key(page: u64, slot: u8) -> RecordKey {
    RecordKey(page << PAGE_BITS | slot as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn place(offset: u32) -> Place {
        Place { file: 1, offset, len: 12 }
    }

    #[test]
    fn pages_that_are_left_give_their_room_back() {
        let mut index = Index::default();
        let keys: Vec<_> = (0..64).map(|number| RecordKey::new(7, number)).collect();
        for key in &keys {
            assert_eq!(index.insert(*key, place(1)), None);
        }
        for key in &keys[1..] {
            assert_eq!(index.remove(*key), Some(place(1)));
        }
        assert_eq!((index.len(), index.pages.len()), (1, 1));
        assert!(index.pages.values().all(|Page(places)| places.capacity() <= 2 * KEPT_ROOM));
        assert_eq!(index.remove(keys[0]), Some(place(1)));
        assert_eq!((index.len(), index.pages.len()), (0, 0));
    }

    proptest! {
        /// The index knows what a plain map knows.
        #[test]
        fn an_index_is_a_map(
            ops in prop::collection::vec((0_u8..3, 0_u64..200, any::<Option<u32>>()), 0..400),
        ) {
            let mut index = Index::default();
            let mut map = BTreeMap::new();
            for (table, number, offset) in ops {
                let key = RecordKey::new(table, number);
                let (old, expected) = match offset {
                    Some(offset) => {
                        (index.insert(key, place(offset)), map.insert(key, place(offset)))
                    }
                    None => (index.remove(key), map.remove(&key)),
                };
                prop_assert_eq!(old, expected);
                prop_assert_eq!(index.get(key), map.get(&key).copied());
                prop_assert_eq!(index.len(), map.len());
            }
            let mut all = Vec::new();
            for table in index.tables() {
                all.extend(index.of_table(table));
            }
            all.sort_unstable_by_key(|(key, _)| *key);
            prop_assert_eq!(all, map.into_iter().collect::<Vec<_>>());
        }
    }
}
