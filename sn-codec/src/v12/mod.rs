//! MQTT-SN 1.2: every message, both ways.
//!
//! [`Packet::decode`] reads a datagram, and each message struct writes itself with `encode`. The
//! types that other versions share are repeated here, so that this module is all one has to import.

mod decode;
mod encode;
mod flags;
mod message;
mod msg_type;
mod packet;
mod types;

pub use crate::types::{GatewayId, MsgId, QoS};
pub use message::{
    Advertise, Connack, Connect, Disconnect, GwInfo, Pingreq, Pingresp, Puback, Pubcomp, Publish,
    Pubrec, Pubrel, Regack, Register, SearchGw, Suback, Subscribe, Unsuback, Unsubscribe, WillMsg,
    WillMsgReq, WillMsgResp, WillMsgUpd, WillTopic, WillTopicReq, WillTopicResp, WillTopicUpd,
};
pub use msg_type::MsgType;
pub use packet::Packet;
pub use types::{ReturnCode, TopicRef, TopicSelector, WillTarget};
