//! A number that tells whether two runs were the same.

/// Takes octets and numbers one after the other. Quick, and no defence against anybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest(u64);

const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl Digest {
    pub(super) const fn new() -> Self {
        Self(FACTOR)
    }

    pub(super) const fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(FACTOR).rotate_left(29);
    }

    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.number(octets.len() as u64);
        let (chunks, rest) = octets.as_chunks();
        chunks.iter().for_each(|chunk| self.number(u64::from_le_bytes(*chunk)));
        rest.iter().for_each(|octet| self.number(u64::from(*octet)));
    }

    /// Whether it has taken nothing.
    pub(super) const fn is_new(&self) -> bool {
        self.0 == FACTOR
    }

    pub(super) const fn end(self) -> u64 {
        self.0
    }
}
