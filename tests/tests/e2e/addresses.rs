//! Where the gateway listens, and from where it answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use system_tests::client::mqtt::MqttClient;
use system_tests::client::sn::SnClient;
use system_tests::gateway::{self, Gateway};
use system_tests::hex::octets;
use system_tests::process::PATIENCE;

const ANYBODY: &str = "allow_anonymous = true";

fn socket(bind: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((bind, 0)).expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
    socket
}

/// Connects at `to`; the answers come from the very address that was asked.
#[track_caller]
fn check_answer(to: SocketAddr) {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from([0_u16; 8]) };
    let socket = socket(any);
    let mut buffer = [0; 64];
    for (request, answer) in
        [("03 01 00", "03 02 01"), ("0A 04 04 01 00 3C 'dev1'", "03 05 00"), ("02 16", "02 17")]
    {
        socket.send_to(&octets(request), to).expect("a gateway that listens");
        let (length, from) = socket.recv_from(&mut buffer).expect("an answer");
        assert_eq!((&buffer[..length], from), (&octets(answer)[..], to), "{request}");
    }
}

/// SN-026 and all others on a machine with several addresses: a device takes answers from the
/// address that it asked, and its router lets no others in.
#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    let gateway = Gateway::builder()
        .listener("mqtt", "127.0.0.1:0", "")
        .listener("mqtt-sn", "0.0.0.0:0", ANYBODY)
        .start();
    for last in [1, 2, 77] {
        let to = Ipv4Addr::new(127, 0, 0, last);
        check_answer(SocketAddr::from((to, gateway.mqtt_sn().port())));
    }
}

/// A message to a subscriber leaves from there, too.
#[test]
fn a_message_leaves_from_the_address_that_its_subscriber_knows() {
    let gateway = Gateway::builder()
        .listener("mqtt", "0.0.0.0:0", ANYBODY)
        .listener("mqtt-sn", "0.0.0.0:0", ANYBODY)
        .start();
    let known = SocketAddr::from(([127, 0, 0, 2], gateway.mqtt_sn().port()));
    // The client takes nothing from other addresses.
    let mut sn = SnClient::connect(known, "subscriber");
    sn.subscribe("a", 1);
    let server = SocketAddr::from(([127, 0, 0, 3], gateway.mqtt().port()));
    let mut mqtt = MqttClient::connect(server, "publisher");
    mqtt.publish("a", "hi", 1);
    sn.expect_message("a", "hi", 1);
    sn.sleep(60);
    mqtt.publish("a", "later", 1);
    assert_eq!(sn.wake().len(), 1);
}

/// Link-local addresses of this machine, each with its interface.
fn link_local() -> Vec<SocketAddrV6> {
    const LINK: &str = "20";
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let addresses = table.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let address = u128::from_str_radix(fields.first()?, 16).ok()?;
        let interface = u32::from_str_radix(fields.get(1)?, 16).ok()?;
        let is_link = fields.get(3) == Some(&LINK);
        is_link.then(|| SocketAddrV6::new(Ipv6Addr::from(address), 0, 0, interface))
    });
    addresses.collect()
}

/// A link-local address says nothing without its interface: the ready line names it, and answers
/// take it.
#[test]
fn a_link_local_address_is_served_with_its_interface() {
    let Some(address) = link_local().first().copied() else {
        eprintln!("NOT RUN: this machine has no link-local address");
        return;
    };
    let bind = format!("[{}%{}]:0", address.ip(), address.scope_id());
    let gateway = Gateway::builder()
        .listener("mqtt", &bind, ANYBODY)
        .listener("mqtt-sn", &bind, ANYBODY)
        .listener("mqtt-sn", "[::]:0", ANYBODY)
        .start();
    for ready in [gateway.mqtt(), gateway.mqtt_sn()] {
        let SocketAddr::V6(ready) = ready else { panic!("{ready} is not IPv6") };
        assert_eq!((ready.ip(), ready.scope_id()), (address.ip(), address.scope_id()));
    }
    MqttClient::connect(gateway.mqtt(), "client").ping();
    check_answer(gateway.mqtt_sn());
    // The same where the listener stands for all addresses.
    let any = gateway.endpoints("mqtt-sn")[1].port();
    let scope = address.scope_id();
    check_answer(SocketAddrV6::new(*address.ip(), any, 0, scope).into());
    check_answer(SocketAddr::from((Ipv6Addr::LOCALHOST, any)));
}

/// One gateway with many listeners of each kind serves them all alike.
#[test]
fn a_client_may_come_by_any_listener() {
    let mut builder = Gateway::builder();
    for kind in ["mqtt", "mqtt-sn"] {
        for bind in ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0", "0.0.0.0:0", "127.0.0.1:0"] {
            let more = if bind.starts_with('0') { ANYBODY } else { "" };
            builder = builder.listener(kind, bind, more);
        }
    }
    let gateway = builder.start();
    let reachable = |address: &SocketAddr| match address.ip() {
        ip if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        _ => *address,
    };
    let mqtt: Vec<_> = gateway.endpoints("mqtt").iter().map(reachable).collect();
    let sn: Vec<_> = gateway.endpoints("mqtt-sn").iter().map(reachable).collect();
    assert_eq!((mqtt.len(), sn.len()), (5, 5));
    for (number, (mqtt, sn)) in mqtt.into_iter().zip(sn).enumerate() {
        let mut subscriber = MqttClient::connect(mqtt, &format!("subscriber{number}"));
        subscriber.subscribe("a/#", 1);
        let mut sensor = SnClient::connect(sn, &format!("sensor{number}"));
        sensor.publish("a/x", "hi", 1);
        subscriber.expect_message("a/x", "hi", 1);
        subscriber.disconnect();
    }
}

/// SN-014, SN-040, SN-042: who does not know the address of the gateway asks the group, and is told
/// now and then without asking.
#[test]
fn the_gateway_is_found_by_its_multicast_group() {
    const GROUP: Ipv4Addr = Ipv4Addr::new(225, 1, 1, 1);
    let gateway = Gateway::builder()
        .listener("mqtt", "127.0.0.1:0", "")
        .listener("mqtt-sn", "127.0.0.1:0", "multicast = [\"225.1.1.1\"]")
        .mqtt_sn("gateway_id = 7\nadvertise_s = 1")
        .start();
    let port = gateway.mqtt_sn().port();
    let hearing = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    hearing.set_reuse_address(true).expect("a socket");
    hearing.bind(&SocketAddr::from((GROUP, port)).into()).expect("the group");
    hearing.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).expect("loopback");
    let hearing = UdpSocket::from(hearing);
    hearing.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
    let asking = socket(Ipv4Addr::LOCALHOST.into());
    let options = socket2::SockRef::from(&asking);
    options.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("loopback");
    asking.send_to(&octets("03 01 01"), (GROUP, port)).expect("loopback takes it");
    // Everybody in the group hears the answer, and from where it came.
    let (gwinfo, advertise) = (octets("03 02 07"), octets("05 00 07 00 01"));
    let mut missing = vec![gwinfo, advertise];
    let mut buffer = [0; 64];
    while !missing.is_empty() {
        let (length, from) = hearing.recv_from(&mut buffer).expect("GWINFO and ADVERTISE");
        if from == gateway.mqtt_sn() {
            missing.retain(|expected| *expected != buffer[..length]);
        }
    }
}

/// What is refused is told in one line, and what to type in another.
#[test]
fn a_listener_for_everybody_has_to_be_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    for (kind, bind) in [
        ("mqtt", "0.0.0.0:0"),
        ("mqtt-sn", "0.0.0.0:0"),
        ("mqtt", "[::]:0"),
        ("mqtt-sn", "192.168.1.1:1883"),
        ("mqtt", "[fe80::1%1]:1883"),
    ] {
        let listener = format!("[[listener]]\nkind = \"{kind}\"\nbind = \"{bind}\"\n");
        std::fs::write(dir.path().join("gw.toml"), listener).expect("the folder is ours");
        let option = format!("--{kind}");
        for args in [&["--config", "gw.toml"][..], &[&option, bind]] {
            let refused = gateway::run(dir.path(), args);
            assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{args:?}");
            let lines: Vec<_> = refused.stderr.lines().collect();
            let [what, right] = lines[..] else { panic!("{args:?}: {lines:?}") };
            assert!(what.contains(bind.trim_end_matches(":0")), "{args:?}: {what}");
            assert!(right.contains("allow_anonymous = true"), "{args:?}: {right}");
        }
    }
}
