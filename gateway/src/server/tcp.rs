//! TCP links: one MQTT client each, from accept to close.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

use broker_core::api::{Credit, Durability};
use broker_core::key::{Arena, Key};
use broker_core::mqtt::ServerConn;
use broker_core::time::Instant;
use mio::net::TcpStream;

use super::newcomers::{Newcomers, Source};
use crate::net::outbuf::{BLOCK_BYTES, BlockPool, Flush, OutBuf};
use crate::net::ws::WebSocket;

/// Octets that may wait on a link before it takes no more messages; what waits in the session's
/// queue instead costs twelve octets a message, however many clients it is for.
pub(super) const OUT_HIGH: usize = 64 << 10;

/// The same while no memory is left: what waits here then is about a block on each link.
pub(super) const OUT_HIGH_SHORT: usize = 4 << 10;

/// Octets that may wait on a link before nothing more is read from it: answers are never dropped,
/// so who reads none of them may not ask for more.
pub(super) const OUT_MAX: usize = 256 << 10;

/// How long a link that was closed by us may take to take what it was told.
pub(super) const FAREWELL: Duration = Duration::from_secs(3);

/// One MQTT client.
pub(super) struct TcpLink {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) accepted_at: Instant,
    /// What stands between the octets of the stream and those of MQTT, if anything does.
    pub(super) ws: Option<Box<WebSocket>>,
    /// What its answers wait for.
    pub(super) durability: Durability,
    pub(super) conn: ServerConn,
    /// The place of its listener.
    pub(super) listener: usize,
    /// Whether the listener serves clients that do not say who they are.
    pub(super) allow_anonymous: bool,
    /// Who it has shown to be, if that was asked.
    pub(super) user: Option<Box<str>>,
    /// What was read and not heard yet: the beginning of a packet, or packets that a turn had no
    /// time for.
    pub(super) inbox: Vec<u8>,
    /// Whether it is the latter.
    pub(super) has_unheard: bool,
    pub(super) out: OutBuf,
    pub(super) credit: Credit,
    pub(super) state: LinkState,
    /// Stands in the list of links that may be readable.
    pub(super) is_readable: bool,
    /// Is not read from for a moment, as somebody cannot keep up with what it publishes.
    pub(super) is_paced: bool,
    /// Whether the last read left octets in the kernel.
    pub(super) has_unread: bool,
    /// The peer sends no more: reading goes on until the end is seen.
    pub(super) peer_closed: bool,
    /// Stands in the list of links that have something to write.
    pub(super) is_dirty: bool,
    /// The kernel had no room: an event will tell when it has.
    pub(super) is_blocked: bool,
    /// Whether the event loop was asked for that.
    pub(super) watches_writable: bool,
    /// Without credit because too much waits here.
    pub(super) is_held: bool,
    /// Counted among those that have not said who they are.
    pub(super) is_unidentified: bool,
    /// When it last took anything, or was found blocked.
    pub(super) progress_at: Instant,
    /// Stands in the list of links that are looked at for that.
    pub(super) is_supervised: bool,
    /// How much of its buffers is accounted for.
    pub(super) charged: usize,
}

/// How far the life of a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// It talks.
    Open,
    /// It is over for the broker: what waits is written, then the writing side is closed.
    Closing,
    /// All is said; we wait for the client's end, so that what we said is not lost on it.
    Lingering,
}

/// All TCP links, and when something is due with one of them.
pub(super) struct Links {
    arena: Arena<TcpLink>,
    newcomers: Newcomers,
    /// How long a newcomer may take to say who it is.
    connect_timeout: Duration,
    /// Links that were blocked, each once, and when to look whether they took anything.
    blocked: VecDeque<(Instant, Key<TcpLink>)>,
    /// Links that are being closed, and when that has to be over.
    farewells: VecDeque<(Instant, Key<TcpLink>)>,
    buffer_bytes: usize,
}

/// What is due with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It has not sent its CONNECT; it stays due until it is closed.
    Connect,
    /// It may have taken nothing for too long.
    Stall,
    /// It was closed and is still there.
    Farewell,
}

impl Links {
    pub(super) fn new(connect_timeout: Duration, seed: u64) -> Self {
        Self {
            arena: Arena::new(),
            newcomers: Newcomers::new(seed),
            connect_timeout,
            blocked: VecDeque::new(),
            farewells: VecDeque::new(),
            buffer_bytes: 0,
        }
    }

    pub(super) fn get_mut(&mut self, key: Key<TcpLink>) -> Option<&mut TcpLink> {
        self.arena.get_mut(key)
    }

    pub(super) const fn len(&self) -> usize {
        self.arena.len()
    }

    /// Another time that newcomers have, those that are here included.
    pub(super) const fn set_connect_timeout(&mut self, timeout: Duration) {
        self.connect_timeout = timeout;
    }

    /// Connections that have not said who they are.
    pub(super) const fn newcomers(&self) -> &Newcomers {
        &self.newcomers
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<TcpLink>, &TcpLink)> {
        self.arena.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Key<TcpLink>, &mut TcpLink)> {
        self.arena.iter_mut()
    }

    /// A connection that was accepted; from now on it has its time to send its CONNECT.
    pub(super) fn insert(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        ws: Option<Box<WebSocket>>,
        now: Instant,
    ) -> Key<TcpLink> {
        let key = self.arena.insert(TcpLink {
            stream,
            peer,
            accepted_at: now,
            ws,
            durability: Durability::Gated,
            conn: ServerConn::new(),
            listener: 0,
            allow_anonymous: false,
            user: None,
            inbox: Vec::new(),
            has_unheard: false,
            is_paced: false,
            out: OutBuf::default(),
            credit: Credit::Paused,
            state: LinkState::Open,
            is_readable: false,
            has_unread: false,
            peer_closed: false,
            is_dirty: false,
            is_blocked: false,
            watches_writable: false,
            is_held: false,
            is_unidentified: true,
            progress_at: Instant::default(),
            is_supervised: false,
            charged: 0,
        });
        let Self { arena, newcomers, .. } = self;
        newcomers.enter(now, key, Source::from(peer.ip()), |key| is_newcomer(arena, key));
        key
    }

    /// The connection is gone, and its descriptor is closed with what is returned.
    pub(super) fn remove(&mut self, key: Key<TcpLink>) -> Option<TcpLink> {
        self.identified(key);
        let link = self.arena.remove(key)?;
        self.buffer_bytes -= link.charged;
        Some(link)
    }

    /// The link has said who it is, or will never.
    pub(super) fn identified(&mut self, key: Key<TcpLink>) {
        let Some(link) = self.arena.get_mut(key) else { return };
        if !core::mem::take(&mut link.is_unidentified) {
            return;
        }
        let source = Source::from(link.peer.ip());
        let Self { arena, newcomers, .. } = self;
        newcomers.leave(source, |key| is_newcomer(arena, key));
    }

    /// The link that has waited longest of those that came at `came_by` or before and have not said
    /// who they are; of those from one source, if one is given. Looks at no more than `steps`
    /// links.
    pub(super) fn oldest_newcomer(
        &self,
        source: Option<Source>,
        came_by: Instant,
        steps: usize,
    ) -> Option<Key<TcpLink>> {
        self.newcomers.find(came_by, steps, |key| {
            self.arena.get(key).is_some_and(|link| {
                let is_meant = source.is_none_or(|source| source == Source::from(link.peer.ip()));
                link.is_unidentified && is_meant
            })
        })
    }

    /// How many links that came at `came_by` or before have not said who they are, up to `max`.
    pub(super) fn count_newcomers(&self, came_by: Instant, max: usize) -> usize {
        self.newcomers.count(came_by, max, |key| is_newcomer(&self.arena, key))
    }

    /// The kernel has no room for the link: it is looked at again after `pause`, once, however
    /// often it is blocked until then. `pause` is the same for all links; when the setting behind
    /// it has changed, links wait for those that stand before them.
    pub(super) fn block(&mut self, key: Key<TcpLink>, now: Instant, pause: Duration) {
        let Some(link) = self.arena.get_mut(key) else { return };
        link.is_blocked = true;
        if !link.is_supervised {
            link.is_supervised = true;
            link.progress_at = now;
            self.blocked.push_back((now + pause, key));
        }
    }

    /// Another look at a link that is still blocked, after the same pause.
    pub(super) fn check_again(&mut self, key: Key<TcpLink>, now: Instant, pause: Duration) {
        if let Some(link) = self.arena.get_mut(key) {
            link.is_supervised = true;
            self.blocked.push_back((now + pause, key));
        }
    }

    /// The link is being closed, and has to be gone by then.
    pub(super) fn begin_farewell(&mut self, key: Key<TcpLink>, until: Instant) {
        self.farewells.push_back((until, key));
    }

    /// The next link with which something is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Due, Key<TcpLink>)> {
        if let Some((came, key)) = self.newcomers.oldest()
            && came + self.connect_timeout <= now
        {
            return Some((Due::Connect, key));
        }
        let Self { blocked, farewells, .. } = self;
        for (queue, due) in [(blocked, Due::Stall), (farewells, Due::Farewell)] {
            if queue.front().is_some_and(|(deadline, _)| *deadline <= now) {
                return queue.pop_front().map(|(_, key)| (due, key));
            }
        }
        None
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let newcomer = self.newcomers.oldest().map(|(came, _)| came + self.connect_timeout);
        let fronts = [&self.blocked, &self.farewells].map(VecDeque::front);
        let others = fronts.into_iter().flatten().map(|(deadline, _)| *deadline);
        newcomer.into_iter().chain(others).min()
    }

    /// Takes the buffers of a link into account as they are now.
    pub(super) fn charge(&mut self, key: Key<TcpLink>) {
        if let Some(link) = self.arena.get_mut(key) {
            let block = if link.out.is_empty() { 0 } else { BLOCK_BYTES };
            let ws = link.ws.as_ref().map_or(0, |ws| ws.memory());
            let user = link.user.as_ref().map_or(0, |user| user.len());
            let bytes =
                link.inbox.capacity() + link.out.len() + block + ws + link.conn.memory() + user;
            self.buffer_bytes += bytes;
            self.buffer_bytes -= core::mem::replace(&mut link.charged, bytes);
        }
    }

    /// Octets that wait to be written, read, or to become whole.
    pub(super) const fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Memory held by all links, in octets.
    pub(super) fn memory(&self) -> usize {
        /// The place in the arena, and what the kernel is not asked to count.
        const PER_LINK: usize = size_of::<TcpLink>() + 64;
        let queues = (self.blocked.capacity() + self.farewells.capacity())
            * size_of::<(Instant, Key<TcpLink>)>();
        self.arena.places() * PER_LINK + self.buffer_bytes + queues + self.newcomers.memory()
    }
}

fn is_newcomer(arena: &Arena<TcpLink>, key: Key<TcpLink>) -> bool {
    arena.get(key).is_some_and(|link| link.is_unidentified)
}

impl TcpLink {
    /// Reads once. `None`: nothing is there now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.read(buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what waits with one system call, and returns how many octets left. Before a frame of
    /// a WebSocket all that waits becomes one frame.
    pub(super) fn write(&mut self, blocks: &mut BlockPool) -> io::Result<(usize, Flush)> {
        match &mut self.ws {
            Some(ws) => ws.write(&mut self.out, &mut self.stream, blocks),
            None => self.out.write_behind(&[], usize::MAX, &mut self.stream, blocks),
        }
    }

    /// Whether it may be read from.
    pub(super) fn may_read(&self) -> bool {
        match self.state {
            LinkState::Open => self.out.len() < OUT_MAX,
            LinkState::Lingering => true,
            LinkState::Closing => false,
        }
    }
}
