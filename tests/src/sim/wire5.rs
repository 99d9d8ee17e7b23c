//! Properties of MQTT 5.0 (2.2.2), as the standard draws them and on none of the gateway's code.

use super::wire::{push_variable, string, u16_at, variable};

/// What the properties of a packet say, those of all packets together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties<'a> {
    pub(crate) format: Option<u8>,
    pub(crate) message_expiry_s: Option<u32>,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) response_topic: Option<&'a [u8]>,
    pub(crate) correlation: Option<&'a [u8]>,
    /// Subscription identifiers.
    pub(crate) identifiers: Vec<u32>,
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) server_keep_alive_s: Option<u16>,
    pub(crate) will_delay_s: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) alias_maximum: Option<u16>,
    pub(crate) alias: Option<u16>,
    pub(crate) packet_maximum: Option<u32>,
    pub(crate) user: Vec<(&'a [u8], &'a [u8])>,
    /// Identifiers of the others, which say that something is not served, or why.
    pub(crate) others: Vec<u8>,
}

impl<'a> Properties<'a> {
    /// Properties behind their length, and what follows them. `None` if they are malformed, or one
    /// comes twice that may come once.
    pub(crate) fn read(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, rest) = variable(octets)?;
        let (inside, rest) = rest.split_at_checked(length as usize)?;
        let mut reader = Reader(inside);
        let mut found = Self::default();
        while let Some(id) = reader.u8() {
            match id {
                0x01 => once(&mut found.format, reader.u8()?)?,
                0x02 => once(&mut found.message_expiry_s, reader.u32()?)?,
                0x03 => once(&mut found.content_type, reader.binary()?)?,
                0x08 => once(&mut found.response_topic, reader.binary()?)?,
                0x09 => once(&mut found.correlation, reader.binary()?)?,
                0x0B => found.identifiers.push(reader.variable()?),
                0x11 => once(&mut found.session_expiry_s, reader.u32()?)?,
                0x13 => once(&mut found.server_keep_alive_s, reader.u16()?)?,
                0x18 => once(&mut found.will_delay_s, reader.u32()?)?,
                0x21 => once(&mut found.receive_maximum, reader.u16()?)?,
                0x22 => once(&mut found.alias_maximum, reader.u16()?)?,
                0x23 => once(&mut found.alias, reader.u16()?)?,
                0x26 => found.user.push((reader.binary()?, reader.binary()?)),
                0x27 => once(&mut found.packet_maximum, reader.u32()?)?,
                0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => {
                    reader.binary()?;
                    found.others.push(id);
                }
                0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => {
                    reader.u8()?;
                    found.others.push(id);
                }
                _ => return None,
            }
        }
        Some((found, rest))
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

#[derive(Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|octets| octets[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|octets| u16_at(octets, 0))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn variable(&mut self) -> Option<u32> {
        let (value, rest) = variable(self.0)?;
        self.0 = rest;
        Some(value)
    }

    fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

/// Writes properties.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, id: u8, value: u8) {
        self.0.extend([id, value]);
    }

    pub(crate) fn u16(&mut self, id: u8, value: u16) {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, id: u8, value: u32) {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
    }

    pub(crate) fn variable(&mut self, id: u8, value: u32) {
        self.0.push(id);
        push_variable(&mut self.0, value);
    }

    /// A string, or binary data.
    pub(crate) fn binary(&mut self, id: u8, octets: &[u8]) {
        self.0.push(id);
        self.0.extend(string(octets));
    }

    pub(crate) fn pair(&mut self, id: u8, key: &[u8], value: &[u8]) {
        self.binary(id, key);
        self.0.extend(string(value));
    }

    /// Octets of what was written so far, without their length.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The properties behind their length.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.0.len() + 2);
        push_variable(&mut octets, u32::try_from(self.0.len()).expect("few properties"));
        octets.extend(self.0);
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::octets;

    #[test]
    fn properties_are_as_the_standard_draws_them() {
        let mut writer = Writer::default();
        writer.u32(0x02, 60);
        writer.variable(0x0B, 300);
        writer.pair(0x26, b"k", b"v");
        let written = writer.finish();
        assert_eq!(written, octets("0F 02 00 00 00 3C 0B AC 02 26 00 01 'k' 00 01 'v'"));
        let followed = [&*written, b"rest"].concat();
        let (read, rest) = Properties::read(&followed).expect("well formed");
        assert_eq!(rest, b"rest");
        assert_eq!((read.message_expiry_s, read.identifiers), (Some(60), vec![300]));
        assert_eq!(read.user, [(b"k".as_slice(), b"v".as_slice())]);
    }

    #[test]
    fn what_is_malformed_is_not_read() {
        for wrong in ["04 02 00 00 00 3C", "02 02 00", "01 7F", "03 23 00", "80"] {
            assert_eq!(Properties::read(&octets(wrong)), None, "{wrong}");
        }
        let twice = octets("0A 02 00 00 00 3C 02 00 00 00 3C");
        assert_eq!(Properties::read(&twice), None);
    }
}
