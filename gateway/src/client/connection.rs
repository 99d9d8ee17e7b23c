//! A session over a socket: waits for what happens next.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Waker;
use sn_codec::v12::{MsgType, ReturnCode};

use super::args::ConnectionArgs;
use super::failure::Failure;
use super::session::{Event, Options, Session, Topic};
use super::wire::Wire;

/// What helps against congestion (SN-057, SN-062, SN-072).
const WAIT: &str = "; wait some minutes before the next attempt";

/// A session with one gateway.
pub(super) struct Connection {
    pub(super) session: Session,
    wire: Wire,
    gateway: SocketAddr,
    began: Instant,
}

/// What happens to a connection.
#[derive(Debug)]
pub(super) enum Occurrence {
    /// The session tells something.
    Event(Event),
    /// The waker was used.
    Called,
    /// A signal says that it is enough.
    Interrupted(i32),
    /// A datagram did not reach the gateway.
    Unreachable(io::Error),
    /// The time that the caller set has come.
    Deadline,
}

/// The addresses of the gateway, in the order of the system. `localhost` is what it is for the
/// listeners of the gateway: both loopback addresses.
pub(super) fn resolve(args: &ConnectionArgs) -> Result<Vec<SocketAddr>, Failure> {
    let ConnectionArgs { host, port, .. } = args;
    if host == "localhost" {
        let v4 = (Ipv4Addr::LOCALHOST, *port).into();
        return Ok(vec![v4, (Ipv6Addr::LOCALHOST, *port).into()]);
    }
    match (host.as_str(), *port).to_socket_addrs().map(Vec::from_iter) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(Failure::error(format!("-h {host}: there is no such host"))),
        Err(error) => Err(Failure::error(format!("-h {host}: {error}"))),
    }
}

impl Connection {
    /// A socket towards the gateway; nothing is sent.
    pub(super) fn open(gateway: SocketAddr, options: Options, debug: bool) -> io::Result<Self> {
        let wire = Wire::open(gateway, debug)?;
        Ok(Self { session: Session::new(options), wire, gateway, began: Instant::now() })
    }

    /// Connects to the first of the addresses where a gateway answers.
    pub(super) fn establish(
        addresses: &[SocketAddr],
        options: &Options,
        debug: bool,
    ) -> Result<Self, Failure> {
        let mut silent = Vec::new();
        for gateway in addresses {
            match Self::open(*gateway, options.clone(), debug) {
                Ok(mut connection) => match connection.connect()? {
                    None => return Ok(connection),
                    Some(why) => silent.push(why),
                },
                Err(error) => silent.push(cannot_send(*gateway, &error)),
            }
        }
        Err(Failure::nobody(&silent))
    }

    /// Connects, or says why another address might do better.
    fn connect(&mut self) -> Result<Option<String>, Failure> {
        let gateway = self.gateway;
        if let Err(error) = self.session.connect(self.now()) {
            return Err(Failure::usage(error.to_string()));
        }
        loop {
            match self.next(None)? {
                Occurrence::Event(Event::Connected) => return Ok(None),
                Occurrence::Event(Event::Refused(code)) => return Err(self.refused(code)),
                Occurrence::Event(Event::Lost { tries, .. }) => {
                    return Ok(Some(format!(
                        "no answer from {gateway}/udp after {}",
                        times(tries)
                    )));
                }
                Occurrence::Event(Event::Ended) => {
                    let line = format!("{gateway}/udp answers CONNECT by DISCONNECT");
                    return Err(Failure::error(line));
                }
                Occurrence::Unreachable(error) => return Ok(Some(cannot_send(gateway, &error))),
                Occurrence::Interrupted(signal) => return Err(Failure::interrupted(signal)),
                // Nothing else is told before the connection stands.
                Occurrence::Event(_) | Occurrence::Called | Occurrence::Deadline => {}
            }
        }
    }

    /// The gateway does not want this connection.
    pub(super) fn refused(&self, code: ReturnCode) -> Failure {
        let advice = if code == ReturnCode::Congestion { WAIT } else { "" };
        Failure::error(format!("{}/udp: connection {code}{advice}", self.gateway))
    }

    /// The gateway does not answer.
    pub(super) fn lost(&self, unanswered: MsgType, tries: u16) -> String {
        let tries = times(tries);
        format!("no answer to {unanswered} from {}/udp after {tries}", self.gateway)
    }

    /// Waits for what happens next, at the latest until `deadline`.
    pub(super) fn next(&mut self, deadline: Option<Duration>) -> io::Result<Occurrence> {
        loop {
            self.transmit();
            if let Some(event) = self.session.poll_event() {
                return Ok(Occurrence::Event(event));
            }
            if let Some(signal) = self.wire.take_signal() {
                return Ok(Occurrence::Interrupted(signal));
            }
            if let Some(error) = self.wire.take_fault() {
                return Ok(Occurrence::Unreachable(error));
            }
            if self.wire.take_call() {
                return Ok(Occurrence::Called);
            }
            let now = self.now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Occurrence::Deadline);
            }
            // An answer that is here already comes before the end of the wait for it.
            if let Some(datagram) = self.wire.receive()? {
                // What is no message is dropped; the trace has shown it.
                let _ = self.session.handle_datagram(now, datagram);
                continue;
            }
            let timeout = self.session.next_timeout();
            if timeout.is_some_and(|timeout| timeout <= now) {
                self.session.handle_timeout(now);
            } else {
                let until = timeout.into_iter().chain(deadline).min();
                self.wire.wait(until.map(|until| until.saturating_sub(now)))?;
            }
        }
    }

    fn transmit(&mut self) {
        while self.wire.send_rest()
            && let Some(datagram) = self.session.poll_transmit()
        {
            self.wire.send(datagram);
        }
    }

    /// Time since the connection began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) const fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// What ends a [`Connection::next`] from another thread.
    pub(super) fn waker(&self) -> Arc<Waker> {
        self.wire.waker()
    }
}

fn times(tries: u16) -> String {
    if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") }
}

/// Why a datagram does not get through to an address.
pub(super) fn cannot_send(gateway: SocketAddr, error: &io::Error) -> String {
    if error.kind() == ErrorKind::ConnectionRefused {
        return format!("nobody listens on {gateway}/udp");
    }
    format!("{gateway}/udp cannot be reached: {error}")
}

/// What may help against a refusal.
pub(super) const fn advice(code: ReturnCode, topic: &Topic) -> &'static str {
    match (code, topic) {
        (ReturnCode::Congestion, _) => WAIT,
        (ReturnCode::InvalidTopicId, Topic::Predefined(_)) => "; is the id configured there?",
        _ => "",
    }
}
