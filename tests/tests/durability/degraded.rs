//! `on_disk_full = "degrade"`: acknowledgements leave as in memory, and with the disk all is kept.

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;
use system_tests::sys::{EVERY_SECOND, Sys};

use crate::faulty::{FaultyDisk, Teller, assert_kept, wait_for_health};

const DEGRADE: &str = "on_disk_full = \"degrade\"";

fn degraded(disk: &FaultyDisk, order: &str) -> (Gateway, Teller) {
    let gateway = disk.gateway().top(DEGRADE).text(EVERY_SECOND).start();
    let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
    reader.subscribe("told/#", 1);
    reader.vanish();
    let mut teller = Teller::connect(&gateway, "teller", 500);
    for _ in 0..20 {
        assert!(teller.tell());
    }
    disk.order(order);
    // Whoever is first waits until it is known how the disk is. A small message may find room that
    // the log has made ahead.
    let mut first = MqttClient::connect(gateway.mqtt(), "first");
    first.publish_retained("large", "x".repeat(100_000), 1);
    assert!(gateway.process().wait_for_log("WARN the store cannot be written"));
    (gateway, teller)
}

/// What was acknowledged in between is written before anything is promised again.
#[test]
fn a_gateway_goes_on_without_its_disk_and_writes_all_when_it_is_back() {
    for order in ["room 0", "fail", "fail-sync", "read-only"] {
        let disk = FaultyDisk::new();
        let (mut gateway, mut teller) = degraded(&disk, order);
        wait_for_health(&gateway, "degraded");
        for _ in 0..200 {
            assert!(teller.tell());
        }
        let mut kept = MqttClient::options("kept").persistent().connect(gateway.mqtt());
        kept.subscribe("mine", 2);
        let mut sensor = SnClient::options("sensor").persistent().connect(gateway.mqtt_sn());
        sensor.subscribe("to/sensor", 1);
        sensor.sleep(600);
        disk.heal();
        wait_for_health(&gateway, "ok");
        assert!(teller.tell());
        gateway.kill9();
        gateway.restart();
        assert_kept(&gateway, "reader", &teller.accepted);
        let mut kept = MqttClient::options("kept").persistent().connect(gateway.mqtt());
        assert!(kept.session_present, "{order}");
        kept.publish("mine", "still", 2);
        kept.expect_message("mine", "still", 2);
        kept.publish("to/sensor", "still", 1);
        assert_eq!(sensor.wake().len(), 1, "{order}");
    }
}

/// What came and went while the disk was away costs nothing.
#[test]
fn memory_is_bounded_however_long_the_disk_is_away() {
    let disk = FaultyDisk::new();
    let (gateway, _) = degraded(&disk, "room 0");
    let mut reader = MqttClient::options("live").persistent().connect(gateway.mqtt());
    reader.subscribe("live", 1);
    let mut writer = MqttClient::connect(gateway.mqtt(), "writer");
    // Many times what is allowed to stay.
    for number in 0..300 {
        writer.publish_retained("latest", "x".repeat(50_000), 1);
        writer.publish("live", number.to_string(), 1);
        reader.expect_message("live", &number.to_string(), 1);
    }
    let mut sys = Sys::watch(gateway.mqtt());
    sys.wait_for("publish/messages/received", |received| received >= 600);
    sys.next_round();
    assert!(sys.number("store/disk/backlog_bytes") < 2 << 20, "{:?}", sys.values());
    assert!(sys.number("store/disk/failures") > 0);
}
