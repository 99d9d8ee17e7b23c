//! How long the turns of the loop take: a histogram, and the longest.

use std::time::Duration;

use broker_core::Broker;

/// Upper ends of the classes, with the names under which `$SYS` tells them.
const CLASSES: [(Duration, &str); 8] = [
    (Duration::from_micros(100), "le_100us"),
    (Duration::from_micros(300), "le_300us"),
    (Duration::from_millis(1), "le_1ms"),
    (Duration::from_millis(3), "le_3ms"),
    (Duration::from_millis(10), "le_10ms"),
    (Duration::from_millis(30), "le_30ms"),
    (Duration::from_millis(100), "le_100ms"),
    (Duration::from_millis(300), "le_300ms"),
];

/// The turns so far. Sleep between them is not counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    /// Turns of each class; the last ones are longer than every class.
    counts: [u64; CLASSES.len() + 1],
    max: Duration,
    /// The longest since the last round of `$SYS`.
    max_recent: Duration,
}

impl Turns {
    /// A turn took so long.
    pub(super) fn count(&mut self, took: Duration) {
        let class = CLASSES.iter().position(|(end, _)| took <= *end);
        self.counts[class.unwrap_or(CLASSES.len())] += 1;
        self.max = self.max.max(took);
        self.max_recent = self.max_recent.max(took);
    }

    /// Turns that took no longer than the end of each class, and all of them.
    fn cumulative(&self) -> ([u64; CLASSES.len()], u64) {
        let mut sum = 0;
        let mut up_to = [0; CLASSES.len()];
        for (up_to, count) in up_to.iter_mut().zip(self.counts) {
            sum += count;
            *up_to = sum;
        }
        (up_to, sum + self.counts[CLASSES.len()])
    }

    /// Tells `$SYS/broker/loop/…`; the recent longest begins anew.
    pub(super) fn publish(&mut self, broker: &mut Broker) {
        let mut say = |name: &str, value: u64| {
            broker.publish_sys(format_args!("loop/{name}"), format_args!("{value}"));
        };
        let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        say("turn_max_us", micros(self.max));
        say("turn_max_recent_us", micros(core::mem::take(&mut self.max_recent)));
        let (up_to, all) = self.cumulative();
        for ((_, name), count) in CLASSES.iter().zip(up_to) {
            say(&format!("turns/{name}"), count);
        }
        say("turns/count", all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_counts_in_its_class_and_in_all_above() {
        let mut turns = Turns::default();
        for micros in [0, 100, 101, 1_000, 9_999, 10_001, 5_000_000] {
            turns.count(Duration::from_micros(micros));
        }
        assert_eq!(turns.cumulative(), ([2, 3, 4, 4, 5, 6, 6, 6], 7));
        assert_eq!(turns.max, Duration::from_secs(5));
    }
}
