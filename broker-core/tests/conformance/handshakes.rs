//! QoS 1 and 2, as receiver and as sender.

use crate::octets::{V5, Version, both};
use crate::world::{Link, World};

/// A client whose session stays and that takes everything from `t`, and one that publishes.
fn pair(version: Version) -> (World, Link, Link) {
    let mut world = World::new();
    let subscriber = world.stays(version, "s");
    world.subscribe(subscriber, "t", 2);
    let publisher = world.clean(version, "p");
    (world, subscriber, publisher)
}

/// [MQTT-3.3.4-1], [MQTT-2.3.1-6], [MQTT5-3.3.4-1], [MQTT5-2.2.1-5], [MQTT5-4.3.2-4],
/// [MQTT5-4.3.3-8]
#[test]
fn a_publication_is_answered_by_its_qos() {
    both(|version| {
        let (mut world, _, publisher) = pair(version);
        world.asks(publisher, "30: 't' {} =x", "");
        world.asks(publisher, "32: 't' FFFF {} =x", "40: FFFF");
        world.asks(publisher, "34: 't' 0100 {} =x", "50: 0100");
    });
}

/// [MQTT-4.3.2-2], [MQTT5-4.3.2-4], [MQTT5-4.3.2-5], [MQTT-2.3.1-2], [MQTT-2.3.1-3]:
/// whatever DUP says.
#[test]
fn an_identifier_of_qos_1_means_a_new_message_after_its_puback() {
    both(|version| {
        let (mut world, subscriber, publisher) = pair(version);
        for (first, id) in [("32", 1), ("32", 2), ("3A", 3)] {
            world.asks(publisher, &format!("{first}: 't' 0007 {{}} =x"), "40: 0007");
            world.hears(subscriber, &format!("32: 't' {id:04X} {{}} =x"));
        }
    });
}

/// [MQTT-4.3.3-2], [MQTT5-4.3.3-8], [MQTT5-4.3.3-10], [MQTT5-4.3.3-11], [MQTT5-4.3.3-12],
/// [MQTT-2.3.1-6], [MQTT5-2.2.1-5]
#[test]
fn an_identifier_of_qos_2_means_the_same_message_until_its_pubrel() {
    both(|version| {
        let (mut world, subscriber, publisher) = pair(version);
        world.asks(publisher, "34: 't' 0007 {} =x", "50: 0007");
        world.hears(subscriber, "34: 't' 0001 {} =x");
        world.asks(publisher, "3C: 't' 0007 {} =x", "50: 0007");
        world.asks(publisher, "34: 't' 0007 {} =x", "50: 0007");
        world.silent(subscriber);
        world.asks(publisher, "62: 0007", "70: 0007");
        world.asks(publisher, "62: 0007", "70: 0007 [92]");
        world.asks(publisher, "3C: 't' 0007 {} =y", "50: 0007");
        world.hears(subscriber, "34: 't' 0002 {} =y");
    });
}

/// [MQTT-4.3.3-2], [MQTT-4.1.0-1], [MQTT5-4.3.3-10], [MQTT5-4.1.0-1]: the identifier is state of
/// the session.
#[test]
fn a_publication_of_qos_2_that_is_repeated_after_a_reconnect_is_delivered_once() {
    both(|version| {
        let (mut world, subscriber, _) = pair(version);
        let publisher = world.stays(version, "q");
        world.asks(publisher, "34: 't' 0007 {} =x", "50: 0007");
        world.cut(publisher);
        let (publisher, was_there) = world.back(version, "q");
        assert!(was_there);
        world.asks(publisher, "3C: 't' 0007 {} =x", "50: 0007");
        world.asks(publisher, "62: 0007", "70: 0007");
        world.hears(subscriber, "34: 't' 0001 {} =x");
    });
}

/// [MQTT-2.3.1-4], [MQTT-4.3.2-1], [MQTT-3.3.1-1], [MQTT-4.4.0-1], [MQTT5-2.2.1-4],
/// [MQTT5-3.3.1-1], [MQTT5-4.3.2-1], [MQTT5-4.3.2-2], [MQTT5-4.3.2-3], [MQTT5-4.4.0-1]
#[test]
fn a_message_of_qos_1_is_unacknowledged_until_its_puback() {
    both(|version| {
        let (mut world, subscriber, publisher) = pair(version);
        world.send(publisher, "32: 't' 0001 {} =a 32: 't' 0002 {} =b");
        world.hears(subscriber, "32: 't' 0001 {} =a 32: 't' 0002 {} =b");
        world.send(subscriber, "40: 0001");
        // Never on a live connection
        world.pass(86_400);
        world.silent(subscriber);
        world.cut(subscriber);
        let (subscriber, was_there) = world.back(version, "s");
        assert!(was_there);
        world.hears(subscriber, "3A: 't' 0002 {} =b");
        // An identifier in use is not given to another message.
        world.send(publisher, "32: 't' 0003 {} =c");
        world.hears(subscriber, "32: 't' 0003 {} =c");
        world.send(subscriber, "40: 0002 40: 0003");
        world.cut(subscriber);
        let (subscriber, _) = world.back(version, "s");
        world.silent(subscriber);
    });
}

/// [MQTT-4.3.3-1], [MQTT-4.4.0-1], [MQTT5-2.2.1-5], [MQTT5-4.3.3-1], [MQTT5-4.3.3-2],
/// [MQTT5-4.3.3-3], [MQTT5-4.3.3-4], [MQTT5-4.3.3-5], [MQTT5-4.3.3-6], [MQTT5-4.4.0-1]
#[test]
fn a_message_of_qos_2_goes_through_all_four_steps() {
    both(|version| {
        let (mut world, subscriber, publisher) = pair(version);
        world.send(publisher, "34: 't' 0009 {} =a");
        world.hears(subscriber, "34: 't' 0001 {} =a");
        world.pass(86_400);
        world.silent(subscriber);
        world.cut(subscriber);
        let (subscriber, _) = world.back(version, "s");
        world.hears(subscriber, "3C: 't' 0001 {} =a");
        world.asks(subscriber, "50: 0001", "62: 0001");
        world.cut(subscriber);
        let (subscriber, _) = world.back(version, "s");
        world.hears(subscriber, "62: 0001");
        world.asks(subscriber, "50: 0001", "62: 0001");
        world.asks(subscriber, "70: 0001", "");
        world.cut(subscriber);
        let (subscriber, _) = world.back(version, "s");
        world.silent(subscriber);
    });
}

/// [MQTT-4.6.0-1], [MQTT5-4.6.0-1], [MQTT5-4.4.0-1]
#[test]
fn what_is_sent_again_is_sent_in_its_order() {
    both(|version| {
        let (mut world, subscriber, publisher) = pair(version);
        let text = "32: 't' 0001 {} =a 34: 't' 0002 {} =b 32: 't' 0003 {} =c 34: 't' 0004 {} =d";
        world.send(publisher, text);
        world.hears(subscriber, text);
        world.asks(subscriber, "50: 0002", "62: 0002");
        world.cut(subscriber);
        world.send(publisher, "32: 't' 0005 {} =e");
        let (subscriber, _) = world.back(version, "s");
        let again = "3A: 't' 0001 {} =a 62: 0002 3A: 't' 0003 {} =c 3C: 't' 0004 {} =d";
        world.hears(subscriber, &format!("{again} 32: 't' 0005 {{}} =e"));
    });
}

/// [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-4], [MQTT-4.5.0-2], [MQTT5-4.6.0-2],
/// [MQTT5-4.6.0-3], [MQTT5-4.6.0-4], [MQTT5-4.5.0-2]
#[test]
fn answers_in_another_order_are_taken() {
    both(|version| {
        let (mut world, subscriber, publisher) = pair(version);
        let text = "32: 't' 0001 {} =a 32: 't' 0002 {} =b 34: 't' 0003 {} =c 34: 't' 0004 {} =d";
        world.send(publisher, text);
        world.hears(publisher, "40: 0001 40: 0002 50: 0003 50: 0004");
        world.hears(subscriber, text);
        world.asks(subscriber, "50: 0004 40: 0002", "62: 0004");
        world.asks(subscriber, "50: 0003 70: 0004", "62: 0003");
        world.asks(subscriber, "40: 0001 70: 0003", "");
        world.asks(publisher, "62: 0004 62: 0003", "70: 0004 70: 0003");
        world.cut(subscriber);
        let (subscriber, _) = world.back(version, "s");
        world.silent(subscriber);
    });
}

/// [MQTT-3.3.1-3], [MQTT5-3.3.1-3], [MQTT-4.3.2-1], [MQTT-4.3.3-1]
#[test]
fn a_repetition_by_the_publisher_is_none_to_the_subscriber() {
    both(|version| {
        let (mut world, subscriber, publisher) = pair(version);
        world.send(publisher, "3A: 't' 0009 {} =a 3C: 't' 0008 {} =b");
        world.hears(subscriber, "32: 't' 0001 {} =a 34: 't' 0002 {} =b");
    });
}

/// [MQTT-3.3.1-2], [MQTT-4.3.1-1], [MQTT-2.3.1-5], [MQTT5-3.3.1-2], [MQTT5-4.3.1-1],
/// [MQTT5-2.2.1-2]
#[test]
fn a_message_of_qos_0_has_neither_dup_nor_identifier() {
    both(|version| {
        let (mut world, subscriber, publisher) = pair(version);
        world.send(publisher, "30: 't' {} =a");
        world.hears(subscriber, "30: 't' {} =a");
        // Also where it was published with another QoS.
        world.subscribe(subscriber, "t", 0);
        world.send(publisher, "3A: 't' 0009 {} =b 3C: 't' 0008 {} =c");
        world.hears(subscriber, "30: 't' {} =b 30: 't' {} =c");
    });
}

/// [MQTT5-4.4.0-2], [MQTT5-4.3.3-4]
#[test]
fn a_client_of_5_can_say_no_to_a_message() {
    for code in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        let (mut world, subscriber, publisher) = pair(V5);
        world.send(publisher, "32: 't' 0001 {} =a 34: 't' 0002 {} =b");
        world.hears(subscriber, "32: 't' 0001 {} =a 34: 't' 0002 {} =b");
        world.asks(subscriber, &format!("40: 0001 {code:02X} 50: 0002 {code:02X}"), "");
        world.cut(subscriber);
        let (subscriber, was_there) = world.back(V5, "s");
        assert!(was_there);
        world.silent(subscriber);
        world.lives(subscriber);
    }
}

/// [MQTT5-4.3.3-9]
#[test]
fn an_identifier_of_qos_2_that_was_refused_means_a_new_message() {
    let (mut world, subscriber, publisher) = pair(V5);
    world.asks(publisher, "34: '$SYS/x' 0007 {} =a", "50: 0007 87");
    world.asks(publisher, "34: 't' 0007 {} =b", "50: 0007");
    world.hears(subscriber, "34: 't' 0001 {} =b");
}

/// [MQTT5-4.3.3-7], [MQTT5-4.3.3-13]
#[test]
fn what_was_sent_once_does_not_expire() {
    let (mut world, subscriber, publisher) = pair(V5);
    let text = "34: 't' 0001 {02 00000005} =a 34: 't' 0002 {02 00000005} =b";
    world.asks(publisher, text, "50: 0001 50: 0002");
    world.hears(subscriber, text);
    world.asks(subscriber, "50: 0001", "62: 0001");
    world.cut(subscriber);
    world.pass(6);
    let (subscriber, _) = world.back(V5, "s");
    world.hears(subscriber, "62: 0001 3C: 't' 0002 {02 00000000} =b");
    world.asks(subscriber, "70: 0001 50: 0002", "62: 0002");
    world.asks(subscriber, "70: 0002", "");
    // As receiver, likewise
    world.asks(publisher, "62: 0001 62: 0002", "70: 0001 70: 0002");
}

/// An answer that nobody waits for is no reason to close.
#[test]
fn answers_to_nothing_are_survived() {
    both(|version| {
        let (mut world, subscriber, _) = pair(version);
        world.asks(subscriber, "40: 0001", "");
        world.asks(subscriber, "50: 0001", "62: 0001 [92]");
        world.asks(subscriber, "62: 0001", "70: 0001 [92]");
        world.asks(subscriber, "70: 0001", "");
        world.asks(subscriber, "70: 0001 [92]", "");
        world.asks(subscriber, "62: 0001 [92]", "70: 0001 [92]");
        world.lives(subscriber);
    });
}

/// The answer of the other QoS is a protocol error in 5.0; 3.1.1 does not say, and it is ignored.
#[test]
fn the_answer_of_the_other_qos_is_none() {
    for (publish, answer) in [("32", "50"), ("34", "40")] {
        both(|version| {
            let (mut world, subscriber, publisher) = pair(version);
            world.send(publisher, &format!("{publish}: 't' 0001 {{}} =a"));
            world.hears(subscriber, &format!("{publish}: 't' 0001 {{}} =a"));
            world.send(subscriber, &format!("{answer}: 0001"));
            if version == V5 {
                world.closes(subscriber, 0x82);
            } else {
                world.lives(subscriber);
            }
        });
    }
}
