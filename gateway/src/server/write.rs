//! Phase 4: what goes out, and the deadlines of links.

use std::net::Shutdown;

use broker_core::key::Key;
use broker_core::time::Now;
use mio::Interest;
use tracing::{debug, warn};

use super::Server;
use super::tcp::{Due, FAREWELL, LinkState, OUT_HIGH, TcpLink};
use super::token::{self, Place};
use crate::net::outbuf::Flush;
use crate::net::ws::CloseCode;

/// Links that are closed for their deadlines in a turn; the others come next.
const DEADLINES: usize = 256;

/// A link that is blocked is looked at so many times before it is given up.
const STALL_LOOKS: u32 = 4;

impl Server {
    pub(super) fn write_sockets(&mut self, now: Now) {
        self.write_ports();
        let mut round = core::mem::take(&mut self.round);
        round.append(&mut self.dirty);
        for key in round.drain(..) {
            if let Some(link) = self.links.get_mut(key) {
                link.is_dirty = false;
                self.write_link(now, key);
                self.links.charge(key);
            }
        }
        self.round = round;
    }

    pub(super) fn has_unwritten(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn mark_dirty(&mut self, key: Key<TcpLink>) {
        if let Some(link) = self.links.get_mut(key)
            && !link.is_dirty
        {
            link.is_dirty = true;
            self.dirty.push(key);
        }
    }

    /// One write, and what follows from it.
    fn write_link(&mut self, now: Now, key: Key<TcpLink>) {
        let Self { links, blocks, broker, .. } = self;
        let Some(link) = links.get_mut(key) else { return };
        if link.is_blocked {
            return;
        }
        let (written, flush) = match link.write(blocks) {
            Ok(result) => result,
            Err(error) => {
                debug!(peer = %link.peer, %error, "connection broken");
                self.lose_link(now, key);
                return;
            }
        };
        broker.stats_mut().bytes_sent += written as u64;
        if written > 0 {
            link.progress_at = now.mono;
        }
        match flush {
            Flush::Done => {
                self.watch_writable(key, false);
                self.go_on_with(now, key);
            }
            Flush::More => {
                self.mark_dirty(key);
                self.go_on_with(now, key);
            }
            Flush::Blocked => {
                self.watch_writable(key, true);
                self.links.block(key, now.mono, self.limits.write_stall / STALL_LOOKS);
            }
        }
    }

    /// A link has room again: its session may send, and the client be read from.
    fn go_on_with(&mut self, now: Now, key: Key<TcpLink>) {
        let Some(link) = self.links.get_mut(key) else { return };
        match link.state {
            LinkState::Open => {
                if link.is_held && link.out.len() < OUT_HIGH / 2 {
                    link.is_held = false;
                    let credit = link.credit;
                    self.broker.set_credit(token::link_id(key), credit);
                    self.has_more_outputs = true;
                }
                self.mark_readable(key, false);
            }
            LinkState::Closing if link.has_said_all() => self.linger(now, key),
            LinkState::Closing | LinkState::Lingering => {}
        }
    }

    /// Asks for an event when a link can be written to, or no longer for it.
    fn watch_writable(&mut self, key: Key<TcpLink>, wanted: bool) {
        let Some(link) = self.links.get_mut(key) else { return };
        if link.watches_writable == wanted {
            return;
        }
        link.watches_writable = wanted;
        let interest =
            if wanted { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let token = token::token(Place::Link(key));
        if let Err(error) = self.poll.registry().reregister(&mut link.stream, token, interest) {
            warn!(peer = %link.peer, %error, "a connection cannot be watched any more");
        }
    }

    /// The link is over for the broker: what waits is written, then it is closed.
    pub(super) fn begin_closing(&mut self, now: Now, key: Key<TcpLink>) {
        let Some(link) = self.links.get_mut(key) else { return };
        if link.state != LinkState::Open {
            return;
        }
        link.state = LinkState::Closing;
        link.inbox = Vec::new();
        link.has_unheard = false;
        link.close_websocket(CloseCode::NORMAL);
        self.links.identified(key);
        self.links.begin_farewell(key, now.mono + FAREWELL);
        self.mark_dirty(key);
    }

    /// All is said. The client is to see that, so its last octets are read before the descriptor is
    /// closed: closing over unread octets would take ours back from the client.
    fn linger(&mut self, now: Now, key: Key<TcpLink>) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.state = LinkState::Lingering;
        link.has_unread = true;
        if link.stream.shutdown(Shutdown::Write).is_err() {
            self.lose_link(now, key);
        } else {
            self.mark_readable(key, false);
        }
    }

    /// Closes a link at once.
    pub(super) fn drop_link(&mut self, key: Key<TcpLink>) {
        if let Some(mut link) = self.links.remove(key) {
            link.out.clear(&mut self.blocks);
            // Closing takes the descriptor out of the event loop; an event on its way finds an old
            // generation.
            let _ = self.poll.registry().deregister(&mut link.stream);
        }
    }

    pub(super) fn handle_net_timeouts(&mut self, now: Now) {
        for _ in 0..DEADLINES {
            let Some((due, key)) = self.links.pop_due(now.mono) else { return };
            let Some(link) = self.links.get_mut(key) else { continue };
            match due {
                Due::Connect => {
                    self.traffic.timed_out_connections += 1;
                    debug!(peer = %link.peer, "no CONNECT in time");
                    self.drop_link(key);
                }
                Due::Farewell => self.lose_link(now, key),
                Due::Stall => self.check_stall(now, key),
            }
        }
    }

    /// A link that was blocked took nothing for too long, or is looked at again later.
    fn check_stall(&mut self, now: Now, key: Key<TcpLink>) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.is_supervised = false;
        if !link.is_blocked {
            return;
        }
        let write_stall = self.limits.write_stall;
        if now.mono - link.progress_at < write_stall {
            self.links.check_again(key, now.mono, write_stall / STALL_LOOKS);
            return;
        }
        self.traffic.stalled_links += 1;
        warn!(peer = %link.peer, "client takes nothing any more, connection closed");
        self.lose_link(now, key);
    }
}
