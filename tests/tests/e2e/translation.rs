//! Every pair of QoS from every kind of publisher to every kind of subscriber, and each datagram
//! of a handshake lost once: what arrives, arrives at the smaller QoS and as often as that allows.

use std::time::Duration;

use system_tests::client::Message;
use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::{SnClient, Topic, msg_type as t};
use system_tests::gateway::Gateway;
use system_tests::lossy::Direction::{ToClient, ToGateway};
use system_tests::lossy::{Direction, Relay, drop_first, faithful};

/// Both ends repeat after this time.
const RETRY: Duration = Duration::from_millis(100);

/// Usable by every kind of client at every QoS without a registration.
const TOPIC: &str = "xy";

/// A datagram that gets lost once.
type Loss = (Direction, u8);

/// What may get lost on the way of a publisher at each QoS; at QoS 0 a loss would be final.
fn losses_of_publisher(qos: i8) -> &'static [Loss] {
    match qos {
        1 => &[(ToGateway, t::PUBLISH), (ToClient, t::PUBACK)],
        2 => &[
            (ToGateway, t::PUBLISH),
            (ToClient, t::PUBREC),
            (ToGateway, t::PUBREL),
            (ToClient, t::PUBCOMP),
        ],
        _ => &[],
    }
}

/// The same on the way to a subscriber.
fn losses_of_subscriber(qos: u8) -> &'static [Loss] {
    match qos {
        1 => &[(ToClient, t::PUBLISH), (ToGateway, t::PUBACK)],
        2 => &[
            (ToClient, t::PUBLISH),
            (ToGateway, t::PUBREC),
            (ToClient, t::PUBREL),
            (ToGateway, t::PUBCOMP),
        ],
        _ => &[],
    }
}

fn gateway() -> Gateway {
    Gateway::builder().mqtt_sn("retry_ms = 100").start()
}

fn relay(gateway: &Gateway, loss: Option<&Loss>) -> Relay {
    match loss {
        Some((direction, msg_type)) => {
            Relay::start(gateway.mqtt_sn(), drop_first(*direction, *msg_type, 1))
        }
        None => Relay::start(gateway.mqtt_sn(), faithful()),
    }
}

/// A client of either kind.
enum Client {
    Sn(Box<SnClient>),
    Mqtt(Box<MqttClient>),
}

impl Client {
    fn sn(gateway: &Gateway, id: &str, loss: Option<&Loss>) -> Self {
        let relay = relay(gateway, loss);
        Self::Sn(Box::new(SnClient::options(id).retry(RETRY).connect_via(&relay)))
    }

    fn mqtt(gateway: &Gateway, id: &str) -> Self {
        Self::Mqtt(Box::new(MqttClient::connect(gateway.mqtt(), id)))
    }

    fn publish(&mut self, payload: &str, qos: i8) {
        match self {
            Self::Sn(sn) if qos < 0 => sn.publish_unasked(&Topic::short(TOPIC), payload),
            Self::Sn(sn) => {
                sn.publish(Topic::short(TOPIC), payload, qos.unsigned_abs());
            }
            Self::Mqtt(mqtt) => {
                mqtt.publish(TOPIC, payload, qos.unsigned_abs());
            }
        }
    }

    fn subscribe(&mut self, qos: u8) {
        let granted = match self {
            Self::Sn(sn) => sn.subscribe(Topic::short(TOPIC), qos).0,
            Self::Mqtt(mqtt) => mqtt.subscribe(TOPIC, qos),
        };
        assert_eq!(granted, qos);
    }

    fn disconnect(self) {
        match self {
            Self::Sn(mut sn) => sn.disconnect(),
            Self::Mqtt(mqtt) => mqtt.disconnect(),
        }
    }

    /// The messages before the one that says `end`.
    fn collect_to_end(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = match self {
                Self::Sn(sn) => sn.next_message(),
                Self::Mqtt(mqtt) => mqtt.next_message(),
            };
            if message.text() == "end" {
                return messages;
            }
            messages.push(message);
        }
    }
}

/// Publishes three messages from one to the other.
fn check(mut publisher: Client, mut subscriber: Client, sent: i8, granted: u8, loss: &str) {
    let case = format!("QoS {sent} to {granted}, lost: {loss}");
    subscriber.subscribe(granted);
    let payloads = ["first", "second", "third"];
    for payload in payloads {
        publisher.publish(payload, sent);
    }
    publisher.publish("end", sent);
    let messages = subscriber.collect_to_end();
    let expected_qos = granted.min(u8::try_from(sent).unwrap_or(0));
    assert!(messages.iter().all(|message| message.qos == expected_qos), "{case}: {messages:?}");
    let mut texts: Vec<_> = messages.iter().map(Message::text).collect();
    if expected_qos == 1 {
        // At least once: a repetition may come, beside the one that it repeats.
        texts.dedup();
    }
    assert_eq!(texts, payloads, "{case}");
    publisher.disconnect();
    subscriber.disconnect();
}

/// Runs all pairs of QoS of one pair of kinds, without a loss and with each one.
fn check_all(publisher_is_sn: bool, subscriber_is_sn: bool) {
    let gateway = gateway();
    let lowest = if publisher_is_sn { -1 } else { 0 };
    for (sent, granted) in (lowest..=2).flat_map(|sent| (0..=2).map(move |granted| (sent, granted)))
    {
        let delivered = granted.min(u8::try_from(sent).unwrap_or(0));
        let publisher = |loss| match publisher_is_sn {
            true => Client::sn(&gateway, "publisher", loss),
            false => Client::mqtt(&gateway, "publisher"),
        };
        let subscriber = |loss| match subscriber_is_sn {
            true => Client::sn(&gateway, "subscriber", loss),
            false => Client::mqtt(&gateway, "subscriber"),
        };
        check(publisher(None), subscriber(None), sent, granted, "nothing");
        for loss in losses_of_publisher(sent).iter().filter(|_| publisher_is_sn) {
            let name = format!("{loss:02X?} of the publisher");
            check(publisher(Some(loss)), subscriber(None), sent, granted, &name);
        }
        for loss in losses_of_subscriber(delivered).iter().filter(|_| subscriber_is_sn) {
            let name = format!("{loss:02X?} of the subscriber");
            check(publisher(None), subscriber(Some(loss)), sent, granted, &name);
        }
    }
}

/// SN-006, SN-018, SN-060, [MQTT-3.8.4-6].
#[test]
fn from_sn_to_mqtt() {
    check_all(true, false);
}

/// SN-006, SN-018, SN-060, SN-076.
#[test]
fn from_mqtt_to_sn() {
    check_all(false, true);
}

/// SN-006, SN-018, SN-060, SN-076.
#[test]
fn from_sn_to_sn() {
    check_all(true, true);
}

/// [MQTT-3.8.4-6], [MQTT-4.3.1-1], [MQTT-4.3.2-1], [MQTT-4.3.3-1].
#[test]
fn from_mqtt_to_mqtt() {
    check_all(false, false);
}
