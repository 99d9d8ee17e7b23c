//! The start: everything is bound, or nothing is served.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use broker_core::Broker;
use mio::{Interest, Poll, Waker};
use signal_hook_mio::v1_0::Signals;
use tracing::{debug, info, warn};

use super::budget::Readable;
use super::clock::Clock;
use super::durable;
use super::pace::Pace;
use super::reload::Reload;
use super::stop::{self, Phase};
use super::tcp::Links;
use super::token::{self, Place, SN_LINKS};
use super::turns::Turns;
use super::udp::SnPort;
use super::{Listener, READ_BYTES, Server, Traffic, settings};
use crate::cli::CliArgs;
use crate::config::{self, Config, ListenerKind, SnListener};
use crate::logging::Log;
use crate::net;
use crate::net::listener::TcpListenerPort;
use crate::net::outbuf::BlockPool;
use crate::net::udp::{GroupRequest, ReceiveBatch, UdpOptions, UdpPort};
use crate::net::ws;
use crate::sn::SnGateway;

/// Why nothing is served: what, and what would help.
#[derive(Debug)]
pub struct StartError {
    what: String,
    right: String,
}

impl StartError {
    pub(super) const fn new(what: String, right: String) -> Self {
        Self { what, right }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.what, self.right)
    }
}

impl std::error::Error for StartError {}

pub(super) fn start(args: CliArgs, config: Config, log: Log) -> Result<Server, StartError> {
    let descriptors = net::raise_descriptor_limit().map_err(|error| machine(&error))?;
    let poll = Poll::new().map_err(|error| machine(&error))?;
    let mut signals = Signals::new(stop::SIGNALS).map_err(|error| machine(&error))?;
    let last_signal = stop::register_last_signal().map_err(|error| machine(&error))?;
    stop::outlive_file_limit().map_err(|error| machine(&error))?;
    let token = token::token(Place::Signals);
    poll.registry()
        .register(&mut signals, token, Interest::READABLE)
        .map_err(|error| machine(&error))?;

    let mut clock = Clock::new();
    let now = clock.now();
    let seed = u64::from_ne_bytes(random().map_err(|error| machine(&error))?);
    let secret = random().map_err(|error| machine(&error))?;
    // First the state, then the sockets: nobody is served by half of it.
    let found = durable::open(&config, config.recover)?;
    let is_durable = found.is_some();
    let mut broker = Broker::new(settings::broker(&config, is_durable, seed), now);
    let sn_settings = settings::sn(&config, is_durable);
    let queues = settings::queues(&config);
    let sn_topic_ids_max = sn_settings.topic_ids_max;
    let mut sn = SnGateway::new(sn_settings, SN_LINKS, now, seed.rotate_left(32));
    sn.set_durability(&settings::sn_durability(&config));
    let waker = Waker::new(poll.registry(), token::token(Place::Waker));
    let waker = Arc::new(waker.map_err(|error| machine(&error))?);
    let at_full = config.on_disk_full;
    let durable = durable::restore(found, at_full, now, Arc::clone(&waker), &mut broker, &mut sn)?;
    // Sessions that came back have the bounds that held when they were kept.
    broker.set_queue_limits(queues.mqtt, queues.sn);

    let mut listeners = Vec::new();
    let mut ports = Vec::new();
    let (mut max_datagram, mut durability) = (Vec::new(), Vec::new());
    for (configured, listener) in config.listeners.iter().enumerate() {
        match &listener.kind {
            ListenerKind::Mqtt => {
                let place = (listeners.len(), configured);
                listeners.extend(bind_tcp(&poll, listener, None, place)?);
            }
            ListenerKind::Ws(ws) => {
                let policy = Some(Arc::new(settings::ws(&config, ws)));
                let place = (listeners.len(), configured);
                listeners.extend(bind_tcp(&poll, listener, policy, place)?);
            }
            ListenerKind::MqttSn(sn) => {
                let place = (ports.len(), configured);
                if let Some(port) = bind_udp(&poll, listener, sn, place)? {
                    ports.push(port);
                    max_datagram.extend(settings::max_datagram(&listener.kind));
                    durability.push(settings::durability(listener));
                }
            }
        }
    }
    sn.set_max_datagram(max_datagram);
    sn.set_durability(&durability);
    let limits = settings::net(&config, descriptors.soft);
    info!(
        memory_bytes = config.limits.memory_bytes,
        sessions = config.limits.sessions,
        connections = limits.connections,
        packet_bytes = config.limits.packet_bytes,
        queue_messages = config.limits.queue_messages,
        "limits"
    );
    Ok(Server {
        broker,
        sn,
        durable,
        sn_topic_ids_max,
        mqtt: settings::mqtt(&config),
        users: settings::users(&config, secret),
        reload: Reload::new(args, config, descriptors.soft, waker),
        limits,
        poll,
        signals,
        last_signal,
        clock,
        listeners,
        ports,
        links: Links::new(limits.connect_timeout, seed.rotate_left(16)),
        readable: Readable::default(),
        pace: Pace::default(),
        dirty: Vec::new(),
        round: Vec::new(),
        read_buffer: vec![0; READ_BYTES].into_boxed_slice(),
        datagrams: ReceiveBatch::new(),
        blocks: BlockPool::new(),
        phase: Phase::Serving,
        has_more_outputs: false,
        traffic: Traffic::default(),
        turns: Turns::default(),
        log,
    })
}

fn bind_tcp(
    poll: &Poll,
    listener: &config::Listener,
    ws: Option<Arc<ws::Policy>>,
    (index, configured): (usize, usize),
) -> Result<Option<Listener>, StartError> {
    let (kind, name) = if ws.is_some() { ("ws", "MQTT over WebSocket") } else { ("mqtt", "MQTT") };
    let mut port = match TcpListenerPort::bind(listener.bind) {
        Ok(port) => port,
        Err(error) => return unbound(listener, kind, "TCP", &error).map(|()| None),
    };
    let token = token::token(Place::Listener(index));
    poll.registry()
        .register(&mut port, token, Interest::READABLE)
        .map_err(|error| machine(&error))?;
    info!(address = %port.address(), "{name}");
    let (durability, allow_anonymous) = (settings::durability(listener), listener.allow_anonymous);
    Ok(Some(Listener {
        port,
        configured,
        ws,
        durability,
        allow_anonymous,
        is_ready: true,
        retry_at: None,
    }))
}

fn bind_udp(
    poll: &Poll,
    listener: &config::Listener,
    sn: &SnListener,
    (index, configured): (usize, usize),
) -> Result<Option<SnPort>, StartError> {
    let options =
        UdpOptions { multicast_ttl: u32::from(sn.multicast_ttl), ..UdpOptions::default() };
    let mut port = match UdpPort::bind(listener.bind, &options) {
        Ok(port) => port,
        Err(error) => return unbound(listener, "mqtt-sn", "UDP", &error).map(|()| None),
    };
    for group in &sn.multicast {
        let request = GroupRequest {
            group: group.address,
            interface: group.interface.map(net::interface_name),
            port: None,
        };
        // Discovery is a convenience: without it clients that know the address are served.
        match port.join(&request) {
            Ok(joined) => info!(group = %joined.address, "MQTT-SN discovery"),
            Err(error) => warn!(%group, %error, "a multicast group is left out"),
        }
    }
    port.register(poll.registry(), |socket| token::token(Place::Port { index, socket }))
        .map_err(|error| machine(&error))?;
    info!(address = %port.address(), "MQTT-SN");
    Ok(Some(SnPort::new(port, configured)))
}

/// An address that could not be bound: an error, unless it was only there by default and the
/// machine does not have it.
fn unbound(
    listener: &config::Listener,
    kind: &str,
    transport: &str,
    error: &io::Error,
) -> Result<(), StartError> {
    let address = listener.bind;
    let is_missing = matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT)
    );
    if listener.optional && is_missing {
        debug!(%address, "this machine has no such address");
        return Ok(());
    }
    Err(StartError {
        what: format!("cannot listen on {address} ({kind}): {error}"),
        right: advice(address, kind, transport, error),
    })
}

fn advice(address: SocketAddr, kind: &str, transport: &str, error: &io::Error) -> String {
    let port = address.port();
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => format!(
            "another program has {transport} port {port}: stop it (`ss -lp 'sport = :{port}'` tells \
             which), or choose another port: --{kind} {}",
            SocketAddr::new(address.ip(), port.checked_add(1).unwrap_or(1883))
        ),
        Some(libc::EACCES) => {
            format!("ports below 1024 are for root: choose another, --{kind} {}:1883", address.ip())
        }
        Some(libc::EADDRNOTAVAIL) => {
            "choose an address of this machine (`ip address` lists them)".to_owned()
        }
        Some(_) | None => "choose another address".to_owned(),
    }
}

/// The machine refuses what every program needs.
pub(super) fn machine(error: &io::Error) -> StartError {
    StartError {
        what: format!("cannot start: {error}"),
        right: "see that the process may open files (`ulimit -n`) and sockets".to_owned(),
    }
}

/// Randomness for hashers, message ids and nonces.
fn random<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut octets = [0; LEN];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut octets)?;
    Ok(octets)
}
