//! The server: one thread, one loop, turns of fixed phases.
//!
//! ```text
//! 1. read    sockets that are ready, each within a budget; what is not finished comes again
//! 2. time    the broker's, the MQTT-SN machine's and the links' own deadlines
//! 3. decide  the broker's outputs, a slice of them: encoded into buffers of links and ports
//! 4. keep    the turn's changes go to the store's thread, as one batch
//! 5. write   one system call per dirty link, one batch of datagrams per port
//! 6. sleep   until something happens or is due; not at all while anything is left over
//! ```
//!
//! This file is the only place where broker, MQTT-SN machine and sockets meet. The borrows are
//! those of distinct fields; each phase stands in a file of its own.

mod accept;
mod budget;
mod clock;
mod dispatch;
mod durable;
mod newcomers;
mod pace;
mod read;
mod reload;
mod settings;
mod start;
mod stop;
mod sys;
mod tcp;
mod token;
mod turns;
mod udp;
mod websocket;
mod write;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use broker_core::Broker;
use broker_core::api::Durability;
use broker_core::key::Key;
use broker_core::mqtt;
use broker_core::time::{Instant, Now};
use broker_core::users::Users;
use mio::{Events, Poll, Token};
use signal_hook_mio::v1_0::Signals;

use crate::cli::CliArgs;
use crate::config::Config;
use crate::logging::Log;
use crate::net::listener::TcpListenerPort;
use crate::net::outbuf::BlockPool;
use crate::net::udp::ReceiveBatch;
use crate::net::ws;
use crate::sn::SnGateway;

use budget::Readable;
use clock::Clock;
use durable::Durable;
use pace::Pace;
use reload::Reload;
pub use start::StartError;
pub use stop::EarlyHangup;
use stop::Phase;
use tcp::{Links, TcpLink};
use token::Place;
use turns::Turns;
use udp::SnPort;

/// Events taken from the kernel at once.
const EVENTS: usize = 1_024;

/// Messages of the broker that one turn hands on before it looks at the sockets again, so that a
/// wide topic cannot keep a sensor waiting for more than about a millisecond.
const DELIVERIES_PER_TURN: usize = 1_024;

/// Octets that those may put into the buffers of links, for the same reason and for memory's sake.
const DELIVERED_BYTES_PER_TURN: usize = 1 << 20;

/// Octets read at once.
const READ_BYTES: usize = 64 << 10;

/// Everything that serves.
pub struct Server {
    poll: Poll,
    signals: Signals,
    /// See [`stop::register_last_signal`].
    last_signal: Arc<AtomicBool>,
    clock: Clock,
    broker: Broker,
    sn: SnGateway,
    sn_topic_ids_max: u16,
    mqtt: mqtt::Settings,
    users: Users,
    limits: NetLimits,

    listeners: Vec<Listener>,
    ports: Vec<SnPort>,
    links: Links,
    readable: Readable,
    pace: Pace,
    /// Links that have something to write, each once.
    dirty: Vec<Key<TcpLink>>,
    /// Kept for their memory between two turns.
    round: Vec<Key<TcpLink>>,
    read_buffer: Box<[u8]>,
    datagrams: ReceiveBatch,
    blocks: BlockPool,

    durable: Durable,
    phase: Phase,
    /// Whether the broker had more to say than one turn hands on.
    has_more_outputs: bool,
    traffic: Traffic,
    turns: Turns,
    log: Log,
    reload: Reload,
}

/// A TCP listener and whether somebody may wait there.
struct Listener {
    port: TcpListenerPort,
    /// Which of the listeners of the configuration it is.
    configured: usize,
    /// Who may come, where MQTT is spoken over WebSocket.
    ws: Option<Arc<ws::Policy>>,
    /// What the answers to its clients wait for.
    durability: Durability,
    /// Whether clients are served that do not say who they are.
    allow_anonymous: bool,
    is_ready: bool,
    /// When to try again after the descriptors had run out.
    retry_at: Option<Instant>,
}

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
struct NetLimits {
    connections: usize,
    /// Connections that have not sent their CONNECT, from one source and in all.
    unidentified_per_source: u32,
    unidentified: usize,
    connect_timeout: Duration,
    write_stall: Duration,
}

/// What went over the links, for `$SYS`.
#[derive(Clone, Debug, Default)]
struct Traffic {
    /// Packets by type, received and sent.
    received: [u64; 16],
    sent: [u64; 16],
    refused_connections: u64,
    timed_out_connections: u64,
    stalled_links: u64,
    violations: u64,
    /// Handshakes of WebSocket, good and bad, and frames.
    websockets_opened: u64,
    websockets_refused: u64,
    frames_received: u64,
    /// Links closed over a packet for which there was no memory.
    memory_closed: u64,
    /// The largest packet, and the longest time from accept to CONNECT.
    packet_bytes_max: u64,
    connect_time_max: Duration,
}

impl Server {
    /// Binds everything that the configuration names. The command line that it was loaded from is
    /// for loading it again, at SIGHUP.
    ///
    /// # Errors
    /// The first address that could not be bound, with what to do about it.
    pub fn start(args: CliArgs, config: Config, log: Log) -> Result<Self, StartError> {
        start::start(args, config, log)
    }

    /// Does what a SIGHUP asked for that came while the server was made.
    pub fn catch_up(&mut self, hangup: &EarlyHangup) {
        if hangup.has_come() {
            self.ask_reload();
        }
    }

    /// The line that tells others where everything is bound.
    pub fn ready_line(&self) -> String {
        let list = |addresses: Vec<String>| addresses.join(",");
        let tcp = |is_ws: bool| -> Vec<String> {
            let listeners = self.listeners.iter().filter(|listener| listener.ws.is_some() == is_ws);
            listeners.map(|listener| listener.port.address().to_string()).collect()
        };
        let sn = self.ports.iter().map(|port| port.address().to_string()).collect();
        let mut line = "ready".to_owned();
        for (kind, addresses) in [("mqtt", tcp(false)), ("mqtt-sn", sn), ("ws", tcp(true))] {
            if !addresses.is_empty() {
                line += &format!(" {kind}={}", list(addresses));
            }
        }
        line
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// The machine refuses to tell of events; nothing else ends it.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while self.phase != Phase::Stopped {
            let timeout = self.sleep_time();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let begin = std::time::Instant::now();
            for event in &events {
                self.note(event.token(), event);
            }
            let now = self.clock.now();
            self.hear_reload(now);
            self.turn(now);
            self.log.sum_up();
            let took = begin.elapsed();
            self.turns.count(took);
        }
        if self.close_store() {
            return Ok(());
        }
        Err(io::Error::other("the store could not be written to its end"))
    }

    fn turn(&mut self, now: Now) {
        self.hear_store();
        self.read_sockets(now);
        if !self.is_draining() {
            self.broker.handle_timeout(now);
            self.sn.handle_timeout(now, &mut self.broker);
        }
        self.handle_net_timeouts(now);
        self.dispatch_outputs(now);
        self.submit_changes();
        self.write_sockets(now);
        self.broker.set_external_memory(self.memory());
        self.go_on_stopping(now);
    }

    /// Notes what an event says; the work is done in the turn.
    fn note(&mut self, token: Token, event: &mio::event::Event) {
        match token::place(token) {
            Place::Signals => self.handle_signals(),
            // The turn looks at it in any case.
            Place::Waker => {}
            Place::Listener(index) => {
                if let Some(listener) = self.listeners.get_mut(index) {
                    listener.is_ready = true;
                }
            }
            Place::Port { index, socket } => {
                if let Some(port) = self.ports.get_mut(index) {
                    port.note(socket, event);
                }
            }
            Place::Link(key) => self.note_link(key, event),
        }
    }

    /// How long nothing will happen by itself.
    fn sleep_time(&mut self) -> Option<Duration> {
        if self.has_more_outputs || self.has_unread() || self.has_unwritten() {
            return Some(Duration::ZERO);
        }
        let of_clients = [self.broker.next_timeout(), self.sn.next_timeout(), self.next_accept()];
        let of_clients = of_clients.into_iter().filter(|_| !self.is_draining());
        let others = [self.links.next_deadline(), self.stop_deadline(), self.pace.next_look()];
        let deadline = of_clients.chain(others).flatten().min()?;
        let now = self.clock.now().mono;
        // A tick of the timers more, so that what is due then is due when we wake.
        Some(if deadline <= now { Duration::ZERO } else { deadline.since(now) })
    }

    /// Memory in use outside the broker, in octets.
    fn memory(&self) -> u64 {
        let ports: usize = self.ports.iter().map(SnPort::memory).sum();
        let total = self.links.memory()
            + self.sn.usage().memory_bytes
            + self.blocks.spare_bytes()
            + ports
            + self.read_buffer.len();
        total as u64 + self.durable.backlog_bytes()
    }
}
