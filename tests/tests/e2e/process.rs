//! The process: what it says when it is ready, how it ends, how it comes back.

use std::net::SocketAddr;
use std::process::Command;

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::{self, Gateway};
use system_tests::process::{PATIENCE, Process, Silence};

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

/// Without a file: the options name the listeners, each as often as it is wanted.
#[test]
fn options_name_the_listeners() {
    let mut command = Command::new(gateway::binary());
    command.args(["--mqtt", "127.0.0.1:0", "--mqtt-sn", "127.0.0.1:0", "--mqtt", "[::1]:0"]);
    command.args(["--mqtt-sn", "127.0.0.2:0", "--log-format", "json", "-v"]);
    let mut process = Process::spawn("mqtt-sn-gw", &mut command);
    let ready = process.next_line(PATIENCE).expect("a ready line");
    let fields: Vec<_> = ready.split(' ').collect();
    let ["ready", mqtt, sn] = fields[..] else { panic!("{ready}") };
    let addresses = |field: &str, kind| -> Vec<SocketAddr> {
        let list = field.strip_prefix(kind).expect("this kind").split(',');
        list.map(|address| address.parse().expect("IP:PORT")).collect()
    };
    let (mqtt, sn) = (addresses(mqtt, "mqtt="), addresses(sn, "mqtt-sn="));
    assert_eq!((mqtt.len(), sn.len()), (2, 2));
    assert!(mqtt[1].is_ipv6() && mqtt.iter().chain(&sn).all(|address| address.port() != 0));
    let mut client = MqttClient::connect(mqtt[1], "client");
    client.subscribe("a", 1);
    SnClient::connect(sn[1], "sensor").publish("a", "hi", 1);
    client.expect_message("a", "hi", 1);
    process.signal("TERM");
    // Nothing but that line was ever printed.
    assert_eq!(process.next_line(PATIENCE), Err(Silence::Ended));
    assert!(process.wait().success());
}

/// Without anything: both kinds on port 1883 of this machine, seen in a network of its own, where
/// the port is free.
#[test]
fn alone_it_serves_this_machine_on_port_1883() {
    let mut command = Command::new("unshare");
    command.args(["--net", "--map-root-user", "sh", "-c", "ip link set lo up && exec \"$0\""]);
    let mut process = Process::spawn("unshare", command.arg(gateway::binary()));
    match process.next_line(PATIENCE) {
        Ok(ready) => {
            let addresses = "127.0.0.1:1883,[::1]:1883";
            assert_eq!(ready, format!("ready mqtt={addresses} mqtt-sn={addresses}"));
        }
        Err(silence) => {
            assert_eq!(silence, Silence::Ended, "{}", process.log());
            eprintln!("NOT RUN: this machine gives no network of its own: {}", process.log());
        }
    }
    process.kill();
}

/// Clients of both kinds are told, and the status says that all is well.
#[test]
fn a_gateway_that_is_asked_to_end_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut gateway = Gateway::start();
        let mut client = MqttClient::connect(gateway.mqtt(), "client");
        let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
        gateway.process().signal(signal);
        client.expect_closed();
        sensor.expect("02 18");
        assert_eq!(gateway.wait().code(), Some(0), "after SIG{signal}");
    }
}

/// What was acknowledged before the signal is delivered before the end.
#[test]
fn what_waits_is_written_before_the_end() {
    let mut gateway = Gateway::start();
    let mut reader = MqttClient::connect(gateway.mqtt(), "reader");
    reader.subscribe("a", 0);
    let mut writer = MqttClient::connect(gateway.mqtt(), "writer");
    for number in 0..20_u8 {
        writer.publish("a", vec![number; 10_000], 1);
    }
    gateway.process().signal("TERM");
    for number in 0..20_u8 {
        assert_eq!(reader.next_message().payload[0], number);
    }
    reader.expect_closed();
    assert_eq!(gateway.wait().code(), Some(0));
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
