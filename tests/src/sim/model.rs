//! The reference model: subscriptions, routing and retained messages by linear search.
//!
//! It is as simple as the rules are (MQTT 4.7, 3.3.1, 3.8.4, 3.10.4) and shares nothing with the
//! broker. It hears what the broker hears, in the same order, and says who is to get what.

use std::collections::BTreeMap;

use super::book::{Party, Publication};

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

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: String,
    pub(crate) qos: u8,
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
    /// It outlives its connection.
    pub(crate) is_persistent: bool,
    /// Until then it lasts at least, if it does not outlive its connection.
    pub(crate) lasts_until: u64,
}

impl Session {
    /// Whether it is there at that time for sure.
    pub(crate) const fn lasts(&self, now: u64) -> bool {
        self.is_persistent || now < self.lasts_until
    }

    /// The highest QoS of what fits, and whether all of that is sure.
    fn match_topic(&self, topic: &str) -> Option<(u8, bool)> {
        let fitting = || self.subscriptions.iter().filter(|it| fits(&it.filter, topic));
        let qos = fitting().map(|it| it.qos).max()?;
        Some((qos, fitting().any(|it| it.is_sure)))
    }
}

/// Somebody who is to get a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) party: Party,
    pub(crate) qos: u8,
    pub(crate) is_sure: bool,
}

/// A retained message and when it was the one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    pub(crate) publication: Publication,
    pub(crate) since: u64,
    pub(crate) until: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Of those who have ever subscribed.
    pub(crate) sessions: BTreeMap<Party, Session>,
    /// By topic, oldest first; the last one is in force if it has no end.
    pub(crate) retained: BTreeMap<String, Vec<Holding>>,
}

impl Model {
    /// Who is to get a publication to `topic`.
    pub(crate) fn matches(&self, topic: &str, now: u64) -> Vec<Match> {
        let sessions = self.sessions.iter();
        sessions
            .filter_map(|(party, session)| {
                let (qos, is_sure) = session.match_topic(topic)?;
                Some(Match { party: *party, qos, is_sure: is_sure && session.lasts(now) })
            })
            .collect()
    }

    pub(crate) fn subscribe(&mut self, party: Party, filter: &str, qos: u8, now: u64) {
        let session = self.sessions.entry(party).or_default();
        let old = session.subscriptions.iter_mut().find(|it| it.filter == filter);
        if let Some(old) = old {
            // In its place, whatever came before [MQTT-3.8.4-3]; which QoS a message gets that
            // crosses it is open until the answer.
            old.is_sure &= old.qos == qos;
            old.qos = qos;
            old.since = now;
            return;
        }
        let begun = *session.begun.entry(filter.to_owned()).or_insert(now);
        let (filter, since) = (filter.to_owned(), now);
        session.subscriptions.push(Subscription { filter, qos, is_sure: false, since, begun });
    }

    /// The subscription was acknowledged.
    pub(crate) fn confirm(&mut self, party: Party, filter: &str) -> Option<&Subscription> {
        let session = self.sessions.get_mut(&party)?;
        let subscription = session.subscriptions.iter_mut().find(|it| it.filter == filter)?;
        subscription.is_sure = true;
        Some(subscription)
    }

    pub(crate) fn unsubscribe(&mut self, party: Party, filter: &str) {
        if let Some(session) = self.sessions.get_mut(&party) {
            session.subscriptions.retain(|it| it.filter != filter);
        }
    }

    /// A session begins anew, or goes on.
    pub(crate) fn begin(&mut self, party: Party, is_persistent: bool) {
        let session = self.sessions.entry(party).or_default();
        session.is_persistent = is_persistent;
        if !is_persistent {
            session.subscriptions.clear();
            session.begun.clear();
        }
    }

    pub(crate) fn end(&mut self, party: Party) {
        if let Some(session) = self.sessions.get_mut(&party) {
            session.subscriptions.clear();
        }
    }

    pub(crate) fn retain(&mut self, topic: &str, publication: Publication, now: u64) {
        let holdings = self.retained.entry(topic.to_owned()).or_default();
        for holding in holdings.iter_mut() {
            holding.until = holding.until.min(now);
        }
        holdings.push(Holding { publication, since: now, until: u64::MAX });
    }

    /// A retained publication was heard again: whether it counts as a new one is open.
    pub(crate) fn retain_copy(&mut self, topic: &str, publication: Publication, now: u64) {
        if let Some(holdings) = self.retained.get_mut(topic) {
            let place = holdings.len() - 1;
            holdings.insert(place, Holding { publication, since: now, until: u64::MAX });
        }
    }

    /// The retained message of each topic that fits.
    pub(crate) fn retained_for(&self, filter: &str) -> Vec<(&str, Publication)> {
        let topics = self.retained.iter().filter(|(topic, _)| fits(filter, topic));
        topics
            .filter_map(|(topic, holdings)| {
                let last = holdings.last().filter(|holding| holding.until == u64::MAX)?;
                Some((topic.as_str(), last.publication))
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
            holding.until = holding.until.min(now);
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

    #[test]
    fn overlapping_subscriptions_are_one_match_with_the_highest_qos() {
        let mut model = Model::default();
        model.begin(1, true);
        for (filter, qos) in [("a/b", 0), ("a/+", 2), ("x", 2)] {
            model.subscribe(1, filter, qos, 0);
        }
        model.confirm(1, "a/+");
        assert_eq!(model.matches("a/b", 5), [Match { party: 1, qos: 2, is_sure: true }]);
        model.unsubscribe(1, "a/+");
        assert_eq!(model.matches("a/b", 5), [Match { party: 1, qos: 0, is_sure: false }]);
    }

    #[test]
    fn what_was_retained_is_known_with_its_time() {
        let mut model = Model::default();
        let publication = |number| Publication { party: 1, number };
        model.retain("r/1", publication(1), 10);
        model.retain("r/1", publication(2), 20);
        assert_eq!(model.retained_for("r/#"), [("r/1", publication(2))]);
        assert!(model.was_retained("r/1", publication(1), 15));
        assert!(!model.was_retained("r/1", publication(1), 21));
        model.restart(30);
        assert!(model.retained_for("#").is_empty());
    }
}
