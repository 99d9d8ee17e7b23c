//! Several MQTT clients that say anything to the whole machine, in pieces, while time passes: each
//! hears whole packets of a server, CONNACK first, and in the end nothing is left of anybody.

use std::collections::BTreeMap;

use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::mqtt;
use broker_core::share::ShareStrategies;
use broker_core::time::Now;

use super::digest::Digest;
use super::input::Input;
use super::{Target, machine, mqtt_packet};
use crate::sim::hub::{Hub, Out, Setup};

/// See the [module](self).
pub const TARGET: Target =
    Target { name: "mqtt_conn", dictionary: "mqtt-conn", bytes_max: 512, run };

const CLIENTS: usize = 4;

/// What clients often say; the first are how they begin.
const USUAL: [&[u8]; 26] = [
    b"\x10\x0D\x00\x04MQTT\x04\x00\x00\x0A\x00\x01a",
    b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01b",
    b"\x10\x0F\x00\x06MQIsdp\x03\x00\x00\x0A\x00\x01a",
    b"\x10\x13\x00\x04MQTT\x05\x00\x00\x0A\x05\x11\x00\x00\x00\x3C\x00\x01a",
    b"\x10\x14\x00\x04MQTT\x05\x02\x00\x0A\x06\x22\x00\x02\x21\x00\x01\x00\x01b",
    b"\x10\x17\x00\x04MQTT\x04\x2C\x00\x0A\x00\x01c\x00\x03a/w\x00\x03bye",
    b"\x10\x20\x00\x04MQTT\x05\x0C\x00\x0A\x05\x11\x00\x00\x00\x3C\x00\x01c\
        \x05\x18\x00\x00\x00\x05\x00\x01w\x00\x03bye",
    b"\x82\x08\x00\x01\x00\x03a/#\x01",
    b"\x82\x08\x00\x02\x00\x03a/b\x02",
    b"\x82\x09\x00\x03\x00\x00\x03a/#\x02",
    b"\x82\x0B\x00\x04\x02\x0B\x07\x00\x03a/+\x01",
    b"\x82\x10\x00\x05\x00\x00\x0A$share/g/a\x01",
    b"\xA2\x07\x00\x06\x00\x03a/#",
    b"\xA2\x08\x00\x07\x00\x00\x03a/#",
    b"\x30\x07\x00\x03a/bhi",
    b"\x31\x08\x00\x03a/b\x00hi",
    b"\x33\x08\x00\x03a/b\x00\x08x",
    b"\x34\x08\x00\x03a/b\x00\x09x",
    b"\x32\x0D\x00\x03a/b\x00\x0A\x03\x23\x00\x01hi",
    b"\x62\x02\x00\x09",
    b"\x40\x02\x00\x01",
    b"\x50\x02\x00\x01",
    b"\x70\x02\x00\x01",
    b"\xC0\x00",
    b"\xE0\x00",
    b"\xE0\x01\x04",
];

struct World {
    hub: Hub,
    millis: u64,
    conns: [Option<u64>; CLIENTS],
    last_conn: u64,
    /// What each connection was told.
    told: BTreeMap<u64, Vec<u8>>,
    out: Vec<Out>,
}

fn run(octets: &[u8]) -> u64 {
    let mut input = Input::new(octets);
    let mut world = World {
        hub: Hub::new(setup(), Now::default(), fastrand::Rng::with_seed(3), None),
        millis: 0,
        conns: [None; CLIENTS],
        last_conn: 0,
        told: BTreeMap::new(),
        out: Vec::new(),
    };
    while !input.is_empty() {
        world.operate(&mut input);
    }
    world.check_nothing_stays();
    let mut digest = Digest::new();
    for told in world.told.values() {
        mqtt_packet::check_said(told);
        digest.octets(told);
    }
    digest.end()
}

fn setup() -> Setup {
    let limits = Limits {
        sessions_max: 6,
        retained_messages_max: 4,
        filters_per_session_max: 4,
        session_expiry_max_s: 3_600,
        received_ids_max: 4,
        ..Limits::default()
    };
    let broker = BrokerConfig {
        limits,
        durability: Durability::Memory,
        validate_payload_format: true,
        shares: ShareStrategies::default(),
        sys_interval: None,
        version: String::new(),
        seed: 3,
    };
    let mqtt = mqtt::Settings {
        packet_bytes_max: 600,
        receive_maximum: 3,
        window: 2,
        queue: machine::QUEUE,
        ..mqtt::Settings::default()
    };
    let sn = machine::sn_settings(false);
    Setup { broker, sn, mqtt, slice: 20, out_high: 400, drive: None }
}

impl World {
    fn now(&self) -> Now {
        Now::from_millis(self.millis)
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        let client = usize::from(op >> 4) % CLIENTS;
        match op & 0x0F {
            0..=5 => self.say(client, input.choose(&USUAL)),
            6 | 7 => self.say(client, input.counted()),
            8 => {
                // A packet in two pieces, with something between them.
                let (first, second) = input.choose(&USUAL).split_at(input.below(3));
                self.say(client, first);
                self.turn();
                self.say(client, second);
            }
            9 => self.leave(client),
            10 | 11 => self.millis += input.choose(&[1, 100, 5_000, 20_000, 70_000]),
            12 => {
                if let Some(conn) = self.conns[client] {
                    self.hub.set_read(conn, input.flag());
                }
            }
            _ => {}
        }
        if op & 0x80 == 0 {
            self.turn();
        }
    }

    /// A client says something, on a new connection if it has none.
    fn say(&mut self, client: usize, octets: &[u8]) {
        let conn = *self.conns[client].get_or_insert_with(|| {
            self.last_conn += 1;
            self.hub.open(self.last_conn);
            self.last_conn
        });
        let now = self.now();
        self.hub.octets(now, conn, octets, &mut |_, _| {});
    }

    fn leave(&mut self, client: usize) {
        if let Some(conn) = self.conns[client].take() {
            let now = self.now();
            self.hub.lost(now, conn);
        }
    }

    fn turn(&mut self) {
        let now = self.now();
        self.hub.turn(now, &mut self.out, &mut |_, _| {});
        let Self { out, told, conns, hub, .. } = self;
        let mut close = |closed: u64| {
            conns.iter_mut().filter(|conn| **conn == Some(closed)).for_each(|conn| *conn = None);
        };
        for out in out.drain(..) {
            match out {
                Out::Octets { conn, octets } => {
                    told.entry(conn).or_default().extend_from_slice(&octets);
                }
                Out::Closed { conn } => close(conn),
                Out::Datagram { .. } | Out::Groups { .. } => {
                    panic!("nobody speaks MQTT-SN here")
                }
            }
        }
        while let Some(conn) = hub.take_violated() {
            close(conn);
        }
    }

    /// When all have left for long enough, only retained messages are there.
    fn check_nothing_stays(&mut self) {
        (0..CLIENTS).for_each(|client| self.leave(client));
        for _ in 0..8 {
            self.turn();
            self.millis += 1_000_000;
        }
        let usage = self.hub.broker.usage();
        assert_eq!((usage.sessions, usage.subscriptions, usage.queued), (0, 0, 0), "{usage:?}");
        assert_eq!(usage.messages, usage.retained, "{usage:?}");
    }
}
