//! A full disk: what is worth a piece of the reserve.
//!
//! All is well when there is room for the reserve, and then for all that waits. Until then changes
//! are written into the room that it held, as long as they bring its return nearer:
//!
//! | changes | of the reserve |
//! |---|---|
//! | leave less than writing them takes: that is written, in the place of all else | all of it |
//! | free more than they take | but for an eighth of what there is of it |
//! | free something: QoS 2 needs a change before a message is gone | half |
//!
//! Then old files of which little is needed are given up, if what is needed has room elsewhere.

use std::io;
use std::time::Duration;

use broker_core::time::Instant;

use super::{FRAME_BYTES_MAX, Outage, Outside, RETRY_MAX, Writer, append_pieces};
use crate::store::disk::Disk;
use crate::store::log::Log;
use crate::store::reserve::{self, is_full};

/// Octets of changes that are worth an attempt at any time.
const EAGER_BYTES: usize = 128 << 10;

/// How soon room from outside is looked for again: that writes as much as there is.
const LOOK_INTERVAL: Duration = RETRY_MAX.checked_div(2).expect("two is not zero");

/// What was found when the reserve was to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    at: Instant,
    /// Octets that there was room for, up to those of the reserve.
    room: u64,
    /// Octets of the log.
    bytes: u64,
}

/// How changes are written that are worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Behind,
    InPlaceOfAll,
}

impl<D: Disk> Writer<D> {
    /// Makes everything safe after the disk was full, or as much as helps.
    pub(super) fn write_in_need(
        &mut self,
        outage: &mut Outage,
        outside: &mut impl Outside,
    ) -> io::Result<()> {
        let error = match self.be_well(outage, outside) {
            Err(error) if is_full(&error) => error,
            done => return done,
        };
        let way = self.way_out(outage);
        if way.is_none() && !self.log.can_shrink(self.left(outage)) {
            return Err(error);
        }
        reserve::release(self.log.disk())?;
        match way {
            Some(Way::Behind) => self.write(outage, outside, append_pieces)?,
            Some(Way::InPlaceOfAll) => self.write(outage, outside, Log::rewrite)?,
            None => {}
        }
        let newest = self.log.newest();
        while self.log.make_room(self.left(outage), newest)? {}
        self.be_well(outage, outside)
    }

    /// Holds the reserve and makes everything safe.
    fn be_well(&mut self, outage: &mut Outage, outside: &mut impl Outside) -> io::Result<()> {
        let (at, bytes) = (outside.now(), self.log.bytes());
        // While the log is larger than it was, only room from outside can help.
        if outage.look.is_some_and(|look| bytes > look.bytes && at < look.at + LOOK_INTERVAL) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = self.log.take_reserve();
        outage.look = Some(Look { at, room: self.log.reserve_room(), bytes });
        taken?;
        outage.live_before = None;
        self.write(outage, outside, append_pieces)
    }

    /// How the changes that wait are written, if they are worth it.
    fn way_out(&self, outage: &mut Outage) -> Option<Way> {
        let live_bytes = self.log.live_bytes();
        let live_before = *outage.live_before.get_or_insert(live_bytes);
        let (left, reserve) = (self.left(outage), self.log.reserve_bytes());
        let waits = outage.backlog.balance(|key| self.log.record_bytes(key));
        let live_after = live_bytes - waits.freed + waits.put;
        if live_after < live_bytes.min(waits.len) && live_after < FRAME_BYTES_MAX as u64 {
            return Some(Way::InPlaceOfAll);
        }
        let is_gain = waits.len < waits.freed;
        let is_even = waits.freed > 0 && live_after <= live_before + reserve / 8;
        let keeps = |part: u64| waits.len + part <= left;
        let found = outage.look.map_or(0, |look| look.room);
        (is_gain && keeps(found / 8) || is_even && keeps(reserve / 2)).then_some(Way::Behind)
    }

    /// So many octets of changes are written before it is time to try again: with many more of them
    /// the reserve might not be enough.
    pub(super) fn eager_bytes(&self, outage: &Outage) -> usize {
        let least = match self.log.reserve_bytes() / 8 {
            0 => EAGER_BYTES,
            part => EAGER_BYTES.min(usize::try_from(part).unwrap_or(usize::MAX)),
        };
        least.max(outage.eager_bytes)
    }

    /// What is left of the room that was found. Without a reserve there may be some nevertheless.
    fn left(&self, outage: &Outage) -> u64 {
        let found = outage.look.filter(|_| self.log.reserve_bytes() > 0);
        found.map_or(u64::MAX, |Look { room, bytes, .. }| {
            (room + bytes).saturating_sub(self.log.bytes())
        })
    }
}
