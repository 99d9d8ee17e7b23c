//! Phase 3: what the broker wants done.

use broker_core::api::{Flow, LinkId, Outgoing, Output};
use broker_core::mqtt::{PacketType, Sent, Sink};
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use bytes::Bytes;
use tracing::{debug, info};

use super::tcp::{LinkState, OUT_HIGH, OUT_HIGH_SHORT, TcpLink};
use super::token;
use super::{DELIVERED_BYTES_PER_TURN, DELIVERIES_PER_TURN, Server};
use crate::net::outbuf::{BlockPool, OutWriter};

impl Sink for OutWriter<'_> {
    #[inline]
    fn put(&mut self, octets: &[u8]) {
        OutWriter::put(self, octets);
    }

    #[inline]
    fn put_all<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        OutWriter::put_all(self, pieces);
    }

    fn put_shared(&mut self, octets: &Bytes) {
        OutWriter::put_shared(self, octets);
    }
}

impl Server {
    /// Hands on what the broker has for links: all answers, of which there are no more than the
    /// turn has heard requests, and a slice of the messages.
    pub(super) fn dispatch_outputs(&mut self, now: Now) {
        let mut deliveries = DELIVERIES_PER_TURN;
        let mut bytes = DELIVERED_BYTES_PER_TURN;
        self.has_more_outputs = loop {
            if !self.broker.has_answers() {
                if deliveries == 0 || bytes == 0 {
                    break true;
                }
                deliveries -= 1;
            }
            match self.dispatch_one(now) {
                Some(written) => bytes = bytes.saturating_sub(written),
                None => break self.broker.next_timeout().is_some_and(|at| at <= now.mono),
            }
        };
        self.sn.settle(&mut self.broker);
    }

    /// Hands on all answers that may leave: a link that is about to end gets those to what it said
    /// before. One that waits for something else is lost with the link.
    pub(super) fn dispatch_answers(&mut self, now: Now) {
        while self.broker.has_answers() {
            self.dispatch_one(now);
        }
        self.sn.settle(&mut self.broker);
    }

    /// Hands on one output, if there is one; returns the octets that it put into a link's buffer.
    fn dispatch_one(&mut self, now: Now) -> Option<usize> {
        let out_high = if self.broker.is_out_of_memory() { OUT_HIGH_SHORT } else { OUT_HIGH };
        match self.broker.poll_output()? {
            Output::Send { link, packet } if token::is_sn(link) => {
                let flow = self.sn.handle_outgoing(now, link, packet);
                self.broker.react(link, flow);
            }
            Output::Send { link, packet } => {
                let Self { links, blocks, dirty, traffic, .. } = self;
                let key = token::key(link);
                let Some(tcp) = links.get_mut(key) else { return Some(0) };
                let before = tcp.out.len();
                let Told { kind, flow, must_close } = tcp.tell(packet, out_high, blocks);
                let written = tcp.out.len() - before;
                if let Some(kind) = kind {
                    traffic.sent[kind as usize] += 1;
                    if !tcp.is_dirty {
                        tcp.is_dirty = true;
                        dirty.push(key);
                    }
                    self.broker.stats_mut().packets_sent += 1;
                }
                self.broker.react(link, flow);
                if must_close {
                    self.broker.lost(now, link);
                    self.begin_closing(now, key);
                }
                return Some(written);
            }
            Output::Close { link, reason } if token::is_sn(link) => {
                self.sn.handle_close(link, reason);
            }
            Output::Close { link, reason } => self.close_link(now, link, reason),
            Output::SessionEnded { client_id } => self.sn.handle_session_end(client_id),
            Output::SysTick => self.publish_sys(),
        }
        Some(0)
    }

    /// The broker, or a lack of memory, has ended a link: it is told so, if it can be, and closed.
    pub(super) fn close_link(&mut self, now: Now, link: LinkId, reason: ReasonCode) {
        let Self { links, blocks, traffic, .. } = self;
        let key = token::key(link);
        let Some(tcp) = links.get_mut(key) else { return };
        if tcp.state != LinkState::Open {
            return;
        }
        info!(peer = %tcp.peer, %reason, "connection ends");
        let TcpLink { conn, out, .. } = tcp;
        if let Sent::Packet(kind) = conn.close(reason, &mut out.writer(blocks)) {
            traffic.sent[kind as usize] += 1;
            self.broker.stats_mut().packets_sent += 1;
        }
        self.begin_closing(now, key);
    }
}

/// What became of a packet on a TCP link.
struct Told {
    /// It was written.
    kind: Option<PacketType>,
    flow: Flow,
    /// The client cannot go on without it.
    must_close: bool,
}

impl TcpLink {
    /// Tells the client something. From `out_high` waiting octets on it is to be sent no more
    /// messages.
    fn tell(&mut self, packet: Outgoing<'_>, out_high: usize, blocks: &mut BlockPool) -> Told {
        if self.state != LinkState::Open {
            return Told { kind: None, flow: Flow::Hold, must_close: false };
        }
        let delivery_id = packet.delivery_id();
        match self.conn.send(packet, &mut self.out.writer(blocks)) {
            Sent::Packet(kind) => {
                self.is_held |= self.out.len() >= out_high;
                let flow = if self.is_held { Flow::Hold } else { Flow::More };
                Told { kind: Some(kind), flow, must_close: false }
            }
            Sent::TooLarge(kind) => {
                debug!(peer = %self.peer, %kind, "packet larger than the client takes");
                let flow = Flow::GiveUp(delivery_id.unwrap_or_default());
                Told { kind: None, flow, must_close: delivery_id.is_none() }
            }
            Sent::Nothing => Told { kind: None, flow: Flow::More, must_close: false },
        }
    }
}
