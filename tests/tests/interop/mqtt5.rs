//! Clients of MQTT 5.0 over TCP.

use system_tests::foreign::driver::Library;
use system_tests::gateway::Gateway;
use system_tests::scenario::{self, Scenario};

fn check(library: Library, scenario: Scenario) {
    scenario(library, Gateway::start().mqtt());
}

/// What every version can do.
mod as_ever {
    use super::*;

    system_tests::scenario_tests! {
        check,
        paho_mqtt: Library::PahoMqtt5,
        aiomqtt: Library::Aiomqtt5,
        mqtt_js: Library::MqttJs5,
    }
}

system_tests::scenario_tests_of_5! {
    check,
    paho_mqtt: Library::PahoMqtt5,
    aiomqtt: Library::Aiomqtt5,
    mqtt_js: Library::MqttJs5,
}

/// aiomqtt tells nobody of a refusal.
#[test]
fn paho_mqtt_and_mqtt_js_are_told_why_a_publication_is_refused() {
    for library in [Library::PahoMqtt5, Library::MqttJs5] {
        check(library, scenario::v5::refusal);
    }
}

#[test]
fn nobody_is_told_more_than_it_takes() {
    for library in [Library::PahoMqtt5, Library::Aiomqtt5, Library::MqttJs5] {
        check(library, scenario::v5::limits);
    }
}

#[test]
fn a_name_is_said_once_with_an_alias() {
    for library in [Library::PahoMqtt5, Library::Aiomqtt5, Library::MqttJs5] {
        check(library, scenario::v5::aliases);
    }
}

#[test]
fn the_mosquitto_tools_speak_5_0() {
    scenario::v5::mosquitto_tools(Gateway::start().mqtt());
}
