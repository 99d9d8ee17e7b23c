//! Writing packets.

use super::sink::Sink;

/// A few octets: the small fields in front of, between and behind the large ones, which go to the
/// sink as they are.
///
/// They are put together in a number, the first octet lowest. In an array, a processor would have
/// to wait for the last octet to be in memory before it can copy several of them at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    octets: u128,
    len: usize,
}

impl Head {
    /// Room for a frame, and for the small fields of any packet.
    const SIZE: usize = 16;

    #[inline]
    pub(super) const fn new() -> Self {
        Self { octets: 0, len: 0 }
    }

    /// First octet and remaining length.
    #[inline]
    pub(super) fn frame(first: u8, remaining: usize) -> Self {
        let mut head = Self::new();
        head.u8(first);
        head.varint(remaining);
        head
    }

    #[inline]
    pub(super) fn u8(&mut self, value: u8) {
        assert!(self.len < Self::SIZE, "no packet has so many small fields in a row");
        self.octets |= u128::from(value) << (8 * self.len);
        self.len += 1;
    }

    #[inline]
    pub(super) fn u16(&mut self, value: u16) {
        let [high, low] = value.to_be_bytes();
        self.u8(high);
        self.u8(low);
    }

    #[inline]
    pub(super) fn u32(&mut self, value: u32) {
        let [a, b, c, d] = value.to_be_bytes();
        self.u8(a);
        self.u8(b);
        self.u8(c);
        self.u8(d);
    }

    /// A variable byte integer, which is less than 2^28.
    #[inline]
    pub(super) fn varint(&mut self, value: usize) {
        assert!(value < 1 << 28, "{value} is no variable byte integer");
        let mut left = value;
        while left >= 0x80 {
            self.u8(0x80 | (left & 0x7F) as u8);
            left >>= 7;
        }
        self.u8(left as u8);
    }

    /// The length in front of a string, which has at most 65,535 octets.
    #[inline]
    pub(super) fn string_len(&mut self, text: &str) {
        self.u16(u16::try_from(text.len()).expect("strings were measured where they came in"));
    }

    /// Gives the octets, and then others, to the sink in one go.
    #[inline]
    pub(super) fn put_with(&self, rest: [&[u8]; 3], out: &mut impl Sink) {
        let octets = self.octets.to_le_bytes();
        let [first, second, third] = rest;
        out.put_all([&octets[..self.len], first, second, third]);
    }

    /// Gives the octets to the sink and begins anew.
    #[inline]
    pub(super) fn put(&mut self, out: &mut impl Sink) {
        let octets = self.octets.to_le_bytes();
        out.put(&octets[..self.len]);
        *self = Self::new();
    }
}
