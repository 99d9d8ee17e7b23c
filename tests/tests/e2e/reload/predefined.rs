//! Predefined topics change while sensors use them: no reading lands under a topic that its sensor
//! does not mean (docs/configuration.md).

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::{SnClient, Topic};
use system_tests::gateway::{Builder, Gateway};

fn with(topics: &[(&str, u16, &str)]) -> Builder {
    let add = |builder: Builder, (client, id, topic): &(&str, u16, &str)| {
        builder.predefined_for(client, *id, topic)
    };
    topics.iter().fold(Gateway::builder(), add)
}

/// SN-068
#[test]
fn an_id_means_what_it_meant_until_the_sensor_connects_again() {
    let mut gateway = with(&[("*", 1, "hot"), ("*", 2, "cold"), ("*", 3, "gone")]).start();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
    mqtt.subscribe("#", 1);
    let mut awake = SnClient::options("awake").persistent().connect(gateway.mqtt_sn());
    let mut asleep = SnClient::options("asleep").persistent().connect(gateway.mqtt_sn());
    awake.subscribe(Topic::Predefined(1), 1);
    asleep.sleep(600);
    // Swapped, taken away, and added.
    gateway.reload(with(&[("*", 1, "cold"), ("*", 2, "hot"), ("*", 4, "new")]));
    for (id, topic) in [(1, "hot"), (2, "cold"), (3, "gone"), (4, "new")] {
        awake.publish(Topic::Predefined(id), "awake", 1);
        mqtt.expect_message(topic, "awake", 1);
        if topic == "hot" {
            awake.expect_message("predefined/1", "awake", 1);
        }
    }
    // It publishes without connecting again, as sleepers do.
    asleep.publish(Topic::Predefined(1), "asleep", 1);
    mqtt.expect_message("hot", "asleep", 1);
    awake.expect_message("predefined/1", "asleep", 1);
    // Nothing is known of who has no session: the present meaning counts.
    let mut nobody = SnClient::open(gateway.mqtt_sn());
    nobody.publish_unasked(&Topic::Predefined(1), "nobody");
    mqtt.expect_message("cold", "nobody", 0);
    // The device with the new table comes.
    awake.reconnect(SnClient::options("awake").persistent());
    for (id, topic) in [(1, "cold"), (2, "hot"), (4, "new")] {
        awake.publish(Topic::Predefined(id), "again", 1);
        mqtt.expect_message(topic, "again", 1);
    }
    // Its subscription is to the topic, and stays so.
    awake.expect_message("hot", "again", 1);
    mqtt.publish("cold", "not subscribed", 1);
    awake.expect_nothing();
}

#[test]
fn one_client_gets_a_meaning_of_its_own_when_it_connects_again() {
    let mut gateway = with(&[("*", 1, "all")]).start();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
    mqtt.subscribe("#", 1);
    let mut node = SnClient::connect(gateway.mqtt_sn(), "node");
    gateway.reload(with(&[("*", 1, "all"), ("node", 1, "own")]));
    node.publish(Topic::Predefined(1), "1", 1);
    mqtt.expect_message("all", "1", 1);
    node.reconnect(SnClient::options("node"));
    node.publish(Topic::Predefined(1), "2", 1);
    mqtt.expect_message("own", "2", 1);
    SnClient::connect(gateway.mqtt_sn(), "other").publish(Topic::Predefined(1), "3", 1);
    mqtt.expect_message("all", "3", 1);
}

/// At a start there is no earlier meaning: the file counts for sessions that come back, too.
#[test]
fn after_a_restart_the_file_counts_for_everybody() {
    let mut gateway = with(&[("*", 1, "before")]).start();
    let mut sensor = SnClient::options("sensor").persistent().connect(gateway.mqtt_sn());
    sensor.subscribe(Topic::Predefined(1), 1);
    sensor.sleep(600);
    gateway.reload(with(&[("*", 1, "after")]));
    sensor.publish(Topic::Predefined(1), "old meaning", 1);
    assert_eq!(sensor.wake()[0].topic, "predefined/1");
    gateway.restart();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
    mqtt.subscribe("#", 1);
    sensor.publish(Topic::Predefined(1), "new meaning", 1);
    mqtt.expect_message("after", "new meaning", 1);
    // What it subscribed to is the topic, not the number.
    mqtt.publish("before", "still", 1);
    mqtt.publish("after", "not asked for", 1);
    let came: Vec<_> = sensor.wake().into_iter().map(|message| message.topic).collect();
    assert_eq!(came, ["before"]);
}

/// Only so many earlier tables are kept. What a sensor means is not forgotten for another one: the
/// topics wait.
#[test]
fn topics_wait_when_too_many_earlier_meanings_are_in_use() {
    let mut gateway = with(&[("*", 1, "t0")]).start();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
    mqtt.subscribe("#", 1);
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    let mut waits = String::new();
    for n in 1..20 {
        let log = gateway.reload(with(&[("*", 1, &format!("t{n}"))]));
        if log.contains("the predefined topics stay as they were") {
            waits = format!("t{n}");
            assert!(!log.contains(&waits), "told as a change that it is not: {log}");
            assert!(log.contains("reloaded: 0 changes"), "{log}");
            break;
        }
    }
    assert!(!waits.is_empty(), "{}", gateway.process().log());
    sensor.publish(Topic::Predefined(1), "1", 1);
    mqtt.expect_message("t0", "1", 1);
    sensor.reconnect(SnClient::options("sensor"));
    let log = gateway.hang_up();
    assert!(log.contains(&format!("→ \"{waits}\"")), "it still differs: {log}");
    sensor.reconnect(SnClient::options("sensor"));
    sensor.publish(Topic::Predefined(1), "2", 1);
    mqtt.expect_message(&waits, "2", 1);
}
