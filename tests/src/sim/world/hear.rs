//! The machine's door: what goes in and what comes out, past the watches.

use std::net::SocketAddr;

use super::{Event, World};
use crate::sim::book::Party;
use crate::sim::discovery::{self, Asker};
use crate::sim::features::Feature;
use crate::sim::hostile;
use crate::sim::hub::{Conn, Out};
use crate::sim::net::Way;
use crate::sim::place::{self, Letter, Place};
use crate::sim::plant::Up;
use crate::sim::sensor::asks_group;
use crate::sim::twin;
use crate::sim::watch;
use crate::sim::wire::{first_packet, sn, split};

/// The least time for which a client that is awake is waited for, and a bit less: a REGISTER that
/// waits for the disk for longer comes with the next visit.
pub(super) const HELD_UP_MS: u64 = 900;

impl World {
    pub(super) fn hear_sensor(&mut self, sensor: u32, place: Place, octets: &[u8]) {
        if self.is_down {
            return;
        }
        self.note_owner(sensor, place);
        self.with_watch(sensor, place, |watch, cx| watch.heard(octets, cx));
        self.note_sleep(sensor);
        self.hub.broker.stats_mut().packets_received += 1;
        match self.plant.up(sensor, place, octets, &self.book) {
            Up::Pass => self.submit(sensor, place, octets),
            Up::Instead { octets, answers } => {
                if let Some(octets) = octets {
                    self.submit(sensor, place, &octets);
                }
                let to = place.address(sensor);
                let wrap = |octets| place.wrap(sensor, octets, 0, &self.book);
                let answers = answers.into_iter().map(wrap);
                self.out.extend(answers.map(|octets| Out::Datagram { to, octets }));
            }
            Up::As { sensor, place } => self.submit(sensor, place, octets),
        }
    }

    /// The machine hears a message of a sensor, wrapped by its forwarder if it is behind one.
    fn submit(&mut self, sensor: u32, place: Place, octets: &[u8]) {
        let datagram = place.wrap(sensor, octets.into(), 0, &self.book);
        let is_node = place.via.is_some();
        if is_node {
            self.ledger.features.count(Feature::NodeHeard);
        }
        let is_search = matches!(split(octets), Some((sn::SEARCHGW, _)));
        let is_group = is_search && !is_node && asks_group(sensor);
        self.hear_datagram(place.address(sensor), is_group, &datagram);
    }

    /// The machine hears a datagram, through the group or not.
    pub(super) fn hear_datagram(&mut self, from: SocketAddr, is_group: bool, octets: &[u8]) {
        let (node, message) = match place::open_from(octets) {
            Some(letter) => (letter.node.to_vec(), letter.message),
            None => (Vec::new(), octets),
        };
        // Only its forwarder can pass an answer on to a node.
        let is_group = is_group && node.is_empty();
        let is_trusted = node.is_empty() || hostile::may_forward(from) || place::is_forwarder(from);
        if is_trusted {
            self.discovery.heard(self.now, Asker { from, node, is_group }, message);
        }
        let group = is_group.then(discovery::group);
        self.hub.datagram(self.clock(), from, group, octets);
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
        let Self { hub, wires, streams, ledger, book, .. } = self;
        hub.octets(now, conn, octets, &mut |conn, packet| {
            if let Some(index) = wires.get(&conn).and_then(|wire| wire.client) {
                streams[index as usize].heard(book.sensors + index, conn, packet, ledger, book);
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
        let Self { wires, streams, ledger, book, .. } = self;
        let Some(index) = wires.get(&conn).and_then(|wire| wire.client) else { return };
        // Another connection of the client may have the session already.
        let stream = &mut streams[index as usize];
        if stream.has(conn) {
            stream.ended(book.sensors + index, ledger);
        }
    }

    /// The machine has closed a connection.
    pub(super) fn closed(&mut self, conn: Conn) {
        let Self { wires, streams, ledger, book, .. } = self;
        if let Some((index, wire)) = wires.get(&conn).and_then(|wire| Some((wire.client?, wire))) {
            let is_read = wire.unread_since.is_none();
            streams[index as usize].closed(book.sensors + index, conn, is_read, ledger);
        }
        self.stream_ended(conn);
        let at = self.arrival(conn, 1, 0);
        self.heap.plan(at, Event::ClientLost(conn));
    }

    /// Packets leave for a client.
    fn note_said(&mut self, conn: Conn, octets: &[u8]) {
        let Self { wires, streams, ledger, book, .. } = self;
        let Some(wire) = wires.get_mut(&conn) else { return };
        let Some(index) = wire.client else { return };
        let since = wire.unread_since.unwrap_or(ledger.now);
        let mut rest = octets;
        while let Some((whole, _)) = first_packet(rest) {
            let stream = &mut streams[index as usize];
            stream.said(book.sensors + index, [conn, since], whole, ledger, book);
            rest = &rest[whole.len()..];
        }
        if wire.is_read {
            wire.unread_since = None;
        }
    }

    /// A message leaves for a sensor; a forwarder unwraps it.
    fn tell(&mut self, sensor: u32, place: Place, letter: Letter<'_>) {
        let message = letter.message;
        self.note_question(sensor, message);
        let is_node = place.via.is_some();
        let feature = if is_node { Feature::NodeAnswered } else { Feature::AskerAnswered };
        self.check_radius(sensor, place.address(sensor), letter, feature);
        self.with_watch(sensor, place, |watch, cx| watch.said(message, cx));
        self.launch(sensor, place, Way::Down, message.into());
    }

    /// A datagram leaves for one who means no good.
    fn tell_stranger(&mut self, device: u32, to: SocketAddr, octets: &[u8]) {
        let letter = place::open(octets);
        let letter = letter.unwrap_or(Letter { radius: 0, node: &[], message: octets });
        self.check_radius(0, to, letter, Feature::StrangerAnswered);
        if let Err(what) = self.strangers.told(device, self.now, octets) {
            self.ledger.violation(0, what);
        }
        self.ledger.stats.checks += 1;
    }

    /// Only GWINFO is for all around a forwarder, and goes to whoever has asked.
    fn check_radius(&mut self, party: Party, to: SocketAddr, letter: Letter<'_>, answer: Feature) {
        let Letter { radius, node, message } = letter;
        if let Some((sn::GWINFO, _)) = split(message) {
            let is_right = self.discovery.told(self.now, to, node, radius, message);
            self.check_discovery(is_right, answer);
        } else {
            self.ledger.check(party, radius == 0, "a forwarder is asked to broadcast");
        }
    }

    fn check_discovery(&mut self, is_right: Result<(), &'static str>, feature: Feature) {
        self.ledger.features.count(feature);
        self.ledger.check(0, is_right.is_ok(), is_right.err().unwrap_or_default());
    }

    /// Something leaves for all who can hear it and want to.
    fn broadcast(&mut self, octets: &[u8]) {
        for index in 0..self.sensors.len() {
            let sensor = &self.sensors[index];
            let place = sensor.place;
            if place.via.is_none() && sensor.is_searching() {
                self.launch(sensor.index, place, Way::Down, octets.into());
            }
        }
    }

    pub(super) fn put_out(&mut self, out: Out) {
        match out {
            Out::Groups { octets } => {
                let is_right = self.discovery.advertised(self.now, &octets);
                self.check_discovery(is_right, Feature::Advertised);
                self.broadcast(&octets);
            }
            Out::Datagram { to, octets } if to == discovery::group() => {
                let is_right = self.discovery.told(self.now, to, &[], 0, &octets);
                self.check_discovery(is_right, Feature::GroupAnswered);
                self.broadcast(&octets);
            }
            Out::Datagram { to, octets } => {
                let read = Place::read(to, &octets, &self.book);
                if let Ok(Some((sensor, place, letter))) = read {
                    self.tell(sensor, place, letter);
                } else if let Some((sensor, message)) = twin::read(to, &octets) {
                    self.tell_twin(sensor, message);
                } else if let Err(what) = read {
                    self.ledger.violation(0, what);
                } else if let Some(device) = hostile::of(to) {
                    self.tell_stranger(device, to, &octets);
                } else {
                    self.ledger.violation(0, "a datagram left for nobody");
                }
            }
            Out::Octets { conn, octets } => {
                self.note_said(conn, &octets);
                self.tell_twin_stream(conn, &octets);
                let at = self.arrival(conn, 1, 0);
                self.heap.plan(at, Event::FromHub { conn, octets });
            }
            Out::Closed { conn } => self.closed(conn),
        }
    }
}
