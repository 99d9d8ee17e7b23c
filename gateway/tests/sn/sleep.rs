//! Sleeping clients (SN 6.14, D6).

use broker_core::api::{Overflow, QoS, QueueLimits};
use mqtt_sn_gw::sn::Settings;

use crate::farm::{A, A2, B, Farm, Q0, Q1, Q2, settings};
use crate::script::Known;

const SLEEP: &str = "> 04 18 00 3C\n< 02 18";

/// Asleep for 60 s, with topic id 1 for a/x, to which it is subscribed at QoS 2.
fn sleeper(clean: bool) -> Farm {
    sleeper_with(settings(), clean)
}

fn sleeper_with(settings: Settings, clean: bool) -> Farm {
    let mut farm = Farm::with(settings);
    let flags = if clean { "04" } else { "00" };
    farm.play(
        A,
        &format!(
            "> 0A 04 {flags} 01 00 3C 'dev1'
             < 03 05 00
             > 08 12 40 00 0A 'a/x'
             < 08 13 40 00 01 00 0A 00
             {SLEEP}"
        ),
    );
    farm
}

/// A visit in which all of these come, acknowledged one by one if they are of QoS 1.
fn visit(qos: QoS, payloads: &[&str]) -> String {
    let mut script = "> 06 16 'dev1'\n".to_owned();
    for (n, payload) in payloads.iter().enumerate() {
        let length = 7 + payload.len();
        script += &if qos == Q0 {
            format!("< {length:02X} 0C 00 00 01 00 00 '{payload}'\n")
        } else {
            let puback = format!("> 07 0D 00 01 {{m{n}}} 00");
            format!("< {length:02X} 0C 20 00 01 {{m{n}}} '{payload}'\n{puback}\n")
        };
    }
    script + "< 02 17"
}

/// SN-095, SN-096
#[test]
fn a_hundred_messages_come_in_order_and_pingresp_comes_last() {
    let mut farm = sleeper(true);
    let payloads: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    for payload in &payloads {
        farm.publish("a/x", payload, Q1);
    }
    assert!(farm.received(A).is_empty());
    farm.play(A, &visit(Q1, &payloads.iter().map(String::as_str).collect::<Vec<_>>()));
}

/// SN-095: at every QoS, in the order in which they were published.
#[test]
fn messages_of_every_qos_wait_in_one_queue() {
    let mut farm = sleeper(true);
    for (payload, qos) in [("1", Q0), ("2", Q2), ("3", Q0), ("4", Q1)] {
        farm.publish("a/x", payload, qos);
    }
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C 00 00 01 00 00 '1'
         < 08 0C 40 00 01 {m} '2'
         > 04 0F {m}
         < 04 10 {m}
         > 04 0E {m}
         < 08 0C 00 00 01 00 00 '3'
         < 08 0C 20 00 01 {n} '4'
         > 07 0D 00 01 {n} 00
         < 02 17",
    );
}

/// SN-097
#[test]
fn without_messages_pingresp_comes_at_once_with_and_without_the_id() {
    let mut farm = sleeper(true);
    farm.play(A, "> 06 16 'dev1'\n< 02 17\n> 02 16\n< 02 17");
    assert_eq!(farm.gateway.usage().asleep, 1);
    assert_eq!(farm.gateway.stats().visits, 2);
}

/// SN-095, and D6: QoS 0 has a smaller bound of its own, and the oldest goes first.
#[test]
fn the_queue_of_a_sleeper_is_bounded() {
    let queue = QueueLimits {
        messages_max: 5,
        bytes_max: 1_000,
        paused_qos0_messages_max: 2,
        overflow: Overflow::DropOldest,
    };
    let mut farm = sleeper_with(Settings { queue, ..settings() }, true);
    for n in 0..4 {
        farm.publish("a/x", &n.to_string(), Q0);
    }
    for n in 4..8 {
        farm.publish("a/x", &n.to_string(), Q1);
    }
    assert_eq!(farm.broker.stats().dropped_queue_full, 3);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 00 00 01 00 00 '3'\n< 08 0C 20 00 01 ?? ?? '4'");
}

/// D6: what was not acknowledged is first in the next visit, and nothing is lost.
#[test]
fn what_is_not_acknowledged_in_a_visit_is_first_in_the_next() {
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'");
    for _ in 0..3 {
        farm.pass(4_500);
        farm.play(A, "< 08 0C A0 00 01 {m} '1'");
    }
    farm.pass(20_000);
    farm.expect_silence(A);
    assert_eq!((farm.gateway.usage().asleep, farm.gateway.stats().visits_broken), (1, 1));
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C A0 00 01 {m} '1'
         > 06 16 'dev1'             -- our message was lost once more
         < 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00
         < 02 17",
    );
}

/// D6: a second PINGREQ repeats what is in flight and nothing else.
#[test]
fn a_second_ping_in_a_visit_makes_no_second_copies() {
    let mut farm = sleeper(true);
    for payload in ["1", "2", "3"] {
        farm.publish("a/x", payload, Q1);
    }
    let mut known = Known::new();
    farm.play_on(A, &mut known, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'");
    for ping in ["02 16", "06 16 'dev1'", "02 16"] {
        farm.play_on(A, &mut known, &format!("> {ping}\n< 08 0C A0 00 01 {{m}} '1'"));
    }
    farm.play_on(A, &mut known, "> 07 0D 00 01 {m} 00\n< 08 0C 20 00 01 {n} '2'");
    let rest = "> 02 16\n< 08 0C A0 00 01 {n} '2'\n> 07 0D 00 01 {n} 00\n< 08 0C 20 00 01 {o} '3'";
    farm.play_on(A, &mut known, rest);
}

/// Each step of QoS 2 in a visit may be the one that is repeated.
#[test]
fn a_second_ping_repeats_the_step_that_waits() {
    let mut farm = sleeper(true);
    farm.play(A, "> 08 12 20 00 0B 'b/#'\n< 08 13 20 00 00 00 0B 00");
    farm.publish("a/x", "1", Q2);
    farm.publish("b/y", "2", Q1);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C 40 00 01 {m} '1'
         > 02 16
         < 08 0C C0 00 01 {m} '1'
         > 04 0F {m}
         < 04 10 {m}
         > 02 16
         < 04 10 {m}
         > 04 0E {m}
         < 09 0A 00 02 {r} 'b/y'
         > 02 16
         < 09 0A 00 02 {r} 'b/y'
         > 07 0B 00 02 {r} 00
         < 08 0C 20 00 02 {n} '2'
         > 02 16
         < 08 0C A0 00 02 {n} '2'
         > 07 0D 00 02 {n} 00
         < 02 17",
    );
}

/// SN-094
#[test]
fn a_sleeper_that_does_not_return_is_lost_and_not_disturbed() {
    let mut farm = sleeper(false);
    farm.pass(89_000);
    assert_eq!(farm.gateway.usage().asleep, 1);
    farm.pass(2_000);
    assert_eq!(farm.gateway.usage().asleep, 0);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 02 18");
    // Its session is still there.
    farm.play(
        A,
        "> 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00",
    );
}

/// It was restarted in its visit, said CONNECT, and nothing more.
#[test]
fn a_visitor_that_begins_to_connect_and_goes_silent_is_lost() {
    let mut farm = sleeper(false);
    farm.publish("a/x", "1", Q1);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 ?? ?? '1'
         > 0A 04 08 01 00 3C 'dev1'
         < 02 06",
    );
    farm.pass(300_000);
    let usage = farm.gateway.usage();
    assert_eq!((usage.awake, usage.asleep, usage.gone), (0, 0, 1), "{usage:?}");
}

/// SN-096: the timer runs again from the last word on.
#[test]
fn each_visit_and_each_word_restarts_the_sleep_timer() {
    let mut farm = sleeper(true);
    for _ in 0..3 {
        farm.pass(80_000);
        farm.play(A, "> 06 16 'dev1'\n< 02 17");
    }
    farm.pass(80_000);
    farm.play(A, SLEEP);
    farm.pass(80_000);
    assert_eq!(farm.gateway.usage().asleep, 1);
    // A visit that breaks off counts from its last word, not from its last repetition.
    farm.publish("a/x", "1", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 ?? ?? '1'");
    farm.pass(88_000);
    assert_eq!(farm.gateway.usage().asleep, 1);
    farm.pass(3_000);
    assert_eq!(farm.gateway.usage().asleep, 0);
}

/// SN-093, SN-100: another duration, longer or shorter, from sleep and in a visit.
#[test]
fn a_new_duration_replaces_the_old_one() {
    for (duration, patience) in [("00 02", 3_000), ("02 58", 900_000)] {
        let mut farm = sleeper(true);
        farm.play(A, &format!("> 04 18 {duration}\n< 02 18"));
        farm.pass(patience - 100);
        assert_eq!(farm.gateway.usage().asleep, 1);
        farm.pass(200);
        assert_eq!(farm.gateway.usage().asleep, 0);
    }
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 {m} '1'
         > 04 18 00 02
         < 02 18                     -- the visit is over, without PINGRESP
         > 06 16 'dev1'
         < 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 02 17",
    );
    farm.pass(3_100);
    assert_eq!(farm.gateway.usage().asleep, 0);
}

/// SN-100
#[test]
fn a_sleeper_that_disconnects_is_gone_without_a_will() {
    for visit in ["", "> 06 16 'dev1'\n< 08 0C 20 00 01 ?? ?? '1'"] {
        let mut farm = Farm::new();
        let watcher = farm.watch("w/#");
        farm.play(
            A,
            "> 0A 04 08 01 00 3C 'dev1'
             < 02 06
             > 09 07 30 'w/dev1'
             < 02 08
             > 06 09 'gone'
             < 03 05 00
             > 08 12 20 00 0A 'a/x'
             < 08 13 20 00 01 00 0A 00",
        );
        farm.play(A, SLEEP);
        farm.publish("a/x", "1", Q1);
        farm.play(A, &format!("{visit}\n> 02 18\n< 02 18"));
        farm.pass(1_000_000);
        assert!(farm.heard(watcher).is_empty());
        farm.play(A, "> 06 16 'dev1'\n< 02 18");
    }
}

/// D5
#[test]
fn a_sleeper_may_come_from_another_port_and_not_from_another_host() {
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    farm.play(B, "> 06 16 'dev1'\n< 02 18");
    farm.play(A2, &visit(Q1, &["1"]));
    farm.play(A, "> 06 16 'dev1'\n< 02 17");
}

#[test]
fn a_message_that_comes_during_a_visit_is_part_of_it() {
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'");
    farm.publish("a/x", "2", Q1);
    farm.publish("a/x", "3", Q0);
    farm.expect_silence(A);
    farm.play_on(
        A,
        &mut known,
        "> 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00
         < 08 0C 00 00 01 00 00 '3'
         < 02 17",
    );
}

/// SN-101 is the client's to keep; what it asks for in its sleep is served, and it sleeps on (D6).
#[test]
fn requests_of_a_sleeper_are_served() {
    let mut farm = sleeper(true);
    let watcher = farm.watch("#");
    farm.publish_as("b", b"old", Q1, true);
    farm.heard(watcher);
    farm.play(
        A,
        "> 07 0A 00 00 00 01 'c'
         < 07 0B 00 02 00 01 00
         > 08 0C 20 00 02 00 02 '1'
         < 07 0D 00 02 00 02 00
         > 08 0C 40 00 02 00 03 '2'
         < 04 0F 00 03
         > 04 10 00 03
         < 04 0E 00 03
         > 06 12 20 00 04 'b'
         < 08 13 20 00 03 00 04 00    -- the retained message waits for the next visit
         > 06 14 00 00 05 'c'
         < 04 15 00 05
         > 06 16 'dev1'
         < 0A 0C 30 00 03 {m} 'old'
         > 07 0D 00 03 {m} 00
         < 02 17",
    );
    assert_eq!(farm.heard(watcher), ["c 1 q1", "c 2 q2"]);
    assert_eq!(farm.gateway.usage().asleep, 1);
}

/// A retained message that a SUBSCRIBE in a visit asks for is part of the visit (12.3).
#[test]
fn a_subscription_in_a_visit_brings_its_retained_message() {
    let mut farm = sleeper(true);
    farm.publish_as("b", b"old", Q1, true);
    farm.publish("a/x", "1", Q1);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 {m} '1'
         > 06 12 20 00 04 'b'
         < 08 13 20 00 02 00 04 00
         > 07 0D 00 01 {m} 00
         < 0A 0C 30 00 02 {n} 'old'
         > 07 0D 00 02 {n} 00
         < 02 17",
    );
}

/// D6: a bound on what one visit brings; what was left of the last one counts, too.
#[test]
fn a_visit_may_be_made_to_bring_only_so_much() {
    for qos in [Q0, Q1] {
        let mut farm = sleeper_with(Settings { messages_per_wake: 2, ..settings() }, true);
        for n in 0..5 {
            farm.publish("a/x", &n.to_string(), qos);
        }
        for payloads in [&["0", "1"][..], &["2", "3"], &["4"], &[]] {
            farm.play(A, &visit(qos, payloads));
        }
    }
    let mut farm = sleeper_with(Settings { messages_per_wake: 1, ..settings() }, true);
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 ?? ?? '1'");
    farm.pass(20_000);
    farm.take(A);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C A0 00 01 {m} '1'\n> 07 0D 00 01 {m} 00\n< 02 17");
    farm.play(A, &visit(Q1, &["2"]));
}

/// 17.7: the client sleeps, but its DISCONNECT(duration) was lost. Its messages come when it asks
/// for them by name, and PINGRESP behind them.
#[test]
fn a_ping_by_name_of_an_active_client_brings_what_was_held_back() {
    let mut farm = Farm::new();
    farm.play(
        A,
        "> 0A 04 04 01 0E 10 'dev1'
         < 03 05 00
         > 08 12 20 00 0A 'a/x'
         < 08 13 20 00 01 00 0A 00",
    );
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {m} '1'");
    farm.pass(100_000);
    assert_eq!(farm.received(A).len(), 4, "N_retry repetitions, and then none");
    farm.play_on(
        A,
        &mut known,
        "> 06 16 'dev1'
         < 08 0C A0 00 01 {m} '1'
         > 06 16 'dev1'               -- lost once more
         < 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00
         < 02 17
         > 06 16 'dev1'
         < 02 17",
    );
    farm.publish("a/x", "3", Q1);
    farm.play(A, "< 08 0C 20 00 01 ?? ?? '3'");
    assert_eq!(farm.gateway.usage().active, 1);
}

/// The same as soon as one repetition found nobody; before that it is a message on its way.
#[test]
fn a_ping_by_name_of_an_active_client_brings_what_was_not_answered_in_time() {
    let mut farm = Farm::new();
    farm.play(
        A,
        "> 0A 04 04 01 0E 10 'dev1'
         < 03 05 00
         > 08 12 40 00 0A 'a/#'
         < 08 13 40 00 00 00 0A 00",
    );
    farm.publish("a/x", "1", Q2);
    let mut known = Known::new();
    let register = "< 09 0A 00 01 {r} 'a/x'";
    farm.play_on(A, &mut known, &format!("{register}\n> 06 16 'dev1'\n< 02 17"));
    farm.pass(11_500);
    farm.play_on(
        A,
        &mut known,
        &format!(
            "{register}
             > 06 16 'dev1'
             {register}
             > 07 0B 00 01 {{r}} 00
             < 08 0C 40 00 01 {{m}} '1'
             > 04 0F {{m}}
             < 04 10 {{m}}
             > 04 0E {{m}}
             < 02 17"
        ),
    );
}

/// Without its name it only wants an answer, which does not wait.
#[test]
fn a_ping_without_a_name_of_an_active_client_is_answered_first() {
    let mut farm = Farm::new();
    farm.play(
        A,
        "> 0A 04 04 01 0E 10 'dev1'
         < 03 05 00
         > 08 12 20 00 0A 'a/x'
         < 08 13 20 00 01 00 0A 00",
    );
    farm.publish("a/x", "1", Q1);
    farm.pass(100_000);
    farm.take(A);
    farm.play(A, "> 02 16\n< 02 17\n< 08 0C A0 00 01 ?? ?? '1'");
}

/// A client that will never understand a message gets the others after some visits (section 18).
#[test]
fn a_message_that_fails_in_visit_after_visit_is_given_up() {
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    for _ in 0..5 {
        assert_eq!(farm.gateway.stats().given_up, 0);
        farm.play(A, "> 06 16 'dev1'\n< 08 0C ?? 00 01 ?? ?? '1'");
        for _ in 0..3 {
            farm.pass(4_500);
            farm.play(A, "< 08 0C A0 00 01 ?? ?? '1'");
        }
        farm.pass(4_500);
    }
    farm.play(A, "< 08 0C 20 00 01 {m} '2'\n> 07 0D 00 01 {m} 00\n< 02 17");
    assert_eq!(farm.gateway.stats().given_up, 1);
    assert_eq!(farm.broker.stats().dropped_unacknowledged, 1, "counted");
}

/// SN-105 and CleanSession: what sleeps is the session, clean or not.
#[test]
fn a_clean_session_sleeps_like_any_other_and_ends_when_it_is_lost() {
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    farm.pass(91_000);
    assert_eq!((farm.gateway.usage().asleep, farm.gateway.usage().gone), (0, 0));
    assert_eq!(farm.broker.stats().dropped_session_end, 1, "counted");
}
