//! Sensors and their twins.

use super::{Event, World};
use crate::sim::features::Feature;
use crate::sim::hub::Conn;
use crate::sim::place::Place;
use crate::sim::twin::{self, Twin, Way};
use crate::sim::wire::{mqtt, sn, split};

impl World {
    /// Somebody connects with the id of a sensor.
    pub(super) fn send_twin(&mut self, sensor: u32, way: Way, for_ms: u64) {
        // With a disk it may be open after a crash who has the session.
        let is_kept = self.setup.drive.is_some();
        let is_fit = twin::may_have_one(self.book.kind(sensor)) && self.now < self.calm_at;
        if is_kept || !is_fit || self.twins.contains_key(&sensor) {
            return;
        }
        self.ledger.features.count(Feature::TwinCame);
        let asks_clean = self.rng.bool();
        let is_owner_there = self.watches[sensor as usize].is_active();
        let twin = Twin {
            way,
            asks_clean,
            is_owner_there,
            was_owner_asked: false,
            has_owner_spoken: false,
            is_owner_untold: false,
        };
        self.twins.insert(sensor, twin);
        match way {
            Way::Alone | Way::Node => {
                self.hear_twin(sensor, way, twin::connect(sensor, asks_clean));
                self.heap.plan(self.now + for_ms, Event::TwinLeaves(sensor));
            }
            Way::Tcp => {
                self.open(None);
                let conn = self.last_conn;
                self.twin_conns.insert(conn, sensor);
                self.send_pieces(conn, &twin::connect_stream(sensor, asks_clean));
                let at = self.arrival(conn, 0, for_ms);
                self.heap.plan(at, Event::HubLost(conn));
            }
        }
    }

    fn hear_twin(&mut self, sensor: u32, way: Way, message: Box<[u8]>) {
        if !self.is_down {
            let octets = way.wrap(sensor, message);
            self.hear_datagram(way.address(sensor), false, &octets);
        }
    }

    pub(super) fn leave_as_twin(&mut self, sensor: u32) {
        if let Some(twin) = self.twins.get(&sensor) {
            self.hear_twin(sensor, twin.way, twin::leave());
        }
    }

    /// The owner says something from where it is known to be.
    pub(super) fn note_owner(&mut self, sensor: u32, place: Place) {
        if let Some(twin) = self.twins.get_mut(&sensor) {
            twin.has_owner_spoken |= self.watches[sensor as usize].is_active_at(place);
        }
    }

    /// One that sleeps by now cannot be asked.
    pub(super) fn note_sleep(&mut self, sensor: u32) {
        if let Some(twin) = self.twins.get_mut(&sensor) {
            twin.is_owner_there &= self.watches[sensor as usize].is_active();
        }
    }

    /// A message leaves for a sensor that may have one.
    pub(super) fn note_question(&mut self, sensor: u32, message: &[u8]) {
        if let Some(twin) = self.twins.get_mut(&sensor) {
            match split(message) {
                Some((sn::PINGREQ, _)) => twin.was_owner_asked = true,
                Some((sn::DISCONNECT, _)) => twin.is_owner_untold = false,
                _ => {}
            }
        }
    }

    /// A datagram leaves for a twin.
    pub(super) fn tell_twin(&mut self, sensor: u32, message: &[u8]) {
        if !self.twins.contains_key(&sensor) {
            self.ledger.violation(sensor, "a datagram left for a twin that never came");
        } else if split(message) == Some((sn::CONNACK, &[0])) {
            self.take_session(sensor);
        } else if matches!(split(message), Some((sn::CONNACK, _))) {
            self.ledger.features.count(Feature::TwinRefused);
        }
    }

    /// A piece of a stream leaves for a twin.
    pub(super) fn tell_twin_stream(&mut self, conn: Conn, octets: &[u8]) {
        if let Some(sensor) = self.twin_conns.get(&conn).copied()
            && octets.starts_with(&[mqtt::CONNACK << 4, 2])
            && octets.get(3) == Some(&0)
        {
            self.take_session(sensor);
        }
    }

    /// The twin has the session now.
    fn take_session(&mut self, sensor: u32) {
        let Some(twin) = self.twins.get_mut(&sensor) else { return };
        let watch = &mut self.watches[sensor as usize];
        twin.is_owner_untold = watch.is_active();
        self.ledger.stats.checks += 1;
        watch.taken(twin.asks_clean);
        self.ledger.features.count(match twin.way {
            Way::Alone => Feature::TakenByAddress,
            Way::Node => Feature::TakenByNode,
            Way::Tcp => Feature::TakenByStream,
        });
        let is_asked = twin.way != Way::Tcp && twin.is_owner_there;
        let what = "the session of a client that is there was taken";
        let is_taken = !twin.was_owner_asked || twin.has_owner_spoken;
        self.ledger.check(sensor, !(is_asked && is_taken), what);
    }

    /// All of a turn has left: who lost a session in it was told, before or after its twin.
    pub(super) fn check_owners(&mut self) {
        for (sensor, twin) in &mut self.twins {
            if core::mem::take(&mut twin.is_owner_untold) {
                self.ledger.violation(*sensor, "a session was taken and its owner not told");
            }
        }
    }
}
