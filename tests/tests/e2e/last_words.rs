//! Whoever ends a connection, by a mistake or by saying no more, is answered what was asked before.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use system_tests::client::mqtt::MqttClient;
use system_tests::client::ws::{REQUEST, first, frame};
use system_tests::gateway::Gateway;
use system_tests::hex::{dump, octets};

/// CONNECT of `a`, clean, 60 s, of 3.1.1 and of 5.0.
const CONNECT: &str = "10 0D 00 04 'MQTT' 04 02 00 3C 00 01 'a'";
const CONNECT_5: &str = "10 0E 00 04 'MQTT' 05 02 00 3C 00 00 01 'a'";

/// `hi` to `t`, QoS 1, and a subscription to `u`.
const PUBLISH: &str = "32 07 00 01 't' 00 01 'hi'";
const SUBSCRIBE: &str = "82 06 00 02 00 01 'u' 01";

fn open(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket has time-outs");
    stream
}

/// All that comes until the server closes.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the server closes in order");
    rest
}

fn expect(said: &str, answers: &[u8], expected: &str) {
    assert_eq!(dump(answers), dump(&octets(expected)), "to {said}");
}

#[test]
fn what_came_before_a_violation_in_the_same_segment_is_answered() {
    let gateway = Gateway::start();
    let mut watcher = MqttClient::connect(gateway.mqtt(), "watcher");
    watcher.subscribe("t", 1);
    for (packets, answers) in [
        ("F0 00", ""),
        ("C0 00 F0 00", "D0 00"),
        ("C0 00 C0 00 C0 00 F0 00 C0 00", "D0 00 D0 00 D0 00"),
        ("82 06 00 02 00 01 'u' 01 F0 00", "90 03 00 02 01"),
    ] {
        let said = format!("{CONNECT} {packets}");
        let mut stream = open(gateway.mqtt());
        stream.write_all(&octets(&said)).expect("a new connection takes it");
        expect(&said, &rest(stream), &format!("20 02 00 00 {answers}"));
    }
    // The same from one that is connected already.
    let mut stream = open(gateway.mqtt());
    stream.write_all(&octets(CONNECT)).expect("a new connection takes it");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("it answers");
    expect(CONNECT, &connack, "20 02 00 00");
    let said = format!("{PUBLISH} F0 00");
    stream.write_all(&octets(&said)).expect("it reads");
    expect(&said, &rest(stream), "40 02 00 01");
    watcher.expect_message("t", "hi", 1);
}

/// [MQTT5-4.13.1-1]: the reason comes last.
#[test]
fn a_client_of_5_0_is_told_the_reason_behind_its_answers() {
    let gateway = Gateway::start();
    let said = format!("{CONNECT_5} C0 00 E0 00 C0 00");
    let mut stream = open(gateway.mqtt());
    stream.write_all(&octets(&said)).expect("a new connection takes it");
    let answers = rest(stream);
    assert_eq!(answers[0], 0x20, "{}", dump(&answers));
    let said = format!("{CONNECT_5} C0 00 F1 00");
    let mut stream = open(gateway.mqtt());
    stream.write_all(&octets(&said)).expect("a new connection takes it");
    let answers = rest(stream);
    let (connack, others) = answers.split_at(2 + usize::from(answers[1]));
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{}", dump(&answers));
    assert_eq!(others[..3], [0xD0, 0, 0xE0], "{}", dump(&answers));
    assert_eq!(others[4], 0x81, "malformed: {}", dump(&answers));
}

#[test]
fn who_closes_its_side_at_once_is_answered() {
    let gateway = Gateway::start();
    let mut watcher = MqttClient::connect(gateway.mqtt(), "watcher");
    watcher.subscribe("t", 1);
    for (packets, answers) in [
        ("", ""),
        (PUBLISH, "40 02 00 01"),
        (&*format!("{PUBLISH} {SUBSCRIBE}"), "40 02 00 01 90 03 00 02 01"),
        ("C0 00 E0 00", "D0 00"),
        // Packets that nobody reads do not take the answer away.
        (&*format!("F0 00{}", " 00".repeat(100_000)), ""),
    ] {
        let said = format!("{CONNECT} {packets}");
        let mut stream = open(gateway.mqtt());
        stream.write_all(&octets(&said)).expect("a new connection takes it");
        stream.shutdown(Shutdown::Write).expect("it is open");
        expect(&said[..60.min(said.len())], &rest(stream), &format!("20 02 00 00 {answers}"));
    }
    watcher.expect_message("t", "hi", 1);
    watcher.expect_message("t", "hi", 1);
    // Without a word there is no answer.
    let stream = open(gateway.mqtt());
    stream.shutdown(Shutdown::Write).expect("it is open");
    expect("nothing", &rest(stream), "");
}

#[test]
fn a_websocket_that_ends_at_once_is_answered() {
    let builder = Gateway::builder().listener("mqtt", "127.0.0.1:0", "");
    let gateway = builder.listener("ws", "127.0.0.1:0", "").start();
    let data = |text: &str| frame(first::BINARY, &octets(text));
    let good_bye = frame(first::CLOSE, &[0x03, 0xE9]);
    let connack = octets("20 02 00 00");
    let puback = octets("40 02 00 01");
    for (said, close) in [
        // Nothing more, good-bye, and nonsense.
        (data(&format!("{CONNECT} {PUBLISH}")), 1_000_u16),
        ([data(&format!("{CONNECT} {PUBLISH}")), good_bye].concat(), 1_001),
        (data(&format!("{CONNECT} {PUBLISH} F0 00")), 1_002),
    ] {
        let mut stream = open(gateway.endpoints("ws")[0]);
        stream.write_all(&[REQUEST.as_bytes(), &said].concat()).expect("it takes it");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let answers = rest(stream);
        let head = answers.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let mut frames = &answers[head + 4..];
        let mut heard = Vec::new();
        while let [first::BINARY, len, others @ ..] = frames {
            let (data, others) = others.split_at(usize::from(*len));
            heard.extend_from_slice(data);
            frames = others;
        }
        assert_eq!(heard, [&connack[..], &puback].concat(), "{}", dump(&answers));
        let [high, low] = close.to_be_bytes();
        assert_eq!(frames, [first::CLOSE, 2, high, low]);
    }
}

/// The will of a client that is told of the end, and closes its side, is not published: neither to
/// those that are there, nor after the next start.
#[test]
fn clients_that_close_while_the_gateway_ends_have_not_died() {
    let mut gateway = Gateway::start();
    let mut heir = MqttClient::options("heir").persistent().connect(gateway.mqtt());
    heir.subscribe("will/#", 1);
    heir.disconnect();
    // Its connection keeps the gateway from ending at once.
    let mut deaf = MqttClient::connect(gateway.mqtt(), "deaf");
    deaf.subscribe("flood", 0);
    let mut flood = MqttClient::connect(gateway.mqtt(), "flood");
    for _ in 0..64 {
        flood.publish("flood", "x".repeat(200_000), 0);
    }
    flood.ping();
    let said = "10 1A 00 04 'MQTT' 04 0E 00 01 00 01 'm' 00 06 'will/m' 00 03 'bye'";
    let mut mortal = open(gateway.mqtt());
    mortal.write_all(&octets(said)).expect("a new connection takes it");
    let mut connack = [0; 4];
    mortal.read_exact(&mut connack).expect("it answers");
    gateway.process().signal("TERM");
    expect(said, &rest(mortal), "");
    assert!(gateway.process().wait_for_log("stopped"));
    drop(deaf);
    gateway.restart();
    let mut heir = MqttClient::options("heir").persistent().connect(gateway.mqtt());
    heir.expect_nothing();
}
