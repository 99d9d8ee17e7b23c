//! Shared subscriptions of 5.0.

use crate::octets::{V5, body, packets, properties};
use crate::world::{Link, World};

fn member(world: &mut World, name: &str, qos: u8) -> Link {
    let link = world.stays(V5, name);
    world.subscribe(link, "$share/g/t", qos);
    link
}

/// [MQTT5-4.8.2-3]
#[test]
fn one_member_gets_a_message_with_the_qos_that_it_was_granted() {
    let mut world = World::new();
    let members = [("a", 0), ("b", 1), ("c", 2)].map(|(name, qos)| member(&mut world, name, qos));
    let plain = world.clean(V5, "plain");
    world.subscribe(plain, "t", 0);
    let publisher = world.clean(V5, "p");
    world.send(publisher, "34: 't' 0001 {} =1 34: 't' 0002 {} =2 34: 't' 0003 {} =3");
    let mut heard = members.map(|link| world.take(link));
    heard.sort_by_key(|said| said[0]);
    for ((said, first), id) in heard.iter().zip([0x30, 0x32, 0x34]).zip([false, true, true]) {
        assert_eq!(said[0], first);
        assert_eq!(said.len(), if id { 9 } else { 7 });
    }
    world.hears(plain, "30: 't' {} =1 30: 't' {} =2 30: 't' {} =3");
}

/// [MQTT5-4.8.2-1], [MQTT5-4.8.2-2], [MQTT5-3.8.3-4]
#[test]
fn a_share_has_a_name_and_a_filter() {
    for (request, reason) in [
        ("'$share/g' 00", 0x8F),
        ("'$share//t' 00", 0x8F),
        ("'$share/g/' 00", 0x8F),
        ("'$share/' 00", 0x8F),
        ("'$share/g+/t' 00", 0x8F),
        ("'$share/g#/t' 00", 0x8F),
        ("'$share/+/t' 00", 0x8F),
        ("'$share/g/t' 04", 0x82),
    ] {
        let mut world = World::new();
        let link = world.clean(V5, "c");
        world.send(link, &format!("82: 0001 {{}} {request}"));
        world.closes(link, reason);
    }
    let mut world = World::new();
    let link = world.clean(V5, "c");
    for filter in ["$share/g//", "$share/g/#", "$share/$g/+/t", "$share", "$SHARE/g", "$shared/t"] {
        world.subscribe(link, filter, 0x00);
    }
    // Without a share name it is a plain filter, to which nobody publishes.
    world.asks(link, "30: 'x/t' {} =x", "30: 'x/t' {} =x 30: 'x/t' {} =x");
}

/// No retained messages for a group.
#[test]
fn a_group_is_sent_no_retained_messages() {
    let mut world = World::new();
    let publisher = world.clean(V5, "p");
    world.send(publisher, "31: 't' {} =x");
    let link = member(&mut world, "a", 1);
    world.silent(link);
}

/// [MQTT5-4.8.2-4]
#[test]
fn a_message_of_qos_2_that_was_begun_is_completed_with_the_member_it_was_begun_with() {
    let mut world = World::new();
    let first = member(&mut world, "a", 2);
    let publisher = world.clean(V5, "p");
    world.send(publisher, "34: 't' 0001 {} =x 32: 't' 0002 {} =y");
    world.hears(first, "34: 't' 0001 {} =x 32: 't' 0002 {} =y");
    let second = member(&mut world, "b", 2);
    world.cut(first);
    // QoS 1 may go to another one, and it is better off there.
    world.hears(second, "32: 't' 0001 {} =y");
    let (first, _) = world.back(V5, "a");
    world.hears(first, "3C: 't' 0001 {} =x");
    world.asks(first, "50: 0001", "62: 0001");
}

/// [MQTT5-4.8.2-5]
#[test]
fn a_message_of_qos_2_that_was_begun_goes_to_nobody_else_when_its_session_ends() {
    let mut world = World::new();
    let first = member(&mut world, "a", 2);
    let publisher = world.clean(V5, "p");
    world.send(publisher, "34: 't' 0001 {} =x");
    world.hears(first, "34: 't' 0001 {} =x");
    let second = member(&mut world, "b", 2);
    world.cut(first);
    world.pass(3_601);
    world.silent(second);
    assert!(!world.back(V5, "a").1);
}

/// [MQTT5-4.8.2-6]
#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    for (first, answer) in [("32", "40: 0001 83"), ("34", "50: 0001 97")] {
        let mut world = World::new();
        let one = member(&mut world, "a", 2);
        let publisher = world.clean(V5, "p");
        world.send(publisher, &format!("{first}: 't' 0001 {{}} =x"));
        world.hears(one, &format!("{first}: 't' 0001 {{}} =x"));
        let two = member(&mut world, "b", 2);
        world.asks(one, answer, "");
        world.silent(two);
        world.cut(one);
        world.silent(two);
        let (one, _) = world.back(V5, "a");
        world.silent(one);
    }
}

/// [MQTT5-3.3.4-5]: a copy for each group and one for the session itself.
#[test]
fn each_copy_carries_the_identifiers_of_its_own_subscriptions() {
    let mut world = World::new();
    let link = world.clean(V5, "c");
    for (id, filter) in [("01", "t"), ("02", "$share/g/t"), ("03", "$share/h/+"), ("04", "#")] {
        world.asks(link, &format!("82: 0001 {{0B {id}}} '{filter}' 00"), "90: 0001 {} 00");
    }
    let publisher = world.clean(V5, "p");
    world.send(publisher, "30: 't' {} =x");
    let mut heard: Vec<_> = packets(&world.take(link))
        .iter()
        .map(|packet| {
            let (found, rest) = properties(&body(packet)[3..]);
            assert_eq!(rest, b"x");
            let mut ids: Vec<_> = found.iter().map(|(id, value)| (*id, value[0])).collect();
            ids.sort_unstable();
            ids
        })
        .collect();
    heard.sort();
    assert_eq!(heard, [vec![(0x0B, 1), (0x0B, 4)], vec![(0x0B, 2)], vec![(0x0B, 3)]]);
}
