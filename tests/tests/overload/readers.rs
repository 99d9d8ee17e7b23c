//! Subscribers that do not read, or read slowly, and those who all go at once.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use system_tests::client::Will;
use system_tests::client::mqtt::{MqttClient, Version, packet, publish_packet};
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;
use system_tests::process::PATIENCE;

use super::crowd::{Crowd, at_once, connect_packet};
use super::{Attack, amount};

/// Publishes at QoS 0 as fast as the gateway takes it.
fn flood(publisher: &mut TcpStream, topic: &str, payload: &[u8], count: usize) {
    let one = publish_packet(Version::V311, topic, payload, 0, 0);
    let many = one.repeat(1_000);
    for _ in 0..count.div_ceil(1_000) {
        publisher.write_all(&many).expect("the publisher is not cut");
    }
}

fn connected(attack: &Attack, client_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(attack.gateway.mqtt()).expect("a server that accepts");
    stream.write_all(&connect_packet(client_id)).expect("a server that reads");
    stream
}

/// A subscriber that stops reading while messages come by the hundred thousand, then asks for three
/// things and reads again: it gets all three answers, and what was dropped was counted.
#[test]
fn who_reads_again_gets_every_answer() {
    let mut attack = Attack::begin("deaf subscriber", Gateway::builder());
    let mut deaf = MqttClient::connect(attack.gateway.mqtt(), "deaf");
    deaf.set_timeout(PATIENCE);
    deaf.subscribe("flood/#", 0);
    let mut publisher = connected(&attack, "publisher");
    let count = amount(200_000, 1_000_000);
    flood(&mut publisher, "flood/x", &[7; 100], count);
    attack.sys.wait_for("publish/messages/received", |received| received >= count as u64);
    // PINGREQ, SUBSCRIBE, UNSUBSCRIBE: their answers come among what was on its way.
    deaf.send("C0 00 82 08 00 64 00 03 'new' 01 A2 0B 00 65 00 07 'flood/#'");
    let mut answers = Vec::new();
    let mut messages = 0;
    while answers.len() < 3 {
        let packet = deaf.receive();
        match packet[0] >> 4 {
            3 => messages += 1,
            _ => answers.push(packet),
        }
    }
    let expected: [&[u8]; 3] = [&[0xD0, 0], &[0x90, 3, 0, 100, 1], &[0xB0, 2, 0, 101]];
    assert_eq!(answers, expected);
    // What is left was on its way before UNSUBACK.
    deaf.send("C0 00");
    while deaf.receive() != [0xD0, 0] {
        messages += 1;
    }
    let dropped = attack
        .sys
        .wait_for("publish/messages/dropped", |dropped| dropped + messages == count as u64);
    eprintln!("deaf subscriber: {messages} messages came, {dropped} were dropped");
    attack.end(8);
}

/// As many deaf subscribers as take more than the memory, if each took what one may.
#[test]
fn many_deaf_subscribers_share_the_memory() {
    let limits = "memory_bytes = 33554432\nsessions = 5000";
    let mut attack = Attack::begin("many deaf subscribers", Gateway::builder().limits(limits));
    let count = amount(1_500, 3_000);
    let mut crowd = Crowd::connect_narrow(attack.gateway.mqtt(), count, "deaf");
    crowd.push(&packet(0x82, b"\0\x01\0\x01d\0"));
    attack.sys.wait_for("subscriptions/count", |used| used >= count as u64);
    let mut publisher = connected(&attack, "publisher");
    let octets = publish_packet(Version::V311, "d", &[7; 900], 0, 0);
    for _ in 0..amount(400, 2_000) {
        publisher.write_all(&octets).expect("a publisher at QoS 0 is not cut");
    }
    attack.sys.wait_for("publish/messages/received", |count| count as usize >= amount(400, 2_000));
    attack.sys.next_round();
    let (used, max) = (
        attack.sys.number("limits/memory_bytes/used"),
        attack.sys.number("limits/memory_bytes/max"),
    );
    eprintln!("many deaf subscribers: {used} of {max} octets accounted for");
    attack.end(32 + 32);
}

/// Subscribers that ask for something after each message, and publishers that send all that they
/// have at once: at every QoS all of it arrives, as the publishers are read from no faster.
#[test]
fn who_reads_as_fast_as_it_can_loses_nothing() {
    let mut attack = Attack::begin("busy subscribers", Gateway::builder());
    let each = amount(3_000, 60_000);
    for qos in [0, 1, 2] {
        let readers: Vec<_> = (0..2)
            .map(|n| {
                let server = attack.gateway.mqtt();
                let mut reader = MqttClient::connect(server, &format!("reader{qos}{n}"));
                reader.set_timeout(PATIENCE);
                reader.subscribe(&format!("busy/{qos}"), qos);
                let mut other = MqttClient::connect(server, &format!("other{qos}{n}"));
                thread::spawn(move || {
                    for _ in 0..3 * each {
                        reader.next_message();
                        other.ping();
                    }
                })
            })
            .collect();
        let topic = &format!("busy/{qos}");
        let mut publishers: Vec<_> =
            (0..3).map(|n| connected(&attack, &format!("publisher{qos}{n}"))).collect();
        for publisher in &mut publishers {
            let mut octets = Vec::new();
            for n in 0..each {
                let id = u16::try_from(n % 60_000).expect("a small number") + 1;
                octets.extend(publish_packet(Version::V311, topic, &[7; 60], qos << 1, id));
            }
            let mut publisher = publisher.try_clone().expect("a descriptor more");
            thread::spawn(move || publisher.write_all(&octets).expect("it is read from"));
        }
        readers.into_iter().for_each(|reader| reader.join().expect("all of it comes"));
    }
    attack.sys.wait_for("connections/paced", |count| count > 0);
    attack.sys.next_round();
    assert_eq!(attack.sys.number("publish/messages/dropped"), 0);
    attack.end(16);
}

/// A reader that was deaf does not make the loop turn, and a writer that waits for it neither.
#[test]
fn a_blocked_reader_costs_nothing() {
    let mut attack = Attack::begin_small("blocked reader", Gateway::builder());
    let mut deaf = MqttClient::connect(attack.gateway.mqtt(), "deaf");
    deaf.subscribe("flood/#", 1);
    let mut publisher = connected(&attack, "publisher");
    flood(&mut publisher, "flood/x", &[7; 1_000], 10_000);
    attack.sys.wait_for("publish/messages/received", |received| received >= 10_000);
    let Attack { bystanders, gateway, sys, .. } = &mut attack;
    // Bystanders would be what is measured.
    bystanders.pause();
    sys.next_round();
    let before = gateway.process().cpu_time();
    sys.next_round();
    let cpu = gateway.process().cpu_time() - before;
    assert!(cpu.as_millis() < 100, "{cpu:?} for two rounds of $SYS");
    attack.end(16);
}

/// Two hundred thousand retained messages, and readers of all of them who take their time.
#[test]
fn a_slow_reader_of_everything_retained_keeps_nobody_waiting() {
    let count = amount(50_000, 200_000);
    let limits = format!("retained_messages = {count}");
    let mut attack = Attack::begin("retained", Gateway::builder().limits(&limits));
    let mut publisher = connected(&attack, "publisher");
    let mut octets = Vec::new();
    for number in 0..count {
        let topic = format!("keep/{}/{}/{number}", number % 10, number % 1_000);
        octets.extend(publish_packet(Version::V311, &topic, &[7; 60], 1, 0));
    }
    publisher.write_all(&octets).expect("the publisher is not cut");
    attack.sys.wait_for("limits/retained_messages/used", |used| used == count as u64);
    let mut readers: Vec<_> = (0..3)
        .map(|number| {
            let mut reader = MqttClient::connect(attack.gateway.mqtt(), &format!("r{number}"));
            reader.set_timeout(PATIENCE);
            reader.send("82 06 00 01 00 01 '#' 01");
            reader
        })
        .collect();
    // They read only now and then, one after the other, and more is published meanwhile.
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.expect("90 03 00 01 01");
        flood(&mut publisher, "live/x", &[7; 60], 10_000);
        let mut kept = 0;
        while kept < count {
            let message = reader.next_message();
            kept += usize::from(message.retain);
        }
        eprintln!("retained: reader {number} has all {kept}");
    }
    attack.end(if count == 50_000 { 48 } else { 128 });
}

/// Thousands of clients are cut in the same moment, and every will arrives.
#[test]
fn all_wills_of_a_crowd_that_is_cut_arrive() {
    let mut attack = Attack::begin("will storm", Gateway::builder());
    let server = attack.gateway.mqtt();
    let (threads, each) = (8, amount(375, 1_250));
    let mut observer = MqttClient::connect(server, "observer");
    observer.set_timeout(PATIENCE);
    observer.subscribe("will/#", 1);
    let mut sensor = SnClient::connect(attack.gateway.mqtt_sn(), "observer-sn");
    sensor.subscribe("will/0", 1);
    system_tests::descriptors::raise();
    let crowd = at_once(threads, |thread| {
        let connect = |number: usize| {
            let number = thread * each + number;
            let will = Will::new(&format!("will/{}", number % 100), &number.to_string(), 1);
            MqttClient::options(&format!("w{number}")).will(will).connect(server)
        };
        (0..each).map(connect).collect::<Vec<_>>()
    });
    drop(crowd);
    let mut came: Vec<usize> = observer
        .collect(threads * each)
        .iter()
        .map(|message| message.text().parse().expect("a number"))
        .collect();
    came.sort_unstable();
    assert_eq!(came, (0..threads * each).collect::<Vec<_>>());
    assert_eq!(sensor.collect(threads * each / 100).len(), threads * each / 100);
    attack.sys.wait_for("wills/published", |count| count == (threads * each) as u64);
    attack.end(if each == 375 { 16 } else { 48 });
}

/// A publication goes to so many that handing them out takes longer than reading the next one: the
/// publisher waits, and nothing is dropped as long as the subscribers take it.
#[test]
fn a_wide_fan_out_slows_its_publisher_down_and_drops_nothing() {
    let mut attack = Attack::begin("wide fan-out", Gateway::builder());
    let mut crowd = Crowd::connect(attack.gateway.mqtt(), 200, "reader");
    crowd.push(&packet(0x82, b"\0\x01\0\x01w\0"));
    attack.sys.wait_for("subscriptions/count", |count| count >= 202);
    let mut publisher = connected(&attack, "publisher");
    let count = amount(3_000, 10_000);
    // 20 octets each: even the sockets of readers that do not read have room for all.
    flood(&mut publisher, "w", &[7; 16], count);
    let sent = attack.sys.wait_for("mqtt/publish/sent", |sent| sent >= 200 * count as u64);
    eprintln!("wide fan-out: {sent} deliveries");
    // The server's values end a round: what was dropped so far was told before them.
    assert_eq!(attack.sys.number("publish/messages/dropped"), 0);
    attack.end(16);
}
