//! `$SYS`.

use core::time::Duration;

use broker_core::limits::{BrokerConfig, Limits};

use crate::bench::{Bench, CLEAN, PERSISTENT, Q0, Q1, config};

fn bench() -> Bench {
    Bench::with(BrokerConfig { sys_interval: Some(Duration::from_secs(10)), ..config() })
}

fn values(bench: &mut Bench, filter: &str) -> Vec<String> {
    let link = bench.join("reader", &CLEAN);
    bench.subscribe(link, filter, Q0);
    let heard = bench.hear(link);
    bench.disconnect(link);
    heard[1..].to_vec()
}

#[test]
fn a_subscriber_gets_every_value_from_the_beginning() {
    let mut bench = bench();
    bench.turn();
    let heard = values(&mut bench, "$SYS/#");
    for expected in [
        "version test",
        "uptime 0 seconds",
        "clients/connected 0",
        "retained messages/count 0",
        "load/bytes/sent/15min 0.00",
        "limits/sessions/max 100000",
    ] {
        let expected = format!("$SYS/broker/{expected} q0 retain");
        let found = heard.iter().filter(|text| **text == expected).count();
        assert_eq!(found, 1, "{expected} in {heard:#?}");
    }
}

#[test]
fn values_follow_what_happens() {
    let mut bench = bench();
    let absent = bench.join("absent", &PERSISTENT);
    bench.subscribe(absent, "t", Q1);
    bench.disconnect(absent);
    let publisher = bench.join("p", &CLEAN);
    bench.publish(publisher, "t", "hi", Q1);
    bench.pass(10_010);
    for (name, value) in [
        ("clients/total", "2"),
        ("clients/connected", "1"),
        ("clients/disconnected", "1"),
        ("subscriptions/count", "1"),
        ("publish/messages/received", "1"),
        ("publish/bytes/received", "2"),
        ("messages/queued", "1"),
        ("limits/sessions/used", "2"),
        ("uptime", "10 seconds"),
    ] {
        let name = format!("$SYS/broker/{name}");
        assert_eq!(values(&mut bench, &name), [format!("{name} {value} q0 retain")]);
    }
}

#[test]
fn a_value_that_has_not_changed_is_not_published_again() {
    let mut bench = bench();
    let link = bench.join("c", &CLEAN);
    bench.subscribe(link, "$SYS/broker/version", Q0);
    bench.hear(link);
    bench.pass(60_000);
    bench.expect(link, &[]);
}

#[test]
fn the_values_do_not_use_up_what_clients_may_retain() {
    let limits = Limits { retained_messages_max: 1, ..Limits::default() };
    let mut bench = Bench::with(BrokerConfig {
        limits,
        sys_interval: Some(Duration::from_secs(10)),
        ..config()
    });
    bench.turn();
    let client = bench.join("c", &CLEAN);
    bench.publish_as(client, "t", "x", Q0, true, 0);
    assert_eq!(bench.broker.stats().retain_refused, 0);
    bench.pass(10_010);
    let name = "$SYS/broker/limits/retained_messages/used";
    assert_eq!(values(&mut bench, name), [format!("{name} 1 q0 retain")]);
}

#[test]
fn dropped_messages_are_told_per_client_until_its_session_ends() {
    let mut bench = bench();
    let queue = broker_core::api::QueueLimits { messages_max: 1, ..crate::bench::QUEUE };
    let how = crate::bench::How { queue, ..PERSISTENT };
    let absent = bench.join("a/b", &how);
    bench.subscribe(absent, "t", Q1);
    bench.disconnect(absent);
    let publisher = bench.join("p", &CLEAN);
    for _ in 0..4 {
        bench.publish(publisher, "t", "x", Q1);
    }
    bench.pass(10_010);
    let told = "$SYS/broker/clients/dropped/a%2Fb 3 q0 retain";
    assert_eq!(values(&mut bench, "$SYS/broker/clients/dropped/+"), [told]);
    bench.join("a/b", &CLEAN);
    assert!(values(&mut bench, "$SYS/broker/clients/dropped/+").is_empty());
}
