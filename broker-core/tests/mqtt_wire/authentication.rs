//! Who may come in: user names, passwords, and SCRAM-SHA-256 in AUTH packets, with a client that
//! computes its proofs from the text of the RFC.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker_core::api::Outgoing;
use broker_core::mqtt::{Sent, Settings};
use broker_core::users::{Credential, Users};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::support::{
    CONNACK,
    Version::{self, V5, V31, V311},
    Wire, framed, hex, octets,
};

const METHOD: &str = "15 00 0D 53 43 52 41 4D 2D 53 48 41 2D 32 35 36";

fn users() -> Users {
    let mut users = Users::new([7; 32]);
    assert!(users.add("u", Credential::Password(b"pencil")));
    assert!(users.add("v", Credential::Password(b"pencil")));
    users
}

fn wire() -> Wire {
    let mut wire = Wire::new();
    wire.authenticator = Box::new(users());
    wire
}

fn property(id: u8, text: &str) -> String {
    let len = u16::try_from(text.len()).expect("it is short").to_be_bytes();
    hex(&[&[id][..], &len, text.as_bytes()].concat())
}

fn connect_5(flags: &str, properties: &str, fields: &str) -> Vec<u8> {
    let properties = format!("17 00 {properties}");
    let len = octets(&properties).len();
    octets(&framed(
        "10",
        &format!("00 04 4D 51 54 54 05 {flags} 00 00 {len:02X} {properties} {fields}"),
    ))
}

/// A CONNECT with this method, and with this as its data.
fn connect_with(method: &str, data: &str) -> Vec<u8> {
    connect_5("02", &format!("{method} {}", property(0x16, data)), "00 01 63")
}

fn auth(reason: &str, properties: &str) -> Vec<u8> {
    let len = octets(properties).len();
    octets(&framed("F0", &format!("{reason} {len:02X} {properties}")))
}

fn auth_with(reason: &str, data: &str) -> Vec<u8> {
    auth(reason, &format!("{METHOD} {}", property(0x16, data)))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The text in the authentication data of a packet from the server, which is its last field.
fn data_of(packet: &[u8], reason: &str) -> String {
    let start = octets(&format!("{reason} {METHOD} 16"));
    let at = packet.windows(start.len() - 2).position(|part| part == &start[2..]);
    let at = at.unwrap_or_else(|| panic!("no data in {}", hex(packet))) + start.len() - 2;
    let len = usize::from(packet[at]) * 256 + usize::from(packet[at + 1]);
    String::from_utf8(packet[at + 2..at + 2 + len].to_vec()).expect("it is text")
}

/// client-final and the server-final that proves that the server knows the password, too.
fn prove(bare: &str, server_first: &str, password: &str) -> (String, String) {
    let fields = server_first.split(',').map(|field| &field[2..]).collect::<Vec<_>>();
    let salt = BASE64.decode(fields[1]).expect("a salt");
    let mut salted = hmac(password.as_bytes(), &[&salt[..], &[0, 0, 0, 1]].concat());
    let mut last = salted;
    for _ in 1..fields[2].parse::<u32>().expect("iterations") {
        last = hmac(password.as_bytes(), &last);
        salted.iter_mut().zip(last).for_each(|(sum, octet)| *sum ^= octet);
    }
    let client_key = hmac(&salted, b"Client Key");
    let stored_key: [u8; 32] = Sha256::digest(client_key).into();
    let without_proof = format!("c=biws,r={}", fields[0]);
    let message = format!("{bare},{server_first},{without_proof}");
    let signature = hmac(&stored_key, message.as_bytes());
    let proof = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect::<Vec<_>>();
    let server_key = hmac(&salted, b"Server Key");
    let server_final = format!("v={}", BASE64.encode(hmac(&server_key, message.as_bytes())));
    (format!("{without_proof},p={}", BASE64.encode(proof)), server_final)
}

/// A client that came in with SCRAM.
fn authenticated() -> Wire {
    let mut wire = wire();
    let outcome = wire.feed(&connect_with(METHOD, "n,,n=u,r=abc"));
    assert_eq!((outcome.heard.len(), outcome.violation), (0, None));
    let server_first = data_of(&wire.said, "18");
    wire.said.clear();
    let (client_final, server_final) = prove("n=u,r=abc", &server_first, "pencil");
    let outcome = wire.feed(&auth_with("18", &client_final));
    assert_eq!(outcome.violation, None);
    assert_eq!(outcome.heard.len(), 1);
    assert!(outcome.heard[0].starts_with("MQTT 5.0 'c' clean user 'u'"), "{:?}", outcome.heard);
    assert_eq!(wire.take_said(), "");
    assert!(matches!(wire.accept(), Sent::Packet(_)));
    assert_eq!(data_of(&wire.said, "00"), server_final);
    wire.said.clear();
    wire
}

fn refuses(wire: &mut Wire, input: &[u8], reason: u8, told: &str) {
    let outcome = wire.feed(input);
    let violation = outcome.violation.unwrap_or_else(|| panic!("{} is accepted", hex(input)));
    assert_eq!(violation.reason() as u8, reason, "{violation}");
    assert!(outcome.heard.is_empty(), "{:?}", outcome.heard);
    assert_eq!(wire.take_said(), told, "{violation}");
    assert!(wire.conn.has_ended());
}

/// [MQTT5-3.1.4-2], [MQTT-3.1.4-5], [MQTT-3.2.2-5]
#[test]
fn a_password_is_right_or_the_client_stays_out() {
    let body_3 = |name: &str, level: &str, password: &str| {
        octets(&framed("10", &format!("{name} {level} C2 00 00 00 01 63 00 01 75 {password}")))
    };
    let right = "00 06 70 65 6E 63 69 6C";
    let wrong = "00 06 70 65 6E 63 69 6D";
    for (version, told) in [(V31, "20 02 00 04"), (V311, "20 02 00 04"), (V5, "20 03 00 86 00")] {
        let connect = |password: &str| match version {
            V31 => body_3("00 06 4D 51 49 73 64 70", "03", password),
            V311 => body_3("00 04 4D 51 54 54", "04", password),
            V5 => connect_5("C2", "", &format!("00 01 63 00 01 75 {password}")),
        };
        let outcome = wire().feed(&connect(right));
        assert_eq!((outcome.heard.len(), outcome.violation), (1, None), "{version:?}");
        refuses(&mut wire(), &connect(wrong), 0x86, told);
    }
}

#[test]
fn a_client_without_a_name_comes_in_unless_that_is_forbidden() {
    let anonymous = |version: Version, may_come_in| {
        let mut users = users();
        users.set_anonymous(may_come_in);
        let mut wire = Wire::new();
        wire.authenticator = Box::new(users);
        let outcome = wire.feed(&octets(crate::support::connect_of(version)));
        (outcome.heard.len(), outcome.violation.map(|v| v.reason() as u8), wire.take_said())
    };
    for version in [V31, V311, V5] {
        assert_eq!(anonymous(version, true), (1, None, String::new()));
    }
    assert_eq!(anonymous(V311, false), (0, Some(0x87), "20 02 00 05".into()));
    assert_eq!(anonymous(V5, false), (0, Some(0x87), "20 03 00 87 00".into()));
}

/// [MQTT5-4.12.0-2], [MQTT5-4.12.0-5], [MQTT5-3.15.1-1], [MQTT5-3.15.2-1], [MQTT5-3.2.0-1]
#[test]
fn a_client_shows_that_it_knows_its_password() {
    let mut wire = authenticated();
    assert!(wire.conn.is_connected() && !wire.conn.is_authenticating());
    assert_eq!(wire.feed(&octets("C0 00")).heard, ["PINGREQ"]);
    // The challenge is an AUTH 0x18 with the method and the data, and nothing else.
    let mut wire = self::wire();
    wire.feed(&connect_with(METHOD, "n,,n=u,r=abc"));
    assert!(wire.conn.is_authenticating() && !wire.conn.is_connected());
    let data = data_of(&wire.said, "18");
    assert!(data.starts_with("r=abc") && data.ends_with(",i=4096"), "{data}");
    let properties = format!("{METHOD} {}", property(0x16, &data));
    let len = octets(&properties).len();
    assert_eq!(wire.take_said(), framed("F0", &format!("18 {len:02X} {properties}")));
    // The broker has nothing to say to it yet.
    assert_eq!(wire.send(Outgoing::ConnAck(CONNACK)), Sent::Nothing);
    assert!(wire.conn.memory() > 0);
}

/// A client may name the method first and begin afterwards.
#[test]
fn the_first_message_may_come_in_auth() {
    let mut wire = wire();
    wire.feed(&connect_5("02", METHOD, "00 01 63"));
    assert_eq!(wire.take_said(), framed("F0", &format!("18 10 {METHOD}")));
    wire.feed(&auth_with("18", "n,,n=u,r=abc"));
    let server_first = data_of(&wire.said, "18");
    let (client_final, _) = prove("n=u,r=abc", &server_first, "pencil");
    assert_eq!(wire.feed(&auth_with("18", &client_final)).heard.len(), 1);
}

/// [MQTT5-4.12.0-4], [MQTT5-3.1.4-2], [MQTT5-3.1.4-6], [MQTT5-4.13.2-1]
#[test]
fn who_does_not_know_the_password_stays_out() {
    for (user, password) in [("u", "pencils"), ("z", "pencil")] {
        let mut wire = wire();
        wire.feed(&connect_with(METHOD, &format!("n,,n={user},r=abc")));
        let server_first = data_of(&wire.said, "18");
        wire.said.clear();
        let (client_final, _) = prove(&format!("n={user},r=abc"), &server_first, password);
        refuses(&mut wire, &auth_with("18", &client_final), 0x87, "20 03 00 87 00");
        assert_eq!(wire.feed(&auth_with("18", &client_final)).used, 0);
    }
    // Channel binding, somebody else's name, no message at all
    for data in ["y,,n=u,r=abc", "p=tls-unique,,n=u,r=abc", "n,a=v,n=u,r=abc", "", "hello"] {
        refuses(&mut wire(), &connect_with(METHOD, data), 0x87, "20 03 00 87 00");
    }
}

/// [MQTT5-4.12.0-1]
#[test]
fn a_method_that_is_not_served_is_refused() {
    let other = property(0x15, "PLAIN");
    refuses(&mut wire(), &connect_with(&other, "x"), 0x8C, "20 03 00 8C 00");
    // Nor is any while there are no users.
    refuses(&mut Wire::new(), &connect_with(METHOD, "n,,n=u,r=a"), 0x8C, "20 03 00 8C 00");
}

/// [MQTT5-3.1.2-30]
#[test]
fn a_client_says_nothing_else_until_it_has_shown_who_it_is() {
    for input in ["C0 00", "30 04 00 01 61 00", "82 07 00 07 00 00 01 61 00", "32 FF FF 7F"] {
        let mut wire = wire();
        wire.feed(&connect_with(METHOD, "n,,n=u,r=abc"));
        wire.said.clear();
        refuses(&mut wire, &octets(input), 0x82, "20 03 00 82 00");
    }
    // It may leave.
    let mut wire = wire();
    wire.feed(&connect_with(METHOD, "n,,n=u,r=abc"));
    wire.said.clear();
    refuses(&mut wire, &octets("E0 00"), 0x00, "");
}

/// [MQTT5-4.12.0-3], [MQTT5-4.12.0-5], [MQTT5-2.1.3-1], [MQTT5-3.15.1-1], [MQTT5-3.15.2-1]
#[test]
fn auth_has_its_order_and_its_form() {
    let other = property(0x15, "PLAIN");
    for (input, reason) in [
        (auth_with("19", "n,,n=u,r=abc"), 0x82), // from the beginning, before the end
        (auth_with("00", ""), 0x82),             // only servers say so
        (octets("F0 00"), 0x82),                 // the same, shorter
        (auth("18", ""), 0x82),                  // no method
        (octets("F0 01 18"), 0x82),              // the same, shorter
        (auth("18", &other), 0x82),              // another method
        (auth("18", &format!("{METHOD} {METHOD}")), 0x82),
        (auth("18", &format!("{METHOD} 11 00 00 00 00")), 0x81),
        (octets("F1 00"), 0x81),
    ] {
        let mut wire = wire();
        wire.feed(&connect_with(METHOD, "n,,n=u,r=abc"));
        wire.said.clear();
        refuses(&mut wire, &input, reason, &format!("20 03 00 {reason:02X} 00"));
    }
}

/// [MQTT5-4.12.0-6], [MQTT5-4.12.0-7]
#[test]
fn without_a_method_there_is_no_auth() {
    let mut wire = wire();
    wire.feed(&connect_5("02", "", "00 01 63"));
    let _ = wire.accept();
    assert!(!wire.take_said().contains(METHOD));
    refuses(&mut wire, &auth_with("19", "n,,n=u,r=abc"), 0x82, "E0 01 82");
}

/// [MQTT5-4.12.1-1]
#[test]
fn a_client_shows_again_who_it_is_while_it_goes_on() {
    let mut wire = authenticated();
    for nonce in ["def", "ghi"] {
        let bare = format!("n=u,r={nonce}");
        let outcome = wire.feed(&auth_with("19", &format!("n,,{bare}")));
        assert_eq!((outcome.heard.len(), outcome.violation), (0, None));
        let server_first = data_of(&wire.said, "18");
        wire.said.clear();
        // Everything else goes on.
        assert_eq!(wire.feed(&octets("C0 00")).heard, ["PINGREQ"]);
        let (client_final, server_final) = prove(&bare, &server_first, "pencil");
        assert!(wire.feed(&auth_with("18", &client_final)).heard.is_empty());
        let properties = format!("{METHOD} {}", property(0x16, &server_final));
        let len = octets(&properties).len();
        assert_eq!(wire.take_said(), framed("F0", &format!("00 {len:02X} {properties}")));
    }
    assert!(wire.conn.is_connected());
}

/// [MQTT5-4.12.1-1], [MQTT5-4.12.1-2]
#[test]
fn who_cannot_show_it_again_is_disconnected() {
    // A wrong password, and somebody else's right one
    for (user, password) in [("u", "pencils"), ("v", "pencil")] {
        let mut wire = authenticated();
        wire.feed(&auth_with("19", &format!("n,,n={user},r=def")));
        let server_first = data_of(&wire.said, "18");
        wire.said.clear();
        let (client_final, _) = prove(&format!("n={user},r=def"), &server_first, password);
        refuses(&mut wire, &auth_with("18", &client_final), 0x87, "E0 01 87");
    }
    let other = property(0x15, "PLAIN");
    for input in [auth("19", &other), auth_with("18", "n,,n=u,r=def"), octets("F0 00")] {
        refuses(&mut authenticated(), &input, 0x82, "E0 01 82");
    }
    // Twice at once
    let mut wire = authenticated();
    wire.feed(&auth_with("19", "n,,n=u,r=def"));
    wire.said.clear();
    refuses(&mut wire, &auth_with("19", "n,,n=u,r=ghi"), 0x82, "E0 01 82");
}

/// [MQTT5-3.1.2-24], [MQTT5-3.15.2-2], [MQTT5-3.15.2-3]
///
/// An AUTH has no words that could be left out.
#[test]
fn a_challenge_that_is_too_large_is_a_refusal() {
    let properties = format!("27 00 00 00 20 {METHOD} {}", property(0x16, "n,,n=u,r=abc"));
    refuses(&mut wire(), &connect_5("02", &properties, "00 01 63"), 0x95, "20 03 00 95 00");
}

/// What nobody has vouched for yet is as small as a CONNECT.
#[test]
fn a_stranger_sends_nothing_large() {
    let settings = Settings { connect_packet_bytes_max: 100, ..Settings::default() };
    let mut wire = Wire { authenticator: Box::new(users()), ..Wire::with(settings) };
    wire.feed(&connect_with(METHOD, "n,,n=u,r=abc"));
    wire.said.clear();
    refuses(&mut wire, &octets("F0 63"), 0x95, "20 03 00 95 00");
}

/// Users may change while a client is on its way in: what holds at its end counts.
#[test]
fn who_is_on_the_way_in_is_judged_by_the_users_there_are_by_then() {
    let with = |password: Option<&[u8]>, is_kept: bool| {
        let mut users = users();
        let mut next = users.successor();
        if let Some(password) = password {
            assert!(next.add("u", Credential::Password(password)));
        }
        users.replace(next, |name| name == "v" || is_kept);
        users
    };
    for (users, is_let_in) in [
        (with(None, true), true),
        // The same again.
        (with(Some(b"pencil"), false), true),
        (with(Some(b"crayon"), false), false),
        (with(None, false), false),
    ] {
        let mut wire = wire();
        wire.feed(&connect_with(METHOD, "n,,n=u,r=abc"));
        let server_first = data_of(&wire.said, "18");
        wire.said.clear();
        wire.authenticator = Box::new(users);
        let (client_final, _) = prove("n=u,r=abc", &server_first, "pencil");
        if is_let_in {
            assert_eq!(wire.feed(&auth_with("18", &client_final)).heard.len(), 1);
        } else {
            refuses(&mut wire, &auth_with("18", &client_final), 0x87, "20 03 00 87 00");
        }
    }
}
