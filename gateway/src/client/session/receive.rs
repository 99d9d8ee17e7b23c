//! Messages from the gateway.
//!
//! ```text
//!          ← REGISTER       QoS 1: ← PUBLISH       QoS 2: ← PUBLISH
//! REGACK   →                PUBACK →               PUBREC →
//!                                                         ← PUBREL
//!                                                  PUBCOMP →
//! ```

use core::str;
use core::time::Duration;
use std::collections::VecDeque;

use sn_codec::v12::{Puback, Pubcomp, Publish, Pubrec, Regack, Register, ReturnCode, TopicRef};
use sn_codec::{MsgId, QoS};

use super::Session;
use super::topics::is_topic_id;
use super::vocabulary::{Event, Message, Topic};

/// Messages at QoS 2 that wait for their PUBREL. Gateways send one at a time, or a few; beyond
/// these the oldest counts as given up by the gateway.
const UNRELEASED_MAX: usize = 64;

/// Messages at QoS 2 that the gateway has not released yet: handed on at PUBREL, so that a repeated
/// PUBLISH is no second message.
#[derive(Debug, Default)]
pub(super) struct Unreleased(VecDeque<(MsgId, Message)>);

impl Unreleased {
    /// The message of an exchange. What the number stood for before was given up by the gateway, or
    /// was the same.
    fn keep(&mut self, id: MsgId, message: Message) {
        self.take(id);
        if self.0.len() == UNRELEASED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, message));
    }

    fn take(&mut self, id: MsgId) -> Option<Message> {
        let at = self.0.iter().position(|(kept, _)| *kept == id)?;
        self.0.remove(at).map(|(_, message)| message)
    }
}

impl Session {
    /// REGISTER: the id of a name that came in through a wildcard, or after connecting again
    /// (SN-078).
    pub(super) fn handle_register(&mut self, now: Duration, register: Register<'_>) {
        if !self.is_listening() {
            return;
        }
        let Register { topic_id, msg_id, topic_name } = register;
        let return_code = match str::from_utf8(topic_name) {
            Ok("") | Err(_) => ReturnCode::NotSupported,
            Ok(_) if !is_topic_id(topic_id) => ReturnCode::InvalidTopicId,
            Ok(name) => match self.topics.learn(topic_id, name) {
                Ok(()) => ReturnCode::Accepted,
                Err(super::topics::Full) => ReturnCode::Congestion,
            },
        };
        self.send(now, Regack { topic_id, msg_id, return_code });
    }

    /// PUBLISH. A topic id that nobody explained is answered at every QoS (SN-080).
    pub(super) fn handle_publish(&mut self, now: Duration, publish: &Publish<'_>) {
        // A gateway never sends QoS −1 (SN-007).
        if !self.is_listening() || publish.qos == QoS::MinusOne {
            return;
        }
        let Publish { msg_id, qos, retain, .. } = *publish;
        let topic = match self.topic_of(publish.topic) {
            Ok(topic) => topic,
            Err(return_code) => return self.acknowledge(now, publish, return_code),
        };
        let message = Message { topic, payload: publish.data.to_vec(), qos, retain };
        match qos {
            QoS::MinusOne | QoS::AtMostOnce => self.events.push_back(Event::Message(message)),
            QoS::AtLeastOnce => {
                self.acknowledge(now, publish, ReturnCode::Accepted);
                self.events.push_back(Event::Message(message));
            }
            QoS::ExactlyOnce => {
                self.unreleased.keep(msg_id, message);
                self.send(now, Pubrec { msg_id });
            }
        }
    }

    /// PUBREL: acknowledged whether its message is known or not, because PUBCOMP may get lost.
    pub(super) fn handle_pubrel(&mut self, now: Duration, msg_id: MsgId) {
        if !self.is_listening() {
            return;
        }
        self.send(now, Pubcomp { msg_id });
        let message = self.unreleased.take(msg_id);
        self.events.extend(message.map(Event::Message));
    }

    fn acknowledge(&mut self, now: Duration, publish: &Publish<'_>, return_code: ReturnCode) {
        let (topic_id, msg_id) = (publish.topic.raw(), publish.msg_id);
        self.send(now, Puback { topic_id, msg_id, return_code });
    }

    /// Predefined ids are taken as they come: a session that was kept may have subscriptions to ids
    /// that this process was not told of.
    fn topic_of(&self, topic: TopicRef) -> Result<Topic, ReturnCode> {
        let known = match topic {
            TopicRef::Normal(id) => self.topics.name(id).map(|name| Topic::Name(name.to_owned())),
            TopicRef::Predefined(id) => is_topic_id(id).then_some(Topic::Predefined(id)),
            TopicRef::Short(octets) => str::from_utf8(&octets).ok().map(|_| Topic::Short(octets)),
            TopicRef::Reserved(_) => return Err(ReturnCode::NotSupported),
        };
        known.ok_or(ReturnCode::InvalidTopicId)
    }
}
