//! Answers that promise something, until what they promise is durable.
//!
//! Each waits for the number of the latest change when it was made, so those of one kind leave in
//! the order of their requests. What promises nothing does not come here: a session that ends with
//! its link is subscribed, acknowledged and let go whatever the disk does.

use std::collections::VecDeque;

use super::Broker;
use super::output::{Answer, Control};
use super::publish::can_refuse;
use crate::api::{Ack, AckKind, Durability, LinkId, Lsn, PacketId};
use crate::key::Key;
use crate::reason::ReasonCode;
use crate::record::NO_SESSION;
use crate::session::Session;

/// The part of the memory limit that answers may take while memory is used up and the disk does not
/// say that it fails.
const GATE_SHARE: u64 = 8;

/// What waits, and for what.
#[derive(Debug)]
pub(super) struct Gate {
    /// Changes up to this number are durable.
    committed: Lsn,
    /// Whether nothing waits for the disk at present: see [`Broker::set_gated`].
    is_open: bool,
    /// See [`Broker::set_refusing`].
    is_refusing: bool,
    /// Answers, in the order of what they wait for.
    answers: VecDeque<(Lsn, Control)>,
    answer_bytes: u64,
    /// Messages in flight whose next step waits, likewise.
    steps: VecDeque<(Lsn, Key<Session>, PacketId)>,
}

impl Gate {
    pub(super) const fn new() -> Self {
        Self {
            committed: Lsn(0),
            is_open: false,
            is_refusing: false,
            answers: VecDeque::new(),
            answer_bytes: 0,
            steps: VecDeque::new(),
        }
    }

    pub(super) const fn is_refusing(&self) -> bool {
        self.is_refusing
    }

    /// Answers that wait.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Octets of memory of all that waits.
    pub(super) fn memory(&self) -> u64 {
        self.answer_bytes + (self.steps.len() * size_of::<(Lsn, Key<Session>, PacketId)>()) as u64
    }

    fn push(&mut self, lsn: Lsn, control: Control) {
        self.answer_bytes += size_of::<(Lsn, Control)>() as u64 + control.bytes();
        self.answers.push_back((lsn, control));
    }

    fn pop_upto(&mut self, upto: Lsn) -> Option<Control> {
        let (_, control) = self.answers.pop_front_if(|(lsn, _)| *lsn <= upto)?;
        self.answer_bytes -= size_of::<(Lsn, Control)>() as u64 + control.bytes();
        Some(control)
    }
}

impl Broker {
    /// Changes up to this number are durable: answers that waited for them may leave.
    pub fn committed(&mut self, upto: Lsn) {
        self.gate.committed = self.gate.committed.max(upto);
        self.let_through(self.gate.committed);
    }

    fn let_through(&mut self, upto: Lsn) {
        while let Some(control) = self.gate.pop_upto(upto) {
            self.control.push_back(control);
        }
        while let Some((_, key, id)) = self.gate.steps.pop_front_if(|(lsn, ..)| *lsn <= upto) {
            if let Some(session) = self.sessions.get_mut(key) {
                session.window.let_go(id);
                self.make_ready(key);
            }
        }
    }

    /// Something that is kept beside the broker has changed, and is stored with the changes of this
    /// turn: answers from here on wait for it, too.
    pub const fn note_change(&mut self) {
        self.recorder.note_change();
    }

    /// The number of the latest durable change.
    pub const fn lsn(&self) -> Lsn {
        self.recorder.lsn()
    }

    /// Says whether nothing can be made durable at present. Publications of QoS 1 and 2 are refused
    /// as long as that lasts, with [`ReasonCode::QuotaExceeded`], if the client can be told; others
    /// are not acknowledged, as always before they are durable. On links whose answers wait for
    /// nothing all goes on.
    ///
    /// Publications of QoS 1 that wait for their acknowledgement when it begins are refused as
    /// well: whoever repeats one may double it, as is the way of QoS 1, and who is not told waits.
    /// Those of QoS 2 go on waiting, as they must not be doubled.
    ///
    /// What waits meanwhile counts against the memory limit. When that is reached a client whose
    /// answer would have to wait is cut off; also without refusing, if answers take much of it, as
    /// a disk that hangs does not say so.
    pub fn set_refusing(&mut self, is_refusing: bool) {
        if is_refusing && !self.gate.is_refusing {
            self.refuse_waiting();
            self.free_unkept();
        }
        self.gate.is_refusing = is_refusing;
    }

    /// Says whether answers wait until what they promise is durable, as they do with
    /// [`Durability::Gated`] from the beginning. Without, they leave at once, those that wait by
    /// now too; changes go on being recorded.
    pub fn set_gated(&mut self, is_gated: bool) {
        self.gate.is_open = !is_gated;
        if !is_gated {
            self.let_through(Lsn(u64::MAX));
        }
    }

    /// Says what the answers on a link wait for from now on; see
    /// [`Connect::durability`](crate::api::Connect::durability).
    pub fn set_durability(&mut self, link: LinkId, durability: Durability) {
        let Some(key) = self.by_link.get(&link).copied() else { return };
        let session = self.sessions.get_mut(key).expect("a link belongs to a session");
        session.link.as_mut().expect("found by its link").durability = durability;
    }

    fn refuse_waiting(&mut self) {
        let Self { gate, control, by_link, sessions, stats, .. } = self;
        let mut refused_bytes = 0;
        gate.answers.retain(|(_, waiting)| {
            let Control::Send { link, packet: Answer::Ack(ack) } = waiting else { return true };
            let session = by_link.get(link).and_then(|key| sessions.get(*key));
            let can_be_told = session.is_some_and(|session| can_refuse(session.dialect));
            if ack.kind != AckKind::PubAck || ack.reason.is_error() || !can_be_told {
                return true;
            }
            let refusal = Ack { reason: ReasonCode::QuotaExceeded, ..*ack };
            control.push_back(Control::ack(*link, refusal));
            stats.publish_refused_store += 1;
            refused_bytes += size_of::<(Lsn, Control)>() as u64;
            false
        });
        gate.answer_bytes -= refused_bytes;
    }

    /// Messages of QoS 2 to sessions that end with their links wait for the disk so that a crash
    /// does not double them. While it refuses, that is not worth the wait.
    fn free_unkept(&mut self) {
        let mut steps = core::mem::take(&mut self.gate.steps);
        steps.retain(|(_, key, id)| {
            let session = self.sessions.get_mut(*key);
            let Some(session) = session.filter(|session| session.number == NO_SESSION) else {
                return true;
            };
            session.window.let_go(*id);
            self.make_ready(*key);
            false
        });
        self.gate.steps = steps;
    }

    /// Whether what is said to a client now has to wait for the disk.
    pub(super) fn is_gated(&self, key: Key<Session>) -> bool {
        self.recorder.lsn() > self.gate.committed && !self.gate.is_open && self.waits_for_disk(key)
    }

    /// Whether answers wait in such numbers that the disk must have come to a stop, even if it has
    /// not failed: one that works lets go of them many times a second.
    fn is_gate_large(&self) -> bool {
        self.gate.memory() > self.config.limits.memory_bytes / GATE_SHARE
    }

    /// Whether what a client is told rests on the disk at all; a session without a link may get
    /// one on which it does.
    pub(super) fn waits_for_disk(&self, key: Key<Session>) -> bool {
        let link = self.sessions.get(key).and_then(|session| session.link.as_ref());
        link.is_none_or(|link| link.durability == Durability::Gated)
    }

    /// Whether an answer to this client waits.
    pub(super) fn has_waiting(&self, key: Key<Session>) -> bool {
        let link = self.sessions.get(key).and_then(|session| session.link.as_ref());
        link.is_some_and(|link| link.last_answer > self.gate.committed) && !self.gate.is_open
    }

    /// The next step of a message in flight waits until all changes so far are durable.
    pub(super) fn hold(&mut self, key: Key<Session>, id: PacketId) {
        self.session(key).window.hold(id);
        self.gate.steps.push_back((self.recorder.lsn(), key, id));
    }

    /// Queues an answer that is about nothing but the session itself: if that ends with its link,
    /// nothing is promised.
    pub(super) fn answer_for_session(&mut self, key: Key<Session>, control: Control) {
        if self.session(key).number == NO_SESSION {
            self.control.push_back(control);
        } else {
            self.answer(key, control);
        }
    }

    /// Queues an answer to a client that promises what has been changed so far. May cut the client
    /// off, and so end its session: comes last.
    pub(super) fn answer(&mut self, key: Key<Session>, control: Control) {
        if !self.is_gated(key) {
            self.control.push_back(control);
            return;
        }
        if self.is_out_of_memory() && (self.gate.is_refusing || self.is_gate_large()) {
            self.stats.cut_off_store += 1;
            self.cut_off(key, ReasonCode::QuotaExceeded);
            return;
        }
        let lsn = self.recorder.lsn();
        if let Some(link) = &mut self.session(key).link {
            link.last_answer = lsn;
        }
        self.gate.push(lsn, control);
    }
}
