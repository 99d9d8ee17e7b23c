//! A UDP socket that speaks with one gateway, and what else a command waits for: somebody who has
//! lines from standard input, and signals.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use socket2::SockRef;

use super::trace::{self, Direction};

const SOCKET: Token = Token(0);
const CALL: Token = Token(1);
const SIGNALS: Token = Token(2);

/// Octets of the largest datagram that can come.
const DATAGRAM_MAX: usize = 65_535;

/// Octets that the system is asked to keep of what comes faster than it can be printed.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Datagrams received in a row before signals are looked for again.
const RECEIVE_BUDGET: u32 = 32;

/// The socket and its company.
pub(super) struct Wire {
    poll: Poll,
    events: Events,
    socket: UdpSocket,
    signals: Signals,
    waker: Arc<Waker>,
    debug: bool,
    buffer: Vec<u8>,
    /// There may be datagrams to receive.
    readable: bool,
    budget: u32,
    /// What was noticed and not told yet.
    called: bool,
    signal: Option<i32>,
    fault: Option<io::Error>,
    /// A datagram that the system could not take yet.
    unsent: Option<Vec<u8>>,
}

impl Wire {
    /// A socket from which datagrams go to `gateway` and to which only its datagrams come (SN-085).
    pub(super) fn open(gateway: SocketAddr, debug: bool) -> io::Result<Self> {
        let any: SocketAddr = match gateway {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let mut socket = UdpSocket::bind(any)?;
        socket.connect(gateway)?;
        // The system may give less.
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let poll = Poll::new()?;
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, SOCKET, both)?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), CALL)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(8),
            socket,
            signals,
            waker,
            debug,
            buffer: vec![0; DATAGRAM_MAX],
            readable: true,
            budget: RECEIVE_BUDGET,
            called: false,
            signal: None,
            fault: None,
            unsent: None,
        })
    }

    /// What ends a [`Wire::wait`] from another thread.
    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Sends a datagram; `false` if the system cannot take it now. What it refuses for good is a
    /// lost datagram, as the network loses others.
    pub(super) fn send(&mut self, datagram: Vec<u8>) -> bool {
        if self.debug {
            trace::show(Direction::ToGateway, &datagram);
        }
        self.try_send(datagram)
    }

    /// Sends what the system could not take; `false` if it still cannot.
    pub(super) fn send_rest(&mut self) -> bool {
        self.unsent.take().is_none_or(|datagram| self.try_send(datagram))
    }

    fn try_send(&mut self, datagram: Vec<u8>) -> bool {
        loop {
            let Err(error) = self.socket.send(&datagram) else { return true };
            let kind = error.kind();
            if kind == ErrorKind::Interrupted {
                continue;
            }
            if kind == ErrorKind::WouldBlock {
                self.unsent = Some(datagram);
                return false;
            }
            // A refusal is the answer to an earlier datagram; this one was not sent.
            let is_late = kind == ErrorKind::ConnectionRefused && self.fault.is_none();
            self.fault = Some(error);
            if !is_late {
                return true;
            }
        }
    }

    /// The next datagram of the gateway, if there is one and its turn.
    pub(super) fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        while self.readable && self.budget > 0 {
            match self.socket.recv(&mut self.buffer) {
                Ok(size) => {
                    self.budget -= 1;
                    let datagram = &self.buffer[..size];
                    if self.debug {
                        trace::show(Direction::FromGateway, datagram);
                    }
                    return Ok(Some(datagram));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_unreachable(error.kind()) => {
                    self.budget -= 1;
                    self.fault = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Waits until something can be done, at most for `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.readable { Some(Duration::ZERO) } else { timeout };
        self.budget = RECEIVE_BUDGET;
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            match event.token() {
                SOCKET => self.readable |= event.is_readable() || event.is_error(),
                CALL => self.called = true,
                _ => self.signal = self.signals.pending().last().or(self.signal),
            }
        }
        Ok(())
    }

    /// A signal came.
    pub(super) const fn take_signal(&mut self) -> Option<i32> {
        self.signal.take()
    }

    /// Somebody used the waker.
    pub(super) const fn take_call(&mut self) -> bool {
        std::mem::replace(&mut self.called, false)
    }

    /// A datagram did not reach the gateway, as far as this machine can tell.
    pub(super) const fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }
}

/// The answer to an earlier datagram, told by the network.
const fn is_unreachable(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
    )
}
