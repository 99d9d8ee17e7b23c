//! The group of the world: each message goes to one of its members, to another one only if that
//! one is lost before it has acknowledged it, and at QoS 2 never to another [MQTT5-4.8.2-4],
//! [MQTT5-4.8.2-5].

use super::{Ledger, Record, Target};
use crate::sim::book::{Party, Publication};
use crate::sim::features::Feature;
use crate::sim::model::{Match, Model, share};

/// A message that left for a member.
#[derive(Clone, Copy, Debug)]
struct Given {
    party: Party,
    qos: u8,
    /// How often connections of the member had ended by then.
    links: u64,
    is_acknowledged: bool,
    /// A crash has undone it, perhaps.
    is_undone: bool,
}

/// What became of one publication.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Those who may have been chosen.
    members: Vec<Party>,
    qos: u8,
    is_expected: bool,
    /// It may have been on its way to a member when something ended: at QoS 2 it is nobody else's.
    is_begun: bool,
    given: Vec<Given>,
}

impl Shared {
    /// The publication was heard, and these are subscribed.
    pub(super) fn arrived(&mut self, matches: &[Match], qos: u8, arrivals: u32) {
        let members = || matches.iter().filter(|it| it.is_shared);
        if arrivals == 1 {
            self.is_expected = qos > 0 && qos < 3 && members().any(|it| it.is_sure);
        } else {
            // Either arrival may be the one that counts.
            self.is_expected &= members().any(|it| it.is_sure);
        }
        for found in members() {
            self.qos = self.qos.max(found.qos);
            if !self.members.contains(&found.party) {
                self.members.push(found.party);
            }
        }
    }

    /// It has to be given to somebody, and was not yet.
    pub(super) const fn is_missed(&self) -> bool {
        self.is_expected && self.given.is_empty()
    }
}

/// Whether a client takes part in the group.
pub(super) fn is_member(model: &Model, party: Party) -> bool {
    let session = model.sessions.get(&party);
    session.is_some_and(|it| it.subscriptions.iter().any(|it| share(&it.filter).is_some()))
}

impl Record {
    /// A member may be given what was another's.
    pub(super) fn join(&mut self, party: Party) {
        let Some(shared) = &self.shared else { return };
        if self.targets.iter().all(|it| it.party != party) {
            self.targets.push(Target {
                party,
                qos: shared.qos.min(self.manner.qos),
                is_expected: false,
                count: 0,
                fresh: 0,
                forgotten: 0,
                stamp: self.stamp,
                ids: [0, u16::MAX],
                retain: [false, true],
                is_shared: true,
            });
        }
    }
}

impl Ledger {
    /// Connections to members end: what they have not acknowledged is handed on. What was written
    /// to one that reads nothing was begun, though nobody saw it leave.
    pub(crate) fn link_ended(&mut self, party: Party) {
        *self.links.entry(party).or_default() += 1;
        let is_read = self.inboxes.get(&party).is_some_and(|it| it.reads_since < u64::MAX);
        if !is_read && self.has_group && is_member(&self.model, party) {
            self.begin_for_group();
        }
    }

    fn begin_for_group(&mut self) {
        self.all_shared().for_each(|shared| shared.is_begun |= shared.qos == 2);
    }

    /// What became of each publication for the group, in no order.
    fn all_shared(&mut self) -> impl Iterator<Item = &mut Shared> {
        self.records.values_mut().filter_map(|record| record.shared.as_deref_mut())
    }

    /// Whether the session of a client ends with its connection.
    pub(crate) fn set_fleeting(&mut self, party: Party, is_fleeting: bool) {
        if is_fleeting {
            self.fleeting.insert(party);
        } else {
            self.fleeting.remove(&party);
        }
    }

    /// A message leaves for a client.
    pub(super) fn give(&mut self, party: Party, publication: Publication, qos: u8, is_dup: bool) {
        if !is_member(&self.model, party) {
            return;
        }
        let links = &self.links;
        let links_of = |party| links.get(&party).copied().unwrap_or_default();
        let Some(record) = self.records.get_mut(&publication) else { return };
        let Some(shared) = &mut record.shared else { return };
        let has_it = |it: &&Given| {
            let is_lost = links_of(it.party) != it.links;
            let may_go_on = it.qos == 1 && (it.is_undone || is_lost && !it.is_acknowledged);
            let is_same = it.party == party && (is_dup || it.is_undone);
            !(may_go_on || is_same)
        };
        // Each arrival may be a message of its own.
        let is_double = shared.given.iter().filter(has_it).count() >= record.arrivals as usize;
        if shared.given.iter().any(|it| it.party != party) {
            self.features.count(Feature::HandedOn);
        }
        self.features.count(Feature::Shared);
        let links = links_of(party);
        let mut own = shared.given.iter_mut().filter(|it| it.party == party).peekable();
        if is_dup && own.peek().is_some() {
            // Of two arrivals only one is sent again, the other one may be with another member.
            if let Some(again) = own.find(|it| it.links != links && !it.is_acknowledged) {
                again.links = links;
            }
        } else {
            let (is_acknowledged, is_undone) = (false, false);
            shared.given.push(Given { party, qos, links, is_acknowledged, is_undone });
        }
        self.check(party, !is_double, &format!("{publication} went to two members of a group"));
    }

    /// A client has acknowledged a message: it is nobody else's. A second arrival of it is a
    /// message of its own; what was sent over an earlier connection may be with another member.
    pub(crate) fn acknowledged(&mut self, party: Party, publication: Publication) {
        let links = self.links.get(&party).copied().unwrap_or_default();
        let record = self.records.get_mut(&publication);
        let shared = record.and_then(|record| record.shared.as_mut());
        let mut given = shared.into_iter().flat_map(|shared| &mut shared.given);
        let is_it = |it: &&mut Given| it.party == party && it.links == links && !it.is_acknowledged;
        if let Some(given) = given.find(is_it) {
            given.is_acknowledged = true;
        }
    }

    /// The session of a client is over, or may be: what it held is another member's, if there is
    /// one, and if that was not on its way at QoS 2.
    pub(super) fn leave_group(&mut self, party: Party) {
        if !self.has_group {
            return;
        }
        let now = self.now;
        let mut others = self.model.sessions.iter().filter(|(it, _)| **it != party);
        let has_other = others.any(|(_, session)| {
            let mut shares = session.subscriptions.iter();
            session.lasts(now) && shares.any(|it| it.is_sure && share(&it.filter).is_some())
        });
        let is_there = |it: &Given| it.party == party && it.qos == 2;
        // A message may have been handed on to it.
        self.expect_of_group(|it| has_other && !it.is_begun && !it.given.iter().any(is_there));
    }

    /// Goes on expecting what this is true of, also of what is answered only later.
    fn expect_of_group(&mut self, is_expected: impl Fn(&Shared) -> bool) {
        self.all_shared().for_each(|shared| shared.is_expected &= is_expected(shared));
        let Self { records, shared, .. } = self;
        shared.retain(|publication| {
            let shared = records.get(publication).and_then(|record| record.shared.as_ref());
            shared.is_some_and(|it| it.is_expected)
        });
    }

    /// After a crash what was on its way may come again at QoS 1, and what a member had whose
    /// session was not kept is lost (`docs/persistence.md`).
    pub(super) fn crashed_group(&mut self) {
        self.all_shared().flat_map(|it| &mut it.given).for_each(|it| it.is_undone = true);
        self.begin_for_group();
        let fleeting = std::mem::take(&mut self.fleeting);
        self.expect_of_group(|it| it.members.iter().all(|member| !fleeting.contains(member)));
        self.fleeting = fleeting;
    }

    /// A message that no member was given, and one should have been.
    pub(super) fn missing_of_group(&mut self) -> Option<Publication> {
        let expired: Vec<Publication> =
            self.shared.iter().copied().filter(|it| self.has_expired(*it)).collect();
        for publication in expired {
            self.shared.remove(&publication);
            self.features.count(Feature::Expired);
        }
        self.shared.first().copied()
    }
}
