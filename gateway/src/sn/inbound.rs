//! What is remembered of publications from a client.
//!
//! Radio repeats and reorders. MQTT's handshakes tell repetitions apart only while they last; what
//! is remembered here tells a datagram that came late, or twice, from a new message (10.6, D8).

use core::time::Duration;
use std::collections::VecDeque;

use broker_core::api::PacketId;
use broker_core::time::Instant;

/// Publications of QoS 2 remembered of one client: at 500 a second, which a client with one
/// exchange at a time hardly reaches, half a second.
const QOS2_MAX: usize = 256;

/// For how long a datagram that nobody marked as a repetition may be one that the network made or
/// held back. A client that uses the same MsgId for the same content again within this time is not
/// told apart, so it is not longer than networks need: links that hold a datagram back for more
/// than some hundred milliseconds are rare.
const LATE: Duration = Duration::from_secs(2);

/// For how long a publication marked as a repetition is compared with the finished ones of QoS 2.
const QOS2_MEMORY: Duration = Duration::from_secs(120);

/// A publication from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: PacketId,
    /// Of topic and payload.
    pub(super) hash: u64,
    pub(super) at: Instant,
    /// Its exchange is over: PUBACK has left, or PUBREL has come.
    pub(super) is_finished: bool,
    /// It belongs to an earlier connection: only DUP can mean it.
    is_old: bool,
}

impl Seen {
    pub(super) const fn new(id: PacketId, hash: u64, at: Instant) -> Self {
        Self { id, hash, at, is_finished: false, is_old: false }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.hash == other.hash
    }
}

/// The publications of one client.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// The last one of QoS 1.
    last_qos1: Option<Seen>,
    /// Those of QoS 2, oldest first.
    qos2: VecDeque<Seen>,
}

impl Inbound {
    /// Another connection of the same session: what came before can only come again marked as a
    /// repetition; a client that was restarted may begin its MsgIds anew.
    pub(super) fn begin_connection(&mut self) {
        for seen in self.qos2.iter_mut().chain(&mut self.last_qos1) {
            seen.is_old = true;
        }
    }

    /// The last publication of QoS 1, if it is this one and younger than `memory`.
    pub(super) fn find_qos1(&self, publication: &Seen, memory: Duration) -> Option<Seen> {
        self.last_qos1.filter(|last| last.is_same(publication) && publication.at - last.at < memory)
    }

    pub(super) const fn remember_qos1(&mut self, publication: Seen) {
        self.last_qos1 = Some(publication);
    }

    /// Whether a publication of QoS 2 is one whose exchange is over already.
    pub(super) fn is_finished_qos2(&self, publication: &Seen, dup: bool) -> bool {
        self.qos2.iter().any(|seen| {
            let age = publication.at - seen.at;
            seen.is_finished
                && seen.is_same(publication)
                && if dup { age < QOS2_MEMORY } else { age < LATE && !seen.is_old }
        })
    }

    /// Whether a publication of QoS 2 is another than the one under its MsgId whose exchange was
    /// never finished: the client has lost its memory, and begins its MsgIds anew.
    pub(super) fn replaces_qos2(&self, publication: &Seen, dup: bool) -> bool {
        let mut open = self.qos2.iter().filter(|seen| !seen.is_finished);
        !dup && open.any(|seen| seen.id == publication.id && seen.hash != publication.hash)
    }

    pub(super) fn remember_qos2(&mut self, publication: Seen) {
        let is_forgotten = |seen: &Seen| publication.at - seen.at >= QOS2_MEMORY;
        self.qos2.retain(|seen| seen.is_finished || seen.id != publication.id);
        while self.qos2.len() >= QOS2_MAX || self.qos2.front().is_some_and(is_forgotten) {
            self.qos2.pop_front();
        }
        self.qos2.push_back(publication);
    }

    /// PUBREL came: the publication is over.
    pub(super) fn release(&mut self, id: PacketId, now: Instant) {
        let is_meant = |seen: &&mut Seen| seen.id == id && !seen.is_finished;
        if let Some(seen) = self.qos2.iter_mut().rev().find(is_meant) {
            seen.is_finished = true;
            seen.at = now;
        }
    }

    /// PUBACK has left.
    pub(super) fn acknowledge(&mut self, id: PacketId) {
        if let Some(last) = self.last_qos1.as_mut().filter(|last| last.id == id) {
            last.is_finished = true;
        }
    }

    /// The publication was refused: if it comes again, it is judged again.
    pub(super) fn forget(&mut self, id: PacketId) {
        self.last_qos1 = self.last_qos1.filter(|last| last.id != id);
        self.qos2.retain(|seen| seen.is_finished || seen.id != id);
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.qos2.capacity() * size_of::<Seen>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: u16, hash: u64, secs: u64) -> Seen {
        Seen::new(PacketId(id), hash, Instant::from_secs(secs))
    }

    /// Finishes publication 1 with content 7 at 100 s.
    fn finished() -> Inbound {
        let mut inbound = Inbound::default();
        inbound.remember_qos2(seen(1, 7, 99));
        inbound.release(PacketId(1), Instant::from_secs(100));
        inbound
    }

    #[test]
    fn a_late_copy_is_known_for_as_long_as_its_marking_allows() {
        let inbound = finished();
        let is_copy = |id, hash, secs, dup| inbound.is_finished_qos2(&seen(id, hash, secs), dup);
        assert!(is_copy(1, 7, 101, false) && is_copy(1, 7, 219, true));
        assert!(!is_copy(1, 7, 102, false), "the same MsgId and content once more");
        assert!(
            !is_copy(1, 7, 220, true) && !is_copy(1, 8, 101, true) && !is_copy(2, 7, 101, true)
        );
    }

    #[test]
    fn after_a_reconnect_only_dup_means_an_old_publication() {
        let mut inbound = finished();
        inbound.begin_connection();
        assert!(!inbound.is_finished_qos2(&seen(1, 7, 100), false));
        assert!(inbound.is_finished_qos2(&seen(1, 7, 100), true));
    }

    #[test]
    fn the_memory_is_bounded_by_count_and_by_time() {
        let mut inbound = Inbound::default();
        for id in 0..2_000 {
            inbound.remember_qos2(seen(id, 0, 1));
        }
        assert_eq!(inbound.qos2.len(), QOS2_MAX);
        inbound.remember_qos2(seen(3_000, 0, 121));
        assert_eq!(inbound.qos2.len(), 1);
    }

    #[test]
    fn what_is_finished_and_what_still_comes_counts_as_memory() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.memory(), 0);
        (1..=8).for_each(|id| inbound.remember_qos2(seen(id, 7, 99)));
        let held = 8 * size_of::<Seen>();
        assert!((held..=2 * held).contains(&inbound.memory()), "{}", inbound.memory());
    }

    #[test]
    fn only_the_refused_publication_is_judged_again() {
        let mut inbound = finished();
        inbound.remember_qos2(seen(2, 7, 100));
        inbound.remember_qos2(seen(3, 7, 100));
        inbound.forget(PacketId(2));
        inbound.forget(PacketId(1));
        assert_eq!(inbound.qos2.iter().map(|seen| seen.id.0).collect::<Vec<_>>(), [1, 3]);
    }
}
