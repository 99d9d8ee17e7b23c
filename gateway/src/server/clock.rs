//! The clocks of the machine, read once per turn.

use std::time::{Instant as MachineInstant, SystemTime, UNIX_EPOCH};

use broker_core::time::{Instant, Now, UnixMillis};
use tracing::warn;

/// A jump of the wall clock that is worth a line.
const JUMP_MS: u64 = 10_000;

/// Gives [`Now`]. Only the monotonic clock drives timers; the wall clock is watched for jumps.
#[derive(Debug)]
pub(super) struct Clock {
    began: MachineInstant,
    last: Now,
}

impl Clock {
    pub(super) fn new() -> Self {
        let began = MachineInstant::now();
        Self { began, last: Now { mono: Instant(0), unix: unix() } }
    }

    pub(super) fn now(&mut self) -> Now {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let now = Now { mono: Instant(micros), unix: unix() };
        let passed_ms = (now.mono.0 - self.last.mono.0) / 1_000;
        let jump_ms = now.unix.0.abs_diff(self.last.unix.0 + passed_ms);
        if jump_ms > JUMP_MS {
            warn!(jump_ms, "the wall clock jumped; timers are not affected");
        }
        self.last = now;
        now
    }
}

fn unix() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
