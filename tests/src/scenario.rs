//! What every foreign MQTT client has to go through with a broker.
//!
//! Each scenario is written once and runs with each library, against the gateway and, to show
//! that the scenario itself is right, against Mosquitto. The other end is our own client, which
//! speaks raw octets.

pub mod v5;

use std::net::SocketAddr;

use crate::client::mqtt::MqttClient;
use crate::client::{Message, Will};
use crate::foreign::driver::{Driver, Library, Session, mosquitto_pub};

/// What a library does with the broker at an address.
pub type Scenario = fn(Library, SocketAddr);

/// A test for each scenario and library: `scenario_tests! { check, module: library, … }`, where
/// `check` is a `fn(Library, Scenario)` that chooses the broker.
#[macro_export]
macro_rules! scenario_tests {
    ($check:ident, $($module:ident: $library:expr,)*) => {$(
        mod $module {
            use super::*;
            use $crate::scenario;

            #[test]
            fn publishes_at_every_qos() {
                $check($library, scenario::publish);
            }

            #[test]
            fn subscribes_at_every_qos() {
                $check($library, scenario::subscribe);
            }

            #[test]
            fn keeps_and_clears_retained_messages() {
                $check($library, scenario::retained);
            }

            #[test]
            fn leaves_a_will_only_if_it_vanishes() {
                $check($library, scenario::will);
            }

            #[test]
            fn finds_its_session_again() {
                $check($library, scenario::kept_session);
            }
        }
    )*};
}

/// The same for the scenarios of MQTT 5.0 in [`v5`].
#[macro_export]
macro_rules! scenario_tests_of_5 {
    ($check:ident, $($module:ident: $library:expr,)*) => {$(
        mod $module {
            use super::*;
            use $crate::scenario::v5;

            #[test]
            fn says_and_hears_every_property() {
                $check($library, v5::properties);
            }

            #[test]
            fn subscribes_with_options() {
                $check($library, v5::options);
            }

            #[test]
            fn shares_a_subscription() {
                $check($library, v5::shared);
            }

            #[test]
            fn hears_a_delayed_will() {
                $check($library, v5::delayed_will);
            }
        }
    )*};
}

/// What the library publishes arrives at every QoS, and an empty payload and a large one too.
pub fn publish(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    let mut observer = MqttClient::connect(server, "observer");
    observer.subscribe("from/#", 2);
    foreign.connect(server, &Session::clean("foreign"));
    let large = "x".repeat(100_000);
    for qos in 0..=2 {
        for payload in ["", "hello", &large] {
            foreign.publish("from/foreign", payload, qos, false);
            observer.expect_message("from/foreign", payload, qos.unsigned_abs());
        }
    }
    foreign.tell("disconnect");
    foreign.expect("disconnected");
}

/// What others publish arrives at the library at the smaller of both QoS, until it unsubscribes.
pub fn subscribe(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    let mut publisher = MqttClient::connect(server, "publisher");
    foreign.connect(server, &Session::clean("foreign"));
    for granted in 0..=2 {
        let topic = format!("to/foreign/{granted}");
        foreign.subscribe(&topic, granted);
        for qos in 0..=2 {
            publisher.publish(&topic, "hello", qos);
            foreign.expect_message(&topic, "hello", qos.min(granted), false);
        }
    }
    foreign.subscribe("wild/+/card/#", 1);
    publisher.publish("wild/x/card/y/z", "tree", 1);
    foreign.expect_message("wild/x/card/y/z", "tree", 1, false);
    foreign.tell("unsubscribe wild/+/card/#");
    foreign.expect("unsubscribed");
    publisher.publish("wild/x/card/y/z", "not for you", 1);
    publisher.publish("to/foreign/0", "the next one", 0);
    foreign.expect_message("to/foreign/0", "the next one", 0, false);
}

/// Retained messages of every QoS are kept for later subscribers and removed by empty ones.
pub fn retained(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    foreign.connect(server, &Session::clean("foreign"));
    for qos in 0..=2 {
        foreign.publish(&format!("state/{qos}"), "on", qos, true);
    }
    let seen = |message: &Message| {
        assert!(message.retain, "{message}");
        (message.topic.clone(), message.text(), message.qos)
    };
    let mut expected: Vec<_> =
        (0..=2).map(|qos| (format!("state/{qos}"), "on".to_owned(), qos)).collect();
    let mut later = MqttClient::connect(server, "later");
    later.subscribe("state/#", 2);
    let mut found: Vec<_> = later.collect(3).iter().map(seen).collect();
    found.sort();
    assert_eq!(found, expected);
    later.publish_retained("state/other", "off", 1);
    later.expect_message("state/other", "off", 1);
    expected.push(("state/other".to_owned(), "off".to_owned(), 1));
    foreign.subscribe("state/+", 2);
    let mut found: Vec<_> = (0..4).map(|_| seen(&foreign.next_message())).collect();
    found.sort();
    assert_eq!(found, expected);
    for qos in 0..=2 {
        foreign.publish(&format!("state/{qos}"), "", qos, true);
    }
    let mut after = MqttClient::connect(server, "after");
    after.subscribe("state/+", 1);
    after.expect_message("state/other", "off", 1);
    after.expect_nothing();
}

/// The will of a client that vanishes is published at its QoS, that of one that says good-bye is
/// not.
pub fn will(library: Library, server: SocketAddr) {
    let mut observer = MqttClient::connect(server, "observer");
    observer.subscribe("gone/#", 2);
    for qos in 0..=2 {
        let leave_will = |payload| {
            let will = Will::new("gone/foreign", payload, qos);
            let session = Session { will: Some(&will), ..Session::clean("foreign") };
            let mut foreign = Driver::start(library)?;
            foreign.connect(server, &session);
            Some(foreign)
        };
        let Some(mut polite) = leave_will("said good-bye") else { return };
        polite.tell("disconnect");
        polite.expect("disconnected");
        polite.vanish();
        let Some(unlucky) = leave_will("lost") else { return };
        unlucky.vanish();
        observer.expect_message("gone/foreign", "lost", qos);
        observer.expect_nothing();
    }
}

/// A kept session gets what was published while its client was away, in order for each QoS: the
/// libraries hand out a QoS 2 message at its PUBREL, so that one of QoS 1 may overtake it.
pub fn kept_session(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    assert!(!foreign.connect(server, &Session::kept("keeper")), "nothing was kept yet");
    foreign.subscribe("kept/#", 2);
    foreign.tell("disconnect");
    foreign.expect("disconnected");
    let mut publisher = MqttClient::connect(server, "publisher");
    for (number, qos) in (0..40).zip([1, 2].into_iter().cycle()) {
        publisher.publish("kept/topic", number.to_string(), qos);
    }
    let Some(mut back) = Driver::start(library) else { return };
    assert!(back.connect(server, &Session::kept("keeper")), "the session was kept");
    let came: Vec<_> = (0..40).map(|_| back.next_message()).collect();
    for (first, qos) in [(0, 1), (1, 2)] {
        let numbers = came.iter().filter(|message| message.qos == qos).map(Message::text);
        let expected: Vec<_> = (first..40).step_by(2).map(|number| number.to_string()).collect();
        assert_eq!(numbers.collect::<Vec<_>>(), expected, "at QoS {qos}");
    }
}

/// `mosquitto_pub` and `mosquitto_sub` through publish, subscribe, retained and will.
pub fn mosquitto_tools(server: SocketAddr) {
    let mut observer = MqttClient::connect(server, "observer");
    observer.subscribe("from/#", 2);
    for qos in ["0", "1", "2"] {
        let args = ["-t", "from/pub", "-m", "hello", "-q", qos];
        if !mosquitto_pub(server, &args) {
            return;
        }
        observer.expect_message("from/pub", "hello", qos.parse().expect("a digit"));
    }
    mosquitto_pub(server, &["-t", "state/pub", "-m", "on", "-r", "-q", "1", "-V", "mqttv31"]);
    let will = ["--will-topic", "gone/sub", "--will-payload", "lost", "--will-qos", "1"];
    let mut args = vec!["-t", "state/#", "-t", "to/+", "-q", "2"];
    args.extend(will);
    let Some(mut subscriber) = Driver::mosquitto_sub(server, &args) else { return };
    subscriber.expect_message("state/pub", "on", 1, true);
    observer.subscribe("gone/#", 1);
    for qos in 0..=2 {
        observer.publish("to/sub", "hello", qos);
        subscriber.expect_message("to/sub", "hello", qos, false);
    }
    subscriber.vanish();
    observer.expect_message("gone/sub", "lost", 1);
}
