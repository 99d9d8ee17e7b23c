//! MQTT clients over TCP.

use system_tests::foreign::driver::Library;
use system_tests::gateway::Gateway;
use system_tests::scenario::{self, Scenario};

fn check(library: Library, scenario: Scenario) {
    scenario(library, Gateway::start().mqtt());
}

system_tests::scenario_tests! {
    check,
    paho_mqtt: Library::PahoMqtt,
    mqtt_js: Library::MqttJs,
}

#[test]
fn the_mosquitto_tools_publish_subscribe_and_leave_a_will() {
    scenario::mosquitto_tools(Gateway::start().mqtt());
}
