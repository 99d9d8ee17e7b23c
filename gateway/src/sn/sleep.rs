//! Sleeping clients.
//!
//! A client falls asleep with DISCONNECT(duration). Asleep means without credit: the broker queues
//! (SN-095), we send nothing. PINGREQ grants credit until the queue is drained; PINGRESP ends the
//! visit (SN 6.14). What was not acknowledged when a client falls silent in a visit stays where it
//! is, at the head of the queue, for the next one (D6).

use core::time::Duration;

use broker_core::Broker;
use broker_core::api::{Credit, Disconnect, Incoming};
use broker_core::key::Key;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use sn_codec::v12;
use tracing::{debug, info};

use super::address::Path;
use super::arq::{ACTIVE_CREDIT, Exchange};
use super::peer::{Peer, State};
use super::settings::Retry;
use super::{After, SnGateway};

/// One and a half times what the client announced (SN-104, D7).
pub(super) fn with_tolerance(seconds: u16) -> Duration {
    Duration::from_millis(u64::from(seconds) * 1_500)
}

impl SnGateway {
    /// DISCONNECT, with and without a duration: acknowledged in every state (SN-025).
    pub(super) fn disconnect(
        &mut self,
        now: Now,
        key: Key<Peer>,
        disconnect: &v12::Disconnect,
        broker: &mut Broker,
    ) {
        let answer = v12::Disconnect { duration_s: None };
        match disconnect.duration_s {
            None | Some(0) => {
                self.send_to(key, answer);
                self.leave(now, key, broker);
            }
            Some(duration_s) => {
                self.fall_asleep(key, duration_s, broker);
                // It turns its radio off, sure to be known when it comes back.
                let batch = self.peer(key).kept.batch;
                self.promise(key, batch, answer);
            }
        }
    }

    /// The client goes; its will is kept and not published (SN-088).
    fn leave(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let peer = self.peer(key);
        info!(client = %peer.client_id, "client disconnected");
        let link = peer.link;
        self.depart(key);
        let disconnect =
            Disconnect { reason: ReasonCode::Success, keep_will: true, session_expiry_s: None };
        broker.handle(now, link, Incoming::Disconnect(disconnect));
    }

    /// The client sleeps, or sleeps on for another time (SN-093, SN-100).
    fn fall_asleep(&mut self, key: Key<Peer>, duration_s: u16, broker: &mut Broker) {
        self.stall_exchange(key);
        self.set_state(key, State::Asleep { duration_s });
        let peer = self.peer(key);
        debug!(client = %peer.client_id, duration_s, "client sleeps");
        peer.owes_pingresp = false;
        broker.set_credit(peer.link, Credit::Paused);
        broker.set_keep_alive(peer.link, Some(with_tolerance(duration_s)));
        self.record(key);
    }

    /// PINGREQ from an address that a client is bound to (12.2, D6, SN-084).
    pub(super) fn pingreq(
        &mut self,
        now: Now,
        path: Path,
        key: Key<Peer>,
        pingreq: &v12::Pingreq<'_>,
        broker: &mut Broker,
    ) {
        let is_named = !pingreq.client_id.is_empty();
        let peer = self.peer(key);
        if is_named && pingreq.client_id != peer.client_id.as_bytes() {
            self.pingreq_from_elsewhere(now, path, pingreq, broker);
            return;
        }
        let is_overdue = peer.exchange.as_ref().is_some_and(Exchange::is_overdue);
        match peer.state {
            // It was told that PINGRESP follows its messages, and lost one of them.
            State::Active if peer.owes_pingresp => self.retransmit(now, key, broker),
            // A client that thinks it sleeps names itself. What it did not answer went to a radio
            // that was off, and comes before PINGRESP turns it off again (17.7).
            State::Active if is_overdue && is_named => {
                peer.owes_pingresp = true;
                self.retransmit(now, key, broker);
            }
            State::Active => self.send(path, v12::Pingresp),
            State::Asleep { .. } => self.wake(now, key, broker),
            // A message or its acknowledgement was lost: once more, at once. If nothing is in
            // flight the rest of the queue, and PINGRESP, are on their way already.
            State::Awake { .. } => self.retransmit(now, key, broker),
            State::Gone => unreachable!("a client that is gone is bound to no address"),
        }
    }

    /// The client is up for its messages: what was left of the last visit first (SN-096, SN-097).
    pub(super) fn wake(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let (State::Asleep { duration_s } | State::Awake { duration_s }) = self.peer(key).state
        else {
            return;
        };
        self.stats.visits += 1;
        self.set_state(key, State::Awake { duration_s });
        // In a visit the repetitions supervise the client (10.14). Where nothing is repeated, as
        // while somebody connects from its address, its silence does, when they would be used up.
        let Retry { after, times } = self.settings.awake_retry;
        let silence = with_tolerance(duration_s) + after * (u32::from(times) + 2);
        let peer = self.peer(key);
        peer.collected = 0;
        let has_rest = peer.exchange.is_some();
        broker.set_keep_alive(peer.link, Some(silence));
        if has_rest {
            self.retransmit(now, key, broker);
        } else {
            self.grant(key, broker);
        }
    }

    /// Whether a client has had its share of messages for one visit.
    pub(super) const fn has_collected_enough(&self, peer: &Peer) -> bool {
        let per_wake = self.settings.messages_per_wake;
        let is_awake = matches!(peer.state, State::Awake { .. });
        is_awake && per_wake > 0 && peer.collected >= per_wake
    }

    /// Nothing is left to collect, or enough for this time: PINGRESP, and the client sleeps on.
    pub(super) fn finish_visit(&mut self, key: Key<Peer>) {
        match self.peer(key).state {
            State::Awake { duration_s } => {
                self.send_to(key, v12::Pingresp);
                self.sleep_on(key, duration_s);
            }
            State::Active => {
                let peer = self.peer(key);
                let link = peer.link;
                if core::mem::take(&mut peer.owes_pingresp) {
                    self.send_to(key, v12::Pingresp);
                }
                self.after.push(After::Credit(link, ACTIVE_CREDIT));
            }
            State::Asleep { .. } | State::Gone => {}
        }
    }

    /// The client went silent in its visit; nothing is lost, and nothing is said (D6).
    pub(super) fn break_visit(&mut self, key: Key<Peer>) {
        if let State::Awake { duration_s } = self.peer(key).state {
            self.stats.visits_broken += 1;
            self.stall_exchange(key);
            self.sleep_on(key, duration_s);
        }
    }

    /// Its sleep is supervised again, from its last word on.
    fn sleep_on(&mut self, key: Key<Peer>, duration_s: u16) {
        self.set_state(key, State::Asleep { duration_s });
        let link = self.peer(key).link;
        self.after.push(After::Credit(link, Credit::Paused));
        self.after.push(After::Supervise(link, with_tolerance(duration_s)));
    }
}
