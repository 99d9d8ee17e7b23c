//! What was heard again in worlds that forget what is done with.

use std::collections::{BTreeMap, BTreeSet};

use crate::sim::book::{Party, Publication};

/// Publishers of worlds that forget what is done with, of which something was heard again.
#[derive(Debug, Default)]
pub(super) struct Reheard {
    latest: BTreeMap<Party, u32>,
    parties: BTreeSet<Party>,
}

impl Reheard {
    pub(super) fn heard(&mut self, publication: Publication, is_light: bool) {
        if !is_light {
            return;
        }
        let Publication { party, number } = publication;
        let latest = self.latest.insert(party, number);
        if latest.is_some_and(|latest| number <= latest) {
            self.parties.insert(party);
        }
    }

    /// Whether the order of its messages is open: a copy may be another publication.
    pub(super) fn has(&self, party: Party) -> bool {
        self.parties.contains(&party)
    }
}
