//! Phase 1: what comes in.

use broker_core::api::Incoming;
use broker_core::auth::Gate;
use broker_core::key::Key;
use broker_core::mqtt::{PacketType, Received, Violation};
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use tracing::{debug, info, warn};

use super::budget::Allowance;
use super::stop::Phase;
use super::tcp::{LinkState, TcpLink};
use super::token;
use super::{READ_BYTES, Server};
use crate::net::ws::CloseCode;

/// Links read from in a turn; the others come next.
const LINKS: usize = 256;

/// Steps (see [`Allowance`]) that the packets of one link may take in a turn; what else it sent
/// waits.
const LINK_STEPS: u64 = 8_192;

/// Steps that all links together may take in a turn, about three milliseconds; the others come
/// next.
const TURN_STEPS: u64 = 32_768;

/// Octets of an unfinished packet that are kept also when no memory is left.
const INBOX_SHORT: usize = 4 << 10;

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
        !self.readable.is_empty() || self.ports.iter().any(super::udp::SnPort::is_readable)
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
        self.mark_readable(key, true);
    }

    /// Puts a link into the list of those that may be readable; `is_news` if an event told so.
    pub(super) fn mark_readable(&mut self, key: Key<TcpLink>, is_news: bool) {
        let Some(link) = self.links.get_mut(key) else { return };
        let has_work = link.has_unread || link.has_unheard;
        if has_work && link.may_read() && !link.is_readable && !link.is_paced {
            link.is_readable = true;
            self.readable.push(key, is_news);
        }
    }

    fn read_links(&mut self, now: Now) {
        self.end_waiting(now);
        let Self { broker, traffic, .. } = &*self;
        let allowance = Allowance::new(broker, traffic, TURN_STEPS, self.has_more_outputs);
        if let Some(key) = self.readable.pop_first() {
            self.read_link(now, key, allowance);
        }
        // Each comes once: one that stopped for the sake of a subscriber waits for what is put out.
        for _ in 0..LINKS.min(self.readable.len()) {
            if allowance.is_spent(&self.broker, &self.traffic) {
                break;
            }
            let Some(key) = self.readable.pop() else { break };
            self.read_link(now, key, allowance);
        }
    }

    /// Reads once from a link and hears what is there as a whole.
    fn read_link(&mut self, now: Now, key: Key<TcpLink>, allowance: Allowance) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.is_readable = false;
        let allowance = allowance.part(&self.broker, &self.traffic, LINK_STEPS);
        let mut buffer = core::mem::take(&mut self.read_buffer);
        // What others did is not laid to its charge.
        self.broker.forget_behind();
        self.read_link_into(now, key, &mut buffer, allowance);
        self.read_buffer = buffer;
        self.pace(now, key);
        self.end_websocket(now, key);
        self.links.charge(key);
        self.mark_readable(key, false);
    }

    fn read_link_into(
        &mut self,
        now: Now,
        key: Key<TcpLink>,
        buffer: &mut [u8],
        allowance: Allowance,
    ) {
        let Some(link) = self.links.get_mut(key) else { return };
        if link.state == LinkState::Open && link.has_unheard {
            self.hear_inbox(now, key, allowance);
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
            self.hear_end(now, key);
            return;
        }
        // Fewer than asked for: the kernel has no more, unless it is the end that is left.
        link.has_unread = count == READ_BYTES || link.peer_closed;
        self.broker.stats_mut().bytes_received += count as u64;
        if link.state != LinkState::Open {
            return;
        }
        let count = self.unwrap_frames(key, &mut buffer[..count]);
        let octets = &buffer[..count];
        let link = self.links.get_mut(key).expect("looked up above");
        if link.inbox.is_empty() {
            let Heard { used, is_all } = self.hear(now, key, octets, allowance);
            if let Some(link) = self.links.get_mut(key)
                && link.state == LinkState::Open
            {
                link.inbox.extend_from_slice(&octets[used..]);
                link.has_unheard = !is_all;
            }
        } else {
            link.inbox.extend_from_slice(octets);
            self.hear_inbox(now, key, allowance);
        }
        self.check_inbox(now, key);
    }

    /// Closes a link whose unfinished packet, or request, grows while no memory is left.
    fn check_inbox(&mut self, now: Now, key: Key<TcpLink>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let peer = link.peer;
        let kept = link.inbox.len() + link.ws.as_ref().map_or(0, |ws| ws.memory());
        let is_growing = kept > INBOX_SHORT && !link.has_unheard;
        if !is_growing || !self.broker.is_out_of_memory() {
            return;
        }
        // Others may have been closed in this turn, and that may be enough.
        self.links.charge(key);
        self.broker.set_external_memory(self.memory());
        if self.broker.is_out_of_memory() {
            self.traffic.memory_closed += 1;
            warn!(%peer, "no memory for a large packet, connection closed");
            let link = token::link_id(key);
            self.broker.lost(now, link);
            self.close_link(now, link, ReasonCode::QuotaExceeded);
        }
    }

    /// Hears packets that were kept.
    fn hear_inbox(&mut self, now: Now, key: Key<TcpLink>, allowance: Allowance) {
        let Some(link) = self.links.get_mut(key) else { return };
        let mut inbox = core::mem::take(&mut link.inbox);
        let Heard { used, is_all } = self.hear(now, key, &inbox, allowance);
        let Some(link) = self.links.get_mut(key) else { return };
        link.has_unheard = !is_all && link.state == LinkState::Open;
        if used == inbox.len() || link.state != LinkState::Open {
            // An idle link holds no buffer.
            return;
        }
        inbox.drain(..used);
        link.inbox = inbox;
    }

    /// Hears whole packets from the front of `octets`, one at least, and as many as there are and
    /// the allowance lasts; no more of them either when a client that is being served would lose
    /// messages.
    fn hear(&mut self, now: Now, key: Key<TcpLink>, octets: &[u8], allowance: Allowance) -> Heard {
        let id = token::link_id(key);
        self.broker.take_crowded();
        let octets_len = octets.len();
        let mut used = 0;
        while used < octets.len() {
            let Self { links, broker, mqtt, users, blocks, dirty, traffic, .. } = self;
            let Some(link) = links.get_mut(key) else { break };
            if link.state != LinkState::Open || !link.may_read() {
                return Heard { used, is_all: false };
            }
            if used > 0
                && (allowance.is_spent(broker, traffic)
                    || broker.take_crowded()
                    || broker.behind().iter().any(|of| *of != id))
            {
                return Heard { used, is_all: false };
            }
            let TcpLink { conn, out, credit, peer, allow_anonymous, durability, user, .. } = link;
            users.set_anonymous(*allow_anonymous);
            let asks_names = users.asks_names();
            let gate = Gate { authenticator: users, now: now.mono };
            let waiting = out.len();
            let mut out = out.writer(blocks);
            let received =
                conn.receive_at(mqtt, gate, &octets[used..], &mut out, |mut incoming| {
                    if let Incoming::Connect(connect) = &mut incoming {
                        connect.durability = *durability;
                        *credit = connect.credit;
                        *user = connect.user_name.filter(|_| asks_names).map(Box::from);
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
                    // A step of an authentication is answered by the connection itself.
                    if link.out.len() > waiting {
                        traffic.sent[PacketType::Auth as usize] += 1;
                        broker.stats_mut().packets_sent += 1;
                        if !core::mem::replace(&mut link.is_dirty, true) {
                            dirty.push(key);
                        }
                    }
                    if link.is_unidentified && !link.conn.is_authenticating() {
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
                    self.end_for(now, key, &violation);
                    used = octets.len();
                }
            }
        }
        Heard { used, is_all: true }
    }

    /// A client broke the rules: it is told so after all that it asked for before that.
    fn end_for(&mut self, now: Now, key: Key<TcpLink>, violation: &Violation) {
        self.dispatch_answers(now);
        let Self { links, mqtt, blocks, traffic, .. } = self;
        let Some(link) = links.get_mut(key) else { return };
        traffic.violations += 1;
        warn!(peer = %link.peer, %violation, "connection closed for a violation");
        if link.state == LinkState::Open {
            link.conn.reject(mqtt, violation, &mut link.out.writer(blocks));
        }
        link.close_websocket(CloseCode::PROTOCOL_ERROR);
        self.broker.lost(now, token::link_id(key));
        self.begin_closing(now, key);
    }

    /// The client says no more, but may still listen: it gets the answers to what it said.
    fn hear_end(&mut self, now: Now, key: Key<TcpLink>) {
        self.dispatch_answers(now);
        let Some(link) = self.links.get_mut(key) else { return };
        link.has_unread = false;
        if link.state == LinkState::Lingering || link.has_said_all() {
            self.lose_link(now, key);
            return;
        }
        link.peer_closed = true;
        self.broker.lost(now, token::link_id(key));
        self.begin_closing(now, key);
    }

    /// The client is gone without a word.
    pub(super) fn lose_link(&mut self, now: Now, key: Key<TcpLink>) {
        if !self.is_draining() {
            self.broker.lost(now, token::link_id(key));
        }
        self.drop_link(key);
    }
}
