//! Deliveries: made when somebody asks for output, not before.
//!
//! A session's messages leave in the order in which they were accepted, whatever their topics
//! [MQTT-4.6.0-5], [MQTT-4.6.0-6]. Sessions that have something to send, and whose links have
//! credit, stand in a line. The one in front is sent a burst, then it goes to the end; so a wide
//! fan-out is cut into slices wherever the caller likes, and a slow reader never stands in the line
//! at all.

use super::Broker;
use super::record::is_kept;
use crate::api::{Ack, AckKind, Credit, Delivery, LinkId, Outgoing, Output, PacketId, QoS};
use crate::key::Key;
use crate::limits::{REPLAY_AHEAD, REPLAY_STEPS};
use crate::message::MessageRef;
use crate::reason::ReasonCode;
use crate::record::NO_SESSION;
use crate::session::{Queued, Resend, Session, Stage};
use crate::share::ShareId;
use crate::subscription_ids::IdSet;
use crate::topic::TopicFilter;

/// What the delivery that was lent last holds alone.
#[derive(Debug, Default)]
pub(super) struct Lent {
    message: Option<MessageRef>,
    ids: Option<IdSet>,
}

/// A delivery that has been decided on.
#[derive(Clone, Copy, Debug)]
struct Draft {
    message: MessageRef,
    ids: IdSet,
    id: PacketId,
    qos: QoS,
    retain: bool,
    dup: bool,
}

/// What the session in front of the line comes up with.
enum Served {
    Publish(LinkId, Draft),
    PubRel(LinkId, PacketId),
    Drained(LinkId),
    /// Nothing more.
    Idle,
    /// It is still looking up retained messages and has used up the work of this call.
    Looking,
}

impl Broker {
    /// Puts a session into the line if it has work and does not stand there.
    pub(super) fn make_ready(&mut self, key: Key<Session>) {
        let session = self.session(key);
        if !session.is_ready && session.has_work() {
            session.is_ready = true;
            self.ready.join(key);
        }
    }

    /// Lets go what the last delivery held.
    pub(super) fn let_go(&mut self) {
        if let Some(message) = self.lent.message.take() {
            self.messages.release(message);
        }
        if let Some(ids) = self.lent.ids.take() {
            self.id_sets.release(ids);
        }
    }

    /// The next message for a link with credit.
    pub(super) fn next_delivery(&mut self) -> Option<Output<'_>> {
        let mut steps = REPLAY_STEPS;
        loop {
            let key = self.ready.current()?;
            if self.sessions.get(key).is_none() {
                self.ready.leave();
                continue;
            }
            let served = self.serve(key, &mut steps);
            let is_over = self.ready.count();
            let session = self.session(key);
            if matches!(served, Served::Idle) || !session.has_work() {
                session.is_ready = false;
                self.ready.leave();
            } else if is_over || matches!(served, Served::Looking) {
                self.ready.go_on();
            }
            match served {
                Served::Publish(link, draft) => return Some(self.lend_delivery(link, draft)),
                Served::PubRel(link, id) => {
                    let reason = ReasonCode::Success;
                    let packet = Outgoing::Ack(Ack { kind: AckKind::PubRel, id, reason, token: 0 });
                    return Some(Output::Send { link, packet });
                }
                Served::Drained(link) => {
                    return Some(Output::Send { link, packet: Outgoing::Drained });
                }
                Served::Idle => {}
                Served::Looking => return None,
            }
        }
    }

    /// Decides what a session is sent next.
    fn serve(&mut self, key: Key<Session>, steps: &mut u32) -> Served {
        loop {
            let mut session = self.sessions.get_mut(key).expect("the session in front");
            if !session.replays.is_empty() {
                self.look_up_retained(key, steps);
                session = self.sessions.get_mut(key).expect("looking up ends no session");
            }
            if !session.has_work() {
                return Served::Idle;
            }
            let link = session.link.as_ref().expect("no work without a link");
            let link_id = link.id;
            let credit = link.credit;
            if let Some((entry, how)) = session.window.next_resend() {
                if entry.stage == Stage::Released {
                    return Served::PubRel(link_id, entry.id);
                }
                return Served::Publish(
                    link_id,
                    Draft {
                        message: entry.message,
                        ids: entry.ids,
                        id: entry.id,
                        qos: entry.qos(),
                        retain: entry.retain,
                        dup: how == Resend::Again,
                    },
                );
            }
            if let Some(entry) = session.take_queued(&self.messages) {
                self.queued -= 1;
                // What was never sent may expire [MQTT5-3.3.2-5]. What was, as those above, is
                // brought to its end [MQTT5-4.3.3-7], [MQTT5-4.3.3-13].
                let is_expired = self.messages.get(entry.message).expires() <= self.now.mono;
                if is_expired {
                    self.stats.dropped_expired += 1;
                    self.shares.done(entry.share, key);
                    self.forget_delivery(entry.number, Some(entry.message));
                    self.messages.release(entry.message);
                    self.id_sets.release(entry.ids);
                    continue;
                }
                match self.send_first(key, entry) {
                    Some(draft) => return Served::Publish(link_id, draft),
                    None => continue,
                }
            }
            if !session.replays.is_empty() {
                return Served::Looking;
            }
            if matches!(credit, Credit::UntilDrained(_)) && session.window.is_empty() {
                let link = session.link.as_mut().expect("no work without a link");
                link.credit = Credit::Paused;
                return Served::Drained(link_id);
            }
            return Served::Idle;
        }
    }

    /// A message is sent for the first time, without DUP [MQTT-4.3.3-1]: at QoS 0 it is gone with
    /// that, else it is in flight. `None`: it is in flight and has to wait.
    ///
    /// A message of QoS 2 leaves once it is durable which identifier it has, and what else it rests
    /// on: were that lost, it would come again as another one. At QoS 1 it may come again. What
    /// comes behind one that waits does so, too, to keep the order.
    fn send_first(&mut self, key: Key<Session>, mut entry: Queued) -> Option<Draft> {
        let Queued { message, ids, share, qos, retain, .. } = entry;
        let id = if qos == QoS::AtMostOnce {
            self.shares.done(share, key);
            self.lent = Lent { message: Some(message), ids: Some(ids) };
            PacketId(0)
        } else {
            self.renumber(key, &mut entry);
            let window = &mut self.session(key).window;
            let id = window.push(entry);
            let inflight = window.len();
            self.stats.high.inflight = self.stats.high.inflight.max(inflight);
            if entry.number != 0 {
                self.record_in_flight(key, id);
            }
            let waits = qos == QoS::ExactlyOnce || self.session(key).window.holds_back();
            // While the disk refuses, what a client gets that is not kept itself rests on what is
            // there by then: others are not acknowledged.
            let has_time = entry.number != 0 || !self.gate.is_refusing();
            if waits && has_time && self.is_gated(key) {
                self.hold(key, id);
                return None;
            }
            id
        };
        Some(Draft { message, ids, id, qos, retain, dup: false })
    }

    fn lend_delivery(&mut self, link: LinkId, draft: Draft) -> Output<'_> {
        let message = self.messages.get(draft.message);
        self.stats.publish_sent += 1;
        self.stats.publish_bytes_sent += message.payload().len() as u64;
        Output::Send {
            link,
            packet: Outgoing::Publish(Delivery {
                message,
                id: draft.id,
                qos: draft.qos,
                retain: draft.retain,
                dup: draft.dup,
                subscription_ids: self.id_sets.get(draft.ids),
                expiry_s: message.expiry_s(self.now.mono),
            }),
        }
    }

    /// Puts retained messages for new subscriptions into the queue, as far ahead as is useful.
    fn look_up_retained(&mut self, key: Key<Session>, steps: &mut u32) {
        let before = *steps;
        let mut has_queued = false;
        loop {
            let session = self.sessions.get_mut(key).expect("the session in front");
            if session.queue.replayed() >= REPLAY_AHEAD || !session.has_credit() {
                break;
            }
            let Some(replay) = session.replays.first_mut() else { break };
            let filter = TopicFilter::new(&replay.filter).expect("a filter that was subscribed to");
            let found = self.retained.next(filter, &mut replay.cursor, steps);
            let Some(reference) = found else {
                if !replay.cursor.is_done() {
                    break;
                }
                let number = session.replays.remove(0).number;
                self.forget_replay(number);
                has_queued = false;
                continue;
            };
            let message = self.messages.get(reference);
            let came_live = message.sequence() >= replay.before;
            if came_live || message.expires() <= self.now.mono {
                continue;
            }
            let qos = message.qos().min(replay.options.qos);
            let (ids, before) = (IdSet::one(replay.identifier), replay.before);
            // With the RETAIN flag, which live messages do not have [MQTT-3.3.1-8].
            let (share, retain, is_replayed) = (ShareId::NONE, true, true);
            let mut entry =
                Queued { number: 0, message: reference, ids, share, qos, retain, is_replayed };
            if session.number != NO_SESSION && is_kept(&entry) {
                entry.number = self.recorder.number();
                has_queued = true;
            }
            let follower = session.queue.insert_replayed(entry, before, &self.messages);
            self.messages.keep(reference);
            self.record_queued(key, &entry, Some(follower.unwrap_or(entry.number)), true);
            self.queued += 1;
            self.work += 1;
        }
        if has_queued {
            self.record_replay(key, 0);
        }
        self.stats.replay_steps += u64::from(before - *steps);
    }
}
