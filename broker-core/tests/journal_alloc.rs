//! Messages that are kept cost no allocation in the steady state.

mod counting;

use broker_core::Broker;
use broker_core::api::{
    Ack, AckKind, Connect, ConnectWill, Credit, Dialect, Incoming, LinkId, Outgoing, Output,
    Overflow, PacketId, Payload, Publish, QoS, QueueLimits, Subscribe, SubscribeRequest,
    SubscriptionOptions,
};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use broker_core::topic::{TopicFilter, TopicName};

use counting::allocations;

const PUBLISHER: LinkId = LinkId(1);
const READER: LinkId = LinkId(2);

fn connect(broker: &mut Broker, link: LinkId, client_id: &str) {
    let queue = QueueLimits {
        messages_max: 100,
        bytes_max: 1 << 20,
        paused_qos0_messages_max: 100,
        overflow: Overflow::RejectNew,
    };
    let connect = Connect {
        dialect: Dialect::Mqtt5,
        client_id,
        clean_start: false,
        session_expiry_s: 3_600,
        keep_alive: None,
        will: ConnectWill::None,
        will_on_takeover: true,
        user_name: None,
        password: None,
        credit: Credit::Window(20),
        queue,
        durability: Durability::Gated,
        properties: Properties::EMPTY,
    };
    broker.handle(Now::default(), link, Incoming::Connect(connect));
}

fn ack(broker: &mut Broker, link: LinkId, kind: AckKind, id: PacketId) {
    let ack = Ack { kind, id, reason: ReasonCode::Success, token: 0 };
    broker.handle(Now::default(), link, Incoming::Ack(ack));
}

/// A turn: what there is to hear is heard, and what has changed becomes durable. Returns messages
/// and steps for the reader.
fn turn(broker: &mut Broker, journal: &mut Vec<u8>, answers: &mut Vec<(AckKind, PacketId)>) {
    while let Some(output) = broker.poll_output() {
        match output {
            Output::Send { link: READER, packet: Outgoing::Publish(delivery) } => {
                let is_2 = delivery.qos == QoS::ExactlyOnce;
                let kind = if is_2 { AckKind::PubRec } else { AckKind::PubAck };
                answers.push((kind, delivery.id));
            }
            Output::Send { link: READER, packet: Outgoing::Ack(ack) } => {
                answers.push((AckKind::PubComp, ack.id));
            }
            Output::Send { .. }
            | Output::Close { .. }
            | Output::SessionEnded { .. }
            | Output::SysTick => {}
        }
    }
    journal.clear();
    let lsn = broker.take_journal(journal);
    broker.committed(lsn);
}

#[test]
fn kept_messages_are_published_and_delivered_without_an_allocation() {
    let config = BrokerConfig {
        limits: Limits::default(),
        durability: Durability::Gated,
        validate_payload_format: false,
        shares: Default::default(),
        sys_interval: None,
        version: String::new(),
        seed: 1,
    };
    let mut broker = Broker::new(config, Now::default());
    connect(&mut broker, PUBLISHER, "p");
    connect(&mut broker, READER, "r");
    let filter = TopicFilter::new("sensors/+/up").expect("a good filter");
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() };
    let requests = &[SubscribeRequest { filter, options }];
    let subscribe = Subscribe { id: PacketId(1), token: 0, identifier: 7, requests };
    broker.handle(Now::default(), READER, Incoming::Subscribe(subscribe));
    let (mut journal, mut answers) = (Vec::new(), Vec::new());
    let (mut written, mut completed) = (0, 0);
    let mut round = || {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let publish = Publish {
                topic: TopicName::new("sensors/23/up").expect("a good name"),
                payload: Payload::Borrowed(b"21.5"),
                qos,
                retain: false,
                dup: false,
                id: PacketId(9),
                token: 0,
                properties: Properties::EMPTY,
            };
            broker.handle(Now::default(), PUBLISHER, Incoming::Publish(publish));
        }
        ack(&mut broker, PUBLISHER, AckKind::PubRel, PacketId(9));
        for _ in 0..6 {
            turn(&mut broker, &mut journal, &mut answers);
            written += journal.len();
            for (kind, id) in answers.drain(..) {
                completed += u64::from(matches!(kind, AckKind::PubAck | AckKind::PubComp));
                ack(&mut broker, READER, kind, id);
            }
        }
    };
    // The first rounds make room.
    (0..100).for_each(|_| round());
    assert_eq!(allocations(|| (0..10_000).for_each(|_| round())), 0);
    assert_eq!(completed, 2 * 10_100);
    let each = written / 10_100;
    assert!((300..700).contains(&each), "{each} octets written for two messages");
}
