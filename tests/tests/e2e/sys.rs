//! `$SYS`: docs/sys-topics.md names all that is published, and the numbers are right.

use std::collections::BTreeSet;

use system_tests::client::Will;
use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::{SnClient, Topic};
use system_tests::gateway::Gateway;
use system_tests::repository;
use system_tests::sys::{EVERY_SECOND, Sys};

/// The names for which a documented one stands: `{a,b}` is one or the other.
fn expanded(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (choices, after) = rest.split_once('}').expect("closed");
    choices.split(',').flat_map(|choice| expanded(&format!("{before}{choice}{after}"))).collect()
}

fn documented() -> BTreeSet<String> {
    let file = repository::root().join("docs/sys-topics.md");
    let text = std::fs::read_to_string(file).expect("the document of $SYS");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.flat_map(|row| expanded(row.split_once('`').expect("closed").0)).collect()
}

#[test]
fn choices_in_names_are_expanded() {
    let names = ["a/b/1", "a/b/2", "a/c/1", "a/c/2"];
    assert_eq!(expanded("a/{b,c}/{1,2}"), names);
}

#[test]
fn what_is_published_is_what_is_documented() {
    let gateway = Gateway::builder().text(EVERY_SECOND).start();
    let mut sys = Sys::watch(gateway.mqtt());
    sys.next_round();
    let published: BTreeSet<String> = sys.values().keys().cloned().collect();
    let documented = documented();
    let undocumented: Vec<_> = published.difference(&documented).collect();
    let unpublished: Vec<_> = documented.difference(&published).collect();
    assert_eq!((undocumented, unpublished), (vec![], vec![]));
}

/// Every number that `expected` names is what it says.
#[track_caller]
fn check(sys: &Sys, expected: &[(&str, u64)]) {
    let wrong: Vec<_> = expected
        .iter()
        .map(|(name, value)| (*name, sys.number(name), *value))
        .filter(|(_, found, value)| found != value)
        .collect();
    assert_eq!(wrong, [], "(name, published, true)");
}

#[test]
fn known_traffic_is_counted_as_it_was() {
    let gateway = Gateway::builder().text(EVERY_SECOND).start();
    let mut sys = Sys::watch(gateway.mqtt());
    let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
    reader.subscribe("a/#", 2);
    reader.subscribe("b", 0);
    let mut writer = MqttClient::connect(gateway.mqtt(), "writer");
    for qos in [0, 0, 1, 1, 2] {
        writer.publish("a/x", "hello", qos);
        reader.expect_message("a/x", "hello", qos);
    }
    writer.publish_retained("kept/1", "1", 1);
    writer.publish_retained("kept/2", "2", 1);
    writer.publish_retained("kept/1", "", 1);
    writer.ping();
    writer.disconnect();
    let will = Will::new("a/will", "gone", 1);
    MqttClient::options("mortal").will(will).connect(gateway.mqtt()).vanish();
    reader.expect_message("a/will", "gone", 1);

    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    sensor.publish("a/sn", "hi", 1);
    reader.expect_message("a/sn", "hi", 1);
    sensor.publish_unasked(&Topic::Short(*b"xy"), "hi");
    sensor.send("0A 12 20 00 50 'sub/1'");
    sensor.expect("08 13 20 ?? ?? 00 50 00");
    sensor.send("03 01 00");
    sensor.expect("03 02 ??");
    sensor.send("01 00");
    let mut sleeper = SnClient::options("sleeper").persistent().connect(gateway.mqtt_sn());
    sleeper.subscribe("b", 1);
    sleeper.sleep(60);
    sensor.publish("b", "for later", 1);
    reader.expect_message("b", "for later", 0);
    let mut stranger = SnClient::open(gateway.mqtt_sn());
    stranger.send("09 0C 20 00 01 00 02 'hi'");
    stranger.expect("02 18");

    reader.vanish();
    sys.wait_for("clients/disconnected", |count| count == 1);
    sys.next_round();
    check(
        &sys,
        &[
            ("clients/connected", 3),
            ("clients/active", 3),
            ("clients/disconnected", 1),
            ("clients/inactive", 1),
            ("clients/total", 4),
            ("clients/maximum", 4),
            ("clients/connects", 6),
            ("wills/published", 1),
            ("connections/socket/count", 1),
            ("subscriptions/count", 1 + 2 + 2),
            ("limits/retained_messages/used", 1),
            ("messages/queued", 1),
            // Five, three retained, the will, and of the sensor three.
            ("publish/messages/received", 5 + 3 + 3),
            ("publish/bytes/received", 5 * 5 + 1 + 1 + 2 + 2 + 9),
            ("publish/messages/dropped", 0),
            ("mqtt/connect/received", 4),
            ("mqtt/connack/sent", 4),
            ("mqtt/subscribe/received", 3),
            ("mqtt/suback/sent", 3),
            ("mqtt/publish/received", 8),
            ("mqtt/puback/sent", 5),
            ("mqtt/puback/received", 4),
            ("mqtt/pubrec/sent", 1),
            ("mqtt/pubrel/received", 1),
            ("mqtt/pubcomp/sent", 1),
            ("mqtt/pubrec/received", 1),
            ("mqtt/pubrel/sent", 1),
            ("mqtt/pubcomp/received", 1),
            ("mqtt/pingreq/received", 1),
            ("mqtt/pingresp/sent", 1),
            ("mqtt/disconnect/received", 1),
            ("mqtt-sn/clients/active", 1),
            ("mqtt-sn/clients/asleep", 1),
            // CONNECT, REGISTER twice, PUBLISH thrice, SUBSCRIBE, SEARCHGW, the malformed one;
            // CONNECT, SUBSCRIBE, DISCONNECT; the stranger's PUBLISH.
            ("mqtt-sn/datagrams/received", 9 + 3 + 1),
            // CONNACK, REGACK twice, PUBACK twice, SUBACK, GWINFO; CONNACK, SUBACK, DISCONNECT;
            // DISCONNECT.
            ("mqtt-sn/datagrams/sent", 7 + 3 + 1),
            ("mqtt-sn/datagrams/malformed", 1),
            ("mqtt-sn/qos_minus_one/published", 1),
            ("mqtt-sn/searchgw/received", 1),
            ("mqtt-sn/searchgw/answered", 1),
            ("mqtt-sn/unknown/received", 1),
            ("mqtt-sn/unknown/answered", 1),
        ],
    );
    let by_type = |name: &&String| name.starts_with("mqtt/") && name.ends_with("/received");
    let received: u64 = sys.values().keys().filter(by_type).map(|name| sys.number(name)).sum();
    check(&sys, &[("messages/received", received + 13)]);
}

/// The one who watches is sent a message for each value; with only this value it is known how many.
#[test]
fn messages_that_were_sent_are_counted() {
    let gateway = Gateway::builder().text(EVERY_SECOND).start();
    let mut reader = MqttClient::connect(gateway.mqtt(), "reader");
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    reader.subscribe("a", 2);
    sensor.subscribe("a", 1);
    for qos in 0..=2 {
        reader.publish("a", "hello", qos);
        reader.expect_message("a", "hello", qos);
        sensor.expect_message("a", "hello", qos.min(1));
    }
    let mut observer = MqttClient::connect(gateway.mqtt(), "observer");
    observer.subscribe("$SYS/broker/publish/messages/sent", 0);
    let before = observer.next_message();
    assert!(before.retain);
    for sent in [6 + 1, 6 + 2] {
        assert_eq!(observer.next_message().text(), sent.to_string());
    }
}

/// Bounds are what the configuration says, and each has a use.
#[test]
fn every_limit_shows_its_bound_and_its_use() {
    let bounds = [
        ("memory_bytes", 50_000_000),
        ("sessions", 1_001),
        ("connections", 102),
        ("packet_bytes", 100_003),
        ("queue_messages", 104),
        ("queue_bytes", 200_005),
        ("inflight", 6),
        ("filters_per_session", 107),
        ("topic_ids_per_client", 108),
        ("retained_messages", 109),
        ("retained_bytes", 100_010),
        ("connect_timeout_s", 11),
        ("session_expiry_s", 112),
        ("log_lines_per_s", 13),
    ];
    let lines: Vec<_> = bounds.iter().map(|(name, max)| format!("{name} = {max}")).collect();
    let builder = Gateway::builder().limits(&lines.join("\n")).text(EVERY_SECOND);
    let gateway = builder.start();
    let mut sys = Sys::watch(gateway.mqtt());
    let mut keeper = MqttClient::options("keeper").persistent().connect(gateway.mqtt());
    keeper.subscribe("a", 1);
    keeper.subscribe("b", 1);
    keeper.publish_retained("kept", "1234", 1);
    // A message of QoS 2 that is not released.
    keeper.send("34 06 00 01 'c' 00 63 'x'");
    keeper.expect("50 02 00 63");
    let mut other = MqttClient::connect(gateway.mqtt(), "other");
    other.publish("a", [7; 1_000], 1);
    // One message under way, and what comes while it is away waits.
    keeper.vanish();
    sys.wait_for("clients/disconnected", |count| count == 1);
    for _ in 0..3 {
        other.publish("a", [7; 1_000], 1);
    }
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    sensor.register("a");
    sensor.register("b");
    sys.next_round();
    for (name, max) in bounds {
        check(&sys, &[(&format!("limits/{name}/max"), max)]);
    }
    check(
        &sys,
        &[
            ("limits/sessions/used", 4),
            ("limits/connections/used", 2),
            ("limits/connections_unidentified/max", 25),
            ("limits/connections_unidentified/used", 0),
            ("limits/packet_bytes/used", 1_000 + 8),
            ("limits/inflight/used", 1),
            ("limits/filters_per_session/used", 2),
            ("limits/topic_ids_per_client/used", 2),
            ("limits/received_ids/max", 65_535),
            ("limits/received_ids/used", 1),
            ("limits/retained_messages/used", 1),
            ("limits/connect_timeout_s/used", 0),
            ("limits/session_expiry_s/used", 112),
        ],
    );
    for (name, least, most) in [
        ("memory_bytes", 10_000, 10_000_000),
        // The values of a round wait, too, for who watches them.
        ("queue_messages", 3, 104),
        ("queue_bytes", 3_000, 200_005),
        ("retained_bytes", 8, 1_000),
        ("log_lines_per_s", 1, 13),
    ] {
        let used = sys.number(&format!("limits/{name}/used"));
        assert!((least..=most).contains(&used), "limits/{name}/used is {used}");
    }
}
