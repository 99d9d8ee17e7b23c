//! A broker comes back from its records.
//!
//! The records come table by table, and each refers only to tables in front of its own, so that all
//! is linked as it comes; only order within a session is made at the end. A record that refers to
//! nothing is dropped, deleted and counted: what is left is consistent.

use core::fmt;
use core::time::Duration;

use super::Broker;
use super::expire::Timer;
use super::will::DueWill;
use crate::api::{Payload, SubscriptionOptions};
use crate::journal::RecordKey;
use crate::key::Key;
use crate::message::{MessageRef, NewMessage, Origin};
use crate::record::{
    self, DeliveryRecord, FORMAT, MessageRecord, NO_SESSION, Progress, Reader, ReplayRecord,
    SessionRecord, SubscriptionRecord, Table, WillRecord, WillState, WindowRecord,
};
use crate::retained::Cursor;
use crate::session::{InFlight, Queued, Replay, Resend, Session, Stage, StoredWill};
use crate::share::ShareId;
use crate::time::{Instant, Now, UnixMillis};
use crate::topic::{TopicBuf, TopicFilter, TopicName};
use crate::trie::{NodeId, Subscriber};

/// Why a record was not taken. The broker is as if it had not been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// Its value has a format that is not known here: it was written by a later version.
    UnknownFormat(RecordKey, u8),
    /// Its table is not known here, likewise.
    UnknownTable(RecordKey),
    /// Its value is not what a value of its table is.
    Malformed(RecordKey),
    /// A record of a later table came before it.
    OutOfOrder(RecordKey),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, what) = match self {
            Self::UnknownFormat(key, format) => {
                let (table, number) = (key.table(), key.number());
                return write!(f, "record {table}/{number} has the unknown format {format}");
            }
            Self::UnknownTable(key) => (key, "belongs to an unknown table"),
            Self::Malformed(key) => (key, "is malformed"),
            Self::OutOfOrder(key) => (key, "comes behind a later table"),
        };
        write!(f, "record {}/{} {what}", key.table(), key.number())
    }
}

impl core::error::Error for RestoreError {}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Messages that somebody waits for, or that are retained.
    pub messages: u64,
    /// Sessions, without those that ended with their link.
    pub sessions: u64,
    /// Sessions that ended as their links broke with the process.
    pub sessions_ended: u64,
    /// Subscriptions, shared ones included.
    pub subscriptions: u64,
    /// Messages in queues and in flight.
    pub deliveries: u64,
    /// Identifiers of messages of QoS 2 that clients have not released.
    pub received_ids: u64,
    /// Retained messages.
    pub retained: u64,
    /// Wills, stored, delayed and due.
    pub wills: u64,
    /// Records that referred to nothing, or that nothing referred to. They are gone.
    pub dangling: u64,
}

/// What is needed until all records have come.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    table: u8,
    /// In the order of numbers once the next table has begun.
    messages: Vec<(u64, MessageRef)>,
    sessions: Vec<(u32, Key<Session>)>,
    subscriptions: Vec<(u64, Key<Session>, Held)>,
    /// Sessions that had a link.
    connected: Vec<Key<Session>>,
    windows: Vec<(Key<Session>, WindowRecord)>,
    /// Numbers of retained messages that wait, each with the number that it stands in front of.
    overtaking: Vec<(u64, u64)>,
    /// Wills of sessions that were not kept.
    orphans: Vec<DueWill>,
    report: RestoreReport,
}

/// What a subscription is held by.
#[derive(Clone, Copy, Debug)]
enum Held {
    Node(NodeId),
    Share(ShareId),
}

impl Restoring {
    /// A later table begins: what came before is looked up from here on.
    fn begin(&mut self, table: Table) {
        if self.table != table as u8 {
            self.table = table as u8;
            self.messages.sort_unstable_by_key(|held| held.0);
            self.sessions.sort_unstable_by_key(|held| held.0);
            self.subscriptions.sort_unstable_by_key(|held| held.0);
        }
    }

    fn message(&self, number: u64) -> Option<MessageRef> {
        let position = self.messages.binary_search_by_key(&number, |held| held.0).ok()?;
        Some(self.messages[position].1)
    }

    fn session(&self, number: u32) -> Option<Key<Session>> {
        let position = self.sessions.binary_search_by_key(&number, |held| held.0).ok()?;
        Some(self.sessions[position].1)
    }

    fn subscription(&self, number: u64) -> Option<(Key<Session>, Held)> {
        let position = self.subscriptions.binary_search_by_key(&number, |held| held.0).ok()?;
        let (_, session, held) = self.subscriptions[position];
        Some((session, held))
    }
}

/// What became of a record.
enum Taken {
    Yes,
    /// It refers to what is not there, or stands for what is there already.
    Dangling,
}

impl Broker {
    /// Takes a record that was kept. Records come in the ascending order of tables, within a table
    /// in any order, each once, all of them before anything else is said; then comes
    /// [`Broker::finish_restore`].
    ///
    /// # Errors
    /// For what is no record of this version. The broker is as if it had not been given.
    ///
    /// # Panics
    /// If the broker keeps nothing, as with [`Durability::Memory`](crate::limits::Durability).
    pub fn restore(&mut self, now: Now, key: RecordKey, value: &[u8]) -> Result<(), RestoreError> {
        assert!(self.recorder.is_on, "what comes back is kept");
        self.now = now;
        let table = Table::from_u8(key.table()).ok_or(RestoreError::UnknownTable(key))?;
        let mut restoring = self.restoring.take().unwrap_or_default();
        let taken = if (table as u8) < restoring.table {
            Err(RestoreError::OutOfOrder(key))
        } else {
            restoring.begin(table);
            self.take_record(&mut restoring, table, key, value)
        };
        if matches!(taken, Ok(Taken::Dangling)) {
            restoring.report.dangling += 1;
            self.recorder.delete(table, key.number());
        }
        self.restoring = Some(restoring);
        taken.map(|_| ())
    }

    fn take_record(
        &mut self,
        restoring: &mut Restoring,
        table: Table,
        key: RecordKey,
        value: &[u8],
    ) -> Result<Taken, RestoreError> {
        let malformed = RestoreError::Malformed(key);
        let mut value = Reader::new(value);
        match value.u8() {
            Some(FORMAT) => {}
            Some(format) => return Err(RestoreError::UnknownFormat(key, format)),
            None => return Err(malformed),
        }
        let number = record::own_number(key);
        // Elsewhere 0 is the number of what is not kept.
        let counted = number.filter(|number| *number > 0);
        match table {
            Table::Message => number.and_then(|n| self.restore_message(restoring, n, value)),
            Table::Session => self.restore_session(restoring, key.number(), value),
            Table::Subscription => {
                counted.and_then(|n| self.restore_subscription(restoring, n, value))
            }
            Table::Delivery => counted.and_then(|n| self.restore_delivery(restoring, n, value)),
            Table::Replay => counted.and_then(|n| self.restore_replay(restoring, n, value)),
            Table::Received => self.restore_received(restoring, key.number()),
            Table::Window => self.restore_window(restoring, key.number(), value),
            Table::Retained => number.and_then(|n| self.restore_retained(restoring, n)),
            Table::Will => counted.and_then(|n| self.restore_will(restoring, n, value)),
        }
        .ok_or(malformed)
    }

    fn restore_message(
        &mut self,
        restoring: &mut Restoring,
        number: u64,
        value: Reader<'_>,
    ) -> Option<Taken> {
        let record = MessageRecord::read(value)?;
        let expires = record.expires.map_or(Instant::NEVER, |at| to_mono(self.now, at));
        let within = record.within_s.map(|seconds| Duration::from_secs(seconds.into()));
        let expires = within.map_or(expires, |within| expires.min(self.now.mono + within));
        let new = NewMessage {
            topic: TopicName::new(record.topic).ok()?,
            payload: Payload::Borrowed(record.payload),
            qos: record.qos,
            retain: record.retain,
            origin: Origin::Nobody,
            expires,
            properties: record.properties,
        };
        let message = self.messages.restore(&new, number);
        restoring.messages.push((number, message));
        Some(Taken::Yes)
    }

    fn restore_session(
        &mut self,
        restoring: &mut Restoring,
        number: u64,
        value: Reader<'_>,
    ) -> Option<Taken> {
        let number = record::session_number(number)?;
        let record = SessionRecord::read(value)?;
        self.recorder.next_session = self.recorder.next_session.max(number + 1);
        if self.by_client_id.contains_key(record.client_id) {
            return Some(Taken::Dangling);
        }
        let mut session = Session::new(record.client_id, record.dialect, record.queue);
        session.number = number;
        session.expiry_s = record.expiry_s;
        session.gone_since = record.gone_since.unwrap_or_default();
        session.window.set_id_max(super::connect::id_max(record.dialect));
        let key = self.sessions.insert(session);
        self.by_client_id.insert(record.client_id.into(), key);
        restoring.sessions.push((number, key));
        if record.gone_since.is_none() {
            restoring.connected.push(key);
        }
        Some(Taken::Yes)
    }

    fn restore_subscription(
        &mut self,
        restoring: &mut Restoring,
        number: u64,
        value: Reader<'_>,
    ) -> Option<Taken> {
        let record = SubscriptionRecord::read(value)?;
        let filter = TopicFilter::new(record.filter).ok()?;
        self.count_number(number);
        let Some(key) = restoring.session(record.session) else { return Some(Taken::Dangling) };
        let SubscriptionRecord { options, identifier, .. } = record;
        let held = match record.share {
            Some(name) => {
                let node = self.trie.node(filter);
                let (share, is_new_group, is_new) =
                    self.shares.join(node, name, key, options, identifier);
                if is_new_group {
                    self.trie.add_share(node, share);
                }
                is_new.then_some(Held::Share(share))
            }
            None => {
                let subscriber = Subscriber { session: key, options, identifier };
                let (node, is_new) = self.trie.subscribe(filter, subscriber);
                is_new.then_some(Held::Node(node))
            }
        };
        let Some(held) = held else { return Some(Taken::Dangling) };
        match held {
            Held::Node(node) => self.session(key).subscriptions.push((node, number)),
            Held::Share(share) => self.session(key).shares.push((share, number)),
        }
        restoring.subscriptions.push((number, key, held));
        restoring.report.subscriptions += 1;
        Some(Taken::Yes)
    }

    fn restore_delivery(
        &mut self,
        restoring: &mut Restoring,
        number: u64,
        value: Reader<'_>,
    ) -> Option<Taken> {
        let (record, identifiers) = DeliveryRecord::read(value)?;
        self.count_number(number);
        let stage = match record.progress {
            Progress::Queued => None,
            Progress::Unacknowledged => Some(Stage::Unacknowledged),
            Progress::Unreceived => Some(Stage::Unreceived),
            Progress::Released => Some(Stage::Released),
        };
        let message = match stage {
            Some(Stage::Released) => Some(MessageRef::GONE),
            Some(Stage::Unacknowledged | Stage::Unreceived) | None => {
                restoring.message(record.message)
            }
        };
        let (Some(key), Some(message)) = (restoring.session(record.session), message) else {
            return Some(Taken::Dangling);
        };
        let session = self.sessions.get_mut(key)?;
        if message != MessageRef::GONE {
            self.messages.keep(message);
            self.messages.keep_durably(message);
        }
        let share = match restoring.subscription(record.share) {
            Some((session, Held::Share(share))) if session == key => share,
            Some(_) | None => ShareId::NONE,
        };
        self.shares.given(share, key);
        let ids = self.id_sets.of(&identifiers);
        let DeliveryRecord { qos, retain, id, .. } = record;
        match stage {
            None => {
                let is_replayed = record.ahead_of.is_some();
                restoring.overtaking.extend(record.ahead_of.map(|ahead_of| (number, ahead_of)));
                let entry = Queued { number, message, ids, share, qos, retain, is_replayed };
                session.queue.put_back(entry, &self.messages);
                self.queued += 1;
            }
            Some(stage) => {
                let resend = Resend::Again;
                let entry = InFlight { number, id, stage, resend, retain, message, ids, share };
                session.window.restore(entry);
            }
        }
        restoring.report.deliveries += 1;
        Some(Taken::Yes)
    }

    fn restore_replay(
        &mut self,
        restoring: &mut Restoring,
        number: u64,
        value: Reader<'_>,
    ) -> Option<Taken> {
        let ReplayRecord { qos, identifier, before, next } = ReplayRecord::read(value)?;
        // What comes from now on comes live, also if nothing is left of what came before.
        self.messages.count_sequence(before);
        let Some((key, Held::Node(node))) = restoring.subscription(number) else {
            return Some(Taken::Dangling);
        };
        let subscriber = self.trie.get(node, key)?;
        let replay = Replay {
            filter: self.trie.filter(node).into(),
            cursor: Cursor::at(next),
            options: SubscriptionOptions { qos, ..subscriber.options },
            identifier,
            before,
            number,
        };
        self.session(key).replays.push(replay);
        Some(Taken::Yes)
    }

    fn restore_received(&mut self, restoring: &mut Restoring, number: u64) -> Option<Taken> {
        let (session, id) = record::received_parts(number)?;
        let Some(key) = restoring.session(session) else { return Some(Taken::Dangling) };
        self.session(key).received.insert(id);
        restoring.report.received_ids += 1;
        Some(Taken::Yes)
    }

    fn restore_window(
        &mut self,
        restoring: &mut Restoring,
        number: u64,
        value: Reader<'_>,
    ) -> Option<Taken> {
        let number = record::session_number(number)?;
        let record = WindowRecord::read(value)?;
        // Later deliveries have higher numbers, even if that one is gone.
        self.count_number(record.delivery);
        let Some(key) = restoring.session(number) else { return Some(Taken::Dangling) };
        restoring.windows.push((key, record));
        Some(Taken::Yes)
    }

    fn restore_retained(&mut self, restoring: &mut Restoring, number: u64) -> Option<Taken> {
        let Some(message) = restoring.message(number) else { return Some(Taken::Dangling) };
        let stored = self.messages.get(message);
        let topic = TopicBuf::from(TopicName::new(stored.topic()).expect("read as a good name"));
        let topic = topic.as_name();
        if topic.is_reserved() || self.retained.get(topic).is_some() {
            return Some(Taken::Dangling);
        }
        self.messages.keep(message);
        self.messages.keep_durably(message);
        self.index_retained(topic, message);
        restoring.report.retained += 1;
        Some(Taken::Yes)
    }

    fn restore_will(
        &mut self,
        restoring: &mut Restoring,
        number: u64,
        value: Reader<'_>,
    ) -> Option<Taken> {
        let record = WillRecord::read(value)?;
        self.count_number(number);
        let topic = record.topic.and_then(|topic| TopicName::new(topic).ok()).map(TopicBuf::from);
        if record.state == WillState::Due || record.session == NO_SESSION {
            let Some(topic) = topic else { return Some(Taken::Dangling) };
            let will = DueWill {
                topic,
                payload: record.payload.to_vec(),
                qos: record.qos,
                retain: record.retain,
                properties: record.properties.as_octets().to_vec(),
                origin: Key::from_parts(u32::MAX, u32::MAX),
                due: self.now.mono,
                number,
            };
            match record.state {
                WillState::Due => self.queue_will(will),
                WillState::Stored | WillState::Delayed => restoring.orphans.push(will),
            }
            restoring.report.wills += 1;
            return Some(Taken::Yes);
        }
        let key = restoring.session(record.session);
        let Some(key) = key.filter(|key| self.session(*key).will.is_none()) else {
            return Some(Taken::Dangling);
        };
        let mut will = StoredWill {
            topic,
            payload: record.payload.to_vec(),
            qos: record.qos,
            retain: record.retain,
            delay_s: record.delay_s,
            properties: record.properties.as_octets().to_vec(),
            armed: record.armed,
            timer: None,
            deadline: UnixMillis(0),
            number,
        };
        if let (WillState::Delayed, Some(deadline)) = (record.state, record.deadline) {
            let delay = Duration::from_secs(u64::from(record.delay_s));
            let at = deadline_within(self.now, deadline, delay);
            will.timer = Some(self.timers.insert(at, Timer::WillDelay(key)));
            will.deadline = deadline;
        }
        self.wills.bytes += will.memory() as u64;
        self.session(key).will = Some(Box::new(will));
        restoring.report.wills += 1;
        Some(Taken::Yes)
    }

    /// All records have come. Sessions that had a link when the process ended have lost it now:
    /// their expiry begins, and their wills are due after their delay, unless it was shut down in
    /// order (a server may put them off [MQTT-3.1.2-8]; then nobody was lost).
    ///
    /// Changes the journal; work is in proportion to what came back.
    pub fn finish_restore(&mut self, now: Now, was_clean_shutdown: bool) -> RestoreReport {
        self.now = now;
        let mut restoring = *self.restoring.take().unwrap_or_default();
        for (number, message) in restoring.messages {
            if self.messages.get(message).is_durable() {
                restoring.report.messages += 1;
            } else {
                restoring.report.dangling += 1;
                self.recorder.delete(Table::Message, number);
            }
            self.messages.release(message);
        }
        restoring.sessions.sort_unstable_by_key(|held| held.0);
        self.free_gaps(&restoring.sessions);
        let mut last_ids = restoring.windows;
        last_ids.sort_unstable_by_key(|(key, _)| key.index());
        restoring.connected.sort_unstable_by_key(|key| key.index());
        restoring.overtaking.sort_unstable();
        for (_, key) in &restoring.sessions {
            let last = last_ids.binary_search_by_key(&key.index(), |(key, _)| key.index());
            let last = last.ok().map(|position| &last_ids[position].1);
            restoring.report.dangling += self.order_session(*key, last, &restoring.overtaking);
            if !was_clean_shutdown {
                self.leave_ids_out(*key);
            }
            let was_connected =
                restoring.connected.binary_search_by_key(&key.index(), |key| key.index()).is_ok();
            if self.resume_session(*key, was_connected, was_clean_shutdown) {
                restoring.report.sessions += 1;
            } else {
                restoring.report.sessions_ended += 1;
            }
        }
        for will in restoring.orphans {
            if was_clean_shutdown {
                self.forget_will_record(will.number);
                restoring.report.wills -= 1;
            } else {
                let mut will = will;
                self.record_due_will(&mut will);
                self.queue_will(will);
            }
        }
        restoring.report
    }

    /// Puts what came in any order into its order. Returns how many deliveries had to go.
    fn order_session(
        &mut self,
        key: Key<Session>,
        last: Option<&WindowRecord>,
        overtaking: &[(u64, u64)],
    ) -> u64 {
        let (last_id, delivery) = last.map_or((0, 0), |last| (last.last_id, last.delivery));
        let session = self.session(key);
        session.queue.sort(|entry| {
            let position = overtaking.binary_search_by_key(&entry.number, |held| held.0);
            position.map_or(entry.number, |position| overtaking[position].1)
        });
        session.replays.sort_unstable_by_key(|replay| (replay.before, replay.number));
        let doubled = session.window.finish_restore(last_id, delivery);
        let count = doubled.len() as u64;
        for entry in doubled {
            self.release_in_flight(key, entry);
        }
        count
    }

    /// A message of QoS 1 leaves before it is durable under which identifier it does. Over TCP
    /// nobody can answer it behind a crash. A datagram can, and must not be taken for an answer to
    /// another message: those that leave from now on have identifiers from far off, and from
    /// elsewhere after the next crash.
    fn leave_ids_out(&mut self, key: Key<Session>) {
        let dialect = self.session(key).dialect;
        if dialect.is_sn() {
            let quarter = super::connect::id_max(dialect) / 4;
            let count = self.rng.u16(quarter..=3 * quarter);
            self.session(key).window.skip(count);
        }
    }

    /// A session goes on, without a link unless it was given one; `false` if it does not.
    fn resume_session(&mut self, key: Key<Session>, was_connected: bool, was_clean: bool) -> bool {
        if self.session(key).link.is_some() {
            if !was_connected {
                self.record_session(key);
            }
            return true;
        }
        if was_connected {
            let gone_since = self.now.unix;
            self.session(key).gone_since = gone_since;
            if !was_clean {
                self.release_will(key);
            } else if self.session(key).dialect.is_sn() {
                self.disarm_will(key);
            } else {
                self.forget_will(key);
            }
        }
        let session = self.session(key);
        let (expiry_s, gone_since) = (session.expiry_s, session.gone_since);
        if expiry_s == 0 {
            self.end_session(key);
            return false;
        }
        let expiry = Duration::from_secs(u64::from(expiry_s));
        let end = UnixMillis(gone_since.0.saturating_add(u64::from(expiry_s) * 1_000));
        let deadline = deadline_within(self.now, end, expiry);
        let timer = self.timers.insert(deadline, Timer::SessionExpiry(key));
        self.session(key).expiry_timer = Some(timer);
        if was_connected {
            self.record_session(key);
        }
        true
    }

    /// Numbers of sessions that are not in use are given again, as many as there are sessions.
    fn free_gaps(&mut self, sessions: &[(u32, Key<Session>)]) {
        let mut next = 0;
        for (number, _) in sessions {
            let room = sessions.len().saturating_sub(self.recorder.free_sessions.len());
            self.recorder.free_sessions.extend((next..*number).take(room));
            next = number + 1;
        }
    }

    fn count_number(&mut self, number: u64) {
        self.recorder.next_number = self.recorder.next_number.max(number + 1);
    }
}

/// A deadline on the monotonic clock that was `whole` away when it was set: a wall clock that was
/// turned back makes nobody wait longer.
fn deadline_within(now: Now, moment: UnixMillis, whole: Duration) -> Instant {
    to_mono(now, moment).min(now.mono + whole)
}

/// A moment on the monotonic clock, as far as can be told now.
fn to_mono(now: Now, moment: UnixMillis) -> Instant {
    match moment.0.checked_sub(now.unix.0) {
        Some(millis) => now.mono + Duration::from_millis(millis),
        None => {
            let micros = (now.unix.0 - moment.0).saturating_mul(1_000);
            Instant(now.mono.as_micros().saturating_sub(micros))
        }
    }
}

#[cfg(test)]
mod tests;
