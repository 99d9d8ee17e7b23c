//! One TCP connection of the load: a handshake that waits, then octets that do not.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;

use crate::wire::{self, Packet, kind};

/// How long a handshake may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Octets read at once.
pub(crate) const READ_OCTETS: usize = 64 << 10;

/// A client of MQTT 3.1.1.
pub(crate) struct Link {
    stream: TcpStream,
    /// The beginning of a packet whose rest has not come.
    inbox: Vec<u8>,
    /// What waits to be written.
    pub(crate) out: Vec<u8>,
}

impl Link {
    /// Connects, and subscribes where there is a filter, with its QoS.
    pub(crate) fn open(
        address: SocketAddr,
        client: &str,
        filter: Option<(&str, u8)>,
    ) -> io::Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        ask(&mut stream, &wire::connect(client), &[kind::CONNACK << 4, 2, 0, 0])?;
        if let Some((filter, qos)) = filter {
            let granted = [kind::SUBACK << 4, 3, 0, 1, qos];
            ask(&mut stream, &wire::subscribe(filter, qos), &granted)?;
        }
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream);
        Ok(Self { stream, inbox: Vec::new(), out: Vec::new() })
    }

    /// For registering with the event loop.
    pub(crate) const fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads all that is there and gives each whole packet to `take`.
    ///
    /// # Errors
    /// Those of the stream, and its end: no server has a reason to close.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(&mut Vec<u8>, Packet<'_>),
    ) -> io::Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let Self { inbox, out, .. } = self;
            if inbox.is_empty() {
                let used = hear(&buffer[..count], |packet| take(out, packet));
                inbox.extend_from_slice(&buffer[used..count]);
            } else {
                inbox.extend_from_slice(&buffer[..count]);
                let used = hear(inbox, |packet| take(out, packet));
                inbox.drain(..used);
            }
            if count < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Writes what waits; what the kernel does not take goes on waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.out) {
            Ok(count) => drop(self.out.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Gives whole packets to `take`; returns how many octets they had.
fn hear(octets: &[u8], mut take: impl FnMut(Packet<'_>)) -> usize {
    let mut used = 0;
    while let Some((packet, len)) = Packet::first(&octets[used..]) {
        take(packet);
        used += len;
    }
    used
}

fn ask(stream: &mut std::net::TcpStream, question: &[u8], answer: &[u8]) -> io::Result<()> {
    stream.write_all(question)?;
    let mut heard = vec![0; answer.len()];
    stream.read_exact(&mut heard)?;
    if heard == answer {
        return Ok(());
    }
    Err(io::Error::other(format!("the server answers {question:02X?} with {heard:02X?}")))
}
