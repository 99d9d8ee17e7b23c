//! Sensors, clients and strangers, each with its way to the machine and back.

use super::{Event, Wire, World};
use crate::sim::client::{self, Act, Client};
use crate::sim::hostile;
use crate::sim::hub::Conn;
use crate::sim::net::Way;
use crate::sim::place::Place;
use crate::sim::sensor::{self, Phase, Sensor};
use crate::sim::wire::{CLEAN, Octets, sn};

/// Time after the last fault from which on every request is answered.
const CALM_MS: u64 = 90_000;

impl World {
    pub(super) fn wake_sensor(&mut self, index: u32) {
        if self.sensors[index as usize].due == self.now {
            self.with_sensor(index, Sensor::wake);
        }
    }

    /// Lets a sensor do something, and sends what it says.
    pub(super) fn with_sensor(
        &mut self,
        index: u32,
        act: impl FnOnce(&mut Sensor, &mut sensor::Cx<'_>),
    ) {
        let is_calm = self.now > self.calm_at + CALM_MS;
        let Self { sensors, book, rng, ledger, now, sent, .. } = self;
        let sensor = &mut sensors[index as usize];
        let due = sensor.due;
        let mut cx = sensor::Cx { now: *now, is_calm, book, rng, ledger, out: sent };
        act(sensor, &mut cx);
        let (due_now, place) = (sensor.due, sensor.place);
        if due_now != due && due_now != u64::MAX {
            self.heap.plan(due_now, Event::Sensor(index));
        }
        for octets in std::mem::take(&mut self.sent) {
            self.trace(index, '>', &octets);
            self.launch(index, place, Way::Up, octets);
        }
    }

    /// The radio takes a datagram.
    pub(super) fn launch(&mut self, sensor: u32, place: Place, way: Way, octets: Octets) {
        let event = |octets| match way {
            Way::Up => Event::Up { sensor, place, octets },
            Way::Down => Event::Down { sensor, place, octets },
        };
        // A copy of a CONNECT with CleanSession that comes late is another such CONNECT, and nobody
        // can tell (docs/testing.md).
        let is_clean_connect = octets[1] == sn::CONNECT && octets[2] & CLEAN != 0 && way == Way::Up;
        let [first, second] = self.net.send(self.now, sensor, way, !is_clean_connect);
        if let Some(second) = second {
            self.heap.plan(second, event(octets.clone()));
        }
        if let Some(first) = first {
            self.heap.plan(first, event(octets));
        }
    }

    pub(super) fn tell_sensor(&mut self, index: u32, place: Place, octets: &[u8]) {
        let sensor = &self.sensors[index as usize];
        // Whoever had that address before has it no more.
        if !sensor.place.is(place) || matches!(sensor.phase, Phase::Dead | Phase::Asleep) {
            return;
        }
        self.trace(index, '<', octets);
        self.with_sensor(index, |sensor, cx| sensor.receive(octets, cx));
    }

    pub(super) fn wake_client(&mut self, index: u32) {
        if self.clients[index as usize].due == self.now {
            self.with_client(index, Client::wake);
        }
    }

    pub(super) fn with_client(
        &mut self,
        index: u32,
        act: impl FnOnce(&mut Client, &mut client::Cx<'_>),
    ) {
        // Answers may wait for a disk as long as it refuses.
        let is_prompt = self.now > self.calm_at + CALM_MS || self.hub.store().is_none();
        let is_restless = self.now < self.calm_at;
        let Self { clients, book, rng, ledger, now, offer, .. } = self;
        let client = &mut clients[index as usize];
        let due = client.due;
        let mut acts = Vec::new();
        let acts_of = &mut acts;
        let now = *now;
        let mut cx =
            client::Cx { now, is_prompt, is_restless, offer, book, rng, ledger, acts: acts_of };
        act(client, &mut cx);
        let due_now = client.due;
        if due_now != due {
            self.heap.plan(due_now, Event::Client(index));
        }
        for act in acts {
            match act {
                Act::Open => self.open(Some(index)),
                Act::Send(octets) => {
                    if let Some(conn) = self.conns[index as usize] {
                        self.trace(self.book.sensors + index, '>', &octets);
                        self.send_pieces(conn, &octets);
                    }
                }
                Act::Vanish => {
                    if let Some(conn) = self.conns[index as usize].take() {
                        let at = self.arrival(conn, 0, 0);
                        self.heap.plan(at, Event::HubLost(conn));
                    }
                }
            }
        }
    }

    /// A connection, of a client or of a stranger.
    pub(super) fn open(&mut self, client: Option<u32>) {
        self.last_conn += 1;
        let conn = self.last_conn;
        let (latest, unread_since, is_read) = ([self.now; 2], None, true);
        self.wires.insert(conn, Wire { client, latest, unread_since, is_read });
        if let Some(index) = client {
            self.conns[index as usize] = Some(conn);
        }
        if self.is_down {
            let at = self.arrival(conn, 1, 0);
            self.heap.plan(at, Event::ClientLost(conn));
        } else {
            self.hub.open(conn);
        }
    }

    /// When octets arrive that way; a stream keeps its order.
    pub(super) fn arrival(&mut self, conn: Conn, way: usize, jitter_ms: u64) -> u64 {
        let at = self.now + self.tcp_delay_ms + jitter_ms;
        let Some(wire) = self.wires.get_mut(&conn) else { return at };
        wire.latest[way] = wire.latest[way].max(at);
        wire.latest[way]
    }

    /// A stream comes in pieces, which need not be packets [MQTT-7.1.1-1].
    pub(super) fn send_pieces(&mut self, conn: Conn, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            let splits = self.is_small && self.rng.u32(..8) == 0;
            let length = if splits { self.rng.usize(1..=rest.len()) } else { rest.len() };
            let (piece, after) = rest.split_at(length);
            let jitter_ms = if splits { self.rng.u64(..20) } else { 0 };
            let at = self.arrival(conn, 0, jitter_ms);
            self.heap.plan(at, Event::ToHub { conn, octets: piece.into() });
            rest = after;
        }
    }

    pub(super) fn tell_client(&mut self, conn: Conn, octets: &[u8]) {
        let Some(index) = self.wires.get(&conn).and_then(|wire| wire.client) else { return };
        if self.conns[index as usize] == Some(conn) {
            self.trace(self.book.sensors + index, '<', octets);
            self.with_client(index, |client, cx| client.receive(octets, cx));
            self.check_session_present(index);
        }
    }

    fn check_session_present(&mut self, index: u32) {
        let Some(is_present) = self.clients[index as usize].session_present.take() else { return };
        let Some(expected) = self.streams[index as usize].is_resumed else { return };
        let party = self.book.sensors + index;
        let what = "CONNACK says the wrong thing about the session";
        self.ledger.check(party, is_present == expected, what);
    }

    /// The machine has closed a connection, or the network did, and the client sees it.
    pub(super) fn lose_at_client(&mut self, conn: Conn) {
        let Some(wire) = self.wires.get(&conn) else { return };
        if let Some(index) = wire.client
            && self.conns[index as usize] == Some(conn)
        {
            self.conns[index as usize] = None;
            self.with_client(index, Client::lose);
        }
    }

    /// A stranger says something, and will again until calm begins.
    pub(super) fn wake_stranger(&mut self, device: u32) {
        if self.now >= self.calm_at {
            return;
        }
        let pause = if self.rng.u32(..4) == 0 { 3_000 } else { 200 };
        self.heap.plan(self.now + self.rng.u64(1..=pause), Event::Stranger(device));
        if self.rng.u32(..10) == 0 {
            self.faults.bad_streams += 1;
            let stream = hostile::stream(&mut self.rng, device);
            self.open(None);
            let conn = self.last_conn;
            self.send_pieces(conn, &stream);
            let at = self.arrival(conn, 0, 5_000);
            self.heap.plan(at, Event::HubLost(conn));
            return;
        }
        self.faults.bad_datagrams += 1;
        let nodes_max = self.setup.sn.nodes_per_forwarder;
        let octets = hostile::datagram(&mut self.rng, device, nodes_max);
        let from = hostile::address(device, self.rng.u16(..2));
        if self.is_down {
            return;
        }
        self.strangers.heard(device, &octets);
        let is_group = self.rng.u32(..4) == 0;
        self.hear_datagram(from, is_group, &octets);
    }
}
