//! Connections that want nothing but room, and those that come all at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;

use super::crowd::{Crowd, at_once, connect_packet, is_closed};
use super::{Attack, amount};

/// Nothing is said on any of them. Who comes next is served though their number is above the limit,
/// and all of them are closed in time.
#[test]
fn half_open_connections_keep_nobody_out() {
    let builder = Gateway::builder().limits("connect_timeout_s = 2").descriptors(4_064);
    let mut attack = Attack::begin("half-open connections", builder);
    let count = amount(1_500, 5_000);
    let mut crowd = Crowd::open(attack.gateway.mqtt(), count);
    let began = Instant::now();
    MqttClient::connect(attack.gateway.mqtt(), "newcomer").ping();
    let waited = began.elapsed();
    eprintln!("half-open connections: the newcomer waited {waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    crowd.expect_closed();
    attack.sys.wait_for("connections/socket/count", |count| count < 10);
    let ended = |sys: &system_tests::sys::Sys| {
        sys.number("connections/timed_out") + sys.number("connections/refused")
    };
    while ended(&attack.sys) < count as u64 {
        attack.sys.next_round();
    }
    attack.end(8);
}

/// Each says an octet of its CONNECT now and then, for ever.
#[test]
fn slow_greetings_end_in_time() {
    let builder = Gateway::builder().limits("connect_timeout_s = 1");
    let mut attack = Attack::begin_small("slow greetings", builder);
    // A CONNECT of 16 KiB, of which the length is known at once.
    let greeting = [connect_packet("slow"), vec![0; 100]].concat();
    let mut crowd = Crowd::open(attack.gateway.mqtt(), amount(200, 1_000));
    let mut sent = 0;
    while attack.sys.number("connections/timed_out") == 0 {
        crowd.push(&greeting[sent % 10..=sent % 10]);
        sent += 1;
        attack.sys.wait_for("connections/socket/count", |_| true);
        assert!(sent < 1_000_000, "they are never closed");
        if sent % 2 == 0 {
            attack.sys.next_round();
        }
    }
    crowd.expect_closed();
    attack.end(8);
}

/// [MQTT-3.1.4-2] aside: all connect and subscribe at once, nobody is refused; and a second storm
/// takes no more memory than the first.
#[test]
fn a_storm_of_connections_is_served() {
    let attack = Attack::begin("connect storm", Gateway::builder());
    let (threads, each) = (amount(8, 20), amount(250, 500));
    let server = attack.gateway.mqtt();
    system_tests::descriptors::raise();
    let mut grown = Vec::new();
    for storm in 0..2 {
        let began = Instant::now();
        let clients = at_once(threads, |thread| {
            let connect = |number| {
                let mut client = MqttClient::open(server);
                client.set_timeout(Duration::from_secs(15));
                client.send_connect(&MqttClient::options(&format!("c{thread}-{number}")));
                client.expect("20 02 00 00");
                client.subscribe(&format!("storm/{thread}/{number}"), 1);
                client
            };
            (0..each).map(connect).collect::<Vec<_>>()
        });
        let took = began.elapsed();
        eprintln!("connect storm {storm}: {} clients in {took:?}", threads * each);
        grown.push(attack.growth());
        drop(clients);
    }
    assert!(grown[1] <= grown[0] + (2 << 20), "{grown:?}");
    attack.end(if amount(0, 1) == 0 { 24 } else { 96 });
}

/// Descriptors run out: old clients are served, new ones are refused at once, the loop rests, and
/// when there is room again it is used.
#[test]
fn a_gateway_without_descriptors_serves_those_it_has() {
    let mut attack = Attack::begin_small("no descriptors", Gateway::builder().descriptors(128));
    let server = attack.gateway.mqtt();
    let mut inside = Vec::new();
    let mut refused = 0;
    for number in 0..400 {
        let mut stream = TcpStream::connect(server).expect("the kernel accepts");
        let _refused_already = stream.write_all(&connect_packet(&format!("c{number}")));
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time above zero");
        let mut connack = [0; 4];
        match stream.read_exact(&mut connack) {
            Ok(()) => inside.push(stream),
            Err(_) => refused += 1,
        }
    }
    // 128 descriptors, 64 of them kept for other things, and two connections of the test.
    assert_eq!((inside.len(), refused), (62, 338));
    attack.sys.wait_for("connections/refused", |count| count == 338);
    let cpu_before = attack.gateway.process().cpu_time();
    attack.sys.next_round();
    let cpu = attack.gateway.process().cpu_time() - cpu_before;
    assert!(cpu < Duration::from_millis(500), "{cpu:?} for bystanders alone");
    for stream in &mut inside {
        stream.write_all(&[0xC0, 0]).expect("still connected");
        let mut pingresp = [0; 2];
        stream.read_exact(&mut pingresp).expect("PINGRESP");
    }
    inside.truncate(30);
    attack.sys.wait_for("limits/connections/used", |count| count == 32);
    MqttClient::connect(server, "back").ping();
    attack.end(8);
}

/// One client id, taken over again and again from both sides: whoever had it is told and gone, and
/// the last one has it [MQTT-3.1.4-2].
#[test]
fn a_client_id_that_many_want_belongs_to_the_last() {
    let mut attack = Attack::begin_small("take-over", Gateway::builder());
    let (mqtt, sn) = (attack.gateway.mqtt(), attack.gateway.mqtt_sn());
    let mut before: Option<MqttClient> = None;
    for round in 0..amount(300, 3_000) {
        let client = MqttClient::connect(mqtt, "wanted");
        if let Some(mut before) = before.replace(client) {
            before.expect_closed();
        }
        if round % 3 == 0 {
            let sensor = SnClient::options("wanted").retry(Duration::from_millis(200)).connect(sn);
            if let Some(mut before) = before.take() {
                before.expect_closed();
            }
            drop(sensor);
        }
    }
    before.expect("the last one").ping();
    attack.sys.wait_for("clients/takeovers", |count| count >= 299);
    attack.end(8);
}

/// Clients that ask for no keep alive, or the longest, hold their connections as long as they like;
/// the limit on connections holds as well.
#[test]
fn idle_connections_fill_the_limit_and_no_more() {
    let builder = Gateway::builder().limits("connections = 300");
    let mut attack = Attack::begin_small("idle connections", builder);
    let server = attack.gateway.mqtt();
    // Two are those of the test.
    let _inside = Crowd::connect(server, 298, "idle");
    for number in 0..200 {
        let mut stream = TcpStream::connect(server).expect("the kernel accepts");
        let _refused_already = stream.write_all(&connect_packet(&format!("more{number}")));
        assert!(is_closed(&mut stream));
    }
    attack.sys.wait_for("connections/refused", |count| count == 200);
    assert_eq!(attack.sys.number("limits/connections/max"), 300);
    attack.sys.wait_for("limits/connections/used", |count| count == 300);
    attack.end(8);
}
