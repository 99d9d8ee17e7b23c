//! What the model knows of one client: plain lists, looked through from the front.

use std::rc::Rc;

use crate::clients::{Step, WillText};
use crate::op::{Setup, Version};

/// A message that was accepted.
#[derive(Debug)]
pub(super) struct Message {
    /// Messages are numbered in the order in which they were accepted.
    pub(super) number: u64,
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) expires: Option<u64>,
    /// The session that published it.
    pub(super) from: Option<u64>,
}

/// A message that waits for a client, or is on its way.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) message: Rc<Message>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Sorted.
    pub(super) subscriptions: Vec<u32>,
    /// It was retained, and counts to no bound.
    pub(super) is_replayed: bool,
    /// The group that it came by.
    pub(super) group: Option<String>,
    /// The copy of a group's message that one of several sessions has: which, will be seen.
    pub(super) copy: Option<u64>,
    /// Entries next to each other with the same number, other than 0, come in any order.
    pub(super) batch: u64,
}

/// A message of QoS 1 or 2 that was sent and not acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) entry: Entry,
    /// `None` from a change between MQTT and MQTT-SN until it is sent again: the numbers that
    /// sensors see are others.
    pub(super) id: Option<u16>,
    /// PUBREC came.
    pub(super) is_released: bool,
    /// Its last step is to be sent again.
    pub(super) is_to_resend: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    /// As the client said it.
    pub(super) filter: String,
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) as_published: bool,
    pub(super) identifier: u32,
}

impl Subscription {
    /// The filter proper, and whether it is that of a group.
    pub(super) fn split(&self) -> (bool, &str) {
        match self.filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
            Some((_name, filter)) => (true, filter),
            None => (false, &self.filter),
        }
    }
}

/// Retained messages that are still to be sent for a subscription.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    pub(super) subscription: Subscription,
    /// Messages from this number on came live.
    pub(super) before: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Will {
    pub(super) text: WillText,
    pub(super) is_armed: bool,
    /// While it is delayed.
    pub(super) due: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wakefulness {
    Active,
    /// For so many seconds.
    Asleep(u16),
    Awake(u16),
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) window: usize,
    pub(super) takes_small_packets: bool,
    /// Milliseconds of silence after which it is lost.
    pub(super) keep_alive: Option<u64>,
    pub(super) last_seen: u64,
    pub(super) wakefulness: Wakefulness,
}

#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Never given again.
    pub(super) number: u64,
    pub(super) version: Version,
    pub(super) link: Option<Link>,
    pub(super) expiry_s: u32,
    /// What the last CONNECT asked for, which a DISCONNECT may change unless it was 0.
    pub(super) asked_expiry_s: u32,
    pub(super) ends: Option<u64>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) queue: Vec<Entry>,
    pub(super) flights: Vec<Flight>,
    pub(super) replays: Vec<Replay>,
    /// Publications of QoS 2 from the client that it has not released.
    pub(super) received: Vec<u16>,
    /// The last publication of QoS 1 from a sensor, and when it came.
    pub(super) last_qos1: Option<(u16, u64)>,
    pub(super) will: Option<Will>,
}

/// What becomes of a message that is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// Another has made room for it.
    Dropped,
    /// Nobody is there, and it does not wait.
    Away,
    Full,
}

impl Session {
    pub(super) fn is_asleep(&self) -> bool {
        let is_asleep = |link: &Link| matches!(link.wakefulness, Wakefulness::Asleep(_));
        self.link.as_ref().is_some_and(is_asleep)
    }

    /// What is in flight is to be sent again.
    pub(super) fn send_all_again(&mut self) {
        self.flights.iter_mut().for_each(|flight| flight.is_to_resend = true);
    }

    /// Messages whose last step is on its way.
    pub(super) fn on_air(&self) -> usize {
        self.flights.iter().filter(|flight| !flight.is_to_resend).count()
    }

    /// Whether the client is there and takes messages at present. A sensor takes one at a time.
    pub(super) fn is_free(&self) -> bool {
        let is_busy = self.version == Version::Sn && self.on_air() > 0;
        self.link.is_some() && !self.is_asleep() && !is_busy
    }

    /// What the client owes for what is on its way, in the order of sending.
    pub(super) fn owed(&self) -> Vec<(Step, u16)> {
        let on_air = self.flights.iter().filter(|flight| !flight.is_to_resend);
        let step = |flight: &Flight| match (flight.entry.qos, flight.is_released) {
            (1, _) => Step::Ack,
            (_, false) => Step::Rec,
            (_, true) => Step::Comp,
        };
        on_air.filter_map(|flight| Some((step(flight), flight.id?))).collect()
    }

    /// When silence, or the end of its time, comes upon it.
    pub(super) fn deadline(&self) -> Option<u64> {
        let Some(link) = &self.link else { return self.ends };
        match link.wakefulness {
            Wakefulness::Active => Some(link.last_seen + link.keep_alive?),
            Wakefulness::Asleep(seconds) => Some(link.last_seen + 1_500 * u64::from(seconds)),
            // Repetitions supervise a visit.
            Wakefulness::Awake(_) => None,
        }
    }

    /// Messages that count to the bound.
    pub(super) fn waiting(&self) -> usize {
        self.queue.iter().filter(|entry| !entry.is_replayed).count()
    }

    /// Puts a message at the end, if there is room. A service's queue refuses what is new, a
    /// sensor's drops what is oldest, QoS 0 first.
    pub(super) fn push(&mut self, entry: Entry, setup: &Setup) -> Taken {
        if self.link.is_none() && entry.qos == 0 {
            return Taken::Away;
        }
        let is_sensor = self.version == Version::Sn;
        let is_bounded = |entry: &Entry| !entry.is_replayed;
        let is_qos0 = |entry: &Entry| is_bounded(entry) && entry.qos == 0;
        let is_paused = self.link.is_some() && !self.is_free();
        let count_qos0 = |queue: &[Entry]| queue.iter().filter(|entry| is_qos0(entry)).count();
        // What came under wider bounds goes one by one.
        let (mut queue_max, mut qos0_max) = (setup.queue, setup.queue_qos0);
        if is_sensor {
            queue_max = queue_max.max(self.waiting());
            qos0_max = qos0_max.max(count_qos0(&self.queue));
        }
        let mut taken = Taken::Yes;
        while is_paused && entry.qos == 0 && count_qos0(&self.queue) >= qos0_max {
            let oldest = self.queue.iter().position(is_qos0).expect("there are some");
            self.queue.remove(oldest);
            taken = Taken::Dropped;
        }
        while self.waiting() >= queue_max {
            if !is_sensor {
                return Taken::Full;
            }
            let oldest = self.queue.iter().position(is_qos0);
            let oldest = oldest.or_else(|| self.queue.iter().position(is_bounded));
            self.queue.remove(oldest.expect("the queue is full"));
            taken = Taken::Dropped;
        }
        self.queue.push(entry);
        taken
    }
}

/// Whether a filter matches a topic: level by level; a wildcard in front matches no `$`.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            ([level, filter @ ..], [name, topic @ ..]) => {
                (*level == "+" || level == name) && levels(filter, topic)
            }
            ([..], [..]) => false,
        }
    }
    let [filter_levels, topic_levels] =
        [filter, topic].map(|text| text.split('/').collect::<Vec<_>>());
    !(topic.starts_with('$') && filter.starts_with(['+', '#']))
        && levels(&filter_levels, &topic_levels)
}
