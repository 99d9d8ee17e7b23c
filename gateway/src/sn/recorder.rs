//! What is kept of clients across a restart, and what waits until it is kept.
//!
//! Recorded are clients whose session outlives the process. Whoever changes what a record holds
//! says so in the same breath, and the record is written if its octets are others than before: a
//! sleeping client that comes for its messages writes nothing.
//!
//! A few messages promise what a record holds: that a topic id means a name, that a sleep is known.
//! They leave when the record is durable; until then they wait here, encoded. All other messages
//! leave at once.

use core::hash::BuildHasher;
use std::collections::VecDeque;

use broker_core::api::{Durability, Lsn};
use broker_core::hash;
use broker_core::journal::Journal;
use broker_core::key::Key;
use sn_codec::v12::Packet;
use tracing::trace;

use super::forwarder::Nodes;
use super::names::Names;
use super::outbox::{Listener, Outbox};
use super::peer::Peer;
use super::record::{self, ClientRecord, Ids, NUMBER_END, RegistrationRecord};
use super::{Path, PortId, SnGateway};

/// Octets that may wait. What finds no room is lost, as it could be on the radio, and asked for
/// again.
const HELD_MAX: usize = 4 << 20;

/// Batches that may be on their way to the disk; more are counted as one with the last.
const BATCHES_MAX: usize = 1_024;

/// A set of changes that becomes durable as a whole; they are numbered from 1 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Batch(u64);

/// How a client is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// The number of its record plus one; 0: it is not kept.
    place: u64,
    /// The octets of the record that was written last, hashed.
    hash: Option<u64>,
    /// The batch of that.
    pub(super) batch: Batch,
}

impl Batch {
    /// What was before all batches.
    pub(super) const NONE: Self = Self(0);
    /// Every set of changes, those to come too.
    const LAST: Self = Self(u64::MAX);
}

impl Kept {
    /// The number of its record, if it is kept.
    pub(super) const fn number(self) -> Option<u64> {
        self.place.checked_sub(1)
    }
}

/// The changes that are not durable yet.
#[derive(Debug)]
pub(super) struct Recorder {
    is_on: bool,
    pub(super) journal: Journal,
    /// The one that is being filled.
    batch: Batch,
    /// Those on their way to the disk, and what will tell that they are there.
    taken: VecDeque<(Batch, Lsn)>,
    /// All up to this are durable.
    committed: Batch,
    pub(super) next_number: u64,
    hasher: hash::State,
    value: Vec<u8>,
    /// Datagrams that wait.
    held: Outbox,
    /// Whether nothing waits at present: see [`SnGateway::set_gated`].
    is_open: bool,
    /// Per port, in their order: whether nothing waits there, ever.
    ungated_ports: Vec<bool>,
}

impl Recorder {
    pub(super) fn new(is_on: bool, seed: u64) -> Self {
        Self {
            is_on,
            journal: Journal::default(),
            batch: Batch(1),
            taken: VecDeque::new(),
            committed: Batch(0),
            next_number: 0,
            hasher: hash::state(seed),
            value: Vec::new(),
            held: Outbox::with_room(HELD_MAX),
            is_open: false,
            ungated_ports: Vec::new(),
        }
    }

    fn is_durable(&self, batch: Batch) -> bool {
        batch <= self.committed
    }

    /// Whether what rests on a batch may not be said to a client at `path` yet.
    pub(super) fn must_wait(&self, batch: Batch, path: Option<Path>) -> bool {
        let port = path.map(|path| path.address.port);
        !self.is_durable(batch) && !self.is_open && !port.is_some_and(|p| self.is_ungated(p))
    }

    fn is_ungated(&self, port: PortId) -> bool {
        self.ungated_ports.get(usize::from(port.0)).copied().unwrap_or_default()
    }

    /// The batch that is being filled, for who changes something that is kept.
    pub(super) const fn batch(&self) -> Batch {
        self.batch
    }

    /// The batch of the latest change.
    fn latest(&self) -> Batch {
        if self.has_changes() { self.batch } else { Batch(self.batch.0 - 1) }
    }

    fn has_changes(&self) -> bool {
        !self.journal.octets().is_empty()
    }

    /// Where to put what rests on a batch and goes to `path`: into `direct`, or to what waits. To
    /// keep an order it waits for all changes so far. What is only for a listener is lost if that
    /// listens no more when it could leave.
    pub(super) fn outbox_for<'a>(
        &'a mut self,
        batch: Batch,
        path: Path,
        listener: Option<Listener>,
        direct: &'a mut Outbox,
    ) -> &'a mut Outbox {
        if !self.must_wait(batch, Some(path)) {
            return direct;
        }
        let latest = self.latest();
        self.held.set_batch(latest, listener);
        &mut self.held
    }

    /// Datagrams that found no room.
    pub(super) const fn dropped(&self) -> u64 {
        self.held.dropped()
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.journal.octets().len()
            + self.value.capacity()
            + self.taken.capacity() * size_of::<(Batch, Lsn)>()
            + self.held.memory()
    }

    /// How a client is kept that came back from this record.
    pub(super) fn restored(&self, number: u64, value: &[u8]) -> Kept {
        let hash = Some(self.hasher.hash_one(value));
        Kept { place: number + 1, hash, batch: Batch::default() }
    }

    /// Writes the record of a client down and returns its hash.
    fn encode(&self, peer: &Peer, node: &[u8], into: &mut Vec<u8>) -> u64 {
        into.clear();
        record_of(peer, node).write(into);
        self.hasher.hash_one(&**into)
    }
}

/// The record of a client as it is now.
fn record_of<'a>(peer: &'a Peer, node: &'a [u8]) -> ClientRecord<'a> {
    let path = peer.path;
    ClientRecord {
        state: peer.state,
        no_dup: peer.quirks.no_dup,
        answers_register: peer.registry.answers_register(),
        understands: peer.understands.octet(),
        keep_alive_s: peer.connected_as.keep_alive_s,
        id_offset: peer.id_offset,
        connection: peer.registry.connection(),
        is_bound: path.is_some(),
        port: path.map_or(0, |path| path.address.port.0),
        remote: path.map_or_else(|| (peer.host, 0).into(), |path| path.address.remote),
        local: path.map(|path| path.local).unwrap_or_default(),
        node,
        client_id: &peer.client_id,
        predefined: Ids::Held(&peer.predefined),
    }
}

/// The wireless node id of a client behind a forwarder.
fn node_of<'a>(peer: &Peer, nodes: &'a Nodes) -> &'a [u8] {
    peer.path.map_or(&[], |path| nodes.octets(path.address.node))
}

/// Puts a topic id as it stands now.
fn put_registration(journal: &mut Journal, peer: &Peer, id: u16, names: &Names) {
    let Some(number) = peer.kept.number() else { return };
    let registry = &peer.registry;
    let (Some(name), Some(standing)) = (registry.name(id), registry.standing(id)) else { return };
    let topic = names.get(name).as_str();
    let record = RegistrationRecord { standing, connection: registry.connection(), topic };
    journal.put(record::registration_key(number, id), |value| record.write(value));
}

impl SnGateway {
    /// Whether something changed that is to be made durable.
    pub fn has_changes(&self) -> bool {
        self.recorder.has_changes()
    }

    /// Moves the changes since the last call behind those in `into`. They have to become durable
    /// together, which [`SnGateway::committed`] tells with a number not below `upto`; each call
    /// has one that is higher than those before.
    ///
    /// Changes that the broker made meanwhile have to become durable together with these.
    pub fn take_journal(&mut self, into: &mut Vec<u8>, upto: Lsn) {
        let recorder = &mut self.recorder;
        if !recorder.has_changes() {
            return;
        }
        recorder.journal.drain_into(into);
        let taken = (recorder.batch, upto);
        if recorder.taken.len() >= BATCHES_MAX {
            recorder.taken.pop_back();
        }
        recorder.taken.push_back(taken);
        recorder.batch.0 += 1;
    }

    /// Changes up to this number are durable: messages that waited for them may leave.
    pub fn committed(&mut self, upto: Lsn) {
        let recorder = &mut self.recorder;
        while recorder.taken.front().is_some_and(|(_, lsn)| *lsn <= upto) {
            let (batch, _) = recorder.taken.pop_front().expect("there is a front");
            recorder.committed = batch;
        }
        let committed = recorder.committed;
        self.let_go_upto(committed);
    }

    /// Says whether messages wait until what they promise is durable, as they do from the beginning
    /// if clients are recorded. Without, they leave at once, those that wait by now too; changes go
    /// on being recorded.
    pub fn set_gated(&mut self, is_gated: bool) {
        self.recorder.is_open = !is_gated;
        if !is_gated {
            self.let_go_upto(Batch::LAST);
        }
    }

    /// Sends what waited for this batch or an earlier one.
    fn let_go_upto(&mut self, batch: Batch) {
        let Self { recorder, outbox, peers, .. } = self;
        while let Some((transmit, listener)) = recorder.held.pop_upto(batch) {
            let listens =
                |it: Listener| peers.get(it.peer).is_some_and(|peer| peer.spell == it.spell);
            // One that does not is told again when it listens.
            if listener.is_none_or(listens) {
                outbox.pass_on(&transmit);
            }
        }
    }

    /// Says, for each port, what the messages that leave there wait for; those of ports that are
    /// not named are gated.
    pub fn set_durability(&mut self, of_ports: &[Durability]) {
        let is_ungated = |durability: &Durability| *durability == Durability::Memory;
        self.recorder.ungated_ports = of_ports.iter().map(is_ungated).collect();
    }

    /// What the answers of the broker to a client at this port wait for.
    pub(super) fn durability(&self, port: PortId) -> Durability {
        if self.recorder.is_ungated(port) { Durability::Memory } else { Durability::Gated }
    }

    /// Appends all that is kept to `into`, in slices: about `places` clients with all their topic
    /// ids in one call. `false` once nothing is left. `cursor` is where it has come to: 0 to begin.
    ///
    /// Between two calls clients may go on. Whoever stores, from an empty store on, what each call
    /// gives behind the journal of the changes made before it, and goes on with the journals of
    /// later changes, has what is kept.
    pub fn snapshot(&self, cursor: &mut u32, places: u32, into: &mut Vec<u8>) -> bool {
        let mut journal = Journal::default();
        let end = u32::try_from(self.peers.places()).expect("an arena stays below 2^32 places");
        let slice = *cursor..cursor.saturating_add(places).min(end);
        for key in slice.clone().filter_map(|place| self.peers.key_at(place)) {
            let peer = self.peers.get(key).expect("it was looked up just now");
            let Some(number) = peer.kept.number() else { continue };
            let record = record_of(peer, node_of(peer, &self.nodes));
            journal.put(record::client_key(number), |value| record.write(value));
            for id in peer.registry.ids() {
                put_registration(&mut journal, peer, id, &self.names);
            }
        }
        *cursor = slice.end;
        journal.drain_into(into);
        !slice.is_empty()
    }

    /// Sends a message to a client that can be reached, once that batch is durable.
    pub(super) fn promise<'a>(
        &mut self,
        key: Key<Peer>,
        batch: Batch,
        packet: impl Into<Packet<'a>>,
    ) {
        let Self { peers, nodes, recorder, outbox, .. } = self;
        let Some(path) = peers.get(key).and_then(|peer| peer.path) else { return };
        let packet = packet.into();
        trace!(to = %path.address.remote, ?packet, "sending, once it is kept");
        let node = nodes.octets(path.address.node);
        recorder.outbox_for(batch, path, None, outbox).push(path, node, 0, &packet);
    }

    /// The session of a client outlives the process from here on.
    pub(super) fn keep(&mut self, key: Key<Peer>) {
        let Self { peers, recorder, names, .. } = self;
        let peer = peers.get_mut(key).expect("a peer that is there");
        let is_new = recorder.is_on && peer.kept.place == 0;
        if is_new && recorder.next_number < NUMBER_END {
            recorder.next_number += 1;
            peer.kept.place = recorder.next_number;
            for id in peer.registry.ids() {
                put_registration(&mut recorder.journal, peer, id, names);
            }
            // What it knows already must not be given another meaning either.
            peer.registry.all_recorded_in(recorder.batch());
        }
        self.record(key);
    }

    /// Something may have changed that the record of a client holds.
    pub(super) fn record(&mut self, key: Key<Peer>) {
        let Self { peers, nodes, recorder, .. } = self;
        let Some(peer) = peers.get_mut(key) else { return };
        let Some(number) = peer.kept.number() else { return };
        let node = node_of(peer, nodes);
        let mut value = core::mem::take(&mut recorder.value);
        let hash = recorder.encode(peer, node, &mut value);
        if peer.kept.hash != Some(hash) {
            recorder.journal.put(record::client_key(number), |into| into.extend_from_slice(&value));
            (peer.kept.hash, peer.kept.batch) = (Some(hash), recorder.batch());
        }
        recorder.value = value;
    }

    /// A client was given a topic id.
    pub(super) fn record_new_id(&mut self, key: Key<Peer>, id: u16) {
        let Self { peers, recorder, names, .. } = self;
        let peer = peers.get_mut(key).expect("a peer that is there");
        if peer.kept.number().is_some() {
            put_registration(&mut recorder.journal, peer, id, names);
            let is_durable = recorder.is_durable(peer.registry.recorded_in());
            peer.registry.new_recorded_in(id, recorder.batch(), is_durable);
        }
    }

    /// A topic id of a client stands otherwise than before.
    pub(super) fn record_standing(&mut self, key: Key<Peer>, id: u16) {
        let Self { peers, recorder, names, .. } = self;
        let peer = peers.get(key).expect("a peer that is there");
        put_registration(&mut recorder.journal, peer, id, names);
    }

    /// The session is over, and with it all that is kept. Comes before the topic ids are cleared.
    pub(super) fn forget_records(&mut self, key: Key<Peer>) {
        let Self { peers, recorder, .. } = self;
        let Some(peer) = peers.get_mut(key) else { return };
        let Some(number) = peer.kept.number() else { return };
        for id in peer.registry.ids() {
            recorder.journal.delete(record::registration_key(number, id));
        }
        recorder.journal.delete(record::client_key(number));
        peer.kept = Kept::default();
    }

    /// Whether the record of a client says what is so; for tests.
    pub(super) fn is_recorded(&self, peer: &Peer) -> bool {
        let hash = self.recorder.encode(peer, node_of(peer, &self.nodes), &mut Vec::new());
        peer.kept.number().is_none() || peer.kept.hash == Some(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::{Address, LocalAddress, NodeId, PortId};
    use super::*;
    use sn_codec::v12::Pingreq;

    #[test]
    fn what_waits_for_the_disk_counts_as_memory() {
        let mut recorder = Recorder::new(true, 1);
        assert_eq!((recorder.memory(), recorder.dropped()), (0, 0));
        recorder.journal.put(record::client_key(1), |into| into.extend_from_slice(&[0; 10_000]));
        recorder.value = Vec::with_capacity(2_000);
        recorder.taken = (0..100).map(|n| (Batch(n), Lsn(n))).collect();
        let remote = "192.0.2.1:1883".parse().expect("an address");
        let address = Address { port: PortId(0), remote, node: NodeId::NONE };
        let path = Path { address, local: LocalAddress::default() };
        for _ in 0..100 {
            recorder.held.push(path, b"", 0, &Pingreq { client_id: b"" }.into());
        }
        let least = 10_000 + 2_000 + 100 * size_of::<(Batch, Lsn)>() + recorder.held.memory();
        assert!((least..least + 4_000).contains(&recorder.memory()), "{}", recorder.memory());
        assert_eq!(recorder.dropped(), 0);
    }
}
