//! Why octets are no message, and why a message cannot become octets.
//!
//! A [`DecodeError`] is always the sender's doing: count it, drop the datagram, answer nothing and
//! leave the session alone (SN 2, D10). An [`EncodeError`] is always ours.

use core::error::Error;
use core::fmt::{Display, Formatter, Result};

/// A datagram that is not a message: what is wrong with it, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset of the first offending octet, counted from 0 at the start of what was given to
    /// `decode`. It equals the size of the datagram where octets are missing at its end.
    pub at: usize,
    /// What is wrong there.
    pub kind: Kind,
}

impl DecodeError {
    pub(crate) const fn at(at: usize, kind: Kind) -> Self {
        Self { at, kind }
    }
}

/// What can be wrong with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no octet at all where a message should begin.
    Empty,
    /// The field that begins here does not fit into the octets that are left.
    TooShort {
        /// Size of the field in octets.
        needed: usize,
        /// Octets there are.
        actual: usize,
    },
    /// The Length field is not the number of octets received, or less than the header itself takes
    /// (SN-001).
    BadLength {
        /// The value of the Length field.
        declared: usize,
        /// The size of the datagram.
        actual: usize,
    },
    /// The MsgType is reserved (SN-003), or is 0xFE in the long form, which encapsulation does not
    /// have.
    ReservedType(u8),
    /// The message is over, but this many octets follow.
    TrailingOctets {
        /// How many.
        count: usize,
    },
    /// A message in an envelope (0xFE), not a message: open it with [`Encapsulated::decode`].
    ///
    /// [`Encapsulated::decode`]: crate::forward::Encapsulated::decode
    Encapsulation,
    /// Not an envelope (0xFE): read it with [`Packet::decode`].
    ///
    /// [`Packet::decode`]: crate::v12::Packet::decode
    NotEncapsulation,
    /// An envelope whose wireless node id is empty, so that nobody could be answered.
    EmptyNodeId,
    /// An envelope inside an envelope.
    NestedEncapsulation,
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "octet {}: {}", self.at, self.kind)
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            Self::Empty => write!(f, "no message"),
            Self::TooShort { needed, actual } => {
                write!(f, "a field of {needed} octets begins, {actual} are left")
            }
            Self::BadLength { declared, actual } => {
                write!(f, "length field says {declared}, the datagram has {actual}")
            }
            Self::ReservedType(octet) => write!(f, "message type 0x{octet:02X} is reserved"),
            Self::TrailingOctets { count } => write!(f, "{count} octets after the message"),
            Self::Encapsulation => write!(f, "an encapsulated message, not a plain one"),
            Self::NotEncapsulation => write!(f, "a plain message, not an encapsulated one"),
            Self::EmptyNodeId => write!(f, "empty wireless node id"),
            Self::NestedEncapsulation => write!(f, "an encapsulation inside an encapsulation"),
        }
    }
}

impl Error for DecodeError {}

/// A message that cannot be written, or must not be. Nothing was written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// The buffer is smaller than the message.
    BufferTooSmall {
        /// Octets the whole message takes.
        needed: usize,
    },
    /// The message would be longer than a 16-bit Length can say (65535 octets).
    TooLong {
        /// Octets the whole message would take.
        len: usize,
    },
    /// A message id at a QoS that is not acknowledged: PUBLISH carries 0x0000 then (SN-018).
    UnexpectedMsgId,
    /// A will topic without a name. To delete the will say so, by `None` (SN-024).
    EmptyWillTopic,
    /// A wireless node id of 0 octets, or of more than the 252 that a 1-octet Length leaves
    /// (SN-029).
    BadNodeId {
        /// Octets of the node id.
        len: usize,
    },
    /// A broadcast radius above 3: an envelope has two bits for it (SN-029).
    BadRadius(u8),
    /// An envelope with nothing inside.
    EmptyEncapsulation,
    /// An envelope inside an envelope.
    NestedEncapsulation,
}

impl Display for EncodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            Self::BufferTooSmall { needed } => write!(f, "the message needs {needed} octets"),
            Self::TooLong { len } => write!(f, "{len} octets, a message holds 65535"),
            Self::UnexpectedMsgId => write!(f, "message id without an acknowledgment to match"),
            Self::EmptyWillTopic => write!(f, "empty will topic"),
            Self::BadNodeId { len } => {
                write!(f, "wireless node id of {len} octets, 1 to 252 are possible")
            }
            Self::BadRadius(radius) => write!(f, "broadcast radius {radius}, 0 to 3 are possible"),
            Self::EmptyEncapsulation => write!(f, "nothing to encapsulate"),
            Self::NestedEncapsulation => write!(f, "an encapsulation inside an encapsulation"),
        }
    }
}

impl Error for EncodeError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn an_error_says_where_and_what_without_a_full_stop() {
        let decode = DecodeError::at(0, Kind::BadLength { declared: 9, actual: 8 });
        assert_eq!(decode.to_string(), "octet 0: length field says 9, the datagram has 8");
        for (kind, text) in [
            (Kind::Empty, "no message"),
            (Kind::TooShort { needed: 2, actual: 1 }, "a field of 2 octets begins, 1 are left"),
            (Kind::ReservedType(3), "message type 0x03 is reserved"),
            (Kind::TrailingOctets { count: 4 }, "4 octets after the message"),
            (Kind::Encapsulation, "an encapsulated message, not a plain one"),
            (Kind::NotEncapsulation, "a plain message, not an encapsulated one"),
            (Kind::EmptyNodeId, "empty wireless node id"),
            (Kind::NestedEncapsulation, "an encapsulation inside an encapsulation"),
        ] {
            assert_eq!(kind.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_written_is_said_with_its_bounds() {
        for (error, text) in [
            (EncodeError::BufferTooSmall { needed: 9 }, "the message needs 9 octets"),
            (EncodeError::TooLong { len: 70_000 }, "70000 octets, a message holds 65535"),
            (EncodeError::UnexpectedMsgId, "message id without an acknowledgment to match"),
            (EncodeError::EmptyWillTopic, "empty will topic"),
            (
                EncodeError::BadNodeId { len: 253 },
                "wireless node id of 253 octets, 1 to 252 are possible",
            ),
            (EncodeError::BadRadius(4), "broadcast radius 4, 0 to 3 are possible"),
            (EncodeError::EmptyEncapsulation, "nothing to encapsulate"),
            (EncodeError::NestedEncapsulation, "an encapsulation inside an encapsulation"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
