//! On a bad radio: every single datagram lost, doubled or late, every pair lost, and 30 % of all of
//! them, with copies and disorder (N1, N2, N4, N5, N7 of the reliability targets).

use broker_core::api::{LinkId, QoS};

use crate::farm::{A, Farm, Q0, Q1, Q2};
use crate::radio::device::{Device, Goal};
use crate::radio::{Air, DELAY_MS, Way, Weather, fine, play, random};

fn service(topic: &'static str, payload: &str, qos: QoS) -> Goal {
    Goal::Service(topic, payload.to_owned(), qos)
}

fn publish(topic: &'static str, payload: &str, qos: QoS) -> Goal {
    Goal::Publish(topic, payload.to_owned(), qos)
}

/// A life with every request and every message that there is.
fn life() -> Vec<Goal> {
    vec![
        Goal::ConnectWithWill,
        Goal::Register("a/up"),
        publish("a/up", "1", Q1),
        publish("a/up", "2", Q2),
        Goal::Subscribe("a/x", Q2),
        Goal::Subscribe("b/#", Q2),
        Goal::SubscribeShort(*b"xy"),
        Goal::SubscribePredefined(5),
        service("a/x", "3", Q1),
        service("a/x", "4", Q2),
        service("b/1", "5", Q1),
        service("b/2", "6", Q2),
        service("xy", "7", Q1),
        service("a/predefined", "8", Q2),
        Goal::Hear(6),
        Goal::ChangeWillTopic,
        Goal::ChangeWillMessage,
        Goal::Ping,
        Goal::Sleep(300),
        service("a/x", "9", Q1),
        service("b/3", "10", Q2),
        Goal::Visit,
        service("b/4", "11", Q1),
        Goal::Visit,
        Goal::Connect,
        service("a/x", "12", Q1),
        Goal::Hear(10),
        Goal::Unsubscribe("a/x"),
        Goal::Disconnect,
    ]
}

/// What must be true when a device has lived that life.
#[track_caller]
fn check(air: &Air, came: &[String], reconnects_max: u32, fault: &str) {
    let device = &air.devices[0];
    let mut expected = vec!["a/up 1 q1", "a/up 2 q2"];
    let mut up: Vec<&str> = Vec::new();
    for text in came {
        // At least once: a copy that the network made of QoS 1 may come any time.
        if !up.contains(&text.as_str()) {
            up.push(text);
        }
    }
    assert_eq!(up, expected, "{fault}: what the device published\n{}", air.trace());
    let twice = came.iter().filter(|text| text.ends_with("q2")).count();
    assert_eq!(twice, 1, "{fault}: QoS 2 exactly once\n{}", air.trace());

    expected = vec![
        "a/x 3",
        "a/x 4",
        "b/1 5",
        "b/2 6",
        "xy 7",
        "a/predefined 8",
        "a/x 9",
        "b/3 10",
        "b/4 11",
        "a/x 12",
    ];
    let mut first: Vec<String> = Vec::new();
    for (topic, payload, qos) in &device.heard {
        let text = format!("{topic} {payload}");
        let is_known = first.contains(&text);
        assert!(!(is_known && *qos == 2), "{fault}: QoS 2 exactly once\n{}", air.trace());
        if !is_known {
            first.push(text);
        }
    }
    assert_eq!(first, expected, "{fault}: all, in order\n{}", air.trace());
    let is_steady = device.reconnects <= reconnects_max;
    assert!(is_steady, "{fault}: no connection was lost\n{}", air.trace());
}

#[track_caller]
fn live(weather: Weather, fault: &str) -> usize {
    let (mut air, wills) = live_through(weather, 0, fault);
    let usage = air.farm.gateway.usage();
    let connected = usage.active + usage.asleep + usage.awake;
    assert_eq!((connected, usage.gone), (0, 1), "{fault}: it has left");
    air.farm.pass(1_000_000);
    assert!(air.farm.heard(wills).is_empty(), "{fault}: and has no will published");
    assert_eq!(air.farm.gateway.usage().handshakes, 0);
    air.sent()
}

#[track_caller]
fn live_through(weather: Weather, reconnects_max: u32, fault: &str) -> (Air, LinkId) {
    let mut farm = Farm::new();
    let watcher = farm.watch("a/up");
    let wills = farm.watch("w/#");
    let device = Device::new("dev1", A, &life());
    let mut air = Air::new(farm, vec![device], weather);
    air.run(3_000);
    air.calm_down();
    let came = air.farm.heard(watcher);
    check(&air, &came, reconnects_max, fault);
    (air, wills)
}

/// The one datagram with this number is treated like that.
fn fault_at(number: usize, arrivals: Vec<u64>) -> Weather {
    Box::new(move |_, n, _| if n == number { arrivals.clone() } else { vec![DELAY_MS] })
}

#[test]
fn a_life_without_a_fault() {
    assert!(live(fine(), "nothing") > 70);
}

/// SN-060, SN-089: CONNECT, WILLTOPICREQ, …, every one of them, up and down.
#[test]
fn every_datagram_may_be_lost() {
    for number in 0..live(fine(), "nothing") {
        live(fault_at(number, vec![]), &format!("datagram {number} lost"));
    }
}

#[test]
fn every_datagram_may_come_twice() {
    for number in 0..live(fine(), "nothing") {
        live(fault_at(number, vec![DELAY_MS, DELAY_MS]), &format!("datagram {number} doubled"));
        let late = vec![DELAY_MS, 20 * DELAY_MS];
        // A copy of CONNECT or DISCONNECT(duration) that comes when the client has gone on is one
        // for the gateway: it connects, or sleeps, once more. The next word of the client mends it.
        live_through(fault_at(number, late), 1, &format!("a late copy of datagram {number}"));
    }
}

#[test]
fn every_datagram_may_be_overtaken() {
    for number in 0..live(fine(), "nothing") {
        for delay in [DELAY_MS + 1, 3 * DELAY_MS + 1, 20 * DELAY_MS] {
            let fault = format!("datagram {number} after {delay} ms");
            live(fault_at(number, vec![delay]), &fault);
        }
    }
}

#[test]
fn every_two_datagrams_may_be_lost() {
    let count = live(fine(), "nothing");
    for first in 0..count {
        for second in first + 1..count {
            let weather: Weather =
                Box::new(
                    move |_, n, _| {
                        if n == first || n == second { vec![] } else { vec![DELAY_MS] }
                    },
                );
            live(weather, &format!("datagrams {first} and {second} lost"));
        }
    }
}

/// A subscriber that sleeps while a hundred messages come, and then visits until it has them.
fn sleeper(qos_of: fn(usize) -> QoS) -> Vec<Goal> {
    let mut goals = vec![
        Goal::Connect,
        Goal::Subscribe("a/x", Q2),
        Goal::Subscribe("b/#", Q2),
        Goal::Sleep(600),
    ];
    for n in 0..100 {
        let topic = if n % 10 == 9 { ["b/1", "b/2", "b/3"][n / 10 % 3] } else { "a/x" };
        goals.push(service(topic, &format!("{n:03}"), qos_of(n)));
    }
    goals.push(Goal::Collect(100));
    goals
}

/// All hundred, in order, none of QoS 2 twice, PINGRESP last.
#[track_caller]
fn check_sleeper(air: &Air, what: &str) {
    let device = &air.devices[0];
    let mut expected = 0;
    for (_, payload, qos) in &device.heard {
        let n: usize = payload.parse().expect("a number");
        assert!(n <= expected, "{what}: {n} came before {expected}\n{}", air.trace());
        assert!(n == expected || *qos == 1, "{what}: {n} of QoS {qos} came twice");
        expected = expected.max(n + 1);
    }
    assert_eq!(expected, 100, "{what}: all of them came\n{}", air.trace());
    assert!(device.visits.ends_with('R'), "{what}: {}", device.visits);
    assert_eq!(air.farm.broker.stats().dropped(), 0, "{what}");
}

const MIXED: fn(usize) -> QoS = |n| if n % 3 == 2 { Q2 } else { Q1 };

/// SN-095, SN-096, N5: every n-th datagram lost, up, down, or both.
#[test]
fn a_sleeper_gets_everything_with_every_nth_datagram_lost() {
    for nth in 2..=10 {
        for ways in [&[Way::Up][..], &[Way::Down], &[Way::Up, Way::Down]] {
            let weather: Weather = Box::new(move |way, _, n| {
                let is_lost = ways.contains(&way) && n % nth == nth - 1;
                if is_lost { vec![] } else { vec![DELAY_MS] }
            });
            let what = format!("every {nth}th lost {ways:?}");
            let air = play(&sleeper(MIXED), weather);
            check_sleeper(&air, &what);
            let visits = &air.devices[0].visits;
            assert_eq!(visits.matches('R').count(), 1, "{what}: in one visit, {visits}");
        }
    }
}

/// N1, N2, N5
#[test]
fn a_sleeper_gets_everything_on_a_bad_radio() {
    for seed in 0..200 {
        let air = play(&sleeper(MIXED), random(seed, 0.3, 0.1, 0.2));
        check_sleeper(&air, &format!("seed {seed}"));
    }
}

/// N4: an active subscriber. It says that it is there now and then, and still loses nothing once it
/// has shown that it answers what we send.
#[test]
fn a_subscriber_gets_everything_on_a_bad_radio() {
    for seed in 0..100 {
        let mut goals = vec![Goal::Connect, Goal::Subscribe("a/x", Q2), Goal::Subscribe("b/#", Q2)];
        for n in 0..100 {
            let topic = if n % 10 == 0 { "b/1" } else { "a/x" };
            goals.push(service(topic, &format!("{n:03}"), MIXED(n)));
        }
        goals.push(Goal::Hear(100));
        let mut bad = random(seed, 0.3, 0.1, 0.2);
        let weather: Weather = Box::new(move |way, n, n_of_way| match n {
            0..20 => vec![DELAY_MS],
            20.. => bad(way, n, n_of_way),
        });
        let air = play(&goals, weather);
        let mut expected = 0;
        for (_, payload, qos) in &air.devices[0].heard {
            let n: usize = payload.parse().expect("a number");
            assert!(n <= expected && (n == expected || *qos == 1), "seed {seed}: {n}, {qos}");
            expected = expected.max(n + 1);
        }
        let stats = air.farm.broker.stats();
        assert_eq!(stats.dropped(), 0, "seed {seed}: {stats:?}\n{}", air.trace());
    }
}

/// N1, N2, N7: a publisher. QoS 1 at least once, QoS 2 exactly once, each in order.
#[test]
fn a_publisher_is_heard_on_a_bad_radio() {
    for seed in 0..100 {
        let mut goals = vec![Goal::Connect, Goal::Register("a/up")];
        goals.extend((0..60).map(|n| publish("a/up", &format!("{n:03}"), MIXED(n))));
        goals.push(publish("a/up", "end", Q0));
        let mut farm = Farm::new();
        let watcher = farm.watch("a/up");
        let device = Device::new("dev1", A, &goals);
        let mut air = Air::new(farm, vec![device], random(seed, 0.3, 0.1, 0.2));
        air.run(100_000);
        air.calm_down();
        let heard = air.farm.heard(watcher);
        for n in 0..60 {
            let text = format!("a/up {n:03} q{}", MIXED(n) as u8);
            let count = heard.iter().filter(|came| **came == text).count();
            let fits = if MIXED(n) == Q2 { count == 1 } else { count >= 1 };
            assert!(fits, "seed {seed}: {text} came {count} times\n{}", air.trace());
        }
        for qos in ["q1", "q2"] {
            let mut numbers: Vec<&String> =
                heard.iter().filter(|came| came.ends_with(qos)).collect();
            let mut seen = std::collections::BTreeSet::new();
            numbers.retain(|came| seen.insert(came.as_str()));
            assert!(numbers.is_sorted(), "seed {seed}: the first copies are in order");
        }
    }
}

/// Many at once do not get into each other's way.
#[test]
fn many_devices_live_on_one_bad_radio() {
    const IDS: [&str; 8] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"];
    for seed in 0..10 {
        let devices: Vec<Device> = IDS
            .iter()
            .enumerate()
            .map(|(n, id)| {
                let goals = vec![
                    Goal::ConnectWithWill,
                    Goal::Register("a/up"),
                    publish("a/up", id, Q2),
                    Goal::Subscribe("a/x", Q1),
                    publish("a/up", id, Q1),
                    Goal::Sleep(600),
                    Goal::Visit,
                    Goal::Connect,
                    Goal::Disconnect,
                ];
                Device::new(id, &format!("192.0.2.1:{}", 3_000 + n), &goals)
            })
            .collect();
        let mut farm = Farm::new();
        let watcher = farm.watch("a/up");
        let mut air = Air::new(farm, devices, random(seed, 0.2, 0.1, 0.2));
        air.run(100_000);
        air.calm_down();
        let heard = air.farm.heard(watcher);
        for id in IDS {
            let exactly = heard.iter().filter(|text| **text == format!("a/up {id} q2")).count();
            assert_eq!(exactly, 1, "seed {seed}, {id}");
        }
        // A copy of a CONNECT that comes behind DISCONNECT is one for the gateway.
        air.farm.pass(1_000_000);
        assert_eq!(air.farm.gateway.usage().gone, IDS.len());
    }
}
