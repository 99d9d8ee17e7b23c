//! PUBLISH of MQTT 5.0 from a client: properties, aliases, receive maximum.

use broker_core::api::{Ack, AckKind, Outgoing, PacketId};
use broker_core::mqtt::Settings;
use broker_core::reason::ReasonCode;

use crate::support::{
    Version::V5, Wire, closes, closes_on, connect_of, framed, hears, hex, octets,
};

fn publish(first: &str, topic: &str, id: &str, properties: &str) -> String {
    let len = octets(properties).len();
    framed(first, &format!("{topic} {id} {len:02X} {properties} 68 69"))
}

/// [MQTT5-2.2.1-2], [MQTT5-2.2.2-1], [MQTT5-3.3.2-1]
#[test]
fn a_publish_is_heard_as_it_was_sent() {
    for (input, expect) in [
        ("30 06 00 01 61 00 68 69", "PUBLISH a \"hi\" q0"),
        ("31 06 00 01 61 00 68 69", "PUBLISH a \"hi\" q0 retain"),
        ("32 08 00 01 61 00 07 00 68 69", "PUBLISH a \"hi\" q1 id 7"),
        ("3D 08 00 01 61 00 07 00 68 69", "PUBLISH a \"hi\" q2 id 7 retain dup"),
        ("30 04 00 01 61 00", "PUBLISH a \"\" q0"),
    ] {
        hears(V5, input, expect);
    }
    // The length of the properties is missing.
    closes(V5, "30 03 00 01 61", 0x81);
    closes(V5, "32 05 00 01 61 00 07", 0x81);
}

/// [MQTT5-3.3.2-4], [MQTT5-3.3.2-13], [MQTT5-3.3.2-15], [MQTT5-3.3.2-16], [MQTT5-3.3.2-17],
/// [MQTT5-3.3.2-18], [MQTT5-3.3.2-20]
#[test]
fn properties_are_heard_in_their_order() {
    for (properties, expect) in [
        ("01 01", "[PayloadFormatIndicator(1)]"),
        ("02 00 00 00 3C", "[MessageExpiryInterval(60)]"),
        ("03 00 01 74", "[ContentType(\"t\")]"),
        ("08 00 03 72 2F 73", "[ResponseTopic(\"r/s\")]"),
        ("09 00 02 00 FF", "[CorrelationData([0, 255])]"),
        (
            "26 00 01 6B 00 01 31 01 00 26 00 01 6B 00 01 32",
            "[UserProperty(\"k\", \"1\"), PayloadFormatIndicator(0), UserProperty(\"k\", \"2\")]",
        ),
    ] {
        let input = publish("30", "00 01 61", "", properties);
        hears(V5, &input, &format!("PUBLISH a \"hi\" q0 {expect}"));
        let input = publish("34", "00 01 61", "00 07", properties);
        hears(V5, &input, &format!("PUBLISH a \"hi\" q2 id 7 {expect}"));
    }
}

/// [MQTT5-3.3.1-2], [MQTT5-3.3.1-4]
#[test]
fn the_flags_of_publish() {
    for first in ["36", "37", "3E", "3F"] {
        closes(V5, &publish(first, "00 01 61", "00 07", ""), 0x81);
    }
    closes(V5, &publish("38", "00 01 61", "", ""), 0x81);
    closes(V5, &publish("39", "00 01 61", "", ""), 0x81);
}

/// [MQTT5-2.2.1-3]
#[test]
fn a_packet_identifier_is_never_zero() {
    closes(V5, &publish("32", "00 01 61", "00 00", ""), 0x82);
    closes(V5, &publish("34", "00 01 61", "00 00", ""), 0x82);
}

/// [MQTT5-1.5.4-1], [MQTT5-1.5.4-2], [MQTT5-3.3.2-1], [MQTT5-3.3.2-2], [MQTT5-4.7.0-1],
/// [MQTT5-4.7.3-1], [MQTT5-4.7.3-2]
#[test]
fn a_topic_name_is_one() {
    for (topic, reason) in [
        ("00 00", 0x82),          // empty, and no alias
        ("00 01 23", 0x90),       // #
        ("00 03 61 2F 2B", 0x90), // a/+
        ("00 02 61 00", 0x81),    // U+0000
        ("00 01 FF", 0x81),       // not UTF-8
    ] {
        closes(V5, &publish("30", topic, "", ""), reason);
    }
    closes(V5, "30 00", 0x81);
    closes(V5, "30 01 00", 0x81);
    closes(V5, "30 03 00 05 61", 0x81);
}

/// [MQTT5-3.3.2-14]
#[test]
fn a_response_topic_is_a_topic_name() {
    for topic in ["00 01 23", "00 03 61 2F 2B", "00 00"] {
        closes(V5, &publish("30", "00 01 61", "", &format!("08 {topic}")), 0x82);
    }
}

/// [MQTT5-3.3.4-6]
#[test]
fn a_client_has_no_subscription_identifiers_to_send() {
    closes(V5, &publish("30", "00 01 61", "", "0B 01"), 0x82);
}

/// [MQTT5-3.3.2-12], [MQTT5-3.2.2-17]
#[test]
fn an_alias_stands_for_the_topic_it_was_set_with() {
    let mut wire = Wire::connected(V5);
    let heard = |wire: &mut Wire, topic: &str, alias: &str| {
        let outcome = wire.feed(&octets(&publish("30", topic, "", &format!("23 {alias}"))));
        assert_eq!(outcome.violation, None);
        outcome.heard.concat().replace("PUBLISH ", "")
    };
    assert_eq!(wire.conn.memory(), 0);
    assert_eq!(heard(&mut wire, "00 01 61", "00 01"), "a \"hi\" q0 [TopicAlias(1)]");
    assert_eq!(heard(&mut wire, "00 00", "00 01"), "a \"hi\" q0 [TopicAlias(1)]");
    assert_eq!(heard(&mut wire, "00 01 62", "00 0A"), "b \"hi\" q0 [TopicAlias(10)]");
    assert_eq!(heard(&mut wire, "00 00", "00 01"), "a \"hi\" q0 [TopicAlias(1)]");
    assert_eq!(heard(&mut wire, "00 00", "00 0A"), "b \"hi\" q0 [TopicAlias(10)]");
    // It can be given another meaning.
    assert_eq!(heard(&mut wire, "00 01 63", "00 01"), "c \"hi\" q0 [TopicAlias(1)]");
    assert_eq!(heard(&mut wire, "00 00", "00 01"), "c \"hi\" q0 [TopicAlias(1)]");
    assert!(wire.conn.memory() > 0);
}

/// [MQTT5-3.2.2-17], [MQTT5-3.2.2-18], [MQTT5-3.3.2-7], [MQTT5-3.3.2-8], [MQTT5-3.3.2-9]
#[test]
fn an_alias_is_one_to_the_maximum_and_has_a_meaning() {
    closes(V5, &publish("30", "00 01 61", "", "23 00 00"), 0x94);
    closes(V5, &publish("30", "00 00", "", "23 00 00"), 0x94);
    closes(V5, &publish("30", "00 01 61", "", "23 00 0B"), 0x94);
    closes(V5, &publish("30", "00 00", "", "23 00 0B"), 0x94);
    // In range, and never set on this connection
    closes(V5, &publish("30", "00 00", "", "23 00 01"), 0x82);
    let settings = Settings { topic_alias_maximum: 0, ..Settings::default() };
    let mut wire = Wire::connected_by(connect_of(V5), settings);
    closes_on(&mut wire, &octets(&publish("30", "00 01 61", "", "23 00 01")), 0x94, "no aliases");
}

#[test]
fn the_topics_behind_aliases_are_bounded_in_sum() {
    let settings = Settings { topic_alias_bytes_max: 3, ..Settings::default() };
    let mut wire = Wire::connected_by(connect_of(V5), settings);
    let outcome = wire.feed(&octets(&publish("30", "00 03 61 62 63", "", "23 00 01")));
    assert_eq!(outcome.violation, None);
    closes_on(&mut wire, &octets(&publish("30", "00 01 61", "", "23 00 02")), 0x97, "4 octets");
}

fn with_receive_maximum(receive_maximum: u16) -> Wire {
    let settings = Settings { receive_maximum, ..Settings::default() };
    Wire::connected_by(connect_of(V5), settings)
}

fn is_taken(wire: &mut Wire, first: &str, id: u16) -> bool {
    let input = publish(first, "00 01 61", &hex(&id.to_be_bytes()), "");
    wire.feed(&octets(&input)).heard.len() == 1
}

fn answer(wire: &mut Wire, kind: AckKind, id: u16, reason: ReasonCode) {
    let _ = wire.send(Outgoing::Ack(Ack { kind, id: PacketId(id), reason, token: 0 }));
    wire.said.clear();
}

/// [MQTT5-3.3.4-7], [MQTT5-3.3.4-8]
#[test]
fn more_messages_than_the_receive_maximum_close() {
    let mut wire = with_receive_maximum(2);
    assert!(is_taken(&mut wire, "32", 1));
    assert!(is_taken(&mut wire, "34", 2));
    // QoS 0 and everything else go on.
    let outcome = wire.feed(&octets("30 04 00 01 61 00  C0 00"));
    assert_eq!(outcome.heard.len(), 2);
    let third = octets(&publish("32", "00 01 61", "00 03", ""));
    closes_on(&mut wire, &third, 0x93, "a third one");
}

/// [MQTT5-3.3.4-7]
#[test]
fn the_last_answer_makes_room_for_another_message() {
    let mut wire = with_receive_maximum(1);
    assert!(is_taken(&mut wire, "32", 1));
    answer(&mut wire, AckKind::PubAck, 1, ReasonCode::Success);
    assert!(is_taken(&mut wire, "34", 2));
    answer(&mut wire, AckKind::PubRec, 2, ReasonCode::QuotaExceeded);
    assert!(is_taken(&mut wire, "34", 3));
    // It is the same message until it is released.
    assert!(is_taken(&mut wire, "3C", 3));
    answer(&mut wire, AckKind::PubRec, 3, ReasonCode::Success);
    answer(&mut wire, AckKind::PubComp, 3, ReasonCode::Success);
    assert!(is_taken(&mut wire, "34", 4));
    answer(&mut wire, AckKind::PubRec, 4, ReasonCode::Success);
    // Ours, in the other direction, has nothing to do with it.
    answer(&mut wire, AckKind::PubRel, 4, ReasonCode::Success);
    assert!(!is_taken(&mut wire, "32", 5));
}

/// [MQTT5-3.3.4-7], [MQTT5-4.9.0-1]
///
/// What an earlier connection has brought is answered, and leaves the count of this one alone.
#[test]
fn the_count_is_that_of_this_connection() {
    let mut wire = with_receive_maximum(2);
    assert!(is_taken(&mut wire, "32", 1));
    assert_eq!(wire.feed(&octets("62 02 00 05")).heard, ["PUBREL 5 00"]);
    answer(&mut wire, AckKind::PubComp, 5, ReasonCode::Success);
    // Sent again after a reconnect: a message of this connection like any other.
    assert!(is_taken(&mut wire, "3C", 6));
    answer(&mut wire, AckKind::PubRec, 6, ReasonCode::Success);
    assert!(is_taken(&mut wire, "3C", 6));
    assert!(!is_taken(&mut wire, "3A", 7));
    let mut wire = with_receive_maximum(1);
    assert!(is_taken(&mut wire, "3A", 7));
    answer(&mut wire, AckKind::PubAck, 7, ReasonCode::Success);
    assert!(is_taken(&mut wire, "32", 8));
}

/// Older versions have no receive maximum.
#[test]
fn a_client_before_5_is_not_counted() {
    let settings = Settings { receive_maximum: 1, ..Settings::default() };
    let version = crate::support::Version::V311;
    let mut wire = Wire::connected_by(connect_of(version), settings);
    let outcome = wire.feed(&octets("32 05 00 01 61 00 01  32 05 00 01 61 00 02"));
    assert_eq!((outcome.heard.len(), outcome.violation), (2, None));
}
