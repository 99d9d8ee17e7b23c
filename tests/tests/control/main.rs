//! The controls: harness, scenarios and drivers against a broker that is known to be right.
//!
//! If one of these fails, the test is wrong or the machine is; if only its twin in `interop`
//! fails, the gateway is.

use system_tests::client::Will;
use system_tests::client::mqtt::{MqttClient, Version};
use system_tests::foreign::driver::Library;
use system_tests::foreign::mosquitto::Mosquitto;
use system_tests::scenario::{self, Scenario};

fn check(library: Library, scenario: Scenario) {
    if let Some(mosquitto) = Mosquitto::start() {
        scenario(library, mosquitto.mqtt());
    }
}

system_tests::scenario_tests! {
    check,
    paho_mqtt: Library::PahoMqtt,
    mqtt_js: Library::MqttJs,
}

/// The scenarios of MQTT 5.0.
mod v5 {
    use super::*;

    system_tests::scenario_tests_of_5! {
        check,
        paho_mqtt: Library::PahoMqtt5,
        aiomqtt: Library::Aiomqtt5,
        mqtt_js: Library::MqttJs5,
    }

    #[test]
    fn the_mosquitto_tools_pass_the_scenario_with_mosquitto() {
        if let Some(mosquitto) = Mosquitto::start() {
            scenario::v5::mosquitto_tools(mosquitto.mqtt());
        }
    }
}

#[test]
fn the_mosquitto_tools_pass_the_scenario_with_mosquitto() {
    if let Some(mosquitto) = Mosquitto::start() {
        scenario::mosquitto_tools(mosquitto.mqtt());
    }
}

#[test]
fn our_client_speaks_every_version_and_qos() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    for version in [Version::V31, Version::V311, Version::V5] {
        let connect = |id| MqttClient::options(id).version(version).connect(mosquitto.mqtt());
        let (mut publisher, mut subscriber) = (connect("publisher"), connect("subscriber"));
        assert_eq!(subscriber.subscribe("a/+", 2), 2);
        for qos in 0..=2 {
            for payload in ["", "hello"] {
                publisher.publish("a/b", payload, qos);
                let message = subscriber.expect_message("a/b", payload, qos);
                assert!(!message.retain && !message.dup);
            }
        }
        subscriber.unsubscribe("a/+");
        publisher.publish("a/b", "not for you", 1);
        subscriber.expect_nothing();
        publisher.disconnect();
    }
}

#[test]
fn our_client_keeps_sessions_and_leaves_wills() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let server = mosquitto.mqtt();
    let connect = || MqttClient::options("keeper").persistent().connect(server);
    let mut keeper = connect();
    assert!(!keeper.session_present);
    keeper.subscribe("a", 1);
    keeper.subscribe("gone", 1);
    keeper.vanish();
    let will = Will::new("gone", "lost", 1).retained();
    MqttClient::options("mortal").will(will).connect(server).vanish();
    let mut publisher = MqttClient::connect(server, "publisher");
    publisher.subscribe("gone", 0);
    assert!(publisher.expect_message("gone", "lost", 0).text() == "lost");
    publisher.publish("a", "1", 1);
    let mut keeper = connect();
    assert!(keeper.session_present);
    keeper.expect_message("gone", "lost", 1);
    keeper.expect_message("a", "1", 1);
    keeper.expect_nothing();
}

#[test]
fn our_client_sees_octets_and_the_end_of_a_connection() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let mut client = MqttClient::open(mosquitto.mqtt());
    client.send("10 0E 00 04 'MQTT' 04 02 00 3C 00 02 'c1'");
    client.expect("20 02 00 00");
    client.send("82 06 00 01 00 01 'a' 00");
    client.expect("90 03 00 01 ??");
    client.send("30 05 00 01 'a' 'hi'");
    client.expect("30 …");
    client.send("F0 00");
    client.expect_closed();
}
