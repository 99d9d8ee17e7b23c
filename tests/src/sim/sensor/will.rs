//! A sensor whose will changes while it is connected (SN 6.4).

use super::super::will_parts::{self, Change, DELETED, FIRST, SECOND, Topics};
use super::{Ask, Cx, Sensor};
use crate::sim::book::{Publication, WILL_NUMBER};
use crate::sim::kind::Kind;
use crate::sim::wire::{self, Octets, frame};

/// The longest time between two changes.
pub(super) const WILL_MS: u64 = 60_000;

impl Sensor {
    /// The next change.
    pub(super) fn change_will(&mut self, cx: &mut Cx<'_>) {
        // Without faults it has no more to say about it.
        let pause_ms = if cx.is_calm { u64::MAX / 2 } else { cx.rng.u64(..WILL_MS) };
        self.will_at = cx.now + pause_ms;
        if cx.is_calm {
            self.next_job(cx);
            return;
        }
        let change = match cx.rng.u32(..6) {
            0 => Change::Topic(DELETED),
            1 => Change::Topic(FIRST),
            2 => Change::Topic(SECOND),
            _ => {
                self.wills += 1;
                Change::Message(WILL_NUMBER + self.wills)
            }
        };
        self.ask(Ask::ChangeWill(change), cx);
    }

    /// WILLTOPIC or WILLTOPICUPD: two octets if there is to be none (SN-024).
    pub(super) fn will_topic(&self, message: u8, topic: Topics, kind: &Kind) -> Octets {
        if topic == DELETED {
            return frame(message, &[]);
        }
        let (qos, retain) = will_parts::manner(kind.will.unwrap_or_default(), topic);
        let flags = qos << 5 | if retain { wire::RETAIN } else { 0 };
        frame(message, &[&[flags], will_parts::name(self.index, topic).as_bytes()])
    }

    /// WILLMSG or WILLMSGUPD.
    pub(super) fn will_message(&self, message: u8, number: u32, cx: &Cx<'_>) -> Octets {
        let will = Publication { party: self.index, number };
        frame(message, &[&cx.book.payload(will, 0)])
    }
}
