//! A cursor over the octets of one datagram that cannot run past their end.

use crate::error::{DecodeError, Kind};

/// What is left of a datagram, and how far into it that begins. Not `Copy`, so that no copy is left
/// behind unfinished.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at octet 0 of `octets`.
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self { left: octets, at: 0 }
    }

    /// Offset of the next octet from the start of the datagram.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Whether everything has been taken.
    pub(crate) const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Takes the next `N` octets, all or none.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, left)) = self.left.split_first_chunk::<N>() else {
            let kind = Kind::TooShort { needed: N, actual: self.left.len() };
            return Err(DecodeError::at(self.at, kind));
        };
        self.left = left;
        self.at += N;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[octet]| octet)
    }

    /// Takes two octets, most significant first (SN-004).
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes all that is left, possibly nothing.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let taken = self.left;
        self.left = &[];
        self.at += taken.len();
        taken
    }

    /// Ends the reading: octets that nobody took are an error.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.left.is_empty() {
            return Ok(());
        }
        Err(DecodeError::at(self.at, Kind::TrailingOctets { count: self.left.len() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_come_in_order_and_big_endian() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(0x0203));
        assert_eq!(reader.at(), 3);
        assert_eq!(reader.rest(), [4, 5]);
        assert_eq!(reader.at(), 5);
        assert!(reader.is_empty());
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_field_that_does_not_fit_is_not_taken() {
        let mut reader = Reader::new(&[1, 2]);
        assert_eq!(reader.u8(), Ok(1));
        let too_short = DecodeError::at(1, Kind::TooShort { needed: 2, actual: 1 });
        assert_eq!(reader.u16(), Err(too_short));
        assert_eq!(reader.u8(), Ok(2), "the failed read took nothing");
        assert_eq!(reader.rest(), []);
    }

    #[test]
    fn octets_left_over_are_an_error_at_the_first_of_them() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u8(), Ok(1));
        let trailing = DecodeError::at(1, Kind::TrailingOctets { count: 2 });
        assert_eq!(reader.finish(), Err(trailing));
    }
}
