//! Wills.

use crate::octets::{V5, V311, Version, both, encode};
use crate::world::{Link, World};

/// A client with a will of QoS 1 to `w`, whose CONNECT flags beside it are `flags`, and one that
/// waits for it.
fn will(version: Version, flags: u8, properties: &str) -> (World, Link, Link) {
    let mut world = World::new();
    let watcher = world.clean(version, "watcher");
    world.subscribe(watcher, "w", 2);
    let owner = world.connect(version, &connect(flags, "{11 0000003C}", properties)).0;
    (world, owner, watcher)
}

/// With a keep alive of 10 s.
fn connect(flags: u8, connect: &str, will: &str) -> String {
    let flags = 0x0C | flags;
    format!("10: 'MQTT' <04>[05] {flags:02X} 000A {connect} 'c' {will} 'w' 'gone'")
}

const WILL: &str = "32: 'w' 0001 {} =gone";

/// [MQTT-3.1.2-8], [MQTT-3.1.2-16], [MQTT5-3.1.2-7], [MQTT5-3.1.2-8], [MQTT5-3.1.2-14]
#[test]
fn a_will_is_published_when_the_connection_ends_without_a_word() {
    both(|version| {
        let (mut world, owner, watcher) = will(version, 0, "{}");
        world.silent(watcher);
        world.cut(owner);
        world.hears(watcher, WILL);
        let late = world.clean(version, "late");
        world.subscribe(late, "w", 1);
        world.silent(late);
    });
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-8], [MQTT5-3.1.2-22], [MQTT5-3.1.2-8]
#[test]
fn a_will_is_published_when_the_client_is_silent_for_too_long() {
    both(|version| {
        let (mut world, owner, watcher) = will(version, 0, "{}");
        world.pass(14);
        world.lives(owner);
        world.pass(14);
        world.silent(watcher);
        world.pass(2);
        world.closes(owner, 0x8D);
        world.hears(watcher, WILL);
    });
}

/// [MQTT-3.1.0-2], [MQTT-3.1.2-8], [MQTT-4.8.0-1], [MQTT5-3.1.0-2], [MQTT5-3.1.2-8],
/// [MQTT5-4.13.1-1]
#[test]
fn a_will_is_published_when_the_client_breaks_the_rules() {
    both(|version| {
        let (mut world, owner, watcher) = will(version, 0, "{}");
        world.send(owner, &connect(0, "{}", "{}"));
        world.closes(owner, 0x82);
        world.hears(watcher, WILL);
        let (mut world, owner, watcher) = will(version, 0, "{}");
        world.send(owner, "36: 't' 0001 {}");
        world.closes(owner, 0x81);
        world.hears(watcher, WILL);
    });
}

/// [MQTT-3.1.2-10], [MQTT-3.14.4-3], [MQTT5-3.1.2-10], [MQTT5-3.14.4-3], [MQTT5-3.1.2-8]
#[test]
fn a_client_that_leaves_in_order_takes_its_will_along() {
    both(|version| {
        let (mut world, owner, watcher) = will(version, 0, "{}");
        world.leave(owner);
        world.pass(3_600);
        world.silent(watcher);
    });
    for text in ["E0: 00", "E0: 00 {1F 'bye'}"] {
        let (mut world, owner, watcher) = will(V5, 0, "{18 00000005}");
        world.send(owner, text);
        world.pass(3_600);
        world.silent(watcher);
    }
}

/// [MQTT-3.1.2-10], [MQTT5-3.1.2-10]
#[test]
fn a_will_that_was_published_is_gone() {
    both(|version| {
        let (mut world, owner, watcher) = will(version, 0, "{}");
        world.cut(owner);
        world.hears(watcher, WILL);
        let (owner, _) = world.back(version, "c");
        world.cut(owner);
        world.pass(3_600);
        world.silent(watcher);
    });
}

/// [MQTT-3.1.2-12]
#[test]
fn without_a_will_nothing_is_published() {
    both(|version| {
        let mut world = World::new();
        let watcher = world.clean(version, "watcher");
        world.subscribe(watcher, "#", 0);
        let owner = world.clean(version, "c");
        world.cut(owner);
        world.silent(watcher);
    });
}

/// [MQTT-3.1.2-17], [MQTT5-3.1.2-15]
#[test]
fn a_will_can_be_retained() {
    both(|version| {
        let (mut world, owner, watcher) = will(version, 0x20, "{}");
        world.cut(owner);
        world.hears(watcher, WILL);
        let late = world.clean(version, "late");
        world.subscribe(late, "w", 1);
        world.hears(late, "33: 'w' 0001 {} =gone");
    });
}

/// The QoS of a will is that of its message.
#[test]
fn a_will_has_a_qos() {
    both(|version| {
        for (flags, first, id) in [(0x04, "30", ""), (0x0C, "32", "0001"), (0x14, "34", "0001")] {
            let mut world = World::new();
            let watcher = world.clean(version, "watcher");
            world.subscribe(watcher, "w", 2);
            let text = format!("10: 'MQTT' <04>[05] {flags:02X} 0000 {{}} 'c' {{}} 'w' ''");
            let (owner, _) = world.connect(version, &text);
            world.cut(owner);
            world.hears(watcher, &format!("{first}: 'w' {id} {{}}"));
        }
    });
}

/// [MQTT-3.1.4-2], [MQTT5-3.1.2-8], [MQTT5-3.1.4-3]
#[test]
fn a_will_without_delay_is_published_when_the_session_is_taken_over() {
    both(|version| {
        let (mut world, owner, watcher) = will(version, 0, "{}");
        let _ = world.back(version, "c");
        world.closes(owner, 0x8E);
        world.hears(watcher, WILL);
    });
}

/// [MQTT5-3.1.2-8], [MQTT5-3.1.3-9]
#[test]
fn a_will_of_5_waits_for_its_delay() {
    let (mut world, owner, watcher) = will(V5, 0, "{18 0000000A}");
    world.cut(owner);
    world.pass(9);
    world.silent(watcher);
    world.pass(1);
    world.hears(watcher, WILL);
    // Who is back in time has none.
    let (mut world, owner, watcher) = will(V5, 0, "{18 0000000A}");
    world.cut(owner);
    world.pass(9);
    let (owner, was_there) = world.back(V5, "c");
    assert!(was_there);
    world.pass(3_600);
    world.silent(watcher);
    world.lives(owner);
}

/// [MQTT5-3.1.2-8]: the delay begins anew with each end.
#[test]
fn a_delay_begins_with_the_end_that_it_is_for() {
    let (mut world, owner, watcher) = will(V5, 0, "{18 0000000A}");
    world.cut(owner);
    world.pass(8);
    let text = connect(0, "{11 0000003C}", "{18 0000000A}");
    let (owner, connack) = world.connect(V5, &text);
    assert_eq!(connack.flags, 1);
    world.cut(owner);
    world.pass(9);
    world.silent(watcher);
    world.pass(1);
    world.hears(watcher, WILL);
}

/// [MQTT5-3.1.2-8]: the end of the session comes first.
#[test]
fn a_will_of_5_waits_no_longer_than_its_session() {
    let (mut world, owner, watcher) = will(V5, 0, "{18 FFFFFFFF}");
    world.cut(owner);
    world.pass(59);
    world.silent(watcher);
    world.pass(1);
    world.hears(watcher, WILL);
    // A session without expiry ends at once.
    let mut world = World::new();
    let watcher = world.clean(V5, "watcher");
    world.subscribe(watcher, "w", 2);
    let (owner, _) = world.connect(V5, &connect(0, "{}", "{18 0000000A}"));
    world.cut(owner);
    world.hears(watcher, WILL);
    // So does one that is discarded.
    let (mut world, owner, watcher) = will(V5, 0, "{18 0000000A}");
    world.cut(owner);
    let _ = world.clean(V5, "c");
    world.hears(watcher, WILL);
    // And one that is discarded while the delay has not even begun.
    let (mut world, _, watcher) = will(V5, 0, "{18 0000000A}");
    let _ = world.clean(V5, "c");
    world.hears(watcher, WILL);
}

/// [MQTT5-3.1.3-9]: the delay has not begun when the next connection is there already.
#[test]
fn a_will_with_delay_is_not_published_when_the_session_is_taken_over_and_goes_on() {
    let (mut world, owner, watcher) = will(V5, 0, "{18 0000000A}");
    let (_, was_there) = world.back(V5, "c");
    assert!(was_there);
    world.closes(owner, 0x8E);
    world.pass(3_600);
    world.silent(watcher);
}

/// [MQTT5-3.1.2-8]: 0x04 asks for it, and so does everything that is not 0x00.
#[test]
fn a_client_of_5_can_leave_its_will_behind() {
    for code in [0x04, 0x80, 0x81, 0x98] {
        let (mut world, owner, watcher) = will(V5, 0, "{}");
        world.send(owner, &format!("E0: {code:02X}"));
        world.hears(watcher, WILL);
        let (mut world, owner, watcher) = will(V5, 0, "{18 0000000A}");
        world.send(owner, &format!("E0: {code:02X} {{11 00000005}}"));
        world.pass(4);
        world.silent(watcher);
        world.pass(1);
        world.hears(watcher, WILL);
    }
}

/// [MQTT5-3.1.3-10], [MQTT5-3.3.2-18]
#[test]
fn the_properties_of_a_will_are_those_of_its_message() {
    let properties = "01 01 03 'text' 08 'answer' 09 'id' 26 'b' '1' 26 'a' '2' 26 'b' '1'";
    let (mut world, owner, watcher) = will(V5, 0, &format!("{{18 00000001 {properties}}}"));
    world.cut(owner);
    world.pass(1);
    world.hears(watcher, &format!("32: 'w' 0001 {{{properties}}} =gone"));
}

/// The time of a will begins with its publication.
#[test]
fn a_will_expires_like_any_message() {
    let (mut world, owner, watcher) = will(V5, 0x20, "{18 0000000A 02 00000005}");
    world.cut(owner);
    world.pass(10);
    world.hears(watcher, "32: 'w' 0001 {02 00000005} =gone");
    let late = world.clean(V5, "late");
    world.pass(3);
    world.subscribe(late, "w", 0);
    world.hears(late, "31: 'w' {02 00000002} =gone");
    world.pass(2);
    world.subscribe(late, "w", 0);
    world.silent(late);
}

/// An empty will is a message like any other; retained it removes.
#[test]
fn an_empty_retained_will_removes_what_was_retained() {
    both(|version| {
        let mut world = World::new();
        let publisher = world.clean(version, "p");
        world.send(publisher, "31: 'w' {} =x");
        let text = "10: 'MQTT' <04>[05] 26 0000 {} 'c' {} 'w' ''";
        let (owner, _) = world.connect(version, text);
        world.cut(owner);
        world.subscribe(publisher, "w", 0);
        world.silent(publisher);
    });
}

/// A will of one version is heard in the other.
#[test]
fn a_will_crosses_versions() {
    for (owner, watcher) in [(V311, V5), (V5, V311)] {
        let mut world = World::new();
        let watcher = world.clean(watcher, "watcher");
        world.subscribe(watcher, "w", 1);
        let (link, _) = world.connect(owner, &connect(2, "{}", "{26 'k' 'v'}"));
        world.cut(link);
        let properties = if owner == V5 { "{26 'k' 'v'}" } else { "{}" };
        let text = format!("32: 'w' 0001 {properties} =gone");
        assert_eq!(world.take(watcher), encode(watcher.version, &text));
    }
}
