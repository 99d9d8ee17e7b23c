//! A stream of a WebSocket client: however it is cut, the same octets of MQTT come out of it, which
//! are those that the RFC says; what goes back is well-formed and carries what was given to it.

use std::io;
use std::sync::Arc;

use mqtt_sn_gw::net::outbuf::{BlockPool, OutBuf};
use mqtt_sn_gw::net::ws::{FRAME_BYTES_MAX, Policy, WebSocket};

use super::Target;
use super::digest::Digest;
use super::input::Input;

/// See the [module](self).
pub const TARGET: Target =
    Target { name: "websocket", dictionary: "websocket", bytes_max: 1_024, run };

/// A request that is granted.
const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// Bits of the first octet.
mod choice {
    /// The stream begins with its own request.
    pub(super) const BEGINS: u8 = 1;
    /// Frames of this server are small.
    pub(super) const SMALL: u8 = 2;
    /// Not everybody may come.
    pub(super) const ORIGINS: u8 = 4;
    /// It comes once more octet by octet.
    pub(super) const SINGLE: u8 = 8;
}

fn run(octets: &[u8]) -> u64 {
    let mut input = Input::new(octets);
    let choices = input.u8();
    let cuts = input.counted();
    let is_own = choices & choice::BEGINS != 0;
    let stream = input.rest();
    let before: &[u8] = if is_own { &[] } else { REQUEST };
    let policy = Arc::new(Policy {
        origins: if choices & choice::ORIGINS == 0 { vec![] } else { vec!["http://a".to_owned()] },
        frame_bytes_max: if choices & choice::SMALL == 0 { 1 << 20 } else { 20 },
    });

    let whole = pass(&policy, before, stream, &[]);
    assert_eq!(whole, pass(&policy, before, stream, cuts), "it matters where the stream is cut");
    if choices & choice::SINGLE != 0 {
        let cuts = vec![1; stream.len()];
        assert_eq!(whole, pass(&policy, before, stream, &cuts), "octet by octet");
    }
    if whole.is_open {
        let frames = if is_own {
            &stream[request_len(stream).expect("a request that was granted has an end")..]
        } else {
            stream
        };
        let (data, close_code) = reference(frames, policy.frame_bytes_max);
        assert_eq!(whole.data, data, "not what the frames carry");
        assert_eq!(whole.close_code, close_code, "not the end that the frames make");
    } else {
        assert_eq!(whole.data, b"", "nothing was let in");
    }
    let mut digest = Digest::new();
    digest.octets(&whole.data);
    digest.number(u64::from(whole.is_open) << 16 | u64::from(whole.close_code.unwrap_or(0)));
    digest.end()
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    /// Octets of MQTT.
    data: Vec<u8>,
    is_open: bool,
    is_refused: bool,
    /// What the client is told at the end, once there is one.
    close_code: Option<u16>,
}

/// Lets a stream pass, what comes before it at once, then pieces of these lengths, then the rest.
/// What comes out is sent back, as fast as the pieces come.
fn pass(policy: &Arc<Policy>, before: &[u8], stream: &[u8], cuts: &[u8]) -> Passed {
    let mut socket = WebSocket::new(Arc::clone(policy));
    let (mut out, mut pool) = (OutBuf::default(), BlockPool::new());
    let mut passed =
        Passed { data: Vec::new(), is_open: false, is_refused: false, close_code: None };
    let mut wire = Wire { room: 0, octets: Vec::new() };
    let (mut piece, mut left) = (before, stream);
    let mut cuts = cuts.iter();
    loop {
        let mut buffer = piece.to_vec();
        let progress = socket.read(&mut buffer);
        assert!(progress.len <= piece.len(), "octets out of nothing");
        let data = &buffer[..progress.len];
        passed.data.extend_from_slice(data);
        out.writer(&mut pool).put(data);
        match progress.opened {
            Some(Ok(_)) => passed.is_open = true,
            Some(Err(_)) => passed.is_refused = true,
            None => {}
        }
        assert!(socket.memory() < 24 << 10, "{} octets are held", socket.memory());
        wire.room = piece.len();
        write(&mut socket, &mut out, &mut wire, &mut pool);
        if left.is_empty() {
            break;
        }
        let cut = cuts.next().map_or(left.len(), |cut| usize::from(*cut).clamp(1, left.len()));
        (piece, left) = left.split_at(cut);
    }
    if let Some(end) = socket.end() {
        passed.close_code = Some(end.answer().number());
        socket.close(end.answer());
    }
    assert_eq!(socket.has_ended(), socket.end().is_some() || passed.is_refused);
    while !socket.has_said_all(&out) {
        wire.room = usize::MAX;
        write(&mut socket, &mut out, &mut wire, &mut pool);
    }
    check_said(&wire.octets, &passed);
    passed
}

fn write(socket: &mut WebSocket, out: &mut OutBuf, wire: &mut Wire, pool: &mut BlockPool) {
    let before = wire.octets.len();
    let (written, _) = socket.write(out, wire, pool).expect("the wire takes everything");
    assert_eq!(wire.octets.len() - before, written);
}

/// What goes back to the client, and how much of it is taken now.
struct Wire {
    room: usize,
    octets: Vec<u8>,
}

impl io::Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let len = octets.len().min(self.room);
        self.octets.extend_from_slice(&octets[..len]);
        self.room -= len;
        if len == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(len) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Octets up to the end of an HTTP head.
fn request_len(octets: &[u8]) -> Option<usize> {
    octets.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The answer to the request, then frames of a server, which carry the data of the client.
fn check_said(said: &[u8], passed: &Passed) {
    if !passed.is_open && !passed.is_refused {
        assert_eq!(said, b"", "nothing is said to half a request");
        return;
    }
    let status = &said[..12];
    let expect: &[u8] = if passed.is_open { b"HTTP/1.1 101" } else { b"HTTP/1.1 4" };
    assert!(status.starts_with(expect), "{}", String::from_utf8_lossy(status));
    if passed.is_refused {
        return;
    }
    let mut rest = &said[request_len(said).expect("an answer ends")..];
    let mut data = Vec::new();
    while let [first, second, behind @ ..] = rest {
        let (len, behind) = match second {
            0..=125 => (usize::from(*second), behind),
            126 => (usize::from(u16::from_be_bytes([behind[0], behind[1]])), &behind[2..]),
            _ => panic!("no frame of this test is so long"),
        };
        assert!(len <= FRAME_BYTES_MAX);
        let (payload, behind) = behind.split_at(len);
        match first {
            0x82 => data.extend_from_slice(payload),
            0x8A => assert!(len <= 125, "a long pong"),
            0x88 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                assert_eq!((Some(code), behind), (passed.close_code, &[][..]), "the last frame");
            }
            other => panic!("no server sends a frame of {other:02X}"),
        }
        rest = behind;
    }
    assert!(rest.is_empty());
    assert_eq!(data, passed.data, "not what it was given");
}

/// The data in the frames of a client, and the code that answers their end, by the RFC alone.
fn reference(mut octets: &[u8], bytes_max: u64) -> (Vec<u8>, Option<u16>) {
    let mut data = Vec::new();
    let mut is_in_message = false;
    loop {
        let Some((first, rest)) = octets.split_first() else { return (data, None) };
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0F);
        let is_control = opcode & 8 != 0;
        let code = match opcode {
            _ if first & 0x70 != 0 => Some(1002),
            0 if !is_in_message => Some(1002),
            2 if is_in_message => Some(1002),
            0 | 2 => None,
            1 => Some(1003),
            8..=10 if is_last => None,
            _ => Some(1002),
        };
        if code.is_some() {
            return (data, code);
        }
        let Some((second, rest)) = rest.split_first() else { return (data, None) };
        let short = second & 0x7F;
        if second & 0x80 == 0 || is_control && short > 125 {
            return (data, Some(1002));
        }
        let (size, shortest) = match short {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        let Some((long, rest)) = rest.split_at_checked(size) else { return (data, None) };
        let long = long.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
        let len = if size == 0 { u64::from(short) } else { long };
        if len < shortest || len >> 63 != 0 {
            return (data, Some(1002));
        }
        if len > bytes_max {
            return (data, Some(1009));
        }
        let Some((mask, rest)) = rest.split_at_checked(4) else { return (data, None) };
        let there = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
        let (masked, rest) = rest.split_at(there);
        let payload: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(o, m)| o ^ m).collect();
        if !is_control {
            is_in_message = !is_last;
            data.extend_from_slice(&payload);
        }
        if (payload.len() as u64) < len {
            return (data, None);
        }
        if opcode == 8 {
            return (data, Some(close_code(&payload)));
        }
        octets = rest;
    }
}

/// What answers a close frame.
fn close_code(payload: &[u8]) -> u16 {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { 1000 } else { 1002 };
    };
    match u16::from_be_bytes([*high, *low]) {
        1000..=1003 | 1007..=1014 | 3000..=4999 if str::from_utf8(reason).is_err() => 1007,
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => code,
        _ => 1002,
    }
}
