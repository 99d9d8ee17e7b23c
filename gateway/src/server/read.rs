//! Phase 1: what comes in.

use std::time::Duration;

use broker_core::api::Incoming;
use broker_core::key::Key;
use broker_core::mqtt::Received;
use broker_core::time::Now;
use mio::Interest;
use tracing::{debug, info, warn};

use super::stop::Phase;
use super::tcp::{LinkState, TcpLink};
use super::token::{self, Place};
use super::{READ_BYTES, Server};
use crate::net::listener::{ACCEPT_RETRY, AcceptEnd, Accepted};

/// Connections accepted from one listener in a turn.
const ACCEPTS: usize = 64;

/// Links read from in a turn; the others come next.
const LINKS: usize = 256;

/// Deliveries that the packets of one link may cause in a turn; what else it sent waits.
const WORK: u64 = 8_192;

/// A connection that has not said who it is may be closed for others after this time, if its source
/// has too many of them. Who sends CONNECT at once is never met by it.
const GRACE: Duration = Duration::from_secs(1);

/// How many links are looked at to find the oldest of a source.
const SEARCH_STEPS: usize = 256;

/// How far some octets were heard.
struct Heard {
    /// Octets of whole packets that were heard.
    used: usize,
    /// What is left is at most the beginning of a packet.
    is_all: bool,
}

impl Server {
    pub(super) fn read_sockets(&mut self, now: Now) {
        self.read_ports(now);
        if self.phase == Phase::Serving {
            self.accept_connections(now);
        }
        self.read_links(now);
    }

    /// Whether something is left to be read without an event telling so.
    pub(super) fn has_unread(&self) -> bool {
        !self.readable.is_empty()
            || self.ports.iter().any(super::udp::SnPort::is_readable)
            || (self.phase == Phase::Serving
                && self.listeners.iter().any(|listener| listener.is_ready))
    }

    pub(super) fn note_link(&mut self, key: Key<TcpLink>, event: &mio::event::Event) {
        let Some(link) = self.links.get_mut(key) else { return };
        let is_end = event.is_read_closed() || event.is_error();
        link.peer_closed |= is_end;
        if event.is_readable() || is_end {
            link.has_unread = true;
        }
        if event.is_writable() && link.is_blocked {
            link.is_blocked = false;
            self.mark_dirty(key);
        }
        self.mark_readable(key);
    }

    /// Puts a link into the list of those that may be readable.
    pub(super) fn mark_readable(&mut self, key: Key<TcpLink>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let has_work = link.has_unread || link.has_unheard;
        if has_work && link.may_read() && !link.is_readable {
            link.is_readable = true;
            self.readable.push(key);
        }
    }

    fn accept_connections(&mut self, now: Now) {
        let mut accepted: Vec<Accepted> = Vec::new();
        for listener in &mut self.listeners {
            let is_due = listener.retry_at.is_some_and(|at| at <= now.mono);
            if !listener.is_ready && !is_due {
                continue;
            }
            listener.retry_at = None;
            match listener.port.accept(ACCEPTS, &mut accepted) {
                AcceptEnd::Drained => listener.is_ready = false,
                AcceptEnd::BudgetSpent => {}
                AcceptEnd::OutOfDescriptors => {
                    listener.is_ready = false;
                    listener.retry_at = Some(now.mono + ACCEPT_RETRY);
                    warn!("no file descriptor is left: connections are refused");
                }
            }
        }
        for connection in accepted {
            self.welcome(now, connection);
        }
    }

    fn welcome(&mut self, now: Now, connection: Accepted) {
        let Accepted { stream, peer } = connection;
        let limits = self.limits;
        self.broker.stats_mut().sockets_opened += 1;
        let is_full = self.links.len() >= limits.connections
            || self.links.unidentified() >= limits.unidentified;
        if is_full {
            self.traffic.refused_connections += 1;
            warn!(%peer, "too many connections, one is refused");
            return;
        }
        if self.links.unidentified_from(peer.ip()) >= limits.unidentified_per_source {
            let before = now.mono + limits.connect_timeout.saturating_sub(GRACE);
            let oldest = self.links.oldest_unidentified(peer.ip(), before, SEARCH_STEPS);
            if let Some(oldest) = oldest {
                self.traffic.refused_connections += 1;
                warn!(%peer, "too many connections without CONNECT, the oldest is closed");
                self.drop_link(oldest);
            }
        }
        let key = self.links.insert(stream, peer, now.mono, now.mono + limits.connect_timeout);
        let token = token::token(Place::Link(key));
        let link = self.links.get_mut(key).expect("just inserted");
        if let Err(error) =
            self.poll.registry().register(&mut link.stream, token, Interest::READABLE)
        {
            warn!(%peer, %error, "a connection could not be watched and is closed");
            self.drop_link(key);
        }
    }

    fn read_links(&mut self, now: Now) {
        let mut round = core::mem::take(&mut self.round);
        let count = self.readable.len().min(LINKS);
        round.extend(self.readable.drain(..count));
        for key in round.drain(..) {
            if let Some(link) = self.links.get_mut(key) {
                link.is_readable = false;
                self.read_link(now, key);
                self.links.charge(key);
                self.mark_readable(key);
            }
        }
        self.round = round;
    }

    /// Reads once from a link and hears what is there as a whole.
    fn read_link(&mut self, now: Now, key: Key<TcpLink>) {
        let mut buffer = core::mem::take(&mut self.read_buffer);
        self.read_link_into(now, key, &mut buffer);
        self.read_buffer = buffer;
    }

    fn read_link_into(&mut self, now: Now, key: Key<TcpLink>, buffer: &mut [u8]) {
        let Some(link) = self.links.get_mut(key) else { return };
        if link.state == LinkState::Open && link.has_unheard {
            self.hear_inbox(now, key);
            return;
        }
        if !link.may_read() || !link.has_unread {
            return;
        }
        let count = match link.read(buffer) {
            Ok(Some(count)) => count,
            Ok(None) => {
                link.has_unread = false;
                return;
            }
            Err(error) => {
                debug!(peer = %link.peer, %error, "connection broken");
                self.lose_link(now, key);
                return;
            }
        };
        if count == 0 {
            self.lose_link(now, key);
            return;
        }
        // Fewer than asked for: the kernel has no more, unless it is the end that is left.
        link.has_unread = count == READ_BYTES || link.peer_closed;
        self.broker.stats_mut().bytes_received += count as u64;
        let octets = &buffer[..count];
        let link = self.links.get_mut(key).expect("looked up above");
        if link.state != LinkState::Open {
            return;
        }
        if link.inbox.is_empty() {
            let Heard { used, is_all } = self.hear(now, key, octets);
            if let Some(link) = self.links.get_mut(key)
                && link.state == LinkState::Open
            {
                link.inbox.extend_from_slice(&octets[used..]);
                link.has_unheard = !is_all;
            }
        } else {
            link.inbox.extend_from_slice(octets);
            self.hear_inbox(now, key);
        }
    }

    /// Hears packets that were kept.
    fn hear_inbox(&mut self, now: Now, key: Key<TcpLink>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let mut inbox = core::mem::take(&mut link.inbox);
        let Heard { used, is_all } = self.hear(now, key, &inbox);
        let Some(link) = self.links.get_mut(key) else { return };
        link.has_unheard = !is_all && link.state == LinkState::Open;
        if used == inbox.len() || link.state != LinkState::Open {
            // An idle link holds no buffer.
            return;
        }
        inbox.drain(..used);
        link.inbox = inbox;
    }

    /// Hears whole packets from the front of `octets`, as many as there are and a turn has time
    /// for.
    fn hear(&mut self, now: Now, key: Key<TcpLink>, octets: &[u8]) -> Heard {
        let id = token::link_id(key);
        let work_max = self.broker.work() + WORK;
        let octets_len = octets.len();
        let mut used = 0;
        while used < octets.len() {
            let Self { links, broker, mqtt, blocks, traffic, .. } = self;
            let Some(link) = links.get_mut(key) else { break };
            if link.state != LinkState::Open || !link.may_read() || broker.work() > work_max {
                return Heard { used, is_all: false };
            }
            let TcpLink { conn, out, credit, peer, .. } = link;
            let mut out = out.writer(blocks);
            let received = conn.receive(mqtt, &octets[used..], &mut out, |incoming| {
                if let Incoming::Connect(connect) = &incoming {
                    *credit = connect.credit;
                    info!(
                        client = connect.client_id,
                        %peer,
                        dialect = %connect.dialect,
                        clean = connect.clean_start,
                        "client connects"
                    );
                }
                broker.handle(now, id, incoming);
            });
            match received {
                Ok(Received::Packet { used: octets, kind }) => {
                    used += octets;
                    traffic.received[kind as usize] += 1;
                    traffic.packet_bytes_max = traffic.packet_bytes_max.max(octets as u64);
                    broker.stats_mut().packets_received += 1;
                    if link.is_unidentified {
                        let took = now.mono - link.accepted_at;
                        traffic.connect_time_max = traffic.connect_time_max.max(took);
                        links.identified(key);
                        // Its answer leaves before what came along with it is heard.
                        return Heard { used, is_all: used == octets_len };
                    }
                }
                Ok(Received::Incomplete { .. }) => break,
                Ok(Received::Ended) => used = octets.len(),
                Err(violation) => {
                    traffic.violations += 1;
                    warn!(peer = %link.peer, %violation, "connection closed for a violation");
                    broker.lost(now, id);
                    self.begin_closing(now, key);
                    used = octets.len();
                }
            }
        }
        Heard { used, is_all: true }
    }

    /// The client is gone without a word.
    pub(super) fn lose_link(&mut self, now: Now, key: Key<TcpLink>) {
        self.broker.lost(now, token::link_id(key));
        self.drop_link(key);
    }
}
