//! A will is published when it is due, then only, and once (SN 6.3, 6.12, 6.14).
//!
//! For each party it is known from which moment on its will may be published, if it is not heard
//! again, and by when it has to be.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Party, Publication};

/// How much earlier than computed a will may come.
const EARLY_MS: u64 = 100;

/// How much later: one that finds no room at a subscriber waits for thirty seconds.
const LATE_MS: u64 = 35_000;

/// A connection with a will.
#[derive(Clone, Copy, Debug)]
struct Armed {
    number: u32,
    /// When the silence of the client becomes too long.
    due: u64,
    /// The latest moment at which the gateway notices.
    noticed_by: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Wills {
    /// Who watches all wills, if somebody does.
    pub(crate) watcher: Option<Party>,
    armed: BTreeMap<Party, Armed>,
    /// Wills that may have been published by now, and by when they have to be, if they have to.
    loose: BTreeMap<Publication, Option<u64>>,
    seen: BTreeSet<Publication>,
}

impl Wills {
    /// A connection with this will begins; another one of the party has ended with that.
    pub(crate) fn arm(&mut self, will: Publication, now: u64, silence_ms: u64) {
        self.end(will.party, now);
        let due = now + silence_ms;
        let armed = Armed { number: will.number, due, noticed_by: due };
        self.armed.insert(will.party, armed);
    }

    /// The client was heard: its silence may last so long from now on.
    pub(crate) fn heard(&mut self, party: Party, now: u64, silence_ms: u64, visit_ms: u64) {
        self.let_go(party, now);
        if let Some(armed) = self.armed.get_mut(&party) {
            armed.due = now + silence_ms;
            armed.noticed_by = now + silence_ms.max(visit_ms);
        }
    }

    /// The silence was too long: the will is loose.
    fn let_go(&mut self, party: Party, now: u64) {
        let Some(armed) = self.armed.get(&party).copied() else { return };
        if now + EARLY_MS < armed.due {
            return;
        }
        let is_sure = now > armed.noticed_by + EARLY_MS;
        let will = Publication { party, number: armed.number };
        self.loose.insert(will, is_sure.then_some(armed.noticed_by + LATE_MS));
        if is_sure {
            self.armed.remove(&party);
        }
    }

    /// The connection ended in a way that publishes nothing: DISCONNECT, or another CONNECT.
    pub(crate) fn end(&mut self, party: Party, now: u64) {
        self.let_go(party, now);
        self.armed.remove(&party);
    }

    /// The connection ended in a way that publishes the will.
    pub(crate) fn lost(&mut self, party: Party, now: u64) {
        if let Some(armed) = self.armed.remove(&party) {
            let will = Publication { party, number: armed.number };
            self.loose.insert(will, Some(now + LATE_MS));
        }
    }

    /// A subscriber was given a will.
    pub(crate) fn delivered(
        &mut self,
        to: Party,
        will: Publication,
        now: u64,
    ) -> Result<(), &'static str> {
        self.let_go(will.party, now);
        if !self.loose.contains_key(&will) {
            return Err("its will was published and was not due");
        }
        if self.watcher == Some(to) && !self.seen.insert(will) {
            return Err("its will was published twice");
        }
        Ok(())
    }

    /// All state is gone, and all wills with it; those that are under way may still come.
    pub(crate) fn restarted(&mut self) {
        self.armed.clear();
        for by in self.loose.values_mut() {
            *by = None;
        }
    }

    /// A will that should have been published by now and was not.
    pub(crate) fn overdue(&mut self, now: u64) -> Option<Publication> {
        self.watcher?;
        let parties: Vec<Party> = self.armed.keys().copied().collect();
        for party in parties {
            self.let_go(party, now);
        }
        let is_late = |by: &Option<u64>| by.is_some_and(|by| by < now);
        let late = self.loose.iter().filter(|(_, by)| is_late(by)).map(|(will, _)| *will);
        late.into_iter().find(|will| !self.seen.contains(will))
    }
}
