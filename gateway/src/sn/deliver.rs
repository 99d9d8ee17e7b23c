//! Messages for clients (SN 6.10).

use broker_core::api::{Delivery, Flow, QoS};
use broker_core::key::Key;
use broker_core::time::Now;
use broker_core::topic::{TopicBuf, TopicName};
use sn_codec::MsgId;
use sn_codec::v12::{Publish, TopicRef};

use super::SnGateway;
use super::arq::{Kind, Then};
use super::peer::{Peer, SentQos0, State};
use super::registry::Exhausted;
use super::topics::Choice;

impl SnGateway {
    /// The broker has a message for a client: it is sent, or its topic is registered first. One
    /// message at a time waits for an answer; only QoS 0 has none.
    pub(super) fn deliver(&mut self, now: Now, key: Key<Peer>, delivery: &Delivery<'_>) -> Flow {
        let topic = TopicName::new(delivery.message.topic()).expect("published under a good name");
        if !self.peer(key).is_listening() {
            return self.hold_back(now, key, topic, delivery);
        }
        let choice = match self.choose(key, topic) {
            Ok(Choice::Never) | Err(Exhausted) => return Flow::GiveUp(delivery.id),
            Ok(choice) => choice,
        };
        if !self.fits(key, choice, delivery) {
            // Nobody is told (SN-082).
            return Flow::GiveUp(delivery.id);
        }
        match choice {
            Choice::Say(said) if delivery.qos == QoS::AtMostOnce => {
                self.remember_qos0(key, said, topic, delivery);
                self.send_qos0(key, said, delivery.retain, delivery.message.payload());
                self.count_collected(now, key)
            }
            Choice::Say(said) => {
                self.send_acknowledged(now, key, said, topic, delivery);
                Flow::Hold
            }
            Choice::Register(topic_id) => {
                let then = if delivery.qos == QoS::AtMostOnce {
                    let payload = delivery.message.payload().to_vec();
                    Then::Qos0 { retain: delivery.retain, payload }
                } else {
                    Then::InFlight(delivery.id)
                };
                self.begin_register(now, key, topic_id, then);
                Flow::Hold
            }
            Choice::Never => unreachable!("given up above"),
        }
    }

    /// The client cannot be reached: another has its address, or it fell asleep in this very moment.
    /// QoS 1 and 2 stay in flight until it is heard of.
    fn hold_back(
        &mut self,
        now: Now,
        key: Key<Peer>,
        topic: TopicName<'_>,
        delivery: &Delivery<'_>,
    ) -> Flow {
        let (id, qos) = (delivery.id, delivery.qos);
        if qos == QoS::AtMostOnce {
            return Flow::GiveUp(id);
        }
        let topic_name = Some(TopicBuf::from(topic));
        let topic = TopicRef::Normal(0);
        self.stall(now, key, Kind::Publish { id, qos, topic, topic_name, dup: false });
        Flow::Hold
    }

    /// Sends a message of QoS 0.
    pub(super) fn send_qos0(&mut self, key: Key<Peer>, topic: TopicRef, retain: bool, data: &[u8]) {
        let qos = sn_codec::QoS::AtMostOnce;
        self.send_publish(
            key,
            &Publish { dup: false, qos, retain, topic, msg_id: MsgId::NONE, data },
        );
    }

    /// Sends a message of QoS 1 or 2; its answer is waited for.
    fn send_acknowledged(
        &mut self,
        now: Now,
        key: Key<Peer>,
        topic: TopicRef,
        topic_name: TopicName<'_>,
        delivery: &Delivery<'_>,
    ) {
        let qos = match delivery.qos {
            QoS::ExactlyOnce => sn_codec::QoS::ExactlyOnce,
            QoS::AtLeastOnce | QoS::AtMostOnce => sn_codec::QoS::AtLeastOnce,
        };
        let peer = self.peer(key);
        let dup = delivery.dup && !peer.quirks.no_dup;
        let is_first = peer.exchange.is_none() && !delivery.dup;
        peer.collected += u32::from(is_first);
        let msg_id = MsgId(peer.wire_id(delivery.id));
        let data = delivery.message.payload();
        let retain = delivery.retain;
        self.send_publish(key, &Publish { dup, qos, retain, topic, msg_id, data });
        // A name is needed again only if the client turns out not to know what we said for it; a
        // normal id leads to it by itself.
        let topic_name = match topic {
            TopicRef::Normal(_) => None,
            TopicRef::Predefined(_) | TopicRef::Short(_) | TopicRef::Reserved(_) => {
                Some(TopicBuf::from(topic_name))
            }
        };
        let (id, qos) = (delivery.id, delivery.qos);
        self.await_answer(now, key, Kind::Publish { id, qos, topic, topic_name, dup });
    }

    fn send_publish(&mut self, key: Key<Peer>, publish: &Publish<'_>) {
        let Self { peers, nodes, outbox, .. } = self;
        let peer = peers.get(key).expect("a peer that is talked to");
        if let Some(path) = peer.path {
            outbox.push_publish(path, nodes.octets(path.address.node), publish);
        }
    }

    /// A client that does not know the topic of a message of QoS 0 says so, and gets it once more
    /// (SN-080, SN-081).
    fn remember_qos0(
        &mut self,
        key: Key<Peer>,
        said: TopicRef,
        topic: TopicName<'_>,
        delivery: &Delivery<'_>,
    ) {
        let payload = delivery.message.payload();
        let peer = self.peer(key);
        let sent = peer.last_qos0.get_or_insert_with(|| SentQos0 {
            topic: said,
            retain: false,
            payload: Vec::new(),
            topic_name: String::new(),
        });
        sent.topic = said;
        sent.retain = delivery.retain;
        sent.payload.clear();
        sent.payload.extend_from_slice(payload);
        sent.topic_name.clear();
        sent.topic_name.push_str(topic.as_str());
        self.charge(key);
    }

    /// A visit ends early if the client is not to collect everything at once.
    fn count_collected(&mut self, now: Now, key: Key<Peer>) -> Flow {
        let per_wake = self.settings.messages_per_wake;
        let peer = self.peer(key);
        peer.collected += 1;
        let is_enough = per_wake > 0 && peer.collected >= per_wake;
        if is_enough && matches!(peer.state, State::Awake { .. }) {
            self.finish_visit(now, key);
            return Flow::Hold;
        }
        Flow::More
    }

    /// Whether message and, if need be, REGISTER are small enough for the client.
    fn fits(&self, key: Key<Peer>, choice: Choice, delivery: &Delivery<'_>) -> bool {
        /// Octets of a message beside its variable part: in the short form, and what the long form
        /// takes more.
        const PUBLISH: usize = 7;
        const REGISTER: usize = 6;
        let len = |fixed: usize, variable: usize| match fixed + variable {
            short @ 0..=255 => short,
            long => long + 2,
        };
        let max = self.max_datagram(key);
        let publish = len(PUBLISH, delivery.message.payload().len());
        let register = match choice {
            Choice::Register(_) => len(REGISTER, delivery.message.topic().len()),
            Choice::Say(_) | Choice::Never => 0,
        };
        publish <= max && register <= max
    }
}
