//! What a crash leaves of promises: what was acknowledged, and nothing else that is kept.

use super::Ledger;
use crate::sim::book::{Book, Party, Publication};

impl Ledger {
    /// A message of QoS 1 leaves for a client over TCP.
    pub(crate) fn sent(&mut self, party: Party, publication: Publication) {
        self.sent.push_back((self.turn, party, publication));
    }

    /// What happened up to this turn is known to be safe.
    pub(crate) fn is_safe(&mut self, safe_turn: u64) {
        while self.sent.front().is_some_and(|(turn, ..)| *turn <= safe_turn) {
            self.sent.pop_front();
        }
        self.wills.is_safe(safe_turn);
    }

    /// Whether a sensor asks for a clean session whenever it connects.
    pub(crate) fn is_clean(&self, sensor: Party) -> bool {
        self.book.kind(sensor).clean
    }

    /// The publisher has released a message of QoS 2.
    pub(crate) fn released(&mut self, publication: Publication) {
        if let Some(record) = self.records.get_mut(&publication) {
            record.is_released = true;
        }
    }

    /// The gateway is back.
    pub(crate) fn resumed(&mut self) {
        self.booted = Some((self.now, self.wall_offset));
        let Self { wills, book, now, .. } = self;
        wills.resumed(*now, |will| (book.will_qos(will), goes_on(book, will)));
        if std::mem::take(&mut self.has_jumped) {
            wills.aged(|will| book.life_ms(will).is_some());
        }
    }

    /// The gateway was ended and has begun anew with nothing, and so may QoS 2.
    pub(crate) fn lost_all(&mut self) {
        self.is_safe(u64::MAX);
        (self.crashed_at, self.crash_stamp) = (Some(self.now), self.stamp);
        self.restarted();
    }

    /// The gateway was ended, and what it kept is that of a moment after `safe_turn`, which was at
    /// `safe_at`.
    pub(crate) fn crashed(&mut self, safe_turn: u64, safe_at: u64) {
        self.is_safe(safe_turn);
        (self.crashed_at, self.crash_stamp) = (Some(self.now), self.stamp);
        self.model.crash(safe_turn);
        self.crashed_group();
        let Self { wills, book, now, .. } = self;
        wills.crashed(safe_turn, safe_at, *now, |will| (book.will_qos(will), goes_on(book, will)));
        // That they were sent may be forgotten: at QoS 1 they come again, and nobody knows.
        for (_, party, publication) in self.sent.drain(..) {
            let record = self.records.get_mut(&publication);
            let target = record.and_then(|it| it.targets.iter_mut().find(|it| it.party == party));
            if let Some(target) = target {
                target.forgotten += 1;
            }
        }
    }
}

/// Whether the connection with a will is one that goes on after a crash: a sensor that stays away
/// then is missed as late as if it had been heard at that moment. Others are gone with the process.
fn goes_on(book: &Book, will: Publication) -> bool {
    book.is_sensor(will.party) && !book.kind(will.party).clean
}
