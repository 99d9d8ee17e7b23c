//! SUBSCRIBE and UNSUBSCRIBE.

use broker_core::limits::{BrokerConfig, Limits};
use broker_core::mqtt::Settings;

use crate::octets::{V5, V311, both};
use crate::world::{World, config};

/// [MQTT-2.3.1-7], [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-4], [MQTT-3.8.4-5],
/// [MQTT-3.9.3-1], [MQTT-3.9.3-2], [MQTT-3.8.3-2], [MQTT5-2.2.1-6], [MQTT5-2.2.2-1],
/// [MQTT5-3.8.4-1], [MQTT5-3.8.4-2], [MQTT5-3.8.4-5], [MQTT5-3.8.4-6], [MQTT5-3.8.4-7],
/// [MQTT5-3.9.3-1], [MQTT5-3.2.2-10]
#[test]
fn every_filter_has_its_code_in_one_answer() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.asks(link, "82: 0007 {} 'a' 00", "90: 0007 {} 00");
        world.asks(link, "82: FFFF {} 'a' 02 'b' 00 '+/x/#' 01", "90: FFFF {} 02 00 01");
        // As if each had come by itself: the last one counts.
        world.asks(link, "82: 0001 {} 't' 02 't' 00", "90: 0001 {} 02 00");
        world.asks(link, "32: 't' 0001 {} =x", "40: 0001 30: 't' {} =x");
        world.asks(link, "A2: 0009 {} 'a' 'b' 'a' '+/x/#'", "B0: 0009 [00 00 00 11 00]");
    });
}

/// [MQTT-3.9.3-2], [MQTT5-3.9.3-2], [MQTT5-3.8.4-7]: what is too much is refused by itself.
#[test]
fn a_filter_that_is_refused_does_not_touch_the_others() {
    both(|version| {
        let limits =
            Limits { filters_per_session_max: 2, topic_levels_max: 3, ..Limits::default() };
        let mut world = World::with(BrokerConfig { limits, ..config() }, Settings::default());
        let link = world.clean(version, "c");
        let request = "82: 0001 {} 'a/b/c/d' 01 'a' 01 'b' 02 'a' 00";
        world.asks(link, request, "90: 0001 {} [8F]<80> 01 [97]<80> [97]<80>");
        world.asks(link, "82: 0002 {} 'b' 02", "90: 0002 {} 02");
        // Who has one may change it at the bound.
        world.asks(link, "82: 0003 {} 'a' 02", "90: 0003 {} 02");
        world.asks(link, "82: 0004 {} 'c' 02", "90: 0004 {} [97]<80>");
        world.asks(link, "32: 'c' 0001 {} =x", "40: 0001 [10]");
    });
}

/// [MQTT-3.8.4-3], [MQTT5-3.8.4-3], [MQTT5-3.8.4-4]
#[test]
fn the_same_filter_again_replaces_the_subscription() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        let publisher = world.clean(version, "p");
        world.send(publisher, "31: 't' {} =kept");
        world.send(link, "82: 0001 {0B 01} 't' 02");
        world.hears(link, "90: 0001 {} 02 31: 't' {0B 01} =kept");
        world.send(publisher, "34: 't' 0001 {} =x");
        world.hears(link, "34: 't' 0001 {0B 01} =x");
        // The flow of messages is not interrupted, the message in flight not touched.
        world.send(link, "82: 0002 {0B 02} 't' 01 50: 0001");
        world.hears(link, "90: 0002 {} 01 31: 't' {0B 02} =kept 62: 0001");
        world.send(publisher, "34: 't' 0002 {} =y");
        world.hears(link, "32: 't' 0002 {0B 02} =y");
        // Without an identifier there is none any more.
        world.send(link, "82: 0003 {} 't' [20]<00>");
        let kept = if version == V5 { "" } else { "31: 't' =kept" };
        world.hears(link, &format!("90: 0003 {{}} 00 {kept}"));
        world.send(publisher, "34: 't' 0003 {} =z");
        world.hears(link, "30: 't' {} =z");
    });
}

/// [MQTT-3.10.4-1], [MQTT-3.10.4-2], [MQTT5-3.10.4-1], [MQTT5-3.10.4-2]
#[test]
fn filters_are_given_up_character_by_character() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.subscribe(link, "a/+", 0);
        for other in ["a/b", "a/#", "A/+", "a/+/", "/a/+", "+/+", "#", "a/"] {
            world.asks(link, &format!("A2: 0001 {{}} '{other}'"), "B0: 0001 [00 11]");
        }
        world.asks(link, "30: 'a/b' {} =x", "30: 'a/b' {} =x");
        world.asks(link, "A2: 0001 {} 'a/+'", "B0: 0001 [00 00]");
        world.asks(link, "30: 'a/b' {} =x", "");
    });
}

/// [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-3.10.4-6], [MQTT-2.3.1-7], [MQTT5-3.10.4-4],
/// [MQTT5-3.10.4-5], [MQTT5-3.10.4-6], [MQTT5-3.11.3-1], [MQTT5-2.2.1-6]
#[test]
fn giving_up_is_always_answered() {
    both(|version| {
        let mut world = World::new();
        let link = world.clean(version, "c");
        world.asks(link, "A2: 0005 {} 'none'", "B0: 0005 [00 11]");
        world.subscribe(link, "b", 0);
        world.subscribe(link, "$share/g/t", 0);
        let request = "A2: 0006 {26 'k' 'v'} 'a' 'b' '$share/g/t' '$share/h/t' 'b'";
        world.asks(link, request, "B0: 0006 [00 11 00 00 11 11]");
    });
}

/// [MQTT-3.10.4-3], [MQTT5-3.10.4-3]
#[test]
fn what_was_begun_is_finished_after_the_subscription_was_given_up() {
    both(|version| {
        let mut world = World::new();
        let link = world.stays(version, "c");
        world.subscribe(link, "t", 2);
        let publisher = world.clean(version, "p");
        world.send(publisher, "34: 't' 0001 {} =a 32: 't' 0002 {} =b");
        world.hears(link, "34: 't' 0001 {} =a 32: 't' 0002 {} =b");
        world.asks(link, "A2: 0001 {} 't'", "B0: 0001 [00 00]");
        world.cut(link);
        let (link, _) = world.back(version, "c");
        world.hears(link, "3C: 't' 0001 {} =a 3A: 't' 0002 {} =b");
        world.asks(link, "50: 0001 40: 0002", "62: 0001");
        world.asks(link, "70: 0001", "");
        world.lives(link);
    });
}

/// [MQTT5-3.8.3-3]
#[test]
fn no_local_keeps_away_what_the_client_published_itself() {
    let mut world = World::new();
    let link = world.stays(V5, "c");
    let other = world.clean(V5, "d");
    world.subscribe(link, "t", 0x05);
    world.subscribe(link, "u", 0x01);
    world.asks(link, "30: 't' {} =x 30: 'u' {} =y", "30: 'u' {} =y");
    world.send(other, "30: 't' {} =z");
    world.hears(link, "30: 't' {} =z");
    // The client is its identifier, not its connection.
    world.cut(link);
    let (link, _) = world.back(V5, "c");
    world.asks(link, "32: 't' 0001 {} =x", "40: 0001 10");
    // A filter that lets it through does.
    world.subscribe(link, "+", 0x00);
    world.asks(link, "30: 't' {} =x", "30: 't' {} =x");
}

/// A client's own will is a message of its own, too.
#[test]
fn no_local_keeps_away_the_own_will() {
    let mut world = World::new();
    let text = "10: 'MQTT' 05 04 0000 {11 00000E10} 'c' {} 'w' 'gone'";
    let (link, _) = world.connect(V5, text);
    world.subscribe(link, "w", 0x05);
    world.subscribe(link, "+", 0x05);
    world.cut(link);
    let (link, was_there) = world.back(V5, "c");
    assert!(was_there);
    world.silent(link);
}

/// Whatever comes for a subscription comes behind the answer to it, and nothing before.
#[test]
fn a_retained_message_comes_behind_suback() {
    for version in [V311, V5] {
        let mut world = World::new();
        let publisher = world.clean(version, "p");
        world.send(publisher, "31: 'a' {} =x 31: 'b' {} =y");
        let link = world.clean(version, "c");
        world.send(link, "82: 0001 {} 'a' 00 'b' 00 C0:");
        world.hears(link, "90: 0001 {} 00 00 31: 'a' {} =x 31: 'b' {} =y D0:");
    }
}
