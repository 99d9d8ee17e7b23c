//! Predefined topic ids, and what they meant before (SN 6.7, SN-068).
//!
//! Client and gateway know such an id in advance, so nothing on the wire tells when one of the two
//! has learnt another meaning. When the operator gives an id another topic, or takes it away, while
//! a sensor is connected or asleep, its next reading would land under a topic that it does not
//! mean. So what an id means to a client, it means until the client connects again: that is when a
//! device with another table begins. An id that meant nothing to it gets its meaning at once.
//!
//! A table in which an id lost or changed its meaning is followed by a new one; the earlier ones
//! are kept as long as a client goes by them, and are few ([`TABLES_MAX`]).

use std::collections::{BTreeMap, VecDeque};

use broker_core::topic::{TopicBuf, TopicName};

use super::peer::Peer;

/// Tables that are kept. An operator who has changed meanings so often while one sensor stayed
/// connected is told to wait for it.
const TABLES_MAX: usize = 8;

/// Topics by their ids.
pub(super) type Topics = BTreeMap<u16, TopicBuf>;

/// Counts the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

/// What ids mean, to every client and to single ones.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) for_all: Topics,
    /// They go before those of every client.
    pub(super) for_one: BTreeMap<String, Topics>,
}

impl Table {
    fn meaning(&self, client_id: &str, id: u16) -> Option<TopicName<'_>> {
        let own = self.for_one.get(client_id).and_then(|own| own.get(&id));
        own.or_else(|| self.for_all.get(&id)).map(TopicBuf::as_name)
    }

    /// Whether every id that means something here means the same there.
    fn lives_on_in(&self, next: &Self) -> bool {
        let all_stay = self.for_all.iter().all(|(id, topic)| next.for_all.get(id) == Some(topic));
        let own_stay = self.for_one.iter().all(|(client_id, own)| {
            own.iter().all(|(id, topic)| {
                next.meaning(client_id, *id).is_some_and(|next| next == topic.as_name())
            })
        });
        // One that is new for a client may be known to it as one of all.
        let new_ones_differ = next.for_one.iter().any(|(client_id, own)| {
            own.iter().any(|(id, topic)| {
                self.meaning(client_id, *id).is_some_and(|known| known != topic.as_name())
            })
        });
        all_stay && own_stay && !new_ones_differ
    }
}

/// All tables that somebody goes by.
#[derive(Debug)]
pub(super) struct Predefined {
    /// Oldest first; the last one is the present one.
    tables: VecDeque<Table>,
    /// Of the first of them.
    first: Generation,
}

impl Predefined {
    pub(super) fn new(table: Table) -> Self {
        Self { tables: VecDeque::from([table]), first: Generation::default() }
    }

    /// The present table.
    pub(super) fn generation(&self) -> Generation {
        Generation(self.first.0 + self.tables.len() as u64 - 1)
    }

    /// What an id means to a client.
    pub(super) fn of(&self, peer: &Peer, id: u16) -> Option<TopicName<'_>> {
        self.meaning(&peer.client_id, peer.predefined_since, id)
    }

    /// What an id means to a client that connected when that table held: the first meaning that it
    /// has had since.
    pub(super) fn meaning(
        &self,
        client_id: &str,
        since: Generation,
        id: u16,
    ) -> Option<TopicName<'_>> {
        let known = since.0.saturating_sub(self.first.0);
        let tables = self.tables.iter().skip(usize::try_from(known).unwrap_or(usize::MAX));
        tables.map(|table| table.meaning(client_id, id)).find(Option::is_some).flatten()
    }

    /// What an id means to somebody without a session.
    pub(super) fn of_anybody(&self, id: u16) -> Option<TopicName<'_>> {
        self.tables.back()?.for_all.get(&id).map(TopicBuf::as_name)
    }

    /// Another table from now on. `oldest` is the earliest one that a connected client goes by.
    /// `false`: nothing changes, because clients go by too many earlier ones.
    pub(super) fn replace(&mut self, table: Table, oldest: Option<Generation>) -> bool {
        let needed_from = oldest.unwrap_or_else(|| Generation(self.generation().0 + 1));
        while self.first < needed_from && self.tables.len() > 1 {
            self.tables.pop_front();
            self.first.0 += 1;
        }
        let present = self.tables.back_mut().expect("there is always one");
        if present.lives_on_in(&table) {
            *present = table;
            return true;
        }
        if self.tables.len() >= TABLES_MAX {
            return false;
        }
        self.tables.push_back(table);
        if oldest.is_none() {
            self.tables.pop_front();
            self.first.0 += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `client id topic`, with `*` for all.
    fn table(entries: &[(&str, u16, &str)]) -> Table {
        let mut table = Table::default();
        for (client_id, id, topic) in entries {
            let topics = match *client_id {
                "*" => &mut table.for_all,
                one => table.for_one.entry(one.to_owned()).or_default(),
            };
            topics.insert(*id, TopicBuf::from(TopicName::new(topic).expect("a good name")));
        }
        table
    }

    fn says(predefined: &Predefined, since: Generation, client_id: &str, id: u16) -> String {
        let meaning = predefined.meaning(client_id, since, id);
        meaning.map_or_else(|| "-".to_owned(), |topic| topic.as_str().to_owned())
    }

    #[test]
    fn what_an_id_meant_it_means_until_the_client_comes_again() {
        let mut predefined = Predefined::new(table(&[("*", 1, "a"), ("*", 2, "b"), ("n", 3, "c")]));
        let old = predefined.generation();
        let next = table(&[("*", 1, "b"), ("n", 3, "d"), ("*", 4, "e"), ("n", 2, "own")]);
        assert!(predefined.replace(next, Some(old)));
        let new = predefined.generation();
        let heard = |since| [1, 2, 3, 4].map(|id| says(&predefined, since, "n", id));
        assert_eq!(heard(old), ["a", "b", "c", "e"], "4 meant nothing before");
        assert_eq!(heard(new), ["b", "own", "d", "e"]);
        assert_eq!(predefined.of_anybody(1).map(|topic| topic.as_str()), Some("b"));
        assert_eq!(predefined.of_anybody(2), None, "nobody else knows it any more");
        // Taken away, given anew, and added at last: the first meaning since counts.
        assert!(predefined.replace(table(&[("*", 4, "f"), ("*", 5, "g")]), Some(old)));
        let heard = |since| [1, 4, 5].map(|id| says(&predefined, since, "n", id));
        assert_eq!(heard(old), ["a", "e", "g"]);
        assert_eq!(heard(new), ["b", "e", "g"]);
        assert_eq!(heard(predefined.generation()), ["-", "f", "g"]);
    }

    #[test]
    fn additions_need_no_table_of_their_own_and_old_ones_go_when_nobody_needs_them() {
        let mut predefined = Predefined::new(table(&[("*", 1, "a")]));
        let first = predefined.generation();
        assert!(predefined.replace(table(&[("*", 1, "a"), ("n", 1, "a"), ("*", 2, "b")]), None));
        assert_eq!(predefined.generation(), first);
        // The same topic, as one of all.
        assert!(predefined.replace(table(&[("*", 1, "a"), ("*", 2, "b")]), Some(first)));
        assert_eq!((predefined.generation(), predefined.tables.len()), (first, 1));
        // One client gets another meaning.
        assert!(
            predefined.replace(table(&[("*", 1, "a"), ("n", 1, "z"), ("*", 2, "b")]), Some(first))
        );
        assert_eq!(predefined.tables.len(), 2);
        assert_eq!(says(&predefined, first, "n", 1), "a");
        assert_eq!(says(&predefined, predefined.generation(), "n", 1), "z");
        assert!(predefined.replace(table(&[]), None));
        assert_eq!(predefined.tables.len(), 1);
        assert_eq!(says(&predefined, predefined.generation(), "n", 1), "-");
    }

    #[test]
    fn there_are_so_many_tables_and_no_more() {
        let mut predefined = Predefined::new(table(&[("*", 1, "0")]));
        let first = predefined.generation();
        for n in 1..TABLES_MAX {
            assert!(predefined.replace(table(&[("*", 1, &n.to_string())]), Some(first)));
        }
        let last = predefined.generation();
        assert!(!predefined.replace(table(&[("*", 1, "more")]), Some(first)));
        assert_eq!(says(&predefined, last, "n", 1), (TABLES_MAX - 1).to_string());
        assert_eq!(says(&predefined, first, "n", 1), "0");
        // The client has come again.
        assert!(predefined.replace(table(&[("*", 1, "more")]), Some(last)));
        assert_eq!(says(&predefined, predefined.generation(), "n", 1), "more");
        assert_eq!(says(&predefined, last, "n", 1), (TABLES_MAX - 1).to_string());
    }
}
