//! TCP listeners on real loopback sockets.
//!
//! The want of descriptors is shown by a child process of this test with a limit of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use mqtt_sn_gw::net::listener::{AcceptEnd, Accepted, TcpListenerPort};
use mqtt_sn_gw::net::raise_descriptor_limit;
use socket2::{Domain, SockRef, Socket, Type};

/// How long an event may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Set in the child process that lives with few descriptors.
const CHILD: &str = "NET_LISTENER_CHILD";

struct Loop {
    poll: Poll,
    port: TcpListenerPort,
    accepted: Vec<Accepted>,
}

impl Loop {
    fn bind(address: &str) -> Self {
        let mut port = TcpListenerPort::bind(address.parse().unwrap()).unwrap();
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut port, Token(0), Interest::READABLE).unwrap();
        Self { poll, port, accepted: Vec::new() }
    }

    fn wait(&mut self) {
        let mut events = Events::with_capacity(8);
        self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "nobody connected");
    }

    fn accept(&mut self, budget: usize) -> AcceptEnd {
        self.port.accept(budget, &mut self.accepted)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.port.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

#[test]
fn connections_are_accepted_within_the_budget() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    let clients: Vec<TcpStream> = (0..10).map(|_| gateway.connect()).collect();
    gateway.wait();
    assert_eq!(gateway.accept(0), AcceptEnd::BudgetSpent);
    assert_eq!(gateway.accept(4), AcceptEnd::BudgetSpent);
    assert_eq!(gateway.accepted.len(), 4);
    assert_eq!(gateway.accept(7), AcceptEnd::Drained);
    assert_eq!(gateway.port.stats().accepted, 10);
    let peers: Vec<SocketAddr> = gateway.accepted.iter().map(|accepted| accepted.peer).collect();
    let expect: Vec<SocketAddr> =
        clients.iter().map(|client| client.local_addr().unwrap()).collect();
    assert_eq!(peers, expect);
}

#[test]
fn a_connection_after_draining_is_a_new_event() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    for count in 1..4 {
        let _client = gateway.connect();
        gateway.wait();
        assert_eq!(gateway.accept(16), AcceptEnd::Drained);
        assert_eq!(gateway.accepted.len(), count);
    }
}

#[test]
fn accepted_connections_send_at_once_and_probe_silent_peers() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    let _client = gateway.connect();
    gateway.wait();
    gateway.accept(1);
    let stream = &gateway.accepted[0].stream;
    assert!(stream.nodelay().unwrap());
    let socket = SockRef::from(stream);
    assert!(socket.keepalive().unwrap());
    let silence = socket.tcp_keepalive_time().unwrap()
        + socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
    assert_eq!(silence, Duration::from_secs(180));
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(silence));
    let mut byte = [0];
    let error = Read::read(&mut &*stream, &mut byte).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

/// The kernel would take megabytes for each peer that does not read, and hide them.
#[test]
fn what_a_peer_does_not_read_waits_here_and_not_in_the_kernel() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_recv_buffer_size(4_096).unwrap();
    client.connect(&gateway.port.address().into()).unwrap();
    gateway.wait();
    gateway.accept(1);
    let mut stream = &gateway.accepted[0].stream;
    let piece = [7; 4_096];
    let mut taken = 0;
    while let Ok(count) = Write::write(&mut stream, &piece) {
        taken += count;
        assert!(taken < 512 << 10, "the kernel takes more and more");
    }
    assert!(taken >= 64 << 10, "{taken} octets are too few for a busy link");
}

#[test]
fn a_connection_that_ended_before_it_was_accepted_disturbs_nobody() {
    let mut gateway = Loop::bind("127.0.0.1:0");
    for _ in 0..3 {
        let gone = gateway.connect();
        SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
        drop(gone);
    }
    let stays = gateway.connect();
    gateway.wait();
    assert_eq!(gateway.accept(16), AcceptEnd::Drained);
    let last = gateway.accepted.last().unwrap();
    assert_eq!(last.peer, stays.local_addr().unwrap());
}

#[test]
fn one_number_serves_both_ip_versions_side_by_side() {
    if !has_ipv6() {
        return;
    }
    let pair = || {
        let v4 = TcpListenerPort::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let v6 = format!("[::]:{}", v4.address().port()).parse().unwrap();
        Some((v4, TcpListenerPort::bind(v6).ok()?))
    };
    // The number may be in use for the other version, so there are a few tries.
    let (v4, mut v6) = (0..10).find_map(|_| pair()).unwrap();
    assert_eq!(v6.address().port(), v4.address().port());
    let client = TcpStream::connect(("::1", v6.address().port())).unwrap();
    let mut accepted = Vec::new();
    v6.accept(1, &mut accepted);
    assert_eq!(accepted[0].peer, client.local_addr().unwrap());
    assert!(TcpListenerPort::bind(v4.address()).is_err(), "but each only once");
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_it_goes() {
    let limit = raise_descriptor_limit().unwrap();
    assert_eq!(limit.soft, limit.hard);
    assert_eq!(raise_descriptor_limit().unwrap(), limit);
}

/// Says loudly that the machine has no IPv6, if so.
fn has_ipv6() -> bool {
    let has = UdpSocket::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("SKIPPED: this machine has no IPv6");
    }
    has
}

/// Reads until the other side closes.
fn is_closed(client: &mut TcpStream) -> bool {
    client.read(&mut [0; 8]).is_ok_and(|len| len == 0)
}

/// Runs `name` of this file again in a process that may have 40 descriptors.
fn run_with_few_descriptors(name: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 40 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(program)
        .arg(name)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("1 passed"), "{log}");
}

/// Takes descriptors until there are none, and gives back as many as are asked for.
fn exhaust_but(spare: usize) -> Vec<UnixDatagram> {
    let mut held: Vec<UnixDatagram> =
        std::iter::from_fn(|| UnixDatagram::unbound().ok()).take(1_000).collect();
    assert!(held.len() < 100, "the limit is not in force");
    held.truncate(held.len() - spare);
    held
}

#[test]
fn without_descriptors_the_old_are_served_and_the_new_refused() {
    let name = "without_descriptors_the_old_are_served_and_the_new_refused";
    if std::env::var_os(CHILD).is_none() {
        return run_with_few_descriptors(name);
    }
    let mut gateway = Loop::bind("127.0.0.1:0");
    let _old = gateway.connect();
    gateway.wait();
    assert_eq!(gateway.accept(16), AcceptEnd::Drained);
    let mut held = exhaust_but(4);
    let mut clients: Vec<TcpStream> = (0..4).map(|_| gateway.connect()).collect();
    assert!(UnixDatagram::unbound().is_err(), "no descriptor is left");

    gateway.wait();
    assert_eq!(gateway.accept(2), AcceptEnd::BudgetSpent, "refusing has its budget too");
    assert_eq!(gateway.accept(16), AcceptEnd::Drained, "the queue empties, nothing spins");
    assert_eq!(gateway.port.stats().refused, 4);
    assert_eq!(gateway.accepted.len(), 1, "the old one is still there");
    assert!(clients.iter_mut().all(is_closed), "each is told");

    drop((clients, held.pop()));
    let client = gateway.connect();
    gateway.wait();
    assert_eq!(gateway.accept(16), AcceptEnd::Drained);
    assert_eq!(gateway.accepted.len(), 2, "recovery at once");
    assert_eq!(gateway.accepted[1].peer, client.local_addr().unwrap());
    client.shutdown(Shutdown::Both).unwrap();
}

#[test]
fn when_not_even_the_reserve_helps_the_listener_asks_to_be_called_again() {
    let name = "when_not_even_the_reserve_helps_the_listener_asks_to_be_called_again";
    if std::env::var_os(CHILD).is_none() {
        return run_with_few_descriptors(name);
    }
    let mut gateway = Loop::bind("127.0.0.1:0");
    let client = gateway.connect();
    gateway.wait();
    // From here on even the descriptors in use are more than the limit allows.
    let pid = std::process::id().to_string();
    match Command::new("prlimit").args(["--nofile=3:", "--pid", &pid]).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => return eprintln!("SKIPPED: no prlimit on this machine: {error}"),
    }
    for _ in 0..3 {
        assert_eq!(gateway.accept(1_000), AcceptEnd::OutOfDescriptors, "at once, nothing spins");
    }
    assert_eq!(raise_descriptor_limit().unwrap().soft, 40);
    assert_eq!(gateway.accept(16), AcceptEnd::Drained);
    assert_eq!(gateway.accepted[0].peer, client.local_addr().unwrap(), "it waited");
    assert_eq!(gateway.port.stats().refused, 0);
}
