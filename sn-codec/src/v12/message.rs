//! One struct per message, in the order of their numbers. C is a client, G a gateway.
//!
//! Texts are octets as received. Whether a topic name is UTF-8, a client id known or a number
//! allowed is for the gateway to judge, because it owes the sender an answer.

use super::types::{ReturnCode, TopicRef, TopicSelector, WillTarget};
use crate::types::{GatewayId, MsgId, QoS};

/// ADVERTISE (SN 5.4.1), G → all: I am here and can serve (SN-031, SN-032).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertise {
    /// Who is here.
    pub gateway_id: GatewayId,
    /// Seconds until this gateway's next ADVERTISE (SN-036).
    pub duration_s: u16,
}

/// SEARCHGW (SN 5.4.2), C → all: is there a gateway?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchGw {
    /// Hops the question travels, 0 for the whole network; for the lower layer, and for the answer
    /// (SN-010).
    pub radius: u8,
}

/// GWINFO (SN 5.4.3), G → all, or C → all on behalf of a gateway: there is this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GwInfo<'a> {
    /// The gateway.
    pub gateway_id: GatewayId,
    /// Its network address in a coding that depends on the network; empty from the gateway itself
    /// (SN-014).
    pub address: &'a [u8],
}

/// CONNECT (SN 5.4.4), C → G. Answered by [`Connack`] or [`WillTopicReq`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Whether the gateway is to ask for will topic and will message (SN-046).
    pub will: bool,
    /// Whether subscriptions and will of an earlier session are to be deleted (SN-048, SN-049).
    pub clean_session: bool,
    /// [`Connect::PROTOCOL_ID`], or a version this is not, which deserves a refusal (SN-009).
    pub protocol_id: u8,
    /// Keep-alive in seconds; 0 is not mentioned by the text and means no supervision in MQTT.
    pub keep_alive_s: u16,
    /// 1 to 23 characters if the client keeps to the rules (SN-005), possibly none.
    pub client_id: &'a [u8],
}

impl Connect<'_> {
    /// The ProtocolId of 1.2 (SN-009).
    pub const PROTOCOL_ID: u8 = 0x01;
}

/// CONNACK (SN 5.4.5), G → C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connack {
    /// Accepted, or why not (SN-047).
    pub return_code: ReturnCode,
}

/// WILLTOPICREQ (SN 5.4.6), G → C. Answered by [`WillTopic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillTopicReq;

/// WILLTOPIC (SN 5.4.7), C → G. Answered by [`WillMsgReq`] or [`Connack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillTopic<'a> {
    /// `None`, the empty form, deletes will topic and will message (SN-024, SN-052).
    pub target: Option<WillTarget<'a>>,
}

/// WILLMSGREQ (SN 5.4.8), G → C. Answered by [`WillMsg`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillMsgReq;

/// WILLMSG (SN 5.4.9), C → G. Answered by [`Connack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillMsg<'a> {
    /// Payload of the will, possibly empty.
    pub message: &'a [u8],
}

/// REGISTER (SN 5.4.10), both ways. Answered by [`Regack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register<'a> {
    /// The id that the gateway gives; 0x0000 and without meaning from a client (SN-015).
    pub topic_id: u16,
    /// Repeated by the answer (SN-016).
    pub msg_id: MsgId,
    /// Topic name, UTF-8 without wildcards if the sender keeps to the rules (SN-013). Possibly
    /// empty, which deserves a refusal.
    pub topic_name: &'a [u8],
}

/// REGACK (SN 5.4.11), both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regack {
    /// The id to use from now on (SN-017); 0x0000 from a gateway that refuses.
    pub topic_id: u16,
    /// That of the REGISTER (SN-016).
    pub msg_id: MsgId,
    /// Accepted, or why not.
    pub return_code: ReturnCode,
}

/// PUBLISH (SN 5.4.12), both ways. Answered by [`Puback`], by [`Pubrec`], or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Sent before (SN-006).
    pub dup: bool,
    /// Level of the exchange; [`QoS::MinusOne`] from clients only (SN-007).
    pub qos: QoS,
    /// Whether the message is to be retained, or was.
    pub retain: bool,
    /// Where it belongs.
    pub topic: TopicRef,
    /// Repeated by the answer; [`MsgId::NONE`] unless QoS is 1 or 2 (SN-018). A number sent
    /// nevertheless at another QoS means nothing and is read as `NONE`; one to be sent is
    /// refused.
    pub msg_id: MsgId,
    /// Payload, possibly empty.
    pub data: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Topic name and payload of a QoS −1 PUBLISH that names its topic inside the payload: an
    /// extension of some clients, which 1.2 does not have and which 2.0 mentions for old
    /// senders.
    ///
    /// It is marked by QoS −1 with a normal topic id, which 1.2 forbids (SN-068); the id is then
    /// the length of the name that `data` begins with. `None` for every other PUBLISH, and
    /// where the name would be empty or not fit.
    pub fn inline_name(&self) -> Option<(&'a [u8], &'a [u8])> {
        match (self.qos, self.topic) {
            (QoS::MinusOne, TopicRef::Normal(len @ 1..)) => {
                self.data.split_at_checked(usize::from(len))
            }
            _ => None,
        }
    }
}

/// PUBACK (SN 5.4.13), both ways: success at QoS 1, an error at any QoS (SN-020).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Puback {
    /// The TopicId field of the PUBLISH whatever its type (SN-019): [`TopicRef::raw`].
    pub topic_id: u16,
    /// That of the PUBLISH (SN-019).
    pub msg_id: MsgId,
    /// Accepted, or why not.
    pub return_code: ReturnCode,
}

/// PUBCOMP (SN 5.4.14), both ways: the end of a QoS 2 exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pubcomp {
    /// That of the PUBLISH.
    pub msg_id: MsgId,
}

/// PUBREC (SN 5.4.14), both ways. Answered by [`Pubrel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pubrec {
    /// That of the PUBLISH.
    pub msg_id: MsgId,
}

/// PUBREL (SN 5.4.14), both ways. Answered by [`Pubcomp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pubrel {
    /// That of the PUBLISH.
    pub msg_id: MsgId,
}

/// SUBSCRIBE (SN 5.4.15), C → G. Answered by [`Suback`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Sent before; some clients set it, nothing depends on it.
    pub dup: bool,
    /// Requested QoS; [`QoS::MinusOne`] deserves a refusal.
    pub qos: QoS,
    /// Repeated by the answer (SN-021).
    pub msg_id: MsgId,
    /// What to subscribe to.
    pub topic: TopicSelector<'a>,
}

/// SUBACK (SN 5.4.16), G → C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suback {
    /// Granted QoS, the only flag there is (SN-022).
    pub qos: QoS,
    /// The id that deliveries will carry (SN-023); 0x0000 for wildcards (SN-073).
    pub topic_id: u16,
    /// That of the SUBSCRIBE (SN-021).
    pub msg_id: MsgId,
    /// Accepted, or why not (SN-071).
    pub return_code: ReturnCode,
}

/// UNSUBSCRIBE (SN 5.4.17), C → G. Answered by [`Unsuback`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Repeated by the answer (SN-021).
    pub msg_id: MsgId,
    /// What to unsubscribe from.
    pub topic: TopicSelector<'a>,
}

/// UNSUBACK (SN 5.4.18), G → C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsuback {
    /// That of the UNSUBSCRIBE (SN-021).
    pub msg_id: MsgId,
}

/// PINGREQ (SN 5.4.19), both ways. Answered by [`Pingresp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pingreq<'a> {
    /// Who wakes up, from a sleeping client (SN-096); else empty.
    pub client_id: &'a [u8],
}

/// PINGRESP (SN 5.4.20), both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pingresp;

/// DISCONNECT (SN 5.4.21), both ways. A gateway answers a client's by its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// Seconds of sleep, from a client that goes to sleep (SN-093); never from a gateway (SN-025).
    pub duration_s: Option<u16>,
}

/// WILLTOPICUPD (SN 5.4.22), C → G. Answered by [`WillTopicResp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillTopicUpd<'a> {
    /// `None`, the empty form, deletes will topic and will message (SN-024).
    pub target: Option<WillTarget<'a>>,
}

/// WILLTOPICRESP (SN 5.4.24), G → C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillTopicResp {
    /// Accepted, or why not.
    pub return_code: ReturnCode,
}

/// WILLMSGUPD (SN 5.4.23), C → G. Answered by [`WillMsgResp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillMsgUpd<'a> {
    /// New payload of the will, possibly empty.
    pub message: &'a [u8],
}

/// WILLMSGRESP (SN 5.4.25), G → C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillMsgResp {
    /// Accepted, or why not.
    pub return_code: ReturnCode,
}
