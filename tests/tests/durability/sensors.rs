//! Sensors and wills after the end of the process: by kill -9, and by SIGTERM.

use std::time::{Duration, Instant};

use system_tests::client::mqtt::{MqttClient, Options};
use system_tests::client::sn::{SnClient, Topic, publish_message};
use system_tests::client::{Message, Will};
use system_tests::gateway::Gateway;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Asked,
}

impl End {
    fn come(self, gateway: &mut Gateway) {
        match self {
            Self::Killed => gateway.kill9(),
            Self::Asked => assert!(gateway.terminate().success()),
        }
        gateway.restart();
    }
}

fn in_short(message: Message) -> (String, String) {
    let text = message.text();
    (message.topic, text)
}

/// A sleeper asks after the restart as if there had been none.
fn check_sleeper(end: End) {
    let mut gateway = Gateway::start();
    let mut sleeper = SnClient::options("sleeper").persistent().connect(gateway.mqtt_sn());
    sleeper.subscribe("to/#", 1);
    sleeper.sleep(600);
    let expected: Vec<_> = (0..100).map(|n| (format!("to/{}", n % 7), n.to_string())).collect();
    let publish = |gateway: &Gateway, messages: &[(String, String)]| {
        let mut publisher = MqttClient::connect(gateway.mqtt(), "publisher");
        for (topic, payload) in messages {
            publisher.publish(topic, payload, 1);
        }
    };
    publish(&gateway, &expected[..60]);
    end.come(&mut gateway);
    publish(&gateway, &expected[60..]);
    let came: Vec<_> = sleeper.wake().into_iter().map(in_short).collect();
    assert_eq!(came, expected, "{end:?}");
    assert_eq!(sleeper.wake(), [], "nothing is left");
}

/// SN-095, SN-096.
#[test]
fn a_sensor_that_slept_through_a_kill_gets_everything_on_pingreq() {
    check_sleeper(End::Killed);
}

/// SN-095, SN-096.
#[test]
fn a_sensor_that_slept_through_an_orderly_restart_gets_everything_on_pingreq() {
    check_sleeper(End::Asked);
}

/// A sensor that was awake publishes by the topic id that it was given, and gets what it has
/// subscribed to, without a CONNECT.
#[test]
fn a_sensor_that_was_awake_goes_on_by_its_topic_ids_after_a_kill() {
    let mut gateway = Gateway::start();
    let mut watcher = MqttClient::options("watcher").persistent().connect(gateway.mqtt());
    watcher.subscribe("from/#", 2);
    let mut sensor = SnClient::options("sensor").persistent().connect(gateway.mqtt_sn());
    let topic_id = sensor.register("from/sensor");
    sensor.subscribe("to/sensor", 1);
    watcher.vanish();
    End::Killed.come(&mut gateway);
    let mut watcher = MqttClient::options("watcher").persistent().connect(gateway.mqtt());
    assert!(watcher.session_present);
    for qos in 0..3 {
        let message = publish_message(&Topic::from("from/sensor"), topic_id, b"hi", qos << 5, 77);
        sensor.send_octets(&message);
        match qos {
            0 => {}
            1 => drop(sensor.expect("07 0D ?? ?? 00 4D 00")),
            _ => sensor.converse("< 04 0F 00 4D\n> 04 10 00 4D\n< 04 0E 00 4D"),
        }
        watcher.expect_message("from/sensor", "hi", qos);
    }
    watcher.publish("to/sensor", "hello", 1);
    sensor.expect_message("to/sensor", "hello", 1);
    assert_ne!(sensor.register("from/other"), topic_id);
}

fn with_will(name: &str) -> Options {
    MqttClient::options(name).persistent().will(Will::new(&format!("will/{name}"), "gone", 1))
}

fn watcher(gateway: &Gateway) -> MqttClient {
    MqttClient::options("watcher").persistent().connect(gateway.mqtt())
}

/// The clients were cut off with the gateway, which nobody can tell from their own failure.
#[test]
fn wills_of_connected_clients_are_published_after_a_kill() {
    let mut gateway = Gateway::start();
    watcher(&gateway).subscribe("will/#", 1);
    // A DISCONNECT has no answer; the CONNACK of the next client says that it is safe, too.
    with_will("left").connect(gateway.mqtt()).disconnect();
    let _old = with_will("old").connect(gateway.mqtt());
    // Session Expiry 600 s, Will Delay 2 s.
    let late = MqttClient::options("late").persistent().properties("11 00 00 02 58");
    let late = late.will_with(Will::new("will/late", "gone", 1), "18 00 00 00 02");
    let _late = late.connect(gateway.mqtt());
    gateway.kill9();
    let began = Instant::now();
    gateway.restart();
    let mut watcher = watcher(&gateway);
    watcher.expect_message("will/old", "gone", 1);
    watcher.expect_message("will/late", "gone", 1);
    assert!(began.elapsed() > Duration::from_millis(1_900), "its delay is kept");
    watcher.expect_nothing();
}

/// An end that was wanted is no failure of a client.
#[test]
fn no_will_is_published_after_an_orderly_end() {
    let mut gateway = Gateway::start();
    watcher(&gateway).subscribe("will/#", 1);
    let _old = with_will("old").connect(gateway.mqtt());
    let will = Will::new("will/sensor", "gone", 1);
    let _sensor = SnClient::options("sensor").persistent().will(will).connect(gateway.mqtt_sn());
    End::Asked.come(&mut gateway);
    let mut watcher = watcher(&gateway);
    assert!(watcher.session_present);
    watcher.expect_nothing();
}
