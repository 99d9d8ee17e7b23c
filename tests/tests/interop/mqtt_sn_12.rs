//! `mqtt-sn-12`, the MQTT-SN client of PyPI, through a relay that loses nothing; afterwards
//! tshark decodes every datagram that the gateway sent.

use std::net::SocketAddr;

use system_tests::client::Will;
use system_tests::client::mqtt::MqttClient;
use system_tests::foreign::driver::{Driver, Library, Session, mosquitto_pub};
use system_tests::foreign::tshark;
use system_tests::gateway::{Builder, Gateway};
use system_tests::lossy::{Relay, faithful};

/// The gateway, the foreign client behind a relay, and an MQTT client of ours.
struct Stage {
    gateway: Gateway,
    relay: Relay,
    foreign: Driver,
    mqtt: MqttClient,
}

impl Stage {
    fn set(builder: Builder) -> Option<Self> {
        let foreign = Driver::start(Library::MqttSn12)?;
        let gateway = builder.start();
        let relay = Relay::start(gateway.mqtt_sn(), faithful());
        let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
        mqtt.subscribe("from/#", 2);
        Some(Self { gateway, relay, foreign, mqtt })
    }

    /// Where the foreign client finds the gateway.
    fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    fn connect(&mut self, session: &Session<'_>) {
        self.foreign.connect(self.relay.address(), session);
    }

    fn end(self) {
        tshark::decodes_answers(&self.relay);
    }
}

#[test]
fn publishes_at_every_qos() {
    let Some(mut stage) = Stage::set(Gateway::builder().predefined(5, "from/five")) else { return };
    stage.connect(&Session::clean("foreign"));
    stage.mqtt.subscribe("xy", 2);
    // 248 octets of payload are the most in the short form of a message.
    let payloads = ["hello", &"s".repeat(248), &"l".repeat(249), &"x".repeat(900)];
    for qos in 0..=2_i8 {
        let seen = qos.unsigned_abs();
        for payload in payloads {
            stage.foreign.publish("from/name", payload, qos, false);
            stage.mqtt.expect_message("from/name", payload, seen);
        }
        stage.foreign.publish("xy", "short", qos, false);
        stage.mqtt.expect_message("xy", "short", seen);
        stage.foreign.publish("predefined:5", "predefined", qos, false);
        stage.mqtt.expect_message("from/five", "predefined", seen);
    }
    stage.foreign.tell("disconnect");
    stage.foreign.expect("disconnected");
    stage.end();
}

#[test]
fn publishes_without_a_connection() {
    let Some(mut stage) = Stage::set(Gateway::builder().predefined(5, "from/five")) else { return };
    stage.mqtt.subscribe("xy", 2);
    let address = stage.address();
    stage.foreign.tell(&format!("open {} {}", address.ip(), address.port()));
    stage.foreign.expect("opened");
    stage.foreign.publish("predefined:5", "predefined", -1, false);
    stage.mqtt.expect_message("from/five", "predefined", 0);
    stage.foreign.publish("xy", "short", -1, false);
    stage.mqtt.expect_message("xy", "short", 0);
}

#[test]
fn subscribes_by_name_wildcard_predefined_and_short() {
    let Some(mut stage) = Stage::set(Gateway::builder().predefined(5, "to/five")) else { return };
    stage.connect(&Session::clean("foreign"));
    stage.foreign.subscribe("to/name", 0);
    stage.mqtt.publish("to/name", "by name", 2);
    stage.foreign.expect_message("to/name", "by name", 0, false);
    stage.foreign.subscribe("wild/+/#", 0);
    for topic in ["wild/a", "wild/b/c", "wild/a"] {
        stage.mqtt.publish(topic, "by wildcard", 1);
        stage.foreign.expect_message(topic, "by wildcard", 0, false);
    }
    stage.foreign.subscribe("predefined:5", 0);
    stage.mqtt.publish("to/five", "by number", 0);
    stage.foreign.expect_message("id:5", "by number", 0, false);
    stage.foreign.subscribe("short:xy", 0);
    stage.mqtt.publish("xy", "by two octets", 0);
    stage.foreign.expect_message("id:30841", "by two octets", 0, false);
    stage.foreign.tell("unsubscribe to/name");
    stage.foreign.expect("unsubscribed");
    stage.mqtt.publish("to/name", "not for you", 1);
    stage.mqtt.publish("to/five", "the next one", 0);
    stage.foreign.expect_message("id:5", "the next one", 0, false);
    stage.end();
}

#[test]
fn gets_each_message_once_if_it_acknowledges() {
    let Some(mut stage) = Stage::set(Gateway::builder()) else { return };
    stage.connect(&Session::clean("foreign"));
    stage.foreign.tell("acknowledge yes");
    stage.foreign.subscribe("to/name", 1);
    for number in 0..20 {
        stage.mqtt.publish("to/name", number.to_string(), 1);
    }
    for number in 0..20 {
        stage.foreign.expect_message("to/name", &number.to_string(), 1, false);
    }
    stage.end();
}

/// As the library is: it never acknowledges. That message is repeated, given up since the client
/// is alive, and what comes behind it is not held up for ever (D7).
#[test]
fn gets_later_messages_though_it_acknowledges_none() {
    let builder = Gateway::builder().mqtt_sn("retry_ms = 100\nretry_max = 2");
    let Some(mut stage) = Stage::set(builder) else { return };
    stage.connect(&Session::clean("foreign"));
    stage.foreign.subscribe("to/name", 1);
    for payload in ["first", "second"] {
        stage.mqtt.publish("to/name", payload, 1);
    }
    stage.foreign.expect_message("to/name", "first", 1, false);
    stage.foreign.publish("from/name", "I am alive", 0, false);
    let came = std::iter::repeat_with(|| stage.foreign.next_message().text());
    let repeated: Vec<_> = came.take_while(|payload| payload != "second").collect();
    // A repetition that comes while the library waits for REGACK is lost to it.
    assert!(repeated.len() <= 2 && repeated.iter().all(|text| text == "first"), "{repeated:?}");
    stage.end();
}

#[test]
fn keeps_and_finds_retained_messages() {
    let Some(mut stage) = Stage::set(Gateway::builder()) else { return };
    stage.connect(&Session::clean("foreign"));
    stage.foreign.tell("acknowledge yes");
    for qos in 0..=2_u8 {
        let topic = format!("from/state/{qos}");
        stage.foreign.publish(&topic, "on", i8::try_from(qos).expect("small"), true);
        stage.mqtt.expect_message(&topic, "on", qos);
        let mut later = MqttClient::connect(stage.gateway.mqtt(), "later");
        later.subscribe(&topic, 2);
        assert!(later.expect_message(&topic, "on", qos).retain);
        let topic = format!("to/state/{qos}");
        later.publish_retained(&topic, "off", qos);
        later.ping();
        // The library receives no QoS 2.
        let granted = qos.min(1);
        stage.foreign.subscribe(&topic, granted);
        stage.foreign.expect_message(&topic, "off", granted, true);
    }
    stage.end();
}

#[test]
fn leaves_a_will_when_its_keep_alive_runs_out() {
    let mut stages = Vec::new();
    for qos in 0..=2 {
        let Some(mut stage) = Stage::set(Gateway::builder()) else { return };
        let will = Will::new("from/will", "lost", qos).retained();
        let session = Session { will: Some(&will), keep_alive_s: 1, ..Session::clean("foreign") };
        stage.connect(&session);
        let Stage { relay, foreign, mqtt, gateway } = stage;
        foreign.vanish();
        stages.push((relay, mqtt, gateway));
    }
    for ((relay, mut mqtt, _running), qos) in stages.into_iter().zip(0..) {
        mqtt.expect_message("from/will", "lost", qos);
        tshark::decodes_answers(&relay);
    }
}

/// A datagram of one foreign client is seen by another.
#[test]
fn is_seen_by_mosquitto_sub() {
    let Some(mut stage) = Stage::set(Gateway::builder().predefined(5, "seen/five")) else { return };
    let args = ["-t", "seen/#", "-q", "2"];
    let Some(mut seeing) = Driver::mosquitto_sub(stage.gateway.mqtt(), &args) else { return };
    stage.connect(&Session::clean("foreign"));
    for qos in 0..=2 {
        for (topic, seen) in [("seen/name", "seen/name"), ("predefined:5", "seen/five")] {
            stage.foreign.publish(topic, "21.5", qos, false);
            seeing.expect_message(seen, "21.5", qos.unsigned_abs(), false);
        }
    }
    stage.end();
}

#[test]
fn collects_on_its_pingreq_what_came_while_it_slept() {
    let Some(mut stage) = Stage::set(Gateway::builder()) else { return };
    stage.connect(&Session::kept("foreign"));
    stage.foreign.tell("acknowledge yes");
    stage.foreign.subscribe("to/#", 1);
    stage.foreign.tell("sleep 60");
    stage.foreign.expect("asleep");
    for visit in ["first", "second"] {
        for number in 0..5 {
            let args = ["-q", "1", "-t", &format!("to/{number}"), "-m", visit];
            if !mosquitto_pub(stage.gateway.mqtt(), &args) {
                return;
            }
        }
        stage.foreign.expect_empty_inbox();
        stage.foreign.tell("wake");
        stage.foreign.expect("pingresp");
        // Set aside on the way to this event: all of them came before PINGRESP.
        for number in 0..5 {
            stage.foreign.expect_kept_message(&format!("to/{number}"), visit, 1);
        }
    }
    stage.foreign.tell("wake");
    stage.foreign.expect("pingresp");
    stage.foreign.expect_empty_inbox();
    stage.end();
}
