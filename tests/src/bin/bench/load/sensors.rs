//! Scenarios a and b: MQTT-SN publishers, each on a socket of its own, and one TCP subscriber.
//!
//! Each publisher has one message on its way: its next one follows when the subscriber got the last
//! and, at QoS 1, PUBACK came. Fewer may be on their way in all; then the publishers take turns.
//! The subscriber takes QoS 0 in scenario a and QoS 1 in b.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Token};

use super::{Address, Base, EVENTS, Load, Slice, now_ns, packet_id};
use crate::link::{Link, PATIENCE};
use crate::tally::{Stamp, Tally};
use crate::wire::{self, sn_kind};

/// The token of the subscriber; those of the publishers are their places.
const SUBSCRIBER: usize = usize::MAX - 1;

/// See the module.
pub(crate) struct Sensors {
    base: Base,
    subscriber: Link,
    sensors: Vec<Sensor>,
    qos: u8,
    datagram: Vec<u8>,
    /// Publishers without a message on its way, each once; who has waited longest is first.
    idle: VecDeque<usize>,
    on_the_way_max: usize,
}

struct Sensor {
    socket: UdpSocket,
    source: u32,
    topic_id: u16,
    /// The number of the next message.
    next: u32,
    /// The number that the subscriber gets next.
    due: u32,
    sent_ns: u64,
    is_delivered: bool,
    is_acknowledged: bool,
}

impl Sensors {
    /// Connects `count` publishers and the subscriber; `on_the_way_max` messages are on their way.
    pub(crate) fn open(
        address: Address,
        count: u32,
        on_the_way_max: usize,
        qos: u8,
        payload_octets: usize,
    ) -> io::Result<Self> {
        let base = Base::new(payload_octets)?;
        let filter = Some(("bench/sensors/+/t", qos));
        let mut subscriber = Link::open(address.mqtt, "sub-0", filter)?;
        base.register(&mut subscriber, SUBSCRIBER)?;
        let port = address.mqtt_sn.expect("only servers of MQTT-SN have sensors");
        let mut sensors = Vec::new();
        for source in 0..count {
            let mut sensor = Sensor::open(port, source)?;
            let token = Token(sensors.len());
            base.poll.registry().register(&mut sensor.socket, token, Interest::READABLE)?;
            sensors.push(sensor);
        }
        let idle = (0..sensors.len()).collect();
        let datagram = Vec::new();
        Ok(Self { base, subscriber, sensors, qos, datagram, idle, on_the_way_max })
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let Self { base, sensors, datagram, qos, .. } = self;
        let sensor = &mut sensors[index];
        let id = (*qos > 0).then(|| packet_id(sensor.next));
        sensor.sent_ns = base.now_ns();
        Stamp { source: sensor.source, number: sensor.next, sent_ns: sensor.sent_ns }
            .write(&mut base.payload);
        wire::sn_publish(datagram, sensor.topic_id, id, &base.payload);
        sensor.socket.send(datagram)?;
        sensor.next = sensor.next.wrapping_add(1);
        sensor.is_delivered = false;
        sensor.is_acknowledged = id.is_none();
        Ok(())
    }

    fn on_the_way(&self) -> usize {
        self.sensors.len() - self.idle.len()
    }

    /// As many send as may; returns how many.
    fn fill(&mut self) -> io::Result<u64> {
        let mut count = 0;
        while self.on_the_way() < self.on_the_way_max
            && let Some(index) = self.idle.pop_front()
        {
            self.send(index)?;
            count += 1;
        }
        Ok(count)
    }

    fn hear_subscriber(&mut self, tally: &mut Tally) -> io::Result<()> {
        let Self { base, subscriber, sensors, qos, idle, .. } = self;
        let now = base.now_ns();
        subscriber.read(&mut base.buffer, |out, packet| {
            let publish = packet.publish();
            let Stamp { source, number, sent_ns } = Stamp::read(publish.payload);
            let sensor = &mut sensors[source as usize];
            sensor.due = tally.deliver(sensor.due, number);
            if sensor.due == sensor.next && !sensor.is_delivered {
                sensor.is_delivered = true;
                if sensor.is_acknowledged {
                    idle.push_back(source as usize);
                }
            }
            match publish.id {
                Some(id) => wire::put_puback(out, id),
                None => tally.latency.note(now.saturating_sub(sent_ns)),
            }
            assert_eq!(publish.id.is_some(), *qos > 0, "the subscriber has another QoS");
        })?;
        subscriber.flush()
    }

    fn hear_sensor(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        let Self { base, sensors, idle, .. } = self;
        let sensor = &mut sensors[index];
        let count = match sensor.socket.recv(&mut base.buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let (kind, body) = wire::sn_parts(&base.buffer[..count]);
        assert_eq!((kind, body[4]), (sn_kind::PUBACK, 0), "sensor {index} is told {body:02X?}");
        let id = packet_id(sensor.next.wrapping_sub(1));
        if sensor.is_acknowledged || wire::number(body, 2) != id {
            tally.misplaced += 1;
            return Ok(());
        }
        tally.latency.note(now_ns(base.began) - sensor.sent_ns);
        sensor.is_acknowledged = true;
        if sensor.is_delivered {
            idle.push_back(index);
        }
        Ok(())
    }

    /// Gives up what has not come; the next slice begins afresh.
    fn give_up(&mut self, tally: &mut Tally) {
        for sensor in &mut self.sensors {
            let missing = !sensor.is_delivered || !sensor.is_acknowledged;
            tally.lost += u64::from(missing);
            sensor.due = sensor.next;
            (sensor.is_delivered, sensor.is_acknowledged) = (true, true);
        }
        self.idle = (0..self.sensors.len()).collect();
    }
}

impl Load for Sensors {
    fn run(&mut self, duration: Duration) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut events = Events::with_capacity(EVENTS);
        let slice = Slice::begin(duration);
        loop {
            if slice.is_publishing() {
                tally.sent += self.fill()?;
            } else if self.on_the_way() == 0 {
                break;
            }
            if slice.is_past_grace() {
                self.give_up(&mut tally);
                break;
            }
            self.base.wait(&mut events)?;
            for event in &events {
                match event.token() {
                    Token(SUBSCRIBER) => self.hear_subscriber(&mut tally)?,
                    Token(index) => self.hear_sensor(index, &mut tally)?,
                }
            }
        }
        tally.wall = slice.began.elapsed();
        Ok(tally)
    }
}

impl Sensor {
    fn open(port: SocketAddr, source: u32) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind((port.ip(), 0))?;
        socket.connect(port)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        ask(&socket, &wire::sn_connect(&format!("sensor-{source}")), sn_kind::CONNACK)?;
        let topic = format!("bench/sensors/{source:03}/t");
        let answer = ask(&socket, &wire::sn_register(&topic), sn_kind::REGACK)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket),
            source,
            topic_id: wire::number(&answer, 0),
            next: 0,
            due: 0,
            sent_ns: 0,
            is_delivered: true,
            is_acknowledged: true,
        })
    }
}

/// What follows the type in the answer, whose last octet says that all is well.
fn ask(socket: &std::net::UdpSocket, question: &[u8], answer: u8) -> io::Result<Vec<u8>> {
    socket.send(question)?;
    let mut buffer = [0; 64];
    let count = socket.recv(&mut buffer)?;
    let (kind, body) = wire::sn_parts(&buffer[..count]);
    if kind == answer && body.last() == Some(&0) {
        return Ok(body.to_vec());
    }
    let heard = &buffer[..count];
    Err(io::Error::other(format!("the server answers {question:02X?} with {heard:02X?}")))
}
