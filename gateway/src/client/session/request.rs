//! What the owner asks for: publishing and subscribing.
//!
//! ```text
//! REGISTER  →              a name without an id, first of all
//!           ← REGACK
//! PUBLISH   →  QoS 1: ← PUBACK        QoS 2: ← PUBREC        any QoS: ← PUBACK(refused)
//!                                     PUBREL →
//!                                            ← PUBCOMP
//! SUBSCRIBE →         UNSUBSCRIBE →
//!           ← SUBACK              ← UNSUBACK
//! ```

use core::time::Duration;

use sn_codec::v12::{
    Packet, Puback, Publish, Pubrel, Regack, Register, ReturnCode, Suback, Subscribe, TopicRef,
    TopicSelector, Unsubscribe,
};
use sn_codec::{MsgId, QoS};

use super::supervision::Supervision;
use super::topics::is_topic_id;
use super::vocabulary::{Event, Message, RequestError, Topic};
use super::{Session, State, check_size};

/// A request under way.
#[derive(Debug)]
pub(super) struct Request {
    /// What is acknowledged next.
    stage: Stage,
    msg_id: MsgId,
    wait: Supervision,
}

#[derive(Debug)]
enum Stage {
    /// Waits for REGACK.
    Register { name: String, letter: Letter },
    /// Waits for PUBACK, or for PUBREC.
    Publish { topic: TopicRef, letter: Letter, dup: bool },
    /// Waits for PUBCOMP.
    Release,
    /// Waits for SUBACK.
    Subscribe { topic: Topic, qos: QoS },
    /// Waits for UNSUBACK.
    Unsubscribe { topic: Topic },
}

/// A message on its way.
#[derive(Debug)]
struct Letter {
    message: Message,
    /// The gateway disowned the topic id once already.
    registered_again: bool,
}

impl Session {
    /// Publishes a message; a topic name is registered first if it has no id yet (SN-056). Ends in
    /// [`Event::Published`] or [`Event::Rejected`]; without acknowledgment, at QoS −1 and 0, as
    /// soon as the message is out.
    ///
    /// # Errors
    ///
    /// [`RequestError::Busy`] during a request, [`RequestError::TooLong`],
    /// [`RequestError::WrongState`] unless active. QoS −1 goes in every state, and with every topic
    /// but [`Topic::Name`] ([`RequestError::NeedsTopicId`]).
    pub fn publish(&mut self, now: Duration, message: Message) -> Result<(), RequestError> {
        let topic = match &message.topic {
            Topic::Name(_) if message.qos == QoS::MinusOne => {
                return Err(RequestError::NeedsTopicId);
            }
            Topic::Name(name) => {
                check_size(register(MsgId::NONE, name))?;
                TopicRef::Normal(0)
            }
            Topic::Predefined(id) => TopicRef::Predefined(*id),
            Topic::Short(octets) => TopicRef::Short(*octets),
        };
        check_size(publish(MsgId::NONE, topic, &message, false))?;
        if message.qos != QoS::MinusOne {
            self.check_ready()?;
        }
        self.begin_publish(now, Letter { message, registered_again: false });
        Ok(())
    }

    /// Subscribes; a [`Topic::Name`] may hold wildcards. Ends in [`Event::Subscribed`] or
    /// [`Event::Rejected`].
    ///
    /// # Errors
    ///
    /// [`RequestError::Busy`] during a request, [`RequestError::WrongState`] unless active,
    /// [`RequestError::TooLong`].
    pub fn subscribe(&mut self, now: Duration, topic: Topic, qos: QoS) -> Result<(), RequestError> {
        check_size(subscribe(MsgId::NONE, &topic, qos))?;
        self.check_ready()?;
        self.begin(now, Stage::Subscribe { topic, qos });
        Ok(())
    }

    /// Unsubscribes from what was subscribed to by the same [`Topic`]. Ends in
    /// [`Event::Unsubscribed`], whether there was a subscription or not.
    ///
    /// # Errors
    ///
    /// Those of [`Session::subscribe`].
    pub fn unsubscribe(&mut self, now: Duration, topic: Topic) -> Result<(), RequestError> {
        check_size(unsubscribe(MsgId::NONE, &topic))?;
        self.check_ready()?;
        self.begin(now, Stage::Unsubscribe { topic });
        Ok(())
    }

    /// Forgets the request under way: it does not go on after the next [`Session::connect`]. What
    /// still comes for it is dropped.
    pub fn forget_request(&mut self) {
        self.request = None;
    }

    const fn check_ready(&self) -> Result<(), RequestError> {
        match (&self.request, self.state) {
            (Some(_), _) => Err(RequestError::Busy),
            (None, State::Active) => Ok(()),
            (
                None,
                State::Disconnected
                | State::Connecting(_)
                | State::FallingAsleep { .. }
                | State::Asleep
                | State::Awake
                | State::Leaving,
            ) => Err(RequestError::WrongState),
        }
    }

    fn begin_publish(&mut self, now: Duration, letter: Letter) {
        let topic = match &letter.message.topic {
            Topic::Predefined(id) => TopicRef::Predefined(*id),
            Topic::Short(octets) => TopicRef::Short(*octets),
            Topic::Name(name) => match self.topics.id(name) {
                Some(id) => TopicRef::Normal(id),
                None => {
                    let name = name.clone();
                    return self.begin(now, Stage::Register { name, letter });
                }
            },
        };
        if letter.message.qos.is_acknowledged() {
            self.begin(now, Stage::Publish { topic, letter, dup: false });
        } else {
            self.send(now, publish(MsgId::NONE, topic, &letter.message, false));
            self.events.push_back(Event::Published);
        }
    }

    fn begin(&mut self, now: Duration, stage: Stage) {
        let msg_id = self.next_msg_id();
        self.go_on(now, stage, msg_id);
    }

    /// Sends the message of a stage and waits for its answer.
    fn go_on(&mut self, now: Duration, stage: Stage, msg_id: MsgId) {
        let wait = Supervision::start(now, self.options.retry);
        let request = self.request.insert(Request { stage, msg_id, wait });
        let octets = super::encode(request.packet());
        self.transmit(now, octets);
    }

    /// After connecting again. The gateway knows the exchange if it kept the session; else the
    /// request begins again, because the topic ids are gone too.
    pub(super) fn resume(&mut self, now: Duration) {
        let Some(Request { stage, msg_id, .. }) = self.request.take() else { return };
        match stage {
            Stage::Publish { topic, letter, .. } if !self.options.clean_session => {
                self.go_on(now, Stage::Publish { topic, letter, dup: true }, msg_id);
            }
            Stage::Register { letter, .. } | Stage::Publish { letter, .. } => {
                self.begin_publish(now, letter);
            }
            // PUBREC said that the message arrived. PUBCOMP comes even if it was forgotten since.
            Stage::Release => self.go_on(now, stage, msg_id),
            Stage::Subscribe { .. } | Stage::Unsubscribe { .. } => self.begin(now, stage),
        }
    }

    /// The wait for an acknowledgment; there is none without a connection.
    pub(super) fn request_wait(&self) -> Option<Supervision> {
        let active = self.state == State::Active;
        self.request.as_ref().filter(|_| active).map(|request| request.wait)
    }

    pub(super) fn request_timed_out(&mut self, now: Duration) {
        let retry = self.options.retry;
        let Some(wait) = self.request_wait().filter(|wait| wait.due <= now) else { return };
        let Some(request) = &mut self.request else { return };
        let Some(again) = wait.again(now, retry) else {
            let unanswered = request.packet().msg_type();
            return self.give_up(unanswered, wait);
        };
        request.wait = again;
        if let Stage::Publish { dup, .. } = &mut request.stage {
            *dup = true;
        }
        let octets = super::encode(request.packet());
        self.transmit(now, octets);
    }

    /// Takes the request out if it is the one that `msg_id` acknowledges and `expected` says so.
    fn answered(&mut self, msg_id: MsgId, expected: fn(&Stage) -> bool) -> Option<Stage> {
        let active = self.state == State::Active;
        let is_it =
            |request: &mut Request| active && request.msg_id == msg_id && expected(&request.stage);
        self.request.take_if(is_it).map(|request| request.stage)
    }

    /// REGACK: the name has an id, so that the message can go out.
    pub(super) fn handle_regack(&mut self, now: Duration, regack: Regack) {
        let is_register = |stage: &Stage| matches!(stage, Stage::Register { .. });
        let Some(Stage::Register { name, letter }) = self.answered(regack.msg_id, is_register)
        else {
            return;
        };
        let Regack { topic_id, return_code, .. } = regack;
        let refusal = if !return_code.is_accepted() {
            return_code
        } else if !is_topic_id(topic_id) {
            ReturnCode::InvalidTopicId
        } else if self.topics.learn(topic_id, &name).is_err() {
            ReturnCode::Congestion
        } else {
            return self.begin_publish(now, letter);
        };
        self.events.push_back(Event::Rejected(refusal));
    }

    /// PUBACK: done at QoS 1, or refused at any QoS (SN-020). A topic id that the gateway does not
    /// know is registered again, once (SN-061).
    pub(super) fn handle_puback(&mut self, now: Duration, puback: Puback) {
        let Puback { topic_id, msg_id, return_code } = puback;
        if msg_id == MsgId::NONE {
            return self.handle_discarded(topic_id, return_code);
        }
        let expected = if return_code.is_accepted() { Stage::is_qos_1 } else { Stage::is_publish };
        let Some(Stage::Publish { topic, letter, .. }) = self.answered(msg_id, expected) else {
            return;
        };
        match (return_code, topic) {
            (ReturnCode::Accepted, _) => self.events.push_back(Event::Published),
            (ReturnCode::InvalidTopicId, TopicRef::Normal(id)) if !letter.registered_again => {
                self.topics.forget(id);
                self.begin_publish(now, Letter { registered_again: true, ..letter });
            }
            _ => self.events.push_back(Event::Rejected(return_code)),
        }
    }

    /// PUBACK for a message at QoS 0, whose request was over when it was out. The next one to this
    /// topic is registered again.
    fn handle_discarded(&mut self, topic_id: u16, return_code: ReturnCode) {
        let connected =
            matches!(self.state, State::Active | State::FallingAsleep { .. } | State::Leaving);
        if !connected || return_code.is_accepted() {
            return;
        }
        if return_code == ReturnCode::InvalidTopicId {
            self.topics.forget(topic_id);
        }
        self.events.push_back(Event::Discarded(return_code));
    }

    /// PUBREC: the gateway has the message. One that belongs to nothing is answered too, since the
    /// gateway waits for PUBREL.
    pub(super) fn handle_pubrec(&mut self, now: Duration, msg_id: MsgId) {
        if self.answered(msg_id, Stage::is_qos_2).is_some() {
            self.go_on(now, Stage::Release, msg_id);
        } else if self.state == State::Active {
            self.send(now, Pubrel { msg_id });
        }
    }

    /// PUBCOMP: a message at QoS 2 is done.
    pub(super) fn handle_pubcomp(&mut self, msg_id: MsgId) {
        let is_release = |stage: &Stage| matches!(stage, Stage::Release);
        if self.answered(msg_id, is_release).is_some() {
            self.events.push_back(Event::Published);
        }
    }

    /// SUBACK: for a plain name with the id that its messages will carry (SN 5.4.16).
    pub(super) fn handle_suback(&mut self, suback: Suback) {
        let is_subscribe = |stage: &Stage| matches!(stage, Stage::Subscribe { .. });
        let Some(Stage::Subscribe { topic, .. }) = self.answered(suback.msg_id, is_subscribe)
        else {
            return;
        };
        if !suback.return_code.is_accepted() {
            self.events.push_back(Event::Rejected(suback.return_code));
            return;
        }
        if let Topic::Name(name) = topic
            && is_topic_id(suback.topic_id)
            && !name.contains(['+', '#'])
        {
            // Without room its messages are refused, and the gateway registers the name.
            let _ = self.topics.learn(suback.topic_id, &name);
        }
        self.events.push_back(Event::Subscribed(suback.qos));
    }

    /// UNSUBACK.
    pub(super) fn handle_unsuback(&mut self, msg_id: MsgId) {
        let is_unsubscribe = |stage: &Stage| matches!(stage, Stage::Unsubscribe { .. });
        if self.answered(msg_id, is_unsubscribe).is_some() {
            self.events.push_back(Event::Unsubscribed);
        }
    }
}

impl Request {
    fn packet(&self) -> Packet<'_> {
        match &self.stage {
            Stage::Register { name, .. } => register(self.msg_id, name).into(),
            Stage::Publish { topic, letter, dup } => {
                publish(self.msg_id, *topic, &letter.message, *dup).into()
            }
            Stage::Release => Pubrel { msg_id: self.msg_id }.into(),
            Stage::Subscribe { topic, qos } => subscribe(self.msg_id, topic, *qos).into(),
            Stage::Unsubscribe { topic } => unsubscribe(self.msg_id, topic).into(),
        }
    }
}

impl Stage {
    const fn is_publish(&self) -> bool {
        matches!(self, Self::Publish { .. })
    }

    fn is_qos_1(&self) -> bool {
        matches!(self, Self::Publish { letter, .. } if letter.message.qos == QoS::AtLeastOnce)
    }

    fn is_qos_2(&self) -> bool {
        matches!(self, Self::Publish { letter, .. } if letter.message.qos == QoS::ExactlyOnce)
    }
}

/// The id is for the gateway to give (SN-015).
const fn register(msg_id: MsgId, name: &str) -> Register<'_> {
    Register { topic_id: 0, msg_id, topic_name: name.as_bytes() }
}

const fn publish(msg_id: MsgId, topic: TopicRef, message: &Message, dup: bool) -> Publish<'_> {
    let Message { qos, retain, .. } = *message;
    Publish { dup, qos, retain, topic, msg_id, data: message.payload.as_slice() }
}

const fn subscribe(msg_id: MsgId, topic: &Topic, qos: QoS) -> Subscribe<'_> {
    Subscribe { dup: false, qos, msg_id, topic: selector(topic) }
}

const fn unsubscribe(msg_id: MsgId, topic: &Topic) -> Unsubscribe<'_> {
    Unsubscribe { msg_id, topic: selector(topic) }
}

const fn selector(topic: &Topic) -> TopicSelector<'_> {
    match topic {
        Topic::Name(name) => TopicSelector::Name(name.as_bytes()),
        Topic::Predefined(id) => TopicSelector::Predefined(*id),
        Topic::Short(octets) => TopicSelector::Short(*octets),
    }
}
