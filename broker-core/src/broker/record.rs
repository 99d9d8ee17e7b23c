//! What of the broker is kept in records, and when they change.
//!
//! Kept are sessions that outlive their links with all that belongs to them, retained messages, and
//! all wills. Whoever changes one of these calls the method here that is named after it in the same
//! breath. What is not kept has the number 0 (a session [`NO_SESSION`]), so that changing it costs
//! a comparison.

use super::Broker;
use super::will::DueWill;
use crate::api::{Lsn, PacketId};
use crate::journal::Journal;
use crate::key::Key;
use crate::message::{Message, MessageRef};
use crate::property::Properties;
use crate::record::{
    self, DeliveryRecord, FORMAT, MessageRecord, NO_SESSION, Progress, ReplayRecord, SessionRecord,
    SubscriptionRecord, Table, WillRecord, WillState, WindowRecord,
};
use crate::session::{InFlight, Queued, Replay, Session, Stage, StoredWill};
use crate::share::{Member, ShareId, Shares};
use crate::time::{Instant, Now, UnixMillis};
use crate::trie::{NodeId, Subscriber, Trie};

/// The journal, and the numbers that are still free.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) is_on: bool,
    journal: Journal,
    lsn: Lsn,
    /// Of records that have a number of their own.
    pub(super) next_number: u64,
    pub(super) next_session: u32,
    pub(super) free_sessions: Vec<u32>,
}

impl Recorder {
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            journal: Journal::default(),
            lsn: Lsn(0),
            next_number: 1,
            next_session: 0,
            free_sessions: Vec::new(),
        }
    }

    /// The number of the latest durable change.
    pub(super) const fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Somebody else's change takes a number.
    pub(super) const fn note_change(&mut self) {
        if self.is_on {
            self.lsn.0 += 1;
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    fn number_session(&mut self) -> u32 {
        self.free_sessions.pop().unwrap_or_else(|| {
            self.next_session += 1;
            self.next_session - 1
        })
    }

    /// The journal, as one change is written into it.
    fn change(&mut self) -> &mut Journal {
        self.lsn.0 += 1;
        &mut self.journal
    }

    pub(super) fn delete(&mut self, table: Table, number: u64) {
        self.change().delete(table.key(number));
    }
}

/// Where [`Broker::snapshot`] has come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotCursor {
    messages: usize,
    sessions: u32,
    wills_are_done: bool,
}

impl Broker {
    /// Moves the changes that were made since the last call behind those in `into`; what is kept of
    /// the broker is as of now once they are durable. Returns their number, for
    /// [`Broker::committed`]; if it has not changed there are none.
    ///
    /// Changes that are taken together have to become durable together.
    pub fn take_journal(&mut self, into: &mut Vec<u8>) -> Lsn {
        self.recorder.journal.drain_into(into);
        self.recorder.lsn
    }

    /// The number under which the session of a client is kept; `None` if there is none, or it ends
    /// with the process.
    pub fn session_number(&self, client_id: &str) -> Option<u32> {
        let session = self.sessions.get(*self.by_client_id.get(client_id)?)?;
        Some(session.number).filter(|number| *number != NO_SESSION)
    }

    /// Appends all that is kept to `into`, in slices: about `places` messages and sessions in one
    /// call. `false` once nothing is left.
    ///
    /// Between two calls the broker may go on. Whoever stores, from an empty store on, what each
    /// call gives behind the journal of the changes made before it, and goes on with the journals
    /// of later changes, has what is kept.
    pub fn snapshot(
        &mut self,
        now: Now,
        cursor: &mut SnapshotCursor,
        places: usize,
        into: &mut Vec<u8>,
    ) -> bool {
        self.now = now;
        let mut journal = Journal::default();
        if !core::mem::replace(&mut cursor.wills_are_done, true) {
            for will in &self.wills.due {
                put_due_will(&mut journal, will);
            }
        }
        let mut is_more = false;
        for _ in 0..places {
            let Some(message) = self.messages.at(cursor.messages) else { break };
            cursor.messages += 1;
            is_more = true;
            if let Some(message) = message.filter(|m| self.messages.get(*m).is_durable()) {
                self.write_message(message, &mut journal);
            }
        }
        for _ in 0..places {
            if cursor.sessions as usize >= self.sessions.places() {
                break;
            }
            let key = self.sessions.key_at(cursor.sessions);
            cursor.sessions += 1;
            is_more = true;
            if let Some(key) = key {
                self.write_session(key, &mut journal);
            }
        }
        journal.drain_into(into);
        is_more
    }

    fn write_message(&mut self, reference: MessageRef, journal: &mut Journal) {
        let message = self.messages.get(reference);
        put_message(journal, self.now, message);
        if let Ok(topic) = crate::topic::TopicName::new(message.topic())
            && self.retained.get(topic) == Some(reference)
        {
            put(journal, Table::Retained, message.sequence(), |_| {});
        }
    }

    /// A session changed in itself. One that outlives its link is kept from here on.
    pub(super) fn record_session(&mut self, key: Key<Session>) {
        let Self { sessions, recorder, .. } = self;
        let session = sessions.get_mut(key).expect("the key was looked up in this call");
        if session.number != NO_SESSION {
            put_session(recorder.change(), session);
        } else if session.expiry_s > 0 && recorder.is_on {
            self.keep_session(key);
        }
    }

    /// Begins to keep a session, with all that belongs to it by now.
    fn keep_session(&mut self, key: Key<Session>) {
        let Self { sessions, recorder, messages, trie, .. } = self;
        let session = sessions.get_mut(key).expect("the key was looked up in this call");
        session.number = recorder.number_session();
        let mut journal = core::mem::take(recorder.change());
        session.window.number(|| recorder.number());
        let waiting = session.queue.iter_mut().filter(|entry| is_kept(entry));
        waiting.for_each(|entry| entry.number = recorder.number());
        session.subscriptions.iter_mut().for_each(|held| held.1 = recorder.number());
        session.shares.iter_mut().for_each(|held| held.1 = recorder.number());
        if let Some(will) = session.will.as_mut().filter(|will| will.number == 0) {
            will.number = recorder.number();
        }
        for replay in session.replays.iter_mut().filter(|replay| is_replay_kept(replay)) {
            let filter = crate::topic::TopicFilter::new(&replay.filter).ok();
            let node = filter.and_then(|filter| trie.find(filter));
            let held = session.subscriptions.iter().find(|held| Some(held.0) == node);
            replay.number = held.map_or(0, |held| held.1);
        }
        let flying = session.window.iter().filter(|entry| entry.stage != Stage::Released);
        let waiting = session.queue.iter().filter(|entry| entry.number != 0);
        let held = flying.map(|entry| entry.message).chain(waiting.map(|entry| entry.message));
        for message in held {
            if messages.keep_durably(message) {
                put_message(&mut journal, self.now, messages.get(message));
            }
        }
        self.write_session(key, &mut journal);
        self.recorder.journal = journal;
    }

    /// Everything that belongs to a session, if it is kept, but the messages.
    fn write_session(&mut self, key: Key<Session>, journal: &mut Journal) {
        let Self { sessions, messages, trie, shares, id_sets, .. } = self;
        let Some(session) = sessions.get(key) else { return };
        if let Some(will) = session.will.as_ref().filter(|will| will.number != 0) {
            put_stored_will(journal, will, session.number);
        }
        if session.number == NO_SESSION {
            return;
        }
        put_session(journal, session);
        for (node, number) in &session.subscriptions {
            let subscriber = trie.get(*node, key).expect("held on both sides");
            put_subscription(journal, session.number, *number, None, *node, trie, &subscriber);
        }
        for (share, number) in &session.shares {
            put_share(journal, session, *number, *share, key, shares, trie);
        }
        for replay in session.replays.iter().filter(|replay| replay.number != 0) {
            put_replay(journal, replay);
        }
        let mut follower = None;
        for entry in session.queue.iter().rev().filter(|entry| entry.number != 0) {
            let ahead_of = entry.is_replayed.then(|| follower.unwrap_or(entry.number));
            if !entry.is_replayed {
                follower = Some(entry.number);
            }
            let message = messages.get(entry.message);
            put_queued(journal, session, entry, ahead_of, message, id_sets.get(entry.ids));
        }
        for entry in session.window.iter() {
            let message = unreleased(entry).map_or(0, |message| messages.get(message).sequence());
            put_in_flight(journal, session, entry, message, id_sets.get(entry.ids));
        }
        for id in session.received.iter() {
            put(journal, Table::Received, record::received_number(session.number, id), |_| {});
        }
        put_window(journal, session);
    }

    /// A session is gone, with all that belonged to it but its deliveries.
    pub(super) fn forget_session(&mut self, session: &Session) {
        if session.number == NO_SESSION {
            return;
        }
        let number = u64::from(session.number);
        let recorder = &mut self.recorder;
        recorder.delete(Table::Session, number);
        recorder.delete(Table::Window, number);
        for id in session.received.iter() {
            recorder.delete(Table::Received, record::received_number(session.number, id));
        }
        for (_, number) in &session.subscriptions {
            recorder.delete(Table::Subscription, *number);
        }
        for (_, number) in &session.shares {
            recorder.delete(Table::Subscription, *number);
        }
        for replay in session.replays.iter().filter(|replay| replay.number != 0) {
            recorder.delete(Table::Replay, replay.number);
        }
        recorder.free_sessions.push(session.number);
    }

    /// The number for a new subscription of a session.
    pub(super) fn number_subscription(&mut self, key: Key<Session>) -> u64 {
        let is_kept = self.session(key).number != NO_SESSION;
        if is_kept { self.recorder.number() } else { 0 }
    }

    /// A subscription of a session was made or changed.
    pub(super) fn record_subscription(&mut self, node: NodeId, subscriber: &Subscriber) {
        let Self { sessions, recorder, trie, .. } = self;
        let session = sessions.get(subscriber.session).expect("it subscribed in this call");
        let held = session.subscriptions.iter().find(|held| held.0 == node);
        if let Some((_, number)) = held.filter(|held| held.1 != 0) {
            let journal = recorder.change();
            put_subscription(journal, session.number, *number, None, node, trie, subscriber);
        }
    }

    /// A session joined a group, or is in it in another way.
    pub(super) fn record_share(&mut self, key: Key<Session>, share: ShareId) {
        let Self { sessions, recorder, trie, shares, .. } = self;
        let session = sessions.get(key).expect("it subscribed in this call");
        let held = session.shares.iter().find(|held| held.0 == share);
        if let Some((_, number)) = held.filter(|held| held.1 != 0) {
            put_share(recorder.change(), session, *number, share, key, shares, trie);
        }
    }

    /// A subscription is gone, with what was still to be looked up for it.
    pub(super) fn forget_subscription(&mut self, number: u64) {
        if number != 0 {
            self.recorder.delete(Table::Subscription, number);
        }
    }

    /// A look-up of retained messages has begun or come further.
    pub(super) fn record_replay(&mut self, key: Key<Session>, position: usize) {
        let Self { sessions, recorder, .. } = self;
        let session = sessions.get(key).expect("the key was looked up in this call");
        if let Some(replay) = session.replays.get(position).filter(|replay| replay.number != 0) {
            put_replay(recorder.change(), replay);
        }
    }

    /// A look-up is over.
    pub(super) fn forget_replay(&mut self, number: u64) {
        if number != 0 {
            self.recorder.delete(Table::Replay, number);
        }
    }

    /// A message was put into the queue of a session, or is another one's. A retained one that was
    /// looked up stands in front of what has the number `ahead_of`, or a later one.
    pub(super) fn record_queued(
        &mut self,
        key: Key<Session>,
        entry: &Queued,
        ahead_of: Option<u64>,
        is_new: bool,
    ) {
        if entry.number == 0 {
            return;
        }
        let Self { sessions, recorder, messages, id_sets, now, .. } = self;
        let session = sessions.get(key).expect("the key was looked up in this call");
        if is_new && messages.keep_durably(entry.message) {
            put_message(recorder.change(), *now, messages.get(entry.message));
        }
        let message = messages.get(entry.message);
        put_queued(recorder.change(), session, entry, ahead_of, message, id_sets.get(entry.ids));
    }

    /// A message leaves the queue to be in flight. What is in flight is numbered in the order of
    /// sending; one that retained messages have overtaken takes a new number for that.
    pub(super) fn renumber(&mut self, key: Key<Session>, entry: &mut Queued) {
        if entry.number != 0 && entry.number < self.session(key).window.last_number() {
            self.recorder.delete(Table::Delivery, entry.number);
            entry.number = self.recorder.number();
        }
    }

    /// The handshake of a message has come a step further.
    pub(super) fn record_in_flight(&mut self, key: Key<Session>, id: PacketId) {
        let Self { sessions, recorder, messages, id_sets, .. } = self;
        let session = sessions.get(key).expect("the key was looked up in this call");
        let Some(entry) = session.window.get(id).filter(|entry| entry.number != 0) else { return };
        let message = unreleased(entry).map_or(0, |message| messages.get(message).sequence());
        put_in_flight(recorder.change(), session, entry, message, id_sets.get(entry.ids));
    }

    /// A delivery is over; `message` is what it still held.
    pub(super) fn forget_delivery(&mut self, number: u64, message: Option<MessageRef>) {
        if number == 0 {
            return;
        }
        self.recorder.delete(Table::Delivery, number);
        if let Some(message) = message {
            self.let_message_go(message);
        }
    }

    /// What held a message durably does so no more. Comes before the release.
    pub(super) fn let_message_go(&mut self, message: MessageRef) {
        if self.messages.release_durably(message) {
            self.recorder.delete(Table::Message, self.messages.get(message).sequence());
        }
    }

    /// What carried the identifier that was given out last is done: it would be forgotten.
    pub(super) fn record_last_id(&mut self, key: Key<Session>, entry: &InFlight) {
        if entry.number == 0 {
            return;
        }
        let Some(session) = self.sessions.get(key) else { return };
        if session.window.last_id() == entry.id.0 {
            put_window(self.recorder.change(), session);
        }
    }

    /// The client sent a message of QoS 2.
    pub(super) fn record_received(&mut self, key: Key<Session>, id: PacketId) {
        let number = self.session(key).number;
        if number != NO_SESSION {
            let number = record::received_number(number, id);
            put(self.recorder.change(), Table::Received, number, |_| {});
        }
    }

    /// It released it.
    pub(super) fn forget_received_record(&mut self, key: Key<Session>, id: PacketId) {
        let number = self.session(key).number;
        if number != NO_SESSION {
            self.recorder.delete(Table::Received, record::received_number(number, id));
        }
    }

    /// A message is the retained one of its topic. What the server says of itself is not kept.
    pub(super) fn record_retained(&mut self, reference: MessageRef) {
        let Self { recorder, messages, now, .. } = self;
        if !recorder.is_on || messages.get(reference).topic().starts_with('$') {
            return;
        }
        if messages.keep_durably(reference) {
            put_message(recorder.change(), *now, messages.get(reference));
        }
        let sequence = messages.get(reference).sequence();
        put(recorder.change(), Table::Retained, sequence, |_| {});
    }

    /// It is not any more.
    pub(super) fn forget_retained(&mut self, reference: MessageRef) {
        let message = self.messages.get(reference);
        if self.recorder.is_on && !message.topic().starts_with('$') {
            self.recorder.delete(Table::Retained, message.sequence());
            self.let_message_go(reference);
        }
    }

    /// The will of a session was made, or changed.
    pub(super) fn record_will(&mut self, key: Key<Session>) {
        let Self { sessions, recorder, .. } = self;
        let session = sessions.get_mut(key).expect("the key was looked up in this call");
        let Some(will) = &mut session.will else { return };
        // One without a topic says nothing when its link breaks.
        let is_kept = session.number != NO_SESSION || will.topic.is_some();
        if !recorder.is_on || !is_kept {
            return;
        }
        if will.number == 0 {
            will.number = recorder.number();
        }
        put_stored_will(recorder.change(), will, session.number);
    }

    /// A will is to be published. It takes over the record of the stored one, if that goes.
    pub(super) fn record_due_will(&mut self, will: &mut DueWill) {
        if !self.recorder.is_on {
            return;
        }
        if will.number == 0 {
            will.number = self.recorder.number();
        }
        put_due_will(self.recorder.change(), will);
    }

    /// A will is gone, or published.
    pub(super) fn forget_will_record(&mut self, number: u64) {
        if number != 0 {
            self.recorder.delete(Table::Will, number);
        }
    }
}

/// Whether a message in the queue of a session that is kept is kept, too.
pub(super) fn is_kept(entry: &Queued) -> bool {
    entry.qos > crate::api::QoS::AtMostOnce
}

/// Whether a look-up is: what it finds would be.
pub(super) fn is_replay_kept(replay: &Replay) -> bool {
    replay.options.qos > crate::api::QoS::AtMostOnce
}

/// The message that an entry still holds.
fn unreleased(entry: &InFlight) -> Option<MessageRef> {
    match entry.stage {
        Stage::Unacknowledged | Stage::Unreceived => Some(entry.message),
        Stage::Released => None,
    }
}

/// A moment on the wall clock, as far as can be told now.
pub(super) fn to_unix(now: Now, moment: Instant) -> Option<UnixMillis> {
    if moment == Instant::NEVER {
        return None;
    }
    let millis =
        |from: Instant, to: Instant| to.as_micros().saturating_sub(from.as_micros()) / 1_000;
    let later = now.unix.0.saturating_add(millis(now.mono, moment));
    Some(UnixMillis(later.saturating_sub(millis(moment, now.mono))))
}

fn put(journal: &mut Journal, table: Table, number: u64, write: impl FnOnce(&mut Vec<u8>)) {
    journal.put(table.key(number), |value| {
        value.push(FORMAT);
        write(value);
    });
}

fn put_message(journal: &mut Journal, now: Now, message: &Message) {
    let record = MessageRecord {
        qos: message.qos(),
        retain: message.retain(),
        expires: to_unix(now, message.expires()),
        within_s: message.expiry_s(now.mono),
        topic: message.topic(),
        properties: message.properties(),
        payload: message.payload(),
    };
    put(journal, Table::Message, message.sequence(), |value| record.write(value));
}

fn put_session(journal: &mut Journal, session: &Session) {
    let record = SessionRecord {
        dialect: session.dialect,
        expiry_s: session.expiry_s,
        gone_since: session.link.is_none().then_some(session.gone_since),
        queue: session.queue.limits(),
        client_id: &session.client_id,
    };
    put(journal, Table::Session, session.number.into(), |value| record.write(value));
}

fn put_subscription(
    journal: &mut Journal,
    session: u32,
    number: u64,
    share: Option<&str>,
    node: NodeId,
    trie: &Trie,
    subscriber: &Subscriber,
) {
    let Subscriber { options, identifier, .. } = *subscriber;
    let filter = &trie.filter(node);
    let record = SubscriptionRecord { session, options, identifier, share, filter };
    put(journal, Table::Subscription, number, |value| record.write(value));
}

fn put_share(
    journal: &mut Journal,
    session: &Session,
    number: u64,
    share: ShareId,
    key: Key<Session>,
    shares: &Shares,
    trie: &Trie,
) {
    let (name, node, member) = shares.get(share, key).expect("held on both sides");
    let Member { options, identifier, .. } = member;
    let subscriber = Subscriber { session: key, options, identifier };
    put_subscription(journal, session.number, number, Some(name), node, trie, &subscriber);
}

fn put_replay(journal: &mut Journal, replay: &Replay) {
    let record = ReplayRecord {
        qos: replay.options.qos,
        identifier: replay.identifier,
        before: replay.before,
        next: replay.cursor.next(),
    };
    put(journal, Table::Replay, replay.number, |value| record.write(value));
}

fn put_queued(
    journal: &mut Journal,
    session: &Session,
    entry: &Queued,
    ahead_of: Option<u64>,
    message: &Message,
    identifiers: &[u32],
) {
    let record = DeliveryRecord {
        session: session.number,
        qos: entry.qos,
        retain: entry.retain,
        progress: Progress::Queued,
        id: PacketId(0),
        message: message.sequence(),
        share: share_number(session, entry.share),
        ahead_of,
    };
    put(journal, Table::Delivery, entry.number, |value| record.write(value, identifiers));
}

fn put_in_flight(
    journal: &mut Journal,
    session: &Session,
    entry: &InFlight,
    message: u64,
    identifiers: &[u32],
) {
    let record = DeliveryRecord {
        session: session.number,
        qos: entry.qos(),
        retain: entry.retain,
        progress: match entry.stage {
            Stage::Unacknowledged => Progress::Unacknowledged,
            Stage::Unreceived => Progress::Unreceived,
            Stage::Released => Progress::Released,
        },
        id: entry.id,
        message,
        share: share_number(session, entry.share),
        ahead_of: None,
    };
    put(journal, Table::Delivery, entry.number, |value| record.write(value, identifiers));
}

/// The number of the subscription by which a session takes part in a group; 0: it does not.
fn share_number(session: &Session, share: ShareId) -> u64 {
    if share == ShareId::NONE {
        return 0;
    }
    session.shares.iter().find(|held| held.0 == share).map_or(0, |held| held.1)
}

fn put_window(journal: &mut Journal, session: &Session) {
    let (last_id, delivery) = (session.window.last_id(), session.window.last_number());
    let record = WindowRecord { last_id, delivery };
    put(journal, Table::Window, session.number.into(), |value| record.write(value));
}

fn put_stored_will(journal: &mut Journal, will: &StoredWill, session: u32) {
    let is_delayed = will.timer.is_some();
    let record = WillRecord {
        session,
        state: if is_delayed { WillState::Delayed } else { WillState::Stored },
        armed: will.armed,
        qos: will.qos,
        retain: will.retain,
        delay_s: will.delay_s,
        deadline: is_delayed.then_some(will.deadline),
        topic: will.topic.as_ref().map(|topic| topic.as_name().as_str()),
        properties: Properties::checked(&will.properties),
        payload: &will.payload,
    };
    put(journal, Table::Will, will.number, |value| record.write(value));
}

/// Its session may end before it is published: it is nobody's after a restart.
fn put_due_will(journal: &mut Journal, will: &DueWill) {
    let record = WillRecord {
        session: NO_SESSION,
        state: WillState::Due,
        armed: false,
        qos: will.qos,
        retain: will.retain,
        delay_s: 0,
        deadline: None,
        topic: Some(will.topic.as_name().as_str()),
        properties: Properties::checked(&will.properties),
        payload: &will.payload,
    };
    put(journal, Table::Will, will.number, |value| record.write(value));
}
