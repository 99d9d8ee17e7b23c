//! All CONNECTs that are not answered yet, within bounds.
//!
//! Anybody can begin one in anybody's name. Those that wait for a client (its will, or the owner of
//! its id) have a bound of their own, so that they cannot shut out the plain ones, which wait for
//! the broker only.

use broker_core::key::{Arena, Key};
use broker_core::timer::TimerId;

use super::connect::{Handshake, Stage};

/// Octets of client ids and wills that all of them may hold together.
const BYTES_MAX: usize = 4 << 20;

/// There is no room for another one, or for a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
pub(super) struct Handshakes {
    arena: Arena<Handshake>,
    bytes: usize,
    /// Those that wait for the broker.
    confirming: usize,
    /// How many may wait for a client, and how many for the broker.
    each_max: usize,
}

impl Handshakes {
    /// Another bound; those beyond it stay.
    pub(super) const fn set_max(&mut self, each_max: usize) {
        self.each_max = each_max;
    }

    pub(super) fn new(each_max: usize) -> Self {
        Self { arena: Arena::new(), bytes: 0, confirming: 0, each_max }
    }

    pub(super) const fn len(&self) -> usize {
        self.arena.len()
    }

    /// Adds one; `waits` tells whether it will wait for a client.
    pub(super) fn insert(
        &mut self,
        handshake: Handshake,
        waits: bool,
    ) -> Result<Key<Handshake>, Full> {
        let waiting = self.arena.len() - self.confirming;
        let is_full = if waits { waiting } else { self.confirming } >= self.each_max;
        let bytes = self.bytes + handshake.memory();
        if is_full || bytes > BYTES_MAX {
            return Err(Full);
        }
        self.bytes = bytes;
        Ok(self.arena.insert(handshake))
    }

    pub(super) fn get(&self, key: Key<Handshake>) -> Option<&Handshake> {
        self.arena.get(key)
    }

    /// What is changed must not take more memory; [`Handshakes::change`] is for that.
    pub(super) fn get_mut(&mut self, key: Key<Handshake>) -> Option<&mut Handshake> {
        self.arena.get_mut(key)
    }

    /// Changes one, and counts what it takes then.
    pub(super) fn change(
        &mut self,
        key: Key<Handshake>,
        change: impl FnOnce(&mut Handshake),
    ) -> Result<(), Full> {
        let handshake = self.arena.get_mut(key).expect("a handshake that is there");
        self.bytes -= handshake.memory();
        change(handshake);
        self.bytes += handshake.memory();
        if self.bytes > BYTES_MAX { Err(Full) } else { Ok(()) }
    }

    /// One waits for the broker from now on. Returns the timer that supervised the client.
    pub(super) fn confirm(&mut self, key: Key<Handshake>) -> Option<TimerId> {
        self.confirming += 1;
        self.arena.get(key).and_then(Handshake::timer)
    }

    pub(super) fn remove(&mut self, key: Key<Handshake>) -> Option<Handshake> {
        let handshake = self.arena.remove(key)?;
        self.bytes -= handshake.memory();
        self.confirming -= usize::from(matches!(handshake.stage(), Stage::Confirming(_)));
        Some(handshake)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<Handshake>, &Handshake)> {
        self.arena.iter()
    }

    /// Octets of memory held.
    pub(super) const fn memory(&self) -> usize {
        self.arena.places() * size_of::<Handshake>() + self.bytes
    }

    /// Whether the counts are those of what is there.
    pub(super) fn is_consistent(&self) -> bool {
        let bytes: usize = self.arena.iter().map(|(_, handshake)| handshake.memory()).sum();
        let is_confirming =
            |handshake: &Handshake| matches!(handshake.stage(), Stage::Confirming(_));
        let confirming = self.arena.iter().filter(|(_, handshake)| is_confirming(handshake));
        (bytes, confirming.count()) == (self.bytes, self.confirming)
    }
}
