//! Links that speak MQTT over WebSocket: the same links as all others, with frames around what
//! they say.

use broker_core::key::Key;
use broker_core::time::Now;
use tracing::{debug, warn};

use super::Server;
use super::tcp::{LinkState, TcpLink};
use super::token;
use crate::net::ws::{CloseCode, End};

impl Server {
    /// Moves what is MQTT in the octets that were read from a link to their front, and returns how
    /// many those are.
    pub(super) fn unwrap_frames(&mut self, key: Key<TcpLink>, octets: &mut [u8]) -> usize {
        let Self { links, traffic, .. } = self;
        let Some(link) = links.get_mut(key) else { return 0 };
        let Some(ws) = &mut link.ws else { return octets.len() };
        let peer = link.peer;
        let progress = ws.read(octets);
        traffic.frames_received += progress.frames;
        match progress.opened {
            Some(Ok(subprotocol)) => {
                traffic.websockets_opened += 1;
                debug!(%peer, subprotocol, "WebSocket");
            }
            Some(Err(refusal)) => {
                traffic.websockets_refused += 1;
                warn!(%peer, %refusal, "WebSocket refused");
            }
            None => {}
        }
        if progress.wants_write {
            self.mark_dirty(key);
        }
        progress.len
    }

    /// Ends a link whose WebSocket was refused, or has ended, once everything before that has been
    /// heard, and answers that. A packet that is not whole by then never will be. Text ends it with
    /// 1003 [MQTT-6.0.0-1].
    pub(super) fn end_websocket(&mut self, now: Now, key: Key<TcpLink>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Some(ws) = &mut link.ws else { return };
        if link.state != LinkState::Open || link.has_unheard || !ws.has_ended() {
            return;
        }
        match ws.end() {
            Some(end @ End::Violation(violation)) => {
                self.traffic.violations += 1;
                warn!(peer = %link.peer, %violation, "connection closed for a violation");
                ws.close(end.answer());
            }
            Some(end @ End::Closed(_)) => ws.close(end.answer()),
            // It was refused, and that has been said.
            None => {}
        }
        self.dispatch_answers(now);
        self.broker.lost(now, token::link_id(key));
        self.begin_closing(now, key);
    }
}

impl TcpLink {
    /// Whether all that was to be said is written.
    pub(super) fn has_said_all(&self) -> bool {
        self.ws.as_ref().map_or_else(|| self.out.is_empty(), |ws| ws.has_said_all(&self.out))
    }

    /// Chooses what a close frame will say, where there are such frames.
    pub(super) fn close_websocket(&mut self, code: CloseCode) {
        if let Some(ws) = &mut self.ws {
            ws.close(code);
        }
    }
}
