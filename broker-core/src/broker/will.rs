//! Wills: what is published when a link ends without saying so.
//!
//! A will that is due leaves its session and stands in a line of its own: when ten thousand links
//! break at once, their wills are published as fast as the subscribers that are at work can take
//! them, and none is thrown away because it came in a crowd. A will that waits for thirty seconds
//! is published like any other message. Publishing happens in [`Broker::handle_timeout`], never
//! while a link is being ended: the end of one may be caused by a publication.

use core::time::Duration;
use std::collections::VecDeque;

use super::Broker;
use super::expire::Timer;
use super::output::{Answer, Control};
use super::record::to_unix;
use crate::api::{LinkId, Payload, QoS, WillChange, WillPart};
use crate::key::Key;
use crate::limits::{WILL_PATIENCE, WILL_RETRY, WILLS_PER_CALL};
use crate::message::{NewMessage, Origin};
use crate::property::{Properties, Property};
use crate::reason::ReasonCode;
use crate::session::{Session, StoredWill};
use crate::time::{Instant, UnixMillis};
use crate::topic::{self, TopicBuf};

/// A will that is due.
#[derive(Debug)]
pub(super) struct DueWill {
    pub(super) topic: TopicBuf,
    pub(super) payload: Vec<u8>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: Vec<u8>,
    pub(super) origin: Key<Session>,
    pub(super) due: Instant,
    /// The number of its record; 0: it has none.
    pub(super) number: u64,
}

/// Wills that are due, and the memory of all wills.
#[derive(Debug, Default)]
pub(super) struct Wills {
    pub(super) due: VecDeque<DueWill>,
    pub(super) bytes: u64,
    next_attempt: Option<Instant>,
}

impl Wills {
    pub(super) const fn memory(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn next_attempt(&self) -> Option<Instant> {
        self.next_attempt
    }
}

impl Broker {
    /// Replaces the will of a session.
    pub(super) fn set_will(&mut self, key: Key<Session>, will: StoredWill) {
        self.forget_will(key);
        self.wills.bytes += will.memory() as u64;
        self.session(key).will = Some(Box::new(will));
        self.record_will(key);
    }

    pub(super) fn forget_will(&mut self, key: Key<Session>) {
        if let Some(will) = self.session(key).will.take() {
            self.wills.bytes -= will.memory() as u64;
            if let Some(timer) = will.timer {
                self.timers.cancel(timer);
            }
            self.forget_will_record(will.number);
        }
    }

    /// A stored will is valid again for the new link (SN-051), and one that was delayed is not
    /// published after all [MQTT5-3.1.3-9].
    pub(super) fn arm_will(&mut self, key: Key<Session>) {
        if let Some(will) = &mut self.session(key).will {
            will.armed = true;
            if let Some(timer) = will.timer.take() {
                self.timers.cancel(timer);
            }
            self.record_will(key);
        }
    }

    /// An orderly end leaves the will stored and unpublished (SN-088).
    pub(super) fn disarm_will(&mut self, key: Key<Session>) {
        if let Some(will) = &mut self.session(key).will {
            will.armed = false;
            self.record_will(key);
        }
    }

    /// The link is gone: the will is due, after its delay [MQTT-3.1.2-8].
    pub(super) fn release_will(&mut self, key: Key<Session>) {
        let now = self.now.mono;
        let session = self.session(key);
        let outlives_link = session.expiry_s > 0;
        let Some(will) = &mut session.will else { return };
        if !will.armed {
            return;
        }
        let delay_s = will.delay_s;
        // Records that were salvaged may be of a session with a link, and of a will that waits.
        if let Some(timer) = will.timer.take() {
            self.timers.cancel(timer);
        }
        if delay_s > 0 && outlives_link {
            let delay = Duration::from_secs(u64::from(delay_s));
            let timer = self.timers.insert(now + delay, Timer::WillDelay(key));
            let deadline = to_unix(self.now, now + delay);
            if let Some(will) = &mut self.session(key).will {
                will.timer = Some(timer);
                will.deadline = deadline.unwrap_or(UnixMillis(u64::MAX - 1));
            }
            self.record_will(key);
            return;
        }
        self.make_will_due(key);
    }

    /// Publishes a delayed will at once, as its session ends.
    pub(super) fn release_delayed_will(&mut self, key: Key<Session>) {
        let timer = self.session(key).will.as_mut().and_then(|will| will.timer.take());
        if let Some(timer) = timer {
            self.timers.cancel(timer);
            self.make_will_due(key);
        }
    }

    /// Puts the will into the line of those to be published.
    pub(super) fn make_will_due(&mut self, key: Key<Session>) {
        let due = self.now.mono;
        let session = self.session(key);
        let keeps_it = session.dialect.is_sn() && session.expiry_s > 0;
        let Some(will) = &mut session.will else { return };
        will.armed = false;
        will.timer = None;
        if let Some(topic) = will.topic.clone() {
            // The record goes with the will, unless the session keeps that.
            let number = if keeps_it { 0 } else { core::mem::take(&mut will.number) };
            let mut will = DueWill {
                topic,
                payload: will.payload.clone(),
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.clone(),
                origin: key,
                due,
                number,
            };
            self.record_due_will(&mut will);
            self.queue_will(will);
        }
        // In MQTT a will is gone once it was published [MQTT-3.1.2-10]; an MQTT-SN session keeps it
        // for the CONNECT that arms it again.
        if keeps_it {
            self.record_will(key);
        } else {
            self.forget_will(key);
        }
    }

    /// Puts a will at the end of the line.
    pub(super) fn queue_will(&mut self, will: DueWill) {
        self.wills.bytes += will.memory();
        self.wills.next_attempt = Some(will.due);
        self.wills.due.push_back(will);
    }

    /// Publishes wills that are due, a bounded number of them.
    pub(super) fn publish_wills(&mut self) {
        for _ in 0..WILLS_PER_CALL {
            let Some(will) = self.wills.due.front() else {
                self.wills.next_attempt = None;
                return;
            };
            let has_waited = self.now.mono - will.due >= WILL_PATIENCE;
            if !has_waited && will.qos > QoS::AtMostOnce {
                let topic = will.topic.clone();
                if self.is_crowded(topic.as_name()) {
                    break;
                }
            }
            let will = self.wills.due.pop_front().expect("there is a front");
            self.wills.bytes -= will.memory();
            self.publish_will(&will);
            self.forget_will_record(will.number);
        }
        let next = if self.wills.due.is_empty() { None } else { Some(self.now.mono + WILL_RETRY) };
        self.wills.next_attempt = next;
    }

    fn publish_will(&mut self, will: &DueWill) {
        let properties = Properties::checked(&will.properties);
        self.stats.wills_published += 1;
        self.route(&NewMessage {
            topic: will.topic.as_name(),
            payload: Payload::Borrowed(&will.payload),
            qos: will.qos,
            retain: will.retain,
            origin: Origin::Session(will.origin),
            expires: self.expires(properties),
            properties,
        });
    }

    /// When a message with these properties is of no more use.
    pub(super) fn expires(&self, properties: Properties<'_>) -> Instant {
        for property in properties.iter() {
            if let Property::MessageExpiryInterval(seconds) = property {
                return self.now.mono + Duration::from_secs(u64::from(seconds));
            }
        }
        Instant::NEVER
    }

    /// One half of the will is replaced, or both are deleted (SN-054).
    pub(super) fn change_will(&mut self, key: Key<Session>, link: LinkId, change: WillChange<'_>) {
        let levels_max = self.config.limits.topic_levels_max;
        let part = match change {
            WillChange::Topic { .. } | WillChange::Delete => WillPart::Topic,
            WillChange::Payload(_) => WillPart::Payload,
        };
        let reason = match change {
            WillChange::Topic { topic, .. } if topic.is_reserved() => ReasonCode::NotAuthorized,
            WillChange::Topic { topic, .. }
                if topic::is_deeper_than(topic.as_str(), levels_max) =>
            {
                ReasonCode::TopicNameInvalid
            }
            WillChange::Topic { .. } | WillChange::Payload(_) if self.is_out_of_memory() => {
                ReasonCode::QuotaExceeded
            }
            WillChange::Topic { .. } | WillChange::Payload(_) | WillChange::Delete => {
                ReasonCode::Success
            }
        };
        if reason == ReasonCode::Success {
            self.apply_will_change(key, change);
            self.record_will(key);
        }
        self.answer(key, Control::Send { link, packet: Answer::WillAck { part, reason } });
    }

    fn apply_will_change(&mut self, key: Key<Session>, change: WillChange<'_>) {
        let old = self.session(key).will.take();
        let mut will = match old {
            Some(will) => {
                self.wills.bytes -= will.memory() as u64;
                will
            }
            None => Box::new(StoredWill::empty()),
        };
        match change {
            WillChange::Topic { topic, qos, retain } => {
                will.topic = Some(TopicBuf::from(topic));
                will.qos = qos;
                will.retain = retain;
            }
            WillChange::Payload(payload) => will.payload = payload.to_vec(),
            WillChange::Delete => {
                self.forget_will_record(will.number);
                return;
            }
        }
        self.wills.bytes += will.memory() as u64;
        self.session(key).will = Some(will);
    }
}

impl DueWill {
    fn memory(&self) -> u64 {
        let topic = self.topic.as_name().as_str().len();
        (size_of::<Self>() + topic + self.payload.len() + self.properties.len()) as u64
    }
}

impl StoredWill {
    /// A will of which nothing is known yet.
    pub(crate) const fn empty() -> Self {
        Self {
            topic: None,
            payload: Vec::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay_s: 0,
            properties: Vec::new(),
            armed: true,
            timer: None,
            deadline: UnixMillis(0),
            number: 0,
        }
    }
}
