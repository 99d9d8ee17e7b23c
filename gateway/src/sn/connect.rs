//! From the first CONNECT to its CONNACK.
//!
//! ```text
//! CONNECT ─▶ [the owner of the id is asked] ─▶ [will topic ─▶ will message] ─▶ broker ─▶ CONNACK
//! ```
//!
//! A handshake hangs on the address it came from and leaves a session of that client alone until
//! the broker has accepted it. What the client repeats is answered again; we repeat nothing, as the
//! client does (10.2).

use core::time::Duration;

use broker_core::Broker;
use broker_core::api::{
    ConnAck, Connect, ConnectWill, Credit, Dialect, Incoming, LinkId, QoS, Will,
};
use broker_core::key::Key;
use broker_core::property::Properties;
use broker_core::time::Now;
use broker_core::timer::TimerId;
use broker_core::topic::TopicBuf;
use sn_codec::v12::{self, Packet, ReturnCode, WillTarget};
use tracing::{debug, info};

use super::address::{Address, Path};
use super::arq::ACTIVE_CREDIT;
use super::handshakes::Full;
use super::peer::{ConnectedAs, Peer, State};
use super::takeover::Move;
use super::{After, Owner, SnGateway, Timer, return_code, sleep, will};

/// PINGREQs with which the owner of a client id is asked whether it is there.
const PROBES: u32 = 3;

/// A CONNECT that is not answered yet.
#[derive(Debug)]
pub(super) struct Handshake {
    path: Path,
    /// Empty if the broker is to choose one.
    client_id: String,
    /// The client did not say the id.
    is_anonymous: bool,
    asks_for_will: bool,
    connected_as: ConnectedAs,
    will: WillPlan,
    stage: Stage,
    timer: Option<TimerId>,
}

/// What becomes of the will of the session.
#[derive(Debug)]
enum WillPlan {
    /// It is as it was (SN-051), or goes with the old session (SN-049).
    Keep,
    /// It is deleted (SN-052).
    Delete,
    /// The payload comes last and goes straight to the broker.
    Set { topic: TopicBuf, qos: QoS, retain: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client that has the id is asked whether it is there, for the so-manieth time.
    Probing { probes: u32 },
    /// WILLTOPICREQ was sent.
    WillTopic,
    /// WILLMSGREQ was sent.
    WillMessage,
    /// The broker was asked for the session, which has this link.
    Confirming(LinkId),
}

impl Handshake {
    pub(super) const fn path(&self) -> Path {
        self.path
    }

    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) const fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }

    pub(super) const fn connected_as(&self) -> ConnectedAs {
        self.connected_as
    }

    /// Whether the session is to outlive the link.
    pub(super) const fn outlives_link(&self) -> bool {
        !self.connected_as.clean_session && !self.is_anonymous
    }

    pub(super) const fn timer(&self) -> Option<TimerId> {
        self.timer
    }

    /// Octets held beyond its place.
    pub(super) fn memory(&self) -> usize {
        let will = match &self.will {
            WillPlan::Set { topic, .. } => topic.as_name().as_str().len(),
            WillPlan::Keep | WillPlan::Delete => 0,
        };
        self.client_id.len() + will
    }

    fn says_the_same(&self, other: &Self) -> bool {
        self.client_id == other.client_id
            && self.asks_for_will == other.asks_for_will
            && self.connected_as.clean_session == other.connected_as.clean_session
            && self.connected_as.keep_alive_s == other.connected_as.keep_alive_s
    }
}

impl SnGateway {
    /// CONNECT (SN-046 to SN-051, D4, D5).
    pub(super) fn connect(
        &mut self,
        now: Now,
        path: Path,
        connect: &v12::Connect<'_>,
        broker: &mut Broker,
    ) {
        let binding = self.by_address.get(&path.address).copied().unwrap_or_default();
        let Some(handshake) = self.handshake_for(path, connect, binding.peer) else {
            self.send(path, v12::Connack { return_code: ReturnCode::NotSupported });
            return;
        };
        if binding.peer.is_some_and(|key| self.is_connected_as(key, &handshake)) {
            // The CONNACK was lost: nothing else has happened since (D4).
            self.send(path, v12::Connack { return_code: ReturnCode::Accepted });
            return;
        }
        let Some(key) = binding.handshake else {
            self.begin_handshake(now, handshake, broker);
            return;
        };
        let old = self.handshakes.get_mut(key).expect("bound to the address");
        match old.stage {
            // The answer is on its way, and may wait for a disk for longer than a client is silent.
            Stage::Confirming(link) => {
                self.stats.ignored += 1;
                broker.touch(now, link);
            }
            Stage::Probing { .. } if old.says_the_same(&handshake) => self.stats.ignored += 1,
            Stage::WillTopic | Stage::WillMessage if old.says_the_same(&handshake) => {
                self.ask_for_will(now, key, broker);
            }
            Stage::Probing { .. } | Stage::WillTopic | Stage::WillMessage => {
                self.remove_handshake(key);
                self.begin_handshake(now, handshake, broker);
            }
        }
    }

    /// The handshake that a CONNECT asks for, if it can be served at all.
    ///
    /// Without a client id the broker chooses one. The client does not learn it and is known by its
    /// address, so its session cannot outlive the connection.
    fn handshake_for(
        &self,
        path: Path,
        connect: &v12::Connect<'_>,
        bound: Option<Key<Peer>>,
    ) -> Option<Handshake> {
        let said = core::str::from_utf8(connect.client_id).ok()?;
        let is_acceptable = connect.protocol_id == v12::Connect::PROTOCOL_ID
            && !said.contains('\0')
            && said.len() <= self.settings.client_id_bytes_max;
        if !is_acceptable {
            return None;
        }
        let bound = bound.and_then(|key| self.peers.get(key)).filter(|peer| peer.is_anonymous);
        let is_anonymous = said.is_empty();
        let client_id = match bound {
            Some(peer) if is_anonymous => &*peer.client_id,
            Some(_) | None => said,
        };
        Some(Handshake {
            path,
            client_id: client_id.to_owned(),
            is_anonymous,
            asks_for_will: connect.will,
            connected_as: ConnectedAs {
                clean_session: connect.clean_session,
                keep_alive_s: connect.keep_alive_s,
                ended_by: None,
            },
            will: WillPlan::Keep,
            stage: Stage::WillTopic,
            timer: None,
        })
    }

    /// Whether a client is connected just as the handshake asks for, and has said nothing since. If
    /// predefined topics have other meanings by now, this may be the device that knows them.
    fn is_connected_as(&self, key: Key<Peer>, handshake: &Handshake) -> bool {
        let peer = self.peers.get(key).expect("bound to the address");
        peer.untouched
            && peer.state == State::Active
            && !handshake.asks_for_will
            && peer.predefined_since == self.predefined.generation()
            && peer.connected_as == handshake.connected_as
            && *peer.client_id == *handshake.client_id
    }

    fn begin_handshake(&mut self, now: Now, handshake: Handshake, broker: &mut Broker) {
        let path = handshake.path;
        let asks_for_will = handshake.asks_for_will;
        let must_ask = match self.judge_move(now, &handshake.client_id, path.address) {
            Move::Free => false,
            Move::Ask => true,
            Move::TooOften => {
                self.stats.takeovers_refused += 1;
                self.refuse_connect(path, ReturnCode::Congestion);
                return;
            }
        };
        let Ok(key) = self.handshakes.insert(handshake, must_ask || asks_for_will) else {
            self.stats.handshakes_refused += 1;
            self.refuse_connect(path, ReturnCode::Congestion);
            return;
        };
        let binding = self.by_address.entry(path.address).or_default();
        binding.handshake = Some(key);
        if let Some(peer) = binding.peer {
            // CONNACK is what it expects to hear next (10.2).
            let peer = self.peer(peer);
            peer.begin_spell();
            broker.set_credit(peer.link, Credit::Paused);
        }
        if must_ask {
            self.probe(now, key, 1);
        } else {
            self.ask_for_will(now, key, broker);
        }
    }

    /// Asks the client that has the id whether it is there.
    fn probe(&mut self, now: Now, key: Key<Handshake>, probes: u32) {
        self.supervise_handshake(now, key, self.settings.takeover_probe / PROBES);
        let handshake = self.handshakes.get_mut(key).expect("a handshake that is there");
        handshake.stage = Stage::Probing { probes };
        if let Some(owner) = self.by_client_id.get(handshake.client_id.as_str()).copied() {
            self.ask_owner(owner, probes == 1);
        }
    }

    fn ask_for_will(&mut self, now: Now, key: Key<Handshake>, broker: &mut Broker) {
        let handshake = self.handshakes.get_mut(key).expect("a handshake that is there");
        if !handshake.asks_for_will {
            self.confirm(now, key, &[], broker);
            return;
        }
        handshake.stage = Stage::WillTopic;
        let path = handshake.path;
        self.supervise_handshake(now, key, self.settings.handshake_timeout);
        self.send(path, v12::WillTopicReq);
    }

    /// WILLTOPIC, WILLMSG and DISCONNECT belong to a handshake; `false` if the packet does not.
    pub(super) fn handle_in_handshake(
        &mut self,
        now: Now,
        key: Key<Handshake>,
        packet: &Packet<'_>,
        broker: &mut Broker,
    ) -> bool {
        let handshake = self.handshakes.get_mut(key).expect("bound to the address");
        match (packet, handshake.stage) {
            // The broker has let go of the old session already, and the new one is not there yet.
            (_, Stage::Confirming(link)) => {
                self.stats.ignored += 1;
                broker.touch(now, link);
            }
            (Packet::WillTopic(message), Stage::WillTopic | Stage::WillMessage) => {
                handshake.connected_as.ended_by = Some(will::topic_hash(message));
                self.take_will_topic(now, key, message.target, broker);
            }
            (Packet::WillMsg(message), Stage::WillMessage) => {
                handshake.connected_as.ended_by = Some(will::message_hash(message));
                // It goes on to the broker at once and is not kept here.
                self.confirm(now, key, message.message, broker);
            }
            (Packet::WillTopic(_) | Packet::WillMsg(_), _) => self.stats.ignored += 1,
            (Packet::Disconnect(_), _) => {
                let path = handshake.path;
                self.remove_handshake(key);
                let binding = self.by_address.get(&path.address);
                if binding.is_some_and(|binding| binding.peer.is_some()) {
                    // A session of an earlier CONNECT from this address is meant, too.
                    return false;
                }
                self.send(path, v12::Disconnect { duration_s: None });
                self.tidy_address(path.address);
            }
            (_, Stage::Probing { .. } | Stage::WillTopic | Stage::WillMessage) => return false,
        }
        true
    }

    fn take_will_topic(
        &mut self,
        now: Now,
        key: Key<Handshake>,
        target: Option<WillTarget<'_>>,
        broker: &mut Broker,
    ) {
        let path = self.handshakes.get(key).expect("bound to the address").path;
        let Some(target) = target else {
            // The empty form deletes the will, and nothing is left to ask for (SN-024, SN-052).
            let changed =
                self.handshakes.change(key, |handshake| handshake.will = WillPlan::Delete);
            assert!(changed.is_ok(), "less memory fits");
            self.confirm(now, key, &[], broker);
            return;
        };
        let Some((topic, qos)) = will::acceptable(&target) else {
            self.remove_handshake(key);
            self.refuse_connect(path, ReturnCode::NotSupported);
            return;
        };
        let plan = WillPlan::Set { topic: topic.into(), qos, retain: target.retain };
        if self.handshakes.change(key, |handshake| handshake.will = plan) == Err(Full) {
            self.stats.handshakes_refused += 1;
            self.remove_handshake(key);
            self.refuse_connect(path, ReturnCode::Congestion);
            return;
        }
        let handshake = self.handshakes.get_mut(key).expect("bound to the address");
        handshake.stage = Stage::WillMessage;
        self.supervise_handshake(now, key, self.settings.handshake_timeout);
        self.send(path, v12::WillMsgReq);
    }

    /// Asks the broker for the session.
    fn confirm(&mut self, now: Now, key: Key<Handshake>, will_payload: &[u8], broker: &mut Broker) {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.by_link.insert(link, Owner::Handshake(key));
        if let Some(timer) = self.handshakes.confirm(key) {
            self.timers.cancel(timer);
        }
        let handshake = self.handshakes.get_mut(key).expect("a handshake that is there");
        handshake.stage = Stage::Confirming(link);
        handshake.timer = None;
        let outlives_link = handshake.outlives_link();
        if let Some(owner) = self.by_client_id.get(handshake.client_id.as_str()).copied() {
            self.peer(owner).reconnecting = Some(key);
            if outlives_link {
                // The broker keeps the session from here on, and what the client learnt before has
                // to be kept with it.
                self.keep(owner);
            }
        }
        let handshake = self.handshakes.get(key).expect("a handshake that is there");
        let ConnectedAs { clean_session, keep_alive_s, .. } = handshake.connected_as;
        let connect = Connect {
            dialect: Dialect::MqttSn12,
            client_id: &handshake.client_id,
            clean_start: clean_session,
            session_expiry_s: if outlives_link { u32::MAX } else { 0 },
            keep_alive: Some(keep_alive(keep_alive_s, self.settings.idle_timeout)),
            will: match &handshake.will {
                WillPlan::Keep if clean_session => ConnectWill::None,
                WillPlan::Keep => ConnectWill::Keep,
                WillPlan::Delete => ConnectWill::None,
                WillPlan::Set { topic, qos, retain } => ConnectWill::Set(Will {
                    topic: topic.as_name(),
                    payload: will_payload,
                    qos: *qos,
                    retain: *retain,
                    delay_s: 0,
                    properties: Properties::EMPTY,
                }),
            },
            will_on_takeover: self.settings.will_on_reconnect,
            user_name: None,
            password: None,
            credit: ACTIVE_CREDIT,
            queue: self.settings.queue,
            durability: self.durability(handshake.path.address.port),
            properties: Properties::EMPTY,
        };
        broker.handle(now, link, Incoming::Connect(connect));
    }

    /// The broker has answered.
    pub(super) fn finish_handshake(
        &mut self,
        key: Key<Handshake>,
        link: LinkId,
        ack: &ConnAck<'_>,
    ) {
        let handshake = self.remove_handshake(key);
        let path = handshake.path;
        let client_id = ack.assigned_client_id.unwrap_or(&handshake.client_id);
        self.settle_reconnect(client_id, key);
        if ack.reason.is_error() {
            self.by_link.remove(&link);
            debug!(client = client_id, reason = %ack.reason, "CONNECT refused");
            self.refuse_connect(path, return_code(ack.reason));
            self.forget_if_over(client_id);
            return;
        }
        let known = self.by_client_id.get(client_id).copied();
        let key = known.unwrap_or_else(|| self.enter(client_id, path.address.host()));
        self.bind(key, path);
        self.begin_connection(key, link, &handshake, ack.session_present);
        info!(
            client = client_id,
            from = %path.address.remote,
            keep_alive_s = handshake.connected_as.keep_alive_s,
            session_present = ack.session_present,
            "client connected"
        );
        self.send(path, v12::Connack { return_code: ReturnCode::Accepted });
    }

    /// The broker has given the link away again before it answered: somebody else came with the
    /// same id, or the answer waited for too long. The client is told to wait.
    pub(super) fn lose_handshake(&mut self, key: Key<Handshake>) {
        let handshake = self.remove_handshake(key);
        self.settle_reconnect(&handshake.client_id, key);
        self.forget_if_over(&handshake.client_id);
        self.stats.takeovers_refused += 1;
        self.refuse_connect(handshake.path, ReturnCode::Congestion);
    }

    /// The answer to a CONNECT that comes to nothing (SN-047).
    fn refuse_connect(&mut self, path: Path, return_code: ReturnCode) {
        self.send(path, v12::Connack { return_code });
        self.go_on_at(path.address);
    }

    /// A handshake came to nothing: a session of an earlier CONNECT from there goes on with its
    /// messages. One that waits for an answer goes on when the client is heard of.
    fn go_on_at(&mut self, address: Address) {
        let binding = self.by_address.get(&address).copied().unwrap_or_default();
        if let Some(key) = binding.peer
            && self.peer(key).exchange.is_none()
            && let Some(credit) = self.credit(key)
        {
            let link = self.peer(key).link;
            self.after.push(After::Credit(link, credit));
        }
        self.tidy_address(address);
    }

    /// Whether somebody is connecting from the address of a client, most likely the client itself:
    /// until that is answered nothing is sent there that nobody asked for (10.2).
    pub(super) fn is_connecting(&self, key: Key<Peer>) -> bool {
        let path = self.peers.get(key).and_then(|peer| peer.path);
        let binding = path.and_then(|path| self.by_address.get(&path.address));
        binding.is_some_and(|binding| binding.handshake.is_some())
    }

    fn supervise_handshake(&mut self, now: Now, key: Key<Handshake>, patience: Duration) {
        let timer = self.timers.insert(now.mono + patience, Timer::Handshake(key));
        let handshake = self.handshakes.get_mut(key).expect("a handshake that is there");
        if let Some(old) = handshake.timer.replace(timer) {
            self.timers.cancel(old);
        }
    }

    pub(super) fn handshake_timed_out(
        &mut self,
        now: Now,
        key: Key<Handshake>,
        broker: &mut Broker,
    ) {
        let handshake = self.handshakes.get_mut(key).expect("its timer goes with it");
        handshake.timer = None;
        let path = handshake.path;
        let Stage::Probing { probes } = handshake.stage else {
            // The client has forgotten about it, and so do we (10.2).
            self.stats.handshakes_expired += 1;
            self.remove_handshake(key);
            self.go_on_at(path.address);
            return;
        };
        let owner = self.by_client_id.get(handshake.client_id.as_str()).copied();
        let owner = owner.and_then(|owner| self.peers.get(owner));
        if owner.is_some_and(|owner| owner.state == State::Active && !owner.is_asked) {
            self.stats.takeovers_refused += 1;
            debug!(from = %path.address.remote, "CONNECT with the id of a client that is there");
            self.remove_handshake(key);
            self.refuse_connect(path, ReturnCode::NotSupported);
        } else if probes < PROBES {
            self.probe(now, key, probes + 1);
        } else {
            self.ask_for_will(now, key, broker);
        }
    }

    /// Takes a handshake off its address, which the caller has to tidy.
    fn remove_handshake(&mut self, key: Key<Handshake>) -> Handshake {
        let handshake = self.handshakes.remove(key).expect("a handshake that is there");
        if let Some(timer) = handshake.timer {
            self.timers.cancel(timer);
        }
        if let Some(binding) = self.by_address.get_mut(&handshake.path.address) {
            binding.handshake = None;
        }
        handshake
    }

    /// The message that ended a handshake came again: its answer was lost (D4).
    pub(super) fn repeat_connack(&mut self, key: Key<Peer>, hash: u64) {
        let peer = self.peer(key);
        if peer.untouched && peer.connected_as.ended_by == Some(hash) {
            self.send_to(key, v12::Connack { return_code: ReturnCode::Accepted });
        } else {
            self.stats.ignored += 1;
        }
    }
}

/// Silence after which an active client counts as lost: one and a half keep-alives (SN-091, SN-104,
/// D7). Keep alive 0 asks for none, but nobody is kept for ever (17.13).
pub(super) fn keep_alive(keep_alive_s: u16, idle_timeout: Duration) -> Duration {
    match keep_alive_s {
        0 => idle_timeout,
        seconds => sleep::with_tolerance(seconds),
    }
}
