//! A stream of one version of MQTT on one connection: wherever it is cut, the same is heard; what
//! is heard is what stands there; what is answered are whole packets of a server.
//!
//! The first octet of the input chooses the settings of the listener, the rest is the stream.
//! Unless the choice is otherwise, it begins behind a CONNECT.

use broker_core::api::{Ack, AckKind, ConnAck, Dialect, Incoming, Outgoing, PacketId, QoS};
use broker_core::auth::Gate;
use broker_core::mqtt::{
    Fault, Features, PacketType, Received, Sent, ServerConn, Settings, Violation,
};
use broker_core::reason::ReasonCode;
use broker_core::scram::Verifier;
use broker_core::time::Instant;
use broker_core::users::{Credential, Users};

use super::digest::Digest;
use super::{Target, mqtt_said};
use crate::sim::wire::first_packet;

/// MQTT 3.1.
pub const MQTT_31: Target = target("mqtt_packet_31", |octets| run(Dialect::Mqtt31, octets));
/// MQTT 3.1.1.
pub const MQTT_311: Target = target("mqtt_packet_311", |octets| run(Dialect::Mqtt311, octets));
/// MQTT 5.0.
pub const MQTT_5: Target = target("mqtt_packet_5", |octets| run(Dialect::Mqtt5, octets));

const fn target(name: &'static str, run: fn(&[u8]) -> u64) -> Target {
    Target { name, dictionary: "mqtt", bytes_max: 512, run }
}

/// Bits of the first octet.
mod choice {
    /// The stream begins with its own CONNECT.
    pub(super) const BEGINS: u8 = 1;
    /// Hardly anything is served.
    pub(super) const POOR: u8 = 2;
    /// Packets are small, aliases and publications few.
    pub(super) const SMALL: u8 = 4;
    /// Clients have to show who they are.
    pub(super) const USERS: u8 = 8;
}

/// What the default stream begins with.
const fn greeting(dialect: Dialect) -> &'static [u8] {
    match dialect {
        Dialect::Mqtt31 => b"\x10\x0F\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x01c",
        Dialect::Mqtt311 => b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01c",
        Dialect::Mqtt5 | Dialect::MqttSn12 => b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x01c",
    }
}

fn settings(choices: u8) -> Settings {
    let mut settings = Settings::default();
    if choices & choice::POOR != 0 {
        settings.features = Features {
            maximum_qos: QoS::AtLeastOnce,
            retain: false,
            wildcards: false,
            subscription_ids: false,
            shared: false,
        };
    }
    if choices & choice::SMALL != 0 {
        settings.packet_bytes_max = 64;
        settings.connect_packet_bytes_max = 96;
        settings.client_id_bytes_max = 8;
        settings.receive_maximum = 2;
        settings.topic_alias_maximum = 2;
        settings.topic_alias_bytes_max = 12;
        settings.response_topics = Some("re/".to_owned());
    }
    settings
}

/// One who is known. Its password costs a thousandth of what one costs in earnest.
fn users() -> Users {
    let verifier = Verifier::derive(b"pencil", b"salt", 4);
    let mut users = Users::new([7; 32]);
    users.add("user", Credential::Verifier(&verifier));
    users
}

fn run(dialect: Dialect, octets: &[u8]) -> u64 {
    let (choices, stream) = octets.split_first().unwrap_or((&0, &[]));
    let is_own = choices & choice::BEGINS != 0;
    let stream = [if is_own { &[] } else { greeting(dialect) }, stream].concat();

    let whole = Connection::hear_all(*choices, &stream, |left, _| left);
    // As the server does: as many octets as were asked for.
    let asked = Connection::hear_all(*choices, &stream, |_, needed| needed);
    assert_eq!(whole.heard.end(), asked.heard.end(), "it matters where the stream is cut");
    assert_eq!(whole.violation, asked.violation);
    if !whole.is_too_large_to_be_greeted() {
        assert_eq!(whole.said, asked.said, "it matters where the stream is cut");
    }
    check_said(&whole.said);

    let mut digest = whole.heard;
    digest.octets(&whole.said);
    digest.end()
}

/// One connection, and what passed through it.
struct Connection {
    conn: ServerConn,
    settings: Settings,
    users: Option<Users>,
    is_rich: bool,
    heard: Digest,
    said: Vec<u8>,
    violation: Option<Violation>,
}

impl Connection {
    /// Hears a stream to its end. `next` tells how many octets are given at once, of how many that
    /// are left and when so many are needed.
    fn hear_all(choices: u8, stream: &[u8], next: impl Fn(usize, usize) -> usize) -> Self {
        let mut this = Self {
            conn: ServerConn::new(),
            settings: settings(choices),
            users: (choices & choice::USERS != 0).then(users),
            is_rich: choices & choice::POOR == 0,
            heard: Digest::new(),
            said: Vec::new(),
            violation: None,
        };
        let (mut left, mut needed) = (stream, 1);
        while !left.is_empty() {
            let given = &left[..next(left.len(), needed).min(left.len())];
            match this.receive(given) {
                Ok(Received::Packet { used, .. }) => {
                    left = &left[used..];
                    needed = 1;
                }
                Ok(Received::Incomplete { needed: more }) => {
                    assert!(more > given.len(), "{more} octets were there");
                    let max = this.settings.packet_bytes_max;
                    let max = max.max(this.settings.connect_packet_bytes_max) as usize;
                    assert!(more <= max.max(5), "{more} octets would be buffered");
                    if given.len() == left.len() {
                        break;
                    }
                    needed = more;
                }
                Ok(Received::Ended) => break,
                Err(violation) => {
                    this.violation = Some(violation);
                    break;
                }
            }
        }
        assert!(this.conn.memory() < 16 << 10, "{} octets are held", this.conn.memory());
        this
    }

    /// Whether the first packet is refused for its size: what is answered depends on whether its
    /// version has come by then, for which nobody waits.
    fn is_too_large_to_be_greeted(&self) -> bool {
        let fault = self.violation.map(|violation| violation.fault);
        self.heard.is_new() && matches!(fault, Some(Fault::TooLarge { .. }))
    }

    /// Reads at most one packet, and answers it.
    fn receive(&mut self, given: &[u8]) -> Result<Received, Violation> {
        let Self { conn, settings, heard, said, is_rich, .. } = self;
        let mut answer = None;
        let dialect = conn.dialect().unwrap_or(Dialect::Mqtt311);
        let hear = |incoming: Incoming<'_>| {
            let (packet, body) = first_packet(given).expect("only whole packets are heard");
            // The rest is the exchange of AUTH packets, which brings back an earlier CONNECT.
            let is_itself = packet[0] >> 4 != 15;
            if *is_rich && is_itself {
                mqtt_said::check(dialect, packet[0], body, &incoming);
            }
            heard.octets(packet);
            answer = answer_to(&incoming);
        };
        let received = match &mut self.users {
            None => conn.receive(settings, given, said, hear),
            Some(users) => {
                let gate = Gate { authenticator: users, now: Instant::default() };
                conn.receive_at(settings, gate, given, said, hear)
                    .inspect_err(|violation| conn.reject(settings, violation, said))
            }
        };
        if let Some(answer) = answer {
            let is_connack = matches!(answer, Outgoing::ConnAck(_));
            let sent = conn.send(answer, said);
            let is_refused = matches!(sent, Sent::TooLarge(PacketType::ConnAck));
            assert!(!is_connack || is_refused || conn.is_connected(), "CONNACK made it connected");
        }
        if received.is_err() {
            assert!(conn.has_ended(), "a violation ends the connection");
            assert_eq!(conn.receive(settings, given, said, |_| {}), Ok(Received::Ended));
        }
        received
    }
}

/// What the broker would say at once.
fn answer_to(incoming: &Incoming<'_>) -> Option<Outgoing<'static>> {
    let ack = |kind, id: PacketId| {
        Some(Outgoing::Ack(Ack { kind, id, reason: ReasonCode::Success, token: 0 }))
    };
    match incoming {
        Incoming::Connect(connect) => Some(Outgoing::ConnAck(ConnAck {
            reason: ReasonCode::Success,
            session_present: false,
            assigned_client_id: connect.client_id.is_empty().then_some("assigned"),
            session_expiry_s: 0,
        })),
        // The others are never answered, so that their number has its bound.
        Incoming::Publish(publish) if publish.id.0 % 2 == 0 => None,
        Incoming::Publish(publish) => match publish.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => ack(AckKind::PubAck, publish.id),
            QoS::ExactlyOnce => ack(AckKind::PubRec, publish.id),
        },
        Incoming::Ack(Ack { kind: AckKind::PubRel, id, .. }) => ack(AckKind::PubComp, *id),
        Incoming::Ping => Some(Outgoing::Pong),
        Incoming::Ack(_)
        | Incoming::Subscribe(_)
        | Incoming::Unsubscribe(_)
        | Incoming::ChangeWill(_)
        | Incoming::Disconnect(_) => None,
    }
}

/// What was said are packets that a server may send, in an order in which it may.
pub(super) fn check_said(said: &[u8]) {
    let mut rest = said;
    let mut has_connack = false;
    while !rest.is_empty() {
        let (packet, _) = first_packet(rest).expect("whole packets are said");
        let kind = packet[0] >> 4;
        assert!(matches!(kind, 2..=7 | 9 | 11 | 13..=15), "no server says {packet:02X?}");
        assert!(kind == 15 || (kind == 2) != has_connack, "CONNACK is the first and only one");
        has_connack |= kind == 2;
        rest = &rest[packet.len()..];
        assert!(kind != 14 || rest.is_empty(), "nothing comes after DISCONNECT");
    }
}
