//! The beginning and the end of links and sessions.
//!
//! State lasts as long as its session [MQTT-4.1.0-1], and a session at least as long as its link
//! [MQTT-4.1.0-2].

use core::time::Duration;

use super::Broker;
use super::expire::Timer;
use super::output::{Answer, Control};
use super::route::is_in_format;
use crate::api::{
    Connect, ConnectWill, Credit, Dialect, Disconnect, Durability, LinkId, Lsn, Will,
};
use crate::key::Key;
use crate::reason::ReasonCode;
use crate::record::NO_SESSION;
use crate::session::{Link, Pace, Session, StoredWill};
use crate::share::Ability;
use crate::time::{Now, UnixMillis};
use crate::topic::{self, TopicBuf};

/// How a link ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum LinkEnd {
    /// The client said so.
    Orderly(Disconnect),
    /// It did not say so.
    Lost,
    /// Another link has the session now; it goes on even if it was to end with its link.
    TakenOver { goes_on: bool },
}

impl Broker {
    /// Gives a session of an MQTT-SN client that comes back from its records a link, as if the one
    /// that it had were never lost: there is no greeting, the will stays as it is, and what is in
    /// flight is sent again. Silence counts from now on. `false` if there is no such session, or it
    /// belongs to a client that speaks otherwise by now.
    ///
    /// To be called between [`Broker::restore`] and [`Broker::finish_restore`], for which all other
    /// sessions have lost their links.
    ///
    /// # Panics
    /// If there is such a session and the restore is over.
    pub fn relink(
        &mut self,
        now: Now,
        link: LinkId,
        client_id: &str,
        keep_alive: Option<Duration>,
        credit: Credit,
        will_on_takeover: bool,
    ) -> bool {
        self.now = now;
        let Some(key) = self.by_client_id.get(client_id).copied() else { return false };
        assert!(self.restoring.is_some(), "a session is linked again before the restore is over");
        let inflight_max = self.config.limits.inflight_max;
        let session = self.session(key);
        if session.link.is_some() || !session.dialect.is_sn() || session.expiry_s == 0 {
            return false;
        }
        session.window.len_max = inflight_max;
        session.link = Some(Link {
            id: link,
            credit,
            greeted: true,
            subscribing: 0,
            keep_alive: None,
            keep_alive_timer: None,
            last_seen: now.mono,
            pace: Pace::default(),
            will_on_takeover,
            durability: Durability::Gated,
            last_answer: Lsn(0),
        });
        self.by_link.insert(link, key);
        self.connected_max = self.connected_max.max(self.by_link.len());
        self.supervise(key, keep_alive);
        self.set_credit(link, credit);
        true
    }

    /// Answers CONNECT; on success the link belongs to a session from here on.
    pub(super) fn connect(&mut self, link: LinkId, connect: Connect<'_>) {
        if self.by_link.contains_key(&link) {
            // A second CONNECT on one link is for the dialect to find; a dialect that asks again
            // under the same name has lost count of its links.
            self.lost(self.now, link);
            self.refuse(link, ReasonCode::ProtocolError);
            return;
        }
        let existing = self.by_client_id.get(connect.client_id).copied();
        let kept = existing.map(|key| self.session(key));
        let kept = kept.filter(|session| session.number != NO_SESSION);
        let kept_expiry_s = kept.map(|session| session.expiry_s);
        if let Err(reason) = self.admit(&connect, existing) {
            self.refuse(link, reason);
            return;
        }
        // The request is judged before anything is discarded [MQTT-3.1.4-3], [MQTT5-3.1.4-4].
        let resumed = existing.and_then(|key| self.resume(key, &connect));
        let (key, assigned_client_id) = match resumed {
            Some(key) => (key, None),
            None => self.create(&connect),
        };
        self.attach(key, link, &connect);
        self.stats.connects += 1;
        let is_refusing = self.gate.is_refusing();
        let session = self.session(key);
        let session_expiry_s = session.expiry_s;
        let is_kept = kept_expiry_s.is_some() || session.number != NO_SESSION;
        let is_same = resumed.is_some() && kept_expiry_s == Some(session_expiry_s);
        // A session that ends with its link promises nothing but its will. While the disk refuses
        // that is not worth the wait, and who comes back to a session that is kept as it was is let
        // in as well: to take its messages, which may be what fills the disk. No other answer is
        // due on a new link.
        let is_promise =
            if is_refusing { is_kept && !is_same } else { is_kept || session.will.is_some() };
        let control = Control::Send {
            link,
            packet: Answer::ConnAck {
                // [MQTT5-3.1.4-5]
                reason: ReasonCode::Success,
                // Never after a clean start [MQTT-3.2.2-1], [MQTT5-3.2.2-2], [MQTT5-3.2.2-3].
                session_present: resumed.is_some(),
                assigned_client_id,
                session_expiry_s,
            },
        };
        if is_promise {
            self.answer(key, control);
        } else {
            self.control.push_back(control);
        }
    }

    /// Ends the link of a client because somebody wants it to end, with
    /// [`ReasonCode::AdministrativeAction`] for example. As if the link had broken: its session
    /// stays for as long as it may, and its will is published. `false` if it has no link.
    pub fn end_client(&mut self, now: Now, client_id: &str, reason: ReasonCode) -> bool {
        self.now = now;
        let Some(key) = self.by_client_id.get(client_id).copied() else { return false };
        let has_link = self.session(key).link.is_some();
        self.cut_off(key, reason);
        has_link
    }

    /// The client ends its link [MQTT-3.14.4-3]; should it not close its end, we do
    /// [MQTT-3.14.4-1].
    pub(super) fn disconnect(&mut self, key: Key<Session>, link: LinkId, disconnect: Disconnect) {
        if let Some(expiry_s) = disconnect.session_expiry_s {
            let expiry_s = self.cut_expiry(expiry_s);
            self.session(key).expiry_s = expiry_s;
        }
        let close = Control::Close { link, reason: ReasonCode::Success };
        // Behind the answers that still wait, which a connection takes until it closes.
        if self.has_waiting(key) && !self.session(key).dialect.is_sn() {
            self.answer(key, close);
        } else {
            self.control.push_back(close);
        }
        if self.sessions.get(key).is_none() {
            return;
        }
        self.end_link(key, LinkEnd::Orderly(disconnect));
    }

    /// As long as a session is wanted to outlive its link, or as long as it may.
    fn cut_expiry(&mut self, wanted_s: u32) -> u32 {
        let expiry_s = wanted_s.min(self.config.limits.session_expiry_max_s);
        let high = &mut self.stats.high.session_expiry_s;
        *high = expiry_s.max(*high);
        expiry_s
    }

    /// Takes the link off its session, deals with the will, and lets the session end or wait.
    pub(super) fn end_link(&mut self, key: Key<Session>, end: LinkEnd) {
        let session = self.session(key);
        let Some(link) = session.link.take() else { return };
        let expiry_s = session.expiry_s;
        self.by_link.remove(&link.id);
        if let Some(timer) = link.keep_alive_timer {
            self.timers.cancel(timer);
        }
        match end {
            LinkEnd::Lost => self.release_will(key),
            LinkEnd::TakenOver { .. } if link.will_on_takeover => self.release_will(key),
            LinkEnd::TakenOver { .. } => {}
            LinkEnd::Orderly(Disconnect { keep_will: true, .. }) => self.disarm_will(key),
            // Only an end without a reason takes the will with it [MQTT5-3.14.4-3].
            LinkEnd::Orderly(Disconnect { reason: ReasonCode::Success, .. }) => {
                self.forget_will(key);
            }
            LinkEnd::Orderly(_) => self.release_will(key),
        }
        if matches!(end, LinkEnd::TakenOver { goes_on: true }) {
            return;
        }
        if expiry_s == 0 {
            self.end_session(key);
        } else {
            self.hand_on_all(key);
            let deadline = self.now.mono + Duration::from_secs(u64::from(expiry_s));
            let timer = self.timers.insert(deadline, Timer::SessionExpiry(key));
            let gone_since = self.now.unix;
            let session = self.session(key);
            session.expiry_timer = Some(timer);
            session.gone_since = gone_since;
            self.record_session(key);
        }
    }

    /// Forgets a session with all that belongs to it.
    pub(super) fn end_session(&mut self, key: Key<Session>) {
        // A will that was delayed is published now, as the session ends before its time.
        self.release_delayed_will(key);
        self.forget_will(key);
        let Some(mut session) = self.sessions.remove(key) else { return };
        assert!(session.link.is_none(), "a session ends after its link");
        if let Some(timer) = session.expiry_timer {
            self.timers.cancel(timer);
        }
        self.forget_session(&session);
        for (node, _) in core::mem::take(&mut session.subscriptions) {
            self.trie.unsubscribe(node, key);
        }
        for (share, _) in core::mem::take(&mut session.shares) {
            self.leave_share(share, key);
        }
        for entry in session.window.take_shared() {
            self.hand_on(key, entry.message, entry.share, Ability::Later);
            self.release_in_flight(key, entry);
        }
        while let Some(entry) = session.queue.pop(&self.messages) {
            let is_handed_on = self.hand_on(key, entry.message, entry.share, Ability::Later);
            self.stats.dropped_session_end += u64::from(!is_handed_on);
            self.discard(key, entry);
        }
        while let Some(entry) = session.window.pop() {
            self.release_in_flight(key, entry);
        }
        if session.is_dropper {
            self.forget_dropper(&session.client_id);
        }
        self.by_client_id.remove(&session.client_id);
        self.control.push_back(Control::SessionEnded { client_id: session.client_id });
    }

    /// Whether the request may have a session at all.
    fn admit(
        &self,
        connect: &Connect<'_>,
        existing: Option<Key<Session>>,
    ) -> Result<(), ReasonCode> {
        let limits = &self.config.limits;
        if connect.client_id.len() > limits.client_id_bytes_max {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        if let ConnectWill::Set(will) = &connect.will {
            if will.topic.is_reserved() {
                return Err(ReasonCode::NotAuthorized);
            }
            if topic::is_deeper_than(will.topic.as_str(), limits.topic_levels_max) {
                return Err(ReasonCode::TopicNameInvalid);
            }
            let validates = self.config.validate_payload_format;
            if validates && !is_in_format(will.properties, will.payload) {
                return Err(ReasonCode::PayloadFormatInvalid);
            }
        }
        let is_out_of_memory = self.is_out_of_memory();
        let Some(existing) = existing else {
            let is_full = self.sessions.len() >= limits.sessions_max;
            return if is_full || is_out_of_memory {
                Err(ReasonCode::QuotaExceeded)
            } else {
                Ok(())
            };
        };
        // Who has a session may come back to it, but not with a larger will.
        if let (true, ConnectWill::Set(will)) = (is_out_of_memory, &connect.will) {
            let stored = self.sessions.get(existing).and_then(|session| session.will.as_ref());
            if StoredWill::from(will).memory() > stored.map_or(0, |will| will.memory()) {
                return Err(ReasonCode::QuotaExceeded);
            }
        }
        Ok(())
    }

    /// Says no, and closes [MQTT5-3.1.4-2].
    fn refuse(&mut self, link: LinkId, reason: ReasonCode) {
        self.stats.connects_refused += 1;
        self.control.push_back(Control::Send {
            link,
            packet: Answer::ConnAck {
                reason,
                session_present: false,
                assigned_client_id: None,
                session_expiry_s: 0,
            },
        });
        self.control.push_back(Control::Close { link, reason });
    }

    /// Takes an existing session over [MQTT-3.1.4-2] and keeps it, with its subscriptions (SN-053),
    /// unless it is to be discarded [MQTT-3.1.2-6] or ends with its link.
    fn resume(&mut self, key: Key<Session>, connect: &Connect<'_>) -> Option<Key<Session>> {
        let session = self.session(key);
        if let Some(link) = &session.link {
            let old = link.id;
            // An MQTT-SN link is no connection that could close: as long as the session lives, a
            // CONNECT without CleanSession keeps it (SN-050, SN-051, SN-100).
            let goes_on =
                session.dialect.is_sn() && connect.dialect.is_sn() && !connect.clean_start;
            self.stats.takeovers += 1;
            let reason = ReasonCode::SessionTakenOver;
            self.control.push_back(Control::Close { link: old, reason });
            self.end_link(key, LinkEnd::TakenOver { goes_on });
        }
        self.sessions.get(key)?;
        if connect.clean_start {
            self.end_session(key);
            return None;
        }
        Some(key)
    }

    /// Makes a session, and an identifier that nobody has if the client left that to us
    /// [MQTT-3.1.3-6], [MQTT5-3.2.2-16].
    fn create(&mut self, connect: &Connect<'_>) -> (Key<Session>, Option<Box<str>>) {
        let mut assigned = None;
        let mut client_id: Box<str> = connect.client_id.into();
        while client_id.is_empty() || (assigned.is_some() && self.is_known(&client_id)) {
            client_id = format!("auto-{:016x}", self.rng.u64(..)).into();
            assigned = Some(client_id.clone());
        }
        let session = Session::new(&client_id, connect.dialect, connect.queue);
        let key = self.sessions.insert(session);
        let previous = self.by_client_id.insert(client_id, key);
        assert!(previous.is_none(), "a client identifier has one session");
        (key, assigned)
    }

    fn is_known(&self, client_id: &str) -> bool {
        self.by_client_id.contains_key(client_id)
    }

    /// Gives the session its new link, will and bounds.
    fn attach(&mut self, key: Key<Session>, link: LinkId, connect: &Connect<'_>) {
        self.by_link.insert(link, key);
        self.connected_max = self.connected_max.max(self.by_link.len());
        let expiry_s = self.cut_expiry(connect.session_expiry_s);
        let (last_seen, inflight_max) = (self.now.mono, self.config.limits.inflight_max);
        let session = self.session(key);
        session.dialect = connect.dialect;
        session.expiry_s = expiry_s;
        session.queue.set_limits(connect.queue);
        session.window.set_id_max(id_max(connect.dialect));
        session.window.len_max = inflight_max;
        // Everything unacknowledged is sent again [MQTT-4.4.0-1].
        session.window.resend_all();
        session.link = Some(Link {
            id: link,
            credit: connect.credit,
            greeted: false,
            subscribing: 0,
            keep_alive: None,
            keep_alive_timer: None,
            last_seen,
            pace: Pace::default(),
            will_on_takeover: connect.will_on_takeover,
            durability: connect.durability,
            last_answer: Lsn(0),
        });
        if let Some(timer) = session.expiry_timer.take() {
            self.timers.cancel(timer);
        }
        self.record_session(key);
        match &connect.will {
            ConnectWill::None => self.forget_will(key),
            ConnectWill::Keep => self.arm_will(key),
            ConnectWill::Set(will) => self.set_will(key, StoredWill::from(will)),
        }
        self.supervise(key, connect.keep_alive);
        self.set_credit(link, connect.credit);
    }
}

/// The highest identifier that clients are given. Some MQTT-SN clients keep them as signed numbers:
/// theirs stay below the sign.
pub(super) const fn id_max(dialect: Dialect) -> u16 {
    if dialect.is_sn() { 0x7FFF } else { u16::MAX }
}

impl From<&Will<'_>> for StoredWill {
    fn from(will: &Will<'_>) -> Self {
        Self {
            topic: Some(TopicBuf::from(will.topic)),
            payload: will.payload.to_vec(),
            qos: will.qos,
            retain: will.retain,
            delay_s: will.delay_s,
            properties: will.properties.as_octets().to_vec(),
            armed: true,
            timer: None,
            deadline: UnixMillis(0),
            number: 0,
        }
    }
}
