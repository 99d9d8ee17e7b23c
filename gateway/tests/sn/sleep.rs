//! Sleeping clients on a bad radio.

use crate::farm::{A, A2, B, Farm, Q1};

fn sleeper(clean: bool) -> Farm {
    let mut farm = Farm::new();
    let flags = if clean { "04" } else { "00" };
    farm.play(
        A,
        &format!(
            "> 0A 04 {flags} 01 00 3C 'dev1'
             < 03 05 00
             > 08 12 20 00 0A 'a/x'
             < 08 13 20 00 01 00 0A 00
             > 04 18 00 3C
             < 02 18"
        ),
    );
    farm
}

#[test]
fn a_hundred_messages_come_in_order_and_pingresp_comes_last() {
    let mut farm = sleeper(true);
    for n in 0..100 {
        farm.publish("a/x", &format!("{n:03}"), Q1);
    }
    assert!(farm.received(A).is_empty());
    let mut script = "> 06 16 'dev1'\n".to_owned();
    for n in 0..100 {
        script += &format!("< 0A 0C 20 00 01 {{m{n} '{n:03}'\n> 07 0D 00 01 {{m{n} 00\n");
    }
    farm.play(A, &(script + "< 02 17"));
}

#[test]
fn what_is_not_acknowledged_in_a_visit_is_first_in_the_next() {
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    farm.publish("a/x", "2", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'");
    for _ in 0..3 {
        farm.pass(4_500);
        farm.play(A, "< 08 0C A0 00 01 {m} '1'");
    }
    farm.pass(20_000);
    farm.play(A, "");
    assert_eq!(farm.gateway.usage().asleep, 1);
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C A0 00 01 {m} '1'
         > 06 16 'dev1'             -- our message was lost once more
         < 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00
         < 02 17",
    );
}

#[test]
fn a_sleeper_that_does_not_return_is_lost_and_not_disturbed() {
    let mut farm = sleeper(false);
    farm.pass(89_000);
    assert_eq!(farm.gateway.usage().asleep, 1);
    farm.pass(2_000);
    assert_eq!(farm.gateway.usage().asleep, 0);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 02 18");
    // Its session is still there.
    farm.play(
        A,
        "> 0A 04 00 01 00 3C 'dev1'
         < 03 05 00
         < 09 0A 00 01 {r} 'a/x'
         > 07 0B 00 01 {r} 00
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00",
    );
}

#[test]
fn a_sleeper_may_come_from_another_port_and_not_from_another_host() {
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    farm.play(B, "> 06 16 'dev1'\n< 02 18");
    farm.play(
        A2,
        "> 06 16 'dev1'
         < 08 0C 20 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 02 17",
    );
    farm.play(A, "> 06 16 'dev1'\n< 02 17");
}

#[test]
fn a_message_that_comes_during_a_visit_is_part_of_it() {
    let mut farm = sleeper(true);
    farm.publish("a/x", "1", Q1);
    farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 01 {m} '1'");
    farm.publish("a/x", "2", Q1);
    let id = farm.gateway.usage().awake;
    assert_eq!(id, 1);
    // The MsgId is not known to this script any more: the client asks again.
    farm.play(
        A,
        "> 06 16 'dev1'
         < 08 0C A0 00 01 {m} '1'
         > 07 0D 00 01 {m} 00
         < 08 0C 20 00 01 {n} '2'
         > 07 0D 00 01 {n} 00
         < 02 17",
    );
}
