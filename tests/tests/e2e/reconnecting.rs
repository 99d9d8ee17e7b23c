//! Acknowledgements of MQTT that get lost: TCP loses none, but a connection that ends takes with it
//! what was on its way. The client comes back to its session, and either side repeats what it has
//! no answer to [MQTT-4.4.0-1].

use system_tests::client::mqtt::{MqttClient, Version, publish_packet};
use system_tests::client::sn::{SnClient, Topic};
use system_tests::gateway::Gateway;

/// What the other end of the message speaks.
const KINDS: [bool; 2] = [false, true];

const TOPIC: &str = "xy";

fn connect(gateway: &Gateway, id: &str) -> MqttClient {
    MqttClient::options(id).persistent().connect(gateway.mqtt())
}

/// The client as it comes back after what it was told last was lost on the way.
fn come_back(gateway: &Gateway, id: &str, client: MqttClient) -> MqttClient {
    client.vanish();
    let client = connect(gateway, id);
    assert!(client.session_present);
    client
}

/// A publisher to which the answer to its `lost`-th request gets lost.
fn publish_with_loss(gateway: &Gateway, qos: u8, lost: u8) {
    let mut client = connect(gateway, "publisher");
    let publish = |flags| publish_packet(Version::V311, TOPIC, b"once", qos << 1 | flags, 7);
    let answer = if qos == 1 { "40 02 00 07" } else { "50 02 00 07" };
    client.send_octets(&publish(0));
    client.expect(answer);
    if lost == 1 {
        client = come_back(gateway, "publisher", client);
        client.send_octets(&publish(8));
        client.expect(answer);
    }
    if qos == 2 {
        client.send("62 02 00 07");
        client.expect("70 02 00 07");
        if lost == 2 {
            client = come_back(gateway, "publisher", client);
            client.send("62 02 00 07");
            client.expect("70 02 00 07");
        }
    }
    client.publish(TOPIC, "end", qos);
    client.disconnect();
}

/// [MQTT-4.3.2-1], [MQTT-4.3.3-1], SN-006: a publisher repeats, and a message of QoS 2 arrives once
/// for all that.
#[test]
fn an_answer_to_a_publisher_that_is_lost_is_given_again() {
    let gateway = Gateway::start();
    for (qos, lost) in [(1, 1), (2, 1), (2, 2)] {
        for (granted, to_sn) in (0..=2).flat_map(|granted| KINDS.map(|to_sn| (granted, to_sn))) {
            let case = format!("QoS {qos} to {granted}, answer {lost} lost, to MQTT-SN: {to_sn}");
            let mut texts = Vec::new();
            if to_sn {
                let mut sn = SnClient::connect(gateway.mqtt_sn(), "subscriber");
                sn.subscribe(Topic::short(TOPIC), granted);
                publish_with_loss(&gateway, qos, lost);
                while texts.last().is_none_or(|text| text != "end") {
                    texts.push(sn.next_message().text());
                }
                sn.disconnect();
            } else {
                let mut mqtt = MqttClient::connect(gateway.mqtt(), "subscriber");
                mqtt.subscribe(TOPIC, granted);
                publish_with_loss(&gateway, qos, lost);
                while texts.last().is_none_or(|text| text != "end") {
                    texts.push(mqtt.next_message().text());
                }
                mqtt.disconnect();
            }
            if qos == 1 {
                // At least once: a repetition may come, beside the one that it repeats.
                texts.dedup();
            }
            assert_eq!(texts, ["once", "end"], "{case}");
        }
    }
}

/// A subscriber whose `lost`-th answer gets lost takes a message.
fn take_with_loss(gateway: &Gateway, mut client: MqttClient, qos: u8, lost: u8) -> MqttClient {
    let sent = |flags: u8| format!("{:02X} 0A 00 02 'xy' 00 ?? 'once'", 0x30 | qos << 1 | flags);
    let id = client.expect(&sent(0))[7];
    if lost == 1 {
        client = come_back(gateway, "subscriber", client);
        // DUP, and the same identifier [MQTT-3.3.1-1].
        assert_eq!(client.expect(&sent(8))[7], id);
    }
    if qos == 1 {
        client.send_octets(&[0x40, 2, 0, id]);
        return client;
    }
    client.send_octets(&[0x50, 2, 0, id]);
    assert_eq!(client.expect("62 02 00 ??")[3], id);
    if lost == 2 {
        client = come_back(gateway, "subscriber", client);
        // The message was taken: only its release comes again.
        assert_eq!(client.expect("62 02 00 ??")[3], id);
    }
    client.send_octets(&[0x70, 2, 0, id]);
    client
}

/// [MQTT-4.3.2-1], [MQTT-4.3.3-1], SN-006: what a subscriber did not answer comes again.
#[test]
fn an_answer_of_a_subscriber_that_is_lost_is_asked_for_again() {
    let gateway = Gateway::start();
    for (granted, lost) in [(1, 1), (2, 1), (2, 2)] {
        for (sent, from_sn) in (granted..=2).flat_map(|sent| KINDS.map(|from_sn| (sent, from_sn))) {
            let mut subscriber = connect(&gateway, "subscriber");
            subscriber.subscribe(TOPIC, granted);
            let publish = |payload: &str| {
                if from_sn {
                    let mut sn = SnClient::connect(gateway.mqtt_sn(), "publisher");
                    sn.publish(Topic::short(TOPIC), payload, sent);
                    sn.disconnect();
                } else {
                    let mut mqtt = MqttClient::connect(gateway.mqtt(), "publisher");
                    mqtt.publish(TOPIC, payload, sent);
                    mqtt.disconnect();
                }
            };
            publish("once");
            subscriber = take_with_loss(&gateway, subscriber, granted, lost);
            publish("end");
            subscriber.expect_message(TOPIC, "end", granted);
            subscriber.expect_nothing();
            subscriber = come_back(&gateway, "subscriber", subscriber);
            subscriber.expect_nothing();
            subscriber.unsubscribe(TOPIC);
            subscriber.disconnect();
        }
    }
}
