//! Every answer of every handshake of MQTT-SN gets lost once, and the life of the client goes on.

use std::time::Duration;

use system_tests::client::Will;
use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::{SnClient, msg_type as t};
use system_tests::gateway::Gateway;
use system_tests::lossy::Direction::{ToClient, ToGateway};
use system_tests::lossy::{Direction, Relay, drop_first};

/// Datagrams that a life has at least one of.
const LOSSES: [(Direction, u8); 22] = [
    (ToGateway, t::CONNECT),
    (ToClient, t::WILLTOPICREQ),
    (ToGateway, t::WILLTOPIC),
    (ToClient, t::WILLMSGREQ),
    (ToGateway, t::WILLMSG),
    (ToClient, t::CONNACK),
    (ToGateway, t::REGISTER),
    (ToClient, t::REGACK),
    (ToClient, t::REGISTER),
    (ToGateway, t::REGACK),
    (ToGateway, t::SUBSCRIBE),
    (ToClient, t::SUBACK),
    (ToGateway, t::UNSUBSCRIBE),
    (ToClient, t::UNSUBACK),
    (ToGateway, t::PINGREQ),
    (ToClient, t::PINGRESP),
    (ToGateway, t::DISCONNECT),
    (ToClient, t::DISCONNECT),
    (ToGateway, t::PUBLISH),
    (ToClient, t::PUBLISH),
    (ToGateway, t::PUBACK),
    (ToClient, t::PUBACK),
];

/// SN-006, SN-018, SN-060: from CONNECT with a will to the last DISCONNECT, with a subscription by
/// wildcard, a publication and a visit while asleep.
#[test]
fn a_life_goes_on_whatever_is_lost_once() {
    let gateway = Gateway::builder().mqtt_sn("retry_ms = 100\nawake_retry_ms = 100").start();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
    mqtt.subscribe("from/#", 1);
    for (direction, kind) in LOSSES {
        let relay = Relay::start(gateway.mqtt_sn(), drop_first(direction, kind, 1));
        let will = Will::new("from/will", "gone", 1);
        let options = SnClient::options("sensor").will(will).retry(Duration::from_millis(100));
        let mut sn = options.connect_via(&relay);
        sn.subscribe("to/#", 1);
        sn.publish("from/sensor", "hi", 1);
        mqtt.expect_message("from/sensor", "hi", 1);
        mqtt.publish("to/sensor", "hello", 1);
        assert_eq!(sn.next_message().text(), "hello", "lost: {direction:?} {kind:02X}");
        sn.ping();
        sn.sleep(60);
        mqtt.publish("to/sleeper", "late", 1);
        let mut came: Vec<_> = sn.wake().iter().map(|message| message.text()).collect();
        came.dedup();
        // A repetition of what came before may have been on its way.
        came.retain(|text| text != "hello");
        assert_eq!(came, ["late"], "lost: {direction:?} {kind:02X}");
        sn.unsubscribe("to/#");
        sn.disconnect();
        mqtt.expect_nothing();
    }
}
