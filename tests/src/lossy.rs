//! A UDP relay between one client and the gateway that loses, doubles and swaps datagrams.
//!
//! ```text
//! client ── front socket ─[policy]─ back socket ── gateway
//! ```
//!
//! A policy is a function from a datagram to its [`Fate`], so that a test says what it means:
//! `lossy::drop_first(ToClient, PUBACK, 1)` is "the first PUBACK gets lost". Everything that
//! passes is recorded for [`crate::pcap`].

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::client::sn;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client.
    ToGateway,
    /// From the gateway.
    ToClient,
}

/// A datagram that a policy decides about.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which way it goes.
    pub direction: Direction,
    /// Its number among those of its direction, from 1.
    pub number: usize,
    /// Its message type; none if it is not one well-formed message.
    pub msg_type: Option<u8>,
    /// Its number among those of its direction and type, from 1.
    pub number_of_type: usize,
    /// Its octets.
    pub datagram: &'a [u8],
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Pass,
    /// It gets lost.
    Drop,
    /// It arrives twice.
    Double,
    /// It arrives behind the next one of its direction.
    Swap,
}

/// Decides the fate of each datagram.
pub trait Policy: FnMut(&Seen<'_>) -> Fate + Send + 'static {}
impl<F: FnMut(&Seen<'_>) -> Fate + Send + 'static> Policy for F {}

/// Nothing gets lost: a relay that only records.
pub fn faithful() -> impl Policy {
    |_: &Seen<'_>| Fate::Pass
}

/// The first `count` messages of one type in one direction get lost.
pub fn drop_first(direction: Direction, msg_type: u8, count: usize) -> impl Policy {
    move |seen: &Seen<'_>| {
        let meant = seen.direction == direction && seen.msg_type == Some(msg_type);
        if meant && seen.number_of_type <= count { Fate::Drop } else { Fate::Pass }
    }
}

/// Every `n`th datagram of each direction gets lost.
pub fn drop_every(n: usize) -> impl Policy {
    move |seen: &Seen<'_>| if seen.number.is_multiple_of(n) { Fate::Drop } else { Fate::Pass }
}

/// Every `n`th datagram of each direction comes twice.
pub fn double_every(n: usize) -> impl Policy {
    move |seen: &Seen<'_>| if seen.number.is_multiple_of(n) { Fate::Double } else { Fate::Pass }
}

/// Loses, doubles and swaps by chance, each with the same percentage, the same way for the same
/// seed.
pub fn by_chance(seed: u64, percent: u8) -> impl Policy {
    let mut rng = fastrand::Rng::with_seed(seed);
    move |_: &Seen<'_>| match rng.u8(0..100) / percent.max(1) {
        0 => Fate::Drop,
        1 => Fate::Double,
        2 => Fate::Swap,
        _ => Fate::Pass,
    }
}

/// A datagram that the relay saw.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which way it went.
    pub direction: Direction,
    /// Since the relay began.
    pub at: Duration,
    /// Its octets.
    pub datagram: Vec<u8>,
    /// What became of it.
    pub fate: Fate,
}

/// Datagrams that a relay records; the oldest are forgotten.
const RECORDED_MAX: usize = 100_000;

const FRONT: Token = Token(0);
const BACK: Token = Token(1);
const CALL: Token = Token(2);

/// A running relay; a clone is the same relay, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    address: SocketAddr,
    upstream: SocketAddr,
    gateway: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Shared {
    recorded: Vec<Recorded>,
    flushed: Vec<Sender<()>>,
    ended: bool,
}

impl Relay {
    /// Starts a relay to `gateway` for one client.
    #[track_caller]
    pub fn start(gateway: SocketAddr, policy: impl Policy) -> Self {
        let local: IpAddr = gateway.ip();
        let bind = || UdpSocket::bind(SocketAddr::new(local, 0)).expect("a free port");
        let (mut front, mut back) = (bind(), bind());
        back.connect(gateway).expect("an address of this machine");
        let address = front.local_addr().expect("a bound socket");
        let upstream = back.local_addr().expect("a bound socket");
        let poll = Poll::new().expect("a poll");
        let registry = poll.registry();
        registry.register(&mut front, FRONT, Interest::READABLE).expect("a new socket");
        registry.register(&mut back, BACK, Interest::READABLE).expect("a new socket");
        let waker = Waker::new(registry, CALL).expect("one waker");
        let shared = Arc::default();
        let worker = Worker {
            front,
            back,
            client: None,
            began: Instant::now(),
            counts: BTreeMap::new(),
            held: BTreeMap::new(),
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || worker.run(poll, policy));
        Self(Arc::new(Handle { address, upstream, gateway, shared, waker }))
    }

    /// Where the client sends to.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The address that the gateway takes for the client's.
    pub fn client_as_seen(&self) -> SocketAddr {
        self.0.upstream
    }

    /// The gateway behind it.
    pub fn gateway(&self) -> SocketAddr {
        self.0.gateway
    }

    /// Whatever has reached the relay until now has left it, or is dropped or held, afterwards.
    #[track_caller]
    pub fn flush(&self) {
        let (sender, flushed) = channel();
        self.0.lock().flushed.push(sender);
        self.0.waker.wake().expect("the relay runs");
        flushed.recv_timeout(crate::process::PATIENCE).expect("the relay runs");
    }

    /// All that it saw, in order.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.flush();
        self.0.lock().recorded.clone()
    }

    /// How many messages of a type it saw in a direction, the lost ones too.
    pub fn count(&self, direction: Direction, msg_type: u8) -> usize {
        let counts = |seen: &&Recorded| {
            seen.direction == direction && type_of(&seen.datagram) == Some(msg_type)
        };
        self.recorded().iter().filter(counts).count()
    }
}

impl Handle {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no thread panics while it holds the record")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.lock().ended = true;
        // If it cannot be woken, it has ended.
        let _already_ended = self.waker.wake();
    }
}

fn type_of(datagram: &[u8]) -> Option<u8> {
    sn::split(datagram).map(|(kind, _)| kind)
}

/// The thread of a relay.
struct Worker {
    front: UdpSocket,
    back: UdpSocket,
    /// Where the client sent from last.
    client: Option<SocketAddr>,
    began: Instant,
    counts: BTreeMap<(Direction, Option<u8>), usize>,
    held: BTreeMap<Direction, Vec<u8>>,
    shared: Arc<Mutex<Shared>>,
}

impl Worker {
    fn run(mut self, mut poll: Poll, mut policy: impl Policy) {
        let mut events = Events::with_capacity(8);
        loop {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("a poll can wait"),
            }
            // Both sockets are drained on every event: a flush means all that is there.
            let callers = std::mem::take(&mut self.lock().flushed);
            self.drain(Direction::ToGateway, &mut policy);
            self.drain(Direction::ToClient, &mut policy);
            for caller in callers {
                // A caller that has given up needs no answer.
                let _gone = caller.send(());
            }
            if self.lock().ended {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no thread panics while it holds the record")
    }

    fn drain(&mut self, direction: Direction, policy: &mut impl Policy) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let received = match direction {
                Direction::ToGateway => self.front.recv_from(&mut buffer).map(|(length, from)| {
                    self.client = Some(from);
                    length
                }),
                Direction::ToClient => self.back.recv(&mut buffer),
            };
            match received {
                Ok(length) => self.relay(direction, &buffer[..length], policy),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // "Connection refused" tells that the gateway is down: the datagram is lost.
                Err(_) => {}
            }
        }
    }

    fn relay(&mut self, direction: Direction, datagram: &[u8], policy: &mut impl Policy) {
        let msg_type = type_of(datagram);
        let number = self.counts.range((direction, None)..=(direction, Some(u8::MAX)));
        let number = number.map(|(_, count)| count).sum::<usize>() + 1;
        let number_of_type = self.counts.entry((direction, msg_type)).or_default();
        *number_of_type += 1;
        let number_of_type = *number_of_type;
        let fate = policy(&Seen { direction, number, msg_type, number_of_type, datagram });
        self.record(direction, datagram, fate);
        let held = self.held.remove(&direction);
        match fate {
            Fate::Drop => {}
            Fate::Pass => self.forward(direction, datagram),
            Fate::Double => {
                self.forward(direction, datagram);
                self.forward(direction, datagram);
            }
            Fate::Swap => {
                self.held.insert(direction, datagram.to_vec());
            }
        }
        if let Some(held) = held {
            self.forward(direction, &held);
        }
    }

    fn record(&self, direction: Direction, datagram: &[u8], fate: Fate) {
        let (at, datagram) = (self.began.elapsed(), datagram.to_vec());
        let mut shared = self.lock();
        if shared.recorded.len() == RECORDED_MAX {
            shared.recorded.remove(0);
        }
        shared.recorded.push(Recorded { direction, at, datagram, fate });
    }

    fn forward(&self, direction: Direction, datagram: &[u8]) {
        let sent: io::Result<usize> = match (direction, self.client) {
            (Direction::ToGateway, _) => self.back.send(datagram),
            (Direction::ToClient, Some(client)) => self.front.send_to(datagram, client),
            (Direction::ToClient, None) => return,
        };
        // A receiver that is gone is one more way for a datagram to get lost.
        let _lost = sent;
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as BlockingSocket;

    use super::*;
    use crate::client::sn::msg_type::{PINGREQ, PINGRESP, PUBACK};

    /// A client and a gateway that both only say what the test tells them to.
    struct Ends {
        client: BlockingSocket,
        gateway: BlockingSocket,
        relay: Relay,
    }

    impl Ends {
        fn new(policy: impl Policy) -> Self {
            let bind = || {
                let socket = BlockingSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                socket
            };
            let (client, gateway) = (bind(), bind());
            let relay = Relay::start(gateway.local_addr().unwrap(), policy);
            client.connect(relay.address()).unwrap();
            Self { client, gateway, relay }
        }

        /// Sends these one-octet bodies as PINGREQ to the gateway and returns what arrived.
        fn send(&self, bodies: &[u8]) -> Vec<u8> {
            for body in bodies {
                self.client.send(&sn::frame(PINGREQ, &[*body])).unwrap();
            }
            self.relay.flush();
            received(&self.gateway)
        }
    }

    fn received(socket: &BlockingSocket) -> Vec<u8> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 16];
        let mut bodies = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            bodies.push(buffer[length - 1]);
        }
        bodies
    }

    #[test]
    fn each_policy_does_what_it_is_called() {
        let check = |ends: Ends, expect: &[u8]| assert_eq!(ends.send(&[1, 2, 3, 4, 5]), expect);
        let first = drop_first(Direction::ToGateway, PINGREQ, 2);
        check(Ends::new(faithful()), &[1, 2, 3, 4, 5]);
        check(Ends::new(first), &[3, 4, 5]);
        check(Ends::new(drop_first(Direction::ToGateway, PUBACK, 1)), &[1, 2, 3, 4, 5]);
        check(Ends::new(drop_first(Direction::ToClient, PINGREQ, 1)), &[1, 2, 3, 4, 5]);
        check(Ends::new(drop_every(2)), &[1, 3, 5]);
        check(Ends::new(double_every(2)), &[1, 2, 2, 3, 4, 4, 5]);
        let swap_second = |seen: &Seen<'_>| match seen.number {
            2 => Fate::Swap,
            _ => Fate::Pass,
        };
        check(Ends::new(swap_second), &[1, 3, 2, 4, 5]);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let bodies: Vec<u8> = (0..100).collect();
        let arrived = |seed| Ends::new(by_chance(seed, 10)).send(&bodies);
        let once = arrived(7);
        assert_eq!(once, arrived(7));
        assert_ne!(once, arrived(8));
        assert_ne!(once, bodies);
        assert!((60..=110).contains(&once.len()), "{} of 100 arrived", once.len());
    }

    #[test]
    fn answers_find_the_client_and_everything_is_recorded() {
        let ends = Ends::new(faithful());
        assert_eq!(ends.send(&[1]), [1]);
        let client = ends.relay.client_as_seen();
        ends.gateway.send_to(&sn::frame(PINGRESP, &[]), client).unwrap();
        ends.relay.flush();
        assert_eq!(received(&ends.client), [PINGRESP]);
        assert_eq!(ends.relay.count(Direction::ToGateway, PINGREQ), 1);
        assert_eq!(ends.relay.count(Direction::ToClient, PINGRESP), 1);
        assert_eq!(ends.relay.count(Direction::ToClient, PINGREQ), 0);
        assert_eq!(ends.relay.recorded().len(), 2);
    }
}
