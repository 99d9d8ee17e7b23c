//! Messages for clients (SN 6.10).

use broker_core::api::{Delivery, Flow, QoS};
use broker_core::key::Key;
use broker_core::time::Now;
use broker_core::topic::TopicName;
use sn_codec::MsgId;
use sn_codec::v12::{Publish, TopicRef};

use super::arq::{Kind, Sort, Then};
use super::outbox::Listener;
use super::peer::{Peer, SentQos0};
use super::recorder::Batch;
use super::registry::Standing;
use super::topics::Choice;
use super::{After, SnGateway};

impl SnGateway {
    /// The broker has a message for a client: it is sent, or its topic is registered first. One
    /// message at a time waits for an answer; only QoS 0 has none.
    pub(super) fn deliver(&mut self, now: Now, key: Key<Peer>, delivery: &Delivery<'_>) -> Flow {
        if !self.peer(key).is_listening() || self.is_connecting(key) {
            return self.hold_back(key, delivery);
        }
        let topic = TopicName::new(delivery.message.topic()).expect("published under a good name");
        let choice = self.choose(key, topic);
        if !self.fits(key, choice, delivery) {
            // Nobody is told (SN-082).
            return self.drop_delivery(key, delivery);
        }
        match choice {
            Choice::Say(said) if delivery.qos == QoS::AtMostOnce => {
                self.remember_qos0(key, said, delivery);
                self.send_qos0(key, said, delivery.retain, delivery.message.payload());
                self.after_qos0(key)
            }
            Choice::Say(said) => {
                self.send_acknowledged(now, key, said, delivery);
                Flow::Hold
            }
            Choice::Register => {
                let Ok(topic_id) = self.assign(key, topic, Standing::Unknown) else {
                    return self.drop_delivery(key, delivery);
                };
                let then = if delivery.qos == QoS::AtMostOnce {
                    let payload = delivery.message.payload().to_vec();
                    Then::Qos0 { retain: delivery.retain, payload }
                } else {
                    if !delivery.dup {
                        // It does not leave now: after a reconnect it is no repetition.
                        let link = self.peer(key).link;
                        self.after.push(After::Again(link, delivery.id));
                    }
                    Then::InFlight { id: delivery.id, dup: delivery.dup }
                };
                self.begin_register(now, key, topic_id, then);
                Flow::Hold
            }
            Choice::Never => self.drop_delivery(key, delivery),
        }
    }

    /// The client cannot be reached, as another has its address or is connecting from there. QoS 1
    /// and 2 stay in flight until it is heard of.
    fn hold_back(&mut self, key: Key<Peer>, delivery: &Delivery<'_>) -> Flow {
        self.wait_for_connect(key);
        if delivery.qos == QoS::AtMostOnce {
            return Flow::GiveUp(delivery.id);
        }
        let link = self.peer(key).link;
        self.after.push(After::Again(link, delivery.id));
        Flow::Hold
    }

    /// The client cannot be told this one; if it was told before, nothing waits for its answer.
    fn drop_delivery(&mut self, key: Key<Peer>, delivery: &Delivery<'_>) -> Flow {
        let exchange = self.peer(key).exchange.as_ref();
        if exchange.is_some_and(|exchange| exchange.is_about(delivery.id)) {
            self.end_exchange(key);
        }
        Flow::GiveUp(delivery.id)
    }

    /// Sends a message of QoS 0.
    pub(super) fn send_qos0(&mut self, key: Key<Peer>, topic: TopicRef, retain: bool, data: &[u8]) {
        let qos = sn_codec::QoS::AtMostOnce;
        let publish = Publish { dup: false, qos, retain, topic, msg_id: MsgId::NONE, data };
        self.send_publish(key, &publish);
    }

    /// Sends a message of QoS 1 or 2; its answer is waited for.
    fn send_acknowledged(
        &mut self,
        now: Now,
        key: Key<Peer>,
        topic: TopicRef,
        delivery: &Delivery<'_>,
    ) {
        let qos = match delivery.qos {
            QoS::ExactlyOnce => sn_codec::QoS::ExactlyOnce,
            QoS::AtLeastOnce | QoS::AtMostOnce => sn_codec::QoS::AtLeastOnce,
        };
        let peer = self.peer(key);
        let dup = delivery.dup && !peer.quirks.no_dup;
        let msg_id = MsgId(peer.wire_id(delivery.id));
        let data = delivery.message.payload();
        let retain = delivery.retain;
        self.send_publish(key, &Publish { dup, qos, retain, topic, msg_id, data });
        let (id, sort) = (delivery.id, Sort { qos: delivery.qos, is_empty: data.is_empty() });
        self.await_answer(now, key, Kind::Publish { id, sort, topic, dup });
    }

    fn send_publish(&mut self, key: Key<Peer>, publish: &Publish<'_>) {
        let Self { peers, nodes, outbox, recorder, .. } = self;
        let peer = peers.get(key).expect("a peer that is talked to");
        let batch = match publish.topic {
            // It must not overtake what tells the client of the id.
            TopicRef::Normal(id) => peer.registry.batch_of(id),
            TopicRef::Predefined(_) | TopicRef::Short(_) | TopicRef::Reserved(_) => Batch::NONE,
        };
        if let Some(path) = peer.path {
            let node = nodes.octets(path.address.node);
            let listener = Some(Listener { peer: key, spell: peer.spell });
            let outbox = recorder.outbox_for(batch, path, listener, outbox);
            outbox.push_publish(path, node, publish);
        }
    }

    /// A client that does not know the topic of a message of QoS 0 says so, and gets it once more
    /// (SN-080, SN-081).
    fn remember_qos0(&mut self, key: Key<Peer>, said: TopicRef, delivery: &Delivery<'_>) {
        let peer = self.peer(key);
        let sent = peer.last_qos0.get_or_insert_with(|| SentQos0 {
            topic: said,
            retain: false,
            payload: Vec::new(),
        });
        sent.topic = said;
        sent.retain = delivery.retain;
        sent.payload.clear();
        sent.payload.extend_from_slice(delivery.message.payload());
        self.charge(key);
    }

    /// The next message may follow at once, unless this visit has brought enough.
    fn after_qos0(&mut self, key: Key<Peer>) -> Flow {
        let peer = self.peer(key);
        peer.collected = peer.collected.saturating_add(1);
        let peer = self.peers.get(key).expect("a peer that is talked to");
        if self.has_collected_enough(peer) {
            self.finish_visit(key);
            return Flow::Hold;
        }
        Flow::More
    }

    /// Whether message and, if need be, REGISTER are small enough for the client (SN-082, SN-106).
    fn fits(&self, key: Key<Peer>, choice: Choice, delivery: &Delivery<'_>) -> bool {
        /// Octets of a message in the short form beside its variable part.
        const PUBLISH: usize = 7;
        const REGISTER: usize = 6;
        /// What the long form takes more.
        const LONG: usize = 2;
        let len = |fixed: usize, variable: usize| match fixed + variable {
            short @ 0..=255 => short,
            long => long + LONG,
        };
        let max = self.max_datagram(key);
        let publish = len(PUBLISH, delivery.message.payload().len());
        let register = match choice {
            Choice::Register => len(REGISTER, delivery.message.topic().len()),
            Choice::Say(_) | Choice::Never => 0,
        };
        publish <= max && register <= max
    }
}
