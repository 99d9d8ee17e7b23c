//! Keeping the connection alive, and sleeping in it.
//!
//! ```text
//! DISCONNECT(duration) →
//!                      ← DISCONNECT             asleep: the radio is off, the gateway keeps all
//! PINGREQ(client id)   →                        awake
//!                      ← [REGISTER] PUBLISH …
//! [REGACK] PUBACK …    →
//!                      ← PINGRESP               nothing is left: asleep
//! ```

use core::time::Duration;

use sn_codec::v12::{MsgType, Packet, Pingreq, Pingresp};

use super::supervision::Supervision;
use super::vocabulary::{Event, RequestError};
use super::{Session, State};

impl Session {
    /// Begins to sleep for at most `duration_s` seconds between two visits (SN 6.14). Ends in
    /// [`Event::Asleep`], or in [`Event::Lost`].
    ///
    /// # Errors
    ///
    /// [`RequestError::WrongState`] unless active or asleep, [`RequestError::Busy`] during a
    /// request.
    pub fn sleep(&mut self, now: Duration, duration_s: u16) -> Result<(), RequestError> {
        if !matches!(self.state, State::Active | State::Asleep) {
            return Err(RequestError::WrongState);
        }
        if !self.is_idle() {
            return Err(RequestError::Busy);
        }
        self.ping = None;
        self.ask(now, State::FallingAsleep { duration_s });
        Ok(())
    }

    /// Wakes up to collect what the gateway kept (SN 6.14). Messages come as events; the visit ends
    /// in [`Event::VisitOver`], or in [`Event::Ended`] if the gateway forgot this client.
    ///
    /// Nothing can be published or subscribed to in a visit: that takes a connection (SN-101).
    ///
    /// # Errors
    ///
    /// [`RequestError::WrongState`] unless asleep.
    pub fn wake(&mut self, now: Duration) -> Result<(), RequestError> {
        if self.state != State::Asleep {
            return Err(RequestError::WrongState);
        }
        self.ask(now, State::Awake);
        Ok(())
    }

    /// Asks whether the gateway is there, and whether it has taken in what was sent so far:
    /// [`Event::Pong`], or [`Event::Lost`].
    ///
    /// # Errors
    ///
    /// [`RequestError::WrongState`] unless active.
    pub fn ping(&mut self, now: Duration) -> Result<(), RequestError> {
        if self.state != State::Active {
            return Err(RequestError::WrongState);
        }
        self.send_ping(now);
        Ok(())
    }

    /// When a PINGREQ has to go out: within the keep alive after either side was heard last
    /// (SN-083), with a quarter of it in hand.
    pub(super) fn keep_alive_due(&self) -> Option<Duration> {
        let keep_alive = Duration::from_secs(u64::from(self.options.keep_alive_s));
        let supervised = self.state == State::Active && self.ping.is_none();
        (supervised && !keep_alive.is_zero())
            .then(|| self.sent_at.min(self.heard_at) + keep_alive * 3 / 4)
    }

    pub(super) fn send_ping(&mut self, now: Duration) {
        self.ping = Some(Supervision::start(now, self.options.retry));
        self.send(now, Pingreq { client_id: &[] });
    }

    pub(super) fn ping_timed_out(&mut self, now: Duration) {
        let Some(wait) = self.ping.filter(|wait| wait.due <= now) else { return };
        self.ping = wait.again(now, self.options.retry);
        match self.ping {
            Some(_) => self.send(now, Pingreq { client_id: &[] }),
            None => self.give_up(MsgType::Pingreq, wait),
        }
    }

    /// PINGREQ of the gateway (SN-085).
    pub(super) fn answer_ping(&mut self, now: Duration) {
        if self.is_listening() {
            self.send(now, Pingresp);
        }
    }

    /// PINGRESP: the answer to a ping, or the end of a visit.
    pub(super) fn handle_pingresp(&mut self) {
        match self.state {
            State::Active if self.ping.take().is_some() => self.events.push_back(Event::Pong),
            State::Awake => self.end_visit(true),
            State::Disconnected
            | State::Connecting(_)
            | State::Active
            | State::FallingAsleep { .. }
            | State::Asleep
            | State::Leaving => {}
        }
    }

    pub(super) fn send_wake_up(&mut self, now: Duration) {
        let octets = super::encode(Pingreq { client_id: self.options.client_id.as_bytes() }.into());
        self.transmit(now, octets);
    }

    /// As long as messages come, the gateway has not forgotten the visit (SN-098).
    pub(super) fn stay_awake(&mut self, now: Duration, packet: &Packet<'_>) {
        if self.state == State::Awake && packet.msg_type() != MsgType::Pingresp {
            self.wait = Some(Supervision::start(now, self.options.retry));
        }
    }

    /// Asleep again. What was not collected stays with the gateway for the next visit (SN-099).
    pub(super) fn end_visit(&mut self, complete: bool) {
        self.enter(State::Asleep);
        self.events.push_back(Event::VisitOver { complete });
    }
}
