//! The machine's door: what goes in and what comes out, past the watches.

use super::{Event, World};
use crate::sim::hostile;
use crate::sim::hub::{Conn, Out};
use crate::sim::net::Way;
use crate::sim::plant::Up;
use crate::sim::sensor::Place;
use crate::sim::watch;
use crate::sim::wire::{first_packet, mqtt};

/// The least time for which a client that is awake is waited for, and a bit less: a REGISTER that
/// waits for the disk for longer comes with the next visit.
const HELD_UP_MS: u64 = 900;

impl World {
    pub(super) fn hear_sensor(&mut self, sensor: u32, place: Place, octets: &[u8]) {
        if self.is_down {
            return;
        }
        self.with_watch(sensor, place, |watch, cx| watch.heard(octets, cx));
        self.hub.broker.stats_mut().packets_received += 1;
        match self.plant.up(sensor, octets) {
            Up::Pass => self.hub.datagram(self.clock(), place.address(sensor), octets),
            Up::Instead { octets, answers } => {
                if let Some(octets) = octets {
                    self.hub.datagram(self.clock(), place.address(sensor), &octets);
                }
                let to = place.address(sensor);
                let outs = answers.into_iter().map(|octets| Out::Datagram { to, octets });
                self.out.extend(outs);
            }
        }
    }

    fn with_watch(
        &mut self,
        sensor: u32,
        place: Place,
        look: impl FnOnce(&mut watch::Watch, &mut watch::Cx<'_>),
    ) {
        let dropped = self.done().dropped;
        let is_held_up = self.unsafe_for_ms() >= HELD_UP_MS;
        let Self { now, book, ledger, watches, visit_ms, .. } = self;
        let visit_ms = *visit_ms;
        let now = *now;
        let mut cx = watch::Cx { now, sensor, place, book, ledger, dropped, visit_ms, is_held_up };
        look(&mut watches[sensor as usize], &mut cx);
    }

    pub(super) fn hear_client(&mut self, conn: Conn, octets: &[u8]) {
        let now = self.clock();
        let Self { hub, wires, streams, ledger, book, heard_on, .. } = self;
        hub.octets(now, conn, octets, &mut |conn, packet| {
            if let Some(index) = wires.get(&conn).and_then(|wire| wire.client) {
                if packet[0] >> 4 == mqtt::CONNECT {
                    heard_on.insert(index, conn);
                }
                streams[index as usize].heard(book.sensors + index, packet, ledger, book);
            }
        });
        while let Some(conn) = self.hub.take_violated() {
            self.closed(conn);
        }
    }

    pub(super) fn lose_at_hub(&mut self, conn: Conn) {
        self.hub.lost(self.clock(), conn);
        self.stream_ended(conn);
        self.wires.remove(&conn);
    }

    fn stream_ended(&mut self, conn: Conn) {
        let Self { wires, streams, ledger, book, heard_on, .. } = self;
        let Some(index) = wires.get(&conn).and_then(|wire| wire.client) else { return };
        // Another connection of the client may have the session already, or not yet.
        if heard_on.get(&index) == Some(&conn) {
            streams[index as usize].ended(book.sensors + index, ledger);
        }
    }

    /// The machine has closed a connection.
    pub(super) fn closed(&mut self, conn: Conn) {
        self.stream_ended(conn);
        let at = self.arrival(conn, 1, 0);
        self.heap.plan(at, Event::ClientLost(conn));
    }

    /// Packets leave for a client.
    fn note_said(&mut self, conn: Conn, octets: &[u8]) {
        let Self { wires, streams, ledger, book, .. } = self;
        let Some(index) = wires.get(&conn).and_then(|wire| wire.client) else { return };
        let mut rest = octets;
        while let Some((whole, _)) = first_packet(rest) {
            streams[index as usize].said(book.sensors + index, whole, ledger, book);
            rest = &rest[whole.len()..];
        }
    }

    pub(super) fn put_out(&mut self, out: Out) {
        match out {
            Out::Datagram { to, octets } => {
                if let Some((sensor, place)) = Place::of(to).filter(|it| it.0 < self.book.sensors) {
                    self.with_watch(sensor, place, |watch, cx| watch.said(&octets, cx));
                    self.launch(sensor, place, Way::Down, octets);
                } else if let Some(device) = hostile::of(to) {
                    if let Err(what) = self.strangers.told(device, self.now, &octets) {
                        self.ledger.violation(0, what);
                    }
                    self.ledger.stats.checks += 1;
                } else {
                    self.ledger.violation(0, "a datagram left for nobody");
                }
            }
            Out::Octets { conn, octets } => {
                self.note_said(conn, &octets);
                let at = self.arrival(conn, 1, 0);
                self.heap.plan(at, Event::FromHub { conn, octets });
            }
            Out::Closed { conn } => self.closed(conn),
        }
    }
}
