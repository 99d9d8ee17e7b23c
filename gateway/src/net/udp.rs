//! UDP ports: datagrams in and out by the batch, answers from the address that was asked, multicast
//! groups.
//!
//! A port is one *service socket*, and all that leaves, leaves through it. A socket bound to one
//! address hears no multicast, so a port bound that way opens one more socket per group, bound to
//! the group's address; a port bound to all addresses joins its groups on the service socket
//! itself.
//!
//! Nobody shares the service socket's address: it sets neither SO_REUSEADDR nor SO_REUSEPORT, with
//! which another process of this machine could take our unicast datagrams, and UDP has no closing
//! state that would delay a restart. Group sockets set SO_REUSEADDR: every socket bound to a group
//! gets its own copy, and several programs of one machine may listen to the same discovery.
//!
//! Which system calls: `cargo bench -p gateway --bench udp` compares all forms in one run. CPU time
//! per datagram of 40 octets on loopback, where a call costs a tenth of a microsecond and delivery
//! hides it:
//! - receive, 16 or 64 waiting: recvmmsg(64) 0.98 of a recv_from loop, recvmmsg(32) the same, a
//!   recvmsg loop 1.24.
//! - receive, one waiting: recvmmsg 1.11 of recv_from and its second call that finds the socket
//!   empty, recvmsg 1.22.
//! - receive with packet information, which recv_from cannot do: recvmmsg(64) 0.88 of a recvmsg
//!   loop.
//! - send, 64: sendmmsg 0.96 of a send_to loop; 16: 0.96; one: 1.08, so one alone goes by send_to.
//! - packet information: 1.11 of a receive without it and 1.04 of a send, so only ports on all
//!   addresses ask for it.
//!
//! So datagrams come by recvmmsg, the one form that is never far from the best, and gains where
//! calls cost more.

mod group;
mod raw;
mod receive;
mod stats;
mod transmit;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

pub use group::{Group, GroupRequest, JoinError, ParseGroupError};
pub use receive::{Datagram, ReceiveBatch};
use receive::{Origin, is_link_local};
pub use stats::UdpStats;
use transmit::Entry;
pub use transmit::{BatchFull, Sent, TransmitBatch};

use super::sys;

/// Errors in a row after which one [`UdpPort::receive`] gives up: far more than ICMP messages bring
/// at once, few enough that a broken socket cannot hold the loop.
const RECEIVE_ERRORS_MAX: usize = 16;

/// The socket of a port that everything is sent from.
const SERVICE: usize = 0;

/// Where a datagram came to, and where its answer leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LocalAddr {
    /// An address of this machine; `None` leaves the choice to the kernel.
    pub ip: Option<IpAddr>,
    /// Index of a network interface; 0 leaves the choice to the kernel. Used only where an address
    /// is not enough: for multicast and for link-local IPv6 addresses. Other answers follow the
    /// routes.
    pub interface: u32,
}

/// How a port is opened.
#[derive(Debug, Clone)]
pub struct UdpOptions {
    /// Octets of receive buffer to ask the kernel for; it grants up to `net.core.rmem_max`.
    pub receive_buffer_bytes: usize,
    /// Routers that a multicast datagram passes at most, plus one.
    pub multicast_ttl: u32,
    /// Multicast datagrams also reach the listeners of this machine.
    pub multicast_loop: bool,
}

impl Default for UdpOptions {
    /// 4 MiB, some 5,000 short datagrams, which is what arrives in 50 ms of a flood of 100,000 in a
    /// second; multicast stays on the link and reaches this machine too.
    fn default() -> Self {
        Self { receive_buffer_bytes: 4 * 1024 * 1024, multicast_ttl: 1, multicast_loop: true }
    }
}

/// What a [`UdpPort::receive`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Datagrams in the batch.
    pub datagrams: usize,
    /// No socket of the port has more: the next event tells when there is. Otherwise the caller
    /// keeps the port on its list of unfinished work, since no event will come for what already
    /// waits.
    pub drained: bool,
}

/// A UDP port of the gateway with its multicast groups.
pub struct UdpPort {
    /// The service socket, then the sockets of groups.
    endpoints: Vec<Endpoint>,
    /// The endpoint whose turn it is to be read.
    next: usize,
    groups: Vec<Group>,
    address: SocketAddr,
    options: UdpOptions,
    stats: UdpStats,
}

struct Endpoint {
    socket: UdpSocket,
    /// What is the same for all that comes in here.
    origin: Origin,
    /// Where it is bound.
    address: SocketAddr,
    /// It may have datagrams that nobody read.
    ready: bool,
}

impl UdpPort {
    /// Opens a port. Port 0 takes a free one, see [`address`](Self::address).
    ///
    /// An IPv6 port is for IPv6 alone: IPv4 gets a port of its own, and neither sees addresses of
    /// the other.
    ///
    /// # Errors
    /// The address is not of this machine or in use, or there are no descriptors.
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let socket = open(address)?;
        socket.set_recv_buffer_size(options.receive_buffer_bytes)?;
        let wildcard = address.ip().is_unspecified();
        if wildcard {
            hear_joined_groups_only(&socket, address)?;
        }
        match address {
            SocketAddr::V4(_) => {
                socket.set_multicast_ttl_v4(options.multicast_ttl)?;
                socket.set_multicast_loop_v4(options.multicast_loop)?;
            }
            SocketAddr::V6(_) => {
                socket.set_multicast_hops_v6(options.multicast_ttl)?;
                socket.set_multicast_loop_v6(options.multicast_loop)?;
            }
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into());
        let address = socket.local_addr()?;
        let bound = if wildcard { LocalAddr::default() } else { local_addr(address) };
        let origin = Origin { bound, port: address.port() };
        let service = Endpoint { socket, origin, address, ready: true };
        Ok(Self {
            endpoints: vec![service],
            next: SERVICE,
            groups: Vec::new(),
            address,
            options: options.clone(),
            stats: UdpStats::default(),
        })
    }

    /// Where the port is bound, with the real port number.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The multicast groups that the port listens to.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What happened since the port was opened.
    #[must_use]
    pub fn stats(&self) -> &UdpStats {
        &self.stats
    }

    /// Octets of receive buffer that the kernel granted to the service socket (on Linux twice what
    /// was asked, for its own book-keeping counts too).
    ///
    /// # Errors
    /// None on a working system.
    pub fn receive_buffer_bytes(&self) -> io::Result<usize> {
        socket2::SockRef::from(&self.endpoints[SERVICE].socket).recv_buffer_size()
    }

    /// Datagrams that came and that the kernel dropped, mostly because the receive buffer was full.
    /// One system call per socket.
    ///
    /// # Errors
    /// The kernel is too old to tell (before Linux 4.12).
    pub fn kernel_drops(&self) -> io::Result<u64> {
        self.endpoints
            .iter()
            .map(|endpoint| sys::kernel_drops(endpoint.socket.as_fd()))
            .try_fold(0, |sum, drops| Ok(sum + u64::from(drops?)))
    }

    /// Tells the event loop about all sockets of the port; `token` names each by its number. To be
    /// called once, after the groups are joined.
    ///
    /// # Errors
    /// The event loop takes no more descriptors.
    pub fn register(
        &mut self,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<()> {
        for (number, endpoint) in self.endpoints.iter_mut().enumerate() {
            registry.register(&mut endpoint.socket, token(number), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Takes all sockets of the port out of the event loop.
    ///
    /// # Errors
    /// A socket was not registered.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        for endpoint in &mut self.endpoints {
            registry.deregister(&mut endpoint.socket)?;
        }
        Ok(())
    }

    /// Asks for an event when the port can send again, or no longer for it. `token` is that of
    /// socket 0.
    ///
    /// To be asked for after a [`transmit`](Self::transmit) that was blocked and only until it is
    /// not: a UDP socket is writable so often that the events would cost more than the sending.
    ///
    /// # Errors
    /// The port is not registered.
    pub fn want_writable(
        &mut self,
        registry: &Registry,
        token: Token,
        wanted: bool,
    ) -> io::Result<()> {
        let interest = match wanted {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        registry.reregister(&mut self.endpoints[SERVICE].socket, token, interest)
    }

    /// Notes that the event loop found a socket of the port readable; unknown numbers are ignored.
    pub fn set_readable(&mut self, number: usize) {
        if let Some(endpoint) = self.endpoints.get_mut(number) {
            endpoint.ready = true;
        }
    }

    /// Fills `batch` with up to `budget` (64 at most) waiting datagrams of one socket.
    ///
    /// Work: one system call and as many datagrams as it brings; if that socket was empty, one more
    /// call per group socket, and one more per ICMP error, 16 at most. Never allocates. The sockets
    /// take turns, so a flood on one does not silence another.
    ///
    /// # Errors
    /// A socket failed 16 times in a row. It counts as drained then: the port goes on, and the next
    /// event of that socket brings the next try.
    pub fn receive(&mut self, batch: &mut ReceiveBatch, budget: usize) -> io::Result<Received> {
        batch.inbox.clear();
        let sockets = self.endpoints.len();
        for _ in 0..sockets {
            let endpoint = &mut self.endpoints[self.next];
            self.next = (self.next + 1) % sockets;
            if endpoint.ready && endpoint.read(batch, budget, &mut self.stats)? > 0 {
                break;
            }
        }
        let drained = self.endpoints.iter().all(|endpoint| !endpoint.ready);
        Ok(Received { datagrams: batch.inbox.len(), drained })
    }

    /// Sends what waits in `batch`, in order.
    ///
    /// Work: one system call per 64 datagrams, and one more per datagram that the kernel refuses. A
    /// refused datagram is dropped and counted, for nothing that concerns one receiver may hold up
    /// the others; so there is no error to return. Never allocates.
    pub fn transmit(&mut self, batch: &mut TransmitBatch) -> Sent {
        let service = &self.endpoints[SERVICE];
        let (socket, v6) = (&service.socket, self.address.is_ipv6());
        let wildcard = service.origin.bound.ip.is_none();
        batch.flush(&mut self.stats, |entries, arena| {
            if let [only] = entries
                && departure(only, wildcard).is_none()
            {
                return socket.send_to(&arena[only.bytes.clone()], only.to).map(|_| 1);
            }
            sys::send(socket.as_fd(), entries.len(), |index| {
                let entry = &entries[index];
                let (name, name_len) = raw::encode_name(entry.to);
                let (control, control_len) = match departure(entry, wildcard) {
                    Some(from) => raw::encode_packet_info(from, v6),
                    None => (sys::Control::ZERO, 0),
                };
                let bytes = &arena[entry.bytes.clone()];
                sys::Outgoing { name, name_len, control, control_len, bytes }
            })
        })
    }
}

impl Endpoint {
    /// One system call that brought datagrams, or found none; see [`UdpPort::receive`].
    fn read(
        &mut self,
        batch: &mut ReceiveBatch,
        budget: usize,
        stats: &mut UdpStats,
    ) -> io::Result<usize> {
        let budget = budget.min(ReceiveBatch::CAPACITY);
        let socket = self.socket.as_fd();
        let result = skip_errors(stats, || sys::receive(socket, &mut batch.inbox, budget));
        // Fewer than asked for: the kernel found the queue empty, and what comes later is a new
        // event. (Or it met an error behind them and keeps it for the next call; then the rest
        // waits for the next datagram, which is no worse than a late one.)
        self.ready = matches!(result, Ok(Some(count)) if count == budget);
        let count = result?.unwrap_or(0);
        batch.origin = self.origin;
        let (octets, truncated) = batch.inbox.totals();
        stats.datagrams_in += count as u64;
        stats.bytes_in += octets;
        stats.truncated += truncated;
        Ok(count)
    }
}

/// Repeats a call that only brought the error of an earlier datagram; `None` if nothing waits.
fn skip_errors(
    stats: &mut UdpStats,
    mut receive: impl FnMut() -> io::Result<usize>,
) -> io::Result<Option<usize>> {
    let mut errors = 0;
    loop {
        stats.receive_calls += 1;
        match receive() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => {
                stats.receive_errors += 1;
                errors += 1;
                if errors == RECEIVE_ERRORS_MAX {
                    return Err(error);
                }
            }
        }
    }
}

/// What the kernel must be told about the way out of a datagram; `None` if it gets it right by
/// itself.
fn departure(entry: &Entry, wildcard: bool) -> Option<LocalAddr> {
    let from = entry.from?;
    let multicast = entry.to.ip().is_multicast();
    if !wildcard && !multicast {
        return None;
    }
    // Naming an interface would bypass the routes, so it is named only where an address alone says
    // too little.
    let pinned = multicast || from.ip.is_some_and(is_link_local);
    let from = LocalAddr { interface: if pinned { from.interface } else { 0 }, ..from };
    (from != LocalAddr::default()).then_some(from)
}

/// A socket for this family, not yet bound.
fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Asks for the packet information, and keeps out the groups that other programs of this machine
/// joined: without this the kernel delivers those too.
fn hear_joined_groups_only(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    sys::enable_packet_info(socket.as_fd(), address.is_ipv6())?;
    let limited = match address {
        SocketAddr::V4(_) => socket.set_multicast_all_v4(false),
        SocketAddr::V6(_) => socket.set_multicast_all_v6(false),
    };
    // A kernel that knows no such limit delivers more than it should, and that is no reason not to
    // serve.
    limited.or(Ok(()))
}

/// An address that a socket is bound to, as the origin of what it sends.
fn local_addr(address: SocketAddr) -> LocalAddr {
    let interface = match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    };
    LocalAddr { ip: Some(address.ip()), interface }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// Waits for an event of the port.
    fn wait(poll: &mut mio::Poll, port: &mut UdpPort) {
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
        assert!(!events.is_empty(), "no event came");
        port.set_readable(SERVICE);
    }

    /// Linux reports ICMP errors to connected sockets only, so the service socket is connected
    /// here.
    #[test]
    fn an_icmp_error_is_counted_and_what_follows_is_received() {
        let mut port = UdpPort::bind(loopback(), &UdpOptions::default()).unwrap();
        let mut poll = mio::Poll::new().unwrap();
        port.register(poll.registry(), Token).unwrap();
        let gone = std::net::UdpSocket::bind("127.77.0.1:0").unwrap().local_addr().unwrap();
        port.endpoints[SERVICE].socket.connect(gone).unwrap();

        let (mut incoming, mut outgoing) = (ReceiveBatch::new(), TransmitBatch::new());
        outgoing.push(gone, None, b"anybody there").unwrap();
        assert_eq!(port.transmit(&mut outgoing).datagrams, 1);
        wait(&mut poll, &mut port);
        let returned = std::net::UdpSocket::bind(gone).unwrap();
        returned.send_to(b"here", port.address()).unwrap();
        let received = port.receive(&mut incoming, 64).unwrap();
        assert_eq!(received, Received { datagrams: 1, drained: true });
        assert_eq!(incoming.datagrams().next().unwrap().bytes, b"here");
        assert_eq!(port.stats().receive_errors, 1);
    }

    #[test]
    fn a_socket_that_only_fails_does_not_hold_the_loop() {
        let mut stats = UdpStats::default();
        let mut calls = 0;
        let result = skip_errors(&mut stats, || {
            calls += 1;
            Err(io::Error::from_raw_os_error(libc::ENETDOWN))
        });
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ENETDOWN));
        assert_eq!((calls, stats.receive_errors), (RECEIVE_ERRORS_MAX, 16));
    }

    #[test]
    fn interfaces_are_named_only_where_an_address_says_too_little() {
        let entry = |to: &str, from: &str, interface| Entry {
            to: to.parse().unwrap(),
            from: Some(LocalAddr { ip: from.parse().ok(), interface }),
            bytes: 0..0,
        };
        let via = |entry, wildcard| departure(&entry, wildcard).map(|from| from.interface);
        assert_eq!(via(entry("192.0.2.1:1", "192.0.2.9", 2), false), None);
        assert_eq!(via(entry("192.0.2.1:1", "192.0.2.9", 2), true), Some(0));
        assert_eq!(via(entry("225.1.1.1:1", "192.0.2.9", 2), false), Some(2));
        assert_eq!(via(entry("225.1.1.1:1", "", 0), true), None);
        assert_eq!(via(entry("[2001:db8::1]:1", "2001:db8::9", 2), true), Some(0));
        assert_eq!(via(entry("[2001:db8::1]:1", "fe80::9", 2), true), Some(2));
        assert_eq!(via(entry("[2001:db8::1]:1", "", 2), true), None);
        assert_eq!(via(entry("[ff02::1%2]:1", "fe80::9", 2), false), Some(2));
    }
}
