//! The program, and a gateway on a real socket that follows a script.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::octets::{hex, octets};

/// Nothing takes as long as this unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port where a gateway is, or seems to be.
pub(crate) struct Port(UdpSocket);

impl Port {
    pub(crate) fn open() -> Self {
        Self::open_at((Ipv4Addr::LOCALHOST, 0).into()).expect("a port of this machine")
    }

    /// A port of ::1 whose number on 127.0.0.1 refuses what comes to it; none on a machine without
    /// IPv6.
    pub(crate) fn open_v6() -> Option<(Self, Self)> {
        loop {
            let port = Self::open_at((Ipv6Addr::LOCALHOST, 0).into()).ok()?;
            let number = port.address().port();
            if let Ok(other) = Self::open_at((Ipv4Addr::LOCALHOST, number).into()) {
                return Some((port, other.refuse()));
            }
        }
    }

    fn open_at(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// A port that is in use, and refuses what comes to it: its socket belongs to another peer.
    pub(crate) fn refusing() -> Self {
        Self::open().refuse()
    }

    fn refuse(self) -> Self {
        self.0.connect(self.address()).expect("it can talk to itself");
        self
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2048];
        loop {
            match self.0.recv_from(&mut buffer) {
                Ok((size, from)) => return (buffer[..size].to_vec(), from),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing comes from the program: {error}"),
            }
        }
    }

    /// Follows a script: `>` is what the program has to send next, `<` is answered. On a busy
    /// machine an answer may come late, and what it answers once more than expected.
    pub(crate) fn play(&self, script: &str) {
        let mut program = None;
        let mut last = Vec::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (sign, text) = line.split_at(1);
            let text = text.split("--").next().unwrap_or_default();
            match sign {
                ">" => {
                    let expected = octets(text);
                    let (mut datagram, mut from) = self.receive();
                    while datagram != expected && without_dup(&datagram) == last {
                        (datagram, from) = self.receive();
                    }
                    assert_eq!(hex(&datagram), hex(&expected), "instead of {line}");
                    last = without_dup(&datagram);
                    program = Some(from);
                }
                "<" => {
                    let to = program.expect("the program has sent something");
                    self.0.send_to(&octets(text), to).expect("it can be sent");
                }
                _ => panic!("what is {line}?"),
            }
        }
    }
}

fn without_dup(datagram: &[u8]) -> Vec<u8> {
    let mut octets = datagram.to_vec();
    if let [_, 0x0C, flags, ..] = octets.as_mut_slice() {
        *flags &= 0x7F;
    }
    octets
}

/// The program, running; killed if the test fails meanwhile.
pub(crate) struct Program(Option<Child>);

impl Program {
    /// `pub` or `sub` with its options, towards `port`.
    pub(crate) fn start(port: &Port, words: &str) -> Self {
        Self::start_at(&port.address().ip().to_string(), port, words)
    }

    /// The same, calling the host by another name.
    pub(crate) fn start_at(host: &str, port: &Port, words: &str) -> Self {
        let port = port.address().port().to_string();
        let mut words = words.split(' ');
        let child = Command::new(env!("CARGO_BIN_EXE_mqtt-sn-gw"))
            .args(words.next())
            .args(["-h", host, "-p", &port, "-i", "dev1"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        Self(Some(child))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it is running")
    }

    /// Gives it its standard input, and the end of it.
    pub(crate) fn input(mut self, text: &str) -> Self {
        let mut stdin = self.child().stdin.take().expect("it was not given yet");
        stdin.write_all(text.as_bytes()).expect("the program reads");
        self
    }

    /// Nobody reads what it prints any more.
    pub(crate) fn close_output(&mut self) {
        drop(self.child().stdout.take());
    }

    pub(crate) fn signal(&mut self, name: &str) {
        let id = self.child().id().to_string();
        let kill = Command::new("kill").args(["-s", name, &id]).status();
        assert!(kill.expect("every system has it").success());
    }

    /// Its exit status, standard output and standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let child = self.0.take().expect("it is running");
        let id = child.id();
        let (sender, output) = channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = output.recv_timeout(PATIENCE) else {
            let _ = Command::new("kill").args(["-s", "KILL", &id.to_string()]).status();
            panic!("the program does not end");
        };
        let Output { status, stdout, stderr } = output.expect("it can be waited for");
        let text = |octets| String::from_utf8(octets).expect("UTF-8");
        (status.code(), text(stdout), text(stderr))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs the program through a script, and wants it to end well and silently but for `printed`.
#[track_caller]
pub(crate) fn check(words: &str, script: &str, printed: &str) {
    let port = Port::open();
    let program = Program::start(&port, words);
    port.play(script);
    assert_eq!(program.end(), (Some(0), printed.to_owned(), String::new()));
}

/// Runs the program through a script, and wants it to end with a status and a line on standard
/// error, in which `PORT` stands for the port of the gateway.
#[track_caller]
pub(crate) fn check_failure(words: &str, script: &str, status: i32, line: &str) {
    let port = Port::open();
    let program = Program::start(&port, words);
    port.play(script);
    let line = line.replace("PORT", &port.address().port().to_string());
    assert_eq!(program.end(), (Some(status), String::new(), line));
}
