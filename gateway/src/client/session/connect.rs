//! Connecting, and leaving.
//!
//! ```text
//! CONNECT (no will) →                     CONNECT (will) →
//!                   ← CONNACK                            ← WILLTOPICREQ
//!                                         WILLTOPIC      →
//! DISCONNECT        →                                    ← WILLMSGREQ
//!                   ← DISCONNECT          WILLMSG        →
//!                                                        ← CONNACK
//! ```

use core::time::Duration;

use sn_codec::v12::{Connect, MsgType, Packet, ReturnCode, WillMsg, WillTarget, WillTopic};

use super::receive::Unreleased;
use super::topics::Topics;
use super::vocabulary::{Event, Options, RequestError, Will};
use super::{Session, State, Step, check_size};

impl Session {
    /// Begins to connect (SN-045). Ends in [`Event::Connected`], [`Event::Refused`],
    /// [`Event::Ended`] where the gateway answers DISCONNECT instead, or [`Event::Lost`].
    ///
    /// # Errors
    ///
    /// [`RequestError::WrongState`] unless disconnected; [`RequestError::TooLong`] or
    /// [`RequestError::NoWillTopic`] for options that cannot be told to a gateway.
    pub fn connect(&mut self, now: Duration) -> Result<(), RequestError> {
        if self.state != State::Disconnected {
            return Err(RequestError::WrongState);
        }
        check_size(self.options.connect())?;
        if let Some(will) = &self.options.will {
            if will.topic.is_empty() {
                return Err(RequestError::NoWillTopic);
            }
            check_size(will.will_topic())?;
            check_size(will.will_msg())?;
        }
        self.ask(now, State::Connecting(Step::Connect));
        Ok(())
    }

    /// Begins to leave: the gateway keeps what it keeps, and does not publish the will. Ends in
    /// [`Event::Disconnected`], or in [`Event::Lost`] if DISCONNECT is not answered.
    ///
    /// # Errors
    ///
    /// [`RequestError::WrongState`] if there is nothing to leave.
    pub fn disconnect(&mut self, now: Duration) -> Result<(), RequestError> {
        match self.state {
            State::Disconnected | State::Leaving => Err(RequestError::WrongState),
            State::Connecting(_)
            | State::Active
            | State::FallingAsleep { .. }
            | State::Asleep
            | State::Awake => {
                self.ping = None;
                self.ask(now, State::Leaving);
                Ok(())
            }
        }
    }

    pub(super) fn send_step(&mut self, now: Duration, step: Step) {
        let packet: Option<Packet<'_>> = match step {
            Step::Connect => Some(self.options.connect().into()),
            Step::WillTopic => self.options.will.as_ref().map(|will| will.will_topic().into()),
            Step::WillMsg => self.options.will.as_ref().map(|will| will.will_msg().into()),
        };
        if let Some(octets) = packet.map(super::encode) {
            self.transmit(now, octets);
        }
    }

    /// WILLTOPICREQ. It is answered as often as it comes while connecting: a CONNECT that was late
    /// on its way makes the gateway begin again.
    pub(super) fn send_will_topic(&mut self, now: Duration) {
        self.answer_with(now, Step::WillTopic);
    }

    /// WILLMSGREQ.
    pub(super) fn send_will_msg(&mut self, now: Duration) {
        self.answer_with(now, Step::WillMsg);
    }

    fn answer_with(&mut self, now: Duration, step: Step) {
        if matches!(self.state, State::Connecting(_)) && self.options.will.is_some() {
            self.ask(now, State::Connecting(step));
        }
    }

    /// CONNACK: the connection stands, or not.
    pub(super) fn handle_connack(&mut self, now: Duration, return_code: ReturnCode) {
        if !matches!(self.state, State::Connecting(_)) {
            return;
        }
        if !return_code.is_accepted() {
            self.end(Event::Refused(return_code));
            return;
        }
        self.enter(State::Active);
        if self.options.clean_session {
            self.topics = Topics::default();
            self.unreleased = Unreleased::default();
        }
        self.events.push_back(Event::Connected);
        self.resume(now);
    }

    /// DISCONNECT: the answer to ours, or the gateway does not know this client (any more). A
    /// client that asked for it cannot tell the two apart. Nothing is heard while asleep.
    pub(super) fn handle_disconnect(&mut self) {
        match self.state {
            State::Disconnected | State::Asleep => {}
            State::Leaving => self.end(Event::Disconnected),
            State::FallingAsleep { .. } => {
                self.enter(State::Asleep);
                self.events.push_back(Event::Asleep);
            }
            State::Connecting(_) | State::Active | State::Awake => self.end(Event::Ended),
        }
    }
}

impl Step {
    pub(super) const fn msg_type(self) -> MsgType {
        match self {
            Self::Connect => MsgType::Connect,
            Self::WillTopic => MsgType::WillTopic,
            Self::WillMsg => MsgType::WillMsg,
        }
    }
}

impl Options {
    const fn connect(&self) -> Connect<'_> {
        Connect {
            will: self.will.is_some(),
            clean_session: self.clean_session,
            protocol_id: Connect::PROTOCOL_ID,
            keep_alive_s: self.keep_alive_s,
            client_id: self.client_id.as_bytes(),
        }
    }
}

impl Will {
    const fn will_topic(&self) -> WillTopic<'_> {
        let Self { qos, retain, .. } = *self;
        WillTopic { target: Some(WillTarget { qos, retain, topic_name: self.topic.as_bytes() }) }
    }

    const fn will_msg(&self) -> WillMsg<'_> {
        WillMsg { message: self.payload.as_slice() }
    }
}
