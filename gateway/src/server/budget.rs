//! How much of a turn each link may have, and in which order they come.

use std::collections::VecDeque;

use broker_core::Broker;
use broker_core::key::Key;

use super::tcp::TcpLink;
use super::{DELIVERIES_PER_TURN, Traffic};

/// Messages that may be put into queues in a turn while the broker has more of them than a turn
/// hands on: fewer than it does, so that they get fewer, and publishers are slowed down instead of
/// queues overflowing.
const BACKLOG_WORK: u64 = DELIVERIES_PER_TURN as u64 / 2;

/// What has been done for clients so far, in steps of about a tenth of a microsecond: a packet, a
/// message put into a queue, a KiB that was read, a frame of a WebSocket.
fn steps(broker: &Broker, traffic: &Traffic) -> u64 {
    let stats = broker.stats();
    broker.work() + stats.packets_received + stats.bytes_received / 1_024 + traffic.frames_received
}

/// How far hearing may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    steps_max: u64,
    work_max: u64,
}

impl Allowance {
    /// So many steps from here on; of deliveries fewer, if the broker has a backlog of them.
    pub(super) fn new(
        broker: &Broker,
        traffic: &Traffic,
        steps_more: u64,
        has_backlog: bool,
    ) -> Self {
        let work = if has_backlog { BACKLOG_WORK } else { steps_more };
        Self { steps_max: steps(broker, traffic) + steps_more, work_max: broker.work() + work }
    }

    /// So many steps from here on, within this allowance.
    pub(super) fn part(self, broker: &Broker, traffic: &Traffic, steps_more: u64) -> Self {
        Self { steps_max: self.steps_max.min(steps(broker, traffic) + steps_more), ..self }
    }

    /// Whether no more is to be heard in this turn.
    pub(super) fn is_spent(self, broker: &Broker, traffic: &Traffic) -> bool {
        steps(broker, traffic) >= self.steps_max || broker.work() >= self.work_max
    }
}

/// Links that may have something to read, each once.
///
/// Of which an event told comes before who was not finished with: a client that says something now
/// and then does not wait for those that never stop.
#[derive(Default)]
pub(super) struct Readable {
    news: VecDeque<Key<TcpLink>>,
    rest: VecDeque<Key<TcpLink>>,
    /// Whose turn it was to come first.
    was_rest_first: bool,
}

impl Readable {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.news.len() + self.rest.len()
    }

    /// Adds a link that does not stand here; `is_news` if an event told of it.
    pub(super) fn push(&mut self, key: Key<TcpLink>, is_news: bool) {
        let list = if is_news { &mut self.news } else { &mut self.rest };
        list.push_back(key);
    }

    pub(super) fn pop(&mut self) -> Option<Key<TcpLink>> {
        self.news.pop_front().or_else(|| self.rest.pop_front())
    }

    /// The link that a turn begins with. One alone may take all that the turn allows, so news and
    /// the rest come first by turns: neither can keep the other waiting for ever.
    pub(super) fn pop_first(&mut self) -> Option<Key<TcpLink>> {
        self.was_rest_first = !self.was_rest_first;
        if self.was_rest_first {
            self.rest.pop_front().or_else(|| self.news.pop_front())
        } else {
            self.pop()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each turn reads one link only, since each takes all that a turn allows.
    #[test]
    fn neither_news_nor_the_rest_waits_for_the_other() {
        let key = |index| Key::from_parts(index, 1);
        let mut readable = Readable::default();
        readable.push(key(0), false);
        let mut order = Vec::new();
        for turn in 1..=4 {
            readable.push(key(turn), true);
            let first = readable.pop_first().expect("there are some");
            order.push(first.index());
            if first == key(0) {
                readable.push(first, false);
            }
        }
        assert_eq!(order, [0, 1, 0, 2], "0 is never finished with, the others come once");
    }

    #[test]
    fn who_is_alone_comes_at_every_turn() {
        for is_news in [true, false] {
            let mut readable = Readable::default();
            for _ in 0..3 {
                readable.push(Key::from_parts(7, 1), is_news);
                assert_eq!(readable.pop_first().map(Key::index), Some(7));
                assert!(readable.pop().is_none() && readable.is_empty());
            }
        }
    }
}
