//! Forwarder encapsulation: a message in an envelope that names the radio node behind a forwarder.
//!
//! A forwarder on the edge of a radio network puts each message of a node into an envelope and
//! sends it to the gateway; the gateway answers in an envelope of the same node. The message inside
//! is whole, and nobody changes it (SN-028).
//!
//! | Offset | Size | Field |
//! |---|---|---|
//! | 0 | 1 | Length: octets up to the end of the node id, **without** the message; no long form |
//! | 1 | 1 | 0xFE |
//! | 2 | 1 | Ctrl: bits 1–0 broadcast radius, bits 7–2 reserved |
//! | 3 | n | wireless node id, n = Length − 3 |
//! | Length | m | the message, with its own Length |
//!
//! ```
//! use sn_codec::forward::Encapsulated;
//! use sn_codec::v12::{Packet, Pingreq, Pingresp};
//!
//! let datagram = [0x05, 0xFE, 0x00, b'N', b'1', 0x02, 0x16];
//! let asked = Encapsulated::decode(&datagram)?;
//! assert_eq!(asked.node, b"N1");
//! assert_eq!(Packet::decode(asked.inner)?, Packet::from(Pingreq { client_id: b"" }));
//!
//! // The answer goes straight into the buffer it is sent from: envelope first, then the message.
//! let mut out = [0; 32];
//! let head = sn_codec::forward::encode_header(0, asked.node, &mut out)?;
//! let body = Pingresp.encode(&mut out[head..])?;
//! assert_eq!(out[..head + body], [0x05, 0xFE, 0x00, b'N', b'1', 0x02, 0x17]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::error::{DecodeError, EncodeError, Kind};
use crate::frame::{LONG_FORM, put};
use crate::reader::Reader;

const MSG_TYPE: u8 = 0xFE;
/// Offset of the MsgType.
pub(crate) const MSG_TYPE_AT: usize = 1;
const NODE_AT: usize = 3;
const RADIUS_MASK: u8 = 0b11;

/// The longest wireless node id in octets: what a 1-octet Length leaves.
pub const NODE_ID_MAX: usize = u8::MAX as usize - NODE_AT;

/// A message and the envelope it travels in (SN 5.5). Between forwarder and gateway, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulated<'a> {
    /// Radius in hops, 0 to 3, at which the forwarder is to broadcast; only from gateway to
    /// forwarder (SN-029).
    pub radius: u8,
    /// Wireless node id, 1 to [`NODE_ID_MAX`] octets that mean something to the forwarder only.
    pub node: &'a [u8],
    /// The message with its own Length, not looked into yet except that it is no envelope itself.
    pub inner: &'a [u8],
}

/// Whether this is an envelope rather than a message. Says nothing about its being well formed.
pub fn is_encapsulated(datagram: &[u8]) -> bool {
    matches!(datagram, [length, MSG_TYPE, ..] if *length != LONG_FORM)
}

impl<'a> Encapsulated<'a> {
    /// Opens an envelope. The reserved bits of Ctrl are ignored (SN-029).
    ///
    /// Positions in errors of the message inside are relative to [`inner`](Self::inner).
    ///
    /// # Errors
    ///
    /// [`Kind::NotEncapsulation`] for a plain message; [`Kind::TooShort`] without Ctrl;
    /// [`Kind::BadLength`] for a Length that ends before the node id begins or beyond the
    /// datagram; [`Kind::EmptyNodeId`]; [`Kind::Empty`] where the message should begin;
    /// [`Kind::NestedEncapsulation`].
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        if !is_encapsulated(datagram) {
            return Err(DecodeError::at(0, Kind::NotEncapsulation));
        }
        let mut reader = Reader::new(datagram);
        let [length, _, ctrl] = reader.array()?;
        let (declared, actual) = (usize::from(length), datagram.len());
        let bad_length = DecodeError::at(0, Kind::BadLength { declared, actual });
        let node_len = declared.checked_sub(NODE_AT).ok_or(bad_length)?;
        let (node, inner) = reader.rest().split_at_checked(node_len).ok_or(bad_length)?;

        if node.is_empty() {
            return Err(DecodeError::at(NODE_AT, Kind::EmptyNodeId));
        }
        if inner.is_empty() {
            return Err(DecodeError::at(declared, Kind::Empty));
        }
        if is_encapsulated(inner) {
            return Err(DecodeError::at(declared + MSG_TYPE_AT, Kind::NestedEncapsulation));
        }
        Ok(Self { radius: ctrl & RADIUS_MASK, node, inner })
    }

    /// Octets that [`encode`](Self::encode) writes.
    pub const fn encoded_len(&self) -> usize {
        header_len(self.node) + self.inner.len()
    }

    /// Writes envelope and message to the front of `out` and returns how many octets that took.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BadNodeId`], [`EncodeError::BadRadius`], [`EncodeError::EmptyEncapsulation`],
    /// [`EncodeError::NestedEncapsulation`], [`EncodeError::BufferTooSmall`]; nothing is written
    /// then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        if self.inner.is_empty() {
            return Err(EncodeError::EmptyEncapsulation);
        }
        if is_encapsulated(self.inner) {
            return Err(EncodeError::NestedEncapsulation);
        }
        put(out, [&fixed_part(self.radius, self.node)?, self.node, self.inner])
    }
}

/// Octets that [`encode_header`] writes: the size of an envelope without the message in it.
pub const fn header_len(node: &[u8]) -> usize {
    NODE_AT + node.len()
}

/// Writes only the envelope to the front of `out` and returns how many octets that took; the
/// message belongs directly behind. This spares a copy over [`Encapsulated::encode`] when the
/// message is still to be encoded.
///
/// # Errors
///
/// [`EncodeError::BadNodeId`], [`EncodeError::BadRadius`], [`EncodeError::BufferTooSmall`] (which
/// speaks of the envelope alone); nothing is written then.
pub fn encode_header(radius: u8, node: &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
    put(out, [&fixed_part(radius, node)?, node])
}

/// Length, MsgType and Ctrl, the reserved bits 0 (SN-029).
fn fixed_part(radius: u8, node: &[u8]) -> Result<[u8; NODE_AT], EncodeError> {
    let bad_node = EncodeError::BadNodeId { len: node.len() };
    if node.is_empty() {
        return Err(bad_node);
    }
    let length = u8::try_from(header_len(node)).map_err(|_| bad_node)?;
    if radius > RADIUS_MASK {
        return Err(EncodeError::BadRadius(radius));
    }
    Ok([length, MSG_TYPE, radius])
}
