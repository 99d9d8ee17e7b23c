//! Messages for clients: order, flags, sizes, and what is done when no answer comes (SN 6.10, D7,
//! D8).

use std::collections::BTreeMap;

use core::time::Duration;
use mqtt_sn_gw::sn::{Quirks, Retry, Settings};

use crate::farm::{A, Farm, Q0, Q1, Q2, settings};
use crate::script::{self, Known};

/// Active with a long keep-alive, with topic id 1 for a/x and a subscription of QoS 2.
fn subscriber() -> Farm {
    subscriber_with(settings())
}

fn subscriber_with(settings: Settings) -> Farm {
    let mut farm = Farm::with(settings);
    farm.play(
        A,
        "> 0A 04 00 01 0E 10 'dev1'
         < 03 05 00
         > 08 12 40 00 02 'a/x'
         < 08 13 40 00 01 00 02 00",
    );
    farm
}

/// SN-018, SN-060: at the lower of both QoS, and QoS 0 without a MsgId.
#[test]
fn a_message_comes_at_the_lower_of_its_qos_and_the_granted_one() {
    for (granted, flag) in [(0, "00"), (1, "20"), (2, "40")] {
        let mut farm = Farm::new();
        farm.play(
            A,
            &format!(
                "> 0A 04 00 01 0E 10 'dev1'\n< 03 05 00
                 > 08 12 {flag} 00 02 'a/x'\n< 08 13 {flag} 00 01 00 02 00"
            ),
        );
        for (published, qos) in [(0, Q0), (1, Q1), (2, Q2)] {
            farm.publish("a/x", "1", qos);
            let script = match published.min(granted) {
                0 => "< 08 0C 00 00 01 00 00 '1'",
                1 => "< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 00",
                _ => "< 08 0C 40 00 01 {m} '1'\n> 04 0F {m}\n< 04 10 {m}\n> 04 0E {m}",
            };
            farm.play(A, script);
        }
    }
}

/// One exchange at a time; QoS 0 behind it waits, so that the order stays.
#[test]
fn messages_come_one_by_one_in_their_order() {
    let mut farm = subscriber();
    for (payload, qos) in [("1", Q0), ("2", Q1), ("3", Q0), ("4", Q2), ("5", Q0)] {
        farm.publish("a/x", payload, qos);
    }
    farm.play(
        A,
        "< 08 0C 00 00 01 00 00 '1'
         < 08 0C 20 00 01 {m} '2'
         > 02 16
         < 02 17
         > 07 0D 00 01 {m} 00
         < 08 0C 00 00 01 00 00 '3'
         < 08 0C 40 00 01 {n} '4'
         > 04 0F {n}
         < 04 10 {n}
         > 02 16
         < 02 17
         > 04 0E {n}
         < 08 0C 00 00 01 00 00 '5'",
    );
}

/// The MsgIds of both directions are independent.
#[test]
fn the_same_msg_id_may_be_in_use_in_both_directions() {
    let mut farm = subscriber();
    farm.publish("a/x", "1", Q2);
    farm.play(
        A,
        "< 08 0C 40 00 01 {m} '1'
         > 09 0A 00 00 {m} 'abc'
         < 07 0B 00 02 {m} 00
         > 08 0C 40 00 02 {m} '2'
         < 04 0F {m}
         > 04 0F {m}
         < 04 10 {m}
         > 04 10 {m}
         < 04 0E {m}
         > 04 0E {m}",
    );
}

/// SN-006, SN-103: the first one without DUP, N_retry repetitions with it, T_retry apart, a tenth
/// more or less.
#[test]
fn a_message_is_repeated_n_retry_times() {
    for (qos, first, again) in [(Q1, "20", "A0"), (Q2, "40", "C0")] {
        let mut farm = subscriber();
        farm.publish("a/x", "1", qos);
        let mut known = Known::new();
        farm.play_on(A, &mut known, &format!("< 08 0C {first} 00 01 {{m}} '1'"));
        for _ in 0..4 {
            let mut waited = 0;
            let again = format!("08 0C {again} 00 01 {{m}} '1'");
            let came = loop {
                farm.pass(10);
                waited += 10;
                if let Some(octets) = farm.take(A).pop_front() {
                    break script::fit(&again, &octets, &mut known);
                }
            };
            assert_eq!(came, script::plain(&again, &known));
            assert!((8_990..=11_020).contains(&waited), "{waited} ms");
        }
        farm.pass(1_000_000);
        assert!(farm.take(A).is_empty(), "a client that does not answer is left alone");
        assert_eq!(farm.gateway.stats().retransmissions, 4);
    }
}

#[test]
fn pubrel_is_repeated_n_retry_times() {
    let mut farm = subscriber();
    farm.publish("a/x", "1", Q2);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 40 00 01 {m} '1'\n> 04 0F {m}\n< 04 10 {m}");
    for _ in 0..4 {
        farm.pass(11_010);
        farm.play_on(A, &mut known, "< 04 10 {m}");
    }
    farm.pass(1_000_000);
    assert!(farm.take(A).is_empty());
}

#[test]
fn repetition_follows_the_settings_and_those_of_the_client() {
    let retry = Retry { after: Duration::from_secs(1), times: 1 };
    let mut farm = subscriber_with(Settings { retry, ..settings() });
    farm.publish("a/x", "1", Q1);
    farm.take(A);
    farm.pass(10_000);
    assert_eq!(farm.take(A).len(), 1);

    let quirks = Quirks { retry_after: Some(Duration::from_millis(100)), ..Quirks::default() };
    let quirks = BTreeMap::from([("dev1".to_owned(), quirks)]);
    let mut farm = subscriber_with(Settings { quirks, ..settings() });
    farm.publish("a/x", "1", Q1);
    farm.take(A);
    farm.pass(500);
    assert_eq!(farm.take(A).len(), 4, "N_retry is not its own");
}

/// D7: the client was heard of since the first try, so it is there and does not answer this one.
#[test]
fn a_message_that_a_living_client_does_not_answer_is_given_up() {
    let mut farm = subscriber();
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.take(A);
    farm.pass(30_000);
    farm.play(A, "< 08 0C A0 00 01 ?? ?? '1'\n< 08 0C A0 00 01 ?? ?? '1'\n> 02 16\n< 02 17");
    farm.pass(30_000);
    farm.play(
        A,
        "< 08 0C A0 00 01 ?? ?? '1'
         < 08 0C A0 00 01 ?? ?? '1'
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00",
    );
    assert_eq!(farm.gateway.stats().given_up, 1);
    assert_eq!(farm.broker.stats().dropped_unacknowledged, 1, "and counted");
}

/// A client that answers such messages has lost this one: it gets more rounds before that.
#[test]
fn a_message_of_a_sort_that_the_client_answers_is_repeated_for_longer() {
    for (proof, payload, rounds) in [("0", "1", 5), ("", "", 5), ("0", "", 1), ("", "1", 1)] {
        let mut farm = subscriber();
        farm.publish("a/x", proof, Q1);
        let length = 7 + proof.len();
        let text = if proof.is_empty() { String::new() } else { format!(" '{proof}'") };
        farm.play(A, &format!("< {length:02X} 0C 20 00 01 {{m}}{text}\n> 07 0D 00 01 {{m}} 00"));
        farm.publish("a/x", payload, Q1);
        let mut sent = 0;
        while farm.gateway.stats().given_up == 0 {
            sent += farm.take(A).len();
            farm.pass(5_000);
            farm.say(A, "05 00 02 03 84");
        }
        assert_eq!(sent, 5 * rounds, "`{payload}` after `{proof}`");
    }
}

/// D7: not heard of since the first try, so it is kept, and nothing is sent until it is heard of.
#[test]
fn a_message_that_a_silent_client_does_not_answer_is_kept() {
    for (first_words, answers) in [("02 16", true), ("02 17", false)] {
        let mut farm = subscriber();
        farm.publish("a/x", "1", Q1);
        farm.take(A);
        farm.pass(600_000);
        assert_eq!(farm.take(A).len(), 4);
        farm.publish("a/x", "2", Q1);
        assert!(farm.take(A).is_empty());
        let pong = if answers { "< 02 17\n" } else { "" };
        farm.play(
            A,
            &format!(
                "> {first_words}
                 {pong}< 08 0C A0 00 01 {{m}} '1'
                 > 07 0D 00 01 {{m}} 00
                 < 08 0C 20 00 01 {{n}} '2'
                 > 07 0D 00 01 {{n}} 00"
            ),
        );
        assert_eq!(farm.gateway.stats().given_up, 0);
    }
}

/// Section 18: a client that pings only now and then (emcute each 360 s) must not be kept waiting
/// for ever by one message that it does not answer. It spoke after the first try, however long ago
/// that is.
#[test]
fn a_message_is_given_up_also_if_the_client_speaks_only_between_the_repetitions() {
    let mut farm = subscriber();
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.pass(360_000);
    farm.take(A);
    farm.play(A, "> 02 16\n< 02 17\n< 08 0C A0 00 01 ?? ?? '1'");
    farm.pass(60_000);
    let payloads: Vec<u8> =
        farm.take(A).iter().filter_map(|octets| octets.last().copied()).collect();
    assert!(payloads.starts_with(b"11112"), "four repetitions of the first, and then the second");
    assert_eq!(farm.gateway.stats().given_up, 1);
}

/// Acknowledgements may come late, and then say nothing about whether the client is there now.
#[test]
fn a_late_acknowledgement_is_no_sign_that_the_client_refuses_a_message() {
    let mut farm = subscriber();
    farm.publish("a/x", "1", Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 00");
    farm.publish("a/x", "2", Q1);
    farm.play_on(A, &mut known, "< 08 0C 20 00 01 {n} '2'");
    farm.pass(100);
    farm.play_on(A, &mut known, "> 07 0D 00 01 {m} 00");
    farm.pass(100_000);
    assert_eq!(farm.gateway.stats().given_up, 0);
}

/// SN-082, SN-106: a message that does not fit is dropped without a word, and the next one comes.
#[test]
fn what_does_not_fit_is_dropped_silently_and_counted() {
    // ZigBee: 60 octets, so a payload of 53 and a name of 54.
    let mut farm = subscriber_with(Settings { max_datagram: vec![60], ..settings() });
    farm.play(A, "> 08 12 20 00 03 'b/#'\n< 08 13 20 00 00 00 03 00");
    farm.publish("a/x", &"x".repeat(54), Q1);
    farm.expect_silence(A);
    farm.publish("a/x", &"x".repeat(53), Q0);
    assert_eq!(farm.take(A)[0].len(), 60);
    farm.publish(&format!("b/{}", "x".repeat(53)), "", Q1);
    farm.expect_silence(A);
    farm.publish(&format!("b/{}", "x".repeat(52)), "", Q1);
    assert_eq!(farm.take(A)[0].len(), 60);
    assert_eq!(farm.broker.stats().dropped_unsendable, 2);
}

/// A name that fits where the payload does not: neither is sent, no id is told for nothing.
#[test]
fn a_name_is_not_registered_for_a_payload_that_does_not_fit() {
    let mut farm = subscriber_with(Settings { max_datagram: vec![60], ..settings() });
    farm.play(A, "> 08 12 20 00 03 'b/#'\n< 08 13 20 00 00 00 03 00");
    farm.publish("b/y", &"x".repeat(54), Q1);
    farm.expect_silence(A);
    assert_eq!(farm.gateway.stats().registers_sent, 0);
}

/// The limits of the ports are known when the ports are, which is after a restore.
#[test]
fn a_limit_that_is_told_later_counts_from_then_on() {
    let mut farm = subscriber_with(settings());
    farm.gateway.set_max_datagram(vec![32]);
    farm.publish("a/x", &"x".repeat(26), Q0);
    farm.publish("a/x", &"x".repeat(25), Q0);
    assert_eq!(farm.take(A).iter().map(Vec::len).collect::<Vec<_>>(), [32]);
}

#[test]
fn what_comes_and_goes_is_counted_with_its_octets() {
    let mut farm = subscriber_with(settings());
    let before = *farm.gateway.stats();
    farm.play(A, "> 02 16\n< 02 17\n> 02 16\n< 02 17");
    farm.publish("a/x", "1", Q0);
    assert_eq!(farm.take(A).len(), 1);
    let after = farm.gateway.stats();
    assert_eq!(after.datagrams_received - before.datagrams_received, 2);
    assert_eq!(after.bytes_received - before.bytes_received, 4);
    assert_eq!(after.datagrams_sent - before.datagrams_sent, 3);
    assert_eq!(after.bytes_sent - before.bytes_sent, 2 + 2 + 8);
}

#[test]
fn a_client_may_have_a_limit_of_its_own() {
    let quirks = Quirks { max_datagram: Some(32), ..Quirks::default() };
    let quirks = BTreeMap::from([("dev1".to_owned(), quirks)]);
    let mut farm = subscriber_with(Settings { quirks, ..settings() });
    farm.publish("a/x", &"x".repeat(26), Q0);
    farm.publish("a/x", &"x".repeat(25), Q0);
    assert_eq!(farm.take(A).iter().map(Vec::len).collect::<Vec<_>>(), [32]);
}

/// A message in flight that turns out not to fit any more leaves nothing that waits for it.
#[test]
fn a_repetition_that_cannot_be_sent_any_more_does_not_stop_the_next_message() {
    let quirks = Quirks { no_register: true, ..Quirks::default() };
    let quirks = BTreeMap::from([("dev1".to_owned(), quirks)]);
    let mut farm = subscriber_with(Settings { quirks, ..settings() });
    farm.play(A, "> 04 18 01 2C\n< 02 18");
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 02\n< 02 17");
    assert_eq!(farm.broker.stats().dropped_unsendable, 2);
}

/// SN-059, SN-060: after a CONNECT that keeps the session what was in flight comes again with DUP,
/// and PUBREL where PUBREC had come.
#[test]
fn after_a_reconnect_exchanges_go_on() {
    let mut farm = subscriber();
    let connect = "> 0A 04 00 01 0E 10 'dev1'\n< 03 05 00";
    farm.publish("a/x", "1", Q2);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 08 0C 40 00 01 {m} '1'");
    farm.play_on(
        A,
        &mut known,
        &format!(
            "{connect}
             < 09 0A 00 01 {{r}} 'a/x'
             > 07 0B 00 01 {{r}} 00
             < 08 0C C0 00 01 {{m}} '1'
             > 04 0F {{m}}
             < 04 10 {{m}}"
        ),
    );
    farm.play_on(A, &mut known, &format!("{connect}\n< 04 10 {{m}}\n> 04 0E {{m}}"));
    farm.publish("a/x", "2", Q1);
    farm.play(A, "< 09 0A 00 01 {r} 'a/x'");
}

/// 17.12: retained messages with the flag, live ones without.
#[test]
fn retain_is_set_on_retained_messages_only() {
    let mut farm = subscriber();
    farm.publish_as("a/x", b"1", Q0, true);
    farm.play(A, "< 08 0C 00 00 01 00 00 '1'");
    farm.play(
        A,
        "> 08 12 A0 00 03 'a/x'          -- with DUP: as any other SUBSCRIBE
         < 08 13 20 00 01 00 03 00
         < 08 0C 10 00 01 00 00 '1'",
    );
}

/// Payloads at the edge of the short form (section 2).
#[test]
fn the_short_form_is_used_as_long_as_it_suffices() {
    let mut farm = subscriber();
    for (payload, head) in [
        (248, "FF 0C 00 00 01 00 00"),
        (249, "01 01 02 0C 00 00 01 00 00"),
        (250, "01 01 03 0C 00 00 01 00 00"),
    ] {
        farm.publish("a/x", &"A".repeat(payload), Q0);
        let came = farm.received(A);
        assert!(came[0].starts_with(head) && came[0].ends_with("41 41"), "{}", came[0]);
    }
}
