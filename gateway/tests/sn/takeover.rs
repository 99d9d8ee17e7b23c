//! Whose a client id and an address are (D5): take-over, rebinding, and who is asked first.

use core::time::Duration;

use mqtt_sn_gw::sn::{Rebind, Settings};

use crate::farm::{A, A2, B, F, Farm, Q1, settings};

const DEV1: &str = "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00";
const CONNECT: &str = "0A 04 00 01 00 3C 'dev1'";
const SUBSCRIBE: &str = "> 08 12 20 00 0A 'a/x'\n< 08 13 20 00 01 00 0A 00";
const SLEEP: &str = "> 04 18 01 2C\n< 02 18";

fn connected() -> Farm {
    let mut farm = Farm::new();
    farm.play(A, DEV1);
    farm
}

#[test]
fn the_same_host_may_come_from_another_port_at_once() {
    let mut farm = connected();
    farm.play(A2, DEV1);
    assert_eq!(farm.received(A), ["02 18"], "the old address is told");
    farm.play(A, "> 02 16\n< 02 18");
    assert_eq!(farm.gateway.usage().active, 1);
}

#[test]
fn another_host_takes_over_only_if_the_owner_is_silent() {
    let mut farm = connected();
    farm.say(B, CONNECT);
    assert_eq!(farm.received(A), ["02 16"]);
    farm.play(A, "> 02 17");
    farm.pass(2_100);
    assert_eq!(farm.received(B), ["03 05 03"]);
    assert_eq!(farm.gateway.stats().takeovers_refused, 1);
    farm.play(A, "> 02 16\n< 02 17");

    farm.pass(5_000);
    farm.say(B, CONNECT);
    farm.pass(2_100);
    assert_eq!(farm.received(A), ["02 16", "02 16", "02 16", "02 18"]);
    farm.play(B, "< 03 05 00\n> 02 16\n< 02 17");
}

/// Whoever was heard of a moment ago may be gone now: only what comes after the question counts.
#[test]
fn an_owner_that_spoke_before_it_was_asked_has_not_answered() {
    let mut farm = connected();
    farm.play(A, "> 02 16\n< 02 17");
    farm.pass(1);
    farm.say(B, CONNECT);
    farm.pass(2_100);
    farm.play(B, "< 03 05 00");
}

/// Anything that the owner says is an answer, also to the second question.
#[test]
fn an_owner_that_says_anything_keeps_its_id() {
    let mut farm = connected();
    farm.say(B, CONNECT);
    farm.pass(1_000);
    assert_eq!(farm.received(A), ["02 16", "02 16"]);
    farm.play(A, "> 08 12 20 00 0A 'a/x'\n< 08 13 20 00 01 00 0A 00");
    farm.pass(1_100);
    assert_eq!(farm.received(B), ["03 05 03"]);
    assert!(farm.received(A).is_empty(), "it is not asked again");
}

#[test]
fn a_repeated_connect_does_not_ask_faster_and_a_disconnect_ends_the_asking() {
    let mut farm = connected();
    for _ in 0..5 {
        farm.say(B, CONNECT);
    }
    assert_eq!(farm.received(A), ["02 16"]);
    // What belongs to a will is not asked for yet.
    farm.play(B, "> 09 07 30 'w/dev1'\n> 06 09 'gone'\n> 02 16");
    farm.play(B, "> 02 18\n< 02 18");
    farm.pass(10_000);
    farm.play(A, "> 02 16\n< 02 17");
    assert_eq!(farm.gateway.usage().handshakes, 0);
}

#[test]
fn a_stranger_with_a_will_is_asked_for_it_when_the_owner_is_silent() {
    let mut farm = connected();
    farm.say(B, "0A 04 08 01 00 3C 'dev1'");
    farm.pass(2_100);
    farm.play(B, "< 02 06\n> 0A 04 08 01 00 3C 'dev1'\n< 02 06");
    assert_eq!(farm.received(A), ["02 16"; 3], "the session is still its own");
    farm.play(A, "> 02 16\n< 02 17");
    farm.play(B, "> 09 07 30 'w/dev1'\n< 02 08\n> 06 09 'gone'\n< 03 05 00");
    assert_eq!(farm.received(A), ["02 18"]);
}

#[test]
fn nobody_is_asked_if_that_is_switched_off() {
    let mut farm = Farm::with(Settings { takeover_probe: Duration::ZERO, ..settings() });
    farm.play(A, DEV1);
    farm.play(B, DEV1);
    assert_eq!(farm.received(A), ["02 18"]);
}

/// Who sleeps cannot be asked, and is not disturbed.
#[test]
fn a_sleeping_session_moves_with_a_connect_from_anywhere() {
    let mut farm = connected();
    farm.play(A, SLEEP);
    farm.play(B, DEV1);
    assert!(farm.received(A).is_empty());
    farm.play(A, "> 06 16 'dev1'\n< 02 18");
}

/// D5: two devices with the same id would go back and forth for ever.
#[test]
fn a_session_that_goes_back_and_forth_stays_after_a_few_times() {
    for clean in ["00", "04"] {
        let mut farm = Farm::new();
        let connect = format!("0A 04 {clean} 01 00 3C 'dev1'");
        let mut answers = Vec::new();
        for turn in 0..10 {
            let from = if turn % 2 == 0 { A } else { A2 };
            farm.say(from, &connect);
            answers.extend(farm.received(from));
            farm.pass(1_000);
        }
        answers.retain(|answer| answer.starts_with("03 05"));
        let accepted = answers.iter().filter(|answer| *answer == "03 05 00").count();
        let refused = answers.iter().filter(|answer| *answer == "03 05 01").count();
        assert!(accepted <= 8 && refused >= 2, "{answers:?}");
        assert_eq!(farm.gateway.stats().takeovers_refused, refused as u64);
        // A minute later it may go again.
        farm.pass(61_000);
        let last = if answers.len() % 2 == 0 { A } else { A2 };
        farm.say(last, &connect);
        assert_eq!(farm.received(last).last().map(String::as_str), Some("03 05 00"));
    }
}

/// A NAT gives another port each time; that is no device with the same id.
#[test]
fn a_session_may_go_on_to_new_ports_for_ever() {
    let mut farm = Farm::new();
    for port in 2_000..2_050 {
        farm.play(&format!("192.0.2.1:{port}"), DEV1);
        farm.pass(100);
    }
}

#[test]
fn a_ping_moves_a_sleeping_session_as_far_as_configured() {
    for (wake_rebind, near, far) in [
        (Rebind::SameIp, "02 17", "02 18"),
        (Rebind::Any, "02 17", "02 17"),
        (Rebind::Never, "02 18", "02 18"),
    ] {
        for (from, expected) in [(A2, near), (B, far)] {
            let mut farm = Farm::with(Settings { wake_rebind, ..settings() });
            farm.play(A, DEV1);
            farm.play(A, SLEEP);
            farm.play(from, &format!("> 06 16 'dev1'\n< {expected}"));
            let moved = u64::from(expected == "02 17");
            assert_eq!(farm.gateway.stats().rebinds, moved, "{wake_rebind:?} from {from}");
            // Where it is not, it is unknown.
            let (here, there) = if moved == 1 { (from, A) } else { (A, from) };
            farm.play(here, "> 02 16\n< 02 17");
            farm.play(there, "> 02 16\n< 02 18");
        }
    }
}

/// Also in the middle of a visit: the PINGREQ before, or our answer, was lost with the address.
#[test]
fn a_ping_moves_a_session_that_is_awake() {
    let mut farm = connected();
    farm.play(A, SUBSCRIBE);
    farm.play(A, SLEEP);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 ?? ?? '1'");
    farm.play(A2, "> 06 16 'dev1'\n< 08 0C A0 00 01 {m} '1'\n> 07 0D 00 01 {m} 00\n< 02 17");
    assert!(farm.received(A).is_empty(), "it is the same device");
}

#[test]
fn everything_else_from_a_new_address_is_from_a_stranger() {
    for says in ["02 16", "08 0C 20 00 01 00 09 '1'", "04 18 01 2C", "02 18"] {
        let mut farm = connected();
        farm.play(A, SLEEP);
        farm.play(A2, &format!("> {says}\n< 02 18"));
        assert_eq!(farm.gateway.usage().asleep, 1);
    }
}

/// D5: an address taken by another id leaves the first session without address and its timer
/// running.
#[test]
fn who_loses_its_address_is_lost_when_its_time_is_up() {
    let mut farm = Farm::new();
    let watcher = farm.watch("w/#");
    farm.play(
        A,
        "> 0A 04 08 01 00 3C 'dev1'
         < 02 06
         > 09 07 30 'w/dev1'
         < 02 08
         > 06 09 'gone'
         < 03 05 00",
    );
    farm.play(A, SUBSCRIBE);
    farm.pass(60_000);
    farm.play(A, "> 0A 04 04 01 00 3C 'dev2'\n< 03 05 00");
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.expect_silence(A);
    farm.pass(31_000);
    assert_eq!(farm.heard(watcher), ["w/dev1 gone q1"], "90 s after its own last word");
    farm.play(A, "> 02 16\n< 02 17");
    // What came meanwhile waits, and the first of it has not been sent before.
    farm.play(
        A2,
        "> 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00",
    );
}

/// The exchange of a client that lost its address waits, and nothing is given up meanwhile.
#[test]
fn who_loses_its_address_loses_no_message() {
    let mut farm = connected();
    farm.play(A, SUBSCRIBE);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "< 08 0C 20 00 01 ?? ?? '1'\n> 02 16\n< 02 17");
    farm.pass(1);
    farm.play(A, "> 02 16\n< 02 17\n> 0A 04 04 01 00 3C 'dev2'\n< 03 05 00");
    farm.pass(80_000);
    assert_eq!(farm.gateway.stats().given_up, 0);
    farm.play(
        A2,
        "> 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C ?? 00 01 {m} '1'
         > 07 0D 00 01 {m} 00",
    );
}

/// One that loses its address in a visit sleeps on, supervised as before.
#[test]
fn who_loses_its_address_in_a_visit_sleeps_on() {
    let mut farm = connected();
    farm.play(A, SUBSCRIBE);
    farm.play(A, SLEEP);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 ?? ?? '1'");
    farm.play(A, "> 0A 04 04 01 00 00 'dev2'\n< 03 05 00");
    assert_eq!((farm.gateway.usage().awake, farm.gateway.usage().asleep), (0, 1));
    farm.pass(440_000);
    farm.play(A2, "> 06 16 'dev1'\n< 08 0C A0 00 01 {m} '1'\n> 07 0D 00 01 {m} 00\n< 02 17");
    farm.pass(451_000);
    assert_eq!(farm.gateway.usage().asleep, 0);
}

/// Its messages stay on its host: whoever takes the address of a sleeper, with a forged sender
/// perhaps, cannot have them collected elsewhere.
#[test]
fn a_sleeper_without_an_address_is_followed_no_further_than_before() {
    let mut farm = connected();
    farm.play(A, SUBSCRIBE);
    farm.play(A, SLEEP);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "> 0A 04 04 01 00 3C 'evil'\n< 03 05 00");
    farm.play(B, "> 06 16 'dev1'\n< 02 18");
    farm.play(A2, "> 06 16 'dev1'\n< 08 0C 20 00 01 ?? ?? '1'");
}

/// A CONNECT in another name is no sign of life of the client that had the address.
#[test]
fn another_client_at_the_address_is_no_sign_of_life() {
    let mut farm = connected();
    farm.pass(80_000);
    farm.say(A, "0A 04 08 01 00 3C 'dev2'");
    farm.say(A, "06 16 'dev3'");
    farm.pass(11_000);
    assert_eq!(farm.gateway.usage().active, 0);
}

/// Ids are compared whole: the beginning of one is another one.
#[test]
fn an_id_that_is_the_beginning_of_another_is_another() {
    let mut farm = Farm::new();
    farm.play(A, "> 0C 04 04 01 00 3C 'node10'\n< 03 05 00");
    farm.play(A2, "> 0B 04 04 01 00 3C 'node1'\n< 03 05 00");
    assert!(farm.received(A).is_empty());
    farm.play(A, "> 04 18 01 2C\n< 02 18");
    farm.play(A2, "> 07 16 'node1'\n< 02 17\n> 06 16 'node'\n< 02 18\n> 07 16 'NODE1'\n< 02 18");
    farm.play(A, "> 08 16 'node10'\n< 02 17");
}

/// Nodes behind one forwarder share its host.
#[test]
fn a_node_may_take_over_from_another_behind_the_same_forwarder() {
    let mut farm = Farm::new();
    farm.play(F, "> 05 FE 00 'N1' 0A 04 00 01 00 3C 'dev1'\n< 05 FE 00 'N1' 03 05 00");
    farm.play(
        F,
        "> 05 FE 00 'N2' 0A 04 00 01 00 3C 'dev1'
         < 05 FE 00 'N1' 02 18
         < 05 FE 00 'N2' 03 05 00
         > 05 FE 00 'N1' 02 16
         < 05 FE 00 'N1' 02 18",
    );
}
