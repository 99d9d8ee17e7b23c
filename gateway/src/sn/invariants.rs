//! What is true of the machine between any two calls.

use std::collections::BTreeSet;

use super::address::Address;
use super::arq::Exchange;
use super::connect::Stage;
use super::peer::{Peer, State};
use super::{Owner, SnGateway};

impl SnGateway {
    /// Checks that maps, counts and timers fit together; for tests and simulations. Looks at every
    /// client.
    ///
    /// # Panics
    /// If they do not.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        let mut addresses = BTreeSet::new();
        let mut timers = usize::from(self.settings.advertise_s > 0);
        let mut links = 0;
        let mut counts = [0; 4];
        let (mut charged, mut names) = (0, 0);
        for (key, peer) in self.peers.iter() {
            assert_eq!(self.by_client_id.get(&peer.client_id), Some(&key), "known by its id");
            let place = match peer.state {
                State::Gone => 0,
                State::Active => 1,
                State::Asleep { .. } => 2,
                State::Awake { .. } => 3,
            };
            counts[place] += 1;
            links += usize::from(peer.is_connected());
            timers += usize::from(self.check_peer(peer));
            if let Some(path) = peer.path {
                let binding = self.by_address.get(&path.address).expect("an address is bound");
                assert_eq!(binding.peer, Some(key), "to the client that has it");
                addresses.insert(path.address);
            }
            if peer.is_connected() {
                let owner = self.by_link.get(&peer.link);
                assert!(matches!(owner, Some(Owner::Peer(owner)) if *owner == key), "has its link");
            }
            charged += peer.charged;
            names += peer.registry.len();
        }
        for (key, handshake) in self.handshakes.iter() {
            let address = handshake.path().address;
            let binding = self.by_address.get(&address).expect("an address is bound");
            assert_eq!(binding.handshake, Some(key), "to the handshake from it");
            addresses.insert(address);
            let waits_for_broker = matches!(handshake.stage(), Stage::Confirming(_));
            assert_eq!(handshake.timer().is_none(), waits_for_broker, "clients are supervised");
            timers += usize::from(handshake.timer().is_some());
            links += usize::from(waits_for_broker);
        }
        let usage = [self.usage.gone, self.usage.active, self.usage.asleep, self.usage.awake];
        assert_eq!(usage, counts, "clients in each state");
        assert_eq!(self.usage.memory_bytes, charged, "memory of clients");
        assert_eq!(self.names.kept(), names, "names that clients keep");
        assert!(self.handshakes.is_consistent(), "counts of handshakes");
        assert_eq!(self.timers.len(), timers, "timers that somebody waits for");
        assert_eq!(self.by_client_id.len(), self.peers.len(), "ids");
        assert_eq!(self.by_address.len(), addresses.len(), "addresses");
        assert_eq!(self.by_link.len(), links, "links");
        let is_node = |address: &&Address| !self.nodes.octets(address.node).is_empty();
        assert_eq!(self.nodes.len(), addresses.iter().filter(is_node).count(), "nodes");
    }

    /// Returns whether it has a timer.
    fn check_peer(&self, peer: &Peer) -> bool {
        let exchange = peer.exchange.as_ref();
        let is_waited_for = exchange.is_some_and(|exchange| !exchange.is_stalled());
        match peer.state {
            State::Gone => assert!(peer.path.is_none() && exchange.is_none(), "nothing is left"),
            State::Awake { .. } => assert!(peer.path.is_some(), "it came from somewhere"),
            State::Active | State::Asleep { .. } => {}
        }
        assert!(!is_waited_for || peer.is_listening(), "only who listens is waited for");
        assert!(self.is_recorded(peer), "what is kept of {} is what is so", peer.client_id);
        assert_eq!(peer.memory(), peer.charged, "memory of {}", peer.client_id);
        let reconnects = peer.reconnecting.map(|key| self.handshakes.get(key).map(|h| h.stage()));
        assert!(
            matches!(reconnects, None | Some(Some(Stage::Confirming(_)))),
            "the CONNECT is there"
        );
        exchange.is_some_and(|exchange: &Exchange| !exchange.is_stalled())
    }
}
