//! Datagrams that killed other gateways, and those that nobody has thought of yet.

use std::net::UdpSocket;
use std::time::Duration;

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;
use system_tests::hex::octets;

use super::{Attack, amount};

/// Datagrams to a gateway that knows nobody at this address, or knows it by a CONNECT. Each of them
/// killed a gateway that people use: lengths that were not checked before something was copied.
const KILLERS: [&str; 24] = [
    "",
    "00",
    "01",
    "01 00",
    "01 00 00",
    "01 FF FF",
    "01 00 03",
    "01 00 04 04",
    "02 04",
    "05 04 04 01 00",
    "05 04 0C 01 00",
    "50 04 04 01 00 3C 'dev1'",
    "FF 04 04 01 00 3C",
    "01 FF FF 04 04 01 00 3C 'dev1'",
    "02 0A",
    "02 0C",
    "06 0C 00 00 01 00",
    "02 12",
    "02 14",
    "02 07",
    "07 0C 60 FF FF 00 00",
    "0A 0C 60 FF FF 00 00 'abc'",
    "03 FE 00",
    "04 FE 00 'N' 01 00",
];

/// How large a client id is that overflowed a buffer, and a few around the limit.
const LONG_IDS: [usize; 12] = [24, 65, 70, 80, 100, 128, 160, 200, 249, 250, 256, 257];

/// The largest client id that the limits allow by default.
const CLIENT_ID_MAX: usize = 256;

#[test]
fn what_killed_others_is_survived_by_strangers_and_by_clients() {
    let forwarder = "[[mqtt_sn.forwarder]]\naddress = \"127.0.0.1\"";
    let builder = Gateway::builder().text(forwarder).predefined(1, "pre/one");
    let mut attack = Attack::begin_small("killers", builder);
    let gateway = attack.gateway.mqtt_sn();
    for killer in KILLERS {
        SnClient::open(gateway).send(killer);
        let mut client = SnClient::connect(gateway, "victim");
        client.send(killer);
        client.set_timeout(Duration::from_secs(20));
        // Whatever it answered, it answers the next request as well.
        let mut other = SnClient::connect(gateway, "other");
        other.ping();
    }
    for length in LONG_IDS {
        let mut client = SnClient::open(gateway);
        let id = "i".repeat(length);
        let mut body = vec![4, 1, 0, 60];
        body.extend(id.as_bytes());
        client.send_octets(&system_tests::client::sn::frame(4, &body));
        client.expect(if length <= CLIENT_ID_MAX { "03 05 00" } else { "03 05 03" });
    }
    attack.sys.wait_for("mqtt-sn/datagrams/malformed", |count| count >= 20);
    attack.end(4);
}

/// The empty WILLTOPIC is legal, and killed one all the same.
#[test]
fn an_empty_will_topic_is_a_will_less_client() {
    let attack = Attack::begin_small("empty WILLTOPIC", Gateway::builder());
    let mut client = SnClient::open(attack.gateway.mqtt_sn());
    client.converse(
        "
        > 0A 04 0C 01 00 3C 'dev1'
        < 02 06
        > 02 07
        < 03 05 00
        > 02 16
        < 02 17
        ",
    );
    attack.end(4);
}

/// An id that begins like another one is another client.
#[test]
fn a_client_id_is_compared_whole() {
    let attack = Attack::begin_small("prefix of an id", Gateway::builder());
    let gateway = attack.gateway.mqtt_sn();
    let mut long = SnClient::connect(gateway, "node10");
    long.subscribe("to/node10", 1);
    let mut short = SnClient::connect(gateway, "node1");
    let mut mqtt = MqttClient::connect(attack.gateway.mqtt(), "publisher");
    mqtt.publish("to/node10", "hi", 1);
    long.expect_message("to/node10", "hi", 1);
    short.expect_nothing();
    attack.end(4);
}

/// Several senders at QoS −1, none of them connected, beside one client that is.
#[test]
fn senders_without_a_connection_are_told_apart_from_nobody() {
    let builder = Gateway::builder().predefined(1, "pre/one");
    let mut attack = Attack::begin_small("many at QoS -1", builder);
    let mut mqtt = MqttClient::connect(attack.gateway.mqtt(), "observer");
    mqtt.subscribe("pre/one", 0);
    for number in 0..50 {
        let mut sender = SnClient::open(attack.gateway.mqtt_sn());
        sender.send("09 0C 61 00 01 00 00 'hi'");
        mqtt.expect_message("pre/one", "hi", 0);
        if number % 10 == 0 {
            sender.expect_nothing();
        }
    }
    attack.sys.wait_for("mqtt-sn/qos_minus_one/published", |count| count == 50);
    attack.end(4);
}

/// Valid messages of every type, from which others are made.
const SEEDS: [&str; 26] = [
    "03 01 00",
    "03 02 07",
    "05 00 01 03 84",
    "0A 04 04 01 00 3C 'dev1'",
    "0A 04 0C 01 00 3C 'dev2'",
    "0A 04 00 01 00 3C 'dev3'",
    "09 07 30 'w/dev1'",
    "02 07",
    "06 09 'gone'",
    "0B 0A 00 00 00 01 'a/b/c'",
    "07 0B 00 01 00 01 00",
    "09 0C 20 00 01 00 02 'hi'",
    "09 0C 62 'xy' 00 00 'hi'",
    "09 0C 61 00 05 00 00 'hi'",
    "09 0C 42 'xy' 00 03 'hi'",
    "07 0D 00 01 00 02 00",
    "04 0F 00 03",
    "04 10 00 03",
    "04 0E 00 03",
    "08 12 20 00 06 'a/#'",
    "07 12 21 00 0A 00 05",
    "0A 14 00 00 05 'a/b/c'",
    "06 16 'dev1'",
    "04 18 01 2C",
    "09 1A 30 'w/dev1'",
    "0D FE 00 'N1' 08 12 00 00 01 'abc'",
];

/// Something like a message: some octets are others, some are missing, some are too many.
fn mutated(rng: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut datagram = seeds[rng.usize(..seeds.len())].clone();
    for _ in 0..rng.usize(0..4) {
        let place = rng.usize(..=datagram.len());
        match rng.u8(0..6) {
            0 => datagram.truncate(place),
            1 => datagram.insert(place, rng.u8(..)),
            2 if place < datagram.len() => datagram[place] = rng.u8(..),
            3 if place < datagram.len() => datagram[place] ^= 1 << rng.u8(0..8),
            4 => datagram.extend(std::iter::repeat_with(|| rng.u8(..)).take(place)),
            _ => datagram.extend(seeds[rng.usize(..seeds.len())].clone()),
        }
    }
    if rng.u8(0..50) == 0 {
        // The long form of the length, right or wrong.
        let length = u16::try_from(datagram.len() + 2).expect("short").to_be_bytes();
        datagram.splice(..1.min(datagram.len()), [1, length[0], length[1]]);
    }
    if rng.u8(0..200) == 0 {
        datagram.resize(rng.usize(..60_000), rng.u8(..));
    }
    datagram
}

/// Ten senders say things that are nearly right, in any order.
#[test]
fn datagrams_that_are_nearly_right_disturb_nobody() {
    let forwarder = "[[mqtt_sn.forwarder]]\naddress = \"127.0.0.1\"";
    let builder = Gateway::builder()
        .mqtt_sn("awake_retry_ms = 50\nhandshake_timeout_ms = 500")
        .text(forwarder)
        .predefined(5, "pre/five");
    let mut attack = Attack::begin_small("mutated datagrams", builder);
    let seed = 1;
    let mut rng = fastrand::Rng::with_seed(seed);
    let seeds = SEEDS.map(octets);
    let senders: Vec<_> = (0..10)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            socket.connect(attack.gateway.mqtt_sn()).expect("loopback");
            socket.set_nonblocking(true).expect("a socket");
            socket
        })
        .collect();
    let count = amount(20_000, 1_000_000);
    let mut buffer = [0; 2_048];
    for number in 0..count {
        let sender = &senders[rng.usize(..senders.len())];
        let datagram = mutated(&mut rng, &seeds);
        sender.send(&datagram).expect("a gateway that listens");
        while sender.recv(&mut buffer).is_ok() {}
        if number % 64 == 0 {
            // At the speed of the gateway, so that none is lost before it is seen.
            SnClient::open(attack.gateway.mqtt_sn())
                .publish_unasked(&system_tests::client::sn::Topic::Predefined(5), "x");
        }
    }
    attack.sys.wait_for("mqtt-sn/datagrams/malformed", |malformed| malformed > count as u64 / 10);
    let lost = attack.sys.number("mqtt-sn/datagrams/lost_in_kernel");
    eprintln!("mutated datagrams: {lost} of {count} were not seen");
    attack.end(if count == 20_000 { 8 } else { 32 });
}
