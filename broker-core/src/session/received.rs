//! Identifiers of QoS 2 messages that a client has sent and not yet released.
//!
//! While an identifier stands here, the same PUBLISH is answered and not delivered a second time
//! [MQTT-4.3.3-2]. A sorted list: two octets an identifier, and well-behaved clients count upwards,
//! so that they are added at the end.

use crate::api::PacketId;

/// The identifiers between PUBREC and PUBREL.
#[derive(Debug, Default)]
pub(crate) struct ReceivedIds(Vec<u16>);

impl ReceivedIds {
    /// Remembers an identifier; `false` if it was there.
    pub(crate) fn insert(&mut self, id: PacketId) -> bool {
        match self.0.binary_search(&id.0) {
            Ok(_) => false,
            Err(position) => {
                self.0.insert(position, id.0);
                true
            }
        }
    }

    pub(crate) fn contains(&self, id: PacketId) -> bool {
        self.0.binary_search(&id.0).is_ok()
    }

    /// Forgets an identifier; `false` if it was not there.
    pub(crate) fn remove(&mut self, id: PacketId) -> bool {
        match self.0.binary_search(&id.0) {
            Ok(position) => {
                self.0.remove(position);
                if self.0.is_empty() && self.0.capacity() > 64 {
                    self.0 = Vec::new();
                }
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PacketId> {
        self.0.iter().map(|id| PacketId(*id))
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.3.3-2]
    #[test]
    fn an_identifier_is_known_until_it_is_released() {
        let mut ids = ReceivedIds::default();
        for id in [5, 1, 65_535, 0] {
            assert!(ids.insert(PacketId(id)));
        }
        assert!(!ids.insert(PacketId(5)));
        assert!(ids.contains(PacketId(0)));
        assert!(ids.remove(PacketId(5)));
        assert!(!ids.remove(PacketId(5)));
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn an_emptied_list_keeps_little_room() {
        for (count, expect) in [(64, 64), (65, 0), (1_000, 0)] {
            let mut ids = ReceivedIds(Vec::with_capacity(count));
            (0..count as u16).for_each(|id| assert!(ids.insert(PacketId(id))));
            (0..count as u16).for_each(|id| assert!(ids.remove(PacketId(id))));
            assert_eq!(ids.0.capacity(), expect, "after {count}");
        }
    }
}
