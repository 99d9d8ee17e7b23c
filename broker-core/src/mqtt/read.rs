//! Reading fields from the body of a packet. Nothing is copied, nothing panics, and a length that a
//! field announces is believed only as far as there are octets.

use super::error::{Fault, Field};
use super::frame::RemainingLength;
use crate::api::PacketId;
use crate::topic::{TopicError, TopicFilter, TopicName};

/// What is left of a packet's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    fn take(&mut self, len: usize, field: Field) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn u8(&mut self, field: Field) -> Result<u8, Fault> {
        let (octet, rest) = self.rest.split_first().ok_or(Fault::Truncated(field))?;
        self.rest = rest;
        Ok(*octet)
    }

    #[inline]
    pub(super) fn u16(&mut self, field: Field) -> Result<u16, Fault> {
        let (octets, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated(field))?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*octets))
    }

    /// A packet identifier, which is never zero [MQTT-2.3.1-1], [MQTT5-2.2.1-3].
    #[inline]
    pub(super) fn packet_id(&mut self) -> Result<PacketId, Fault> {
        match self.u16("packet identifier")? {
            0 => Err(Fault::ZeroPacketId),
            id => Ok(PacketId(id)),
        }
    }

    /// Octets behind a length of two.
    #[inline]
    pub(super) fn binary(&mut self, field: Field) -> Result<&'a [u8], Fault> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field)
    }

    /// Octets behind a variable byte integer: a block of properties. None of them are a block of
    /// zero octets, whose length is there all the same [MQTT5-2.2.2-1].
    #[inline]
    pub(super) fn block(&mut self, field: Field) -> Result<&'a [u8], Fault> {
        // What stands at the end of a packet and is no whole integer is cut off or endless.
        let len = RemainingLength::read(self.rest)?.ok_or(Fault::Truncated(field))?;
        if !len.is_shortest {
            return Err(Fault::LongLength);
        }
        self.take(len.octets, field)?;
        self.take(len.value, field)
    }

    /// A string: well-formed UTF-8, in which surrogates have no place [MQTT-1.5.3-1],
    /// [MQTT5-1.5.4-1], without U+0000 [MQTT-1.5.3-2], [MQTT5-1.5.4-2]; U+FEFF is a character
    /// like any other [MQTT-1.5.3-3], [MQTT5-1.5.4-3].
    pub(super) fn string(&mut self, field: Field) -> Result<&'a str, Fault> {
        let text = core::str::from_utf8(self.binary(field)?).map_err(|_| Fault::NotUtf8(field))?;
        if text.contains('\0') { Err(Fault::Nul(field)) } else { Ok(text) }
    }

    /// A topic name [MQTT-3.3.2-1].
    #[inline]
    pub(super) fn topic_name(&mut self) -> Result<TopicName<'a>, Fault> {
        TopicName::from_octets(self.binary("topic name")?).map_err(Fault::TopicName)
    }

    /// A topic name, or none where there are no characters.
    #[inline]
    pub(super) fn optional_topic_name(&mut self) -> Result<Option<TopicName<'a>>, Fault> {
        match TopicName::from_octets(self.binary("topic name")?) {
            Ok(name) => Ok(Some(name)),
            Err(TopicError::Empty) => Ok(None),
            Err(error) => Err(Fault::TopicName(error)),
        }
    }

    /// A topic filter [MQTT-3.8.3-1], [MQTT-3.10.3-1].
    pub(super) fn topic_filter(&mut self) -> Result<TopicFilter<'a>, Fault> {
        TopicFilter::from_octets(self.binary("topic filter")?).map_err(Fault::TopicFilter)
    }

    /// All octets to the end.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing follows behind the last field.
    pub(super) fn end(self) -> Result<(), Fault> {
        if self.is_empty() { Ok(()) } else { Err(Fault::LeftOver(self.rest.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_their_order() {
        let mut reader = Reader::new(b"\x07\x01\x02\x00\x02hi\x03abc!");
        assert_eq!(reader.u8("one"), Ok(7));
        assert_eq!(reader.u16("two"), Ok(0x0102));
        assert_eq!(reader.string("three"), Ok("hi"));
        assert_eq!(reader.block("four"), Ok(&b"abc"[..]));
        assert_eq!(reader.end(), Err(Fault::LeftOver(1)));
        assert_eq!(reader.rest(), b"!");
    }

    #[test]
    fn a_length_beyond_the_end_is_not_believed() {
        assert_eq!(Reader::new(b"\xFF\xFFhi").binary("it"), Err(Fault::Truncated("it")));
        assert_eq!(Reader::new(b"\xFF\xFF\xFF\x7F").block("it"), Err(Fault::Truncated("it")));
        assert_eq!(Reader::new(b"\xFF\xFF").block("it"), Err(Fault::Truncated("it")));
        assert_eq!(Reader::new(b"\xFF\xFF\xFF\xFF\x01").block("it"), Err(Fault::EndlessLength));
    }

    #[test]
    fn a_block_has_the_shortest_length() {
        assert_eq!(Reader::new(b"\x81\x00!").block("it"), Err(Fault::LongLength));
    }
}
