//! All that happens because time passes.
//!
//! Keep-alive is lazy: a packet only notes when it came, and the timer sets itself again when it
//! finds that somebody was heard meanwhile. So a packet costs the wheel nothing.

use core::time::Duration;

use super::Broker;
use crate::key::Key;
use crate::limits::TIMEOUT_STEPS;
use crate::message::MessageRef;
use crate::reason::ReasonCode;
use crate::session::Session;
use crate::topic::TopicName;

/// What a timer of the broker is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    KeepAlive(Key<Session>),
    SessionExpiry(Key<Session>),
    WillDelay(Key<Session>),
    /// A retained message is of no more use; it may have been replaced.
    Retained(MessageRef, u64),
    Sys,
}

impl Broker {
    /// Deals with the timers that are due, a bounded number of them.
    pub(super) fn expire(&mut self) {
        let mut steps = TIMEOUT_STEPS;
        while let Some(timer) = self.timers.pop(self.now.mono, &mut steps) {
            match timer {
                Timer::KeepAlive(key) => self.check_keep_alive(key),
                // [MQTT5-4.1.0-2]
                Timer::SessionExpiry(key) => {
                    self.session(key).expiry_timer = None;
                    self.stats.sessions_expired += 1;
                    self.end_session(key);
                }
                Timer::WillDelay(key) => self.make_will_due(key),
                Timer::Retained(message, sequence) => self.expire_retained(message, sequence),
                Timer::Sys => {
                    self.publish_sys_values();
                    let next = self.config.sys_interval.map(|interval| self.now.mono + interval);
                    self.sys.timer = next.map(|next| self.timers.insert(next, Timer::Sys));
                }
            }
        }
    }

    /// Message expiry ends a retained message, too.
    fn expire_retained(&mut self, message: MessageRef, sequence: u64) {
        let Some(stored) = self.messages.find(message, sequence) else { return };
        let topic = stored.topic().to_owned();
        let topic = TopicName::new(&topic).expect("published under a good name");
        if self.retained.get(topic) == Some(message) {
            self.stats.retained_expired += 1;
            self.unretain(topic);
        }
    }

    /// A sign of life.
    pub(super) fn seen(&mut self, key: Key<Session>) {
        let now = self.now.mono;
        if let Some(link) = &mut self.session(key).link {
            link.last_seen = now;
        }
    }

    /// Sets how long the link may be silent, counted from its last sign of life.
    pub(super) fn supervise(&mut self, key: Key<Session>, keep_alive: Option<Duration>) {
        let session = self.sessions.get_mut(key).expect("looked up by its link");
        let Some(link) = &mut session.link else { return };
        if let Some(timer) = link.keep_alive_timer.take() {
            self.timers.cancel(timer);
        }
        link.keep_alive = keep_alive;
        if let Some(keep_alive) = keep_alive {
            let deadline = link.last_seen + keep_alive;
            link.keep_alive_timer = Some(self.timers.insert(deadline, Timer::KeepAlive(key)));
        }
    }

    fn check_keep_alive(&mut self, key: Key<Session>) {
        let session = self.sessions.get_mut(key).expect("the timer goes with the link");
        let link = session.link.as_mut().expect("the timer goes with the link");
        let keep_alive = link.keep_alive.expect("the timer goes with the keep alive");
        let deadline = link.last_seen + keep_alive;
        if deadline > self.now.mono {
            link.keep_alive_timer = Some(self.timers.insert(deadline, Timer::KeepAlive(key)));
            return;
        }
        link.keep_alive_timer = None;
        self.stats.keep_alive_timeouts += 1;
        // As if the network had failed: the will is published [MQTT-3.1.2-24], SN-091, SN-094.
        self.cut_off(key, ReasonCode::KeepAliveTimeout);
    }
}
