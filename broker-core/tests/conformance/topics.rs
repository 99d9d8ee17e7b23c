//! Topic names and filters.

use crate::octets::{V5, both, encode, put_binary};
use crate::world::World;

/// Which of these filters match which of these names.
const MATCHES: [(&str, &[&str], &[&str]); 14] = [
    (
        "sport/tennis/player1/#",
        &["sport/tennis/player1", "sport/tennis/player1/ranking"],
        &["sport/tennis/player10", "sport/tennis"],
    ),
    ("sport/#", &["sport", "sport/", "sport/a/b"], &["sports", "/sport"]),
    ("#", &["a", "/", "//", "a/b/c", " "], &["$a", "$a/b", "$"]),
    ("+", &["a", " "], &["/", "a/b", "/a", "$a"]),
    ("+/+", &["/finance", "a/", "/", "a/b"], &["a", "a/b/c", "//", "$a/b"]),
    ("/+", &["/finance", "/"], &["finance", "//"]),
    ("sport/+/player1", &["sport/tennis/player1", "sport//player1"], &["sport/player1"]),
    ("+/monitor/Clients", &["a/monitor/Clients"], &["$SYS/monitor/Clients"]),
    ("$a/#", &["$a", "$a/b"], &["a/b", "$ab"]),
    ("$a/+", &["$a/b", "$a/"], &["$a", "$a/b/c"]),
    ("a/$b/+", &["a/$b/c"], &["a/b/c"]),
    ("a//b", &["a//b"], &["a/b", "a///b"]),
    ("Acc ounts", &["Acc ounts"], &["ACC OUNTS", "Accounts", "Acc ounts "]),
    ("a/", &["a/"], &["a", "a//"]),
];

/// [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.2-1], [MQTT-3.3.2-3], [MQTT5-4.7.1-1],
/// [MQTT5-4.7.1-2], [MQTT5-4.7.2-1], [MQTT5-3.3.2-3]
#[test]
fn filters_match_what_the_standard_says() {
    both(|version| {
        for (filter, good, bad) in MATCHES {
            let mut world = World::new();
            let link = world.clean(version, "c");
            // A client may not publish to `$…`; a will neither. The retained way is the same trie.
            world.subscribe(link, filter, 0);
            for (names, is_match) in [(good, true), (bad, false)] {
                for name in names.iter().filter(|name| !name.starts_with('$')) {
                    let packet = format!("30: '{name}' {{}} =x");
                    world.asks(link, &packet, if is_match { &packet } else { "" });
                }
            }
        }
    });
}

/// [MQTT-4.7.2-1], [MQTT5-4.7.2-1]: what the server itself publishes.
#[test]
fn a_wildcard_in_front_does_not_reach_the_servers_own_topics() {
    both(|version| {
        let mut world = World::new();
        let links = ["#", "+/broker/x", "$SYS/#", "$SYS/+/x", "$SYS/broker/x"].map(|filter| {
            let link = world.clean(version, filter);
            world.subscribe(link, filter, 0);
            link
        });
        world.publish_sys("x", "1");
        for (link, is_reached) in links.into_iter().zip([false, false, true, true, true]) {
            world.hears(link, if is_reached { "30: '$SYS/broker/x' {} =1" } else { "" });
        }
        // Nor when it is looked up.
        let late = world.clean(version, "late");
        world.send(late, "82: 0001 {} '#' 00 '+/+/+' 00 '$SYS/#' 00");
        world.hears(late, "90: 0001 {} 00 00 00 31: '$SYS/broker/x' {} =1");
    });
}

/// [MQTT-3.3.2-2], [MQTT-4.7.1-1], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT5-3.3.2-2],
/// [MQTT5-4.7.0-1], [MQTT5-4.7.3-1], [MQTT5-4.7.3-2]
#[test]
fn a_name_is_not_empty_and_holds_no_wildcards_and_no_nul() {
    both(|version| {
        for (name, reason) in [
            ("'a/+'", 0x90),
            ("'#'", 0x90),
            ("'a+b'", 0x90),
            ("'a#'", 0x90),
            ("''", 0x82),
            ("0001 00", 0x81),
            ("0003 61 00 62", 0x81),
        ] {
            let mut world = World::new();
            let watcher = world.clean(version, "w");
            world.subscribe(watcher, "#", 0);
            let link = world.clean(version, "c");
            world.send(link, &format!("30: {name} {{}} =x"));
            world.closes(link, reason);
            world.silent(watcher);
        }
    });
}

/// [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT5-4.7.1-1],
/// [MQTT5-4.7.1-2], [MQTT5-4.7.3-1], [MQTT5-4.7.3-2]
#[test]
fn a_filter_has_its_wildcards_in_their_places() {
    both(|version| {
        for filter in [
            "'sport/tennis#'",
            "'sport/tennis/#/ranking'",
            "'#/'",
            "'##'",
            "'#a'",
            "'sport+'",
            "'+a'",
            "'++'",
            "'a/+b/c'",
            "''",
            "0001 00",
        ] {
            let reason = match filter {
                "0001 00" => 0x81,
                _ => 0x8F,
            };
            for packet in ["82: 0001 {} FILTER 00", "A2: 0001 {} FILTER"] {
                let mut world = World::new();
                let link = world.clean(version, "c");
                world.send(link, &packet.replace("FILTER", filter));
                world.closes(link, reason);
            }
        }
    });
}

/// [MQTT-4.7.3-3], [MQTT5-4.7.3-3]
#[test]
fn a_name_may_have_65535_octets() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.subscribe(link, "#", 0);
        let name = "ä".repeat(32_767) + "b";
        assert_eq!(name.len(), 65_535);
        let packet = format!("30: '{name}' {{}} =x");
        world.asks(link, &packet, &packet);
        world.subscribe(link, &name, 1);
        world.asks(link, &packet, &packet);
        world.asks(link, &format!("A2: 0001 {{}} '{name}'"), "B0: 0001 [00 00]");
    });
}

/// [MQTT-4.7.3-4], [MQTT5-4.7.3-4], [MQTT-1.5.3-3], [MQTT5-1.5.4-3]
#[test]
fn names_are_compared_as_they_are() {
    // Precomposed and decomposed, a letter's case, a space, U+FEFF, a ligature, a no-break space
    let names = ["é", "e\u{301}", "É", "é ", "\u{FEFF}é", "ﬁ", "fi", "\u{A0}", " "];
    both(|version| {
        for own in names {
            let mut world = World::new();
            let link = world.clean(version, "c");
            world.subscribe(link, own, 0);
            for name in names {
                let mut body = Vec::new();
                put_binary(&mut body, name.as_bytes());
                if version == V5 {
                    body.push(0);
                }
                let packet = crate::octets::packet(0x30, &body);
                world.send_octets(link, &packet);
                let expect = if own == name { packet } else { Vec::new() };
                assert_eq!(world.take(link), expect, "{own:?} {name:?}");
            }
        }
    });
}

/// A level may be empty, a name may be nothing but separators.
#[test]
fn separators_alone_are_a_name() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.subscribe(link, "//", 0);
        world.asks(link, "30: '//' {} =x", "30: '//' {} =x");
        world.asks(link, "30: '/' {} =x", "");
        assert_eq!(encode(V5, "'//'"), [0, 2, b'/', b'/']);
    });
}
