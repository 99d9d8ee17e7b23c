//! Frames of WebSocket (RFC 6455, section 5), as a server reads and writes them.
//!
//! ```text
//! | FIN, RSV1-3, opcode | MASK, length: 7 bits | 0, 2 or 8 octets of length | mask | payload |
//! ```
//!
//! What is read is unmasked and moved together where it lies, so a frame is never kept: neither a
//! message of many fragments nor a frame of many megabytes costs memory. Only the payload of a
//! control frame is, and that has 125 octets at most.

use std::fmt;
use std::str;

/// The largest payload of a control frame (5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// The longest header of a frame from a client: two octets, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// The longest header of a frame from a server, which has no mask.
pub(super) const SERVER_HEADER_BYTES_MAX: usize = HEADER_BYTES_MAX - MASK_BYTES;

const MASK_BYTES: usize = 4;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASK: u8 = 0x80;

/// Lengths up to here stand in the second octet; the next two values announce longer ones.
const SHORT_MAX: u8 = 125;
const LENGTH_16: u8 = 126;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    const fn from_first(first: u8) -> Option<Self> {
        Some(match first & 0x0F {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        self as u8 & 0x08 != 0
    }
}

/// Why a connection ends, as both ends tell it to each other (7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// All is done.
    pub const NORMAL: Self = Self(1000);
    /// The server goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The other end broke the rules.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// Data of a kind that is not taken here: text.
    pub const UNACCEPTABLE: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const NOT_UTF8: Self = Self(1007);
    /// More than is taken here.
    pub const TOO_BIG: Self = Self(1009);

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether an endpoint may send it: some numbers only stand for having got none (7.4).
    const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client did that a WebSocket does not allow, or this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit is set, and no extension was agreed upon.
    ReservedBit,
    /// There is no such opcode.
    Opcode,
    /// The frame of a client is not masked.
    Unmasked,
    /// A control frame is fragmented.
    FragmentedControl,
    /// A control frame of more than 125 octets.
    LongControl,
    /// A length in more octets than it needs, or beyond 63 bits.
    Length,
    /// A continuation of nothing.
    Continuation,
    /// A new message within one that is not finished.
    Interleaved,
    /// A text frame.
    Text,
    /// A frame larger than is taken here.
    TooLarge,
    /// A close frame with a code that cannot be, or half of one.
    CloseCode,
    /// A close frame with a reason that is not UTF-8.
    CloseReason,
}

impl Violation {
    /// What the client is told.
    #[must_use]
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Text => CloseCode::UNACCEPTABLE,
            Self::TooLarge => CloseCode::TOO_BIG,
            Self::CloseReason => CloseCode::NOT_UTF8,
            Self::ReservedBit
            | Self::Opcode
            | Self::Unmasked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::Length
            | Self::Continuation
            | Self::Interleaved
            | Self::CloseCode => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBit => "a reserved bit of a WebSocket frame is set",
            Self::Opcode => "a WebSocket frame of no known kind",
            Self::Unmasked => "a WebSocket frame without a mask",
            Self::FragmentedControl => "a WebSocket control frame in fragments",
            Self::LongControl => "a WebSocket control frame of more than 125 octets",
            Self::Length => "the length of a WebSocket frame in too many octets",
            Self::Continuation => "a WebSocket frame that continues nothing",
            Self::Interleaved => "a WebSocket message within another",
            Self::Text => "a WebSocket frame of text",
            Self::TooLarge => "a WebSocket frame larger than a packet may be",
            Self::CloseCode => "a WebSocket close frame with an impossible code",
            Self::CloseReason => "a WebSocket close frame with a reason that is not UTF-8",
        })
    }
}

/// Why nothing more is read from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It closes, and said why or not.
    Closed(Option<CloseCode>),
    /// It broke the rules.
    Violation(Violation),
}

impl End {
    /// What is answered: the client's own code, or what was wrong.
    #[must_use]
    pub fn answer(self) -> CloseCode {
        match self {
            Self::Closed(code) => code.unwrap_or(CloseCode::NORMAL),
            Self::Violation(violation) => violation.code(),
        }
    }
}

/// The payload of a control frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    octets: [u8; CONTROL_BYTES_MAX],
    len: u8,
}

impl Control {
    const EMPTY: Self = Self { octets: [0; CONTROL_BYTES_MAX], len: 0 };

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    fn extend(&mut self, octets: &[u8]) {
        let from = usize::from(self.len);
        self.octets[from..from + octets.len()].copy_from_slice(octets);
        self.len += u8::try_from(octets.len()).expect("at most 125 octets");
    }
}

/// Reads the frames of one client, whatever pieces they come in.
#[derive(Debug)]
pub(super) struct FrameReader {
    /// A longer frame of data is refused.
    frame_bytes_max: u64,
    stage: Stage,
    /// The header that is being read, or was.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// Whether a message began and its last fragment has not.
    is_in_message: bool,
    control: Control,
    /// The last ping that was not answered. A newer one takes its place, so a flood of them is
    /// answered as fast as the client reads, and costs no memory (5.5.3).
    ping: Option<Control>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Header,
    Payload {
        opcode: Opcode,
        left: u64,
        /// The mask as it stands for the next octet.
        mask: [u8; MASK_BYTES],
    },
}

/// What [`FrameReader::read`] made of some octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Data {
    /// Octets of data, which stand at the front of the buffer now.
    pub(super) len: usize,
    /// Frames that ended within, which is what the work depends on beside the octets.
    pub(super) frames: u64,
}

impl FrameReader {
    pub(super) const fn new(frame_bytes_max: u64) -> Self {
        Self {
            frame_bytes_max,
            stage: Stage::Header,
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            is_in_message: false,
            control: Control::EMPTY,
            ping: None,
            end: None,
        }
    }

    /// Reads all of `buffer` and moves what is data to its front. The frames need not be aligned
    /// with packets, nor with what is read at once [MQTT-6.0.0-2]. What comes after the
    /// [`end`](Self::end) is no data.
    ///
    /// Work: each octet is touched twice, and each frame costs about as much as twenty octets.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Data {
        let mut data = Data::default();
        let mut from = 0;
        while from < buffer.len() && self.end.is_none() {
            match &mut self.stage {
                Stage::Header => {
                    let octet = buffer[from];
                    from += 1;
                    if let Err(violation) = self.read_header(octet) {
                        self.end = Some(End::Violation(violation));
                    }
                }
                Stage::Payload { opcode, left, mask } => {
                    let there = buffer.len() - from;
                    let len = usize::try_from(*left).map_or(there, |left| left.min(there));
                    let payload = &mut buffer[from..from + len];
                    unmask(payload, mask);
                    *left -= len as u64;
                    if opcode.is_control() {
                        self.control.extend(payload);
                    } else {
                        buffer.copy_within(from..from + len, data.len);
                        data.len += len;
                    }
                    from += len;
                }
            }
            data.frames += u64::from(self.finish_frame());
        }
        data
    }

    /// Why nothing more is read, once that is so.
    pub(super) const fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether a ping is to be answered.
    pub(super) const fn has_ping(&self) -> bool {
        self.ping.is_some()
    }

    /// The ping to answer.
    pub(super) const fn take_ping(&mut self) -> Option<Control> {
        self.ping.take()
    }

    /// Reads an octet of a header. Each is judged as it comes, so that nothing waits for the rest
    /// of a frame that is refused.
    fn read_header(&mut self, octet: u8) -> Result<(), Violation> {
        match self.header_len {
            0 => self.check_first(octet)?,
            1 => check_second(self.header[0], octet)?,
            _ => {}
        }
        self.header[self.header_len] = octet;
        self.header_len += 1;
        if self.header_len < 2 || self.header_len < self.length_end() + MASK_BYTES {
            // The length is judged before the mask is there.
            if self.header_len >= 2 && self.header_len == self.length_end() {
                self.check_length()?;
            }
            return Ok(());
        }
        let opcode = Opcode::from_first(self.header[0]).ok_or(Violation::Opcode)?;
        let mut mask = [0; MASK_BYTES];
        mask.copy_from_slice(&self.header[self.length_end()..self.header_len]);
        if !opcode.is_control() {
            self.is_in_message = self.header[0] & FIN == 0;
        }
        self.stage = Stage::Payload { opcode, left: self.length(), mask };
        self.header_len = 0;
        self.control.len = 0;
        Ok(())
    }

    /// Judges FIN, the reserved bits and the opcode. Only binary frames bear MQTT [MQTT-6.0.0-1].
    fn check_first(&self, first: u8) -> Result<(), Violation> {
        if first & RESERVED != 0 {
            return Err(Violation::ReservedBit);
        }
        match Opcode::from_first(first) {
            None => Err(Violation::Opcode),
            Some(Opcode::Text) => Err(Violation::Text),
            Some(Opcode::Binary) if self.is_in_message => Err(Violation::Interleaved),
            Some(Opcode::Continuation) if !self.is_in_message => Err(Violation::Continuation),
            Some(Opcode::Binary | Opcode::Continuation) => Ok(()),
            Some(Opcode::Close | Opcode::Ping | Opcode::Pong) if first & FIN == 0 => {
                Err(Violation::FragmentedControl)
            }
            Some(Opcode::Close | Opcode::Ping | Opcode::Pong) => Ok(()),
        }
    }

    fn check_length(&self) -> Result<(), Violation> {
        let length = self.length();
        let shortest = match self.header[1] & !MASK {
            0..=SHORT_MAX => 0,
            LENGTH_16 => u64::from(SHORT_MAX) + 1,
            _ => u64::from(u16::MAX) + 1,
        };
        if length < shortest || length >> 63 != 0 {
            return Err(Violation::Length);
        }
        if length > self.frame_bytes_max {
            return Err(Violation::TooLarge);
        }
        Ok(())
    }

    /// Where the length ends in a header that has two octets at least.
    const fn length_end(&self) -> usize {
        match self.header[1] & !MASK {
            0..=SHORT_MAX => 2,
            LENGTH_16 => 4,
            _ => 10,
        }
    }

    fn length(&self) -> u64 {
        let long = &self.header[2..self.length_end()];
        if long.is_empty() {
            return u64::from(self.header[1] & !MASK);
        }
        long.iter().fold(0, |length, octet| length << 8 | u64::from(*octet))
    }

    /// Ends a frame whose payload is there; returns whether one was.
    fn finish_frame(&mut self) -> bool {
        let Stage::Payload { opcode, left: 0, .. } = self.stage else { return false };
        self.stage = Stage::Header;
        match opcode {
            Opcode::Ping => self.ping = Some(self.control),
            Opcode::Close => self.end = Some(closing(self.control.octets())),
            // An unasked pong is a sign of life that nobody answers (5.5.3).
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        true
    }
}

fn check_second(first: u8, second: u8) -> Result<(), Violation> {
    if second & MASK == 0 {
        return Err(Violation::Unmasked);
    }
    let is_control = Opcode::from_first(first).is_some_and(Opcode::is_control);
    if is_control && second & !MASK > SHORT_MAX {
        return Err(Violation::LongControl);
    }
    Ok(())
}

/// What the payload of a close frame says (5.5.1).
fn closing(payload: &[u8]) -> End {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => End::Closed(None),
            _ => End::Violation(Violation::CloseCode),
        };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.may_be_sent() {
        End::Violation(Violation::CloseCode)
    } else if str::from_utf8(reason).is_err() {
        End::Violation(Violation::CloseReason)
    } else {
        End::Closed(Some(code))
    }
}

/// Takes the mask off, eight octets at a time, and turns it to where the next octet needs it.
fn unmask(payload: &mut [u8], mask: &mut [u8; MASK_BYTES]) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (octet, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *octet ^= key;
    }
    mask.rotate_left(payload.len() % MASK_BYTES);
}

/// Appends the header of a frame of binary data, which is a whole message.
pub(super) fn put_data_header(head: &mut Vec<u8>, len: usize) {
    head.push(FIN | Opcode::Binary as u8);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=SHORT_MAX), _) => head.push(len),
        (_, Ok(len)) => {
            head.push(LENGTH_16);
            head.extend_from_slice(&len.to_be_bytes());
        }
        (_, Err(_)) => {
            head.push(LENGTH_16 + 1);
            head.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a pong: what the ping said.
pub(super) fn put_pong(head: &mut Vec<u8>, ping: &Control) {
    head.extend_from_slice(&[FIN | Opcode::Pong as u8, ping.len]);
    head.extend_from_slice(ping.octets());
}

/// Appends a close frame.
pub(super) fn put_close(head: &mut Vec<u8>, code: CloseCode) {
    head.extend_from_slice(&[FIN | Opcode::Close as u8, 2]);
    head.extend_from_slice(&code.number().to_be_bytes());
}
