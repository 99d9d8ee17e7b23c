//! `rumqttc` (crates.io) with MQTT 5.0: a client in this process, and the gateway.

use std::time::Duration;

use ::rumqttc::v5::mqttbytes::QoS;
use ::rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, Packet, PubAckReason, Publish, PublishProperties,
    SubscribeProperties, SubscribeReasonCode,
};
use ::rumqttc::v5::{Client, Connection, Event, MqttOptions};
use system_tests::client::mqtt::{MqttClient, Version};
use system_tests::gateway::Gateway;
use system_tests::hex::octets;

/// How long one event may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The library's client, asked what it was told.
struct Rumqttc {
    client: Client,
    connection: Connection,
}

impl Rumqttc {
    fn options(gateway: &Gateway, client_id: &str) -> MqttOptions {
        let server = gateway.mqtt();
        MqttOptions::new(client_id, server.ip().to_string(), server.port())
    }

    /// Connects; returns CONNACK too.
    fn connect(options: MqttOptions) -> (Self, ConnAck) {
        let (client, connection) = Client::new(options, 100);
        let mut this = Self { client, connection };
        let connack =
            this.wait(
                |packet| if let Packet::ConnAck(connack) = packet { Some(connack) } else { None },
            );
        (this, connack)
    }

    /// The next packet that `choose` takes.
    fn wait<T>(&mut self, choose: impl Fn(Packet) -> Option<T>) -> T {
        loop {
            let event = self.connection.recv_timeout(PATIENCE).expect("an event in time");
            if let Event::Incoming(packet) = event.expect("the connection stands")
                && let Some(chosen) = choose(packet)
            {
                return chosen;
            }
        }
    }

    fn next_message(&mut self) -> Publish {
        self.wait(|packet| if let Packet::Publish(publish) = packet { Some(publish) } else { None })
    }

    /// Publishes at QoS 1; returns the reason of PUBACK.
    fn publish(
        &mut self,
        topic: &str,
        payload: &'static str,
        properties: PublishProperties,
    ) -> PubAckReason {
        let client = &self.client;
        client
            .publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties)
            .expect("there is room for a request");
        self.wait(
            |packet| if let Packet::PubAck(puback) = packet { Some(puback.reason) } else { None },
        )
    }

    fn subscribe(&mut self, filter: Filter, id: Option<usize>) -> SubscribeReasonCode {
        let properties = SubscribeProperties { id, user_properties: Vec::new() };
        self.client
            .subscribe_many_with_properties([filter], properties)
            .expect("there is room for a request");
        self.wait(|packet| {
            if let Packet::SubAck(suback) = packet { Some(suback.return_codes[0]) } else { None }
        })
    }
}

fn all() -> PublishProperties {
    let user = |value: &str| ("k".to_owned(), value.to_owned());
    PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(3_600),
        topic_alias: None,
        response_topic: Some("r/t".into()),
        correlation_data: Some(vec![0xCA, 0xFE].into()),
        user_properties: vec![user("1"), user("2")],
        subscription_identifiers: Vec::new(),
        content_type: Some("text".into()),
    }
}

#[test]
fn says_and_hears_every_property() {
    let gateway = Gateway::start();
    let (mut foreign, connack) = Rumqttc::connect(Rumqttc::options(&gateway, "foreign"));
    let told = connack.properties.expect("the terms of the server");
    assert_eq!((told.max_packet_size, told.topic_alias_max), (Some(1 << 20), Some(10)));
    let mut filter = Filter::new("t/#", QoS::ExactlyOnce);
    filter.preserve_retain = true;
    let granted = foreign.subscribe(filter, Some(7));
    assert_eq!(granted, SubscribeReasonCode::Success(QoS::ExactlyOnce));
    assert_eq!(foreign.publish("t/own", "hi", all()), PubAckReason::Success);
    let came = foreign.next_message();
    let mut properties = came.properties.expect("all that was said");
    let left = properties.message_expiry_interval.replace(3_600);
    assert!(matches!(left, Some(3_599 | 3_600)), "{left:?}");
    assert_eq!(properties, PublishProperties { subscription_identifiers: vec![7], ..all() });

    let mut other = MqttClient::options("other").version(Version::V5).connect(gateway.mqtt());
    other.retain_with("t/kept", "on", "26 00 01 'a' 00 01 'b'");
    let came = foreign.next_message();
    assert!(came.retain, "as published");
    let expected = vec![("a".to_owned(), "b".to_owned())];
    assert_eq!(came.properties.expect("one").user_properties, expected);
}

#[test]
fn says_a_name_once_with_an_alias() {
    let gateway = Gateway::start();
    let mut observer = MqttClient::options("o").version(Version::V5).connect(gateway.mqtt());
    observer.subscribe("t/#", 1);
    let (mut foreign, _) = Rumqttc::connect(Rumqttc::options(&gateway, "foreign"));
    let alias = || PublishProperties { topic_alias: Some(1), ..PublishProperties::default() };
    for (topic, payload) in [("t/long/name", "1"), ("", "2")] {
        assert_eq!(foreign.publish(topic, payload, alias()), PubAckReason::Success);
        observer.expect_message("t/long/name", payload, 1).assert_properties("");
    }
}

#[test]
fn is_told_why_a_publication_is_refused_and_goes_on() {
    let gateway = Gateway::start();
    let (mut foreign, _) = Rumqttc::connect(Rumqttc::options(&gateway, "foreign"));
    let none = PublishProperties::default;
    assert_eq!(foreign.publish("$SYS/mine", "x", none()), PubAckReason::NotAuthorized);
    assert_eq!(foreign.publish("t", "x", none()), PubAckReason::NoMatchingSubscribers);
}

/// Session expiry, a will with a delay, and a receive maximum of one.
#[test]
fn finds_its_session_again_within_its_expiry() {
    let gateway = Gateway::start();
    let options = || {
        let mut options = Rumqttc::options(&gateway, "keeper");
        options.set_clean_start(false);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(60);
        properties.receive_maximum = Some(1);
        options.set_connect_properties(properties);
        options
    };
    let (mut foreign, connack) = Rumqttc::connect(options());
    assert!(!connack.session_present);
    foreign.subscribe(Filter::new("$share/g/t/#", QoS::AtLeastOnce), None);
    drop(foreign);
    let mut other = MqttClient::options("other").version(Version::V5).connect(gateway.mqtt());
    for number in 0..20 {
        other.publish_with("t/x", number.to_string(), "");
    }
    let (mut back, connack) = Rumqttc::connect(options());
    assert!(connack.session_present);
    for number in 0..20 {
        assert_eq!(back.next_message().payload[..], *number.to_string().as_bytes());
    }
    other.send_octets(&octets("C0 00"));
    other.expect("D0 00");
}
