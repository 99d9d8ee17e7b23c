//! The whole stack in memory: a broker, the connections of its clients, and a clock.

use std::collections::BTreeMap;

use broker_core::Broker;
use broker_core::api::{Flow, LinkId, Output};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::mqtt::{Received, Sent, ServerConn, Settings};
use broker_core::share::{ShareStrategies, ShareStrategy};
use broker_core::time::{Instant, Now};

use crate::octets::{V5, Version, body, encode, hex, packets, properties, show};

/// One client's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) version: Version,
}

struct End {
    conn: ServerConn,
    /// Sent by the client and not a whole packet yet.
    inbox: Vec<u8>,
    /// Sent to the client and not looked at yet.
    said: Vec<u8>,
    is_closed: bool,
}

pub(crate) struct World {
    pub(crate) broker: Broker,
    settings: Settings,
    ends: BTreeMap<LinkId, End>,
    millis: u64,
}

/// What CONNACK says.
#[derive(Debug)]
pub(crate) struct ConnAck {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    /// Identifier and value of each property.
    pub(crate) properties: Vec<(u8, Vec<u8>)>,
}

impl ConnAck {
    pub(crate) fn property(&self, id: u8) -> Option<&[u8]> {
        let mut found = self.properties.iter().filter(|(other, _)| *other == id);
        let value = found.next().map(|(_, value)| &value[..]);
        assert!(found.next().is_none(), "{self:?}");
        value
    }
}

pub(crate) fn config() -> BrokerConfig {
    BrokerConfig {
        limits: Limits::default(),
        durability: Durability::Memory,
        validate_payload_format: false,
        shares: ShareStrategies {
            default: ShareStrategy::RoundRobin,
            ..ShareStrategies::default()
        },
        sys_interval: None,
        version: "test".to_owned(),
        seed: 5,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config(), Settings::default())
    }

    pub(crate) fn with(config: BrokerConfig, settings: Settings) -> Self {
        let broker = Broker::new(config, Now::from_millis(0));
        Self { broker, settings, ends: BTreeMap::new(), millis: 0 }
    }

    /// A connection on which nothing was said.
    pub(crate) fn open(&mut self, version: Version) -> Link {
        let id = LinkId(self.ends.len() as u64 + 1);
        let end =
            End { conn: ServerConn::new(), inbox: Vec::new(), said: Vec::new(), is_closed: false };
        self.ends.insert(id, end);
        Link { id, version }
    }

    /// A client that sent this CONNECT and was accepted.
    pub(crate) fn connect(&mut self, version: Version, text: &str) -> (Link, ConnAck) {
        let link = self.open(version);
        self.send(link, text);
        let connack = self.connack(link);
        assert_eq!(connack.code, 0, "{text}: {connack:?}");
        (link, connack)
    }

    /// A client whose session ends with its connection. Like the next two it wants no reason
    /// strings, which are for people.
    pub(crate) fn clean(&mut self, version: Version, client_id: &str) -> Link {
        let text = format!("10: 'MQTT' <04>[05] 02 0000 {{17 00}} '{client_id}'");
        self.connect(version, &text).0
    }

    /// A client whose session stays for an hour, and whether there was one.
    pub(crate) fn back(&mut self, version: Version, client_id: &str) -> (Link, bool) {
        let text = format!("10: 'MQTT' <04>[05] 00 0000 {{17 00 11 00000E10}} '{client_id}'");
        let (link, connack) = self.connect(version, &text);
        (link, connack.flags == 1)
    }

    /// The same, for the first time.
    pub(crate) fn stays(&mut self, version: Version, client_id: &str) -> Link {
        let (link, was_there) = self.back(version, client_id);
        assert!(!was_there);
        link
    }

    /// The client sends packets.
    pub(crate) fn send(&mut self, link: Link, text: &str) {
        self.send_octets(link, &encode(link.version, text));
    }

    pub(crate) fn send_octets(&mut self, link: Link, octets: &[u8]) {
        let now = self.now();
        self.end(link).inbox.extend_from_slice(octets);
        loop {
            let Self { broker, settings, ends, .. } = self;
            let End { conn, inbox, said, is_closed } = ends.get_mut(&link.id).expect("open");
            if *is_closed || inbox.is_empty() {
                break;
            }
            let received = conn.receive(settings, inbox, said, |incoming| {
                broker.handle(now, link.id, incoming);
            });
            match received {
                Ok(Received::Packet { used, .. }) => drop(inbox.drain(..used)),
                Ok(Received::Incomplete { .. } | Received::Ended) => break,
                Err(_) => {
                    broker.lost(now, link.id);
                    *is_closed = true;
                }
            }
            self.settle();
        }
    }

    /// The server publishes a value below `$SYS/broker/`.
    pub(crate) fn publish_sys(&mut self, name: &str, value: &str) {
        self.broker.publish_sys(format_args!("{name}"), format_args!("{value}"));
        self.settle();
    }

    /// The network fails.
    pub(crate) fn cut(&mut self, link: Link) {
        self.end(link).is_closed = true;
        let now = self.now();
        self.broker.lost(now, link.id);
        self.settle();
    }

    /// The client leaves in order.
    pub(crate) fn leave(&mut self, link: Link) {
        self.send(link, "E0:");
        self.silent(link);
        assert!(self.is_closed(link));
    }

    /// Time passes, and a little more of it, as timers may be a tick late.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let until = self.millis + 1_000 * seconds + 5;
        loop {
            let due = self.broker.next_timeout().unwrap_or(Instant::NEVER);
            let due = due.as_micros().div_ceil(1_000);
            if due > until {
                break;
            }
            self.millis = self.millis.max(due);
            self.settle();
        }
        self.millis = until;
    }

    /// All that is due now is done.
    fn settle(&mut self) {
        let now = self.now();
        loop {
            while self.put_out() {}
            if self.broker.next_timeout().is_none_or(|due| due > now.mono) {
                break;
            }
            self.broker.handle_timeout(now);
        }
    }

    fn put_out(&mut self) -> bool {
        let now = self.now();
        let Some(output) = self.broker.poll_output() else { return false };
        match output {
            Output::Send { link, packet } => {
                let id = packet.delivery_id();
                let Some(end) = self.ends.get_mut(&link).filter(|end| !end.is_closed) else {
                    return true;
                };
                match (end.conn.send(packet, &mut end.said), id) {
                    (Sent::TooLarge(_), Some(id)) => self.broker.react(link, Flow::GiveUp(id)),
                    (Sent::TooLarge(_), None) => {
                        end.is_closed = true;
                        self.broker.lost(now, link);
                    }
                    (Sent::Packet(_) | Sent::Nothing, _) => {
                        self.broker.react(link, Flow::More);
                    }
                }
            }
            Output::Close { link, reason } => {
                let end = self.ends.get_mut(&link).expect("open");
                if !end.is_closed {
                    let _ = end.conn.close(reason, &mut end.said);
                    end.is_closed = true;
                }
            }
            Output::SessionEnded { .. } | Output::SysTick => {}
        }
        true
    }

    fn now(&self) -> Now {
        Now::from_millis(self.millis)
    }

    fn end(&mut self, link: Link) -> &mut End {
        self.ends.get_mut(&link.id).expect("open")
    }

    /// What the client was sent since the last look.
    pub(crate) fn take(&mut self, link: Link) -> Vec<u8> {
        core::mem::take(&mut self.end(link).said)
    }

    /// The client was sent exactly these packets since the last look.
    #[track_caller]
    pub(crate) fn hears(&mut self, link: Link, text: &str) {
        let (said, expect) = (self.take(link), encode(link.version, text));
        assert!(
            said == expect,
            "{:?} was sent{}\ninstead of{}\n({text})",
            link.version,
            show(&said),
            show(&expect)
        );
    }

    #[track_caller]
    pub(crate) fn silent(&mut self, link: Link) {
        self.hears(link, "");
    }

    /// A request and what it is answered with.
    #[track_caller]
    pub(crate) fn asks(&mut self, link: Link, request: &str, answer: &str) {
        self.send(link, request);
        self.hears(link, answer);
    }

    /// A subscription to one filter with these options, granted as asked for; what else it brings
    /// is left to be heard.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, link: Link, filter: &str, options: u8) {
        self.send(link, &format!("82: 7777 {{}} '{filter}' {options:02X}"));
        let answer = encode(link.version, &format!("90: 7777 {{}} {:02X}", options & 3));
        let said = self.take(link);
        assert!(said.starts_with(&answer), "{filter}: {}", show(&said));
        self.end(link).said = said[answer.len()..].to_vec();
    }

    /// The connection is still there.
    #[track_caller]
    pub(crate) fn lives(&mut self, link: Link) {
        self.asks(link, "C0:", "D0:");
        assert!(!self.is_closed(link));
    }

    pub(crate) fn is_closed(&mut self, link: Link) -> bool {
        self.end(link).is_closed
    }

    /// The connection was closed by the server; a client of 5.0 was told this reason in DISCONNECT,
    /// and nothing else was said.
    #[track_caller]
    pub(crate) fn closes(&mut self, link: Link, reason: u8) {
        let said = self.take(link);
        assert!(self.is_closed(link), "{:?} is not closed: {}", link.version, show(&said));
        if link.version == V5 {
            assert_eq!(reason_of_disconnect(&said), Some(reason), "{}", show(&said));
        } else {
            assert_eq!(hex(&said), "");
        }
    }

    /// The first packet that was sent is a CONNACK; what came behind it is left to be heard.
    #[track_caller]
    pub(crate) fn connack(&mut self, link: Link) -> ConnAck {
        let said = self.take(link);
        let said_packets = packets(&said);
        let connack = said_packets.first().expect("something was said");
        assert_eq!(connack[0], 0x20, "{}", show(&said));
        self.end(link).said = said[connack.len()..].to_vec();
        let body = body(connack);
        let (flags, code) = (body[0], body[1]);
        let (found, rest) = match link.version {
            V5 => properties(&body[2..]),
            Version::V311 => (Vec::new(), &body[2..]),
        };
        assert!(rest.is_empty(), "{}", show(&said));
        let properties = found.iter().map(|(id, value)| (*id, value.to_vec())).collect();
        ConnAck { flags, code, properties }
    }
}

/// The reason of a DISCONNECT of 5.0 that stands alone.
pub(crate) fn reason_of_disconnect(said: &[u8]) -> Option<u8> {
    match &packets(said)[..] {
        [packet] if packet[0] == 0xE0 => Some(body(packet).first().copied().unwrap_or(0)),
        _ => None,
    }
}
