//! MQTT clients over WebSocket; the other end of each scenario speaks MQTT over TCP.

use std::net::SocketAddr;

use system_tests::foreign::driver::Library;
use system_tests::gateway::Gateway;
use system_tests::scenario::Scenario;

fn check(library: fn(SocketAddr) -> Library, scenario: Scenario) {
    let gateway = Gateway::builder()
        .listener("mqtt", "127.0.0.1:0", "")
        .listener("ws", "127.0.0.1:0", "")
        .start();
    scenario(library(gateway.endpoints("ws")[0]), gateway.mqtt());
}

system_tests::scenario_tests! {
    check,
    paho_mqtt: Library::PahoMqttWs,
    mqtt_js: Library::MqttJsWs,
}

/// With MQTT 5.0.
mod v5 {
    use super::*;

    mod as_ever {
        use super::*;

        system_tests::scenario_tests! {
            check,
            mqtt_js: Library::MqttJs5Ws,
        }
    }

    system_tests::scenario_tests_of_5! {
        check,
        mqtt_js: Library::MqttJs5Ws,
    }
}
