//! Frames that are none, senders that nobody knows, and discovery (D1, D10, SN 5.2, 6.1, 17.1).

use mqtt_sn_gw::sn::Settings;

use crate::farm::{A, A2, B, F, Farm, settings};

const GROUP: &str = "225.1.1.1:1883";

/// SN-001, SN-002, SN-004: both forms of the length, at every size.
#[test]
fn both_forms_of_the_length_are_understood() {
    let mut farm = Farm::new();
    let watcher = farm.watch("#");
    farm.play(
        A,
        "> 01 00 0C 04 04 01 00 3C 'dev1'
         < 03 05 00
         > 01 00 04 16
         < 02 17
         > 01 00 0A 0C 22 'xy' 00 01 '1'
         < 07 0D 'xy' 00 01 00",
    );
    // A total of exactly 255 in the short form; 256, 257 and 258 in the long one.
    for (head, payload) in [
        ("FF 0C 22 'xy' 00 02", 248),
        ("01 01 00 0C 22 'xy' 00 03", 247),
        ("01 01 01 0C 22 'xy' 00 04", 248),
        ("01 01 02 0C 22 'xy' 00 05", 249),
        ("01 FF FF 0C 22 'xy' 00 06", 65_526),
    ] {
        let text = "A".repeat(payload);
        let answer = head.rsplit(' ').next().unwrap_or_default();
        farm.play(A, &format!("> {head} '{text}'\n< 07 0D 'xy' 00 {answer} 00"));
        assert_eq!(farm.heard(watcher).last().map(String::len), Some(payload + 6));
    }
}

/// SN-003, D10: dropped and counted, the session untouched.
#[test]
fn what_is_no_message_is_dropped_and_counted() {
    let mut farm = Farm::new();
    farm.play(A, "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00");
    let malformed = [
        "",
        "00",
        "01",
        "02",
        "00 16",
        "01 16",
        "03 16",
        "02 16 00",
        "01 00",
        "01 00 00",
        "01 00 03 16",
        "01 00 02 16",
        "01 00 05 16",
        "01 FF FF 16",
        "02 03",
        "02 11",
        "02 19",
        "02 1E",
        "02 FD",
        "02 FF",
        "02 04",
        "05 04 04 01 00",
        "02 0A",
        "06 0C 20 00 01 00",
        "02 0C",
        "02 12",
        "04 12 20 00",
        "06 12 21 00 01 00",
        "08 12 21 00 01 00 05 00",
        "03 18 00",
        "05 18 00 00 00",
        "03 17 00",
        "04 10 00",
        "06 0B 00 01 00 01",
        "08 0D 00 01 00 01 00 00",
        "01 00 06 FE 00 4E",
    ];
    for octets in malformed {
        farm.say(A, octets);
    }
    farm.expect_silence(A);
    assert_eq!(farm.gateway.stats().malformed, malformed.len() as u64);
    farm.play(A, "> 02 16\n< 02 17");
}

/// SN-026, D1: to every request that needs a session, and to nothing else.
#[test]
fn requests_of_strangers_are_answered_by_disconnect() {
    let requests = [
        "09 07 30 'w/dev1'",
        "02 07",
        "06 09 'gone'",
        "09 0A 00 00 00 01 'abc'",
        "08 0C 00 00 01 00 00 '1'",
        "08 0C 20 00 01 00 01 '1'",
        "08 0C 40 00 01 00 01 '1'",
        "08 0C 22 'xy' 00 01 '1'",
        "08 0C A0 00 01 00 01 '1'",
        "04 10 00 01",
        "08 12 20 00 01 'abc'",
        "08 14 00 00 01 'abc'",
        "02 16",
        "06 16 'dev1'",
        "02 18",
        "04 18 00 3C",
        "04 18 00 00",
        "09 1A 30 'w/dev1'",
        "02 1A",
        "05 1C 'bye'",
    ];
    for says in requests {
        let mut farm = Farm::new();
        farm.play(A, &format!("> {says}\n< 02 18"));
        let stats = farm.gateway.stats();
        assert_eq!((stats.unknown_sender, stats.unknown_answered), (1, 1), "{says}");
    }
    let others = [
        "07 0B 00 01 00 01 00",
        "07 0D 00 01 00 01 00",
        "04 0F 00 01",
        "04 0E 00 01",
        "02 17",
        "05 00 01 03 84",
        "03 02 01",
        "03 05 00",
        "02 06",
        "02 08",
        "08 13 00 00 01 00 01 00",
        "04 15 00 01",
        "03 1B 00",
        "03 1D 00",
        "08 0C 62 'xy' 00 00 '1'",
        "02 03",
        "00",
    ];
    for says in others {
        let mut farm = Farm::new();
        farm.say(A, says);
        farm.expect_silence(A);
        assert_eq!(farm.gateway.stats().unknown_sender, 0, "{says}");
    }
}

/// D1: two per source in ten seconds, and a bound for all together.
#[test]
fn strangers_are_answered_so_often_and_no_more() {
    let mut farm = Farm::new();
    let count = |farm: &mut Farm, from: &str| {
        for _ in 0..10 {
            farm.say(from, "02 16");
        }
        farm.take(from).len()
    };
    assert_eq!([A, A2, B].map(|from| count(&mut farm, from)), [2, 2, 2]);
    farm.pass(9_900);
    assert_eq!(count(&mut farm, A), 0);
    farm.pass(200);
    assert_eq!(count(&mut farm, A), 2);

    let settings = Settings { unknown_answers_per_s: 5, ..settings() };
    let mut farm = Farm::with(settings.clone());
    let answered: usize =
        (0..50).map(|n| count(&mut farm, &format!("192.0.2.1:{}", 2_000 + n))).sum();
    assert_eq!(answered, 5);
    farm.pass(1_000);
    assert_eq!(count(&mut farm, B), 2);
    assert_eq!(farm.gateway.stats().unknown_sender, 510);

    let mut farm = Farm::with(Settings { unknown_answers_per_s: 0, ..settings });
    assert_eq!(count(&mut farm, A), 0, "0 means none");
}

/// Each node behind a forwarder is a source of its own: after a restart of the gateway all of them
/// have to be told to connect.
#[test]
fn each_node_behind_a_forwarder_is_a_stranger_of_its_own() {
    let mut farm = Farm::new();
    for node in 0..20 {
        let envelope = format!("05 FE 00 'N' {node:02X}");
        farm.play(F, &format!("> {envelope} 02 16\n< {envelope} 02 18"));
        farm.play(F, &format!("> {envelope} 02 16\n< {envelope} 02 18\n> {envelope} 02 16"));
    }
}

/// SN-014, SN-042, D10: one GWINFO, from the service port; to the group if it was asked there.
#[test]
fn a_search_is_answered_once_where_it_was_asked() {
    let mut farm = Farm::new();
    farm.play(A, "> 03 01 00\n< 03 02 01\n> 03 01 05\n< 03 02 01");
    farm.send_to_group(A, GROUP, &[0x03, 0x01, 0x00]);
    assert_eq!((farm.received(GROUP), farm.received(A)), (vec!["03 02 01".to_owned()], vec![]));
    let stats = farm.gateway.stats();
    assert_eq!((stats.searches, stats.searches_answered), (3, 3));
}

/// SN-010: the radius is handed on to whoever can use it.
#[test]
fn the_radius_of_a_search_goes_into_the_envelope_of_a_forwarder() {
    let mut farm = Farm::new();
    for (radius, control) in [("00", "00"), ("01", "01"), ("03", "03"), ("80", "03")] {
        let search = format!("> 05 FE 00 'N1' 03 01 {radius}");
        farm.play(F, &format!("{search}\n< 05 FE {control} 'N1' 03 02 01"));
    }
    farm.pass(10_000);
    // An envelope in a group goes back to its forwarder, who alone knows the node.
    farm.send_to_group(F, GROUP, b"\x05\xFE\x00N1\x03\x01\x01");
    assert_eq!(farm.received(F), ["05 FE 01 4E 31 03 02 01"]);
}

/// T6: SEARCHGW is bounded per source and in total.
#[test]
fn searches_are_answered_so_often_and_no_more() {
    let mut farm = Farm::with(Settings { searchgw_per_s: 8, ..settings() });
    let count = |farm: &mut Farm, from: &str| {
        for _ in 0..20 {
            farm.say(from, "03 01 00");
        }
        farm.take(from).len()
    };
    assert_eq!([A, B, A2].map(|from| count(&mut farm, from)), [5, 3, 0]);
    farm.pass(1_000);
    assert_eq!([A, A2].map(|from| count(&mut farm, from)), [0, 5]);
    farm.pass(5_000);
    assert_eq!(count(&mut farm, A), 5);
    let mut farm = Farm::with(Settings { searchgw_per_s: 0, ..settings() });
    assert_eq!(count(&mut farm, A), 0);
}

/// SN-031, SN-032, SN-033, SN-036: with its own number, and the time to the next one.
#[test]
fn a_gateway_advertises_as_often_as_it_says() {
    let settings =
        Settings { advertise_s: 900, gateway_id: 7, max_datagram: vec![1_024; 2], ..settings() };
    let mut farm = Farm::with(settings);
    assert_eq!(farm.received("*"), ["05 00 07 03 84"; 2], "once on each port");
    for _ in 0..3 {
        farm.pass(899_900);
        assert!(farm.received("*").is_empty());
        farm.pass(110);
        assert_eq!(farm.received("*"), ["05 00 07 03 84"; 2]);
    }
    assert_eq!(farm.gateway.stats().advertised, 8);
    farm.play(A, "> 03 01 00\n< 03 02 07");
    let mut silent = Farm::new();
    silent.pass(100_000_000);
    assert!(silent.received("*").is_empty(), "0 means none");
}

/// SN-038: we stand by for nobody, and what other gateways say changes nothing.
#[test]
fn other_gateways_change_nothing() {
    let mut farm = Farm::with(Settings { advertise_s: 900, ..settings() });
    farm.received("*");
    for says in ["05 00 02 00 01", "05 00 01 00 01", "03 02 02", "09 02 02 C0 00 02 0A 27 10"] {
        farm.say(B, says);
        farm.send_to_group(B, GROUP, &[0x05, 0x00, 0x02, 0x00, 0x01]);
    }
    farm.expect_silence(B);
    farm.pass(900_010);
    assert_eq!(farm.received("*"), ["05 00 01 03 84"]);
}

/// SN-010: a search of another is not ours to answer twice, nor is a GWINFO.
#[test]
fn a_gateway_does_not_search() {
    let mut farm = Farm::new();
    farm.send_to_group(A, GROUP, &[0x03, 0x02, 0x01]);
    assert!(farm.received(GROUP).is_empty() && farm.received(A).is_empty());
}

/// SN-028, SN-029: through a forwarder, as without one, in envelopes.
#[test]
fn a_node_behind_a_forwarder_is_a_client_like_any_other() {
    let mut farm = Farm::new();
    let play = |farm: &mut Farm, script: &str| {
        let wrapped: String = script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| format!("{} 07 FE 00 00 00 00 07 {}\n", &line[..1], &line[1..]))
            .collect();
        farm.play(F, &wrapped);
    };
    play(
        &mut farm,
        "> 0A 04 0C 01 00 3C 'dev1'
         < 02 06
         > 09 07 30 'w/dev1'
         < 02 08
         > 0A 04 0C 01 00 3C 'dev1'     -- once more
         < 02 06
         > 09 07 30 'w/dev1'
         < 02 08
         > 06 09 'gone'
         < 03 05 00
         > 08 12 20 00 02 'a/#'
         < 08 13 20 00 00 00 02 00",
    );
    farm.publish("a/x", "1", crate::farm::Q1);
    play(
        &mut farm,
        "< 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         > 04 18 00 3C
         < 02 18
         > 02 16
         < 02 17
         > 02 18
         < 02 18
         > 02 16
         < 02 18",
    );
    // Every answer that ends what bound the node is in its envelope, too.
    play(&mut farm, "> 0A 04 0C 01 00 3C 'dev1'\n< 02 06\n> 02 18\n< 02 18");
    play(&mut farm, "> 0A 04 0C 01 00 3C 'dev1'\n< 02 06\n> 05 07 00 'a#'\n< 03 05 03");
    play(&mut farm, "> 0A 04 0C 01 00 3C 'dev1'\n< 02 06\n> 02 07\n< 03 05 00");
    farm.pass(91_000);
    play(&mut farm, "< 02 18");
}

/// SN-029: the reserved bits of Ctrl and the radius mean nothing on the way in, and are 0 on the
/// way back.
#[test]
fn the_control_octet_of_an_envelope_means_nothing_to_a_gateway() {
    let mut farm = Farm::new();
    for control in ["00", "02", "FC", "FF"] {
        farm.play(F, &format!("> 04 FE {control} 'N' 02 16\n< 04 FE 00 'N' 02 18"));
        farm.pass(10_000);
    }
}

/// 9.26: no node id, no message, an envelope in an envelope, a length that lies.
#[test]
fn envelopes_that_are_none_are_dropped_and_counted() {
    let mut farm = Farm::new();
    let malformed = [
        "03 FE 00 02 16",
        "05 FE 00 'N1'",
        "02 FE",
        "05 FE 00 'N1' 05 FE 00 'N2' 02 16",
        "09 FE 00 'N1' 02 16",
        "05 FE 00 'N1' 03 16",
        "05 FE 00 'N1' 02 03",
        "00 FE 00 'N1' 02 16",
    ];
    for octets in malformed {
        farm.say(F, octets);
    }
    farm.expect_silence(F);
    assert_eq!(farm.gateway.stats().malformed, malformed.len() as u64);
}

/// 17.17, T10: only who is allowed may speak for others.
#[test]
fn envelopes_are_taken_from_configured_forwarders_only() {
    let mut farm = Farm::new();
    farm.play(A, "> 05 FE 00 'N1' 0A 04 04 01 00 3C 'dev1'");
    assert_eq!((farm.gateway.stats().forwarder_refused, farm.gateway.usage().active), (1, 0));
    // The host itself may still speak for itself, and a forwarder, too.
    farm.play(A, "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(F, "> 0A 04 04 01 00 3C 'dev2'\n< 03 05 00");
}

/// SN-107: behind two ports of one forwarder, and behind one, nodes with the same number are apart.
#[test]
fn a_node_is_known_by_its_forwarder_and_its_number() {
    let mut farm = Farm::new();
    let other = "192.0.2.9:2000";
    farm.play(F, "> 04 FE 00 01 0A 04 04 01 00 3C 'dev1'\n< 04 FE 00 01 03 05 00");
    farm.play(F, "> 05 FE 00 00 01 0A 04 04 01 00 3C 'dev2'\n< 05 FE 00 00 01 03 05 00");
    farm.play(other, "> 04 FE 00 01 0A 04 04 01 00 3C 'dev3'\n< 04 FE 00 01 03 05 00");
    assert_eq!(farm.gateway.usage().active, 3);
    farm.play(F, "> 04 FE 00 01 02 18\n< 04 FE 00 01 02 18");
    farm.play(F, "> 05 FE 00 00 01 02 16\n< 05 FE 00 00 01 02 17");
    farm.play(other, "> 04 FE 00 01 02 16\n< 04 FE 00 01 02 17");
    // The longest number there can be.
    let long = "AB ".repeat(252);
    farm.play(F, &format!("> FF FE 00 {long} 02 16\n< FF FE 00 {long} 02 18"));
}

/// The goodbye: to all that listen, and to nobody that sleeps.
#[test]
fn when_the_gateway_goes_it_tells_who_listens() {
    let mut farm = Farm::new();
    farm.play(A, "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(B, "> 0A 04 04 01 00 3C 'dev2'\n< 03 05 00\n> 04 18 00 3C\n< 02 18");
    farm.play(F, "> 04 FE 00 01 0A 04 04 01 00 3C 'dev3'\n< 04 FE 00 01 03 05 00");
    farm.gateway.shut_down();
    farm.turn();
    assert_eq!(farm.received(A), ["02 18"]);
    assert_eq!(farm.received(F), ["04 FE 00 01 02 18"]);
    assert!(farm.received(B).is_empty());
}

/// Nobody can be made to send more to a forged address than was sent in its name.
#[test]
fn a_stranger_is_never_answered_with_more_than_it_said() {
    let mut answered = 0;
    for msg_type in 0x00..=0xFF_u8 {
        for body in 0..12_u8 {
            for fill in [0x00, 0x01, 0x04, 0x0C, b'x'] {
                let mut octets = vec![2 + body, msg_type];
                octets.resize(usize::from(2 + body), fill);
                let mut farm = Farm::new();
                farm.send(A, &octets);
                let sent: usize = farm.take(A).iter().map(Vec::len).sum();
                assert!(sent <= octets.len(), "{octets:02X?} brought {sent} octets");
                answered += usize::from(sent > 0);
                assert!(farm.take_all().is_empty(), "somebody else was told");
            }
        }
    }
    assert!(answered > 100, "{answered}");
}
