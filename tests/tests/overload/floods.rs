//! More datagrams than anybody needs.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::{SnClient, frame, msg_type as t};
use system_tests::gateway::Gateway;
use system_tests::hex::octets;
use system_tests::sys;

use super::{Attack, amount};

fn socket(gateway: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(gateway).expect("loopback");
    socket
}

/// Sends as fast as it can for so long; returns how many were sent and how many answers came.
fn flood(
    gateway: SocketAddr,
    sockets: usize,
    duration: Duration,
    mut datagram: impl FnMut(usize) -> Vec<u8>,
) -> (usize, usize) {
    let sockets: Vec<_> = (0..sockets).map(|_| socket(gateway)).collect();
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < duration {
        for socket in &sockets {
            socket.send(&datagram(sent)).expect("a gateway that listens");
            sent += 1;
        }
    }
    let mut buffer = [0; 2_048];
    let mut answers = 0;
    for socket in &sockets {
        socket.set_nonblocking(true).expect("a socket");
        while socket.recv(&mut buffer).is_ok() {
            answers += 1;
        }
    }
    (sent, answers)
}

fn flood_time() -> Duration {
    Duration::from_secs(amount(1, 60) as u64)
}

/// Everybody may ask where the gateway is; it says so twenty times a second.
#[test]
fn a_flood_of_searches_is_answered_twenty_times_a_second() {
    let mut attack = Attack::begin_flood("SEARCHGW flood", Gateway::builder());
    let time = flood_time();
    let searchgw = octets("03 01 00");
    let (sent, answers) = flood(attack.gateway.mqtt_sn(), 50, time, |_| searchgw.clone());
    let searched = attack.sys.wait_for("mqtt-sn/searchgw/received", |count| count > 0);
    eprintln!("SEARCHGW flood: {} a second, {answers} answers", sent as u64 / time.as_secs());
    assert!(searched > 0 && answers as u64 <= 20 * (time.as_secs() + 1), "{answers} answers");
    attack.end(4);
}

/// Strangers are told to connect, each twice and all of them a thousand times a second.
#[test]
fn a_flood_of_strangers_is_answered_within_the_limits() {
    let mut attack = Attack::begin_flood("flood of strangers", Gateway::builder());
    let time = flood_time();
    let publish = octets("09 0C 20 00 01 00 02 'hi'");
    let (sent, answers) = flood(attack.gateway.mqtt_sn(), 500, time, |_| publish.clone());
    eprintln!("flood of strangers: {} a second, {answers} answers", sent as u64 / time.as_secs());
    assert!(answers as u64 <= 2 * 500 * (1 + time.as_secs() / 10), "{answers} answers");
    attack.sys.wait_for("mqtt-sn/unknown/received", |count| count > answers as u64);
    attack.end(4);
}

/// Who publishes without a connection may do so a thousand times a second.
#[test]
fn a_flood_at_qos_minus_one_is_cut_to_its_rate() {
    let mut attack = Attack::begin_flood("flood at QoS -1", Gateway::builder());
    let mut mqtt = MqttClient::connect(attack.gateway.mqtt(), "observer");
    mqtt.subscribe("xy", 0);
    let time = flood_time();
    let publish = octets("09 0C 62 'xy' 00 00 'hi'");
    let (sent, answers) = flood(attack.gateway.mqtt_sn(), 1, time, |_| publish.clone());
    assert_eq!(answers, 0);
    let published = attack.sys.wait_for("mqtt-sn/qos_minus_one/dropped", |count| count > 0);
    eprintln!("flood at QoS -1: {} a second, {published} dropped", sent as u64 / time.as_secs());
    attack.sys.next_round();
    let published = attack.sys.number("mqtt-sn/qos_minus_one/published");
    assert!((1..=1_000 * (time.as_secs() + 1)).contains(&published), "{published} published");
    mqtt.expect_message("xy", "hi", 0);
    attack.end(8);
}

/// A hundred thousand sensors switch on.
#[test]
fn as_many_sensors_connect_as_the_limit_allows() {
    let count = amount(10_000, 100_000);
    let limits = format!("sessions = {count}");
    let mut attack = Attack::begin("many sensors", Gateway::builder().limits(&limits));
    // Two bystanders and the one who watches have sessions.
    let wanted = count - 3;
    let began = Instant::now();
    let connect = |number: usize| {
        let body = [&[4, 1, 0, 0], format!("sensor{number}").as_bytes()].concat();
        frame(t::CONNECT, &body)
    };
    let connacks = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let socket = socket(attack.gateway.mqtt_sn());
                scope.spawn(move || {
                    let retry = Duration::from_millis(500);
                    socket.set_read_timeout(Some(retry)).expect("above zero");
                    let mut answer = [0; 16];
                    for number in (thread..wanted).step_by(4) {
                        socket.send(&connect(number)).expect("a gateway that listens");
                        // One at a time: from one address a CONNECT ends the handshake before.
                        while socket.recv(&mut answer).is_err() {
                            socket.send(&connect(number)).expect("a gateway that listens");
                        }
                        assert_eq!(answer[..3], [3, 5, 0], "sensor {number}");
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("see above")).count()
    });
    assert_eq!(connacks, 4);
    let took = began.elapsed();
    let rss = attack.growth();
    eprintln!("many sensors: {wanted} in {took:?}, {} octets each", rss / wanted as u64);
    let mut one_more = SnClient::open(attack.gateway.mqtt_sn());
    one_more.send("0A 04 04 01 00 3C 'more'");
    one_more.expect("03 05 01");
    attack.sys.wait_for("limits/sessions/used", |used| used == count as u64);
    assert_eq!(attack.sys.number("limits/sessions/max"), count as u64);
    let per_session = rss / wanted as u64;
    assert!(per_session <= 2_048, "{per_session} octets for each sensor");
    attack.end(if count == 10_000 { 24 } else { 200 });
}

/// Two gateways of which each takes the other for a client: whatever one of them is told, the
/// conversation ends.
#[test]
fn two_gateways_that_hear_each_other_fall_silent() {
    let attack = Attack::begin_small("two gateways", Gateway::builder());
    let other = Gateway::builder().text(sys::EVERY_SECOND).start();
    let (here, there) = (socket(attack.gateway.mqtt_sn()), socket(other.mqtt_sn()));
    let (passed, has_ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let begin = [
        "03 01 00",
        "03 02 07",
        "05 00 01 03 84",
        "0A 04 04 01 00 3C 'dev1'",
        "0A 04 0C 01 00 3C 'dev1'",
        "02 06",
        "02 08",
        "03 05 00",
        "0B 0A 00 00 00 01 'a/b/c'",
        "09 0C 20 00 01 00 02 'hi'",
        "09 0C 42 'xy' 00 03 'hi'",
        "07 0D 00 01 00 02 02",
        "04 10 00 03",
        "08 12 20 00 06 'a/#'",
        "08 13 20 00 00 00 06 00",
        "02 16",
        "06 16 'dev1'",
        "02 17",
        "02 18",
        "04 18 01 2C",
    ];
    thread::scope(|scope| {
        for (from, to) in [(&here, &there), (&there, &here)] {
            let (passed, has_ended) = (&passed, &has_ended);
            scope.spawn(move || {
                let mut buffer = [0; 2_048];
                from.set_read_timeout(Some(Duration::from_millis(100))).expect("above zero");
                while !has_ended.load(Ordering::Relaxed) {
                    if let Ok(length) = from.recv(&mut buffer) {
                        passed.fetch_add(1, Ordering::Relaxed);
                        to.send(&buffer[..length]).expect("a gateway that listens");
                    }
                }
            });
        }
        for datagram in begin {
            here.send(&octets(datagram)).expect("a gateway that listens");
            // Both have answered what they had to when they answer this.
            for gateway in [attack.gateway.mqtt_sn(), other.mqtt_sn()] {
                SnClient::connect(gateway, "third").ping();
            }
        }
        let mut watcher = sys::Sys::watch(other.mqtt());
        watcher.next_round();
        let before = passed.load(Ordering::Relaxed);
        watcher.next_round();
        let after = passed.load(Ordering::Relaxed);
        has_ended.store(true, Ordering::Relaxed);
        eprintln!("two gateways: {after} datagrams, {} of them at last", after - before);
        assert!(after <= 10 * begin.len() as u64, "{after} datagrams");
        assert!(after - before <= 4, "{} datagrams while nobody said anything", after - before);
    });
    attack.end(4);
}
