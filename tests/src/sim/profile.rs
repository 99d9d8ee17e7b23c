//! What a world is made of: drawn from its seed within what its profile allows.

use core::num::NonZeroU16;
use std::fmt;
use std::time::Duration;

use broker_core::api::{Overflow, QueueLimits};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::mqtt::{self, Versions};
use broker_core::share::ShareStrategies;
use broker_core::topic::{TopicBuf, TopicName};
use clap::ValueEnum;
use fastrand::Rng;
use mqtt_sn_gw::config::OnDiskFull;
use mqtt_sn_gw::sn::{self, Retry};
use mqtt_sn_gw::store::LogConfig;

use super::Options;
use super::book::{Book, GROUPS, PREDEFINED, Voice};
use super::client::{Five, Offer, Role, Wish};
use super::hub::Setup;
use super::kind::{Kind, Taste};
use super::net::Weather;
use super::store::Drive;
use super::stream::Rules;
use super::wire::Version;

/// Sensors of a storm that may listen besides. In a larger one nobody but the clients does: the
/// model looks through all who have subscribed for each publication, and what is sent to all would
/// be as many deliveries as sensors times sensors.
const LISTENING_MAX: u32 = 2_000;

/// What a world is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// A bit of everything, every world different.
    Swarm,
    /// Up to three datagrams of ten are lost, alone or in bursts; copies, delays, cuts.
    LossyRadio,
    /// Nearly all sensors sleep, and most of them are sent something.
    SleepyFarm,
    /// Ports and hosts of sensors change all the time.
    NatCellular,
    /// Devices that send changed octets.
    Hostile,
    /// The power goes, and all devices come back at once.
    Storm,
    /// The gateway is killed, loses its power, is stopped; its disk is slow, full, failing.
    Crashy,
    /// One publication of QoS 1 each, every half a minute, five of a hundred datagrams lost.
    Steady,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no profile is hidden");
        f.write_str(value.get_name())
    }
}

/// How often things go wrong, in events per sensor, client or world.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) rebinds: f64,
    pub(crate) moves: f64,
    pub(crate) twins: f64,
    /// Per forwarder.
    pub(crate) forwarder_moves: f64,
    pub(crate) power_cuts: f64,
    pub(crate) radio_cuts: f64,
    pub(crate) client_breaks: f64,
    pub(crate) slow_readers: f64,
    pub(crate) restarts: f64,
    pub(crate) clock_jumps: f64,
    pub(crate) storms: f64,
    /// Only where the state is kept on a disk.
    pub(crate) crashes: f64,
    pub(crate) stops: f64,
    pub(crate) disk_failures: f64,
}

/// A world as it was drawn.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) book: Book,
    pub(crate) roles: Vec<Role>,
    pub(crate) weather: Weather,
    pub(crate) rates: Rates,
    pub(crate) setup: Setup,
    /// Devices that mean no good.
    pub(crate) strangers: u32,
    /// The gateway does its turns at multiples of this.
    pub(crate) turn_ms: u64,
    pub(crate) tcp_delay_ms: u64,
    pub(crate) wall_begin_ms: u64,
    /// When faults end.
    pub(crate) calm_at: u64,
    /// Sensors begin within this time.
    pub(crate) begin_ms: u64,
}

impl Plan {
    pub(crate) fn draw(options: &Options, rng: &mut Rng) -> Self {
        let Options { sensors, minutes, profile, seed, .. } = *options;
        let is_steady = profile == Profile::Steady;
        let kinds = if is_steady {
            vec![Kind::plain(30_000, minutes)]
        } else {
            let taste = taste(profile, sensors, rng);
            (0..rng.u32(2..=8)).map(|_| Kind::draw(rng, taste, minutes)).collect()
        };
        let roles =
            if is_steady { steady_roles() } else { draw_roles(rng, profile, minutes, sensors) };
        let clients = u32::try_from(roles.len()).expect("some clients");
        let client_qos = [(0, [true; 3]), (1, [true, true, false]), (2, [false, true, true])];
        let client_qos = client_qos[rng.usize(..3)].1;
        let calm_at = u64::from(minutes) * 60_000;
        let is_kept = match profile {
            Profile::Crashy => true,
            Profile::Swarm => rng.bool(),
            Profile::LossyRadio
            | Profile::SleepyFarm
            | Profile::NatCellular
            | Profile::Hostile
            | Profile::Storm
            | Profile::Steady => false,
        };
        let mut setup = setup(rng, sensors, seed, is_steady);
        let forwarders = if is_steady || rng.u32(..3) == 0 { 0 } else { rng.u32(1..=3) };
        let nodes_percent = if rng.bool() { 100 } else { rng.u64(10..=90) };
        if forwarders > 0 && rng.bool() {
            // Room for all, and for those whom nobody has missed yet.
            setup.sn.nodes_per_forwarder = 4 * (sensors / forwarders) + 5;
        }
        let voice = |role: &Role| Voice { version: role.version, padding_max: role.padding_max };
        let voices = roles.iter().map(voice).collect();
        Self {
            book: Book {
                seed,
                sensors,
                clients,
                forwarders,
                nodes_percent,
                kinds,
                client_qos,
                voices,
            },
            roles,
            weather: weather(profile, rng),
            rates: rates(profile, rng, is_kept),
            setup: if is_kept { with_disk(setup, rng) } else { setup },
            strangers: match profile {
                Profile::Hostile => rng.u32(3..20),
                Profile::Swarm => [0, 0, 5][rng.usize(..3)],
                Profile::LossyRadio
                | Profile::SleepyFarm
                | Profile::NatCellular
                | Profile::Storm
                | Profile::Crashy
                | Profile::Steady => 0,
            },
            turn_ms: if is_steady { 1 } else { [1, 1, 5, 20][rng.usize(..4)] },
            tcp_delay_ms: if is_steady { 1 } else { rng.u64(1..30) },
            wall_begin_ms: 1_700_000_000_000,
            calm_at,
            begin_ms: if is_steady { 30_000 } else { rng.u64(1..20_000) },
        }
    }
}

fn taste(profile: Profile, sensors: u32, rng: &mut Rng) -> Taste {
    let any = rng.u32(..100);
    let base = Taste { sleepers: 20, listeners: 50, wills: 30, clean: 25, is_plain: false };
    match profile {
        Profile::SleepyFarm => Taste { sleepers: 95, listeners: 80, ..base },
        Profile::Swarm => Taste { sleepers: any, listeners: 100 - any / 2, ..base },
        Profile::Storm if sensors > LISTENING_MAX => Taste { listeners: 0, ..base },
        Profile::LossyRadio
        | Profile::NatCellular
        | Profile::Hostile
        | Profile::Storm
        | Profile::Crashy
        | Profile::Steady => base,
    }
}

fn weather(profile: Profile, rng: &mut Rng) -> Weather {
    match profile {
        Profile::Steady => Weather::plain(0.05),
        Profile::LossyRadio => Weather::draw(rng, 0.3),
        Profile::Swarm => {
            let most = [0.0, 0.1, 0.3][rng.usize(..3)];
            Weather::draw(rng, most)
        }
        Profile::SleepyFarm
        | Profile::NatCellular
        | Profile::Hostile
        | Profile::Storm
        | Profile::Crashy => Weather::draw(rng, 0.1),
    }
}

fn rates(profile: Profile, rng: &mut Rng, is_kept: bool) -> Rates {
    let mut some = |most: f64| if rng.bool() { rng.f64() * most } else { 0.0 };
    let base = Rates {
        rebinds: some(0.5),
        moves: some(0.2),
        twins: some(3.0),
        forwarder_moves: some(2.0),
        power_cuts: some(0.3),
        radio_cuts: some(0.5),
        client_breaks: some(2.0),
        slow_readers: some(1.0),
        restarts: 0.0,
        clock_jumps: some(2.0),
        storms: 0.0,
        crashes: 0.0,
        stops: 0.0,
        disk_failures: 0.0,
    };
    match profile {
        Profile::Steady => Rates::default(),
        Profile::NatCellular => Rates { rebinds: 4.0, moves: 2.0, ..base },
        Profile::Storm => Rates { storms: 1.5, restarts: 0.7, ..base },
        Profile::Swarm => {
            let base = Rates { storms: some(0.4), ..base };
            let [crashes, stops, disk_failures] = [some(4.0), some(1.0), some(3.0)];
            let restarts = some(0.6);
            if is_kept {
                Rates { crashes, stops, disk_failures, ..base }
            } else {
                Rates { restarts, ..base }
            }
        }
        Profile::Crashy => {
            let [crashes, disk_failures] = [2.0 + some(10.0), some(4.0)];
            Rates { crashes, stops: 0.5, disk_failures, storms: 0.1, ..base }
        }
        Profile::LossyRadio => Rates { radio_cuts: 1.5, ..base },
        Profile::SleepyFarm | Profile::Hostile => base,
    }
}

fn steady_roles() -> Vec<Role> {
    let role = |group| Role {
        filters: vec![Wish { filter: format!("s/{group}/#"), qos: 1, ..Wish::default() }],
        window: 1,
        keep_alive_s: 600,
        ..Role::default()
    };
    (0..GROUPS).map(role).collect()
}

/// The first one watches all wills and never fails.
fn draw_roles(rng: &mut Rng, profile: Profile, minutes: u32, sensors: u32) -> Vec<Role> {
    let watcher = Role {
        version: version(rng),
        filters: vec![Wish { filter: "w/#".to_owned(), qos: 2, ..Wish::default() }],
        window: 1,
        keep_alive_s: 60,
        five: Five { expiry_s: u32::MAX, alias_maximum: 10, ..Five::default() },
        ..Role::default()
    };
    let mut roles = vec![watcher];
    let run_ms = u64::from(minutes) * 60_000;
    let filters =
        ["#", "s/#", "+/+/+", "s/3/+", "pre/#", "+", "r/#", "c/all", "pre/2", "+/all", "s/+/#"];
    for place in 0..rng.u32(3..7) {
        let publishes = place < 2;
        let goal = if publishes { rng.u32(20..60) + sensors / 2 } else { 0 };
        let version = version(rng);
        let mut mine: Vec<Wish> = (0..rng.u32(1..3))
            .map(|_| {
                let filter = filters[rng.usize(..filters.len())];
                wish(rng, version, filter)
            })
            .collect();
        if place == 2 {
            mine[0] = Wish { qos: 2, ..wish(rng, version, "#") };
        }
        if version.is_5() && publishes && rng.bool() {
            // What it hears of itself, or does not.
            mine.push(wish(rng, version, "r/#"));
        }
        mine.sort_by(|a, b| a.filter.cmp(&b.filter));
        mine.dedup_by(|a, b| a.filter == b.filter);
        let slow = if profile == Profile::SleepyFarm { 1 } else { 0 };
        roles.push(Role {
            version,
            filters: mine,
            goal,
            interval_ms: (run_ms / u64::from(goal.max(1)) / (2 + slow)).max(1),
            window: rng.usize(1..20),
            is_clean: rng.u32(..3) == 0,
            has_will: rng.bool(),
            keep_alive_s: rng.u16(10..100),
            padding_max: rng.usize(..60),
            leaves_every_ms: [0, rng.u64(5_000..120_000)][rng.usize(..2)],
            five: draw_five(rng),
        });
    }
    if rng.bool() {
        roles.extend(draw_group(rng));
    }
    roles
}

/// The members of a group, each with this subscription alone. They may speak different versions.
fn draw_group(rng: &mut Rng) -> Vec<Role> {
    let filter = ["$share/workers/s/#", "$share/workers/#", "$share/workers/c/+"][rng.usize(..3)];
    let qos = rng.u8(1..3);
    let member = |rng: &mut Rng| {
        let version = version(rng);
        // No Local is an error in a shared subscription [MQTT5-3.8.3-4].
        let wish = wish(rng, version, filter);
        Role {
            version,
            filters: vec![Wish { qos, options: wish.options & !0x04, ..wish }],
            window: 1,
            is_clean: rng.u32(..3) == 0,
            keep_alive_s: rng.u16(10..100),
            leaves_every_ms: rng.u64(5_000..120_000),
            five: Five { packet_maximum: 0, ..draw_five(rng) },
            ..Role::default()
        }
    };
    (0..rng.u32(2..4)).map(|_| member(rng)).collect()
}

fn version(rng: &mut Rng) -> Version {
    [Version::V31, Version::V311, Version::V5][rng.usize(..3)]
}

fn wish(rng: &mut Rng, version: Version, filter: &str) -> Wish {
    let (qos, has_id) = (rng.u8(0..3), rng.bool());
    // No Local, Retain As Published, Retain Handling.
    let options = rng.u8(0..4) << 2 | rng.u8(0..3) << 4;
    let (options, has_id) = if version.is_5() { (options, has_id) } else { (0, false) };
    Wish { filter: filter.to_owned(), qos, options, has_id }
}

fn draw_five(rng: &mut Rng) -> Five {
    Five {
        expiry_s: [0, rng.u32(1..10), rng.u32(10..60), 3_600, u32::MAX][rng.usize(..5)],
        starts_anew: rng.bool(),
        will_delay_s: [0, rng.u32(1..20), rng.u32(1..90)][rng.usize(..3)],
        receive_maximum: [0, 1, rng.u16(1..10)][rng.usize(..3)],
        packet_maximum: [0, 0, rng.u32(90..250)][rng.usize(..3)],
        alias_maximum: [0, 1, rng.u16(1..12)][rng.usize(..3)],
        has_aliases: rng.bool(),
        refuses: rng.u32(..3) == 0,
    }
}

fn setup(rng: &mut Rng, sensors: u32, seed: u64, is_steady: bool) -> Setup {
    let sessions = sensors as usize * 2 + 2_000;
    let limits = Limits {
        session_expiry_max_s: if is_steady { 86_400 } else { [100_000, 604_800][rng.usize(..2)] },
        memory_bytes: if is_steady { 16 << 30 } else { 256 << 20 },
        sessions_max: sessions,
        ..Limits::default()
    };
    let queue = QueueLimits {
        messages_max: if is_steady { 1_000_000 } else { 10_000 },
        bytes_max: 1 << 30,
        paused_qos0_messages_max: rng.u32(1..100),
        overflow: [Overflow::RejectNew, Overflow::DropOldest][rng.usize(..2)],
    };
    let mqtt = mqtt::Settings {
        versions: Versions::ALL,
        window: rng.u16(1..=20),
        receive_maximum: [rng.u16(1..=4), 100][rng.usize(..2)],
        topic_alias_maximum: [0, 2, 10][rng.usize(..3)],
        outbound_alias_maximum: [0, 2, 32][rng.usize(..3)],
        keep_alive_max_s: [None, NonZeroU16::new(rng.u16(10..60))][rng.usize(..2)],
        session_expiry_s: u32::MAX,
        queue,
        ..mqtt::Settings::default()
    };
    Setup {
        broker: BrokerConfig {
            validate_payload_format: false,
            shares: ShareStrategies::default(),
            limits,
            durability: Durability::Memory,
            sys_interval: None,
            version: "simulated".to_owned(),
            seed,
        },
        sn: sn_settings(rng, queue, sessions, is_steady),
        mqtt: if is_steady { mqtt::Settings { window: 20, ..mqtt } } else { mqtt },
        drive: None,
        slice: if is_steady { 1_024 } else { [1, 10, 1_024][rng.usize(..3)] },
        out_high: if is_steady { 64 << 10 } else { [100, 1_000, 64 << 10][rng.usize(..3)] },
    }
}

/// The same with its state on a disk: files so small that there are many.
fn with_disk(setup: Setup, rng: &mut Rng) -> Setup {
    let file_bytes = [600, 4_000, 30_000][rng.usize(..3)];
    let slack_bytes = file_bytes / 2 * rng.u64(1..8);
    let slow = [1, 20, 400][rng.usize(..3)];
    let drive = Drive {
        log: LogConfig { file_bytes, slack_bytes, reserve_bytes: [0, 4_000][rng.usize(..2)] },
        sync_ms: [rng.u64(0..=slow / 4), slow],
        on_disk_full: [OnDiskFull::Refuse, OnDiskFull::Degrade][rng.usize(..2)],
    };
    Setup {
        broker: BrokerConfig { durability: Durability::Gated, ..setup.broker },
        sn: sn::Settings { is_durable: true, ..setup.sn },
        drive: Some(drive),
        ..setup
    }
}

fn sn_settings(
    rng: &mut Rng,
    queue: QueueLimits,
    sessions: usize,
    is_steady: bool,
) -> sn::Settings {
    let millis = Duration::from_millis;
    let retry_ms = if is_steady { 10_000 } else { rng.u64(2_000..=10_000) };
    sn::Settings {
        retry: Retry { after: millis(retry_ms), times: rng.u8(3..=5) },
        awake_retry: Retry { after: millis(rng.u64(1_000..=4_000)), times: rng.u8(2..=4) },
        advertise_s: if is_steady { 0 } else { [0, 0, rng.u16(20..200)][rng.usize(..3)] },
        handshakes_max: if is_steady { sessions } else { [sessions, 4][rng.usize(..2)] },
        searchgw_per_s: [2, 20][rng.usize(..2)],
        queue,
        nodes_per_forwarder: u32::try_from(sessions).unwrap_or(u32::MAX).min(100_000) / 8,
        forwarders: vec![sn::Network { address: [120, 0, 0, 0].into(), prefix_len: 6 }],
        predefined: (1..=PREDEFINED).map(|id| (id, predefined(id))).collect(),
        ..sn::Settings::default()
    }
}

#[cfg(test)]
pub(crate) fn plain_settings() -> sn::Settings {
    let queue = QueueLimits {
        messages_max: 10,
        bytes_max: 1_000,
        paused_qos0_messages_max: 1,
        overflow: Overflow::RejectNew,
    };
    sn_settings(&mut Rng::with_seed(1), queue, 10, true)
}

impl Setup {
    /// What clients of MQTT 5.0 are told of it.
    pub(crate) fn offer(&self) -> Offer {
        let mqtt::Settings { receive_maximum, topic_alias_maximum, packet_bytes_max, .. } =
            self.mqtt;
        Offer {
            receive_maximum,
            alias_maximum: topic_alias_maximum,
            keep_alive_s_max: self.mqtt.keep_alive_max_s.map(NonZeroU16::get),
            expiry_s_max: self.broker.limits.session_expiry_max_s,
            packet_bytes_max,
        }
    }

    /// What their connections are held to.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            is_kept: self.drive.is_some(),
            expiry_s_max: self.broker.limits.session_expiry_max_s,
            window: self.mqtt.window,
        }
    }
}

fn predefined(id: u16) -> TopicBuf {
    let name = format!("pre/{id}");
    TopicBuf::from(TopicName::new(&name).expect("a good name"))
}
