//! Tokens of the event loop, and the names of links.
//!
//! ```text
//! | kind: 4 bits | index: 28 bits | generation of a link, or number of a socket: 32 bits |
//! ```
//!
//! A token of a link that is gone carries an old generation and finds nothing. The name by which
//! the broker knows a TCP link is its token without the kind; MQTT-SN links have the upper bit set.

use broker_core::api::LinkId;
use broker_core::key::Key;
use mio::Token;

use super::tcp::TcpLink;

const KIND_SHIFT: u32 = 60;
const INDEX_SHIFT: u32 = 32;
const INDEX_MAX: u64 = (1 << 28) - 1;

const SIGNALS: u64 = 1;
const LISTENER: u64 = 2;
const PORT: u64 = 3;
const LINK: u64 = 4;
const WAKER: u64 = 5;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Signals,
    Listener(usize),
    Port {
        index: usize,
        socket: usize,
    },
    Link(Key<TcpLink>),
    /// Another thread has something: what became safe, or another configuration.
    Waker,
}

/// The mark of MQTT-SN links.
pub(super) const SN_LINKS: u64 = 1 << 63;

pub(super) const fn is_sn(link: LinkId) -> bool {
    link.0 & SN_LINKS != 0
}

pub(super) fn token(place: Place) -> Token {
    let (kind, index, low) = match place {
        Place::Signals => (SIGNALS, 0, 0),
        Place::Waker => (WAKER, 0, 0),
        Place::Listener(index) => (LISTENER, index as u64, 0),
        Place::Port { index, socket } => (PORT, index as u64, socket as u64),
        Place::Link(key) => return Token((LINK << KIND_SHIFT | link_id(key).0) as usize),
    };
    assert!(index <= INDEX_MAX, "listeners are few");
    Token((kind << KIND_SHIFT | index << INDEX_SHIFT | low) as usize)
}

pub(super) fn place(token: Token) -> Place {
    let bits = token.0 as u64;
    let index = bits >> INDEX_SHIFT & INDEX_MAX;
    let low = bits & u64::from(u32::MAX);
    match bits >> KIND_SHIFT {
        SIGNALS => Place::Signals,
        WAKER => Place::Waker,
        LISTENER => Place::Listener(index as usize),
        PORT => Place::Port { index: index as usize, socket: low as usize },
        _ => Place::Link(key(LinkId(bits & !(0xF << KIND_SHIFT)))),
    }
}

/// The name of a TCP link.
pub(super) fn link_id(key: Key<TcpLink>) -> LinkId {
    let index = u64::from(key.index());
    assert!(index <= INDEX_MAX, "descriptors end before that");
    LinkId(index << INDEX_SHIFT | u64::from(key.generation()))
}

/// The TCP link with this name, if it is there.
pub(super) fn key(link: LinkId) -> Key<TcpLink> {
    let index = u32::try_from(link.0 >> INDEX_SHIFT & INDEX_MAX).expect("28 bits");
    let generation = u32::try_from(link.0 & u64::from(u32::MAX)).expect("32 bits");
    Key::from_parts(index, generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_say_what_they_are_made_of() {
        for what in [
            Place::Signals,
            Place::Listener(3),
            Place::Port { index: 5, socket: 2 },
            Place::Link(Key::from_parts(0, 0)),
            Place::Link(Key::from_parts(268_435_455, u32::MAX)),
        ] {
            assert_eq!(place(token(what)), what);
        }
    }

    #[test]
    fn links_of_tcp_and_of_mqtt_sn_have_different_names() {
        let key = Key::from_parts(268_435_455, u32::MAX);
        assert!(!is_sn(link_id(key)));
        assert_eq!(super::key(link_id(key)), key);
    }
}
