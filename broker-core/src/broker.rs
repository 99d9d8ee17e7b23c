//! The broker: one machine that owns all sessions, subscriptions and messages.
//!
//! This file holds its struct and the edges of it; what happens inside stands in a file per
//! concern.

mod connect;
mod deliver;
mod expire;
mod gate;
mod line;
mod output;
mod publish;
mod reconfigure;
mod record;
mod restore;
mod route;
mod share;
mod subscribe;
mod sys;
mod will;

use std::collections::VecDeque;

use crate::api::{Credit, Flow, Incoming, LinkId, Output, PacketId};
use crate::hash::{self, HashMap};
use crate::key::{Arena, Key};
use crate::limits::{BEHIND_MAX, BrokerConfig, Durability};
use crate::message::MessageStore;
use crate::retained::Retained;
use crate::session::{Queued, Resend, Session, Stage};
use crate::share::{ShareId, Shares};
use crate::stats::{Stats, Usage};
use crate::subscription_ids::IdSets;
use crate::time::{Instant, Now};
use crate::timer::TimerWheel;
use crate::trie::Trie;

pub use record::SnapshotCursor;
pub use restore::{RestoreError, RestoreReport};

use deliver::Lent;
use expire::Timer;
use gate::Gate;
use line::Line;
use output::Control;
use record::Recorder;
use restore::Restoring;
use route::Target;
use sys::Sys;
use will::Wills;

/// The whole broker. A deterministic function of its inputs, the times that come with them, and the
/// seed.
///
/// See the [crate documentation](crate) for how it is driven.
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    rng: fastrand::Rng,
    /// The time of the latest input; outputs are made as of then.
    now: Now,

    sessions: Arena<Session>,
    by_client_id: HashMap<Box<str>, Key<Session>>,
    by_link: HashMap<LinkId, Key<Session>>,
    trie: Trie,
    shares: Shares,
    retained: Retained,
    /// Octets of retained messages, and how many of them are the server's own.
    retained_bytes: u64,
    retained_reserved: usize,
    messages: MessageStore,
    id_sets: IdSets,
    timers: TimerWheel<Timer>,
    wills: Wills,
    /// Messages in the queues of all sessions.
    queued: u64,
    connected_max: usize,
    /// Memory in use outside the core, as reported.
    external_memory: u64,

    /// Durable changes, and what waits for them to be durable.
    recorder: Recorder,
    gate: Gate,
    /// Set while records come back.
    restoring: Option<Box<Restoring>>,
    /// Answers that may leave.
    control: VecDeque<Control>,
    /// The one that was lent last.
    lent_control: Option<Control>,
    /// The delivery that was lent last; what it held alone is let go at the next call.
    lent: Lent,
    /// Sessions that have something to send and may.
    ready: Line,
    /// Whether a session that is being served got a message into a queue that is nearly full.
    crowded: bool,
    /// The links of some that got a message and are [behind](Session::is_behind).
    behind: Vec<LinkId>,

    /// Messages put, or not put, into queues.
    work: u64,
    /// Numbers publications, so that overlapping subscriptions are noticed.
    route: u64,
    /// Kept for their memory between two calls.
    targets: Vec<Target>,
    matched_shares: Vec<ShareId>,
    dropped: Vec<Queued>,
    overflowed: Vec<Key<Session>>,

    stats: Stats,
    sys: Sys,
}

impl Broker {
    /// A broker without sessions and messages, as of `now`.
    pub fn new(config: BrokerConfig, now: Now) -> Self {
        let seed = config.seed;
        let mut timers = TimerWheel::new(now.mono);
        // The first values are there from the beginning.
        let sys_timer = config.sys_interval.map(|_| timers.insert(now.mono, Timer::Sys));
        Self {
            rng: fastrand::Rng::with_seed(seed),
            now,
            sessions: Arena::new(),
            by_client_id: hash::map(seed ^ 0x11),
            by_link: hash::map(seed ^ 0x12),
            trie: Trie::new(seed ^ 0x13),
            shares: Shares::new(config.shares.clone(), seed ^ 0x14),
            retained: Retained::default(),
            retained_bytes: 0,
            retained_reserved: 0,
            messages: MessageStore::default(),
            id_sets: IdSets::default(),
            timers,
            wills: Wills::default(),
            queued: 0,
            connected_max: 0,
            external_memory: 0,
            recorder: Recorder::new(config.durability == Durability::Gated),
            gate: Gate::new(),
            restoring: None,
            control: VecDeque::new(),
            lent_control: None,
            lent: Lent::default(),
            ready: Line::default(),
            crowded: false,
            behind: Vec::with_capacity(BEHIND_MAX),
            work: 0,
            route: 0,
            targets: Vec::new(),
            matched_shares: Vec::new(),
            dropped: Vec::new(),
            overflowed: Vec::new(),
            stats: Stats::default(),
            sys: Sys::new(now, sys_timer),
            config,
        }
    }

    /// A link says something. Work is bounded by the size of what it says and by the number of
    /// sessions that a publication goes to.
    ///
    /// What a link says before its [`Incoming::Connect`] or after its end is counted and ignored.
    pub fn handle(&mut self, now: Now, link: LinkId, incoming: Incoming<'_>) {
        self.now = now;
        if let Incoming::Connect(connect) = incoming {
            self.connect(link, connect);
            return;
        }
        let Some(key) = self.by_link.get(&link).copied() else {
            self.stats.unknown_link += 1;
            return;
        };
        self.seen(key);
        match incoming {
            Incoming::Publish(publish) => self.publish(key, link, publish),
            Incoming::Ack(ack) => self.acknowledge(key, link, ack),
            Incoming::Subscribe(subscribe) => self.subscribe(key, link, &subscribe),
            Incoming::Unsubscribe(unsubscribe) => self.unsubscribe(key, link, &unsubscribe),
            Incoming::ChangeWill(change) => self.change_will(key, link, change),
            Incoming::Ping => self.control.push_back(Control::pong(link)),
            Incoming::Disconnect(disconnect) => self.disconnect(key, link, disconnect),
            Incoming::Connect(_) => unreachable!("handled above"),
        }
    }

    /// A link has ended without saying so: its will is due.
    pub fn lost(&mut self, now: Now, link: LinkId) {
        self.now = now;
        if let Some(key) = self.by_link.get(&link).copied() {
            self.end_link(key, connect::LinkEnd::Lost);
        }
    }

    /// Says how much a link may be sent from now on.
    pub fn set_credit(&mut self, link: LinkId, credit: Credit) {
        let Some(key) = self.by_link.get(&link).copied() else { return };
        let session = self.sessions.get_mut(key).expect("a link belongs to a session");
        let link = session.link.as_mut().expect("found by its link");
        if (link.credit == Credit::Paused) != (credit == Credit::Paused) {
            link.pace.begin(self.now.mono);
        }
        let cut = |window: u16| window.min(session.window.len_max).max(1);
        link.credit = match credit {
            Credit::Paused => Credit::Paused,
            Credit::Window(window) => Credit::Window(cut(window)),
            Credit::UntilDrained(window) => Credit::UntilDrained(cut(window)),
        };
        self.make_ready(key);
    }

    /// Sets how long a link may be silent from its last sign of life on; `None`: for ever.
    pub fn set_keep_alive(&mut self, link: LinkId, keep_alive: Option<core::time::Duration>) {
        if let Some(key) = self.by_link.get(&link).copied() {
            self.supervise(key, keep_alive);
        }
    }

    /// Counts as a sign of life what only the dialect understood.
    pub fn touch(&mut self, now: Now, link: LinkId) {
        self.now = now;
        if let Some(key) = self.by_link.get(&link).copied() {
            self.seen(key);
        }
    }

    /// Sends the last step of one message in flight again; with `dup` as a repetition, without as
    /// if it had never left. `false` if no such message is in flight.
    pub fn resend(&mut self, link: LinkId, id: PacketId, dup: bool) -> bool {
        let Some(key) = self.by_link.get(&link).copied() else { return false };
        let session = self.sessions.get_mut(key).expect("a link belongs to a session");
        let how = if dup { Resend::Again } else { Resend::First };
        let is_there = session.window.resend(id, how);
        self.make_ready(key);
        is_there
    }

    /// Does what a link wants after it was told something.
    pub fn react(&mut self, link: LinkId, flow: Flow) {
        match flow {
            Flow::More => {}
            Flow::Hold => self.set_credit(link, Credit::Paused),
            Flow::GiveUp(id) => {
                self.stats.dropped_unsendable += 1;
                if let Some(key) = self.by_link.get(&link).copied() {
                    self.finish(key, id);
                }
            }
        }
    }

    /// Gives one message in flight up: the client will never acknowledge it. One of QoS 2 that the
    /// client has received is not lost by that.
    pub fn abandon(&mut self, link: LinkId, id: PacketId) {
        let Some(key) = self.by_link.get(&link).copied() else { return };
        let stage = self.session(key).window.get(id).map(|entry| entry.stage);
        self.finish(key, id);
        match stage {
            Some(Stage::Unacknowledged | Stage::Unreceived) => {
                self.stats.dropped_unacknowledged += 1;
            }
            Some(Stage::Released) | None => {}
        }
    }

    /// A link uses the identifier of a publication of QoS 2 that it has not released for another
    /// one: the next publication under it is not a repetition.
    pub fn forget_received(&mut self, link: LinkId, id: PacketId) {
        let Some(key) = self.by_link.get(&link).copied() else { return };
        if self.session(key).received.remove(id) {
            self.forget_received_record(key, id);
        }
    }

    /// Does what is due at `now`. Does a bounded amount of work; if more is due, the next
    /// [`Broker::next_timeout`] says so.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.publish_wills();
        self.expire();
    }

    /// When [`Broker::handle_timeout`] and [`Broker::poll_output`] want to be called next, at the
    /// latest. A moment that has passed means: at once.
    pub fn next_timeout(&self) -> Option<Instant> {
        if !self.ready.is_empty() || !self.control.is_empty() {
            return Some(self.now.mono);
        }
        let timers = self.timers.next_deadline();
        let wills = self.wills.next_attempt();
        timers.into_iter().chain(wills).min()
    }

    /// The next thing to be done: answers first, which need no credit [MQTT5-3.3.4-10],
    /// [MQTT5-4.9.0-3], then messages for links with credit. What it borrows is let go at the next
    /// call.
    ///
    /// May be stopped at any point; nothing is lost and the order on each link is kept. Each call
    /// does a bounded amount of work, so `None` means "nothing now": [`Broker::next_timeout`] tells
    /// whether there is more at once.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        self.let_go();
        if let Some(control) = self.control.pop_front() {
            return Some(self.lend_control(control));
        }
        self.next_delivery()
    }

    /// Whether an answer waits to be put out: those come before all deliveries, and there are no
    /// more of them than requests that were made.
    pub fn has_answers(&self) -> bool {
        !self.control.is_empty()
    }

    /// Whether, since it was asked last, a message came for a client that takes messages and has a
    /// queue of them that is nearly full. Whoever goes on publishing without letting the broker put
    /// out what it has makes it drop messages that the client would have taken.
    pub const fn take_crowded(&mut self) -> bool {
        core::mem::replace(&mut self.crowded, false)
    }

    /// Links of clients, [`BEHIND_MAX`] at most, for which a message came since
    /// [`Broker::forget_behind`], that have a nearly full queue and are at work: they acknowledge
    /// a thousand messages a second or more, or took something within the last second from a
    /// connection that is full. Whoever goes on publishing before they have caught up makes the
    /// broker drop messages that they would have taken.
    pub fn behind(&self) -> &[LinkId] {
        &self.behind
    }

    /// Begins the list of [`Broker::behind`] anew.
    pub fn forget_behind(&mut self) {
        self.behind.clear();
    }

    /// Whether the client of this link has not caught up: more than half of its queue is full, and
    /// it is at work.
    pub fn is_behind(&self, now: Now, link: LinkId) -> bool {
        let session = self.by_link.get(&link).and_then(|key| self.sessions.get(*key));
        session.is_some_and(|session| session.queue.is_half_full() && session.is_at_work(now.mono))
    }

    /// A measure of the work done so far, in deliveries: publications cause as many as there are
    /// sessions they go to and some more if they are retained, a subscription counts as one.
    /// Whoever reads from links may want to stop after so many.
    pub const fn work(&self) -> u64 {
        self.work
    }

    /// What has happened so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The counters, for those of them that whoever owns the transports keeps.
    pub const fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// Tells how much memory is in use outside the core, in octets; it counts against the limit.
    pub const fn set_external_memory(&mut self, bytes: u64) {
        self.external_memory = bytes;
    }

    /// How much of the bounded things is in use.
    pub fn usage(&self) -> Usage {
        Usage {
            sessions_connected: self.by_link.len(),
            sessions: self.sessions.len(),
            sessions_connected_max: self.connected_max,
            subscriptions: self.trie.len(),
            shared_subscriptions: self.shares.len(),
            retained: self.retained.len(),
            retained_bytes: self.retained_bytes,
            messages: self.messages.len(),
            message_bytes: self.messages.bytes(),
            queued: self.queued,
            answers_waiting: self.gate.len(),
            memory_bytes: self.memory(),
        }
    }

    /// The bounds that are in force.
    pub const fn limits(&self) -> &crate::limits::Limits {
        &self.config.limits
    }

    fn memory(&self) -> u64 {
        /// A place in the arena, the maps by client id and by link, a timer.
        const PER_SESSION: usize = size_of::<Session>() + 160;
        self.messages.memory()
            + (self.sessions.places() * PER_SESSION) as u64
            + self.trie.memory()
            + self.shares.memory()
            + self.retained.memory()
            + self.queued * size_of::<Queued>() as u64
            + self.wills.memory()
            + self.gate.memory()
            + self.external_memory
    }

    /// Whether all memory is in use: what would take more of it is refused.
    pub fn is_out_of_memory(&self) -> bool {
        self.memory() > self.config.limits.memory_bytes
    }

    fn session(&mut self, key: Key<Session>) -> &mut Session {
        self.sessions.get_mut(key).expect("the key was looked up in this call")
    }
}
