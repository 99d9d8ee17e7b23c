//! A client in hex, and a broker that writes down what it hears.

use broker_core::api::{
    ConnAck, Connect, ConnectWill, Credit, Incoming, Outgoing, Publish, SubscriptionOptions, Will,
};
use broker_core::auth::{Authenticator, Everybody, Gate};
use broker_core::mqtt::{Received, Sent, ServerConn, Settings, Violation};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::time::Instant;

/// Which client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
}

use Version::{V5, V31, V311};

pub(crate) const ALL: [Version; 3] = [V31, V311, V5];

/// The CONNECT of a client `c` with a clean session and 60 s of keep alive. That of 5.0 does not
/// want reason strings, so that answers are short.
pub(crate) const fn connect_of(version: Version) -> &'static str {
    match version {
        V31 => "10 0F  00 06 4D 51 49 73 64 70  03 02 00 3C  00 01 63",
        V311 => "10 0D  00 04 4D 51 54 54  04 02 00 3C  00 01 63",
        V5 => "10 10  00 04 4D 51 54 54  05 02 00 3C  02 17 00  00 01 63",
    }
}

pub(crate) fn octets(hex: &str) -> Vec<u8> {
    let digits = hex.split_whitespace().collect::<String>();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits"))
        .collect()
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(" ")
}

/// A packet of any length: the first octet in hex, the remaining length counted, the body in hex.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    while left >= 0x80 {
        packet.push(0x80 | (left & 0x7F) as u8);
        left >>= 7;
    }
    packet.push(left as u8);
    packet.extend_from_slice(body);
    packet
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) conn: ServerConn,
    pub(crate) settings: Settings,
    pub(crate) authenticator: Box<dyn Authenticator>,
    pub(crate) now: Instant,
    /// What the client would read.
    pub(crate) said: Vec<u8>,
}

/// What came of some octets.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What the broker heard, one line each.
    pub(crate) heard: Vec<String>,
    pub(crate) violation: Option<Violation>,
    /// Octets that were used.
    pub(crate) used: usize,
    /// What is missing, if it is known that something is.
    pub(crate) needed: Option<usize>,
}

impl Wire {
    /// Nothing was sent yet.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self {
            conn: ServerConn::new(),
            settings,
            authenticator: Box::new(Everybody),
            now: Instant::default(),
            said: Vec::new(),
        }
    }

    /// A client that is connected.
    pub(crate) fn connected(version: Version) -> Self {
        Self::connected_by(connect_of(version), Settings::default())
    }

    pub(crate) fn connected_by(connect: &str, settings: Settings) -> Self {
        let mut wire = Self::with(settings);
        let outcome = wire.feed(&octets(connect));
        assert!(outcome.violation.is_none(), "{outcome:?}");
        assert_eq!(wire.accept(), Sent::Packet(broker_core::mqtt::PacketType::ConnAck));
        wire.said.clear();
        wire
    }

    /// The broker accepts.
    pub(crate) fn accept(&mut self) -> Sent {
        self.conn.send(Outgoing::ConnAck(CONNACK), &mut self.said)
    }

    pub(crate) fn send(&mut self, packet: Outgoing<'_>) -> Sent {
        self.conn.send(packet, &mut self.said)
    }

    /// The client sends octets; whole packets are taken from them.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Outcome {
        let mut outcome = Outcome { heard: Vec::new(), violation: None, used: 0, needed: None };
        while outcome.used < input.len() {
            let heard = &mut outcome.heard;
            let rest = &input[outcome.used..];
            let gate = Gate { authenticator: &mut *self.authenticator, now: self.now };
            match self.conn.receive_at(&self.settings, gate, rest, &mut self.said, |incoming| {
                heard.push(tell(&incoming));
            }) {
                Ok(Received::Packet { used, .. }) => outcome.used += used,
                Ok(Received::Incomplete { needed }) => {
                    assert!(needed > rest.len(), "{needed} octets are there");
                    outcome.needed = Some(needed);
                    break;
                }
                Ok(Received::Ended) => break,
                Err(violation) => {
                    self.conn.reject(&self.settings, &violation, &mut self.said);
                    assert!(self.conn.has_ended());
                    outcome.violation = Some(violation);
                    break;
                }
            }
        }
        outcome
    }

    /// What was said since the last time, in hex.
    pub(crate) fn take_said(&mut self) -> String {
        let said = hex(&self.said);
        self.said.clear();
        said
    }
}

pub(crate) const CONNACK: ConnAck<'static> = ConnAck {
    reason: ReasonCode::Success,
    session_present: false,
    assigned_client_id: None,
    session_expiry_s: 0,
};

/// A connected client sends `input`; the broker hears `expect` and the client nothing.
pub(crate) fn hears(version: Version, input: &str, expect: &str) {
    let mut wire = Wire::connected(version);
    let outcome = wire.feed(&octets(input));
    assert_eq!(outcome.violation, None, "{version:?}: {input}");
    assert_eq!(outcome.heard, [expect], "{version:?}: {input}");
    assert_eq!(wire.take_said(), "", "{version:?}: {input}");
}

/// A connected client sends `input`; that is a violation with this reason, and the client is told
/// it if it speaks 5.0. The broker hears nothing.
pub(crate) fn closes(version: Version, input: &str, reason: u8) {
    let mut wire = Wire::connected(version);
    closes_on(&mut wire, &octets(input), reason, input);
}

pub(crate) fn closes_on(wire: &mut Wire, input: &[u8], reason: u8, label: &str) {
    let version = wire.conn.dialect();
    let outcome = wire.feed(input);
    let violation = outcome.violation.unwrap_or_else(|| panic!("{version:?} accepts {label}"));
    assert_eq!(violation.reason() as u8, reason, "{version:?}: {label}: {violation}");
    assert!(outcome.heard.is_empty(), "{version:?}: {label}: {outcome:?}");
    let is_5 = version == Some(broker_core::api::Dialect::Mqtt5);
    let answer = if is_5 { format!("E0 01 {reason:02X}") } else { String::new() };
    assert_eq!(wire.take_said(), answer, "{version:?}: {label}: {violation}");
    // Nothing that follows is looked at.
    let outcome = wire.feed(&[0xC0, 0x00]);
    assert!(outcome.heard.is_empty() && outcome.violation.is_none() && outcome.used == 0);
}

/// `input` is all that a client sends; it is told `answer`. With a reason it is a violation,
/// without one the broker hears a CONNECT.
pub(crate) fn greets(settings: Settings, input: &str, reason: Option<u8>, answer: &str) {
    let mut wire = Wire::with(settings);
    let outcome = wire.feed(&octets(input));
    let actual = outcome.violation.map(|violation| violation.reason() as u8);
    assert_eq!(actual, reason, "{input}: {:?}", outcome.violation);
    assert_eq!(outcome.heard.len(), usize::from(reason.is_none()), "{input}");
    assert_eq!(wire.take_said(), answer, "{input}");
    assert_eq!(wire.conn.has_ended(), reason.is_some(), "{input}");
}

/// What the broker hears of a CONNECT.
pub(crate) fn connects(settings: Settings, input: &str, expect: &str) {
    let mut wire = Wire::with(settings);
    let outcome = wire.feed(&octets(input));
    assert_eq!(outcome.violation, None, "{input}");
    assert_eq!(outcome.heard, [expect], "{input}");
}

/// One line about what a link says.
pub(crate) fn tell(incoming: &Incoming<'_>) -> String {
    match incoming {
        Incoming::Connect(connect) => tell_connect(connect),
        Incoming::Publish(publish) => tell_publish(publish),
        Incoming::Ack(ack) => {
            assert_eq!(ack.token, 0);
            let reason = ack.reason as u8;
            format!("{} {} {reason:02X}", format!("{:?}", ack.kind).to_uppercase(), ack.id.0)
        }
        Incoming::Subscribe(subscribe) => {
            assert_eq!(subscribe.token, 0);
            let mut text = format!("SUBSCRIBE {}", subscribe.id.0);
            if subscribe.identifier > 0 {
                text += &format!(" as {}", subscribe.identifier);
            }
            for request in subscribe.requests {
                let options = tell_options(request.options);
                text += &format!(", {}{options}", request.filter);
            }
            text
        }
        Incoming::Unsubscribe(unsubscribe) => {
            assert_eq!(unsubscribe.token, 0);
            let mut text = format!("UNSUBSCRIBE {}", unsubscribe.id.0);
            for filter in unsubscribe.filters {
                text += &format!(", {filter}");
            }
            text
        }
        Incoming::ChangeWill(_) => panic!("no version of MQTT has it"),
        Incoming::Ping => "PINGREQ".into(),
        Incoming::Disconnect(disconnect) => {
            assert!(!disconnect.keep_will, "in MQTT the will is forgotten");
            let mut text = format!("DISCONNECT {:02X}", disconnect.reason as u8);
            if let Some(seconds) = disconnect.session_expiry_s {
                text += &format!(" expiry {seconds}");
            }
            text
        }
    }
}

fn tell_options(options: SubscriptionOptions) -> String {
    let mut text = format!(" q{}", options.qos as u8);
    if options.no_local {
        text += " no-local";
    }
    if options.retain_as_published {
        text += " as-published";
    }
    match options.retain_handling as u8 {
        0 => {}
        handling => text += &format!(" handling-{handling}"),
    }
    text
}

fn tell_connect(connect: &Connect<'_>) -> String {
    let mut text = format!("{} '{}'", connect.dialect, connect.client_id);
    if connect.clean_start {
        text += " clean";
    }
    match connect.session_expiry_s {
        0 => {}
        u32::MAX => text += " expiry max",
        seconds => text += &format!(" expiry {seconds}"),
    }
    if let Some(silence) = connect.keep_alive {
        text += &format!(" silence {silence:?}");
    }
    match &connect.will {
        ConnectWill::None => {}
        ConnectWill::Keep => panic!("MQTT keeps no will of another connection"),
        ConnectWill::Set(will) => text += &tell_will(will),
    }
    assert!(connect.will_on_takeover, "in MQTT the will is published then");
    if let Some(user_name) = connect.user_name {
        text += &format!(" user '{user_name}'");
    }
    if let Some(password) = connect.password {
        text += &format!(" password {}", hex(password));
    }
    let Credit::Window(window) = connect.credit else { panic!("{:?}", connect.credit) };
    if window != Settings::default().window {
        text += &format!(" window {window}");
    }
    assert_eq!(connect.queue, Settings::default().queue);
    text + &tell_properties(connect.properties)
}

fn tell_will(will: &Will<'_>) -> String {
    let retain = if will.retain { " retain" } else { "" };
    let delay = if will.delay_s > 0 { format!(" delay {}", will.delay_s) } else { String::new() };
    format!(
        " will({} {:?} q{}{retain}{delay}{})",
        will.topic,
        String::from_utf8_lossy(will.payload),
        will.qos as u8,
        tell_properties(will.properties)
    )
}

fn tell_publish(publish: &Publish<'_>) -> String {
    assert_eq!(publish.token, 0);
    let payload = publish.payload.as_octets();
    let mut text = format!("PUBLISH {} {:?}", publish.topic, String::from_utf8_lossy(payload));
    text += &format!(" q{}", publish.qos as u8);
    if publish.id.0 > 0 {
        text += &format!(" id {}", publish.id.0);
    }
    if publish.retain {
        text += " retain";
    }
    if publish.dup {
        text += " dup";
    }
    text + &tell_properties(publish.properties)
}

fn tell_properties(properties: Properties<'_>) -> String {
    if properties.is_empty() { String::new() } else { format!(" {properties:?}") }
}

/// A packet in hex: its first octet, its remaining length counted, its body.
pub(crate) fn framed(first: &str, body: &str) -> String {
    hex(&packet(octets(first)[0], &octets(body)))
}
