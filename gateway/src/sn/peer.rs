//! One client and what is known of it.

use std::net::IpAddr;

use broker_core::api::{LinkId, PacketId};
use broker_core::key::Key;
use broker_core::time::Instant;
use sn_codec::v12::TopicRef;

use super::address::{Path, Source};
use super::arq::{Exchange, Sorts};
use super::connect::Handshake;
use super::inbound::Inbound;
use super::limiter::Meter;
use super::predefined::Generation;
use super::recorder::Kept;
use super::registry::Registry;
use super::settings::Quirks;

/// The highest MsgId of ours: there are clients that keep them as signed numbers.
pub(super) const MSG_ID_MAX: u16 = 0x7FFF;

/// A client with its session, connected or not.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) client_id: Box<str>,
    /// The client said none, and the broker gave it this one, which the client does not know.
    pub(super) is_anonymous: bool,
    pub(super) state: State,
    /// Its link to the broker; of no meaning while [`State::Gone`].
    pub(super) link: LinkId,
    /// Where it is reached. A client whose address was taken by another has none until it is heard
    /// of again, or its time is up (D5).
    pub(super) path: Option<Path>,
    /// The host that it was last bound to.
    pub(super) host: IpAddr,
    /// Where it was before its present address, and how often it went back there lately (D5).
    pub(super) previous: Option<Source>,
    pub(super) returns: Meter,
    /// A CONNECT of the same client that the broker has not answered yet.
    pub(super) reconnecting: Option<Key<Handshake>>,
    /// Its session ended while such a CONNECT was on its way.
    pub(super) session_ended: bool,
    /// What it needs to be spoken to, as configured and as it has shown in this session (D8).
    pub(super) quirks: Quirks,
    pub(super) understands: Sorts,
    pub(super) registry: Registry,
    /// Which predefined topics held when it connected.
    pub(super) predefined_since: Generation,
    /// Predefined ids by which it subscribed; deliveries use them (SN-076).
    pub(super) predefined: Vec<u16>,
    /// The message that waits for an answer of the client.
    pub(super) exchange: Option<Exchange>,
    /// The publication whose topic the client said it does not know; told once (SN-081).
    pub(super) corrected: Option<PacketId>,
    /// The last QoS 0 publication, to be sent again should its topic turn out to be unknown.
    pub(super) last_qos0: Option<SentQos0>,
    /// MsgIds begin anywhere, so that nobody can acknowledge for another by guessing.
    pub(super) id_offset: u16,
    pub(super) last_register_id: u16,
    /// The CONNECT that it came with (D4).
    pub(super) connected_as: ConnectedAs,
    /// Whether nothing else came since (D4).
    pub(super) untouched: bool,
    /// Counts the times in which it does the same: a CONNECT ends one, and a change of its state.
    pub(super) spell: u32,
    /// It was asked whether it is there, and has said nothing since.
    pub(super) is_asked: bool,
    /// When it last said anything but an acknowledgement: those may be late.
    pub(super) spoke_at: Instant,
    /// PINGRESP is due when the queue is empty although the client is active (17.7).
    pub(super) owes_pingresp: bool,
    /// Messages that this visit is over with.
    pub(super) collected: u32,
    pub(super) inbound: Inbound,
    /// Its record.
    pub(super) kept: Kept,
    /// Memory that is accounted for it.
    pub(super) charged: usize,
}

/// What a client is doing, in the order of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Disconnected or lost: supervised by nobody (SN-092).
    Gone,
    /// Connected and listening.
    Active,
    /// Asleep: nothing is sent unasked (SN-093).
    Asleep { duration_s: u16 },
    /// Asleep, and up for a moment to collect its messages (SN-096).
    Awake { duration_s: u16 },
}

/// The parts of a CONNECT that tell whether another one says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectedAs {
    pub(super) clean_session: bool,
    pub(super) keep_alive_s: u16,
    /// The octets that ended the will dialogue, hashed; `None` without a dialogue.
    pub(super) ended_by: Option<u64>,
}

/// A QoS 0 publication that was sent.
#[derive(Debug)]
pub(super) struct SentQos0 {
    pub(super) topic: TopicRef,
    pub(super) retain: bool,
    pub(super) payload: Vec<u8>,
}

impl Peer {
    /// A client that was not known before, without a connection yet.
    pub(super) fn new(client_id: &str, host: IpAddr, quirks: Quirks, id_offset: u16) -> Self {
        Self {
            client_id: client_id.into(),
            is_anonymous: false,
            state: State::Gone,
            link: LinkId(0),
            path: None,
            host,
            previous: None,
            returns: Meter::default(),
            reconnecting: None,
            session_ended: false,
            quirks,
            understands: Sorts::default(),
            registry: Registry::default(),
            predefined_since: Generation::default(),
            predefined: Vec::new(),
            exchange: None,
            corrected: None,
            last_qos0: None,
            id_offset,
            // As good a place to begin as any.
            last_register_id: id_offset,
            connected_as: ConnectedAs { clean_session: true, keep_alive_s: 0, ended_by: None },
            untouched: false,
            spell: 0,
            is_asked: false,
            spoke_at: Instant::default(),
            owes_pingresp: false,
            collected: 0,
            inbound: Inbound::default(),
            kept: Kept::default(),
            charged: 0,
        }
    }

    /// The MsgId on the wire of a packet identifier of the broker; 0 stays 0, which names nothing.
    ///
    /// Identifiers of MQTT-SN sessions stay below 0x8000, and are turned among themselves; those
    /// left from a time when the session spoke MQTT are what they are.
    pub(super) fn wire_id(&self, id: PacketId) -> u16 {
        turn_id(id.0, self.id_offset)
    }

    /// The packet identifier of the broker behind a MsgId; 0 stays 0.
    pub(super) fn packet_id(&self, wire_id: u16) -> PacketId {
        PacketId(turn_id(wire_id, MSG_ID_MAX - self.id_offset))
    }

    /// A MsgId for the next REGISTER.
    pub(super) fn next_register_id(&mut self) -> u16 {
        self.last_register_id = self.last_register_id % MSG_ID_MAX + 1;
        self.last_register_id
    }

    pub(super) const fn is_connected(&self) -> bool {
        match self.state {
            State::Gone => false,
            State::Active | State::Asleep { .. } | State::Awake { .. } => true,
        }
    }

    /// What was to be told to it and could not leave yet is not wanted any more.
    pub(super) const fn begin_spell(&mut self) {
        self.spell = self.spell.wrapping_add(1);
    }

    /// Whether messages may be sent to it of our own accord.
    pub(super) const fn is_listening(&self) -> bool {
        match self.state {
            State::Gone | State::Asleep { .. } => false,
            State::Active | State::Awake { .. } => self.path.is_some(),
        }
    }

    /// The memory held beyond the place in the arena, in octets.
    pub(super) fn memory(&self) -> usize {
        let exchange = self.exchange.as_ref();
        let qos0 = self.last_qos0.as_ref();
        self.client_id.len() * 2
            + self.registry.memory()
            + self.inbound.memory()
            + self.predefined.capacity() * size_of::<u16>()
            + exchange.map_or(0, Exchange::memory)
            + qos0.map_or(0, |sent| sent.payload.capacity())
    }
}

/// The id `by` places further, round the circle of 1 to [`MSG_ID_MAX`]; what is not on it stays.
fn turn_id(id: u16, by: u16) -> u16 {
    if id == 0 || id > MSG_ID_MAX {
        return id;
    }
    (id - 1 + by) % MSG_ID_MAX + 1
}

#[cfg(test)]
mod tests {
    use super::super::inbound::Seen;
    use super::super::names::Names;
    use super::super::registry::Standing;
    use super::*;
    use broker_core::topic::TopicName;
    use std::net::Ipv4Addr;

    #[test]
    fn wire_ids_and_packet_ids_are_one_to_one_and_never_zero() {
        for offset in [0, 1, 4_711, MSG_ID_MAX - 2, MSG_ID_MAX - 1] {
            let peer = Peer::new("c", Ipv4Addr::LOCALHOST.into(), Quirks::default(), offset);
            for id in [1, 2, MSG_ID_MAX - 1, MSG_ID_MAX, MSG_ID_MAX + 1, 65_535] {
                let wire = peer.wire_id(PacketId(id));
                assert_ne!(wire, 0);
                assert_eq!(peer.packet_id(wire), PacketId(id), "offset {offset}");
            }
            assert_eq!((peer.packet_id(0), peer.wire_id(PacketId(0))), (PacketId(0), 0));
        }
    }

    #[test]
    fn msg_ids_of_register_go_round_the_circle_and_are_never_zero() {
        let mut peer =
            Peer::new("c", Ipv4Addr::LOCALHOST.into(), Quirks::default(), MSG_ID_MAX - 2);
        let ids = [0; 4].map(|_| peer.next_register_id());
        assert_eq!(ids, [MSG_ID_MAX - 1, MSG_ID_MAX, 1, 2]);
    }

    /// All that it holds beside its place, once.
    #[test]
    fn a_client_counts_with_its_ids_and_its_publications() {
        let client_id = "c".repeat(100);
        let mut peer = Peer::new(&client_id, Ipv4Addr::LOCALHOST.into(), Quirks::default(), 0);
        // Once here, and once where it is looked up.
        let mut expect = 2 * 100;
        assert_eq!(peer.memory(), expect);
        let mut names = Names::new(1);
        let topic = TopicName::new("a/b").expect("a good name");
        let id = peer.registry.assign(topic, &mut names, 9, Standing::Unknown, |_| false);
        assert_eq!(id, Ok(1));
        peer.inbound.remember_qos2(Seen::new(PacketId(1), 0, Instant::default()));
        expect += peer.registry.memory() + peer.inbound.memory();
        assert_eq!(peer.memory(), expect);
        peer.predefined = Vec::with_capacity(1_000);
        let payload = Vec::with_capacity(10_000);
        peer.last_qos0 = Some(SentQos0 { topic: TopicRef::Normal(1), retain: false, payload });
        assert_eq!(peer.memory(), expect + 2_000 + 10_000);
    }
}
