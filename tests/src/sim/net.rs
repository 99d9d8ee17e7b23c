//! The radio between sensors and gateway.
//!
//! All rates are drawn from the seed, so each world has its own weather; in some of them single
//! faults do not happen at all. From the moment that calm begins nothing is lost any more.

use fastrand::Rng;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// The longest that a datagram is under way. The gateway tells a copy that comes late from a new
/// message for two seconds, which docs/testing.md names as a limit of what it promises.
pub(crate) const LATE_MS_MAX: u64 = 1_500;

/// How bad the radio is.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    /// Lost by itself.
    pub(crate) loss: f64,
    /// Bursts: how likely one begins and ends with a datagram, and the loss in it.
    pub(crate) burst: Option<[f64; 3]>,
    pub(crate) doubled: f64,
    pub(crate) late: f64,
    pub(crate) late_ms_max: u64,
    /// What every datagram takes.
    pub(crate) delay_ms: [u64; 2],
}

impl Weather {
    pub(crate) fn draw(rng: &mut Rng, loss_max: f64) -> Self {
        let mut sometimes = |most: f64| if rng.bool() { rng.f64() * most } else { 0.0 };
        let (loss, doubled, late) = (sometimes(loss_max), sometimes(0.2), sometimes(0.3));
        let burst =
            rng.bool().then(|| [rng.f64() * 0.03, 0.1 + rng.f64() * 0.5, 0.5 + rng.f64() / 2.0]);
        let burst = burst.filter(|_| loss_max > 0.05);
        let least = rng.u64(1..50);
        let delay_ms = [least, least + rng.u64(0..80)];
        Self { loss, burst, doubled, late, late_ms_max: rng.u64(200..=LATE_MS_MAX - 200), delay_ms }
    }

    /// Independent loss and nothing else.
    pub(crate) const fn plain(loss: f64) -> Self {
        let delay_ms = [20, 60];
        Self { loss, burst: None, doubled: 0.0, late: 0.0, late_ms_max: 200, delay_ms }
    }
}

/// What one sensor's radio is going through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    is_in_burst: bool,
    /// Until when nothing passes, up and down, in milliseconds.
    cut_until: [u64; 2],
}

/// What was done to datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NetStats {
    pub(crate) datagrams: u64,
    pub(crate) lost: u64,
    pub(crate) lost_in_bursts: u64,
    pub(crate) lost_in_cuts: u64,
    pub(crate) doubled: u64,
    pub(crate) late: u64,
}

/// The radio of all sensors.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) weather: Weather,
    pub(crate) calm_at: u64,
    pub(crate) links: Vec<Link>,
    pub(crate) stats: NetStats,
    rng: Rng,
}

impl Net {
    pub(crate) fn new(weather: Weather, calm_at: u64, sensors: u32, rng: Rng) -> Self {
        let links = vec![Link::default(); sensors as usize];
        Self { weather, calm_at, links, stats: NetStats::default(), rng }
    }

    /// Nothing passes that way for a while.
    pub(crate) fn cut(&mut self, sensor: u32, way: Way, until: u64) {
        self.links[sensor as usize].cut_until[way as usize] = until.min(self.calm_at);
    }

    /// When the copies of a datagram arrive, if any does. One that must not come late may be lost
    /// but is neither doubled nor held back.
    pub(crate) fn send(
        &mut self,
        now: u64,
        sensor: u32,
        way: Way,
        may_be_late: bool,
    ) -> [Option<u64>; 2] {
        self.stats.datagrams += 1;
        let [least, most] = self.weather.delay_ms;
        let is_lost = now < self.calm_at && self.is_lost(now, sensor, way);
        if is_lost {
            return [None, None];
        }
        if now >= self.calm_at || !may_be_late {
            return [Some(now + self.rng.u64(least..=most)), None];
        }
        let first = self.arrival(now);
        let second = (self.rng.f64() < self.weather.doubled).then(|| self.arrival(now));
        self.stats.doubled += u64::from(second.is_some());
        [Some(first), second]
    }

    fn is_lost(&mut self, now: u64, sensor: u32, way: Way) -> bool {
        let Self { weather, links, stats, rng, .. } = self;
        let link = &mut links[sensor as usize];
        if now < link.cut_until[way as usize] {
            stats.lost_in_cuts += 1;
            return true;
        }
        if let Some([begins, ends, loss]) = weather.burst {
            let changes = rng.f64() < if link.is_in_burst { ends } else { begins };
            link.is_in_burst ^= changes;
            if link.is_in_burst && rng.f64() < loss {
                stats.lost_in_bursts += 1;
                return true;
            }
        }
        let is_lost = weather.loss > 0.0 && rng.f64() < weather.loss;
        stats.lost += u64::from(is_lost);
        is_lost
    }

    fn arrival(&mut self, now: u64) -> u64 {
        let [least, most] = self.weather.delay_ms;
        let at = now + self.rng.u64(least..=most);
        if self.weather.late > 0.0 && self.rng.f64() < self.weather.late {
            self.stats.late += 1;
            return at + self.rng.u64(0..=self.weather.late_ms_max);
        }
        at
    }
}
