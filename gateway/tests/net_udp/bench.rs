//! A port in an event loop, and foreign sockets to talk to it.

use std::net::{SocketAddr, UdpSocket};

use mio::{Events, Poll, Token};
use mqtt_sn_gw::net::udp::{
    LocalAddr, ReceiveBatch, Received, Sent, TransmitBatch, UdpOptions, UdpPort,
};

use crate::PATIENCE;

/// A port, its event loop and its batches.
pub(crate) struct Loop {
    pub(crate) poll: Poll,
    pub(crate) port: UdpPort,
    pub(crate) incoming: ReceiveBatch,
    pub(crate) outgoing: TransmitBatch,
}

/// A datagram that outlives its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) from: SocketAddr,
    pub(crate) to: LocalAddr,
    pub(crate) group: Option<SocketAddr>,
    pub(crate) bytes: Vec<u8>,
}

impl Loop {
    pub(crate) fn new(mut port: UdpPort) -> Self {
        let poll = Poll::new().unwrap();
        port.register(poll.registry(), Token).unwrap();
        Self { poll, port, incoming: ReceiveBatch::new(), outgoing: TransmitBatch::new() }
    }

    pub(crate) fn bind(address: &str) -> Self {
        Self::new(bind(address))
    }

    /// Waits for an event of the port.
    pub(crate) fn wait(&mut self) {
        let mut events = Events::with_capacity(8);
        self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "no datagram came");
        for event in &events {
            self.port.set_readable(event.token().0);
        }
    }

    pub(crate) fn receive(&mut self, budget: usize) -> (Received, Vec<Arrived>) {
        let received = self.port.receive(&mut self.incoming, budget).unwrap();
        let arrived: Vec<Arrived> = self
            .incoming
            .datagrams()
            .map(|datagram| Arrived {
                from: datagram.from,
                to: datagram.to,
                group: datagram.group,
                bytes: datagram.bytes.to_vec(),
            })
            .collect();
        assert_eq!(arrived.len(), received.datagrams);
        (received, arrived)
    }

    /// Receives until `count` datagrams are there.
    pub(crate) fn expect(&mut self, count: usize) -> Vec<Arrived> {
        let mut all = Vec::new();
        loop {
            let (received, arrived) = self.receive(ReceiveBatch::CAPACITY);
            all.extend(arrived);
            assert!(all.len() <= count, "{} datagrams instead of {count}", all.len());
            if all.len() == count {
                return all;
            }
            if received.drained {
                self.wait();
            }
        }
    }

    /// Nothing waits, as far as the kernel says.
    pub(crate) fn expect_silence(&mut self) {
        for socket in 0..=self.port.groups().len() {
            self.port.set_readable(socket);
        }
        let (received, _) = self.receive(ReceiveBatch::CAPACITY);
        assert_eq!(received, Received { datagrams: 0, drained: true });
    }

    pub(crate) fn transmit(&mut self) -> Sent {
        self.port.transmit(&mut self.outgoing)
    }

    pub(crate) fn answer(&mut self, datagram: &Arrived, bytes: &[u8]) {
        self.outgoing.push(datagram.from, Some(datagram.to), bytes).unwrap();
        assert_eq!(self.transmit(), Sent { datagrams: 1, dropped: 0, blocked: false });
    }
}

pub(crate) fn bind(address: &str) -> UdpPort {
    UdpPort::bind(address.parse().unwrap(), &UdpOptions::default()).unwrap()
}

/// A foreign socket that gives up waiting when the test has failed anyway.
pub(crate) fn peer(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Says loudly that the machine has no IPv6, if so.
pub(crate) fn has_ipv6() -> bool {
    let has = UdpSocket::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("SKIPPED: this machine has no IPv6");
    }
    has
}

pub(crate) fn receive_from(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 70_000];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(len);
    (buffer, from)
}

pub(crate) fn firsts(arrived: &[Arrived]) -> Vec<u8> {
    arrived.iter().map(|datagram| datagram.bytes[0]).collect()
}
