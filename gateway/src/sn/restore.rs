//! Clients come back from their records.
//!
//! A client whose session the broker still has goes on as it was: asleep, or active under the same
//! topic ids, at the same address. It is supervised anew from the restart on, which is generous; no
//! deadline has to be written for that with every datagram.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use broker_core::api::{Credit, LinkId};
use broker_core::journal::RecordKey;
use broker_core::key::Key;
use broker_core::time::Now;
use broker_core::topic::TopicName;
use broker_core::{Broker, RestoreError};
use tracing::debug;

use super::address::{Address, LocalAddress, NodeId, Path, PortId};
use super::arq::{ACTIVE_CREDIT, Sorts};
use super::connect::keep_alive;
use super::peer::{ConnectedAs, MSG_ID_MAX, Peer, State};
use super::record::{self, ClientRecord, FORMAT, NUMBER_END, Reader, RegistrationRecord};
use super::registry::Standing;
use super::{Owner, SnGateway, sleep};

/// What is needed until all records have come.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    table: u8,
    clients: BTreeMap<u64, Client>,
}

/// A client that has come back, gone so far, and what it was.
#[derive(Debug)]
struct Client {
    key: Key<Peer>,
    state: State,
    bound: Option<Bound>,
}

/// Where it was.
#[derive(Debug)]
struct Bound {
    port: PortId,
    remote: SocketAddr,
    local: LocalAddress,
    node: Box<[u8]>,
}

impl SnGateway {
    /// Takes a record that was kept. Records come in the ascending order of tables, within a table
    /// in any order, each once, before any datagram; then comes [`SnGateway::finish_restore`]. One
    /// that refers to nothing is deleted.
    ///
    /// # Errors
    /// For what is no record of this version. All is as if it had not been given.
    pub fn restore(&mut self, now: Now, key: RecordKey, value: &[u8]) -> Result<(), RestoreError> {
        let table = key.table();
        if !matches!(table, record::CLIENTS | record::REGISTRATIONS) {
            return Err(RestoreError::UnknownTable(key));
        }
        let mut restoring = self.restoring.take().unwrap_or_default();
        let result = self.take_record(now, &mut restoring, key, value);
        if result == Ok(false) {
            self.recorder.journal.delete(key);
        }
        if result.is_ok() {
            restoring.table = table;
        }
        self.restoring = Some(restoring);
        result.map(|_| ())
    }

    /// `false`: it refers to nothing.
    fn take_record(
        &mut self,
        now: Now,
        restoring: &mut Restoring,
        key: RecordKey,
        value: &[u8],
    ) -> Result<bool, RestoreError> {
        if key.table() < restoring.table {
            return Err(RestoreError::OutOfOrder(key));
        }
        let malformed = RestoreError::Malformed(key);
        let mut reader = Reader::new(value);
        match reader.array() {
            Some([FORMAT]) => {}
            Some([format]) => return Err(RestoreError::UnknownFormat(key, format)),
            None => return Err(malformed),
        }
        if key.table() == record::CLIENTS {
            let number = Some(key.number()).filter(|number| *number < NUMBER_END);
            let record = ClientRecord::read(reader);
            let (number, record) = number.zip(record).ok_or(malformed)?;
            Ok(self.restore_client(now, restoring, number, &record, value))
        } else {
            let parts = record::registration_parts(key.number());
            let record = RegistrationRecord::read(reader);
            let (parts, record) = parts.zip(record).ok_or(malformed)?;
            let topic = TopicName::new(record.topic).map_err(|_| malformed)?;
            Ok(self.restore_registration(restoring, parts, &record, topic))
        }
    }

    fn restore_client(
        &mut self,
        now: Now,
        restoring: &mut Restoring,
        number: u64,
        record: &ClientRecord<'_>,
        value: &[u8],
    ) -> bool {
        // A number that was read is not given to another, whatever became of the client.
        self.recorder.next_number = self.recorder.next_number.max(number + 1);
        let is_known = self.by_client_id.contains_key(record.client_id);
        if is_known || restoring.clients.contains_key(&number) {
            return false;
        }
        let host = record.remote.ip().to_canonical();
        let key = self.enter(record.client_id, host);
        // Answers to what was asked before must not be taken for answers to what is asked now.
        let last_register_id = self.rng.u16(..MSG_ID_MAX);
        let kept = self.recorder.restored(number, value);
        let peer = self.peer(key);
        peer.kept = kept;
        peer.id_offset = record.id_offset;
        peer.last_register_id = last_register_id;
        peer.quirks.no_dup |= record.no_dup;
        peer.understands = Sorts::from_octet(record.understands);
        peer.registry.begin_restore(record.connection, record.answers_register);
        peer.predefined = record.predefined.to_vec();
        peer.connected_as =
            ConnectedAs { clean_session: false, keep_alive_s: record.keep_alive_s, ended_by: None };
        peer.spoke_at = now.mono;
        let bound = record.is_bound.then(|| Bound {
            port: PortId(record.port),
            remote: record.remote,
            local: record.local,
            node: record.node.into(),
        });
        restoring.clients.insert(number, Client { key, state: record.state, bound });
        true
    }

    fn restore_registration(
        &mut self,
        restoring: &Restoring,
        (number, id): (u64, u16),
        record: &RegistrationRecord<'_>,
        topic: TopicName<'_>,
    ) -> bool {
        let Some(client) = restoring.clients.get(&number) else { return false };
        let Self { peers, names, .. } = self;
        let peer = peers.get_mut(client.key).expect("it came before");
        let standing = match record.standing {
            Standing::Known if record.connection != peer.registry.connection() => Standing::Unknown,
            standing @ (Standing::Unknown | Standing::Known | Standing::Refused) => standing,
        };
        peer.registry.restore(id, names.keep(topic), topic, standing);
        true
    }

    /// All records have come, here and to the broker, whose [`Broker::finish_restore`] comes next:
    /// links clients again whose session it has, and forgets those whose session it has not.
    ///
    /// # Panics
    /// If the broker's restore is over already: it would have let the wills of sleepers go.
    pub fn finish_restore(&mut self, now: Now, broker: &mut Broker) {
        let restoring = *self.restoring.take().unwrap_or_default();
        for (_, client) in restoring.clients {
            let key = client.key;
            self.finish_registry(key);
            let is_linked = self.relink(now, &client, broker);
            let peer = self.peer(key);
            if is_linked {
                if let Some(bound) = client.bound {
                    broker.set_durability(self.peer(key).link, self.durability(bound.port));
                    self.bind_again(key, bound);
                }
            } else if broker.session_number(&peer.client_id).is_none() {
                debug!(client = %peer.client_id, "client without a session forgotten");
                self.forget(key);
                continue;
            }
            self.record(key);
            self.charge(key);
        }
    }

    /// Puts the topic ids of a client in order. There are none but those that we gave out, so that
    /// each name has one.
    fn finish_registry(&mut self, key: Key<Peer>) {
        let Self { peers, names, recorder, usage, .. } = self;
        let peer = peers.get_mut(key).expect("it came before");
        let number = peer.kept.number().expect("it came from a record");
        for (id, name) in peer.registry.finish_restore(names) {
            names.release(name);
            recorder.journal.delete(record::registration_key(number, id));
        }
        usage.topic_ids_max = usage.topic_ids_max.max(peer.registry.len());
    }

    /// Whether a client goes on with its session.
    fn relink(&mut self, now: Now, client: &Client, broker: &mut Broker) -> bool {
        let idle_timeout = self.settings.idle_timeout;
        let will_on_takeover = self.settings.will_on_reconnect;
        let link = LinkId(self.last_link + 1);
        let peer = self.peer(client.key);
        let (silence, credit) = match client.state {
            State::Gone => return false,
            State::Active => {
                (keep_alive(peer.connected_as.keep_alive_s, idle_timeout), ACTIVE_CREDIT)
            }
            State::Asleep { duration_s } | State::Awake { duration_s } => {
                (sleep::with_tolerance(duration_s), Credit::Paused)
            }
        };
        let id = &peer.client_id;
        if !broker.relink(now, link, id, Some(silence), credit, will_on_takeover) {
            return false;
        }
        peer.link = link;
        self.last_link = link.0;
        self.by_link.insert(link, Owner::Peer(client.key));
        self.set_state(client.key, client.state);
        true
    }

    /// A client is where it was, if that place still exists. Without one it is found by its
    /// PINGREQ, or has to connect again.
    fn bind_again(&mut self, key: Key<Peer>, bound: Bound) {
        let Bound { port, remote, local, node } = bound;
        if usize::from(port.0) >= self.settings.max_datagram.len() {
            return;
        }
        let node = if node.is_empty() {
            NodeId::NONE
        } else {
            let is_allowed = self.settings.forwarders.iter().any(|net| net.contains(remote.ip()));
            let node = Some(node).filter(|_| is_allowed);
            let Some(node) = node.and_then(|node| self.nodes.enter(port, remote, &node)) else {
                return;
            };
            node
        };
        let address = Address { port, remote, node };
        let binding = self.by_address.entry(address).or_default();
        if binding.peer.is_none() {
            binding.peer = Some(key);
            self.peer(key).path = Some(Path { address, local });
        }
    }
}
