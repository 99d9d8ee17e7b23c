//! Where octets go.

use bytes::Bytes;

/// What a connection writes to: the output buffer of its socket.
pub trait Sink {
    /// Appends a copy of some octets.
    fn put(&mut self, octets: &[u8]);

    /// Appends copies of several pieces, one behind the other.
    #[inline]
    fn put_all<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        for piece in pieces {
            self.put(piece);
        }
    }

    /// Appends a payload that other connections send too; it may be kept by reference.
    fn put_shared(&mut self, octets: &Bytes);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }

    fn put_shared(&mut self, octets: &Bytes) {
        self.extend_from_slice(octets);
    }
}
