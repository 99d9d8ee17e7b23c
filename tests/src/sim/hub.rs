//! The machine under test: broker, connections and MQTT-SN gateway, driven as the server's loop
//! drives them, with octets in and octets out.
//!
//! What the server does around sockets is done here around buffers: the order of the phases, the
//! slice of deliveries in a turn, links that are held when too much waits on them, CONNECT answered
//! before what came along with it is heard, changes that go to the store before anything leaves.
//! With a store it can be ended at any point of that, and begins again with what its disk has.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use broker_core::Broker;
use broker_core::api::{Credit, Flow, Incoming, LinkId, Lsn, Outgoing, Output};
use broker_core::journal::{Journal, RecordKey};
use broker_core::limits::BrokerConfig;
use broker_core::mqtt::{self, PacketType, Received, Sent, ServerConn};
use broker_core::time::Now;
use fastrand::Rng;
use mqtt_sn_gw::config::OnDiskFull;
use mqtt_sn_gw::kept::{self, Restoring};
use mqtt_sn_gw::sn::{self, Datagram, Destination, LocalAddress, PortId, SnGateway, Transmit};
use mqtt_sn_gw::store::testing::{Death, SimDisk};
use mqtt_sn_gw::store::{Health, OpenError};

use super::harm::{Harm, Served};
use super::moments::Moments;
use super::plant::{self, Fault};
use super::plant5;
use super::store::{Drive, Records, Store};
use super::wire::Octets;

/// Links of the MQTT-SN gateway carry this.
const SN_LINKS: u64 = 1 << 63;

/// Outputs of a machine that nobody talks to, in one turn.
const GO_ON_MAX: u32 = 10_000;

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
    Datagram {
        to: SocketAddr,
        octets: Octets,
    },
    /// To all who listen to the group.
    Groups {
        octets: Octets,
    },
    Octets {
        conn: Conn,
        octets: Octets,
    },
    Closed {
        conn: Conn,
    },
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
    /// How the machine was told that the store is.
    health: Health,
    /// The latest turn whose answers did not wait for the disk.
    open_turn: u64,
    moments: Moments,
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
            health: Health::Ok,
            open_turn: 0,
            moments: Moments::new(),
            rng,
            fault,
            deleted: Records::new(),
            too_large: 0,
        };
        hub.open_store().expect("an empty disk that works");
        hub
    }

    /// Other settings between two turns, as `gateway/src/server/reload.rs` applies them. What is a
    /// process's own stays. Returns whether the predefined topics were taken.
    pub(crate) fn reload(&mut self, now: Now, setup: Setup) -> bool {
        self.broker.reconfigure(now, setup.broker.clone());
        self.broker.set_queue_limits(setup.mqtt.queue, setup.sn.queue);
        let is_taken = self.sn.set_settings(now, setup.sn.clone());
        let broker = BrokerConfig { seed: self.setup.broker.seed, ..setup.broker };
        self.setup = Setup { broker, ..setup };
        self.has_more = true;
        is_taken
    }

    fn open_store(&mut self) -> Result<(), OpenError> {
        if let Some(drive) = self.setup.drive {
            let store = Store::open(&self.disk, drive, self.rng.fork(), self.fault)?;
            self.store = Some(store);
            self.changes.clear();
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
        let Some(store) = &mut self.store else { return true };
        let (is_safe, changes) = store.close(upto);
        self.moments.note(upto, &changes);
        self.hear_store();
        is_safe
    }

    /// A new process begins, with what is on the disk.
    pub(crate) fn boot(&mut self, now: Now) -> Result<(), BootError> {
        self.open_store().map_err(|error| match error {
            OpenError::Io(_) => BootError::Disk,
            OpenError::Newer { .. } | OpenError::Damaged { .. } | OpenError::Missing { .. } => {
                BootError::Broken(error.to_string())
            }
        })?;
        self.setup.broker.seed += 1;
        self.too_large = 0;
        (self.broker, self.sn) = machines(&self.setup, now);
        self.has_more = true;
        self.unsafe_turns.clear();
        self.health = Health::Ok;
        let Some(store) = &mut self.store else { return Ok(()) };
        let mut records = store.records().map_err(|error| BootError::Broken(error.to_string()))?;
        if !self.moments.may_be_left(&records) {
            let what = "the records are those of no moment since the last that was safe";
            return Err(BootError::Broken(what.to_owned()));
        }
        self.moments.go_on(&records);
        if let Some(fault) = self.fault {
            let keys: Vec<RecordKey> = records.iter().map(|(key, _)| *key).collect();
            plant::spoil(fault, &mut records, &self.deleted, &mut self.rng);
            // What is forgotten is not left behind either.
            let mut journal = Journal::default();
            let is_there = |key: &RecordKey| records.iter().any(|(it, _)| it == key);
            keys.into_iter().filter(|key| !is_there(key)).for_each(|key| journal.delete(key));
            journal.drain_into(&mut self.changes);
        }
        let Self { broker, sn, changes, .. } = self;
        let dangling = restore(&records, now, broker, sn, changes).map_err(BootError::Broken)?;
        broker.set_queue_limits(self.setup.mqtt.queue, self.setup.sn.queue);
        if dangling > 0 && self.fault.is_none() {
            return Err(BootError::Broken(format!("{dangling} records refer to nothing")));
        }
        Ok(())
    }

    /// Whether something was answered that a crash would undo, as the disk took nothing.
    pub(crate) fn is_exposed(&self) -> bool {
        self.safe_turn() < self.open_turn
    }

    /// The disk is another one: what was kept is gone.
    pub(crate) fn wipe(&mut self) {
        self.disk.wipe();
        self.moments.go_on(&[]);
    }

    /// What would be served if this happened to the disk now; `None`: nothing is kept.
    ///
    /// # Errors
    /// What is wrong with that, in words.
    pub(crate) fn check_harm(&mut self, now: Now) -> Result<Option<(Harm, bool)>, String> {
        let Some(drive) = self.setup.drive else { return Ok(None) };
        let Some(harm) = Harm::draw(&self.disk, &mut self.rng) else { return Ok(None) };
        let served = harm.check(&self.disk, drive.log, &self.moments, self.fault);
        let Served { records, is_salvaged } = served.map_err(|what| format!("{harm}: {what}"))?;
        let (mut broker, mut sn) = machines(&self.setup, now);
        let restored = restore(&records, now, &mut broker, &mut sn, &mut Vec::new());
        let dangling = restored.map_err(|what| format!("{harm}: {what}"))?;
        if dangling > 0 && !is_salvaged {
            return Err(format!("{harm}: {dangling} records refer to nothing"));
        }
        go_on(&mut broker, &mut sn, now);
        Ok(Some((harm, is_salvaged)))
    }

    /// A process that has this disk begins and ends, and nobody hears of it.
    ///
    /// # Errors
    /// Why it does not begin.
    pub(crate) fn check_start(&mut self, now: Now) -> Result<(), BootError> {
        let copy = self.disk.copy();
        let disk = std::mem::replace(&mut self.disk, copy);
        let booted = self.boot(now);
        if booted.is_ok() {
            go_on(&mut self.broker, &mut self.sn, now);
        }
        self.store = None;
        self.disk = disk;
        booted
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

    /// No sync comes to its end before.
    pub(crate) fn hang(&mut self, until: u64) {
        self.store.iter_mut().for_each(|store| store.hang(until));
    }

    /// From now on the disk takes no time.
    pub(crate) fn hurry(&mut self) {
        self.store.iter_mut().for_each(Store::hurry);
    }

    /// A datagram, which came through the group or not.
    pub(crate) fn datagram(
        &mut self,
        now: Now,
        from: SocketAddr,
        group: Option<SocketAddr>,
        octets: &[u8],
    ) {
        let to = LocalAddress::default();
        let datagram = Datagram { port: PortId(0), from, to, group, octets };
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
        let (Some(store), Some(drive)) = (&self.store, self.setup.drive) else { return };
        let (upto, health) = store.told();
        // What came since the last turn was answered as the store was then.
        let is_open = |health| drive.on_disk_full == OnDiskFull::Degrade && health != Health::Ok;
        if is_open(self.health) || is_open(health) {
            self.open_turn = self.turn_number();
        }
        self.health = health;
        kept::hear_store((upto, health), drive.on_disk_full, &mut self.broker, &mut self.sn);
        self.moments.is_safe(store.committed());
        while self.unsafe_turns.front().is_some_and(|(_, lsn)| *lsn <= upto) {
            self.unsafe_turns.pop_front();
        }
    }

    /// The second part: the changes of the turn go to the store.
    pub(crate) fn keep(&mut self) {
        self.turns += 1;
        let Self { broker, sn, store, changes, unsafe_turns, turns, .. } = self;
        let Some(store) = store else { return };
        let mut changes = std::mem::take(changes);
        let upto = kept::take_changes(broker, sn, &mut changes);
        if !changes.is_empty() {
            unsafe_turns.push_back((*turns, upto));
        }
        let buries = [Fault::ForgetDeletions, Fault::ForgetWillChanges];
        if let Some(fault) = self.fault.filter(|fault| buries.contains(fault)) {
            plant::bury(fault, &changes, &mut self.deleted);
        }
        self.moments.note(upto, &changes);
        store.submit(upto, changes);
    }

    /// What the store and the machine tell of each other has to fit. Returns what does not.
    pub(crate) fn check_store(&mut self) -> Result<(), &'static str> {
        let (Some(store), Some(drive)) = (&mut self.store, self.setup.drive) else { return Ok(()) };
        store.check()?;
        let is_well = self.health == Health::Ok;
        let waits = self.broker.usage().answers_waiting > 0;
        let word = kept::health_word(Some(self.health), drive.on_disk_full);
        match drive.on_disk_full {
            OnDiskFull::Degrade if !is_well && waits => Err("an answer waits for a disk in vain"),
            OnDiskFull::Degrade if is_well == (word == "degraded") => Err("the wrong word is told"),
            OnDiskFull::Refuse if word == "degraded" => Err("the wrong word is told"),
            OnDiskFull::Degrade | OnDiskFull::Refuse => Ok(()),
        }
    }

    /// The last part: what was decided leaves.
    pub(crate) fn write(&mut self, out: &mut Vec<Out>) {
        while let Some(Transmit { to, octets, .. }) = self.sn.poll_transmit() {
            let octets = octets.into();
            out.push(match to {
                Destination::One { to, .. } => Out::Datagram { to, octets },
                Destination::Groups => Out::Groups { octets },
            });
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

/// Brings records back; returns how many of them refer to nothing.
fn restore(
    records: &Records,
    now: Now,
    broker: &mut Broker,
    sn: &mut SnGateway,
    changes: &mut Vec<u8>,
) -> Result<u64, String> {
    let mut restoring = Restoring::default();
    for (key, value) in records {
        let taken = restoring.take(now, (*key, value), broker, sn);
        taken.map_err(|error| error.to_string())?;
    }
    Ok(restoring.finish(now, broker, sn, changes).dangling)
}

/// A machine that nobody talks to, for some days.
fn go_on(broker: &mut Broker, sn: &mut SnGateway, mut now: Now) {
    for wait_s in [0, 60, 86_400, 8 * 86_400] {
        now.mono = now.mono + Duration::from_secs(wait_s);
        now.unix.0 += wait_s * 1_000;
        broker.handle_timeout(now);
        sn.handle_timeout(now, broker);
        for _ in 0..GO_ON_MAX {
            let Some(output) = broker.poll_output() else { break };
            match output {
                Output::Send { link, packet } => {
                    let flow = sn.handle_outgoing(now, link, packet);
                    broker.react(link, flow);
                }
                Output::Close { link, reason } => sn.handle_close(link, reason),
                Output::SessionEnded { client_id } => sn.handle_session_end(client_id),
                Output::SysTick => {}
            }
        }
        sn.settle(broker);
        sn.check_invariants();
        while sn.poll_transmit().is_some() {}
    }
}

fn machines(setup: &Setup, now: Now) -> (Broker, SnGateway) {
    let broker = Broker::new(setup.broker.clone(), now);
    let sn = SnGateway::new(setup.sn.clone(), SN_LINKS, now, setup.broker.seed ^ 1);
    (broker, sn)
}

impl End {
    fn tell(&mut self, packet: Outgoing<'_>, out_high: usize) -> (Flow, bool) {
        let delivery_id = packet.delivery_id();
        match self.conn.send(packet, &mut self.out) {
            Sent::Packet(_) => {
                self.is_held |= self.out.len() >= out_high;
                (if self.is_held { Flow::Hold } else { Flow::More }, false)
            }
            Sent::TooLarge(_) => {
                (Flow::GiveUp(delivery_id.unwrap_or_default()), delivery_id.is_none())
            }
            Sent::Nothing => (Flow::More, false),
        }
    }
}
