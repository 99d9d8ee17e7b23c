//! Answers that promise something wait until it is on the disk, and nothing breaks meanwhile.

use broker_core::api::Durability;
use mqtt_sn_gw::sn::PortId;

use crate::farm::{A, A2, B, Farm, Q1, Q2};
use crate::script::Known;

const CONNECT: &str = "0A 04 00 01 00 3C 'dev1'";

/// Says something, finds no answer before the commit and these after it.
#[track_caller]
fn gated(farm: &mut Farm, says: &str, answers: &str) {
    farm.play(A, &format!("> {says}"));
    farm.commit();
    let lines: String = answers.split(" ; ").map(|answer| format!("< {answer}\n")).collect();
    farm.play(A, &lines);
}

fn connected() -> Farm {
    let mut farm = Farm::gated();
    gated(&mut farm, CONNECT, "03 05 00");
    farm
}

#[test]
fn answers_wait_for_what_they_promise() {
    let mut farm = connected();
    // REGISTER promises nothing that would be kept on the disk.
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
    gated(&mut farm, "08 12 20 00 02 'a/b'", "08 13 20 00 01 00 02 00");
    gated(&mut farm, "08 14 00 00 03 'a/b'", "04 15 00 03");
    gated(&mut farm, "08 0C 40 00 01 00 05 '2'", "04 0F 00 05");
    gated(&mut farm, "04 10 00 05", "04 0E 00 05");
    gated(&mut farm, "05 1C 'bye'", "03 1D 00");
    gated(&mut farm, "06 1A 00 'w/1'", "03 1B 00");
    let watcher = farm.watch("#");
    farm.commit();
    gated(&mut farm, "08 0C 30 00 01 00 04 '1'", "07 0D 00 01 00 04 00");
    assert_eq!(farm.heard(watcher), ["a/b 1 q1"]);
    // What promises nothing does not wait.
    farm.play(A, "> 02 16\n< 02 17\n> 04 18 00 3C\n< 02 18\n> 02 18\n< 02 18");
}

/// What the client repeats while its answer waits is answered once for each, or once for all, and
/// delivered once.
#[test]
fn repetitions_while_the_answer_waits_change_nothing() {
    let mut farm = Farm::gated();
    for _ in 0..3 {
        farm.play(A, &format!("> {CONNECT}"));
    }
    farm.commit();
    farm.play(A, "< 03 05 00");
    assert_eq!(farm.broker.stats().connects, 1);
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
    let watcher = farm.watch("#");
    farm.commit();

    farm.play(A, "> 08 0C 30 00 01 00 04 '1'\n> 08 0C B0 00 01 00 04 '1'");
    farm.commit();
    farm.play(A, "< 07 0D 00 01 00 04 00");
    farm.play(A, "> 08 0C A0 00 01 00 04 '1'\n< 07 0D 00 01 00 04 00");
    assert_eq!(farm.heard(watcher), ["a/b 1 q1"]);

    farm.play(A, "> 08 0C 40 00 01 00 05 '2'\n> 08 0C C0 00 01 00 05 '2'");
    farm.commit();
    farm.play(A, "< 04 0F 00 05\n< 04 0F 00 05");
    farm.play(A, "> 04 10 00 05\n> 04 10 00 05");
    farm.commit();
    farm.play(A, "< 04 0E 00 05\n< 04 0E 00 05");
    assert_eq!(farm.heard(watcher), ["a/b 2 q2"]);

    farm.play(A, "> 08 12 20 00 06 'abc'\n> 08 12 A0 00 06 'abc'");
    farm.commit();
    farm.play(A, "< 08 13 20 00 02 00 06 00\n< 08 13 20 00 02 00 06 00");
}

#[test]
fn a_will_dialogue_ends_with_an_answer_that_waits() {
    let mut farm = Farm::gated();
    farm.play(A, "> 0A 04 08 01 00 3C 'dev1'\n< 02 06\n> 09 07 30 'w/dev1'\n< 02 08");
    farm.play(A, "> 06 09 'gone'\n> 06 09 'gone'\n> 09 07 30 'w/dev1'\n> 0A 04 08 01 00 3C 'dev1'");
    farm.commit();
    farm.play(A, "< 03 05 00\n> 06 09 'gone'\n< 03 05 00");
}

/// What comes while CONNACK waits is dropped, as it is while a will is asked for (12.1), and does
/// not meet the session that is being replaced.
#[test]
fn nothing_else_is_served_while_connack_waits() {
    for clean in ["00", "04"] {
        let mut farm = connected();
        farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
        farm.play(A, &format!("> 0A 04 {clean} 01 00 3C 'dev1'"));
        for says in
            ["02 16", "02 18", "04 18 00 3C", "08 0C 00 00 01 00 00 '1'", "08 12 20 00 02 'abc'"]
        {
            farm.play(A, &format!("> {says}"));
        }
        // Not what needs no session.
        farm.play(A, "> 03 01 00\n< 03 02 01");
        farm.commit();
        farm.play(A, "< 03 05 00");
        let known = if clean == "00" { "" } else { "\n< 07 0D 00 01 00 00 02" };
        farm.play(A, &format!("> 08 0C 00 00 01 00 00 '1'{known}"));
        assert_eq!(farm.gateway.usage().active, 1);
    }
    let mut farm = Farm::gated();
    farm.play(A, &format!("> {CONNECT}\n> 02 18\n> 02 16"));
    farm.commit();
    farm.play(A, "< 03 05 00\n> 02 18\n< 02 18");
}

#[test]
fn a_session_moves_when_its_answer_leaves_and_the_old_address_is_told() {
    let mut farm = connected();
    farm.play(A2, &format!("> {CONNECT}"));
    assert_eq!(farm.received(A), ["02 18"]);
    farm.play(A, "> 02 16\n< 02 18");
    farm.commit();
    farm.play(A2, "< 03 05 00\n> 02 16\n< 02 17");
}

/// Somebody else comes with the same id before the first was answered.
#[test]
fn of_two_that_connect_at_once_the_first_is_told_to_wait() {
    let mut farm = Farm::gated();
    farm.play(A, &format!("> {CONNECT}"));
    farm.say(B, CONNECT);
    assert_eq!(farm.received(A), ["03 05 01"]);
    farm.commit();
    farm.play(B, "< 03 05 00\n> 02 16\n< 02 17");
    farm.play(A, "> 02 16\n< 02 18");
    assert_eq!((farm.gateway.usage().active, farm.gateway.usage().handshakes), (1, 0));

    // The same if the other one speaks MQTT.
    let mut farm = Farm::gated();
    farm.play(A, &format!("> {CONNECT}"));
    farm.service("dev1");
    assert_eq!(farm.received(A), ["03 05 01"]);
    farm.commit();
    assert!(farm.take(A).is_empty());
    assert_eq!((farm.gateway.usage().gone, farm.gateway.usage().handshakes), (0, 0));
    farm.play(A, &format!("> {CONNECT}"));
    farm.commit();
    farm.play(A, "< 03 05 00");
}

/// A disk that takes longer than the keep-alive.
#[test]
fn a_connect_that_waits_for_too_long_is_refused() {
    let mut farm = Farm::gated();
    farm.play(A, "> 0A 04 00 01 00 01 'dev1'");
    farm.pass(1_600);
    farm.play(A, "< 03 05 01");
    farm.commit();
    farm.play(A, "> 02 16\n< 02 18");
    assert_eq!((farm.gateway.usage().active, farm.gateway.usage().handshakes), (0, 0));
}

/// SN-023, 10.9: what comes for a subscription comes behind its SUBACK, which tells the id; and
/// what was retained comes before what was published since.
#[test]
fn messages_wait_behind_the_suback_that_they_belong_to() {
    let mut farm = connected();
    farm.publish_as("abc", b"old", Q1, true);
    farm.commit();
    farm.play(A, "> 08 12 20 00 02 'abc'");
    farm.publish("abc", "new", Q1);
    farm.pass(5_000);
    assert!(farm.take(A).is_empty());
    farm.commit();
    farm.play(
        A,
        "< 08 13 20 00 01 00 02 00
         < 0A 0C 30 00 01 {m} 'old'
         > 07 0D 00 01 {m} 00
         < 0A 0C 20 00 01 {n} 'new'
         > 07 0D 00 01 {n} 00",
    );
}

/// PUBREC has to be on the disk before PUBREL leaves; a client that repeats it is answered then.
#[test]
fn pubrel_waits_for_the_disk() {
    let mut farm = connected();
    gated(&mut farm, "08 12 40 00 02 'abc'", "08 13 40 00 01 00 02 00");
    farm.publish("abc", "1", Q2);
    farm.publish("abc", "2", Q1);
    farm.commit();
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 40 00 01 {m} '1'\n> 04 0F {m}\n> 04 0F {m}");
    farm.commit();
    farm.play_on(A, &mut known, "< 04 10 {m}\n< 04 10 {m}\n> 04 0E {m}\n< 08 0C 20 00 01 {n} '2'");
}

/// A visit does not wait for the disk, and one in which something was asked ends behind its answer.
#[test]
fn visits_go_on_while_answers_wait() {
    let mut farm = connected();
    gated(&mut farm, "08 12 20 00 02 'abc'", "08 13 20 00 01 00 02 00");
    farm.play(A, "> 04 18 00 3C\n< 02 18");
    farm.publish("abc", "1", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 00\n< 02 17");
    farm.publish("abc", "2", Q1);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 {m} '2'
         > 08 12 20 00 03 'def'
         > 07 0D 00 01 {m} 00",
    );
    farm.commit();
    farm.play(A, "< 08 13 20 00 02 00 03 00\n< 02 17");
}

/// A client whose session ends with its connection is promised nothing, so it waits for nothing.
#[test]
fn clean_sessions_do_not_wait_for_the_disk() {
    let mut farm = connected();
    // What the disk does not take.
    farm.play(A, "> 08 12 20 00 02 'abc'");
    farm.play(
        B,
        "> 0A 04 04 01 00 3C 'dev2'
         < 03 05 00
         > 09 0A 00 00 00 01 'a/b'
         < 07 0B 00 01 00 01 00
         > 08 12 40 00 02 'a/b'
         < 08 13 40 00 01 00 02 00
         > 08 14 00 00 03 'a/b'
         < 04 15 00 03
         > 04 18 00 3C
         < 02 18
         > 06 16 'dev2'
         < 02 17
         > 02 18
         < 02 18
         > 0A 04 04 01 00 3C 'dev2'
         < 03 05 00
         > 02 16
         < 02 17",
    );
    farm.commit();
    farm.play(A, "< 08 13 20 00 01 00 02 00");
    farm.play(B, "> 02 16\n< 02 17");
}

/// While nothing can be kept publishers are told to try again later, and a message that was on its
/// way to the disk then is no duplicate when they do.
#[test]
fn a_full_disk_is_congestion() {
    let mut farm = connected();
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
    let watcher = farm.watch("#");
    farm.commit();
    farm.play(A, "> 08 0C 30 00 01 00 04 '1'");
    farm.broker.set_refusing(true);
    farm.turn();
    farm.play(
        A,
        "< 07 0D 00 01 00 04 01
         > 08 0C B0 00 01 00 04 '1'
         < 07 0D 00 01 00 04 01
         > 08 0C 40 00 01 00 05 '2'
         < 07 0D 00 01 00 05 01
         > 08 0C 00 00 01 00 00 '0'
         > 02 16
         < 02 17",
    );
    farm.broker.set_refusing(false);
    gated(&mut farm, "08 0C B0 00 01 00 04 '1'", "07 0D 00 01 00 04 00");
    gated(&mut farm, "08 0C 40 00 01 00 05 '2'", "04 0F 00 05");
    assert_eq!(farm.heard(watcher), ["a/b 1 q1", "a/b 0 q0", "a/b 1 q1", "a/b 2 q2"]);
}

#[test]
fn without_a_gate_messages_leave_at_once_and_with_it_they_wait_again() {
    let mut farm = connected();
    farm.publish_as("r", b"old", Q1, true);
    farm.commit();
    farm.play(A, "> 08 12 20 00 02 'abc'");
    farm.set_gated(false);
    farm.play(
        A,
        "< 08 13 20 00 01 00 02 00
         > 08 12 20 00 03 'def'
         < 08 13 20 00 02 00 03 00
         > 09 0A 00 00 00 01 'a/b'
         < 07 0B 00 03 00 01 00
         > 04 18 00 3C
         < 02 18
         > 06 16 'dev1'
         < 02 17
         > 0A 04 00 01 00 3C 'dev1'
         < 03 05 00",
    );
    farm.set_gated(true);
    gated(&mut farm, "08 12 20 00 04 'ghi'", "08 13 20 00 04 00 04 00");
}

/// The same for what rests on records of the gateway itself.
#[test]
fn without_a_gate_topic_ids_are_told_at_once_and_with_it_they_wait_again() {
    let mut farm = Farm::durable();
    farm.play(A, &format!("> {CONNECT}\n< 03 05 00"));
    farm.disk.is_fast = false;
    farm.play(A, "> 09 0A 00 00 00 01 'a/b'");
    farm.set_gated(false);
    farm.play(A, "< 07 0B 00 01 00 01 00\n> 09 0A 00 00 00 02 'c/d'\n< 07 0B 00 02 00 02 00");
    farm.set_gated(true);
    farm.take_in(A, None, b"\x09\x0A\0\0\0\x03e/f");
    assert!(farm.gateway.has_changes());
    farm.turn();
    assert!(!farm.gateway.has_changes(), "they are on their way to the disk");
    farm.play(A, "");
    farm.commit();
    farm.play(A, "< 07 0B 00 03 00 03 00");
}

/// A port whose answers wait for nothing: what they are for is kept all the same.
#[test]
fn a_port_in_memory_answers_at_once() {
    let mut farm = Farm::durable();
    farm.disk.is_fast = false;
    farm.gateway.set_durability(&[Durability::Memory]);
    farm.play(
        A,
        "> 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         > 08 12 20 00 02 'abc'
         < 08 13 20 00 01 00 02 00
         > 08 0C 20 00 01 00 04 '1'
         < 07 0D 00 01 00 04 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         > 04 18 00 3C
         < 02 18",
    );
    farm.commit();
    farm.crash_and_restart();
    farm.publish("abc", "2", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '2'\n> 07 0D 00 01 {m} 00\n< 02 17");
    farm.commit();
    farm.crash_and_restart();
    farm.play(A, "> 06 16 'dev1'\n< 02 17");
}

/// A sleeper that comes for its messages at another port is promised what that port promises.
#[test]
fn a_client_that_goes_on_at_another_port_waits_as_is_due_there() {
    let mut farm = Farm::durable();
    farm.disk.is_fast = false;
    farm.gateway.set_durability(&[Durability::Memory, Durability::Gated]);
    farm.play(A, &format!("> {CONNECT}\n< 03 05 00\n> 04 18 00 3C\n< 02 18"));
    farm.port = PortId(1);
    farm.play(A, "> 06 16 'dev1'\n< 02 17");
    farm.commit();
    gated(&mut farm, "08 0C 32 'ab' 00 04 '1'", "07 0D 'ab' 00 04 00");
    farm.port = PortId(0);
    farm.play(A, "> 06 16 'dev1'\n< 02 17\n> 08 0C 32 'ab' 00 05 '2'\n< 07 0D 'ab' 00 05 00");
}

/// Whoever leaves does not wait for answers.
#[test]
fn a_disconnect_while_answers_wait_is_answered_at_once() {
    let mut farm = connected();
    farm.play(A, "> 08 12 20 00 02 'abc'\n> 02 18\n< 02 18");
    farm.commit();
    assert!(farm.take(A).is_empty(), "nothing is sent to who has gone");
    farm.play(A, &format!("> {CONNECT}"));
    farm.commit();
    farm.play(A, "< 03 05 00");
    farm.publish("abc", "1", Q1);
    farm.play(A, "< 09 0A 00 01 ?? ?? 'abc'");
}
