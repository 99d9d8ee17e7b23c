//! A disk that takes a tenth of a second for every sync: the loop does not wait for it.

use std::time::{Duration, Instant};

use system_tests::client::mqtt::{MqttClient, Version, publish_packet};
use system_tests::sys::{EVERY_SECOND, Sys};

use crate::faulty::FaultyDisk;

const SYNC: Duration = Duration::from_millis(100);
const PUBLISHERS: usize = 100;
const ROUNDS: u16 = 5;

/// One sync is shared by all that came during the one before.
#[test]
fn many_publishers_share_the_syncs_of_a_slow_disk() {
    let disk = FaultyDisk::new();
    let gateway = disk.gateway().text(EVERY_SECOND).start();
    let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
    reader.subscribe("told/#", 1);
    reader.vanish();
    let mut publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| MqttClient::connect(gateway.mqtt(), &format!("publisher{number}")))
        .collect();
    let mut bystander = MqttClient::connect(gateway.mqtt(), "bystander");
    let mut sys = Sys::watch(gateway.mqtt());
    sys.next_round();
    let before = sys.number("store/disk/syncs");
    disk.order(&format!("slow {}", SYNC.as_millis()));
    let began = Instant::now();
    let mut pings = Vec::new();
    for round in 1..=ROUNDS {
        let packet = publish_packet(Version::V311, "told/x", &[7; 100], 2, round);
        publishers.iter_mut().for_each(|publisher| publisher.send_octets(&packet));
        for _ in 0..10 {
            let began = Instant::now();
            bystander.ping();
            pings.push(began.elapsed());
        }
        let puback = format!("40 02 00 {round:02X}");
        publishers.iter_mut().for_each(|publisher| drop(publisher.expect(&puback)));
    }
    let took = began.elapsed();
    sys.next_round();
    let syncs = sys.number("store/disk/syncs") - before;
    pings.sort_unstable();
    let (median, total) = (pings[pings.len() / 2], PUBLISHERS as u32 * u32::from(ROUNDS));
    eprintln!("{total} messages, {syncs} syncs, {took:?}; ping p50 {median:?}");
    // A message waits for two syncs at most, the one that goes on and its own; on a busy machine
    // those of a round come one after the other.
    assert!(syncs <= 6 * u64::from(ROUNDS), "{syncs} syncs for {ROUNDS} rounds");
    assert!(took >= SYNC * u32::from(ROUNDS), "no acknowledgement came before its sync: {took:?}");
    assert!(took < SYNC * total / 4, "{took:?}");
    assert!(median < SYNC / 4, "a ping waited for the disk: {median:?}");
    sys.wait_for("store/disk/sync_us_max", |us| us >= 100_000);
}

/// An orderly end waits for the disk; whoever does not want to wait says so once more.
#[test]
fn a_second_signal_ends_a_gateway_whose_disk_hangs() {
    let disk = FaultyDisk::new();
    let mut gateway = disk.gateway().start();
    let mut client = MqttClient::options("client").persistent().connect(gateway.mqtt());
    disk.order(&format!("slow {}", Duration::from_secs(3_600).as_millis()));
    // Retained, so that it goes to the disk.
    client.send("33 07 00 01 't' 00 01 'hi'");
    client.ping();
    gateway.process().signal("TERM");
    assert!(gateway.process().wait_for_log("stopped"));
    assert_eq!(gateway.terminate().code(), Some(1));
}
