//! Attacks that MQTT 5.0 adds.

use std::time::Duration;

use system_tests::client::mqtt::{
    MqttClient, Options, Version, packet, publish_packet, publish_packet_with,
};
use system_tests::gateway::Gateway;
use system_tests::process::PATIENCE;

use super::{Attack, amount};

/// No turn of the loop is to be longer.
const TURN_MAX: Duration = Duration::from_millis(10);

fn v5(client_id: &str) -> Options {
    MqttClient::options(client_id).version(Version::V5)
}

/// Ends an attack in which the loop was never away for long. On a machine that does other things
/// too any turn can be interrupted, so it is the share of long turns that is looked at; on a quiet
/// one `OVERLOAD=full` wants none.
#[track_caller]
fn end_without_long_turns(mut attack: Attack, growth_mib_max: u64) {
    // The first round that is heard of may have begun before the attack.
    attack.sys.next_round();
    attack.sys.next_round();
    let all = attack.sys.number("loop/turns/count");
    assert!(all > 0, "no turn was counted");
    let within = |class: &str| attack.sys.number(&format!("loop/turns/{class}"));
    let long = all - within("le_10ms");
    let (quick, usual) = (within("le_1ms"), within("le_3ms"));
    eprintln!(
        "{}: {all} turns, {quick} within 1 ms, {usual} within 3 ms, {long} longer than {TURN_MAX:?}",
        attack.what
    );
    let tolerated = if super::is_full() { 0 } else { 2 + all / 100 };
    assert!(long <= tolerated, "{long} of {all} turns were longer than {TURN_MAX:?}");
    attack.end(growth_mib_max);
}

/// A subscriber of 5.0 that stops reading in the middle of a flood at QoS 1 gets every answer when
/// it reads again, and what it was not sent is counted.
#[test]
fn who_reads_again_gets_every_answer_with_its_reason() {
    let mut attack = Attack::begin("deaf subscriber of 5.0", Gateway::builder());
    let mut deaf = v5("deaf").connect(attack.gateway.mqtt());
    deaf.set_timeout(PATIENCE);
    deaf.subscribe("flood/#", 0);
    let mut publisher = v5("publisher").connect(attack.gateway.mqtt());
    let user = [0x26, 0, 1, b'k', 0, 1, b'v'];
    let one = publish_packet_with("flood/x", &[7; 100], 0, 0, &user);
    let many = one.repeat(1_000);
    let count = amount(100_000, 1_000_000);
    for _ in 0..count / 1_000 {
        publisher.send_octets(&many);
    }
    attack.sys.wait_for("publish/messages/received", |received| received >= count as u64);
    deaf.send("C0 00 82 09 00 64 00 00 03 'new' 01 A2 0C 00 65 00 00 07 'flood/#'");
    let mut answers = Vec::new();
    while answers.len() < 3 {
        let packet = deaf.receive();
        if packet[0] >> 4 != 3 {
            answers.push(packet);
        }
    }
    let expected: [&[u8]; 3] = [&[0xD0, 0], &[0x90, 4, 0, 100, 0, 1], &[0xB0, 4, 0, 101, 0, 0]];
    assert_eq!(answers, expected);
    let dropped = attack.sys.wait_for("clients/dropped/deaf", |dropped| dropped > 0);
    eprintln!("{dropped} of {count} dropped");
    end_without_long_turns(attack, 32);
}

/// Ten thousand user properties come through whole, in their order, and hold nobody up.
#[test]
fn ten_thousand_user_properties_come_through() {
    let attack = Attack::begin("10,000 user properties", Gateway::builder());
    let mut subscriber = v5("subscriber").connect(attack.gateway.mqtt());
    let mut old = MqttClient::connect(attack.gateway.mqtt(), "old");
    subscriber.subscribe("t", 1);
    old.subscribe("t", 1);
    let mut properties = Vec::new();
    for number in 0..10_000_u16 {
        properties.extend([0x26, 0, 2]);
        properties.extend(number.to_be_bytes().map(|octet| octet % 0x60 + 0x20));
        properties.extend([0, 1, b'v']);
    }
    let mut publisher = v5("publisher").connect(attack.gateway.mqtt());
    for round in 1..=amount(20, 500) {
        let id = u16::try_from(round).expect("few rounds");
        publisher.send_octets(&publish_packet_with("t", b"x", 0x02, id, &properties));
        publisher.expect(&format!("40 02 {:02X} {:02X}", id >> 8, id & 0xFF));
        let message = subscriber.expect_message("t", "x", 1);
        assert!(message.properties == properties, "in their order");
        old.expect_message("t", "x", 1);
    }
    end_without_long_turns(attack, 16);
}

/// The most separators that a name can have, and one level more than the limit, are refused by
/// themselves: the connection stays.
#[test]
fn names_as_deep_as_they_can_be_are_refused_one_by_one() {
    let mut attack = Attack::begin("deep topics", Gateway::builder());
    let mut client = v5("client").connect(attack.gateway.mqtt());
    let deepest = "/".repeat(65_535);
    let beyond = "/".repeat(128);
    let allowed = "/".repeat(127);
    for _ in 0..amount(20, 500) {
        for deep in [&deepest, &beyond] {
            assert_eq!(client.publish_with(deep, "x", ""), 0x90);
            assert_eq!(client.subscribe(deep, 1), 0x8F);
        }
    }
    assert_eq!(client.subscribe(&allowed, 1), 1);
    assert_eq!(client.publish_with(&allowed, "x", ""), 0);
    client.expect_message(&allowed, "x", 1);
    // Filters of nothing but wildcards, as deep as they may be, and the deepest name for them.
    for levels in 1..=128 {
        let filter = vec!["+"; levels].join("/");
        assert_eq!(client.subscribe(&filter, 0), 0);
    }
    for _ in 0..amount(200, 10_000) {
        client.publish(&allowed, "y", 0);
    }
    attack.sys.wait_for("publish/messages/received", |received| received > 200);
    end_without_long_turns(attack, 16);
}

/// `#` on two hundred thousand retained topics, by somebody who reads slowly and by somebody who
/// does not read at all.
#[test]
fn a_wildcard_over_many_retained_topics_is_served_in_slices() {
    let count = amount(50_000, 200_000);
    let limits = "memory_bytes = 1073741824\nretained_messages = 300000\n\
                  connections_per_source_unidentified = 64";
    let mut attack = Attack::begin("retained topics", Gateway::builder().limits(limits));
    let mut publisher = MqttClient::connect(attack.gateway.mqtt(), "publisher");
    let mut burst = Vec::new();
    for number in 0..count {
        let topic = format!("many/{}/{number}", number % 1_000);
        burst.extend(publish_packet(Version::V311, &topic, b"kept", 0x01, 0));
        if burst.len() > 1 << 16 {
            publisher.send_octets(&burst);
            burst.clear();
        }
    }
    publisher.send_octets(&burst);
    publisher.ping();
    let mut deaf = v5("deaf").connect(attack.gateway.mqtt());
    deaf.send("82 07 00 01 00 00 01 '#' 01");
    let mut slow = v5("slow").properties("21 00 01").connect(attack.gateway.mqtt());
    slow.set_timeout(PATIENCE);
    assert_eq!(slow.subscribe("many/#", 0), 0);
    for got in 0..count {
        let message = slow.next_message();
        assert!(message.retain && message.text() == "kept", "{got}: {message}");
    }
    slow.expect_nothing();
    attack.sys.wait_for("retained messages/count", |retained| retained >= count as u64);
    end_without_long_turns(attack, 256);
}

/// Unknown octets in every place of a 5.0 packet close one connection and nothing else.
#[test]
fn a_flood_of_broken_properties_is_turned_away() {
    let mut attack = Attack::begin("broken properties", Gateway::builder());
    for number in 0..amount(500, 20_000) {
        let mut client = v5("broken").connect(attack.gateway.mqtt());
        let octet = u8::try_from(number % 256).expect("below 256");
        // A property that is there twice, of any kind, known or not.
        client.send_octets(&packet(0x30, &[0, 1, b't', 4, octet, 0xFF, octet, 0xFF, b'x']));
        drop(client);
    }
    attack.sys.wait_for("connections/violations", |count| count > 100);
    end_without_long_turns(attack, 16);
}
