//! The floor: a server that does nothing but the system calls.
//!
//! It knows which socket belongs to which from the handshake, for which it answers CONNECT,
//! SUBSCRIBE and REGISTER, and from then on moves octets: whatever is cheaper than this leaves out
//! what the scenario asks for. It checks nothing, remembers nothing and serves nobody else.
//!
//! - Sensors: takes up to 64 datagrams and writes their payloads as PUBLISH packets to the
//!   subscriber, all at once.
//! - Pairs: writes what it read from a publisher to its subscriber.
//! - Fan-out: writes what it read from the publisher to every subscriber.
//!
//! At QoS 1 it answers PUBACK by itself, as a server does, and reads the subscribers' PUBACKs.
//!
//! It is this very program, started once more as a process of its own, with one thread and one
//! event loop (mio, as in the gateway).

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};

use crate::wire::{self, Packet, kind, sn_kind};

/// Datagrams taken before something is written.
const BATCH: usize = 64;

const EVENTS: usize = 1_024;

const BUFFER_OCTETS: usize = 64 << 10;

/// The tokens of the sockets that are there from the start; those of links are their places.
const LISTENER: Token = Token(usize::MAX - 1);
const PORT: Token = Token(usize::MAX - 2);

/// Serves until it is killed.
///
/// # Errors
/// Those of the sockets.
pub(crate) fn run() -> io::Result<()> {
    let mut relay = Relay::bind()?;
    let (mqtt, sn) = (relay.listener.local_addr()?, relay.port.local_addr()?);
    println!("ready mqtt={mqtt} mqtt-sn={sn}");
    let mut events = Events::with_capacity(EVENTS);
    loop {
        relay.poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => relay.accept()?,
                PORT => relay.read_port()?,
                Token(index) => relay.read_link(index)?,
            }
        }
    }
}

struct Relay {
    poll: Poll,
    listener: TcpListener,
    port: UdpSocket,
    links: Vec<Link>,
    /// The links that subscribed.
    subscribers: Vec<usize>,
    /// The topic of each topic id.
    topics: Vec<Vec<u8>>,
    next_id: u32,
    buffer: Box<[u8]>,
    out: Vec<u8>,
}

struct Link {
    stream: TcpStream,
    client: Vec<u8>,
    role: Role,
}

/// What a link does once its handshake is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It has not said yet.
    Unknown,
    /// The publisher of a pair.
    PublisherTo(usize),
    /// The publisher of a fan-out.
    PublisherToAll,
    /// A subscriber whose acknowledgements nobody waits for.
    Subscriber,
}

impl Relay {
    fn bind() -> io::Result<Self> {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(any_port)?;
        let mut port = UdpSocket::bind(any_port)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        poll.registry().register(&mut port, PORT, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            port,
            links: Vec::new(),
            subscribers: Vec::new(),
            topics: vec![Vec::new()],
            next_id: 0,
            buffer: vec![0; BUFFER_OCTETS].into_boxed_slice(),
            out: Vec::new(),
        })
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some((mut stream, _)) = some(self.listener.accept())? {
            stream.set_nodelay(true)?;
            let token = Token(self.links.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.links.push(Link { stream, client: Vec::new(), role: Role::Unknown });
        }
        Ok(())
    }

    fn read_link(&mut self, index: usize) -> io::Result<()> {
        let Some(count) = some(self.links[index].stream.read(&mut self.buffer))? else {
            return Ok(());
        };
        match self.links[index].role {
            Role::Unknown => self.shake_hands(index, count)?,
            Role::PublisherTo(subscriber) => {
                self.acknowledge(index, count)?;
                write(&mut self.links[subscriber].stream, &self.buffer[..count])?;
            }
            Role::PublisherToAll => {
                self.acknowledge(index, count)?;
                let Self { links, buffer, subscribers, .. } = self;
                for subscriber in subscribers {
                    write(&mut links[*subscriber].stream, &buffer[..count])?;
                }
            }
            Role::Subscriber => {}
        }
        if count == self.buffer.len() { self.read_link(index) } else { Ok(()) }
    }

    /// Answers CONNECT and SUBSCRIBE; the names of the clients say who belongs to whom.
    fn shake_hands(&mut self, index: usize, count: usize) -> io::Result<()> {
        let Self { links, buffer, subscribers, .. } = self;
        let Some((packet, _)) = Packet::first(&buffer[..count]) else {
            return Err(io::Error::other("a handshake in pieces"));
        };
        let link = &mut links[index];
        match packet.kind {
            kind::CONNECT => {
                link.client = wire::connecting_client(&packet).to_vec();
                write(&mut link.stream, &[kind::CONNACK << 4, 2, 0, 0])?;
                self.find_role(index);
            }
            kind::SUBSCRIBE => {
                let qos = packet.body[packet.body.len() - 1];
                write(&mut link.stream, &[kind::SUBACK << 4, 3, 0, 1, qos])?;
                link.role = Role::Subscriber;
                subscribers.push(index);
            }
            _ => return Err(io::Error::other(format!("{packet:02X?} in a handshake"))),
        }
        Ok(())
    }

    /// `pub-all` is heard by all, `pub-7` by `sub-7`, which subscribed before.
    fn find_role(&mut self, index: usize) {
        let client = self.links[index].client.clone();
        if client == b"pub-all" {
            self.links[index].role = Role::PublisherToAll;
        } else if let Some(number) = client.strip_prefix(b"pub-") {
            let partner = [b"sub-", number].concat();
            if let Some(other) = self.links.iter().position(|link| link.client == partner) {
                self.links[index].role = Role::PublisherTo(other);
            }
        }
    }

    /// Answers PUBACK to what a publisher sent, at once.
    fn acknowledge(&mut self, index: usize, count: usize) -> io::Result<()> {
        let Self { links, buffer, out, .. } = self;
        let mut rest = &buffer[..count];
        out.clear();
        while let Some((packet, used)) = Packet::first(rest) {
            if let Some(id) = packet.publish().id {
                wire::put_puback(out, id);
            }
            rest = &rest[used..];
        }
        match (rest.is_empty(), out.is_empty()) {
            (false, _) => Err(io::Error::other("a packet in pieces: choose a smaller window")),
            (true, true) => Ok(()),
            (true, false) => write(&mut links[index].stream, out),
        }
    }

    /// Takes datagrams, a batch at a time, and hands each batch on in one piece.
    fn read_port(&mut self) -> io::Result<()> {
        let mut is_drained = false;
        while !is_drained {
            self.out.clear();
            for _ in 0..BATCH {
                let Some((count, from)) = some(self.port.recv_from(&mut self.buffer))? else {
                    is_drained = true;
                    break;
                };
                self.hear_datagram(count, from)?;
            }
            if !self.out.is_empty() {
                let subscriber = self.subscribers[0];
                write(&mut self.links[subscriber].stream, &self.out)?;
            }
        }
        Ok(())
    }

    fn hear_datagram(&mut self, count: usize, from: SocketAddr) -> io::Result<()> {
        let Self { port, buffer, topics, next_id, out, .. } = self;
        let (kind, body) = wire::sn_parts(&buffer[..count]);
        match kind {
            sn_kind::PUBLISH => {
                let id = (body[0] & 0x60 != 0).then(|| {
                    *next_id = *next_id % 0xFFFF + 1;
                    *next_id as u16
                });
                let topic = &topics[usize::from(wire::number(body, 1))];
                wire::put_publish(out, topic, id, &body[5..]);
                if id.is_some() {
                    let puback = [7, sn_kind::PUBACK, body[1], body[2], body[3], body[4], 0];
                    port.send_to(&puback, from)?;
                }
            }
            sn_kind::CONNECT => {
                port.send_to(&[3, sn_kind::CONNACK, 0], from)?;
            }
            sn_kind::REGISTER => {
                let [high, low] = (topics.len() as u16).to_be_bytes();
                topics.push(body[4..].to_vec());
                port.send_to(&[7, sn_kind::REGACK, high, low, body[2], body[3], 0], from)?;
            }
            _ => return Err(io::Error::other(format!("the datagram {kind:02X} {body:02X?}"))),
        }
        Ok(())
    }
}

/// None if it would block.
fn some<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes all in one system call: what is on its way fits into the socket.
fn write(stream: &mut TcpStream, octets: &[u8]) -> io::Result<()> {
    if some(stream.write(octets))? == Some(octets.len()) {
        return Ok(());
    }
    Err(io::Error::other("a socket is full: choose a smaller window"))
}
