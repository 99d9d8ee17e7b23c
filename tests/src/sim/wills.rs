//! A will is published when it is due, then only, and once (SN 6.3, 6.12, 6.14).
//!
//! For each party it is known from which moment on its will may be published, if it is not heard
//! again, and by when it has to be.

use std::collections::BTreeMap;

use super::book::{Party, Publication};
use super::features::{Feature, Features};
use super::will_parts::{self, Change, DELETED, Options, Parts, Topics};

/// How much earlier than computed a will may come.
const EARLY_MS: u64 = 100;

/// How much later: one that finds no room at a subscriber waits for thirty seconds.
const LATE_MS: u64 = 35_000;

/// The longest that a message which has left is on its way to a client.
const UNDER_WAY_MS: u64 = 2_000;

/// The longest silence that a sensor may ask for, and some more.
const SILENCE_MS_MAX: u64 = 240_000;

/// A connection with a will.
#[derive(Clone, Copy, Debug)]
struct Armed {
    number: u32,
    /// When the silence of the client becomes too long.
    due: u64,
    /// The latest moment at which the gateway notices.
    noticed_by: u64,
    /// The turn in which the connection began.
    turn: u64,
    /// Another CONNECT was heard as a whole, and not answered yet.
    is_replaced: bool,
    /// Its will may have QoS 0, which reaches only who is there, and the watcher was not, after a
    /// crash.
    is_fleeting: bool,
    /// It may have been published before the watcher had subscribed.
    is_missed: bool,
    /// What it is an example of, if it is published.
    feature: Option<Feature>,
}

/// A will that may have been published by now.
#[derive(Clone, Debug)]
struct Loose {
    /// By when it has to be, if it has to.
    by: Option<u64>,
    /// The turn in which its connection began.
    turn: u64,
    /// The topics that it may come under.
    topics: Topics,
    /// Messages that may come in its place.
    instead: Vec<u32>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Wills {
    /// Who watches all wills, if somebody does.
    pub(crate) watcher: Option<Party>,
    /// The watcher was told that it is subscribed.
    is_watched: bool,
    /// The watcher is there since then; the end of time: it has not come back from a crash.
    watched_since: u64,
    armed: BTreeMap<Party, Armed>,
    loose: BTreeMap<Publication, Loose>,
    /// Wills that the watcher was given, and when.
    seen: BTreeMap<Publication, u64>,
    /// How often wills may be published once more, because another connection has kept them.
    again: BTreeMap<Publication, u32>,
    /// From when to when wills were given that the gateway may not know to be published.
    forgotten: Vec<[u64; 2]>,
    /// Wills of connections that another one took the place of, and the turn in which it did, as
    /// long as that may be undone: while the disk takes nothing a CONNACK does not wait for it.
    replaced: Vec<(u64, Party, Options)>,
    /// What the wills of sensors have become by updates.
    parts: Parts,
    pub(crate) features: Features,
}

impl Wills {
    /// A connection with this will begins; another one of the party has ended with that.
    /// Its client was heard at `since`, and answered now.
    pub(crate) fn arm(&mut self, will: Publication, turn: u64, now: [u64; 2], silence_ms: u64) {
        let [since, now] = now;
        if let Some(old) = self.armed.get(&will.party).filter(|old| old.number != will.number) {
            let options = self.parts.options(will.party, old.number);
            self.replaced.push((turn, will.party, options));
        }
        self.end(will.party, now);
        self.parts.begin(will.party, will.number);
        let (due, noticed_by) = (since + silence_ms, now + silence_ms);
        let armed = self.new_armed(will.number, [due, noticed_by], turn);
        self.armed.insert(will.party, armed);
    }

    /// Whether the watcher is not back from a crash, so that it does not hear of QoS 0.
    const fn is_absent(&self) -> bool {
        self.watched_since == u64::MAX
    }

    /// A connection begins that keeps the will which its session has, if it has one.
    pub(crate) fn arm_again(
        &mut self,
        party: Party,
        turn: u64,
        [since, now]: [u64; 2],
        silence_ms: u64,
    ) -> bool {
        self.end(party, now);
        let Some(number) = self.parts.kept(party) else { return false };
        for number in self.parts.options(party, number).numbers {
            // What was due before may have been published, and may be once more.
            let will = Publication { party, number };
            if let Some(loose) = self.loose.get_mut(&will) {
                loose.by = None;
                *self.again.entry(will).or_default() += 1;
            }
        }
        let (due, noticed_by) = (since + silence_ms, now + silence_ms);
        let armed = self.new_armed(number, [due, noticed_by], turn);
        self.armed.insert(party, armed);
        true
    }

    const fn new_armed(&self, number: u32, [due, noticed_by]: [u64; 2], turn: u64) -> Armed {
        Armed {
            number,
            due,
            noticed_by,
            turn,
            is_replaced: false,
            is_fleeting: self.is_absent(),
            is_missed: false,
            feature: None,
        }
    }

    /// The watcher has subscribed: it need not have heard of what was due before.
    pub(crate) fn watch(&mut self, now: u64) {
        self.let_all_go(now);
        if !std::mem::replace(&mut self.is_watched, true) {
            for armed in self.armed.values_mut() {
                armed.is_missed = armed.due <= now + EARLY_MS;
            }
        }
        self.watched(now);
    }

    fn let_all_go(&mut self, now: u64) {
        let parties: Vec<Party> = self.armed.keys().copied().collect();
        parties.into_iter().for_each(|party| self.let_go(party, now));
    }

    /// The watcher is there, and is given what is published from now on.
    pub(crate) const fn watched(&mut self, now: u64) {
        if self.watched_since == u64::MAX {
            self.watched_since = now;
        }
    }

    /// The client was heard: its silence may last so long from now on.
    pub(crate) fn heard(&mut self, party: Party, now: u64, silence_ms: u64, visit_ms: u64) {
        self.let_go(party, now);
        if let Some(armed) = self.armed.get_mut(&party) {
            armed.due = now + silence_ms;
            armed.noticed_by = now + silence_ms.max(visit_ms);
            armed.is_missed = false;
        }
    }

    /// The silence was too long: the will is loose.
    fn let_go(&mut self, party: Party, now: u64) {
        let Some(armed) = self.armed.get(&party).copied() else { return };
        if now + EARLY_MS < armed.due {
            return;
        }
        let is_sure = now > armed.noticed_by + EARLY_MS && !armed.is_replaced;
        let is_heard = !armed.is_fleeting || armed.due >= self.watched_since;
        let by = armed.noticed_by.saturating_add(LATE_MS);
        if let Some(feature) = armed.feature.filter(|_| is_sure) {
            self.features.count(feature);
        }
        self.set_loose(party, armed, (is_sure && is_heard).then_some(by));
        if is_sure {
            self.armed.remove(&party);
        }
    }

    /// The connection may end in a way that publishes nothing, and nobody is told yet.
    pub(crate) fn replaced(&mut self, party: Party, now: u64) {
        self.let_go(party, now);
        if let Some(armed) = self.armed.get_mut(&party) {
            armed.is_replaced = true;
        }
    }

    fn set_loose(&mut self, party: Party, armed: Armed, by: Option<u64>) {
        let Armed { number, turn, is_replaced, is_missed, .. } = armed;
        let by = by.filter(|_| self.is_watched && !is_replaced && !is_missed);
        let options = self.parts.options(party, number);
        self.insert_loose(party, &options, by, turn);
    }

    /// The will may be published, with any of these topics and messages.
    fn insert_loose(&mut self, party: Party, options: &Options, by: Option<u64>, turn: u64) {
        let topics = options.topics & !DELETED;
        if topics == 0 {
            return;
        }
        let by = by.filter(|_| options.topics == topics);
        for (place, number) in options.numbers.iter().enumerate() {
            let instead = options.numbers.iter().filter(|it| *it != number).copied().collect();
            let by = by.filter(|_| place == 0);
            let will = Publication { party, number: *number };
            let before = self.loose.get(&will).map_or(0, |it| it.topics);
            let loose = Loose { by, turn, topics: topics | before, instead };
            self.loose.insert(will, loose);
        }
    }

    /// A sensor changes a half of its will.
    pub(crate) fn hear_change(&mut self, party: Party, change: Change, turn: u64) {
        self.parts.hear(party, change);
        if !self.armed.contains_key(&party) {
            // After a crash the gateway may see a connection where nothing promises one.
            let options = self.parts.options(party, will_parts::EMPTY);
            self.insert_loose(party, &options, None, turn);
        }
    }

    /// A change was acknowledged: which one, if there was any.
    pub(crate) fn acknowledge_change(&mut self, party: Party, is_topic: bool) -> Option<Change> {
        self.parts.acknowledge(party, is_topic)
    }

    /// The connection ended in a way that publishes nothing: DISCONNECT, or another CONNECT.
    pub(crate) fn end(&mut self, party: Party, now: u64) {
        self.let_go(party, now);
        self.armed.remove(&party);
    }

    /// The connection ended in a way that publishes the will.
    pub(crate) fn lost(&mut self, party: Party, now: u64) {
        if let Some(armed) = self.armed.remove(&party) {
            self.set_loose(party, armed, Some(now + LATE_MS));
        }
    }

    /// The connection ended in a way that publishes the will at the first of these times at the
    /// earliest and at the second at the latest, if its client does not return before that.
    pub(crate) fn delayed(&mut self, party: Party, now: u64, due: [u64; 2], feature: Feature) {
        self.let_go(party, now);
        if let Some(armed) = self.armed.get_mut(&party) {
            [armed.due, armed.noticed_by] = due;
            armed.feature = Some(feature);
        }
    }

    /// Whether the will of the connection that was is published is open.
    pub(crate) fn doubted(&mut self, party: Party, now: u64) {
        self.let_go(party, now);
        if let Some(armed) = self.armed.remove(&party) {
            self.set_loose(party, armed, None);
        }
    }

    /// Nothing is published of the connection that was: its client has said so, or has returned.
    /// A crash may undo that, if it comes before this turn is safe. Returns whether there was a
    /// will.
    pub(crate) fn given_up(&mut self, party: Party, turn: u64, now: u64) -> bool {
        self.let_go(party, now);
        let Some(armed) = self.armed.remove(&party) else { return false };
        let options = self.parts.options(party, armed.number);
        self.replaced.push((turn, party, options));
        true
    }

    /// A subscriber was given a will.
    pub(crate) fn delivered(
        &mut self,
        to: Party,
        (will, topic): (Publication, Topics),
        qos: u8,
        is_repeated: bool,
        now: u64,
    ) -> Result<(), &'static str> {
        self.let_go(will.party, now);
        match self.loose.get(&will) {
            None => return Err("its will was published and was not due"),
            Some(loose) if loose.topics & topic == 0 => {
                return Err("its will was published under a topic that it does not have");
            }
            Some(_) => {}
        }
        if self.watcher != Some(to) {
            return Ok(());
        }
        let before = self.seen.insert(will, now);
        let is_forgotten = |at| self.forgotten.iter().any(|[from, to]| (*from..=*to).contains(&at));
        if will.number == will_parts::EMPTY {
            // All of a sensor's wills without a message have this number.
            return Ok(());
        }
        let again = self.again.get_mut(&will).filter(|again| before.is_some() && **again > 0);
        if let Some(again) = again {
            *again -= 1;
            return Ok(());
        }
        // At QoS 2 it leaves when it is safe that it was published, and comes once.
        if before.is_some_and(|at| qos == 2 || !is_repeated && !is_forgotten(at)) {
            return Err("its will was published twice");
        }
        Ok(())
    }

    /// All state is gone, and all wills with it; those that are under way may still come.
    pub(crate) fn restarted(&mut self, now: u64) {
        self.let_all_go(now);
        self.armed.clear();
        self.parts.clear();
        // Until it has subscribed again.
        self.is_watched = false;
        self.loose.values_mut().for_each(|loose| loose.by = None);
    }

    /// The gateway was ended, and knows what was so after `safe_turn`, which was at `safe_at`: what
    /// it did since it may do again. `manner` tells the QoS of a will, and whether its connection
    /// goes on after a crash.
    pub(crate) fn crashed(
        &mut self,
        safe_turn: u64,
        safe_at: u64,
        now: u64,
        manner: impl Fn(Publication) -> (u8, bool),
    ) {
        self.forgotten.push([safe_at, now + UNDER_WAY_MS]);
        self.is_safe(safe_turn);
        self.parts.crashed();
        for (turn, party, options) in std::mem::take(&mut self.replaced) {
            self.parts.doubt(party, &options);
            let is_there =
                |number: &u32| self.loose.contains_key(&Publication { party, number: *number });
            let numbers = options.numbers.iter().filter(|it| !is_there(it)).copied().collect();
            self.insert_loose(party, &Options { numbers, ..options }, None, turn);
        }
        self.let_all_go(now);
        for (party, mut armed) in std::mem::take(&mut self.armed) {
            if armed.turn > safe_turn {
                self.set_loose(party, armed, None);
            } else {
                // Nobody is supervised before the gateway is back.
                (armed.due, armed.noticed_by) = (u64::MAX - LATE_MS, u64::MAX - LATE_MS);
                armed.is_fleeting = manner(Publication { party, number: armed.number }).0 == 0;
                self.armed.insert(party, armed);
            }
        }
        self.watched_since = u64::MAX;
        for (will, loose) in &mut self.loose {
            let (qos, goes_on) = manner(*will);
            // A connection that goes on has another chance, if it is not safe that it was too late.
            let is_undone = |by| goes_on && by > safe_at + LATE_MS;
            let is_safe = loose.turn <= safe_turn && qos > 0;
            loose.by = loose.by.filter(|by| is_safe && !is_undone(*by));
        }
    }

    /// What happened up to this turn is known to be safe.
    pub(crate) fn is_safe(&mut self, safe_turn: u64) {
        self.replaced.retain(|(turn, ..)| *turn > safe_turn);
    }

    /// Whether the will of a CONNECT is there that was not answered is open.
    pub(crate) fn may_be_there(&mut self, will: Publication, turn: u64) {
        let options = Options { topics: will_parts::FIRST, numbers: vec![will.number] };
        self.parts.doubt(will.party, &options);
        self.insert_loose(will.party, &options, None, turn);
        if let Some(armed) = self.armed.remove(&will.party) {
            self.set_loose(will.party, armed, None);
        }
    }

    /// The gateway is back. What it publishes at QoS 0 now reaches those who are there. `manner`
    /// as for [`Wills::crashed`].
    pub(crate) fn resumed(&mut self, now: u64, manner: impl Fn(Publication) -> (u8, bool)) {
        for (will, loose) in &mut self.loose {
            let (qos, goes_on) = manner(*will);
            let silence_ms = if goes_on { SILENCE_MS_MAX } else { 0 };
            let by = loose.by.filter(|_| qos > 0);
            loose.by = by.map(|by| by.max(now + silence_ms + LATE_MS));
        }
    }

    /// The process began by another time of day than before: what may have been published, and ends
    /// one day, may be too old for the watcher.
    pub(crate) fn aged(&mut self, ends: impl Fn(Publication) -> bool) {
        for (will, loose) in self.loose.iter_mut().filter(|(will, _)| ends(**will)) {
            loose.by = None;
            self.armed.retain(|party, armed| (*party, armed.number) != (will.party, will.number));
        }
    }

    /// A connection outlived the process: its client is supervised anew, by one of two times.
    pub(crate) fn supervised(&mut self, party: Party, now: u64, silence_ms: [u64; 2]) {
        if let Some(armed) = self.armed.get_mut(&party) {
            armed.due = now + silence_ms[0];
            armed.noticed_by = now + silence_ms[1];
        }
    }

    /// A will that should have been published by now and was not.
    pub(crate) fn overdue(&mut self, now: u64) -> Option<Publication> {
        self.watcher?;
        self.let_all_go(now);
        // A watcher that is not back from a crash hears of it when it is.
        let back_by = self.watched_since.saturating_add(LATE_MS);
        let is_late = |loose: &Loose| loose.by.is_some_and(|by| by.max(back_by) < now);
        let mut late = self.loose.iter().filter(|(_, loose)| is_late(loose)).map(|(will, _)| *will);
        late.find(|will| {
            let instead = self.loose[will].instead.iter();
            let mut all = instead.map(|number| Publication { number: *number, ..*will });
            !self.seen.contains_key(will) && !all.any(|it| self.seen.contains_key(&it))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_will_with_a_lifetime_may_be_too_old_when_the_clock_has_jumped() {
        let will = Publication { party: 1, number: 7 };
        let mut wills = Wills { watcher: Some(9), is_watched: true, ..Wills::default() };
        wills.arm(will, 1, [0, 0], 50_000);
        wills.lost(1, 1_000);
        wills.aged(|_| false);
        assert_eq!(wills.overdue(100_000), Some(will));
        wills.aged(|_| true);
        assert_eq!(wills.overdue(100_000), None);
    }

    #[test]
    fn a_will_of_qos_0_is_missed_by_a_watcher_that_is_not_back_from_a_crash() {
        let will = Publication { party: 1, number: 7 };
        let overdue = |qos: u8, back_at: u64| {
            let mut wills = Wills { watcher: Some(9), is_watched: true, ..Wills::default() };
            wills.arm(will, 1, [0, 0], 50_000);
            wills.crashed(1, 10_000, 10_000, |_| (qos, true));
            wills.resumed(10_000, |_| (qos, true));
            wills.supervised(1, 10_000, [20_000; 2]);
            wills.watched(back_at);
            wills.overdue(100_000)
        };
        assert_eq!(overdue(0, 31_000), None);
        assert_eq!(overdue(0, 15_000), Some(will));
        assert_eq!(overdue(1, 31_000), Some(will));
    }

    #[test]
    fn a_will_is_missed_by_a_watcher_that_has_subscribed_only_since() {
        let will = Publication { party: 1, number: 7 };
        let overdue = |watched_at: u64| {
            let mut wills = Wills { watcher: Some(9), is_watched: true, ..Wills::default() };
            wills.restarted(5_000);
            wills.arm(will, 1, [6_000, 6_000], 50_000);
            wills.delayed(1, 10_000, [10_000, 20_000], Feature::WillDelayed);
            wills.watch(watched_at);
            wills.overdue(100_000)
        };
        assert_eq!(overdue(15_000), None);
        assert_eq!(overdue(9_000), Some(will));
    }
}
