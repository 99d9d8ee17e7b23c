//! The clients that keep a server busy.
//!
//! Every load is a closed loop: so many messages are on their way, and one that arrives makes room
//! for the next. Nothing is sent faster than it is taken, so that what is lost was lost by the
//! server and not by an overrun socket, and so that all servers of a run face the same.
//!
//! All clients of a load live in one thread with one event loop.

pub(crate) mod fanout;
pub(crate) mod pairs;
pub(crate) mod publishers;
pub(crate) mod sensors;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::link::{Link, READ_OCTETS};
use crate::tally::{Stamp, Tally};

/// How long a message may be on its way after the last one was sent; then it is lost.
const GRACE: Duration = Duration::from_secs(5);

/// How long the event loop waits at once.
const TICK: Duration = Duration::from_millis(10);

/// Events taken from the kernel at once.
const EVENTS: usize = 1_024;

/// Where a load finds its server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) mqtt: SocketAddr,
    /// Mosquitto has none.
    pub(crate) mqtt_sn: Option<SocketAddr>,
}

/// Clients of one server, connected and ready.
pub(crate) trait Load {
    /// Publishes for so long and waits for what is on its way then.
    ///
    /// # Errors
    /// Those of the sockets: the server closed a link, or is gone.
    fn run(&mut self, duration: Duration) -> io::Result<Tally>;
}

/// What all loads have: the event loop, a clock, a buffer to read into and a payload to send.
struct Base {
    poll: Poll,
    began: Instant,
    buffer: Box<[u8]>,
    payload: Vec<u8>,
}

impl Base {
    fn new(payload_octets: usize) -> io::Result<Self> {
        assert!(payload_octets >= Stamp::OCTETS, "a payload has room for its stamp");
        Ok(Self {
            poll: Poll::new()?,
            began: Instant::now(),
            buffer: vec![0; READ_OCTETS].into_boxed_slice(),
            payload: vec![b'.'; payload_octets],
        })
    }

    fn register(&self, link: &mut Link, token: usize) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(link.source(), Token(token), interest)
    }

    fn now_ns(&self) -> u64 {
        now_ns(self.began)
    }

    /// Waits for events, a while at most.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, Some(TICK)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }
}

fn now_ns(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Where a slice is: publishing, waiting for what is on its way, or over.
struct Slice {
    began: Instant,
    duration: Duration,
}

impl Slice {
    fn begin(duration: Duration) -> Self {
        Self { began: Instant::now(), duration }
    }

    fn is_publishing(&self) -> bool {
        self.began.elapsed() < self.duration
    }

    /// Whether what has not come by now is lost.
    fn is_past_grace(&self) -> bool {
        self.began.elapsed() > self.duration + GRACE
    }
}

/// A packet identifier for a message: never 0.
fn packet_id(number: u32) -> u16 {
    (number % 0xFFFF) as u16 + 1
}
