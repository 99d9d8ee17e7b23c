//! Changing the will in a session (SN 6.4).

use core::hash::BuildHasher;

use broker_core::Broker;
use broker_core::api::{Incoming, QoS, WillChange, WillPart};
use broker_core::hash;
use broker_core::key::Key;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use broker_core::topic::TopicName;
use sn_codec::v12::{self, WillTarget};

use super::peer::Peer;
use super::{SnGateway, return_code};

impl SnGateway {
    /// WILLTOPICUPD: topic, QoS and retain flag are replaced, or the whole will is deleted
    /// (SN-054).
    pub(super) fn update_will_topic(
        &mut self,
        now: Now,
        key: Key<Peer>,
        update: &v12::WillTopicUpd<'_>,
        broker: &mut Broker,
    ) {
        let change = match &update.target {
            None => WillChange::Delete,
            Some(target) => match acceptable(target) {
                Some((topic, qos)) => WillChange::Topic { topic, qos, retain: target.retain },
                None => {
                    self.acknowledge_will(key, WillPart::Topic, ReasonCode::TopicNameInvalid);
                    return;
                }
            },
        };
        let link = self.peer(key).link;
        broker.handle(now, link, Incoming::ChangeWill(change));
    }

    /// WILLMSGUPD: the payload is replaced (SN-054).
    pub(super) fn update_will_message(
        &mut self,
        now: Now,
        key: Key<Peer>,
        update: &v12::WillMsgUpd<'_>,
        broker: &mut Broker,
    ) {
        let link = self.peer(key).link;
        broker.handle(now, link, Incoming::ChangeWill(WillChange::Payload(update.message)));
    }

    /// The broker has changed the will, or not.
    pub(super) fn acknowledge_will(&mut self, key: Key<Peer>, part: WillPart, reason: ReasonCode) {
        let return_code = return_code(reason);
        match part {
            WillPart::Topic => self.send_to(key, v12::WillTopicResp { return_code }),
            WillPart::Payload => self.send_to(key, v12::WillMsgResp { return_code }),
        }
    }
}

/// Topic and QoS of a will, if they can be those of one.
pub(super) fn acceptable<'a>(target: &WillTarget<'a>) -> Option<(TopicName<'a>, QoS)> {
    let topic = TopicName::from_octets(target.topic_name).ok()?;
    let qos = QoS::from_u8(u8::try_from(target.qos.level()).ok()?)?;
    Some((topic, qos))
}

/// What to know a WILLTOPIC again by.
pub(super) fn topic_hash(message: &v12::WillTopic<'_>) -> u64 {
    hash::state(1).hash_one(message.target)
}

/// What to know a WILLMSG again by.
pub(super) fn message_hash(message: &v12::WillMsg<'_>) -> u64 {
    hash::state(2).hash_one(message.message)
}
