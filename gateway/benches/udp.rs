//! What a datagram costs, by the form of the system calls: CPU time of this thread, on loopback.
//!
//! `cargo bench -p gateway --bench udp` prints all forms from one run, with those that the gateway
//! uses. Ratios within a run hold from machine to machine better than the numbers.
//!
//! A round moves 64 datagrams of 40 octets from as many senders. They wait in bursts: 64 sockets
//! with one datagram each, 4 with 16, or 1 with 64; so a short burst costs what it costs a port
//! that woke for it, with the call that finds the socket empty. Each form has a clock reading
//! around each round of its own, the forms take turns, and the median of the rounds is printed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops on errors"
)]

use std::fs;
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;

use mqtt_sn_gw::net::udp::{LocalAddr, ReceiveBatch, TransmitBatch, UdpOptions, UdpPort};
use socket2::{MaybeUninitSlice, MsgHdrMut, SockAddr, SockRef};

/// Datagrams in a round.
const ROUND: usize = 64;

const ROUNDS: usize = 1000;

/// Rounds before the measurement begins.
const WARM_UP: usize = 10;

const PAYLOAD: [u8; 40] = [7; 40];

const BURSTS: [usize; 3] = [1, 16, 64];

/// CPU nanoseconds of this thread so far. Yielding first makes the kernel book the time up to now.
fn cpu_ns() -> u64 {
    thread::yield_now();
    let line = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ns = line.split(' ').next().unwrap().parse().unwrap();
    assert_ne!(ns, 0, "this kernel does not count CPU time by thread (CONFIG_SCHED_INFO)");
    ns
}

/// The cost of reading the clock twice, to be taken off each measurement.
fn clock_ns() -> u64 {
    median((0..1_000).map(|_| measure(|| {}, 0)).collect())
}

fn measure(work: impl FnOnce(), clock: u64) -> u64 {
    let start = cpu_ns();
    work();
    (cpu_ns() - start).saturating_sub(clock)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// One way to do a round, and what its rounds cost.
struct Form<'a> {
    name: &'static str,
    round: Box<dyn FnMut() -> u64 + 'a>,
    costs: Vec<u64>,
}

impl<'a> Form<'a> {
    fn new(name: &'static str, round: impl FnMut() -> u64 + 'a) -> Self {
        Self { name, round: Box::new(round), costs: Vec::new() }
    }
}

/// Runs the forms in turn and prints the median of each per datagram, the first being the measure.
fn compare(title: &str, mut forms: Vec<Form<'_>>) {
    for round in 0..WARM_UP + ROUNDS {
        for form in &mut forms {
            let cost = (form.round)();
            if round >= WARM_UP {
                form.costs.push(cost);
            }
        }
    }
    println!("{title}");
    let mut reference = None;
    for form in forms {
        let ns = median(form.costs) as f64 / ROUND as f64;
        let ratio = ns / *reference.get_or_insert(ns);
        println!("  {:<44} {ns:>6.0} ns  {ratio:>5.2}", form.name);
    }
}

fn main() {
    let clock = clock_ns();
    println!("CPU time per datagram; the clock itself, {clock} ns a round, is taken off");
    for burst in BURSTS {
        receive_forms(burst, clock);
    }
    for burst in BURSTS {
        transmit_forms(burst, clock);
    }
}

/// Sockets for receiving, and the senders that fill them.
struct Field {
    senders: Vec<UdpSocket>,
    burst: usize,
}

impl Field {
    fn new(burst: usize) -> Self {
        let senders = (0..64).map(|_| UdpSocket::bind(loopback(0)).unwrap()).collect();
        Self { senders, burst }
    }

    fn receivers(&self) -> usize {
        ROUND / self.burst
    }

    /// Sends a burst to each of `ports`.
    fn fill(&self, ports: impl Iterator<Item = u16>) {
        for (number, port) in ports.enumerate() {
            for sender in 0..self.burst {
                let sender = &self.senders[(number + sender) % self.senders.len()];
                sender.send_to(&PAYLOAD, loopback(port)).unwrap();
            }
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn plain_sockets(count: usize) -> Vec<UdpSocket> {
    let open = |_| {
        let socket = UdpSocket::bind(loopback(0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    (0..count).map(open).collect()
}

fn ports(count: usize, address: Ipv4Addr) -> Vec<UdpPort> {
    let open = |_| UdpPort::bind((address, 0).into(), &UdpOptions::default()).unwrap();
    (0..count).map(open).collect()
}

fn receive_forms(burst: usize, clock: u64) {
    let field = Field::new(burst);
    let count = field.receivers();
    let plain = plain_sockets(count);
    let wild = ports(count, Ipv4Addr::UNSPECIFIED);
    let bound = ports(count, Ipv4Addr::LOCALHOST);
    let (mut bound_64, mut bound_32, mut wild_64) =
        (bound, ports(count, Ipv4Addr::LOCALHOST), wild);
    let forms = vec![
        Form::new("recv_from loop", || recv_from_round(&field, &plain, clock)),
        Form::new("recvmsg loop", || recvmsg_round(&field, &plain, clock)),
        Form::new("recvmmsg(32)", || port_round(&field, &mut bound_32, 32, clock)),
        Form::new("recvmmsg(64), the gateway", || port_round(&field, &mut bound_64, 64, clock)),
        Form::new("recvmmsg(64) with packet information", || {
            port_round(&field, &mut wild_64, 64, clock)
        }),
    ];
    compare(&format!("receive, {burst} waiting"), forms);
}

fn port_of(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

/// Calls `receive` until the socket is empty; it tells of datagrams with `Ok`.
fn drain(mut receive: impl FnMut() -> io::Result<()>) -> usize {
    let mut count = 0;
    while receive().is_ok() {
        count += 1;
    }
    count
}

fn recv_from_round(field: &Field, sockets: &[UdpSocket], clock: u64) -> u64 {
    field.fill(sockets.iter().map(port_of));
    let mut buffer = vec![0; 65_536];
    let mut count = 0;
    let cost = measure(
        || {
            for socket in sockets {
                count += drain(|| socket.recv_from(&mut buffer).map(|got| _ = black_box(got)));
            }
        },
        clock,
    );
    assert_eq!(count, ROUND);
    cost
}

fn recvmsg_round(field: &Field, sockets: &[UdpSocket], clock: u64) -> u64 {
    field.fill(sockets.iter().map(port_of));
    let mut buffer = vec![MaybeUninit::uninit(); 65_536];
    let mut control = [MaybeUninit::uninit(); 64];
    let mut name = SockAddr::from(loopback(0));
    let mut count = 0;
    let mut receive = |socket: &UdpSocket| {
        let mut slices = [MaybeUninitSlice::new(&mut buffer)];
        let mut message = MsgHdrMut::new()
            .with_addr(&mut name)
            .with_buffers(&mut slices)
            .with_control(&mut control);
        SockRef::from(socket).recvmsg(&mut message, 0)?;
        black_box(name.as_socket());
        Ok(())
    };
    let cost = measure(
        || {
            for socket in sockets {
                count += drain(|| receive(socket));
            }
        },
        clock,
    );
    assert_eq!(count, ROUND);
    cost
}

fn port_round(field: &Field, ports: &mut [UdpPort], budget: usize, clock: u64) -> u64 {
    thread_local! {
        static BATCH: std::cell::RefCell<ReceiveBatch> = ReceiveBatch::new().into();
    }
    field.fill(ports.iter().map(|port| port.address().port()));
    let mut count = 0;
    let cost = BATCH.with_borrow_mut(|batch| {
        measure(
            || {
                for port in ports.iter_mut() {
                    port.set_readable(0);
                    loop {
                        let received = port.receive(batch, budget).unwrap();
                        count += batch.datagrams().map(black_box).count();
                        if received.drained {
                            break;
                        }
                    }
                }
            },
            clock,
        )
    });
    assert_eq!(count, ROUND);
    cost
}

fn transmit_forms(burst: usize, clock: u64) {
    let receivers = plain_sockets(64);
    let to: Vec<SocketAddr> =
        receivers.iter().map(|receiver| receiver.local_addr().unwrap()).collect();
    let to = &to;
    let socket = UdpSocket::bind(loopback(0)).unwrap();
    let mut bound = ports(1, Ipv4Addr::LOCALHOST);
    let mut wild = ports(1, Ipv4Addr::UNSPECIFIED);
    let (mut bound_batch, mut wild_batch) = (TransmitBatch::new(), TransmitBatch::new());
    let from = LocalAddr { ip: Some(Ipv4Addr::LOCALHOST.into()), interface: 0 };
    let receivers = &receivers;
    let forms = vec![
        Form::new("send_to loop", move || {
            let send =
                || (0..ROUND).for_each(|i| _ = socket.send_to(&PAYLOAD, to[i % 64]).unwrap());
            let cost = measure(send, clock);
            empty(receivers);
            cost
        }),
        Form::new("transmit, the gateway", move || {
            let send = || transmit_round(&mut bound[0], &mut bound_batch, to, None, burst);
            let cost = measure(send, clock);
            empty(receivers);
            cost
        }),
        Form::new("transmit with packet information", move || {
            let send = || transmit_round(&mut wild[0], &mut wild_batch, to, Some(from), burst);
            let cost = measure(send, clock);
            empty(receivers);
            cost
        }),
    ];
    compare(&format!("send, {burst} at a time"), forms);
}

fn transmit_round(
    port: &mut UdpPort,
    batch: &mut TransmitBatch,
    to: &[SocketAddr],
    from: Option<LocalAddr>,
    burst: usize,
) {
    for start in (0..ROUND).step_by(burst) {
        for i in start..start + burst {
            batch.push(to[i % to.len()], from, &PAYLOAD).unwrap();
        }
        assert_eq!(port.transmit(batch).datagrams, burst);
    }
}

/// Takes what arrived, every datagram of a round.
fn empty(receivers: &[UdpSocket]) {
    let mut buffer = [0; 64];
    let count: usize = receivers
        .iter()
        .map(|receiver| drain(|| receiver.recv_from(&mut buffer).map(|got| _ = black_box(got))))
        .sum();
    assert_eq!(count, ROUND);
}
