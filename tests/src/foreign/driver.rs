//! Foreign clients behind one line protocol.
//!
//! The drivers in `tests/clients` read commands on standard input and write events on standard
//! output; `docs/testing.md` lists both. A scenario written once runs with all of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Command;

use crate::client::{Message, Will, expected};
use crate::foreign::{clients_dir, found, program, python_with};
use crate::process::{PATIENCE, Process, Silence};
use crate::repository;

/// A foreign client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// `paho-mqtt` from PyPI.
    PahoMqtt,
    /// The same with MQTT 5.0.
    PahoMqtt5,
    /// `aiomqtt` from PyPI, with MQTT 5.0.
    Aiomqtt5,
    /// `mqtt` from npm.
    MqttJs,
    /// The same with MQTT 5.0.
    MqttJs5,
    /// `mqtt-sn-12` from PyPI.
    MqttSn12,
    /// `paho-mqtt` over WebSocket. It connects there, whatever address a scenario has for others.
    PahoMqttWs(SocketAddr),
    /// `mqtt` from npm over WebSocket, likewise.
    MqttJsWs(SocketAddr),
    /// The same with MQTT 5.0.
    MqttJs5Ws(SocketAddr),
}

impl Library {
    fn name(self) -> &'static str {
        match self {
            Self::PahoMqtt | Self::PahoMqtt5 | Self::PahoMqttWs(_) => "paho-mqtt (PyPI)",
            Self::Aiomqtt5 => "aiomqtt (PyPI)",
            Self::MqttJs | Self::MqttJs5 | Self::MqttJsWs(_) | Self::MqttJs5Ws(_) => "mqtt (npm)",
            Self::MqttSn12 => "mqtt-sn-12 (PyPI)",
        }
    }

    /// Where it connects, if that is its own choice.
    fn server(self) -> Option<SocketAddr> {
        match self {
            Self::PahoMqttWs(server) | Self::MqttJsWs(server) | Self::MqttJs5Ws(server) => {
                Some(server)
            }
            Self::PahoMqtt
            | Self::PahoMqtt5
            | Self::Aiomqtt5
            | Self::MqttJs
            | Self::MqttJs5
            | Self::MqttSn12 => None,
        }
    }

    /// The command that runs its driver, if the library is there.
    fn command(self) -> Option<Command> {
        let driver = |file: &str| repository::path("tests/clients").join(file);
        let python = |module: &str, file: &str| {
            let mut command = Command::new(python_with(module)?);
            command.arg(driver(file));
            Some(command)
        };
        let mut command = match self {
            Self::PahoMqtt | Self::PahoMqtt5 | Self::PahoMqttWs(_) => {
                python("paho.mqtt.client", "paho_mqtt.py")?
            }
            Self::Aiomqtt5 => python("aiomqtt", "aiomqtt_5.py")?,
            Self::MqttSn12 => python("mqttsn12.packets", "mqtt_sn_12.py")?,
            Self::MqttJs | Self::MqttJs5 | Self::MqttJsWs(_) | Self::MqttJs5Ws(_) => {
                let modules = clients_dir().join("node_modules");
                let mut command = Command::new(program("node")?);
                command.arg(driver("mqttjs.mjs")).env("NODE_PATH", &modules);
                modules.join("mqtt").is_dir().then_some(command)?
            }
        };
        if matches!(self, Self::PahoMqtt5 | Self::MqttJs5 | Self::MqttJs5Ws(_)) {
            command.arg("5");
        }
        if self.server().is_some() {
            command.arg("websocket");
        }
        Some(command)
    }
}

/// How a foreign client connects.
#[derive(Clone, Debug)]
pub struct Session<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// Whether the session begins empty.
    pub clean: bool,
    /// Keep alive in seconds.
    pub keep_alive_s: u16,
    /// Its will.
    pub will: Option<&'a Will>,
}

impl<'a> Session<'a> {
    /// A clean session without a will, keep alive 60 s.
    pub fn clean(client_id: &'a str) -> Self {
        Self { client_id, clean: true, keep_alive_s: 60, will: None }
    }

    /// A session that is kept, without a will, keep alive 60 s.
    pub fn kept(client_id: &'a str) -> Self {
        Self { clean: false, ..Self::clean(client_id) }
    }
}

/// A running foreign client.
#[derive(Debug)]
pub struct Driver {
    name: String,
    process: Process,
    /// Where it connects, if that is its own choice.
    server: Option<SocketAddr>,
    inbox: VecDeque<Message>,
    /// Commands and events so far, for the message of a failing test.
    said: Vec<String>,
}

impl Driver {
    /// Starts a library's driver; none, and said so, if the library is not there.
    #[track_caller]
    pub fn start(library: Library) -> Option<Self> {
        let mut command = found(library.name(), library.command())?;
        let driver = Self::new(library.name(), &mut command);
        Some(Self { server: library.server(), ..driver })
    }

    /// Starts `mosquitto_sub` with these arguments and waits until it has subscribed.
    #[track_caller]
    pub fn mosquitto_sub(server: SocketAddr, args: &[&str]) -> Option<Self> {
        let mut command = mosquitto_tool("mosquitto_sub", server)?;
        command.args(["-d", "-F", "message %t %q %r 0 %x"]).args(args);
        let mut driver = Self::new("mosquitto_sub", &mut command);
        driver.wait_for("Subscribed");
        Some(driver)
    }

    fn new(name: &str, command: &mut Command) -> Self {
        let process = Process::spawn(name, command);
        let (name, inbox) = (name.to_owned(), VecDeque::new());
        Self { name, process, server: None, inbox, said: Vec::new() }
    }

    /// Connects and wants to be accepted. Returns whether a session was there before, as far as
    /// the protocol tells it.
    #[track_caller]
    pub fn connect(&mut self, server: SocketAddr, session: &Session<'_>) -> bool {
        let clean = if session.clean { "clean" } else { "keep" };
        let server = self.server.unwrap_or(server);
        let (ip, port, id) = (server.ip(), server.port(), session.client_id);
        let mut command = format!("connect {ip} {port} {id} {clean} {}", session.keep_alive_s);
        if let Some(Will { topic, payload, qos, retain }) = session.will {
            let words = format!(" {topic} {qos} {} {}", u8::from(*retain), to_hex(payload));
            command.push_str(&words);
        }
        self.tell(&command);
        self.expect_one_of(&["connected 0", "connected 1"]) == 1
    }

    /// Subscribes and wants this QoS granted.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        self.tell(&format!("subscribe {filter} {qos}"));
        self.expect(&format!("subscribed {qos}"));
    }

    /// Publishes with the whole handshake of the QoS.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: i8, retain: bool) {
        let payload = to_hex(payload.as_ref());
        self.tell(&format!("publish {topic} {qos} {} {payload}", u8::from(retain)));
        self.expect("published");
    }

    /// Gives a command.
    #[track_caller]
    pub fn tell(&mut self, command: &str) {
        self.said.push(format!("> {command}"));
        self.process.tell(command);
    }

    /// The next event that is no message has to be this one.
    #[track_caller]
    pub fn expect(&mut self, event: &str) {
        self.expect_one_of(&[event]);
    }

    #[track_caller]
    fn expect_one_of(&mut self, events: &[&str]) -> usize {
        loop {
            let line = self.next_line(&events.join(" or "));
            match events.iter().position(|event| *event == line) {
                Some(index) => return index,
                None if self.take_message(&line) => {}
                None => self.fail(&events.join(" or "), &line),
            }
        }
    }

    /// Skips lines until one begins with `start`; messages among them are kept.
    #[track_caller]
    fn wait_for(&mut self, start: &str) {
        loop {
            let line = self.next_line(start);
            if line.starts_with(start) {
                return;
            }
            self.take_message(&line);
        }
    }

    /// The next application message. Lines that a chatty tool prints between are skipped.
    #[track_caller]
    pub fn next_message(&mut self) -> Message {
        while self.inbox.is_empty() {
            let line = self.next_line("a message");
            if !self.take_message(&line) && !line.starts_with("Client ") {
                self.fail("a message", &line);
            }
        }
        self.inbox.pop_front().expect("it is not empty")
    }

    /// The next message has this topic, payload, QoS and retain flag.
    #[track_caller]
    pub fn expect_message(&mut self, topic: &str, payload: &str, qos: u8, retain: bool) {
        let message = self.next_message();
        if !message.is(topic, payload, qos) || message.retain != retain {
            let retained = if retain { ", retained" } else { "" };
            self.fail(&(expected(topic, payload, qos) + retained), &message.to_string());
        }
    }

    /// A message that came before the last event has this topic, payload and QoS.
    #[track_caller]
    pub fn expect_kept_message(&mut self, topic: &str, payload: &str, qos: u8) {
        if self.inbox.is_empty() {
            self.fail(&format!("{topic} {payload}"), "nothing before the last event");
        }
        self.expect_message(topic, payload, qos, false);
    }

    /// No message is waiting that was taken on the way to an event.
    #[track_caller]
    pub fn expect_empty_inbox(&mut self) {
        if let Some(message) = self.inbox.front() {
            self.fail("no message", &message.to_string());
        }
    }

    /// Ends the process as a power cut would; the client says no good-bye.
    pub fn vanish(mut self) {
        self.process.kill();
    }

    fn take_message(&mut self, line: &str) -> bool {
        let message = parse_message(line);
        let taken = message.is_some();
        self.inbox.extend(message);
        taken
    }

    #[track_caller]
    fn next_line(&mut self, expected: &str) -> String {
        match self.process.next_line(PATIENCE) {
            Ok(line) => {
                self.said.push(format!("< {line}"));
                line
            }
            Err(Silence::Timeout) => self.fail(expected, "nothing in time"),
            Err(Silence::Ended) => self.fail(expected, "the end of the process"),
        }
    }

    #[track_caller]
    fn fail(&self, expected: &str, came: &str) -> ! {
        let said = self.said.join("\n  ");
        let name = &self.name;
        panic!("{name}:\nexpected {expected}\ncame     {came}\n  {said}\n{}", self.process.log());
    }
}

/// Runs `mosquitto_pub` with these arguments to its end, which has to be a good one. `false`, and
/// said so, if it is not there.
#[track_caller]
pub fn mosquitto_pub(server: SocketAddr, args: &[&str]) -> bool {
    let ended = mosquitto_pub_ends(server, args);
    let is_good = |log: &Result<(), String>| log.is_ok();
    assert!(ended.as_ref().is_none_or(is_good), "mosquitto_pub {args:?}: {ended:?}");
    ended.is_some()
}

/// The same, however it ends: well, or with what it said about that.
#[track_caller]
pub fn mosquitto_pub_ends(server: SocketAddr, args: &[&str]) -> Option<Result<(), String>> {
    let mut command = mosquitto_tool("mosquitto_pub", server)?;
    let mut process = Process::spawn("mosquitto_pub", command.args(args));
    let status = process.wait();
    Some(if status.success() { Ok(()) } else { Err(process.log()) })
}

/// A Mosquitto tool that writes each line when it has it, also into a pipe.
#[track_caller]
fn mosquitto_tool(name: &str, server: SocketAddr) -> Option<Command> {
    let mut command = Command::new("stdbuf");
    command.arg("-oL").arg(found(name, program(name))?);
    command.args(["-h", &server.ip().to_string(), "-p", &server.port().to_string()]);
    Some(command)
}

/// Reads `message TOPIC QOS RETAIN DUP PAYLOAD`, and perhaps the word of its properties.
fn parse_message(line: &str) -> Option<Message> {
    let mut words = line.strip_prefix("message ")?.split(' ');
    let topic = words.next()?.to_owned();
    let qos = words.next()?.parse().ok()?;
    let (retain, dup) = (words.next()? == "1", words.next()? == "1");
    let payload = from_hex(words.next()?)?;
    let properties = words.next().unwrap_or("-").into();
    Some(Message { topic, payload, qos, retain, dup, id: 0, properties })
}

fn to_hex(payload: &[u8]) -> String {
    match payload {
        [] => "-".to_owned(),
        _ => payload.iter().map(|octet| format!("{octet:02x}")).collect(),
    }
}

fn from_hex(word: &str) -> Option<Vec<u8>> {
    let digits = if word == "-" { "" } else { word };
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_line_is_read_whole() {
        let message = parse_message("message a/b 1 0 1 6869").expect("well formed");
        assert_eq!((message.topic.as_str(), message.text().as_str()), ("a/b", "hi"));
        assert_eq!((message.qos, message.retain, message.dup), (1, false, true));
        for empty in ["message a 0 1 0 -", "message a 0 1 0 "] {
            assert_eq!(parse_message(empty).expect("well formed").payload, b"");
        }
        for wrong in ["messages", "message a", "message a x 0 0 -", "message a 0 0 0 6x"] {
            assert_eq!(parse_message(wrong), None, "{wrong}");
        }
        assert_eq!(from_hex(&to_hex(&[0, 255])), Some(vec![0, 255]));
    }
}
