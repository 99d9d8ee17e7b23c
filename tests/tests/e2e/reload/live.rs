//! A change of each class with clients that stay connected: nobody is disconnected, and nothing
//! that is under way is lost.

use std::time::Duration;

use system_tests::client::Message;
use system_tests::client::mqtt::{MqttClient, Version};
use system_tests::client::sn::SnClient;
use system_tests::gateway::{Builder, Gateway};

/// Something of each class.
fn changed() -> Builder {
    Gateway::builder()
        .top("data_dir = \"elsewhere\"")
        .listener("mqtt", "127.0.0.1:0", "")
        .listener("mqtt-sn", "127.0.0.1:0", "max_datagram = 200\nmulticast_ttl = 2")
        .listener("ws", "127.0.0.1:0", "")
        .mqtt_sn("retry_ms = 150\nretry_max = 2")
        .limits("queue_messages = 500\ninflight = 3\npacket_bytes = 5000")
        .text("[mqtt]\nmaximum_qos = 1\n[log]\nlevel = \"debug\"")
}

const TOLD: [&str; 12] = [
    "WARN data_dir: \"data\" → \"elsewhere\" needs a restart",
    "WARN listener of ws 127.0.0.1:0: none → there needs a restart",
    "WARN listener.multicast_ttl of mqtt-sn 127.0.0.1:0: 1 → 2 needs a restart",
    "INFO listener.max_datagram of mqtt-sn 127.0.0.1:0: 1024 → 200",
    "INFO mqtt.maximum_qos: 2 → 1, for what connects from now on",
    "INFO mqtt_sn.retry_ms: 10000 → 150",
    "INFO mqtt_sn.retry_max: 4 → 2",
    "INFO limits.packet_bytes: 1048576 → 5000, for what connects from now on",
    "INFO limits.queue_messages: 1000 → 500",
    "INFO limits.inflight: 20 → 3, for what connects from now on",
    "INFO log.level: \"info\" → \"debug\"",
    "reloaded: 12 changes, 3 need a restart",
];

#[test]
fn a_change_of_each_class_takes_effect_when_it_should_and_loses_nothing() {
    let mut gateway = Gateway::start();
    let mut writer = MqttClient::options("writer").version(Version::V5).connect(gateway.mqtt());
    let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
    let mut sensor = SnClient::options("sensor").persistent().connect(gateway.mqtt_sn());
    reader.subscribe("#", 2);
    sensor.subscribe("to/sensor", 1);
    let id = sensor.register("from/sensor");
    // Half of a publication of QoS 2 from each side, and half of a delivery to each.
    writer.send("34 0A 00 01 't' 00 07 00 'half'");
    writer.expect("50 ...");
    sensor.send(&format!("0B 0C 40 {:02X} {:02X} 00 09 'half'", id >> 8, id & 0xFF));
    sensor.expect("04 0F 00 09");
    let first = reader.receive();
    writer.publish("to/sensor", "unacknowledged", 1);
    let delivery = sensor.receive();

    let log = gateway.reload(changed());
    for text in TOLD {
        assert!(log.contains(text), "no `{text}` in\n{log}");
    }

    // The other halves.
    writer.send("62 02 00 07");
    writer.expect("70 ...");
    sensor.send("04 10 00 09");
    let topic = delivery[3..5].iter().chain(&delivery[5..7]);
    let (topic, mut puback) = (topic.copied().collect::<Vec<u8>>(), vec![7, 0x0D]);
    puback.extend(topic);
    puback.push(0);
    // What the gateway repeats meanwhile is not looked at.
    while sensor.receive() != [4, 0x0E, 0, 9] {}
    sensor.send_octets(&puback);
    reader.send_octets(&[0x50, 2, first[first.len() - 6], first[first.len() - 5]]);
    // Who is connected keeps what it was promised: QoS 2 and large packets.
    let large = "x".repeat(6_000);
    writer.publish("large", &large, 2);
    let mut texts: Vec<String> = Vec::new();
    while texts.last() != Some(&large) {
        texts.push(reader.next_message().text());
    }
    assert!(texts.contains(&"unacknowledged".to_owned()), "{texts:?}");
    writer.ping();

    // Who comes now is told something else.
    let mut new = MqttClient::open(gateway.mqtt());
    new.send_connect(&MqttClient::options("new").version(Version::V5));
    let connack = new.receive();
    assert!(connack.windows(2).any(|pair| pair == [0x24, 1]), "Maximum QoS 1: {connack:02X?}");
    // A second reading finds what still waits for a restart, and nothing else.
    let log = gateway.hang_up();
    assert!(log.contains("reloaded: 3 changes, 3 need a restart"), "{log}");
    sensor.reconnect(SnClient::options("sensor").persistent());
}

/// A lower bound than what waits: a sensor that slept over it gets everything, and what comes then
/// is refused or makes room as it should.
#[test]
fn a_sensor_that_sleeps_over_it_gets_everything_that_was_kept() {
    let mut gateway = Gateway::start();
    let mut sensor = SnClient::options("sensor").persistent().connect(gateway.mqtt_sn());
    sensor.subscribe("t", 1);
    sensor.sleep(600);
    let mut writer = MqttClient::connect(gateway.mqtt(), "writer");
    (0..9).for_each(|n| {
        writer.publish("t", n.to_string(), 1);
    });
    gateway.reload(
        Gateway::builder()
            .limits("queue_messages = 3\npacket_bytes = 1000\nqueue_bytes = 1000")
            .mqtt_sn("sleep_queue_qos0_messages = 1\nawake_retry_ms = 300\nidle_timeout_s = 100"),
    );
    let texts =
        |messages: Vec<Message>| messages.iter().map(Message::text).collect::<Vec<_>>().join(" ");
    assert_eq!(texts(sensor.wake()), "0 1 2 3 4 5 6 7 8");
    // From now on three wait, the latest.
    (0..9).for_each(|n| {
        writer.publish("t", n.to_string(), 1);
    });
    assert_eq!(texts(sensor.wake()), "6 7 8");
    sensor.publish("from/sensor", "1", 2);
}

/// Signals come faster than files are read; traffic of every QoS goes on over all of them.
#[test]
fn a_hundred_signals_in_a_row_lose_nothing() {
    let mut gateway = Gateway::start();
    let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
    reader.subscribe("#", 2);
    let mut writer = MqttClient::connect(gateway.mqtt(), "writer");
    let mut sensor = SnClient::options("sensor")
        .persistent()
        .retry(Duration::from_millis(500))
        .connect(gateway.mqtt_sn());
    sensor.subscribe("to/sensor", 1);
    for n in 0..100_u32 {
        let odd = u8::from(n % 2 == 1);
        gateway.write_config(
            Gateway::builder()
                .limits(&format!("queue_messages = {}\nsessions = {}", 2_000 + n, 10 + odd))
                .mqtt_sn(&format!("retry_ms = {}\nadvertise_s = {odd}", 1_000 + n))
                .predefined(7, "seven"),
        );
        gateway.process().signal("HUP");
        let text = n.to_string();
        writer.publish("w", &text, 2);
        sensor.publish("s", &text, 1 + odd);
        writer.publish("to/sensor", &text, 1);
        sensor.expect_message("to/sensor", &text, 1);
    }
    let mut came = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..300 {
        let message = reader.next_message();
        let of = ["w", "s", "to/sensor"].iter().position(|topic| *topic == message.topic);
        came[of.expect("one of them")].push(message.text());
    }
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert!(came.iter().all(|came| *came == expected), "{came:?}");
    reader.expect_nothing();
    // The last file counts, whenever its signal came.
    assert!(gateway.process().wait_for_log("→ 2099"), "limits.queue_messages");
    sensor.disconnect();
}

/// Those beyond the new bound stay, and nobody else comes in.
#[test]
fn fewer_connections_close_none() {
    let few = "connections = 2\nconnections_per_source_unidentified = 2";
    let mut gateway = Gateway::start();
    let connect = |n: usize| MqttClient::connect(gateway.mqtt(), &format!("client{n}"));
    let mut clients: Vec<MqttClient> = (0..5).map(connect).collect();
    gateway.reload(Gateway::builder().limits(few));
    clients.iter_mut().for_each(MqttClient::ping);
    MqttClient::open(gateway.mqtt()).expect_closed();
    clients.iter_mut().for_each(MqttClient::ping);
    gateway.reload(Gateway::builder());
    MqttClient::connect(gateway.mqtt(), "one more").ping();
    clients.iter_mut().for_each(MqttClient::ping);
}

/// The program takes what the command line says from there, whatever the file says.
#[test]
fn the_command_line_goes_before_the_file_still() {
    let mut gateway = Gateway::builder().arg("-v").start();
    let log = gateway.reload(Gateway::builder().text("[log]\nlevel = \"error\"").arg("-v"));
    assert!(log.contains("reloaded: 0 changes, 0 need a restart"), "{log}");
}

#[test]
fn the_log_changes_its_level_and_its_format() {
    let mut gateway = Gateway::start();
    let log = |format: &str, level: &str| {
        Gateway::builder().text(&format!("[log]\nformat = \"{format}\"\nlevel = \"{level}\""))
    };
    gateway.write_config(log("json", "warn"));
    gateway.process().signal("HUP");
    assert!(gateway.process().wait_for_log("reloaded: 2 changes"));
    MqttClient::connect(gateway.mqtt(), "unheard-of").disconnect();
    gateway.write_config(log("text", "info"));
    gateway.process().signal("HUP");
    assert!(gateway.process().wait_for_log_lines("reloaded: 2 changes", 2));
    MqttClient::connect(gateway.mqtt(), "told").disconnect();
    assert!(gateway.process().wait_for_log("client=\"told\""));
    assert!(!gateway.process().log().contains("unheard-of"), "{}", gateway.process().log());
}
