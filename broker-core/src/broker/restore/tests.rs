//! Whatever happens, the records are what the broker has in memory, and what comes back is that.

mod describe;
mod world;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use describe::describe;
use world::{World, replay, restore};

proptest! {
    /// After every operation, and across crashes, three things agree: the records that the journals
    /// add up to, the records of what is in memory, and what comes back from them.
    #[test]
    fn what_comes_back_is_what_was_there(
        has_opening in any::<bool>(),
        ops in prop::collection::vec(world::op(), 1..60),
    ) {
        let mut world = World::default();
        for op in world::opening().iter().filter(|_| has_opening) {
            world.apply(op);
        }
        for op in ops {
            world.apply(&op);
            world.check_records();
            world.check_restore(true);
        }
    }

    /// Octets that were damaged, and records that are missing, are refused or dropped; the broker
    /// goes on.
    #[test]
    fn damaged_records_do_no_harm(
        ops in prop::collection::vec(world::op(), 1..60),
        damages in prop::collection::vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..8),
    ) {
        let mut world = World::default();
        for op in &ops {
            world.apply(op);
        }
        if world.kept.is_empty() {
            return Ok(());
        }
        for (record, octet, by) in &damages {
            let kept = &mut world.kept;
            let key = *kept.keys().nth(record.index(kept.len())).expect("there is one");
            let mut value = kept.remove(&key).expect("taken from there");
            match by % 8 {
                0 if !kept.is_empty() => continue,
                1 => value.truncate(octet.index(value.len() + 1)),
                2 => value.push(*by),
                _ if value.is_empty() => {}
                _ => {
                    let at = octet.index(value.len());
                    value[at] ^= by;
                }
            }
            kept.insert(key, value);
        }
        let (broker, _) = restore(&world.kept, world.now(), false);
        world.go_on_with(broker);
        for op in &ops {
            world.apply(op);
            world.check_restore(false);
        }
    }
}

proptest! {
    /// Records that were all written, but not what was there at one moment, as a salvage finds
    /// them: the broker goes on with them.
    #[test]
    fn records_of_different_moments_do_no_harm(
        ops in prop::collection::vec(world::op(), 1..60),
        chances in prop::collection::vec(0..4_u8, 64),
    ) {
        let mut world = World::default();
        let mut mixed = world::Kept::new();
        for op in world::opening().iter().chain(&ops) {
            world.apply(op);
            for (place, (key, value)) in world.kept.iter().enumerate() {
                // One of four is from the last moment that had it, others are older.
                if chances[place % chances.len()] == 0 || !mixed.contains_key(key) {
                    mixed.insert(*key, value.clone());
                }
            }
        }
        let (broker, _) = restore(&mixed, world.now(), false);
        world.kept = mixed;
        world.go_on_with(broker);
        for op in &ops {
            world.apply(op);
            world.check_restore(false);
        }
        for _ in 0..4 {
            world.apply(&world::Op::Pass { millis: 40_000 });
        }
    }
}

#[test]
fn a_will_that_waits_for_a_session_that_has_not_lost_its_link_waits_once() {
    let mut world = World::default();
    let connect = |clean, expiry, will| world::Op::Connect {
        client: 0,
        dialect: 2,
        clean,
        expiry,
        will,
        window: 1,
    };
    world.apply(&connect(false, 2, 3));
    let connected = world.kept.clone();
    world.apply(&world::Op::Lose { client: 0 });
    let is_will = |key: &u64| RecordKey(*key).table() == Table::Will as u8;
    let mut mixed = world.kept.clone();
    mixed.retain(|key, _| is_will(key));
    mixed.extend(connected.into_iter().filter(|(key, _)| !is_will(key)));
    let (broker, report) = restore(&mixed, world.now(), false);
    assert_eq!((report.sessions, report.wills), (1, 1));
    world.kept = mixed;
    world.go_on_with(broker);
    world.apply(&connect(true, 0, 0));
    world.apply(&world::Op::Lose { client: 0 });
    world.apply(&world::Op::Pass { millis: 40_000 });
    assert_eq!(world.broker.stats().wills_published, 1, "as its session ended");
}

#[test]
fn a_snapshot_in_slices_behind_the_journal_is_what_is_kept() {
    let mut world = World::default();
    let ops = world::sample();
    let (first, rest) = ops.split_at(ops.len() / 2);
    for op in first {
        world.apply(op);
    }
    let mut copy = std::collections::BTreeMap::new();
    let mut cursor = crate::SnapshotCursor::default();
    let mut octets = Vec::new();
    let mut rest = rest.iter();
    while world.broker.snapshot(world.now(), &mut cursor, 3, &mut octets) {
        replay(&octets, &mut copy);
        octets.clear();
        if let Some(op) = rest.next() {
            replay(&world.apply(op), &mut copy);
        }
    }
    rest.for_each(|op| replay(&world.apply(op), &mut copy));
    let (copied, report) = restore(&copy, world.now(), true);
    let (kept, _) = restore(&world.kept, world.now(), true);
    assert!(report.deliveries > 0 && report.retained > 0 && report.dangling == 0, "{report:?}");
    assert_eq!(describe(&copied), describe(&kept));
}

#[test]
fn records_of_another_version_are_refused() {
    let mut world = World::default();
    for op in world::sample() {
        world.apply(&op);
    }
    let now = world.now();
    let mut broker = World::default().broker;
    for (number, value) in &world.kept {
        let key = RecordKey(*number);
        let mut value = value.clone();
        value[0] = 2;
        assert_eq!(broker.restore(now, key, &value), Err(RestoreError::UnknownFormat(key, 2)));
    }
    let key = RecordKey::new(77, 1);
    assert_eq!(broker.restore(now, key, &[1]), Err(RestoreError::UnknownTable(key)));
    assert_eq!(broker.finish_restore(now, false), RestoreReport::default());
}

/// It stands for what is not kept: such a record would never be deleted.
#[test]
fn the_number_0_is_given_to_messages_only() {
    let mut world = World::default();
    for op in world::sample() {
        world.apply(&op);
    }
    let now = world.now();
    let mut broker = World::default().broker;
    let mut refused = 0;
    for (number, value) in &world.kept {
        let table = Table::from_u8(RecordKey(*number).table()).expect("a table of ours");
        let key = RecordKey::new(table as u8, 0);
        let is_counted =
            matches!(table, Table::Subscription | Table::Delivery | Table::Replay | Table::Will);
        if is_counted {
            assert_eq!(broker.restore(now, key, value), Err(RestoreError::Malformed(key)));
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused} of them");
}

#[test]
fn records_come_in_the_order_of_tables() {
    let mut broker = World::default().broker;
    let retained = RecordKey::new(Table::Retained as u8, 0);
    let session = RecordKey::new(Table::Session as u8, 0);
    assert_eq!(broker.restore(Now::default(), retained, &[FORMAT]), Ok(()));
    let refused = broker.restore(Now::default(), session, &[FORMAT]);
    assert_eq!(refused, Err(RestoreError::OutOfOrder(session)));
    assert_eq!(broker.finish_restore(Now::default(), false).dangling, 1);
}
