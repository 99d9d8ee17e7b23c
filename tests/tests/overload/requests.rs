//! Requests that cost the gateway more than the client.

use std::io::Write;

use system_tests::client::mqtt::{MqttClient, packet};
use system_tests::gateway::Gateway;

use super::crowd::Crowd;
use super::{Attack, amount};

/// Every answer is owed, and nobody reads any: what a client is owed is bounded by not reading from
/// it.
#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let mut attack = Attack::begin("unread answers", Gateway::builder());
    let mut crowd = Crowd::connect(attack.gateway.mqtt(), 16, "deaf");
    let pings = [0xC0, 0].repeat(32 << 10);
    let mut taken = 0;
    for _ in 0..amount(2_000, 20_000) {
        taken += crowd.push(&pings);
    }
    attack.sys.wait_for("mqtt/pingreq/received", |count| count > 1_000);
    eprintln!("unread answers: {} MiB of pings were taken", taken >> 20);
    attack.end(16);
}

/// One packet names two hundred thousand filters.
#[test]
fn a_packet_full_of_filters_holds_nobody_up() {
    let attack = Attack::begin("many filters", Gateway::builder());
    let mut client = MqttClient::connect(attack.gateway.mqtt(), "many");
    let filters = |options: &[u8]| {
        let mut body = vec![0, 1];
        for number in (0..1_000).cycle() {
            let name = number.to_string();
            body.extend([0, u8::try_from(name.len()).expect("three digits")]);
            body.extend(name.as_bytes());
            body.extend(options);
            if body.len() > (1 << 20) - 16 {
                return body;
            }
        }
        unreachable!("the names never end");
    };
    for _ in 0..amount(4, 40) {
        client.send_octets(&packet(0x82, &filters(&[1])));
        let refused = client.receive().iter().filter(|code| **code == 0x80).count();
        assert!(refused > 150_000, "{refused} refused");
        client.send_octets(&packet(0xA2, &filters(&[])));
        client.expect("B0 02 00 01");
    }
    attack.end(24);
}

/// Packets that never become whole fill the memory that the limits allow, and no more.
#[test]
fn packets_that_never_end_take_no_more_than_their_share() {
    let limits = "memory_bytes = 67108864\nsessions = 1000";
    let mut attack = Attack::begin("endless packets", Gateway::builder().limits(limits));
    let mut crowd = Crowd::connect(attack.gateway.mqtt(), amount(200, 1_000), "half");
    crowd.push(&[0x30, 0xF0, 0xFF, 0x3F]);
    let piece = vec![b'a'; 16 << 10];
    for _ in 0..60 {
        for stream in crowd.streams() {
            // Those that were closed take no more.
            let _closed = stream.write_all(&piece);
        }
    }
    let closed = attack.sys.wait_for("connections/closed_memory", |count| count > 50);
    eprintln!("endless packets: {closed} closed");
    drop(crowd);
    attack.sys.wait_for("connections/socket/count", |count| count < 10);
    // The limit, and the holes that buffers leave in the heap of the C library as they grow: some
    // 30 to 50 MiB.
    attack.end(64 + 64);
}
