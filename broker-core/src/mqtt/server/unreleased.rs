//! Identifiers of QoS 2 messages that came on this connection and have not been answered for good.
//!
//! They tell a message that comes again, which does not count against the receive maximum, from a
//! new one. A sorted list of at most that many; clients that count upwards add at its end.

use crate::api::PacketId;

/// The identifiers between PUBLISH and PUBCOMP.
#[derive(Debug, Default)]
pub(super) struct UnreleasedIds(Vec<u16>);

impl UnreleasedIds {
    pub(super) fn contains(&self, id: PacketId) -> bool {
        self.0.binary_search(&id.0).is_ok()
    }

    pub(super) fn insert(&mut self, id: PacketId) {
        if let Err(position) = self.0.binary_search(&id.0) {
            self.0.insert(position, id.0);
        }
    }

    /// Forgets an identifier; `false` if it was not there.
    pub(super) fn remove(&mut self, id: PacketId) -> bool {
        let found = self.0.binary_search(&id.0);
        if let Ok(position) = found {
            self.0.remove(position);
        }
        found.is_ok()
    }

    /// Octets held on the heap.
    pub(super) const fn memory(&self) -> usize {
        self.0.capacity() * size_of::<u16>()
    }
}
