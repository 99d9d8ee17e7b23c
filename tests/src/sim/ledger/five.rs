//! What MQTT 5.0 promises from application to application: properties, identifiers, RETAIN and the
//! time that a message may wait.

use super::{Inbox, Ledger, Record};
use crate::sim::book::{Party, Publication};
use crate::sim::features::Feature;
use crate::sim::model::{self, Wants};
use crate::sim::wire5::Properties;

/// The least time in which everybody who reads is sent what waits.
const PROMPT_MS: u64 = 5_000;

/// How long a delivery that was begun may wait for the disk before it leaves.
const BEGUN_MS: u64 = 300_000;

/// The longest that something is on its way to a client.
const LEFTOVER_MS: u64 = 2_000;

/// What a session is when a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// The one that it had.
    No,
    Maybe,
    /// A new one.
    Yes,
}

/// The distance of subscription identifiers, so that they have one, two and three octets.
const ID_STEP: u32 = 9_000;

/// The subscription identifier of a client's filter at this place.
pub(crate) const fn identifier(place: usize) -> u32 {
    1 + place as u32 * ID_STEP
}

/// Bits for subscription identifiers; `None` if one of them is nobody's or comes twice.
pub(crate) fn bits(identifiers: &[u32]) -> Option<u16> {
    identifiers.iter().try_fold(0, |bits: u16, identifier| {
        let number = identifier.checked_sub(1)?;
        let bit = 1u16.checked_shl(number / ID_STEP).filter(|_| number % ID_STEP == 0)?;
        (bits & bit == 0).then_some(bits | bit)
    })
}

impl Ledger {
    /// A client that speaks over TCP connects.
    pub(crate) fn client_connected(&mut self, party: Party, fresh: Fresh, packet_max: u32) {
        let (now, stamp) = (self.now, self.stamp);
        let connected = self.connected.entry(party).or_default();
        let forgotten = if fresh == Fresh::No { connected.1 } else { stamp };
        *connected = (now, forgotten);
        match fresh {
            Fresh::No if self.wills.watcher == Some(party) => self.wills.watched(now),
            Fresh::No => {}
            Fresh::Maybe => self.session_doubted(party),
            Fresh::Yes => self.session_fresh(party),
        }
        let session = self.model.sessions.entry(party).or_default();
        (session.lasts_until, session.packet_max) = (u64::MAX, packet_max);
        self.inboxes.entry(party).or_default().reads_since = now;
    }

    /// A client has no session of the past.
    pub(crate) fn session_fresh(&mut self, party: Party) {
        self.leave_group(party);
        self.model.discard(party, self.turn);
        self.forget_pending(party, |_| true);
        let stamp = self.stamp;
        let inbox = self.inboxes.entry(party).or_default();
        inbox.fresh_since = stamp;
        inbox.replayed.clear();
    }

    /// A client was told that its session is there.
    pub(crate) fn session_found(&mut self, party: Party) {
        if self.wills.watcher == Some(party) {
            self.wills.watched(self.now);
        }
    }

    /// Whether a session is there is open.
    pub(crate) fn session_doubted(&mut self, party: Party) {
        self.leave_group(party);
        self.model.doubt_all(party);
        self.forget_pending(party, |_| true);
    }

    /// A client reads nothing, or again.
    pub(crate) fn reads_from(&mut self, party: Party, at: u64) {
        self.inboxes.entry(party).or_default().reads_since = at;
    }

    pub(crate) fn subscribed_with(&mut self, party: Party, filter: &str, qos: u8, wants: Wants) {
        if wants.handling > 0 {
            self.features.count(Feature::RetainHandling);
        }
        self.model.subscribe_with(party, filter, qos, wants, self.now);
    }

    /// A PUBLISH leaves for a client, or has left since `since`.
    pub(crate) fn left(&mut self, party: Party, left: &Left<'_>) {
        let Left { publication, qos, is_dup, properties, .. } = *left;
        if !is_dup || properties.is_some() {
            self.check_life(party, left);
        }
        if qos == 1 {
            self.sent(party, publication);
        }
        if qos > 0 && !is_dup {
            self.note_delay(party, publication);
        }
        self.give(party, publication, qos, is_dup);
    }

    /// What was heard meanwhile waits behind it, and as long: the client takes so much at a time,
    /// or the disk.
    fn note_delay(&mut self, party: Party, publication: Publication) {
        let record = self.records.get(&publication).filter(|it| it.is_accepted);
        if record.is_some_and(|it| it.accepted_at + PROMPT_MS < self.now) {
            self.inboxes.entry(party).or_default().busy_until = self.now;
        }
    }

    /// It is not too old, and says what is left of its time (3.3.2.3.3).
    fn check_life(&mut self, party: Party, left: &Left<'_>) {
        let Left { publication, qos, is_dup, properties, since, is_kept } = *left;
        let Some(record) = self.records.get(&publication) else { return };
        let Some([first, last]) = self.lives_until(record) else { return };
        let is_old = self
            .booted
            .is_some_and(|(at, _)| record.heard_at.iter().all(|(heard_at, _)| *heard_at < at));
        // A delivery that was begun is finished; it may have waited for the disk.
        let grace_ms = if qos > 0 && is_kept { BEGUN_MS } else { 0 };
        let is_late = !is_dup && since >= last + grace_ms;
        self.check(party, !is_late, &format!("{publication} was sent when it had expired"));
        let Some(told_s) = properties.and_then(|it| it.message_expiry_s) else { return };
        let told_ms = u64::from(told_s) * 1_000;
        let [least, most] = [first.saturating_sub(self.now), last.saturating_sub(since)];
        let is_right = told_ms + 1_000 >= least && told_ms <= most + 1_000;
        let what =
            format!("{publication} expires in {told_s} s, and has {least} to {most} ms left");
        self.check(party, is_right, &what);
        let whole_s = self.book.extras(publication).expiry_s.unwrap_or_default();
        self.check(party, told_s <= whole_s, &format!("{publication} lives longer than it was to"));
        self.features.count(Feature::ExpiryTold);
        if told_s + 2 < whole_s {
            self.features.count(Feature::ExpiryLess);
        }
        if is_old {
            self.features.count(Feature::ExpiryOverCrash);
        }
    }

    /// When a publication expires, as far as is known: a process that begins goes by the wall
    /// clock, and what had expired before that stays away.
    fn lives_until(&self, record: &Record) -> Option<[u64; 2]> {
        let life_ms = record.life_ms?;
        let [mut first, mut last] = [u64::MAX, 0];
        for (heard_at, offset) in &record.heard_at {
            let until = heard_at + life_ms;
            let moved = match self.booted {
                // A clock that was turned back makes it no more than it was.
                Some((at, boot_offset)) if *heard_at < at => {
                    until.saturating_add_signed(offset - boot_offset).min(at + life_ms)
                }
                Some(_) | None => until,
            };
            (first, last) = (first.min(until).min(moved), last.max(moved));
        }
        Some([first, last])
    }

    /// Whether a publication may be too old by now.
    pub(super) fn has_expired(&self, publication: Publication) -> bool {
        let record = self.records.get(&publication);
        let until = record.and_then(|record| self.lives_until(record));
        until.is_some_and(|[first, _]| first <= self.now)
    }

    /// What has expired is not waited for, but by somebody who would have been sent it in time.
    pub(super) fn forget_expired(&mut self, party: Party) {
        let Some(inbox) = self.inboxes.get(&party) else { return };
        let Inbox { pending, replays, reads_since, busy_until, .. } = inbox;
        let waits = pending.iter().chain(replays.values());
        let expired: Vec<Publication> = waits.copied().filter(|it| self.has_expired(*it)).collect();
        if expired.is_empty() {
            return;
        }
        let (reads_since, busy_until) = (*reads_since, *busy_until);
        for &publication in &expired {
            self.features.count(Feature::Expired);
            let record = &self.records[&publication];
            let heard_at = record.heard_at.first().map_or(0, |(at, _)| *at);
            let reads = !self.book.is_sensor(party) && reads_since < u64::MAX - PROMPT_MS;
            let busy_until = busy_until.max(self.held_up_at);
            let was_there = reads && (reads_since + 12 * PROMPT_MS).max(busy_until) < heard_at;
            let had_time = record.life_ms.unwrap_or_default() >= 2 * PROMPT_MS;
            let is_settled = record.arrivals == 1 && record.is_accepted;
            let is_awaited = record.targets.iter().any(|it| it.party == party && it.is_expected);
            let holds =
                !(was_there && had_time && is_settled && is_awaited && self.booted.is_none());
            let what = format!("{publication} expired and could have been sent in time");
            self.check(party, holds, &what);
        }
        let Some(inbox) = self.inboxes.get_mut(&party) else { return };
        inbox.pending.retain(|it| !expired.contains(it));
        inbox.replays.retain(|_, it| !expired.contains(it));
    }

    /// Properties come as they were published.
    pub(super) fn check_properties(
        &mut self,
        to: Party,
        publication: Publication,
        properties: &Properties<'_>,
    ) {
        let extras = self.book.extras(publication);
        if let Some(difference) = extras.difference(properties) {
            self.violation(to, &format!("{publication}: {difference}"));
        }
        self.stats.checks += 1;
        if !extras.user.is_empty() {
            self.features.count(Feature::UserProperties);
        }
        let heard_at = self.records.get(&publication).and_then(|it| it.heard_at.first());
        let is_old = self.booted.is_some_and(|(at, _)| heard_at.is_some_and(|it| it.0 < at));
        if is_old && !extras.is_empty() {
            self.features.count(Feature::PropertiesOverCrash);
        }
        let has_alias = properties.alias.is_some_and(|alias| alias == 0);
        self.check(to, !has_alias, "a topic alias is 0");
    }

    /// Whether a message that came live has RETAIN as it was asked for.
    pub(super) fn keeps_retain(&self, to: Party, publication: Publication, retain: bool) -> bool {
        let Some(record) = self.records.get(&publication) else { return !retain };
        let target = record.targets.iter().find(|it| it.party == to);
        let [must, may] = target.map_or([false; 2], |it| it.retain);
        if retain { record.manner.retain && may } else { !(record.manner.retain && must) }
    }

    /// Whether a message with RETAIN, to somebody who wants that flag as it was published, came
    /// live; if it can be told.
    pub(super) fn may_be_live(
        &mut self,
        to: Party,
        publication: Publication,
        properties: Option<&Properties<'_>>,
        is_repeated: bool,
    ) -> bool {
        // A crash ends sessions before the last of what was said has arrived.
        let fresh_since = self.inboxes.get(&to).map_or(0, |inbox| inbox.fresh_since);
        let fresh_since = if self.crashed_at.is_none() { fresh_since } else { 0 };
        let Some(record) = self.records.get(&publication) else { return false };
        let Some(target) = record.targets.iter().find(|it| it.party == to) else { return false };
        // At QoS 2 it comes live once, however often it was heard.
        let is_first = match record.manner.qos.min(target.qos) {
            2 => target.count <= target.forgotten,
            _ => target.fresh < record.arrivals + target.forgotten,
        };
        let is_first = is_first || target.is_shared || is_repeated;
        // Members of a group are given what waited for others.
        let is_recent = record.latest > fresh_since || target.is_shared;
        let is_live = is_first && is_recent && has_ids(target.ids, properties);
        if is_live {
            self.features.count(Feature::RetainAsPublished);
        }
        is_live
    }

    /// The identifiers of all of the client's subscriptions that match come along, each once
    /// [MQTT5-3.3.4-3], [MQTT5-3.3.4-4], and no others [MQTT5-3.3.4-6].
    pub(super) fn check_identifiers(
        &mut self,
        to: Party,
        publication: Publication,
        properties: Option<&Properties<'_>>,
    ) {
        let Some(properties) = properties else { return };
        match properties.identifiers.len() {
            0 => {}
            1 => self.features.count(Feature::Identifier),
            _ => self.features.count(Feature::Identifiers),
        }
        let target = self.records.get(&publication);
        let target = target.and_then(|it| it.targets.iter().find(|it| it.party == to));
        let Some(ids) = target.map(|it| it.ids) else { return };
        let holds = has_ids(ids, Some(properties));
        let what = format!(
            "{publication} came with the identifiers {:?} of subscriptions",
            properties.identifiers
        );
        self.check(to, holds, &what);
    }

    /// A retained message comes no oftener than it was asked for, with the identifier of the
    /// subscription that asked.
    pub(super) fn check_replay(
        &mut self,
        to: Party,
        topic: &str,
        publication: Publication,
        properties: Option<&Properties<'_>>,
        is_repeated: bool,
    ) {
        if self.book.is_sensor(to) {
            return;
        }
        let session = self.model.sessions.get(&to);
        let subscriptions = session.map(|it| it.subscriptions.as_slice()).unwrap_or_default();
        let fitting = || subscriptions.iter().filter(|it| model::fits(&it.filter, topic));
        let most: u32 = fitting().map(|it| it.replays).sum();
        let bits = properties.map(|it| bits(&it.identifiers));
        let is_leftover = self.crashed_at.is_some_and(|at| self.now < at + LEFTOVER_MS);
        let is_asked = is_leftover
            || publication.is_will()
            || bits.is_none_or(|bits| fitting().any(|it| bits == Some(it.wants.id)));
        let inbox = self.inboxes.entry(to).or_default();
        let count = inbox.replayed.entry(publication).or_default();
        *count += u32::from(!is_repeated);
        // What keeps RETAIN comes so when it comes live, as often as it was heard.
        let record = self.records.get(&publication);
        let live = record.filter(|_| fitting().any(|it| it.wants.as_published));
        let is_live = publication.is_will() || live.is_some_and(|it| it.arrivals > 1);
        let is_much = *count > most && self.crashed_at.is_none() && !is_live;
        self.check(to, is_asked, &format!("{publication} came for a subscription of none"));
        self.check(to, !is_much, &format!("{publication} came, retained, and was not asked for"));
    }

    /// The gateway has answered a publication with a reason.
    pub(crate) fn reasoned(&mut self, publication: Publication, reason: u8) {
        let Some(record) = self.records.get(&publication) else { return };
        if record.arrivals > 1 || self.allows_foreign {
            return;
        }
        let [someone, anyone] = record.reach;
        let is_right = match reason {
            // Who is subscribed over the radio is not known as exactly.
            0x00 => anyone || self.book.has_listeners(),
            0x10 => !someone,
            _ => true,
        };
        if reason == 0x10 {
            self.features.count(Feature::NobodySubscribed);
        }
        let what = format!("{publication} was answered {reason:#04x}");
        self.check(publication.party, is_right, &what);
    }
}

/// Whether the identifiers of a message are those that have to come, and none but those that may.
fn has_ids(ids: [u16; 2], properties: Option<&Properties<'_>>) -> bool {
    let Some(properties) = properties else { return true };
    let [must, may] = ids;
    bits(&properties.identifiers).is_some_and(|bits| must & !bits == 0 && bits & !may == 0)
}

/// A PUBLISH on its way to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left<'a> {
    pub(crate) publication: Publication,
    pub(crate) qos: u8,
    pub(crate) is_dup: bool,
    /// Of MQTT 5.0.
    pub(crate) properties: Option<&'a Properties<'a>>,
    /// It was not written before.
    pub(crate) since: u64,
    /// The gateway keeps its state on a disk.
    pub(crate) is_kept: bool,
}
