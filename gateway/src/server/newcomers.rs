//! Connections that have not said who they are.
//!
//! They stand in the order in which they came, which is the order of their deadlines. Whoever says
//! who it is, or goes, leaves a gap in that order; the gaps are closed from the front and, when
//! there are more of them than newcomers, everywhere.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

use broker_core::hash::{self, HashMap};
use broker_core::key::Key;
use broker_core::time::Instant;

use super::tcp::TcpLink;

/// Gaps that are not worth closing.
const GAPS_MAX: usize = 64;

/// Bits of an IPv6 address that tell one site from another; within it a host has as many
/// addresses as it likes.
const SITE_BITS: u32 = 64;

/// One connection: when it came, and which it is.
type Entry = (Instant, Key<TcpLink>);

/// Who a connection comes from, as far as limits are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(IpAddr::V4(ip)),
            IpAddr::V6(ip) => {
                let site = u128::from(ip) >> SITE_BITS << SITE_BITS;
                Self(IpAddr::V6(Ipv6Addr::from(site)))
            }
        }
    }
}

/// The connections that are still to say who they are.
pub(super) struct Newcomers {
    queue: VecDeque<Entry>,
    count: usize,
    by_source: HashMap<Source, u32>,
}

impl Newcomers {
    pub(super) fn new(seed: u64) -> Self {
        Self { queue: VecDeque::new(), count: 0, by_source: hash::map(seed) }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// How many of them come from one source.
    pub(super) fn from(&self, source: Source) -> u32 {
        self.by_source.get(&source).copied().unwrap_or(0)
    }

    /// Adds a connection that came now. `is_new` tells whether one still stands here.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        key: Key<TcpLink>,
        source: Source,
        is_new: impl Fn(Key<TcpLink>) -> bool,
    ) {
        self.queue.push_back((now, key));
        self.count += 1;
        *self.by_source.entry(source).or_insert(0) += 1;
        if self.queue.len() > 2 * self.count + GAPS_MAX {
            self.queue.retain(|(_, key)| is_new(*key));
        }
    }

    /// A connection has said who it is, or is gone: `is_new` must not hold for it any more.
    pub(super) fn leave(&mut self, source: Source, is_new: impl Fn(Key<TcpLink>) -> bool) {
        self.count -= 1;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
        while self.queue.front().is_some_and(|(_, key)| !is_new(*key)) {
            self.queue.pop_front();
        }
    }

    /// The one that has waited longest, and since when.
    pub(super) fn oldest(&self) -> Option<Entry> {
        self.queue.front().copied()
    }

    /// The one that has waited longest of those that `is_meant` chooses, if it came at `came_by` or
    /// before. Looks at no more than `steps` of them.
    pub(super) fn find(
        &self,
        came_by: Instant,
        steps: usize,
        is_meant: impl Fn(Key<TcpLink>) -> bool,
    ) -> Option<Key<TcpLink>> {
        let old = self.queue.iter().take(steps).take_while(|(came, _)| *came <= came_by);
        old.map(|(_, key)| *key).find(|key| is_meant(*key))
    }

    /// How many came at `came_by` or before, up to `max`.
    pub(super) fn count(
        &self,
        came_by: Instant,
        max: usize,
        is_new: impl Fn(Key<TcpLink>) -> bool,
    ) -> usize {
        let old = self.queue.iter().take_while(|(came, _)| *came <= came_by);
        old.filter(|(_, key)| is_new(*key)).take(max).count()
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.queue.capacity() * size_of::<Entry>() + self.by_source.capacity() * 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key(index: u32) -> Key<TcpLink> {
        Key::from_parts(index, 0)
    }

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn a_site_of_ipv6_is_one_source_and_an_address_of_ipv4_too() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::2"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
    }

    #[test]
    fn the_oldest_is_found_past_those_that_left() {
        let mut newcomers = Newcomers::new(1);
        let mut new = BTreeSet::new();
        for index in 0..10 {
            new.insert(index);
            let is_new = |key: Key<TcpLink>| new.contains(&key.index());
            newcomers.enter(at(u64::from(index)), key(index), source("192.0.2.1"), is_new);
        }
        for index in [1, 2, 0] {
            new.remove(&index);
            newcomers.leave(source("192.0.2.1"), |key| new.contains(&key.index()));
        }
        assert_eq!(newcomers.oldest(), Some((at(3), key(3))));
        assert_eq!((newcomers.len(), newcomers.from(source("192.0.2.1"))), (7, 7));
        let is_new = |key: Key<TcpLink>| new.contains(&key.index());
        assert_eq!(newcomers.count(at(6), 100, is_new), 4);
        assert_eq!(newcomers.count(at(6), 2, is_new), 2);
        assert_eq!(newcomers.find(at(9), 100, |key| key.index() > 4), Some(key(5)));
        assert_eq!(newcomers.find(at(4), 100, |key| key.index() > 4), None);
        assert_eq!(newcomers.find(at(9), 2, |key| key.index() > 4), None);
    }

    /// One that never says who it is, and many that do at once.
    #[test]
    fn gaps_are_closed_when_there_are_many() {
        let mut newcomers = Newcomers::new(1);
        let mut new = BTreeSet::new();
        for index in 0..10_000 {
            new.insert(index);
            let is_new = |key: Key<TcpLink>| new.contains(&key.index());
            newcomers.enter(at(1), key(index), source("192.0.2.1"), is_new);
            if index > 0 {
                new.remove(&index);
                newcomers.leave(source("192.0.2.1"), |key| new.contains(&key.index()));
            }
        }
        assert!(newcomers.queue.len() <= 2 + GAPS_MAX, "{} entries", newcomers.queue.len());
        assert_eq!(newcomers.oldest(), Some((at(1), key(0))));
    }
}
