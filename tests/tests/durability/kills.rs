//! The program is killed again and again while messages are on their way; nothing that was
//! acknowledged is lost, and QoS 2 stays exactly once.
//!
//! `KILLS=200` makes it a long run; `--nocapture` shows what was measured.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use system_tests::client::mqtt::{
    MqttClient, Options, Version, packet, parse_publish, publish_packet,
};
use system_tests::client::sn::{SnClient, Topic, frame, publish_message};
use system_tests::gateway::Gateway;
use system_tests::lossy::{Fate, Relay, Seen};
use system_tests::process::PATIENCE;

const SEED: u64 = 0x5EED;
/// Messages that a publisher on TCP has on their way.
const WINDOW: usize = 4;

/// Where each publisher is with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sent,
    Released,
}

/// One publisher; what it knows outlives its connections.
#[derive(Debug)]
struct Publisher {
    name: String,
    version: Version,
    last: u16,
    in_flight: BTreeMap<u16, Stage>,
    acknowledged: BTreeSet<u16>,
}

/// Packet identifiers are the numbers of the messages; every other one has QoS 2.
const fn qos(number: u16) -> u8 {
    1 + (number % 2) as u8
}

impl Publisher {
    fn new(name: &str, version: Version) -> Self {
        let (in_flight, acknowledged) = (BTreeMap::new(), BTreeSet::new());
        Self { name: name.to_owned(), version, last: 0, in_flight, acknowledged }
    }

    fn payload(&self, number: u16) -> String {
        format!("{} {number} {}", self.name, qos(number))
    }

    fn start_one(&mut self) -> u16 {
        self.last += 1;
        self.in_flight.insert(self.last, Stage::Sent);
        self.last
    }

    fn finish(&mut self, number: u16, acks: &Sender<()>) {
        if self.in_flight.remove(&number).is_some() {
            self.acknowledged.insert(number);
            // Nobody counts any more once the round is decided.
            let _decided = acks.send(());
        }
    }

    /// What repeats or begins a message.
    fn octets(&self, number: u16, is_repeated: bool) -> Vec<u8> {
        match self.in_flight[&number] {
            Stage::Sent => {
                let flags = qos(number) << 1 | 1 | u8::from(is_repeated) << 3;
                let payload = self.payload(number);
                publish_packet(self.version, &self.name, payload.as_bytes(), flags, number)
            }
            Stage::Released => packet(0x62, &number.to_be_bytes()),
        }
    }

    /// Publishes until the connection ends; with `is_last` until nothing is on its way.
    fn run(mut self, server: SocketAddr, is_last: bool, acks: &Sender<()>) -> Self {
        let options = kept(&self.name, self.version);
        let Some(mut wire) = Wire::open(server, &options) else { return self };
        if wire.packet().is_none() {
            return self;
        }
        for number in self.in_flight.keys() {
            wire.send(&self.octets(*number, true));
        }
        while !is_last || !self.in_flight.is_empty() {
            while !is_last && self.in_flight.len() < WINDOW {
                let number = self.start_one();
                wire.send(&self.octets(number, false));
            }
            let Some(answer) = wire.packet() else { return self };
            let number = u16::from_be_bytes([answer[2], answer[3]]);
            match answer[0] {
                0x40 | 0x70 => self.finish(number, acks),
                0x50 => {
                    self.in_flight.insert(number, Stage::Released);
                    wire.send(&self.octets(number, false));
                }
                _ => panic!("{}: {answer:02X?}", self.name),
            }
        }
        self
    }

    /// The same over MQTT-SN, one message at a time, without ever noticing that the gateway died.
    fn run_sn(
        mut self,
        socket: &UdpSocket,
        is_last: bool,
        is_over: &AtomicBool,
        acks: &Sender<()>,
    ) -> Self {
        let connect = [&[0_u8, 1, 2, 0][..], self.name.as_bytes()].concat();
        let mut is_repeated = true;
        while !(is_over.load(Ordering::Relaxed) || is_last && self.in_flight.is_empty()) {
            let number = match self.in_flight.keys().next() {
                Some(number) => *number,
                None => self.start_one(),
            };
            let request = match self.in_flight[&number] {
                Stage::Sent => {
                    let flags = qos(number) << 5 | 0x10 | u8::from(is_repeated) << 7;
                    let topic = Topic::short(&self.name);
                    publish_message(&topic, 0, self.payload(number).as_bytes(), flags, number)
                }
                Stage::Released => frame(0x10, &number.to_be_bytes()),
            };
            // What cannot be sent is lost like any other datagram.
            let _lost = socket.send(&request);
            let mut answer = [0; 64];
            is_repeated = true;
            // Answers to repetitions may still come; they are passed over.
            while let Ok(len) = socket.recv(&mut answer) {
                let id = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]) == number;
                match (&answer[..len], self.in_flight[&number]) {
                    ([_, 0x0D, .., 0], Stage::Sent) if id(4) => self.finish(number, acks),
                    ([_, 0x0E, ..], Stage::Released) if id(2) => self.finish(number, acks),
                    ([_, 0x0F, ..], Stage::Sent) if id(2) => {
                        self.in_flight.insert(number, Stage::Released);
                    }
                    ([_, 0x18], _) => drop(socket.send(&frame(4, &connect))),
                    _ => continue,
                }
                is_repeated = self.in_flight.contains_key(&number);
                break;
            }
        }
        self
    }
}

/// A session that is kept for ten minutes.
fn kept(name: &str, version: Version) -> Options {
    match version {
        Version::V5 => MqttClient::options(name).persistent().properties("11 00 00 02 58"),
        Version::V31 | Version::V311 => MqttClient::options(name).persistent(),
    }
}

/// A connection whose end is no failure.
struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// None if the gateway was killed before this thread had its turn.
    fn open(server: SocketAddr, options: &Options) -> Option<Self> {
        let stream = TcpStream::connect(server).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut wire = Self { stream };
        wire.send(&options.packet());
        Some(wire)
    }

    fn send(&mut self, octets: &[u8]) {
        // The reader notices that the connection has ended.
        let _ended = self.stream.write_all(octets);
    }

    /// The next packet, all of which are short; none when the connection has ended.
    fn packet(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        assert!(head[1] < 128, "short packets only");
        let mut packet = vec![0; 2 + usize::from(head[1])];
        packet[..2].copy_from_slice(&head);
        self.stream.read_exact(&mut packet[2..]).ok()?;
        Some(packet)
    }
}

/// A subscriber at QoS 2; what it knows outlives its connections.
#[derive(Debug, Default)]
struct Subscriber {
    unreleased: BTreeSet<u16>,
    came: BTreeMap<String, usize>,
}

impl Subscriber {
    /// Takes messages until the connection ends, or `end` has come.
    fn run(mut self, server: SocketAddr) -> Self {
        let options = kept("subscriber", Version::V311);
        let Some(mut wire) = Wire::open(server, &options) else { return self };
        while let Some(packet) = wire.packet() {
            if packet[0] == 0x62 {
                self.unreleased.remove(&u16::from_be_bytes([packet[2], packet[3]]));
                wire.send(&[&[0x70, 2], &packet[2..]].concat());
            } else if let Some(message) = parse_publish(Version::V311, &packet) {
                let is_new = message.qos < 2 || self.unreleased.insert(message.id);
                wire.send(
                    &[&[0x30 + 0x10 * message.qos, 2], &message.id.to_be_bytes()[..]].concat(),
                );
                if message.topic == "zz" {
                    return self;
                }
                *self.came.entry(message.text()).or_default() += usize::from(is_new);
            }
        }
        self
    }
}

/// Every tenth datagram is lost by chance.
fn losing(seed: u64) -> impl FnMut(&Seen<'_>) -> Fate + Send + 'static {
    let mut rng = fastrand::Rng::with_seed(seed);
    move |_: &Seen<'_>| if rng.u8(0..10) == 0 { Fate::Drop } else { Fate::Pass }
}

/// The clients of all rounds.
struct Crowd {
    publishers: Vec<Publisher>,
    sensor: Publisher,
    socket: UdpSocket,
    subscriber: Subscriber,
}

impl Crowd {
    /// Kills the gateway after so many acknowledgements; without a number, goes on until nothing is
    /// on its way and everything was delivered.
    fn round(self, gateway: &mut Gateway, kill_after: Option<usize>) -> Self {
        let server = gateway.mqtt();
        let (acks, counted): (Sender<()>, Receiver<()>) = channel();
        let (is_over, socket) = (AtomicBool::new(false), &self.socket);
        let is_last = kill_after.is_none();
        let (publishers, sensor, subscriber) = thread::scope(|scope| {
            let (acks, is_over) = (&acks, &is_over);
            let subscriber = scope.spawn(move || self.subscriber.run(server));
            let publishers = self.publishers.into_iter();
            let publishers: Vec<_> = publishers
                .map(|publisher| scope.spawn(move || publisher.run(server, is_last, acks)))
                .collect();
            let sensor = scope.spawn(move || self.sensor.run_sn(socket, is_last, is_over, acks));
            if let Some(target) = kill_after {
                for _ in 0..target {
                    counted.recv_timeout(PATIENCE).expect("messages are acknowledged");
                }
                gateway.kill9();
                is_over.store(true, Ordering::Relaxed);
            }
            let publishers: Vec<_> =
                publishers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
            let sensor = sensor.join().expect("no panic");
            if is_last {
                MqttClient::connect(server, "end").publish("zz", "", 1);
            }
            (publishers, sensor, subscriber.join().expect("no panic"))
        });
        Self { publishers, sensor, socket: self.socket, subscriber }
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_however_often_it_is_killed() {
    let rounds = std::env::var("KILLS").map_or(10, |text| text.parse().expect("a number"));
    let began = Instant::now();
    let mut rng = fastrand::Rng::with_seed(SEED);
    let mut gateway = Gateway::builder().limits("queue_messages = 10000").start();
    let relay = Relay::start(gateway.mqtt_sn(), losing(SEED));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(relay.address()).expect("an address of this machine");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time above zero");
    let mut first = kept("subscriber", Version::V311).connect(gateway.mqtt());
    first.subscribe("+", 2);
    first.vanish();
    let mut sleeper = SnClient::options("sleeper").persistent().connect(gateway.mqtt_sn());
    sleeper.subscribe("+", 1);
    sleeper.sleep(60_000);
    // The sensor connects when the answer to its first message tells it to.
    let mut crowd = Crowd {
        publishers: vec![Publisher::new("p4", Version::V311), Publisher::new("p5", Version::V5)],
        sensor: Publisher::new("sn", Version::V311),
        socket,
        subscriber: Subscriber::default(),
    };
    let mut slept_through = BTreeSet::new();
    for round in 0..rounds {
        let retained = format!("kept/{round}");
        MqttClient::connect(gateway.mqtt(), "keeper").publish_retained(&retained, "kept", 1);
        crowd = crowd.round(&mut gateway, Some(rng.usize(1..120)));
        gateway.restart();
        slept_through.extend(sleeper.wake().iter().map(|message| message.text()));
    }
    crowd = crowd.round(&mut gateway, None);
    gateway.kill9();
    gateway.restart();
    slept_through.extend(sleeper.wake().iter().map(|message| message.text()));
    let mut reader = MqttClient::connect(gateway.mqtt(), "reader");
    reader.subscribe("kept/#", 0);
    drop(reader.collect(rounds));
    assert!(crowd.publishers.iter().all(|p| p.acknowledged.len() == usize::from(p.last)));
    let Crowd { publishers, sensor, subscriber: Subscriber { came, .. }, .. } = crowd;
    let (mut count, by_sensor, mut repeated) = (0, sensor.acknowledged.len(), 0);
    for publisher in publishers.iter().chain([&sensor]) {
        for number in &publisher.acknowledged {
            let payload = publisher.payload(*number);
            let times = came.get(&payload).copied().unwrap_or(0);
            assert!(times > 0, "lost: {payload}");
            assert!(times == 1 || qos(*number) == 1, "{times} times: {payload}");
            assert!(slept_through.contains(&payload), "lost for the sleeper: {payload}");
            count += 1;
            repeated += times - 1;
        }
    }
    assert!(by_sensor > 0 && count > rounds);
    let took = began.elapsed();
    eprintln!(
        "{rounds} kills, {count} messages, {by_sensor} by the sensor, {repeated} came twice, {took:?}"
    );
}
