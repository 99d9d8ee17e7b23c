//! The start on a disk that takes nothing.

use std::fs;

use system_tests::client::mqtt::MqttClient;
use system_tests::gateway;
use system_tests::process::{PATIENCE, Process};

use crate::faulty::FaultyDisk;

/// The start was refused: nothing is ready, the status is 2, and it is said what to do.
#[track_caller]
fn assert_refused(disk: &FaultyDisk, what: &str) {
    let mut process = Process::spawn("mqtt-sn-gw", &mut disk.command(gateway::binary()));
    assert!(process.next_line(PATIENCE).is_err(), "it must not get ready");
    assert_eq!(process.wait().code(), Some(2), "{}", process.log());
    let log = process.stderr();
    let lines: Vec<_> = log.lines().collect();
    let [.., first, second] = lines[..] else { panic!("not two lines: {log}") };
    assert!(first.starts_with("mqtt-sn-gw: cannot use the data folder: "), "{first}");
    assert!(first.contains(what), "{first}");
    assert!(second.starts_with("    ") && second.contains("--data-dir DIR"), "{second}");
}

#[test]
fn a_start_on_a_read_only_disk_is_refused() {
    let disk = FaultyDisk::new();
    disk.order("read-only");
    assert_refused(&disk, "Read-only file system");
    // Likewise if the folder is there already.
    fs::create_dir(disk.folder()).expect("the folder is ours");
    assert_refused(&disk, "Read-only file system");
}

/// Nobody is served by a store that cannot even begin.
#[test]
fn a_first_start_on_a_full_disk_is_refused() {
    for (order, what) in [("room 0", "No space left on device"), ("fail", "Input/output error")] {
        let disk = FaultyDisk::new();
        disk.order(order);
        assert_refused(&disk, what);
        disk.heal();
        let gateway = disk.gateway().start();
        MqttClient::connect(gateway.mqtt(), "client").publish_retained("t", "x", 1);
    }
}
