//! PUBLISH: who gets what, what is retained, and which properties go along.

use crate::octets::{V5, V311, body, both, encode, packets, properties};
use crate::world::{World, config};
use broker_core::limits::BrokerConfig;
use broker_core::mqtt::Settings;

/// [MQTT-3.3.2-3], [MQTT-4.5.0-1], [MQTT5-3.3.2-3], [MQTT5-4.5.0-1]
#[test]
fn a_message_goes_to_every_session_with_a_filter_that_matches() {
    both(|version| {
        let mut world = World::new();
        let filters = ["a/b", "a/+", "#", "+/b", "a/b/#", "b/a", "a/b/", "/a/b", "A/b", "a/+/+"];
        let links = filters.map(|filter| {
            let link = world.clean(version, filter);
            world.subscribe(link, filter, 0);
            link
        });
        let publisher = world.clean(version, "p");
        world.send(publisher, "30: 'a/b' {} =x");
        for (link, filter) in links.into_iter().zip(filters) {
            let is_for_it = ["a/b", "a/+", "#", "+/b", "a/b/#"].contains(&filter);
            world.hears(link, if is_for_it { "30: 'a/b' {} =x" } else { "" });
        }
    });
}

/// [MQTT-3.8.4-6], [MQTT5-3.8.4-8]
#[test]
fn a_message_is_delivered_with_the_lower_of_both_qos() {
    both(|version| {
        for granted in 0..=2u8 {
            for published in 0..=2u8 {
                let mut world = World::new();
                let link = world.clean(version, "c");
                world.subscribe(link, "t", granted);
                let publisher = world.clean(version, "p");
                let packet = |qos: u8| {
                    let id = if qos > 0 { "0001" } else { "" };
                    format!("{:02X}: 't' {id} {{}} =x", 0x30 | qos << 1)
                };
                world.send(publisher, &packet(published));
                world.hears(link, &packet(granted.min(published)));
            }
        }
    });
}

/// [MQTT-3.3.5-1], [MQTT5-3.3.4-2], [MQTT5-3.3.4-3], [MQTT5-3.3.4-4]: one copy.
#[test]
fn overlapping_subscriptions_get_one_copy_with_the_highest_qos_and_all_identifiers() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        for (filter, qos, id) in [("#", 0, "05"), ("a/+", 2, "8001"), ("a/b", 1, "FFFFFF7F")] {
            let request = format!("82: 0001 {{0B {id}}} '{filter}' {qos:02X}");
            world.asks(link, &request, &format!("90: 0001 {{}} {qos:02X}"));
        }
        let publisher = world.clean(version, "p");
        world.send(publisher, "34: 'a/b' 0001 {} =x");
        let said = world.take(link);
        let [packet] = &packets(&said)[..] else { panic!("one copy") };
        let body = body(packet);
        assert_eq!((packet[0], &body[..7]), (0x34, &b"\0\x03a/b\0\x01"[..]));
        let mut rest = &body[7..];
        if version == V5 {
            let (mut found, behind) = properties(rest);
            found.sort_unstable();
            let ids: [&[u8]; 3] = [&[0x05], &[0x80, 0x01], &[0xFF, 0xFF, 0xFF, 0x7F]];
            assert_eq!(found, ids.map(|id| (0x0B, id)));
            rest = behind;
        }
        assert_eq!(rest, b"x");
    });
}

/// [MQTT-3.3.5-2]: and MQTT 5.0, which has a word for it.
#[test]
fn a_publication_that_is_not_allowed_is_acknowledged_in_3_and_refused_in_5() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.subscribe(link, "$SYS/#", 0);
        world.asks(link, "30: '$SYS/x' {} =x", "");
        world.asks(link, "32: '$SYS/x' 0001 {} =x", "40: 0001 [87]");
        world.asks(link, "34: '$SYS/x' 0002 {} =x", "50: 0002 [87]");
        world.lives(link);
    });
}

/// 5.0 can tell that nobody is subscribed.
#[test]
fn a_publisher_of_5_learns_that_nobody_is_there() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.asks(link, "32: 't' 0001 {} =x", "40: 0001 [10]");
        world.asks(link, "34: 't' 0002 {} =x", "50: 0002 [10]");
        world.asks(link, "62: 0002", "70: 0002");
    });
}

/// Messages of QoS 0 do not wait for who is away. To be told that it failed, and to try again,
/// would not help their publisher.
#[test]
fn who_is_away_and_subscribed_at_qos_0_has_not_refused_a_message() {
    both(|version| {
        let mut world = World::new();
        let link = world.stays(version, "away");
        world.subscribe(link, "own", 0);
        world.subscribe(link, "$share/g/shared", 0);
        world.leave(link);
        let publisher = world.clean(version, "p");
        for topic in ["own", "shared"] {
            world.asks(publisher, &format!("32: '{topic}' 0001 {{}} =x"), "40: 0001");
            world.asks(publisher, &format!("34: '{topic}' 0002 {{}} =x"), "50: 0002");
            world.asks(publisher, &format!("33: '{topic}' 0003 {{}} =x"), "40: 0003");
            world.asks(publisher, "62: 0002", "70: 0002");
        }
    });
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6], [MQTT5-4.6.0-5], [MQTT5-4.6.0-6]
#[test]
fn messages_arrive_in_the_order_in_which_they_were_published() {
    both(|version| {
        for qos in 0..=2u8 {
            let mut world = World::new();
            let link = world.clean(version, "c");
            world.subscribe(link, "#", qos);
            let publisher = world.clean(version, "p");
            let text: String = (1..=15)
                .map(|n| {
                    let id = if qos > 0 { format!("{n:04X}") } else { String::new() };
                    format!("{:02X}: 't/{}' {id} {{}} ={n} ", 0x30 | qos << 1, n % 3)
                })
                .collect();
            world.send(publisher, &text);
            world.hears(link, &text);
        }
    });
}

/// [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT-3.3.1-8], [MQTT-3.3.1-9],
/// [MQTT5-3.3.1-5], [MQTT5-3.3.1-9], [MQTT5-3.3.1-12]
#[test]
fn the_last_retained_message_of_each_topic_is_sent_to_a_new_subscription() {
    both(|version| {
        let mut world = World::new();
        let publisher = world.clean(version, "p");
        world.subscribe(publisher, "a/#", 0);
        world.send(publisher, "35: 'a/1' 0001 {} =old 33: 'a/2' 0002 {} =one");
        world.send(publisher, "62: 0001 31: 'a/1' {} =zero 35: 'a/3' 0003 {} =two");
        // For established subscriptions the flag is off.
        let said = packets(&world.take(publisher));
        assert_eq!(said.iter().filter(|packet| packet[0] == 0x30).count(), 4);
        assert!(said.iter().all(|packet| packet[0] & 0xF1 != 0x31));
        let link = world.clean(version, "c");
        world.subscribe(link, "a/+", 1);
        // The order of topics is the server's, and identifiers follow it.
        let mut said = packets(&world.take(link));
        for packet in said.iter_mut().filter(|packet| packet[0] == 0x33) {
            packet[7..9].fill(0xEE);
        }
        said.sort();
        let expect = "31: 'a/1' {} =zero 33: 'a/2' EEEE {} =one 33: 'a/3' EEEE {} =two";
        let mut expect = packets(&encode(version, expect));
        expect.sort();
        assert_eq!(said, expect);
    });
}

/// [MQTT-3.3.1-10], [MQTT-3.3.1-11], [MQTT5-3.3.1-6], [MQTT5-3.3.1-7]
#[test]
fn an_empty_retained_message_is_forwarded_and_removes() {
    both(|version| {
        for (packet, delivery) in [("31: 't' {}", "30: 't' {}"), ("33: 't' 0001 {}", "30: 't' {}")]
        {
            let mut world = World::new();
            let publisher = world.clean(version, "p");
            let link = world.clean(version, "c");
            world.send(publisher, "31: 't' {} =x");
            world.subscribe(link, "t", 0);
            world.hears(link, "31: 't' {} =x");
            world.send(publisher, packet);
            world.hears(link, delivery);
            for _ in 0..2 {
                world.subscribe(link, "t", 0);
                world.silent(link);
                world.send(publisher, packet);
                world.take(link);
            }
        }
    });
}

/// [MQTT-3.3.1-12], [MQTT5-3.3.1-8]
#[test]
fn a_message_that_is_not_retained_leaves_alone_what_is() {
    both(|version| {
        let mut world = World::new();
        let publisher = world.clean(version, "p");
        world.send(publisher, "31: 't' {} =x 30: 't' {} =y 30: 't' {} 30: 'u' {} =z");
        let link = world.clean(version, "c");
        world.subscribe(link, "t", 0);
        world.hears(link, "31: 't' {} =x");
        world.subscribe(link, "u", 0);
        world.silent(link);
    });
}

/// [MQTT5-3.3.1-9], [MQTT5-3.3.1-10], [MQTT5-3.3.1-11]
#[test]
fn retain_handling_says_when_retained_messages_are_sent() {
    for (handling, first, second) in [(0x00, true, true), (0x10, true, false), (0x20, false, false)]
    {
        let mut world = World::new();
        let link = world.clean(V5, "c");
        world.send(link, "31: 't' {} =x");
        for is_sent in [first, second] {
            world.subscribe(link, "t", handling);
            world.hears(link, if is_sent { "31: 't' {} =x" } else { "" });
        }
        // A subscription that was given up is new again.
        world.asks(link, "A2: 0001 {} 't'", "B0: 0001 {} 00");
        world.subscribe(link, "t", handling);
        world.hears(link, if first { "31: 't' {} =x" } else { "" });
    }
}

/// [MQTT5-3.3.1-12], [MQTT5-3.3.1-13]
#[test]
fn retain_as_published_keeps_the_flag() {
    for (options, retained) in [(0x00, "30"), (0x08, "31")] {
        let mut world = World::new();
        let link = world.clean(V5, "c");
        world.subscribe(link, "t", options);
        world.asks(link, "31: 't' {} =x", &format!("{retained}: 't' {{}} =x"));
        world.asks(link, "30: 't' {} =y", "30: 't' {} =y");
    }
    // It is the flag of the publication, whoever published it.
    let mut world = World::new();
    let link = world.clean(V5, "c");
    world.subscribe(link, "t", 0x08);
    let publisher = world.clean(V311, "p");
    world.send(publisher, "31: 't' =x");
    world.hears(link, "31: 't' {} =x");
}

/// [MQTT5-3.3.2-4], [MQTT5-3.3.2-15], [MQTT5-3.3.2-16], [MQTT5-3.3.2-17], [MQTT5-3.3.2-18],
/// [MQTT5-3.3.2-20]
#[test]
fn what_a_publisher_says_about_a_message_arrives_unchanged() {
    for properties in [
        "01 00",
        "01 01",
        "03 'text/plain; charset=utf-8'",
        "03 ''",
        "08 'answers/to/me'",
        "09 0000",
        "09 0003 00FF80",
        "26 'b' '2' 26 'a' '1' 26 'b' '1' 26 '' '' 26 'b' '2'",
        "26 'b' '2' 01 01 26 'a' '1' 08 'r' 03 'x' 26 'b' '1' 09 'y'",
    ] {
        let mut world = World::new();
        let link = world.clean(V5, "c");
        let old = world.clean(V311, "old");
        for link in [link, old] {
            world.subscribe(link, "t", 1);
        }
        let packet = |flags: &str, id: &str| format!("{flags}: 't' {id} {{{properties}}} =x");
        world.asks(link, &packet("30", ""), &packet("30", ""));
        world.hears(old, "30: 't' =x");
        world.asks(link, &packet("33", "0009"), &format!("40: 0009 {}", packet("32", "0001")));
        let late = world.clean(V5, "late");
        world.subscribe(late, "t", 0);
        world.hears(late, &packet("31", ""));
    }
}

/// [MQTT5-3.3.2-5], [MQTT5-3.3.2-6]
#[test]
fn a_message_expires_while_it_waits() {
    let mut world = World::new();
    let link = world.stays(V5, "c");
    let old = world.stays(V311, "old");
    for link in [link, old] {
        world.subscribe(link, "t", 1);
        world.cut(link);
    }
    let publisher = world.clean(V5, "p");
    world.send(publisher, "32: 't' 0001 {02 00000005} =a 32: 't' 0002 {02 0000000A} =b");
    world.send(publisher, "32: 't' 0003 {02 FFFFFFFF} =c 32: 't' 0004 {02 00000000} =d");
    world.pass(6);
    let (link, _) = world.back(V5, "c");
    world.hears(link, "32: 't' 0001 {02 00000004} =b 32: 't' 0002 {02 FFFFFFF9} =c");
    let (old, _) = world.back(V311, "old");
    world.hears(old, "32: 't' 0001 =b 32: 't' 0002 =c");
}

/// [MQTT5-3.3.2-5], [MQTT5-3.3.2-6]: also where it is retained.
#[test]
fn a_retained_message_expires() {
    let mut world = World::new();
    let publisher = world.clean(V5, "p");
    world.send(publisher, "31: 't' {02 0000000A} =x");
    world.pass(4);
    let link = world.clean(V5, "c");
    world.subscribe(link, "t", 0);
    world.hears(link, "31: 't' {02 00000006} =x");
    world.pass(6);
    world.subscribe(link, "t", 0);
    world.silent(link);
}

/// A payload that says it is text is looked at where the server was asked to.
#[test]
fn a_payload_that_is_not_what_it_says_is_refused_where_that_is_wanted() {
    for validate_payload_format in [false, true] {
        let config = BrokerConfig { validate_payload_format, ..config() };
        let mut world = World::with(config, Settings::default());
        let link = world.clean(V5, "c");
        let code = if validate_payload_format { "99" } else { "10" };
        world.asks(link, "32: 't' 0001 {01 01} FF", &format!("40: 0001 {code}"));
        world.asks(link, "34: 't' 0002 {01 01} C0AF", &format!("50: 0002 {code}"));
        world.asks(link, "32: 't' 0003 {01 01} C3A4", "40: 0003 10");
        world.asks(link, "32: 't' 0004 {01 00} FF", "40: 0004 10");
    }
}

/// An identifier of a retained message is that of the subscription that it is sent for.
#[test]
fn a_retained_message_carries_the_identifier_of_the_new_subscription() {
    let mut world = World::new();
    let link = world.clean(V5, "c");
    world.send(link, "31: 't' {26 'k' 'v'} =x");
    world.send(link, "82: 0001 {0B 07} 't' 00");
    world.hears(link, "90: 0001 {} 00 31: 't' {26 'k' 'v' 0B 07} =x");
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6], [MQTT5-4.6.0-5], [MQTT5-4.6.0-6]: what was retained first does
/// not come behind what was published since, however slowly the client takes it.
#[test]
fn a_retained_message_is_not_overtaken_by_a_newer_one() {
    const TOPICS: usize = 100;
    both(|version| {
        for qos in 0..=1u8 {
            // The queue is smaller than all that is retained, which does not count to its bound.
            let mut settings = Settings::default();
            settings.queue.messages_max = TOPICS as u32;
            settings.window = 3;
            let mut world = World::with(config(), settings);
            let publisher = world.clean(version, "p");
            let id = if qos > 0 { "0001" } else { "" };
            let publish_all = |world: &mut World, flags: u8, payload: &str| {
                for n in 0..TOPICS {
                    let first = flags | qos << 1;
                    world.send(publisher, &format!("{first:02X}: 't/{n}' {id} {{}} ={payload}"));
                }
            };
            publish_all(&mut world, 0x31, "old");
            let link = world.stays(version, "c");
            world.subscribe(link, "#", qos);
            publish_all(&mut world, 0x30, "new");
            let mut heard = Vec::new();
            loop {
                let said = packets(&world.take(link));
                if said.is_empty() {
                    break;
                }
                for packet in said {
                    let body = body(&packet);
                    let (topic, rest) = body[2..].split_at(usize::from(body[1]));
                    heard.push((topic.to_vec(), packet[0] & 1, body.ends_with(b"new")));
                    if qos > 0 {
                        world.send(link, &format!("40: {:02X}{:02X}", rest[0], rest[1]));
                    }
                }
            }
            for n in 0..TOPICS {
                let name = format!("t/{n}").into_bytes();
                let of_topic = heard.iter().filter(|(topic, ..)| *topic == name);
                let order: Vec<_> = of_topic.map(|(_, flag, is_new)| (*flag, *is_new)).collect();
                assert_eq!(order, [(1, false), (0, true)], "{version:?} QoS {qos}: t/{n}");
            }
        }
    });
}
