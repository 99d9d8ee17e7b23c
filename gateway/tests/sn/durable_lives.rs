//! Random lives with crashes between any two outputs: a topic id that a client has learnt never
//! means another name.

use std::collections::BTreeMap;

use broker_core::api::QoS;

use crate::farm::{Farm, Q0, Q1, Q2};

const NAMES: [&str; 8] = ["a/0", "a/1", "a/2", "a/3", "b/0", "b/1", "b/2", "b/3"];
const FILTERS: [&str; 5] = ["a/0", "b/1", "a/+", "b/+", "#"];

/// What a client believes.
#[derive(Default)]
struct Device {
    address: String,
    client_id: String,
    /// Topic ids of its session.
    learnt: BTreeMap<u16, String>,
    /// Names in requests without an answer.
    asked: BTreeMap<u16, String>,
    last_id: u16,
    /// Whether its session ends with the connection.
    is_clean: bool,
    /// The CONNECT under way, and whether it asks for that; it is repeated as it is.
    asks_clean: Option<bool>,
    sleeps: bool,
}

impl Device {
    fn new(number: usize) -> Self {
        let address = format!("192.0.2.{}:1000", number + 1);
        Self { address, client_id: format!("dev{number}"), is_clean: true, ..Self::default() }
    }

    fn ask(&mut self, name: &str) -> [u8; 2] {
        self.last_id += 1;
        self.asked.insert(self.last_id, name.to_owned());
        self.last_id.to_be_bytes()
    }

    /// The session is gone, and the client will notice.
    fn lose_session(&mut self) {
        self.learnt.clear();
    }

    fn learn(&mut self, id: u16, name: &str, seed: u64) {
        let known = self.learnt.entry(id).or_insert_with(|| name.to_owned());
        assert_eq!(known, name, "seed {seed}: {} learnt {id} otherwise", self.client_id);
    }

    /// What the client makes of a datagram, and answers.
    fn hear(&mut self, octets: &[u8], seed: u64) -> Option<Vec<u8>> {
        let number = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        match octets[1] {
            0x05 => self.hear_connack(octets[2] == 0),
            0x0A => {
                let name = core::str::from_utf8(&octets[6..]).expect("a topic name");
                self.learn(number(2), name, seed);
                return Some([&[7, 0x0B][..], &octets[2..6], &[0]].concat());
            }
            0x0B if octets[6] == 0 => {
                if let Some(name) = self.asked.remove(&number(4)) {
                    self.learn(number(2), &name, seed);
                }
            }
            0x13 if octets[7] == 0 && number(3) != 0 => {
                if let Some(name) = self.asked.remove(&number(5)) {
                    self.learn(number(3), &name, seed);
                }
            }
            0x0C => return self.hear_publish(octets, number(3), seed),
            0x0F => return Some([&[4, 0x10][..], &octets[2..4]].concat()),
            0x10 => return Some([&[4, 0x0E][..], &octets[2..4]].concat()),
            0x18 if self.is_clean && !self.sleeps => self.lose_session(),
            _ => {}
        }
        None
    }

    fn hear_connack(&mut self, is_accepted: bool) {
        let Some(is_clean) = self.asks_clean.take().filter(|_| is_accepted) else { return };
        // A clean session may have ended without a word.
        if is_clean || self.is_clean {
            self.learnt.clear();
        }
        (self.is_clean, self.sleeps) = (is_clean, false);
    }

    /// Payloads are the names of their topics.
    fn hear_publish(&mut self, octets: &[u8], id: u16, seed: u64) -> Option<Vec<u8>> {
        let name = core::str::from_utf8(&octets[7..]).expect("a topic name");
        let (qos, msg_id) = (octets[2] >> 5 & 3, &octets[5..7]);
        let code = match self.learnt.get(&id) {
            Some(known) => {
                assert_eq!(known, name, "seed {seed}: {} heard {id} otherwise", self.client_id);
                0
            }
            // What told it got lost in the crash.
            None => 2,
        };
        match qos {
            2 if code == 0 => Some([&[4, 0x0F][..], msg_id].concat()),
            0 if code == 0 => None,
            _ => Some([&[7, 0x0D][..], &octets[3..7], &[code]].concat()),
        }
    }
}

struct World {
    farm: Farm,
    devices: Vec<Device>,
    rng: fastrand::Rng,
    seed: u64,
    /// What services heard: the topic must be the payload.
    watcher: broker_core::api::LinkId,
    /// How often something was learnt through a crash.
    crashes: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut farm = Farm::durable();
        farm.disk.is_fast = false;
        let watcher = farm.watch("#");
        let devices = (0..3).map(Device::new).collect();
        Self { farm, devices, rng: fastrand::Rng::with_seed(seed), seed, watcher, crashes: 0 }
    }

    fn step(&mut self) {
        let name = NAMES[self.rng.usize(..NAMES.len())];
        let device = self.rng.usize(..self.devices.len());
        match self.rng.u8(..16) {
            0 => self.connect(device),
            1..=3 => {
                let id = self.devices[device].ask(name);
                self.say(device, &[&[0x0A, 0, 0], &id[..], name.as_bytes()]);
            }
            4 | 5 => {
                let filter = FILTERS[self.rng.usize(..FILTERS.len())];
                let id = self.devices[device].ask(filter);
                let flags = self.rng.u8(..3) << 5;
                self.say(device, &[&[0x12, flags], &id[..], filter.as_bytes()]);
            }
            6 | 7 => {
                let qos = [Q0, Q1, Q2][self.rng.usize(..3)];
                self.publish(name, qos);
            }
            8 => self.publish_by_id(device),
            9 => {
                self.devices[device].sleeps = true;
                self.say(device, &[&[0x18, 0, 60]]);
            }
            10 => {
                let client_id = self.devices[device].client_id.clone();
                self.say(device, &[&[0x16], client_id.as_bytes()]);
            }
            11..=13 => self.farm.commit_one(),
            14 => self.farm.pass(5_000),
            _ if self.rng.u8(..3) == 0 => self.crash(),
            _ => self.farm.commit(),
        }
        self.deliver();
    }

    fn connect(&mut self, device: usize) {
        let is_clean = self.rng.u8(..6) == 0;
        let is_clean = *self.devices[device].asks_clean.get_or_insert(is_clean);
        let client_id = self.devices[device].client_id.clone();
        let flags = if is_clean { 4 } else { 0 };
        self.say(device, &[&[0x04, flags, 1, 0, 200], client_id.as_bytes()]);
    }

    fn publish(&mut self, name: &str, qos: QoS) {
        self.farm.publish(name, name, qos);
    }

    fn publish_by_id(&mut self, device: usize) {
        let learnt = &self.devices[device].learnt;
        let Some((id, name)) = learnt.iter().nth(self.rng.usize(..=learnt.len())) else { return };
        let (id, name) = (id.to_be_bytes(), name.clone());
        self.say(device, &[&[0x0C, 0], &id[..], &[0, 0], name.as_bytes()]);
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.farm.crash_and_restart();
        self.watcher = self.farm.watch("#");
        for device in &mut self.devices {
            if device.asks_clean.take() == Some(true) || device.is_clean {
                device.lose_session();
            }
        }
    }

    fn say(&mut self, device: usize, parts: &[&[u8]]) {
        let body = parts.concat();
        let len = u8::try_from(body.len() + 1).expect("short messages");
        let octets = [&[len][..], &body].concat();
        let address = self.devices[device].address.clone();
        self.farm.send(&address, &octets);
    }

    /// Everybody hears, and answers most of it.
    fn deliver(&mut self) {
        loop {
            let mut was_idle = true;
            for device in &mut self.devices {
                for octets in self.farm.take(&device.address) {
                    was_idle = false;
                    if let Some(answer) = device.hear(&octets, self.seed)
                        && self.rng.u8(..8) > 0
                    {
                        self.farm.send(&device.address, &answer);
                    }
                }
            }
            if was_idle {
                break;
            }
        }
        for heard in self.farm.heard(self.watcher) {
            let mut words = heard.split(' ');
            assert_eq!(words.next(), words.next(), "seed {}: {heard}", self.seed);
        }
    }
}

#[test]
fn a_topic_id_that_a_client_has_learnt_never_means_another_name() {
    let (mut learnt, mut crashes) = (0, 0);
    for seed in 0..1_000 {
        let mut world = World::new(seed);
        for _ in 0..150 {
            world.step();
        }
        learnt += world.devices.iter().map(|device| device.learnt.len()).sum::<usize>();
        crashes += world.crashes;
    }
    assert!(learnt > 4_000 && crashes > 2_000, "{learnt} learnt, {crashes} crashes");
}
