//! UDP ports on real loopback sockets.
//!
//! Nothing here waits for time to pass: every wait is for an event, with a limit that only a
//! failure reaches.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use bench::{Loop, bind, firsts, has_ipv6, peer, receive_from};

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use mio::{Events, Token};
use mqtt_sn_gw::net::udp::{
    Group, GroupRequest, JoinError, LocalAddr, Received, Sent, UdpOptions, UdpPort,
};

/// How long an event may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Set in the child process that has a network of its own.
const CHILD: &str = "NET_UDP_CHILD";

/// The longest datagram of UDP over IPv4.
const LONGEST: usize = 65_507;

#[test]
fn datagrams_come_in_order_64_at_a_time() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    let sensor = peer("127.0.0.1:0");
    for i in 0..150_u8 {
        sensor.send_to(&[i, 0x16], gateway.port.address()).unwrap();
    }
    gateway.wait();
    let (received, mut all) = gateway.receive(usize::MAX);
    assert_eq!(received, Received { datagrams: 64, drained: false });
    let (received, second) = gateway.receive(64);
    assert_eq!(received, Received { datagrams: 64, drained: false });
    let (received, third) = gateway.receive(64);
    assert_eq!(received, Received { datagrams: 22, drained: true });
    all.extend([second, third].concat());
    assert_eq!(firsts(&all), (0..150).collect::<Vec<u8>>());
    assert!(all.iter().all(|datagram| datagram.from == sensor.local_addr().unwrap()));
    assert_eq!(gateway.port.stats().datagrams_in, 150);
    assert_eq!(gateway.port.stats().bytes_in, 300);
    assert_eq!(gateway.port.stats().receive_calls, 3);
}

#[test]
fn a_budget_that_ended_is_not_drained() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    let sensor = peer("127.0.0.1:0");
    for i in 0..10_u8 {
        sensor.send_to(&[i], gateway.port.address()).unwrap();
    }
    gateway.wait();
    let (received, first) = gateway.receive(4);
    assert_eq!(received, Received { datagrams: 4, drained: false });
    let (received, none) = gateway.receive(0);
    assert_eq!((received, none), (Received { datagrams: 0, drained: false }, vec![]));
    let (received, second) = gateway.receive(6);
    assert_eq!(received, Received { datagrams: 6, drained: false }, "there may be more");
    let (received, _) = gateway.receive(6);
    assert_eq!(received, Received { datagrams: 0, drained: true });
    assert_eq!(firsts(&[first, second].concat()), (0..10).collect::<Vec<u8>>());
}

#[test]
fn what_comes_after_draining_is_a_new_event() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    let sensor = peer("127.0.0.1:0");
    for i in 0..5_u8 {
        sensor.send_to(&[i], gateway.port.address()).unwrap();
        assert_eq!(firsts(&gateway.expect(1)), [i]);
        assert!(gateway.receive(64).0.drained);
    }
}

#[test]
fn the_longest_datagram_comes_in_and_goes_out_whole() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let mut gateway = Loop::bind(address);
        let sensor = peer("127.0.0.1:0");
        let to = SocketAddr::new("127.0.0.1".parse().unwrap(), gateway.port.address().port());
        let long: Vec<u8> = (0..LONGEST).map(|i| (i % 251) as u8).collect();
        sensor.send_to(b"before", to).unwrap();
        sensor.send_to(&long, to).unwrap();
        sensor.send_to(b"after", to).unwrap();
        let arrived = gateway.expect(3);
        assert_eq!(arrived[0].bytes, b"before");
        assert!(arrived[1].bytes == long, "{} octets", arrived[1].bytes.len());
        assert_eq!(arrived[2].bytes, b"after");
        assert_eq!(gateway.port.stats().truncated, 0);

        gateway.answer(&arrived[1], &long);
        assert!(receive_from(&sensor).0 == long);
    }
}

#[test]
fn empty_datagrams_are_datagrams() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    let sensor = peer("127.0.0.1:0");
    sensor.send_to(&[], gateway.port.address()).unwrap();
    sensor.send_to(b"x", gateway.port.address()).unwrap();
    let arrived = gateway.expect(2);
    assert_eq!((arrived[0].bytes.len(), arrived[1].bytes.len()), (0, 1));
}

#[test]
fn a_port_on_all_addresses_answers_from_the_one_that_was_asked() {
    let mut gateway = Loop::bind("0.0.0.0:0");
    let sensor = peer("127.0.0.1:0");
    for asked in ["127.0.0.1", "127.0.0.2", "127.9.8.7"] {
        let asked = SocketAddr::new(asked.parse().unwrap(), gateway.port.address().port());
        sensor.send_to(b"\x03\x01\x00", asked).unwrap();
        let arrived = gateway.expect(1);
        assert_eq!(arrived[0].to.ip, Some(asked.ip()));
        assert_ne!(arrived[0].to.interface, 0);
        assert_eq!(arrived[0].group, None);
        gateway.answer(&arrived[0], b"\x03\x02\x01");
        assert_eq!(receive_from(&sensor), (b"\x03\x02\x01".to_vec(), asked));
    }
}

#[test]
fn one_batch_answers_from_many_addresses() {
    let mut gateway = Loop::bind("0.0.0.0:0");
    let port = gateway.port.address().port();
    let asked: Vec<SocketAddr> =
        (1..=100_u8).map(|i| SocketAddr::from(([127, 0, 0, i], port))).collect();
    let sensor = peer("127.0.0.1:0");
    for to in &asked {
        sensor.send_to(b"?", to).unwrap();
    }
    for datagram in gateway.expect(100) {
        gateway.outgoing.push(datagram.from, Some(datagram.to), b"!").unwrap();
    }
    assert_eq!(gateway.transmit(), Sent { datagrams: 100, dropped: 0, blocked: false });
    assert_eq!(gateway.port.stats().send_calls, 2);
    let answers: Vec<SocketAddr> = asked.iter().map(|_| receive_from(&sensor).1).collect();
    assert_eq!(answers, asked);
}

#[test]
fn ipv6_answers_from_the_address_that_was_asked() {
    if !has_ipv6() {
        return;
    }
    for address in ["[::]:0", "[::1]:0"] {
        let mut gateway = Loop::bind(address);
        let sensor = peer("[::1]:0");
        let asked = SocketAddr::new("::1".parse().unwrap(), gateway.port.address().port());
        sensor.send_to(b"?", asked).unwrap();
        let arrived = gateway.expect(1);
        assert_eq!(arrived[0].from, sensor.local_addr().unwrap());
        assert_eq!(arrived[0].to.ip, Some(asked.ip()));
        gateway.answer(&arrived[0], b"!");
        assert_eq!(receive_from(&sensor), (b"!".to_vec(), asked));
    }
}

#[test]
fn one_number_serves_both_ip_versions_side_by_side() {
    if !has_ipv6() {
        return;
    }
    let pair = || {
        let v4 = bind("0.0.0.0:0");
        let v6 = format!("[::]:{}", v4.address().port()).parse().unwrap();
        Some((v4, UdpPort::bind(v6, &UdpOptions::default()).ok()?))
    };
    // The number may be in use for the other version, so there are a few tries.
    let (v4, v6) = (0..10).find_map(|_| pair()).unwrap();
    let number = v4.address().port();
    let (mut v4, mut v6) = (Loop::new(v4), Loop::new(v6));
    let sensor = peer("127.0.0.1:0");
    sensor.send_to(b"four", (IpAddr::from([127, 0, 0, 1]), number)).unwrap();
    assert_eq!(v4.expect(1)[0].bytes, b"four");
    v6.expect_silence();
}

/// An interface with a link-local address, and that address with its scope.
fn link_local() -> Option<(String, SocketAddr)> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let ip = std::net::Ipv6Addr::from(u128::from_str_radix(fields[0], 16).ok()?);
        let scope = u32::from_str_radix(fields[1], 16).ok()?;
        let address = std::net::SocketAddrV6::new(ip, 0, 0, scope);
        ip.is_unicast_link_local().then(|| (fields[5].to_owned(), SocketAddr::V6(address)))
    })
}

#[test]
fn link_local_addresses_are_answered_within_their_scope() {
    let Some((_, own)) = link_local() else {
        return eprintln!("SKIPPED: no interface of this machine has a link-local IPv6 address");
    };
    let SocketAddr::V6(own) = own else { unreachable!() };
    for address in [SocketAddr::V6(own), "[::]:0".parse().unwrap()] {
        let mut gateway = Loop::new(UdpPort::bind(address, &UdpOptions::default()).unwrap());
        let mut asked = own;
        asked.set_port(gateway.port.address().port());
        let sensor = UdpSocket::bind(own).unwrap();
        sensor.set_read_timeout(Some(PATIENCE)).unwrap();
        sensor.send_to(b"?", asked).unwrap();
        let arrived = gateway.expect(1);
        assert_eq!(arrived[0].from, sensor.local_addr().unwrap(), "the scope is kept");
        let to = LocalAddr { ip: Some(IpAddr::V6(*own.ip())), interface: own.scope_id() };
        // The kernel delivers what a machine sends to itself through the loopback interface.
        assert_eq!(arrived[0].to.ip, to.ip);
        gateway.answer(&arrived[0], b"!");
        assert_eq!(receive_from(&sensor), (b"!".to_vec(), SocketAddr::V6(asked)));
    }
}

#[test]
fn a_datagram_that_cannot_go_costs_no_other() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let mut gateway = Loop::bind(address);
        let sensor = peer("127.0.0.1:0");
        let good = sensor.local_addr().unwrap();
        let out = &mut gateway.outgoing;
        out.push("0.0.0.1:0".parse().unwrap(), None, b"no such address").unwrap();
        out.push(good, None, b"1").unwrap();
        out.push(good, None, &vec![0; LONGEST + 1]).unwrap();
        out.push("[::1]:1883".parse().unwrap(), None, b"not our family").unwrap();
        out.push("255.255.255.255:1883".parse().unwrap(), None, b"broadcast").unwrap();
        out.push(good, None, b"2").unwrap();
        assert_eq!(gateway.transmit(), Sent { datagrams: 2, dropped: 4, blocked: false });
        assert_eq!(receive_from(&sensor).0, b"1");
        assert_eq!(receive_from(&sensor).0, b"2");
        let stats = gateway.port.stats();
        assert_eq!(stats.dropped_too_long, 1);
        assert_eq!(stats.dropped_unreachable, 2);
        assert_eq!(stats.dropped_forbidden, 1, "broadcast was never allowed on the socket");
        assert_eq!((stats.datagrams_out, stats.bytes_out), (2, 2));
    }
}

#[test]
fn a_receiver_that_is_gone_does_not_disturb_the_port() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    let gone = peer("127.77.0.2:0").local_addr().unwrap();
    for _ in 0..100 {
        gateway.outgoing.push(gone, None, b"anybody there").unwrap();
    }
    assert_eq!(gateway.transmit(), Sent { datagrams: 100, dropped: 0, blocked: false });
    let sensor = peer("127.0.0.1:0");
    sensor.send_to(b"here", gateway.port.address()).unwrap();
    assert_eq!(gateway.expect(1)[0].bytes, b"here");
}

#[test]
fn nobody_takes_the_address_of_a_port() {
    let gateway = bind("127.0.0.1:0");
    let second = UdpPort::bind(gateway.address(), &UdpOptions::default());
    assert_eq!(second.err().unwrap().kind(), std::io::ErrorKind::AddrInUse);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    assert!(socket.bind(&gateway.address().into()).is_err(), "a thief with both options set");
}

#[test]
fn the_receive_buffer_and_what_did_not_fit_are_told() {
    let options = UdpOptions { receive_buffer_bytes: 4_096, ..UdpOptions::default() };
    let port = UdpPort::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
    let mut gateway = Loop::new(port);
    let granted = gateway.port.receive_buffer_bytes().unwrap();
    assert!((4_096..100_000).contains(&granted), "{granted}");
    assert_eq!(gateway.port.kernel_drops().unwrap(), 0);

    let sensor = peer("127.0.0.1:0");
    for _ in 0..1_000 {
        sensor.send_to(b"flood", gateway.port.address()).unwrap();
    }
    let mut came = 0;
    loop {
        let (received, _) = gateway.receive(64);
        came += received.datagrams;
        if received.drained {
            break;
        }
    }
    assert_eq!(came as u64 + gateway.port.kernel_drops().unwrap(), 1_000);
    assert!(came < 1_000);
}

#[test]
fn an_event_tells_that_a_port_is_writable_only_when_asked() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    gateway.port.want_writable(gateway.poll.registry(), Token(0), true).unwrap();
    let mut events = Events::with_capacity(8);
    gateway.poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(events.iter().any(|event| event.token() == Token(0) && event.is_writable()));
    gateway.port.want_writable(gateway.poll.registry(), Token(0), false).unwrap();
    gateway.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.iter().all(|event| !event.is_writable()));
    gateway.port.deregister(gateway.poll.registry()).unwrap();
}

/// Runs `name` of this file again where the loopback interface is slow: in a network of its own.
fn run_with_slow_loopback(name: &str) {
    let slow =
        "ip link set lo up && tc qdisc add dev lo root tbf rate 8mbit burst 2000 limit 1000000";
    let network = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", script]);
        command
    };
    if !network(&format!("{slow} 2>/dev/null")).status().is_ok_and(|status| status.success()) {
        return eprintln!("SKIPPED: this machine gives a test no network of its own to slow down");
    }
    let output = network(&format!("{slow} && exec \"$0\" --exact \"$1\" --nocapture"))
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("1 passed"), "{log}");
}

#[test]
fn what_the_kernel_has_no_room_for_leaves_in_order_when_it_has() {
    if std::env::var_os(CHILD).is_none() {
        return run_with_slow_loopback(
            "what_the_kernel_has_no_room_for_leaves_in_order_when_it_has",
        );
    }
    let mut gateway = Loop::bind("127.0.0.1:0");
    let sensor = peer("127.0.0.1:0");
    let to = sensor.local_addr().unwrap();
    for i in 0..400_u16 {
        let mut bytes = [0; 500];
        bytes[..2].copy_from_slice(&i.to_be_bytes());
        gateway.outgoing.push(to, None, &bytes).unwrap();
    }
    let mut events = Events::with_capacity(8);
    let mut received = 0;
    loop {
        let sent = gateway.transmit();
        for _ in 0..sent.datagrams {
            assert_eq!(receive_from(&sensor).0[..2], u16::to_be_bytes(received));
            received += 1;
        }
        if !sent.blocked {
            break;
        }
        gateway.port.want_writable(gateway.poll.registry(), Token(0), true).unwrap();
        gateway.poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(events.iter().any(mio::event::Event::is_writable), "nobody told");
    }
    assert_eq!(received, 400);
    assert!(gateway.outgoing.is_empty());
    assert!(gateway.port.stats().send_blocked > 0);
}

/// Joins, or says loudly that the machine has no multicast on that interface.
fn try_join(port: &mut UdpPort, request: &str) -> Option<Group> {
    let request: GroupRequest = request.parse().unwrap();
    match port.join(&request) {
        Ok(group) => Some(group),
        Err(JoinError::Refused(error)) => {
            eprintln!("SKIPPED: no multicast {request} on this machine: {error}");
            None
        }
        Err(error) => panic!("{request}: {error}"),
    }
}

/// A listener to a group, as a sensor is one.
fn group_listener(group: &Group, interface: u32) -> UdpSocket {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(group.address),
        socket2::Type::DGRAM,
        None,
    )
    .unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&group.address.into()).unwrap();
    match group.address.ip() {
        IpAddr::V4(ip) => {
            let interface = socket2::InterfaceIndexOrAddress::Index(interface);
            socket.join_multicast_v4_n(&ip, &interface).unwrap();
        }
        IpAddr::V6(ip) => socket.join_multicast_v6(&ip, interface).unwrap(),
    }
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// SEARCHGW to the group, GWINFO to the group from the service socket, and unicast as ever.
fn check_discovery(port: UdpPort, group: Group, sensor: UdpSocket, asked: SocketAddr) {
    let mut gateway = Loop::new(port);
    if let Err(error) = sensor.send_to(b"\x03\x01\x00", group.address) {
        return eprintln!("SKIPPED: no way to {} on this machine: {error}", group.address);
    }
    let search = gateway.expect(1).remove(0);
    assert_eq!(search.group, Some(group.address));
    assert_eq!(search.from, sensor.local_addr().unwrap());
    assert_ne!(search.to.interface, 0);

    let listener = group_listener(&group, search.to.interface);
    gateway.outgoing.push(group.address, Some(search.to), b"\x03\x02\x01").unwrap();
    gateway.outgoing.push(group.address, Some(group.from), b"\x05\x00\x01\x03\x84").unwrap();
    assert_eq!(gateway.transmit(), Sent { datagrams: 2, dropped: 0, blocked: false });
    let (info, info_from) = receive_from(&listener);
    let (advertise, advertise_from) = receive_from(&listener);
    assert_eq!((&info[..], &advertise[..]), (&b"\x03\x02\x01"[..], &b"\x05\x00\x01\x03\x84"[..]));
    let service = gateway.port.address().port();
    assert_eq!(info_from.port(), service, "from the service socket");
    assert_eq!(advertise_from.port(), service, "from the service socket");
    if asked.is_ipv4() {
        assert_eq!(info_from, asked, "from our address on the interface that was asked");
    }

    // The gateway hears itself, for its datagrams loop back to this machine.
    let echoes = gateway.expect(2);
    assert!(echoes.iter().all(|echo| echo.from.port() == service && echo.group == search.group));

    // What the group's listeners saw as the sender is the service.
    sensor.send_to(b"connect", asked).unwrap();
    let connect = gateway.expect(1).remove(0);
    assert_eq!((&connect.bytes[..], connect.group), (&b"connect"[..], None));
    gateway.answer(&connect, b"connack");
    assert_eq!(receive_from(&sensor), (b"connack".to_vec(), asked));
}

#[test]
fn a_port_on_one_address_hears_its_groups_and_answers_from_the_service_socket() {
    let mut port = bind("127.0.0.1:0");
    let Some(group) = try_join(&mut port, "225.1.1.1") else { return };
    assert_eq!(group.address.port(), port.address().port());
    assert_eq!(port.groups(), [group]);
    let sensor = peer("127.0.0.1:0");
    let asked = port.address();
    socket2::SockRef::from(&sensor).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
    check_discovery(port, group, sensor, asked);
}

#[test]
fn a_port_on_all_addresses_hears_its_groups_on_the_service_socket() {
    let mut port = bind("0.0.0.0:0");
    let Some(group) = try_join(&mut port, "225.1.1.2%lo") else { return };
    let sensor = peer("127.0.0.1:0");
    let asked = SocketAddr::new([127, 0, 0, 1].into(), port.address().port());
    socket2::SockRef::from(&sensor).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
    // The service socket holds the address without sharing it, so nobody else on this machine can
    // listen to the group on this port: what leaves is observed at the gateway itself.
    let mut gateway = Loop::new(port);
    sensor.send_to(b"\x03\x01\x00", group.address).unwrap();
    let search = gateway.expect(1).remove(0);
    assert_eq!(search.group, Some(group.address));
    assert_eq!(search.to.ip, Some([127, 0, 0, 1].into()), "an address of ours, not the group's");
    gateway.answer(&search, b"unicast");
    assert_eq!(receive_from(&sensor), (b"unicast".to_vec(), asked));
    gateway.outgoing.push(group.address, Some(search.to), b"\x03\x02\x01").unwrap();
    gateway.outgoing.push(group.address, Some(group.from), b"\x05\x00\x01\x03\x84").unwrap();
    assert_eq!(gateway.transmit(), Sent { datagrams: 2, dropped: 0, blocked: false });
    let echoes = gateway.expect(2);
    assert_eq!(echoes[0].from, asked, "from the address of the interface that was asked");
    assert_eq!(echoes[1].from.port(), asked.port());
    assert!(echoes.iter().all(|echo| echo.group == search.group));
}

#[test]
fn a_group_may_have_a_port_of_its_own() {
    for (address, number) in [("127.0.0.1:0", 0), ("0.0.0.0:0", 1)] {
        let mut port = bind(address);
        // A free number that is not the port's own.
        let other = peer("127.0.0.1:0").local_addr().unwrap().port();
        let request = format!("225.1.2.{number}%lo:{other}");
        let Some(group) = try_join(&mut port, &request) else { return };
        assert_eq!(group.address.port(), other);
        let sensor = peer("127.0.0.1:0");
        let asked = SocketAddr::new([127, 0, 0, 1].into(), port.address().port());
        socket2::SockRef::from(&sensor).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
        check_discovery(port, group, sensor, asked);
    }
}

#[test]
fn ipv6_groups_of_link_local_scope_work_on_their_interface() {
    let Some((name, own)) = link_local() else {
        return eprintln!("SKIPPED: no interface of this machine has a link-local IPv6 address");
    };
    let mut port = UdpPort::bind(own, &UdpOptions::default()).unwrap();
    assert!(matches!(
        bind("[::]:0").join(&"ff12::1883".parse().unwrap()),
        Err(JoinError::NoInterface)
    ));
    let Some(group) = try_join(&mut port, "ff12::1883") else { return };
    let SocketAddr::V6(address) = group.address else { unreachable!() };
    let SocketAddr::V6(own) = own else { unreachable!() };
    assert_eq!(address.scope_id(), own.scope_id(), "the interface {name} follows from the address");
    let sensor = UdpSocket::bind(own).unwrap();
    sensor.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = port.address();
    check_discovery(port, group, sensor, asked);
}

#[test]
fn ipv6_groups_of_wider_scope_work_on_a_named_interface() {
    let Some((name, own)) = link_local() else {
        return eprintln!("SKIPPED: no interface of this machine has a link-local IPv6 address");
    };
    let SocketAddr::V6(own) = own else { unreachable!() };
    let mut port = bind("[::]:0");
    let other = peer("[::1]:0").local_addr().unwrap().port();
    let request = format!("[ff15:feed:caca:dead::1%{name}]:{other}");
    let Some(group) = try_join(&mut port, &request) else { return };
    let sensor = UdpSocket::bind(own).unwrap();
    sensor.set_read_timeout(Some(PATIENCE)).unwrap();
    socket2::SockRef::from(&sensor).set_multicast_if_v6(own.scope_id()).unwrap();
    let mut asked = own;
    asked.set_port(port.address().port());
    check_discovery(port, group, sensor, SocketAddr::V6(asked));
}

#[test]
fn a_group_that_cannot_be_joined_leaves_the_port_as_it_was() {
    let mut port = bind("127.0.0.1:0");
    let request =
        |text: &str| GroupRequest { group: text.parse().unwrap(), interface: None, port: None };
    assert!(matches!(port.join(&request("192.0.2.1")), Err(JoinError::NotMulticast)));
    assert!(matches!(port.join(&request("ff1e::1")), Err(JoinError::WrongFamily)));
    let nowhere = "225.1.1.1%nowhere0".parse().unwrap();
    let error = port.join(&nowhere).unwrap_err();
    assert_eq!(error.to_string(), "there is no network interface nowhere0");
    assert_eq!(port.groups(), []);

    let mut gateway = Loop::new(port);
    let sensor = peer("127.0.0.1:0");
    sensor.send_to(b"?", gateway.port.address()).unwrap();
    let arrived = gateway.expect(1);
    gateway.answer(&arrived[0], b"!");
    assert_eq!(receive_from(&sensor).0, b"!");
}

#[test]
fn groups_are_bounded_and_joining_twice_changes_nothing() {
    let mut port = bind("127.0.0.1:0");
    let mut joined = BTreeSet::new();
    for i in 0..16 {
        let Some(group) = try_join(&mut port, &format!("225.7.7.{i}")) else { return };
        joined.insert(group.address);
        assert_eq!(try_join(&mut port, &format!("225.7.7.{i}")), Some(group));
    }
    assert_eq!(port.groups().len(), 16);
    assert_eq!(joined.len(), 16);
    let one_more = "225.7.7.16".parse().unwrap();
    assert!(matches!(port.join(&one_more), Err(JoinError::TooMany(16))));
}

#[test]
fn groups_that_only_others_joined_are_not_heard() {
    let mut gateway = Loop::bind("0.0.0.0:0");
    let mut other = bind("127.0.0.1:0");
    let group: SocketAddr =
        SocketAddr::new("225.3.3.3".parse().unwrap(), gateway.port.address().port());
    // A member of the group on this machine, though on another port, makes the kernel accept it.
    if try_join(&mut other, "225.3.3.3%lo").is_none() {
        return;
    }
    let sensor = peer("127.0.0.1:0");
    socket2::SockRef::from(&sensor).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
    sensor.send_to(b"not for us", group).unwrap();
    gateway.expect_silence();
}

#[test]
fn a_flood_on_the_service_does_not_silence_the_group() {
    let mut port = bind("127.0.0.1:0");
    let Some(group) = try_join(&mut port, "225.1.1.9") else { return };
    let mut gateway = Loop::new(port);
    let sensor = peer("127.0.0.1:0");
    socket2::SockRef::from(&sensor).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
    for _ in 0..500 {
        sensor.send_to(b"flood", gateway.port.address()).unwrap();
    }
    sensor.send_to(b"search", group.address).unwrap();
    let calls: Vec<bool> = (0..3).map(|_| gateway.receive(8).1[0].group.is_some()).collect();
    assert!(calls[..2].contains(&true), "the group has its turn at once");
}
