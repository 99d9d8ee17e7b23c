//! What goes wrong in a world besides its radio.

use super::crash::Doom;
use super::{Event, World};
use crate::sim::client::Client;
use crate::sim::disk::{Death, Failure};
use crate::sim::hub::Conn;
use crate::sim::net::Way;
use crate::sim::profile::Rates;
use crate::sim::sensor::{Phase, Sensor};
use crate::sim::stream::Stream;
use crate::sim::watch::Watch;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// A NAT gives a sensor another port, or another host.
    Rebind { sensor: u32, is_move: bool },
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
    /// The wall clock jumps.
    ClockJump { by_ms: i64 },
    /// The power goes everywhere.
    Storm { for_ms: u64 },
    /// The machine ends where it does not expect it.
    Crash(Doom),
    /// The machine is asked to end, and begins again.
    Stop { down_ms: u64 },
    /// The disk refuses.
    Disk { failure: Failure, for_ms: u64 },
}

impl World {
    /// Plans what goes wrong until calm begins.
    pub(super) fn plan_troubles(&mut self, rates: &Rates) {
        let (sensors, clients) = (self.book.sensors, self.clients.len());
        let each = |rate: f64| rate * f64::from(sensors);
        let plans = [
            (each(rates.rebinds), 0),
            (each(rates.moves), 1),
            (each(rates.power_cuts), 2),
            (each(rates.radio_cuts), 3),
            (rates.client_breaks * clients as f64, 4),
            (rates.slow_readers * clients as f64, 5),
            (rates.restarts, 6),
            (rates.clock_jumps, 7),
            (rates.storms, 8),
            (rates.crashes, 9),
            (rates.stops, 10),
            (rates.disk_failures, 11),
        ];
        for (expected, kind) in plans {
            let whole = expected.floor();
            let more = u32::from(self.rng.f64() < expected - whole);
            #[expect(clippy::cast_possible_truncation, reason = "a number of events")]
            #[expect(clippy::cast_sign_loss, reason = "rates are positive")]
            let count = whole as u32 + more;
            for _ in 0..count {
                let trouble = self.draw_trouble(kind);
                let at = self.rng.u64(1_000..self.calm_at.max(1_001));
                self.heap.plan(at, Event::Trouble(trouble));
            }
        }
    }

    fn draw_trouble(&mut self, kind: u32) -> Trouble {
        let rng = &mut self.rng;
        let sensor = rng.u32(..self.book.sensors.max(1));
        // The first client watches wills and is spared.
        let client = 1 + rng.u32(..u32::try_from(self.clients.len()).unwrap_or(2).max(2) - 1);
        let for_ms = rng.u64(1_000..150_000);
        match kind {
            0 | 1 => Trouble::Rebind { sensor, is_move: kind == 1 },
            2 => Trouble::PowerCut { sensor, for_ms },
            3 => {
                let way = if rng.bool() { Way::Up } else { Way::Down };
                Trouble::RadioCut { sensor, way, for_ms: for_ms / 2 }
            }
            4 => Trouble::Break { client, after_ms: rng.u64(1..60_000) },
            5 => Trouble::Slow { client, for_ms: for_ms / 5 },
            6 => Trouble::Restart,
            7 => Trouble::ClockJump { by_ms: rng.i64(-90_000_000..90_000_000) },
            8 => Trouble::Storm { for_ms: for_ms / 4 },
            9 => Trouble::Crash(Doom::draw(rng)),
            10 => Trouble::Stop { down_ms: rng.u64(0..5_000) },
            _ => {
                let share = if rng.bool() { 1.0 } else { rng.f64() };
                let failure = Failure { is_full: rng.bool(), share };
                Trouble::Disk { failure, for_ms: rng.u64(50..20_000) }
            }
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Rebind { sensor, is_move } => {
                let place = &mut self.sensors[sensor as usize].place;
                place.port += 1;
                place.host = (place.host + u8::from(is_move)) % 100;
                let count = if is_move { &mut self.faults.moves } else { &mut self.faults.rebinds };
                *count += 1;
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
            Trouble::ClockJump { by_ms } => {
                self.faults.clock_jumps += 1;
                self.wall_offset += by_ms;
                self.ledger.wall_offset = self.wall_offset;
            }
            Trouble::Storm { for_ms } => {
                for sensor in 0..self.book.sensors {
                    self.cut_power(sensor, for_ms);
                }
            }
            Trouble::Crash(doom) => self.foredoom(doom),
            Trouble::Stop { down_ms } => self.stop(down_ms),
            Trouble::Disk { failure, for_ms } => {
                self.faults.disk_failures += 1;
                self.note(format!("{failure:?}"));
                self.hub.disk.set_failure(Some(failure));
                self.heap.plan(self.now + for_ms, Event::DiskWorks);
            }
        }
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
        self.out.clear();
        self.watches.iter_mut().for_each(Watch::restarted);
        self.streams.iter_mut().for_each(Stream::restarted);
        self.strangers.restarted();
        self.ledger.restarted();
        let conns: Vec<_> = self.wires.keys().copied().collect();
        for conn in conns {
            self.lose_at_client(conn);
        }
        self.wires.clear();
    }
}
