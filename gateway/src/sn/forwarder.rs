//! Nodes behind forwarders (SN 5.5).
//!
//! A forwarder wraps what its nodes say together with their wireless node ids. A node is an address
//! of its own: (forwarder, node id). Only forwarders that are allowed may speak for others, as one
//! can claim any node id.

use core::hash::BuildHasher;
use std::net::SocketAddr;

use broker_core::hash::{self, HashMap};

use super::address::{Address, NodeId, PortId, Source};

/// A forwarder: its address, as one of our ports sees it.
type Forwarder = (PortId, SocketAddr);

#[derive(Debug)]
struct Node {
    forwarder: Forwarder,
    octets: Box<[u8]>,
}

/// The nodes that sessions or handshakes are bound to.
#[derive(Debug)]
pub(super) struct Nodes {
    /// By number; the place of number 0 is never taken.
    nodes: Vec<Option<Node>>,
    free: Vec<NodeId>,
    by_forwarder: HashMap<Forwarder, HashMap<Box<[u8]>, NodeId>>,
    hasher: hash::State,
    seed: u64,
    nodes_max: usize,
}

impl Nodes {
    /// `nodes_max` bounds the nodes behind one forwarder.
    pub(super) fn new(nodes_max: u32, seed: u64) -> Self {
        Self {
            nodes: vec![None],
            free: Vec::new(),
            by_forwarder: hash::map(seed),
            hasher: hash::state(seed),
            seed,
            nodes_max: nodes_max as usize,
        }
    }

    /// Another bound; nodes beyond it stay until they go.
    pub(super) const fn set_max(&mut self, nodes_max: u32) {
        self.nodes_max = nodes_max as usize;
    }

    /// The number of a node; `None` if the forwarder has too many.
    pub(super) fn enter(
        &mut self,
        port: PortId,
        forwarder: SocketAddr,
        octets: &[u8],
    ) -> Option<NodeId> {
        let seed = self.seed;
        let forwarder = (port, forwarder);
        let known = self.by_forwarder.entry(forwarder).or_insert_with(|| hash::map(seed));
        if let Some(node) = known.get(octets) {
            return Some(*node);
        }
        if known.len() >= self.nodes_max {
            return None;
        }
        let entry = Node { forwarder, octets: octets.into() };
        let node = if let Some(node) = self.free.pop() {
            self.nodes[node.0 as usize] = Some(entry);
            node
        } else {
            let node = NodeId(u32::try_from(self.nodes.len()).expect("nodes are bounded"));
            self.nodes.push(Some(entry));
            node
        };
        known.insert(octets.into(), node);
        Some(node)
    }

    /// The wireless node id; empty for a peer that speaks for itself.
    pub(super) fn octets(&self, node: NodeId) -> &[u8] {
        self.nodes[node.0 as usize].as_ref().map_or(&[], |node| &node.octets)
    }

    /// What to remember of an address, also when its node has been forgotten.
    pub(super) fn source(&self, address: &Address) -> Source {
        let Address { port, remote, node } = address;
        Source(self.hasher.hash_one((port, remote, self.octets(*node))))
    }

    /// Forgets a node that nothing is bound to any more.
    pub(super) fn leave(&mut self, node: NodeId) {
        let Some(Node { forwarder, octets }) = self.nodes[node.0 as usize].take() else { return };
        self.free.push(node);
        if let Some(known) = self.by_forwarder.get_mut(&forwarder) {
            known.remove(&octets);
            if known.is_empty() {
                self.by_forwarder.remove(&forwarder);
            }
        }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - 1 - self.free.len()
    }

    /// An estimate of the memory held, in octets.
    pub(super) fn memory(&self) -> usize {
        self.nodes.len() * 160
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_number_while_it_is_bound_and_a_forwarder_only_so_many() {
        let forwarder: SocketAddr = "192.0.2.1:1883".parse().expect("an address");
        let mut nodes = Nodes::new(2, 1);
        let port = PortId(0);
        let first = nodes.enter(port, forwarder, b"N1").expect("there is room");
        let second = nodes.enter(port, forwarder, b"N2").expect("there is room");
        assert_ne!(first, second);
        assert_ne!(first, NodeId::NONE);
        assert_eq!(nodes.enter(port, forwarder, b"N1"), Some(first));
        assert_eq!(nodes.enter(port, forwarder, b"N3"), None);
        assert_eq!(nodes.octets(first), b"N1");
        let address = |node| Address { port, remote: forwarder, node };
        let source = nodes.source(&address(first));
        assert_ne!(source, nodes.source(&address(second)));
        nodes.leave(first);
        assert_eq!(nodes.enter(port, forwarder, b"N3"), Some(first));
        assert_ne!(source, nodes.source(&address(first)), "another node has the number now");
        nodes.leave(first);
        nodes.leave(second);
        assert_eq!((nodes.len(), nodes.by_forwarder.len()), (0, 0));
        assert_eq!(nodes.octets(NodeId::NONE), b"");
    }

    /// The octets twice, a place, and the way to it.
    #[test]
    fn nodes_tell_what_memory_they_hold() {
        let forwarder: SocketAddr = "192.0.2.1:1883".parse().expect("an address");
        let mut nodes = Nodes::new(100, 1);
        for n in 0..100_u32 {
            assert!(nodes.enter(PortId(0), forwarder, &n.to_be_bytes()).is_some());
        }
        let held = 100 * (size_of::<Option<Node>>() + size_of::<(Box<[u8]>, NodeId)>() + 2 * 16);
        assert!((held..=2 * held).contains(&nodes.memory()), "{} of {held}", nodes.memory());
    }
}
