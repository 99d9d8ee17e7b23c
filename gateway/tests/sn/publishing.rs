//! Publications of clients: what is answered, what is a repetition, and QoS −1 (SN 6.6 to 6.8, D8,
//! D9).

use std::collections::BTreeMap;

use broker_core::api::LinkId;
use mqtt_sn_gw::sn::{Quirks, Settings};

use crate::farm::{A, A2, B, Farm, settings, topic};

/// Connected, with topic id 1 for a/b, and somebody who hears everything.
fn connected() -> (Farm, LinkId) {
    connected_with(settings())
}

fn connected_with(settings: Settings) -> (Farm, LinkId) {
    let mut farm = Farm::with(settings);
    let watcher = farm.watch("#");
    farm.play(
        A,
        "> 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         > 09 0A 00 00 00 01 'a/b'
         < 07 0B 00 01 00 01 00",
    );
    (farm, watcher)
}

/// SN-018, SN-019, SN-020, SN-060: MsgId and TopicId are repeated as they were, whatever they are.
#[test]
fn acknowledgements_repeat_what_was_sent() {
    let (mut farm, watcher) = connected();
    for msg_id in ["00 00", "00 01", "12 34", "FF FF"] {
        farm.play(
            A,
            &format!(
                "> 08 0C 20 00 01 {msg_id} '1'
                 < 07 0D 00 01 {msg_id} 00
                 > 08 0C 22 'xy' {msg_id} '2'
                 < 07 0D 'xy' {msg_id} 00
                 > 08 0C 40 00 01 {msg_id} '3'
                 < 04 0F {msg_id}
                 > 04 10 {msg_id}
                 < 04 0E {msg_id}"
            ),
        );
        assert_eq!(farm.heard(watcher), ["a/b 1 q1", "xy 2 q1", "a/b 3 q2"]);
    }
    // A MsgId at QoS 0 means nothing (Zephyr sends one).
    farm.play(A, "> 08 0C 00 00 01 12 34 '4'\n> 08 0C 00 00 42 12 34 '5'\n< 07 0D 00 42 00 00 02");
    assert_eq!(farm.heard(watcher), ["a/b 4 q0"]);
}

/// SN-060: retain works as in MQTT, and the empty payload clears.
#[test]
fn retained_messages_are_kept_and_cleared() {
    let (mut farm, _) = connected();
    farm.play(A, "> 09 0C 30 00 01 00 01 'hi'\n< 07 0D 00 01 00 01 00");
    let late = farm.watch("a/+");
    assert_eq!(farm.heard(late), ["a/b hi q1 retain"]);
    farm.play(A, "> 07 0C 10 00 01 00 00");
    let later = farm.watch("a/b");
    assert!(farm.heard(later).is_empty());
}

/// SN-030: a publisher that subscribes hears itself, after its acknowledgement.
#[test]
fn the_acknowledgement_comes_before_the_own_copy() {
    let (mut farm, _) = connected();
    farm.play(
        A,
        "> 08 12 40 00 02 'a/b'
         < 08 13 40 00 01 00 02 00
         > 08 0C 20 00 01 00 03 '1'
         < 07 0D 00 01 00 03 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         > 08 0C 40 00 01 00 04 '2'
         < 04 0F 00 04
         < 08 0C 40 00 01 {n} '2'
         > 04 10 00 04
         < 04 0E 00 04
         > 04 0F {n}
         < 04 10 {n}
         > 04 0E {n}",
    );
}

/// D8: with DUP, the same MsgId, topic and payload, within T_retry × N_retry.
#[test]
fn a_repeated_qos_1_is_acknowledged_and_not_delivered_again() {
    let (mut farm, watcher) = connected();
    let first = "> 08 0C 20 00 01 00 07 '1'\n< 07 0D 00 01 00 07 00";
    let again = "> 08 0C A0 00 01 00 07 '1'\n< 07 0D 00 01 00 07 00";
    farm.play(A, first);
    for _ in 0..3 {
        farm.pass(13_000);
        farm.play(A, again);
    }
    assert_eq!(farm.heard(watcher), ["a/b 1 q1"]);
    assert_eq!(farm.gateway.stats().duplicates, 3);
    farm.pass(1_000);
    farm.play(A, "> 02 16\n< 02 17");
    farm.play(A, again);
    assert_eq!(farm.heard(watcher), ["a/b 1 q1"], "after 40 s it is a new one");
}

#[test]
fn what_differs_in_anything_is_no_repetition() {
    for other in [
        "08 0C 20 00 01 00 07 '1'", // no DUP: as MQTT has it
        "08 0C A0 00 01 00 08 '1'",
        "08 0C A0 00 01 00 07 '2'",
        "08 0C A2 'xy' 00 07 '1'",
        "08 0C B0 00 01 00 07 '1'", // retained: not a difference
    ] {
        let (mut farm, watcher) = connected();
        farm.play(A, "> 08 0C 20 00 01 00 07 '1'\n< 07 0D 00 01 00 07 00");
        farm.say(A, other);
        let is_repetition = other.contains(" B0 ");
        assert_eq!(farm.heard(watcher).len(), if is_repetition { 1 } else { 2 }, "{other}");
    }
}

#[test]
fn repetitions_are_delivered_again_if_that_is_configured() {
    let (mut farm, watcher) = connected_with(Settings { deduplicate: false, ..settings() });
    farm.play(A, "> 08 0C 20 00 01 00 07 '1'\n< 07 0D 00 01 00 07 00");
    farm.play(A, "> 08 0C A0 00 01 00 07 '1'\n< 07 0D 00 01 00 07 00");
    assert_eq!(farm.heard(watcher).len(), 2);
    // QoS 2 is exactly once whatever is configured.
    farm.play(A, "> 08 0C 40 00 01 00 09 '2'\n< 04 0F 00 09");
    farm.play(A, "> 08 0C C0 00 01 00 09 '2'\n< 04 0F 00 09");
    farm.play(A, "> 04 10 00 09\n< 04 0E 00 09\n> 08 0C C0 00 01 00 09 '2'\n< 04 0F 00 09");
    assert_eq!(farm.heard(watcher), ["a/b 2 q2"]);
}

/// A publication that was refused is judged again when it is repeated.
#[test]
fn a_repetition_of_what_was_refused_is_a_new_attempt() {
    let (mut farm, watcher) = connected();
    farm.play(A, "> 08 0C 20 00 02 00 07 '1'\n< 07 0D 00 02 00 07 02");
    farm.play(A, "> 09 0A 00 00 00 01 'a/c'\n< 07 0B 00 02 00 01 00");
    farm.play(A, "> 08 0C A0 00 02 00 07 '1'\n< 07 0D 00 02 00 07 00");
    farm.play(A, "> 08 0C 40 00 03 00 08 '2'\n< 07 0D 00 03 00 08 02");
    farm.play(A, "> 09 0A 00 00 00 01 'a/d'\n< 07 0B 00 03 00 01 00");
    farm.play(A, "> 08 0C C0 00 03 00 08 '2'\n< 04 0F 00 08");
    assert_eq!(farm.heard(watcher), ["a/c 1 q1", "a/d 2 q2"]);
}

/// Exactly once: whatever of the four is repeated, late or twice.
#[test]
fn qos_2_is_delivered_once_however_late_the_network_is() {
    let (mut farm, watcher) = connected();
    farm.play(
        A,
        "> 08 0C 40 00 01 00 07 '1'
         < 04 0F 00 07
         > 08 0C 40 00 01 00 07 '1'    -- a copy that the network made
         < 04 0F 00 07
         > 04 10 00 07
         < 04 0E 00 07
         > 08 0C 40 00 01 00 07 '1'    -- one that it held back
         < 04 0F 00 07
         > 08 0C C0 00 01 00 07 '1'    -- and a repetition of the client
         < 04 0F 00 07
         > 04 10 00 07
         < 04 0E 00 07",
    );
    farm.pass(60_000);
    farm.play(A, "> 08 0C C0 00 01 00 07 '1'\n< 04 0F 00 07\n> 04 10 00 07\n< 04 0E 00 07");
    assert_eq!(farm.heard(watcher), ["a/b 1 q2"]);
    // Without DUP, after a while, it is a new message under an old number.
    farm.play(A, "> 08 0C 40 00 01 00 07 '1'\n< 04 0F 00 07\n> 04 10 00 07\n< 04 0E 00 07");
    assert_eq!(farm.heard(watcher), ["a/b 1 q2"]);
    // And so is other content at once.
    farm.play(A, "> 08 0C 40 00 01 00 07 '2'\n< 04 0F 00 07\n> 04 10 00 07\n< 04 0E 00 07");
    assert_eq!(farm.heard(watcher), ["a/b 2 q2"]);
}

/// A client that restarts begins its numbers anew; without DUP it means a new message.
#[test]
fn after_a_reconnect_the_numbers_of_qos_2_begin_anew() {
    let (mut farm, watcher) = connected();
    let exchange = "> 08 0C 40 00 01 00 01 '1'\n< 04 0F 00 01\n> 04 10 00 01\n< 04 0E 00 01";
    farm.play(A, exchange);
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, exchange);
    assert_eq!(farm.heard(watcher), ["a/b 1 q2", "a/b 1 q2"]);
    // One that was under way in a kept session is the same one.
    farm.play(A, "> 08 0C 40 00 01 00 02 '2'\n< 04 0F 00 02");
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, "> 08 0C C0 00 01 00 02 '2'\n< 04 0F 00 02\n> 04 10 00 02\n< 04 0E 00 02");
    assert_eq!(farm.heard(watcher), ["a/b 2 q2"]);
}

/// SN-007, SN-068, SN-069, SN-102, D9: from anybody, in every state, without an answer.
#[test]
fn qos_minus_one_is_published_and_never_answered() {
    let mut farm = Farm::new();
    let watcher = farm.watch("#");
    farm.play(
        A,
        "> 08 0C 62 'xy' 00 00 '1'
         > 08 0C 61 00 05 00 00 '2'
         > 08 0C E2 'xy' 12 34 '3'       -- DUP and MsgId mean nothing
         > 08 0C 61 00 09 00 00 'x'      -- unknown
         > 08 0C 60 00 01 00 00 'x'
         > 08 0C 63 00 01 00 00 'x'
         > 08 0C 62 'x#' 00 00 'x'
         > 08 0C 62 '$S' 00 00 'x'
         > 07 0C 62 'xy' 00 00",
    );
    farm.expect_silence(A);
    assert_eq!(farm.heard(watcher), ["xy 1 q0", "a/predefined 2 q0", "xy 3 q0", "xy  q0"]);
    let stats = farm.gateway.stats();
    assert_eq!((stats.unconnected_published, stats.unconnected_dropped), (5, 4));
    let usage = farm.gateway.usage();
    assert_eq!((usage.active, usage.gone, usage.handshakes), (0, 0, 0), "nothing is kept");
}

#[test]
fn qos_minus_one_may_be_retained() {
    let mut farm = Farm::new();
    farm.play(A, "> 08 0C 72 'xy' 00 00 '1'\n> 08 0C 71 00 05 00 00 '2'");
    let watcher = farm.watch("#");
    let mut heard = farm.heard(watcher);
    heard.sort();
    assert_eq!(heard, ["a/predefined 2 q0 retain", "xy 1 q0 retain"]);
}

/// A client that is connected is the same to QoS −1, but its own predefined ids are known.
#[test]
fn qos_minus_one_of_a_client_means_what_the_client_means() {
    let own = BTreeMap::from([(5, topic("own/five")), (6, topic("own/six"))]);
    let predefined_for = BTreeMap::from([("dev1".to_owned(), own)]);
    let quirks = Quirks { swap_topic_id_octets: true, ..Quirks::default() };
    let quirks = BTreeMap::from([("dev1".to_owned(), quirks)]);
    let (mut farm, watcher) = connected_with(Settings { predefined_for, quirks, ..settings() });
    let says = "> 08 0C 61 00 05 00 00 '1'\n> 08 0C 61 00 06 00 00 '2'\n> 08 0C 62 'yx' 00 00 '3'";
    farm.play(A, says);
    assert_eq!(farm.heard(watcher), ["own/five 1 q0", "own/six 2 q0", "xy 3 q0"]);
    farm.play(B, says);
    assert_eq!(farm.heard(watcher), ["a/predefined 1 q0", "yx 3 q0"]);
    // Asleep, too; and the session is not touched otherwise.
    farm.play(A, "> 04 18 01 2C\n< 02 18");
    farm.play(A, "> 08 0C 61 00 06 00 00 '2'");
    assert_eq!(farm.heard(watcher), ["own/six 2 q0"]);
    assert_eq!(farm.gateway.usage().asleep, 1);
}

#[test]
fn qos_minus_one_can_be_switched_off() {
    let mut farm = Farm::with(Settings { qos_minus_one: false, ..settings() });
    let watcher = farm.watch("#");
    farm.play(A, "> 08 0C 62 'xy' 00 00 '1'\n> 08 0C 61 00 05 00 00 '2'");
    farm.play(A, "> 0E 0C 60 00 05 00 00 'a/b/c' 'hi'");
    assert!(farm.heard(watcher).is_empty());
    assert_eq!(farm.gateway.stats().unconnected_dropped, 3);
}

/// 17.9: the form with the name in the message, as RSMB and the Paho C client have it.
#[test]
fn qos_minus_one_with_the_name_in_the_message_is_an_option() {
    let mut farm = Farm::with(Settings { qos_minus_one_names: true, ..settings() });
    let watcher = farm.watch("#");
    farm.play(
        A,
        "> 0E 0C 60 00 05 00 00 'a/b/c' 'hi'
         > 0C 0C 70 00 05 00 00 'a/b/c'      -- retained, empty
         > 0C 0C 60 00 06 00 00 'a/b/c'      -- longer than the message
         > 0C 0C 60 FF FF 00 00 'a/b/c'
         > 0C 0C 60 00 00 00 00 'a/b/c'
         > 0C 0C 60 00 03 00 00 'a/#/c'
         > 0A 0C 60 00 02 00 00 C3 28 'x'",
    );
    assert_eq!(farm.heard(watcher), ["a/b/c hi q0", "a/b/c  q0"]);
    assert_eq!(farm.gateway.stats().unconnected_dropped, 5);
    farm.expect_silence(A);
}

/// Each source has its own rate; a forwarder's nodes are sources each.
#[test]
fn qos_minus_one_has_a_rate_per_source() {
    let mut farm = Farm::with(Settings { qos_minus_one_per_s: 3, ..settings() });
    let watcher = farm.watch("#");
    let send = |farm: &mut Farm, from: &str, wrap: &str| {
        for _ in 0..5 {
            farm.say(from, &format!("{wrap} 08 0C 62 'xy' 00 00 '1'"));
        }
        farm.heard(watcher).len()
    };
    assert_eq!(send(&mut farm, A, ""), 3);
    assert_eq!(send(&mut farm, A2, ""), 0, "another port of the same host");
    assert_eq!(send(&mut farm, B, ""), 3);
    assert_eq!(send(&mut farm, crate::farm::F, "05 FE 00 'N1'"), 3);
    assert_eq!(send(&mut farm, crate::farm::F, "05 FE 00 'N2'"), 3);
    farm.pass(1_000);
    assert_eq!(send(&mut farm, A, ""), 3);
}

/// SN-065 and the quirk: asymcute writes short names the wrong way round.
#[test]
fn a_client_that_swaps_short_names_is_understood() {
    let quirks = Quirks { swap_topic_id_octets: true, ..Quirks::default() };
    let quirks = BTreeMap::from([("dev1".to_owned(), quirks)]);
    let (mut farm, watcher) = connected_with(Settings { quirks, ..settings() });
    // The acknowledgement repeats what was sent.
    farm.play(A, "> 08 0C 22 'ba' 00 01 '1'\n< 07 0D 'ba' 00 01 00");
    assert_eq!(farm.heard(watcher), ["ab 1 q1"]);
}

/// D8: a client that was restarted in the middle of an exchange begins its MsgIds anew; what it
/// says under the old number is another message, unless it says DUP.
#[test]
fn another_message_under_the_number_of_an_unfinished_exchange_is_not_lost() {
    let mut farm = Farm::new();
    let connect = "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00\n";
    let watcher = farm.watch("#");
    farm.play(A, connect);
    farm.play(A, "> 0A 0C 42 'xy' 00 01 'old'\n< 04 0F 00 01");
    farm.play(A, connect);
    farm.play(A, "> 0A 0C C2 'xy' 00 01 'old'\n< 04 0F 00 01");
    farm.play(A, "> 0A 0C 42 'xy' 00 01 'new'\n< 04 0F 00 01");
    farm.play(A, "> 0A 0C C2 'xy' 00 01 'new'\n< 04 0F 00 01\n> 04 10 00 01\n< 04 0E 00 01");
    assert_eq!(farm.heard(watcher), ["xy old q2", "xy new q2"]);
}
