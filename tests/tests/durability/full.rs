//! A full disk: what cannot be kept is refused, all else goes on, and with room all is well again.

use std::time::Instant;

use system_tests::client::mqtt::{MqttClient, Version, publish_packet};
use system_tests::client::sn::{SnClient, Topic, publish_message};
use system_tests::gateway::Gateway;
use system_tests::sys::{EVERY_SECOND, Sys};

use crate::faulty::{FaultyDisk, RECOVERY, Teller, assert_kept};

/// The room for all files of the folder.
const ROOM: &str = "room 8000000";

fn start(disk: &FaultyDisk) -> Gateway {
    disk.gateway().limits("queue_bytes = 16000000").text(EVERY_SECOND).start()
}

/// Somebody subscribes and is away from then on.
fn leave(gateway: &Gateway, client_id: &str, filter: &str, qos: u8) {
    let mut client = MqttClient::options(client_id).persistent().connect(gateway.mqtt());
    client.subscribe(filter, qos);
    client.vanish();
}

/// Fills the disk with messages for a reader who is away.
fn fill(disk: &FaultyDisk, gateway: &Gateway) -> Teller {
    leave(gateway, "reader", "told/#", 1);
    disk.order(ROOM);
    let mut teller = Teller::connect(gateway, "filler", 8_000);
    teller.tell_until_refused();
    teller
}

/// A gateway with a reader who is away, on a disk that is full.
fn full(disk: &FaultyDisk) -> (Gateway, Teller) {
    let gateway = start(disk);
    let teller = fill(disk, &gateway);
    assert!(gateway.process().wait_for_log("the store cannot be written"));
    (gateway, teller)
}

/// Nothing is acknowledged that is not stored, whoever published it, and it heals alone (DU4).
#[test]
fn a_full_disk_refuses_until_there_is_room_and_loses_nothing() {
    let disk = FaultyDisk::new();
    let (mut gateway, mut teller) = full(&disk);
    assert!(teller.accepted.len() > 100, "{}", teller.accepted.len());
    for _ in 0..20 {
        assert!(!teller.tell(), "there is no room for it");
    }
    Sys::watch(gateway.mqtt()).wait_for("publish/messages/refused_store", |refused| refused > 20);
    disk.heal();
    teller.tell_until_taken();
    for _ in 0..20 {
        assert!(teller.tell());
    }
    gateway.kill9();
    gateway.restart();
    assert_kept(&gateway, "reader", &teller.accepted);
}

/// It is its own messages that fill the disk, and it has room again as soon as they are taken.
#[test]
fn a_store_that_fills_its_disk_has_room_again_when_its_messages_are_taken() {
    let disk = FaultyDisk::new();
    let builder = disk.gateway().limits("queue_bytes = 16000000").text(EVERY_SECOND);
    let mut gateway = builder.start();
    let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
    reader.subscribe("queue", 1);
    reader.vanish();
    disk.order(ROOM);
    let mut writer = MqttClient::options("writer").version(Version::V5).connect(gateway.mqtt());
    let mut count = 0;
    let mut write = |count: &mut u32| {
        let is_taken = writer.publish_with("queue", format!("{count} {:8000}", ""), "") == 0;
        *count += u32::from(is_taken);
        is_taken
    };
    for _ in 0..3 {
        while write(&mut count) {
            assert!(count < 2_000, "there is no end");
        }
        let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
        reader.publish("queue", "end", 0);
        while reader.next_message().text() != "end" {}
        reader.vanish();
        let began = Instant::now();
        while !write(&mut count) {
            assert!(began.elapsed() < RECOVERY, "nothing is left in the queue");
        }
    }
    assert!(disk.used() < 8_000_000, "{}", disk.used());
    gateway.kill9();
    gateway.restart();
    let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
    assert!(reader.next_message().text().starts_with(&(count - 1).to_string()));
    MqttClient::connect(gateway.mqtt(), "new").publish_retained("room", "again", 1);
}

/// A message of QoS 2 needs a change before it can be delivered, and two more before it is gone:
/// there is room for these.
#[test]
fn messages_of_qos_2_are_taken_from_a_full_disk_and_make_room() {
    const COUNT: usize = 300;
    let disk = FaultyDisk::new();
    let gateway = start(&disk);
    leave(&gateway, "exact", "exact", 2);
    let mut writer = MqttClient::connect(gateway.mqtt(), "writer");
    for number in 0..COUNT {
        writer.publish("exact", format!("{number} {:4000}", ""), 2);
    }
    let mut teller = fill(&disk, &gateway);
    let mut reader = MqttClient::options("exact").persistent().connect(gateway.mqtt());
    for number in 0..COUNT {
        let message = reader.next_message();
        let text = message.text();
        assert_eq!((text.split(' ').next(), message.qos), (Some(&*number.to_string()), 2));
    }
    teller.tell_until_taken();
}

/// Likewise if the process dies while the disk is full, and is started on the full disk.
#[test]
fn what_was_acknowledged_before_the_disk_was_full_survives_a_kill() {
    let disk = FaultyDisk::new();
    let (mut gateway, teller) = full(&disk);
    gateway.kill9();
    gateway.restart();
    assert_kept(&gateway, "reader", &teller.accepted);
    let mut teller = Teller::connect(&gateway, "second", 8_000);
    teller.tell_until_refused();
    disk.heal();
    teller.tell_until_taken();
}

#[test]
fn publishers_of_5_0_are_told_at_every_qos_and_those_of_3_1_1_hear_nothing() {
    let disk = FaultyDisk::new();
    let (gateway, mut teller) = full(&disk);
    // Connecting and subscribing promises nothing here.
    let mut new = MqttClient::options("new").version(Version::V5).connect(gateway.mqtt());
    new.subscribe("told/live", 0);
    new.send_octets(&publish_packet(Version::V5, "told/x", b"two", 4, 7));
    new.expect("50 ?? 00 07 97 …");
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    old.subscribe("told/live", 2);
    for (qos, id) in [(1, 1), (2, 2)] {
        old.send_octets(&publish_packet(Version::V311, "told/old", b"silence", qos << 1, id));
    }
    old.ping();
    // Bystanders notice nothing, and QoS 0 goes both ways.
    old.publish("told/live", "hi", 0);
    for client in [&mut new, &mut old] {
        client.expect_message("told/live", "hi", 0);
        client.unsubscribe("told/live");
        client.ping();
    }
    disk.heal();
    // What was heard without an answer is answered when it is safe.
    old.expect("40 02 00 01");
    old.expect("50 02 00 02");
    teller.tell_until_taken();
}

#[test]
fn sensors_are_told_of_congestion_and_served_otherwise() {
    let disk = FaultyDisk::new();
    let (gateway, _) = full(&disk);
    let mut watcher = MqttClient::connect(gateway.mqtt(), "watcher");
    watcher.subscribe("told/sensor", 2);
    let mut sensor = SnClient::connect(gateway.mqtt_sn(), "sensor");
    let topic_id = sensor.register("told/sensor");
    let topic = Topic::from("told/sensor");
    let id = format!("{:02X} {:02X}", topic_id >> 8, topic_id & 0xFF);
    for (qos, msg_id) in [(1, 0x11), (2, 0x12)] {
        sensor.send_octets(&publish_message(&topic, topic_id, b"later", qos << 5, msg_id));
        sensor.expect(&format!("07 0D {id} 00 {msg_id:02X} 01"));
    }
    sensor.publish("told/sensor", "now", 0);
    watcher.expect_message("told/sensor", "now", 0);
    sensor.subscribe("told/answer", 1);
    watcher.publish("told/answer", "go on", 0);
    sensor.expect_message("told/answer", "go on", 0);
    sensor.ping();
    disk.heal();
    let began = Instant::now();
    loop {
        sensor.send_octets(&publish_message(&topic, topic_id, b"later", 0xA0, 0x13));
        let puback = sensor.receive();
        if puback.ends_with(&[0]) {
            break;
        }
        assert!(began.elapsed() < RECOVERY, "there is room again");
    }
    watcher.expect_message("told/sensor", "later", 1);
}

/// What is promised durably waits, and comes with the room.
#[test]
fn sessions_that_live_on_are_promised_nothing_before_there_is_room() {
    let disk = FaultyDisk::new();
    let (mut gateway, _) = full(&disk);
    let mut kept = MqttClient::open(gateway.mqtt());
    kept.send_connect(&MqttClient::options("kept").persistent());
    // Behind it, the proof that it was heard.
    MqttClient::connect(gateway.mqtt(), "other").ping();
    disk.heal();
    kept.expect("20 02 00 00");
    kept.subscribe("mine", 1);
    gateway.kill9();
    gateway.restart();
    let mut kept = MqttClient::options("kept").persistent().connect(gateway.mqtt());
    assert!(kept.session_present);
    kept.publish("mine", "still", 1);
    kept.expect_message("mine", "still", 1);
}
