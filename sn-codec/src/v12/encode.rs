//! Writing: what comes after the MsgType of each message.
//!
//! A body is a few octets of fixed fields and at most one variable field, which is always the last.
//! Both are laid out once; the length of a message and its octets come from the same layout and
//! cannot disagree.

use super::flags::Flags;
use super::message::{
    Advertise, Connack, Connect, Disconnect, GwInfo, Pingreq, Pingresp, Puback, Pubcomp, Publish,
    Pubrec, Pubrel, Regack, Register, SearchGw, Suback, Subscribe, Unsuback, Unsubscribe, WillMsg,
    WillMsgReq, WillMsgResp, WillMsgUpd, WillTopic, WillTopicReq, WillTopicResp, WillTopicUpd,
};
use super::msg_type::MsgType;
use super::types::{TopicSelector, WillTarget};
use crate::error::EncodeError;
use crate::frame;
use crate::types::MsgId;

/// The most fixed octets in front of the variable field: those of SUBACK.
const HEAD_MAX: usize = 6;

/// What comes after the MsgType.
pub(super) struct Body<'a> {
    head: [u8; HEAD_MAX],
    head_len: usize,
    tail: &'a [u8],
}

impl<'a> Body<'a> {
    fn new<const N: usize>(head: [u8; N], tail: &'a [u8]) -> Self {
        const { assert!(N <= HEAD_MAX, "more fixed octets than any message has") };
        let mut padded = [0; HEAD_MAX];
        for (slot, octet) in padded.iter_mut().zip(head) {
            *slot = octet;
        }
        Self { head: padded, head_len: N, tail }
    }

    fn fixed<const N: usize>(head: [u8; N]) -> Self {
        Self::new(head, &[])
    }

    fn head(&self) -> &[u8] {
        self.head.get(..self.head_len).unwrap_or(&self.head)
    }

    pub(super) fn encoded_len(&self) -> usize {
        frame::encoded_len(self.head_len + self.tail.len())
    }
}

/// How a message is laid out.
pub(super) trait Layout {
    fn body(&self) -> Body<'_>;

    /// Whether the message may be sent at all.
    fn check(&self) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// Writes one message to the front of `out` and returns how many octets that took.
pub(super) fn write(
    out: &mut [u8],
    msg_type: MsgType,
    message: &impl Layout,
) -> Result<usize, EncodeError> {
    message.check()?;
    let body = message.body();
    frame::write(out, msg_type.octet(), body.head(), body.tail)
}

impl Layout for Advertise {
    fn body(&self) -> Body<'_> {
        let [d0, d1] = self.duration_s.to_be_bytes();
        Body::fixed([self.gateway_id.0, d0, d1])
    }
}

impl Layout for SearchGw {
    fn body(&self) -> Body<'_> {
        Body::fixed([self.radius])
    }
}

impl Layout for GwInfo<'_> {
    fn body(&self) -> Body<'_> {
        Body::new([self.gateway_id.0], self.address)
    }
}

impl Layout for Connect<'_> {
    fn body(&self) -> Body<'_> {
        let flags = Flags::new()
            .with(Flags::WILL, self.will)
            .with(Flags::CLEAN_SESSION, self.clean_session);
        let [k0, k1] = self.keep_alive_s.to_be_bytes();
        Body::new([flags.octet(), self.protocol_id, k0, k1], self.client_id)
    }
}

impl Layout for Connack {
    fn body(&self) -> Body<'_> {
        Body::fixed([self.return_code.octet()])
    }
}

impl Layout for WillTopicReq {
    fn body(&self) -> Body<'_> {
        Body::fixed([])
    }
}

impl Layout for WillTopic<'_> {
    fn body(&self) -> Body<'_> {
        will_target(self.target)
    }

    fn check(&self) -> Result<(), EncodeError> {
        check_will_target(self.target)
    }
}

impl Layout for WillMsgReq {
    fn body(&self) -> Body<'_> {
        Body::fixed([])
    }
}

impl Layout for WillMsg<'_> {
    fn body(&self) -> Body<'_> {
        Body::new([], self.message)
    }
}

impl Layout for Register<'_> {
    fn body(&self) -> Body<'_> {
        let [t0, t1] = self.topic_id.to_be_bytes();
        let [m0, m1] = self.msg_id.0.to_be_bytes();
        Body::new([t0, t1, m0, m1], self.topic_name)
    }
}

impl Layout for Regack {
    fn body(&self) -> Body<'_> {
        let [t0, t1] = self.topic_id.to_be_bytes();
        let [m0, m1] = self.msg_id.0.to_be_bytes();
        Body::fixed([t0, t1, m0, m1, self.return_code.octet()])
    }
}

impl Layout for Publish<'_> {
    fn body(&self) -> Body<'_> {
        let flags = Flags::new()
            .with(Flags::DUP, self.dup)
            .with_qos(self.qos)
            .with(Flags::RETAIN, self.retain)
            .with_topic_id_type(self.topic.topic_id_type());
        let [t0, t1] = self.topic.raw().to_be_bytes();
        let [m0, m1] = self.msg_id.0.to_be_bytes();
        Body::new([flags.octet(), t0, t1, m0, m1], self.data)
    }

    fn check(&self) -> Result<(), EncodeError> {
        if self.msg_id == MsgId::NONE || self.qos.is_acknowledged() {
            return Ok(());
        }
        Err(EncodeError::UnexpectedMsgId)
    }
}

impl Layout for Puback {
    fn body(&self) -> Body<'_> {
        let [t0, t1] = self.topic_id.to_be_bytes();
        let [m0, m1] = self.msg_id.0.to_be_bytes();
        Body::fixed([t0, t1, m0, m1, self.return_code.octet()])
    }
}

impl Layout for Pubcomp {
    fn body(&self) -> Body<'_> {
        Body::fixed(self.msg_id.0.to_be_bytes())
    }
}

impl Layout for Pubrec {
    fn body(&self) -> Body<'_> {
        Body::fixed(self.msg_id.0.to_be_bytes())
    }
}

impl Layout for Pubrel {
    fn body(&self) -> Body<'_> {
        Body::fixed(self.msg_id.0.to_be_bytes())
    }
}

impl Layout for Subscribe<'_> {
    fn body(&self) -> Body<'_> {
        let flags = Flags::new().with(Flags::DUP, self.dup).with_qos(self.qos);
        topic_selector(flags, self.msg_id, self.topic)
    }
}

impl Layout for Suback {
    fn body(&self) -> Body<'_> {
        let flags = Flags::new().with_qos(self.qos);
        let [t0, t1] = self.topic_id.to_be_bytes();
        let [m0, m1] = self.msg_id.0.to_be_bytes();
        Body::fixed([flags.octet(), t0, t1, m0, m1, self.return_code.octet()])
    }
}

impl Layout for Unsubscribe<'_> {
    fn body(&self) -> Body<'_> {
        topic_selector(Flags::new(), self.msg_id, self.topic)
    }
}

impl Layout for Unsuback {
    fn body(&self) -> Body<'_> {
        Body::fixed(self.msg_id.0.to_be_bytes())
    }
}

impl Layout for Pingreq<'_> {
    fn body(&self) -> Body<'_> {
        Body::new([], self.client_id)
    }
}

impl Layout for Pingresp {
    fn body(&self) -> Body<'_> {
        Body::fixed([])
    }
}

impl Layout for Disconnect {
    fn body(&self) -> Body<'_> {
        match self.duration_s {
            Some(seconds) => Body::fixed(seconds.to_be_bytes()),
            None => Body::fixed([]),
        }
    }
}

impl Layout for WillTopicUpd<'_> {
    fn body(&self) -> Body<'_> {
        will_target(self.target)
    }

    fn check(&self) -> Result<(), EncodeError> {
        check_will_target(self.target)
    }
}

impl Layout for WillTopicResp {
    fn body(&self) -> Body<'_> {
        Body::fixed([self.return_code.octet()])
    }
}

impl Layout for WillMsgUpd<'_> {
    fn body(&self) -> Body<'_> {
        Body::new([], self.message)
    }
}

impl Layout for WillMsgResp {
    fn body(&self) -> Body<'_> {
        Body::fixed([self.return_code.octet()])
    }
}

/// WILLTOPIC and WILLTOPICUPD: flags and name, or nothing at all (SN-024).
fn will_target(target: Option<WillTarget<'_>>) -> Body<'_> {
    let Some(WillTarget { qos, retain, topic_name }) = target else {
        return Body::fixed([]);
    };
    let flags = Flags::new().with_qos(qos).with(Flags::RETAIN, retain);
    Body::new([flags.octet()], topic_name)
}

/// Flags without a name are what no text describes: receivers may take them for a will or for its
/// deletion.
const fn check_will_target(target: Option<WillTarget<'_>>) -> Result<(), EncodeError> {
    match target {
        Some(WillTarget { topic_name: [], .. }) => Err(EncodeError::EmptyWillTopic),
        Some(_) | None => Ok(()),
    }
}

/// SUBSCRIBE and UNSUBSCRIBE: flags, message id, and the topic in the form that the flags announce.
fn topic_selector(flags: Flags, msg_id: MsgId, topic: TopicSelector<'_>) -> Body<'_> {
    let flags = flags.with_topic_id_type(topic.topic_id_type()).octet();
    let [m0, m1] = msg_id.0.to_be_bytes();
    match topic {
        TopicSelector::Name(octets) | TopicSelector::Reserved(octets) => {
            Body::new([flags, m0, m1], octets)
        }
        TopicSelector::Predefined(id) => {
            let [t0, t1] = id.to_be_bytes();
            Body::fixed([flags, m0, m1, t0, t1])
        }
        TopicSelector::Short([t0, t1]) => Body::fixed([flags, m0, m1, t0, t1]),
    }
}
