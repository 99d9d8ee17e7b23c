//! What publications carry beside topic and payload.

use broker_core::api::{LinkId, PacketId};
use broker_core::limits::BrokerConfig;
use broker_core::property::Properties;

use crate::bench::{Bench, CLEAN, PERSISTENT, Q0, Q1, config};

/// Message expiry interval of ten seconds.
const TEN_SECONDS: &[u8] = &[0x02, 0, 0, 0, 10];

fn publish(bench: &mut Bench, link: LinkId, payload: &[u8], retain: bool, properties: &[u8]) {
    let properties = Properties::parse(properties).expect("good properties");
    bench.publish_with(link, "t", payload, Q1, retain, PacketId(9), properties);
    bench.hear(link);
}

/// [MQTT5-3.3.2-6]
#[test]
fn the_expiry_counts_down_while_a_message_waits() {
    let mut bench = Bench::new();
    let reader = bench.join("r", &PERSISTENT);
    bench.subscribe(reader, "t", Q1);
    bench.disconnect(reader);
    let publisher = bench.join("p", &CLEAN);
    publish(&mut bench, publisher, b"x", false, TEN_SECONDS);
    bench.pass(4_000);
    let reader = bench.connect("r", &PERSISTENT);
    bench.expect(reader, &["connack success present", "t x q1 #1 expires 6"]);
}

/// [MQTT5-3.3.2-5]
#[test]
fn a_message_whose_time_is_up_is_not_sent() {
    let mut bench = Bench::new();
    let reader = bench.join("r", &PERSISTENT);
    bench.subscribe(reader, "t", Q1);
    bench.disconnect(reader);
    let publisher = bench.join("p", &CLEAN);
    publish(&mut bench, publisher, b"old", false, TEN_SECONDS);
    publish(&mut bench, publisher, b"lasting", false, &[]);
    bench.pass(10_000);
    let reader = bench.connect("r", &PERSISTENT);
    bench.expect(reader, &["connack success present", "t lasting q1 #1"]);
    assert_eq!(bench.broker.stats().dropped_expired, 1);
}

/// [MQTT5-4.3.3-7], [MQTT5-4.3.3-13]
#[test]
fn what_was_begun_is_finished_though_its_time_is_up() {
    let mut bench = Bench::new();
    let reader = bench.join("r", &PERSISTENT);
    bench.subscribe(reader, "t", Q1);
    bench.hear(reader);
    let publisher = bench.join("p", &CLEAN);
    publish(&mut bench, publisher, b"x", false, TEN_SECONDS);
    bench.expect(reader, &["t x q1 #1 expires 10"]);
    bench.lose(reader);
    bench.pass(60_000);
    let reader = bench.connect("r", &PERSISTENT);
    bench.expect(reader, &["connack success present", "t x q1 #1 dup expires 0"]);
}

#[test]
fn a_retained_message_expires_by_itself_and_a_newer_one_does_not_go_with_it() {
    let mut bench = Bench::new();
    let publisher = bench.join("p", &CLEAN);
    publish(&mut bench, publisher, b"old", true, TEN_SECONDS);
    bench.pass(5_000);
    bench.subscribe(publisher, "t", Q0);
    bench.expect(publisher, &["suback #5 success", "t old q0 retain expires 5"]);
    bench.pass(5_010);
    assert_eq!(bench.broker.usage().retained, 0);
    assert_eq!(bench.broker.stats().retained_expired, 1);
    publish(&mut bench, publisher, b"old", true, TEN_SECONDS);
    publish(&mut bench, publisher, b"new", true, &[]);
    bench.pass(20_000);
    assert_eq!(bench.broker.usage().retained, 1);
    assert_eq!(bench.broker.usage().messages, 1);
}

#[test]
fn a_payload_that_is_not_the_text_it_says_is_refused_if_that_is_asked_for() {
    const SAYS_TEXT: &[u8] = &[0x01, 1];
    for (validates, payload, answer) in [
        (false, &b"\xFF"[..], "puback #9 no matching subscribers"),
        (true, b"text", "puback #9 no matching subscribers"),
        (true, b"\xFF", "puback #9 payload format invalid"),
    ] {
        let config = BrokerConfig { validate_payload_format: validates, ..config() };
        let mut bench = Bench::with(config);
        let publisher = bench.join("p", &CLEAN);
        let properties = Properties::parse(SAYS_TEXT).expect("good properties");
        bench.publish_with(publisher, "t", payload, Q1, false, PacketId(9), properties);
        bench.expect(publisher, &[answer]);
    }
}
