//! What a server can be told not to serve, and what CONNACK says beside that.

use broker_core::api::{ConnAck, Outgoing, QoS};
use broker_core::mqtt::{Features, Redirect, Settings};

use crate::support::{
    CONNACK,
    Version::{V5, V311},
    Wire, closes_on, connect_of, framed, greets, octets,
};

fn settings(features: Features) -> Settings {
    Settings { features, ..Settings::default() }
}

/// What CONNACK says to a client with these properties, behind what it says to all.
fn told(settings: Settings, properties: &str, connack: ConnAck<'_>) -> String {
    let len = 2 + octets(properties).len();
    let body = format!("00 04 4D 51 54 54 05 02 00 00 {len:02X} 17 00 {properties} 00 01 63");
    let mut wire = Wire::with(settings);
    assert_eq!(wire.feed(&octets(&framed("10", &body))).violation, None);
    let _ = wire.send(Outgoing::ConnAck(connack));
    let said = wire.take_said();
    let len = octets(&said).len() - 2;
    let (_, rest) = said.split_at(format!("20 {len:02X} 00 00 00 ").len());
    rest.replace("21 00 64 22 00 0A 27 00 10 00 00", "").trim().to_owned()
}

/// A connected client sends `input`: a client of 5.0 is told `reason`, an older one is just gone.
fn closes(features: Features, input_5: &str, input_3: &str, reason: u8) {
    let mut wire = Wire::connected_by(connect_of(V5), settings(features));
    closes_on(&mut wire, &octets(input_5), reason, input_5);
    let mut wire = Wire::connected_by(connect_of(V311), settings(features));
    closes_on(&mut wire, &octets(input_3), reason, input_3);
}

/// [MQTT5-3.2.2-9]
#[test]
fn a_client_is_told_what_is_not_served() {
    let all = Features::ALL;
    for (features, expect) in [
        (all, ""),
        (Features { maximum_qos: QoS::AtLeastOnce, ..all }, "24 01"),
        (Features { maximum_qos: QoS::AtMostOnce, ..all }, "24 00"),
        (Features { retain: false, ..all }, "25 00"),
        (Features { wildcards: false, ..all }, "28 00"),
        (Features { subscription_ids: false, ..all }, "29 00"),
        (Features { shared: false, ..all }, "2A 00"),
    ] {
        assert_eq!(told(settings(features), "", CONNACK), expect);
    }
}

/// [MQTT5-3.2.2-11], [MQTT5-3.2.2-14]
#[test]
fn publications_that_are_not_served_close() {
    let features = Features { maximum_qos: QoS::AtLeastOnce, ..Features::ALL };
    closes(features, "34 06 00 01 61 00 07 00", "34 05 00 01 61 00 07", 0x9B);
    let mut wire = Wire::connected_by(connect_of(V5), settings(features));
    assert_eq!(wire.feed(&octets("32 06 00 01 61 00 07 00")).heard, ["PUBLISH a \"\" q1 id 7"]);
    let features = Features { retain: false, ..Features::ALL };
    closes(features, "31 04 00 01 61 00", "31 03 00 01 61", 0x9A);
}

/// [MQTT5-3.2.2-12], [MQTT5-3.2.2-13]
#[test]
fn wills_that_are_not_served_are_refused() {
    for (features, flags, reason) in [
        (Features { maximum_qos: QoS::AtLeastOnce, ..Features::ALL }, "16", "9B"),
        (Features { retain: false, ..Features::ALL }, "26", "9A"),
    ] {
        let number = u8::from_str_radix(reason, 16).ok();
        let will = "00 01 74 00 01 6D";
        let body = format!("00 04 4D 51 54 54 05 {flags} 00 00 02 17 00 00 01 63 00 {will}");
        let answer = format!("20 03 00 {reason} 00");
        greets(settings(features), &framed("10", &body), number, &answer);
        let body = format!("00 04 4D 51 54 54 04 {flags} 00 00 00 01 63 {will}");
        greets(settings(features), &framed("10", &body), number, "");
        // A will of another kind is served.
        let body = format!("00 04 4D 51 54 54 05 0E 00 00 02 17 00 00 01 63 00 {will}");
        greets(settings(features), &framed("10", &body), None, "");
    }
}

/// [MQTT-3.8.3-2]
#[test]
fn subscriptions_that_are_not_served_close() {
    let features = Features { wildcards: false, ..Features::ALL };
    closes(features, "82 07 00 07 00 00 01 23 00", "82 06 00 07 00 01 23 00", 0xA2);
    let shared = "00 0B 24 73 68 61 72 65 2F 67 2F 61 62 00"; // $share/g/ab
    let wild = "00 0B 24 73 68 61 72 65 2F 67 2F 61 2B 00"; // no wildcard within a level
    let wild = wild.replace("61 2B", "2F 2B");
    closes(features, &format!("82 11 00 07 00 {wild}"), &format!("82 10 00 07 {wild}"), 0xA2);
    let features = Features { shared: false, ..Features::ALL };
    closes(features, &format!("82 11 00 07 00 {shared}"), &format!("82 10 00 07 {shared}"), 0x9E);
    let features = Features { subscription_ids: false, ..Features::ALL };
    let mut wire = Wire::connected_by(connect_of(V5), settings(features));
    closes_on(&mut wire, &octets("82 09 00 07 02 0B 01 00 01 61 00"), 0xA1, "an identifier");
    // What is left is served.
    let features =
        Features { wildcards: false, shared: false, subscription_ids: false, ..Features::ALL };
    let mut wire = Wire::connected_by(connect_of(V5), settings(features));
    let outcome = wire.feed(&octets("82 07 00 07 00 00 01 61 02"));
    assert_eq!(outcome.heard, ["SUBSCRIBE 7, a q2"]);
}

/// [MQTT5-3.2.2-10]
#[test]
fn any_qos_can_be_asked_for_and_what_is_served_is_granted() {
    let features = Features { maximum_qos: QoS::AtMostOnce, ..Features::ALL };
    let mut wire = Wire::connected_by(connect_of(V5), settings(features));
    for qos in ["00", "01", "02"] {
        let outcome = wire.feed(&octets(&format!("82 07 00 07 00 00 01 61 {qos}")));
        assert_eq!(outcome.heard, ["SUBSCRIBE 7, a q0"]);
    }
}

/// [MQTT5-3.1.2-28]
#[test]
fn response_topics_are_told_to_who_asks() {
    let settings = || Settings { response_topics: Some("re/".into()), ..Settings::default() };
    assert_eq!(told(settings(), "19 01", CONNACK), "1A 00 05 72 65 2F 63 2F");
    assert_eq!(told(settings(), "19 00", CONNACK), "");
    assert_eq!(told(settings(), "", CONNACK), "");
    assert_eq!(told(Settings::default(), "19 01", CONNACK), "");
    // An identifier that the broker has chosen counts.
    let assigned = ConnAck { assigned_client_id: Some("xy"), ..CONNACK };
    let expect = "12 00 02 78 79 1A 00 06 72 65 2F 78 79 2F";
    assert_eq!(told(settings(), "19 01", assigned), expect);
    // An identifier that cannot be part of a topic name is told none.
    for client_id in ["2B", "23"] {
        let body = format!("00 04 4D 51 54 54 05 02 00 00 02 19 01 00 01 {client_id}");
        let mut wire = Wire::with(settings());
        wire.feed(&octets(&framed("10", &body)));
        let _ = wire.accept();
        assert_eq!(wire.take_said(), "20 0E 00 00 0B 21 00 64 22 00 0A 27 00 10 00 00");
    }
}

#[test]
fn clients_can_be_sent_to_another_server() {
    let to = |is_permanent, server: &str| Settings {
        redirect: Some(Redirect { is_permanent, server: server.into() }),
        ..Settings::default()
    };
    let connect = connect_of(V5);
    greets(to(false, "b:1"), connect, Some(0x9C), "20 09 00 9C 06 1C 00 03 62 3A 31");
    greets(to(true, "b:1"), connect, Some(0x9D), "20 09 00 9D 06 1C 00 03 62 3A 31");
    greets(to(true, ""), connect, Some(0x9D), "20 03 00 9D 00");
    greets(to(false, "b:1"), connect_of(V311), Some(0x9C), "20 02 00 03");
    // [MQTT5-3.1.2-24]: the name is left out if it does not fit.
    let small = "10 15 00 04 4D 51 54 54 05 02 00 3C 07 17 00 27 00 00 00 0A 00 01 63";
    greets(to(false, "b:1"), small, Some(0x9C), "20 03 00 9C 00");
}
