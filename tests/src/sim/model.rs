//! The reference model: subscriptions, routing and retained messages by linear search.
//!
//! It is as simple as the rules are (MQTT 4.7, 3.3.1, 3.8.4, 3.10.4) and shares nothing with the
//! broker. It hears what the broker hears, in the same order, and says who is to get what.

use std::collections::BTreeMap;

use super::book::{Book, Party, Publication};

/// Octets of a PUBLISH besides topic name, payload and properties of the publisher, at most: a
/// fixed header, the length of the topic, identifier, length of properties, an alias, and the
/// identifiers of four subscriptions.
const PACKET_OVERHEAD: usize = 4 + 2 + 2 + 2 + 3 + 4 * 5;

/// Whether a topic name fits a filter [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.2-1].
pub(crate) fn fits(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            (_, _) => return false,
        }
    }
    levels.next().is_none()
}

/// The group and the filter of a shared subscription.
pub(crate) fn share(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
}

/// What MQTT 5.0 adds to a subscription; nothing in other versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// The bit of its subscription identifier; 0: it has none.
    pub(crate) id: u16,
    pub(crate) no_local: bool,
    pub(crate) as_published: bool,
    /// 0 always, 1 for a new subscription, 2 never.
    pub(crate) handling: u8,
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: String,
    pub(crate) qos: u8,
    pub(crate) wants: Wants,
    /// Times that retained messages may have been sent for it.
    pub(crate) replays: u32,
    /// They have to be, as far as the last SUBSCRIBE goes.
    pub(crate) is_replay_sure: bool,
    /// It was acknowledged.
    pub(crate) is_sure: bool,
    pub(crate) since: u64,
    /// When it was asked for first; what was retained then may still be on its way.
    pub(crate) begun: u64,
}

/// What a session asked for.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) subscriptions: Vec<Subscription>,
    /// Filters that it has had, and since when first.
    begun: BTreeMap<String, u64>,
    /// What it gave up last, by the turn: a crash may bring that back.
    given_up: Vec<(u64, Subscription)>,
    /// It outlives its connection.
    pub(crate) is_persistent: bool,
    /// Until then it lasts at least, if it does not outlive its connection.
    pub(crate) lasts_until: u64,
    /// Octets of the largest packet that its client takes; 0: any.
    pub(crate) packet_max: u32,
}

impl Session {
    /// Whether it is there at that time for sure.
    pub(crate) const fn lasts(&self, now: u64) -> bool {
        self.is_persistent || now < self.lasts_until
    }

    /// What fits a topic, added up, shared subscriptions apart. It is sure if any of it above QoS 0
    /// is: with that a message has to come, at whatever QoS. What is sure at QoS 0 only promises
    /// nothing, whatever else may be there or have gone with a crash before it was answered.
    fn match_topic(&self, party: Party, publisher: Party, topic: &str) -> Option<Match> {
        let is_heard = |it: &&Subscription| !(it.wants.no_local && party == publisher);
        let fitting = || self.subscriptions.iter().filter(|it| fits(&it.filter, topic));
        let mut found: Option<Match> = None;
        for Subscription { qos, wants, is_sure, .. } in fitting().filter(is_heard) {
            let found = found.get_or_insert_with(|| Match { party, ..Match::default() });
            found.qos = found.qos.max(*qos);
            found.is_sure |= *is_sure && *qos > 0;
            found.ids[1] |= wants.id;
            found.ids[0] |= if *is_sure { wants.id } else { 0 };
            found.retain[1] |= wants.as_published;
            found.retain[0] |= wants.as_published && *is_sure;
        }
        found
    }

    /// What it asked for of a group that fits a topic.
    fn match_share(&self, party: Party, topic: &str) -> Option<Match> {
        let fitting =
            |it: &&Subscription| share(&it.filter).is_some_and(|(_, filter)| fits(filter, topic));
        let Subscription { qos, wants, is_sure, .. } = self.subscriptions.iter().find(fitting)?;
        Some(Match {
            party,
            qos: *qos,
            is_sure: *is_sure && *qos > 0,
            ids: [if *is_sure { wants.id } else { 0 }, wants.id],
            retain: [wants.as_published && *is_sure, wants.as_published],
            is_shared: true,
        })
    }
}

/// Somebody who is to get a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) party: Party,
    pub(crate) qos: u8,
    /// It has to get it, if that has QoS 1 or 2.
    pub(crate) is_sure: bool,
    /// Bits of the subscription identifiers that come along for sure, and of those that may.
    pub(crate) ids: [u16; 2],
    /// Whether RETAIN stays for sure, and whether it may.
    pub(crate) retain: [bool; 2],
    /// It, or another member of its group.
    pub(crate) is_shared: bool,
}

/// A message that was to be retained, and when it was, or may have been, the one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    pub(crate) publication: Publication,
    /// When it was heard last, before it was accepted.
    pub(crate) since: u64,
    pub(crate) until: u64,
    /// It was accepted: if it is not the one, a later one is.
    pub(crate) is_sure: bool,
    /// The turn with which it is safe.
    turn: u64,
}

impl Holding {
    pub(crate) const fn is_open(&self) -> bool {
        self.until == u64::MAX
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Of those who have ever subscribed.
    pub(crate) sessions: BTreeMap<Party, Session>,
    /// By topic, in the order in which they were heard; one of those without an end is in force.
    pub(crate) retained: BTreeMap<String, Vec<Holding>>,
}

impl Model {
    /// Who is to get what `publisher` publishes to `topic`.
    pub(crate) fn matches(&self, topic: &str, publisher: Party, now: u64) -> Vec<Match> {
        let mut found = Vec::new();
        for (party, session) in &self.sessions {
            let plain = session.match_topic(*party, publisher, topic);
            let shared = session.match_share(*party, topic);
            let lasts = session.lasts(now);
            let settled = |it: Match| Match { is_sure: it.is_sure && lasts, ..it };
            found.extend(plain.into_iter().chain(shared).map(settled));
        }
        found
    }

    /// Whether the publisher has asked for this topic, and not for what it publishes there itself.
    pub(crate) fn is_own(&self, topic: &str, publisher: Party) -> bool {
        let session = self.sessions.get(&publisher);
        let subscriptions = session.map(|it| it.subscriptions.as_slice()).unwrap_or_default();
        subscriptions.iter().any(|it| it.wants.no_local && fits(&it.filter, topic))
    }

    pub(crate) fn subscribe(&mut self, party: Party, filter: &str, qos: u8, now: u64) {
        self.subscribe_with(party, filter, qos, Wants::default(), now);
    }

    /// Adds a subscription or puts it in the place of the one that is there.
    pub(crate) fn subscribe_with(
        &mut self,
        party: Party,
        filter: &str,
        qos: u8,
        wants: Wants,
        now: u64,
    ) {
        let session = self.sessions.entry(party).or_default();
        let old = session.subscriptions.iter_mut().find(|it| it.filter == filter);
        let is_plain = share(filter).is_none();
        let may_replay = |is_there: bool| is_plain && wants.handling < 1 + u8::from(!is_there);
        if let Some(old) = old {
            old.replays += u32::from(may_replay(old.is_sure));
            old.is_replay_sure = is_plain && wants.handling == 0;
            // In its place, whatever came before [MQTT-3.8.4-3]; which QoS a message gets that
            // crosses it is open until the answer.
            old.is_sure &= old.qos == qos && old.wants == wants;
            (old.qos, old.wants) = (qos, wants);
            old.since = now;
            return;
        }
        let begun = *session.begun.entry(filter.to_owned()).or_insert(now);
        let (filter, since, is_sure) = (filter.to_owned(), now, false);
        let is_replay_sure = may_replay(false);
        let replays = u32::from(is_replay_sure);
        session.subscriptions.push(Subscription {
            filter,
            qos,
            wants,
            replays,
            is_replay_sure,
            is_sure,
            since,
            begun,
        });
    }

    /// The subscription was acknowledged.
    pub(crate) fn confirm(&mut self, party: Party, filter: &str) -> Option<&Subscription> {
        let session = self.sessions.get_mut(&party)?;
        let subscription = session.subscriptions.iter_mut().find(|it| it.filter == filter)?;
        subscription.is_sure = true;
        Some(subscription)
    }

    /// Whether the subscription is there is open.
    pub(crate) fn doubt(&mut self, party: Party, filter: &str) {
        let session = self.sessions.get_mut(&party);
        let subscriptions = session.into_iter().flat_map(|session| &mut session.subscriptions);
        subscriptions.filter(|it| it.filter == filter).for_each(|it| it.is_sure = false);
    }

    pub(crate) fn unsubscribe(&mut self, party: Party, filter: &str, turn: u64) {
        if let Some(session) = self.sessions.get_mut(&party) {
            let gone = session.subscriptions.extract_if(.., |it| it.filter == filter);
            let gone: Vec<_> = gone.map(|it| (turn, it)).collect();
            if !gone.is_empty() {
                session.given_up.retain(|(_, it)| it.filter != filter);
                session.given_up.extend(gone);
            }
        }
    }

    /// A session begins anew, or goes on.
    pub(crate) fn begin(&mut self, party: Party, is_persistent: bool) {
        let session = self.sessions.entry(party).or_default();
        session.is_persistent = is_persistent;
        if !is_persistent {
            session.subscriptions.clear();
            session.begun.clear();
            session.given_up.clear();
        }
    }

    /// All of a session is gone with this turn, which a crash may undo.
    pub(crate) fn discard(&mut self, party: Party, turn: u64) {
        let session = self.sessions.entry(party).or_default();
        let gone = std::mem::take(&mut session.subscriptions);
        session.given_up.retain(|(_, it)| gone.iter().all(|gone| gone.filter != it.filter));
        session.given_up.extend(gone.into_iter().map(|it| (turn, it)));
        session.begun.clear();
    }

    /// Whether the client takes a packet as large as that of this publication may be.
    pub(crate) fn fits_client(&self, party: Party, book: &Book, publication: Publication) -> bool {
        let packet_max = self.sessions.get(&party).map_or(0, |it| it.packet_max);
        if packet_max == 0 {
            return true;
        }
        let mut topic = String::new();
        book.topic(publication, &mut topic);
        let content = book.extras(publication).len() + book.payload_len(publication);
        topic.len() + content + PACKET_OVERHEAD <= packet_max as usize
    }

    /// What of a session is still there is open.
    pub(crate) fn doubt_all(&mut self, party: Party) {
        let session = self.sessions.entry(party).or_default();
        session.subscriptions.iter_mut().for_each(|it| it.is_sure = false);
    }

    pub(crate) fn end(&mut self, party: Party) {
        if let Some(session) = self.sessions.get_mut(&party) {
            session.subscriptions.clear();
            session.given_up.clear();
        }
    }

    /// A publication that is to be retained was heard: it may be the one from now on.
    pub(crate) fn hear_retained(&mut self, topic: &str, publication: Publication, now: u64) {
        let holdings = self.retained.entry(topic.to_owned()).or_default();
        match holdings.last_mut() {
            Some(last) if last.publication == publication && last.is_open() => last.since = now,
            Some(_) | None => {
                let (since, until, is_sure, turn) = (now, u64::MAX, false, 0);
                holdings.push(Holding { publication, since, until, is_sure, turn });
            }
        }
    }

    /// It was accepted, and is safe with this turn: it is the one, or another that was heard after
    /// it.
    pub(crate) fn retain(&mut self, topic: &str, publication: Publication, now: u64, turn: u64) {
        let holdings = self.retained.entry(topic.to_owned()).or_default();
        // One that was heard several times may have counted at any of them.
        let is_it = |it: &Holding| it.publication == publication;
        let Some(place) = holdings.iter().position(is_it) else {
            self.hear_retained(topic, publication, now);
            return self.retain(topic, publication, now, turn);
        };
        for holding in &mut holdings[..place] {
            holding.until = holding.until.min(now);
        }
        for holding in holdings[place..].iter_mut().filter(|it| is_it(it)) {
            (holding.is_sure, holding.turn) = (true, turn);
        }
    }

    /// A retained publication was heard again: whether it counts as a new one is open. If it does
    /// it comes behind all that was heard by then, and stays when one of those is accepted.
    pub(crate) fn retain_copy(&mut self, topic: &str, publication: Publication, now: u64) {
        if let Some(holdings) = self.retained.get_mut(topic) {
            let (since, until, is_sure, turn) = (now, u64::MAX, false, 0);
            holdings.push(Holding { publication, since, until, is_sure, turn });
        }
    }

    /// The message that was accepted last for each topic that fits, if any is retained for sure.
    pub(crate) fn retained_for(&self, filter: &str) -> Vec<(&str, Publication)> {
        let topics = self.retained.iter().filter(|(topic, _)| fits(filter, topic));
        topics
            .filter_map(|(topic, holdings)| {
                let sure = holdings.iter().rfind(|holding| holding.is_open() && holding.is_sure)?;
                Some((topic.as_str(), sure.publication))
            })
            .collect()
    }

    /// Whether a publication was the retained one of its topic at any time from `since` on.
    pub(crate) fn was_retained(&self, topic: &str, publication: Publication, since: u64) -> bool {
        let holdings = self.retained.get(topic).map(Vec::as_slice).unwrap_or_default();
        let is_it = |holding: &&Holding| holding.publication == publication;
        holdings.iter().filter(is_it).any(|holding| holding.until >= since)
    }

    /// All state is gone.
    pub(crate) fn restart(&mut self, now: u64) {
        for session in self.sessions.values_mut() {
            session.subscriptions.clear();
        }
        for holding in self.retained.values_mut().flatten() {
            // No crash brings it back.
            (holding.until, holding.is_sure) = (holding.until.min(now), false);
        }
    }

    /// The machine was ended. What came after the turn that was safe may be gone: subscriptions
    /// that were given up may be there again, and what was retained before may be the one.
    pub(crate) fn crash(&mut self, safe_turn: u64) {
        for session in self.sessions.values_mut() {
            for (turn, subscription) in std::mem::take(&mut session.given_up) {
                let filter = &subscription.filter;
                let is_there = session.subscriptions.iter().any(|it| it.filter == *filter);
                if turn > safe_turn && !is_there {
                    let is_sure = false;
                    session.subscriptions.push(Subscription { is_sure, ..subscription });
                }
            }
        }
        for holdings in self.retained.values_mut() {
            let is_safe = |it: &Holding| it.is_sure && it.turn <= safe_turn;
            let place = holdings.iter().rposition(is_safe);
            for holding in &mut holdings[place.map_or(0, |place| place + 1)..] {
                if holding.is_sure {
                    (holding.is_sure, holding.until) = (false, u64::MAX);
                }
            }
            if let Some(place) = place
                && holdings[place + 1..].iter().any(Holding::is_open)
            {
                holdings[place].until = u64::MAX;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_fit_as_the_standard_says() {
        let check = |filter: &str, yes: &[&str], no: &[&str]| {
            for topic in yes {
                assert!(fits(filter, topic), "{filter} fits {topic}");
            }
            for topic in no {
                assert!(!fits(filter, topic), "{filter} does not fit {topic}");
            }
        };
        check("#", &["a", "a/b", "/"], &["$SYS", "$SYS/x"]);
        check("a/#", &["a", "a/b", "a/b/c"], &["b", "ab", "b/a"]);
        check("a/+", &["a/b", "a/"], &["a", "a/b/c"]);
        check("+/b", &["a/b", "/b"], &["b", "$a/b", "a/b/c"]);
        check("$SYS/#", &["$SYS/x"], &["a"]);
        check("a/b", &["a/b"], &["a", "a/b/", "a/bc"]);
    }

    fn found(qos: u8, is_sure: bool) -> Match {
        Match { party: 1, qos, is_sure, ..Match::default() }
    }

    #[test]
    fn overlapping_subscriptions_are_one_match_with_the_highest_qos() {
        let mut model = Model::default();
        model.begin(1, true);
        for (filter, qos) in [("a/b", 0), ("a/+", 2), ("x", 2)] {
            model.subscribe(1, filter, qos, 0);
        }
        model.confirm(1, "a/+");
        assert_eq!(model.matches("a/b", 9, 5), [found(2, true)]);
        model.unsubscribe(1, "a/+", 7);
        assert_eq!(model.matches("a/b", 9, 5), [found(0, false)]);
        model.crash(6);
        assert_eq!(model.matches("a/b", 9, 5), [found(2, false)]);
    }

    #[test]
    fn a_subscription_that_is_sure_at_qos_0_makes_no_other_sure() {
        let mut model = Model::default();
        model.begin(1, true);
        model.subscribe(1, "a/+", 0, 0);
        model.confirm(1, "a/+");
        model.subscribe(1, "a/b", 1, 0);
        assert_eq!(model.matches("a/b", 9, 5), [found(1, false)]);
        model.confirm(1, "a/b");
        assert_eq!(model.matches("a/b", 9, 5), [found(1, true)]);
    }

    #[test]
    fn what_was_retained_is_known_with_its_time() {
        let mut model = Model::default();
        let publication = |number| Publication { party: 1, number };
        model.retain("r/1", publication(1), 10, 1);
        model.retain("r/1", publication(2), 20, 2);
        assert_eq!(model.retained_for("r/#"), [("r/1", publication(2))]);
        assert!(model.was_retained("r/1", publication(1), 15));
        assert!(!model.was_retained("r/1", publication(1), 21));
        model.restart(30);
        assert!(model.retained_for("#").is_empty());
    }

    #[test]
    fn a_copy_may_be_retained_in_place_of_what_was_heard_before_it() {
        let mut model = Model::default();
        let publication = |number| Publication { party: 1, number };
        model.retain("r/1", publication(1), 10, 1);
        model.hear_retained("r/1", publication(2), 20);
        model.retain_copy("r/1", publication(1), 21);
        model.retain("r/1", publication(2), 30, 3);
        let is_allowed =
            |model: &Model, number| model.was_retained("r/1", publication(number), 1_000);
        assert_eq!([1, 2].map(|number| is_allowed(&model, number)), [true, true]);
        model.retain("r/1", publication(3), 40, 4);
        assert_eq!([1, 2, 3].map(|number| is_allowed(&model, number)), [false, false, true]);
    }

    #[test]
    fn after_a_crash_the_last_safe_message_is_retained_or_a_later_one() {
        let mut model = Model::default();
        let publication = |number| Publication { party: 1, number };
        for (number, turn) in [(1, 1), (2, 4), (3, 6)] {
            model.retain("r/1", publication(number), 10 * turn, turn);
        }
        model.hear_retained("r/1", publication(4), 70);
        model.crash(4);
        let is_allowed = |number| model.was_retained("r/1", publication(number), 1_000);
        assert_eq!([1, 2, 3, 4].map(is_allowed), [false, true, true, true]);
        assert_eq!(model.retained_for("r/#"), [("r/1", publication(2))]);
    }

    #[test]
    fn no_crash_brings_back_what_was_retained_before_all_was_lost() {
        let mut model = Model::default();
        let publication = |number| Publication { party: 1, number };
        model.retain("r/1", publication(1), 10, 0);
        model.restart(20);
        model.hear_retained("r/1", publication(2), 30);
        model.crash(4);
        assert!(!model.was_retained("r/1", publication(1), 1_000));
        assert!(model.retained_for("r/#").is_empty());
    }
}
