//! What goes wrong in a world besides its radio.

use std::io;

use fastrand::Rng;
use mqtt_sn_gw::store::testing::{Death, Failure};

use super::crash::Doom;
use super::{Event, World};
use crate::sim::client::Client;
use crate::sim::features::Feature;
use crate::sim::hub::Conn;
use crate::sim::net::Way;
use crate::sim::profile::Rates;
use crate::sim::sensor::{Phase, Sensor};
use crate::sim::twin;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// A NAT gives a sensor another port, or another host.
    Rebind { sensor: u32, is_move: bool },
    /// A forwarder has another port, or another host.
    MoveForwarder { forwarder: u8, is_move: bool },
    /// Another device connects with the id of a sensor.
    Twin { sensor: u32, way: twin::Way, for_ms: u64 },
    /// No power, and a reboot after it.
    PowerCut { sensor: u32, for_ms: u64 },
    /// Nothing passes one way.
    RadioCut { sensor: u32, way: Way, for_ms: u64 },
    /// A connection breaks; the machine sees it after a while.
    Break { client: u32, after_ms: u64 },
    /// A client stops reading.
    Slow { client: u32, for_ms: u64 },
    /// The machine begins anew with nothing.
    Restart,
    /// The configuration is read again; what is in it is drawn from the seed.
    Reload { seed: u64 },
    /// The wall clock jumps.
    ClockJump { by_ms: i64 },
    /// The power goes everywhere.
    Storm { for_ms: u64 },
    /// The machine ends where it does not expect it.
    Crash(Doom),
    /// The machine is asked to end, and begins again.
    Stop { down_ms: u64 },
    /// The disk does not do what it should.
    Disk { trouble: DiskTrouble, for_ms: u64 },
}

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DiskTrouble {
    /// Operations fail.
    Fails(Failure),
    /// So many octets fit on it besides what is there.
    Fills { room: usize },
    /// No sync comes to its end.
    Hangs,
}

impl DiskTrouble {
    fn draw(rng: &mut Rng) -> Self {
        let share = if rng.bool() { 1.0 } else { rng.f64() };
        let fails = |kind, share| Self::Fails(Failure { kind, share });
        match rng.u32(..7) {
            0 => fails(io::ErrorKind::StorageFull, share),
            1 | 2 => fails(io::ErrorKind::Other, share),
            3 => fails(io::ErrorKind::ReadOnlyFilesystem, 1.0),
            4 | 5 => Self::Fills { room: rng.usize(..3_000) },
            _ => Self::Hangs,
        }
    }
}

type Draw = fn(&mut Rng, About) -> Trouble;

/// Whom a trouble concerns that is being drawn, and for how long.
struct About {
    sensor: u32,
    client: u32,
    for_ms: u64,
    /// Forwarders of the world.
    forwarders: u32,
}

impl World {
    /// Plans what goes wrong until calm begins.
    pub(super) fn plan_troubles(&mut self, rates: &Rates) {
        let (sensors, clients) = (self.book.sensors, self.clients.len());
        let each = |rate: f64| rate * f64::from(sensors);
        let forwarders = f64::from(self.book.forwarders);
        let plans: [(f64, Draw); 14] = [
            (each(rates.rebinds), |_, it| Trouble::Rebind { sensor: it.sensor, is_move: false }),
            (each(rates.moves), |_, it| Trouble::Rebind { sensor: it.sensor, is_move: true }),
            (each(rates.power_cuts), |_, it| Trouble::PowerCut {
                sensor: it.sensor,
                for_ms: it.for_ms,
            }),
            (each(rates.radio_cuts), |rng, it| {
                let way = if rng.bool() { Way::Up } else { Way::Down };
                Trouble::RadioCut { sensor: it.sensor, way, for_ms: it.for_ms / 2 }
            }),
            (rates.client_breaks * clients as f64, |rng, it| Trouble::Break {
                client: it.client,
                after_ms: rng.u64(1..60_000),
            }),
            (rates.slow_readers * clients as f64, |_, it| Trouble::Slow {
                client: it.client,
                for_ms: it.for_ms / 5,
            }),
            (rates.restarts, |_, _| Trouble::Restart),
            (rates.clock_jumps, |rng, _| Trouble::ClockJump {
                by_ms: rng.i64(-90_000_000..90_000_000),
            }),
            (rates.storms, |_, it| Trouble::Storm { for_ms: it.for_ms / 4 }),
            (rates.crashes, |rng, _| Trouble::Crash(Doom::draw(rng))),
            (rates.stops, |rng, _| Trouble::Stop { down_ms: rng.u64(0..5_000) }),
            (rates.disk_failures, |rng, _| Trouble::Disk {
                trouble: DiskTrouble::draw(rng),
                for_ms: rng.u64(50..20_000),
            }),
            (each(rates.twins), |rng, it| {
                let (sensor, for_ms) = (it.sensor, it.for_ms / 3);
                Trouble::Twin { sensor, way: twin::Way::draw(rng), for_ms }
            }),
            (rates.forwarder_moves * forwarders, |rng, it| {
                let forwarder = rng.u32(..it.forwarders.max(1));
                let forwarder = u8::try_from(forwarder).unwrap_or_default();
                Trouble::MoveForwarder { forwarder, is_move: rng.bool() }
            }),
        ];
        for (expected, draw) in plans {
            let whole = expected.floor();
            let more = u32::from(self.rng.f64() < expected - whole);
            #[expect(clippy::cast_possible_truncation, reason = "a number of events")]
            #[expect(clippy::cast_sign_loss, reason = "rates are positive")]
            let count = whole as u32 + more;
            for _ in 0..count {
                let about = self.draw_about();
                let trouble = draw(&mut self.rng, about);
                let at = self.rng.u64(1_000..self.calm_at.max(1_001));
                self.heap.plan(at, Event::Trouble(trouble));
            }
        }
    }

    fn draw_about(&mut self) -> About {
        let rng = &mut self.rng;
        About {
            sensor: rng.u32(..self.book.sensors.max(1)),
            // The first client watches wills and is spared.
            client: 1 + rng.u32(..u32::try_from(self.clients.len()).unwrap_or(2).max(2) - 1),
            for_ms: rng.u64(1_000..150_000),
            forwarders: self.book.forwarders,
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Rebind { sensor, is_move } => self.rebind(sensor, is_move),
            Trouble::Twin { sensor, way, for_ms } => self.send_twin(sensor, way, for_ms),
            Trouble::MoveForwarder { forwarder, is_move } => {
                self.move_forwarder(forwarder, is_move);
            }
            Trouble::PowerCut { sensor, for_ms } => self.cut_power(sensor, for_ms),
            Trouble::RadioCut { sensor, way, for_ms } => {
                self.faults.radio_cuts += 1;
                self.net.cut(sensor, way, self.now + for_ms);
            }
            Trouble::Break { client, after_ms } => self.break_connection(client, after_ms),
            Trouble::Slow { client, for_ms } => {
                if let Some(conn) = self.conns[client as usize] {
                    self.faults.slow_readers += 1;
                    if let Some(wire) = self.wires.get_mut(&conn) {
                        wire.unread_since.get_or_insert(self.now);
                        wire.is_read = false;
                    }
                    self.ledger.reads_from(self.book.sensors + client, u64::MAX);
                    self.hub.set_read(conn, false);
                    self.heap.plan(self.now + for_ms, Event::Read(conn));
                }
            }
            Trouble::Restart => self.restart(),
            Trouble::Reload { seed } => self.reload(seed),
            Trouble::ClockJump { by_ms } => {
                self.faults.clock_jumps += 1;
                self.wall_offset += by_ms;
                self.ledger.wall_offset = self.wall_offset;
                self.ledger.has_jumped = true;
            }
            Trouble::Storm { for_ms } => {
                for sensor in 0..self.book.sensors {
                    self.cut_power(sensor, for_ms);
                }
            }
            Trouble::Crash(doom) => self.foredoom(doom),
            Trouble::Stop { down_ms } => self.stop(down_ms),
            Trouble::Disk { trouble, for_ms } => {
                self.faults.disk_failures += 1;
                self.note(format!("{trouble:?} for {for_ms} ms"));
                self.disk_well_since = None;
                match trouble {
                    DiskTrouble::Fails(failure) => self.hub.disk.set_failure(Some(failure)),
                    DiskTrouble::Fills { room } => self.hub.disk.set_room(Some(room)),
                    DiskTrouble::Hangs => self.hub.hang(self.now + for_ms),
                }
                self.heap.plan(self.now + for_ms, Event::DiskWorks);
            }
        }
    }

    /// A sensor has another port or node id, or another host. Where there are forwarders one that
    /// moves goes behind the nearest one, or comes out from behind it.
    fn rebind(&mut self, sensor: u32, is_move: bool) {
        let nearest = self.book.nearest(sensor).map(|it| self.forwarders[usize::from(it)]);
        let place = &mut self.sensors[sensor as usize].place;
        place.port += 1;
        if !is_move {
            self.faults.rebinds += 1;
            return;
        }
        self.faults.moves += 1;
        if nearest.is_some() {
            self.ledger.features.count(Feature::Roamed);
        }
        place.via = if place.via.is_some() { None } else { nearest };
        place.host = (place.host + 1) % 100;
    }

    /// A forwarder, and with it all its nodes, has another port or another host.
    fn move_forwarder(&mut self, forwarder: u8, is_move: bool) {
        let Some(at) = self.forwarders.get_mut(usize::from(forwarder)) else { return };
        at.door += 1;
        at.host += u8::from(is_move);
        let at = *at;
        self.ledger.features.count(Feature::ForwarderMoved);
        let nodes = self.sensors.iter_mut().filter_map(|sensor| sensor.place.via.as_mut());
        nodes.filter(|via| via.forwarder == forwarder).for_each(|via| *via = at);
    }

    /// A client reads again.
    pub(super) fn read_again(&mut self, conn: Conn) {
        self.hub.set_read(conn, true);
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        wire.is_read = true;
        if let Some(index) = wire.client.filter(|it| self.conns[*it as usize] == Some(conn)) {
            self.ledger.reads_from(self.book.sensors + index, self.now);
        }
    }

    fn cut_power(&mut self, sensor: u32, for_ms: u64) {
        if self.book.kind(sensor).is_unconnected() {
            return;
        }
        self.faults.power_cuts += 1;
        let until = (self.now + for_ms).min(self.calm_at);
        self.with_sensor(sensor, |sensor: &mut Sensor, _| {
            if sensor.phase != Phase::Dead {
                sensor.die(until);
            }
        });
    }

    /// The client sees it at once. The machine sees it later, or finds the client back before.
    fn break_connection(&mut self, client: u32, after_ms: u64) {
        if let Some(conn) = self.conns[client as usize].take() {
            self.faults.broken_connections += 1;
            self.with_client(client, Client::lose);
            self.heap.plan(self.now + after_ms, Event::HubLost(conn));
        }
    }

    fn restart(&mut self) {
        self.faults.restarts += 1;
        self.before = self.done();
        self.hub.end(Death::Kill);
        self.hub.boot(self.clock()).expect("nothing is restored");
        self.ledger.restarted();
        self.begun_with_nothing();
    }
}
