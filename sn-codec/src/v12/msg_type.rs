//! The message types of 1.2, by number and by name.

use core::fmt::{Display, Formatter, Result};

/// Makes the enum and its three tables from one list, so that they cannot disagree.
macro_rules! msg_types {
    ($($(#[$doc:meta])* $octet:literal $variant:ident $name:literal)*) => {
        /// What a message is: its MsgType octet (SN 5.2.2). All other values are reserved (SN-003).
        ///
        /// Mind that PUBCOMP, PUBREC, PUBREL follow each other in this order, which is not MQTT's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum MsgType {
            $($(#[$doc])* $variant = $octet,)*
        }

        impl MsgType {
            /// Every type, by rising number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The type with this number; `None` if the number is reserved.
            pub const fn from_octet(octet: u8) -> Option<Self> {
                match octet {
                    $($octet => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name as the specification writes it, for logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

msg_types! {
    /// A gateway announces itself.
    0x00 Advertise "ADVERTISE"
    /// A client looks for a gateway.
    0x01 SearchGw "SEARCHGW"
    /// The answer to SEARCHGW.
    0x02 GwInfo "GWINFO"
    /// A client begins a connection.
    0x04 Connect "CONNECT"
    /// The connection stands, or not.
    0x05 Connack "CONNACK"
    /// The gateway asks for the will topic.
    0x06 WillTopicReq "WILLTOPICREQ"
    /// The will topic.
    0x07 WillTopic "WILLTOPIC"
    /// The gateway asks for the will message.
    0x08 WillMsgReq "WILLMSGREQ"
    /// The will message.
    0x09 WillMsg "WILLMSG"
    /// A topic name wants a topic id, or is given one.
    0x0A Register "REGISTER"
    /// The answer to REGISTER.
    0x0B Regack "REGACK"
    /// An application message.
    0x0C Publish "PUBLISH"
    /// The answer to PUBLISH at QoS 1, or an error at any QoS.
    0x0D Puback "PUBACK"
    /// QoS 2, fourth and last.
    0x0E Pubcomp "PUBCOMP"
    /// QoS 2, second.
    0x0F Pubrec "PUBREC"
    /// QoS 2, third.
    0x10 Pubrel "PUBREL"
    /// A client wants messages of a topic.
    0x12 Subscribe "SUBSCRIBE"
    /// The answer to SUBSCRIBE.
    0x13 Suback "SUBACK"
    /// A client wants them no more.
    0x14 Unsubscribe "UNSUBSCRIBE"
    /// The answer to UNSUBSCRIBE.
    0x15 Unsuback "UNSUBACK"
    /// Are you there; or a sleeping client fetching its messages.
    0x16 Pingreq "PINGREQ"
    /// The answer to PINGREQ; or nothing more to fetch.
    0x17 Pingresp "PINGRESP"
    /// The end of a connection, or the beginning of sleep.
    0x18 Disconnect "DISCONNECT"
    /// A client changes its will topic.
    0x1A WillTopicUpd "WILLTOPICUPD"
    /// The answer to WILLTOPICUPD.
    0x1B WillTopicResp "WILLTOPICRESP"
    /// A client changes its will message.
    0x1C WillMsgUpd "WILLMSGUPD"
    /// The answer to WILLMSGUPD.
    0x1D WillMsgResp "WILLMSGRESP"
    /// A message in an envelope: the business of [`forward`](crate::forward), never a packet.
    0xFE Encapsulated "ENCAPSULATED"
}

impl MsgType {
    /// The number on the wire.
    pub const fn octet(self) -> u8 {
        self as u8
    }
}

impl Display for MsgType {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn sn_003_exactly_the_numbers_of_the_table_are_types() {
        let known: Vec<u8> =
            (0..=255).filter(|octet| MsgType::from_octet(*octet).is_some()).collect();
        let mut expected: Vec<u8> = (0x00..=0x1D).collect();
        expected.retain(|octet| ![0x03, 0x11, 0x19].contains(octet));
        expected.push(0xFE);
        assert_eq!(known, expected);
        let listed: Vec<u8> = MsgType::ALL.iter().map(|msg_type| msg_type.octet()).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn a_name_is_the_one_in_the_specification() {
        assert_eq!(MsgType::from_octet(0x0E).map(MsgType::name), Some("PUBCOMP"));
        assert_eq!(MsgType::from_octet(0x0F).map(MsgType::name), Some("PUBREC"));
        assert_eq!(MsgType::from_octet(0x10).map(MsgType::name), Some("PUBREL"));
        assert_eq!(std::format!("{:>14}", MsgType::WillTopicResp), " WILLTOPICRESP");
    }
}
