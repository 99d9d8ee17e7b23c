//! Whole conversations of MQTT-SN 1.2, datagram by datagram. Ids that the gateway chooses are
//! `??` in what is expected and are read from the answer where the client has to repeat them.

use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::Gateway;

const CONNECT_CLEAN: &str = "
    > 0A 04 04 01 00 3C 'dev1'       -- CONNECT, clean, 60 s
    < 03 05 00                       -- CONNACK
";

/// A gateway, and a client that has connected with a clean session.
fn connected() -> (Gateway, SnClient) {
    let gateway = Gateway::builder().predefined(5, "pre/five").start();
    let mut sn = SnClient::open(gateway.mqtt_sn());
    sn.converse(CONNECT_CLEAN);
    (gateway, sn)
}

/// Octets as a test would draw them.
fn drawn(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X} ")).collect()
}

/// SN-016, SN-017, SN-019, SN-046, SN-055, SN-060, SN-084: connect, register, publish at QoS 1,
/// ping, disconnect.
#[test]
fn a_sensor_reports_once() {
    let (gateway, mut sn) = connected();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
    mqtt.subscribe("a/b/c", 1);
    sn.send("0B 0A 00 00 00 01 'a/b/c'");
    let regack = sn.expect("07 0B ?? ?? 00 01 00");
    let id = drawn(&regack[2..4]);
    sn.converse(&format!(
        "
        > 09 0C 20 {id} 00 02 'hi'       -- PUBLISH, QoS 1
        < 07 0D {id} 00 02 00            -- PUBACK repeats both ids
        > 02 16                          -- PINGREQ
        < 02 17                          -- PINGRESP
        > 02 18                          -- DISCONNECT
        < 02 18
        "
    ));
    mqtt.expect_message("a/b/c", "hi", 1);
}

/// SN-024, SN-046, SN-052, SN-054: the will is asked for, changed, deleted.
#[test]
fn a_will_is_set_changed_and_deleted() {
    let gateway = Gateway::start();
    let mut sn = SnClient::open(gateway.mqtt_sn());
    sn.converse(
        "
        > 0A 04 0C 01 00 3C 'dev1'       -- CONNECT with a will
        < 02 06                          -- WILLTOPICREQ
        > 09 07 30 'w/dev1'              -- QoS 1, retained
        < 02 08                          -- WILLMSGREQ
        > 06 09 'gone'
        < 03 05 00                       -- CONNACK
        > 05 1C 'bye'                    -- WILLMSGUPD
        < 03 1D 00
        > 09 1A 30 'w/dev1'              -- WILLTOPICUPD
        < 03 1B 00
        > 02 1A                          -- deletes both halves
        < 03 1B 00
        > 02 18
        < 02 18
        > 0A 04 08 01 00 3C 'dev1'       -- deletes only the will while connecting
        < 02 06
        > 02 07
        < 03 05 00
        ",
    );
}

/// SN-006, SN-060: what was lost is repeated and delivered once.
#[test]
fn qos_2_survives_a_lost_pubrec() {
    let (gateway, mut sn) = connected();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "observer");
    mqtt.subscribe("xy", 2);
    sn.converse(
        "
        > 09 0C 42 'xy' 00 03 'hi'
        < 04 0F 00 03                    -- PUBREC, say it was lost
        > 09 0C C2 'xy' 00 03 'hi'       -- DUP
        < 04 0F 00 03
        > 04 10 00 03                    -- PUBREL
        < 04 0E 00 03                    -- PUBCOMP
        > 04 10 00 03
        < 04 0E 00 03
        ",
    );
    mqtt.expect_message("xy", "hi", 2);
    mqtt.expect_nothing();
}

/// SN-022, SN-023, SN-070, SN-074, SN-076: a retained message, then one at QoS 2.
#[test]
fn a_subscriber_gets_what_was_retained_and_what_comes() {
    let (gateway, mut sn) = connected();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "publisher");
    mqtt.publish_retained("a/b/c", "old", 1);
    sn.send("0A 12 40 00 04 'a/b/c'");
    let suback = sn.expect("08 13 40 ?? ?? 00 04 00");
    let id = drawn(&suback[3..5]);
    let old = sn.expect(&format!("0A 0C 30 {id} ?? ?? 'old'"));
    sn.send(&format!("07 0D {id} {} 00", drawn(&old[5..7])));
    mqtt.publish("a/b/c", "new", 2);
    let new = sn.expect(&format!("0A 0C 40 {id} ?? ?? 'new'"));
    let message = drawn(&new[5..7]);
    sn.converse(&format!(
        "
        > 04 0F {message}
        < 04 10 {message}
        > 04 0E {message}
        > 0A 14 00 00 05 'a/b/c'         -- UNSUBSCRIBE
        < 04 15 00 05
        "
    ));
    mqtt.publish("a/b/c", "not for you", 1);
    sn.expect_nothing();
}

/// SN-073, SN-077, SN-079: a name is registered before its first message; a refused one is
/// dropped, and the wildcard stays.
#[test]
fn a_wildcard_registers_names_first() {
    let (gateway, mut sn) = connected();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "publisher");
    sn.converse(
        "
        > 08 12 20 00 06 'a/#'
        < 08 13 20 00 00 00 06 00        -- id 0x0000
        ",
    );
    mqtt.publish("a/x", "1", 1);
    let register = sn.expect("09 0A ?? ?? ?? ?? 'a/x'");
    sn.expect_nothing();
    sn.send(&format!("07 0B {} 00", drawn(&register[2..6])));
    let publish = sn.expect(&format!("08 0C 20 {} ?? ?? '1'", drawn(&register[2..4])));
    sn.send(&format!("07 0D {} 00", drawn(&publish[3..7])));
    mqtt.publish("a/y", "2", 1);
    let register = sn.expect("09 0A ?? ?? ?? ?? 'a/y'");
    sn.send(&format!("07 0B {} 03", drawn(&register[2..6])));
    mqtt.publish("a/y", "3", 1);
    mqtt.publish("a/x", "4", 0);
    sn.expect("08 0C 00 ?? ?? 00 00 '4'");
    sn.expect_nothing();
}

/// SN-061, SN-063, SN-065, SN-081: ids that the receiver does not know.
#[test]
fn an_unknown_id_is_refused_and_corrected() {
    let (gateway, mut sn) = connected();
    sn.converse(
        "
        > 09 0C 20 00 42 00 07 'hi'      -- the gateway does not know 0x0042
        < 07 0D 00 42 00 07 02
        > 09 0C 00 00 42 00 00 'hi'      -- nor at QoS 0
        < 07 0D 00 42 00 00 02
        > 09 0C 21 00 09 00 0C 'hi'      -- nor a predefined id 9
        < 07 0D 00 09 00 0C 02
        > 08 12 20 00 06 'a/#'
        < 08 13 20 00 00 00 06 00
        ",
    );
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "publisher");
    mqtt.publish("a/x", "2", 1);
    for code in ["02", "00"] {
        let register = sn.expect("09 0A ?? ?? ?? ?? 'a/x'");
        sn.send(&format!("07 0B {} 00", drawn(&register[2..6])));
        let publish = sn.expect(&format!("08 0C 20 {} ?? ?? '2'", drawn(&register[2..4])));
        // The client forgot the id, is told it once more, and takes the message.
        sn.send(&format!("07 0D {} {code}", drawn(&publish[3..7])));
    }
    sn.expect_nothing();
}

/// SN-025, SN-093, SN-095, SN-096, SN-097, SN-100: asleep, awake, a new duration, back.
#[test]
fn a_sleeper_collects_and_returns() {
    let gateway = Gateway::start();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "publisher");
    let mut sn = SnClient::open(gateway.mqtt_sn());
    sn.converse(
        "
        > 0A 04 00 01 00 3C 'dev1'
        < 03 05 00
        > 08 12 20 00 06 'a/#'
        < 08 13 20 00 00 00 06 00
        > 04 18 01 2C                    -- sleeps for 300 s
        < 02 18
        ",
    );
    mqtt.publish("a/x", "3", 1);
    mqtt.publish("a/z", "4", 0);
    sn.expect_nothing();
    sn.send("06 16 'dev1'");
    let register = sn.expect("09 0A ?? ?? ?? ?? 'a/x'");
    sn.send(&format!("07 0B {} 00", drawn(&register[2..6])));
    let publish = sn.expect("08 0C 20 ?? ?? ?? ?? '3'");
    sn.send(&format!("07 0D {} 00", drawn(&publish[3..7])));
    let register = sn.expect("09 0A ?? ?? ?? ?? 'a/z'");
    sn.send(&format!("07 0B {} 00", drawn(&register[2..6])));
    sn.converse(
        "
        < 08 0C 00 ?? ?? 00 00 '4'
        < 02 17                          -- PINGRESP: asleep again
        > 06 16 'dev1'
        < 02 17                          -- nothing was waiting
        > 04 18 02 58
        < 02 18
        > 0A 04 00 01 00 3C 'dev1'
        < 03 05 00                       -- active, the session kept
        ",
    );
}

/// SN-012, SN-066, SN-067, SN-068, SN-069: ids that need no registration.
#[test]
fn predefined_and_short_topics_are_usable_at_once() {
    let (gateway, mut sn) = connected();
    let mut mqtt = MqttClient::connect(gateway.mqtt(), "other");
    mqtt.subscribe("pre/five", 1);
    sn.converse(
        "
        > 07 12 21 00 0A 00 05
        < 08 13 20 00 05 00 0A 00
        ",
    );
    mqtt.publish("pre/five", "hi", 1);
    mqtt.expect_message("pre/five", "hi", 1);
    let publish = sn.expect("09 0C 21 00 05 ?? ?? 'hi'");
    sn.send(&format!("07 0D {} 00", drawn(&publish[3..7])));
    sn.converse(
        "
        > 07 12 02 00 0B 'xy'
        < 08 13 00 'xy' 00 0B 00
        ",
    );
    mqtt.publish("xy", "hi", 0);
    sn.converse(
        "
        < 09 0C 02 'xy' 00 00 'hi'
        > 09 0C 61 00 05 00 00 'hi'      -- QoS -1: no answer, but it is delivered to itself too
        ",
    );
    mqtt.expect_message("pre/five", "hi", 0);
    sn.expect("09 0C 01 00 05 00 00 'hi'");
    sn.expect_nothing();
}

/// SN-028, SN-029: each node behind a forwarder is a client of its own.
#[test]
fn nodes_behind_a_forwarder_are_told_apart() {
    let forwarder = "[[mqtt_sn.forwarder]]\naddress = \"127.0.0.1\"";
    let gateway = Gateway::builder().text(forwarder).start();
    let mut sn = SnClient::open(gateway.mqtt_sn());
    sn.converse(
        "
        > 05 FE 00 'N1' 0A 04 04 01 00 3C 'dev1'
        < 05 FE 00 'N1' 03 05 00
        > 05 FE 00 'N2' 0A 04 04 01 00 3C 'dev2'
        < 05 FE 00 'N2' 03 05 00
        > 05 FE 00 'N1' 08 12 00 00 01 'abc'
        < 05 FE 00 'N1' 08 13 00 ?? ?? 00 01 00
        > 05 FE 00 'N2' 02 16
        < 05 FE 00 'N2' 02 17
        ",
    );
}

/// SN-014, SN-042: one GWINFO without an address for each SEARCHGW.
#[test]
fn a_search_finds_the_gateway() {
    let gateway = Gateway::builder().mqtt_sn("gateway_id = 7").start();
    let mut sn = SnClient::open(gateway.mqtt_sn());
    sn.converse(
        "
        > 03 01 00
        < 03 02 07
        ",
    );
    sn.expect_nothing();
}

/// SN-026: a client of yesterday learns at once that it has to connect.
#[test]
fn after_a_restart_a_client_is_asked_to_connect() {
    let (mut gateway, mut sn) = connected();
    gateway.kill9();
    gateway.restart();
    sn.converse(
        "
        > 09 0C 22 'xy' 00 0D 'hi'
        < 02 18
        > 0A 04 00 01 00 3C 'dev1'
        < 03 05 00
        ",
    );
}
