//! What may happen when: beginning, end, and what is said at the end.

use broker_core::api::{Ack, AckKind, ConnAck, Dialect, Outgoing, PacketId};
use broker_core::mqtt::{PacketType, Received, Sent, ServerConn, Settings};
use broker_core::reason::ReasonCode;

use crate::support::{
    ALL, CONNACK,
    Version::{V5, V31, V311},
    Wire, connect_of, framed, octets,
};

#[test]
fn a_connection_is_small() {
    assert!(size_of::<ServerConn>() <= 48);
}

#[test]
fn a_connection_knows_its_version_and_how_far_it_is() {
    for (version, dialect) in
        [(V31, Dialect::Mqtt31), (V311, Dialect::Mqtt311), (V5, Dialect::Mqtt5)]
    {
        let mut wire = Wire::new();
        assert_eq!((wire.conn.dialect(), wire.conn.is_connected()), (None, false));
        wire.feed(&octets(connect_of(version)));
        assert_eq!((wire.conn.dialect(), wire.conn.is_connected()), (Some(dialect), false));
        let _ = wire.accept();
        assert!(wire.conn.is_connected() && !wire.conn.has_ended());
        wire.feed(&octets("E0 00"));
        assert!(!wire.conn.is_connected() && wire.conn.has_ended());
    }
}

/// The caller counts packets by their type.
#[test]
fn every_packet_is_named() {
    let mut wire = Wire::connected(V311);
    for (input, kind) in [
        ("30 03 00 01 61", PacketType::Publish),
        ("40 02 00 07", PacketType::PubAck),
        ("50 02 00 07", PacketType::PubRec),
        ("62 02 00 07", PacketType::PubRel),
        ("70 02 00 07", PacketType::PubComp),
        ("82 06 00 07 00 01 61 00", PacketType::Subscribe),
        ("A2 05 00 07 00 01 61", PacketType::Unsubscribe),
        ("C0 00", PacketType::PingReq),
        ("E0 00", PacketType::Disconnect),
    ] {
        let input = octets(input);
        let received = wire.conn.receive(&wire.settings, &input, &mut wire.said, |_| {});
        assert_eq!(received, Ok(Received::Packet { used: input.len(), kind }));
    }
}

#[test]
fn a_violation_names_packet_and_field() {
    for (input, text) in [
        ("30 02 00 00", "PUBLISH: topic name: it is empty"),
        ("32 05 00 01 61 00 00", "PUBLISH: packet identifier: it is zero"),
        ("82 05 00 07 00 01 61", "SUBSCRIBE: subscription options: the packet ends before it does"),
        ("20 00", "CONNACK: only servers send it"),
        ("00 00", "packet type 0 is reserved"),
        ("60 02 00 07", "PUBREL: its flags cannot be 0000"),
    ] {
        let mut wire = Wire::connected(V311);
        let violation = wire.feed(&octets(input)).violation.expect("it is one");
        assert_eq!(violation.to_string(), text);
    }
}

/// MQTT 3.1.1: a client need not wait for CONNACK.
#[test]
fn packets_behind_connect_are_heard_at_once() {
    for version in ALL {
        let mut wire = Wire::new();
        let outcome = wire.feed(&octets(&format!("{} C0 00 E0 00", connect_of(version))));
        assert_eq!(&outcome.heard[1..], ["PINGREQ", "DISCONNECT 00"]);
    }
}

/// [MQTT5-3.14.0-1]
#[test]
fn a_violation_before_connack_is_told_in_its_place() {
    let mut wire = Wire::new();
    let outcome = wire.feed(&octets(&format!("{} 20 00", connect_of(V5))));
    assert!(outcome.violation.is_some());
    assert_eq!(wire.take_said(), "20 03 00 82 00");
    assert_eq!(wire.accept(), Sent::Nothing);
    // Older versions have no number for it.
    let mut wire = Wire::new();
    let outcome = wire.feed(&octets(&format!("{} 20 00", connect_of(V311))));
    assert!(outcome.violation.is_some());
    assert_eq!(wire.accept(), Sent::Nothing);
    assert_eq!(wire.take_said(), "");
}

/// [MQTT-3.14.4-2], [MQTT5-3.14.4-1]
///
/// A client that sends all it has to say in one go still gets its answers.
#[test]
fn what_was_asked_before_disconnect_is_answered() {
    for version in ALL {
        let publish =
            if version == V5 { "32 06 00 01 61 00 07 00" } else { "32 05 00 01 61 00 07" };
        let mut wire = Wire::new();
        let outcome = wire.feed(&octets(&format!("{} {publish} E0 00 C0 00", connect_of(version))));
        assert_eq!(outcome.heard.len(), 3, "{version:?}");
        assert_eq!(wire.accept(), Sent::Packet(PacketType::ConnAck));
        wire.said.clear();
        let id = PacketId(7);
        let ack = Ack { kind: AckKind::PubAck, id, reason: ReasonCode::Success, token: 0 };
        assert_eq!(wire.send(Outgoing::Ack(ack)), Sent::Packet(PacketType::PubAck));
        assert_eq!(wire.take_said(), "40 02 00 07");
        // The client has left: nobody says goodbye to it.
        assert_eq!(wire.conn.close(ReasonCode::Success, &mut wire.said), Sent::Nothing);
        assert_eq!(wire.send(Outgoing::Pong), Sent::Nothing);
        assert_eq!(wire.take_said(), "");
    }
}

/// [MQTT5-3.1.4-3], [MQTT5-3.14.2-1], [MQTT5-3.14.2-2], [MQTT5-4.13.2-1]
#[test]
fn a_client_of_5_is_told_why_the_server_closes() {
    for (reason, said) in [
        (ReasonCode::SessionTakenOver, "E0 01 8E"),
        (ReasonCode::KeepAliveTimeout, "E0 01 8D"),
        (ReasonCode::ServerShuttingDown, "E0 01 8B"),
        (ReasonCode::QuotaExceeded, "E0 01 97"),
        (ReasonCode::Success, "E0 01 00"),
        // DISCONNECT does not have these.
        (ReasonCode::ServerUnavailable, "E0 01 89"),
        (ReasonCode::BadAuthenticationMethod, "E0 01 80"),
    ] {
        let mut wire = Wire::connected(V5);
        let sent = wire.conn.close(reason, &mut wire.said);
        assert_eq!(sent, Sent::Packet(PacketType::Disconnect));
        assert_eq!(wire.take_said(), said);
        assert!(wire.conn.has_ended());
        assert_eq!(wire.conn.close(reason, &mut wire.said), Sent::Nothing);
        assert_eq!(wire.send(Outgoing::Pong), Sent::Nothing);
        assert_eq!(wire.feed(&octets("C0 00")).used, 0);
        assert_eq!(wire.take_said(), "");
    }
    for version in [V31, V311] {
        let mut wire = Wire::connected(version);
        let sent = wire.conn.close(ReasonCode::SessionTakenOver, &mut wire.said);
        assert_eq!(sent, Sent::Nothing);
        assert_eq!(wire.take_said(), "");
        assert!(wire.conn.has_ended());
    }
}

/// [MQTT5-3.14.0-1]
#[test]
fn a_client_whose_connect_was_not_answered_is_refused() {
    for (version, reason, said) in [
        (V5, ReasonCode::ServerShuttingDown, "20 03 00 88 00"),
        (V5, ReasonCode::ServerBusy, "20 03 00 89 00"),
        (V311, ReasonCode::ServerShuttingDown, "20 02 00 03"),
        (V31, ReasonCode::SessionTakenOver, ""),
    ] {
        let mut wire = Wire::new();
        wire.feed(&octets(connect_of(version)));
        let sent = wire.conn.close(reason, &mut wire.said);
        assert_eq!(sent == Sent::Nothing, said.is_empty());
        assert_eq!(wire.take_said(), said);
        assert!(wire.conn.has_ended());
    }
    // And one that has said nothing is told nothing.
    let mut wire = Wire::new();
    assert_eq!(wire.conn.close(ReasonCode::ServerShuttingDown, &mut wire.said), Sent::Nothing);
    assert_eq!(wire.take_said(), "");
}

/// [MQTT5-3.1.2-24], [MQTT5-3.1.2-29], [MQTT5-3.14.2-3], [MQTT5-3.14.2-4],
/// [MQTT5-4.13.1-1]
#[test]
fn a_client_of_5_is_told_in_words_what_was_wrong_if_it_likes_and_they_fit() {
    let words = "E0 23 82 21 1F 00 1E";
    for (properties, expect) in [
        ("00", Some(words)),
        ("02 17 01", Some(words)),
        ("02 17 00", None),
        ("05 27 00 00 00 25", Some(words)),
        ("05 27 00 00 00 24", None),
    ] {
        let body = format!("00 04 4D 51 54 54 05 02 00 3C {properties} 00 01 63");
        let mut wire = Wire::connected_by(&framed("10", &body), Settings::default());
        let violation = wire.feed(&octets("B0 02 00 07")).violation.expect("it is one");
        assert_eq!(violation.to_string(), "UNSUBACK: only servers send it");
        assert!(wire.said.starts_with(&octets(expect.unwrap_or("E0 01 82"))), "{properties}");
        if expect.is_some() {
            assert!(wire.said.ends_with(violation.to_string().as_bytes()));
        }
    }
    // Not even the short form fits.
    let body = "00 04 4D 51 54 54 05 02 00 3C 05 27 00 00 00 02 00 01 63";
    let mut wire = Wire::new();
    wire.feed(&octets(&framed("10", body)));
    let refusal = ConnAck { reason: ReasonCode::ServerBusy, ..CONNACK };
    assert_eq!(wire.send(Outgoing::ConnAck(refusal)), Sent::Nothing);
    assert_eq!(wire.take_said(), "");
}

/// [MQTT-3.2.0-1]
#[test]
fn nothing_is_said_before_connect() {
    let mut wire = Wire::new();
    assert_eq!(wire.accept(), Sent::Nothing);
    assert_eq!(wire.send(Outgoing::Pong), Sent::Nothing);
    assert_eq!(wire.take_said(), "");
}

/// Settings that change are for the next connection.
#[test]
fn a_connection_keeps_what_it_was_promised() {
    let mut wire = Wire::connected(V5);
    wire.settings.packet_bytes_max = 1;
    wire.settings.topic_alias_maximum = 0;
    wire.settings.receive_maximum = 1;
    let input = "32 09 00 01 61 00 07 03 23 00 0A  32 09 00 01 61 00 08 03 23 00 0A";
    assert_eq!(wire.feed(&octets(input)).heard.len(), 2);
}
