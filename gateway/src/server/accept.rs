//! Connections, from the listener to the event loop.
//!
//! All of them begin here: this server connects to no other, so that nothing of a client is asked
//! of it [MQTT-7.0.0-1].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker_core::time::{Instant, Now};
use mio::Interest;
use tracing::warn;

use super::newcomers::Source;
use super::stop::Phase;
use super::token::{self, Place};
use super::{Listener, Server};
use crate::net::listener::{ACCEPT_RETRY, AcceptEnd, Accepted};
use crate::net::ws::WebSocket;

/// Connections accepted from one listener in a turn.
const ACCEPTS: usize = 64;

/// A connection that has not said who it is may be closed for others after this time. Who sends
/// CONNECT at once is never met by it.
const GRACE: Duration = Duration::from_secs(1);

/// How many links are looked at to find the oldest of a source.
const SEARCH_STEPS: usize = 256;

/// Who came at this time or before has had its time to say who it is; `None`: nobody can have.
fn before_grace(now: Now) -> Option<Instant> {
    let grace = u64::try_from(GRACE.as_micros()).expect("a second");
    now.mono.as_micros().checked_sub(grace).map(Instant)
}

impl Server {
    /// When connections that wait can be accepted; `None` if none waits.
    pub(super) fn next_accept(&self) -> Option<Instant> {
        if self.phase != Phase::Serving {
            return None;
        }
        let is_waiting = self.listeners.iter().any(|listener| listener.is_ready);
        let ready = match self.links.newcomers().oldest() {
            Some((came, _)) if !self.has_room_for_newcomers() => came + GRACE,
            Some(_) | None => Instant::default(),
        };
        let retry = self.listeners.iter().filter_map(|listener| listener.retry_at).min();
        is_waiting.then_some(ready).into_iter().chain(retry).min()
    }

    fn has_room_for_newcomers(&self) -> bool {
        self.links.newcomers().len() < self.limits.unidentified
    }

    /// Accepts who waits, as far as there is room for newcomers. Where there is none those that had
    /// their time make it; the others wait in the kernel, so that no storm is turned away.
    pub(super) fn accept_connections(&mut self, now: Now) {
        let mut accepted: Vec<Accepted> = Vec::new();
        for index in 0..self.listeners.len() {
            let budget = self.accept_budget(now);
            let listener = &mut self.listeners[index];
            let is_due = listener.retry_at.is_some_and(|at| at <= now.mono);
            if budget == 0 || !listener.is_ready && !is_due {
                continue;
            }
            listener.retry_at = None;
            match listener.port.accept(budget, &mut accepted) {
                AcceptEnd::Drained => listener.is_ready = false,
                AcceptEnd::BudgetSpent => listener.is_ready = true,
                AcceptEnd::OutOfDescriptors => {
                    listener.is_ready = false;
                    listener.retry_at = Some(now.mono + ACCEPT_RETRY);
                    warn!("no file descriptor is left: connections are refused");
                }
            }
            for connection in accepted.drain(..) {
                self.welcome(now, index, connection);
            }
        }
    }

    /// How many connections may be accepted now.
    fn accept_budget(&self, now: Now) -> usize {
        let room = self.limits.unidentified.saturating_sub(self.links.newcomers().len());
        if room >= ACCEPTS {
            return ACCEPTS;
        }
        let Some(came_by) = before_grace(now) else { return room };
        room + self.links.count_newcomers(came_by, ACCEPTS - room)
    }

    fn welcome(&mut self, now: Now, listener: usize, connection: Accepted) {
        let Accepted { stream, peer } = connection;
        self.broker.stats_mut().sockets_opened += 1;
        if self.links.len() >= self.limits.connections {
            self.traffic.refused_connections += 1;
            warn!(%peer, "too many connections, one is refused");
            return;
        }
        self.make_room(now, peer);
        let Listener { ws, durability, allow_anonymous, .. } = &self.listeners[listener];
        let (durability, allow_anonymous) = (*durability, *allow_anonymous);
        let ws = ws.as_ref().map(|policy| Box::new(WebSocket::new(Arc::clone(policy))));
        let key = self.links.insert(stream, peer, ws, now.mono);
        let token = token::token(Place::Link(key));
        let link = self.links.get_mut(key).expect("just inserted");
        link.listener = listener;
        (link.allow_anonymous, link.durability) = (allow_anonymous, durability);
        if let Err(error) =
            self.poll.registry().register(&mut link.stream, token, Interest::READABLE)
        {
            warn!(%peer, %error, "a connection could not be watched and is closed");
            self.drop_link(key);
        }
    }

    /// Closes the oldest of those that had their time to say who they are: of the same source if it
    /// has many of them, of any if there are too many.
    fn make_room(&mut self, now: Now, peer: SocketAddr) {
        let source = Source::from(peer.ip());
        let is_full = !self.has_room_for_newcomers();
        let has_many = self.links.newcomers().from(source) >= self.limits.unidentified_per_source;
        if !is_full && !has_many {
            return;
        }
        let source = has_many.then_some(source);
        let Some(came_by) = before_grace(now) else { return };
        if let Some(oldest) = self.links.oldest_newcomer(source, came_by, SEARCH_STEPS) {
            self.traffic.refused_connections += 1;
            warn!(%peer, "too many connections without CONNECT, the oldest is closed");
            self.drop_link(oldest);
        }
    }
}
