//! What waits for a session: bounded by count and by octets.
//!
//! A slow reader, a sleeping sensor and an absent client are the same thing here. At the bound the
//! limits say what happens: the new message is refused, the oldest make room (those of QoS 0
//! first), or the client is cut off. The caller counts every case.
//!
//! Bounds may be lowered below what waits. Nothing goes for that: where the new message would be
//! refused it is, and where the oldest make room each takes the place of what it pushes out, so
//! that the queue does not grow and comes down to its bounds as its client takes messages.
//!
//! Retained messages for a new subscription wait here as well, few at a time. They are older than
//! what came since, so they stand in front of that [MQTT-4.6.0-6]; and as the store of retained
//! messages holds them anyway, they count to no bound and are not dropped.

use std::collections::VecDeque;

use crate::api::{Overflow, QoS, QueueLimits};
use crate::message::{MessageRef, MessageStore};
use crate::share::ShareId;
use crate::subscription_ids::IdSet;

/// Room that an empty queue keeps for its next messages.
const IDLE_CAPACITY_MAX: usize = 64;

/// A message that waits, 24 octets. Whoever takes it out of the queue has to release it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    /// The number of its record, counted upwards; 0: it has none.
    pub(crate) number: u64,
    pub(crate) message: MessageRef,
    pub(crate) ids: IdSet,
    /// The group that it came by.
    pub(crate) share: ShareId,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Whether it was retained and waits because of a new subscription.
    pub(crate) is_replayed: bool,
}

/// What became of a message that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Queued,
    /// Its client is not there, and it does not wait for clients that are away.
    Away,
    /// It does not fit.
    Rejected,
    /// It does not fit, and the client is to be disconnected for it.
    RejectedAndDisconnect,
}

/// The messages that wait for one session, oldest first.
#[derive(Debug)]
pub(crate) struct Queue {
    entries: VecDeque<Queued>,
    /// Octets of those that are not replayed, and how many of them have QoS 0.
    bytes: u64,
    qos0: u32,
    replayed: usize,
    limits: QueueLimits,
}

impl Queue {
    pub(crate) const fn new(limits: QueueLimits) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, qos0: 0, replayed: 0, limits }
    }

    /// Sets other bounds; what waits already is not touched by lower ones.
    pub(crate) const fn set_limits(&mut self, limits: QueueLimits) {
        self.limits = limits;
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Retained messages that wait because of a new subscription.
    pub(crate) const fn replayed(&self) -> usize {
        self.replayed
    }

    /// Octets that wait.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether fewer than a quarter of the messages would still fit: internal publishers (wills)
    /// wait for it while the reader is at work.
    pub(crate) fn is_crowded(&self) -> bool {
        self.len_bounded() as u64 * 4 >= u64::from(self.limits.messages_max) * 3
            || self.bytes * 4 >= self.limits.bytes_max * 3
    }

    /// Whether more than half of either bound is in use.
    pub(crate) fn is_half_full(&self) -> bool {
        self.len_bounded() as u64 * 2 > u64::from(self.limits.messages_max)
            || self.bytes * 2 > self.limits.bytes_max
    }

    /// Adds a message at the end. `paused` tells whether the link is there but without credit, in
    /// which case QoS 0 has a bound of its own. What is dropped to make room goes into `dropped`;
    /// whatever is rejected or dropped is the caller's to release.
    pub(crate) fn push(
        &mut self,
        entry: Queued,
        paused: bool,
        store: &MessageStore,
        dropped: &mut Vec<Queued>,
    ) -> Pushed {
        let size = store.get(entry.message).size() as u64;
        let bounds = self.bounds();
        if entry.qos == QoS::AtMostOnce && paused {
            while self.qos0 >= bounds.paused_qos0_messages_max {
                match bounds.overflow {
                    Overflow::DropOldest if self.qos0 > 0 => {
                        dropped.extend(self.remove_oldest_qos0(store));
                    }
                    Overflow::DropOldest | Overflow::RejectNew | Overflow::Disconnect => {
                        return Pushed::Rejected;
                    }
                }
            }
        }
        while !self.fits_into(&bounds, size) {
            match bounds.overflow {
                Overflow::DropOldest if self.len_bounded() > 0 && size <= bounds.bytes_max => {
                    let oldest = self.remove_oldest_qos0(store);
                    dropped.extend(oldest.or_else(|| self.remove_oldest(store, |_| true)));
                }
                Overflow::DropOldest | Overflow::RejectNew => return Pushed::Rejected,
                Overflow::Disconnect => return Pushed::RejectedAndDisconnect,
            }
        }
        self.put_back(entry, store);
        Pushed::Queued
    }

    /// Puts a retained message in front of what was accepted since the subscription that it is for,
    /// that is from the message with number `before` on. If it has a record, the number of the
    /// first of these that has one is returned.
    pub(crate) fn insert_replayed(
        &mut self,
        entry: Queued,
        before: u64,
        store: &MessageStore,
    ) -> Option<u64> {
        assert!(entry.is_replayed, "only retained messages may overtake");
        let is_newer = |other: &Queued| store.get(other.message).sequence() >= before;
        let position = self.entries.iter().position(is_newer).unwrap_or(self.entries.len());
        self.replayed += 1;
        self.entries.insert(position, entry);
        if entry.number == 0 {
            // Nobody in this queue has one, perhaps, and it may be long.
            return None;
        }
        let mut behind = self.entries.range(position + 1..);
        let follower = behind.find(|other| other.number != 0 && !other.is_replayed);
        follower.map(|other| other.number)
    }

    pub(crate) fn front(&self) -> Option<Queued> {
        self.entries.front().copied()
    }

    /// Takes the oldest message out.
    pub(crate) fn pop(&mut self, store: &MessageStore) -> Option<Queued> {
        let entry = self.entries.pop_front()?;
        self.discount(entry, store);
        if self.entries.is_empty() && self.entries.capacity() > IDLE_CAPACITY_MAX {
            self.entries = VecDeque::new();
        }
        Some(entry)
    }

    /// Whether a message would be taken without another making room for it.
    pub(crate) fn has_room(&self, size: u64, qos: QoS, paused: bool) -> bool {
        let qos0_fits =
            qos > QoS::AtMostOnce || !paused || self.qos0 < self.limits.paused_qos0_messages_max;
        qos0_fits && self.fits(size)
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> VecDeque<Queued> {
        self.bytes = 0;
        self.qos0 = 0;
        self.replayed = 0;
        core::mem::take(&mut self.entries)
    }

    /// Puts back what was taken out, whatever the bounds say by now.
    pub(crate) fn put_back(&mut self, entry: Queued, store: &MessageStore) {
        if entry.is_replayed {
            self.replayed += 1;
        } else {
            self.bytes += store.get(entry.message).size() as u64;
            self.qos0 += u32::from(entry.qos == QoS::AtMostOnce);
        }
        self.entries.push_back(entry);
    }

    /// The bounds.
    pub(crate) const fn limits(&self) -> QueueLimits {
        self.limits
    }

    /// What waits, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Queued> {
        self.entries.iter()
    }

    /// What waits, to be changed in what the bounds do not count.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queued> {
        self.entries.iter_mut()
    }

    /// Puts what came back from a store, in whatever order, into the order of its numbers; but a
    /// retained message stands in front of what has the number that `ahead_of` tells for it, or a
    /// later one.
    pub(crate) fn sort(&mut self, ahead_of: impl Fn(&Queued) -> u64) {
        self.entries.make_contiguous().sort_unstable_by_key(|entry| {
            let place = if entry.is_replayed { ahead_of(entry) } else { entry.number };
            (place, !entry.is_replayed, entry.number)
        });
    }

    /// What came by a group is as if it had come by a subscription of the session's own. Returns
    /// that.
    pub(crate) fn forget_share(&mut self, share: ShareId) -> Vec<Queued> {
        let entries = self.entries.iter_mut().filter(|entry| entry.share == share);
        let forget = |entry: &mut Queued| {
            entry.share = ShareId::NONE;
            *entry
        };
        entries.map(forget).collect()
    }

    /// Messages that count to the bound.
    pub(crate) fn len_bounded(&self) -> usize {
        self.entries.len() - self.replayed
    }

    /// What holds for the next message: where the oldest make room, what waits already if that is
    /// more than the limits, so that it goes one by one.
    fn bounds(&self) -> QueueLimits {
        let limits = self.limits;
        if limits.overflow != Overflow::DropOldest {
            return limits;
        }
        let messages = u32::try_from(self.len_bounded()).unwrap_or(u32::MAX);
        QueueLimits {
            messages_max: limits.messages_max.max(messages),
            bytes_max: limits.bytes_max.max(self.bytes),
            paused_qos0_messages_max: limits.paused_qos0_messages_max.max(self.qos0),
            ..limits
        }
    }

    fn fits(&self, size: u64) -> bool {
        self.fits_into(&self.limits, size)
    }

    fn fits_into(&self, bounds: &QueueLimits, size: u64) -> bool {
        (self.len_bounded() as u64) < u64::from(bounds.messages_max)
            && self.bytes + size <= bounds.bytes_max
    }

    fn remove_oldest_qos0(&mut self, store: &MessageStore) -> Option<Queued> {
        if self.qos0 == 0 {
            return None;
        }
        self.remove_oldest(store, |qos| qos == QoS::AtMostOnce)
    }

    /// Takes out the oldest message that counts to the bound and has such a QoS.
    fn remove_oldest(
        &mut self,
        store: &MessageStore,
        is_meant: impl Fn(QoS) -> bool,
    ) -> Option<Queued> {
        let is_meant = |entry: &Queued| !entry.is_replayed && is_meant(entry.qos);
        let position = self.entries.iter().position(is_meant)?;
        let entry = self.entries.remove(position)?;
        self.discount(entry, store);
        Some(entry)
    }

    fn discount(&mut self, entry: Queued, store: &MessageStore) {
        if entry.is_replayed {
            self.replayed -= 1;
            return;
        }
        let size = store.get(entry.message).size() as u64;
        assert!(self.bytes >= size, "queue accounting broke: {} < {size}", self.bytes);
        self.bytes -= size;
        self.qos0 -= u32::from(entry.qos == QoS::AtMostOnce);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Payload;
    use crate::message::{NewMessage, Origin};
    use crate::property::Properties;
    use crate::time::Instant;
    use crate::topic::TopicName;

    const TOPIC: &str = "t";

    fn limits(messages_max: u32, bytes_max: u64, overflow: Overflow) -> QueueLimits {
        QueueLimits { messages_max, bytes_max, paused_qos0_messages_max: 2, overflow }
    }

    struct Bench {
        store: MessageStore,
        queue: Queue,
        dropped: Vec<Queued>,
    }

    const fn entry(message: MessageRef, qos: QoS) -> Queued {
        let (ids, share) = (IdSet::NONE, ShareId::NONE);
        Queued { number: 0, message, ids, share, qos, retain: false, is_replayed: false }
    }

    impl Bench {
        fn new(limits: QueueLimits) -> Self {
            Self { store: MessageStore::default(), queue: Queue::new(limits), dropped: Vec::new() }
        }

        fn insert(&mut self, payload: &[u8], qos: QoS) -> MessageRef {
            self.store.insert(&NewMessage {
                topic: TopicName::new(TOPIC).expect("a good name"),
                payload: Payload::Borrowed(payload),
                qos,
                retain: false,
                origin: Origin::Nobody,
                expires: Instant::NEVER,
                properties: Properties::EMPTY,
            })
        }

        fn push(&mut self, payload: &[u8], qos: QoS, paused: bool) -> Pushed {
            let message = self.insert(payload, qos);
            self.queue.push(entry(message, qos), paused, &self.store, &mut self.dropped)
        }

        fn waiting(&self) -> Vec<&[u8]> {
            self.queue.entries.iter().map(|e| self.store.get(e.message).payload()).collect()
        }

        fn dropped(&self) -> Vec<&[u8]> {
            self.dropped.iter().map(|e| self.store.get(e.message).payload()).collect()
        }
    }

    #[test]
    fn replayed_messages_stand_in_front_of_newer_ones_and_count_to_no_bound() {
        let mut bench = Bench::new(limits(2, 1_000, Overflow::DropOldest));
        let retained = [b"r1", b"r2"].map(|payload| bench.insert(payload, QoS::AtMostOnce));
        bench.push(b"older", QoS::AtLeastOnce, false);
        let before = bench.store.next_sequence();
        bench.push(b"newer", QoS::AtMostOnce, false);
        for message in retained {
            let entry = Queued { is_replayed: true, ..entry(message, QoS::AtMostOnce) };
            bench.queue.insert_replayed(entry, before, &bench.store);
        }
        assert_eq!(bench.waiting(), [&b"older"[..], b"r1", b"r2", b"newer"]);
        assert_eq!((bench.queue.replayed(), bench.queue.bytes()), (2, 12));
        // The newest makes the others that count go, of QoS 0 first.
        for payload in [b"x", b"y"] {
            assert_eq!(bench.push(payload, QoS::AtLeastOnce, false), Pushed::Queued);
        }
        assert_eq!(bench.dropped(), [&b"newer"[..], b"older"]);
        assert_eq!(bench.waiting(), [&b"r1"[..], b"r2", b"x", b"y"]);
        while bench.queue.pop(&bench.store).is_some() {}
        assert_eq!((bench.queue.replayed(), bench.queue.bytes()), (0, 0));
    }

    #[test]
    fn a_full_queue_refuses_the_new_message() {
        let mut bench = Bench::new(limits(2, 1_000, Overflow::RejectNew));
        assert_eq!(bench.push(b"1", QoS::AtLeastOnce, false), Pushed::Queued);
        assert_eq!(bench.push(b"2", QoS::AtLeastOnce, false), Pushed::Queued);
        assert_eq!(bench.push(b"3", QoS::AtLeastOnce, false), Pushed::Rejected);
        assert_eq!(bench.waiting(), [b"1", b"2"]);
    }

    #[test]
    fn a_queue_is_full_by_octets_too() {
        let mut bench = Bench::new(limits(100, 10, Overflow::RejectNew));
        assert_eq!(bench.push(&[0; 9], QoS::AtLeastOnce, false), Pushed::Queued);
        assert_eq!(bench.queue.bytes(), 10);
        assert_eq!(bench.push(b"", QoS::AtLeastOnce, false), Pushed::Rejected);
    }

    #[test]
    fn the_oldest_of_qos_0_make_room_first_and_then_the_oldest() {
        let mut bench = Bench::new(limits(3, 1_000, Overflow::DropOldest));
        bench.push(b"1", QoS::AtLeastOnce, false);
        bench.push(b"2", QoS::AtMostOnce, false);
        bench.push(b"3", QoS::AtLeastOnce, false);
        bench.push(b"4", QoS::AtLeastOnce, false);
        bench.push(b"5", QoS::AtLeastOnce, false);
        assert_eq!(bench.waiting(), [b"3", b"4", b"5"]);
        assert_eq!(bench.dropped(), [b"2", b"1"]);
    }

    #[test]
    fn a_message_larger_than_the_whole_queue_is_refused_under_every_policy() {
        for (overflow, expect) in [
            (Overflow::RejectNew, Pushed::Rejected),
            (Overflow::DropOldest, Pushed::Rejected),
            (Overflow::Disconnect, Pushed::RejectedAndDisconnect),
        ] {
            let mut bench = Bench::new(limits(10, 10, overflow));
            bench.push(b"1", QoS::AtLeastOnce, false);
            assert_eq!(bench.push(&[0; 10], QoS::AtLeastOnce, false), expect);
        }
    }

    #[test]
    fn qos_0_has_a_bound_of_its_own_while_the_link_is_paused() {
        let mut bench = Bench::new(limits(10, 1_000, Overflow::DropOldest));
        for payload in [b"1", b"2", b"3"] {
            bench.push(payload, QoS::AtMostOnce, true);
        }
        bench.push(b"4", QoS::AtLeastOnce, true);
        assert_eq!(bench.waiting(), [b"2", b"3", b"4"]);

        let mut bench = Bench::new(limits(10, 1_000, Overflow::RejectNew));
        for payload in [b"1", b"2", b"3"] {
            bench.push(payload, QoS::AtMostOnce, true);
        }
        assert_eq!(bench.waiting(), [b"1", b"2"]);
    }

    #[test]
    fn an_emptied_queue_gives_its_room_back() {
        let mut bench = Bench::new(limits(10_000, 1 << 20, Overflow::RejectNew));
        for _ in 0..1_000 {
            bench.push(b"x", QoS::AtLeastOnce, false);
        }
        while bench.queue.pop(&bench.store).is_some() {}
        assert_eq!((bench.queue.bytes(), bench.queue.entries.capacity()), (0, 0));
        // That of few messages is worth keeping.
        bench.queue.entries = VecDeque::with_capacity(IDLE_CAPACITY_MAX);
        bench.push(b"x", QoS::AtLeastOnce, false);
        bench.queue.pop(&bench.store);
        assert_eq!(bench.queue.entries.capacity(), IDLE_CAPACITY_MAX);
    }

    #[test]
    fn without_room_for_qos_0_a_paused_link_gets_none_and_what_waits_stays() {
        for overflow in [Overflow::DropOldest, Overflow::RejectNew, Overflow::Disconnect] {
            let limits = QueueLimits { paused_qos0_messages_max: 0, ..limits(10, 1_000, overflow) };
            let mut bench = Bench::new(limits);
            bench.push(b"1", QoS::AtLeastOnce, true);
            assert_eq!(bench.push(b"2", QoS::AtMostOnce, true), Pushed::Rejected);
            assert_eq!(bench.waiting(), [b"1"]);
        }
    }

    /// Groups ask before they choose a member.
    #[test]
    fn a_queue_has_room_exactly_if_it_takes_the_next_message() {
        let mut taken = 0;
        for (count, qos0, size, qos, paused) in fillings() {
            let mut bench = Bench::new(limits(4, 40, Overflow::RejectNew));
            for n in 0..count {
                let qos = if n < qos0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                bench.push(&[0; 7], qos, false);
            }
            let message = bench.insert(&vec![0; size], qos);
            let size = bench.store.get(message).size() as u64;
            let has_room = bench.queue.has_room(size, qos, paused);
            let pushed =
                bench.queue.push(entry(message, qos), paused, &bench.store, &mut bench.dropped);
            let text = format!("{count} wait, {qos0} of QoS 0; {size} at {qos:?}, {paused}");
            assert_eq!(has_room, pushed == Pushed::Queued, "{text}");
            taken += u32::from(has_room);
        }
        assert!((200..400).contains(&taken), "{taken} of 630");
    }

    /// How many wait, how many of them with QoS 0, and the next one: payload, QoS, paused.
    fn fillings() -> impl Iterator<Item = (u32, u32, usize, QoS, bool)> {
        (0..=4).flat_map(|count| {
            let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
            let next = levels.into_iter().flat_map(|qos| [(qos, false), (qos, true)]);
            next.flat_map(move |(qos, paused)| {
                let sizes = [0, 7, 8, 15, 16, 39, 40].into_iter();
                sizes.flat_map(move |size| {
                    (0..=count).map(move |qos0| (count, qos0, size, qos, paused))
                })
            })
        })
    }

    #[test]
    fn a_queue_is_crowded_from_three_quarters_of_either_bound_on() {
        for (messages_max, bytes_max, expect) in [
            (100, 1 << 20, [false, true]),
            (101, 1 << 20, [false, false]),
            (1_000, 750, [false, false]),
            (1_000, 100, [false, true]),
            (1_000, 101, [false, false]),
        ] {
            // Of one octet each.
            let mut bench = Bench::new(limits(messages_max, bytes_max, Overflow::RejectNew));
            let mut crowded = [false; 2];
            for n in 1..=75 {
                bench.push(b"", QoS::AtLeastOnce, false);
                crowded[usize::from(n == 75)] |= bench.queue.is_crowded();
            }
            assert_eq!(crowded, expect, "{messages_max} messages, {bytes_max} octets");
        }
    }

    #[test]
    fn a_retained_message_with_a_record_is_told_before_which_record_it_stands() {
        let mut bench = Bench::new(limits(10, 1_000, Overflow::RejectNew));
        let retained = [0; 2].map(|_| bench.insert(b"r", QoS::AtLeastOnce));
        let before = bench.store.next_sequence();
        let live = [0; 3].map(|_| bench.insert(b"", QoS::AtLeastOnce));
        for (message, number) in live.into_iter().zip([0, 9, 8]) {
            let entry = Queued { number, ..entry(message, QoS::AtLeastOnce) };
            bench.queue.put_back(entry, &bench.store);
        }
        let followers = [(retained[0], 0, None), (retained[1], 10, Some(9))];
        for (message, number, expect) in followers {
            let is_replayed = true;
            let entry = Queued { number, is_replayed, ..entry(message, QoS::AtLeastOnce) };
            assert_eq!(bench.queue.insert_replayed(entry, before, &bench.store), expect);
        }
    }
}
