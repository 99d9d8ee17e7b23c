//! MQTT-SN packets to and from octets: no_std, no allocation, no unsafe, no copy on the way in.
//!
//! MQTT-SN carries publish and subscribe over datagrams, for devices to which TCP is too dear. One
//! datagram is one message. [`v12`] holds the messages of version 1.2 in both directions, so that
//! gateways, clients and tests are all served; [`forward`] holds the envelope in which a forwarder
//! passes messages on. What a message *means* is not decided here: this crate has no clock, no
//! state, no memory of what came before.
//!
//! # Message map
//!
//! C is a client, G a gateway. Every message is a struct of [`v12`] and a variant of
//! [`v12::Packet`].
//!
//! | For | Messages |
//! |---|---|
//! | finding a gateway | [`Advertise`] G→all · [`SearchGw`] C→all · [`GwInfo`] G→all, C→all |
//! | connecting | [`Connect`] C→G · [`Connack`] G→C |
//! | the will | [`WillTopicReq`] G→C · [`WillTopic`] C→G · [`WillMsgReq`] G→C · [`WillMsg`] C→G |
//! | changing its topic | [`WillTopicUpd`] C→G · [`WillTopicResp`] G→C |
//! | changing its message | [`WillMsgUpd`] C→G · [`WillMsgResp`] G→C |
//! | topic ids | [`Register`], [`Regack`] both ways |
//! | messages | [`Publish`], [`Puback`] both ways; at QoS 2 [`Pubrec`], [`Pubrel`], [`Pubcomp`] |
//! | subscriptions | [`Subscribe`] C→G · [`Suback`] G→C · [`Unsubscribe`] C→G · [`Unsuback`] G→C |
//! | staying, sleeping, leaving | [`Pingreq`], [`Pingresp`], [`Disconnect`] both ways |
//!
//! # Both directions
//!
//! A sensor publishes at QoS 1 to topic id 1, and the gateway acknowledges:
//!
//! ```
//! use sn_codec::v12::{MsgId, Packet, Puback, Publish, QoS, ReturnCode, TopicRef};
//!
//! // At the sensor: a message is a struct that writes itself into a buffer of yours.
//! let temperature = Publish {
//!     dup: false,
//!     qos: QoS::AtLeastOnce,
//!     retain: false,
//!     topic: TopicRef::Normal(1),
//!     msg_id: MsgId(7),
//!     data: b"21.5",
//! };
//! let mut buffer = [0; 64];
//! let size = temperature.encode(&mut buffer)?;
//! let datagram = &buffer[..size];
//! assert_eq!(datagram, b"\x0B\x0C\x20\x00\x01\x00\x0721.5");
//!
//! // At the gateway: a datagram is exactly one message, or an error that says what and where.
//! let Packet::Publish(publish) = Packet::decode(datagram)? else { panic!("it was a PUBLISH") };
//! assert_eq!(publish.data, b"21.5"); // borrowed from the datagram
//! let answer = Puback {
//!     topic_id: publish.topic.raw(),
//!     msg_id: publish.msg_id,
//!     return_code: ReturnCode::Accepted,
//! };
//! let mut reply = [0; 16];
//! let size = answer.encode(&mut reply)?;
//! assert_eq!(reply[..size], [0x07, 0x0D, 0x00, 0x01, 0x00, 0x07, 0x00]);
//!
//! let error = Packet::decode(&datagram[..size]).unwrap_err();
//! assert_eq!(error.to_string(), "octet 0: length field says 11, the datagram has 7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is refused, and what is let pass
//!
//! Reading is strict about shape: the Length must be the size of the datagram, a type must exist, a
//! message of fixed size must have it. All that is a [`DecodeError`]; drop such a datagram and
//! answer nothing.
//!
//! It is liberal about contents, because the sender of a well-formed message is owed an answer even
//! if that is a refusal: reserved topic id types, QoS 0b11, unknown return codes and protocol ids,
//! empty or ill-formed names come through as what they are. Flag bits and message ids that mean
//! nothing where they are set are not shown at all.
//!
//! Writing is strict: reserved bits are 0, the short form is used wherever it suffices, and what
//! must never be sent is an [`EncodeError`].
//!
//! # Limits
//!
//! | Octets of | in the short form | in the long form |
//! |---|---|---|
//! | a message, all in all | 2 to 255 | 4 to 65535 |
//! | the payload of a PUBLISH | 248 | 65526 |
//! | the client id in a CONNECT, the topic name in a REGISTER | 249 | 65527 |
//! | the topic filter in a SUBSCRIBE or UNSUBSCRIBE | 250 | 65528 |
//! | the wireless node id of an envelope | 1 to [`forward::NODE_ID_MAX`] | – |
//!
//! Small devices insist on the short form, so it is sent wherever it suffices; both are read at
//! every size. Reading a datagram is constant work whatever its size, writing one copies each of
//! its octets once.
//!
//! [`Advertise`]: v12::Advertise
//! [`SearchGw`]: v12::SearchGw
//! [`GwInfo`]: v12::GwInfo
//! [`Connect`]: v12::Connect
//! [`Connack`]: v12::Connack
//! [`WillTopicReq`]: v12::WillTopicReq
//! [`WillTopic`]: v12::WillTopic
//! [`WillMsgReq`]: v12::WillMsgReq
//! [`WillMsg`]: v12::WillMsg
//! [`WillTopicUpd`]: v12::WillTopicUpd
//! [`WillTopicResp`]: v12::WillTopicResp
//! [`WillMsgUpd`]: v12::WillMsgUpd
//! [`WillMsgResp`]: v12::WillMsgResp
//! [`Register`]: v12::Register
//! [`Regack`]: v12::Regack
//! [`Publish`]: v12::Publish
//! [`Puback`]: v12::Puback
//! [`Pubrec`]: v12::Pubrec
//! [`Pubrel`]: v12::Pubrel
//! [`Pubcomp`]: v12::Pubcomp
//! [`Subscribe`]: v12::Subscribe
//! [`Suback`]: v12::Suback
//! [`Unsubscribe`]: v12::Unsubscribe
//! [`Unsuback`]: v12::Unsuback
//! [`Pingreq`]: v12::Pingreq
//! [`Pingresp`]: v12::Pingresp
//! [`Disconnect`]: v12::Disconnect
#![no_std]
#![forbid(unsafe_code)]
// An outsider's octets reach every line here: nothing may panic, and nothing may lose bits.
#![warn(clippy::cast_possible_truncation, clippy::indexing_slicing, clippy::panic)]

mod error;
pub mod forward;
mod frame;
mod reader;
mod types;
pub mod v12;

pub use error::{DecodeError, EncodeError, Kind};
pub use types::{GatewayId, MsgId, QoS};
