//! UDP ports between the sockets and the MQTT-SN machine.

use std::net::SocketAddr;

use broker_core::time::Now;
use tracing::warn;

use super::Server;
use super::budget::Allowance;
use super::token::{self, Place};
use crate::net::udp::{LocalAddr, ReceiveBatch, TransmitBatch, UdpPort};
use crate::sn::{Datagram, Destination, LocalAddress, PortId, Transmit};

/// Batches of datagrams read from one port in a turn.
const BATCHES: usize = 4;

/// Steps (see [`Allowance`]) that the datagrams of one port may take in a turn; the rest waits for
/// the next.
const PORT_STEPS: u64 = 8_192;

/// A port and what waits to be sent from it.
pub(super) struct SnPort {
    port: UdpPort,
    /// Which of the listeners of the configuration it is.
    pub(super) configured: usize,
    outgoing: TransmitBatch,
    is_readable: bool,
    is_blocked: bool,
    watches_writable: bool,
    /// Datagrams that are read at once: fewer if each of them means much work.
    batch: usize,
    /// Datagrams dropped because the kernel took none and the batch was full.
    pub(super) dropped: u64,
}

impl SnPort {
    pub(super) fn new(port: UdpPort, configured: usize) -> Self {
        Self {
            port,
            configured,
            outgoing: TransmitBatch::new(),
            is_readable: true,
            is_blocked: false,
            watches_writable: false,
            batch: ReceiveBatch::CAPACITY,
            dropped: 0,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(super) const fn port(&self) -> &UdpPort {
        &self.port
    }

    pub(super) const fn is_readable(&self) -> bool {
        self.is_readable
    }

    pub(super) fn memory(&self) -> usize {
        self.outgoing.bytes()
    }

    pub(super) fn note(&mut self, socket: usize, event: &mio::event::Event) {
        if event.is_readable() || event.is_error() {
            self.port.set_readable(socket);
            self.is_readable = true;
        }
        if event.is_writable() {
            self.is_blocked = false;
        }
    }

    /// Puts a datagram into the batch; if it is full, what is there goes first.
    fn push(&mut self, to: SocketAddr, from: Option<LocalAddr>, octets: &[u8]) {
        if self.outgoing.push(to, from, octets).is_ok() {
            return;
        }
        if !self.is_blocked {
            self.is_blocked = self.port.transmit(&mut self.outgoing).blocked;
        }
        if self.outgoing.push(to, from, octets).is_err() {
            self.dropped += 1;
        }
    }
}

impl Server {
    pub(super) fn read_ports(&mut self, now: Now) {
        for index in 0..self.ports.len() {
            let allowance =
                Allowance::new(&self.broker, &self.traffic, PORT_STEPS, self.has_more_outputs);
            for _ in 0..BATCHES {
                if !self.ports[index].is_readable || allowance.is_spent(&self.broker, &self.traffic)
                {
                    break;
                }
                self.read_port(now, index);
                if self.broker.take_crowded() {
                    break;
                }
            }
        }
    }

    fn read_port(&mut self, now: Now, index: usize) {
        let Self { ports, datagrams, sn, broker, .. } = self;
        let port = &mut ports[index];
        let work_before = broker.work();
        match port.port.receive(datagrams, port.batch) {
            Ok(received) => port.is_readable = !received.drained,
            Err(error) => {
                // That socket counts as drained; the next call tells whether the others are.
                warn!(port = %port.address(), %error, "datagrams cannot be received");
                return;
            }
        }
        let id = PortId(u16::try_from(index).expect("ports are few"));
        for datagram in datagrams.datagrams() {
            let stats = broker.stats_mut();
            stats.packets_received += 1;
            stats.bytes_received += datagram.bytes.len() as u64;
            let datagram = Datagram {
                port: id,
                from: datagram.from,
                to: LocalAddress { ip: datagram.to.ip, interface: datagram.to.interface },
                group: datagram.group,
                octets: datagram.bytes,
            };
            sn.handle_datagram(now, datagram, broker);
        }
        let each = (broker.work() - work_before) / port.batch as u64;
        let fit = PORT_STEPS / each.max(1);
        port.batch = usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, ReceiveBatch::CAPACITY);
    }

    pub(super) fn write_ports(&mut self) {
        let Self { ports, sn, broker, .. } = self;
        while let Some(Transmit { port, to, octets }) = sn.poll_transmit() {
            let stats = broker.stats_mut();
            stats.packets_sent += 1;
            stats.bytes_sent += octets.len() as u64;
            let port = &mut ports[usize::from(port.0)];
            match to {
                Destination::One { to, from } => {
                    let from = LocalAddr { ip: from.ip, interface: from.interface };
                    port.push(to, Some(from), octets);
                }
                Destination::Groups => {
                    for index in 0..port.port.groups().len() {
                        let group = port.port.groups()[index];
                        port.push(group.address, Some(group.from), octets);
                    }
                }
            }
        }
        for index in 0..self.ports.len() {
            self.write_port(index);
        }
    }

    fn write_port(&mut self, index: usize) {
        let port = &mut self.ports[index];
        if !port.is_blocked && !port.outgoing.is_empty() {
            port.is_blocked = port.port.transmit(&mut port.outgoing).blocked;
        }
        let (wanted, watched) = (port.is_blocked, &mut port.watches_writable);
        if core::mem::replace(watched, wanted) != wanted {
            let token = token::token(Place::Port { index, socket: 0 });
            if let Err(error) = port.port.want_writable(self.poll.registry(), token, wanted) {
                warn!(%error, "a port cannot be watched any more");
            }
        }
    }
}
