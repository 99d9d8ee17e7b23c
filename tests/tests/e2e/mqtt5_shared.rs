//! Shared subscriptions of members that speak different protocols.

use system_tests::client::mqtt::{MqttClient, Version};
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;
use system_tests::sys::{EVERY_SECOND, Sys};

fn v5(gateway: &Gateway, client_id: &str) -> MqttClient {
    MqttClient::options(client_id).version(Version::V5).connect(gateway.mqtt())
}

/// [MQTT5-4.8.2-4]: `$share` is for every protocol.
#[test]
fn members_of_every_protocol_take_turns() {
    let gateway = Gateway::builder().text("[mqtt]\nshare_strategy = \"round-robin\"").start();
    let mut new = v5(&gateway, "new");
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    assert_eq!(new.subscribe("$share/g/t/x", 1), 1);
    assert_eq!(old.subscribe("$share/g/t/x", 1), 1);
    let (granted, id) = sensor.subscribe("$share/g/t/x", 1);
    assert_eq!(granted, 1);
    assert_ne!(id, 0, "the name that it will be sent has an id from now on");
    // The id of SUBACK stands for what is delivered, which has no group in its name.
    assert_eq!(sensor.register("t/x"), id);
    let mut publisher = v5(&gateway, "publisher");
    for round in 0..5 {
        for number in 0..3 {
            publisher.publish_with("t/x", format!("{round}/{number}"), "");
        }
        let texts = [new.next_message(), old.next_message(), sensor.next_message()];
        let mut texts = texts.map(|message| message.text());
        texts.sort();
        assert_eq!(texts, [0, 1, 2].map(|number| format!("{round}/{number}")));
    }
    sensor.unsubscribe("$share/g/t/x");
    old.unsubscribe("$share/g/t/x");
    for _ in 0..3 {
        publisher.publish_with("t/x", "alone", "");
        new.expect_message("t/x", "alone", 1);
    }
    old.expect_nothing();
    sensor.expect_nothing();
}

/// [MQTT5-4.8.2-3], SN-095.
#[test]
fn a_member_that_sleeps_or_is_away_is_passed_over() {
    let gateway = Gateway::start();
    let mut sleeper = SnClient::options("sleeper").persistent().connect(gateway.mqtt_sn());
    sleeper.subscribe("$share/g/t/#", 1);
    sleeper.sleep(600);
    let mut away = MqttClient::options("away").persistent().connect(gateway.mqtt());
    away.subscribe("$share/g/t/#", 1);
    away.vanish();
    let mut awake = v5(&gateway, "awake");
    awake.subscribe("$share/g/t/#", 1);
    let mut publisher = v5(&gateway, "publisher");
    for number in 0..10 {
        publisher.publish_with("t/x", number.to_string(), "");
        awake.expect_message("t/x", &number.to_string(), 1);
    }
    assert_eq!(sleeper.wake(), []);
    // When nobody else is there the message waits for who will come.
    awake.disconnect();
    let mut back = MqttClient::options("away").persistent().connect(gateway.mqtt());
    back.unsubscribe("$share/g/t/#");
    publisher.publish_with("t/x", "for the sleeper", "");
    let woken: Vec<_> = sleeper.wake().iter().map(|message| message.text()).collect();
    assert_eq!(woken, ["for the sleeper"]);
}

/// [MQTT5-4.8.2-5]: what a member that falls asleep was not sent goes to one that is there.
#[test]
fn what_waits_for_a_member_that_leaves_is_handed_on() {
    let gateway = Gateway::builder().text(EVERY_SECOND).start();
    let mut silent = MqttClient::options("silent")
        .version(Version::V5)
        .persistent()
        .properties("11 00 00 FF FF 21 00 01")
        .connect(gateway.mqtt());
    silent.subscribe("$share/g/t/#", 1);
    let mut publisher = v5(&gateway, "publisher");
    for number in 0..3 {
        publisher.publish_with("t/x", number.to_string(), "");
    }
    // It takes one and never answers.
    assert_eq!(silent.receive()[0], 0x32);
    let mut second = SnClient::connect(gateway.mqtt_sn(), "second");
    second.subscribe("$share/g/t/#", 1);
    silent.vanish();
    let mut texts: Vec<_> = second.collect(3).iter().map(|message| message.text()).collect();
    texts.sort();
    assert_eq!(texts, ["0", "1", "2"]);
    let mut sys = Sys::watch(gateway.mqtt());
    sys.wait_for("shared_subscriptions/handed_on", |count| count == 3);
}
