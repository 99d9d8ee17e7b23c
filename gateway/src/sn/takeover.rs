//! Whose a client id and an address are (D5).
//!
//! A session belongs to a client id, and an address leads to it. A CONNECT moves the session, from
//! another host only after its owner was asked; a PINGREQ moves one that sleeps, as far as the
//! settings allow; nothing else does.

use core::time::Duration;

use broker_core::Broker;
use broker_core::key::Key;
use broker_core::time::Now;
use sn_codec::v12;
use tracing::debug;

use super::SnGateway;
use super::address::{Address, Path};
use super::limiter::Rate;
use super::peer::{Peer, State};
use super::settings::Rebind;

/// How often a session may go back to the address before its present one until the newcomer is told
/// to wait: two devices with the same id would do so for ever. One device behind a NAT goes from
/// port to port, but not back.
const RETURNS: Rate = Rate { max: 3, window: Duration::from_secs(60) };

/// Whether a client id may move.
pub(super) enum Move {
    /// At once.
    Free,
    /// If its owner is not there.
    Ask,
    /// Not now.
    TooOften,
}

impl SnGateway {
    /// Whether a client id may move to `address`.
    pub(super) fn judge_move(&mut self, now: Now, client_id: &str, address: Address) -> Move {
        let Some(key) = self.by_client_id.get(client_id).copied() else { return Move::Free };
        let source = self.nodes.source(&address);
        let may_ask = !self.settings.takeover_probe.is_zero();
        let peer = self.peer(key);
        let Some(path) = peer.path.filter(|path| path.address != address) else {
            return Move::Free;
        };
        if peer.previous == Some(source) && !peer.returns.admit(RETURNS, now.mono) {
            return Move::TooOften;
        }
        // Who sleeps cannot be asked, and who asks from the same host is taken for the same device
        // behind a NAT, or rebooted.
        let is_stranger = path.address.host() != address.host();
        if is_stranger && may_ask && peer.state == State::Active { Move::Ask } else { Move::Free }
    }

    /// Asks a client whether it is there; what it says from the `first` time on is an answer. One
    /// that does not listen is not asked.
    pub(super) fn ask_owner(&mut self, key: Key<Peer>, is_first: bool) {
        let peer = self.peer(key);
        peer.is_asked |= is_first;
        if peer.state == State::Active {
            self.send_to(key, v12::Pingreq { client_id: &[] });
        }
    }

    /// Binds a client to an address: it leaves the one it had, and whoever was bound here loses it.
    pub(super) fn bind(&mut self, key: Key<Peer>, path: Path) {
        self.move_away(key, path.address);
        let binding = self.by_address.entry(path.address).or_default();
        let displaced = binding.peer.replace(key).filter(|displaced| *displaced != key);
        let peer = self.peer(key);
        peer.path = Some(path);
        peer.host = path.address.host();
        if let Some(displaced) = displaced {
            self.displace(displaced);
        }
    }

    /// A client goes on at the address `next`. If another device with its id listens where it was,
    /// that one is told.
    pub(super) fn move_away(&mut self, key: Key<Peer>, next: Address) {
        let peer = self.peers.get(key).expect("a peer that is bound");
        let Some(path) = peer.path.filter(|path| path.address != next) else { return };
        let source = self.nodes.source(&path.address);
        if peer.is_listening() {
            self.send(path, v12::Disconnect { duration_s: None });
        }
        self.peer(key).previous = Some(source);
        self.leave_address(key);
    }

    /// A client is not at its address any more.
    pub(super) fn leave_address(&mut self, key: Key<Peer>) {
        let Some(path) = self.peer(key).path.take() else { return };
        if let Some(binding) = self.by_address.get_mut(&path.address) {
            binding.peer = None;
        }
        self.tidy_address(path.address);
    }

    /// Forgets an address, and the node behind it, that nothing is bound to any more.
    pub(super) fn tidy_address(&mut self, address: Address) {
        let is_unused = self
            .by_address
            .get(&address)
            .is_none_or(|binding| binding.peer.is_none() && binding.handshake.is_none());
        if is_unused {
            self.by_address.remove(&address);
            self.nodes.leave(address.node);
        }
    }

    /// Another client has the address now. Session and timers go on; what waits for an answer waits
    /// for the client to come back.
    fn displace(&mut self, key: Key<Peer>) {
        self.break_visit(key);
        self.stall_exchange(key);
        self.peer(key).path = None;
        self.record(key);
    }

    /// PINGREQ with the id of a client that is not bound to the address it came from: a sleeping
    /// session follows its client.
    pub(super) fn pingreq_from_elsewhere(
        &mut self,
        now: Now,
        path: Path,
        pingreq: &v12::Pingreq<'_>,
        broker: &mut Broker,
    ) {
        let owner = core::str::from_utf8(pingreq.client_id)
            .ok()
            .and_then(|client_id| self.by_client_id.get(client_id).copied())
            .filter(|key| self.may_follow(*key, path.address));
        let Some(key) = owner else {
            self.answer_unknown(now, path);
            return;
        };
        self.stats.rebinds += 1;
        debug!(
            client = %self.peer(key).client_id,
            from = %path.address.remote,
            "sleeping client came from another address"
        );
        // It is the same device, so nobody is told at its old address.
        self.leave_address(key);
        self.bind(key, path);
        broker.set_durability(self.peer(key).link, self.durability(path.address.port));
        self.record(key);
        self.hear(now, key, path, broker);
        self.peer(key).untouched = false;
        self.wake(now, key, broker);
    }

    fn may_follow(&self, key: Key<Peer>, address: Address) -> bool {
        let peer = self.peers.get(key).expect("known by its client id");
        let sleeps = match peer.state {
            State::Asleep { .. } | State::Awake { .. } => true,
            State::Active | State::Gone => false,
        };
        sleeps
            && match self.settings.wake_rebind {
                Rebind::SameIp => peer.host == address.host(),
                Rebind::Any => true,
                Rebind::Never => false,
            }
    }
}
