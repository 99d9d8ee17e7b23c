//! The configuration is read again while everything goes on.
//!
//! Settings are drawn anew, within what devices can live with, and go to the machine by the calls
//! of the server. The checks go by those that hold; where something counts across a change the
//! looser ones do. Nobody may notice: no link ends, nothing is lost, nothing comes twice, and no
//! predefined id changes its meaning under a sensor. Calm begins with the settings of the
//! beginning.

use std::time::Duration;

use broker_core::Broker;
use broker_core::api::{LinkId, Overflow, PacketId, QueueLimits};
use broker_core::limits::{BrokerConfig, Limits};
use broker_core::mqtt;
use fastrand::Rng;
use mqtt_sn_gw::sn::{self, Retry};

use super::troubles::Trouble;
use super::{Event, World};
use crate::sim::hub::Setup;
use crate::sim::plant::Fault;
use crate::sim::{Options, Profile};

/// Reloads in one world.
const RELOADS_MAX: u32 = 12;

/// Times in the life of one machine that ids change places and back. Each leaves two earlier tables
/// to sensors that stay connected, and a machine keeps seven.
const SWAPS_MAX: u32 = 3;

/// Links, and identifiers on each, that a deliberate fault tries.
const LINKS_TRIED: u64 = 2_000;
const IDS_TRIED: u16 = 300;

/// What reloads need to know.
#[derive(Debug)]
pub(super) struct Reloads {
    /// As the world began.
    first: Setup,
    most: Most,
    swaps: u32,
}

/// The loosest bounds that held so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) inflight: u16,
    pub(super) queue_messages: u32,
}

impl Reloads {
    pub(super) fn new(first: &Setup) -> Self {
        let inflight = first.broker.limits.inflight_max;
        let queue_messages = first.mqtt.queue.messages_max;
        Self { first: first.clone(), most: Most { inflight, queue_messages }, swaps: 0 }
    }

    pub(super) const fn most(&self) -> Most {
        self.most
    }

    /// Another process, which knows of no earlier table.
    pub(super) const fn machine_began(&mut self) {
        self.swaps = 0;
    }

    fn note(&mut self, setup: &Setup) {
        let Most { inflight, queue_messages } = &mut self.most;
        *inflight = setup.broker.limits.inflight_max.max(*inflight);
        *queue_messages = setup.mqtt.queue.messages_max.max(*queue_messages);
    }
}

impl World {
    /// Plans reloads for half of the worlds, from a source of their own: they change nothing else.
    pub(super) fn plan_reloads(&mut self, options: &Options) {
        let mut rng = Rng::with_seed(options.seed ^ 0x5E10_AD5E);
        if options.profile == Profile::Steady || rng.bool() {
            return;
        }
        for _ in 0..rng.u32(1..=RELOADS_MAX) {
            let at = rng.u64(1_000..self.calm_at.max(1_001));
            self.heap.plan(at, Event::Trouble(Trouble::Reload { seed: rng.u64(..) }));
        }
    }

    /// Another configuration.
    pub(super) fn reload(&mut self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let setup = varied(&self.reloads.first, &mut rng);
        if rng.bool() && self.reloads.swaps < SWAPS_MAX && !self.is_down {
            // Every id means what the next one meant, and then as before: nobody connects in
            // between, so nobody may go by it.
            self.reloads.swaps += 1;
            let mut swapped = setup.clone();
            let mut names: Vec<_> = setup.sn.predefined.values().cloned().collect();
            names.rotate_left(1);
            swapped.sn.predefined = setup.sn.predefined.keys().copied().zip(names).collect();
            self.take_setup(swapped);
        }
        self.take_setup(setup);
    }

    /// The configuration of the beginning.
    pub(super) fn reload_first(&mut self) {
        if self.faults.reloads > 0 {
            self.take_setup(self.reloads.first.clone());
        }
    }

    fn take_setup(&mut self, setup: Setup) {
        self.faults.reloads += 1;
        self.note(format!("reload: {:?} {:?}", setup.broker.limits, setup.sn.retry));
        self.reloads.note(&setup);
        self.strangers.reloaded(&setup.sn);
        self.streams.iter_mut().for_each(|stream| stream.reloaded(setup.rules()));
        self.visit_ms = self.visit_ms.max(visit_ms(&setup.sn));
        let now = self.clock();
        let mut hub_setup = setup.clone();
        self.plant.misconfigure(&mut hub_setup.sn);
        let is_taken = self.hub.reload(now, hub_setup);
        self.ledger.check(0, is_taken, "the predefined topics are not taken");
        self.setup = setup;
        if self.is_down {
            // It begins with them.
            return;
        }
        self.plant.is_reloaded = true;
        let links = (1..=LINKS_TRIED).map(|link| LinkId(link | 1 << 63));
        match self.plant.fault() {
            Some(Fault::ReloadForgetsReceived) => {
                self.plant.planted += 1;
                links.for_each(|link| forget_received(&mut self.hub.broker, link));
            }
            Some(Fault::ReloadLosesLinks) => {
                self.plant.planted += 1;
                links.for_each(|link| self.hub.broker.lost(now, link));
            }
            Some(_) | None => {}
        }
    }
}

/// The longest that a visit may last without a word of the client.
pub(super) fn visit_ms(settings: &sn::Settings) -> u64 {
    let awake = settings.awake_retry;
    let visit = awake.after * (u32::from(awake.times) + 2);
    u64::try_from(visit.as_millis()).unwrap_or(u64::MAX)
}

fn forget_received(broker: &mut Broker, link: LinkId) {
    (1..=IDS_TRIED).for_each(|id| broker.forget_received(link, PacketId(id)));
}

/// The settings of the beginning, but for what is drawn anew.
fn varied(first: &Setup, rng: &mut Rng) -> Setup {
    let first = first.clone();
    let queue = QueueLimits {
        messages_max: rng.u32(500..=10_000),
        bytes_max: rng.u64(1 << 20..1 << 30),
        paused_qos0_messages_max: rng.u32(1..100),
        overflow: [Overflow::RejectNew, Overflow::DropOldest][rng.usize(..2)],
    };
    let inflight_max = rng.u16(1..=20);
    let limits = Limits { inflight_max, ..first.broker.limits };
    let sn = varied_sn(first.sn, queue, rng);
    Setup {
        broker: BrokerConfig { limits, ..first.broker },
        mqtt: mqtt::Settings { window: rng.u16(1..=20), queue, ..first.mqtt },
        sn,
        ..first
    }
}

fn varied_sn(first: sn::Settings, queue: QueueLimits, rng: &mut Rng) -> sn::Settings {
    let millis = Duration::from_millis;
    sn::Settings {
        retry: Retry { after: millis(rng.u64(2_000..=10_000)), times: rng.u8(3..=5) },
        awake_retry: Retry { after: millis(rng.u64(1_000..=4_000)), times: rng.u8(2..=4) },
        handshake_timeout: millis(rng.u64(30_000..=60_000)),
        // Not at once: strangers know names and would be let in.
        takeover_probe: millis(rng.u64(1_500..=3_000)),
        congestion_pause: millis(rng.u64(1_000..=10_000)),
        unknown_answers_per_s: rng.u32(500..=1_000),
        unknown_answers_per_source: rng.u32(2..=4),
        topic_ids_max: rng.u16(500..=1_024),
        queue,
        ..first
    }
}
