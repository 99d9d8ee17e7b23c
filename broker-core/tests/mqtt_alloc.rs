//! PUBLISH and its acknowledgements cost no allocation, in neither direction and in no version.

mod counting;

use broker_core::api::{
    Ack, AckKind, ConnAck, Delivery, Incoming, Outgoing, PacketId, Payload, QoS,
};
use broker_core::message::{Message, SHARED_PAYLOAD_MIN};
use broker_core::mqtt::{PacketType, Received, Sent, ServerConn, Settings};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::topic::TopicName;

use counting::allocations;

const ROUNDS: usize = 10_000;

const CONNECTS: [&[u8]; 4] = [
    b"\x10\x0F\0\x06MQIsdp\x03\x02\0\x3C\0\x01c",
    b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c",
    b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01c",
    // With topic aliases
    b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x03\x22\0\x09\0\x01c",
];

fn connected(connect: &[u8], settings: &Settings, out: &mut Vec<u8>) -> ServerConn {
    let mut conn = ServerConn::new();
    conn.receive(settings, connect, out, |_| {}).expect("a good CONNECT");
    let connack = ConnAck {
        reason: ReasonCode::Success,
        session_present: false,
        assigned_client_id: None,
        session_expiry_s: 0,
    };
    assert_eq!(conn.send(Outgoing::ConnAck(connack), out), Sent::Packet(PacketType::ConnAck));
    conn
}

fn ack(kind: AckKind) -> Outgoing<'static> {
    Outgoing::Ack(Ack { kind, id: PacketId(7), reason: ReasonCode::Success, token: 0 })
}

/// Octets that a client of this version sends for one message of each QoS, with all answers of its
/// own.
fn inbound(is_5: bool) -> Vec<u8> {
    let properties: &[u8] = if is_5 { b"\x0C\x01\x01\x26\0\x01k\0\x01v\x23\0\x01" } else { b"" };
    let mut input = Vec::new();
    for (first, id) in [(0x30, &b""[..]), (0x32, b"\0\x07"), (0x34, b"\0\x08")] {
        let body = [b"\0\x0Dsensors/23/up", id, properties, b"21.5"].concat();
        input.push(first);
        input.push(u8::try_from(body.len()).expect("it is short"));
        input.extend_from_slice(&body);
    }
    input.extend_from_slice(b"\x62\x02\0\x08\x40\x02\0\x01\x50\x02\0\x02\x70\x02\0\x02\xC0\0");
    input
}

#[test]
fn what_clients_publish_and_acknowledge_is_heard_without_an_allocation() {
    let settings = Settings::default();
    for connect in CONNECTS {
        let mut out = Vec::with_capacity(1 << 10);
        let mut conn = connected(connect, &settings, &mut out);
        let is_5 = connect[8] == 5;
        let input = inbound(is_5);
        let mut heard = 0;
        let mut round = || {
            let mut at = 0;
            while at < input.len() {
                match conn.receive(&settings, &input[at..], &mut out, |incoming| match &incoming {
                    Incoming::Publish(publish) => heard += publish.payload.as_octets().len(),
                    Incoming::Ack(_) | Incoming::Ping => heard += 1,
                    Incoming::Connect(_)
                    | Incoming::Subscribe(_)
                    | Incoming::Unsubscribe(_)
                    | Incoming::ChangeWill(_)
                    | Incoming::Disconnect(_) => panic!("{incoming:?}"),
                }) {
                    Ok(Received::Packet { used, .. }) => at += used,
                    other => panic!("{other:?}"),
                }
            }
            out.clear();
            for kind in [AckKind::PubAck, AckKind::PubRec, AckKind::PubComp] {
                assert!(matches!(conn.send(ack(kind), &mut out), Sent::Packet(_)));
            }
        };
        // The first round of 5.0 gives the alias its meaning.
        round();
        let made = allocations(|| (0..ROUNDS).for_each(|_| round()));
        assert_eq!(made, 0, "{connect:02X?}");
        assert_eq!(heard, (ROUNDS + 1) * (3 * 4 + 5));
    }
}

#[test]
fn deliveries_are_written_without_an_allocation() {
    let settings = Settings::default();
    let user_property = Properties::parse(b"\x26\0\x01k\0\x01v").expect("good properties");
    for connect in CONNECTS {
        for payload_len in [0, 20, SHARED_PAYLOAD_MIN, SHARED_PAYLOAD_MIN + 1] {
            let message = Message::new(
                TopicName::new("sensors/23/up").expect("a good name"),
                user_property,
                Payload::Borrowed(&vec![7; payload_len]),
                QoS::ExactlyOnce,
                false,
            );
            let mut out = Vec::with_capacity(1 << 12);
            let mut conn = connected(connect, &settings, &mut out);
            // The first time gives the topic its alias.
            let mut rounds = 0;
            let mut deliver = |count| {
                for _ in 0..count {
                    rounds += 1;
                    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                        out.clear();
                        let delivery = Delivery {
                            message: &message,
                            id: PacketId(7),
                            qos,
                            retain: false,
                            dup: false,
                            subscription_ids: &[1, 1_000],
                            expiry_s: Some(60),
                        };
                        let sent = conn.send(Outgoing::Publish(delivery), &mut out);
                        assert_eq!(sent, Sent::Packet(PacketType::Publish));
                        assert!(out.len() > payload_len);
                    }
                    assert!(matches!(conn.send(ack(AckKind::PubRel), &mut out), Sent::Packet(_)));
                }
            };
            deliver(1);
            let made = allocations(|| deliver(ROUNDS));
            assert_eq!(rounds, ROUNDS + 1);
            assert_eq!(made, 0, "{connect:02X?} with {payload_len} octets");
        }
    }
}
