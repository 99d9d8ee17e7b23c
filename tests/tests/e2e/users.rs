//! Users of the configuration, octet by octet.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use system_tests::gateway::Gateway;

/// What a client of 3.1.1 with these flags and fields behind its identifier is told before the
/// connection closes or says no more.
fn greet(address: SocketAddr, flags: u8, fields: &[u8]) -> [u8; 4] {
    let body = [&b"\0\x04MQTT\x04"[..], &[flags], b"\0\0\0\x01c", fields].concat();
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket has time-outs");
    let len = u8::try_from(body.len()).expect("it is short");
    stream.write_all(&[&[0x10, len][..], &body].concat()).expect("it reads");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("it answers");
    connack
}

/// [MQTT-3.2.2-5], [MQTT5-3.1.4-2]
#[test]
fn a_user_comes_in_with_the_right_password_and_a_client_without_a_name_as_before() {
    let gateway = Gateway::builder()
        .listener("mqtt", "127.0.0.1:0", "")
        .text("[[user]]\nname = \"u\"\npassword = \"pencil\"")
        .start();
    assert_eq!(greet(gateway.mqtt(), 0xC2, b"\0\x01u\0\x06pencil"), [0x20, 2, 0, 0]);
    assert_eq!(greet(gateway.mqtt(), 0xC2, b"\0\x01u\0\x06pencik"), [0x20, 2, 0, 4]);
    assert_eq!(greet(gateway.mqtt(), 0xC2, b"\0\x01z\0\x06pencil"), [0x20, 2, 0, 4]);
    assert_eq!(greet(gateway.mqtt(), 0x82, b"\0\x01u"), [0x20, 2, 0, 4]);
    assert_eq!(greet(gateway.mqtt(), 0x02, b""), [0x20, 2, 0, 0]);
}

/// [MQTT-3.2.2-5]: a listener can be for users only; another one of the same gateway need not be.
#[test]
fn a_listener_for_users_only_refuses_clients_without_a_name() {
    let gateway = Gateway::builder()
        .listener("mqtt", "127.0.0.1:0", "allow_anonymous = false")
        .listener("mqtt", "127.0.0.1:0", "")
        .text("[[user]]\nname = \"u\"\npassword = \"pencil\"")
        .start();
    let &[users_only, everybody] = gateway.endpoints("mqtt") else { panic!("two listeners") };
    for _ in 0..2 {
        assert_eq!(greet(users_only, 0x02, b""), [0x20, 2, 0, 5]);
        assert_eq!(greet(users_only, 0xC2, b"\0\x01u\0\x06pencil"), [0x20, 2, 0, 0]);
        assert_eq!(greet(everybody, 0x02, b""), [0x20, 2, 0, 0]);
    }
}
