//! Connecting, again and from elsewhere.

use crate::farm::{A, A2, B, Farm, Q1};

const DEV1: &str = "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00";

#[test]
fn the_same_host_may_come_from_another_port_at_once() {
    let mut farm = Farm::new();
    farm.play(A, DEV1);
    farm.play(A2, DEV1);
    assert_eq!(farm.received(A), ["02 18"], "the old address is told");
    farm.play(A, "> 02 16\n< 02 18");
}

#[test]
fn another_host_takes_over_only_if_the_owner_is_silent() {
    let mut farm = Farm::new();
    farm.play(A, DEV1);
    farm.send(B, b"\x0A\x04\x00\x01\x00\x3Cdev1");
    assert_eq!(farm.received(A), ["02 16"]);
    farm.play(A, "> 02 17");
    farm.pass(2_100);
    assert_eq!(farm.received(B), ["03 05 03"]);
    assert_eq!(farm.gateway.stats().takeovers_refused, 1);

    farm.pass(5_000);
    farm.send(B, b"\x0A\x04\x00\x01\x00\x3Cdev1");
    farm.pass(2_100);
    assert_eq!(farm.received(A), ["02 16", "02 16", "02 16", "02 18"]);
    farm.play(B, "< 03 05 00\n> 02 16\n< 02 17");
}

#[test]
fn a_client_that_falls_silent_is_told_and_its_will_is_published() {
    let mut farm = Farm::new();
    let watcher = farm.watch("w/#");
    farm.play(
        A,
        "> 0A 04 0C 01 00 02 'dev1'
         < 02 06
         > 09 07 30 'w/dev1'
         < 02 08
         > 06 09 'gone'
         < 03 05 00",
    );
    farm.pass(2_900);
    assert!(farm.heard(watcher).is_empty());
    farm.pass(200);
    assert_eq!(farm.heard(watcher), ["w/dev1 gone q1"]);
    assert_eq!(farm.received(A), ["02 18"]);
    assert_eq!(farm.gateway.usage().active, 0);
}

#[test]
fn a_session_taken_over_by_plain_mqtt_is_told() {
    let mut farm = Farm::new();
    farm.play(A, DEV1);
    farm.service("dev1");
    assert_eq!(farm.received(A), ["02 18"]);
    farm.publish("x", "y", Q1);
    farm.play(A, "> 02 16\n< 02 18");
}
