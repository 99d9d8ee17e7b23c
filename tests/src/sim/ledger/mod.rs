//! What was published, who has to get it, and who got it: the checks from application to
//! application.
//!
//! The ledger hears of each PUBLISH when the gateway hears it, asks the [`model`] who matches, and
//! hears from the virtual clients what their applications were given. It knows nothing of what the
//! gateway does in between.

mod crash;
pub(crate) mod five;
mod reheard;
mod share;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_core::hash::HashMap;

use crate::sim::book::{Book, Manner, Party, Publication};
use crate::sim::features::{Feature, Features};
use crate::sim::model::{self, Holding, Match, Model};
use crate::sim::will_parts::{self, Topics};
use crate::sim::wills::Wills;
use crate::sim::wire5::Properties;
use reheard::Reheard;
use share::Shared;

/// Violations that are kept; more say nothing new.
const VIOLATIONS_MAX: usize = 20;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) at: u64,
    pub(crate) party: Party,
    pub(crate) what: String,
}

/// A message that an application was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) to: Party,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// It says that it was sent before.
    pub(crate) is_repeated: bool,
}

/// A publication that the gateway has heard.
#[derive(Debug)]
struct Record {
    manner: Manner,
    /// When it was heard for the first time that counted, in the order of all publications.
    stamp: u64,
    /// When it was heard last.
    latest: u64,
    arrivals: u32,
    is_accepted: bool,
    accepted_at: u64,
    /// A second delivery would not be the gateway's fault.
    is_disturbed: bool,
    is_finished: bool,
    /// Its publisher has released it: a copy is known by the gateway's memory alone.
    is_released: bool,
    targets: Vec<Target>,
    /// How long it may wait, and when it was heard, with the wall clock's offset.
    life_ms: Option<u64>,
    heard_at: Vec<(u64, i64)>,
    /// Whether somebody was subscribed for sure, and whether somebody may have been.
    reach: [bool; 2],
    /// What became of it in the group of the world.
    shared: Option<Box<Shared>>,
}

/// Somebody who may get it.
#[derive(Clone, Copy, Debug)]
struct Target {
    party: Party,
    qos: u8,
    is_expected: bool,
    count: u32,
    /// Those of them that did not say that they were sent before.
    fresh: u32,
    /// Times that it was sent and that is forgotten.
    forgotten: u32,
    /// That of the first arrival at which it matched.
    stamp: u64,
    /// Subscription identifiers that come along, and that may.
    ids: [u16; 2],
    /// Whether RETAIN stays, and whether it may.
    retain: [bool; 2],
    /// By the group of the world.
    is_shared: bool,
}

/// What a subscriber waits for.
#[derive(Debug, Default)]
struct Inbox {
    /// Accepted publications of QoS 1 and 2 that it was not given yet.
    pending: BTreeSet<Publication>,
    /// Retained messages that its subscription has to be answered with.
    replays: BTreeMap<String, Publication>,
    /// Exchanges before this stamp it may have forgotten.
    amnesia: u64,
    /// What was heard up to this stamp may have gone with a session or a subscription.
    given_up: u64,
    /// What was heard up to this stamp went with a session for sure.
    fresh_since: u64,
    /// It reads all that it is sent since then.
    reads_since: u64,
    /// What was heard up to then may wait behind what has waited for long.
    busy_until: u64,
    /// How often it was given which retained messages, in this session.
    replayed: BTreeMap<Publication, u32>,
}

/// Counts of what was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LedgerStats {
    pub(crate) checks: u64,
    pub(crate) publications: u64,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) retained: u64,
    pub(crate) wills: u64,
    /// Payloads that no party made.
    pub(crate) foreign: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Ledger {
    book: Book,
    pub(crate) model: Model,
    pub(crate) wills: Wills,
    pub(crate) now: u64,
    /// The turn of the gateway that is going on.
    pub(crate) turn: u64,
    /// What is done with is forgotten: for worlds with millions of publications.
    is_light: bool,
    stamp: u64,
    records: HashMap<Publication, Record>,
    inboxes: BTreeMap<Party, Inbox>,
    /// The stamp of the latest first delivery by subscriber, publisher and class.
    order: HashMap<(Party, Party, u8), u64>,
    /// When a party was connected last, and the stamp up to which its session was forgotten.
    connected: HashMap<Party, (u64, u64)>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) stats: LedgerStats,
    pub(crate) features: Features,
    /// Somebody publishes what nobody made.
    pub(crate) allows_foreign: bool,
    /// Messages of QoS 1 that left for clients, with the turn in which they did.
    sent: VecDeque<(u64, Party, Publication)>,
    crashed_at: Option<u64>,
    /// What was heard up to this stamp was heard before the latest crash.
    crash_stamp: u64,
    /// When something waited for the disk for long, the last time.
    pub(crate) held_up_at: u64,
    /// How far the wall clock is off.
    pub(crate) wall_offset: i64,
    /// It has jumped since a process began with what was kept.
    pub(crate) has_jumped: bool,
    /// When the process began that was the last to begin with what was kept, and the offset then.
    booted: Option<(u64, i64)>,
    /// Publications that a member of the group has to get and none was given yet.
    shared: BTreeSet<Publication>,
    /// Whether there ever was one.
    has_group: bool,
    /// How often the connection of a member has ended.
    links: BTreeMap<Party, u64>,
    /// Members whose sessions end with their connections.
    fleeting: BTreeSet<Party>,
    reheard: Reheard,
    topic: String,
}

impl Ledger {
    pub(crate) fn new(book: Book, is_light: bool) -> Self {
        Self {
            model: Model::default(),
            wills: Wills::default(),
            now: 0,
            turn: 0,
            is_light,
            stamp: 0,
            records: broker_core::hash::map(1),
            inboxes: BTreeMap::new(),
            order: broker_core::hash::map(2),
            connected: broker_core::hash::map(3),
            violations: Vec::new(),
            stats: LedgerStats::default(),
            features: Features::default(),
            allows_foreign: false,
            sent: VecDeque::new(),
            crashed_at: None,
            crash_stamp: 0,
            held_up_at: 0,
            reheard: Reheard::default(),
            wall_offset: 0,
            has_jumped: false,
            booted: None,
            shared: BTreeSet::new(),
            has_group: false,
            links: BTreeMap::new(),
            fleeting: BTreeSet::new(),
            topic: String::new(),
            book,
        }
    }

    /// A promise was broken.
    pub(crate) fn violation(&mut self, party: Party, what: &str) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { at: self.now, party, what: what.to_owned() });
        }
    }

    /// Notes that something was looked at, and whether it was as it has to be.
    pub(crate) fn check(&mut self, party: Party, holds: bool, what: &str) {
        self.stats.checks += 1;
        if !holds {
            self.violation(party, what);
        }
    }

    /// The gateway hears a PUBLISH.
    pub(crate) fn arrived(&mut self, publication: Publication, dup: bool) {
        let manner = self.book.manner(publication);
        let mut topic = std::mem::take(&mut self.topic);
        self.book.topic(publication, &mut topic);
        let matches = self.model.matches(&topic, publication.party, self.now);
        let life_ms = self.book.life_ms(publication);
        if self.model.is_own(&topic, publication.party) {
            self.features.count(Feature::NoLocal);
        }
        let is_copy = self.records.get(&publication).is_some_and(|it| it.is_accepted);
        if manner.retain && is_copy {
            self.model.retain_copy(&topic, publication, self.now);
        } else if manner.retain {
            self.model.hear_retained(&topic, publication, self.now);
        }
        if manner.retain {
            // What was retained before need not be looked up any more.
            for inbox in self.inboxes.values_mut() {
                inbox.replays.remove(&topic);
            }
        }
        self.topic = topic;
        let connected = self.connected.get(&publication.party).copied().unwrap_or_default();
        self.stats.publications += 1;
        self.stamp += 1;
        self.reheard.heard(publication, self.is_light);
        let record = self.records.entry(publication).or_insert_with(|| Record {
            manner,
            stamp: 0,
            latest: 0,
            arrivals: 0,
            is_accepted: false,
            accepted_at: 0,
            is_disturbed: false,
            is_finished: false,
            is_released: false,
            targets: Vec::new(),
            life_ms,
            heard_at: Vec::new(),
            reach: [false; 2],
            shared: None,
        });
        if life_ms.is_some() {
            record.heard_at.push((self.now, self.wall_offset));
        }
        record.reach[0] |= matches.iter().any(|it| it.is_sure);
        record.reach[1] |= !matches.is_empty();
        record.arrivals += 1;
        record.latest = self.stamp;
        if record.is_accepted {
            // A copy that comes late into another connection is a new message, unless it says that
            // it is none (docs/testing.md).
            record.is_disturbed |= !dup && connected.0 >= record.accepted_at;
            // What was released is told from its late copies by memory, which ends with a process.
            record.is_disturbed |=
                record.is_released && self.crashed_at.is_some_and(|at| at >= record.accepted_at);
        } else {
            record.stamp = self.stamp;
            for target in &mut record.targets {
                // Either arrival may be the one that counts.
                let given_up = self.inboxes.get(&target.party).map_or(0, |inbox| inbox.given_up);
                target.is_expected &= given_up < target.stamp
                    && matches.iter().any(|it| it.party == target.party && it.is_sure);
            }
        }
        if matches.iter().any(|it| it.is_shared) {
            self.has_group = true;
            record.shared.get_or_insert_default().arrived(&matches, manner.qos, record.arrivals);
        }
        for found in matches {
            let Match { party, ids, retain, is_shared, .. } = found;
            let qos = found.qos.min(if manner.qos == 3 { 0 } else { manner.qos });
            if let Some(target) = record.targets.iter_mut().find(|it| it.party == party) {
                target.qos = target.qos.max(qos);
                target.ids = [target.ids[0] & ids[0], target.ids[1] | ids[1]];
                target.retain = [target.retain[0] && retain[0], target.retain[1] || retain[1]];
                continue;
            }
            let is_awaited = found.is_sure && qos > 0 && record.arrivals == 1 && !is_shared;
            let is_expected = is_awaited && self.model.fits_client(party, &self.book, publication);
            if is_awaited && !is_expected {
                self.features.count(Feature::TooLarge);
            }
            let (stamp, count, fresh, forgotten) = (self.stamp, 0, 0, 0);
            record.targets.push(Target {
                party,
                qos,
                is_expected,
                count,
                fresh,
                forgotten,
                stamp,
                ids,
                retain,
                is_shared,
            });
        }
    }

    /// The gateway says that it has a publication.
    pub(crate) fn accepted(&mut self, publication: Publication) {
        let Some(record) = self.records.get_mut(&publication) else {
            if !self.is_light {
                self.violation(publication.party, "something was acknowledged that was not sent");
            }
            return;
        };
        if std::mem::replace(&mut record.is_accepted, true) {
            return;
        }
        record.accepted_at = self.now;
        self.stats.accepted += 1;
        for target in record.targets.iter().filter(|it| it.is_expected && it.count == 0) {
            let inbox = self.inboxes.entry(target.party).or_default();
            if record.stamp > inbox.given_up {
                inbox.pending.insert(publication);
            }
        }
        if record.shared.as_ref().is_some_and(|shared| shared.is_missed()) {
            self.shared.insert(publication);
        }
        if record.manner.retain {
            let mut topic = std::mem::take(&mut self.topic);
            self.book.topic(publication, &mut topic);
            // What is acknowledged is safe with that; at QoS 0 it becomes so with its turn.
            let turn = if matches!(record.manner.qos, 1 | 2) { 0 } else { self.turn };
            self.model.retain(&topic, publication, self.now, turn);
            for inbox in self.inboxes.values_mut() {
                inbox.replays.remove(&topic);
            }
            self.topic = topic;
        }
        self.tidy(publication);
    }

    /// The publisher is done with a publication, whatever became of it.
    pub(crate) fn finished(&mut self, publication: Publication) {
        if let Some(record) = self.records.get_mut(&publication) {
            record.is_finished = true;
            self.tidy(publication);
        }
    }

    /// Forgets a publication that is done with, if there is no room for it.
    fn tidy(&mut self, publication: Publication) {
        if !self.is_light {
            return;
        }
        let Some(record) = self.records.get(&publication) else { return };
        let waits = record.targets.iter().any(|it| it.is_expected && it.count == 0);
        if record.is_finished && !(record.is_accepted && waits) {
            self.records.remove(&publication);
        }
    }

    /// An application was given a message.
    pub(crate) fn delivered(&mut self, delivery: Delivery<'_>) {
        self.delivered_with(delivery, None);
    }

    /// An application was given a message, with these properties if it speaks MQTT 5.0.
    pub(crate) fn delivered_with(
        &mut self,
        delivery: Delivery<'_>,
        properties: Option<&Properties<'_>>,
    ) {
        let Delivery { to, topic, qos, retain, is_repeated, .. } = delivery;
        let payload = delivery.payload;
        let publication = match payload {
            [] => will_parts::read_empty(&self.book, topic),
            _ => self.book.read(payload),
        };
        let Some(publication) = publication else {
            self.stats.foreign += 1;
            let what = format!("nobody has published this to {topic}");
            self.check(to, self.allows_foreign, &what);
            return;
        };
        let mut expected = std::mem::take(&mut self.topic);
        self.book.topic(publication, &mut expected);
        let what = format_args!("{publication} for {expected} came under {topic}");
        let will_topic = will_parts::topic_of(publication.party, topic);
        let is_changed = publication.is_will() && will_topic == Some(will_parts::SECOND);
        if expected != topic && !is_changed {
            let what = what.to_string();
            self.violation(to, &what);
        }
        self.topic = expected;
        self.stats.checks += 1;
        if share::is_member(&self.model, to)
            && let Some(record) = self.records.get_mut(&publication)
        {
            record.join(to);
        }
        if let Some(properties) = properties {
            self.check_properties(to, publication, properties);
        }
        if retain && let Some(inbox) = self.inboxes.get_mut(&to) {
            // Whether it came live or not cannot always be told.
            let is_held = self.model.was_retained(topic, publication, self.now);
            inbox.replays.retain(|it, waits| *waits != publication && !(is_held && it == topic));
        }
        let keeps = !publication.is_will() && self.keeps_retain(to, publication, retain);
        if retain && !(keeps && self.may_be_live(to, publication, properties, is_repeated)) {
            self.replayed(to, topic, publication);
            self.check_replay(to, topic, publication, properties, is_repeated);
        } else if publication.is_will() {
            self.stats.wills += 1;
            let topic = will_topic.unwrap_or(will_parts::FIRST);
            if is_changed || publication.number == will_parts::EMPTY {
                self.features.count(Feature::ChangedWillPublished);
            }
            self.check_will_qos(to, publication, topic, qos);
            let will = (publication, topic);
            if let Err(what) = self.wills.delivered(to, will, qos, is_repeated, self.now) {
                self.violation(publication.party, &format!("{publication}: {what}"));
            }
        } else {
            if !keeps {
                self.violation(
                    to,
                    &format!("{publication} has another RETAIN than it was to have"),
                );
            }
            self.check_identifiers(to, publication, properties);
            self.live(to, publication, qos, is_repeated);
        }
    }

    /// The watcher is granted every QoS, so that a will comes to it with its own (SN-054).
    fn check_will_qos(&mut self, to: Party, will: Publication, topic: Topics, qos: u8) {
        if self.wills.watcher != Some(to) || !self.book.is_sensor(will.party) {
            return;
        }
        let first = self.book.kind(will.party).will.unwrap_or_default();
        let (expected, _) = will_parts::manner(first, topic);
        let what = format!("{will} came with QoS {qos} and has QoS {expected}");
        self.check(will.party, qos == expected, &what);
    }

    fn live(&mut self, to: Party, publication: Publication, qos: u8, is_repeated: bool) {
        self.stats.delivered += 1;
        let inbox = self.inboxes.get(&to);
        let amnesia = inbox.map_or(0, |inbox| inbox.amnesia);
        let given_up = inbox.map_or(0, |inbox| inbox.given_up);
        let begun = self.connected.get(&publication.party).map_or(0, |(_, stamp)| *stamp);
        // What had expired may be back after a crash that has forgotten it, if the clock went back.
        let is_revived = self.booted.is_some() && self.has_expired(publication);
        let Some(record) = self.records.get_mut(&publication) else {
            let is_settled = self.is_light && qos < 2;
            self.check(to, is_settled, &format!("{publication} came and had never been heard"));
            return;
        };
        let Some(target) = record.targets.iter_mut().find(|it| it.party == to) else {
            self.violation(to, &format!("{publication} came without a matching subscription"));
            return;
        };
        target.count += 1;
        target.fresh += u32::from(!is_repeated);
        let Target { count, fresh, forgotten, qos: granted, stamp: heard, is_shared, .. } = *target;
        let keeps_retain = target.retain[1] && record.manner.retain;
        let Record { stamp, latest, manner, arrivals, is_released, .. } = *record;
        // A session that ended with a crash was promised nothing, not even that QoS 2 comes once.
        let is_over = heard <= given_up.min(self.crash_stamp);
        let may_repeat = is_over || record.is_disturbed || stamp < amnesia || stamp <= begun;
        self.check(to, qos <= granted, &format!("{publication} came with a higher QoS"));
        if qos == 2 && count > 1 && !may_repeat {
            self.violation(to, &format!("{publication} of QoS 2 came {count} times"));
        }
        // The radio makes copies; a stream does not.
        let is_exact = !self.book.is_sensor(to) && !is_shared;
        let is_copy = !is_repeated && fresh > arrivals + forgotten && is_exact;
        if is_exact && self.crashed_at.is_none() {
            let fresh_since = self.inboxes.get(&to).map_or(0, |inbox| inbox.fresh_since);
            let what = "came, and the session that it was for is over";
            self.check(to, latest > fresh_since, &format!("{publication} {what}"));
        }
        self.check(to, !is_copy || may_repeat, &format!("{publication} came again without DUP"));
        // Members of a group take over from each other; what keeps RETAIN may be what is retained.
        if count == 1 && !is_shared && !keeps_retain {
            let last = self.order.entry((to, publication.party, manner.class)).or_default();
            // The radio swaps what nobody acknowledges.
            let may_swap = qos == 0 && self.book.is_sensor(to);
            // One that was heard again may count from then on, unless it is known to be a copy.
            let counts = if manner.qos < 2 || is_released { latest } else { stamp };
            let may_swap = may_swap || is_revived || self.reheard.has(publication.party);
            let is_in_order = manner.qos == 3 || may_swap || heard.max(counts) >= *last;
            *last = heard.max(*last);
            self.check(to, is_in_order, &format!("{publication} came after a later one"));
        }
        if let Some(inbox) = self.inboxes.get_mut(&to) {
            inbox.pending.remove(&publication);
        }
        if is_shared {
            self.shared.remove(&publication);
        }
        self.tidy(publication);
    }

    /// A retained message came in answer to a subscription.
    fn replayed(&mut self, to: Party, topic: &str, publication: Publication) {
        self.stats.retained += 1;
        let session = self.model.sessions.get(&to);
        let subscriptions = session.map(|it| it.subscriptions.as_slice()).unwrap_or_default();
        let fitting = subscriptions.iter().filter(|it| model::fits(&it.filter, topic));
        let since = fitting.map(|it| it.begun).min();
        let inbox = self.inboxes.entry(to).or_default();
        let is_held = self.model.was_retained(topic, publication, self.now);
        if is_held || inbox.replays.get(topic) == Some(&publication) {
            inbox.replays.remove(topic);
        }
        // What was given up meanwhile may still be on its way.
        let since = since.unwrap_or(0);
        let is_right = publication.is_will() || self.model.was_retained(topic, publication, since);
        self.check(to, is_right, &format!("{publication} is not what is retained at {topic}"));
    }

    pub(crate) fn subscribed(&mut self, party: Party, filter: &str, qos: u8) {
        self.model.subscribe(party, filter, qos, self.now);
    }

    /// SUBSCRIBE was answered: the retained messages are due [MQTT-3.3.1-6].
    pub(crate) fn confirmed(&mut self, party: Party, filter: &str) {
        if self.wills.watcher == Some(party) {
            self.wills.watch(self.now);
        }
        let Some(subscription) = self.model.confirm(party, filter) else { return };
        let (qos, since) = (subscription.qos, subscription.since);
        if qos == 0 || !subscription.is_replay_sure {
            return;
        }
        let lasts = self.model.sessions.get(&party).is_some_and(|it| it.lasts(self.now));
        let held = self.model.retained_for(filter).into_iter();
        let held = held.map(|(topic, publication)| (topic.to_owned(), publication));
        let due: Vec<_> = held
            .filter(|(topic, sure)| {
                let holdings = &self.model.retained[topic];
                let mut open = holdings.iter().filter(|holding| holding.is_open());
                // One that may have taken its place may have expired there.
                let stays = |it: Publication| it == *sure || self.book.life_ms(it).is_none();
                let is_sure = |it: Publication| self.book.manner(it).qos > 0 && stays(it);
                let is_settled = |it: &Holding| it.since < since && is_sure(it.publication);
                let publication = holdings.last().map(|it| it.publication);
                let fits =
                    publication.is_some_and(|it| self.model.fits_client(party, &self.book, it));
                lasts && fits && open.all(is_settled)
            })
            .collect();
        let inbox = self.inboxes.entry(party).or_default();
        inbox.replays.extend(due);
    }

    /// Messages that wait stay allowed; they are not asked for any more.
    pub(crate) fn unsubscribed(&mut self, party: Party, filter: &str) {
        self.model.unsubscribe(party, filter, self.turn);
        self.forget_pending(party, |topic| model::fits(filter, topic));
    }

    /// Whether a subscription was given up is open until that is acknowledged.
    pub(crate) fn doubted(&mut self, party: Party, filter: &str) {
        self.model.doubt(party, filter);
        self.forget_pending(party, |topic| model::fits(filter, topic));
    }

    fn forget_pending(&mut self, party: Party, is_meant: impl Fn(&str) -> bool) {
        let inbox = self.inboxes.entry(party).or_default();
        inbox.given_up = self.stamp;
        let (book, topic) = (&self.book, &mut self.topic);
        inbox.replays.retain(|topic, _| !is_meant(topic));
        let given_up: Vec<Publication> = inbox
            .pending
            .extract_if(.., |publication| {
                book.topic(*publication, topic);
                is_meant(topic)
            })
            .collect();
        for publication in given_up {
            if let Some(record) = self.records.get_mut(&publication) {
                let target = record.targets.iter_mut().find(|it| it.party == party);
                if let Some(target) = target {
                    target.is_expected = false;
                }
            }
            self.tidy(publication);
        }
    }

    /// A CONNECT was accepted.
    pub(crate) fn session_begun(&mut self, party: Party, is_persistent: bool, has_inbox: bool) {
        let now = self.now;
        let stamp = if is_persistent { 0 } else { self.stamp };
        if !self.is_light || !is_persistent {
            let connected = self.connected.entry(party).or_default();
            *connected = (now, connected.1.max(stamp));
        }
        if !has_inbox {
            return;
        }
        if is_persistent && self.wills.watcher == Some(party) {
            self.wills.watched(now);
        }
        self.model.begin(party, is_persistent);
        if !is_persistent {
            self.forget_pending(party, |_| true);
        }
    }

    /// A session without persistence is over.
    pub(crate) fn session_over(&mut self, party: Party) {
        self.model.end(party);
        self.forget_pending(party, |_| true);
    }

    pub(crate) fn lasts_until(&mut self, party: Party, until: u64) {
        if let Some(session) = self.model.sessions.get_mut(&party) {
            session.lasts_until = until;
        }
    }

    /// A device has lost its memory of exchanges.
    pub(crate) fn amnesia(&mut self, party: Party) {
        self.inboxes.entry(party).or_default().amnesia = self.stamp + 1;
    }

    /// The gateway has begun anew with nothing.
    pub(crate) fn restarted(&mut self) {
        self.model.restart(self.now);
        self.wills.restarted(self.now);
        self.shared.clear();
        let inboxes: Vec<Party> = self.inboxes.keys().copied().collect();
        for party in inboxes {
            self.forget_pending(party, |_| true);
        }
        #[expect(clippy::iter_over_hash_type, reason = "each is changed by itself")]
        for record in self.records.values_mut() {
            record.is_disturbed = true;
            record.is_accepted = false;
            record.shared = None;
            for target in &mut record.targets {
                target.is_expected = false;
            }
        }
    }

    /// Something that a subscriber has to get and was not given yet.
    pub(crate) fn waits_for(&mut self, party: Party) -> Option<Publication> {
        let lasts = self.model.sessions.get(&party).is_some_and(|it| it.lasts(self.now));
        if !lasts {
            self.forget_pending(party, |_| true);
        }
        self.forget_expired(party);
        let inbox = self.inboxes.get(&party)?;
        let first = inbox.pending.first().or_else(|| inbox.replays.values().next());
        first.copied()
    }

    /// How many deliveries are missing, and one of them.
    pub(crate) fn missing(&mut self) -> (usize, Option<(Party, Publication)>) {
        let parties: Vec<Party> = self.inboxes.keys().copied().collect();
        // Each of them, as what has expired is not waited for.
        let waiting = parties.iter().filter_map(|party| Some((*party, self.waits_for(*party)?)));
        let first = waiting.collect::<Vec<_>>().into_iter().next();
        let shared = self.missing_of_group().map(|it| (it.party, it));
        let waiting = |inbox: &Inbox| inbox.pending.len() + inbox.replays.len();
        let count = self.inboxes.values().map(waiting).sum::<usize>() + self.shared.len();
        (count, first.or(shared))
    }

    /// Publications that are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.records.len()
    }
}
