//! Time is data.
//!
//! Nothing in this package reads a clock: whoever drives the broker says what time it is. The event
//! loop takes it from the machine once per turn, the simulator from its virtual clock.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment on the monotonic clock, in microseconds since the process (or the simulation) began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// A moment that never comes; what a timer without a deadline waits for.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `millis` milliseconds after the beginning.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// The moment `secs` seconds after the beginning.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000)
    }

    /// Microseconds since the beginning.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::NEVER`]: a deadline of centuries is no deadline.
    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Wall-clock time in milliseconds since 1970, only for what must survive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

/// Both clocks, read together once per turn of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock: every timer is measured with it.
    pub mono: Instant,
    /// The wall clock: it may jump, so nothing is supervised with it.
    pub unix: UnixMillis,
}

impl Now {
    /// A moment at which both clocks began together; how tests and the simulator make theirs.
    pub const fn from_millis(millis: u64) -> Self {
        Self { mono: Instant::from_millis(millis), unix: UnixMillis(millis) }
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_the_end_of_time_never_comes() {
        assert_eq!(Instant(5) + Duration::MAX, Instant::NEVER);
    }

    #[test]
    fn time_that_runs_backwards_counts_as_no_time() {
        assert_eq!(Instant(3) - Instant(10), Duration::ZERO);
    }
}
