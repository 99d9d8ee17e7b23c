//! What clients answer to our messages (12.5, D8), in the states where they may: active, awake, and
//! asleep, when the answer comes late.

use crate::farm::{A, Farm, Q0, Q1, Q2};
use crate::script::Known;

/// Active, with topic id 1 for a/x and a subscription of QoS 2.
fn active() -> Farm {
    let mut farm = Farm::new();
    farm.play(
        A,
        "> 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         > 08 12 40 00 02 'a/x'
         < 08 13 40 00 01 00 02 00",
    );
    farm
}

const SLEEP: &str = "> 04 18 01 2C\n< 02 18";
const WAKE: &str = "> 06 16 'dev1'";
const PINGRESP: &str = "< 02 17";

/// Plays it for a client that is active, and in the visit of one that sleeps.
fn in_both(publish: impl Fn(&mut Farm), first: &str, active_end: &str, visit_end: &str) {
    let mut farm = active();
    publish(&mut farm);
    farm.play(A, &format!("{first}\n{active_end}"));
    farm.expect_silence(A);

    let mut farm = active();
    farm.play(A, SLEEP);
    publish(&mut farm);
    farm.play(A, &format!("{WAKE}\n{first}\n{visit_end}"));
    farm.expect_silence(A);
}

fn publish(farm: &mut Farm, payloads: &[&str], qos: broker_core::api::QoS) {
    for payload in payloads {
        farm.publish("a/x", payload, qos);
    }
}

/// SN-060
#[test]
fn puback_ends_qos_1_and_the_next_message_or_pingresp_follows() {
    let next = "> 07 0D 00 01 {m} 00\n< 08 0C 20 00 01 {n} '2'\n> 07 0D 00 01 {n} 00";
    in_both(
        |farm| publish(farm, &["1", "2"], Q1),
        "< 08 0C 20 00 01 {m} '1'",
        next,
        &format!("{next}\n{PINGRESP}"),
    );
}

/// The TopicId of a PUBACK is not what it is known by: some clients leave it out.
#[test]
fn puback_is_known_by_its_msg_id() {
    let mut farm = active();
    publish(&mut farm, &["1"], Q1);
    farm.play(A, "< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 00 {m} 00");
    farm.pass(60_000);
    farm.expect_silence(A);
}

#[test]
fn puback_does_not_end_qos_2() {
    let mut farm = active();
    publish(&mut farm, &["1", "2"], Q2);
    farm.play(
        A,
        "< 08 0C 40 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         > 04 0F {m}
         < 04 10 {m}
         > 07 0D 00 01 {m} 00
         > 04 0E {m}
         < 08 0C 40 00 01 {n} '2'",
    );
}

/// SN-060
#[test]
fn pubrec_is_answered_as_often_as_it_comes_and_pubcomp_ends_qos_2() {
    let end = "> 04 0F {m}
         < 04 10 {m}
         > 04 0F {m}
         < 04 10 {m}
         > 04 0E {m}";
    in_both(
        |farm| publish(farm, &["1"], Q2),
        "< 08 0C 40 00 01 {m} '1'",
        end,
        &format!("{end}\n{PINGRESP}"),
    );
}

#[test]
fn pubrec_for_a_message_of_qos_1_is_answered_and_ends_nothing() {
    let mut farm = active();
    publish(&mut farm, &["1", "2"], Q1);
    farm.play(
        A,
        "< 08 0C 20 00 01 {m} '1'
         > 04 0F {m}
         < 04 10 {m}
         > 04 0E {m}
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'",
    );
}

/// A PUBREC that the network held back, or made twice, comes when its exchange is over. Nobody owes
/// a PUBCOMP for the answer, so nothing waits for one.
#[test]
fn a_late_pubrec_does_not_stop_the_messages_behind_it() {
    let mut farm = active();
    publish(&mut farm, &["1"], Q2);
    let mut known = Known::new();
    let first = "< 08 0C 40 00 01 {m} '1'\n> 04 0F {m}\n< 04 10 {m}\n> 04 0E {m}";
    farm.play_on(A, &mut known, first);
    farm.play_on(A, &mut known, "> 04 0F {m}\n< 04 10 {m}");
    publish(&mut farm, &["2"], Q1);
    farm.play(A, "< 08 0C 20 00 01 {n} '2'\n> 07 0D 00 01 {n} 00");

    publish(&mut farm, &["3"], Q1);
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {o} '3'\n> 04 0F {m}\n< 04 10 {m}");
    farm.play_on(A, &mut known, "> 07 0D 00 01 {o} 00");
    publish(&mut farm, &["4"], Q1);
    farm.play(A, "< 08 0C 20 00 01 {p} '4'");
}

/// SN-080, SN-081
#[test]
fn puback_02_corrects_the_mapping_once_and_the_second_one_drops_the_message() {
    let correction = "> 07 0D 00 01 {m} 02
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 02
         < 09 0A 00 01 {s} 'a/x'
         > 07 0B 00 01 {s} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00";
    in_both(
        |farm| publish(farm, &["1", "2"], Q1),
        "< 08 0C 20 00 01 {m} '1'",
        correction,
        &format!("{correction}\n{PINGRESP}"),
    );
}

/// SN-080, SN-081
#[test]
fn puback_02_for_a_short_or_predefined_topic_leads_to_a_normal_id() {
    for (subscribe, topic, said, name) in [
        (
            "> 07 12 22 00 03 'xy'\n< 08 13 20 'xy' 00 03 00",
            "xy",
            "< 08 0C 22 'xy' {m} '1'",
            "'xy'",
        ),
        (
            "> 07 12 21 00 03 00 05\n< 08 13 20 00 05 00 03 00",
            "a/predefined",
            "< 08 0C 21 00 05 {m} '1'",
            "'a/predefined'",
        ),
    ] {
        let mut farm = active();
        farm.play(A, subscribe);
        farm.publish(topic, "1", Q1);
        let topic_id = &said[11..16];
        let length = 6 + name.len() - 2;
        farm.play(
            A,
            &format!(
                "{said}
                 > 07 0D {topic_id} {{m}} 02
                 < {length:02X} 0A 00 02 {{r}} {name}
                 > 07 0B 00 02 {{r}} 00
                 < 08 0C 20 00 02 {{m}} '1'
                 > 07 0D 00 02 {{m}} 00"
            ),
        );
    }
}

/// SN-080, SN-081: QoS 0 has no MsgId, so it is the TopicId that tells.
#[test]
fn puback_02_for_qos_0_brings_it_once_more() {
    let correction = "> 07 0D 00 01 00 00 02
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 00 00 01 00 00 '1'
         > 07 0D 00 01 00 00 02";
    let mut farm = active();
    publish(&mut farm, &["1"], Q0);
    farm.play(A, &format!("< 08 0C 00 00 01 00 00 '1'\n{correction}"));
    publish(&mut farm, &["2"], Q0);
    farm.play(
        A,
        "< 09 0A 00 01 {s} 'a/x'
         > 07 0B 00 01 {s} 00
         < 08 0C 00 00 01 00 00 '2'",
    );
}

#[test]
fn puback_02_for_qos_0_while_something_else_waits_corrects_the_mapping_only() {
    let mut farm = active();
    publish(&mut farm, &["0"], Q0);
    publish(&mut farm, &["1"], Q1);
    farm.play(
        A,
        "< 08 0C 00 00 01 00 00 '0'
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 00 00 02
         > 07 0D 00 01 {m} 00",
    );
    publish(&mut farm, &["2"], Q1);
    farm.play(A, "< 09 0A 00 01 {r} 'a/x'");
}

/// The visit is over when the client finds out; nothing is said to it before the next one.
#[test]
fn puback_02_for_qos_0_that_comes_late_is_kept_for_the_next_visit() {
    let mut farm = active();
    farm.play(A, SLEEP);
    publish(&mut farm, &["1"], Q0);
    farm.play(A, &format!("{WAKE}\n< 08 0C 00 00 01 00 00 '1'\n{PINGRESP}"));
    farm.play(A, "> 07 0D 00 01 00 00 02");
    farm.pass(100_000);
    farm.expect_silence(A);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 00 00 01 00 00 '1'
         < 02 17",
    );
}

#[test]
fn puback_01_holds_deliveries_for_a_pause() {
    for (qos, flags) in [(Q1, "20"), (Q2, "40")] {
        let mut farm = active();
        publish(&mut farm, &["1", "2"], qos);
        let mut known = Known::new();
        let refused = format!("< 08 0C {flags} 00 01 {{m}} '1'\n> 07 0D 00 01 {{m}} 01");
        farm.play_on(A, &mut known, &refused);
        farm.pass(9_900);
        farm.expect_silence(A);
        farm.pass(200);
        let flags = if qos == Q1 { "A0" } else { "C0" };
        farm.play_on(A, &mut known, &format!("< 08 0C {flags} 00 01 {{m}} '1'"));
    }
}

#[test]
fn puback_01_for_qos_0_holds_the_next_messages() {
    let mut farm = active();
    publish(&mut farm, &["1"], Q0);
    farm.play(A, "< 08 0C 00 00 01 00 00 '1'\n> 07 0D 00 01 00 00 01");
    publish(&mut farm, &["2", "3"], Q0);
    farm.pass(9_900);
    farm.expect_silence(A);
    farm.pass(200);
    farm.play(A, "< 08 0C 00 00 01 00 00 '2'\n< 08 0C 00 00 01 00 00 '3'");
}

#[test]
fn a_pause_in_a_visit_ends_with_the_next_ping_at_the_latest() {
    let mut farm = active();
    farm.play(A, SLEEP);
    publish(&mut farm, &["1", "2"], Q1);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 01
         > 06 16 'dev1'
         < 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00
         < 02 17",
    );
}

/// A client that answers "congestion" and sleeps has its pause; nothing is repeated into its sleep.
#[test]
fn puback_01_from_a_client_that_sleeps_wakes_nothing() {
    let mut farm = active();
    publish(&mut farm, &["1"], Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {m} '1'\n> 04 18 01 2C\n< 02 18");
    farm.play_on(A, &mut known, "> 07 0D 00 01 {m} 01");
    farm.pass(100_000);
    farm.expect_silence(A);
    farm.play_on(A, &mut known, "> 06 16 'dev1'\n< 08 0C A0 00 01 {m} '1'");
}

/// D8: DUP may be what the client does not understand.
#[test]
fn puback_03_with_dup_brings_it_once_without_and_without_dup_from_then_on() {
    let mut farm = active();
    publish(&mut farm, &["1", "2", "3"], Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {m} '1'");
    farm.pass(11_500);
    farm.play_on(
        A,
        &mut known,
        "< 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 03
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'",
    );
    farm.pass(11_500);
    // Refused without DUP: nothing helps, and the next one follows.
    farm.play_on(
        A,
        &mut known,
        "< 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 03
         < 08 0C 20 00 01 {o} '3'",
    );
    assert_eq!(farm.broker.stats().dropped_unacknowledged, 1);
}

#[test]
fn puback_03_or_a_reserved_code_drops_the_message() {
    for code in ["03", "04", "80", "FF"] {
        let end = format!(
            "> 07 0D 00 01 {{m}} {code}\n< 08 0C 20 00 01 {{n}} '2'\n> 07 0D 00 01 {{n}} 00"
        );
        in_both(
            |farm| publish(farm, &["1", "2"], Q1),
            "< 08 0C 20 00 01 {m} '1'",
            &end,
            &format!("{end}\n{PINGRESP}"),
        );
    }
}

/// What a client acknowledges after its visit is not sent again in the next one.
#[test]
fn late_acknowledgements_count() {
    let visit = |farm: &mut Farm, known: &mut Known, first: &str, late: &str| {
        farm.play(A, SLEEP);
        publish(farm, &["1"], if first.contains(" 40 ") { Q2 } else { Q1 });
        farm.play_on(A, known, &format!("{WAKE}\n{first}"));
        farm.pass(30_000);
        farm.take(A);
        assert_eq!(farm.gateway.usage().asleep, 1, "the visit is over");
        farm.play_on(A, known, late);
    };
    let (mut farm, mut known) = (active(), Known::new());
    visit(&mut farm, &mut known, "< 08 0C 20 00 01 {m} '1'", "> 07 0D 00 01 {m} 00");
    farm.play(A, &format!("{WAKE}\n{PINGRESP}"));

    let (mut farm, mut known) = (active(), Known::new());
    visit(&mut farm, &mut known, "< 08 0C 40 00 01 {m} '1'", "> 04 0F {m}\n< 04 10 {m}");
    farm.pass(30_000);
    farm.expect_silence(A);
    farm.play_on(A, &mut known, "> 06 16 'dev1'\n< 04 10 {m}\n> 04 0E {m}\n< 02 17");

    let (mut farm, mut known) = (active(), Known::new());
    let late = "> 04 0F {m}\n< 04 10 {m}\n> 04 0E {m}";
    visit(&mut farm, &mut known, "< 08 0C 40 00 01 {m} '1'", late);
    farm.play(A, &format!("{WAKE}\n{PINGRESP}"));

    let (mut farm, mut known) = (active(), Known::new());
    visit(&mut farm, &mut known, "< 08 0C 20 00 01 {m} '1'", "> 07 0D 00 01 {m} 03");
    farm.play_on(
        A,
        &mut known,
        "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 00\n< 02 17",
    );
}

/// SN-077, SN-079, and 12.3: a REGACK that comes after the visit.
#[test]
fn a_late_regack_counts() {
    let set_up = |qos| {
        let mut farm = active();
        farm.play(A, "> 08 12 20 00 03 'b/#'\n< 08 13 20 00 00 00 03 00");
        farm.play(A, SLEEP);
        farm.publish("b/y", "1", qos);
        let mut known = Known::new();
        farm.play_on(A, &mut known, "> 06 16 'dev1'\n< 09 0A 00 02 {r} 'b/y'");
        farm.pass(30_000);
        farm.take(A);
        (farm, known)
    };
    for (qos, message) in
        [(Q0, "< 08 0C 00 00 02 00 00 '1'"), (Q1, "< 08 0C 20 00 02 {m} '1'\n> 07 0D 00 02 {m} 00")]
    {
        let (mut farm, mut known) = set_up(qos);
        farm.play_on(A, &mut known, "> 07 0B 00 02 {r} 00");
        farm.expect_silence(A);
        farm.play_on(A, &mut known, &format!("{WAKE}\n{message}\n{PINGRESP}"));

        let (mut farm, mut known) = set_up(qos);
        farm.play_on(A, &mut known, "> 07 0B 00 02 {r} 03");
        farm.play(A, &format!("{WAKE}\n{PINGRESP}"));

        // "Congestion" of a client that sleeps is over when it wakes up.
        let (mut farm, mut known) = set_up(qos);
        farm.play_on(A, &mut known, "> 07 0B 00 02 {r} 01");
        farm.pass(60_000);
        farm.expect_silence(A);
        let again = format!("{WAKE}\n< 09 0A 00 02 {{r}} 'b/y'\n> 07 0B 00 02 {{r}} 00");
        farm.play_on(A, &mut known, &format!("{again}\n{message}\n{PINGRESP}"));
    }
}

/// SN-079
#[test]
fn regack_01_is_asked_again_after_a_pause() {
    let mut farm = active();
    farm.play(A, "> 08 12 20 00 03 'b/#'\n< 08 13 20 00 00 00 03 00");
    farm.publish("b/y", "1", Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 09 0A 00 02 {r} 'b/y'\n> 07 0B 00 02 {r} 01");
    farm.pass(9_900);
    farm.expect_silence(A);
    farm.pass(200);
    farm.play_on(
        A,
        &mut known,
        "< 09 0A 00 02 {r} 'b/y'\n> 07 0B 00 02 {r} 00\n< 08 0C 20 00 02 {m} '1'",
    );
}

/// SN-077: neither a REGACK to something else nor a second one is taken for the answer.
#[test]
fn a_regack_to_something_else_changes_nothing() {
    let mut farm = active();
    farm.play(A, "> 08 12 20 00 03 'b/#'\n< 08 13 20 00 00 00 03 00");
    farm.publish("b/y", "1", Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 09 0A 00 02 {r} 'b/y'");
    let [high, low] = known["r"];
    known.insert("other".to_owned(), [high, low.wrapping_add(1)]);
    farm.play_on(A, &mut known, "> 07 0B 00 02 {other} 00\n> 07 0B 00 02 {other} 03");
    farm.expect_silence(A);
    farm.play_on(
        A,
        &mut known,
        "> 07 0B 00 02 {r} 00
         < 08 0C 20 00 02 {m} '1'
         > 07 0B 00 02 {r} 00
         > 07 0B 00 02 {r} 03
         > 07 0D 00 02 {m} 00",
    );
    farm.publish("b/y", "2", Q1);
    farm.play(A, "< 08 0C 20 00 02 {n} '2'");
}

/// The client has forgotten the topic id, and then answers the first copy after all.
#[test]
fn a_late_puback_ends_a_message_whose_topic_is_being_registered_again() {
    let mut farm = active();
    farm.publish("a/x", "1", Q1);
    farm.play(
        A,
        "< 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 02
         < 09 0A 00 01 {r} 'a/x'
         > 07 0D 00 01 {m} 00
         > 07 0B 00 01 {r} 00",
    );
    farm.pass(60_000);
    farm.expect_silence(A);
    assert_eq!((farm.broker.usage().messages, farm.broker.stats().dropped()), (0, 0));
}

/// What was spent on the message is not missing for the name.
#[test]
fn a_register_has_all_its_repetitions_however_often_its_message_was_repeated() {
    let mut farm = active();
    farm.publish("a/x", "1", Q1);
    farm.pass(34_000);
    let copies = farm.received(A);
    assert_eq!(copies.len(), 4, "{copies:?}");
    let id = copies[0].split(' ').skip(5).take(2).collect::<Vec<_>>().join(" ");
    farm.say(A, &format!("07 0D 00 01 {id} 02"));
    farm.pass(60_000);
    let registers = farm.received(A);
    assert_eq!(registers.len(), 5, "{registers:?}");
    assert!(registers.iter().all(|register| register.starts_with("09 0A 00 01")));
}
