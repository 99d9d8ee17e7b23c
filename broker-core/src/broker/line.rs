//! Sessions that have something to send and may, each once.
//!
//! They stand in two lines. Who has just got something to send is served before those who are at it
//! for longer, a burst each: a client with a message now and then does not wait for the round of
//! thousands that are being flooded, and those lose next to nothing. Whoever has more than a burst
//! joins the others. So that they are not kept waiting for ever, they have every ninth turn.

use std::collections::VecDeque;

use crate::key::Key;
use crate::limits::BURST_MAX;
use crate::session::Session;

/// Turns of those who came new, before one of the others has its turn.
const FAVOURS_MAX: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Line {
    new: VecDeque<Key<Session>>,
    busy: VecDeque<Key<Session>>,
    favours: u32,
    /// Whose turn it is, and how many messages it has been sent in it.
    current: Option<Key<Session>>,
    burst: u32,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.new.is_empty() && self.busy.is_empty()
    }

    /// Adds a session that does not stand here.
    pub(super) fn join(&mut self, key: Key<Session>) {
        self.new.push_back(key);
    }

    /// Whose turn it is.
    pub(super) fn current(&mut self) -> Option<Key<Session>> {
        if self.current.is_none() {
            let is_favour = self.favours < FAVOURS_MAX || self.busy.is_empty();
            let next = if is_favour { self.new.pop_front() } else { None };
            self.favours = if next.is_some() { self.favours + 1 } else { 0 };
            self.current = next.or_else(|| self.busy.pop_front());
        }
        self.current
    }

    /// Counts a message for the one whose turn it is; whether its turn is over with that.
    pub(super) const fn count(&mut self) -> bool {
        self.burst += 1;
        self.burst >= BURST_MAX
    }

    /// The turn is over, and the session has more.
    pub(super) fn go_on(&mut self) {
        self.busy.extend(self.current.take());
        self.burst = 0;
    }

    /// The turn is over, and the session has nothing any more.
    pub(super) const fn leave(&mut self) {
        self.current = None;
        self.burst = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> Key<Session> {
        Key::from_parts(index, 0)
    }

    /// Whose turns come next, if each of them goes on.
    fn turns(line: &mut Line, count: usize) -> Vec<u32> {
        let turn = |_| {
            let key = line.current().expect("somebody stands here");
            line.go_on();
            key.index()
        };
        (0..count).map(turn).collect()
    }

    #[test]
    fn who_came_new_is_served_before_those_who_are_at_it() {
        let mut line = Line::default();
        (1..=3).for_each(|index| line.join(key(index)));
        assert_eq!(turns(&mut line, 7), [1, 2, 3, 1, 2, 3, 1]);
        line.join(key(9));
        assert_eq!(turns(&mut line, 5), [9, 2, 3, 1, 9]);
    }

    #[test]
    fn those_who_are_at_it_are_not_kept_waiting_for_ever() {
        let mut line = Line::default();
        line.join(key(1));
        assert_eq!(turns(&mut line, 1), [1]);
        (10..40).for_each(|index| line.join(key(index)));
        let order = turns(&mut line, 30);
        assert!(order[..9].contains(&1), "{order:?}");
    }

    #[test]
    fn a_turn_is_a_burst() {
        let mut line = Line::default();
        line.join(key(1));
        line.join(key(2));
        assert_eq!(line.current(), Some(key(1)));
        assert!((1..BURST_MAX).all(|_| !line.count()));
        assert_eq!(line.current(), Some(key(1)));
        assert!(line.count());
        line.go_on();
        assert_eq!(line.current(), Some(key(2)));
        line.leave();
        assert_eq!(line.current(), Some(key(1)));
        line.leave();
        assert!(line.is_empty());
    }
}
