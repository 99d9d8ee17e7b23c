//! The log: outsiders cannot fill it, and programs can read it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use serde_json::Value;
use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;
use system_tests::hex::octets;
use system_tests::sys::{EVERY_SECOND, Sys};

/// Lines of one kind that are written in a second.
const LINES_PER_S: usize = 10;

fn lines(gateway: &Gateway) -> Vec<Value> {
    let text = gateway.process().stderr();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    text.lines().map(parse).collect()
}

fn message(line: &Value) -> &str {
    line["fields"]["message"].as_str().unwrap_or_default()
}

/// Every line is a JSON object with time, level and message, whatever the clients call themselves.
#[test]
fn lines_for_programs_can_be_parsed() {
    let builder = Gateway::builder().arg("--log-format").arg("json").arg("-vv");
    let mut gateway = builder.start();
    let names = ["plain", "\"quoted\"", "back\\slash", "tab\tand line\nbreak", "ünïcödé \u{2028}"];
    for name in names {
        MqttClient::connect(gateway.mqtt(), name).disconnect();
        SnClient::connect(gateway.mqtt_sn(), name).disconnect();
    }
    assert!(gateway.terminate().success());
    let lines = lines(&gateway);
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        assert!(!message(line).is_empty(), "{line}");
    }
    for name in names {
        let told = lines.iter().filter(|line| line["fields"]["client"] == name).count();
        assert!(told >= 2, "{name:?} is told {told} times");
    }
}

/// However much nonsense comes, of each kind of line there are ten a second, and one that sums up
/// the others.
#[test]
fn a_flood_of_nonsense_does_not_fill_the_log() {
    let builder = Gateway::builder().arg("--log-format").arg("json").arg("-v").text(EVERY_SECOND);
    let mut gateway = builder.start();
    let mut sys = Sys::watch(gateway.mqtt());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let nonsense = ["", "01", "01 00", "50 04", "05 04 04 01 00", "02 0C", "07 FF 00 00 00 00 00"];
    for number in 0..5_000 {
        let datagram = octets(nonsense[number % nonsense.len()]);
        socket.send_to(&datagram, gateway.mqtt_sn()).expect("a gateway that listens");
        if number % 20 == 0 {
            let mut stream = TcpStream::connect(gateway.mqtt()).expect("a server that accepts");
            stream.write_all(&[0, 0]).expect("a new connection takes it");
        }
    }
    sys.wait_for("mqtt-sn/datagrams/malformed", |count| count > 100);
    sys.wait_for("connections/violations", |count| count == 250);
    assert!(gateway.process().wait_for_log("lines of one kind were left out"));
    sys.wait_for("log/lines_left_out", |count| count > 100);
    assert!(gateway.terminate().success());
    // A second that begins with the first of them may hold parts of two seconds of the clock.
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in lines(&gateway) {
        let time = line["timestamp"].as_str().expect("a time");
        let second = time.split('.').next().expect("the part before the fraction");
        let kind = message(&line).to_owned();
        *kinds.entry((second.to_owned(), kind)).or_default() += 1;
    }
    let crowded: Vec<_> = kinds.iter().filter(|(_, count)| **count > 2 * LINES_PER_S).collect();
    assert!(crowded.is_empty(), "{crowded:?}");
    let violations = |((_, kind), _): &(&(String, String), &usize)| kind.contains("violation");
    assert!(kinds.iter().any(|entry| violations(&entry)), "{kinds:?}");
}
