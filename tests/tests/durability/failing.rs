//! A disk that fails otherwise: it is never believed to have done what it refused.

use std::process::Command;

use system_tests::client::mqtt::MqttClient;
use system_tests::gateway::Gateway;
use system_tests::sys::EVERY_SECOND;

use crate::faulty::{FaultyDisk, Teller, assert_kept, wait_for_health};

/// A gateway with a reader who is away, and a publisher whose messages are safe by now.
fn started(disk: &FaultyDisk) -> (Gateway, Teller) {
    let gateway = disk.gateway().text(EVERY_SECOND).start();
    let mut reader = MqttClient::options("reader").persistent().connect(gateway.mqtt());
    reader.subscribe("told/#", 1);
    reader.vanish();
    let mut teller = Teller::connect(&gateway, "teller", 500);
    for _ in 0..20 {
        assert!(teller.tell());
    }
    (gateway, teller)
}

/// Nothing is acknowledged, others are served, and it is told; with the disk all is well.
#[track_caller]
fn check(order: &str) {
    let disk = FaultyDisk::new();
    let (mut gateway, mut teller) = started(&disk);
    for _ in 0..3 {
        disk.order(order);
        teller.tell_until_refused();
        wait_for_health(&gateway, "failed");
        let mut bystander = MqttClient::connect(gateway.mqtt(), "bystander");
        bystander.subscribe("q0", 0);
        bystander.publish("q0", "hi", 0);
        bystander.expect_message("q0", "hi", 0);
        assert!(!teller.tell());
        disk.heal();
        teller.tell_until_taken();
    }
    gateway.kill9();
    gateway.restart();
    assert_kept(&gateway, "reader", &teller.accepted);
}

#[test]
fn a_disk_that_fails_to_write_is_told_and_tried_again() {
    check("fail");
}

/// A sync that failed says nothing the next time (DU5): what it was for is written once more.
#[test]
fn a_sync_that_failed_is_not_taken_for_done() {
    check("fail-sync");
}

/// `ulimit -f`; the system ends a process that does not expect it.
#[test]
fn a_limit_of_the_size_of_files_is_told_and_outlived() {
    let disk = FaultyDisk::new();
    let (mut gateway, mut teller) = started(&disk);
    let limit = |gateway: &Gateway, octets: &str| {
        let id = gateway.process().id().to_string();
        let set =
            Command::new("prlimit").args(["--pid", &id, &format!("--fsize={octets}:")]).status();
        assert!(set.expect("prlimit is there").success());
    };
    limit(&gateway, "100000");
    teller.tell_until_refused();
    wait_for_health(&gateway, "failed");
    limit(&gateway, "unlimited");
    teller.tell_until_taken();
    gateway.kill9();
    gateway.restart();
    assert_kept(&gateway, "reader", &teller.accepted);
}

#[test]
fn a_folder_that_becomes_read_only_is_told_and_tried_again() {
    check("read-only");
}

#[test]
fn what_was_acknowledged_before_the_disk_failed_survives_a_kill() {
    for order in ["fail", "fail-sync", "read-only"] {
        let disk = FaultyDisk::new();
        let (mut gateway, mut teller) = started(&disk);
        disk.order(order);
        teller.tell_until_refused();
        gateway.kill9();
        disk.heal();
        gateway.restart();
        assert_kept(&gateway, "reader", &teller.accepted);
    }
}

/// The end does not wait for ever, and does not claim that all is well.
#[test]
fn an_orderly_end_tells_if_something_is_not_safe() {
    let disk = FaultyDisk::new();
    let (mut gateway, mut teller) = started(&disk);
    disk.order("fail");
    teller.tell_until_refused();
    assert_eq!(gateway.terminate().code(), Some(1));
    assert!(gateway.process().wait_for_log("the store could not be written to its end"));
    disk.heal();
    gateway.restart();
    assert_kept(&gateway, "reader", &teller.accepted);
}
