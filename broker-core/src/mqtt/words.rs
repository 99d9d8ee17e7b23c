//! What a client of 5.0 is told in words, if it likes: a reason string beside a reason code.
//!
//! Words are for people who look for a mistake, and say what the code leaves open. They are never
//! the only thing that is said: where they do not fit they are left out.

use core::fmt::{self, Write as _};

use super::error::Violation;
use super::frame::PacketType;
use crate::reason::ReasonCode;

/// What a client is told in words: a reason string as a block of properties, or nothing.
#[derive(Debug)]
pub(super) struct Words {
    octets: [u8; Self::SIZE],
    len: usize,
}

impl Words {
    /// Identifier, length, and the longest text that is said; a longer one is cut.
    const SIZE: usize = 3 + 120;

    /// Nothing is said: the code says it all, or nobody wants to know.
    pub(super) const NONE: Self = Self { octets: [0; Self::SIZE], len: 0 };

    /// What a client did wrong.
    pub(super) fn about(violation: &Violation) -> Self {
        Self::say(violation)
    }

    fn say(what: impl fmt::Display) -> Self {
        let mut words = Self { len: 3, ..Self::NONE };
        // It only fails when it is cut.
        let _ = write!(words, "{what}");
        let text_len = u16::try_from(words.len - 3).expect("it is shorter than SIZE");
        words.octets[0] = 0x1F;
        words.octets[1..3].copy_from_slice(&text_len.to_be_bytes());
        words
    }

    /// What a packet with this reason leaves open, if there is anything to say and it is wanted
    /// [MQTT5-3.1.2-29].
    pub(super) fn on(packet: PacketType, reason: ReasonCode, is_wanted: bool) -> Self {
        match explain(packet, reason) {
            Some(text) if is_wanted => Self::say(text),
            Some(_) | None => Self::NONE,
        }
    }

    pub(super) fn as_properties(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

impl fmt::Write for Words {
    /// All texts are ASCII, so that they can be cut anywhere.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.octets[self.len..];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// What is behind a refusal or an end that the broker has decided on.
const fn explain(packet: PacketType, reason: ReasonCode) -> Option<&'static str> {
    Some(match (packet, reason) {
        (PacketType::ConnAck, ReasonCode::ClientIdentifierNotValid) => {
            "the client identifier is too long"
        }
        (PacketType::ConnAck, ReasonCode::NotAuthorized) => {
            "topics that begin with $ belong to the server, and so do wills on them"
        }
        (PacketType::ConnAck, ReasonCode::TopicNameInvalid) => {
            "the topic of the will has more levels than are served"
        }
        (PacketType::ConnAck, ReasonCode::PayloadFormatInvalid) => {
            "the will is said to be text, and is not well-formed UTF-8"
        }
        (PacketType::ConnAck, ReasonCode::QuotaExceeded) => {
            "the server has as many sessions, or as much in memory, as it may"
        }
        (PacketType::PubAck | PacketType::PubRec, ReasonCode::NotAuthorized) => {
            "topics that begin with $ belong to the server"
        }
        (PacketType::PubAck | PacketType::PubRec, ReasonCode::TopicNameInvalid) => {
            "the topic has more levels than are served"
        }
        (PacketType::PubAck | PacketType::PubRec, ReasonCode::PayloadFormatInvalid) => {
            "the payload is said to be text, and is not well-formed UTF-8"
        }
        (PacketType::PubAck | PacketType::PubRec, ReasonCode::QuotaExceeded) => {
            "nobody who subscribed has room, or the server no memory, or no disk that takes it"
        }
        (PacketType::SubAck, ReasonCode::TopicFilterInvalid) => {
            "a filter has more levels than are served"
        }
        (PacketType::SubAck, ReasonCode::QuotaExceeded) => {
            "the session has as many subscriptions, or the server as much in memory, as it may"
        }
        (PacketType::Disconnect, ReasonCode::SessionTakenOver) => {
            "the client identifier has connected once more"
        }
        (PacketType::Disconnect, ReasonCode::KeepAliveTimeout) => {
            "nothing was heard for one and a half times the keep alive"
        }
        (PacketType::Disconnect, ReasonCode::ReceiveMaximumExceeded) => {
            "too many messages of QoS 2 were not released"
        }
        (PacketType::Disconnect, ReasonCode::QuotaExceeded) => {
            "messages came faster than the client has taken them"
        }
        (PacketType::Disconnect, ReasonCode::ProtocolError) => {
            "an acknowledgement does not go with the QoS of its message"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::error::Fault;
    use super::*;
    use crate::property::{Properties, Property, PropertyError};

    #[test]
    fn the_longest_words_are_whole() {
        let violation = Violation {
            packet: Some(PacketType::Unsubscribe),
            fault: Fault::Properties(PropertyError::BadVarInt),
        };
        let words = Words::about(&violation);
        let properties = Properties::parse(words.as_properties()).expect("good properties");
        let text = violation.to_string();
        assert_eq!(properties.iter().collect::<Vec<_>>(), [Property::ReasonString(&text)]);
    }

    #[test]
    fn explanations_are_ascii_and_whole_and_said_only_if_wanted() {
        let reasons = || (0..=u8::MAX).filter_map(ReasonCode::from_u8);
        let packets = [
            PacketType::ConnAck,
            PacketType::PubAck,
            PacketType::PubRec,
            PacketType::SubAck,
            PacketType::Disconnect,
        ];
        let mut count = 0;
        for (packet, reason) in packets.into_iter().flat_map(|p| reasons().map(move |r| (p, r))) {
            let Some(text) = explain(packet, reason) else { continue };
            assert!(text.is_ascii() && reason.is_error(), "{text}");
            let words = Words::on(packet, reason, true);
            let properties = Properties::parse(words.as_properties()).expect("good properties");
            assert_eq!(properties.iter().collect::<Vec<_>>(), [Property::ReasonString(text)]);
            assert!(Words::on(packet, reason, false).as_properties().is_empty());
            count += 1;
        }
        assert!(count > 10, "{count}");
    }

    #[test]
    fn longer_words_are_cut() {
        let field = "a name that goes on and on and on and on and on and on and on and on and on \
                     and on and on and on and on and on and on";
        let violation = Violation { packet: None, fault: Fault::Truncated(field) };
        let words = Words::about(&violation);
        assert_eq!(words.as_properties().len(), Words::SIZE);
        assert!(Properties::parse(words.as_properties()).is_ok());
    }
}
