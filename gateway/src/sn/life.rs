//! From the first connection of a client to the end of its session.

use std::net::IpAddr;

use broker_core::Broker;
use broker_core::api::LinkId;
use broker_core::key::Key;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use sn_codec::v12;
use tracing::info;

use super::address::Path;
use super::arq::Sorts;
use super::connect::Handshake;
use super::inbound::Inbound;
use super::peer::{MSG_ID_MAX, Peer, State};
use super::settings::Quirks;
use super::{Owner, SnGateway};

impl SnGateway {
    /// A client that was not known before.
    pub(super) fn enter(&mut self, client_id: &str, host: IpAddr) -> Key<Peer> {
        let id_offset = self.rng.u16(..MSG_ID_MAX);
        let quirks = self.settings.quirks.get(client_id).copied().unwrap_or_default();
        let key = self.peers.insert(Peer::new(client_id, host, quirks, id_offset));
        self.peer(key).predefined_since = self.predefined.generation();
        self.usage.gone += 1;
        self.by_client_id.insert(client_id.into(), key);
        key
    }

    /// A new connection, of a session that was there or a new one.
    pub(super) fn begin_connection(
        &mut self,
        key: Key<Peer>,
        link: LinkId,
        handshake: &Handshake,
        session_present: bool,
    ) {
        self.peer(key).begin_spell();
        self.end_exchange(key);
        if !session_present {
            self.forget_records(key);
        }
        self.by_link.insert(link, Owner::Peer(key));
        self.set_state(key, State::Active);
        let Self { peers, names, settings, predefined, .. } = self;
        let peer = peers.get_mut(key).expect("entered before");
        peer.predefined_since = predefined.generation();
        let configured = settings.quirks.get(&*peer.client_id).copied().unwrap_or_default();
        peer.link = link;
        peer.is_anonymous = handshake.is_anonymous();
        peer.session_ended = false;
        peer.corrected = None;
        peer.owes_pingresp = false;
        peer.last_qos0 = None;
        peer.connected_as = handshake.connected_as();
        peer.untouched = true;
        peer.is_asked = false;
        if session_present {
            let no_dup = configured.no_dup || peer.quirks.no_dup;
            peer.quirks = Quirks { no_dup, ..configured };
            // One that ignores REGISTER could never be told again what it knows (section 18).
            if !peer.quirks.no_register {
                peer.registry.begin_connection();
            }
            peer.inbound.begin_connection();
        } else {
            peer.registry.clear(names);
            peer.predefined = Vec::new();
            peer.inbound = Inbound::default();
            peer.understands = Sorts::default();
            peer.quirks = configured;
        }
        if handshake.outlives_link() {
            self.keep(key);
        }
        self.charge(key);
    }

    /// The broker has ended the link of a client that did not ask for it, or that has asked for
    /// another one.
    pub(super) fn link_ended(&mut self, key: Key<Peer>, reason: ReasonCode) {
        let successor = self.peer(key).reconnecting;
        if let Some(successor) = successor.and_then(|key| self.handshakes.get(key)) {
            let next = successor.path().address;
            self.move_away(key, next);
        } else {
            let peer = self.peer(key);
            info!(client = %peer.client_id, reason = %reason, "client lost");
            // A client that listens is told to connect again (SN-026); one that sleeps is not
            // disturbed.
            if peer.is_listening() {
                self.send_to(key, v12::Disconnect { duration_s: None });
            }
        }
        self.depart(key);
    }

    /// The end of a connection: the client has no link and no address any more.
    pub(super) fn depart(&mut self, key: Key<Peer>) {
        self.end_exchange(key);
        self.set_state(key, State::Gone);
        let peer = self.peer(key);
        let link = peer.link;
        peer.owes_pingresp = false;
        peer.last_qos0 = None;
        self.by_link.remove(&link);
        self.leave_address(key);
        self.record(key);
        self.charge(key);
    }

    /// Forgets a client whose session has ended.
    pub(super) fn forget(&mut self, key: Key<Peer>) {
        self.forget_records(key);
        let Some(mut peer) = self.peers.remove(key) else { return };
        assert!(!peer.is_connected(), "a client that is connected has a session");
        self.usage.gone -= 1;
        self.usage.memory_bytes -= peer.charged;
        peer.registry.clear(&mut self.names);
        self.by_client_id.remove(&peer.client_id);
    }

    /// A CONNECT of this client is answered, or will never be.
    pub(super) fn settle_reconnect(&mut self, client_id: &str, handshake: Key<Handshake>) {
        let Some(key) = self.by_client_id.get(client_id).copied() else { return };
        let peer = self.peer(key);
        if peer.reconnecting == Some(handshake) {
            peer.reconnecting = None;
        }
    }

    /// Forgets a client that has neither a session nor hope of one.
    pub(super) fn forget_if_over(&mut self, client_id: &str) {
        let Some(key) = self.by_client_id.get(client_id).copied() else { return };
        let peer = self.peer(key);
        if peer.session_ended && !peer.is_connected() && peer.reconnecting.is_none() {
            self.forget(key);
        }
    }

    pub(super) fn set_state(&mut self, key: Key<Peer>, state: State) {
        let peer = self.peer(key);
        let old = core::mem::replace(&mut peer.state, state);
        if core::mem::discriminant(&old) != core::mem::discriminant(&state) {
            peer.begin_spell();
        }
        *self.count_of(old) -= 1;
        *self.count_of(state) += 1;
    }

    fn count_of(&mut self, state: State) -> &mut usize {
        match state {
            State::Gone => &mut self.usage.gone,
            State::Active => &mut self.usage.active,
            State::Asleep { .. } => &mut self.usage.asleep,
            State::Awake { .. } => &mut self.usage.awake,
        }
    }

    /// Takes the memory of a client into account as it is now.
    pub(super) fn charge(&mut self, key: Key<Peer>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let memory = peer.memory();
        self.usage.memory_bytes += memory;
        self.usage.memory_bytes -= core::mem::replace(&mut peer.charged, memory);
    }

    /// A sign of life of a client, whatever it says (SN-091, SN-094).
    pub(super) fn hear(&mut self, now: Now, key: Key<Peer>, path: Path, broker: &mut Broker) {
        let peer = self.peer(key);
        peer.is_asked = false;
        let link = peer.link;
        if peer.path.replace(path) != Some(path) {
            // It knows us by another address of ours.
            self.record(key);
        }
        broker.touch(now, link);
    }
}
