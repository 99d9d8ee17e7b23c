//! From topic ids to topic names and back (section 7 and 10.10 of the specification reference).

use broker_core::key::Key;
use broker_core::topic::{TopicBuf, TopicName};
use sn_codec::v12::{self, ReturnCode, TopicRef};

use super::SnGateway;
use super::peer::Peer;
use super::registry::{Exhausted, Standing};
use super::settings::Quirks;

/// How a topic name can be said to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// By this, at once.
    Say(TopicRef),
    /// By a normal id, after the client was told of it (SN-073, SN-077).
    Register,
    /// Not at all: the client refused the name, or cannot be told of names (SN-079).
    Never,
}

impl SnGateway {
    /// The topic name that a client means. `short` is where a short name is read from.
    ///
    /// The type is honoured in every look-up: the same number may be a normal and a predefined id
    /// (SN-008, SN-065, SN-067).
    pub(super) fn resolve<'a>(
        &'a self,
        key: Key<Peer>,
        topic: TopicRef,
        short: &'a [u8; 2],
    ) -> Result<TopicName<'a>, ReturnCode> {
        let peer = self.peers.get(key).expect("a peer that said something");
        let found = match topic {
            TopicRef::Normal(id) => peer.registry.name(id).map(|name| self.names.get(name)),
            TopicRef::Predefined(id) => self.predefined.of(peer, id),
            TopicRef::Short(_) => TopicName::from_octets(short).ok(),
            TopicRef::Reserved(_) => return Err(ReturnCode::NotSupported),
        };
        found.ok_or(ReturnCode::InvalidTopicId)
    }

    /// The normal id of a name, given out if it has none yet and there is memory for it; then it
    /// stands as `standing`.
    pub(super) fn assign(
        &mut self,
        key: Key<Peer>,
        topic: TopicName<'_>,
        standing: Standing,
    ) -> Result<u16, Exhausted> {
        let Self { peers, names, settings, usage, predefined, .. } = self;
        let peer = peers.get_mut(key).expect("a peer that is talked to");
        if self.is_out_of_memory && peer.registry.find(topic, names).is_none() {
            return Err(Exhausted);
        }
        let (client_id, since) = (&peer.client_id, peer.predefined_since);
        let is_predefined = |id| predefined.meaning(client_id, since, id).is_some();
        let ids_max = settings.topic_ids_max;
        let before = peer.registry.len();
        let id = peer.registry.assign(topic, names, ids_max, standing, is_predefined);
        let is_new = peer.registry.len() > before;
        usage.topic_ids_max = usage.topic_ids_max.max(peer.registry.len());
        if let (true, Ok(id)) = (is_new, id) {
            self.record_new_id(key, id);
        }
        self.charge(key);
        id
    }

    /// What a client thinks of one of its ids from here on.
    pub(super) fn set_standing(&mut self, key: Key<Peer>, id: u16, standing: Standing) {
        if self.peer(key).registry.set_standing(id, standing) {
            self.record_standing(key, id);
        }
    }

    /// How a delivery names its topic (10.10, D2): by the normal id that the client knows (SN-076);
    /// by the predefined id that it subscribed with; by the short name; else by a normal id that it
    /// has to be told of first.
    pub(super) fn choose(&self, key: Key<Peer>, topic: TopicName<'_>) -> Choice {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let standing = match peer.registry.find(topic, &self.names) {
            Some((id, Standing::Known)) => return Choice::Say(TopicRef::Normal(id)),
            Some((_, standing)) => Some(standing),
            None => None,
        };
        let is_meant = |id: &u16| self.predefined.of(peer, *id) == Some(topic);
        if let Some(id) = peer.predefined.iter().copied().find(is_meant) {
            return Choice::Say(TopicRef::Predefined(id));
        }
        if let (None, Ok(octets)) = (standing, <[u8; 2]>::try_from(topic.as_str().as_bytes())) {
            return Choice::Say(TopicRef::Short(short_octets(octets, peer.quirks)));
        }
        if standing == Some(Standing::Refused) || peer.quirks.no_register {
            return Choice::Never;
        }
        Choice::Register
    }

    /// A client does not know what we called a topic: it has to be told of it under a normal id
    /// (SN-081), which is returned if there is one.
    pub(super) fn forget_naming(&mut self, key: Key<Peer>, said: TopicRef) -> Option<u16> {
        let peer = self.peers.get(key)?;
        let name = match said {
            TopicRef::Normal(id) => {
                peer.registry.name(id)?;
                self.set_standing(key, id, Standing::Unknown);
                return Some(id);
            }
            TopicRef::Predefined(id) => TopicBuf::from(self.predefined.of(peer, id)?),
            TopicRef::Short(octets) => {
                let octets = short_octets(octets, peer.quirks);
                TopicBuf::from(TopicName::from_octets(&octets).ok()?)
            }
            TopicRef::Reserved(_) => return None,
        };
        if let TopicRef::Predefined(id) = said {
            self.forget_predefined(key, id);
        }
        let id = self.assign(key, name.as_name(), Standing::Unknown).ok()?;
        self.set_standing(key, id, Standing::Unknown);
        Some(id)
    }

    /// The largest message that a client can be sent.
    pub(super) fn max_datagram(&self, key: Key<Peer>) -> usize {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let port = peer.path.map(|path| usize::from(path.address.port.0));
        let of_port = port.and_then(|port| self.settings.max_datagram.get(port)).copied();
        usize::from(peer.quirks.max_datagram.or(of_port).unwrap_or(u16::MAX))
    }

    /// REGISTER from a client: the name gets its id, the same however often it is asked for
    /// (SN-055). The TopicId that the message carries means nothing (SN-015).
    pub(super) fn register(&mut self, key: Key<Peer>, register: &v12::Register<'_>) {
        let (topic_id, return_code) = match TopicName::from_octets(register.topic_name) {
            Ok(topic) => match self.assign(key, topic, Standing::Known) {
                Ok(id) => {
                    self.set_standing(key, id, Standing::Known);
                    (id, ReturnCode::Accepted)
                }
                Err(Exhausted) => (0, ReturnCode::Congestion),
            },
            Err(_) => (0, ReturnCode::NotSupported),
        };
        let batch = self.peer(key).registry.batch_of(topic_id);
        self.promise(key, batch, v12::Regack { topic_id, msg_id: register.msg_id, return_code });
    }
}

/// The octets of a short topic name as a client has them, from those on the wire or the other way
/// round: some devices swap them.
pub(super) const fn short_octets([first, second]: [u8; 2], quirks: Quirks) -> [u8; 2] {
    if quirks.swap_topic_id_octets { [second, first] } else { [first, second] }
}
