//! A blocking MQTT client: 3.1, 3.1.1 and 5.0. Properties of 5.0 are octets, as drawn.

mod packet;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use self::packet::{
    acknowledgment, binary, is_delivery, packet_id, packet_length, properties, string,
};
pub use self::packet::{packet, parse_publish, publish_packet, publish_packet_with};
use crate::client::{ANSWER_TIMEOUT, Ids, Message, Will, expected};
use crate::hex::{Pattern, dump, octets};
use crate::trace::Trace;

/// The versions of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.1, protocol name `MQIsdp`.
    V31 = 3,
    /// 3.1.1.
    V311 = 4,
    /// 5.0.
    V5 = 5,
}

const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const SUBACK: u8 = 0x90;
const UNSUBACK: u8 = 0xB0;
const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];
const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Why no packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    Timeout,
    Closed,
}

/// A connection to a broker.
#[derive(Debug)]
pub struct MqttClient {
    stream: TcpStream,
    received: Vec<u8>,
    version: Version,
    trace: Trace,
    ids: Ids,
    inbox: VecDeque<Message>,
    /// Packet ids of QoS 2 deliveries between PUBREC and PUBREL.
    unreleased: Vec<u16>,
    /// What CONNACK said about the session.
    pub session_present: bool,
}

/// How a client connects.
#[derive(Clone, Debug)]
pub struct Options {
    client_id: String,
    version: Version,
    clean: bool,
    keep_alive_s: u16,
    will: Option<Will>,
    user: Option<(String, Option<String>)>,
    properties: Vec<u8>,
    will_properties: Vec<u8>,
}

impl Options {
    /// Keep the session beyond the connection.
    pub fn persistent(self) -> Self {
        Self { clean: false, ..self }
    }

    /// Speak another version than 3.1.1.
    pub fn version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Keep alive in seconds; 0, the default, turns it off.
    pub fn keep_alive(self, keep_alive_s: u16) -> Self {
        Self { keep_alive_s, ..self }
    }

    /// Leave a will.
    pub fn will(self, will: Will) -> Self {
        Self { will: Some(will), ..self }
    }

    /// Give a user name and perhaps a password.
    pub fn user(self, name: &str, password: Option<&str>) -> Self {
        Self { user: Some((name.to_owned(), password.map(str::to_owned))), ..self }
    }

    /// Speak 5.0, with these properties, `11 00 00 00 3C` for example.
    pub fn properties(self, text: &str) -> Self {
        Self { version: Version::V5, properties: octets(text), ..self }
    }

    /// Leave a will with these properties.
    pub fn will_with(self, will: Will, properties: &str) -> Self {
        Self { will: Some(will), will_properties: octets(properties), ..self }
    }

    /// Connects and wants to be accepted.
    #[track_caller]
    pub fn connect(self, server: SocketAddr) -> MqttClient {
        let mut client = MqttClient::open(server);
        client.send_connect(&self);
        let connack = client.receive();
        match connack.as_slice() {
            [0x20, _, flags, 0, ..] => client.session_present = *flags == 1,
            other => client.trace.fail("CONNACK: accepted", &dump(other)),
        }
        client
    }

    /// The octets of CONNECT.
    pub fn packet(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        let mut body = match self.version {
            Version::V31 => string("MQIsdp"),
            Version::V311 | Version::V5 => string("MQTT"),
        };
        let mut fields = string(&self.client_id);
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
            fields.extend(properties(self.version, &self.will_properties));
            fields.extend(string(&will.topic));
            fields.extend(binary(&will.payload));
        }
        if let Some((name, password)) = &self.user {
            flags |= 0x80;
            fields.extend(string(name));
            if let Some(password) = password {
                flags |= 0x40;
                fields.extend(string(password));
            }
        }
        body.extend([self.version as u8, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(properties(self.version, &self.properties));
        body.extend(fields);
        packet(0x10, &body)
    }
}

impl MqttClient {
    /// A TCP connection on which nothing was said yet.
    #[track_caller]
    pub fn open(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server)
            .unwrap_or_else(|error| panic!("no connection to {server}: {error}"));
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time above zero");
        let trace = Trace::new(&format!("MQTT client of {server}"));
        Self {
            stream,
            received: Vec::new(),
            version: Version::V311,
            trace,
            ids: Ids::default(),
            inbox: VecDeque::new(),
            unreleased: Vec::new(),
            session_present: false,
        }
    }

    /// A clean 3.1.1 session.
    #[track_caller]
    pub fn connect(server: SocketAddr, client_id: &str) -> Self {
        Self::options(client_id).connect(server)
    }

    /// A session with other options; the defaults are clean, 3.1.1, no keep alive, no will.
    pub fn options(client_id: &str) -> Options {
        Options {
            client_id: client_id.to_owned(),
            version: Version::V311,
            clean: true,
            keep_alive_s: 0,
            will: None,
            user: None,
            properties: Vec::new(),
            will_properties: Vec::new(),
        }
    }

    /// Waits longer or shorter for answers.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("a time above zero");
    }

    // Octets.

    /// Sends octets as drawn, `C0 00` for example.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.send_octets(&octets(text));
    }

    /// Sends octets.
    #[track_caller]
    pub fn send_octets(&mut self, octets: &[u8]) {
        self.trace.sent(octets);
        if let Err(error) = self.stream.write_all(octets) {
            self.trace.fail("an open connection", &error.to_string());
        }
    }

    /// Sends CONNECT without waiting for the answer.
    #[track_caller]
    pub fn send_connect(&mut self, options: &Options) {
        self.version = options.version;
        self.send_octets(&options.packet());
    }

    /// The next packet, whatever it is.
    #[track_caller]
    pub fn receive(&mut self) -> Vec<u8> {
        self.try_receive().unwrap_or_else(|silence| self.fail_silent("a packet", silence))
    }

    /// The next packet has to be as drawn (see [`Pattern`]); returns it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> Vec<u8> {
        let pattern = Pattern::new(text);
        match self.try_receive() {
            Ok(packet) if pattern.matches(&packet) => packet,
            Ok(packet) => self.trace.fail(text, &dump(&packet)),
            Err(silence) => self.fail_silent(text, silence),
        }
    }

    /// Nothing was sent to this client that it has not taken yet.
    ///
    /// The proof needs no waiting: PINGREQ has a certain answer, and whatever the broker had
    /// decided to send comes before it. It is asked twice, because a broker that works in turns
    /// may answer a ping before it hands out the deliveries of the same turn. The PUBREL of a
    /// message that was taken is no news.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        // The release of a message of QoS 2 may wait for the disk of the server.
        while !self.unreleased.is_empty() {
            match self.try_receive() {
                Ok(packet) => self.take_delivery(&packet),
                Err(silence) => self.fail_silent("PUBREL", silence),
            }
        }
        if let Some(message) = self.inbox.front() {
            self.trace.fail("nothing", &message.to_string());
        }
        self.ping();
        self.ping();
    }

    /// The server closes the connection, and says nothing before.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.try_receive() {
            Err(Silence::Closed) => {}
            Err(Silence::Timeout) => self.trace.fail("the end of the connection", "nothing"),
            Ok(packet) => self.trace.fail("the end of the connection", &dump(&packet)),
        }
    }

    // Handshakes.

    /// PINGREQ, and PINGRESP comes before any news.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send_octets(&PINGREQ);
        loop {
            match self.try_receive() {
                Ok(packet) if packet == PINGRESP => return,
                Ok(packet) if self.releases(&packet) => self.take_delivery(&packet),
                Ok(packet) => self.trace.fail("PINGRESP and nothing before it", &dump(&packet)),
                Err(silence) => self.fail_silent("PINGRESP", silence),
            }
        }
    }

    /// Whether this is the PUBREL of a message that was taken.
    fn releases(&self, packet: &[u8]) -> bool {
        packet[0] == PUBREL && packet_id(packet).is_some_and(|id| self.unreleased.contains(&id))
    }

    /// Publishes with the whole handshake of the QoS; returns the packet id (0 at QoS 0).
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: u8) -> u16 {
        self.publish_flags(topic, payload.as_ref(), qos << 1)
    }

    /// The same, retained.
    #[track_caller]
    pub fn publish_retained(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: u8) -> u16 {
        self.publish_flags(topic, payload.as_ref(), qos << 1 | 1)
    }

    /// Publishes at QoS 1 with properties of 5.0; returns the reason of PUBACK.
    #[track_caller]
    pub fn publish_with(&mut self, topic: &str, payload: impl AsRef<[u8]>, text: &str) -> u8 {
        self.publish_flags_with(topic, payload.as_ref(), 0x02, text)
    }

    /// The same, retained.
    #[track_caller]
    pub fn retain_with(&mut self, topic: &str, payload: impl AsRef<[u8]>, text: &str) -> u8 {
        self.publish_flags_with(topic, payload.as_ref(), 0x03, text)
    }

    #[track_caller]
    fn publish_flags_with(&mut self, topic: &str, payload: &[u8], flags: u8, text: &str) -> u8 {
        let id = self.ids.next();
        self.send_octets(&publish_packet_with(topic, payload, flags, id, &octets(text)));
        let puback = self.answer(PUBACK, id);
        puback.get(4).copied().unwrap_or(0)
    }

    #[track_caller]
    fn publish_flags(&mut self, topic: &str, payload: &[u8], flags: u8) -> u16 {
        let qos = flags >> 1 & 3;
        let id = if qos > 0 { self.ids.next() } else { 0 };
        self.send_octets(&publish_packet(self.version, topic, payload, flags, id));
        match qos {
            0 => {}
            1 => drop(self.answer(PUBACK, id)),
            _ => {
                self.answer(PUBREC, id);
                self.send_octets(&acknowledgment(PUBREL, id));
                self.answer(PUBCOMP, id);
            }
        }
        id
    }

    /// Subscribes to one filter; returns the code of SUBACK: the granted QoS or a failure.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        self.subscribe_with(filter, qos, "")
    }

    /// The same with all the options of 5.0 and with properties.
    #[track_caller]
    pub fn subscribe_with(&mut self, filter: &str, options: u8, text: &str) -> u8 {
        let id = self.ids.next();
        let mut body = id.to_be_bytes().to_vec();
        body.extend(properties(self.version, &octets(text)));
        body.extend(string(filter));
        body.push(options);
        self.send_octets(&packet(0x82, &body));
        let suback = self.answer(SUBACK, id);
        *suback.last().expect("the header at least")
    }

    /// Unsubscribes from one filter.
    #[track_caller]
    pub fn unsubscribe(&mut self, filter: &str) {
        let id = self.ids.next();
        let mut body = id.to_be_bytes().to_vec();
        body.extend(properties(self.version, &[]));
        body.extend(string(filter));
        self.send_octets(&packet(0xA2, &body));
        self.answer(UNSUBACK, id);
    }

    /// The next application message, acknowledged as its QoS wants.
    #[track_caller]
    pub fn next_message(&mut self) -> Message {
        while self.inbox.is_empty() {
            match self.try_receive() {
                Ok(packet) => self.take_delivery(&packet),
                Err(silence) => self.fail_silent("an application message", silence),
            }
        }
        self.inbox.pop_front().expect("it is not empty")
    }

    /// The next `count` application messages.
    #[track_caller]
    pub fn collect(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.next_message()).collect()
    }

    /// The next message has this topic, payload and QoS.
    #[track_caller]
    pub fn expect_message(&mut self, topic: &str, payload: &str, qos: u8) -> Message {
        let message = self.next_message();
        if !message.is(topic, payload, qos) {
            self.trace.fail(&expected(topic, payload, qos), &message.to_string());
        }
        message
    }

    /// Ends the session with DISCONNECT; the server closes. What was on its way is not looked at.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.send_octets(&DISCONNECT);
        loop {
            match self.try_receive() {
                Ok(_on_its_way) => {}
                Err(Silence::Closed) => return,
                Err(Silence::Timeout) => self.trace.fail("the end of the connection", "nothing"),
            }
        }
    }

    /// Ends the connection without DISCONNECT, as a client does that lost its power.
    pub fn vanish(self) {
        drop(self);
    }

    /// Waits for the acknowledgment of `id`, takes deliveries that come before it.
    #[track_caller]
    fn answer(&mut self, first: u8, id: u16) -> Vec<u8> {
        let expected = format!("a packet {first:02X} for id {id}");
        loop {
            match self.try_receive() {
                Ok(packet) if packet[0] == first && packet_id(&packet) == Some(id) => {
                    return packet;
                }
                Ok(packet) if is_delivery(&packet) => self.take_delivery(&packet),
                Ok(packet) => self.trace.fail(&expected, &dump(&packet)),
                Err(silence) => self.fail_silent(&expected, silence),
            }
        }
    }

    /// Answers PUBLISH and PUBREL as a receiver does, and keeps the message.
    #[track_caller]
    fn take_delivery(&mut self, packet: &[u8]) {
        if packet[0] == PUBREL {
            let id = packet_id(packet).expect("PUBREL has an id");
            self.unreleased.retain(|known| *known != id);
            self.send_octets(&acknowledgment(PUBCOMP, id));
            return;
        }
        let Some(message) = parse_publish(self.version, packet) else {
            self.trace.fail("PUBLISH or PUBREL", &dump(packet));
        };
        let id = message.id;
        let repeated = self.unreleased.contains(&id);
        match message.qos {
            0 => {}
            1 => self.send_octets(&acknowledgment(PUBACK, id)),
            _ => self.send_octets(&acknowledgment(PUBREC, id)),
        }
        if message.qos < 2 || !repeated {
            if message.qos == 2 {
                self.unreleased.push(id);
            }
            self.inbox.push_back(message);
        }
    }

    fn try_receive(&mut self) -> Result<Vec<u8>, Silence> {
        loop {
            if let Some(length) = packet_length(&self.received) {
                let packet: Vec<u8> = self.received.drain(..length).collect();
                self.trace.came(&packet);
                return Ok(packet);
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(self.closed()),
                Ok(count) => self.received.extend(&chunk[..count]),
                Err(error) if is_timeout(error.kind()) => return Err(Silence::Timeout),
                Err(_) => return Err(self.closed()),
            }
        }
    }

    fn closed(&mut self) -> Silence {
        self.trace.note("the server closed the connection");
        Silence::Closed
    }

    #[track_caller]
    fn fail_silent(&self, expected: &str, silence: Silence) -> ! {
        match silence {
            Silence::Timeout => self.trace.fail(expected, "nothing in time"),
            Silence::Closed => self.trace.fail(expected, "the end of the connection"),
        }
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_is_laid_out_as_the_specification_draws_it() {
        let check = |options: Options, expect: &str| {
            assert_eq!(dump(&options.packet()), dump(&octets(expect)));
        };
        check(
            MqttClient::options("c1").keep_alive(60),
            "10 0E 00 04 'MQTT' 04 02 00 3C 00 02 'c1'",
        );
        check(
            MqttClient::options("c1").version(Version::V31).persistent(),
            "10 10 00 06 'MQIsdp' 03 00 00 00 00 02 'c1'",
        );
        let will = Will::new("w", "bye", 1).retained();
        check(
            MqttClient::options("c").will(will).user("u", Some("p")),
            "10 1B 00 04 'MQTT' 04 EE 00 00 00 01 'c' 00 01 'w' 00 03 'bye' 00 01 'u' 00 01 'p'",
        );
        check(
            MqttClient::options("c").version(Version::V5),
            "10 0E 00 04 'MQTT' 05 02 00 00 00 00 01 'c'",
        );
    }

    #[test]
    fn a_long_packet_has_a_long_length() {
        assert_eq!(packet(0x30, &[0; 127])[..2], [0x30, 127]);
        assert_eq!(packet(0x30, &[0; 321])[..3], [0x30, 0xC1, 0x02]);
        let long = packet(0x30, &[0; 20_000]);
        assert_eq!(long[..4], [0x30, 0xA0, 0x9C, 0x01]);
        assert_eq!(packet_length(&long), Some(20_004));
        assert_eq!(packet_length(&long[..20_003]), None);
        assert_eq!(packet_length(&[0x30]), None);
    }

    #[test]
    fn publish_reads_back() {
        for version in [Version::V31, Version::V311, Version::V5] {
            for flags in [0, 1, 2, 3, 4, 0x0A] {
                let sent = publish_packet(version, "a/b", b"hi", flags, 7);
                let message = parse_publish(version, &sent).expect("well formed");
                assert_eq!(message.topic, "a/b");
                assert_eq!(message.text(), "hi");
                assert_eq!((message.qos, message.retain), (flags >> 1 & 3, flags & 1 != 0));
                assert_eq!(message.id, if flags & 6 == 0 { 0 } else { 7 });
            }
        }
    }
}
