//! A broker and the MQTT-SN gateway in front of it with what they keep, and one application that
//! speaks to the broker directly.

use std::net::SocketAddr;
use std::time::Duration;

use broker_core::Broker;
use broker_core::api::{
    Ack, AckKind, Connect, ConnectWill, Credit, Dialect, Incoming, LinkId, Outgoing, Output,
    Overflow, PacketId, Payload, Publish, QoS, QueueLimits, Subscribe, SubscribeRequest,
    SubscriptionOptions,
};
use broker_core::journal::RecordKey;
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::share::ShareStrategies;
use broker_core::time::{Now, UnixMillis};
use broker_core::topic::{TopicBuf, TopicFilter, TopicName};
use mqtt_sn_gw::sn::{
    Datagram, Destination, LocalAddress, Network, PortId, Quirks, Retry, Settings, SnGateway,
    Transmit,
};

use super::records::{self, Kept};

/// Links of the gateway carry this.
const SN_LINKS: u64 = 1 << 63;

/// Seconds for which sessions are kept.
const EXPIRY_S: u32 = 3_600;

/// Octets of a message that is sent to a sensor.
pub(super) const DATAGRAM_MAX: u16 = 128;

/// Turns after which everything is over once nobody says anything more.
const TURNS_MAX: u32 = 5_000;

/// The application.
const APP: LinkId = LinkId(1);

pub(super) const QUEUE: QueueLimits = QueueLimits {
    messages_max: 6,
    bytes_max: 400,
    paused_qos0_messages_max: 3,
    overflow: Overflow::DropOldest,
};

/// See the [module](self).
pub(super) struct Machine {
    pub(super) broker: Broker,
    pub(super) sn: SnGateway,
    pub(super) kept: Kept,
    pub(super) millis: u64,
    is_durable: bool,
}

impl Machine {
    pub(super) fn new(is_durable: bool) -> Self {
        let now = now(0);
        let broker = Broker::new(broker_config(is_durable), now);
        let sn = SnGateway::new(sn_settings(is_durable), SN_LINKS, now, 5);
        let mut machine = Self { broker, sn, kept: Kept::new(), millis: 0, is_durable };
        machine.connect_app();
        machine
    }

    pub(super) fn now(&self) -> Now {
        now(self.millis)
    }

    pub(super) const fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// The application comes and subscribes to everything.
    fn connect_app(&mut self) {
        let connect = Connect {
            dialect: Dialect::Mqtt5,
            client_id: "application",
            clean_start: true,
            session_expiry_s: 0,
            keep_alive: None,
            will: ConnectWill::None,
            will_on_takeover: true,
            durability: Durability::Gated,
            user_name: None,
            password: None,
            credit: Credit::Window(4),
            queue: QUEUE,
            properties: Properties::EMPTY,
        };
        self.broker.handle(self.now(), APP, Incoming::Connect(connect));
        let filter = TopicFilter::new("#").expect("a good filter");
        let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() };
        let requests = &[SubscribeRequest { filter, options }];
        let subscribe = Subscribe { id: PacketId(1), token: 0, identifier: 0, requests };
        self.broker.handle(self.now(), APP, Incoming::Subscribe(subscribe));
    }

    /// The application publishes.
    pub(super) fn publish(&mut self, topic: &str, qos: QoS, retain: bool, payload: &[u8]) {
        let publish = Publish {
            topic: TopicName::new(topic).expect("a good name"),
            payload: Payload::Borrowed(payload),
            qos,
            retain,
            dup: false,
            id: PacketId(7),
            token: 0,
            properties: Properties::EMPTY,
        };
        self.broker.handle(self.now(), APP, Incoming::Publish(publish));
    }

    pub(super) fn datagram(&mut self, from: SocketAddr, octets: &[u8]) {
        let to = LocalAddress::default();
        let datagram = Datagram { port: PortId(0), from, to, group: None, octets };
        self.sn.handle_datagram(self.now(), datagram, &mut self.broker);
    }

    /// Does what is due, lets everybody be told what there is to say, and stores what has changed.
    pub(super) fn turn(&mut self, mut send: impl FnMut(SocketAddr, &[u8])) {
        let now = self.now();
        self.broker.handle_timeout(now);
        self.sn.handle_timeout(now, &mut self.broker);
        let mut heard = Vec::new();
        for _ in 0..200 {
            let Some(output) = self.broker.poll_output() else { break };
            match output {
                Output::Send { link, packet } if link == APP => heard.extend(answer(&packet)),
                Output::Send { link, packet } => {
                    let flow = self.sn.handle_outgoing(now, link, packet);
                    self.broker.react(link, flow);
                }
                Output::Close { link, reason } => self.sn.handle_close(link, reason),
                Output::SessionEnded { client_id } => self.sn.handle_session_end(client_id),
                Output::SysTick => {}
            }
        }
        for ack in heard {
            self.broker.handle(now, APP, Incoming::Ack(ack));
        }
        self.sn.settle(&mut self.broker);
        while let Some(Transmit { to, octets, .. }) = self.sn.poll_transmit() {
            if let Destination::One { to, .. } = to {
                send(to, octets);
            }
        }
        self.keep();
    }

    /// What has changed goes to the store.
    pub(super) fn keep(&mut self) {
        if !self.is_durable {
            return;
        }
        if self.sn.has_changes() {
            self.broker.note_change();
        }
        let mut journal = Vec::new();
        let upto = self.broker.take_journal(&mut journal);
        self.sn.take_journal(&mut journal, upto);
        records::apply(&journal, &mut self.kept);
    }

    /// What was stored is safe.
    pub(super) fn commit(&mut self) {
        let upto = self.broker.lsn();
        self.broker.committed(upto);
        self.sn.committed(upto);
    }

    /// The process ends, and another one begins with what was kept. Returns whether all of that
    /// was taken.
    pub(super) fn restart(&mut self) -> bool {
        let now = self.now();
        self.broker = Broker::new(broker_config(self.is_durable), now);
        self.sn = SnGateway::new(sn_settings(self.is_durable), SN_LINKS, now, self.millis);
        let mut is_whole = true;
        for (key, value) in &self.kept {
            let key = RecordKey(*key);
            is_whole &= match key.table() {
                0..0x80 => self.broker.restore(now, key, value),
                _ => self.sn.restore(now, key, value),
            }
            .is_ok();
        }
        self.sn.finish_restore(now, &mut self.broker);
        let report = self.broker.finish_restore(now, false);
        self.keep();
        self.sn.check_invariants();
        self.connect_app();
        is_whole && report.dangling == 0
    }

    /// Nobody says anything any more: in the end nothing is left of all but the application and
    /// what is retained.
    ///
    /// # Panics
    /// If something is.
    pub(super) fn check_nothing_stays(&mut self, mut send: impl FnMut(SocketAddr, &[u8])) {
        for _ in 0..TURNS_MAX {
            self.turn(&mut send);
            self.commit();
            let times = self.broker.next_timeout().into_iter().chain(self.sn.next_timeout());
            let Some(next) = times.min() else { break };
            self.millis = self.millis.max(next.as_micros().div_ceil(1_000));
        }
        self.turn(&mut send);
        self.sn.check_invariants();
        let (broker, sn) = (self.broker.usage(), self.sn.usage());
        assert_eq!((broker.sessions, broker.subscriptions, broker.queued), (1, 1, 0), "{broker:?}");
        assert_eq!(broker.messages, broker.retained, "{broker:?}");
        let clients = [sn.gone, sn.active, sn.asleep, sn.awake, sn.handshakes];
        assert_eq!(clients, [0; 5], "{sn:?}");
        let is_left = |key: &&u64| ![records::MESSAGES, records::RETAINED].contains(&(*key >> 56));
        let left: Vec<_> = self.kept.keys().filter(is_left).collect();
        assert!(left.is_empty(), "records of nobody: {left:X?}");
    }
}

fn now(millis: u64) -> Now {
    // The clocks do not begin together.
    Now { unix: UnixMillis(1_000_000 + millis), ..Now::from_millis(millis) }
}

/// What the application answers.
fn answer(packet: &Outgoing<'_>) -> Option<Ack> {
    let ack = |kind, id| Some(Ack { kind, id, reason: ReasonCode::Success, token: 0 });
    match packet {
        Outgoing::Publish(delivery) => match delivery.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => ack(AckKind::PubAck, delivery.id),
            QoS::ExactlyOnce => ack(AckKind::PubRec, delivery.id),
        },
        Outgoing::Ack(Ack { kind: AckKind::PubRel, id, .. }) => ack(AckKind::PubComp, *id),
        Outgoing::Ack(Ack { kind: AckKind::PubRec, id, .. }) => ack(AckKind::PubRel, *id),
        Outgoing::Ack(_)
        | Outgoing::ConnAck(_)
        | Outgoing::SubAck { .. }
        | Outgoing::UnsubAck { .. }
        | Outgoing::WillAck { .. }
        | Outgoing::Pong
        | Outgoing::Drained => None,
    }
}

fn broker_config(is_durable: bool) -> BrokerConfig {
    let limits = Limits {
        sessions_max: 6,
        retained_messages_max: 4,
        filters_per_session_max: 4,
        session_expiry_max_s: EXPIRY_S,
        received_ids_max: 4,
        ..Limits::default()
    };
    BrokerConfig {
        limits,
        durability: if is_durable { Durability::Gated } else { Durability::Memory },
        validate_payload_format: false,
        shares: ShareStrategies::default(),
        sys_interval: None,
        version: String::new(),
        seed: 3,
    }
}

pub(super) fn sn_settings(is_durable: bool) -> Settings {
    let seconds = Duration::from_secs;
    let topic = |name| TopicBuf::from(TopicName::new(name).expect("a good name"));
    Settings {
        is_durable,
        retry: Retry { after: seconds(10), times: 3 },
        awake_retry: Retry { after: seconds(2), times: 2 },
        handshake_timeout: seconds(20),
        handshakes_max: 3,
        qos_minus_one_names: true,
        qos_minus_one_per_s: 4,
        unknown_answers_per_s: 6,
        searchgw_per_s: 3,
        messages_per_wake: 2,
        idle_timeout: seconds(3_600),
        queue: QUEUE,
        client_id_bytes_max: 16,
        topic_ids_max: 4,
        nodes_per_forwarder: 2,
        forwarders: vec![Network { address: [10, 0, 0, 9].into(), prefix_len: 32 }],
        max_datagram: vec![DATAGRAM_MAX],
        predefined: [(5, topic("pre/5")), (6, topic("a/b"))].into(),
        predefined_for: [("q".to_owned(), [(5, topic("own/5"))].into())].into(),
        quirks: [("q".to_owned(), Quirks { no_dup: true, ..Default::default() })].into(),
        ..Settings::default()
    }
}
