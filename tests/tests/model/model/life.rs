//! The beginning and the end of connections and sessions.

use super::session::{Entry, Link, Session, Wakefulness, Will};
use super::{Checked, DueWill, Model};
use crate::clients::{WillText, keep_alive_s};
use crate::heard::{Answer, Ended};
use crate::op::{CLIENTS, Connect, Version};
use crate::stack::EXPIRY_MAX_S;

/// Reasons of DISCONNECT.
const TAKEN_OVER: u8 = 0x8E;
const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With DISCONNECT; a sensor keeps its will for later.
    Plain,
    Lost,
    /// By another CONNECT; a sensor goes on with its session even if it was to end.
    TakenOver {
        goes_on: bool,
    },
}

impl Model {
    pub(crate) fn connect(
        &mut self,
        c: usize,
        connect: &Connect,
        text: Option<WillText>,
    ) -> Checked {
        let is_sensor = connect.version == Version::Sn;
        if let Some(old) = self.version(c) {
            let is_awake = !self.sessions[&c].is_asleep();
            match (old, connect.version) {
                (Version::Sn, Version::Sn) => {}
                (Version::Sn, _) if is_awake => self.ended[c].push(Ended::Told),
                (Version::Sn, _) => {}
                (Version::V5, _) => {
                    self.ended[c].extend([Ended::Reason(TAKEN_OVER), Ended::Closed]);
                }
                (_, _) => self.ended[c].push(Ended::Closed),
            }
            let goes_on = is_sensor && old == Version::Sn && !connect.is_clean;
            self.count("take-over");
            self.end_link(c, End::TakenOver { goes_on });
        }
        if connect.is_clean {
            self.end_session(c);
        }
        let is_present = self.sessions.contains_key(&c);
        if is_present {
            self.count("resumed");
        }
        let number = self.next_number();
        let (now, window) = (self.now, usize::from(self.setup.window));
        let session = self.sessions.entry(c).or_insert_with(|| Session::new(number));
        if (session.version == Version::Sn) != is_sensor {
            session.flights.iter_mut().for_each(|flight| flight.id = None);
        }
        session.version = connect.version;
        session.asked_expiry_s = match connect.version {
            Version::V5 => connect.expiry_s,
            Version::V31 | Version::V311 | Version::Sn if connect.is_clean => 0,
            Version::V31 | Version::V311 | Version::Sn => u32::MAX,
        };
        session.expiry_s = session.asked_expiry_s.min(EXPIRY_MAX_S);
        session.ends = None;
        session.last_qos1 = None;
        session.send_all_again();
        let is_5 = connect.version == Version::V5;
        session.link = Some(Link {
            window: match connect.version {
                Version::Sn => 1,
                Version::V5 => window.min(connect.receive_maximum.into()),
                Version::V31 | Version::V311 => window,
            },
            takes_small_packets: is_5 && connect.takes_small_packets,
            keep_alive: connect.has_keep_alive.then_some(1_500 * u64::from(keep_alive_s(c))),
            last_seen: now,
            wakefulness: Wakefulness::Active,
        });
        session.will = match (text, session.will.take()) {
            (Some(text), _) => Some(Will { text, is_armed: true, due: None }),
            // A stored one is armed again.
            (None, Some(old)) if is_sensor => Some(Will { is_armed: true, due: None, ..old }),
            (None, _) => None,
        };
        let expiry_s = session.expiry_s;
        let knows_present = matches!(connect.version, Version::V311 | Version::V5);
        self.answer(
            c,
            Answer::Connack {
                present: is_present && knows_present,
                code: 0,
                // It is told if it is not what was asked for.
                expiry_s: (is_5 && expiry_s != connect.expiry_s).then_some(expiry_s),
            },
        );
        Ok(())
    }

    /// DISCONNECT, perhaps with a new session expiry, and perhaps so that the will is published.
    pub(crate) fn disconnect(
        &mut self,
        c: usize,
        with_will: bool,
        expiry_s: Option<u32>,
    ) -> Checked {
        let session = self.speaker(c);
        if let Some(expiry_s) = expiry_s {
            session.expiry_s = expiry_s.min(EXPIRY_MAX_S);
        }
        let is_sensor = session.version == Version::Sn;
        self.ended[c].push(if is_sensor { Ended::Told } else { Ended::Closed });
        self.end_link(c, if with_will { End::Lost } else { End::Plain });
        Ok(())
    }

    pub(crate) fn cut(&mut self, c: usize) -> Checked {
        self.end_link(c, End::Lost);
        Ok(())
    }

    /// Time passes; what is due on the way happens when it is due.
    pub(crate) fn pass(&mut self, millis: u64) -> Checked {
        let until = self.now + millis;
        self.forget_repetitions();
        self.settle_wills()?;
        while let Some((due, c)) = self.next_event().filter(|(due, _)| *due <= until) {
            self.now = self.now.max(due);
            if let Some(c) = c {
                self.happen(c);
            }
            self.settle_wills()?;
        }
        self.now = until;
        Ok(())
    }

    /// Wills in line are tried again and again.
    fn settle_wills(&mut self) -> Checked {
        loop {
            let before = self.due_wills.len();
            self.tries_wills = true;
            self.settle()?;
            if self.due_wills.len() == before {
                return Ok(());
            }
        }
    }

    /// When something happens to whom; or a will in line has waited for long enough.
    fn next_event(&self) -> Option<(u64, Option<usize>)> {
        let of_sessions = self.sessions.iter().flat_map(|(c, session)| {
            let will = session.will.as_ref().and_then(|will| will.due);
            [session.deadline(), will].into_iter().flatten().map(|at| (at, Some(*c)))
        });
        let patience = self.due_wills.front().map(|will| (will.since + super::WILL_PATIENCE, None));
        of_sessions.chain(patience).min()
    }

    fn happen(&mut self, c: usize) {
        let session = &self.sessions[&c];
        let is_due = |due: Option<u64>| due.is_some_and(|at| at <= self.now);
        if session.will.as_ref().is_some_and(|will| is_due(will.due)) {
            self.count("delayed will");
            self.make_will_due(c);
        } else if session.link.is_none() {
            self.count("session expired");
            self.end_session(c);
        } else {
            match session.version {
                Version::Sn if session.is_asleep() => {}
                Version::Sn => self.ended[c].push(Ended::Told),
                Version::V5 => {
                    self.ended[c].extend([Ended::Reason(KEEP_ALIVE_TIMEOUT), Ended::Closed]);
                }
                Version::V31 | Version::V311 => self.ended[c].push(Ended::Closed),
            }
            self.count("lost in silence");
            self.end_link(c, End::Lost);
        }
    }

    /// A sensor that does not answer is sent the same again and again.
    fn forget_repetitions(&mut self) {
        for (c, session) in self.sessions.iter().filter(|(_, s)| s.version == Version::Sn) {
            let is_repeated = |id: u16| session.flights.iter().any(|flight| flight.id == Some(id));
            let heard = &mut self.heard[*c];
            heard.deliveries.retain(|delivery| !delivery.dup);
            heard.releases.retain(|id| !is_repeated(*id));
        }
    }

    /// Whether all that a restart does can be told: wills of several clients come in any order, so
    /// that nobody can tell which of them find room.
    pub(crate) fn can_tell_of_restart(&self) -> bool {
        let is_wide = self.setup.queue >= 1_000
            && self.setup.queue_qos0 >= 1_000
            && self.setup.retained >= 1_000;
        let has_will = |session: &&Session| {
            let is_armed = session.will.as_ref().is_some_and(|will| will.is_armed);
            session.link.is_some() && is_armed
        };
        self.setup.is_durable
            && (is_wide || self.sessions.values().filter(has_will).count() <= 1)
            && self.due_wills.is_empty()
    }

    /// The process dies and comes back. Sensors with a session go on; all others have lost their
    /// connections. QoS 0, and what the server said, is gone.
    pub(crate) fn restart(&mut self) -> Checked {
        let now = self.now;
        self.count("restart");
        for c in 0..CLIENTS {
            let Some(session) = self.sessions.get_mut(&c) else { continue };
            let is_gone = |entry: &&Entry| entry.qos == 0;
            self.forgiven.extend(session.queue.iter().filter(is_gone).filter_map(|e| e.copy));
            session.queue.retain(|entry| entry.qos > 0);
            session.replays.retain(|replay| replay.subscription.qos > 0);
            session.last_qos1 = None;
            let goes_on = session.version == Version::Sn && session.expiry_s > 0;
            match &mut session.link {
                // One that sleeps may still acknowledge what it heard before.
                Some(link) if goes_on => {
                    link.last_seen = now;
                    match link.wakefulness {
                        Wakefulness::Active => session.send_all_again(),
                        Wakefulness::Awake(seconds) | Wakefulness::Asleep(seconds) => {
                            link.wakefulness = Wakefulness::Asleep(seconds);
                        }
                    }
                }
                Some(_) => self.lose_with_process(c),
                None => {}
            }
        }
        self.retained.retain(|topic, _| !topic[0].starts_with('$'));
        Ok(())
    }

    fn lose_with_process(&mut self, c: usize) {
        self.release_will(c);
        let session = self.sessions.get_mut(&c).expect("the caller's");
        session.link = None;
        session.ends = Some(self.now + 1_000 * u64::from(session.expiry_s));
        if session.expiry_s == 0 {
            // If it was kept until its last CONNECT, what came by groups is handed on; else not.
            let in_flight = session.flights.iter_mut().map(|flight| &mut flight.entry);
            for entry in session.queue.iter_mut().chain(in_flight) {
                self.copies += 1;
                self.forgiven.insert(*entry.copy.get_or_insert(self.copies));
            }
            self.end_session(c);
        }
    }

    /// Takes the link off its session, deals with the will, and lets the session end or wait.
    fn end_link(&mut self, c: usize, end: End) {
        let session = self.sessions.get_mut(&c).expect("it has a link");
        let is_sensor = session.version == Version::Sn;
        session.link = None;
        match end {
            End::Lost => self.release_will(c),
            // A device that connects again is not lost.
            End::TakenOver { .. } if is_sensor => {}
            End::TakenOver { .. } => self.release_will(c),
            End::Plain if is_sensor => {
                if let Some(will) = &mut session.will {
                    will.is_armed = false;
                }
            }
            End::Plain => session.will = None,
        }
        if end == (End::TakenOver { goes_on: true }) {
            return;
        }
        let session = self.sessions.get_mut(&c).expect("looked up above");
        if session.expiry_s == 0 {
            self.end_session(c);
        } else {
            session.ends = Some(self.now + 1_000 * u64::from(session.expiry_s));
            self.hand_on(c, false);
        }
    }

    /// The will is due, after its delay if the session lasts.
    fn release_will(&mut self, c: usize) {
        let session = self.sessions.get_mut(&c).expect("the caller's");
        let outlives = session.expiry_s > 0;
        let Some(will) = session.will.as_mut().filter(|will| will.is_armed) else { return };
        if will.text.delay_s > 0 && outlives {
            will.due = Some(self.now + 1_000 * u64::from(will.text.delay_s));
        } else {
            self.make_will_due(c);
        }
    }

    /// The will stands in line. A sensor's session keeps it for a CONNECT that arms it again.
    fn make_will_due(&mut self, c: usize) {
        let session = self.sessions.get_mut(&c).expect("the caller's");
        let keeps_it = session.version == Version::Sn && session.expiry_s > 0;
        let Some(mut will) = session.will.take() else { return };
        let (text, from, since) = (will.text.clone(), session.number, self.now);
        self.due_wills.push_back(DueWill { text, from, since });
        self.tries_wills = true;
        if keeps_it {
            will.is_armed = false;
            will.due = None;
            session.will = Some(will);
        }
    }

    /// A session is forgotten; a will that was delayed is published now.
    fn end_session(&mut self, c: usize) {
        let Some(session) = self.sessions.get(&c) else { return };
        if session.will.as_ref().is_some_and(|will| will.due.is_some()) {
            self.make_will_due(c);
        }
        self.hand_on(c, true);
        self.sessions.remove(&c);
    }

    /// What a member of groups has not acknowledged goes to other members that are there; at the
    /// end of its session also to such as have to wait for it.
    fn hand_on(&mut self, c: usize, may_wait: bool) {
        let session = self.sessions.get_mut(&c).expect("the caller's");
        let flights = std::mem::take(&mut session.flights);
        let queue = std::mem::take(&mut session.queue);
        let (mut flights_left, mut queue_left) = (Vec::new(), Vec::new());
        for flight in flights {
            // QoS 2 that was begun is finished here or nowhere.
            let may_go = flight.entry.qos == 1;
            if may_go && self.hand_on_one(c, &flight.entry, may_wait) {
                self.count("handed on");
            } else {
                flights_left.push(flight);
            }
        }
        for entry in queue {
            if !self.hand_on_one(c, &entry, may_wait) {
                queue_left.push(entry);
            }
        }
        if may_wait {
            // With the session it is gone, if it was there.
            self.forgiven.extend(queue_left.iter().filter_map(|entry| entry.copy));
        }
        let session = self.sessions.get_mut(&c).expect("the caller's");
        (session.flights, session.queue) = (flights_left, queue_left);
    }

    fn hand_on_one(&mut self, c: usize, entry: &Entry, may_wait: bool) -> bool {
        let Some(group) = &entry.group else { return false };
        let Some(copy) = entry.copy else {
            return self.give_to_group(group, &entry.message, c, may_wait);
        };
        // Perhaps it was another's all the time.
        let before: Vec<usize> = self.sessions.values().map(|s| s.queue.len()).collect();
        if !self.give_to_group(group, &entry.message, c, may_wait) {
            return false;
        }
        for (session, before) in self.sessions.values_mut().zip(before) {
            session.queue[before..].iter_mut().for_each(|entry| entry.copy = Some(copy));
        }
        true
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

impl Session {
    const fn new(number: u64) -> Self {
        Self {
            number,
            version: Version::V311,
            link: None,
            expiry_s: 0,
            asked_expiry_s: 0,
            ends: None,
            subscriptions: Vec::new(),
            queue: Vec::new(),
            flights: Vec::new(),
            replays: Vec::new(),
            received: Vec::new(),
            last_qos1: None,
            will: None,
        }
    }
}
