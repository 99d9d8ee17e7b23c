//! MQTT over WebSocket, frame by frame.

use std::fs;
use std::net::SocketAddr;

use system_tests::client::Will;
use system_tests::client::mqtt::{MqttClient, Version, packet, publish_packet};
use system_tests::client::ws::{REQUEST, WsClient, first, frame};
use system_tests::gateway::{Builder, Gateway};
use system_tests::hex::octets;
use system_tests::sys::Sys;

/// CONNECT of `a`, clean, 60 s, and its answer.
const CONNECT: &str = "10 0D 00 04 'MQTT' 04 02 00 3C 00 01 'a'";
const CONNACK: &str = "20 02 00 00";

fn builder() -> Builder {
    Gateway::builder().listener("mqtt", "127.0.0.1:0", "").listener("ws", "127.0.0.1:0", "")
}

fn ws(gateway: &Gateway) -> SocketAddr {
    gateway.endpoints("ws")[0]
}

/// [MQTT-6.0.0-4], [MQTT5-6.0.0-4]: the subprotocol is selected. What else a browser says does no
/// harm, and compression, which it offers, is not agreed upon.
#[test]
fn mqtt_6_0_0_4_a_browser_is_answered() {
    let gateway = builder().start();
    let mut browser = WsClient::open(ws(&gateway));
    let answer = browser.ask(
        "GET /any/path?token=1 HTTP/1.1\r\nHost: 127.0.0.1:8083\r\nConnection: keep-alive, Upgrade\r\n\
         Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n\
         Upgrade: websocket\r\nOrigin: https://farm.example\r\nSec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\
         Cookie: session=1234; theme=dark\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n",
    );
    assert_eq!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    browser.send_mqtt(CONNECT);
    // One frame, without a mask and without a reserved bit.
    browser.expect_frame(first::BINARY, &octets(CONNACK));
    for (offer, expect) in [("mqttv3.1", "mqttv3.1"), ("mqttv3.1, mqtt", "mqtt")] {
        let request = REQUEST.replace("Protocol: mqtt", &format!("Protocol: {offer}"));
        let answer = WsClient::open(ws(&gateway)).ask(&request);
        assert!(answer.contains(&format!("Protocol: {expect}\r\n")), "{answer}");
    }
}

/// [MQTT-6.0.0-3], [MQTT5-6.0.0-3]: who does not offer `mqtt` is refused, and so is everything that
/// is no handshake; each is told why and counted.
#[test]
fn mqtt_6_0_0_3_without_the_subprotocol_there_is_no_websocket() {
    let more = "origins = [\"https://farm.example\"]";
    let gateway = Gateway::builder()
        .listener("mqtt", "127.0.0.1:0", "")
        .listener("ws", "127.0.0.1:0", more)
        .text("[sys]\ninterval_s = 1")
        .start();
    let requests = [
        (REQUEST.replace("Sec-WebSocket-Protocol: mqtt\r\n", ""), "400"),
        (REQUEST.replace("Protocol: mqtt", "Protocol: chat, superchat"), "400"),
        ("GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(), "426"),
        (REQUEST.replace("Version: 13", "Version: 8"), "426"),
        (REQUEST.replace("\r\n\r\n", "\r\nOrigin: https://evil.example\r\n\r\n"), "403"),
        ("POST / HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(), "405"),
        (format!("GET /{}", "x".repeat(9_000)), "431"),
        ("\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a".to_owned(), "400"),
    ];
    for (request, status) in &requests {
        let mut client = WsClient::open(ws(&gateway));
        let answer = client.ask(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        // The reason stands below, for people.
        assert!(client.rest().ends_with(b"\n"));
    }
    let mut sys = Sys::watch(gateway.mqtt());
    sys.wait_for("websocket/refused", |count| count == requests.len() as u64);
}

/// [MQTT-6.0.0-1], [MQTT5-6.0.0-1]: MQTT comes in binary frames; text ends the connection, and the
/// will is published as for every client that is lost.
#[test]
fn mqtt_6_0_0_1_text_is_refused() {
    let gateway = builder().start();
    let mut observer = MqttClient::connect(gateway.mqtt(), "observer");
    observer.subscribe("gone", 0);
    let will = MqttClient::options("texter").will(Will::new("gone", "lost", 0));
    let mut client = WsClient::upgrade(ws(&gateway));
    client.send_frame(first::BINARY, &will.packet());
    client.expect_mqtt(CONNACK);
    client.send_frame(first::TEXT, &octets("C0 00"));
    client.expect_close(1003);
    observer.expect_message("gone", "lost", 0);
}

/// [MQTT-6.0.0-2], [MQTT5-6.0.0-2]: packets need not be aligned with frames.
#[test]
fn mqtt_6_0_0_2_packets_and_frames_are_not_aligned() {
    let gateway = builder().start();
    let mut observer = MqttClient::connect(gateway.mqtt(), "observer");
    observer.subscribe("#", 1);
    let mut client = WsClient::upgrade(ws(&gateway));
    // Each octet is a frame of its own: messages, then fragments of one message; and each octet of
    // the frames comes alone.
    let connect = octets(CONNECT);
    for octet in &connect[..5] {
        client.send_frame(first::BINARY, &[*octet]);
    }
    client.send_frame(0x02, &[]);
    for octet in &connect[5..] {
        for octet in frame(0x00, &[*octet]) {
            client.send_octets(&[octet]);
        }
    }
    client.send_frame(first::CONTINUATION, &[]);
    client.expect_mqtt(CONNACK);
    // Many packets in a frame, the last of them going on in the next.
    let publish = |payload: &str| publish_packet(Version::V311, "t", payload.as_bytes(), 0, 0);
    let many: Vec<u8> = (0..100).flat_map(|number| publish(&format!("{number}"))).collect();
    let (now, later) = many.split_at(many.len() - 3);
    client.send_frame(first::BINARY, now);
    client.send_frame(first::BINARY, &[later, &octets("C0 00")].concat());
    for number in 0..100 {
        observer.expect_message("t", &number.to_string(), 0);
    }
    client.expect_mqtt("D0 00");
}

#[test]
fn control_frames_stand_between_fragments() {
    let gateway = builder().start();
    let mut client = WsClient::connect(ws(&gateway), "client");
    client.send_frame(0x02, &octets("C0"));
    client.send_frame(first::PING, b"are you there?");
    client.expect_frame(first::PONG, b"are you there?");
    client.send_frame(first::PONG, b"unasked");
    client.send_frame(first::CONTINUATION, &octets("00"));
    client.expect_mqtt("D0 00");
    client.send_frame(first::PING, b"");
    client.expect_frame(first::PONG, b"");
}

/// A close frame is answered, after what came before it; the client did not say DISCONNECT.
#[test]
fn the_closing_handshake_is_completed() {
    let gateway = builder().start();
    let mut observer = MqttClient::connect(gateway.mqtt(), "observer");
    observer.subscribe("#", 0);
    let will = MqttClient::options("closer").will(Will::new("gone", "closed", 0));
    for code in [1000_u16, 1001, 4000] {
        let mut client = WsClient::upgrade(ws(&gateway));
        client.send_frame(first::BINARY, &will.packet());
        client.expect_mqtt(CONNACK);
        let last = publish_packet(Version::V311, "t", b"last", 0, 0);
        let close = [&code.to_be_bytes()[..], b"bye"].concat();
        client.send_octets(&[frame(first::BINARY, &last), frame(first::CLOSE, &close)].concat());
        client.expect_close(code);
        observer.expect_message("t", "last", 0);
        observer.expect_message("gone", "closed", 0);
    }
    // DISCONNECT ends it too, and then there is no will.
    let mut client = WsClient::upgrade(ws(&gateway));
    client.send_frame(first::BINARY, &[will.packet(), octets("E0 00")].concat());
    client.expect_mqtt(CONNACK);
    client.expect_close(1000);
    observer.expect_nothing();
}

/// More packets than one turn hears, and the close frame right behind them, read at once: all are
/// heard.
#[test]
fn what_came_before_the_end_is_heard() {
    let gateway = builder().start();
    let mut observer = MqttClient::connect(gateway.mqtt(), "observer");
    observer.subscribe("t", 0);
    let many = publish_packet(Version::V311, "x", b"", 0, 0).repeat(12_000);
    let last = publish_packet(Version::V311, "t", b"last", 0, 0);
    for (end, code) in [(frame(first::CLOSE, &[]), 1000), (frame(first::TEXT, &[]), 1003)] {
        let mut client = WsClient::connect(ws(&gateway), "client");
        let packets = frame(first::BINARY, &[many.clone(), last.clone()].concat());
        client.send_octets(&[packets, end].concat());
        client.expect_close(code);
        observer.expect_message("t", "last", 0);
    }
}

#[test]
fn broken_rules_are_told() {
    let gateway = builder().start();
    let check = |octets: &[u8], code| {
        let mut client = WsClient::connect(ws(&gateway), "client");
        client.send_octets(octets);
        client.expect_close(code);
    };
    check(&[0x82, 0x02, 0xC0, 0x00], 1002);
    check(&frame(0xC2, &[]), 1002);
    check(&frame(first::CONTINUATION, &[]), 1002);
    check(&[0x82, 0xFF, 0, 0, 0, 0, 0x7F, 0, 0, 0], 1009);
    // A violation of MQTT.
    check(&frame(first::BINARY, &octets("F0 00")), 1002);
    check(&frame(first::BINARY, &octets(CONNECT)), 1002);
}

#[test]
fn large_messages_go_both_ways() {
    let gateway = builder().start();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "mqtt");
    mqtt.subscribe("up", 1);
    let mut client = WsClient::connect(ws(&gateway), "ws");
    client.send_mqtt("82 09 00 01 00 04 'down' 01");
    client.expect_mqtt("90 03 00 01 01");
    let payload = "x".repeat(900_000);
    let up = publish_packet(Version::V311, "up", payload.as_bytes(), 2, 7);
    client.send_frame(first::BINARY, &up);
    client.expect_mqtt("40 02 00 07");
    mqtt.expect_message("up", &payload, 1);
    mqtt.publish("down", &payload, 1);
    let down = publish_packet(Version::V311, "down", payload.as_bytes(), 2, 1);
    assert!(client.take_data(down.len()) == down, "not what was published");
    client.send_mqtt("40 02 00 01");
    client.send_mqtt("C0 00");
    client.expect_mqtt("D0 00");
}

/// Pings are answered when they are read; who sends them without reading costs no memory.
#[test]
fn a_flood_of_pings_costs_nothing() {
    let gateway = builder().start();
    let mut client = WsClient::connect(ws(&gateway), "flood");
    let before = gateway.process().rss_bytes();
    let many = frame(first::PING, &[7; 125]).repeat(500);
    for _ in 0..1_000 {
        client.send_octets(&many);
    }
    MqttClient::connect(gateway.mqtt(), "bystander").ping();
    client.send_frame(first::PING, b"last");
    while client.next_frame() != (first::PONG, b"last".to_vec()) {}
    let grown = gateway.process().rss_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} octets more");
}

/// A subscriber that does not read, then reads: every frame is whole, and control packets are among
/// them.
#[test]
fn a_slow_reader_gets_whole_frames() {
    let gateway = builder().start();
    let mut client = WsClient::connect(ws(&gateway), "slow");
    client.send_mqtt("82 06 00 01 00 01 't' 00");
    client.expect_mqtt("90 03 00 01 00");
    let mut publisher = MqttClient::connect(gateway.mqtt(), "publisher");
    let payload = [7; 3_000];
    for _ in 0..4_000 {
        publisher.send_octets(&publish_packet(Version::V311, "t", &payload, 0, 0));
    }
    publisher.ping();
    client.send_frame(first::PING, b"amid");
    client.send_mqtt("C0 00");
    let message = publish_packet(Version::V311, "t", &payload, 0, 0);
    let (mut data, mut messages, mut has_pong) = (Vec::new(), 0, false);
    while !data.starts_with(&[0xD0, 0]) {
        match client.next_frame() {
            (first::BINARY, octets) => data.extend(octets),
            (first::PONG, payload) => has_pong = payload == b"amid",
            (other, _) => panic!("a frame {other:02X}"),
        }
        while data.len() >= message.len() && !data.starts_with(&[0xD0]) {
            assert!(data.starts_with(&message), "something is broken");
            data.drain(..message.len());
            messages += 1;
        }
    }
    assert!(has_pong && messages > 10, "{messages} messages");
}

#[test]
fn the_end_of_the_gateway_is_told() {
    let mut gateway = builder().start();
    let mut client = WsClient::connect(ws(&gateway), "client");
    let mut waiting = WsClient::upgrade(ws(&gateway));
    gateway.process().signal("TERM");
    client.expect_close(1001);
    waiting.expect_close(1001);
    drop((client, waiting));
    assert!(gateway.wait().success());
}

/// The time for CONNECT runs from the first octet of TCP, and no ping stops it.
#[test]
fn the_handshake_is_part_of_the_time_for_connect() {
    let gateway = builder().limits("connect_timeout_s = 1").start();
    let mut silent = WsClient::open(ws(&gateway));
    let mut half = WsClient::open(ws(&gateway));
    half.send_octets(&REQUEST.as_bytes()[..50]);
    let mut upgraded = WsClient::upgrade(ws(&gateway));
    upgraded.send_frame(first::PING, b"x");
    upgraded.expect_frame(first::PONG, b"x");
    silent.expect_end();
    half.expect_end();
    upgraded.expect_end();
}

#[test]
fn the_command_line_opens_a_listener_of_its_own() {
    let gateway = Gateway::builder().arg("--ws").arg("127.0.0.1:0").start();
    WsClient::connect(ws(&gateway), "client");
    MqttClient::connect(gateway.mqtt(), "client").disconnect();
}

/// [MQTT-7.0.0-1]: whoever connects out has to be a client too; this server does not, whatever is
/// asked of it.
#[test]
fn mqtt_7_0_0_1_no_connection_goes_out() {
    let gateway = builder().start();
    let mut observer = MqttClient::connect(gateway.mqtt(), "observer");
    observer.subscribe("#", 1);
    let mut client = WsClient::connect(ws(&gateway), "client");
    client.send_frame(first::BINARY, &publish_packet(Version::V311, "t", b"hi", 2, 1));
    client.expect_mqtt("40 02 00 01");
    observer.expect_message("t", "hi", 1);
    let ours = [gateway.mqtt().port(), ws(&gateway).port()];
    let table = |name: &str| {
        let path = format!("/proc/{}/net/{name}", gateway.process().id());
        fs::read_to_string(path).expect("the process is there")
    };
    let folder = fs::read_dir(format!("/proc/{}/fd", gateway.process().id())).expect("it is ours");
    let files = folder.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let sockets: Vec<String> = files.filter_map(|file| Some(file.to_str()?.to_owned())).collect();
    let mut seen = 0;
    for line in (table("tcp") + &table("tcp6")).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(inode) = words.get(9) else { continue };
        if sockets.contains(&format!("socket:[{inode}]")) {
            let port =
                words[1].rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok());
            assert!(
                port.is_some_and(|port| ours.contains(&port)),
                "a connection of its own: {line}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 4, "two listeners and two clients, of which {seen} were found");
}

/// [MQTT-7.0.0-2]: octets of the standard, and nothing else, make a whole session on every
/// transport.
#[test]
fn mqtt_7_0_0_2_nothing_but_the_standard_is_needed() {
    let gateway = builder().start();
    // CONNECT, SUBSCRIBE, PUBLISH at QoS 1 to itself, PUBACK, UNSUBSCRIBE, PINGREQ, DISCONNECT.
    let dialogue = [
        (CONNECT, CONNACK),
        ("82 06 00 01 00 01 't' 01", "90 03 00 01 01"),
        ("32 07 00 01 't' 00 02 'hi'", "40 02 00 02 32 07 00 01 't' 00 01 'hi'"),
        ("40 02 00 01 A2 05 00 03 00 01 't'", "B0 02 00 03"),
        ("C0 00", "D0 00"),
    ];
    let mut tcp = MqttClient::open(gateway.mqtt());
    for (sent, expected) in dialogue {
        tcp.send(sent);
        let mut rest = octets(expected);
        while !rest.is_empty() {
            let came = tcp.receive();
            assert!(rest.starts_with(&came), "{expected}: {came:02X?}");
            rest.drain(..came.len());
        }
    }
    tcp.send("E0 00");
    tcp.expect_closed();
    let mut client = WsClient::upgrade(ws(&gateway));
    for (sent, expected) in dialogue {
        client.send_mqtt(sent);
        client.expect_mqtt(expected);
    }
    client.send_frame(first::BINARY, &packet(0xE0, &[]));
    client.expect_close(1000);
}
