//! One client's side of MQTT-SN 1.2, without a socket and a clock.
//!
//! ```text
//!              connect                        sleep                        wake
//!  Disconnected ─────▶ Connecting ─▶ Active ───────▶ FallingAsleep ─▶ Asleep ───▶ Awake
//!       ▲                            │                                  ▲            │
//!       │   disconnect, DISCONNECT,  │                                  └────────────┘
//!       └─── no answer any more ─────┴───────────────────────────────────── PINGRESP
//! ```
//!
//! Datagrams go in with [`Session::handle_datagram`] and come out of [`Session::poll_transmit`];
//! what they mean comes out of [`Session::poll_event`]. Whoever owns the session drains both after
//! each call, and calls [`Session::handle_timeout`] when [`Session::next_timeout`] is reached.
//! Times are durations since a moment of the owner's choice, and never go back.
//!
//! One request is under way at a time: the protocol allows one of each kind (SN-058, SN-064,
//! SN-075), and a single timer is enough then. A request survives the connection it was made in,
//! and goes on after the next [`Session::connect`].
//!
//! Every message that is to be answered is sent again after T_retry, N_retry times, and then the
//! connection counts as gone (SN-089). Only PUBLISH says so with DUP (SN-006).

mod connect;
mod receive;
mod request;
mod sleep;
mod supervision;
mod topics;
mod vocabulary;

use core::time::Duration;
use std::collections::VecDeque;

use sn_codec::v12::{self, MsgType, Packet};
use sn_codec::{DecodeError, MsgId};

pub use vocabulary::{DATAGRAM_MAX, Event, Message, Options, RequestError, Retry, Topic, Will};

use receive::Unreleased;
use request::Request;
use supervision::Supervision;
use topics::Topics;

/// A client.
#[derive(Debug)]
pub struct Session {
    options: Options,
    state: State,
    /// The wait for the answer that ends the state.
    wait: Option<Supervision>,
    /// What was asked for and is not done yet.
    request: Option<Request>,
    /// A PINGREQ of an active client that is not answered yet.
    ping: Option<Supervision>,
    topics: Topics,
    unreleased: Unreleased,
    last_msg_id: u16,
    sent_at: Duration,
    heard_at: Duration,
    outbox: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Disconnected,
    Connecting(Step),
    Active,
    FallingAsleep { duration_s: u16 },
    Asleep,
    Awake,
    Leaving,
}

/// What was sent last in the dialogue of connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connect,
    WillTopic,
    WillMsg,
}

impl Session {
    /// A client that is not connected.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            state: State::Disconnected,
            wait: None,
            request: None,
            ping: None,
            topics: Topics::default(),
            unreleased: Unreleased::default(),
            last_msg_id: 0,
            sent_at: Duration::ZERO,
            heard_at: Duration::ZERO,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whether nothing is under way that was asked for by [`publish`](Self::publish),
    /// [`subscribe`](Self::subscribe) or [`unsubscribe`](Self::unsubscribe).
    pub const fn is_idle(&self) -> bool {
        self.request.is_none()
    }

    /// A datagram of the gateway came. Makes at most two datagrams and two events.
    ///
    /// What does not belong to the state is dropped, as are messages that only gateways receive.
    ///
    /// # Errors
    ///
    /// It is not a message; nothing has changed then.
    pub fn handle_datagram(&mut self, now: Duration, octets: &[u8]) -> Result<(), DecodeError> {
        let packet = Packet::decode(octets)?;
        self.heard_at = now;
        self.stay_awake(now, &packet);
        match packet {
            Packet::Connack(connack) => self.handle_connack(now, connack.return_code),
            Packet::WillTopicReq(_) => self.send_will_topic(now),
            Packet::WillMsgReq(_) => self.send_will_msg(now),
            Packet::Register(register) => self.handle_register(now, register),
            Packet::Publish(publish) => self.handle_publish(now, &publish),
            Packet::Pubrel(pubrel) => self.handle_pubrel(now, pubrel.msg_id),
            Packet::Regack(regack) => self.handle_regack(now, regack),
            Packet::Puback(puback) => self.handle_puback(now, puback),
            Packet::Pubrec(pubrec) => self.handle_pubrec(now, pubrec.msg_id),
            Packet::Pubcomp(pubcomp) => self.handle_pubcomp(pubcomp.msg_id),
            Packet::Suback(suback) => self.handle_suback(suback),
            Packet::Unsuback(unsuback) => self.handle_unsuback(unsuback.msg_id),
            Packet::Pingreq(_) => self.answer_ping(now),
            Packet::Pingresp(_) => self.handle_pingresp(),
            Packet::Disconnect(_) => self.handle_disconnect(),
            // Gateways come and go without this client, which was told where its own is.
            Packet::Advertise(_) | Packet::SearchGw(_) | Packet::GwInfo(_) => {}
            // Answers to what this client never asks for.
            Packet::WillTopicResp(_) | Packet::WillMsgResp(_) => {}
            // Only gateways receive these.
            Packet::Connect(_)
            | Packet::WillTopic(_)
            | Packet::WillMsg(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::WillTopicUpd(_)
            | Packet::WillMsgUpd(_) => {}
        }
        Ok(())
    }

    /// Sends again what is due, gives up what was sent often enough, and keeps the connection
    /// alive. Makes at most three datagrams and one event.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.state_timed_out(now);
        self.request_timed_out(now);
        self.ping_timed_out(now);
        if self.keep_alive_due().is_some_and(|due| due <= now) {
            self.send_ping(now);
        }
    }

    /// When [`Session::handle_timeout`] wants to be called; `None`: not before something else
    /// happens.
    pub fn next_timeout(&self) -> Option<Duration> {
        let waits = [self.wait, self.request_wait(), self.ping];
        let due = waits.into_iter().flatten().map(|wait| wait.due);
        due.chain(self.keep_alive_due()).min()
    }

    /// The next datagram for the gateway.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Encodes a message whose size was checked when it was asked for.
    fn send<'a>(&mut self, now: Duration, packet: impl Into<Packet<'a>>) {
        let octets = encode(packet.into());
        self.transmit(now, octets);
    }

    fn transmit(&mut self, now: Duration, octets: Vec<u8>) {
        self.sent_at = now;
        self.outbox.push_back(octets);
    }

    /// The number of the next exchange; 0x0000 is none (SN-018).
    fn next_msg_id(&mut self) -> MsgId {
        self.last_msg_id = self.last_msg_id.checked_add(1).unwrap_or(1);
        MsgId(self.last_msg_id)
    }

    /// Whether the gateway may send messages: not while the radio of a sleeping device is off, and
    /// not any more once the client leaves, so that what it does not acknowledge stays with the
    /// gateway.
    const fn is_listening(&self) -> bool {
        match self.state {
            State::Active | State::FallingAsleep { .. } | State::Awake => true,
            State::Disconnected | State::Connecting(_) | State::Asleep | State::Leaving => false,
        }
    }

    /// Enters a state that waits for nothing.
    const fn enter(&mut self, state: State) {
        self.state = state;
        self.wait = None;
    }

    /// Enters a state by sending the message whose answer will end it.
    fn ask(&mut self, now: Duration, state: State) {
        self.state = state;
        self.wait = Some(Supervision::start(now, self.options.retry));
        self.send_question(now);
    }

    fn send_question(&mut self, now: Duration) {
        match self.state {
            State::Disconnected | State::Active | State::Asleep => {}
            State::Connecting(step) => self.send_step(now, step),
            State::FallingAsleep { duration_s } => {
                self.send(now, v12::Disconnect { duration_s: Some(duration_s) });
            }
            State::Awake => self.send_wake_up(now),
            State::Leaving => self.send(now, v12::Disconnect { duration_s: None }),
        }
    }

    fn state_timed_out(&mut self, now: Duration) {
        let Some(wait) = self.wait.filter(|wait| wait.due <= now) else { return };
        let again = wait.again(now, self.options.retry);
        if again.is_some() {
            self.wait = again;
            self.send_question(now);
            return;
        }
        match self.state {
            State::Disconnected | State::Active | State::Asleep => {}
            State::Connecting(step) => self.give_up(step.msg_type(), wait),
            State::FallingAsleep { .. } | State::Leaving => self.give_up(MsgType::Disconnect, wait),
            State::Awake => self.end_visit(false),
        }
    }

    /// The gateway does not answer: the connection is gone.
    fn give_up(&mut self, unanswered: MsgType, wait: Supervision) {
        self.end(Event::Lost { unanswered, tries: wait.tries });
    }

    /// There is no connection any more. The request under way waits for the next one.
    fn end(&mut self, event: Event) {
        self.enter(State::Disconnected);
        self.ping = None;
        self.events.push_back(event);
    }
}

fn encode(packet: Packet<'_>) -> Vec<u8> {
    let mut octets = vec![0; packet.encoded_len()];
    packet.encode(&mut octets).expect("it was checked when it was asked for");
    octets
}

/// Whether a message fits into a datagram.
fn check_size<'a>(packet: impl Into<Packet<'a>>) -> Result<(), RequestError> {
    let octets = packet.into().encoded_len();
    if octets > DATAGRAM_MAX { Err(RequestError::TooLong { octets }) } else { Ok(()) }
}
