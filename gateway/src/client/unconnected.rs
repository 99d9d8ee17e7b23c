//! Messages at QoS −1: sent without a connection, and answered by nobody (SN-068).

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::connection::cannot_send;
use super::failure::Failure;
use super::session::{Message, Options, Session};
use super::trace::{self, Direction};

/// How long this machine may take to say that nobody listens. That is all that can be learnt, and
/// only of hosts that are near.
const PATIENCE: Duration = Duration::from_millis(50);

/// Sends the messages to the first of the addresses where, as far as can be told, somebody listens.
pub(super) fn send(
    addresses: &[SocketAddr],
    options: Options,
    debug: bool,
    mut messages: impl Iterator<Item = Result<Message, Failure>>,
) -> Result<(), Failure> {
    let mut session = Session::new(options);
    let Some(first) = messages.next() else { return Ok(()) };
    let first = encode(&mut session, first?)?;
    let target = Target::find(addresses, debug, &first)?;
    let fault = |error| Failure::error(cannot_send(target.address, &error));
    for message in messages {
        target.send(&encode(&mut session, message?)?).map_err(fault)?;
    }
    target.check().map_err(fault)
}

fn encode(session: &mut Session, message: Message) -> Result<Vec<u8>, Failure> {
    let topic = message.topic.to_string();
    match session.publish(Duration::ZERO, message) {
        Ok(()) => Ok(session.poll_transmit().expect("QoS -1 goes out at once")),
        Err(error) => Err(Failure::error(format!("the message for {topic}: {error}"))),
    }
}

/// A socket towards somebody who will not answer.
struct Target {
    address: SocketAddr,
    socket: UdpSocket,
    debug: bool,
}

impl Target {
    fn find(addresses: &[SocketAddr], debug: bool, first: &[u8]) -> Result<Self, Failure> {
        let mut deaf = Vec::new();
        for address in addresses {
            let target = Self::open(*address, debug);
            let sent = target.and_then(|target| {
                target.send(first)?;
                target.check()?;
                Ok(target)
            });
            match sent {
                Ok(target) => return Ok(target),
                Err(error) => deaf.push(cannot_send(*address, &error)),
            }
        }
        Err(Failure::nobody(&deaf))
    }

    fn open(address: SocketAddr, debug: bool) -> io::Result<Self> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { address, socket, debug })
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        if self.debug {
            trace::show(Direction::ToGateway, datagram);
        }
        loop {
            match self.socket.send(datagram) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => return sent.map(|_| ()),
            }
        }
    }

    /// Waits for the word that nobody listens.
    fn check(&self) -> io::Result<()> {
        match self.socket.recv(&mut []) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
