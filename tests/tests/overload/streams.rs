//! Octets on a TCP connection that were the end of other brokers, and some that nobody has thought
//! of yet. Each takes at most the connection that said them.

use std::io::{Read, Write};
use std::net::TcpStream;

use system_tests::client::Will;
use system_tests::client::mqtt::{MqttClient, Version, packet, publish_packet};
use system_tests::gateway::Gateway;
use system_tests::hex::octets;
use system_tests::process::PATIENCE;

use super::crowd::{connect_packet, is_closed};
use super::{Attack, amount};

/// What is said on a connection of its own, after CONNECT or in its place.
fn say(attack: &Attack, is_connected: bool, octets: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(attack.gateway.mqtt()).expect("a server that accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("above zero");
    if is_connected {
        stream.write_all(&connect_packet("offender")).expect("a server that reads");
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).expect("CONNACK");
    }
    // It may be closed before everything was said.
    let _closed = stream.write_all(octets);
    stream
}

#[track_caller]
fn check_closed(attack: &Attack, is_connected: bool, octets: &[u8]) {
    let mut stream = say(attack, is_connected, octets);
    let start = &octets[..octets.len().min(16)];
    assert!(is_closed(&mut stream), "open after {start:02X?}…");
}

fn string(text: &[u8]) -> Vec<u8> {
    [&u16::try_from(text.len()).expect("short").to_be_bytes(), text].concat()
}

/// A first packet that is no CONNECT, or is one of 256 MiB: nothing is stored for it.
#[test]
fn what_is_announced_before_connect_takes_no_memory() {
    let mut attack = Attack::begin_small("announced sizes", Gateway::builder());
    for first in 0..=255_u8 {
        if first != 0x10 {
            check_closed(&attack, false, &[first, 0xFF, 0xFF, 0xFF, 0x7F]);
        }
    }
    let mut announced = Vec::new();
    for _ in 0..100 {
        check_closed(&attack, false, &octets("10 FF FF FF 7F"));
        check_closed(&attack, false, &octets("10 FF FF FF FF 7F"));
        // Allowed, and never sent.
        announced.push(say(&attack, false, &octets("10 80 80 01 00 04 'MQTT' 04 02")));
        announced.push(say(&attack, true, &octets("30 FF FF 3F 00 01 'a'")));
    }
    attack.sys.wait_for("connections/violations", |count| count >= 455);
    attack.end(4);
}

/// A message of QoS 2 that is never released, again and again with the same identifier and with all
/// of them; releases of what was never sent; half-finished exchanges over many connections.
#[test]
fn qos_2_that_is_never_finished_takes_two_octets_a_message() {
    let mut attack = Attack::begin_small("unfinished QoS 2", Gateway::builder());
    let mut client = MqttClient::options("q2").persistent().connect(attack.gateway.mqtt());
    client.set_timeout(PATIENCE);
    let publish = |id: u16| publish_packet(Version::V311, "q2", &[7; 100], 4, id);
    for _ in 0..10_000 {
        client.send_octets(&publish(1));
        client.expect("50 02 00 01");
    }
    for id in 2..=amount(10_000, 65_535) as u16 {
        client.send_octets(&publish(id));
        let [high, low] = id.to_be_bytes();
        assert_eq!(client.receive(), [0x50, 2, high, low]);
    }
    for id in [1_u16, 7, 65_535] {
        let [high, low] = id.to_be_bytes();
        for _ in 0..1_000 {
            client.send_octets(&[0x62, 2, high, low]);
            assert_eq!(client.receive(), [0x70, 2, high, low]);
        }
    }
    client.vanish();
    for _ in 0..200 {
        let client = MqttClient::options("q2").persistent();
        let mut client = client.connect(attack.gateway.mqtt());
        assert!(client.session_present);
        client.send_octets(&publish(3));
        client.expect("50 02 00 03");
        client.send("50 02 12 34");
        client.expect("62 02 12 34");
        client.vanish();
    }
    attack.sys.wait_for("limits/received_ids/used", |used| used as usize >= amount(9_998, 65_532));
    attack.end(4);
}

/// Sixty-five thousand levels, and the deepest topic that is allowed.
#[test]
fn deep_topics_are_refused_at_the_limit_and_cost_nothing() {
    let attack = Attack::begin_small("deep topics", Gateway::builder());
    let deep = "/".repeat(65_000);
    let (at, above) = ("a/".repeat(127) + "a", "a/".repeat(128) + "a");
    let mut client = MqttClient::connect(attack.gateway.mqtt(), "deep");
    assert_eq!(client.subscribe(&deep, 0), 0x80);
    assert_eq!(client.subscribe(&above, 0), 0x80);
    assert_eq!(client.subscribe(&at, 1), 1);
    client.publish(&at, "deep", 1);
    client.expect_message(&at, "deep", 1);
    client.unsubscribe(&deep);
    for topic in [&deep, &above] {
        client.publish(topic, "too deep", 0);
        client.publish(topic, "too deep", 1);
        client.publish(topic, "too deep", 2);
    }
    client.expect_nothing();
    for topic in [&deep, &above] {
        let options = MqttClient::options("willing").will(Will::new(topic, "x", 0));
        check_closed(&attack, false, &options.packet());
    }
    attack.end(4);
}

/// The server's own topics are not for clients, neither to publish nor as a will.
#[test]
fn topics_of_the_server_are_closed_to_clients() {
    let mut attack = Attack::begin_small("server topics", Gateway::builder());
    let mut observer = MqttClient::connect(attack.gateway.mqtt(), "observer");
    for filter in ["$foo/#", "$CONTROL/#", "$share/all/+/x", "+/broker/x"] {
        observer.subscribe(filter, 2);
    }
    let mut client = MqttClient::connect(attack.gateway.mqtt(), "client");
    for topic in ["$", "$foo", "$SYS/broker/uptime", "$share/a/b", "$CONTROL/x", "$$"] {
        for qos in 0..=2 {
            client.publish_retained(topic, "mine", qos);
        }
        let will = Will::new(topic, "mine", 1).retained();
        let options = MqttClient::options("willing").will(will);
        check_closed(&attack, false, &options.packet());
    }
    observer.expect_nothing();
    attack.sys.wait_for("publish/messages/refused", |count| count >= 18);
    attack.end(4);
}

/// Topics that are none, and text that is no UTF-8, wherever text can stand.
#[test]
fn text_that_is_none_ends_the_connection() {
    let mut attack = Attack::begin_small("bad text", Gateway::builder());
    let texts: [&[u8]; 12] = [
        b"\0",
        b"a\0b",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xC0\x80",
        b"\xC1\xBF",
        b"\xE0\x80\xAF",
        b"\xF0\x80\x80\xAF",
        b"\xF5\x80\x80\x80",
        b"\xFF",
        b"\xC3",
        b"a\x80",
    ];
    for text in texts {
        let text = string(text);
        let good = string(b"good");
        let publish = [&text[..], b"payload"].concat();
        check_closed(&attack, true, &packet(0x30, &publish));
        check_closed(&attack, true, &packet(0x82, &[&[0, 1], &text[..], &[0]].concat()));
        check_closed(&attack, true, &packet(0xA2, &[&[0, 1], &text[..]].concat()));
        let connect = |flags: u8, fields: [&[u8]; 3]| {
            packet(0x10, &[b"\0\x04MQTT\x04".as_slice(), &[flags, 0, 0], &fields.concat()].concat())
        };
        check_closed(&attack, false, &connect(0x02, [&text, b"", b""]));
        check_closed(&attack, false, &connect(0x82, [&good, &text, b""]));
        check_closed(&attack, false, &connect(0x06, [&good, &text, &good]));
    }
    for topic in [b"".as_slice(), b"+", b"#", b"a/+", b"a/#/b"] {
        check_closed(&attack, true, &packet(0x30, &string(topic)));
    }
    for filter in [b"".as_slice(), b"a#", b"#/a", b"a+", b"+a/b"] {
        let subscribe = [&[0, 1], &string(filter)[..], &[0]].concat();
        check_closed(&attack, true, &packet(0x82, &subscribe));
    }
    attack.sys.wait_for("connections/violations", |count| count >= 82);
    attack.end(4);
}

/// Packets that only servers send, types that do not exist, and a second CONNECT.
#[test]
fn packets_of_servers_are_not_taken_from_clients() {
    let mut attack = Attack::begin_small("packets of servers", Gateway::builder());
    let packets = [
        "00 00",
        "20 02 00 00",
        "90 03 00 01 00",
        "B0 02 00 01",
        "D0 00",
        "F0 00",
        "F0 02 00 00",
        "80 05 00 01 00 01 'a' 00",
        "10 0E 00 04 'MQTT' 04 02 00 3C 00 02 'c1'",
    ];
    for text in packets {
        check_closed(&attack, true, &octets(text));
    }
    attack.sys.wait_for("connections/violations", |count| count >= packets.len() as u64);
    attack.end(4);
}

/// Whole packets of a client's life, of which every one is cut and lengthened.
fn life() -> Vec<Vec<u8>> {
    let subscribe = [&[0, 9], &string(b"a/+/#")[..], &[2], &string(b"b")[..], &[0]].concat();
    vec![
        packet(0x82, &subscribe),
        packet(0xA2, &[&[0, 9], &string(b"a/+/#")[..], &string(b"b")[..]].concat()),
        publish_packet(Version::V311, "a/b", b"payload", 0, 0),
        publish_packet(Version::V311, "a/b", b"payload", 3, 1),
        publish_packet(Version::V311, "a/b", b"payload", 4, 2),
        publish_packet(Version::V311, "a/b", b"", 4, 2),
        octets("62 02 00 02"),
        octets("40 02 00 01"),
        octets("50 02 00 01"),
        octets("70 02 00 01"),
        octets("C0 00"),
        octets("E0 00"),
    ]
}

/// Every packet cut at every octet, and every length one more or less than it is.
#[test]
fn packets_that_end_early_or_late_take_their_connection_at_most() {
    let attack = Attack::begin_small("cut packets", Gateway::builder());
    let will = Will::new("w", "bye", 1);
    let connect = MqttClient::options("offender").will(will).user("u", Some("p")).packet();
    for cut in 0..connect.len() {
        drop(say(&attack, false, &connect[..cut]));
        let mut short = connect[..cut].to_vec();
        if let Some(length) = short.get_mut(1) {
            *length = u8::try_from(cut - 2).expect("a short packet");
            // It is one packet now, and a wrong one.
            check_closed(&attack, false, &short);
        }
    }
    for packet in life() {
        for cut in 0..packet.len() {
            drop(say(&attack, true, &packet[..cut]));
        }
        for (place, change) in (1..packet.len()).flat_map(|place| [(place, 1), (place, 255)]) {
            let mut wrong = packet.clone();
            wrong[place] = wrong[place].wrapping_add(change);
            drop(say(&attack, true, &[&wrong[..], &[0xC0, 0, 0xE0, 0]].concat()));
        }
    }
    attack.end(4);
}

/// Anything a client may say, in any order, with or without mistakes; several connections share
/// client ids and filters.
#[test]
fn streams_that_are_nearly_right_disturb_nobody() {
    let builder = Gateway::builder().limits("session_expiry_s = 1\nwrite_stall_s = 1");
    let mut attack = Attack::begin_small("mutated streams", builder);
    let mut rng = fastrand::Rng::with_seed(1);
    let will = Will::new("a/will", "bye", 1).retained();
    let connects = [
        MqttClient::options("one").packet(),
        MqttClient::options("two").persistent().packet(),
        MqttClient::options("two").will(will.clone()).persistent().keep_alive(1).packet(),
        MqttClient::options("three").version(Version::V31).will(will).packet(),
        MqttClient::options("four").version(Version::V5).packet(),
        MqttClient::options("").packet(),
    ];
    let life = life();
    let streams = amount(3_000, 100_000);
    for _ in 0..streams {
        let mut octets = connects[rng.usize(..connects.len())].clone();
        for _ in 0..rng.usize(..20) {
            octets.extend(&life[rng.usize(..life.len())]);
        }
        for _ in 0..rng.usize(..3) {
            let place = rng.usize(..octets.len());
            match rng.u8(0..5) {
                0 => octets.truncate(place + 1),
                1 => octets.insert(place, rng.u8(..)),
                2 => octets[place] ^= 1 << rng.u8(0..8),
                3 => octets[place] = rng.u8(..),
                _ => drop(octets.remove(place)),
            }
        }
        let mut stream = TcpStream::connect(attack.gateway.mqtt()).expect("a server that accepts");
        // In pieces, as the network may bring it.
        let cut = rng.usize(..=octets.len());
        let _closed = stream.write_all(&octets[..cut]);
        let _closed = stream.write_all(&octets[cut..]);
        if rng.bool() {
            let _closed = stream.shutdown(std::net::Shutdown::Write);
            assert!(is_closed(&mut stream));
        }
    }
    let enough = streams as u64 / 10;
    attack.sys.wait_for("connections/violations", |count| count > enough);
    attack.sys.wait_for("connections/socket/count", |count| count <= 2);
    attack.end(8);
}
