//! Deliberate faults, one at a time, between the machine and its watches: how the checks are
//! checked. A fault that no seed finds is a hole in them.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most faults have nothing to do with most messages"
)]

mod radio;
mod records;

use std::collections::BTreeMap;

use clap::ValueEnum;

pub(crate) use records::{bury, seal, spoil};

use super::book::Book;
use super::hub::{Conn, Out};
use super::place::{Letter, Place};
use super::plant5;
use super::wire::{
    self, DUP, MqttPublish, Octets, RETAIN, SnPublish, Version, first_packet, frame, mqtt, sn,
    split, string, u16_at,
};

/// Every so many of the datagrams concerned are tampered with.
const EVERY: u32 = 5;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A deliberate fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
        #[value(rename_all = "verbatim")]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Whether it is one that matters after a crash: those stand behind the others.
            pub(crate) const fn is_of_crash(self) -> bool {
                self as u8 >= Self::ForgetDupOnStream as u8
            }
        }
    };
}

faults! {
    /// A repeated PUBLISH to a sensor has no DUP.
    ForgetDup,
    /// A PUBLISH follows without its REGISTER.
    SkipRegister,
    /// REGISTER tells the id of another topic.
    SwapTopicIds,
    /// PUBLISH to a sensor carries another topic id.
    WrongTopicId,
    /// PINGRESP comes before the messages.
    EarlyPingresp,
    /// PINGRESP never comes.
    LosePingresp,
    /// QoS 1 is acknowledged and thrown away.
    AckAndForget,
    /// QoS 2 is acknowledged and thrown away.
    RecAndForget,
    /// PUBACK never comes.
    LosePuback,
    /// PUBREC never comes.
    LosePubrec,
    /// PUBCOMP never comes.
    LosePubcomp,
    /// PUBREL never comes.
    LosePubrel,
    /// SUBACK never comes.
    LoseSuback,
    /// CONNACK never comes.
    LoseConnack,
    /// SUBACK grants QoS 0.
    GrantLess,
    /// PUBACK carries another message id.
    WrongMsgId,
    /// PUBREL comes before PUBREC.
    EarlyPubrel,
    /// PUBLISH of QoS 2 comes once more under another message id.
    DoubleQos2ToSensor,
    /// PUBLISH of QoS 2 comes once more on a stream.
    DoubleQos2ToClient,
    /// Two messages on a stream change places.
    SwapOrder,
    /// Messages of QoS 1 and 2 on a stream are lost.
    LoseOnStream,
    /// Messages for sensors come with a higher QoS.
    RaiseQos,
    /// A message on a stream comes under another topic.
    WrongTopic,
    /// Wills are not published.
    LoseWills,
    /// Wills come twice.
    DoubleWills,
    /// What is retained is not sent to new subscribers.
    LoseRetained,
    /// Live messages carry RETAIN.
    RetainLive,
    /// A sensor that sleeps is pinged.
    WakeSleeper,
    /// A sensor that sleeps is sent a message again.
    RepeatToSleeper,
    /// A message goes to another sensor.
    Misdirect,
    /// UNSUBSCRIBE is answered and not done.
    KeepSubscription,
    /// SUBSCRIBE is answered and not done.
    ForgetSubscription,
    /// The session of a client that comes back is said to be new.
    DenySession,
    /// Payloads lose their last octet.
    CutPayload,
    /// DUP at the first sending of QoS 0.
    DupAtQos0,
    /// An envelope carries the node id of another node of its forwarder.
    WrongNode,
    /// An envelope goes to another forwarder, which has such a node, too.
    WrongForwarder,
    /// What is for a node has no envelope.
    NakedNode,
    /// A forwarder is asked to broadcast what is for one node.
    BroadcastToNode,
    /// What a node says is taken for another node's of its forwarder.
    CrossNodes,
    /// Everybody may speak for nodes.
    TrustEveryForwarder,
    /// A forwarder may have any number of nodes.
    UnlimitedNodes,
    /// Some ADVERTISEs never come.
    ForgetAdvertise,
    /// ADVERTISE comes twice.
    DoubleAdvertise,
    /// ADVERTISE announces another time.
    WrongDuration,
    /// GWINFO comes twice.
    DoubleGwinfo,
    /// GWINFO never comes.
    LoseGwinfo,
    /// GWINFO for all goes to the one who asked.
    GwinfoToOne,
    /// Any number of SEARCHGWs is answered.
    UnlimitedSearches,
    /// A forwarder is told another radius for GWINFO.
    WrongRadius,
    /// A session is given away although its owner is there.
    NeverAskOwner,
    /// Nobody is told that its session was taken.
    HideTakeover,
    /// WILLMSGUPD is answered and not done.
    ForgetWillMessage,
    /// WILLTOPICUPD is answered and not done, if it has a topic.
    ForgetWillTopic,
    /// The empty WILLTOPICUPD is answered and not done.
    KeepDeletedWill,
    /// WILLTOPICUPD changes the topic and not the QoS.
    KeepWillQos,
    /// WILLMSGRESP never comes.
    LoseWillResp,
    /// A reload gives predefined ids another meaning under sensors that are connected.
    ReloadRemapsIds,
    /// A reload forgets which messages of QoS 2 were received.
    ReloadForgetsReceived,
    /// A reload ends the links of sensors.
    ReloadLosesLinks,
    /// A client of 5.0 is not told how long a message lasts.
    ForgetExpiry,
    /// It is told that a message lasts as long as it did when it was published.
    FreshExpiry,
    /// A topic alias comes without its topic ever having been named.
    NamelessAlias,
    /// A topic alias stands for another topic.
    WrongAlias,
    /// One more message is under way than the client takes.
    ExceedReceiveMaximum,
    /// A user property is left out.
    LoseUserProperty,
    /// The response topic is left out.
    LoseResponseTopic,
    /// A message has the subscription identifier of another filter.
    WrongIdentifier,
    /// A message has no subscription identifier.
    LoseIdentifier,
    /// RETAIN is not as it was published.
    LoseRetainAsPublished,
    /// A client is sent what it published itself.
    IgnoreNoLocal,
    /// Retained messages are sent although they were not asked for.
    IgnoreRetainHandling,
    /// A message for a group comes to its next member, too.
    ShareWithTwo,
    /// Messages for a member of a group are lost.
    LoseShared,
    /// A will is published at once, whatever its delay.
    IgnoreWillDelay,
    /// A session ends with its connection, whatever its expiry.
    ForgetSessionExpiry,
    /// A session outlives its expiry.
    IgnoreSessionExpiry,
    /// A client is not told that its session is taken over.
    SilentTakeOver,
    /// CONNACK does not tell the receive maximum.
    LoseServerProperty,
    /// A client of 3.1 is told whether its session is there.
    SessionPresentIn31,
    /// The gateway says that nobody has subscribed.
    NobodySubscribed,
    /// A repeated PUBLISH on a stream has no DUP.
    ForgetDupOnStream,
    /// Answers leave before their changes are written.
    AckBeforeAppend,
    /// Answers leave when their changes are written and not synced.
    TellBeforeSync,
    /// The compaction deletes a file before its copies are synced.
    DeleteBeforeSync,
    /// A restart forgets some retained messages.
    ForgetRetained,
    /// A restart forgets which messages of QoS 2 were received.
    ForgetReceived,
    /// A restart forgets which messages of QoS 2 were sent.
    ForgetSent,
    /// A restart forgets wills.
    ForgetWills,
    /// A restart brings back wills as they were before.
    ForgetWillChanges,
    /// A restart forgets topic ids.
    ForgetTopicIds,
    /// A restart forgets some subscriptions.
    ForgetSubscriptions,
    /// A restart forgets some messages that wait.
    ForgetQueued,
    /// A restart forgets some sessions.
    ForgetSessions,
    /// A restart forgets who sleeps.
    ForgetSleep,
    /// A restart brings back what was deleted.
    ForgetDeletions,
    /// A restart publishes wills although the end was in order.
    ForgetCleanEnd,
    /// Answers leave while the disk refuses and nobody was to be told so.
    AckWhileRefusing,
    /// Answers that wait for nothing are said to be safe while what waits is not on the disk.
    GateBeforeBacklog,
    /// What waited for the disk is written but for some records.
    ForgetBacklog,
    /// The room for a full disk is not held again.
    ForgetReserve,
    /// A sync that failed is taken for done.
    IgnoreSyncFailure,
    /// A frame with the wrong checksum is taken for a good one.
    AcceptDamage,
    /// A restart forgets how long sessions last.
    ForgetExpiryOfSessions,
    /// A restart forgets how long messages last.
    ForgetExpiryOfMessages,
    /// A restart forgets user properties and the like.
    ForgetProperties,
    /// A restart forgets how long wills are put off.
    ForgetDelayOfWills,
}

/// What becomes of a datagram on its way to the machine.
pub(crate) enum Up {
    Pass,
    Instead {
        octets: Option<Octets>,
        answers: Vec<Octets>,
    },
    /// It is heard as if it came from another.
    As {
        sensor: u32,
        place: Place,
    },
}

/// A packet on its way to a client.
#[derive(Clone, Copy, Debug)]
struct Packet<'a> {
    conn: Conn,
    version: Version,
    whole: &'a [u8],
    body: &'a [u8],
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Plant {
    fault: Option<Fault>,
    count: u32,
    /// The last PUBLISH to each sensor, and those that sleep.
    last: BTreeMap<u32, Octets>,
    asleep: BTreeMap<u32, Place>,
    /// Where sensors were told that they are connected.
    connected: BTreeMap<u32, Place>,
    held: BTreeMap<Conn, Octets>,
    /// The configuration was read again in this process.
    pub(crate) is_reloaded: bool,
    /// How often the fault has been there.
    pub(crate) planted: u64,
}

impl Plant {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self { fault, ..Self::default() }
    }

    pub(crate) const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether it is the turn of one that the fault concerns.
    fn strikes(&mut self) -> bool {
        self.count += 1;
        let strikes = self.count.is_multiple_of(EVERY);
        self.planted += u64::from(strikes);
        strikes
    }

    /// A datagram goes to the machine.
    pub(crate) fn up(&mut self, sensor: u32, place: Place, octets: &[u8], book: &Book) -> Up {
        let Some(fault) = self.fault else { return Up::Pass };
        let Some((kind, body)) = split(octets) else { return Up::Pass };
        if fault == Fault::CrossNodes && kind != sn::CONNECT {
            return self.cross(sensor, place, book);
        }
        let publish = SnPublish::read(body).filter(|_| kind == sn::PUBLISH);
        if kind == sn::DISCONNECT && body.len() == 2 {
            self.asleep.insert(sensor, place);
        } else {
            self.asleep.remove(&sensor);
        }
        let is_predefined = publish.is_some_and(|it| it.flags & 3 == 1);
        if fault == Fault::ReloadRemapsIds && self.is_reloaded && is_predefined {
            // The next one's meaning.
            self.planted += 1;
            let mut octets = Octets::from(octets);
            let low = octets.len() - body.len() + 2;
            octets[low] = octets[low] % 8 + 1;
            return Up::Instead { octets: Some(octets), answers: Vec::new() };
        }
        let is_of_will = [Fault::ForgetWillMessage, Fault::ForgetWillTopic, Fault::KeepDeletedWill];
        if is_of_will.contains(&fault) && self.connected.get(&sensor) != Some(&place) {
            return Up::Pass;
        }
        let answer = match (fault, publish) {
            (Fault::AckAndForget, Some(it)) if it.qos() == 1 => {
                let ids = [it.topic.to_be_bytes(), it.msg_id.to_be_bytes()].concat();
                frame(sn::PUBACK, &[&ids, &[0]])
            }
            (Fault::RecAndForget, Some(it)) if it.qos() == 2 => {
                frame(sn::PUBREC, &[&it.msg_id.to_be_bytes()])
            }
            (Fault::KeepSubscription, None) if kind == sn::UNSUBSCRIBE => {
                frame(sn::UNSUBACK, &[&body[1..3]])
            }
            (Fault::ForgetSubscription, None) if kind == sn::SUBSCRIBE && body[0] & 3 == 2 => {
                let name = [body[3], body[4]];
                frame(sn::SUBACK, &[&[body[0] & 0x60], &name, &body[1..3], &[0]])
            }
            (Fault::ForgetWillMessage, None) if kind == sn::WILLMSGUPD => {
                frame(sn::WILLMSGRESP, &[&[0]])
            }
            (Fault::ForgetWillTopic, None) if kind == sn::WILLTOPICUPD && !body.is_empty() => {
                frame(sn::WILLTOPICRESP, &[&[0]])
            }
            (Fault::KeepDeletedWill, None) if kind == sn::WILLTOPICUPD && body.is_empty() => {
                frame(sn::WILLTOPICRESP, &[&[0]])
            }
            (Fault::KeepWillQos, None) if kind == sn::WILLTOPICUPD && !body.is_empty() => {
                let octets = Some(frame(kind, &[&[0], &body[1..]]));
                return Up::Instead { octets, answers: Vec::new() };
            }
            _ => return Up::Pass,
        };
        let is_seldom = matches!(fault, Fault::AckAndForget | Fault::RecAndForget);
        if is_seldom && !self.strikes() {
            return Up::Pass;
        }
        Up::Instead { octets: None, answers: vec![answer] }
    }

    /// What the machine puts out.
    pub(crate) fn down(
        &mut self,
        outs: &mut Vec<Out>,
        book: &Book,
        version: impl Fn(Conn) -> Version,
    ) {
        let Some(fault) = self.fault else { return };
        for out in std::mem::take(outs) {
            match out {
                Out::Datagram { to, octets } => match Place::read(to, &octets, book) {
                    Ok(Some((sensor, place, letter))) => {
                        let mut said = Vec::new();
                        self.datagram(fault, sensor, place, letter.message.into(), &mut said, book);
                        for (sensor, place, octets) in said {
                            let letter = Letter { message: &octets, ..letter };
                            outs.push(self.post(fault, sensor, place, letter, book));
                        }
                    }
                    Ok(None) | Err(_) => self.answer_other(fault, to, octets, outs),
                },
                Out::Groups { octets } => self.advertise(fault, octets, outs),
                Out::Octets { conn, octets } => {
                    let mut changed = Vec::new();
                    let mut rest = &octets[..];
                    while let Some((whole, body)) = first_packet(rest) {
                        let packet = Packet { conn, version: version(conn), whole, body };
                        self.packet(fault, packet, &mut changed, book);
                        rest = &rest[whole.len()..];
                    }
                    changed.extend_from_slice(rest);
                    if !changed.is_empty() {
                        outs.push(Out::Octets { conn, octets: changed.into() });
                    }
                }
                Out::Closed { conn } => outs.push(Out::Closed { conn }),
            }
        }
        self.disturb_sleepers(fault, outs, book);
    }

    fn disturb_sleepers(&mut self, fault: Fault, outs: &mut Vec<Out>, book: &Book) {
        if !matches!(fault, Fault::WakeSleeper | Fault::RepeatToSleeper) {
            return;
        }
        let Some((sensor, place)) = self.asleep.pop_first() else { return };
        let octets = match fault {
            Fault::WakeSleeper => Some(frame(sn::PINGREQ, &[])),
            _ => self.last.remove(&sensor),
        };
        if let Some(octets) = octets {
            self.planted += 1;
            let octets = place.wrap(sensor, octets, 0, book);
            outs.push(Out::Datagram { to: place.address(sensor), octets });
        }
    }

    fn datagram(
        &mut self,
        fault: Fault,
        sensor: u32,
        place: Place,
        mut octets: Octets,
        outs: &mut Vec<(u32, Place, Octets)>,
        book: &Book,
    ) {
        let original = octets.clone();
        let (kind, body) = split(&original).unwrap_or_default();
        let head = octets.len() - body.len();
        let publish = SnPublish::read(body).filter(|_| kind == sn::PUBLISH);
        if (kind, body) == (sn::CONNACK, &[0]) {
            self.connected.insert(sensor, place);
        } else if kind == sn::DISCONNECT {
            self.connected.remove(&sensor);
        }
        let (qos, is_dup) = publish.map_or((9, false), |it| (it.qos(), it.is_dup()));
        let is_normal = publish.is_some_and(|it| it.flags & 3 == 0);
        let loses = match fault {
            Fault::LosePingresp => kind == sn::PINGRESP,
            Fault::LosePuback => kind == sn::PUBACK,
            Fault::LosePubrec => kind == sn::PUBREC,
            Fault::LosePubcomp => kind == sn::PUBCOMP,
            Fault::LosePubrel => kind == sn::PUBREL,
            Fault::LoseSuback => kind == sn::SUBACK,
            Fault::HideTakeover => kind == sn::DISCONNECT && !self.asleep.contains_key(&sensor),
            Fault::LoseGwinfo => kind == sn::GWINFO,
            Fault::LoseWillResp => kind == sn::WILLMSGRESP,
            Fault::LoseConnack => kind == sn::CONNACK && sensor.is_multiple_of(8),
            Fault::SkipRegister => kind == sn::REGISTER,
            _ => false,
        };
        let mut more = Vec::new();
        match fault {
            _ if loses => {
                self.planted += 1;
                if fault == Fault::SkipRegister {
                    let topic_and_id = [&body[..2], &body[2..4]].concat();
                    let publish = [&[0x20], &*topic_and_id].concat();
                    let data = self.last.get(&sensor).cloned().unwrap_or_default();
                    outs.push((sensor, place, frame(sn::PUBLISH, &[&publish, &data])));
                }
                return;
            }
            Fault::ForgetDup if is_dup => octets[head] &= !DUP,
            Fault::SwapTopicIds if kind == sn::REGISTER && self.strikes() => octets[head + 1] ^= 1,
            Fault::WrongTopicId if is_normal && self.strikes() => octets[head + 2] ^= 1,
            Fault::EarlyPingresp if publish.is_some() && self.strikes() => {
                outs.push((sensor, place, frame(sn::PINGRESP, &[])));
            }
            Fault::GrantLess if kind == sn::SUBACK => octets[head] &= !0x60,
            Fault::WrongMsgId if kind == sn::PUBACK && self.strikes() => octets[head + 3] ^= 1,
            Fault::EarlyPubrel if qos == 2 && self.strikes() => {
                more.push(frame(sn::PUBREL, &[&octets[head + 3..head + 5]]));
            }
            Fault::DoubleQos2ToSensor if qos == 2 && !is_dup && self.strikes() => {
                let mut copy = octets.clone();
                copy[head + 3] ^= 0x40;
                more.push(copy);
            }
            Fault::RaiseQos if qos == 0 && self.strikes() => {
                octets[head] |= 0x20;
                octets[head + 4] = 1;
            }
            Fault::DoubleGwinfo if kind == sn::GWINFO => more.push(octets.clone()),
            Fault::RetainLive if publish.is_some() => octets[head] |= RETAIN,
            Fault::LoseRetained if publish.is_some_and(|it| it.is_retained()) => return,
            Fault::CutPayload if publish.is_some() && octets.len() < 250 && self.strikes() => {
                octets = frame(kind, &[&body[..body.len() - 1]]);
            }
            Fault::DupAtQos0 if qos == 0 && self.strikes() => octets[head] |= DUP,
            Fault::Misdirect if publish.is_some() && self.strikes() => {
                let other = (sensor + 1) % book.sensors;
                outs.push((other, Place::first(other, book), octets));
                return;
            }
            _ => {}
        }
        if publish.is_some() && qos > 0 {
            self.last.insert(sensor, octets.clone());
        }
        outs.push((sensor, place, octets));
        outs.extend(more.into_iter().map(|octets| (sensor, place, octets)));
    }

    fn packet(&mut self, fault: Fault, packet: Packet<'_>, out: &mut Vec<u8>, book: &Book) {
        let Packet { conn, version, whole, body } = packet;
        let first = whole[0];
        let is_publish = first >> 4 == mqtt::PUBLISH;
        let publish = MqttPublish::read(version, first, body).filter(|_| is_publish);
        let publish = publish.as_ref();
        let publication = publish.and_then(|it| book.read(it.data));
        let is_will = publication.is_some_and(|it| it.is_will());
        let qos = publish.map_or(9, |it| it.qos());
        let is_live = publication.is_some() && !is_will && first & 1 == 0;
        let mut strikes = || self.strikes();
        if let Some(changed) = plant5::say(fault, version, whole, body, book, &mut strikes) {
            self.planted += 1;
            out.extend(changed);
            return;
        }
        match fault {
            Fault::LoseWills if is_will => self.planted += 1,
            Fault::ForgetDupOnStream if publish.is_some() => {
                out.push(first & !0x08);
                out.extend_from_slice(&whole[1..]);
            }
            Fault::LoseOnStream if is_live && qos == 1 && self.strikes() => {}
            Fault::DoubleWills if is_will => self.double(whole, body, out),
            Fault::DoubleQos2ToClient if is_live && qos == 2 && self.strikes() => {
                self.double(whole, body, out);
            }
            Fault::SwapOrder if is_live && qos > 0 => match self.held.remove(&conn) {
                Some(held) => {
                    self.planted += 1;
                    out.extend_from_slice(whole);
                    out.extend_from_slice(&held);
                }
                None => {
                    self.held.insert(conn, whole.into());
                }
            },
            Fault::WrongTopic if is_live && self.strikes() => {
                let Some(it) = publish else { return };
                let id = it.id.to_be_bytes();
                let id = if qos > 0 { id.as_slice() } else { &[] };
                let after = &body[2 + it.topic.len() + id.len()..];
                out.extend(wire::packet(first, &[&string(b"s/0/0/0"), id, after]));
            }
            Fault::LoseRetained if publish.is_some_and(|it| it.is_retained()) => {}
            Fault::DenySession if first >> 4 == mqtt::CONNACK => {
                out.extend(wire::packet(first, &[&[0], &body[1..]]));
            }
            _ => out.extend_from_slice(whole),
        }
    }

    /// The same PUBLISH again under another packet identifier.
    fn double(&mut self, whole: &[u8], body: &[u8], out: &mut Vec<u8>) {
        self.planted += 1;
        out.extend_from_slice(whole);
        let id_at = whole.len() - body.len() + 2 + usize::from(u16_at(body, 0));
        let mut copy = whole.to_vec();
        if whole[0] & 0x06 != 0 {
            copy[id_at] ^= 0x40;
        }
        out.extend(copy);
    }
}
