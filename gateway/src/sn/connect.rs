//! From the first CONNECT to its CONNACK, and the end of a connection.
//!
//! ```text
//! CONNECT ──▶ [the owner of the id is asked] ──▶ [will topic ──▶ will message] ──▶ broker ──▶ CONNACK
//! ```
//!
//! A handshake hangs on the address it came from and leaves a session of that client alone until the
//! broker has accepted it. What the client repeats is answered again; we repeat nothing, as the client
//! does (10.2).

use core::hash::BuildHasher;
use core::time::Duration;

use broker_core::Broker;
use broker_core::api::{
    ConnAck, Connect, ConnectWill, Dialect, Incoming, LinkId, QoS, Will, WillChange, WillPart,
};
use broker_core::hash;
use broker_core::key::Key;
use broker_core::property::Properties;
use broker_core::reason::ReasonCode;
use broker_core::time::{Instant, Now};
use broker_core::timer::TimerId;
use broker_core::topic::{TopicBuf, TopicName};
use sn_codec::v12::{self, Packet, ReturnCode, WillTarget};
use tracing::{debug, info};

use super::address::{Address, Path};
use super::limiter::{Meter, Rate};
use super::peer::{ConnectedAs, Inbound, MSG_ID_MAX, Peer, State};
use super::registry::Registry;
use super::{After, Owner, SnGateway, Timer, return_code, sleep};

/// PINGREQs with which the owner of a client id is asked whether it is there.
const PROBES: u32 = 3;

/// How often a session may go back and forth between two addresses before the newcomer is told to
/// wait (D5): two devices with the same id would do so for ever.
const RETURNS: Rate = Rate { max: 3, window: Duration::from_secs(60) };

/// Octets of client ids and wills that all unfinished handshakes may hold together.
const HANDSHAKE_BYTES_MAX: usize = 4 << 20;

/// A CONNECT that is not answered yet.
#[derive(Debug)]
pub(super) struct Handshake {
    path: Path,
    client_id: String,
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
enum Stage {
    /// The client that has the id is asked whether it is there.
    Probing { probes: u32 },
    /// WILLTOPICREQ was sent.
    WillTopic,
    /// WILLMSGREQ was sent.
    WillMessage,
    /// The broker was asked.
    Confirming,
}

impl Handshake {
    /// Octets held beyond its place.
    fn memory(&self) -> usize {
        let will = match &self.will {
            WillPlan::Set { topic, .. } => topic.as_name().as_str().len(),
            WillPlan::Keep | WillPlan::Delete => 0,
        };
        self.client_id.len() + will
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
        let Some(client_id) = acceptable_id(connect, self.settings.client_id_bytes_max) else {
            self.send(path, v12::Connack { return_code: ReturnCode::NotSupported });
            return;
        };
        let connected_as = ConnectedAs {
            clean_session: connect.clean_session,
            keep_alive_s: connect.keep_alive_s,
            ended_by: None,
        };
        let binding = self.by_address.get(&path.address).copied().unwrap_or_default();
        if let Some(key) = binding.peer {
            let peer = self.peer(key);
            let is_repeated = peer.untouched
                && peer.state == State::Active
                && !connect.will
                && peer.connected_as == connected_as
                && *peer.client_id == *client_id;
            if is_repeated {
                // The CONNACK was lost: nothing else has happened since (D4).
                self.send(path, v12::Connack { return_code: ReturnCode::Accepted });
                return;
            }
        }
        if let Some(key) = binding.handshake {
            let handshake = self.handshakes.get(key).expect("bound to the address");
            let is_repeated = handshake.client_id == client_id
                && handshake.connected_as == connected_as
                && handshake.asks_for_will == connect.will;
            match handshake.stage {
                Stage::Confirming => return,
                Stage::Probing { .. } if is_repeated => return,
                Stage::Probing { .. } | Stage::WillTopic | Stage::WillMessage => {
                    self.drop_handshake(key);
                }
            }
        }
        let handshake = Handshake {
            path,
            client_id: client_id.to_owned(),
            asks_for_will: connect.will,
            connected_as,
            will: WillPlan::Keep,
            stage: Stage::WillTopic,
            timer: None,
        };
        self.begin_handshake(now, handshake, broker);
    }

    fn begin_handshake(&mut self, now: Now, handshake: Handshake, broker: &mut Broker) {
        let path = handshake.path;
        let is_full = self.handshakes.len() >= self.settings.handshakes_max
            || self.handshake_bytes + handshake.memory() > HANDSHAKE_BYTES_MAX;
        if is_full {
            self.stats.handshakes_refused += 1;
            self.send(path, v12::Connack { return_code: ReturnCode::Congestion });
            return;
        }
        let owner = self.by_client_id.get(handshake.client_id.as_str()).copied();
        let must_ask = match self.judge_move(now, owner, path.address) {
            Move::Free => false,
            Move::Ask => true,
            Move::TooOften => {
                self.stats.takeovers_refused += 1;
                self.send(path, v12::Connack { return_code: ReturnCode::Congestion });
                return;
            }
        };
        self.handshake_bytes += handshake.memory();
        let key = self.handshakes.insert(handshake);
        self.by_address.entry(path.address).or_default().handshake = Some(key);
        if must_ask {
            self.probe(now, key, 1);
        } else {
            self.ask_for_will(now, key, broker);
        }
    }

    /// Whether a client id may move to `address` (D5, and who is asked first).
    fn judge_move(&mut self, now: Now, owner: Option<Key<Peer>>, address: Address) -> Move {
        let Some(key) = owner else { return Move::Free };
        let may_probe = !self.settings.takeover_probe.is_zero();
        let peer = self.peer(key);
        let Some(path) = peer.path.filter(|path| path.address != address) else {
            return Move::Free;
        };
        if peer.previous == Some(address) && !peer.returns.admit(RETURNS, now.mono) {
            return Move::TooOften;
        }
        // Who sleeps cannot be asked, and who asks from the same host is taken for the same device
        // behind a NAT, or rebooted.
        let is_stranger = !path.address.is_same_host(&address);
        if is_stranger && may_probe && peer.state == State::Active { Move::Ask } else { Move::Free }
    }

    /// Asks the client that has the id whether it is there.
    fn probe(&mut self, now: Now, key: Key<Handshake>, probes: u32) {
        let pause = self.settings.takeover_probe / PROBES;
        let timer = self.timers.insert(now.mono + pause, Timer::Handshake(key));
        let handshake = self.handshakes.get_mut(key).expect("a handshake that is there");
        handshake.stage = Stage::Probing { probes };
        handshake.timer = Some(timer);
        if let Some(owner) = self.by_client_id.get(handshake.client_id.as_str()).copied() {
            self.send_to(owner, v12::Pingreq { client_id: &[] });
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
        self.supervise_handshake(now, key);
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
            (Packet::WillTopic(message), Stage::WillTopic | Stage::WillMessage) => {
                handshake.connected_as.ended_by = Some(will_topic_hash(message));
                self.take_will_topic(now, key, message.target, broker);
            }
            (Packet::WillMsg(message), Stage::WillMessage) => {
                handshake.connected_as.ended_by = Some(will_msg_hash(message));
                // It goes on to the broker at once and is not kept here.
                self.confirm(now, key, message.message, broker);
            }
            (Packet::WillTopic(_) | Packet::WillMsg(_), _) => self.stats.ignored += 1,
            (Packet::Disconnect(_), Stage::Confirming) => return false,
            (Packet::Disconnect(_), _) => {
                let path = handshake.path;
                let binding = self.by_address.get(&path.address).copied().unwrap_or_default();
                self.drop_handshake(key);
                if binding.peer.is_some() {
                    // A session of an earlier CONNECT from this address is meant, too.
                    return false;
                }
                self.send(path, v12::Disconnect { duration_s: None });
            }
            (_, _) => return false,
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
        let handshake = self.handshakes.get_mut(key).expect("bound to the address");
        let path = handshake.path;
        let Some(target) = target else {
            // The empty form deletes the will, and nothing is left to ask for (SN-024, SN-052).
            handshake.will = WillPlan::Delete;
            self.confirm(now, key, &[], broker);
            return;
        };
        let refused = match acceptable_will(&target) {
            None => Some(ReturnCode::NotSupported),
            Some(_) if self.handshake_bytes + target.topic_name.len() > HANDSHAKE_BYTES_MAX => {
                Some(ReturnCode::Congestion)
            }
            Some((topic, qos)) => {
                self.handshake_bytes -= handshake.memory();
                let topic = TopicBuf::from(topic);
                handshake.will = WillPlan::Set { topic, qos, retain: target.retain };
                self.handshake_bytes += handshake.memory();
                None
            }
        };
        if let Some(return_code) = refused {
            self.drop_handshake(key);
            self.send(path, v12::Connack { return_code });
            return;
        }
        if let Some(handshake) = self.handshakes.get_mut(key) {
            handshake.stage = Stage::WillMessage;
        }
        self.supervise_handshake(now, key);
        self.send(path, v12::WillMsgReq);
    }

    /// Asks the broker for the session.
    fn confirm(&mut self, now: Now, key: Key<Handshake>, will_payload: &[u8], broker: &mut Broker) {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.by_link.insert(link, Owner::Handshake(key));
        let handshake = self.handshakes.get_mut(key).expect("a handshake that is there");
        handshake.stage = Stage::Confirming;
        if let Some(timer) = handshake.timer.take() {
            self.timers.cancel(timer);
        }
        if let Some(owner) = self.by_client_id.get(handshake.client_id.as_str()) {
            let owner = self.peers.get_mut(*owner).expect("known by its client id");
            owner.reconnecting = Some(key);
        }
        let ConnectedAs { clean_session, keep_alive_s, .. } = handshake.connected_as;
        let connect = Connect {
            dialect: Dialect::MqttSn12,
            client_id: &handshake.client_id,
            clean_start: clean_session,
            session_expiry_s: if clean_session { 0 } else { u32::MAX },
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
            credit: sleep::ACTIVE_CREDIT,
            queue: self.settings.queue,
            properties: Properties::EMPTY,
        };
        broker.handle(now, link, Incoming::Connect(connect));
    }

    /// The broker has answered.
    pub(super) fn finish_handshake(
        &mut self,
        now: Now,
        key: Key<Handshake>,
        link: LinkId,
        ack: &ConnAck<'_>,
    ) {
        let Some(handshake) = self.remove_handshake(key) else { return };
        let path = handshake.path;
        let client_id = ack.assigned_client_id.unwrap_or(&handshake.client_id);
        let known = self.by_client_id.get(client_id).copied();
        if let Some(key) = known {
            self.peer(key).reconnecting = None;
        }
        if ack.reason.is_error() {
            self.by_link.remove(&link);
            debug!(client = client_id, reason = %ack.reason, "CONNECT refused");
            self.send(path, v12::Connack { return_code: return_code(ack.reason) });
            self.tidy_address(path.address);
            return;
        }
        let key = known.unwrap_or_else(|| self.enter(client_id));
        self.by_link.insert(link, Owner::Peer(key));
        self.bind(key, path);
        self.begin_connection(now, key, link, &handshake, ack.session_present);
        info!(
            client = client_id,
            from = %path.address.remote,
            keep_alive_s = handshake.connected_as.keep_alive_s,
            session_present = ack.session_present,
            "client connected"
        );
        self.send(path, v12::Connack { return_code: ReturnCode::Accepted });
    }

    /// A client that was not known before.
    fn enter(&mut self, client_id: &str) -> Key<Peer> {
        let quirks = self.settings.quirks.get(client_id).copied().unwrap_or_default();
        let key = self.peers.insert(Peer {
            client_id: client_id.into(),
            state: State::Gone,
            link: LinkId(0),
            path: None,
            reconnecting: None,
            quirks,
            registry: Registry::default(),
            predefined: Vec::new(),
            exchange: None,
            corrected: None,
            last_qos0: None,
            id_offset: self.rng.u16(..MSG_ID_MAX),
            last_register_id: self.rng.u16(..MSG_ID_MAX),
            connected_as: ConnectedAs { clean_session: true, keep_alive_s: 0, ended_by: None },
            untouched: false,
            heard_at: Instant::default(),
            spoke_at: Instant::default(),
            owes_pingresp: false,
            collected: 0,
            previous: None,
            returns: Meter::default(),
            inbound: Inbound::default(),
            charged: 0,
        });
        self.usage.gone += 1;
        self.by_client_id.insert(client_id.into(), key);
        key
    }

    /// Forgets a client whose session has ended.
    pub(super) fn forget(&mut self, key: Key<Peer>) {
        let Some(mut peer) = self.peers.remove(key) else { return };
        assert!(!peer.is_connected(), "a client that is connected has a session");
        self.usage.gone -= 1;
        self.usage.memory_bytes -= peer.charged;
        peer.registry.clear(&mut self.names);
        self.by_client_id.remove(&peer.client_id);
    }

    fn begin_connection(
        &mut self,
        now: Now,
        key: Key<Peer>,
        link: LinkId,
        handshake: &Handshake,
        session_present: bool,
    ) {
        self.stop_exchange(key);
        self.set_state(key, State::Active);
        let Self { peers, names, .. } = self;
        let peer = peers.get_mut(key).expect("entered before");
        peer.link = link;
        peer.exchange = None;
        peer.corrected = None;
        peer.owes_pingresp = false;
        peer.connected_as = handshake.connected_as;
        peer.untouched = true;
        peer.heard_at = now.mono;
        if session_present {
            peer.registry.begin_connection();
            peer.inbound.begin_connection();
        } else {
            peer.registry.clear(names);
            peer.predefined.clear();
            peer.inbound = Inbound::default();
        }
        self.charge(key);
    }

    /// Binds a client to an address: it leaves the one it had, and whoever was bound there loses it
    /// but keeps session and timers (D5).
    pub(super) fn bind(&mut self, key: Key<Peer>, path: Path) {
        let peer = self.peer(key);
        let was_listening = peer.is_listening();
        let old = peer.path.replace(path).filter(|old| old.address != path.address);
        if let Some(old) = old {
            peer.previous = Some(old.address);
            self.unbind_address(old.address);
            if was_listening {
                self.send(old, v12::Disconnect { duration_s: None });
            }
        }
        let binding = self.by_address.entry(path.address).or_default();
        let displaced = binding.peer.replace(key).filter(|displaced| *displaced != key);
        if let Some(displaced) = displaced {
            self.peer(displaced).path = None;
        }
    }

    /// The end of a connection: the client has no link and no address any more.
    pub(super) fn depart(&mut self, key: Key<Peer>) {
        self.stop_exchange(key);
        self.set_state(key, State::Gone);
        let peer = self.peer(key);
        peer.exchange = None;
        peer.owes_pingresp = false;
        peer.last_qos0 = None;
        peer.previous = None;
        let link = peer.link;
        let path = peer.path.take();
        self.charge(key);
        self.by_link.remove(&link);
        if let Some(path) = path {
            self.unbind_address(path.address);
        }
    }

    fn unbind_address(&mut self, address: Address) {
        if let Some(binding) = self.by_address.get_mut(&address) {
            binding.peer = None;
        }
        self.tidy_address(address);
    }

    fn supervise_handshake(&mut self, now: Now, key: Key<Handshake>) {
        let deadline = now.mono + self.settings.handshake_timeout;
        let timer = self.timers.insert(deadline, Timer::Handshake(key));
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
        let Some(handshake) = self.handshakes.get_mut(key) else { return };
        handshake.timer = None;
        let Stage::Probing { probes } = handshake.stage else {
            // The client has forgotten about it, and so do we (10.2).
            self.stats.handshakes_expired += 1;
            self.drop_handshake(key);
            return;
        };
        let path = handshake.path;
        let owner = self.by_client_id.get(handshake.client_id.as_str()).copied();
        let pause = self.settings.takeover_probe;
        let owner_answered = owner.is_some_and(|owner| {
            let owner = self.peer(owner);
            owner.state == State::Active && now.mono - owner.heard_at <= pause
        });
        if owner_answered {
            self.stats.takeovers_refused += 1;
            debug!(from = %path.address.remote, "CONNECT with the id of a client that is there");
            self.drop_handshake(key);
            self.send(path, v12::Connack { return_code: ReturnCode::NotSupported });
        } else if probes < PROBES {
            self.probe(now, key, probes + 1);
        } else {
            self.ask_for_will(now, key, broker);
        }
    }

    fn drop_handshake(&mut self, key: Key<Handshake>) {
        if let Some(handshake) = self.remove_handshake(key) {
            self.tidy_address(handshake.path.address);
        }
    }

    fn remove_handshake(&mut self, key: Key<Handshake>) -> Option<Handshake> {
        let handshake = self.handshakes.remove(key)?;
        self.handshake_bytes -= handshake.memory();
        if let Some(timer) = handshake.timer {
            self.timers.cancel(timer);
        }
        if let Some(binding) = self.by_address.get_mut(&handshake.path.address) {
            binding.handshake = None;
        }
        Some(handshake)
    }

    /// The message that ended a handshake came again: its answer was lost (D4).
    pub(super) fn repeat_connack(&mut self, key: Key<Peer>, hash: &u64) {
        let peer = self.peer(key);
        if peer.untouched && peer.connected_as.ended_by == Some(*hash) {
            self.send_to(key, v12::Connack { return_code: ReturnCode::Accepted });
        } else {
            self.stats.ignored += 1;
        }
    }

    /// WILLTOPICUPD: topic, QoS and retain flag are replaced, or the whole will is deleted (SN-054).
    pub(super) fn update_will_topic(
        &mut self,
        now: Now,
        key: Key<Peer>,
        update: &v12::WillTopicUpd<'_>,
        broker: &mut Broker,
    ) {
        let change = match &update.target {
            None => WillChange::Delete,
            Some(target) => match acceptable_will(target) {
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

    pub(super) fn acknowledge_will(&mut self, key: Key<Peer>, part: WillPart, reason: ReasonCode) {
        let return_code = return_code(reason);
        match part {
            WillPart::Topic => self.send_to(key, v12::WillTopicResp { return_code }),
            WillPart::Payload => self.send_to(key, v12::WillMsgResp { return_code }),
        }
    }

    /// Credit for a client that is active, as soon as the broker can be told.
    pub(super) fn grant_later(&mut self, key: Key<Peer>) {
        let link = self.peer(key).link;
        self.after.push(After::Credit(link));
    }
}

/// Whether a client id may move.
enum Move {
    Free,
    Ask,
    TooOften,
}

/// Silence after which an active client counts as lost: one and a half keep-alives (SN-091, SN-104,
/// D7).
fn keep_alive(keep_alive_s: u16, idle_timeout: Duration) -> Duration {
    match keep_alive_s {
        0 => idle_timeout,
        seconds => sleep::with_tolerance(seconds),
    }
}

/// The client id, if the request can be served at all. Without one the client must not ask for a
/// session that it could never find again.
fn acceptable_id<'a>(connect: &v12::Connect<'a>, bytes_max: usize) -> Option<&'a str> {
    let client_id = core::str::from_utf8(connect.client_id).ok()?;
    let is_acceptable = connect.protocol_id == v12::Connect::PROTOCOL_ID
        && !client_id.contains('\0')
        && client_id.len() <= bytes_max
        && (!client_id.is_empty() || connect.clean_session);
    is_acceptable.then_some(client_id)
}

fn acceptable_will<'a>(target: &WillTarget<'a>) -> Option<(TopicName<'a>, QoS)> {
    let topic = TopicName::from_octets(target.topic_name).ok()?;
    let qos = QoS::from_u8(u8::try_from(target.qos.level()).ok()?)?;
    Some((topic, qos))
}

pub(super) fn will_topic_hash(message: &v12::WillTopic<'_>) -> u64 {
    hash::state(1).hash_one(message.target)
}

pub(super) fn will_msg_hash(message: &v12::WillMsg<'_>) -> u64 {
    hash::state(2).hash_one(message.message)
}
