//! A hierarchical timer wheel.
//!
//! Five levels of 64 slots; a slot of level *n* spans 64ⁿ ticks of 1.024 ms, so the whole wheel
//! spans about 12 days and later deadlines wait in its last slots. Insert and cancel are O(1); a
//! timer moves at most four times towards level 0 before it fires. It never fires early and, when
//! asked in time, at most one tick late.

use core::fmt;

use crate::time::Instant;

const LEVELS: usize = 5;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const TICK_BITS: u32 = 10;
/// Ticks the wheel can tell apart; deadlines further away are put here and looked at again.
const SPAN: u64 = 1 << (SLOT_BITS * LEVELS as u32);
const NONE: u32 = u32::MAX;
/// The list that holds what is due; it stands behind the slots.
const DUE: usize = LEVELS * SLOTS;

/// The name of a timer that was set; of no use once it has fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    /// The list it hangs in; meaningless while free.
    list: u16,
    previous: u32,
    next: u32,
    /// Deadline in ticks, rounded up.
    when: u64,
    value: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// Timers that carry a `T` each.
pub struct TimerWheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
    lists: [List; DUE + 1],
    /// One bit per slot that is not empty.
    occupied: [u64; LEVELS],
    /// The tick up to which everything has been moved to the due list.
    elapsed: u64,
}

impl<T> fmt::Debug for TimerWheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerWheel")
            .field("len", &self.len)
            .field("elapsed", &self.elapsed)
            .finish()
    }
}

impl<T> TimerWheel<T> {
    /// An empty wheel that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            len: 0,
            lists: [List { head: NONE, tail: NONE }; DUE + 1],
            occupied: [0; LEVELS],
            elapsed: now.as_micros() >> TICK_BITS,
        }
    }

    /// How many timers are set.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is set.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. A deadline that has passed fires at the next [`TimerWheel::pop`].
    ///
    /// # Panics
    /// With 2³² timers set; the limits on sessions keep it far from that.
    pub fn insert(&mut self, deadline: Instant, value: T) -> TimerId {
        let when = deadline.as_micros().div_ceil(1 << TICK_BITS);
        let index = if self.free == NONE {
            let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 timers");
            self.entries.push(Entry {
                generation: 0,
                list: 0,
                previous: NONE,
                next: NONE,
                when,
                value: Some(value),
            });
            index
        } else {
            let index = self.free;
            let entry = &mut self.entries[index as usize];
            self.free = entry.next;
            entry.when = when;
            entry.value = Some(value);
            index
        };
        self.len += 1;
        self.link(index);
        TimerId { index, generation: self.entries[index as usize].generation }
    }

    /// Takes a timer back, if it has not fired.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let entry = self.entries.get(id.index as usize)?;
        if entry.generation != id.generation || entry.value.is_none() {
            return None;
        }
        self.unlink(id.index);
        self.release(id.index)
    }

    /// The next timer that is due at `now`.
    ///
    /// Does a bounded amount of work: each timer that is looked at takes one off `steps`, and at
    /// zero it returns `None` although more may be due; [`TimerWheel::next_deadline`] then says
    /// "now".
    pub fn pop(&mut self, now: Instant, steps: &mut u32) -> Option<T> {
        let now = now.as_micros() >> TICK_BITS;
        loop {
            let head = self.lists[DUE].head;
            if head != NONE {
                *steps = steps.saturating_sub(1);
                self.unlink(head);
                return self.release(head);
            }
            let Some((list, tick)) = self.next_slot() else {
                self.elapsed = self.elapsed.max(now);
                return None;
            };
            if tick > now {
                self.elapsed = self.elapsed.max(now);
                return None;
            }
            self.elapsed = self.elapsed.max(tick);
            while self.lists[list].head != NONE {
                if *steps == 0 {
                    return None;
                }
                *steps -= 1;
                let index = self.lists[list].head;
                self.unlink(index);
                self.link(index);
            }
        }
    }

    /// When [`TimerWheel::pop`] should be asked next. It may have nothing to give then, as timers
    /// that are far away are looked at in between; it is never later than the earliest deadline
    /// plus a tick.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.lists[DUE].head != NONE {
            return Some(Instant(self.elapsed << TICK_BITS));
        }
        self.next_slot().map(|(_, tick)| Instant(tick.max(self.elapsed) << TICK_BITS))
    }

    /// The slot to be looked at next, and the tick at which.
    fn next_slot(&self) -> Option<(usize, u64)> {
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let position = (self.elapsed >> shift) % SLOTS as u64;
            let ahead =
                u64::from(self.occupied[level].rotate_right(position as u32).trailing_zeros());
            let slot = (position + ahead) % SLOTS as u64;
            let tick = ((self.elapsed >> shift) + ahead) << shift;
            return Some((level * SLOTS + slot as usize, tick));
        }
        None
    }

    /// Hangs an entry into the list where its deadline belongs as seen from `elapsed`.
    fn link(&mut self, index: u32) {
        let when = self.entries[index as usize].when;
        let list = self.list_for(when);
        let tail = self.lists[list].tail;
        let entry = &mut self.entries[index as usize];
        entry.list = u16::try_from(list).expect("there are 321 lists");
        entry.previous = tail;
        entry.next = NONE;
        if tail == NONE {
            self.lists[list].head = index;
        } else {
            self.entries[tail as usize].next = index;
        }
        self.lists[list].tail = index;
        if list != DUE {
            self.occupied[list / SLOTS] |= 1 << (list % SLOTS);
        }
    }

    fn list_for(&self, when: u64) -> usize {
        if when <= self.elapsed {
            return DUE;
        }
        // One slot less than the whole span, so that the last level never wraps onto its own slot.
        let furthest = self.elapsed + SPAN - (SPAN >> SLOT_BITS);
        let when = when.min(furthest);
        let differing = (self.elapsed ^ when) | (SLOTS as u64 - 1);
        let level = ((63 - differing.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1);
        let slot = (when >> (SLOT_BITS * level)) as usize % SLOTS;
        level as usize * SLOTS + slot
    }

    fn unlink(&mut self, index: u32) {
        let Entry { list, previous, next, .. } = self.entries[index as usize];
        let list = list as usize;
        if previous == NONE {
            self.lists[list].head = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next == NONE {
            self.lists[list].tail = previous;
        } else {
            self.entries[next as usize].previous = previous;
        }
        if list != DUE && self.lists[list].head == NONE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        entry.value.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(wheel: &mut TimerWheel<u64>, now: Instant) -> Vec<u64> {
        let mut steps = u32::MAX;
        core::iter::from_fn(|| wheel.pop(now, &mut steps)).collect()
    }

    #[test]
    fn a_timer_fires_at_its_deadline_and_not_before() {
        let mut wheel = TimerWheel::new(Instant(0));
        wheel.insert(Instant::from_millis(1_500), 7);
        assert_eq!(drain(&mut wheel, Instant::from_millis(1_499)), []);
        assert_eq!(drain(&mut wheel, Instant::from_millis(1_502)), [7]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_cancelled_timer_never_fires_and_its_id_is_worn_out() {
        let mut wheel = TimerWheel::new(Instant(0));
        let id = wheel.insert(Instant::from_secs(5), 1);
        assert_eq!(wheel.cancel(id), Some(1));
        let other = wheel.insert(Instant::from_secs(6), 2);
        assert_eq!(wheel.cancel(id), None);
        assert_eq!(drain(&mut wheel, Instant::from_secs(7)), [2]);
        assert_eq!(wheel.cancel(other), None);
    }

    #[test]
    fn a_deadline_beyond_the_span_of_the_wheel_is_kept() {
        let mut wheel = TimerWheel::new(Instant(0));
        let days = |n: u64| Instant::from_secs(n * 86_400);
        wheel.insert(days(40), 40);
        for day in 1..40 {
            assert_eq!(drain(&mut wheel, days(day)), [], "day {day}");
        }
        assert_eq!(drain(&mut wheel, days(40) + core::time::Duration::from_millis(2)), [40]);
    }

    #[test]
    fn steps_bound_the_work_of_one_call_and_the_rest_is_announced() {
        let mut wheel = TimerWheel::new(Instant(0));
        let deadline = Instant::from_secs(100);
        for n in 0..1_000 {
            wheel.insert(deadline, n);
        }
        let now = Instant::from_secs(101);
        let mut fired = Vec::new();
        let mut calls = 0;
        while !wheel.is_empty() {
            assert!(wheel.next_deadline().expect("timers are set") <= now);
            let mut steps = 100;
            fired.extend(core::iter::from_fn(|| {
                (steps > 0).then(|| wheel.pop(now, &mut steps)).flatten()
            }));
            calls += 1;
        }
        assert_eq!(fired, (0..1_000).collect::<Vec<_>>());
        assert!(calls >= 10, "{calls} calls did 1,000 timers at 100 steps each");
    }

    proptest! {
        /// Whatever is inserted and cancelled: each timer fires once, within a tick after its
        /// deadline, when the wheel is asked at the times that it names.
        #[test]
        fn every_timer_fires_on_time(
            start in 0_u64..1 << 50,
            ops in prop::collection::vec((0_u64..3_000_000_000, any::<bool>()), 1..200),
        ) {
            let mut wheel = TimerWheel::new(Instant(start));
            let mut expected = Vec::new();
            for (n, (delay, cancelled)) in ops.iter().enumerate() {
                let deadline = Instant(start + delay);
                let id = wheel.insert(deadline, n as u64);
                if *cancelled {
                    prop_assert_eq!(wheel.cancel(id), Some(n as u64));
                } else {
                    expected.push((deadline, n as u64));
                }
            }
            let mut fired = Vec::new();
            while let Some(at) = wheel.next_deadline() {
                for n in drain(&mut wheel, at) {
                    let deadline = Instant(start + ops[n as usize].0);
                    prop_assert!(at >= deadline, "{} fired at {}", deadline, at);
                    prop_assert!(at.0 - deadline.0.max(start) <= 2 << TICK_BITS);
                    fired.push((deadline, n));
                }
            }
            fired.sort();
            expected.sort();
            prop_assert_eq!(fired, expected);
            prop_assert!(wheel.is_empty());
        }
    }
}
