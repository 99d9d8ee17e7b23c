//! Phase 3: what the broker wants done.

use broker_core::api::{Flow, LinkId, Outgoing, Output};
use broker_core::mqtt::{PacketType, Sent, Sink};
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use bytes::Bytes;
use tracing::{debug, info};

use super::tcp::{LinkState, OUT_HIGH, TcpLink};
use super::token;
use super::{OUTPUTS_PER_TURN, Server};
use crate::net::outbuf::{BlockPool, OutWriter};

impl Sink for OutWriter<'_> {
    #[inline]
    fn put(&mut self, octets: &[u8]) {
        OutWriter::put(self, octets);
    }

    fn put_shared(&mut self, octets: &Bytes) {
        OutWriter::put_shared(self, octets);
    }
}

impl Server {
    /// Hands on what the broker has for links, a slice of it.
    pub(super) fn dispatch_outputs(&mut self, now: Now) {
        for _ in 0..OUTPUTS_PER_TURN {
            let Some(output) = self.broker.poll_output() else {
                self.sn.settle(&mut self.broker);
                self.has_more_outputs = self.broker.next_timeout().is_some_and(|at| at <= now.mono);
                return;
            };
            match output {
                Output::Send { link, packet } if token::is_sn(link) => {
                    let flow = self.sn.handle_outgoing(now, link, packet);
                    self.broker.react(link, flow);
                }
                Output::Send { link, packet } => {
                    let Self { links, blocks, dirty, traffic, .. } = self;
                    let key = token::key(link);
                    let Some(tcp) = links.get_mut(key) else { continue };
                    let Told { kind, flow, must_close } = tcp.tell(packet, blocks);
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
                }
                Output::Close { link, reason } if token::is_sn(link) => {
                    self.sn.handle_close(link, reason);
                }
                Output::Close { link, reason } => self.close_link(now, link, reason),
                Output::SessionEnded { client_id } => self.sn.handle_session_end(client_id),
                Output::SysTick => self.publish_sys(),
            }
        }
        self.sn.settle(&mut self.broker);
        self.has_more_outputs = true;
    }

    /// The broker has ended a link: it is told so, if it can be, and closed.
    fn close_link(&mut self, now: Now, link: LinkId, reason: ReasonCode) {
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
    /// Tells the client something, as far as there is room.
    fn tell(&mut self, packet: Outgoing<'_>, blocks: &mut BlockPool) -> Told {
        if self.state != LinkState::Open {
            return Told { kind: None, flow: Flow::Hold, must_close: false };
        }
        let delivery_id = match &packet {
            Outgoing::Publish(delivery) => Some(delivery.id),
            Outgoing::ConnAck(_)
            | Outgoing::Ack(_)
            | Outgoing::SubAck { .. }
            | Outgoing::UnsubAck { .. }
            | Outgoing::WillAck { .. }
            | Outgoing::Pong
            | Outgoing::Drained => None,
        };
        match self.conn.send(packet, &mut self.out.writer(blocks)) {
            Sent::Packet(kind) => {
                self.is_held |= self.out.len() >= OUT_HIGH;
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
