//! Clients that come, say what they want, and go; many at once, on sockets that wait.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use crate::link::{PATIENCE, READ_OCTETS};
use crate::wire::{self, Packet, kind};

/// Clients that are connected at a time.
const AT_ONCE: u32 = 100;

/// A client whose socket waits.
pub(super) struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl Client {
    /// Connects and writes `first`, a CONNECT and what may follow it unanswered.
    pub(super) fn open(mqtt: SocketAddr, first: &[u8]) -> io::Result<Self> {
        let stream = TcpStream::connect(mqtt)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, inbox: Vec::new() };
        client.write(first)?;
        Ok(client)
    }

    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)
    }

    /// Gives every packet that comes to `take`, until that says `true`. What comes behind is kept.
    pub(super) fn read_until(
        &mut self,
        mut take: impl FnMut(Packet<'_>) -> bool,
    ) -> io::Result<()> {
        while !self.hear(&mut take) {
            if !self.receive()? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Gives the packets that came to `take`, until that says `true`; whether it did.
    pub(super) fn hear(&mut self, mut take: impl FnMut(Packet<'_>) -> bool) -> bool {
        let mut used = 0;
        let mut is_over = false;
        while !is_over && let Some((packet, len)) = Packet::first(&self.inbox[used..]) {
            used += len;
            is_over = take(packet);
        }
        self.inbox.drain(..used);
        is_over
    }

    /// Waits for octets; `false` if none came for as long as the socket waits.
    pub(super) fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; READ_OCTETS];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.inbox.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How long the socket waits.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }
}

/// Makes a session for each number, with the filter that `named` gives besides its client id.
pub(super) fn make_sessions(
    mqtt: SocketAddr,
    numbers: Range<u32>,
    named: impl Fn(u32) -> (String, String),
) -> io::Result<()> {
    each_at_once(numbers, |numbers| {
        let mut clients = Vec::new();
        for number in numbers {
            let (id, filter) = named(number);
            let first = [wire::connect_to_kept(&id), wire::subscribe(&filter, 1)].concat();
            clients.push(Client::open(mqtt, &first)?);
        }
        for mut client in clients {
            client.read_until(|packet| packet.kind == kind::SUBACK)?;
            client.write(&wire::DISCONNECT)?;
        }
        Ok(())
    })
}

/// Lets each client take `queued` messages that wait for it and go again.
pub(super) fn collect(
    mqtt: SocketAddr,
    numbers: Range<u32>,
    queued: u32,
    named: impl Fn(u32) -> String,
) -> io::Result<()> {
    each_at_once(numbers, |numbers| {
        let mut clients = Vec::new();
        for number in numbers {
            clients.push(Client::open(mqtt, &wire::connect_to_kept(&named(number)))?);
        }
        for mut client in clients {
            let mut out = Vec::new();
            let mut left = queued;
            client.read_until(|packet| {
                if packet.kind == kind::PUBLISH {
                    left -= 1;
                    let id = packet.publish().id.expect("a message of QoS 1");
                    wire::put_puback(&mut out, id);
                }
                left == 0
            })?;
            out.extend_from_slice(&wire::DISCONNECT);
            client.write(&out)?;
        }
        Ok(())
    })
}

fn each_at_once(
    numbers: Range<u32>,
    mut each: impl FnMut(Range<u32>) -> io::Result<()>,
) -> io::Result<()> {
    let mut begin = numbers.start;
    while begin < numbers.end {
        let end = numbers.end.min(begin + AT_ONCE);
        each(begin..end)?;
        begin = end;
    }
    Ok(())
}

/// Ends the sessions, with all that waits in them.
pub(super) fn end_sessions(
    mqtt: SocketAddr,
    numbers: Range<u32>,
    named: impl Fn(u32) -> String,
) -> io::Result<()> {
    each_at_once(numbers, |numbers| {
        let mut clients = Vec::new();
        for number in numbers {
            clients.push(Client::open(mqtt, &wire::connect(&named(number)))?);
        }
        for mut client in clients {
            client.read_until(|packet| packet.kind == kind::CONNACK)?;
            client.write(&wire::DISCONNECT)?;
        }
        Ok(())
    })
}
