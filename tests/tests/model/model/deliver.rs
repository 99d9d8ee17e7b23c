//! From a queue to the client: what is sent next is compared with what was heard next.

use super::session::{Entry, Flight, Link, Session, Wakefulness};
use super::{Checked, Model};
use crate::clients::Step;
use crate::heard::{Answer, Delivery};
use crate::op::{CLIENTS, Version};

/// Octets of payload above which a message is large.
const LARGE: usize = 250;

impl Model {
    /// Everybody is sent what may be sent, and those who do acknowledge. Then come wills that are
    /// due, as many as there is room for.
    pub(super) fn settle(&mut self) -> Checked {
        loop {
            (0..CLIENTS).try_for_each(|c| self.settle_one(c))?;
            let mut has_published = false;
            while self.tries_wills && self.publish_due_will() {
                has_published = true;
            }
            self.tries_wills = false;
            if !has_published {
                return Ok(());
            }
        }
    }

    fn settle_one(&mut self, c: usize) -> Checked {
        loop {
            self.send_all(c)?;
            let Some(session) = self.sessions.get(&c) else { return Ok(()) };
            let owed = session.owed();
            match owed.first() {
                Some((step, id)) if !self.holds[c] && session.link.is_some() => {
                    self.take_step(c, *step, *id, false)?;
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// The client acknowledges; without regard to what it may be sent then.
    pub(super) fn take_step(&mut self, c: usize, step: Step, id: u16, refuses: bool) -> Checked {
        let now = self.now;
        let session = self.sessions.get_mut(&c).expect("it was sent something");
        if let Some(link) = &mut session.link {
            link.last_seen = now;
        }
        let place = session.flights.iter().position(|flight| flight.id == Some(id));
        let place = place.expect("it is in flight");
        match step {
            Step::Rec if !refuses => {
                session.flights[place].is_released = true;
                self.hear_release(c, Some(id)).map(drop)
            }
            Step::Ack | Step::Rec | Step::Comp => {
                session.flights.remove(place);
                Ok(())
            }
        }
    }

    fn send_all(&mut self, c: usize) -> Checked {
        while self.send_next(c)? {}
        let Some(session) = self.sessions.get_mut(&c) else { return Ok(()) };
        let is_drained = session.queue.is_empty() && session.flights.is_empty();
        if let Some(Link { wakefulness, .. }) = &mut session.link
            && let Wakefulness::Awake(seconds) = *wakefulness
            && is_drained
        {
            // PINGRESP is last.
            *wakefulness = Wakefulness::Asleep(seconds);
            self.count("visit");
            self.answer(c, Answer::Pingresp);
        }
        Ok(())
    }

    /// One step; whether there may be another.
    fn send_next(&mut self, c: usize) -> Result<bool, String> {
        let Some(session) = self.sessions.get(&c) else { return Ok(false) };
        let Some(link) = session.link.clone() else { return Ok(false) };
        if session.is_asleep() {
            return Ok(false);
        }
        let has_room = session.on_air() < link.window;
        let to_resend = session.flights.iter().position(|flight| flight.is_to_resend);
        if to_resend.is_some() && !has_room {
            return Ok(false);
        }
        if session.is_free() {
            self.look_up_retained(c);
        }
        if let Some(place) = to_resend {
            return self.send_again(c, place, &link).map(|()| true);
        }
        let session = &self.sessions[&c];
        if !session.is_free() {
            return Ok(false);
        }
        let Some(front) = session.queue.first() else { return Ok(false) };
        if front.qos > 0 && !has_room {
            // Nothing else would have come if this stood in front of it.
            let is_elsewhere = front.copy.is_some()
                && self.holds[c]
                && !self.heard[c].deliveries.is_empty()
                && !self.is_heard_next(c, front);
            if is_elsewhere {
                let entry = self.sessions.get_mut(&c).expect("looked up").queue.remove(0);
                self.resolve(c, &entry, false)?;
            }
            return Ok(is_elsewhere);
        }
        let place = self.next_of_batch(c);
        let entry = self.sessions.get_mut(&c).expect("looked up").queue.remove(place);
        if entry.message.expires.is_some_and(|at| at <= self.now) {
            self.count("expired");
            self.resolve(c, &entry, false)?;
            return Ok(true);
        }
        if is_too_large(&self.sessions[&c], &link, &entry) {
            // Nobody sees which member had it.
            self.count("too large");
            self.forgiven.extend(entry.copy);
            self.resolve(c, &entry, false)?;
            return Ok(true);
        }
        if entry.copy.is_some() {
            let is_here = self.is_heard_next(c, &entry);
            self.resolve(c, &entry, is_here)?;
            if !is_here {
                return Ok(true);
            }
        }
        let id = Some(self.hear_delivery(c, &entry, None, false)?);
        if entry.qos > 0 {
            let entry = Entry { copy: None, ..entry };
            let flight = Flight { entry, id, is_released: false, is_to_resend: false };
            self.sessions.get_mut(&c).expect("looked up").flights.push(flight);
        }
        Ok(true)
    }

    /// What was in flight comes again: PUBLISH with DUP, or PUBREL.
    fn send_again(&mut self, c: usize, place: usize, link: &Link) -> Checked {
        let session = self.sessions.get_mut(&c).expect("looked up by the caller");
        let flight = session.flights[place].clone();
        if !flight.is_released && is_too_large(session, link, &flight.entry) {
            session.flights.remove(place);
            return Ok(());
        }
        session.flights[place].is_to_resend = false;
        let id = if flight.is_released {
            self.count("repeated PUBREL");
            self.hear_release(c, flight.id)?
        } else {
            self.hear_delivery(c, &flight.entry, flight.id, true)?
        };
        let session = self.sessions.get_mut(&c).expect("looked up by the caller");
        session.flights[place].id = Some(id);
        Ok(())
    }

    /// Retained messages stand in front of what was accepted after the subscription.
    fn look_up_retained(&mut self, c: usize) {
        let now = self.now;
        let session = self.sessions.get_mut(&c).expect("looked up by the caller");
        for replay in std::mem::take(&mut session.replays) {
            for message in self.retained.values() {
                let is_meant = super::session::matches(&replay.subscription.filter, &message.topic)
                    && message.number < replay.before
                    && message.expires.is_none_or(|at| at > now);
                if !is_meant {
                    continue;
                }
                let identifier = replay.subscription.identifier;
                let entry = Entry {
                    message: message.clone(),
                    qos: message.qos.min(replay.subscription.qos),
                    retain: true,
                    subscriptions: if identifier > 0 { vec![identifier] } else { vec![] },
                    is_replayed: true,
                    group: None,
                    copy: None,
                    batch: 0,
                };
                let is_newer = |other: &Entry| other.message.number >= replay.before;
                let place = session.queue.iter().position(is_newer);
                session.queue.insert(place.unwrap_or(session.queue.len()), entry);
            }
        }
    }

    /// The first of those in front that may come in any order which was heard next.
    fn next_of_batch(&self, c: usize) -> usize {
        let queue = &self.sessions[&c].queue;
        let batch = queue[0].batch;
        let of_batch = queue.iter().take_while(|entry| batch > 0 && entry.batch == batch);
        let mut of_batch = of_batch.enumerate();
        of_batch.find(|(_, entry)| self.is_heard_next(c, entry)).map_or(0, |(place, _)| place)
    }

    fn is_heard_next(&self, c: usize, entry: &Entry) -> bool {
        let next = self.heard[c].deliveries.front();
        next.is_some_and(|heard| Delivery { id: heard.id, ..self.delivery(c, entry) } == *heard)
    }

    /// Of a group's message one member turned out to be the one, or not to be.
    fn resolve(&mut self, c: usize, entry: &Entry, is_here: bool) -> Checked {
        let Some(copy) = entry.copy else { return Ok(()) };
        let mut holders = 0;
        for session in self.sessions.values_mut() {
            if is_here {
                session.queue.retain(|other| other.copy != Some(copy));
            }
            holders += session.queue.iter().filter(|other| other.copy == Some(copy)).count();
        }
        let is_expired = entry.message.expires.is_some_and(|at| at <= self.now);
        if is_here || holders > 0 || is_expired || self.forgiven.contains(&copy) {
            return Ok(());
        }
        Err(format!("no member of the group got {}, c{c} the last", self.delivery(c, entry)))
    }

    /// What a delivery looks like in the version of its client.
    fn delivery(&self, c: usize, entry: &Entry) -> Delivery {
        let is_5 = self.sessions[&c].version == Version::V5;
        // A repetition may come when its time is over.
        let left = |at: u64| at.saturating_sub(self.now).div_ceil(1_000) as u32;
        Delivery {
            topic: entry.message.topic.clone(),
            payload: entry.message.payload.clone(),
            qos: entry.qos,
            retain: entry.retain,
            dup: false,
            id: 0,
            subscriptions: if is_5 { entry.subscriptions.clone() } else { Vec::new() },
            expiry_s: entry.message.expires.filter(|_| is_5).map(left),
        }
    }

    /// The client was to hear this next, under this identifier or one that is not in use; perhaps
    /// as a repetition.
    fn hear_delivery(
        &mut self,
        c: usize,
        entry: &Entry,
        id: Option<u16>,
        dup: bool,
    ) -> Result<u16, String> {
        let heard = self.heard[c].deliveries.pop_front();
        let mut expected = Delivery { dup, id: id.unwrap_or(0), ..self.delivery(c, entry) };
        let Some(heard) = heard else {
            return Err(format!("c{c} was not sent {expected}"));
        };
        if id.is_none() && entry.qos > 0 {
            let mut flights = self.sessions[&c].flights.iter();
            if heard.id == 0 || flights.any(|flight| flight.id == Some(heard.id)) {
                return Err(format!("c{c} was sent {heard}, whose identifier is in use"));
            }
            expected.id = heard.id;
        }
        if heard == expected {
            self.count(["QoS 0", "QoS 1", "QoS 2"][usize::from(heard.qos)]);
            let marks = [
                (heard.dup, "repetition"),
                (entry.is_replayed, "retained"),
                (entry.group.is_some(), "of a group"),
                (heard.subscriptions.len() > 1, "several identifiers"),
                (heard.retain && !entry.is_replayed, "RETAIN as published"),
                (heard.expiry_s.is_some(), "with an expiry"),
            ];
            marks.iter().filter(|(is_set, _)| *is_set).for_each(|(_, what)| self.count(what));
            Ok(heard.id)
        } else {
            let rest = self.heard[c].deliveries.iter().map(|heard| format!("\n   then {heard}"));
            let rest: String = rest.collect();
            Err(format!("c{c} was sent {heard}\n   instead of {expected}{rest}"))
        }
    }

    /// The client was to hear PUBREL, with this identifier if it is known.
    fn hear_release(&mut self, c: usize, id: Option<u16>) -> Result<u16, String> {
        let releases = &mut self.heard[c].releases;
        let place = releases.iter().position(|heard| id.is_none_or(|id| *heard == id));
        let heard = place.and_then(|place| releases.remove(place));
        heard.ok_or_else(|| format!("c{c} was not sent PUBREL {id:?}"))
    }
}

/// Whether a message is more than its client takes.
fn is_too_large(session: &Session, link: &Link, entry: &Entry) -> bool {
    let takes_small_packets = link.takes_small_packets || session.version == Version::Sn;
    takes_small_packets && entry.message.payload.len() > LARGE
}
