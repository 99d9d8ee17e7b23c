//! What MQTT 5.0 says to clients that speak something older, and the other way round: the rules of
//! docs/dialects.md.

use system_tests::client::Will;
use system_tests::client::mqtt::{MqttClient, Options, Version, publish_packet_with};
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;
use system_tests::hex::octets;
use system_tests::sys::{EVERY_SECOND, Sys};

/// Payload format 1, content type, response topic, correlation data, two user properties of one
/// name.
const PROPERTIES: &str = "01 01 03 00 04 'text' 08 00 03 'r/t' 09 00 02 CA FE \
                          26 00 01 'k' 00 01 '1' 26 00 01 'k' 00 01 '2'";

fn v5(client_id: &str) -> Options {
    MqttClient::options(client_id).version(Version::V5)
}

/// Waits until a message that was published now with an expiry of one second has ended: by then
/// any other of the same age has, too.
fn let_a_second_pass(gateway: &Gateway, publisher: &mut MqttClient) {
    let mut sys = Sys::watch(gateway.mqtt());
    sys.next_round();
    let before = sys.number("retained messages/expired");
    publisher.retain_with("clock/second", "tick", "02 00 00 00 01");
    sys.wait_for("retained messages/expired", |expired| expired > before);
}

/// [MQTT5-3.3.2-4], [MQTT5-3.3.2-15], [MQTT5-3.3.2-16], [MQTT5-3.3.2-17], [MQTT5-3.3.2-18],
/// [MQTT5-3.3.2-20].
#[test]
fn properties_reach_subscribers_of_5_0_whole_and_the_others_not_at_all() {
    let gateway = Gateway::start();
    let mut new = v5("new").connect(gateway.mqtt());
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    let mut oldest = MqttClient::options("oldest").version(Version::V31).connect(gateway.mqtt());
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    for client in [&mut new, &mut old, &mut oldest] {
        client.subscribe("t/#", 1);
    }
    sensor.subscribe("t/#", 1);
    let mut publisher = v5("publisher").connect(gateway.mqtt());
    publisher.publish_with("t/x", "hi", PROPERTIES);
    new.expect_message("t/x", "hi", 1).assert_properties(PROPERTIES);
    old.expect_message("t/x", "hi", 1);
    oldest.expect_message("t/x", "hi", 1);
    sensor.expect_message("t/x", "hi", 1);

    old.publish("t/x", "from 3.1.1", 1);
    new.expect_message("t/x", "from 3.1.1", 1).assert_properties("");
    sensor.expect_message("t/x", "from 3.1.1", 1);
    sensor.publish("t/x", "from SN", 1);
    new.expect_message("t/x", "from SN", 1).assert_properties("");
}

/// SN-095, [MQTT5-3.3.2-5].
#[test]
fn a_message_that_expires_while_its_sensor_sleeps_is_not_delivered() {
    let gateway = Gateway::builder().text(EVERY_SECOND).start();
    let mut sensor = SnClient::options("sensor").persistent().connect(gateway.mqtt_sn());
    sensor.subscribe("t/#", 1);
    sensor.sleep(600);
    let mut publisher = v5("publisher").connect(gateway.mqtt());
    publisher.publish_with("t/x", "short-lived", "02 00 00 00 01");
    publisher.publish_with("t/x", "long-lived", "02 00 00 FF FF");
    publisher.publish_with("t/x", "immortal", "");
    let_a_second_pass(&gateway, &mut publisher);
    let came: Vec<_> = sensor.wake().iter().map(|message| message.text()).collect();
    assert_eq!(came, ["long-lived", "immortal"]);
    let mut sys = Sys::watch(gateway.mqtt());
    sys.wait_for("dropped/expired", |dropped| dropped == 1);
}

/// [MQTT5-3.3.2-6].
#[test]
fn expiry_is_counted_down_in_queues_and_in_the_retained_store() {
    let gateway = Gateway::builder().text(EVERY_SECOND).start();
    let kept = || v5("kept").persistent().properties("11 00 00 FF FF");
    let mut subscriber = kept().connect(gateway.mqtt());
    subscriber.subscribe("t/#", 1);
    subscriber.vanish();
    let mut publisher = v5("publisher").connect(gateway.mqtt());
    publisher.retain_with("t/x", "hi", "02 00 00 00 F0");
    let_a_second_pass(&gateway, &mut publisher);
    let check = |message: &system_tests::client::Message| {
        let [2, 0, 0, 0, left] = message.properties[..] else { panic!("{message:?}") };
        assert!((0xE0..0xF0).contains(&left), "{left} s left");
    };
    let mut subscriber = kept().connect(gateway.mqtt());
    assert!(subscriber.session_present);
    check(&subscriber.expect_message("t/x", "hi", 1));
    subscriber.subscribe("t/x", 1);
    check(&subscriber.expect_message("t/x", "hi", 1));
}

/// [MQTT5-3.3.2-7].
#[test]
fn an_alias_of_the_publisher_is_nobody_elses() {
    let gateway = Gateway::start();
    let mut new = v5("new").connect(gateway.mqtt());
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    new.subscribe("t/#", 1);
    old.subscribe("t/#", 1);
    sensor.subscribe("t/#", 1);
    let mut publisher = v5("publisher").connect(gateway.mqtt());
    publisher.publish_with("t/x", "defines", "23 00 01");
    publisher.publish_with("", "uses", "23 00 01");
    for payload in ["defines", "uses"] {
        new.expect_message("t/x", payload, 1).assert_properties("");
        old.expect_message("t/x", payload, 1);
        sensor.expect_message("t/x", payload, 1);
    }
    publisher.retain_with("", "kept", "23 00 01");
    let mut later = v5("later").connect(gateway.mqtt());
    later.subscribe("t/x", 1);
    later.expect_message("t/x", "kept", 1).assert_properties("");
}

/// [MQTT5-3.8.3-3], [MQTT5-3.3.1-12], [MQTT5-3.3.1-13], [MQTT5-3.3.4-3].
#[test]
fn subscription_options_of_one_client_do_not_change_what_another_gets() {
    let gateway = Gateway::start();
    let mut new = v5("new").connect(gateway.mqtt());
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    // QoS 1, no local, retain as published; subscription identifier 7.
    assert_eq!(new.subscribe_with("t/#", 0x0D, "0B 07"), 1);
    old.subscribe("t/#", 1);
    sensor.subscribe("t/#", 1);
    new.publish("t/x", "my own", 1);
    old.expect_message("t/x", "my own", 1);
    sensor.expect_message("t/x", "my own", 1);
    old.publish_retained("t/x", "retained", 1);
    let came = new.expect_message("t/x", "retained", 1);
    came.assert_properties("0B 07");
    assert!(came.retain, "as published");
    assert!(!old.expect_message("t/x", "retained", 1).retain);
    assert!(!sensor.expect_message("t/x", "retained", 1).retain);
    sensor.publish("t/x", "from SN", 1);
    new.expect_message("t/x", "from SN", 1).assert_properties("0B 07");
}

/// [MQTT5-3.1.3-9], [MQTT5-3.1.2-8].
#[test]
fn a_delayed_will_reaches_every_kind_of_subscriber_and_none_if_its_client_is_back_in_time() {
    let gateway = Gateway::start();
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    old.subscribe("gone/#", 1);
    sensor.subscribe("gone/#", 1);
    let dying = |topic: &str, delay: &str| {
        let will = Will::new(topic, "gone", 1);
        v5(topic).persistent().properties("11 00 00 00 3C").will_with(will, delay)
    };
    let mut patient = dying("gone/patient", "18 00 00 00 1E").connect(gateway.mqtt());
    patient.ping();
    patient.vanish();
    dying("gone/hasty", "18 00 00 00 01").connect(gateway.mqtt()).vanish();
    old.expect_message("gone/hasty", "gone", 1);
    sensor.expect_message("gone/hasty", "gone", 1);
    let mut back = dying("gone/patient", "18 00 00 00 1E").connect(gateway.mqtt());
    assert!(back.session_present);
    back.ping();
    old.expect_nothing();
    sensor.expect_nothing();
}

/// One client id is one session, whatever is spoken: [MQTT5-3.1.4-3], SN-050.
#[test]
fn a_session_goes_over_from_one_protocol_to_another() {
    let gateway = Gateway::start();
    let mut publisher = v5("publisher").connect(gateway.mqtt());
    let options = v5("wanderer").persistent().properties("11 00 00 FF FF");
    let mut first = options.connect(gateway.mqtt());
    first.subscribe_with("t/#", 1, "0B 07");
    first.vanish();
    publisher.publish_with("t/x", "for 3.1.1", PROPERTIES);

    let mut second = MqttClient::options("wanderer").persistent().connect(gateway.mqtt());
    assert!(second.session_present);
    second.expect_message("t/x", "for 3.1.1", 1);
    // Its PUBACK has arrived.
    second.ping();

    let mut third = SnClient::options("wanderer").persistent().connect(gateway.mqtt_sn());
    second.expect_closed();
    publisher.publish_with("t/x", "for SN", PROPERTIES);
    third.expect_message("t/x", "for SN", 1);

    let mut fourth = v5("wanderer").persistent().connect(gateway.mqtt());
    assert!(fourth.session_present);
    third.expect("02 18");
    publisher.publish_with("t/x", "for 5.0", "");
    fourth.expect_message("t/x", "for 5.0", 1).assert_properties("0B 07");
}

/// [MQTT5-3.14.4-3], SN-100: who is taken over is told as well as its protocol can.
#[test]
fn a_client_of_5_0_is_told_that_a_sensor_took_its_session() {
    let gateway = Gateway::start();
    let mut new = v5("wanderer").connect(gateway.mqtt());
    SnClient::connect(gateway.mqtt_sn(), "wanderer");
    new.expect("E0 ?? 8E …");
    new.expect_closed();
}

/// [MQTT-3.3.5-2], SN-063: one refusal in three languages.
#[test]
fn each_protocol_is_told_in_its_own_words_that_a_topic_is_not_for_clients() {
    let gateway = Gateway::start();
    let mut new = v5("new").connect(gateway.mqtt());
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    assert_eq!(new.publish_with("$SYS/mine", "x", ""), 0x87);
    old.publish("$SYS/mine", "x", 1);
    let id = sensor.register("$SYS/mine").to_be_bytes();
    sensor.send(&format!("08 0C 20 {:02X} {:02X} 00 77 'x'", id[0], id[1]));
    sensor.expect(&format!("07 0D {:02X} {:02X} 00 77 03", id[0], id[1]));

    let deep = vec!["a"; 129].join("/");
    assert_eq!(new.subscribe(&deep, 1), 0x8F);
    assert_eq!(old.subscribe(&deep, 1), 0x80);
    sensor.send_octets(&[&octets("01 01 08 12 20 00 78")[..], deep.as_bytes()].concat());
    sensor.expect("08 13 00 00 00 00 78 03");
}

/// [MQTT5-3.1.2-24], [MQTT5-3.1.2-25], SN-082: what is too large for one is not too large for all.
#[test]
fn a_message_too_large_for_one_client_goes_to_the_others() {
    let gateway = Gateway::builder().mqtt_sn("max_datagram = 64").text(EVERY_SECOND).start();
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    sensor.subscribe("t/#", 1);
    let mut small = v5("small").properties("27 00 00 00 40").connect(gateway.mqtt());
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    small.subscribe("t/#", 1);
    old.subscribe("t/#", 1);
    let mut publisher = v5("publisher").connect(gateway.mqtt());
    let large = "x".repeat(64);
    publisher.publish_with("t/x", &large, "");
    // With its properties it is too large for one, without them small enough for the other.
    publisher.publish_with("t/x", "small", &format!("26 00 01 'k' 00 32 '{}'", "v".repeat(50)));
    publisher.publish_with("t/x", "end", "");
    for payload in [large.as_str(), "small", "end"] {
        old.expect_message("t/x", payload, 1);
    }
    small.expect_message("t/x", "end", 1);
    sensor.expect_message("t/x", "small", 1);
    sensor.expect_message("t/x", "end", 1);
    let mut sys = Sys::watch(gateway.mqtt());
    sys.wait_for("dropped/unsendable", |dropped| dropped == 3);
}

#[test]
fn text_that_is_none_is_refused_if_the_gateway_looks() {
    let not_utf8 = [0xC3, 0x28];
    let check = |gateway: &Gateway, reason: u8| {
        let mut publisher = v5("publisher").connect(gateway.mqtt());
        assert_eq!(publisher.publish_with("t", not_utf8, "01 01"), reason);
        assert_eq!(publisher.publish_with("t", not_utf8, "01 00"), 0x10);
        assert_eq!(publisher.publish_with("t", "text", "01 01"), 0x10);
    };
    check(&Gateway::start(), 0x10);
    check(&Gateway::builder().text("[mqtt]\nvalidate_payload_format = true").start(), 0x99);
}

/// [MQTT-3.1.2-2], [MQTT5-3.1.2-2]: in words that every version knows.
#[test]
fn versions_that_are_not_served_are_told_so() {
    let gateway = Gateway::builder().text("[mqtt]\nversions = [\"3.1.1\"]").start();
    let mut new = MqttClient::open(gateway.mqtt());
    new.send_connect(&v5("new"));
    new.expect("20 02 00 01");
    let mut oldest = MqttClient::open(gateway.mqtt());
    oldest.send_connect(&MqttClient::options("oldest").version(Version::V31));
    oldest.expect("20 02 00 01");
    MqttClient::connect(gateway.mqtt(), "old").ping();
}

/// [MQTT5-3.3.4-7], [MQTT5-3.2.2-21], [MQTT5-3.1.2-26]: the terms of CONNACK are those configured.
#[test]
fn the_terms_of_connack_are_those_of_the_configuration() {
    let gateway = Gateway::builder()
        .text("[mqtt]\nreceive_maximum = 2\ntopic_alias_max = 3\nkeep_alive_max_s = 40")
        .limits("session_expiry_s = 100\npacket_bytes = 300")
        .start();
    let mut client = MqttClient::open(gateway.mqtt());
    client.send_connect(&v5("c").properties("11 00 00 FF FF"));
    let connack = client.receive();
    for term in ["11 00 00 00 64", "13 00 28", "21 00 02", "22 00 03", "27 00 00 01 2C"] {
        let term = octets(term);
        assert!(
            connack.windows(term.len()).any(|part| part == term),
            "{term:02X?}: {connack:02X?}"
        );
    }
    for id in 1..=2 {
        client.send_octets(&publish_packet_with("t", b"x", 0x04, id, &[]));
        client.expect(&format!("50 03 00 0{id} 10"));
    }
    client.send_octets(&publish_packet_with("t", b"x", 0x04, 3, &[]));
    client.expect("E0 ?? 93 …");
    client.expect_closed();
}

/// [MQTT5-3.2.2-9], [MQTT5-3.2.2-14]: what is not served is told, and refused if it is asked for.
#[test]
fn what_the_configuration_takes_away_is_told() {
    let gateway = Gateway::builder()
        .text(
            "[mqtt]\nmaximum_qos = 1\nretain_available = false\nwildcards_available = false\n\
             subscription_ids_available = false\nshared_available = false",
        )
        .start();
    let terms = ["24 01", "25 00", "28 00", "29 00", "2A 00"];
    let check = |what: &str, reason: u8| {
        let mut client = MqttClient::open(gateway.mqtt());
        client.send_connect(&v5("c"));
        let connack = client.receive();
        for term in terms.map(octets) {
            assert!(connack.windows(2).any(|part| part == term), "{term:02X?}: {connack:02X?}");
        }
        client.send(what);
        client.expect(&format!("E0 ?? {reason:02X} …"));
        client.expect_closed();
    };
    check("34 07 00 01 't' 00 01 00 'x'", 0x9B);
    check("31 05 00 01 't' 00 'x'", 0x9A);
    // The others are answers to one filter, or to one request.
    let mut client = v5("c").connect(gateway.mqtt());
    assert_eq!(client.subscribe("t", 2), 1);
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    assert_eq!(sensor.subscribe("t/#", 2).0, 2);
}

/// [MQTT5-3.2.2-16]
#[test]
fn clients_are_sent_to_the_server_that_the_configuration_names() {
    let gateway = Gateway::builder()
        .text("[mqtt]\nserver_reference = \"b:1883\"\nserver_moved = true")
        .start();
    let mut new = MqttClient::open(gateway.mqtt());
    new.send_connect(&v5("new"));
    let connack = new.receive();
    assert_eq!(connack[3], 0x9D);
    let reference = octets("1C 00 06 'b:1883'");
    assert!(connack.windows(reference.len()).any(|part| part == reference), "{connack:02X?}");
    new.expect_closed();
    let mut old = MqttClient::open(gateway.mqtt());
    old.send_connect(&MqttClient::options("old"));
    old.expect("20 02 00 03");
}

/// [MQTT5-3.1.2-26], [MQTT5-3.3.2-12]: names that come again are left out for who takes aliases.
#[test]
fn a_client_that_takes_aliases_is_told_each_name_once() {
    let gateway = Gateway::start();
    let mut thrifty = v5("thrifty").properties("22 00 05").connect(gateway.mqtt());
    let mut other = v5("other").connect(gateway.mqtt());
    thrifty.subscribe("t/#", 1);
    other.subscribe("t/#", 1);
    let mut publisher = MqttClient::connect(gateway.mqtt(), "publisher");
    let mut names = Vec::new();
    for number in 0..3 {
        publisher.publish("t/long/name", number.to_string(), 1);
        let message = thrifty.next_message();
        message.assert_properties("23 00 01");
        names.push(message.topic);
        other.expect_message("t/long/name", &number.to_string(), 1).assert_properties("");
    }
    assert_eq!(names, ["t/long/name", "", ""]);
}
