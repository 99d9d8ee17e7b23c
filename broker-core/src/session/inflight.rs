//! What was sent to a client and is not acknowledged yet.
//!
//! Entries stand in the order in which they were first sent, which is the order in which they are
//! sent again after a resume [MQTT-4.6.0-1]. Packet identifiers are given out in sequence, so the
//! entry of an acknowledgement is found by arithmetic; only a client that leaves one message
//! unanswered for 65,535 others makes it a search.

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
}

/// One message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InFlight {
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
    /// Entries whose `resend` is not `No`.
    to_resend: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { entries: VecDeque::new(), last_id: 0, id_max: u16::MAX, to_resend: 0 }
    }
}

impl Window {
    /// Sets the highest identifier that is given out from now on.
    pub(crate) const fn set_id_max(&mut self, id_max: u16) {
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
        self.entries.len() - self.to_resend
    }

    /// Adds a message that is about to be sent and gives it an unused identifier
    /// [MQTT-2.3.1-4], [MQTT-4.3.2-1].
    ///
    /// # Panics
    /// If all identifiers are in use; windows are smaller.
    pub(crate) fn push(&mut self, queued: Queued) -> PacketId {
        let Queued { message, ids, share, qos, retain } = queued;
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
        let resend = Resend::No;
        self.entries.push_back(InFlight { id, stage, resend, retain, message, ids, share });
        id
    }

    pub(crate) fn get(&self, id: PacketId) -> Option<&InFlight> {
        self.position(id).map(|position| &self.entries[position])
    }

    /// Ends a handshake.
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<InFlight> {
        let position = self.position(id)?;
        let entry = self.entries.remove(position)?;
        self.to_resend -= usize::from(entry.resend != Resend::No);
        Some(entry)
    }

    /// Takes the oldest out, to give everything up.
    pub(crate) fn pop(&mut self) -> Option<InFlight> {
        let entry = self.entries.pop_front()?;
        self.to_resend -= usize::from(entry.resend != Resend::No);
        Some(entry)
    }

    /// Takes out what came by groups and may go to another member: QoS 1 only, as a message of QoS
    /// 2 that was begun is completed here or nowhere [MQTT5-4.8.2-4].
    pub(crate) fn take_shared(&mut self) -> Vec<InFlight> {
        let is_taken =
            |entry: &InFlight| entry.share != ShareId::NONE && entry.stage == Stage::Unacknowledged;
        let taken: Vec<_> = self.entries.iter().copied().filter(is_taken).collect();
        if !taken.is_empty() {
            self.entries.retain(|entry| !is_taken(entry));
            self.to_resend = self.entries.iter().filter(|entry| entry.resend != Resend::No).count();
        }
        taken
    }

    /// Puts back what was taken out, in the order of its identifiers.
    pub(crate) fn put_back(&mut self, entry: InFlight) {
        let position = self.entries.iter().position(|other| other.id.0 > entry.id.0);
        self.to_resend += usize::from(entry.resend != Resend::No);
        self.entries.insert(position.unwrap_or(self.entries.len()), entry);
    }

    /// What came by a group is as if it had come by a subscription of the session's own.
    pub(crate) fn forget_share(&mut self, share: ShareId) {
        for entry in self.entries.iter_mut().filter(|entry| entry.share == share) {
            entry.share = ShareId::NONE;
        }
    }

    /// PUBREC came: from now on PUBREL is what is sent. Returns the message, to be released.
    pub(crate) fn received(&mut self, id: PacketId) -> Option<MessageRef> {
        let position = self.position(id)?;
        let entry = &mut self.entries[position];
        if entry.stage != Stage::Unreceived {
            return None;
        }
        entry.stage = Stage::Released;
        self.to_resend -= usize::from(entry.resend != Resend::No);
        entry.resend = Resend::No;
        Some(entry.message)
    }

    /// Marks one entry to be sent again; `false` if it is not there.
    pub(crate) fn resend(&mut self, id: PacketId, how: Resend) -> bool {
        let Some(position) = self.position(id) else { return false };
        let entry = &mut self.entries[position];
        self.to_resend -= usize::from(entry.resend != Resend::No);
        self.to_resend += usize::from(how != Resend::No);
        entry.resend = how;
        true
    }

    /// Marks all entries to be sent again, as after a resume [MQTT-4.4.0-1]. One that never reached
    /// the client is still sent as if for the first time.
    pub(crate) fn resend_all(&mut self) {
        for entry in &mut self.entries {
            entry.resend = match entry.resend {
                Resend::First => Resend::First,
                Resend::No | Resend::Again => Resend::Again,
            };
        }
        self.to_resend = self.entries.len();
    }

    /// The oldest entry that is to be sent again, with how; it counts as sent from here on.
    pub(crate) fn next_resend(&mut self) -> Option<(InFlight, Resend)> {
        if self.to_resend == 0 {
            return None;
        }
        let entry = self.entries.iter_mut().find(|entry| entry.resend != Resend::No)?;
        let how = entry.resend;
        entry.resend = Resend::No;
        self.to_resend -= 1;
        Some((*entry, how))
    }

    pub(crate) const fn has_resends(&self) -> bool {
        self.to_resend > 0
    }

    fn position(&self, id: PacketId) -> Option<usize> {
        let front = self.entries.front()?;
        let guess = if id.0 >= front.id.0 {
            id.0 - front.id.0
        } else {
            // Behind the highest comes 1.
            (self.id_max - front.id.0.min(self.id_max)).saturating_add(id.0)
        };
        let guess = usize::from(guess);
        let last = self.entries.len() - 1;
        // Entries that were acknowledged out of order leave gaps: the entry stands at or before the
        // guess, by as many places as are missing.
        let mut position = guess.min(last);
        loop {
            let found = self.entries[position].id;
            if found == id {
                return Some(position);
            }
            if position == 0 {
                break;
            }
            position -= 1;
        }
        self.entries.iter().position(|entry| entry.id == id)
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
        window.push(Queued { message: message(), ids, share, qos, retain: false })
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

    proptest! {
        /// Whatever is sent and acknowledged in whatever order, every entry is found under its id.
        #[test]
        fn every_entry_is_found(
            id_max in prop::sample::select(vec![400, 0x7FFF, u16::MAX]),
            start in any::<u16>(),
            ops in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..300),
        ) {
            let mut window = Window { last_id: start.min(id_max), id_max, ..Window::default() };
            let mut model: Vec<PacketId> = Vec::new();
            for (send, index) in ops {
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
                for id in &model {
                    prop_assert_eq!(window.get(*id).map(|entry| entry.id), Some(*id));
                }
            }
        }
    }
}
