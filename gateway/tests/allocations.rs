//! The server, its loop and its sockets: messages between warm sessions allocate nothing.
//!
//! The loop runs on a thread of its own, and only what that thread allocates is counted. It is the
//! loop of the program, with its real sockets; clients are plain sockets of this test.

#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mqtt_sn_gw::cli::CliArgs;
use mqtt_sn_gw::config::Config;
use mqtt_sn_gw::logging::Log;
use mqtt_sn_gw::server::Server;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is the one that serves.
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if IS_COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call goes on to the system's allocator unchanged; `alloc_zeroed` as the trait
// provides it ends in `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, which is the same there.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from above, so from the system, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Messages that make sessions warm, and those of which the allocations are counted.
const WARM: usize = 2_000;
const COUNTED: usize = 10_000;

/// Messages that are under way at once.
const WINDOW: usize = 10;

/// Everything but what is wanted now and then: `$SYS` has new values every ten seconds, each of
/// them a retained message that takes the place of another.
const CONFIG: &str = r#"
[[listener]]
kind = "mqtt"
bind = "127.0.0.1:0"
[[listener]]
kind = "mqtt-sn"
bind = "127.0.0.1:0"
[log]
level = "error"
[sys]
interval_s = 0
"#;

const PAYLOAD: &[u8] = b"a reading of 24 octets..";

/// One end of the way of a message. All speak about the topic `xy`, which needs no registration.
enum Client {
    Mqtt(TcpStream),
    Sn(UdpSocket),
}

impl Client {
    fn mqtt(server: SocketAddr, id: u8) -> Self {
        let mut stream = TcpStream::connect(server).expect("a server that accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("above zero");
        stream
            .write_all(&[b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01", &[id][..]].concat())
            .expect("open");
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).expect("CONNACK");
        assert_eq!(connack, [0x20, 2, 0, 0]);
        Self::Mqtt(stream)
    }

    fn sn(server: SocketAddr, id: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(server).expect("loopback");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("above zero");
        let mut client = Self::Sn(socket);
        client.say(&[7, 4, 4, 1, 0, 0, id]);
        client.expect(&[3, 5, 0]);
        client
    }

    fn say(&mut self, packet: &[u8]) {
        match self {
            Self::Mqtt(stream) => stream.write_all(packet).expect("open"),
            Self::Sn(socket) => drop(socket.send(packet).expect("a gateway that listens")),
        }
    }

    /// Takes so many octets: a datagram, or a part of the stream.
    fn take<'a>(&mut self, buffer: &'a mut [u8], length: usize) -> &'a [u8] {
        match self {
            Self::Mqtt(stream) => stream.read_exact(&mut buffer[..length]).expect("in time"),
            Self::Sn(socket) => assert_eq!(socket.recv(buffer).expect("in time"), length),
        }
        &buffer[..length]
    }

    fn expect(&mut self, packet: &[u8]) {
        let mut buffer = [0; 64];
        assert_eq!(self.take(&mut buffer, packet.len()), packet);
    }

    fn subscribe(&mut self, qos: u8) {
        match self {
            Self::Mqtt(_) => {
                self.say(&[0x82, 7, 0, 1, 0, 2, b'x', b'y', qos]);
                self.expect(&[0x90, 3, 0, 1, qos]);
            }
            Self::Sn(_) => {
                self.say(&[7, 0x12, qos << 5 | 2, 0, 1, b'x', b'y']);
                self.expect(&[8, 0x13, qos << 5, b'x', b'y', 0, 1, 0]);
            }
        }
    }

    fn publish(&mut self, qos: u8, id: u16) {
        let id = if qos == 0 { 0 } else { id };
        let [high, low] = id.to_be_bytes();
        let length = u8::try_from(PAYLOAD.len()).expect("short");
        match self {
            Self::Mqtt(_) if qos == 0 => {
                self.say(&[&[0x30, 4 + length, 0, 2, b'x', b'y'], PAYLOAD].concat());
            }
            Self::Mqtt(_) => {
                self.say(&[&[0x32, 6 + length, 0, 2, b'x', b'y', high, low], PAYLOAD].concat());
            }
            Self::Sn(_) => {
                let header = [7 + length, 0x0C, qos << 5 | 2, b'x', b'y', high, low];
                self.say(&[&header, PAYLOAD].concat());
            }
        }
    }

    fn expect_puback(&mut self, id: u16) {
        let [high, low] = id.to_be_bytes();
        match self {
            Self::Mqtt(_) => self.expect(&[0x40, 2, high, low]),
            Self::Sn(_) => self.expect(&[7, 0x0D, b'x', b'y', high, low, 0]),
        }
    }

    /// Takes a message and acknowledges it.
    fn take_message(&mut self, qos: u8) {
        let mut buffer = [0; 64];
        match self {
            Self::Mqtt(_) => {
                let header = if qos == 0 { 6 } else { 8 };
                let packet = self.take(&mut buffer, header + PAYLOAD.len());
                assert_eq!((packet[0], &packet[header..]), (0x30 | qos << 1, PAYLOAD));
                let (high, low) = (packet[6], packet[7]);
                if qos == 1 {
                    self.say(&[0x40, 2, high, low]);
                }
            }
            Self::Sn(_) => {
                let packet = self.take(&mut buffer, 7 + PAYLOAD.len());
                assert_eq!((packet[2], &packet[7..]), (qos << 5 | 2, PAYLOAD));
                let (high, low) = (packet[5], packet[6]);
                if qos == 1 {
                    self.say(&[7, 0x0D, b'x', b'y', high, low, 0]);
                }
            }
        }
    }
}

/// Sends messages from one to the other, a window of them at a time.
fn send(publisher: &mut Client, subscriber: &mut Client, qos: u8, count: usize) {
    // A publisher over MQTT-SN may have one message of QoS 1 under way (6.13).
    let window = if qos == 1 && matches!(publisher, Client::Sn(_)) { 1 } else { WINDOW };
    for _ in 0..count / window {
        for id in 1..=window {
            publisher.publish(qos, u16::try_from(id).expect("short"));
        }
        if qos == 1 {
            for id in 1..=window {
                publisher.expect_puback(u16::try_from(id).expect("short"));
            }
        }
        for _ in 0..window {
            subscriber.take_message(qos);
        }
    }
}

#[test]
fn messages_between_warm_sessions_allocate_nothing() {
    let config = Config::parse("test", CONFIG).unwrap_or_else(|problems| panic!("{problems}"));
    let log = Log::start(&config.log, config.limits.log_lines_per_s);
    let mut server =
        Server::start(CliArgs::default(), config, log).expect("loopback has free ports");
    let ready = server.ready_line();
    let address = |kind: &str| -> SocketAddr {
        let field = ready.split(' ').find_map(|field| field.strip_prefix(kind));
        field.and_then(|address| address.parse().ok()).expect("a ready line")
    };
    let (mqtt, sn) = (address("mqtt="), address("mqtt-sn="));
    thread::spawn(move || {
        IS_COUNTED.set(true);
        server.run()
    });
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    let connect = |is_sn: bool, id| if is_sn { Client::sn(sn, id) } else { Client::mqtt(mqtt, id) };
    let mut found = Vec::new();
    for (from_sn, to_sn) in [(false, false), (true, false), (false, true), (true, true)] {
        for qos in [0, 1] {
            let (mut publisher, mut subscriber) = (connect(from_sn, b'p'), connect(to_sn, b's'));
            subscriber.subscribe(qos);
            send(&mut publisher, &mut subscriber, qos, WARM);
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            send(&mut publisher, &mut subscriber, qos, COUNTED);
            let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
            let name = |is_sn| if is_sn { "MQTT-SN" } else { "MQTT" };
            found.push((name(from_sn), name(to_sn), qos, allocations));
        }
    }
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > before, "connecting allocates, and is counted");
    assert!(found.iter().all(|(.., allocations)| *allocations == 0), "{found:#?}");
}
