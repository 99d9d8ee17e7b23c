//! How much may be under way: receive maximum in both directions.

use crate::octets::{V5, packets};
use crate::world::{Link, World};

/// A client that takes `t` and allows two unacknowledged messages, and one that publishes.
fn pair() -> (World, Link, Link) {
    let mut world = World::new();
    let (link, _) = world.connect(V5, "10: 'MQTT' 05 00 0000 {21 0002 11 00000E10} 'c'");
    world.subscribe(link, "t", 2);
    let publisher = world.clean(V5, "p");
    (world, link, publisher)
}

/// [MQTT5-3.3.4-9], [MQTT5-4.9.0-1], [MQTT5-4.9.0-2]
#[test]
fn a_client_is_sent_no_more_than_its_receive_maximum() {
    let (mut world, link, publisher) = pair();
    for id in 1..=6 {
        let first = if id % 2 == 0 { "34" } else { "32" };
        world.send(publisher, &format!("{first}: 't' {id:04X} {{}} ={id}"));
    }
    world.hears(link, "32: 't' 0001 {} =1 34: 't' 0002 {} =2");
    // Each of these gives one back: PUBACK, PUBCOMP, PUBREC with an error.
    world.asks(link, "40: 0001", "32: 't' 0003 {} =3");
    world.asks(link, "50: 0002", "62: 0002");
    world.asks(link, "70: 0002", "34: 't' 0004 {} =4");
    world.asks(link, "50: 0004 80", "32: 't' 0005 {} =5");
    world.asks(link, "40: 0003 83", "34: 't' 0006 {} =6");
    // And these do not.
    world.asks(link, "40: 0001 40: 0099 70: 0001 70: 0006", "");
    world.send(publisher, "32: 't' 0007 {} =7");
    world.silent(link);
}

/// [MQTT5-3.3.4-10], [MQTT5-4.9.0-3], [MQTT5-3.3.4-8]
#[test]
fn everything_else_goes_on_at_the_receive_maximum() {
    let (mut world, link, publisher) = pair();
    world.send(publisher, "32: 't' 0001 {} =1 32: 't' 0002 {} =2 32: 't' 0003 {} =3");
    world.take(link);
    world.asks(link, "C0:", "D0:");
    world.asks(link, "82: 0001 {} 'x' 01", "90: 0001 {} 01");
    world.asks(link, "A2: 0002 {} 'x'", "B0: 0002 {} 00");
    world.asks(link, "32: 'y' 0003 {} =x", "40: 0003 10");
    world.asks(link, "34: 'y' 0004 {} =x", "50: 0004 10");
    world.asks(link, "62: 0004", "70: 0004");
}

/// [MQTT5-4.9.0-1], [MQTT5-3.3.4-9]: the quota begins anew with each connection, and with what is
/// sent again.
#[test]
fn the_receive_maximum_of_a_new_connection_counts() {
    let (mut world, link, publisher) = pair();
    for id in 1..=4 {
        world.send(publisher, &format!("32: 't' {id:04X} {{}} ={id}"));
    }
    world.take(link);
    world.cut(link);
    let (link, _) = world.connect(V5, "10: 'MQTT' 05 00 0000 {21 0001 11 00000E10} 'c'");
    world.hears(link, "3A: 't' 0001 {} =1");
    world.asks(link, "40: 0001", "3A: 't' 0002 {} =2");
    world.asks(link, "40: 0002", "32: 't' 0003 {} =3");
    world.cut(link);
    let (link, _) = world.connect(V5, "10: 'MQTT' 05 00 0000 {11 00000E10} 'c'");
    world.hears(link, "3A: 't' 0003 {} =3 32: 't' 0004 {} =4");
}

/// [MQTT5-3.3.4-7]
#[test]
fn a_client_sends_no_more_than_our_receive_maximum() {
    let mut world = World::new();
    let (link, connack) = world.connect(V5, "10: 'MQTT' 05 02 0000 {} 'c'");
    let maximum = connack
        .property(0x21)
        .map_or(65_535, |value| u16::from_be_bytes(value.try_into().expect("two octets")));
    for id in 1..=maximum {
        world.send(link, &format!("34: 't' {id:04X} {{}} =x"));
    }
    assert_eq!(packets(&world.take(link)).len(), usize::from(maximum));
    // One is given back by its PUBCOMP.
    world.asks(link, "62: 0001", "70: 0001");
    world.asks(link, "34: 't' 0001 {} =x", "50: 0001 10");
    // Neither a repetition nor QoS 0 counts.
    world.asks(link, "3C: 't' 0002 {} =x 30: 't' {} =x", "50: 0002");
    world.send(link, "34: 't' FFFF {} =x");
    world.closes(link, 0x93);
}
/// [MQTT5-4.9.0-2], [MQTT5-4.3.3-10]: a repetition of a message of QoS 2 takes nothing, with or
/// without DUP.
#[test]
fn one_message_of_qos_2_counts_once_however_often_it_comes() {
    let mut world = World::new();
    let link = world.clean(V5, "c");
    for _ in 0..200 {
        world.send(link, "34: 't' 0001 {} =x");
    }
    world.take(link);
    world.lives(link);
}

/// [MQTT5-3.3.4-7]: DUP does not make room.
#[test]
fn dup_is_no_way_around_the_receive_maximum() {
    let mut world = World::new();
    let link = world.connect(V5, "10: 'MQTT' 05 02 0000 {17 00} 'c'").0;
    for id in 1..=101 {
        world.send(link, &format!("3C: 't' {id:04X} {{}} =x"));
    }
    let said = packets(&world.take(link));
    assert_eq!(said.last(), Some(&vec![0xE0, 0x01, 0x93]));
}

/// [MQTT5-4.9.0-2]: a PUBREL of nothing gives nothing back.
#[test]
fn a_pubrel_of_an_unknown_identifier_gives_nothing_back() {
    let mut world = World::new();
    let link = world.connect(V5, "10: 'MQTT' 05 02 0000 {17 00} 'c'").0;
    for id in 1..=101 {
        world.send(link, &format!("34: 't' {id:04X} {{}} =x 62: 7777"));
    }
    assert!(world.is_closed(link));
}
