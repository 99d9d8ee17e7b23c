//! What anybody can begin is bounded, and who comes after the bound is told so.

use broker_core::limits::Limits;
use mqtt_sn_gw::sn::Settings;

use crate::farm::{A, F, Farm, Q1, settings};

fn address(n: usize) -> String {
    format!("192.0.2.1:{}", 2_000 + n)
}

/// A CONNECT with the Will flag, clean, of the client `dNNN`.
fn connect_with_will(n: usize) -> String {
    format!("> 0A 04 0C 01 00 3C 'd{n:03}'\n")
}

/// SN-047: a gateway that has no room says congestion. Those that wait for nobody have room of
/// their own.
#[test]
fn sn_047_unfinished_connects_are_bounded() {
    let mut farm = Farm::with(Settings { handshakes_max: 3, ..settings() });
    for n in 0..3 {
        farm.play(&address(n), &format!("{}< 02 06", connect_with_will(n)));
    }
    farm.play(&address(3), &format!("{}< 03 05 01", connect_with_will(3)));
    assert_eq!(farm.gateway.stats().handshakes_refused, 1);
    farm.play(A, "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00");
    // One that began may begin again, and one that is done makes room.
    farm.play(&address(0), &format!("{}< 02 06", connect_with_will(0)));
    farm.play(&address(0), "> 05 07 00 'w/'\n< 02 08\n> 04 09 'go'\n< 03 05 00");
    farm.play(&address(3), &format!("{}< 02 06", connect_with_will(3)));
    // So does one that nobody finished in time.
    farm.pass(61_000);
    for n in 4..7 {
        farm.play(&address(n), &format!("{}< 02 06", connect_with_will(n)));
    }
}

/// The same for the octets of their wills: 4 MiB for all together.
#[test]
fn wills_of_unfinished_connects_are_bounded_together() {
    let mut farm = Farm::new();
    // Long form: 4 octets of head, flags, and the name.
    let name = [b'w'; 60_000];
    let mut will_topic = vec![0x01, 0xEA, 0x65, 0x07, 0x00];
    will_topic.extend_from_slice(&name);
    let mut wills = 0;
    let refused = (0..100).find(|n| {
        farm.play(&address(*n), &format!("{}< 02 06", connect_with_will(*n)));
        farm.send(&address(*n), &will_topic);
        let answer = farm.received(&address(*n));
        wills += usize::from(answer == ["02 08"]);
        answer == ["03 05 01"]
    });
    assert_eq!(refused, Some(wills));
    assert_eq!(farm.gateway.stats().handshakes_refused, 1);
    assert!((60..70).contains(&wills), "{wills} wills of 60,000 octets in 4 MiB");
    // Nobody else has to wait for them.
    farm.play(A, "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00");
    farm.pass(61_000);
    farm.play(&address(99), &format!("{}< 02 06", connect_with_will(99)));
    farm.send(&address(99), &will_topic);
    assert_eq!(farm.received(&address(99)), ["02 08"]);
}

/// A forwarder can invent nodes without end; those that are served go on.
#[test]
fn nodes_behind_a_forwarder_are_bounded() {
    let mut farm = Farm::with(Settings { nodes_per_forwarder: 2, ..settings() });
    for node in ["N1", "N2"] {
        let connect = format!(
            "> 05 FE 00 '{node}' 0A 04 04 01 00 3C 'dv{node}'\n< 05 FE 00 '{node}' 03 05 00"
        );
        farm.play(F, &connect);
    }
    farm.say(F, "05 FE 00 'N3' 0A 04 04 01 00 3C 'dev3'");
    assert!(farm.received(F).is_empty());
    assert_eq!(farm.gateway.stats().forwarder_refused, 1);
    farm.play(F, "> 05 FE 00 'N1' 02 18\n< 05 FE 00 'N1' 02 18");
    farm.play(F, "> 05 FE 00 'N3' 0A 04 04 01 00 3C 'dev3'\n< 05 FE 00 'N3' 03 05 00");
}

/// What counts against the limit of memory: clients, unfinished CONNECTs, nodes, names.
#[test]
fn everything_that_is_kept_counts_as_memory() {
    let mut farm = Farm::new();
    let memory = |farm: &Farm| farm.gateway.usage().memory_bytes;
    let mut before = memory(&farm);
    assert!(before < 10_000, "{before} octets for nobody");
    let mut grows = |farm: &Farm, least: usize, what: &str| {
        let now = memory(farm);
        let growth = now.saturating_sub(before);
        assert!((least..least * 30).contains(&growth), "{what} took {growth} octets");
        before = now;
    };
    for n in 0..100 {
        farm.play(&address(n), &format!("> 0A 04 04 01 00 3C 'd{n:03}'\n< 03 05 00"));
    }
    grows(&farm, 100 * 400, "a hundred clients");
    for n in 100..150 {
        farm.play(&address(n), &format!("{}< 02 06", connect_with_will(n)));
    }
    grows(&farm, 50 * 60, "fifty unfinished CONNECTs");
    for n in 100..150 {
        // Long form: 4 octets of head, flags, and the name.
        let will_topic = [&[0x01, 0x03, 0xED, 0x07, 0x00][..], &[b'w'; 1_000]].concat();
        farm.send(&address(n), &will_topic);
        assert_eq!(farm.received(&address(n)), ["02 08"]);
    }
    grows(&farm, 50 * 1_000, "fifty topics of wills");
    for n in 10..60 {
        farm.play(
            F,
            &format!("> 06 FE 00 'N{n}' 0A 04 04 01 00 3C 'n{n:03}'\n< 06 FE 00 'N{n}' 03 05 00"),
        );
    }
    grows(&farm, 50 * 400, "fifty nodes and clients");
    let name = "n".repeat(200);
    for n in 0..50 {
        farm.say(&address(n), &format!("D2 0A 00 00 00 01 'r/{n:02}{name}'"));
        assert!(farm.received(&address(n))[0].starts_with("07 0B"), "{n}");
    }
    grows(&farm, 50 * 200, "fifty names");
    let name = "d".repeat(238);
    for n in 150..200 {
        farm.play(&address(n), &format!("> F6 04 04 01 00 3C '{}{name}'\n< 03 05 00", n - 100));
    }
    grows(&farm, 50 * (400 + 2 * 240), "fifty clients with long names");
}

/// Messages are not sent under an id by which the client has not subscribed.
#[test]
fn a_predefined_id_whose_subscription_is_refused_is_not_used() {
    let limits = Limits { filters_per_session_max: 1, ..Limits::default() };
    let mut farm = Farm::with_limits(settings(), limits);
    farm.play(A, "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00");
    farm.play(A, "> 08 12 20 00 0A 'a/#'\n< 08 13 20 00 00 00 0A 00");
    farm.play(A, "> 07 12 21 00 0B 00 05\n< 08 13 00 00 00 00 0B 01");
    farm.publish("a/predefined", "1", Q1);
    farm.play(A, "< 12 0A 00 01 ?? ?? 'a/predefined'");
}
