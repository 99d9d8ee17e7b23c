//! Sessions: made, resumed, discarded, taken over, expired.

use crate::octets::{V5, V311, both};
use crate::world::World;

/// [MQTT-3.1.2-4], [MQTT-3.2.2-2], [MQTT-3.2.2-3], [MQTT-4.1.0-1], [MQTT5-3.1.2-5],
/// [MQTT5-3.1.2-6], [MQTT5-3.1.2-23], [MQTT5-3.1.4-4], [MQTT5-3.2.2-3], [MQTT5-4.1.0-1]
#[test]
fn a_session_that_stays_is_resumed_with_its_subscriptions() {
    both(|version| {
        let mut world = World::new();
        let first = world.stays(version, "c");
        world.subscribe(first, "t", 1);
        world.leave(first);
        let (second, was_there) = world.back(version, "c");
        assert!(was_there);
        world.send(second, "32: 't' 0001 {} =x");
        world.hears(second, "40: 0001 32: 't' 0001 {} =x");
    });
}

/// [MQTT-3.1.2-6], [MQTT-3.2.2-1], [MQTT5-3.1.2-4], [MQTT5-3.1.4-4], [MQTT5-3.2.2-2]
#[test]
fn a_clean_start_discards_the_session_and_leaves_none() {
    both(|version| {
        let mut world = World::new();
        let first = world.stays(version, "c");
        world.subscribe(first, "t", 1);
        world.leave(first);
        let publisher = world.clean(version, "p");
        world.asks(publisher, "32: 't' 0001 {} =waits", "40: 0001");
        let (second, connack) = world.connect(version, "10: 'MQTT' <04>[05] 02 0000 {} 'c'");
        assert_eq!(connack.flags, 0);
        world.asks(publisher, "32: 't' 0002 {} =x", "40: 0002 [10]");
        world.silent(second);
        world.subscribe(second, "t", 1);
        world.leave(second);
        assert!(!world.back(version, "c").1, "it ended with its connection");
    });
}

/// [MQTT-3.1.2-5], [MQTT-4.1.0-1], [MQTT5-4.5.0-1]
#[test]
fn messages_of_qos_1_and_2_wait_for_a_client_that_is_away() {
    both(|version| {
        let mut world = World::new();
        let first = world.stays(version, "c");
        world.subscribe(first, "t", 2);
        world.cut(first);
        let publisher = world.clean(version, "p");
        world.send(publisher, "30: 't' {} =0");
        world.asks(publisher, "32: 't' 0001 {} =1", "40: 0001");
        world.asks(publisher, "34: 't' 0002 {} =2", "50: 0002");
        let (second, was_there) = world.back(version, "c");
        assert!(was_there);
        world.hears(second, "32: 't' 0001 {} =1 34: 't' 0002 {} =2");
    });
}

/// [MQTT-3.1.2-7], [MQTT5-3.1.2-4]
#[test]
fn retained_messages_belong_to_no_session() {
    both(|version| {
        let mut world = World::new();
        let first = world.clean(version, "p");
        world.send(first, "31: 't' {} =x");
        world.leave(first);
        let _ = world.clean(version, "p");
        let subscriber = world.clean(version, "s");
        world.subscribe(subscriber, "t", 0);
        world.hears(subscriber, "31: 't' {} =x");
    });
}

/// [MQTT-3.1.3-2], [MQTT5-3.1.3-2]: also by a letter's case, and not by user name or address.
#[test]
fn a_session_belongs_to_its_client_identifier() {
    both(|version| {
        let mut world = World::new();
        for client_id in ["c", "C", "c ", "ç"] {
            let link = world.stays(version, client_id);
            world.subscribe(link, &format!("of/{client_id}"), 1);
            world.leave(link);
        }
        let publisher = world.clean(version, "p");
        for client_id in ["c", "C", "c ", "ç"] {
            let request = format!("32: 'of/{client_id}' 0001 {{}} =x");
            world.asks(publisher, &request, "40: 0001");
            let (link, was_there) = world.back(version, client_id);
            assert!(was_there, "{client_id}");
            world.hears(link, &format!("32: 'of/{client_id}' 0001 {{}} =x"));
        }
    });
}

/// [MQTT-3.1.4-2], [MQTT5-3.1.4-3]
#[test]
fn the_older_of_two_connections_is_closed_and_its_session_goes_on() {
    both(|version| {
        let mut world = World::new();
        let first = world.stays(version, "c");
        world.subscribe(first, "t", 1);
        let (second, was_there) = world.back(version, "c");
        world.closes(first, 0x8E);
        assert!(was_there);
        world.asks(second, "32: 't' 0001 {} =x", "40: 0001 32: 't' 0001 {} =x");
        world.lives(second);
    });
}

/// [MQTT-3.1.4-3], [MQTT5-3.1.4-1]
#[test]
fn a_connect_that_is_refused_discards_nothing() {
    both(|version| {
        let mut world = World::new();
        let first = world.stays(version, "c");
        world.leave(first);
        let wrong = world.open(version);
        world.send(wrong, "10: 'MQTT' <04>[05] 02 0000 {} 'c' 00");
        assert!(world.is_closed(wrong));
        assert!(world.back(version, "c").1);
    });
}

/// [MQTT-4.1.0-2], [MQTT5-4.1.0-1]
#[test]
fn a_session_lasts_at_least_as_long_as_its_connection() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.subscribe(link, "t", 0);
        world.pass(400 * 86_400);
        world.asks(link, "30: 't' {} =x", "30: 't' {} =x");
    });
}

/// [MQTT5-4.1.0-2], [MQTT5-3.1.2-23]
#[test]
fn a_session_of_5_ends_when_its_expiry_has_passed() {
    for (connect, leave, expiry_s) in [
        ("{11 0000000A}", "E0:", 10),
        ("{11 0000000A}", "E0: 00 {11 00000014}", 20),
        ("{11 0000000A}", "E0: 04 {11 00000001}", 1),
        ("{11 0000000A}", "E0: 00 {1F 'bye'}", 10),
    ] {
        for (waits_s, is_there) in [(expiry_s - 1, true), (expiry_s + 1, false)] {
            let mut world = World::new();
            let text = format!("10: 'MQTT' 05 00 0000 {connect} 'c'");
            let (link, connack) = world.connect(V5, &text);
            assert_eq!((connack.flags, connack.property(0x11)), (0, None));
            world.send(link, leave);
            world.pass(waits_s);
            let (_, connack) = world.connect(V5, &text);
            assert_eq!(connack.flags, u8::from(is_there), "{leave}: {waits_s} s");
        }
    }
}

/// [MQTT5-4.1.0-2]: without an expiry, or with zero, it ends at once.
#[test]
fn a_session_of_5_without_expiry_ends_with_its_connection() {
    for (connect, leave) in
        [("{}", "E0:"), ("{11 00000000}", "E0:"), ("{11 0000000A}", "E0: 00 {11 00000000}")]
    {
        let mut world = World::new();
        let text = format!("10: 'MQTT' 05 00 0000 {connect} 'c'");
        let (link, _) = world.connect(V5, &text);
        world.send(link, leave);
        let (_, connack) = world.connect(V5, &text);
        assert_eq!(connack.flags, 0, "{connect} {leave}");
    }
}

/// Who said in CONNECT that its session ends with its connection cannot change its mind.
#[test]
fn a_session_of_5_without_expiry_is_given_none_at_the_end() {
    let mut world = World::new();
    let (link, _) = world.connect(V5, "10: 'MQTT' 05 00 0000 {17 00} 'c'");
    world.send(link, "E0: 00 {11 00000001}");
    world.closes(link, 0x82);
    assert_eq!(world.connect(V5, "10: 'MQTT' 05 00 0000 {} 'c'").1.flags, 0);
}

/// A client is told that its session will not stay as long as it asked for.
#[test]
fn a_session_of_5_stays_no_longer_than_the_server_says() {
    let mut world = World::new();
    let text = "10: 'MQTT' 05 00 0000 {11 FFFFFFFF} 'c'";
    let (link, connack) = world.connect(V5, text);
    let limit = world.broker.limits().session_expiry_max_s;
    assert_eq!(connack.property(0x11), Some(&limit.to_be_bytes()[..]));
    world.leave(link);
    world.pass(u64::from(limit) - 1);
    let (link, connack) = world.connect(V5, text);
    assert_eq!(connack.flags, 1);
    world.leave(link);
    world.pass(u64::from(limit) + 1);
    assert_eq!(world.connect(V5, text).1.flags, 0);
}

/// 3.1.1 with CleanSession 0 is 5.0 with a session that stays: one session for both.
#[test]
fn a_session_changes_versions() {
    let mut world = World::new();
    let old = world.stays(V311, "c");
    world.subscribe(old, "t", 1);
    world.leave(old);
    let (new, was_there) = world.back(V5, "c");
    assert!(was_there);
    world.asks(new, "32: 't' 0001 {26 'k' 'v'} =x", "40: 0001 32: 't' 0001 {26 'k' 'v'} =x");
    world.cut(new);
    let (old, was_there) = world.back(V311, "c");
    assert!(was_there);
    world.hears(old, "3A: 't' 0001 =x");
}

/// [MQTT-3.1.3-6], [MQTT5-3.1.3-6], [MQTT5-3.1.3-7], [MQTT5-3.2.2-16]
#[test]
fn a_client_without_identifier_is_given_one_that_nobody_has() {
    let mut world = World::new();
    let (_, first) = world.connect(V5, "10: 'MQTT' 05 02 0000 {11 00000E10} ''");
    let (_, second) = world.connect(V5, "10: 'MQTT' 05 00 0000 {11 00000E10} ''");
    let names = [&first, &second].map(|connack| {
        let name = connack.property(0x12).expect("an identifier");
        String::from_utf8(name[2..].to_vec()).expect("a string")
    });
    assert_ne!(names[0], names[1]);
    // It is one like any other: who has been told it can come back by it.
    for name in names {
        assert!(world.back(V5, &name).1, "{name}");
    }
    let (link, connack) = world.connect(V311, "10: 'MQTT' 04 02 0000 ''");
    assert_eq!(connack.flags, 0);
    world.lives(link);
}
