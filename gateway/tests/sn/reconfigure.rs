//! Settings that change while sensors are connected, asleep, and in the middle of something.

use core::time::Duration;
use std::collections::BTreeMap;

use mqtt_sn_gw::sn::{Quirks, Retry, Settings};

use crate::farm::{A, A2, F, Farm, Q1, settings, topic};

const DEV1: &str = "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00";

impl Farm {
    /// Other settings, at once.
    fn set(&mut self, settings: Settings) {
        let now = self.now();
        assert!(self.gateway.set_settings(now, settings), "the predefined topics are taken");
        self.turn();
    }
}

fn predefined(topics: &[(u16, &str)]) -> Settings {
    let topics = topics.iter().map(|(id, name)| (*id, topic(name)));
    Settings { predefined: topics.collect(), ..settings() }
}

fn register(name: &str, id: u16, code: u8) -> String {
    let length = 6 + name.len();
    let [high, low] = id.to_be_bytes();
    format!(
        "> {length:02X} 0A 00 00 00 09 '{name}'\n< 07 0B {high:02X} {low:02X} 00 09 {code:02X}\n"
    )
}

/// SN-055, SN-105: ids that were given out stay; new names meet the new bound.
#[test]
fn fewer_topic_ids_take_none_away() {
    let mut farm = Farm::new();
    farm.play(A, DEV1);
    farm.play(A, &(register("a", 1, 0) + &register("b", 2, 0) + &register("c", 3, 0)));
    farm.set(Settings { topic_ids_max: 1, predefined: BTreeMap::new(), ..settings() });
    farm.play(A, &(register("c", 3, 0) + &register("d", 0, 1)));
    let watcher = farm.watch("#");
    farm.play(A, "> 08 0C 20 00 02 00 01 '1'\n< 07 0D 00 02 00 01 00");
    assert_eq!(farm.heard(watcher), ["b 1 q1"]);
    farm.set(Settings { predefined: BTreeMap::new(), ..settings() });
    farm.play(A, &register("d", 4, 0));
}

/// A repetition comes when it was to come; the next one, and how many there are, are as set by now.
#[test]
fn repetitions_follow_the_new_times_from_the_next_one_on() {
    let retry = |seconds: u64, times: u8| {
        let after = Duration::from_secs(seconds);
        Settings { retry: Retry { after, times }, ..settings() }
    };
    let mut farm = Farm::with(retry(10, 4));
    farm.play(A, DEV1);
    farm.play(A, "> 06 12 20 00 09 't'\n< 08 13 20 {t} 00 09 00");
    farm.publish("t", "1", Q1);
    assert_eq!(farm.take(A).len(), 1);
    farm.pass(1_000);
    farm.set(retry(2, 1));
    farm.pass(7_000);
    assert_eq!(farm.take(A).len(), 0, "the timer that runs is not set anew");
    farm.pass(4_000);
    assert_eq!(farm.take(A).len(), 1);
    farm.pass(20_000);
    assert_eq!(farm.take(A).len(), 0, "one repetition it is");
    // More tries than there are now repetitions: used up at once, nothing breaks.
    let mut farm = Farm::with(retry(1, 50));
    farm.play(A, DEV1);
    farm.play(A, "> 06 12 20 00 09 't'\n< 08 13 20 {t} 00 09 00");
    farm.publish("t", "1", Q1);
    farm.pass(20_000);
    assert!(farm.take(A).len() > 10);
    farm.set(retry(1, 1));
    farm.pass(20_000);
    assert_eq!(farm.take(A).len(), 0);
}

#[test]
fn advertising_begins_ends_and_changes_its_pace() {
    let advertise = |advertise_s| Settings { advertise_s, ..settings() };
    let mut farm = Farm::with(advertise(0));
    let count = |farm: &mut Farm, millis| {
        let before = farm.gateway.stats().advertised;
        farm.pass(millis);
        farm.gateway.check_invariants();
        farm.gateway.stats().advertised - before
    };
    assert_eq!(count(&mut farm, 100_000), 0);
    farm.set(advertise(10));
    assert_eq!(count(&mut farm, 35_000), 4, "one at once, to say when the next one comes");
    farm.set(advertise(10));
    assert_eq!(count(&mut farm, 10_000), 1, "the same again changes nothing");
    farm.set(advertise(100));
    assert_eq!(count(&mut farm, 150_000), 2);
    farm.set(advertise(0));
    assert_eq!(count(&mut farm, 1_000_000), 0);
}

/// SN-068: what an id meant to a sensor it means until its next CONNECT, awake or asleep, for
/// publishing, subscribing and deliveries.
#[test]
fn a_predefined_id_keeps_its_meaning_until_the_next_connect() {
    let mut farm = Farm::with(predefined(&[(5, "old"), (6, "six")]));
    farm.play(A, DEV1);
    farm.play(A, "> 07 12 21 00 09 00 05\n< 08 13 20 00 05 00 09 00");
    let watcher = farm.watch("#");
    farm.set(predefined(&[(5, "new"), (7, "added")]));
    farm.play(
        A,
        "> 08 0C 21 00 05 00 01 '1'
         < 07 0D 00 05 00 01 00
         < 08 0C 21 00 05 {r} '1'       -- it subscribed to the same
         > 07 0D 00 05 {r} 00
         > 08 0C 21 00 06 00 02 '2'     -- not in the file any more
         < 07 0D 00 06 00 02 00
         > 08 0C 21 00 07 00 03 '3'     -- new in the file
         < 07 0D 00 07 00 03 00",
    );
    assert_eq!(farm.heard(watcher), ["old 1 q1", "six 2 q1", "added 3 q1"]);
    farm.play(
        A,
        "> 04 18 00 3C
         < 02 18
         > 08 0C 21 00 05 00 04 '4'     -- from its sleep
         < 07 0D 00 05 00 04 00
         > 06 16 'dev1'
         < 08 0C 21 00 05 {s} '4'
         > 07 0D 00 05 {s} 00
         < 02 17",
    );
    farm.play(A, DEV1);
    farm.play(A, "> 08 0C 21 00 05 00 05 '5'\n< 07 0D 00 05 00 05 00");
    farm.play(A, "> 08 0C 21 00 06 00 06 '6'\n< 07 0D 00 06 00 06 02");
    assert_eq!(farm.heard(watcher), ["old 4 q1", "new 5 q1"]);
}

/// A device with the new table comes and has said nothing else since it came with the old one: that
/// is no repetition of its CONNECT.
#[test]
fn a_connect_after_the_change_is_another_one() {
    let mut farm = Farm::with(predefined(&[(5, "old")]));
    farm.play(A, DEV1);
    farm.set(predefined(&[(5, "new")]));
    farm.play(A, DEV1);
    let watcher = farm.watch("#");
    farm.play(A, "> 08 0C 21 00 05 00 01 '1'\n< 07 0D 00 05 00 01 00");
    assert_eq!(farm.heard(watcher), ["new 1 q1"]);
}

/// A client that is known by what it needs gets that with its next CONNECT.
#[test]
fn what_a_client_needs_counts_from_its_next_connect_on() {
    let quirks = |max_datagram| {
        let needs = Quirks { max_datagram, ..Quirks::default() };
        Settings { quirks: BTreeMap::from([("dev1".to_owned(), needs)]), ..settings() }
    };
    let mut farm = Farm::with(quirks(None));
    farm.play(A, DEV1);
    farm.play(A, "> 06 12 00 00 09 't'\n< 08 13 00 {t} 00 09 00");
    farm.set(quirks(Some(32)));
    farm.publish("t", &"x".repeat(100), Q1);
    assert_eq!(farm.take(A).len(), 1, "as before");
    farm.play(A, DEV1);
    farm.publish("t", &"x".repeat(100), Q1);
    assert_eq!(farm.take(A).len(), 0, "too large for it");
    farm.gateway.check_invariants();
}

/// Nodes of a forwarder that is not allowed any more are not heard; nothing else goes.
#[test]
fn a_forwarder_that_is_not_allowed_any_more_is_not_heard() {
    let mut farm = Farm::new();
    farm.play(A2, DEV1);
    // The envelope: length, FRWDENCAP, radius, node id; then the message.
    farm.play(F, "> 04 FE 01 07 0A 04 04 01 00 3C 'node'\n< 04 FE 00 07 03 05 00");
    let nobody = Settings { forwarders: Vec::new(), nodes_per_forwarder: 1, ..settings() };
    farm.set(nobody);
    farm.say(F, "04 FE 01 07 02 16");
    assert_eq!(farm.take(F).len(), 0);
    farm.play(A2, "> 02 16\n< 02 17");
    farm.gateway.check_invariants();
    farm.set(settings());
    farm.play(F, "> 04 FE 01 07 02 16\n< 04 FE 00 07 02 17");
}

/// Rates are counted on, under the new bound.
#[test]
fn rates_change_at_once() {
    let rate = |unknown_answers_per_source| Settings { unknown_answers_per_source, ..settings() };
    let mut farm = Farm::with(rate(3));
    let answers = |farm: &mut Farm| {
        (0..5).for_each(|_| farm.say(A, "02 16"));
        farm.take(A).len()
    };
    assert_eq!(answers(&mut farm), 3);
    farm.set(rate(5));
    assert_eq!(answers(&mut farm), 2);
    farm.set(rate(1));
    assert_eq!(answers(&mut farm), 0);
}
