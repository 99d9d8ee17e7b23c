//! The machine under test: broker, connections and MQTT-SN gateway, driven as the server's loop
//! drives them, with octets in and octets out.
//!
//! What the server does around sockets is done here around buffers: the order of the phases, the
//! slice of deliveries in a turn, links that are held when too much waits on them, CONNECT answered
//! before what came along with it is heard, changes that go to the store before anything leaves.
//! With a store it can be ended at any point of that, and begins again with what its disk has.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use broker_core::Broker;
use broker_core::api::{Credit, Flow, Incoming, LinkId, Lsn, Outgoing, Output};
use broker_core::journal::{Journal, RecordKey};
use broker_core::limits::BrokerConfig;
use broker_core::mqtt::{self, PacketType, Received, Sent, ServerConn};
use broker_core::time::Now;
use fastrand::Rng;
use mqtt_sn_gw::sn::{self, Datagram, Destination, LocalAddress, PortId, SnGateway, Transmit};
use mqtt_sn_gw::store::OpenError;

use super::disk::{Death, SimDisk};
use super::plant::{self, Fault, Records};
use super::plant5;
use super::store::{self, Drive, Store};
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
    /// What the state is kept on; `None`: it ends with the process.
    pub(crate) drive: Option<Drive>,
}

/// Why the machine does not begin.
#[derive(Debug)]
pub(crate) enum BootError {
    /// The disk refuses just now.
    Disk,
    /// It cannot read what it has written.
    Broken(String),
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
    store: Option<Store>,
    pub(crate) disk: SimDisk,
    /// Changes that go to the store with those of the turn.
    changes: Vec<u8>,
    /// Turns whose changes were handed over.
    turns: u64,
    /// Those of them that are not known to be safe, with the numbers that will tell.
    unsafe_turns: VecDeque<(u64, Lsn)>,
    rng: Rng,
    fault: Option<Fault>,
    /// Records that were deleted, for a fault that brings them back.
    deleted: Records,
    /// Messages that were larger than a client of MQTT 5.0 takes, in this process.
    pub(crate) too_large: u64,
}

impl Hub {
    pub(crate) fn new(setup: Setup, now: Now, mut rng: Rng, fault: Option<Fault>) -> Self {
        let (broker, sn) = machines(&setup, now);
        let disk = SimDisk::new(rng.fork());
        let mut hub = Self {
            broker,
            sn,
            setup,
            ends: BTreeMap::new(),
            dirty: Vec::new(),
            unheard: Vec::new(),
            has_more: true,
            store: None,
            disk,
            changes: Vec::new(),
            turns: 0,
            unsafe_turns: VecDeque::new(),
            rng,
            fault,
            deleted: Records::new(),
            too_large: 0,
        };
        hub.open_store().expect("an empty disk that works");
        hub
    }

    fn open_store(&mut self) -> Result<(), OpenError> {
        if let Some(drive) = self.setup.drive {
            let store = Store::open(&self.disk, drive, self.rng.fork(), self.fault)?;
            self.store = Some(store);
            // From here on an end is not in order until it was.
            let mut journal = Journal::default();
            journal.delete(store::CLEAN_END);
            self.changes.clear();
            journal.drain_into(&mut self.changes);
        }
        Ok(())
    }

    /// The process ends at this point, whatever was to come next; [`Hub::boot`] begins a new one.
    pub(crate) fn end(&mut self, death: Death) {
        self.store = None;
        self.disk.end(death);
        self.ends.clear();
        self.dirty.clear();
        self.unheard.clear();
    }

    /// The process ends in order, as `gateway/src/server/stop.rs` has it: what is said last goes to
    /// `out`. Returns whether everything is safe.
    pub(crate) fn stop(&mut self, now: Now, out: &mut Vec<Out>) -> bool {
        self.keep();
        if let Some(store) = &mut self.store {
            store.drain();
        }
        self.hear_store();
        self.dispatch(now, out);
        self.sn.shut_down();
        self.write(out);
        let conns: Vec<Conn> = self.ends.keys().copied().collect();
        for conn in conns {
            self.close(conn, out);
        }
        self.keep();
        let upto = Lsn(self.broker.lsn().0 + 1);
        let is_safe = self.store.as_mut().is_none_or(|store| store.close(upto));
        self.hear_store();
        is_safe
    }

    /// A new process begins, with what is on the disk.
    pub(crate) fn boot(&mut self, now: Now) -> Result<(), BootError> {
        self.open_store().map_err(|error| match error {
            OpenError::Io(_) => BootError::Disk,
            OpenError::Newer { .. } | OpenError::Damaged { .. } => {
                BootError::Broken(error.to_string())
            }
        })?;
        self.setup.broker.seed += 1;
        self.too_large = 0;
        (self.broker, self.sn) = machines(&self.setup, now);
        self.has_more = true;
        self.unsafe_turns.clear();
        let Some(store) = &mut self.store else { return Ok(()) };
        let mut records = store.records().map_err(|error| BootError::Broken(error.to_string()))?;
        if let Some(fault) = self.fault {
            let keys: Vec<RecordKey> = records.iter().map(|(key, _)| *key).collect();
            plant::spoil(fault, &mut records, &self.deleted, &mut self.rng);
            // What is forgotten is not left behind either.
            let mut journal = Journal::default();
            let is_there = |key: &RecordKey| records.iter().any(|(it, _)| it == key);
            keys.into_iter().filter(|key| !is_there(key)).for_each(|key| journal.delete(key));
            journal.drain_into(&mut self.changes);
        }
        let mut was_clean = false;
        for (key, value) in records {
            let taken = match key.table() {
                0..0x80 => self.broker.restore(now, key, &value),
                0x80..0xF0 => self.sn.restore(now, key, &value),
                _ => {
                    was_clean |= key == store::CLEAN_END;
                    Ok(())
                }
            };
            taken.map_err(|error| BootError::Broken(error.to_string()))?;
        }
        self.sn.finish_restore(now, &mut self.broker);
        let report = self.broker.finish_restore(now, was_clean);
        if report.dangling > 0 && self.fault.is_none() {
            let what = format!("{} records refer to nothing", report.dangling);
            return Err(BootError::Broken(what));
        }
        Ok(())
    }

    /// The number of the turn that is going on.
    pub(crate) const fn turn_number(&self) -> u64 {
        self.turns + 1
    }

    /// The latest turn whose changes were told to be safe, and all before it.
    pub(crate) fn safe_turn(&self) -> u64 {
        self.unsafe_turns.front().map_or(self.turns, |(turn, _)| turn - 1)
    }

    pub(crate) const fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// From now on the disk takes no time.
    pub(crate) fn hurry(&mut self) {
        self.store.iter_mut().for_each(Store::hurry);
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
        let next = self.broker.next_timeout().into_iter().chain(self.sn.next_timeout()).min();
        let next = next.map(|at| at.as_micros().div_ceil(1_000));
        let store = self.store.as_ref().and_then(Store::next_timeout);
        next.into_iter().chain(store).min().map(|at| at.max(now))
    }

    /// A whole turn.
    pub(crate) fn turn(&mut self, now: Now, out: &mut Vec<Out>, hear: Hear<'_>) {
        self.decide(now, out, hear);
        self.keep();
        self.write(out);
    }

    /// The first part of a turn: does what is due and decides a slice of what there is to say. The
    /// machine may go off while it works on the disk.
    pub(crate) fn decide(&mut self, now: Now, out: &mut Vec<Out>, hear: Hear<'_>) {
        if let Some(store) = &mut self.store {
            store.run(now.mono.as_micros() / 1_000);
        }
        if self.disk.is_dead() {
            return;
        }
        self.hear_store();
        for conn in std::mem::take(&mut self.unheard) {
            self.hear(now, conn, hear);
        }
        self.broker.handle_timeout(now);
        self.sn.handle_timeout(now, &mut self.broker);
        self.dispatch(now, out);
    }

    /// What was safe by now is told.
    fn hear_store(&mut self) {
        let Some(store) = &self.store else { return };
        let upto = store.committed();
        self.broker.committed(upto);
        self.sn.committed(upto);
        self.broker.set_refusing(store.is_refusing());
        while self.unsafe_turns.front().is_some_and(|(_, lsn)| *lsn <= upto) {
            self.unsafe_turns.pop_front();
        }
    }

    /// The second part: the changes of the turn go to the store.
    pub(crate) fn keep(&mut self) {
        self.turns += 1;
        let Self { broker, sn, store, changes, unsafe_turns, turns, .. } = self;
        let Some(store) = store else { return };
        if sn.has_changes() {
            broker.note_change();
        }
        let mut changes = std::mem::take(changes);
        let upto = broker.take_journal(&mut changes);
        sn.take_journal(&mut changes, upto);
        if !changes.is_empty() {
            unsafe_turns.push_back((*turns, upto));
        }
        if self.fault == Some(Fault::ForgetDeletions) {
            plant::bury(&changes, &mut self.deleted);
        }
        store.submit(upto, changes);
    }

    /// The last part: what was decided leaves.
    pub(crate) fn write(&mut self, out: &mut Vec<Out>) {
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
                self.too_large += u64::from(matches!(flow, Flow::GiveUp(_)));
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
        let Self { ends, broker, setup, fault, .. } = self;
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
                plant5::hear(*fault, incoming, |incoming| {
                    broker.handle(now, LinkId(conn), incoming);
                });
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

fn machines(setup: &Setup, now: Now) -> (Broker, SnGateway) {
    let broker = Broker::new(setup.broker.clone(), now);
    let sn = SnGateway::new(setup.sn.clone(), SN_LINKS, now, setup.broker.seed ^ 1);
    (broker, sn)
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
