//! WebSocket (RFC 6455), the server's end: what stands between the octets of a TCP connection and
//! those of MQTT.
//!
//! ```text
//! an HTTP request → 101 → frames in both directions → a close frame in each → the end
//!                 → 4xx → the end
//! ```
//!
//! A [`WebSocket`] has no socket of its own. What was read goes through [`WebSocket::read`], which
//! leaves the octets of MQTT at the front of the same buffer; what waits in an [`OutBuf`] goes out
//! by [`WebSocket::write`], which puts the header of one frame before all of it. So MQTT knows
//! nothing of it, nothing is copied for its sake, and it holds no memory but a few hundred octets.

mod frame;
mod handshake;

use std::io::{self, Write};
use std::sync::Arc;

pub use frame::{CloseCode, End, Violation};
pub use handshake::{HEAD_BYTES_MAX, HEADERS_MAX, Policy, Refusal};

use super::outbuf::{BlockPool, Flush, OutBuf};
use frame::{CONTROL_BYTES_MAX, FrameReader, SERVER_HEADER_BYTES_MAX};
use handshake::{Handshake, Step};

/// The largest frame that is sent, in octets: what one system call writes at most if all of it is
/// small packets. A client that keeps a whole frame before it looks at it is not asked for more.
pub const FRAME_BYTES_MAX: usize = 256 << 10;

/// One end of a WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    stage: Stage,
    reader: FrameReader,
    /// What goes out before the next octet of data: the answer to the handshake, control frames,
    /// the header of a frame.
    head: Vec<u8>,
    /// How much of it is written.
    head_written: usize,
    /// Octets of data that the frame begun last still lacks.
    frame_left: usize,
    close: Close,
}

/// How far a WebSocket is.
#[derive(Debug)]
enum Stage {
    Opening(Handshake),
    Open,
    Refused,
}

/// Our own close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    Unasked,
    /// It goes out when nothing else waits.
    Wanted(CloseCode),
    Sent,
}

/// What [`WebSocket::read`] made of what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Octets of MQTT, which stand at the front of the buffer now.
    pub len: usize,
    /// Frames that ended within: what work there was beside the octets.
    pub frames: u64,
    /// The handshake has just ended so: with a subprotocol, or refused. After a refusal nothing
    /// more is read, and the caller closes when all is written.
    pub opened: Option<Result<&'static str, Refusal>>,
    /// Something is to be written: the answer to the handshake, or to a ping.
    pub wants_write: bool,
}

impl WebSocket {
    /// A connection on which nothing was received.
    #[must_use]
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            reader: FrameReader::new(policy.frame_bytes_max),
            stage: Stage::Opening(Handshake::new(policy)),
            head: Vec::new(),
            head_written: 0,
            frame_left: 0,
            close: Close::Unasked,
        }
    }

    /// Takes all of `buffer`, any piece of what the client sends, and leaves the octets of MQTT in
    /// it at its front. Never panics, and never keeps more than the head of a request or the
    /// payload of a control frame.
    pub fn read(&mut self, buffer: &mut [u8]) -> Progress {
        let mut progress = Progress::default();
        let mut used = 0;
        if let Stage::Opening(handshake) = &mut self.stage {
            let Step::Done(octets, result) = handshake.read(buffer, &mut self.head) else {
                return progress;
            };
            used = octets;
            self.stage = if result.is_ok() { Stage::Open } else { Stage::Refused };
            progress.opened = Some(result);
            progress.wants_write = true;
        }
        if !matches!(self.stage, Stage::Open) {
            return progress;
        }
        let data = self.reader.read(&mut buffer[used..]);
        if used > 0 {
            buffer.copy_within(used..used + data.len, 0);
        }
        (progress.len, progress.frames) = (data.len, data.frames);
        progress.wants_write |= self.reader.has_ping();
        progress
    }

    /// Why nothing more is read from the client, once that is so. The answer is given with
    /// [`close`](Self::close), when what came before has been heard.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.reader.end()
    }

    /// Whether nothing more is read, for its end or because it was refused.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.reader.end().is_some() || matches!(self.stage, Stage::Refused)
    }

    /// Says good-bye when everything that waits is written. The first reason counts; where there
    /// is no WebSocket yet, nothing is said.
    pub fn close(&mut self, code: CloseCode) {
        if matches!(self.stage, Stage::Open) && self.close == Close::Unasked {
            self.close = Close::Wanted(code);
        }
    }

    /// Whether nothing is left to be written, of `out` neither.
    #[must_use]
    pub fn has_said_all(&self, out: &OutBuf) -> bool {
        let has_more = self.reader.has_ping() || matches!(self.close, Close::Wanted(_));
        out.is_empty() && self.head.len() == self.head_written && !has_more
    }

    /// Writes what waits to `stream` with one system call: what is left of the frame begun last,
    /// or all that waits in `out` as the next one. Returns how many octets left, too.
    ///
    /// # Errors
    /// Those of [`OutBuf::write_to`].
    pub fn write(
        &mut self,
        out: &mut OutBuf,
        stream: &mut impl Write,
        pool: &mut BlockPool,
    ) -> io::Result<(usize, Flush)> {
        self.begin_frame(out.len());
        let head = &self.head[self.head_written..];
        let (taken, flush) = out.write_behind(head, self.frame_left, stream, pool)?;
        let of_head = taken.min(head.len());
        self.head_written += of_head;
        self.frame_left -= taken - of_head;
        let flush = match flush {
            Flush::Done if !self.has_said_all(out) => Flush::More,
            Flush::Done | Flush::More | Flush::Blocked => flush,
        };
        Ok((taken, flush))
    }

    /// Prepares what goes out next, if all that was prepared before is out: only between two
    /// frames may another begin. So `head` has its bound.
    fn begin_frame(&mut self, waiting: usize) {
        if self.frame_left > 0 || self.head_written < self.head.len() {
            return;
        }
        self.head.clear();
        self.head_written = 0;
        if let Some(ping) = self.reader.take_ping() {
            frame::put_pong(&mut self.head, &ping);
        }
        match self.close {
            Close::Sent => {}
            Close::Unasked | Close::Wanted(_) if waiting > 0 => {
                self.frame_left = waiting.min(FRAME_BYTES_MAX);
                frame::put_data_header(&mut self.head, self.frame_left);
            }
            Close::Wanted(code) => {
                frame::put_close(&mut self.head, code);
                self.close = Close::Sent;
            }
            Close::Unasked => {}
        }
        let max = 2 + CONTROL_BYTES_MAX + SERVER_HEADER_BYTES_MAX;
        assert!(self.head.len() <= max, "a pong and a header: {} octets", self.head.len());
    }

    /// Octets of memory held.
    #[must_use]
    pub fn memory(&self) -> usize {
        let request = match &self.stage {
            Stage::Opening(handshake) => handshake.memory(),
            Stage::Open | Stage::Refused => 0,
        };
        size_of::<Self>() + self.head.capacity() + request
    }
}
