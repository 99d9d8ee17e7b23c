//! Connections that break at any moment: nothing of QoS 1 is lost, nothing of QoS 2 is lost or
//! doubled, and nothing overtakes.
//!
//! The clients here do what the standard asks of clients: they answer each packet, and send again
//! after a reconnect what was not acknowledged.

use std::collections::BTreeSet;

use crate::octets::{V5, V311, Version, body, packets};
use crate::world::{Link, World};

const MESSAGES: u16 = 40;
const SEEDS: u64 = 150;

/// A subscriber whose session stays.
struct Subscriber {
    name: &'static str,
    link: Link,
    /// Identifiers of QoS 2 that were received and not released.
    unreleased: BTreeSet<u16>,
    /// The numbers of the messages as they came.
    heard: Vec<u16>,
}

/// A publisher whose session stays.
struct Publisher {
    link: Link,
    /// Messages by number, which is also their identifier, and whether they were received (QoS 2).
    unacknowledged: Vec<(u16, bool)>,
    next: u16,
}

/// Of QoS 1 and 2 in turn.
const fn qos(number: u16) -> u8 {
    1 + (number % 2) as u8
}

fn publish(number: u16, dup: bool) -> String {
    let first = 0x30 | u8::from(dup) << 3 | qos(number) << 1;
    format!("{first:02X}: 't' {number:04X} {{}} {number:04X}")
}

fn id_of(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([body(packet)[at], body(packet)[at + 1]])
}

impl Subscriber {
    fn new(world: &mut World, version: Version, name: &'static str, qos: u8) -> Self {
        let link = world.stays(version, name);
        world.subscribe(link, "t", qos);
        Self { name, link, unreleased: BTreeSet::new(), heard: Vec::new() }
    }

    fn come_back(&mut self, world: &mut World) {
        world.cut(self.link);
        let (link, was_there) = world.back(self.link.version, self.name);
        assert!(was_there);
        self.link = link;
    }

    /// Takes what is there; the connection may break in front of each packet, and the answer to it
    /// be lost. Says whether there was anything.
    fn work(&mut self, world: &mut World, breaks: &mut impl FnMut() -> bool) -> bool {
        let said = packets(&world.take(self.link));
        for packet in &said {
            if breaks() {
                self.come_back(world);
                return true;
            }
            let answer = self.hear(packet);
            if breaks() {
                self.come_back(world);
                return true;
            }
            world.send(self.link, &answer);
        }
        !said.is_empty()
    }

    fn hear(&mut self, packet: &[u8]) -> String {
        if packet[0] == 0x62 {
            let id = id_of(packet, 0);
            self.unreleased.remove(&id);
            return format!("70: {id:04X}");
        }
        assert_eq!(packet[0] & 0xF1, 0x30, "{packet:02X?}");
        let id = id_of(packet, 3);
        let number = id_of(packet, body(packet).len() - 2);
        if packet[0] & 6 == 2 {
            self.heard.push(number);
            return format!("40: {id:04X}");
        }
        if self.unreleased.insert(id) {
            self.heard.push(number);
        }
        format!("50: {id:04X}")
    }

    fn check(&self, granted: u8) {
        let mut first = Vec::new();
        for number in &self.heard {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        let all: Vec<_> = (1..=MESSAGES).collect();
        assert_eq!(first, all, "{}: lost or overtaken", self.name);
        for number in all.into_iter().filter(|number| qos(*number).min(granted) == 2) {
            let times = self.heard.iter().filter(|heard| **heard == number).count();
            assert_eq!(times, 1, "{}: {number}", self.name);
        }
    }
}

impl Publisher {
    fn come_back(&mut self, world: &mut World) {
        world.cut(self.link);
        let (link, was_there) = world.back(self.link.version, "publisher");
        assert!(was_there);
        self.link = link;
        for (number, is_received) in &self.unacknowledged {
            let again =
                if *is_received { format!("62: {number:04X}") } else { publish(*number, true) };
            world.send(link, &again);
        }
    }

    fn work(&mut self, world: &mut World, breaks: &mut impl FnMut() -> bool) -> bool {
        let mut is_busy = false;
        if self.next <= MESSAGES && self.unacknowledged.len() < 8 {
            is_busy = true;
            self.unacknowledged.push((self.next, false));
            self.next += 1;
            if breaks() {
                self.come_back(world);
                return true;
            }
            world.send(self.link, &publish(self.next - 1, false));
        }
        for packet in packets(&world.take(self.link)) {
            is_busy = true;
            if breaks() {
                self.come_back(world);
                return true;
            }
            let id = id_of(&packet, 0);
            if packet[0] == 0x50 {
                for entry in self.unacknowledged.iter_mut().filter(|(number, _)| *number == id) {
                    entry.1 = true;
                }
                world.send(self.link, &format!("62: {id:04X}"));
            } else {
                assert!([0x40, 0x70].contains(&packet[0]), "{packet:02X?}");
                self.unacknowledged.retain(|(number, _)| *number != id);
            }
        }
        is_busy
    }
}

/// [MQTT-4.3.2-1], [MQTT-4.3.3-1], [MQTT-4.3.3-2], [MQTT-4.4.0-1], [MQTT-4.5.0-1],
/// [MQTT-4.6.0-1], [MQTT-4.6.0-6], [MQTT5-4.4.0-1], [MQTT5-4.5.0-1], [MQTT5-4.6.0-5],
/// [MQTT5-4.3.3-10]
#[test]
fn connections_that_break_anywhere_lose_and_double_nothing() {
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        // From now and then to nearly always
        let odds = 2 + seed as usize % 30;
        let mut world = World::new();
        let version = |other: bool| if other == (seed % 2 == 0) { V5 } else { V311 };
        let mut subscribers = [
            Subscriber::new(&mut world, version(true), "two", 2),
            Subscriber::new(&mut world, version(false), "one", 1),
        ];
        let link = world.stays(version(seed % 3 == 0), "publisher");
        let mut publisher = Publisher { link, unacknowledged: Vec::new(), next: 1 };
        let mut quiet = 0;
        let mut rounds = 0;
        while quiet < 10 {
            rounds += 1;
            let mut breaks = || rounds < 5_000 && rng.usize(..odds) == 0;
            let mut is_busy = publisher.work(&mut world, &mut breaks);
            for subscriber in &mut subscribers {
                is_busy |= subscriber.work(&mut world, &mut breaks);
            }
            quiet = if is_busy { 0 } else { quiet + 1 };
        }
        assert!(publisher.unacknowledged.is_empty(), "seed {seed}: {:?}", publisher.unacknowledged);
        for (subscriber, granted) in subscribers.iter().zip([2, 1]) {
            subscriber.check(granted);
        }
    }
}
