//! Other settings while everything goes on.
//!
//! Settings change between two inputs. Nothing that is there goes because of a lower bound: what is
//! above it drains, and what is new is refused as at the bound. What a link was promised when it
//! came (its window, the expiry of its session) stays until it ends.

use super::Broker;
use super::expire::Timer;
use crate::api::QueueLimits;
use crate::limits::BrokerConfig;
use crate::retained::Cursor;
use crate::time::Now;
use crate::topic::{TopicFilter, TopicName};

/// Retained topics looked at in one step of [`Broker::forget_sys`].
const FORGET_STEPS: u32 = 512;

impl Broker {
    /// Takes other settings from now on. Those of a process stay as they were at its start: whether
    /// it is durable, its version and its seed.
    ///
    /// Lower bounds refuse what is new and touch nothing that is there; [`Limits`] says at each
    /// what that means. Windows and session expiry are for links that come from now on. Bounds of
    /// queues are set with [`Broker::set_queue_limits`]. Work is in proportion to the groups of
    /// shared subscriptions.
    ///
    /// [`Limits`]: crate::limits::Limits
    pub fn reconfigure(&mut self, now: Now, config: BrokerConfig) {
        self.now = now;
        let BrokerConfig {
            limits,
            durability: _,
            validate_payload_format,
            shares,
            sys_interval,
            version: _,
            seed: _,
        } = config;
        self.config.limits = limits;
        self.config.validate_payload_format = validate_payload_format;
        self.shares.set_strategies(shares.clone());
        self.config.shares = shares;
        if self.config.sys_interval != sys_interval {
            self.set_sys_interval(sys_interval);
        }
    }

    /// Sets the bounds of the queues of all sessions there are, also of those that are away: for
    /// clients of MQTT and of MQTT-SN. What waits in a queue beyond its bounds stays and drains.
    pub fn set_queue_limits(&mut self, mqtt: QueueLimits, sn: QueueLimits) {
        for (_, session) in self.sessions.iter_mut() {
            let limits = if session.dialect.is_sn() { sn } else { mqtt };
            session.queue.set_limits(limits);
        }
    }

    /// With an interval the next round of `$SYS` comes after it, or at once if there was none;
    /// without one what was told is forgotten.
    fn set_sys_interval(&mut self, interval: Option<core::time::Duration>) {
        let was_told = self.config.sys_interval.is_some();
        self.config.sys_interval = interval;
        if let Some(timer) = self.sys.timer.take() {
            self.timers.cancel(timer);
        }
        match interval {
            Some(interval) => {
                let next = if was_told { self.now.mono + interval } else { self.now.mono };
                self.sys.timer = Some(self.timers.insert(next, Timer::Sys));
            }
            None => self.forget_sys(),
        }
    }

    /// Nobody but the broker publishes there, and it tells a bounded number of values.
    fn forget_sys(&mut self) {
        let filter = TopicFilter::new("$SYS/#").expect("a good filter");
        let mut cursor = Cursor::default();
        while !cursor.is_done() {
            let mut steps = FORGET_STEPS;
            while let Some(message) = self.retained.next(filter, &mut cursor, &mut steps) {
                let topic = self.messages.get(message).topic().to_owned();
                self.unretain(TopicName::new(&topic).expect("published under a good name"));
            }
        }
    }
}
