//! The process: what it says when it is ready, how it ends, how it comes back.

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;

/// Every listener is bound when the ready line comes, IPv6 too.
#[test]
fn the_ready_line_names_every_listener() {
    let gateway = Gateway::builder()
        .listener("mqtt", "127.0.0.1:0", "")
        .listener("mqtt", "[::1]:0", "")
        .listener("mqtt-sn", "127.0.0.1:0", "")
        .listener("mqtt-sn", "[::1]:0", "")
        .start();
    assert_eq!(gateway.endpoints("mqtt").len(), 2);
    assert_eq!(gateway.endpoints("mqtt-sn").len(), 2);
    for (number, address) in gateway.endpoints("mqtt").iter().enumerate() {
        MqttClient::connect(*address, &format!("client{number}")).disconnect();
    }
    for (number, address) in gateway.endpoints("mqtt-sn").iter().enumerate() {
        SnClient::connect(*address, &format!("sensor{number}")).disconnect();
    }
}

#[test]
fn a_gateway_that_is_asked_to_end_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut gateway = Gateway::start();
        let mut client = MqttClient::connect(gateway.mqtt(), "client");
        gateway.process().signal(signal);
        client.expect_closed();
        assert_eq!(gateway.wait().code(), Some(0), "after SIG{signal}");
    }
}

#[test]
fn a_gateway_that_died_comes_back_on_its_ports() {
    let mut gateway = Gateway::start();
    let before = (gateway.mqtt(), gateway.mqtt_sn());
    let client = MqttClient::connect(gateway.mqtt(), "client");
    gateway.kill9();
    gateway.restart();
    assert_eq!((gateway.mqtt(), gateway.mqtt_sn()), before);
    drop(client);
    MqttClient::connect(gateway.mqtt(), "client").disconnect();
}
