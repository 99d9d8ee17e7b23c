//! The frame around every message: `Length | MsgType | body`, in its two forms.
//!
//! | Form | Octet 0 | Octets 1–2 | MsgType at | Body at | Totals |
//! |---|---|---|---|---|---|
//! | short | the total, including itself | – | 1 | 2 | 2–255 |
//! | long | 0x01 | the total, all 4 header octets included | 3 | 4 | 4–65535 |
//!
//! Both forms are understood at every size (SN-001, SN-002); the short one is sent wherever it
//! suffices, because small devices parse nothing else. So 256 and 257 are totals that are accepted
//! and never sent.

use crate::error::{DecodeError, EncodeError, Kind};
use crate::reader::Reader;

/// First octet of the long form. It is free to say so, as no message is one octet long.
pub(crate) const LONG_FORM: u8 = 0x01;

const SHORT_HEADER: usize = 2;
const LONG_HEADER: usize = 4;

/// A datagram whose length field is right, opened.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) msg_type: u8,
    /// Offset of the MsgType: 1 or 3.
    pub(crate) msg_type_at: usize,
    pub(crate) body: Reader<'a>,
}

/// Opens the one message that `datagram` must be, no more and no less.
///
/// # Errors
///
/// [`Kind::Empty`], [`Kind::TooShort`] in the middle of a long Length, [`Kind::BadLength`].
pub(crate) fn open(datagram: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let actual = datagram.len();
    let mut reader = Reader::new(datagram);
    if reader.is_empty() {
        return Err(DecodeError::at(0, Kind::Empty));
    }
    let first = reader.u8()?;
    let (length_at, declared, header) = if first == LONG_FORM {
        (1, usize::from(reader.u16()?), LONG_HEADER)
    } else {
        (0, usize::from(first), SHORT_HEADER)
    };
    if declared != actual || declared < header {
        return Err(DecodeError::at(length_at, Kind::BadLength { declared, actual }));
    }
    let msg_type_at = reader.at();
    let msg_type = reader.u8()?;
    Ok(Frame { msg_type, msg_type_at, body: reader })
}

/// The total of a message with `body` octets after its MsgType.
pub(crate) const fn encoded_len(body: usize) -> usize {
    let short = SHORT_HEADER + body;
    if short <= u8::MAX as usize { short } else { LONG_HEADER + body }
}

/// Writes the message whose body is `head` and then `tail` to the front of `out`, and returns its
/// total.
///
/// # Errors
///
/// [`EncodeError::TooLong`], [`EncodeError::BufferTooSmall`].
pub(crate) fn write(
    out: &mut [u8],
    msg_type: u8,
    head: &[u8],
    tail: &[u8],
) -> Result<usize, EncodeError> {
    let len = encoded_len(head.len() + tail.len());
    if let Ok(len) = u8::try_from(len) {
        return put(out, [&[len, msg_type], head, tail]);
    }
    let [high, low] = u16::try_from(len).map_err(|_| EncodeError::TooLong { len })?.to_be_bytes();
    put(out, [&[LONG_FORM, high, low, msg_type], head, tail])
}

/// Writes `parts` one after the other to the front of `out`, all or nothing, and returns their sum.
///
/// # Errors
///
/// [`EncodeError::BufferTooSmall`].
pub(crate) fn put<const N: usize>(out: &mut [u8], parts: [&[u8]; N]) -> Result<usize, EncodeError> {
    let needed = parts.iter().map(|part| part.len()).sum();
    let Some(mut free) = out.get_mut(..needed) else {
        return Err(EncodeError::BufferTooSmall { needed });
    };
    for part in parts {
        // Cannot fail: `free` is as long as the parts that are still to come.
        let (slot, left) = free.split_at_mut(part.len());
        slot.copy_from_slice(part);
        free = left;
    }
    Ok(needed)
}
