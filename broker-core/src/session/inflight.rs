//! What was sent to a client and is not acknowledged yet.
//!
//! Entries stand in the order in which they were first sent, which is the order in which they are
//! sent again after a resume [MQTT-4.6.0-1]. Packet identifiers are given out in sequence, so the
//! entry of an acknowledgement is found by arithmetic, or by halving if some were acknowledged out
//! of order; only a client that leaves one message unanswered for 65,535 others makes it a search.

use std::collections::VecDeque;

use crate::api::{PacketId, QoS};
use crate::message::MessageRef;
use crate::session::Queued;
use crate::share::ShareId;
use crate::subscription_ids::IdSet;

/// How far the handshake of one message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PUBLISH of QoS 1 was sent; PUBACK ends it.
    Unacknowledged,
    /// PUBLISH of QoS 2 was sent; PUBREC brings it on.
    Unreceived,
    /// PUBREL was sent; PUBCOMP ends it. The message itself has been let go.
    Released,
}

/// Whether the last step of an entry has to be sent (again), and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Not now.
    No,
    /// As a repetition.
    Again,
    /// As if for the first time: the first attempt never reached the client.
    First,
    /// Not before what it rests on is durable. PUBLISH is then sent for the first time; PUBREL
    /// leaves by itself.
    Held,
    /// A PUBREL that was to leave by itself on a link that is gone: it is repeated when what it
    /// rests on is durable.
    HeldAgain,
}

/// One message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InFlight {
    /// The number of its record, in the order of sending; 0: it has none.
    pub(crate) number: u64,
    pub(crate) id: PacketId,
    pub(crate) stage: Stage,
    pub(crate) resend: Resend,
    pub(crate) retain: bool,
    pub(crate) message: MessageRef,
    pub(crate) ids: IdSet,
    /// The group that it came by.
    pub(crate) share: ShareId,
}

impl InFlight {
    /// Whether its last step is to be sent (again) as soon as there is room.
    fn is_to_resend(&self) -> bool {
        matches!(self.resend, Resend::Again | Resend::First)
    }

    /// Whether it was never sent, as it may not leave yet.
    fn is_held_back(&self) -> bool {
        self.resend == Resend::Held && self.stage != Stage::Released
    }

    /// Whether it is of QoS 2 and may have reached the client.
    fn is_begun_qos2(&self) -> bool {
        let was_sent = !matches!(self.resend, Resend::Held | Resend::First);
        self.stage == Stage::Released || self.stage == Stage::Unreceived && was_sent
    }

    /// The QoS with which it was sent.
    pub(crate) const fn qos(&self) -> QoS {
        match self.stage {
            Stage::Unacknowledged => QoS::AtLeastOnce,
            Stage::Unreceived | Stage::Released => QoS::ExactlyOnce,
        }
    }
}

/// The window of outgoing QoS 1 and 2 messages.
#[derive(Debug)]
pub(crate) struct Window {
    entries: VecDeque<InFlight>,
    last_id: u16,
    /// The highest identifier that is given out.
    id_max: u16,
    /// As much credit as the present link may have; the bound as of its beginning.
    pub(crate) len_max: u16,
    /// Entries to be sent again.
    to_resend: u32,
    /// Entries that were never sent, as they may not leave yet.
    held_back: u32,
    /// Whether each entry is further from the first than the one before it.
    is_in_sequence: bool,
    /// The number of the record that was pushed last.
    last_number: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            last_id: 0,
            id_max: u16::MAX,
            len_max: u16::MAX,
            to_resend: 0,
            held_back: 0,
            is_in_sequence: true,
            last_number: 0,
        }
    }
}

impl Window {
    /// Sets the highest identifier that is given out from now on.
    pub(crate) fn set_id_max(&mut self, id_max: u16) {
        self.is_in_sequence &= self.id_max == id_max;
        self.id_max = id_max;
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries whose last step is on its way to the client; those still to be sent again do not
    /// count, so that a window that has become smaller is kept after a resume, too.
    pub(crate) fn on_air(&self) -> usize {
        self.entries.len() - self.to_resend as usize
    }

    /// Whether something stands here that was never sent: what comes behind it has to wait.
    pub(crate) const fn holds_back(&self) -> bool {
        self.held_back > 0
    }

    /// The identifier that was given out last.
    pub(crate) const fn last_id(&self) -> u16 {
        self.last_id
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.entries.iter()
    }

    /// The number of the record of what was sent last, in flight or done; 0: it has none.
    pub(crate) const fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Gives all that is in flight the numbers of their records, oldest first.
    pub(crate) fn number(&mut self, mut next: impl FnMut() -> u64) {
        for entry in &mut self.entries {
            entry.number = next();
            self.last_number = entry.number;
        }
    }

    /// Puts back what came from a store, in any order.
    pub(crate) fn restore(&mut self, entry: InFlight) {
        self.count(&entry);
        self.entries.push_back(entry);
    }

    /// Puts what came back into its order, with what was known of the identifier given out last.
    /// Returns the entries whose identifiers stand there twice.
    pub(crate) fn finish_restore(&mut self, last_id: u16, delivery: u64) -> Vec<InFlight> {
        self.entries.make_contiguous().sort_unstable_by_key(|entry| entry.number);
        let latest = self.entries.back().filter(|latest| latest.number > delivery);
        self.last_id = latest.map_or(last_id, |latest| latest.id.0);
        self.last_number = latest.map_or(delivery, |latest| latest.number);
        let mut by_id: Vec<_> =
            self.entries.iter().map(|entry| (entry.id.0, entry.number)).collect();
        by_id.sort_unstable();
        let doubled = by_id.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        let doubled: Vec<_> = doubled.map(|pair| pair[1].1).collect();
        let doubled = doubled.into_iter().filter_map(|number| {
            let position = self.entries.iter().position(|entry| entry.number == number)?;
            let entry = self.entries.remove(position)?;
            self.discount(&entry);
            Some(entry)
        });
        let doubled = doubled.collect();
        self.judge_sequence();
        doubled
    }

    /// Leaves out the next identifiers, so many of them, up to all there are.
    pub(crate) fn skip(&mut self, count: u16) {
        let last = u32::from(self.last_id.min(self.id_max)) + u32::from(count);
        let id_max = u32::from(self.id_max);
        let last = if last > id_max { last - id_max } else { last };
        self.last_id = u16::try_from(last).unwrap_or(self.id_max);
    }

    fn count(&mut self, entry: &InFlight) {
        self.to_resend += u32::from(entry.is_to_resend());
        self.held_back += u32::from(entry.is_held_back());
    }

    fn discount(&mut self, entry: &InFlight) {
        self.to_resend -= u32::from(entry.is_to_resend());
        self.held_back -= u32::from(entry.is_held_back());
    }

    /// Changes one entry.
    fn update(&mut self, position: usize, change: impl FnOnce(&mut InFlight)) {
        let mut entry = self.entries[position];
        self.discount(&entry);
        change(&mut entry);
        self.count(&entry);
        self.entries[position] = entry;
    }

    /// Adds a message that is about to be sent and gives it an unused identifier
    /// [MQTT-2.3.1-4], [MQTT-4.3.2-1].
    ///
    /// # Panics
    /// If all identifiers are in use; windows are smaller.
    pub(crate) fn push(&mut self, queued: Queued) -> PacketId {
        let Queued { number, message, ids, share, qos, retain, is_replayed: _ } = queued;
        assert!(self.entries.len() < usize::from(self.id_max), "more in flight than there are ids");
        let stage = match qos {
            QoS::ExactlyOnce => Stage::Unreceived,
            QoS::AtLeastOnce | QoS::AtMostOnce => Stage::Unacknowledged,
        };
        loop {
            self.last_id = if self.last_id >= self.id_max { 1 } else { self.last_id + 1 };
            if self.position(PacketId(self.last_id)).is_none() {
                break;
            }
        }
        let id = PacketId(self.last_id);
        self.is_in_sequence = match self.entries.back() {
            Some(back) => self.is_in_sequence && self.distance(id) > self.distance(back.id),
            None => true,
        };
        self.last_number = number;
        let resend = Resend::No;
        self.entries.push_back(InFlight { number, id, stage, resend, retain, message, ids, share });
        id
    }

    pub(crate) fn get(&self, id: PacketId) -> Option<&InFlight> {
        self.position(id).map(|position| &self.entries[position])
    }

    /// Ends a handshake.
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<InFlight> {
        let position = self.position(id)?;
        let entry = self.entries.remove(position)?;
        self.discount(&entry);
        Some(entry)
    }

    /// Takes the oldest out, to give everything up.
    pub(crate) fn pop(&mut self) -> Option<InFlight> {
        let entry = self.entries.pop_front()?;
        self.discount(&entry);
        Some(entry)
    }

    /// Takes out what came by groups and may go to another member. A message of QoS 2 that was
    /// begun may not: it is completed here [MQTT5-4.8.2-4] or nowhere [MQTT5-4.8.2-5].
    pub(crate) fn take_shared(&mut self) -> Vec<InFlight> {
        let is_taken = |entry: &InFlight| entry.share != ShareId::NONE && !entry.is_begun_qos2();
        let taken: Vec<_> = self.entries.iter().copied().filter(is_taken).collect();
        if !taken.is_empty() {
            self.entries.retain(|entry| !is_taken(entry));
            taken.iter().for_each(|entry| self.discount(entry));
        }
        taken
    }

    /// Puts back what was taken out, in the order of sending as far as that is known, else in that
    /// of its identifiers.
    pub(crate) fn put_back(&mut self, entry: InFlight) {
        let order = |entry: &InFlight| (entry.number, entry.id.0);
        let position = self.entries.iter().position(|other| order(other) > order(&entry));
        self.count(&entry);
        self.entries.insert(position.unwrap_or(self.entries.len()), entry);
        self.judge_sequence();
    }

    /// Looks whether entries can be found by arithmetic.
    fn judge_sequence(&mut self) {
        let distances = self.entries.iter().map(|entry| self.distance(entry.id));
        self.is_in_sequence = distances.is_sorted_by(|one, next| one < next);
    }

    /// What came by a group is as if it had come by a subscription of the session's own. Returns
    /// that.
    pub(crate) fn forget_share(&mut self, share: ShareId) -> Vec<InFlight> {
        let entries = self.entries.iter_mut().filter(|entry| entry.share == share);
        let forget = |entry: &mut InFlight| {
            entry.share = ShareId::NONE;
            *entry
        };
        entries.map(forget).collect()
    }

    /// PUBREC came: from now on PUBREL is what is sent. Returns the message, to be released.
    pub(crate) fn received(&mut self, id: PacketId) -> Option<MessageRef> {
        let position = self.position(id)?;
        let InFlight { stage, message, .. } = self.entries[position];
        if stage != Stage::Unreceived {
            return None;
        }
        self.update(position, |entry| {
            entry.stage = Stage::Released;
            entry.resend = Resend::No;
        });
        Some(message)
    }

    /// Marks one entry to be sent again; `false` if it is not there.
    pub(crate) fn resend(&mut self, id: PacketId, how: Resend) -> bool {
        let Some(position) = self.position(id) else { return false };
        // What is held leaves when it may.
        if !matches!(self.entries[position].resend, Resend::Held | Resend::HeldAgain) {
            self.update(position, |entry| entry.resend = how);
        }
        true
    }

    /// The last step of an entry may not leave before what it rests on is durable.
    pub(crate) fn hold(&mut self, id: PacketId) {
        if let Some(position) = self.position(id) {
            self.update(position, |entry| entry.resend = Resend::Held);
        }
    }

    /// It is durable.
    pub(crate) fn let_go(&mut self, id: PacketId) {
        let Some(position) = self.position(id) else { return };
        let InFlight { resend, stage, .. } = self.entries[position];
        let next = match (resend, stage) {
            (Resend::Held, Stage::Released) => Resend::No,
            (Resend::Held, Stage::Unacknowledged | Stage::Unreceived) => Resend::First,
            (Resend::HeldAgain, _) => Resend::Again,
            (Resend::No | Resend::Again | Resend::First, _) => return,
        };
        self.update(position, |entry| entry.resend = next);
    }

    /// Marks all entries to be sent again, as after a resume [MQTT-4.4.0-1]. One that never reached
    /// the client is still sent as if for the first time.
    pub(crate) fn resend_all(&mut self) {
        for position in 0..self.entries.len() {
            self.update(position, |entry| {
                entry.resend = match (entry.resend, entry.stage) {
                    (Resend::First, _) => Resend::First,
                    // A client may come back before the disk does.
                    (Resend::Held, Stage::Unacknowledged | Stage::Unreceived) => Resend::Held,
                    (Resend::Held | Resend::HeldAgain, _) => Resend::HeldAgain,
                    (Resend::No | Resend::Again, _) => Resend::Again,
                };
            });
        }
    }

    /// The oldest entry that is to be sent again, with how; it counts as sent from here on.
    pub(crate) fn next_resend(&mut self) -> Option<(InFlight, Resend)> {
        if self.to_resend == 0 {
            return None;
        }
        let entry = self.entries.iter_mut().find(|entry| entry.is_to_resend())?;
        let how = entry.resend;
        entry.resend = Resend::No;
        self.to_resend -= 1;
        Some((*entry, how))
    }

    pub(crate) const fn has_resends(&self) -> bool {
        self.to_resend > 0
    }

    fn position(&self, id: PacketId) -> Option<usize> {
        if !self.is_in_sequence {
            return self.entries.iter().position(|entry| entry.id == id);
        }
        let distance = self.distance(id);
        let back = self.entries.back()?;
        if distance > self.distance(back.id) {
            return None;
        }
        if self.entries.get(distance).is_some_and(|entry| entry.id == id) {
            return Some(distance);
        }
        // Entries that were acknowledged out of order have left gaps.
        let by_distance = |entry: &InFlight| self.distance(entry.id);
        let position = self.entries.binary_search_by_key(&distance, by_distance).ok()?;
        // Identifiers that are never given out have a distance, too, and that of another one.
        (self.entries[position].id == id).then_some(position)
    }

    /// How many identifiers after that of the first entry this one is given out.
    fn distance(&self, id: PacketId) -> usize {
        let first = self.entries.front().map_or(id, |front| front.id);
        let distance = if id.0 >= first.0 {
            id.0 - first.0
        } else {
            // Behind the highest comes 1.
            (self.id_max - first.0.min(self.id_max)).saturating_add(id.0)
        };
        usize::from(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Payload;
    use crate::message::{MessageStore, NewMessage, Origin};
    use crate::property::Properties;
    use crate::time::Instant;
    use crate::topic::TopicName;
    use proptest::prelude::*;

    fn message() -> MessageRef {
        MessageStore::default().insert(&NewMessage {
            topic: TopicName::new("t").expect("a good name"),
            payload: Payload::Borrowed(b""),
            qos: QoS::AtLeastOnce,
            retain: false,
            origin: Origin::Nobody,
            expires: Instant::NEVER,
            properties: Properties::EMPTY,
        })
    }

    fn push(window: &mut Window, qos: QoS) -> PacketId {
        let (ids, share) = (IdSet::NONE, ShareId::NONE);
        let (number, retain, is_replayed) = (0, false, false);
        window.push(Queued { number, message: message(), ids, share, qos, retain, is_replayed })
    }

    /// [MQTT-2.3.1-4], [MQTT-4.3.2-1]
    #[test]
    fn identifiers_are_never_zero_and_never_used_twice_at_once() {
        let mut window = Window::default();
        let stubborn = push(&mut window, QoS::AtLeastOnce);
        let mut last = PacketId(0);
        for _ in 0..70_000 {
            let id = push(&mut window, QoS::AtLeastOnce);
            assert_ne!(id, PacketId(0));
            assert_ne!(id, stubborn);
            assert_ne!(id, last);
            assert!(window.remove(id).is_some());
            last = id;
        }
        assert_eq!(window.get(stubborn).map(|entry| entry.id), Some(stubborn));
    }

    /// An MQTT-SN client gets identifiers up to 0x7FFF; what it was given with another protocol
    /// stays where it is.
    #[test]
    fn identifiers_stay_below_their_bound_when_it_changes() {
        let mut window = Window::default();
        for _ in 0..0xFFFD {
            let id = push(&mut window, QoS::AtLeastOnce);
            window.remove(id);
        }
        let before = [0; 3].map(|_| push(&mut window, QoS::AtLeastOnce));
        assert_eq!(before.map(|id| id.0), [0xFFFE, 0xFFFF, 1]);
        window.set_id_max(0x7FFF);
        for _ in 0..40_000 {
            let id = push(&mut window, QoS::AtLeastOnce);
            assert!((2..=0x7FFF).contains(&id.0), "{id:?}");
            for id in before.into_iter().chain([id]) {
                assert_eq!(window.get(id).map(|entry| entry.id), Some(id));
            }
            window.remove(id);
        }
        window.set_id_max(u16::MAX);
        let largest = (0..0x10_000).map(|_| {
            let id = push(&mut window, QoS::AtLeastOnce);
            window.remove(id);
            id.0
        });
        assert_eq!(largest.max(), Some(0xFFFD), "the two above are taken");
    }

    #[test]
    fn identifiers_that_are_skipped_are_given_out_last() {
        for (last_id, count, next) in [
            (0, 0, 1),
            (0, 0x2000, 0x2001),
            (0x7FFE, 0, 0x7FFF),
            (0x7FFE, 1, 1),
            (0x7FFF, 0x5FFF, 0x6000),
            (7, 0x7FFF, 8),
            // From a time when the session had more of them.
            (0xFFFF, 0x2000, 0x2001),
        ] {
            let mut window = Window { last_id, id_max: 0x7FFF, ..Window::default() };
            window.skip(count);
            assert_eq!(push(&mut window, QoS::AtLeastOnce), PacketId(next), "{last_id} + {count}");
        }
    }

    #[test]
    fn a_handshake_of_qos_2_goes_through_its_stages() {
        let mut window = Window::default();
        let id = push(&mut window, QoS::ExactlyOnce);
        assert!(window.received(id).is_some());
        assert_eq!(window.received(id), None, "a second PUBREC changes nothing");
        assert_eq!(window.get(id).map(|entry| entry.stage), Some(Stage::Released));
        assert!(window.remove(id).is_some());
        assert!(window.is_empty());
    }

    /// [MQTT-4.6.0-1]
    #[test]
    fn after_a_resume_everything_is_sent_again_in_its_first_order() {
        let mut window = Window::default();
        let ids = [0; 4].map(|_| push(&mut window, QoS::ExactlyOnce));
        window.received(ids[2]);
        window.remove(ids[1]);
        window.resend_all();
        let again: Vec<_> =
            core::iter::from_fn(|| window.next_resend()).map(|(e, _)| (e.id, e.stage)).collect();
        let expect =
            [(ids[0], Stage::Unreceived), (ids[2], Stage::Released), (ids[3], Stage::Unreceived)];
        assert_eq!(again, expect);
        assert!(!window.has_resends());
    }

    /// [MQTT-3.3.1-1]
    #[test]
    fn what_never_reached_the_client_is_no_repetition_after_a_resume() {
        let mut window = Window::default();
        let ids = [0; 2].map(|_| push(&mut window, QoS::AtLeastOnce));
        window.resend(ids[1], Resend::First);
        window.resend_all();
        let how = core::iter::from_fn(|| window.next_resend()).map(|(_, how)| how);
        assert_eq!(how.collect::<Vec<_>>(), [Resend::Again, Resend::First]);
    }

    fn numbered(id: u16, number: u64) -> InFlight {
        let (stage, resend, retain) = (Stage::Unacknowledged, Resend::No, false);
        let (ids, share) = (IdSet::NONE, ShareId::NONE);
        InFlight { number, id: PacketId(id), stage, resend, retain, message: message(), ids, share }
    }

    fn ids(window: &Window) -> Vec<u16> {
        window.iter().map(|entry| entry.id.0).collect()
    }

    /// A search for each acknowledgement would make a large window slow.
    #[test]
    fn entries_are_found_by_arithmetic_even_behind_the_highest_identifier() {
        let mut window = Window { last_id: 0xFFF0, ..Window::default() };
        for _ in 0..32 {
            push(&mut window, QoS::AtLeastOnce);
            assert!(window.is_in_sequence);
        }
        assert_eq!((ids(&window)[0], window.last_id()), (0xFFF1, 0x11));
        let taken = window.remove(PacketId(0xFFF3)).expect("it is in flight");
        window.put_back(taken);
        assert!(window.is_in_sequence);
        for id in [0xFFF5, 0xFFF4, 3, 0xFFF1, 0xFFF2, 0xFFF3] {
            assert!(window.remove(PacketId(id)).is_some());
            push(&mut window, QoS::AtLeastOnce);
            assert!(window.is_in_sequence);
        }
        let mut restored = Window::default();
        for (id, number) in [(0xFFFF, 8), (2, 10), (0xFFFE, 7), (1, 9)] {
            restored.restore(numbered(id, number));
        }
        assert_eq!(restored.finish_restore(0, 0), []);
        assert_eq!((ids(&restored), restored.is_in_sequence), (vec![0xFFFE, 0xFFFF, 1, 2], true));
    }

    /// [MQTT-4.6.0-1]
    #[test]
    fn what_is_put_back_stands_where_it_stood() {
        let mut window = Window::default();
        for (id, number) in [(5, 11), (2, 12), (6, 13), (3, 14)] {
            window.restore(numbered(id, number));
        }
        window.finish_restore(0, 0);
        assert!(!window.is_in_sequence);
        for id in [6, 2, 5, 3] {
            let taken = window.remove(PacketId(id)).expect("it is in flight");
            window.put_back(taken);
            assert_eq!(ids(&window), [5, 2, 6, 3], "after {id}");
        }
    }

    #[test]
    fn of_two_entries_with_one_identifier_the_older_comes_back_from_a_store() {
        let mut window = Window::default();
        for (id, number) in [(7, 3), (8, 1), (7, 2), (9, 4)] {
            window.restore(numbered(id, number));
        }
        let doubled = window.finish_restore(0, 0);
        assert_eq!(doubled.iter().map(|entry| entry.number).collect::<Vec<_>>(), [3]);
        assert_eq!(ids(&window), [8, 7, 9]);
    }

    /// The record of a session may be younger than all that is in flight, and tell more.
    #[test]
    fn identifiers_go_on_behind_the_latest_that_is_known() {
        for (last_id, delivery, expect) in [(100, 4, 100), (100, 5, 100), (100, 3, 7), (0, 0, 7)] {
            let mut window = Window::default();
            window.restore(numbered(7, 4));
            window.finish_restore(last_id, delivery);
            assert_eq!(window.last_id(), expect, "{last_id} with number {delivery}");
            assert_eq!(window.last_number(), delivery.max(4));
        }
    }

    proptest! {
        /// A client may come back with another protocol, which has fewer identifiers or more, and
        /// what was meant for another member of a group may come back to the first.
        #[test]
        fn every_entry_is_found_whatever_happens_to_the_window(
            ops in prop::collection::vec((0..8_u8, any::<prop::sample::Index>()), 1..200),
            start in prop::sample::select(vec![0, 15, 18]),
            is_numbered in any::<bool>(),
        ) {
            let mut window = Window { last_id: start, id_max: 20, ..Window::default() };
            let mut model: Vec<PacketId> = Vec::new();
            for (turn, (op, index)) in (1..).zip(ops) {
                match op {
                    0..=3 if model.len() < 15 => {
                        model.push(push(&mut window, QoS::AtLeastOnce));
                        let last = window.entries.back_mut().expect("just pushed");
                        last.number = if is_numbered { turn } else { 0 };
                    }
                    4 => window.set_id_max([16, 20, 40][index.index(3)]),
                    5 if !model.is_empty() => {
                        let id = model[index.index(model.len())];
                        let entry = window.remove(id).expect("it is in flight");
                        window.put_back(entry);
                    }
                    _ if model.is_empty() => {}
                    _ => {
                        let id = model.remove(index.index(model.len()));
                        prop_assert_eq!(window.remove(id).map(|entry| entry.id), Some(id));
                    }
                }
                for id in (0..=50).map(PacketId) {
                    let found = window.get(id).map(|entry| entry.id);
                    prop_assert_eq!(found, model.contains(&id).then_some(id));
                }
                if is_numbered {
                    prop_assert!(window.iter().map(|entry| entry.number).is_sorted());
                }
            }
        }

        /// Whatever is sent and acknowledged in whatever order, every entry is found under its id.
        #[test]
        fn every_entry_is_found(
            id_max in prop::sample::select(vec![400, 0x7FFF, u16::MAX]),
            start in any::<u16>(),
            skipped in prop::collection::vec(any::<u16>(), 1..4),
            ops in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..300),
        ) {
            let mut window = Window { last_id: start.min(id_max), id_max, ..Window::default() };
            let mut model: Vec<PacketId> = Vec::new();
            for (turn, (send, index)) in ops.into_iter().enumerate() {
                if turn % 80 == 40 && let Some(count) = skipped.get(turn / 80) {
                    window.skip(*count % id_max);
                }
                if send || model.is_empty() {
                    let id = push(&mut window, QoS::AtLeastOnce);
                    prop_assert!(!model.contains(&id));
                    prop_assert!((1..=id_max).contains(&id.0));
                    model.push(id);
                } else {
                    let id = model.remove(index.index(model.len()));
                    prop_assert_eq!(window.remove(id).map(|entry| entry.id), Some(id));
                    prop_assert!(window.get(id).is_none());
                }
                prop_assert_eq!(window.len(), model.len());
                prop_assert!(window.get(PacketId(0)).is_none(), "never given out");
                let beyond = (id_max..u16::MAX).take(300).map(|id| PacketId(id + 1));
                for id in beyond {
                    prop_assert!(window.get(id).is_none(), "never given out");
                }
                for id in &model {
                    prop_assert_eq!(window.get(*id).map(|entry| entry.id), Some(*id));
                }
            }
        }
    }
}
