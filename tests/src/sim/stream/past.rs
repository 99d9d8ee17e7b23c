//! What the gateway has of a client's session, and what a crash may leave of that: one of the
//! states since the last that was safe.

/// A state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Gone,
    /// Its client is connected.
    Here {
        expiry_ms: u64,
        /// The delay of its will, if it has one.
        delay_ms: Option<u64>,
    },
    /// Its client is not.
    Away(Away),
}

/// A session whose client is away. Times are said by the virtual clock, and by the wall clock,
/// which is what another process goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Away {
    expiry_ms: u64,
    until: Moment,
    /// When the will is due, and how long it was put off.
    will: Option<(Moment, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    at: u64,
    wall: i64,
}

impl Moment {
    fn after(now: u64, wall_offset: i64, ms: u64) -> Self {
        let at = now.saturating_add(ms);
        Self { at, wall: at.cast_signed().saturating_add(wall_offset) }
    }

    /// For another process, of which nobody waits longer than he was to.
    fn again(self, now: u64, wall_offset: i64, whole_ms: u64) -> Self {
        let left = self.wall - now.cast_signed() - wall_offset;
        let left = u64::try_from(left).unwrap_or(0).min(whole_ms);
        Self { at: now + left, wall: self.wall }
    }
}

/// Whether there is a session that its client goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    No,
    Unsure,
    Yes,
}

/// How much earlier and later than computed a session may end.
const TOLERANCE_MS: u64 = 100;

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Past {
    /// What was so from which turn on. After a crash the first entry is all that may be so.
    log: Vec<(u64, Vec<State>)>,
    /// A process has ended since its client was last here.
    pub(super) is_of_before: bool,
    /// When the will may be due in the process that has begun then.
    wills_due: Vec<u64>,
}

impl Past {
    pub(super) fn new() -> Self {
        let log = vec![(0, vec![State::Gone])];
        Self { log, is_of_before: false, wills_due: Vec::new() }
    }

    fn set(&mut self, turn: u64, state: State) {
        self.is_of_before = false;
        self.log.push((turn, vec![state]));
    }

    fn latest(&self) -> &[State] {
        self.log.last().map_or(&[], |(_, states)| states)
    }

    pub(super) fn here(&mut self, turn: u64, expiry_ms: u64, delay_ms: Option<u64>) {
        self.set(turn, State::Here { expiry_ms, delay_ms });
    }

    pub(super) fn gone(&mut self, turn: u64) {
        self.set(turn, State::Gone);
    }

    /// Its client went, and its will is put off for so long. Until when the session lasts for
    /// sure.
    pub(super) fn away(
        &mut self,
        turn: u64,
        [now, expiry_ms]: [u64; 2],
        delay_ms: Option<u64>,
        wall_offset: i64,
    ) -> u64 {
        let after = |ms| Moment::after(now, wall_offset, ms);
        let will = delay_ms.map(|delay_ms| (after(delay_ms), delay_ms));
        self.set(turn, State::Away(Away { expiry_ms, until: after(expiry_ms), will }));
        self.lasts_until()
    }

    /// Until when there is a session for sure.
    pub(super) fn lasts_until(&self) -> u64 {
        let until = |state: &State| match state {
            State::Gone => 0,
            State::Here { .. } => u64::MAX,
            State::Away(Away { until, .. }) => until.at.saturating_sub(TOLERANCE_MS),
        };
        self.latest().iter().map(until).min().unwrap_or(0)
    }

    /// Whether there is a session.
    pub(super) fn session(&self, now: u64) -> Session {
        let is_there = |state: &State| match state {
            State::Gone => Session::No,
            State::Here { .. } => Session::Yes,
            State::Away(Away { until, .. }) if now + TOLERANCE_MS < until.at => Session::Yes,
            State::Away(Away { until, .. }) if now > until.at + TOLERANCE_MS => Session::No,
            State::Away(_) => Session::Unsure,
        };
        let mut all = self.latest().iter().map(is_there);
        let first = all.next().unwrap_or(Session::No);
        if all.all(|other| other == first) { first } else { Session::Unsure }
    }

    /// Whether there was one whose time is over.
    pub(super) fn has_expired(&self, now: u64) -> bool {
        let is_away = |state: &State| matches!(state, State::Away(_));
        self.session(now) == Session::No && self.latest().iter().all(is_away)
    }

    /// The process ended; what was so after `safe_turn`, which was at `safe_at`, is kept.
    pub(super) fn crashed(&mut self, safe_turn: u64, safe_at: u64, now: u64) {
        let first = self.log.iter().rposition(|(turn, _)| *turn <= safe_turn).unwrap_or(0);
        let mut left: Vec<State> = Vec::new();
        for (_, states) in &self.log[first..] {
            left.extend(states);
        }
        // Whose time was over by then is gone for sure, or perhaps.
        let until = |state: &State| match state {
            State::Away(away) => away.until.at,
            State::Gone | State::Here { .. } => u64::MAX,
        };
        let is_over = |state: &State| until(state).saturating_add(TOLERANCE_MS) < safe_at;
        left.iter_mut().filter(|state| is_over(state)).for_each(|state| *state = State::Gone);
        if left.iter().any(|state| until(state) <= now + TOLERANCE_MS) {
            left.push(State::Gone);
        }
        self.is_of_before = true;
        self.log = vec![(0, left)];
    }

    /// Another process has begun. What it makes of what it found is to be kept first.
    pub(super) fn resumed(&mut self, turn: u64, now: u64, wall_offset: i64) {
        let found = self.latest().to_vec();
        let mut states = found.clone();
        let wills_due = &mut self.wills_due;
        wills_due.clear();
        let after = |ms| Moment::after(now, wall_offset, ms);
        for state in &mut states {
            *state = match *state {
                State::Gone => State::Gone,
                State::Here { expiry_ms, delay_ms } => {
                    let will = delay_ms.map(|it| (after(it.min(expiry_ms)), it));
                    let until = after(expiry_ms);
                    State::Away(Away { expiry_ms, until, will })
                }
                State::Away(Away { expiry_ms, until, will }) => {
                    let until = until.again(now, wall_offset, expiry_ms);
                    let again = |(due, delay_ms): (Moment, u64)| {
                        (due.again(now, wall_offset, delay_ms), delay_ms)
                    };
                    State::Away(Away { expiry_ms, until, will: will.map(again) })
                }
            };
            match *state {
                State::Away(Away { expiry_ms, until, will }) => {
                    wills_due.extend(will.map(|(due, _)| due.at.min(until.at)));
                    if expiry_ms == 0 {
                        *state = State::Gone;
                    }
                }
                State::Gone | State::Here { .. } => {}
            }
        }
        self.log = vec![(0, found), (turn, states)];
    }

    /// The first and the last moment at which the will may be due in the new process.
    pub(super) fn will_due(&self) -> Option<[u64; 2]> {
        let due = &self.wills_due;
        Some([*due.iter().min()?, *due.iter().max()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_as_long_as_it_was_said_to() {
        let mut past = Past::new();
        assert_eq!(past.session(0), Session::No);
        past.here(1, 10_000, None);
        assert_eq!(past.session(1_000_000), Session::Yes);
        past.away(2, [5_000, 10_000], None, 0);
        let at = |past: &Past, now| past.session(now);
        assert_eq!(
            [14_000, 15_000, 16_000].map(|now| at(&past, now)),
            [Session::Yes, Session::Unsure, Session::No]
        );
        assert!(past.has_expired(16_000));
    }

    #[test]
    fn a_crash_leaves_one_of_the_states_since_the_last_that_was_safe() {
        let mut past = Past::new();
        past.here(3, 10_000, Some(4_000));
        past.away(5, [20_000, 10_000], Some(4_000), 0);
        past.crashed(4, 19_000, 21_000);
        past.resumed(6, 22_000, 0);
        assert_eq!(past.session(29_000), Session::Yes);
        assert_eq!(past.session(31_000), Session::Unsure);
        assert_eq!(past.session(33_000), Session::No);
        assert_eq!(past.will_due(), Some([24_000, 26_000]));
    }

    #[test]
    fn what_a_process_made_of_a_session_is_lost_with_it_before_it_is_safe() {
        let mut past = Past::new();
        past.here(1, 10_000, None);
        past.crashed(1, 2_000, 2_500);
        past.resumed(7, 3_000, 0);
        past.crashed(6, 4_000, 8_000);
        past.resumed(9, 9_000, 0);
        assert_eq!(past.session(12_000), Session::Yes);
        assert_eq!(past.session(18_000), Session::Unsure);
    }

    #[test]
    fn another_process_goes_by_the_wall_clock() {
        let mut past = Past::new();
        past.away(1, [1_000, 60_000], None, 0);
        past.crashed(1, 2_000, 2_500);
        past.resumed(1, 3_000, 50_000);
        assert_eq!([10_000, 12_000].map(|now| past.session(now)), [Session::Yes, Session::No]);
        past.crashed(1, 4_000, 4_500);
        past.resumed(1, 5_000, -9_000_000);
        assert_eq!([64_000, 66_000].map(|now| past.session(now)), [Session::Yes, Session::No]);
    }
}
