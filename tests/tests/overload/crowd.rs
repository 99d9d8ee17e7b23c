//! Many connections at once, in raw octets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;

use socket2::{Domain, Socket, Type};
use system_tests::client::mqtt::MqttClient;
use system_tests::process::PATIENCE;

/// Connections of which each does the same.
pub(super) struct Crowd(Vec<TcpStream>);

/// The octets of a CONNECT with a clean session.
pub(super) fn connect_packet(client_id: &str) -> Vec<u8> {
    MqttClient::options(client_id).packet()
}

impl Crowd {
    /// Opens so many connections; nothing is said on them.
    #[track_caller]
    pub(super) fn open(server: SocketAddr, count: usize) -> Self {
        system_tests::descriptors::raise();
        let connect = |_| TcpStream::connect(server).expect("a server that accepts");
        Self((0..count).map(connect).collect())
    }

    /// Opens one more connection.
    #[track_caller]
    pub(super) fn add(&mut self, server: SocketAddr) {
        self.0.push(TcpStream::connect(server).expect("a server that accepts"));
    }

    /// Opens so many connections and says CONNECT on each; the answers are taken.
    #[track_caller]
    pub(super) fn connect(server: SocketAddr, count: usize, prefix: &str) -> Self {
        let open = || TcpStream::connect(server).expect("a server that accepts");
        Self::connect_by(open, count, prefix)
    }

    /// The same through sockets that take as little as possible while nobody reads from them.
    #[track_caller]
    pub(super) fn connect_narrow(server: SocketAddr, count: usize, prefix: &str) -> Self {
        let open = || {
            let socket = Socket::new(Domain::for_address(server), Type::STREAM, None);
            let socket = socket.expect("a socket");
            socket.set_recv_buffer_size(1).expect("a socket");
            socket.connect(&server.into()).expect("a server that accepts");
            TcpStream::from(socket)
        };
        Self::connect_by(open, count, prefix)
    }

    #[track_caller]
    fn connect_by(open: impl Fn() -> TcpStream, count: usize, prefix: &str) -> Self {
        system_tests::descriptors::raise();
        let connect = |number| {
            let mut stream = open();
            let connect = connect_packet(&format!("{prefix}{number}"));
            stream.write_all(&connect).expect("a server that reads");
            stream
        };
        let mut crowd = Self((0..count).map(connect).collect());
        let mut connack = [0; 4];
        for stream in &mut crowd.0 {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
            stream.read_exact(&mut connack).expect("CONNACK");
            assert_eq!(connack, [0x20, 2, 0, 0]);
        }
        crowd
    }

    /// The connections, for what only some of them do.
    pub(super) fn streams(&mut self) -> &mut [TcpStream] {
        &mut self.0
    }

    /// Says something on each connection, as far as it is open and takes it; waits for nobody.
    pub(super) fn push(&mut self, octets: &[u8]) -> usize {
        self.0.iter_mut().map(|stream| push(stream, octets)).sum()
    }

    /// Every connection is closed by the server; what it says before is not looked at.
    #[track_caller]
    pub(super) fn expect_closed(&mut self) {
        for (number, stream) in self.0.iter_mut().enumerate() {
            assert!(is_closed(stream), "connection {number} is still open");
        }
    }
}

/// Writes as much as the connection takes at once.
pub(super) fn push(stream: &mut TcpStream, octets: &[u8]) -> usize {
    stream.set_nonblocking(true).expect("a socket");
    // A connection that was closed takes nothing.
    let written = stream.write(octets).unwrap_or(0);
    stream.set_nonblocking(false).expect("a socket");
    written
}

/// Waits for the end of a connection; `false` if it does not come.
pub(super) fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
        }
    }
}

/// Runs `work` on `threads` threads that begin at the same time, each with its number.
pub(super) fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let begin = Barrier::new(threads);
    thread::scope(|scope| {
        let spawn = |number| {
            let (begin, work) = (&begin, &work);
            scope.spawn(move || {
                begin.wait();
                work(number)
            })
        };
        let handles: Vec<_> = (0..threads).map(spawn).collect();
        handles.into_iter().map(|handle| handle.join().expect("see above")).collect()
    })
}
