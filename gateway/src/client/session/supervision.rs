//! Waiting for an answer (SN 6.13).

use core::time::Duration;

use super::vocabulary::Retry;

/// The wait for the answer to a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supervision {
    /// When it is sent again, or given up.
    pub(super) due: Duration,
    /// How often it was sent.
    pub(super) tries: u16,
}

impl Supervision {
    /// The message was sent for the first time.
    pub(super) fn start(now: Duration, retry: Retry) -> Self {
        Self { due: now + retry.after, tries: 1 }
    }

    /// The message is sent once more; `None` if that was done often enough.
    pub(super) fn again(self, now: Duration, retry: Retry) -> Option<Self> {
        let again = self.tries <= u16::from(retry.times);
        again.then(|| Self { due: now + retry.after, tries: self.tries + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sn_089_a_message_is_repeated_as_often_as_said_and_no_more() {
        let check = |times: u8| {
            let retry = Retry { after: Duration::from_secs(2), times };
            let mut wait = Supervision::start(Duration::ZERO, retry);
            let mut repeats = 0;
            while let Some(next) = wait.again(wait.due, retry) {
                assert_eq!(next.due, wait.due + retry.after);
                wait = next;
                repeats += 1;
            }
            assert_eq!((repeats, wait.tries), (u16::from(times), u16::from(times) + 1));
        };
        [0, 1, 3, u8::MAX].into_iter().for_each(check);
    }
}
