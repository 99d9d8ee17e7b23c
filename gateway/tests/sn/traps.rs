//! The conformance traps of section 21 of the specification reference, each by its number. The
//! 30th, a restart of the gateway, needs the process; here is what a restarted gateway says.

use std::collections::BTreeMap;

use mqtt_sn_gw::sn::Settings;

use crate::farm::{A, A2, F, Farm, Q0, Q1, Q2, settings, topic};
use crate::script::Known;

fn connected() -> Farm {
    let mut farm = Farm::new();
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
    farm
}

/// With topic id 1 for a/x and a subscription of QoS 2.
fn subscriber() -> Farm {
    let mut farm = connected();
    farm.play(A, "> 08 12 40 00 02 'a/x'\n< 08 13 40 00 01 00 02 00");
    farm
}

/// SN-002
#[test]
fn trap_01_the_long_form_with_a_total_below_256() {
    let mut farm = Farm::new();
    farm.play(A, "> 01 00 0C 04 04 01 00 3C 'dev1'\n< 03 05 00\n> 01 00 04 16\n< 02 17");
}

/// SN-001
#[test]
fn trap_02_totals_of_exactly_255_and_258() {
    let mut farm = subscriber();
    let watcher = farm.watch("a/x");
    for (length, payload) in [("FF", 248), ("01 01 02", 249)] {
        let text = "A".repeat(payload);
        farm.play(
            A,
            &format!(
                "> {length} 0C 20 00 01 00 09 '{text}'
                 < 07 0D 00 01 00 09 00
                 < {length} 0C 20 00 01 {{m}} '{text}'
                 > 07 0D 00 01 {{m}} 00"
            ),
        );
        assert_eq!(farm.heard(watcher).len(), 1);
    }
}

/// SN-001
#[test]
fn trap_03_lengths_that_lie() {
    let mut farm = connected();
    let says = [
        "00 16",
        "01 00 00 16",
        "01 00 01 16",
        "01 00 02 16",
        "01 00 03 16",
        "03 16",
        "02 16 00",
        "01 00 05 16",
        "01 00 04 16 00",
    ];
    for octets in says {
        farm.say(A, octets);
    }
    farm.expect_silence(A);
    assert_eq!(farm.gateway.stats().malformed, says.len() as u64);
    farm.play(A, "> 02 16\n< 02 17");
}

#[test]
fn trap_04_a_publish_of_7_octets() {
    let mut farm = subscriber();
    farm.play(A, "> 07 0C 20 00 01 00 09\n< 07 0D 00 01 00 09 00\n< 07 0C 20 00 01 ?? ??");
}

/// SN-055
#[test]
fn trap_05_register_for_the_same_name_twice() {
    let register = "> 09 0A 00 00 00 01 'abc'\n< 07 0B 00 01 00 01 00";
    connected().play(A, &format!("{register}\n{register}"));
}

/// SN-070
#[test]
fn trap_06_subscribe_to_a_registered_name() {
    connected().play(
        A,
        "> 09 0A 00 00 00 01 'abc'
         < 07 0B 00 01 00 01 00
         > 08 12 20 00 02 'abc'
         < 08 13 20 00 01 00 02 00",
    );
}

/// SN-021
#[test]
fn trap_07_subscribe_repeated_with_dup() {
    let mut farm = connected();
    farm.publish_as("abc", b"old", Q1, true);
    for flags in ["20", "A0"] {
        farm.play(
            A,
            &format!(
                "> 08 12 {flags} 00 02 'abc'
                 < 08 13 20 00 01 00 02 00
                 < 0A 0C 30 00 01 {{m}} 'old'
                 > 07 0D 00 01 {{m}} 00"
            ),
        );
    }
    farm.publish("abc", "1", Q0);
    farm.play(A, "< 08 0C 00 00 01 00 00 '1'");
}

/// SN-073, SN-077
#[test]
fn trap_08_a_wildcard_is_published_to_only_after_regack() {
    let mut farm = connected();
    farm.play(A, "> 08 12 20 00 02 'a/#'\n< 08 13 20 00 00 00 02 00");
    for (payload, qos) in [("1", Q1), ("2", Q0), ("3", Q2)] {
        farm.publish("a/x", payload, qos);
    }
    let mut known = Known::new();
    farm.play_on(A, &mut known, "< 09 0A 00 01 {r} 'a/x'");
    farm.pass(8_000);
    farm.expect_silence(A);
    farm.play_on(A, &mut known, "> 07 0B 00 01 {r} 00\n< 08 0C 20 00 01 {m} '1'");
}

/// SN-079
#[test]
fn trap_09_regack_refused_and_then_more_messages_on_that_name() {
    let mut farm = connected();
    farm.play(A, "> 08 12 20 00 02 'a/#'\n< 08 13 20 00 00 00 02 00");
    farm.publish("a/x", "1", Q1);
    farm.play(A, "< 09 0A 00 01 {r} 'a/x'\n> 07 0B 00 01 {r} 03");
    for qos in [Q0, Q1, Q2] {
        farm.publish("a/x", "2", qos);
        farm.expect_silence(A);
    }
    farm.publish("a/y", "3", Q1);
    farm.play(A, "< 09 0A 00 02 ?? ?? 'a/y'");
}

/// SN-060: each of the four lost once, which means that its sender repeats it.
#[test]
fn trap_10_qos_2_both_ways_with_each_message_lost_once() {
    for lost in 0..4 {
        let mut farm = subscriber();
        let watcher = farm.watch("b");
        farm.play(A, "> 07 0A 00 00 00 01 'b'\n< 07 0B 00 02 00 01 00");
        // From the client: what it repeats if the datagram with this number is lost.
        let [publish, pubrec] = ["> 08 0C 40 00 02 00 09 '1'", "< 04 0F 00 09"];
        let [again, pubrel, pubcomp] =
            ["> 08 0C C0 00 02 00 09 '1'", "> 04 10 00 09", "< 04 0E 00 09"];
        let script = match lost {
            0 => vec![again, pubrec, pubrel, pubcomp],
            1 => vec![publish, pubrec, again, pubrec, pubrel, pubcomp],
            2 => vec![publish, pubrec, pubrel, pubcomp],
            _ => vec![publish, pubrec, pubrel, pubcomp, pubrel, pubcomp],
        };
        farm.play(A, &script.join("\n"));
        assert_eq!(farm.heard(watcher), ["b 1 q2"], "datagram {lost} lost");

        // To the client: what we repeat.
        farm.publish("a/x", "1", Q2);
        let mut known = Known::new();
        let mut play = |script: &str| farm.play_on(A, &mut known, script);
        match lost {
            0 | 1 => {
                play("< 08 0C 40 00 01 {m} '1'");
                farm.pass(11_100);
                farm.play_on(
                    A,
                    &mut known,
                    "< 08 0C C0 00 01 {m} '1'\n> 04 0F {m}\n< 04 10 {m}\n> 04 0E {m}",
                );
            }
            _ => {
                play("< 08 0C 40 00 01 {m} '1'\n> 04 0F {m}\n< 04 10 {m}");
                farm.pass(11_100);
                farm.play_on(A, &mut known, "< 04 10 {m}\n> 04 0E {m}");
            }
        }
        farm.publish("a/x", "2", Q0);
        farm.play(A, "< 08 0C 00 00 01 00 00 '2'");
    }
}

/// SN-080, SN-081
#[test]
fn trap_11_puback_02_from_the_client_for_qos_0() {
    let mut farm = subscriber();
    farm.publish("a/x", "1", Q0);
    farm.play(
        A,
        "< 08 0C 00 00 01 00 00 '1'
         > 07 0D 00 01 00 00 02
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 00 00 01 00 00 '1'",
    );
}

/// SN-095, SN-096
#[test]
fn trap_12_a_message_arrives_between_pingreq_and_pingresp() {
    let mut farm = subscriber();
    farm.play(A, "> 04 18 00 3C\n< 02 18");
    farm.publish("a/x", "1", Q1);
    let mut known = Known::new();
    farm.play_on(A, &mut known, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'");
    farm.publish("a/x", "2", Q1);
    farm.play_on(
        A,
        &mut known,
        "> 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00
         < 02 17",
    );
}

/// SN-098: the client repeats PINGREQ.
#[test]
fn trap_13_pingreq_pingresp_or_puback_lost_in_a_visit() {
    let visit = "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'\n> 07 0D 00 01 {m} 00\n< 02 17";
    let mut farm = subscriber();
    farm.play(A, "> 04 18 00 3C\n< 02 18");
    farm.publish("a/x", "1", Q1);
    // PINGREQ lost: the next one begins the visit.
    farm.play(A, visit);
    // PINGRESP lost: the next one is answered.
    farm.play(A, "> 06 16 'dev1'\n< 02 17");
    // PUBACK lost: the message comes again at once, and the client acknowledges it again.
    farm.publish("a/x", "2", Q1);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 {m} '2'
         > 06 16 'dev1'
         < 08 0C A0 00 01 {m} '2'
         > 07 0D 00 01 {m} 00
         < 02 17",
    );
}

/// SN-093, SN-100
#[test]
fn trap_14_disconnect_with_a_duration_twice_and_then_a_smaller_one() {
    let mut farm = connected();
    let sleep = "> 04 18 00 3C\n< 02 18\n";
    farm.play(A, &format!("{sleep}{sleep}"));
    farm.pass(80_000);
    assert_eq!(farm.gateway.usage().asleep, 1);
    farm.play(A, "> 04 18 00 02\n< 02 18");
    farm.pass(3_100);
    assert_eq!(farm.gateway.usage().asleep, 0);
}

/// SN-053, SN-094
#[test]
fn trap_15_the_sleep_timer_runs_out() {
    for (clean, kept) in [("08", 1), ("0C", 0)] {
        let mut farm = Farm::new();
        let watcher = farm.watch("w/#");
        farm.play(
            A,
            &format!(
                "> 0A 04 {clean} 01 00 3C 'dev1'
                 < 02 06
                 > 09 07 30 'w/dev1'
                 < 02 08
                 > 06 09 'gone'
                 < 03 05 00
                 > 08 12 20 00 02 'abc'
                 < 08 13 20 00 01 00 02 00
                 > 04 18 00 3C
                 < 02 18"
            ),
        );
        farm.pass(91_000);
        assert_eq!(farm.heard(watcher), ["w/dev1 gone q1"]);
        assert_eq!(farm.broker.usage().subscriptions - 1, kept, "beside that of the watcher");
    }
}

/// SN-051, SN-088
#[test]
fn trap_16_connect_0_0_after_a_regular_disconnect_arms_the_will() {
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
         > 02 18
         < 02 18",
    );
    farm.pass(100_000);
    assert!(farm.heard(watcher).is_empty());
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
    farm.pass(100_000);
    assert_eq!(farm.heard(watcher), ["w/dev1 gone q1"]);
}

/// SN-024, SN-052
#[test]
fn trap_17_the_empty_will_topic() {
    Farm::new().play(A, "> 0A 04 08 01 00 3C 'dev1'\n< 02 06\n> 02 07\n< 03 05 00");
    let mut farm = Farm::new();
    farm.play(A, "> 0A 04 08 01 00 3C 'dev1'\n< 02 06\n> 09 07 30 'w/dev1'\n< 02 08");
    farm.play(A, "> 02 07\n< 03 05 00");
}

/// D5
#[test]
fn trap_18_the_same_client_id_from_two_addresses_alternating() {
    let mut farm = Farm::new();
    let mut answers = Vec::new();
    for turn in 0..12 {
        let from = if turn % 2 == 0 { A } else { A2 };
        farm.say(from, "0A 04 00 01 00 3C 'dev1'");
        answers.push(farm.received(from).pop().expect("every CONNECT is answered"));
        assert_eq!(farm.gateway.usage().active, 1);
    }
    assert!(answers.contains(&"03 05 01".to_owned()), "it does not go on for ever: {answers:?}");
}

/// D5
#[test]
fn trap_19_pingreq_from_a_new_port() {
    let mut farm = subscriber();
    farm.play(A, "> 04 18 00 3C\n< 02 18");
    farm.publish("a/x", "1", Q1);
    farm.play(
        A2,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 02 17",
    );
    farm.expect_silence(A);
}

/// SN-026, D1
#[test]
fn trap_20_a_flood_of_unknown_senders() {
    let mut farm = Farm::new();
    for _ in 0..1_000 {
        farm.say(A, "02 16");
    }
    assert_eq!(farm.take(A).len(), 2);
    for port in 1..5_000 {
        farm.say(&format!("192.0.2.1:{port}"), "02 16");
    }
    let answers: usize = farm.take_all().values().map(|sent| sent.len()).sum();
    assert!(answers <= 1_000, "{answers} in one second");
}

/// D1: what each says goes to the other, until nobody says anything.
#[test]
fn trap_21_two_gateways_pointed_at_each_other() {
    let all_types = (0x00..=0x1D).map(|msg_type| vec![0x02, msg_type]);
    let sensible = ["03 01 00", "02 16", "02 18", "06 16 'dev1'", "0A 04 00 01 00 3C 'dev1'"];
    let sensible = sensible.map(|says| crate::script::octets(says, &Known::new()));
    for first in all_types.chain(sensible) {
        let mut gateways = [Farm::new(), Farm::new()];
        let mut exchanged = 0;
        gateways[0].send(A, &first);
        let mut turn = 0;
        loop {
            let said = gateways[turn].take(A);
            if said.is_empty() {
                break;
            }
            turn = 1 - turn;
            for octets in said {
                exchanged += 1;
                assert!(exchanged < 20, "a loop that began with {first:02X?}");
                gateways[turn].send(A, &octets);
            }
        }
    }
}

/// SN-068, SN-069
#[test]
fn trap_22_qos_minus_one_with_a_normal_or_reserved_topic_id_type() {
    let mut farm = connected();
    let watcher = farm.watch("#");
    farm.play(A, "> 09 0A 00 00 00 01 'abc'\n< 07 0B 00 01 00 01 00");
    farm.play(A, "> 08 0C 60 00 01 00 00 '1'\n> 08 0C 63 00 01 00 00 '1'");
    farm.expect_silence(A);
    assert!(farm.heard(watcher).is_empty());
}

/// SN-008, SN-065
#[test]
fn trap_23_a_predefined_and_a_normal_id_with_the_same_number() {
    // Ours never gives one out that is predefined; but one may become so in the configuration of
    // another client, or be named short.
    let own = BTreeMap::from([(1, topic("own"))]);
    let predefined_for = BTreeMap::from([("dev2".to_owned(), own)]);
    let mut farm = Farm::with(Settings { predefined_for, ..settings() });
    let watcher = farm.watch("#");
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, "> 09 0A 00 00 00 01 'abc'\n< 07 0B 00 01 00 01 00");
    farm.play(A2, "> 0A 04 00 01 00 3C 'dev2'\n< 03 05 00");
    farm.play(A, "> 08 0C 20 00 01 00 02 '1'\n< 07 0D 00 01 00 02 00");
    farm.play(A, "> 08 0C 21 00 01 00 02 '2'\n< 07 0D 00 01 00 02 02");
    farm.play(A2, "> 08 0C 21 00 01 00 02 '3'\n< 07 0D 00 01 00 02 00");
    farm.play(A2, "> 08 0C 20 00 01 00 02 '4'\n< 07 0D 00 01 00 02 02");
    assert_eq!(farm.heard(watcher), ["abc 1 q1", "own 3 q1"]);
}

/// SN-028, D5
#[test]
fn trap_24_a_forwarder_with_two_nodes_that_use_the_same_client_id() {
    let mut farm = Farm::new();
    farm.play(
        F,
        "> 05 FE 00 'N1' 0A 04 00 01 00 3C 'dev1'
         < 05 FE 00 'N1' 03 05 00
         > 05 FE 00 'N1' 08 12 20 00 02 'abc'
         < 05 FE 00 'N1' 08 13 20 00 01 00 02 00
         > 05 FE 00 'N2' 0A 04 00 01 00 3C 'dev1'
         < 05 FE 00 'N1' 02 18
         < 05 FE 00 'N2' 03 05 00",
    );
    farm.publish("abc", "1", Q1);
    farm.play(
        F,
        "< 05 FE 00 'N2' 09 0A 00 01 {r} 'abc'
         > 05 FE 00 'N1' 07 0B 00 01 {r} 00        -- not from the one that was asked
         > 05 FE 00 'N2' 07 0B 00 01 {r} 00
         < 05 FE 00 'N2' 08 0C 20 00 01 {m} '1'
         > 05 FE 00 'N1' 07 0D 00 01 {m} 00
         > 05 FE 00 'N1' 02 16
         < 05 FE 00 'N1' 02 18
         > 05 FE 00 'N2' 07 0D 00 01 {m} 00",
    );
}

/// 8: the MsgId wraps through 0 in the client, and past it in us.
#[test]
fn trap_25_65_536_requests_in_a_row() {
    let mut farm = subscriber();
    farm.checked_every = 10_000;
    for n in 0..65_540u32 {
        let [high, low] = u16::try_from(n % 65_536).expect("below").to_be_bytes();
        let (publish, register) = (
            [0x08, 0x0C, 0x22, b'x', b'y', high, low, b'1'],
            [0x09, 0x0A, 0x00, 0x00, high, low, b'a', b'b', b'c'],
        );
        farm.send(A, &publish);
        farm.send(A, &register);
        let answers = farm.take(A);
        assert_eq!(answers[0], [0x07, 0x0D, b'x', b'y', high, low, 0x00]);
        assert_eq!(answers[1], [0x07, 0x0B, 0x00, 0x02, high, low, 0x00]);
    }
    for _ in 0..65_540 {
        farm.publish("a/x", "1", Q1);
        let octets = farm.take(A).pop_front().expect("a message");
        assert_ne!(octets[5..7], [0, 0]);
        farm.send(A, &[0x07, 0x0D, 0x00, 0x01, octets[5], octets[6], 0x00]);
        assert!(farm.take(A).is_empty());
    }
}

/// SN-082
#[test]
fn trap_26_a_name_that_fits_register_with_a_payload_that_does_not_fit_publish() {
    let mut farm = Farm::with(Settings { max_datagram: vec![60], ..settings() });
    farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, "> 06 12 40 00 02 '#'\n< 08 13 40 00 00 00 02 00");
    farm.publish("abc", &"x".repeat(54), Q2);
    farm.expect_silence(A);
    farm.publish("abc", "1", Q0);
    farm.play(A, "< 09 0A 00 01 {r} 'abc'\n> 07 0B 00 01 {r} 00\n< 08 0C 00 00 01 00 00 '1'");
}

/// SN-091, SN-104
#[test]
fn trap_27_keep_alive_0_and_1() {
    let mut farm = Farm::new();
    farm.play(A, "> 0A 04 00 01 00 00 'dev1'\n< 03 05 00");
    farm.play(A2, "> 0A 04 00 01 00 01 'dev2'\n< 03 05 00");
    farm.pass(1_400);
    assert_eq!(farm.gateway.usage().active, 2);
    farm.pass(200);
    assert_eq!(farm.gateway.usage().active, 1);
    farm.pass(3_600_000);
    farm.play(A, "> 02 16\n< 02 17");
}

/// SN-005
#[test]
fn trap_28_client_ids_of_0_23_24_and_250_octets() {
    for length in [0, 1, 23, 24, 64, 80, 128, 249, 250, 256] {
        let mut farm = Farm::new();
        let total = 6 + length;
        let header = if total <= 255 {
            format!("{total:02X}")
        } else {
            let [high, low] = u16::try_from(total + 2).expect("below 65,536").to_be_bytes();
            format!("01 {high:02X} {low:02X}")
        };
        let id = "x".repeat(length);
        farm.play(A, &format!("> {header} 04 04 01 00 3C '{id}'\n< 03 05 00\n> 02 16\n< 02 17"));
    }
    // Beyond the limit that is set: no.
    let mut farm = Farm::with(Settings { client_id_bytes_max: 23, ..settings() });
    farm.play(A, &format!("> 1E 04 04 01 00 3C '{}'\n< 03 05 03", "x".repeat(24)));
    farm.play(A, "> 08 04 04 01 00 3C C3 28\n< 03 05 03"); // no UTF-8
    farm.play(A, "> 08 04 04 01 00 3C 61 00\n< 03 05 03"); // U+0000
}

/// SN-013
#[test]
fn trap_29_a_topic_that_is_no_utf_8_in_register() {
    for octets in ["C3 28", "FF FE", "ED A0 80", "C0 80", "61 00 62"] {
        let length = 6 + octets.split(' ').count();
        let script = format!("> {length:02X} 0A 00 00 00 09 {octets}\n< 07 0B 00 00 00 09 03");
        connected().play(A, &format!("{script}\n> 02 16\n< 02 17"));
    }
}

/// SN-026, SN-027: a client that goes on with its QoS 2 exchange is told to connect; then the
/// gateway knows nothing of it and takes each step for what it can be.
#[test]
fn trap_30_what_a_restarted_gateway_says_in_the_middle_of_a_qos_2_exchange() {
    let mut farm = Farm::new();
    let watcher = farm.watch("#");
    farm.play(
        A,
        "> 04 10 00 07
         < 02 18
         > 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         > 04 10 00 07
         < 04 0E 00 07
         > 04 0F 00 08
         < 04 10 00 08
         > 04 0E 00 08
         > 08 0C C0 00 01 00 09 '1'
         < 07 0D 00 01 00 09 02",
    );
    assert!(farm.heard(watcher).is_empty());
}
