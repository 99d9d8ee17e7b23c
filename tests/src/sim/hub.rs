//! The machine under test: broker, connections and MQTT-SN gateway, driven as the server's loop
//! drives them, with octets in and octets out.
//!
//! What the server does around sockets is done here around buffers: the order of the phases, the
//! slice of deliveries in a turn, links that are held when too much waits on them, CONNECT answered
//! before what came along with it is heard. The store of durable sessions would sit where
//! [`Hub::turn`] ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use broker_core::Broker;
use broker_core::api::{Credit, Flow, Incoming, LinkId, Outgoing, Output};
use broker_core::limits::BrokerConfig;
use broker_core::mqtt::{self, PacketType, Received, Sent, ServerConn};
use broker_core::time::Now;
use mqtt_sn_gw::sn::{self, Datagram, Destination, LocalAddress, PortId, SnGateway, Transmit};

use super::wire::Octets;

/// Links of the MQTT-SN gateway carry this.
const SN_LINKS: u64 = 1 << 63;

/// A TCP connection; never used twice.
pub(crate) type Conn = u64;

/// How the machine is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) broker: BrokerConfig,
    pub(crate) sn: sn::Settings,
    pub(crate) mqtt: mqtt::Settings,
    /// Deliveries in one turn.
    pub(crate) slice: u32,
    /// Octets on a connection from which on it is sent no more messages.
    pub(crate) out_high: usize,
}

/// What comes out.
#[derive(Debug)]
pub(crate) enum Out {
    Datagram { to: SocketAddr, octets: Octets },
    Octets { conn: Conn, octets: Octets },
    Closed { conn: Conn },
}

/// Who is told of packets when they are heard, and not when they come in.
pub(crate) type Hear<'a> = &'a mut dyn FnMut(Conn, &[u8]);

#[derive(Debug)]
struct End {
    conn: ServerConn,
    inbox: Vec<u8>,
    out: Vec<u8>,
    credit: Credit,
    is_held: bool,
    /// The client takes what it is sent.
    is_read: bool,
    is_open: bool,
    is_connected: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) broker: Broker,
    pub(crate) sn: SnGateway,
    setup: Setup,
    ends: BTreeMap<Conn, End>,
    dirty: Vec<Conn>,
    /// Connections with octets that were not heard yet.
    unheard: Vec<Conn>,
    has_more: bool,
}

impl Hub {
    pub(crate) fn new(setup: Setup, now: Now) -> Self {
        let broker = Broker::new(setup.broker.clone(), now);
        let sn = SnGateway::new(setup.sn.clone(), SN_LINKS, now, setup.broker.seed ^ 1);
        Self {
            broker,
            sn,
            setup,
            ends: BTreeMap::new(),
            dirty: Vec::new(),
            unheard: Vec::new(),
            has_more: true,
        }
    }

    pub(crate) fn datagram(&mut self, now: Now, from: SocketAddr, octets: &[u8]) {
        let to = LocalAddress::default();
        let datagram = Datagram { port: PortId(0), from, to, group: None, octets };
        self.sn.handle_datagram(now, datagram, &mut self.broker);
        self.has_more = true;
    }

    /// A client connects its socket.
    pub(crate) fn open(&mut self, conn: Conn) {
        let end = End {
            conn: ServerConn::new(),
            inbox: Vec::new(),
            out: Vec::new(),
            credit: Credit::Paused,
            is_held: false,
            is_read: true,
            is_open: true,
            is_connected: false,
        };
        self.ends.insert(conn, end);
    }

    /// Octets of a client.
    pub(crate) fn octets(&mut self, now: Now, conn: Conn, octets: &[u8], hear: Hear<'_>) {
        if let Some(end) = self.ends.get_mut(&conn) {
            end.inbox.extend_from_slice(octets);
            self.hear(now, conn, hear);
            self.touch(conn);
        }
    }

    /// The client's end is gone.
    pub(crate) fn lost(&mut self, now: Now, conn: Conn) {
        if self.ends.remove(&conn).is_some() {
            self.broker.lost(now, LinkId(conn));
            self.has_more = true;
        }
    }

    /// The client reads, or does not.
    pub(crate) fn set_read(&mut self, conn: Conn, is_read: bool) {
        if let Some(end) = self.ends.get_mut(&conn) {
            end.is_read = is_read;
            self.touch(conn);
        }
    }

    /// When something is due, in milliseconds; `now` if there is more to do at once.
    pub(crate) fn next_timeout(&self, now: u64) -> Option<u64> {
        if self.has_more {
            return Some(now);
        }
        let next = self.broker.next_timeout().into_iter().chain(self.sn.next_timeout()).min()?;
        Some(next.as_micros().div_ceil(1_000).max(now))
    }

    /// Does what is due and puts out a slice of what there is to say.
    pub(crate) fn turn(&mut self, now: Now, out: &mut Vec<Out>, hear: Hear<'_>) {
        for conn in std::mem::take(&mut self.unheard) {
            self.hear(now, conn, hear);
        }
        self.broker.handle_timeout(now);
        self.sn.handle_timeout(now, &mut self.broker);
        self.dispatch(now, out);
        while let Some(Transmit { to, octets, .. }) = self.sn.poll_transmit() {
            if let Destination::One { to, .. } = to {
                out.push(Out::Datagram { to, octets: octets.into() });
            }
        }
        for conn in std::mem::take(&mut self.dirty) {
            self.flush(conn, out);
            if self.ends.get(&conn).is_some_and(|end| !end.inbox.is_empty()) {
                self.unheard.push(conn);
            }
        }
        self.has_more |= self.broker.has_answers() || !self.unheard.is_empty();
        self.broker.set_external_memory(self.sn.usage().memory_bytes as u64);
    }

    fn touch(&mut self, conn: Conn) {
        self.has_more = true;
        if self.dirty.last() != Some(&conn) {
            self.dirty.push(conn);
        }
    }

    fn dispatch(&mut self, now: Now, out: &mut Vec<Out>) {
        let mut deliveries = self.setup.slice;
        self.has_more = loop {
            if !self.broker.has_answers() {
                if deliveries == 0 {
                    break true;
                }
                deliveries -= 1;
            }
            if !self.dispatch_one(now, out) {
                break self.broker.next_timeout().is_some_and(|at| at <= now.mono);
            }
        };
        self.sn.settle(&mut self.broker);
    }

    fn dispatch_one(&mut self, now: Now, out: &mut Vec<Out>) -> bool {
        let Some(output) = self.broker.poll_output() else { return false };
        match output {
            Output::Send { link, packet } if link.0 & SN_LINKS != 0 => {
                let flow = self.sn.handle_outgoing(now, link, packet);
                self.broker.react(link, flow);
            }
            Output::Send { link, packet } => {
                let Some(end) = self.ends.get_mut(&link.0) else { return true };
                let (flow, must_close) = end.tell(packet, self.setup.out_high);
                self.dirty.push(link.0);
                self.broker.react(link, flow);
                if must_close {
                    self.broker.lost(now, link);
                    self.close(link.0, out);
                }
            }
            Output::Close { link, reason } if link.0 & SN_LINKS != 0 => {
                self.sn.handle_close(link, reason);
            }
            Output::Close { link, reason } => {
                if let Some(end) = self.ends.get_mut(&link.0) {
                    // Whether it was told so or not, what follows is the same.
                    let _: Sent = end.conn.close(reason, &mut end.out);
                    self.close(link.0, out);
                }
            }
            Output::SessionEnded { client_id } => self.sn.handle_session_end(client_id),
            Output::SysTick => {}
        }
        true
    }

    fn close(&mut self, conn: Conn, out: &mut Vec<Out>) {
        self.flush(conn, out);
        if self.ends.remove(&conn).is_some() {
            out.push(Out::Closed { conn });
        }
    }

    /// Hands over what waits on a connection whose client reads.
    fn flush(&mut self, conn: Conn, out: &mut Vec<Out>) {
        let Some(end) = self.ends.get_mut(&conn) else { return };
        if !end.is_read {
            return;
        }
        if !end.out.is_empty() {
            out.push(Out::Octets { conn, octets: std::mem::take(&mut end.out).into() });
        }
        if std::mem::take(&mut end.is_held) {
            self.broker.set_credit(LinkId(conn), end.credit);
            self.has_more = true;
        }
    }

    /// Hears whole packets; after CONNECT the answer leaves first.
    fn hear(&mut self, now: Now, conn: Conn, hear: Hear<'_>) {
        let Self { ends, broker, setup, .. } = self;
        let Some(end) = ends.get_mut(&conn) else { return };
        let mut inbox = std::mem::take(&mut end.inbox);
        let mut used = 0;
        let mut is_violated = false;
        while end.is_open && used < inbox.len() && end.out.len() < 4 * setup.out_high {
            let End { conn: server, out, credit, .. } = end;
            let received = server.receive(&setup.mqtt, &inbox[used..], out, |incoming| {
                if let Incoming::Connect(connect) = &incoming {
                    *credit = connect.credit;
                }
                broker.handle(now, LinkId(conn), incoming);
            });
            match received {
                Ok(Received::Packet { used: octets, kind }) => {
                    hear(conn, &inbox[used..used + octets]);
                    used += octets;
                    if kind == PacketType::Connect
                        && !std::mem::replace(&mut end.is_connected, true)
                    {
                        break;
                    }
                }
                Ok(Received::Incomplete { .. }) => break,
                Ok(Received::Ended) => used = inbox.len(),
                Err(_) => {
                    is_violated = true;
                    end.is_open = false;
                }
            }
        }
        inbox.drain(..used);
        let may_have_more = !inbox.is_empty();
        end.inbox = inbox;
        if is_violated {
            self.broker.lost(now, LinkId(conn));
            self.has_more = true;
        } else if may_have_more && used > 0 {
            self.touch(conn);
        }
    }

    /// Connections that were closed over a violation go with the next turn.
    pub(crate) fn take_violated(&mut self) -> Option<Conn> {
        let conn = self.ends.iter().find(|(_, end)| !end.is_open).map(|(conn, _)| *conn)?;
        self.ends.remove(&conn);
        Some(conn)
    }
}

impl End {
    fn tell(&mut self, packet: Outgoing<'_>, out_high: usize) -> (Flow, bool) {
        let delivery = match &packet {
            Outgoing::Publish(delivery) => Some(delivery.id),
            Outgoing::ConnAck(_)
            | Outgoing::Ack(_)
            | Outgoing::SubAck { .. }
            | Outgoing::UnsubAck { .. }
            | Outgoing::WillAck { .. }
            | Outgoing::Pong
            | Outgoing::Drained => None,
        };
        match self.conn.send(packet, &mut self.out) {
            Sent::Packet(_) => {
                self.is_held |= self.out.len() >= out_high;
                (if self.is_held { Flow::Hold } else { Flow::More }, false)
            }
            Sent::TooLarge(_) => (Flow::GiveUp(delivery.unwrap_or_default()), delivery.is_none()),
            Sent::Nothing => (Flow::More, false),
        }
    }
}
