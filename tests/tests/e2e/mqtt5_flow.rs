//! Full queues: the configured policy decides, who was affected is told, and what was dropped is
//! counted for each client.

use system_tests::client::Message;
use system_tests::client::mqtt::{MqttClient, Options, Version};
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;
use system_tests::sys::{EVERY_SECOND, Sys};

/// PUBACK: nobody who subscribed had room.
const QUOTA_EXCEEDED: u8 = 0x97;

/// Messages that wait for one client; a round of `$SYS` values for the watcher is less.
const ROOM: usize = 500;

fn gateway(policy: &str) -> Gateway {
    let limits = format!("queue_messages = {ROOM}\nqueue_overflow = \"{policy}\"");
    Gateway::builder().limits(&limits).text(EVERY_SECOND).start()
}

fn kept(client_id: &str) -> Options {
    MqttClient::options(client_id).persistent().properties("11 00 00 FF FF")
}

fn publisher(gateway: &Gateway) -> MqttClient {
    MqttClient::options("publisher").version(Version::V5).connect(gateway.mqtt())
}

/// Publishes `0`, `1`, …; returns the reasons of PUBACK.
fn publish_numbers(publisher: &mut MqttClient, count: usize) -> Vec<u8> {
    (0..count).map(|number| publisher.publish_with("t/x", number.to_string(), "")).collect()
}

/// So many successes, then so many refusals.
fn reasons(accepted: usize, refused: usize) -> Vec<u8> {
    [vec![0; accepted], vec![QUOTA_EXCEEDED; refused]].concat()
}

/// The numbers of these messages go from `first` on without a gap.
#[track_caller]
fn assert_numbers(messages: &[Message], first: usize) {
    for (number, message) in (first..).zip(messages) {
        assert_eq!(message.text(), number.to_string());
    }
}

#[track_caller]
fn assert_dropped(gateway: &Gateway, by_client: &[(&str, u64)]) {
    let mut sys = Sys::watch(gateway.mqtt());
    for (client_id, count) in by_client {
        sys.wait_for(&format!("clients/dropped/{client_id}"), |dropped| dropped == *count);
    }
    let total = by_client.iter().map(|(_, count)| count).sum::<u64>();
    sys.wait_for("dropped/queue_full", |dropped| dropped == total);
}

/// [MQTT5-4.9.0-1]: the publisher learns that nobody had room, and only then.
#[test]
fn reject_new_tells_a_publisher_of_5_0_when_every_match_was_full() {
    let gateway = gateway("reject-new");
    let mut away = kept("away").connect(gateway.mqtt());
    away.subscribe("t/#", 1);
    away.vanish();
    let mut publisher = publisher(&gateway);
    assert_eq!(publish_numbers(&mut publisher, ROOM + 2), reasons(ROOM, 2));
    // Of QoS 2 the refusal is PUBREC, and the handshake ends there.
    publisher.send("34 09 00 03 't/x' 00 77 00 '5'");
    publisher.expect("50 ?? 00 77 97 …");
    // Somebody who has room makes it a success.
    let mut reader = MqttClient::connect(gateway.mqtt(), "reader");
    reader.subscribe("t/#", 1);
    assert_eq!(publisher.publish_with("t/x", "6", ""), 0);
    reader.expect_message("t/x", "6", 1);
    // Older publishers cannot be told.
    let mut old = MqttClient::connect(gateway.mqtt(), "old");
    reader.disconnect();
    old.publish("t/x", "7", 1);
    let mut away = kept("away").connect(gateway.mqtt());
    assert_numbers(&away.collect(ROOM), 0);
    away.expect_nothing();
    assert_dropped(&gateway, &[("away", 5)]);
}

#[test]
fn drop_oldest_accepts_what_is_new_and_counts_what_it_pushed_out() {
    let gateway = gateway("drop-oldest");
    let mut away = kept("away").connect(gateway.mqtt());
    away.subscribe("t/#", 1);
    away.vanish();
    assert_eq!(publish_numbers(&mut publisher(&gateway), ROOM + 2), reasons(ROOM + 2, 0));
    let mut away = kept("away").connect(gateway.mqtt());
    assert_numbers(&away.collect(ROOM), 2);
    away.expect_nothing();
    assert_dropped(&gateway, &[("away", 2)]);
}

/// A client without credit (it acknowledges nothing) is told why it is let go; its queue stays.
#[test]
fn disconnect_lets_a_client_go_that_does_not_keep_up() {
    let gateway = gateway("disconnect");
    let mut slow = MqttClient::open(gateway.mqtt());
    let options = MqttClient::options("slow").persistent().properties("11 00 00 FF FF 21 00 01");
    slow.send_connect(&options);
    slow.receive();
    slow.send("82 09 00 01 00 00 03 't/#' 01");
    slow.expect("90 04 00 01 00 01");
    let mut publisher = publisher(&gateway);
    // One is on its way and the others wait; one more is too many.
    assert_eq!(publish_numbers(&mut publisher, ROOM + 2), reasons(ROOM + 1, 1));
    slow.expect("32 09 00 03 't/x' ?? ?? 00 '0'");
    slow.expect("E0 ?? 97 …");
    slow.expect_closed();
    let mut back = kept("slow").connect(gateway.mqtt());
    assert_numbers(&back.collect(ROOM + 1), 0);
    back.expect_nothing();
    assert_dropped(&gateway, &[("slow", 1)]);
}

/// D6: sensors that sleep keep the newest, whatever the others do; a publisher is told 0x97 for
/// nobody whose policy it is to make room.
#[test]
fn a_sensor_that_sleeps_keeps_the_newest() {
    let gateway = gateway("reject-new");
    let mut sensor = SnClient::options("sensor").persistent().connect(gateway.mqtt_sn());
    sensor.subscribe("t/#", 1);
    sensor.sleep(600);
    assert_eq!(publish_numbers(&mut publisher(&gateway), ROOM + 2), reasons(ROOM + 2, 0));
    let came = sensor.wake();
    assert_eq!(came.len(), ROOM);
    assert_numbers(&came, 2);
    assert_dropped(&gateway, &[("sensor", 2)]);
}

/// [MQTT5-4.8.2-3]: full members are passed over; when all are, the publisher learns it.
#[test]
fn a_group_is_full_when_all_its_members_are() {
    let gateway = gateway("reject-new");
    for client_id in ["first", "second"] {
        let mut member = kept(client_id).connect(gateway.mqtt());
        member.subscribe("$share/g/t/#", 1);
        member.vanish();
    }
    let mut publisher = publisher(&gateway);
    assert_eq!(publish_numbers(&mut publisher, 2 * ROOM + 2), reasons(2 * ROOM, 2));
    Sys::watch(gateway.mqtt()).wait_for("dropped/unshared", |dropped| dropped == 2);
}
