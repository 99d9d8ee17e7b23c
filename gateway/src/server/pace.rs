//! Publishers wait for subscribers that are at work and cannot keep up.
//!
//! A subscriber acknowledges no more messages than its window allows, and a publisher may be
//! quicker than that for long: its connection is not read from while a queue that it fills is
//! nearly full. So TCP slows it down, and nothing is dropped. It waits only for clients that are
//! [at work](broker_core::Broker::behind), and never for long: whoever does not read, or slowly,
//! has its messages dropped and slows nobody down.

use std::collections::VecDeque;
use std::time::Duration;

use broker_core::api::LinkId;
use broker_core::key::Key;
use broker_core::limits::BEHIND_MAX;
use broker_core::time::{Instant, Now};

use super::tcp::TcpLink;
use super::{Server, token};

/// How long a publisher waits at most; then one more of its packets is heard.
const WAIT: Duration = Duration::from_millis(50);

/// How soon waiting publishers are looked at, if nothing else happens.
const LOOK: Duration = Duration::from_millis(5);

/// Waiting publishers that are looked at in a turn; the others come next.
const LOOKS: usize = 64;

/// A publisher that waits, each once.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    publisher: Key<TcpLink>,
    subscribers: [Option<LinkId>; BEHIND_MAX],
    until: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waiting: VecDeque<Waiting>,
    next_look: Instant,
    /// How often one had to wait.
    pub(super) count: u64,
}

impl Pace {
    /// When they have to be looked at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next_look)
    }
}

impl Server {
    /// A link was read from: if it fills the queue of a client that does what it can, it waits. Who
    /// publishes to itself does not, as its acknowledgements come behind what it publishes.
    pub(super) fn pace(&mut self, now: Now, publisher: Key<TcpLink>) {
        let own = token::link_id(publisher);
        let mut behind = self.broker.behind().iter().copied().filter(|of| *of != own);
        let subscribers = core::array::from_fn(|_| behind.next());
        let Some(link) = self.links.get_mut(publisher) else { return };
        if subscribers[0].is_some() && !core::mem::replace(&mut link.is_paced, true) {
            let until = now.mono + WAIT;
            self.pace.next_look = now.mono + LOOK;
            self.pace.waiting.push_back(Waiting { publisher, subscribers, until });
            self.pace.count += 1;
        }
    }

    /// Those that have waited for long enough are read from again.
    pub(super) fn end_waiting(&mut self, now: Now) {
        self.pace.next_look = now.mono + LOOK;
        for _ in 0..self.pace.waiting.len().min(LOOKS) {
            let Some(waiting) = self.pace.waiting.pop_front() else { return };
            let mut subscribers = waiting.subscribers.iter().flatten();
            let is_behind = subscribers.any(|of| self.broker.is_behind(now, *of));
            if is_behind && now.mono < waiting.until {
                self.pace.waiting.push_back(waiting);
                continue;
            }
            if let Some(link) = self.links.get_mut(waiting.publisher) {
                link.is_paced = false;
                self.mark_readable(waiting.publisher, false);
            }
        }
    }
}
