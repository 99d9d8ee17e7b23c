//! The reference model: what every client has to hear, by linear search through plain lists.
//!
//! It is told what clients do, in words, and what they heard of it. What it expects it takes off
//! what was heard, in the order in which each client has to hear it; whatever differs or is left
//! over is a failure. Only where the choice is the broker's does it look what was chosen: which
//! member of a group gets a message, the order of wills that are due at once, and packet
//! identifiers.

mod deliver;
mod life;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::clients::{Publication, Step, WillText};
use crate::heard::{Answer, Ended, Heard};
use crate::op::{self, CLIENTS, LEVELS_MAX, Setup, Version};
use session::{Entry, Message, Replay, Session, Subscription, Taken, Wakefulness, matches};

/// How long a will waits for a subscriber that is at work and has no room, in milliseconds.
const WILL_PATIENCE: u64 = 30_000;

/// Wills that are due at the same moment come in any order: this and the moment is their batch.
const SAME_MOMENT: u64 = 1 << 40;

/// Why a publication is refused.
const NOT_AUTHORIZED: u8 = 0x87;
const TOPIC_NAME_INVALID: u8 = 0x90;
const TOPIC_FILTER_INVALID: u8 = 0x8F;
const QUOTA_EXCEEDED: u8 = 0x97;
/// A success: nobody has subscribed.
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

/// A difference between the model and the broker, in words.
pub(crate) type Checked = Result<(), String>;

/// A will on its way to be published.
#[derive(Debug)]
struct DueWill {
    text: WillText,
    from: u64,
    since: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Model {
    setup: Setup,
    /// In milliseconds.
    pub(crate) now: u64,
    /// One for each client identifier at most.
    sessions: BTreeMap<usize, Session>,
    /// In the order in which they are sent: level by level.
    retained: BTreeMap<Vec<String>, Rc<Message>>,
    due_wills: VecDeque<DueWill>,
    /// Whether it is time to look at those.
    tries_wills: bool,
    /// Clients that keep their acknowledgements back.
    holds: Vec<bool>,
    numbers: u64,
    /// Messages of groups that one of several members has.
    copies: u64,
    /// Copies of groups' messages that may have been dropped unseen.
    forgiven: BTreeSet<u64>,
    heard: Vec<Heard>,
    answers: Vec<Vec<Answer>>,
    ended: Vec<Vec<Ended>>,
    /// How often what happened: a run in which something never does proves nothing about it.
    pub(crate) tally: BTreeMap<&'static str, u64>,
}

impl Model {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            now: 0,
            sessions: BTreeMap::new(),
            retained: BTreeMap::new(),
            due_wills: VecDeque::new(),
            tries_wills: false,
            holds: vec![false; CLIENTS],
            numbers: 0,
            copies: 0,
            forgiven: BTreeSet::new(),
            heard: Vec::new(),
            answers: vec![Vec::new(); CLIENTS],
            ended: vec![Vec::new(); CLIENTS],
            tally: BTreeMap::new(),
        }
    }

    /// What a client speaks at present, if it is connected.
    pub(crate) fn version(&self, c: usize) -> Option<Version> {
        let session = self.sessions.get(&c)?;
        session.link.as_ref().map(|_| session.version)
    }

    /// Whether a client has a session and no connection.
    pub(crate) fn is_waited_for(&self, c: usize) -> bool {
        self.sessions.get(&c).is_some_and(|session| session.link.is_none())
    }

    pub(crate) fn is_asleep_or_awake(&self, c: usize) -> bool {
        let link = self.sessions.get(&c).and_then(|session| session.link.as_ref());
        link.is_some_and(|link| link.wakefulness != Wakefulness::Active)
    }

    /// Whether a session with a new expiry may end so.
    pub(crate) fn may_change_expiry(&self, c: usize) -> bool {
        self.sessions.get(&c).is_some_and(|session| session.asked_expiry_s > 0)
    }

    /// Whether a publication of QoS 2 waits for its PUBREL.
    pub(crate) fn has_received(&self, c: usize, id: u16) -> bool {
        self.sessions.get(&c).is_some_and(|session| session.received.contains(&id))
    }

    /// What a client may acknowledge.
    pub(crate) fn owed(&self, c: usize) -> Vec<(Step, u16)> {
        self.sessions.get(&c).map_or_else(Vec::new, Session::owed)
    }

    /// Whether a sensor that says nothing is lost within so many milliseconds.
    pub(crate) fn falls_silent(&self, c: usize, millis: u64) -> bool {
        let deadline = self.sessions.get(&c).and_then(Session::deadline);
        !self.is_asleep_or_awake(c) && deadline.is_some_and(|at| at <= self.now + millis)
    }

    /// Something happens, of which this was heard.
    pub(crate) fn observe(
        &mut self,
        heard: Vec<Heard>,
        what: impl FnOnce(&mut Self) -> Checked,
    ) -> Checked {
        self.heard = heard;
        what(self)?;
        self.settle()?;
        (0..CLIENTS).try_for_each(|c| self.compare_rest(c))
    }

    /// All that was expected of the rest, and nothing else, was heard.
    fn compare_rest(&mut self, c: usize) -> Checked {
        let Heard { deliveries, answers, releases, ended, is_hasty } =
            std::mem::take(&mut self.heard[c]);
        if let Some(delivery) = deliveries.front() {
            return Err(format!("c{c} was sent {delivery}, which it is not to get"));
        }
        if let Some(id) = releases.front() {
            return Err(format!("c{c} was sent PUBREL {id}, which it is not to get"));
        }
        let expected = std::mem::take(&mut self.answers[c]);
        if answers != expected {
            return Err(format!("c{c} was answered {answers:?}\n   instead of {expected:?}"));
        }
        let expected = std::mem::take(&mut self.ended[c]);
        if ended != expected {
            return Err(format!("the connection of c{c} saw {ended:?} instead of {expected:?}"));
        }
        if is_hasty {
            return Err(format!("c{c} was sent something before the answer"));
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn answer(&mut self, c: usize, answer: Answer) {
        self.answers[c].push(answer);
    }

    /// The session of a client that is connected, which has just said something.
    fn speaker(&mut self, c: usize) -> &mut Session {
        let session = self.sessions.get_mut(&c).expect("who speaks is connected");
        session.link.as_mut().expect("who speaks is connected").last_seen = self.now;
        session
    }

    pub(crate) fn set_holding(&mut self, c: usize, holds: bool) -> Checked {
        self.holds[c] = holds;
        Ok(())
    }

    pub(crate) fn acknowledge(&mut self, c: usize, step: Step, id: u16, refuses: bool) -> Checked {
        self.take_step(c, step, id, refuses)
    }

    pub(crate) fn ping(&mut self, c: usize) -> Checked {
        let session = self.speaker(c);
        let link = session.link.as_mut().expect("who speaks is connected");
        match link.wakefulness {
            Wakefulness::Active => self.answer(c, Answer::Pingresp),
            // What was in flight comes again.
            Wakefulness::Asleep(seconds) | Wakefulness::Awake(seconds) => {
                link.wakefulness = Wakefulness::Awake(seconds);
                session.send_all_again();
            }
        }
        Ok(())
    }

    pub(crate) fn sleep(&mut self, c: usize, seconds: u16) -> Checked {
        let link = self.speaker(c).link.as_mut();
        link.expect("who speaks is connected").wakefulness = Wakefulness::Asleep(seconds);
        self.ended[c].push(Ended::Told);
        Ok(())
    }

    pub(crate) fn subscribe(&mut self, c: usize, wants: &[op::Subscription], id: u32) -> Checked {
        let codes = wants.iter().map(|want| self.subscribe_one(c, want, id)).collect();
        self.answer(c, Answer::Suback(codes));
        Ok(())
    }

    fn subscribe_one(&mut self, c: usize, want: &op::Subscription, id: u32) -> u8 {
        let (filters_max, before) = (self.setup.filters, self.numbers + 1);
        let session = self.speaker(c);
        let version = session.version;
        // Older versions know none of the options.
        let is_5 = version == Version::V5;
        let subscription = Subscription {
            filter: want.filter.to_owned(),
            qos: want.qos,
            no_local: is_5 && want.no_local,
            as_published: is_5 && want.as_published,
            identifier: if is_5 { id } else { 0 },
        };
        let handling = if is_5 { want.handling } else { 0 };
        let is_same = |other: &Subscription| other.filter == want.filter;
        let existing = session.subscriptions.iter().position(is_same);
        let refusal = if want.filter.split('/').count() > LEVELS_MAX {
            Some(TOPIC_FILTER_INVALID)
        } else if existing.is_none() && session.subscriptions.len() >= filters_max {
            Some(QUOTA_EXCEEDED)
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.count("refused filter");
            return match (version, reason) {
                (Version::V5, reason) => reason,
                (Version::V311, _) => 0x80,
                (Version::V31, _) => 0,
                (Version::Sn, QUOTA_EXCEEDED) => 0x81,
                (Version::Sn, _) => 0x83,
            };
        }
        match existing {
            Some(place) => session.subscriptions[place] = subscription.clone(),
            None => session.subscriptions.push(subscription.clone()),
        }
        let is_group = subscription.split().0;
        if !is_group && (handling == 0 || handling == 1 && existing.is_none()) {
            session.replays.retain(|replay| replay.subscription.filter != want.filter);
            session.replays.push(Replay { subscription, before });
        }
        want.qos
    }

    pub(crate) fn unsubscribe(&mut self, c: usize, filter: &str) -> Checked {
        let session = self.speaker(c);
        let before = session.subscriptions.len();
        session.subscriptions.retain(|subscription| subscription.filter != filter);
        session.replays.retain(|replay| replay.subscription.filter != filter);
        // What came by a group is its own from now on.
        let in_flight = session.flights.iter_mut().map(|flight| &mut flight.entry);
        for entry in session.queue.iter_mut().chain(in_flight) {
            entry.group.take_if(|group| group == filter);
        }
        let is_gone = session.subscriptions.len() < before;
        let codes = match session.version {
            Version::V5 => vec![if is_gone { 0 } else { 0x11 }],
            Version::V31 | Version::V311 | Version::Sn => Vec::new(),
        };
        self.answer(c, Answer::Unsuback(codes));
        Ok(())
    }

    /// A client publishes.
    pub(crate) fn publish(&mut self, c: usize, publication: &Publication) -> Checked {
        let (qos, id) = (publication.qos, publication.id);
        let session = self.speaker(c);
        let (version, number) = (session.version, session.number);
        if qos == 2 && session.received.contains(&id) {
            self.count("repetition of QoS 2");
            self.answer(c, Answer::Pubrec(id, 0));
            return Ok(());
        }
        if self.is_repeated_by_sensor(c, publication) {
            self.count("repetition of a sensor");
            self.answer(c, Answer::Puback(id, 0));
            return Ok(());
        }
        let topic = publication.topic;
        let code = if topic.starts_with('$') {
            NOT_AUTHORIZED
        } else if topic.split('/').count() > LEVELS_MAX {
            TOPIC_NAME_INVALID
        } else {
            let message = self.message(publication, Some(number));
            self.route(message, 0)
        };
        let is_refused = matches!(code, NOT_AUTHORIZED | TOPIC_NAME_INVALID)
            || code == QUOTA_EXCEEDED && version == Version::V5;
        let session = self.speaker(c);
        if qos == 2 && !is_refused {
            session.received.push(id);
        }
        let answer = match (version, qos) {
            (Version::Sn, _) if is_refused => Some(Answer::Puback(id, 3)),
            (_, 0) => None,
            (Version::V5, 1) => Some(Answer::Puback(id, code)),
            (Version::V5, _) => Some(Answer::Pubrec(id, code)),
            (_, 1) => Some(Answer::Puback(id, 0)),
            (_, _) => Some(Answer::Pubrec(id, 0)),
        };
        self.answers[c].extend(answer);
        Ok(())
    }

    /// The last publication of QoS 1 of a sensor is known again for a while.
    fn is_repeated_by_sensor(&mut self, c: usize, publication: &Publication) -> bool {
        const MEMORY: u64 = 40_000;
        let (now, id) = (self.now, publication.id);
        let session = self.speaker(c);
        if session.version != Version::Sn || publication.qos != 1 {
            return false;
        }
        let is_known = session.last_qos1.is_some_and(|(last, at)| last == id && now - at < MEMORY);
        let is_refused =
            publication.topic.starts_with('$') || publication.topic.split('/').count() > LEVELS_MAX;
        if !is_known {
            session.last_qos1 = Some((id, now)).filter(|_| !is_refused);
        }
        is_known && publication.dup
    }

    /// PUBREL.
    pub(crate) fn release(&mut self, c: usize, id: u16) -> Checked {
        let session = self.speaker(c);
        let place = session.received.iter().position(|received| *received == id);
        let code = match (place, session.version) {
            (None, Version::V5) => 0x92,
            (None | Some(_), _) => 0,
        };
        if let Some(place) = place {
            session.received.remove(place);
        }
        self.answer(c, Answer::Pubcomp(id, code));
        Ok(())
    }

    /// Somebody without a session publishes.
    pub(crate) fn publish_unconnected(&mut self, c: usize, publication: &Publication) -> Checked {
        if self.version(c) == Some(Version::Sn) {
            // A sign of life all the same.
            self.speaker(c);
        }
        let message = self.message(publication, None);
        self.route(message, 0);
        Ok(())
    }

    fn message(&mut self, publication: &Publication, from: Option<u64>) -> Message {
        self.numbers += 1;
        Message {
            number: self.numbers,
            topic: publication.topic.to_owned(),
            payload: publication.payload.clone(),
            qos: publication.qos,
            retain: publication.retain,
            expires: publication.expiry_s.map(|seconds| self.now + 1_000 * u64::from(seconds)),
            from,
        }
    }

    /// The server publishes `$SYS/broker/n`, if it says something new.
    pub(crate) fn publish_sys(&mut self, value: &str) -> Checked {
        self.numbers += 1;
        let message = Message {
            number: self.numbers,
            topic: "$SYS/broker/n".to_owned(),
            payload: value.to_owned(),
            qos: 0,
            retain: true,
            expires: None,
            from: None,
        };
        self.route(message, 0);
        Ok(())
    }

    /// A message goes to every session that subscribed, once, and to one of every group. What its
    /// publisher is told.
    fn route(&mut self, message: Message, batch: u64) -> u8 {
        let message = Rc::new(message);
        let (mut targets, mut groups) = (Vec::new(), BTreeSet::new());
        for (c, session) in &self.sessions {
            let mut own: Vec<&Subscription> = Vec::new();
            for subscription in &session.subscriptions {
                let (is_group, filter) = subscription.split();
                let is_echo = subscription.no_local && message.from == Some(session.number);
                if !matches(filter, &message.topic) || is_echo {
                    continue;
                }
                if is_group {
                    groups.insert(subscription.filter.clone());
                } else {
                    own.push(subscription);
                }
            }
            if !own.is_empty() {
                targets.push((*c, entry_of(&message, &own, batch)));
            }
        }
        let mut all = Vec::new();
        for (c, entry) in targets {
            let session = self.sessions.get_mut(&c).expect("found above");
            let taken = session.push(entry, &self.setup);
            match taken {
                Taken::Yes => {}
                Taken::Dropped => self.count("dropped for another"),
                Taken::Full => self.count("queue full"),
                Taken::Away => self.count("QoS 0 while away"),
            }
            all.push(taken);
        }
        for group in groups {
            let is_given = self.give_to_group(&group, &message, usize::MAX, true);
            all.push(if is_given { Taken::Yes } else { Taken::Away });
        }
        if message.retain {
            self.retain(message.clone());
        }
        match &all[..] {
            [] => NO_MATCHING_SUBSCRIBERS,
            _ if message.retain => 0,
            _ if all.iter().any(|taken| matches!(taken, Taken::Yes | Taken::Dropped)) => 0,
            _ if !all.contains(&Taken::Full) => 0,
            [..] => {
                self.count("nobody has room");
                QUOTA_EXCEEDED
            }
        }
    }

    /// Gives a message to a member of a group: to one that takes messages, else, if it `may_wait`,
    /// to one that can wait for it. Not to the one it came from. Whether there is one.
    fn give_to_group(
        &mut self,
        group: &str,
        message: &Rc<Message>,
        from: usize,
        may_wait: bool,
    ) -> bool {
        let (mut free, mut able) = (Vec::new(), Vec::new());
        for (c, session) in self.sessions.iter().filter(|(c, _)| **c != from) {
            let is_meant = |subscription: &&Subscription| subscription.filter == group;
            let Some(subscription) = session.subscriptions.iter().find(is_meant) else { continue };
            let mut entry = entry_of(message, &[subscription], 0);
            entry.group = Some(group.to_owned());
            if session.is_free() {
                free.push((*c, entry));
            } else if session.link.is_some() || entry.qos > 0 {
                able.push((*c, entry));
            }
        }
        let mut members = if free.is_empty() && may_wait { able } else { free };
        if members.len() > 1 {
            self.count("choice of a group");
            self.copies += 1;
            let copy = Some(self.copies);
            members.iter_mut().for_each(|(_, entry)| entry.copy = copy);
        }
        let is_given = !members.is_empty();
        for (c, entry) in members {
            self.sessions.get_mut(&c).expect("found above").queue.push(entry);
        }
        is_given
    }

    fn retain(&mut self, message: Rc<Message>) {
        let now = self.now;
        self.retained.retain(|_, message| message.expires.is_none_or(|at| at > now));
        let topic: Vec<_> = message.topic.split('/').map(str::to_owned).collect();
        let is_reserved = |topic: &[String]| topic[0].starts_with('$');
        let count = self.retained.keys().filter(|topic| !is_reserved(topic)).count();
        let is_new = !self.retained.contains_key(&topic);
        if message.payload.is_empty() {
            self.retained.remove(&topic);
        } else if !is_new || is_reserved(&topic) || count < self.setup.retained {
            self.retained.insert(topic, message);
        } else {
            self.count("not retained");
        }
    }

    /// Publishes the will that is first in line, unless somebody who subscribed is at work and has
    /// little room. Whether there was one.
    fn publish_due_will(&mut self) -> bool {
        let Some(will) = self.due_wills.front() else { return false };
        let is_crowded = |session: &&Session| {
            let is_subscribed = |subscription: &Subscription| {
                let (is_group, filter) = subscription.split();
                !is_group && matches(filter, &will.text.topic)
            };
            session.is_free()
                && session.waiting() * 4 >= self.setup.queue * 3
                && session.subscriptions.iter().any(is_subscribed)
        };
        let must_wait = will.text.qos > 0
            && self.now < will.since + WILL_PATIENCE
            && self.sessions.values().any(|session| is_crowded(&session));
        if must_wait {
            self.count("will waits");
            return false;
        }
        self.count("will");
        let DueWill { text, from, since } = self.due_wills.pop_front().expect("looked at");
        self.numbers += 1;
        let message = Message {
            number: self.numbers,
            topic: text.topic,
            payload: text.payload,
            qos: text.qos,
            retain: text.retain,
            expires: text.expiry_s.map(|seconds| self.now + 1_000 * u64::from(seconds)),
            from: Some(from),
        };
        self.route(message, SAME_MOMENT + since);
        true
    }
}

/// One copy for all subscriptions of a session that match: the highest QoS of them, all their
/// identifiers, and the RETAIN flag if one of them keeps it.
fn entry_of(message: &Rc<Message>, subscriptions: &[&Subscription], batch: u64) -> Entry {
    let granted = subscriptions.iter().map(|subscription| subscription.qos).max();
    let identifiers = subscriptions.iter().map(|subscription| subscription.identifier);
    let identifiers: BTreeSet<u32> = identifiers.filter(|id| *id > 0).collect();
    let keeps_flag = subscriptions.iter().any(|subscription| subscription.as_published);
    Entry {
        message: message.clone(),
        qos: message.qos.min(granted.unwrap_or_default()),
        retain: message.retain && keeps_flag,
        subscriptions: identifiers.into_iter().collect(),
        is_replayed: false,
        group: None,
        copy: None,
        batch,
    }
}
