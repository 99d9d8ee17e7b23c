//! Supervision and the values of section 13 (SN 6.11, 6.13, 6.14, 7.2, D7).

use core::time::Duration;

use mqtt_sn_gw::config::Config;
use mqtt_sn_gw::sn::Settings;

use crate::farm::{A, Farm, Q1, settings};

fn connected(keep_alive: &str) -> Farm {
    let mut farm = Farm::new();
    farm.play(A, &format!("> 0A 04 00 01 {keep_alive} 'dev1'\n< 03 05 00"));
    farm
}

/// SN-091, SN-104: one and a half keep-alives, whatever their length.
#[test]
fn an_active_client_is_lost_after_one_and_a_half_keep_alives() {
    for (keep_alive, patience) in [
        ("00 01", 1_500),
        ("00 02", 3_000),
        ("00 3C", 90_000),
        ("01 68", 540_000),
        ("FF FF", 98_302_500),
    ] {
        let mut farm = connected(keep_alive);
        farm.pass(patience - 5);
        assert_eq!(farm.gateway.usage().active, 1, "keep-alive {keep_alive}");
        farm.pass(10);
        assert_eq!(farm.gateway.usage().active, 0);
        assert_eq!(farm.received(A), ["02 18"], "it is told (SN-026)");
    }
}

/// SN-083 is the client's to keep; one that pings late, as they do (17.13), is not lost.
#[test]
fn a_client_that_pings_exactly_at_its_keep_alive_lives() {
    let mut farm = connected("00 0A");
    for _ in 0..20 {
        farm.pass(10_000);
        farm.play(A, "> 02 16\n< 02 17");
    }
}

/// 17.13: keep-alive 0 asks for no supervision; an administrative limit takes its place.
#[test]
fn keep_alive_0_is_supervised_by_the_idle_limit() {
    let idle_timeout = Duration::from_secs(3_600);
    let mut farm = Farm::with(Settings { idle_timeout, ..settings() });
    farm.play(A, "> 0A 04 00 01 00 00 'dev1'\n< 03 05 00");
    farm.pass(3_599_000);
    farm.play(A, "> 02 16\n< 02 17");
    farm.pass(3_599_000);
    assert_eq!(farm.gateway.usage().active, 1);
    farm.pass(2_000);
    assert_eq!(farm.gateway.usage().active, 0);
}

/// Our own messages are no sign of life of the client.
#[test]
fn what_we_send_does_not_keep_a_client_alive() {
    let mut farm = connected("00 0A");
    farm.play(A, "> 08 12 00 00 02 'a/x'\n< 08 13 00 00 01 00 02 00");
    for _ in 0..4 {
        farm.pass(3_500);
        farm.publish("a/x", "1", crate::farm::Q0);
    }
    assert_eq!(farm.take(A).len(), 4);
    farm.pass(1_100);
    assert_eq!(farm.gateway.usage().active, 0);
}

/// 10.14: keep-alive is not supervised in asleep and awake, sleep not in awake.
#[test]
fn only_the_timer_of_the_state_counts() {
    let mut farm = connected("00 02");
    farm.play(A, "> 08 12 20 00 02 'a/x'\n< 08 13 20 00 01 00 02 00\n> 04 18 00 3C\n< 02 18");
    farm.pass(80_000);
    assert_eq!(farm.gateway.usage().asleep, 1, "the keep-alive was 2 s");
    farm.play(A, "> 0A 04 00 01 00 02 'dev1'\n< 03 05 00\n> 04 18 00 02\n< 02 18");
    farm.publish("a/x", "1", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 09 0A 00 01 ?? ?? 'a/x'");
    farm.pass(8_000);
    assert_eq!(farm.gateway.usage().awake, 1, "the sleep was 2 s");
}

/// SN-092: nobody supervises who has gone, but a session does not wait for ever.
#[test]
fn a_session_that_nobody_returns_to_ends_some_day() {
    let mut farm = connected("00 3C");
    farm.play(A, "> 09 0A 00 00 00 09 'abc'\n< 07 0B 00 01 00 09 00\n> 02 18\n< 02 18");
    let week = 7 * 86_400_000;
    farm.pass(week - 1_000);
    assert_eq!(farm.gateway.usage().gone, 1);
    farm.pass(2_000);
    assert_eq!(farm.gateway.usage().gone, 0);
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, "> 08 0C 20 00 01 00 09 '1'\n< 07 0D 00 01 00 09 02");
}

/// SN-039, SN-103: what the specification recommends is what one gets.
#[test]
fn the_defaults_are_those_of_the_specification() {
    let defaults = Config::default().mqtt_sn;
    assert!((10_000..=15_000).contains(&defaults.retry_ms), "T_retry");
    assert!((3..=5).contains(&defaults.retry_max), "N_retry");
    assert!((3_000..=5_000).contains(&defaults.awake_retry_ms), "T_retry of an awake client");
    assert_eq!((defaults.awake_retry_max, defaults.handshake_timeout_ms), (3, 60_000));
    assert_eq!(defaults.advertise_s, 0, "nobody is flooded unasked");
}

/// Many clients at once: what is due is done in slices, and nobody is forgotten.
#[test]
fn a_thousand_clients_may_fall_silent_at_once() {
    let mut farm = Farm::new();
    farm.checked_every = 100;
    let watcher = farm.watch("w/#");
    for n in 0..1_000 {
        let from = format!("192.0.2.1:{}", 2_000 + n);
        farm.play(
            &from,
            &format!(
                "> 0A 04 0C 01 00 3C 'd{n:03}'
                 < 02 06
                 > 08 07 20 'w/{n:03}'
                 < 02 08
                 > 06 09 'gone'
                 < 03 05 00"
            ),
        );
    }
    farm.pass(91_000);
    assert_eq!(farm.gateway.usage().active, 0);
    assert_eq!(farm.heard(watcher).len(), 1_000, "every will, once");
    farm.gateway.check_invariants();
}
