//! What holds for every packet: signs of life, the end, and what comes at the wrong time.

use crate::octets::{V5, both, encode};
use crate::world::World;

/// [MQTT-3.12.4-1], [MQTT5-3.12.4-1]
#[test]
fn a_ping_is_answered() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.asks(link, "C0: C0: C0:", "D0: D0: D0:");
    });
}

/// [MQTT-3.14.4-1], [MQTT-3.14.4-2], [MQTT5-3.14.4-1], [MQTT5-3.14.4-2]
#[test]
fn after_disconnect_nothing_is_heard_and_the_connection_is_closed() {
    both(|version| {
        let mut world = World::new();
        let watcher = world.clean(version, "w");
        world.subscribe(watcher, "#", 0);
        let link = world.clean(version, "c");
        world.send(link, "C0: E0: 30: 't' {} =x C0:");
        world.hears(link, "D0:");
        assert!(world.is_closed(link));
        world.asks(link, "30: 't' {} =y", "");
        world.silent(watcher);
    });
}

/// [MQTT-7.1.1-1], [MQTT-7.0.0-2], [MQTT5-4.2.0-1]: a stream has no seams.
#[test]
fn a_conversation_in_single_octets_is_the_same() {
    both(|version| {
        let text = "10: 'MQTT' <04>[05] 02 0000 {} 'c' 82: 0001 {} 't' 02 30: 't' {26 'k' 'v'} =x \
                    32: 't' 0002 {} =y 34: 't' 0003 {} =z 62: 0003 C0: A2: 0004 {} 't' C0: E0:";
        let octets = encode(version, text);
        let mut world = World::new();
        let [whole, single] = [1, 2].map(|_| world.open(version));
        world.send_octets(whole, &octets);
        let expect = world.take(whole);
        for octet in octets {
            world.send_octets(single, &[octet]);
        }
        assert_eq!(world.take(single), expect);
        assert!(world.is_closed(whole) && world.is_closed(single));
    });
}

/// [MQTT-4.8.0-1], [MQTT5-4.13.1-1], [MQTT5-4.13.2-1]: and no other connection.
#[test]
fn a_violation_closes_the_connection_that_it_came_on() {
    both(|version| {
        let mut world = World::new();
        let other = world.clean(version, "other");
        let link = world.clean(version, "c");
        world.send(link, "C0: 00: C0:");
        let said = world.take(link);
        assert!(said.starts_with(&[0xD0, 0]));
        assert!(world.is_closed(link));
        world.lives(other);
    });
}

/// [MQTT-4.8.0-2]: what cannot be kept is not acknowledged.
#[test]
fn without_memory_a_publisher_of_3_is_closed_and_one_of_5_is_told() {
    both(|version| {
        let mut world = World::new();
        let sleeper = world.stays(version, "sleeper");
        world.subscribe(sleeper, "t", 1);
        world.cut(sleeper);
        let link = world.clean(version, "c");
        let limit = world.broker.limits().memory_bytes;
        world.broker.set_external_memory(limit);
        world.send(link, "32: 't' 0001 {} =x");
        if version == V5 {
            world.hears(link, "40: 0001 97");
            world.lives(link);
        } else {
            world.closes(link, 0x97);
        }
    });
}

/// [MQTT5-3.14.2-2]: what the server says at the end has no session expiry.
#[test]
fn a_disconnect_of_the_server_has_no_session_expiry() {
    for wrong in ["00:", "36: 't' 0001 {}", "20: 00 00", "82: 0001 {}", "C0: 00"] {
        let mut world = World::new();
        let (link, _) = world.connect(V5, "10: 'MQTT' 05 00 0000 {11 00000E10} 'c'");
        world.send(link, wrong);
        let said = world.take(link);
        assert_eq!(said[0], 0xE0, "{wrong}");
        let body = crate::octets::body(&said);
        assert!(body[0] >= 0x80);
        if body.len() > 1 {
            let (found, rest) = crate::octets::properties(&body[1..]);
            assert!(rest.is_empty() && found.iter().all(|(id, _)| *id == 0x1F), "{found:?}");
        }
    }
}

/// [MQTT5-3.1.2-27], [MQTT5-3.1.2-26]: a client that asked for no topic aliases gets none.
#[test]
fn no_alias_is_used_towards_a_client_that_has_room_for_none() {
    for properties in ["", "22 0000"] {
        let mut world = World::new();
        let text = format!("10: 'MQTT' 05 02 0000 {{{properties}}} 'c'");
        let (link, _) = world.connect(V5, &text);
        world.subscribe(link, "t", 0);
        for _ in 0..3 {
            world.asks(link, "30: 't' {} =x", "30: 't' {} =x");
        }
    }
}

/// [MQTT5-3.3.2-7], [MQTT5-3.3.2-12], [MQTT5-3.2.2-17]: aliases of a client.
#[test]
fn an_alias_of_a_client_holds_for_its_connection() {
    let mut world = World::new();
    let watcher = world.clean(V5, "w");
    world.subscribe(watcher, "#", 0);
    let (link, connack) = world.connect(V5, "10: 'MQTT' 05 00 0000 {11 00000E10} 'c'");
    let maximum = connack.property(0x22).expect("the server has room for some");
    let maximum = u16::from_be_bytes(maximum.try_into().expect("two octets"));
    for alias in 1..=maximum {
        world.send(link, &format!("30: 't/{alias}' {{23 {alias:04X}}} =x"));
        world.hears(watcher, &format!("30: 't/{alias}' {{}} =x"));
    }
    for alias in 1..=maximum {
        world.send(link, &format!("30: '' {{23 {alias:04X}}} =y"));
        world.hears(watcher, &format!("30: 't/{alias}' {{}} =y"));
    }
    // A new meaning
    world.send(link, "30: 'u' {23 0001} =a 30: '' {23 0001} =b");
    world.hears(watcher, "30: 'u' {} =a 30: 'u' {} =b");
    world.cut(link);
    let (link, was_there) = world.back(V5, "c");
    assert!(was_there);
    world.send(link, "30: '' {23 0001} =c");
    world.closes(link, 0x82);
    world.silent(watcher);
}
