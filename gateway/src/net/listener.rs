//! TCP listeners: accepting within a budget, and living through the want of descriptors.
//!
//! When the process has no descriptor left, `accept` fails, the connection stays in the queue of
//! the kernel, and the event for it was spent. So every listener holds a descriptor in reserve: it
//! is given up, the connection is accepted and closed at once, and the descriptor is taken again.
//! The client sees an orderly end instead of silence, the queue empties, and the loop does not
//! spin.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

/// A link without traffic is probed after this long, which also keeps the mapping of most routers
/// alive.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// The probe is repeated after this long ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// ... this many times, so that a dead peer is noticed after three minutes even if it never agreed
/// to a keep alive of MQTT.
const KEEPALIVE_PROBES: u32 = 6;

/// Octets that the peer does not acknowledge, or has no room for, end the link after as long. The
/// default would hold them for a quarter of an hour for a peer that vanished, and for ever for one
/// that only stopped reading.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(180);

/// Octets that may wait in the kernel without having been sent. More would wait there unseen, up to
/// 4 MiB for each peer that does not read, out of a memory that all connections of the machine
/// share; here they are accounted for.
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// After [`AcceptEnd::OutOfDescriptors`], the time to wait before the next try: no event will tell.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listening TCP socket.
pub struct TcpListenerPort {
    listener: TcpListener,
    address: SocketAddr,
    /// The descriptor in reserve; a socket, for that needs no file system.
    reserve: Option<UnixDatagram>,
    stats: ListenerStats,
}

/// A connection that was accepted. It does not block, sends small writes at once and probes a
/// silent peer.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, not yet registered with an event loop.
    pub stream: TcpStream,
    /// The other side. The scope id of a link-local IPv6 address is kept.
    pub peer: SocketAddr,
}

/// Why [`TcpListenerPort::accept`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptEnd {
    /// Nobody waits: the next event tells.
    Drained,
    /// The budget is spent, more may wait: the caller keeps the listener on its list of unfinished
    /// work.
    BudgetSpent,
    /// Somebody waits and no descriptor is left, not even the reserve: call again after
    /// [`ACCEPT_RETRY`].
    OutOfDescriptors,
}

/// What happened on a listener since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListenerStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections accepted and closed at once, for want of descriptors.
    pub refused: u64,
    /// Connections that were gone, or forbidden by a filter, before they could be accepted.
    pub aborted: u64,
}

/// What one `accept` came to.
enum Outcome {
    Accepted(Accepted),
    Refused,
    Aborted,
    Empty,
    Starved,
}

impl TcpListenerPort {
    /// Opens a listener. Port 0 takes a free one, see [`address`](Self::address).
    ///
    /// An IPv6 listener is for IPv6 alone. SO_REUSEADDR lets it open while connections of an
    /// earlier process linger; on Linux it does not let two processes listen at once.
    ///
    /// # Errors
    /// The address is not of this machine or in use, or there are no descriptors.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        set_stream_options(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into());
        let address = listener.local_addr()?;
        let reserve = Some(UnixDatagram::unbound()?);
        Ok(Self { listener, address, reserve, stats: ListenerStats::default() })
    }

    /// Where the listener is bound, with the real port number.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happened since the listener was opened.
    #[must_use]
    pub fn stats(&self) -> &ListenerStats {
        &self.stats
    }

    /// Appends waiting connections to `accepted`, at most `budget` of them.
    ///
    /// Work: one system call per connection, accepted or not, and one more to find the queue empty;
    /// four more for each connection that is refused for want of descriptors. Allocates only if
    /// `accepted` has no room.
    pub fn accept(&mut self, budget: usize, accepted: &mut Vec<Accepted>) -> AcceptEnd {
        for _ in 0..budget {
            match self.accept_one() {
                Outcome::Accepted(connection) => {
                    self.stats.accepted += 1;
                    accepted.push(connection);
                }
                Outcome::Refused => self.stats.refused += 1,
                Outcome::Aborted => self.stats.aborted += 1,
                Outcome::Empty => return AcceptEnd::Drained,
                Outcome::Starved => return AcceptEnd::OutOfDescriptors,
            }
        }
        AcceptEnd::BudgetSpent
    }

    fn accept_one(&mut self) -> Outcome {
        if self.reserve.is_none() {
            self.reserve = UnixDatagram::unbound().ok();
        }
        match self.listener.accept() {
            Ok((stream, peer)) => Outcome::Accepted(Accepted { stream, peer }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::Empty,
            Err(error) if is_starvation(&error) => self.refuse_one(),
            // The error is that of the one connection, which is gone: accept(2) says to go on.
            Err(_) => Outcome::Aborted,
        }
    }

    /// Accepts a connection with the descriptor in reserve, and closes it.
    fn refuse_one(&mut self) -> Outcome {
        if self.reserve.take().is_none() {
            return Outcome::Starved;
        }
        let result = self.listener.accept();
        let outcome = match &result {
            Ok(_) => Outcome::Refused,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::Empty,
            Err(error) if is_starvation(error) => Outcome::Starved,
            Err(_) => Outcome::Aborted,
        };
        drop(result);
        self.reserve = UnixDatagram::unbound().ok();
        outcome
    }
}

/// No descriptor or no memory, so the connection still waits in the queue.
fn is_starvation(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// What every connection shall have. On Linux accepted sockets inherit it from the listener, which
/// saves six system calls for each of them.
fn set_stream_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES),
    )?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

impl Source for TcpListenerPort {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.listener.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.listener.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.listener.deregister(registry)
    }
}
