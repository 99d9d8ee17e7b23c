//! From topic ids to topic names and back (section 7 and 10.10 of the specification reference).

use broker_core::key::Key;
use broker_core::topic::{TopicBuf, TopicName};
use sn_codec::v12::{self, Publish, ReturnCode, TopicRef};

use super::SnGateway;
use super::peer::Peer;
use super::registry::{Exhausted, Standing};

/// How a topic name can be said to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// By this, at once.
    Say(TopicRef),
    /// By this normal id, after the client was told of it (SN-073, SN-077).
    Register(u16),
    /// Not at all: the client refused the name, or cannot be told of names (SN-079).
    Never,
}

impl SnGateway {
    /// The topic name that a client means. `short` is where a short name is read from.
    ///
    /// The type is honoured in every look-up: the same number may be a normal and a predefined id.
    pub(super) fn resolve<'a>(
        &'a self,
        key: Key<Peer>,
        publish: &Publish<'_>,
        short: &'a [u8; 2],
    ) -> Result<TopicName<'a>, ReturnCode> {
        let peer = self.peers.get(key).expect("a peer that said something");
        let found = match publish.topic {
            TopicRef::Normal(id) => peer.registry.name(id).map(|name| self.names.get(name)),
            TopicRef::Predefined(id) => self.predefined(&peer.client_id, id),
            TopicRef::Short(_) => TopicName::from_octets(short).ok(),
            TopicRef::Reserved(_) => return Err(ReturnCode::NotSupported),
        };
        found.ok_or(ReturnCode::InvalidTopicId)
    }

    /// The topic name behind a predefined id of a client: its own, else that of everybody.
    pub(super) fn predefined(&self, client_id: &str, id: u16) -> Option<TopicName<'_>> {
        let own = self.settings.predefined_for.get(client_id).and_then(|own| own.get(&id));
        own.or_else(|| self.settings.predefined.get(&id)).map(TopicBuf::as_name)
    }

    /// The normal id of a name, given out if it has none yet.
    pub(super) fn assign(
        &mut self,
        key: Key<Peer>,
        topic: TopicName<'_>,
    ) -> Result<u16, Exhausted> {
        let Self { peers, names, settings, usage, .. } = self;
        let peer = peers.get_mut(key).expect("a peer that is talked to");
        let own = settings.predefined_for.get(&*peer.client_id);
        let is_predefined = |id| {
            settings.predefined.contains_key(&id) || own.is_some_and(|own| own.contains_key(&id))
        };
        let id = peer.registry.assign(topic, names, settings.topic_ids_max, is_predefined);
        usage.topic_ids_max = usage.topic_ids_max.max(peer.registry.len());
        self.charge(key);
        id
    }

    /// How a delivery names its topic (10.10, D2): by the normal id that the client knows; by the
    /// predefined id that it subscribed with; by the short name; else by a normal id that it has to be
    /// told of first.
    pub(super) fn choose(
        &mut self,
        key: Key<Peer>,
        topic: TopicName<'_>,
    ) -> Result<Choice, Exhausted> {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let quirks = peer.quirks;
        let registered = peer.registry.find(topic, &self.names);
        if let Some((id, Standing::Known)) = registered {
            return Ok(Choice::Say(TopicRef::Normal(id)));
        }
        let predefined = peer
            .predefined
            .iter()
            .copied()
            .find(|id| self.predefined(&peer.client_id, *id).is_some_and(|name| name == topic));
        if let Some(id) = predefined {
            return Ok(Choice::Say(TopicRef::Predefined(id)));
        }
        if let (None, Ok(mut octets)) = (registered, <[u8; 2]>::try_from(topic.as_str().as_bytes()))
        {
            if quirks.swap_topic_id_octets {
                octets.reverse();
            }
            return Ok(Choice::Say(TopicRef::Short(octets)));
        }
        let id = match registered {
            Some((_, Standing::Refused)) => return Ok(Choice::Never),
            _ if quirks.no_register => return Ok(Choice::Never),
            Some((id, _)) => id,
            None => self.assign(key, topic)?,
        };
        Ok(Choice::Register(id))
    }

    /// A client does not know what we called a topic: it has to be told of it under a normal id
    /// (SN-081), which is returned.
    pub(super) fn forget_naming(
        &mut self,
        key: Key<Peer>,
        said: TopicRef,
        topic: TopicName<'_>,
    ) -> Option<u16> {
        if let TopicRef::Predefined(id) = said {
            self.peer(key).predefined.retain(|known| *known != id);
        }
        let id = self.assign(key, topic).ok()?;
        self.peer(key).registry.set_standing(id, Standing::Unknown);
        Some(id)
    }

    /// The largest message that a client can be sent.
    pub(super) fn max_datagram(&self, key: Key<Peer>) -> usize {
        let peer = self.peers.get(key).expect("a peer that is talked to");
        let port = peer.path.map(|path| usize::from(path.address.port.0));
        let of_port = port.and_then(|port| self.settings.max_datagram.get(port)).copied();
        usize::from(peer.quirks.max_datagram.or(of_port).unwrap_or(u16::MAX))
    }

    /// REGISTER from a client: the name gets its id, the same however often it is asked for (SN-055).
    pub(super) fn register(&mut self, key: Key<Peer>, register: &v12::Register<'_>) {
        let (topic_id, return_code) = match TopicName::from_octets(register.topic_name) {
            Ok(topic) => match self.assign(key, topic) {
                Ok(id) => {
                    self.peer(key).registry.set_standing(id, Standing::Known);
                    (id, ReturnCode::Accepted)
                }
                Err(Exhausted) => (0, ReturnCode::Congestion),
            },
            Err(_) => (0, ReturnCode::NotSupported),
        };
        self.send_to(key, v12::Regack { topic_id, msg_id: register.msg_id, return_code });
    }
}
