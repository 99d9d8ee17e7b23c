//! Sleeping clients get what was kept for them, in order, and PINGRESP last.

use std::time::Duration;

use system_tests::client::Message;
use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;
use system_tests::lossy::{Policy, Relay, drop_every, faithful};

/// 100 messages come for a sleeper, on known and on unknown names; one visit takes them all.
fn check(policy: impl Policy) {
    let gateway = Gateway::builder().mqtt_sn("retry_ms = 100\nawake_retry_ms = 100").start();
    let relay = Relay::start(gateway.mqtt_sn(), policy);
    let retry = Duration::from_millis(100);
    let mut sleeper = SnClient::options("sleeper").persistent().retry(retry).connect_via(&relay);
    sleeper.subscribe("to/#", 1);
    sleeper.sleep(600);
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "publisher");
    let expected: Vec<_> = (0..100).map(|n| (format!("to/{}", n % 7), n.to_string())).collect();
    for (topic, payload) in &expected {
        mqtt.publish(topic, payload, 1);
    }
    let mut came: Vec<_> = sleeper.wake().into_iter().map(in_short).collect();
    // A repetition comes beside the one that it repeats.
    came.dedup();
    assert_eq!(came, expected);
    assert_eq!(sleeper.wake(), [], "nothing is left");
}

fn in_short(message: Message) -> (String, String) {
    let text = message.text();
    (message.topic, text)
}

/// SN-095, SN-096, SN-097.
#[test]
fn a_hundred_messages_are_collected_in_one_visit() {
    check(faithful());
}

/// SN-095, SN-096.
#[test]
fn a_hundred_messages_are_collected_though_every_tenth_datagram_is_lost() {
    check(drop_every(10));
}
