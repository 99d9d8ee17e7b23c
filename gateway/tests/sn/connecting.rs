//! Connecting, with and without a will, once more, and leaving (SN 6.2 to 6.4, 6.12, D4).

use mqtt_sn_gw::sn::Settings;

use crate::farm::{A, A2, Farm, Q0, Q1, settings};

const DEV1: &str = "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00";
const CLEAN: &str = "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00";
const SUBSCRIBE: &str = "> 08 12 20 00 0A 'a/x'\n< 08 13 20 00 01 00 0A 00";
/// With the will `gone` to w/dev1, retained at QoS 1.
const WITH_WILL: &str = "
    > 0A 04 08 01 00 3C 'dev1'
    < 02 06
    > 09 07 30 'w/dev1'
    < 02 08
    > 06 09 'gone'
    < 03 05 00";
const DISCONNECT: &str = "> 02 18\n< 02 18";

/// Longer than a client with 60 s may be silent.
const SILENCE: u64 = 91_000;

fn play(scripts: &[&str]) -> Farm {
    let mut farm = Farm::new();
    for script in scripts {
        farm.play(A, script);
    }
    farm
}

/// What is published of the will when the client falls silent now.
fn will_after_silence(farm: &mut Farm) -> Vec<String> {
    let watcher = farm.watch("w/#");
    farm.heard(watcher);
    farm.pass(SILENCE);
    let heard = farm.heard(watcher);
    farm.dismiss(watcher);
    // Retained, it would be there for the next one.
    farm.publish_as("w/dev1", b"", Q1, true);
    farm.take(A);
    heard
}

/// SN-009: every other number is reserved.
#[test]
fn another_protocol_id_is_refused() {
    for protocol_id in [0x00, 0x02, 0x04, 0xFF] {
        let mut farm = Farm::new();
        farm.play(A, &format!("> 0A 04 04 {protocol_id:02X} 00 3C 'dev1'\n< 03 05 03"));
        assert_eq!(farm.gateway.usage().active, 0);
    }
}

/// SN-046: the other bits of the flags mean nothing.
#[test]
fn flags_without_a_meaning_are_ignored() {
    let mut farm = Farm::new();
    farm.play(A, "> 0A 04 F7 01 00 3C 'dev1'\n< 03 05 00");
}

/// SN-047
#[test]
fn a_refusal_may_take_the_place_of_every_question() {
    // The topic of a will: a wildcard, empty levels are fine, no UTF-8, U+0000, the server's own.
    for topic in ["61 2F 23", "2B", "C3 28", "61 00", "24 53 59 53"] {
        let mut farm = Farm::new();
        let length = 3 + topic.split(' ').count();
        let will = format!("> {length:02X} 07 00 {topic}");
        farm.play(A, "> 0A 04 0C 01 00 3C 'dev1'\n< 02 06");
        if topic == "24 53 59 53" {
            // This one is a name; it is the broker that refuses it in the end.
            farm.play(A, &format!("{will}\n< 02 08\n> 02 09\n< 03 05 03"));
        } else {
            farm.play(A, &format!("{will}\n< 03 05 03"));
        }
        assert_eq!(farm.gateway.usage().handshakes, 0);
        farm.play(A, "> 02 16\n< 02 18");
    }
    let mut farm = play(&["> 0A 04 0C 01 00 3C 'dev1'\n< 02 06"]);
    farm.play(A, "> 09 07 60 'w/dev1'\n< 03 05 03"); // QoS −1
}

/// SN-046
#[test]
fn a_will_is_published_as_the_client_said() {
    for (flags, expected) in [("00", "w gone q0"), ("20", "w gone q1"), ("40", "w gone q2")] {
        let mut farm = Farm::new();
        let watcher = farm.watch("w");
        farm.play(
            A,
            &format!(
                "> 0A 04 0C 01 00 3C 'dev1'
                 < 02 06
                 > 04 07 {flags} 'w'
                 < 02 08
                 > 06 09 'gone'
                 < 03 05 00"
            ),
        );
        farm.pass(SILENCE);
        assert_eq!(farm.heard(watcher), [expected]);
    }
    let mut farm = play(&[WITH_WILL]);
    assert_eq!(will_after_silence(&mut farm), ["w/dev1 gone q1"]);
    let mut farm = play(&[WITH_WILL]);
    farm.pass(SILENCE);
    let watcher = farm.watch("w/#");
    assert_eq!(farm.heard(watcher), ["w/dev1 gone q1 retain"]);
}

#[test]
fn a_will_may_have_an_empty_message() {
    let mut farm = play(&["> 0A 04 0C 01 00 3C 'dev1'\n< 02 06\n> 09 07 20 'w/dev1'\n< 02 08"]);
    farm.play(A, "> 02 09\n< 03 05 00");
    assert_eq!(will_after_silence(&mut farm), ["w/dev1  q1"]);
}

/// SN-024, SN-052: the empty WILLTOPIC deletes only the will, in both of its spellings.
#[test]
fn an_empty_will_topic_deletes_the_will_and_nothing_else() {
    for empty in ["02 07", "03 07 30"] {
        let mut farm = play(&[WITH_WILL, SUBSCRIBE, DISCONNECT]);
        farm.play(A, &format!("> 0A 04 08 01 00 3C 'dev1'\n< 02 06\n> {empty}\n< 03 05 00"));
        farm.publish("a/x", "1", Q1);
        farm.play(A, "< 09 0A 00 01 {r} 'a/x'\n> 07 0B 00 01 {r} 00\n< 08 0C 20 00 01 ?? ?? '1'");
        assert!(will_after_silence(&mut farm).is_empty());
    }
}

/// SN-048: clean and will.
#[test]
fn a_clean_connect_with_a_will_replaces_everything() {
    let mut farm = play(&[
        WITH_WILL,
        SUBSCRIBE,
        DISCONNECT,
        "> 0A 04 0C 01 00 3C 'dev1'
         < 02 06
         > 06 07 00 'w/2'
         < 02 08
         > 03 09 '2'
         < 03 05 00",
    ]);
    farm.publish("a/x", "1", Q1);
    farm.expect_silence(A);
    assert_eq!(will_after_silence(&mut farm), ["w/2 2 q0"]);
}

/// SN-049: clean, no will.
#[test]
fn a_clean_connect_without_a_will_deletes_everything() {
    let mut farm = play(&[WITH_WILL, SUBSCRIBE, DISCONNECT, CLEAN]);
    farm.publish("a/x", "1", Q1);
    farm.expect_silence(A);
    assert!(will_after_silence(&mut farm).is_empty());
}

/// SN-050: not clean, will.
#[test]
fn a_new_will_overwrites_the_stored_one_and_the_rest_stays() {
    let mut farm = play(&[
        WITH_WILL,
        SUBSCRIBE,
        DISCONNECT,
        "> 0A 04 08 01 00 3C 'dev1'
         < 02 06
         > 06 07 20 'w/2'
         < 02 08
         > 03 09 '2'
         < 03 05 00",
    ]);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "< 09 0A 00 01 {r} 'a/x'\n> 07 0B 00 01 {r} 00\n< 08 0C 20 00 01 ?? ?? '1'");
    assert_eq!(will_after_silence(&mut farm), ["w/2 2 q1"]);
}

/// SN-051, SN-053, SN-088: not clean, no will. It was not published by the regular DISCONNECT.
#[test]
fn without_clean_session_everything_stays_and_the_will_is_armed_again() {
    let mut farm = play(&[WITH_WILL, SUBSCRIBE]);
    let watcher = farm.watch("w/#");
    farm.play(A, DISCONNECT);
    farm.pass(SILENCE);
    assert!(farm.heard(watcher).is_empty(), "DISCONNECT publishes no will");
    farm.publish("a/x", "1", Q1);
    farm.play(
        A,
        "> 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00",
    );
    assert_eq!(will_after_silence(&mut farm), ["w/dev1 gone q1"]);
    // Once more after it was published: the session is still there, and so is its will.
    farm.play(A, DEV1);
    assert_eq!(will_after_silence(&mut farm), ["w/dev1 gone q1"]);
}

/// SN-053
#[test]
fn a_subscription_persists_until_it_is_given_up() {
    let mut farm = play(&[DEV1, SUBSCRIBE]);
    for round in 0..3 {
        farm.play(A, DISCONNECT);
        farm.pass(1_000_000);
        farm.publish("a/x", &round.to_string(), Q1);
        farm.play(
            A,
            &format!(
                "> 0A 04 00 01 00 3C 'dev1'
                 < 03 05 00
                 < 09 0A 00 01 {{r}} 'a/x'
                 > 07 0B 00 01 {{r}} 00
                 < 08 0C 20 00 01 {{m}} '{round}'
                 > 07 0D 00 01 {{m}} 00"
            ),
        );
    }
    farm.play(A, "> 08 14 00 00 0B 'a/x'\n< 04 15 00 0B");
    farm.publish("a/x", "x", Q1);
    farm.expect_silence(A);
}

/// SN-054: the halves are independent; a message without a topic waits for one.
#[test]
fn the_halves_of_a_will_are_changed_one_by_one() {
    let mut farm = play(&[WITH_WILL, "> 06 1A 40 'w/2'\n< 03 1B 00"]);
    assert_eq!(will_after_silence(&mut farm), ["w/2 gone q2"]);
    let mut farm = play(&[WITH_WILL, "> 05 1C 'bye'\n< 03 1D 00"]);
    assert_eq!(will_after_silence(&mut farm), ["w/dev1 bye q1"]);
    let mut farm = play(&[WITH_WILL, "> 02 1C\n< 03 1D 00"]);
    assert_eq!(will_after_silence(&mut farm), ["w/dev1  q1"]);
    let mut farm = play(&[DEV1, "> 05 1C 'bye'\n< 03 1D 00"]);
    assert!(will_after_silence(&mut farm).is_empty());
    let mut farm = play(&[DEV1, "> 05 1C 'bye'\n< 03 1D 00\n> 06 1A 00 'w/2'\n< 03 1B 00"]);
    assert_eq!(will_after_silence(&mut farm), ["w/2 bye q0"]);
    let mut farm = play(&[WITH_WILL, "> 02 1A\n< 03 1B 00\n> 06 1A 00 'w/2'\n< 03 1B 00"]);
    assert_eq!(will_after_silence(&mut farm), ["w/2  q0"], "both halves were deleted");
    let mut farm = play(&[WITH_WILL, "> 02 1A\n< 03 1B 00"]);
    assert!(will_after_silence(&mut farm).is_empty());
    let mut farm = play(&[WITH_WILL, "> 06 1A 00 'w/#'\n< 03 1B 03\n> 06 1A 60 'w/2'\n< 03 1B 03"]);
    farm.play(A, "> 07 1A 00 '$SYS'\n< 03 1B 03");
    assert_eq!(
        will_after_silence(&mut farm),
        ["w/dev1 gone q1"],
        "what is refused changes nothing"
    );
}

/// SN-025, SN-088, SN-092: disconnected is not supervised, and a will is not published.
#[test]
fn a_client_that_left_is_not_supervised() {
    let mut farm = play(&[WITH_WILL]);
    let watcher = farm.watch("w/#");
    farm.play(A, DISCONNECT);
    farm.pass(10 * SILENCE);
    assert!(farm.heard(watcher).is_empty());
    assert_eq!(farm.gateway.usage().gone, 1, "its session waits");
    farm.play(A, "> 02 16\n< 02 18");
}

/// SN-091: lost, the will is published, and a client that listens is told.
#[test]
fn a_client_that_falls_silent_is_told_and_its_will_is_published() {
    let mut farm = play(&[&WITH_WILL.replace("00 3C", "00 02")]);
    let watcher = farm.watch("w/#");
    farm.heard(watcher);
    farm.pass(2_900);
    assert!(farm.heard(watcher).is_empty());
    farm.pass(200);
    assert_eq!(farm.heard(watcher), ["w/dev1 gone q1"]);
    assert_eq!(farm.received(A), ["02 18"]);
    assert_eq!(farm.gateway.usage().active, 0);
}

/// D4: the CONNACK was lost.
#[test]
fn an_identical_connect_with_nothing_in_between_changes_nothing() {
    let mut farm = play(&[CLEAN]);
    let watcher = farm.watch("#");
    for _ in 0..3 {
        farm.play(A, CLEAN);
    }
    assert_eq!(farm.broker.stats().connects, 2, "one of the client, one of the watcher");
    // What comes of nobody's session is not in between, nor is what cannot end a handshake.
    farm.play(A, "> 03 01 00\n< 03 02 01\n> 08 0C 62 'xy' 00 00 '1'\n> 02 07");
    farm.heard(watcher);
    farm.play(A, CLEAN);
    assert_eq!(farm.broker.stats().connects, 2);
}

/// D4
#[test]
fn a_connect_after_anything_else_is_processed_in_full() {
    let mut farm = play(&[CLEAN, SUBSCRIBE, CLEAN]);
    farm.publish("a/x", "1", Q1);
    farm.expect_silence(A);
    // Also from sleep, with the session kept or not.
    let sleep = "> 04 18 01 2C\n< 02 18";
    let mut farm = play(&[DEV1, SUBSCRIBE, sleep, DEV1]);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "< 09 0A 00 01 {r} 'a/x'\n> 07 0B 00 01 {r} 00\n< 08 0C 20 00 01 ?? ?? '1'");
    let mut farm = play(&[DEV1, SUBSCRIBE, sleep, CLEAN]);
    farm.publish("a/x", "1", Q1);
    farm.expect_silence(A);
}

/// D4: other flags, another keep-alive.
#[test]
fn a_different_connect_is_processed_in_full() {
    let mut farm = play(&[DEV1, "> 0A 04 00 01 00 02 'dev1'\n< 03 05 00"]);
    farm.pass(3_100);
    assert_eq!(farm.received(A), ["02 18"], "the new keep-alive counts");
}

/// D4: no will at a re-CONNECT of the same id, unless that is asked for.
#[test]
fn a_re_connect_publishes_the_will_only_if_configured() {
    for will_on_reconnect in [false, true] {
        let mut farm = Farm::with(Settings { will_on_reconnect, ..settings() });
        farm.play(A, WITH_WILL);
        let watcher = farm.watch("w/#");
        farm.heard(watcher);
        farm.play(A, "> 02 16\n< 02 17");
        farm.play(A, DEV1);
        farm.play(A2, DEV1);
        let expected = if will_on_reconnect { vec!["w/dev1 gone q1"; 2] } else { vec![] };
        assert_eq!(farm.heard(watcher), expected);
    }
}

/// D4: each message of the dialogue may be repeated, and gets the same answer again.
#[test]
fn every_step_of_the_will_dialogue_may_be_repeated() {
    let mut farm = play(&["> 0A 04 08 01 00 3C 'dev1'
         < 02 06
         > 0A 04 08 01 00 3C 'dev1'
         < 02 06
         > 09 07 30 'w/dev1'
         < 02 08
         > 09 07 30 'w/dev1'
         < 02 08
         > 06 09 'gone'
         < 03 05 00
         > 06 09 'gone'
         < 03 05 00
         > 06 09 'gone'
         < 03 05 00
         > 06 09 'else'               -- another message is no repetition
         > 09 07 30 'w/dev1'          -- nor is one that ended nothing
         > 02 16
         < 02 17
         > 06 09 'gone'               -- nor this one, now that the client has gone on"]);
    assert_eq!(will_after_silence(&mut farm), ["w/dev1 gone q1"]);
    let mut farm = play(&["> 0A 04 08 01 00 3C 'dev1'\n< 02 06\n> 02 07\n< 03 05 00"]);
    farm.play(A, "> 02 07\n< 03 05 00");
}

/// 10.2: we repeat nothing, as the client does.
#[test]
fn a_dialogue_that_is_not_finished_is_forgotten_silently() {
    let mut farm = play(&["> 0A 04 08 01 00 3C 'dev1'\n< 02 06"]);
    farm.pass(59_000);
    farm.play(A, "> 09 07 30 'w/dev1'\n< 02 08");
    farm.pass(59_000);
    assert_eq!(farm.gateway.usage().handshakes, 1);
    farm.pass(1_100);
    assert_eq!(farm.gateway.usage().handshakes, 0);
    assert_eq!(farm.gateway.stats().handshakes_expired, 1);
    farm.play(A, "> 06 09 'gone'\n< 02 18");
}

/// 10.2: an existing session is left alone until the handshake is complete.
#[test]
fn a_session_lives_on_while_its_client_connects_again() {
    let mut farm = play(&[DEV1, SUBSCRIBE, "> 0A 04 0C 01 00 3C 'dev1'\n< 02 06"]);
    farm.play(A, "> 08 0C 20 00 01 00 07 '1'\n< 07 0D 00 01 00 07 00");
    assert_eq!(farm.broker.usage().sessions_connected, 1);
    farm.play(A, "> 09 07 30 'w/dev1'\n< 02 08\n> 06 09 'gone'\n< 03 05 00");
}

/// 10.2: a client that connects again hears nothing but the dialogue until CONNACK; what came
/// meanwhile, and what it has not answered before, comes behind it.
#[test]
fn nothing_comes_between_the_will_requests_and_connack() {
    let subscribe = "> 08 12 40 00 0A 'a/x'\n< 08 13 40 00 01 00 0A 00";
    let mut farm = play(&[DEV1, subscribe]);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "< 08 0C 20 00 01 {m} '1'\n> 0A 04 08 01 00 3C 'dev1'\n< 02 06");
    farm.publish("a/x", "2", Q1);
    farm.publish("a/x", "3", Q0);
    // The time of all repetitions passes.
    for _ in 0..25 {
        farm.pass(1_000);
    }
    farm.expect_silence(A);
    farm.play(A, "> 09 07 30 'w/dev1'\n< 02 08");
    for _ in 0..25 {
        farm.pass(1_000);
    }
    farm.expect_silence(A);
    farm.play(
        A,
        "> 06 09 'gone'
         < 03 05 00
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00
         < 08 0C 00 00 01 00 00 '3'",
    );
}

/// The same if the dialogue comes to nothing: the session goes on with what waits.
#[test]
fn messages_that_waited_for_a_dialogue_come_when_it_is_over() {
    let connect = "> 0A 04 08 01 00 3C 'dev1'\n< 02 06";
    let mut farm = play(&[DEV1, SUBSCRIBE, connect]);
    farm.publish("a/x", "1", Q1);
    farm.expect_silence(A);
    farm.play(A, "> 05 07 00 '+/'\n< 03 05 03\n< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 00");
    farm.play(A, connect);
    farm.publish("a/x", "2", Q1);
    farm.expect_silence(A);
    farm.pass(61_000);
    farm.play(A, "< 08 0C 20 00 01 {m} '2'\n> 07 0D 00 01 {m} 00");
    // What waited for its answer before goes on when the client is heard of.
    farm.publish("a/x", "3", Q1);
    farm.play(A, "< 08 0C 20 00 01 {m} '3'");
    farm.play(A, connect);
    farm.pass(61_000);
    assert!(farm.received(A).is_empty());
    farm.play(A, "> 02 16\n< 02 17\n< 08 0C A0 00 01 {m} '3'\n> 07 0D 00 01 {m} 00");
}

/// SN-087 is the client's to keep; what it sends nevertheless is answered as to a stranger.
#[test]
fn after_disconnect_nothing_is_known_of_the_client() {
    let mut farm = play(&[DEV1, DISCONNECT]);
    farm.play(A, "> 08 0C 20 00 01 00 09 '1'\n< 02 18");
}

/// SN-005 is the client's to keep; we take longer ids, and none.
#[test]
fn a_client_without_an_id_is_given_one_and_may_repeat_its_connect() {
    for flags in ["04", "00"] {
        let connect = format!("> 06 04 {flags} 01 00 3C\n< 03 05 00");
        let mut farm = play(&[&connect, &connect]);
        assert_eq!(farm.broker.usage().sessions, 1, "the CONNACK was lost, flags {flags}");
        farm.play(A, SUBSCRIBE);
        farm.play(A, &connect);
        assert_eq!(farm.broker.usage().sessions, 1);
        farm.publish("a/x", "1", Q1);
        assert_eq!(farm.take(A).is_empty(), flags == "04", "CleanSession counts");
        // Another one is another client.
        farm.play(A2, &connect);
        assert_eq!(farm.broker.usage().sessions, 3, "two, and the publisher");
        // Nobody could come back to it.
        farm.play(A2, DISCONNECT);
        assert_eq!(farm.broker.usage().sessions, 2);
        assert_eq!(farm.gateway.usage().gone, 0);
    }
}

/// CONNACK comes before everything that waited for the client.
#[test]
fn messages_that_waited_come_behind_connack() {
    let mut farm = play(&[DEV1, SUBSCRIBE, DISCONNECT]);
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.play(
        A,
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

/// SN-030: the MQTT way to the same session.
#[test]
fn a_session_taken_over_by_plain_mqtt_is_told() {
    let mut farm = play(&[DEV1]);
    farm.service("dev1");
    assert_eq!(farm.received(A), ["02 18"]);
    farm.play(A, "> 02 16\n< 02 18");
    // A clean session of MQTT took its place, and nothing of the client is left.
    assert_eq!(farm.gateway.usage().gone, 0);
}

/// A clean session that is lost leaves nothing behind.
#[test]
fn nothing_is_kept_for_a_clean_session_however_it_ends() {
    for end in ["silence", "DISCONNECT", "take-over"] {
        let mut farm = play(&[CLEAN, SUBSCRIBE]);
        match end {
            "silence" => farm.pass(SILENCE),
            "DISCONNECT" => farm.play(A, DISCONNECT),
            _ => drop(farm.service("dev1")),
        }
        let usage = farm.gateway.usage();
        assert_eq!((usage.active, usage.gone), (0, 0), "after {end}");
    }
}

/// One device after another behind one address, with an id and without.
#[test]
fn a_client_with_an_id_is_not_the_one_without_that_was_there_before() {
    let mut farm = Farm::new();
    farm.play(A, "> 06 04 04 01 00 3C\n< 03 05 00");
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00\n> 06 16 'dev1'\n< 02 17");
    assert_eq!(farm.gateway.usage().active, 2, "the first one will fall silent");
    farm.play(A, "> 06 04 04 01 00 3C\n< 03 05 00");
    assert_eq!(farm.gateway.usage().active, 3);
}
