//! What a server says, in every version.

use broker_core::api::{
    Ack, AckKind, ConnAck, Delivery, Outgoing, PacketId, Payload, QoS, WillPart,
};
use broker_core::message::{Message, SHARED_PAYLOAD_MIN};
use broker_core::mqtt::{PacketType, Sent, Settings, Sink};
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::topic::TopicName;
use bytes::Bytes;
use proptest::prelude::*;

use crate::support::{
    ALL, CONNACK,
    Version::{self, V5, V31, V311},
    Wire, connect_of, framed, hex, octets,
};

/// A connected client is told `expect`.
fn says(version: Version, packet: Outgoing<'_>, expect: &str) {
    let mut wire = Wire::connected(version);
    let label = format!("{version:?}: {packet:?}");
    let sent = wire.send(packet);
    assert_eq!(sent == Sent::Nothing, expect.is_empty(), "{label}");
    assert_eq!(wire.take_said(), expect, "{label}");
}

fn ack(kind: AckKind, id: u16, reason: ReasonCode) -> Outgoing<'static> {
    Outgoing::Ack(Ack { kind, id: PacketId(id), reason, token: 9 })
}

/// [MQTT-3.1.4-4], [MQTT-3.2.0-1], [MQTT-3.2.2-1], [MQTT-3.2.2-2], [MQTT-3.2.2-3]
#[test]
fn connack_tells_whether_there_was_a_session() {
    for (session_present, expect) in [(false, "20 02 00 00"), (true, "20 02 01 00")] {
        let mut wire = Wire::new();
        wire.feed(&octets(connect_of(V311)));
        assert_eq!(wire.send(Outgoing::Pong), Sent::Nothing);
        let connack = ConnAck { session_present, ..CONNACK };
        assert_eq!(wire.send(Outgoing::ConnAck(connack)), Sent::Packet(PacketType::ConnAck));
        assert_eq!(wire.take_said(), expect);
        assert!(wire.conn.is_connected());
        assert_eq!(wire.send(Outgoing::ConnAck(connack)), Sent::Nothing);
    }
}

/// [MQTT-3.2.2-4], [MQTT-3.2.2-5], [MQTT-3.2.2-6]
#[test]
fn a_refusal_has_a_number_or_is_silent() {
    for (reason, number) in [
        (ReasonCode::UnsupportedProtocolVersion, Some(1)),
        (ReasonCode::ClientIdentifierNotValid, Some(2)),
        (ReasonCode::ServerUnavailable, Some(3)),
        (ReasonCode::ServerBusy, Some(3)),
        (ReasonCode::QuotaExceeded, Some(3)),
        (ReasonCode::UseAnotherServer, Some(3)),
        (ReasonCode::ServerMoved, Some(3)),
        (ReasonCode::ConnectionRateExceeded, Some(3)),
        (ReasonCode::BadUserNameOrPassword, Some(4)),
        (ReasonCode::NotAuthorized, Some(5)),
        (ReasonCode::Banned, Some(5)),
        (ReasonCode::BadAuthenticationMethod, Some(5)),
        (ReasonCode::Unspecified, None),
        (ReasonCode::MalformedPacket, None),
        (ReasonCode::TopicNameInvalid, None),
    ] {
        for version in [V31, V311] {
            let mut wire = Wire::new();
            wire.feed(&octets(connect_of(version)));
            let refusal = ConnAck { reason, session_present: true, ..CONNACK };
            let sent = wire.send(Outgoing::ConnAck(refusal));
            assert_eq!(sent == Sent::Nothing, number.is_none(), "{reason}");
            let expect = number.map_or(String::new(), |number| format!("20 02 00 {number:02X}"));
            assert_eq!(wire.take_said(), expect, "{reason}");
            assert!(wire.conn.has_ended(), "{reason}");
            assert_eq!(wire.send(Outgoing::Pong), Sent::Nothing);
        }
    }
}

/// [MQTT-2.3.1-6], [MQTT-3.3.4-1], [MQTT-3.6.1-1]
#[test]
fn older_versions_acknowledge_without_a_reason() {
    for version in [V31, V311] {
        for reason in [ReasonCode::Success, ReasonCode::NotAuthorized] {
            says(version, ack(AckKind::PubAck, 7, reason), "40 02 00 07");
            says(version, ack(AckKind::PubRec, 7, reason), "50 02 00 07");
            says(version, ack(AckKind::PubRel, 7, reason), "62 02 00 07");
            says(version, ack(AckKind::PubComp, 0xFFFF, reason), "70 02 FF FF");
        }
    }
}

/// [MQTT5-2.1.3-1], [MQTT5-2.2.1-5], [MQTT5-3.3.4-1], [MQTT5-3.4.2-1], [MQTT5-3.4.2-2],
/// [MQTT5-3.4.2-3], [MQTT5-3.5.2-1], [MQTT5-3.5.2-2], [MQTT5-3.5.2-3], [MQTT5-3.6.2-1],
/// [MQTT5-3.6.2-2], [MQTT5-3.6.2-3], [MQTT5-3.7.2-1], [MQTT5-3.7.2-2], [MQTT5-3.7.2-3]
///
/// User properties always fit, since there are none.
#[test]
fn mqtt_5_acknowledges_with_a_reason_where_there_is_one() {
    says(V5, ack(AckKind::PubAck, 7, ReasonCode::Success), "40 02 00 07");
    says(V5, ack(AckKind::PubAck, 7, ReasonCode::NoMatchingSubscribers), "40 03 00 07 10");
    says(V5, ack(AckKind::PubRec, 7, ReasonCode::NotAuthorized), "50 03 00 07 87");
    says(V5, ack(AckKind::PubRel, 7, ReasonCode::Success), "62 02 00 07");
    says(V5, ack(AckKind::PubRel, 7, ReasonCode::PacketIdentifierNotFound), "62 03 00 07 92");
    says(V5, ack(AckKind::PubComp, 7, ReasonCode::PacketIdentifierNotFound), "70 03 00 07 92");
    // What the packet has no word for
    says(V5, ack(AckKind::PubAck, 7, ReasonCode::ServerBusy), "40 03 00 07 80");
    says(V5, ack(AckKind::PubComp, 7, ReasonCode::NotAuthorized), "70 03 00 07 92");
}

/// A reason string as the property block of a packet, its length in front.
fn words(text: &str) -> String {
    let len = u8::try_from(text.len()).expect("it is short");
    format!("{:02X} 1F 00 {len:02X} {}", len + 3, hex(text.as_bytes()))
}

/// [MQTT5-3.1.2-24], [MQTT5-3.1.2-29], [MQTT5-3.4.2-2], [MQTT5-3.5.2-2], [MQTT5-3.9.2-1],
/// [MQTT5-3.14.2-3], [MQTT5-3.2.2-19]
#[test]
fn words_are_said_where_they_are_wanted_and_fit() {
    let ack_text = "topics that begin with $ belong to the server";
    let suback_text = "a filter has more levels than are served";
    let close_text = "the client identifier has connected once more";
    for (properties, is_told) in [
        ("00", [true, true, true]),
        ("02 17 01", [true, true, true]),
        ("02 17 00", [false, false, false]),
        ("05 27 00 00 00 36", [true, true, true]),
        // Two octets less than the PUBACK needs, one less than the DISCONNECT, enough for SUBACK
        ("05 27 00 00 00 33", [false, true, false]),
        ("05 27 00 00 00 30", [false, false, false]),
    ] {
        let body = format!("00 04 4D 51 54 54 05 02 00 3C {properties} 00 01 63");
        let mut wire = Wire::connected_by(&framed("10", &body), Settings::default());
        let expect = |first: &str, head: &str, text: &str, end: &str, short: &str, is_told| {
            if is_told {
                framed(first, &format!("{head} {} {end}", words(text)))
            } else {
                short.into()
            }
        };
        let _ = wire.send(ack(AckKind::PubAck, 7, ReasonCode::NotAuthorized));
        let puback = expect("40", "00 07 87", ack_text, "", "40 03 00 07 87", is_told[0]);
        assert_eq!(wire.take_said(), puback, "{properties}");
        let _ = wire.send(ack(AckKind::PubRec, 7, ReasonCode::NoMatchingSubscribers));
        assert_eq!(wire.take_said(), "50 03 00 07 10", "there is nothing to add");
        let reasons = &[ReasonCode::Success, ReasonCode::TopicFilterInvalid];
        let _ = wire.send(Outgoing::SubAck { id: PacketId(7), token: 0, reasons });
        let suback =
            expect("90", "00 07", suback_text, "00 8F", "90 05 00 07 00 00 8F", is_told[1]);
        assert_eq!(wire.take_said(), suback, "{properties}");
        let _ = wire.conn.close(ReasonCode::SessionTakenOver, &mut wire.said);
        let closed = expect("E0", "8E", close_text, "", "E0 01 8E", is_told[2]);
        assert_eq!(wire.take_said(), closed, "{properties}");
    }
}

/// [MQTT-2.3.1-7], [MQTT-3.8.4-2], [MQTT-3.8.4-5], [MQTT-3.9.3-1], [MQTT-3.9.3-2],
/// [MQTT-3.10.4-4]
/// [MQTT5-2.2.1-6], [MQTT5-3.8.4-2], [MQTT5-3.8.4-6], [MQTT5-3.8.4-7], [MQTT5-3.9.3-1],
/// [MQTT5-3.9.2-1], [MQTT5-3.9.2-2], [MQTT5-3.9.3-2], [MQTT5-3.10.4-5], [MQTT5-3.11.2-1],
/// [MQTT5-3.11.2-2], [MQTT5-3.11.3-1], [MQTT5-3.11.3-2]
#[test]
fn each_filter_has_its_code_in_its_place() {
    let reasons = &[
        ReasonCode::GrantedQos2,
        ReasonCode::NotAuthorized,
        ReasonCode::Success,
        ReasonCode::TopicFilterInvalid,
        ReasonCode::GrantedQos1,
    ];
    let suback = || Outgoing::SubAck { id: PacketId(7), token: 9, reasons };
    says(V31, suback(), "90 07 00 07 02 00 00 00 01");
    says(V311, suback(), "90 07 00 07 02 80 00 80 01");
    says(V5, suback(), "90 08 00 07 00 02 87 00 8F 01");
    let reasons = &[ReasonCode::Success, ReasonCode::NoSubscriptionExisted, ReasonCode::Banned];
    let unsuback = || Outgoing::UnsubAck { id: PacketId(7), token: 9, reasons };
    says(V31, unsuback(), "B0 02 00 07");
    says(V311, unsuback(), "B0 02 00 07");
    says(V5, unsuback(), "B0 06 00 07 00 00 11 80");
}

/// An empty SUBSCRIBE is answered too, where it passes.
#[test]
fn no_filter_has_no_code() {
    says(V31, Outgoing::SubAck { id: PacketId(7), token: 9, reasons: &[] }, "90 02 00 07");
}

/// [MQTT-3.12.4-1] [MQTT5-3.12.4-1]
#[test]
fn a_ping_is_answered() {
    for version in ALL {
        says(version, Outgoing::Pong, "D0 00");
    }
}

#[test]
fn what_only_mqtt_sn_says_is_not_said() {
    for version in ALL {
        let reason = ReasonCode::Success;
        says(version, Outgoing::WillAck { part: WillPart::Topic, reason }, "");
        says(version, Outgoing::Drained, "");
        says(version, ack(AckKind::PubAck, 0, ReasonCode::NotAuthorized), "");
    }
}

fn message(topic: &str, properties: &str, payload: &[u8]) -> Message {
    let properties = octets(properties);
    Message::new(
        TopicName::new(topic).expect("a good name"),
        Properties::parse(&properties).expect("good properties"),
        Payload::Borrowed(payload),
        QoS::ExactlyOnce,
        false,
    )
}

fn delivery(message: &Message, id: u16, qos: QoS) -> Delivery<'_> {
    Delivery {
        message,
        id: PacketId(id),
        qos,
        retain: false,
        dup: false,
        subscription_ids: &[],
        expiry_s: None,
    }
}

/// [MQTT-2.3.1-5], [MQTT-3.3.1-1], [MQTT-3.3.1-2], [MQTT-3.3.2-1], [MQTT-4.3.1-1]
/// [MQTT5-2.2.1-2], [MQTT5-3.3.1-1], [MQTT5-3.3.1-2], [MQTT5-3.3.2-1], [MQTT5-4.3.1-1]
#[test]
fn a_delivery_is_written_as_the_standards_draw_it() {
    let message = message("a/b", "", b"hi");
    for (qos, retain, dup, id, expect_3, expect_5) in [
        (
            QoS::AtMostOnce,
            false,
            false,
            0,
            "30 07 00 03 61 2F 62 68 69",
            "30 08 00 03 61 2F 62 00 68 69",
        ),
        (
            QoS::AtMostOnce,
            true,
            false,
            0,
            "31 07 00 03 61 2F 62 68 69",
            "31 08 00 03 61 2F 62 00 68 69",
        ),
        // There is no DUP at QoS 0.
        (
            QoS::AtMostOnce,
            false,
            true,
            0,
            "30 07 00 03 61 2F 62 68 69",
            "30 08 00 03 61 2F 62 00 68 69",
        ),
        (
            QoS::AtLeastOnce,
            false,
            true,
            7,
            "3A 09 00 03 61 2F 62 00 07 68 69",
            "3A 0A 00 03 61 2F 62 00 07 00 68 69",
        ),
        (
            QoS::ExactlyOnce,
            true,
            false,
            0xFFFF,
            "35 09 00 03 61 2F 62 FF FF 68 69",
            "35 0A 00 03 61 2F 62 FF FF 00 68 69",
        ),
    ] {
        for (version, expect) in [(V31, expect_3), (V311, expect_3), (V5, expect_5)] {
            let delivery = Delivery { retain, dup, ..delivery(&message, id, qos) };
            says(version, Outgoing::Publish(delivery), expect);
        }
    }
}

/// [MQTT5-3.3.2-4], [MQTT5-3.3.2-6], [MQTT5-3.3.2-15], [MQTT5-3.3.2-16], [MQTT5-3.3.2-17],
/// [MQTT5-3.3.2-18], [MQTT5-3.3.2-20], [MQTT5-3.3.4-3], [MQTT5-3.3.4-4]
#[test]
fn properties_go_to_those_who_know_them() {
    let message = message("a", "01 01 26 00 01 6B 00 01 31 26 00 01 6B 00 01 32", b"hi");
    let delivery = || Delivery {
        subscription_ids: &[1, 128],
        expiry_s: Some(60),
        ..delivery(&message, 7, QoS::AtLeastOnce)
    };
    says(V311, Outgoing::Publish(delivery()), "32 07 00 01 61 00 07 68 69");
    says(
        V5,
        Outgoing::Publish(delivery()),
        &framed(
            "32",
            "00 01 61 00 07 1A 02 00 00 00 3C 01 01 26 00 01 6B 00 01 31 26 00 01 6B 00 01 32 \
             0B 01 0B 80 01 68 69",
        ),
    );
}

/// A client of 5.0 that takes so many topic aliases, and packets of any size.
fn wire_with_aliases(maximum: u16) -> Wire {
    let maximum = hex(&maximum.to_be_bytes());
    let body = format!("00 04 4D 51 54 54 05 02 00 3C 03 22 {maximum} 00 01 63");
    Wire::connected_by(&framed("10", &body), Settings::default())
}

const NAME: &str = "00 08 61 2F 74 6F 70 69 63 31";
const OTHER: &str = "00 08 61 2F 74 6F 70 69 63 32";

fn publishes(wire: &mut Wire, topic: &str, id: u16, qos: QoS) -> String {
    let message = message(topic, "26 00 00 00 00", b"hi");
    let sent = wire.send(Outgoing::Publish(delivery(&message, id, qos)));
    assert_eq!(sent, Sent::Packet(PacketType::Publish));
    wire.take_said()
}

/// [MQTT5-3.1.2-26], [MQTT5-3.3.2-8], [MQTT5-3.3.2-11]
#[test]
fn topics_that_come_again_are_named_by_an_alias() {
    let mut wire = wire_with_aliases(1);
    let q0 = QoS::AtMostOnce;
    let whole = framed("30", &format!("{OTHER} 05 26 00 00 00 00 68 69"));
    let set = framed("30", &format!("{NAME} 08 23 00 01 26 00 00 00 00 68 69"));
    assert_eq!(publishes(&mut wire, "a/topic1", 0, q0), set);
    let used = framed("30", "00 00 08 23 00 01 26 00 00 00 00 68 69");
    assert_eq!(publishes(&mut wire, "a/topic1", 0, q0), used);
    let used = framed("34", "00 00 00 07 08 23 00 01 26 00 00 00 00 68 69");
    assert_eq!(publishes(&mut wire, "a/topic1", 7, QoS::ExactlyOnce), used);
    // There is no other alias left.
    assert_eq!(publishes(&mut wire, "a/topic2", 0, q0), whole);
    assert!(wire.conn.memory() > 0);
    // A topic that is as short as its alias needs none.
    assert_eq!(publishes(&mut wire, "a", 0, q0), "30 0B 00 01 61 05 26 00 00 00 00 68 69");
}

/// [MQTT5-3.1.2-27], [MQTT5-3.3.2-7]
#[test]
fn a_client_that_takes_no_aliases_gets_none() {
    let whole = framed("30", &format!("{NAME} 05 26 00 00 00 00 68 69"));
    let settings = Settings { outbound_alias_maximum: 0, ..Settings::default() };
    let asked = framed("10", "00 04 4D 51 54 54 05 02 00 3C 03 22 00 09 00 01 63");
    for mut wire in
        [Wire::connected(V5), wire_with_aliases(0), Wire::connected_by(&asked, settings)]
    {
        for _ in 0..3 {
            assert_eq!(publishes(&mut wire, "a/topic1", 0, QoS::AtMostOnce), whole);
        }
    }
    // What one connection knows is nothing to the next.
    let set = framed("30", &format!("{NAME} 08 23 00 01 26 00 00 00 00 68 69"));
    for _ in 0..2 {
        let mut wire = wire_with_aliases(9);
        assert_eq!(publishes(&mut wire, "a/topic1", 0, QoS::AtMostOnce), set);
    }
}

/// [MQTT5-3.1.2-24]
///
/// What sets an alias is three octets longer, what uses one may be the only form that fits.
#[test]
fn an_alias_is_set_only_by_what_is_sent() {
    let connect = |max| {
        let body = format!("00 04 4D 51 54 54 05 02 00 3C 08 22 00 09 27 00 00 00 {max} 00 01 63");
        Wire::connected_by(&framed("10", &body), Settings::default())
    };
    let message = message("a/topic1", "", &[7; 19]);
    let deliver = |wire: &mut Wire| {
        let _ = wire.send(Outgoing::Publish(delivery(&message, 0, QoS::AtMostOnce)));
        wire.take_said()
    };
    let payload = hex(&[7; 19]);
    let mut wire = connect("20");
    for _ in 0..3 {
        assert_eq!(deliver(&mut wire), framed("30", &format!("{NAME} 00 {payload}")));
    }
    let mut wire = connect("23");
    assert_eq!(deliver(&mut wire), framed("30", &format!("{NAME} 03 23 00 01 {payload}")));
    assert_eq!(deliver(&mut wire), framed("30", &format!("00 00 03 23 00 01 {payload}")));
}

/// A client of 5.0 that takes `max` octets.
fn wire_with_maximum(max: u32) -> Wire {
    let max = hex(&max.to_be_bytes());
    let body = format!("00 04 4D 51 54 54 05 02 00 3C 07 17 00 27 {max} 00 01 63");
    let mut wire = Wire::new();
    wire.feed(&octets(&framed("10", &body)));
    wire
}

/// [MQTT5-3.1.2-24], [MQTT5-3.1.2-25]
#[test]
fn nothing_is_larger_than_the_client_takes() {
    let mut wire = wire_with_maximum(20);
    assert_eq!(wire.accept(), Sent::Packet(PacketType::ConnAck));
    wire.said.clear();
    let fits = message("a", "", &[7; 14]);
    let publish = Outgoing::Publish(delivery(&fits, 0, QoS::AtMostOnce));
    assert_eq!(wire.send(publish), Sent::Packet(PacketType::Publish));
    assert_eq!(wire.said.len(), 20);
    wire.said.clear();
    // The packet identifier makes it too long.
    let publish = Outgoing::Publish(delivery(&fits, 7, QoS::AtLeastOnce));
    assert_eq!(wire.send(publish), Sent::TooLarge(PacketType::Publish));
    let reasons = [ReasonCode::Success; 16];
    let suback = |len| Outgoing::SubAck { id: PacketId(7), token: 9, reasons: &reasons[..len] };
    assert_eq!(wire.send(suback(16)), Sent::TooLarge(PacketType::SubAck));
    let unsuback = Outgoing::UnsubAck { id: PacketId(7), token: 9, reasons: &reasons };
    assert_eq!(wire.send(unsuback), Sent::TooLarge(PacketType::UnsubAck));
    assert_eq!(wire.take_said(), "");
    assert_eq!(wire.send(suback(15)), Sent::Packet(PacketType::SubAck));
    assert_eq!(wire.said.len(), 20);
}

/// No version has packets of more than 2^28 + 4 octets.
#[test]
fn nothing_is_larger_than_a_packet_can_be() {
    let mut wire = Wire::connected(V311);
    for (len, is_sent) in [((1 << 28) - 4, true), ((1 << 28) - 3, false)] {
        let message = message("a", "", &vec![7; len]);
        wire.said = Vec::new();
        let sent = wire.send(Outgoing::Publish(delivery(&message, 0, QoS::AtMostOnce)));
        assert_eq!(sent == Sent::Packet(PacketType::Publish), is_sent, "{len}");
        assert_eq!(wire.said.is_empty(), !is_sent);
    }
}

/// Writes down what is shared and what is copied.
#[derive(Debug, Default)]
struct Parts {
    copied: Vec<u8>,
    shared: Vec<Bytes>,
}

impl Sink for Parts {
    fn put(&mut self, octets: &[u8]) {
        self.copied.extend_from_slice(octets);
    }

    fn put_shared(&mut self, octets: &Bytes) {
        self.shared.push(octets.clone());
    }
}

#[test]
fn a_large_payload_is_handed_over_by_reference() {
    for (len, is_shared) in [(SHARED_PAYLOAD_MIN, false), (SHARED_PAYLOAD_MIN + 1, true)] {
        let message = message("a", "", &vec![7; len]);
        let mut wire = Wire::connected(V311);
        let mut parts = Parts::default();
        let publish = Outgoing::Publish(delivery(&message, 7, QoS::AtLeastOnce));
        let _ = wire.conn.send(publish, &mut parts);
        assert_eq!(parts.copied.len(), 3 + 3 + 2 + if is_shared { 0 } else { len });
        assert_eq!(parts.shared.len(), usize::from(is_shared));
        if let (Some(shared), Some(kept)) = (parts.shared.first(), message.shared_payload()) {
            assert_eq!(shared.as_ptr(), kept.as_ptr());
        }
    }
}

/// What an independent reader makes of a PUBLISH.
#[derive(Debug, PartialEq, Eq)]
struct Read<'a> {
    first: u8,
    topic: &'a [u8],
    id: Option<u16>,
    properties: Option<&'a [u8]>,
    payload: &'a [u8],
}

/// Reads a PUBLISH as naively as the standard tells it.
fn read(packet: &[u8], version: Version) -> Read<'_> {
    fn number(octets: &mut &[u8]) -> usize {
        let (mut value, mut factor) = (0, 1);
        loop {
            let octet = usize::from(octets[0]);
            *octets = &octets[1..];
            value += (octet % 128) * factor;
            factor *= 128;
            if octet < 128 {
                return value;
            }
        }
    }
    fn some<'a>(octets: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (taken, rest) = octets.split_at(len);
        *octets = rest;
        taken
    }
    fn pair(octets: &mut &[u8]) -> u16 {
        let taken = some(octets, 2);
        u16::from(taken[0]) * 256 + u16::from(taken[1])
    }
    let first = packet[0];
    let mut rest = &packet[1..];
    let remaining = number(&mut rest);
    assert_eq!(remaining, rest.len());
    let topic_len = pair(&mut rest).into();
    let topic = some(&mut rest, topic_len);
    let id = (first & 0b110 != 0).then(|| pair(&mut rest));
    let properties = (version == V5).then(|| {
        let len = number(&mut rest);
        some(&mut rest, len)
    });
    Read { first, topic, id, properties, payload: rest }
}

fn any_qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(
        topic in "[^+#\0]{1,200}",
        payload in prop::collection::vec(any::<u8>(), 0..3_000),
        qos in any_qos(),
        id in 1..=u16::MAX,
        retain: bool,
        key in "[^\0]{0,100}",
        ids in prop::collection::vec(1..1_u32 << 28, 0..40),
        expiry_s: Option<u32>,
    ) {
        let mut user = vec![0x26];
        user.extend_from_slice(&(key.len() as u16).to_be_bytes());
        user.extend_from_slice(key.as_bytes());
        user.extend_from_slice(&[0, 0]);
        let message = Message::new(
            TopicName::new(&topic).unwrap(),
            Properties::parse(&user).unwrap(),
            Payload::Borrowed(&payload),
            QoS::ExactlyOnce,
            false,
        );
        for version in ALL {
            let mut wire = Wire::connected(version);
            let delivery = Delivery {
                retain,
                subscription_ids: &ids,
                expiry_s,
                ..delivery(&message, id, qos)
            };
            prop_assert_eq!(
                wire.send(Outgoing::Publish(delivery)),
                Sent::Packet(PacketType::Publish)
            );
            let read = read(&wire.said, version);
            prop_assert_eq!(read.first, 0x30 | (qos as u8) << 1 | u8::from(retain));
            prop_assert_eq!(read.topic, topic.as_bytes());
            prop_assert_eq!(read.id, (qos > QoS::AtMostOnce).then_some(id));
            prop_assert_eq!(read.payload, &payload[..]);
            if let Some(properties) = read.properties {
                let properties = Properties::parse(properties).unwrap();
                let mut expect = vec![];
                expect.extend(expiry_s.map(|s| format!("MessageExpiryInterval({s})")));
                expect.push(format!("UserProperty({key:?}, \"\")"));
                expect.extend(ids.iter().map(|id| format!("SubscriptionIdentifier({id})")));
                let told = properties.iter().map(|p| format!("{p:?}")).collect::<Vec<_>>();
                prop_assert_eq!(told, expect);
            }
        }
    }
}
