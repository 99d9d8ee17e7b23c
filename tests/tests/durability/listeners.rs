//! Listeners whose answers do not wait for the disk.

use system_tests::client::mqtt::{MqttClient, Version, publish_packet};
use system_tests::client::sn::SnClient;

use crate::faulty::FaultyDisk;

const ANY: &str = "127.0.0.1:0";
const MEMORY: &str = "durability = \"memory\"";

/// While one sync goes on for two seconds, who asked at one listener has his answer and who asked
/// at the other has not; what both sent is written, and survives the process as far as that came.
#[test]
fn a_listener_in_memory_answers_at_once_and_what_it_answered_is_written_behind() {
    let disk = FaultyDisk::new();
    let builder = disk.gateway().listener("mqtt", ANY, "").listener("mqtt-sn", ANY, MEMORY);
    let mut gateway = builder.listener("mqtt", ANY, MEMORY).start();
    let [safe, fast] = *gateway.endpoints("mqtt") else { panic!("two listeners of MQTT") };
    let mut safe = MqttClient::options("safe").persistent().connect(safe);
    disk.order("slow 2000");
    safe.send_octets(&publish_packet(Version::V311, "told/safe", b"1", 3, 1));
    safe.ping();
    let mut client = MqttClient::options("fast").persistent().connect(fast);
    client.subscribe("mine", 2);
    client.publish_retained("told/fast", "2", 2);
    let mut sensor = SnClient::options("sensor").persistent().connect(gateway.mqtt_sn());
    sensor.subscribe("to/sensor", 1);
    sensor.publish_retained("told/sensor", "3", 1);
    sensor.sleep(600);
    // All that went on during one sync.
    safe.ping();
    safe.expect("40 02 00 01");
    disk.heal();
    // This one is behind all of it.
    safe.publish("told/last", "4", 1);
    gateway.kill9();
    gateway.restart();
    let mut client = MqttClient::options("fast").persistent().connect(gateway.endpoints("mqtt")[1]);
    assert!(client.session_present);
    client.publish("mine", "still", 2);
    client.expect_message("mine", "still", 2);
    client.subscribe("told/+", 0);
    let mut kept: Vec<_> = client.collect(3).into_iter().map(|message| message.topic).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["told/fast", "told/safe", "told/sensor"]);
    client.publish("to/sensor", "still", 1);
    assert_eq!(sensor.wake().len(), 1);
}
