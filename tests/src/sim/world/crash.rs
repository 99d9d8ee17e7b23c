//! The machine ends, in order or not, and comes back with what its disk has.
//!
//! ```text
//! doom ─▶ now, before its changes are kept, between two outputs, at an operation of the disk
//!            │
//!            ▼
//!         crash ─▶ down: nothing is heard ─▶ boot: restored, or a violation
//! ```
//!
//! Where answers did not wait for the disk (`on_disk_full = "degrade"`), and it has not caught up,
//! a crash leaves what was safe. That is looked at, and the world goes on with an empty disk.

use fastrand::Rng;
use mqtt_sn_gw::store::Health;
use mqtt_sn_gw::store::testing::Death;

use super::hear::HELD_UP_MS;
use super::{Event, World};
use crate::sim::hub::{BootError, Out};
use crate::sim::stream::Stream;
use crate::sim::watch::Watch;
use crate::sim::wire::{Version, sn};

/// Copies of a disk that are harmed when a process ends.
const HARMS: u32 = 2;

/// How soon somebody starts it again if the disk refused.
const BOOT_AGAIN_MS: u64 = 1_000;

/// By when a store has caught up with a disk that works, besides ten syncs: it is tried every
/// second.
const CATCH_UP_MS: u64 = 1_100;

/// Where the machine is when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Point {
    /// Between two turns.
    Now,
    /// In a turn, before its changes go to the store.
    BeforeKeep,
    /// When that share of the outputs of a turn have left.
    Outputs(f64),
    /// When it has done so many more operations on its disk.
    Operation(u32),
}

/// An end that is going to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Doom {
    point: Point,
    death: Death,
    down_ms: u64,
}

impl Doom {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let point = match rng.u32(..8) {
            0 => Point::Now,
            1 => Point::BeforeKeep,
            2..5 => Point::Outputs(rng.f64()),
            _ => Point::Operation(rng.u32(..8)),
        };
        let death = if rng.bool() { Death::Kill } else { Death::PowerLoss };
        let down_ms = [0, rng.u64(..1_000), rng.u64(..40_000)][rng.usize(..3)];
        Self { point, death, down_ms }
    }
}

impl World {
    /// The machine is going to end.
    pub(super) fn foredoom(&mut self, doom: Doom) {
        if self.is_down {
            return;
        }
        match doom.point {
            Point::Now => self.crash(doom),
            Point::BeforeKeep | Point::Outputs(_) => self.doom = Some(doom),
            Point::Operation(operations) => {
                self.doom = Some(doom);
                self.hub.disk.die_in(Some(operations));
            }
        }
    }

    /// From now on nothing fails.
    pub(super) fn calm_down(&mut self) {
        self.doom = None;
        self.hub.disk.die_in(None);
        self.mend_disk();
        self.reload_first();
    }

    /// The disk works again.
    pub(super) fn mend_disk(&mut self) {
        self.hub.disk.heal();
        self.hub.hang(0);
        self.disk_well_since = Some(self.now);
    }

    /// A disk that works again is caught up with in time, and what is told of it is so.
    pub(super) fn look_at_store(&mut self) {
        if let Err(what) = self.hub.check_store() {
            self.ledger.violation(0, what);
        }
        self.ledger.stats.checks += 1;
        let (Some(drive), Some(since)) = (self.setup.drive, self.disk_well_since) else { return };
        let bound_ms = CATCH_UP_MS + 10 * (drive.sync_ms[1] + self.plan_turn_ms);
        if self.now < since.max(self.booted_at) + bound_ms {
            return;
        }
        let is_well = self.hub.store().is_none_or(|store| store.health() == Health::Ok);
        self.ledger.check(0, is_well, "the disk works again, and the store does not");
        let is_prompt = self.unsafe_for_ms() <= bound_ms;
        self.ledger.check(0, is_prompt, "the disk works, and something waits for it for long");
    }

    /// One turn of the machine, of which it may not see the end.
    pub(super) fn turn_once(&mut self) {
        let now = self.clock();
        let mut out = std::mem::take(&mut self.out);
        let Self { hub, wires, streams, ledger, book, .. } = self;
        hub.decide(now, &mut out, &mut |conn, packet| {
            if let Some(index) = wires.get(&conn).and_then(|wire| wire.client) {
                streams[index as usize].heard(book.sensors + index, conn, packet, ledger, book);
            }
        });
        let doom = self.doom;
        let dies = |is_point: fn(Point) -> bool| doom.filter(|doom| is_point(doom.point));
        let is_dead = self.hub.disk.is_dead();
        let dies_early = dies(|point| matches!(point, Point::BeforeKeep));
        if let Some(doom) = doom.filter(|_| is_dead).or(dies_early) {
            self.crash(doom);
            return;
        }
        self.hub.keep();
        self.note_turn();
        self.hub.write(&mut out);
        self.tamper(&mut out);
        if let Some(doom) = doom.filter(|_| !out.is_empty())
            && let Point::Outputs(share) = doom.point
        {
            self.put_out_share(out, share);
            self.crash(doom);
            return;
        }
        for out in out.drain(..) {
            self.put_out(out);
        }
        self.check_owners();
        if self.unsafe_for_ms() >= HELD_UP_MS {
            self.ledger.held_up_at = self.now;
        }
        self.ledger.turn = self.hub.turn_number();
        if self.out.is_empty() {
            self.out = out;
        }
        while let Some(conn) = self.hub.take_violated() {
            self.closed(conn);
        }
    }

    /// The deliberate fault, if there is one.
    fn tamper(&mut self, out: &mut Vec<Out>) {
        let Self { plant, book, wires, .. } = self;
        plant.down(out, book, |conn| {
            let client = wires.get(&conn).and_then(|wire| wire.client);
            client.map_or(Version::V311, |index| book.version(book.sensors + index))
        });
    }

    /// For how long the oldest change waits for the disk.
    pub(super) fn unsafe_for_ms(&self) -> u64 {
        let safe_turn = self.hub.safe_turn();
        let waits = self.turned_at.iter().find(|(turn, _)| *turn > safe_turn);
        waits.map_or(0, |(_, at)| self.now - at)
    }

    /// Remembers when a turn was, as long as it may be undone.
    fn note_turn(&mut self) {
        let safe_turn = self.hub.safe_turn();
        self.turned_at.push_back((self.ledger.turn, self.now));
        while self.turned_at.get(1).is_some_and(|(turn, _)| *turn <= safe_turn) {
            self.turned_at.pop_front();
        }
        self.ledger.is_safe(safe_turn);
    }

    /// A part of what was to leave does so, and of the next piece of a stream a part.
    fn put_out_share(&mut self, out: Vec<Out>, share: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "rounded down")]
        #[expect(clippy::cast_sign_loss, reason = "a share is positive")]
        let count = (share * (out.len() + 1) as f64) as usize;
        for (place, out) in out.into_iter().enumerate().take(count + 1) {
            match out {
                out if place < count => self.put_out(out),
                Out::Octets { conn, octets } => {
                    let length = self.rng.usize(..octets.len().max(1));
                    self.put_out(Out::Octets { conn, octets: octets[..length].into() });
                }
                Out::Datagram { .. } | Out::Groups { .. } | Out::Closed { .. } => {}
            }
        }
    }

    /// The machine ends.
    fn crash(&mut self, doom: Doom) {
        match doom.death {
            Death::Kill => self.faults.kills += 1,
            Death::PowerLoss => self.faults.power_losses += 1,
        }
        self.note(format!("{doom:?}"));
        self.harm();
        if self.hub.is_exposed() {
            self.lose_all(doom);
            return;
        }
        let safe_turn = self.hub.safe_turn();
        let safe_at = match self.turned_at.front() {
            Some((turn, at)) if *turn <= safe_turn => *at,
            Some(_) | None => 0,
        };
        self.ledger.crashed(safe_turn, safe_at);
        self.fall(doom, safe_turn);
        let now = self.now;
        self.streams.iter_mut().for_each(|stream| stream.crashed(safe_turn, safe_at, now));
    }

    /// Looks at what a start would make of this disk, had it lied or been damaged.
    fn harm(&mut self) {
        for _ in 0..HARMS {
            match self.hub.check_harm(self.clock()) {
                Ok(Some((_, is_salvaged))) => {
                    self.faults.harms += 1;
                    self.faults.salvages += u64::from(is_salvaged);
                }
                Ok(None) => {}
                Err(what) => self.ledger.violation(0, &what),
            }
            self.ledger.stats.checks += 1;
        }
    }

    /// The machine ends, and what it had answered lately is gone. What was safe is not; it is
    /// looked at, and then the disk replaced.
    fn lose_all(&mut self, doom: Doom) {
        self.faults.exposed += 1;
        self.count_store();
        self.before = self.done();
        self.hub.end(doom.death);
        if let Err(error) = self.hub.check_start(self.clock()) {
            let what = format!("what was safe is lost with what was not: {error:?}");
            self.ledger.violation(0, &what);
        }
        self.mend_disk();
        self.hub.wipe();
        self.hub.boot(self.clock()).expect("an empty disk that works");
        self.note("back, with an empty disk".to_owned());
        self.doom = None;
        self.ledger.lost_all();
        self.begun_with_nothing();
    }

    /// Another process has begun.
    fn begun(&mut self) {
        self.booted_at = self.now;
        self.discovery.begun(self.now);
        self.reloads.machine_began();
    }

    /// Another process has begun, and knows nothing of the one before. All but the ledger are told.
    pub(super) fn begun_with_nothing(&mut self) {
        self.begun();
        self.out.clear();
        self.watches.iter_mut().for_each(Watch::restarted);
        self.streams.iter_mut().for_each(Stream::restarted);
        self.strangers.restarted();
        // A CONNECT that was on its way begins a new session, and if it was answered before its
        // sensor goes on with topic ids of the old one (docs/testing.md).
        let is_connect =
            |event: &Event| matches!(event, Event::Up { octets, .. } if octets[1] == sn::CONNECT);
        self.heap.retain(|event| !is_connect(event));
        let conns: Vec<_> = self.wires.keys().copied().collect();
        for conn in conns {
            self.lose_at_client(conn);
        }
        self.wires.clear();
    }

    /// What an end in order and any other have in common.
    fn fall(&mut self, doom: Doom, safe_turn: u64) {
        let Self { watches, ledger, .. } = self;
        for (sensor, watch) in (0..).zip(watches) {
            watch.crashed(sensor, safe_turn, ledger);
        }
        self.count_store();
        self.strangers.restarted();
        self.doom = None;
        self.out.clear();
        self.hub.end(doom.death);
        self.is_down = true;
        self.heap.plan(self.now + doom.down_ms, Event::Boot);
        // After a loss of power nobody says that connections are gone.
        let silence_ms = if doom.death == Death::PowerLoss { self.rng.u64(..20_000) } else { 0 };
        let conns: Vec<_> = self.wires.keys().copied().collect();
        for conn in conns {
            let at = self.arrival(conn, 1, 0) + silence_ms;
            self.heap.plan(at, Event::ClientLost(conn));
        }
    }

    /// Adds what the store of this process has done.
    pub(super) fn count_store(&mut self) {
        if let Some(store) = self.hub.store() {
            self.faults.syncs += store.syncs();
            self.faults.compactions += store.compactions;
        }
        self.faults.disk_refusals = self.hub.disk.refused();
    }

    /// The machine is asked to end.
    pub(super) fn stop(&mut self, down_ms: u64) {
        if self.is_down {
            return;
        }
        let mut out = std::mem::take(&mut self.out);
        let is_safe = self.hub.stop(self.clock(), &mut out);
        let doom = Doom { point: Point::Now, death: Death::Kill, down_ms };
        if self.hub.disk.is_dead() || !is_safe {
            // Whether it counts as one in order is open, and with that what becomes of wills.
            let sensors = (0..self.book.sensors).filter(|it| self.ledger.is_clean(*it));
            let clients = self.book.sensors..self.book.sensors + self.book.clients;
            let parties: Vec<_> = sensors.chain(clients).collect();
            for party in parties {
                self.ledger.wills.replaced(party, self.now);
            }
            self.crash(self.doom.unwrap_or(doom));
            return;
        }
        self.faults.stops += 1;
        self.note("an end in order".to_owned());
        self.note_turn();
        self.tamper(&mut out);
        let Self { streams, book, ledger, .. } = self;
        for (party, stream) in (book.sensors..).zip(streams) {
            stream.stopped(party, ledger);
        }
        out.into_iter().for_each(|out| self.put_out(out));
        let safe_turn = self.hub.safe_turn();
        self.ledger.crashed(safe_turn, self.now);
        let now = self.now;
        self.streams.iter_mut().for_each(|stream| stream.crashed(safe_turn, now, now));
        for sensor in 0..self.book.sensors {
            if self.ledger.is_clean(sensor) {
                self.ledger.wills.end(sensor, self.now);
            }
        }
        self.fall(doom, safe_turn);
    }

    /// The machine begins again.
    pub(super) fn boot(&mut self) {
        let done = self.done();
        match self.hub.boot(self.clock()) {
            Ok(()) => {}
            Err(BootError::Disk) => {
                self.heap.plan(self.now + BOOT_AGAIN_MS, Event::Boot);
                return;
            }
            Err(BootError::Broken(what)) => {
                self.ledger.violation(0, &format!("the machine does not come back: {what}"));
                return;
            }
        }
        self.note("back".to_owned());
        self.begun();
        self.before = done;
        self.is_down = false;
        self.ledger.turn = self.hub.turn_number();
        self.ledger.resumed();
        let Self { watches, streams, book, ledger, .. } = self;
        for (sensor, watch) in (0..).zip(watches) {
            watch.resumed(sensor, ledger);
        }
        for (party, stream) in (book.sensors..).zip(streams) {
            stream.resumed(party, ledger);
        }
    }
}
