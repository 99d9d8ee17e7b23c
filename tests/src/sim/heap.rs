//! What happens when: the one list of events of a world.
//!
//! Virtual time runs in milliseconds. What happens in the same millisecond happens in the order in
//! which it was planned, so a seed is one history. Events of the next minute lie in a ring of
//! buckets, one a millisecond: planning and taking cost the same however many there are, and there
//! are millions. What is further away waits in a binary heap until its minute comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Milliseconds that the ring covers, a power of two.
const RING: u64 = 1 << 16;

/// Room that an empty bucket keeps.
const IDLE_CAPACITY_MAX: usize = 64;

/// Planned events.
#[derive(Debug)]
pub(crate) struct Heap<T> {
    ring: Vec<Vec<T>>,
    /// The millisecond up to which everything was taken, itself not included.
    now: u64,
    /// Events in the ring.
    near: usize,
    far: BinaryHeap<Reverse<Far<T>>>,
    planned: u64,
}

#[derive(Debug)]
struct Far<T> {
    at: u64,
    number: u64,
    event: T,
}

impl<T> PartialEq for Far<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Far<T> {}

impl<T> PartialOrd for Far<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Far<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> Heap<T> {
    pub(crate) fn new() -> Self {
        let ring = (0..RING).map(|_| Vec::new()).collect();
        Self { ring, now: 0, near: 0, far: BinaryHeap::new(), planned: 0 }
    }

    /// Plans an event; one for a time that is over happens as soon as possible.
    pub(crate) fn plan(&mut self, at: u64, event: T) {
        let at = at.max(self.now);
        if at < self.now + RING {
            self.bucket(at).push(event);
            self.near += 1;
        } else {
            self.planned += 1;
            self.far.push(Reverse(Far { at, number: self.planned, event }));
        }
    }

    /// The millisecond of the next event that comes before `limit`.
    pub(crate) fn next_before(&mut self, limit: u64) -> Option<u64> {
        loop {
            if self.near == 0 {
                let at = self.far.peek().map(|far| far.0.at).filter(|at| *at < limit)?;
                self.advance(at);
            } else if self.bucket(self.now).is_empty() {
                if self.now + 1 >= limit {
                    return None;
                }
                self.advance(self.now + 1);
            } else {
                return (self.now < limit).then_some(self.now);
            }
        }
    }

    /// Takes the events of millisecond `at`, which [`Heap::next_before`] named, into `events`, an
    /// empty list. Events that are planned for it from now on come with the next call.
    pub(crate) fn take(&mut self, at: u64, events: &mut Vec<T>) {
        self.advance(at);
        self.near -= self.bucket(at).len();
        std::mem::swap(self.bucket(at), events);
        let bucket = self.bucket(at);
        if bucket.capacity() > IDLE_CAPACITY_MAX {
            *bucket = Vec::new();
        }
    }

    /// Forgets all events but those that `keeps` says.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&T) -> bool) {
        self.ring.iter_mut().for_each(|bucket| bucket.retain(&keeps));
        self.near = self.ring.iter().map(Vec::len).sum();
        self.far.retain(|far| keeps(&far.0.event));
    }

    /// Goes on to `now`; nothing may lie before it.
    fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        while self.far.peek().is_some_and(|far| far.0.at < self.now + RING) {
            let Some(Reverse(Far { at, event, .. })) = self.far.pop() else { break };
            self.bucket(at).push(event);
            self.near += 1;
        }
    }

    fn bucket(&mut self, at: u64) -> &mut Vec<T> {
        &mut self.ring[usize::try_from(at % RING).expect("a small number")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_of_planning() {
        let mut heap = Heap::new();
        let plan = [(5, 'c'), (200_000, 'f'), (1, 'a'), (5, 'd'), (70_000, 'e'), (1, 'b')];
        for (at, event) in plan {
            heap.plan(at, event);
        }
        let mut came = Vec::new();
        let mut events = Vec::new();
        while let Some(at) = heap.next_before(1_000_000) {
            heap.take(at, &mut events);
            came.extend(events.drain(..).map(|event| (at, event)));
        }
        let expected = [(1, 'a'), (1, 'b'), (5, 'c'), (5, 'd'), (70_000, 'e'), (200_000, 'f')];
        assert_eq!(came, expected);
        heap.plan(300_000, 'x');
        heap.plan(900_000, 'y');
        heap.retain(|event| *event != 'x');
        heap.retain(|event| *event != 'y');
        assert_eq!(heap.next_before(1_000_000), None, "all that was left is forgotten");
        heap.plan(3, 'g');
        assert_eq!(heap.next_before(1_000_000), Some(200_000), "what is late comes at once");
    }
}
