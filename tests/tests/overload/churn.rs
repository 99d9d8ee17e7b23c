//! Things that come and go, and things that all go at once.

use std::io::{Read, Write};
use std::time::Duration;

use system_tests::client::mqtt::{MqttClient, Version, packet, publish_packet};
use system_tests::gateway::Gateway;
use system_tests::process::PATIENCE;

use super::crowd::{Crowd, connect_packet, push};
use super::{Attack, amount};

/// Subscriptions that come and go leave nothing behind.
#[test]
fn subscribing_and_unsubscribing_for_ever_takes_no_memory() {
    let mut attack = Attack::begin_small("subscription churn", Gateway::builder());
    let mut client = MqttClient::connect(attack.gateway.mqtt(), "churn");
    client.set_timeout(PATIENCE);
    let cycles = amount(200_000, 1_000_000);
    let batch = 500;
    let mut after_first = 0;
    for cycle in 0..cycles / batch {
        let filters: Vec<_> = (0..batch).map(|n| format!("c/{cycle}/{n}/+/x")).collect();
        let fields = |options: &[u8]| {
            let field = |filter: &String| {
                let length = u16::try_from(filter.len()).expect("short").to_be_bytes();
                [&length, filter.as_bytes(), options].concat()
            };
            [vec![0, 1], filters.iter().flat_map(field).collect()].concat()
        };
        client.send_octets(&packet(0x82, &fields(&[1])));
        client.receive();
        client.send_octets(&packet(0xA2, &fields(&[])));
        client.expect("B0 02 00 01");
        if cycle == 10 {
            after_first = attack.growth();
        }
    }
    let grown = attack.growth();
    assert!(grown <= after_first + (2 << 20), "{after_first} octets became {grown}");
    attack.sys.wait_for("subscriptions/count", |count| count == 3);
    attack.end(8);
}

/// Sessions that end by themselves: all of them in the same second, with all that they hold.
#[test]
fn sessions_that_end_all_at_once_hold_nobody_up() {
    let builder = Gateway::builder().limits("session_expiry_s = 2");
    let mut attack = Attack::begin("expiry of all", builder);
    let (count, filters) = (amount(2_000, 10_000), 20);
    let mut body = vec![0, 1];
    for number in 0..filters {
        let filter = format!("f/{number}");
        body.extend([0, u8::try_from(filter.len()).expect("short")]);
        body.extend(filter.as_bytes());
        body.push(1);
    }
    let subscribe = packet(0x82, &body);
    let mut crowd = Crowd::open(attack.gateway.mqtt(), 0);
    for number in 0..count {
        crowd.add(attack.gateway.mqtt());
        let stream = crowd.streams().last_mut().expect("just added");
        let options = MqttClient::options(&format!("kept{number}")).persistent();
        let octets = [options.packet(), subscribe.clone()].concat();
        stream.write_all(&octets).expect("a server that reads");
        let mut answers = vec![0; 4 + 4 + filters];
        stream.set_read_timeout(Some(PATIENCE)).expect("above zero");
        stream.read_exact(&mut answers).expect("CONNACK and SUBACK");
    }
    drop(crowd);
    // Each of them keeps a hundred messages.
    let mut publisher = MqttClient::connect(attack.gateway.mqtt(), "publisher");
    publisher.set_timeout(PATIENCE);
    for number in 0..100 {
        publisher.publish(&format!("f/{}", number % filters), "kept", 1);
    }
    attack.sys.wait_for("clients/expired", |expired| expired >= count as u64);
    attack.sys.wait_for("messages/queued", |queued| queued < 10);
    attack.sys.wait_for("subscriptions/count", |count| count == 3);
    eprintln!("expiry of all: longest turn {:?}", attack.sys.longest_turn());
    // The store keeps a file that it gives up in memory, and what waits for the disk.
    attack.end(if count == 2_000 { 64 } else { 200 });
}

/// A hundred thousand retained messages are kept and deleted, again and again.
#[test]
fn retained_messages_that_are_deleted_give_their_memory_back() {
    let count = amount(20_000, 100_000);
    let mut attack = Attack::begin("retained churn", Gateway::builder());
    let mut stream = std::net::TcpStream::connect(attack.gateway.mqtt()).expect("a server");
    stream.write_all(&connect_packet("keeper")).expect("a server that reads");
    let mut grown = Vec::new();
    for _ in 0..amount(2, 5) {
        for payload in [&[7; 200][..], &[]] {
            let all = (0..count).flat_map(|number| {
                publish_packet(Version::V311, &format!("keep/{number}"), payload, 1, 0)
            });
            let all: Vec<u8> = all.collect();
            stream.write_all(&all).expect("the keeper is not cut");
            let expected = if payload.is_empty() { 0 } else { count as u64 };
            attack.sys.wait_for("limits/retained_messages/used", |used| used == expected);
        }
        grown.push(attack.growth());
    }
    eprintln!("retained churn: grew {grown:?}");
    // What the store has in hand at the moment: a file of 4 MiB that it gives up, and a batch.
    assert!(grown[grown.len() - 1] <= grown[0] + (8 << 20), "{grown:?}");
    attack.end(if count == 20_000 { 24 } else { 96 });
}

/// Clients that come, say something and go, thousands of times a second.
#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let mut attack = Attack::begin_small("client churn", Gateway::builder());
    let mut after_first = 0;
    let rounds = amount(20, 200);
    for round in 0..rounds {
        let mut crowd = Crowd::connect(attack.gateway.mqtt(), 100, &format!("r{round}-"));
        crowd.push(&packet(0x82, b"\0\x01\0\x03c/#\x01"));
        for stream in crowd.streams() {
            push(stream, &publish_packet(Version::V311, "c/x", b"hello", 2, 7));
        }
        crowd.push(&[0xE0, 0]);
        crowd.expect_closed();
        if round == rounds / 4 {
            after_first = attack.growth();
        }
    }
    let grown = attack.growth();
    assert!(grown <= after_first + (2 << 20), "{after_first} octets became {grown}");
    attack.sys.wait_for("clients/total", |count| count == 3);
    attack.sys.wait_for("connections/socket/count", |count| count == 2);
    assert!(attack.sys.longest_turn() < Duration::from_secs(1));
    attack.end(8);
}
