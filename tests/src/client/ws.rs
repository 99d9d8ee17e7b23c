//! A blocking WebSocket client (RFC 6455): the request as text, frames in octets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::ANSWER_TIMEOUT;
use crate::hex::{dump, octets};
use crate::trace::Trace;

/// The request of a plain client for MQTT; the key is that of the RFC's example.
pub const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                           Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                           Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// Frames of this client: the last or only fragment of a message.
pub mod first {
    /// More of a message.
    pub const CONTINUATION: u8 = 0x80;
    /// Text.
    pub const TEXT: u8 = 0x81;
    /// Data.
    pub const BINARY: u8 = 0x82;
    /// Good-bye.
    pub const CLOSE: u8 = 0x88;
    /// Are you there?
    pub const PING: u8 = 0x89;
    /// I am.
    pub const PONG: u8 = 0x8A;
}

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A connection to a server.
#[derive(Debug)]
pub struct WsClient {
    stream: TcpStream,
    received: Vec<u8>,
    /// Data that came in frames and was not asked for yet.
    data: Vec<u8>,
    trace: Trace,
}

impl WsClient {
    /// A TCP connection on which nothing was said yet.
    #[track_caller]
    pub fn open(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server)
            .unwrap_or_else(|error| panic!("no connection to {server}: {error}"));
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time above zero");
        let trace = Trace::new(&format!("WebSocket client of {server}"));
        Self { stream, received: Vec::new(), data: Vec::new(), trace }
    }

    /// A WebSocket on which no frame was sent yet.
    #[track_caller]
    pub fn upgrade(server: SocketAddr) -> Self {
        let mut client = Self::open(server);
        let answer = client.ask(REQUEST);
        if !answer.starts_with("HTTP/1.1 101 ") {
            client.trace.fail("101", &answer);
        }
        client
    }

    /// A clean MQTT 3.1.1 session.
    #[track_caller]
    pub fn connect(server: SocketAddr, client_id: &str) -> Self {
        let mut client = Self::upgrade(server);
        let options = super::mqtt::MqttClient::options(client_id);
        client.send_frame(first::BINARY, &options.packet());
        client.expect_mqtt("20 02 00 00");
        client
    }

    /// Waits longer or shorter for answers.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("a time above zero");
    }

    /// Sends a request and returns the head of the answer.
    #[track_caller]
    pub fn ask(&mut self, request: &str) -> String {
        self.send_octets(request.as_bytes());
        loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.received.drain(..end + 4).collect();
                return String::from_utf8(head).expect("an answer is text");
            }
            self.fill("an answer");
        }
    }

    /// Sends octets as they are.
    #[track_caller]
    pub fn send_octets(&mut self, octets: &[u8]) {
        self.trace.sent(octets);
        if let Err(error) = self.stream.write_all(octets) {
            self.trace.fail("an open connection", &error.to_string());
        }
    }

    /// Sends a masked frame.
    #[track_caller]
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_octets(&frame(first, payload));
    }

    /// Sends MQTT, drawn in hex, as one message.
    #[track_caller]
    pub fn send_mqtt(&mut self, text: &str) {
        self.send_frame(first::BINARY, &octets(text));
    }

    /// The next frame.
    #[track_caller]
    pub fn next_frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((first, header, length)) = header(&self.received)
                && self.received.len() >= header + length
            {
                let payload = self.received[header..header + length].to_vec();
                self.received.drain(..header + length);
                self.trace.came(&[&[first][..], &payload].concat());
                return (first, payload);
            }
            self.fill("a frame");
        }
    }

    /// The next frame is this one.
    #[track_caller]
    pub fn expect_frame(&mut self, first: u8, payload: &[u8]) {
        let came = self.next_frame();
        if came != (first, payload.to_vec()) {
            let came = format!("{:02X} with {}", came.0, dump(&came.1));
            self.trace.fail(&format!("{first:02X} with {}", dump(payload)), &came);
        }
    }

    /// So many octets of data, however they are framed.
    #[track_caller]
    pub fn take_data(&mut self, count: usize) -> Vec<u8> {
        while self.data.len() < count {
            let (first, payload) = self.next_frame();
            if first != first::BINARY {
                self.trace.fail("data", &format!("{first:02X} with {}", dump(&payload)));
            }
            self.data.extend(payload);
        }
        self.data.drain(..count).collect()
    }

    /// The next octets of data are these, drawn in hex.
    #[track_caller]
    pub fn expect_mqtt(&mut self, text: &str) {
        let expected = octets(text);
        let came = self.take_data(expected.len());
        if came != expected {
            self.trace.fail(text, &dump(&came));
        }
    }

    /// The server closes with this code, and the connection ends.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) {
        self.expect_frame(first::CLOSE, &code.to_be_bytes());
        self.expect_end();
    }

    /// The connection ends without a further frame.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        if !rest.is_empty() {
            self.trace.fail("the end of the connection", &dump(&rest));
        }
    }

    /// What comes until the connection ends.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.received);
        match self.stream.read_to_end(&mut rest) {
            Err(error) if is_timeout(error.kind()) => {
                self.trace.fail("the end of the connection", "nothing in time");
            }
            Ok(_) | Err(_) => rest,
        }
    }

    #[track_caller]
    fn fill(&mut self, expected: &str) {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.trace.fail(expected, "the end of the connection"),
            Ok(count) => self.received.extend(&chunk[..count]),
            Err(error) if is_timeout(error.kind()) => self.trace.fail(expected, "nothing in time"),
            Err(error) => self.trace.fail(expected, &error.to_string()),
        }
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ 0..=125), _) => frame.push(0x80 | len),
        (_, Ok(len)) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(octet, key)| octet ^ key));
    frame
}

/// The first octet of a frame of a server, the length of its header, and that of its payload; a
/// mask would be an error.
fn header(octets: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, length) = (*octets.first()?, *octets.get(1)?);
    assert_eq!(length & 0x80, 0, "a server does not mask");
    let long = match length {
        126 => octets.get(2..4)?,
        127 => octets.get(2..10)?,
        _ => return Some((first, 2, usize::from(length))),
    };
    let length = long.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
    Some((first, 2 + long.len(), length))
}
