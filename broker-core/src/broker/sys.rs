//! `$SYS`: what the broker tells about itself, under Mosquitto's names.
//!
//! The values are ordinary retained messages below `$SYS/broker/`; one that has not changed is not
//! published again. Names that Mosquitto does not have say what only this broker counts: every
//! bound with its use, and dropped messages by reason.

use core::fmt::{self, Write};

use super::Broker;
use super::output::Control;
use crate::api::{Payload, QoS};
use crate::key::Key;
use crate::message::{NewMessage, Origin};
use crate::property::Properties;
use crate::session::Session;
use crate::time::{Instant, Now};
use crate::timer::TimerId;
use crate::topic::TopicName;

/// Counters that `load` averages are made of, with their names.
const LOADS: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/received",
    "publish/sent",
    "publish/dropped",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

/// Where dropped messages are told per client.
const DROPPED: &str = "clients/dropped";

/// Minutes over which they are averaged.
const WINDOWS_MIN: [u32; 3] = [1, 5, 15];

/// Sessions whose dropped messages are told one by one. With more of them the total has to do.
const DROPPERS_MAX: usize = 1_000;

/// What is needed between two rounds.
#[derive(Debug)]
pub(super) struct Sys {
    /// When the next round is due.
    pub(super) timer: Option<TimerId>,
    started: Instant,
    last_round: Instant,
    counted: [u64; LOADS.len()],
    /// Events a minute, per counter and window.
    loads: [[f64; WINDOWS_MIN.len()]; LOADS.len()],
    /// Sessions that messages were dropped for.
    droppers: Vec<Key<Session>>,
    /// Topic and value being made; kept for their memory.
    topic: String,
    value: String,
}

impl Sys {
    pub(super) fn new(now: Now, timer: Option<TimerId>) -> Self {
        Self {
            timer,
            started: now.mono,
            last_round: now.mono,
            counted: [0; LOADS.len()],
            loads: [[0.0; WINDOWS_MIN.len()]; LOADS.len()],
            droppers: Vec::new(),
            topic: String::new(),
            value: String::new(),
        }
    }

    /// Messages are dropped for a session: `$SYS` will tell how many.
    pub(super) fn note_dropper(&mut self, key: Key<Session>) {
        if self.droppers.len() < DROPPERS_MAX {
            self.droppers.push(key);
        }
    }

    /// Takes the counters of this round into the averages: each falls off exponentially over its
    /// window, as a system's load average does.
    fn average(&mut self, now: Instant, counted: [u64; LOADS.len()]) {
        let elapsed_s = (now - self.last_round).as_secs_f64();
        self.last_round = now;
        if elapsed_s <= 0.0 {
            return;
        }
        for (index, count) in counted.into_iter().enumerate() {
            let rate = (count - self.counted[index]) as f64 * 60.0 / elapsed_s;
            for (window, load) in self.loads[index].iter_mut().enumerate() {
                let decay = (-elapsed_s / (60.0 * f64::from(WINDOWS_MIN[window]))).exp();
                *load = rate + decay * (*load - rate);
            }
        }
        self.counted = counted;
    }
}

impl Broker {
    /// Publishes a value as `$SYS/broker/NAME`, retained, unless it is what is there already.
    pub fn publish_sys(&mut self, name: fmt::Arguments<'_>, value: fmt::Arguments<'_>) {
        let mut topic = core::mem::take(&mut self.sys.topic);
        let mut text = core::mem::take(&mut self.sys.value);
        topic.clear();
        text.clear();
        let written = write!(topic, "$SYS/broker/{name}").and_then(|()| write!(text, "{value}"));
        if let (Ok(()), Ok(name)) = (written, TopicName::new(&topic)) {
            let current = self.retained.get(name).map(|message| self.messages.get(message));
            let is_news = current.is_none_or(|message| message.payload() != text.as_bytes());
            if is_news {
                self.route(&NewMessage {
                    topic: name,
                    payload: Payload::Borrowed(text.as_bytes()),
                    qos: QoS::AtMostOnce,
                    retain: true,
                    origin: Origin::Nobody,
                    expires: Instant::NEVER,
                    properties: Properties::EMPTY,
                });
            }
        }
        self.sys.topic = topic;
        self.sys.value = text;
    }

    /// One round of values; then whoever has more is told that it is time.
    pub(super) fn publish_sys_values(&mut self) {
        self.publish_sys_state();
        self.publish_sys_counters();
        self.publish_sys_limits();
        self.publish_sys_droppers();
        self.publish_sys_loads();
        self.control.push_back(Control::SysTick);
    }

    fn publish_sys_state(&mut self) {
        // Before the values themselves wait for whoever watches them.
        let usage = self.usage();
        let version = core::mem::take(&mut self.config.version);
        self.publish_sys(format_args!("version"), format_args!("{version}"));
        self.config.version = version;
        let uptime_s = (self.now.mono - self.sys.started).as_secs();
        self.publish_sys(format_args!("uptime"), format_args!("{uptime_s} seconds"));

        let connected = usage.sessions_connected as u64;
        let disconnected = usage.sessions as u64 - connected;
        for (name, value) in [
            ("clients/total", usage.sessions as u64),
            ("clients/connected", connected),
            ("clients/active", connected),
            ("clients/disconnected", disconnected),
            ("clients/inactive", disconnected),
            ("clients/maximum", usage.sessions_connected_max as u64),
            ("clients/expired", self.stats.sessions_expired),
            ("subscriptions/count", usage.subscriptions as u64),
            ("shared_subscriptions/count", usage.shared_subscriptions as u64),
            ("retained messages/count", usage.retained as u64),
            ("messages/stored", usage.messages as u64),
            ("store/messages/count", usage.messages as u64),
            ("store/messages/bytes", usage.message_bytes),
            ("messages/queued", usage.queued),
            ("store/answers_waiting", usage.answers_waiting as u64),
            ("heap/current", usage.memory_bytes),
        ] {
            self.publish_sys(format_args!("{name}"), format_args!("{value}"));
        }
    }

    fn publish_sys_counters(&mut self) {
        let stats = self.stats.clone();
        for (name, value) in [
            ("messages/received", stats.packets_received),
            ("messages/sent", stats.packets_sent),
            ("bytes/received", stats.bytes_received),
            ("bytes/sent", stats.bytes_sent),
            ("publish/messages/received", stats.publish_received),
            ("publish/messages/sent", stats.publish_sent),
            ("publish/messages/dropped", stats.dropped()),
            ("publish/bytes/received", stats.publish_bytes_received),
            ("publish/bytes/sent", stats.publish_bytes_sent),
            ("publish/messages/repeated", stats.publish_repeated),
            ("publish/messages/refused", stats.publish_refused),
            ("publish/messages/refused_memory", stats.publish_refused_memory),
            ("publish/messages/refused_store", stats.publish_refused_store),
            ("dropped/queue_full", stats.dropped_queue_full),
            ("dropped/offline_qos0", stats.dropped_offline_qos0),
            ("dropped/expired", stats.dropped_expired),
            ("dropped/unacknowledged", stats.dropped_unacknowledged),
            ("dropped/unsendable", stats.dropped_unsendable),
            ("dropped/session_end", stats.dropped_session_end),
            ("dropped/unshared", stats.dropped_unshared),
            ("shared_subscriptions/handed_on", stats.handed_on),
            ("clients/connects", stats.connects),
            ("clients/refused", stats.connects_refused),
            ("clients/cut_off_store", stats.cut_off_store),
            ("clients/takeovers", stats.takeovers),
            ("clients/keep_alive_timeouts", stats.keep_alive_timeouts),
            ("wills/published", stats.wills_published),
            ("retained messages/refused", stats.retain_refused),
            ("retained messages/expired", stats.retained_expired),
            ("subscriptions/refused", stats.subscribe_refused),
            ("acks/unexpected", stats.acks_unexpected),
        ] {
            self.publish_sys(format_args!("{name}"), format_args!("{value}"));
        }
    }

    /// Every bound with its use: that of the whole broker, or the most that any one client has
    /// used.
    fn publish_sys_limits(&mut self) {
        let limits = self.config.limits.clone();
        let usage = self.usage();
        let high = self.stats.high;
        let retained = usage.retained - self.retained_reserved;
        for (name, max, used) in [
            ("memory_bytes", limits.memory_bytes, usage.memory_bytes),
            ("sessions", limits.sessions_max as u64, usage.sessions as u64),
            ("retained_messages", limits.retained_messages_max as u64, retained as u64),
            ("retained_bytes", limits.retained_bytes_max, usage.retained_bytes),
            ("filters_per_session", limits.filters_per_session_max as u64, high.filters as u64),
            ("inflight", u64::from(limits.inflight_max), high.inflight as u64),
            (
                "session_expiry_s",
                u64::from(limits.session_expiry_max_s),
                u64::from(high.session_expiry_s),
            ),
            ("received_ids", limits.received_ids_max as u64, high.received_ids as u64),
        ] {
            self.publish_sys_limit(name, max, used);
        }
    }

    /// Publishes one bound with its use as `$SYS/broker/limits/NAME/max` and `…/used`.
    pub fn publish_sys_limit(&mut self, name: &str, max: u64, used: u64) {
        self.publish_sys(format_args!("limits/{name}/max"), format_args!("{max}"));
        self.publish_sys(format_args!("limits/{name}/used"), format_args!("{used}"));
    }

    /// Messages that were dropped, per client.
    fn publish_sys_droppers(&mut self) {
        let droppers = core::mem::take(&mut self.sys.droppers);
        for key in &droppers {
            let Some(session) = self.sessions.get(*key) else { continue };
            let name = InTopic(&session.client_id).to_string();
            let dropped = session.dropped;
            self.publish_sys(format_args!("{DROPPED}/{name}"), format_args!("{dropped}"));
        }
        self.sys.droppers = droppers;
        self.sys.droppers.retain(|key| self.sessions.get(*key).is_some());
    }

    /// A session has ended, and what was told of it goes with it.
    pub(super) fn forget_dropper(&mut self, client_id: &str) {
        let topic = format!("$SYS/broker/{DROPPED}/{}", InTopic(client_id));
        if let Ok(topic) = TopicName::new(&topic) {
            self.unretain(topic);
        }
    }

    fn publish_sys_loads(&mut self) {
        let stats = &self.stats;
        let counted = [
            stats.packets_received,
            stats.packets_sent,
            stats.publish_received,
            stats.publish_sent,
            stats.dropped(),
            stats.bytes_received,
            stats.bytes_sent,
            stats.sockets_opened,
            stats.connects,
        ];
        self.sys.average(self.now.mono, counted);
        let loads = self.sys.loads;
        for (name, loads) in LOADS.iter().zip(loads) {
            for (minutes, load) in WINDOWS_MIN.iter().zip(loads) {
                self.publish_sys(
                    format_args!("load/{name}/{minutes}min"),
                    format_args!("{load:.2}"),
                );
            }
        }
    }
}

/// A client identifier as one level of a topic name.
struct InTopic<'a>(&'a str);

impl fmt::Display for InTopic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '/' | '+' | '#' | '%' => write!(f, "%{:02X}", u32::from(character))?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_becomes_the_load() {
        let mut sys = Sys::new(Now::default(), None);
        let mut counted = [0; LOADS.len()];
        for round in 1..=60 {
            counted[0] += 100;
            sys.average(Instant::from_secs(round * 10), counted);
        }
        // 100 in 10 s are 600 a minute, and ten minutes are many times one minute.
        assert!((sys.loads[0][0] - 600.0).abs() < 1.0, "{}", sys.loads[0][0]);
        assert!(sys.loads[0][2] < 600.0 && sys.loads[0][2] > 200.0, "{}", sys.loads[0][2]);
        assert_eq!(sys.loads[1], [0.0; 3]);
    }
}
