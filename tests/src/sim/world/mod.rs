//! A world: one machine, many devices, one list of events, one seed.
//!
//! ```text
//! sensors ── radio ──┐                                  ┌── radio ── sensors
//!                    ├─▶ watch ─▶ [plant] ─▶ machine ─▶ [plant] ─▶ watch ─┤
//! clients ── TCP ────┘       │                                │           └── TCP ── clients
//!                            └──────────▶ ledger ◀────────────┘
//! ```
//!
//! Faults happen until calm begins; from then on everything has to reach its goal within a bounded
//! time, and in the end nothing may be left in the machine.

mod crash;
mod devices;
mod end;
mod hear;
mod reload;
mod troubles;
mod twins;

use std::collections::{BTreeMap, VecDeque};

use broker_core::time::{Instant, Now, UnixMillis};
use fastrand::Rng;

use super::book::{Book, Party};
use super::client::{Client, Offer};
use super::discovery::Discovery;
use super::heap::Heap;
use super::hub::{Conn, Hub, Out, Setup};
use super::ledger::Ledger;
use super::net::Net;
use super::place::{Place, Via};
use super::plant::Plant;
use super::profile::Plan;
use super::sensor::Sensor;
use super::strangers::Strangers;
use super::stream::Stream;
use super::twin::Twin;
use super::watch::Watch;
use super::wire::Octets;
use super::{Options, report::Report};

use crash::Doom;
use reload::Reloads;
use troubles::Trouble;

/// Virtual time that devices have for their goals after the last fault. The slowest sleepers
/// publish once in ninety seconds, a hundred times.
const LIVENESS_MS: u64 = 180 * 60_000;

/// Turns of the machine within one millisecond; more would mean that it never comes to rest.
const TURNS_MAX: u32 = 1_000_000;

/// Events remembered of one device.
const TRACE_MAX: usize = 60;

/// Worlds with more sensors remember neither events nor finished publications.
const SMALL: u32 = 20_000;

/// Time between two looks at bounds and invariants.
const LOOK_MS: u64 = 2_000;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    Sensor(u32),
    Up {
        sensor: u32,
        place: Place,
        octets: Octets,
    },
    Down {
        sensor: u32,
        place: Place,
        octets: Octets,
    },
    Client(u32),
    ToHub {
        conn: Conn,
        octets: Octets,
    },
    FromHub {
        conn: Conn,
        octets: Octets,
    },
    HubLost(Conn),
    ClientLost(Conn),
    Read(Conn),
    Stranger(u32),
    TwinLeaves(u32),
    Trouble(Trouble),
    /// Machine and disk fail no more until the end.
    Calm,
    /// The disk works again.
    DiskWorks,
    Boot,
}

/// A TCP connection between its two ends.
#[derive(Clone, Copy, Debug)]
struct Wire {
    /// A client, or nobody if a stranger has it.
    client: Option<u32>,
    /// When the latest octets arrive, at the machine and at the client.
    latest: [u64; 2],
    /// Nobody reads what is said since then.
    unread_since: Option<u64>,
    is_read: bool,
}

/// What was done to the world, besides the radio's doings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) rebinds: u64,
    pub(crate) moves: u64,
    pub(crate) power_cuts: u64,
    pub(crate) radio_cuts: u64,
    pub(crate) broken_connections: u64,
    pub(crate) slow_readers: u64,
    pub(crate) restarts: u64,
    pub(crate) kills: u64,
    pub(crate) power_losses: u64,
    pub(crate) stops: u64,
    pub(crate) disk_failures: u64,
    pub(crate) disk_refusals: u64,
    pub(crate) syncs: u64,
    pub(crate) compactions: u64,
    pub(crate) reloads: u64,
    /// Crashes that undid what was answered, copies of disks that were harmed, those salvaged.
    pub(crate) exposed: u64,
    pub(crate) harms: u64,
    pub(crate) salvages: u64,
    pub(crate) clock_jumps: u64,
    pub(crate) bad_datagrams: u64,
    pub(crate) bad_streams: u64,
}

impl Faults {
    /// All of them. Syncs, files given up, reloads and what came of a crash are no faults.
    pub(crate) const fn injected(&self) -> u64 {
        let devices = self.rebinds + self.moves + self.power_cuts + self.radio_cuts;
        let clients = self.broken_connections + self.slow_readers;
        let gateway = self.restarts + self.kills + self.power_losses + self.stops;
        let disk = self.disk_failures + self.disk_refusals + self.harms;
        let octets = self.bad_datagrams + self.bad_streams;
        devices + clients + gateway + disk + self.clock_jumps + octets
    }
}

/// What a machine has counted.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    /// Messages that were dropped or given up, which the ledger then has to forgive.
    dropped: u64,
    publish_received: u64,
    publish_sent: u64,
    retransmissions: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct World {
    now: u64,
    wall_offset: i64,
    book: Book,
    heap: Heap<Event>,
    hub: Hub,
    setup: Setup,
    reloads: Reloads,
    net: Net,
    sensors: Vec<Sensor>,
    watches: Vec<Watch>,
    clients: Vec<Client>,
    streams: Vec<Stream>,
    offer: Offer,
    /// The connection of each client.
    conns: Vec<Option<Conn>>,
    wires: BTreeMap<Conn, Wire>,
    last_conn: Conn,
    strangers: Strangers,
    discovery: Discovery,
    twins: BTreeMap<u32, Twin>,
    /// Those of them that speak MQTT, by their connections.
    twin_conns: BTreeMap<Conn, u32>,
    /// Where the forwarders are.
    forwarders: Vec<Via>,
    ledger: Ledger,
    plant: Plant,
    rng: Rng,
    plan_turn_ms: u64,
    tcp_delay_ms: u64,
    wall_begin_ms: u64,
    calm_at: u64,
    faults: Faults,
    /// How the machine is about to end.
    doom: Option<Doom>,
    is_down: bool,
    /// Nothing is wrong with the disk since then.
    disk_well_since: Option<u64>,
    booted_at: u64,
    /// What the machine and its disk went through last.
    history: VecDeque<(u64, String)>,
    /// When the turns were that are not known to be safe, and the last one that is.
    turned_at: VecDeque<(u64, u64)>,
    /// What machines have done that ended meanwhile.
    before: Done,
    lasted_ms: u64,
    visit_ms: u64,
    traces: BTreeMap<Party, VecDeque<(u64, char, Octets)>>,
    is_small: bool,
    looked_at: u64,
    out: Vec<Out>,
    sent: Vec<Octets>,
}

impl World {
    pub(crate) fn new(options: &Options, plant: Plant) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let plan = Plan::draw(options, &mut rng);
        let Plan { book, roles, setup, calm_at, .. } = &plan;
        let is_small = book.sensors <= SMALL;
        let now = Now { mono: Instant(0), unix: UnixMillis(plan.wall_begin_ms) };
        let mut hub_setup = setup.clone();
        plant.misconfigure(&mut hub_setup.sn);
        let hub = Hub::new(hub_setup, now, rng.fork(), plant.fault());
        let net = Net::new(plan.weather.clone(), *calm_at, book.sensors, rng.fork());
        let mut ledger = Ledger::new(book.clone(), !is_small);
        ledger.allows_foreign = plan.strangers > 0;
        if !roles[0].filters.is_empty() && roles[0].filters[0].filter == "w/#" {
            ledger.wills.watcher = Some(book.sensors);
        }
        let mut world = Self {
            now: 0,
            wall_offset: 0,
            heap: Heap::new(),
            net,
            sensors: Vec::with_capacity(book.sensors as usize),
            watches: (0..book.sensors).map(|_| Watch::default()).collect(),
            clients: Vec::new(),
            streams: vec![Stream::new(setup.rules()); roles.len()],
            offer: setup.offer(),
            conns: vec![None; roles.len()],
            wires: BTreeMap::new(),
            last_conn: 0,
            strangers: Strangers::new(&setup.sn),
            discovery: Discovery::new(&setup.sn, plan.turn_ms),
            twins: BTreeMap::new(),
            twin_conns: BTreeMap::new(),
            forwarders: (0..book.forwarders)
                .filter_map(|sensor| book.nearest(sensor))
                .map(|forwarder| Via { forwarder, host: 0, door: 0 })
                .collect(),
            ledger,
            plant,
            plan_turn_ms: plan.turn_ms,
            tcp_delay_ms: plan.tcp_delay_ms,
            wall_begin_ms: plan.wall_begin_ms,
            calm_at: *calm_at,
            faults: Faults::default(),
            doom: None,
            is_down: false,
            disk_well_since: Some(0),
            booted_at: 0,
            history: VecDeque::new(),
            turned_at: VecDeque::new(),
            before: Done::default(),
            lasted_ms: 0,
            visit_ms: reload::visit_ms(&setup.sn),
            traces: BTreeMap::new(),
            is_small,
            looked_at: 0,
            out: Vec::new(),
            sent: Vec::new(),
            reloads: Reloads::new(setup),
            setup: setup.clone(),
            book: book.clone(),
            hub,
            rng,
        };
        world.populate(&plan);
        world.plan_reloads(options);
        world
    }

    fn populate(&mut self, plan: &Plan) {
        for index in 0..self.book.sensors {
            let begins_at = self.rng.u64(50..50 + plan.begin_ms);
            let sensor = Sensor::new(index, &self.book, begins_at);
            self.sensors.push(sensor);
            self.heap.plan(begins_at, Event::Sensor(index));
        }
        for (index, role) in (0..).zip(&plan.roles) {
            // The watcher of wills and the services are there first.
            let begins_at = 1 + u64::from(index);
            let party = self.book.sensors + index;
            self.clients.push(Client::new(party, role.clone(), begins_at));
            self.heap.plan(begins_at, Event::Client(index));
        }
        for device in 0..plan.strangers {
            self.heap.plan(self.rng.u64(100..20_000), Event::Stranger(device));
        }
        self.plan_troubles(&plan.rates);
        self.heap.plan(self.calm_at, Event::Calm);
    }

    fn clock(&self) -> Now {
        let unix = i64::try_from(self.wall_begin_ms + self.now).unwrap_or(i64::MAX);
        let unix = u64::try_from(unix + self.wall_offset).unwrap_or(0);
        Now { mono: Instant::from_millis(self.now), unix: UnixMillis(unix) }
    }

    /// Lets time pass until everybody is done, and looks at what is left.
    pub(crate) fn run(mut self, progress: &mut dyn FnMut(u64, u64)) -> Report {
        let end = self.calm_at + LIVENESS_MS;
        let mut is_done = false;
        let mut told_at = 0;
        while self.step(end) && self.ledger.violations.is_empty() {
            if self.now >= told_at + 10_000 {
                told_at = self.now;
                progress(self.now, self.net.stats.datagrams);
            }
            if self.now > self.calm_at && self.looked_at == self.now && self.is_done() {
                is_done = true;
                break;
            }
        }
        self.lasted_ms = self.now;
        if self.ledger.violations.is_empty() {
            self.finish(is_done);
        }
        self.report()
    }

    /// Goes on to the next event, or to what the machine wants to do; `false` if neither comes
    /// before `end`.
    fn step(&mut self, end: u64) -> bool {
        let turn = self.hub.next_timeout(self.now).filter(|_| !self.is_down);
        let turn = turn.map_or(end, |at| at.next_multiple_of(self.plan_turn_ms)).min(end);
        let Some(at) = self.heap.next_before(turn) else {
            if turn >= end {
                return false;
            }
            self.now = turn;
            self.ledger.now = turn;
            self.turn();
            return true;
        };
        self.now = at;
        self.ledger.now = at;
        let mut events = Vec::new();
        self.heap.take(at, &mut events);
        for event in events {
            self.handle(event);
        }
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Sensor(index) => self.wake_sensor(index),
            Event::Up { sensor, place, octets } => self.hear_sensor(sensor, place, &octets),
            Event::Down { sensor, place, octets } => self.tell_sensor(sensor, place, &octets),
            Event::Client(index) => self.wake_client(index),
            Event::ToHub { conn, octets } => self.hear_client(conn, &octets),
            Event::FromHub { conn, octets } => self.tell_client(conn, &octets),
            Event::HubLost(conn) => self.lose_at_hub(conn),
            Event::ClientLost(conn) => self.lose_at_client(conn),
            Event::Read(conn) => self.read_again(conn),
            Event::Stranger(device) => self.wake_stranger(device),
            Event::TwinLeaves(sensor) => self.leave_as_twin(sensor),
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Calm => self.calm_down(),
            Event::DiskWorks => {
                self.note("the disk works".to_owned());
                self.mend_disk();
            }
            Event::Boot => self.boot(),
        }
    }

    /// The machine does what is due, as often as it has more to do in this millisecond.
    fn turn(&mut self) {
        for turns in 0.. {
            if turns == TURNS_MAX {
                self.ledger.violation(0, "the machine does not come to rest");
                return;
            }
            self.turn_once();
            if self.is_down {
                return;
            }
            if self.hub.next_timeout(self.now) != Some(self.now) {
                break;
            }
        }
        if self.now >= self.looked_at + LOOK_MS {
            self.looked_at = self.now;
            self.look();
        }
    }

    /// What was done so far, by this machine and those before it.
    fn done(&self) -> Done {
        let (stats, sn_stats, before) = (self.hub.broker.stats(), self.hub.sn.stats(), self.before);
        // What expires is not waited for, nor what is too large for a client of MQTT 5.0.
        let dropped = stats.dropped_queue_full
            + stats.dropped_unacknowledged
            + stats.dropped_unsendable.saturating_sub(self.hub.too_large)
            + sn_stats.given_up;
        Done {
            dropped: before.dropped + dropped,
            publish_received: before.publish_received + stats.publish_received,
            publish_sent: before.publish_sent + stats.publish_sent,
            retransmissions: before.retransmissions + sn_stats.retransmissions,
        }
    }

    fn trace(&mut self, party: Party, way: char, octets: &[u8]) {
        if self.is_small {
            let trace = self.traces.entry(party).or_default();
            if trace.len() >= TRACE_MAX {
                trace.pop_front();
            }
            trace.push_back((self.now, way, octets.into()));
        }
    }

    /// Notes what the machine or its disk goes through.
    fn note(&mut self, what: String) {
        if self.history.len() >= TRACE_MAX {
            self.history.pop_front();
        }
        self.history.push_back((self.now, what));
    }

    fn is_done(&mut self) -> bool {
        let sensors = self.sensors.iter().all(|it| it.is_done(self.book.kind(it.index)));
        sensors && self.clients.iter().all(Client::is_done) && self.ledger.missing().0 == 0
    }
}
