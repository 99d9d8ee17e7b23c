//! Sleeping clients.
//!
//! A client falls asleep with DISCONNECT(duration). Asleep means without credit: the broker queues, we
//! send nothing. PINGREQ grants credit until the queue is drained; PINGRESP ends the visit (SN 6.14).
//! What was not acknowledged when a client falls silent in a visit stays where it is, at the head of
//! the queue, for the next one (D6).

use core::time::Duration;

use broker_core::Broker;
use broker_core::api::{Credit, Disconnect, Incoming};
use broker_core::key::Key;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use sn_codec::v12;
use tracing::{debug, info};

use super::address::{Address, Path};
use super::peer::{Peer, State};
use super::settings::Rebind;
use super::{After, SnGateway};

/// One message at a time towards a client that is active.
pub(super) const ACTIVE_CREDIT: Credit = Credit::Window(1);

/// The same towards one that is awake, until nothing is left.
const VISIT_CREDIT: Credit = Credit::UntilDrained(1);

/// One and a half times what the client announced (D7).
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
        self.send_to(key, v12::Disconnect { duration_s: None });
        match disconnect.duration_s {
            None | Some(0) => self.leave(now, key, broker),
            Some(duration_s) => self.fall_asleep(key, duration_s, broker),
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
        self.stop_exchange(key);
        self.set_state(key, State::Asleep { duration_s });
        let peer = self.peer(key);
        debug!(client = %peer.client_id, duration_s, "client sleeps");
        peer.owes_pingresp = false;
        let link = peer.link;
        broker.set_credit(link, Credit::Paused);
        broker.set_keep_alive(link, Some(with_tolerance(duration_s)));
    }

    /// PINGREQ from an address that a client is bound to (12.2, D6).
    pub(super) fn pingreq(
        &mut self,
        now: Now,
        path: Path,
        key: Key<Peer>,
        pingreq: &v12::Pingreq<'_>,
        broker: &mut Broker,
    ) {
        let peer = self.peer(key);
        let means_other =
            !pingreq.client_id.is_empty() && pingreq.client_id != peer.client_id.as_bytes();
        if means_other {
            self.pingreq_from_elsewhere(now, path, pingreq, broker);
            return;
        }
        match peer.state {
            State::Active => {
                // A client that thinks it sleeps names itself; messages that were held back because it
                // did not answer come first (17.7).
                let is_held_back = peer.exchange.as_ref().is_some_and(|ex| ex.is_stalled());
                if is_held_back && !pingreq.client_id.is_empty() {
                    peer.owes_pingresp = true;
                } else {
                    self.send(path, v12::Pingresp);
                }
            }
            State::Asleep { .. } => self.wake(now, key, broker),
            // A message or its acknowledgement was lost: once more, at once. If nothing is in flight
            // the rest of the queue, and PINGRESP, are on their way already.
            State::Awake { .. } => self.retransmit(now, key, broker),
            State::Gone => unreachable!("a client that is gone is bound to no address"),
        }
    }

    /// PINGREQ with the id of a client that is not bound to the address it came from: a sleeping
    /// session follows its client, as far as that is allowed (D5).
    pub(super) fn pingreq_from_elsewhere(
        &mut self,
        now: Now,
        path: Path,
        pingreq: &v12::Pingreq<'_>,
        broker: &mut Broker,
    ) {
        let owner = core::str::from_utf8(pingreq.client_id)
            .ok()
            .and_then(|client_id| self.by_client_id.get(client_id).copied())
            .filter(|key| self.may_follow(*key, path.address));
        let Some(key) = owner else {
            self.answer_unknown(now, path);
            return;
        };
        self.stats.rebinds += 1;
        debug!(
            client = %self.peer(key).client_id,
            from = %path.address.remote,
            "sleeping client came from another address"
        );
        self.bind(key, path);
        self.hear(now, key, path, broker);
        self.peer(key).untouched = false;
        self.wake(now, key, broker);
    }

    fn may_follow(&self, key: Key<Peer>, address: Address) -> bool {
        let peer = self.peers.get(key).expect("known by its client id");
        let sleeps = matches!(peer.state, State::Asleep { .. } | State::Awake { .. });
        let is_near = |path: Path| path.address.is_same_host(&address);
        sleeps
            && match self.settings.wake_rebind {
                Rebind::SameIp => peer.path.is_none_or(is_near),
                Rebind::Any => true,
                Rebind::Never => false,
            }
    }

    /// The client is up for its messages: what was left of the last visit first (SN-096, SN-097).
    fn wake(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let (State::Asleep { duration_s } | State::Awake { duration_s }) = self.peer(key).state
        else {
            return;
        };
        self.stats.visits += 1;
        self.set_state(key, State::Awake { duration_s });
        let peer = self.peer(key);
        peer.collected = 0;
        let link = peer.link;
        let has_rest = peer.exchange.is_some();
        // In a visit the repetitions supervise the client (10.14).
        broker.set_keep_alive(link, None);
        if has_rest {
            self.retransmit(now, key, broker);
        } else {
            broker.set_credit(link, VISIT_CREDIT);
        }
    }

    /// Nothing is left to collect, or enough for this time: PINGRESP, and the client sleeps on.
    pub(super) fn finish_visit(&mut self, _now: Now, key: Key<Peer>) {
        match self.peer(key).state {
            State::Awake { duration_s } => {
                self.send_to(key, v12::Pingresp);
                self.sleep_on(key, duration_s);
            }
            State::Active => {
                let peer = self.peer(key);
                if core::mem::take(&mut peer.owes_pingresp) {
                    self.send_to(key, v12::Pingresp);
                }
                self.grant_later(key);
            }
            State::Asleep { .. } | State::Gone => {}
        }
    }

    /// The client went silent in its visit; nothing is lost, and nothing is said (D6).
    pub(super) fn break_visit(&mut self, key: Key<Peer>) {
        if let State::Awake { duration_s } = self.peer(key).state {
            self.stats.visits_broken += 1;
            self.sleep_on(key, duration_s);
        }
    }

    fn sleep_on(&mut self, key: Key<Peer>, duration_s: u16) {
        self.set_state(key, State::Asleep { duration_s });
        let link = self.peer(key).link;
        self.after.push(After::Supervise(link, Some(with_tolerance(duration_s))));
    }

    /// Lets a client have its next message, as far as its state allows.
    pub(super) fn grant(&mut self, now: Now, key: Key<Peer>, broker: &mut Broker) {
        let per_wake = self.settings.messages_per_wake;
        let peer = self.peer(key);
        let link = peer.link;
        match peer.state {
            State::Active if peer.owes_pingresp => broker.set_credit(link, VISIT_CREDIT),
            State::Active => broker.set_credit(link, ACTIVE_CREDIT),
            State::Awake { .. } if per_wake > 0 && peer.collected >= per_wake => {
                self.finish_visit(now, key);
            }
            State::Awake { .. } => broker.set_credit(link, VISIT_CREDIT),
            State::Asleep { .. } | State::Gone => {}
        }
    }
}
