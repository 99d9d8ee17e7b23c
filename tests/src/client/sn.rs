//! A blocking MQTT-SN 1.2 client over UDP.

mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::client::{ANSWER_TIMEOUT, Ids, Message, Will, expected};
use crate::hex::{Pattern, dump, octets};
use crate::lossy::Relay;
use crate::trace::Trace;

use wire::{DUP, RETAIN, publish_topic, set_dup, u16_at};
pub use wire::{Topic, frame, msg_type, publish_message, split};

use msg_type as t;

/// How a client connects.
#[derive(Clone, Debug)]
pub struct Options {
    client_id: String,
    clean: bool,
    keep_alive_s: u16,
    will: Option<Will>,
    retry: Option<Duration>,
}

impl Options {
    /// Keep the session of this client id.
    pub fn persistent(self) -> Self {
        Self { clean: false, ..self }
    }

    /// Keep alive in seconds, 600 if not given.
    pub fn keep_alive(self, keep_alive_s: u16) -> Self {
        Self { keep_alive_s, ..self }
    }

    /// Leave a will.
    pub fn will(self, will: Will) -> Self {
        Self { will: Some(will), ..self }
    }

    /// Repeat a request that was not answered for this long. Without it a lost datagram fails the
    /// test, as it should where nothing is lost.
    pub fn retry(self, retry: Duration) -> Self {
        Self { retry: Some(retry), ..self }
    }

    /// Connects and wants to be accepted.
    #[track_caller]
    pub fn connect(self, gateway: SocketAddr) -> SnClient {
        SnClient::open(gateway).connected(self)
    }

    /// Connects through a relay.
    #[track_caller]
    pub fn connect_via(self, relay: &Relay) -> SnClient {
        SnClient::open_via(relay).connected(self)
    }
}

/// A socket that speaks to a gateway.
#[derive(Debug)]
pub struct SnClient {
    socket: UdpSocket,
    gateway: SocketAddr,
    relay: Option<Relay>,
    client_id: String,
    trace: Trace,
    timeout: Duration,
    retry: Option<Duration>,
    ids: Ids,
    /// Normal topic ids by name, from REGACK, SUBACK and REGISTER.
    known: BTreeMap<String, u16>,
    inbox: VecDeque<Message>,
    /// Message ids of QoS 2 deliveries between PUBREC and PUBREL.
    unreleased: Vec<u16>,
}

impl SnClient {
    /// A socket of its own, nothing said yet.
    #[track_caller]
    pub fn open(gateway: SocketAddr) -> Self {
        Self::on(socket_beside(gateway), gateway, None)
    }

    /// A socket whose datagrams go through `relay`.
    #[track_caller]
    pub fn open_via(relay: &Relay) -> Self {
        Self::on(socket_beside(relay.address()), relay.gateway(), Some(relay.clone()))
    }

    fn on(socket: UdpSocket, gateway: SocketAddr, relay: Option<Relay>) -> Self {
        let next_hop = relay.as_ref().map_or(gateway, Relay::address);
        socket.connect(next_hop).expect("an address of this machine");
        let trace = Trace::new(&format!("MQTT-SN client of {gateway}"));
        Self {
            socket,
            gateway,
            relay,
            client_id: String::new(),
            trace,
            timeout: ANSWER_TIMEOUT,
            retry: None,
            ids: Ids::default(),
            known: BTreeMap::new(),
            inbox: VecDeque::new(),
            unreleased: Vec::new(),
        }
    }

    /// A clean session.
    #[track_caller]
    pub fn connect(gateway: SocketAddr, client_id: &str) -> Self {
        Self::options(client_id).connect(gateway)
    }

    /// A session with other options; the defaults are clean, no will, 600 s, no repetition.
    pub fn options(client_id: &str) -> Options {
        Options {
            client_id: client_id.to_owned(),
            clean: true,
            keep_alive_s: 600,
            will: None,
            retry: None,
        }
    }

    #[track_caller]
    fn connected(mut self, options: Options) -> Self {
        self.reconnect(options);
        self
    }

    /// CONNECT from the same socket, also as another client.
    #[track_caller]
    pub fn reconnect(&mut self, options: Options) {
        self.retry = options.retry;
        self.client_id = options.client_id;
        if options.clean {
            self.known.clear();
        }
        let flags = u8::from(options.clean) << 2 | u8::from(options.will.is_some()) << 3;
        let mut body = vec![flags, 1];
        body.extend(options.keep_alive_s.to_be_bytes());
        body.extend(self.client_id.as_bytes());
        let mut request = frame(t::CONNECT, &body);
        if let Some(will) = options.will {
            self.request(&request, "WILLTOPICREQ", |kind, _| kind == t::WILLTOPICREQ);
            let mut body = vec![will.qos << 5 | u8::from(will.retain) << 4];
            body.extend(will.topic.as_bytes());
            let will_topic = frame(t::WILLTOPIC, &body);
            self.request(&will_topic, "WILLMSGREQ", |kind, _| kind == t::WILLMSGREQ);
            request = frame(t::WILLMSG, &will.payload);
        }
        let connack = self.request(&request, "CONNACK", |kind, _| kind == t::CONNACK);
        if connack != [3, t::CONNACK, 0] {
            self.trace.fail("CONNACK: accepted", &dump(&connack));
        }
    }

    /// Waits longer or shorter for answers.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    // Octets.

    /// Sends a datagram as drawn, `03 01 00` for example.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.send_octets(&octets(text));
    }

    /// Sends a datagram.
    #[track_caller]
    pub fn send_octets(&mut self, datagram: &[u8]) {
        self.trace.sent(datagram);
        if let Err(error) = self.socket.send(datagram) {
            self.trace.fail("a gateway that listens", &error.to_string());
        }
    }

    /// The next datagram, whatever it is.
    #[track_caller]
    pub fn receive(&mut self) -> Vec<u8> {
        self.receive_within(self.timeout)
            .unwrap_or_else(|| self.trace.fail("a datagram", "nothing in time"))
    }

    /// The next datagram has to be as drawn (see [`Pattern`]); returns it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> Vec<u8> {
        let pattern = Pattern::new(text);
        match self.receive_within(self.timeout) {
            Some(datagram) if pattern.matches(&datagram) => datagram,
            Some(datagram) => self.trace.fail(text, &dump(&datagram)),
            None => self.trace.fail(text, "nothing in time"),
        }
    }

    /// A whole conversation: lines `> octets` are sent, lines `< pattern` are expected; `--` begins
    /// a comment.
    ///
    /// ```no_run
    /// # let mut sn = system_tests::client::sn::SnClient::open("127.0.0.1:1".parse().unwrap());
    /// sn.converse("
    ///     > 0A 04 04 01 00 3C 'dev1'    -- CONNECT
    ///     < 03 05 00                    -- CONNACK
    /// ");
    /// ```
    #[track_caller]
    pub fn converse(&mut self, script: &str) {
        for line in script.lines() {
            let line = line.split("--").next().unwrap_or_default().trim();
            if let Some(text) = line.strip_prefix("> ") {
                self.send(text);
            } else if let Some(text) = line.strip_prefix("< ") {
                self.expect(text);
            } else {
                assert!(line.is_empty(), "neither `>` nor `<`: {line}");
            }
        }
    }

    /// Nothing was sent to this client that it has not taken yet.
    ///
    /// The proof needs no waiting: another socket sends SEARCHGW, which has a certain answer, and
    /// whatever the gateway sent before it lies in our socket already, because delivery on the
    /// loopback interface keeps the order. It is asked twice: a gateway that works in turns may
    /// answer a question before it hands out the deliveries of the same turn. The PUBREL of a
    /// message that was taken is no news.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        if let Some(message) = self.inbox.front() {
            self.trace.fail("nothing", &message.to_string());
        }
        let mut probe = Self::open(self.gateway);
        for _ in 0..2 {
            probe.send("03 01 01");
            probe.expect("03 02 ??");
        }
        if let Some(relay) = &self.relay {
            relay.flush();
        }
        while let Some(datagram) = self.receive_waiting() {
            if !(self.releases(&datagram) && self.take_delivery(&datagram)) {
                self.trace.fail("nothing", &dump(&datagram));
            }
        }
    }

    /// Whether this is the PUBREL of a message that was taken.
    fn releases(&self, datagram: &[u8]) -> bool {
        split(datagram).is_some_and(|(kind, rest)| {
            kind == t::PUBREL && rest.len() == 2 && self.unreleased.contains(&u16_at(rest, 0))
        })
    }

    // Handshakes.

    /// REGISTER; returns the topic id.
    #[track_caller]
    pub fn register(&mut self, name: &str) -> u16 {
        let id = self.ids.next();
        let mut body = vec![0, 0];
        body.extend(id.to_be_bytes());
        body.extend(name.as_bytes());
        let register = frame(t::REGISTER, &body);
        let regack = self
            .request(&register, "REGACK", |kind, rest| kind == t::REGACK && u16_at(rest, 2) == id);
        let (topic_id, code) = (u16_at(&regack, 2), regack[6]);
        if code != 0 {
            self.trace.fail("REGACK: accepted", &dump(&regack));
        }
        self.known.insert(name.to_owned(), topic_id);
        topic_id
    }

    /// Publishes with the whole handshake of QoS 0, 1 or 2; registers a new name first. Returns
    /// the message id (0 at QoS 0).
    #[track_caller]
    pub fn publish(&mut self, topic: impl Into<Topic>, payload: impl AsRef<[u8]>, qos: u8) -> u16 {
        self.publish_flags(&topic.into(), payload.as_ref(), qos << 5)
    }

    /// The same, retained.
    #[track_caller]
    pub fn publish_retained(
        &mut self,
        topic: impl Into<Topic>,
        payload: impl AsRef<[u8]>,
        qos: u8,
    ) -> u16 {
        self.publish_flags(&topic.into(), payload.as_ref(), qos << 5 | RETAIN)
    }

    /// QoS −1: no connection, no answer. Short names and predefined ids only.
    #[track_caller]
    pub fn publish_unasked(&mut self, topic: &Topic, payload: impl AsRef<[u8]>) {
        let (Topic::Predefined(_) | Topic::Short(_)) = topic else {
            panic!("QoS -1 knows no names");
        };
        self.send_octets(&publish_message(topic, 0, payload.as_ref(), 3 << 5, 0));
    }

    #[track_caller]
    fn publish_flags(&mut self, topic: &Topic, payload: &[u8], flags: u8) -> u16 {
        let qos = flags >> 5 & 3;
        let topic_id = match topic {
            Topic::Name(name) => match self.known.get(name) {
                Some(id) => *id,
                None => self.register(name),
            },
            Topic::Predefined(_) | Topic::Short(_) => 0,
        };
        let id = if qos > 0 { self.ids.next() } else { 0 };
        let publish = publish_message(topic, topic_id, payload, flags, id);
        match qos {
            0 => self.send_octets(&publish),
            1 => {
                let puback = self.request(&publish, "PUBACK", |kind, rest| {
                    kind == t::PUBACK && u16_at(rest, 2) == id
                });
                if puback[6] != 0 || puback[2..4] != *publish_topic(&publish) {
                    self.trace.fail("PUBACK: accepted, with our topic id", &dump(&puback));
                }
            }
            _ => {
                self.request(&publish, "PUBREC", |kind, rest| {
                    kind == t::PUBREC && u16_at(rest, 0) == id
                });
                let pubrel = frame(t::PUBREL, &id.to_be_bytes());
                self.request(&pubrel, "PUBCOMP", |kind, rest| {
                    kind == t::PUBCOMP && u16_at(rest, 0) == id
                });
            }
        }
        id
    }

    /// SUBSCRIBE, which has to be accepted; returns the granted QoS and the topic id of SUBACK.
    #[track_caller]
    pub fn subscribe(&mut self, topic: impl Into<Topic>, qos: u8) -> (u8, u16) {
        let topic = topic.into();
        let id = self.ids.next();
        let subscribe = self.subscribe_message(t::SUBSCRIBE, &topic, qos, id);
        let suback = self
            .request(&subscribe, "SUBACK", |kind, rest| kind == t::SUBACK && u16_at(rest, 3) == id);
        let (flags, topic_id, code) = (suback[2], u16_at(&suback, 3), suback[7]);
        if code != 0 {
            self.trace.fail("SUBACK: accepted", &dump(&suback));
        }
        if let (Topic::Name(name), true) = (topic, topic_id != 0) {
            self.known.insert(name, topic_id);
        }
        (flags >> 5 & 3, topic_id)
    }

    /// UNSUBSCRIBE and its answer.
    #[track_caller]
    pub fn unsubscribe(&mut self, topic: impl Into<Topic>) {
        let id = self.ids.next();
        let unsubscribe = self.subscribe_message(t::UNSUBSCRIBE, &topic.into(), 0, id);
        self.request(&unsubscribe, "UNSUBACK", |kind, rest| {
            kind == t::UNSUBACK && u16_at(rest, 0) == id
        });
    }

    fn subscribe_message(&self, kind: u8, topic: &Topic, qos: u8, id: u16) -> Vec<u8> {
        let mut body = vec![qos << 5 | topic.flags()];
        body.extend(id.to_be_bytes());
        body.extend(topic.octets());
        frame(kind, &body)
    }

    /// The next application message, acknowledged as its QoS wants.
    #[track_caller]
    pub fn next_message(&mut self) -> Message {
        while self.inbox.is_empty() {
            let datagram = self.receive();
            if !self.take_delivery(&datagram) {
                self.trace.fail("an application message", &dump(&datagram));
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

    /// PINGREQ without a client id; deliveries may come before the answer.
    #[track_caller]
    pub fn ping(&mut self) {
        let pingreq = frame(t::PINGREQ, &[]);
        self.request(&pingreq, "PINGRESP", |kind, _| kind == t::PINGRESP);
    }

    /// Falls asleep for `duration_s` seconds.
    #[track_caller]
    pub fn sleep(&mut self, duration_s: u16) {
        let request = frame(t::DISCONNECT, &duration_s.to_be_bytes());
        self.request(&request, "DISCONNECT", |kind, _| kind == t::DISCONNECT);
    }

    /// Awakes, takes what was kept, and returns it when PINGRESP has ended the visit.
    #[track_caller]
    pub fn wake(&mut self) -> Vec<Message> {
        let pingreq = frame(t::PINGREQ, self.client_id.clone().as_bytes());
        self.request(&pingreq, "PINGRESP", |kind, _| kind == t::PINGRESP);
        self.inbox.drain(..).collect()
    }

    /// Ends the session regularly.
    #[track_caller]
    pub fn disconnect(&mut self) {
        let request = frame(t::DISCONNECT, &[]);
        self.request(&request, "DISCONNECT", |kind, _| kind == t::DISCONNECT);
    }

    /// Sends a request and waits for its answer. Deliveries that come before are taken, and each
    /// gives the answer new time. With `retry` the request is repeated, a PUBLISH with DUP,
    /// whenever nothing came for that long.
    #[track_caller]
    fn request(
        &mut self,
        request: &[u8],
        expected: &str,
        is_answer: impl Fn(u8, &[u8]) -> bool,
    ) -> Vec<u8> {
        let mut request = request.to_vec();
        self.send_octets(&request);
        let mut deadline = Instant::now() + self.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.trace.fail(expected, "nothing in time");
            }
            let Some(datagram) = self.receive_within(self.retry.unwrap_or(left).min(left)) else {
                if self.retry.is_some() {
                    set_dup(&mut request);
                    self.send_octets(&request);
                }
                continue;
            };
            match split(&datagram) {
                Some((kind, rest)) if is_answer(kind, rest) => return datagram,
                _ if self.take_delivery(&datagram) => deadline = Instant::now() + self.timeout,
                _ if self.is_stale(&datagram) => {}
                _ => self.trace.fail(expected, &dump(&datagram)),
            }
        }
    }

    /// Where datagrams get lost or doubled, an answer can come twice; the second one is nobody's.
    fn is_stale(&self, datagram: &[u8]) -> bool {
        let answers = [
            t::CONNACK,
            t::WILLTOPICREQ,
            t::WILLMSGREQ,
            t::REGACK,
            t::PUBACK,
            t::PUBREC,
            t::PUBCOMP,
            t::SUBACK,
            t::UNSUBACK,
            t::PINGRESP,
            t::DISCONNECT,
        ];
        self.retry.is_some() && split(datagram).is_some_and(|(kind, _)| answers.contains(&kind))
    }

    /// Answers REGISTER, PUBLISH and PUBREL as a receiver does. `false` if it is none of them.
    #[track_caller]
    fn take_delivery(&mut self, datagram: &[u8]) -> bool {
        let Some((kind, rest)) = split(datagram) else { return false };
        match kind {
            t::REGISTER if rest.len() > 4 => {
                let name = String::from_utf8(rest[4..].to_vec()).expect("names are UTF-8");
                self.known.insert(name, u16_at(rest, 0));
                let regack = [&rest[..4], &[0]].concat();
                self.send_octets(&frame(t::REGACK, &regack));
            }
            t::PUBREL if rest.len() == 2 => {
                self.unreleased.retain(|id| *id != u16_at(rest, 0));
                self.send_octets(&frame(t::PUBCOMP, rest));
            }
            t::PUBLISH if rest.len() >= 5 => self.take_publish(rest),
            _ => return false,
        }
        true
    }

    #[track_caller]
    fn take_publish(&mut self, rest: &[u8]) {
        let message_id = rest[3..5].to_vec();
        let message = self.read_publish(rest);
        match message.qos {
            0 => {}
            1 => {
                let puback = [&rest[1..5], &[0]].concat();
                self.send_octets(&frame(t::PUBACK, &puback));
            }
            2 => {
                self.send_octets(&frame(t::PUBREC, &message_id));
                if self.unreleased.contains(&message.id) {
                    return;
                }
                self.unreleased.push(message.id);
            }
            _ => self.trace.fail("a QoS that a gateway may send", "QoS -1"),
        }
        self.inbox.push_back(message);
    }

    /// The message in a PUBLISH. A predefined id gives the topic `predefined/<id>`.
    #[track_caller]
    fn read_publish(&self, rest: &[u8]) -> Message {
        let (flags, topic_id, id) = (rest[0], u16_at(rest, 1), u16_at(rest, 3));
        let topic = match flags & 3 {
            0 => self.name_of(topic_id),
            1 => format!("predefined/{topic_id}"),
            2 => String::from_utf8_lossy(&rest[1..3]).into_owned(),
            _ => self.trace.fail("a kind of topic id that exists", "the reserved one"),
        };
        let (qos, retain, dup) = (flags >> 5 & 3, flags & RETAIN != 0, flags & DUP != 0);
        Message { topic, payload: rest[5..].to_vec(), qos, retain, dup, id, properties: Vec::new() }
    }

    #[track_caller]
    fn name_of(&self, topic_id: u16) -> String {
        let name = self.known.iter().find(|(_, id)| **id == topic_id).map(|(name, _)| name);
        match name {
            Some(name) => name.clone(),
            None => self.trace.fail("a topic id that we were told", &format!("{topic_id:#06x}")),
        }
    }

    fn receive_within(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let patience = patience.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(patience)).expect("a time above zero");
        self.read()
    }

    /// A datagram that lies in the socket.
    fn receive_waiting(&mut self) -> Option<Vec<u8>> {
        self.socket.set_nonblocking(true).expect("a UDP socket");
        let datagram = self.read();
        self.socket.set_nonblocking(false).expect("a UDP socket");
        datagram
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    buffer.truncate(length);
                    self.trace.came(&buffer);
                    return Some(buffer);
                }
                // Told by the system about an earlier datagram; an answer may still come.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.trace.note("nobody listened");
                }
                Err(_) => return None,
            }
        }
    }
}

/// A socket on the same kind of loopback address as `peer`.
fn socket_beside(peer: SocketAddr) -> UdpSocket {
    let local = match peer {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(peer) if peer.ip().is_loopback() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind((local, 0)).expect("a free port")
}
