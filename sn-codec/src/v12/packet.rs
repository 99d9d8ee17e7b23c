//! Any message: the sum of the structs in `message`, and what each of them can do.

use super::encode::{self, Layout};
use super::message::{
    Advertise, Connack, Connect, Disconnect, GwInfo, Pingreq, Pingresp, Puback, Pubcomp, Publish,
    Pubrec, Pubrel, Regack, Register, SearchGw, Suback, Subscribe, Unsuback, Unsubscribe, WillMsg,
    WillMsgReq, WillMsgResp, WillMsgUpd, WillTopic, WillTopicReq, WillTopicResp, WillTopicUpd,
};
use super::msg_type::MsgType;
use crate::error::EncodeError;

/// Makes the enum from the list of messages, and gives each of them the methods that write it.
/// Those are inherent, so that who knows which message it sends encodes it without a match over all
/// of them.
macro_rules! packets {
    ($($name:ident $(<$life:lifetime>)?,)*) => {
        /// Any message of MQTT-SN 1.2. Texts and payloads are borrowed from the datagram.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Packet<'a> {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $name($name $(<$life>)?),
            )*
        }

        impl Packet<'_> {
            /// Which message this is.
            pub const fn msg_type(&self) -> MsgType {
                match self {
                    $(Self::$name(_) => MsgType::$name,)*
                }
            }

            /// Octets that [`encode`](Self::encode) writes: the short form up to 255, else the
            /// long.
            pub fn encoded_len(&self) -> usize {
                match self {
                    $(Self::$name(message) => message.encoded_len(),)*
                }
            }

            /// Writes the message to the front of `out` and returns how many octets that took.
            ///
            /// # Errors
            ///
            /// [`EncodeError::BufferTooSmall`]; [`EncodeError::TooLong`] above 65535 octets;
            /// [`EncodeError::UnexpectedMsgId`] in a PUBLISH; [`EncodeError::EmptyWillTopic`] in a
            /// WILLTOPIC or WILLTOPICUPD. Nothing is written then.
            pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
                match self {
                    $(Self::$name(message) => message.encode(out),)*
                }
            }
        }

        $(
            impl<'a> From<$name $(<$life>)?> for Packet<'a> {
                fn from(message: $name $(<$life>)?) -> Self {
                    Self::$name(message)
                }
            }

            impl $(<$life>)? $name $(<$life>)? {
                /// As [`Packet::encoded_len`].
                pub fn encoded_len(&self) -> usize {
                    self.body().encoded_len()
                }

                /// As [`Packet::encode`], without having to find out first which message it is.
                ///
                /// # Errors
                ///
                /// Those of [`Packet::encode`].
                pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
                    encode::write(out, MsgType::$name, self)
                }
            }
        )*
    };
}

packets! {
    Advertise,
    SearchGw,
    GwInfo<'a>,
    Connect<'a>,
    Connack,
    WillTopicReq,
    WillTopic<'a>,
    WillMsgReq,
    WillMsg<'a>,
    Register<'a>,
    Regack,
    Publish<'a>,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Subscribe<'a>,
    Suback,
    Unsubscribe<'a>,
    Unsuback,
    Pingreq<'a>,
    Pingresp,
    Disconnect,
    WillTopicUpd<'a>,
    WillTopicResp,
    WillMsgUpd<'a>,
    WillMsgResp,
}
